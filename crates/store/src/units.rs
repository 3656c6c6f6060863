//! Units of work that were done elsewhere: a folder that any number of workers write to.
//!
//! A unit is a JSON file `NAME.json` with the digests of its tables and of its value, written last; a file that is there is
//! whole. Workers need no lock: two that do the same unit write the same bytes. What a worker needs and was not asked for lies
//! as `needed-NAME.json`: others that share its folder find it there, and a reduction never takes it for a unit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{LONGEST, VERSION, lock, tables};
use scratchproof_error::hexadecimal::hex;
use scratchproof_error::json::fits;
use scratchproof_error::{Context, Error, Result};
use scratchproof_folder::{alone, sweep, whole};
use scratchproof_measure::{Journal, Piece, Stored};
use scratchproof_measurements::KERNEL_VERSION;
use scratchproof_source::plain;
use scratchproof_texts::{Text, text};

/// What stands in the JSON file of a unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct UnitFile {
    version: u32,
    kernels: u32,
    pub piece: String,
    pub key: String,
    pub models: Vec<String>,
    /// SHA-256 of the tables of sums and of rows, where there are any.
    tables: [Option<String>; 2],
    /// SHA-256 of the value.
    sha256: String,
    value: serde_json::Value,
}

/// What was done before a plan was written, and the units that it asks for.
#[derive(Debug, Serialize, Deserialize)]
pub struct PlanFile {
    /// `scratchproof.plan/2`
    pub schema: String,
    /// Version of the kernels.
    pub kernels: u32,
    /// The case file, as it was given; relative to the folder of the plan if it is not absolute.
    pub case: PathBuf,
    /// SHA-256 of the case file.
    pub case_sha256: String,
    /// What of the case is used, where not all of it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<serde_json::Value>,
    /// The units, in the order in which they are folded.
    pub units: Vec<PlannedUnit>,
    /// What the units rest on.
    pub done: BTreeMap<String, Done>,
}

/// One unit of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedUnit {
    /// Its name.
    pub name: String,
    /// Hash of everything that decides it: kernels, rules, headers of its models, places of their bytes.
    pub key: String,
    /// Bytes that are read for it, about.
    pub bytes: u64,
    /// Where its models are.
    pub models: Vec<String>,
    /// Names of the units that it rests on. A worker that does not find them in its folder makes them too.
    pub after: Vec<String>,
    /// Its tensors, where it is over some.
    pub tensors: Vec<PlannedTensor>,
}

/// One tensor of a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedTensor {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// By model that has it: number among the plan's models, file, first byte and the one after the last.
    pub ranges: Vec<(usize, usize, u64, u64)>,
}

/// A piece that was done when the plan was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    key: String,
    value: serde_json::Value,
}

/// Name of the plan's form.
pub const PLAN: &str = "scratchproof.plan/2";

impl PlanFile {
    /// Reads a plan.
    ///
    /// # Errors
    /// If it is none, or of another version of the kernels.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let bytes = plain::read(path, LONGEST)?;
        fits(&bytes).context(|| shown.clone())?;
        let plan: Self = serde_json::from_slice(&bytes).map_err(|cause| {
            Error::input(text!("error-store/units/no-plan", cause = cause.to_string())).context(&*shown)
        })?;
        if plan.schema != PLAN || plan.kernels != KERNEL_VERSION {
            return Err(Error::input(text!(
                "error-store/units/plan-version-kernels-tool",
                schema = &plan.schema,
                kernels = &plan.kernels,
                plan = PLAN,
                kernel_version = KERNEL_VERSION
            ))
            .context(shown));
        }
        Ok(plan)
    }

    /// Writes the plan, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(|cause| Error::input(cause.to_string()))?;
        alone(path, &text)
    }
}

/// Remembers the pieces that are done while a plan is made.
#[derive(Default)]
pub struct Memory(Mutex<BTreeMap<String, Done>>);

impl Memory {
    /// What was done.
    #[must_use]
    pub fn done(self) -> BTreeMap<String, Done> {
        self.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Journal for Memory {
    fn keeps(&self) -> bool {
        true
    }

    fn get(&self, _: &Piece) -> Result<Option<Stored>> {
        Ok(None)
    }

    fn put(&self, piece: &Piece, stored: &Stored) -> Result<()> {
        let done = Done { key: piece.key.clone(), value: stored.value.clone() };
        lock(&self.0).insert(piece.name.clone(), done);
        Ok(())
    }
}

/// The units of a plan in a folder.
pub struct Units<'a> {
    plan: &'a PlanFile,
    /// Where new ones are written.
    folder: PathBuf,
    /// Where all are, by name: in the folder or in one below it.
    places: BTreeMap<String, PathBuf>,
    /// The units that a worker was asked for; none of a reduction, which wants all and makes none.
    own: Option<BTreeSet<String>>,
    counts: [AtomicUsize; 2],
}

impl<'a> Units<'a> {
    /// For a worker that was asked for some of them: what is there is taken, what is lacking is done.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn to_do(plan: &'a PlanFile, own: &[PlannedUnit], folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|cause| Error::io(folder.display(), cause))?;
        sweep(folder);
        let places = plan.units.iter().map(|unit| (unit.name.clone(), folder.to_owned())).collect();
        let own = Some(own.iter().map(|unit| unit.name.clone()).collect());
        Ok(Self { plan, folder: folder.to_owned(), places, own, counts: Default::default() })
    }

    /// For a reduction: every unit must be there, once.
    ///
    /// # Errors
    /// If one is lacking, or there twice.
    pub fn all(plan: &'a PlanFile, folder: &Path) -> Result<Self> {
        let entries = fs::read_dir(folder).map_err(|cause| Error::io(folder.display(), cause))?;
        let below = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
        let folders: Vec<PathBuf> = std::iter::once(folder.to_owned()).chain(below).collect();
        let mut places = BTreeMap::new();
        for unit in &plan.units {
            let file = format!("{}.json", unit.name);
            let mut found = folders.iter().filter(|folder| folder.join(&file).is_file());
            match (found.next(), found.next()) {
                (Some(place), None) => {
                    places.insert(unit.name.clone(), place.clone());
                }
                (None, _) => {
                    let at = plan.units.iter().position(|other| other.name == unit.name).unwrap_or(0);
                    return Err(Error::usage(text!(
                        "error-store/units/unit-lacking-worker-only",
                        at,
                        name = &unit.name
                    )));
                }
                (Some(one), Some(other)) => {
                    let (one, other) = (one.display(), other.display());
                    return Err(Error::usage(text!("error-store/units/unit-twice", name = &unit.name, one, other)));
                }
            }
        }
        Ok(Self { plan, folder: folder.to_owned(), places, own: None, counts: Default::default() })
    }

    /// Units that were there, and that were done.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let [there, done] = &self.counts;
        (there.load(Ordering::Relaxed), done.load(Ordering::Relaxed))
    }

    /// A unit that is in no plan, or not as it was planned.
    fn planned(&self, piece: &Piece) -> Result<Option<Stored>> {
        let changed = || {
            let models = piece.models.join(", ");
            Error::usage(text!("error-store/units/not-what-plan-says", name = &piece.name, models))
        };
        if let Some(done) = self.plan.done.get(&piece.name) {
            if done.key != piece.key {
                return Err(changed());
            }
            return Ok(Some(Stored { value: done.value.clone(), ..Stored::default() }));
        }
        match self.plan.units.iter().find(|unit| unit.name == piece.name) {
            Some(unit) if unit.key != piece.key => Err(changed()),
            _ => Ok(None),
        }
    }

    /// Whether a worker was asked for a unit.
    fn is_own(&self, name: &str) -> bool {
        self.own.as_ref().is_some_and(|own| own.contains(name))
    }

    /// A unit, whether it was asked for or only needed.
    fn read(&self, piece: &Piece) -> Result<Option<Stored>> {
        let Some(stored) = self.read_as(piece, &piece.name)? else {
            let needed = if self.own.is_some() { self.read_as(piece, &needed(&piece.name))? } else { None };
            if let Some(stored) = needed.as_ref().filter(|_| self.is_own(&piece.name)) {
                self.put(piece, stored)?;
            }
            return Ok(needed);
        };
        self.counts[0].fetch_add(usize::from(self.is_own(&piece.name)), Ordering::Relaxed);
        Ok(Some(stored))
    }

    fn read_as(&self, piece: &Piece, stem: &str) -> Result<Option<Stored>> {
        let Some(place) = self.places.get(&piece.name) else { return Ok(None) };
        let path = place.join(format!("{stem}.json"));
        if !path.is_file() {
            return Ok(None);
        }
        let shown = || path.display().to_string();
        let bad = |why: Text| Error::input(text!("error-store/units/remove-let-worker-do", why)).context(shown());
        let bytes = plain::read(&path, LONGEST)?;
        fits(&bytes).context(shown)?;
        let unit: UnitFile = serde_json::from_slice(&bytes)
            .map_err(|cause| bad(text!("error-store/units/unit-damaged", cause = cause.to_string())))?;
        if (unit.version, unit.kernels) != (VERSION, KERNEL_VERSION) {
            return Err(bad(text!("error-store/units/unit-another-version")));
        }
        if unit.piece != piece.name || unit.key != piece.key {
            return Err(bad(text!("error-store/units/unit-another-plan")));
        }
        if digest(&unit.value)? != unit.sha256 {
            return Err(bad(text!("error-store/units/unit-altered")));
        }
        let mut stored = Stored { value: unit.value, ..Stored::default() };
        for (end, sha256) in ["sums", "rows"].into_iter().zip(unit.tables) {
            let Some(sha256) = sha256 else { continue };
            let bytes = plain::read(&place.join(format!("{stem}-{end}.parquet")), LONGEST)?;
            if hex(&Sha256::digest(&bytes)) != sha256 {
                return Err(bad(text!("error-store/units/table-altered", end)));
            }
            match end {
                "sums" => stored.sums = tables::sums_from_bytes(bytes).context(shown)?,
                _ => stored.rows = tables::rows_from_bytes(bytes).context(shown)?,
            }
        }
        Ok(Some(stored))
    }
}

impl Journal for Units<'_> {
    fn keeps(&self) -> bool {
        true
    }

    fn get(&self, piece: &Piece) -> Result<Option<Stored>> {
        if let Some(done) = self.planned(piece)? {
            return Ok(Some(done));
        }
        let found = self.read(piece)?;
        let asked = self.places.contains_key(&piece.name);
        if found.is_none() && asked && self.own.is_none() {
            return Err(Error::usage(text!("error-store/units/unit-lacking", name = &piece.name)));
        }
        Ok(found)
    }

    fn put(&self, piece: &Piece, stored: &Stored) -> Result<()> {
        // What is made in a reduction, the products, is kept by its store.
        if self.own.is_none() {
            return Ok(());
        }
        let own = self.is_own(&piece.name);
        let stem = if own { piece.name.clone() } else { needed(&piece.name) };
        let mut written = [None, None];
        let sums = || tables::sums_to_bytes(&stored.sums);
        let rows = || tables::rows_to_bytes(&stored.rows);
        let wanted = [!stored.sums.is_empty(), !stored.rows.is_empty()];
        for (which, end) in ["sums", "rows"].into_iter().enumerate().filter(|(which, _)| wanted[*which]) {
            let bytes = if which == 0 { sums()? } else { rows()? };
            whole(&self.folder.join(format!("{stem}-{end}.parquet")), &bytes)?;
            written[which] = Some(hex(&Sha256::digest(&bytes)));
        }
        let unit = UnitFile {
            version: VERSION,
            kernels: KERNEL_VERSION,
            piece: piece.name.clone(),
            key: piece.key.clone(),
            models: piece.models.clone(),
            tables: written,
            sha256: digest(&stored.value)?,
            value: stored.value.clone(),
        };
        let text = serde_json::to_vec(&unit).map_err(|cause| Error::input(cause.to_string()))?;
        whole(&self.folder.join(format!("{stem}.json")), &text)?;
        self.counts[1].fetch_add(usize::from(own), Ordering::Relaxed);
        Ok(())
    }
}

/// The name of what was needed for a unit that was asked for.
fn needed(name: &str) -> String {
    format!("needed-{name}")
}

/// Takes from the first, keeps in the second.
pub struct Then<'a, 'b>(pub &'a Units<'b>, pub &'a super::Store<'b>);

impl Journal for Then<'_, '_> {
    fn keeps(&self) -> bool {
        true
    }

    fn get(&self, piece: &Piece) -> Result<Option<Stored>> {
        match self.0.get(piece)? {
            // In the store as well: the folder is then what an audit on one machine leaves.
            Some(stored) => {
                if self.1.get(piece)?.is_none() {
                    self.1.put(piece, &stored)?;
                }
                Ok(Some(stored))
            }
            None => self.1.get(piece),
        }
    }

    fn put(&self, piece: &Piece, stored: &Stored) -> Result<()> {
        self.1.put(piece, stored)
    }
}

fn digest(value: &serde_json::Value) -> Result<String> {
    let text = serde_json::to_vec(value).map_err(|cause| Error::input(cause.to_string()))?;
    Ok(hex(&Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use scratchproof_measure::journal::SUMS;
    use serde_json::json;

    fn piece(name: &str, key: &str) -> Piece {
        Piece { name: name.into(), key: key.into(), models: vec!["m".into()] }
    }

    fn plan(names: &[&str]) -> PlanFile {
        let unit = |name: &&str| PlannedUnit {
            name: (*name).into(),
            key: format!("key-{name}"),
            bytes: 1,
            models: vec!["m".into()],
            after: Vec::new(),
            tensors: Vec::new(),
        };
        let done = Done { key: "key-done".into(), value: json!(5) };
        PlanFile {
            schema: PLAN.into(),
            kernels: KERNEL_VERSION,
            case: "case.toml".into(),
            case_sha256: String::new(),
            choice: None,
            units: names.iter().map(unit).collect(),
            done: BTreeMap::from([("done".into(), done)]),
        }
    }

    fn stored() -> Stored {
        Stored { value: json!({ "a": [1, 0.1] }), sums: vec![(0, SUMS[0], 0.5)], rows: vec![(0, 1, 0.25)] }
    }

    #[test]
    fn what_a_worker_did_is_taken_and_what_it_only_needed_is_no_unit() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(&["a", "b"]);
        let worker = Units::to_do(&plan, &plan.units[..1], dir.path()).unwrap();
        assert_eq!(worker.get(&piece("done", "key-done")).unwrap().unwrap().value, json!(5));
        for name in ["a", "b"] {
            let own = piece(name, &format!("key-{name}"));
            assert_eq!(worker.get(&own).unwrap(), None);
            worker.put(&own, &stored()).unwrap();
            assert_eq!(worker.get(&own).unwrap(), Some(stored()));
        }
        assert_eq!(worker.counts(), (1, 1), "b was needed, not asked for");
        let why = Units::all(&plan, dir.path()).err().expect("b is lacking");
        assert!(why.is_usage() && why.to_string().contains('b'), "{why}");
        let below = dir.path().join("other");
        Units::to_do(&plan, &plan.units[1..], &below).unwrap().put(&piece("b", "key-b"), &stored()).unwrap();
        let all = Units::all(&plan, dir.path()).unwrap();
        assert_eq!(all.get(&piece("b", "key-b")).unwrap(), Some(stored()));
        // A reduction writes none.
        all.put(&piece("c", "x"), &stored()).unwrap();
        assert!(!dir.path().join("c.json").exists());
        fs::copy(dir.path().join("a.json"), below.join("a.json")).unwrap();
        assert!(Units::all(&plan, dir.path()).err().expect("twice").to_string().contains("other"));
    }

    #[test]
    fn what_was_planned_otherwise_or_altered_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(&["a"]);
        let worker = Units::to_do(&plan, &plan.units, dir.path()).unwrap();
        assert!(worker.get(&piece("done", "other")).unwrap_err().is_usage());
        assert!(worker.get(&piece("a", "other")).unwrap_err().is_usage());
        let own = piece("a", "key-a");
        worker.put(&own, &stored()).unwrap();
        let path = dir.path().join("a.json");
        let good = fs::read_to_string(&path).unwrap();
        for (from, to) in [
            ("0.1", "0.2"),
            ("\"key-a\"", "\"key-b\""),
            ("\"piece\":\"a\"", "\"piece\":\"b\""),
            (&format!("\"version\":{VERSION}"), "\"version\":99"),
            ("{", "["),
            ("\"models\"", "\"model\""),
        ] {
            assert!(good.contains(from), "{from}");
            fs::write(&path, good.replacen(from, to, 1)).unwrap();
            let why = worker.get(&own).unwrap_err().to_string();
            assert!(why.contains("a.json"), "{from}: {why}");
        }
        fs::write(&path, &good).unwrap();
        for end in ["sums", "rows"] {
            let table = dir.path().join(format!("a-{end}.parquet"));
            let bytes = fs::read(&table).unwrap();
            let mut bad = bytes.clone();
            bad[bytes.len() / 2] ^= 1;
            fs::write(&table, bad).unwrap();
            assert!(worker.get(&own).unwrap_err().to_string().contains(end));
            fs::remove_file(&table).unwrap();
            assert!(worker.get(&own).is_err(), "{end} is gone");
            fs::write(&table, bytes).unwrap();
        }
        assert_eq!(worker.get(&own).unwrap(), Some(stored()));
    }

    #[test]
    fn a_plan_of_another_version_is_no_plan() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.json");
        plan(&["a"]).write(&path).unwrap();
        assert_eq!(PlanFile::read(&path).unwrap().units, plan(&["a"]).units);
        let good = fs::read_to_string(&path).unwrap();
        for (from, to) in
            [(PLAN, "scratchproof.plan/9"), ("\"kernels\": ", "\"kernels\": 9"), ("\"units\"", "\"unit\""), ("{", "")]
        {
            fs::write(&path, good.replacen(from, to, 1)).unwrap();
            assert!(PlanFile::read(&path).unwrap_err().to_string().contains("p.json"), "{from}");
        }
        assert!(PlanFile::read(dir.path()).is_err(), "a folder");
    }
}
