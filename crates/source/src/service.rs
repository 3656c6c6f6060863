//! A service that is asked questions in JSON: one address, one credential, which no other origin gets.

use std::fmt;
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use reqwest::{StatusCode, Url};

use super::Network;
use super::network::{Ask, Body, Credential, parse, shown};
use scratchproof_error::{Context, Error, Result, secrets};
use scratchproof_texts::text;

/// A shorter text is no key, and cannot be told from other text in an answer.
const SHORTEST_KEY: usize = 20;

/// The largest answer of a refusal that is read: it is a sentence.
const LONGEST_REFUSAL: usize = 1 << 20;

/// The longest text of a server that is repeated in a message.
const LONGEST_WORDS: usize = 300;

/// A service at one address.
///
/// The key is sent to that origin and to no other, and is blotted out of whatever the service answers, so that it cannot
/// come into a report.
#[derive(Clone)]
pub struct Service {
    network: Arc<Network>,
    base: Url,
    credential: Option<Credential>,
    /// The key in the forms in which an answer may repeat it.
    secrets: Vec<String>,
}

/// What a service answers.
#[derive(Clone, Debug)]
pub struct ServiceReply {
    /// The status of HTTP.
    pub status: u16,
    /// The body, without the key.
    pub body: Vec<u8>,
    /// Bytes that came.
    pub bytes: u64,
}

impl Service {
    /// A service at `base`, which `named` (a variable of the environment) gave. `key` is a name and a password; the
    /// variable or file that it is from comes third.
    ///
    /// # Errors
    /// A usage error if the address may not be read (`http://` to another computer, a password in it) or the key cannot
    /// be one.
    pub fn new(network: &Arc<Network>, base: &str, named: &str, key: Option<(&str, &str, &str)>) -> Result<Self> {
        let base = parse(base.trim()).context(|| named.to_owned())?;
        let (mut credential, mut secrets) = (None, Vec::new());
        if let Some((user, key, origin)) = key {
            let key = key.trim();
            if key.len() < SHORTEST_KEY || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                let why = text!("error-source/service/holds-no-key", origin, least = SHORTEST_KEY);
                return Err(Error::usage(why));
            }
            let bad = || Error::usage(text!("error-source/service/holds-characters-no-key", origin));
            credential = Some(Credential::basic(user, key, &base).ok_or_else(bad)?);
            secrets::keep(key);
            secrets = vec![key.to_owned(), Base64::encode_string(format!("{user}:{key}").as_bytes())];
        }
        Ok(Self { network: Arc::clone(network), base, credential, secrets })
    }

    /// Whether it is asked with a key.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.credential.is_some()
    }

    /// Its address, without what may be secret.
    #[must_use]
    pub fn address(&self) -> String {
        shown(&self.base).trim_end_matches('/').to_owned()
    }

    /// Asks a question that may be asked twice; the answer has at most `longest` bytes. `name` is what it is called in
    /// messages.
    ///
    /// # Errors
    /// If there is no answer after all tries, it is longer, or the service redirects: an answer of another address is
    /// not this service's.
    pub fn post(&self, path: &[&str], json: &[u8], name: &str, longest: usize) -> Result<ServiceReply> {
        let mut url = self.base.clone();
        url.set_query(None);
        url.set_fragment(None);
        let segments = url.path_segments_mut();
        segments
            .map_err(|()| Error::usage(text!("error-source/service/address-no-path", name)))?
            .pop_if_empty()
            .extend(path);
        self.send(&Ask { json: Some(json), ..Ask::whole(&url, self.credential.as_ref(), name) }, longest)
    }

    /// Fetches a file whose address the service gave, whole or relative to its own. The key goes along only to the
    /// service's own origin. What is not there is `Err` inside, with the status.
    ///
    /// # Errors
    /// If the address may not be read, there is no answer after all tries, or it is longer than `longest` bytes.
    pub fn get(&self, address: &str, name: &str, longest: usize) -> Result<Result<ServiceReply, u16>> {
        let bad = |_| Error::input(text!("error-source/service/service-gives-address-none", name));
        let url = self.base.join(address).map_err(bad)?;
        super::network::allowed(&url, Some(&self.base)).context(|| name.to_owned())?;
        let reply = self.send(&Ask::whole(&url, self.credential.as_ref(), name), longest)?;
        Ok(if reply.status == StatusCode::OK.as_u16() { Ok(reply) } else { Err(reply.status) })
    }

    fn send(&self, ask: &Ask, longest: usize) -> Result<ServiceReply> {
        let (head, body) = self.network.get(ask, |head| {
            let length = if head.status.is_success() { longest } else { longest.min(LONGEST_REFUSAL) };
            Ok(Body::AtMost(length))
        })?;
        let bytes = body.len() as u64;
        Ok(ServiceReply { status: head.status.as_u16(), body: self.blot(body), bytes })
    }

    /// The body with the key taken out of it.
    fn blot(&self, mut body: Vec<u8>) -> Vec<u8> {
        for secret in self.secrets.iter().map(String::as_bytes) {
            let mut at = 0;
            while let Some(found) = find(&body[at..], secret) {
                at += found;
                body[at..at + secret.len()].fill(b'x');
                at += secret.len();
            }
        }
        body
    }

    /// A server's words as they may stand in a message: one line, not long, without the key.
    #[must_use]
    pub fn quote(&self, words: &str) -> String {
        let mut words = words.to_owned();
        for secret in &self.secrets {
            words = words.replace(secret, "(the key)");
        }
        let mut line: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if line.chars().count() > LONGEST_WORDS {
            line = line.chars().take(LONGEST_WORDS).chain("...".chars()).collect();
        }
        line
    }
}

/// Where `needle` begins in `hay`.
fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let last = hay.len().checked_sub(needle.len())?;
    let mut at = 0;
    while at <= last {
        at += hay[at..=last].iter().position(|byte| byte == first)?;
        if hay[at..].starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
    None
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.has_key() { "with" } else { "without" };
        write!(f, "Service({}, {key} a key)", self.address())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{Reply, Server, network};

    const KEY: &str = "0123456789abcdef0123456789abcdef01234567";

    fn service(base: &str) -> Service {
        Service::new(&network(), base, "BASE", Some(("api", KEY, "KEY"))).unwrap()
    }

    #[test]
    fn a_question_is_posted_with_the_key_and_again_if_that_may_help() {
        let server = Server::start(|request| match request.before {
            0 => Reply::status(429).with("retry-after", "0"),
            1 => Reply::status(503),
            _ => Reply::whole(request.body.clone()),
        });
        let reply = service(&server.url("/api/")).post(&["graphql"], b"{\"a\":1}", "it", 100).unwrap();
        assert_eq!((reply.status, reply.body.as_slice(), reply.bytes), (200, &b"{\"a\":1}"[..], 7));
        let requests = server.requests();
        assert_eq!(requests.len(), 3);
        for request in requests {
            assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/api/graphql"));
            assert_eq!(request.headers["content-type"], "application/json");
            let expected = format!("Basic {}", Base64::encode_string(format!("api:{KEY}").as_bytes()));
            assert_eq!(request.headers["authorization"], expected);
        }
    }

    #[test]
    fn a_limit_that_stays_is_an_error_that_says_so() {
        let server = Server::start(|_| Reply::status(429).with("retry-after", "100000"));
        let error = service(&server.base).post(&["graphql"], b"{}", "it", 100).unwrap_err();
        assert!(error.is_io() && error.to_string().contains("try again later (4 tries)"), "{error}");
    }

    #[test]
    fn a_question_follows_no_redirect_and_a_file_goes_elsewhere_without_the_key() {
        let store = Server::start(|_| Reply::whole("file"));
        let to = store.url("/file?sig=hidden");
        let server = Server::start(move |_| Reply::status(302).with("location", &to));
        let service = service(&server.base);
        let error = service.post(&["graphql"], b"{}", "it", 100).unwrap_err();
        assert!(error.to_string().contains("redirects to http://127.0.0.1"), "{error}");
        assert!(!error.to_string().contains("hidden") && store.requests().is_empty());
        for address in ["/files/a", &store.url("/direct")] {
            assert_eq!(service.get(address, "it", 100).unwrap().unwrap().body, b"file");
        }
        assert!(server.requests().iter().all(|request| request.headers.contains_key("authorization")));
        let requests = store.requests();
        assert_eq!(requests.len(), 2);
        assert!(requests.iter().all(|request| !request.headers.contains_key("authorization")));
    }

    #[test]
    fn the_key_is_in_no_answer_and_no_message() {
        let basic = Base64::encode_string(format!("api:{KEY}").as_bytes());
        let echo = format!("{{\"a\":\"{KEY}{KEY}\",\"b\":\"{basic}\"}}");
        let server = Server::start(move |_| Reply::whole(echo.clone()));
        let service = service(&server.base);
        let reply = service.post(&["graphql"], b"{}", "it", 1000).unwrap();
        let text = String::from_utf8(reply.body).unwrap();
        assert!(!text.contains(KEY) && !text.contains(&basic) && text.contains("\"b\":\"xxxx"));
        let words = service.quote(&format!("bad {KEY}\n\u{1b}[2J{}", "x".repeat(1000)));
        assert!(words.starts_with("bad (the key)") && words.len() < 400 && !words.contains('\u{1b}'));
        assert!(!format!("{service:?}").contains(KEY));
    }

    #[test]
    fn only_safe_addresses_and_keys() {
        let new = |base: &str, key: &str| Service::new(&network(), base, "BASE", Some(("api", key, "KEY")));
        for (base, key, word) in [
            ("http://example.org", KEY, "this computer only"),
            ("https://me:secret@example.org", KEY, "password"),
            ("https://example.org", "short", "holds no key"),
            ("https://example.org", "0123456789 0123456789", "holds no key"),
        ] {
            let error = new(base, key).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains(word), "{error}");
            assert!(!error.to_string().contains("0123456789") && !error.to_string().contains("secret"), "{error}");
        }
        let server = Server::start(|_| Reply::whole(vec![b'x'; 1000]));
        let error = service(&server.base).post(&["graphql"], b"{}", "it", 100).unwrap_err();
        assert!(error.to_string().contains("at most 100"), "{error}");
        let there = Service::new(&network(), "https://example.org/", "BASE", None).unwrap();
        let inward = there.get("http://127.0.0.1:1/x", "it", 10).unwrap_err();
        assert!(inward.is_input(), "a service may not send the auditor to the auditor's own computer");
    }
}
