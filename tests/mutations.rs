//! Damaged files of every kind before every reader: no panic, the same answer twice, and little memory.
//!
//! Mutations come from fixed seeds. `SCRATCHPROOF_ROUNDS` (60 of every file) and `SCRATCHPROOF_SEED` (0) make more of
//! them; a failure names the file, the seed and the round.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::fmt::Write;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[path = "support/readers/records.rs"]
mod records;
#[path = "support/readers/server.rs"]
mod server;
#[path = "../crates/record/src/git/sha1.rs"]
mod sha1;
#[path = "support/readers/table.rs"]
mod table;
#[path = "support/readers/weights.rs"]
mod weights;

use scratchproof::case::{Case, Policy};
use table::{Reader, Seed};

/// Memory that reading any of these files may take, in MiB: they have some hundred kilobytes.
const MOST: u64 = 1024;

/// What a reader says.
fn answer(reader: Reader, path: &Path) -> String {
    weights::answer(reader, path).or_else(|| records::answer(reader, path)).expect("every reader is one of these")
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
    let seeds = table::seeds(Path::new(env!("CARGO_MANIFEST_DIR")), made.path());
    for (place, Seed { target, folder, file, reader }) in seeds.into_iter().enumerate() {
        let whole = fs::read(folder.join(&file)).expect("a file");
        let work = tempfile::tempdir().expect("a folder");
        let copied = work.path().join("copied");
        support::copy(&folder, &copied);
        let path = copied.join(&file);
        let sound = answer(reader, &path);
        // A finished audit is checked whole, its pages drawn again: a tenth of a second each time.
        let rounds = if matches!(reader, Reader::Audit(_)) { rounds.div_ceil(6) } else { rounds };
        for round in 0..rounds {
            let mut numbers = support::Numbers(1 + (((seed * 1000 + place) as u64) << 32) + round as u64);
            let mut bytes = whole.clone();
            for _ in 0..=numbers.below(3) {
                damage(&mut bytes, &mut numbers);
            }
            fs::write(&path, &bytes).expect("written");
            let what = format!("{target}: {} as {reader:?}, seed {seed}, round {round}", folder.join(&file).display());
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
