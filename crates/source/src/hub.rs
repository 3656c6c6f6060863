//! A model of a Hugging Face hub, pinned to one commit.

use std::fmt;
use std::sync::Arc;

use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::directory::plain;
use super::network::{Ask, Credential, Network, parse, refusal};
use super::web::{LARGEST_TEXT, is_text};
use super::{Blob, HttpFile, MemoryFile, Store};
use scratchproof_error::{Context, Error, Result};

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
            credential.ok_or_else(|| Error::usage("HF_TOKEN holds characters that no token has"))
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
        segments.map_err(|()| Error::usage("HF_ENDPOINT has no path"))?.pop_if_empty().extend(parts);
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
        network.whole(&ask, longest)?.map_err(|status| refusal(shown, status, self.hint()))
    }

    pub(super) fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    pub(super) fn hint(&self) -> &'static str {
        match self.credential {
            Some(_) => ": the token in HF_TOKEN may not read it, or it does not exist",
            None => ": it does not exist, or it is private or gated and needs a token in HF_TOKEN",
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
        let answer: Answer = serde_json::from_slice(&self.one(network, &url, &shown, LARGEST_TEXT)?)
            .map_err(|error| Error::input(format!("{shown}: the hub's answer is not what it must be: {error}")))?;
        if is_commit(&answer.sha) {
            Ok(answer.sha)
        } else {
            Err(Error::input(format!("{shown}: the hub names no commit")))
        }
    }
}

impl HubModel {
    /// The model that `hf://org/name[@revision]` names, at the commit that the revision (`main` if there is none) is
    /// now.
    ///
    /// # Errors
    /// A usage error if the address is none; otherwise if the hub cannot be reached or has no such model for this token.
    pub fn open(network: &Arc<Network>, hub: Hub, address: &str) -> Result<Self> {
        let (model, revision, folder) = place(address)?;
        let (org, name) = model.split_once('/').unwrap_or_default();
        let url = hub.url(&["api", "models", org, name, "revision", revision])?;
        let shown = format!("hf://{model}@{revision}");
        let ask = Ask::whole(&url, hub.credential.as_ref(), &shown);
        let answer = network.whole(&ask, LARGEST_TEXT)?;
        let answer = answer.map_err(|status| match status {
            StatusCode::NOT_FOUND => Error::input(format!(
                "there is no {shown} (the hub answers {status}){}",
                if hub.credential.is_none() { "; if it is private, set HF_TOKEN" } else { "" }
            )),
            _ => refusal(&shown, status, hub.hint()),
        })?;
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|error| Error::input(format!("{shown}: the hub's answer is not what it must be: {error}")))?;
        if !is_commit(&answer.sha) {
            return Err(Error::input(format!("{shown}: the hub names no commit")));
        }
        if is_commit(revision) && revision != answer.sha {
            return Err(Error::input(format!("{shown}: the hub answers with another commit, {}", answer.sha)));
        }
        // Files of folders (`original/...`) are other things, as on this computer.
        let names = answer.siblings.into_iter().filter_map(|sibling| match folder {
            "" => Some(sibling.rfilename),
            folder => sibling.rfilename.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned),
        });
        let mut files: Vec<String> = names.filter(|name| plain(name).is_ok()).collect();
        if files.is_empty() && !folder.is_empty() {
            return Err(Error::input(format!("{shown}: there is no folder {folder:?} in it")));
        }
        files.sort();
        files.dedup();
        Ok(Self {
            network: Arc::clone(network),
            hub,
            model: model.to_owned(),
            commit: answer.sha,
            folder: folder.to_owned(),
            files,
        })
    }
}

impl Store for HubModel {
    fn uri(&self) -> String {
        match self.folder.as_str() {
            "" => format!("hf://{}@{}", self.model, self.commit),
            folder => format!("hf://{}/{folder}@{}", self.model, self.commit),
        }
    }

    fn list(&self) -> Result<Vec<String>> {
        Ok(self.files.clone())
    }

    fn open(&self, name: &str) -> Result<Box<dyn Blob>> {
        plain(name)?;
        let shown = format!("{}/{name}", self.uri());
        if self.files.binary_search_by(|file| file.as_str().cmp(name)).is_err() {
            return Err(Error::input(format!("there is no {shown:?}")));
        }
        let (org, model) = self.model.split_once('/').unwrap_or_default();
        let folders = self.folder.split('/').filter(|part| !part.is_empty());
        let parts: Vec<&str> =
            [org, model, "resolve", &self.commit].into_iter().chain(folders).chain(std::iter::once(name)).collect();
        let url = self.hub.url(&parts)?;
        let credential = self.hub.credential.as_ref();
        let refused = |status| refusal(&shown, status, self.hub.hint());
        if is_text(name) {
            let ask = Ask::whole(&url, credential, &shown);
            let text = self.network.whole(&ask, LARGEST_TEXT)?.map_err(refused)?;
            return Ok(Box::new(MemoryFile::new(shown, text)));
        }
        Ok(Box::new(HttpFile::find(&self.network, &url, credential, &shown)?.map_err(refused)?))
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
        return Err(Error::usage(format!("{address:?} names no folder of a repository")));
    }
    let whole = format!("hf://{}{}", &path[..end], &rest[path.len()..]);
    split(&whole)?;
    let revision = rest.split_once('@').map_or("main", |(_, revision)| revision);
    Ok((&path[..end], revision, folder))
}

/// `hf://org/name[@revision]` -> `org/name` and the revision.
pub(super) fn split(address: &str) -> Result<(&str, &str)> {
    let wrong =
        |why: &str| Err(Error::usage(format!("{address:?} is not hf://org/name or hf://org/name@revision: {why}")));
    let rest = address.get(5..).unwrap_or_default();
    let (model, revision) = rest.split_once('@').unwrap_or((rest, "main"));
    let Some((org, name)) = model.split_once('/') else {
        return wrong("it needs the organisation and the name of the model");
    };
    for part in [org, name] {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if part.is_empty() || part.len() > 96 || part == "." || part == ".." || !part.bytes().all(known) {
            return wrong("names are of letters, digits, `-`, `_` and `.`");
        }
    }
    if revision.is_empty() || revision.len() > 255 || matches!(revision, "." | "..") {
        return wrong("the revision is a branch, a tag or a commit");
    }
    if revision.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return wrong("the revision holds a space");
    }
    Ok((model, revision))
}

fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
