//! A model of a Hugging Face hub, pinned to one commit.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::cache::lock;
use super::directory::plain;
use super::network::{Ask, Credential, Network, parse, refusal};
use super::web::{LARGEST_TEXT, is_text};
use super::{Blob, HttpFile, ListedFile, LocalFile, MemoryFile, Store};
use scratchproof_error::{Context, Error, Result};
use scratchproof_texts::{Text, text};

/// Pages of commits that are asked for.
pub const PAGES: usize = 40;

/// Where a hub is, and who asks.
#[derive(Clone)]
pub struct Hub {
    endpoint: Url,
    credential: Option<Credential>,
}

/// What the hub says of a model at a revision.
#[derive(Deserialize)]
struct Answer {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// One model of a hub at one commit.
pub struct HubModel {
    network: Arc<Network>,
    hub: Hub,
    /// `org/name`.
    model: String,
    commit: String,
    /// Folder of the repository; empty for its top.
    folder: String,
    files: Vec<String>,
    /// The one file that the address names, if it names one.
    only: Option<String>,
    /// Every file of the repository.
    all: Arc<[String]>,
    /// What was opened, so that nothing is fetched twice.
    opened: Mutex<BTreeMap<String, Opened>>,
}

#[derive(Clone)]
enum Opened {
    Text(MemoryFile),
    Weights(Arc<HttpFile>),
    /// In the hub's cache of this computer.
    Cached(Arc<LocalFile>),
}

impl Hub {
    /// A hub at an address. The token is sent to that origin and to no other.
    ///
    /// # Errors
    /// A usage error if the address may not be read, or the token cannot be one.
    pub fn new(endpoint: &str, token: Option<&str>) -> Result<Self> {
        let endpoint = parse(endpoint).context(|| "HF_ENDPOINT".to_owned())?;
        let bearer = |token: &str| {
            let credential = Credential::bearer(token, &endpoint);
            credential.ok_or_else(|| Error::usage(text!("error-source/hub/hf-token-holds-characters")))
        };
        let credential = token.map(str::trim).filter(|token| !token.is_empty()).map(bearer).transpose()?;
        Ok(Self { endpoint, credential })
    }

    /// The hub of the environment: `HF_ENDPOINT`, otherwise `https://huggingface.co`, with `HF_TOKEN` if that is set.
    ///
    /// # Errors
    /// As [`Hub::new`].
    pub fn from_environment() -> Result<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.trim().is_empty());
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        Self::new(endpoint.trim(), variable("HF_TOKEN").as_deref())
    }

    pub(super) fn url(&self, parts: &[&str]) -> Result<Url> {
        let mut url = self.endpoint.clone();
        url.set_query(None);
        let segments = url.path_segments_mut();
        segments
            .map_err(|()| Error::usage(text!("error-source/hub/hf-endpoint-no-path")))?
            .pop_if_empty()
            .extend(parts);
        Ok(url)
    }

    /// What the hub says of a model (when it was created and changed, the digests of its files), its commits page by page
    /// (the newest [`PAGES`] pages), and its files with the commit that each is from, if it shows them.
    ///
    /// # Errors
    /// A usage error if the address is none; otherwise if the hub cannot be reached or has no such model for this token.
    pub fn answers(&self, network: &Network, address: &str, longest: usize) -> Result<Vec<Vec<u8>>> {
        let (model, revision) = split(address)?;
        let (org, name) = model.split_once('/').unwrap_or_default();
        let shown = format!("hf://{model}@{revision}");
        let commits = self.url(&["api", "models", org, name, "commits", revision])?;
        let mut answers = vec![self.about(network, address, longest)?];
        for page in 0..PAGES {
            let mut url = commits.clone();
            url.set_query((page > 0).then(|| format!("p={page}")).as_deref());
            let list = self.one(network, &url, &shown, longest)?;
            // Behind the last page is an empty one; a hub without pages gives the same one again.
            if page > 0 && (list.trim_ascii() == b"[]" || answers.contains(&list)) {
                break;
            }
            answers.push(list);
        }
        let mut files = self.url(&["api", "models", org, name, "tree", revision])?;
        files.set_query(Some("expand=true&recursive=true"));
        let ask = Ask::whole(&files, self.credential.as_ref(), &shown);
        if let Ok(list) = network.whole(&ask, longest)? {
            answers.push(list);
        }
        Ok(answers)
    }

    /// The first of these answers alone: what the hub says of the model.
    ///
    /// # Errors
    /// As [`Hub::answers`].
    pub fn about(&self, network: &Network, address: &str, longest: usize) -> Result<Vec<u8>> {
        let (model, revision) = split(address)?;
        let (org, name) = model.split_once('/').unwrap_or_default();
        let mut about = self.url(&["api", "models", org, name])?;
        about.set_query(Some("blobs=true"));
        self.one(network, &about, &format!("hf://{model}@{revision}"), longest)
    }

    pub(super) fn one(&self, network: &Network, url: &Url, shown: &str, longest: usize) -> Result<Vec<u8>> {
        let ask = Ask::whole(url, self.credential.as_ref(), shown);
        network.whole(&ask, longest)?.map_err(|status| refusal(shown, status, Some(self.hint())))
    }

    pub(super) fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    pub(super) fn hint(&self) -> Text {
        match self.credential {
            Some(_) => text!("error-source/hub/token-may-not"),
            None => text!("error-source/hub/needs-token"),
        }
    }
}

impl Hub {
    /// The commit that the revision of `hf://org/name[@revision]` is now.
    ///
    /// # Errors
    /// As [`HubModel::open`].
    pub fn commit(&self, network: &Network, address: &str) -> Result<String> {
        let (model, revision) = split(address)?;
        let (org, name) = model.split_once('/').unwrap_or_default();
        let url = self.url(&["api", "models", org, name, "revision", revision])?;
        let shown = format!("hf://{model}@{revision}");
        let answer: Answer =
            serde_json::from_slice(&self.one(network, &url, &shown, LARGEST_TEXT)?).map_err(|error| {
                Error::input(text!("error-source/hub/hub-s-answer-not", shown = &shown, error = error.to_string()))
            })?;
        if is_commit(&answer.sha) {
            Ok(answer.sha)
        } else {
            Err(Error::input(text!("error-source/hub/hub-names-no-commit", shown = &shown)))
        }
    }
}

impl HubModel {
    /// The model that `hf://org/name[@revision]` names, at the commit that the revision (`main` if there is none) is
    /// now.
    ///
    /// # Errors
    /// A usage error if the address is none; otherwise if the hub cannot be reached or has no such model for this token.
    pub fn open(network: &Arc<Network>, hub: &Hub, address: &str) -> Result<Self> {
        let (model, revision, folder) = place(address)?;
        let (org, name) = model.split_once('/').unwrap_or_default();
        let url = hub.url(&["api", "models", org, name, "revision", revision])?;
        let shown = format!("hf://{model}@{revision}");
        let ask = Ask::whole(&url, hub.credential.as_ref(), &shown);
        let answer = network.whole(&ask, LARGEST_TEXT)?;
        let answer = answer.map_err(|status| match status {
            StatusCode::NOT_FOUND => Error::input(text!(
                "error-source/hub/no-hub-answers",
                shown = &shown,
                status = status.to_string(),
                private = hub.credential.is_none()
            )),
            _ => refusal(&shown, status, Some(hub.hint())),
        })?;
        let answer: Answer = serde_json::from_slice(&answer).map_err(|error| {
            Error::input(text!("error-source/hub/hub-s-answer-not", shown = &shown, error = error.to_string()))
        })?;
        if !is_commit(&answer.sha) {
            return Err(Error::input(text!("error-source/hub/hub-names-no-commit", shown = &shown)));
        }
        if is_commit(revision) && revision != answer.sha {
            return Err(Error::input(text!(
                "error-source/hub/hub-answers-another-commit",
                shown = &shown,
                sha = &answer.sha
            )));
        }
        let all: Arc<[String]> = answer.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        // A path may name one file.
        let only = all.iter().any(|name| name == folder).then(|| folder.rsplit_once('/').unwrap_or(("", folder)));
        let folder = only.map_or(folder, |(folder, _)| folder);
        let at = |folder: &str| Self {
            network: Arc::clone(network),
            hub: hub.clone(),
            model: model.to_owned(),
            commit: answer.sha.clone(),
            files: plain_files(&all, folder),
            only: only.map(|(_, name)| name.to_owned()),
            folder: folder.to_owned(),
            all: Arc::clone(&all),
            opened: Mutex::default(),
        };
        let own = at(folder);
        if !folder.is_empty() && own.files.is_empty() && own.folders()?.is_empty() {
            return Err(Error::input(text!(
                "error-source/hub/no-folder",
                shown = &shown,
                folder = format!("{folder:?}")
            )));
        }
        Ok(own)
    }

    /// The names of the repository below this folder.
    fn below(&self) -> impl Iterator<Item = &str> {
        self.all.iter().filter_map(|name| within(name, &self.folder))
    }
}

/// A name as it is inside a folder; in the top folder every name is.
fn within<'a>(name: &'a str, folder: &str) -> Option<&'a str> {
    if folder.is_empty() { Some(name) } else { name.strip_prefix(folder)?.strip_prefix('/') }
}

/// The files of a folder itself. Those of folders in it (`original/...`) are other things, as on this computer.
fn plain_files(all: &[String], folder: &str) -> Vec<String> {
    let names = all.iter().filter_map(|name| within(name, folder)).filter(|name| plain(name).is_ok());
    let mut files: Vec<String> = names.map(str::to_owned).collect();
    files.sort();
    files.dedup();
    files
}

impl Store for HubModel {
    fn uri(&self) -> String {
        let only = self.only.as_deref().unwrap_or_default();
        let path = [self.model.as_str(), &self.folder, only].into_iter().filter(|part| !part.is_empty());
        format!("hf://{}@{}", path.collect::<Vec<_>>().join("/"), self.commit)
    }

    fn list(&self) -> Result<Vec<String>> {
        let own = |name: &&String| self.only.as_ref().is_none_or(|only| only == *name || *name == "config.json");
        Ok(self.files.iter().filter(own).cloned().collect())
    }

    fn only(&self) -> Option<&str> {
        self.only.as_deref()
    }

    fn folders(&self) -> Result<Vec<String>> {
        if self.only.is_some() {
            return Ok(Vec::new());
        }
        let names = self.below().filter_map(|name| name.split_once('/')).map(|(folder, _)| folder);
        let mut folders: Vec<String> = names.filter(|name| plain(name).is_ok()).map(str::to_owned).collect();
        folders.sort();
        folders.dedup();
        Ok(folders)
    }

    fn enter(&self, name: &str) -> Result<Box<dyn Store>> {
        plain(name)?;
        if !self.folders()?.iter().any(|folder| folder == name) {
            return Err(Error::input(text!(
                "error-source/hub/no-folder-2",
                name = format!("{name:?}"),
                uri = self.uri()
            )));
        }
        let folder = if self.folder.is_empty() { name.to_owned() } else { format!("{}/{name}", self.folder) };
        Ok(Box::new(Self {
            network: Arc::clone(&self.network),
            hub: self.hub.clone(),
            model: self.model.clone(),
            commit: self.commit.clone(),
            files: plain_files(&self.all, &folder),
            only: None,
            folder,
            all: Arc::clone(&self.all),
            opened: Mutex::default(),
        }))
    }

    fn listed(&self) -> Result<Vec<ListedFile>> {
        let files = self.hub.files(&self.network, &format!("hf://{}@{}", self.model, self.commit))?;
        let own = files.into_iter().filter_map(|file| {
            let name = within(&file.path, &self.folder).filter(|name| plain(name).is_ok())?.to_owned();
            self.only.as_ref().is_none_or(|only| *only == name).then_some(())?;
            Some(ListedFile { path: name, ..file })
        });
        Ok(own.collect())
    }

    fn open(&self, name: &str) -> Result<Box<dyn Blob>> {
        plain(name)?;
        let known = lock(&self.opened).get(name).cloned();
        let opened = known.map_or_else(|| self.fetch(name), Ok)?;
        lock(&self.opened).insert(name.to_owned(), opened.clone());
        Ok(match opened {
            Opened::Text(file) => Box::new(file),
            Opened::Weights(file) => Box::new(file),
            Opened::Cached(file) => Box::new(file),
        })
    }
}

/// The folder of `org/name` in the cache that `huggingface_hub` keeps on this computer.
pub(super) fn kept(model: &str) -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = variable("HF_HUB_CACHE").or_else(|| Some(variable("HF_HOME")?.join("hub")));
    let root = root.or_else(|| Some(variable("HOME")?.join(".cache/huggingface/hub")))?;
    Some(root.join(format!("models--{}", model.replace('/', "--"))))
}

/// The snapshot of `hf://org/name[/folder][@revision]` in the cache that `huggingface_hub` keeps on this computer
/// (`HF_HUB_CACHE`, `HF_HOME/hub`, else below `~/.cache`), if there is one.
pub(super) fn cached(address: &str) -> Option<PathBuf> {
    let (model, revision, folder) = place(address).ok()?;
    let kept = kept(model)?;
    if revision.split('/').any(|part| plain(part).is_err()) {
        return None;
    }
    let commit = if is_commit(revision) {
        revision.to_owned()
    } else {
        super::plain::text(&kept.join("refs").join(revision), 64).ok()?.trim().to_owned()
    };
    let snapshot = is_commit(&commit).then(|| kept.join("snapshots").join(commit).join(folder))?;
    snapshot.is_dir().then_some(snapshot)
}

impl HubModel {
    fn fetch(&self, name: &str) -> Result<Opened> {
        // What the hub's own program fetched of this very commit is not fetched again.
        let path = [self.model.as_str(), &self.folder].into_iter().filter(|part| !part.is_empty());
        let path = path.collect::<Vec<_>>().join("/");
        let kept = cached(&format!("hf://{path}@{}", self.commit)).map(|snapshot| snapshot.join(name));
        if let Some(file) = kept.filter(|path| path.is_file()).and_then(|path| LocalFile::open(&path).ok()) {
            return Ok(Opened::Cached(Arc::new(file)));
        }
        let folder = [self.model.as_str(), &self.folder].into_iter().filter(|part| !part.is_empty());
        let shown = match &self.only {
            Some(_) => format!("hf://{}/{name}@{}", folder.collect::<Vec<_>>().join("/"), self.commit),
            None => format!("{}/{name}", self.uri()),
        };
        if self.files.binary_search_by(|file| file.as_str().cmp(name)).is_err() {
            return Err(Error::input(text!("error-source/hub/no", shown = format!("{shown:?}"))));
        }
        let (org, model) = self.model.split_once('/').unwrap_or_default();
        let folders = self.folder.split('/').filter(|part| !part.is_empty());
        let parts: Vec<&str> =
            [org, model, "resolve", &self.commit].into_iter().chain(folders).chain(std::iter::once(name)).collect();
        let url = self.hub.url(&parts)?;
        let credential = self.hub.credential.as_ref();
        let refused = |status| refusal(&shown, status, Some(self.hub.hint()));
        if is_text(name) {
            let ask = Ask::whole(&url, credential, &shown);
            let text = self.network.whole(&ask, LARGEST_TEXT)?.map_err(refused)?;
            return Ok(Opened::Text(MemoryFile::new(shown, text)));
        }
        let file = HttpFile::find(&self.network, &url, credential, &shown)?.map_err(refused)?;
        Ok(Opened::Weights(Arc::new(file)))
    }
}

impl fmt::Debug for HubModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubModel({})", self.uri())
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = if self.credential.is_some() { "with" } else { "without" };
        write!(f, "Hub({}, {token} a token)", super::network::shown(&self.endpoint))
    }
}

/// `hf://org/name[/folder][@revision]` -> `org/name`, the revision and the folder.
pub(super) fn place(address: &str) -> Result<(&str, &str, &str)> {
    let rest = address.get(5..).unwrap_or_default();
    let path = rest.split_once('@').map_or(rest, |(path, _)| path);
    let end = path.match_indices('/').nth(1).map_or(path.len(), |(at, _)| at);
    let folder = path[end..].trim_matches('/');
    let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.chars().any(char::is_control);
    if !folder.is_empty() && folder.split('/').any(odd) {
        return Err(Error::usage(text!(
            "error-source/hub/names-no-folder-repository",
            address = format!("{address:?}")
        )));
    }
    let whole = format!("hf://{}{}", &path[..end], &rest[path.len()..]);
    split(&whole)?;
    let revision = rest.split_once('@').map_or("main", |(_, revision)| revision);
    Ok((&path[..end], revision, folder))
}

/// `hf://org/name[@revision]` -> `org/name` and the revision.
pub(super) fn split(address: &str) -> Result<(&str, &str)> {
    let wrong =
        |why: Text| Err(Error::usage(text!("error-source/hub/not-hf-org-name", address = format!("{address:?}"), why)));
    let rest = address.get(5..).unwrap_or_default();
    let (model, revision) = rest.split_once('@').unwrap_or((rest, "main"));
    let Some((org, name)) = model.split_once('/') else {
        return wrong(text!("error-source/hub/needs-organisation-name-model"));
    };
    for part in [org, name] {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if part.is_empty() || part.len() > 96 || part == "." || part == ".." || !part.bytes().all(known) {
            return wrong(text!("error-source/hub/names-letters-digits"));
        }
    }
    if revision.is_empty() || revision.len() > 255 || matches!(revision, "." | "..") {
        return wrong(text!("error-source/hub/revision-branch-tag-or"));
    }
    if revision.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return wrong(text!("error-source/hub/revision-holds-space"));
    }
    Ok((model, revision))
}

pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
