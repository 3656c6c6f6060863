//! Whole small answers of servers: what a hub says of a model beside its files, or a document behind an address.

use super::Access;
use super::hub::Hub;
use super::locator::refuse_offline;
use super::network::{Ask, Network, parse, refusal, shown};
use crate::error::{Error, Result};

/// The answers behind an address: of a hub's model (`hf://org/name[@revision]`) what the hub says of it, digests of its
/// files included, and its newest commits; of `https://` the one document.
///
/// # Errors
/// A usage error if the address is of a kind that is not read, or `access` is offline; otherwise if it cannot be reached.
pub fn answers(address: &str, access: Access, longest: usize) -> Result<Vec<Vec<u8>>> {
    refuse_offline(address, access)?;
    let network = Network::shared();
    let scheme = address.split_once("://").map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
    match scheme.as_str() {
        "hf" => Hub::from_environment()?.answers(&network, address, longest),
        "https" | "http" => {
            let url = parse(address)?;
            let name = shown(&url);
            let ask = Ask { url: &url, range: None, credential: None, json: None, name: &name };
            Ok(vec![network.whole(&ask, longest)?.map_err(|status| refusal(&name, status, ""))?])
        }
        _ => Err(Error::usage(format!(
            "{scheme}:// addresses are not read; give a local file, hf://org/name or https://"
        ))),
    }
}
