//! The register of releases: dates of the parents, and the known models of these sizes that nobody proposed.

use chrono::{DateTime, NaiveDate, Utc};

use super::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_record::Release;
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
        let parent = &listed.parent;
        let said = |release: &Release| {
            let source = release.source.as_deref().unwrap_or("no source");
            format!("{} ({}, {source})", release.when(), release.trust)
        };
        let message = match (&listed.given, &listed.register, &listed.hub) {
            (Some(given), Some(register), _) => {
                let differ = match given.differs(register) {
                    Some(words) => format!("The case file's date is {words}, and it is the one used"),
                    None => "The two do not contradict each other; the case file's is used".into(),
                };
                format!(
                    "{parent} became public {} by the case file, {} by the register. {differ}.",
                    given.when(),
                    said(register)
                )
            }
            (Some(_), None, _) => continue,
            (None, Some(register), _) => {
                let notes = register.notes.join("; ");
                format!("The case file gives no date for {parent}; the register has {}. {notes}.", said(register))
            }
            (None, None, hub) => {
                let age = match facts.newest.map(|newest| newest.date_naive()).filter(|newest| *newest > facts.until) {
                    Some(newest) => format!(
                        " The register ends with {}, and the newest fact of this case is of {newest}: a release in between is not in it",
                        facts.until
                    ),
                    None => format!(" It ends with {}, later than anything in this case", facts.until),
                };
                let hub = hub.as_ref().map_or(String::new(), |hub| {
                    format!(" Its hub repository gives a floor: {}, {}.", said(hub), hub.notes.join("; "))
                });
                format!(
                    "The case file gives no date for {parent}, and the register of releases does not know it.{age}.{hub}"
                )
            }
        };
        let mut finding = Finding::new(Code::TimeReleaseDate, Grade::Context, Direction::Neutral, message);
        finding.subject.parent = Some(parent.clone());
        finding.evidence = Some(RELEASES.into());
        to.push(finding);
    }
}

/// Which known public models of these sizes came before the run.
pub fn earlier_models(to: &mut Judgement, facts: &RegisterFacts<'_>) {
    let compared = facts.held.iter().filter(|held| held.sizes.len() > 2).count();
    if compared == 0 {
        to.missing.push("sizes of the model, to hold against known models".into());
        return;
    }
    let of = |relation| -> Vec<&Held> {
        facts.held.iter().filter(|held| held.relation == relation && held.before != Before::No).collect()
    };
    let groups = [Relation::Equal, Relation::Deeper, Relation::Vocabulary].map(of);
    let words = [
        "all sizes equal that both have on record",
        "this hidden size and these heads, and fewer layers",
        "this vocabulary and other sizes",
    ];
    let mut sentences = Vec::new();
    for ((group, words), chance) in groups.iter().zip(words).zip(facts.chances) {
        let names: Vec<String> = group.iter().take(NAMED).map(|held| named(held)).collect();
        let more = if group.len() > NAMED { format!(" and {} more", group.len() - NAMED) } else { String::new() };
        let names = if names.is_empty() { String::new() } else { format!(": {}{more}", names.join(", ")) };
        sentences.push(format!(
            "With {words}: {}{names} (by chance {} of {} pairs of models by different makers in the register)",
            group.len(),
            chance.hits,
            chance.pairs
        ));
    }
    let open = groups[..2].iter().flatten().filter(|held| !held.proposed).count();
    let before = match facts.start {
        Some(start) => format!("that were or may have been public before {}", start.format("%Y-%m-%d %H:%M UTC")),
        None => "whose dates cannot be held against the run, as its start is not known".into(),
    };
    let beyond = match (facts.start, facts.until) {
        (Some(start), until) if start.date_naive() > until => {
            format!(" The register ends with {until}: models of the time between it and the run are not in it.")
        }
        _ => String::new(),
    };
    let message = format!(
        "Of {} known models, {compared} have three or more sizes on record that this model has too. Models {before}. {}. {open} of the first two kinds \
         are not named in the case. Equal sizes are a choice that many make; they are no evidence of descent.{beyond}",
        facts.held.len(),
        sentences.join(". ")
    );
    let mut finding = Finding::new(Code::TimeEarlierModels, Grade::Context, Direction::Neutral, message);
    finding.statistic = Some(open as f64);
    finding.n = Some(compared as u64);
    finding.null = "two models of the register by different makers, neither the parent of the other".into();
    finding.evidence = Some(RELEASES.into());
    to.push(finding);
}

fn named(held: &Held) -> String {
    let equal: Vec<&str> = held.sizes.iter().filter(|(_, equal)| *equal).map(|(name, _)| *name).collect();
    let state = match held.before {
        Before::Unsettled => ", not settled whether before",
        _ => "",
    };
    let proposed = if held.proposed { ", in the case" } else { "" };
    format!("{} ({}{state}; {}{proposed})", held.row.name, held.row.released, equal.join(", "))
}
