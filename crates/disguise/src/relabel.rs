//! What the answers say of how the other model is written.

use std::collections::BTreeMap;

use super::found::Relabelling;
use super::frame::{Agreement, Frame, fixed};
use super::matrix::{Function, Slot};
use super::search::{InFrame, Search, TOKENS};
use super::units::Matching;
use scratchproof_measurements::{Change, Question};

impl Search<'_> {
    /// Whether the second moments of a component are beyond what unrelated models show.
    pub(super) fn moments_found(&self) -> bool {
        self.observations.iter().any(|o| {
            o.question == Question::SecondMoments
                && o.layer_subject.is_none()
                && o.log10_p <= self.rules.shown_log10_p
                && o.effect >= self.rules.shown_effect
        })
    }

    /// What the best frame says of how the other model is written; `None` where nothing was found in it.
    pub(super) fn relabelling(&self, best: InFrame, layers_moved: bool, same: bool) -> Option<Relabelling> {
        let neurons = self.neurons_found(&best);
        let proven = best.candidate.proven && best.candidate.frame != Frame::AsItStands;
        let moments = self.observations.iter().any(|o| {
            o.question == Question::SecondMoments
                && o.component == "all"
                && o.layer_subject.is_none()
                && o.log10_p <= self.rules.certain_log10_p
                && o.effect >= self.rules.certain_effect
        });
        if neurons.is_none() && !proven && !moments {
            return None;
        }
        let mut changes = Vec::new();
        match &best.candidate.frame {
            Frame::AsItStands => {}
            Frame::Permuted(order) if same => {
                let other = self.other.hidden;
                let known = order.iter().enumerate().filter_map(|(i, j)| Some((i, (*j)?)));
                let (mut moved, mut flipped) = (false, false);
                for (i, j) in known {
                    moved |= j % other != i;
                    flipped |= j >= other;
                }
                if moved {
                    changes.push(Change::AxisPermuted);
                }
                if flipped {
                    changes.push(Change::SignsFlipped);
                }
            }
            Frame::Permuted(_) => changes.push(Change::AxisOfAnotherWidth),
            Frame::Rotated(_) => changes.push(Change::AxisRotated),
        }
        let (mut moved, mut pruned, mut up_cycled) = (0.0, false, false);
        let mut total = 0.0;
        for ((_, slot), (theirs, matching)) in &best.mlps {
            let agreed = matching.order.iter().flatten().count() as f64;
            total += agreed;
            moved += agreed * (1.0 - fixed(&matching.order));
            let shown = matching.agreement.log10_p <= self.rules.shown_log10_p;
            up_cycled |= shown && matches!((slot, theirs), (Slot::Expert(_) | Slot::Shared, Slot::Dense));
            pruned |= shown && self.narrower(*slot, *theirs, &best.layers);
        }
        if neurons.is_some() {
            if moved > 0.5 * total {
                changes.push(Change::NeuronsPermuted);
            }
            if best.experts_moved {
                changes.push(Change::ExpertsPermuted);
            }
            if pruned {
                changes.push(Change::WidthPruned);
            }
            if up_cycled {
                changes.push(Change::UpCycled);
            }
        }
        if best.heads_moved {
            changes.push(Change::HeadsPermuted);
        }
        if layers_moved {
            changes.push(Change::LayersMoved);
        }
        // What is written as the subject is needs no order of its units, which may be millions.
        let (mlps, heads) = if changes.is_empty() {
            (BTreeMap::new(), BTreeMap::new())
        } else {
            let order = |(key, (slot, matching)): (_, (Slot, Matching))| (key, (slot, matching.order));
            (best.mlps.into_iter().map(order).collect(), best.heads)
        };
        Some(Relabelling { frame: best.candidate.frame, layers: best.layers, mlps, heads, changes })
    }

    pub(super) fn shown(&self, agreement: Agreement, against: usize) -> bool {
        let rules = self.rules;
        let share = if against == TOKENS { rules.matched_by_tokens } else { rules.matched };
        agreement.log10_p <= rules.shown_log10_p && agreement.effect() >= share
    }

    /// The neurons that were matched, if they are more than independent models show in that frame.
    pub(super) fn neurons_found(&self, tried: &InFrame) -> Option<Agreement> {
        let rules = self.rules;
        let share = if tried.candidate.proven { rules.matched } else { rules.matched_by_tokens };
        tried.neurons.filter(|n| n.log10_p <= rules.shown_log10_p && n.effect() >= share)
    }

    fn narrower(&self, slot: Slot, theirs: Slot, layers: &BTreeMap<u32, u32>) -> bool {
        layers.iter().any(|(l, m)| {
            let sizes = (self.own.size(*l, Function::Up(slot)), self.other.size(*m, Function::Up(theirs)));
            matches!(sizes, (Some(a), Some(b)) if a < b)
        })
    }
}
