//! Which column of a log holds what: named by the case file, or found by the common spellings.

use serde::{Deserialize, Serialize};

use super::history::{History, is_whole};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// Columns named by the case file; what is left out is guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct KeyMap {
    pub step: Option<String>,
    pub loss: Option<String>,
    pub learning_rate: Option<String>,
    pub grad_norm: Option<String>,
    pub tokens: Option<String>,
}

/// The columns in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Keys {
    /// `_step` (the log's own counter), or a column that counts training steps.
    pub step: String,
    pub loss: Option<String>,
    pub learning_rate: Option<String>,
    pub grad_norm: Option<String>,
    pub tokens: Option<String>,
    /// The roles whose column the case file named; the others were found by their spelling.
    pub given: Vec<&'static str>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { step: "_step".into(), loss: None, learning_rate: None, grad_norm: None, tokens: None, given: Vec::new() }
    }
}

// Spellings as `normal` writes them, the most telling first; behind them the program and its file, where it was looked up.
const LOSS: &[&str] = &[
    // HF Trainer (integrations/integration_utils.py puts `train/` before its logs; Axolotl and LLaMA-Factory log through
    // it), nanoGPT (train.py), Levanter.
    "train/loss",
    "train_loss",
    "lm_loss", // Megatron-LM (megatron/training/training.py), nanotron
    "train/lm_loss",
    "lm_loss_training/lm_loss", // Megatron-DeepSpeed
    "train/ce_loss",
    "train/crossentropyloss", // OLMo
    "train/cross_entropy",
    "train/cross_entropy_loss", // Marin
    "training/loss",
    "train/train_loss",
    "loss/train",
    "train_loss_step", // Lightning
    "train/loss_step",
    "train/loss_mean",
    "loss/train/total",             // Composer, LLM Foundry
    "loss_metrics/global_avg_loss", // torchtitan (torchtitan/components/metrics.py)
    "reduced_train_loss",           // NeMo (lightning/megatron_parallel and the GPT models)
    "train_inner/loss",             // fairseq
    "train/samples/train_loss",     // DeepSpeed (deepspeed/runtime/engine.py)
    "metrics/train/languagecrossentropy",
    "learning/loss", // MaxText
    "loss/out",      // Lingua
    "train/total_loss",
    "loss",
];
const LEARNING_RATE: &[&str] = &[
    "train/learning_rate",
    "learning_rate",
    "lr",
    "train/lr",
    "learning_rate/learning_rate",
    "optim/learning_rate_group0",
    "optim/lr",            // Lingua
    "optim/learning_rate", // Levanter
    "optimizer/lr",
    "training/learning_rate",
    "lr_adamw",
    "lr_adamw/pg1",
    "optim/lr_(group_0)", // OLMo-core
    "train_inner/lr",
    "train/samples/lr",
    "learning/current_learning_rate",
];
const GRAD_NORM: &[&str] = &[
    "train/grad_norm",
    "grad_norm",
    "train/gradient_norm",
    "gradient_norm",
    "optim/total_grad_norm",
    "train/global_grad_norm",
    "global_grad_norm",
    "grad_norm/grad_norm",
    "l2_norm/grad/global",
    "optim/grad_norm",
    "train_inner/gnorm",
    "learning/grad_norm",
    "grad/norm/total", // Levanter
    "loss/grad_norm",  // Megatron-DeepSpeed
];
pub(super) const WEIGHT_DECAY: &[&str] = &[
    "train/weight_decay",
    "weight_decay",
    "train/wd",
    "wd",
    "optim/weight_decay",
    "optimizer/weight_decay",
    "weight_decay_schedule",
];
const TOKENS: &[&str] = &[
    "consumed_tokens",
    "train/consumed_tokens",
    "train/tokens",
    "tokens",
    "num_tokens",
    "train/num_tokens",
    "train/num_input_tokens_seen",
    "num_input_tokens_seen",
    "tokens_seen",
    "train/tokens_seen",
    "total_tokens",
    "throughput/total_tokens",
    "n_tokens_seen",
    "time/token",         // Composer (composer/trainer/trainer.py)
    "train/tokens/total", // Axolotl
    "tokens/total",
    "lm_loss_training/consumed_train_tokens", // Megatron-DeepSpeed
    "train/total_tokens",
    "optim/total_tokens",
];
const STEP: &[&str] = &[
    "train/global_step",
    "trainer/global_step",
    "global_step",
    "train_inner/num_updates",
    "current_steps",
    "train/update_step",
    "update_step",
    "optimizer_step",
    "train/step",
    "iter",
    "iter_num",
    "iteration",
    "iteration_step",
    "train/iter",
    "train/iteration",
    "lm_loss_training/iteration", // Megatron-DeepSpeed
    "time/batch",                 // Composer
    "step",
];

impl Keys {
    /// Chooses the columns of a log.
    ///
    /// A step column other than `_step` is taken only if it stands in the rows of the loss (or, without one, of the
    /// learning rate) and never falls.
    ///
    /// # Errors
    /// If the log has rows, but not a column that was named.
    pub fn choose(history: &History, given: &KeyMap) -> Result<Self> {
        let mut keys = Self::default();
        let mut pick = |role: &'static str, named: &Option<String>, spellings: &[&str]| match named {
            Some(key) if history.columns.contains_key(key) || history.rows == 0 => {
                keys.given.push(role);
                Ok(Some(key.clone()))
            }
            Some(key) => Err(missing(history, role, key)),
            None => Ok(spelled(history, spellings)),
        };
        let loss = pick("loss", &given.loss, LOSS)?;
        let learning_rate =
            pick("learning_rate", &given.learning_rate, LEARNING_RATE)?.or_else(|| of_optimizer(history));
        let grad_norm = pick("grad_norm", &given.grad_norm, GRAD_NORM)?;
        let tokens = pick("tokens", &given.tokens, TOKENS)?;
        let step = match &given.step {
            None => step(history, loss.as_deref().or(learning_rate.as_deref())),
            named => pick("step", named, &[])?,
        };
        Ok(Self { step: step.unwrap_or(keys.step), loss, learning_rate, grad_norm, tokens, given: keys.given })
    }

    /// What was chosen, in words.
    pub fn describe(&self) -> String {
        let columns = [
            ("step", Some(&self.step)),
            ("loss", self.loss.as_ref()),
            ("learning_rate", self.learning_rate.as_ref()),
            ("grad_norm", self.grad_norm.as_ref()),
            ("tokens", self.tokens.as_ref()),
        ];
        let word = |(role, column): (&str, Option<&String>)| match column {
            Some(column) if self.given.contains(&role) => format!("{role} = `{column}` (given)"),
            Some(column) => format!("{role} = `{column}`"),
            None => format!("{role} not found"),
        };
        columns.map(word).join(", ")
    }
}

fn missing(history: &History, role: &str, key: &str) -> Error {
    let all: Vec<&str> = history.columns.keys().map(String::as_str).take(20).collect();
    Error::usage(text!("error-record/keys/keys-log-no-such", role, key, all = all.join(", ")))
}

/// Lower case, with the separators that writers use for each other made equal.
fn normal(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            ' ' | '-' => '_',
            '.' => '/',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

fn spelled(history: &History, spellings: &[&str]) -> Option<String> {
    let columns: Vec<(String, &String)> = history.columns.keys().map(|key| (normal(key), key)).collect();
    spellings.iter().find_map(|wanted| Some(columns.iter().find(|(normal, _)| normal == wanted)?.1.clone()))
}

/// The rate of the first group of whatever optimiser: `lr-DecoupledAdamW/group0` (Composer), `lr-FusedAdam` (Lightning).
fn of_optimizer(history: &History) -> Option<String> {
    let first = |key: &&String| {
        let normal = normal(key);
        normal.strip_prefix("lr_").is_some_and(|name| {
            let (optimizer, group) = name.split_once('/').unwrap_or((name, "group0"));
            ["adam", "lion", "sgd", "muon", "adafactor", "adagrad", "lamb"]
                .iter()
                .any(|known| optimizer.contains(known))
                && matches!(group, "group0" | "pg1" | "param_group_0")
        })
    };
    history.columns.keys().find(first).cloned()
}

fn step(history: &History, beside: Option<&str>) -> Option<String> {
    let rows = history.columns.get(beside?)?;
    let columns: Vec<(String, &String)> = history.columns.keys().map(|key| (normal(key), key)).collect();
    let mut candidates = STEP.iter().filter_map(|wanted| Some(columns.iter().find(|(normal, _)| normal == wanted)?.1));
    candidates.find(|&key| counts(&history.columns[key], rows)).cloned()
}

/// Whether a column holds whole numbers that never fall, rise at least once, and stand in every row of the other one.
fn counts(steps: &[(i64, f64)], rows: &[(i64, f64)]) -> bool {
    let whole = steps.iter().all(|&(_, v)| is_whole(v) && v >= 0.0);
    let rising = steps.windows(2).all(|pair| pair[0].1 <= pair[1].1);
    let moves = steps.len() < 2 || steps[0].1 < steps[steps.len() - 1].1;
    let at: std::collections::BTreeSet<i64> = steps.iter().map(|&(row, _)| row).collect();
    !steps.is_empty() && whole && rising && moves && rows.iter().all(|(row, _)| at.contains(row))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{KeyMap, Keys};
    use crate::run::History;

    fn history(columns: &[(&str, &[f64])]) -> History {
        let mut history = History { rows: 3, ..History::default() };
        for (key, values) in columns {
            let rows = values.iter().enumerate().map(|(row, v)| (i64::try_from(row).unwrap(), *v)).collect();
            history.columns.insert((*key).to_owned(), rows);
        }
        history
    }

    #[test]
    fn the_common_spellings_are_known() {
        for (loss, rate, norm) in [
            ("train/loss", "train/learning_rate", "train/grad_norm"),
            ("lm loss", "learning-rate", "grad-norm"),
            ("loss", "lr", "grad_norm"),
            ("train.loss", "train.lr", "train.grad_norm"),
            ("loss/train/total", "lr-DecoupledAdamW/group0", "l2_norm/grad/global"),
            ("loss_metrics/global_avg_loss", "lr", "grad_norm"),
            ("reduced_train_loss", "lr", "gradient_norm"),
            ("train/CE loss", "optim/LR (group 0)", "optim/total grad norm"),
            ("train/CrossEntropyLoss", "optim/learning_rate_group0", "optim/total_grad_norm"),
            ("train_loss", "lr-AdamW", "grad_norm"),
            ("train/loss", "optim/learning_rate", "grad/norm/total"),
            ("lm-loss-training/lm loss", "learning-rate/learning-rate", "grad-norm/grad-norm"),
            ("reduced_train_loss", "lr", "grad_norm"),
            ("learning/loss", "learning/current_learning_rate", "learning/grad_norm"),
            ("loss/out", "optim/lr", "optim/grad_norm"),
        ] {
            let log = history(&[(loss, &[3.0]), ("val/loss", &[3.0]), (rate, &[1e-3]), (norm, &[1.0])]);
            let keys = Keys::choose(&log, &KeyMap::default()).unwrap();
            assert_eq!(keys.loss.as_deref(), Some(loss));
            assert_eq!(keys.learning_rate.as_deref(), Some(rate));
            assert_eq!(keys.grad_norm.as_deref(), Some(norm));
            assert_eq!(keys.step, "_step");
        }
    }

    #[test]
    fn a_step_column_must_count_and_stand_beside_the_loss() {
        let loss: (&str, &[f64]) = ("loss", &[3.0, 2.0, 1.0]);
        let of = |steps: &[f64]| Keys::choose(&history(&[loss, ("iter", steps)]), &KeyMap::default()).unwrap().step;
        assert_eq!(of(&[0.0, 200.0, 400.0]), "iter");
        assert_eq!(of(&[0.0, 200.0, 100.0]), "_step", "it falls");
        assert_eq!(of(&[0.0, 0.5, 1.0]), "_step", "not whole");
        assert_eq!(of(&[0.0, 200.0]), "_step", "not in every row");
        assert_eq!(of(&[7.0, 7.0, 7.0]), "_step", "it stands still");
    }

    #[test]
    fn a_named_column_wins_and_a_wrong_name_is_an_error() {
        let log = history(&[("loss", &[3.0]), ("mine", &[2.0])]);
        let given = KeyMap { loss: Some("mine".into()), ..KeyMap::default() };
        let keys = Keys::choose(&log, &given).unwrap();
        assert_eq!(keys.loss.as_deref(), Some("mine"));
        assert!(keys.describe().contains("loss = `mine` (given), learning_rate not found"));
        let wrong = KeyMap { tokens: Some("nothing".into()), ..KeyMap::default() };
        let error = Keys::choose(&log, &wrong).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("nothing") && error.to_string().contains("mine"));
    }
}
