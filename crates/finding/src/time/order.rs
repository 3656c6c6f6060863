//! The dates of the record against each other and against the releases of the parents.

use chrono::{DateTime, TimeDelta, Utc};

use super::history::{minute, slack};
use super::{Code, Condition, Direction, Finding, Grade, Judgement, TIMELINE, TimeFacts, called, called_first};
use scratchproof_case::Policy;
use scratchproof_record::{Release, Trust};
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
            None => to.missing.push(format!("the date on which {} became public", parent.parent).into()),
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
        to.missing.push(
            "an outside witness of when the training ran (a tracker's server-side times, a time stamp over an early \
             checkpoint or its upload to a hub); every date of it is its own"
                .into(),
        );
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
        to.missing.push(format!("answers to {} more contradictions between dates", found.len() - SHOWN).into());
    }
    let dated = orders.moments().iter().filter(|moment| moment.earliest.or(moment.latest).is_some()).count();
    if found.is_empty() && !orders.is_empty() && dated > 1 {
        let message = format!(
            "{dated} dated facts stand in the {} orders that must hold between them; clocks may differ by {}.",
            orders.len(),
            words(slack(policy))
        );
        let mut finding = Finding::new(Code::TimeOrder, Grade::Weak, Direction::For, message);
        finding.statistic = Some(0.0);
        to.push(about_order(finding, orders));
    }
}

fn about_order(mut finding: Finding, orders: &Orders) -> Finding {
    finding.n = Some(orders.len() as u64);
    finding.null = "what must come first is dated first, beyond what clocks differ by".into();
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
    let through =
        if through.is_empty() { String::new() } else { format!(", by way of \"{}\"", through.join("\", \"")) };
    let explained = match (zone, party) {
        (true, _) => " A clock set to another time zone explains it.",
        (false, true) => " A clock that was wrong by as much would explain it.",
        (false, false) => "",
    };
    let message = format!(
        "That {} ({}) must come before that {} ({}){through}, but is dated {} after it.{explained} To settle it: {}.",
        first.what,
        date(first, first.earliest),
        last.what,
        date(last, last.latest),
        words(found.by),
        repair(if own(first) { first } else { last })
    );
    let mut finding = Finding::new(Code::TimeOrder, grade, direction, message);
    finding.statistic = Some(found.by.as_seconds_f64() / 86_400.0);
    about_order(finding, orders)
}

fn date(moment: &Moment, at: Option<DateTime<Utc>>) -> String {
    format!("{}, {}, {}", at.map_or_else(|| "no date".into(), minute), moment.trust, moment.source)
}

fn is_zone(by: TimeDelta) -> bool {
    let seconds = by.num_seconds();
    let off = (seconds + ZONE_MINUTES * 30).rem_euclid(ZONE_MINUTES * 60) - ZONE_MINUTES * 30;
    by <= ZONES && seconds >= 1800 && off.abs() <= 120
}

/// What would settle which of two dates is right.
fn repair(moment: &Moment) -> &'static str {
    match moment.clock {
        Clock::Log(_) => "the run as the tracker's server holds it, with the server's own times",
        Clock::Commits => "the forge's record of when the commit was pushed",
        Clock::CaseFile => "the storage's record of when the checkpoint was written or uploaded",
        Clock::Outside(_) => "a second witness of the same fact",
    }
}

/// A span of time in its largest fitting unit.
fn words(span: TimeDelta) -> String {
    let seconds = span.as_seconds_f64();
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} minutes", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} hours", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
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
    let named: Vec<String> = steps.iter().take(5).map(ToString::to_string).collect();
    let more = if steps.len() > named.len() { " and more" } else { "" };
    let message = format!(
        "No source dates {} of {} checkpoints (step {}{more}). The times at which the storage wrote them, a log that \
         covers them or a time stamp would.",
        steps.len(),
        story.checkpoints.len(),
        named.join(", ")
    );
    let mut finding = Finding::new(Code::TimeUndated, Grade::Context, Direction::Neutral, message);
    finding.statistic = Some(steps.len() as f64);
    finding.n = Some(story.checkpoints.len() as u64);
    finding.null = "every checkpoint was saved at a time that something recorded".into();
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
        let (at, grade, direction, words) = if let Some((bound, grade)) = before(Trust::Anchored)
            .map(|bound| (bound, Grade::Strong))
            .or_else(|| before(Trust::Platform).map(|bound| (bound, Grade::Moderate)))
        {
            let by = &story.orders.moments()[bound.by];
            let words =
                format!("no later than {} because {} ({}, {}), before", minute(bound.at), by.what, by.trust, by.source);
            (bound.at, grade.min(weight(release)), Direction::For, words)
        } else if let Some(start) = run.started_at.or_else(|| bound(Trust::SelfAsserted).map(|bound| bound.at)) {
            let (grade, direction, order) = if start < release.at.earliest {
                (Grade::Weak, Direction::For, "before")
            } else if start <= release.at.latest {
                (Grade::Context, Direction::Neutral, "while it is not settled whether")
            } else {
                (Grade::Context, Direction::Neutral, "after")
            };
            (start, grade, direction, format!("at {} by its own clock, {order}", minute(start)))
        } else {
            to.missing.push(format!("the start time of {}", called(run)).into());
            continue;
        };
        let message = format!("{} started {words} {parent} became public ({public}).", called_first(run));
        let mut finding = Finding::new(Code::TimeRunStart, grade, direction, message);
        finding.statistic = Some((at - release.at.earliest).as_seconds_f64() / 86_400.0);
        finding.n = Some(1);
        finding.subject.parent = Some(parent.into());
        finding.null =
            "days from the release to the start; a run that started before it cannot have used public weights".into();
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

fn public(release: &Release) -> String {
    format!("{}, {}", release.when(), release.trust)
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
            to.missing.push(format!(
                "a time stamp over the commit that froze the architecture, or over a later one, from before {parent} \
                 became public"
            ).into());
            return;
        }
        None => {
            to.missing.push(format!(
                "a repository with the settings of the model, stamped by somebody outside before {parent} became public"
            ).into());
            return;
        }
    };
    if facts.start != Condition::Holds {
        to.missing.push(
            format!("a start that holds: run and architecture are witnessed from before {parent} became public").into(),
        );
        return;
    }
    let witness = |bound: Bound| {
        let by = &story.orders.moments()[bound.by];
        format!("{} by {} ({})", by.what, minute(bound.at), by.trust)
    };
    let message = format!(
        "{parent} cannot be the source of the start by its public weights: they became public later ({}), the start is a \
         random draw, and {}; {}. Weights handed over in private are outside what dates can say.",
        public(release),
        witness(run),
        witness(freeze)
    );
    let mut finding = Finding::new(Code::TimeImpossible, weight(release), Direction::For, message);
    finding.statistic = Some((run.at.max(freeze.at) - release.at.earliest).as_seconds_f64() / 86_400.0);
    finding.n = Some(2);
    finding.subject.parent = Some(parent.into());
    finding.null = "days from the release to the later of run and freeze, as somebody outside dates them".into();
    finding.evidence = Some(TIMELINE.into());
    to.push(finding);
}
