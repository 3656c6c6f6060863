//! Logs altered in one place, in the file itself with valid checksums: what the record says of them.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use serde_json::Value;
use support::runlog::{rewrite, scale_logged};
use support::{Copy, program, run};

/// Codes of moderate or stronger findings against the claim in `scratchproof timeline`.
fn asked(copy: &Copy) -> Vec<String> {
    let case = copy.folder().join("case.toml");
    let run = run(program().args(["--format", "json", "timeline"]).arg(&case));
    let value: Value =
        serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", run.stdout, run.stderr));
    let findings = value["findings"].as_array().expect("findings");
    let open = findings.iter().filter(|f| {
        f["direction"] == "against" && ["moderate", "strong", "conclusive"].iter().any(|grade| f["grade"] == *grade)
    });
    open.filter_map(|f| f["code"].as_str().map(str::to_owned)).collect()
}

/// Changes the values of a name in every row from a step on to before another.
fn between(copy: &Copy, metric: &str, from: u64, to: u64, change: impl Fn(f64) -> f64) {
    // Names come in any order within a row, so the rows are counted by their own values.
    let (mut row, mut changed) = (0_u64, 0);
    rewrite(
        &copy.log(),
        |_, _| {},
        |name, value| {
            if name != metric {
                return;
            }
            row += 1;
            if let Some(number) = value.as_f64().filter(|_| (from..to).contains(&row)) {
                *value = change(number).into();
                changed += 1;
            }
        },
    );
    assert!(changed > 0, "{metric} is not logged");
}

#[test]
fn a_log_altered_in_one_place_contradicts_itself() {
    type Alter = fn(&Copy);
    let alterations: &[(&str, Alter, &[&str])] = &[
        ("rate", |c| scale_logged(&c.log(), "train/learning_rate", 1.1), &["time/schedule", "time/summary"]),
        (
            "rate, a stretch",
            |c| between(c, "train/learning_rate", 60, 90, |v| 0.9 * v),
            &["time/schedule", "time/differences"],
        ),
        ("steps", |c| scale_logged(&c.log(), "_step", 2.0), &["time/schedule", "time/differences"]),
        ("start", |c| between(c, "_timestamp", 0, 1000, |v| v - 864_000.0), &["time/clock", "time/summary"]),
        // Its digits are looked at where logs are made by hand: rewriting moves the last one of any number.
        ("loss, a stretch", |c| between(c, "train/loss", 60, 90, |v| 0.9 * v), &["time/differences"]),
    ];
    let untouched = Copy::of("scratch-moe");
    assert_eq!(asked(&untouched), Vec::<String>::new());
    for (name, alter, codes) in alterations {
        let copy = Copy::of("scratch-moe");
        alter(&copy);
        let asked = asked(&copy);
        assert!(codes.iter().all(|code| asked.iter().any(|a| a == code)), "{name}: {asked:?}");
    }
}

/// A run that was killed and resumed under the same id, in two folders: what needs the whole log has it.
#[test]
fn a_resumed_run_in_two_folders_is_one_training() {
    let copy = Copy::of("scratch-moe");
    let folder = copy.log().parent().expect("a folder").to_owned();
    let second = folder.with_file_name("offline-run-20261121_230400-j4e7kh62");
    support::copy(&folder, &second);
    let name = copy.log().file_name().expect("a name").to_owned();
    // The first part ends after two thirds of its bytes; the second begins with row 70.
    let first = std::fs::OpenOptions::new().write(true).open(copy.log()).expect("a log");
    let length = first.metadata().expect("a length").len();
    first.set_len(length * 2 / 3).expect("cut");
    let mut rows = std::collections::BTreeMap::<String, u64>::new();
    rewrite(
        &second.join(name),
        |_, _| {},
        |name, value| {
            let row = rows.entry(name.to_owned()).or_default();
            *row += 1;
            if *row < 70 {
                *value = Value::Null;
            }
        },
    );
    let both = format!("[[run]]\nlog = \"wandb/{}\"\n\n[repository]", second.file_name().expect("a name").display());
    copy.replace("[repository]", &both);
    let report = copy.finished(0);
    let continued = report.of("time/continued");
    assert_eq!(continued.len(), 1);
    assert!(continued[0].message.contains("2 logs"), "{}", continued[0].message);
    let budget = report.of("chain/budget");
    assert!(budget[0].message.contains("all 6 intervals"), "{}", budget[0].message);
}
