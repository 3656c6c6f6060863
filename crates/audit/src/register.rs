//! The register of releases against a case.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};

use super::record::Reading;
use scratchproof_case::{Case, Reference};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;
use scratchproof_evidence::ReleaseRow;
use scratchproof_finding::time::{Listed, RegisterFacts};
use scratchproof_record::{Freeze, Release, settings};
use scratchproof_source::{Access, fetch};
use scratchproof_timeline::register::{Chance, from_hub};
use scratchproof_timeline::{Held, Register, Relation, Shape};

/// What a hub says of one model, at most.
const LONGEST: usize = 8 << 20;

/// The dates of every parent: the case file's, otherwise the register's, otherwise the floor that its hub gives.
pub(super) fn listed(case: &Case, given: &[(String, Option<Release>)], access: Access) -> Result<Vec<Listed>> {
    let register = Register::built_in()?;
    let one = |(parent, (name, given)): (&Reference, &(String, Option<Release>))| {
        let row = register.find(name, &parent.location.written);
        let mut found = row.map(scratchproof_timeline::register::Row::release).transpose()?;
        if let Some(found) = &mut found {
            found.name.clone_from(name);
        }
        let hub = if given.is_none() && found.is_none() { hub(parent, access) } else { None };
        Ok(Listed { parent: name.clone(), given: given.clone(), register: found, hub })
    };
    case.parents.iter().zip(given).map(one).collect()
}

/// Ids in the register of the parents and controls that the case names.
pub(super) fn proposed(case: &Case) -> Result<BTreeSet<String>> {
    let register = Register::built_in()?;
    let named = case.parents.iter().chain(&case.controls);
    let rows = named.filter_map(|reference| register.find(&reference.name, &reference.location.written));
    Ok(rows.map(|row| row.id.clone()).collect())
}

/// The date that counts.
pub(super) fn used(listed: &Listed) -> Option<&Release> {
    listed.given.as_ref().or(listed.register.as_ref()).or(listed.hub.as_ref())
}

/// When the hub's repository was created. The model itself was read from there; what it does not say of it is no error.
fn hub(parent: &Reference, access: Access) -> Option<Release> {
    let written = &parent.location.written;
    if access.offline || !parent.location.scheme().is_some_and(|scheme| scheme.eq_ignore_ascii_case("hf")) {
        return None;
    }
    let about: serde_json::Value = serde_json::from_slice(&fetch::about(written, access, LONGEST).ok()?).ok()?;
    let created = DateTime::parse_from_rfc3339(about.get("createdAt")?.as_str()?).ok()?;
    Some(from_hub(&parent.name, created.to_utc(), written.clone()))
}

/// The register held against a subject.
pub(super) struct Against<'a> {
    register: Register,
    held: Vec<Held>,
    start: Option<DateTime<Utc>>,
    newest: Option<DateTime<Utc>>,
    listed: &'a [Listed],
    chances: [Chance; 3],
}

impl<'a> Against<'a> {
    /// `subject` is the final checkpoint, as far as it could be opened.
    pub(super) fn new(reading: &'a Reading, subject: Option<&Checkpoint>) -> Option<Self> {
        let register = Register::built_in().ok()?;
        let own = subject.and_then(|subject| subject.config.as_ref()).and_then(settings::from_json);
        let size = |size: usize| (size > 0).then_some(size as u64);
        let tensors = subject.map_or(Shape::default(), |subject| Shape {
            hidden_size: subject.hidden_size().and_then(size),
            layers: size(subject.layers()),
            vocab_size: subject.vocab_size().and_then(size),
            experts: size(subject.experts()),
            ..Shape::default()
        });
        let shape = Shape::of(own.as_ref(), tensors);
        let start = start(reading, own.as_ref());
        Some(Self {
            held: register.hold(&shape, start, &reading.proposed),
            start,
            newest: newest(reading),
            listed: &reading.listed,
            chances: [Relation::Equal, Relation::Deeper, Relation::Vocabulary]
                .map(|relation| register.chance(relation)),
            register,
        })
    }

    pub(super) fn facts(&self) -> RegisterFacts<'_> {
        RegisterFacts {
            until: self.register.until,
            newest: self.newest,
            listed: self.listed,
            held: &self.held,
            start: self.start,
            chances: self.chances,
        }
    }
}

/// The start of the earliest run, otherwise the freeze.
fn start(reading: &Reading, own: Option<&settings::Settings>) -> Option<DateTime<Utc>> {
    let runs = reading.record.runs.iter().filter_map(|run| run.started_at).min();
    runs.or_else(|| match reading.record.repository.as_ref()?.freeze(own?) {
        Freeze::Since { commit, .. } | Freeze::Past { from: commit, .. } => Some(commit.committer.at),
        _ => None,
    })
}

/// The newest dated fact of the case itself: never the clock of the audit, whose report must not depend on its day.
fn newest(reading: &Reading) -> Option<DateTime<Utc>> {
    let runs = &reading.record.runs;
    let logged = runs.iter().filter_map(|run| run.logged_between().map(|(_, last)| last));
    let started = runs.iter().filter_map(|run| run.started_at);
    let commits = reading.record.repository.iter().flat_map(|r| r.commits.iter().map(|commit| commit.committer.at));
    logged.chain(started).chain(commits).max()
}

/// Every row of the register against this case.
pub(super) fn rows(reading: &Reading, subject: Option<&Checkpoint>) -> Vec<ReleaseRow> {
    let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let row = |held: &Held| {
        let names = |wanted: bool| -> String {
            let some: Vec<&str> =
                held.sizes.iter().filter(|(_, equal)| *equal == wanted).map(|(name, _)| *name).collect();
            some.join(", ")
        };
        ReleaseRow {
            id: held.row.id.clone(),
            name: held.row.name.clone(),
            maker: held.row.maker.clone(),
            released: held.row.released.clone(),
            not_before: (held.release.open != scratchproof_record::Open::Start).then(|| text(held.release.at.earliest)),
            not_after: text(held.release.at.latest),
            grade: held.release.trust.name().to_owned(),
            source: held.row.source.clone(),
            relation: held.relation.name().to_owned(),
            equal: names(true),
            unequal: names(false),
            before_start: held.before.name().to_owned(),
            proposed: held.proposed,
        }
    };
    Against::new(reading, subject).map_or(Vec::new(), |against| against.held.iter().map(row).collect())
}
