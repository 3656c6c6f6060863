//! One file of a model.

use std::fmt;
use std::sync::Arc;

use scratchproof_source::Blob;

/// One file of a model.
#[derive(Clone)]
pub struct Shard {
    /// Name in the folder.
    pub name: String,
    /// Its bytes.
    pub blob: Arc<dyn Blob>,
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({})", self.name)
    }
}
