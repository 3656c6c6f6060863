//! The decay clock on the fixtures, and on logs and series that were altered.

use std::fs;

use crate::support::report::{Condition, Direction, Finding, Grade, Outcome, Report};
use crate::support::{Copy, audited};

/// The finding of the language model's embedding.
fn clock(report: &Report) -> &Finding {
    let found: Vec<&Finding> = report
        .of("chain/decay-clock")
        .into_iter()
        .filter(|f| f.subject.tensor.as_deref().is_some_and(|tensor| tensor.ends_with("embed_tokens.weight")))
        .collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0]
}

#[test]
fn honest_decay_is_the_logged_one() {
    for case in ["scratch-moe", "scratch-same-arch", "continued", "depth-upscaled", "shared-seed", "distilled"] {
        let audit = audited(case);
        let found = clock(&audit.report);
        assert_eq!((found.grade, found.direction), (Grade::Strong, Direction::For), "{case}: {}", found.message);
        let off = found.effect.expect("a deviation");
        assert!(off.abs() < 0.002, "{case}: {off}");
        assert!(found.n.is_some_and(|rows| rows >= 24), "{case}: {}", found.message);
    }
    let audit = audited("dense-sgd");
    let found = clock(&audit.report);
    assert_eq!((found.grade, found.direction), (Grade::Moderate, Direction::For), "{}", found.message);
    assert!(found.message.contains("keep every bit"), "{}", found.message);
    let audit = audited("borrowed-embedding");
    let found = clock(&audit.report);
    assert!(found.grade == Grade::Context && found.message.contains("frozen"), "{}", found.message);
}

fn denied(copy: &Copy, what: &str) {
    let report = copy.judged();
    let found = clock(&report);
    assert_eq!((found.grade, found.direction), (Grade::Moderate, Direction::Against), "{what}: {}", found.message);
    assert_ne!(report.verdict.outcome, Outcome::Confirmed, "{what}");
    assert_ne!(report.verdict.conditions.chain, Condition::Holds, "{what}");
}

#[test]
fn a_tenth_more_or_less_in_the_log_is_seen() {
    for factor in [0.9, 1.1] {
        let copy = Copy::of("scratch-moe");
        let log = copy.log();
        let bytes = scaled(&fs::read(&log).expect("a log"), "learning_rate", factor);
        fs::write(&log, bytes).expect("written");
        denied(&copy, &format!("rates times {factor}"));
    }
    let copy = Copy::of("scratch-same-arch");
    for step in [20, 60, 150, 300, 450, 600] {
        let folder = |step: u32| copy.path(&format!("checkpoints/step-{step}"));
        fs::rename(folder(step), folder(step * 9 / 10)).expect("renamed");
    }
    denied(&copy, "steps times 0.9");
}

#[test]
fn time_runs_forward_only() {
    let copy = Copy::of("scratch-same-arch");
    let [a, b] = [copy.weights(150), copy.weights(450)];
    let bytes = fs::read(&a).expect("weights");
    fs::copy(&b, &a).expect("copied");
    fs::write(&b, bytes).expect("written");
    let report = copy.judged();
    let found = clock(&report);
    assert_eq!((found.grade, found.direction), (Grade::Strong, Direction::Against), "{}", found.message);
    assert!(found.message.contains("grow"), "{}", found.message);
}

/// A log whose values after a key are multiplied: every number keeps its length, every chunk gets its checksum anew.
fn scaled(log: &[u8], key: &str, factor: f64) -> Vec<u8> {
    const BLOCK: usize = 32768;
    let mut bytes = log.to_vec();
    // After the log's own header.
    let (mut at, mut changed) = (7, 0);
    while at + 7 < bytes.len() {
        let room = BLOCK - at % BLOCK;
        if room < 7 {
            at += room;
            continue;
        }
        let length = usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
        let (kind, data) = (bytes[at + 6], at + 7..at + 7 + length);
        let chunk = &mut bytes[data.clone()];
        let places: Vec<usize> =
            (0..chunk.len().saturating_sub(key.len())).filter(|&i| chunk[i..].starts_with(key.as_bytes())).collect();
        for place in places {
            // The value is a field of its own: a tag of two bytes, its length, its text.
            let begin = place + key.len() + 3;
            let plain = |b: &&u8| b.is_ascii_digit() || b"+-.e".contains(b);
            let size = chunk[begin.min(chunk.len())..].iter().take_while(plain).count();
            let Ok(value) = String::from_utf8_lossy(&chunk[begin.min(chunk.len())..][..size]).parse::<f64>() else {
                continue;
            };
            if size < 3 || usize::from(chunk[begin - 1]) != size {
                continue;
            }
            chunk[begin..begin + size].copy_from_slice(&text(value * factor, size));
            changed += 1;
        }
        let sum = crc32(&bytes[at + 6..data.end]);
        bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
        assert!(kind <= 4, "a chunk of kind {kind}");
        at = data.end;
    }
    assert!(changed > 50, "{changed} values of {key}");
    bytes
}

/// A number in so many characters, as exact as they allow.
fn text(value: f64, size: usize) -> Vec<u8> {
    let exponents = -12..=0;
    let best = exponents
        .flat_map(|exponent| {
            let digits = format!("{:.0}e{exponent}", value / 10f64.powi(exponent));
            [digits, format!("{value:.*}", usize::try_from(-exponent).unwrap_or(0))]
        })
        .filter(|text| text.len() <= size)
        .min_by(|a, b| {
            let off = |text: &str| (text.parse::<f64>().expect("a number") - value).abs();
            off(a).total_cmp(&off(b))
        })
        .expect("a number that fits");
    format!("{best:>size$}").into_bytes()
}

/// The checksum of the log's chunks, over kind and data.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}
