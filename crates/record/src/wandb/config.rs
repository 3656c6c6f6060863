//! The configuration of a run, from records and from `config.yaml`.

use std::collections::BTreeMap;

use scratchproof_error::json::fits;
use serde_json::Value;

use super::proto;
use crate::run::Run;

/// So many settings are kept.
const SETTINGS: usize = 100_000;

/// Longer lists are kept as text.
const LIST: usize = 1000;

/// Takes what a record changes of the configuration.
pub(super) fn configure(run: &mut Run, wandb: &mut Value, record: Option<proto::ConfigRecord>) {
    let Some(record) = record else { return };
    for item in record.update {
        put(&mut run.config, wandb, item.name(), json(&item.value_json));
    }
    for item in record.remove {
        remove(&mut run.config, &item.name());
    }
}

/// JSON text; what is no JSON (a bare NaN) is kept as text, and what takes too much memory is not kept.
pub(crate) fn json(text: &str) -> Value {
    if fits(text.as_bytes()).is_err() {
        return Value::Null;
    }
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Puts one setting in the place of what had its name. The SDK's own notes on machine and user are no configuration.
pub(crate) fn put(config: &mut BTreeMap<String, Value>, wandb: &mut Value, name: String, value: Value) {
    let value = unwrap_value(value);
    if name == "_wandb" {
        *wandb = value;
    } else if name == "wandb_version" && config.is_empty() {
        // The first line of an old `config.yaml`.
    } else if !name.starts_with("_wandb.") {
        remove(config, &name);
        flatten(config, name, value);
    }
}

/// Old writers wrap a value as `{"desc": ..., "value": ...}`.
fn unwrap_value(value: Value) -> Value {
    match value {
        Value::Object(mut object)
            if object.contains_key("value") && object.keys().all(|key| key == "value" || key == "desc") =>
        {
            object.remove("value").unwrap_or_default()
        }
        other => other,
    }
}

/// Adds a value, an object's parts under names joined with dots.
pub(crate) fn flatten(config: &mut BTreeMap<String, Value>, name: String, value: Value) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            for (key, value) in object {
                flatten(config, format!("{name}.{key}"), value);
            }
        }
        other if config.len() < SETTINGS && name.len() <= 4096 => {
            config.insert(name, brief(other));
        }
        _ => {}
    }
}

/// A long list as its text: values take many times what they are written in, and of many records nobody asks how much.
fn brief(value: Value) -> Value {
    match value {
        Value::Array(list) if list.len() > LIST => Value::String(Value::Array(list).to_string()),
        other => other,
    }
}

fn remove(config: &mut BTreeMap<String, Value>, name: &str) {
    config.remove(name);
    // What is inside it stands together: `name.` up to `name/`, the next character.
    let inside = format!("{name}.");
    let gone: Vec<String> = config.range(inside.clone()..format!("{name}/")).map(|(key, _)| key.clone()).collect();
    for key in gone {
        config.remove(&key);
    }
}
