//! Adapters of PEFT: what `adapter_config.json` says of one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::index::read_small;
use super::settings::read_settings;
use scratchproof_case::last_part;
use scratchproof_error::{Context, Result};
use scratchproof_source::Store;
use scratchproof_texts::{Text, text};

/// Name of the file that describes an adapter.
pub(super) const CONFIG: &str = "adapter_config.json";

/// A shorter name is the beginning of too many.
const SHORTEST: usize = 6;

/// What `adapter_config.json` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// The model it is of, in the words of its author.
    pub base: Option<String>,
    /// The kind: `LORA` and others.
    pub kind: String,
    /// The model it was merged with, if it was.
    pub merged: Option<String>,
    /// Why it cannot be merged here, if it cannot.
    pub(super) refusal: Option<Text>,
    alpha: f64,
    /// Alpha of modules by the end of their name.
    alphas: BTreeMap<String, f64>,
    root: bool,
    pub(super) fan_in_fan_out: bool,
    pub(super) dora: bool,
}

impl Adapter {
    /// Reads the description, if the files of the model are the adapter's: not where a whole model lies beside it.
    pub(super) fn read(store: &dyn Store, names: &[String], unread: &[String]) -> Result<Option<Self>> {
        let own = |name: &String| name.starts_with("adapter_model");
        if !names.iter().any(|name| name == CONFIG) || unread.iter().any(own) || !names.iter().any(own) {
            return Ok(None);
        }
        let text = read_small(store, CONFIG).context(|| format!("{}: {CONFIG}", store.uri()))?;
        let config = read_settings(&text).context(|| format!("{}: {CONFIG}", store.uri()))?;
        Ok(Some(Self::of(&config)))
    }

    fn of(config: &Value) -> Self {
        let text = |key: &str| config.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| config.get(key).and_then(Value::as_f64);
        let is = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
        let kind = text("peft_type").unwrap_or_else(|| "unknown".to_owned());
        let (dora, fan_in_fan_out) = (is("use_dora"), is("fan_in_fan_out"));
        let mut alphas = BTreeMap::new();
        let mut refusal = (kind != "LORA").then(|| text!("error-checkpoint/adapter/kind", kind = &kind));
        for (name, alpha) in config.get("alpha_pattern").and_then(Value::as_object).into_iter().flatten() {
            if name.contains(['*', '+', '?', '[', '(', '|', '\\', '^', '$']) {
                refusal = Some(text!("error-checkpoint/adapter/expression", name = format!("{name:?}")));
            }
            alphas.extend(alpha.as_f64().map(|alpha| (name.clone(), alpha)));
        }
        for key in ["use_qalora", "use_bdlora", "lora_bias"] {
            if is(key) {
                refusal = Some(text!("error-checkpoint/adapter/set", key));
            }
        }
        if dora && fan_in_fan_out {
            refusal = Some(text!("error-checkpoint/adapter/both"));
        }
        if config.get("layer_replication").is_some_and(|value| !value.is_null()) {
            refusal = Some(text!("error-checkpoint/adapter/set", key = "layer_replication"));
        }
        let base = text("base_model_name_or_path").filter(|base| !base.is_empty());
        let (alpha, root) = (number("lora_alpha").unwrap_or(8.0), is("use_rslora"));
        Self { base, kind, merged: None, refusal, alpha, alphas, root, fan_in_fan_out, dora }
    }

    /// Whether one of these names is that of its base, as far as a name tells: what stands behind the last slash, letters and numbers
    /// alone, equal or one the beginning of the other. Shapes tell nothing: every model of an architecture has them.
    #[must_use]
    pub fn is_of<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> bool {
        let last = |name: &str| -> String {
            let own = last_part(name.split('@').next().unwrap_or(name));
            own.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
        };
        let Some(base) = self.base.as_deref().map(last) else { return false };
        names.into_iter().map(last).any(|own| {
            let short = own.len().min(base.len());
            own == base || short >= SHORTEST && (own.starts_with(&base) || base.starts_with(&own))
        })
    }

    /// s in W + s B A.
    pub(super) fn scaling(&self, module: &str, rank: usize) -> f64 {
        let ends = |name: &str| module == name || module.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
        let alpha = self.alphas.iter().find(|(name, _)| ends(name)).map_or(self.alpha, |(_, alpha)| *alpha);
        let rank = rank.max(1) as f64;
        alpha / if self.root { rank.sqrt() } else { rank }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Adapter;

    #[test]
    fn its_base_is_the_model_that_it_names() {
        let of = |base: &str, name: &str| Adapter::of(&json!({ "base_model_name_or_path": base })).is_of([name]);
        for (base, name) in [
            ("org/Some-Model-8B", "Some-Model-8B"),
            ("org/some_model-8b", "hf://other/Some-Model-8B@main"),
            ("/home/x/parent-base/", "models/parent"),
        ] {
            assert!(of(base, name), "{base} {name}");
        }
        for (base, name) in
            [("org/Some-Model-8B", "control"), ("org/parent-llama", "control-llama"), ("org/a", "ab"), ("", "")]
        {
            assert!(!of(base, name), "{base} {name}");
        }
        assert!(!Adapter::of(&json!({})).is_of(["anything"]));
    }
}
