//! Heads of latent attention, multiplied out: its queries are `W_qb W_qa`, its keys and values `W_kvb W_kva`, with the norm weights
//! of the ranks between (DeepSeek-V2, arXiv 2405.04434, 2.1). A change of basis of the ranks does not move these products, and their
//! rows read the residual axis as those of any other attention do.
//!
//! Only the dimensions of a head that no position turns take part: those that are turned share one key over all heads.

use std::collections::BTreeMap;

use super::matrix::Function;
use scratchproof_checkpoint::{Heads, Part};

/// What stands between the ranks and the heads of a layer.
#[derive(Default)]
pub struct Latent {
    /// From the ranks of queries to heads; none where queries read the residual axis themselves.
    query: Option<Part>,
    /// From the ranks of keys and values to heads.
    key_value: Option<Part>,
    /// Norm weights of the ranks of queries, and of keys and values.
    norms: [Option<Part>; 2],
}

/// The dimensions of a head, in rows of the matrices behind the ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Heads of a layer.
    pub heads: usize,
    /// Queries and keys that no position turns.
    pub plain: usize,
    /// Queries and keys with those that are turned.
    pub turned: usize,
    /// Values.
    pub value: usize,
}

/// Where rows of heads come from: these rows of a matrix behind ranks, times the norm weights of the ranks, times the matrix of
/// that function.
pub struct Behind<'a> {
    /// The matrix behind the ranks.
    pub part: &'a Part,
    /// The norm weights of the ranks.
    pub norm: Option<&'a Part>,
    /// The matrix that makes the ranks.
    pub ranks: Function,
    /// The first row of a head, and rows from head to head.
    pub first: usize,
    /// See `first`.
    pub stride: usize,
}

impl Latent {
    /// Notes a part of a layer if it is one of these; whether it is.
    pub fn note(all: &mut BTreeMap<u32, Self>, part: &Part) -> bool {
        let (Some(layer), false) = (part.role.layer, part.residual) else { return false };
        let own = |all: &mut BTreeMap<u32, Self>, place: fn(&mut Self) -> &mut Option<Part>| {
            place(all.entry(layer).or_default()).get_or_insert_with(|| part.clone());
            true
        };
        match part.role.family.as_str() {
            "q_b_proj" => own(all, |latent| &mut latent.query),
            "kv_b_proj" => own(all, |latent| &mut latent.key_value),
            "q_a_norm" => own(all, |latent| &mut latent.norms[0]),
            "kv_a_norm" => own(all, |latent| &mut latent.norms[1]),
            _ => false,
        }
    }

    /// Whether the layer has it.
    pub fn is_there(&self) -> bool {
        self.key_value.is_some()
    }

    /// Where the rows of a function's heads come from; `None` where they read the residual axis themselves.
    pub fn behind(&self, function: Function, sizes: Sizes) -> Option<Behind<'_>> {
        let stride = sizes.plain + sizes.value;
        let (part, norm, ranks, first, stride) = match function {
            Function::Query => (&self.query, &self.norms[0], Function::Query, 0, sizes.turned),
            Function::Key => (&self.key_value, &self.norms[1], Function::Key, 0, stride),
            Function::Value => (&self.key_value, &self.norms[1], Function::Key, sizes.plain, stride),
            _ => return None,
        };
        let norm = norm.as_ref();
        part.as_ref().map(|part| Behind { part, norm, ranks, first, stride })
    }

    /// The dimensions of its heads; `None` where the shapes contradict the numbers of heads.
    pub fn sizes(&self, heads: &Heads) -> Option<Sizes> {
        let rows = self.key_value.as_ref()?.rows;
        let plain = rows.is_multiple_of(heads.query).then(|| rows / heads.query)?.checked_sub(heads.value)?;
        let fits = self.query.as_ref().is_none_or(|query| query.rows == heads.query * heads.dim);
        (fits && plain > 0 && plain <= heads.dim && heads.query == heads.key_value).then_some(Sizes {
            heads: heads.query,
            plain,
            turned: heads.dim,
            value: heads.value,
        })
    }
}
