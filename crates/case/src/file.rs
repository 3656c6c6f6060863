//! The file as typed -> a validated [`Case`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::Spanned;

use super::series::{self, Listed};
use super::{
    Case, CheckpointEntry, Init, Location, Over, Policy, Reference, Released, Repository, Run, Stated, Subject, Witness,
};
use scratchproof_error::hexadecimal::hex;
use scratchproof_error::{Context, Error, Result};
use scratchproof_texts::{Text, text};

/// The largest case file that is read: far above any real one, far below what would hurt.
const LARGEST: u64 = 16 << 20;

/// Names of metrics that `[[run]] keys` may give.
const METRICS: [&str; 5] = ["step", "loss", "learning_rate", "grad_norm", "tokens"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    schema: Spanned<i64>,
    name: Option<String>,
    claim: Option<RawClaim>,
    subject: RawSubject,
    #[serde(default)]
    parent: Vec<RawReference>,
    #[serde(default)]
    control: Vec<RawReference>,
    #[serde(default)]
    run: Vec<RawRun>,
    repository: Option<RawRepository>,
    #[serde(default)]
    witness: Vec<RawWitness>,
    ledger: Option<RawPath>,
    loss: Option<RawPath>,
    policy: Option<Spanned<toml::Table>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPath {
    path: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawClaim {
    statement: Spanned<String>,
    claimant: Option<String>,
    date: Option<Spanned<toml::Value>>,
    auditor: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSubject {
    name: Option<String>,
    model: Option<Spanned<String>>,
    checkpoints: Option<Spanned<toml::Value>>,
    averaged: Option<Spanned<String>>,
    init: Option<RawInit>,
    architecture: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCheckpoint {
    step: i64,
    model: String,
    tokens: Option<u64>,
    saved: Option<toml::Value>,
    averaged: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInit {
    scheme: Option<String>,
    std: Option<Spanned<f64>>,
    seed: Option<u64>,
    framework: Option<String>,
    recipe: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReference {
    name: Spanned<String>,
    model: Option<Spanned<String>>,
    fingerprint: Option<Spanned<String>>,
    released: Option<Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSourced {
    at: toml::Value,
    source: Option<String>,
    grade: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRun {
    log: Spanned<String>,
    #[serde(default)]
    keys: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRepository {
    git: Spanned<String>,
    #[serde(default)]
    settings: Vec<String>,
    allowed_signers: Option<Spanned<String>>,
    #[serde(default)]
    keys: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWitness {
    proof: Spanned<String>,
    over: Option<Spanned<String>>,
    #[serde(default)]
    roots: Vec<Spanned<String>>,
    headers: Option<Spanned<String>>,
}

impl Case {
    /// Reads and validates a case file.
    ///
    /// # Errors
    /// One sentence with the file and the line for whatever is wrong with it.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_with(path, true)
    }

    /// The same for those who look at the record alone: models need not be there.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_record(path: &Path) -> Result<Self> {
        Self::read_with(path, false)
    }

    fn read_with(path: &Path, models: bool) -> Result<Self> {
        let shown = path.display().to_string();
        let about = std::fs::metadata(path).map_err(|e| Error::io(&shown, e))?;
        if about.is_dir() {
            return Err(Error::usage(directory(path, &shown)));
        }
        if !about.is_file() {
            // Reading a FIFO would wait for somebody to write to it.
            return Err(Error::usage(text!("error-case/file/not-regular-file", shown)));
        }
        let length = about.len();
        if length > LARGEST {
            return Err(Error::usage(text!("error-case/file/bytes-too-large-case", shown, length)));
        }
        let bytes = std::fs::read(path).map_err(|e| Error::io(&shown, e))?;
        let text = std::str::from_utf8(&bytes).map_err(|e| {
            Error::usage(text!("error-case/file/not-utf-text-byte", shown = &shown, byte = e.valid_up_to()))
        })?;
        let raw: RawCase = toml::from_str(text).map_err(|e| {
            if let Some((number, name)) = single(text).filter(|_| e.message().contains("expected a sequence")) {
                let message = text!("error-case/file/several", name);
                return Error::usage(text!("error-case/file/line", shown = &shown, number, message));
            }
            let message = e.message().replace('\n', " ");
            match e.span() {
                Some(span) => Error::usage(text!(
                    "error-case/file/line",
                    shown = &shown,
                    number = line(text, span.start),
                    message
                )),
                None => Error::usage(message).context(&shown),
            }
        })?;
        let digest = hex(&Sha256::digest(&bytes));
        Checker { text, shown, folder: path.parent().unwrap_or(Path::new("")), path, models }.resolve(raw, digest)
    }
}

/// What to give in place of a directory, by what is in it.
fn directory(path: &Path, shown: &str) -> Text {
    let shown = shown.trim_end_matches('/');
    if path.join("report.json").is_file() {
        text!("error-case/file/finished", shown)
    } else if path.join("case.toml").is_file() {
        text!("error-case/file/directory", shown)
    } else {
        text!("error-case/file/no-case", shown)
    }
}

/// The first header of a list that is written as one table: `[run]` in place of `[[run]]`.
fn single(text: &str) -> Option<(usize, &str)> {
    let lists = ["parent", "control", "run", "witness"];
    text.lines().enumerate().find_map(|(number, line)| {
        let name = line.trim().strip_prefix('[')?.split(']').next()?.trim();
        lists.contains(&name).then_some((number + 1, name))
    })
}

/// Whether something that is no path may be the name of a model on the hub: `org/name`.
#[must_use]
pub fn is_hub_name(written: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 96
            && !part.starts_with('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    written.split_once('/').is_some_and(|(org, name)| part(org) && part(name.split('@').next().unwrap_or(name)))
}

fn line(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].split(|&b| b == b'\n').count()
}

struct Checker<'a> {
    text: &'a str,
    shown: String,
    folder: &'a Path,
    path: &'a Path,
    /// Whether models must be there.
    models: bool,
}

impl Checker<'_> {
    fn fail<T>(&self, at: &Spanned<T>, message: impl Into<Text>) -> Error {
        let message = message.into();
        Error::usage(text!("error-case/file/line", shown = &self.shown, number = self.line(at), message))
    }

    fn line<T>(&self, at: &Spanned<T>) -> usize {
        line(self.text, at.span().start)
    }

    fn resolve(&self, raw: RawCase, digest: String) -> Result<Case> {
        if *raw.schema.get_ref() != 1 {
            return Err(self.fail(&raw.schema, "this tool reads schema = 1"));
        }
        if let Some(claim) = raw.claim.as_ref().filter(|claim| claim.statement.get_ref() != "from-scratch") {
            return Err(self.fail(&claim.statement, "the statement must be \"from-scratch\""));
        }
        let claim = "from-scratch".to_owned();
        let stated = match raw.claim {
            None => Stated::default(),
            Some(RawClaim { claimant, date, auditor, .. }) => {
                let date = date.map(|date| self.day(&date)).transpose()?;
                Stated { claimant, date, auditor }
            }
        };
        let name = raw.name.unwrap_or_else(|| {
            let path = std::path::absolute(self.path).unwrap_or_default();
            path.parent().and_then(Path::file_name).map_or("case".to_owned(), |n| n.to_string_lossy().into_owned())
        });
        let subject = self.subject(raw.subject, &name)?;
        let mut names = BTreeSet::new();
        let mut references = |list: Vec<RawReference>| -> Result<Vec<Reference>> {
            list.into_iter()
                .map(|reference| {
                    if !names.insert(reference.name.get_ref().clone()) {
                        return Err(self.fail(&reference.name, "another parent or control has this name"));
                    }
                    self.reference(reference)
                })
                .collect()
        };
        let parents = references(raw.parent)?;
        if let Some(control) = raw.control.iter().find(|control| control.fingerprint.is_some()) {
            return Err(self.fail(&control.name, "a control is a model: a fingerprint holds no null"));
        }
        let controls = references(raw.control)?;
        let runs = raw.run.into_iter().map(|run| self.run(run)).collect::<Result<_>>()?;
        let repository = raw.repository.map(|repository| self.repository(repository)).transpose()?;
        let witnesses = raw.witness.into_iter().map(|witness| self.witness(&witness)).collect::<Result<_>>()?;
        let ledger = raw.ledger.map(|ledger| self.existing(&ledger.path)).transpose()?;
        let loss = raw.loss.map(|loss| self.existing(&loss.path)).transpose()?;
        let mut policy = match raw.policy {
            None => Policy::default(),
            Some(table) => {
                let start = table.span().start;
                Policy::deserialize(toml::Value::Table(table.into_inner())).map_err(|e| {
                    let message = e.message().replace('\n', " ");
                    Error::usage(text!(
                        "error-case/file/line-policy",
                        shown = &self.shown,
                        number = line(self.text, start),
                        message
                    ))
                })?
            }
        };
        policy.take_profile().context(|| text!("error-case/file/policy-profile", shown = &self.shown))?;
        policy.check().context(|| text!("error-case/file/policy", shown = &self.shown))?;
        Ok(Case {
            name,
            claim,
            stated,
            digest,
            path: self.path.to_owned(),
            subject,
            parents,
            controls,
            runs,
            repository,
            witnesses,
            ledger,
            loss,
            policy,
            choice: super::Choice::default(),
        })
    }

    fn subject(&self, raw: RawSubject, case: &str) -> Result<Subject> {
        let name = raw.name.unwrap_or_else(|| case.to_owned());
        let init = raw.init.map(|init| self.init(init)).transpose()?;
        let architecture = raw.architecture.map(|file| self.existing(&file)).transpose()?;
        let pattern = raw.checkpoints.as_ref().and_then(|written| series::address(written.get_ref().as_str()?));
        let pattern = pattern.map(str::to_owned);
        let checkpoints = match (raw.model, raw.checkpoints) {
            (Some(model), None) => {
                let location = self.model(&model, model.get_ref())?;
                vec![CheckpointEntry { step: None, location, tokens: None, saved: None, averaged: None }]
            }
            (None, Some(_)) if pattern.is_some() => Vec::new(),
            (None, Some(checkpoints)) => self.series(&checkpoints)?,
            (Some(model), Some(_)) => return Err(self.fail(&model, "[subject] has both `model` and `checkpoints`")),
            (None, None) => {
                return Err(Error::usage(text!(
                    "error-case/file/subject-needs-checkpoints-series",
                    shown = &self.shown
                )));
            }
        };
        if let Some(way) = raw.averaged.as_ref().filter(|way| !is_average(way.get_ref())) {
            return Err(self.fail(way, unknown_average(way.get_ref())));
        }
        let averaged = raw.averaged.map(Spanned::into_inner);
        Ok(Subject { name, checkpoints, pattern, published: Vec::new(), averaged, init, architecture })
    }

    /// A date or a time as the case file writes it.
    fn day(&self, written: &Spanned<toml::Value>) -> Result<String> {
        let text = match written.get_ref() {
            at @ (toml::Value::String(_) | toml::Value::Datetime(_)) => text_of(at),
            _ => String::new(),
        };
        if is_day(&text) { Ok(text) } else { Err(self.fail(written, text!("error-case/file/no-date", text))) }
    }

    fn init(&self, raw: RawInit) -> Result<Init> {
        let recipe = raw.recipe.map(|recipe| self.existing(&recipe)).transpose()?;
        if let Some(std) = raw.std.as_ref().filter(|std| !(std.get_ref().is_finite() && *std.get_ref() > 0.0)) {
            return Err(self.fail(std, text!("error-case/file/no-std", std = std.get_ref().to_string())));
        }
        let std = raw.std.map(Spanned::into_inner);
        Ok(Init { scheme: raw.scheme, std, seed: raw.seed, framework: raw.framework, recipe })
    }

    fn series(&self, checkpoints: &Spanned<toml::Value>) -> Result<Vec<CheckpointEntry>> {
        let listed = match checkpoints.get_ref() {
            toml::Value::String(pattern) => match series::find(self.folder, pattern) {
                Err(_) if !self.models => return Ok(Vec::new()),
                found => found,
            },
            toml::Value::Array(list) => list.iter().enumerate().map(|(number, entry)| listed(number, entry)).collect(),
            _ => Err("`checkpoints` must be a pattern or a list of { step = ..., model = \"...\" }".to_owned()),
        };
        let ordered = listed.and_then(series::ordered).map_err(|message| self.fail(checkpoints, message))?;
        ordered
            .into_iter()
            .map(|entry| {
                let location = self.model(checkpoints, &entry.written)?;
                Ok(CheckpointEntry {
                    step: Some(entry.step),
                    location,
                    tokens: entry.tokens,
                    saved: entry.saved,
                    averaged: entry.averaged,
                })
            })
            .collect()
    }

    fn reference(&self, raw: RawReference) -> Result<Reference> {
        let (location, fingerprint) = match (&raw.model, &raw.fingerprint) {
            (Some(model), None) => (self.model(model, model.get_ref())?, false),
            (None, Some(file)) => (self.existing(file)?, true),
            (None, None) => return Err(self.fail(&raw.name, "it needs a `model`, or a parent its `fingerprint`")),
            (Some(_), Some(file)) => {
                return Err(self.fail(file, text!("error-case/file/model-fingerprint-exclude-each")));
            }
        };
        let released = raw.released.map(|spanned| self.released(&spanned)).transpose()?;
        Ok(Reference { name: raw.name.into_inner(), location, fingerprint, released })
    }

    fn released(&self, written: &Spanned<toml::Value>) -> Result<Released> {
        let line = self.line(written);
        match written.get_ref() {
            at @ (toml::Value::String(_) | toml::Value::Datetime(_)) => {
                Ok(Released { at: text_of(at), source: None, grade: None, line })
            }
            table @ toml::Value::Table(_) => {
                let RawSourced { at, source, grade } = RawSourced::deserialize(table.clone()).map_err(|e| {
                    self.fail(written, text!("error-case/file/released", n = e.message().replace('\n', " ")))
                })?;
                Ok(Released { at: text_of(&at), source, grade, line })
            }
            _ => Err(self.fail(written, text!("error-case/file/released-must-date-or"))),
        }
    }

    fn repository(&self, raw: RawRepository) -> Result<Repository> {
        Ok(Repository {
            location: self.existing(&raw.git)?,
            settings: raw.settings,
            allowed_signers: raw.allowed_signers.map(|file| self.existing(&file)).transpose()?,
            keys: raw.keys.iter().map(|file| self.existing(file)).collect::<Result<_>>()?,
        })
    }

    fn run(&self, raw: RawRun) -> Result<Run> {
        for (metric, key) in &raw.keys {
            if !METRICS.contains(&metric.as_str()) {
                return Err(
                    self.fail(key, text!("error-case/file/unknown-metric-known", metric, metrics = METRICS.join(", ")))
                );
            }
        }
        let keys = raw.keys.into_iter().map(|(metric, key)| (metric, key.into_inner())).collect();
        Ok(Run { location: self.log(&raw.log)?, keys })
    }

    /// A run log: a path, or a run of the W&B service.
    fn log(&self, written: &Spanned<String>) -> Result<Location> {
        let address = Location { written: written.get_ref().clone(), path: written.get_ref().into() };
        match address.scheme() {
            None => self.path(written, written.get_ref()),
            Some(scheme) if scheme.eq_ignore_ascii_case("wandb") => Ok(address),
            Some(scheme) => Err(self.fail(written, text!("error-case/file/no-run-address", scheme))),
        }
    }

    fn witness(&self, raw: &RawWitness) -> Result<Witness> {
        let written = raw.proof.get_ref();
        let proof = match written.split_once("://") {
            None => self.path(&raw.proof, written)?,
            Some((scheme, _)) if ["hf", "https", "http"].contains(&scheme.to_ascii_lowercase().as_str()) => {
                Location { written: written.clone(), path: written.into() }
            }
            Some((scheme, _)) => {
                return Err(self.fail(&raw.proof, text!("error-case/file/no-proof-address", scheme)));
            }
        };
        Ok(Witness {
            proof,
            over: raw.over.as_ref().map(|over| self.over(over)).transpose()?,
            roots: raw.roots.iter().map(|root| self.existing(root)).collect::<Result<_>>()?,
            headers: raw.headers.as_ref().map(|headers| self.existing(headers)).transpose()?,
            line: self.line(&raw.proof),
        })
    }

    fn over(&self, written: &Spanned<String>) -> Result<Over> {
        let forms = "`over` must be commit:ID, tag:NAME, checkpoint:STEP or file:PATH";
        match written.get_ref().split_once(':') {
            Some(("commit", id)) if (7..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Ok(Over::Commit(id.to_ascii_lowercase()))
            }
            Some(("commit", _)) => Err(self.fail(written, text!("error-case/file/commit-named-seven-or"))),
            Some(("tag", name)) if !name.is_empty() => Ok(Over::Tag(name.to_owned())),
            Some(("checkpoint", step)) => step
                .parse()
                .map(Over::Checkpoint)
                .map_err(|_| self.fail(written, text!("error-case/file/step-checkpoint-number"))),
            Some(("file", name)) if !name.is_empty() => Ok(Over::File(self.path(written, name)?)),
            _ => Err(self.fail(written, forms)),
        }
    }

    /// A model: a path, or an address of a network.
    fn model<T>(&self, at: &Spanned<T>, written: &str) -> Result<Location> {
        let address = Location { written: written.to_owned(), path: written.into() };
        match address.scheme().map(str::to_ascii_lowercase).as_deref() {
            None if !self.models => Ok(Location { path: self.folder.join(written), ..address }),
            None => self.path(at, written),
            Some("hf" | "https" | "http" | "s3" | "gs" | "az" | "made") => Ok(address),
            Some("file") => self.path(at, &written[7..]),
            Some(scheme) => Err(self.fail(at, text!("error-case/file/no-model-address", scheme))),
        }
    }

    /// Something that can only be on this computer.
    fn existing(&self, written: &Spanned<String>) -> Result<Location> {
        if let Some((scheme, _)) = written.get_ref().split_once("://") {
            return Err(self.fail(written, text!("error-case/file/addresses-not-read-yet-give", scheme)));
        }
        self.path(written, written.get_ref())
    }

    fn path<T>(&self, at: &Spanned<T>, written: &str) -> Result<Location> {
        let location = Location { written: written.to_owned(), path: self.folder.join(written) };
        if location.path.exists() {
            Ok(location)
        } else {
            Err(self.fail(at, text!("error-case/file/no-such-file-or", written, hub = is_hub_name(written))))
        }
    }
}

/// One entry of the list of checkpoints.
fn listed(number: usize, entry: &toml::Value) -> Result<Listed, String> {
    let of = |message: &str| format!("checkpoint {} of the list: {message}", number + 1);
    let entry = RawCheckpoint::deserialize(entry.clone()).map_err(|e| of(&e.message().replace('\n', " ")))?;
    if let Some(way) = entry.averaged.as_ref().filter(|way| !is_average(way)) {
        return Err(of(&unknown_average(way).to_string()));
    }
    if let Some(saved) = entry.saved.as_ref().map(text_of).filter(|saved| !is_day(saved)) {
        return Err(of(&text!("error-case/file/no-date", text = saved).to_string()));
    }
    Ok(Listed {
        step: entry.step,
        written: entry.model,
        tokens: entry.tokens,
        saved: entry.saved.as_ref().map(text_of),
        averaged: entry.averaged,
    })
}

/// How weights may be declared to be averaged over steps.
const AVERAGES: [&str; 3] = ["ema", "swa", "lawa"];

fn is_average(way: &str) -> bool {
    AVERAGES.contains(&way)
}

fn unknown_average(way: &str) -> Text {
    text!("error-case/file/no-average", way, known = AVERAGES.join(", "))
}

/// Whether a text is a day (`2026-10-02`) or an RFC 3339 time.
fn is_day(text: &str) -> bool {
    let plain = text.len() == 10 && chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").is_ok();
    plain || chrono::DateTime::parse_from_rfc3339(text).is_ok()
}

/// A TOML date keeps its own spelling; anything else is shown as TOML.
fn text_of(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "schema = 1\n[subject]\nmodel = \"m\"\n";

    fn read(text: &str) -> Result<Case> {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [
            "m",
            "p",
            "ckpt/step-0",
            "ckpt/step-20",
            "ckpt/step-100",
            "ckpt/notes",
            "twice/step-1",
            "twice/step-01",
            "odd/0B",
            "odd/10.49B",
        ] {
            std::fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        let path = folder.path().join("case.toml");
        std::fs::write(&path, text).expect("a file");
        Case::read(&path)
    }

    fn message(text: &str) -> String {
        let error = read(text).expect_err("a refusal");
        assert!(error.is_usage(), "{error:?}");
        let message = error.to_string();
        assert!(!message.contains('\n') && message.contains("case.toml"), "{message}");
        let korean = error.say(scratchproof_texts::Language::Korean);
        assert!(korean.chars().any(|c| ('가'..='힣').contains(&c)), "no Korean of {message}");
        message
    }

    #[test]
    fn a_pattern_is_expanded_in_the_order_of_steps() {
        let case = read("schema = 1\n[subject]\ncheckpoints = \"ckpt/step-{step}\"\n").expect("a case");
        let steps: Vec<_> = case.subject.checkpoints.iter().map(|c| c.step).collect();
        assert_eq!(steps, [Some(0), Some(20), Some(100)]);
        assert_eq!(case.subject.checkpoints[1].location.written, "ckpt/step-20");
    }

    #[test]
    fn a_release_may_be_a_text_a_toml_date_or_a_table() {
        for (released, at) in [
            ("\"2026-10-02\"", "2026-10-02"),
            ("2026-10-02T08:00:00Z", "2026-10-02T08:00:00Z"),
            ("{ at = \"2026-10-02\", grade = \"platform\", source = \"https://example.org\" }", "2026-10-02"),
        ] {
            let case = read(&format!("{SMALL}[[parent]]\nname = \"P\"\nmodel = \"p\"\nreleased = {released}\n"))
                .expect("a case");
            let release = case.parents[0].released.clone().expect("a release");
            assert_eq!((release.at.as_str(), release.line), (at, 7));
        }
    }

    #[test]
    fn a_model_may_be_an_address_and_a_log_one_of_the_tracker() {
        let list = "schema = 1\n[subject]\ncheckpoints = [{ step = 0, model = \"hf://o/n@r\" }, { step = 9, model = \"m\" }]\n";
        let case =
            read(&format!("{list}[[parent]]\nname = \"P\"\nmodel = \"https://example.org/m/\"\n")).expect("a case");
        let first = &case.subject.checkpoints[0].location;
        assert_eq!((first.written.as_str(), first.scheme()), ("hf://o/n@r", Some("hf")));
        assert!(case.subject.checkpoints[1].location.scheme().is_none());
        assert_eq!(case.parents[0].location.path.to_str(), Some("https://example.org/m/"));
        let pattern = read("schema = 1\n[subject]\ncheckpoints = \"https://o/n/{step}\"\n").expect("a case");
        assert!(pattern.subject.pattern.is_some() && pattern.subject.checkpoints.is_empty());
        let log = read(&format!("{SMALL}[[run]]\nlog = \"wandb://lab/project/run\"\n")).expect("a case");
        assert_eq!(log.runs[0].location.scheme(), Some("wandb"));
        for (text, part) in [
            ("model = \"ftp://host/x\"".to_owned(), "ftp:// addresses are not read; give"),
            ("model = \"m\"\n[[run]]\nlog = \"https://example.org/log\"".to_owned(), "give a local path"),
        ] {
            let message = message(&format!("schema = 1\n[subject]\n{text}\n"));
            assert!(message.contains("line ") && message.contains(part), "{message}");
        }
    }

    #[test]
    fn every_mistake_is_one_sentence_with_its_line() {
        for (text, parts) in [
            ("schema = 2\n[subject]\nmodel = \"m\"\n".to_owned(), vec!["line 1", "schema = 1"]),
            ("schema = 1\n[subject]\nmodel = \"nowhere\"\n".to_owned(), vec!["line 3", "no such file", "nowhere"]),
            (format!("{SMALL}\n[polcy]\n"), vec!["line 5", "polcy"]),
            (format!("{SMALL}[policy]\nconclusive = 1\n"), vec!["conclusive"]),
            (format!("{SMALL}[policy]\nconclusive_log10_p = 3.0\n"), vec!["conclusive_log10_p", "3"]),
            (format!("{SMALL}[policy]\nprofile = \"kr\"\n"), vec!["[policy]", "no profile `kr`", "kr-sovereign-ai"]),
            (
                format!("{SMALL}[[parent]]\nname = \"a\"\nmodel = \"p\"\n[[control]]\nname = \"a\"\nmodel = \"p\"\n"),
                vec!["line 8", "this name"],
            ),
            (
                "schema = 1\n[subject]\ncheckpoints = \"ckpt/none-{step}\"\n".to_owned(),
                vec!["line 3", "matches nothing"],
            ),
            ("schema = 1\n[subject]\ncheckpoints = \"ckpt\"\n".to_owned(), vec!["line 3", "{step}"]),
            (
                "schema = 1\n[subject]\ncheckpoints = \"twice/step-{step}\"\n".to_owned(),
                vec!["line 3", "step 1", "twice"],
            ),
            (
                "schema = 1\n[subject]\ncheckpoints = [{step = 1, model = \"m\"}, {step = 1, model = \"p\"}]\n"
                    .to_owned(),
                vec!["line 3", "step 1"],
            ),
            (format!("{SMALL}averaged = \"foo\"\n"), vec!["line 4", "foo", "ema, swa, lawa"]),
            (format!("{SMALL}[subject.init]\nstd = -1\n"), vec!["line 5", "-1", "above 0"]),
            (format!("{SMALL}[subject.init]\nstd = inf\n"), vec!["line 5", "inf"]),
            (
                format!("{SMALL}[claim]\nstatement = \"from-scratch\"\ndate = \"2026-13-45\"\n"),
                vec!["line 6", "2026-13-45"],
            ),
            (
                "schema = 1\n[subject]\ncheckpoints = [{step = 1, model = \"m\", saved = \"May\"}]\n".to_owned(),
                vec!["line 3", "checkpoint 1", "May"],
            ),
            (
                "schema = 1\n[subject]\ncheckpoints = [{step = 1, model = \"m\", averaged = \"no\"}]\n".to_owned(),
                vec!["line 3", "checkpoint 1", "ema"],
            ),
            (
                "schema = 1\n[subject]\ncheckpoints = \"odd/{step}B\"\n".to_owned(),
                vec!["line 3", "odd/{step}B", "10.49B", "tokens a count"],
            ),
            (format!("{SMALL}[[run]]\nlog = \"m\"\nkeys = {{ los = \"x\" }}\n"), vec!["line 6", "los"]),
            (
                format!("{SMALL}[repository]\ngit = \"m\"\nkeys = [\n\"p\",\n\"gone.asc\"]\n"),
                vec!["line 8", "gone.asc"],
            ),
            (format!("{SMALL}[repository]\ngit = \"m\"\nallowed_signers = \"none\"\n"), vec!["line 6", "none"]),
            ("schema = 1\n[subject\n".to_owned(), vec!["line 2"]),
            ("schema = 1\n[subject]\n".to_owned(), vec!["checkpoints"]),
        ] {
            let message = message(&text);
            for part in parts {
                assert!(message.contains(part), "{message} lacks {part}");
            }
        }
    }

    #[test]
    fn usual_slips_have_sentences_of_their_own() {
        let run = message(&format!("{SMALL}[run]\nlog = \"m\"\n"));
        assert!(run.contains("line 4: [run] must be [[run]]"), "{run}");
        let hub = message("schema = 1\n[subject]\nmodel = \"meta-llama/Llama-3.1-8B\"\n");
        assert!(hub.contains("write hf://meta-llama/Llama-3.1-8B"), "{hub}");
        assert!(!message("schema = 1\n[subject]\nmodel = \"../gone\"\n").contains("hf://"));
        let folder = tempfile::tempdir().expect("a folder");
        let told = || Case::read(folder.path()).expect_err("a folder").to_string();
        assert!(told().contains("scratchproof init"), "{}", told());
        std::fs::write(folder.path().join("case.toml"), SMALL).expect("written");
        assert!(told().ends_with("/case.toml"), "{}", told());
        std::fs::write(folder.path().join("report.json"), "{}").expect("written");
        assert!(told().contains("scratchproof report"), "{}", told());
    }

    #[test]
    fn a_witness_says_what_it_is_over() {
        let case = read(&format!(
            "{SMALL}[[witness]]\nproof = \"p\"\n\n[[witness]]\nproof = \"hf://a/b\"\nover = \"tag:v1:2\"\nroots = [\"m\"]\n\
             [[witness]]\nproof = \"p\"\nover = \"commit:ABCDEF0\"\nheaders = \"p\"\n[[witness]]\nproof = \"p\"\nover = \"checkpoint:20\"\n\
             [[witness]]\nproof = \"p\"\nover = \"file:ckpt/notes\"\n"
        ))
        .expect("a case");
        let over: Vec<_> = case.witnesses.iter().map(|w| w.over.clone()).collect();
        assert_eq!(
            over[..4],
            [None, Some(Over::Tag("v1:2".into())), Some(Over::Commit("abcdef0".into())), Some(Over::Checkpoint(20))]
        );
        assert!(matches!(&over[4], Some(Over::File(place)) if place.written == "ckpt/notes"));
        assert_eq!((case.witnesses[0].line, case.witnesses[1].roots.len()), (5, 1));
        for (entry, word) in [
            ("proof = \"none.tsr\"", "no such file"),
            ("proof = \"s3://a/b\"", "not read"),
            ("proof = \"p\"\nover = \"commit:xyz\"", "seven or more"),
            ("proof = \"p\"\nover = \"checkpoint:last\"", "number"),
            ("proof = \"p\"\nover = \"branch:main\"", "must be"),
            ("proof = \"p\"\nover = \"file:none\"", "no such file"),
            ("proof = \"p\"\nroots = [\"none\"]", "no such file"),
        ] {
            let message = message(&format!("{SMALL}[[witness]]\n{entry}\n"));
            assert!(message.contains(word) && message.contains(" line "), "{message}");
        }
    }
}
