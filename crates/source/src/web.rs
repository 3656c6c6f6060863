//! A folder of a web server, which cannot be listed, as the place of one model.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::cache::lock;
use super::directory::plain;
use super::network::{Ask, Network, parse, refusal, shown};
use super::signer::decoded;
use super::{Blob, HttpFile, ListedFile, MemoryFile, Store};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// The largest text (an index, config.json, a listing) that is fetched whole.
pub(super) const LARGEST_TEXT: usize = 100_000_000;

const ONE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const CONFIG: &str = "config.json";

/// The names that torch's loaders look for after those.
const OLDER: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/// Endings of files that can hold tensors, at an address and in a folder.
pub const ENDINGS: [&str; 16] = [
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".tar",
    ".jit",
    ".torchscript",
    ".gguf",
    ".npz",
    ".onnx",
    ".h5",
    ".hdf5",
    ".keras",
    ".msgpack",
    ".ptl",
];

/// The largest page with a list of files that is read.
const LARGEST_PAGE: usize = 16 << 20;

/// Whether the last part of a path is the name of a file that holds tensors, and not a folder's.
pub(super) fn is_file(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// The folder of a web server with the usual names in it, or one file with tensors. Where the server answers with a page of
/// links, as the usual ones do for a folder, the names in it are the folder's.
pub struct HttpDir {
    network: Arc<Network>,
    /// Ends with a slash, or is the file's.
    url: Url,
    only: Option<String>,
    /// What was asked for, so that nothing is asked for twice.
    known: Mutex<BTreeMap<String, Known>>,
    /// Files and folders that the server's page of the folder links to.
    page: OnceLock<(BTreeSet<String>, BTreeSet<String>)>,
}

#[derive(Clone)]
enum Known {
    Absent(StatusCode),
    Text(MemoryFile),
    Weights(Arc<HttpFile>),
}

impl HttpDir {
    /// The place at an address: a file if its path ends as files with tensors do, otherwise a folder. The query of a file's
    /// address (a signature) is sent and never shown.
    ///
    /// # Errors
    /// A usage error if the address may not be read.
    pub fn open(network: &Arc<Network>, address: &str) -> Result<Self> {
        let mut url = parse(address)?;
        url.set_fragment(None);
        let last = url.path().rsplit('/').next().unwrap_or_default().to_owned();
        let only = is_file(&last).then_some(last);
        if only.is_none() {
            if is_text(url.path()) {
                return Err(Error::usage(text!("error-source/web/folder-or-file")).context(shown(&url)));
            }
            if url.query().is_some() {
                return Err(Error::usage(text!("error-source/web/query")).context(shown(&url)));
            }
            if !url.path().ends_with('/') {
                url.set_path(&format!("{}/", url.path()));
            }
        }
        Ok(Self { network: Arc::clone(network), url, only, known: Mutex::default(), page: OnceLock::new() })
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
            segments.map_err(|()| Error::usage(text!("error-source/web/address-no-path")))?.pop().push(name);
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
            Known::Absent(status) => Err(refusal(&format!("{}{name}", shown(&self.url)), status, None)),
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
                let (files, folders) = self.page();
                let older = OLDER.iter().find(|name| files.is_empty() && self.has(name).is_ok_and(|has| has.is_ok()));
                if let Some(older) = older {
                    names.extend(self.shards(older));
                    names.insert((*older).to_owned());
                } else if files.is_empty() && folders.is_empty() {
                    return Err(Error::input(text!(
                        "error-source/web/neither-nor-server-answers",
                        uri = self.uri(),
                        one = ONE,
                        index = INDEX,
                        status = one.to_string(),
                        index_status = index.to_string()
                    )));
                }
                names.extend(files.iter().cloned());
            } else {
                names.insert(INDEX.to_owned());
                names.extend(self.shards(INDEX));
            }
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
            return Err(Error::input(text!(
                "error-source/directory/not-part",
                name = format!("{name:?}"),
                uri = self.uri()
            )));
        }
        match self.known(name)? {
            Known::Text(file) => Ok(Box::new(file)),
            Known::Weights(file) => Ok(Box::new(file)),
            Known::Absent(status) => Err(refusal(&format!("{}: {name:?}", self.uri()), status, None)),
        }
    }

    fn folders(&self) -> Result<Vec<String>> {
        if self.only.is_some() {
            return Ok(Vec::new());
        }
        Ok(self.page().1.iter().cloned().collect())
    }

    fn enter(&self, name: &str) -> Result<Box<dyn Store>> {
        plain(name)?;
        let mut url = self.url.clone();
        let segments = url.path_segments_mut();
        segments
            .map_err(|()| Error::usage(text!("error-source/web/address-no-path")))?
            .pop_if_empty()
            .extend([name, ""]);
        Ok(Box::new(Self {
            network: Arc::clone(&self.network),
            url,
            only: None,
            known: Mutex::default(),
            page: OnceLock::new(),
        }))
    }

    fn listed(&self) -> Result<Vec<ListedFile>> {
        let blank = |path: &String| ListedFile { path: path.clone(), bytes: 0, sha256: None, mark: None, at: None };
        Ok(self.page().0.iter().map(blank).collect())
    }

    fn only(&self) -> Option<&str> {
        self.only.as_deref()
    }
}

impl HttpDir {
    /// Files and folders of the server's page of this folder; none if it gives no such page.
    fn page(&self) -> &(BTreeSet<String>, BTreeSet<String>) {
        self.page.get_or_init(|| {
            let name = shown(&self.url);
            let page = self.network.whole(&Ask::whole(&self.url, None, &name), LARGEST_PAGE);
            page.ok().and_then(std::result::Result::ok).map(|page| links(&self.url, &page)).unwrap_or_default()
        })
    }

    /// Plain names of files in the index. What is wrong with it is said by whoever reads it as an index.
    fn shards(&self, index: &str) -> Vec<String> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let Ok(Known::Text(file)) = self.known(index) else { return Vec::new() };
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

/// The files and folders right below `base` that a page links to.
fn links(base: &Url, page: &[u8]) -> (BTreeSet<String>, BTreeSet<String>) {
    let page = String::from_utf8_lossy(page);
    let (mut files, mut folders) = (BTreeSet::new(), BTreeSet::new());
    for part in page.split("href").skip(1) {
        let Some(part) = part.trim_start().strip_prefix('=').map(str::trim_start) else { continue };
        let Some(quote) = part.chars().next().filter(|quote| matches!(quote, '"' | '\'')) else { continue };
        let Some((target, _)) = part[1..].split_once(quote) else { continue };
        let Ok(target) = base.join(&target.replace("&amp;", "&")) else { continue };
        if target.origin() != base.origin() || target.query().is_some() {
            continue;
        }
        let Some(name) = target.path().strip_prefix(base.path()) else { continue };
        let Ok(name) = String::from_utf8(decoded(name)) else { continue };
        let (name, found) = name.strip_suffix('/').map_or((&*name, &mut files), |name| (name, &mut folders));
        if plain(name).is_ok() {
            found.insert(name.to_owned());
        }
    }
    (files, folders)
}

/// Whether a file is small and fetched whole: many servers answer range requests for large files only.
pub(super) fn is_text(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_page() {
        let base = Url::parse("https://h.org/run/").unwrap();
        let page = br#"<a href="../">up</a> <a href='step0/'>a</a> <A HREF = "x"> <a href="a%20b.pt">b</a>
            <a href="?C=M;O=A">sort</a> <a href="/run/step10/">c</a> <a href="/else/x.pt">d</a> <a href="a/b.pt">e</a>
            <a href="https://evil.org/run/y.pt">f</a> <a href = "model.safetensors">g</a>"#;
        let (files, folders) = links(&base, page);
        assert_eq!(files.into_iter().collect::<Vec<_>>(), ["a b.pt", "model.safetensors"]);
        assert_eq!(folders.into_iter().collect::<Vec<_>>(), ["step0", "step10"]);
    }
}
