//! What the clocks of a history say of how it was made. Honest histories have all of it: rebases, imports, wrong clocks.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Commit, Repository};

/// Git's first commit is of 2005-04-07 UTC.
const GIT: i64 = 1_112_832_000;
/// No honest clock is here yet.
const FAR: i64 = 4_102_444_800; // 2100-01-01
/// Clocks of two machines differ by so much without anybody noticing, in seconds.
const SLACK: i64 = 60;

/// One kind of oddity: how often, and the case that shows it best.
#[derive(Clone, Debug, PartialEq)]
pub struct Oddity {
    /// What it is.
    pub kind: OddityKind,
    /// How many commits.
    pub count: u64,
    /// The largest extent, in the unit that the kind names.
    pub extent: f64,
    /// The commit that shows it best.
    pub commit: String,
    /// What it looks like there, in words.
    pub words: String,
}

/// Kinds of oddities of clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OddityKind {
    /// The author time lies after the committer time; extent in days.
    AuthorAfterCommitter,
    /// Committed before the parent was; extent in days.
    OlderThanParent,
    /// Ten commits or more at one second; extent in commits.
    Burst,
    /// Zones that no place on earth has; extent in hours.
    Zone,
    /// Before git existed; extent in days.
    BeforeGit,
    /// In a year that has not come; extent in days.
    Future,
    /// Changes made long before they were committed; extent in days.
    LateCommit,
    /// Most of the history was put in within a short time, though its changes are spread over a long one; extent in days.
    WrittenAnew,
    /// Unsigned commits between signed ones; extent in commits.
    Unsigned,
}

impl Repository {
    /// The oddities of the clocks, in the order of the kinds.
    pub fn oddities(&self) -> Vec<Oddity> {
        let commits: Vec<&Commit> = self.commits.iter().filter(|commit| commit.reachable).collect();
        let by_id: BTreeMap<&str, &Commit> = self.commits.iter().map(|c| (c.id.as_str(), c)).collect();
        let mut found = Vec::new();
        let mut each = |kind: OddityKind,
                        extent: &dyn Fn(&Commit) -> Option<f64>,
                        words: &dyn Fn(&Commit, f64) -> String| {
            let hits: Vec<(f64, &Commit)> =
                commits.iter().filter_map(|commit| Some((extent(commit)?, *commit))).collect();
            if let Some((extent, commit)) = hits.iter().max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.id.cmp(&a.1.id))) {
                let (count, words) = (hits.len() as u64, words(commit, *extent));
                found.push(Oddity { kind, count, extent: *extent, commit: commit.id.clone(), words });
            }
        };
        each(OddityKind::AuthorAfterCommitter, &|c| after(c.author.at, c.committer.at), &|_, days| {
            format!("made {} after it was committed", span(days))
        });
        let oldest = |commit: &Commit| {
            let parents = commit.parents.iter().filter_map(|id| by_id.get(id.as_str()));
            parents.filter_map(|parent| after(parent.committer.at, commit.committer.at)).reduce(f64::max)
        };
        each(OddityKind::OlderThanParent, &oldest, &|_, days| format!("committed {} before its parent", span(days)));
        each(OddityKind::Zone, &|c| zone(c.committer.offset).or(zone(c.author.offset)), &|_, hours| {
            format!("a zone of {hours:.2} hours from UTC")
        });
        let out = |commit: &Commit, is: &dyn Fn(i64) -> Option<i64>| {
            let seconds = [commit.committer.at.timestamp(), commit.author.at.timestamp()];
            seconds.into_iter().filter_map(is).max().map(|seconds| seconds as f64 / 86_400.0)
        };
        each(OddityKind::BeforeGit, &|c| out(c, &|at| (at < GIT).then(|| GIT.saturating_sub(at))), &|c, _| {
            format!("dated {}", day(c.committer.at.min(c.author.at)))
        });
        each(OddityKind::Future, &|c| out(c, &|at| (at > FAR).then(|| at.saturating_sub(FAR))), &|c, _| {
            format!("dated {}", day(c.committer.at.max(c.author.at)))
        });
        each(OddityKind::LateCommit, &|c| after(c.committer.at, c.author.at).filter(|days| *days > 1.0), &|_, days| {
            format!("made {} before it was committed", span(days))
        });
        found.extend(burst(&commits));
        found.extend(anew(&commits));
        found.extend(unsigned(&commits));
        found.sort_by_key(|oddity| oddity.kind);
        found
    }
}

/// Days by which one time lies after another, beyond what two clocks may differ.
fn after(late: DateTime<Utc>, early: DateTime<Utc>) -> Option<f64> {
    let gap = late.signed_duration_since(early);
    (gap > TimeDelta::seconds(SLACK)).then(|| gap.as_seconds_f64() / 86_400.0)
}

/// Hours, for a zone that is beyond UTC-12 and UTC+14 or not of whole quarters.
fn zone(minutes: i32) -> Option<f64> {
    (!(-720..=840).contains(&minutes) || minutes % 15 != 0).then(|| f64::from(minutes) / 60.0)
}

fn burst(commits: &[&Commit]) -> Option<Oddity> {
    let mut seconds: BTreeMap<DateTime<Utc>, Vec<&Commit>> = BTreeMap::new();
    for commit in commits {
        seconds.entry(commit.committer.at).or_default().push(commit);
    }
    let bursts: Vec<&Vec<&Commit>> = seconds.values().filter(|same| same.len() >= 10).collect();
    let largest = bursts.iter().max_by_key(|same| same.len())?;
    let commit = largest.first()?;
    Some(Oddity {
        kind: OddityKind::Burst,
        count: bursts.iter().map(|same| same.len() as u64).sum(),
        extent: largest.len() as f64,
        commit: commit.id.clone(),
        words: format!("{} commits at {}", largest.len(), commit.committer.at.format("%Y-%m-%d %H:%M:%S UTC")),
    })
}

/// Nine of ten commits put in within a tenth of the time over which their changes were made.
fn anew(commits: &[&Commit]) -> Option<Oddity> {
    if commits.len() < 5 {
        return None;
    }
    let window = |mut times: Vec<DateTime<Utc>>| {
        times.sort_unstable();
        let keep = times.len() * 9 / 10;
        let spans = times.iter().zip(times.iter().skip(keep.max(1) - 1)).map(|(a, b)| *b - *a);
        spans.min().map(|span| span.as_seconds_f64() / 86_400.0)
    };
    let made = window(commits.iter().map(|c| c.author.at).collect())?;
    let put = window(commits.iter().map(|c| c.committer.at).collect())?;
    (made > 1.0 && put < made / 10.0).then(|| {
        let first = commits.iter().min_by_key(|c| (c.committer.at, &c.id));
        Oddity {
            kind: OddityKind::WrittenAnew,
            count: commits.len() as u64,
            extent: made,
            commit: first.map(|c| c.id.clone()).unwrap_or_default(),
            words: format!("nine of ten were committed within {}, of changes made over {}", span(put), span(made)),
        }
    })
}

fn unsigned(commits: &[&Commit]) -> Option<Oddity> {
    let signed = commits.iter().filter(|commit| commit.signature.is_some()).count();
    let bare = commits.len() - signed;
    (signed > 0 && bare > 0).then(|| Oddity {
        kind: OddityKind::Unsigned,
        count: bare as u64,
        extent: bare as f64,
        commit: commits.iter().find(|c| c.signature.is_none()).map(|c| c.id.clone()).unwrap_or_default(),
        words: format!("{signed} of {} commits are signed", commits.len()),
    })
}

fn span(days: f64) -> String {
    if days >= 2.0 {
        format!("{days:.1} days")
    } else if days >= 2.0 / 24.0 {
        format!("{:.1} hours", days * 24.0)
    } else {
        format!("{:.0} seconds", days * 86_400.0)
    }
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d").to_string()
}
