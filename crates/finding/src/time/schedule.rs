//! The logged learning rates against a law and against the configuration.

use std::f64::consts::PI;

use super::config::{PEAK, TOTAL, WARM_UP, mentions, number};
use super::{Code, Direction, Grade, Judgement, RUNS, called, clock, finding};
use scratchproof_case::Policy;
use scratchproof_record::Run;
use scratchproof_stats::{Departure, RateLaw, Schedule, Stretch, schedule};
use scratchproof_texts::{Text, text};

/// Holds the logged rates against the law that they follow, and the law against the configuration.
pub fn judge(to: &mut Judgement, policy: &Policy, run: &Run) {
    let points = run.learning_rate();
    let Some(found) = schedule(&points, run.scales_losses() != Some(false)) else {
        to.missing.push(text!("time/schedule/missing", run = called(run)));
        return;
    };
    let share = found.explained as f64 / found.points as f64;
    let laws: Vec<Text> = found.pieces.iter().take(4).map(|piece| law(&piece.law)).collect();
    let (grade, direction, words) = if share < policy.schedule_explained {
        (Grade::Context, Direction::Neutral, text!("time/schedule/unknown"))
    } else {
        configured(&found, run, policy)
    };
    let late = found.pieces.iter().filter_map(|piece| piece.late.as_ref()).max_by_key(|late| late.points);
    let message = text!(
        "time/schedule/finding",
        run = called(run),
        points = found.points,
        share,
        pieces = found.pieces.len(),
        laws,
        tolerance = found.tolerance,
        late = late.map(|late| late.points),
        skipped = late.map(|late| late.skipped),
        words
    );
    let mut first = finding(Code::TimeSchedule, grade, direction, message);
    first.statistic = Some(share);
    first.n = Some(found.points as u64);
    first.null = text!("time/schedule/null");
    first.evidence = Some(RUNS.into());
    to.push(first);
    if share >= policy.schedule_explained {
        for stretch in found.stretches.iter().filter(|s| s.departure != Departure::Other).take(8) {
            departs(to, run, &found, stretch);
        }
    }
}

/// A law by its name.
fn law(law: &RateLaw) -> Text {
    text!("time/schedule/law", law = law.name())
}

/// How far the largest rate may stay below the configured one where the warm-up is a factor beside the decay.
const BESIDE: f64 = 0.03;

/// The law's peak, warm-up and end against the configured ones.
fn configured(found: &Schedule, run: &Run, policy: &Policy) -> (Grade, Direction, Text) {
    let main = &found.pieces[0].law;
    let peak = number(run, PEAK).filter(|peak| *peak > 0.0).map(|peak| found.peak / peak);
    // A line from the beginning that rises to the peak: its slope is the peak over the steps of the warm-up.
    let first = found.pieces.iter().map(|piece| piece.from).min().unwrap_or(0);
    let rises = found.pieces.iter().find_map(|piece| match piece.law {
        RateLaw::Linear { slope, .. } if slope > 0.0 && piece.from == first => Some(found.peak / slope),
        _ => None,
    });
    let warm = number(run, WARM_UP).filter(|steps| *steps > 2.0);
    let warm_up = rises.zip(warm).map(|(found, set)| Steps { found, set });
    let end = match *main {
        RateLaw::Cosine { turn, .. } => Some(rises.unwrap_or(0.0) + PI / turn),
        RateLaw::Linear { at, slope } if slope < 0.0 => Some(-at / slope),
        _ => None,
    };
    let total = number(run, TOTAL).filter(|steps| *steps > 2.0);
    let end = end.zip(total).map(|(found, set)| Steps { found, set });
    let fits = |steps: &Option<Steps>| steps.as_ref().is_some_and(|steps| steps.fits(1.0, policy));
    let scaled = peak.filter(|peak| (peak - 1.0).abs() > policy.schedule_peak);
    let peaks = peak.map(|peak| text!("time/schedule/peak", peak));
    let warm_ups = warm_up.as_ref().map(|steps| text!("time/schedule/warm-up", found = steps.found, set = steps.set));
    let ends = end.as_ref().map(|steps| text!("time/schedule/end", found = steps.found, set = steps.set));
    let figures: Vec<Text> = [peaks, warm_ups, ends].into_iter().flatten().collect();
    let neutral = |grade, words: Text| (grade, Direction::Neutral, words);
    if let Some(factor) = scaled {
        let set = found.peak / factor;
        if let Some(law) = under_way(main, first, warm.unwrap_or(0.0)).filter(|_| rises.is_none()) {
            let end = law.end.zip(total).map(|(found, set)| Steps { found, set });
            let fits = (law.height / set - 1.0).abs() <= policy.schedule_peak
                && end.as_ref().is_none_or(|end| end.fits(1.0, policy));
            let figures: Vec<Text> =
                end.iter().map(|s| text!("time/schedule/end", found = s.found, set = s.set)).collect();
            let (grade, direction) =
                if fits { (Grade::Weak, Direction::For) } else { (Grade::Context, Direction::Neutral) };
            let words = text!("time/schedule/late-start", first, peak = law.height / set, figures, fits);
            return (grade, direction, words);
        }
        // A warm-up that runs beside the decay never reaches the configured peak: 0.9925 of it over 15 steps of 240.
        if (1.0 - BESIDE..1.0).contains(&factor) {
            return neutral(Grade::Context, text!("time/schedule/figures", figures));
        }
        // The configuration governs all but the height.
        if fits(&warm_up) && (end.is_none() || fits(&end)) && !mentions(run, factor) {
            return (Grade::Moderate, Direction::Against, text!("time/schedule/height", figures));
        }
        return neutral(Grade::Weak, text!("time/schedule/not-configured", figures));
    }
    // Of a schedule that begins anew the end is not the training's.
    let last = found.pieces.iter().map(|piece| piece.to).max().unwrap_or(0) as f64;
    let once = end.as_ref().is_some_and(|end| last <= end.found + 2.0 && last >= 0.9 * end.found);
    if let (Some(_), Some(warm_up), Some(end), true) = (peak, &warm_up, &end, once) {
        let factor = end.found / end.set;
        if !warm_up.fits(1.0, policy) && !end.fits(1.0, policy) && warm_up.fits(factor, policy) {
            return (Grade::Moderate, Direction::Against, text!("time/schedule/recounted", figures, factor));
        }
    }
    let told = [&warm_up, &end].into_iter().flatten().count();
    if figures.is_empty() {
        return neutral(Grade::Context, text!("time/schedule/nothing-set"));
    }
    if peak.is_some() && told > 0 && [&warm_up, &end].into_iter().flatten().all(|s| s.fits(1.0, policy)) {
        return (Grade::Weak, Direction::For, text!("time/schedule/as-configured", figures));
    }
    neutral(Grade::Context, text!("time/schedule/figures", figures))
}

/// A law that had begun before the log did.
struct UnderWay {
    /// Its largest rate, at the end of the warm-up.
    height: f64,
    /// The step of its end.
    end: Option<f64>,
}

/// What a falling law was before the first logged step, where that lies behind the warm-up: a log of a resumed half does not
/// show the configured rate.
fn under_way(law: &RateLaw, first: i64, warm: f64) -> Option<UnderWay> {
    if (first as f64) <= warm.max(2.0) {
        return None;
    }
    let (height, end) = match *law {
        RateLaw::Cosine { cosine, sine, turn, origin, .. } => {
            // Its lowest point is half a period behind its phase.
            let low = origin + (sine.atan2(cosine) + PI) / turn;
            let periods = ((first as f64 - low) * turn / (2.0 * PI)).ceil().max(0.0);
            (law.extremes()?.0, Some(low + periods * 2.0 * PI / turn))
        }
        RateLaw::Linear { at, slope } if slope < 0.0 => (law.at(warm), Some(-at / slope)),
        RateLaw::Exponential { slope, .. } if slope < 0.0 => (law.at(warm), None),
        RateLaw::InverseSqrt { slope, .. } if slope > 0.0 => (law.at(warm), None),
        _ => return None,
    };
    Some(UnderWay { height, end })
}

/// Steps of the law beside those of the configuration.
struct Steps {
    found: f64,
    set: f64,
}

impl Steps {
    fn fits(&self, factor: f64, policy: &Policy) -> bool {
        (self.found - factor * self.set).abs() <= policy.schedule_steps * factor * self.set + 2.0
    }
}

/// A departure that is no larger is no question: a rate, or a count of steps, that is wrong by a thousandth changes nothing that
/// is held against a log, and where updates are skipped a law of two or four parameters runs through the middle of its steps.
const DEPARTS: f64 = 1e-3;

/// A stretch that is the law's at another height, or of another step.
fn departs(to: &mut Judgement, run: &Run, found: &Schedule, stretch: &Stretch) {
    let main = &found.pieces[0];
    let (what, factor) = match stretch.departure {
        Departure::Scaled(factor) => (text!("time/schedule/scaled", factor), Some(factor)),
        Departure::Shifted(steps) => (text!("time/schedule/shifted", steps = steps.abs(), later = steps > 0.0), None),
        Departure::Other => return,
    };
    let last = found.pieces.iter().map(|piece| piece.to).max().unwrap_or(stretch.to);
    let until = Some(stretch.to).filter(|to| stretch.returns || *to < last);
    let flat = matches!(main.law, RateLaw::Constant { .. });
    let whole = factor.is_some_and(|k| k >= 3.0 && (k - k.round()).abs() < 1e-3);
    let resumed = run.resumed || clock::session_begins(run, stretch.from);
    let (first, end) = found.pieces.iter().fold((i64::MAX, i64::MIN), |(a, b), p| (a.min(p.from), b.max(p.to)));
    let small = stretch.departure.size(end as f64 - first as f64) <= DEPARTS;
    let (grade, direction, words) = if small {
        (Grade::Context, Direction::Neutral, text!("time/schedule/small"))
    } else if stretch.points < 3 || whole && stretch.returns {
        (Grade::Weak, Direction::Neutral, text!("time/schedule/spike"))
    } else if flat && !stretch.returns {
        (Grade::Context, Direction::Neutral, text!("time/schedule/step"))
    } else if resumed && !stretch.returns {
        (Grade::Weak, Direction::Neutral, text!("time/schedule/resumed"))
    } else {
        (Grade::Moderate, Direction::Against, text!("time/schedule/no-scheduler"))
    };
    let message = text!(
        "time/schedule/departs",
        run = called(run),
        from = stretch.from,
        until,
        rows = stretch.points,
        what,
        words
    );
    let mut finding = finding(Code::TimeSchedule, grade, direction, message);
    finding.statistic = factor.or(match stretch.departure {
        Departure::Shifted(steps) => Some(steps),
        _ => None,
    });
    finding.n = Some(stretch.points as u64);
    finding.subject.steps = vec![stretch.from, stretch.to];
    finding.null = text!("time/schedule/departs-null", law = law(&main.law), rows = main.points);
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}
