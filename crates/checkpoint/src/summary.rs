//! What is in a checkpoint, at a glance: the value behind `scratchproof inspect`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Checkpoint, Component, Dtype, Residual, Skipped, TensorRecord};
use scratchproof_error::Result;
use scratchproof_texts::{Text, sentence, sentences};

/// Bytes that are decoded at once; a multiple of every element's width.
const WINDOW: usize = 1 << 20;

/// Everything `inspect` shows of a model.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Where the model is.
    pub uri: String,
    /// The architecture whose names it has.
    pub architecture: Option<String>,
    /// Layers of the language model.
    pub layers: usize,
    /// Experts of the layer that has most; 0 without experts.
    pub experts: usize,
    /// Length of the residual stream.
    pub hidden_size: Option<usize>,
    /// Number of tokens.
    pub vocabulary: Option<usize>,
    /// Files.
    pub shards: usize,
    /// Tensors.
    pub tensors: usize,
    /// Elements of floating-point tensors that are not structural constants.
    pub parameters: u64,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Number formats, by bytes from the most.
    pub dtypes: Vec<DtypeRow>,
    /// Tensors with one function and one shape, in the order of tower, component, family.
    pub families: Vec<FamilyRow>,
    /// Tensors whose names no template knows, sorted by name.
    pub unknown: Vec<UnknownTensor>,
    /// Parts of names that wrappers had added, which all names here are without.
    pub wrappers: Vec<String>,
    /// What the model is an adapter of, in the words of `adapter_config.json`, if it is one.
    pub adapter_of: Option<String>,
    /// Tensors in the files that are not looked at.
    pub skipped: Vec<Skipped>,
    /// Files in the folder that hold tensors and are not part of the model.
    pub unread: Vec<String>,
    /// The form it is kept in.
    #[serde(serialize_with = "sentence")]
    pub form: Text,
    /// How it was read, where that is not plain.
    #[serde(serialize_with = "sentences")]
    pub notes: Vec<Text>,
    /// The tokenizer beside the weights: its scheme, file and size, or why it cannot be read.
    pub tokenizer: Option<String>,
    /// What the bytes themselves showed, if they were read.
    pub check: Option<ByteCheck>,
}

/// A tensor whose name no template knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct UnknownTensor {
    pub tensor: String,
    pub shape: Vec<usize>,
    pub dtype: Dtype,
    /// Whether its layer and its axis could be deduced.
    pub deduced: bool,
    pub layer: Option<u32>,
    pub residual: Residual,
}

/// One number format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct DtypeRow {
    pub dtype: Dtype,
    pub tensors: usize,
    pub bytes: u64,
}

/// Tensors with one function, shape and number format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct FamilyRow {
    /// Empty for the language model.
    pub tower: String,
    pub component: Component,
    pub family: String,
    pub tensors: usize,
    pub shape: Vec<usize>,
    /// Elements of all of them.
    pub parameters: u64,
    pub dtype: Dtype,
    /// Whether a template knew the name.
    pub known: bool,
    /// A structural constant, not weights.
    pub constant: bool,
}

/// What the bytes of a model showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ByteCheck {
    /// Elements that are infinite or not a number.
    pub non_finite: u64,
    /// Tensors that hold such elements, sorted.
    pub non_finite_tensors: Vec<String>,
    /// Matrices in which every element is zero, sorted.
    pub zero_matrices: Vec<String>,
    /// Bytes that were read.
    pub bytes_read: u64,
}

impl Summary {
    /// Describes a checkpoint by its headers alone.
    #[must_use]
    pub fn of(checkpoint: &Checkpoint) -> Self {
        let tensors = &checkpoint.tensors;
        let weights = tensors.iter().filter(|tensor| tensor.dtype.is_float() && !tensor.role.constant);
        let unknown = tensors.iter().filter(|tensor| !tensor.role.known || tensor.role.deduced);
        Self {
            uri: checkpoint.uri.clone(),
            architecture: checkpoint.architecture.clone(),
            layers: checkpoint.layers(),
            experts: checkpoint.experts(),
            hidden_size: checkpoint.hidden_size(),
            vocabulary: checkpoint.vocab_size(),
            shards: checkpoint.shards.iter().filter(|shard| !shard.blob.is_made()).count(),
            tensors: tensors.len(),
            parameters: weights.map(|tensor| tensor.elements() as u64).sum(),
            bytes: checkpoint.bytes(),
            dtypes: dtypes(tensors),
            families: families(tensors),
            unknown: unknown.map(UnknownTensor::of).collect(),
            wrappers: checkpoint.wrappers.clone(),
            adapter_of: checkpoint.adapter.as_ref().map(|adapter| {
                let base = adapter.base.as_deref().unwrap_or("an unnamed model");
                format!("{base} ({})", adapter.kind)
            }),
            skipped: checkpoint.skipped.clone(),
            unread: checkpoint.unread.clone(),
            form: checkpoint.form.clone(),
            notes: checkpoint.notes.clone(),
            tokenizer: (!checkpoint.vocabulary.is_empty()).then(|| match checkpoint.tokenizer() {
                Ok(own) => format!("{} of {} tokens ({})", own.kind.name(), own.size(), own.file),
                Err(error) => format!("not read: {error}"),
            }),
            check: None,
        }
    }
}

impl UnknownTensor {
    fn of(tensor: &TensorRecord) -> Self {
        let role = &tensor.role;
        Self {
            tensor: tensor.name.clone(),
            shape: tensor.shape.clone(),
            dtype: tensor.dtype,
            deduced: role.known,
            layer: role.layer,
            residual: role.residual,
        }
    }
}

fn dtypes(tensors: &[TensorRecord]) -> Vec<DtypeRow> {
    let mut sums: BTreeMap<Dtype, (usize, u64)> = BTreeMap::new();
    for tensor in tensors {
        let sum = sums.entry(tensor.dtype).or_default();
        *sum = (sum.0 + 1, sum.1 + tensor.bytes);
    }
    let mut rows: Vec<_> =
        sums.into_iter().map(|(dtype, (tensors, bytes))| DtypeRow { dtype, tensors, bytes }).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.bytes));
    rows
}

fn families(tensors: &[TensorRecord]) -> Vec<FamilyRow> {
    let mut rows: BTreeMap<_, FamilyRow> = BTreeMap::new();
    for tensor in tensors {
        let role = &tensor.role;
        let key = (&role.tower, role.component, &role.family, &tensor.shape, tensor.dtype);
        let row = rows.entry(key).or_insert_with(|| FamilyRow {
            tower: role.tower.clone(),
            component: role.component,
            family: role.family.clone(),
            tensors: 0,
            shape: tensor.shape.clone(),
            parameters: 0,
            dtype: tensor.dtype,
            known: role.known,
            constant: role.constant,
        });
        row.tensors += 1;
        row.parameters += tensor.elements() as u64;
    }
    rows.into_values().collect()
}

/// Reads every floating-point tensor once, a window at a time, and looks at each element.
///
/// `decode` turns little-endian bytes of a number format into numbers: it fills the second slice, which has one place for
/// each element. It is handed in because this module does no arithmetic. `progress` is told of every window's bytes.
///
/// # Errors
/// If a file cannot be read.
pub fn check_bytes(
    checkpoint: &Checkpoint,
    mut decode: impl FnMut(Dtype, &[u8], &mut [f32]),
    mut progress: impl FnMut(u64),
) -> Result<ByteCheck> {
    let mut check = ByteCheck::default();
    let mut numbers = Vec::new();
    for tensor in checkpoint.tensors.iter().filter(|tensor| tensor.dtype.is_float()) {
        let blob = &checkpoint.shards[tensor.shard].blob;
        let (mut position, mut non_finite, mut only_zeros) = (0, 0, true);
        while position < tensor.bytes {
            let length = usize::try_from(tensor.bytes - position).unwrap_or(WINDOW).min(WINDOW);
            let at = tensor.offset + position;
            let bytes = blob.bytes(at, length)?;
            numbers.resize(length / tensor.dtype.width(), 0.0);
            decode(tensor.dtype, &bytes, &mut numbers);
            non_finite += numbers.iter().filter(|number| !number.is_finite()).count() as u64;
            // By bits: a decoder may round a tiny F64 to zero, but no byte but a sign's can be set in a zero.
            only_zeros = only_zeros && numbers.iter().all(|number| number.abs().to_bits() == 0);
            drop(bytes);
            blob.release(at, length);
            position += length as u64;
            progress(length as u64);
        }
        check.bytes_read += tensor.bytes;
        check.non_finite += non_finite;
        if non_finite > 0 {
            check.non_finite_tensors.push(tensor.name.clone());
        }
        if only_zeros && tensor.shape.len() >= 2 && tensor.bytes > 0 && !tensor.role.constant {
            check.zero_matrices.push(tensor.name.clone());
        }
    }
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use scratchproof_source::MemoryStore;

    #[test]
    fn counts_what_is_there() {
        let store = testing::store(&testing::llama(2, 8, 20));
        let summary = Summary::of(&Checkpoint::from_store(&store).unwrap());
        assert_eq!((summary.layers, summary.experts, summary.hidden_size), (2, 0, Some(8)));
        assert_eq!((summary.vocabulary, summary.tensors, summary.shards), (Some(20), 3 + 18, 1));
        let layer = 16 * 8 * 2 + 4 * 8 * 2 + 24 * 8 * 3 + 2 * 8;
        assert_eq!(summary.parameters, 20 * 8 * 2 + 8 + 2 * layer);
        assert_eq!(summary.bytes, 4 * summary.parameters);
        assert_eq!(summary.dtypes, [DtypeRow { dtype: Dtype::F32, tensors: 21, bytes: summary.bytes }]);
        assert_eq!(summary.families[0].family, "embedding");
        let q = summary.families.iter().find(|row| row.family == "q_proj").unwrap();
        assert_eq!((q.tensors, &q.shape[..], q.parameters), (2, &[16, 8][..], 2 * 16 * 8));
        assert!(summary.unknown.is_empty());
    }

    #[test]
    fn bytes_are_checked_by_window() {
        let mut data: Vec<u8> =
            [1.0, f32::NAN, f32::INFINITY, 2.0].iter().flat_map(|x: &f32| x.to_le_bytes()).collect();
        data.extend([0_f32, -0.0].iter().flat_map(|x| x.to_le_bytes()));
        data.extend(vec![0; 3 * WINDOW - 4]);
        data.extend(1_f32.to_le_bytes());
        let n = 3 * WINDOW / 4;
        let end = 24 + 3 * WINDOW;
        let header = format!(
            r#"{{"a":{{"dtype":"F32","shape":[4],"data_offsets":[0,16]}},
                "zero":{{"dtype":"F32","shape":[2,1],"data_offsets":[16,24]}},
                "almost":{{"dtype":"F32","shape":[1,{n}],"data_offsets":[24,{end}]}}}}"#
        );
        let store = MemoryStore::new().with("model.safetensors", testing::raw(&header, &data));
        let checkpoint = Checkpoint::from_store(&store).unwrap();
        let mut seen = 0;
        let decode = |dtype: Dtype, bytes: &[u8], numbers: &mut [f32]| {
            assert_eq!(dtype, Dtype::F32);
            for (chunk, number) in bytes.chunks_exact(4).zip(numbers) {
                *number = f32::from_le_bytes(chunk.try_into().unwrap());
            }
        };
        let check = check_bytes(&checkpoint, decode, |bytes| seen += bytes).unwrap();
        assert_eq!((check.non_finite, &check.non_finite_tensors[..]), (2, &["a".to_owned()][..]));
        assert_eq!(check.zero_matrices, ["zero"]);
        assert_eq!((check.bytes_read, seen), (end as u64, end as u64));
    }
}
