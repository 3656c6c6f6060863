//! What matched heads say to the search: which layer answers which, and which rows of attention belong together.

use std::collections::BTreeMap;

use super::heads::is_latent;
use super::matrix::{Function, Matrix};
use super::search::Search;
use scratchproof_error::Result;
use scratchproof_measurements::{ANY_BASIS, HeadMatch, Observation, Question};

/// The component that heads are judged with.
const ATTENTION: &str = "attention";

/// What heads say, as answers.
#[must_use]
pub fn answers(found: &HeadMatch) -> Vec<Observation> {
    let answer = |question, between: &str| Observation {
        question,
        frame: ANY_BASIS.to_owned(),
        between: between.to_owned(),
        component: ATTENTION.into(),
        layer_subject: None,
        layer_other: None,
        agreed: None,
        expected: None,
        of: 0,
        z: None,
        log10_p: 0.0,
        effect: 0.0,
        in_place: None,
    };
    let products = found.tests.iter().map(|test| Observation {
        agreed: Some(test.agreed as f64),
        expected: Some(test.expected),
        of: test.of,
        log10_p: test.log10_p,
        effect: test.agreed as f64 / test.of.max(1) as f64,
        ..answer(Question::HeadProducts, &test.between)
    });
    let signs = found.signs.iter().map(|test| Observation {
        agreed: Some(test.agreed as f64),
        expected: Some(test.of as f64 / 2.0),
        of: test.of,
        log10_p: test.log10_p,
        effect: test.correlation,
        ..answer(Question::HeadSigns, &test.between)
    });
    products.chain(signs).collect()
}

impl Search<'_> {
    /// The answers of the heads among the others.
    pub(super) fn ask_heads(&mut self) {
        self.observations.extend(answers(&self.heads));
    }

    /// Whether the heads are the other model's beyond what unrelated models show.
    fn heads_speak(&self) -> bool {
        let signs = self.heads.signs.iter().map(|t| t.log10_p);
        signs.chain(self.heads.tests.iter().map(|t| t.log10_p)).any(|p| p <= self.rules.shown_log10_p)
    }

    /// For the layers that are looked at, the other model's layer by their heads; empty where heads say nothing.
    pub(super) fn layers_by_heads(&self) -> BTreeMap<u32, u32> {
        if !self.heads_speak() {
            return BTreeMap::new();
        }
        let mut layers = self.heads.layers();
        let looked = self.own.looked();
        layers.retain(|layer, _| looked.contains(layer));
        layers
    }

    /// Rows of an attention matrix of two layers, each head beside the head it was matched with; `None` where heads say
    /// nothing, or stand where they stood.
    pub(super) fn head_rows(
        &self,
        (l, m): (u32, u32),
        function: Function,
        most: usize,
    ) -> Result<Option<(Matrix, Matrix)>> {
        let (Some(own), Some(other)) = (self.own.heads, self.other.heads) else { return Ok(None) };
        if own.dim != other.dim || !self.heads_speak() || is_latent(self.own) || is_latent(self.other) {
            return Ok(None);
        }
        let of_groups = matches!(function, Function::Key | Function::Value);
        let pairs: Vec<(usize, usize)> = if of_groups {
            self.heads.groups.iter().filter(|g| (g.0, g.2) == (l, m)).map(|g| (g.1 as usize, g.3 as usize)).collect()
        } else if matches!(function, Function::Query | Function::Output) {
            let here = self.heads.matched.iter().filter(|h| (h.layer_subject, h.layer_other) == (l, m));
            here.map(|h| (h.head_subject as usize, h.head_other as usize)).collect()
        } else {
            return Ok(None);
        };
        let same = self.own.size(l, function) == self.other.size(m, function);
        if pairs.is_empty() || same && pairs.iter().all(|(a, b)| a == b) {
            return Ok(None);
        }
        let dim = own.dim;
        let rows = |heads: &mut dyn Iterator<Item = usize>| -> Vec<usize> {
            heads.take((most / dim).max(1)).flat_map(|head| head * dim..(head + 1) * dim).collect()
        };
        let (ours, theirs) = (rows(&mut pairs.iter().map(|p| p.0)), rows(&mut pairs.iter().map(|p| p.1)));
        let total = |heads: scratchproof_checkpoint::Heads| if of_groups { heads.key_value } else { heads.query } * dim;
        let a = self.own.rows_of(l, function, ours, total(own))?;
        Ok(a.zip(self.other.rows_of(m, function, theirs, total(other))?))
    }
}
