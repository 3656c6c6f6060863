//! The work as frozen, hashable data: made from headers alone, before a weight is read.

mod build;
mod identity;

pub use build::{Material, Series, plan};
pub use identity::identity;
