//! The record (METHODS 6): does the log, the repository and the calendar tell the same story as the weights?
//!
//! What an honest run can also do is a question or context, never an accusation.

mod artifacts;
mod clock;
mod compute;
mod config;
mod first_loss;
mod history;
mod identities;
mod ledger;
mod level;
mod log;
mod loss_shape;
mod machine;
mod norms;
mod order;
mod pointers;
mod recomputed;
mod register;
mod repository;
mod schedule;
mod summary;
mod tensor_norms;
mod tokens;
mod witness;

use super::{Code, Condition, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_record::{Existed, Release, Repository, Run, Settings, Witnessed};
use scratchproof_texts::{Text, text};
use scratchproof_timeline::Story;

pub use register::{Listed, RegisterFacts};

pub use artifacts::{CheckpointFile, alike};
pub use norms::StepNorm;
pub use tensor_norms::TensorNorm;

const RUNS: &str = "evidence/runs.parquet";
const TIMELINE: &str = "evidence/timeline.parquet";

/// Sizes read from the tensors of the final checkpoint, where they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Sizes {
    pub hidden: Option<u64>,
    pub layers: Option<u64>,
    pub vocabulary: Option<u64>,
    pub heads: Option<u64>,
    pub kv_heads: Option<u64>,
    /// Neurons of the dense MLPs, where all have the same.
    pub intermediate: Option<u64>,
    /// Experts a layer.
    pub experts: Option<u64>,
    /// All parameters, tied ones once.
    pub parameters: Option<u64>,
}

/// What became of the repository that the case names.
#[derive(Clone, Copy, Debug, Default)]
pub enum RepositoryFacts<'a> {
    /// The case names none.
    #[default]
    None,
    /// It was read.
    Read(&'a Repository),
    /// It could not be read; the sentence says why.
    Unreadable(&'a str),
}

/// A candidate parent and when it became public, if that is known.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct ParentRelease<'a> {
    pub parent: &'a str,
    pub release: Option<&'a Release>,
}

/// Everything the record is judged by.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeFacts<'a> {
    /// The run logs that could be read.
    pub runs: &'a [Run],
    /// The repository.
    pub repository: RepositoryFacts<'a>,
    /// Steps of the checkpoints.
    pub steps: &'a [i64],
    /// Rows of the embeddings; the nearest to the first loss counts.
    pub vocabularies: &'a [u64],
    /// Whether two towers are trained against each other, so that no loss is one of tokens.
    pub contrastive: bool,
    /// Whether the configuration is that of a model of images without a vocabulary.
    pub images: bool,
    /// Sizes from the tensors.
    pub sizes: Sizes,
    /// The candidate parents.
    pub parents: &'a [ParentRelease<'a>],
    /// Structural settings from the configuration of the final checkpoint.
    pub settings: Option<&'a Settings>,
    /// The dated facts in their order.
    pub story: Option<&'a Story>,
    /// What came out for the start.
    pub start: Condition,
    /// Whether a test of the chain ties the log to the weights.
    pub tied: bool,
    /// What the ledger of the training says.
    pub ledger: Option<&'a scratchproof_record::Ledgered>,
    /// Losses that were recomputed from the checkpoints.
    pub losses: Option<&'a scratchproof_record::Recomputed>,
    /// What outside witnesses say.
    pub witnesses: &'a [Witnessed],
    /// Checkpoints that the history of the repository holds by their digests.
    pub held: &'a [Existed],
    /// What the register of releases says.
    pub register: Option<RegisterFacts<'a>>,
    /// Parameters that one token is computed with, embeddings left out.
    pub active: Option<u64>,
    /// Norms of the checkpoints.
    pub norms: &'a [StepNorm],
    /// Files of the checkpoints.
    pub files: &'a [CheckpointFile],
}

/// Judges the record.
///
/// The condition fails on one strong finding against the claim, or on two moderate ones of different codes. It holds if a
/// run log was read and nothing moderate is against. Otherwise it is untested.
pub fn judge(facts: &TimeFacts<'_>, policy: &Policy) -> Judgement {
    let mut judgement = Judgement::untested();
    if facts.runs.is_empty() {
        judgement.missing.push(text!("time/log/missing"));
    }
    for run in facts.runs {
        first_loss::judge(&mut judgement, facts, policy, run);
        log::damage(&mut judgement, run);
        schedule::judge(&mut judgement, policy, run);
        clock::judge(&mut judgement, policy, run);
        tokens::judge(&mut judgement, policy, run);
        summary::judge(&mut judgement, policy, run);
        summary::differences(&mut judgement, run);
        summary::printed(&mut judgement, policy, run);
        loss_shape::spikes(&mut judgement, policy, run);
        loss_shape::flat(&mut judgement, policy, run);
        level::judge(&mut judgement, policy, run);
        loss_shape::digits(&mut judgement, policy, run);
        identities::judge(&mut judgement, policy, run);
        machine::alive(&mut judgement, policy, run);
        compute::judge(&mut judgement, facts, policy, run);
        norms::judge(&mut judgement, facts, policy, run);
        tensor_norms::judge(&mut judgement, facts, policy, run);
        artifacts::judge(&mut judgement, facts, run);
    }
    machine::constant(&mut judgement, facts.runs);
    summary::repeats(&mut judgement, policy, facts.runs);
    log::steps(&mut judgement, facts, policy);
    log::sizes(&mut judgement, facts, policy);
    match facts.repository {
        RepositoryFacts::None => judgement.missing.push(text!("time/repository/missing")),
        RepositoryFacts::Unreadable(why) => {
            let message = text!("time/repository/unreadable", why);
            judgement.push(Finding::new(Code::TimeRepository, Grade::Context, Direction::Neutral, message));
            judgement.missing.push(text!("time/repository/missing-readable"));
        }
        RepositoryFacts::Read(repository) => {
            for run in facts.runs {
                history::logged_commit(&mut judgement, policy, repository, run);
            }
            history::freeze(&mut judgement, facts, policy, repository);
            repository::judge(&mut judgement, facts.runs, repository);
        }
    }
    if let Some(story) = facts.story {
        order::judge(&mut judgement, facts, story, policy);
    }
    witness::judge(&mut judgement, facts.witnesses);
    ledger::judge(&mut judgement, facts.ledger);
    recomputed::judge(&mut judgement, facts);
    pointers::judge(&mut judgement, facts);
    if let Some(register) = &facts.register {
        register::parents(&mut judgement, register);
        register::earlier_models(&mut judgement, register);
    }
    judgement.missing.sort_by_cached_key(Text::english);
    judgement.missing.dedup();
    judgement.condition = condition(&judgement.findings, !facts.runs.is_empty());
    judgement
}

fn condition(findings: &[Finding], log: bool) -> Condition {
    let against = |grade: Grade| findings.iter().filter(move |f| f.direction == Direction::Against && f.grade >= grade);
    let mut moderate: Vec<Code> = against(Grade::Moderate).map(|finding| finding.code).collect();
    moderate.sort_unstable();
    moderate.dedup();
    if against(Grade::Strong).next().is_some() || moderate.len() > 1 {
        Condition::Fails
    } else if log && moderate.is_empty() {
        Condition::Holds
    } else {
        Condition::Untested
    }
}

/// A finding of the record.
fn finding(code: Code, grade: Grade, direction: Direction, message: Text) -> Finding {
    Finding::new(code, grade, direction, message)
}

/// A run by the name a reader knows it by; entries that begin with it write it `{{ run|initial }}`.
fn called(run: &Run) -> Text {
    text!("time/log/run", id = run.id.as_str(), name = run.name.clone().filter(|name| *name != run.id))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod altered;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod outside_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
