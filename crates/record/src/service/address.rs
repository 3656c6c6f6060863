//! `wandb://entity/project/run`.

use std::fmt;

use scratchproof_error::{Error, Result};
use scratchproof_texts::{Text, text};

/// The longest part of an address.
const LONGEST: usize = 256;

/// Which run of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Account or team.
    pub entity: String,
    /// Project.
    pub project: String,
    /// The run's id, not the name it is shown under.
    pub run: String,
}

impl Address {
    /// Reads `wandb://entity/project/run`; also `wandb://entity/project/runs/run`, as in the address of the web page.
    ///
    /// # Errors
    /// A usage error if it is something else.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: Text| {
            Error::usage(text!("error-record/address/not-wandb-entity-project", text = format!("{text:?}"), why))
        };
        if !super::is_address(text) {
            return Err(wrong(text!("error-record/address/begins-another-scheme")));
        }
        let parts: Vec<&str> = text[8..].split('/').collect();
        let parts = match parts[..] {
            [entity, project, run] | [entity, project, "runs", run] => [entity, project, run],
            _ => return Err(wrong(text!("error-record/address/needs-entity-project-run"))),
        };
        for part in parts {
            // What the service itself does not take in names.
            let bad = |c: char| c.is_control() || matches!(c, '\\' | '#' | '?' | '%' | ':' | '"');
            if part.is_empty() || part.len() > LONGEST || part.trim() != part || part.chars().any(bad) {
                return Err(wrong(text!("error-record/address/name-empty-too-long")));
            }
        }
        let [entity, project, run] = parts.map(str::to_owned);
        Ok(Self { entity, project, run })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wandb://{}/{}/{}", self.entity, self.project, self.run)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Address;

    #[test]
    fn an_address_has_three_names() {
        for text in ["wandb://lab/big model/1a2b", "WANDB://lab/big model/runs/1a2b"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), "wandb://lab/big model/1a2b");
        }
        for text in [
            "wandb://",
            "wandb://lab/project",
            "wandb://lab//run",
            "wandb://lab/project/run/x",
            "wandb://lab/project/run?key=x",
            "wandb://lab/project/ru\nn",
            "https://wandb.ai/lab/project/runs/x",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(error.is_usage() && error.to_string().contains("wandb://entity/project/run"), "{error}");
        }
    }
}
