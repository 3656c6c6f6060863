//! Logged numbers in columns, with limits that a hostile log cannot pass.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

/// Most columns of a history; the values of further ones are counted and left out.
pub const COLUMNS: usize = 100_000;
/// Most values of a history, at 16 bytes each (384 MiB; a page of a table that is read stands beside them); further ones are counted and left out.
pub const VALUES: u64 = 24 << 20;
/// A longer name of a column is no name.
pub const NAME: usize = 1024;
/// What stands behind the name of a histogram of weights in the column that holds its L2 norm.
pub const HISTOGRAM_NORM: &str = " (norm of histogram)";
/// Bins of a histogram at most, as W&B's writers have it.
const BINS: usize = 512;
/// A longer object in the place of a value is not looked into.
const OBJECT: usize = 1 << 20;

/// Logged numbers in columns: by key, the log's own step (`_step`) and the value, in the order of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The columns; `_step`, `_timestamp` and `_runtime` are among them.
    pub columns: BTreeMap<String, Vec<(i64, f64)>>,
    /// Rows.
    pub rows: u64,
    /// Values that are no numbers (pictures, histograms, text) and were left out.
    pub skipped: u64,
    /// Numbers beyond the limits ([`COLUMNS`], [`VALUES`], [`NAME`]), left out.
    pub dropped: u64,
    /// Numbers that were kept; limits are held by it.
    pub values: u64,
}

impl History {
    /// Adds a value of JSON text; one that is not a number is counted and left out.
    ///
    /// A plain object of numbers is taken apart, its names joined with dots. W&B's `NaN` and `Infinity` are numbers.
    pub fn push(&mut self, step: i64, key: &str, text: &str) {
        let mut skipped = 0;
        let mut found = Vec::new();
        each(key, text, &mut skipped, |name, value| found.push((name.to_owned(), value)));
        self.skipped += skipped;
        for (name, value) in found {
            self.push_number(step, &name, value);
        }
    }

    /// Adds a number.
    pub fn push_number(&mut self, step: i64, key: &str, value: f64) {
        if self.values >= VALUES || key.len() > NAME {
            self.dropped += 1;
        } else if let Some(column) = self.columns.get_mut(key) {
            column.push((step, value));
            self.values += 1;
        } else if self.columns.len() >= COLUMNS {
            self.dropped += 1;
        } else {
            self.columns.insert(key.to_owned(), vec![(step, value)]);
            self.values += 1;
        }
    }

    /// The excess over the limits in words, if there is any.
    pub fn excess(&self) -> Option<String> {
        (self.dropped > 0).then(|| {
            format!(
                "{} values are beyond what is kept of one log ({COLUMNS} columns, {VALUES} values, names of {NAME} bytes) and were left out",
                self.dropped
            )
        })
    }

    /// A column by training step: sorted, the last of several values at one step, finite values only.
    ///
    /// With `step_key` `_step` that is the log's own step; otherwise the column of that name, joined row by row.
    pub fn series(&self, key: &str, step_key: &str) -> Vec<(i64, f64)> {
        let Some(column) = self.columns.get(key) else { return Vec::new() };
        let finite = column.iter().filter(|(_, value)| value.is_finite());
        let by_step: BTreeMap<i64, f64> = if step_key == "_step" {
            finite.copied().collect()
        } else {
            let steps = self.step_map(step_key);
            finite.filter_map(|(row, value)| Some((*steps.get(row)?, *value))).collect()
        };
        by_step.into_iter().collect()
    }

    /// The distinct training steps, sorted.
    pub(super) fn steps(&self, step_key: &str) -> Vec<i64> {
        let mut steps: Vec<i64> = if step_key == "_step" {
            // `_step` is in every row of W&B's writers; without it any column will do.
            match self.columns.get("_step") {
                Some(column) => column.iter().map(|&(step, _)| step).collect(),
                None => self.columns.values().flatten().map(|&(step, _)| step).collect(),
            }
        } else {
            self.step_map(step_key).into_values().collect()
        };
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    #[allow(clippy::cast_possible_truncation)] // only whole numbers below 2^53 pass
    fn step_map(&self, step_key: &str) -> BTreeMap<i64, i64> {
        let column = self.columns.get(step_key).map_or(&[][..], Vec::as_slice);
        column.iter().filter(|(_, v)| is_whole(*v)).map(|&(row, v)| (row, v as i64)).collect()
    }
}

/// Whether a value can be a step.
pub(super) fn is_whole(value: f64) -> bool {
    value.abs() < 9_007_199_254_740_992.0 && (value - value.trunc()).abs() < f64::EPSILON
}

/// A JSON number, or what W&B writes for one that JSON has no word for.
///
/// Read by the standard library, which rounds to the nearest `f64`; `serde_json` may be one unit in the last place off.
pub(super) fn number(text: &str) -> Option<f64> {
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E');
    if text.bytes().all(plain) { text.parse().ok() } else { special(text.trim_matches('"')) }
}

/// Takes one JSON value apart into numbers.
fn each(key: &str, text: &str, skipped: &mut u64, mut add: impl FnMut(&str, f64)) {
    let text = text.trim();
    if let Some(value) = number(text) {
        add(key, value);
    } else if text.starts_with('{') && text.len() <= OBJECT {
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) if !object.contains_key("_type") => each_inside(key, &object, skipped, &mut add),
            // What `wandb.watch` logs of the weights.
            Ok(Value::Object(object)) if key.starts_with("parameters/") => match histogram_norm(&object) {
                Some(norm) => add(&format!("{key}{HISTOGRAM_NORM}"), norm),
                None => *skipped += 1,
            },
            _ => *skipped += 1,
        }
    } else {
        *skipped += 1;
    }
}

fn each_inside(prefix: &str, object: &Map<String, Value>, skipped: &mut u64, add: &mut impl FnMut(&str, f64)) {
    for (name, value) in object {
        let key = format!("{prefix}.{name}");
        match value {
            Value::Number(n) if n.as_f64().is_some() => add(&key, n.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) if special(text).is_some() => add(&key, special(text).unwrap_or(f64::NAN)),
            Value::Object(inner) if !inner.contains_key("_type") => each_inside(&key, inner, skipped, add),
            _ => *skipped += 1,
        }
    }
}

/// The L2 norm of the values in a histogram of a tracker; nothing if it is none.
fn histogram_norm(histogram: &Map<String, Value>) -> Option<f64> {
    let counts = figures(histogram.get("values")?)?;
    let edges = match (histogram.get("bins"), histogram.get("packedBins")) {
        (Some(bins), _) => figures(bins)?,
        (None, Some(packed)) => {
            let of = |name: &str| packed.get(name).and_then(Value::as_f64);
            let (least, width) = (of("min")?, of("size")?);
            (0..=counts.len()).map(|i| least + width * i as f64).collect()
        }
        _ => return None,
    };
    (histogram.get("_type")?.as_str()? == "histogram").then(|| norm_of(&counts, &edges))?
}

fn figures(list: &Value) -> Option<Vec<f64>> {
    list.as_array().filter(|list| list.len() <= BINS + 1)?.iter().map(Value::as_f64).collect()
}

/// From the middles of the bins, less the twelfth of their squared width that middles overstate (Sheppard's correction).
fn norm_of(counts: &[f64], edges: &[f64]) -> Option<f64> {
    if edges.len() != counts.len() + 1 {
        return None;
    }
    let (mut square, mut count, mut widest) = (0.0, 0.0, 0.0_f64);
    for (edges, n) in edges.windows(2).zip(counts) {
        square += n * (0.5 * (edges[0] + edges[1])).powi(2);
        count += n;
        widest = widest.max(edges[1] - edges[0]);
    }
    let square = square - count * widest * widest / 12.0;
    (square > 0.0 && square.is_finite()).then(|| square.sqrt())
}

fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Names with a number each, found fast where they come in the same order row after row.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: Vec<String>,
    index: HashMap<String, usize>,
    /// By name, the one that followed it the last time.
    next: Vec<usize>,
    last: usize,
}

impl Names {
    /// The number of a name, which is new if it is that of the last name; nothing for one beyond the limits.
    pub fn find(&mut self, name: &str) -> Option<usize> {
        let guess = self.next.get(self.last).copied().unwrap_or(0);
        if self.known.get(guess).is_some_and(|known| known == name) {
            self.last = guess;
            return Some(guess);
        }
        let found = match self.index.get(name) {
            Some(&found) => found,
            None if self.known.len() >= COLUMNS || name.len() > NAME => return None,
            None => {
                self.index.insert(name.to_owned(), self.known.len());
                self.known.push(name.to_owned());
                self.next.push(0);
                self.known.len() - 1
            }
        };
        if let Some(next) = self.next.get_mut(self.last) {
            *next = found;
        }
        self.last = found;
        Some(found)
    }
}

/// Gathers a history row by row.
#[derive(Debug, Default)]
pub(super) struct Collector {
    names: Names,
    columns: Vec<Vec<(i64, f64)>>,
    /// Rows so far.
    pub rows: u64,
    skipped: u64,
    dropped: u64,
    values: u64,
    /// By column, of how many values one is kept and how many came, if long columns are thinned.
    thin: Option<Vec<(u64, u64)>>,
}

/// Most values of a thinned column.
const THINNED: usize = 1 << 16;

impl Collector {
    /// Keeps of a long column every second value, every fourth and so on, so that it never has more than 65,536.
    pub fn thinning() -> Self {
        Self { thin: Some(Vec::new()), ..Self::default() }
    }

    /// As [`History::push`].
    pub fn push(&mut self, step: i64, key: &str, text: &str) {
        if let Some(value) = number(text) {
            return self.push_number(step, key, value);
        }
        let mut skipped = 0;
        each(key, text, &mut skipped, |name, value| self.push_number(step, name, value));
        self.skipped += skipped;
    }

    /// Histograms of weights that a row holds in parts, `NAME.values` and `NAME.bins`, as newer writers of W&B have it: each
    /// is kept as [`HISTOGRAM_NORM`].
    pub fn push_histograms<'a>(&mut self, step: i64, parts: impl Iterator<Item = (&'a str, &'a str)>) {
        let (mut counts, mut edges) = (HashMap::new(), HashMap::new());
        for (name, text) in parts.filter(|(name, text)| name.starts_with("parameters/") && text.len() <= OBJECT) {
            if let Some(name) = name.strip_suffix(".values") {
                counts.insert(name, text);
            } else if let Some(name) = name.strip_suffix(".bins") {
                edges.insert(name, text);
            }
        }
        let mut names: Vec<&str> = counts.keys().copied().collect();
        names.sort_unstable();
        for name in names {
            let read = |texts: &HashMap<&str, &str>| figures(&serde_json::from_str(texts.get(name)?).ok()?);
            let norm = || norm_of(&read(&counts)?, &read(&edges)?);
            if let Some(norm) = norm() {
                self.push_number(step, &format!("{name}{HISTOGRAM_NORM}"), norm);
            }
        }
    }

    /// A value that is no number.
    pub fn skip(&mut self) {
        self.skipped += 1;
    }

    /// As [`History::push_number`].
    pub fn push_number(&mut self, step: i64, key: &str, value: f64) {
        let found = if self.values < VALUES { self.names.find(key) } else { None };
        let Some(at) = found else {
            self.dropped += 1;
            return;
        };
        if self.columns.len() <= at {
            self.columns.push(Vec::new());
        }
        let column = &mut self.columns[at];
        if let Some(thin) = &mut self.thin {
            if thin.len() <= at {
                thin.push((1, 0));
            }
            let (stride, came) = &mut thin[at];
            *came += 1;
            if (*came - 1) % *stride != 0 {
                return;
            }
            if column.len() >= THINNED {
                let mut keep = false;
                column.retain(|_| {
                    keep = !keep;
                    keep
                });
                self.values -= (THINNED - column.len()) as u64;
                *stride *= 2;
                if (*came - 1) % *stride != 0 {
                    return;
                }
            }
        }
        column.push((step, value));
        self.values += 1;
    }

    /// What was gathered.
    pub fn finish(self) -> History {
        let columns = self.columns.into_iter().map(|mut column| {
            column.shrink_to_fit();
            column
        });
        History {
            columns: self.names.known.into_iter().zip(columns).collect(),
            rows: self.rows,
            skipped: self.skipped,
            dropped: self.dropped,
            values: self.values,
        }
    }
}

/// The last value of each name, as JSON text until the end.
#[derive(Debug, Default)]
pub(super) struct Last {
    names: Names,
    texts: Vec<String>,
    bytes: usize,
    /// Names or values beyond the limits.
    pub dropped: u64,
}

/// Most bytes of last values together.
const LAST: usize = 16 << 20;

impl Last {
    /// Replaces the value of a name; without text the name has none any more.
    pub fn set(&mut self, name: &str, text: &str) {
        let found = if self.bytes + text.len() <= LAST { self.names.find(name) } else { None };
        let Some(at) = found else {
            self.dropped += 1;
            return;
        };
        if self.texts.len() <= at {
            self.texts.push(String::new());
        }
        let place = &mut self.texts[at];
        self.bytes = self.bytes - place.len() + text.len();
        place.clear();
        place.push_str(text);
    }

    /// Names and values, in the order of their first appearance.
    pub fn finish(self) -> impl Iterator<Item = (String, String)> {
        self.names.known.into_iter().zip(self.texts).filter(|(_, text)| !text.is_empty())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Collector, History};

    #[test]
    fn numbers_are_kept_and_the_rest_is_counted() {
        let mut history = History::default();
        for (key, text) in [("a", "1.5"), ("a", "NaN"), ("a", "\"-Infinity\""), ("b", "\"text\""), ("b", "true")] {
            history.push(7, key, text);
        }
        history.push(8, "c", r#"{"d": 2, "e": {"f": "Infinity"}, "g": null}"#);
        history.push(8, "h", r#"{"_type": "histogram", "bins": [1]}"#);
        history.push(8, "h", "{broken");
        assert_eq!(history.columns["a"].len(), 3);
        assert!(history.columns["a"][1].1.is_nan());
        assert_eq!(history.columns["c.d"], [(8, 2.0)]);
        assert_eq!(history.columns["c.e.f"], [(8, f64::INFINITY)]);
        assert_eq!(history.skipped, 5);
        assert!(!history.columns.contains_key("b"));
    }

    /// Of `torch.manual_seed(0); torch.randn(2000) * 0.02`, whose norm is 0.914034; by the middles alone it would be 0.921172.
    #[test]
    fn a_histogram_of_weights_is_kept_as_their_norm() {
        let counts = "[5, 20, 48, 107, 201, 280, 352, 348, 281, 181, 96, 51, 18, 6, 3, 3]";
        let (least, width) = (-0.063_074_484_467_506_41, 0.009_069_021_791_219_711);
        let bins: Vec<String> = (0..17).map(|i| (least + width * f64::from(i)).to_string()).collect();
        let whole = format!(r#"{{"_type": "histogram", "values": {counts}, "bins": [{}]}}"#, bins.join(", "));
        let packed = format!(
            r#"{{"_type": "histogram", "values": {counts}, "packedBins": {{"min": {least}, "size": {width}, "count": 16}}}}"#
        );
        let mut history = History::default();
        history.push(3, "parameters/h.0.weight", &whole);
        history.push(4, "parameters/h.0.weight", &packed);
        history.push(4, "gradients/h.0.weight", &whole);
        history.push(4, "parameters/h.1.weight", r#"{"_type": "histogram", "values": [1, 2], "bins": [0, 1]}"#);
        history.push(4, "parameters/h.1.weight", r#"{"_type": "histogram", "values": ["NaN"], "bins": [0, 1]}"#);
        let norms = &history.columns["parameters/h.0.weight (norm of histogram)"];
        assert!(norms.iter().all(|(_, norm)| (norm / 0.913_701_6 - 1.0).abs() < 1e-6), "{norms:?}");
        assert_eq!((norms.len(), history.columns.len(), history.skipped), (2, 1, 3));
        // Newer writers hold a histogram in parts.
        let mut collector = Collector::default();
        let edges = format!("[{}]", bins.join(", "));
        let parts = [
            ("parameters/h.0.weight._type", "\"histogram\""),
            ("parameters/h.0.weight.values", counts),
            ("parameters/h.0.weight.bins", edges.as_str()),
            ("parameters/h.1.weight.values", counts),
            ("parameters/h.2.weight.values", "[1, 2]"),
            ("parameters/h.2.weight.bins", "[0, {}, 2]"),
            ("gradients/h.0.weight.values", counts),
            ("gradients/h.0.weight.bins", edges.as_str()),
        ];
        collector.push_histograms(3, parts.into_iter());
        let history = collector.finish();
        assert_eq!(history.columns.keys().collect::<Vec<_>>(), ["parameters/h.0.weight (norm of histogram)"]);
    }

    #[test]
    fn a_series_follows_its_own_step_key_and_leaves_non_finite_values_out() {
        let mut history = History::default();
        for row in 0..5 {
            history.push(row, "iter", &(row * 100).to_string());
            history.push(row, "loss", if row == 2 { "NaN" } else { "3.0" });
        }
        history.push(9, "loss", "1.0");
        let series = history.series("loss", "iter");
        assert_eq!(series.iter().map(|p| p.0).collect::<Vec<_>>(), [0, 100, 300, 400]);
        assert_eq!(history.series("loss", "_step").len(), 5);
    }
}
