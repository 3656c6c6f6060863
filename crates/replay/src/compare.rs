//! Recipe, seed and checkpoint -> how much of every tensor is what was drawn.

use std::collections::HashMap;

use super::recipe::{Draw, Framework, KeyStep, Operation, Piece, Recipe, Step};
use scratchproof_checkpoint::{Checkpoint, TensorRecord};
use scratchproof_error::{Context, Error, Result};
use scratchproof_kernel::random::{Build, Fill, Legacy, Pcg64, Threefry, TorchCpu, erfinv};
use scratchproof_kernel::{Dtype, Rounding, decode, round};
use scratchproof_measurements::{Replayed, TensorReplay};
use scratchproof_texts::text;

/// Stored elements that are compared to tell which build drew them.
const PROBE: u64 = 1 << 20;

/// Words that a recipe may take for each element of the checkpoint, and beside: constructors draw what is drawn over
/// later, once or twice.
const WORDS_PER_ELEMENT: u64 = 32;
const WORDS_BESIDE: u64 = 1 << 28;

/// Elements of a draw that must be held as a whole because some are drawn again, at most.
const MOST_HELD: u64 = 1 << 28;

/// What a piece of a recipe may say freely, in bits: where in the stream, where in the tensor, two parameters; and each
/// operation. What a draw explains must outweigh it, or a recipe could spell out any weights.
const BITS_OF_PIECE: f64 = 128.0;
const BITS_OF_OPERATION: f64 = 64.0;

/// Elements up to which a tensor that is one draw need not outweigh it: biases hold no weights worth hiding.
const SMALL: u64 = 64;

/// Draws the initialisation again and compares.
///
/// # Errors
/// An input error if the recipe does not fit the checkpoint, or asks for too much; else if the checkpoint cannot be read.
pub fn replay(recipe: &Recipe, seed: u64, checkpoint: &Checkpoint) -> Result<Replayed> {
    let fitted = Fitted::new(recipe, checkpoint)?;
    let mut best: Option<(f64, Variant)> = None;
    let variants = Variant::all(recipe);
    if variants.len() > 1 {
        for variant in &variants {
            let counts = fitted.run(seed, *variant, PROBE)?;
            let compared: u64 = counts.iter().map(|c| c.compared).sum();
            let equal: u64 = counts.iter().map(|c| c.equal).sum();
            let share = if compared == 0 { 0.0 } else { equal as f64 / compared as f64 };
            if best.is_none_or(|(other, _)| share > other) {
                best = Some((share, *variant));
            }
            if equal == compared {
                break;
            }
        }
    }
    let Some(variant) = best.map(|(_, variant)| variant).or(variants.first().copied()) else {
        return Err(Error::input(text!("error-replay/compare/no-generator-known-framework")));
    };
    let counts = fitted.run(seed, variant, u64::MAX)?;
    Ok(fitted.result(&counts, variant))
}

/// A recipe whose every piece lies within a stored tensor.
struct Fitted<'a> {
    recipe: &'a Recipe,
    checkpoint: &'a Checkpoint,
    /// By place of the name: the stored tensor.
    records: Vec<Option<&'a TensorRecord>>,
    /// By step: its pieces with their lengths, by first element of the draw.
    pieces: Vec<Vec<(&'a Piece, u64)>>,
}

/// What was counted of one tensor.
#[derive(Clone, Debug, Default)]
struct Counts {
    compared: u64,
    drawn: u64,
    equal: u64,
    drawn_equal: u64,
    within_ulp: u64,
    close: u64,
    pieces: u64,
    operations: u64,
    /// Neighbouring drawn elements, and those of them that are equal: how easily a match comes by chance.
    neighbours: u64,
    alike: u64,
    order: Option<u64>,
}

impl<'a> Fitted<'a> {
    fn new(recipe: &'a Recipe, checkpoint: &'a Checkpoint) -> Result<Self> {
        let stored: HashMap<&str, &TensorRecord> =
            checkpoint.tensors.iter().filter(|t| t.dtype.is_float()).map(|t| (t.name.as_str(), t)).collect();
        let records: Vec<Option<&TensorRecord>> =
            recipe.names.iter().map(|name| stored.get(name.as_str()).copied()).collect();
        let mut spans: Vec<Vec<(u64, u64)>> = vec![Vec::new(); records.len()];
        let mut words = 0_u64;
        let mut pieces = Vec::new();
        for (number, step) in recipe.steps.iter().enumerate() {
            let place = || text!("error-replay/compare/step", number = number + 1);
            let (count, into) = match step {
                Step::Seed(_) => (None, [].as_slice()),
                Step::Skip(skip) => {
                    words = words.saturating_add(*skip);
                    (None, [].as_slice())
                }
                Step::Constant(_, into) => (None, into.as_slice()),
                Step::Draw(draw) => {
                    let each = if draw.dtype == Dtype::F64 || !draw.contiguous { 4 } else { 2 };
                    let rounds = if draw.redraw.is_some() { 8 } else { 1 };
                    words = words.saturating_add(draw.count.saturating_mul(each * rounds).saturating_add(64));
                    if draw.redraw.is_some() && draw.count > MOST_HELD {
                        return Err(Error::input(text!(
                            "error-replay/compare/elements-too-many-draw",
                            count = &draw.count
                        ))
                        .context(place()));
                    }
                    (Some(draw.count), draw.into.as_slice())
                }
            };
            let mut own = Vec::new();
            for piece in into {
                let Some(record) = records[piece.name] else { continue };
                let length = fit(piece, count, record).context(place)?;
                spans[piece.name].push((piece.at, length));
                own.push((piece, length));
            }
            own.sort_by_key(|(piece, _)| piece.from);
            pieces.push(own);
        }
        for (name, spans) in recipe.names.iter().zip(&mut spans) {
            spans.sort_unstable();
            if let Some(pair) = spans.windows(2).find(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
                let name = name.escape_debug();
                return Err(Error::input(text!(
                    "error-replay/compare/element-filled-twice",
                    pair = pair[1].0,
                    name = name.to_string()
                )));
            }
        }
        let elements: u64 = checkpoint.tensors.iter().map(|t| t.elements() as u64).sum();
        let most = elements.saturating_mul(WORDS_PER_ELEMENT).saturating_add(WORDS_BESIDE);
        if words > most {
            return Err(Error::input(text!("error-replay/compare/takes-words-generator-more", words, most, elements)));
        }
        Ok(Self { recipe, checkpoint, records, pieces })
    }

    /// Goes through the stream until `most` stored elements were compared.
    fn run(&self, seed: u64, variant: Variant, most: u64) -> Result<Vec<Counts>> {
        let mut counts = vec![Counts::default(); self.records.len()];
        let mut generator = Generator::new(variant, seed);
        let (mut done, mut order) = (0, 0);
        let mut work = Work::default();
        // What is drawn for nothing at the end need not be drawn.
        let last = self.pieces.iter().rposition(|pieces| !pieces.is_empty()).map_or(0, |last| last + 1);
        for (step, pieces) in self.recipe.steps.iter().zip(&self.pieces).take(last) {
            if done >= most {
                break;
            }
            for (piece, length) in pieces {
                let tally = &mut counts[piece.name];
                tally.pieces += 1;
                tally.operations += piece.then.len() as u64;
                done += length;
                if matches!(step, Step::Draw(_)) && tally.order.is_none() {
                    tally.order = Some(order);
                    order += 1;
                }
            }
            match step {
                Step::Seed(seed) => generator = Generator::new(variant, *seed),
                Step::Skip(words) => generator.skip(*words),
                Step::Constant(value, _) => {
                    for (piece, length) in pieces {
                        self.constant(*value, piece, *length, &mut counts[piece.name], &mut work)?;
                    }
                }
                Step::Draw(draw) => generator
                    .draw(draw, &mut |start, values| self.drawn(draw, pieces, start, values, &mut counts, &mut work))?,
            }
        }
        Ok(counts)
    }

    /// Compares a stretch of a draw with every place it went to.
    fn drawn(
        &self,
        draw: &Draw,
        pieces: &[(&Piece, u64)],
        start: u64,
        values: &[f64],
        counts: &mut [Counts],
        work: &mut Work,
    ) -> Result<()> {
        let end = start + values.len() as u64;
        for (piece, length) in pieces.iter().take_while(|(piece, _)| piece.from < end) {
            let (from, to) = (piece.from.max(start), (piece.from + length).min(end));
            let Some(record) = self.records[piece.name].filter(|_| from < to) else { continue };
            let (Ok(low), Ok(high)) = (usize::try_from(from - start), usize::try_from(to - start)) else { continue };
            work.made.clear();
            work.made.extend_from_slice(&values[low..high]);
            apply(&piece.then, draw.dtype, &mut work.made);
            self.hold_against(record, piece.at + (from - piece.from), true, work, &mut counts[piece.name])?;
        }
        Ok(())
    }

    fn constant(&self, value: f64, piece: &Piece, length: u64, counts: &mut Counts, work: &mut Work) -> Result<()> {
        const STRETCH: u64 = 1 << 16;
        let Some(record) = self.records[piece.name] else { return Ok(()) };
        let mut at = 0;
        while at < length {
            let count = (length - at).min(STRETCH);
            work.made.clear();
            work.made.resize(usize::try_from(count).unwrap_or(0), value);
            apply(&piece.then, Dtype::F64, &mut work.made);
            self.hold_against(record, piece.at + at, false, work, counts)?;
            at += count;
        }
        Ok(())
    }

    /// Compares `work.made` with the stored elements from `first`.
    fn hold_against(
        &self,
        record: &TensorRecord,
        first: u64,
        drawn: bool,
        work: &mut Work,
        counts: &mut Counts,
    ) -> Result<()> {
        let width = record.dtype.width();
        let offset = record.offset + first * width as u64;
        let length = work.made.len() * width;
        let blob = &self.checkpoint.shards[record.shard].blob;
        work.stored.resize(work.made.len(), 0.0);
        if let Some(bytes) = blob.resident(offset, length) {
            decode(record.dtype, bytes, &mut work.stored);
            blob.release(offset, length);
        } else {
            work.bytes.resize(length, 0);
            blob.read_at(offset, &mut work.bytes).context(|| self.checkpoint.uri.clone())?;
            decode(record.dtype, &work.bytes, &mut work.stored);
        }
        let mut equal = 0;
        let mut before = None;
        let largest = work.made.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        for (made, stored) in work.made.iter().zip(&work.stored) {
            let made = round(*made, record.dtype, Rounding::Nearest);
            let same = made.to_bits() == stored.to_bits();
            equal += u64::from(same);
            let beside = same || neighbours(made, *stored, record.dtype);
            counts.within_ulp += u64::from(beside);
            let slack = made.abs() * 2.0_f64.powi(-12) + largest * 2.0_f64.powi(-16);
            counts.close += u64::from(beside || (made - stored).abs() <= slack);
            if drawn && let Some(before) = before.replace(made.to_bits()) {
                counts.neighbours += 1;
                counts.alike += u64::from(before == made.to_bits());
            }
        }
        counts.equal += equal;
        counts.compared += work.made.len() as u64;
        if drawn {
            counts.drawn += work.made.len() as u64;
            counts.drawn_equal += equal;
        }
        Ok(())
    }

    fn result(&self, counts: &[Counts], variant: Variant) -> Replayed {
        let mut tensors = Vec::new();
        let mut absent = Vec::new();
        for ((name, record), counts) in self.recipe.names.iter().zip(&self.records).zip(counts) {
            let Some(record) = record else {
                absent.push(name.clone());
                continue;
            };
            tensors.push(TensorReplay {
                tensor: name.clone(),
                component: record.role.judged_as().to_owned(),
                elements: record.elements() as u64,
                drawn: counts.drawn,
                constant: counts.compared - counts.drawn,
                equal: counts.equal,
                within_ulp: counts.within_ulp,
                close: counts.close,
                explained: explained(counts, record.dtype),
                order: counts.order,
            });
        }
        tensors.sort_by(|a, b| a.tensor.cmp(&b.tensor));
        let filled: std::collections::HashSet<&str> = self.recipe.names.iter().map(String::as_str).collect();
        let floats = self.checkpoint.tensors.iter().filter(|t| t.dtype.is_float() && !t.role.constant);
        let left_out = floats.filter(|t| !filled.contains(t.name.as_str())).map(|t| t.name.clone()).collect();
        let (generator, variant) = variant.names();
        Replayed {
            generator: generator.to_owned(),
            variant: variant.to_owned(),
            tensors,
            left_out,
            absent,
            unknown: self.recipe.unknown.clone(),
        }
    }
}

/// Whether the matching draws of a tensor show more than the recipe had to say for them.
fn explained(counts: &Counts, dtype: Dtype) -> bool {
    if counts.drawn == 0 {
        // One constant is no choice; a list of them could be any weights.
        return counts.pieces <= 1 + counts.compared / 32;
    }
    if counts.pieces == 1 && counts.compared <= SMALL {
        return true;
    }
    let most = f64::from(dtype.fraction_bits().unwrap_or(0));
    let alike = (counts.alike + 1) as f64 / (counts.neighbours + 1) as f64;
    let each = if counts.alike == 0 && counts.neighbours > 0 { most } else { (-alike.log2()).min(most) };
    let shown = counts.drawn_equal as f64 * each;
    let said = BITS_OF_PIECE * counts.pieces as f64 + BITS_OF_OPERATION * counts.operations as f64;
    shown >= 2.0 * said
}

/// Checks that a piece lies within its tensor and its draw; its length.
fn fit(piece: &Piece, count: Option<u64>, record: &TensorRecord) -> Result<u64> {
    let elements = record.elements() as u64;
    let rest = elements.checked_sub(piece.at);
    let length = match (piece.length, count) {
        (Some(length), _) => Some(length),
        (None, Some(count)) => count.checked_sub(piece.from),
        (None, None) => rest,
    };
    let inside = |length: u64| {
        let stored = piece.at.checked_add(length).is_some_and(|end| end <= elements);
        let drawn = count.is_none_or(|count| piece.from.checked_add(length).is_some_and(|end| end <= count));
        stored && drawn
    };
    length.filter(|length| inside(*length)).ok_or_else(|| {
        let what = count.map_or("a constant".to_owned(), |count| format!("a draw of {count} elements"));
        let length = length.map_or("what is left".to_owned(), |length| format!("{length} elements"));
        Error::input(text!(
            "error-replay/compare/element-do-not-fit",
            length,
            from = &piece.from,
            what,
            at = &piece.at,
            name = record.name.escape_debug().to_string(),
            elements
        ))
    })
}

/// Whether two numbers of a format have none of it between them.
fn neighbours(a: f64, b: f64, dtype: Dtype) -> bool {
    let middle = round(a + (b - a) * 0.5, dtype, Rounding::Nearest);
    let is = |x: f64| (middle - x).abs() <= 0.0;
    a.is_finite() && b.is_finite() && (is(a) || is(b))
}

/// Applies operations to values of a format, rounding after each as the format does.
#[allow(clippy::cast_possible_truncation)] // single precision is what the original computes in
fn apply(then: &[Operation], dtype: Dtype, values: &mut [f64]) {
    let mut format = dtype;
    for operation in then {
        if let Operation::Cast(to) = operation {
            format = *to;
        }
        let operand = |x: f64| if format == Dtype::F64 { x } else { f64::from(x as f32) };
        let step = |x: f64| match operation {
            Operation::Multiply(by) => x * operand(*by),
            Operation::Divide(by) => x / operand(*by),
            Operation::Add(what) => x + operand(*what),
            Operation::Clamp(low, high) => x.max(operand(*low)).min(operand(*high)),
            Operation::InverseError => erfinv(x),
            Operation::Cast(_) => x,
        };
        for value in values.iter_mut() {
            // One operation of two singles in double precision, rounded to single, is rounded once.
            let exact = step(*value);
            let single = if format == Dtype::F64 { exact } else { f64::from(exact as f32) };
            *value = round(single, format, Rounding::Nearest);
        }
    }
}

/// Buffers that are used again.
#[derive(Default)]
struct Work {
    made: Vec<f64>,
    stored: Vec<f64>,
    bytes: Vec<u8>,
}

/// Whose roundings or layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    Torch(Build),
    Numpy,
    NumpyLegacy,
    Jax { partitionable: bool },
}

impl Variant {
    /// What is tried, in order.
    fn all(recipe: &Recipe) -> Vec<Self> {
        match recipe.framework {
            Framework::TorchCpu => recipe.build.into_iter().chain(Build::ALL).map(Self::Torch).collect(),
            Framework::Numpy => vec![Self::Numpy],
            Framework::NumpyLegacy => vec![Self::NumpyLegacy],
            Framework::Jax => [true, false].map(|partitionable| Self::Jax { partitionable }).to_vec(),
        }
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Torch(build) => ("mt19937", build.name()),
            Self::Numpy => ("pcg64", "numpy"),
            Self::NumpyLegacy => ("mt19937", "numpy-legacy"),
            Self::Jax { partitionable: true } => ("threefry2x32", "jax-partitionable"),
            Self::Jax { partitionable: false } => ("threefry2x32", "jax"),
        }
    }
}

/// The generator of a framework.
enum Generator {
    Torch(TorchCpu, Build),
    Numpy(Pcg64),
    NumpyLegacy(Legacy),
    Jax(Threefry),
}

impl Generator {
    fn new(variant: Variant, seed: u64) -> Self {
        match variant {
            Variant::Torch(build) => Self::Torch(TorchCpu::new(seed), build),
            Variant::Numpy => Self::Numpy(Pcg64::new(seed)),
            Variant::NumpyLegacy => Self::NumpyLegacy(Legacy::new(seed)),
            Variant::Jax { partitionable } => Self::Jax(Threefry::new(seed, partitionable)),
        }
    }

    fn skip(&mut self, words: u64) {
        match self {
            Self::Torch(torch, _) => torch.skip(words),
            Self::Numpy(numpy) => numpy.skip(words),
            Self::NumpyLegacy(numpy) => numpy.skip(words),
            // A key is not used up.
            Self::Jax(_) => {}
        }
    }

    fn draw(&mut self, draw: &Draw, take: &mut impl FnMut(u64, &[f64]) -> Result<()>) -> Result<()> {
        let Draw { law, dtype, count, contiguous, redraw, .. } = *draw;
        let fill = Fill { law, dtype, count, contiguous, redraw };
        match self {
            Self::Torch(torch, build) => torch.draw(&fill, *build, take),
            Self::Numpy(numpy) => numpy.draw(&fill, take),
            Self::NumpyLegacy(numpy) => numpy.draw(&fill, take),
            Self::Jax(key) => {
                let key = draw.key.iter().fold(*key, |key, step| match *step {
                    KeyStep::Split { of, index } => key.split(of, index),
                    KeyStep::FoldIn(data) => key.fold_in(data),
                });
                key.draw(&fill, take)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FORMAT;
    use scratchproof_checkpoint::testing::raw;
    use scratchproof_kernel::random::Law;
    use scratchproof_source::MemoryStore;

    const A: &str = "model.layers.0.mlp.up_proj.weight";
    const B: &str = "model.layers.0.mlp.gate_proj.weight";
    const NORM: &str = "model.norm.weight";

    /// 100 words for nothing, 600 normal values, 40 x 20 uniform ones of which 3 rows are zero, 20 ones.
    fn recipe(more: &str) -> String {
        format!(
            r#"{{"format":"{FORMAT}","framework":"torch-cpu","build":"avx2","steps":[{{"skip":100}},
            {{"draw":"normal","count":600,"mean":0,"std":0.02,"into":["{A}"]}},
            {{"draw":"uniform","count":800,"low":-1,"high":1,"into":[
              {{"to":"{B}","length":200}},{{"to":"{B}","at":260,"from":260,"length":540,"then":[["mul",0.5]]}}]}},
            {{"constant":0,"into":[{{"to":"{B}","at":200,"length":60}}]}},
            {{"constant":1,"into":["{NORM}"]}}{more}]}}"#
        )
    }

    /// What the recipe draws from seed 7, changed before it is stored in bf16.
    fn stored(change: impl FnOnce(&mut [Vec<f64>; 3])) -> Checkpoint {
        let mut generator = TorchCpu::new(7);
        generator.skip(100);
        let mut draw = |law, count| {
            let mut all = Vec::new();
            let fill = Fill { law, dtype: Dtype::F32, count, contiguous: true, redraw: None };
            let taken: Result<()> = generator.draw(&fill, Build::Avx2, &mut |_, values| {
                all.extend_from_slice(values);
                Ok(())
            });
            taken.expect("nothing fails");
            all
        };
        let a = draw(Law::Normal { mean: 0.0, std: 0.02 }, 600);
        let mut b = draw(Law::Uniform { low: -1.0, high: 1.0 }, 800);
        b[200..260].fill(0.0);
        b[260..].iter_mut().for_each(|x| *x *= 0.5);
        let mut values = [a, b, vec![1.0; 20]];
        change(&mut values);
        let mut header = serde_json::Map::new();
        let mut data: Vec<u8> = Vec::new();
        for ((name, shape), values) in [(A, vec![30, 20]), (B, vec![40, 20]), (NORM, vec![20])].iter().zip(&values) {
            let begin = data.len();
            #[allow(clippy::cast_possible_truncation)]
            data.extend(values.iter().flat_map(|x| {
                let bits = (round(*x, Dtype::Bf16, Rounding::Nearest) as f32).to_bits();
                ((bits >> 16) as u16).to_le_bytes()
            }));
            let entry = serde_json::json!({ "dtype": "BF16", "shape": shape, "data_offsets": [begin, data.len()] });
            header.insert((*name).to_owned(), entry);
        }
        let file = raw(&serde_json::Value::Object(header).to_string(), &data);
        Checkpoint::from_store(&MemoryStore::new().with("model.safetensors", file)).expect("a checkpoint")
    }

    fn replayed(recipe: &str, seed: u64, checkpoint: &Checkpoint) -> Result<Replayed> {
        replay(&Recipe::read(recipe.as_bytes())?, seed, checkpoint)
    }

    fn of<'a>(replayed: &'a Replayed, name: &str) -> &'a TensorReplay {
        replayed.tensors.iter().find(|t| t.tensor == name).expect("the tensor")
    }

    #[test]
    fn what_was_drawn_is_found_again_with_slices_zero_rows_and_scales() {
        let out = replayed(&recipe(""), 7, &stored(|_| {})).expect("a replay");
        assert!(out.tensors.iter().all(TensorReplay::exact), "{out:?}");
        assert_eq!((out.generator.as_str(), out.variant.as_str()), ("mt19937", "avx2"));
        let b = of(&out, B);
        assert_eq!((b.elements, b.drawn, b.constant, b.equal, b.order), (800, 740, 60, 800, Some(1)));
        assert_eq!(of(&out, NORM).order, None);
    }

    #[test]
    fn one_altered_element_another_seed_and_another_order_are_seen() {
        let out = replayed(&recipe(""), 7, &stored(|t| t[0][123] += 0.01)).expect("a replay");
        let a = of(&out, A);
        assert_eq!((a.equal, a.within_ulp, of(&out, B).equal), (599, 599, 800));
        let out = replayed(&recipe(""), 8, &stored(|_| {})).expect("a replay");
        assert!(of(&out, A).equal < 60 && of(&out, NORM).equal == 20);
        let swapped = recipe("").replace(
            "[\"model.layers.0.mlp.up",
            "[\"x\"]},{\"draw\":\"normal\",\"count\":600,\"mean\":0,\"std\":0.02,\"into\":[\"model.layers.0.mlp.up",
        );
        let out = replayed(&swapped, 7, &stored(|_| {})).expect("a replay");
        assert!(of(&out, A).equal < 60 && out.absent == ["x"]);
        let nudged = stored(|t| t[0].iter_mut().take(10).for_each(|x| *x *= 1.0 + 1.0 / 128.0));
        let a = replayed(&recipe(""), 7, &nudged).expect("a replay");
        assert!(of(&a, A).equal <= 599 && of(&a, A).within_ulp >= of(&a, A).equal + 5, "{:?}", of(&a, A));
    }

    #[test]
    fn a_recipe_that_spells_the_weights_out_explains_nothing() {
        let checkpoint = stored(|t| t[0].iter_mut().enumerate().for_each(|(i, x)| *x = (i % 7) as f64 / 8.0));
        let spelt: Vec<String> = (0..600)
            .map(|i| {
                format!(r#"{{"constant":{},"into":[{{"to":"{A}","at":{i},"length":1}}]}}"#, f64::from(i % 7) / 8.0)
            })
            .collect();
        let text = recipe("").replace(&format!("\"into\":[\"{A}\"]"), "\"into\":[]");
        let text = text.strip_suffix("]}").expect("the end").to_owned() + "," + &spelt.join(",") + "]}";
        let out = replayed(&text, 7, &checkpoint).expect("a replay");
        let a = of(&out, A);
        assert!(a.equal == 600 && !a.explained && !a.exact(), "{a:?}");
        // Nor does a draw without spread, whose mean is the weight.
        let text = text.replace("\"constant\":0.125", "\"draw\":\"normal\",\"std\":0,\"count\":1,\"mean\":0.125");
        assert!(!of(&replayed(&text, 7, &checkpoint).expect("a replay"), A).explained);
    }

    #[test]
    fn a_recipe_that_does_not_fit_is_refused_in_one_sentence() {
        let checkpoint = stored(|_| {});
        for (more, part) in [
            (
                r#",{"draw":"normal","count":1000000000000,"mean":0,"std":1,"into":[]}"#.to_owned(),
                "words of the generator",
            ),
            (r#",{"skip":18446744073709551615},{"skip":18446744073709551615}"#.to_owned(), "words of the generator"),
            (format!(r#",{{"constant":1,"into":["{NORM}"]}}"#), "filled twice"),
            (format!(r#",{{"constant":1,"into":[{{"to":"{A}","at":601,"length":1}}]}}"#), "do not fit"),
            (
                format!(r#",{{"constant":1,"into":[{{"to":"{A}","at":18446744073709551615,"length":2}}]}}"#),
                "do not fit",
            ),
            (
                format!(
                    r#",{{"draw":"normal","count":9,"mean":0,"std":1,"into":[{{"to":"{A}","from":8,"length":2}}]}}"#
                ),
                "do not fit",
            ),
            (
                format!(r#",{{"draw":"normal","count":9,"mean":0,"std":1,"into":[{{"to":"{A}","from":10}}]}}"#),
                "do not fit",
            ),
            (
                r#",{"draw":"normal","count":400000000,"mean":0,"std":1,"redraw":[0,1]}"#.to_owned(),
                "too many to draw again",
            ),
        ] {
            let error = replayed(&recipe(&more), 7, &checkpoint).expect_err(&more);
            let message = error.to_string();
            assert!(error.is_input() && message.contains(part) && !message.contains('\n'), "{message}");
        }
        // Names that nobody stored, drawn for nothing, bounds that nothing meets: no error, no hang.
        let odd = r#",{"draw":"normal","count":5,"mean":0,"std":1,"redraw":[50,51],"into":["nowhere"]},{"seed":3}"#;
        assert_eq!(replayed(&recipe(odd), 7, &checkpoint).expect("a replay").absent, ["nowhere"]);
    }
}
