//! What a run log says of a run, whatever wrote it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

/// Most runs of one folder or export.
pub const RUNS: usize = 1000;

pub use super::history::History;
use super::keys::Keys;
use super::leveldb::{Damage, Tail};
use super::releases::{Interval, Trust};
use scratchproof_error::Error;

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

/// One fact that two sources of a run's record give differently. The log's is the one that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which fact.
    pub what: String,
    /// As the log has it.
    pub log: String,
    /// As the other source has it.
    pub other: String,
    /// The other source: a file beside the log.
    pub source: String,
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
    /// Settings that the configuration does not have and the optimiser's states beside the checkpoints do.
    pub beside: BTreeMap<String, Value>,
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
    /// Facts that a file beside the log gives differently, the first hundred.
    pub differences: Vec<Difference>,
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

    /// The weight decay by training step where it has a schedule of its own, as vision models have it: logged in rows, and more
    /// than one value. Finite values only.
    pub fn scheduled_decay(&self) -> Vec<(i64, f64)> {
        let logged = super::keys::WEIGHT_DECAY.iter().map(|key| self.column(Some(key)));
        let varies = |points: &Vec<(i64, f64)>| {
            let (least, most) = points.iter().fold((f64::INFINITY, 0.0_f64), |(a, b), p| (a.min(p.1), b.max(p.1)));
            points.len() > 1 && least >= 0.0 && most - least > 1e-6 * most
        };
        logged.into_iter().find(varies).unwrap_or_default()
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
pub(super) fn instant(seconds: f64) -> Option<DateTime<Utc>> {
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
