//! Two tokenizers side by side: what they share, and which rows of two embeddings mean the same.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use super::Tokenizer;

/// What two tokenizers share.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenComparison {
    /// Tokens of the first and the second.
    pub sizes: (usize, usize),
    /// Canonical strings that both have.
    pub shared: usize,
    /// Merges of the first and the second.
    pub merges: (usize, usize),
    /// Merges that both have.
    pub shared_merges: usize,
    /// Spearman's rank correlation of the order of the shared merges; `None` for fewer than three.
    pub merge_spearman: Option<f64>,
    /// Shared strings with the same id in both.
    pub same_id: usize,
    /// The commonest difference of ids (second less first) of shared strings, and how many have it.
    pub shift: Option<(i64, usize)>,
    /// Of the ids below 256, how many stand for the same string in both.
    pub first_256: usize,
    /// Ids from 0 that stand for the same string in both without a gap.
    pub prefix: usize,
}

impl Tokenizer {
    /// Compares with another tokenizer. Counts concern tokens whose string and id are both unambiguous.
    #[must_use]
    pub fn compare(&self, other: &Self) -> TokenComparison {
        let pairs = self.shared(other);
        let mut shifts: BTreeMap<i64, usize> = BTreeMap::new();
        for (a, b) in &pairs {
            *shifts.entry(i64::from(*b) - i64::from(*a)).or_default() += 1;
        }
        // Of equal counts the smallest shift, so that the answer does not depend on chance.
        let shift = shifts.iter().max_by_key(|(shift, count)| (**count, -shift.abs(), **shift));
        let mut same: Vec<u32> = pairs.iter().filter(|(a, b)| a == b).map(|(a, _)| *a).collect();
        same.sort_unstable();
        let (shared_merges, merge_spearman) = merges(&self.merges, &other.merges);
        TokenComparison {
            sizes: (self.size(), other.size()),
            shared: pairs.len(),
            merges: (self.merges.len(), other.merges.len()),
            shared_merges,
            merge_spearman,
            same_id: same.len(),
            shift: shift.map(|(shift, count)| (*shift, *count)),
            first_256: same.partition_point(|id| *id < 256),
            prefix: same.iter().zip(0..).take_while(|(id, at)| **id == *at).count(),
        }
    }

    /// For every row of an embedding of `rows` rows the row of the other's, of `other_rows`, that stands for the same
    /// string. Rows beyond the vocabulary have no partner.
    #[must_use]
    pub fn row_map(&self, other: &Self, rows: usize, other_rows: usize) -> Vec<Option<u32>> {
        let mut map = vec![None; rows];
        for (a, b) in self.shared(other) {
            if let Some(slot) = map.get_mut(a as usize)
                && (b as usize) < other_rows
            {
                *slot = Some(b);
            }
        }
        map
    }

    /// Ids of the strings that both have.
    fn shared(&self, other: &Self) -> Vec<(u32, u32)> {
        let (mut a, mut b) = (self.tokens.iter().peekable(), other.tokens.iter().peekable());
        let mut pairs = Vec::new();
        while let (Some((x, i)), Some((y, j))) = (a.peek(), b.peek()) {
            let order = x.cmp(y);
            if order == Ordering::Equal {
                pairs.push((*i, *j));
            }
            if order != Ordering::Greater {
                a.next();
            }
            if order != Ordering::Less {
                b.next();
            }
        }
        pairs
    }
}

/// Merges that both have, and Spearman's correlation of their order.
fn merges(a: &[Box<[u8]>], b: &[Box<[u8]>]) -> (usize, Option<f64>) {
    let mut places: HashMap<&[u8], usize> = b.iter().enumerate().rev().map(|(at, merge)| (&**merge, at)).collect();
    // A merge that is there twice counts once.
    let shared: Vec<usize> = a.iter().filter_map(|merge| places.remove(&**merge)).collect();
    let n = shared.len();
    if n < 3 {
        return (n, None);
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_unstable_by_key(|at| shared[*at]);
    // Ranks without ties: rho = 1 - 6 sum d^2 / (n (n^2 - 1)).
    let squares: f64 = order.iter().enumerate().map(|(rank, at)| (rank as f64 - *at as f64).powi(2)).sum();
    let n_f = n as f64;
    (n, Some(1.0 - 6.0 * squares / (n_f * (n_f * n_f - 1.0))))
}
