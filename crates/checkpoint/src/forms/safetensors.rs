//! Safetensors: the header says it all.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::{Catalogue, Entry, Form, Glance, Place};
use crate::settings::read_settings;
use crate::{Header, Shard, Skipped};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// What fingerprints of models call themselves (`crates/fingerprint`): they hold figures and no weights.
const FINGERPRINT: &str = "scratchproof-fingerprint";

/// Where torch's `HuggingFaceStorageWriter` says at which offsets a file's tensors lie in the whole ones.
const SHARDING: &str = "DCP_SHARDING_INFO";

/// How the files begin in which it saves every rank's part (`save_distributed`). The first rank's lie at nought, as whole
/// tensors do.
const SHARD: &str = "shard-";

/// Whether a tensor lies anywhere else than at the beginning of the whole one.
fn is_cut(words: &str) -> bool {
    let Ok(Value::Object(tensors)) = read_settings(words.as_bytes()) else { return false };
    let offsets = |tensor: &Value| tensor.get("saved_offsets")?.as_array().cloned();
    tensors.values().filter_map(offsets).flatten().any(|offset| offset.as_u64() != Some(0))
}

pub(super) struct Safetensors;

impl Form for Safetensors {
    fn name(&self) -> &'static str {
        "checkpoint/form/safetensors"
    }

    fn holds(&self, file: &Glance<'_>) -> bool {
        // Eight bytes of length, then a JSON object.
        matches!(file.head[..], [_, _, _, _, _, _, 0, 0, b'{' | b' ', ..])
    }

    fn catalogue(&self, file: &Glance<'_>) -> Result<Catalogue> {
        let header = Header::read_from(&**file.blob)?;
        if header.metadata.get("format").is_some_and(|format| format == FINGERPRINT) {
            return Err(Error::input(text!("error-checkpoint/forms/fingerprint")));
        }
        if header.metadata.get(SHARDING).is_some_and(|words| file.name.starts_with(SHARD) || is_cut(words)) {
            return Err(Error::input(text!("error-checkpoint/forms/piece")));
        }
        let entry = |tensor: crate::HeaderTensor| Entry {
            name: tensor.name,
            dtype: tensor.dtype,
            shape: tensor.shape,
            place: Place::Run { file: 0, offset: tensor.offset },
        };
        let read: u64 = header.tensors.iter().chain(&header.powers).map(|tensor| tensor.bytes).sum();
        let powers: BTreeSet<String> = header.powers.iter().map(|tensor| tensor.name.clone()).collect();
        let mut skipped: Vec<Skipped> =
            header.skipped.into_iter().map(|(tensor, why)| Skipped { tensor, why }).collect();
        skipped.retain(|skipped| !powers.contains(&skipped.tensor));
        Ok(Catalogue {
            unread: header.data.saturating_sub(read),
            files: vec![Shard { name: file.name.to_owned(), blob: Arc::clone(file.blob) }],
            entries: header.tensors.into_iter().chain(header.powers).map(entry).collect(),
            skipped,
            powers,
            ..Catalogue::default()
        })
    }
}
