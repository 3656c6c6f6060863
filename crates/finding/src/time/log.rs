//! The run log against the weights.

use super::{Code, Direction, Finding, Grade, Judgement, RUNS, TimeFacts, called};
use scratchproof_case::Policy;
use scratchproof_record::settings::from_config;
use scratchproof_record::{Run, Tail};
use scratchproof_texts::{Text, text};

/// Damage in the log. A killed run's missing tail is none.
pub fn damage(to: &mut Judgement, run: &Run) {
    if run.damaged == 0 {
        return;
    }
    let first = run.damage.first();
    let message = text!(
        "time/log-damage/finding",
        run = called(run),
        count = run.damaged,
        offset = first.map(|damage| damage.offset),
        what = first.map(|damage| damage.what.clone()),
        tail = run.tail != Tail::Complete
    );
    let mut finding = Finding::new(Code::TimeLogDamage, Grade::Context, Direction::Neutral, message);
    finding.statistic = Some(run.damaged as f64);
    finding.n = Some(run.damaged);
    to.push(finding);
}

/// Steps of the checkpoints inside the steps of the logs, taken together.
pub fn steps(to: &mut Judgement, facts: &TimeFacts<'_>, policy: &Policy) {
    let ranges: Vec<_> = facts.runs.iter().filter_map(Run::step_range).collect();
    let (Some(first), Some(last)) = (ranges.iter().map(|r| r.first).min(), ranges.iter().map(|r| r.last).max()) else {
        if !facts.runs.is_empty() {
            to.missing.push(text!("time/steps/no-steps"));
        }
        return;
    };
    if facts.steps.is_empty() {
        return;
    }
    // Logs begin late and checkpoints at 0 come before any update: only what lies beyond the end is outside.
    let widest = ranges.iter().map(|range| range.widest).max().unwrap_or(0).max(1);
    let end = last as f64 + policy.step_slack * widest as f64;
    let outside: Vec<i64> = facts.steps.iter().copied().filter(|&step| step as f64 > end || step < 0).collect();
    let n = facts.steps.len();
    let logged = text!("time/steps/logged", first, last, widest);
    // Of a training whose log ends before it does, the log says nothing of how it ended.
    let beyond = end + policy.unlogged_share * (last as f64 - first as f64);
    let unlogged = facts.steps.last().is_some_and(|step| *step as f64 > beyond);
    let (grade, direction, message) = if outside.is_empty() {
        (Grade::Weak, Direction::For, text!("time/steps/inside", logged, checkpoints = n))
    } else {
        let message = text!(
            "time/steps/outside",
            count = outside.len(),
            checkpoints = n,
            steps = &outside[..outside.len().min(5)],
            logged
        );
        if unlogged {
            to.missing.push(text!("time/steps/missing"));
            (Grade::Moderate, Direction::Against, message)
        } else {
            (Grade::Weak, Direction::Neutral, message)
        }
    };
    let mut finding = Finding::new(Code::TimeSteps, grade, direction, message);
    finding.statistic = Some(outside.len() as f64);
    finding.effect = Some(outside.len() as f64 / n as f64);
    finding.n = Some(n as u64);
    finding.subject.steps = outside;
    finding.null = text!("time/steps/null");
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

/// Sizes in the run configurations against the tensors.
///
/// Of several runs one that fits is enough: the others may be trials of something else.
pub fn sizes(to: &mut Judgement, facts: &TimeFacts<'_>, policy: &Policy) {
    let compared: Vec<_> = facts.runs.iter().filter_map(|run| Some((run, compare(facts, policy, run)?))).collect();
    if compared.is_empty() {
        if !facts.runs.is_empty() {
            to.missing.push(text!("time/sizes/missing"));
        }
        return;
    }
    let fits = compared.iter().any(|(_, sizes)| sizes.contradictions.is_empty());
    for (run, sizes) in compared {
        let count = (sizes.contradictions.len() + sizes.questions.len() + sizes.same.len()) as u64;
        let contradictions = sizes.contradictions.len();
        let own = called(run);
        let (grade, direction, message) = if !sizes.contradictions.is_empty() && fits {
            let message = text!("time/sizes/another", run = own, sizes = sizes.contradictions);
            (Grade::Context, Direction::Neutral, message)
        } else if !sizes.contradictions.is_empty() {
            let message = text!("time/sizes/contradicts", run = own, sizes = sizes.contradictions);
            (Grade::Moderate, Direction::Against, message)
        } else if !sizes.questions.is_empty() {
            let message = text!("time/sizes/but-for", run = own, sizes = sizes.questions);
            (Grade::Weak, Direction::Neutral, message)
        } else {
            (Grade::Weak, Direction::For, text!("time/sizes/agrees", run = own, sizes = sizes.same))
        };
        let mut finding = Finding::new(Code::TimeSizes, grade, direction, message);
        finding.statistic = Some(contradictions as f64);
        finding.n = Some(count);
        finding.null = text!("time/sizes/null");
        to.push(finding);
    }
}

/// Names of the number of parameters.
const PARAMETERS: &[&str] = &[
    "num_parameters",
    "model_num_parameters",
    "n_params",
    "num_params",
    "total_params",
    "total_parameters",
    "n_parameters",
];

#[derive(Default)]
struct Compared {
    same: Vec<Text>,
    questions: Vec<Text>,
    contradictions: Vec<Text>,
}

fn compare(facts: &TimeFacts<'_>, policy: &Policy, run: &Run) -> Option<Compared> {
    let (configured, unclear) = from_config(&run.config);
    let mut compared = Compared::default();
    let sizes = facts.sizes;
    for (name, tensor) in [
        ("hidden_size", sizes.hidden),
        ("num_hidden_layers", sizes.layers),
        ("num_attention_heads", sizes.heads),
        ("num_key_value_heads", sizes.kv_heads),
        ("vocab_size", sizes.vocabulary),
        ("intermediate_size", sizes.intermediate),
        ("n_routed_experts", sizes.experts),
    ] {
        let Some(tensor) = tensor else { continue };
        if unclear.iter().any(|unclear| unclear == name) {
            compared.questions.push(text!("time/sizes/unclear", name));
        }
        let Some(&size) = configured.get(name) else { continue };
        let words = text!("time/sizes/other", name, size, tensor);
        let beyond = i128::from(tensor) - i128::from(size);
        if beyond == 0 {
            compared.same.push(text!("time/sizes/same", name, size));
        } else if name == "vocab_size" {
            if beyond > 0 && beyond <= i128::from(policy.vocabulary_padding) {
                compared.same.push(text!("time/sizes/padded", name, size, tensor));
            } else {
                compared.questions.push(words);
            }
        } else if name == "hidden_size" || name == "num_hidden_layers" {
            compared.contradictions.push(words);
        } else {
            // Numbers of heads are not in the tensors' shapes for certain; fused layouts hide them.
            compared.questions.push(words);
        }
    }
    if let (Some(tensors), Some(logged)) = (sizes.parameters, super::config::number(run, PARAMETERS)) {
        if (tensors as f64 - logged).abs() < 0.5 {
            compared.same.push(text!("time/sizes/parameters", logged));
        } else {
            // Some count without embeddings, or only what is trained.
            compared.questions.push(text!("time/sizes/other-parameters", logged, tensors));
        }
    }
    let any = compared.same.len() + compared.questions.len() + compared.contradictions.len() > 0;
    any.then_some(compared)
}
