//! The case file: what is claimed of which models, and what there is to hold it against.

mod policy;

pub use policy::Policy;
