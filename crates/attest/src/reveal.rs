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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{self, What};
    use crate::merkle::commit;
    use serde_json::json;

    /// A model of two tensors, a ledger that published its root, and rows 1 and 3 of one of them.
    fn made(dir: &Path) -> (Vec<Entry>, Reveal) {
        let header = "{\"a\":{\"dtype\":\"U8\",\"shape\":[5,3],\"data_offsets\":[0,15]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[15,17]}}";
        let data: Vec<u8> = (0..17).collect();
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
        std::fs::write(dir.join("model.safetensors"), bytes).unwrap();
        let path = dir.join("ledger");
        ledger::init(&path, json!({}), None).unwrap();
        ledger::append(&path, What::Checkpoint, json!({ "step": 7, "tree": commit(dir).unwrap() }), None).unwrap();
        let entries = ledger::verify(&path, &[], &mut Items::default()).unwrap();
        (entries, of(dir, "a", |_| vec![3, 1]).unwrap())
    }

    fn status(reveal: &Reveal, ledger: Option<&[Entry]>, model: Option<&Path>) -> u8 {
        let mut items = Items::default();
        reveal.verify(ledger, model, &mut items).unwrap();
        items.status()
    }

    #[test]
    fn what_is_revealed_is_what_was_published_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (entries, own) = made(dir.path());
        assert_eq!(own.rows.iter().map(|row| row.row).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(status(&own, Some(&entries), None), 0);
        assert_eq!(status(&own, Some(&entries), Some(dir.path())), 0);
        assert_eq!(status(&own, None, None), 3, "no ledger is given");
        assert_eq!(status(&own, Some(&entries[..1]), None), 1, "nobody published it");
        assert_eq!(Reveal::read(serde_json::from_str(&own.to_json()).unwrap()).unwrap(), own);
        let good = serde_json::to_value(&own).unwrap();
        let zeros = json!("0".repeat(64));
        for (place, value) in [
            ("/root", zeros.clone()),
            ("/root", json!(own.root.to_uppercase())),
            ("/tensors", json!(3)),
            ("/place", json!(1)),
            ("/path/0", zeros.clone()),
            ("/path", json!([])),
            ("/tensor/name", json!("b")),
            ("/tensor/dtype", json!("I8")),
            ("/tensor/shape", json!([15])),
            ("/tensor/shape", json!([3, 5])),
            ("/tensor/rows", zeros),
            ("/rows/0/row", json!(2)),
            ("/rows/0/row", json!(5)),
            ("/rows/0/bytes", json!("AAAA")),
            ("/rows/0/bytes", json!("AA==")),
            ("/rows/1/path", json!([])),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(place).unwrap() = value.clone();
            let bad = Reveal::read(bad).unwrap();
            assert_eq!(status(&bad, Some(&entries), None), 1, "{place}: {value}");
        }
        for (place, value) in
            [("/schema", json!("scratchproof.reveal/2")), ("/place", json!(-1)), ("/rows/0", json!({}))]
        {
            let mut bad = good.clone();
            *bad.pointer_mut(place).unwrap() = value;
            assert!(Reveal::read(bad).is_err(), "{place}");
        }
    }

    #[test]
    fn another_model_is_named_and_a_row_beyond_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (entries, own) = made(dir.path());
        assert!(of(dir.path(), "a", |rows| vec![rows]).is_err() && of(dir.path(), "c", |_| vec![]).is_err());
        let bare = of(dir.path(), "b", |_| vec![]).unwrap();
        assert_eq!(status(&bare, Some(&entries), None), 3, "neither a row nor the tensor");
        assert_eq!(status(&bare, Some(&entries), Some(dir.path())), 0);
        let path = dir.path().join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() - 17;
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        // A row that was not revealed: the rows hold still, the tensor is another one.
        assert_eq!(status(&own, Some(&entries), Some(dir.path())), 1);
        assert_eq!(status(&own, Some(&entries), None), 0);
    }
}
