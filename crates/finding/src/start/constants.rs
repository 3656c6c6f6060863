//! Vectors of an untrained model: norm weights are all one value, biases zero or drawn.

use std::collections::BTreeSet;

use scratchproof_texts::text;

use super::{Code, Direction, Finding, Grade, Judgement, StartFacts};

/// A vector of the first checkpoint.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct StartVector {
    pub tensor: String,
    pub component: String,
    pub family: String,
    /// A norm weight, as against a bias or another term.
    pub norm: bool,
    pub elements: u64,
    pub mean: f64,
    /// Standard deviation about the mean; 0 for a constant.
    pub std: f64,
    /// Squared distance from one, or zero where one is added to it, at every checkpoint.
    pub away: Vec<f64>,
    /// Squared distance between the first two checkpoints.
    pub moved: f64,
}

impl StartVector {
    /// Whether it is not one value.
    pub(super) fn varies(&self) -> bool {
        self.std > 1e-6 * self.mean.abs().max(1e-3)
    }
}

pub fn judge(judgement: &mut Judgement, facts: &StartFacts<'_>, step: i64) {
    let (norms, others): (Vec<_>, Vec<_>) = facts.vectors.iter().partition(|v| v.norm);
    if norms.is_empty() {
        return;
    }
    let moved: Vec<_> = norms.iter().filter(|v| v.varies()).collect();
    // Biases and other terms: zero, another constant (time constants, temperatures), or neither; a bias may be drawn.
    let zero = others.iter().filter(|v| v.mean == 0.0 && v.std == 0.0).count();
    let constant = others.iter().filter(|v| !v.varies()).count() - zero;
    let (all, others) = (norms.len(), others.len());
    let mut finding = if let Some(worst) = moved.iter().max_by(|a, b| a.std.total_cmp(&b.std)) {
        let message = text!(
            "start/constants/vary",
            count = moved.len(),
            all,
            step,
            tensor = &worst.tensor,
            std = worst.std,
            others,
            zero,
            constant
        );
        let mut finding = Finding::new(Code::StartConstants, Grade::Moderate, Direction::Against, message);
        finding.subject.tensor = Some(worst.tensor.clone());
        finding
    } else {
        let values: BTreeSet<String> = norms.iter().map(|v| v.mean.to_string()).collect();
        let values: Vec<String> = values.into_iter().collect();
        let message = text!("start/constants/constant", all, step, values, others, zero, constant);
        Finding::new(Code::StartConstants, Grade::Moderate, Direction::For, message)
    };
    finding.subject.component = Some("norms".into());
    finding.subject.steps = vec![step];
    finding.statistic = Some(moved.len() as f64);
    finding.effect = Some(moved.len() as f64 / norms.len() as f64);
    finding.n = Some(norms.len() as u64);
    finding.null = text!("start/constants/null");
    judgement.push(finding);
}
