//! The main job: a case in, evidence and a report out. Calls every room in the order of the data flow and keeps no
//! thought of its own.

mod averages;
mod clock;
mod compare;
mod copies;
mod facts;
mod inputs;
mod merge;
mod path;
mod points;
mod record;
mod register;
mod replay;
mod repository;
mod seams;
mod start;
mod surgery;
mod tables;
mod ties;
mod timeline;
mod tokens;
mod walk;
mod witness;

use std::collections::BTreeSet;
use std::sync::Arc;

use rayon::join;

use scratchproof_case::{Case, Location, Subject};
use scratchproof_checkpoint::{Checkpoint, packaged_alike};
use scratchproof_disguise::{Found, express, search};
use scratchproof_error::{Context, Result};
use scratchproof_evidence::Evidence;
use scratchproof_finding::{ComponentResult, Conditions, Judgement, chain, decide, parent, start as beginning};
use scratchproof_plan::{
    FileDigest, Growth, Material, Measured, PairFigures, Plan, Reporter, Series, UnmetRows, compare_pairs, digests,
    growth, measure, unmet_rows,
};
use scratchproof_report::{CaseSummary, Report, SCHEMA, Tool};
use scratchproof_source::Access;

pub use compare::compare;
pub use timeline::timeline;

/// A finished audit.
#[derive(Debug)]
pub struct Audit {
    /// The result.
    pub report: Report,
    /// Every figure.
    pub evidence: Evidence,
}

/// Everything that was read and measured of a case: what the tables and the judges are made from.
pub(crate) struct Session<'a> {
    case: &'a Case,
    material: Material,
    /// Steps of the checkpoints that were kept; a single model has one, 0, that is no step.
    steps: Vec<i64>,
    /// Steps of the checkpoints that were left out, and why.
    left_out: Vec<(i64, String)>,
    /// Neighbours of different architecture.
    growth: Vec<(i64, i64, Growth)>,
    plan: Plan,
    measured: Measured,
    /// First and final checkpoint against every parent and control, element by element.
    twins: Vec<PairFigures>,
    /// Rows of tokens that no training reached.
    unmet: Vec<UnmetRows>,
    digests: Vec<Vec<FileDigest>>,
    /// The search for a disguise, by reference.
    found: Vec<Found>,
    record: record::Reading,
    tokens: tokens::Tokens,
    /// The declared start, drawn again.
    replay: beginning::Replay,
    /// What ties the logs to the weights.
    ties: ties::Ties,
}

impl Session<'_> {
    /// Whether the subject is a series; otherwise nothing can be said of start and chain.
    fn is_series(&self) -> bool {
        self.case.subject.is_series()
    }

    fn subject(&self) -> &Checkpoint {
        &self.material.series.checkpoints[self.plan.last()]
    }
}

/// Audits a case.
///
/// # Errors
/// If the audit cannot go on: a model that cannot be read, a date in no format. Everything else that is wrong with the
/// material becomes a finding.
pub fn audit(case: &Case, access: impl Into<Access>, reporter: &dyn Reporter) -> Result<Audit> {
    Ok(judge(&read(case, access.into(), reporter)?))
}

/// Reads and measures everything that a case names.
fn read<'a>(case: &'a Case, access: Access, reporter: &dyn Reporter) -> Result<Session<'a>> {
    let (checkpoints, references) = open(case, access)?;
    let replay = replay::read(case, access)?;
    let mut record = record::read(case, access, checkpoints.last().and_then(|last| last.config.as_ref()))?;
    let all_steps: Vec<i64> = case.subject.checkpoints.iter().map(|c| c.step.unwrap_or(0)).collect();
    let growth = grown(&checkpoints, &all_steps)?;
    let series = Series::new(checkpoints);
    let left_out: Vec<(i64, String)> = series.left_out.iter().map(|(i, why)| (all_steps[*i], why.clone())).collect();
    let steps: Vec<i64> =
        (0..all_steps.len()).filter(|i| series.left_out.iter().all(|(l, _)| l != i)).map(|i| all_steps[i]).collect();
    let mut material = Material { series, references, relabelled: Vec::new() };
    let found = unmask(&mut material, case)?;
    let plan = Plan::new(&material);
    let models = material.given();
    reporter.begin("measuring", models.iter().map(|m| m.bytes()).sum());
    let (measured, digests) = join(|| measure(&plan, &material, reporter), || digests(&models));
    reporter.end();
    let (measured, digests) = (measured?, digests?);
    let config = material.series.checkpoints.last().and_then(|last| last.config.clone());
    record.hear(case, access, config.as_ref(), &witness::targets(case, &record, &steps, &digests))?;
    let ends: &[usize] = if plan.last() > 0 { &[0, plan.last()] } else { &[0] };
    let given = plan.series..plan.series + plan.references;
    let pairs: Vec<(usize, usize)> = ends.iter().flat_map(|&t| given.clone().map(move |model| (t, model))).collect();
    let twins = compare_pairs(&plan, &material, &pairs)?;
    let unmet = unmet_rows(&plan, &material, &steps)?;
    let tokens = tokens::read(case, &material, &plan, &steps)?;
    let checkpoints = &material.series.checkpoints;
    let series = case.subject.is_series();
    let ties = ties::Ties::new(&record.record.runs, checkpoints, &digests, (&plan, &measured), &steps, series);
    Ok(Session {
        case,
        material,
        steps,
        left_out,
        growth,
        plan,
        measured,
        twins,
        unmet,
        digests,
        found,
        record,
        tokens,
        replay,
        ties,
    })
}

/// What changed between neighbours of different architecture.
fn grown(checkpoints: &[Checkpoint], steps: &[i64]) -> Result<Vec<(i64, i64, Growth)>> {
    let mut changes = Vec::new();
    for (pair, steps) in checkpoints.windows(2).zip(steps.windows(2)) {
        if let Some(change) = growth(&pair[0], &pair[1])? {
            changes.push((steps[0], steps[1], change));
        }
    }
    Ok(changes)
}

/// Looks for a disguise of every reference, and writes the parents that have one in the subject's coordinates.
fn unmask(material: &mut Material, case: &Case) -> Result<Vec<Found>> {
    let Some(subject) = material.series.checkpoints.last() else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for (index, reference) in material.references.iter().enumerate() {
        let tokens = tokens::token_rows(&material.series.checkpoints, reference);
        let found = search(subject, reference, tokens.as_ref(), &case.policy)?;
        if let Some(relabelling) =
            found.relabelling.as_ref().filter(|r| index < case.parents.len() && !r.words.is_empty())
        {
            material.relabelled.push((index, express(subject, &Arc::clone(reference), relabelling, tokens.as_ref())?));
        }
        all.push(found);
    }
    Ok(all)
}

fn open(case: &Case, access: Access) -> Result<(Vec<Checkpoint>, Vec<Arc<Checkpoint>>)> {
    let Subject { checkpoints, .. } = &case.subject;
    let one = |location: &Location, role: String| open_at(location, role, access);
    let series = checkpoints
        .iter()
        .map(|c| one(&c.location, c.step.map_or("subject".into(), |step| format!("checkpoint of step {step}"))))
        .collect::<Result<_>>()?;
    let parents = case.parents.iter().map(|p| one(&p.location, format!("parent {}", p.name)));
    let controls = case.controls.iter().map(|c| one(&c.location, format!("control {}", c.name)));
    let references = parents.chain(controls).collect::<Result<_>>()?;
    let (series, references) = packaged_alike(series, references);
    Ok((series, references.into_iter().map(Arc::new).collect()))
}

/// Opens one model; `role` says in messages what it is for.
fn open_at(location: &Location, role: String, access: Access) -> Result<Checkpoint> {
    if location.scheme().is_some() {
        // Named as its place is: at the commit that was read, without what may be secret in an address.
        return Checkpoint::open_named(&location.written, access).context(|| role);
    }
    let mut checkpoint = Checkpoint::open(&location.path, access.reading).context(|| role)?;
    // The report names models as the case file does, whatever folder the audit is run from.
    checkpoint.uri.clone_from(&location.written);
    Ok(checkpoint)
}

fn judge(session: &Session) -> Audit {
    let case = session.case;
    let policy = &case.policy;
    let trails = path::Trails::new(session);
    let decay = clock::facts(session);
    let evidence = tables::evidence(session, &trails, &decay);
    let vectors = start::vectors(session);
    let (start, clean) = beginning::judge(
        &beginning::StartFacts {
            steps: if session.is_series() { &session.steps } else { &[] },
            rows: &evidence.start,
            vectors: &vectors,
            clock: start::clock(session),
            drift: &start::drift(session),
            declared: case.subject.init.as_ref(),
            replay: &session.replay,
        },
        policy,
    );
    let distances = trails.matrices.distances();
    let points = points::points(session, &trails, &distances);
    let equal = path::equal_steps(session);
    let exchanges = path::exchanges(session, &distances);
    let residuals = path::residuals(session, &distances);
    let (bound, unbounded) = match record::rule(&session.record) {
        Ok(limit) => (Some(chain::Bound { optimiser: limit.name, exact: limit.exact }), None),
        Err(why) => (None, Some(why)),
    };
    let chain = chain::judge(
        &chain::ChainFacts {
            steps: &session.steps,
            towers: session.plan.towers().map(|(tower, _)| tower).collect(),
            figures: &evidence.components,
            path: &evidence.chain,
            way: &evidence.path,
            tensors: &evidence.trajectory,
            bound,
            unbounded,
            decay: &decay,
            points: &points,
            equal: &equal,
            exchanges: &exchanges,
            residuals: &residuals,
            growth: &session.growth,
            left_out: &session.left_out,
        },
        policy,
    );
    let (parent, components) = parents(session, &evidence, &clean);
    let steps = if session.is_series() { session.steps.as_slice() } else { &[] };
    let time = record::judge(&session.record, Some(session.subject()), steps, start.condition, &session.ties, policy);
    let (input_findings, coverage) = inputs::coverage(session);
    let conditions =
        Conditions { start: start.condition, chain: chain.condition, parent: parent.condition, time: time.condition };
    let mut findings = Vec::new();
    let mut missing = Vec::new();
    for Judgement { findings: own, missing: lacks, .. } in [parent, start, chain, time, input_findings] {
        findings.extend(own);
        missing.extend(lacks);
    }
    findings.sort_by_key(|f| (std::cmp::Reverse(f.grade), f.code));
    let against = case.parents.iter().map(|p| p.name.clone()).collect();
    let verdict = decide(&mut findings, conditions, against, missing);
    let report = Report {
        schema: SCHEMA,
        tool: Tool::this(),
        case: CaseSummary::of(case),
        verdict,
        components,
        findings,
        coverage,
        inputs: inputs::list(session),
        policy: serde_json::to_value(policy).unwrap_or_default(),
    };
    Audit { report, evidence }
}

/// Judges the parents.
fn parents(session: &Session, evidence: &Evidence, clean: &BTreeSet<String>) -> (Judgement, Vec<ComponentResult>) {
    let (case, policy) = (session.case, &session.case.policy);
    let families = facts::families(session);
    let parts = facts::parts(session);
    let equal_tensors = facts::equal_tensors(session);
    let copies = copies::figures(session);
    let norms = facts::norms(session, evidence);
    parent::judge(
        &parent::ParentFacts {
            parents: case.parents.iter().map(|p| p.name.as_str()).collect(),
            controls: case.controls.iter().map(|c| c.name.as_str()).collect(),
            components: facts::components(session),
            parts: &parts,
            figures: &evidence.components,
            calibration: &evidence.calibration,
            partial: &evidence.partial,
            tokenizers: &evidence.tokenizers,
            cka: &evidence.cka,
            merge: &evidence.merge,
            disguise: &evidence.disguise,
            disguises: facts::disguises(session),
            frames: facts::frames(session),
            layer_map: &evidence.layer_map,
            families: &families,
            equal: &equal_tensors,
            copies: &copies,
            norms: &norms,
            steps: (session.steps[0], session.steps[session.plan.last()]),
            earlier: &record::earlier(&session.record),
            clean_start: clean,
            drawn_again: matches!(&session.replay, beginning::Replay::Done(_, replayed) if replayed.whole()),
            unreached_share: facts::unreached_share(session),
        },
        policy,
    )
}
