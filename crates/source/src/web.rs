//! A folder of a web server, which cannot be listed, as the place of one model.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::cache::lock;
use super::directory::plain;
use super::network::{Ask, Network, parse, refusal, shown};
use super::{Blob, HttpFile, MemoryFile, Store};
use scratchproof_error::{Error, Result};

/// The largest text (an index, config.json, a listing) that is fetched whole.
pub(super) const LARGEST_TEXT: usize = 100_000_000;

const ONE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const CONFIG: &str = "config.json";

/// The folder of a web server with the usual names in it, or one safetensors file.
pub struct HttpDir {
    network: Arc<Network>,
    /// Ends with a slash, or is the file's.
    url: Url,
    only: Option<String>,
    /// What was asked for, so that nothing is asked for twice.
    known: Mutex<BTreeMap<String, Known>>,
}

#[derive(Clone)]
enum Known {
    Absent(StatusCode),
    Text(MemoryFile),
    Weights(Arc<HttpFile>),
}

impl HttpDir {
    /// The place at an address: a file if its path ends with `.safetensors`, otherwise a folder. The query of a file's
    /// address (a signature) is sent and never shown.
    ///
    /// # Errors
    /// A usage error if the address may not be read.
    pub fn open(network: &Arc<Network>, address: &str) -> Result<Self> {
        let mut url = parse(address)?;
        url.set_fragment(None);
        let last = url.path().rsplit('/').next().unwrap_or_default().to_owned();
        let only = last.ends_with(".safetensors").then_some(last);
        if only.is_none() {
            if is_text(url.path()) {
                let why = "give the address of the folder, with / at its end, or of one safetensors file";
                return Err(Error::usage(format!("{}: {why}", shown(&url))));
            }
            if url.query().is_some() {
                let why = "only the address of a safetensors file may have a query";
                return Err(Error::usage(format!("{}: {why}", shown(&url))));
            }
            if !url.path().ends_with('/') {
                url.set_path(&format!("{}/", url.path()));
            }
        }
        Ok(Self { network: Arc::clone(network), url, only, known: Mutex::default() })
    }

    fn known(&self, name: &str) -> Result<Known> {
        if let Some(known) = lock(&self.known).get(name) {
            return Ok(known.clone());
        }
        let mut url = self.url.clone();
        if self.only.as_deref() != Some(name) {
            url.set_query(None);
            let segments = url.path_segments_mut();
            // With or without a slash at the end, the last segment is not the folder's.
            segments.map_err(|()| Error::usage("this address has no path"))?.pop().push(name);
        }
        let shown = shown(&url);
        let known = if is_text(name) {
            let ask = Ask::whole(&url, None, &shown);
            let text = self.network.whole(&ask, LARGEST_TEXT)?;
            text.map_or_else(Known::Absent, |text| Known::Text(MemoryFile::new(shown, text)))
        } else {
            let file = HttpFile::find(&self.network, &url, None, &shown)?;
            file.map_or_else(Known::Absent, |file| Known::Weights(Arc::new(file)))
        };
        lock(&self.known).insert(name.to_owned(), known.clone());
        Ok(known)
    }

    /// Whether a file is there. Object stores say 403 of what is not there to those who may not list.
    fn has(&self, name: &str) -> Result<Result<(), StatusCode>> {
        match self.known(name)? {
            Known::Absent(status) if matches!(status.as_u16(), 403 | 404 | 410) => Ok(Err(status)),
            Known::Absent(status) => Err(refusal(&format!("{}{name}", shown(&self.url)), status, "")),
            Known::Text(_) | Known::Weights(_) => Ok(Ok(())),
        }
    }
}

impl Store for HttpDir {
    fn uri(&self) -> String {
        shown(&self.url)
    }

    fn list(&self) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        if let Some(only) = &self.only {
            names.insert(only.clone());
            // What is signed for one file opens no other.
            if self.url.query().is_none() && self.has(CONFIG)?.is_ok() {
                names.insert(CONFIG.to_owned());
            }
            return Ok(names.into_iter().collect());
        }
        if let Err(one) = self.has(ONE)? {
            if let Err(index) = self.has(INDEX)? {
                return Err(Error::input(format!(
                    "{}: neither {ONE} nor {INDEX} is there (the server answers {one}, and {index})",
                    self.uri()
                )));
            }
            names.insert(INDEX.to_owned());
            names.extend(self.shards());
        } else {
            names.insert(ONE.to_owned());
        }
        if self.has(CONFIG)?.is_ok() {
            names.insert(CONFIG.to_owned());
        }
        Ok(names.into_iter().collect())
    }

    fn open(&self, name: &str) -> Result<Box<dyn Blob>> {
        plain(name)?;
        if self.only.as_deref().is_some_and(|only| name != only && name != CONFIG) {
            return Err(Error::input(format!("{name:?} is not part of {}", self.uri())));
        }
        match self.known(name)? {
            Known::Text(file) => Ok(Box::new(file)),
            Known::Weights(file) => Ok(Box::new(file)),
            Known::Absent(status) => Err(refusal(&format!("{}: {name:?}", self.uri()), status, "")),
        }
    }

    fn only(&self) -> Option<&str> {
        self.only.as_deref()
    }
}

impl HttpDir {
    /// Plain names of files in the index. What is wrong with it is said by whoever reads it as an index.
    fn shards(&self) -> Vec<String> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let Ok(Known::Text(file)) = self.known(INDEX) else { return Vec::new() };
        let index = file.bytes(0, usize::try_from(file.len()).unwrap_or(0));
        let index = index.ok().and_then(|text| serde_json::from_slice::<Index>(&text).ok());
        let names = index.into_iter().flat_map(|index| index.weight_map.into_values());
        names.filter(|name| plain(name).is_ok()).collect()
    }
}

impl fmt::Debug for HttpDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpDir({})", self.uri())
    }
}

/// Whether a file is small and fetched whole: many servers answer range requests for large files only.
pub(super) fn is_text(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "json")
}
