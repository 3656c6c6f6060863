//! The dates of the record against each other and against the releases of the parents.

use chrono::{DateTime, TimeDelta, Utc};

use super::history::{minute, slack};
use super::{Code, Condition, Direction, Finding, Grade, Judgement, TIMELINE, TimeFacts, called};
use scratchproof_case::Policy;
use scratchproof_record::{Open, Release, Trust};
use scratchproof_texts::{Text, text};
use scratchproof_timeline::{Bound, Clock, Contradiction, Moment, Orders, Story};

/// So many contradictions are written out.
const SHOWN: usize = 20;
/// Clocks are set to zones that differ by multiples of so many minutes.
const ZONE_MINUTES: i64 = 15;
/// The largest distance between two zones: UTC+14 and UTC-12.
const ZONES: TimeDelta = TimeDelta::hours(26);

pub fn judge(to: &mut Judgement, facts: &TimeFacts<'_>, story: &Story, policy: &Policy) {
    contradictions(to, story, policy);
    undated(to, story);
    for parent in facts.parents {
        match parent.release {
            None => to.missing.push(text!("time/run-start/no-release", parent = parent.parent)),
            Some(release) => {
                run_start(to, facts, story, parent.parent, release);
                impossible(to, facts, story, parent.parent, release);
            }
        }
    }
    let dated = |moment: usize| story.orders.latest(moment, Trust::Platform).is_some();
    let mut all = story.starts.iter().chain(story.checkpoints.values()).copied();
    let any = !facts.runs.is_empty() || !story.checkpoints.is_empty();
    if any && !all.any(dated) {
        to.missing.push(text!("time/run-start/no-witness"));
    }
}

fn contradictions(to: &mut Judgement, story: &Story, policy: &Policy) {
    let orders = &story.orders;
    // Between facts of somebody outside first: no clock of the party's own can explain those.
    let mut found = orders.contradictions(slack(policy), Trust::Platform);
    for one in orders.contradictions(slack(policy), Trust::SelfAsserted) {
        if !found.contains(&one) {
            found.push(one);
        }
    }
    for one in found.iter().take(SHOWN) {
        to.push(contradiction(orders, one));
    }
    if found.len() > SHOWN {
        to.missing.push(text!("time/order/more", count = found.len() - SHOWN));
    }
    let dated = orders.moments().iter().filter(|moment| moment.earliest.or(moment.latest).is_some()).count();
    if found.is_empty() && !orders.is_empty() && dated > 1 {
        let message = text!("time/order/holds", dated, orders = orders.len(), slack = span(slack(policy)));
        let mut finding = Finding::new(Code::TimeOrder, Grade::Weak, Direction::For, message);
        finding.statistic = Some(0.0);
        to.push(about_order(finding, orders));
    }
}

fn about_order(mut finding: Finding, orders: &Orders) -> Finding {
    finding.n = Some(orders.len() as u64);
    finding.null = text!("time/order/null");
    finding.evidence = Some(TIMELINE.into());
    finding
}

/// Two dates that cannot both be right. A clock that is wrong is honest, so what a party says of itself is a question;
/// where both dates are of somebody outside, it is not.
fn contradiction(orders: &Orders, found: &Contradiction) -> Finding {
    let end = |at: usize| &orders.moments()[found.path[at]];
    let (first, last) = (end(0), end(found.path.len() - 1));
    let own = |moment: &Moment| moment.trust < Trust::Platform;
    let party = own(first) || own(last);
    let zone = party && first.clock != last.clock && is_zone(found.by);
    let (grade, direction) = match (own(first), own(last)) {
        (false, false) => (Grade::Strong, Direction::Against),
        (true, true) if first.clock != last.clock => (Grade::Weak, Direction::Neutral),
        _ if zone => (Grade::Weak, Direction::Neutral),
        _ => (Grade::Moderate, Direction::Against),
    };
    let through: Vec<&str> =
        found.path[1..found.path.len() - 1].iter().map(|&i| orders.moments()[i].what.as_str()).collect();
    let message = text!(
        "time/order/contradiction",
        first = first.what.as_str(),
        first_date = date(first, first.earliest),
        last = last.what.as_str(),
        last_date = date(last, last.latest),
        through,
        by = span(found.by),
        zone,
        wrong_clock = party && !zone,
        settle = repair(if own(first) { first } else { last })
    );
    let mut finding = Finding::new(Code::TimeOrder, grade, direction, message);
    finding.statistic = Some(found.by.as_seconds_f64() / 86_400.0);
    about_order(finding, orders)
}

fn date(moment: &Moment, at: Option<DateTime<Utc>>) -> Text {
    text!("time/order/date", at = at.map(minute), trust = trust(moment.trust), source = moment.source.as_str())
}

/// The grade of a date.
pub(super) fn trust(grade: Trust) -> Text {
    text!("time/dates/trust", grade = grade.name())
}

/// When a model became public.
pub(super) fn released(release: &Release) -> Text {
    let (from, until) = (release.at.earliest, release.at.latest);
    match release.open {
        Open::Start => text!("time/dates/by", until = minute(until)),
        Open::End => text!("time/dates/not-before", from = minute(from)),
        Open::No if until > from => text!("time/dates/between", from = minute(from), until = minute(until)),
        Open::No => text!("time/dates/at", at = minute(from)),
    }
}

fn is_zone(by: TimeDelta) -> bool {
    let seconds = by.num_seconds();
    let off = (seconds + ZONE_MINUTES * 30).rem_euclid(ZONE_MINUTES * 60) - ZONE_MINUTES * 30;
    by <= ZONES && seconds >= 1800 && off.abs() <= 120
}

/// What would settle which of two dates is right.
fn repair(moment: &Moment) -> Text {
    match moment.clock {
        Clock::Log(_) => text!("time/order/settle-log"),
        Clock::Commits => text!("time/order/settle-commits"),
        Clock::CaseFile => text!("time/order/settle-case"),
        Clock::Outside(_) => text!("time/order/settle-outside"),
    }
}

/// A span of time in its largest fitting unit.
fn span(span: TimeDelta) -> Text {
    let seconds = span.as_seconds_f64();
    match seconds {
        s if s < 120.0 => text!("time/dates/seconds", count = s),
        s if s < 7200.0 => text!("time/dates/minutes", count = s / 60.0),
        s if s < 172_800.0 => text!("time/dates/hours", count = s / 3600.0),
        s => text!("time/dates/days", count = s / 86_400.0),
    }
}

/// Checkpoints that neither the case file, nor a log, nor a witness dates.
fn undated(to: &mut Judgement, story: &Story) {
    let any = |moment: usize| {
        story.orders.latest(moment, Trust::SelfAsserted).is_some()
            || story.orders.earliest(moment, Trust::SelfAsserted).is_some()
    };
    let steps: Vec<i64> =
        story.checkpoints.iter().filter(|(_, moment)| !any(**moment)).map(|(step, _)| *step).collect();
    if steps.is_empty() {
        return;
    }
    let message = text!(
        "time/undated/finding",
        count = steps.len(),
        checkpoints = story.checkpoints.len(),
        steps = &steps[..steps.len().min(5)]
    );
    let mut finding = Finding::new(Code::TimeUndated, Grade::Context, Direction::Neutral, message);
    finding.statistic = Some(steps.len() as f64);
    finding.n = Some(story.checkpoints.len() as u64);
    finding.null = text!("time/undated/null");
    finding.evidence = Some(TIMELINE.into());
    finding.subject.steps = steps;
    to.push(finding);
}

/// The start of every run against a release, on the best grade that puts it before.
fn run_start(to: &mut Judgement, facts: &TimeFacts<'_>, story: &Story, parent: &str, release: &Release) {
    for (run, &start) in facts.runs.iter().zip(&story.starts) {
        let bound = |least| story.orders.latest(start, least);
        let before = |least| bound(least).filter(|bound: &Bound| bound.at < release.at.earliest);
        let public = public(release);
        let (at, grade, direction, message) = if let Some((bound, grade)) = before(Trust::Anchored)
            .map(|bound| (bound, Grade::Strong))
            .or_else(|| before(Trust::Platform).map(|bound| (bound, Grade::Moderate)))
        {
            let by = &story.orders.moments()[bound.by];
            let message = text!(
                "time/run-start/witnessed",
                run = called(run),
                at = minute(bound.at),
                by = by.what.as_str(),
                trust = trust(by.trust),
                source = by.source.as_str(),
                parent,
                public
            );
            (bound.at, grade.min(weight(release)), Direction::For, message)
        } else if let Some(start) = run.started_at.or_else(|| bound(Trust::SelfAsserted).map(|bound| bound.at)) {
            let (grade, direction, order) = if start < release.at.earliest {
                (Grade::Weak, Direction::For, "before")
            } else if start <= release.at.latest {
                (Grade::Context, Direction::Neutral, "unsettled")
            } else {
                (Grade::Context, Direction::Neutral, "after")
            };
            let message =
                text!("time/run-start/own-clock", run = called(run), at = minute(start), order, parent, public);
            (start, grade, direction, message)
        } else {
            to.missing.push(text!("time/run-start/missing", run = called(run)));
            continue;
        };
        let mut finding = Finding::new(Code::TimeRunStart, grade, direction, message);
        finding.statistic = Some((at - release.at.earliest).as_seconds_f64() / 86_400.0);
        finding.n = Some(1);
        finding.subject.parent = Some(parent.into());
        finding.null = text!("time/run-start/null");
        finding.evidence = Some(TIMELINE.into());
        to.push(finding);
    }
}

/// What the date of a release can carry at the most.
fn weight(release: &Release) -> Grade {
    match release.trust {
        Trust::Platform | Trust::Anchored => Grade::Strong,
        Trust::Announcement => Grade::Moderate,
        _ => Grade::Weak,
    }
}

fn public(release: &Release) -> Text {
    text!("time/dates/public", when = released(release), trust = trust(release.trust))
}

/// Start, freeze and run before the release, all on facts of somebody outside: the parent's public weights cannot have
/// been the start (METHODS 6).
fn impossible(to: &mut Judgement, facts: &TimeFacts<'_>, story: &Story, parent: &str, release: &Release) {
    let before =
        |moment: usize| story.orders.latest(moment, Trust::Platform).filter(|bound| bound.at < release.at.earliest);
    let mut all = story.starts.iter().chain(story.checkpoints.values()).copied();
    let Some(run) = all.by_ref().filter_map(before).min_by_key(|bound| bound.at) else { return };
    let freeze = match story.freeze.map(before) {
        Some(Some(bound)) => bound,
        Some(None) => {
            to.missing.push(text!("time/impossible/no-stamp", parent));
            return;
        }
        None => {
            to.missing.push(text!("time/impossible/no-settings", parent));
            return;
        }
    };
    if facts.start != Condition::Holds {
        to.missing.push(text!("time/impossible/no-start", parent));
        return;
    }
    let witness = |bound: Bound| {
        let by = &story.orders.moments()[bound.by];
        let (by, trust) = (by.what.as_str(), trust(by.trust));
        text!("time/impossible/witness", by, at = minute(bound.at), trust)
    };
    let message = text!(
        "time/impossible/finding",
        parent,
        public = public(release),
        run = witness(run),
        freeze = witness(freeze)
    );
    let mut finding = Finding::new(Code::TimeImpossible, weight(release), Direction::For, message);
    finding.statistic = Some((run.at.max(freeze.at) - release.at.earliest).as_seconds_f64() / 86_400.0);
    finding.n = Some(2);
    finding.subject.parent = Some(parent.into());
    finding.null = text!("time/impossible/null");
    finding.evidence = Some(TIMELINE.into());
    to.push(finding);
}
