//! Blocks of remote files that were fetched a moment ago: a tile is smaller than what a request is worth.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scratchproof_error::Result;

/// Blocks of many files, the least recently used dropped first.
///
/// Blocks that are handed out live on until their readers let go of them, so the memory is the capacity and one block a
/// reader.
pub(super) struct BlockCache {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: BTreeMap<(u64, u64), Slot>,
    clock: u64,
}

struct Slot {
    used: u64,
    /// Locked while it is fetched, so that whoever wants the same block waits and does not fetch it again.
    bytes: Arc<Mutex<Option<Arc<Vec<u8>>>>>,
}

impl BlockCache {
    /// Room for so many blocks, at least one.
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), state: Mutex::default() }
    }

    /// A block of a file, fetched if it is not here. A failed fetch leaves nothing behind.
    pub(super) fn get(&self, file: u64, block: u64, fetch: impl FnOnce() -> Result<Vec<u8>>) -> Result<Arc<Vec<u8>>> {
        let place = self.slot((file, block));
        let mut bytes = lock(&place);
        if let Some(bytes) = &*bytes {
            return Ok(Arc::clone(bytes));
        }
        let fetched = Arc::new(fetch()?);
        *bytes = Some(Arc::clone(&fetched));
        Ok(fetched)
    }

    /// Drops every block of a file.
    pub(super) fn forget(&self, file: u64) {
        lock(&self.state).slots.retain(|key, _| key.0 != file);
    }

    /// Number of blocks held.
    pub(super) fn held(&self) -> usize {
        lock(&self.state).slots.len()
    }

    fn slot(&self, key: (u64, u64)) -> Arc<Mutex<Option<Arc<Vec<u8>>>>> {
        let mut state = lock(&self.state);
        state.clock += 1;
        let used = state.clock;
        let slot = state.slots.entry(key).or_insert_with(|| Slot { used, bytes: Arc::default() });
        slot.used = used;
        let bytes = Arc::clone(&slot.bytes);
        while state.slots.len() > self.capacity {
            let oldest = state.slots.iter().min_by_key(|(_, slot)| slot.used).map(|(key, _)| *key);
            oldest.and_then(|key| state.slots.remove(&key));
        }
        bytes
    }
}

/// What a mutex holds, also after a thread died with it: nothing here is left half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use scratchproof_error::Error;

    #[test]
    fn keeps_what_was_used_last_and_never_more_than_its_capacity() {
        let cache = BlockCache::new(2);
        let get = |block: u64| cache.get(0, block, || Ok(vec![0; 4])).unwrap();
        let absent = |block| cache.get(0, block, || Err(Error::input("absent"))).is_err();
        get(1);
        get(2);
        get(1);
        get(3);
        assert_eq!(cache.held(), 2);
        assert!(!absent(1) && !absent(3));
        assert!(absent(2), "the least recently used block is dropped");
        cache.forget(0);
        assert_eq!(cache.held(), 0);
    }

    #[test]
    fn a_block_that_many_want_is_fetched_once() {
        let cache = BlockCache::new(4);
        let fetched = Mutex::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let bytes = cache.get(7, 0, || {
                        std::thread::sleep(std::time::Duration::from_millis(5));
                        *lock(&fetched) += 1;
                        Ok(vec![1])
                    });
                    assert_eq!(*bytes.unwrap(), [1]);
                });
            }
        });
        assert_eq!(*lock(&fetched), 1);
    }
}
