//! Settings of a model that stand in a file beside it and not in config.json: nanochat's `meta_N.json`, litgpt's
//! `model_config.yaml`.

use serde_json::{Map, Value};

use crate::index::whole;
use crate::settings::read_settings;
use scratchproof_error::{Context, Result};
use scratchproof_source::Store;

/// The settings that belong to the file `shard`, if a file with them lies beside it.
///
/// # Errors
/// If it is there and is not what it must be.
pub(crate) fn settings(store: &dyn Store, shard: &str) -> Result<Option<Value>> {
    let step = shard.strip_prefix("model_").and_then(|rest| rest.strip_suffix(".pt"));
    if let Some(step) = step.filter(|step| step.bytes().all(|byte| byte.is_ascii_digit())) {
        let name = format!("meta_{step}.json");
        if let Some(blob) = store.beside(&name)? {
            let bytes = whole(&*blob)?;
            let meta = read_settings(&bytes).context(|| name.clone())?;
            return Ok(meta.get("model_config").filter(|settings| settings.is_object()).map(nanochat));
        }
    }
    if shard == "lit_model.pth"
        && let Some(blob) = store.beside("model_config.yaml")?
    {
        let bytes = whole(&*blob)?;
        return Ok(Some(litgpt(&String::from_utf8_lossy(&bytes))));
    }
    Ok(None)
}

/// The names of nanochat, with that of the key heads as others have it.
fn nanochat(settings: &Value) -> Value {
    let mut settings = settings.clone();
    if let (Some(heads), Some(map)) = (settings.get("n_kv_head").cloned(), settings.as_object_mut()) {
        map.insert("num_key_value_heads".to_owned(), heads);
    }
    settings
}

/// The numbers of a flat list of `name: value`.
fn litgpt(words: &str) -> Value {
    let mut map = Map::new();
    for (name, value) in words.lines().filter_map(|line| line.split_once(": ")) {
        if let Ok(number) = value.trim().parse::<u64>() {
            let name = match name {
                "n_query_groups" => "num_key_value_heads",
                "head_size" => "head_dim",
                name => name,
            };
            map.insert(name.to_owned(), Value::from(number));
        }
    }
    Value::Object(map)
}
