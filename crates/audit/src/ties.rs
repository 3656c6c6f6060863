//! What ties a run's log to the weights beside the chain: norms, digests of files, parameters a token.

use scratchproof_checkpoint::{Checkpoint, Component};
use scratchproof_finding::time::{CheckpointFile, StepNorm, TensorNorm, alike};
use scratchproof_plan::{FileDigest, Measured, Plan, md5};
use scratchproof_record::Run;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ties {
    /// Norms by checkpoint.
    pub norms: Vec<StepNorm>,
    /// Files by checkpoint.
    pub files: Vec<CheckpointFile>,
}

impl Ties {
    /// `checkpoints` are the series at `steps`, `digests` those of their files.
    pub(super) fn new(
        runs: &[Run],
        checkpoints: &[Checkpoint],
        digests: &[Vec<FileDigest>],
        (plan, measured): (&Plan, &Measured),
        steps: &[i64],
        series: bool,
    ) -> Self {
        let norms = if runs.is_empty() { Vec::new() } else { norms(plan, measured, steps) };
        let mut files = Vec::new();
        for (at, (checkpoint, digests)) in checkpoints.iter().zip(digests).enumerate() {
            for digest in digests {
                let asked = |logged: &&scratchproof_record::LoggedFile| {
                    logged.sha256.is_none() && logged.md5.is_some() && alike(logged, &digest.name, digest.bytes)
                };
                let wanted = runs.iter().flat_map(|run| &run.files).find(asked).is_some();
                let shard = checkpoint.shards.iter().find(|shard| shard.name == digest.name);
                files.push(CheckpointFile {
                    step: steps.get(at).copied().filter(|_| series),
                    name: digest.name.clone(),
                    bytes: digest.bytes,
                    sha256: digest.sha256.clone(),
                    // Read once more, and only where a logged file could be this one; what cannot be read has none.
                    md5: shard.filter(|_| wanted).and_then(|shard| md5(&*shard.blob).ok()),
                });
            }
        }
        Self { norms, files }
    }
}

/// L2 norms over the tensors that programs count, by checkpoint.
fn norms(plan: &Plan, measured: &Measured, steps: &[i64]) -> Vec<StepNorm> {
    let one = |(at, step): (usize, &i64)| {
        let (mut all, mut matrices, mut inner, mut twice) = (0.0, 0.0, 0.0, 0.0);
        let (mut head, mut tensors) = (false, Vec::new());
        for (unit, figures) in plan.units.iter().zip(&measured.tensors) {
            if !unit.in_subject() || unit.role.constant {
                continue;
            }
            let square = figures.gram.product(at, at);
            let component = unit.role.component;
            let vector = unit.shape.len() < 2;
            tensors.push(TensorNorm { name: unit.tensor.clone(), norm: square.sqrt(), vector });
            all += square;
            matrices += if vector { 0.0 } else { square };
            inner += if component == Component::Embedding { 0.0 } else { square };
            twice += if component == Component::Embedding { 2.0 * square } else { square };
            head |= component == Component::Head;
        }
        let mut norms = vec![
            ("all weights".to_owned(), f64::sqrt(all)),
            ("all matrices".to_owned(), f64::sqrt(matrices)),
            ("all weights but the embedding's".to_owned(), f64::sqrt(inner)),
        ];
        if !head {
            norms.push(("all weights, the tied embedding twice".to_owned(), f64::sqrt(twice)));
        }
        StepNorm { step: *step, norms, tensors }
    };
    steps.iter().enumerate().map(one).collect()
}

/// Parameters that one token is computed with: without embeddings and without the experts it is not sent to. Where the
/// configuration does not say how many those are, one.
pub(super) fn active(subject: &Checkpoint) -> Option<u64> {
    let config = subject.config.as_ref();
    let inside = ["text_config", "llm_config", "language_config"];
    let find = |name: &str| {
        let top = config?.get(name);
        top.or_else(|| inside.iter().find_map(|group| config?.get(group)?.get(name)))?.as_u64()
    };
    let sent = ["num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_top_k", "num_selected_experts"];
    let sent = sent.iter().find_map(|name| find(name)).unwrap_or(1);
    let experts = subject.experts() as u64;
    let (mut plain, mut routed) = (0_u64, 0_u64);
    for tensor in subject.tensors.iter().filter(|t| t.role.tower.is_empty() && !t.role.constant) {
        let elements = tensor.elements() as u64;
        let stacked = tensor.role.family.starts_with("experts.");
        match tensor.role.component {
            Component::Embedding => {}
            Component::Experts if tensor.role.expert.is_some() || stacked => routed = routed.saturating_add(elements),
            _ => plain = plain.saturating_add(elements),
        }
    }
    let routed = if experts > 0 { routed as f64 * (sent as f64 / experts as f64).min(1.0) } else { routed as f64 };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of a count
    let active = plain + routed as u64;
    (active > 0).then_some(active)
}
