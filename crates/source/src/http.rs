//! A file on a web server, read by ranges.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use reqwest::header::{CONTENT_RANGE, ETAG, LAST_MODIFIED};
use reqwest::{StatusCode, Url};

use super::Blob;
use super::cache::lock;
use super::drawn::Runs;
use super::network::{Ask, Body, Credential, Head, Limits, Network, refusal, text};
use super::spool::Spool;
use scratchproof_error::{Error, Result};
use scratchproof_texts::{Text, text};

/// Bytes that are asked for when a file is opened: its length, and the header of most safetensors files.
const FIRST: u64 = 32 << 10;

/// A file on a web server that answers range requests.
///
/// The server's mark of the content (`ETag`, else `Last-Modified`) is compared on every answer, so a file that changes
/// under the audit is an error; a server that sends neither is held to the length alone. Blocks are read ahead into
/// memory that all files share.
pub struct HttpFile {
    network: Arc<Network>,
    number: u64,
    url: Url,
    credential: Option<Credential>,
    name: String,
    length: u64,
    first: Arc<Vec<u8>>,
    pin: Mutex<Pin>,
    spool: Option<Spool>,
    /// Where it is not the whole file, what of it.
    runs: Option<Runs>,
}

/// Where the content is, and its mark.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pin {
    url: Url,
    linked: Option<String>,
    mark: Option<String>,
}

impl Pin {
    fn of(head: &Head) -> Self {
        let mark = text(&head.headers, ETAG.as_str()).or_else(|| text(&head.headers, LAST_MODIFIED.as_str()));
        Self { url: head.url.clone(), linked: head.linked.clone(), mark }
    }
}

impl HttpFile {
    /// Opens the file at `url`, called `name` in messages and in the report. What is not there is `Err` inside.
    pub(super) fn find(
        network: &Arc<Network>,
        url: &Url,
        credential: Option<&Credential>,
        name: &str,
    ) -> Result<Result<Self, StatusCode>> {
        let ask = Ask { range: Some((0, FIRST - 1)), ..Ask::whole(url, credential, name) };
        let (head, first) = network.get(&ask, |head| match head.status {
            StatusCode::PARTIAL_CONTENT => {
                let (range, length) = content_range(head, name)?;
                if range != (0..length.min(FIRST)) {
                    return Err(other_range(name, &range, 0..FIRST));
                }
                Ok(Body::Exactly(usize::try_from(range.end).unwrap_or(usize::MAX)))
            }
            StatusCode::OK if text(&head.headers, "content-length").as_deref() != Some("0") => Err(no_ranges(name)),
            _ => Ok(Body::None),
        })?;
        let length = match head.status {
            StatusCode::PARTIAL_CONTENT => content_range(&head, name)?.1,
            StatusCode::OK => 0,
            // An empty file has no first byte.
            StatusCode::RANGE_NOT_SATISFIABLE
                if text(&head.headers, CONTENT_RANGE.as_str()).as_deref() == Some("bytes */0") =>
            {
                0
            }
            status => return Ok(Err(status)),
        };
        let pin = Pin::of(&head);
        let mark = pin.linked.as_deref().or(pin.mark.as_deref());
        let Limits { keep, block, .. } = &network.limits;
        let spool = Spool::of(keep.as_deref(), name, length, mark, *block);
        let first = Arc::new(first);
        Ok(Ok(Self {
            network: Arc::clone(network),
            number: network.number(),
            url: url.clone(),
            credential: credential.cloned(),
            name: name.to_owned(),
            length,
            first,
            pin: Mutex::new(pin),
            spool,
            runs: None,
        }))
    }

    /// Opens a file by its address, such as `https://host/model.safetensors`.
    ///
    /// # Errors
    /// If the address may not be read, there is nothing, or the server does not answer range requests.
    pub fn open(network: &Arc<Network>, address: &str) -> Result<Self> {
        let url = super::network::parse(address)?;
        let name = super::network::shown(&url);
        Self::find(network, &url, None, &name)?.map_err(|status| refusal(&name, status, None))
    }

    /// A block, from memory or from the server.
    fn block(&self, block: u64) -> Result<Arc<Vec<u8>>> {
        self.network.cache.get(self.number, block, || {
            let size = self.network.limits.block as u64;
            let range = block * size..(block + 1).saturating_mul(size).min(self.len());
            if let Some(spool) = &self.spool {
                return spool.block(block, range.end - range.start, || self.fetch_block(range));
            }
            let passing = &self.network.passing;
            if let Some(bytes) = passing.find(self.number, block) {
                return Ok(bytes);
            }
            let bytes = self.fetch_block(range)?;
            passing.keep(self.number, block, &bytes);
            Ok(bytes)
        })
    }

    /// The bytes of a block: of what was drawn, one request for each of its ranges.
    fn fetch_block(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let Some(runs) = &self.runs else { return self.fetch_rest(range) };
        let mut bytes = Vec::with_capacity(index(range.end - range.start));
        for piece in runs.pieces(range) {
            bytes.extend(self.fetch_rest(piece)?);
        }
        Ok(bytes)
    }

    /// The bytes of a range of the file; those that came when it was opened are not fetched again.
    fn fetch_rest(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let held = self.first.len() as u64;
        if range.start >= held {
            return self.fetch(range);
        }
        let mut bytes = self.first[index(range.start)..index(range.end.min(held))].to_vec();
        if range.end > held {
            bytes.extend(self.fetch(held..range.end)?);
        }
        Ok(bytes)
    }

    fn fetch(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let pin = lock(&self.pin).clone();
        let (head, body) = self.ask(&pin.url, &range, &pin)?;
        if head.status == StatusCode::PARTIAL_CONTENT {
            return Ok(body);
        }
        if pin.url == self.url || !matches!(head.status.as_u16(), 400 | 401 | 403 | 404 | 410) {
            return Err(refusal(&self.name, head.status, None));
        }
        // Addresses that a hub redirects to are signed for a while only: ask it again.
        let (head, body) = self.ask(&self.url, &range, &pin)?;
        if head.status != StatusCode::PARTIAL_CONTENT {
            return Err(refusal(&self.name, head.status, None));
        }
        *lock(&self.pin) = Pin::of(&head);
        Ok(body)
    }

    fn ask(&self, url: &Url, range: &Range<u64>, pin: &Pin) -> Result<(Head, Vec<u8>)> {
        let credential = self.credential.as_ref();
        let ask = Ask { range: Some((range.start, range.end - 1)), ..Ask::whole(url, credential, &self.name) };
        self.network.get(&ask, |head| {
            let now = Pin::of(head);
            // The hub's own mark of the content outlives the store that it redirects to.
            let same = if now.linked.is_some() { now.linked == pin.linked } else { now.mark == pin.mark };
            match head.status {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT if !same => {
                    Err(self.changed(text!("error-source/http/other-etag")))
                }
                StatusCode::OK => Err(no_ranges(&self.name)),
                StatusCode::PARTIAL_CONTENT => {
                    let (got, length) = content_range(head, &self.name)?;
                    if length != self.length {
                        return Err(self.changed(text!(
                            "error-source/http/other-length",
                            before = &self.length,
                            length
                        )));
                    }
                    if got != *range {
                        return Err(other_range(&self.name, &got, range.clone()));
                    }
                    let length = usize::try_from(range.end - range.start);
                    Ok(Body::Exactly(length.map_err(|error| Error::io(&self.name, error))?))
                }
                StatusCode::RANGE_NOT_SATISFIABLE => Err(self.changed(text!("error-source/http/shorter"))),
                _ => Ok(Body::None),
            }
        })
    }

    fn changed(&self, how: Text) -> Error {
        Error::input(text!("error-source/http/changed-while-read", name = &self.name, how))
    }
}

impl Blob for HttpFile {
    fn len(&self) -> u64 {
        self.runs.as_ref().map_or(self.length, Runs::len)
    }

    fn uri(&self) -> String {
        self.name.clone()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len());
        let Some(end) = end else {
            return Err(Error::input(text!(
                "error-source/http/bytes-byte-asked-but",
                name = &self.name,
                buffer = buffer.len(),
                offset,
                length = self.len()
            )));
        };
        // A file that is wholly in its first bytes, or a header, needs no block.
        if self.runs.is_none() && end <= self.first.len() as u64 {
            let start = index(offset);
            buffer.copy_from_slice(&self.first[start..start + buffer.len()]);
            return Ok(());
        }
        let size = self.network.limits.block as u64;
        let mut filled = 0;
        while filled < buffer.len() {
            let at = offset + filled as u64;
            let block = self.block(at / size)?;
            let from = index(at % size);
            let part = (block.len() - from).min(buffer.len() - filled);
            buffer[filled..filled + part].copy_from_slice(&block[from..from + part]);
            filled += part;
        }
        Ok(())
    }

    /// The hub's own mark of a large file is the digest of its content.
    fn said_sha256(&self) -> Option<String> {
        let linked = lock(&self.pin).linked.clone()?;
        let digest = linked.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
        let is = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is && self.runs.is_none()).then_some(digest)
    }

    /// Blocks are made of what was drawn: read ahead, kept and fetched once as those of a whole file are.
    fn is_elsewhere(&self) -> bool {
        true
    }

    fn drawn(&self, ranges: &[Range<u64>]) -> Option<Result<Arc<dyn Blob>>> {
        if self.runs.is_some() {
            return None;
        }
        let of = |runs: Runs| -> Arc<dyn Blob> {
            let pin = lock(&self.pin).clone();
            let mark = pin.linked.as_deref().or(pin.mark.as_deref());
            let Limits { keep, block, .. } = &self.network.limits;
            let kept = format!("{} {}", self.name, runs.name());
            let spool = Spool::of(keep.as_deref(), &kept, runs.len(), mark, *block);
            Arc::new(Self {
                network: Arc::clone(&self.network),
                number: self.network.number(),
                url: self.url.clone(),
                credential: self.credential.clone(),
                name: self.name.clone(),
                length: self.length,
                first: Arc::clone(&self.first),
                pin: Mutex::new(pin),
                spool,
                runs: Some(runs),
            })
        };
        Some(Runs::new(ranges, self.length).map(of))
    }
}

impl Drop for HttpFile {
    fn drop(&mut self) {
        self.network.cache.forget(self.number);
        self.network.passing.forget(self.number);
    }
}

impl fmt::Debug for HttpFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpFile({}, {} bytes)", self.name, self.length)
    }
}

/// A position inside a buffer, which fits.
fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// `bytes FIRST-LAST/LENGTH`: the range and the length of the whole file.
fn content_range(head: &Head, name: &str) -> Result<(Range<u64>, u64)> {
    let text = text(&head.headers, CONTENT_RANGE.as_str()).unwrap_or_default();
    let parsed = || {
        let (range, length) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last, length): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, length.parse().ok()?);
        (first <= last && last < length).then_some((first..last + 1, length))
    };
    parsed()
        .ok_or_else(|| Error::input(text!("error-source/http/server-does-not-say", name, text = format!("{text:?}"))))
}

fn other_range(name: &str, got: &Range<u64>, wanted: Range<u64>) -> Error {
    Error::input(text!(
        "error-source/http/server-sends-bytes-but",
        name,
        start = &got.start,
        end = &got.end,
        start_2 = &wanted.start,
        end_2 = &wanted.end
    ))
}

fn no_ranges(name: &str) -> Error {
    Error::input(text!("error-source/http/server-does-not-answer", name))
}

#[cfg(test)]
mod tests;
