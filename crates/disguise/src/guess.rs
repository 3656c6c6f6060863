//! What the matrices of a layer are for where no template knows their names: by the words that everybody uses, and neurons
//! by the axis that one matrix writes and others read.
//!
//! A guess that is wrong costs only what would have been seen: it decides which rows are held against which, and under the
//! null any two matrices of independent models have nothing in common.

use std::collections::BTreeMap;

use super::matrix::{Function, Slot};
use super::noise::fnv;
use scratchproof_checkpoint::Part;

/// What the words of a name say a matrix is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

const WORDS: &[(Said, &[&str])] = &[
    (Said::Query, &["q", "wq", "query", "queries"]),
    (Said::Key, &["k", "wk", "key", "keys"]),
    (Said::Value, &["v", "wv", "value", "values"]),
    (Said::Output, &["o", "wo", "out", "output"]),
    (Said::Gate, &["gate"]),
    (Said::Up, &["up"]),
    (Said::Down, &["down"]),
];

/// The functions of these matrices of one layer, in their order.
pub fn functions(parts: &[Part]) -> Vec<Function> {
    let mut said: BTreeMap<Said, Vec<usize>> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        let words: Vec<&str> = part.role.family.split(['.', '_', '-', '/']).collect();
        let meant = WORDS.iter().filter(|(_, own)| own.iter().any(|word| words.contains(word)));
        // What two words claim is neither.
        if let [(only, _)] = meant.collect::<Vec<_>>()[..] {
            said.entry(*only).or_default().push(at);
        }
    }
    let the = |wanted: Said| match said.get(&wanted).map(Vec::as_slice) {
        Some([only]) => Some(*only),
        _ => None,
    };
    let mut found: BTreeMap<usize, Function> = BTreeMap::new();
    if let (Some(q), Some(k), Some(v), Some(o)) =
        (the(Said::Query), the(Said::Key), the(Said::Value), the(Said::Output))
    {
        let all = [(q, Function::Query), (k, Function::Key), (v, Function::Value), (o, Function::Output)];
        if parts[k].rows == parts[v].rows && parts[q].rows == parts[o].rows {
            found.extend(all);
        }
    }
    let (gate, up, down) = (Function::Gate(Slot::Dense), Function::Up(Slot::Dense), Function::Down(Slot::Dense));
    if let (Some(u), Some(d)) = (the(Said::Up), the(Said::Down))
        && parts[u].rows == parts[d].rows
    {
        found.extend([(u, up), (d, down)]);
        found.extend(the(Said::Gate).filter(|g| parts[*g].rows == parts[u].rows).map(|g| (g, gate)));
    } else {
        // Neurons: one matrix writes their axis into the stream, one or two read it from there.
        let mut axes: BTreeMap<usize, [Vec<usize>; 2]> = BTreeMap::new();
        for (at, part) in parts.iter().enumerate() {
            if !found.contains_key(&at) && part.role.expert.is_none() && part.rows != part.cols {
                axes.entry(part.rows).or_default()[usize::from(part.is_turned())].push(at);
            }
        }
        let neurons = axes.into_iter().rev().find_map(|(_, own)| match (&own[0][..], &own[1][..]) {
            ([u], [d]) => Some(vec![(*u, up), (*d, down)]),
            ([g, u], [d]) | ([d], [g, u]) => Some(vec![(*g, gate), (*u, up), (*d, down)]),
            _ => None,
        });
        found.extend(neurons.into_iter().flatten());
    }
    let other = |part: &Part| {
        Function::Other(part.role.component, fnv(&format!("{} {:?}", part.role.family, part.role.expert)))
    };
    parts.iter().enumerate().map(|(at, part)| found.get(&at).copied().unwrap_or_else(|| other(part))).collect()
}

/// The tables of tokens among the matrices outside the layers, where they are not known: the longest, and another as long.
pub fn tables(parts: Vec<Part>, embedding: Option<Part>, head: Option<Part>) -> (Option<Part>, Option<Part>) {
    let longest = parts.iter().map(|part| part.rows).max().unwrap_or(0);
    let mut tables = parts.into_iter().filter(|part| part.rows == longest && part.rows > part.cols);
    let embedding = embedding.or_else(|| tables.next());
    (embedding, head.or_else(|| tables.next()))
}
