//! Headers of Bitcoin blocks, given by the auditor, held against their own proof of work.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use scratchproof_error::hexadecimal::unhex;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::asn1::Parsed;
use crate::Interval;

/// A file of headers of more bytes is not read: a case needs a few.
pub const LARGEST: usize = 16 << 20;

/// How far a block's time may be from the time it was found: nodes refuse a block that is two hours ahead of their
/// clocks, and one that is not later than the median of the eleven before it, which lies an hour or so back.
const SLACK: TimeDelta = TimeDelta::hours(2);

/// The easiest target (in the compact form of a header) of any block from the first day of a year to the first day of the
/// next row's. The chain sets one target for 2016 blocks; these are from the list of all such targets that the Electrum
/// wallet carries (`chains/mainnet/checkpoints.json`, blocks up to January 2026), and any node shows them (`getblockheader`).
/// As difficulties: 4.06e10, 1.04e11, 3.18e11, 1.87e12, 5.62e12, 1.37e13 (July 2021), 2.43e13, 3.41e13, 7.20e13, 1.08e14.
/// Older blocks are not anchors here: one machine of today would make such a header in weeks.
const EASIEST: &[(i32, u32)] = &[
    (2015, 0x181b_0dca),
    (2016, 0x180a_9591),
    (2017, 0x1803_75ff),
    (2018, 0x1800_9645),
    (2019, 0x1732_18a5),
    (2020, 0x1714_9624),
    (2022, 0x170b_98ab),
    (2023, 0x1708_417e),
    (2024, 0x1703_e8b3),
    (2025, 0x1702_9a8a),
];

/// Half of the least difficulty is asked for: a block's time may be two hours off, so one of the last hours of a year may
/// be dated into the next; and after the list ends difficulty can fall (the deepest fall of all years since 2015 was to 0.55
/// of what it had been, in 2021).
const MARGIN: f64 = 0.5;

/// One header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Height, as the file has it.
    pub height: u64,
    bytes: [u8; 80],
}

impl Header {
    /// Root of the tree of the block's transactions, in the order of the header.
    pub fn root(&self) -> &[u8] {
        &self.bytes[36..68]
    }

    /// The time its finder gave it.
    pub fn at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(i64::from(self.word(68)), 0).unwrap_or_default()
    }

    /// When it was found.
    pub fn interval(&self) -> Interval {
        let at = self.at();
        Interval { earliest: at - SLACK, latest: at + SLACK }
    }

    fn word(&self, at: usize) -> u32 {
        (0..4).rev().fold(0, |word, byte| word << 8 | u32::from(self.bytes[at + byte]))
    }

    /// Its digest, the highest byte first, as explorers show it.
    fn digest(&self) -> [u8; 32] {
        let mut digest: [u8; 32] = Sha256::digest(Sha256::digest(self.bytes)).into();
        digest.reverse();
        digest
    }

    /// How many hashes its finding took on average, in units of 2^32.
    ///
    /// # Errors
    /// If its digest is not below the target it names, or the network never worked at so little.
    pub fn work(&self) -> Parsed<f64> {
        let target = target(self.word(72)).ok_or("its target is no number")?;
        if self.digest() > target {
            return Err("its digest is not below its own target: nobody worked for this header".into());
        }
        let difficulty = difficulty(&target);
        let year = |year| {
            NaiveDate::from_ymd_opt(year, 1, 1).map(|day| day.and_hms_opt(0, 0, 0).unwrap_or_default().and_utc())
        };
        let easiest = EASIEST.iter().rev().find(|(from, _)| year(*from).is_some_and(|day| self.at() >= day));
        let floor = easiest.and_then(|(from, bits)| Some((from, MARGIN * self::difficulty(&self::target(*bits)?))));
        match floor {
            None => Err(format!("it is of {}; blocks before 2015 are no anchor here", self.at().format("%Y-%m-%d"))),
            Some((from, least)) if difficulty < least => Err(format!(
                "its proof of work has the difficulty {difficulty:.3e}, and the network never worked below {least:.1e} since {from}"
            )),
            Some(_) => Ok(difficulty),
        }
    }

    /// From its 80 bytes.
    pub fn new(height: u64, bytes: [u8; 80]) -> Self {
        Self { height, bytes }
    }
}

/// The compact form of a target: a mantissa of three bytes and a length.
fn target(bits: u32) -> Option<[u8; 32]> {
    let (length, mantissa) = ((bits >> 24) as usize, bits & 0x00FF_FFFF);
    if mantissa & 0x0080_0000 != 0 || mantissa == 0 || length > 32 || length == 0 {
        return None;
    }
    let mut target = [0; 32];
    for (place, byte) in mantissa.to_be_bytes()[1..].iter().enumerate() {
        // The first byte of the mantissa is the one at `length` from the end.
        match (32 + place).checked_sub(length) {
            Some(at) if at < 32 => target[at] = *byte,
            _ if *byte == 0 => {}
            _ => return None,
        }
    }
    Some(target)
}

/// How many times 2^32 hashes are tried on average until one is below the target.
fn difficulty(target: &[u8; 32]) -> f64 {
    2f64.powi(256 - 32) / value(target)
}

fn value(target: &[u8; 32]) -> f64 {
    target.iter().fold(0.0, |value, byte| value * 256.0 + f64::from(*byte))
}

/// Reads headers: lines of a height and 160 hexadecimal digits (in either order, separated by a space, a comma, a tab or
/// a colon), or JSON as explorers and nodes give it (one block or a list of them).
///
/// # Errors
/// What is wrong, with the line.
pub fn read(bytes: &[u8]) -> Parsed<Vec<Header>> {
    if bytes.len() > LARGEST {
        return Err(format!("{} bytes are too many for headers (at most {LARGEST})", bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    if text.trim_start().starts_with(['{', '[']) {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let blocks = value.as_array().map_or(std::slice::from_ref(&value), Vec::as_slice);
        return blocks.iter().map(from_json).collect();
    }
    let mut headers = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = || format!("line {}: a height and 160 hexadecimal digits were expected", number + 1);
        let parts: Vec<&str> = line.split([' ', '\t', ',', ':', ';']).filter(|part| !part.is_empty()).collect();
        let [a, b] = parts.as_slice() else { return Err(wrong()) };
        let (height, hex) = if b.len() == 160 { (a, b) } else { (b, a) };
        let bytes = unhex(hex).and_then(|bytes| <[u8; 80]>::try_from(bytes).ok()).ok_or_else(wrong)?;
        headers.push(Header::new(height.parse().map_err(|_| wrong())?, bytes));
    }
    Ok(headers)
}

/// The fields of a header, which explorers (Esplora) and nodes (`getblockheader`) name alike or nearly so.
fn from_json(block: &Value) -> Parsed<Header> {
    let field = |names: &[&str]| names.iter().find_map(|name| block.get(name)).filter(|v| !v.is_null());
    let missing = |name: &str| format!("a block without `{name}`");
    let number = |names: &[&str]| -> Parsed<u32> {
        let value = field(names).ok_or_else(|| missing(names[0]))?;
        let hex = || u32::from_str_radix(value.as_str()?, 16).ok();
        value
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .or_else(hex)
            .ok_or_else(|| format!("`{}` is no number", names[0]))
    };
    let digest = |names: &[&str], none: bool| -> Parsed<[u8; 32]> {
        let Some(value) = field(names) else { return if none { Ok([0; 32]) } else { Err(missing(names[0])) } };
        let mut bytes: [u8; 32] = value
            .as_str()
            .and_then(unhex)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| format!("`{}` is no digest", names[0]))?;
        bytes.reverse();
        Ok(bytes)
    };
    let height = field(&["height"]).and_then(Value::as_u64).ok_or_else(|| missing("height"))?;
    let mut bytes = [0; 80];
    // Versions are signed numbers of 32 bits, and some give them so.
    let version = match field(&["version", "ver"]).and_then(Value::as_i64) {
        Some(version) => u32::try_from(version & 0xFFFF_FFFF).unwrap_or_default(),
        None => return Err(missing("version")),
    };
    bytes[..4].copy_from_slice(&version.to_le_bytes());
    bytes[4..36].copy_from_slice(&digest(&["previousblockhash", "prev_block", "previous_block_hash"], height == 0)?);
    bytes[36..68].copy_from_slice(&digest(&["merkle_root", "merkleroot", "mrkl_root"], false)?);
    bytes[68..72].copy_from_slice(&number(&["timestamp", "time"])?.to_le_bytes());
    bytes[72..76].copy_from_slice(&number(&["bits"])?.to_le_bytes());
    bytes[76..].copy_from_slice(&number(&["nonce"])?.to_le_bytes());
    Ok(Header::new(height, bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use scratchproof_error::hexadecimal::hex;

    /// The first block of the chain.
    const FIRST: &str = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c";

    #[test]
    fn the_first_block_is_what_it_was_and_no_anchor() {
        let text = read(format!("# height header\n0 {FIRST}\n{FIRST}, 0\n").as_bytes()).unwrap();
        assert_eq!((text.len(), &text[0]), (2, &text[1]));
        let json = r#"{"height":0,"version":1,"merkle_root":"4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b","timestamp":1231006505,"bits":486604799,"nonce":2083236893,"previousblockhash":null}"#;
        assert_eq!(read(json.as_bytes()).unwrap()[0], text[0]);
        let node =
            json.replace("486604799", "\"1d00ffff\"").replace("merkle_root", "merkleroot").replace("timestamp", "time");
        assert_eq!(read(format!("[{node}]").as_bytes()).unwrap()[0], text[0]);
        let digest = hex(&text[0].digest());
        assert_eq!(digest, "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f");
        assert_eq!(text[0].at().to_rfc3339(), "2009-01-03T18:15:05+00:00");
        assert!(text[0].work().unwrap_err().contains("before 2015"));
        let mut bytes = text[0].bytes;
        bytes[76] ^= 1;
        assert!(Header::new(0, bytes).work().unwrap_err().contains("nobody worked"));
        // A header of today that anybody can make: the easiest target there is.
        let mut bytes = text[0].bytes;
        bytes[68..72].copy_from_slice(&1_790_000_000_u32.to_le_bytes());
        bytes[72..76].copy_from_slice(&0x207f_ffff_u32.to_le_bytes());
        let easy = (0..).map(|nonce: u32| {
            bytes[76..].copy_from_slice(&nonce.to_le_bytes());
            Header::new(0, bytes).work().unwrap_err()
        });
        assert!(easy.take(64).any(|why| why.contains("never worked below")));
    }

    /// Real headers of 2015, 2017 and 2024, whose proof of work nobody can make for a test.
    #[test]
    fn real_blocks_have_the_difficulty_of_their_time() {
        for (height, words, digest, difficulty) in [
            (
                358_391,
                "02000000b96394585a281b7e5f438fd1c9ed492645a1fd61cb3802040000000000000000007ee445d23ad061af4a36b809501fab1ac4f2d7e7a739817dd0cbb7ec661b8a1e376755f58616186272def6",
                "000000000000000003e892881a8cdcdc117c06d444057c98b6f04a9ee75a2319",
                48_807_487_244.68,
            ),
            (
                491_133,
                "00000020790dfd29a6eab5667c8bb42511b3c370d19b03fe9070c1000000000000000000ed32efbfafeb50a29fa29f7838cb3019af23d5623d6e310bce43d50b8b9623776e86ec5930eb001884adf6b3",
                "000000000000000000185aaf82c613176413c407c061ba254f7ef5713d82078d",
                1_196_792_694_098.79,
            ),
            (
                839_900,
                "0060962aa39b4310863947efd282b30ff755d3ab247c76ee7e5d010000000000000000004c4577aff36cdfdb0613ee3dc73c46e349da802849ec4f4995f9de8df5838008df1b226619420317178560d2",
                "000000000000000000023dfafae2b6e6b5ecf9d1365fafa075dec49625721f37",
                86_388_558_925_171.02,
            ),
        ] {
            let header = &read(format!("{height} {words}").as_bytes()).unwrap()[0];
            let shown = hex(&header.digest());
            assert_eq!(shown, digest);
            // Explorers divide the easiest target of all (65535 * 2^208) by the block's, we 2^224.
            let work = header.work().unwrap() * 65535.0 / 65536.0;
            assert!((work / difficulty - 1.0).abs() < 1e-9, "{height}: {work}");
        }
        // The list grows harder year by year, as the chain did on these days.
        let all: Vec<f64> = EASIEST.iter().map(|(_, bits)| difficulty(&target(*bits).unwrap())).collect();
        assert!(all.is_sorted() && EASIEST.is_sorted());
        let first = (all[0] * 65535.0 / 65536.0, all.last().unwrap() * 65535.0 / 65536.0);
        assert!((first.0 - 40_640_955_016.58).abs() < 1.0 && (first.1 - 108_105_433_845_147.16).abs() < 1e3);
    }

    #[test]
    fn targets_are_numbers() {
        assert_eq!(target(0x1d00_ffff).map(|t| value(&t)), Some(65535.0 * 2f64.powi(208)));
        assert_eq!(target(0x207f_ffff).map(|t| t[0]), Some(0x7f));
        assert_eq!(target(0x0112_0000).map(|t| t[31]), Some(0x12));
        for bits in [0, 0x1d80_0000, 0x2100_ffff | 0x0001_0000, 0xff00_0001, 0x0000_ffff] {
            assert_eq!(target(bits), None, "{bits:x}");
        }
    }

    #[test]
    fn what_is_no_header_is_named_with_its_line() {
        for (text, word) in [
            ("1 abc", "line 1"),
            ("\n\nx y z", "line 3"),
            ("{}", "height"),
            ("{", "JSON"),
            ("[{\"height\":3,\"version\":1}]", "previous"),
        ] {
            assert!(read(text.as_bytes()).unwrap_err().contains(word), "{text}");
        }
    }
}
