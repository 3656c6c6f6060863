//! A file that lies beside the model's and is none of them.

use std::sync::Arc;

use super::torch::{everything, is_torch};
use super::untaken::is_state;
use super::{Catalogue, catalogue};
use crate::index::is_trainers;
use scratchproof_source::{Blob, Store};

/// What a trainer writes beside its weights and is no checkpoint (arguments, schedules) has at most so many bytes.
const SMALL: u64 = 1 << 16;

/// The tensors of a file that is none of the model's, and bytes of those that cannot be read; nothing where it holds none but an
/// optimizer's states. One that cannot be read at all counts by its length.
pub(crate) fn of_file(name: &str, store: &dyn Store) -> Option<(Catalogue, u64)> {
    // What cannot be opened is named by those who list the folder.
    let blob: Arc<dyn Blob> = Arc::from(store.open(name).ok()?);
    let whole = if is_torch(name, &blob) { everything(name, &blob) } else { catalogue(name, &blob, store) };
    match whole {
        Ok(mut catalogue) => {
            if is_trainers(name) {
                catalogue.entries.retain(|entry| !is_state(&entry.name));
            }
            let lost = catalogue.unread;
            (lost > 0 || !catalogue.entries.is_empty()).then_some((catalogue, lost))
        }
        Err(_) if is_trainers(name) && blob.len() <= SMALL => None,
        Err(_) => Some((Catalogue::default(), blob.len())),
    }
}
