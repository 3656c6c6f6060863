//! The search: questions asked of two models, and what the answers say of how one is written in the other.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::alike::alike;
use super::found::Found;
use super::frame::{
    Agreement, CrossGram, Frame, MANY, WORTH, common, fixed, same_order, same_rotation, same_signed_order,
};
use super::layer::{chosen, in_rows, layer_moments, mlps, partners, stands_out};
use super::moments::Moments;
use super::products::of as of_heads;
use super::units::{Matching, Mlp, expressed, heads, neurons, overlaps, together};
use super::weights::{EXPERTS, Function, ROWS, Slot, TokenRows, Weights, spread};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;
use scratchproof_measurements::{BY_TOKENS, HeadMatch, IN_PLACE, Observation, Question, SearchRules};
use scratchproof_stats::{Mantel, mantel};

/// Two halves must agree on so much more as rotations than as relabellings to be called rotated.
const TURNED: f64 = 0.1;

/// Rows of a matrix and tokens that the first fits of a long residual axis look at, by estimate enough for exact copies (not measured);
/// where they show anything the fits are made again with all.
const COARSE: (usize, usize) = (512, 2048);

/// Products of numbers that the matching of neurons may cost in one frame before anything is found.
const MATCHED: f64 = 2e10;

/// The products of two unrelated fits are standard normal; above this rotations are fitted.
const ALIKE: f64 = 3.0;

/// The group of token rows among those that are fitted.
pub(super) const TOKENS: usize = 6;

/// Heads and experts are few; an order of theirs counts from this.
const FEW_LOG10_P: f64 = -3.0;

/// Asks every question of two models. Fixed rules decide what is looked at further, never the policy of a case.
///
/// # Errors
/// If weights cannot be read.
pub fn search(own: &Checkpoint, other: &Checkpoint, tokens: Option<&TokenRows>, rules: &SearchRules) -> Result<Found> {
    let (Some(own), Some(other)) = (Weights::new(own)?, Weights::new(other)?) else { return Ok(Found::default()) };
    between(own, other, tokens, rules)
}

/// Asks every question of two models that are taken apart.
pub(super) fn between(
    own: Weights<'_>,
    other: Weights<'_>,
    tokens: Option<&TokenRows>,
    rules: &SearchRules,
) -> Result<Found> {
    let heads = match (of_heads(&own)?, of_heads(&other)?) {
        (Some(a), Some(b)) => alike(&a, &b),
        _ => HeadMatch { left_out: Some("no heads whose sizes are known".to_owned()), ..HeadMatch::default() },
    };
    Search { own, other, tokens, rules, observations: Vec::new(), heads }.run()
}

pub(super) struct Search<'a> {
    pub own: Weights<'a>,
    pub other: Weights<'a>,
    pub tokens: Option<&'a TokenRows>,
    pub rules: &'a SearchRules,
    pub observations: Vec<Observation>,
    pub heads: HeadMatch,
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

type Fits = Vec<(&'static str, CrossGram)>;

impl Search<'_> {
    fn run(mut self) -> Result<Found> {
        let same = self.own.hidden == self.other.hidden;
        let moments = if same { Some(self.moments()?) } else { None };
        let by_place = self.by_place();
        let mut layers = moments.as_ref().map_or_else(|| by_place.clone(), |cells| stands_out(cells, &by_place));
        self.ask_heads();
        // Heads say which layer answers which in any basis; where they do, layers need no other sign.
        let by_heads = self.layers_by_heads();
        layers.extend(by_heads.iter().map(|(l, m)| (*l, *m)));
        let long = self.own.hidden.max(self.other.hidden) >= MANY;
        let before = self.observations.len();
        let fits = self.fits(&layers, if long { COARSE } else { (usize::MAX, usize::MAX) })?;
        let mut candidates = self.candidates(fits);
        if long && candidates.iter().any(|c| c.proven) {
            self.observations.truncate(before);
            let fits = self.fits(&layers, (usize::MAX, usize::MAX))?;
            candidates = self.candidates(fits);
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
        if let Some(rough) = best.take_if(|b| b.candidate.frame != Frame::AsItStands) {
            best = Some(self.refined(rough)?);
        }
        let moved = |b: &InFrame| b.layers.iter().any(|(a, l)| by_place.get(a) != Some(l));
        let relabelling = best.and_then(|b| {
            let moved = moved(&b);
            self.relabelling(b, moved, same)
        });
        Ok(Found { observations: self.observations, heads: self.heads, relabelling })
    }

    /// Matches in one frame, in a few layers first where a layer is large; in all of them if something was found that is not
    /// where it was.
    fn tried(&mut self, candidate: Candidate, layers: &BTreeMap<u32, u32>) -> Result<InFrame> {
        let cost = |(l, m): (&u32, &u32)| -> f64 {
            let rows = |w: &Weights<'_>, layer: u32| -> f64 {
                let ups = w.functions(layer).into_iter().filter(|f| matches!(f, Function::Up(_)));
                ups.filter_map(|f| w.size(layer, f)).map(|rows| rows.min(ROWS) as f64).fold(0.0, f64::max)
            };
            rows(&self.own, *l) * rows(&self.other, *m) * self.own.hidden as f64
        };
        let total: f64 = layers.iter().map(cost).sum();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
        let affordable = (MATCHED * layers.len() as f64 / total.max(1.0)) as usize;
        if affordable >= layers.len() {
            return self.matched(candidate, layers);
        }
        let chosen = spread(layers.len(), affordable.max(2));
        let some: BTreeMap<u32, u32> =
            layers.iter().enumerate().filter(|(at, _)| chosen.contains(at)).map(|(_, (l, m))| (*l, *m)).collect();
        let Candidate { frame, proven } = candidate;
        let before = self.observations.len();
        let tried = self.matched(Candidate { frame: frame.clone(), proven }, &some)?;
        let stays =
            frame == Frame::AsItStands && tried.mlps.values().all(|(_, matching)| fixed(&matching.order) >= IN_PLACE);
        if stays || self.neurons_found(&tried).is_none() {
            return Ok(tried);
        }
        self.observations.truncate(before);
        self.matched(Candidate { frame, proven }, layers)
    }

    /// Second moments of every layer against every layer of the other model in a frame: z and effect of each cell.
    fn cells(&self, frame: &Frame) -> Result<BTreeMap<(u32, u32), (f64, f64)>> {
        let size = Moments::empty(self.own.hidden).size;
        let prepared = |weights: &Weights<'_>, frame: &Frame| -> Result<Vec<(u32, Option<Vec<f64>>)>> {
            let one = |layer: u32| -> Result<(u32, Option<Vec<f64>>)> {
                let mut all = Moments::empty(self.own.hidden);
                for function in weights.functions(layer) {
                    if matches!(function.slot(), Some(Slot::Expert(e)) if e as usize >= EXPERTS) {
                        continue;
                    }
                    if let Some(matrix) = weights.matrix(layer, function)? {
                        all.add(&expressed(&matrix, frame, self.own.hidden));
                    }
                }
                Ok((layer, all.correlations()))
            };
            weights.sample().into_par_iter().map(one).collect()
        };
        let (own, other) = (prepared(&self.own, &Frame::AsItStands)?, prepared(&self.other, frame)?);
        let mut cells = BTreeMap::new();
        for (l, a) in &own {
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
        self.own.sample().into_iter().filter(|l| other.contains(l)).map(|l| (l, l)).collect()
    }

    /// Second moments by component, and of every layer against every layer: z and effect of each cell.
    fn moments(&mut self) -> Result<BTreeMap<(u32, u32), (f64, f64)>> {
        let mut experts: [BTreeMap<u32, BTreeSet<u32>>; 2] = Default::default();
        for (&l, &m) in &self.by_place() {
            if let Some([ours, theirs]) = chosen(&self.own, &self.other, (l, m), &Frame::AsItStands)? {
                experts[0].insert(l, ours);
                experts[1].insert(m, theirs);
            }
        }
        let (own, other) = (layer_moments(&self.own, &experts[0])?, layer_moments(&self.other, &experts[1])?);
        let mut components: BTreeMap<&str, (Moments, Moments)> = BTreeMap::new();
        let empty = || (Moments::empty(self.own.hidden), Moments::empty(self.own.hidden));
        for (side, layers) in [(0, &own), (1, &other)] {
            for (component, moments) in layers.values().flatten() {
                for name in [*component, "all"] {
                    let pair = components.entry(name).or_insert_with(empty);
                    if side == 0 { pair.0.and(moments) } else { pair.1.and(moments) }
                }
            }
        }
        for (component, (a, b)) in components {
            if a.rows == 0 || b.rows == 0 {
                continue;
            }
            if let Some(test) = compared(a.correlations().as_ref(), b.correlations().as_ref(), a.size) {
                self.observations.push(Observation {
                    question: Question::SecondMoments,
                    frame: Frame::AsItStands.name().to_owned(),
                    between: "sums over the layers".into(),
                    component: component.to_owned(),
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
        let whole = |layers: BTreeMap<u32, BTreeMap<&'static str, Moments>>| -> Vec<(u32, Moments)> {
            let sum = |parts: BTreeMap<&str, Moments>| {
                let mut all = Moments::empty(self.own.hidden);
                for moments in parts.values() {
                    all.and(moments);
                }
                all
            };
            layers.into_iter().map(|(l, parts)| (l, sum(parts))).collect()
        };
        let prepared = |layers: Vec<(u32, Moments)>| -> Vec<(u32, Option<Vec<f64>>)> {
            layers.into_par_iter().map(|(l, moments)| (l, moments.correlations())).collect()
        };
        let size = Moments::empty(self.own.hidden).size;
        let (own, other) = (prepared(whole(own)), prepared(whole(other)));
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

    /// The cross-Grams of every group of rows that belong together if nothing but the residual axis was changed.
    fn fits(&self, layers: &BTreeMap<u32, u32>, (rows, tokens): (usize, usize)) -> Result<Fits> {
        let empty = || CrossGram::empty(self.own.hidden, self.other.hidden);
        let mut fits: Fits = ["attention, even", "attention, odd", "mlp, even", "mlp, odd", "tokens"]
            .into_iter()
            .map(|name| (name, empty()))
            .collect();
        for (position, (&l, &m)) in layers.iter().enumerate() {
            for function in self.own.functions(l).intersection(&self.other.functions(m)) {
                // Experts by number; those of one that moved belong to another, and the first are as good as all.
                let later = matches!(function.slot(), Some(Slot::Expert(e)) if e as usize >= EXPERTS);
                if later {
                    continue;
                }
                let pair = match self.head_rows((l, m), *function, rows)? {
                    Some(pair) => Some(pair),
                    None if self.own.size(l, *function) != self.other.size(m, *function) => None,
                    None => self.own.matrix_of(l, *function, rows)?.zip(self.other.matrix_of(m, *function, rows)?),
                };
                let Some((a, b)) = pair else { continue };
                let group = if function.component() == "attention" { 0 } else { 2 };
                fits[group + position % 2].1.add(&a, &b);
            }
        }
        for (a, b) in self.own.tokens(&self.other, self.tokens, tokens)? {
            fits[4].1.add(&a, &b);
        }
        Ok(fits)
    }

    /// Holds the fits of the groups against each other, and returns the frames that are worth a look.
    fn candidates(&mut self, fits: Fits) -> Vec<Candidate> {
        let (own, other) = (self.own.hidden, self.other.hidden);
        let groups = {
            let mut fits = fits.into_iter().map(|(_, fit)| fit);
            let mut next = || fits.next().unwrap_or_else(|| CrossGram::empty(own, other));
            let [a0, a1, m0, m1, tokens] = [(); 5].map(|()| next());
            let (attention, mlp) = (a0.and(&a1), m0.and(&m1));
            vec![
                ("attention of even layers", a0),
                ("attention of odd layers", a1),
                ("MLPs of even layers", m0),
                ("MLPs of odd layers", m1),
                ("attention", attention),
                ("MLPs", mlp),
                ("tokens", tokens),
            ]
        };
        let pairs = [(0, 1), (2, 3), (4, 5), (4, TOKENS), (5, TOKENS)];
        let full = |i: usize| groups[i].1.rows > 0;
        let many = own.min(other) >= MANY;
        let worth = |i: usize, j: usize, bests: &[Option<Vec<Option<usize>>>]| match (&bests[i], &bests[j]) {
            (Some(a), Some(b)) => same_order(a, b, other).agreed >= WORTH,
            _ => false,
        };
        let each = |make: &(dyn Fn(usize) -> Option<Vec<Option<usize>>> + Sync)| -> Vec<_> {
            (0..groups.len()).into_par_iter().map(make).collect()
        };
        let orders = if many {
            let bests = each(&|i| full(i).then(|| groups[i].1.best()));
            let wanted = |i: usize| pairs.iter().any(|&(a, b)| (a == i || b == i) && worth(a, b, &bests));
            // The tokens' own order is a frame to be tried whatever the layers say.
            each(&|i| if full(i) && (i == TOKENS || wanted(i)) { Some(groups[i].1.order()) } else { bests[i].clone() })
        } else {
            each(&|i| full(i).then(|| groups[i].1.order()))
        };
        let mut best: Option<(Agreement, Vec<Option<usize>>)> = None;
        for (i, j) in pairs {
            let (Some(a), Some(b)) = (&orders[i], &orders[j]) else { continue };
            let agreement = same_signed_order(a, b, other);
            let both = common(a, b);
            self.fit(
                Question::Order,
                (groups[i].0, groups[j].0),
                agreement,
                Some(fixed(&both)).filter(|_| own == other),
            );
            if self.shown(agreement, j) && best.as_ref().is_none_or(|(old, _)| agreement.log10_p < old.log10_p) {
                best = Some((agreement, both));
            }
        }
        // In place: the residual axis stands as it is, and nothing has to be looked for.
        if own == other && best.as_ref().is_some_and(|(_, order)| fixed(order) >= IN_PLACE) {
            return Vec::new();
        }
        let permuted = best;
        let mut alike: BTreeMap<(usize, usize), Agreement> = BTreeMap::new();
        if many {
            alike = pairs.iter().filter_map(|&(i, j)| Some(((i, j), groups[i].1.alike(&groups[j].1)?))).collect();
        }
        let fitted = |i: usize| {
            !many || i == TOKENS || alike.iter().any(|((a, b), found)| (*a == i || *b == i) && found.agreed >= ALIKE)
        };
        let rotations: Vec<Option<Vec<f64>>> = (0..groups.len())
            .into_par_iter()
            .map(|i| if full(i) && fitted(i) { groups[i].1.rotation() } else { None })
            .collect();
        let mut best: Option<(Agreement, usize, usize)> = None;
        for (i, j) in pairs {
            let (Some(a), Some(b)) = (&rotations[i], &rotations[j]) else {
                if let Some(found) = alike.get(&(i, j)) {
                    self.fit(Question::Rotation, (groups[i].0, groups[j].0), *found, None);
                }
                continue;
            };
            let agreement = same_rotation(a, b, own, other);
            self.fit(Question::Rotation, (groups[i].0, groups[j].0), agreement, None);
            if self.shown(agreement, j) && best.is_none_or(|(old, ..)| agreement.log10_p < old.log10_p) {
                best = Some((agreement, i, j));
            }
        }
        let effect = |found: Option<Agreement>| found.map_or(0.0, |a| a.effect());
        // Two fits of one rotation are alike as relabellings too, but never as far as they are alike as rotations.
        let turned = effect(best.map(|b| b.0)) > effect(permuted.as_ref().map(|p| p.0)) + TURNED;
        if turned
            && let Some((_, i, j)) = best
            // Tokens may agree and are not to be learnt from: they are held against the layers' frame later.
            && let Some(q) = if j == TOKENS { groups[i].1.rotation() } else { groups[i].1.and(&groups[j].1).rotation() }
        {
            return vec![Candidate { frame: rotated(&q, own, other), proven: true }];
        }
        if let Some((_, order)) = permuted {
            return vec![Candidate { frame: Frame::Permuted(order), proven: true }];
        }
        let mut candidates = Vec::new();
        if let Some(order) = &orders[TOKENS] {
            if own != other || fixed(order) < IN_PLACE {
                candidates.push(Candidate { frame: Frame::Permuted(order.clone()), proven: false });
            }
            if let Some(q) = &rotations[TOKENS] {
                candidates.push(Candidate { frame: rotated(q, own, other), proven: false });
            }
        }
        candidates
    }

    fn fit(&mut self, question: Question, (a, b): (&str, &str), agreement: Agreement, in_place: Option<f64>) {
        self.observations.push(Observation {
            question,
            frame: if question == Question::Order { "permuted" } else { "rotated" }.to_owned(),
            between: format!("{a} against {b}"),
            component: "all".into(),
            layer_subject: None,
            layer_other: None,
            agreed: Some(agreement.agreed),
            expected: Some(agreement.expected),
            of: agreement.of as u64,
            z: (question == Question::Rotation).then_some(agreement.agreed),
            log10_p: agreement.log10_p,
            effect: agreement.effect(),
            in_place,
        });
    }

    /// Matches experts, neurons and heads in one frame.
    pub(super) fn matched(&mut self, candidate: Candidate, layers: &BTreeMap<u32, u32>) -> Result<InFrame> {
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
            let some = chosen(&self.own, &self.other, (l, m), &result.candidate.frame)?;
            let own = mlps(&self.own, l, some.as_ref().map(|c| &c[0]))?;
            let other: Vec<(Slot, Mlp)> = mlps(&self.other, m, some.as_ref().map(|c| &c[1]))?
                .into_iter()
                .map(|(slot, mlp)| (slot, mlp.expressed(&result.candidate.frame, self.own.hidden)))
                .collect();
            let partners = partners(&own, &other, &mut by_expert);
            let matched: Vec<Option<Matching>> =
                partners.par_iter().map(|(a, b)| neurons(&own[*a].1, &other[*b].1)).collect();
            for ((a, b), matching) in partners.into_iter().zip(matched) {
                let Some(matching) = matching else { continue };
                let (slot, theirs) = (own[a].0, other[b].0);
                let component = Function::Up(slot).component();
                let in_place = fixed(&matching.order);
                by_component.entry(component).or_default().push(Neurons {
                    l,
                    m,
                    placed: (matching.agreement, in_place),
                });
                result.mlps.insert((l, slot), (theirs, in_rows(matching, &own[a].1, &other[b].1)));
            }
        }
        let frame = result.candidate.name();
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
        // Bases of heads cost more than all the rest, so they are made only where something speaks for this frame.
        let proven = result.candidate.proven && result.candidate.frame != Frame::AsItStands;
        if proven || self.neurons_found(&result).is_some() || self.moments_found() {
            for (&l, &m) in layers {
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
        if own.dim != other.dim {
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
    let narrow: Vec<f32> = q.iter().map(|v| super::weights::narrow(*v)).collect();
    Frame::Rotated(scratchproof_kernel::transpose(&narrow, own, other))
}

fn compared(a: Option<&Vec<f64>>, b: Option<&Vec<f64>>, size: usize) -> Option<Mantel> {
    mantel(a?, b?, size)
}
