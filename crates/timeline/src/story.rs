//! The record as moments in the order they must have happened.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::order::{Clock, Moment, Orders};
use scratchproof_record::git::short;
use scratchproof_record::releases::Open;
use scratchproof_record::{
    Covered, Existed, Freeze, Happened, Interval, Lookup, Release, Repository, Run, Settings, Trust,
};

/// A checkpoint, and when the case file says it was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Saved {
    pub step: i64,
    pub at: Option<Interval>,
}

/// What the record is put together from.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Sources<'a> {
    pub runs: &'a [Run],
    pub repository: Option<&'a Repository>,
    /// Settings of the final checkpoint.
    pub settings: Option<&'a Settings>,
    /// Checkpoints by ascending step; none for a single model.
    pub checkpoints: &'a [Saved],
    pub releases: &'a [Release],
    pub existed: &'a [Existed],
}

/// Moments with their orders, and which of them stand for what.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// All moments and orders.
    pub orders: Orders,
    /// By run, in the order of the case file: its start.
    pub starts: Vec<usize>,
    /// By step: the checkpoint was saved.
    pub checkpoints: BTreeMap<i64, usize>,
    /// The commit from which the repository has the final architecture, by its number here.
    pub freeze: Option<usize>,
}

impl Story {
    /// Puts moments and orders together.
    pub fn new(sources: &Sources<'_>) -> Self {
        let mut story = Self::default();
        for saved in sources.checkpoints {
            story.checkpoint(saved);
        }
        for (index, run) in sources.runs.iter().enumerate() {
            // A run that was resumed exists on the server since its first part started.
            let first = !sources.runs[..index].iter().any(|earlier| earlier.id == run.id);
            story.run(run, first && !run.resumed);
        }
        story.reached(sources);
        if let Some(repository) = sources.repository {
            story.commits(repository, sources);
        }
        for release in sources.releases {
            story.orders.add(Moment {
                what: format!("{} became public", release.name),
                earliest: (release.open != Open::Start).then_some(release.at.earliest),
                latest: (release.open != Open::End).then_some(release.at.latest),
                trust: release.trust,
                source: release.source.clone().unwrap_or_else(|| "case file".into()),
                clock: Clock::Outside(format!("release of {}", release.name)),
            });
        }
        for existed in sources.existed {
            if let Covered::Checkpoint(step) = existed.what
                && let Some(&saved) = story.checkpoints.get(&step)
            {
                let stamp = story.stamp(existed, &format!("the checkpoint of step {step}"));
                story.orders.in_order(saved, stamp);
            }
        }
        story
    }

    fn checkpoint(&mut self, saved: &Saved) {
        let moment = self.orders.add(Moment {
            what: format!("the checkpoint of step {} was saved", saved.step),
            earliest: saved.at.map(|at| at.earliest),
            latest: saved.at.map(|at| at.latest),
            trust: Trust::SelfAsserted,
            source: "case file".into(),
            clock: Clock::CaseFile,
        });
        if let Some((_, &before)) = self.checkpoints.range(..saved.step).next_back() {
            self.orders.in_order(before, moment);
        }
        self.checkpoints.insert(saved.step, moment);
    }

    fn run(&mut self, run: &Run, first: bool) {
        let own = |what: &str, at: Option<DateTime<Utc>>| Moment {
            what: format!("run {} {what}", run.id),
            earliest: at,
            latest: at,
            trust: Trust::SelfAsserted,
            source: run.source.clone(),
            clock: Clock::Log(run.id.clone()),
        };
        let start = self.orders.add(own("started", run.started_at));
        self.starts.push(start);
        let mut last = start;
        if let Some((from, until)) = run.logged_between() {
            let row = self.orders.add(own("logged its first row", Some(from)));
            let end = match run.ended {
                Some(code) => format!("logged its last row and later ended with code {code}"),
                None => "logged its last row; no end is on record".into(),
            };
            last = self.orders.add(own(&end, Some(until)));
            // A resumed log may hold the rows of the parts before.
            if first {
                self.orders.in_order(start, row);
            }
            self.orders.in_order(row, last);
        }
        for dated in &run.times {
            let clock = if dated.trust == Trust::SelfAsserted {
                Clock::Log(run.id.clone())
            } else {
                Clock::Outside(run.source.clone())
            };
            let moment = self.orders.add(Moment {
                what: format!("run {} {}", run.id, dated.what),
                earliest: Some(dated.at.earliest),
                latest: Some(dated.at.latest),
                trust: dated.trust,
                source: run.source.clone(),
                clock,
            });
            match dated.happened {
                Happened::Started if first => self.orders.same(start, moment),
                Happened::Created if first => self.orders.in_order(start, moment),
                Happened::LastSeen | Happened::Ended => self.orders.in_order(last, moment),
                Happened::Started | Happened::Created | Happened::Other => {}
            }
        }
    }

    /// When a log says that the step of a checkpoint was reached: the earliest of several runs that reached it.
    fn reached(&mut self, sources: &Sources<'_>) {
        let times: Vec<BTreeMap<i64, DateTime<Utc>>> = sources.runs.iter().map(Run::times_of_steps).collect();
        let mut before: BTreeMap<usize, usize> = BTreeMap::new();
        let steps: Vec<(i64, usize)> = self.checkpoints.iter().map(|(step, moment)| (*step, *moment)).collect();
        for (step, saved) in steps {
            let reached = |(run, rows): (usize, &BTreeMap<i64, DateTime<Utc>>)| {
                // Logged at or before the step; a later row says that it had been reached by then.
                let earliest = *rows.range(..=step).next_back()?.1;
                let latest = rows.range(step..).next().map(|(_, at)| *at)?;
                Some((earliest, latest, run))
            };
            let Some((earliest, latest, run)) = times.iter().enumerate().filter_map(reached).min() else { continue };
            if step <= 0 {
                continue;
            }
            let log = &sources.runs[run];
            let moment = self.orders.add(Moment {
                what: format!("run {} reached step {step}", log.id),
                earliest: Some(earliest.min(latest)),
                latest: Some(latest.max(earliest)),
                trust: Trust::SelfAsserted,
                source: log.source.clone(),
                clock: Clock::Log(log.id.clone()),
            });
            self.orders.in_order(moment, saved);
            let start = self.starts[run];
            self.orders.in_order(before.insert(run, moment).unwrap_or(start), moment);
        }
    }

    /// The commits that something is said of: the oldest, those that runs name, the freeze, those that a witness covers.
    fn commits(&mut self, repository: &Repository, sources: &Sources<'_>) {
        let mut wanted: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        if let Some(oldest) = repository.oldest() {
            wanted.entry(&oldest.id).or_default().push("the oldest that is there".into());
        }
        for run in sources.runs {
            if let Some(Lookup::Found(commit)) = run.commit.as_deref().map(|id| repository.commit(id)) {
                wanted.entry(&commit.id).or_default().push(format!("run {} names it", run.id));
            }
        }
        let freeze = match sources.settings.map(|settings| repository.freeze(settings)) {
            Some(Freeze::Since { commit, path } | Freeze::Past { from: commit, path, .. }) => {
                wanted.entry(&commit.id).or_default().push(format!("{path} has the final architecture from here on"));
                Some(commit.id.clone())
            }
            _ => None,
        };
        let mut stamps: BTreeMap<&str, Vec<&Existed>> = BTreeMap::new();
        for existed in sources.existed {
            if let Covered::Commit(id) = &existed.what
                && let Lookup::Found(commit) = repository.commit(id)
            {
                wanted.entry(&commit.id).or_default();
                stamps.entry(&commit.id).or_default().push(existed);
            }
        }
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        for (&id, why) in &wanted {
            let Lookup::Found(commit) = repository.commit(id) else { continue };
            let words = why.iter().fold(String::new(), |all, why| format!("{all}, {why}"));
            let moment = self.orders.add(Moment {
                what: format!("commit {} was made ({}{words})", short(id), commit.summary),
                earliest: Some(commit.committer.at),
                latest: Some(commit.committer.at),
                trust: Trust::SelfAsserted,
                source: repository.source.clone(),
                clock: Clock::Commits,
            });
            numbers.insert(id, moment);
            if freeze.as_deref() == Some(id) {
                self.freeze = Some(moment);
            }
            for existed in stamps.get(id).into_iter().flatten() {
                let stamp = self.stamp(existed, &format!("commit {}", short(id)));
                self.orders.in_order(moment, stamp);
            }
        }
        // What is stamped holds its whole history: a commit on the line of first parents existed when a later one did.
        let mut before = None;
        for moment in repository.line.iter().filter_map(|id| numbers.get(id.as_str()).copied()) {
            if let Some(before) = before.replace(moment) {
                self.orders.in_order(before, moment);
            }
        }
    }

    fn stamp(&mut self, existed: &Existed, what: &str) -> usize {
        self.orders.add(Moment {
            what: format!("{what} existed"),
            earliest: None,
            latest: Some(existed.by.latest),
            trust: existed.trust,
            source: existed.source.clone(),
            // What the party says itself here it says in its commits.
            clock: match existed.trust {
                Trust::SelfAsserted => Clock::Commits,
                _ => Clock::Outside(existed.source.clone()),
            },
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::TimeDelta;

    use crate::{Saved, Sources, Story};
    use scratchproof_record::{Covered, Existed};
    use scratchproof_record::{Dated, Happened};
    use scratchproof_record::{Interval, Run, Trust};

    /// Steps 0, 100 and 200, an hour apart, from 2 August 2026, 00:00.
    fn run() -> Run {
        let mut run =
            Run { id: "abc".into(), started_at: Some("2026-08-02T00:00:00Z".parse().unwrap()), ..Run::default() };
        for (row, step) in [0_u32, 100, 200].into_iter().enumerate() {
            run.history.push(step.into(), "_timestamp", &(1_785_628_800 + 3600 * row).to_string());
        }
        run
    }

    fn existed(step: i64, by: &str) -> Existed {
        let by = Interval::parse(by).unwrap();
        Existed { what: Covered::Checkpoint(step), by, trust: Trust::Anchored, source: "token".into() }
    }

    fn story(run: Run, existed: &[Existed]) -> Story {
        let saved = [0, 100, 150].map(|step| Saved { step, at: None });
        Story::new(&Sources { runs: &[run], checkpoints: &saved, existed, ..Sources::default() })
    }

    #[test]
    fn a_stamped_checkpoint_bounds_the_start_of_its_run_unless_it_is_the_start_itself() {
        let story_of = |step| story(run(), &[existed(step, "2026-08-03T00:00:00Z")]);
        let after = story_of(150);
        let bound = after.orders.latest(after.starts[0], Trust::Platform).unwrap();
        assert_eq!(bound.at.to_rfc3339(), "2026-08-03T00:00:00+00:00");
        assert!(after.orders.contradictions(TimeDelta::zero(), Trust::SelfAsserted).is_empty());
        let zero = story_of(0);
        assert!(zero.orders.latest(zero.starts[0], Trust::Platform).is_none());
        assert!(zero.orders.latest(zero.checkpoints[&0], Trust::Platform).is_some());
    }

    #[test]
    fn a_checkpoint_that_existed_before_its_step_was_reached_contradicts_the_log() {
        // Step 150 lies between rows at 01:00 and 02:00.
        let story_by = |by| story(run(), &[existed(150, by)]);
        assert!(
            story_by("2026-08-02T01:30:00Z")
                .orders
                .contradictions(TimeDelta::minutes(5), Trust::SelfAsserted)
                .is_empty()
        );
        let found = story_by("2026-08-02T00:30:00Z");
        let found = found.orders.contradictions(TimeDelta::minutes(5), Trust::SelfAsserted);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].by, TimeDelta::minutes(30));
    }

    #[test]
    fn the_server_knows_a_run_after_it_started_but_for_one_that_goes_on() {
        let created = |happened| {
            let at = Interval::parse("2026-08-01T00:00:00Z").unwrap();
            Dated { happened, what: "was created on the server".into(), at, trust: Trust::Platform }
        };
        let mut early = run();
        early.times.push(created(Happened::Created));
        assert_eq!(
            story(early.clone(), &[]).orders.contradictions(TimeDelta::minutes(5), Trust::SelfAsserted).len(),
            1
        );
        early.resumed = true;
        assert!(story(early, &[]).orders.contradictions(TimeDelta::minutes(5), Trust::SelfAsserted).is_empty());
        let mut seen = run();
        seen.times.push(created(Happened::LastSeen));
        assert_eq!(story(seen, &[]).orders.contradictions(TimeDelta::minutes(5), Trust::SelfAsserted).len(), 1);
    }
}
