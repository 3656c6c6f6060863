//! The register of releases against a case.

use chrono::{DateTime, SecondsFormat, Utc};

use super::Reading;
use scratchproof_evidence::ReleaseRow;
use scratchproof_finding::time::{Listed, RegisterFacts};
use scratchproof_measurements::Model;
use scratchproof_record::{Freeze, settings};
use scratchproof_timeline::register::Chance;
use scratchproof_timeline::{Held, Register, Relation, Shape};

/// The register held against a subject.
pub struct Against<'a> {
    register: Register,
    held: Vec<Held>,
    start: Option<DateTime<Utc>>,
    newest: Option<DateTime<Utc>>,
    listed: &'a [Listed],
    chances: [Chance; 3],
}

impl<'a> Against<'a> {
    /// `subject` is the final checkpoint, as far as it could be opened.
    pub fn new(reading: &'a Reading, subject: Option<&Model>) -> Option<Self> {
        let register = Register::built_in().ok()?;
        let own = subject.and_then(|subject| subject.config.as_ref()).and_then(settings::from_json);
        let size = |size: usize| (size > 0).then_some(size as u64);
        let tensors = subject.map_or(Shape::default(), |subject| Shape {
            hidden_size: subject.hidden_size.and_then(size),
            layers: size(subject.layers),
            vocab_size: subject.vocab_size.and_then(size),
            experts: size(subject.experts),
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

    pub fn facts(&self) -> RegisterFacts<'_> {
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
pub fn rows(reading: &Reading, subject: Option<&Model>) -> Vec<ReleaseRow> {
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
