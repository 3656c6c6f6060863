//! One test a file: statistic, null, log10 p, effect, n, assumptions. Statistics never open a file.

mod agreement;
mod aligned;
mod budget;
mod cka;
mod decay;
mod hypergeometric;
mod layer_path;
mod mantel;
mod mixture;
mod multiplicity;
mod normal;
mod random_matrix;
mod separation;
mod start;
mod subspace;
mod trail;

pub use agreement::log10_poisson_upper;
pub use aligned::{Aligned, aligned, vector};
pub use budget::{Bounded, step_bound};
pub use cka::{Attention, LayerGrams, align, attention, u_centred};
pub use decay::{DecayLaw, Expected, Reading, Shrinkage, grid_bias, momentum_exponents, read, scale, shrinkage};
pub use hypergeometric::log10_coincidences;
pub use layer_path::{Path, largest_of, monotone_path, pieces};
pub use mantel::{Mantel, correlations, mantel, normal_scores};
pub use mixture::{Mixture, mixture};
pub use multiplicity::holm;
pub use normal::log10_upper_tail;
pub use random_matrix::{EdgeTest, edge_test, log10_tracy_widom_upper_tail};
pub use separation::{Spread, separation};
pub use start::{Draw, Law, Sizes, draw, law, rule};
pub use subspace::{Subspace, subspace};
pub use trail::{Trail, Turn};
