//! The rows of the tidy tables, one struct a file. Field names are column names, in the order of the file.

use std::sync::Arc;

use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// What a checkpoint was compared with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// The earliest checkpoint.
    Init,
    /// The checkpoint before.
    Previous,
    /// A candidate parent, by its name in the case file.
    Parent(String),
    /// A control, by its name in the case file.
    Control(String),
    /// A candidate parent as it is written in the subject's coordinates, where a disguise was found.
    Relabelled(String),
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Init => f.write_str("init"),
            Self::Previous => f.write_str("previous"),
            Self::Parent(name) => write!(f, "parent:{name}"),
            Self::Control(name) => write!(f, "control:{name}"),
            Self::Relabelled(name) => write!(f, "relabelled:{name}"),
        }
    }
}

impl std::str::FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "init" => Ok(Self::Init),
            None if text == "previous" => Ok(Self::Previous),
            Some(("parent", name)) => Ok(Self::Parent(name.to_owned())),
            Some(("control", name)) => Ok(Self::Control(name.to_owned())),
            Some(("relabelled", name)) => Ok(Self::Relabelled(name.to_owned())),
            _ => Err(Error::input(text!("error-evidence/rows/not-reference", text = text.escape_debug().to_string()))),
        }
    }
}

/// One row of `evidence/trajectory.parquet`: one tensor of one checkpoint against one reference.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct TrajectoryRow {
    pub step: i64,
    pub tensor: String,
    pub component: String,
    pub family: String,
    pub layer: Option<u32>,
    pub expert: Option<u32>,
    pub reference: Reference,
    pub elements: u64,
    pub cosine: Option<f64>,
    pub pearson: Option<f64>,
    pub l2: Option<f64>,
    pub relative_l2: Option<f64>,
    pub rms: Option<f64>,
    pub z: Option<f64>,
    pub log10_p: Option<f64>,
}

/// One row of `evidence/components.parquet`: one component of one checkpoint against one reference, with the residual
/// cross-Gram's figures (METHODS 2.1). `component` is `all` for the whole model.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct ComponentRow {
    pub step: i64,
    pub component: String,
    pub reference: Reference,
    /// Mean correlation, centred over the residual axis, weighted as the cross-Gram weighs it.
    pub effect: Option<f64>,
    pub z: Option<f64>,
    pub log10_p: Option<f64>,
    /// Sampled rows.
    pub rows: u64,
    /// Columns (hidden size).
    pub columns: u64,
}

/// `parent` of the layer map of the final checkpoint against itself.
pub const ITSELF: &str = "subject";

/// `parent` of the layer map of the first checkpoint against itself.
pub const ITSELF_FIRST: &str = "subject:first";

/// One cell of `evidence/layer_map.parquet`. Family `all` is the sum over the families; families of a tower have its
/// prefix, `vision_tower.q_proj` and `vision_tower.all`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct LayerMapRow {
    /// Name of a parent or control, [`ITSELF`] or [`ITSELF_FIRST`].
    pub parent: String,
    pub family: String,
    pub layer_subject: u32,
    pub layer_parent: u32,
    pub pearson: Option<f64>,
    pub z: Option<f64>,
}

/// One row of `evidence/tensors.parquet`: one tensor of one model.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct TensorRow {
    /// What the model was given as: `subject`, `parent:NAME`, `control:NAME`.
    pub model: String,
    pub tensor: String,
    pub component: String,
    pub family: String,
    pub layer: Option<u32>,
    pub expert: Option<u32>,
    /// Which axis is the residual one: `rows`, `columns`, `vector`, `none`.
    pub residual: String,
    pub dtype: String,
    /// Sizes of the axes, as in `64x256`.
    pub shape: String,
    pub elements: u64,
    pub bytes: u64,
    /// Whether an architecture template knew the name.
    pub known: bool,
    /// A structural constant, never evidence.
    pub constant: bool,
}

/// One row of `evidence/runs.parquet`: one logged value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct RunRow {
    // A log has many values of few columns.
    pub run: Arc<str>,
    pub key: Arc<str>,
    pub step: i64,
    pub value: Option<f64>,
}

/// One row of `evidence/timeline.parquet`: one dated fact. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct TimelineRow {
    pub at: String,
    /// End of an interval.
    pub until: Option<String>,
    pub what: String,
    pub source: String,
    /// `self-asserted`, `platform` or `anchored`.
    pub grade: String,
}

/// One row of `evidence/settings.parquet`: one size that a commit of the main line set, changed or took away.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct SettingRow {
    pub commit: String,
    /// Committer time, RFC 3339.
    pub at: String,
    pub path: String,
    /// Place in the file: a class, a mapping, a call; empty for the whole file.
    pub place: String,
    /// From 1, where it is known.
    pub line: Option<u32>,
    pub name: String,
    /// None if it is gone.
    pub value: Option<i64>,
    /// None if it is new.
    pub former: Option<i64>,
}

/// One row of `evidence/mentions.parquet`: another model's name, a loading call, a flag or a number in the history.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct MentionRow {
    /// `name`, `loads`, `starts`, `constant`.
    pub kind: String,
    pub text: String,
    pub parent: Option<String>,
    pub path: String,
    pub line: u64,
    /// What kind of file, in words.
    pub place: String,
    /// The earliest commit that has it.
    pub first: String,
    /// The commit of the main line that took it away.
    pub gone: Option<String>,
    /// Whether the main line ever had it.
    pub main: bool,
}

/// One row of `evidence/signatures.parquet`: one signed commit or tag.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct SignatureRow {
    pub object: String,
    pub tag: Option<String>,
    pub kind: String,
    /// `good`, `refused`, `bad`, `unknown-key`, `unverified`.
    pub result: String,
    /// The signer, the fingerprint, or why.
    pub words: String,
}

/// One row of `evidence/pairs.parquet`: one tensor of the final checkpoint against one parent or control, with the
/// metrics that the published analyses used (METHODS 1).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct PairRow {
    pub tensor: String,
    pub component: String,
    pub family: String,
    pub layer: Option<u32>,
    pub expert: Option<u32>,
    pub reference: Reference,
    pub elements: u64,
    pub cosine: Option<f64>,
    pub pearson: Option<f64>,
    pub mean_abs_diff: Option<f64>,
    pub relative_l2: Option<f64>,
    pub p99_diff: Option<f64>,
    pub cv_diff: Option<f64>,
    pub z: Option<f64>,
}

/// One row of `evidence/copies.parquet`: one tensor of the first or the final checkpoint against one parent or control,
/// element by element (METHODS 1, copies).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct CopyRow {
    pub step: i64,
    pub tensor: String,
    pub component: String,
    pub family: String,
    pub layer: Option<u32>,
    pub expert: Option<u32>,
    pub reference: Reference,
    pub elements: u64,
    /// The coarsest formats that hold the two, as in `F32` or `F32 BF16`.
    pub formats: String,
    /// How the finer one was brought to the coarser one: `nearest`, `truncated`.
    pub rounding: Option<String>,
    /// Share of equal elements outside constant rows.
    pub equal: Option<f64>,
    /// The same with one tensor moved by a row: what unrelated models show in these formats.
    pub equal_shifted: Option<f64>,
    /// Share of elements that differ by no more than a rounding to eight bits (f8 e4m3), on whatever scale.
    pub eight_bits: Option<f64>,
    /// Rows as stored; 0 for vectors.
    pub rows: u64,
    /// Rows that are equal as wholes and not constant.
    pub equal_rows: u64,
    /// Blocks of such rows, as in `0-31, 40`; at most 32 of them.
    pub blocks: String,
    /// Places of the largest absolute values that were looked at, and how many both have.
    pub extremes: u64,
    pub extremes_shared: u64,
    /// Hypergeometric.
    pub extremes_log10_p: Option<f64>,
    /// Rows of one direction with one common factor, which are not equal.
    pub proportional_rows: u64,
    /// Their factor, this tensor over the reference's.
    pub ratio: Option<f64>,
    pub ratio_sd: Option<f64>,
    /// Correlation, rows centred, over all other rows.
    pub rest: Option<f64>,
}

/// One row of `evidence/lines.parquet`: one tensor of the first or the final checkpoint of which a parent has rows or columns,
/// wherever they lie there: the first 32 values of each, or all of a vector's, are equal in bf16 (METHODS 1, copies).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct LineRow {
    pub step: i64,
    pub tensor: String,
    pub component: String,
    pub family: String,
    pub layer: Option<u32>,
    pub expert: Option<u32>,
    pub reference: Reference,
    /// The parent's tensor that has most of them.
    pub like: String,
    /// Whether it is a vector, whose one line is all of it.
    pub vector: bool,
    /// Whether what it is for was deduced, and not known by its name.
    pub deduced: bool,
    /// Different lines that the parent has.
    pub lines: u64,
    /// How many of them a control has as well.
    pub controls: u64,
    /// Different lines that were compared: all of the tensor, or of a large model one in a power of two.
    pub of: u64,
}

/// One row of `evidence/matched_rows.parquet`: rows of one tensor of the first or the final checkpoint that are nearest to rows of
/// one tensor of another model, and those to them, by the even and by the odd columns alike, in another place (METHODS 3).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct MatchedRow {
    pub step: i64,
    pub tensor: String,
    pub component: String,
    pub family: String,
    pub layer: Option<u32>,
    pub expert: Option<u32>,
    pub reference: Reference,
    /// The other model's tensor.
    pub like: String,
    pub rows: u64,
    /// Rows of the tensor that were compared.
    pub of: u64,
    /// Mean cosine of the pairs, rows centred.
    pub cosine: f64,
    /// Agreements over the whole of the two models once the columns of each half have an order of their own.
    pub by_chance: u64,
}

/// One row of `evidence/row_angles.parquet`: the cosines between the rows of MLP matrices of one family in the first or the final
/// checkpoint against those in a parent or control (METHODS 3): all matrices in the same place together, which have no layer here, or two
/// matrices that stand out.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct AngleRow {
    pub step: i64,
    pub component: String,
    pub family: String,
    pub reference: Reference,
    pub layer: Option<u32>,
    pub expert: Option<u32>,
    pub layer_other: Option<u32>,
    pub expert_other: Option<u32>,
    /// Pairs of matrices of the family that were held against each other.
    pub tried: u64,
    /// Matrices that the figure is of.
    pub matrices: u64,
    /// Over all orders of the neurons of one (Mantel 1967), over several matrices Stouffer's.
    pub z: Option<f64>,
    /// Correlation of the cosines off the diagonal; of several matrices the mean.
    pub effect: Option<f64>,
    pub log10_p: Option<f64>,
}

/// One row of `evidence/start.parquet`: one tensor of the earliest checkpoint against a random draw (METHODS 4).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct StartRow {
    pub tensor: String,
    pub component: String,
    pub family: String,
    pub layer: Option<u32>,
    pub expert: Option<u32>,
    pub elements: u64,
    pub mean: Option<f64>,
    pub std: Option<f64>,
    pub excess_kurtosis: Option<f64>,
    pub max_abs: Option<f64>,
    /// The distribution that fits: `normal`, `truncated-normal` (cut at 2 standard deviations), `truncated-normal-3`,
    /// `uniform`, `orthogonal`, `scaled` (one of the former once rows and columns are brought to one scale); or what it is
    /// instead of a draw: `zero`, `constant`, `identity`, `repeated`.
    pub scheme: Option<String>,
    /// The rule that its scale follows, found over all tensors of the family.
    pub rule: Option<String>,
    /// Kolmogorov-Smirnov distance from that law, at the rule's scale or, if there is no rule, at the tensor's own.
    pub fit_distance: Option<f64>,
    /// log10 p of it, before multiplicity; milder than it is, because only levels between grid points are looked at.
    pub fit_log10_p: Option<f64>,
    /// Matrices of a stack (experts); 1 of a plain matrix.
    pub matrices: u64,
    /// Largest singular value over the Marchenko-Pastur edge.
    pub edge_ratio: Option<f64>,
    /// The same on the Tracy-Widom scale.
    pub edge_score: Option<f64>,
    /// log10 p of the edge test, before multiplicity between tensors: the larger of that of the matrix as it is and of the
    /// matrix with rows and columns brought to one scale.
    pub edge_log10_p: Option<f64>,
    /// Squared cosines between rows (or columns) against those of independent ones, standard score; rows and columns
    /// brought to one scale first.
    pub cosines_z: Option<f64>,
    pub cosines_log10_p: Option<f64>,
    /// Squared row norms against those of independent entries.
    pub row_norm_log10_p: Option<f64>,
    /// The same of the columns.
    pub column_norm_log10_p: Option<f64>,
    /// The tensor of one shape that resembles it most, among those of its layer and of the next; of a stack also one of its
    /// own matrices, as in `matrix 3 against 4`.
    pub nearest: Option<String>,
    /// Correlation with it.
    pub nearest_pearson: Option<f64>,
    /// log10 p of it, two-sided, after multiplicity over the tensors it was held against.
    pub nearest_log10_p: Option<f64>,
}

/// One row of `evidence/decay.parquet`: the rows of one tensor that no training reached, between two checkpoints (METHODS 5,
/// decay clock). Neighbours, and the first and the last.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct DecayRow {
    pub tensor: String,
    pub component: String,
    pub from_step: i64,
    pub to_step: i64,
    /// Rows that were measured, the same in all intervals.
    pub rows: u64,
    /// Rows of the tensor.
    pub of: u64,
    /// `decays`, `equal` (every bit is kept), `frozen` (by all rows of the tensor), `part` (frozen before or after, so that it
    /// may have been for a part of it), `turned`.
    pub state: String,
    /// Mean factor of the rows.
    pub ratio: Option<f64>,
    /// Its standard error.
    pub ratio_sd: Option<f64>,
    /// Smallest cosine of a row; the median where they turned.
    pub cosine: Option<f64>,
    /// How decay follows the learning rate in the prediction.
    pub law: Option<String>,
    /// Predicted factor, and how far it can be off to both sides.
    pub predicted: Option<f64>,
    pub predicted_low: Option<f64>,
    pub predicted_high: Option<f64>,
    /// Measured over predicted exponent, minus one.
    pub deviation: Option<f64>,
    /// `agrees`, `unclear`, `differs`, `blind` (a tenth more or less would not be seen).
    pub reading: Option<String>,
}

/// One row of `evidence/returned.parquet`: one row of a tensor of tokens that came back to an earlier direction.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct ReturnedRow {
    pub tensor: String,
    pub component: String,
    /// Number of the row: the token's id.
    pub row: u64,
    pub from_step: i64,
    pub away_step: i64,
    pub to_step: i64,
    /// Sine of the angle between the copies of `from_step` and `away_step`.
    pub moved: f64,
    /// The same between `from_step` and `to_step`.
    pub off: f64,
}

/// One row of `evidence/replay.parquet`: one tensor of step 0 against what the declared seed draws (METHODS 4, replay).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct ReplayRow {
    pub tensor: String,
    pub component: String,
    pub elements: u64,
    /// Elements that the recipe draws, and those that it fills with a constant.
    pub drawn: u64,
    pub constant: u64,
    /// Elements that are what the recipe says, bit for bit.
    pub equal: u64,
    /// `equal / elements`.
    pub share: Option<f64>,
    /// Elements that are it or the next number of the stored format.
    pub within_ulp: u64,
    /// Whether the equal elements show more than the recipe says freely.
    pub explained: bool,
    /// `mt19937`, `pcg64` or `threefry2x32`.
    pub generator: String,
    /// Whose roundings matched: `avx2`, `avx2-unfused`, `portable`, `portable-unfused`, `numpy`,
    /// `numpy-legacy`, `jax`, `jax-partitionable`.
    pub variant: String,
}

/// One row of `evidence/chain.parquet`: one component between two neighbouring checkpoints (METHODS 5).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct ChainRow {
    pub from_step: i64,
    pub to_step: i64,
    pub component: String,
    /// Root mean square of the displacement.
    pub rms: Option<f64>,
    /// Sum of the logged learning rates between the two.
    pub lr_sum: Option<f64>,
    /// `rms / lr_sum`.
    pub budget: Option<f64>,
    /// What the optimiser can reach of it.
    pub bound: Option<f64>,
    /// Distance of the earlier one from the chord between its neighbours, over the chord's length.
    pub off_chord: Option<f64>,
    /// Cosine of this displacement and the one before.
    pub lag1_cosine: Option<f64>,
    pub memory_z: Option<f64>,
    pub memory_effect: Option<f64>,
}

/// One row of `evidence/path.parquet`: one component, or `all`, at one checkpoint of its path (METHODS 5).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct PathRow {
    pub step: i64,
    pub component: String,
    /// Root mean square of the weights.
    pub size: Option<f64>,
    /// Scores on the first three principal components of the path, in the unit of the weights' Euclidean norm.
    pub pc1: Option<f64>,
    pub pc2: Option<f64>,
    pub pc3: Option<f64>,
    /// Shares of the variance, the same in every row of a component.
    pub share1: Option<f64>,
    pub share2: Option<f64>,
    pub share3: Option<f64>,
    /// Root mean square of the displacement from the checkpoint before, over the number of steps between.
    pub step_length: Option<f64>,
    /// Displacement over the sum of the logged learning rates, over its median along the path. Without a log over the
    /// number of steps.
    pub relative_speed: Option<f64>,
    /// Degrees between the displacement that leads here and the one that leads on.
    pub turn: Option<f64>,
    /// Cosine with the first checkpoint. This and what follows are of the matrices alone.
    pub start_cosine: Option<f64>,
    /// Coefficient of the regression on the first checkpoint.
    pub start_retained: Option<f64>,
    /// What the logged decay alone leaves of it.
    pub expected_retained: Option<f64>,
    /// The cosine that belongs to it.
    pub expected_cosine: Option<f64>,
    /// Coefficient of the regression of the displacement to here on the displacement to the checkpoint before, without the first
    /// checkpoint's direction.
    pub carried: Option<f64>,
    pub carried_cosine: Option<f64>,
}

/// One row of `evidence/calibration.parquet`: a test of the parent condition where its answer is known. A parent and a
/// control are unrelated; a parent and a copy of itself with noise of its own size are not.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct CalibrationRow {
    /// `parent:NAME`.
    pub model: String,
    /// `control:NAME`, `parent:NAME` of another parent, or `perturbed`.
    pub against: String,
    pub component: String,
    pub effect: Option<f64>,
    pub z: Option<f64>,
    pub log10_p: Option<f64>,
    pub rows: u64,
}

/// One row of `evidence/partial.parquet`: a checkpoint against a parent after what each shares with the earliest
/// checkpoint is projected out (METHODS 4).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct PartialRow {
    pub step: i64,
    pub component: String,
    pub parent: String,
    pub effect: Option<f64>,
    pub z: Option<f64>,
    pub log10_p: Option<f64>,
    pub rows: u64,
}

/// One row of `evidence/disguise.parquet`: one question that the search for a disguise asked of the final checkpoint, or of
/// what was added between two checkpoints, and one parent or control (METHODS 2.1 and 3).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct DisguiseRow {
    pub reference: Reference,
    /// `second-moments`, `order`, `rotation`, `neurons`, `experts`, `heads`, `head-products`, `head-signs` or `chosen-rows`.
    pub question: String,
    /// How the residual axis of the other model was read: `as it stands`, `permuted` or `rotated`; `any basis` where it does
    /// not matter.
    pub frame: String,
    /// Which fits or matrices were held against each other.
    pub between: String,
    pub component: String,
    /// Layers, where the row is of two layers; otherwise the row is over all of them.
    pub layer_subject: Option<u32>,
    pub layer_parent: Option<u32>,
    /// Dimensions, neurons, experts or heads on which two fits agree; of a rotation tr(Q1^T Q2).
    pub agreed: Option<f64>,
    /// What independent models show.
    pub expected: Option<f64>,
    /// Dimensions or units in all; of second moments pairs of dimensions.
    pub of: u64,
    pub z: Option<f64>,
    /// Before multiplicity.
    pub log10_p: Option<f64>,
    /// Share agreed, or correlation: of the second moments, of products across heads.
    pub effect: Option<f64>,
    /// Of those agreed, the share that are where they were.
    pub in_place: Option<f64>,
    /// Where the question was asked of what was added between two checkpoints, their steps; such rows stand behind the others.
    pub from_step: Option<i64>,
    pub to_step: Option<i64>,
}

/// One row of `evidence/tokenizers.parquet`: the subject's tokenizer against a parent's or control's. A shared tokenizer
/// is context: it does not say that weights were taken.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct TokenizerRow {
    pub reference: Reference,
    /// How it cuts words; missing where it could not be read.
    pub kind: Option<String>,
    pub reference_kind: Option<String>,
    pub tokens: u64,
    pub reference_tokens: u64,
    /// Strings that both have.
    pub shared: u64,
    pub merges: u64,
    pub reference_merges: u64,
    pub shared_merges: u64,
    /// Spearman's correlation of the order of the shared merges.
    pub merge_spearman: Option<f64>,
    /// Shared strings with one id.
    pub same_id: u64,
    /// The commonest difference of ids, the reference's less the subject's; 0 where nothing is shared.
    pub shift: i64,
    /// Share of the shared strings that have it.
    pub shift_share: Option<f64>,
    /// Of the ids below 256, how many stand for one string in both.
    pub first_256: u64,
    /// Ids from 0 that stand for one string in both.
    pub prefix: u64,
    /// How rows of the embeddings were paired: `strings` or `numbers`.
    pub rows_by: String,
    /// What could not be used, and why.
    pub note: String,
}

/// One row of `evidence/cka.parquet`: unbiased linear CKA of the query and key projections of the final checkpoint and a
/// reference, their residual axes aligned through the rows of shared tokens (METHODS 3).
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct CkaRow {
    pub reference: Reference,
    /// `attention` for the mean over the matched layers, `layer` for one pair of them, `tokens` for the token rows.
    pub part: String,
    pub layer_subject: Option<u32>,
    pub layer_reference: Option<u32>,
    pub cka: Option<f64>,
    /// The same after the reference's residual axis was relabelled at random.
    pub null_mean: Option<f64>,
    pub null_sd: Option<f64>,
    pub z: Option<f64>,
    pub log10_p: Option<f64>,
    /// Relabellings drawn.
    pub draws: u64,
    /// Token rows that aligned the axes.
    pub tokens: u64,
    /// Dimensions that were aligned.
    pub columns: u64,
}

/// One row of `evidence/merge.parquet`: the weight of one parent in the best weighted sum of all parents, over the centred
/// matrices of the final checkpoint that two or more parents have.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct MergeRow {
    /// A component, or `all`.
    pub component: String,
    /// One layer of the whole model; none for all layers.
    pub layer: Option<u32>,
    pub parent: String,
    pub weight: f64,
    /// Share of the centred squared norm that this parent explains alone.
    pub alone: f64,
    /// What it adds to the share that the others explain.
    pub gain: f64,
    /// Share that all parents explain.
    pub share: f64,
    /// What each tensor's own best sum leaves, in roundings of the subject's number format.
    pub roundings: Option<f64>,
    /// Correlation of the final checkpoint and this parent given the other parents, over the kept rows.
    pub effect: Option<f64>,
    pub z: Option<f64>,
    pub log10_p: Option<f64>,
    pub tensors: u64,
    pub elements: u64,
}
