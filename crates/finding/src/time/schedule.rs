//! The logged learning rates against a law and against the configuration.

use std::f64::consts::PI;

use super::config::{PEAK, TOTAL, WARM_UP, mentions, number};
use super::{Code, Direction, Grade, Judgement, RUNS, called, called_first, clock, finding};
use scratchproof_case::Policy;
use scratchproof_record::Run;
use scratchproof_stats::{Departure, RateLaw, Schedule, Stretch, schedule};

/// Holds the logged rates against the law that they follow, and the law against the configuration.
pub fn judge(to: &mut Judgement, policy: &Policy, run: &Run) {
    let points = run.learning_rate();
    let Some(found) = schedule(&points) else {
        to.missing.push(format!("a learning rate in the log of {}", called(run)).into());
        return;
    };
    let share = found.explained as f64 / found.points as f64;
    let names: Vec<&str> = found.pieces.iter().take(4).map(|piece| piece.law.name()).collect();
    let laws = format!(
        "{}'s {} logged learning rates: {:.0} % follow {} law(s) ({}) to {:.0e} of the peak",
        called_first(run),
        found.points,
        100.0 * share,
        found.pieces.len(),
        names.join(", "),
        found.tolerance
    );
    let (grade, direction, words) = if share < policy.schedule_explained {
        (Grade::Context, Direction::Neutral, "the schedule is none of those known here".to_owned())
    } else {
        configured(&found, run, policy)
    };
    let mut first = finding(Code::TimeSchedule, grade, direction, format!("{laws}; {words}."));
    first.statistic = Some(share);
    first.n = Some(found.points as u64);
    first.null = "a scheduler computes the learning rate from the step by a formula that the configuration sets".into();
    first.evidence = Some(RUNS.into());
    to.push(first);
    if share >= policy.schedule_explained {
        for stretch in found.stretches.iter().filter(|s| s.departure != Departure::Other).take(8) {
            departs(to, run, &found, stretch);
        }
    }
}

/// The law's peak, warm-up and end against the configured ones.
fn configured(found: &Schedule, run: &Run, policy: &Policy) -> (Grade, Direction, String) {
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
    let words = |what: &str, steps: &Option<Steps>| {
        steps.as_ref().map(|s| format!("{what} {:.1} for {:.0} configured", s.found, s.set))
    };
    let peaks = peak.map(|peak| format!("the largest is {peak:.4} times the configured rate"));
    let all: Vec<String> = [peaks, words("warm-up steps", &warm_up), words("end of the law at step", &end)]
        .into_iter()
        .flatten()
        .collect();
    let listed = all.join(", ");
    let neutral = |grade, words: String| (grade, Direction::Neutral, words);
    if let Some(factor) = scaled {
        // The configuration governs all but the height.
        if fits(&warm_up) && (end.is_none() || fits(&end)) && !mentions(run, factor) {
            let words = format!("{listed}: the configured schedule at another height, and no setting has that factor");
            return (Grade::Moderate, Direction::Against, words);
        }
        return neutral(Grade::Weak, format!("{listed}: the rate was not the configured one"));
    }
    // Of a schedule that begins anew the end is not the training's.
    let last = found.pieces.iter().map(|piece| piece.to).max().unwrap_or(0) as f64;
    let once = end.as_ref().is_some_and(|end| last <= end.found + 2.0 && last >= 0.9 * end.found);
    if let (Some(_), Some(warm_up), Some(end), true) = (peak, &warm_up, &end, once) {
        let factor = end.found / end.set;
        if !warm_up.fits(1.0, policy) && !end.fits(1.0, policy) && warm_up.fits(factor, policy) {
            let words = format!("{listed}: the configured schedule with its steps counted {factor:.3} times");
            return (Grade::Moderate, Direction::Against, words);
        }
    }
    let told = [&warm_up, &end].into_iter().flatten().count();
    if all.is_empty() {
        return neutral(Grade::Context, "the configuration sets nothing to hold them against".into());
    }
    if peak.is_some() && told > 0 && [&warm_up, &end].into_iter().flatten().all(|s| s.fits(1.0, policy)) {
        return (Grade::Weak, Direction::For, format!("{listed}: as configured"));
    }
    neutral(Grade::Context, listed)
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

/// A stretch that is the law's at another height, or of another step.
fn departs(to: &mut Judgement, run: &Run, found: &Schedule, stretch: &Stretch) {
    let main = &found.pieces[0];
    let (what, factor) = match stretch.departure {
        Departure::Scaled(factor) => (format!("{factor:.4} times what the law around them gives"), Some(factor)),
        Departure::Shifted(steps) => (format!("what the law gives {:.1} steps {}", steps.abs(), later(steps)), None),
        Departure::Other => return,
    };
    let span = if stretch.returns {
        format!("from step {} to {} ({} rows)", stretch.from, stretch.to, stretch.points)
    } else {
        format!("from step {} to the end ({} rows)", stretch.from, stretch.points)
    };
    let flat = matches!(main.law, RateLaw::Constant { .. });
    let whole = factor.is_some_and(|k| k >= 3.0 && (k - k.round()).abs() < 1e-3);
    let resumed = run.resumed || clock::session_begins(run, stretch.from);
    let (grade, direction, words) = if stretch.points < 3 || whole && stretch.returns {
        (Grade::Weak, Direction::Neutral, "a spike that somebody set, or altered rows: ask which")
    } else if flat && !stretch.returns {
        (Grade::Context, Direction::Neutral, "a step of the schedule")
    } else if resumed && !stretch.returns {
        (Grade::Weak, Direction::Neutral, "it begins where the run was resumed: ask what was changed")
    } else {
        (Grade::Moderate, Direction::Against, "a scheduler does not do this within one process")
    };
    let message = format!("In {} the learning rates {span} are {what}: {words}.", called(run));
    let mut finding = finding(Code::TimeSchedule, grade, direction, message);
    finding.statistic = factor.or(match stretch.departure {
        Departure::Shifted(steps) => Some(steps),
        _ => None,
    });
    finding.n = Some(stretch.points as u64);
    finding.subject.steps = vec![stretch.from, stretch.to];
    finding.null = format!("the {} law of the other {} rows", main.law.name(), main.points).into();
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

fn later(steps: f64) -> &'static str {
    if steps > 0.0 { "later" } else { "earlier" }
}
