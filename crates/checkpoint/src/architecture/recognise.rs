//! From the names in a file to what the tensors are for.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Architecture, Architectures, Hole, Split};
use crate::{Component, Residual, Role};

/// Parts of a name that may stand before what templates know.
const DEEPEST: usize = 4;

/// A beginning that one name in so many has is looked at.
const COMMON: usize = 5;

/// A model with more names than any, numbers aside, is not searched.
const MOST_KEYS: usize = 20_000;

/// Beginnings that are looked at.
const CANDIDATES: usize = 32;

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
    /// Without what stands before it.
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
        let plain: Vec<Cow<'_, str>> = names.iter().map(|name| dotted(name)).collect();
        let mut towers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut rests: Vec<&str> = Vec::with_capacity(names.len());
        for (i, name) in plain.iter().enumerate() {
            let (tower, rest) = self.tower(name);
            towers.entry(tower).or_default().push(i);
            rests.push(rest);
        }
        self.strip(&mut towers, &mut rests, model_type);
        let parts: Vec<Parts> = rests.into_iter().map(take_apart).collect();
        let mut roles: Vec<Option<Role>> = vec![None; names.len()];
        let mut splits = vec![None; names.len()];
        let mut chosen = None;
        for (tower, members) in towers {
            let (best, known) = self.best(tower, members.iter().map(|i| parts[*i].key.as_str()), model_type);
            if tower.is_empty() && 2 * known >= members.len() {
                chosen = best.map(|best| best.name.clone());
            }
            let whole = known == members.len();
            let mut own: Vec<Role> = Vec::with_capacity(members.len());
            for i in &members {
                let role = best.and_then(|best| best.role(&parts[*i], tower));
                splits[*i] = best.and_then(|best| best.template(&parts[*i].key)?.split.clone());
                own.push(role.unwrap_or_else(|| unknown(&parts[*i], tower)));
            }
            if decoder_alone(&mut own) && tower.is_empty() && !whole {
                // Of a model of two halves that is not there, of which some names alone are.
                chosen = None;
            }
            for (i, role) in members.into_iter().zip(own) {
                roles[i] = Some(role);
            }
        }
        Recognition { architecture: chosen, roles: roles.into_iter().flatten().collect(), splits }
    }

    /// Takes away what stands before the names that templates know (`llm.` in MiniCPM-V, a second `model.`): in each tower
    /// the beginning without which the most names are known. Names of the main model that do not have it, and that no
    /// template knows, are a tower of their own.
    fn strip<'a>(&self, towers: &mut BTreeMap<&'a str, Vec<usize>>, rests: &mut [&'a str], model_type: Option<&str>) {
        let mut apart: Vec<(&'a str, usize)> = Vec::new();
        for (tower, members) in towers.iter_mut() {
            let own: Vec<&'a str> = members.iter().map(|i| rests[*i]).collect();
            let Some((prefix, best)) = self.leading(tower, &own, model_type) else { continue };
            let mut outside: BTreeSet<usize> = BTreeSet::new();
            for i in members.iter() {
                match rests[*i].strip_prefix(prefix) {
                    Some(rest) => rests[*i] = rest,
                    None => _ = outside.insert(*i),
                }
            }
            if !tower.is_empty() {
                continue;
            }
            members.retain(|i| {
                let inside = !outside.contains(i) || best.template(&take_apart(rests[*i]).key).is_some();
                let first = rests[*i].split_once('.').filter(|_| !inside);
                if let Some((first, rest)) = first {
                    rests[*i] = rest;
                    apart.push((first, *i));
                }
                first.is_none()
            });
        }
        for (tower, i) in apart {
            towers.entry(tower).or_default().push(i);
        }
    }

    /// What stands before most names, ends at a dot, and hides names from their templates; with the architecture that knows
    /// them without it.
    fn leading<'a>(
        &self,
        tower: &str,
        names: &[&'a str],
        model_type: Option<&str>,
    ) -> Option<(&'a str, &Architecture)> {
        let mut keys: BTreeMap<String, usize> = BTreeMap::new();
        for name in names {
            *keys.entry(take_apart(name).key).or_default() += 1;
        }
        let known = |prefix: &str| {
            // What stands before has no numbers, so a key begins as its names do.
            let stripped = keys.iter().map(|(key, count)| (key.strip_prefix(prefix).unwrap_or(key), *count));
            self.best_of(tower, &stripped.collect::<Vec<_>>(), model_type)
        };
        let (_, plain) = known("");
        if plain == names.len() || keys.len() > MOST_KEYS {
            return None;
        }
        let mut count: BTreeMap<&'a str, usize> = BTreeMap::new();
        for name in names {
            let dots = name.match_indices('.').map(|(at, _)| at + 1).take(DEEPEST);
            for prefix in dots.map(|end| &name[..end]) {
                if prefix.bytes().any(|byte| byte.is_ascii_digit()) {
                    break;
                }
                *count.entry(prefix).or_default() += 1;
            }
        }
        let often = count.into_iter().filter(|(_, count)| COMMON * count >= names.len()).take(CANDIDATES);
        let found = often.map(|(prefix, _)| (prefix, known(prefix)));
        let best = found.max_by(|(a, (_, known_a)), (b, (_, known_b))| {
            known_a.cmp(known_b).then_with(|| b.len().cmp(&a.len())).then_with(|| b.cmp(a))
        });
        best.and_then(|(prefix, (best, known))| Some((prefix, best.filter(|_| known > plain)?)))
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
        self.best_of(tower, &counts.into_iter().collect::<Vec<_>>(), model_type)
    }

    /// The same of keys with their numbers.
    fn best_of(
        &self,
        tower: &str,
        counts: &[(&str, usize)],
        model_type: Option<&str>,
    ) -> (Option<&Architecture>, usize) {
        let score = |architecture: &Architecture| -> usize {
            counts.iter().filter(|(key, _)| architecture.template(key).is_some()).map(|(_, count)| count).sum()
        };
        let asked = |architecture: &Architecture| {
            model_type.is_some_and(|model_type| architecture.model_types.iter().any(|name| name == model_type))
        };
        let fit = self.list.iter().filter(|a| a.only_in.is_empty() || a.only_in.iter().any(|name| name == tower));
        let scored = fit.map(|architecture| (architecture, score(architecture)));
        let best = scored.filter(|(_, known)| *known > 0).max_by(|(a, known_a), (b, known_b)| {
            let order = known_a
                .cmp(known_b)
                .then_with(|| a.given.cmp(&b.given))
                .then_with(|| asked(a).cmp(&asked(b)))
                .then_with(|| a.common.cmp(&b.common));
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
            deduced: false,
            constant: template.constant,
        })
    }
}

/// What templates of an encoder and a decoder call the latter's tensors.
const DECODER: &str = "decoder.";

/// Where the layers that a template knows are a decoder's, and no encoder nor what looks at one is there, takes them for what they
/// are: those of a language model, to be held against any other. Whether it did.
fn decoder_alone(roles: &mut [Role]) -> bool {
    let layers = || roles.iter().filter(|role| role.known && role.layer.is_some());
    let plain = |role: &Role| role.family.strip_prefix(DECODER).is_some_and(|rest| !rest.starts_with("cross."));
    if layers().next().is_none() || !layers().all(plain) {
        return false;
    }
    for role in roles.iter_mut().filter(|role| role.known) {
        if let Some(rest) = role.family.strip_prefix(DECODER) {
            role.family = rest.to_owned();
        }
    }
    true
}

impl Role {
    /// What can be said of a name alone.
    pub(crate) fn unknown(name: &str) -> Self {
        unknown(&take_apart(name), "")
    }
}

/// What can be said of a name that no template knows. Its layer is the number after a word that says so, else the first
/// number; its family is the rest of the name, with other numbers in it.
fn unknown(parts: &Parts<'_>, tower: &str) -> Role {
    let words: Vec<&str> = parts.rest.split('.').collect();
    let after = |words_before: &[&str]| {
        (1..words.len()).find(|&at| number(words[at]).is_some() && words_before.contains(&words[at - 1]))
    };
    let expert = after(&["experts", "expert"]);
    let first = || (0..words.len()).find(|&at| number(words[at]).is_some() && Some(at) != expert);
    let layer = after(&["layers", "h", "blocks", "layer", "block"]).or_else(first);
    let family: Vec<&str> =
        (0..words.len()).map(|at| if Some(at) == layer || Some(at) == expert { "{}" } else { words[at] }).collect();
    let at = |place: Option<usize>| place.and_then(|at| number(words[at]));
    Role {
        tower: tower.to_owned(),
        component: Component::Other,
        family: family.join("."),
        layer: at(layer),
        expert: at(expert),
        residual: Residual::None,
        known: false,
        deduced: false,
        constant: false,
    }
}

/// A name of JAX as others write it: `decoder/layers_3/mlp` is `decoder.layers.3.mlp`.
fn dotted(name: &str) -> Cow<'_, str> {
    if !name.contains('/') {
        return Cow::Borrowed(name);
    }
    let part = |part: &str| match part.rsplit_once('_') {
        Some((word, at)) if number(at).is_some() && JAX.contains(&word) => format!("{word}.{at}"),
        _ => part.to_owned(),
    };
    Cow::Owned(name.split('/').map(part).collect::<Vec<_>>().join("."))
}

/// Words that JAX's modules put before the number of a layer.
const JAX: [&str; 4] = ["layers", "layer", "blocks", "block"];

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
