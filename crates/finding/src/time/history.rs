//! The repository against the start of the runs.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Code, Direction, Finding, Grade, Judgement, TIMELINE, TimeFacts, called, called_first};
use scratchproof_case::Policy;
use scratchproof_record::git::{Commit, Freeze, Lookup};
use scratchproof_record::{Repository, Run, git};

/// The commit that a run names: is it in the repository, and not younger than the run?
pub fn logged_commit(to: &mut Judgement, policy: &Policy, repository: &Repository, run: &Run) {
    let Some(id) = &run.commit else {
        to.missing.push(format!("the commit that {} was run from", called(run)).into());
        return;
    };
    let place = called_first(run);
    let short: String = id.chars().take(12).filter(char::is_ascii_alphanumeric).collect();
    let start = run.started_at;
    let late = |commit: &Commit| start.is_some_and(|start| commit.committer.at > start + slack(policy));
    let (grade, direction, message) = match repository.commit(id) {
        Lookup::Found(commit) if late(commit) => {
            let message = format!(
                "{place} names the commit {short}, which the repository dates {}, after the start of the run; a renewed \
                 history (rebase, amend) or a wrong clock can do that.",
                minute(commit.committer.at)
            );
            (Grade::Weak, Direction::Neutral, message)
        }
        Lookup::Found(commit) => {
            let hidden = if commit.reachable { "" } else { ", though no branch leads to it" };
            let message =
                format!("{place} names the commit {short}, which is in the repository{hidden} and is not younger.");
            (Grade::Weak, Direction::For, message)
        }
        Lookup::Missing => {
            let message = format!(
                "{place} names the commit {short}, which is not in the repository{}.",
                begins(repository, start)
            );
            (Grade::Weak, Direction::Neutral, message)
        }
        Lookup::Ambiguous => {
            let message = format!("{place} names the commit {short}; more than one begins so.");
            (Grade::Context, Direction::Neutral, message)
        }
        Lookup::NotAnId => {
            let message = format!("{place} names a commit that is no commit id of seven or more digits.");
            (Grade::Context, Direction::Neutral, message)
        }
    };
    let mut finding = Finding::new(Code::TimeCommit, grade, direction, message);
    finding.n = Some(1);
    finding.null = "the repository holds the commit a run of its code was started from".into();
    finding.evidence = Some(TIMELINE.into());
    to.push(finding);
}

/// Since when the repository has had the final architecture, against the start of the earliest run.
pub fn freeze(to: &mut Judgement, facts: &TimeFacts<'_>, policy: &Policy, repository: &Repository) {
    let Some(last) = facts.settings else {
        to.missing.push("the configuration of the final checkpoint, to find it in the repository".into());
        return;
    };
    let start = facts.runs.iter().filter_map(|run| run.started_at).min();
    let end = facts.runs.iter().filter_map(|run| run.logged_between().map(|(_, last)| last)).max();
    let begun = |commit: &Commit, start: DateTime<Utc>| commit.committer.at <= start + slack(policy);
    let (weak, moderate) = (Grade::Weak, Grade::Moderate);
    let mut days = None;
    let (grade, direction, message) = match (repository.freeze(last), start) {
        (Freeze::Unknown, _) => {
            to.missing.push("a settings file in the repository that names the architecture".into());
            return;
        }
        (Freeze::Never { path, differences }, _) => {
            let message = format!(
                "No commit of the main line has the architecture of the final checkpoint; the nearest file, {path}, differs \
                 in {}.",
                differences.join(", ")
            );
            (weak, Direction::Neutral, message)
        }
        (Freeze::Since { commit, path } | Freeze::Past { from: commit, path, .. }, None) => {
            let message = format!(
                "{path} has the architecture of the final checkpoint since {} ({}); no run says when it started.",
                minute(commit.committer.at),
                short(commit)
            );
            (Grade::Context, Direction::Neutral, message)
        }
        (Freeze::Since { commit, path }, Some(start)) => {
            days = Some((start - commit.committer.at).as_seconds_f64() / 86_400.0);
            let since =
                format!("{path} has the architecture of the final checkpoint since {}", minute(commit.committer.at));
            since_words(repository, commit, start, begun(commit, start), &since)
        }
        (Freeze::Past { from, until, path }, Some(start)) => {
            days = Some((start - from.committer.at).as_seconds_f64() / 86_400.0);
            let span = format!(
                "{path} has the architecture of the final checkpoint from {} to {}",
                minute(from.committer.at),
                minute(until.committer.at)
            );
            if begun(from, start) && until.committer.at > end.unwrap_or(start) {
                (
                    weak,
                    Direction::For,
                    format!("{span}, the whole time of the run; later commits are of another model."),
                )
            } else {
                let message =
                    format!("{span}; the run started at {}. Was the architecture changed while it ran?", minute(start));
                (moderate, Direction::Neutral, message)
            }
        }
    };
    let mut finding = Finding::new(Code::TimeFreeze, grade, direction, message);
    finding.statistic = days;
    finding.n = Some(repository.line.len() as u64);
    finding.null =
        "days from the freeze to the start of the run; the architecture is settled before the training starts".into();
    finding.evidence = Some(TIMELINE.into());
    to.push(finding);
}

fn since_words(
    repository: &Repository,
    commit: &Commit,
    start: DateTime<Utc>,
    before: bool,
    since: &str,
) -> (Grade, Direction, String) {
    let run = minute(start);
    if before {
        let message = format!("{since} ({}), before the run started at {run}.", short(commit));
        return (Grade::Weak, Direction::For, message);
    }
    let first_of_all = repository.oldest().is_some_and(|oldest| oldest.committer.at > start);
    if first_of_all || repository.shallow || commit.author.at <= start {
        let why = if commit.author.at <= start {
            "the change itself is dated before the run and was put into the history later".to_owned()
        } else {
            format!("the history that is there does not reach back to the run{}", begins(repository, Some(start)))
        };
        return (Grade::Context, Direction::Neutral, format!("{since}, after the run started at {run}; {why}."));
    }
    let message = format!(
        "{since} ({}), after the run started at {run}, though the history is older. Was the architecture changed while it \
         ran, or the run started from files that were not committed?",
        short(commit)
    );
    (Grade::Moderate, Direction::Neutral, message)
}

/// Says so where the history begins only after the run: a repository that was made anew.
fn begins(repository: &Repository, start: Option<DateTime<Utc>>) -> String {
    let (Some(oldest), Some(start)) = (repository.oldest(), start) else { return String::new() };
    let hours = (oldest.committer.at - start).as_seconds_f64() / 3600.0;
    let shallow = if repository.shallow { " (a shallow clone)" } else { "" };
    if hours > 0.0 {
        format!(
            "; the history begins {hours:.1} hours after the run started, as that of a repository made anew does{shallow}"
        )
    } else {
        shallow.into()
    }
}

pub(super) fn slack(policy: &Policy) -> TimeDelta {
    TimeDelta::try_seconds(policy.clock_slack_seconds).unwrap_or_default()
}

fn short(commit: &Commit) -> String {
    format!("commit {}", git::short(&commit.id))
}

pub(super) fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}
