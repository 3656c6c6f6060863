//! Forms that are recognised and not read, each with the way out.

use std::sync::Arc;

use scratchproof_error::{Error, Result};
use scratchproof_source::{Blob, Store, is_address};
use scratchproof_texts::{Text, text};

use super::zip::Directory;
use super::{Catalogue, Form, Glance};
use crate::header::quoted;

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
        } else if has("archive_format") || has("serialized_exported_program.json") {
            text!("checkpoint/way-out/exported")
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
    } else if starts(b"BZh") {
        text!("checkpoint/way-out/gzip", kind = "bzip2")
    } else if starts(b"7z\xbc\xaf\x27\x1c") {
        text!("checkpoint/way-out/gzip", kind = "7z")
    } else if starts(b"Rar!") {
        text!("checkpoint/way-out/gzip", kind = "RAR")
    } else if starts(b"\x93NUMPY") {
        text!("checkpoint/way-out/npy")
    } else if head.get(4..8) == Some(b"TFL3") {
        text!("checkpoint/way-out/tflite")
    } else if head.get(4..6) == Some(b"ET") && head.get(6..8).is_some_and(|v| v.iter().all(u8::is_ascii_digit)) {
        text!("checkpoint/way-out/executorch")
    } else if file.name == "saved_model.pb" {
        text!("checkpoint/way-out/saved-model")
    } else if tensorflow(file.name) {
        text!("checkpoint/way-out/tensorflow")
    } else if is_page(head) {
        text!("checkpoint/way-out/html")
    } else if starts(b"<?xml") {
        text!("checkpoint/way-out/xml")
    } else if starts(b"{") {
        text!("checkpoint/way-out/json")
    } else if file.name.ends_with(".msgpack") {
        text!("checkpoint/way-out/flax")
    } else {
        return None;
    })
}

/// Whether a file is a page of the web: what a server sends in place of it.
fn is_page(head: &[u8]) -> bool {
    let head = head.trim_ascii_start().to_ascii_lowercase();
    let page = |head: &[u8]| head.starts_with(b"<!doctype html") || head.starts_with(b"<html");
    page(&head)
        || head.starts_with(b"<?xml") && head.windows(5).any(|word| word == b"<html")
        || head.starts_with(b"<!--")
        || head.starts_with(b"<head")
}

/// Files of a folder that are looked into for what they are, at most.
const LOOKED: usize = 8;

/// Endings of files that lie beside every model and hold none.
const WORDS: &[&str] = &[".json", ".jsonl", ".md", ".txt", ".py", ".yaml", ".yml", ".toml", ".csv", ".log", ".html"];

/// What to do with a folder in which no file of a usual name holds weights: what the first of its files says that is told by its
/// content. Nothing of a network is fetched for it.
pub(crate) fn of_files(store: &dyn Store, names: &[String]) -> Option<Text> {
    if is_address(&store.uri()) {
        return None;
    }
    let others = names.iter().filter(|name| !WORDS.iter().any(|ending| name.ends_with(ending)));
    others.take(LOOKED).find_map(|name| {
        let blob: Arc<dyn Blob> = Arc::from(store.open(name).ok()?);
        let length = usize::try_from(blob.len().min(super::HEAD)).ok()?;
        let beside = |_: &str| Ok(None);
        let head = blob.bytes(0, length).ok()?.into_owned();
        let file = Glance { name, blob: &blob, head, beside: &beside };
        let form = super::FORMS.iter().find(|form| form.holds(&file))?;
        Some(match form.catalogue(&file) {
            Err(why) => text!("error/place/inside", place = quoted(name), what = why.to_string()),
            Ok(_) => text!("error-checkpoint/index/named-otherwise", name = quoted(name)),
        })
    })
}

/// Whether a file is a part of TensorFlow's form of a checkpoint: `NAME.index`, `NAME.data-00000-of-00001`.
fn tensorflow(name: &str) -> bool {
    name.ends_with(".index") || name.contains(".data-0") && name.contains("-of-0")
}

/// What a folder is that is not read, and what to do.
pub(crate) fn of_place(names: &[String]) -> Option<Text> {
    let has = |name: &str| names.iter().any(|other| other == name);
    if has("saved_model.pb") {
        Some(text!("checkpoint/way-out/saved-model"))
    } else if names.iter().any(|name| name.ends_with(".index")) && names.iter().any(|name| name.contains(".data-0")) {
        Some(text!("checkpoint/way-out/tensorflow"))
    } else if has("_CHECKPOINT_METADATA") || has("manifest.ocdbt") {
        Some(text!("checkpoint/way-out/orbax"))
    } else {
        None
    }
}

/// A pointer names the file's digest and size in two lines.
fn pointer(head: &[u8]) -> Text {
    let words = String::from_utf8_lossy(head);
    let line = |start: &str| words.lines().find_map(|line| line.strip_prefix(start)).unwrap_or("?").trim().to_owned();
    let short =
        |words: String| words.chars().filter(|c| c.is_ascii_alphanumeric() || *c == ':').take(80).collect::<String>();
    text!("checkpoint/way-out/lfs", digest = short(line("oid ")), size = short(line("size ")))
}
