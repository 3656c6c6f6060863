//! The search: questions asked of two models, and what the answers say of how one is written in the other.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::alike::alike;
use super::angles::Matched;
use super::found::Found;
use super::frame::{Agreement, Frame, MANY, fixed};
use super::heads::{is_latent, kept as heads_of, seen};
use super::layer::{Look, Side, chosen, in_rows, layer_moments, moments_of, partners, stands_out};
use super::matrix::{Function, ROWS, Slot};
use super::moments::{Moments, whole};
use super::units::{Matching, expressed, heads, neurons, overlaps, together};
use super::weights::{TokenRows, Weights};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;
use scratchproof_measurements::{BY_TOKENS, HeadMatch, IN_PLACE, Looked, Observation, Question, SearchRules};
use scratchproof_stats::{Mantel, mantel};

/// Rows of a matrix and tokens that the first fits of a long residual axis look at, by estimate enough for exact copies (not measured);
/// where they show anything the fits are made again with all.
const COARSE: (usize, usize) = (512, 2048);

/// The same for a parent that was made up to be found.
const FIRST: (usize, usize) = (256, 1024);

/// Heads that are enough to say whether those of a parent that was made up are found.
const HEADS: usize = 32;

/// Products of numbers that the matching of neurons may cost in one frame before anything is found; beyond, fewer rows of
/// every MLP of every layer are looked at ([`Look::at`]).
const MATCHED: f64 = 2e10;

/// The same for a parent that was made up to be found.
const GLANCED: f64 = 2e8;

/// What it may cost once something is found, for the relabelling of every neuron; beyond, those looked at stand for all.
const RELABELLED: f64 = 1e12;

/// The group of token rows among those that are fitted.
pub(super) const TOKENS: usize = 6;

/// Heads and experts are few; an order of theirs counts from this.
const FEW_LOG10_P: f64 = -3.0;

/// Asks every question of two models. Fixed rules decide what is looked at further, never the policy of a case.
///
/// # Errors
/// If weights cannot be read.
pub fn search(own: &Checkpoint, other: &Checkpoint, tokens: Option<&TokenRows>, rules: &SearchRules) -> Result<Found> {
    search_in(&Opened::new(own)?, other, tokens, rules)
}

/// A subject taken apart, which serves the search of every reference: what is made of it is made once.
pub struct Opened<'a>(Option<Weights<'a>>);

impl<'a> Opened<'a> {
    /// Takes a model apart.
    ///
    /// # Errors
    /// If norm weights cannot be read.
    pub fn new(checkpoint: &'a Checkpoint) -> Result<Self> {
        Weights::new(checkpoint).map(Self)
    }
}

/// [`search`] with a subject that was opened before.
///
/// # Errors
/// If weights cannot be read.
pub fn search_in(
    own: &Opened<'_>,
    other: &Checkpoint,
    tokens: Option<&TokenRows>,
    rules: &SearchRules,
) -> Result<Found> {
    let (Some(own), Some(other)) = (&own.0, Weights::new(other)?) else { return Ok(Found::default()) };
    between(own, &other, tokens, rules)
}

/// Asks every question of two models that are taken apart.
pub(super) fn between(
    own: &Weights<'_>,
    other: &Weights<'_>,
    tokens: Option<&TokenRows>,
    rules: &SearchRules,
) -> Result<Found> {
    let heads = match (heads_of(own)?, heads_of(other)?) {
        (Some(a), Some(b)) => alike(a, b),
        _ => HeadMatch { left_out: Some("no heads whose sizes are known".to_owned()), ..HeadMatch::default() },
    };
    let looked = heads_of(own)?.zip(seen(own)).map(|(products, sizes)| {
        let layers: BTreeSet<u32> = products.groups.iter().map(|group| group.layer).collect();
        let (seen, all) = (products.heads() as u64, (sizes.query * products.layers) as u64);
        Looked {
            question: "heads".to_owned(),
            component: "attention".to_owned(),
            layers: layers.len() as u64,
            of_layers: products.layers as u64,
            matrices: seen,
            of_matrices: all,
            rows: seen * products.side as u64,
            of_rows: all * products.dim as u64,
        }
    });
    let looked = looked.into_iter().collect();
    Search { own, other, tokens, rules, observations: Vec::new(), heads, angles: Matched::default(), looked }.run()
}

pub(super) struct Search<'a> {
    pub own: &'a Weights<'a>,
    pub other: &'a Weights<'a>,
    pub tokens: Option<&'a TokenRows>,
    pub rules: &'a SearchRules,
    pub observations: Vec<Observation>,
    pub heads: HeadMatch,
    /// MLPs matched in any basis, where heads say nothing.
    pub angles: Matched,
    /// What was looked at, question by question.
    pub looked: Vec<Looked>,
}

/// One way to read the other model's residual axis, and whether layers prove it.
pub(super) struct Candidate {
    pub frame: Frame,
    pub proven: bool,
}

impl Candidate {
    fn name(&self) -> &'static str {
        match (&self.frame, self.proven) {
            (Frame::Permuted(_), false) => BY_TOKENS[0],
            (Frame::Rotated(_), false) => BY_TOKENS[1],
            (frame, _) => frame.name(),
        }
    }
}

/// What matching in one frame gave.
pub(super) struct InFrame {
    pub candidate: Candidate,
    pub layers: BTreeMap<u32, u32>,
    pub mlps: BTreeMap<(u32, Slot), (Slot, Matching)>,
    pub heads: BTreeMap<u32, [Vec<Option<usize>>; 2]>,
    /// Whether experts, and heads, stand in another order beyond doubt.
    pub experts_moved: bool,
    pub heads_moved: bool,
    pub neurons: Option<Agreement>,
}

/// Units that were matched, and the share of those agreed that are where they were.
type Placed = (Agreement, f64);

/// The neurons of one MLP of two layers.
struct Neurons {
    l: u32,
    m: u32,
    placed: Placed,
}

/// An MLP of the subject and one of the other model, matched.
struct Partnered {
    slot: Slot,
    theirs: Slot,
    /// Of the rows of the whole matrices.
    matching: Matching,
    /// Rows that were looked at, and the share of those matched that stand at the same place among them.
    rows: usize,
    positions: f64,
}

impl Search<'_> {
    fn run(mut self) -> Result<Found> {
        let same = self.own.hidden == self.other.hidden;
        // Second moments of what was added are as alike as features that are learnt, and cost the most: heads place its layers.
        let moments = if same && !self.own.is_added() { Some(self.moments()?) } else { None };
        let by_place = self.by_place();
        let mut layers = moments.as_ref().map_or_else(|| by_place.clone(), |cells| stands_out(cells, &by_place));
        self.ask_heads();
        // Heads say which layer answers which in any basis; where they do, layers need no other sign.
        let by_heads = self.layers_by_heads();
        layers.extend(by_heads.iter().map(|(l, m)| (*l, *m)));
        if by_heads.is_empty() && !self.glance() && !self.own.is_added() && !self.moments_found() {
            self.angles = Matched::new(self.own, self.other)?;
            layers.extend(self.angles.layers());
        }
        let long = self.own.hidden.max(self.other.hidden) >= MANY;
        let glance = self.glance();
        let before = self.observations.len();
        let first = match (long, glance) {
            (true, true) => FIRST,
            (true, false) => COARSE,
            _ => (usize::MAX, usize::MAX),
        };
        let fits = self.fits(&layers, first, !long)?;
        let (mut candidates, turned) = self.candidates(fits);
        // Of a long axis some dimensions alone took part, and no frame of all of them is known before they all did. What is
        // glanced at has answered by then: the likeness of two halves is what decides whether the search would go on.
        if long && !glance && (turned || candidates.iter().any(|c| c.proven)) {
            self.observations.truncate(before);
            let fits = self.fits(&layers, (usize::MAX, usize::MAX), true)?;
            candidates = self.candidates(fits).0;
        }
        if same {
            candidates.insert(0, Candidate { frame: Frame::AsItStands, proven: true });
        }
        let mut best: Option<InFrame> = None;
        for candidate in candidates {
            // Layers may stand elsewhere, which shows only in the right frame.
            let in_frame = if same && candidate.frame != Frame::AsItStands {
                stands_out(&self.cells(&candidate.frame)?, &layers)
            } else {
                layers.clone()
            };
            let tried = self.tried(candidate, &in_frame)?;
            let found = |t: &InFrame| self.neurons_found(t).is_some();
            let share = |t: &InFrame| t.neurons.map_or(0.0, |n| n.effect());
            let proven = tried.candidate.proven && tried.candidate.frame != Frame::AsItStands;
            let shown = found(&tried) || proven;
            // A simpler frame is left only for one that layers prove, or that explains clearly more.
            let better = best.as_ref().is_none_or(|b| proven || !found(b) && shown || share(&tried) > 1.5 * share(b));
            if better && (shown || tried.candidate.frame == Frame::AsItStands) {
                best = Some(tried);
            }
        }
        if !glance && let Some(rough) = best.take_if(|b| b.candidate.frame != Frame::AsItStands) {
            best = Some(self.refined(rough)?);
        }
        let moved = |b: &InFrame| b.layers.iter().any(|(a, l)| by_place.get(a) != Some(l));
        let relabelling = best.and_then(|b| {
            let moved = moved(&b);
            self.relabelling(b, moved, same)
        });
        Ok(Found { observations: self.observations, heads: self.heads, relabelling, looked: self.looked })
    }

    /// Whether the question is what silence is worth: no first look is followed by a second.
    pub(super) fn glance(&self) -> bool {
        self.own.glance() && self.other.glance()
    }

    /// Matches in one frame: every layer and every MLP, with fewer rows of each where all would cost too much; with all rows
    /// if something was found that is not where it was.
    fn tried(&mut self, candidate: Candidate, layers: &BTreeMap<u32, u32>) -> Result<InFrame> {
        let cost = |(l, m): (&u32, &u32)| -> f64 {
            let rows = |w: &Weights<'_>, layer: u32| -> Vec<f64> {
                let ups = w.functions(layer).into_iter().filter(|f| matches!(f, Function::Up(_)));
                ups.filter_map(|f| w.size(layer, f)).map(|rows| rows.min(ROWS) as f64).collect()
            };
            let (a, b) = (rows(self.own, *l), rows(self.other, *m));
            let most = |rows: &[f64]| rows.iter().copied().fold(0.0, f64::max);
            a.len().max(b.len()) as f64 * most(&a) * most(&b) * self.own.hidden as f64
        };
        let total: f64 = layers.iter().map(cost).sum();
        let glance = self.glance();
        if total <= if glance { GLANCED } else { MATCHED } {
            return self.matched(candidate, layers, None);
        }
        let Candidate { frame, proven } = candidate;
        let before = (self.observations.len(), self.looked.len());
        let experts = self.own.most_experts().max(self.other.most_experts());
        let tried = self.matched(Candidate { frame: frame.clone(), proven }, layers, Some(Look::at(experts)))?;
        let stays =
            frame == Frame::AsItStands && tried.mlps.values().all(|(_, matching)| fixed(&matching.order) >= IN_PLACE);
        if glance || stays || total > RELABELLED || self.neurons_found(&tried).is_none() {
            return Ok(tried);
        }
        self.observations.truncate(before.0);
        self.looked.truncate(before.1);
        self.matched(Candidate { frame, proven }, layers, None)
    }

    /// Second moments of every layer against every layer of the other model in a frame: z and effect of each cell.
    fn cells(&self, frame: &Frame) -> Result<BTreeMap<(u32, u32), (f64, f64)>> {
        let hidden = self.own.hidden;
        let size = Moments::empty(hidden).size;
        let own = &layer_moments(self.own)?.layers;
        let one =
            |layer: u32| Ok((layer, whole(&moments_of(self.other, layer, frame, hidden)?, hidden).correlations()));
        let other: Vec<(u32, Option<Vec<f64>>)> =
            self.other.looked().into_par_iter().map(one).collect::<Result<_>>()?;
        let mut cells = BTreeMap::new();
        for (l, a) in own {
            for (m, b) in &other {
                if let Some(test) = compared(a.as_ref(), b.as_ref(), size) {
                    cells.insert((*l, *m), (test.z, test.effect));
                }
            }
        }
        Ok(cells)
    }

    /// Layers of the same number; where the other model has none of it, none.
    fn by_place(&self) -> BTreeMap<u32, u32> {
        let other = self.other.layers();
        self.own.looked().into_iter().filter(|l| other.contains(l)).map(|l| (l, l)).collect()
    }

    /// Second moments by component, and of every layer against every layer: z and effect of each cell.
    fn moments(&mut self) -> Result<BTreeMap<(u32, u32), (f64, f64)>> {
        let (own, other) = (layer_moments(self.own)?, layer_moments(self.other)?);
        self.looked_at_moments(own);
        for (component, a) in &own.components {
            let Some(b) = other.components.get(component).filter(|b| a.rows > 0 && b.rows > 0) else { continue };
            if let Some(test) = compared(a.correlations().as_ref(), b.correlations().as_ref(), a.size) {
                self.observations.push(Observation {
                    question: Question::SecondMoments,
                    frame: Frame::AsItStands.name().to_owned(),
                    between: "sums over the layers".into(),
                    component: (*component).to_owned(),
                    layer_subject: None,
                    layer_other: None,
                    agreed: None,
                    expected: None,
                    of: (a.size * (a.size - 1) / 2) as u64,
                    z: Some(test.z),
                    log10_p: test.log10_p,
                    effect: test.effect,
                    in_place: None,
                });
            }
        }
        let size = Moments::empty(self.own.hidden).size;
        let (own, other) = (&own.layers, &other.layers);
        let pairs: Vec<_> = own.iter().flat_map(|a| other.iter().map(move |b| (a, b))).collect();
        let cells: Vec<((u32, u32), Mantel)> = pairs
            .into_par_iter()
            .filter_map(|((i, a), (j, b))| Some(((*i, *j), compared(a.as_ref(), b.as_ref(), size)?)))
            .collect();
        for ((i, j), test) in &cells {
            self.observations.push(Observation {
                question: Question::SecondMoments,
                frame: Frame::AsItStands.name().to_owned(),
                between: "layer against layer".into(),
                component: "all".into(),
                layer_subject: Some(*i),
                layer_other: Some(*j),
                agreed: None,
                expected: None,
                of: (size * (size - 1) / 2) as u64,
                z: Some(test.z),
                log10_p: test.log10_p,
                effect: test.effect,
                in_place: None,
            });
        }
        Ok(cells.into_iter().map(|(cell, test)| (cell, (test.z, test.effect))).collect())
    }

    /// Matches experts, neurons and heads in one frame, with all rows or with some of every MLP.
    pub(super) fn matched(
        &mut self,
        candidate: Candidate,
        layers: &BTreeMap<u32, u32>,
        look: Option<Look>,
    ) -> Result<InFrame> {
        let some = look.is_some();
        let look = look.unwrap_or(Look::WHOLE);
        let mut looked: BTreeMap<&'static str, Looked> = BTreeMap::new();
        let mut routed_away = (0.0, 0.0);
        let mut result = InFrame {
            candidate,
            layers: layers.clone(),
            mlps: BTreeMap::new(),
            heads: BTreeMap::new(),
            experts_moved: false,
            heads_moved: false,
            neurons: None,
        };
        // Each with the share of those agreed that stand where they stood.
        let (mut by_expert, mut by_head): (Vec<Placed>, Vec<Placed>) = (Vec::new(), Vec::new());
        let mut by_component: BTreeMap<&str, Vec<Neurons>> = BTreeMap::new();
        for (&l, &m) in layers {
            let routed = chosen(self.own, self.other, (l, m), &result.candidate.frame)?;
            // A rotation keeps angles, so the fewer rows may be turned back instead of the others there.
            let back = if look.own < look.other { result.candidate.frame.back(self.own.hidden) } else { None };
            let frame = (&result.candidate.frame, self.own.hidden);
            let (in_ours, in_theirs) = match &back {
                Some(back) => (Some((back, self.other.hidden)), None),
                None => (None, Some(frame)),
            };
            let own = Side::new((self.own, l), (look.own, look.other), in_ours);
            let other = Side::new((self.other, m), (look.other, look.other), in_theirs);
            let partners = partners(&own, &other, routed.as_ref(), &mut by_expert)?;
            let one = |&(slot, theirs): &(Slot, Slot)| -> Result<Option<Partnered>> {
                let (mut a, mut b) = (own.mlp(slot, false)?, other.mlp(theirs, false)?);
                let Some(mut matching) = neurons(&a, &b) else { return Ok(None) };
                // The third matrix says which neurons belong together, not whether any do.
                let spared = own.spares(slot) || other.spares(theirs);
                if spared && matching.agreement.log10_p <= FEW_LOG10_P {
                    (a, b) = (own.mlp(slot, true)?, other.mlp(theirs, true)?);
                    matching = neurons(&a, &b).unwrap_or(matching);
                }
                let (rows, positions) = (matching.order.len(), fixed(&matching.order));
                Ok(Some(Partnered { slot, theirs, matching: in_rows(matching, &a, &b), rows, positions }))
            };
            let matched = partners.par_iter().map(one).collect::<Result<Vec<_>>>()?;
            for Partnered { slot, theirs, matching, rows, positions } in matched.into_iter().flatten() {
                let component = Function::Up(slot).component();
                let seen = looked.entry(component).or_default();
                seen.matrices += 1;
                seen.rows += rows as u64;
                let agreement = matching.agreement;
                // Rows of two samples stand at other positions even where nothing moved.
                let in_place = if some { fixed(&matching.order) } else { positions };
                if routed.is_some() && matches!(slot, Slot::Expert(_)) {
                    routed_away.0 += agreement.agreed * f64::from(u8::from(slot != theirs));
                    routed_away.1 += agreement.agreed;
                }
                by_component.entry(component).or_default().push(Neurons { l, m, placed: (agreement, in_place) });
                result.mlps.insert((l, slot), (theirs, matching));
            }
        }
        let frame = result.candidate.name();
        self.looked_at("neurons", layers.len(), looked);
        for (component, all) in &by_component {
            let Some(sum) = together(all.iter().map(|one| one.placed.0)) else { continue };
            let share = in_place(&all.iter().map(|one| one.placed).collect::<Vec<_>>());
            let between = "gate against up or down";
            self.agreement(Question::Neurons, (frame, between, component), None, sum, share);
            for Neurons { l, m, placed: (agreement, share) } in all {
                self.agreement(Question::Neurons, (frame, between, component), Some((*l, *m)), *agreement, *share);
            }
        }
        result.neurons = together(by_component.values().flatten().map(|one| one.placed.0));
        if let Some(sum) = together(by_expert.iter().map(|(a, _)| *a)) {
            let share = in_place(&by_expert);
            result.experts_moved = sum.log10_p <= FEW_LOG10_P && share < IN_PLACE;
            self.agreement(Question::Experts, (frame, "gate or up against down", "experts"), None, sum, share);
        }
        // Where routers say which expert is which, neurons that are matched in experts of other numbers say that they moved.
        if self.neurons_found(&result).is_some() && routed_away.0 > (1.0 - IN_PLACE) * routed_away.1 {
            result.experts_moved = true;
        }
        // Bases of heads cost more than all the rest, so they are made only where something speaks for this frame.
        let proven = result.candidate.proven && result.candidate.frame != Frame::AsItStands;
        if proven || self.neurons_found(&result).is_some() || self.moments_found() {
            for (&l, &m) in layers {
                if self.glance() && by_head.iter().map(|(a, _)| a.of).sum::<usize>() >= HEADS {
                    break;
                }
                self.heads(l, m, &mut result, &mut by_head)?;
            }
        }
        if let Some(sum) = together(by_head.iter().map(|(a, _)| *a)) {
            let share = in_place(&by_head);
            result.heads_moved = sum.log10_p <= FEW_LOG10_P && share < IN_PLACE;
            let between = "queries against outputs, keys against values";
            self.agreement(Question::Heads, (frame, between, "attention"), None, sum, share);
        }
        if !result.heads_moved {
            result.heads.clear();
        }
        Ok(result)
    }

    pub(super) fn agreement(
        &mut self,
        question: Question,
        (frame, between, component): (&'static str, &str, &str),
        layers: Option<(u32, u32)>,
        agreement: Agreement,
        in_place: f64,
    ) {
        self.observations.push(Observation {
            question,
            frame: frame.to_owned(),
            between: between.to_owned(),
            component: component.to_owned(),
            layer_subject: layers.map(|l| l.0),
            layer_other: layers.map(|l| l.1),
            agreed: Some(agreement.agreed),
            expected: Some(agreement.expected),
            of: agreement.of as u64,
            z: None,
            log10_p: agreement.log10_p,
            effect: agreement.effect(),
            in_place: Some(in_place),
        });
    }

    fn heads(&self, l: u32, m: u32, result: &mut InFrame, all: &mut Vec<Placed>) -> Result<()> {
        let (Some(own), Some(other)) = (self.own.heads, self.other.heads) else { return Ok(()) };
        // Ranks are no heads.
        if own.dim != other.dim || is_latent(self.own) || is_latent(self.other) {
            return Ok(());
        }
        let overlap = |function: Function| -> Result<Option<(Vec<f32>, usize, usize)>> {
            let (Some(a), Some(b)) = (self.own.matrix(l, function)?, self.other.matrix(m, function)?) else {
                return Ok(None);
            };
            // Heads that are not all looked at cannot be numbered.
            if a.rows() < a.total || b.rows() < b.total {
                return Ok(None);
            }
            let b = expressed(&b, &result.candidate.frame, self.own.hidden);
            Ok(overlaps(&a, &b, own.dim).map(|s| (s, a.rows() / own.dim, b.rows() / own.dim)))
        };
        let mut orders = Vec::new();
        for (first, second) in [(Function::Query, Function::Output), (Function::Key, Function::Value)] {
            let (Some((x, n, p)), Some((y, n2, p2))) = (overlap(first)?, overlap(second)?) else { return Ok(()) };
            if (n, p) != (n2, p2) || n < 2 || p < 2 {
                return Ok(());
            }
            let (matching, agreed) = heads(&x, &y, n, p);
            all.push((matching.agreement, fixed(&agreed)));
            // Only an order on which both matchings agree whole is one; else the heads are not the other model's.
            let whole = agreed.iter().all(Option::is_some);
            orders.push(if whole { matching.order } else { (0..n).map(|i| (i < p).then_some(i)).collect() });
        }
        if let [queries, keys] = &orders[..] {
            result.heads.insert(l, [queries.clone(), keys.clone()]);
        }
        Ok(())
    }
}

/// Of those agreed, the share that are where they were.
fn in_place(all: &[Placed]) -> f64 {
    let agreed: f64 = all.iter().map(|(a, _)| a.agreed).sum();
    all.iter().map(|(a, share)| a.agreed * share).sum::<f64>() / agreed.max(1.0)
}

pub(super) fn rotated(q: &[f64], own: usize, other: usize) -> Frame {
    // The fit maps own x other; rows of the other model are multiplied by its transpose.
    let narrow: Vec<f32> = q.iter().map(|v| super::matrix::narrow(*v)).collect();
    Frame::Rotated(scratchproof_kernel::transpose(&narrow, own, other))
}

fn compared(a: Option<&Vec<f64>>, b: Option<&Vec<f64>>, size: usize) -> Option<Mantel> {
    mantel(a?, b?, size)
}
