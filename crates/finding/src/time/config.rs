//! Numbers of a run's configuration by their usual names.

use serde_json::Value;

use scratchproof_record::Run;

/// Largest logged learning rate.
pub const PEAK: &[&str] =
    &["learning_rate", "lr", "max_lr", "peak_lr", "base_lr", "max_learning_rate", "peak_learning_rate"];

/// Steps of the warm-up.
pub const WARM_UP: &[&str] =
    &["warmup_steps", "num_warmup_steps", "warmup_iters", "lr_warmup_iters", "lr_warmup_steps", "warmup_updates"];

/// Steps at which the schedule ends.
pub const TOTAL: &[&str] = &[
    "lr_decay_iters",
    "lr_decay_steps",
    "decay_steps",
    "max_steps",
    "max_iters",
    "train_iters",
    "total_steps",
    "num_training_steps",
    "total_iters",
    "max_train_steps",
    "train_steps",
    "num_steps",
    "steps",
];

/// Sequences an optimiser step, over all devices.
pub const GLOBAL_BATCH: &[&str] = &["global_batch_size", "train_global_batch_size", "global_train_batch_size"];

/// Sequences a device or a call.
pub const BATCH: &[&str] = &[
    "batch_size",
    "train_batch_size",
    "micro_batch_size",
    "per_device_train_batch_size",
    "device_batch_size",
    "local_batch_size",
    "device_train_microbatch_size",
];

/// Tokens a sequence.
pub const LENGTH: &[&str] = &[
    "seq_len",
    "seq_length",
    "sequence_length",
    "block_size",
    "max_seq_len",
    "max_seq_length",
    "context_length",
    "sequence_len",
    "cutoff_len",
    "encoder_seq_length",
];

/// Calls an optimiser step.
pub const ACCUMULATION: &[&str] =
    &["gradient_accumulation_steps", "grad_accum_steps", "accumulate_grad_batches", "grad_accumulation_steps"];

/// Processes or devices.
pub const WORLD: &[&str] =
    &["world_size", "num_gpus", "n_gpus", "ngpus", "num_devices", "dp_size", "data_parallel_size"];

/// Groups whose settings are of another model, or of another part of the training.
const OTHERS: &[&str] = &["teacher", "vision", "ref", "reference", "draft", "eval", "_wandb", "critic", "reward"];

/// The value under the first of these names that stands in the configuration, wherever it is nested: the outermost. Nothing
/// if that name stands there with several values at one depth.
pub fn number(run: &Run, names: &[&str]) -> Option<f64> {
    number_where(run, names, |_| true)
}

/// As [`number`], where every group it is nested in passes.
pub fn number_where(run: &Run, names: &[&str], passes: impl Fn(&str) -> bool) -> Option<f64> {
    names.iter().find_map(|name| {
        let mut found: Option<(usize, f64)> = None;
        let mut several = false;
        for (key, value) in &run.config {
            let key = key.replace(['/', '-'], "_").to_ascii_lowercase();
            let mut path = key.rsplit('.');
            if path.next() != Some(*name)
                || path.clone().any(|group| OTHERS.iter().any(|o| group.starts_with(o)) || !passes(group))
            {
                continue;
            }
            let Some(value) = figure(value) else { continue };
            let depth = path.count();
            match found {
                Some((outer, _)) if outer < depth => {}
                Some((outer, other)) if outer == depth => several |= (other - value).abs() > 1e-12 * other.abs(),
                _ => (found, several) = (Some((depth, value)), false),
            }
        }
        found.filter(|_| !several).map(|(_, value)| value)
    })
}

/// Whether a number of the configuration, or a ratio or product of two, is this one to a thousandth.
pub fn mentions(run: &Run, factor: f64) -> bool {
    let own = run.config.iter().filter(|(key, _)| !key.starts_with("_wandb"));
    let numbers: Vec<f64> = own.filter_map(|(_, value)| figure(value)).filter(|v| *v > 0.0).take(512).collect();
    numbers.iter().any(|v| (v / factor - 1.0).abs() < 1e-3 || (v * factor - 1.0).abs() < 1e-3)
}

fn figure(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|v: &f64| v.is_finite())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{PEAK, TOTAL, number};
    use scratchproof_record::Run;

    #[test]
    fn the_outermost_value_counts_and_only_if_it_is_one() {
        let run = |value: serde_json::Value| Run {
            config: value.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            ..Run::default()
        };
        let nested = run(json!({ "optimizer.lr": 1e-3, "teacher.learning_rate": 9.0, "max-steps": "300" }));
        assert_eq!((number(&nested, PEAK), number(&nested, TOTAL)), (Some(1e-3), Some(300.0)));
        assert_eq!(number(&run(json!({ "lr": 2.0, "a.lr": 3.0 })), PEAK), Some(2.0));
        assert_eq!(number(&run(json!({ "b.lr": 2.0, "a.lr": 3.0 })), PEAK), None);
    }
}
