//! The witness ledger: what was fixed during a training, in which order, in a file that is only ever added to.
//!
//! One line an entry, in a canonical form ([`super::canonical`]); `docs/formats/ledger.md` specifies it. Every entry holds
//! the hash of the one before it and its own, over everything else that stands in it, its signature too. A line that is
//! changed, dropped, doubled or moved is therefore named; lines that are cut off at the end of an open ledger are not, which
//! is why heads are stamped by somebody else's clock, or published.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use scratchproof_error::hexadecimal::hex;
use scratchproof_error::json::fits;
use scratchproof_error::{Context as _, Error, Result};
use scratchproof_source::now::now;
use scratchproof_source::plain;
use scratchproof_texts::text;

use super::body;
use super::canonical::canonical;
use super::dsse::encoding;
use super::item::Items;
use super::keys::{Public, Signer};
use super::manifest::shown;
use super::text::{base64, strict, unbase64};

/// Schema of every line.
pub const SCHEMA: &str = "scratchproof.ledger/1";

/// What a line's signature is over is of this type.
const KIND: &str = "application/vnd.scratchproof.ledger+json";

/// A longer line is no entry.
const LONGEST_LINE: u64 = 1 << 20;

/// A longer file is not read.
pub(super) const LONGEST: u64 = 128 << 20;

/// Lines that are none and are told of, each; what follows more of them is not read.
const TOLD: usize = 100;

/// What an entry is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The first.
    Init,
    /// A checkpoint was fixed.
    Checkpoint,
    /// Something else was fixed, or is said.
    Note,
    /// The last: nothing may follow.
    Close,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When it was written, by the writer's own clock.
    pub at: DateTime<Utc>,
    /// What was fixed.
    pub body: Value,
    /// SHA-256 of the canonical line without this.
    pub hash: String,
    /// The hash of the entry before; zeros in the first.
    pub prev: String,
    /// [`SCHEMA`].
    pub schema: String,
    /// Its place, from 0.
    pub seq: u64,
    /// By whom, over the line without hash and signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signed>,
    /// What it is of.
    pub what: What,
}

/// The signature of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// As of [`Public::id`].
    pub keyid: String,
    /// Base64.
    pub sig: String,
}

impl Entry {
    fn without(&self, names: &[&str]) -> Result<Vec<u8>> {
        let mut value = serde_json::to_value(self).map_err(|cause| Error::input(cause.to_string()))?;
        if let Value::Object(map) = &mut value {
            for name in names {
                map.remove(*name);
            }
        }
        canonical(&value)
    }

    fn signed(&self) -> Result<Vec<u8>> {
        Ok(encoding(KIND, &self.without(&["hash", "signature"])?))
    }

    fn digest(&self) -> Result<String> {
        Ok(hex(&Sha256::digest(self.without(&["hash"])?)))
    }
}

/// Makes a ledger with its first entry.
///
/// # Errors
/// If there is a file already, or it cannot be written.
pub fn init(path: &Path, body: Value, signer: Option<&Signer>) -> Result<Entry> {
    let failed = |cause| Error::io(text!("error-attest/ledger/cannot-make-ledger", path = shown(path)), cause);
    let mut file = OpenOptions::new().read(true).append(true).create_new(true).open(path).map_err(failed)?;
    file.lock().map_err(failed)?;
    let entry = add(&mut file, path, None, What::Init, body, signer)?;
    if let Some(folder) = path.parent().filter(|own| !own.as_os_str().is_empty()) {
        // The new name is part of the folder's own bytes.
        File::open(folder).and_then(|own| own.sync_all()).map_err(failed)?;
    }
    Ok(entry)
}

/// Adds an entry. Other writers wait; what a killed one left half written at the end is put beside and taken away.
///
/// # Errors
/// If there is no ledger, its last entry is not whole, it is closed, or it cannot be written; then it is as it was.
pub fn append(path: &Path, what: What, body: Value, signer: Option<&Signer>) -> Result<Entry> {
    let failed = |cause| Error::io(text!("error-attest/ledger/ledger", path = shown(path)), cause);
    plain::open(path).map_err(failed)?;
    let mut file = OpenOptions::new().read(true).append(true).open(path).map_err(failed)?;
    file.lock().map_err(failed)?;
    let last = last(&mut file, path)?;
    if last.as_ref().is_some_and(|last| last.what == What::Close) {
        return Err(Error::usage(text!("error-attest/ledger/ledger-closed", path = shown(path))));
    }
    // A writer that was killed while it made the file leaves an empty one.
    let what = if last.is_none() { What::Init } else { what };
    add(&mut file, path, last.as_ref(), what, body, signer)
}

fn add(
    file: &mut File,
    path: &Path,
    last: Option<&Entry>,
    what: What,
    body: Value,
    signer: Option<&Signer>,
) -> Result<Entry> {
    let mut entry = Entry {
        at: now(),
        body,
        hash: String::new(),
        prev: last.map_or_else(|| "0".repeat(64), |last| last.hash.clone()),
        schema: SCHEMA.into(),
        seq: last.map_or(0, |last| last.seq + 1),
        signature: None,
        what,
    };
    if let Some(signer) = signer {
        let sig = base64(&signer.sign(&entry.signed()?)?);
        entry.signature = Some(Signed { keyid: signer.public().id().to_owned(), sig });
    }
    entry.hash = entry.digest()?;
    let mut line = canonical(&serde_json::to_value(&entry).map_err(|cause| Error::input(cause.to_string()))?)?;
    body::check(&entry.body).map_err(Error::usage)?;
    line.push(b'\n');
    if line.len() as u64 > LONGEST_LINE {
        return Err(Error::usage(text!("error-attest/ledger/entry-more-bytes", longest_line = LONGEST_LINE)));
    }
    let failed = |cause| Error::io(text!("error-attest/ledger/cannot-write-ledger", path = shown(path)), cause);
    let before = file.metadata().map_err(failed)?.len();
    let put = file.write_all(&line).and_then(|()| file.sync_data());
    put.map_err(|cause| {
        // A disk that is full: nothing half written stays.
        let _ = file.set_len(before);
        failed(cause)
    })?;
    Ok(entry)
}

/// The last entry of an open ledger; nothing if there is none yet.
fn last(file: &mut File, path: &Path) -> Result<Option<Entry>> {
    let failed = |cause| Error::io(text!("error-attest/ledger/ledger", path = shown(path)), cause);
    let length = file.metadata().map_err(failed)?.len();
    let from = length.saturating_sub(2 * LONGEST_LINE);
    file.seek(SeekFrom::Start(from)).map_err(failed)?;
    let mut tail = Vec::new();
    file.take(2 * LONGEST_LINE).read_to_end(&mut tail).map_err(failed)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole < tail.len() {
        if whole == 0 && from > 0 {
            return Err(Error::input(text!("error-attest/ledger/last-line-longer-entry", path = shown(path))));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".torn");
        let beside = path.with_file_name(name);
        let mut torn = plain::beside(&beside).map_err(|cause| Error::io(shown(&beside), cause))?;
        torn.write_all(&tail[whole..])
            .and_then(|()| torn.write_all(b"\n"))
            .and_then(|()| torn.sync_data())
            .and_then(|()| file.set_len(from + whole as u64))
            .and_then(|()| file.sync_data())
            .map_err(failed)?;
        tail.truncate(whole);
    }
    let Some(end) = whole.checked_sub(1) else { return Ok(None) };
    let start = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let entry = parse(&tail[start..end])
        .map_err(|why| Error::input(text!("error-attest/ledger/last-line-no-entry", path = shown(path), why)))?;
    Ok(Some(entry))
}

/// Reads one line. It must be in canonical form and have its own hash.
fn parse(line: &[u8]) -> Result<Entry, String> {
    if line.len() as u64 >= LONGEST_LINE {
        return Err(format!("it has more than {LONGEST_LINE} bytes"));
    }
    let value = strict(line).map_err(|why| why.to_string())?;
    if value["schema"] != SCHEMA {
        return Err(format!("its schema is {}, {SCHEMA} is read", value["schema"]));
    }
    if canonical(&value).map_err(|why| why.to_string())? != line {
        return Err("it is not in canonical form".into());
    }
    if value["at"].as_str().is_none_or(|at| at.starts_with(['-', '+']) || DateTime::parse_from_rfc3339(at).is_err()) {
        return Err("`at` is no time as RFC 3339 has it".into());
    }
    let entry: Entry = serde_json::from_value(value).map_err(|why| why.to_string())?;
    body::check(&entry.body)?;
    let again = serde_json::to_value(&entry).ok().and_then(|value| canonical(&value).ok());
    if again.as_deref() != Some(line) {
        return Err("it is not in canonical form".into());
    }
    if entry.digest().map_err(|why| why.to_string())? != entry.hash {
        return Err("its hash is not that of what stands in it".into());
    }
    Ok(entry)
}

/// Whether bytes begin as a ledger's do.
#[must_use]
pub fn is(bytes: &[u8]) -> bool {
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let named = |part: &[u8]| part.windows(SCHEMA.len()).any(|window| window == SCHEMA.as_bytes());
    let second = || bytes.split(|byte| *byte == b'\n').nth(1).is_some_and(named);
    first.starts_with(b"{") && (named(first) || second())
}

/// The entries that are whole, and everything that is to be said of the file.
///
/// # Errors
/// If it cannot be read.
pub fn verify(path: &Path, keys: &[Public], items: &mut Items) -> Result<Vec<Entry>> {
    let bytes = plain::read(path, LONGEST)?;
    let mut entries: Vec<Entry> = Vec::new();
    let (mut fine, mut bad) = (true, 0);
    fits(&bytes).context(|| shown(path))?;
    // Every line ends; what follows the last one that does is none yet.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole < bytes.len() {
        items.unchecked(text!("attest/ledger/torn", bytes = bytes.len() - whole));
    }
    let count = bytes.split(|byte| *byte == b'\n').count() - 1;
    let lines = bytes[..whole].split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1]);
    // Where the chain must go on; nothing after a line that is none.
    let mut next: Option<(u64, String)> = Some((0, "0".repeat(64)));
    for (number, line) in lines.enumerate() {
        let entry = match parse(line) {
            Ok(entry) => entry,
            Err(why) => {
                items.contradicts(text!("attest/ledger/line", line = number + 1, why));
                fine = false;
                bad += 1;
                if bad == TOLD {
                    items.unchecked(text!("attest/ledger/more", lines = count - number - 1));
                    break;
                }
                next = None;
                continue;
            }
        };
        if let Some((seq, prev)) = &next
            && (entry.seq != *seq || entry.prev != *prev)
        {
            items.contradicts(text!("attest/ledger/chain", line = number + 1, seq = entry.seq, expected = *seq));
            fine = false;
        }
        if entries.last().is_some_and(|before| before.what == What::Close) {
            items.contradicts(text!("attest/ledger/closed", line = number + 1));
            fine = false;
        }
        if (entry.what == What::Init) != (entry.seq == 0) {
            items.contradicts(text!("attest/ledger/first", line = number + 1));
            fine = false;
        }
        if let Some(before) = entries.last().filter(|before| before.at > entry.at) {
            let (at, then) = (entry.at.to_rfc3339(), before.at.to_rfc3339());
            items.unchecked(text!("attest/ledger/late", line = number + 1, at, then));
        }
        next = Some((entry.seq + 1, entry.hash.clone()));
        entries.push(entry);
    }
    if let Some(last) = entries.last().filter(|_| fine) {
        let (count, head) = (entries.len(), last.hash.as_str());
        items.verified(match last.what {
            What::Close => text!("attest/ledger/whole", count, head),
            _ => text!("attest/ledger/open", count, head),
        });
    } else if entries.is_empty() && fine {
        items.contradicts(text!("attest/ledger/empty"));
    }
    signatures(&entries, keys, items);
    Ok(entries)
}

fn signatures(entries: &[Entry], keys: &[Public], items: &mut Items) {
    let mut good = 0_usize;
    let mut unknown = std::collections::BTreeSet::new();
    for entry in entries {
        let Some(signature) = &entry.signature else {
            if !keys.is_empty() {
                items.contradicts(text!("attest/ledger/unsigned", seq = entry.seq));
            }
            continue;
        };
        let (Ok(message), Some(bytes)) = (entry.signed(), unbase64(&signature.sig)) else {
            items.contradicts(text!("attest/ledger/signature", seq = entry.seq));
            continue;
        };
        match keys.iter().find(|key| key.id() == signature.keyid) {
            Some(key) if key.verifies(&message, &bytes) => good += 1,
            Some(_) => items.contradicts(text!("attest/ledger/signature", seq = entry.seq)),
            None => {
                unknown.insert(signature.keyid.clone());
            }
        }
    }
    for id in unknown {
        items.unchecked(text!("attest/signature/no-key", id));
    }
    if good > 0 {
        items.verified(text!("attest/ledger/signed", count = good, of = entries.len()));
    }
}

/// Name, length and digest of a log as far as it is written now; it may go on growing.
///
/// # Errors
/// If it cannot be read.
pub fn head(path: &Path) -> Result<Value> {
    let failed = |cause| Error::io(shown(path), cause);
    let file = plain::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut hasher = Sha256::new();
    let bytes = std::io::copy(&mut file.take(length), &mut hasher).map_err(failed)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(json!({ "name": name, "bytes": bytes, "sha256": hex(&hasher.finalize()) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Standing;
    use std::fs;

    fn made(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("ledger.jsonl");
        init(&path, json!({ "note": "x" }), None).unwrap();
        for step in 0..3 {
            append(&path, What::Checkpoint, json!({ "step": step }), None).unwrap();
        }
        append(&path, What::Close, json!({}), None).unwrap();
        path
    }

    fn status(path: &Path) -> u8 {
        let mut items = Items::default();
        verify(path, &[], &mut items).unwrap();
        items.status()
    }

    #[test]
    fn every_single_bit_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = made(dir.path());
        assert_eq!(status(&path), 0);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                fs::write(&path, &bad).unwrap();
                assert_ne!(status(&path), 0, "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn lines_dropped_doubled_or_moved_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = made(dir.path());
        let good = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = good.lines().collect();
        let mut cases: Vec<Vec<&str>> = Vec::new();
        for at in 0..lines.len() - 1 {
            let (mut dropped, mut doubled, mut moved) = (lines.clone(), lines.clone(), lines.clone());
            dropped.remove(at);
            doubled.insert(at, lines[at]);
            moved.swap(at, at + 1);
            cases.extend([dropped, doubled, moved]);
        }
        cases.push([lines.clone(), vec![lines[4]]].concat());
        for case in cases {
            fs::write(&path, case.join("\n") + "\n").unwrap();
            assert_eq!(status(&path), 1, "{case:?}");
        }
    }

    #[test]
    fn a_torn_line_is_put_beside_and_a_closed_ledger_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        init(&path, json!({}), None).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"at\":\"20").unwrap();
        assert_eq!(status(&path), 3);
        append(&path, What::Note, json!({ "note": "on" }), None).unwrap();
        assert_eq!(status(&path), 0);
        assert_eq!(fs::read(dir.path().join("l.torn")).unwrap(), b"{\"at\":\"20\n");
        append(&path, What::Close, json!({}), None).unwrap();
        let error = append(&path, What::Note, json!({}), None).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("closed"));
        assert!(init(&path, json!({}), None).is_err());
        let mut items = Items::default();
        assert_eq!(verify(&path, &[], &mut items).unwrap().len(), 3);
        assert!(items.all().iter().all(|item| item.standing == Standing::Verified));
    }

    #[test]
    fn numbers_with_fractions_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        init(&path, json!({}), None).unwrap();
        let before = fs::read(&path).unwrap();
        assert!(append(&path, What::Note, json!({ "loss": 0.5 }), None).is_err());
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}
