//! The audits of the fixture cases: their verdicts, their figures and their form.

#[path = "audit/beside.rs"]
mod beside;
#[path = "audit/clock.rs"]
mod clock;
#[path = "audit/forged.rs"]
mod forged;
#[path = "audit/merged.rs"]
mod merged;
#[path = "audit/packaging.rs"]
mod packaging;
#[path = "audit/points.rs"]
mod points;
#[path = "audit/replayed.rs"]
mod replayed;
#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;
#[path = "audit/tokens.rs"]
mod tokens;
#[path = "audit/towers.rs"]
mod towers;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use polars::prelude::{DataType, ParquetReader, SerReader};
use scratchproof::evidence::{Evidence, LayerMapRow, Reference};
use scratchproof::stats::log10_upper_tail;
use serde::Deserialize;
use support::report::{ComponentOutcome, Condition, Conditions, Direction, Grade, Outcome, Report, Role};
use support::{audited, cases, fixtures, names, program, run, tree};

/// Holds for every map and every control below: figures of strangers reach this once in ten thousand tables.
const BEYOND_THE_NULL: f64 = -4.0;

/// What is known of a fixture case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "all keys are listed, so that an unknown one is seen")]
struct Truth {
    verdict: Outcome,
    why: String,
    conditions: Conditions,
    derived: BTreeSet<String>,
    /// The layers of each derived component; none for those outside layers.
    layers: BTreeMap<String, Vec<u32>>,
    /// What stands between parent and subject beside training.
    disguise: Option<String>,
    layer_map: Option<Vec<u32>>,
    first_loss: f64,
    last_loss: f64,
    parent_release: String,
    parent: String,
    /// Parents in the case file that the subject has nothing of.
    #[serde(default)]
    strangers: Vec<String>,
}

impl Truth {
    fn parents(&self) -> Vec<&str> {
        std::iter::once(&self.parent).chain(&self.strangers).map(String::as_str).collect()
    }
}

fn truth(case: &str) -> Truth {
    let text = fs::read(fixtures().join("cases").join(case).join("truth.json")).expect("truth.json");
    serde_json::from_slice(&text).expect("a truth")
}

fn case_file(case: &str) -> PathBuf {
    fixtures().join("cases").join(case).join("case.toml")
}

fn evidence(case: &str) -> Evidence {
    Evidence::read(&audited(case).folder.join("evidence")).expect("evidence")
}

/// Runs a check on every case and fails with all complaints together.
fn every_case(check: impl Fn(&str, &mut Vec<String>)) {
    let mut complaints = Vec::new();
    for case in cases() {
        let mut own = Vec::new();
        check(&case, &mut own);
        complaints.extend(own.into_iter().map(|complaint| format!("{case}: {complaint}")));
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn there_are_cases_of_every_outcome() {
    let outcomes: Vec<Outcome> = cases().iter().map(|case| truth(case).verdict).collect();
    assert!(outcomes.len() >= 7 && outcomes.contains(&Outcome::Confirmed) && outcomes.contains(&Outcome::Refuted));
}

#[test]
fn verdicts_and_conditions_are_the_truth() {
    every_case(|case, complaints| {
        let (truth, audit) = (truth(case), audited(case));
        let verdict = &audit.report.verdict;
        if verdict.outcome != truth.verdict {
            complaints.push(format!("{:?}, in truth {:?}", verdict.outcome, truth.verdict));
        }
        if verdict.conditions != truth.conditions {
            complaints.push(format!("{:?}, in truth {:?}", verdict.conditions, truth.conditions));
        }
        let status = match truth.verdict {
            Outcome::Confirmed => 0,
            Outcome::Refuted => 1,
            Outcome::Inconclusive => 3,
        };
        if audit.run.status != status {
            complaints.push(format!("exit status {}, not {status}", audit.run.status));
        }
        if verdict.against != truth.parents() {
            complaints.push(format!("tested against {:?}, not {:?}", verdict.against, truth.parents()));
        }
    });
}

#[test]
fn the_derived_components_are_the_true_ones() {
    every_case(|case, complaints| {
        let (truth, audit) = (truth(case), audited(case));
        let of = |outcome| -> BTreeSet<String> {
            let components = audit.report.components.iter().filter(|c| c.outcome == outcome);
            components.map(|c| c.name.clone()).collect()
        };
        let derived = of(ComponentOutcome::Derived);
        if derived != truth.derived {
            complaints.push(format!("derived {derived:?}, in truth {:?}", truth.derived));
        }
        for component in audit.report.components.iter().filter(|c| c.outcome == ComponentOutcome::Derived) {
            if component.parent.as_deref() != Some(truth.parent.as_str()) {
                complaints.push(format!("{} derived from {:?}", component.name, component.parent));
            }
            if truth.layers.get(&component.name) != Some(&component.layers) {
                complaints.push(format!("layers {:?} of {}: {:?}", component.layers, component.name, truth.layers));
            }
        }
        if truth.verdict == Outcome::Confirmed && of(ComponentOutcome::Independent).len() < 2 {
            complaints.push(format!("only {:?} independent", of(ComponentOutcome::Independent)));
        }
    });
}

#[test]
fn the_disguise_of_a_derived_model_is_named() {
    assert!(cases().iter().filter(|case| truth(case).disguise.is_some()).count() >= 6);
    every_case(|case, complaints| {
        let (truth, audit) = (truth(case), audited(case));
        let findings = audit.report.findings.iter();
        let against = findings.filter(|f| f.code.starts_with("parent/") && f.direction == Direction::Against);
        let messages: String = against.map(|f| f.message.as_str()).collect();
        // Weights cannot show a disguise of another kind, such as distillation.
        if let Some(word) = truth.disguise.filter(|_| truth.verdict == Outcome::Refuted)
            && !messages.contains(&word)
        {
            complaints.push(format!("no finding of the parent says {word:?}"));
        }
    });
}

#[test]
fn the_layer_map_of_the_stacked_model_is_the_true_one() {
    let stacked: Vec<String> = cases().into_iter().filter(|case| truth(case).layer_map.is_some()).collect();
    assert!(!stacked.is_empty());
    for case in stacked {
        let truth = truth(&case);
        let wanted = truth.layer_map.expect("a map");
        let audit = audited(&case);
        let finding = audit.report.of("parent/layer-map");
        assert_eq!(finding.len(), 1, "{case}");
        let shown = serde_json::to_string(&wanted).expect("JSON");
        assert!(finding[0].message.contains(&format!("layer map {shown}")), "{}", finding[0].message);
        assert_eq!(finding[0].grade, Grade::Conclusive);
        let rows = evidence(&case).layer_map;
        let names = [truth.parent.clone(), Reference::Relabelled(truth.parent.clone()).to_string()];
        let best = |layer: usize| {
            let own = rows.iter().filter(|r| names.contains(&r.parent) && r.family == "all");
            let own = own.filter(|r| usize::try_from(r.layer_subject).is_ok_and(|l| l == layer));
            own.max_by(|a, b| a.z.unwrap_or(0.0).total_cmp(&b.z.unwrap_or(0.0))).expect("a cell").layer_parent
        };
        let found: Vec<u32> = (0..wanted.len()).map(best).collect();
        assert_eq!(found, wanted, "{case}");
    }
}

/// Cells beyond the null after Bonferroni over all cells of their map.
fn loud<'a>(rows: impl Iterator<Item = &'a LayerMapRow>) -> Vec<String> {
    let mut maps: BTreeMap<(&str, &str), Vec<&LayerMapRow>> = BTreeMap::new();
    rows.for_each(|row| maps.entry((&row.parent, &row.family)).or_default().push(row));
    let mut loud = Vec::new();
    for ((parent, family), cells) in maps {
        let tests = (cells.len() as f64).log10();
        for cell in cells {
            let log10_p = cell.z.map_or(0.0, |z| log10_upper_tail(z) + tests);
            if log10_p < BEYOND_THE_NULL {
                let (own, other) = (cell.layer_subject, cell.layer_parent);
                loud.push(format!("{family} {own}:{other} of {parent}, z {:?}, log10 p {log10_p:.1}", cell.z));
            }
        }
    }
    loud
}

#[test]
fn layer_maps_of_strangers_are_silent() {
    every_case(|case, complaints| {
        let truth = truth(case);
        let rows = evidence(case).layer_map;
        // Derived from the parent, or drawn from its seed.
        let kin = !truth.derived.is_empty() || !audited(case).report.of("parent/shared-seed").is_empty();
        // Layers of one model are no strangers to one another.
        let rows: Vec<LayerMapRow> = rows.into_iter().filter(|row| !row.parent.starts_with("subject")).collect();
        let names = [truth.parent.clone(), Reference::Relabelled(truth.parent.clone()).to_string()];
        complaints.extend(loud(rows.iter().filter(|row| !kin || !names.contains(&row.parent))));
        let heard = loud(rows.iter().filter(|row| names.contains(&row.parent)));
        if kin && heard.is_empty() {
            complaints.push("the kinship does not show".into());
        }
        if !rows.iter().any(|row| names.contains(&row.parent) && row.z.is_some()) {
            complaints.push("no map at all".into());
        }
    });
}

#[test]
fn the_shared_seed_is_seen_and_only_there() {
    every_case(|case, complaints| {
        let audit = audited(case);
        let findings = audit.report.of("parent/shared-seed");
        if findings.len() != usize::from(case == "shared-seed") {
            complaints.push(format!("{} findings of a shared seed", findings.len()));
        }
        if findings.iter().any(|f| f.direction != Direction::Neutral || f.subject.parent.is_none()) {
            complaints.push("the shared seed is held against the model".into());
        }
    });
}

#[test]
fn controls_are_silent() {
    every_case(|case, complaints| {
        let audit = audited(case);
        complaints.extend(audit.report.of("parent/uncalibrated").iter().map(|f| f.message.clone()));
        let evidence = evidence(case);
        let controls: Vec<_> =
            evidence.components.iter().filter(|row| matches!(row.reference, Reference::Control(_))).collect();
        let strangers: Vec<_> = evidence.calibration.iter().filter(|row| row.against.starts_with("control:")).collect();
        // Where hidden sizes differ, only the search for a disguise can look at the controls.
        let searched = evidence.disguise.iter().any(|row| matches!(row.reference, Reference::Control(_)));
        let untested = controls.is_empty() || strangers.is_empty();
        if untested && (case != "pruned" || !searched) {
            complaints.push("no control was tested".into());
        }
        for row in &controls {
            if row.log10_p.is_some_and(|p| p + (controls.len() as f64).log10() < BEYOND_THE_NULL) {
                complaints
                    .push(format!("{} of step {} against {}: z {:?}", row.component, row.step, row.reference, row.z));
            }
        }
        for row in &strangers {
            if row.log10_p.is_some_and(|p| p + (strangers.len() as f64).log10() < BEYOND_THE_NULL) {
                complaints.push(format!("{} of {} against {}: z {:?}", row.component, row.model, row.against, row.z));
            }
        }
        for row in evidence.calibration.iter().filter(|row| row.against == "perturbed" && row.component == "all") {
            if row.log10_p.is_none_or(|p| p > -10.0) {
                complaints
                    .push(format!("the test is deaf: {} against a noisy copy of itself: z {:?}", row.model, row.z));
            }
        }
    });
}

#[test]
fn reasons_and_findings_hold_together() {
    every_case(|case, complaints| {
        let audit = audited(case);
        let report = &audit.report;
        let ids: Vec<&str> = report.findings.iter().map(|f| f.id.as_str()).collect();
        let wanted: Vec<String> = (1..=ids.len()).map(|number| format!("F{number:03}")).collect();
        if ids != wanted {
            complaints.push(format!("ids {ids:?}"));
        }
        let verdict = &report.verdict;
        if verdict.reasons.is_empty() {
            complaints.push("no reasons".into());
        }
        for reason in &verdict.reasons {
            let Some(finding) = report.findings.iter().find(|f| f.id == *reason) else {
                complaints.push(format!("reason {reason} is no finding"));
                continue;
            };
            let direction = if verdict.outcome == Outcome::Refuted { Direction::Against } else { Direction::For };
            if finding.direction != direction || finding.grade < Grade::Moderate {
                complaints.push(format!("reason {reason} is {:?} {:?}", finding.grade, finding.direction));
            }
        }
        if verdict.outcome == Outcome::Confirmed
            && report.findings.iter().any(|f| f.direction == Direction::Against && f.grade >= Grade::Strong)
        {
            complaints.push("confirmed against a strong finding".into());
        }
        for finding in &report.findings {
            if finding.message.trim().is_empty() || finding.message.contains("NaN") {
                complaints.push(format!("{}: message {:?}", finding.id, finding.message));
            }
            if finding.evidence.as_ref().is_some_and(|file| !audit.folder.join(file).is_file()) {
                complaints.push(format!("{}: no {:?}", finding.id, finding.evidence));
            }
            if finding.subject.parent.as_ref().is_some_and(|parent| !verdict.against.contains(parent)) {
                complaints.push(format!("{}: parent {:?}", finding.id, finding.subject.parent));
            }
            if let Some(component) = &finding.subject.component
                && component != "all"
                && !report.components.iter().any(|c| c.name == *component)
            {
                complaints.push(format!("{}: component {component}", finding.id));
            }
            if finding.log10_p.is_some_and(|p| p > 0.0) {
                complaints.push(format!("{}: log10 p {:?}", finding.id, finding.log10_p));
            }
        }
        let complete = audit.run.stderr.lines().count() == 1 && audit.run.stderr.starts_with("written: ");
        if !complete || audit.run.stdout.is_empty() {
            complaints.push(format!("stderr {:?}", audit.run.stderr));
        }
    });
}

/// Fails with the names of the files that differ.
fn assert_same(ours: &BTreeMap<String, Vec<u8>>, theirs: &BTreeMap<String, Vec<u8>>, what: &str) {
    let all: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let differ: Vec<&&String> = all.iter().filter(|name| ours.get(**name) != theirs.get(**name)).collect();
    assert!(differ.is_empty(), "{what}: {differ:?} differ");
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let place = tempfile::tempdir().expect("a folder");
    for case in cases() {
        let usual = tree(&audited(&case).folder);
        let tables = usual.keys().filter(|name| name.starts_with("evidence/")).count();
        let measured = usual.keys().any(|name| name == "measurements/measurements.json");
        assert!(tables == Evidence::FILES.len() && measured, "{case}: {:?}", usual.keys());
        // All three on one case of each kind of weights, the extreme one on every other.
        let all = ["scratch-same-arch", "depth-upscaled"].contains(&case.as_str());
        for threads in if all { &["1", "2", "5"][..] } else { &["5"] } {
            let folder = place.path().join(format!("{case}-{threads}"));
            let arguments = ["--threads", threads, "--quiet", "audit"];
            let run = run(program().args(arguments).arg(case_file(&case)).arg("-o").arg(&folder));
            let lines = (run.stdout.lines().count(), run.stderr.lines().count());
            assert_eq!(lines, (1, 0), "{case}: more than the verdict line: {}{}", run.stdout, run.stderr);
            assert_same(&usual, &tree(&folder), &format!("{case} with {threads} threads"));
        }
    }
}

#[test]
fn the_working_directory_does_not_matter() {
    let case = "scratch-moe";
    let place = tempfile::tempdir().expect("a folder");
    let usual = tree(&audited(case).folder);
    let here = fixtures().join("cases").join(case);
    let beside = run(program().current_dir(&here).args(["audit", "case.toml", "-o"]).arg(place.path().join("a")));
    assert_eq!(beside.status, 0, "{}", beside.stderr);
    assert_same(&usual, &tree(&place.path().join("a")), "from the case's folder");
    let link = place.path().join("elsewhere");
    std::os::unix::fs::symlink(fixtures(), &link).expect("a link");
    let far =
        run(program().current_dir(place.path()).args(["audit", "elsewhere/cases/scratch-moe/case.toml", "-o", "b"]));
    assert_eq!(far.status, 0, "{}", far.stderr);
    assert_same(&usual, &tree(&place.path().join("b")), "from another folder");
}

#[test]
fn what_the_tool_did_not_write_is_never_replaced() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("deep/er");
    fs::create_dir_all(folder.join("evidence")).expect("a folder");
    fs::write(folder.join("notes.txt"), "mine").expect("written");
    let audit = || run(program().arg("audit").arg(case_file("dense-sgd")).arg("-o").arg(&folder));
    for name in ["report.json", "report.html", "evidence/trajectory.parquet"] {
        let file = folder.join(name);
        fs::write(&file, "mine too").expect("written");
        let run = audit();
        assert_eq!(run.status, 2, "{name}");
        assert!(run.stderr.contains(name) && run.stderr.contains("not written by this tool"), "{}", run.stderr);
        assert_eq!(fs::read(&file).expect("read"), b"mine too");
        fs::remove_file(&file).expect("removed");
    }
    for again in ["into an existing folder", "into its own folder"] {
        let run = audit();
        assert_eq!(run.status, 0, "{}", run.stderr);
        let mut files = tree(&folder);
        assert_eq!(files.remove("notes.txt").as_deref(), Some(&b"mine"[..]), "a file of the user's is gone");
        assert_same(&tree(&audited("dense-sgd").folder), &files, again);
    }
    fs::write(folder.join("report.json"), "edited").expect("written");
    assert_eq!(audit().status, 2, "an edited report is nobody's to replace");
}

#[test]
fn a_second_audit_into_one_folder_stops() {
    let place = tempfile::tempdir().expect("a folder");
    let held = scratchproof::folder::Folder::open(place.path()).expect("opened");
    let run = run(program().arg("audit").arg(case_file("dense-sgd")).arg("-o").arg(place.path()));
    assert_eq!(run.status, 2);
    assert!(run.stderr.contains("another run is writing"), "{}", run.stderr);
    drop(held);
}

/// Instants written as RFC 3339 in a text, to the second.
fn instants(text: &str) -> BTreeSet<&str> {
    let form = "dddd-dd-ddTdd:dd:dd";
    let fits = |window: &[u8]| {
        window.iter().zip(form.bytes()).all(|(c, f)| if f == b'd' { c.is_ascii_digit() } else { *c == f })
    };
    let windows = text.as_bytes().windows(form.len()).enumerate().filter(|(_, window)| fits(window));
    windows.filter_map(|(at, window)| text.get(at..at + window.len())).collect()
}

#[test]
fn reports_name_no_machine_no_time_and_no_absolute_path() {
    let before = chrono::DateTime::<chrono::Utc>::from(SystemTime::now()) - chrono::TimeDelta::minutes(1);
    let now = before.format("%Y-%m-%dT%H:%M:%S").to_string();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let absolute = [env!("CARGO_MANIFEST_DIR"), env!("CARGO_TARGET_TMPDIR"), "/home/", "/root/", "/tmp/", "file://"];
    every_case(|case, complaints| {
        let audit = audited(case);
        // What this computer alone remembers is neither sealed nor compared nor handed on.
        let own = |name: &String| name == ".scratchproof-inputs" || audit.folder.join(name).is_dir();
        for name in names(&audit.folder).into_iter().filter(|name| !own(name)) {
            let text = fs::read_to_string(audit.folder.join(&name)).expect("text");
            complaints.extend(absolute.iter().filter(|p| text.contains(**p)).map(|p| format!("{name}: {p}")));
            // Short names stand in any text by chance.
            if host.len() > 6 && text.contains(&host) {
                complaints.push(format!("{name}: the host's name {host}"));
            }
            let late = instants(&text).into_iter().filter(|at| **at >= *now);
            complaints.extend(late.map(|at| format!("{name}: the time {at}")));
        }
        let file = fs::read_to_string(case_file(case)).expect("a case file");
        for input in &audit.report.inputs {
            let pattern = input.uri.split("step-").next().unwrap_or_default();
            if Path::new(&input.uri).is_absolute() || !file.contains(pattern) {
                complaints.push(format!("{}: not as the case file has it", input.uri));
            }
        }
    });
    assert_eq!(
        instants("at 2026-08-02T03:04:05Z, 2026-08-02").into_iter().collect::<Vec<_>>(),
        ["2026-08-02T03:04:05"]
    );
}

/// Keys of JSON objects in the order of the text, as far as the contract lists them.
#[test]
fn report_json_is_the_contract() {
    let order = |text: &str, keys: &[&str], indent: usize| {
        let at: Vec<Option<usize>> =
            keys.iter().map(|key| text.find(&format!("\n{}\"{key}\":", " ".repeat(indent)))).collect();
        at.iter().all(Option::is_some) && at.is_sorted()
    };
    every_case(|case, complaints| {
        let audit = audited(case);
        let report: &Report = &audit.report;
        let text = fs::read_to_string(audit.folder.join("report.json")).expect("text");
        let top = ["schema", "tool", "case", "verdict", "components", "findings", "coverage", "inputs", "policy"];
        if !order(&text, &top, 2) || !order(&text, &["outcome", "against", "conditions", "reasons", "missing"], 4) {
            complaints.push("the keys are in another order".into());
        }
        let finding = ["id", "code", "grade", "direction", "subject", "statistic", "log10_p", "effect", "n", "null"];
        if !order(text.split("\"findings\"").nth(1).unwrap_or_default(), &finding, 6) {
            complaints.push("the keys of a finding are in another order".into());
        }
        let tool = (report.tool.name.as_str(), report.tool.version.as_str());
        if report.schema != "scratchproof.report/1" || tool != ("scratchproof", env!("CARGO_PKG_VERSION")) {
            complaints.push(format!("schema {} by {tool:?}", report.schema));
        }
        if report.case.name != case || report.case.claim != "from-scratch" || report.case.digest.len() != 7 + 64 {
            complaints.push(format!("{:?}", report.case));
        }
        let known: BTreeSet<&str> = scratchproof::finding::Code::ALL.iter().map(|code| code.name()).collect();
        complaints.extend(report.findings.iter().filter(|f| !known.contains(f.code.as_str())).map(|f| f.code.clone()));
        let roles = |role| report.inputs.iter().filter(|input| input.role == role).count();
        let all = [Role::Checkpoint, Role::Parent, Role::Control, Role::Run, Role::Repository].map(roles);
        if all != [7, truth(case).parents().len(), 2, 1, 1] {
            complaints.push(format!("inputs {all:?}"));
        }
        let odd = report.inputs.iter().filter(|i| i.bytes == 0 || i.sha256.trim_start_matches("sha256:").len() != 64);
        complaints.extend(odd.map(|input| format!("{input:?}")));
        let coverage = &report.coverage;
        let weights = report.inputs.iter().filter(|i| !matches!(i.role, Role::Run | Role::Repository));
        if coverage.compared > coverage.tensors || coverage.bytes_read > weights.map(|i| i.bytes).sum() {
            complaints.push(format!("{} compared, {} bytes read", coverage.compared, coverage.bytes_read));
        }
        if report.policy.is_empty() {
            complaints.push("no policy".into());
        }
        if text.contains("NaN") || !text.ends_with("}\n") {
            complaints.push("no JSON that everybody reads".into());
        }
    });
}

#[test]
fn json_and_markdown_on_stdout_are_the_files() {
    let audit = audited("dense-sgd");
    for (format, file) in [("json", "report.json"), ("markdown", "report.md")] {
        let place = tempfile::tempdir().expect("a folder");
        let mut program = program();
        program.args(["--format", format, "audit"]).arg(case_file("dense-sgd")).arg("-o").arg(place.path());
        let run = run(&mut program);
        assert_eq!((run.status, run.stderr.as_str()), (0, ""));
        assert_eq!(run.stdout, fs::read_to_string(audit.folder.join(file)).expect("text"), "{file}");
    }
}

#[test]
fn tables_have_the_columns_of_the_contract() {
    use DataType::{Boolean as B, Float64 as F, Int32 as I, Int64 as L, String as S};
    // A question mark says that a value may be null.
    let tables: [(&str, &[(&str, DataType)]); 4] = [
        (
            "trajectory",
            &[
                ("step", L),
                ("tensor", S),
                ("component", S),
                ("family", S),
                ("layer?", I),
                ("expert?", I),
                ("reference", S),
                ("elements", L),
                ("cosine?", F),
                ("pearson?", F),
                ("l2?", F),
                ("relative_l2?", F),
                ("rms?", F),
                ("z?", F),
                ("log10_p?", F),
            ],
        ),
        (
            "layer_map",
            &[("parent", S), ("family", S), ("layer_subject", I), ("layer_parent", I), ("pearson?", F), ("z?", F)],
        ),
        ("timeline", &[("at", S), ("until?", S), ("what", S), ("source", S), ("grade", S)]),
        ("runs", &[("run", S), ("key", S), ("step", L), ("value?", F)]),
    ];
    every_case(|case, complaints| {
        let folder = audited(case).folder.join("evidence");
        let found: BTreeSet<String> = names(&folder).into_iter().collect();
        if found != Evidence::FILES.iter().map(|name| (*name).to_owned()).collect() {
            complaints.push(format!("files {found:?}"));
        }
        for (table, columns) in &tables {
            let file = fs::File::open(folder.join(format!("{table}.parquet"))).expect("a table");
            let frame = ParquetReader::new(file).finish().expect("parquet");
            let wanted: Vec<(&str, &DataType)> =
                columns.iter().map(|(name, dtype)| (name.trim_end_matches('?'), dtype)).collect();
            let own: Vec<(&str, &DataType)> = frame.columns().iter().map(|c| (c.name().as_str(), c.dtype())).collect();
            if own != wanted {
                complaints.push(format!("{table}: {own:?}"));
            }
            let full = columns.iter().filter(|(name, _)| !name.ends_with('?'));
            let holes = full.filter(|(name, _)| frame.column(name).is_ok_and(|c| c.null_count() > 0));
            complaints.extend(holes.map(|(name, _)| format!("{table}: null in {name}")));
            if frame.height() == 0 {
                complaints.push(format!("{table} is empty"));
            }
        }
        let file = fs::File::open(folder.join("tensors.parquet")).expect("a table");
        let frame = ParquetReader::new(file).finish().expect("parquet");
        if frame.column("known").is_ok_and(|column| *column.dtype() != B) {
            complaints.push("tensors: known".into());
        }
    });
}

/// Figures of one row, undefined ones empty.
type Figures = [Option<f64>; 3];

/// The figures that numpy computed in float64 (`fixtures/generate/reference.py`).
fn numpy() -> BTreeMap<(i64, String, String), Figures> {
    let text = fs::read_to_string(fixtures().join("reference/trajectory.csv")).expect("the table");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("step,tensor,reference,cosine,pearson,l2"));
    let figure = |cell: &str| (!cell.is_empty()).then(|| cell.parse().expect("a figure"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let [step, tensor, reference, cosine, pearson, l2] = cells[..] else { panic!("{line}") };
        let key = (step.parse().expect("a step"), tensor.to_owned(), reference.to_owned());
        (key, [figure(cosine), figure(pearson), figure(l2)])
    };
    lines.map(row).collect()
}

#[test]
fn the_trajectory_equals_numpy() {
    let wanted = numpy();
    let mut found = BTreeMap::new();
    for row in evidence("continued").trajectory {
        let reference = match &row.reference {
            Reference::Init => "init",
            Reference::Previous => "previous",
            Reference::Parent(_) => "parent",
            Reference::Control(_) | Reference::Relabelled(_) => continue,
        };
        let key = (row.step, row.tensor, reference.to_owned());
        assert!(found.insert(key, [row.cosine, row.pearson, row.l2]).is_none(), "a row twice");
    }
    let keys = |table: &BTreeMap<_, Figures>| table.keys().cloned().collect::<BTreeSet<(i64, String, String)>>();
    let (ours, theirs) = (keys(&found), keys(&wanted));
    assert_eq!(ours.difference(&theirs).next(), None, "a row that numpy has not");
    assert_eq!(theirs.difference(&ours).next(), None, "a row that the tool has not");
    assert!(found.len() > 2000);
    let mut undefined = 0;
    for (key, figures) in &found {
        for (i, (ours, theirs)) in figures.iter().zip(&wanted[key]).enumerate() {
            match (ours, theirs) {
                (Some(ours), Some(theirs)) => {
                    let off = (ours - theirs).abs();
                    let relative = if off == 0.0 { 0.0 } else { off / theirs.abs() };
                    assert!(relative <= 1e-6, "{key:?} figure {i}: {ours} against {theirs}");
                }
                (None, None) => undefined += 1,
                _ => panic!("{key:?} figure {i}: {ours:?} against {theirs:?}"),
            }
        }
    }
    assert!(undefined > 0, "constant tensors have no correlation");
}

#[test]
fn all_conditions_hold_where_the_claim_is_confirmed() {
    every_case(|case, complaints| {
        let audit = audited(case);
        let Conditions { start, chain, parent, time } = audit.report.verdict.conditions;
        let holds = [start, chain, parent].iter().all(|c| *c == Condition::Holds) && time != Condition::Fails;
        if (audit.report.verdict.outcome == Outcome::Confirmed) != holds {
            complaints.push(format!("{:?}", audit.report.verdict));
        }
    });
}
