//! What can be said of tensors whose names no template knows: layers from the repetition of names, axes from shapes, the
//! component from the words that everybody uses.

use std::collections::BTreeMap;

use super::residual::hidden_sizes;
use super::{Component, Residual, TensorRecord};

/// The shortest axis that a test can use.
const SHORTEST: usize = 8;

/// Least share of a model's elements that a further axis of an architecture that is known otherwise must join.
const SHARE: f64 = 0.01;

/// Axes of one tower that are told apart at most: stages of a network that narrows or widens.
const AXES: usize = 16;

/// Words between dots, dashes and underscores, and what a tensor with one of them is judged with.
const WORDS: &[(Component, &[&str])] = &[
    (Component::Router, &["router", "gating"]),
    (Component::Experts, &["experts", "expert"]),
    (Component::Head, &["head", "unembed", "logits", "classifier", "lm", "out_embed"]),
    (
        Component::Embedding,
        &["emb", "embed", "embedding", "embeddings", "embeds", "wte", "wpe", "tok", "token", "vocab"],
    ),
    (Component::Attention, &["attn", "attention", "att", "mha", "qkv", "mix"]),
    (Component::Mlp, &["mlp", "ffn", "ff", "feed", "feedforward"]),
    (Component::Attention, &["q", "k", "v", "query", "key", "value", "wq", "wk", "wv", "wo"]),
    (Component::Mlp, &["fc", "fc1", "fc2", "w1", "w2", "w3", "gate", "up", "down", "linear1", "linear2"]),
];

/// What batch normalisation counts and averages: kept beside the weights, moved by no optimiser.
const BUFFERS: [&str; 3] = ["running_mean", "running_var", "num_batches_tracked"];

/// Deduces the roles of all tensors that no template knows. What stays without an axis that can be tested stays unknown.
pub(super) fn deduce(tensors: &mut [TensorRecord]) {
    for tensor in tensors.iter_mut().filter(|tensor| !tensor.role.known) {
        if tensor.name.rsplit('.').next().is_some_and(|last| BUFFERS.contains(&last)) {
            (tensor.role.known, tensor.role.constant) = (true, true);
        }
    }
    let all: usize = tensors.iter().map(TensorRecord::elements).sum();
    let known: BTreeMap<String, usize> =
        hidden_sizes(tensors).into_iter().map(|(tower, size)| (tower.to_owned(), size)).collect();
    let mut towers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, tensor) in tensors.iter().enumerate() {
        let role = &tensor.role;
        if !role.known && !role.constant && tensor.dtype.is_float() && tensor.elements() > 0 {
            towers.entry(role.tower.clone()).or_default().push(index);
        }
    }
    for (tower, mut rest) in towers {
        let templates = known.get(&tower).copied();
        for axis in 0..AXES {
            let size = if axis == 0 { templates.or_else(|| widest(tensors, &rest)) } else { widest(tensors, &rest) };
            let Some(size) = size else { break };
            let joins = |index: &usize| axis_of(&tensors[*index].shape, size) != Residual::None;
            let (joined, others): (Vec<usize>, Vec<usize>) = rest.into_iter().partition(joins);
            rest = others;
            let elements: usize = joined.iter().map(|index| tensors[*index].elements()).sum();
            if axis > 0 && templates.is_some() && (elements as f64) < SHARE * all as f64 {
                // What little an architecture has beside its templates and its axis stays unknown, and is said to be.
                rest.extend(joined);
                break;
            }
            let name = match axis {
                0 => tower.clone(),
                _ if tower.is_empty() => format!("width-{size}"),
                _ => format!("{tower}.width-{size}"),
            };
            for index in joined {
                let residual = axis_of(&tensors[index].shape, size);
                settle(&mut tensors[index], residual, Some(name.clone()));
            }
        }
        for index in rest.into_iter().filter(|_| templates.is_none()) {
            if tensors[index].shape.len() < 2 {
                settle(&mut tensors[index], Residual::None, None);
            }
        }
    }
}

fn settle(tensor: &mut TensorRecord, residual: Residual, tower: Option<String>) {
    let role = &mut tensor.role;
    role.component = component(&role.family, tensor.shape.len());
    role.residual = residual;
    role.known = true;
    role.deduced = true;
    if let Some(tower) = tower {
        role.tower = tower;
    }
}

/// The length that joins the most elements of these matrices; the longer of two that are equal.
fn widest(tensors: &[TensorRecord], members: &[usize]) -> Option<usize> {
    let mut votes: BTreeMap<usize, usize> = BTreeMap::new();
    for tensor in members.iter().map(|index| &tensors[*index]).filter(|tensor| tensor.shape.len() > 1) {
        let mut lengths = tensor.shape.clone();
        lengths.retain(|length| *length >= SHORTEST && axis_of(&tensor.shape, *length) != Residual::None);
        lengths.sort_unstable();
        lengths.dedup();
        for length in lengths {
            *votes.entry(length).or_default() += tensor.elements();
        }
    }
    votes.into_iter().max_by_key(|(length, elements)| (*elements, *length)).map(|(length, _)| length)
}

/// Which axis of a shape has this length.
pub(super) fn axis_of(shape: &[usize], size: usize) -> Residual {
    match *shape {
        [length] if length == size => Residual::Vector,
        // One row along the axis is a vector, however many axes of length 1 it is written with.
        [.., last] if last == size && shape.iter().product::<usize>() == size => Residual::Vector,
        [_, columns] if columns == size => Residual::Columns,
        [rows, _] if rows == size => Residual::Rows,
        // A convolution: output channels, input channels, kernel.
        [first, _, _, ..] if first == size => Residual::First,
        [_, .., last] if last == size && shape.len() > 2 => Residual::Columns,
        [_, rows, _] if rows == size => Residual::Rows,
        _ => Residual::None,
    }
}

/// What the words of a name say.
fn component(name: &str, axes: usize) -> Component {
    let words: Vec<String> = name.split(['.', '_', '-', '/']).map(str::to_ascii_lowercase).collect();
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    if axes < 2
        && (has(&["norm", "ln", "bn", "layernorm", "batchnorm", "groupnorm", "rmsnorm", "scale", "gamma", "beta"])
            || words.iter().any(|w| w.contains("norm")))
    {
        return Component::Norms;
    }
    WORDS.iter().find(|(_, list)| has(list)).map_or(Component::Other, |(component, _)| *component)
}

#[cfg(test)]
mod tests {
    use super::super::{Checkpoint, Dtype, Residual, testing};
    use scratchproof_source::MemoryStore;

    fn model(tensors: &[(&str, &[usize])]) -> Checkpoint {
        let tensors: Vec<_> = tensors.iter().map(|(name, shape)| (*name, Dtype::F32, *shape)).collect();
        Checkpoint::from_store(&MemoryStore::new().with("model.safetensors", testing::file(&tensors))).unwrap()
    }

    /// Tower, family, layer, axis.
    fn roles(model: &Checkpoint) -> Vec<(String, String, Option<u32>, Residual)> {
        let own =
            |t: &super::TensorRecord| (t.role.tower.clone(), t.role.family.clone(), t.role.layer, t.role.residual);
        assert!(model.tensors.iter().all(|t| t.role.known && t.role.deduced));
        model.tensors.iter().map(own).collect()
    }

    #[test]
    fn an_unknown_stack_has_layers_and_axes() {
        let a = model(&[
            ("net.0.kernel", &[16, 12]),
            ("net.0.bias", &[16]),
            ("net.2.kernel", &[12, 16]),
            ("tail.kernel", &[12, 10]),
        ]);
        let is = |family: &str, layer, residual| (String::new(), family.to_owned(), layer, residual);
        assert_eq!(
            roles(&a),
            [
                // 12 joins all three matrices; a bias of 16 has no axis in common with them.
                is("net.{}.bias", Some(0), Residual::None),
                is("net.{}.kernel", Some(0), Residual::Columns),
                is("net.{}.kernel", Some(2), Residual::Rows),
                is("tail.kernel", None, Residual::Rows),
            ]
        );
    }

    #[test]
    fn one_row_along_the_axis_is_a_vector() {
        let a = model(&[("net.0.kernel", &[24, 16]), ("net.0.mix", &[1, 1, 16]), ("net.2.kernel", &[24, 16])]);
        let mix = a.find("net.0.mix").unwrap();
        assert_eq!((mix.role.residual, mix.shape.len()), (Residual::Vector, 3));
    }

    #[test]
    fn stages_of_convolutions_have_an_axis_each() {
        let a = model(&[
            ("layer1.0.conv1.weight", &[16, 16, 3, 3]),
            ("layer1.1.conv1.weight", &[16, 16, 3, 3]),
            ("layer2.0.conv1.weight", &[32, 16, 3, 3]),
            ("layer2.1.conv1.weight", &[32, 32, 3, 3]),
        ]);
        let towers: Vec<(String, Residual)> = roles(&a).into_iter().map(|(tower, _, _, axis)| (tower, axis)).collect();
        let of = |tower: &str| (tower.to_owned(), Residual::First);
        assert_eq!(towers, [of("width-16"), of("width-16"), of(""), of("")]);
    }

    #[test]
    fn a_few_strange_tensors_of_a_known_model_join_its_axis_or_stay_unknown() {
        let mut tensors = testing::llama(2, 32, 64);
        tensors.push(("extra.0.adapter".to_owned(), Dtype::F32, vec![9, 32]));
        tensors.push(("extra.0.scale".to_owned(), Dtype::F32, vec![9, 11]));
        let model = Checkpoint::from_store(&testing::store(&tensors)).unwrap();
        let adapter = &model.find("extra.0.adapter").unwrap().role;
        assert!(adapter.known && adapter.deduced && adapter.residual == Residual::Columns);
        assert!(!model.find("extra.0.scale").unwrap().role.known);
        assert!(model.find("model.norm.weight").is_some_and(|norm| !norm.role.deduced));
    }
}
