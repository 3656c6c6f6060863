//! The states beside one checkpoint: what they are, and their elements.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::Value;

use scratchproof_checkpoint::{Checkpoint, Optimizer, ParameterState, StateTensor, TensorRecord};
use scratchproof_error::{Error, Result};
use scratchproof_kernel::{Dtype, decode};
use scratchproof_measurements::{GroupSettings, StateKind};
use scratchproof_texts::text;

/// Elements that are read at once.
const CHUNK: usize = 1 << 20;

/// Elements of a tensor that are looked at to join it to a parameter.
pub const FOR_JOINING: usize = 1 << 16;

/// What is put together from pieces is read whole, up to this many elements.
const WHOLE: usize = 1 << 26;

/// Added to the root of the second moments where a file does not say what was.
const EPS: f64 = 1e-8;

/// Names of what Adam's kind keeps and may keep; anything more is another rule.
const ADAM: [&str; 4] = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq", "master"];

/// Names of the one moment of the others.
const MOMENTUM: [&str; 3] = ["momentum_buffer", "momentum", "exp_avg"];

/// One parameter's state.
pub struct Param<'a> {
    pub optimizer: &'a Optimizer,
    pub state: &'a ParameterState,
    pub kind: StateKind,
    pub step: Option<u64>,
    pub settings: GroupSettings,
    /// Index of the tensor it is of.
    pub tensor: Option<usize>,
    /// Whether nothing else is likely.
    pub sure: bool,
}

/// The states beside one checkpoint.
pub struct Point<'a> {
    pub at: usize,
    pub checkpoint: &'a Checkpoint,
    pub params: Vec<Param<'a>>,
    pub strange: u64,
    pub groups: Vec<GroupSettings>,
    pub source: String,
}

impl<'a> Point<'a> {
    /// The states of a checkpoint; none where none lie beside it.
    pub fn open(at: usize, checkpoint: &'a Checkpoint) -> Result<Option<Self>> {
        if checkpoint.adapter.is_some() || checkpoint.uri.contains("://") {
            return Ok(None);
        }
        let optimizers = checkpoint.optimizers()?;
        let mut params: Vec<Param> = Vec::new();
        let mut groups = Vec::new();
        for optimizer in optimizers {
            let own: Vec<GroupSettings> = optimizer.groups.iter().map(settings).collect();
            for state in &optimizer.states {
                let group = state.group.and_then(|group| optimizer.groups.get(group));
                let step = state.numbers.get("step").copied().or_else(|| group?.get("step")?.as_f64());
                params.push(Param {
                    optimizer,
                    state,
                    kind: kind(state),
                    step: step.and_then(whole),
                    settings: state.group.and_then(|group| own.get(group).copied()).unwrap_or_default(),
                    tensor: None,
                    sure: false,
                });
            }
            groups.extend(own);
        }
        if params.is_empty() {
            return Ok(None);
        }
        let sources: BTreeSet<&str> = optimizers.iter().map(|optimizer| optimizer.source.as_str()).collect();
        let source = sources.into_iter().collect::<Vec<_>>().join(", ");
        Ok(Some(Self { at, checkpoint, params, strange: 0, groups, source }))
    }

    /// The number of updates, where all parameters agree.
    pub fn step(&self) -> Option<u64> {
        let mut steps = self.params.iter().filter_map(|param| param.step);
        let first = steps.next()?;
        steps.all(|step| step == first).then_some(first)
    }
}

impl Param<'_> {
    /// Some elements of one of its tensors.
    pub fn values(&self, tensor: &StateTensor, range: &Range<usize>) -> Result<Vec<f64>> {
        let bytes = self.optimizer.part(tensor, range.clone())?;
        let mut values = vec![0.0; range.len()];
        decode(tensor.dtype(), &bytes, &mut values);
        Ok(values)
    }

    /// The two decay rates; with them the moments can be set right for their beginning.
    pub fn betas(&self) -> Option<[f64; 2]> {
        self.settings.betas
    }

    /// What the weights are moved by for a rate of 1: -m / (sqrt(v) + eps), the moments corrected for their beginning
    /// where that is known; of one moment itself, or its sign.
    pub fn direction(&self, range: &Range<usize>) -> Result<Option<Vec<f64>>> {
        let Some(m) = first(self) else { return Ok(None) };
        let m_values = self.values(m, range)?;
        if self.kind == StateKind::Momentum {
            let signed = !self.state.tensors.contains_key("momentum_buffer");
            return Ok(Some(m_values.into_iter().map(|m| if signed && m != 0.0 { -m.signum() } else { -m }).collect()));
        }
        let v = self.state.tensors.get("max_exp_avg_sq").or_else(|| self.state.tensors.get("exp_avg_sq"));
        let Some(v) = v.filter(|_| self.kind == StateKind::Adam) else { return Ok(None) };
        let corrected = |beta: f64| self.step.map_or(1.0, |step| 1.0 - beta.powf(step as f64));
        let [c1, c2] = self.betas().map_or([1.0; 2], |betas| betas.map(corrected));
        let eps = self.settings.eps.unwrap_or(EPS);
        let one = |(m, v): (f64, f64)| {
            let root = (v / c2).max(0.0).sqrt() + eps;
            if m == 0.0 || root == 0.0 { 0.0 } else { -(m / c1) / root }
        };
        Ok(Some(m_values.into_iter().zip(self.values(v, range)?).map(one).collect()))
    }
}

/// The first moment, or the only one.
pub fn first<'p>(param: &'p Param<'_>) -> Option<&'p StateTensor> {
    let name = match param.kind {
        StateKind::Adam => "exp_avg",
        StateKind::Momentum => MOMENTUM.into_iter().find(|name| param.state.tensors.contains_key(*name))?,
        StateKind::Other => return None,
    };
    param.state.tensors.get(name).filter(|tensor| readable(tensor))
}

/// Whether it can be read in parts, or whole without much memory.
pub fn readable(tensor: &StateTensor) -> bool {
    tensor.is_run() || tensor.elements() <= WHOLE
}

/// Ranges of whole rows; all in one where reading a part costs as much as reading all.
pub fn chunks(tensor: &StateTensor, row: usize) -> Vec<Range<usize>> {
    let elements = tensor.elements();
    let size = if tensor.is_run() { (CHUNK / row.max(1)).max(1) * row.max(1) } else { elements.max(1) };
    (0..elements.div_ceil(size)).map(|at| at * size..((at + 1) * size).min(elements)).collect()
}

/// Some elements of a tensor of a checkpoint.
pub fn weights(checkpoint: &Checkpoint, tensor: &TensorRecord, range: &Range<usize>) -> Result<Vec<f64>> {
    let width = tensor.dtype.width();
    let Some(shard) = checkpoint.shards.get(tensor.shard) else {
        return Err(Error::usage(text!("error-measure/point/no-such-shard", uri = &checkpoint.uri)));
    };
    let bytes = shard.blob.bytes(tensor.offset + (range.start * width) as u64, range.len() * width)?;
    let mut values = vec![0.0; range.len()];
    decode(tensor.dtype, &bytes, &mut values);
    Ok(values)
}

/// Half a unit of the last place, relative to the value.
pub fn half_unit(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::Bf16 => 2f64.powi(-8),
        Dtype::F16 => 2f64.powi(-11),
        Dtype::F64 => 2f64.powi(-53),
        Dtype::F32 => 2f64.powi(-24),
        _ => 2f64.powi(-3),
    }
}

/// Whether its numbers are floating-point ones of full width.
pub fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::Bf16 | Dtype::F16 | Dtype::F32 | Dtype::F64)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a whole number below 2^53")]
fn whole(number: f64) -> Option<u64> {
    ((0.0..=9e15).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

fn kind(state: &ParameterState) -> StateKind {
    let names = || state.tensors.iter().filter(|(_, tensor)| !tensor.shape().is_empty()).map(|(name, _)| name.as_str());
    let float = state.tensors.values().all(|tensor| is_float(tensor.dtype()));
    let has = |name: &str| state.tensors.contains_key(name);
    // NAdam keeps a number more; what keeps other tensors is another rule (Shampoo, Prodigy, schedule-free).
    if !float || state.numbers.contains_key("mu_product") {
        StateKind::Other
    } else if has("exp_avg") && has("exp_avg_sq") && names().all(|name| ADAM.contains(&name)) {
        StateKind::Adam
    } else if names().filter(|name| *name != "master").count() == 1 && MOMENTUM.into_iter().any(has) {
        StateKind::Momentum
    } else {
        StateKind::Other
    }
}

fn settings(group: &Value) -> GroupSettings {
    let number = |name: &str| group.get(name).and_then(Value::as_f64).filter(|number| number.is_finite());
    let betas = group.get("betas").and_then(|betas| Some([betas.get(0)?.as_f64()?, betas.get(1)?.as_f64()?]));
    GroupSettings {
        rate: number("lr"),
        betas: betas.filter(|betas| betas.iter().all(|beta| (0.0..1.0).contains(beta))),
        eps: number("eps").filter(|eps| *eps >= 0.0),
        decay: number("weight_decay"),
        decoupled: group.get("decoupled_weight_decay").and_then(Value::as_bool),
        momentum: number("momentum"),
    }
}
