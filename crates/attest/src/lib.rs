//! Evidence that travels: what was audited and what came out, signed, so that it is verified years later and offline.
//!
//! - [`keys`]: Ed25519 and elliptic curves, as people keep them.
//! - [`dsse`]: the envelope. [`manifest`], [`model`]: a model's folder as `OpenSSF` Model Signing signs it.
//! - [`statement`]: the audit's own statement. [`folder`]: a finished folder held against its seal, its pages, its
//!   attestation and what is judged again. [`ledger`]: what was fixed during a training; [`clocks`]: who stamped it.
//! - [`merkle`], [`reveal`]: one tensor, or some rows of it, under a root that was published.
//!   [`item`]: what is said of all of it.

mod body;
pub mod canonical;
pub mod clocks;
pub mod dsse;
pub mod export;
pub mod folder;
pub mod item;
pub mod keys;
pub mod ledger;
pub mod manifest;
pub mod merkle;
pub mod model;
mod pbes2;
pub mod reveal;
pub mod stamp;
pub mod statement;
mod text;

pub use text::strict;

/// Type of every statement here: in-toto's, version 1.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";

/// Name of the file in an audit's folder that `attest` writes.
pub const FILE: &str = "attestation.json";
