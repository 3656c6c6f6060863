//! What must come before what, and whether the dates can be so.
//!
//! A [`Moment`] is one dated fact: something that happened between two times, as one clock says. Moments of different
//! clocks are held against each other along the orders that must hold between them (a run starts before its first row,
//! a checkpoint is saved after its step was reached, what a time stamp covers existed before the stamp). From the
//! orders follow bounds on moments nobody dated, and contradictions between dates that no single pair shows: this is the
//! consistency of a simple temporal problem (Dechter, Meiri, Pearl 1991) whose constraints are all of the kind a <= b.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use scratchproof_record::Trust;

/// Whose clock a date was read from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clock {
    /// The machine that ran this run.
    Log(String),
    /// The machines that made commits.
    Commits,
    /// The person who wrote the case file.
    CaseFile,
    /// Somebody outside: a server, a stamping authority, a page.
    Outside(String),
}

/// One dated fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// What happened, in words that can follow "that": "run abc started".
    pub what: String,
    /// It did not happen before this.
    pub earliest: Option<DateTime<Utc>>,
    /// It did not happen after this.
    pub latest: Option<DateTime<Utc>>,
    /// Who vouches for the two.
    pub trust: Trust,
    /// Where it is said.
    pub source: String,
    /// By which clock.
    pub clock: Clock,
}

/// A limit on a moment, and the moment whose date it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Bound {
    pub at: DateTime<Utc>,
    pub by: usize,
}

/// Two dates that cannot both be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The moments from the one that must be first to the one that must be last; only the two ends are dated against
    /// each other.
    pub path: Vec<usize>,
    /// By how much the first is later than the last at the least.
    pub by: TimeDelta,
}

/// Moments and the orders between them.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    moments: Vec<Moment>,
    after: Vec<Vec<usize>>,
    before: Vec<Vec<usize>>,
}

impl Orders {
    /// Adds a moment and returns its number.
    pub fn add(&mut self, moment: Moment) -> usize {
        self.moments.push(moment);
        self.after.push(Vec::new());
        self.before.push(Vec::new());
        self.moments.len() - 1
    }

    /// `first` happened no later than `second`.
    pub fn in_order(&mut self, first: usize, second: usize) {
        if first != second && !self.after[first].contains(&second) {
            self.after[first].push(second);
            self.before[second].push(first);
        }
    }

    /// Both are the same moment, dated twice.
    pub fn same(&mut self, one: usize, other: usize) {
        self.in_order(one, other);
        self.in_order(other, one);
    }

    /// All moments.
    pub fn moments(&self) -> &[Moment] {
        &self.moments
    }

    /// How many orders were asked for.
    pub fn len(&self) -> usize {
        self.after.iter().map(Vec::len).sum()
    }

    /// Whether there is no order.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The moment happened no later than this, on facts of grade `least` or above.
    pub fn latest(&self, moment: usize, least: Trust) -> Option<Bound> {
        let reached = reach(moment, &self.after).into_keys();
        let dated = reached.filter(|&i| self.moments[i].trust >= least);
        dated.filter_map(|by| Some(Bound { at: self.moments[by].latest?, by })).min_by_key(|bound| (bound.at, bound.by))
    }

    /// The moment happened no earlier than this, on facts of grade `least` or above.
    pub fn earliest(&self, moment: usize, least: Trust) -> Option<Bound> {
        let reached = reach(moment, &self.before).into_keys();
        let dated = reached.filter(|&i| self.moments[i].trust >= least);
        let bounds = dated.filter_map(|by| Some(Bound { at: self.moments[by].earliest?, by }));
        bounds.max_by_key(|bound| (bound.at, std::cmp::Reverse(bound.by)))
    }

    /// The dates of grade `least` or above that cannot be in their order, each pair once, the largest first. Dates may differ by `slack`, as clocks
    /// do and as two readings of one clock do that are taken a moment apart. A pair
    /// is left out where two dates between the ends already contradict each other, and of several that share an end the
    /// one with the shortest path stands for all.
    pub fn contradictions(&self, slack: TimeDelta, least: Trust) -> Vec<Contradiction> {
        let mut broken: BTreeMap<(usize, usize), Contradiction> = BTreeMap::new();
        for (first, moment) in self.moments.iter().enumerate() {
            let Some(earliest) = moment.earliest.filter(|_| moment.trust >= least) else { continue };
            let from = reach(first, &self.after);
            for &last in from.keys().filter(|&&last| last != first) {
                let other = &self.moments[last];
                let Some(latest) = other.latest.filter(|_| other.trust >= least) else { continue };
                // Commits are made by many machines, and a rebase renews their dates: see the repository's own oddities.
                if moment.clock == Clock::Commits && other.clock == Clock::Commits {
                    continue;
                }
                let by = earliest - latest;
                if by > slack {
                    broken.insert((first, last), Contradiction { path: path(&from, first, last), by });
                }
            }
        }
        let pairs: BTreeSet<(usize, usize)> = broken.keys().copied().collect();
        let inner = |contradiction: &Contradiction| {
            let path = &contradiction.path;
            let ends = (path[0], path[path.len() - 1]);
            let mut spans = path.iter().enumerate().flat_map(|(i, &a)| path[i + 1..].iter().map(move |&b| (a, b)));
            spans.any(|pair| pair != ends && pairs.contains(&pair))
        };
        let mut all: Vec<Contradiction> = broken.into_values().filter(|one| !inner(one)).collect();
        all.sort_by_key(|one| (one.path.len(), std::cmp::Reverse(one.by), one.path.clone()));
        let (mut firsts, mut lasts) = (BTreeSet::new(), BTreeSet::new());
        all.retain(|one| {
            let (first, last) = (one.path[0], one.path[one.path.len() - 1]);
            let new = !firsts.contains(&first) && !lasts.contains(&last);
            if new {
                firsts.insert(first);
                lasts.insert(last);
            }
            new
        });
        all.sort_by(|a, b| b.by.cmp(&a.by).then_with(|| a.path.cmp(&b.path)));
        all
    }
}

/// What can be reached from a moment, itself included, and from where each was reached by the shortest path.
fn reach(from: usize, edges: &[Vec<usize>]) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::from([(from, from)]);
    let mut next = VecDeque::from([from]);
    while let Some(at) = next.pop_front() {
        for &to in &edges[at] {
            if let std::collections::btree_map::Entry::Vacant(place) = found.entry(to) {
                place.insert(at);
                next.push_back(to);
            }
        }
    }
    found
}

fn path(reached: &BTreeMap<usize, usize>, first: usize, last: usize) -> Vec<usize> {
    let mut path = vec![last];
    let mut at = last;
    while at != first {
        at = reached[&at];
        path.push(at);
    }
    path.reverse();
    path
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use crate::{Clock, Moment, Orders};
    use scratchproof_record::Trust;

    #[allow(clippy::unnecessary_wraps)] // as the fields of a moment want it
    fn day(day: u32) -> Option<DateTime<Utc>> {
        Some(format!("2026-08-{day:02}T00:00:00Z").parse().unwrap())
    }

    fn moment(what: &str, earliest: Option<DateTime<Utc>>, latest: Option<DateTime<Utc>>, trust: Trust) -> Moment {
        let clock = if trust == Trust::SelfAsserted { Clock::Log("a".into()) } else { Clock::Outside(what.into()) };
        Moment { what: what.into(), earliest, latest, trust, source: "log".into(), clock }
    }

    /// start <= row <= saved <= stamped
    fn chain(row: u32, stamped: u32) -> (Orders, [usize; 4]) {
        let mut orders = Orders::default();
        let own = Trust::SelfAsserted;
        let start = orders.add(moment("start", day(2), day(2), own));
        let row = orders.add(moment("row", day(row), day(row), own));
        let saved = orders.add(moment("saved", None, None, own));
        let stamp = orders.add(moment("stamp", None, day(stamped), Trust::Anchored));
        orders.in_order(start, row);
        orders.in_order(row, saved);
        orders.in_order(saved, stamp);
        (orders, [start, row, saved, stamp])
    }

    #[test]
    fn a_stamp_bounds_what_came_before_it_at_its_own_grade() {
        let (orders, [start, row, saved, stamp]) = chain(4, 9);
        let bound = orders.latest(start, Trust::Platform).unwrap();
        assert_eq!((Some(bound.at), bound.by), (day(9), stamp));
        assert_eq!(orders.latest(start, Trust::SelfAsserted).unwrap().by, start);
        let after = orders.earliest(saved, Trust::SelfAsserted).unwrap();
        assert_eq!((Some(after.at), after.by), (day(4), row));
        assert!(orders.earliest(saved, Trust::Platform).is_none());
        assert!(orders.contradictions(TimeDelta::zero(), Trust::SelfAsserted).is_empty());
    }

    #[test]
    fn a_contradiction_goes_through_what_nobody_dated_and_is_named_once() {
        let (orders, [start, row, _, stamp]) = chain(4, 3);
        let found = orders.contradictions(TimeDelta::zero(), Trust::SelfAsserted);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].path[0], found[0].path.len(), found[0].by), (row, 3, TimeDelta::days(1)));
        // Before the start as well: the start against the stamp is another pair of dates, and the row lies between.
        let (orders, _) = chain(4, 1);
        let found = orders.contradictions(TimeDelta::zero(), Trust::SelfAsserted);
        assert_eq!(found.iter().map(|one| one.path[0]).collect::<Vec<_>>(), [row], "{found:?}");
        assert!(found.iter().all(|one| one.path.last() == Some(&stamp)) && found[0].path[0] != start);
    }

    #[test]
    fn dates_may_differ_by_the_slack_and_no_more() {
        let (orders, _) = chain(4, 3);
        assert!(orders.contradictions(TimeDelta::days(1), Trust::SelfAsserted).is_empty());
        let (orders, [start, row, ..]) = chain(1, 9);
        assert_eq!(orders.contradictions(TimeDelta::hours(3), Trust::SelfAsserted)[0].path, [start, row]);
    }

    #[test]
    fn two_dates_of_one_moment_are_held_against_each_other() {
        let mut orders = Orders::default();
        let own = orders.add(moment("start", day(2), day(2), Trust::SelfAsserted));
        let server = orders.add(moment("server", day(5), day(5), Trust::Platform));
        orders.same(own, server);
        let found = orders.contradictions(TimeDelta::zero(), Trust::SelfAsserted);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_slice(), found[0].by), ([server, own].as_slice(), TimeDelta::days(3)));
    }
}
