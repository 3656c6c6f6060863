//! A rough frame made better, and tested on layers that it has not seen.

use std::collections::BTreeMap;

use super::frame::{Agreement, CrossGram, Frame};
use super::matrix::Function;
use super::search::{Candidate, InFrame, Search, rotated};
use super::units::{expressed, together};
use scratchproof_error::Result;
use scratchproof_measurements::Question;

impl Search<'_> {
    /// A frame that only tokens proposed, fitted again to the neurons that are matched in it: to those of one half of the
    /// layers, to match the neurons of the other half, which is a test; then to all of them, which is none. A frame that
    /// layers prove stays as it is: it must not learn from rows that may be an unrelated model's.
    pub(super) fn refined(&mut self, rough: InFrame) -> Result<InFrame> {
        if rough.candidate.proven || self.neurons_found(&rough).is_none() {
            return Ok(rough);
        }
        let mut halves = Vec::new();
        for half in 0..2 {
            let of_half = |layer: &u32| rough.layers.keys().position(|l| l == layer).is_some_and(|at| at % 2 == half);
            halves.push(self.matched_rows(&rough, of_half)?);
        }
        let short = self.own.hidden.min(self.other.hidden);
        let both = halves[0].and(&halves[1]);
        if halves.iter().all(|fit| fit.rows >= short) {
            let mut all: Vec<Agreement> = Vec::new();
            for (half, fit) in halves.iter().enumerate() {
                let Some(frame) = self.like(&rough.candidate.frame, fit) else { continue };
                // Matched are the layers that the fit has not seen.
                let others = rough.layers.iter().enumerate().filter(|(at, _)| at % 2 != half);
                let others: BTreeMap<u32, u32> = others.map(|(_, (l, m))| (*l, *m)).collect();
                let kept = std::mem::take(&mut self.observations);
                let tried = self.matched(Candidate { frame, proven: true }, &others, None);
                self.observations = kept;
                all.extend(tried?.neurons);
            }
            if let Some(sum) = together(all.into_iter()) {
                let frame = if matches!(rough.candidate.frame, Frame::Permuted(_)) { "permuted" } else { "rotated" };
                let between = "gate against up or down, in frames fitted to the other half of the layers";
                self.agreement(Question::Neurons, (frame, between, "all"), None, sum, 0.0);
            }
        }
        let mut fit = both;
        if fit.rows < 2 * short {
            self.own.tokens(self.other, self.tokens, usize::MAX, &mut |a, b| fit.add(a, b))?;
        }
        let Some(frame) = self.like(&rough.candidate.frame, &fit) else { return Ok(rough) };
        let kept = std::mem::take(&mut self.observations);
        let refined = self.matched(Candidate { frame, proven: rough.candidate.proven }, &rough.layers, None);
        self.observations = kept;
        refined
    }

    /// A frame of the same kind, fitted to these rows.
    fn like(&self, frame: &Frame, fit: &CrossGram) -> Option<Frame> {
        match frame {
            Frame::AsItStands => None,
            Frame::Permuted(_) => Some(Frame::Permuted(fit.order())),
            Frame::Rotated(_) => fit.rotation().map(|q| rotated(&q, self.own.hidden, self.other.hidden)),
        }
    }

    /// The cross-Gram of the neurons that are matched in some layers.
    fn matched_rows(&self, rough: &InFrame, wanted: impl Fn(&u32) -> bool) -> Result<CrossGram> {
        let mut fit = CrossGram::empty(self.own.hidden, self.other.hidden);
        for ((l, slot), (theirs, matching)) in rough.mlps.iter().filter(|((l, _), _)| wanted(l)) {
            let Some(m) = rough.layers.get(l) else { continue };
            for of in [Function::Gate, Function::Up, Function::Down] {
                let (Some(a), Some(b)) = (self.own.matrix(*l, of(*slot))?, self.other.matrix(*m, of(*theirs))?) else {
                    continue;
                };
                let place = |j: &usize| b.picked.binary_search(j).ok();
                let pairs = a
                    .picked
                    .iter()
                    .enumerate()
                    .filter_map(|(i, row)| Some((i, matching.order.get(*row)?.as_ref().and_then(place)?)));
                let (rows, others): (Vec<usize>, Vec<usize>) = pairs.unzip();
                // Scores are absolute, so a flipped pair of rows has to be flipped back by the sign in the rough frame.
                let (a, b) = (a.chosen(&rows), b.chosen(&others));
                let seen = expressed(&b, &rough.candidate.frame, self.own.hidden);
                fit.add(&a, &b.signed_like(&a, &seen));
            }
        }
        Ok(fit)
    }
}
