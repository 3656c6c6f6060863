//! One test a file: statistic, null, log10 p, effect, n, assumptions. Statistics never open a file.

mod aligned;
mod cka;
mod multiplicity;
mod normal;
mod path;
mod random_matrix;
mod start;

pub use aligned::{Aligned, aligned, vector};
pub use cka::{Attention, LayerGrams, align, attention, u_centred};
pub use multiplicity::holm;
pub use normal::log10_upper_tail;
pub use path::{Bounded, Displacement, Turn, step_bound};
pub use random_matrix::{EdgeTest, edge_test, log10_tracy_widom_upper_tail};
pub use start::{Draw, Law, Sizes, draw, law, rule};
