//! What was measured is kept: an audit goes on where it was killed, judges again without weights, and is done in parts
//! elsewhere to the same bytes.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::weights::{Format, Model, Tensor};
use support::{Copy, program, run, tree};

const CASE: &str = "scratch-moe";

/// The file that is this computer's own: neither sealed nor compared.
const INPUTS: &str = ".scratchproof-inputs";

/// What an audit left, but for that file.
fn left(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    tree(folder).into_iter().filter(|(name, _)| name != INPUTS).collect()
}

fn audit(case: &Path, folder: &Path, more: &[&str]) -> support::Run {
    run(program().arg("audit").arg(case).arg("-o").arg(folder).args(more))
}

/// How often each piece was measured in a folder.
fn measured(folder: &Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(folder.join(INPUTS)).expect("a file");
    let all: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    serde_json::from_value(all["measured"].clone()).expect("counts")
}

#[test]
fn another_policy_and_date_are_judged_without_weights() {
    let copy = Copy::of(CASE);
    let (case, out) = (copy.path("case.toml"), copy.path("out"));
    let first = audit(&case, &out, &[]);
    assert_eq!(first.status, 0, "{}", first.stderr);
    let before = measured(&out);
    for step in [0, 20, 60, 150, 300, 450, 600] {
        fs::remove_file(copy.weights(step)).expect("removed");
    }
    for model in ["parent-glm", "control-phi", "control-mixtral"] {
        fs::remove_file(copy.model(model)).expect("removed");
    }
    let mut text = fs::read_to_string(&case).expect("a case");
    text += "\n[policy]\nmoderate_log10_p = -5.5\n";
    fs::write(&case, text).expect("written");
    let start = Instant::now();
    let again = audit(&case, &out, &[]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert!(again.stderr.contains("no weight was opened"), "{}", again.stderr);
    assert_eq!(measured(&out), before, "nothing was measured");
    assert!(fs::read_to_string(out.join("report.json")).expect("a report").contains("-5.5"));
}

#[test]
fn a_changed_input_is_noticed_and_measured_anew() {
    let copy = Copy::of(CASE);
    let (case, out, clean) = (copy.path("case.toml"), copy.path("out"), copy.path("clean"));
    assert_eq!(audit(&case, &out, &[]).status, 0);
    let mut parent = Model::read(copy.model("parent-glm").parent().expect("a folder"));
    let tensor = parent.tensors.get_mut("model.norm.weight").expect("a norm");
    tensor.values.iter_mut().for_each(|value| *value *= 2.0);
    parent.write(copy.model("parent-glm").parent().expect("a folder"));
    let again = audit(&case, &out, &[]);
    assert!(!again.stderr.contains("no weight was opened"), "{}", again.stderr);
    assert_eq!(audit(&case, &clean, &[]).status, again.status);
    assert_eq!(left(&out), left(&clean));
    // The same length and time, other bytes: only a check of the digests can tell.
    let (path, about) = (copy.model("control-phi"), fs::metadata(copy.model("control-phi")).expect("a file"));
    let mut bytes = fs::read(&path).expect("a file");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).expect("written");
    let file = fs::File::options().write(true).open(&path).expect("a file");
    file.set_modified(about.modified().expect("a time")).expect("set");
    assert!(audit(&case, &out, &[]).stderr.contains("no weight was opened"));
    assert!(!audit(&case, &out, &["--check"]).stderr.contains("no weight was opened"));
    assert!(audit(&case, &out, &["--check"]).stderr.contains("no weight was opened"));
}

#[test]
fn a_damaged_or_foreign_store_is_one_clear_sentence() {
    let copy = Copy::of(CASE);
    let (case, out) = (copy.path("case.toml"), copy.path("out"));
    assert_eq!(audit(&case, &out, &[]).status, 0);
    let sums = out.join("measurements/figures-00000-sums.parquet");
    let whole = fs::read(&sums).expect("a table");
    for damage in [whole[..whole.len() / 2].to_vec(), [whole.as_slice(), b"x"].concat(), Vec::new()] {
        fs::write(&sums, damage).expect("written");
        let run = audit(&case, &out, &[]);
        assert_eq!((run.status, run.stderr.lines().count()), (2, 1), "{}", run.stderr);
        assert!(run.stderr.contains("figures-00000-sums.parquet"), "{}", run.stderr);
    }
    fs::write(&sums, whole).expect("written");
    assert!(audit(&case, &out, &[]).stderr.contains("no weight was opened"), "nothing was lost");
}

/// A series large enough to be killed in the middle.
fn large(folder: &Path) -> PathBuf {
    let (hidden, inner, layers, tokens) = (256, 704, 6, 2048);
    let mut state = 7_u64;
    let mut noise = move |std: f32| {
        let mut sum = 0.0;
        for _ in 0..4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sum += (state >> 40) as f32 / 16_777_216.0 - 0.5;
        }
        sum * std * 1.732
    };
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![tokens, hidden]),
        ("lm_head.weight".to_owned(), vec![tokens, hidden]),
        ("model.norm.weight".to_owned(), vec![hidden]),
    ];
    for layer in 0..layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        shapes.extend(["input_layernorm", "post_attention_layernorm"].map(|n| (name(n), vec![hidden])));
        shapes.extend(["q", "k", "v", "o"].map(|n| (name(&format!("self_attn.{n}_proj")), vec![hidden, hidden])));
        shapes.extend(["gate", "up"].map(|n| (name(&format!("mlp.{n}_proj")), vec![inner, hidden])));
        shapes.push((name("mlp.down_proj"), vec![hidden, inner]));
    }
    let mut draw = |std: f32| -> BTreeMap<String, Vec<f32>> {
        let one = |(name, shape): &(String, Vec<usize>)| {
            let count: usize = shape.iter().product();
            (name.clone(), (0..count).map(|_| if shape.len() == 1 { 1.0 } else { noise(std) }).collect())
        };
        shapes.iter().map(one).collect()
    };
    let write = |place: &str, values: &BTreeMap<String, Vec<f32>>| {
        let tensors = shapes.iter().map(|(name, shape)| {
            let tensor = Tensor { format: Format::F32, shape: shape.clone(), values: values[name].clone() };
            (name.clone(), tensor)
        });
        let config = serde_json::json!({
            "model_type": "llama", "hidden_size": hidden, "num_hidden_layers": layers, "vocab_size": tokens,
            "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": inner
        });
        let config = config.as_object().expect("an object").clone();
        Model { tensors: tensors.collect(), config, tokenizer: None }.write(&folder.join(place));
    };
    let mut weights = draw(0.02);
    for step in [0, 100, 200] {
        write(&format!("step-{step}"), &weights);
        let more = draw(0.004);
        for (name, values) in &mut weights {
            values
                .iter_mut()
                .zip(&more[name])
                .for_each(|(value, more)| *value += if (*more - 1.0).abs() < f32::EPSILON { 0.0 } else { *more });
        }
    }
    write("parent", &draw(0.02));
    write("control", &draw(0.02));
    let case = "schema = 1\nname = \"made\"\n[subject]\nname = \"made\"\ncheckpoints = \"step-{step}\"\n\
                [[parent]]\nname = \"p\"\nmodel = \"parent\"\n[[control]]\nname = \"c\"\nmodel = \"control\"\n";
    fs::write(folder.join("case.toml"), case).expect("written");
    folder.join("case.toml")
}

#[test]
#[ignore = "minutes: cargo test --release -- --ignored"]
fn a_hundred_kills_cost_no_finished_piece_and_change_no_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    let case = large(folder.path());
    let clean = folder.path().join("clean");
    let start = Instant::now();
    audit(&case, &clean, &["--quiet"]);
    let whole = start.elapsed();
    let (mut kills, mut finished, mut state) = (0, 0, 1_u64);
    while kills < 100 {
        let out = folder.path().join(format!("out-{finished}"));
        loop {
            let mut command = program();
            command.arg("audit").arg(&case).arg("-o").arg(&out).arg("--quiet");
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().expect("the program starts");
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let share = (state >> 40) as f64 / 16_777_216.0;
            std::thread::sleep(whole.mul_f64(0.7 * share));
            if child.try_wait().expect("a child").is_some() {
                break;
            }
            child.kill().expect("killed");
            child.wait().expect("a child");
            kills += 1;
            if kills == 100 {
                break;
            }
        }
        audit(&case, &out, &["--quiet"]);
        assert_eq!(left(&out), left(&clean), "after {kills} kills");
        let twice: Vec<_> = measured(&out).into_iter().filter(|(_, times)| *times > 1).collect();
        assert!(twice.is_empty(), "measured twice: {twice:?}");
        finished += 1;
    }
}

#[test]
fn an_array_of_workers_gives_the_bytes_of_one_machine() {
    let copy = Copy::of(CASE);
    let (case, plan) = (copy.path("case.toml"), copy.path("plan.json"));
    let one = copy.path("one");
    let alone = audit(&case, &one, &["--threads", "1"]);
    for threads in ["2", "5"] {
        let other = copy.path(threads);
        assert_eq!(audit(&case, &other, &["--threads", threads]).status, alone.status);
        assert_eq!(left(&other), left(&one), "{threads} threads");
    }
    let made = run(program().arg("plan").arg(&case).arg("-o").arg(&plan));
    assert_eq!(made.status, 0, "{}", made.stderr);
    let units = copy.path("units");
    // Lacking units are named.
    fs::create_dir_all(&units).expect("a folder");
    let early = run(program().arg("reduce").arg(&plan).arg(&units).arg("-o").arg(copy.path("early")));
    assert!(early.status == 2 && early.stderr.contains("is lacking: worker --only 0"), "{}", early.stderr);
    let mut workers: Vec<_> = (0..8)
        .map(|share| {
            let mut command = program();
            command.arg("worker").arg(&plan).arg("--only").arg(format!("{share}/8")).stderr(Stdio::piped());
            command.spawn().expect("the program starts")
        })
        .collect();
    for worker in &mut workers {
        assert!(worker.wait().expect("a worker").success());
    }
    // Again: nothing is left to do.
    let again = run(program().arg("worker").arg(&plan));
    assert!(again.stderr.contains(" 0 were measured"), "{}", again.stderr);
    let out = copy.path("reduced");
    let reduced = run(program().arg("reduce").arg(&plan).arg(&units).arg("-o").arg(&out));
    assert_eq!(reduced.status, alone.status, "{}", reduced.stderr);
    assert_eq!(left(&out), left(&one));
    // A unit in two places, and one that was altered.
    let name = "figures-00000.json";
    fs::create_dir_all(units.join("other")).expect("a folder");
    fs::copy(units.join(name), units.join("other").join(name)).expect("copied");
    let twice = run(program().arg("reduce").arg(&plan).arg(&units).arg("-o").arg(copy.path("twice")));
    assert!(twice.status == 2 && twice.stderr.contains("is there twice"), "{}", twice.stderr);
    fs::remove_dir_all(units.join("other")).expect("removed");
    let text = fs::read_to_string(units.join(name)).expect("a unit");
    fs::write(units.join(name), text.replacen("\"distinct\":[", "\"distinct\":[1,", 1)).expect("written");
    let altered = run(program().arg("reduce").arg(&plan).arg(&units).arg("-o").arg(copy.path("altered")));
    assert!(altered.status == 2 && altered.stderr.contains(name), "{}", altered.stderr);
    // A model that was changed since: no worker measures it by the old plan.
    let mut parent = Model::read(copy.model("parent-glm").parent().expect("a folder"));
    parent.tensors.remove("model.norm.weight");
    parent.write(copy.model("parent-glm").parent().expect("a folder"));
    let changed = run(program().arg("worker").arg(&plan));
    assert!(changed.status == 2 && changed.stderr.contains("make the plan again"), "{}", changed.stderr);
}
