//! The path of every component as a table: the plane it lies in, its speed, what it keeps of the start and of itself.

use std::collections::BTreeMap;

use crate::session::Session;
use crate::time::rates;
use scratchproof_evidence::{ChainRow, PathRow};
use scratchproof_measurements::{ALL, Component, Trails};
use scratchproof_stats::{Group, Trail, median};

/// One row a component and checkpoint.
pub fn rows(session: &Session, trails: &Trails) -> Vec<PathRow> {
    if !session.is_series() || session.measured.steps.len() < 2 {
        return Vec::new();
    }
    let speeds = Speeds::new(session);
    let mut rows = Vec::new();
    for (component, trail) in &trails.components {
        let trajectory = trails.parts.get(component).map(Trail::trajectory);
        let plane = trail.trajectory().plane();
        let speed = speeds.relative(trail);
        for (t, &step) in session.measured.steps.iter().enumerate() {
            let score = |k: usize| Some(plane.as_ref()?.scores[t][k]);
            let share = |k: usize| Some(plane.as_ref()?.shares[k]);
            let turn = (t > 0 && t < session.measured.plan.last()).then(|| trail.turn([t - 1, t, t + 1]));
            let decay = speeds.decay.get(t).copied().flatten();
            // What rounding to the number format adds to a short path is not carried on.
            let rounding = |b: usize| trails.rounding(trail.size(b).unwrap_or(0.0), 0..=t);
            let clear = t.checked_sub(1).is_some_and(|b| trail.rms(0, b).is_some_and(|rms| rms > 8.0 * rounding(b)));
            let shrunk = trajectory.as_ref().and_then(|trajectory| trajectory.shrunk(t));
            rows.push(PathRow {
                step,
                component: component.clone(),
                size: trail.size(t),
                pc1: score(0),
                pc2: score(1),
                pc3: score(2),
                share1: share(0),
                share2: share(1),
                share3: share(2),
                step_length: t.checked_sub(1).and_then(|b| Some(trail.rms(b, t)? / speeds.steps[b])),
                relative_speed: t.checked_sub(1).and_then(|b| speed.get(b).copied().flatten()),
                turn: turn.and_then(|turn| Some(turn.lag1_cosine()?.clamp(-1.0, 1.0).acos().to_degrees())),
                start_cosine: trajectory.as_ref().and_then(|trajectory| trajectory.start_cosine(t)),
                start_retained: trajectory.as_ref().and_then(|trajectory| trajectory.retained(t)),
                expected_retained: shrunk.and(decay),
                expected_cosine: shrunk.and_then(|shrunk| Some(shrunk * decay?)),
                carried: trajectory.as_ref().filter(|_| clear).and_then(|trajectory| trajectory.carried(t)),
                carried_cosine: trajectory
                    .as_ref()
                    .filter(|_| clear)
                    .and_then(|trajectory| trajectory.carried_cosine(t)),
            });
        }
    }
    rows
}

/// What the log says of every interval.
struct Speeds {
    /// Steps.
    steps: Vec<f64>,
    /// Sum of the learning rates, where every interval has one.
    rates: Option<Vec<f64>>,
    /// By checkpoint, what decay alone leaves of the first one.
    decay: Vec<Option<f64>>,
}

impl Speeds {
    fn new(session: &Session) -> Self {
        let pairs = || session.measured.steps.windows(2).map(|pair| (pair[0], pair[1]));
        let steps = pairs().map(|(from, to)| ((i128::from(to) - i128::from(from)) as f64).max(1.0)).collect();
        let rates = pairs().map(|(from, to)| Some(rates::rates(session.record, from, to)?.sum)).collect();
        let decay = rates::left_by_decay(session.record, &session.measured.steps);
        Self { steps, rates, decay }
    }

    /// Displacement over the sum of learning rates, or over the steps, over the median of the path.
    fn relative(&self, trail: &Trail) -> Vec<Option<f64>> {
        let over = self.rates.as_ref().unwrap_or(&self.steps);
        let speeds: Vec<f64> =
            over.iter().enumerate().map(|(t, over)| trail.rms(t, t + 1).unwrap_or(0.0) / over).collect();
        let median = median(speeds.clone()).unwrap_or(0.0);
        speeds.into_iter().map(|speed| (median > 0.0).then(|| speed / median).filter(|s| s.is_finite())).collect()
    }
}

/// The rows of the chain with what the optimiser can reach.
pub fn bounded(session: &Session, mut rows: Vec<ChainRow>) -> Vec<ChainRow> {
    let Ok(limit) = rates::rule(session.record) else { return rows };
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for (unit, figures) in session.measured.own().filter(|(unit, _)| !unit.role.constant) {
        let gram = &figures.gram;
        let square = (0..session.measured.plan.series).map(|t| gram.product(t, t)).fold(0.0, f64::max);
        for name in [unit.role.judged_as(), ALL] {
            let group = groups.entry(name).or_default();
            group.elements += gram.elements();
            group.size = group.size.max((square / gram.elements().max(1) as f64).sqrt());
            match (unit.role.component, unit.view) {
                (Component::Embedding | Component::Head, _) | (_, None) => group.others = true,
                (_, Some(view)) => group.matrices.push((view.rows, view.cols)),
            }
        }
    }
    for row in &mut rows {
        row.bound = groups.get(row.component.as_str()).map(|group| limit.rule.bound(group)).filter(|b| b.is_finite());
    }
    rows
}
