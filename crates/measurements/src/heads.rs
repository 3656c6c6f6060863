//! Attention heads of two models held against each other in any basis (METHODS 9).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One pair of matchings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadTest {
    /// The two sets of matrices.
    pub between: String,
    /// Heads on which the two matchings agree.
    pub agreed: u64,
    /// What unrelated models show, given into which layers the two matchings send every head.
    pub expected: f64,
    /// Heads of the model that has fewer.
    pub of: u64,
    /// log10 of the chance of as many.
    pub log10_p: f64,
    /// Mean correlation of the products of those agreed, by both sets.
    pub correlation: Option<f64>,
    /// The same of what was matched and not agreed on: what unrelated heads reach.
    pub chance: Option<f64>,
}

/// Signs of products across heads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignTest {
    /// Whose rows, and what matched the heads.
    pub between: String,
    /// Rows, or sets of rows that positions turn together, whose products with all heads before agree in sign.
    pub agreed: u64,
    /// Rows or sets in all; half of them are expected.
    pub of: u64,
    /// log10 of the chance of as many: binomial, exact.
    pub log10_p: f64,
    /// Correlation of the products across heads.
    pub correlation: f64,
    /// Pairs of heads.
    pub heads: u64,
}

/// A head of one model and the head of the other that is the same by both matchings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct MatchedHead {
    pub layer_subject: u32,
    pub head_subject: u32,
    pub layer_other: u32,
    pub head_other: u32,
    /// Correlation of the products of queries and keys.
    pub attention: f64,
    /// Correlation of the products of values and outputs.
    pub values: f64,
}

/// What of a parent in disguise the tests of heads would have shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadPower {
    /// All its heads in any basis, order and depth.
    pub whole: bool,
    /// Half of them.
    pub half: bool,
    /// The smallest correlation of all products that was tried and would have shown.
    pub correlation: Option<f64>,
}

/// What the heads of two models say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeadMatch {
    /// Every pair of matchings; the first is of query heads, the second of key-value heads.
    pub tests: Vec<HeadTest>,
    /// Signs of the products across heads, of keys and of values.
    pub signs: Vec<SignTest>,
    /// Query heads on which the first two matchings agree.
    pub matched: Vec<MatchedHead>,
    /// Key-value heads on which keys and values agree: layer and number of the subject's and of the other's.
    pub groups: Vec<(u32, u32, u32, u32)>,
    /// Why nothing was compared, where nothing was.
    pub left_out: Option<String>,
}

impl HeadMatch {
    /// For layers of the subject the other model's layer that most of its agreeing heads name, where that is beyond doubt: two
    /// heads or key-value heads at least, and more than half of those that name any.
    #[must_use]
    pub fn layers(&self) -> BTreeMap<u32, u32> {
        let mut votes: BTreeMap<u32, BTreeMap<u32, usize>> = BTreeMap::new();
        let heads = self.matched.iter().map(|m| (m.layer_subject, m.layer_other));
        for (own, other) in heads.chain(self.groups.iter().map(|g| (g.0, g.2))) {
            *votes.entry(own).or_default().entry(other).or_default() += 1;
        }
        let clear = |votes: &BTreeMap<u32, usize>| {
            let all: usize = votes.values().sum();
            let (layer, most) = votes.iter().max_by_key(|(layer, count)| (**count, std::cmp::Reverse(**layer)))?;
            (*most >= 2 && 2 * most > all).then_some(*layer)
        };
        votes.iter().filter_map(|(own, votes)| Some((*own, clear(votes)?))).collect()
    }
}
