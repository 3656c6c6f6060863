//! Commit and reveal: a Merkle tree over the tensors of a checkpoint and over the rows of each, so that one tensor or some rows
//! are checked later against a root that was published before; `docs/formats/reveal.md` specifies it.
//!
//! The trees are those of RFC 6962, section 2.1, with SHA-256: a leaf is hashed behind a byte 0, a node behind a byte 1.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use scratchproof_checkpoint::Header;
use scratchproof_error::hexadecimal::hex;
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::plain;
use scratchproof_texts::{Text, text};

use super::canonical::canonical;
use super::manifest::shown;
use super::text::strict;

/// A longer header of a file is refused, as the format has it.
const HEADER: u64 = 100 << 20;

/// Rows of one tensor, at most.
const ROWS: u64 = 1 << 26;

/// A hash.
pub type Hash = [u8; 32];

/// A tensor as it is committed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    /// As the file spells it.
    pub dtype: String,
    /// Its name in the file.
    pub name: String,
    /// Root of the tree over its rows, hexadecimal.
    pub rows: String,
    /// Its shape.
    pub shape: Vec<u64>,
}

impl Tensor {
    /// The leaf that it is in the tree over tensors: its four fields in canonical JSON.
    ///
    /// # Errors
    /// If it has no canonical form: a name that is no text of JSON, a size beyond 53 bits.
    pub fn leaf(&self) -> Result<Hash> {
        let value = serde_json::to_value(self).map_err(|cause| Error::input(cause.to_string()))?;
        Ok(leaf(&canonical(&value)?))
    }

    /// How many rows it has, and bytes in one. A row runs along the last axis; a vector, a scalar, an empty tensor and one
    /// whose rows are no whole bytes are one row.
    ///
    /// # Errors
    /// If the type is not known or there are more than 2^26 rows.
    pub fn rows_of(&self) -> Result<(u64, u64)> {
        let wrong = |why: Text| {
            Error::input(text!("error-attest/merkle/tensor", name = self.name.escape_debug().to_string(), why))
        };
        let bits = bits(&self.dtype).ok_or_else(|| wrong(text!("error-attest/merkle/type-not-known")))?;
        let elements = self.shape.iter().try_fold(1_u64, |all, own| all.checked_mul(*own));
        let all = elements.and_then(|all| all.checked_mul(bits)).filter(|all| all % 8 == 0);
        let all = all.ok_or_else(|| wrong(text!("error-attest/merkle/size-none")))? / 8;
        let last = self.shape.last().copied().unwrap_or(1);
        if self.shape.len() < 2 || all == 0 || last * bits % 8 != 0 {
            return Ok((1, all));
        }
        let row = last * bits / 8;
        let count = all / row;
        if count > ROWS { Err(wrong(text!("error-attest/merkle/more-rows"))) } else { Ok((count, row)) }
    }
}

fn bits(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" => 8,
        "U16" | "I16" | "F16" | "BF16" => 16,
        "U32" | "I32" | "F32" => 32,
        "U64" | "I64" | "F64" | "C64" => 64,
        _ => return None,
    })
}

/// Hash of a leaf.
#[must_use]
pub fn leaf(bytes: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The largest power of two below a number of leaves.
fn split(leaves: usize) -> usize {
    1 << (usize::BITS - 1 - (leaves - 1).leading_zeros())
}

/// Root over leaves; of none the hash of nothing.
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&root(left), &root(right))
        }
    }
}

/// The hashes beside the path from a leaf to the root, the lowest first.
#[must_use]
pub fn path(leaves: &[Hash], at: usize) -> Vec<Hash> {
    if leaves.len() < 2 || at >= leaves.len() {
        return Vec::new();
    }
    let half = split(leaves.len());
    let (left, right) = leaves.split_at(half);
    let (mut path, beside) =
        if at < half { (path(left, at), root(right)) } else { (path(right, at - half), root(left)) };
    path.push(beside);
    path
}

/// The root that a leaf at a place of so many leads to along a path, if the path has the length that it must have.
#[must_use]
pub fn climb(own: Hash, at: u64, leaves: u64, path: &[Hash]) -> Option<Hash> {
    if at >= leaves {
        return None;
    }
    // RFC 9162, section 2.1.3.2.
    let (mut place, mut last, mut hash) = (at, leaves - 1, own);
    for beside in path {
        if last == 0 {
            return None;
        }
        if place & 1 == 1 || place == last {
            hash = node(beside, &hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, beside);
        }
        place >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// A tensor and where its bytes are.
pub(super) struct Placed {
    pub(super) tensor: Tensor,
    file: PathBuf,
    from: u64,
}

/// The tensors of a model by name, their rows not yet hashed.
pub(super) fn placed(model: &Path) -> Result<Vec<Placed>> {
    let mut files = Vec::new();
    if model.is_dir() {
        for entry in std::fs::read_dir(model).map_err(|cause| Error::io(shown(model), cause))? {
            let path = entry.map_err(|cause| Error::io(shown(model), cause))?.path();
            if path.extension().is_some_and(|own| own == "safetensors") {
                files.push(path);
            }
        }
        files.sort();
    } else {
        files.push(model.to_owned());
    }
    if files.is_empty() {
        return Err(Error::input(text!("error-attest/merkle/tree-made-safetensors-none", model = shown(model))));
    }
    let mut all = BTreeMap::new();
    for file in files {
        for own in header(&file).context(|| shown(&file))? {
            if let Some(twice) = all.insert(own.tensor.name.clone(), own) {
                let name = twice.tensor.name.escape_debug().to_string();
                return Err(Error::input(text!("error-attest/merkle/tensor-stands-twice", model = shown(model), name)));
            }
        }
    }
    Ok(all.into_values().collect())
}

/// The header of one file; every size is held against the file. Whether it is sound is for the reader of checkpoints to say: what an
/// audit would refuse is not committed to. That reader keeps neither a type as the file spells it nor tensors of types that are not
/// decoded, which belong in the tree all the same, so the names are taken from the header itself.
fn header(path: &Path) -> Result<Vec<Placed>> {
    let failed = |cause| Error::io(text!("error-attest/merkle/cannot-read"), cause);
    let mut file = plain::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(failed)?;
    let size = u64::from_le_bytes(size);
    let start = size.checked_add(8).filter(|start| size <= HEADER && *start <= length);
    let start = start.ok_or_else(|| Error::input(text!("error-attest/merkle/header-bytes-longer-file", size)))?;
    let mut text = Vec::new();
    file.take(size).read_to_end(&mut text).map_err(failed)?;
    Header::parse(&text, length)?;
    let value = strict(&text)?;
    let map = value.as_object().ok_or_else(|| Error::input(text!("error-attest/merkle/header-no-object")))?;
    let mut all = Vec::new();
    for (name, own) in map.iter().filter(|(name, _)| *name != "__metadata__") {
        let wrong =
            || Error::input(text!("error-attest/merkle/tensor-no-place-file", name = name.escape_debug().to_string()));
        let numbers = |what: &str| -> Option<Vec<u64>> { own[what].as_array()?.iter().map(Value::as_u64).collect() };
        let (shape, offsets) = (numbers("shape").ok_or_else(wrong)?, numbers("data_offsets").ok_or_else(wrong)?);
        let dtype = own["dtype"].as_str().ok_or_else(wrong)?.to_owned();
        let tensor = Tensor { dtype, name: name.clone(), rows: String::new(), shape };
        let (count, row) = tensor.rows_of()?;
        let &[from, to] = offsets.as_slice() else { return Err(wrong()) };
        if to.checked_sub(from) != count.checked_mul(row) || to > length - start {
            return Err(wrong());
        }
        all.push(Placed { tensor, file: path.to_owned(), from: start + from });
    }
    Ok(all)
}

/// Rows by their number.
pub(super) type Kept = BTreeMap<u64, Vec<u8>>;

impl Placed {
    /// Hashes the rows and sets their root; the bytes of the wanted ones are kept.
    pub(super) fn hash(&mut self, wanted: &BTreeSet<u64>) -> Result<(Vec<Hash>, Kept)> {
        let failed = |cause| Error::io(shown(&self.file), cause);
        let (count, row) = self.tensor.rows_of()?;
        let mut file: File = plain::open(&self.file).map_err(failed)?;
        file.seek(SeekFrom::Start(self.from)).map_err(failed)?;
        let mut file = BufReader::with_capacity(1 << 20, file);
        let (mut leaves, mut kept) = (Vec::new(), BTreeMap::new());
        let mut buffer = Vec::new();
        for at in 0..count {
            buffer.clear();
            (&mut file).take(row).read_to_end(&mut buffer).map_err(failed)?;
            if buffer.len() as u64 != row {
                return Err(Error::input(text!(
                    "error-attest/merkle/became-shorter-while-read",
                    file = shown(&self.file)
                )));
            }
            leaves.push(leaf(&buffer));
            if wanted.contains(&at) {
                kept.insert(at, buffer.clone());
            }
        }
        self.tensor.rows = hex(&root(&leaves));
        Ok((leaves, kept))
    }
}

/// What is published: the root, and how many tensors it is over.
///
/// # Errors
/// If a file is damaged or cannot be read, or there are no safetensors.
pub fn commit(model: &Path) -> Result<Value> {
    let mut leaves = Vec::new();
    for mut own in placed(model)? {
        own.hash(&BTreeSet::new())?;
        leaves.push(own.tensor.leaf()?);
    }
    Ok(json!({ "root": hex(&root(&leaves)), "tensors": leaves.len() }))
}

/// One tensor as a model has it now.
///
/// # Errors
/// As [`commit`], or if there is no tensor of the name.
pub fn tensor(model: &Path, name: &str) -> Result<Tensor> {
    let found = placed(model)?.into_iter().find(|own| own.tensor.name == name);
    let mut found =
        found.ok_or_else(|| Error::usage(text!("error-attest/merkle/no-tensor", model = shown(model), name)))?;
    found.hash(&BTreeSet::new())?;
    Ok(found.tensor)
}

/// Places of rows that nobody could choose who did not know the word: the first eight bytes of SHA-256 over word, name and a
/// count, as a big-endian number, modulo the rows.
#[must_use]
pub fn sampled(word: &str, name: &str, count: u64, rows: u64) -> Vec<u64> {
    let one = |at: u64| {
        let digest = Sha256::digest(format!("{word}\0{name}\0{at}"));
        let first: [u8; 8] = std::array::from_fn(|byte| digest[byte]);
        u64::from_be_bytes(first) % rows.max(1)
    };
    (0..count.min(rows)).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_climbs_to_the_root_and_no_other_does() {
        for count in 0..40_usize {
            let leaves: Vec<Hash> = (0..count).map(|at| leaf(&at.to_le_bytes())).collect();
            let top = root(&leaves);
            for at in 0..count {
                let path = path(&leaves, at);
                let (place, of) = (at as u64, count as u64);
                assert_eq!(climb(leaves[at], place, of, &path), Some(top));
                assert_ne!(climb(leaf(b"x"), place, of, &path), Some(top));
                if count > 1 {
                    assert_ne!(climb(leaves[at], (place + 1) % of, of, &path), Some(top));
                    assert_ne!(climb(leaves[at], place, of, &path[1..]), Some(top));
                }
            }
        }
    }

    fn file(header: &str, data: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat();
        std::fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
        dir
    }

    #[test]
    fn what_an_audit_would_refuse_is_not_committed_to() {
        let of = |kind: &str, shape: &str, from: u32, to: u32| {
            format!("{{\"dtype\":\"{kind}\",\"shape\":{shape},\"data_offsets\":[{from},{to}]}}")
        };
        let two = |one: &str, other: &str| format!("{{\"a\":{one},\"b\":{other}}}");
        // A type that is not decoded is committed to as its bytes.
        for (header, data) in [
            (two(&of("U8", "[2,2]", 0, 4), &of("F32", "[1]", 4, 8)), &[1; 8][..]),
            (two(&of("F4", "[2,2]", 0, 2), &of("I8", "[0]", 2, 2)), &[1; 2]),
        ] {
            assert_eq!(commit(file(&header, data).path()).unwrap()["tensors"], 2, "{header}");
        }
        for (header, data) in [
            (two(&of("U8", "[4]", 0, 4), &of("U8", "[4]", 2, 6)), &[1; 6][..]),
            (two(&of("U8", "[4]", 0, 4), &of("U8", "[4]", 5, 9)), &[1; 9]),
            (two(&of("U8", "[4]", 0, 4), &of("U8", "[4]", 4, 8)), &[1; 9]),
            (two(&of("U8", "[4]", 0, 4), &of("U8", "[4]", 4, 8)), &[1; 7]),
            (two(&of("U8", "[4]", 0, 4), &of("U8", "[5]", 4, 8)), &[1; 8]),
            (two(&of("F4", "[3]", 0, 1), &of("U8", "[1]", 1, 2)), &[1; 2]),
            (two(&of("X9", "[1]", 0, 1), &of("U8", "[1]", 1, 2)), &[1; 2]),
            (two(&of("U8", "[1]", 0, 1), &of("U8", "[1]", 1, 2)).replace("\"b\"", "\"a\""), &[1; 2]),
            ("[]".into(), &[]),
        ] {
            assert!(commit(file(&header, data).path()).is_err(), "{header}");
        }
        assert!(commit(tempfile::tempdir().unwrap().path()).is_err(), "no safetensors");
        let twice = file(&format!("{{\"a\":{}}}", of("U8", "[1]", 0, 1)), &[1]);
        std::fs::copy(twice.path().join("model.safetensors"), twice.path().join("more.safetensors")).unwrap();
        assert!(commit(twice.path()).unwrap_err().to_string().contains("`a`"), "in two files");
    }

    #[test]
    fn roots_are_those_of_the_standard() {
        // Of certificate transparency's own tests (`MerkleTreeTest`): leaves "", 00, 10, 2021.
        let leaves = [&b""[..], &[0], &[0x10], &[0x20, 0x21]].map(leaf);
        assert_eq!(hex(&root(&leaves[..1])), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        assert_eq!(hex(&root(&leaves[..2])), "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
        assert_eq!(hex(&root(&leaves[..3])), "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77");
        assert_eq!(hex(&root(&leaves)), "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7");
    }

    #[test]
    fn rows_run_along_the_last_axis() {
        let of = |dtype: &str, shape: &[u64]| {
            Tensor { dtype: dtype.into(), name: "t".into(), rows: String::new(), shape: shape.to_vec() }.rows_of().ok()
        };
        assert_eq!(of("BF16", &[3, 4, 5]), Some((12, 10)));
        assert_eq!((of("F32", &[7]), of("F32", &[]), of("F32", &[0, 3])), (Some((1, 28)), Some((1, 4)), Some((1, 0))));
        assert_eq!((of("F4", &[3, 4]), of("F4", &[2, 3])), (Some((3, 2)), Some((1, 3))));
        assert_eq!((of("X", &[1]), of("F32", &[u64::MAX, 2]), of("U8", &[1 << 27, 1])), (None, None, None));
    }
}
