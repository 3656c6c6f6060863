//! A run as the W&B service has it: `wandb://entity/project/run`, read through the service's GraphQL API.
//!
//! Asked are the queries of the official client (`wandb.apis.public`), with the fewest fields. A field that the server
//! does not know (self-hosted servers can be years old) is left out and noted. What is bounded stands in [`Bounds`].
//!
//! `sha256` is taken over what was read, in a form that is the same whenever the service says the same: for the run, each
//! file and each artifact one line of JSON, keys sorted, addresses of files left out (they are signed anew each time);
//! for each row of history and of machine metrics its text as the service gives it; for each manifest its bytes. Each
//! line begins with its kind and a tab and ends with a newline, in the order run, history, events, file, metadata,
//! output, artifact, manifest. Where the pages of history fail or lack rows, the parquet files that the service has made of
//! it are read in their place, with their bytes under `parquet`. `bytes` counts the answers as they came.

mod address;
mod client;
mod exported;
mod files;
mod history;
mod machine;
mod netrc;
mod queries;
mod read;
#[cfg(test)]
mod tests;

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use super::run::Run;
use scratchproof_error::{Error, Result};
use scratchproof_source::{Access, Network, Service};
use scratchproof_texts::text;

pub use address::Address;

/// Where the service is if nobody says otherwise.
const BASE: &str = "https://api.wandb.ai";

/// How much is read of one run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Bounds {
    /// Time for everything together.
    pub time: Duration,
    /// Rows of history.
    pub rows: u64,
    /// Bytes of all answers.
    pub bytes: u64,
    /// Bytes of one answer or one file.
    pub answer: usize,
    /// Different columns of history.
    pub columns: usize,
    /// Files of the run, and of its artifacts together; more are left out with a note.
    pub files: usize,
    /// Artifacts whose manifest is read; more are left out with a note.
    pub artifacts: usize,
}

impl Default for Bounds {
    /// 15 minutes, 5 million rows, 2 GiB in answers of at most 64 MiB, 100,000 columns, 50,000 files, 500 artifacts.
    fn default() -> Self {
        Self {
            time: Duration::from_mins(15),
            rows: 5_000_000,
            bytes: 2 << 30,
            answer: 64 << 20,
            columns: 100_000,
            files: 50_000,
            artifacts: 500,
        }
    }
}

/// Whether this is the address of a run of the service and not a path.
#[must_use]
pub fn is_address(log: &str) -> bool {
    log.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("wandb://"))
}

/// Reads the run at `wandb://entity/project/run`.
///
/// The service is at `WANDB_BASE_URL`, otherwise at `https://api.wandb.ai`; the key is in `WANDB_API_KEY`, otherwise in
/// the file that `wandb login` writes (`NETRC`, `~/.netrc`). Public runs are read without one.
///
/// # Errors
/// A usage error if `access` is offline, the address is none, or base address or key cannot be used; otherwise if the
/// service cannot be reached, does not accept the key, shows no such run, breaks its own rules, or has more than
/// [`Bounds`] allow. No message holds the key.
pub fn open(address: &str, access: Access) -> Result<Run> {
    let address = Address::parse(address)?;
    if access.offline {
        return Err(Error::usage(text!("error-record/service/cannot-read-offline", address = address.to_string())));
    }
    read::run(from_environment()?, &address, &Bounds::default())
}

/// The same of a service that is not that of the environment.
///
/// # Errors
/// As [`open`].
pub fn open_at(service: Service, address: &str) -> Result<Run> {
    read::run(service, &Address::parse(address)?, &Bounds::default())
}

/// The service of the environment.
fn from_environment() -> Result<Service> {
    let variable = |name| env::var(name).ok().filter(|value: &String| !value.trim().is_empty());
    let base = variable("WANDB_BASE_URL").unwrap_or_else(|| BASE.to_owned());
    let key = variable("WANDB_API_KEY").map(|key| (key, "WANDB_API_KEY".to_owned())).or_else(|| {
        let home = || Some(env::home_dir()?.join(".netrc"));
        let file = variable("NETRC").map(PathBuf::from).or_else(home)?;
        let key = netrc::password(&file, netrc::machine(&base)?)?;
        Some((key, file.file_name()?.to_string_lossy().into_owned()))
    });
    let key = key.as_ref().map(|(key, origin)| ("api", key.as_str(), origin.as_str()));
    Service::new(&Network::shared(), &base, "WANDB_BASE_URL", key)
}
