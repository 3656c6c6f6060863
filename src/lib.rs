//! scratchproof settles, with evidence anyone can recompute, whether an AI model was trained from scratch or grown from
//! somebody else's weights.

pub mod audit;
pub mod case;
pub mod checkpoint;
pub mod disguise;
pub mod error;
pub mod evidence;
pub mod finding;
pub mod kernel;
pub mod plan;
pub mod replay;
pub mod report;
pub mod source;
pub mod stats;
pub mod timeline;
