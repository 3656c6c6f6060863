//! Weights in disguise: what somebody does to a parent so that it is not recognised, and the same done to strangers.

#[path = "disguises/function.rs"]
mod function;
#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;
