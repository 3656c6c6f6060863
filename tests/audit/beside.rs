//! What is handed over beside the model and not judged keeps the case from being confirmed; what is the model again, or a
//! trainer's, does not.

use std::fs;
use std::path::Path;

use crate::support::report::Outcome;
use crate::support::safetensors::File;
use crate::support::{Copy, fixtures, names};

const CASE: &str = "scratch-same-arch";

/// The audit of a case with something more in the folder of every checkpoint.
fn with(more: impl Fn(&Path)) -> (Outcome, String, Vec<String>, usize) {
    let copy = Copy::of(CASE);
    for step in names(&copy.path("checkpoints")) {
        more(&copy.path("checkpoints").join(step));
    }
    let report = copy.judged();
    let limits = report.answer.limits.iter().map(|limit| limit.message.as_str()).collect::<Vec<_>>().join(" ");
    let missing = report.verdict.missing.clone();
    (report.verdict.outcome, limits, missing, report.of("input/left-out-files").len())
}

/// Another name for a tensor; what a header says of the file keeps its own.
fn named(name: &str, other: impl Fn(&str) -> String) -> String {
    if name == "__metadata__" { name.to_owned() } else { other(name) }
}

fn parent() -> File {
    File::read(&fixtures().join("models/parent-llama/model.safetensors"))
}

#[test]
fn another_model_in_the_folder_is_asked_for() {
    for (name, renamed) in [("talker.safetensors", false), ("optimizer.bin", true), ("ema.safetensors", false)] {
        let (outcome, limits, missing, findings) = with(|folder| {
            let mut file = parent();
            if renamed {
                file.rename(|name| named(name, |name| format!("state.{name}")));
            }
            file.write(&folder.join(name));
        });
        assert_eq!(outcome, Outcome::Inconclusive, "{name}");
        assert!(limits.contains(name), "{name}: {limits}");
        assert!(missing.iter().any(|missing| missing.contains(name)), "{name}: {missing:?}");
        assert_eq!(findings, 1, "one for the series");
    }
}

#[test]
fn the_model_again_and_a_trainers_files_are_not() {
    let (outcome, limits, missing, _) = with(|folder| {
        let own = File::read(&folder.join("model.safetensors"));
        own.write(&folder.join("model.fp32.safetensors"));
        let mut average = File::read(&folder.join("model.safetensors"));
        average.rename(|name| named(name, |name| format!("ema_model.module.{name}")));
        for name in average.names() {
            let numbers = average.numbers(&name);
            let shifted =
                numbers.iter().enumerate().map(|(at, x)| x * (1.0 + 0.2 * (at % 7) as f32)).collect::<Vec<_>>();
            average.put(&name, &shifted);
        }
        average.write(&folder.join("ema.safetensors"));
        let mut states = File::read(&folder.join("model.safetensors"));
        states.rename(|name| named(name, |name| format!("state.{name}.exp_avg_sq")));
        states.write(&folder.join("optimizer.safetensors"));
        fs::write(folder.join("training_args.bin"), [7; 5000]).expect("written");
        fs::write(folder.join("tokenizer.model"), vec![7; 50_000]).expect("written");
    });
    assert_eq!(outcome, Outcome::Confirmed, "{missing:?}");
    assert!(!limits.contains("not judged"), "{limits}");
}
