//! Progress, told to whoever wants to draw it.

/// Hears how far a long job is. One phase follows the other; a new one ends the one before.
pub trait Reporter: Sync {
    /// A phase of `bytes` to read begins.
    fn begin(&self, what: &str, bytes: u64);
    /// A phase of so many steps begins; of none where they cannot be counted.
    fn phase(&self, what: &str, steps: u64);
    /// That many more bytes, or steps, are done.
    fn advance(&self, done: u64);
    /// The last phase is done.
    fn end(&self);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug)]
pub struct Quiet;

impl Reporter for Quiet {
    fn begin(&self, _: &str, _: u64) {}
    fn phase(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}
