//! Reports like those of a real audit, for tests: 25 findings, one report confirmed and one refuted.
#![allow(missing_docs, clippy::missing_panics_doc, clippy::unwrap_used)]

use super::{
    CaseSummary, ComponentOutcome, ComponentResult, Condition, Conditions, Coverage, Input, InputRole, Outcome, Report,
    SCHEMA, Skipped, Tool, Verdict,
};
use scratchproof_case::Policy;
use scratchproof_evidence::{
    Evidence,
    sample::{COMPONENTS, STEPS, evidence},
};
use scratchproof_finding::power::{ChainPower, ParentPower, StartPower};
use scratchproof_finding::{Code, Direction, Finding, Grade, Power, Said, Subject};
use scratchproof_texts::Text;

/// A model that was trained from scratch.
pub fn confirmed() -> (Report, Evidence) {
    (report(false), evidence(false))
}

/// A model whose attention and MLPs were pulled to a parent during training.
pub fn refuted() -> (Report, Evidence) {
    (report(true), evidence(true))
}

/// Nothing was offered.
pub fn empty() -> Report {
    Report {
        schema: SCHEMA.into(),
        tool: Tool { name: "scratchproof".into(), version: "0.1.0".into() },
        case: CaseSummary { claim: "from-scratch".into(), ..CaseSummary::default() },
        answer: super::Answer::default(),
        verdict: Verdict {
            outcome: Outcome::Inconclusive,
            against: Vec::new(),
            conditions: Conditions::default(),
            power: Power::default(),
            reasons: Vec::new(),
            missing: Vec::new(),
            ground: Text::default(),
            said: Said::default(),
        },
        components: Vec::new(),
        findings: Vec::new(),
        coverage: Coverage { tensors: 0, compared: 0, skipped: Vec::new(), bytes_read: 0, looked: Text::default() },
        inputs: Vec::new(),
        policy: serde_json::Value::Null,
        seal: None,
    }
    .answered()
}

fn power() -> Power {
    Power {
        parent: Some(ParentPower {
            reached: 0.98,
            smallest_correlation: Some(0.01),
            bases: vec!["as stored".into(), "any".into()],
            ..ParentPower::default()
        }),
        chain: Some(ChainPower { untested: vec![(0, 60)], intervals: Vec::new() }),
        start: Some(StartPower { reached: 0.97 }),
    }
}

fn report(derived: bool) -> Report {
    let mut report = empty();
    report.case = CaseSummary {
        name: "solar-like".into(),
        claim: "from-scratch".into(),
        digest: format!("sha256:{}", "4f6c".repeat(16)),
        subject: "Solar-like 8-layer MoE".into(),
        claimant: Some("Solar-like Labs".into()),
        date: Some("2026-11-02".into()),
        auditor: None,
    };
    report.findings = findings(derived);
    let state = |holds| if holds { Condition::Holds } else { Condition::Fails };
    report.verdict = Verdict {
        outcome: if derived { Outcome::Refuted } else { Outcome::Confirmed },
        against: vec!["GLM-like".into(), "Llama-like".into()],
        conditions: Conditions {
            start: Condition::Holds,
            chain: Condition::Holds,
            parent: state(!derived),
            time: if derived { Condition::Untested } else { Condition::Holds },
        },
        power: power(),
        reasons: if derived {
            vec!["F013".into(), "F014".into()]
        } else {
            vec!["F002".into(), "F006".into(), "F013".into()]
        },
        missing: vec![
            "The optimizer state of one checkpoint would tie it to the learning-rate schedule.".into(),
            "A platform's own creation time of the run would make its start more than the developer's word.".into(),
        ],
        ground: "Evidence used: the weights, the run log (tied to the weights: rows without gradient decay at the logged rates), the repository.".into(),
        said: Said {
            start: "The first checkpoint is a random draw, in matrices with 97 % of its parameters.".into(),
            chain: "Every checkpoint follows from the one before by training, in all 6 intervals.".into(),
            parent: "No part resembles GLM-like or Llama-like more than unrelated models do.".into(),
            time: "The run log and the repository tell one story.".into(),
        },
    };
    report.components = COMPONENTS.iter().enumerate().map(|(at, name)| component(name, at, derived)).collect();
    report.coverage = Coverage {
        tensors: 169,
        compared: 162,
        skipped: vec![
            Skipped { tensor: "model.rotary_emb.inv_freq".into(), why: "a structural constant".into() },
            Skipped { tensor: "lm_head.weight".into(), why: "1280 rows here, 1536 in Llama-like".into() },
        ],
        bytes_read: 4_821_334_016,
        looked: Text::default(),
    };
    report.inputs = inputs();
    report.policy = serde_json::to_value(Policy::default()).expect("a policy is numbers");
    report.answered()
}

fn component(name: &str, at: usize, derived: bool) -> ComponentResult {
    let hit = derived && ["attention", "mlp", "experts"].contains(&name);
    let z = if hit { [0.0, 77.5, 88.6, 155.0][at] } else { [0.8, -1.1, 0.3, 1.6, -0.4, 0.9, -1.7][at] };
    ComponentResult {
        name: name.into(),
        outcome: match name {
            _ if hit => ComponentOutcome::Derived,
            "norms" => ComponentOutcome::Undetermined,
            _ => ComponentOutcome::Independent,
        },
        parent: Some("GLM-like".into()),
        z: Some(z),
        log10_p: Some(-z * z / 4.6 - 0.3),
        effect: Some(if hit { 0.62 } else { z * 0.008 }),
        layers: if hit { (0..8).collect() } else { Vec::new() },
    }
}

fn findings(derived: bool) -> Vec<Finding> {
    let parent = if derived { (Grade::Conclusive, Direction::Against) } else { (Grade::Strong, Direction::For) };
    let (weak, context) = (Grade::Weak, Grade::Context);
    let list = [
        (Code::StartConstants, weak, Direction::For, "All 17 norm weights are one and all biases zero at step 0."),
        (
            Code::StartSpectrum,
            Grade::Strong,
            Direction::For,
            "No singular value of 152 matrices lies beyond the edge of a random draw: the largest score is 0.71.",
        ),
        (Code::StartScheme, weak, Direction::For, "All matrices follow normal(0, 0.02), rule `0.02`."),
        (Code::StartIndependence, weak, Direction::For, "Row and column norms are those of independent draws."),
        (Code::StartReplay, context, Direction::Neutral, "The start was not drawn again: no seed is declared."),
        (
            Code::ChainMemory,
            Grade::Strong,
            Direction::For,
            "The last checkpoint remembers the start: total z 61.9 of at most 64.",
        ),
        (
            Code::ChainBudget,
            Grade::Moderate,
            Direction::For,
            "Displacement over the sum of learning rates is 0.07 to 0.34.",
        ),
        (
            Code::ChainOffChord,
            weak,
            Direction::For,
            "Every checkpoint lies off the line between its neighbours: 0.04 to 0.51.",
        ),
        (Code::ChainDuplicate, context, Direction::Neutral, "No two steps hold the same weights."),
        (Code::ChainArchitecture, context, Direction::Neutral, "All checkpoints have one architecture."),
        (
            Code::ParentUncalibrated,
            context,
            Direction::Neutral,
            "Controls are silent: largest |z| 1.9 over 7 components.",
        ),
        (Code::ParentNotComparable, context, Direction::Neutral, "Seven tensors of Llama-like have another shape."),
        (
            if derived { Code::ParentSimilarity } else { Code::ParentSilent },
            parent.0,
            parent.1,
            if derived {
                "Attention is aligned with GLM-like's: correlation 0.62 (z 77.5), none at step 0, rising from step 20 on. The control shows z 0.8."
            } else {
                "No component resembles GLM-like or Llama-like more than unrelated models do: largest |z| 1.7."
            },
        ),
        (
            Code::ParentLayerMap,
            if derived { Grade::Conclusive } else { context },
            if derived { Direction::Against } else { Direction::Neutral },
            "Layers 0 to 7 correspond to layers 0, 1, 2, 3, 2, 3, 4, 5 of GLM-like.",
        ),
        (Code::ParentBitEqual, context, Direction::Neutral, "No tensor is equal to a parent's bit for bit."),
        (Code::ParentSharedSeed, context, Direction::Neutral, "No sign of a shared seed."),
        (Code::ParentNormCosine, context, Direction::Neutral, "Norms: raw cosine 0.98 with every model; centred 0.01."),
        (Code::TimeFirstLoss, Grade::Moderate, Direction::For, "The first logged loss is 7.18; ln(1280) is 7.15."),
        (
            Code::TimeRunStart,
            Grade::Moderate,
            Direction::For,
            "The run began on 2026-08-02, 61 days before GLM-like was released.",
        ),
        (Code::TimeSteps, weak, Direction::For, "All 8 checkpoints lie inside the log."),
        (Code::TimeSizes, weak, Direction::For, "The sizes in the run configuration are those of the tensors."),
        (Code::TimeCommit, weak, Direction::For, "The logged commit 3c1f is in the repository and predates the run."),
        (Code::TimeFreeze, weak, Direction::For, "The architecture has not changed since 2026-07-28."),
        (Code::InputNonFinite, context, Direction::Neutral, "All weights are finite numbers."),
        (Code::InputUnknownNames, context, Direction::Neutral, "Two tensors have names that no template knows."),
    ];
    let mut findings: Vec<_> = list
        .into_iter()
        .map(|(code, grade, direction, message)| Finding::new(code, grade, direction, message))
        .collect();
    for (at, finding) in findings.iter_mut().enumerate() {
        finding.id = format!("F{:03}", at + 1);
        finding.evidence = (finding.grade != Grade::Context).then(|| "evidence/components.parquet".into());
        finding.null = "independent models: the residual axis may be permuted".into();
    }
    let main = &mut findings[12];
    main.subject = Subject {
        component: derived.then(|| "attention".into()),
        layer: None,
        tensor: None,
        steps: STEPS.to_vec(),
        parent: Some("GLM-like".into()),
    };
    (main.statistic, main.n) = (Some(if derived { 77.5 } else { 1.7 }), Some(49_152));
    (main.log10_p, main.effect) =
        if derived { (Some(-1_305.123_456_78), Some(0.62)) } else { (Some(-0.4), Some(0.012)) };
    (findings[1].statistic, findings[1].n) = (Some(0.71), Some(152));
    findings
}

fn inputs() -> Vec<Input> {
    let input = |role, name: &str, uri: &str, bytes| Input {
        role,
        name: name.into(),
        uri: uri.into(),
        sha256: "9b0c5e7a1f2d4e63".repeat(4),
        bytes,
    };
    let mut inputs: Vec<_> = STEPS
        .iter()
        .map(|step| {
            let uri = format!("checkpoints/step-{step}/model.safetensors");
            input(InputRole::Checkpoint, &format!("step {step}"), &uri, 538_114_048)
        })
        .collect();
    inputs.push(input(InputRole::Parent, "GLM-like", "hf://org/glm-like@3f2a", 431_882_240));
    inputs.push(input(InputRole::Parent, "Llama-like", "hf://org/llama-like@77c0", 431_882_240));
    inputs.push(input(InputRole::Control, "Phi-like", "control-0/model.safetensors", 431_882_240));
    inputs.push(input(InputRole::Run, "offline-run", "wandb/offline-run-20261121_204108-2nm4jg93", 88_310));
    inputs.push(input(InputRole::Repository, "repo.git", "repo.git", 1_204_224));
    inputs
}
