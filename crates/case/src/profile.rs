//! The questions of a programme or of a form. They are data (`profiles/*.toml`): a profile picks among the kinds of answers
//! that an audit can give, may ask for more of the record, and sets no threshold.

use scratchproof_error::{Error, Result};
use scratchproof_texts::text;
use serde::{Deserialize, Serialize};

use crate::Requirement;

/// The profiles that come with the tool.
const BUILT_IN: [&str; 3] = [
    include_str!("../../../profiles/kr-sovereign-ai.toml"),
    include_str!("../../../profiles/eu-model-documentation.toml"),
    include_str!("../../../profiles/model-openness.toml"),
];
/// A profile is a page of questions.
const LONGEST: usize = 1 << 20;

/// A programme's questions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// 1.
    schema: u32,
    /// How it is named on the command line and in `[policy]`.
    pub id: String,
    /// How it is named on a page.
    pub name: Both,
    /// What the programme asks for beside the weights before anything is confirmed, in addition to the policy's own.
    #[serde(default)]
    pub requires: Vec<Requirement>,
    line: Vec<Line>,
}

/// Words in both languages.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Both {
    /// English.
    pub en: String,
    /// Korean.
    pub ko: String,
}

/// One question.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// How it is named in JSON.
    pub id: String,
    /// The question.
    pub asks: Both,
    /// What it is answered with.
    pub answer: Kind,
}

/// What a line is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// What is stated of the architecture.
    Architecture,
    /// Whether each part began at a random draw.
    Initialised,
    /// Whether each part moved.
    Trained,
    /// Whether no part stood still.
    Frozen,
    /// Whether no part is another model's.
    Borrowed,
    /// Run log and repository.
    Record,
    /// Which checkpoints there are.
    Checkpoints,
    /// Which models it was derived from.
    Dependencies,
    /// Digests.
    Authenticity,
}

impl Profile {
    /// A profile by its name.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn named(name: &str) -> Result<Self> {
        let profiles = BUILT_IN.iter().map(|text| Self::parse(text)).collect::<Result<Vec<_>>>()?;
        let known: Vec<String> = profiles.iter().map(|profile| profile.id.clone()).collect();
        profiles.into_iter().find(|profile| profile.id == name).ok_or_else(|| {
            Error::usage(text!(
                "error-case/profile/no-profile",
                name = name.escape_debug().to_string(),
                known = known.join(", ")
            ))
        })
    }

    /// A profile from the text of a file.
    ///
    /// # Errors
    /// If the text is no profile.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > LONGEST {
            return Err(Error::input(text!("error-case/profile/profile-most-mib")));
        }
        let profile: Self = toml::from_str(text)
            .map_err(|cause| Error::input(text!("error-case/profile/profile", cause = cause.to_string())))?;
        if profile.schema != 1 {
            return Err(Error::input(text!("error-case/profile/profile-tool-reads-schema")));
        }
        Ok(profile)
    }

    /// Its questions.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.line
    }
}

#[cfg(test)]
mod tests {
    use super::Profile;

    #[test]
    fn a_profile_is_named_or_read_and_nothing_else() {
        assert!(Profile::named("kr-sovereign-ai").is_ok_and(|profile| profile.lines().len() > 4));
        assert!(Profile::named("none").expect_err("no such").is_usage());
        assert!(Profile::parse("schema = 2").is_err());
    }
}
