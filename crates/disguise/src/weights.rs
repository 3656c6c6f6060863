//! A model taken apart for the search: the matrices of each layer, norm weights folded in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::culprit::Culprit;
use super::earlier::Earlier;
use super::guess;
use super::latent::Latent;
use super::matrix::{Function, Matrix, ROWS, Slot, spread};
use super::moments::LayerMoments;
use super::products::Products;
use scratchproof_checkpoint::{Checkpoint, Component, Heads, Part, Residual};
use scratchproof_error::{Context, Result};

/// Of a model that is too large to be looked at whole, the rows of every matrix that second moments are made of; of experts
/// so many of all experts of a layer together, an equal share of each.
const GLANCED: (usize, usize) = (256, 2048);

/// Rows of a token matrix that are looked at.
const TOKENS: usize = 8192;

/// A model with no more elements than this in the rows that may be looked at is looked at whole: 256 MiB as f32. A larger
/// one is too, every layer and every expert of it, but with fewer rows of each.
const ELEMENTS: usize = 64 << 20;

/// Experts of a layer up to which all their rows may be looked at.
pub const EXPERTS: usize = 16;

/// Of matrices that are stored turned one in so many is looked at in a large model where many are added up; of those of experts
/// at most so many in a layer.
const TURNED_OF: (u32, u32) = (8, 4);

/// Model types, by their beginning, that store a norm's multipliers less one.
const LESS_ONE: &[&str] = &["gemma", "paligemma", "recurrent_gemma", "nemotron", "qwen3_next"];

/// For every token row of the subject, the row of the other model that means the same token.
pub type TokenRows = Vec<Option<u32>>;

/// One model, opened for a search. Matrices are read when they are asked for.
pub struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    /// The same model for matrices that are stored turned, of which every question reads all to see some rows.
    turned: Checkpoint,
    /// Length of the residual axis.
    pub hidden: usize,
    /// The matrices of every layer.
    layers: BTreeMap<u32, BTreeMap<Function, Part>>,
    /// Attention of stacks that are no layers of one row of layers (encoders, decoders, what stands between them): numbered on
    /// behind the layers, stack after stack.
    stacks: BTreeMap<u32, BTreeMap<Function, Part>>,
    embedding: Option<Part>,
    head: Option<Part>,
    /// Norm weights by family and layer, ready to be multiplied.
    norms: BTreeMap<(String, Option<u32>), Vec<f32>>,
    /// Sizes of the heads, where they are known.
    pub heads: Option<Heads>,
    /// What stands between ranks and heads in the layers that have latent attention.
    pub(super) latent: BTreeMap<u32, Latent>,
    /// Whether no template knows its layers: what their matrices are for was guessed.
    pub generic: bool,
    /// Whether fewer rows of each matrix are looked at than it may have.
    pub large: bool,
    /// Second moments of every layer, once they were made.
    pub moments: OnceLock<LayerMoments>,
    /// Products of the heads, once they were made.
    pub products: OnceLock<Option<Products>>,
    /// Elements that may be looked at.
    budget: usize,
    /// Where it is a model in disguise, how it is written.
    culprit: Option<Culprit>,
    /// Where it is what training added to an earlier checkpoint, that checkpoint.
    earlier: Option<Earlier<'a>>,
    /// Of a model in disguise, what was made of it: question after question asks for the same rows.
    held: Mutex<Held>,
}

/// Matrices that were made, up to so many elements together.
#[derive(Default)]
struct Held {
    elements: usize,
    matrices: BTreeMap<Asked, Arc<Option<Matrix>>>,
}

/// Rows of a part: its tensor, its family and expert, which rows.
type Asked = (usize, String, Option<u32>, Vec<usize>);

/// Elements that a model in disguise holds: 40 MiB as f32.
const HELD: usize = 10 << 20;

/// Bytes of matrices that are stored turned which stay in memory: a second question does not read them again.
const TURNED: usize = 32 << 20;

impl<'a> Weights<'a> {
    /// Takes a model apart; `None` if it has no layer with a residual axis.
    ///
    /// # Errors
    /// If norm weights cannot be read.
    pub fn new(checkpoint: &'a Checkpoint) -> Result<Option<Self>> {
        Self::opened(checkpoint, checkpoint.held(TURNED))
    }

    /// The same of a model that stays in memory anyway.
    ///
    /// # Errors
    /// If norm weights cannot be read.
    pub fn in_memory(checkpoint: &'a Checkpoint) -> Result<Option<Self>> {
        Self::opened(checkpoint, checkpoint.shared())
    }

    fn opened(checkpoint: &'a Checkpoint, turned: Checkpoint) -> Result<Option<Self>> {
        let Some(hidden) = checkpoint.hidden_size() else { return Ok(None) };
        let mut own = Self {
            checkpoint,
            turned,
            hidden,
            layers: BTreeMap::new(),
            stacks: BTreeMap::new(),
            embedding: None,
            head: None,
            norms: BTreeMap::new(),
            heads: checkpoint.heads(),
            latent: BTreeMap::new(),
            generic: false,
            large: false,
            moments: OnceLock::new(),
            products: OnceLock::new(),
            budget: ELEMENTS,
            culprit: None,
            earlier: None,
            held: Mutex::default(),
        };
        // Matrices that no template knows, of layers and outside them.
        let mut strange: BTreeMap<Option<u32>, Vec<Part>> = BTreeMap::new();
        let mut stacks: BTreeMap<(String, u32), BTreeMap<Function, Part>> = BTreeMap::new();
        for part in checkpoint.parts() {
            let role = &part.role;
            // Of drawn rows there are no whole heads.
            if role.tower.is_empty() && checkpoint.sample.is_none() && Latent::note(&mut own.latent, &part) {
                continue;
            }
            if !role.tower.is_empty() || !part.residual || part.cols != hidden {
                continue;
            }
            if role.component == Component::Norms && part.rows == 1 && role.family.strip_suffix(".bias").is_none() {
                let weights = own.multipliers(&part)?;
                own.norms.insert((role.family.clone(), role.layer), weights);
            } else if let (Some(function), Some(layer)) = (Function::of(&part), role.layer) {
                own.layers.entry(layer).or_default().entry(function).or_insert(part);
            } else if role.family == "embedding" && role.layer.is_none() {
                own.embedding = Some(part);
            } else if role.family == "head" && role.layer.is_none() {
                own.head = Some(part);
            } else if !role.constant && part.rows > 1 && role.residual != Residual::First {
                if let (Some((stack, function)), Some(layer)) = (Function::of_stack(role), role.layer) {
                    let own = stacks.entry((stack.to_owned(), layer)).or_default();
                    own.entry(function).or_insert_with(|| part.clone());
                }
                // The rows of a convolution are channels of another layer, which may stand in any order of their own.
                strange.entry(role.layer).or_default().push(part);
            }
        }
        if own.layers.is_empty() {
            for (layer, parts) in strange {
                if let Some(layer) = layer {
                    own.generic = true;
                    own.layers.insert(layer, guess::functions(&parts).into_iter().zip(parts).rev().collect());
                } else {
                    (own.embedding, own.head) = guess::tables(parts, own.embedding, own.head);
                }
            }
        }
        let behind = own.layers.keys().last().map_or(0, |last| last + 1);
        own.stacks =
            (behind..).zip(stacks.into_values().filter(|stack| stack.len() == Function::ATTENTION.len())).collect();
        let own = own.within(ELEMENTS);
        Ok((!own.layers.is_empty()).then_some(own))
    }

    /// The same model as somebody would write it who wants it not to be found. Both it and the model that it is held against
    /// are looked at within `budget` elements.
    ///
    /// # Errors
    /// If norm weights cannot be read.
    pub fn disguised(checkpoint: &'a Checkpoint, culprit: Culprit, budget: usize) -> Result<Option<Self>> {
        let Some(own) = Self::in_memory(checkpoint)? else { return Ok(None) };
        let mut own = own.within(budget);
        let order = culprit.layers(&own.layers(), &own.sample());
        let place = |old: u32| order.iter().find(|(_, from)| **from == old).map_or(old, |(new, _)| *new);
        own.layers = std::mem::take(&mut own.layers).into_iter().map(|(old, layer)| (place(old), layer)).collect();
        own.latent = std::mem::take(&mut own.latent).into_iter().map(|(old, latent)| (place(old), latent)).collect();
        own.norms = std::mem::take(&mut own.norms)
            .into_iter()
            .map(|((family, layer), values)| ((family, layer.map(place)), values))
            .collect();
        if culprit.another_vocabulary() {
            (own.embedding, own.head) = (None, None);
        }
        own.hidden = culprit.hidden(own.hidden);
        let drawn = checkpoint.sample.as_ref().filter(|sample| sample.tensors > 0);
        own.culprit = Some(culprit.drawn(drawn.map(|sample| sample.sampling.share)));
        Ok(Some(own))
    }

    /// What was added between two checkpoints, as a model of its own: the later one less what it keeps of the earlier one,
    /// matrix by matrix, with the norm weights of the later one.
    ///
    /// # Errors
    /// If norm weights cannot be read.
    pub fn added(earlier: &'a Checkpoint, later: &'a Checkpoint) -> Result<Option<Self>> {
        Ok(Self::new(later)?.map(|own| Self { earlier: Some(Earlier::new(earlier)), ..own }))
    }

    /// Whether it is what was added between two checkpoints.
    pub fn is_added(&self) -> bool {
        self.earlier.is_some()
    }

    /// The same model within so many elements.
    pub fn within(mut self, budget: usize) -> Self {
        self.budget = budget;
        self.large = self.cost() > budget || self.most_experts() > EXPERTS;
        self
    }

    /// Whether it is only glanced at: a first look stands for all, which may see less than the search would and never more.
    pub fn glance(&self) -> bool {
        self.budget < ELEMENTS
    }

    /// Elements of the rows that may be looked at.
    fn cost(&self) -> usize {
        self.layers.values().flatten().map(|(_, part)| part.rows.min(ROWS) * part.cols).sum()
    }

    /// The multipliers of a norm. Gemma stores them less one.
    pub(super) fn multipliers(&self, part: &Part) -> Result<Vec<f32>> {
        let mut weights = self.checkpoint.matrix(part).context(|| self.checkpoint.uri.clone())?;
        let config = self.checkpoint.config.as_ref();
        let named = |config: &serde_json::Value| config.get("model_type")?.as_str().map(str::to_owned);
        let family = config.and_then(named).or_else(|| self.checkpoint.architecture.clone()).unwrap_or_default();
        if LESS_ONE.iter().any(|prefix| family.starts_with(prefix)) {
            for weight in &mut weights {
                *weight += 1.0;
            }
        }
        Ok(weights)
    }

    /// The numbers under which [`Weights::rows_of`] knows attention: of the layers, or of stacks.
    pub fn attentions(&self) -> Vec<u32> {
        if self.stacks.is_empty() { self.layers() } else { self.stacks.keys().copied().collect() }
    }

    fn part(&self, layer: u32, function: Function) -> Option<&Part> {
        let own = self.layers.get(&layer).or_else(|| self.stacks.get(&layer));
        own.and_then(|own| own.get(&function))
    }

    /// The layers, ascending.
    pub fn layers(&self) -> Vec<u32> {
        self.layers.keys().copied().collect()
    }

    /// The most experts that a layer has.
    pub fn most_experts(&self) -> usize {
        self.layers.keys().map(|layer| self.experts(*layer).len()).max().unwrap_or(0)
    }

    /// Rows of a matrix that second moments are made of.
    pub fn glanced(&self, layer: u32, function: Function) -> usize {
        match function.slot() {
            _ if !self.large => ROWS,
            Some(Slot::Expert(_)) => (GLANCED.1 / self.experts(layer).len().max(1)).max(8),
            _ => GLANCED.0,
        }
    }

    /// The layers that are looked at: all of them, but for what is made up to be found, which costs no more than it may.
    pub fn looked(&self) -> Vec<u32> {
        if self.glance() { self.sample() } else { self.layers() }
    }

    /// As many layers as may be looked at, spread evenly.
    pub fn sample(&self) -> Vec<u32> {
        let layers = self.layers();
        let cost = |layer: &u32| -> usize {
            let functions = &self.layers[layer];
            let looked = |f: &Function| !matches!(f.slot(), Some(Slot::Expert(e)) if e as usize >= EXPERTS);
            functions.iter().filter(|(f, _)| looked(f)).map(|(_, p)| p.rows.min(ROWS) * p.cols).sum()
        };
        let total: usize = layers.iter().map(cost).sum();
        if total <= self.budget {
            return layers;
        }
        let wanted = (self.budget / (total / layers.len()).max(1)).clamp(2, layers.len());
        spread(layers.len(), wanted).into_iter().map(|i| layers[i]).collect()
    }

    /// The experts of a layer.
    pub fn experts(&self, layer: u32) -> BTreeSet<u32> {
        let expert = |f: &Function| match f.slot() {
            Some(Slot::Expert(e)) => Some(e),
            _ => None,
        };
        self.layers.get(&layer).map_or(BTreeSet::new(), |l| l.keys().filter_map(expert).collect())
    }

    /// The functions of a layer.
    pub fn functions(&self, layer: u32) -> BTreeSet<Function> {
        self.layers.get(&layer).map_or(BTreeSet::new(), |l| l.keys().copied().collect())
    }

    /// Those of them that sums over many matrices are made of. Some rows of a matrix that is stored turned cost as much as all
    /// of it: of a large model one in [`TURNED_OF`] of these takes part, another one in every layer.
    pub fn in_sums(&self, layer: u32) -> BTreeSet<Function> {
        let Some(functions) = self.layers.get(&layer) else { return BTreeSet::new() };
        let number = |function: &Function| match function.slot() {
            Some(Slot::Expert(expert)) => expert,
            _ => 0,
        };
        let experts = u32::try_from(self.experts(layer).len()).unwrap_or(u32::MAX);
        let of = |function: &Function| match function.slot() {
            Some(Slot::Expert(_)) => TURNED_OF.0.max(experts / TURNED_OF.1),
            _ => TURNED_OF.0,
        };
        let takes_part = |(function, part): &(&Function, &Part)| {
            !(self.large && part.is_turned()) || (layer + number(function)).is_multiple_of(of(function))
        };
        functions.iter().filter(takes_part).map(|(function, _)| *function).collect()
    }

    /// Whether the third matrix of an MLP costs as much as all of it and is left out until the other two agree on something.
    pub fn spares(&self, layer: u32, slot: Slot) -> bool {
        let has = |function: Function| self.layers.get(&layer).and_then(|own| own.get(&function));
        self.large
            && has(Function::Down(slot)).is_some_and(Part::is_turned)
            && has(Function::Gate(slot)).is_some()
            && has(Function::Up(slot)).is_some()
    }

    /// Rows of a matrix in the file, and how many of them are looked at.
    pub fn size(&self, layer: u32, function: Function) -> Option<usize> {
        Some(self.rows(self.part(layer, function)?, Some(function)))
    }

    fn rows(&self, part: &Part, function: Option<Function>) -> usize {
        self.culprit.as_ref().map_or(part.rows, |culprit| culprit.rows(part.rows, function))
    }

    /// A matrix of a layer with the norm weights in front of it folded in; `None` if there is none that is usable.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn matrix(&self, layer: u32, function: Function) -> Result<Option<Matrix>> {
        self.matrix_of(layer, function, ROWS)
    }

    /// The same with no more than so many rows.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn matrix_of(&self, layer: u32, function: Function, most: usize) -> Result<Option<Matrix>> {
        let Some(part) = self.part(layer, function) else { return Ok(None) };
        let whole = self.heads.as_ref().map_or(1, |h| h.dim);
        let block =
            if function.component() == Component::Attention.name() && part.rows % whole == 0 { whole } else { 1 };
        let blocks = self.rows(part, Some(function)) / block;
        let picked: Vec<usize> = spread(blocks, (most.min(ROWS) / block).max(1))
            .into_iter()
            .flat_map(|b| b * block..(b + 1) * block)
            .collect();
        self.read(part, Some(function), picked, self.before(layer, function))
    }

    /// Of the rows of an MLP's matrix that are looked at with `most` of them, only `few`, spread evenly: rows that the other
    /// side has too if nothing was moved.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn few_of(&self, layer: u32, function: Function, most: usize, few: usize) -> Result<Option<Matrix>> {
        let Some(part) = self.part(layer, function) else { return Ok(None) };
        let rows = spread(part.rows, most.clamp(1, ROWS));
        let picked: Vec<usize> = spread(rows.len(), few.max(1)).into_iter().map(|at| rows[at]).collect();
        self.read(part, Some(function), picked, self.before(layer, function))
    }

    /// These rows of a matrix that has `total` of them, in this order, the norm weights in front folded in;
    /// `None` if there is none of that length that is usable.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn rows_of(&self, layer: u32, function: Function, rows: Vec<usize>, total: usize) -> Result<Option<Matrix>> {
        let Some(part) = self.part(layer, function) else { return Ok(None) };
        if self.rows(part, Some(function)) != total {
            return Ok(None);
        }
        self.read(part, Some(function), rows, self.before(layer, function))
    }

    /// The embedding and then the head, rows that mean the same token beside each other: this model's, the other's.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn tokens(
        &self,
        other: &Weights<'_>,
        rows: Option<&TokenRows>,
        most: usize,
        each: &mut dyn FnMut(&Matrix, &Matrix),
    ) -> Result<()> {
        // What rows of tokens learnt in between says nothing of another model's axis.
        if self.is_added() {
            return Ok(());
        }
        for (own, theirs, norm) in
            [(&self.embedding, &other.embedding, None), (&self.head, &other.head, Some("final_norm"))]
        {
            let (Some(own), Some(theirs)) = (own, theirs) else { continue };
            let mut known: Vec<(usize, usize)> = match rows {
                Some(rows) => rows.iter().enumerate().filter_map(|(i, j)| Some((i, (*j)? as usize))).collect(),
                None => (0..own.rows.min(theirs.rows)).map(|i| (i, i)).collect(),
            };
            known.retain(|(i, j)| *i < own.rows && *j < theirs.rows);
            let mut chosen: Vec<(usize, usize)> =
                spread(known.len(), most.min(TOKENS)).into_iter().map(|i| known[i]).collect();
            chosen.sort_unstable();
            let (a, b): (Vec<usize>, Vec<usize>) = chosen.into_iter().unzip();
            let fold = |model: &Weights<'_>| norm.and_then(|n| model.norms.get(&(n.to_owned(), None)).cloned());
            if let (Some(a), Some(b)) =
                (self.read(own, None, a, fold(self))?, other.read(theirs, None, b, fold(other))?)
                && a.rows() > 2
            {
                each(&a, &b);
            }
        }
        Ok(())
    }

    /// The norm weights that multiply what a matrix reads.
    pub fn before(&self, layer: u32, function: Function) -> Option<Vec<f32>> {
        let family = match function {
            Function::Query | Function::Key | Function::Value => "input_norm",
            Function::Router | Function::Gate(_) | Function::Up(_) => "post_attention_norm",
            Function::Output | Function::Down(_) | Function::Other(..) => return None,
        };
        // A norm behind the attention is one in front of the MLP only where there is one in front of the attention too.
        let pre_norm = self.norms.contains_key(&("input_norm".to_owned(), Some(layer)));
        pre_norm.then(|| self.norms.get(&(family.to_owned(), Some(layer))).cloned()).flatten()
    }

    /// The norm weights in front of the head.
    pub fn before_head(&self) -> Option<Vec<f32>> {
        self.norms.get(&("final_norm".to_owned(), None)).cloned()
    }

    fn read(
        &self,
        part: &Part,
        function: Option<Function>,
        picked: Vec<usize>,
        fold: Option<Vec<f32>>,
    ) -> Result<Option<Matrix>> {
        if self.culprit.is_none() {
            return self.made(part, function, picked, fold);
        }
        let held = || self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = (part.tensor, part.role.family.clone(), part.role.expert, picked.clone());
        let known = held().matrices.get(&asked).cloned();
        if let Some(known) = known {
            return Ok(known.as_ref().clone());
        }
        let matrix = self.made(part, function, picked, fold)?;
        let size = matrix.as_ref().map_or(0, |matrix| matrix.values.len());
        let mut held = held();
        if held.elements + size <= HELD && held.matrices.insert(asked, Arc::new(matrix.clone())).is_none() {
            held.elements += size;
        }
        Ok(matrix)
    }

    /// These rows of a matrix behind ranks, as this model has them; `None` where an earlier checkpoint has no such part.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn behind(&self, part: &Part, rows: &[usize]) -> Result<Option<Vec<f32>>> {
        Ok(self.stored(part, rows)?.map(|values| match &self.culprit {
            Some(_) => Culprit::weakened(part, rows, &values),
            None => values,
        }))
    }

    /// These rows of a part, less what they keep of an earlier checkpoint; `None` where that has no such part.
    fn stored(&self, part: &Part, rows: &[usize]) -> Result<Option<Vec<f32>>> {
        let from = if part.is_turned() { &self.turned } else { self.checkpoint };
        let mut values = from.rows_of(part, rows).context(|| self.checkpoint.uri.clone())?;
        let there = self.earlier.as_ref().map_or(Ok(true), |earlier| earlier.leave(part, rows, &mut values))?;
        Ok(there.then_some(values))
    }

    fn made(
        &self,
        part: &Part,
        function: Option<Function>,
        picked: Vec<usize>,
        fold: Option<Vec<f32>>,
    ) -> Result<Option<Matrix>> {
        let sources = self.culprit.as_ref().map(|culprit| culprit.sources(part, function, &picked, self.heads));
        let wanted: Vec<usize> = sources.iter().flatten().flatten().copied().collect();
        let read = if sources.is_some() { &wanted } else { &picked };
        let Some(mut values) = self.stored(part, read)? else { return Ok(None) };
        if let Some(fold) = fold.filter(|f| f.len() == part.cols) {
            for row in values.chunks_exact_mut(part.cols) {
                row.iter_mut().zip(&fold).for_each(|(v, f)| *v *= f);
            }
        }
        let (mut cols, total) = (part.cols, self.rows(part, function));
        if let (Some(culprit), Some(sources)) = (&self.culprit, sources) {
            values = culprit.write(part, &sources, &picked, &values);
            cols = culprit.hidden(cols);
        }
        let matrix = Matrix { cols, picked, total, values };
        Ok(matrix.usable().then_some(matrix))
    }
}
