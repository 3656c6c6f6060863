//! Reads `TensorBoard` event files: scalars, hyperparameters and the texts that trainers leave their arguments in.
//!
//! A file is a chain of records: length (u64), its checksum, an `Event` message, its checksum. The checksums are CRC-32C,
//! rotated and shifted as `TFRecord` has it.

mod crc;

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::hashed;
use super::history::{Collector, History};
use super::keys::{KeyMap, Keys};
use super::leveldb::{Damage, Tail};
use super::releases::{Interval, Trust};
use super::run::{Dated, Form, Happened, Run};
use super::wandb::config::flatten;
use super::wire::{Content, Fields};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// A longer record is taken for damage.
const RECORD: u64 = 256 << 20;
/// Most bytes of texts, of all together, that are looked into.
const TEXT: usize = 16 << 20;
/// So many places of damage are kept.
const DAMAGE: usize = 1000;

/// Whether a file's first bytes are those of an event file: a length with its true checksum.
pub(super) fn is_log(head: &[u8]) -> bool {
    matches!(head, [a, b, c, d, e, f, g, h, w, x, y, z, ..]
        if crc::masked(&[*a, *b, *c, *d, *e, *f, *g, *h]) == u32::from_le_bytes([*w, *x, *y, *z]))
}

/// Whether a file has the name of an event file.
pub(super) fn is_named(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains("tfevents"))
}

/// Reads the event files of one folder as one run. A training that was resumed writes a new file, often from an earlier
/// step on; from there the later file counts, and what it replaces is told in the notes.
///
/// # Errors
/// If none of the files can be read or is an event file.
pub(super) fn open(paths: &[PathBuf]) -> Result<Run> {
    let mut files = Vec::new();
    let mut failed = Vec::new();
    for path in paths.iter().take(super::run::RUNS) {
        match read(path) {
            Ok(file) => files.push(file),
            Err(error) => failed.push(error),
        }
    }
    files.sort_by(|a, b| a.first.total_cmp(&b.first));
    let mut parts = files.into_iter();
    let Some(first) = parts.next() else {
        return Err(failed
            .into_iter()
            .next()
            .unwrap_or_else(|| Error::input(text!("error-record/tensorboard/no-event-file"))));
    };
    let (mut run, mut history) = (first.run, first.history);
    for file in parts {
        let gone = append(&mut history, &file.history);
        if gone > 0 {
            let note =
                format!("{gone} values are left out: {} starts again before the end of the file before it", file.name);
            run.notes.push(note);
        }
        run.started_at = run.started_at.or(file.run.started_at);
        run.config.extend(file.run.config);
        // A file that is opened later is no second start.
        run.times.extend(file.run.times.into_iter().map(|time| Dated { happened: Happened::Other, ..time }));
        run.damage.extend(file.run.damage);
        run.damaged += file.run.damaged;
        run.tail = file.run.tail;
        run.bytes += file.run.bytes;
        // Of several files the digest is that of their digests.
        run.sha256 = crate::hashed::chain(&run.sha256, &file.run.sha256);
    }
    run.damage.truncate(DAMAGE);
    run.history = history;
    run.notes.extend(run.history.excess());
    run.notes.extend(failed.iter().take(20).map(|error| format!("another log was left out: {error}")));
    run.keys = Keys::choose(&run.history, &KeyMap::default())?;
    Ok(run)
}

/// Adds a later history column by column; gives how many values it replaced.
fn append(history: &mut History, later: &History) -> u64 {
    let mut gone = 0;
    for (key, column) in &later.columns {
        let Some(first) = column.iter().map(|&(step, _)| step).min() else { continue };
        if let Some(before) = history.columns.get_mut(key) {
            let length = before.len();
            before.retain(|&(step, _)| step < first);
            gone += (length - before.len()) as u64;
        }
        for &(step, value) in column {
            history.push_number(step, key, value);
        }
    }
    history.rows = history.columns.get("_step").map_or(0, |column| column.len() as u64);
    history.skipped += later.skipped;
    gone
}

/// One file.
struct File {
    name: String,
    /// Wall time of its first event.
    first: f64,
    run: Run,
    history: History,
}

fn read(path: &Path) -> Result<File> {
    let mut input = BufReader::with_capacity(1 << 16, hashed::open(path)?);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut taker = Taker { run: Run { form: Form::TensorBoard, ..Run::default() }, ..Taker::default() };
    let (mut offset, mut record) = (0_u64, Vec::new());
    loop {
        let mut head = [0; 12];
        let length = match fill(&mut input, &mut head) {
            Ok(0) => break,
            Ok(12) if is_log(&head) => head[..8].iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)),
            Ok(12) if offset == 0 => {
                return Err(Error::input(text!(
                    "error-record/tensorboard/no-tensorboard-event-file",
                    path = path.display()
                )));
            }
            // Without a length there is no way to the next record.
            Ok(12) => {
                taker.damage(offset, "a record whose length has a wrong checksum; what follows it was not read");
                break;
            }
            Ok(_) => {
                taker.run.tail = Tail::Truncated;
                break;
            }
            Err(error) => return Err(Error::io(path.display(), error)),
        };
        if length > RECORD {
            taker.damage(offset, "a record of more than 256 MiB; what follows it was not read");
            break;
        }
        record.clear();
        let wanted = length + 4;
        let got =
            (&mut input).take(wanted).read_to_end(&mut record).map_err(|error| Error::io(path.display(), error))?;
        if (got as u64) < wanted {
            taker.run.tail = Tail::Truncated;
            break;
        }
        let (data, sum) = record.split_at(got - 4);
        if crc::masked(data).to_le_bytes() != *sum {
            taker.damage(offset, "a record whose checksum is wrong");
        } else if taker.event(data).is_none() {
            taker.damage(offset, "a whole record that is no event");
        }
        offset += 12 + wanted;
    }
    let (first, mut run, history) = taker.finish();
    input.into_inner().sign(&mut run)?;
    dated(&mut run, &name);
    Ok(File { name, first, run, history })
}

/// As much as there is of a buffer.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match input.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// `events.out.tfevents.1700000000.HOST.PID.N` has the start and the machine.
fn dated(run: &mut Run, name: &str) {
    let mut parts = name.split_once("tfevents.").map_or("", |(_, rest)| rest).split('.');
    let seconds = parts.next().and_then(|text| text.parse().ok());
    if let Some(at) = seconds.and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0)) {
        let what = "opened an event file, by its name".to_owned();
        let at = Interval { earliest: at, latest: at };
        // A run may open several files, so this is not its start.
        run.times.push(Dated { happened: Happened::Other, what, at, trust: Trust::SelfAsserted });
    }
    run.host = parts.next().filter(|host| !host.is_empty()).map(str::to_owned);
}

#[derive(Default)]
struct Taker {
    run: Run,
    history: Collector,
    first: Option<f64>,
    /// Step of the last row.
    row: Option<i64>,
    /// Bytes of texts so far.
    texts: usize,
}

impl Taker {
    fn damage(&mut self, offset: u64, what: &str) {
        self.run.damaged += 1;
        if self.run.damage.len() < DAMAGE {
            self.run.damage.push(Damage { offset, what: what.to_owned() });
        }
    }

    fn event(&mut self, bytes: &[u8]) -> Option<()> {
        let (mut wall, mut step, mut summary) = (0.0, 0, None);
        let mut fields = Fields::new(bytes);
        for (number, content) in fields.by_ref() {
            match (number, content) {
                (1, Content::Double(time)) => wall = time,
                (2, content) => step = content.signed()?,
                (5, content) => summary = Some(content.bytes()?),
                _ => {}
            }
        }
        if fields.broken {
            return None;
        }
        self.first.get_or_insert(wall);
        let mut values = Fields::new(summary.unwrap_or_default());
        for (_, value) in values.by_ref().filter(|(number, _)| *number == 1) {
            self.value(step, wall, value.bytes()?)?;
        }
        (!values.broken).then_some(())
    }

    fn value(&mut self, step: i64, wall: f64, bytes: &[u8]) -> Option<()> {
        let (mut tag, mut number, mut text, mut plugin) = ("", None, None, None);
        let mut fields = Fields::new(bytes);
        for (field, content) in fields.by_ref() {
            match (field, content) {
                (1, content) => tag = content.text()?,
                (2, Content::Float(value)) => number = Some(f64::from(value)),
                (8, content) => (number, text) = tensor(content.bytes()?)?,
                (9, content) => plugin = inside(content.bytes()?, &[1]),
                _ => {}
            }
        }
        if fields.broken {
            return None;
        }
        if let Some(value) = number {
            // Megatron-LM writes some figures a second time by samples, under the same kind of step.
            if self.row != Some(step) && !tag.contains(" vs ") {
                self.row = Some(step);
                self.history.rows += 1;
                self.history.push_number(step, "_step", step as f64);
                self.history.push_number(step, "_timestamp", wall);
            }
            self.history.push_number(step, tag, value);
        } else if let (Some(name), Some(text)) = (tag.strip_suffix("/text_summary"), text) {
            self.text(name, text);
        } else if tag == "_hparams_/session_start_info" {
            let settings = plugin.and_then(|plugin| inside(plugin, &[2, 3]));
            for (_, entry) in Fields::new(settings.unwrap_or_default()).filter(|(number, _)| *number == 1) {
                self.setting(entry.bytes()?);
            }
        } else {
            self.history.skip();
        }
        Some(())
    }

    /// HF Trainer writes its arguments as JSON under `args`, Megatron-LM each under its own name.
    fn text(&mut self, name: &str, text: &str) {
        self.texts = self.texts.saturating_add(text.len());
        if self.texts > TEXT {
            return;
        }
        let name = if name == "args" { "" } else { name };
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(object)) => {
                for (key, value) in object {
                    let key = if name.is_empty() { key } else { format!("{name}.{key}") };
                    flatten(&mut self.run.config, key, value);
                }
            }
            Ok(value) => flatten(&mut self.run.config, name.to_owned(), value),
            Err(_) => flatten(&mut self.run.config, name.to_owned(), Value::String(text.to_owned())),
        }
    }

    /// A hyperparameter: an entry of a map to `google.protobuf.Value`.
    fn setting(&mut self, entry: &[u8]) {
        let Some(name) = Fields::new(entry).find(|(number, _)| *number == 1).and_then(|(_, name)| name.text()) else {
            return;
        };
        let value = Fields::new(inside(entry, &[2]).unwrap_or_default()).next();
        let value = match value {
            Some((2, Content::Double(number))) => Value::from(number),
            Some((3, text)) => Value::from(text.text().unwrap_or_default()),
            Some((4, Content::Number(truth))) => Value::from(truth != 0),
            _ => Value::Null,
        };
        flatten(&mut self.run.config, name.to_owned(), value);
    }

    fn finish(mut self) -> (f64, Run, History) {
        let first = self.first.filter(|first| first.is_finite());
        self.run.started_at = first.and_then(super::run::instant);
        (first.unwrap_or(f64::MAX), self.run, self.history.finish())
    }
}

/// The message that a path of fields leads to.
fn inside<'a>(bytes: &'a [u8], path: &[u64]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, wanted| {
        Fields::new(bytes).find(|(number, _)| number == wanted).and_then(|(_, content)| content.bytes())
    })
}

/// A tensor of one number, or of one text.
fn tensor(bytes: &[u8]) -> Option<(Option<f64>, Option<&str>)> {
    let (mut kind, mut number, mut text) = (0, None, None);
    let mut fields = Fields::new(bytes);
    for (field, content) in fields.by_ref() {
        let four = || <[u8; 4]>::try_from(content.bytes()?).ok();
        let eight = || <[u8; 8]>::try_from(content.bytes()?).ok();
        match (field, content) {
            (1, content) => kind = content.signed()?,
            // The plain bytes: f32, f64, i32, i64.
            (4, _) => {
                number = match kind {
                    1 => four().map(|bytes| f64::from(f32::from_le_bytes(bytes))),
                    2 => eight().map(f64::from_le_bytes),
                    3 => four().map(|bytes| f64::from(i32::from_le_bytes(bytes))),
                    9 => eight().map(|bytes| i64::from_le_bytes(bytes) as f64),
                    _ => None,
                }
            }
            (5, Content::Float(value)) => number = Some(f64::from(value)),
            (5, _) => number = four().map(|bytes| f64::from(f32::from_le_bytes(bytes))),
            (6, Content::Double(value)) => number = Some(value),
            (6, _) => number = eight().map(f64::from_le_bytes),
            (7 | 10, Content::Number(_)) => number = content.signed().map(|whole| whole as f64),
            (8, content) => text = text.or(content.text()),
            _ => {}
        }
    }
    (!fields.broken).then_some((number, text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
