//! Outside clocks over a ledger: an RFC 3161 authority or a calendar of `OpenTimestamps` is asked to stamp the ledger up to an
//! entry. What cannot be asked at once waits in a file and is asked again later.
//!
//! Below `LEDGER.stamps/`: `SEQ-NAME.tsr` or `SEQ-NAME.ots` over the bytes of the ledger up to and with the line of entry `SEQ`,
//! `SEQ-NAME.wait` what is still to be asked. `NAME` is of the address.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use scratchproof_error::hexadecimal::hex;
use scratchproof_error::{Error, Result};
use scratchproof_folder::whole;
use scratchproof_record::witness::{calendar, token};
use scratchproof_source::{clock, plain};
use scratchproof_texts::{Text, text};

use super::item::Items;
use super::manifest::{shown, unhex};
use super::stamp;

/// Answers of more bytes are not taken.
const LONGEST: usize = 1 << 20;

/// Questions that wait for one ledger, at most: those that are looked at.
const MOST: usize = 100_000;

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An RFC 3161 authority.
    Authority,
    /// A calendar of `OpenTimestamps`.
    Calendar,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    kind: Kind,
    address: String,
    /// Of the ledger up to the entry, hexadecimal.
    sha256: String,
    seq: u64,
}

/// What came of asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Stamps that were written.
    pub stamped: usize,
    /// Questions that still wait.
    pub waiting: usize,
}

impl Question {
    fn place(&self, ledger: &Path, end: &str) -> PathBuf {
        let name = hex(&Sha256::digest(&self.address));
        folder(ledger).join(format!("{:06}-{}.{end}", self.seq, &name[..8]))
    }

    fn done(&self, ledger: &Path) -> PathBuf {
        self.place(ledger, if self.kind == Kind::Authority { "tsr" } else { "ots" })
    }

    /// The file of the stamp.
    fn ask(&self, patience: Duration) -> Result<Vec<u8>> {
        let wrong = |why: Text| Error::input(why).context(&self.address);
        let digest = unhex(&self.sha256).ok_or_else(|| wrong(text!("error-attest/clocks/digest-none")))?;
        match self.kind {
            Kind::Authority => {
                let kinds = ["application/timestamp-query", "application/timestamp-reply"];
                let answer = clock::ask(&self.address, kinds, query(&digest), LONGEST, patience)?;
                let read = token::read(&answer).map_err(|why| wrong(why.into()))?;
                if read.stamp.imprint != digest {
                    return Err(wrong(text!("error-attest/clocks/stamp-over-something-else")));
                }
                Ok(answer)
            }
            Kind::Calendar => {
                let address = format!("{}/digest", self.address.trim_end_matches('/'));
                let kinds = ["application/x-www-form-urlencoded", "application/vnd.opentimestamps.v1"];
                let answer = clock::ask(&address, kinds, digest.to_vec(), LONGEST, patience)?;
                let proof = calendar::proof(&digest, &answer);
                calendar::read(&proof).map_err(|why| wrong(why.into()))?;
                Ok(proof)
            }
        }
    }
}

/// The folder of a ledger's stamps.
#[must_use]
pub fn folder(ledger: &Path) -> PathBuf {
    ledger.with_added_extension("stamps")
}

/// A time stamp request over a SHA-256 digest, with the wish for the authority's certificate (RFC 3161, section 2.4.1).
fn query(digest: &[u8; 32]) -> Vec<u8> {
    // SEQUENCE { INTEGER 1, SEQUENCE { SEQUENCE { OID 2.16.840.1.101.3.4.2.1, NULL }, OCTET STRING }, BOOLEAN TRUE }
    let mut der = vec![0x30, 57, 0x02, 1, 1, 0x30, 49, 0x30, 13, 0x06, 9];
    der.extend([0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0, 0x04, 32]);
    der.extend(digest);
    der.extend([0x01, 1, 0xff]);
    der
}

/// The ledger up to and with an entry.
fn until(bytes: &[u8], seq: u64) -> Option<&[u8]> {
    let mut ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    ends.nth(usize::try_from(seq).ok()?).map(|end| &bytes[..end])
}

/// Writes down whom to ask over an entry that stands in the ledger: nothing is lost if nobody answers.
///
/// # Errors
/// If the ledger cannot be read or the question cannot be written.
pub fn queue(ledger: &Path, seq: u64, clocks: &[(Kind, String)]) -> Result<()> {
    if clocks.is_empty() {
        return Ok(());
    }
    let bytes = plain::read(ledger, super::ledger::LONGEST)?;
    let own = until(&bytes, seq)
        .ok_or_else(|| Error::input(text!("error-attest/clocks/no-entry", ledger = shown(ledger), seq)))?;
    let sha256 = hex(&Sha256::digest(own));
    let at = folder(ledger);
    fs::create_dir_all(&at).map_err(|cause| Error::io(shown(&at), cause))?;
    for (kind, address) in clocks {
        let question = Question { kind: *kind, address: address.clone(), sha256: sha256.clone(), seq };
        let text = serde_json::to_vec(&question).map_err(|cause| Error::input(cause.to_string()))?;
        whole(&question.place(ledger, "wait"), &text)?;
    }
    Ok(())
}

/// Asks what waits, the newest first, for no longer than `patience` in all. Who does not answer is asked once. The answer says
/// how many wait still; `told` hears why.
///
/// # Errors
/// If the folder of the stamps cannot be read or written.
pub fn ask(ledger: &Path, patience: Duration, mut told: impl FnMut(&Error)) -> Result<Asked> {
    let (start, at) = (Instant::now(), folder(ledger));
    let mut asked = Asked::default();
    plain::open(ledger)
        .map_err(|cause| Error::io(text!("error-attest/clocks/ledger", ledger = shown(ledger)), cause))?;
    let Some(entries) = inside(&at)? else { return Ok(asked) };
    let waits =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|own| own == "wait"));
    let mut waits: Vec<PathBuf> = waits.take(MOST).collect();
    waits.sort();
    let mut silent: Vec<String> = Vec::new();
    for path in waits.into_iter().rev() {
        let read = plain::read(&path, LONGEST as u64).and_then(|read| {
            serde_json::from_slice(&read).map_err(|why| {
                Error::input(text!(
                    "error-attest/clocks/no-question-clock-remove",
                    path = shown(&path),
                    why = why.to_string()
                ))
            })
        });
        let question: Question = match read {
            Ok(question) => question,
            Err(why) => {
                told(&why);
                asked.waiting += 1;
                continue;
            }
        };
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() || silent.contains(&question.address) {
            asked.waiting += 1;
            continue;
        }
        match question.ask(left) {
            Ok(bytes) => {
                whole(&question.done(ledger), &bytes)?;
                fs::remove_file(&path).map_err(|cause| Error::io(shown(&path), cause))?;
                asked.stamped += 1;
            }
            Err(why) => {
                told(&why);
                silent.push(question.address);
                asked.waiting += 1;
            }
        }
    }
    Ok(asked)
}

/// What lies in a folder, which need not be there.
fn inside(folder: &Path) -> Result<Option<fs::ReadDir>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries)),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::io(text!("error-attest/clocks/folder-stamps", folder = shown(folder)), cause)),
    }
}

/// Holds every stamp of a ledger against it.
///
/// # Errors
/// If a file cannot be read.
pub fn verify(ledger: &Path, roots: &[Vec<u8>], items: &mut Items) -> Result<()> {
    let at = folder(ledger);
    let Some(entries) = inside(&at)? else { return Ok(()) };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).take(MOST).collect();
    files.sort();
    let bytes = plain::read(ledger, super::ledger::LONGEST)?;
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let seq = name.split('-').next().and_then(|seq| seq.parse::<u64>().ok());
        let own = seq.and_then(|seq| until(&bytes, seq));
        match (file.extension().and_then(|end| end.to_str()), own) {
            (Some("wait"), _) => items.unchecked(text!("attest/clock/waits", name)),
            (Some(end @ ("tsr" | "ots")), Some(own)) => {
                let held = if end == "tsr" {
                    stamp::verify(&file, own, roots, items)
                } else {
                    calendar_holds(&file, &name, own, items)
                };
                // One file that cannot be read hides nothing of the others.
                if let Err(why) = held {
                    items.unchecked(text!("attest/stamp/unreadable", name, why = why.to_string()));
                }
            }
            (Some("tsr" | "ots"), None) => items.contradicts(text!("attest/clock/no-entry", name)),
            _ => items.unchecked(text!("attest/clock/unknown", name)),
        }
    }
    Ok(())
}

fn calendar_holds(file: &Path, name: &str, own: &[u8], items: &mut Items) -> Result<()> {
    let read = calendar::read(&plain::read(file, LONGEST as u64)?);
    match read {
        Err(why) => items.contradicts(text!("attest/stamp/unreadable", name, why)),
        Ok(proof) if proof.digest != Sha256::digest(own).as_slice() => {
            items.contradicts(text!("attest/stamp/other", name));
        }
        // A block of the chain is looked up where its header is given: `[[witness]] headers` of a case.
        Ok(proof) => items.unchecked(text!("attest/clock/promise", name, count = proof.attestations.len())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_up_to_an_entry_ends_with_its_line() {
        assert_eq!(until(b"a\nbc\nd", 0), Some(&b"a\n"[..]));
        assert_eq!(until(b"a\nbc\nd", 1), Some(&b"a\nbc\n"[..]));
        assert_eq!(until(b"a\nbc\nd", 2), None);
        assert_eq!(query(&[7; 32]).len(), 59);
    }
}
