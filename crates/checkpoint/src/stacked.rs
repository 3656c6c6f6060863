//! Layers that were stacked into one tensor, as flax's scan and `MaxText` write them, and kernels of attention in which the heads have
//! an axis of their own: taken apart into the matrices that they are, where no template knows the names.

use std::collections::{BTreeMap, BTreeSet};

use super::architecture::builtin;
use super::header::HeaderTensor;

/// Layers of a stack, at most.
const MOST_LAYERS: usize = 1024;

/// Tensors of three axes and more that have to be stacked to a like height.
const FEWEST: usize = 3;

/// What stands before the number of a layer.
const WORDS: [&str; 5] = ["layers", "layer", "blocks", "block", "h"];

/// Tensors by name, each with the file it lies in.
pub type Found = BTreeMap<String, (usize, HeaderTensor)>;

/// The same tensors, stacks and kernels of heads taken apart.
pub fn apart(found: Found) -> Found {
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    let deep = found.values().any(|(_, tensor)| tensor.shape.len() > 2);
    if !deep || builtin().recognise(&names, None).architecture.is_some() {
        return found;
    }
    let found = match height(&found) {
        Some(layers) => layers_of(found, layers),
        None => found,
    };
    flat(found)
}

/// How many layers are stacked: the first axis that most of the model has in tensors of three axes and more, no name of which has a
/// number of its own.
fn height(found: &Found) -> Option<usize> {
    let numbered = |name: &str| name.split(['.', '/', '_']).any(|part| part.bytes().all(|b| b.is_ascii_digit()));
    if found.keys().any(|name| numbered(name)) {
        return None;
    }
    let elements = |tensor: &HeaderTensor| tensor.shape.iter().map(|n| *n as u128).product::<u128>();
    let all: u128 = found.values().map(|(_, tensor)| elements(tensor)).sum();
    let mut heights: BTreeMap<usize, (usize, u128)> = BTreeMap::new();
    for (_, tensor) in found.values().filter(|(_, tensor)| tensor.shape.len() > 2) {
        let own = heights.entry(tensor.shape[0]).or_default();
        own.0 += 1;
        own.1 += elements(tensor);
    }
    let (layers, (tensors, size)) = heights.into_iter().max_by_key(|(_, (_, size))| *size)?;
    ((2..=MOST_LAYERS).contains(&layers) && tensors >= FEWEST && 2 * size >= all).then_some(layers)
}

/// Every stack of that height as its layers.
fn layers_of(found: Found, layers: usize) -> Found {
    let widths: BTreeSet<usize> = found
        .values()
        .filter(|(_, tensor)| tensor.shape.len() > 2 && tensor.shape[0] == layers)
        .flat_map(|(_, tensor)| tensor.shape[1..].to_vec())
        .collect();
    let mut own = Found::new();
    for (name, (shard, tensor)) in found {
        let stacked = tensor.shape.first() == Some(&layers)
            && (tensor.shape.len() > 2 || tensor.shape.len() == 2 && widths.contains(&tensor.shape[1]))
            && tensor.bytes.is_multiple_of(layers as u64);
        if !stacked {
            own.insert(name, (shard, tensor));
            continue;
        }
        let bytes = tensor.bytes / layers as u64;
        for layer in 0..layers {
            let name = named(&name, layer);
            let shape = tensor.shape[1..].to_vec();
            let offset = tensor.offset + bytes * layer as u64;
            own.insert(name.clone(), (shard, HeaderTensor { name, dtype: tensor.dtype, shape, offset, bytes }));
        }
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

/// Kernels in which the heads have an axis of their own, as matrices: [in, heads, size] and [heads, size, out].
fn flat(mut found: Found) -> Found {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for (_, tensor) in found.values().filter(|(_, tensor)| tensor.shape.len() > 1) {
        for length in tensor.shape.iter().copied().collect::<BTreeSet<_>>() {
            *counts.entry(length).or_default() += 1;
        }
    }
    let Some((hidden, _)) = counts.into_iter().max_by_key(|(length, count)| (*count, *length)) else { return found };
    for (name, (_, tensor)) in &mut found {
        let last = name.rsplit(['.', '/']).next().unwrap_or_default();
        if last != "kernel" || name.contains("conv") {
            continue;
        }
        let shape = match tensor.shape[..] {
            [first, heads, size] if first == hidden => heads.checked_mul(size).map(|cols| vec![first, cols]),
            [heads, size, out] if out == hidden => heads.checked_mul(size).map(|rows| vec![rows, out]),
            _ => None,
        };
        tensor.shape = shape.unwrap_or_else(|| tensor.shape.clone());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dtype;

    fn found(tensors: &[(&str, &[usize])]) -> Found {
        let mut offset = 100;
        let one = |(name, shape): &(&str, &[usize])| {
            let bytes = 4 * shape.iter().product::<usize>() as u64;
            offset += bytes;
            let tensor = HeaderTensor {
                name: (*name).to_owned(),
                dtype: Dtype::F32,
                shape: shape.to_vec(),
                offset: offset - bytes,
                bytes,
            };
            ((*name).to_owned(), (0, tensor))
        };
        tensors.iter().map(one).collect()
    }

    #[test]
    fn stacks_are_their_layers() {
        let own = apart(found(&[
            ("embed.table", &[50, 8]),
            ("layers.attn.q", &[3, 8, 8]),
            ("layers.mlp.up", &[3, 16, 8]),
            ("layers.mlp.down", &[3, 8, 16]),
            ("norm_scale", &[3, 8]),
            ("final", &[8]),
        ]));
        assert_eq!(own.len(), 2 + 3 * 4);
        let (_, second) = &own["layers.1.mlp.up"];
        assert_eq!((&second.shape[..], second.bytes), (&[16, 8][..], 4 * 128));
        assert_eq!(second.offset, own["layers.0.mlp.up"].1.offset + 4 * 128);
        assert_eq!(own["layers.2.norm_scale"].1.shape, [8]);
        assert_eq!(own["embed.table"].1.shape, [50, 8]);
    }

    #[test]
    fn what_is_no_stack_stays() {
        for other in [
            // Layers with numbers, of which a convolution has three axes; and stacks of unlike heights.
            found(&[("a.0.x", &[3, 8, 8]), ("a.1.x", &[3, 8, 8]), ("a.2.x", &[3, 8, 8])]),
            found(&[("a.x", &[3, 8, 8]), ("a.y", &[4, 8, 8]), ("a.z", &[5, 8, 8])]),
        ] {
            assert_eq!(apart(other.clone()), other);
        }
    }

    #[test]
    fn heads_with_an_axis_of_their_own_are_matrices() {
        let own = apart(found(&[
            ("p/layers_0/query/kernel", &[64, 4, 16]),
            ("p/layers_0/out/kernel", &[4, 16, 64]),
            ("p/layers_0/mlp/kernel", &[64, 128]),
            ("p/stem/conv/kernel", &[3, 64, 64]),
        ]));
        assert_eq!(own["p/layers_0/query/kernel"].1.shape, [64, 64]);
        assert_eq!(own["p/layers_0/out/kernel"].1.shape, [64, 64]);
        assert_eq!(own["p/stem/conv/kernel"].1.shape, [3, 64, 64]);
    }
}
