//! Reading and verifying the witnesses of a case.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use super::asn1::Parsed;
use super::certificate;
use super::document::{self, About, Document, Fact};
use super::found::{Found, Imprint, covers, named};
use super::headers::{self, Header};
use super::ots::{self, Attestation, Proof};
use super::signature::Hash;
use super::token::{self, Doubt};
use super::{Kind, Refusal, Target, Targets, Witnessed};
use crate::Trust;
use crate::listed::{Given, Shelf};
use scratchproof_case::{Over, Witness};
use scratchproof_error::{Error, Result};
use scratchproof_source::{Access, fetch, plain};
use scratchproof_texts::text;

/// A proof that was read.
enum Content {
    Token(Vec<u8>, token::Stamp),
    Proof(Proof),
    Answers(Vec<Document>),
}

/// Reads and verifies the witnesses of a case, in their order. What cannot be read or believed is said so in the answer.
/// `shelf` gets every file and answer that was read.
pub fn read(entries: &[Witness], targets: &Targets, access: Access, shelf: &mut Shelf) -> Vec<Witnessed> {
    let contents: Vec<Parsed<Content>> = entries.iter().map(|entry| content(entry, access, shelf)).collect();
    let imprints: Vec<Imprint> = contents.iter().flatten().filter_map(imprint).collect();
    let (mut found, unread) = Found::search(&imprints, targets);
    let mut all = Vec::new();
    for (entry, content) in entries.iter().zip(&contents) {
        let mut seen = match content {
            Err(why) => vec![refused(entry, Kind::Unknown, Refusal::Unreadable(why.clone()))],
            Ok(Content::Answers(documents)) => answers(entry, documents, targets),
            Ok(content) => {
                let mut file = None;
                if let Some(Over::File(place)) = &entry.over {
                    match found.file(&place.written, &place.path) {
                        Ok((digest, length)) => shelf.add_digest(Given::Stamped, &place.written, &digest, length),
                        Err(error) => file = Some(error),
                    }
                }
                vec![stamped(entry, content, &found, file.as_ref(), shelf)]
            }
        };
        if let (Some(error), Some(first)) = (&unread, seen.first_mut()) {
            first.notes.push(format!("the repository could not be searched for what it is over: {error}"));
        }
        all.append(&mut seen);
    }
    all
}

fn imprint(content: &Content) -> Option<Imprint> {
    match content {
        Content::Token(_, stamp) => Some((stamp.hash, stamp.imprint.clone())),
        Content::Proof(proof) => Some((Hash::Sha256, proof.digest.clone())),
        Content::Answers(_) => None,
    }
}

fn content(entry: &Witness, access: Access, shelf: &mut Shelf) -> Parsed<Content> {
    let written = &entry.proof.written;
    if entry.proof.scheme().is_some() {
        let answers = fetch::answers(written, access, document::LARGEST).map_err(|error| error.to_string())?;
        shelf.add(Given::Witness, &shown(entry), &answers.concat());
        // A hub without dated files, or a forge without releases, says what it says elsewhere.
        let (read, unread): (Vec<_>, Vec<_>) =
            answers.iter().map(|bytes| document::read(bytes)).partition(std::result::Result::is_ok);
        let read: Vec<Document> = read.into_iter().flatten().collect();
        return match unread.into_iter().find_map(std::result::Result::err) {
            Some(why) if read.is_empty() => Err(why),
            _ => Ok(Content::Answers(read)),
        };
    }
    let bytes =
        file(&entry.proof.path, document::LARGEST).map_err(|error| neutral(&error, &entry.proof.path, written))?;
    shelf.add(Given::Witness, written, &bytes);
    if ots::is_proof(&bytes) {
        return ots::read(&bytes).map(Content::Proof);
    }
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if matches!(first, Some(b'{' | b'[')) {
        return document::read(&bytes).map(|document| Content::Answers(vec![document]));
    }
    let bytes = token::binary(&bytes)?;
    let stamp = token::read(&bytes)?.stamp;
    Ok(Content::Token(bytes, stamp))
}

/// A whole small file. A file that grows while it is read, or is none, is refused.
fn file(path: &Path, longest: usize) -> Result<Vec<u8>> {
    let failed = |error| Error::io(path.display(), error);
    if !fs::metadata(path).map_err(failed)?.is_file() {
        // Reading a FIFO would wait for somebody to write to it.
        return Err(Error::usage(text!("error-record/found/not-regular-file", path = path.display())));
    }
    let mut bytes = Vec::new();
    plain::open(path).map_err(failed)?.take(longest as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > longest {
        return Err(Error::input(text!("error-record/reading/more-bytes", path = path.display(), longest)));
    }
    Ok(bytes)
}

/// An error without the place of the file on this computer.
fn neutral(error: &Error, path: &Path, written: &str) -> String {
    error.to_string().replace(&path.display().to_string(), written)
}

/// A proof as the case names it. Of an address neither user nor query: they may be secrets.
fn shown(entry: &Witness) -> String {
    let written = &entry.proof.written;
    let Some((scheme, rest)) = written.split_once("://") else { return written.clone() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (place, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    // The part behind an `@` of a hub's address is a revision and stands in the path.
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    format!("{scheme}://{place}{path}")
}

fn refused(entry: &Witness, kind: Kind, refusal: Refusal) -> Witnessed {
    Witnessed {
        proof: shown(entry),
        kind,
        target: entry.over.as_ref().map(named),
        how: String::new(),
        existed_by: None,
        trust: Trust::SelfAsserted,
        source: shown(entry),
        verified: Err(refusal),
        notes: Vec::new(),
    }
}

/// A token or a proof: what it is over, and whether it is to be believed.
fn stamped(entry: &Witness, content: &Content, found: &Found, unread: Option<&Error>, shelf: &mut Shelf) -> Witnessed {
    let matches = imprint(content).map_or(Vec::new(), |imprint| found.of(&imprint, entry.over.as_ref()));
    let hit = matches.first().filter(|hit| entry.over.as_ref().is_none_or(|over| covers(over, &hit.target)));
    let mut seen = match content {
        Content::Token(bytes, stamp) => token(entry, bytes, stamp, shelf),
        Content::Proof(proof) => bitcoin(entry, proof, shelf),
        Content::Answers(_) => return refused(entry, Kind::Unknown, Refusal::Unreadable("it is no stamp".into())),
    };
    if let Some(hit) = hit {
        seen.target = Some(hit.target.clone());
        seen.how = hit.form.into();
        let others: Vec<String> =
            matches.iter().filter(|m| m.target != hit.target).map(|m| m.target.to_string()).collect();
        if !others.is_empty() {
            seen.notes.push(format!("the same digest is that of {}", others.join(", ")));
        }
        return seen;
    }
    let Some(over) = &entry.over else { return seen };
    let other =
        matches.first().map_or(String::new(), |hit| format!("; it is that of the {} ({})", hit.target, hit.form));
    let elsewhere = match unread {
        Some(error) => format!("what it is said to be over could not be read: {error}"),
        None => format!("the digest in it is not that of the {}{other}", named(over)),
    };
    seen.target = Some(named(over));
    seen.verified = match seen.verified {
        Ok(()) => Err(Refusal::Other(elsewhere)),
        // What is wrong in itself counts only if it is about this.
        Err(Refusal::Broken(why)) => Err(Refusal::Other(format!("{elsewhere}; besides, {why}"))),
        other => other,
    };
    seen.trust = Trust::SelfAsserted;
    seen
}

fn token(entry: &Witness, bytes: &[u8], stamp: &token::Stamp, shelf: &mut Shelf) -> Witnessed {
    let mut seen = refused(entry, Kind::Token, Refusal::Unreadable(String::new()));
    seen.existed_by = Some(stamp.interval());
    let mut roots = Vec::new();
    for place in &entry.roots {
        let read = file(&place.path, token::LARGEST).map_err(|error| neutral(&error, &place.path, &place.written));
        if let Ok(bytes) = &read {
            shelf.add(Given::Root, &place.written, bytes);
        }
        match read.and_then(|bytes| certificate::bundle(&bytes)) {
            Ok(mut some) => roots.append(&mut some),
            Err(why) => {
                seen.verified =
                    Err(Refusal::Unanchored(format!("the root {} could not be read: {why}", place.written)));
                return seen;
            }
        }
    }
    let verified = token::read(bytes).map_err(Doubt::Broken).and_then(|token| token.verify(&roots));
    seen.verified = match verified {
        Ok(names) => {
            seen.trust = Trust::Anchored;
            let root = names.last().filter(|_| names.len() > 1).map_or(String::new(), |root| format!(", under {root}"));
            seen.source = format!("{}{root} ({})", names.first().map_or("", String::as_str), entry.proof.written);
            Ok(())
        }
        Err(Doubt::Broken(why)) => Err(Refusal::Broken(why)),
        Err(Doubt::Unanchored(why)) => Err(Refusal::Unanchored(why)),
    };
    seen.notes.push("whether the authority's certificate was revoked is not checked".into());
    if stamp.accuracy.is_none() {
        seen.notes.push("the token gives no accuracy; a second is allowed for".into());
    }
    seen
}

fn bitcoin(entry: &Witness, proof: &Proof, shelf: &mut Shelf) -> Witnessed {
    let mut seen = refused(entry, Kind::OpenTimestamps, Refusal::Unreadable(String::new()));
    seen.notes.extend(proof.left.iter().cloned());
    let headers = match &entry.headers {
        None => Ok(Vec::new()),
        Some(place) => file(&place.path, headers::LARGEST)
            .map_err(|error| neutral(&error, &place.path, &place.written))
            .inspect(|bytes| shelf.add(Given::Headers, &place.written, bytes))
            .and_then(|bytes| headers::read(&bytes))
            .map_err(|why| format!("the headers {} could not be read: {why}", place.written)),
    };
    let headers = match headers {
        Ok(headers) => headers,
        Err(why) => {
            seen.verified = Err(Refusal::Unanchored(why));
            return seen;
        }
    };
    match block(proof, &headers, Header::work) {
        Ok((header, work)) => {
            seen.existed_by = Some(header.interval());
            seen.trust = Trust::Anchored;
            seen.source = format!("Bitcoin block {} ({})", header.height, entry.proof.written);
            seen.notes.push(format!(
                "the header was given by the auditor; its proof of work took about {:.0e} hashes; whether it is in the chain that others have is not seen",
                work * 2f64.powi(32)
            ));
            seen.verified = Ok(());
        }
        Err(refusal) => seen.verified = Err(refusal),
    }
    seen
}

/// The earliest block among the given ones that the proof leads to.
fn block<'a>(
    proof: &Proof,
    headers: &'a [Header],
    work: impl Fn(&Header) -> Parsed<f64>,
) -> std::result::Result<(&'a Header, f64), Refusal> {
    let mut best: Option<(&Header, f64)> = None;
    let (mut broken, mut weak, mut heights, mut calendars) = (None, None, Vec::new(), Vec::new());
    for attestation in &proof.attestations {
        match attestation {
            Attestation::Bitcoin { height, root } => {
                heights.push(height.to_string());
                for header in headers.iter().filter(|header| header.height == *height) {
                    match work(header) {
                        // Only of a header that somebody worked for can it be said that the proof is wrong.
                        Ok(_) if header.root() != root => {
                            let why =
                                format!("block {height} has another root of transactions than the proof leads to");
                            broken = Some(why);
                        }
                        Ok(work) if best.is_none_or(|(kept, _)| header.at() < kept.at()) => best = Some((header, work)),
                        Ok(_) => {}
                        Err(why) => weak = Some(format!("the header given for block {height}: {why}")),
                    }
                }
            }
            Attestation::Pending { calendar } => calendars.push(calendar.clone()),
            Attestation::Unknown => {}
        }
    }
    match (best, broken, weak) {
        (Some(best), _, _) => Ok(best),
        (None, Some(why), _) => Err(Refusal::Broken(why)),
        (None, None, Some(why)) => Err(Refusal::Unanchored(why)),
        (None, None, None) if !heights.is_empty() => Err(Refusal::Unanchored(format!(
            "no header is given for block {}; name a file of headers with `headers`",
            heights.join(" or ")
        ))),
        (None, None, None) if !calendars.is_empty() => {
            Err(Refusal::Pending(format!("it is only promised by {}: upgrade the proof", calendars.join(", "))))
        }
        (None, None, None) => Err(Refusal::Unanchored("it holds no attestation that can be verified here".into())),
    }
}

/// The facts of a server's answers that concern the case.
fn answers(entry: &Witness, documents: &[Document], targets: &Targets) -> Vec<Witnessed> {
    let mut all = Vec::new();
    for document in documents {
        for fact in &document.facts {
            all.extend(targets_of(fact, targets, entry.over.as_ref()).into_iter().map(|target| Witnessed {
                proof: shown(entry),
                kind: Kind::Answer,
                target: Some(target),
                how: fact.what.clone(),
                existed_by: Some(fact.at),
                trust: fact.trust,
                source: format!("{} ({})", document.kind, shown(entry)),
                verified: Ok(()),
                notes: Vec::new(),
            }));
        }
    }
    if let Some(over) = &entry.over
        && !all.iter().any(|seen| seen.target.as_ref().is_some_and(|target| covers(over, target)))
    {
        all.push(refused(entry, Kind::Answer, Refusal::Other(format!("it says nothing of the {}", named(over)))));
    }
    if all.is_empty() {
        let why = "it says nothing of anything in this case".to_owned();
        all.push(refused(entry, Kind::Answer, Refusal::Other(why)));
    }
    all
}

fn targets_of(fact: &Fact, targets: &Targets, over: Option<&Over>) -> Vec<Target> {
    match &fact.about {
        About::Repository => vec![Target::Repository(fact.what.clone())],
        About::Tag(name) => match over {
            Some(Over::Tag(wanted)) if wanted != name => Vec::new(),
            _ => vec![Target::Tag { name: name.clone(), commit: None }],
        },
        About::Commit(id) => match over {
            Some(Over::Commit(wanted)) if id.starts_with(&wanted.to_ascii_lowercase()) => {
                vec![Target::Commit(id.clone())]
            }
            _ if targets.commits.iter().any(|commit| commit == id) => vec![Target::Commit(id.clone())],
            _ => Vec::new(),
        },
        About::File(digest) => {
            let mut hits = Vec::new();
            for checkpoint in &targets.checkpoints {
                let files = checkpoint.files.iter().filter(|file| file.sha256 == *digest);
                hits.extend(
                    files.map(|file| Target::Checkpoint { step: checkpoint.step, file: Some(file.name.clone()) }),
                );
            }
            hits
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
