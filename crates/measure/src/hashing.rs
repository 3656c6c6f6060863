//! SHA-256 of files from the bytes that a pass over their tensors reads anyway.
//!
//! A digest wants a file from front to back; the pass hands over what it has read in about that order. What comes too early
//! is held, within a budget; what was not read, or not held, is read when its turn comes: headers, tensors that nobody
//! measures, and tensors that another file has in another order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::digest::{Stream, file_digests, own_shards};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;
use scratchproof_kernel::sha256::{Sha256, update};
use scratchproof_measurements::FileDigest;

/// Bytes that came before their turn and are held, of all files together.
const AHEAD: usize = 64 << 20;

/// Bytes of a file that a pass has read.
pub(super) struct Fed<'a> {
    /// Which model of the plan, and which of its files.
    pub file: (usize, usize),
    pub offset: u64,
    pub bytes: &'a [u8],
}

/// The files of some models, each hashed as far as it is known.
pub(super) struct Hashing<'a> {
    models: Vec<&'a Checkpoint>,
    files: BTreeMap<(usize, usize), Mutex<Following<'a>>>,
    held: AtomicUsize,
}

/// One file.
struct Following<'a> {
    stream: Stream<'a>,
    /// Spans that the pass will hand over, by their start; none touches another.
    expected: BTreeMap<u64, u64>,
    /// What came before its turn.
    ahead: BTreeMap<u64, Vec<u8>>,
}

impl<'a> Hashing<'a> {
    /// The files of some `models` of a plan, each with its place there; `spans` are those of the tensors that will be read.
    pub(super) fn new(
        models: &[(usize, &'a Checkpoint)],
        spans: impl Iterator<Item = ((usize, usize), Range<u64>)>,
    ) -> Self {
        let mut files = BTreeMap::new();
        for (model, checkpoint) in models {
            for (shard, own) in own_shards(checkpoint) {
                let stream = Stream::new(files.len(), &*own.blob);
                let following = Following { stream, expected: BTreeMap::new(), ahead: BTreeMap::new() };
                files.insert((*model, shard), Mutex::new(following));
            }
        }
        for (file, span) in spans.filter(|(_, span)| !span.is_empty()) {
            if let Some(following) = files.get_mut(&file) {
                let expected = &mut following.get_mut().unwrap_or_else(PoisonError::into_inner).expected;
                let end = expected.entry(span.start).or_insert(span.end);
                *end = span.end.max(*end);
            }
        }
        for following in files.values_mut() {
            following.get_mut().unwrap_or_else(PoisonError::into_inner).join();
        }
        Self { models: models.iter().map(|(_, checkpoint)| *checkpoint).collect(), files, held: AtomicUsize::new(0) }
    }

    /// Takes what was read of some files, of each once. Those whose turn it is advance side by side.
    ///
    /// # Errors
    /// If what nobody hands over cannot be read.
    pub(super) fn feed(&self, mut fed: Vec<Fed>) -> Result<()> {
        // Files are locked in one order by every thread.
        fed.sort_by_key(|fed| fed.file);
        fed.dedup_by_key(|fed| fed.file);
        let lock =
            |fed: Fed<'_>| self.files.get(&fed.file).map(|own| own.lock().unwrap_or_else(PoisonError::into_inner));
        let mut open: Vec<(MutexGuard<Following>, u64, &[u8])> = Vec::new();
        for fed in fed {
            let (offset, bytes) = (fed.offset, fed.bytes);
            open.extend(lock(fed).map(|own| (own, offset, bytes)));
        }
        let mut now: Vec<(&mut Sha256, &[u8])> = Vec::new();
        for (own, offset, bytes) in &mut open {
            own.skip()?;
            let end = *offset + bytes.len() as u64;
            let next = own.stream.offset;
            if *offset > next {
                self.hold(own, *offset, bytes);
            } else if end > next {
                let from = usize::try_from(next - *offset).unwrap_or(usize::MAX).min(bytes.len());
                own.stream.offset = end;
                now.push((&mut own.stream.hash, &bytes[from..]));
            }
        }
        update(&mut now);
        for (own, ..) in &mut open {
            self.drain(own)?;
        }
        Ok(())
    }

    /// Holds what came before its turn, or lets it go where too much is held.
    fn hold(&self, own: &mut Following, offset: u64, bytes: &[u8]) {
        let size = bytes.len();
        let room = |held: usize| (held + size <= AHEAD).then_some(held + size);
        if self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            own.forget(offset..offset + size as u64);
            return;
        }
        if let Some(before) = own.ahead.insert(offset, bytes.to_vec()) {
            self.held.fetch_sub(before.len(), Ordering::Relaxed);
        }
    }

    /// Hashes what was held until its turn.
    fn drain(&self, own: &mut Following) -> Result<()> {
        loop {
            own.skip()?;
            let next = own.stream.offset;
            let Some(first) = own.ahead.first_entry().filter(|first| *first.key() <= next) else { return Ok(()) };
            let (offset, bytes) = first.remove_entry();
            self.held.fetch_sub(bytes.len(), Ordering::Relaxed);
            let from = usize::try_from(next - offset).unwrap_or(usize::MAX).min(bytes.len());
            update(&mut [(&mut own.stream.hash, &bytes[from..])]);
            own.stream.offset = next.max(offset + bytes.len() as u64);
        }
    }

    /// The digests of every model's files; what was not handed over is read.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(super) fn finish(self) -> Result<Vec<Vec<FileDigest>>> {
        let mut streams = Vec::new();
        let Self { models, files, .. } = self;
        for following in files.into_values() {
            streams.push(following.into_inner().unwrap_or_else(PoisonError::into_inner).stream);
        }
        file_digests(&models, streams)
    }
}

impl Following<'_> {
    /// Joins spans that touch or overlap.
    fn join(&mut self) {
        let mut joined: BTreeMap<u64, u64> = BTreeMap::new();
        for (start, end) in std::mem::take(&mut self.expected) {
            match joined.last_entry() {
                Some(mut last) if *last.get() >= start => *last.get_mut() = end.max(*last.get()),
                _ => {
                    joined.insert(start, end);
                }
            }
        }
        self.expected = joined;
    }

    /// Hashes what nobody will hand over, up to the next span that somebody will.
    fn skip(&mut self) -> Result<()> {
        loop {
            let next = self.stream.offset;
            let within = self.expected.range(..=next).next_back().is_some_and(|(_, end)| *end > next);
            let end = self.expected.range(next..).next().map_or(self.stream.blob.len(), |(start, _)| *start);
            if within || end <= next {
                return Ok(());
            }
            let (hash, bytes) = self.stream.read(end)?;
            update(&mut [(hash, bytes)]);
            let size = usize::try_from(self.stream.offset - next).unwrap_or(usize::MAX);
            self.stream.blob.release(next, size);
        }
    }

    /// Expects a span no longer.
    fn forget(&mut self, span: Range<u64>) {
        let Some((&start, &end)) = self.expected.range(..=span.start).next_back() else { return };
        self.expected.remove(&start);
        for rest in [start..span.start.min(end), span.end..end] {
            if !rest.is_empty() {
                self.expected.insert(rest.start, rest.end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use scratchproof_checkpoint::Shard;
    use scratchproof_error::hexadecimal::hex;
    use scratchproof_kernel::sha256::sha256;
    use scratchproof_source::{Blob, MemoryFile};

    /// A file in pieces of `size`, handed over in an order that a number decides, some of them never.
    fn order(pieces: usize, seed: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..pieces).collect();
        order.sort_by_key(|piece| (piece * 7919 + seed * 104_729) % 1009);
        if seed == 0 {
            order.sort_unstable();
        }
        order
    }

    #[test]
    fn digests_do_not_depend_on_the_order_in_which_pieces_come() {
        let bytes: Vec<u8> = (0..=250).cycle().take(3_000_077).collect();
        let size = 4097;
        for seed in 0..6_usize {
            let file = |name: &str| Shard {
                name: name.into(),
                blob: Arc::new(MemoryFile::new(name, bytes.clone())) as Arc<dyn Blob>,
            };
            let model = super::super::digest::blank(vec![file("a"), file("b")]);
            let pieces: Vec<Range<usize>> = (100..bytes.len() - 50)
                .step_by(size)
                .map(|start| start..(start + size).min(bytes.len() - 50))
                .filter(|piece| piece.start / size % 11 != seed)
                .collect();
            let spans = pieces.iter().map(|piece| ((3, 1), piece.start as u64..piece.end as u64));
            let hashing = Hashing::new(&[(3, &model)], spans);
            if seed == 5 {
                // As if other files had used up what may be held.
                hashing.held.store(AHEAD - 2 * size, Ordering::Relaxed);
            }
            for at in order(pieces.len(), seed) {
                let piece = pieces[at].clone();
                let fed = Fed { file: (3, 1), offset: piece.start as u64, bytes: &bytes[piece] };
                hashing.feed(vec![fed]).unwrap();
            }
            let digests = hashing.finish().unwrap();
            for digest in &digests[0] {
                assert_eq!(digest.sha256, hex(&sha256(&bytes)), "{} {seed}", digest.name);
            }
            assert_eq!(digests[0].len(), 2);
        }
    }
}
