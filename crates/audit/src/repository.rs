//! The repository of a case: what is looked for in it.

use std::io::Read as _;

use super::read::{Read, input};
use scratchproof_case::{Case, Location};
use scratchproof_record::git::Sought;
use scratchproof_record::{Repository, Run, git};
use scratchproof_report::{Input, InputRole, Skipped};

/// A configuration of a parent is not larger.
const CONFIGURATION: u64 = 4 << 20;

/// Reads the repository. `config` is `config.json` of the last checkpoint.
pub(super) fn read(
    case: &Case,
    config: Option<&serde_json::Value>,
    runs: &[Run],
    read: &mut Read,
) -> Option<Repository> {
    let entry = case.repository.as_ref()?;
    let options = git::Options {
        settings: entry.settings.clone(),
        wanted: runs.iter().filter_map(|run| run.commit.clone()).collect(),
        sought: sought(case, config),
        allowed_signers: entry.allowed_signers.as_ref().map(|file| file.path.clone()),
        keys: entry.keys.iter().map(|key| key.path.clone()).collect(),
        ..git::Options::default()
    };
    let named = |text: String| {
        let places = std::iter::once(&entry.location).chain(entry.allowed_signers.iter()).chain(entry.keys.iter());
        places.fold(text, |text, place| text.replace(&place.path.display().to_string(), &place.written))
    };
    match Repository::read(&entry.location.path, &options) {
        Ok(mut repository) => {
            repository.source.clone_from(&entry.location.written);
            read.inputs.push(Input {
                role: InputRole::Repository,
                name: repository.head.clone().unwrap_or_default(),
                uri: entry.location.written.clone(),
                sha256: repository.digest.clone(),
                bytes: repository.commits.len() as u64,
            });
            let files = repository.key_files.iter();
            read.inputs.extend(files.map(|file| input(file, named(file.written.clone()))));
            Some(repository)
        }
        Err(error) => {
            let why = named(error.to_string());
            read.skipped.push(Skipped { tensor: format!("(repository {})", entry.location.written), why: why.clone() });
            read.reading.unreadable = Some(why);
            None
        }
    }
}

/// Names of the parents, and numbers of theirs that the subject has not.
fn sought(case: &Case, config: Option<&serde_json::Value>) -> Sought {
    let mut sought = Sought::default();
    for parent in &case.parents {
        sought.name(&parent.name, &parent.name);
        if parent.location.scheme() == Some("hf") {
            sought.name(&parent.name, &parent.location.written);
        }
        if let Some(theirs) = configuration(&parent.location) {
            if let Some(id) =
                theirs.get("_name_or_path").and_then(serde_json::Value::as_str).filter(|id| id.len() < 200)
            {
                sought.name(&parent.name, id);
            }
            sought.configuration(&parent.name, &theirs, config);
        }
    }
    sought
}

/// The configuration beside a model on this computer.
fn configuration(location: &Location) -> Option<serde_json::Value> {
    let path = location.path.join("config.json");
    if location.scheme().is_some() || !path.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    scratchproof_source::plain::open(&path).ok()?.take(CONFIGURATION).read_to_end(&mut bytes).ok()?;
    scratchproof_checkpoint::read_settings(&bytes).ok()
}
