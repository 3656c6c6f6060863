//! An initialisation drawn again from its seed and held against what is stored, element by element (METHODS 4, replay).

mod compare;
mod recipe;

pub use compare::replay;
pub use recipe::{FORMAT, Framework, LARGEST, Recipe};
