//! Requests: retried where that can help, redirected without credentials, bounded in time and in bytes.

use std::fmt;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use reqwest::blocking::{Client, Response};
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE,
};
use reqwest::{StatusCode, Url};

use super::cache::{BlockCache, lock};
use super::signer::Signer;
use scratchproof_error::{Error, Result};
use scratchproof_texts::{Text, text};

/// How patient requests are, and how much is read ahead.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Tries of one request, the first included.
    pub tries: u32,
    /// Pause before the second try; every further one is twice as long.
    pub pause: Duration,
    /// The longest pause, whatever the server asks for in `Retry-After`.
    pub longest_pause: Duration,
    /// Time for a connection to be made.
    pub connect: Duration,
    /// Time for an answer to begin, and for more of its body to arrive.
    pub silence: Duration,
    /// Time for a whole body.
    pub body: Duration,
    /// Bytes of a block that is read ahead.
    pub block: usize,
    /// Blocks kept, over all files.
    pub blocks: usize,
    /// Folder in which every block is kept that was fetched.
    pub keep: Option<std::path::PathBuf>,
}

impl Default for Limits {
    /// Four tries; blocks of 4 MiB, 16 of them a thread (every thread reads a tile of each model), at most 1 GiB.
    fn default() -> Self {
        Self {
            tries: 4,
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            body: Duration::from_mins(5),
            block: 4 << 20,
            blocks: (16 * rayon::current_num_threads()).clamp(32, 256),
            keep: super::spool::chosen(),
        }
    }
}

/// Connections and read-ahead blocks that all remote files of a process share.
pub struct Network {
    pub(super) limits: Limits,
    pub(super) cache: BlockCache,
    pub(super) passing: super::spool::Passing,
    clients: [Mutex<Option<Client>>; 2],
    files: AtomicU64,
    fetched: AtomicU64,
}

/// Something to send to one origin and to no other.
#[derive(Clone)]
pub(super) struct Credential {
    origin: Url,
    value: Proof,
}

/// What is sent.
#[derive(Clone)]
enum Proof {
    /// The same for every request.
    Header(HeaderValue),
    /// Made for each.
    Signed(Arc<Signer>),
}

/// One GET, or a POST of JSON.
pub(super) struct Ask<'a> {
    pub(super) url: &'a Url,
    /// First and last byte.
    pub(super) range: Option<(u64, u64)>,
    pub(super) credential: Option<&'a Credential>,
    /// JSON to send. It must be a question that may be asked twice: it is sent again as a GET is, and goes to no other
    /// address, wherever the server may redirect it.
    pub(super) json: Option<&'a [u8]>,
    /// What to call it in messages.
    pub(super) name: &'a str,
}

impl<'a> Ask<'a> {
    /// A GET of everything at an address.
    pub(super) fn whole(url: &'a Url, credential: Option<&'a Credential>, name: &'a str) -> Self {
        Self { url, range: None, credential, json: None, name }
    }
}

/// An answer without its body.
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Where the redirects ended.
    pub(super) url: Url,
    /// What the hub says of the content before it redirects to where that is.
    pub(super) linked: Option<String>,
}

/// A body, and where the next one is.
pub(super) type Page = (Vec<u8>, Option<Url>);

/// How much of a body is wanted.
pub(super) enum Body {
    /// Nothing.
    None,
    /// So many bytes; anything else is an error.
    Exactly(usize),
    /// All of it, if it is no longer than this.
    AtMost(usize),
}

enum Failure {
    Final(Error),
    Passing { why: Text, after: Option<Duration> },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// Bytes a second that a body must have on average once it took longer than a silence may: a modem has seven times that.
const SLOWEST: f64 = 1024.0;

/// Redirects followed for one request.
const REDIRECTS: usize = 8;

impl Network {
    /// Blocks that are held in memory now.
    pub fn blocks_held(&self) -> usize {
        self.cache.held()
    }

    /// Connections of their own.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        let cache = BlockCache::new(limits.blocks);
        let passing = super::spool::Passing::new(limits.block);
        Arc::new(Self {
            limits,
            cache,
            passing,
            clients: [Mutex::new(None), Mutex::new(None)],
            files: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
        })
    }

    /// The connections and blocks that this process shares.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Option<Arc<Network>>> = Mutex::new(None);
        Arc::clone(lock(&SHARED).get_or_insert_with(|| Self::new(Limits::default())))
    }

    /// A number for a file that no other file has.
    pub(super) fn number(&self) -> u64 {
        self.files.fetch_add(1, Ordering::Relaxed)
    }

    /// A whole small file. What is not there is `Err` inside.
    pub(super) fn whole(&self, ask: &Ask, longest: usize) -> Result<Result<Vec<u8>, StatusCode>> {
        let (head, body) = self.get(ask, |head| match head.status {
            StatusCode::OK => Ok(Body::AtMost(longest)),
            _ => Ok(Body::None),
        })?;
        Ok(if head.status == StatusCode::OK { Ok(body) } else { Err(head.status) })
    }

    /// One page of a list, and the address of the next (`Link: <...>; rel="next"`), at the same origin.
    pub(super) fn page(&self, ask: &Ask, longest: usize) -> Result<Result<Page, StatusCode>> {
        let (head, body) = self.get(ask, |head| match head.status {
            StatusCode::OK => Ok(Body::AtMost(longest)),
            _ => Ok(Body::None),
        })?;
        if head.status != StatusCode::OK {
            return Ok(Err(head.status));
        }
        let next = text(&head.headers, "link").as_deref().and_then(next).and_then(|next| ask.url.join(&next).ok());
        Ok(Ok((body, next.filter(|next| same_origin(next, ask.url)))))
    }

    /// Bytes of bodies that were received so far.
    #[must_use]
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// Sends a request, again if that can help. `plan` says from the head of the answer how much of its body is wanted.
    pub(super) fn get(&self, ask: &Ask, plan: impl Fn(&Head) -> Result<Body>) -> Result<(Head, Vec<u8>)> {
        let mut pause = self.limits.pause;
        let mut left = self.limits.tries;
        loop {
            left = left.saturating_sub(1);
            match self.once(ask, &plan) {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing { why, .. }) if left == 0 => {
                    return Err(Error::refused(text!(
                        "error-source/network/after-tries",
                        why,
                        tries = &self.limits.tries
                    ))
                    .context(ask.name));
                }
                Err(Failure::Passing { after, .. }) => {
                    std::thread::sleep(after.unwrap_or(pause).min(self.limits.longest_pause));
                    pause = pause.saturating_mul(2);
                }
            }
        }
    }

    fn once(&self, ask: &Ask, plan: impl Fn(&Head) -> Result<Body>) -> Result<(Head, Vec<u8>), Failure> {
        let mut url = ask.url.clone();
        let mut linked = None;
        for _ in 0..=REDIRECTS {
            let response = self.send(ask, &url)?;
            let (status, headers) = (response.status(), response.headers());
            linked = linked.or_else(|| text(headers, "x-linked-etag"));
            if let (true, Some(to)) = (status.is_redirection(), headers.get(LOCATION)) {
                let to = to.to_str().ok().and_then(|to| url.join(to).ok());
                let to = to.ok_or_else(|| {
                    Error::input(text!("error-source/network/server-redirects-no-address", name = &ask.name))
                })?;
                if ask.json.is_some() {
                    return Err(Error::input(text!(
                        "error-source/network/server-redirects",
                        name = &ask.name,
                        to = shown(&to)
                    ))
                    .into());
                }
                allowed(&to, Some(&url))
                    .map_err(|error| error.context(text!("error-source/network/redirected", name = &ask.name)))?;
                url = to;
                continue;
            }
            if passing(status) {
                let why = match status.as_u16() {
                    429 => text!("error-source/network/pause", status = status.to_string()),
                    _ => text!("error-source/network/answers", status = status.to_string()),
                };
                return Err(Failure::Passing { why, after: after(headers) });
            }
            let encoding = text(headers, CONTENT_ENCODING.as_str()).filter(|encoding| encoding != "identity");
            let head = Head { status, headers: headers.clone(), url, linked };
            let wanted = plan(&head)?;
            if let (Some(encoding), Body::Exactly(_) | Body::AtMost(_)) = (encoding, &wanted) {
                let why = text!("error-source/network/encoded", encoding = format!("{encoding:?}"));
                return Err(Error::input(why).context(ask.name).into());
            }
            let body = self.body(ask, response, &wanted)?;
            return Ok((head, body));
        }
        Err(Error::input(text!("error-source/network/more-redirects", name = &ask.name, redirects = REDIRECTS)).into())
    }

    fn send(&self, ask: &Ask, url: &Url) -> Result<Response, Failure> {
        let client = self.client(is_loopback(url))?;
        let request = match ask.json {
            None => client.get(url.clone()),
            Some(json) => client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(json.to_vec()),
        };
        let mut request = request.header(ACCEPT_ENCODING, "identity");
        if let Some((first, last)) = ask.range {
            request = request.header(RANGE, format!("bytes={first}-{last}"));
        }
        // Looked at for every hop, so that a redirect takes a token nowhere.
        if let Some(credential) = ask.credential.filter(|credential| same_origin(&credential.origin, url)) {
            match &credential.value {
                Proof::Header(value) => request = request.header(AUTHORIZATION, value.clone()),
                Proof::Signed(signer) => {
                    for (name, value) in signer.headers(url, super::now::now()) {
                        request = request.header(name, value);
                    }
                }
            }
        }
        request.send().map_err(|error| Failure::Passing { why: describe(error), after: None })
    }

    fn body(&self, ask: &Ask, mut response: Response, wanted: &Body) -> Result<Vec<u8>, Failure> {
        let said = response.content_length();
        let (length, exact) = match *wanted {
            Body::None => return Ok(Vec::new()),
            Body::Exactly(length) => (length, true),
            Body::AtMost(length) => (length, false),
        };
        if said.is_some_and(|said| if exact { said != length as u64 } else { said > length as u64 }) {
            let said = said.unwrap_or_default();
            let why = text!("error-source/network/other-length", said, exact, length);
            return Err(Error::input(why).context(ask.name).into());
        }
        let start = Instant::now();
        let mut body = vec![0; said.and_then(|said| usize::try_from(said).ok()).unwrap_or(length.min(1 << 16))];
        let mut filled = 0;
        loop {
            if filled == body.len() {
                // One byte more than there may be shows that there is more.
                body.resize((2 * filled).clamp(filled + 1, length.max(filled) + 1), 0);
            }
            let read = response.read(&mut body[filled..]).map_err(|error| Failure::Passing {
                why: text!("error-source/network/broke-after", filled, cause = innermost(&error)),
                after: None,
            })?;
            filled += read;
            self.fetched.fetch_add(read as u64, Ordering::Relaxed);
            if read == 0 {
                break;
            }
            if filled > length {
                return Err(Error::input(text!(
                    "error-source/network/server-sends-more-bytes",
                    name = &ask.name,
                    length
                ))
                .into());
            }
            let taken = start.elapsed();
            let dripping = taken > self.limits.silence && (filled as f64) < SLOWEST * taken.as_secs_f64();
            if dripping || taken > self.limits.body {
                let why = text!("error-source/network/too-slow", filled, seconds = taken.as_secs());
                return Err(Failure::Passing { why, after: None });
            }
        }
        if exact && filled < length {
            let why = text!("error-source/network/broke-within", filled, length);
            return Err(Failure::Passing { why, after: None });
        }
        body.truncate(filled);
        Ok(body)
    }

    /// A proxy of the environment is for the world outside, not for this computer.
    fn client(&self, loopback: bool) -> Result<Client> {
        let mut place = lock(&self.clients[usize::from(loopback)]);
        if let Some(client) = &*place {
            return Ok(client.clone());
        }
        provide();
        let builder = Client::builder()
            .user_agent(concat!("scratchproof/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.limits.connect)
            .timeout(self.limits.silence);
        let builder = if loopback { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|error| {
            Error::refused(describe(error)).context(text!("error-source/network/starting-network-client"))
        })?;
        Ok(place.insert(client).clone())
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Credential {
    /// A bearer token for one origin.
    pub(super) fn bearer(token: &str, origin: &Url) -> Option<Self> {
        scratchproof_error::secrets::keep(token);
        Self::of(&format!("Bearer {token}"), origin)
    }

    /// A user and a password for one origin.
    pub(super) fn basic(user: &str, password: &str, origin: &Url) -> Option<Self> {
        scratchproof_error::secrets::keep(password);
        Self::of(&format!("Basic {}", Base64::encode_string(format!("{user}:{password}").as_bytes())), origin)
    }

    fn of(value: &str, origin: &Url) -> Option<Self> {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some(Self { origin: origin.clone(), value: Proof::Header(value) })
    }

    /// Signatures of requests to one origin.
    pub(super) fn signed(signer: Signer, origin: &Url) -> Self {
        Self { origin: origin.clone(), value: Proof::Signed(Arc::new(signer)) }
    }
}

/// Parses an address a user wrote.
///
/// # Errors
/// A usage error that does not repeat what may be a password.
pub(super) fn parse(text: &str) -> Result<Url> {
    let url = Url::parse(text)
        .map_err(|error| Error::usage(text!("error-source/network/not-address", error = error.to_string())))?;
    allowed(&url, None)?;
    Ok(url)
}

/// Only encrypted connections, except to this computer, and none with a password in the address.
pub(super) fn allowed(url: &Url, from: Option<&Url>) -> Result<()> {
    let refused = |why: Text| {
        // A server's words are no usage.
        let error = if from.is_some() { Error::input(why) } else { Error::usage(why) };
        Err(error.context(shown(url)))
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refused(text!("error-source/network/password"));
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(url) && from.is_none_or(is_loopback) => Ok(()),
        "http" => refused(text!("error-source/network/plain-http")),
        _ => refused(text!("error-source/network/only-https")),
    }
}

/// An address without what may be secret in it: no user, no query.
pub(super) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn same_origin(a: &Url, b: &Url) -> bool {
    (a.scheme(), a.host_str(), a.port_or_known_default()) == (b.scheme(), b.host_str(), b.port_or_known_default())
}

/// Answers that the next try may not get.
fn passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// `Retry-After`: seconds, or a date.
fn after(headers: &HeaderMap) -> Option<Duration> {
    let text = text(headers, "retry-after")?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = chrono::DateTime::parse_from_rfc2822(&text).ok()?;
    (date.to_utc() - super::now::now()).to_std().ok()
}

/// The address that a `Link` header calls the next.
fn next(link: &str) -> Option<String> {
    let part = link.split(',').find(|part| part.contains("rel=\"next\"") || part.contains("rel=next"))?;
    let (_, rest) = part.split_once('<')?;
    rest.split_once('>').map(|(address, _)| address.to_owned())
}

/// A header as text.
pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// What went wrong, without the address: its query may be a signature.
pub(super) fn describe(error: reqwest::Error) -> Text {
    let error = error.without_url();
    let cause = innermost(&error);
    if error.is_timeout() {
        text!("error-source/network/no-answer", cause)
    } else if error.is_connect() {
        text!("error-source/network/no-connection", cause)
    } else {
        text!("error-source/network/broke", cause)
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Chooses how TLS is computed, once a process; a program that uses this library may have chosen before.
pub(super) fn provide() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// What an answer means for the user.
pub(super) fn refusal(name: &str, status: StatusCode, hint: Option<Text>) -> Error {
    let (number, status) = (status.as_u16(), status.to_string());
    match number {
        404 | 410 => Error::input(text!("error-source/network/no-server-answers", name, status)),
        401 | 403 => Error::refused(text!("error-source/network/not-allowed", status, hint)).context(name),
        _ => Error::refused(text!("error-source/network/answers", status)).context(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_addresses_and_nothing_secret_shown() {
        for (text, word) in [
            ("http://example.org/x", "this computer only"),
            ("https://me:secret@example.org/x?sig=secret", "password"),
            ("ftp://example.org/x", "only https"),
            ("https://", "not an address"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(word), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        for text in ["http://127.0.0.1:9/x", "http://[::1]/x", "http://localhost/x", "https://example.org/x"] {
            assert!(parse(text).is_ok(), "{text}");
        }
        let url = |text: &str| Url::parse(text).unwrap();
        assert_eq!(shown(&url("https://h.org:8/a/b?sig=secret#x")), "https://h.org:8/a/b");
        let inward = allowed(&url("http://127.0.0.1/x"), Some(&url("https://example.org/")));
        assert!(inward.unwrap_err().is_input(), "a server may not send the auditor to the auditor's own computer");
        assert!(!same_origin(&url("https://h.org/"), &url("https://h.org:444/")));
        assert!(same_origin(&url("https://h.org/a"), &url("https://h.org:443/b")));
    }

    #[test]
    fn a_server_that_asks_for_time_gets_some() {
        let mut headers = HeaderMap::new();
        assert_eq!(after(&headers), None);
        headers.insert("retry-after", HeaderValue::from_static("7"));
        assert_eq!(after(&headers), Some(Duration::from_secs(7)));
        headers.insert("retry-after", HeaderValue::from_static("Wed, 01 Jan 2200 00:00:00 GMT"));
        assert!(after(&headers).unwrap() > Duration::from_secs(1 << 30));
        headers.insert("retry-after", HeaderValue::from_static("soon"));
        assert_eq!(after(&headers), None);
    }
}
