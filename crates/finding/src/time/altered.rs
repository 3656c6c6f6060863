//! A log by hand, altered in one place: what speaks against it, and that nothing speaks against it unaltered.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{CheckpointFile, Code, Direction, Grade, Judgement, StepNorm, TensorNorm, TimeFacts, judge};
use scratchproof_case::Policy;
use scratchproof_record::{Devices, History, KeyMap, LoggedFile, Printed, Run};

const START: f64 = 1_785_578_400.0;

fn rate(step: i64) -> f64 {
    let s = step as f64;
    let body = 0.1 + 0.45 * (1.0 + (std::f64::consts::PI * (s - 40.0) / 560.0).cos());
    3e-3 * if step < 40 { (s + 1.0) / 40.0 } else { body }
}

/// As a program prints it: held in 32 bits.
#[allow(clippy::cast_possible_truncation)] // that is what is wanted
fn loss(step: i64) -> f64 {
    let noise = ((step * 7919 + 13) % 1009) as f64 / 1009.0 - 0.5;
    f64::from((3.0 + 3.5 * (-(step as f64) / 120.0).exp() + 0.2 * noise) as f32)
}

/// 600 steps of 8 sequences of 64 tokens, every step to 20 and then every fifth.
fn honest() -> Run {
    let mut run = Run { id: "abc".into(), ..Run::default() };
    run.started_at = Some("2026-08-01T10:00:00Z".parse().unwrap());
    let steps: Vec<i64> = (0..=20).chain((25..=600).step_by(5)).collect();
    for &step in &steps {
        run.history.rows += 1;
        let runtime = 3.0 + 0.05 * step as f64 + 0.001 * ((step * 31) % 7) as f64;
        for (key, value) in [
            ("_step", step as f64),
            ("_runtime", runtime),
            ("_timestamp", START + runtime),
            ("train/loss", loss(step)),
            ("train/learning_rate", rate(step)),
            ("train/tokens", 512.0 * step as f64),
        ] {
            run.history.columns.entry(key.into()).or_default().push((step, value));
        }
    }
    for (key, value) in [
        ("learning_rate", 3e-3),
        ("warmup_steps", 40.0),
        ("max_steps", 600.0),
        ("global_batch_size", 8.0),
        ("seq_len", 64.0),
    ] {
        run.config.insert(key.into(), value.into());
    }
    run.printed = (0_u32..60)
        .map(|i| {
            let step = i64::from(10 * i);
            Printed { line: u64::from(3 * i), step, loss: (loss(step) * 1e3).round() / 1e3 }
        })
        .collect();
    sum_up(&mut run);
    run.choose_keys(&KeyMap::default()).unwrap();
    run
}

fn sum_up(run: &mut Run) {
    let last = |(key, column): (&String, &Vec<(i64, f64)>)| Some((key.clone(), Value::from(column.last()?.1)));
    run.summary = run.history.columns.iter().filter_map(last).collect();
}

fn change(run: &mut Run, key: &str, of: impl Fn(i64, f64) -> f64) {
    for row in run.history.columns.get_mut(key).unwrap() {
        row.1 = of(row.0, row.1);
    }
}

/// The same run a hundred times slower, its machine measured every 15 seconds; `later` moves the samples.
fn slowed_and_measured(run: &mut Run, later: impl Fn(i64) -> f64) {
    change(run, "_runtime", |_, v| 100.0 * v);
    change(run, "_timestamp", |_, v| START + 100.0 * (v - START));
    let samples = (0..3300).step_by(15).map(|second| (second, START + second as f64 + later(second))).collect();
    run.system.columns.insert("_timestamp".into(), samples);
}

fn renumber(run: &mut Run, of: impl Fn(i64) -> i64) {
    for column in run.history.columns.values_mut() {
        for row in column {
            row.0 = of(row.0);
        }
    }
    change(run, "_step", |step, _| step as f64);
}

/// An alteration with its name.
type Named = (&'static str, fn(&mut Run));

fn against(run: &Run) -> BTreeSet<&'static str> {
    let runs = [run.clone()];
    let judgement = judge(&TimeFacts { runs: &runs, ..TimeFacts::default() }, &Policy::default());
    asked(&judgement)
}

fn asked(judgement: &Judgement) -> BTreeSet<&'static str> {
    let open = judgement.findings.iter().filter(|f| f.direction == Direction::Against && f.grade >= Grade::Moderate);
    open.map(|f| f.code.name()).collect()
}

#[test]
fn an_honest_log_agrees_with_itself() {
    let run = honest();
    assert_eq!(against(&run), BTreeSet::new());
    let runs = [run];
    let judgement = judge(&TimeFacts { runs: &runs, ..TimeFacts::default() }, &Policy::default());
    for code in [Code::TimeSchedule, Code::TimeClock, Code::TimeTokens, Code::TimeSummary, Code::TimePrinted] {
        let of: Vec<_> = judgement.findings.iter().filter(|f| f.code == code).collect();
        assert!(of.len() == 1 && of[0].direction == Direction::For, "{code}: {of:?}");
    }
    let shape = |f: &crate::Finding| {
        f.message.english().ends_with('.')
            && f.message.english().starts_with(|c: char| c.is_uppercase() || c.is_numeric())
    };
    assert!(judgement.findings.iter().all(shape));
}

/// Whether it was altered, what was done, and codes of which one must speak.
type Alteration = (&'static str, fn(&mut Run), &'static [&'static str]);

/// One place, and the summary with it: what a forger who knows of the summary does.
const ALTERED: &[Alteration] = &[
    ("rate, whole", |r| change(r, "train/learning_rate", |_, v| 1.1 * v), &["time/schedule"]),
    (
        "rate, a stretch",
        |r| change(r, "train/learning_rate", |s, v| if (200..400).contains(&s) { 0.9 * v } else { v }),
        &["time/schedule"],
    ),
    (
        "rate, from a step on",
        |r| change(r, "train/learning_rate", |s, v| if s >= 200 { 0.5 * v } else { v }),
        &["time/schedule"],
    ),
    ("loss, one value", |r| change(r, "train/loss", |_, _| 3.6), &["time/loss-shape"]),
    ("steps, whole", |r| renumber(r, |s| s * 11 / 10), &["time/schedule", "time/tokens"]),
    ("steps, doubled", |r| renumber(r, |s| 2 * s), &["time/schedule", "time/tokens"]),
    ("steps, a stretch", |r| renumber(r, |s| s + (s.clamp(200, 400) - 200)), &["time/tokens"]),
    ("steps, from a step on", |r| renumber(r, |s| if s >= 300 { s + 100 } else { s }), &["time/tokens", "time/pace"]),
    ("start, in the rows", |r| change(r, "_timestamp", |_, v| v - 864_000.0), &["time/clock"]),
    ("start, in the record", |r| r.started_at = Some("2026-07-01T10:00:00Z".parse().unwrap()), &["time/clock"]),
    (
        "start, a stretch",
        |r| change(r, "_timestamp", |s, v| if (200..400).contains(&s) { v + 3600.0 } else { v }),
        &["time/clock"],
    ),
    (
        "start, back from a step on",
        |r| change(r, "_timestamp", |s, v| if s >= 300 { v - 86_400.0 } else { v }),
        &["time/clock"],
    ),
    (
        "start, ahead from a step on",
        |r| {
            slowed_and_measured(r, |_| 0.0);
            change(r, "_timestamp", |s, v| if s >= 300 { v + 900.0 } else { v });
        },
        &["time/clock"],
    ),
    ("runtime, faster", |r| change(r, "_runtime", |_, v| 100.0 * v), &["time/clock"]),
    (
        "loss, a stretch scaled",
        |r| change(r, "train/loss", |s, v| if (200..400).contains(&s) { 0.9 * v } else { v }),
        &["time/digits", "time/printed"],
    ),
    (
        "loss, from a step on scaled",
        |r| change(r, "train/loss", |s, v| if s >= 300 { 1.1 * v } else { v }),
        &["time/digits", "time/printed"],
    ),
    (
        "loss, a stretch doubled",
        |r| change(r, "train/loss", |s, v| if (200..400).contains(&s) { 2.0 * v } else { v }),
        &["time/loss-shape"],
    ),
    (
        "loss, doubled from a step on",
        |r| change(r, "train/loss", |s, v| if s >= 200 { 2.0 * v } else { v }),
        &["time/loss-shape"],
    ),
    (
        "loss, of another place",
        |r| change(r, "train/loss", |s, v| if s >= 400 { loss(s - 200) } else { v }),
        &["time/repeated-rows", "time/printed"],
    ),
    (
        "loss, of another run",
        |r| change(r, "train/loss", |s, v| if s >= 300 { loss(s + 5000) - 0.0625 } else { v }),
        &["time/printed"],
    ),
];

#[test]
fn a_log_altered_in_one_place_is_asked_about() {
    for (name, alter, codes) in ALTERED {
        let mut run = honest();
        alter(&mut run);
        sum_up(&mut run);
        let found = against(&run);
        assert!(codes.iter().any(|code| found.contains(code)), "{name}: {found:?}");
    }
}

#[test]
fn rows_altered_without_the_summary_differ_from_it() {
    for key in ["train/loss", "train/learning_rate", "_timestamp"] {
        let mut run = honest();
        change(&mut run, key, |_, v| 1.1 * v);
        assert!(against(&run).contains("time/summary"), "{key}");
    }
    // What a summary may be told to keep.
    for keep in [f64::min as fn(f64, f64) -> f64, f64::max] {
        let mut run = honest();
        let kept = run.history.columns["train/loss"].iter().map(|row| row.1).reduce(keep).unwrap();
        run.summary.insert("train/loss".into(), kept.into());
        assert_eq!(against(&run), BTreeSet::new());
    }
}

/// What honest runs do (METHODS 8), as far as a log by hand can show it.
#[test]
fn oddities_of_honest_runs_are_not_held_against_them() {
    let oddities: &[Named] = &[
        ("configured rate not used", |r| change(r, "train/learning_rate", |_, _| 2e-3)),
        ("warm restarts", |r| {
            change(r, "train/learning_rate", |s, _| {
                let s = (s % 150) as f64;
                1e-4 + 1e-3 * (1.0 + (std::f64::consts::PI * s / 150.0).cos())
            });
        }),
        ("a spike that somebody set", |r| {
            change(r, "train/learning_rate", |s, v| if (300..=330).contains(&s) { 20.0 * v } else { v });
        }),
        ("steps down", |r| change(r, "train/learning_rate", |s, _| if s < 300 { 3e-3 } else { 3e-4 })),
        ("a machine that slept", |r| change(r, "_timestamp", |s, v| if s >= 300 { v + 7200.0 } else { v })),
        ("a machine that slept and was measured before and after", |r| {
            slowed_and_measured(r, |second| if second > 1800 { 7200.0 } else { 0.0 });
            change(r, "_timestamp", |s, v| if s >= 300 { v + 7200.0 } else { v });
        }),
        ("rows that waited", |r| change(r, "_runtime", |s, v| if (300..=305).contains(&s) { v + 565.0 } else { v })),
        ("ten equal rows", |r| change(r, "train/loss", |s, v| if (300..=350).contains(&s) { 3.25 } else { v })),
        ("a batch that grows", |r| change(r, "train/tokens", |s, v| if s < 300 { v / 2.0 } else { v - 76_800.0 })),
        ("an epoch logged alone", |r| r.history.columns.get_mut("train/tokens").unwrap().clear()),
        ("no learning rate", |r| drop(r.history.columns.remove("train/learning_rate"))),
    ];
    for (name, alter) in oddities {
        let mut run = honest();
        alter(&mut run);
        run.printed.clear();
        sum_up(&mut run);
        run.choose_keys(&KeyMap::default()).unwrap();
        assert_eq!(against(&run), BTreeSet::new(), "{name}");
    }
    let mut resumed = honest();
    resumed.started_at = resumed.started_at.map(|start| start + chrono::TimeDelta::hours(5));
    for column in resumed.history.columns.values_mut() {
        column.retain(|row| row.0 >= 300);
    }
    assert_eq!(against(&resumed), BTreeSet::new(), "a resumed run counts its runtime on");
}

fn grades(facts: &TimeFacts<'_>, code: Code) -> Vec<(Grade, Direction)> {
    let judgement = judge(facts, &Policy::default());
    judgement.findings.iter().filter(|f| f.code == code).map(|f| (f.grade, f.direction)).collect()
}

#[test]
fn compute_is_held_against_the_devices_only_where_they_are_certain() {
    let of = |active: u64, world: Option<u64>| {
        let mut run = honest();
        run.devices = vec![Devices { kind: "NVIDIA A100-SXM4-80GB".into(), count: 8 }];
        if let Some(world) = world {
            run.config.insert("world_size".into(), world.into());
        }
        grades(&TimeFacts { runs: &[run], active: Some(active), ..TimeFacts::default() }, Code::TimeCompute)
    };
    // 307,200 tokens in 30 s on 8 devices of 312e12: 4.06e10 parameters are the whole rate.
    assert_eq!(of(20_000_000_000, None), [(Grade::Context, Direction::Neutral)]);
    assert_eq!(of(60_000_000_000, None), [(Grade::Weak, Direction::Neutral)]);
    assert_eq!(of(60_000_000_000, Some(8)), [(Grade::Moderate, Direction::Against)]);
    assert_eq!(of(100_000_000_000, Some(8)), [(Grade::Strong, Direction::Against)]);
    assert_eq!(of(100_000_000_000, Some(64)), [(Grade::Context, Direction::Neutral)]);
}

#[test]
fn logged_norms_tie_the_log_to_the_weights() {
    let steps = [0, 300, 600];
    let norms: Vec<StepNorm> = steps
        .iter()
        .map(|&step| StepNorm {
            step,
            norms: vec![("all weights".into(), 100.0 + step as f64 / 10.0), ("all matrices".into(), 90.0)],
            tensors: Vec::new(),
        })
        .collect();
    let of = |factor: f64| {
        let mut run = honest();
        let column = steps.iter().map(|&step| (step, factor * (100.0 + step as f64 / 10.0))).collect();
        run.history.columns.insert("params-norm".into(), column);
        grades(&TimeFacts { runs: &[run], norms: &norms, ..TimeFacts::default() }, Code::TimeNorms)
    };
    assert_eq!(of(1.000_1), [(Grade::Moderate, Direction::For)]);
    assert_eq!(of(1.1), [(Grade::Context, Direction::Neutral)]);
    assert_eq!(of(2.0), [(Grade::Weak, Direction::Neutral)]);
}

/// Four tensors that grow, at four steps; `change` alters the checkpoints.
fn tensor_norms(column: impl Fn(&str) -> String, change: impl Fn(i64, usize, f64) -> f64) -> Vec<(Grade, Direction)> {
    let own = |step: i64, at: usize| 10.0 + at as f64 + step as f64 / (40.0 + 10.0 * at as f64);
    let steps = [0, 200, 400, 600];
    let name = |at: usize| format!("model.layers.{at}.weight");
    let mut run = honest();
    for at in 0..4 {
        let logged = steps.iter().map(|&step| (step, own(step, at) * (1.0 + 2e-4 * (at as f64 - 1.5)))).collect();
        run.history.columns.insert(column(&name(at)), logged);
    }
    let tensor = |step, at| TensorNorm { name: name(at), norm: change(step, at, own(step, at)), vector: false };
    let of = |&step: &i64| StepNorm { step, norms: Vec::new(), tensors: (0..4).map(|at| tensor(step, at)).collect() };
    let norms: Vec<StepNorm> = steps.iter().map(of).collect();
    grades(&TimeFacts { runs: &[run], norms: &norms, ..TimeFacts::default() }, Code::TimeTensorNorms)
}

#[test]
fn logged_norms_of_tensors_tie_every_checkpoint_to_the_log() {
    let plain = |name: &str| format!("l2_norm/param/module.{name}");
    let against = (Grade::Moderate, Direction::Against);
    assert_eq!(tensor_norms(plain, |_, _, v| v), [(Grade::Moderate, Direction::For)]);
    let histogram = |name: &str| format!("parameters/{name} (norm of histogram)");
    assert_eq!(tensor_norms(histogram, |_, at, v| v * (1.0 + 1e-3 * at as f64)), [(Grade::Moderate, Direction::For)]);
    assert_eq!(tensor_norms(plain, |step, at, v| if (step, at) == (400, 2) { 1.05 * v } else { v }), [against]);
    assert_eq!(tensor_norms(plain, |step, _, v| if step == 600 { 1.05 * v } else { v }), [against]);
    // A convention that differs at every step is none of the weights' business.
    assert_eq!(tensor_norms(plain, |_, _, v| 1.4 * v), [(Grade::Weak, Direction::Neutral)]);
    assert_eq!(tensor_norms(plain, |_, at, v| if at == 0 { 1.4 * v } else { v }), [(Grade::Weak, Direction::Neutral)]);
    assert_eq!(tensor_norms(|name| format!("l2_norm/param/{name}.of.others"), |_, _, v| v), []);
}

#[test]
fn digests_of_kept_files_are_compared_with_the_checkpoints() {
    let file = CheckpointFile {
        step: Some(300),
        name: "model.safetensors".into(),
        bytes: 1000,
        sha256: "ab".into(),
        md5: Some("cd".into()),
    };
    let of = |name: &str, md5: &str, bytes: u64| {
        let mut run = honest();
        let logged = LoggedFile {
            name: name.into(),
            md5: Some(md5.into()),
            bytes: Some(bytes),
            artifact: None,
            sha256: None,
            at: None,
        };
        run.files = vec![logged];
        grades(
            &TimeFacts { runs: &[run], files: std::slice::from_ref(&file), ..TimeFacts::default() },
            Code::TimeArtifacts,
        )
    };
    assert_eq!(of("checkpoint-300/model.safetensors", "CD", 1000), [(Grade::Moderate, Direction::For)]);
    assert_eq!(of("checkpoint-300/model.safetensors", "ce", 1000), [(Grade::Moderate, Direction::Against)]);
    assert_eq!(of("checkpoint-600/model.safetensors", "ce", 1000), []);
    assert_eq!(of("checkpoint-300/model.safetensors", "ce", 999), []);
}

#[test]
fn idle_accelerators_are_asked_about() {
    let of = |percent: f64| {
        let mut run = honest();
        let mut system = History::default();
        system.columns.insert("gpu.0.gpu".into(), (0..40).map(|row| (row, percent)).collect());
        run.system = system;
        grades(&TimeFacts { runs: &[run], ..TimeFacts::default() }, Code::TimeSystem)
    };
    assert_eq!(of(95.0), [(Grade::Weak, Direction::For)]);
    assert_eq!(of(0.0), [(Grade::Weak, Direction::Neutral)]);
}
