//! Fits of one residual axis to the other's, group by group of the layers, and the frames that they speak for (METHODS 2.1).

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::frame::{
    Agreement, CrossGram, Frame, MANY, WORTH, common, fixed, same_order, same_rotation, same_signed_order,
};
use super::matrix::Function;
use super::search::{Candidate, Search, TOKENS, rotated};
use scratchproof_error::Result;
use scratchproof_measurements::{IN_PLACE, Looked, Observation, Question};

/// Two halves must agree on so much more as rotations than as relabellings to be called rotated.
const TURNED: f64 = 0.1;

/// Rows of all matrices of attention, and of all MLPs, that take part in the first fits of a large model, and how many times
/// as many where they show anything.
const FITTED: (usize, usize, usize) = (12_288, 24_576, 4);

/// The products of two unrelated fits are standard normal; above this rotations are fitted.
const ALIKE: f64 = 3.0;

/// Two fits that agree on so much of a rotation need no third.
const PROVEN: f64 = 0.5;

/// Matrices of a layer that are read at a time.
const ABREAST: usize = 16;

/// Attention of even and of odd layers, MLPs of even and of odd layers, every second token and the others.
pub(super) type Fits = [CrossGram; 6];

impl Search<'_> {
    /// The cross-Grams of every group of rows that belong together if nothing but the residual axis was changed: of large
    /// models some rows of every matrix.
    pub(super) fn fits(
        &mut self,
        layers: &BTreeMap<u32, u32>,
        (rows, tokens): (usize, usize),
        whole: bool,
    ) -> Result<Fits> {
        let large = self.own.large || self.other.large;
        let empty = || {
            let (own, other) = (self.own.hidden, self.other.hidden);
            if large { CrossGram::of_many(own, other, whole) } else { CrossGram::empty(own, other) }
        };
        let mut fits: Fits = std::array::from_fn(|_| empty());
        let of_group = |group: usize| {
            let count = |l: &u32| self.own.functions(*l).iter().filter(|f| f.group() == group).count();
            layers.keys().map(count).sum::<usize>().max(1)
        };
        let times = if whole { FITTED.2 } else { 1 };
        let most = [(0, FITTED.0), (1, FITTED.1)]
            .map(|(which, all)| if large { rows.min((times * all / of_group(which)).max(2)) } else { rows });
        let mut looked: BTreeMap<&'static str, Looked> = BTreeMap::new();
        for (position, (&l, &m)) in layers.iter().enumerate() {
            let functions: Vec<Function> =
                self.own.in_sums(l).intersection(&self.other.functions(m)).copied().collect();
            // Experts by number: those of one that moved belong to another.
            let read = |function: &Function| {
                let rows = most[function.group()];
                if let Some(pair) = self.angles.rows((self.own, self.other), (l, m), *function, rows)? {
                    return Ok(pair);
                }
                match self.head_rows((l, m), *function, rows)? {
                    Some(pair) => Ok(Some(pair)),
                    None if self.own.size(l, *function) != self.other.size(m, *function) => Ok(None),
                    None => Ok(self.own.matrix_of(l, *function, rows)?.zip(self.other.matrix_of(m, *function, rows)?)),
                }
            };
            for functions in functions.chunks(ABREAST) {
                let pairs = functions.par_iter().map(read).collect::<Result<Vec<_>>>()?;
                for (function, pair) in functions.iter().zip(pairs) {
                    let Some((a, b)) = pair else { continue };
                    fits[2 * function.group() + position % 2].add(&a, &b);
                    let seen = looked.entry(function.component()).or_default();
                    seen.matrices += 1;
                    seen.rows += a.rows() as u64;
                }
            }
        }
        self.own.tokens(self.other, self.tokens, tokens, &mut |a, b| {
            for half in 0..2 {
                let rows: Vec<usize> = (half..a.rows()).step_by(2).collect();
                fits[4 + half].add(&a.chosen(&rows), &b.chosen(&rows));
            }
        })?;
        for fit in &mut fits {
            fit.settle();
        }
        self.looked_at("frame", layers.len(), looked);
        Ok(fits)
    }

    /// Holds the fits of the groups against each other, and returns the frames that are worth a look.
    /// Also whether some dimensions show a rotation that is worth to be fitted to all.
    #[allow(clippy::too_many_lines, reason = "one candidate after the other, each with its own reason")]
    pub(super) fn candidates(&mut self, fits: Fits) -> (Vec<Candidate>, bool) {
        let (own, other) = (self.own.hidden, self.other.hidden);
        let many = own.min(other) >= MANY;
        let [a0, a1, m0, m1, t0, t1] = fits;
        // Tokens whose halves do not agree have no order and no rotation to be tried.
        let token_order = !many || same_order(&t0.best(), &t1.best(), other).agreed >= WORTH;
        let token_rotation = !many || t0.alike(&t1).is_some_and(|found| found.agreed >= ALIKE);
        let (attention, mlp, tokens) = (a0.and(&a1), m0.and(&m1), t0.and(&t1));
        // Of matrices that only the order of names divides, one half and the other.
        let names = if self.own.generic { ["one half", "the other half"] } else { ["attention", "MLPs"] };
        let groups = [
            (format!("{} of even layers", names[0]), a0),
            (format!("{} of odd layers", names[0]), a1),
            (format!("{} of even layers", names[1]), m0),
            (format!("{} of odd layers", names[1]), m1),
            (names[0].to_owned(), attention),
            (names[1].to_owned(), mlp),
            ("tokens".to_owned(), tokens),
        ];
        let pairs = [(0, 1), (2, 3), (4, 5), (4, TOKENS), (5, TOKENS)];
        let full = |i: usize| groups[i].1.rows > 0;
        // Where a glance is enough, the likeness of two fits stands for the rotation, whose own fit costs the most of all.
        let some = groups[TOKENS].1.dimensions.is_some() || many && self.glance();
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
            each(&|i| {
                if full(i) && (i == TOKENS && token_order || wanted(i)) {
                    Some(groups[i].1.order())
                } else {
                    bests[i].clone()
                }
            })
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
                (&groups[i].0, &groups[j].0),
                agreement,
                Some(fixed(&groups[i].1.of_all(&both, own))).filter(|_| own == other),
            );
            if self.shown(agreement, j) && best.as_ref().is_none_or(|(old, _)| agreement.log10_p < old.log10_p) {
                best = Some((agreement, groups[i].1.of_all(&both, own)));
            }
        }
        // In place: the residual axis stands as it is, and nothing has to be looked for.
        if own == other && best.as_ref().is_some_and(|(_, order)| fixed(order) >= IN_PLACE) {
            return (Vec::new(), false);
        }
        let permuted = best;
        let mut alike: BTreeMap<(usize, usize), Agreement> = BTreeMap::new();
        if many || some {
            alike = pairs.iter().filter_map(|&(i, j)| Some(((i, j), groups[i].1.alike(&groups[j].1)?))).collect();
        }
        let effect = |found: Option<Agreement>| found.map_or(0.0, |a| a.effect());
        // A rotation explains no more than all: where a relabelling leaves too little to be outdone, none is fitted.
        let outdone = effect(permuted.as_ref().map(|p| p.0)) + TURNED < 1.0;
        let fitted = |i: usize| {
            let alike = || alike.iter().any(|((a, b), found)| (*a == i || *b == i) && found.agreed >= ALIKE);
            !many || outdone && (i == TOKENS && token_rotation || alike())
        };
        let rotation = |i: usize, wanted: bool| if full(i) && wanted && !some { groups[i].1.rotation() } else { None };
        // The two groups of layers that are most alike are fitted first; where they prove a rotation, no other is.
        let layers = alike.iter().filter(|((_, j), found)| outdone && *j != TOKENS && found.agreed >= ALIKE);
        let most = layers.max_by(|a, b| a.1.agreed.total_cmp(&b.1.agreed)).map(|(pair, _)| *pair);
        let of_most = |i: usize| most.is_some_and(|(a, b)| i == a || i == b);
        let mut rotations: Vec<Option<Vec<f64>>> =
            (0..groups.len()).into_par_iter().map(|i| rotation(i, of_most(i))).collect();
        let proves = |(i, j): (usize, usize)| match (&rotations[i], &rotations[j]) {
            (Some(a), Some(b)) => {
                let found = same_rotation(a, b, own, other);
                self.shown(found, j) && found.effect() >= PROVEN
            }
            _ => false,
        };
        if !most.is_some_and(proves) {
            let rest = rotations.into_par_iter().enumerate();
            rotations = rest.map(|(i, known)| known.or_else(|| rotation(i, fitted(i)))).collect();
        }
        let mut best: Option<(Agreement, usize, usize)> = None;
        let mut shows = false;
        for (i, j) in pairs {
            let (Some(a), Some(b)) = (&rotations[i], &rotations[j]) else {
                if let Some(found) = alike.get(&(i, j)) {
                    shows |= some && self.shown(*found, j);
                    self.fit(Question::Rotation, (&groups[i].0, &groups[j].0), *found, None);
                }
                continue;
            };
            let agreement = same_rotation(a, b, own, other);
            self.fit(Question::Rotation, (&groups[i].0, &groups[j].0), agreement, None);
            if self.shown(agreement, j) && best.is_none_or(|(old, ..)| agreement.log10_p < old.log10_p) {
                best = Some((agreement, i, j));
            }
        }
        // Two fits of one rotation are alike as relabellings too, but never as far as they are alike as rotations.
        let turned = effect(best.map(|b| b.0)) > effect(permuted.as_ref().map(|p| p.0)) + TURNED;
        if turned
            && let Some((_, i, j)) = best
            // Tokens may agree and are not to be learnt from: they are held against the layers' frame later.
            && let Some(q) = if j == TOKENS { groups[i].1.rotation() } else { groups[i].1.and(&groups[j].1).rotation() }
        {
            return (vec![Candidate { frame: rotated(&q, own, other), proven: true }], false);
        }
        if let Some((_, order)) = permuted {
            return (vec![Candidate { frame: Frame::Permuted(order), proven: true }], shows);
        }
        let mut candidates = Vec::new();
        if let Some(order) = &orders[TOKENS] {
            let order = groups[TOKENS].1.of_all(order, own);
            if token_order && (own != other || fixed(&order) < IN_PLACE) {
                candidates.push(Candidate { frame: Frame::Permuted(order), proven: false });
            }
            if let Some(q) = &rotations[TOKENS] {
                candidates.push(Candidate { frame: rotated(q, own, other), proven: false });
            }
        }
        (candidates, shows)
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
}
