//! The recipe of an initialisation: JSON from outside -> a list of steps with every number checked.

use std::collections::HashMap;

use serde::Deserialize;

use scratchproof_error::json::fits;
use scratchproof_error::{Error, Result};
use scratchproof_kernel::Dtype;
use scratchproof_kernel::random::{Build, Law};
use scratchproof_texts::text;

/// The version this tool reads.
pub const FORMAT: &str = "scratchproof.init-recipe/1";

/// The largest recipe that is read: a step and a place for each of some 100,000 tensors.
pub const LARGEST: u64 = 64 << 20;

/// Operations after one draw, at most.
const MOST_OPERATIONS: usize = 16;

/// How the weights were drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Whose generator drew.
    pub framework: Framework,
    /// The build that the developer's machine ran, where the recipe says so.
    pub build: Option<Build>,
    /// Names of tensors; pieces hold places in this list.
    pub names: Vec<String>,
    /// What was drawn and filled, in order.
    pub steps: Vec<Step>,
    /// Tensors that the recorder could not follow, with the reason.
    pub unknown: Vec<(String, String)>,
}

/// The frameworks whose generators are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framework {
    /// `PyTorch` on the CPU.
    TorchCpu,
    /// numpy's `default_rng`.
    Numpy,
    /// numpy's `RandomState`.
    NumpyLegacy,
    /// JAX with threefry keys.
    Jax,
}

impl Framework {
    /// The names that case files and recipes use.
    pub const NAMES: [(&str, Self); 4] = [
        ("torch-cpu", Self::TorchCpu),
        ("numpy", Self::Numpy),
        ("numpy-legacy", Self::NumpyLegacy),
        ("jax", Self::Jax),
    ];

    /// The framework of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, framework)| *framework)
    }
}

/// One step of a recipe.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The generator is seeded anew.
    Seed(u64),
    /// Words of 32 bits (numpy: 64) that end nowhere.
    Skip(u64),
    /// A draw and the places its elements end in.
    Draw(Draw),
    /// One value and the places it fills.
    Constant(f64, Vec<Piece>),
}

/// A draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// What is drawn.
    pub law: Law,
    /// The format of what is filled.
    pub dtype: Dtype,
    /// Its elements.
    pub count: u64,
    /// Whether they lie one after the other.
    pub contiguous: bool,
    /// Bounds outside which elements are drawn again.
    pub redraw: Option<[f64; 2]>,
    /// How a JAX key comes from that of the seed.
    pub key: Vec<KeyStep>,
    /// Where the elements end.
    pub into: Vec<Piece>,
}

/// How one key of JAX comes from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStep {
    /// `split(key, of)[index]`.
    Split {
        /// Keys that are made.
        of: u32,
        /// The one that is taken.
        index: u32,
    },
    /// `fold_in(key, data)`.
    FoldIn(u32),
}

/// A stretch of a tensor that a step fills.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Place of its name in [`Recipe::names`].
    pub name: usize,
    /// First element of the tensor, as stored.
    pub at: u64,
    /// First element of the draw.
    pub from: u64,
    /// Elements; `None`: all of the draw, or of the tensor.
    pub length: Option<u64>,
    /// What is done to the elements, in order.
    pub then: Vec<Operation>,
}

/// What is done to every element after the draw, rounded to the format of the time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Operation {
    Multiply(f64),
    Divide(f64),
    Add(f64),
    Clamp(f64, f64),
    InverseError,
    Cast(Dtype),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRecipe {
    format: String,
    framework: String,
    #[serde(default, rename = "made_with")]
    _made_with: String,
    build: Option<String>,
    steps: Vec<RawStep>,
    #[serde(default)]
    unknown: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    seed: Option<u64>,
    skip: Option<u64>,
    constant: Option<f64>,
    draw: Option<String>,
    dtype: Option<String>,
    count: Option<u64>,
    mean: Option<f64>,
    std: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    contiguous: Option<bool>,
    redraw: Option<[f64; 2]>,
    #[serde(default)]
    key: Vec<RawKey>,
    #[serde(default)]
    into: Vec<RawPiece>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum RawKey {
    Split(u32, u32),
    FoldIn(u32),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPiece {
    Whole(String),
    Part(RawPart),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPart {
    to: String,
    #[serde(default)]
    at: u64,
    #[serde(default)]
    from: u64,
    length: Option<u64>,
    #[serde(default)]
    then: Vec<RawOperation>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawOperation {
    Alone((String,)),
    Number(String, f64),
    Bounds(String, f64, f64),
    Format(String, String),
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// One sentence about the first thing that is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        fits(bytes)?;
        let raw: RawRecipe = serde_json::from_slice(bytes).map_err(|e| Error::input(e.to_string()))?;
        if raw.format != FORMAT {
            return Err(Error::input(text!(
                "error-replay/recipe/format-read",
                format = shown(&raw.format),
                format_2 = FORMAT
            )));
        }
        let framework = Framework::parse(&raw.framework).ok_or_else(|| {
            Error::input(text!("error-replay/recipe/no-generator-known-framework", framework = shown(&raw.framework)))
        })?;
        let build = raw.build.and_then(|name| Build::ALL.into_iter().find(|build| build.name() == name));
        let mut names = Names::default();
        let steps = raw
            .steps
            .into_iter()
            .enumerate()
            .map(|(number, step)| {
                step.check(&mut names).map_err(|e| e.context(text!("error-replay/compare/step", number = number + 1)))
            })
            .collect::<Result<_>>()?;
        Ok(Self { framework, build, names: names.list, steps, unknown: raw.unknown })
    }
}

/// A text from outside, short and on one line.
fn shown(text: &str) -> String {
    text.chars().take(80).collect::<String>().escape_debug().to_string()
}

#[derive(Default)]
struct Names {
    list: Vec<String>,
    places: HashMap<String, usize>,
}

impl Names {
    fn place(&mut self, name: String) -> usize {
        *self.places.entry(name).or_insert_with_key(|name| {
            self.list.push(name.clone());
            self.list.len() - 1
        })
    }
}

fn finite(value: f64, what: &str) -> Result<f64> {
    if value.is_finite() { Ok(value) } else { Err(Error::input(text!("error-replay/recipe/not-finite-number", what))) }
}

fn float(name: &str) -> Result<Dtype> {
    Dtype::parse(name)
        .filter(|dtype| matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::Bf16))
        .ok_or_else(|| Error::input(text!("error-replay/recipe/none-f64-f32-f16", name = shown(name))))
}

impl RawStep {
    fn check(self, names: &mut Names) -> Result<Step> {
        let into = self.into.into_iter().map(|piece| piece.check(names)).collect::<Result<Vec<_>>>()?;
        match (self.seed, self.skip, self.constant, self.draw) {
            (Some(seed), None, None, None) => Ok(Step::Seed(seed)),
            (None, Some(skip), None, None) => Ok(Step::Skip(skip)),
            (None, None, Some(value), None) => Ok(Step::Constant(finite(value, "constant")?, into)),
            (None, None, None, Some(draw)) => {
                let number = |value: Option<f64>, what: &str| {
                    value
                        .ok_or_else(|| Error::input(text!("error-replay/recipe/draw-needs", draw = shown(&draw), what)))
                        .and_then(|value| finite(value, what))
                };
                let law = match draw.as_str() {
                    "normal" => Law::Normal { mean: number(self.mean, "mean")?, std: number(self.std, "std")? },
                    "uniform" => Law::Uniform { low: number(self.low, "low")?, high: number(self.high, "high")? },
                    "truncated-normal" => {
                        Law::Truncated { low: number(self.low, "low")?, high: number(self.high, "high")? }
                    }
                    other => {
                        return Err(Error::input(text!("error-replay/recipe/no-draw-called", other = shown(other))));
                    }
                };
                let redraw = match self.redraw {
                    Some([low, high]) if low < high && low.is_finite() && high.is_finite() => Some([low, high]),
                    Some(_) => return Err(Error::input(text!("error-replay/recipe/redraw-needs-lower-higher"))),
                    None => None,
                };
                Ok(Step::Draw(Draw {
                    law,
                    dtype: float(self.dtype.as_deref().unwrap_or("F32"))?,
                    count: self.count.ok_or_else(|| Error::input(text!("error-replay/recipe/draw-needs-count")))?,
                    contiguous: self.contiguous.unwrap_or(true),
                    redraw,
                    key: self.key.into_iter().map(RawKey::check).collect::<Result<_>>()?,
                    into,
                }))
            }
            _ => Err(Error::input(text!("error-replay/recipe/step-one-seed-skip"))),
        }
    }
}

impl RawKey {
    fn check(self) -> Result<KeyStep> {
        match self {
            Self::Split(of, index) if index < of => Ok(KeyStep::Split { of, index }),
            Self::Split(of, index) => Err(Error::input(text!("error-replay/recipe/keys-none-index", of, index))),
            Self::FoldIn(data) => Ok(KeyStep::FoldIn(data)),
        }
    }
}

impl RawPiece {
    fn check(self, names: &mut Names) -> Result<Piece> {
        let part = match self {
            Self::Whole(to) => RawPart { to, at: 0, from: 0, length: None, then: Vec::new() },
            Self::Part(part) => part,
        };
        if part.then.len() > MOST_OPERATIONS {
            return Err(Error::input(text!(
                "error-replay/recipe/more-operations",
                most_operations = MOST_OPERATIONS,
                to = shown(&part.to)
            )));
        }
        let then = part.then.into_iter().map(RawOperation::check).collect::<Result<_>>()?;
        Ok(Piece { name: names.place(part.to), at: part.at, from: part.from, length: part.length, then })
    }
}

impl RawOperation {
    fn check(self) -> Result<Operation> {
        let name = match self {
            Self::Alone((name,)) if name == "erfinv" => return Ok(Operation::InverseError),
            Self::Number(name, value) => {
                let value = finite(value, "then")?;
                match name.as_str() {
                    "mul" => return Ok(Operation::Multiply(value)),
                    "div" => return Ok(Operation::Divide(value)),
                    "add" => return Ok(Operation::Add(value)),
                    _ => name,
                }
            }
            Self::Bounds(name, low, high) if name == "clamp" && low <= high => {
                return Ok(Operation::Clamp(finite(low, "clamp")?, finite(high, "clamp")?));
            }
            Self::Format(name, format) if name == "cast" => return Ok(Operation::Cast(float(&format)?)),
            Self::Alone((name,)) | Self::Bounds(name, ..) | Self::Format(name, _) => name,
        };
        Err(Error::input(text!("error-replay/recipe/no-operation-form-known", name = shown(&name))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(steps: &str) -> Result<Recipe> {
        Recipe::read(format!(r#"{{"format":"{FORMAT}","framework":"torch-cpu","steps":[{steps}]}}"#).as_bytes())
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let recipe = read(
            r#"{"skip":5},{"draw":"normal","count":4,"mean":0,"std":0.02,"redraw":[-1,1],"into":["a",{"to":"b","at":2,"from":1,"length":3,"then":[["mul",0.5],["erfinv"],["clamp",-1,1],["cast","BF16"]]}]},{"constant":1,"into":["a"]}"#,
        )
        .expect("a recipe");
        assert_eq!(recipe.names, ["a", "b"]);
        let Step::Draw(draw) = &recipe.steps[1] else { panic!("a draw") };
        assert_eq!((draw.dtype, draw.redraw, draw.contiguous), (Dtype::F32, Some([-1.0, 1.0]), true));
        assert_eq!(draw.into[1].then[3], Operation::Cast(Dtype::Bf16));
        assert_eq!(draw.into[1], Piece { then: draw.into[1].then.clone(), name: 1, at: 2, from: 1, length: Some(3) });
    }

    #[test]
    fn what_is_wrong_is_said_in_one_sentence() {
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        for (steps, part) in [
            (r#"{"draw":"normal","count":4,"mean":NaN,"std":1}"#, "expected"),
            (r#"{"draw":"normal","count":4,"mean":1e999,"std":1}"#, "out of range"),
            (r#"{"draw":"normal","count":-4,"mean":0,"std":1}"#, "invalid value"),
            (r#"{"draw":"normal","count":4,"mean":0}"#, "needs `std`"),
            (r#"{"draw":"levy","count":4}"#, "`levy`"),
            (r#"{"skip":1,"seed":2}"#, "one of"),
            (r#"{"draw":"uniform","dtype":"I8","count":4,"low":0,"high":1}"#, "none of F64"),
            (r#"{"draw":"uniform","count":4,"low":0,"high":1,"redraw":[1,0]}"#, "higher bound"),
            (r#"{"constant":1,"into":[{"to":"a","then":[["pow",2]]}]}"#, "`pow`"),
            (r#"{"constant":1,"into":[{"to":"a","then":[["cast","Q4"]]}]}"#, "`Q4`"),
            (r#"{"draw":"normal","count":1,"mean":0,"std":1,"key":[{"split":[2,2]}]}"#, "index 2"),
            (r#"{"unheard":1}"#, "unknown field"),
            (deep.as_str(), ""),
        ] {
            let error = read(steps).expect_err(steps).to_string();
            assert!(error.contains(part) && !error.contains('\n'), "{error} lacks {part}");
        }
        let other = r#"{"format":"x/9","framework":"torch-cpu","steps":[]}"#;
        assert!(Recipe::read(other.as_bytes()).expect_err("a refusal").to_string().contains("x/9"));
        let cuda = format!(r#"{{"format":"{FORMAT}","framework":"torch-cuda","steps":[]}}"#);
        assert!(Recipe::read(cuda.as_bytes()).expect_err("a refusal").to_string().contains("torch-cuda"));
    }
}
