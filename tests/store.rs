//! What was measured is kept: an audit goes on where it was killed, judges again without weights, and is done in parts
//! elsewhere to the same bytes.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
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
    let report = fs::read_to_string(out.join("report.json")).expect("a report");
    assert!(report.contains("-5.5") && !report.contains("(search-0000"), "it asks for no more than was measured");
    // One that counts less clear answers than a search follows up is told what was not.
    let text = fs::read_to_string(&case).expect("a case").replace("-5.5", "-3.5");
    fs::write(&case, text).expect("written");
    let more = audit(&case, &out, &[]);
    assert!(more.stderr.contains("no weight was opened"), "{}", more.stderr);
    let report = fs::read_to_string(out.join("report.json")).expect("a report");
    for unit in ["(search-0000: parent-glm)", "(search-0001: control-phi)", "(search-0002: control-mixtral)"] {
        assert!(report.contains(unit), "{unit}");
    }
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

/// How often the program is killed; the deep run sets more.
fn kills() -> usize {
    std::env::var("SCRATCHPROOF_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(40)
}

/// A small case, since every kill costs half an audit: what is written when is the same in a large one.
#[test]
fn kills_cost_no_finished_piece_change_no_byte_and_leave_nothing() {
    let copy = Copy::of(CASE);
    let (case, clean) = (copy.path("case.toml"), copy.path("clean"));
    let temporary = copy.path("temporary");
    fs::create_dir(&temporary).expect("a folder");
    let start = Instant::now();
    let first = audit(&case, &clean, &["--quiet"]);
    assert_eq!(first.status, 0, "{}", first.stderr);
    let whole = start.elapsed();
    let (wanted, mut done, mut finished, mut state) = (kills(), 0, 0, 1_u64);
    while done < wanted {
        let out = copy.path(&format!("out-{finished}"));
        while done < wanted {
            let mut command = program();
            command.arg("audit").arg(&case).arg("-o").arg(&out).arg("--quiet").env("TMPDIR", &temporary);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().expect("the program starts");
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let share = f64::from(u32::try_from(state >> 40).expect("24 bits")) / 16_777_216.0;
            std::thread::sleep(whole.mul_f64(share));
            if child.try_wait().expect("a child").is_some() {
                break;
            }
            // By turns as a machine that fails does it, and as a person at a keyboard does.
            if done % 2 == 0 {
                child.kill().expect("killed");
            } else {
                let interrupt = Command::new("kill").arg("-INT").arg(child.id().to_string()).status();
                assert!(interrupt.expect("kill").success());
            }
            child.wait().expect("a child");
            done += 1;
        }
        let again = audit(&case, &out, &["--quiet"]);
        assert_eq!(again.status, 0, "{}", again.stderr);
        assert_eq!(left(&out), left(&clean), "after {done} kills");
        let twice: Vec<_> = measured(&out).into_iter().filter(|(_, times)| *times > 1).collect();
        assert!(twice.is_empty(), "measured twice: {twice:?}");
        finished += 1;
    }
    assert_eq!(support::names(&temporary), Vec::<String>::new());
}

/// A model of so many experts in each of two layers, tiny: what is kept of a tensor does not depend on its size.
fn experts(count: usize, random: &mut support::Numbers) -> Model {
    let mut tensors = BTreeMap::new();
    let mut add = |name: String, rows: usize, columns: usize| {
        let values = (0..rows * columns).map(|_| random.noise()).collect();
        let shape = if columns == 1 { vec![rows] } else { vec![rows, columns] };
        tensors.insert(format!("model.{name}.weight"), Tensor { shape, format: Format::F32, values });
    };
    add("embed_tokens".into(), 32, 32);
    add("norm".into(), 32, 1);
    for layer in (0..2).map(|layer| format!("layers.{layer}")) {
        add(format!("{layer}.input_layernorm"), 32, 1);
        add(format!("{layer}.post_attention_layernorm"), 32, 1);
        for (name, rows) in [("q", 32), ("k", 16), ("v", 16), ("o", 32)] {
            add(format!("{layer}.self_attn.{name}_proj"), rows, 32);
        }
        add(format!("{layer}.mlp.gate"), count, 32);
        for expert in (0..count).map(|expert| format!("{layer}.mlp.experts.{expert}")) {
            add(format!("{expert}.gate_proj"), 16, 32);
            add(format!("{expert}.up_proj"), 16, 32);
            add(format!("{expert}.down_proj"), 32, 16);
        }
    }
    let config = serde_json::json!({
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 32, "num_attention_heads": 2,
        "num_key_value_heads": 1, "head_dim": 16, "num_hidden_layers": 2, "num_experts": count, "moe_intermediate_size": 16,
        "vocab_size": 32, "tie_word_embeddings": true,
    });
    let serde_json::Value::Object(config) = config else { unreachable!("an object") };
    Model { tensors, config, tokenizer: None }
}

/// Tensors of a model of 100 billion parameters with 128 experts in each of 45 layers.
const TENSORS: f64 = 18_000.0;

/// What the store of such a model with 16 checkpoints, a parent and two controls may take.
const BOUND: f64 = 256.0 * 1024.0 * 1024.0;

/// From two sizes the size of what is kept grows by so much a tensor.
#[test]
fn the_store_of_a_hundred_billion_parameters_keeps_its_bound() {
    let root = tempfile::tempdir().expect("a folder");
    let kept = |count: usize| {
        let folder = root.path().join(count.to_string());
        let mut random = support::Numbers(7);
        let mut tensors = 0;
        let names: Vec<String> = (1..=16).map(|step| format!("series/step-{step}")).collect();
        for name in names.iter().map(String::as_str).chain(["parent", "one", "other"]) {
            let model = experts(count, &mut random);
            tensors = model.tensors.len();
            model.write(&folder.join(name));
        }
        let case = "schema = 1\nname = \"many\"\n[claim]\nstatement = \"from-scratch\"\n[subject]\nname = \"many\"\n\
                    checkpoints = \"series/step-{step}\"\n[[parent]]\nname = \"parent\"\nmodel = \"parent\"\n\
                    [[control]]\nname = \"one\"\nmodel = \"one\"\n[[control]]\nname = \"other\"\nmodel = \"other\"\n";
        fs::write(folder.join("case.toml"), case).expect("written");
        let out = folder.join("out");
        let run = audit(&folder.join("case.toml"), &out, &["--quiet"]);
        assert!(run.status < 2 || run.status == 3, "{}", run.stderr);
        let files = tree(&out.join("measurements"));
        (tensors, files.values().map(Vec::len).sum::<usize>())
    };
    let ((few, small), (many, large)) = (kept(48), kept(128));
    #[allow(clippy::cast_precision_loss, reason = "counts")]
    let (each, there) = ((large - small) as f64 / (many - few) as f64, large as f64);
    #[allow(clippy::cast_precision_loss, reason = "a count")]
    let whole = there + each * (TENSORS - many as f64);
    assert!(whole < BOUND, "{each:.0} bytes a tensor, {whole:.0} in all; {few}: {small}, {many}: {large}");
    assert!(each > 1000.0, "16 checkpoints have more figures than {each:.0} bytes");
}
