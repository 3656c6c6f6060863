//! What a run log says of a run, whatever wrote it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::keys::Keys;
use super::leveldb::{Damage, Tail};
use super::releases::{Interval, Trust};
use crate::error::Error;

/// In what form a record of a run is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// A `.wandb` file, with the folder around it where there is one.
    #[default]
    Wandb,
    /// A run folder without its `.wandb` file: `wandb-history.jsonl` and what lies beside it.
    Folder,
    /// The table of a chart, as the web page exports it.
    ChartExport,
    /// The table of runs, as the web page exports it: one row a run, no history.
    TableExport,
    /// Rows of JSON, CSV or parquet.
    Rows,
    /// The service itself.
    Service,
    /// `TensorBoard` event files.
    TensorBoard,
    /// `trainer_state.json`.
    TrainerState,
}

/// What a dated fact about a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Happened {
    /// The run started.
    Started,
    /// A server came to know of it: it had started by then, where it does not continue an earlier one.
    Created,
    /// A server last heard of it: every row that the server has was logged by then.
    LastSeen,
    /// It ended.
    Ended,
    /// Something that is only shown.
    #[default]
    Other,
}

/// When something about a run happened, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dated {
    /// What kind of fact it is.
    pub happened: Happened,
    /// What happened, in words that follow the run's name: "was created on the server".
    pub what: String,
    /// Its time, as precise as it is known.
    pub at: Interval,
    /// Who vouches for it.
    pub trust: Trust,
}

/// Accelerators of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devices {
    /// As the tracker names them.
    pub kind: String,
    /// How many.
    pub count: u64,
}

/// What a run goes on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continues {
    /// Id of the earlier run.
    pub run: String,
    /// The last step of it that counts, in its own log's count; not given for a plain resume.
    pub step: Option<i64>,
}

/// A file the tracker keeps of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedFile {
    /// Its path in the run or the artifact.
    pub name: String,
    /// Name and version of the artifact it belongs to, if any.
    pub artifact: Option<String>,
    /// Its length.
    pub bytes: Option<u64>,
    /// MD5, as trackers record it, in lower-case hexadecimal.
    pub md5: Option<String>,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: Option<String>,
    /// When it was stored.
    pub at: Option<Dated>,
}

/// Numbers that the program printed, found in the console's log.
#[derive(Clone, Debug, PartialEq)]
pub struct Printed {
    /// Line of the console's log, from 1.
    pub line: u64,
    /// The training step the line names.
    pub step: i64,
    /// The loss it names.
    pub loss: f64,
}

/// One training run, read from its log.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The log as it was named by the caller.
    pub source: String,
    /// The tracker's id of the run; a resumed run has the same one in several logs.
    pub id: String,
    /// Display name.
    pub name: Option<String>,
    /// Project it was logged to.
    pub project: Option<String>,
    /// Account or team it was logged under.
    pub entity: Option<String>,
    /// Version of the writer.
    pub sdk: Option<String>,
    /// Whether the tracker itself says that an earlier run was resumed. Most resumed runs do not say so.
    pub resumed: bool,
    /// The configuration, flattened with dots.
    pub config: BTreeMap<String, Value>,
    /// The git commit the run was started from.
    pub commit: Option<String>,
    /// The git remote.
    pub remote: Option<String>,
    /// The program that ran.
    pub program: Option<String>,
    /// The machine that ran it.
    pub host: Option<String>,
    /// When it started, by its own clock.
    pub started_at: Option<DateTime<Utc>>,
    /// Everything else that is dated: by the folder's name, the metadata, the server.
    pub times: Vec<Dated>,
    /// In what form it is held.
    pub form: Form,
    /// What the tracker says of its end: finished, crashed, running.
    pub state: Option<String>,
    /// The run this one goes on from, if it says so.
    pub continues: Option<Continues>,
    /// The arguments of the program.
    pub arguments: Vec<String>,
    /// The accelerators it had.
    pub devices: Vec<Devices>,
    /// Measurements of the machine, by name; the step is the row.
    pub system: History,
    /// Last values, as the tracker sums a run up, flattened with dots.
    pub summary: BTreeMap<String, Value>,
    /// What the program printed of its training.
    pub printed: Vec<Printed>,
    /// Files the tracker keeps.
    pub files: Vec<LoggedFile>,
    /// Artifacts the run took in, as [`LoggedFile::artifact`] names them; the others are its own.
    pub used: Vec<String>,
    /// Exit code, if the run lived to write it.
    pub ended: Option<i32>,
    /// The logged numbers.
    pub history: History,
    /// Which columns hold what.
    pub keys: Keys,
    /// Parts of the log that could not be read, the first thousand.
    pub damage: Vec<Damage>,
    /// How many parts could not be read.
    pub damaged: u64,
    /// How the log ends.
    pub tail: Tail,
    /// Things worth knowing that are no damage, in words.
    pub notes: Vec<String>,
    /// Length of the log.
    pub bytes: u64,
    /// sha256 of the log, in hexadecimal.
    pub sha256: String,
}

impl Run {
    /// Replaces the guessed columns by the ones the case file names.
    ///
    /// # Errors
    /// If a named column is not in the log.
    pub fn choose_keys(&mut self, given: &super::keys::KeyMap) -> Result<(), Error> {
        self.keys = Keys::choose(&self.history, given).map_err(|error| error.context(self.source.clone()))?;
        Ok(())
    }

    /// The loss by training step, finite values only.
    pub fn loss(&self) -> Vec<(i64, f64)> {
        self.column(self.keys.loss.as_deref())
    }

    /// The learning rate by training step, finite values only.
    pub fn learning_rate(&self) -> Vec<(i64, f64)> {
        self.column(self.keys.learning_rate.as_deref())
    }

    /// The gradient norm by training step, finite values only.
    pub fn grad_norm(&self) -> Vec<(i64, f64)> {
        self.column(self.keys.grad_norm.as_deref())
    }

    /// The tokens seen by training step, finite values only.
    pub fn tokens(&self) -> Vec<(i64, f64)> {
        self.column(self.keys.tokens.as_deref())
    }

    /// First and last training step of the log, and the widest distance between two logged ones.
    pub fn step_range(&self) -> Option<StepRange> {
        let steps = self.history.steps(&self.keys.step);
        let (first, last) = (*steps.first()?, *steps.last()?);
        let widest = steps.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or(0);
        Some(StepRange { first, last, widest, points: steps.len() as u64 })
    }

    /// When each training step was logged, by the run's own clock.
    pub fn times_of_steps(&self) -> BTreeMap<i64, DateTime<Utc>> {
        let times = self.history.series("_timestamp", &self.keys.step);
        times.into_iter().filter_map(|(step, at)| Some((step, instant(at)?))).collect()
    }

    /// Time of the first and the last row, by the run's own clock.
    pub fn logged_between(&self) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let column = self.history.columns.get("_timestamp")?;
        let times = || column.iter().map(|&(_, t)| t).filter(|t| t.is_finite());
        Some((instant(times().reduce(f64::min)?)?, instant(times().reduce(f64::max)?)?))
    }

    fn column(&self, key: Option<&str>) -> Vec<(i64, f64)> {
        key.map_or_else(Vec::new, |key| self.history.series(key, &self.keys.step))
    }
}

/// Seconds since 1970 as a time; rounded to microseconds, which is what an `f64` of today's date holds.
#[allow(clippy::cast_possible_truncation)] // a float cast saturates, and what is out of range is refused
fn instant(seconds: f64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros((seconds * 1e6).round() as i64)
}

/// The training steps a log covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StepRange {
    pub first: i64,
    pub last: i64,
    /// Widest distance between two logged steps; 0 where only one was logged.
    pub widest: i64,
    /// Distinct steps.
    pub points: u64,
}

/// Logged numbers in columns: by key, the log's own step (`_step`) and the value, in the order of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The columns; `_step`, `_timestamp` and `_runtime` are among them.
    pub columns: BTreeMap<String, Vec<(i64, f64)>>,
    /// Rows.
    pub rows: u64,
    /// Values that are no numbers (pictures, histograms, text) and were left out.
    pub skipped: u64,
}

impl History {
    /// Adds a value of JSON text; one that is not a number is counted and left out.
    ///
    /// A plain object of numbers is taken apart, its names joined with dots. W&B's `NaN` and `Infinity` are numbers.
    pub fn push(&mut self, step: i64, key: &str, text: &str) {
        let text = text.trim();
        if let Some(value) = number(text) {
            self.add(step, key, value);
        } else if text.starts_with('{') {
            match serde_json::from_str(text) {
                Ok(Value::Object(object)) if !object.contains_key("_type") => self.push_object(step, key, &object),
                _ => self.skipped += 1,
            }
        } else {
            self.skipped += 1;
        }
    }

    fn push_object(&mut self, step: i64, prefix: &str, object: &serde_json::Map<String, Value>) {
        for (name, value) in object {
            let key = format!("{prefix}.{name}");
            match value {
                Value::Number(n) if n.as_f64().is_some() => self.add(step, &key, n.as_f64().unwrap_or(f64::NAN)),
                Value::String(text) if special(text).is_some() => {
                    self.add(step, &key, special(text).unwrap_or(f64::NAN));
                }
                Value::Object(inner) if !inner.contains_key("_type") => self.push_object(step, &key, inner),
                _ => self.skipped += 1,
            }
        }
    }

    fn add(&mut self, step: i64, key: &str, value: f64) {
        if let Some(column) = self.columns.get_mut(key) {
            column.push((step, value));
        } else {
            self.columns.insert(key.to_owned(), vec![(step, value)]);
        }
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
    fn steps(&self, step_key: &str) -> Vec<i64> {
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
fn number(text: &str) -> Option<f64> {
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E');
    if text.bytes().all(plain) { text.parse().ok() } else { special(text.trim_matches('"')) }
}

fn special(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" | "+Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::History;

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
