//! Damaged files of every kind before every reader: no panic, the same answer twice, and little memory.
//!
//! Mutations come from fixed seeds. `SCRATCHPROOF_ROUNDS` (60 of every file) and `SCRATCHPROOF_SEED` (0) make more of
//! them; a failure names the file, the seed and the round.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::fmt::Write;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use scratchproof::case::{Case, Policy};
use scratchproof::checkpoint::Checkpoint;
use scratchproof::record::git::Options;
use scratchproof::record::settings::{self, Language};
use scratchproof::record::{Repository, Targets, listed::Shelf, logs, witness};
use scratchproof::source::Access;
use support::fixtures;

/// Memory that reading any of these files may take, in MiB: they have some hundred kilobytes.
const MOST: u64 = 1024;
/// Tensors whose bytes are read.
const TENSORS: usize = 4;

/// Who reads a file.
#[derive(Clone, Copy, Debug)]
enum Reader {
    /// The folder of the file is a model.
    Model,
    /// The file is a model.
    ModelFile,
    /// The file, or the folder of it, is a log.
    Log,
    LogFolder,
    Proof,
    Case,
    /// The folder some levels above is a repository.
    Repository(usize),
    Bundle,
    Settings(Language),
    Report,
}

/// What a reader says, in a form in which two answers can be compared.
fn answer(reader: Reader, path: &Path) -> String {
    let folder = path.parent().expect("a folder");
    let mut out = String::new();
    match reader {
        Reader::Model | Reader::ModelFile => {
            let place = if matches!(reader, Reader::Model) { folder } else { path };
            match Checkpoint::open(place) {
                Err(error) => write!(out, "{error}"),
                Ok(model) => {
                    for tensor in &model.tensors {
                        writeln!(out, "{} {:?} {}", tensor.name, tensor.shape, tensor.dtype).expect("a string");
                    }
                    for tensor in model.tensors.iter().take(TENSORS) {
                        let bytes = model.read(tensor).map(|bytes| crc32fast::hash(&bytes)).map_err(|e| e.to_string());
                        writeln!(out, "{bytes:?}").expect("a string");
                    }
                    let tokens = model.tokenizer().map(|_| "tokens").map_err(|error| error.to_string());
                    let states = model.optimizers().map(<[_]>::len).map_err(|error| error.to_string());
                    write!(out, "{:?} {tokens:?} {states:?} {:?}", model.skipped, model.config)
                }
            }
        }
        Reader::Log => write!(out, "{:?}", logs::open(path).map_err(|error| error.to_string())),
        Reader::LogFolder => write!(out, "{:?}", logs::open(folder).map_err(|error| error.to_string())),
        Reader::Proof => {
            let case = folder.join("case.toml");
            let name = path.file_name().expect("a name").to_string_lossy();
            let text =
                format!("schema = 1\n[subject]\ncheckpoints = \"c/{{step}}\"\n[[witness]]\nproof = \"{name}\"\n");
            fs::write(&case, text).expect("written");
            let case = Case::read_record(&case).expect("a case");
            let mut shelf = Shelf::default();
            let offline = Access { offline: true };
            let seen = witness::read(&case.witnesses, &Targets::default(), offline, &mut shelf);
            write!(out, "{seen:?} {shelf:?}")
        }
        Reader::Case => write!(out, "{:?}", Case::read_record(path).map(|case| case.policy).map_err(|e| e.to_string())),
        Reader::Repository(levels) => {
            let root = path.ancestors().nth(levels).expect("a folder");
            write!(out, "{:?}", repository(root))
        }
        Reader::Bundle => write!(out, "{:?}", repository(path)),
        Reader::Settings(language) => write!(out, "{:?}", settings::read(&fs::read(path).expect("a file"), language)),
        Reader::Report => {
            write!(out, "{:?}", scratchproof::report::read::read(folder).map(|_| ()).map_err(|e| e.to_string()))
        }
    }
    .expect("a string");
    out
}

fn repository(path: &Path) -> Result<String, String> {
    let options = Options { patience: Duration::from_secs(5), threads: 2, ..Options::default() };
    let read = Repository::read(path, &options).map_err(|error| error.to_string())?;
    Ok(format!("{:?} {:?} {:?} {:?}", read.commits, read.settings, read.notes, read.traces))
}

/// Numbers that lengths and counts are set to.
const EXTREMES: [u64; 10] =
    [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, i64::MAX.unsigned_abs(), u64::MAX];

/// Some damage.
fn damage(bytes: &mut Vec<u8>, numbers: &mut support::Numbers) {
    if bytes.is_empty() {
        bytes.push(0);
        return;
    }
    // Heads and ends hold what lengths and counts are made of.
    let length = bytes.len();
    let at = match numbers.below(4) {
        0 => numbers.below(length.min(64)),
        1 => numbers.below(length.min(4096)),
        2 => length - 1 - numbers.below(length.min(512)),
        _ => numbers.below(length),
    };
    let span = 1 + numbers.below((length - at).min(64));
    match numbers.below(8) {
        0 => bytes[at] ^= 1 << numbers.below(8),
        1 => bytes[at] = [0, 0x7f, 0x80, 0xff][numbers.below(4)],
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..at + span)),
        4 => {
            let copied = bytes[at..at + span].to_vec();
            let to = numbers.below(length);
            bytes.splice(to..to, copied);
        }
        5 => {
            let from = numbers.below(length - span + 1);
            bytes.copy_within(from..from + span, at.min(length - span));
        }
        width => {
            let value = EXTREMES[numbers.below(EXTREMES.len())];
            let width = if width == 6 { 4 } else { 8 };
            let raw = if numbers.below(2) == 0 { value.to_le_bytes() } else { value.to_be_bytes() };
            let raw = if numbers.below(2) == 0 { &raw[..width] } else { &raw[8 - width..] };
            for (to, from) in bytes[at..].iter_mut().zip(raw) {
                *to = *from;
            }
        }
    }
}

/// Every file that is damaged, who reads it, and what is copied with it.
fn seeds(made: &Path) -> Vec<(PathBuf, PathBuf, Reader)> {
    let root = fixtures();
    let mut seeds = Vec::new();
    let mut whole = |folder: &str, reader: Reader, keep: &dyn Fn(&str) -> bool| {
        for name in support::tree(&root.join(folder)).into_keys().filter(|name| keep(name)) {
            seeds.push((root.join(folder), PathBuf::from(name), reader));
        }
    };
    let all = |_: &str| true;
    let top = |name: &str| !name.contains('/');
    for form in ["bin", "bin-sharded", "consolidated", "fsdp", "gguf", "npz", "zero1", "zero3", "megatron", "nanogpt"] {
        whole(&format!("forms/{form}"), Reader::Model, &top);
    }
    whole("models/parent-glm", Reader::Model, &all);
    whole("forms", Reader::ModelFile, &|name| {
        !name.contains('/') && ["pt", "jit", "onnx", "gguf", "npz"].iter().any(|end| name.ends_with(end))
    });
    whole("logs/rows", Reader::Log, &all);
    whole("logs/nanogpt", Reader::Log, &top);
    whole("logs/tinylm/run-20260211_121423-kj3gdsjx", Reader::LogFolder, &top);
    whole("logs/tensorboard", Reader::Log, &top);
    whole("cases/dense-sgd/wandb/offline-run-20261121_230636-k4gok93g", Reader::Log, &all);
    whole("witness", Reader::Proof, &|name| !name.ends_with("md"));
    whole("cases/dense-sgd", Reader::Case, &|name| name == "case.toml");
    let packs = "cases/dense-sgd/repo.git";
    whole(packs, Reader::Repository(1), &|name| matches!(name, "HEAD" | "config" | "packed-refs"));
    whole(packs, Reader::Repository(3), &|name| name.starts_with("objects/pack/"));
    whole("../reports", Reader::Report, &|name| name.ends_with("dense-sgd/report.json"));
    for (name, language, text) in [
        ("a.json", Language::Json, "{\"model\": {\"hidden_size\": 16, \"num_layers\": 2, \"vocab_size\": 64}}"),
        ("a.yaml", Language::Yaml, "model: &a\n  hidden_size: 16\n  num_layers: 2\n  vocab_size: 64\nb: {<<: *a}\n"),
        ("a.toml", Language::Toml, "[model]\nhidden_size = 16\nnum_layers = 2\nvocab_size = 64\n"),
        (
            "a.py",
            Language::Python,
            "class A:\n    hidden_size: int = 2**4\n    num_layers = 2\n    vocab_size = 8 * 8\n",
        ),
        ("a.sh", Language::Shell, "H=16\ntorchrun a.py --hidden-size $H --num-layers 2 --vocab-size 64 \\\n --x 'y'\n"),
        (
            "Makefile",
            Language::Make,
            "H := 16\nrun:\n\tpython a.py --hidden-size $(H) --num-layers 2 --vocab-size 64\n",
        ),
    ] {
        fs::write(made.join(name), text).expect("written");
        seeds.push((made.to_owned(), name.into(), Reader::Settings(language)));
    }
    // A bundle is a pack behind a list of references.
    let pack =
        support::tree(&root.join(packs)).into_iter().find(|(name, _)| name.ends_with(".pack")).expect("a pack").1;
    let refs = fs::read_to_string(root.join(packs).join("packed-refs")).expect("references");
    let lines: String =
        refs.lines().filter(|line| !line.starts_with(['#', '^'])).fold(String::new(), |a, b| a + b + "\n");
    fs::write(made.join("a.bundle"), [format!("# v2 git bundle\n{lines}\n").as_bytes(), &pack].concat())
        .expect("written");
    seeds.push((made.to_owned(), "a.bundle".into(), Reader::Bundle));
    seeds
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// The most memory of this process so far, in MiB; 0 where the system does not say.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().split(' ').next()?.parse::<u64>().ok());
    line.unwrap_or(0) / 1024
}

#[test]
fn the_same_bytes_twice_give_the_same_answer() {
    let made = tempfile::tempdir().expect("a folder");
    let (rounds, seed) = (number("SCRATCHPROOF_ROUNDS", 60), number("SCRATCHPROOF_SEED", 0));
    let (mut other, mut all) = (0, 0);
    for (place, (folder, file, reader)) in seeds(made.path()).into_iter().enumerate() {
        let whole = fs::read(folder.join(&file)).expect("a file");
        let work = tempfile::tempdir().expect("a folder");
        let copied = work.path().join("copied");
        support::copy(&folder, &copied);
        let path = copied.join(&file);
        let sound = answer(reader, &path);
        for round in 0..rounds {
            let mut numbers = support::Numbers(1 + (((seed * 1000 + place) as u64) << 32) + round as u64);
            let mut bytes = whole.clone();
            for _ in 0..=numbers.below(3) {
                damage(&mut bytes, &mut numbers);
            }
            fs::write(&path, &bytes).expect("written");
            let what = format!("{} as {reader:?}, seed {seed}, round {round}", folder.join(&file).display());
            let answers = catch_unwind(AssertUnwindSafe(|| [answer(reader, &path), answer(reader, &path)]));
            let Ok([first, second]) = answers else { panic!("{what}: a panic") };
            assert_eq!(first, second, "{what}");
            other += usize::from(first != sound);
            all += 1;
        }
    }
    if let Some(tally) = std::env::var_os("SCRATCHPROOF_TALLY") {
        fs::write(tally, all.to_string()).expect("written");
    }
    assert!(peak() < MOST, "{} MiB", peak());
    assert!(all >= 60 * rounds && other > all / 3, "{other} of {all} made a difference");
}

/// What is printed can be read again and is the same.
#[test]
fn a_policy_that_is_printed_is_read_as_it_was() {
    let policy = Policy::default();
    let json = serde_json::to_value(&policy).expect("numbers");
    let mut text = String::from("schema = 1\n[subject]\nmodel = \"m\"\n[policy]\n");
    for (name, value) in json.as_object().expect("an object") {
        writeln!(text, "{name} = {value}").expect("a string");
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("case.toml"), text).expect("written");
    let again = Case::read_record(&folder.path().join("case.toml")).expect("a case").policy;
    assert_eq!(serde_json::to_value(&again).expect("numbers"), json);
}
