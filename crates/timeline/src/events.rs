//! Everything dated, as rows on one clock.

use std::collections::BTreeSet;

use crate::order::{Clock, Moment};
use crate::{Sources, Story};
use scratchproof_record::git::SettingsChange;
use scratchproof_record::git::short;
use scratchproof_record::{Covered, Event, Freeze, Lookup, Repository, Run, Trust};

/// All the record says.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The runs, as given.
    pub runs: Vec<Run>,
    /// The repository, if there is one that can be read.
    pub repository: Option<Repository>,
    /// Every dated fact, in order of time.
    pub events: Vec<Event>,
    /// The facts that must stand in an order, with the orders.
    pub story: Story,
}

impl Record {
    /// Puts the facts on one clock: runs and repository, and what `told` has beside them.
    pub fn new(runs: Vec<Run>, repository: Option<Repository>, told: &Sources<'_>) -> Self {
        let sources = &Sources { runs: &runs, repository: repository.as_ref(), ..*told };
        let story = Story::new(sources);
        let mut events: Vec<Event> = story.orders.moments().iter().filter_map(of_moment).collect();
        events.extend(sources.repository.iter().flat_map(|repository| of_repository(repository, sources)));
        events.sort_by(|a, b| (a.at, a.until, &a.what, &a.source).cmp(&(b.at, b.until, &b.what, &b.source)));
        events.dedup();
        Self { runs, repository, events, story }
    }

    /// Puts more facts on the clock.
    pub fn add(&mut self, mut events: Vec<Event>) {
        self.events.append(&mut events);
        self.events.sort_by(|a, b| (a.at, a.until, &a.what, &a.source).cmp(&(b.at, b.until, &b.what, &b.source)));
        self.events.dedup();
    }
}

/// A moment as a row. What is only known to have happened by a time stands at that time.
fn of_moment(moment: &Moment) -> Option<Event> {
    let (at, until) = match (moment.earliest, moment.latest) {
        (Some(at), Some(until)) => (at, Some(until).filter(|until| *until > at)),
        (at, until) => (at.or(until)?, None),
    };
    // Every commit has a row of its own.
    (moment.clock != Clock::Commits).then(|| Event {
        at,
        until,
        what: moment.what.clone(),
        source: moment.source.clone(),
        grade: moment.trust,
        minor: false,
    })
}

/// Changes of sizes that are shown as events; all of them stand in `evidence/settings.parquet`.
const SETTINGS: usize = 2000;

fn size(change: &SettingsChange) -> String {
    let name = &change.name;
    match (change.former, change.value) {
        (Some(former), Some(value)) => format!("{name} {former} to {value}"),
        (None, Some(value)) => format!("{name} {value}"),
        (_, None) => format!("{name} gone"),
    }
}

/// Commits that something is said of: the first and the last one, HEAD, tags, what runs name, what a witness covers, first and
/// last mentions of other models, changes of sizes, the freeze.
fn spoken_of<'a>(
    repository: &'a Repository,
    sources: &'a Sources<'_>,
    changes: &'a [SettingsChange],
    freeze: Option<&Freeze<'a>>,
) -> BTreeSet<&'a str> {
    let ends = [repository.commits.first(), repository.commits.last(), repository.oldest()];
    let mut ids: BTreeSet<&str> = ends.into_iter().flatten().map(|commit| commit.id.as_str()).collect();
    ids.extend(repository.head.as_deref());
    ids.extend(repository.tags.iter().map(|(_, commit)| commit.as_str()));
    ids.extend(changes.iter().map(|change| change.commit.as_str()));
    ids.extend(
        repository
            .mentions
            .iter()
            .flat_map(|mention| [Some(&mention.first), mention.gone.as_ref()])
            .flatten()
            .map(String::as_str),
    );
    ids.extend(sources.existed.iter().filter_map(|existed| match &existed.what {
        Covered::Commit(id) => Some(id.as_str()),
        Covered::Checkpoint(_) => None,
    }));
    let named = sources.runs.iter().filter_map(|run| run.commit.as_deref());
    ids.extend(named.filter_map(|id| match repository.commit(id) {
        Lookup::Found(commit) => Some(commit.id.as_str()),
        _ => None,
    }));
    match freeze {
        Some(Freeze::Since { commit, .. }) => ids.extend([commit.id.as_str()]),
        Some(Freeze::Past { from, until, .. }) => ids.extend([from.id.as_str(), until.id.as_str()]),
        _ => {}
    }
    ids
}

fn of_repository(repository: &Repository, sources: &Sources<'_>) -> Vec<Event> {
    let last = sources.settings;
    let event = |at, what: String| Event {
        at,
        until: None,
        what,
        source: repository.source.clone(),
        grade: Trust::SelfAsserted,
        minor: false,
    };
    let mut changes = repository.settings_history();
    changes.truncate(SETTINGS);
    let freeze = last.map(|last| repository.freeze(last));
    let spoken = spoken_of(repository, sources, &changes, freeze.as_ref());
    let commits = repository.commits.iter().map(|commit| {
        let short = short(&commit.id);
        let minor = !spoken.contains(commit.id.as_str());
        Event { minor, ..event(commit.committer.at, format!("commit {short}: {}", commit.summary)) }
    });
    let mut events: Vec<Event> = commits.collect();
    for change in changes.chunk_by(|a, b| (&a.commit, &a.path, &a.place) == (&b.commit, &b.path, &b.place)) {
        let Some(first) = change.first() else { continue };
        let sizes: Vec<String> = change.iter().map(size).collect();
        let place = if first.place.is_empty() { String::new() } else { format!(" ({})", first.place) };
        events.push(event(first.at, format!("{}{place}: {}", first.path, sizes.join(", "))));
    }
    match freeze {
        Some(Freeze::Since { commit, path }) => {
            events.push(event(commit.committer.at, format!("{path} has the final architecture from here on")));
        }
        Some(Freeze::Past { from, until, path }) => {
            events.push(event(from.committer.at, format!("{path} has the final architecture")));
            events.push(event(until.committer.at, format!("{path} leaves the final architecture")));
        }
        _ => {}
    }
    events
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::{Record, Sources};
    use scratchproof_record::Release;
    use scratchproof_record::{Run, Trust};

    #[test]
    fn events_are_in_order_whatever_their_source() {
        let start = "2026-08-02T00:00:00Z".parse().unwrap();
        let mut run = Run { id: "abc".into(), started_at: Some(start), ..Run::default() };
        run.history.push(0, "_timestamp", "1785628900.5");
        run.history.push(1, "_timestamp", "1785632400");
        let day = Release::new("P", "2026-08-02", Trust::Platform, Some("page".into())).unwrap();
        let record = Record::new(vec![run], None, &Sources { releases: &[day], ..Sources::default() });
        let words: Vec<_> = record.events.iter().map(|event| event.what.as_str()).collect();
        let last = "run abc logged its last row; no end is on record";
        assert_eq!(words, ["P became public", "run abc started", "run abc logged its first row", last]);
        assert!(record.events[0].until.is_some() && record.events[0].grade == Trust::Platform);
        assert_eq!(record.events[2].at.to_rfc3339(), "2026-08-02T00:01:40.500+00:00");
    }
}
