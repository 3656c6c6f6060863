//! Signatures of requests to a store that speaks S3's protocol (AWS Signature Version 4).

use chrono::{DateTime, Utc};
use reqwest::Url;
use scratchproof_error::hexadecimal::hex;
use sha2::{Digest, Sha256};

/// Keys, and what they are for.
pub(super) struct Signer {
    id: String,
    secret: String,
    session: Option<String>,
    region: String,
}

/// SHA-256 of the body of a request that has none.
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

impl Signer {
    /// The keys of the environment, if there are any, kept out of every message.
    pub(super) fn from_environment(region: &str) -> Option<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.trim().is_empty());
        let (id, secret) = (variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
        let session = variable("AWS_SESSION_TOKEN");
        for secret in std::iter::once(&secret).chain(&session) {
            scratchproof_error::secrets::keep(secret);
        }
        Some(Self { id, secret, session, region: region.to_owned() })
    }

    /// The headers that a GET of an address is sent with.
    pub(super) fn headers(&self, url: &Url, now: DateTime<Utc>) -> Vec<(&'static str, String)> {
        let (time, day) = (now.format("%Y%m%dT%H%M%SZ").to_string(), now.format("%Y%m%d").to_string());
        let host = url.host_str().unwrap_or_default();
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut signed =
            vec![("host", host), ("x-amz-content-sha256", NOTHING.to_owned()), ("x-amz-date", time.clone())];
        signed.extend(self.session.clone().map(|session| ("x-amz-security-token", session)));
        let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines = signed.iter().fold(String::new(), |lines, (name, value)| lines + &format!("{name}:{value}\n"));
        let request = format!("GET\n{}\n{}\n{lines}\n{names}\n{NOTHING}", path(url), query(url));
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
        let key = [day.as_str(), &self.region, "s3", "aws4_request"]
            .iter()
            .fold(format!("AWS4{}", self.secret).into_bytes(), |key, part| hmac(&key, part.as_bytes()).to_vec());
        let signature = hex(&hmac(&key, text.as_bytes()));
        let proof =
            format!("AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={signature}", self.id);
        signed.remove(0);
        signed.push(("authorization", proof));
        signed
    }
}

/// Every byte that is not a letter, a digit or one of `-._~` as `%XX`, `/` too unless it is kept.
fn encoded(bytes: &[u8], keep: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte);
    bytes.iter().fold(String::new(), |text, byte| {
        text + &if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }
    })
}

/// The path as it is signed: what is encoded in the address stays so, once.
fn path(url: &Url) -> String {
    encoded(&decoded(url.path()), b"/")
}

/// The bytes behind `%XX`.
pub(super) fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

/// The query as it is signed: names and values encoded, in order.
fn query(url: &Url) -> String {
    let pairs = url.query_pairs();
    let mut pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{}={}", encoded(name.as_bytes(), b""), encoded(value.as_bytes(), b"")))
        .collect();
    pairs.sort();
    pairs.join("&")
}

/// RFC 2104 with SHA-256.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_and_the_rfc() {
        // RFC 4231, cases 1 and 6.
        let case = hex(&hmac(&[0x0b; 20], b"Hi There"));
        assert_eq!(case, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        let long = hex(&hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"));
        assert_eq!(long, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
        // The list of objects among the examples of the protocol's documentation.
        let signer = Signer {
            id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            session: None,
            region: "us-east-1".to_owned(),
        };
        let url = Url::parse("https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J").unwrap();
        let headers = signer.headers(&url, "2013-05-24T00:00:00Z".parse().unwrap());
        let (name, proof) = headers.last().unwrap();
        assert_eq!(*name, "authorization");
        assert!(
            proof.ends_with("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
            "{proof}"
        );
    }
}
