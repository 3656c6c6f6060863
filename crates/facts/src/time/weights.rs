//! What a run's log is held against in the weights beside the chain: norms, digests of files, parameters a token, sizes.

use crate::Session;
use scratchproof_finding::time::{CheckpointFile, Sizes, StepNorm, TensorNorm, alike};
use scratchproof_measurements::{Component, FileDigest, Model};
use scratchproof_record::Run;

/// Whether a run's log names a file by its MD5 that could be this one.
#[must_use]
pub fn wants_md5(runs: &[Run], file: &FileDigest) -> bool {
    let asked = |logged: &&scratchproof_record::LoggedFile| {
        logged.sha256.is_none() && logged.md5.is_some() && alike(logged, &file.name, file.bytes)
    };
    runs.iter().flat_map(|run| &run.files).find(asked).is_some()
}

/// The files of the series, by checkpoint.
#[must_use]
pub fn files(session: &Session) -> Vec<CheckpointFile> {
    let measured = session.measured;
    let series = measured.steps.iter().zip(&measured.digests);
    let file = |step: i64, digest: &FileDigest| CheckpointFile {
        step: session.is_series().then_some(step),
        name: digest.name.clone(),
        bytes: digest.bytes,
        sha256: digest.sha256.clone(),
        md5: digest.md5.clone(),
    };
    series.flat_map(|(step, files)| files.iter().map(move |digest| file(*step, digest))).collect()
}

/// L2 norms over the tensors that programs count, by checkpoint.
#[must_use]
pub fn norms(session: &Session) -> Vec<StepNorm> {
    // Of drawn rows there are no norms of whole tensors.
    if session.measured.sample.as_ref().is_some_and(|sample| sample.tensors > 0) {
        return Vec::new();
    }
    let one = |(at, step): (usize, &i64)| {
        let (mut all, mut matrices, mut inner, mut twice) = (0.0, 0.0, 0.0, 0.0);
        let (mut head, mut tensors) = (false, Vec::new());
        for (unit, figures) in session.measured.own().filter(|(unit, _)| !unit.role.constant) {
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
    session.measured.steps.iter().enumerate().map(one).collect()
}

/// Parameters that one token is computed with: without embeddings and without the experts it is not sent to. Where the
/// configuration does not say how many those are, one.
#[must_use]
pub fn active(subject: &Model) -> Option<u64> {
    let config = subject.config.as_ref();
    let inside = ["text_config", "llm_config", "language_config"];
    let find = |name: &str| {
        let top = config?.get(name);
        top.or_else(|| inside.iter().find_map(|group| config?.get(group)?.get(name)))?.as_u64()
    };
    let sent = ["num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_top_k", "num_selected_experts"];
    let sent = sent.iter().find_map(|name| find(name)).unwrap_or(1);
    let experts = subject.experts as u64;
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

/// Sizes as the tensors have them, never as a configuration says.
#[must_use]
pub fn sizes(subject: &Model) -> Sizes {
    let own = || subject.tensors.iter().filter(|t| t.role.tower.is_empty() && !t.role.constant);
    let mut widths: Vec<usize> =
        own().filter(|t| t.role.family == "up_proj" && t.shape.len() == 2).map(|t| t.shape[0]).collect();
    widths.sort_unstable();
    widths.dedup();
    let embedding = subject.tensors.iter().find(|t| t.role.family == "embedding" && t.role.tower.is_empty());
    Sizes {
        hidden: subject.hidden_size.map(|h| h as u64),
        layers: Some(subject.layers as u64).filter(|l| *l > 0),
        vocabulary: embedding.and_then(|t| t.shape.first()).map(|v| *v as u64),
        intermediate: widths.first().filter(|_| widths.len() == 1).map(|w| *w as u64),
        experts: Some(subject.experts as u64).filter(|experts| *experts > 0),
        parameters: Some(own().map(|t| t.elements() as u64).sum()),
        ..Sizes::default()
    }
}
