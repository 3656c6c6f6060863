//! Settings that the optimiser's states have and the log does not.

use super::Reading;
use scratchproof_measurements::{GroupSettings, OptimizerStates, StateKind};
use scratchproof_record::Optimizer;

/// Rows without a gradient, with zero moments in all of them, that show that decay goes past the moments.
const LEAST_STILL: u64 = 8;

/// What the states say, where all of them say one thing.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    optimizer: Optimizer,
    betas: Option<[f64; 2]>,
    decay: Option<f64>,
}

/// One value of all groups that have it.
fn one<T: PartialEq + Copy>(groups: &[GroupSettings], value: impl Fn(&GroupSettings) -> Option<T>) -> Option<T> {
    let mut all = groups.iter().filter_map(value);
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

impl Said {
    /// Two moments with their decay rates and an epsilon are what Adam and `AdamW` keep. Which of the two it is the groups say, or rows
    /// that no training reached: L2 would be a gradient, and leave moments there.
    fn new(states: &OptimizerStates) -> Option<Self> {
        let groups: Vec<GroupSettings> = states.points.iter().flat_map(|point| point.groups.clone()).collect();
        let adam = states.points.iter().all(|point| point.kind == StateKind::Adam);
        let complete = groups.iter().all(|group| group.betas.is_some() && group.eps.is_some());
        if groups.is_empty() || !adam || !complete {
            return None;
        }
        let decaying: Vec<GroupSettings> = groups.iter().filter(|group| group.decay > Some(0.0)).copied().collect();
        let decay =
            if decaying.is_empty() { one(&groups, |group| group.decay) } else { one(&decaying, |group| group.decay) };
        let tables = || states.points.iter().flat_map(|point| &point.rows).filter(|rows| rows.clock >= LEAST_STILL);
        let still = decay > Some(0.0) && tables().next().is_some() && tables().all(|rows| rows.still == rows.clock);
        let decoupled = one(&groups, |group| group.decoupled).unwrap_or(still);
        let optimizer = if decoupled { Optimizer::AdamW } else { Optimizer::Adam };
        Some(Self { optimizer, betas: one(&groups, |group| group.betas), decay })
    }
}

impl Reading {
    /// Gives the runs what the states say and their configuration does not.
    pub fn take_from_states(&mut self, states: &OptimizerStates) {
        let Some(said) = Said::new(states) else { return };
        for run in self.joined.iter_mut().chain(&mut self.record.runs) {
            run.take_from_states(&said.optimizer, said.betas, said.decay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scratchproof_measurements::{StatePoint, ZeroRows};

    fn states(groups: &[GroupSettings], rows: &[ZeroRows]) -> OptimizerStates {
        let point = StatePoint {
            at: 1,
            source: String::new(),
            kind: StateKind::Adam,
            keeps: Vec::new(),
            steps: vec![(1, 1)],
            groups: groups.to_vec(),
            parameters: 1,
            strange: 0,
            joined: 1,
            elements: 1,
            digest: String::new(),
            second: None,
            rows: rows.to_vec(),
            master: None,
            displacements: [None; 2],
        };
        OptimizerStates { points: vec![point], ..OptimizerStates::default() }
    }

    #[test]
    fn states_say_adam_and_rows_without_moments_say_which() {
        let group = |decay: f64| GroupSettings {
            rate: Some(1e-3),
            betas: Some([0.9, 0.95]),
            eps: Some(1e-8),
            decay: Some(decay),
            ..GroupSettings::default()
        };
        let rows = |still: u64| ZeroRows { unit: 0, zero: still, of: 800, still, clock: 200 };
        let said = |states: OptimizerStates| Said::new(&states).map(|said| (said.optimizer, said.betas, said.decay));
        let betas = Some([0.9, 0.95]);
        let both = [group(0.1), group(0.0)];
        assert_eq!(said(states(&both, &[rows(200)])), Some((Optimizer::AdamW, betas, Some(0.1))));
        assert_eq!(said(states(&both, &[rows(0)])), Some((Optimizer::Adam, betas, Some(0.1))));
        assert_eq!(said(states(&[group(0.0)], &[])), Some((Optimizer::Adam, betas, Some(0.0))));
        // Two decays: which rows have which is not known.
        assert_eq!(said(states(&[group(0.1), group(0.3)], &[])), Some((Optimizer::Adam, betas, None)));
        let other = GroupSettings { betas: None, momentum: Some(0.9), ..group(0.1) };
        assert_eq!(said(states(&[group(0.1), other], &[])), None);
        let mut momentum = states(&both, &[]);
        momentum.points[0].kind = StateKind::Momentum;
        assert_eq!(said(momentum), None);
    }
}
