//! The start against the declared seed: the same draw, or not (METHODS 4, replay).

use std::collections::BTreeSet;

use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_measurements::{Replay, Replayed, TensorReplay};
use scratchproof_texts::{Text, text};

/// Share of a tensor's elements within one unit in the last place from which it counts as the same draw by another library,
/// where the others are near as well. Measured: `erfinv` of the AVX2 build 1.0, JAX's normal draws in F32 0.80; an unrelated model's
/// tensor in bf16 0.03.
const NEAR: f64 = 0.25;

/// Names that a message lists.
const NAMED: usize = 4;

/// Judges the replay; whether it shows by itself that the start is a draw. Then nothing else that was found of the start
/// stands against it.
pub fn judge(judgement: &mut Judgement, replay: &Replay) -> bool {
    let (seed, replayed) = match replay {
        Replay::Undeclared => return false,
        Replay::NoSeed => {
            judgement.missing.push(text!("start/replay/missing-seed"));
            return false;
        }
        Replay::NoRecipe => {
            judgement.missing.push(text!("start/replay/missing-recipe"));
            return false;
        }
        Replay::Sampled => {
            judgement.missing.push(text!("start/replay/missing-rows"));
            return false;
        }
        Replay::UnknownFramework(name) => {
            let framework = name.chars().take(80).collect::<String>().escape_debug().to_string();
            let message = text!("start/replay/unknown-framework", framework);
            return put(judgement, Grade::Context, Direction::Neutral, message, None);
        }
        Replay::Unfit(why) => {
            judgement.missing.push(text!("start/replay/missing-fitting-recipe"));
            let message = text!("start/replay/unfit", why);
            return put(judgement, Grade::Context, Direction::Neutral, message, None);
        }
        Replay::Done(seed, replayed) => (*seed, replayed),
    };
    let sorted = Sorted::new(replayed);
    let (grade, direction, message, named) = sorted.say(seed, replayed, judgement);
    let proven = grade == Grade::Conclusive;
    if proven {
        // An unusual scheme fails tests that are made for usual ones; that it was drawn is now known.
        for finding in judgement.findings.iter_mut().filter(|f| f.direction == Direction::Against) {
            (finding.direction, finding.grade) = (Direction::Neutral, Grade::Context);
        }
    }
    let finding = Finding { subject: named, ..figures(replayed) };
    put(judgement, grade, direction, message, Some(finding));
    proven
}

fn put(judgement: &mut Judgement, grade: Grade, direction: Direction, message: Text, with: Option<Finding>) -> bool {
    let mut finding = with.unwrap_or_else(|| Finding::new(Code::StartReplay, grade, direction, ""));
    (finding.grade, finding.direction, finding.message) = (grade, direction, message);
    finding.subject.steps = vec![0];
    finding.null = text!("start/replay/null");
    judgement.push(finding);
    false
}

fn figures(replayed: &Replayed) -> Finding {
    let mut finding = Finding::new(Code::StartReplay, Grade::Context, Direction::Neutral, "");
    let (elements, equal) = sums(replayed.tensors.iter());
    finding.statistic = Some(equal as f64);
    finding.effect = (elements > 0).then(|| equal as f64 / elements as f64);
    finding.n = Some(elements);
    finding.evidence = Some("evidence/replay.parquet".into());
    finding
}

fn sums<'a>(tensors: impl Iterator<Item = &'a TensorReplay>) -> (u64, u64) {
    tensors.fold((0, 0), |(elements, equal), t| (elements + t.elements, equal + t.equal))
}

/// The tensors by how they came out.
#[derive(Default)]
struct Sorted<'a> {
    exact: Vec<&'a TensorReplay>,
    /// The same draw with other roundings.
    near: Vec<&'a TensorReplay>,
    /// Equal, but the recipe says as much as the tensor.
    spelt: Vec<&'a TensorReplay>,
    differing: Vec<&'a TensorReplay>,
}

impl<'a> Sorted<'a> {
    fn new(replayed: &'a Replayed) -> Self {
        let mut sorted = Self::default();
        for tensor in &replayed.tensors {
            let near = tensor.close == tensor.elements && tensor.within_ulp as f64 >= NEAR * tensor.elements as f64;
            let list = if tensor.exact() {
                &mut sorted.exact
            } else if tensor.equal == tensor.elements {
                &mut sorted.spelt
            } else if near && tensor.drawn > 0 {
                &mut sorted.near
            } else {
                &mut sorted.differing
            };
            list.push(tensor);
        }
        sorted
    }

    fn say(
        &self,
        seed: u64,
        replayed: &Replayed,
        judgement: &mut Judgement,
    ) -> (Grade, Direction, Text, crate::Subject) {
        let drawn = |list: &[&TensorReplay]| list.iter().any(|t| t.drawn > 0);
        let mut subject = crate::Subject::default();
        let (elements, equal) = sums(replayed.tensors.iter());
        let share = if elements == 0 { 0.0 } else { equal as f64 / elements as f64 };
        // The seed is a word: some have more digits than a number of other programs holds.
        let by = || {
            text!(
                "start/replay/by",
                seed = seed.to_string(),
                generator = replayed.generator.as_str(),
                variant = replayed.variant.as_str()
            )
        };
        let lacking: Vec<&str> =
            replayed.left_out.iter().map(String::as_str).chain(self.spelt.iter().map(|t| t.tensor.as_str())).collect();
        if !drawn(&self.exact) && !drawn(&self.near) {
            judgement.missing.push(text!("start/replay/missing-framework"));
            let message = text!("start/replay/none-drawn", by = by(), share, elements);
            return (Grade::Weak, Direction::Neutral, message, subject);
        }
        if !self.differing.is_empty() {
            let names: Vec<&str> = self.differing.iter().map(|t| t.tensor.as_str()).collect();
            let components: BTreeSet<&str> = self.differing.iter().map(|t| t.component.as_str()).collect();
            if let [component] = components.into_iter().collect::<Vec<_>>().as_slice() {
                subject.component = Some((*component).to_owned());
            }
            subject.tensor = names.first().map(|name| (*name).to_owned());
            let last = self.exact.iter().chain(&self.near).filter_map(|t| t.order).max();
            let (wrong, _) = sums(self.differing.iter().copied());
            // Where the stream is the recipe's before and after a tensor, the tensor was drawn with it and then changed.
            let inside =
                self.differing.iter().any(|t| t.order.is_none_or(|order| last.is_some_and(|last| order < last)));
            if inside && 2 * wrong <= elements {
                let message = text!(
                    "start/replay/changed-inside",
                    count = names.len(),
                    all = replayed.tensors.len(),
                    by = by(),
                    others = self.exact.len() + self.near.len(),
                    tensors = named(&names),
                    more = rest(&names)
                );
                return (Grade::Moderate, Direction::Against, message, subject);
            }
            judgement.missing.push(text!("start/replay/missing-order"));
            let message = text!(
                "start/replay/other-end",
                count = self.exact.len() + self.near.len(),
                all = replayed.tensors.len(),
                by = by(),
                tensor = self.differing.iter().min_by_key(|t| t.order).map_or("", |t| t.tensor.as_str()),
                share,
                elements
            );
            return (Grade::Weak, Direction::Neutral, message, subject);
        }
        let drawn_elements: u64 = replayed.tensors.iter().map(|t| t.drawn).sum();
        if !lacking.is_empty() {
            judgement.missing.push(text!(
                "start/replay/missing-filling",
                tensors = named(&lacking),
                more = rest(&lacking)
            ));
            let message = text!(
                "start/replay/recipe-lacks",
                count = self.exact.len() + self.near.len(),
                by = by(),
                share,
                elements,
                others = lacking.len(),
                tensors = named(&lacking),
                more = rest(&lacking)
            );
            return (Grade::Moderate, Direction::For, message, subject);
        }
        if self.near.is_empty() {
            let message = text!(
                "start/replay/all",
                all = replayed.tensors.len(),
                by = by(),
                elements,
                drawn = drawn_elements,
                constant = elements - drawn_elements
            );
            return (Grade::Conclusive, Direction::For, message, subject);
        }
        let names: Vec<&str> = self.near.iter().map(|t| t.tensor.as_str()).collect();
        let message = text!(
            "start/replay/roundings",
            all = replayed.tensors.len(),
            by = by(),
            share,
            elements,
            near = replayed.tensors.iter().map(|t| t.within_ulp).sum::<u64>() as f64 / elements.max(1) as f64,
            tensors = named(&names),
            more = rest(&names)
        );
        (Grade::Strong, Direction::For, message, subject)
    }
}

/// The first few names, safe to print.
fn named(names: &[&str]) -> Vec<String> {
    names.iter().take(NAMED).map(|name| name.escape_debug().to_string()).collect()
}

/// How many names are not among them.
fn rest(names: &[&str]) -> usize {
    names.len().saturating_sub(NAMED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Condition;

    fn tensor(name: &str, equal: u64, order: Option<u64>) -> TensorReplay {
        TensorReplay {
            tensor: name.into(),
            component: "attention".into(),
            elements: 1000,
            drawn: if order.is_some() { 1000 } else { 0 },
            constant: if order.is_some() { 0 } else { 1000 },
            equal,
            within_ulp: equal,
            close: equal,
            explained: true,
            order,
        }
    }

    fn done(tensors: Vec<TensorReplay>) -> Replayed {
        Replayed {
            generator: "mt19937".into(),
            variant: "avx2".into(),
            tensors,
            left_out: Vec::new(),
            absent: Vec::new(),
            unknown: Vec::new(),
        }
    }

    fn judged(replayed: Replayed) -> (bool, Finding, Judgement) {
        let mut judgement = Judgement::untested();
        let mut odd = Finding::new(Code::StartSpectrum, Grade::Strong, Direction::Against, "odd");
        odd.subject.steps = vec![0];
        judgement.push(odd);
        let proven = judge(&mut judgement, &Replay::Done(7, replayed));
        judgement.settle(Condition::Holds);
        (proven, judgement.findings[1].clone(), judgement)
    }

    #[test]
    fn a_full_match_is_conclusive_and_overrides_what_only_looks_odd() {
        let (proven, finding, judgement) = judged(done(vec![tensor("a", 1000, Some(0)), tensor("b", 1000, None)]));
        assert!(proven && finding.grade == Grade::Conclusive && finding.direction == Direction::For);
        assert_eq!(judgement.condition, Condition::Holds);
        assert_eq!((finding.effect, finding.n), (Some(1.0), Some(2000)));
    }

    #[test]
    fn a_tensor_changed_inside_the_stream_is_a_finding_against_and_a_wrong_end_is_a_question() {
        let inside = vec![tensor("a", 1000, Some(0)), tensor("b", 9, Some(1)), tensor("c", 1000, Some(2))];
        let (proven, finding, _) = judged(done(inside));
        assert!(!proven && finding.grade == Grade::Moderate && finding.direction == Direction::Against);
        assert!(finding.message.contains(": b.") && finding.subject.tensor.as_deref() == Some("b"));
        let end = vec![tensor("a", 1000, Some(0)), tensor("b", 9, Some(1)), tensor("c", 9, Some(2))];
        let (proven, finding, judgement) = judged(done(end));
        assert!(!proven && finding.grade == Grade::Weak && finding.direction == Direction::Neutral);
        assert!(finding.message.contains("from b on") && judgement.missing.len() == 1);
    }

    #[test]
    fn a_recipe_without_its_seed_asks_for_it() {
        let mut judgement = Judgement::untested();
        assert!(!judge(&mut judgement, &Replay::NoSeed) && judgement.findings.is_empty());
        assert!(judgement.missing[0].contains("the seed of the declared start"));
        let mut judgement = Judgement::untested();
        judge(&mut judgement, &Replay::Undeclared);
        assert!(judgement.missing.is_empty(), "nothing is asked for where nothing was declared");
    }

    #[test]
    fn a_wrong_seed_accuses_nobody_and_frees_nobody() {
        let (proven, finding, judgement) = judged(done(vec![tensor("a", 9, Some(0)), tensor("norm", 1000, None)]));
        assert!(!proven && finding.grade == Grade::Weak && finding.direction == Direction::Neutral);
        assert_eq!(judgement.condition, Condition::Fails, "the spectrum's finding stands");
    }

    #[test]
    fn what_the_recipe_spells_out_or_leaves_out_proves_nothing() {
        let mut spelt = tensor("b", 1000, Some(1));
        spelt.explained = false;
        let (proven, finding, judgement) = judged(done(vec![tensor("a", 1000, Some(0)), spelt]));
        assert!(!proven && finding.grade == Grade::Moderate && finding.direction == Direction::For);
        assert!(judgement.missing[0].contains("what fills b"));
        let mut short = done(vec![tensor("a", 1000, Some(0))]);
        short.left_out.push("c".into());
        assert!(!judged(short).0);
    }

    #[test]
    fn other_roundings_are_never_called_exact() {
        let mut near = tensor("b", 999, Some(1));
        (near.within_ulp, near.close) = (1000, 1000);
        let (proven, finding, _) = judged(done(vec![tensor("a", 1000, Some(0)), near]));
        assert!(!proven && finding.grade == Grade::Strong && finding.direction == Direction::For);
        assert!(finding.message.contains("99.9500 %"), "{}", finding.message);
    }
}
