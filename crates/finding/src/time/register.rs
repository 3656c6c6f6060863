//! The register of releases: dates of the parents, and the known models of these sizes that nobody proposed.

use chrono::{DateTime, NaiveDate, Utc};

use super::order::{released, trust};
use super::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_record::Release;
use scratchproof_texts::{Text, text};
use scratchproof_timeline::register::{Before, Chance};
use scratchproof_timeline::{Held, Relation};

const RELEASES: &str = "evidence/releases.parquet";
/// Models named in one sentence, at most.
const NAMED: usize = 8;

/// The dates of one parent.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The parent, as the case file calls it.
    pub parent: String,
    /// The case file's date.
    pub given: Option<Release>,
    /// The register's date.
    pub register: Option<Release>,
    /// What its hub says, where neither knows it.
    pub hub: Option<Release>,
}

/// What the register says of a case.
#[derive(Clone, Copy, Debug)]
pub struct RegisterFacts<'a> {
    /// What came after this day is not in it.
    pub until: NaiveDate,
    /// The newest dated fact of the case itself.
    pub newest: Option<DateTime<Utc>>,
    /// The parents.
    pub listed: &'a [Listed],
    /// All rows, held against the subject's sizes and the start of the run.
    pub held: &'a [Held],
    /// The start they were held against.
    pub start: Option<DateTime<Utc>>,
    /// How often models by different makers have all sizes equal, and how often one looks grown from the other.
    pub chances: [Chance; 3],
}

/// Which date of every parent is used, and how far the others are from it.
pub fn parents(to: &mut Judgement, facts: &RegisterFacts<'_>) {
    for listed in facts.listed {
        let parent = listed.parent.as_str();
        let said = |release: &Release| {
            let (when, trust) = (released(release), trust(release.trust));
            text!("time/release-date/said", when, trust, source = release.source.clone())
        };
        let message = match (&listed.given, &listed.register, &listed.hub) {
            (Some(given), Some(register), _) => {
                let days = given.apart(register);
                text!("time/release-date/both", parent, given = released(given), register = said(register), days)
            }
            (Some(_), None, _) => continue,
            (None, Some(register), _) => {
                let notes = register.notes.clone();
                text!("time/release-date/register", parent, register = said(register), notes)
            }
            (None, None, hub) => {
                let newest = facts.newest.map(|newest| newest.date_naive()).filter(|newest| *newest > facts.until);
                text!(
                    "time/release-date/unknown",
                    parent,
                    until = facts.until.to_string(),
                    newest = newest.map(|newest| newest.to_string()),
                    hub = hub.as_ref().map(said),
                    notes = hub.as_ref().map(|hub| hub.notes.clone()).unwrap_or_default()
                )
            }
        };
        let mut finding = Finding::new(Code::TimeReleaseDate, Grade::Context, Direction::Neutral, message);
        finding.subject.parent = Some(parent.to_owned());
        finding.evidence = Some(RELEASES.into());
        to.push(finding);
    }
}

/// Which known public models of these sizes came before the run.
pub fn earlier_models(to: &mut Judgement, facts: &RegisterFacts<'_>) {
    let compared = facts.held.iter().filter(|held| held.sizes.len() > 2).count();
    if compared == 0 {
        to.missing.push(text!("time/earlier-models/missing"));
        return;
    }
    let of = |relation| -> Vec<&Held> {
        facts.held.iter().filter(|held| held.relation == relation && held.before != Before::No).collect()
    };
    let groups = [Relation::Equal, Relation::Deeper, Relation::Vocabulary].map(of);
    let kinds = ["equal", "deeper", "vocabulary"];
    let of = |((group, kind), chance): ((&Vec<&Held>, &str), Chance)| {
        text!(
            "time/earlier-models/group",
            kind,
            count = group.len(),
            models = group.iter().take(NAMED).map(|held| named(held)).collect::<Vec<_>>(),
            more = group.len().saturating_sub(NAMED),
            hits = chance.hits,
            pairs = chance.pairs
        )
    };
    let found: Vec<Text> = groups.iter().zip(kinds).zip(facts.chances).map(of).collect();
    let open = groups[..2].iter().flatten().filter(|held| !held.proposed).count();
    let until = facts.start.filter(|start| start.date_naive() > facts.until).map(|_| facts.until.to_string());
    let message = text!(
        "time/earlier-models/finding",
        known = facts.held.len(),
        compared,
        start = facts.start.map(|start| start.format("%Y-%m-%d %H:%M UTC").to_string()),
        found,
        open,
        until
    );
    let mut finding = Finding::new(Code::TimeEarlierModels, Grade::Context, Direction::Neutral, message);
    finding.statistic = Some(open as f64);
    finding.n = Some(compared as u64);
    finding.null = text!("time/earlier-models/null");
    finding.evidence = Some(RELEASES.into());
    to.push(finding);
}

fn named(held: &Held) -> Text {
    let equal: Vec<&str> = held.sizes.iter().filter(|(_, equal)| *equal).map(|(name, _)| *name).collect();
    text!(
        "time/earlier-models/model",
        name = held.row.name.as_str(),
        released = held.row.released.as_str(),
        unsettled = held.before == Before::Unsettled,
        equal,
        proposed = held.proposed
    )
}
