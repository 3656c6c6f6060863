//! The main job: a case in, evidence and a report out. Calls every room in the order of the data flow and keeps no
//! thought of its own.

mod compare;
mod inputs;
mod models;
mod record;
mod register;
mod repository;
mod timeline;
mod witness;

use scratchproof_case::Case;
use scratchproof_error::Result;
use scratchproof_evidence::Evidence;
use scratchproof_facts::chain::Chain;
use scratchproof_facts::parent::Parents;
use scratchproof_facts::start::Start;
use scratchproof_facts::time::{self, Weights};
use scratchproof_facts::{Session, decay, evidence};
use scratchproof_finding::{Conditions, Judgement, chain, decide, parent, start};
use scratchproof_measure::{Asked, Job, Nowhere, Reporter, measure, replayed};
use scratchproof_measurements::{FileDigest, Measurements, Trails};
use scratchproof_report::{CaseSummary, Report, SCHEMA, Tool};
use scratchproof_source::Access;

use record::Read;

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

/// Audits a case.
///
/// # Errors
/// If the audit cannot go on: a model that cannot be read, a date in no format. Everything else that is wrong with the
/// material becomes a finding.
pub fn audit(case: &Case, access: impl Into<Access>, reporter: &dyn Reporter) -> Result<Audit> {
    let access = access.into();
    let (measurements, read) = read(case, access, reporter)?;
    Ok(judge(case, &measurements, &read))
}

/// Reads the record of a case and measures its weights.
fn read(case: &Case, access: Access, reporter: &dyn Reporter) -> Result<(Measurements, Read)> {
    let models = models::open(case, access)?;
    let replay = replayed(case, access)?;
    let config = models.checkpoints.last().and_then(|last| last.config.clone());
    let mut read = record::read(case, access, config.as_ref())?;
    let asked = Asked { series: case.subject.is_series(), every_pair: false };
    let runs = &read.reading.record.runs;
    let wants_md5 = |file: &FileDigest| time::wants_md5(runs, file);
    let job = Job { asked, wants_md5: &wants_md5, journal: &Nowhere, reporter };
    let measurements = measure(models, replay, &job)?;
    let targets = witness::targets(case, &read.reading, &measurements.steps, &measurements.digests);
    read.hear(case, access, config.as_ref(), &targets)?;
    Ok((measurements, read))
}

/// Judges what was measured and read.
fn judge(case: &Case, measured: &Measurements, read: &Read) -> Audit {
    let session = Session { case, measured, record: &read.reading };
    let policy = &case.policy;
    let trails = Trails::new(&measured.plan, &measured.tensors);
    let decay = decay(&session);
    let evidence = evidence(&session, &trails, &decay);
    let (start, clean) = start::judge(&Start::new(&session).facts(&session, &evidence), policy);
    let chain = chain::judge(&Chain::new(&session, &trails).facts(&session, &evidence, &decay), policy);
    let (parent, components) =
        parent::judge(&Parents::new(&session, &evidence).facts(&session, &evidence, &clean), policy);
    let weights = Weights::new(&session);
    let subject = Some(measured.subject());
    let time = time::judge(session.record, subject, session.steps(), start.condition, &weights, policy);
    let (input_findings, coverage) = inputs::coverage(&session, read);
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
        schema: SCHEMA.into(),
        tool: Tool::this(),
        case: CaseSummary::of(case),
        verdict,
        components,
        findings,
        coverage,
        inputs: inputs::list(&session, read),
        policy: serde_json::to_value(policy).unwrap_or_default(),
        seal: None,
    };
    Audit { report, evidence }
}
