//! From the text of the data files to templates.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use super::{Architecture, Architectures, Arrangement, Hole, Split, Template};
use crate::{Component, Residual};
use scratchproof_error::{Error, Result};
use scratchproof_texts::{Text, text};

/// A file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    model_types: Vec<String>,
    extends: Option<String>,
    #[serde(default)]
    common: bool,
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default)]
    only_in: Vec<String>,
    tensor: Vec<WrittenTensor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTensor {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    component: WrittenComponent,
    family: String,
    residual: WrittenResidual,
    bias: Option<WrittenResidual>,
    #[serde(default)]
    constant: bool,
    split: Option<Arrangement>,
    #[serde(default)]
    parts: Vec<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrittenComponent {
    Embedding,
    Attention,
    Mlp,
    Experts,
    Router,
    Norms,
    Head,
    Other,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrittenResidual {
    Rows,
    Columns,
    First,
    Vector,
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTowers {
    /// First part of the names of a tower.
    towers: Vec<String>,
    /// What may stand before it.
    outer: Vec<String>,
}

pub(super) fn parse(sources: &[(&str, &str)], towers: &str) -> Result<Architectures> {
    let mut written = BTreeMap::new();
    for (name, text) in sources {
        let file: Written = toml::from_str(text).map_err(|error| wrong(name, error.to_string()))?;
        if written.insert(*name, file).is_some() {
            return Err(wrong(name, text!("error-checkpoint/parse/two")));
        }
    }
    let mut list = Vec::new();
    for (name, file) in &written {
        let mut architecture = Architecture {
            name: (*name).to_owned(),
            model_types: file.model_types.clone(),
            common: file.common,
            given: false,
            prefixes: Vec::new(),
            only_in: file.only_in.clone(),
            templates: HashMap::new(),
        };
        let mut next = Some(file);
        // Each step goes to another file of the finite list, or the chain is a circle.
        for _ in 0..=written.len() {
            let Some(file) = next else { break };
            add(&mut architecture, file).map_err(|what| wrong(name, what))?;
            next = match file.extends.as_deref() {
                None => None,
                Some(base) => Some(
                    written
                        .get(base)
                        .ok_or_else(|| wrong(name, text!("error-checkpoint/parse/extends-unknown-one")))?,
                ),
            };
        }
        if next.is_some() {
            return Err(wrong(name, text!("error-checkpoint/parse/extends-itself")));
        }
        architecture.prefixes.push(String::new());
        architecture.prefixes.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        architecture.prefixes.dedup();
        list.push(architecture);
    }
    let towers: WrittenTowers = toml::from_str(towers).map_err(|error| wrong("towers", error.to_string()))?;
    Ok(Architectures { list, towers: towers.towers, outer: towers.outer })
}

fn wrong(name: &str, what: impl Into<Text>) -> Error {
    Error::input(text!("error-checkpoint/parse/architecture", name, what = what.into()))
}

/// Adds one file's templates; those that are there already stay.
fn add(architecture: &mut Architecture, file: &Written) -> Result<(), Text> {
    architecture.prefixes.extend(file.prefixes.iter().cloned());
    let mut own = BTreeMap::new();
    for tensor in &file.tensor {
        for name in std::iter::once(&tensor.name).chain(&tensor.aliases) {
            for (name, template) in expand(name, tensor)? {
                let (key, holes) = key_and_holes(&name)?;
                if own.insert(key, Template { holes, ..template }).is_some() {
                    return Err(text!("error-checkpoint/parse/name-twice", name));
                }
            }
        }
    }
    for (key, template) in own {
        architecture.templates.entry(key).or_insert(template);
    }
    Ok(())
}

/// The tensor itself, its bias, and the scales that stand beside an 8-bit weight.
fn expand(name: &str, tensor: &WrittenTensor) -> Result<Vec<(String, Template)>, Text> {
    let split = split(tensor)?;
    let template = |suffix: &str, residual: WrittenResidual| Template {
        holes: Vec::new(),
        component: tensor.component.into(),
        family: format!("{}{suffix}", tensor.family),
        residual: residual.into(),
        constant: tensor.constant,
        split: split.as_ref().filter(|_| suffix != ".scale" && suffix != ".input_scale").map(|split| {
            let families = split.families.iter().map(|family| format!("{family}{suffix}")).collect();
            Arc::new(Split { families, ..*split })
        }),
    };
    let mut all = vec![(name.to_owned(), template("", tensor.residual))];
    for scale in ["_scale_inv", "_scale"] {
        all.push((format!("{name}{scale}"), template(".scale", WrittenResidual::None)));
    }
    if let Some(stem) = name.strip_suffix(".weight") {
        let input = Template { constant: true, ..template(".input_scale", WrittenResidual::None) };
        all.push((format!("{stem}.input_scale"), input));
        if let Some(bias) = tensor.bias {
            all.push((format!("{stem}.bias"), template(".bias", bias)));
        }
    }
    Ok(all)
}

/// What a tensor is split into, if the two keys that say so make sense together.
fn split(tensor: &WrittenTensor) -> Result<Option<Split>, Text> {
    let families = tensor.parts.clone();
    let wrong = |what: Text| Err(text!("error/place/inside", place = &tensor.name, what));
    match (tensor.split, families.len()) {
        (None, 0) => Ok(None),
        (None, _) => wrong(text!("error-checkpoint/parse/parts-no-split")),
        (Some(Arrangement::Experts), 0) => Ok(Some(Split { arrangement: Arrangement::Experts, families })),
        (Some(Arrangement::Experts), _) => wrong(text!("error-checkpoint/parse/experts-all-tensor-s")),
        (Some(_), 0 | 1) => wrong(text!("error-checkpoint/parse/split-needs-two-parts")),
        (Some(Arrangement::Groups), _) if families != ["q_proj", "k_proj", "v_proj"] => {
            wrong(text!("error-checkpoint/parse/groups-q-proj-k"))
        }
        (Some(arrangement), _) => Ok(Some(Split { arrangement, families })),
    }
}

fn key_and_holes(name: &str) -> Result<(String, Vec<Hole>), Text> {
    let mut holes = Vec::new();
    let mut parts = Vec::new();
    for part in name.split('.') {
        match part {
            "{layer}" => holes.push(Hole::Layer),
            "{expert}" => holes.push(Hole::Expert),
            "{index}" => holes.push(Hole::Index),
            _ if part.is_empty() || part.contains(['{', '}']) || part.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(text!("error-checkpoint/parse/part-cannot-be", name, part = format!("{part:?}")));
            }
            _ => {
                parts.push(part);
                continue;
            }
        }
        parts.push("{}");
    }
    let twice = |hole: &Hole| *hole != Hole::Index && holes.iter().filter(|other| *other == hole).count() > 1;
    if holes.iter().any(twice) {
        return Err(text!("error-checkpoint/parse/hole-twice", name));
    }
    Ok((parts.join("."), holes))
}

impl From<WrittenComponent> for Component {
    fn from(written: WrittenComponent) -> Self {
        match written {
            WrittenComponent::Embedding => Self::Embedding,
            WrittenComponent::Attention => Self::Attention,
            WrittenComponent::Mlp => Self::Mlp,
            WrittenComponent::Experts => Self::Experts,
            WrittenComponent::Router => Self::Router,
            WrittenComponent::Norms => Self::Norms,
            WrittenComponent::Head => Self::Head,
            WrittenComponent::Other => Self::Other,
        }
    }
}

impl From<WrittenResidual> for Residual {
    fn from(written: WrittenResidual) -> Self {
        match written {
            WrittenResidual::Rows => Self::Rows,
            WrittenResidual::Columns => Self::Columns,
            WrittenResidual::First => Self::First,
            WrittenResidual::Vector => Self::Vector,
            WrittenResidual::None => Self::None,
        }
    }
}
