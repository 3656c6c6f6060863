//! The parts of a model that have a residual axis, and so a null, of their own: the language model and every tower.

use std::collections::BTreeSet;

use super::{ALL, ParentFacts, grade};
use crate::{Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_evidence::{ComponentRow, Reference};
use scratchproof_stats::Aligned;
use scratchproof_texts::{Param, Text, text};

/// A parent or control whose silence says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Its name.
    pub model: String,
    /// The model of the case that it equals, file by file; otherwise it looks like an untrained draw.
    pub same_as: Option<String>,
}

/// Why no test can reach a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unreached {
    /// Its name is in no template.
    Unknown,
    /// Its function was deduced from its shape, and no parent and no control has its like.
    Alone,
    /// It is not finite in some checkpoint.
    NotFinite,
    /// Its matrix is all zero at the end.
    Zero,
    /// It is of another shape in another checkpoint, or its number format is unknown.
    Unread,
}

impl Unreached {
    pub(super) fn words(self, share: f64) -> Text {
        match self {
            Self::Unknown => text!("parent/unreached/unknown", share),
            Self::Alone => text!("parent/unreached/alone", share),
            Self::NotFinite => text!("parent/unreached/not-finite", share),
            Self::Zero => text!("parent/unreached/zero", share),
            Self::Unread => text!("parent/unreached/unread", share),
        }
    }
}

/// The language model ([`ALL`], which stands for the whole model) or a tower of the subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// [`ALL`], or the tower's name: its component.
    pub name: String,
    /// Family of its layer map over all its families.
    pub map: String,
    /// Share of the final checkpoint's bytes.
    pub share: f64,
    /// Weight matrices with a residual axis.
    pub matrices: usize,
    /// What every parent and control has that could be its source: a tower's name, empty for the main model.
    pub met: Vec<(Reference, Option<String>)>,
}

impl Part {
    /// What a parent has that could be its source.
    fn source(&self, parent: &str) -> Option<&str> {
        let of = |(reference, _): &&(Reference, Option<String>)| *reference == Reference::Parent(parent.to_owned());
        self.met.iter().find(of).and_then(|(_, other)| other.as_deref())
    }
}

/// One component against one reference at one step, after multiplicity.
#[derive(Clone, Debug)]
pub(super) struct Tested<'a> {
    pub row: &'a ComponentRow,
    pub z: f64,
    pub effect: f64,
    pub log10_p: f64,
}

impl Tested<'_> {
    pub fn grade(&self, policy: &Policy) -> Option<Grade> {
        grade(self.log10_p, self.effect, policy)
    }

    /// The effect that would have been graded moderate on these rows.
    pub fn detectable(&self, policy: &Policy) -> f64 {
        Aligned { z: self.z, log10_p: self.log10_p, effect: self.effect }.detectable_either_way(policy.moderate_log10_p)
    }
}

/// The part that a component is judged with.
pub(super) fn part_of<'a>(facts: &'a ParentFacts<'_>, component: &str) -> &'a str {
    facts.parts.iter().find(|part| part.name == component).map_or(ALL, |part| part.name.as_str())
}

/// Whether a parent could be the source of this part at all: silence is demanded of those only.
fn candidate(part: &Part, parent: &str) -> bool {
    part.met.is_empty() || part.source(parent).is_some()
}

/// What a part of the subject is called in a sentence.
pub(super) fn named(facts: &ParentFacts<'_>, component: &str) -> Text {
    match component {
        ALL if facts.parts.len() > 1 => text!("parent/name/language-model"),
        ALL => text!("parent/name/whole-model"),
        other => text!("parent/name/component", component = other),
    }
}

/// The parent's name, and what a tower of the subject is called in it, where that is another name.
pub(super) fn alias(facts: &ParentFacts<'_>, component: &str, parent: &str) -> Param {
    let part = facts.parts.iter().find(|part| part.name == component && part.name != ALL);
    match part.and_then(|part| part.source(parent)) {
        Some("") => text!("parent/name/main-model-there", parent).into(),
        Some(tower) if tower != component => text!("parent/name/tower-there", parent, tower).into(),
        _ => parent.into(),
    }
}

/// Of a tower that equals the parent's at every checkpoint, value by value: that it was frozen.
pub(super) fn frozen(facts: &ParentFacts<'_>, component: &str, parent: &str) -> Option<Text> {
    let part = facts.parts.iter().find(|part| part.name == component && part.name != ALL)?;
    let own = facts.equal.iter().filter(|e| e.parent == parent && e.component == component);
    let steps: BTreeSet<i64> = facts.figures.iter().map(|row| row.step).collect();
    let mut tensors: BTreeSet<&str> = own.clone().map(|e| e.tensor.as_str()).collect();
    tensors.retain(|t| own.clone().filter(|e| e.tensor == *t).count() == steps.len());
    let layers: BTreeSet<u32> = own.filter(|e| tensors.contains(e.tensor.as_str())).filter_map(|e| e.layer).collect();
    match tensors.len() {
        0 => None,
        n if n >= part.matrices => Some(text!("parent/aligned-similarity/frozen", matrices = n)),
        n => Some(text!(
            "parent/aligned-similarity/frozen-part",
            matrices = n,
            of = part.matrices,
            layers = layers.into_iter().collect::<Vec<_>>()
        )),
    }
}

/// The controls, part by part: one may share a tower with the subject and still be unrelated in its language model.
pub(super) struct Controls {
    /// Control and part in which it is related.
    pub aside: BTreeSet<(String, String)>,
    /// Control and part that it reaches.
    reached: BTreeSet<(String, String)>,
}

impl Controls {
    pub fn new(facts: &ParentFacts<'_>, tests: &[Tested<'_>], aside: BTreeSet<(String, String)>) -> Self {
        let control = |t: &Tested<'_>| match &t.row.reference {
            Reference::Control(name) if !facts.is_unfit(name) => {
                Some((name.clone(), part_of(facts, &t.row.component).to_owned()))
            }
            _ => None,
        };
        Self { aside, reached: tests.iter().filter_map(control).collect() }
    }

    /// Whether a control was set aside in a part.
    pub fn is_aside(&self, control: &str, part: &str) -> bool {
        self.aside.contains(&(control.to_owned(), part.to_owned()))
    }

    /// Controls that fire in a test of a part and were not set aside there.
    pub fn firing<'a>(&self, facts: &ParentFacts<'a>, part: &str, fires: impl Fn(&str) -> bool) -> Vec<&'a str> {
        let counts = |control: &&str| !self.is_aside(control, part) && fires(control);
        facts.controls.iter().copied().filter(counts).collect()
    }

    /// Whether a control reaches a part and is unrelated in it.
    pub fn usable(&self, part: &str) -> bool {
        self.reached.iter().any(|(control, own)| own == part && !self.is_aside(control, own))
    }

    /// Whether a control reaches some part and is unrelated there.
    pub fn unrelated(&self, control: &str) -> bool {
        self.reached.iter().any(|(own, part)| own == control && !self.is_aside(own, part))
    }

    /// Whether all controls that reach a part fire in it: then nothing says that the tests are silent between unrelated models.
    pub fn uncalibrated(&self, part: &str) -> bool {
        self.aside.iter().any(|(_, own)| own == part) && !self.usable(part)
    }

    /// What keeps a similarity in this part from being conclusive.
    pub fn lacking(&self, facts: &ParentFacts<'_>, part: &str) -> Option<Text> {
        // The null of the language model's tests is exact: it needs nobody beside it. A tower's frame is found by a search.
        if part != ALL && facts.controls.is_empty() {
            Some(text!("parent/note/strong-without-control"))
        } else if part != ALL && !self.usable(part) {
            Some(text!("parent/note/strong-out-of-reach", part))
        } else {
            None
        }
    }
}

/// Parts in which a parent must be silent before it is cleared: those it could be the source of. A parent that has a tower
/// only is no candidate for the language model; one without a tower none for the tower. Whatever could be compared counts.
pub(super) fn demanded(facts: &ParentFacts<'_>, parent: &str, tests: &[&Tested<'_>]) -> BTreeSet<String> {
    let compared = |part: &&Part| tests.iter().any(|t| part_of(facts, &t.row.component) == part.name);
    let lead = facts.parts.iter().find(|part| part.name == ALL);
    let towers: BTreeSet<String> =
        facts.parts.iter().filter(|p| p.name != ALL).filter(compared).map(|p| p.name.clone()).collect();
    if lead.is_none_or(|lead| candidate(lead, parent)) || towers.is_empty() {
        BTreeSet::from([ALL.to_owned()])
    } else {
        towers
    }
}

/// Says of the towers what no reference could show.
pub(super) fn unreached(judgement: &mut Judgement, facts: &ParentFacts<'_>, tests: &[Tested<'_>], controls: &Controls) {
    // Of a control that was compared there and is unfit it is said why.
    let met_by_unfit = |part: &str| {
        let of = |row: &ComponentRow| matches!(&row.reference, Reference::Control(name) if facts.is_unfit(name));
        facts.figures.iter().any(|row| row.component == part && of(row))
    };
    for part in facts.parts.iter().filter(|part| part.name != ALL && part.matrices > 0) {
        let name = &part.name;
        if !tests.iter().any(|t| t.row.component == *name) {
            judgement.missing.push(text!(
                "parent/missing/tower-source",
                tower = name,
                parents = facts.parents.clone(),
                matrices = part.matrices
            ));
        } else if !controls.usable(name) && !controls.uncalibrated(name) && !met_by_unfit(name) {
            judgement.missing.push(text!("parent/missing/tower-control", tower = name));
        }
    }
}
