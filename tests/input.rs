//! Bad input as users meet it: what cannot be audited is one clear sentence and status 2, what can is a finding. Never a
//! panic, never a silent skip.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use scratchproof::evidence::Evidence;
use serde_json::json;
use support::report::{Condition, Direction, Grade, Outcome, Report};
use support::safetensors::{File, edit};
use support::{Copy, Numbers, fixtures, program, refused, run};

/// The smallest cases: a dense model, refuted and confirmed.
const DERIVED: &str = "dense-continued";
const OWN: &str = "dense-sgd";

/// A tensor of the dense cases, and another.
const TENSOR: &str = "model.layers.2.self_attn.q_proj.weight";
const OTHER: &str = "model.layers.3.mlp.down_proj.weight";

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

mod command_line {
    use super::*;

    #[test]
    fn mistakes_are_status_2_with_nothing_on_stdout() {
        for arguments in [
            &["--frobnicate"][..],
            &[],
            &["audit"],
            &["audit", "case.toml", "--frobnicate"],
            &["--threads", "many", "audit", "case.toml"],
            &["--threads", "-1", "audit", "case.toml"],
            &["--format", "yaml", "audit", "case.toml"],
            &["-q", "-v", "audit", "case.toml"],
            &["frobnicate"],
        ] {
            let run = run(program().args(arguments));
            assert_eq!((run.status, run.stdout.as_str()), (2, ""), "{arguments:?}: {}", run.stderr);
            assert!(!run.stderr.is_empty(), "{arguments:?}");
        }
        let case = fixtures().join("cases").join(OWN).join("case.toml");
        refused(&run(program().args(["--threads", "0", "audit"]).arg(case)), &["--threads"]);
    }

    #[test]
    fn help_and_version_are_results() {
        for arguments in [&["--help"][..], &["--version"], &["help"], &["audit", "--help"], &["inspect", "-h"]] {
            let run = run(program().args(arguments));
            assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{arguments:?}");
            assert!(run.stdout.starts_with("scratchproof") || run.stdout.contains("Usage: "), "{}", run.stdout);
        }
    }

    #[test]
    fn a_reader_that_stops_reading_is_no_failure() {
        let tool = env!("CARGO_BIN_EXE_scratchproof");
        let case = fixtures().join("cases").join(OWN).join("case.toml");
        for (first, status) in [("audit", 0), ("--format json audit", 0), ("inspect", 0)] {
            let model = fixtures().join("models/parent-glm");
            let what = if first == "inspect" { &model } else { &case };
            // The reader is gone before anything is written; `pipefail` hands on the tool's own status.
            let script = format!("set -o pipefail; '{tool}' {first} '{}' | true", what.display());
            let run = run(Command::new("bash").args(["-c", &script]));
            assert_eq!((run.status, run.stderr.as_str()), (status, ""), "{first}");
            let script = format!("set -o pipefail; '{tool}' {first} '{}' | head -1", what.display());
            let run = self::run(Command::new("bash").args(["-c", &script]));
            assert_eq!((run.status, run.stdout.lines().count()), (status, 1), "{first}: {}", run.stderr);
        }
        // A stdout that was closed is a place that takes nothing, and must not end in a panic.
        let script = format!("'{tool}' inspect '{}' >&-", fixtures().join("models/parent-glm").display());
        run(Command::new("bash").args(["-c", &script]));
    }

    #[test]
    fn a_full_disk_is_said() {
        let model = fixtures().join("models/parent-glm");
        let script = format!("'{}' inspect '{}' > /dev/full", env!("CARGO_BIN_EXE_scratchproof"), model.display());
        refused(&run(Command::new("bash").args(["-c", &script])), &["standard output", "space"]);
    }

    #[test]
    fn an_output_folder_that_cannot_be_is_refused_before_the_work() {
        let copy = Copy::of(OWN);
        let file = copy.path("a-file");
        fs::write(&file, "mine").expect("written");
        for output in [file.clone(), file.join("inside")] {
            let run = run(program().arg("audit").arg(copy.path("case.toml")).arg("-o").arg(output));
            refused(&run, &["a-file"]);
        }
        assert_eq!(fs::read(&file).expect("a file"), b"mine");
    }

    #[test]
    fn a_failed_audit_leaves_an_earlier_report_alone_or_none() {
        let copy = Copy::of(OWN);
        edit(&copy.weights(600), |file| file.data.truncate(1000));
        copy.refused(&["step-600"]);
    }
}

mod case_file {
    use super::*;

    #[test]
    fn mistakes_are_told_with_their_line() {
        let pattern = "checkpoints = \"checkpoints/step-{step}\"";
        let listed = |second: &str| {
            format!(
                "checkpoints = [{{ step = 0, model = \"checkpoints/step-0\" }}, {{ step = {second}, model = \
                 \"checkpoints/step-20\" }}]"
            )
        };
        for (old, new, parts) in [
            ("name = \"dense-sgd\"", "nmae = \"dense-sgd\"", vec!["line 2", "nmae"]),
            ("[repository]", "[repositroy]", vec!["repositroy", "line"]),
            ("../../models/parent-llama", "../../models/nobody", vec!["no such file", "models/nobody", "line"]),
            ("../../models/control-llama", "ftp://org/model", vec!["ftp://", "line"]),
            (pattern, "checkpoints = \"checkpoints/stop-{step}\"", vec!["line 9", "matches nothing", "stop-"]),
            (pattern, "checkpoints = \"nowhere/step-{step}\"", vec!["line 9", "nowhere"]),
            (pattern, "checkpoints = \"checkpoints/step-{step}-{step}\"", vec!["line 9", "twice"]),
            (pattern, &listed("0"), vec!["line 9", "step 0 appears twice", "step-20"]),
            (pattern, &listed("-1"), vec!["line 9", "negative"]),
            (pattern, &listed("1.5"), vec!["line 9"]),
            (pattern, "checkpoints = []", vec!["line 9", "empty"]),
            (pattern, "model = \"case.toml\"", vec!["case.toml"]),
            ("\"2026-10-02T08:00:00Z\"", "\"next Tuesday\"", vec!["next Tuesday", "line 21"]),
            ("\"2026-10-02T08:00:00Z\"", "\"2026-13-45\"", vec!["2026-13-45", "line 21"]),
            ("\"2026-10-02T08:00:00Z\"", "\"\"", vec!["line 21"]),
            ("\"2026-10-02T08:00:00Z\"", "12", vec!["line 21"]),
            ("\"2026-10-02T08:00:00Z\"", "{ at = \"2026-10-02\", grade = \"certain\" }", vec!["certain", "line 21"]),
            ("schema = 1", "schema = 1\nschema = 1", vec!["line 2"]),
            ("schema = 1", "schema = 2", vec!["line 1"]),
            ("schema = 1", "schema = \"1\"", vec!["line 1"]),
            ("\"from-scratch\"", "\"fine-tuned\"", vec!["line 5", "from-scratch"]),
            ("[repository]", "[policy]\nstrong_log10_p = nan\n\n[repository]", vec!["strong_log10_p"]),
            ("[repository]", "[policy]\nconclusive_effect = nan\n\n[repository]", vec!["conclusive_effect"]),
            ("[repository]", "[policy]\ndetectable_effect = inf\n\n[repository]", vec!["detectable_effect"]),
            ("[repository]", "[policy]\norder_excess = nan\n\n[repository]", vec!["order_excess"]),
            ("[repository]", "[policy]\nnoise_cosine = nan\n\n[repository]", vec!["noise_cosine"]),
            ("[repository]", "[policy]\nnoise_expected = inf\n\n[repository]", vec!["noise_expected"]),
            ("[repository]", "[policy]\nstrong = 1\n\n[repository]", vec!["strong", "line"]),
            ("name = \"control-mixtral\"", "name = \"control-llama\"", vec!["name", "line"]),
        ] {
            let copy = Copy::of(OWN);
            copy.replace(old, new);
            let run = copy.audit();
            assert_eq!(run.status, 2, "{old:?} -> {new:?}");
            refused(&run, &parts);
            assert!(run.stderr.contains("case.toml"), "{}", run.stderr);
        }
    }

    #[test]
    fn an_address_is_refused_offline() {
        for (address, parts) in [
            ("hf://org/model", ["hf://org/model", "--offline"]),
            ("https://user:password@example.org/model", ["https://", "--offline"]),
        ] {
            let copy = Copy::of(OWN);
            copy.replace("../../models/control-llama", address);
            let run = run(program().args(["--offline", "audit"]).arg(copy.path("case.toml")));
            refused(&run, &["control-llama"]);
            refused(&run, &parts);
            assert!(!run.stderr.contains("password"), "{}", run.stderr);
        }
    }

    #[test]
    fn a_step_that_two_folders_have_is_refused() {
        let copy = Copy::of(OWN);
        support::copy(&copy.path("checkpoints/step-20"), &copy.path("checkpoints/step-0020"));
        copy.refused(&["case.toml line 9", "step 20 appears twice", "step-0020"]);
        let copy = Copy::of(OWN);
        fs::create_dir(copy.path("checkpoints/step-99999999999999999999")).expect("a folder");
        copy.refused(&["case.toml line 9", "step-99999999999999999999", "too large"]);
    }

    #[test]
    fn files_that_are_no_case_file_are_refused() {
        let copy = Copy::of(OWN);
        let audit = |path: &Path| run(program().arg("audit").arg(path));
        refused(&audit(&copy.path("none.toml")), &["none.toml", "No such file"]);
        refused(&audit(&copy.folder()), &["dense-sgd", "directory"]);
        refused(&audit(&copy.path("case.toml/inside")), &["case.toml/inside"]);
        fs::write(copy.path("empty.toml"), "").expect("written");
        refused(&audit(&copy.path("empty.toml")), &["empty.toml", "schema"]);
        fs::write(copy.path("bytes.toml"), b"schema = 1\n\xff\xfe").expect("written");
        refused(&audit(&copy.path("bytes.toml")), &["bytes.toml", "byte 11"]);
        fs::write(copy.path("nul.toml"), b"schema = 1\n\0\0").expect("written");
        refused(&audit(&copy.path("nul.toml")), &["nul.toml line 2"]);
        fs::write(copy.path("deep.toml"), format!("schema = 1\nx = {}", "[".repeat(100_000))).expect("written");
        refused(&audit(&copy.path("deep.toml")), &["deep.toml"]);
        fs::write(copy.path("dots.toml"), format!("schema = 1\n{} = 1", vec!["x"; 100_000].join(".")))
            .expect("written");
        refused(&audit(&copy.path("dots.toml")), &["dots.toml"]);
        symlink("loop.toml", copy.path("loop.toml")).expect("a link");
        refused(&audit(&copy.path("loop.toml")), &["loop.toml"]);
        refused(&audit(&copy.weights(0)), &["model.safetensors"]);
        mkfifo(&copy.path("fifo.toml"));
        refused(&audit(&copy.path("fifo.toml")), &["fifo.toml", "not a regular file"]);
        let locked = copy.path("locked.toml");
        fs::write(&locked, "schema = 1").expect("written");
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).expect("set");
        // The superuser may read everything.
        if fs::File::open(&locked).is_err() {
            refused(&audit(&locked), &["locked.toml", "ermission"]);
        }
    }
}

mod weights {
    use super::*;

    #[test]
    fn missing_files_and_folders_are_named() {
        let copy = Copy::of(OWN);
        fs::remove_file(copy.weights(60)).expect("removed");
        copy.refused(&["step 60", "step-60", "no file with tensors"]);
        let copy = Copy::of(OWN);
        fs::remove_file(copy.model("parent-llama")).expect("removed");
        copy.refused(&["parent parent-llama", "parent-llama", "no file with tensors"]);
        let copy = Copy::of(OWN);
        let folder = copy.path("checkpoints/step-60");
        fs::remove_dir_all(&folder).expect("removed");
        fs::create_dir(&folder).expect("a folder");
        copy.refused(&["step 60", "step-60", "no files"]);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_does_not_hang() {
        let copy = Copy::of(OWN);
        fs::remove_file(copy.weights(60)).expect("removed");
        mkfifo(&copy.weights(60));
        copy.refused(&["step 60", "model.safetensors", "not a regular file"]);
        let copy = Copy::of(OWN);
        fs::remove_file(copy.weights(60)).expect("removed");
        fs::create_dir(copy.weights(60)).expect("a folder");
        copy.refused(&["step 60"]);
        for place in ["checkpoints/step-600", "checkpoints/step-60"] {
            let copy = Copy::of(OWN);
            let config = copy.path(place).join("config.json");
            fs::remove_file(&config).expect("removed");
            mkfifo(&config);
            copy.refused(&["config.json", "not a regular file"]);
        }
        let copy = Copy::of(OWN);
        fs::remove_file(copy.weights(60)).expect("removed");
        symlink("/dev/zero", copy.weights(60)).expect("a link");
        copy.refused(&["step 60", "not a regular file"]);
        mkfifo(&copy.path("fifo"));
        refused(&run(program().arg("inspect").arg(copy.path("fifo"))), &["fifo", "regular file"]);
        refused(&run(program().args(["inspect", "/dev/zero"])), &["/dev/zero", "regular file"]);
        refused(&run(program().arg("inspect").arg(copy.path("none"))), &["none", "no such file"]);
    }

    #[test]
    fn empty_and_foreign_files_are_named() {
        for (bytes, part) in [
            (&b""[..], "0 bytes"),
            (b"\x01\x02\x03", "3 bytes"),
            (&[0; 8], "header"),
            (&[255; 64], "header"),
            (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
            (b"PK\x03\x04\x14\0\0\0\0\0", "zip archive"),
            (b"GGUF\x03\0\0\0\0\0\0\0", "GGUF"),
            (b"<!DOCTYPE html>", "web page"),
            (b"{\"hidden_size\": 64}", "JSON"),
        ] {
            let copy = Copy::of(OWN);
            fs::write(copy.weights(60), bytes).expect("written");
            copy.refused(&["step 60", "step-60/model.safetensors", part]);
        }
    }

    #[test]
    fn a_truncated_file_is_told_from_a_whole_one() {
        for place in ["checkpoint", "parent", "control"] {
            let copy = Copy::of(OWN);
            let path = match place {
                "checkpoint" => copy.weights(300),
                "parent" => copy.model("parent-llama"),
                _ => copy.model("control-llama"),
            };
            let length = fs::metadata(&path).expect("a file").len();
            fs::OpenOptions::new().write(true).open(&path).expect("a file").set_len(length - 7).expect("cut");
            copy.refused(&[place, "model.safetensors", "tensor", "cut short by at least 7 bytes"]);
        }
    }

    /// What a header can lie about: the change and what the message must say.
    type Lie = (&'static str, fn(&mut File), &'static [&'static str]);

    #[test]
    fn a_header_that_lies_is_refused_with_the_tensor() {
        let lies: &[Lie] = &[
            ("shape", |file| file.set(TENSOR, "shape", json!([64, 65])), &[TENSOR, "[64, 65]"]),
            ("huge shape", |file| file.set(TENSOR, "shape", json!([1_u64 << 40, 1_u64 << 40])), &[TENSOR, "overflow"]),
            ("zero axis", |file| file.set(TENSOR, "shape", json!([0, 1_u64 << 62])), &[TENSOR]),
            ("negative axis", |file| file.set(TENSOR, "shape", json!([-64, -64])), &["step-300"]),
            ("fraction", |file| file.set(TENSOR, "shape", json!([64.5, 64])), &["step-300"]),
            ("dtype", |file| file.set(TENSOR, "dtype", json!("F32")), &[TENSOR, "F32"]),
            ("no dtype", |file| file.set(TENSOR, "dtype", json!(null)), &["step-300"]),
            ("end before begin", |file| file.set(TENSOR, "data_offsets", json!([100, 50])), &[TENSOR, "50"]),
            ("huge end", |file| file.set(TENSOR, "data_offsets", json!([0, u64::MAX])), &[TENSOR]),
            ("three offsets", |file| file.set(TENSOR, "data_offsets", json!([0, 1, 2])), &["step-300"]),
            ("metadata", |file| _ = file.header.insert("__metadata__".into(), json!([1])), &["step-300"]),
            ("a hole", |file| _ = file.header.remove(TENSOR), &["belong to no tensor"]),
            ("bytes behind", |file| file.data.extend([0; 16]), &["last 16 bytes"]),
            ("nothing at all", |file| file.header.clear(), &["belong to no tensor"]),
            (
                "overlap",
                |file| {
                    let (begin, end) = file.span(TENSOR);
                    file.set(TENSOR, "data_offsets", json!([begin - 64, end - 64]));
                },
                &[TENSOR, "overlaps"],
            ),
            (
                "the same bytes twice",
                |file| {
                    let entry = file.header[TENSOR].clone();
                    file.header.insert("model.layers.9.self_attn.q_proj.weight".into(), entry);
                },
                &["overlaps"],
            ),
        ];
        let copy = Copy::of(OWN);
        let path = copy.weights(300);
        let whole = fs::read(&path).expect("a file");
        for (lie, change, parts) in lies {
            edit(&path, change);
            let run = copy.audit();
            assert_eq!(run.status, 2, "{lie}");
            refused(&run, &["step 300", "step-300/model.safetensors"]);
            refused(&run, parts);
            fs::write(&path, &whole).expect("written");
        }
        // A name twice, which a map cannot hold.
        let mut file = File::read(&path);
        let entry = serde_json::to_string(&file.header[TENSOR]).expect("JSON");
        let header = serde_json::to_string(&file.header).expect("JSON");
        let header = header.replacen('{', &format!("{{\"{TENSOR}\":{entry},"), 1);
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.append(&mut file.data);
        fs::write(&path, &bytes).expect("written");
        copy.refused(&["step 300", TENSOR, "twice"]);
        for length in [0, 1, 1 << 20, 1 << 40, u64::MAX] {
            let mut bytes = whole.clone();
            bytes[..8].copy_from_slice(&u64::to_le_bytes(length));
            fs::write(&path, &bytes).expect("written");
            copy.refused(&["step 300", "step-300/model.safetensors"]);
        }
    }

    #[test]
    fn a_number_format_nobody_knows_is_listed_and_not_compared() {
        let copy = Copy::of(OWN);
        for step in [0, 20, 60, 150, 300, 450, 600] {
            edit(&copy.weights(step), |file| file.set(TENSOR, "dtype", json!("F6_E2M3")));
        }
        // More than the policy's share of the weights: nobody is cleared of what may be in it.
        let report = copy.finished(3);
        assert!(report.skips(TENSOR, "F6_E2M3"), "{:?}", report.coverage);
        assert!(report.misses("in a form that can be tested"), "{:?}", report.verdict.missing);
        assert_eq!(report.verdict.conditions.parent, Condition::Untested);
    }

    /// Splits a checkpoint into two files and an index, which `change` may falsify.
    fn shard(folder: &Path, change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
        let one = folder.join("model.safetensors");
        let file = File::read(&one);
        let mut map = serde_json::Map::new();
        for (number, low) in [(1, true), (2, false)] {
            let shard = format!("model-0000{number}-of-00002.safetensors");
            let part = file.part(|name| name.contains("layers.2") == low);
            map.extend(part.names().into_iter().map(|name| (name, json!(shard))));
            part.write(&folder.join(&shard));
        }
        fs::remove_file(one).expect("removed");
        change(&mut map);
        let index = serde_json::to_vec(&json!({ "metadata": {}, "weight_map": map })).expect("JSON");
        fs::write(folder.join("model.safetensors.index.json"), index).expect("written");
    }

    #[test]
    fn a_shard_index_may_not_lead_out_of_its_folder() {
        let outside = fixtures().join("models/parent-llama/model.safetensors");
        for target in [
            "../step-20/model.safetensors",
            &outside.display().to_string(),
            "..",
            "",
            "sub/model.safetensors",
            "..\\model.safetensors",
            "model.safetensors\u{0}",
            "nowhere.safetensors",
        ] {
            let copy = Copy::of(OWN);
            shard(&copy.path("checkpoints/step-450"), |map| _ = map.insert(TENSOR.into(), json!(target)));
            copy.refused(&["step 450", "model.safetensors.index.json", TENSOR]);
        }
    }

    #[test]
    fn shards_are_one_model_and_their_index_is_checked() {
        let copy = Copy::of(OWN);
        shard(&copy.path("checkpoints/step-450"), |_| {});
        let report = copy.finished(0);
        let usual = support::audited(OWN);
        let figures = |folder: &Path| Evidence::read(&folder.join("evidence")).expect("evidence").trajectory;
        assert!(figures(&copy.output()) == figures(&usual.folder), "other figures");
        assert_eq!(report.verdict.conditions, usual.report.verdict.conditions);

        let copy = Copy::of(OWN);
        let swapped = json!("model-00002-of-00002.safetensors");
        shard(&copy.path("checkpoints/step-450"), |map| _ = map.insert(TENSOR.into(), swapped));
        copy.refused(&["step 450", TENSOR, "model-00002-of-00002.safetensors"]);

        let copy = Copy::of(OWN);
        shard(&copy.path("checkpoints/step-450"), |map| _ = map.remove(TENSOR));
        let report = copy.finished(3);
        assert!(report.skips(TENSOR, ""), "{:?}", report.coverage);
        assert!(report.misses("of another shape in another checkpoint"), "{:?}", report.verdict.missing);

        let copy = Copy::of(OWN);
        shard(&copy.path("checkpoints/step-450"), |_| {});
        fs::write(copy.path("checkpoints/step-450/model.safetensors.index.json"), "{").expect("written");
        copy.refused(&["step 450", "model.safetensors.index.json"]);
    }

    #[test]
    fn a_config_that_is_no_json_is_named() {
        let copy = Copy::of(OWN);
        fs::write(copy.path("checkpoints/step-600/config.json"), "{\"hidden_size\": 64,\n").expect("written");
        copy.refused(&["step-600", "config.json", "line 2"]);
    }

    #[test]
    fn names_from_outside_cannot_draw_on_the_terminal_or_the_page() {
        let copy = Copy::of(OWN);
        let evil = "model.layers.2.<script>alert(1)</script>\u{1b}[31m\u{7}.weight";
        for step in [0, 20, 60, 150, 300, 450, 600] {
            edit(&copy.weights(step), |file| {
                file.rename(|name| if name == TENSOR { evil.to_owned() } else { name.to_owned() });
            });
        }
        let run = copy.audit();
        assert!(!run.stdout.contains(['\u{1b}', '\u{7}']) && !run.stderr.contains('\u{1b}'), "{}", run.stdout);
        for file in ["report.html", "report.md", "report.json"] {
            let text = fs::read_to_string(copy.output().join(file)).expect("text");
            assert!(!text.contains(['\u{1b}', '\u{7}']), "{file}");
            assert!(file == "report.json" || !text.contains("<script>alert"), "{file}");
        }
        let run = support::run(program().arg("inspect").arg(copy.weights(0)));
        assert!(run.status == 0 && !run.stdout.contains(['\u{1b}', '\u{7}']), "{}", run.stdout);
        edit(&copy.weights(20), |file| file.set(evil, "shape", json!([1])));
        let run = copy.audit();
        refused(&run, &["step 20"]);
        assert!(!run.stderr.contains(['\u{1b}', '\u{7}']), "{}", run.stderr);
    }

    #[test]
    fn a_leftover_of_another_architecture_at_step_0_is_told_and_nothing_is_confirmed() {
        let copy = Copy::of(OWN);
        fs::copy(copy.model("control-mixtral"), copy.weights(0)).expect("copied");
        fs::remove_file(copy.path("checkpoints/step-0/config.json")).expect("removed");
        let report = copy.finished(3);
        assert_eq!(report.of("chain/architecture-change")[0].subject.steps, [0]);
        assert!(report.skips("step 0", "another architecture"), "{:?}", report.coverage);
        assert_eq!(report.verdict.conditions.start, Condition::Untested);
        assert!(report.misses("the checkpoint of step 0"), "{:?}", report.verdict.missing);
    }

    #[test]
    fn a_leftover_in_the_middle_is_left_out() {
        // What lies between its neighbours now could hide another model: untested, and nothing against it.
        for (case, status) in [(OWN, 3), (DERIVED, 1)] {
            let copy = Copy::of(case);
            fs::copy(copy.model("control-mixtral"), copy.weights(150)).expect("copied");
            let report = copy.finished(status);
            assert_eq!(report.of("chain/architecture-change")[0].subject.steps, [150]);
            assert!(report.skips("step 150", "another architecture"), "{:?}", report.coverage);
            assert!(report.misses("step 150"), "{:?}", report.verdict.missing);
            let steps = Evidence::read(&copy.output().join("evidence")).expect("evidence").trajectory;
            assert!(steps.iter().all(|row| row.step != 150));
        }
    }

    fn unusable(report: &Report, tensor: &str, model: &str, why: &str) {
        assert!(report.skips(tensor, model) && report.skips(tensor, why), "{:?}", report.coverage.skipped);
    }

    #[test]
    fn weights_that_are_not_finite_are_found_and_the_rest_is_judged() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let copy = Copy::of(DERIVED);
            edit(&copy.weights(600), |file| {
                file.fill(TENSOR, value);
                let odd = value.to_le_bytes();
                file.tensor(OTHER)[100..102].copy_from_slice(&odd[2..]);
            });
            let report = copy.finished(1);
            let finding = report.of("input/non-finite")[0];
            assert!(finding.message.contains("step 600"), "{}", finding.message);
            assert_eq!(finding.direction, Direction::Neutral);
            unusable(&report, TENSOR, "step 600", "not finite");
            unusable(&report, OTHER, "step 600", "1 of");
        }
        let copy = Copy::of(DERIVED);
        edit(&copy.model("parent-llama"), |file| file.fill(TENSOR, f32::NAN));
        let report = copy.finished(1);
        unusable(&report, TENSOR, "parent parent-llama", "not finite");
        assert!(report.of("input/non-finite")[0].message.contains("parent-llama"));
        let text = fs::read_to_string(copy.output().join("report.html")).expect("text");
        assert!(!text.contains("NaN,") && !text.contains("\"NaN") && !text.contains(">NaN<"), "NaN in a picture");
    }

    #[test]
    fn nothing_is_confirmed_where_whole_models_are_not_finite() {
        let all = |path: &Path| {
            edit(path, |file| file.names().iter().for_each(|name| file.fill(name, f32::NAN)));
        };
        let copy = Copy::of(OWN);
        all(&copy.weights(600));
        let report = copy.finished(3);
        assert!(report.misses("finite"), "{:?}", report.verdict.missing);
        let copy = Copy::of(OWN);
        all(&copy.model("parent-llama"));
        let report = copy.finished(3);
        assert_eq!(report.verdict.conditions.parent, Condition::Untested);
        let copy = Copy::of(OWN);
        all(&copy.weights(0));
        let report = copy.finished(3);
        assert_eq!(report.verdict.conditions.start, Condition::Untested);
    }

    #[test]
    fn a_zero_matrix_is_found() {
        let copy = Copy::of(OWN);
        edit(&copy.weights(600), |file| file.fill(TENSOR, 0.0));
        let report = copy.finished(3);
        assert!(report.misses("in a form that can be tested"), "{:?}", report.verdict.missing);
        assert!(report.of("input/zero-tensor")[0].message.contains(TENSOR));
        unusable(&report, TENSOR, "step 600", "all zero");
        let copy = Copy::of(OWN);
        edit(&copy.model("parent-llama"), |file| file.fill(TENSOR, -0.0));
        unusable(&copy.finished(0), TENSOR, "parent-llama", "all zero");
        // A model of nothing but zeros is not independent of anybody.
        let copy = Copy::of(OWN);
        for step in [0, 20, 60, 150, 300, 450, 600] {
            edit(&copy.weights(step), |file| file.data.fill(0));
        }
        assert_ne!(copy.audit().status, 0);
    }
}

mod record {
    use super::*;

    #[test]
    fn a_log_with_flipped_bytes_is_read_around_the_damage() {
        let copy = Copy::of(OWN);
        let mut bytes = fs::read(copy.log()).expect("a log");
        let middle = bytes.len() / 2;
        bytes[middle..middle + 4].iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(copy.log(), &bytes).expect("written");
        let report = copy.finished(0);
        let finding = report.of("time/log-damage");
        assert_eq!(finding.len(), 1);
        assert!(finding[0].message.contains("byte"), "{}", finding[0].message);
        let rows = Evidence::read(&copy.output().join("evidence")).expect("evidence").runs;
        let usual = Evidence::read(&support::audited(OWN).folder.join("evidence")).expect("evidence").runs;
        assert!(rows.len() < usual.len() && rows.len() > usual.len() / 3, "{} of {}", rows.len(), usual.len());
        assert_eq!(rows.iter().map(|row| row.step).min(), usual.iter().map(|row| row.step).min());
    }

    #[test]
    fn a_log_that_is_none_is_left_out() {
        for bytes in [&b""[..], b"no log at all, but some text", &[0; 10_000]] {
            let copy = Copy::of(OWN);
            fs::write(copy.log(), bytes).expect("written");
            // Without a log nothing is confirmed.
            let report = copy.finished(3);
            assert!(report.of("input/skipped")[0].message.contains("run log"), "{:?}", report.findings);
            assert!(report.skips("run log", "") && report.misses("run log"), "{:?}", report.coverage);
            assert_eq!(report.verdict.conditions.time, Condition::Untested);
        }
        let copy = Copy::of(OWN);
        fs::remove_file(copy.log()).expect("removed");
        let report = copy.finished(3);
        assert!(report.skips("run log", "holds no run log"), "{:?}", report.coverage);
        let copy = Copy::of(OWN);
        let log = copy.log();
        fs::copy(&log, log.with_file_name("another.wandb")).expect("copied");
        assert!(copy.finished(0).skips("run log", "the same bytes"));
    }

    #[test]
    fn a_log_that_is_no_file_does_not_hang() {
        let copy = Copy::of(OWN);
        let name = copy.text().lines().find(|line| line.starts_with("log")).expect("a log").to_owned();
        mkfifo(&copy.path("wandb/fifo.wandb"));
        copy.replace(&name, "log = \"wandb/fifo.wandb\"");
        assert!(copy.finished(3).skips("run log", "not a regular file"));
    }

    #[test]
    fn a_killed_run_misses_its_end_which_is_a_question_if_checkpoints_go_on() {
        // A log that ends early ties nothing to the last interval.
        for percent in [98, 75] {
            let copy = Copy::of(OWN);
            let length = fs::metadata(copy.log()).expect("a log").len();
            let file = fs::OpenOptions::new().write(true).open(copy.log()).expect("a log");
            file.set_len(length * percent / 100).expect("cut");
            let report = copy.finished(3);
            let rows = Evidence::read(&copy.output().join("evidence")).expect("evidence").runs;
            assert!(!rows.is_empty());
            assert!(report.of("input/skipped").is_empty());
            let asked = |f: &&support::report::Finding| f.direction == Direction::Against && f.grade >= Grade::Moderate;
            let codes: Vec<_> = report.findings.iter().filter(asked).map(|f| f.code.as_str()).collect();
            assert_eq!(codes, if percent == 98 { &[][..] } else { &["time/steps"] }, "{percent}");
        }
    }

    #[test]
    fn a_repository_that_is_none_is_a_finding() {
        for (target, status) in [("checkpoints", 0), ("case.toml", 0)] {
            let copy = Copy::of(OWN);
            copy.replace("git = \"repo.git\"", &format!("git = \"{target}\""));
            let report = copy.finished(status);
            assert_eq!(report.of("time/repository").len(), 1);
            assert!(report.skips("repository", "") && report.misses("repository"), "{:?}", report.coverage);
        }
        let copy = Copy::of(OWN);
        copy.replace("git = \"repo.git\"", "git = \"nowhere.git\"");
        copy.refused(&["case.toml", "nowhere.git", "line"]);
    }

    #[test]
    fn a_broken_repository_is_a_finding() {
        // Empty, without a branch, with objects gone, with objects of noise.
        for damage in 0..4 {
            let copy = Copy::of(OWN);
            let repository = copy.path("repo.git");
            match damage {
                0 => {
                    fs::remove_dir_all(&repository).expect("removed");
                    fs::create_dir(&repository).expect("a folder");
                }
                1 => fs::write(repository.join("HEAD"), "ref: refs/heads/none\n").expect("written"),
                2 => fs::remove_dir_all(repository.join("objects/pack")).expect("removed"),
                _ => {
                    let packs = repository.join("objects/pack");
                    for name in support::names(&packs) {
                        let path = packs.join(name);
                        let mut bytes = fs::read(&path).expect("a pack");
                        bytes.iter_mut().skip(8).for_each(|byte| *byte ^= 0x5a);
                        fs::write(&path, &bytes).expect("written");
                    }
                }
            }
            let report = copy.finished(0);
            // Other references than HEAD still lead to the commit of the log.
            let read = report.of("time/logged-commit").iter().any(|finding| finding.direction == Direction::For);
            let told = !report.of("time/repository").is_empty() && report.misses("repository");
            assert!(if damage == 1 { read } else { told }, "damage {damage}: {:?}", report.verdict.missing);
        }
    }
}

mod lacking {
    use super::*;

    /// A name that no template knows.
    fn unknown(name: &str) -> String {
        if name == "__metadata__" { name.to_owned() } else { format!("stranger_{}", name.replace('.', "_")) }
    }

    /// The audit must end without a verdict, whatever the truth.
    fn inconclusive(copy: &Copy, misses: &[&str]) -> Report {
        let report = copy.finished(3);
        assert_eq!(report.verdict.outcome, Outcome::Inconclusive);
        for words in misses {
            assert!(report.misses(words), "no {words:?} in {:?}", report.verdict.missing);
        }
        report
    }

    #[test]
    fn without_controls_nothing_is_confirmed_and_only_exact_nulls_are_conclusive() {
        let copy = Copy::of(OWN);
        copy.without("[[control]]");
        let report = inconclusive(&copy, &["a control"]);
        assert_eq!(report.verdict.conditions.parent, Condition::Untested);
        let copy = Copy::of(DERIVED);
        copy.without("[[control]]");
        let report = copy.finished(1);
        assert!(report.misses("a control"));
        // Relabelling is an exact null; second moments and tokens have none.
        assert!(report.of("parent/aligned-similarity").iter().any(|f| f.grade == Grade::Conclusive));
        for code in ["parent/second-moments", "parent/cka"] {
            assert!(report.of(code).iter().all(|f| f.grade < Grade::Conclusive), "{code}");
        }
    }

    #[test]
    fn controls_that_cannot_be_compared_are_no_controls() {
        let copy = Copy::of(OWN);
        for control in ["control-llama", "control-mixtral"] {
            narrow(&copy.model(control));
        }
        inconclusive(&copy, &["a control that can be compared"]);
        // Names hide no control.
        let copy = Copy::of(OWN);
        for control in ["control-llama", "control-mixtral"] {
            edit(&copy.model(control), |file| file.rename(unknown));
        }
        copy.finished(0);
    }

    #[test]
    fn without_a_parent_nobody_is_cleared() {
        for case in [OWN, DERIVED] {
            let copy = Copy::of(case);
            copy.without("[[parent]]");
            let report = copy.audit();
            assert_ne!(report.status, 0, "{case}");
            let report = support::report::read(&copy.output().join("report.json"));
            assert!(report.verdict.against.is_empty() && report.misses("a candidate parent"), "{:?}", report.verdict);
            assert_eq!(report.verdict.conditions.parent, Condition::Untested);
        }
    }

    #[test]
    fn the_record_may_be_missing_altogether() {
        // Withholding helps nobody: without a log nothing is confirmed.
        for (case, status) in [(OWN, 3), (DERIVED, 1)] {
            let copy = Copy::of(case);
            copy.without("[[run]]");
            copy.without("[repository]");
            let report = copy.finished(status);
            assert_eq!(report.verdict.conditions.time, Condition::Untested);
            for words in ["a run log", "the repository", "the step sizes"] {
                assert!(report.misses(words), "no {words:?} in {:?}", report.verdict.missing);
            }
        }
    }

    #[test]
    fn a_release_date_that_is_left_out_is_missing() {
        let copy = Copy::of(OWN);
        copy.replace("released = \"2026-10-02T08:00:00Z\"\n", "");
        assert!(copy.finished(0).misses("the date on which parent-llama became public"));
    }

    #[test]
    fn one_model_has_no_start_and_no_chain() {
        let single = |case: &str| {
            let copy = Copy::of(case);
            copy.replace("checkpoints = \"checkpoints/step-{step}\"", "model = \"checkpoints/step-600\"");
            copy
        };
        let report = inconclusive(&single(OWN), &["the start of training", "two or more checkpoints"]);
        assert_eq!(report.verdict.conditions.start, Condition::Untested);
        assert_eq!(report.verdict.conditions.chain, Condition::Untested);
        assert_eq!(report.verdict.conditions.parent, Condition::Holds);
        let report = single(DERIVED).finished(1);
        assert_eq!(report.verdict.conditions.parent, Condition::Fails);
    }

    #[test]
    fn late_checkpoints_show_no_start() {
        let copy = Copy::of(OWN);
        copy.keep(&[300, 450, 600]);
        let report = inconclusive(&copy, &["step 0"]);
        assert_eq!(report.verdict.conditions.start, Condition::Untested);
        // Between steps 300 and 450 another model's weights could have been put in.
        assert_eq!(report.verdict.conditions.chain, Condition::Untested);
        assert!(report.findings.iter().all(|f| f.direction != Direction::Against), "{:?}", report.findings);
        let copy = Copy::of(DERIVED);
        copy.keep(&[300, 450, 600]);
        assert_eq!(copy.finished(1).verdict.conditions.start, Condition::Untested);
    }

    #[test]
    fn two_checkpoints_are_a_chain_without_a_middle() {
        for (case, status) in [(OWN, 3), (DERIVED, 1)] {
            let copy = Copy::of(case);
            copy.keep(&[0, 600]);
            let report = copy.finished(status);
            assert!(report.misses("three or more checkpoints"), "{case}: {:?}", report.verdict.missing);
        }
        let copy = Copy::of(OWN);
        copy.keep(&[0]);
        inconclusive(&copy, &["two or more checkpoints"]);
    }

    /// A model of another hidden size: every axis of 64 cut to 48.
    fn narrow(path: &Path) {
        let file = File::read(path);
        let mut cut = File { header: serde_json::Map::new(), data: Vec::new() };
        for name in file.names() {
            let entry = &file.header[&name];
            let shape: Vec<usize> = serde_json::from_value(entry["shape"].clone()).expect("a shape");
            let less: Vec<usize> = shape.iter().map(|axis| if *axis == 64 { 48 } else { *axis }).collect();
            let begin = cut.data.len();
            let bytes = 2 * less.iter().product::<usize>();
            let start = file.span(&name).0;
            cut.data.extend_from_slice(&file.data[start..start + bytes]);
            let entry = json!({ "dtype": "BF16", "shape": less, "data_offsets": [begin, begin + bytes] });
            cut.header.insert(name, entry);
        }
        cut.write(path);
    }

    #[test]
    fn a_parent_of_another_size_cannot_be_compared() {
        let copy = Copy::of(OWN);
        narrow(&copy.model("parent-llama"));
        let report = inconclusive(&copy, &[]);
        // Nobody can hand over a test: it is a limit.
        let told = fs::read_to_string(copy.output().join("report.json")).expect("a report");
        assert!(told.contains("This is a limit of the tool"), "{report:?}");
        assert_eq!(report.of("parent/not-comparable").len(), 1);
        assert_eq!(report.verdict.conditions.parent, Condition::Untested);
    }

    #[test]
    fn names_nobody_knows_hide_nothing() {
        let copy = Copy::of(DERIVED);
        for step in [0, 20, 60, 150, 300, 450, 600] {
            edit(&copy.weights(step), |file| file.rename(unknown));
        }
        let run = copy.audit();
        assert_eq!(run.status, 1, "{}", run.stdout);
        let report = support::report::read(&copy.output().join("report.json"));
        assert!(!report.of("input/deduced-roles").is_empty(), "{:?}", report.findings);
        assert_eq!(report.verdict.conditions.parent, Condition::Fails);
    }

    /// The accused names the tensors: what is hidden from the tests must not be cleared by them.
    #[test]
    fn derived_weights_under_other_names_are_not_cleared_by_the_rest() {
        let copy = Copy::of("depth-upscaled");
        for step in [0, 20, 60, 150, 300, 450, 600] {
            edit(&copy.weights(step), |file| {
                file.rename(|name| {
                    let own = ["embed_tokens", "lm_head", "q_proj", "o_proj", "__metadata__"];
                    if own.iter().any(|part| name.contains(part)) { name.into() } else { name.replace('.', "_") }
                });
            });
        }
        let run = copy.audit();
        assert_ne!(run.status, 0, "{}", run.stdout);
    }

    /// As above, beside weights that are the model's own and can be compared: the parent's under names that no template
    /// knows must not ride along.
    #[test]
    fn derived_weights_under_unknown_names_do_not_ride_along() {
        let copy = Copy::of("scratch-same-arch");
        for step in [0, 20, 60, 150, 300, 450, 600] {
            let derived = fixtures().join(format!("cases/continued/checkpoints/step-{step}/model.safetensors"));
            let mut derived = File::read(&derived).part(|name| name.contains("mlp"));
            derived.rename(unknown);
            edit(&copy.weights(step), |file| {
                *file = file.part(|name| !name.contains("mlp"));
                let start = file.data.len();
                file.data.extend_from_slice(&derived.data);
                for name in derived.names() {
                    let (begin, end) = derived.span(&name);
                    derived.set(&name, "data_offsets", json!([start + begin, start + end]));
                    file.header.insert(name.clone(), derived.header[&name].clone());
                }
            });
        }
        let run = copy.audit();
        assert_ne!(run.status, 0, "{}", run.stdout);
    }

    #[test]
    fn derived_weights_that_one_checkpoint_hides_are_not_cleared() {
        let hidden = |change: fn(&mut File, &str)| {
            let copy = Copy::of("depth-upscaled");
            edit(&copy.weights(600), |file| {
                let own = ["embed_tokens", "lm_head", "q_proj", "o_proj", "norm", "bias"];
                for name in file.names() {
                    if !own.iter().any(|part| name.contains(part)) {
                        change(file, &name);
                    }
                }
            });
            copy
        };
        // Every checkpoint before the last has them, and there they are seen or missed aloud.
        assert_ne!(hidden(|file, name| file.fill(name, f32::NAN)).audit().status, 0);
        assert_ne!(hidden(|file, name| file.fill(name, 0.0)).audit().status, 0);
    }

    #[test]
    fn swapped_and_copied_checkpoints_break_the_chain() {
        let copy = Copy::of(OWN);
        fs::copy(copy.weights(450), copy.weights(300)).expect("copied");
        let run = copy.audit();
        assert_ne!(run.status, 0, "{}", run.stdout);
        let report = support::report::read(&copy.output().join("report.json"));
        assert_eq!(report.of("chain/duplicate-step")[0].subject.steps, [300, 450]);
        let copy = Copy::of(OWN);
        fs::copy(copy.model("control-llama"), copy.weights(600)).expect("copied");
        let report = copy.finished(1);
        assert_eq!(report.verdict.conditions.chain, Condition::Fails);
    }
}

mod any_byte {
    use super::*;

    /// Runs `inspect` on these bytes: status 0 or one line and 2.
    fn inspected(path: &Path, bytes: &[u8], what: &str) -> i32 {
        fs::write(path, bytes).expect("written");
        let run = run(program().arg("inspect").arg(path));
        match run.status {
            0 => assert!(!run.stdout.is_empty(), "{what}"),
            _ => refused(&run, &[]),
        }
        run.status
    }

    #[test]
    fn one_flipped_bit_anywhere_never_ends_in_a_panic() {
        let folder = tempfile::tempdir().expect("a folder");
        let whole = fs::read(fixtures().join("models/control-llama/model.safetensors")).expect("a model");
        let mut numbers = Numbers(1);
        let far = (0..200).map(|_| 2048 + numbers.below(whole.len() - 2048)).collect::<Vec<_>>();
        let mut refusals = 0;
        for at in (0..2048).chain(far) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << numbers.below(8);
            let path = folder.path().join("model.safetensors");
            refusals += usize::from(inspected(&path, &bytes, &format!("byte {at}")) == 2);
        }
        assert!(refusals > 1000, "only {refusals} refused");
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let whole = fs::read(fixtures().join("models/control-llama/model.safetensors")).expect("a model");
        let mut numbers = Numbers(2);
        let lengths = (0..10).chain((0..40).map(|_| numbers.below(whole.len())));
        for length in lengths {
            let path = folder.path().join("model.safetensors");
            assert_eq!(inspected(&path, &whole[..length], ""), 2, "{length} bytes");
        }
    }

    #[test]
    fn an_audit_of_a_broken_checkpoint_ends_with_a_report_or_status_2() {
        let copy = Copy::of(OWN);
        copy.keep(&[0, 600]);
        copy.without("[[control]]");
        copy.without("[repository]");
        let path = copy.weights(600);
        let whole = fs::read(&path).expect("weights");
        let header =
            8 + usize::try_from(u64::from_le_bytes(whole[..8].try_into().expect("8 bytes"))).expect("a length");
        let mut numbers = Numbers(3);
        for round in 0..40 {
            let at = if round % 2 == 0 { numbers.below(header) } else { header + numbers.below(whole.len() - header) };
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << numbers.below(8);
            fs::write(&path, &bytes).expect("written");
            let run = copy.audit();
            match run.status {
                2 => refused(&run, &["step 600"]),
                _ => _ = support::report::read(&copy.output().join("report.json")),
            }
            let _ = fs::remove_dir_all(copy.output());
        }
    }

    #[test]
    fn a_log_with_any_byte_flipped_is_read_or_left_out() {
        let copy = Copy::of(OWN);
        copy.replace("checkpoints = \"checkpoints/step-{step}\"", "model = \"checkpoints/step-600\"");
        copy.without("[[control]]");
        copy.without("[[parent]]");
        let whole = fs::read(copy.log()).expect("a log");
        let mut numbers = Numbers(4);
        for round in 0..40 {
            let mut bytes = whole.clone();
            let at = if round < 10 { numbers.below(64) } else { numbers.below(whole.len()) };
            bytes[at] ^= 1 << numbers.below(8);
            fs::write(copy.log(), &bytes).expect("written");
            copy.finished(3);
        }
    }
}
