//! Everything dated, as rows on one clock.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Freeze, Release, Repository, Run, Settings, Trust};

/// One row of `evidence/timeline.parquet`: something happened at `at`, or at some time between `at` and `until`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Event {
    pub at: DateTime<Utc>,
    pub until: Option<DateTime<Utc>>,
    /// What happened, in words.
    pub what: String,
    /// What says so: a log, a repository, a page.
    pub source: String,
    pub grade: Trust,
}

/// All the record says.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The runs, as given.
    pub runs: Vec<Run>,
    /// The repository, if there is one that can be read.
    pub repository: Option<Repository>,
    /// Every dated fact, in order of time.
    pub events: Vec<Event>,
}

impl Record {
    /// Puts the facts on one clock. `last` holds the settings of the final checkpoint, if known.
    pub fn new(runs: Vec<Run>, repository: Option<Repository>, releases: &[Release], last: Option<&Settings>) -> Self {
        let mut events: Vec<Event> = runs.iter().flat_map(of_run).collect();
        events.extend(repository.iter().flat_map(|repository| of_repository(repository, last)));
        events.extend(releases.iter().map(|release| Event {
            at: release.at.earliest,
            until: (release.at.latest > release.at.earliest).then_some(release.at.latest),
            what: format!("{} became public", release.name),
            source: release.source.clone().unwrap_or_else(|| "case file".into()),
            grade: release.trust,
        }));
        events.sort_by(|a, b| (a.at, a.until, &a.what, &a.source).cmp(&(b.at, b.until, &b.what, &b.source)));
        Self { runs, repository, events }
    }
}

fn of_run(run: &Run) -> Vec<Event> {
    let event = |at, what: String| Event {
        at,
        until: None,
        what: format!("run {}: {what}", run.id),
        source: run.source.clone(),
        grade: Trust::SelfAsserted,
    };
    let mut events: Vec<Event> = run.started_at.map(|at| event(at, "started".into())).into_iter().collect();
    if let Some((first, last)) = run.logged_between() {
        events.push(event(first, "first row logged".into()));
        let end = match run.ended {
            Some(code) => format!("last row logged; later ended with code {code}"),
            None => "last row logged; no end is on record".into(),
        };
        events.push(event(last, end));
    }
    events
}

fn of_repository(repository: &Repository, last: Option<&Settings>) -> Vec<Event> {
    let event = |at, what: String| Event {
        at,
        until: None,
        what,
        source: repository.source.clone(),
        grade: Trust::SelfAsserted,
    };
    let commits = repository.commits.iter().map(|commit| {
        let short = commit.id.get(..9).unwrap_or(&commit.id);
        event(commit.committer.at, format!("commit {short}: {}", commit.summary))
    });
    let mut events: Vec<Event> = commits.collect();
    match last.map(|last| repository.freeze(last)) {
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
    use super::{Record, Release, Run, Trust};

    #[test]
    fn events_are_in_order_whatever_their_source() {
        let start = "2026-08-02T00:00:00Z".parse().unwrap();
        let mut run = Run { id: "abc".into(), started_at: Some(start), ..Run::default() };
        run.history.push(0, "_timestamp", "1785628900.5");
        run.history.push(1, "_timestamp", "1785632400");
        let day = Release::new("P", "2026-08-02", Trust::Platform, Some("page".into())).unwrap();
        let record = Record::new(vec![run], None, &[day], None);
        let words: Vec<_> = record.events.iter().map(|event| event.what.as_str()).collect();
        let last = "run abc: last row logged; no end is on record";
        assert_eq!(words, ["P became public", "run abc: started", "run abc: first row logged", last]);
        assert!(record.events[0].until.is_some() && record.events[0].grade == Trust::Platform);
        assert_eq!(record.events[2].at.to_rfc3339(), "2026-08-02T00:01:40.500+00:00");
    }
}
