//! The first logged loss against that of a model that knows nothing.

use super::config::{ACCUMULATION, BATCH, GLOBAL_BATCH, LENGTH, WORLD, number, number_where};
use super::{Code, Condition, Direction, Finding, Grade, Judgement, RUNS, TimeFacts, called};
use scratchproof_case::Policy;
use scratchproof_record::Run;
use scratchproof_texts::{Text, text};

/// Share of the target that is spread over the vocabulary: HF Trainer (`training_args.py`), torch, fairseq, `NeMo`.
const LABEL_SMOOTHING: &[&str] = &["label_smoothing_factor", "label_smoothing", "label_smoothing_eps"];

/// Weight of the squared logarithm of the softmax' denominator: `OLMo-core` (`nn/functional/cross_entropy_loss.py`,
/// `z_loss_multiplier`), `OLMo` (`auxiliary_loss_multiplier`), nanotron (`z_loss_coefficient`), Levanter and Marin
/// (`z_loss_weight`), fairseq pull 2172 and T5X (`z_loss`).
const Z_LOSS: &[&str] = &[
    "z_loss_multiplier",
    "z_loss_coefficient",
    "z_loss_coef",
    "z_loss_coeff",
    "z_loss_weight",
    "z_loss_factor",
    "auxiliary_loss_multiplier",
    "z_loss",
];

/// Weight of the load balance of experts, which is as large as the number of experts a token is sent to where the router is
/// even: HF (`router_aux_loss_coef`), Megatron-LM (`moe_aux_loss_coeff`), ms-swift, LLM Foundry and megablocks
/// (`moe_loss_weight`), `OLMo-core` (`lb_loss_weight`).
const BALANCE: &[&str] = &[
    "router_aux_loss_coef",
    "moe_aux_loss_coeff",
    "moe_aux_loss_coef",
    "aux_loss_coef",
    "aux_loss_coeff",
    "aux_loss_alpha",
    "moe_loss_weight",
    "moe_aux_loss_weight",
    "lb_loss_weight",
    "load_balance_coefficient",
    "load_balance_loss_coefficient",
];

/// Weight of the losses of further tokens, each of which begins at ln(vocabulary) too: Megatron-LM
/// (`mtp_loss_scaling_factor`).
const FURTHER_TOKENS: &[&str] = &["mtp_loss_scaling_factor", "mtp_loss_weight", "mtp_lambda", "mtp_loss_coef"];

const SENT_TO: &[&str] =
    &["num_experts_per_tok", "num_experts_per_token", "moe_router_topk", "moe_top_k", "top_k", "moe_topk"];

const LAYERS: &[&str] = &["num_hidden_layers", "num_layers", "n_layers", "n_layer"];

/// What an untrained model's loss is by the configuration: from ln(vocabulary) to that and all that may be added.
struct Expected {
    low: f64,
    high: f64,
    allowances: Vec<Text>,
}

/// A softmax of equal probabilities has cross-entropy ln V against any targets, smoothed ones too; z-loss adds c (ln V)^2,
/// further tokens their weight times ln V, the balance of experts its weight times the experts a token is sent to, as a mean
/// or as a sum over the layers. Whether a program logs them with the loss is not known: they widen what is expected.
fn expected(run: &Run, rows: u64) -> Expected {
    let even = (rows as f64).ln();
    let mut expected = Expected { low: even, high: even, allowances: Vec::new() };
    let share = |v: &f64| *v > 0.0 && *v <= 1.0;
    if let Some(smoothing) = number(run, LABEL_SMOOTHING).filter(share) {
        expected.allowances.push(text!("time/first-loss/smoothing", weight = smoothing));
    }
    let mut add = |most: f64, words: Text| {
        expected.high += most;
        expected.allowances.push(words);
    };
    let router = |group: &str| ["moe", "router", "expert", "feed_forward"].iter().any(|word| group.contains(word));
    if let Some(weight) = number_where(run, Z_LOSS, |group| !router(group)).filter(share) {
        let most = weight * even * even;
        add(most, text!("time/first-loss/z-loss", weight, most));
    }
    if let Some(weight) = number(run, FURTHER_TOKENS).filter(share) {
        let most = weight * even;
        add(most, text!("time/first-loss/further-tokens", weight, most));
    }
    if let Some(weight) = number(run, BALANCE).filter(share) {
        let of = |names, most: f64| number(run, names).filter(|n| (1.0..=most).contains(n)).unwrap_or(1.0);
        let most = weight * of(SENT_TO, 64.0) * of(LAYERS, 256.0);
        add(most, text!("time/first-loss/balance", weight, most));
    }
    expected
}

/// What a column's name says that it holds.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    /// Natural logarithm, by token; also where nothing is said.
    Nats,
    /// Logarithm to base 2, by token.
    Bits,
    /// By byte or character: what a token holds of them is not known.
    Bytes,
    /// The exponential of the loss.
    Perplexity,
}

fn unit(key: &str) -> Unit {
    let key = key.to_ascii_lowercase();
    let words: Vec<&str> = key.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let says = |names: &[&str]| words.iter().any(|word| names.contains(word));
    if says(&["bpb", "bpc", "bpbs", "byte", "bytes", "char", "chars", "character"]) {
        Unit::Bytes
    } else if says(&["ppl", "perplexity"]) {
        Unit::Perplexity
    } else if says(&["bits", "bpt"]) || key.starts_with("train_inner/") {
        // fairseq's criterions log base 2 (`criterions/cross_entropy.py`).
        Unit::Bits
    } else {
        Unit::Nats
    }
}

/// First loss against ln(vocabulary): a random model knows nothing, so its cross-entropy begins there or a little above.
///
/// Never a verdict, and a question that counts only where the weights of the start say otherwise: another objective, a
/// character vocabulary, a late first row or a warm-up row move it honestly, and a continued model with a new vocabulary
/// begins there too.
pub fn judge(to: &mut Judgement, facts: &TimeFacts<'_>, policy: &Policy, run: &Run) {
    let loss = run.loss();
    let Some(&(step, logged)) = loss.first() else {
        to.missing.push(text!("time/first-loss/no-column", run = called(run), keys = run.keys.describe()));
        return;
    };
    let unit = unit(run.keys.loss.as_deref().unwrap_or_default());
    let first = match unit {
        Unit::Bits => logged * std::f64::consts::LN_2,
        Unit::Perplexity => logged.ln(),
        Unit::Nats | Unit::Bytes => logged,
    };
    // Of several embeddings the one that fits best: the question is only whether any explains the figure.
    let of = |rows: u64| {
        let expected = expected(run, rows);
        (first / first.clamp(expected.low, expected.high), rows, expected)
    };
    let all = facts.vocabularies.iter().filter(|&&rows| rows > 1).map(|&rows| of(rows));
    let best = all.filter(|one| one.0.is_finite());
    let Some((ratio, rows, expected)) = best.min_by(|a, b| (a.0 - 1.0).abs().total_cmp(&(b.0 - 1.0).abs())) else {
        if !facts.images {
            to.missing.push(text!("time/first-loss/no-vocabulary"));
        }
        return;
    };
    let even = (rows as f64).ln();
    let (grade, direction, words) = words(facts, policy, run, (step, unit, ratio));
    let message = text!(
        "time/first-loss/finding",
        run = called(run),
        logged,
        bits = unit == Unit::Bits,
        perplexity = unit == Unit::Perplexity,
        step,
        ratio,
        rows,
        even,
        allowances = expected.allowances,
        words
    );
    let mut finding = Finding::new(Code::TimeFirstLoss, grade, direction, message);
    finding.statistic = Some(ratio);
    finding.effect = Some(ratio - 1.0);
    finding.n = Some(1);
    finding.subject.steps = vec![step];
    finding.null = text!("time/first-loss/null");
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

fn words(
    facts: &TimeFacts<'_>,
    policy: &Policy,
    run: &Run,
    (step, unit, ratio): (i64, Unit, f64),
) -> (Grade, Direction, Text) {
    let context = |words: Text| (Grade::Context, Direction::Neutral, words);
    if unit == Unit::Bytes {
        context(text!("time/first-loss/by-bytes"))
    } else if facts.contrastive {
        context(text!("time/first-loss/contrastive"))
    } else if step > policy.first_loss_step || run.resumed {
        context(text!("time/first-loss/too-late"))
    } else if let Some(words) = counted(policy, run, ratio) {
        context(words)
    } else if ratio < policy.first_loss_low && step <= 1 && facts.start == Condition::Holds && facts.tied {
        // The log is of these weights, and they began as a draw: what is lower than a draw's loss is another loss. **Measured**
        // 0.30 where a model was trained on the outputs of another from the first step on.
        (Grade::Weak, Direction::Neutral, text!("time/first-loss/another-loss"))
    } else if ratio < policy.first_loss_low && step <= 1 && facts.start == Condition::Holds {
        // Measured: 0.992 to 1.005 in 207 honest runs, 0.55 to 0.67 in continued ones.
        (Grade::Moderate, Direction::Against, text!("time/first-loss/not-the-draws"))
    } else if ratio < policy.first_loss_low {
        (Grade::Weak, Direction::Neutral, text!("time/first-loss/low"))
    } else if ratio > policy.first_loss_high {
        context(text!("time/first-loss/high"))
    } else {
        (Grade::Weak, Direction::For, text!("time/first-loss/untrained"))
    }
}

/// Whether the loss is an untrained model's in another count: a sum over calls, devices, sequences or tokens, a mean divided
/// by the calls once too often, or bits.
fn counted(policy: &Policy, run: &Run, ratio: f64) -> Option<Text> {
    if (policy.first_loss_low..=policy.first_loss_high).contains(&ratio) {
        return None;
    }
    let fits = |ratio: f64| (policy.first_loss_counted_low..=policy.first_loss_counted_high).contains(&ratio);
    let of = |names: &[&str]| number(run, names).filter(|n| *n > 1.0);
    let (calls, world, batch) = (of(ACCUMULATION), of(WORLD), of(BATCH));
    let (sequences, length) = (of(GLOBAL_BATCH), of(LENGTH));
    let times = |a: Option<f64>, b: Option<f64>| Some(a? * b?);
    let counts = [
        (calls, "calls-a-step"),
        (world, "devices"),
        (times(calls, world), "calls-on-devices"),
        (batch, "sequences-a-call"),
        (sequences, "sequences-a-step"),
        (length, "tokens-a-sequence"),
        (times(batch, length), "tokens-a-call"),
        (times(sequences, length), "tokens-a-step"),
    ];
    let summed = counts.iter().find_map(|(count, over)| {
        let count = (*count)?;
        fits(ratio / count).then(|| text!("time/first-loss/summed", count, over = *over))
    });
    let divided = || {
        let calls = calls.filter(|calls| fits(ratio * calls))?;
        Some(text!("time/first-loss/divided", calls))
    };
    let bits = || fits(ratio * std::f64::consts::LN_2).then(|| text!("time/first-loss/bits"));
    summed.or_else(divided).or_else(bits)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Code, Condition, Direction, Finding, Grade, TimeFacts, judge};
    use scratchproof_case::Policy;
    use scratchproof_record::{KeyMap, Run};

    fn of(key: &str, first: f64, config: &Value) -> Finding {
        let mut run = Run { id: "abc".into(), ..Run::default() };
        run.history.rows = 1;
        run.history.push_number(0, key, first);
        run.config = config.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        run.choose_keys(&KeyMap { loss: Some(key.into()), ..KeyMap::default() }).unwrap();
        let facts = TimeFacts { runs: &[run], vocabularies: &[640], start: Condition::Holds, ..TimeFacts::default() };
        judge(&facts, &Policy::default()).findings.into_iter().find(|f| f.code == Code::TimeFirstLoss).unwrap()
    }

    /// An image classifier has no vocabulary to be asked for.
    #[test]
    fn a_vocabulary_is_asked_of_language_models() {
        let asked = |images: bool| {
            let mut run = Run { id: "abc".into(), ..Run::default() };
            run.history.rows = 1;
            run.history.push_number(0, "loss", 2.3);
            run.choose_keys(&KeyMap { loss: Some("loss".into()), ..KeyMap::default() }).unwrap();
            let facts = TimeFacts { runs: &[run], images, start: Condition::Holds, ..TimeFacts::default() };
            judge(&facts, &Policy::default()).missing.iter().any(|missing| missing.contains("vocabulary's size"))
        };
        assert!(asked(false) && !asked(true));
    }

    /// Towers that are trained against each other begin at the logarithm of a batch.
    #[test]
    fn a_loss_of_pairs_is_not_held_against_the_vocabulary() {
        let found = |contrastive: bool| {
            let mut run = Run { id: "abc".into(), ..Run::default() };
            run.history.rows = 1;
            run.history.push_number(0, "loss", 3.13);
            run.choose_keys(&KeyMap { loss: Some("loss".into()), ..KeyMap::default() }).unwrap();
            let facts = TimeFacts {
                runs: &[run],
                vocabularies: &[800],
                contrastive,
                start: Condition::Holds,
                ..TimeFacts::default()
            };
            judge(&facts, &Policy::default())
                .findings
                .into_iter()
                .find(|f| f.code == Code::TimeFirstLoss)
                .unwrap()
                .grade
        };
        assert_eq!((found(true), found(false)), (Grade::Context, Grade::Moderate));
    }

    /// Distillation begins at the distance of two models. Where the chain ties the log to weights that began as a draw, the loss is
    /// another one; where nothing does, the log may be of another training.
    #[test]
    fn a_low_loss_beside_a_draw_asks_whose_log_it_is_only_where_nothing_ties_it() {
        let found = |start: Condition, tied: bool| {
            let mut run = Run { id: "abc".into(), ..Run::default() };
            run.history.rows = 1;
            run.history.push_number(0, "loss", 2.0);
            run.choose_keys(&KeyMap { loss: Some("loss".into()), ..KeyMap::default() }).unwrap();
            let facts = TimeFacts { runs: &[run], vocabularies: &[800], start, tied, ..TimeFacts::default() };
            let judged = judge(&facts, &Policy::default());
            let found = judged.findings.into_iter().find(|f| f.code == Code::TimeFirstLoss).unwrap();
            (found.grade, found.direction, found.message.contains("another loss"))
        };
        assert_eq!(found(Condition::Holds, true), (Grade::Weak, Direction::Neutral, true));
        assert_eq!(found(Condition::Holds, false), (Grade::Moderate, Direction::Against, false));
        assert_eq!(found(Condition::Untested, true), (Grade::Weak, Direction::Neutral, false));
    }

    /// Losses of an untrained Llama of 3 layers over 640 tokens, by torch in f64 (`cross_entropy`, `logsumexp`), and of an
    /// untrained Mixtral of 3 layers and 4 experts, by transformers.
    #[test]
    fn allowances_are_named_and_an_untrained_model_is_one() {
        let good = (Grade::Weak, Direction::For);
        let context = (Grade::Context, Direction::Neutral);
        for (key, first, config, expected, words) in [
            ("loss", 6.447_039_649_6, json!({}), good, "0.998 of ln(640) = 6.461: as"),
            ("loss", 6.449_449_568_1, json!({"label_smoothing_factor": 0.1}), good, "label smoothing 0.1 leaves"),
            ("loss", 10.638_924_392_9, json!({"z_loss_multiplier": 0.1}), good, "z-loss 0.1 adds up to 4.175"),
            ("loss", 6.447_039_649_6, json!({"z_loss_multiplier": 0.1}), good, "0.998 of ln(640)"),
            (
                "loss",
                6.501_936_912_6,
                json!({"router_aux_loss_coef": 0.02, "num_experts_per_tok": 2, "num_hidden_layers": 3}),
                good,
                "1.000 of ln(640) = 6.461 (by the configuration balance of experts 0.02 adds up to 0.120)",
            ),
            ("loss", 25.854_924_486_1, json!({"gradient_accumulation_steps": 4}), context, "summed over the 4 calls"),
            (
                "loss",
                6.447_039_649_6 / 4.0,
                json!({"gradient_accumulation_steps": 4}),
                context,
                "divided by the 4 calls",
            ),
            ("loss", 9.301_112_130_9, json!({}), context, "if it is in bits"),
            (
                "train_inner/loss",
                9.301_112_130_9,
                json!({}),
                good,
                "bits as the column's name says, at step 0, 0.998 of",
            ),
            ("train/ppl", 630.832_042_004_8, json!({}), good, "a perplexity as the column's name says"),
            ("train/bpb", 2.3, json!({}), context, "bytes or characters"),
        ] {
            let finding = of(key, first, &config);
            assert_eq!((finding.grade, finding.direction), expected, "{}", finding.message);
            assert!(finding.message.contains(words), "{}", finding.message);
        }
    }

    /// A model that goes on from another: no allowance makes its loss an untrained one's.
    #[test]
    fn what_is_added_or_smoothed_does_not_excuse_a_low_loss() {
        for config in [
            json!({"label_smoothing": 0.1}),
            json!({"z_loss": 1e-2}),
            json!({"mtp_loss_scaling_factor": 0.3}),
            json!({"gradient_accumulation_steps": 2}),
            json!({"z_loss_multiplier": true, "label_smoothing": "0.1"}),
        ] {
            for share in [0.57, 0.67, 0.85] {
                let finding = of("loss", share * 6.461, &config);
                let found = (finding.grade, finding.direction);
                assert_eq!(found, (Grade::Moderate, Direction::Against), "{config} {}", finding.message);
            }
        }
        // The router's z-loss is another.
        let finding = of("loss", 7.2, &json!({"block.feed_forward_moe.z_loss_weight": 0.5}));
        assert!(!finding.message.contains("z-loss"), "{}", finding.message);
    }
}
