//! Which law a logged learning rate follows, and where it leaves it.
//!
//! A schedule is computed by a formula, so a law holds to the digits that were logged or not at all. Laws are proposed from a
//! few points and the one that most points agree with is taken (a consensus, as in RANSAC, over fixed choices of points).
//! Assumes nothing of noise: there is none.

use std::f64::consts::PI;

use crate::late::{Late, late};
use crate::law::RateLaw;

/// Points that laws are proposed from and counted on; more are thinned out evenly.
const COUNTED: usize = 1024;
/// Laws that are looked at more closely where updates may have been skipped.
const PROPOSED: usize = 20;

/// How a stretch of points relates to the law around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Departure {
    /// Every rate is the law's times this.
    Scaled(f64),
    /// Every rate is the law's of so many steps later.
    Shifted(f64),
    /// Neither.
    Other,
}

impl Departure {
    /// How far it is from the law, as a share: of the rate, or of the `steps` that the schedule has.
    #[must_use]
    pub fn size(self, steps: f64) -> f64 {
        match self {
            Self::Scaled(factor) => (factor - 1.0).abs(),
            Self::Shifted(by) => by.abs() / steps.max(1.0),
            Self::Other => 0.0,
        }
    }
}

/// A stretch that leaves its law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// Its first step.
    pub from: i64,
    /// Its last step.
    pub to: i64,
    /// Whether the law goes on after it.
    pub returns: bool,
    /// How it relates to the law.
    pub departure: Departure,
    /// Points.
    pub points: usize,
}

/// A law and the points that follow it.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// The law.
    pub law: RateLaw,
    /// First step that follows it.
    pub from: i64,
    /// Last step that follows it.
    pub to: i64,
    /// Points that follow it.
    pub points: usize,
    /// Where updates were skipped: points that follow it so much later.
    pub late: Option<Late>,
}

/// A learning rate taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The laws, the one that covers the most steps first.
    pub pieces: Vec<Piece>,
    /// Stretches inside or after the first law's range that leave it.
    pub stretches: Vec<Stretch>,
    /// Points that follow one of the laws.
    pub explained: usize,
    /// Points.
    pub points: usize,
    /// Largest rate.
    pub peak: f64,
    /// Relative to the peak, how near a point must be to follow a law.
    pub tolerance: f64,
}

/// Takes a learning rate apart. `points` are sorted by step; `skips` says that updates may have been skipped, each with its
/// step of the schedule ([`Late`]). `None` for fewer than six points, or without a positive rate.
#[must_use]
pub fn schedule(points: &[(i64, f64)], skips: bool) -> Option<Schedule> {
    let peak = points.iter().map(|p| p.1).fold(0.0, f64::max);
    if points.len() < 6 || !(peak > 0.0 && peak.is_finite()) {
        return None;
    }
    // As computed (and perhaps held in f32), else as printed with three digits.
    let exact = with_tolerance(points, peak, 2e-6, skips);
    if exact.explained * 5 >= exact.points * 4 {
        return Some(exact);
    }
    let rounded = with_tolerance(points, peak, 1e-3, skips);
    Some(if rounded.explained > exact.explained + exact.points / 10 { rounded } else { exact })
}

fn with_tolerance(points: &[(i64, f64)], peak: f64, tolerance: f64, skips: bool) -> Schedule {
    let limit = peak * tolerance;
    let mut left: Vec<usize> = (0..points.len()).collect();
    let mut pieces: Vec<(f64, Piece)> = Vec::new();
    let mut owner: Vec<Option<i64>> = vec![None; points.len()];
    let mut explained = 0;
    // A schedule of more pieces is not one that anybody wrote down.
    while pieces.len() < 8 && left.len() >= 3 {
        let rest: Vec<(i64, f64)> = left.iter().map(|&at| points[at]).collect();
        let laws = best(&rest, limit, if skips { PROPOSED } else { 1 });
        // Where updates are skipped a law that cuts through the middle of them may meet more points than the true one does.
        let met = |law: &RateLaw| {
            let on = |at: &usize| (law.at(points[*at].0 as f64) - points[*at].1).abs() <= limit;
            let walked = late(points, law, limit);
            let taken = |at: &usize| walked.as_ref().is_some_and(|(delays, _)| delays[*at].is_some());
            left.iter().filter(|at| on(at) || taken(at)).count().saturating_sub(law.free())
        };
        let most = laws.first().map(|law| (if skips && laws.len() > 1 { met(law) } else { 0 }, *law));
        let Some((_, law)) = laws.iter().skip(1).fold(most, |most, law| {
            let met = met(law);
            if most.is_none_or(|most| met > most.0) { Some((met, *law)) } else { most }
        }) else {
            break;
        };
        let on = |at: usize| (law.at(points[at].0 as f64) - points[at].1).abs() <= limit;
        let walked = if skips { late(points, &law, limit) } else { None };
        let taken = |at: usize| walked.as_ref().is_some_and(|(delays, _)| delays[at].is_some());
        let (own, rest): (Vec<usize>, Vec<usize>) = left.into_iter().partition(|&at| on(at) || taken(at));
        left = rest;
        explained += own.len();
        let delay = |at: usize| walked.as_ref().and_then(|(delays, _)| delays[at]).unwrap_or(0);
        for &at in &own {
            owner[at] = Some(delay(at));
        }
        let own: Vec<(i64, f64)> = own.into_iter().map(|at| points[at]).collect();
        let (Some(from), Some(to)) = (own.first(), own.last()) else { break };
        let piece = Piece { law, from: from.0, to: to.0, points: own.len(), late: walked.map(|(_, late)| late) };
        pieces.push((covered(points, &own), piece));
    }
    // Early rows are often logged more densely: the law of the most steps is the schedule's.
    pieces.sort_by(|a, b| b.0.total_cmp(&a.0));
    let pieces: Vec<Piece> = pieces.into_iter().map(|(_, piece)| piece).collect();
    let delayed: Vec<(i64, f64)> =
        points.iter().zip(&owner).filter(|(_, own)| own.is_none_or(|d| d == 0)).map(|(p, _)| *p).collect();
    let stretches = stretches(&delayed, &pieces, limit);
    Schedule { pieces, stretches, explained, points: points.len(), peak, tolerance }
}

/// Steps between neighbouring points that are both among these.
fn covered(points: &[(i64, f64)], own: &[(i64, f64)]) -> f64 {
    let neighbours = |pair: &&[(i64, f64)]| {
        let next = points.partition_point(|point| point.0 <= pair[0].0);
        points.get(next).is_some_and(|point| point.0 == pair[1].0)
    };
    own.windows(2).filter(neighbours).map(|pair| pair[1].0 as f64 - pair[0].0 as f64).sum()
}

/// The law that the most points follow, of several the one with the fewest parameters; and after it the next of every kind, so
/// many in all.
fn best(points: &[(i64, f64)], limit: f64, proposed: usize) -> Vec<RateLaw> {
    let thin = points.len().div_ceil(COUNTED);
    let counted: Vec<(f64, f64)> = points.iter().step_by(thin).map(|p| (p.0 as f64, p.1)).collect();
    let n = counted.len();
    let mut best: Option<(usize, RateLaw)> = None;
    let mut kinds: [Vec<(usize, RateLaw)>; 5] = Default::default();
    let mut propose = |law: RateLaw| {
        let votes = counted.iter().filter(|p| (law.at(p.0) - p.1).abs() <= limit).count();
        // What a law must explain beyond the points it was made from.
        let score = votes.saturating_sub(law.free());
        if score < 1 || votes < 3 {
            return;
        }
        if best.is_none_or(|(most, _)| score > most) {
            best = Some((score, law));
        }
        let own = &mut kinds[law.kind()];
        own.push((score, law));
        own.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        own.truncate(proposed / 5);
    };
    // Windows of halving length: a piece that holds a quarter of the points holds a window of an eighth.
    let mut width = n;
    while width >= 3 {
        let stride = (width / 2).max(1);
        for start in (0..=n - width).step_by(stride) {
            let window = &counted[start..start + width];
            let at = |percent: usize| window[((width - 1) * percent + 50) / 100];
            for law in simple(at(25), at(75)).into_iter().chain(simple(at(0), at(100))) {
                propose(law);
            }
            if width >= 6 {
                for law in cosines([at(0), at(30), at(65), at(100)]).into_iter().chain(cosines([
                    at(15),
                    at(40),
                    at(60),
                    at(85),
                ])) {
                    propose(law);
                }
            }
        }
        width /= 2;
        if n / width.max(1) > 64 {
            break;
        }
    }
    best.into_iter().map(|(_, law)| law).chain(kinds.into_iter().flatten().map(|(_, law)| law)).collect()
}

/// The laws of two parameters through two points.
fn simple((x, a): (f64, f64), (y, b): (f64, f64)) -> Vec<RateLaw> {
    let line = |a: f64, b: f64| ((b - a) / (y - x), a - (b - a) / (y - x) * x);
    let mut laws = vec![RateLaw::Constant { rate: a }];
    if y > x {
        let (slope, at) = line(a, b);
        laws.push(RateLaw::Linear { at, slope });
        if a > 0.0 && b > 0.0 && (a - b).abs() > 1e-9 * a {
            let (slope, at) = line(a.ln(), b.ln());
            laws.push(RateLaw::Exponential { at, slope });
            let (slope, at) = line(1.0 / (a * a), 1.0 / (b * b));
            laws.push(RateLaw::InverseSqrt { at, slope });
        }
    }
    laws
}

/// The cosines through four points, with at most one turn between the first and the last.
fn cosines(points: [(f64, f64); 4]) -> Vec<RateLaw> {
    const TURNS: usize = 96;
    let span = points[3].0 - points[0].0;
    let spread = points.iter().map(|p| p.1).fold(0.0, f64::max) - points.iter().map(|p| p.1).fold(f64::MAX, f64::min);
    if span <= 0.0 || spread <= 0.0 || points.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        return Vec::new();
    }
    let miss = |turn: f64| through(&points, turn).map(|law| law.at(points[3].0) - points[3].1);
    let turn = |i: usize| PI / span * (0.02 * 100f64.powf(i as f64 / TURNS as f64));
    let mut laws = Vec::new();
    let mut before = miss(turn(0));
    for i in 1..=TURNS {
        let now = miss(turn(i));
        if let (Some(a), Some(b)) = (before, now)
            && a.is_finite()
            && b.is_finite()
            && (a > 0.0) != (b > 0.0)
        {
            let (mut low, mut high) = (turn(i - 1), turn(i));
            for _ in 0..60 {
                let middle = f64::midpoint(low, high);
                match miss(middle) {
                    Some(m) if (m > 0.0) == (a > 0.0) => low = middle,
                    _ => high = middle,
                }
            }
            laws.extend(through(&points, f64::midpoint(low, high)));
        }
        before = now;
    }
    laws
}

/// The cosine of a frequency through the first three points.
fn through(points: &[(f64, f64); 4], turn: f64) -> Option<RateLaw> {
    let origin = points[0].0;
    let row = |i: usize| {
        let (s, c) = (turn * (points[i].0 - origin)).sin_cos();
        (c, s, points[i].1)
    };
    let ((c0, s0, y0), (c1, s1, y1), (c2, s2, y2)) = (row(0), row(1), row(2));
    // The mean falls out of the differences.
    let (a, b, p) = (c1 - c0, s1 - s0, y1 - y0);
    let (c, d, q) = (c2 - c0, s2 - s0, y2 - y0);
    let determinant = a * d - b * c;
    if determinant.abs() < 1e-300 {
        return None;
    }
    let (cosine, sine) = ((p * d - b * q) / determinant, (a * q - p * c) / determinant);
    let middle = y0 - cosine * c0 - sine * s0;
    (middle.is_finite() && cosine.is_finite() && sine.is_finite()).then_some(RateLaw::Cosine {
        middle,
        cosine,
        sine,
        turn,
        origin,
    })
}

/// Runs of points that leave the law, and other pieces that are the law at another height or of another step.
fn stretches(points: &[(i64, f64)], pieces: &[Piece], limit: f64) -> Vec<Stretch> {
    let Some((main, others)) = pieces.split_first() else { return Vec::new() };
    let law = &main.law;
    let mut stretches = Vec::new();
    let mut run: Vec<(i64, f64)> = Vec::new();
    let mut close = |run: &mut Vec<(i64, f64)>, returns: bool| {
        if let (Some(first), Some(last)) = (run.first(), run.last()) {
            let mut departure = departure(run, law, limit);
            if matches!(departure, Departure::Shifted(_)) && !seamless(points, first.0) {
                departure = Departure::Other;
            }
            stretches.push(Stretch { from: first.0, to: last.0, returns, departure, points: run.len() });
        }
        run.clear();
    };
    for point in points.iter().filter(|point| point.0 >= main.from) {
        if (law.at(point.0 as f64) - point.1).abs() <= limit {
            close(&mut run, true);
        } else {
            run.push(*point);
        }
    }
    close(&mut run, false);
    for piece in others.iter().filter(|piece| piece.points >= 4 && piece.law.name() == law.name()) {
        let inside = |p: &&(i64, f64)| p.0 >= piece.from && p.0 <= piece.to;
        let own: Vec<(i64, f64)> =
            points.iter().filter(inside).filter(|p| (piece.law.at(p.0 as f64) - p.1).abs() <= limit).copied().collect();
        let before = piece.to < main.from;
        let met = stretches.iter().any(|s| s.departure != Departure::Other && s.from <= piece.to && s.to >= piece.from);
        // What stands before the main law is the law; what follows it has changed.
        let (departure, from, to) = match departure(&own, law, limit) {
            Departure::Scaled(factor) if before => (Departure::Scaled(1.0 / factor), main.from, main.to),
            Departure::Shifted(steps) if before => (Departure::Shifted(-steps), main.from, main.to),
            departure => (departure, piece.from, piece.to),
        };
        if met || departure == Departure::Other || matches!(departure, Departure::Shifted(_)) && !seamless(points, from)
        {
            continue;
        }
        let returns = !before && main.to > piece.to;
        stretches.push(Stretch { from, to, returns, departure, points: if before { main.points } else { own.len() } });
    }
    stretches
}

/// Whether the rate goes on at a step where it was: a schedule that begins anew jumps back to its height, or down to the
/// beginning of its warm-up.
fn seamless(points: &[(i64, f64)], from: i64) -> bool {
    let at = points.partition_point(|point| point.0 < from);
    let peak = points.iter().map(|point| point.1).fold(0.0, f64::max);
    at == 0 || at >= points.len() || (points[at].1 - points[at - 1].1).abs() <= 0.1 * peak
}

fn departure(run: &[(i64, f64)], law: &RateLaw, limit: f64) -> Departure {
    let floor = 50.0 * limit;
    let telling = || run.iter().filter(|p| law.at(p.0 as f64).abs() > floor);
    let ratios: Vec<f64> = telling().map(|p| p.1 / law.at(p.0 as f64)).collect();
    // Any one rate is some multiple of the law's.
    if let Some(&first) = ratios.first()
        && ratios.len() > 1
        && ratios.len() * 2 >= run.len()
        && first > 0.0
        && telling().all(|p| (p.1 - first * law.at(p.0 as f64)).abs() <= 4.0 * limit * first.max(1.0))
    {
        return Departure::Scaled(first);
    }
    // Lines of one slope are parallel; two warm-ups are.
    let rises = matches!(law, RateLaw::Linear { slope, .. } if *slope > 0.0);
    if matches!(law, RateLaw::Constant { .. }) || rises || run.len() < 3 {
        return Departure::Other;
    }
    let shifts: Option<Vec<f64>> = run.iter().map(|p| shift(law, p.0 as f64, p.1, limit)).collect();
    let Some(shifts) = shifts else { return Departure::Other };
    let mut sorted = shifts.clone();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted[sorted.len() / 2];
    let moved = |p: &(i64, f64)| (law.at(p.0 as f64 + middle) - p.1).abs() <= 4.0 * limit;
    if run.iter().all(moved) { Departure::Shifted(middle) } else { Departure::Other }
}

/// How many steps later the law has this rate, by Newton's method from here.
fn shift(law: &RateLaw, step: f64, rate: f64, limit: f64) -> Option<f64> {
    let mut d = 0.0;
    for _ in 0..50 {
        let miss = law.at(step + d) - rate;
        if miss.abs() <= limit * 0.01 {
            return Some(d);
        }
        let slope = (law.at(step + d + 0.5) - law.at(step + d - 0.5)).abs().max(f64::MIN_POSITIVE)
            * (law.at(step + d + 0.5) - law.at(step + d - 0.5)).signum();
        let move_by = (miss / slope).clamp(-1e4, 1e4);
        d -= move_by;
        if !d.is_finite() {
            return None;
        }
    }
    ((law.at(step + d) - rate).abs() <= limit).then_some(d)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Departure, RateLaw, Schedule, schedule};

    fn cosine(s: f64) -> f64 {
        let body = 0.1 + 0.45 * (1.0 + (std::f64::consts::PI * (s - 30.0) / 270.0).cos());
        3e-3 * if s < 30.0 { (s + 1.0) / 30.0 } else { body }
    }

    fn of(curve: impl Fn(f64) -> f64) -> Schedule {
        let steps = (0..=20).chain((25..=300).step_by(5));
        schedule(&steps.map(|s| (s, curve(s as f64))).collect::<Vec<_>>(), true).unwrap()
    }

    #[test]
    fn laws_are_found_with_their_parameters() {
        let found = of(cosine);
        let main = &found.pieces[0];
        let RateLaw::Cosine { turn, .. } = main.law else { panic!("{found:?}") };
        assert!((std::f64::consts::PI / turn - 270.0).abs() < 0.1, "{found:?}");
        let (most, least) = main.law.extremes().unwrap();
        assert!((most - 3e-3).abs() < 1e-8 && (least - 3e-4).abs() < 1e-7, "{found:?}");
        assert!(matches!(found.pieces[1].law, RateLaw::Linear { slope, .. } if (slope - 1e-4).abs() < 1e-12));
        assert_eq!((found.explained, found.stretches.len()), (found.points, 0));
        for (name, curve) in [
            ("constant", (|_| 2e-3) as fn(f64) -> f64),
            ("linear", |s| 3e-3 * (1.0 - s / 301.0)),
            ("exponential", |s| 3e-3 * (-s / 100.0).exp()),
            ("inverse square root", |s| 3e-3 / (1.0 + s / 50.0).sqrt()),
        ] {
            let found = of(curve);
            assert_eq!((found.pieces[0].law.name(), found.explained), (name, found.points));
        }
    }

    #[test]
    fn a_scaled_or_shifted_stretch_is_named() {
        let scaled = of(|s| cosine(s) * if (100.0..200.0).contains(&s) { 1.1 } else { 1.0 });
        let [stretch] = scaled.stretches[..] else { panic!("{scaled:?}") };
        assert_eq!((stretch.from, stretch.to, stretch.returns), (100, 195, true));
        assert!(matches!(stretch.departure, Departure::Scaled(k) if (k - 1.1).abs() < 1e-4), "{stretch:?}");
        let after = of(|s| cosine(s) * if s >= 200.0 { 0.5 } else { 1.0 });
        let [stretch] = after.stretches[..] else { panic!("{after:?}") };
        assert!(matches!(stretch.departure, Departure::Scaled(k) if (k - 0.5).abs() < 1e-4) && !stretch.returns);
        // The longer part is the law that is proposed first, wherever the change is.
        let early = of(|s| cosine(s) * if s >= 110.0 { 0.9 } else { 1.0 });
        let scaled = |s: &super::Stretch| matches!(s.departure, Departure::Scaled(k) if (k - 0.9).abs() < 1e-4);
        assert!(early.stretches.iter().any(|s| scaled(s) && (s.from, s.returns) == (110, false)), "{early:?}");
        let anew = of(|s| 1e-4 + 1e-3 * (1.0 + (std::f64::consts::PI * (s % 100.0) / 100.0).cos()));
        assert!(anew.stretches.iter().all(|s| s.departure == Departure::Other), "{anew:?}");
        let shifted = of(|s| if s >= 150.0 { cosine(s - 40.0) } else { cosine(s) });
        assert!(
            shifted
                .stretches
                .iter()
                .any(|s| matches!(s.departure, Departure::Shifted(d) if (d.abs() - 40.0).abs() < 0.1)),
            "{shifted:?}"
        );
    }

    #[test]
    fn hostile_points_end() {
        assert!(schedule(&[], true).is_none());
        let wild: Vec<(i64, f64)> = (0..5000).map(|i| (i * i, ((i * 7919) % 1013) as f64)).collect();
        let found = schedule(&wild, true).unwrap();
        assert!(found.explained < found.points / 2);
        assert!(
            schedule(&[(i64::MIN, 1.0), (0, 2.0), (1, 1e300), (2, 1.0), (3, 0.0), (i64::MAX, 1.0)], true).is_some()
        );
    }
}
