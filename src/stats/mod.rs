//! One test a file: statistic, null, log10 p, effect, n, assumptions. Statistics never open a file.

mod aligned;
mod multiplicity;
mod normal;
mod random_matrix;

pub use aligned::{Aligned, aligned, vector};
pub use multiplicity::holm;
pub use normal::log10_upper_tail;
pub use random_matrix::{EdgeTest, edge_test, log10_tracy_widom_upper_tail};
