//! Forms that are recognised and not read, each with the way out.

use scratchproof_error::{Error, Result};
use scratchproof_texts::{Text, text};

use super::zip::Directory;
use super::{Catalogue, Form, Glance};

pub(super) struct WayOut;

impl Form for WayOut {
    fn name(&self) -> &'static str {
        ""
    }

    fn holds(&self, file: &Glance<'_>) -> bool {
        way_out(file).is_some()
    }

    fn catalogue(&self, file: &Glance<'_>) -> Result<Catalogue> {
        Err(Error::input(way_out(file).unwrap_or_default()))
    }
}

/// What a file is that is not read, and what to do.
fn way_out(file: &Glance<'_>) -> Option<Text> {
    let head = &file.head[..];
    let starts = |magic: &[u8]| head.starts_with(magic);
    Some(if starts(b"version https://git-lfs") || starts(b"version https://hawser") {
        pointer(head)
    } else if starts(b"PK\x03\x04") {
        // What is wrong with a damaged archive is said by the form that reads it.
        let zip = Directory::read(&**file.blob).ok()?;
        let has = |ending: &str| zip.members.keys().any(|name| name.ends_with(ending));
        if has("model.weights.h5") {
            text!("checkpoint/way-out/keras")
        } else if has("data.pkl") {
            return None;
        } else {
            text!("checkpoint/way-out/zip")
        }
    } else if head.get(257..262) == Some(b"ustar") {
        text!("checkpoint/way-out/tar")
    } else if starts(&[0x1f, 0x8b]) {
        text!("checkpoint/way-out/gzip", kind = "gzip")
    } else if starts(&[0x28, 0xb5, 0x2f, 0xfd]) {
        text!("checkpoint/way-out/gzip", kind = "zstd")
    } else if starts(b"\xfd7zXZ\0") {
        text!("checkpoint/way-out/gzip", kind = "xz")
    } else if starts(b"<") {
        text!("checkpoint/way-out/html")
    } else if starts(b"{") {
        text!("checkpoint/way-out/json")
    } else if file.name.ends_with(".msgpack") {
        text!("checkpoint/way-out/flax")
    } else {
        return None;
    })
}

/// A pointer names the file's digest and size in two lines.
fn pointer(head: &[u8]) -> Text {
    let words = String::from_utf8_lossy(head);
    let line = |start: &str| words.lines().find_map(|line| line.strip_prefix(start)).unwrap_or("?").trim().to_owned();
    let short =
        |words: String| words.chars().filter(|c| c.is_ascii_alphanumeric() || *c == ':').take(80).collect::<String>();
    text!("checkpoint/way-out/lfs", digest = short(line("oid ")), size = short(line("size ")))
}
