//! What lies in a folder.

use std::cmp::Ordering::Equal;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use scratchproof_case::{last_part, named, passed_over};
use scratchproof_checkpoint::{Checkpoint, is_trainers};
use scratchproof_record::{logs, losses};

use super::names::{COUNT, counted_out, numbered};
use super::{Found, Saved};

/// So deep is looked.
pub const DEPTH: usize = 4;
/// Most entries of all folders together that are looked at.
const ENTRIES: usize = 50_000;
/// Most checkpoints that are opened.
const OPENED: usize = 10_000;
/// The largest export of a run log that is read to see whether it is one.
const EXPORT: u64 = 64 << 20;
/// The name of a format stands in so many bytes: the first line of a ledger has at most as many.
const HEAD: usize = 1 << 20;
/// The name that a recipe gives its format.
const RECIPE: &str = "scratchproof.init-recipe/";
/// The name that a ledger gives its format.
const LEDGER: &str = "\"scratchproof.ledger/";

/// Files that hold weights, by the end of their names.
const WEIGHTS: [&str; 8] = ["safetensors", "bin", "pt", "pth", "ckpt", "gguf", "npz", "onnx"];

/// Folders inside of a checkpoint that hold parts of it, by a part of their names.
const PARTS: [&str; 6] = ["rank", "snapshots", "weights", "consolidated", "dist", "pytorch_model_fsdp"];

/// A series, by where it is and what stands around the step.
type Group = (String, String, String);

struct Walk<'a> {
    root: &'a Path,
    found: Found,
    groups: BTreeMap<Group, Vec<Saved>>,
    /// Folders with a `trainer_state.json` inside of one of their own, and those states.
    states: BTreeMap<String, Vec<Saved>>,
    /// Tensors and numbers of what was opened.
    sizes: BTreeMap<String, (usize, usize)>,
    entries: usize,
    opened: usize,
}

/// Everything that is found.
pub fn walk(root: &Path) -> Found {
    let mut walk = Walk {
        root,
        found: Found::default(),
        groups: BTreeMap::new(),
        states: BTreeMap::new(),
        sizes: BTreeMap::new(),
        entries: 0,
        opened: 0,
    };
    walk.folder("", 0);
    walk.finish()
}

/// The repository that a folder is inside of, as a path from it; not its own.
pub fn around(folder: &Path) -> Option<String> {
    let mut up = String::from("..");
    for place in folder.ancestors().skip(1).take(DEPTH) {
        if place.join(".git").exists() {
            return Some(up);
        }
        up.push_str("/..");
    }
    None
}

impl Walk<'_> {
    fn place(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.to_owned() } else { self.root.join(path) }
    }

    /// Names in a folder, in order; links are left out, so that nothing is met twice and no circle is walked.
    fn names(&mut self, path: &str) -> (Vec<String>, Vec<String>) {
        let (mut folders, mut files) = (Vec::new(), Vec::new());
        let Ok(entries) = std::fs::read_dir(self.place(path)) else { return (folders, files) };
        for entry in entries.flatten() {
            self.entries += 1;
            if self.entries > ENTRIES {
                self.found.cut = true;
                break;
            }
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(name),
                Ok(kind) if kind.is_file() => files.push(name),
                _ => {}
            }
        }
        folders.sort();
        files.sort();
        (folders, files)
    }

    fn folder(&mut self, path: &str, depth: usize) {
        let (folders, files) = self.names(path);
        let here = if path.is_empty() { "." } else { path };
        if folders.iter().any(|name| name == ".git")
            || files.iter().any(|name| name == ".git")
            || is_bare(&folders, &files)
        {
            self.found.repositories.push(here.to_owned());
            if is_bare(&folders, &files) {
                return;
            }
        }
        self.records(path, &files);
        self.weights(path, &files);
        for name in folders {
            let inner = joined(path, &name);
            if name.starts_with('.') || name == "__pycache__" || name == "node_modules" {
                continue;
            }
            if self.run(&inner) || self.checkpoint(path, &name, &inner) {
                continue;
            }
            if depth < DEPTH {
                self.folder(&inner, depth + 1);
            } else {
                self.found.cut = true;
            }
        }
    }

    /// Logs, recipes and proofs among the files of a folder.
    fn records(&mut self, path: &str, files: &[String]) {
        let events = files.iter().any(|name| name.contains("tfevents"));
        if events && logs::open(&self.place(path)).is_ok() {
            self.found.runs.push(if path.is_empty() { ".".to_owned() } else { path.to_owned() });
        }
        for name in files {
            let inner = joined(path, name);
            let place = self.place(&inner);
            let small = std::fs::metadata(&place).is_ok_and(|about| about.len() <= EXPORT);
            match name.rsplit_once('.').map(|(_, end)| end) {
                Some("wandb") if logs::open(&place).is_ok() => self.found.runs.push(inner),
                Some("jsonl") if begins_with(&place, LEDGER) => {
                    self.found.ledger = self.found.ledger.take().or(Some(inner));
                }
                Some("parquet") if small && losses(&place).is_ok() => {
                    self.found.loss = self.found.loss.take().or(Some(inner));
                }
                Some("csv" | "jsonl" | "parquet") if small && has_loss(&place) => self.found.runs.push(inner),
                Some("tsr" | "ots") => self.found.proofs.push(inner),
                Some("json") if self.found.recipe.is_none() && begins_with(&place, RECIPE) => {
                    self.found.recipe = Some(inner);
                }
                _ => {}
            }
        }
    }

    /// A folder of one W&B run.
    fn run(&mut self, path: &str) -> bool {
        let name = last_part(path);
        let named = name.starts_with("offline-run-") || name.starts_with("run-");
        let is_run = named && logs::open(&self.place(path)).is_ok();
        if is_run {
            self.found.runs.push(path.to_owned());
        }
        is_run
    }

    /// Whether a folder is a checkpoint; it is kept as what its name says.
    fn checkpoint(&mut self, parent: &str, name: &str, path: &str) -> bool {
        if !self.likely(path) || self.is_series(path) {
            return false;
        }
        if !self.opens(path) {
            return false;
        }
        self.keep(parent, name, path);
        if self.place(path).join("trainer_state.json").is_file()
            && let Some(numbered) = numbered(name)
        {
            let state = Saved { step: numbered.step, path: format!("{path}/trainer_state.json") };
            self.states.entry(parent.to_owned()).or_default().push(state);
        }
        true
    }

    /// Checkpoints that are files: a series of them, or one model. The shards of one model are opened together.
    fn weights(&mut self, path: &str, files: &[String]) {
        let weights: Vec<&String> = files.iter().filter(|name| is_weights(name)).collect();
        let steps = weights.iter().filter(|name| numbered(name).is_some()).count();
        if path.is_empty() && steps == 0 && !weights.is_empty() {
            // The folder itself is a model: where a trainer saved the last one.
            if self.opens("") {
                self.found.models.push(".".to_owned());
            }
            return;
        }
        if !path.is_empty() && steps < 2 && weights.len() != steps {
            return;
        }
        for name in weights {
            let inner = joined(path, name);
            if numbered(name).is_some() && self.opens(&inner) {
                self.keep(path, name, &inner);
            }
        }
    }

    fn keep(&mut self, parent: &str, name: &str, path: &str) {
        let lower = name.to_ascii_lowercase();
        if lower.starts_with("control") {
            self.found.controls.push(path.to_owned());
        } else if lower.starts_with("parent") || lower == "base" || lower.starts_with("base-model") {
            self.found.parents.push(path.to_owned());
        } else if let Some(numbered) = numbered(name) {
            let (before, after) = (counted_out(numbered.before, true), counted_out(numbered.after, false));
            let group = (parent.to_owned(), before, after);
            self.groups.entry(group).or_default().push(Saved { step: numbered.step, path: path.to_owned() });
        } else {
            self.found.models.push(path.to_owned());
        }
    }

    /// Whether files with weights lie in a folder, or in folders of ranks or of parts inside of it.
    fn likely(&mut self, path: &str) -> bool {
        let (folders, files) = self.names(path);
        let holds = |files: &[String]| files.iter().any(|name| is_weights(name) || name.ends_with(".distcp"));
        let own = numbered(last_part(path)).is_some();
        holds(&files)
            || folders.iter().take(64).any(|name| {
                let lower = name.to_ascii_lowercase();
                // A folder around several of `global_step100` is a series; one inside of `checkpoint-100` is that step's.
                let part = PARTS.iter().any(|part| lower.contains(part)) || (own && lower.starts_with("global_step"));
                part && holds(&self.names(&joined(path, name)).1)
                    && !self.place(&joined(path, name)).join("config.json").is_file()
            })
    }

    /// Whether the files of a folder are the checkpoints of several steps.
    fn is_series(&mut self, path: &str) -> bool {
        let (_, files) = self.names(path);
        files.iter().filter(|name| is_weights(name) && numbered(name).is_some()).count() > 1
    }

    fn opens(&mut self, path: &str) -> bool {
        self.opened += 1;
        if self.opened > OPENED {
            self.found.cut = true;
            return false;
        }
        match Checkpoint::open(&self.place(path)) {
            Ok(checkpoint) => {
                let numbers = checkpoint.tensors.iter().map(scratchproof_checkpoint::TensorRecord::elements).sum();
                self.sizes.insert(path.to_owned(), (checkpoint.tensors.len(), numbers));
                !checkpoint.tensors.is_empty()
            }
            Err(error) => {
                self.found.broken.push((if path.is_empty() { "." } else { path }.to_owned(), error.to_string()));
                false
            }
        }
    }

    fn finish(mut self) -> Found {
        for saved in self.groups.values_mut() {
            saved.sort();
        }
        // Two checkpoints of one step are no series; the longest is the training's, of equal ones the first by name.
        let distinct = |saved: &[Saved]| saved.windows(2).all(|two| two[0].step != two[1].step);
        let mut groups: Vec<(Group, Vec<Saved>)> =
            std::mem::take(&mut self.groups).into_iter().filter(|(_, saved)| distinct(saved)).collect();
        groups.sort_by_key(|(_, saved)| std::cmp::Reverse(saved.len()));
        let mut groups = groups.into_iter();
        if let Some((group, saved)) = groups.next() {
            self.found.pattern = self.pattern(&group, &saved);
            self.found.series = saved;
        }
        for (group, saved) in groups {
            let first = saved.first().map(|saved| saved.path.clone()).unwrap_or_default();
            let shown = self.pattern(&group, &saved).unwrap_or(first);
            self.found.other_series.push(shown);
        }
        self.counted();
        // Of models that are told apart by a count alone (`0B`, `10.49B`) the one with the most is the last.
        if counts(&self.found.models).is_some_and(|counts| counts.len() > 1) {
            self.found
                .models
                .sort_by(|a, b| count(b).map(|b| b.1).partial_cmp(&count(a).map(|a| a.1)).unwrap_or(Equal));
        }
        self.trainer_states();
        self.found.runs.sort();
        self.found.runs.dedup();
        self.found
    }

    /// Models of equal sizes in one folder that a count with a unit alone tells apart are the checkpoints of a training, where
    /// there is no other series: thousands of steps (`10k`), or tokens (`10.49B`). Models of other sizes (`7B`, `13B`) are not.
    fn counted(&mut self) {
        if !self.found.series.is_empty() {
            return;
        }
        let Found { models, .. } = &self.found;
        let parent = |path: &str| path.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned());
        let Some(first) = models.first() else { return };
        let one = self.sizes.get(first);
        let alike = |path: &String| parent(path) == parent(first) && self.sizes.get(path) == one;
        if models.len() < 2 || one.is_none() || !models.iter().all(alike) {
            return;
        }
        let name = |path: &String| last_part(path).to_owned();
        let around = |path: &String| {
            let name = name(path);
            let from = name.find(|c: char| c.is_ascii_digit())?;
            let rest = &name[from..];
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let unit = rest[end..].chars().next().filter(|unit| "kKMBT".contains(*unit))?;
            let after = &rest[end + 1..];
            (!after.starts_with(|c: char| c.is_ascii_alphanumeric()))
                .then(|| (name[..from].to_owned(), unit, after.to_owned()))
        };
        let Some(places) = models.iter().map(around).collect::<Option<Vec<_>>>() else { return };
        let (before, unit, after) = &places[0];
        if !places.iter().all(|(b, _, a)| (b, a) == (before, after)) {
            return;
        }
        let thousands = places.iter().all(|(_, unit, _)| matches!(unit, 'k' | 'K'));
        let part = match thousands {
            true => format!("{before}{{step}}{unit}{after}"),
            false if places.iter().all(|(_, other, _)| other == unit) => format!("{before}{{tokens}}{unit}{after}"),
            false => format!("{before}{{tokens}}{after}"),
        };
        let step = |path: &String| Some(Saved { step: named(&name(path), &part)?.0, path: path.clone() });
        let Some(mut saved) = models.iter().map(step).collect::<Option<Vec<_>>>() else { return };
        saved.sort();
        if saved.windows(2).any(|two| two[0].step == two[1].step) {
            return;
        }
        let (inside, (folders, files)) = (parent(first), self.names(&parent(first)));
        let all = folders.iter().chain(&files).filter(|name| named(name, &part).is_some()).count();
        self.found.pattern = (all == saved.len() && !part.contains('*')).then(|| joined(&inside, &part));
        self.found.series = saved;
        self.found.models.clear();
    }

    /// The states that a trainer saved with every checkpoint: the folder around them, which gives all of them and every
    /// other log below it, so that none of those is named twice.
    fn trainer_states(&mut self) {
        for (folder, mut states) in std::mem::take(&mut self.states) {
            states.sort();
            let here = if folder.is_empty() { "." } else { &folder };
            if logs::open(&self.place(&folder)).is_ok_and(|runs| runs.iter().any(|run| !run.loss().is_empty())) {
                let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
                // An export of a table is not among what a folder is looked through for.
                let export =
                    |run: &str| ["csv", "jsonl", "parquet"].iter().any(|end| run.ends_with(&format!(".{end}")));
                self.found.runs.retain(|run| export(run) || (run != here && !run.starts_with(&below)));
                self.found.runs.push(here.to_owned());
            } else if let Some(last) = states.pop() {
                self.found.runs.push(last.path);
            }
        }
    }

    /// The pattern that a series has, if it matches these checkpoints and nothing else.
    fn pattern(&mut self, (parent, before, after): &Group, saved: &[Saved]) -> Option<String> {
        // A count beside the step differs from one checkpoint to the next: no pattern says that.
        let plain = |text: &str| !text.contains(['{', '}', '*', COUNT]);
        if !plain(parent) || !plain(before) || !plain(after) {
            return None;
        }
        let (folders, files) = self.names(parent);
        let part = format!("{before}{{step}}{after}");
        let names = || folders.iter().chain(&files).map(String::as_str);
        let all = names().filter(|name| named(name, &part).is_some()).count();
        (all == saved.len() && passed_over(names(), &part).is_none()).then(|| joined(parent, &part))
    }
}

/// The count in the last part of a path, with what stands around it: `10.49` of `hf_ckpt/10.49B`.
fn count(path: &str) -> Option<(String, f64)> {
    let name = last_part(path);
    let from = name.find(|c: char| c.is_ascii_digit())?;
    let rest = &name[from..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let number = rest[..end].trim_end_matches('.');
    let around = format!("{}{COUNT}{}", &name[..from], &rest[number.len()..]);
    Some((around, number.parse().ok()?))
}

/// The counts of models that nothing but a count tells apart.
fn counts(models: &[String]) -> Option<Vec<f64>> {
    let counted = models.iter().map(|path| count(path)).collect::<Option<Vec<(String, f64)>>>()?;
    let same = counted.windows(2).all(|two| two[0].0 == two[1].0);
    same.then(|| counted.into_iter().map(|(_, count)| count).collect())
}

fn joined(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }
}

fn is_bare(folders: &[String], files: &[String]) -> bool {
    let has = |names: &[String], wanted: &str| names.iter().any(|name| name == wanted);
    has(files, "HEAD") && has(folders, "objects") && has(folders, "refs")
}

fn is_weights(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.rsplit_once('.').is_some_and(|(_, end)| WEIGHTS.contains(&end)) && !is_trainers(&lower)
}

/// Whether a table is a run log: it has a loss.
fn has_loss(path: &Path) -> bool {
    logs::open(path).is_ok_and(|runs| runs.iter().any(|run| !run.loss().is_empty()))
}

/// Whether the format that a file names at its beginning is this one.
fn begins_with(path: &Path, format: &str) -> bool {
    use std::io::Read;
    let mut head = Vec::with_capacity(HEAD);
    let read = std::fs::File::open(path).and_then(|file| file.take(HEAD as u64).read_to_end(&mut head));
    read.is_ok() && String::from_utf8_lossy(&head).contains(format)
}
