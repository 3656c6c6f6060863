//! What a parent may hide behind: a residual axis that was permuted or rotated, neurons, heads or experts in another
//! order, rescaled pairs, other widths and depths (METHODS 2.1, 2.2 and 3).
//!
//! A search looks at two models, usually the final checkpoint and a parent, and asks four kinds of question:
//!
//! - **heads** ([`products()`], [`alike()`]): products of rows that read or write one residual stream, which no change of its
//!   basis moves, whatever the vocabulary, the depth, the order of layers and heads, and the hidden size. Asked first: they
//!   say which layer answers which and which head which, and the sign test across matched heads needs no frame at all.
//! - **second moments** ([`moments`]): do the two agree on W^T W over the residual axis? No row has to correspond, so
//!   neurons, heads and experts in any order, and rows of any scale and sign, do not matter. As they stand, the residual
//!   axes of independent models are exchangeable, so the null is exact.
//! - **frames** ([`frame`]): is the residual axis the parent's in another order or another basis? Two halves of the
//!   layers are fitted apart; under the null the two fits have nothing in common.
//! - **units** ([`units`]): neurons, experts and heads, matched twice by independent tensors; under
//!   the null two random matchings agree on about one.
//!
//! Token rows may propose a frame and never prove one: models of one tokenizer share what tokens mean, and **measured**
//! on independent models of one tokenizer two halves of the token rows agree on 16 to 32 of 64 dimensions and on 26 to 36
//! directions of 64, where layers agree on 0 to 5 and -3.1 to 2.5.
//!
//! What was found is applied ([`express`]): the parent is written down in the subject's coordinates and takes part in the
//! ordinary measurement beside the parent as it stands.

mod alike;
mod angles;
mod basis;
mod content;
mod culprit;
mod earlier;
mod express;
mod fits;
mod found;
mod frame;
mod guess;
mod heads;
mod inject;
mod injections;
mod latent;
mod layer;
mod looked;
mod matrix;
mod moments;
mod movement;
mod noise;
mod products;
mod refine;
mod relabel;
mod search;
mod units;
mod weights;
mod within;

pub use alike::alike;
pub use basis::answers;
pub use content::settle;
pub use express::express;
pub use found::{Found, Relabelling};
pub use frame::Frame;
pub use heads::{Limits, products, products_within};
pub use inject::{head_power, injected};
pub use injections::injections;
pub use layer::limits;
pub use moments::without_direction;
pub use movement::Movements;
pub use products::{Cross, Group, Head, Products, Square};
pub use search::{Opened, search, search_in};
pub use weights::TokenRows;
pub use within::within_start;
