//! The one error type: what could not be done, where, and what to do about it.
//!
//! An error means *could not check*. Something that was checked and is bad is a `Finding`.
//!
//! It holds texts, keys and parameters, and is said in the language of whoever reads it; logs have it in English. Words of
//! a library or the operating system are quoted as they are.

pub mod hexadecimal;
pub mod json;
pub mod mixing;
pub mod secrets;

use std::fmt;

use scratchproof_texts::{Language, Text, text};

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a job could not be done, with the chain of places it happened in.
///
/// The message is one plain sentence, which each reader gets in their language. Opaque on purpose: callers ask the `is_*` predicates.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: Text,
    /// Innermost first.
    context: Vec<Text>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Usage,
    Input,
    Io,
}

impl Error {
    /// The user asked for something that cannot be: a bad option, a bad case file.
    pub fn usage(message: impl Into<Text>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A file from outside is not what it must be.
    pub fn input(message: impl Into<Text>) -> Self {
        Self::new(Kind::Input, message)
    }

    /// The operating system or the network refused, in its own words.
    pub fn io(what: impl Into<Text>, cause: impl fmt::Display) -> Self {
        Self::new(Kind::Io, cause.to_string()).context(what)
    }

    /// The operating system or the network refused, and this is what it comes to.
    pub fn refused(message: impl Into<Text>) -> Self {
        Self::new(Kind::Io, message)
    }

    fn new(kind: Kind, message: impl Into<Text>) -> Self {
        Self(Box::new(Inner { kind, message: secrets::blotted(message.into()), context: Vec::new() }))
    }

    /// Adds the place in which this happened, outermost last.
    #[must_use]
    pub fn context(mut self, place: impl Into<Text>) -> Self {
        self.0.context.push(secrets::blotted(place.into()));
        self
    }

    /// The whole error as one text: what happened behind its places, for what keeps errors and shows them later.
    #[must_use]
    pub fn text(&self) -> Text {
        let inside = |what: Text, place: &Text| text!("error/place/inside", place = place.clone(), what);
        self.0.context.iter().fold(self.0.message.clone(), inside)
    }

    /// The sentence behind its places, in a language.
    #[must_use]
    pub fn say(&self, language: Language) -> String {
        let places = self.0.context.iter().rev().chain([&self.0.message]);
        places.map(|part| part.say(language)).collect::<Vec<_>>().join(": ")
    }

    /// Whether the user's own words were wrong.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        self.0.kind == Kind::Usage
    }

    /// Whether a file from outside was not what it must be.
    #[must_use]
    pub fn is_input(&self) -> bool {
        self.0.kind == Kind::Input
    }

    /// Whether the operating system or the network refused.
    #[must_use]
    pub fn is_io(&self) -> bool {
        self.0.kind == Kind::Io
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.say(Language::English))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

/// Adds a place to the error of a result.
pub trait Context<T> {
    /// Adds the place that `place` names to the error, if there is one.
    ///
    /// # Errors
    /// The same error, with its place.
    fn context<P: Into<Text>>(self, place: impl FnOnce() -> P) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context<P: Into<Text>>(self, place: impl FnOnce() -> P) -> Result<T> {
        self.map_err(|error| error.context(place()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_said_in_the_language_of_its_reader() {
        let error = Error::io("m/config.json", "disk on fire").context(text!("input/model/parent", name = "m"));
        assert_eq!(error.to_string(), "parent m: m/config.json: disk on fire");
        assert_eq!(error.say(Language::Korean), "후보 원본 모델 m: m/config.json: disk on fire");
        for language in [Language::English, Language::Korean] {
            assert_eq!(error.text().say(language), error.say(language));
        }
        assert!(error.is_io() && !error.is_input());
    }
}
