//! The one error type: what could not be done, where, and what to do about it.
//!
//! An error means *could not check*. Something that was checked and is bad is a `Finding`.

pub mod hexadecimal;
pub mod secrets;

use std::fmt;

/// The result of everything that can fail here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a job could not be done, with the chain of places it happened in.
///
/// The message is one plain sentence. Opaque on purpose: callers ask the `is_*` predicates.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    context: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Usage,
    Input,
    Io,
}

impl Error {
    /// The user asked for something that cannot be: a bad option, a bad case file.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A file from outside is not what it must be.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Kind::Input, message)
    }

    /// The operating system or the network refused.
    pub fn io(what: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(Kind::Io, format!("{what}: {cause}"))
    }

    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: secrets::blot(message.into()), context: Vec::new() }))
    }

    /// Adds the place in which this happened, outermost last.
    #[must_use]
    pub fn context(mut self, place: impl Into<String>) -> Self {
        self.0.context.push(secrets::blot(place.into()));
        self
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
        for place in self.0.context.iter().rev() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.0.message)
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
    fn context(self, place: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, place: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.context(place()))
    }
}
