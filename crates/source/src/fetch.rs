//! Whole small answers of servers: what a hub says of a model beside its files, or a document behind an address.

use super::hub::Hub;
use super::locator::refuse_offline;
use super::network::{Ask, Network, parse, refusal, shown};
use super::{Access, Forge};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// What a hub says of a model itself (`hf://org/name[@revision]`), without its commits and files.
///
/// # Errors
/// As [`answers`].
pub fn about(address: &str, access: Access, longest: usize) -> Result<Vec<u8>> {
    refuse_offline(address, access)?;
    Hub::from_environment()?.about(&Network::shared(), address, longest)
}

/// The answers behind an address: of a hub's model (`hf://org/name[@revision]`) what the hub says of it, digests of its
/// files included, and its newest commits; of a repository's page on a known forge what its API says of it and of its
/// releases; of `https://` otherwise the one document.
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
            if let Some(forge) = Forge::of(address)? {
                return forge.answers(&network, longest);
            }
            let name = shown(&url);
            let ask = Ask::whole(&url, None, &name);
            Ok(vec![network.whole(&ask, longest)?.map_err(|status| refusal(&name, status, None))?])
        }
        _ => Err(Error::usage(text!("error-source/fetch/addresses-not-read-give", scheme))),
    }
}
