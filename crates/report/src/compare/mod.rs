//! The value that `scratchproof compare` prints. Nothing is computed here.

mod markdown;
mod terminal;

use scratchproof_texts::{Text, text};
use serde::Serialize;

use super::{Coverage, Tool, json, number};
use scratchproof_finding::{ComponentResult, Finding};

pub use markdown::to_markdown;
pub use terminal::render;

/// Schema of the JSON form.
pub const SCHEMA: &str = "scratchproof.compare/1";

/// Two models and their controls, in the order of the JSON document: `schema`, `tool`, `models`, `outcome`, `components`,
/// `families`, `layers`, `routers`, `baselines`, `matrix`, `sigma`, `questions`, `layer_maps`, `findings`, `missing`, `coverage`, `policy`.
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
    /// The figures of the published tables: the subject against every other model, tensor by tensor of the layers.
    pub layers: Vec<LayerFigures>,
    /// Routers of the subject and of every other model, whatever the order of the experts.
    pub routers: Vec<RouterFigures>,
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
    #[serde(flatten, with = "scratchproof_texts::missing")]
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
    /// Every byte of the two is the same, whatever the tests see.
    #[serde(rename = "similar")]
    Same,
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

/// One tensor of one layer in two models, with the metrics that the published analyses used. None of them is evidence: the
/// shuffled cosine beside them says what equal means alone give.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct LayerFigures {
    pub first: String,
    pub second: String,
    pub family: String,
    pub layer: u32,
    pub expert: Option<u32>,
    pub tensor: String,
    pub elements: u64,
    /// <a, b> / (|a| |b|).
    pub cosine: Option<f64>,
    /// Mean of the cosine over all orders of both: n mean(a) mean(b) / (|a| |b|).
    pub shuffled_cosine: Option<f64>,
    pub pearson: Option<f64>,
    /// mean |a - b|.
    pub mean_abs_diff: Option<f64>,
    /// |a - b| / |a|.
    pub relative_l2: Option<f64>,
    /// | q99(|a|) - q99(|b|) |.
    pub p99_diff: Option<f64>,
    /// | std(a)/|mean(a)| - std(b)/|mean(b)| |, population standard deviations.
    pub cv_diff: Option<f64>,
}

/// The routers of one layer in two models: rows brought to length 1 and assigned one to one so that the sum of their cosines
/// is largest. The mean is positive for unrelated models too, as the assignment seeks the best; the shuffled figure is the same with
/// the hidden axis of the second model turned by half its length.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs)]
pub struct RouterFigures {
    pub first: String,
    pub second: String,
    pub layer: u32,
    /// Rows of the two routers.
    pub experts: [usize; 2],
    /// Mean cosine of assigned rows.
    pub aligned_row_cosine: f64,
    pub shuffled_row_cosine: f64,
    /// Share of rows that are assigned to the row of their own number.
    pub in_place: f64,
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
    #[serde(serialize_with = "scratchproof_texts::sentence")]
    pub question: Text,
    pub answer: Answer,
    #[serde(serialize_with = "scratchproof_texts::sentence")]
    pub why: Text,
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
fn meaning(outcome: Outcome) -> Text {
    match outcome {
        Outcome::Similar => text!("report/compare/similar"),
        Outcome::Same => text!("report/compare/same"),
        Outcome::Silent => text!("report/compare/silent"),
        Outcome::Undetermined => text!("report/compare/undetermined"),
        Outcome::NotComparable => text!("report/compare/not-comparable"),
    }
}

/// Why the comparison is not a verdict.
fn no_verdict() -> Text {
    text!("report/compare/no-verdict")
}

fn outcome(outcome: Outcome) -> Text {
    match outcome {
        Outcome::Similar | Outcome::Same => text!("report/compare/similar-word"),
        Outcome::Silent => text!("report/compare/silent-word"),
        Outcome::Undetermined => text!("report/compare/undetermined-word"),
        Outcome::NotComparable => text!("report/compare/not-comparable-word"),
    }
}

fn answer(answer: Answer) -> Text {
    match answer {
        Answer::Yes => text!("report/compare/yes"),
        Answer::No => text!("report/compare/no"),
        Answer::CannotBeSaid => text!("report/compare/cannot-be-said"),
    }
}

/// What has one of the same function and shape in both models.
fn coverage(coverage: &Coverage) -> Text {
    let mut line = text!(
        "report/compare/coverage",
        compared = number::count(coverage.compared),
        tensors = number::count(coverage.tensors),
        skipped = coverage.skipped.len()
    );
    if !coverage.looked.is_empty() {
        line.push(coverage.looked.clone());
    }
    line
}

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
        beyond: map.cells.iter().filter(|c| c.z.is_some_and(|z| z >= super::scene::BEYOND)).count(),
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
