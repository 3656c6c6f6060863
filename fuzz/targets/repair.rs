//! Sums over bytes made right, so that what stands behind them is read as well.

#[path = "../../crates/record/src/tensorboard/crc.rs"]
mod crc;

use super::sha1::sha1;
use super::table::Seed;

/// Makes the sums of the formats that have them right.
pub fn repair(seed: &Seed, bytes: &mut Vec<u8>) {
    match (seed.target, seed.file.extension().and_then(|end| end.to_str())) {
        ("wandb", Some("wandb")) => chunks(bytes),
        ("tensorboard", _) => records(bytes),
        ("packs", Some("pack" | "idx" | "rev")) => trailer(bytes, 0),
        ("bundles", _) => {
            let start = bytes.windows(2).position(|pair| pair == b"\n\n").map_or(0, |at| at + 2);
            trailer(bytes, start);
        }
        _ => {}
    }
}

/// `LevelDB`'s log: blocks of 32 KiB, in them chunks behind sum, length and kind.
fn chunks(bytes: &mut [u8]) {
    for (number, block) in bytes.chunks_mut(32 << 10).enumerate() {
        // The file begins with seven bytes of its own.
        let mut at = if number == 0 { 7 } else { 0 };
        while at + 7 <= block.len() {
            let end = at + 7 + usize::from(u16::from_le_bytes([block[at + 4], block[at + 5]]));
            if end > block.len() {
                break;
            }
            let sum = crc32fast::hash(&block[at + 6..end]);
            block[at..at + 4].copy_from_slice(&sum.to_le_bytes());
            at = end;
        }
    }
}

/// `TFRecord`: length, its sum, bytes, their sum.
fn records(bytes: &mut [u8]) {
    let mut at = 0;
    while at + 12 <= bytes.len() {
        let length = bytes[at..at + 8].iter().rev().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        let sum = crc::masked(&bytes[at..at + 8]);
        bytes[at + 8..at + 12].copy_from_slice(&sum.to_le_bytes());
        let Some(end) = usize::try_from(length).ok().and_then(|length| length.checked_add(at + 12)) else { break };
        if end.checked_add(4).is_none_or(|end| end > bytes.len()) {
            break;
        }
        let sum = crc::masked(&bytes[at + 12..end]);
        bytes[end..end + 4].copy_from_slice(&sum.to_le_bytes());
        at = end + 4;
    }
}

/// Git's: the SHA-1 of everything before.
fn trailer(bytes: &mut [u8], start: usize) {
    if let Some(end) = bytes.len().checked_sub(20).filter(|end| *end > start) {
        let sum = sha1(&mut &bytes[start..end]).expect("bytes");
        bytes[end..].copy_from_slice(&sum);
    }
}
