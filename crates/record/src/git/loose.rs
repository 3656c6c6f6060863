//! Checks the files of loose objects before libgit2 sees them: it opens whatever lies under their names and reads it whole.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

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

/// Whether every loose object is a plain file, and none is far longer than the object in it can be.
///
/// # Errors
/// If one is not; the message names it.
pub fn check(objects: &Path, pulse: &Pulse) -> Result<()> {
    let mut count = 0;
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
            if about.len() > SMALL {
                let length = plain::open(&entry.path()).ok().map_or(0, length);
                // Deflating makes nothing longer but by a few bytes in a thousand.
                if length <= OPENED && about.len() > length + length / 100 + SMALL {
                    return wrong(text!("error-record/loose/bytes-object", about = about.len(), length));
                }
            }
        }
    }
    Ok(())
}

/// The length in the head of a loose object.
fn length(file: File) -> u64 {
    let mut head = Vec::new();
    let _ = flate2::read::ZlibDecoder::new(file.take(HEAD)).take(40).read_to_end(&mut head);
    let head = head.split(|byte| *byte == 0).next().unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    head.rsplit(' ').next().and_then(|length| length.parse().ok()).unwrap_or(0)
}
