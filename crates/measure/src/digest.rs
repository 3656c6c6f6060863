//! SHA-256 of everything that was read.

use md5::Digest;
use rayon::prelude::*;

use scratchproof_checkpoint::{Checkpoint, Shard};
use scratchproof_error::hexadecimal::hex;
use scratchproof_error::{Error, Result};
use scratchproof_kernel::sha256::{LANES, Sha256, update};
use scratchproof_measurements::FileDigest;
use scratchproof_source::Blob;
use scratchproof_texts::text;

/// Bytes of a file that are held at a time.
const CHUNK: usize = 1 << 20;

/// Bytes of a file after which the files are shared out among the threads again.
const ROUND: usize = 16 * CHUNK;

/// Digests of the files of all models, in order.
///
/// # Errors
/// If a file cannot be read.
pub fn digests(models: &[&Checkpoint]) -> Result<Vec<Vec<FileDigest>>> {
    let shards = models.iter().flat_map(|model| own_shards(model));
    let streams = shards.enumerate().map(|(index, (_, shard))| Stream::new(index, &*shard.blob)).collect();
    file_digests(models, streams)
}

/// The files of a model with their places among its shards. What is computed from other files has no digest of its own.
pub(super) fn own_shards(model: &Checkpoint) -> impl Iterator<Item = (usize, &Shard)> {
    model.shards.iter().enumerate().filter(|(_, shard)| !shard.blob.is_made())
}

/// Digests of the files of all models, of which `streams`, in the same order, have a part behind them.
pub(super) fn file_digests(models: &[&Checkpoint], streams: Vec<Stream>) -> Result<Vec<Vec<FileDigest>>> {
    let hashes = hash_all(streams)?;
    let shards = models.iter().flat_map(|model| own_shards(model));
    for ((_, shard), hash) in shards.zip(&hashes) {
        let (own, said) = (hex(hash), shard.blob.said_sha256());
        if let Some(said) = said.filter(|said| *said != own) {
            return Err(Error::input(text!(
                "error-measure/digest/server-sent-other-bytes",
                blob = shard.blob.uri(),
                own,
                said
            )));
        }
    }
    let mut hashes = hashes.into_iter();
    let mut digest = |(_, shard): (usize, &Shard)| FileDigest {
        name: shard.name.clone(),
        bytes: shard.blob.len(),
        sha256: hex(&hashes.next().unwrap_or_default()),
        md5: None,
    };
    Ok(models.iter().map(|model| own_shards(model).map(&mut digest).collect()).collect())
}

/// SHA-256 of a file, hexadecimal.
///
/// # Errors
/// If the file cannot be read.
pub fn sha256(blob: &dyn Blob) -> Result<String> {
    Ok(hash_all(vec![Stream::new(0, blob)])?.first().map(|hash| hex(hash)).unwrap_or_default())
}

/// MD5 of a file, hexadecimal, as trackers record it.
///
/// # Errors
/// If the file cannot be read.
pub fn md5(blob: &dyn Blob) -> Result<String> {
    let mut hash = md5::Md5::new();
    let mut buffer = vec![0; CHUNK.min(usize::try_from(blob.len()).unwrap_or(CHUNK))];
    let mut offset = 0;
    while offset < blob.len() {
        let size = usize::try_from(blob.len() - offset).unwrap_or(CHUNK).min(CHUNK);
        blob.read_at(offset, &mut buffer[..size])?;
        hash.update(&buffer[..size]);
        blob.release(offset, size);
        offset += size as u64;
    }
    Ok(hex(&hash.finalize()))
}

/// Hashes files, several at a time in each thread, which is faster than one after the other (see [`Sha256`]). They are
/// shared out anew every [`ROUND`] bytes, so that no thread is left with the long ones.
fn hash_all(mut waiting: Vec<Stream>) -> Result<Vec<[u8; 32]>> {
    let mut hashes = vec![[0; 32]; waiting.len()];
    // The longest are taken first, from the end.
    waiting.sort_by_key(|stream| stream.blob.len() - stream.offset);
    let threads = rayon::current_num_threads();
    let width = even(waiting.len(), threads * LANES);
    let mut live = Vec::new();
    loop {
        let free = waiting.len().min(width - live.len());
        live.extend(waiting.drain(waiting.len() - free..));
        if live.is_empty() {
            return Ok(hashes);
        }
        let lanes = live.len().div_ceil(threads).min(LANES);
        live.par_chunks_mut(lanes).try_for_each(advance)?;
        for stream in live.extract_if(.., |stream| stream.offset == stream.blob.len()) {
            hashes[stream.index] = stream.hash.finish();
        }
    }
}

/// The greatest number of files at a time that leaves no small rest: 18 by up to 8 are three times 6.
fn even(files: usize, most: usize) -> usize {
    files.div_ceil(files.div_ceil(most).max(1))
}

/// A file on its way.
pub(super) struct Stream<'a> {
    index: usize,
    pub blob: &'a dyn Blob,
    pub hash: Sha256,
    /// How many of its bytes are hashed.
    pub offset: u64,
    /// Holds a chunk of a file that is not in memory.
    buffer: Vec<u8>,
}

impl<'a> Stream<'a> {
    pub fn new(index: usize, blob: &'a dyn Blob) -> Self {
        Self { index, blob, hash: Sha256::new(), offset: 0, buffer: Vec::new() }
    }

    /// The next chunk, before `end`, with the hash that wants it.
    pub fn read(&mut self, end: u64) -> Result<(&mut Sha256, &[u8])> {
        let rest = end.min(self.blob.len()).saturating_sub(self.offset);
        let size = usize::try_from(rest).map_or(CHUNK, |rest| rest.min(CHUNK));
        let chunk = if let Some(bytes) = self.blob.resident(self.offset, size) {
            bytes
        } else {
            self.buffer.resize(size, 0);
            self.blob.read_at(self.offset, &mut self.buffer)?;
            &self.buffer
        };
        self.offset += size as u64;
        Ok((&mut self.hash, chunk))
    }
}

/// Takes each file [`ROUND`] bytes further, all of them side by side.
fn advance(streams: &mut [Stream]) -> Result<()> {
    for _ in 0..ROUND / CHUNK {
        let starts: Vec<u64> = streams.iter().map(|stream| stream.offset).collect();
        let mut chunks = streams.iter_mut().map(|stream| stream.read(u64::MAX)).collect::<Result<Vec<_>>>()?;
        update(&mut chunks);
        for (stream, start) in streams.iter().zip(starts) {
            let size = usize::try_from(stream.offset - start).unwrap_or(CHUNK);
            stream.blob.release(start, size);
        }
    }
    Ok(())
}

/// A model of some files and nothing else.
#[cfg(test)]
#[allow(clippy::default_trait_access, reason = "its words are another room's")]
pub(super) fn blank(shards: Vec<Shard>) -> Checkpoint {
    Checkpoint {
        uri: "m".into(),
        tensors: Vec::new(),
        shards,
        config: None,
        architecture: None,
        skipped: Vec::new(),
        unread: Vec::new(),
        untaken: Vec::new(),
        optimizers: Default::default(),
        adapter: None,
        wrappers: Vec::new(),
        vocabulary: Default::default(),
        met: Vec::new(),
        form: Default::default(),
        notes: Vec::new(),
        stored: 0,
        sample: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use scratchproof_kernel::sha256::sha256;
    use scratchproof_source::MemoryFile;

    fn model(files: Vec<MemoryFile>) -> Checkpoint {
        blank(files.into_iter().map(|file| Shard { name: file.uri(), blob: Arc::new(file) }).collect())
    }

    #[test]
    fn files_of_any_length_read_either_way_are_as_sha256sum_says() {
        let lengths = [0, 1, 63, 64, 65, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 77, ROUND + CHUNK + 5];
        for count in 1..=lengths.len() {
            let bytes: Vec<Vec<u8>> = lengths.iter().map(|n| (0..=250).cycle().take(*n).collect()).collect();
            let file = |i: usize| {
                let file = MemoryFile::new(format!("f{i}"), bytes[i].clone());
                if i.is_multiple_of(2) { file } else { file.borrowed() }
            };
            let models =
                [model((0..count).map(file).collect()), model(Vec::new()), model((count..10).map(file).collect())];
            for threads in [1, 2, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let digests = pool.install(|| digests(&models.each_ref())).unwrap();
                assert_eq!(digests.iter().map(Vec::len).collect::<Vec<_>>(), [count, 0, 10 - count]);
                for (i, digest) in digests.iter().flatten().enumerate() {
                    assert_eq!(digest.name, format!("f{i}"));
                    assert_eq!(digest.bytes, lengths[i] as u64);
                    assert_eq!(digest.sha256, hex(&sha256(&bytes[i])));
                }
            }
        }
    }

    #[test]
    fn a_file_that_comes_back_short_is_an_error_that_names_it() {
        let files = vec![MemoryFile::new("whole", [1; 100]), MemoryFile::new("broken", [1; 100]).short_after(50)];
        let error = digests(&[&model(files)]).unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
    }

    /// A server that sends other bytes than its own mark of the content stands for.
    #[test]
    fn other_bytes_than_the_place_says_are_an_error() {
        use scratchproof_source::testing::{Reply, Server, network};
        let bytes: Vec<u8> = (0..=250).cycle().take(100_000).collect();
        for (said, holds) in [(hex(&sha256(&bytes)), true), ("ab".repeat(32), false), ("\"no digest\"".into(), true)] {
            let sent = bytes.clone();
            let server = Server::start(move |request| {
                Reply::range(request, &sent).with("x-linked-etag", &format!("\"{said}\""))
            });
            let file = scratchproof_source::HttpFile::open(&network(), &server.url("/m.safetensors")).unwrap();
            let mut one = model(Vec::new());
            one.shards.push(Shard { name: "m".into(), blob: Arc::new(file) });
            let found = digests(&[&one]).map_err(|error| error.to_string());
            assert_eq!(found.is_ok(), holds, "{found:?}");
            assert!(holds || found.unwrap_err().contains("sent other bytes than it says"));
        }
    }

    #[test]
    fn files_are_spread_evenly() {
        assert_eq!([even(0, 8), even(1, 8), even(8, 8), even(9, 8), even(18, 8)], [0, 1, 8, 5, 6]);
    }
}
