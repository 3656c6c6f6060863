//! Checks the files of loose objects before libgit2 sees them: it opens whatever lies under their names and reads it whole.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::ZlibDecoder;

use super::Pulse;
use super::packs::OPENED;
use scratchproof_error::{Error, Result};
use scratchproof_source::plain;
use scratchproof_texts::{Text, text};

/// Files of loose objects.
const OBJECTS: usize = 4_000_000;
/// Bytes of a file that nobody has to look into.
const SMALL: u64 = 1 << 20;
/// Bytes in which the head of an object stands, deflated.
const HEAD: u64 = 512;
/// Bytes of all objects that are inflated to see whether they end; more than that is left to the watch over the reading.
const INFLATED: u64 = 4 << 30;

/// Whether every loose object is a plain file, none is far longer than the object in it can be, and none is cut off in the
/// middle: libgit2 (1.9) never comes to an end with such a one.
///
/// # Errors
/// If one is not; the message names it.
pub fn check(objects: &Path, pulse: &Pulse) -> Result<()> {
    let (mut count, mut left) = (0, INFLATED);
    for first in 0..=255_u8 {
        let folder = format!("{first:02x}");
        pulse.beat("folder of objects", &folder);
        for entry in fs::read_dir(objects.join(&folder)).into_iter().flatten().flatten() {
            count += 1;
            if count > OBJECTS {
                return Err(Error::input(text!("error-record/loose/more-loose-objects-git", objects = OBJECTS)));
            }
            let name = entry.file_name();
            let wrong = |why: Text| {
                let name = super::clean(&name.to_string_lossy());
                Err(Error::input(text!("error-record/loose/objects", folder = &folder, name, why)))
            };
            // Links are followed, as libgit2 does; what leads nowhere is missing.
            let Ok(about) = fs::metadata(entry.path()) else { continue };
            if about.is_dir() {
                continue;
            }
            if !about.is_file() {
                return wrong(text!("error-record/loose/not-regular-file"));
            }
            let Ok(file) = plain::open(&entry.path()) else { continue };
            let length = length(&file);
            // Deflating makes nothing longer but by a few bytes in a thousand.
            if length <= OPENED && about.len() > length + length / 100 + SMALL {
                return wrong(text!("error-record/loose/bytes-object", about = about.len(), length));
            }
            // Larger ones are not read, and of an empty file libgit2 says so itself.
            if about.len() > 0 && length <= OPENED.min(left) {
                pulse.beat("object", format!("{folder}{}", name.to_string_lossy()));
                match inflate(&file, length) {
                    Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => {
                        return wrong(text!("error-record/loose/cut-off"));
                    }
                    // What is damaged in another way libgit2 sees as well.
                    read => left = left.saturating_sub(read.unwrap_or(length)),
                }
            }
        }
    }
    Ok(())
}

/// The length in the head of a loose object.
fn length(file: &File) -> u64 {
    let mut head = Vec::new();
    let _ = ZlibDecoder::new(file.take(HEAD)).take(40).read_to_end(&mut head);
    let head = head.split(|byte| *byte == 0).next().unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    head.rsplit(' ').next().and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// Inflates an object of `length` bytes, and says how many there are.
///
/// # Errors
/// [`ErrorKind::UnexpectedEof`] if the file ends before the object does, others if it is no deflated one.
fn inflate(mut file: &File, length: u64) -> io::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = ZlibDecoder::new(file);
    let (mut head, mut byte) = (0, [1]);
    while byte != [0] && bytes.read(&mut byte)? > 0 {
        head += 1;
        // No object has such a head.
        if head > 40 {
            return Err(ErrorKind::InvalidData.into());
        }
    }
    io::copy(&mut bytes.take(length), &mut io::sink())
}
