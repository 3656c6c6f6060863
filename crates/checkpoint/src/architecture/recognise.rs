//! From the names in a file to what the tensors are for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Architecture, Architectures, Hole, Split};
use crate::{Component, Residual, Role};

/// The names of a model, understood.
#[derive(Debug)]
pub struct Recognition {
    /// The architecture that knows most of the names outside towers; none if it knows less than half.
    pub architecture: Option<String>,
    /// One role for each name, in their order.
    pub roles: Vec<Role>,
    /// For each name, the matrices that its tensor holds, if they are several.
    pub splits: Vec<Option<Arc<Split>>>,
}

/// A name taken apart.
struct Parts<'a> {
    /// Without the tower's prefix.
    rest: &'a str,
    /// `rest` with `{}` for every part that is a number.
    key: String,
    /// These numbers.
    numbers: Vec<u32>,
}

impl Architectures {
    /// Says what each name is for. The architecture that knows most names is taken; among equals the one that
    /// `model_type` of config.json asks for, then the common one, then the one with the fewest templates.
    pub fn recognise(&self, names: &[&str], model_type: Option<&str>) -> Recognition {
        let mut towers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut parts = Vec::with_capacity(names.len());
        for (i, name) in names.iter().enumerate() {
            let (tower, rest) = self.tower(name);
            towers.entry(tower).or_default().push(i);
            parts.push(take_apart(rest));
        }
        let mut roles: Vec<Option<Role>> = vec![None; names.len()];
        let mut splits = vec![None; names.len()];
        let mut chosen = None;
        for (tower, members) in towers {
            let (best, known) = self.best(tower, members.iter().map(|i| parts[*i].key.as_str()), model_type);
            if tower.is_empty() && 2 * known >= members.len() {
                chosen = best.map(|best| best.name.clone());
            }
            for i in members {
                let role = best.and_then(|best| best.role(&parts[i], tower));
                splits[i] = best.and_then(|best| best.template(&parts[i].key)?.split.clone());
                roles[i] = Some(role.unwrap_or_else(|| unknown(&parts[i], tower)));
            }
        }
        Recognition { architecture: chosen, roles: roles.into_iter().flatten().collect(), splits }
    }

    /// The tower a name belongs to (empty for none) and the rest of the name.
    fn tower<'a>(&self, name: &'a str) -> (&'a str, &'a str) {
        let outer = self.outer.iter().filter_map(|outer| name.strip_prefix(outer.as_str()));
        for start in std::iter::once(name).chain(outer) {
            if let Some((first, rest)) = start.split_once('.')
                && self.towers.iter().any(|tower| tower == first)
            {
                return (first, rest);
            }
        }
        ("", name)
    }

    /// The architecture that knows most of these keys of a tower, and how many.
    fn best<'a>(
        &self,
        tower: &str,
        keys: impl Iterator<Item = &'a str>,
        model_type: Option<&str>,
    ) -> (Option<&Architecture>, usize) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for key in keys {
            *counts.entry(key).or_default() += 1;
        }
        let score = |architecture: &Architecture| -> usize {
            counts.iter().filter(|(key, _)| architecture.template(key).is_some()).map(|(_, count)| count).sum()
        };
        let asked = |architecture: &Architecture| {
            model_type.is_some_and(|model_type| architecture.model_types.iter().any(|name| name == model_type))
        };
        let fit = self.list.iter().filter(|a| a.only_in.is_empty() || a.only_in.iter().any(|name| name == tower));
        let scored = fit.map(|architecture| (architecture, score(architecture)));
        let best = scored.filter(|(_, known)| *known > 0).max_by(|(a, known_a), (b, known_b)| {
            let order =
                known_a.cmp(known_b).then_with(|| asked(a).cmp(&asked(b))).then_with(|| a.common.cmp(&b.common));
            // Fewer templates are the closer description; the name decides the rest, so that nothing is left to chance.
            order.then_with(|| b.templates.len().cmp(&a.templates.len())).then_with(|| b.name.cmp(&a.name))
        });
        best.map_or((None, 0), |(best, known)| (Some(best), known))
    }
}

impl Architecture {
    /// The template of a key, with or without a prefix.
    fn template(&self, key: &str) -> Option<&super::Template> {
        let rests = self.prefixes.iter().filter_map(|prefix| key.strip_prefix(prefix.as_str()));
        rests.into_iter().find_map(|rest| self.templates.get(rest))
    }

    fn role(&self, parts: &Parts<'_>, tower: &str) -> Option<Role> {
        let template = self.template(&parts.key)?;
        let (mut layer, mut expert) = (None, None);
        for (hole, number) in template.holes.iter().zip(&parts.numbers) {
            match hole {
                Hole::Layer => layer = Some(*number),
                Hole::Expert => expert = Some(*number),
                Hole::Index => {}
            }
        }
        Some(Role {
            tower: tower.to_owned(),
            component: template.component,
            family: template.family.clone(),
            layer,
            expert,
            residual: template.residual,
            known: true,
            constant: template.constant,
        })
    }
}

/// What can be said of a name that no template knows.
fn unknown(parts: &Parts<'_>, tower: &str) -> Role {
    let after = |words: &[&str]| {
        let names = parts.rest.split('.');
        let mut pairs = names.clone().zip(names.skip(1));
        pairs.find_map(|(word, next)| if words.contains(&word) { number(next) } else { None })
    };
    Role {
        tower: tower.to_owned(),
        component: Component::Other,
        family: parts.key.clone(),
        layer: after(&["layers", "h", "blocks", "layer"]),
        expert: after(&["experts"]),
        residual: Residual::None,
        known: false,
        constant: false,
    }
}

fn take_apart(rest: &str) -> Parts<'_> {
    let mut numbers = Vec::new();
    let mut key = String::with_capacity(rest.len());
    for (i, part) in rest.split('.').enumerate() {
        if i > 0 {
            key.push('.');
        }
        match number(part) {
            Some(number) => {
                numbers.push(number);
                key.push_str("{}");
            }
            None => key.push_str(part),
        }
    }
    Parts { rest, key, numbers }
}

/// A number as programs write it: `007` is a word, or two names could mean one tensor.
fn number(part: &str) -> Option<u32> {
    let plain = part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
    if plain { part.parse().ok() } else { None }
}
