//! The value that `scratchproof compare` prints. Nothing is computed here.

mod markdown;
mod terminal;

use scratchproof_texts::Text;
use serde::Serialize;

use super::{Coverage, Tool, json};
use scratchproof_finding::{ComponentResult, Finding};

pub use markdown::to_markdown;
pub use terminal::render;

/// Schema of the JSON form.
pub const SCHEMA: &str = "scratchproof.compare/1";

/// Two models and their controls, in the order of the JSON document: `schema`, `tool`, `models`, `outcome`, `components`,
/// `families`, `baselines`, `matrix`, `sigma`, `questions`, `layer_maps`, `findings`, `missing`, `coverage`, `policy`.
/// Figures have six significant digits; what is not defined is null.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Which tool wrote it.
    pub tool: Tool,
    /// Subject, parent and controls, in this order.
    pub models: Vec<Model>,
    /// What the tests of the parent say.
    pub outcome: Outcome,
    /// Every component of the subject against the parent.
    pub components: Vec<ComponentResult>,
    /// The disputed figures, family by family and pair by pair.
    pub families: Vec<Family>,
    /// Raw cosines of norms inside each model.
    pub baselines: Vec<Baseline>,
    /// Every model against every other.
    pub matrix: Vec<MatrixCell>,
    /// What the raw cosine of norms would suggest.
    pub sigma: Vec<Sigma>,
    /// The questions of the cross-examination.
    pub questions: Vec<Question>,
    /// Layers of the subject against layers of the parent; `all` first.
    pub layer_maps: Vec<LayerMap>,
    /// What was found, as in `report.json`.
    pub findings: Vec<Finding>,
    /// What would be needed for more, in words.
    #[serde(serialize_with = "scratchproof_texts::sentences")]
    pub missing: Vec<Text>,
    /// What was compared, and what was not, with reasons.
    pub coverage: Coverage,
    /// Every threshold.
    pub policy: serde_json::Value,
}

/// What the tests of the parent say of the subject. It is no verdict on a claim: that needs a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A conclusive finding.
    Similar,
    /// No component is nearer than independent models are, and enough would have been seen.
    Silent,
    /// Neither.
    Undetermined,
    /// No tensor of the two could be compared.
    NotComparable,
}

/// One model.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Model {
    pub name: String,
    /// `subject`, `parent`, `control`.
    pub role: &'static str,
    pub architecture: Option<String>,
    pub hidden_size: Option<usize>,
    pub layers: usize,
    pub tensors: usize,
    pub parameters: u64,
    pub uri: String,
    pub sha256: String,
    pub bytes: u64,
}

/// One family of tensors.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Family {
    pub family: String,
    pub component: &'static str,
    pub pairs: Vec<Figures>,
}

/// One family in two models: means over the tensors that both have, and the test of all of them together.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Figures {
    pub first: String,
    pub second: String,
    pub tensors: usize,
    /// Raw; never evidence.
    pub cosine: Option<f64>,
    pub pearson: Option<f64>,
    /// |a - b| / |a|, a of the first model.
    pub relative_l2: Option<f64>,
    pub z: Option<f64>,
    pub log10_p: Option<f64>,
}

/// Raw cosines of norms inside one model, layer 0 left out.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Baseline {
    pub model: String,
    /// A family, between layers; or two families of one layer.
    pub norm: String,
    pub pairs: usize,
    pub mean: f64,
    pub least: f64,
    pub most: f64,
}

/// Two models of the control matrix.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct MatrixCell {
    pub first: String,
    pub second: String,
    /// Norms of the same function and layer.
    pub norms: usize,
    pub norm_cosine: Option<f64>,
    pub norm_pearson: Option<f64>,
    pub norm_z: Option<f64>,
    /// Over all matrices.
    pub z: Option<f64>,
    pub log10_p: Option<f64>,
    /// Correlation, centred over the residual axis.
    pub effect: Option<f64>,
}

/// What the raw cosine of norms would suggest: (mean of the matched layers - mean of the baseline) over the root of the mean
/// variance of the two groups, population variances. Layer 0 of the first model is never among the matched ones.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Sigma {
    pub norm: String,
    pub first: String,
    pub second: String,
    /// Matched layers.
    pub layers: usize,
    /// Mean raw cosine of matched layers.
    pub matched: f64,
    /// Mean raw cosine of layer 0 of the second model with its other layers: the baseline of the public accusation.
    pub layer_0: Option<f64>,
    pub sigma_layer_0: Option<f64>,
    /// Mean raw cosine of layers of other numbers, layer 0 left out: a baseline that is one.
    pub mismatched: Option<f64>,
    pub sigma_mismatched: Option<f64>,
}

/// One question with its answer.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct Question {
    pub id: &'static str,
    pub question: &'static str,
    pub answer: Answer,
    pub why: String,
    pub z: Option<f64>,
    pub log10_p: Option<f64>,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Answer {
    Yes,
    No,
    CannotBeSaid,
}

/// One layer map.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct LayerMap {
    pub family: String,
    pub cells: Vec<LayerCell>,
}

/// One cell of it.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs)]
pub struct LayerCell {
    pub subject: u32,
    pub parent: u32,
    pub z: Option<f64>,
    pub pearson: Option<f64>,
}

/// The whole comparison as JSON.
#[must_use]
pub fn to_json(comparison: &Comparison) -> String {
    json::rounded(comparison)
}

/// The sentence after the word of the outcome.
fn meaning(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Similar => "a part of the subject is nearer to the parent than independent models are, beyond doubt.",
        Outcome::Silent => "no part that was compared is nearer to the parent than independent models are.",
        Outcome::Undetermined => "the tests do not settle it.",
        Outcome::NotComparable => "no tensor of the two models has the same function and shape.",
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Similar => "SIMILAR",
        Outcome::Silent => "NO SIMILARITY",
        Outcome::Undetermined => "UNDETERMINED",
        Outcome::NotComparable => "NOT COMPARABLE",
    }
}

fn answer(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "yes",
        Answer::No => "no",
        Answer::CannotBeSaid => "cannot be said",
    }
}

/// Why the comparison is not a verdict.
const NO_VERDICT: &str =
    "A comparison of two models gives no verdict on a claim: start, chain and record need an audit.";

/// Under the tables without a control.
const NO_CONTROL: &str = "No control was given (--control MODEL): nothing says what strangers of this architecture show, so \
    similarities are graded strong at most, and whether the subject is nearer to the parent than to a stranger cannot be \
    said.";

const FAMILIES: &str = "Means over the tensors of a family. Raw cosine is never evidence; Pearson is centred; z is the test \
    of all its tensors together, between -3 and 3 for strangers.";

const BASELINES: &str = "Raw cosine of one norm in two layers of one model, and of two kinds of norms in one layer. Layer 0 \
    is left out: its input norm sees raw embeddings. A cosine between two models means nothing unless it is far above these.";

const MATRIX: &str = "Every model against every other: norms by raw cosine and Pearson (mean over tensors) and as a test \
    (z), and the test over all matrices.";

const SIGMA: &str = "(mean of matched layers - mean of the baseline) / root of the mean variance of the two groups. With \
    layer 0 of the second model as the baseline this is how a public accusation came to 182 sigma.";

const MISLEADS: &str = "It misleads: it divides by the spread of a few figures that are not independent, may take layer \
    0, which differs from every other layer, for what strangers show, and grows without bound as the figures draw together. \
    Norm weights start at one and stay positive, so their raw cosine is near one between any two models. A control's figure \
    stands beside it, and the test of the norms in the table above.";

/// The best parent layer of every subject layer, and the cells beyond the null.
struct Shown {
    family: String,
    subject: Vec<u32>,
    parent: Vec<u32>,
    cells: std::collections::BTreeMap<(u32, u32), Option<f64>>,
    beyond: usize,
    largest: Option<(u32, u32, f64)>,
}

fn shown(map: &LayerMap) -> Shown {
    let distinct = |mut layers: Vec<u32>| {
        layers.sort_unstable();
        layers.dedup();
        layers
    };
    let largest = map.cells.iter().filter_map(|c| Some((c.subject, c.parent, c.z?))).max_by(|a, b| a.2.total_cmp(&b.2));
    Shown {
        family: map.family.clone(),
        subject: distinct(map.cells.iter().map(|c| c.subject).collect()),
        parent: distinct(map.cells.iter().map(|c| c.parent).collect()),
        cells: map.cells.iter().map(|c| ((c.subject, c.parent), c.z)).collect(),
        beyond: map.cells.iter().filter(|c| c.z.is_some_and(|z| z >= super::heatmap::BEYOND)).count(),
        largest,
    }
}

fn largest(shown: &Shown) -> String {
    shown.largest.map_or("–".to_owned(), |(subject, parent, z)| format!("{z:.1} at {subject} x {parent}"))
}

/// A cell in three places: the whole part of z.
fn cell(z: Option<f64>) -> String {
    match z {
        None => "–".to_owned(),
        Some(z) if z.abs() < 0.5 => "0".to_owned(),
        Some(z) if z >= 999.5 => "999".to_owned(),
        Some(z) => format!("{z:.0}"),
    }
}

/// A pair of models in few letters; the models are listed with these above the tables.
fn pair(comparison: &Comparison, first: &str, second: &str) -> String {
    format!("{}-{}", letter(comparison, first), letter(comparison, second))
}

fn letter(comparison: &Comparison, name: &str) -> String {
    match comparison.models.iter().position(|model| model.name == name) {
        Some(0) => "A".to_owned(),
        Some(1) => "B".to_owned(),
        Some(control) => format!("C{}", control - 1),
        None => "?".to_owned(),
    }
}
