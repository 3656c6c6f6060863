//! A finished folder: does it agree with itself, with its seal, with its attestation, and with what is judged again?

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use scratchproof_error::hexadecimal::hex;
use scratchproof_error::{Context as _, Error, Result};
use scratchproof_folder::{LONGEST, LONGEST_RECORD, MOST_LINES, RECORD};
use scratchproof_report::folder::{EVIDENCE, MEASUREMENTS};
use scratchproof_report::read::{self, Finished};
use scratchproof_report::{Input, Seal, html, json, markdown, timeline};
use scratchproof_source::plain;
use scratchproof_texts::{Language, Text, text};

use super::dsse::Envelope;
use super::item::Items;
use super::keys::Public;
use super::manifest::shown;
use super::statement;
use super::text::{collision, inside, strict};

/// What was made again for comparison.
#[derive(Debug, Default)]
pub struct Again {
    /// `report.json` as it comes out of the stored measurements, or why it could not be made.
    pub judged: Option<Result<String, Text>>,
    /// Digests of the models that are at hand, in the order of the report's inputs; `Err` says why there is none.
    pub models: Vec<Result<String, Text>>,
    /// `report.json` and the seal of a whole audit that was run again, or why it could not be.
    pub recomputed: Option<Result<String, Text>>,
}

/// Which version of the tool wrote a folder's report.
///
/// # Errors
/// If there is no report in it that can be read.
pub fn version(dir: &Path) -> Result<String> {
    let report = plain::read(&dir.join("report.json"), read::LONGEST)?;
    let report = strict(&report).map_err(|cause| cause.context("report.json"))?;
    Ok(report["tool"]["version"].as_str().unwrap_or_default().to_owned())
}

/// Checks a folder against itself and against what was made again.
///
/// # Errors
/// If there is no report in it that can be read at all.
pub fn check(dir: &Path, again: &Again) -> Result<Items> {
    let mut items = Items::default();
    let written = plain::read(&dir.join("report.json"), read::LONGEST)?;
    strict(&written).map_err(|cause| cause.context("report.json"))?;
    let (Some(seal), inputs) = sealed(&written)? else {
        return Err(Error::input(text!("error-attest/folder/report-json-no-seal", dir = shown(dir))));
    };
    let whole = seal_holds(dir, &seal, &mut items)?;
    record(dir, &mut items);
    if whole {
        // Another version draws other pages; what they show stands in the report, which is checked by its seal.
        match version(dir)? {
            then if then == env!("CARGO_PKG_VERSION") => pages(dir, &written, &mut items),
            then => items.unchecked(text!("attest/page/version", then, now = env!("CARGO_PKG_VERSION"))),
        }
    }
    models(&inputs, &again.models, &mut items);
    match &again.judged {
        None => {}
        Some(Ok(judged)) => compared(&written, judged, &mut items, text!("attest/judged/equal")),
        Some(Err(why)) => items.unchecked(text!("attest/judged/not", why = why.clone())),
    }
    match &again.recomputed {
        None => {}
        Some(Ok(report)) => compared(&written, report, &mut items, text!("attest/recomputed/equal")),
        Some(Err(why)) => items.unchecked(text!("attest/recomputed/not", why = why.clone())),
    }
    Ok(items)
}

/// Seal and inputs of a report, of whichever kind.
fn sealed(written: &[u8]) -> Result<(Option<Seal>, Vec<Input>)> {
    #[derive(serde::Deserialize)]
    struct Part {
        seal: Option<Seal>,
        inputs: Vec<Input>,
    }
    let part: Part =
        serde_json::from_slice(written).map_err(|cause| Error::input(cause.to_string()).context("report.json"))?;
    Ok((part.seal, part.inputs))
}

/// Every file that is sealed is there, whole, and nothing else is; whether that is so.
fn seal_holds(dir: &Path, seal: &Seal, items: &mut Items) -> Result<bool> {
    if !seal.holds() {
        items.contradicts(text!("attest/seal/root"));
        return Ok(false);
    }
    let names: BTreeSet<&str> = seal.files.iter().map(|file| file.name.as_str()).collect();
    let strange = seal.files.iter().find_map(|file| inside(&file.name).err());
    if let Some(why) = strange {
        items.contradicts(text!("attest/seal/name", why));
        return Ok(false);
    }
    if names.len() != seal.files.len() || collision(names.iter().copied()).is_some() {
        items.contradicts(text!("attest/seal/twice"));
        return Ok(false);
    }
    let mut whole = true;
    for file in &seal.files {
        let name = file.name.as_str();
        let path = dir.join(name);
        let linked = fs::symlink_metadata(&path).is_ok_and(|about| about.file_type().is_symlink());
        match plain::open(&path) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                items.contradicts(text!("attest/file/missing", name));
            }
            Err(cause) => return Err(Error::io(shown(&path), cause)),
            Ok(_) if linked => items.contradicts(text!("attest/file/link", name)),
            Ok(opened) if opened.metadata().is_ok_and(|about| about.len() > LONGEST) => {
                items.contradicts(text!("attest/file/changed", name));
            }
            Ok(mut opened) => {
                let mut hasher = Sha256::new();
                let bytes = std::io::copy(&mut opened, &mut hasher).map_err(|cause| Error::io(shown(&path), cause))?;
                // The root is over digests alone; the length beside one has nobody else who would miss it.
                if hex(&hasher.finalize()) == file.sha256 && bytes == file.bytes {
                    continue;
                }
                items.contradicts(text!("attest/file/changed", name));
            }
        }
        whole = false;
    }
    for place in [EVIDENCE, MEASUREMENTS] {
        for entry in fs::read_dir(dir.join(place)).into_iter().flatten().flatten() {
            let name = format!("{place}/{}", entry.file_name().to_string_lossy());
            if !names.contains(name.as_str()) {
                items.contradicts(text!("attest/file/unsealed", name));
                whole = false;
            }
        }
    }
    if whole {
        items.verified(text!("attest/seal/holds", count = seal.files.len(), root = &seal.root));
    }
    Ok(whole)
}

/// Files of a changed folder that one sentence names.
const NAMED: usize = 5;

/// The tool's own record of what it wrote: every file in it is as it was written.
fn record(dir: &Path, items: &mut Items) {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        file: String,
        sha256: String,
    }
    // A folder that was handed on may be without it.
    let path = dir.join(RECORD);
    if fs::symlink_metadata(&path).is_err_and(|cause| cause.kind() == std::io::ErrorKind::NotFound) {
        return;
    }
    let bytes = match plain::read(&path, LONGEST_RECORD) {
        Ok(bytes) => bytes,
        Err(why) => return items.contradicts(text!("attest/record/unreadable", name = RECORD, why = why.to_string())),
    };
    if bytes.split(|byte| *byte == b'\n').count() > MOST_LINES + 1 {
        return items.contradicts(text!("attest/record/lines", name = RECORD, most = MOST_LINES));
    }
    let mut digests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let mut fine = lines.next() == Some("{\"schema\":\"scratchproof.folder/1\"}") && text.ends_with('\n');
    for line in lines {
        match serde_json::from_str::<Line>(line) {
            Ok(line) => {
                digests.entry(line.file).or_default().insert(line.sha256);
            }
            Err(_) => fine = false,
        }
    }
    let as_written = |(name, known): (&String, &BTreeSet<String>)| {
        let own = inside(name).ok().and_then(|()| plain::read(&dir.join(name), LONGEST).ok());
        own.is_some_and(|bytes| known.contains(&hex(&Sha256::digest(&bytes))))
    };
    let mut changed: Vec<&str> =
        digests.iter().filter(|one| !as_written(*one)).map(|(name, _)| name.as_str()).collect();
    changed.extend(["report.json", "report.html", "report.md"].iter().filter(|name| !digests.contains_key(**name)));
    if fine && changed.is_empty() {
        items.verified(text!("attest/record/holds", name = RECORD, count = digests.len()));
    } else {
        changed.truncate(NAMED);
        items.contradicts(text!("attest/record/fails", name = RECORD, files = changed));
    }
}

/// Report and pages are what the report's value and the tables give.
fn pages(dir: &Path, written: &[u8], items: &mut Items) {
    let finished = match read::read(dir) {
        Ok(finished) => finished,
        Err(why) => return items.contradicts(text!("attest/page/unreadable", why = why.to_string())),
    };
    let made = |name: &str, language| match (&finished, name) {
        (Finished::Audit(report, _), "report.json") => Ok(json::to_json(report)),
        (Finished::Audit(report, evidence), "report.html") => html::render(report, evidence, language),
        (Finished::Audit(report, evidence), _) => Ok(markdown::to_markdown(report, evidence, language)),
        (Finished::Timeline(found, _), "report.json") => Ok(timeline::to_json(found)),
        (Finished::Timeline(found, _), "report.html") => html::timeline(found, language),
        (Finished::Timeline(found, _), _) => Ok(timeline::to_markdown(found, language)),
    };
    let mut equal = Vec::new();
    for name in ["report.json", "report.html", "report.md"] {
        let there = if name == "report.json" { Ok(written.to_vec()) } else { plain::read(&dir.join(name), LONGEST) };
        // A page opens in the language that it was written in.
        let korean = |there: &[u8]| made(name, Language::Korean).is_ok_and(|page| page.as_bytes() == there);
        match (made(name, Language::English), there) {
            (Ok(english), Ok(there)) if english.as_bytes() == there || korean(&there) => equal.push(name),
            (Ok(_), Ok(_)) => items.contradicts(text!("attest/page/differs", name)),
            (Ok(_), Err(_)) => items.contradicts(text!("attest/file/missing", name)),
            (Err(why), _) => items.unchecked(text!("attest/page/not", name, why = why.to_string())),
        }
    }
    if !equal.is_empty() {
        items.verified(text!("attest/page/equal", names = equal));
    }
}

/// The digests of models that are at hand.
fn models(inputs: &[Input], models: &[Result<String, Text>], items: &mut Items) {
    let mut equal = 0_usize;
    for (input, own) in inputs.iter().zip(models) {
        match own {
            Ok(digest) if *digest == input.sha256 => equal += 1,
            Ok(_) => items.contradicts(text!("attest/input/changed", name = &input.name, uri = &input.uri)),
            Err(why) => {
                items.unchecked(text!("attest/input/not", name = &input.name, uri = &input.uri, why = why.clone()));
            }
        }
    }
    if equal > 0 {
        items.verified(text!("attest/input/equal", count = equal));
    }
}

/// A report that was made again against the one that is there.
fn compared(written: &[u8], made: &str, items: &mut Items, equal: Text) {
    if made.as_bytes() == written {
        return items.verified(equal);
    }
    let (Ok(one), Ok(other)) = (strict(written), strict(made.as_bytes())) else {
        return items.contradicts(text!("attest/judged/bytes"));
    };
    let mut differ = statement::differences(&one, &other);
    differ.retain(|place| place != "inputs");
    let list = |value: &Value| value["inputs"].as_array().cloned().unwrap_or_default();
    let (one, other) = (list(&one), list(&other));
    let names = |own: &[Value], than: &[Value]| -> BTreeSet<String> {
        let changed = own.iter().filter(|input| !than.contains(input));
        changed.map(|input| input["uri"].as_str().unwrap_or_default().to_owned()).collect()
    };
    for uri in names(&one, &other).union(&names(&other, &one)) {
        items.contradicts(text!("attest/input/differs", uri));
    }
    if !differ.is_empty() {
        items.contradicts(text!("attest/judged/differs", fields = differ));
    }
}

/// Holds an attestation against keys that are trusted and, where it is at hand, against the audit's folder.
///
/// # Errors
/// If it is no attestation of an audit that this version reads.
pub fn attestation(envelope: &Envelope, keys: &[Public], dir: Option<&Path>, items: &mut Items) -> Result<()> {
    let statement = strict(&envelope.payload()?).context(|| text!("error-attest/folder/what-signed-no-json"))?;
    if statement["_type"] != super::STATEMENT || statement["predicateType"] != statement::AUDIT {
        return Err(Error::input(text!(
            "error-attest/folder/statement-type-predicate-read",
            statement = statement["_type"].to_string(),
            statement_2 = statement["predicateType"].to_string(),
            statement_3 = super::STATEMENT,
            audit = statement::AUDIT
        )));
    }
    signatures(envelope, keys, items);
    let Some(dir) = dir else {
        items.unchecked(text!("attest/statement/alone"));
        return Ok(());
    };
    match statement::of(dir) {
        Err(why) => items.contradicts(text!("attest/statement/unmade", why = why.to_string())),
        Ok(own) => {
            let differ = statement::differences(&own, &statement);
            if differ.is_empty() {
                let outcome = statement["predicate"]["verdict"]["outcome"].as_str().unwrap_or_default();
                items.verified(text!("attest/statement/equal", outcome));
            } else {
                items.contradicts(text!("attest/statement/differs", fields = differ));
            }
        }
    }
    Ok(())
}

/// Every signature is by a given key, and every given key has signed.
pub fn signatures(envelope: &Envelope, keys: &[Public], items: &mut Items) {
    let mut signed = BTreeSet::new();
    let message = envelope.message();
    for (at, signature) in envelope.signatures().iter().enumerate() {
        if let Some(key) = keys.iter().find(|key| envelope.signed(&message, at, |m, s| key.verifies(m, s))) {
            signed.insert(key.id());
            items.verified(text!("attest/signature/holds", id = key.id()));
            if !signature.keyid.is_empty() && signature.keyid != key.id() {
                items.unchecked(text!("attest/signature/named", id = key.id(), name = &signature.keyid));
            }
        } else if keys.iter().any(|key| key.id() == signature.keyid) {
            items.contradicts(text!("attest/signature/fails", id = &signature.keyid));
            signed.insert(&signature.keyid);
        } else {
            items.unchecked(text!("attest/signature/no-key", id = &signature.keyid));
        }
    }
    for key in keys.iter().filter(|key| !signed.contains(key.id())) {
        items.contradicts(text!("attest/signature/absent", id = key.id()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Standing::{self, Contradicts, Unchecked, Verified};
    use crate::keys::tests::signer;
    use scratchproof_report::Sealed;

    fn standings(items: &Items) -> Vec<Standing> {
        items.all().iter().map(|item| item.standing).collect()
    }

    #[test]
    fn every_signature_and_every_key_is_accounted_for() {
        let (one, two) = (signer(1), signer(2));
        let mut envelope = Envelope::around(b"{}");
        envelope.sign(&one, true).unwrap();
        let told = |envelope: &Envelope, keys: &[&Public]| {
            let keys: Vec<Public> = keys.iter().map(|key| Public::read(key.pem().as_bytes()).unwrap()).collect();
            let mut items = Items::default();
            signatures(envelope, &keys, &mut items);
            standings(&items)
        };
        assert_eq!(told(&envelope, &[one.public()]), [Verified]);
        assert_eq!(told(&envelope, &[]), [Unchecked], "no key is given");
        assert_eq!(told(&envelope, &[two.public()]), [Unchecked, Contradicts], "another key, which did not sign");
        assert_eq!(told(&envelope, &[one.public(), two.public()]), [Verified, Contradicts]);
        // One that calls itself by the name of a key that it is not by.
        let forged = envelope.to_json().replace(one.public().id(), two.public().id());
        let forged = Envelope::read(forged.as_bytes()).unwrap();
        assert_eq!(told(&forged, &[two.public()]), [Contradicts]);
        assert_eq!(told(&forged, &[one.public()]), [Verified, Unchecked], "its name is wrong");
        assert_eq!(told(&forged, &[one.public(), two.public()]), [Verified, Unchecked, Contradicts]);
    }

    #[test]
    fn a_seal_is_over_every_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(EVIDENCE)).unwrap();
        let sealed = |names: &[&str]| {
            let files = names.iter().map(|name| {
                let bytes = fs::read(dir.path().join(name)).unwrap_or_default();
                Sealed { name: (*name).to_owned(), bytes: bytes.len() as u64, sha256: hex(&Sha256::digest(&bytes)) }
            });
            Seal::over("sha256:00", files.collect())
        };
        let told = |seal: &Seal| {
            let mut items = Items::default();
            let whole = seal_holds(dir.path(), seal, &mut items).unwrap();
            assert_eq!(whole, items.status() == 0);
            items.all().iter().map(|item| item.text.english()).collect::<Vec<_>>().join("\n")
        };
        let path = dir.path().join("evidence/a.parquet");
        fs::write(&path, "a").unwrap();
        let good = sealed(&["evidence/a.parquet"]);
        assert!(told(&good).contains("1 file"));
        let mut other = good.clone();
        other.files[0].bytes += 1;
        assert!(told(&other).contains("evidence/a.parquet"), "another length beside the digest");
        fs::write(&path, "b").unwrap();
        assert!(told(&good).contains("evidence/a.parquet"));
        fs::write(&path, "a").unwrap();
        fs::write(dir.path().join("evidence/b"), "").unwrap();
        assert!(told(&good).contains("evidence/b"));
        fs::remove_file(dir.path().join("evidence/b")).unwrap();
        fs::rename(&path, dir.path().join("x")).unwrap();
        assert!(told(&good).contains("evidence/a.parquet"), "it is gone");
        std::os::unix::fs::symlink("../x", &path).unwrap();
        assert!(told(&good).contains("evidence/a.parquet"), "a link to the same bytes");
        for names in [&["../x"][..], &["/x"], &["evidence/a.parquet", "evidence/A.parquet"], &["evidence/./a.parquet"]]
        {
            let mut items = Items::default();
            assert!(!seal_holds(dir.path(), &sealed(names), &mut items).unwrap(), "{names:?}");
            assert_eq!(standings(&items), [Contradicts], "{names:?}");
        }
    }

    #[test]
    fn the_record_of_what_was_written_is_held_against_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["report.json", "report.html", "report.md"];
        let mut text = "{\"schema\":\"scratchproof.folder/1\"}\n".to_owned();
        for name in names {
            fs::write(dir.path().join(name), name).unwrap();
            text += &format!("{{\"file\":\"{name}\",\"sha256\":\"{}\"}}\n", hex(&Sha256::digest(name)));
        }
        let path = dir.path().join(RECORD);
        let told = |text: &str| {
            fs::write(&path, text).unwrap();
            let mut items = Items::default();
            record(dir.path(), &mut items);
            standings(&items)
        };
        assert_eq!(told(&text), [Verified]);
        let (head, lines) = text.split_once('\n').unwrap();
        let without = lines.split_inclusive('\n').skip(1).collect::<String>();
        for bad in [
            String::new(),
            text.trim_end().to_owned(),
            text.replace("folder/1", "folder/2"),
            format!("{head}\n{without}"),
            text.replace("report.md", "../report.md"),
            format!("{text}{{}}\n"),
            format!("{text}{{\"file\":\"gone\",\"sha256\":\"\"}}\n"),
            format!("{text}{}", "{\"file\":\"a\",\"sha256\":\"\"}\n".repeat(MOST_LINES)),
        ] {
            assert_eq!(told(&bad), [Contradicts], "{}", &bad[..bad.len().min(300)]);
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let mut items = Items::default();
        record(dir.path(), &mut items);
        assert_eq!(standings(&items), [Contradicts], "a folder in its place");
        fs::remove_dir(&path).unwrap();
        let mut items = Items::default();
        record(dir.path(), &mut items);
        assert!(items.all().is_empty(), "a folder that was handed on may be without it");
    }
}
