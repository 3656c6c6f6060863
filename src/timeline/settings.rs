//! Structural settings: the sizes that make an architecture, under one set of names.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Sizes by their name, as [`KNOWN`] spells it.
pub type Settings = BTreeMap<String, i64>;

/// The names of sizes, with the names that other families give them.
const KNOWN: &[(&str, &[&str])] = &[
    ("hidden_size", &["hidden_size", "n_embd", "d_model"]),
    ("num_hidden_layers", &["num_hidden_layers", "n_layer", "n_layers", "num_layers"]),
    ("num_attention_heads", &["num_attention_heads", "n_head", "n_heads"]),
    ("num_key_value_heads", &["num_key_value_heads", "n_kv_heads"]),
    ("vocab_size", &["vocab_size"]),
    ("intermediate_size", &["intermediate_size", "n_inner"]),
    ("moe_intermediate_size", &["moe_intermediate_size"]),
    ("n_routed_experts", &["n_routed_experts", "num_experts", "num_local_experts"]),
    ("head_dim", &["head_dim"]),
];

/// Objects inside a configuration that may hold the language model's sizes.
const INSIDE: &[&str] =
    &["text_config", "model", "model_config", "model_args", "config", "architecture", "language_config"];

/// So many known sizes make a configuration; fewer are a coincidence.
const ENOUGH: usize = 3;

/// The settings of a configuration, or nothing if it names fewer than three sizes.
///
/// Looks at the top and, if that is not enough, into the usual groups.
pub fn from_json(value: &Value) -> Option<Settings> {
    let object = value.as_object()?;
    let found = sizes(object);
    if found.len() >= ENOUGH {
        return Some(found);
    }
    let inner = INSIDE.iter().filter_map(|name| object.get(*name)?.as_object());
    inner.map(sizes).find(|found| found.len() >= ENOUGH)
}

fn sizes(object: &Map<String, Value>) -> Settings {
    let find = |names: &[&str]| names.iter().find_map(|name| object.get(*name)?.as_i64());
    KNOWN.iter().filter_map(|(name, aliases)| Some(((*name).to_owned(), find(aliases)?))).collect()
}

/// The settings in a run's flattened configuration, and the sizes that stand there with more than one value.
///
/// A size counts at the top or in one of the usual groups; `teacher.hidden_size` or `vision_config.hidden_size` are
/// somebody else's.
pub fn from_config(config: &BTreeMap<String, Value>) -> (Settings, Vec<String>) {
    let (mut settings, mut unclear) = (Settings::new(), Vec::new());
    for (name, aliases) in KNOWN {
        let at = |path: &str| config.get(path).and_then(whole);
        let top = aliases.iter().filter_map(|alias| at(alias));
        let inner = INSIDE.iter().flat_map(|group| aliases.iter().map(move |alias| format!("{group}.{alias}")));
        let mut values: Vec<i64> = top.chain(inner.filter_map(|path| at(&path))).collect();
        values.sort_unstable();
        values.dedup();
        match values[..] {
            [value] => drop(settings.insert((*name).to_owned(), value)),
            [] => {}
            _ => unclear.push((*name).to_owned()),
        }
    }
    (settings, unclear)
}

fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// Sizes that both have and that differ, in words; nothing if fewer than three are shared.
pub fn differences(one: &Settings, other: &Settings) -> Option<Vec<String>> {
    let shared: Vec<_> = one.iter().filter_map(|(name, value)| Some((name, value, other.get(name)?))).collect();
    let differ = |&(name, a, b): &(&String, &i64, &i64)| (a != b).then(|| format!("{name} {a} against {b}"));
    (shared.len() >= ENOUGH).then(|| shared.iter().filter_map(differ).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::{differences, from_config, from_json};

    #[test]
    fn sizes_have_one_name_and_three_make_a_configuration() {
        let gpt = from_json(&json!({ "n_embd": 384, "n_layer": 6, "n_head": 6, "dropout": 0.1 })).unwrap();
        let llama = json!({ "hidden_size": 384, "num_hidden_layers": 8, "num_attention_heads": 6, "vocab_size": 9 });
        let inside = from_json(&json!({ "text_config": llama, "vision_config": {} })).unwrap();
        assert_eq!(differences(&gpt, &inside).unwrap(), ["num_hidden_layers 6 against 8"]);
        assert_eq!(from_json(&json!({ "hidden_size": 3, "vocab_size": 4, "name": "x" })), None);
        assert_eq!(from_json(&json!([1, 2])), None);
        assert_eq!(
            differences(&gpt, &from_json(&json!({"vocab_size": 1, "head_dim": 2, "n_layer": 6})).unwrap()),
            None
        );
    }

    #[test]
    fn a_run_configuration_gives_only_its_own_sizes() {
        let config = [
            ("hidden_size", json!(64)),
            ("teacher.hidden_size", json!(128)),
            ("model.n_layer", json!("8")),
            ("num_layers", json!(9)),
            ("vocab_size", json!(null)),
        ];
        let (settings, unclear) = from_config(&config.map(|(k, v)| (k.to_owned(), v)).into());
        assert_eq!(settings, [("hidden_size".to_owned(), 64)].into());
        assert_eq!(unclear, ["num_hidden_layers"]);
    }
}
