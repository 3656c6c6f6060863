//! Asking somebody else's clock: one short question, one short answer, within a stated time.

use std::io::Read as _;
use std::time::Duration;

use reqwest::blocking::Client;
use reqwest::header::{ACCEPT, CONTENT_TYPE};

use super::network::{allowed, describe, is_loopback, parse, provide, shown};
use scratchproof_error::{Error, Result};
use scratchproof_texts::{Text, text};

/// Posts bytes once and gives the answer of at most `longest` bytes; `patience` is for all of it, names and connections too.
/// No redirect is followed.
///
/// # Errors
/// If the address may not be asked, or there is no good answer within that time.
pub fn ask(address: &str, kinds: [&str; 2], body: Vec<u8>, longest: usize, patience: Duration) -> Result<Vec<u8>> {
    let url = parse(address)?;
    allowed(&url, None)?;
    provide();
    let builder = Client::builder()
        .user_agent(concat!("scratchproof/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .timeout(patience);
    let builder = if is_loopback(&url) { builder.no_proxy() } else { builder };
    let failed = |why: Text| Error::refused(why).context(shown(&url));
    let client = builder.build().map_err(|error| failed(describe(error)))?;
    let request = client.post(url.clone()).header(CONTENT_TYPE, kinds[0]).header(ACCEPT, kinds[1]).body(body);
    let answer = request.send().map_err(|error| failed(describe(error)))?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(failed(text!("error-source/network/answers", status = answer.status().to_string())));
    }
    let mut bytes = Vec::new();
    let read = answer.take(longest as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(error.to_string().into()))?;
    if bytes.len() > longest {
        return Err(failed(text!("error-source/clock/answer-more-bytes", longest)));
    }
    Ok(bytes)
}
