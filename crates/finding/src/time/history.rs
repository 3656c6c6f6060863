//! The repository against the start of the runs.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Code, Direction, Finding, Grade, Judgement, TIMELINE, TimeFacts, called};
use scratchproof_case::Policy;
use scratchproof_record::git::{Commit, Freeze, Lookup};
use scratchproof_record::{Repository, Run, git};
use scratchproof_texts::{Text, text};

/// The commit that a run names: is it in the repository, and not younger than the run?
pub fn logged_commit(to: &mut Judgement, policy: &Policy, repository: &Repository, run: &Run) {
    let Some(id) = &run.commit else {
        to.missing.push(text!("time/commit/missing", run = called(run)));
        return;
    };
    let place = || called(run);
    let commit: String = id.chars().take(12).filter(char::is_ascii_alphanumeric).collect();
    let start = run.started_at;
    let late = |commit: &Commit| start.is_some_and(|start| commit.committer.at > start + slack(policy));
    let (grade, direction, message) = match repository.commit(id) {
        Lookup::Found(found) if late(found) => {
            let message = text!("time/commit/late", run = place(), commit, at = minute(found.committer.at));
            (Grade::Weak, Direction::Neutral, message)
        }
        Lookup::Found(found) => {
            let message = text!("time/commit/found", run = place(), commit, reachable = found.reachable);
            (Grade::Weak, Direction::For, message)
        }
        Lookup::Missing => {
            let message = text!("time/commit/absent", run = place(), commit, begins = begins(repository, start));
            (Grade::Weak, Direction::Neutral, message)
        }
        Lookup::Ambiguous => {
            (Grade::Context, Direction::Neutral, text!("time/commit/ambiguous", run = place(), commit))
        }
        Lookup::NotAnId => (Grade::Context, Direction::Neutral, text!("time/commit/no-id", run = place())),
    };
    let mut finding = Finding::new(Code::TimeCommit, grade, direction, message);
    finding.n = Some(1);
    finding.null = text!("time/commit/null");
    finding.evidence = Some(TIMELINE.into());
    to.push(finding);
}

/// Since when the repository has had the final architecture, against the start of the earliest run.
pub fn freeze(to: &mut Judgement, facts: &TimeFacts<'_>, policy: &Policy, repository: &Repository) {
    let Some(last) = facts.settings else {
        to.missing.push(text!("time/freeze/no-configuration"));
        return;
    };
    let start = facts.runs.iter().filter_map(|run| run.started_at).min();
    let end = facts.runs.iter().filter_map(|run| run.logged_between().map(|(_, last)| last)).max();
    let begun = |commit: &Commit, start: DateTime<Utc>| commit.committer.at <= start + slack(policy);
    let (weak, moderate) = (Grade::Weak, Grade::Moderate);
    let mut days = None;
    let (grade, direction, message) = match (repository.freeze(last), start) {
        (Freeze::Unknown, _) => {
            to.missing.push(text!("time/freeze/no-settings"));
            return;
        }
        (Freeze::Never { path, differences }, _) => {
            (weak, Direction::Neutral, text!("time/freeze/never", path, differences))
        }
        (Freeze::Since { commit, path } | Freeze::Past { from: commit, path, .. }, None) => {
            let at = minute(commit.committer.at);
            let message = text!("time/freeze/no-start", path, at, commit = git::short(&commit.id));
            (Grade::Context, Direction::Neutral, message)
        }
        (Freeze::Since { commit, path }, Some(start)) => {
            days = Some((start - commit.committer.at).as_seconds_f64() / 86_400.0);
            since(repository, commit, start, begun(commit, start), path)
        }
        (Freeze::Past { from, until, path }, Some(start)) => {
            days = Some((start - from.committer.at).as_seconds_f64() / 86_400.0);
            let (since, to) = (minute(from.committer.at), minute(until.committer.at));
            if begun(from, start) && until.committer.at > end.unwrap_or(start) {
                (weak, Direction::For, text!("time/freeze/whole-run", path, from = since, until = to))
            } else {
                let message = text!("time/freeze/changed", path, from = since, until = to, start = minute(start));
                (moderate, Direction::Neutral, message)
            }
        }
    };
    let mut finding = Finding::new(Code::TimeFreeze, grade, direction, message);
    finding.statistic = days;
    finding.n = Some(repository.line.len() as u64);
    finding.null = text!("time/freeze/null");
    finding.evidence = Some(TIMELINE.into());
    to.push(finding);
}

fn since(
    repository: &Repository,
    commit: &Commit,
    start: DateTime<Utc>,
    before: bool,
    path: &str,
) -> (Grade, Direction, Text) {
    let (at, run, id) = (minute(commit.committer.at), minute(start), git::short(&commit.id));
    if before {
        return (Grade::Weak, Direction::For, text!("time/freeze/before", path, at, commit = id, start = run));
    }
    let first_of_all = repository.oldest().is_some_and(|oldest| oldest.committer.at > start);
    let message = if commit.author.at <= start {
        text!("time/freeze/put-in-later", path, at, start = run)
    } else if first_of_all || repository.shallow {
        text!("time/freeze/short-history", path, at, start = run, begins = begins(repository, Some(start)))
    } else {
        let message = text!("time/freeze/after", path, at, commit = id, start = run);
        return (Grade::Moderate, Direction::Neutral, message);
    };
    (Grade::Context, Direction::Neutral, message)
}

/// Says so where the history begins only after the run: a repository that was made anew.
fn begins(repository: &Repository, start: Option<DateTime<Utc>>) -> Text {
    let (Some(oldest), Some(start)) = (repository.oldest(), start) else { return Text::default() };
    let hours = (oldest.committer.at - start).as_seconds_f64() / 3600.0;
    text!("time/commit/begins", hours, shallow = repository.shallow)
}

pub(super) fn slack(policy: &Policy) -> TimeDelta {
    TimeDelta::try_seconds(policy.clock_slack_seconds).unwrap_or_default()
}

pub(super) fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}
