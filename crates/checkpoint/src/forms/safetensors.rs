//! Safetensors: the header says it all.

use std::sync::Arc;

use super::{Catalogue, Entry, Form, Glance, Place};
use crate::{Header, Shard, Skipped};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// What fingerprints of models call themselves (`crates/fingerprint`): they hold figures and no weights.
const FINGERPRINT: &str = "scratchproof-fingerprint";

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
        let entry = |tensor: crate::HeaderTensor| Entry {
            name: tensor.name,
            dtype: tensor.dtype,
            shape: tensor.shape,
            place: Place::Run { file: 0, offset: tensor.offset },
        };
        let read: u64 = header.tensors.iter().map(|tensor| tensor.bytes).sum();
        Ok(Catalogue {
            unread: header.data.saturating_sub(read),
            files: vec![Shard { name: file.name.to_owned(), blob: Arc::clone(file.blob) }],
            entries: header.tensors.into_iter().map(entry).collect(),
            skipped: header.skipped.into_iter().map(|(tensor, why)| Skipped { tensor, why }).collect(),
            ..Catalogue::default()
        })
    }
}
