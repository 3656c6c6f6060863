//! The main job: a case in, evidence and a report out. Calls every room in the order of the data flow and keeps no
//! thought of its own.

mod asked;
mod budget;
pub mod choice;
mod compare;
pub mod elsewhere;
pub mod expand;
mod inputs;
mod ledger;
mod losses;
mod measuring;
mod models;
pub mod published;
mod read;
mod record;
mod register;
mod repository;
mod timeline;
mod unjudged;
mod witness;

use scratchproof_case::Case;
use scratchproof_error::Result;
use scratchproof_evidence::Evidence;
use scratchproof_facts::chain::Chain;
use scratchproof_facts::parent::Parents;
use scratchproof_facts::parent::reach;
use scratchproof_facts::start::{Start, parameters, spans};
use scratchproof_facts::time::{self, Weights, ground};
use scratchproof_facts::{Session, decay, evidence};
use scratchproof_finding::{Conditions, Heard, Judgement, Power, Said, chain, decide, parent, power, start};
use scratchproof_folder::Folder;
use scratchproof_measure::{Nowhere, Reporter};
use scratchproof_measurements::{Measurements, Trails};
use scratchproof_report::{Answer, CaseSummary, Report, SCHEMA, Tool};
use scratchproof_source::Access;

use read::Read;

pub use asked::Asked;
pub use compare::compare;
pub use measuring::Kept;
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
pub fn audit(case: &Case, access: Access, reporter: &dyn Reporter) -> Result<Audit> {
    let (measured, read) = measuring::measured(case, access, &Nowhere, reporter)?;
    Ok(judge(case, &measured, read))
}

/// Audits a case and keeps what was measured in a folder: an audit that was interrupted goes on, and what is whole is judged
/// without opening a weight. With `check` the digests of all files are held against those of the store first.
///
/// # Errors
/// As [`audit`]; if the store is of another version, or was changed by somebody else.
pub fn audit_into(
    case: &Case,
    access: Access,
    folder: &Folder,
    check: bool,
    reporter: &dyn Reporter,
) -> Result<(Audit, Kept)> {
    let (measured, read, kept) = measuring::from_store(case, access, folder, check, reporter)?;
    Ok((judge(case, &measured, read), kept))
}

/// What a store gives again, and what the models are now.
#[derive(Debug)]
pub struct Again {
    /// The audit, judged anew.
    pub audit: Audit,
    /// By the place of a model as the case names it, its digest now; `None` if its configuration is another one.
    pub models: Vec<(String, Result<Option<String>>)>,
}

/// Judges again what a folder's store holds, without measuring anything; with `look` the models that are at hand are
/// digested again. Nothing if the store is not whole or answers another question.
///
/// # Errors
/// As [`audit_into`].
pub fn again(case: &Case, access: Access, folder: &Folder, look: bool) -> Result<Option<Again>> {
    let Some((measured, read)) = measuring::stored(case, access, folder)? else { return Ok(None) };
    let models = if look { measuring::digests_now(case, access, &measured) } else { Vec::new() };
    Ok(Some(Again { audit: judge(case, &measured, read), models }))
}

/// Judges what was measured and read.
fn judge(case: &Case, measured: &Measurements, mut read: Read) -> Audit {
    read.reading.take_from_states(&measured.optimizer);
    let read = &read;
    let session = Session { case, measured, record: &read.reading };
    let policy = &case.policy;
    let trails = Trails::new(&measured.plan, &measured.tensors);
    let decay = decay(&session);
    let evidence = evidence(&session, &trails, &decay);
    let (mut start, clean) = start::judge(&Start::new(&session).facts(&session, &evidence), policy);
    let chain_facts = Chain::new(&session, &trails, &decay);
    let chain_facts = chain_facts.facts(&session, &evidence, &decay);
    let mut chain = chain::judge(&chain_facts, policy);
    let (mut parent, components) =
        parent::judge(&Parents::new(&session, &evidence).facts(&session, &evidence, &clean), policy);
    let mut power = Power { chain: power::chain(&chain_facts, policy), ..Power::default() };
    if let Some(own) = &power.chain {
        own.settle(&mut chain);
    }
    if session.steps().first() == Some(&0) {
        let (parameters, unknown) = parameters(&session);
        let own = power::start(&evidence.start, &spans(&session), parameters, &measured.replay);
        own.settle(&mut start, unknown);
        power.start = Some(own);
    }
    if !case.parents.is_empty() {
        let (own, _) = reach::settled(&session, &evidence, &mut parent);
        power.parent = Some(own);
    }
    let weights = Weights::new(&session, &chain.findings);
    let subject = Some(measured.subject());
    let time = time::judge(session.record, subject, session.steps(), start.condition, &weights, policy);
    let (input_findings, coverage) = inputs::coverage(&session, read);
    let conditions =
        Conditions { start: start.condition, chain: chain.condition, parent: parent.condition, time: time.condition };
    let mut findings = Vec::new();
    let mut missing = Vec::new();
    let [start_said, chain_said, parent_said] = [&start, &chain, &parent].map(|own| own.said.clone());
    let published = scratchproof_finding::published::judge(&case.subject.published);
    for Judgement { findings: own, missing: lacks, .. } in [parent, start, chain, time, input_findings, published] {
        findings.extend(own);
        missing.extend(lacks);
    }
    findings.sort_by_key(|f| (std::cmp::Reverse(f.grade), f.code));
    let tested = case.parents.iter().filter(|p| !parent::untested(&findings, &p.name));
    let against = tested.map(|p| p.name.clone()).collect();
    let ground = ground(&session).with(&findings);
    let said = Said { start: start_said, chain: chain_said, parent: parent_said, time: ground.record() };
    let lacking = ground.lacking(policy).into_iter().chain(inputs::lacking(&session));
    let lacking = lacking.chain(unjudged::lacking(&session)).collect();
    let heard = Heard { conditions, said, power, against, missing, ground: ground.sentence(), lacking };
    let verdict = decide(&mut findings, heard);
    let report = Report {
        schema: SCHEMA.into(),
        tool: Tool::this(),
        case: CaseSummary::of(case),
        answer: Answer::default(),
        verdict,
        components,
        findings,
        coverage,
        inputs: inputs::list(&session, read),
        policy: serde_json::to_value(policy).unwrap_or_default(),
        seal: None,
    };
    Audit { report: report.answered(), evidence }
}
