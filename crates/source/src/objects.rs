//! Buckets of object stores: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.
//!
//! Own code over the connections that every other place is read with, and not a crate such as `object_store`: redirects,
//! ranges, marks of the content, retries, limits and the count of bytes are then one thing for all places, and what is left
//! is a list of names in XML or JSON and a signature.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use chrono::DateTime;
use reqwest::Url;
use serde::Deserialize;

use super::cache::lock;
use super::directory::plain;
use super::network::{Ask, Credential, Network, parse, refusal};
use super::signer::Signer;
use super::web::{LARGEST_TEXT, is_file, is_text};
use super::{Blob, HttpFile, ListedFile, MemoryFile, Store};
use scratchproof_error::{Context, Error, Result};
use scratchproof_texts::{Text, text};

/// Pages of a list that are asked for, and the longest.
const PAGES: usize = 1000;
const LONGEST: usize = 64 << 20;

/// A folder of a bucket (names that begin alike), or one file of it.
pub struct Bucket {
    place: Arc<Place>,
    /// Ends with a slash, or is empty.
    prefix: String,
    only: Option<String>,
    names: OnceLock<Result<Names, Text>>,
    opened: Mutex<BTreeMap<String, Opened>>,
}

struct Place {
    network: Arc<Network>,
    kind: Kind,
    /// `s3://bucket`.
    shown: String,
    /// Objects are below it.
    base: Url,
    /// Where the list is asked for.
    list: Url,
    credential: Option<Credential>,
    /// What every address is signed with, as Azure does; never shown.
    query: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    S3,
    Google,
    Azure,
}

#[derive(Clone)]
enum Opened {
    Text(MemoryFile),
    Weights(Arc<HttpFile>),
}

#[derive(Clone, Default)]
struct Names {
    files: Vec<ListedFile>,
    folders: Vec<String>,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

impl Bucket {
    /// The place at `s3://bucket/path`, `gs://bucket/path` or `az://container/path`, with the keys of the environment if
    /// there are any (`AWS_ACCESS_KEY_ID` and its kin, `GOOGLE_OAUTH_ACCESS_TOKEN`, `AZURE_STORAGE_SAS_TOKEN`) and without
    /// any otherwise, as public buckets are read. `AWS_ENDPOINT_URL` and `AZURE_STORAGE_ENDPOINT` name other servers that
    /// speak the same.
    ///
    /// # Errors
    /// A usage error if the address names no bucket.
    pub fn open(network: &Arc<Network>, address: &str) -> Result<Self> {
        let wrong = || Error::usage(text!("error-source/objects/names-no-bucket-s3", address = format!("{address:?}")));
        let (scheme, rest) = address.split_once("://").ok_or_else(wrong)?;
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._$".contains(&byte);
        let odd = |part: &str| part == "." || part == ".." || part.chars().any(char::is_control);
        if bucket.is_empty() || !bucket.bytes().all(known) || bucket.starts_with('.') || path.split('/').any(odd) {
            return Err(wrong());
        }
        let place = match scheme.to_ascii_lowercase().as_str() {
            "s3" => amazon(network, bucket)?,
            "gs" => google(network, bucket)?,
            "az" => azure(network, bucket)?,
            _ => return Err(wrong()),
        };
        Ok(Self::at(Arc::new(place), path.trim_matches('/')))
    }

    fn at(place: Arc<Place>, path: &str) -> Self {
        let (folder, last) = path.rsplit_once('/').unwrap_or(("", path));
        let only = is_file(last).then(|| last.to_owned());
        let folder = if only.is_some() { folder } else { path };
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        Self { place, prefix, only, names: OnceLock::new(), opened: Mutex::default() }
    }

    /// What the store lists here, asked for once.
    fn names(&self) -> Result<&Names> {
        let names = self.names.get_or_init(|| self.place.names(&self.prefix).map_err(|error| error.text()));
        names.as_ref().map_err(|error| Error::input(error.clone()))
    }
}

/// S3, or what speaks its protocol.
fn amazon(network: &Arc<Network>, bucket: &str) -> Result<Place> {
    let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    let signer = Signer::from_environment(region.as_deref().unwrap_or("us-east-1"));
    let given = variable("AWS_ENDPOINT_URL_S3").or_else(|| variable("AWS_ENDPOINT_URL"));
    let base = match (&given, &region) {
        (Some(endpoint), _) => format!("{}/{bucket}/", endpoint.trim_end_matches('/')),
        // A certificate for the bucket's own name is for names without dots.
        (None, Some(region)) if bucket.contains('.') => format!("https://s3.{region}.amazonaws.com/{bucket}/"),
        (None, None) if bucket.contains('.') => format!("https://s3.amazonaws.com/{bucket}/"),
        (None, Some(region)) => format!("https://{bucket}.s3.{region}.amazonaws.com/"),
        (None, None) => format!("https://{bucket}.s3.amazonaws.com/"),
    };
    let base = parse(&base).context(|| "AWS_ENDPOINT_URL".to_owned())?;
    Ok(Place {
        network: Arc::clone(network),
        kind: Kind::S3,
        shown: format!("s3://{bucket}"),
        list: base.clone(),
        credential: signer.map(|signer| Credential::signed(signer, &base)),
        base,
        query: None,
    })
}

fn google(network: &Arc<Network>, bucket: &str) -> Result<Place> {
    let endpoint = variable("STORAGE_EMULATOR_HOST").unwrap_or_else(|| "https://storage.googleapis.com".to_owned());
    let endpoint = endpoint.trim_end_matches('/');
    let list = parse(&format!("{endpoint}/storage/v1/b/{bucket}/o")).context(|| "STORAGE_EMULATOR_HOST".to_owned())?;
    let base = parse(&format!("{endpoint}/{bucket}/"))?;
    let token = variable("GOOGLE_OAUTH_ACCESS_TOKEN");
    Ok(Place {
        network: Arc::clone(network),
        kind: Kind::Google,
        shown: format!("gs://{bucket}"),
        credential: token.and_then(|token| Credential::bearer(&token, &base)),
        base,
        list,
        query: None,
    })
}

fn azure(network: &Arc<Network>, bucket: &str) -> Result<Place> {
    let endpoint = match (variable("AZURE_STORAGE_ENDPOINT"), variable("AZURE_STORAGE_ACCOUNT_NAME")) {
        (Some(endpoint), _) => endpoint,
        (None, Some(account)) => format!("https://{account}.blob.core.windows.net"),
        (None, None) => {
            return Err(Error::usage(text!("error-source/objects/az-needs-account-container", bucket)));
        }
    };
    let base = format!("{}/{bucket}/", endpoint.trim_end_matches('/'));
    let base = parse(&base).context(|| "AZURE_STORAGE_ENDPOINT".to_owned())?;
    let list = parse(base.as_str().trim_end_matches('/'))?;
    let query = variable("AZURE_STORAGE_SAS_TOKEN").map(|query| query.trim_start_matches('?').to_owned());
    if let Some(query) = &query {
        scratchproof_error::secrets::keep(query);
    }
    let shown = format!("az://{bucket}");
    Ok(Place { network: Arc::clone(network), kind: Kind::Azure, shown, base, list, credential: None, query })
}

impl Place {
    /// An address with what it is signed with.
    fn with(&self, url: &Url, pairs: &[(&str, &str)]) -> Url {
        let mut url = url.clone();
        url.set_query(self.query.as_deref());
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        url
    }

    fn names(&self, prefix: &str) -> Result<Names> {
        let mut all = Names::default();
        let mut mark = String::new();
        let shown = format!("{}/{prefix}", self.shown);
        for _ in 0..PAGES {
            let mut pairs = match self.kind {
                Kind::S3 => vec![("list-type", "2")],
                Kind::Google => Vec::new(),
                Kind::Azure => vec![("restype", "container"), ("comp", "list")],
            };
            pairs.extend([("delimiter", "/"), ("prefix", prefix)]);
            if !mark.is_empty() {
                let name = match self.kind {
                    Kind::S3 => "continuation-token",
                    Kind::Google => "pageToken",
                    Kind::Azure => "marker",
                };
                pairs.push((name, mark.as_str()));
            }
            let url = self.with(&self.list, &pairs);
            let ask = Ask::whole(&url, self.credential.as_ref(), &shown);
            let answer =
                self.network.whole(&ask, LONGEST)?.map_err(|status| refusal(&shown, status, Some(self.hint())))?;
            let (page, next) = match self.kind {
                Kind::Google => google_page(&answer, &shown)?,
                _ => xml_page(&String::from_utf8_lossy(&answer), self.kind),
            };
            // What does not begin as was asked is not of this folder.
            let own = |name: &str| name.strip_prefix(prefix).map(str::to_owned);
            let files = page.files.into_iter().filter_map(|file| Some(ListedFile { path: own(&file.path)?, ..file }));
            all.files.extend(files.filter(|file| plain(&file.path).is_ok()));
            let folders =
                page.folders.iter().filter_map(|name| own(name)).map(|name| name.trim_end_matches('/').to_owned());
            all.folders.extend(folders.filter(|name| plain(name).is_ok()));
            match next {
                Some(next) if next != mark => mark = next,
                _ => {
                    all.files.sort_by(|a, b| a.path.cmp(&b.path));
                    all.folders.sort();
                    all.folders.dedup();
                    return Ok(all);
                }
            }
        }
        Err(Error::input(text!("error-source/objects/list-does-not-end", shown)))
    }

    fn hint(&self) -> Text {
        match self.kind {
            Kind::S3 if self.credential.is_some() => {
                text!("error-source/objects/s3-keys")
            }
            Kind::S3 => {
                text!("error-source/objects/s3-none")
            }
            Kind::Google if self.credential.is_some() => text!("error-source/objects/google-token"),
            Kind::Google => text!("error-source/objects/google-none"),
            Kind::Azure if self.query.is_some() => text!("error-source/objects/azure-signature"),
            Kind::Azure => text!("error-source/objects/azure-none"),
        }
    }
}

/// A page of a list in JSON.
fn google_page(answer: &[u8], shown: &str) -> Result<(Names, Option<String>)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Page {
        #[serde(default)]
        items: Vec<Item>,
        #[serde(default)]
        prefixes: Vec<String>,
        next_page_token: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Item {
        name: String,
        size: Option<String>,
        md5_hash: Option<String>,
        updated: Option<String>,
    }
    let page: Page = serde_json::from_slice(answer).map_err(|error| {
        Error::input(text!("error-source/objects/answer-not-what-must", shown, error = error.to_string()))
    })?;
    let file = |item: Item| ListedFile {
        path: item.name,
        bytes: item.size.and_then(|size| size.parse().ok()).unwrap_or(0),
        sha256: None,
        mark: item.md5_hash,
        at: item.updated,
    };
    let files = page.items.into_iter().map(file).collect();
    Ok((Names { files, folders: page.prefixes }, page.next_page_token.filter(|token| !token.is_empty())))
}

/// A page of a list in XML.
fn xml_page(text: &str, kind: Kind) -> (Names, Option<String>) {
    let (item, name, length, mark, folder, inner, next) = match kind {
        Kind::Azure => ("Blob", "Name", "Content-Length", "Content-MD5", "BlobPrefix", "Name", "NextMarker"),
        _ => ("Contents", "Key", "Size", "ETag", "CommonPrefixes", "Prefix", "NextContinuationToken"),
    };
    let value = |text: &str, name: &str| elements(text, name).next().map(unescaped).filter(|value| !value.is_empty());
    let files = elements(text, item).filter_map(|part| {
        // Azure writes times as mail does, S3 as ISO 8601.
        let at = value(part, "Last-Modified").or_else(|| value(part, "LastModified"));
        let mailed = at.as_deref().and_then(|at| DateTime::parse_from_rfc2822(at).ok());
        Some(ListedFile {
            path: value(part, name)?,
            bytes: value(part, length).and_then(|bytes| bytes.parse().ok()).unwrap_or(0),
            sha256: None,
            mark: value(part, mark),
            at: mailed.map(|at| at.to_rfc3339()).or(at),
        })
    });
    let files = files.collect();
    let folders = elements(text, folder).filter_map(|part| value(part, inner)).collect();
    (Names { files, folders }, value(text, next))
}

/// What stands in the elements of a name, which hold none of the same name.
fn elements<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&open)?;
        let (inside, after) = after.split_once(&close)?;
        rest = after;
        Some(inside)
    })
}

/// The text behind entities.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let Some((entity, after)) = after.split_once(';') else {
            out.push('&');
            rest = after;
            continue;
        };
        let number = entity.strip_prefix('#').and_then(|number| match number.strip_prefix(['x', 'X']) {
            Some(number) => u32::from_str_radix(number, 16).ok(),
            None => number.parse().ok(),
        });
        match (entity, number.and_then(char::from_u32)) {
            ("amp", _) => out.push('&'),
            ("lt", _) => out.push('<'),
            ("gt", _) => out.push('>'),
            ("quot", _) => out.push('"'),
            ("apos", _) => out.push('\''),
            (_, Some(char)) => out.push(char),
            (other, None) => out.extend(["&", other, ";"]),
        }
        rest = after;
    }
    out + rest
}

impl Store for Bucket {
    fn uri(&self) -> String {
        let path = format!("{}{}", self.prefix, self.only.as_deref().unwrap_or_default());
        format!("{}/{}", self.place.shown, path).trim_end_matches('/').to_owned()
    }

    fn list(&self) -> Result<Vec<String>> {
        if let Some(only) = &self.only {
            // A key that opens one file need not list the folder.
            let config = self.names().is_ok_and(|names| names.files.iter().any(|file| file.path == "config.json"));
            return Ok(config.then(|| "config.json".to_owned()).into_iter().chain([only.clone()]).collect());
        }
        let names = self.names()?;
        if names.files.is_empty() && names.folders.is_empty() {
            return Err(Error::input(text!("error-source/objects/nothing", uri = self.uri())));
        }
        Ok(names.files.iter().map(|file| file.path.clone()).collect())
    }

    fn listed(&self) -> Result<Vec<ListedFile>> {
        let own = |file: &&ListedFile| self.only.as_ref().is_none_or(|only| *only == file.path);
        Ok(self.names()?.files.iter().filter(own).cloned().collect())
    }

    fn folders(&self) -> Result<Vec<String>> {
        if self.only.is_some() { Ok(Vec::new()) } else { Ok(self.names()?.folders.clone()) }
    }

    fn enter(&self, name: &str) -> Result<Box<dyn Store>> {
        plain(name)?;
        Ok(Box::new(Self {
            place: Arc::clone(&self.place),
            prefix: format!("{}{name}/", self.prefix),
            only: None,
            names: OnceLock::new(),
            opened: Mutex::default(),
        }))
    }

    fn open(&self, name: &str) -> Result<Box<dyn Blob>> {
        plain(name)?;
        if self.only.as_deref().is_some_and(|only| name != only && name != "config.json") {
            return Err(Error::input(text!(
                "error-source/directory/not-part",
                name = format!("{name:?}"),
                uri = self.uri()
            )));
        }
        let known = lock(&self.opened).get(name).cloned();
        let opened = match known {
            Some(opened) => opened,
            None => self.fetch(name)?,
        };
        lock(&self.opened).insert(name.to_owned(), opened.clone());
        Ok(match opened {
            Opened::Text(file) => Box::new(file),
            Opened::Weights(file) => Box::new(file),
        })
    }

    fn only(&self) -> Option<&str> {
        self.only.as_deref()
    }
}

impl Bucket {
    fn fetch(&self, name: &str) -> Result<Opened> {
        let place = &self.place;
        let mut url = place.base.clone();
        let parts = self.prefix.split('/').filter(|part| !part.is_empty()).chain([name]);
        url.path_segments_mut()
            .map_err(|()| Error::usage(text!("error-source/objects/server-no-path")))?
            .pop_if_empty()
            .extend(parts);
        let (url, shown) = (place.with(&url, &[]), format!("{}/{}{name}", place.shown, self.prefix));
        let credential = place.credential.as_ref();
        let refused = |status| refusal(&shown, status, Some(place.hint()));
        if is_text(name) {
            let text = place.network.whole(&Ask::whole(&url, credential, &shown), LARGEST_TEXT)?.map_err(refused)?;
            return Ok(Opened::Text(MemoryFile::new(shown, text)));
        }
        Ok(Opened::Weights(Arc::new(HttpFile::find(&place.network, &url, credential, &shown)?.map_err(refused)?)))
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({})", self.uri())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_the_three() {
        let page = "<?xml version=\"1.0\"?><ListBucketResult><Name>b</Name><Prefix>run/</Prefix>\
            <NextContinuationToken>t&amp;1</NextContinuationToken>\
            <Contents><Key>run/a&amp;b.pt</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>\
            <ETag>&quot;e&quot;</ETag><Size>12</Size></Contents>\
            <CommonPrefixes><Prefix>run/step10/</Prefix></CommonPrefixes></ListBucketResult>";
        let (names, next) = xml_page(page, Kind::S3);
        assert_eq!((names.files[0].path.as_str(), names.files[0].bytes), ("run/a&b.pt", 12));
        assert_eq!((names.files[0].mark.as_deref(), next.as_deref()), (Some("\"e\""), Some("t&1")));
        assert_eq!(names.folders, ["run/step10/"]);
        let page = "<EnumerationResults><Blobs><Blob><Name>run/x.pt</Name><Properties><Last-Modified>Fri, 02 Jan 2026 \
            03:04:05 GMT</Last-Modified><Content-Length>7</Content-Length><Content-MD5>m==</Content-MD5></Properties>\
            </Blob><BlobPrefix><Name>run/step1/</Name></BlobPrefix></Blobs><NextMarker /></EnumerationResults>";
        let (names, next) = xml_page(page, Kind::Azure);
        let file = &names.files[0];
        assert_eq!((file.path.as_str(), file.bytes, file.mark.as_deref()), ("run/x.pt", 7, Some("m==")));
        assert_eq!((file.at.as_deref(), next), (Some("2026-01-02T03:04:05+00:00"), None));
        assert_eq!(names.folders, ["run/step1/"]);
        let page =
            br#"{"items":[{"name":"run/y.pt","size":"9","md5Hash":"h="}],"prefixes":["run/s/"],"nextPageToken":"p"}"#;
        let (names, next) = google_page(page, "gs://b").unwrap();
        assert_eq!((names.files[0].bytes, next.as_deref()), (9, Some("p")));
        for odd in ["<Contents>", "<Contents><Key></Contents>", "&#x110000;&#;&;&x", "", "<a></a>"] {
            let _ = (xml_page(odd, Kind::S3), unescaped(odd));
        }
        assert_eq!(unescaped("&#65;&#x42;&lt;&unknown;&"), "AB<&unknown;&");
    }
}
