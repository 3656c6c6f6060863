//! The file that reveals one tensor, or some of its rows, and its verification.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use scratchproof_error::hexadecimal::hex;
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

use super::item::Items;
use super::ledger::Entry;
use super::manifest::{shown, unhex};
use super::merkle::{Hash, Tensor, climb, leaf, path, placed, root, tensor};
use super::text::{base64, unbase64};

/// Schema of the file.
pub const SCHEMA: &str = "scratchproof.reveal/1";

/// One tensor under a published root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reveal {
    schema: String,
    /// The root, hexadecimal.
    root: String,
    /// Tensors under it.
    tensors: u64,
    /// The tensor.
    tensor: Tensor,
    /// Its place among them by name, from 0.
    place: u64,
    /// The hashes beside the path from it to the root, the lowest first.
    path: Vec<String>,
    /// Rows of it.
    rows: Vec<Row>,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    #[allow(clippy::struct_field_names, reason = "the key in the file")]
    row: u64,
    bytes: String,
    path: Vec<String>,
}

/// What an auditor is handed of one tensor: the path from it to the root, and the wanted rows with theirs. `rows` is asked for
/// the places of rows when their number is known.
///
/// # Errors
/// As [`super::merkle::commit`]; if there is no tensor of the name, or no such row in it.
pub fn of(model: &Path, name: &str, rows: impl FnOnce(u64) -> Vec<u64>) -> Result<Reveal> {
    let mut all = placed(model)?;
    let at = all.iter().position(|own| own.tensor.name == name);
    let at = at.ok_or_else(|| {
        Error::usage(text!(
            "error-attest/merkle/no-tensor",
            model = shown(model),
            name = name.escape_debug().to_string()
        ))
    })?;
    let (count, _) = all[at].tensor.rows_of()?;
    let wanted: BTreeSet<u64> = rows(count).into_iter().collect();
    if let Some(beyond) = wanted.iter().find(|row| **row >= count) {
        return Err(Error::usage(text!(
            "error-attest/reveal/tensor-rows-no-row",
            name = name.escape_debug().to_string(),
            count,
            beyond
        )));
    }
    let (mut leaves, mut opened) = (Vec::new(), Vec::new());
    for (place, own) in all.iter_mut().enumerate() {
        let wanted = if place == at { wanted.clone() } else { BTreeSet::new() };
        let (hashes, kept) = own.hash(&wanted)?;
        leaves.push(own.tensor.leaf()?);
        for (row, bytes) in kept {
            let path = path(&hashes, usize::try_from(row).unwrap_or(usize::MAX));
            opened.push(Row::new(row, &bytes, &path));
        }
    }
    Ok(Reveal::new(&all[at].tensor, at, &leaves, opened))
}

impl Row {
    /// A row with the path from it to the root over its tensor's rows.
    #[must_use]
    pub fn new(row: u64, bytes: &[u8], path: &[Hash]) -> Self {
        Self { row, bytes: base64(bytes), path: path.iter().map(|hash| hex(hash)).collect() }
    }
}

/// A hash in the one spelling that it has here.
fn exact(text: &str) -> Option<Hash> {
    unhex(text).filter(|_| !text.bytes().any(|byte| byte.is_ascii_uppercase()))
}

/// A path as hashes, if all of it is.
fn hashes(path: &[String]) -> Option<Vec<Hash>> {
    path.iter().map(|hash| exact(hash)).collect()
}

impl Reveal {
    /// Of the tensor at a place among leaves.
    #[must_use]
    pub fn new(tensor: &Tensor, place: usize, leaves: &[Hash], rows: Vec<Row>) -> Self {
        Self {
            schema: SCHEMA.into(),
            root: hex(&root(leaves)),
            tensors: leaves.len() as u64,
            tensor: tensor.clone(),
            place: place as u64,
            path: path(leaves, place).iter().map(|hash| hex(hash)).collect(),
            rows,
        }
    }

    /// Whether a value says that it is one.
    #[must_use]
    pub fn is(value: &Value) -> bool {
        value["schema"].as_str().is_some_and(|schema| schema.starts_with("scratchproof.reveal/"))
    }

    /// Reads one.
    ///
    /// # Errors
    /// If it is none of this version.
    pub fn read(value: Value) -> Result<Self> {
        if value["schema"] != SCHEMA {
            return Err(Error::input(text!(
                "error-attest/reveal/schema-read",
                value = value["schema"].to_string(),
                schema = SCHEMA
            )));
        }
        serde_json::from_value(value).map_err(|cause| Error::input(cause.to_string()))
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Holds it against itself, against a ledger that published the root, and against the tensor where that is at hand.
    ///
    /// # Errors
    /// If the model cannot be read.
    pub fn verify(&self, ledger: Option<&[Entry]>, model: Option<&Path>, items: &mut Items) -> Result<()> {
        let name = self.tensor.name.as_str();
        let leads = || climb(self.tensor.leaf().ok()?, self.place, self.tensors, &hashes(&self.path)?);
        match leads() {
            Some(top) if exact(&self.root) == Some(top) => {
                items.verified(text!("attest/reveal/tensor", name, root = &self.root));
            }
            _ => items.contradicts(text!("attest/reveal/no-tensor", name, root = &self.root)),
        }
        self.rows(items);
        match ledger {
            None => items.unchecked(text!("attest/reveal/no-ledger", root = &self.root)),
            Some(entries) => {
                let published = |entry: &&Entry| {
                    let tree = &entry.body["tree"];
                    tree["root"].as_str() == Some(&self.root) && tree["tensors"].as_u64() == Some(self.tensors)
                };
                match entries.iter().find(published) {
                    Some(entry) => {
                        let (seq, step) = (entry.seq, entry.body["step"].as_i64());
                        items.verified(text!("attest/reveal/published", root = &self.root, seq, step));
                    }
                    None => items.contradicts(text!("attest/reveal/unpublished", root = &self.root)),
                }
            }
        }
        match model {
            Some(model) if tensor(model, name)? == self.tensor => items.verified(text!("attest/reveal/whole", name)),
            Some(_) => items.contradicts(text!("attest/reveal/other", name)),
            None if self.rows.is_empty() => items.unchecked(text!("attest/reveal/nothing", name)),
            None => {}
        }
        Ok(())
    }

    fn rows(&self, items: &mut Items) {
        let name = self.tensor.name.as_str();
        let Ok((count, length)) = self.tensor.rows_of() else {
            return items.contradicts(text!("attest/reveal/no-tensor", name, root = &self.root));
        };
        let mut good = 0_usize;
        for row in &self.rows {
            let leads = || {
                let bytes = unbase64(&row.bytes).filter(|bytes| bytes.len() as u64 == length)?;
                climb(leaf(&bytes), row.row, count, &hashes(&row.path)?)
            };
            if leads().is_some_and(|top| exact(&self.tensor.rows) == Some(top)) {
                good += 1;
            } else {
                items.contradicts(text!("attest/reveal/no-row", name, row = row.row));
            }
        }
        if good > 0 {
            items.verified(text!("attest/reveal/rows", name, count = good, of = count));
        }
    }
}
