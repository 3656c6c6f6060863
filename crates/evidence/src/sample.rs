//! Tables like those of a real audit, for tests: 8 checkpoints, 7 components, 2 parents, 1 control, an 8 x 6 layer map.
#![allow(missing_docs, clippy::missing_panics_doc, clippy::unwrap_used)]

use super::{ChainRow, ComponentRow, CopyRow, Evidence, LayerMapRow, PairRow, PathRow, Reference, RunRow};

pub const STEPS: [i64; 8] = [0, 20, 60, 120, 200, 320, 460, 600];
pub const COMPONENTS: [&str; 7] = ["embedding", "attention", "mlp", "experts", "router", "norms", "head"];

/// Tables of a model that was trained from scratch, or (`derived`) pulled to GLM-like during training.
pub fn evidence(derived: bool) -> Evidence {
    let mut evidence = Evidence::default();
    for (index, component) in COMPONENTS.iter().chain(&["all"]).enumerate() {
        series(&mut evidence.components, component, index, derived);
        chain(&mut evidence.chain, component, index);
        path(&mut evidence.path, component);
    }
    for (parent, copied) in [("parent:GLM-like", derived), ("parent:Llama-like", false), ("control:Phi-like", false)] {
        for family in ["all", "q", "v", "up"] {
            map(&mut evidence.layer_map, parent, family, copied);
        }
    }
    evidence.runs = STEPS
        .iter()
        .map(|&step| RunRow {
            run: "offline-run".into(),
            key: "train/loss".into(),
            step,
            value: Some(7.18 - (step as f64).sqrt() * 0.12),
        })
        .collect();
    evidence.copies.push(CopyRow {
        step: 600,
        tensor: "model.embed_tokens.weight".into(),
        component: "embedding".into(),
        family: "embedding".into(),
        layer: None,
        expert: None,
        reference: Reference::Parent("GLM-like".into()),
        elements: 40_960,
        formats: "BF16 F32".into(),
        rounding: Some("nearest".into()),
        equal: Some(0.002),
        equal_shifted: Some(0.001),
        eight_bits: Some(0.06),
        rows: 640,
        equal_rows: 3,
        blocks: "2-3, 7".into(),
        extremes: 32,
        extremes_shared: 1,
        extremes_log10_p: Some(-1.6),
        proportional_rows: 22,
        ratio: Some(0.9858),
        ratio_sd: None,
        rest: Some(0.01),
    });
    evidence.pairs.push(PairRow {
        tensor: "model.norm.weight".into(),
        component: "norms".into(),
        family: "norm".into(),
        layer: None,
        expert: None,
        reference: Reference::Control("Phi-like".into()),
        elements: 64,
        cosine: Some(0.98),
        pearson: Some(0.012),
        mean_abs_diff: Some(0.1),
        relative_l2: Some(0.2),
        p99_diff: Some(0.05),
        cv_diff: None,
        z: Some(0.1),
    });
    evidence
}

fn series(rows: &mut Vec<ComponentRow>, component: &str, index: usize, derived: bool) {
    let spread = [0.012, 0.008, 0.007, 0.004, 0.03, 0.125, 0.012, 0.003][index];
    let references = [
        Reference::Init,
        Reference::Previous,
        Reference::Parent("GLM-like".into()),
        Reference::Parent("Llama-like".into()),
        Reference::Control("Phi-like".into()),
    ];
    for (at, &step) in STEPS.iter().enumerate() {
        for (which, reference) in references.iter().enumerate() {
            let age = step as f64 / 600.0;
            let noise = spread * jitter(index * 131 + at * 17 + which);
            let pulled = derived && which == 2 && ["attention", "mlp", "experts", "all"].contains(&component);
            let effect = match which {
                0 => 1.0 - [0.8, 0.35, 0.5, 0.45, 0.3, 0.6, 0.7, 0.5][index] * age.sqrt(),
                1 => 0.985 - 0.02 * index as f64,
                _ if pulled => 0.62 * age.powf(0.7) + noise,
                _ => noise,
            };
            if step > 0 || which > 1 {
                rows.push(ComponentRow {
                    step,
                    component: component.into(),
                    reference: reference.clone(),
                    effect: Some(effect),
                    z: Some(effect / spread),
                    log10_p: Some(-(effect / spread).powi(2) / 4.6 - 0.3),
                    rows: 768,
                    columns: 64,
                });
            }
        }
    }
}

fn chain(rows: &mut Vec<ChainRow>, component: &str, index: usize) {
    for pair in STEPS.windows(2) {
        rows.push(ChainRow {
            from_step: pair[0],
            to_step: pair[1],
            component: component.into(),
            rms: Some(0.004),
            lr_sum: Some(0.03),
            budget: Some(0.13),
            bound: Some(1.0),
            off_chord: (pair[0] > 0).then_some(0.2 + 0.01 * index as f64),
            lag1_cosine: (pair[0] > 0).then_some(0.4),
            memory_z: Some(60.0),
            memory_effect: Some(0.93),
        });
    }
}

fn path(rows: &mut Vec<PathRow>, component: &str) {
    for (index, step) in STEPS.into_iter().enumerate() {
        let turned = index as f64 / 4.0;
        rows.push(PathRow {
            step,
            component: component.into(),
            size: Some(0.02 + 0.001 * index as f64),
            pc1: Some(-turned.cos()),
            pc2: Some(turned.sin()),
            pc3: Some(0.0),
            share1: Some(0.8),
            share2: Some(0.2),
            share3: Some(0.0),
            step_length: (index > 0).then_some(1e-4),
            relative_speed: (index > 0).then_some(1.5 - 0.1 * index as f64),
            turn: (index > 0 && index < 7).then_some(60.0),
            start_cosine: Some(1.0 - 0.1 * index as f64),
            start_retained: Some(1.0 - 0.02 * index as f64),
            expected_retained: Some(1.0 - 0.02 * index as f64),
            expected_cosine: Some(1.0 - 0.1 * index as f64),
            carried: (index > 1).then_some(1.02),
            carried_cosine: (index > 1).then_some(0.9),
        });
    }
}

fn map(rows: &mut Vec<LayerMapRow>, parent: &str, family: &str, copied: bool) {
    let line = [0, 1, 2, 3, 2, 3, 4, 5];
    for (layer_subject, &source) in line.iter().enumerate() {
        for layer_parent in 0..6_u32 {
            let salt = layer_subject * 61 + layer_parent as usize * 7 + family.len() * 13 + parent.len();
            let signal = if copied && source == layer_parent { 17.0 + 4.0 * jitter(salt + 5) } else { 0.0 };
            let z = signal + jitter(salt);
            rows.push(LayerMapRow {
                parent: parent.into(),
                family: family.into(),
                layer_subject: u32::try_from(layer_subject).expect("eight layers"),
                layer_parent,
                pearson: Some(z * 0.0078),
                z: Some(z),
            });
        }
    }
}

/// A fixed sequence between -2 and 2.
fn jitter(salt: usize) -> f64 {
    ((salt * 7919 + 104_729) % 1000) as f64 / 250.0 - 2.0
}
