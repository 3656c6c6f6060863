//! A parent's attention heads in any basis: products inside heads and their signs across heads (METHODS 9).

use scratchproof_texts::{Text, text};

use super::parts::Controls;
use super::{ALL, ParentFacts, grade, null};
use crate::{Code, Direction, Finding, Grade, Judgement, Subject};
use scratchproof_case::Policy;
use scratchproof_evidence::{DisguiseRow, Reference};
use scratchproof_measurements::Question;
use scratchproof_stats::{Aligned, holm};

/// Where the figures stand.
const TABLE: &str = "evidence/disguise.parquet";

/// log10 of 0.05.
const ONE_IN_TWENTY: f64 = -1.301;

/// One test after multiplicity over the tests against this model.
pub(super) struct Tested<'a> {
    pub row: &'a DisguiseRow,
    signs: bool,
    pub log10_p: f64,
    pub effect: f64,
}

impl Tested<'_> {
    /// Signs are graded by the correlation of the products, agreements of two matchings by their share beyond what is expected.
    pub fn grade(&self, policy: &Policy) -> Option<Grade> {
        if self.signs {
            // Unrelated models reach a correlation of 0.08 by few and small heads, at no significance.
            return grade(self.log10_p, self.effect, policy).filter(|_| self.effect >= policy.strong_effect);
        }
        let found = grade(self.log10_p, 1.0, policy).filter(|_| self.effect >= policy.matched_strong);
        if self.effect >= policy.matched_conclusive { found } else { found.map(|g| g.min(Grade::Strong)) }
    }

    /// What it shows.
    pub fn said(&self, parent: &str) -> Text {
        let (agreed, of) = (self.row.agreed.unwrap_or(0.0), self.row.of);
        let between = self.row.between.as_str();
        if self.signs {
            text!("parent/head-signs/agree", parent = parent, rows = between, agreed, of, correlation = self.effect)
        } else {
            let expected = self.row.expected.unwrap_or(0.0);
            text!("parent/head-products/agree", parent = parent, agreed, of, expected, between)
        }
    }

    /// What unrelated models show.
    pub fn null(&self) -> Text {
        if self.signs { text!("parent/head-signs/null") } else { text!("parent/head-products/null") }
    }
}

pub(super) fn tested<'a>(all: &'a [DisguiseRow], reference: &Reference) -> Vec<Tested<'a>> {
    let questions = [Question::HeadProducts.name(), Question::HeadSigns.name()];
    let rows: Vec<&DisguiseRow> =
        all.iter().filter(|row| row.reference == *reference && questions.contains(&row.question.as_str())).collect();
    let adjusted = holm(&rows.iter().map(|row| row.log10_p).collect::<Vec<_>>());
    let one = |(row, log10_p): (&'a DisguiseRow, Option<f64>)| {
        let signs = row.question == Question::HeadSigns.name();
        let beyond = (row.agreed? - row.expected?) / row.of.max(1) as f64;
        Some(Tested { row, signs, log10_p: log10_p?, effect: if signs { row.effect? } else { beyond } })
    };
    rows.into_iter().zip(adjusted).filter_map(one).collect()
}

/// Whether the heads in these rows are the model's at moderate or above.
pub(super) fn speaks(all: &[DisguiseRow], reference: &Reference, policy: &Policy) -> bool {
    tested(all, reference).iter().any(|test| test.grade(policy).is_some())
}

/// The findings of one parent. Both nulls are exact, so that they count without a control; where every control fires nothing
/// counts. Returns the highest grade.
pub(super) fn findings(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    controls: &Controls,
    seeded: bool,
    policy: &Policy,
) -> Option<Grade> {
    let all = tested(facts.disguise, &Reference::Parent(parent.to_owned()));
    let fires = |control: &&&str| {
        let own = tested(facts.disguise, &Reference::Control((**control).to_owned()));
        own.iter().any(|test| test.grade(policy).is_some())
    };
    let firing: Vec<&str> = facts.controls.iter().filter(fires).copied().collect();
    let uncounted = controls.uncalibrated(ALL) || !firing.is_empty() && firing.len() == facts.controls.len();
    let mut highest = None;
    for signs in [false, true] {
        let graded = all.iter().filter(|t| t.signs == signs).filter_map(|t| Some((t, t.grade(policy)?)));
        let Some((test, mut grade)) = graded.max_by(|a, b| a.1.cmp(&b.1).then(b.0.log10_p.total_cmp(&a.0.log10_p)))
        else {
            continue;
        };
        let (agreed, of) = (test.row.agreed.unwrap_or(0.0), test.row.of);
        let mut message = test.said(parent);
        let mut direction = Direction::Against;
        if seeded {
            (grade, direction) = (Grade::Context, Direction::Neutral);
            message.push(text!("parent/head-signs/one-start"));
        } else if uncounted {
            (grade, direction) = (Grade::Context, Direction::Neutral);
            message.push(text!("parent/head-signs/controls-fire"));
        } else {
            highest = highest.max(Some(grade));
        }
        let code = if signs { Code::ParentHeadSigns } else { Code::ParentHeadProducts };
        let mut finding = Finding::new(code, grade, direction, message);
        finding.subject = Subject {
            component: Some("attention".into()),
            parent: Some(parent.to_owned()),
            steps: vec![facts.steps.1],
            ..Subject::default()
        };
        finding.statistic = Some(agreed);
        finding.log10_p = Some(test.log10_p);
        finding.effect = Some(test.effect);
        finding.n = Some(of);
        finding.null = test.null();
        finding.evidence = Some(TABLE.into());
        judgement.push(finding);
    }
    highest
}

/// Whether there is a fingerprint of a parent and no weights.
pub(super) fn fingerprint<'a>(facts: &'a ParentFacts<'_>, parent: &str) -> Option<&'a DisguiseRow> {
    let of = |row: &&DisguiseRow| {
        row.question == Question::ChosenRows.name() && row.reference == Reference::Parent(parent.to_owned())
    };
    facts.disguise.iter().find(of)
}

/// What a parent's fingerprint allows: the rows in it as they stand, and what no test reached.
pub(super) fn chosen_rows(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    parent: &str,
    row: &DisguiseRow,
    seeded: bool,
    policy: &Policy,
) {
    let (z, effect, log10_p) = (row.z.unwrap_or(0.0), row.effect.unwrap_or(0.0), row.log10_p.unwrap_or(0.0));
    let detectable = Aligned { z, log10_p, effect }.detectable_either_way(policy.moderate_log10_p);
    let mut finding = Finding::new(
        Code::ParentFingerprint,
        Grade::Context,
        Direction::Neutral,
        if row.of == 0 {
            text!("parent/fingerprint/heads-only", parent = parent)
        } else {
            text!("parent/fingerprint/allows", parent = parent, rows = row.of, detectable)
        },
    );
    finding.subject.parent = Some(parent.to_owned());
    finding.null = text!("parent/fingerprint/null");
    finding.evidence = Some(TABLE.into());
    judgement.push(finding);
    judgement.missing.push(text!("parent/fingerprint/missing", parent = parent));
    let Some(found) = grade(log10_p, effect, policy) else { return };
    let (found, direction) = if seeded { (Grade::Context, Direction::Neutral) } else { (found, Direction::Against) };
    let mut message = text!("parent/fingerprint/rows", parent = parent, rows = row.of, z, correlation = effect);
    if seeded {
        message.push(text!("parent/head-signs/one-start"));
    }
    let mut finding = Finding::new(Code::ParentSimilarity, found, direction, message);
    finding.subject = Subject { parent: Some(parent.to_owned()), steps: vec![facts.steps.1], ..Subject::default() };
    finding.statistic = Some(z);
    finding.log10_p = Some(log10_p);
    finding.effect = Some(effect);
    finding.n = Some(row.of);
    finding.null = null();
    finding.evidence = Some(TABLE.into());
    judgement.push(finding);
}

/// What the silence of the heads is worth: as many coins as were thrown.
pub(super) fn silent(judgement: &mut Judgement, facts: &ParentFacts<'_>, parent: &str, policy: &Policy) {
    let all = tested(facts.disguise, &Reference::Parent(parent.to_owned()));
    let Some(test) = all.iter().filter(|t| t.signs).max_by_key(|t| t.row.of) else { return };
    let tests = all.len().max(1) as f64;
    let most = -(test.row.of as f64) * std::f64::consts::LOG10_2 + tests.log10();
    // What unrelated heads show once in twenty times or less is no sign of independence, whatever the power.
    let usual = all.iter().all(|test| test.log10_p > ONE_IN_TWENTY);
    let grade = if usual && most <= policy.strong_log10_p { Grade::Strong } else { Grade::Weak };
    let mut finding = Finding::new(
        Code::ParentHeadsSilent,
        grade,
        Direction::For,
        text!(
            "parent/no-head-alike/silent",
            parent = parent,
            agreed = test.row.agreed.unwrap_or(0.0),
            of = test.row.of,
            correlation = test.effect,
            most,
        ),
    );
    finding.subject.parent = Some(parent.to_owned());
    finding.subject.component = Some("attention".into());
    finding.statistic = test.row.agreed;
    finding.log10_p = Some(test.log10_p);
    finding.effect = Some(test.effect);
    finding.n = Some(test.row.of);
    finding.null = text!("parent/head-signs/null");
    finding.evidence = Some(TABLE.into());
    judgement.push(finding);
}
