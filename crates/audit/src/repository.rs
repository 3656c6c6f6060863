//! The repository of a case: what is looked for in it, and what it gave, as tables.

use std::fs::File;
use std::io::Read;

use super::inputs;
use super::record::Reading;
use scratchproof_case::{Case, Location};
use scratchproof_evidence::{Evidence, MentionRow, SettingRow, SignatureRow};
use scratchproof_record::git::{MentionKind, Sought, Validity};
use scratchproof_record::{Repository, Run, git};
use scratchproof_report::{Input, InputRole, Skipped};

/// A configuration of a parent is not larger.
const CONFIGURATION: u64 = 4 << 20;

/// Reads the repository. `config` is `config.json` of the last checkpoint.
pub(super) fn read(
    case: &Case,
    config: Option<&serde_json::Value>,
    runs: &[Run],
    reading: &mut Reading,
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
            reading.inputs.push(Input {
                role: InputRole::Repository,
                name: repository.head.clone().unwrap_or_default(),
                uri: entry.location.written.clone(),
                sha256: repository.digest.clone(),
                bytes: repository.commits.len() as u64,
            });
            let files = repository.key_files.iter();
            reading.inputs.extend(files.map(|file| inputs::of(file, named(file.written.clone()))));
            Some(repository)
        }
        Err(error) => {
            let why = named(error.to_string());
            reading
                .skipped
                .push(Skipped { tensor: format!("(repository {})", entry.location.written), why: why.clone() });
            reading.unreadable = Some(why);
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
    File::open(path).ok()?.take(CONFIGURATION).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Adds the tables.
pub(super) fn tables(repository: Option<&Repository>, to: &mut Evidence) {
    let Some(repository) = repository else { return };
    let history = repository.settings_history().into_iter().map(|change| SettingRow {
        commit: change.commit,
        at: change.at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        path: change.path,
        place: change.place,
        line: change.line.and_then(|line| u32::try_from(line).ok()),
        name: change.name,
        value: change.value,
        former: change.former,
    });
    to.settings = history.collect();
    let mentions = repository.mentions.iter().map(|mention| MentionRow {
        kind: match mention.kind {
            MentionKind::Name => "name",
            MentionKind::Loads => "loads",
            MentionKind::Starts => "starts",
            MentionKind::Constant => "constant",
        }
        .to_owned(),
        text: mention.text.clone(),
        parent: mention.parent.clone(),
        path: mention.path.clone(),
        line: mention.line,
        place: mention.place.words().to_owned(),
        first: mention.first.clone(),
        gone: mention.gone.clone(),
        main: mention.main,
    });
    to.mentions = mentions.collect();
    let signatures = repository.signatures.iter().map(|signature| {
        let (result, words) = match &signature.validity {
            Validity::Good(who) => ("good", who.as_str()),
            Validity::Refused(why) => ("refused", why.as_str()),
            Validity::Bad => ("bad", "it does not fit what it stands on"),
            Validity::UnknownKey(print) => ("unknown-key", print.as_str()),
            Validity::Unverified(why) => ("unverified", why.as_str()),
        };
        SignatureRow {
            object: signature.object.clone(),
            tag: signature.tag.clone(),
            kind: signature.kind.name().to_owned(),
            result: result.to_owned(),
            words: words.to_owned(),
        }
    });
    to.signatures = signatures.collect();
}
