//! The committed reports of the fixture cases, help texts and catalogues: a change of what users see is a change that
//! somebody reviewed.
//!
//! `SCRATCHPROOF_REFRESH=1 cargo test --release --test reports` writes them anew.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use support::{audited, cases, fixtures, program, run};

/// All committed reports together: they are reviewed and cloned.
const LARGEST: u64 = 12 << 20;

fn reports() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reports")
}

/// Where two texts part, for people.
fn first_difference(committed: &str, now: &str) -> String {
    const CONTEXT: usize = 60;
    let lines = committed.lines().zip(now.lines()).position(|(a, b)| a != b);
    let Some(line) = lines else {
        let (before, after) = (committed.lines().count(), now.lines().count());
        return format!("{before} lines are committed, {after} are written now; the common ones are equal");
    };
    let nth = |text: &str| text.lines().nth(line).unwrap_or_default().to_owned();
    let (committed, now) = (nth(committed), nth(now));
    let column = committed.chars().zip(now.chars()).take_while(|(a, b)| a == b).count();
    // The page has lines of many thousand characters.
    let cut = |text: &str| text.chars().skip(column.saturating_sub(CONTEXT)).take(2 * CONTEXT).collect::<String>();
    format!(
        "line {}, character {}:\n  committed: {}\n  now:       {}",
        line + 1,
        column + 1,
        cut(&committed),
        cut(&now)
    )
}

/// Holds a folder of `reports/` against what it should hold now, or writes it anew.
fn compare(folder: &Path, now: &BTreeMap<String, String>) -> Vec<String> {
    if std::env::var_os("SCRATCHPROOF_REFRESH").is_some_and(|value| value == "1") {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).expect("a folder");
        for (name, text) in now {
            fs::write(folder.join(name), text).expect("written");
        }
        return Vec::new();
    }
    let shown = folder.strip_prefix(reports()).unwrap_or(folder).display().to_string();
    let mut complaints = Vec::new();
    for (name, text) in now {
        match fs::read_to_string(folder.join(name)) {
            Err(error) => complaints.push(format!("reports/{shown}/{name}: {error}")),
            Ok(committed) if committed == *text => {}
            Ok(committed) => {
                complaints.push(format!("reports/{shown}/{name} differs in {}", first_difference(&committed, text)));
            }
        }
    }
    let committed = if folder.is_dir() { support::names(folder) } else { Vec::new() };
    let stray = committed.into_iter().filter(|name| !now.contains_key(name));
    complaints.extend(stray.map(|name| format!("reports/{shown}/{name} is not written any more")));
    complaints
}

fn check(folder: &Path, now: &BTreeMap<String, String>) {
    let complaints = compare(folder, now);
    assert!(
        complaints.is_empty(),
        "\n{}\nIf that is meant: SCRATCHPROOF_REFRESH=1 cargo test --release --test reports",
        complaints.join("\n")
    );
}

/// A text without the seal: its digests change with every figure of every table, and `seals_hold` looks at them.
fn unsealed(text: &str, root: &str) -> String {
    let zeros = format!("sha256:{}", "0".repeat(64));
    let (before, after) = match text.find("\n  \"seal\": {") {
        Some(at) => (&text[..at], "\n  \"seal\": {}\n}\n"),
        None => (text, ""),
    };
    before.replace(root, &zeros) + after
}

#[test]
fn seals_hold() {
    for case in cases() {
        let audit = audited(&case);
        let seal = audit.report.seal.as_ref().expect("sealed");
        let mut lines = format!("{}  case\n", audit.report.case.digest.trim_start_matches("sha256:"));
        for (name, bytes) in support::tree(&audit.folder) {
            if name.contains('/') {
                lines += &format!("{}  {name}\n", support::sha256(&bytes));
            }
        }
        assert_eq!(seal.root, format!("sha256:{}", support::sha256(lines.as_bytes())), "{case}");
    }
}

#[test]
fn a_finished_folder_is_rendered_again_as_it_was() {
    let audit = audited("dense-sgd");
    for (format, file) in [("html", "report.html"), ("json", "report.json"), ("markdown", "report.md")] {
        let run = run(program().args(["--format", format, "report"]).arg(&audit.folder));
        assert_eq!((run.status, run.stderr.as_str()), (audit.run.status, ""), "{format}");
        let file = fs::read_to_string(audit.folder.join(file)).expect("text");
        assert_eq!(run.stdout.trim_end(), file.trim_end(), "{format}");
    }
    let run = run(program().args(["report"]).arg(&audit.folder));
    assert_eq!(run.stdout, audit.run.stdout);
}

#[test]
fn reports_of_the_cases_are_as_committed() {
    let mut complaints = Vec::new();
    for case in cases() {
        let audit = audited(&case);
        let files = ["report.html", "report.json", "report.md"];
        let seal = audit.report.seal.as_ref().expect("sealed").root.as_str();
        let read = |name: &str| unsealed(&fs::read_to_string(audit.folder.join(name)).expect("text"), seal);
        let mut now: BTreeMap<String, String> = files.iter().map(|name| ((*name).to_owned(), read(name))).collect();
        now.insert("terminal.txt".to_owned(), audit.run.stdout.clone());
        complaints.extend(compare(&reports().join("cases").join(&case), &now));
    }
    assert!(
        complaints.is_empty(),
        "\n{}\nIf that is meant: SCRATCHPROOF_REFRESH=1 cargo test --release --test reports",
        complaints.join("\n")
    );
}

/// The docket of all fixture cases stands beside the folder of their reports, so that its links lead there.
#[test]
fn a_docket_of_the_cases_is_as_committed() {
    let audits: Vec<_> = cases().iter().map(|case| audited(case)).collect();
    let place = audits[0].folder.parent().expect("the folder of the audits").to_owned();
    let out = tempfile::tempdir().expect("a folder");
    let run = run(program().current_dir(&place).arg("-q").arg("docket").args(cases()).arg("-o").arg(out.path()));
    assert_eq!((run.status, run.stderr.as_str()), (1, ""), "one is refuted");
    assert_eq!(run.stdout.lines().count(), cases().len() + 1);
    let mut complaints = Vec::new();
    for name in ["index.html", "docket.csv", "docket.json"] {
        let mut now = fs::read_to_string(out.path().join(name)).expect("text");
        for audit in &audits {
            let seal = audit.report.seal.as_ref().expect("sealed").root.as_str();
            now = now.replace(seal, &format!("sha256:{}", "0".repeat(64)));
        }
        let path = reports().join(name);
        if std::env::var_os("SCRATCHPROOF_REFRESH").is_some_and(|value| value == "1") {
            fs::write(&path, &now).expect("written");
        } else {
            let committed = fs::read_to_string(&path).unwrap_or_default();
            if committed != now {
                complaints.push(format!("reports/{name} differs in {}", first_difference(&committed, &now)));
            }
        }
    }
    // Every page that the docket links to is there, and is the one of the audit.
    for (case, audit) in cases().iter().zip(&audits) {
        let page = fs::read(out.path().join("cases").join(case).join("report.html")).expect("a page");
        assert_eq!(page, fs::read(audit.folder.join("report.html")).expect("a page"), "{case}");
    }
    let rows = scratchproof::evidence::docket::read(&out.path().join("docket.parquet")).expect("a table");
    let truth = |case: &str| {
        let text = fs::read_to_string(fixtures().join("cases").join(case).join("truth.json")).expect("the truth");
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["verdict"].as_str().expect("a word").to_owned()
    };
    for (case, row) in cases().iter().zip(&rows) {
        assert_eq!((&row.case, &row.outcome), (case, &truth(case)));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// A case that cannot be run is a row with the reason, and the others are there.
#[test]
fn a_docket_goes_on_over_what_cannot_be_run() {
    let place = audited("dense-sgd").folder.clone();
    let out = tempfile::tempdir().expect("a folder");
    let bad = out.path().join("bad.toml");
    fs::write(&bad, "schema = 1\n[subject]\nmodel = \"</td><script>\"\n").expect("written");
    let target = out.path().join("docket");
    let run = run(program().args(["--format", "json", "docket"]).args([&bad, &place]).arg("-o").arg(&target));
    assert_eq!(run.status, 3, "{}", run.stderr);
    let docket: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    let outcomes: Vec<_> =
        docket["submissions"].as_array().expect("rows").iter().map(|row| row["outcome"].clone()).collect();
    assert_eq!(outcomes, ["failed", "confirmed"]);
    let page = fs::read_to_string(target.join("index.html")).expect("a page");
    assert_eq!(page.matches("<script").count(), 1);
    assert!(!target.join("cases/bad").join("report.html").exists());
}

#[test]
fn every_committed_report_has_its_case() {
    let folder = reports().join("cases");
    if folder.is_dir() {
        let stray: Vec<String> = support::names(&folder).into_iter().filter(|name| !cases().contains(name)).collect();
        assert!(stray.is_empty(), "{stray:?}");
    }
}

#[test]
fn help_texts_are_as_committed() {
    let help = |command: Option<&str>| {
        let run = run(program().args(command).arg("--help"));
        assert_eq!((run.status, run.stderr.as_str()), (0, ""));
        run.stdout
    };
    let whole = help(None);
    let listed = whole.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A line without a word of its own goes on with the sentence before it.
    let named = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let commands = named.filter_map(|line| line.split_whitespace().next()).filter(|command| *command != "help");
    let mut now: BTreeMap<String, String> =
        commands.map(|command| (format!("{command}.txt"), help(Some(command)))).collect();
    assert!(now.len() > 5, "{whole}");
    now.insert("scratchproof.txt".to_owned(), whole);
    check(&reports().join("help"), &now);
}

/// Runs of English words in a Korean text, names and codes apart.
fn english(text: &str) -> Vec<String> {
    let word = |word: &&str| word.len() > 1 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b',');
    let mut found = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.windows(3).position(|three| three.iter().all(word));
        found.extend(at.map(|at| words[at..].join(" ")));
    }
    found
}

#[test]
fn a_report_in_korean_is_korean_throughout() {
    let mut left = Vec::new();
    for case in cases() {
        let file = format!("cases/{case}/case.toml");
        let run = run(program().current_dir(fixtures()).args(["audit", &file, "-v", "--lang", "ko"]));
        let verdict = run.stdout.lines().next().unwrap_or_default();
        assert!(verdict.chars().any(|c| ('가'..='힣').contains(&c)), "{case}: {verdict}");
        left.extend(english(&run.stdout).into_iter().map(|words| format!("{case}: {words}")));
        assert!(!run.stdout.contains("(는)") && !run.stdout.contains("(가)"), "{}", run.stdout);
    }
    assert!(left.is_empty(), "{}", left.join("\n"));
}

#[test]
fn completions_and_the_man_page_name_every_command() {
    let said = |arguments: &[&str]| {
        let run = run(program().args(arguments));
        assert_eq!((run.status, run.stderr.as_str()), (0, ""));
        run.stdout
    };
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = said(&["completions", shell]);
        assert!(["audit", "init", "explain"].iter().all(|command| script.contains(command)), "{script}");
    }
    let page = said(&["man"]);
    assert!(page.starts_with(".ie") || page.contains(".TH scratchproof"), "{page}");
    assert!(["audit", "init", "explain"].iter().all(|command| page.contains(command)), "{page}");
}

#[test]
fn catalogues_of_two_models_are_as_committed() {
    let mut now = BTreeMap::new();
    for model in ["models/control-phi", "cases/scratch-moe/checkpoints/step-600"] {
        let name = model.split('/').nth(1).expect("a name");
        for (format, ending) in [("human", "txt"), ("json", "json"), ("markdown", "md")] {
            // From the folder of the fixtures, so that no path of this machine is in it.
            let run = run(program().current_dir(fixtures()).args(["--format", format, "inspect", model]));
            assert_eq!((run.status, run.stderr.as_str()), (0, ""));
            now.insert(format!("{name}.{ending}"), run.stdout);
        }
    }
    check(&reports().join("inspect"), &now);
}

#[test]
fn comparisons_are_as_committed() {
    let mut now = BTreeMap::new();
    for (name, subject) in [("continued", "continued"), ("scratch-moe", "scratch-moe")] {
        let subject = format!("cases/{subject}/checkpoints/step-600");
        for (format, ending) in [("human", "txt"), ("json", "json"), ("markdown", "md")] {
            let run = run(program().current_dir(fixtures()).args(["--format", format, "compare", &subject]).args([
                "models/parent-glm",
                "--control",
                "models/control-phi",
                "--control",
                "models/control-mixtral",
            ]));
            assert_eq!((run.status, run.stderr.as_str()), (i32::from(name == "continued"), ""));
            now.insert(format!("{name}.{ending}"), run.stdout);
        }
    }
    check(&reports().join("compare"), &now);
}

#[test]
fn a_timeline_is_as_committed() {
    let mut now = BTreeMap::new();
    for (format, ending) in [("human", "txt"), ("json", "json"), ("markdown", "md")] {
        let case = "cases/scratch-moe/case.toml";
        let run = run(program().current_dir(fixtures()).args(["--format", format, "timeline", case]));
        assert_eq!((run.status, run.stderr.as_str()), (0, ""));
        now.insert(format!("scratch-moe.{ending}"), run.stdout);
    }
    check(&reports().join("timeline"), &now);
}

fn size(folder: &Path) -> u64 {
    let inside = support::names(folder).into_iter().map(|name| folder.join(name));
    inside.map(|path| if path.is_dir() { size(&path) } else { fs::metadata(path).map_or(0, |about| about.len()) }).sum()
}

#[test]
fn reports_stay_small() {
    assert!(!reports().is_dir() || size(&reports()) < LARGEST, "{} bytes", size(&reports()));
}

#[test]
fn a_difference_is_told_where_it_is() {
    let told = first_difference("a\nsame\nbefore", "a\nsane\nbefore");
    assert!(told.starts_with("line 2, character 3:") && told.contains("same") && told.contains("sane"), "{told}");
    assert!(first_difference("a\n", "a\nb\n").contains("1 lines are committed, 2 are written"));
}
