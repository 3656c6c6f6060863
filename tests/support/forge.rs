//! Series of checkpoints that nobody trained: made from an honest run as somebody would who has something to hide.
//!
//! A forger knows the run he starts from, so every forgery is shaped by it: blends stand where the honest checkpoint's foot
//! on the chord is, noise is as large, tensor by tensor, as the honest distance from it.

use std::collections::BTreeMap;

use super::weights::{Format, Model, Tensor};
use super::{Copy, Numbers, names};

/// The checkpoints of a run by their steps.
#[derive(Clone)]
pub struct Series {
    pub at: BTreeMap<u32, Model>,
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn rms(values: &[f32]) -> f64 {
    (dot(values, values) / values.len().max(1) as f64).sqrt()
}

fn minus(a: &Tensor, b: &Tensor) -> Vec<f32> {
    a.values.iter().zip(&b.values).map(|(a, b)| a - b).collect()
}

/// Each element `share` of the way from `a` to `b`.
fn toward(a: &Tensor, b: &Tensor, share: f64) -> Tensor {
    let mut new = a.clone();
    new.values.iter_mut().zip(&b.values).for_each(|(a, b)| *a = (f64::from(*a) + share * f64::from(b - *a)) as f32);
    new
}

fn add_noise(tensor: &mut Tensor, size: f64, numbers: &mut Numbers) {
    tensor.values.iter_mut().for_each(|x| *x += (size * gauss(numbers)) as f32);
}

/// A number of the normal distribution, near enough: its tails end at six.
fn gauss(numbers: &mut Numbers) -> f64 {
    (0..12).map(|_| f64::from(numbers.noise())).sum::<f64>() / 12f64.sqrt()
}

/// A fresh random start of a model's shapes: matrices normal with `std`, norms one, biases zero.
pub fn draw(like: &Model, std: f64, seed: u64) -> Model {
    let (mut new, mut numbers) = (like.clone(), Numbers(seed));
    for (name, tensor) in &mut new.tensors {
        if tensor.shape.len() >= 2 {
            tensor.values.iter_mut().for_each(|x| *x = (std * gauss(&mut numbers)) as f32);
        } else {
            tensor.values.fill(if name.ends_with("norm.weight") { 1.0 } else { 0.0 });
        }
    }
    new
}

impl Series {
    /// The checkpoints of a copied case.
    pub fn of(copy: &Copy) -> Self {
        let folder = copy.path("checkpoints");
        let step = |name: &str| name.strip_prefix("step-").and_then(|step| step.parse().ok()).expect("a step");
        Self { at: names(&folder).iter().map(|name| (step(name), Model::read(&folder.join(name)))).collect() }
    }

    /// Writes them in place of the copy's own.
    pub fn write(&self, copy: &Copy) {
        std::fs::remove_dir_all(copy.path("checkpoints")).expect("removed");
        for (step, model) in &self.at {
            model.write(&copy.path(&format!("checkpoints/step-{step}")));
        }
    }

    pub fn steps(&self) -> Vec<u32> {
        self.at.keys().copied().collect()
    }

    pub fn last(&self) -> u32 {
        *self.at.keys().last().expect("a checkpoint")
    }

    /// Steps that are neither first nor last.
    pub fn inner(&self) -> Vec<u32> {
        let steps = self.steps();
        steps[1..steps.len() - 1].to_vec()
    }

    /// The checkpoints before and after a step.
    pub fn neighbours(&self, step: u32) -> (u32, u32) {
        let before = self.at.range(..step).next_back().expect("one before");
        let after = self.at.range(step + 1..).next().expect("one after");
        (*before.0, *after.0)
    }

    /// Where along the straight line from one step to another the foot of a checkpoint is, over all tensors.
    pub fn foot(&self, step: u32, (from, to): (u32, u32)) -> f64 {
        let (mut along, mut whole) = (0.0, 0.0);
        for (name, start) in &self.at[&from].tensors {
            let chord = minus(&self.at[&to].tensors[name], start);
            along += dot(&minus(&self.at[&step].tensors[name], start), &chord);
            whole += dot(&chord, &chord);
        }
        along / whole
    }

    /// Root mean square distance of every tensor from that line.
    fn off(&self, step: u32, (from, to): (u32, u32)) -> BTreeMap<String, f64> {
        let share = self.foot(step, (from, to));
        let of = |name: &String| {
            let [own, a, b] = [step, from, to].map(|step| &self.at[&step].tensors[name]);
            rms(&minus(own, &toward(a, b, share)))
        };
        self.at[&step].tensors.keys().map(|name| (name.clone(), of(name))).collect()
    }

    /// One checkpoint as a blend of two others; the share may differ from tensor to tensor.
    pub fn blend(&mut self, step: u32, (from, to): (u32, u32), mut share: impl FnMut(&str) -> f64) {
        let mut new = self.at[&from].clone();
        for (name, tensor) in &mut new.tensors {
            *tensor = toward(tensor, &self.at[&to].tensors[name], share(name));
        }
        self.put(step, new);
    }

    /// All inner checkpoints as blends of first and last, at the honest ones' feet.
    pub fn blend_all(&mut self) {
        let (honest, ends) = (self.clone(), (self.steps()[0], self.last()));
        for step in self.inner() {
            self.blend(step, ends, |_| honest.foot(step, ends));
        }
    }

    /// These checkpoints as blends of two others with noise of `size` times the honest distance from the line; `common` of
    /// its variance is the same noise in all of them.
    pub fn blend_with_noise(&mut self, steps: &[u32], ends: (u32, u32), size: f64, common: f64, seed: u64) {
        let honest = self.clone();
        for (place, step) in steps.iter().enumerate() {
            let (mut shared, mut own) = (Numbers(seed), Numbers(seed + 1 + place as u64));
            let off = honest.off(*step, ends);
            let share = honest.foot(*step, ends);
            self.blend(*step, ends, |_| share);
            for (name, tensor) in &mut self.at.get_mut(step).expect("a checkpoint").tensors {
                add_noise(tensor, size * off[name] * common.sqrt(), &mut shared);
                add_noise(tensor, size * off[name] * (1.0 - common).sqrt(), &mut own);
            }
        }
    }

    /// A walk from `start` to the last checkpoint, tied at both ends, as far from the line as the honest one times `size`.
    /// `momentum` of every one of its 120 moves is the move before.
    pub fn bridge(&mut self, start: &Model, size: f64, momentum: f64, seed: u64) {
        const MOVES: usize = 120;
        let ends = (self.steps()[0], self.last());
        let inner = self.inner();
        let honest = self.clone();
        let feet: Vec<f64> = inner.iter().map(|step| honest.foot(*step, ends).clamp(0.02, 0.98)).collect();
        let middle = inner.len() / 2;
        let off = honest.off(inner[middle], ends);
        let mut numbers = Numbers(seed);
        self.put(ends.0, start.clone());
        for (name, last) in &honest.at[&ends.1].tensors {
            let count = last.values.len();
            let (mut place, mut speed) = (vec![0f32; count], vec![0f32; count]);
            let mut walk = vec![place.clone()];
            for _ in 0..MOVES {
                for (x, v) in place.iter_mut().zip(&mut speed) {
                    *v = (momentum * f64::from(*v) + (1.0 - momentum) * f64::from(numbers.noise())) as f32;
                    *x += *v;
                }
                walk.push(place.clone());
            }
            let at = |foot: f64| ((foot * MOVES as f64).round() as usize).clamp(1, MOVES - 1);
            let tied = |moves: usize| -> Vec<f32> {
                let share = moves as f32 / MOVES as f32;
                walk[moves].iter().zip(&walk[MOVES]).map(|(x, end)| x - share * end).collect()
            };
            let scale = size * off[name] / rms(&tied(at(feet[middle]))).max(1e-30);
            for (step, foot) in inner.iter().zip(&feet) {
                let mut new = toward(&start.tensors[name], last, at(*foot) as f64 / MOVES as f64);
                new.values.iter_mut().zip(tied(at(*foot))).for_each(|(x, y)| *x += (scale * f64::from(y)) as f32);
                self.at.get_mut(step).expect("a checkpoint").tensors.insert(name.clone(), new);
            }
        }
    }

    /// Noise added backwards from the last checkpoint, as much as the honest run went, before it `start`; `walk`: every
    /// checkpoint is the later one with more noise, else each has its own.
    pub fn backwards_noise(&mut self, start: &Model, walk: bool, seed: u64) {
        let ends = (self.steps()[0], self.last());
        let honest = self.clone();
        let mut numbers = Numbers(seed);
        let (mut later, mut left) = (honest.at[&ends.1].clone(), 1.0);
        for step in self.inner().into_iter().rev() {
            let foot = honest.foot(step, ends).clamp(0.0, left);
            let mut new = if walk { later.clone() } else { honest.at[&ends.1].clone() };
            let share = if walk { left - foot } else { 1.0 - foot };
            for (name, tensor) in &mut new.tensors {
                let path = rms(&minus(&honest.at[&ends.1].tensors[name], &honest.at[&ends.0].tensors[name]));
                add_noise(tensor, path * share.max(0.0).sqrt(), &mut numbers);
            }
            (later, left) = (new.clone(), foot);
            self.put(step, new);
        }
        self.put(ends.0, start.clone());
    }

    /// One checkpoint under another step, with noise of this size.
    pub fn copy_step(&mut self, from: u32, to: u32, noise: f64, seed: u64) {
        let (mut new, mut numbers) = (self.at[&from].clone(), Numbers(seed));
        if noise > 0.0 {
            new.tensors.values_mut().for_each(|tensor| add_noise(tensor, noise, &mut numbers));
        }
        self.put(to, new);
    }

    /// Two checkpoints exchanged.
    pub fn swap(&mut self, a: u32, b: u32) {
        let (first, second) = (self.at[&a].clone(), self.at[&b].clone());
        self.put(a, second);
        self.put(b, first);
    }

    /// One checkpoint rounded to a number format and stored as before.
    pub fn recast(&mut self, step: u32, format: Format) {
        self.change(&[step], |_, tensor| tensor.values.iter_mut().for_each(|x| *x = format.round(*x)));
    }

    /// One checkpoint as the mean of several.
    pub fn average(&mut self, steps: &[u32], into: u32) {
        let mut new = self.at[&into].clone();
        for (name, tensor) in &mut new.tensors {
            for (i, value) in tensor.values.iter_mut().enumerate() {
                let sum: f64 = steps.iter().map(|step| f64::from(self.at[step].tensors[name].values[i])).sum();
                *value = (sum / steps.len() as f64) as f32;
            }
        }
        self.put(into, new);
    }

    /// These steps' tensors from another run, as far as `part` takes them.
    pub fn splice(&mut self, other: &Self, steps: &[u32], part: impl Fn(&str) -> bool) {
        for step in steps {
            for (name, tensor) in &mut self.at.get_mut(step).expect("a checkpoint").tensors {
                if part(name) {
                    tensor.values.clone_from(&other.at[step].tensors[name].values);
                }
            }
        }
    }

    /// These checkpoints moved `share` of the way to a model.
    pub fn merge(&mut self, steps: &[u32], with: &Model, share: f64) {
        self.change(steps, |name, tensor| *tensor = toward(tensor, &with.tensors[name], share));
    }

    /// A slow pull: the last checkpoint moves `share` of the way to a model, the others by their part of the way.
    pub fn pull(&mut self, to: &Model, share: f64) {
        let honest = self.clone();
        let ends = (self.steps()[0], self.last());
        for step in &self.steps()[1..] {
            let part = if *step == ends.1 { 1.0 } else { honest.foot(*step, ends) };
            self.change(&[*step], |name, tensor| {
                let path = minus(&to.tensors[name], &honest.at[&ends.1].tensors[name]);
                tensor.values.iter_mut().zip(path).for_each(|(x, y)| *x += (share * part * f64::from(y)) as f32);
            });
        }
    }

    /// Changes every tensor of these checkpoints.
    pub fn change(&mut self, steps: &[u32], mut change: impl FnMut(&str, &mut Tensor)) {
        for step in steps {
            let model = self.at.get_mut(step).unwrap_or_else(|| panic!("no step {step}"));
            model.tensors.iter_mut().for_each(|(name, tensor)| change(name, tensor));
        }
    }

    /// Steps from one on.
    pub fn since(&self, step: u32) -> Vec<u32> {
        self.at.range(step..).map(|(step, _)| *step).collect()
    }

    /// Other names for the steps.
    pub fn renamed(&mut self, name: impl Fn(u32) -> u32) {
        self.at = std::mem::take(&mut self.at).into_iter().map(|(step, model)| (name(step), model)).collect();
    }

    /// Weights under a step that keeps its own configuration, tokenizer and number format.
    fn put(&mut self, step: u32, weights: Model) {
        let old = self.at.get_mut(&step).expect("a checkpoint");
        for (name, tensor) in weights.tensors {
            old.tensors.get_mut(&name).unwrap_or_else(|| panic!("no {name}")).values = tensor.values;
        }
    }
}
