//! What was read, what was not, and what was wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use super::read::Read;
use super::unjudged::{self, some};
use scratchproof_facts::parent::looked;
use scratchproof_facts::{Session, references};
use scratchproof_finding::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_measurements::{Deduction, How, Model, manifest};
use scratchproof_report::{Coverage, Input, InputRole, Skipped};
use scratchproof_source::is_rehearsal;
use scratchproof_texts::{Text, text};

/// Everything the audit read, in the order of the case file.
pub fn list(session: &Session, read: &Read) -> Vec<Input> {
    let case = session.case;
    let kept = session.measured.models.iter().zip(&session.measured.steps);
    let mut models: Vec<(InputRole, String, &Model)> = kept
        .map(|(model, step)| {
            let name = if session.is_series() { format!("step {step}") } else { case.subject.name.clone() };
            (InputRole::Checkpoint, name, model)
        })
        .collect();
    let roles = case.parents.iter().map(|p| (InputRole::Parent, &p.name));
    let roles = roles.chain(case.controls.iter().map(|c| (InputRole::Control, &c.name)));
    models.extend(roles.zip(session.measured.references()).map(|((role, name), model)| (role, name.clone(), model)));
    let mut inputs: Vec<Input> = models
        .into_iter()
        .zip(&session.measured.digests)
        .map(|((role, name, model), files)| Input {
            role,
            name,
            uri: model.uri.clone(),
            // Where rows were drawn, or the model itself, there are no digests of files, and none is claimed.
            sha256: if files.is_empty() { String::new() } else { manifest(files) },
            bytes: if files.is_empty() { model.bytes } else { files.iter().map(|f| f.bytes).sum() },
        })
        .collect();
    inputs.extend(read.inputs.iter().cloned());
    inputs
}

/// Findings about the material itself, and how much of it was compared.
pub fn coverage(session: &Session, read: &Read) -> (Judgement, Coverage) {
    let mut judgement = Judgement::untested();
    let mut skipped: Vec<Skipped> = session
        .measured
        .plan
        .skipped
        .iter()
        .map(|(tensor, why)| Skipped { tensor: tensor.clone(), why: why.clone() })
        .collect();
    let notes = session.measured.subject().notes.iter();
    skipped.extend(notes.map(|note| Skipped { tensor: "(checkpoint)".to_owned(), why: note.clone() }));
    skipped.extend(read.skipped.iter().cloned());
    skipped.extend(vocabularies(session));
    skipped.extend(
        session
            .measured
            .left_out
            .iter()
            .map(|(step, why)| Skipped { tensor: format!("(step {step})"), why: why.clone() }),
    );
    skipped.extend(towers(session));
    skipped.extend(chosen(session));
    skipped.extend(rehearsed(session).map(|model| Skipped {
        tensor: format!("({})", model.uri),
        why: "drawn by the tool to rehearse with: nobody's weights, and figures of one tensor may stand for those of others".into(),
    }));
    drawn(session, &mut judgement);
    skipped.extend(not_followed_up(session));
    broken_weights(session, &mut judgement, &mut skipped);
    names(session, &mut judgement, &mut skipped);
    files(session, &mut judgement);
    judgement.findings.extend(read.findings.iter().cloned());
    judgement.missing.extend(read.missing.iter().cloned());
    skipped.sort();
    skipped.dedup();
    let own = session.measured.plan.units.iter().filter(|unit| unit.in_subject());
    let coverage = Coverage {
        tensors: session.measured.subject().tensors.len() as u64,
        compared: own.filter(|unit| unit.members.len() > 1).count() as u64,
        skipped,
        bytes_read: session.measured.bytes_read,
        looked: looked::sentences(&looked::rows(session), session.measured.sample.is_some()),
    };
    (judgement, coverage)
}

/// The models of a case that are drawn by the tool.
fn rehearsed<'a>(session: &Session<'a>) -> impl Iterator<Item = &'a Model> {
    session.measured.models.iter().filter(|model| is_rehearsal(&model.uri))
}

/// Why a case can confirm nothing whatever was found in it: some of its models are nobody's.
pub fn lacking(session: &Session) -> Option<Text> {
    let models: Vec<String> = rehearsed(session).map(|model| model.uri.clone()).collect();
    (!models.is_empty()).then(|| text!("input/rehearsal/missing", models))
}

/// Checkpoints of the series that whoever audited it left aside.
fn chosen(session: &Session) -> Option<Skipped> {
    let choice = &session.case.choice;
    let used = session.case.subject.checkpoints.len();
    let asked = match (choice.every, choice.most) {
        _ if !choice.steps.is_empty() => "--steps".to_owned(),
        (Some(every), _) => format!("--every {every}"),
        (None, Some(most)) => format!("--max-fetch {most}"),
        (None, None) => return None,
    };
    (choice.left > 0).then(|| Skipped {
        tensor: "(series)".to_owned(),
        why: format!("{used} of its {} checkpoints were used, by {asked}", used + choice.left),
    })
}

/// That rows were drawn, and what that leaves aside.
fn drawn(session: &Session, judgement: &mut Judgement) {
    let Some(sample) = &session.measured.sample else { return };
    let text = text!(
        "input/drawn-rows/some",
        share = sample.sampling.share,
        seed = sample.sampling.seed,
        tensors = sample.tensors,
        heads = sample.heads,
        rows = sample.rows.0,
        of_rows = sample.rows.1,
        bytes = sample.bytes.0,
        of_bytes = sample.bytes.1
    );
    let mut finding = Finding::new(Code::InputDrawnRows, Grade::Context, Direction::Neutral, text);
    finding.effect = Some(sample.rows.0 as f64 / sample.rows.1.max(1) as f64);
    finding.n = Some(sample.rows.0);
    judgement.push(finding);
    judgement.missing.push(text!("input/drawn-rows/missing"));
}

/// The searches that a policy asks more of than was measured. What a search follows up is fixed in the plan, so that the
/// measurements of a case do not depend on the policy; one that counts less clear answers than these is told which units lack
/// what lies between.
fn not_followed_up(session: &Session) -> Vec<Skipped> {
    let (policy, rules) = (&session.case.policy, &session.measured.plan.rules);
    let asked = [
        (
            "moderate_log10_p",
            policy.moderate_log10_p,
            rules.shown_log10_p,
            policy.moderate_log10_p > rules.shown_log10_p,
        ),
        ("strong_effect", policy.strong_effect, rules.shown_effect, policy.strong_effect < rules.shown_effect),
        ("matched_strong", policy.matched_strong, rules.matched, policy.matched_strong < rules.matched),
        (
            "matched_by_tokens",
            policy.matched_by_tokens,
            rules.matched_by_tokens,
            policy.matched_by_tokens < rules.matched_by_tokens,
        ),
    ];
    let names: Vec<&String> =
        session.case.parents.iter().chain(&session.case.controls).map(|reference| &reference.name).collect();
    let lacking = |(key, wanted, fixed, more): (&str, f64, f64, bool)| {
        let why = format!(
            "the policy's {key} is {wanted}, and what a search follows up is fixed at {fixed}: what lies between was not measured"
        );
        let unit = move |(at, name): (usize, &&String)| Skipped {
            tensor: format!("(search-{at:04}: {name})"),
            why: why.clone(),
        };
        names.iter().enumerate().filter(|_| more).map(unit).collect::<Vec<_>>()
    };
    asked.into_iter().flat_map(lacking).collect()
}

/// What names did not settle.
fn names(session: &Session, judgement: &mut Judgement, skipped: &mut Vec<Skipped>) {
    let subject = session.measured.subject();
    let unknown: Vec<_> = subject.tensors.iter().filter(|t| !t.role.known || t.role.deduced).collect();
    if let Some(first) = unknown.first() {
        let text = text!(
            "input/unknown-names/some",
            count = unknown.len(),
            all = subject.tensors.len(),
            tensor = &first.name,
            deduced = unknown.iter().filter(|t| t.role.known).count()
        );
        let mut finding = Finding::new(Code::InputUnknownNames, Grade::Context, Direction::Neutral, text);
        finding.n = Some(unknown.len() as u64);
        finding.evidence = Some("evidence/tensors.parquet".into());
        judgement.push(finding);
        skipped.extend(unknown.iter().filter(|t| !t.role.known).map(|t| Skipped {
            tensor: t.name.clone(),
            why: "no architecture template knows this name, and no axis of it is one of the model's".into(),
        }));
    }
    let mut by_model: BTreeMap<usize, Vec<&Deduction>> = BTreeMap::new();
    for deduction in &session.measured.deduced {
        by_model.entry(deduction.model).or_default().push(deduction);
    }
    for (model, list) in by_model {
        let count = |how: How| list.iter().filter(|d| d.how == how).count();
        let text = text!(
            "input/deduced-roles/some",
            count = list.len(),
            model = called(session, model),
            content = count(How::Content),
            order = count(How::Order),
            like = &list[0].like,
            tensor = &list[0].tensor,
            turned = list.iter().filter(|d| d.turned).count()
        );
        let mut finding = Finding::new(Code::InputDeduced, Grade::Context, Direction::Neutral, text);
        finding.n = Some(list.len() as u64);
        judgement.push(finding);
    }
    for (name, model) in models(session).into_iter().filter(|(_, model)| !model.wrappers.is_empty()) {
        let parts: Vec<Text> = model.wrappers.iter().map(|part| Text::plain(part.as_str())).collect();
        let text = text!("input/deduced-roles/wrapped", model = name, parts = parts);
        judgement.push(Finding::new(Code::InputDeduced, Grade::Context, Direction::Neutral, text));
    }
}

/// What a model is called, by its place among all that the case names.
fn called(session: &Session, model: usize) -> Text {
    let case = session.case;
    if let Some(checkpoint) = case.subject.checkpoints.get(model) {
        return checkpoint
            .step
            .map_or_else(|| Text::plain(case.subject.name.as_str()), |step| text!("input/model/step", step = step));
    }
    let parents = case.parents.iter().map(|p| text!("input/model/parent", name = &p.name));
    let controls = case.controls.iter().map(|c| text!("input/model/control", name = &c.name));
    parents.chain(controls).nth(model - case.subject.checkpoints.len()).unwrap_or_default()
}

/// Every model that was measured, with what it is called.
fn models<'a>(session: &Session<'a>) -> Vec<(Text, &'a Model)> {
    let case = session.case;
    let series = session.measured.models.iter().zip(&session.measured.steps).map(|(model, step)| {
        let plain = || Text::plain(case.subject.name.as_str());
        (if session.is_series() { text!("input/model/step", step = *step) } else { plain() }, model)
    });
    let first = case.subject.checkpoints.len();
    let references = session.measured.references().iter().enumerate();
    series.chain(references.map(|(at, model)| (called(session, first + at), model))).collect()
}

/// What lies in the folders of the models beside them.
fn files(session: &Session, judgement: &mut Judgement) {
    let series = session.measured.plan.series;
    judgement.findings.extend(unjudged::finding(session));
    for (at, (name, model)) in models(session).into_iter().enumerate() {
        if let Some((kind, base)) = &model.adapter {
            let base = base.clone().unwrap_or_else(|| "?".to_owned());
            let text = match &model.merged {
                Some(with) => text!("input/left-out-files/merged", model = name.clone(), kind, base = &base, with),
                None => text!("input/left-out-files/adapter", model = name.clone(), kind, base = &base),
            };
            judgement.push(Finding::new(Code::InputLeftOut, Grade::Weak, Direction::Neutral, text));
        }
        // Those of the subject are told once for all of its checkpoints.
        if model.unread.is_empty() || at < series {
            continue;
        }
        let text = text!(
            "input/left-out-files/some",
            model = name,
            count = model.unread.len(),
            files = some(&model.unread),
            read = some(&model.files)
        );
        let mut finding = Finding::new(Code::InputLeftOut, Grade::Weak, Direction::Neutral, text);
        finding.n = Some(model.unread.len() as u64);
        judgement.push(finding);
    }
}

/// What could not be compared through tokens.
fn vocabularies(session: &Session) -> Vec<Skipped> {
    let references = references(session);
    let name = |of: &Option<usize>| {
        let named = of.and_then(|of| references.get(of)).map(|(_, reference)| reference.to_string());
        named.unwrap_or_else(|| "subject".to_owned())
    };
    let skipped = session.measured.vocabularies.skipped.iter();
    skipped.map(|(of, what, why)| Skipped { tensor: what.clone(), why: format!("{}: {why}", name(of)) }).collect()
}

/// What the towers of the subject were compared with, where that is not the tower of the same name.
fn towers(session: &Session) -> Vec<Skipped> {
    let mut lines = Vec::new();
    for (meetings, reference) in session.measured.plan.meetings.iter().zip(session.measured.references()) {
        for meeting in meetings {
            let why = match &meeting.other {
                None => format!("{}: has nothing of the function and shape of this part", reference.uri),
                Some(other) if *other == meeting.tower => continue,
                Some(other) => format!(
                    "{}: compared with {}, {} tensors of one function and shape",
                    reference.uri,
                    if other.is_empty() { "its main model".to_owned() } else { format!("its {other}") },
                    meeting.tensors
                ),
            };
            let part = if meeting.tower.is_empty() { "language model" } else { &meeting.tower };
            lines.push(Skipped { tensor: format!("({part})"), why });
        }
    }
    lines
}

/// Weights that are not finite, and matrices that are all zero after the start.
fn broken_weights(session: &Session, judgement: &mut Judgement, skipped: &mut Vec<Skipped>) {
    let case = session.case;
    let name = |model: usize| {
        let Some(reference) = model.checked_sub(session.measured.plan.series) else {
            return text!("input/model/step", step = session.measured.steps[model]);
        };
        let parents = case.parents.iter().map(|p| text!("input/model/parent", name = &p.name));
        let controls = case.controls.iter().map(|c| text!("input/model/control", name = &c.name));
        parents.chain(controls).nth(reference).unwrap_or_default()
    };
    // By tensor, then by the model's words.
    let mut zero: BTreeMap<(String, String), Text> = BTreeMap::new();
    let mut broken: Vec<(String, Text, u64)> = Vec::new();
    for (unit, figures) in session.measured.plan.units.iter().zip(&session.measured.tensors) {
        // A parent written in the subject's coordinates is the tool's own: rows without a counterpart are zeros of nobody's.
        let given = session.measured.plan.series + session.measured.plan.references;
        for (slot, member) in unit.members.iter().enumerate().filter(|(_, member)| member.model < given) {
            let count = figures.gram.nonfinite(slot);
            if count > 0 {
                broken.push((unit.tensor.clone(), name(member.model), count));
                skipped.push(Skipped {
                    tensor: unit.tensor.clone(),
                    why: format!(
                        "{}: {count} of {} values are not finite",
                        name(member.model),
                        figures.gram.elements()
                    ),
                });
            } else if unit.view.is_some() && member.model > 0 && figures.gram.product(slot, slot) == 0.0 {
                zero.insert((unit.tensor.clone(), name(member.model).english()), name(member.model));
                skipped.push(Skipped { tensor: unit.tensor.clone(), why: format!("{}: all zero", name(member.model)) });
            }
        }
    }
    if let Some((tensor, model, _)) = broken.first() {
        let models: BTreeMap<String, &Text> = broken.iter().map(|(_, model, _)| (model.english(), model)).collect();
        let values: u64 = broken.iter().map(|(_, _, count)| count).sum();
        let mut finding = Finding::new(
            Code::InputNonFinite,
            Grade::Context,
            Direction::Neutral,
            text!(
                "input/non-finite/some",
                values,
                tensors = broken.iter().map(|(tensor, _, _)| tensor).collect::<BTreeSet<_>>().len(),
                tensor,
                model = model.clone(),
                models = models.into_values().cloned().collect::<Vec<_>>()
            ),
        );
        finding.subject.tensor = Some(tensor.clone());
        finding.n = Some(values);
        judgement.push(finding);
        judgement.missing.push(text!("input/non-finite/missing", tensor, model = model.clone()));
    }
    if let Some(((tensor, _), model)) = zero.first_key_value() {
        let mut finding = Finding::new(
            Code::InputZeroTensor,
            Grade::Context,
            Direction::Neutral,
            text!("input/zero-tensor/some", count = zero.len(), tensor, model = model.clone()),
        );
        finding.subject.tensor = Some(tensor.clone());
        finding.n = Some(zero.len() as u64);
        judgement.push(finding);
    }
}
