//! Every architecture by the names and shapes that its models have, `tests/data/names.txt`.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Checkpoint, Dtype, testing};
use scratchproof_source::MemoryStore;

/// A section of the file.
struct Section {
    name: String,
    config: String,
    parts: BTreeMap<String, usize>,
    tensors: Vec<(String, Dtype, Vec<usize>)>,
}

/// The names that one with ranges in braces stands for.
fn expanded(name: &str) -> Vec<String> {
    let Some((before, rest)) = name.split_once('{') else { return vec![name.to_owned()] };
    let (range, after) = rest.split_once('}').unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let numbers = first.parse::<u32>().unwrap()..=last.parse::<u32>().unwrap();
    numbers.flat_map(|number| expanded(&format!("{before}{number}{after}"))).collect()
}

fn sections() -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let text = include_str!("../../../../tests/data/names.txt");
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if let Some(name) = line.strip_prefix('[') {
            let name = name.trim_end_matches(']').to_owned();
            sections.push(Section { name, config: String::new(), parts: BTreeMap::new(), tensors: Vec::new() });
            continue;
        }
        let section = sections.last_mut().unwrap();
        let (first, rest) = line.split_once(' ').unwrap();
        match first {
            "config" => rest.clone_into(&mut section.config),
            "parts" => {
                let part =
                    |part: &str| part.split_once('=').map(|(family, rows)| (family.to_owned(), rows.parse().unwrap()));
                section.parts = rest.split(' ').filter_map(part).collect();
            }
            name => {
                let shape: Vec<usize> = rest.split('x').map(|axis| axis.parse().unwrap()).collect();
                section.tensors.extend(expanded(name).into_iter().map(|name| (name, Dtype::F32, shape.clone())));
            }
        }
    }
    sections
}

#[test]
fn names_and_shapes_of_every_architecture_come_apart() {
    let mut complaints = Vec::new();
    let sections = sections();
    assert!(sections.len() > 60, "{}", sections.len());
    for Section { name, config, parts: expected, tensors } in sections {
        let tensors: Vec<_> =
            tensors.iter().map(|(name, dtype, shape)| (name.as_str(), *dtype, shape.as_slice())).collect();
        let store = MemoryStore::new().with("model.safetensors", testing::file(&tensors)).with("config.json", config);
        let model = Checkpoint::from_store(&store).unwrap();
        let mut complain = |what: String| complaints.push(format!("{name} ({:?}): {what}", model.architecture));
        for tensor in model.tensors.iter().filter(|tensor| !tensor.role.known) {
            complain(format!("{} is not known", tensor.name));
        }
        if model.hidden_size() != Some(32) {
            complain(format!("hidden size {:?}", model.hidden_size()));
        }
        let parts = model.parts();
        let mut seen: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for part in &parts {
            seen.entry(&part.role.family).or_default().insert(part.rows);
            let matrix = expected.contains_key(&part.role.family);
            if matrix && !(part.residual && part.cols == 32) {
                complain(format!("{} has no residual axis of 32 but {} columns", part.role.family, part.cols));
            }
        }
        for (family, rows) in &expected {
            if seen.get(family.as_str()) != Some(&BTreeSet::from([*rows])) {
                complain(format!("{family} has {:?} rows, not {rows}", seen.get(family.as_str())));
            }
        }
        for tensor in model.tensors.iter().filter(|tensor| tensor.role.known && tensor.shape.len() > 1) {
            let family = tensor.role.family.as_str();
            let fused = ["qkv_proj", "gate_up_proj"].iter().any(|fused| family.ends_with(fused));
            if fused && seen.contains_key(family) && !expected.contains_key(family) {
                complain(format!("{} stays whole", tensor.name));
            }
        }
        let held: usize = parts.iter().map(super::Part::elements).sum();
        if held != model.tensors.iter().map(super::TensorRecord::elements).sum::<usize>() {
            complain(format!("the parts hold {held} elements"));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}
