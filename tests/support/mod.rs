//! What the integration tests share: running the program as users do, copies of fixture cases to break, safetensors files
//! to edit, and models to disguise.

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "computed in f64, stored in f32; sizes are small"
)]
pub mod disguise;
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "computed in f64, stored in f32; sizes are small"
)]
pub mod forge;
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "computed in f64, stored in f32; sizes are small"
)]
pub mod forward;
pub mod repack;
pub mod report;
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "computed in f64, stored in whole numbers; steps are small"
)]
pub mod runlog;
pub mod safetensors;
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "computed in f64, stored in f32; sizes are small"
)]
pub mod weights;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use report::Report;

/// A run that takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// How a run of the program ended.
pub struct Run {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The folder of the fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Names of the fixture cases, sorted.
pub fn cases() -> Vec<String> {
    names(&fixtures().join("cases"))
}

/// Names of the honest runs that could be taken for forged ones, sorted.
pub fn look_alikes() -> Vec<String> {
    names(&fixtures().join("look-alikes"))
}

/// Names of the entries of a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
    names.sort();
    names
}

/// The program, with nothing of this terminal's settings.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scratchproof"));
    for name in ["LC_ALL", "LC_MESSAGES", "LANG"] {
        command.env_remove(name);
    }
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env("COLUMNS", "100").stdin(Stdio::null());
    command
}

/// Runs the program to its end; a run that hangs or panics fails the test.
pub fn run(command: &mut Command) -> Run {
    let [out, err] = [(); 2].map(|()| tempfile::NamedTempFile::new().expect("a file"));
    let write = |file: &tempfile::NamedTempFile| Stdio::from(file.reopen().expect("a file"));
    let mut child = command.stdout(write(&out)).stderr(write(&err)).spawn().expect("the program starts");
    let status = wait(&mut child, command);
    let read = |file: &tempfile::NamedTempFile| fs::read_to_string(file.path()).expect("UTF-8 text");
    let run = Run { status: status.code().unwrap_or(-1), stdout: read(&out), stderr: read(&err) };
    assert!(!run.stderr.contains("panicked") && !run.stdout.contains("panicked"), "{command:?}: {}", run.stderr);
    assert!(!run.stderr.contains("has a fault"), "{command:?}: {}", run.stderr);
    assert!((0..=3).contains(&run.status), "{command:?} ended with {status}: {}", run.stderr);
    run
}

/// Waits for a program that this test started.
pub fn wait(child: &mut std::process::Child, command: &Command) -> ExitStatus {
    let end = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        if Instant::now() > end {
            child.kill().expect("a child");
            child.wait().expect("a child");
            panic!("{command:?} hangs");
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// A finished audit of a fixture case, shared by the tests of one binary.
pub struct Audited {
    pub run: Run,
    pub folder: PathBuf,
    pub report: Report,
}

/// The audit of a fixture case; every case is run once.
pub fn audited(case: &str) -> Arc<Audited> {
    type Cell = Arc<OnceLock<Arc<Audited>>>;
    static DONE: OnceLock<Mutex<BTreeMap<String, Cell>>> = OnceLock::new();
    let cell = {
        let mut done = DONE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(done.entry(case.to_owned()).or_default())
    };
    Arc::clone(cell.get_or_init(|| {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
        let folder = place.join(case);
        let _ = fs::remove_dir_all(&folder);
        let file = fixtures().join("cases").join(case).join("case.toml");
        let run = run(program().arg("audit").arg(&file).arg("-o").arg(&folder));
        assert_ne!(run.status, 2, "{case}: {}", run.stderr);
        Arc::new(Audited { report: report::read(&folder.join("report.json")), run, folder })
    }))
}

/// Every file of a folder and of the folders in it, by its path inside.
pub fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for name in names(folder) {
        let path = folder.join(&name);
        if path.is_dir() {
            files.extend(tree(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            files.insert(name, fs::read(&path).expect("a file"));
        }
    }
    files
}

/// The SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    scratchproof::error::hexadecimal::hex(&scratchproof::kernel::sha256::sha256(bytes))
}

/// A copy of a fixture case, with the models beside it, to be broken.
pub struct Copy {
    root: tempfile::TempDir,
    case: String,
}

impl Copy {
    /// A copy of the case or look-alike and of all models.
    pub fn of(case: &str) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let cases = fixtures().join("cases").join(case);
        let stored = if cases.is_dir() { cases } else { fixtures().join("look-alikes").join(case) };
        copy(&stored, &root.path().join("cases").join(case));
        copy(&fixtures().join("models"), &root.path().join("models"));
        Self { root, case: case.to_owned() }
    }

    /// The case's folder.
    pub fn folder(&self) -> PathBuf {
        self.root.path().join("cases").join(&self.case)
    }

    /// A path in the case's folder.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder().join(inside)
    }

    /// The weights of a checkpoint.
    pub fn weights(&self, step: u32) -> PathBuf {
        self.path(&format!("checkpoints/step-{step}/model.safetensors"))
    }

    /// The weights of a model beside the case.
    pub fn model(&self, name: &str) -> PathBuf {
        self.root.path().join("models").join(name).join("model.safetensors")
    }

    /// Changes a parent or control beside the case.
    pub fn disguise(&self, name: &str, disguise: impl FnOnce(&mut weights::Model)) {
        let folder = self.root.path().join("models").join(name);
        let mut model = weights::Model::read(&folder);
        disguise(&mut model);
        model.write(&folder);
    }

    /// Changes every checkpoint in the same way.
    pub fn disguise_series(&self, disguise: impl Fn(&mut weights::Model)) {
        for name in names(&self.path("checkpoints")) {
            let folder = self.path("checkpoints").join(name);
            let mut model = weights::Model::read(&folder);
            disguise(&mut model);
            model.write(&folder);
        }
    }

    /// Names one model in place of the series, and takes the record out of the case file.
    pub fn only(&self, model: &weights::Model) {
        model.write(&self.path("final"));
        self.replace("checkpoints = \"checkpoints/step-{step}\"", "model = \"final\"");
        for table in ["[[run]]", "[repository]", "[subject.init]"] {
            if self.text().contains(table) {
                self.without(table);
            }
        }
    }

    /// Names one more parent or control.
    pub fn add(&self, kind: &str, name: &str, model: &weights::Model) {
        model.write(&self.root.path().join("models").join(name));
        let text = format!("{}\n[[{kind}]]\nname = \"{name}\"\nmodel = \"../../models/{name}\"\n", self.text());
        fs::write(self.path("case.toml"), text).expect("written");
    }

    /// The run log.
    pub fn log(&self) -> PathBuf {
        let runs = self.path("wandb");
        let run = runs.join(&names(&runs)[0]);
        let log = names(&run)
            .into_iter()
            .find(|name| Path::new(name).extension().is_some_and(|e| e == "wandb"))
            .expect("a log");
        run.join(log)
    }

    /// Text of the case file.
    pub fn text(&self) -> String {
        fs::read_to_string(self.path("case.toml")).expect("a case file")
    }

    /// Puts `new` in place of `old` in the case file, which must have it.
    pub fn replace(&self, old: &str, new: &str) {
        let text = self.text();
        assert!(text.contains(old), "the case file has no {old:?}");
        fs::write(self.path("case.toml"), text.replace(old, new)).expect("written");
    }

    /// Takes every table of a kind (`[[run]]`, `[repository]`) out of the case file.
    pub fn without(&self, header: &str) {
        let text = self.text();
        let tables: Vec<&str> = text.split("\n\n").filter(|table| !table.trim_start().starts_with(header)).collect();
        assert!(tables.len() < text.split("\n\n").count(), "the case file has no {header}");
        fs::write(self.path("case.toml"), tables.join("\n\n") + "\n").expect("written");
    }

    /// Takes away all checkpoints but these.
    pub fn keep(&self, steps: &[u32]) {
        let kept: Vec<String> = steps.iter().map(|step| format!("step-{step}")).collect();
        for name in names(&self.path("checkpoints")).iter().filter(|name| !kept.contains(name)) {
            fs::remove_dir_all(self.path("checkpoints").join(name)).expect("removed");
        }
    }

    /// Where [`Copy::audit`] writes.
    pub fn output(&self) -> PathBuf {
        self.root.path().join("out")
    }

    /// Audits the copy.
    pub fn audit(&self) -> Run {
        run(program().arg("audit").arg(self.path("case.toml")).arg("-o").arg(self.output()))
    }

    /// Audits the copy, which must come to an end with this status and say nothing but where the report is.
    pub fn finished(&self, status: i32) -> Report {
        let run = self.audit();
        assert_eq!(run.status, status, "{}{}", run.stdout, run.stderr);
        // Of a second audit into the same folder it is said what was not measured again.
        let again =
            |line: &&str| line.starts_with("judged from the measurements") || line.contains("pieces of the work");
        let lines: Vec<&str> = run.stderr.lines().skip_while(again).collect();
        assert!(lines.len() == 1 && lines[0].starts_with("written: "), "{}", run.stderr);
        report::read(&self.output().join("report.json"))
    }

    /// Audits the copy to whatever end.
    pub fn judged(&self) -> Report {
        let run = self.audit();
        assert_ne!(run.status, 2, "{}", run.stderr);
        report::read(&self.output().join("report.json"))
    }

    /// Audits the copy, which must be impossible: status 2, nothing on stdout, one line on stderr with all of `parts`.
    pub fn refused(&self, parts: &[&str]) {
        refused(&self.audit(), parts);
        assert!(!self.output().join("report.json").exists(), "a report of a failed audit");
    }
}

/// Checks that a run could not do its job and said why in one line that has all of `parts`.
pub fn refused(run: &Run, parts: &[&str]) {
    assert_eq!(run.status, 2, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stdout, "", "something on stdout");
    assert!(run.stderr.starts_with("error: ") && run.stderr.ends_with('\n'), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "more than one line: {}", run.stderr);
    for part in parts {
        assert!(run.stderr.contains(part), "no {part:?} in: {}", run.stderr);
    }
}

/// Copies a folder with everything in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            // Not `fs::copy`, which would keep the mark of a file that may not be written to.
            let mut source = File::open(&from).expect("a file");
            std::io::copy(&mut source, &mut File::create(&to).expect("a file")).expect("copied");
        }
    }
}

/// A small generator of numbers, the same on every machine.
pub struct Numbers(pub u64);

impl Numbers {
    /// The next number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        // The 64-bit linear congruential generator of Knuth's MMIX; its high bits are good enough to break files.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % end
    }

    /// The next number of mean 0 and variance 1.
    pub fn noise(&mut self) -> f32 {
        const PARTS: usize = 1 << 24;
        (self.below(PARTS) as f32 / PARTS as f32 - 0.5) * 12f32.sqrt()
    }
}
