//! What a report rests on, by digest.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use scratchproof_error::hexadecimal::hex;

/// The digest of the case file and of every file that the verdict rests on, and one root over them.
///
/// The root is the SHA-256 of lines as `sha256sum` writes them, `HEX  NAME` and a line feed: first the case file under
/// the name `case`, then the files in the order of their names. So
/// `(echo "HEX  case"; sha256sum evidence/* measurements/*) | sha256sum` gives it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// `sha256:` of the lines.
    pub root: String,
    /// `sha256:` of the case file's bytes.
    pub case: String,
    /// In the order of their names.
    pub files: Vec<Sealed>,
}

/// One file of the folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Sealed {
    pub name: String,
    pub sha256: String,
    pub bytes: u64,
}

impl Seal {
    /// The seal over a case file and these files.
    #[must_use]
    pub fn over(case: &str, mut files: Vec<Sealed>) -> Self {
        files.sort();
        let root = root(case, &files);
        Self { root, case: case.to_owned(), files }
    }

    /// Whether the root belongs to what it is over.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.root == root(&self.case, &self.files)
    }
}

fn root(case: &str, files: &[Sealed]) -> String {
    let mut hasher = Sha256::new();
    hasher.update(format!("{}  case\n", case.trim_start_matches("sha256:")));
    for file in files {
        hasher.update(format!("{}  {}\n", file.sha256, file.name));
    }
    format!("sha256:{}", hex(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::{Seal, Sealed};

    #[test]
    fn the_root_is_what_sha256sum_gives() {
        let one = |name: &str, digit: &str| Sealed { name: name.into(), sha256: digit.repeat(64), bytes: 1 };
        let seal = Seal::over(&format!("sha256:{}", "0".repeat(64)), vec![one("b", "2"), one("a", "1")]);
        // printf '%064d  case\n' 0; printf '1…1  a\n2…2  b\n' | sha256sum
        assert_eq!(seal.root, "sha256:1a7cd3dce2b0f83b2e55c7479c9d851f169f3503f8fc6f10807d925b9a55bd7f");
        assert!(seal.holds() && seal.files[0].name == "a");
        assert!(!Seal { case: "sha256:1".into(), ..seal }.holds());
    }
}
