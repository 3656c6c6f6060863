//! Evidence that travels: what is signed is verified, what was changed is named, and tools that others wrote agree.

#[path = "attest/clocks.rs"]
mod clocks;
#[path = "attest/others.rs"]
mod others;
#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::{Copy, Run, program, run, sha256, tree};

const CASE: &str = "scratch-same-arch";

/// This computer's own: it says where things are, and nothing is believed because of it.
const OWN: &str = ".scratchproof-inputs";

fn verify(path: &Path, more: &[&str]) -> Run {
    run(program().arg("verify").arg(path).args(more))
}

fn openssl(folder: &Path, words: &str) {
    let done = Command::new("openssl").args(words.split(' ')).current_dir(folder).stderr(Stdio::null()).status();
    assert!(done.is_ok_and(|status| status.success()), "openssl {words}");
}

/// An audited copy of a case, in `out`, with an Ed25519 key beside it.
fn audited() -> (Copy, PathBuf) {
    let copy = Copy::of(CASE);
    let out = copy.path("out");
    let done = run(program().arg("audit").arg(copy.path("case.toml")).arg("-o").arg(&out).arg("-q"));
    assert!(out.join("report.json").is_file(), "{}", done.stderr);
    openssl(&copy.path("."), "genpkey -algorithm ed25519 -out key.pem");
    openssl(&copy.path("."), "pkey -in key.pem -pubout -out key.pub");
    (copy, out)
}

/// Numbers that look like chance and are the same every time.
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % below.max(1)
    }
}

/// Flips one bit of a file, asks, and puts it back.
fn flipped(path: &Path, at: usize, bit: usize, ask: impl FnOnce() -> Run) -> Run {
    let good = fs::read(path).expect("a file");
    let mut bad = good.clone();
    bad[at] ^= 1 << bit;
    fs::write(path, bad).expect("written");
    let run = ask();
    fs::write(path, good).expect("written");
    run
}

#[test]
fn any_single_bit_of_a_folder_is_named() {
    let (copy, out) = audited();
    let whole = verify(&out, &[]);
    assert_eq!(whole.status, 0, "{}{}", whole.stdout, whole.stderr);
    let key = copy.path("key.pem");
    let public = copy.path("key.pub");
    let public = public.to_str().expect("a path");
    assert_eq!(run(program().args(["-q", "attest"]).arg(&out).arg("--key").arg(&key)).status, 0);
    let signed = verify(&out, &["--key", public]);
    assert_eq!(signed.status, 0, "{}{}", signed.stdout, signed.stderr);
    assert!(signed.stdout.contains("judged again from the measurements"), "{}", signed.stdout);
    assert_eq!(verify(&out, &[]).status, 3, "no key is given");
    let mut chance = Chance(17);
    for (name, bytes) in tree(&out) {
        if name == OWN {
            continue;
        }
        for _ in 0..if name == "attestation.json" || name == "report.json" { 12 } else { 2 } {
            let (at, bit) = (chance.next(bytes.len()), chance.next(8));
            let run = flipped(&out.join(&name), at, bit, || verify(&out, &["--key", public]));
            let said = run.stdout + &run.stderr;
            assert_ne!(run.status, 0, "{name}, byte {at}, bit {bit}: {said}");
            let wrong: String = said.lines().filter(|line| !line.starts_with("verified")).collect();
            let word =
                if name == "attestation.json" { ["attestation", "signature", "statement"] } else { [name.as_str(); 3] };
            assert!(word.iter().any(|word| wrong.contains(word)), "{name}, byte {at}, bit {bit}: {said}");
        }
    }
    assert_eq!(verify(&out, &["--key", public]).status, 0, "everything is as it was");
}

#[test]
fn any_single_bit_of_a_signature_over_a_model_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    fs::create_dir(here.join("model")).expect("a folder");
    fs::write(here.join("model/a.safetensors"), "weights").expect("written");
    fs::write(here.join("leaf.cnf"), "keyUsage=critical,digitalSignature\n").expect("written");
    for name in ["root", "leaf"] {
        openssl(here, &format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out {name}.pem"));
    }
    openssl(here, "pkey -in leaf.pem -pubout -out leaf.pub");
    openssl(here, "req -new -x509 -key root.pem -subj /CN=root -days 3650 -out root.crt");
    openssl(here, "req -new -key leaf.pem -subj /CN=leaf -out leaf.csr");
    openssl(
        here,
        "x509 -req -in leaf.csr -CA root.crt -CAkey root.pem -CAcreateserial -days 30 -extfile leaf.cnf -out leaf.crt",
    );
    let path = |name: &str| here.join(name).to_str().expect("a path").to_owned();
    let signature = here.join("m.sig");
    let mut chance = Chance(29);
    for certificates in [&[][..], &["leaf.crt", "root.crt"]] {
        let mut sign = program();
        sign.args(["-q", "attest", "--model"]).arg(here.join("model")).arg("--key").arg(here.join("leaf.pem"));
        for own in certificates {
            sign.arg("--certificate").arg(here.join(own));
        }
        let done = run(sign.arg("-o").arg(&signature));
        assert_eq!(done.status, 0, "{}", done.stderr);
        let (flag, file) = if certificates.is_empty() { ("--key", "leaf.pub") } else { ("--root", "root.crt") };
        let trusted = [flag.to_owned(), path(file)];
        let model = path("model");
        let ask = || verify(&signature, &["--model", &model, &trusted[0], &trusted[1]]);
        let whole = ask();
        assert_eq!(whole.status, 0, "{}{}", whole.stdout, whole.stderr);
        let length = fs::read(&signature).expect("a signature").len();
        for _ in 0..250 {
            let (at, bit) = (chance.next(length), chance.next(8));
            let done = flipped(&signature, at, bit, ask);
            assert_ne!(done.status, 0, "{certificates:?}, byte {at}, bit {bit}: {}", done.stdout);
        }
    }
}

#[test]
fn any_single_bit_of_an_input_is_named() {
    let (copy, out) = audited();
    let mut chance = Chance(23);
    let weights = copy.weights(20);
    let config = weights.with_file_name("config.json");
    let log = copy.log();
    for (path, words) in [
        (weights, ["step 20"; 2]),
        (copy.model("parent-glm"), ["parent-glm"; 2]),
        (config, ["config.json", "step 20"]),
        (copy.model("parent-glm").with_file_name("tokenizer.json"), ["parent-glm"; 2]),
        (copy.model("parent-glm").with_file_name("config.json"), ["parent-glm"; 2]),
        (copy.model("control-phi").with_file_name("tokenizer.json"), ["control-phi"; 2]),
        (log, ["input", "wandb"]),
        (copy.path("case.toml"), ["case", "case.toml"]),
    ] {
        if !path.is_file() {
            continue;
        }
        let length = usize::try_from(fs::metadata(&path).expect("a file").len()).expect("short");
        for _ in 0..3 {
            // A bit of a header makes a file that cannot be read, which is named as well.
            let (at, bit) = (chance.next(length), chance.next(8));
            let run = flipped(&path, at, bit, || verify(&out, &[]));
            let said = run.stdout + &run.stderr;
            assert_ne!(run.status, 0, "{}, byte {at}, bit {bit}: {said}", path.display());
            let wrong: String = said.lines().filter(|line| !line.starts_with("verified")).collect();
            assert!(words.iter().any(|word| wrong.contains(word)), "{}: {said}", path.display());
        }
    }
    let run = verify(&out, &["--recompute"]);
    assert_eq!(run.status, 0, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("audited again from the inputs"), "{}", run.stdout);
}

#[test]
fn a_verdict_that_was_edited_with_its_pages_is_found_by_judging_again() {
    let (_copy, out) = audited();
    let path = out.join("report.json");
    let text = fs::read_to_string(&path).expect("a report");
    let outcome = ["confirmed", "refuted", "inconclusive"]
        .into_iter()
        .find(|outcome| text.contains(&format!("\"outcome\": \"{outcome}\"")))
        .expect("an outcome");
    let wished = if outcome == "refuted" { "confirmed" } else { "refuted" };
    let edited = text.replacen(&format!("\"outcome\": \"{outcome}\""), &format!("\"outcome\": \"{wished}\""), 1);
    fs::write(&path, &edited).expect("written");
    let plain = verify(&out, &[]);
    assert_eq!(plain.status, 1, "{}", plain.stdout);
    assert!(plain.stdout.contains("verdict.outcome"), "{}", plain.stdout);
    // Who edits it with care makes the report and the pages anew, and the tool's own record of what it wrote.
    let edited = run(program().args(["report", "--format", "json"]).arg(&out)).stdout;
    fs::write(&path, &edited).expect("written");
    let mut record = fs::read_to_string(out.join(".scratchproof")).expect("a record");
    for (name, format) in [("report.html", "html"), ("report.md", "markdown")] {
        let old = fs::read(out.join(name)).expect("a page");
        let before = sha256(&old);
        let mut page = run(program().args(["report", "--format", format]).arg(&out)).stdout;
        if !old.ends_with(b"\n") {
            // Printed, every result ends its line.
            page.truncate(page.trim_end().len());
        }
        fs::write(out.join(name), &page).expect("written");
        record = record.replace(&before, &sha256(page.as_bytes()));
    }
    record = record.replace(&sha256(text.as_bytes()), &sha256(edited.as_bytes()));
    fs::write(out.join(".scratchproof"), record).expect("written");
    // Nobody signs it either: not what its own measurements say.
    let key = out.with_file_name("key.pem");
    let refused = run(program().arg("attest").arg(&out).arg("--key").arg(&key));
    assert!(refused.status == 2 && refused.stderr.contains("is not signed"), "{}{}", refused.stdout, refused.stderr);
    assert!(!out.join("attestation.json").exists());
    let careful = verify(&out, &[]);
    assert_eq!(careful.status, 1, "{}", careful.stdout);
    let wrong: Vec<&str> = careful.stdout.lines().filter(|line| line.starts_with("CONTRADICTS")).collect();
    assert!(wrong.len() == 1 && wrong[0].contains("judged again from the measurements"), "{}", careful.stdout);
}

#[test]
fn a_folder_elsewhere_is_held_against_its_own_seal_and_says_what_it_lacks() {
    let (copy, out) = audited();
    fs::remove_file(out.join(OWN)).expect("removed");
    let alone = verify(&out, &[]);
    assert_eq!(alone.status, 3, "{}", alone.stdout);
    assert!(alone.stdout.contains("--case"), "{}", alone.stdout);
    assert!(!alone.stdout.contains("CONTRADICTS"), "{}", alone.stdout);
    let case = copy.path("case.toml");
    let told = verify(&out, &["--case", case.to_str().expect("a path")]);
    assert_eq!(told.status, 0, "{}", told.stdout);
    fs::write(out.join("evidence/more.parquet"), "x").expect("written");
    let more = verify(&out, &[]);
    assert!(more.status == 1 && more.stdout.contains("evidence/more.parquet"), "{}", more.stdout);
}

#[test]
fn what_is_no_attestation_is_told_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.json");
    for (text, word) in [
        ("", "EOF"),
        ("{}", "payload"),
        (r#"{"payload":"e30=","payloadType":"text/plain","signatures":[{"sig":"AA=="}]}"#, "text/plain"),
        (r#"{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[]}"#, "no signature"),
        (
            r#"{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AA=="}]}"#,
            "predicate",
        ),
    ] {
        fs::write(&path, text).expect("written");
        let done = verify(&path, &[]);
        assert_eq!(done.status, 2, "{text}");
        assert!(done.stderr.contains(word) && done.stderr.lines().count() == 1, "{}", done.stderr);
    }
    assert_eq!(verify(&folder.path().join("none"), &[]).status, 2);
    // Keys that are weak or of another kind.
    openssl(folder.path(), "genrsa -out rsa.pem 2048");
    let key = folder.path().join("rsa.pem");
    let done = run(program().arg("attest").arg(folder.path()).arg("--key").arg(&key));
    assert!(done.status == 2 && done.stderr.contains("RSA"), "{}", done.stderr);
    // A point of small order: signatures by it hold over everything.
    let weak = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END PUBLIC KEY-----\n";
    fs::write(folder.path().join("weak.pub"), weak).expect("written");
    let weak = folder.path().join("weak.pub");
    let done = verify(folder.path(), &["--key", weak.to_str().expect("a path")]);
    assert!(done.status == 2 && done.stderr.contains("weak key"), "{}", done.stderr);
}

#[test]
fn a_ledger_survives_every_kill_and_two_writers() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("ledger.jsonl");
    let witness = |words: &[&str]| {
        let mut command = program();
        command.args(["witness", words[0]]).arg(&ledger).args(&words[1..]);
        command
    };
    assert_eq!(run(&mut witness(&["init", "--note", "begin"])).status, 0);
    // How long one takes, so that kills fall everywhere in it.
    let start = std::time::Instant::now();
    assert_eq!(run(&mut witness(&["append", "--note", "one"])).status, 0);
    let one = start.elapsed().max(Duration::from_millis(2));
    let mut chance = Chance(5);
    let mut completed = BTreeSet::new();
    let mut killed = 0;
    for number in 0..200_usize {
        let note = format!("entry {number} {}", "x".repeat(chance.next(3000)));
        let mut writers: Vec<_> = (0..2)
            .map(|_| {
                let mut command = witness(&["append", "--note", &note]);
                command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts")
            })
            .collect();
        std::thread::sleep(one.mul_f64(f64::from(u32::try_from(chance.next(1500)).expect("short")) / 1000.0));
        for writer in &mut writers {
            let _ = writer.kill();
        }
        for writer in writers {
            let done = writer.wait_with_output().expect("a child");
            killed += usize::from(!done.status.success());
            let said = String::from_utf8(done.stdout).expect("text");
            completed.extend(
                said.lines().filter_map(|line| Some(line.split(' ').nth(1)?.to_owned())).filter(|h| h.len() == 64),
            );
        }
    }
    assert_eq!(run(&mut witness(&["append", "--note", "after"])).status, 0);
    assert_eq!(run(&mut witness(&["close"])).status, 0);
    let done = verify(&ledger, &[]);
    assert_eq!(done.status, 0, "{}{}", done.stdout, done.stderr);
    let text = fs::read_to_string(&ledger).expect("a ledger");
    let lost = completed.iter().find(|hash| !text.contains(&format!("\"hash\":\"{hash}\"")));
    assert_eq!(lost, None, "an entry that was completed");
    assert!(killed > 40, "{killed} of 400 were killed");
    assert!(text.lines().count() >= completed.len(), "{} entries", text.lines().count());
}

/// A text that has other parameters since is read as its words, which stand beside it too.
fn as_words(again: &serde_json::Value, stored: &mut serde_json::Value) {
    use serde_json::Value;
    match (again, stored) {
        (Value::Object(again), stored) if again.get("key").is_some_and(|key| key == "") => {
            *stored = Value::Object(again.clone());
        }
        (Value::Object(again), Value::Object(stored)) => {
            for (key, value) in stored {
                as_words(&again[key], value);
            }
        }
        (Value::Array(again), Value::Array(stored)) => {
            again.iter().zip(stored).for_each(|(again, stored)| as_words(again, stored));
        }
        _ => {}
    }
}

#[test]
fn what_version_0_1_wrote_is_read() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats");
    let key = |name: &str| golden.join(name).display().to_string();
    for (file, public, status, word) in [
        ("ledger-0.1.jsonl", "golden.pub", 0, "3 entries, closed"),
        ("model", "golden-ec.pub", 0, "1 file as signed"),
        ("attestation-0.1.json", "golden.pub", 3, "signature by the key"),
    ] {
        let done = verify(&golden.join(file), &["--key", &key(public)]);
        assert_eq!(done.status, status, "{file}: {}{}", done.stdout, done.stderr);
        assert!(done.stdout.contains(word) && !done.stdout.contains("CONTRADICTS"), "{file}: {}", done.stdout);
        let other = if public == "golden.pub" { "golden-ec.pub" } else { "golden.pub" };
        let done = verify(&golden.join(file), &["--key", &key(other)]);
        assert_ne!(done.status, 0, "{file} by another key: {}", done.stdout);
    }
    // A whole audit: its seal, its tables and its report. Pages may be drawn anew by a later version.
    let audit = golden.join("audit-0.1");
    let done = verify(&audit, &[]);
    for word in ["verified     seal: 28 files", "verified     .scratchproof: 31 files"] {
        assert!(done.stdout.contains(word), "{}", done.stdout);
    }
    let again = run(program().args(["report", "--format", "json"]).arg(&audit));
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    let (again, mut stored) =
        (read(&again.stdout), read(&fs::read_to_string(audit.join("report.json")).expect("a report")));
    as_words(&again, &mut stored);
    for key in ["schema", "case", "verdict", "findings", "inputs", "seal"] {
        assert_eq!(again[key], stored[key], "{key}");
    }
    let page = run(program().args(["report", "--format", "html"]).arg(&audit));
    assert!(page.stdout.contains("golden"), "{}", page.stderr);
    // A fingerprint, held against a model of other sizes.
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models");
    let done = run(program()
        .args(["--format", "json", "scan"])
        .arg(models.join("parent-llama"))
        .arg(golden.join("fingerprint-0.1.safetensors")));
    assert!(done.status != 2, "{}", done.stderr);
    assert_eq!(read(&done.stdout)["candidates"].as_array().map(Vec::len), Some(1), "{}", done.stdout);
}

#[test]
fn the_document_of_the_tables_names_every_column() {
    use polars::prelude::{ParquetReader, SerReader};
    let (_copy, out) = audited();
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats/tables.md");
    let document = fs::read_to_string(document).expect("a document");
    for path in fs::read_dir(out.join("evidence")).expect("tables").map(|entry| entry.expect("an entry").path()) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let section =
            document.split(&format!("\n## `{name}`\n")).nth(1).unwrap_or_else(|| panic!("{name} is not told"));
        let section = section.split("\n## ").next().unwrap_or_default();
        let told: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        let frame = ParquetReader::new(fs::File::open(&path).expect("a table")).finish().expect("a table");
        let columns: Vec<&str> =
            frame.get_column_names().into_iter().map(polars::prelude::PlSmallStr::as_str).collect();
        assert_eq!(told, columns, "{name}");
    }
}

#[test]
fn a_ledger_is_part_of_the_record() {
    let copy = Copy::of(CASE);
    let ledger = copy.path("ledger.jsonl");
    let witness = |words: &[&str]| {
        let done = run(program().args(["-q", "witness", words[0]]).arg(&ledger).args(&words[1..]));
        assert_eq!(done.status, 0, "{}", done.stderr);
    };
    witness(&["init"]);
    let mut steps: Vec<u32> = support::names(&copy.path("checkpoints"))
        .iter()
        .map(|name| name.trim_start_matches("step-").parse().expect("a step"))
        .collect();
    steps.sort_unstable();
    for step in &steps[..steps.len() - 1] {
        let model = copy.weights(*step);
        let model = model.parent().expect("a folder").to_str().expect("a path");
        witness(&["append", "--checkpoint", model, "--step", &step.to_string()]);
    }
    let case = copy.path("case.toml");
    let mut text = fs::read_to_string(&case).expect("a case");
    text += "\n[ledger]\npath = \"ledger.jsonl\"\n";
    fs::write(&case, text).expect("written");
    let audit = |name: &str| {
        let out = copy.path(name);
        run(program().args(["-q", "audit"]).arg(&case).arg("-o").arg(&out));
        let text = fs::read_to_string(out.join("report.json")).expect("a report");
        let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let findings = report["findings"].as_array().expect("findings").clone();
        findings.into_iter().filter(|finding| finding["code"] == "time/ledger").collect::<Vec<_>>()
    };
    let found = audit("fine");
    let message = found[0]["message"].as_str().expect("words");
    let count = format!("{} of {} checkpoints", steps.len() - 1, steps.len());
    assert!(found.len() == 1 && found[0]["grade"] == "context" && message.contains(&count), "{message}");
    assert!(message.contains(&format!("no entry of {}", steps[steps.len() - 1])), "{message}");
    // A checkpoint that is not the one that was fixed is a question.
    let first = copy.weights(steps[1]);
    let good = fs::read(&first).expect("weights");
    fs::copy(copy.weights(steps[2]), &first).expect("copied");
    let found = audit("other");
    assert!(found.iter().any(|f| f["grade"] == "moderate" && f["direction"] == "against"), "{found:?}");
    fs::write(&first, good).expect("written");
    // So is a ledger of which a line was taken out.
    let text = fs::read_to_string(&ledger).expect("a ledger");
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&ledger, [&lines[..2], &lines[3..]].concat().join("\n") + "\n").expect("written");
    let found = audit("broken");
    let message = found[0]["message"].as_str().expect("words");
    assert!(found.len() == 1 && found[0]["grade"] == "moderate" && message.contains("line 3"), "{message}");
}
