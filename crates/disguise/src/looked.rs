//! What the questions of a search were asked of.

use std::collections::BTreeMap;

use super::matrix::Function;
use super::moments::LayerMoments;
use super::search::Search;
use scratchproof_measurements::Looked;

impl Search<'_> {
    /// Notes what second moments were made of.
    pub(super) fn looked_at_moments(&mut self, moments: &LayerMoments) {
        let mut looked: BTreeMap<&'static str, Looked> = BTreeMap::new();
        for (layer, parts) in &moments.rows {
            for (component, rows) in parts {
                let seen = looked.entry(*component).or_default();
                seen.rows += *rows as u64;
                let of = |f: &Function| f.component() == *component;
                seen.matrices += self.own.in_sums(*layer).into_iter().filter(of).count() as u64;
            }
        }
        self.looked_at("second-moments", moments.rows.len(), looked);
    }

    /// Notes what a question was asked of.
    pub(super) fn looked_at(&mut self, question: &str, layers: usize, looked: BTreeMap<&'static str, Looked>) {
        let all = self.own.layers();
        for (component, seen) in looked {
            let own: Vec<(u32, Function)> = all
                .iter()
                .flat_map(|l| self.own.functions(*l).into_iter().map(move |f| (*l, f)))
                .filter(|(_, f)| f.component() == component)
                .collect();
            let rows = own.iter().filter_map(|(l, f)| self.own.size(*l, *f)).sum::<usize>() as u64;
            let matrices = own.len() as u64;
            // Asked in several frames, a question rests on the most that was looked at.
            self.looked.retain(|old| old.question != question || old.component != component || old.rows > seen.rows);
            if self.looked.iter().any(|old| old.question == question && old.component == component) {
                continue;
            }
            self.looked.push(Looked {
                question: question.to_owned(),
                component: component.to_owned(),
                layers: layers as u64,
                of_layers: all.len() as u64,
                of_matrices: if question == "neurons" { seen.matrices.max(self.mlps_of(component)) } else { matrices },
                of_rows: if question == "neurons" { self.neurons_of(component) } else { rows },
                ..seen
            });
        }
    }

    /// MLPs of the subject in a component.
    fn mlps_of(&self, component: &str) -> u64 {
        self.ups(component).len() as u64
    }

    /// Neurons of the subject in a component.
    fn neurons_of(&self, component: &str) -> u64 {
        self.ups(component).into_iter().sum::<usize>() as u64
    }

    fn ups(&self, component: &str) -> Vec<usize> {
        let ups =
            |l: u32| self.own.functions(l).into_iter().filter(|f| matches!(f, Function::Up(_))).map(move |f| (l, f));
        let all = self.own.layers().into_iter().flat_map(ups).filter(|(_, f)| f.component() == component);
        all.filter_map(|(l, f)| self.own.size(l, f)).collect()
    }
}
