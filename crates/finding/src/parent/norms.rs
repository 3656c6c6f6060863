//! Raw cosine of norm weights, which is no evidence.

use super::{NormFigure, ParentFacts};
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_evidence::Reference;
use scratchproof_texts::{Text, text};

/// The figure the public dispute was argued with, beside the one that means something.
pub(super) fn norms(judgement: &mut Judgement, facts: &ParentFacts<'_>) {
    let figure = |n: &NormFigure| {
        text!("parent/norm-cosine/figure", model = n.reference.to_string(), cosine = n.cosine, pearson = n.pearson)
    };
    let Some(parent) = facts.norms.iter().find(|n| matches!(n.reference, Reference::Parent(_))) else { return };
    let figures: Vec<Text> = facts.norms.iter().map(figure).collect();
    let message = text!("parent/norm-cosine/mean", figures);
    let mut finding = Finding::new(Code::ParentNormCosine, Grade::Context, Direction::Neutral, message);
    finding.subject.component = Some("norms".into());
    finding.statistic = Some(parent.cosine);
    finding.effect = parent.pearson;
    finding.n = Some(parent.tensors);
    finding.null = text!("parent/null/norm-cosine");
    finding.evidence = Some("evidence/trajectory.parquet".into());
    judgement.push(finding);
}
