//! The records of a log, one after the other, put into a run.

use base64ct::{Base64, Encoding};
use chrono::{DateTime, Utc};
use prost::Message;
use scratchproof_error::hexadecimal::hex;
use serde_json::Value;

use super::mirror::Mirror;
use super::{config, proto};
use crate::console::Console;
use crate::history::{Collector, Last};
use crate::keys::{KeyMap, Keys};
use crate::run::{Continues, Devices, LoggedFile, Run};
use crate::wire::{Content, Fields};

/// Larger records of the kinds that are decoded whole are left out.
const WHOLE: usize = 8 << 20;
/// Most bytes of records with settings; later ones are left out.
const SETTINGS: usize = 64 << 20;
/// So many files of a run are kept.
const FILES: usize = 100_000;

// Fields of `Record` that are read in place.
const HISTORY: u64 = 2;
const SUMMARY: u64 = 3;
const OUTPUT: u64 = 4;
const FILES_SAVED: u64 = 6;
const STATS: u64 = 7;
const ARTIFACT: u64 = 8;
const OUTPUT_RAW: u64 = 13;
const USED: u64 = 25;

/// A run in the making.
pub(super) struct Taker {
    run: Run,
    wandb: Value,
    history: Collector,
    system: Collector,
    summary: Last,
    mirror: Mirror,
    /// Standard error and standard output.
    consoles: [Console; 2],
    printed: bool,
    names: String,
    /// Bytes of records with settings so far.
    settings: usize,
}

/// A logged value.
enum Logged<'a> {
    Json(&'a str),
    Number(f64),
    Other,
}

impl Taker {
    pub fn new() -> Self {
        Self {
            run: Run::default(),
            wandb: Value::Null,
            history: Collector::default(),
            system: Collector::thinning(),
            summary: Last::default(),
            mirror: Mirror::default(),
            consoles: [Console::default(), Console::default()],
            printed: false,
            names: String::new(),
            settings: 0,
        }
    }

    /// Takes a record; nothing if its bytes are none.
    pub fn take(&mut self, bytes: &[u8]) -> Option<()> {
        let mut whole = false;
        let mut fields = Fields::new(bytes);
        for (number, content) in fields.by_ref() {
            match number {
                HISTORY => self.log(content.bytes()?)?,
                SUMMARY => self.sum_up(content.bytes()?)?,
                STATS => self.measure(content.bytes()?)?,
                OUTPUT | OUTPUT_RAW => self.print(content.bytes()?)?,
                ARTIFACT => self.artifact(content.bytes()?)?,
                FILES_SAVED => self.files(content.bytes()?)?,
                USED => self.used(content.bytes()?)?,
                _ => whole |= matches!(number, 5 | 11 | 17 | 18 | 21 | 26),
            }
        }
        if fields.broken || (whole && bytes.len() > WHOLE) {
            return None;
        }
        if whole {
            self.settings += bytes.len();
            if self.settings > SETTINGS {
                return None;
            }
            self.rare(proto::Record::decode(bytes).ok()?);
        }
        Some(())
    }

    /// The run, with the columns chosen by their spelling.
    pub fn finish(self) -> Run {
        let mut run = self.run;
        if run.sdk.is_none() {
            run.sdk = self.wandb.get("cli_version").and_then(Value::as_str).map(str::to_owned);
        }
        run.history = self.history.finish();
        run.system = self.system.finish();
        run.notes.extend(run.history.excess());
        if let Ok(keys) = Keys::choose(&run.history, &KeyMap::default()) {
            run.keys = keys;
        }
        if self.summary.dropped > 0 {
            run.notes.push(format!("{} values of the summary are beyond what is kept", self.summary.dropped));
        }
        run.differences = self.mirror.finish();
        for (name, text) in self.summary.finish() {
            config::flatten(&mut run.summary, name, config::json(&text));
        }
        let logged = run.loss();
        let [errors, output] = self.consoles;
        run.printed = output.finish(&logged);
        run.printed.extend(errors.finish(&logged));
        run.printed.sort_by_key(|printed| printed.line);
        if run.printed.is_empty() && self.printed {
            run.notes.push("the log holds the console's output, and no line with step and loss was found in it".into());
        }
        run
    }

    fn rare(&mut self, record: proto::Record) {
        let run = &mut self.run;
        if let Some(header) = record.header.and_then(|header| header.version_info) {
            // The Go core appends its own commit after a plus sign.
            set(&mut run.sdk, header.producer.split('+').next().unwrap_or_default());
        }
        if let Some(telemetry) = record.telemetry {
            set(&mut run.sdk, &telemetry.cli_version);
        }
        if let Some(start) = record.run {
            set(&mut run.sdk, &start.telemetry.unwrap_or_default().cli_version);
            if !start.run_id.is_empty() {
                run.id = start.run_id;
            }
            set(&mut run.name, &start.display_name);
            set(&mut run.project, &start.project);
            set(&mut run.entity, &start.entity);
            set(&mut run.host, &start.host);
            run.resumed |= start.resumed || start.starting_step > 0;
            if let Some(from) = start.branch_point.filter(|from| !from.run.is_empty()) {
                run.continues =
                    Some(Continues { run: from.run, step: step_of(from.value).filter(|_| from.metric == "_step") });
            }
            run.started_at = start.start_time.and_then(time).or(run.started_at);
            git(run, start.git);
            config::configure(run, &mut self.wandb, start.config);
        }
        if let Some(environment) = record.environment {
            describe(run, environment);
        }
        config::configure(run, &mut self.wandb, record.config);
        if let Some(exit) = record.exit {
            run.ended = Some(exit.exit_code);
        }
    }

    fn log(&mut self, bytes: &[u8]) -> Option<()> {
        self.names.clear();
        let mut items = Vec::with_capacity(16);
        let mut row = None;
        let mut own = None;
        let mut fields = Fields::new(bytes);
        for (number, content) in fields.by_ref() {
            match number {
                1 => {
                    let from = self.names.len();
                    let value = item(content.bytes()?, &mut self.names)?;
                    if &self.names[from..] == "_step" {
                        own = match value {
                            Logged::Json(text) => text.parse().ok(),
                            Logged::Number(number) => step_of(number),
                            Logged::Other => None,
                        };
                    }
                    items.push((from, self.names.len(), value));
                }
                2 => {
                    let mut step = Fields::new(content.bytes()?);
                    row =
                        Some(step.by_ref().find(|(number, _)| *number == 1).and_then(|(_, c)| c.signed()).unwrap_or(0));
                }
                _ => {}
            }
        }
        if fields.broken {
            return None;
        }
        let step = own.or(row).unwrap_or(i64::try_from(self.history.rows).unwrap_or(i64::MAX));
        self.history.rows += 1;
        let texts = items.iter().filter_map(|(from, to, value)| match value {
            Logged::Json(text) => Some((&self.names[*from..*to], *text)),
            _ => None,
        });
        self.history.push_histograms(step, texts.clone());
        self.mirror.row.set(step, texts);
        self.mirror.compare();
        for (from, to, value) in items {
            let name = &self.names[from..to];
            match value {
                Logged::Json(text) => self.history.push(step, name, text),
                Logged::Number(number) => self.history.push_number(step, name, number),
                Logged::Other => self.history.skip(),
            }
        }
        Some(())
    }

    fn sum_up(&mut self, bytes: &[u8]) -> Option<()> {
        let mut fields = Fields::new(bytes);
        let mut step = None;
        self.mirror.summary.clear();
        for (number, content) in fields.by_ref().filter(|(number, _)| *number < 3) {
            self.names.clear();
            let value = item(content.bytes()?, &mut self.names)?;
            if self.names != "_wandb" && !self.names.starts_with("_wandb.") {
                let text = if let (1, Logged::Json(text)) = (number, value) { text } else { "" };
                if self.names == "_step" {
                    step = text.parse().ok();
                }
                self.mirror.summary.add(&self.names, text);
                self.summary.set(&self.names, text);
            }
        }
        if let Some(step) = step {
            self.mirror.summary.step = Some(step);
            self.mirror.compare();
        }
        (!fields.broken).then_some(())
    }

    fn measure(&mut self, bytes: &[u8]) -> Option<()> {
        let row = i64::try_from(self.system.rows).unwrap_or(i64::MAX);
        let mut fields = Fields::new(bytes);
        for (number, content) in fields.by_ref() {
            if number == 2 {
                let stamp = proto::Timestamp::decode(content.bytes()?).ok()?;
                let seconds = stamp.seconds as f64 + f64::from(stamp.nanos) * 1e-9;
                self.system.push_number(row, "_timestamp", seconds);
            } else if number == 3 {
                self.names.clear();
                let value = item(content.bytes()?, &mut self.names)?;
                // Of hundreds of cores nobody asks for each.
                let core = self.names.starts_with("cpu.") && self.names.ends_with(".cpu_percent");
                if let (Logged::Json(text), false) = (value, core) {
                    self.system.push(row, &self.names, text);
                }
            }
        }
        self.system.rows += 1;
        (!fields.broken).then_some(())
    }

    fn print(&mut self, bytes: &[u8]) -> Option<()> {
        let (mut stream, mut line) = (0, &[][..]);
        let mut fields = Fields::new(bytes);
        for (number, content) in fields.by_ref() {
            match number {
                1 => stream = usize::from(content.signed() == Some(1)),
                3 => line = content.bytes()?,
                _ => {}
            }
        }
        self.printed |= !line.is_empty();
        self.consoles[stream].feed(line);
        (!fields.broken).then_some(())
    }

    fn artifact(&mut self, bytes: &[u8]) -> Option<()> {
        let (mut name, mut manifest) = ("", &[][..]);
        let mut fields = Fields::new(bytes);
        for (number, content) in fields.by_ref() {
            match number {
                5 => name = content.text()?,
                12 => manifest = content.bytes()?,
                _ => {}
            }
        }
        let mut contents = Fields::new(manifest);
        for (_, entry) in contents.by_ref().filter(|(number, _)| *number == 4) {
            self.keep(logged_file(name, entry.bytes()?)?);
        }
        (!fields.broken && !contents.broken).then_some(())
    }

    fn files(&mut self, bytes: &[u8]) -> Option<()> {
        let mut fields = Fields::new(bytes);
        for (_, content) in fields.by_ref().filter(|(number, _)| *number == 1) {
            let path = Fields::new(content.bytes()?).find(|(number, _)| *number == 1).and_then(|(_, path)| path.text());
            let name = path.unwrap_or_default().to_owned();
            if !self.run.files.iter().take(1000).any(|file| file.name == name && file.artifact.is_none()) {
                self.keep(LoggedFile { name, artifact: None, bytes: None, md5: None, sha256: None, at: None });
            }
        }
        (!fields.broken).then_some(())
    }

    fn used(&mut self, bytes: &[u8]) -> Option<()> {
        let mut fields = Fields::new(bytes);
        for (_, content) in fields.by_ref().filter(|(number, _)| *number == 3) {
            let name = content.text()?;
            if self.run.used.len() < 1000 && !self.run.used.iter().any(|used| used == name) {
                self.run.used.push(name.to_owned());
            }
        }
        (!fields.broken).then_some(())
    }

    fn keep(&mut self, file: LoggedFile) {
        match self.run.files.len() {
            n if n < FILES => self.run.files.push(file),
            FILES if self.run.notes.last().is_none_or(|note| !note.starts_with("more than")) => {
                self.run.notes.push(format!("more than {FILES} files are named; the others were left out"));
            }
            _ => {}
        }
    }
}

/// Appends the name of an item and gives its value.
fn item<'a>(bytes: &'a [u8], names: &mut String) -> Option<Logged<'a>> {
    let (mut key, mut value) = ("", Logged::Json(""));
    let mut parts = 0;
    let mut fields = Fields::new(bytes);
    for (number, content) in fields.by_ref() {
        match (number, content) {
            (1, content) => key = content.text()?,
            (2, content) => {
                if parts > 0 {
                    names.push('.');
                }
                names.push_str(content.text()?);
                parts += 1;
            }
            (8 | 16, content) => value = Logged::Json(content.text()?),
            (6, Content::Double(number)) => value = Logged::Number(number),
            (5, Content::Number(zigzag)) => value = Logged::Number(whole(zigzag)),
            (3 | 4 | 7, _) => value = Logged::Other,
            _ => {}
        }
    }
    if parts == 0 {
        names.push_str(key);
    }
    (!fields.broken).then_some(value)
}

/// A number in zigzag form, which keeps small negative ones short.
#[allow(clippy::cast_possible_wrap)]
fn whole(zigzag: u64) -> f64 {
    ((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)) as f64
}

#[allow(clippy::cast_possible_truncation)] // only whole numbers below 2^53 pass
fn step_of(value: f64) -> Option<i64> {
    crate::history::is_whole(value).then_some(value as i64)
}

fn logged_file(artifact: &str, bytes: &[u8]) -> Option<LoggedFile> {
    let (mut name, mut digest, mut size, mut reference) = ("", "", None, "");
    let mut fields = Fields::new(bytes);
    for (number, content) in fields.by_ref() {
        match number {
            1 => name = content.text()?,
            2 => digest = content.text()?,
            3 => reference = content.text()?,
            4 => size = content.signed().and_then(|size| u64::try_from(size).ok()),
            _ => {}
        }
    }
    // Of a file kept elsewhere the digest is what that place says, which need be no MD5.
    let md5 = if reference.is_empty() { md5(digest) } else { None };
    let (name, artifact) = (name.to_owned(), Some(artifact.to_owned()));
    (!fields.broken).then_some(LoggedFile { name, artifact, bytes: size, md5, sha256: None, at: None })
}

/// A digest in base 64 as hexadecimal, if it is as long as an MD5.
pub(crate) fn md5(digest: &str) -> Option<String> {
    let mut bytes = [0; 18];
    let digest = Base64::decode(digest, &mut bytes).ok().filter(|bytes| bytes.len() == 16)?;
    Some(hex(digest))
}

fn describe(run: &mut Run, environment: proto::EnvironmentRecord) {
    set(&mut run.program, &environment.program);
    set(&mut run.host, &environment.host);
    run.started_at = run.started_at.or(environment.started_at.and_then(time));
    git(run, environment.git);
    if run.arguments.is_empty() {
        run.arguments = environment.args;
    }
    let mut kinds: Vec<String> = environment.gpu_nvidia.into_iter().map(|gpu| gpu.name).collect();
    kinds.retain(|kind| !kind.is_empty());
    if kinds.is_empty() && !environment.gpu_type.is_empty() {
        let count = usize::try_from(environment.gpu_count).unwrap_or(1).clamp(1, 1 << 16);
        kinds = vec![environment.gpu_type; count];
    }
    if kinds.is_empty()
        && let Some(tpu) = environment.tpu.filter(|tpu| !tpu.name.is_empty())
    {
        kinds = vec![tpu.name; usize::try_from(tpu.count).unwrap_or(1).clamp(1, 1 << 16)];
    }
    if !kinds.is_empty() {
        run.devices = devices(kinds);
    }
}

/// Accelerators counted by kind.
pub(crate) fn devices(mut kinds: Vec<String>) -> Vec<Devices> {
    kinds.sort();
    let groups = kinds.chunk_by(|a, b| a == b);
    groups.map(|group| Devices { kind: group[0].clone(), count: group.len() as u64 }).collect()
}

fn git(run: &mut Run, record: Option<proto::GitRecord>) {
    if let Some(record) = record {
        set(&mut run.commit, &record.commit);
        set(&mut run.remote, &record.remote_url);
    }
}

pub(super) fn set(place: &mut Option<String>, text: &str) {
    if !text.is_empty() && place.is_none() {
        *place = Some(text.to_owned());
    }
}

fn time(stamp: proto::Timestamp) -> Option<DateTime<Utc>> {
    if stamp.seconds == 0 && stamp.nanos == 0 {
        return None;
    }
    DateTime::from_timestamp(stamp.seconds, u32::try_from(stamp.nanos).ok()?)
}
