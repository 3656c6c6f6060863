//! Layers that were stacked into one tensor, as flax's scan and `MaxText` write them, and kernels of attention in which the heads have
//! an axis of their own: taken apart into the matrices that they are, where no template knows the names.

use std::collections::{BTreeMap, BTreeSet};

use super::TensorRecord;

/// Layers of a stack, at most.
const MOST_LAYERS: usize = 1024;

/// Tensors of three axes and more that have to be stacked to a like height.
const FEWEST: usize = 3;

/// What stands before the number of a layer.
const WORDS: [&str; 5] = ["layers", "layer", "blocks", "block", "h"];

/// Takes stacks and kernels of heads apart; roles are then to be asked for anew. Whether anything was.
pub fn apart(tensors: &mut Vec<TensorRecord>) -> bool {
    let layers = height(tensors);
    if let Some(layers) = layers {
        *tensors = layers_of(std::mem::take(tensors), layers);
    }
    flat(tensors) || layers.is_some()
}

/// How many layers are stacked: the first axis that most of the model has in tensors of three axes and more, no name of which has a
/// number of its own.
fn height(tensors: &[TensorRecord]) -> Option<usize> {
    let numbered = |name: &str| name.split(['.', '/', '_']).any(|part| part.bytes().all(|b| b.is_ascii_digit()));
    if tensors.iter().any(|tensor| numbered(&tensor.name)) {
        return None;
    }
    let all: usize = tensors.iter().map(TensorRecord::elements).sum();
    let mut heights: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for tensor in tensors.iter().filter(|tensor| tensor.shape.len() > 2) {
        let own = heights.entry(tensor.shape[0]).or_default();
        own.0 += 1;
        own.1 += tensor.elements();
    }
    let (layers, (stacks, size)) = heights.into_iter().max_by_key(|(_, (_, size))| *size)?;
    ((2..=MOST_LAYERS).contains(&layers) && stacks >= FEWEST && 2 * size >= all).then_some(layers)
}

/// Every stack of that height as its layers.
fn layers_of(tensors: Vec<TensorRecord>, layers: usize) -> Vec<TensorRecord> {
    let deep = tensors.iter().filter(|tensor| tensor.shape.len() > 2 && tensor.shape[0] == layers);
    let widths: BTreeSet<usize> = deep.flat_map(|tensor| tensor.shape[1..].to_vec()).collect();
    let mut own = Vec::new();
    for tensor in tensors {
        let stacked = tensor.shape.first() == Some(&layers)
            && (tensor.shape.len() > 2 || tensor.shape.len() == 2 && widths.contains(&tensor.shape[1]))
            && tensor.bytes.is_multiple_of(layers as u64);
        if !stacked {
            own.push(tensor);
            continue;
        }
        let bytes = tensor.bytes / layers as u64;
        own.extend((0..layers).map(|layer| TensorRecord {
            name: named(&tensor.name, layer),
            shape: tensor.shape[1..].to_vec(),
            offset: tensor.offset + bytes * layer as u64,
            bytes,
            ..tensor.clone()
        }));
    }
    own
}

/// The name of one layer of a stack: the number behind the word for layers, else before all.
fn named(name: &str, layer: usize) -> String {
    let separator = if name.contains('/') { '/' } else { '.' };
    let parts: Vec<&str> = name.split(separator).collect();
    let layer = layer.to_string();
    let at = parts.iter().position(|part| WORDS.contains(part));
    let parts: Vec<&str> = match at {
        Some(at) => {
            parts[..=at].iter().copied().chain([layer.as_str()]).chain(parts[at + 1..].iter().copied()).collect()
        }
        None => ["layers", layer.as_str()].into_iter().chain(parts).collect(),
    };
    parts.join(&separator.to_string())
}

/// Kernels in which the heads have an axis of their own, as matrices: [in, heads, size] and [heads, size, out]. Whether there were.
fn flat(tensors: &mut [TensorRecord]) -> bool {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for tensor in tensors.iter().filter(|tensor| tensor.shape.len() > 1) {
        for length in tensor.shape.iter().copied().collect::<BTreeSet<_>>() {
            *counts.entry(length).or_default() += 1;
        }
    }
    let Some((hidden, _)) = counts.into_iter().max_by_key(|(length, count)| (*count, *length)) else { return false };
    let mut any = false;
    for tensor in tensors {
        let last = tensor.name.rsplit(['.', '/']).next().unwrap_or_default();
        if last != "kernel" || tensor.name.contains("conv") {
            continue;
        }
        let shape = match tensor.shape[..] {
            [first, heads, size] if first == hidden => heads.checked_mul(size).map(|cols| vec![first, cols]),
            [heads, size, out] if out == hidden => heads.checked_mul(size).map(|rows| vec![rows, out]),
            _ => None,
        };
        if let Some(shape) = shape {
            tensor.shape = shape;
            any = true;
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dtype, Role};

    fn records(tensors: &[(&str, &[usize])]) -> Vec<TensorRecord> {
        let mut offset = 100;
        let one = |(name, shape): &(&str, &[usize])| {
            let bytes = 4 * shape.iter().product::<usize>() as u64;
            offset += bytes;
            TensorRecord {
                name: (*name).to_owned(),
                dtype: Dtype::F32,
                shape: shape.to_vec(),
                shard: 0,
                offset: offset - bytes,
                bytes,
                role: Role::unknown(name),
                split: None,
            }
        };
        tensors.iter().map(one).collect()
    }

    fn find<'a>(tensors: &'a [TensorRecord], name: &str) -> &'a TensorRecord {
        tensors.iter().find(|tensor| tensor.name == name).expect("a tensor")
    }

    #[test]
    fn stacks_are_their_layers() {
        let mut own = records(&[
            ("embed.table", &[50, 8]),
            ("layers.attn.q", &[3, 8, 8]),
            ("layers.mlp.up", &[3, 16, 8]),
            ("layers.mlp.down", &[3, 8, 16]),
            ("norm_scale", &[3, 8]),
            ("final", &[8]),
        ]);
        assert!(apart(&mut own));
        assert_eq!(own.len(), 2 + 3 * 4);
        let second = find(&own, "layers.1.mlp.up");
        assert_eq!((&second.shape[..], second.bytes), (&[16, 8][..], 4 * 128));
        assert_eq!(second.offset, find(&own, "layers.0.mlp.up").offset + 4 * 128);
        assert_eq!(find(&own, "layers.2.norm_scale").shape, [8]);
        assert_eq!(find(&own, "embed.table").shape, [50, 8]);
    }

    #[test]
    fn what_is_no_stack_stays() {
        for other in [
            // Layers with numbers, of which a convolution has three axes; and stacks of unlike heights.
            records(&[("a.0.x", &[3, 8, 8]), ("a.1.x", &[3, 8, 8]), ("a.2.x", &[3, 8, 8])]),
            records(&[("a.x", &[3, 8, 8]), ("a.y", &[4, 8, 8]), ("a.z", &[5, 8, 8])]),
        ] {
            let mut own = other.clone();
            assert!(!apart(&mut own));
            assert_eq!(format!("{own:?}"), format!("{other:?}"));
        }
    }

    #[test]
    fn heads_with_an_axis_of_their_own_are_matrices() {
        let mut own = records(&[
            ("p/layers_0/query/kernel", &[64, 4, 16]),
            ("p/layers_0/out/kernel", &[4, 16, 64]),
            ("p/layers_0/mlp/kernel", &[64, 128]),
            ("p/stem/conv/kernel", &[3, 64, 64]),
        ]);
        assert!(apart(&mut own));
        assert_eq!(find(&own, "p/layers_0/query/kernel").shape, [64, 64]);
        assert_eq!(find(&own, "p/layers_0/out/kernel").shape, [64, 64]);
        assert_eq!(find(&own, "p/stem/conv/kernel").shape, [3, 64, 64]);
    }
}
