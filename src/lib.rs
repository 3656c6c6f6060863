//! scratchproof settles, with evidence anyone can recompute, whether an AI model was trained from scratch or grown from
//! somebody else's weights.

pub mod case;
pub mod error;
pub mod evidence;
pub mod finding;
pub mod report;
pub mod timeline;
