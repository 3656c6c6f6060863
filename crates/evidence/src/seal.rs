//! A checksum inside a parquet file, where other readers do not look.
//!
//! Polars panics, or asks for more memory than there is, on files with a flipped bit, and writes no checksums of its own.
//! So eight bytes of ours stand between the last page and the footer. Pages are found by their offset from the start and
//! the footer by its length from the end: nothing moves, and every parquet reader reads the file as before. It shows
//! damage, not intent: who wants to can make a file that holds.

const MARK: &[u8] = b"CRC=";
/// Mark and checksum.
const SIZE: usize = 8;
/// Length of the footer and the closing magic.
const TAIL: usize = 8;

/// The file with its checksum.
pub(super) fn put(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(footer) = footer(&bytes) {
        let checksum = crc32fast::hash(&bytes).to_le_bytes();
        bytes.splice(footer..footer, MARK.iter().copied().chain(checksum));
    }
    bytes
}

/// Whether the file has its checksum and it is right.
pub(super) fn holds(bytes: &[u8]) -> bool {
    let Some(footer) = footer(bytes) else { return false };
    let Some(start) = footer.checked_sub(SIZE) else { return false };
    let (pages, seal, rest) = (&bytes[..start], &bytes[start..footer], &bytes[footer..]);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(pages);
    hasher.update(rest);
    seal.strip_prefix(MARK) == Some(&hasher.finalize().to_le_bytes())
}

/// Where the footer begins.
fn footer(bytes: &[u8]) -> Option<usize> {
    let tail = bytes.len().checked_sub(TAIL)?;
    let length = u32::from_le_bytes(bytes.get(tail..tail + 4)?.try_into().ok()?);
    tail.checked_sub(usize::try_from(length).ok()?)
}
