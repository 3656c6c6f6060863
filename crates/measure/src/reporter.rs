//! Progress, told to whoever wants to draw it.

/// Hears how far a long job is.
pub trait Reporter: Sync {
    /// A job of `bytes` begins.
    fn begin(&self, what: &str, bytes: u64);
    /// That many more bytes are done.
    fn advance(&self, bytes: u64);
    /// The job is done.
    fn end(&self);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug)]
pub struct Quiet;

impl Reporter for Quiet {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}
