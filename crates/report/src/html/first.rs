//! The first screen: who claims what, the answer, what it rests on, what is missing, and the two pictures.

use minijinja::Value;
use scratchproof_texts::text;
use serde::Serialize;

use crate::answer::{self, part};
use crate::said::Said;
use crate::scene::Map;
use crate::svg::Svg;
use crate::text::shortened;
use crate::{CaseSummary, ComponentOutcome, ComponentResult, Condition, Report, heatmap, number, wording};
use scratchproof_finding::Code;

/// Letters of a name that are shown.
pub(super) const LETTERS: usize = 200;

#[derive(Serialize)]
pub(super) struct First {
    pub found: Said,
    pub sure: Said,
    pub rests: Vec<RestView>,
    pub limits: Vec<Said>,
    pub request: Said,
    pub missing: Vec<Said>,
    pub map: Option<FirstMap>,
    pub strip: Vec<Strip>,
}

/// One line of what the case file says.
#[derive(Serialize)]
pub(super) struct Meta {
    pub label: Said,
    pub value: Said,
    /// A digest or a path.
    pub code: bool,
}

#[derive(Serialize)]
pub(super) struct RestView {
    pub key: String,
    pub name: Said,
    pub state: &'static str,
    pub word: Said,
    pub power: Said,
}

#[derive(Serialize)]
pub(super) struct FirstMap {
    pub title: Said,
    pub drawing: Value,
    pub words: Said,
}

/// One component.
#[derive(Serialize)]
pub(super) struct Strip {
    pub name: Said,
    pub outcome: &'static str,
    pub word: Said,
    pub bar: Value,
    pub effect: String,
}

pub(super) fn first(report: &Report, maps: &[Map<'_>], side: f64) -> First {
    let answer = &report.answer;
    let rests = answer.rests.iter().map(|rest| RestView {
        key: rest.condition.clone(),
        name: condition(&rest.condition),
        state: wording::condition(rest.state),
        word: state(rest.state),
        power: (&rest.power.said).into(),
    });
    First {
        found: (&answer.found).into(),
        sure: (&answer.sure.said).into(),
        rests: rests.collect(),
        limits: answer.limits.iter().map(|limit| (&limit.said).into()).collect(),
        request: answer::request(report).into(),
        missing: report.verdict.missing.iter().map(Said::from).collect(),
        map: main_map(report, maps).map(|map| first_map(map, side)),
        strip: report.components.iter().map(|component| strip(report, component)).collect(),
    }
}

/// What the case file says of the claim, in the order in which it is asked for.
pub(super) fn meta(case: &CaseSummary) -> Vec<Meta> {
    let said = |label: Said, value: &Option<String>| Meta {
        label,
        value: value
            .as_ref()
            .map_or_else(|| text!("page/head/not-stated").into(), |words| Said::plain(shortened(words, LETTERS))),
        code: false,
    };
    let claim = if case.claim == "from-scratch" {
        text!("page/head/from-scratch").into()
    } else {
        Said::plain(case.claim.clone())
    };
    let mut lines = vec![
        Meta { label: text!("page/head/claim").into(), value: claim, code: false },
        said(text!("page/head/claimant").into(), &case.claimant),
        said(text!("page/head/date").into(), &case.date),
    ];
    if case.auditor.is_some() {
        lines.push(said(text!("page/head/auditor").into(), &case.auditor));
    }
    if case.name != case.subject {
        let value = Said::plain(shortened(&case.name, LETTERS));
        lines.push(Meta { label: text!("page/head/case").into(), value, code: false });
    }
    let value = Said::plain(case.digest.clone());
    lines.push(Meta { label: text!("page/head/digest").into(), value, code: true });
    lines
}

pub(crate) fn condition(key: &str) -> Said {
    let named = wording::groups().into_iter().find(|(group, _)| *group == key);
    named.map_or_else(|| Said::plain(key), |(_, name)| name.into())
}

pub(crate) fn state(state: Condition) -> Said {
    match state {
        Condition::Holds => text!("page/state/holds"),
        Condition::Fails => text!("page/state/fails"),
        Condition::Untested => text!("page/state/untested"),
    }
    .into()
}

/// The map that shows most of what was found: of an accused parent if there is one, else of the first parent; the one with
/// the most cells that stand out, of all families together where that is as many.
fn main_map<'a>(report: &Report, maps: &'a [Map<'a>]) -> Option<&'a Map<'a>> {
    let of = |names: &[String]| {
        let mut own: Vec<&Map<'_>> = maps.iter().filter(|map| names.iter().any(|name| name == map.parent)).collect();
        own.sort_by_key(|map| {
            std::cmp::Reverse((heatmap::beyond(map), map.family == "all", map.family.ends_with(".all")))
        });
        own.first().copied()
    };
    of(&report.answer.accused).or_else(|| {
        maps.iter().find(|map| report.verdict.against.iter().any(|name| name == map.parent) && map.family == "all")
    })
}

fn first_map(map: &Map<'_>, side: f64) -> FirstMap {
    let parent = map.parent;
    let title = match map.family.split_once('.') {
        Some((tower, _)) => text!("page/first/map-part", part = part(tower), parent),
        None => text!("page/first/map", parent),
    };
    FirstMap {
        title: title.into(),
        drawing: Value::from_safe_string(heatmap::draw(map, side)),
        words: heatmap::describe(map),
    }
}

fn strip(report: &Report, component: &ComponentResult) -> Strip {
    let outcome = wording::component(component.outcome);
    let parent = component.parent.as_deref().unwrap_or_default();
    let seed = report.findings.iter().any(|finding| {
        finding.code == Code::ParentSharedSeed
            && component.parent.is_some()
            && finding.subject.parent == component.parent
            && finding.subject.component.as_ref().is_none_or(|named| *named == component.name)
    });
    let word = match component.outcome {
        ComponentOutcome::Derived => text!("page/strip/from", parent),
        ComponentOutcome::Independent if seed => text!("page/strip/seed", parent),
        ComponentOutcome::Independent => text!("page/strip/own"),
        ComponentOutcome::Undetermined => text!("page/strip/open"),
    };
    Strip {
        name: part(&component.name).into(),
        outcome,
        word: word.into(),
        bar: bar(component.effect, outcome),
        effect: number::effect(component.effect),
    }
}

/// A bar from 0 to 1; an effect below 0 runs to the left of the zero mark.
fn bar(effect: Option<f64>, class: &str) -> Value {
    let (zero, full) = (12.0, 100.0);
    let mut svg = Svg::new(zero + full, 12.0, "bar", &number::effect(effect));
    svg.frame("track", (zero, 3.0), (full, 6.0));
    let length = effect.unwrap_or(0.0).clamp(-zero / full, 1.0) * full;
    svg.frame(class, (zero + length.min(0.0), 3.0), (length.abs(), 6.0));
    svg.line("zero", (zero, 0.0), (zero, 12.0));
    Value::from_safe_string(svg.finish())
}
