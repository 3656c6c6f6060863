//! What programs put around a model, and so into its tensors' names: one rule for every place where names are read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Parts of names (between dots) that wrappers of a model add, anywhere in a name:
/// `DataParallel` and `DistributedDataParallel`, DeepSpeed's engine (`module`), Lightning's strategies (`_forward_module`),
/// `torch.compile` (`_orig_mod`), FSDP (`_fsdp_wrapped_module`, `_fsdp_module`), activation checkpointing
/// (`_checkpoint_wrapped_module`), Opacus (`_module`), ONNX Runtime (`_original_module`), accelerate and fairscale
/// (`_wrapped_module`, `_fpw_module`), PEFT's layers (`base_layer`, `original_module`) and k-diffusion style averages.
const PARTS: &[&str] = &[
    "module",
    "_module",
    "_forward_module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_fsdp_module",
    "_fpw_module",
    "_checkpoint_wrapped_module",
    "_wrapped_module",
    "_original_module",
    "_dp_module",
    "_ddp_module",
    "base_layer",
    "original_module",
];

/// Pairs of parts that PEFT puts before the names of the model it adapts, and training programs before those of theirs.
const FIRST: &[&[&str]] = &[&["base_model", "model"], &["state_dict"], &["model_state_dict"], &["_model"]];

/// A tensor's name without what wrappers add. A name that is nothing else stays as it is.
///
/// `parametrizations.weight.original` is the `weight` that `torch.nn.utils.parametrize` computes from.
#[must_use]
pub fn bare_name(name: &str) -> Cow<'_, str> {
    let mut parts: Vec<&str> = name.split('.').filter(|part| !PARTS.contains(part)).collect();
    while let Some(first) = FIRST.iter().find(|first| parts.len() > first.len() && parts.starts_with(first)) {
        parts.drain(..first.len());
    }
    if let [.., parametrized, what, original] = parts[..]
        && parametrized == "parametrizations"
        && original == "original"
    {
        parts.truncate(parts.len() - 3);
        parts.push(what);
    }
    if parts.is_empty() || parts.len() == name.split('.').count() {
        return Cow::Borrowed(name);
    }
    // What is left of `module.weight` says too little to be a name, unless the whole model is one layer.
    Cow::Owned(parts.join("."))
}

/// The bare names of a model, in the order of `names`, and what was taken away: parts of names, sorted. Where two tensors
/// would have one name, both keep theirs.
pub(super) fn bare_names(names: &[&str]) -> (Vec<String>, Vec<String>) {
    let bare: Vec<Cow<str>> = names.iter().map(|name| bare_name(name)).collect();
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for name in &bare {
        *count.entry(name).or_default() += 1;
    }
    let mut away = BTreeSet::new();
    let mut result = Vec::with_capacity(names.len());
    for (name, bare) in names.iter().zip(&bare) {
        if bare.as_ref() == *name || count[bare.as_ref()] > 1 {
            result.push((*name).to_owned());
            continue;
        }
        let mut left = bare.split('.').peekable();
        for part in name.split('.') {
            if left.peek() == Some(&part) {
                left.next();
            } else {
                away.insert(part.to_owned());
            }
        }
        result.push(bare.clone().into_owned());
    }
    (result, away.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_go_wherever_they_stand() {
        let layer = "model.layers.0.mlp.up_proj.weight";
        for wrapped in [
            "module.model.layers.0.mlp.up_proj.weight",
            "_orig_mod.model.layers.0.mlp.up_proj.weight",
            "module._orig_mod.module.model.layers.0.mlp.up_proj.weight",
            "_fsdp_wrapped_module.model.layers.0._fsdp_wrapped_module._checkpoint_wrapped_module.mlp.up_proj.weight",
            "_forward_module.model.layers.0.mlp.up_proj.base_layer.weight",
            "base_model.model.model.layers.0.mlp.up_proj.base_layer.weight",
            "base_model.model.model.layers.0.mlp.up_proj.original_module.weight",
            "model.layers.0.mlp.up_proj.parametrizations.weight.original",
            "state_dict.module.model.layers.0.mlp.up_proj.weight",
            layer,
        ] {
            assert_eq!(bare_name(wrapped), layer, "{wrapped}");
        }
        for own in ["module", "weight", "", "h.0.modules.weight", "model.module_list.0.weight", "base_model.model"] {
            assert_eq!(bare_name(own), own);
        }
    }

    #[test]
    fn two_tensors_never_get_one_name() {
        let (names, away) = bare_names(&["module.a.weight", "a.weight", "_orig_mod.b.weight"]);
        assert_eq!(names, ["module.a.weight", "a.weight", "b.weight"]);
        assert_eq!(away, ["_orig_mod"]);
    }
}
