//! Pure streaming arithmetic: no names, no paths, no I/O. The same bits whatever the threads or the split.
//!
//! Every kernel is written once over fixed-width lanes with fused multiply-add and compiled for several instruction
//! sets ([`simd`]); the arithmetic and its order do not change with the set, so neither do the bits.

mod assignment;
mod decode;
mod dot;
mod dtype;
mod elements;
mod elementwise;
pub mod exact;
mod gram;
mod moments;
mod procrustes;
mod product;
pub mod random;
mod rows;
mod sample;
pub mod sha256;
mod simd;
mod spectrum;

pub use assignment::assign;
pub use decode::decode;
pub use dot::{cross, gram, inner, trace};
pub use dtype::Dtype;
pub use elements::Patterns;
pub use elementwise::{
    Comparison, EXTREMES, ElementwiseSums, Extremes, ONE_DIRECTION, Quantile, Rounding, SharedRow, finest_needed, round,
};
pub use gram::{BLOCK, Gram, GramShape, GramSums, GramTile, Pair};
pub use moments::{Alike, Block, Form, Moments, Rank};
pub use procrustes::{deflate, nearest_orthogonal, overlap, row_basis};
pub use product::{product, square};
pub use rows::{CommonFactor, LEAST_SINE2, RowProducts, common_factor, rounding, updated};
pub use sample::{Rows, Sums, View, centre, normalise, without_mean_row};
pub use simd::{Level, level};
pub use spectrum::{singular_values, transpose};
