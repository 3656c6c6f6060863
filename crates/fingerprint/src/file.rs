//! A fingerprint as a safetensors file: `F32`-free, squares and rows as BF16, numbers as JSON in the metadata.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Catalogue, Fingerprint, Row, Rows, VERSION};
use scratchproof_checkpoint::{Dtype, Header};
use scratchproof_disguise::{Cross, Group, Head, Products, Square};
use scratchproof_error::{Context, Error, Result};
use scratchproof_folder::alone;
use scratchproof_kernel::decode;
use scratchproof_source::{Blob, MemoryFile, plain};
use scratchproof_texts::{Text, text};

/// The largest file that is read or written.
pub const LARGEST: u64 = 16 << 20;

/// The metadata's word for what the file is.
const FORMAT: &str = "scratchproof-fingerprint";

/// What is not a matrix.
#[derive(Serialize, Deserialize)]
struct Words {
    version: u32,
    catalogue: Catalogue,
    seed: u64,
    hidden: usize,
    rows: Vec<Row>,
    products: Option<Shape>,
}

/// The sizes of the products, and which heads they are of.
#[derive(Serialize, Deserialize)]
struct Shape {
    hidden: usize,
    dim: usize,
    side: usize,
    layers: usize,
    /// Layer, number and query heads of every key-value head.
    groups: Vec<(u32, u32, Vec<u32>)>,
    cross_groups: Vec<usize>,
    cross_dimensions: Vec<usize>,
}

/// Whether a file says that it is a fingerprint.
#[must_use]
pub fn is_fingerprint(path: &Path) -> bool {
    let Ok(file) = plain::open(path) else { return false };
    let mut start = Vec::new();
    file.take(512).read_to_end(&mut start).is_ok() && start.windows(FORMAT.len()).any(|w| w == FORMAT.as_bytes())
}

impl Fingerprint {
    /// Writes the file, whole or not at all; what is there is replaced only if it is a fingerprint.
    ///
    /// # Errors
    /// If it cannot be written, or another file is there.
    pub fn write(&self, path: &Path) -> Result<()> {
        let bytes = self.to_bytes()?;
        if path.symlink_metadata().is_ok() && !is_fingerprint(path) {
            return Err(Error::usage(text!(
                "error-fingerprint/file/no-fingerprint-not-replaced",
                path = path.display()
            )));
        }
        alone(path, &bytes)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, is too large, or is no fingerprint: one sentence.
    pub fn read(path: &Path) -> Result<Self> {
        Self::from_bytes(plain::read(path, LARGEST)?).context(|| path.display().to_string())
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// If it would be larger than [`LARGEST`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut tensors: Vec<(&str, Vec<usize>, Vec<f32>)> = Vec::new();
        if let Some(products) = &self.products {
            let side = products.side;
            let groups = products.groups.len();
            let heads = products.heads();
            let of_groups = |of: fn(&Group) -> &Square| products.groups.iter().flat_map(of).copied().collect();
            let of_heads = |of: fn(&Head) -> &Square| -> Vec<f32> {
                products.groups.iter().flat_map(|g| &g.heads).flat_map(of).copied().collect()
            };
            let cross = products.cross.groups.len() * products.cross.dimensions.len();
            tensors.extend([
                ("heads.keys", vec![groups, side, side], of_groups(|g| &g.keys)),
                ("heads.outputs", vec![heads, side, side], of_heads(|h| &h.outputs)),
                ("heads.queries", vec![heads, side, side], of_heads(|h| &h.queries)),
                ("heads.queries_keys", vec![heads, side, side], of_heads(|h| &h.queries_keys)),
                ("heads.values", vec![groups, side, side], of_groups(|g| &g.values)),
                ("heads.values_outputs", vec![heads, side, side], of_heads(|h| &h.values_outputs)),
                ("across.keys", vec![cross, cross], products.cross.keys.clone()),
                ("across.values", vec![cross, cross], products.cross.values.clone()),
            ]);
        }
        tensors.push(("rows", vec![self.rows.rows.len(), self.rows.hidden], self.rows.values.clone()));
        let words = Words {
            version: VERSION,
            catalogue: self.catalogue.clone(),
            seed: self.rows.seed,
            hidden: self.rows.hidden,
            rows: self.rows.rows.clone(),
            products: self.products.as_ref().map(|p| Shape {
                hidden: p.hidden,
                dim: p.dim,
                side: p.side,
                layers: p.layers,
                groups: p.groups.iter().map(|g| (g.layer, g.group, g.heads.iter().map(|h| h.head).collect())).collect(),
                cross_groups: p.cross.groups.clone(),
                cross_dimensions: p.cross.dimensions.clone(),
            }),
        };
        let json = |e: serde_json::Error| {
            Error::input(text!("error-fingerprint/file/fingerprint-s-header", e = e.to_string()))
        };
        let mut metadata = BTreeMap::from([("format".to_owned(), FORMAT.to_owned())]);
        metadata.insert("words".to_owned(), serde_json::to_string(&words).map_err(json)?);
        let mut header = serde_json::Map::new();
        header.insert("__metadata__".to_owned(), serde_json::to_value(metadata).map_err(json)?);
        let (mut data, mut at) = (Vec::new(), 0);
        for (name, shape, values) in tensors.into_iter().filter(|(.., values)| !values.is_empty()) {
            let end = at + 2 * values.len();
            header.insert(
                name.to_owned(),
                serde_json::json!({"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}),
            );
            data.extend(values.into_iter().flat_map(|v| narrow(v).to_le_bytes()));
            at = end;
        }
        let mut text = serde_json::to_vec(&header).map_err(json)?;
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text);
        bytes.extend(data);
        if bytes.len() as u64 > LARGEST {
            return Err(Error::input(text!(
                "error-fingerprint/file/fingerprint-would-bytes-more",
                bytes = bytes.len(),
                largest = LARGEST
            )));
        }
        Ok(bytes)
    }

    /// From the bytes of a file.
    ///
    /// # Errors
    /// As [`Fingerprint::read`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        let blob = MemoryFile::new("fingerprint", bytes);
        let header = Header::read(&blob)?;
        let none = || Error::input(text!("error-fingerprint/file/no-fingerprint-tool"));
        if header.metadata.get("format").map(String::as_str) != Some(FORMAT) {
            return Err(none());
        }
        let words: Words = serde_json::from_str(header.metadata.get("words").ok_or_else(none)?)
            .map_err(|e| Error::input(text!("error-fingerprint/file/fingerprint-s-header", e = e.to_string())))?;
        if words.version != VERSION {
            return Err(Error::input(text!(
                "error-fingerprint/file/fingerprint-version-version-read",
                version = &words.version,
                version_2 = VERSION
            )));
        }
        let tensor = |name: &str, wanted: Option<usize>| -> Result<Vec<f32>> {
            let wanted = wanted.ok_or_else(none)?;
            let Some(found) = header.tensors.iter().find(|t| t.name == name) else {
                return if wanted == 0 {
                    Ok(Vec::new())
                } else {
                    Err(Error::input(text!("error-fingerprint/file/no", name)))
                };
            };
            if found.dtype != Dtype::Bf16 || found.bytes != 2 * wanted as u64 {
                return Err(Error::input(text!("error-fingerprint/file/not-long-header-says", name)));
            }
            let bytes = blob.bytes(found.offset, 2 * wanted)?;
            let mut values = vec![0.0; wanted];
            decode(Dtype::Bf16, &bytes, &mut values);
            #[allow(clippy::cast_possible_truncation, reason = "BF16 is exact in f32")]
            let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
            if values.iter().all(|v| v.is_finite()) {
                Ok(values)
            } else {
                Err(Error::input(text!("error-fingerprint/file/holds-what-no-finite", name)))
            }
        };
        let count = words.rows.len().checked_mul(words.hidden);
        let rows = Rows { seed: words.seed, hidden: words.hidden, values: tensor("rows", count)?, rows: words.rows };
        let products = words.products.map(|shape| shape.filled(&tensor)).transpose()?;
        Ok(Self { catalogue: words.catalogue, products, rows })
    }
}

impl Shape {
    #[allow(clippy::type_complexity, reason = "how a tensor of the file is read, by name and length")]
    fn filled(self, tensor: &dyn Fn(&str, Option<usize>) -> Result<Vec<f32>>) -> Result<Products> {
        let wrong = |what: Text| Error::input(text!("error-fingerprint/file/fingerprint-s-header-2", what));
        let Self { hidden, dim, side, layers, groups, cross_groups, cross_dimensions } = self;
        let square = side
            .checked_mul(side)
            .filter(|s| *s > 0)
            .ok_or_else(|| wrong(text!("error-fingerprint/file/heads-without-dimensions")))?;
        let heads: usize = groups.iter().map(|g| g.2.len()).sum();
        if groups.iter().any(|g| g.2.is_empty()) {
            return Err(wrong(text!("error-fingerprint/file/key-head-no-query")));
        }
        let ascending = |list: &[usize], end: usize| {
            list.windows(2).all(|w| w[0] < w[1]) && list.last().is_none_or(|last| *last < end)
        };
        if !ascending(&cross_groups, groups.len()) || !ascending(&cross_dimensions, side) {
            return Err(wrong(text!("error-fingerprint/file/heads-not")));
        }
        let squares = |name: &str, count: usize| -> Result<Vec<Square>> {
            Ok(tensor(name, count.checked_mul(square))?.chunks_exact(square).map(<[f32]>::to_vec).collect())
        };
        let across = cross_groups.len().checked_mul(cross_dimensions.len()).and_then(|n| n.checked_mul(n));
        let cross = Cross {
            keys: tensor("across.keys", across)?,
            values: tensor("across.values", across)?,
            groups: cross_groups,
            dimensions: cross_dimensions,
        };
        let (keys, values) = (squares("heads.keys", groups.len())?, squares("heads.values", groups.len())?);
        let mut of_heads: Vec<_> = squares("heads.queries", heads)?
            .into_iter()
            .zip(squares("heads.queries_keys", heads)?)
            .zip(squares("heads.outputs", heads)?.into_iter().zip(squares("heads.values_outputs", heads)?))
            .collect();
        let mut rest = of_heads.drain(..);
        let groups = groups
            .into_iter()
            .zip(keys.into_iter().zip(values))
            .map(|((layer, group, numbers), (keys, values))| {
                let own = rest.by_ref().take(numbers.len());
                let heads = numbers
                    .iter()
                    .zip(own)
                    .map(|(head, ((queries, queries_keys), (outputs, values_outputs)))| Head {
                        head: *head,
                        queries,
                        queries_keys,
                        outputs,
                        values_outputs,
                    })
                    .collect();
                Group { layer, group, keys, values, heads }
            })
            .collect();
        Ok(Products { hidden, dim, side, layers, groups, cross })
    }
}

/// The nearest bf16, ties to even.
fn narrow(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    u16::try_from(rounded & 0xffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{FORMAT, Fingerprint, narrow};
    use serde_json::{Value, json};
    use std::path::Path;

    /// What version 0.1 wrote.
    fn golden() -> Vec<u8> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/formats/fingerprint-0.1.safetensors");
        std::fs::read(path).expect("the golden file")
    }

    /// The file with other words and another header.
    fn changed(change: impl FnOnce(&mut Value, &mut Value)) -> Vec<u8> {
        let bytes = golden();
        let length = u64::from_le_bytes(std::array::from_fn(|at| bytes[at]));
        let end = 8 + usize::try_from(length).expect("short");
        let mut header: Value = serde_json::from_slice(&bytes[8..end]).expect("a header");
        let mut words: Value =
            serde_json::from_str(header["__metadata__"]["words"].as_str().expect("words")).expect("JSON");
        change(&mut words, &mut header);
        header["__metadata__"]["words"] = words.to_string().into();
        let text = header.to_string();
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &bytes[end..]].concat()
    }

    #[test]
    fn what_is_read_is_written_to_the_same() {
        let own = Fingerprint::from_bytes(golden()).expect("read");
        assert_eq!(own.rows.values.len(), own.rows.rows.len() * own.rows.hidden);
        let again = Fingerprint::from_bytes(own.to_bytes().expect("written")).expect("read");
        assert_eq!(again, own);
        assert_eq!(Fingerprint::from_bytes(changed(|_, _| {})).expect("read"), own);
        let none = Fingerprint { products: None, ..own };
        assert_eq!(Fingerprint::from_bytes(none.to_bytes().expect("written")).expect("read"), none);
    }

    #[test]
    fn a_header_that_says_something_else_is_refused() {
        for (place, value) in [
            ("/version", json!(2)),
            ("/hidden", json!(15)),
            ("/hidden", json!(u64::MAX)),
            ("/rows/0/row", json!(-1)),
            ("/rows", json!([])),
            ("/products/side", json!(0)),
            ("/products/side", json!(7)),
            ("/products/side", json!(u64::MAX)),
            ("/products/groups/0/2", json!([])),
            ("/products/groups/0/2", json!([0, 1])),
            ("/products/groups", json!([])),
            ("/products/cross_groups", json!([0, 0, 1, 2])),
            ("/products/cross_groups", json!([0, 1, 2, 4])),
            ("/products/cross_dimensions", json!([1, 0, 2, 3, 4, 5, 6, 7])),
            ("/products/cross_dimensions", json!([0, 1, 2, 3, 4, 5, 6, 8])),
            ("/products/cross_dimensions", json!([0, 1])),
            ("/catalogue/tensors", json!("21")),
        ] {
            let bytes = changed(|words, _| *words.pointer_mut(place).expect("a place") = value.clone());
            let why = Fingerprint::from_bytes(bytes).expect_err(place).to_string();
            assert!(!why.is_empty() && why.lines().count() == 1, "{place}: {why}");
        }
        let lacks = changed(|_, header| drop(header.as_object_mut().expect("names").remove("heads.keys")));
        assert!(Fingerprint::from_bytes(lacks).is_err());
        let kind = changed(|_, header| header["rows"]["dtype"] = "F16".into());
        assert!(Fingerprint::from_bytes(kind).is_err());
        let other = changed(|_, header| header["__metadata__"]["format"] = format!("{FORMAT}s").into());
        assert!(Fingerprint::from_bytes(other).is_err());
    }

    #[test]
    fn values_that_are_no_numbers_and_files_that_end_are_refused() {
        let mut bytes = golden();
        let last = bytes.len() - 2;
        bytes[last..].copy_from_slice(&[0x80, 0x7f]);
        assert!(Fingerprint::from_bytes(bytes).expect_err("infinite").to_string().contains("rows"));
        for length in [0, 7, 8, 300, last] {
            assert!(Fingerprint::from_bytes(golden()[..length].to_vec()).is_err(), "{length} bytes");
        }
        // Ties go to the even one (IEEE 754): 1 + 2^-8 lies between 1 and 1 + 2^-7, 1 + 3 * 2^-8 above.
        assert_eq!((narrow(1.003_906_3), narrow(1.011_718_8), narrow(-0.0)), (0x3f80, 0x3f82, 0x8000));
    }

    #[test]
    fn somebody_elses_file_is_not_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let own = Fingerprint::from_bytes(golden()).expect("read");
        let path = dir.path().join("a");
        std::fs::write(&path, "mine").expect("written");
        assert!(own.write(&path).expect_err("another file").is_usage());
        assert_eq!(std::fs::read(&path).expect("a file"), b"mine");
        let path = dir.path().join("b");
        own.write(&path).and_then(|()| own.write(&path)).expect("written twice");
        assert_eq!(Fingerprint::read(&path).expect("read"), own);
    }
}
