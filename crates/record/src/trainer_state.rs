//! Reads `trainer_state.json`, which HF Trainer keeps in every checkpoint: what it logged, and how far it got.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::export::{elements, members};
use super::hashed;
use super::history::Collector;
use super::keys::{KeyMap, Keys};
use super::run::{Difference, Form, Run};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// A longer file is not read.
const LIMIT: u64 = 256 << 20;
/// A longer row is none.
const ROW: usize = 16 << 20;

/// Reads one file.
///
/// # Errors
/// If it cannot be read, is larger than 256 MiB, or is no JSON object with `log_history`.
pub(super) fn open(path: &Path) -> Result<Run> {
    let (bytes, hashed) = hashed::whole(path, LIMIT)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut run = read(&text).ok_or_else(|| {
        Error::input(text!("error-record/trainer-state/no-trainer-state-json", path = path.display()))
    })?;
    hashed.sign(&mut run)?;
    run.source = path.display().to_string();
    Ok(run)
}

/// Reads the files of several checkpoints. Each holds the whole log up to its step, so the last one is the run; where an
/// earlier one says something else, that is a difference.
///
/// # Errors
/// If none can be read.
pub(super) fn open_series(paths: &[PathBuf]) -> Result<Run> {
    let mut read: Vec<(i64, &PathBuf, Run)> = Vec::new();
    let mut failed = Vec::new();
    for path in paths.iter().take(super::run::RUNS) {
        match open(path) {
            Ok(run) => read.push((reached(&run), path, run)),
            Err(error) => failed.push(error),
        }
    }
    read.sort_by_key(|(step, path, _)| (*step, (*path).clone()));
    let Some((_, _, mut last)) = read.pop() else {
        return Err(failed
            .into_iter()
            .next()
            .unwrap_or_else(|| Error::input(text!("error-record/trainer-state/no-trainer-state-json-2"))));
    };
    for (_, path, earlier) in &read {
        compare(&mut last, path, earlier);
    }
    if !read.is_empty() {
        last.notes.push(format!("the log of the last of {} checkpoints, each of which holds one", read.len() + 1));
    }
    last.notes.extend(failed.iter().take(20).map(|error| format!("another log was left out: {error}")));
    Ok(last)
}

fn reached(run: &Run) -> i64 {
    run.summary.get("global_step").and_then(Value::as_i64).unwrap_or(-1)
}

fn compare(last: &mut Run, path: &Path, earlier: &Run) {
    let source = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for (key, column) in &earlier.history.columns {
        let Some(whole) = last.history.columns.get(key) else { continue };
        let whole: BTreeMap<i64, f64> = whole.iter().copied().collect();
        let other = |&&(step, value): &&(i64, f64)| {
            whole.get(&step).is_some_and(|kept| kept.to_bits() != value.to_bits() && !(kept.is_nan() && value.is_nan()))
        };
        let differ = column.iter().filter(other).count();
        if let Some((step, value)) = column.iter().find(other) {
            let what = format!("{key} at step {step} ({differ} steps differ)");
            found.push(Difference {
                what,
                log: whole[step].to_string(),
                other: value.to_string(),
                source: source.clone(),
            });
        }
    }
    last.differences.extend(found.into_iter().take(100_usize.saturating_sub(last.differences.len())));
}

fn read(text: &str) -> Option<Run> {
    let mut run = Run { form: Form::TrainerState, ..Run::default() };
    let mut history = Collector::default();
    let mut found = false;
    for member in members(text)? {
        let (key, value) = member?;
        if key == "log_history" {
            found = true;
            for row in elements(value)? {
                log(&mut history, &mut run, row?)?;
            }
        } else if !value.starts_with(['[', '{'])
            && let Ok(value) = serde_json::from_str::<Value>(value)
        {
            run.summary.insert(key.into_owned(), value);
        }
    }
    if !found {
        return None;
    }
    for key in ["max_steps", "num_train_epochs", "train_batch_size", "logging_steps", "eval_steps", "save_steps"] {
        if let Some(value) = run.summary.get(key) {
            run.config.insert(key.into(), value.clone());
        }
    }
    run.history = history.finish();
    // The state says how far the training was when it was saved, which may be behind the last row.
    let rows = run.history.columns.get("epoch").into_iter().flatten();
    if rows.map(|row| row.0).max() != run.summary.get("global_step").and_then(Value::as_i64) {
        run.summary.remove("epoch");
    }
    run.notes.extend(run.history.excess());
    run.keys = Keys::choose(&run.history, &KeyMap::default()).ok()?;
    Some(run)
}

/// One row: of training (`loss`), of an evaluation (`eval_loss`), or the sum of all at the end (`train_loss`).
fn log(history: &mut Collector, run: &mut Run, row: &str) -> Option<()> {
    if row.len() > ROW {
        return None;
    }
    let members: Option<Vec<_>> = members(row)?.collect();
    let members = members?;
    let step = members.iter().find(|(key, _)| key == "step").and_then(|(_, value)| value.parse().ok());
    let step = step.unwrap_or(i64::try_from(history.rows).unwrap_or(i64::MAX));
    history.rows += 1;
    // `train_loss` of the last row is the mean of the whole training: no loss of that step.
    let last = members.iter().any(|(key, _)| key == "train_runtime");
    for (key, value) in members {
        if last && key != "step" && key != "epoch" {
            if value.starts_with(['[', '{']) {
                continue;
            }
            run.summary.insert(key.into_owned(), super::wandb::config::json(value));
        } else {
            history.push(step, if key == "step" { "_step" } else { &key }, value);
        }
    }
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::{open, open_series, read};

    const STATE: &str = r#"{"best_metric": null, "epoch": 0.5, "global_step": 20, "max_steps": 20, "logging_steps": 10,
        "log_history": [
            {"epoch": 0.25, "grad_norm": 1.5, "learning_rate": 0.001, "loss": 7.1, "step": 10},
            {"epoch": 0.25, "eval_loss": 7.0, "step": 10},
            {"epoch": 0.5, "grad_norm": NaN, "learning_rate": 0.0005, "loss": 6.5, "step": 20},
            {"epoch": 0.5, "step": 20, "total_flos": 1e9, "train_loss": 6.8, "train_runtime": 12.5}],
        "stateful_callbacks": {"TrainerControl": {"args": {}}}}"#;

    #[test]
    fn the_log_of_hf_trainer_is_read() {
        let run = read(STATE).unwrap();
        assert_eq!(run.loss(), [(10, 7.1), (20, 6.5)]);
        assert_eq!(run.learning_rate(), [(10, 0.001), (20, 0.0005)]);
        assert_eq!(run.grad_norm(), [(10, 1.5)]);
        assert_eq!(run.summary["train_runtime"], 12.5);
        assert_eq!(run.config["max_steps"], 20);
        for bad in ["", "[]", "{}", r#"{"log_history": 3}"#, r#"{"log_history": [3]}"#, r#"{"log_history": ["#] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_state_behind_the_last_row_is_no_summary_of_it() {
        assert!(read(STATE).unwrap().summary.contains_key("epoch"));
        let saved = STATE
            .replace("\"global_step\": 20", "\"global_step\": 25")
            .replace("\"epoch\": 0.5, \"gl", "\"epoch\": 0.7, \"gl");
        assert!(!read(&saved).unwrap().summary.contains_key("epoch"));
    }

    #[test]
    fn earlier_checkpoints_may_not_say_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            fs::create_dir(folder.path().join(name)).unwrap();
            let path = folder.path().join(name).join("trainer_state.json");
            fs::write(&path, text).unwrap();
            path
        };
        let first = STATE.replace("\"global_step\": 20", "\"global_step\": 10");
        let paths = [
            write("checkpoint-20", STATE),
            write("checkpoint-10", &first),
            write("checkpoint-5", &first.replace("7.1", "3.5").replace("_step\": 10", "_step\": 5")),
            write("checkpoint-3", "{"),
        ];
        let run = open_series(&paths).unwrap();
        assert_eq!(run.loss(), [(10, 7.1), (20, 6.5)]);
        assert_eq!(run.differences.len(), 1);
        assert!(run.differences[0].what.starts_with("loss at step 10"));
        assert_eq!((run.differences[0].log.as_str(), run.differences[0].other.as_str()), ("7.1", "3.5"));
        assert!(run.notes.iter().any(|note| note.contains("checkpoint-3")));
        assert!(open(&paths[3]).unwrap_err().is_input());
    }
}
