//! What was added between two checkpoints is a parent: put into the middle of a training, where the final checkpoint has
//! forgotten most of it (METHODS 2.1 and 3, asked of the later checkpoint less what it keeps of the earlier one). So is the first
//! checkpoint, where a training began with it.

use std::collections::BTreeMap;

use super::parts::Controls;
use super::{ALL, ParentFacts, basis, disguise};
use crate::{Code, Direction, Finding, Grade, Judgement, Subject};
use scratchproof_case::Policy;
use scratchproof_evidence::{DisguiseRow, Reference};
use scratchproof_measurements::Question;
use scratchproof_texts::{Text, text};

/// One answer beyond its null.
struct Shown<'a> {
    row: &'a DisguiseRow,
    grade: Grade,
    log10_p: f64,
    effect: f64,
    message: Text,
    null: Text,
    /// Whether its null is exact, so that it counts without a control.
    exact: bool,
}

/// The intervals that one model was held against: its rows are of one after the other.
fn intervals<'a>(facts: &ParentFacts<'a>, reference: &Reference) -> Vec<&'a [DisguiseRow]> {
    let apart = |a: &DisguiseRow, b: &DisguiseRow| (&a.reference, a.to_step) == (&b.reference, b.to_step);
    facts.added.chunk_by(apart).filter(|rows| rows[0].reference == *reference).collect()
}

/// What the rows of one interval show of a model, of `of` that it was held against. Second moments are left out: layers that
/// learn to read the same features have them alike, and they name no part.
fn shown<'a>(
    facts: &'a ParentFacts<'_>,
    rows: &'a [DisguiseRow],
    name: &str,
    of: usize,
    policy: &Policy,
) -> Vec<Shown<'a>> {
    let Some(first) = rows.first() else { return Vec::new() };
    let reference = &first.reference;
    let mut all = Vec::new();
    for test in disguise::TESTS.iter().filter(|test| test.question != Question::SecondMoments.name()) {
        let own: Vec<&DisguiseRow> = disguise::rows(rows, reference, test).collect();
        for row in &own {
            let Some((grade, log10_p, effect)) = disguise::graded(row, test, own.len() * of, policy) else { continue };
            let message = disguise::said(facts, test, row, name, &row.component, effect);
            let (null, exact) = ((test.null)(), disguise::exact(row, test));
            all.push(Shown { row, grade, log10_p, effect, message, null, exact });
        }
    }
    for mut test in basis::tested(rows, reference) {
        test.log10_p = (test.log10_p + (of.max(1) as f64).log10()).min(0.0);
        let Some(grade) = test.grade(policy) else { continue };
        let (message, null) = (test.said(name), test.null());
        let (row, log10_p, effect) = (test.row, test.log10_p, test.effect);
        all.push(Shown { row, grade, log10_p, effect, message, null, exact: true });
    }
    all
}

/// What the first checkpoint, a clean draw, shows of a disguised parent beyond doubt: as the parent is not a draw, it has grown from
/// this one, or this one was made of it. `None` where a component that shows is no clean draw.
pub(super) fn in_clean_start(facts: &ParentFacts<'_>, parent: &str, policy: &Policy) -> Option<(Text, f64, f64)> {
    let own = intervals(facts, &Reference::Parent(parent.to_owned()));
    let first = own.iter().find(|rows| rows[0].from_step.is_none())?;
    let answers = shown(facts, first, parent, own.len(), policy);
    let clean = |one: &Shown<'_>| one.row.component == ALL || facts.clean_start.contains(&one.row.component);
    let sure = answers.iter().any(|one| one.grade >= Grade::Strong);
    if !sure || facts.clean_start.is_empty() || !answers.iter().all(clean) {
        return None;
    }
    let best = answers.into_iter().max_by(|a, b| a.grade.cmp(&b.grade).then(a.effect.total_cmp(&b.effect)))?;
    Some((best.message, best.log10_p, best.effect))
}

/// One finding for every component that was added, where it shows most. Returns whether there is one that counts.
pub(super) fn findings(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    controls: &Controls,
    seeded: bool,
    policy: &Policy,
) -> bool {
    let own = intervals(facts, &Reference::Parent(parent.to_owned()));
    let mut best: BTreeMap<&str, Shown<'_>> = BTreeMap::new();
    for rows in &own {
        let answers = shown(facts, rows, parent, own.len(), policy);
        // A training has many intervals, and what was put in shows plainly in one of them: what is weaker counts beside it.
        if answers.iter().all(|one| one.grade < Grade::Strong) {
            continue;
        }
        for one in answers {
            let component = one.row.component.as_str();
            // What was put in leaves again, so that later intervals show it too: the first of the clearest is where it came.
            let here = |old: &Shown<'_>| old.row.to_step == one.row.to_step && one.effect > old.effect;
            if best.get(component).is_none_or(|old| one.grade > old.grade || one.grade == old.grade && here(old)) {
                best.insert(component, one);
            }
        }
    }
    let mut counts = false;
    for (component, one) in best {
        let (from, Some(to)) = (one.row.from_step, one.row.to_step) else { continue };
        let mut message = match from {
            Some(from) => text!("parent/added/found", parent, from, to, answer = one.message),
            None => text!("parent/added/first", parent, step = to, answer = one.message),
        };
        let firing = firing(facts, controls, one.row, policy);
        let mut grade = one.grade;
        let direction = disguise::weighed(facts, controls, (&mut grade, one.exact), (seeded, &firing), &mut message);
        counts |= direction == Direction::Against;
        let mut finding = Finding::new(Code::ParentAdded, grade, direction, message);
        finding.subject = Subject {
            component: (component != ALL).then(|| component.to_owned()),
            parent: Some(parent.to_owned()),
            steps: from.into_iter().chain([to]).collect(),
            ..Subject::default()
        };
        finding.statistic = one.row.z.or(one.row.agreed);
        finding.log10_p = Some(one.log10_p);
        finding.effect = Some(one.effect);
        finding.n = Some(one.row.of);
        finding.null = one.null;
        finding.evidence = Some("evidence/disguise.parquet".into());
        judgement.push(finding);
    }
    counts
}

/// Controls that answer the same question of the same interval beyond its null.
fn firing<'a>(facts: &'a ParentFacts<'_>, controls: &Controls, row: &DisguiseRow, policy: &Policy) -> Vec<&'a str> {
    controls.firing(facts, ALL, |control| {
        let all = intervals(facts, &Reference::Control(control.to_owned()));
        let here = all.iter().filter(|rows| rows[0].to_step == row.to_step);
        let mut answers = here.flat_map(|rows| shown(facts, rows, control, 1, policy));
        answers.any(|one| one.row.question == row.question)
    })
}
