//! An initialisation drawn again from its seed and held against what is stored (METHODS 4, replay).

use serde::{Deserialize, Serialize};

/// How one tensor came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorReplay {
    /// Its name.
    pub tensor: String,
    /// The component it is judged with.
    pub component: String,
    /// Stored elements.
    pub elements: u64,
    /// Of them, those that the recipe draws.
    pub drawn: u64,
    /// Those that it fills with a constant.
    pub constant: u64,
    /// Those that are what the recipe says, bit for bit.
    pub equal: u64,
    /// Those that are it, or the next number of the stored format.
    pub within_ulp: u64,
    /// Those that are it but for the roundings of a library: a relative 2^-12, or 2^-16 of the largest beside it.
    pub close: u64,
    /// Whether what the equal elements show outweighs what the recipe says freely.
    pub explained: bool,
    /// Which of the drawn tensors it is, in the order of the stream.
    pub order: Option<u64>,
}

impl TensorReplay {
    /// Whether every element is what the recipe says.
    #[must_use]
    pub fn exact(&self) -> bool {
        self.equal == self.elements && self.explained
    }
}

/// An initialisation drawn again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// Whose generator.
    pub generator: String,
    /// The build whose rounding matched best.
    pub variant: String,
    /// Every stored floating-point tensor that the recipe fills, by name.
    pub tensors: Vec<TensorReplay>,
    /// Stored floating-point tensors that it does not fill.
    pub left_out: Vec<String>,
    /// Tensors that it fills and nobody stored.
    pub absent: Vec<String>,
    /// Tensors that the recorder could not follow, with the reason.
    pub unknown: Vec<(String, String)>,
}

impl Replayed {
    /// Whether the recipe fills every stored tensor, and every element is what it says.
    #[must_use]
    pub fn whole(&self) -> bool {
        !self.tensors.is_empty() && self.left_out.is_empty() && self.tensors.iter().all(TensorReplay::exact)
    }
}

/// What came of drawing the declared initialisation again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Replay {
    /// No seed and no recipe, or no checkpoint of step 0.
    Undeclared,
    /// The rows of the first checkpoint are drawn, and a draw is held against all of them.
    Sampled,
    /// A framework whose generator is not known.
    UnknownFramework(String),
    /// A recipe and no seed to draw it from.
    NoSeed,
    /// A seed and nothing that says what was drawn from it.
    NoRecipe,
    /// A recipe that cannot be read or does not fit the checkpoint, with the reason.
    Unfit(String),
    /// Seed and outcome.
    Done(u64, Replayed),
}
