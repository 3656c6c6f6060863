//! What a parquet file says of itself, read and held against limits before its pages are.
//!
//! The library that decodes the pages trusts the sizes it finds. So footer and page headers (Thrift, compact protocol) are
//! read here first: a file whose sizes are not those of its bytes, or are beyond the limits, is refused.

use std::io::{Read, Seek, SeekFrom};

use crate::history::{COLUMNS, VALUES};

/// A longer footer is refused.
const FOOTER: u64 = 32 << 20;
/// Pages of more uncompressed bytes are refused.
const PAGE: i64 = 256 << 20;
/// Most uncompressed bytes of a column chunk, and of the whole file.
const CHUNK: i64 = 1 << 30;
const TOTAL: i64 = 16 << 30;
/// Most pages, row groups and column chunks.
const PARTS: usize = 1 << 20;
/// Deepest nesting of the schema, and of Thrift structures.
const DEPTH: usize = 32;

/// A leaf of the schema.
#[derive(Debug, PartialEq)]
pub(super) struct Leaf {
    /// Its names from the top.
    pub path: Vec<String>,
    /// Physical type: 0 boolean, 1 i32, 2 i64, 4 f32, 5 f64; others are no numbers.
    pub kind: i64,
    /// Whether it or one of its groups may be repeated.
    pub repeated: bool,
}

/// What was found to be sound.
#[derive(Debug)]
pub(super) struct Footer {
    pub rows: i64,
    pub leaves: Vec<Leaf>,
}

/// Reads footer and page headers.
pub(super) fn read(file: &mut (impl Read + Seek), length: u64) -> Result<Footer, String> {
    let io = |error: std::io::Error| error.to_string();
    if length < 12 {
        return Err("it is shorter than an empty parquet file".into());
    }
    let mut tail = [0; 8];
    file.seek(SeekFrom::Start(length - 8)).map_err(io)?;
    file.read_exact(&mut tail).map_err(io)?;
    if &tail[4..] != b"PAR1" {
        return Err("it does not end as a parquet file does; it is cut off or encrypted".into());
    }
    let size = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    if size > FOOTER || size + 12 > length {
        return Err(format!("its footer of {size} bytes is longer than the file or than {FOOTER} bytes"));
    }
    let start = length - 8 - size;
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| "its footer is too long")?];
    file.read_exact(&mut bytes).map_err(io)?;
    let (footer, chunks) = meta(&bytes).ok_or("its footer is damaged or nested too deep")??;
    let (mut total, mut pages) = (0_i64, 0);
    for chunk in &chunks {
        total = total.saturating_add(chunk.uncompressed);
        if total > TOTAL {
            return Err(format!("it unpacks to more than {TOTAL} bytes"));
        }
        walk(file, start, chunk, &mut pages)?;
    }
    Ok(footer)
}

/// The bytes of one column in one row group.
struct Chunk {
    values: i64,
    uncompressed: i64,
    compressed: i64,
    offset: i64,
    flat: bool,
}

type Checked = Result<(Footer, Vec<Chunk>), String>;

fn meta(bytes: &[u8]) -> Option<Checked> {
    let mut thrift = Thrift { rest: bytes };
    let (mut rows, mut leaves, mut groups) = (0, Vec::new(), Vec::new());
    let mut last = 0;
    while let Some((id, kind)) = thrift.field(&mut last)? {
        match (id, kind) {
            (2, LIST) => match schema(&mut thrift)? {
                Ok(found) => leaves = found,
                Err(why) => return Some(Err(why)),
            },
            (3, I64) => rows = thrift.zigzag()?,
            (4, LIST) => {
                for _ in 0..thrift.list(STRUCT)? {
                    let group = group(&mut thrift)?;
                    if groups.len() + group.1.len() > PARTS {
                        return Some(Err(format!("it has more than {PARTS} column chunks")));
                    }
                    groups.push(group);
                }
            }
            _ => thrift.skip(kind, DEPTH)?,
        }
    }
    Some(sound(rows, leaves, groups))
}

fn sound(rows: i64, leaves: Vec<Leaf>, groups: Vec<(i64, Vec<Chunk>)>) -> Checked {
    let most = i64::try_from(VALUES).unwrap_or(i64::MAX);
    if leaves.len() > COLUMNS {
        return Err(format!("it has {} columns; {COLUMNS} are read", leaves.len()));
    }
    if !(0..=most).contains(&rows) || groups.iter().try_fold(0_i64, |sum, (n, _)| sum.checked_add(*n)) != Some(rows) {
        return Err(format!("it has {rows} rows, which are not those of its row groups or more than {most}"));
    }
    let mut chunks = Vec::new();
    for (n, group) in groups {
        if group.len() != leaves.len() {
            return Err(format!("a row group has {} columns where the schema has {}", group.len(), leaves.len()));
        }
        for (mut chunk, leaf) in group.into_iter().zip(&leaves) {
            chunk.flat = !leaf.repeated;
            let values = if leaf.repeated { 0..=most } else { n..=n };
            if !values.contains(&chunk.values) {
                return Err(format!(
                    "column {} has {} values in a group of {n} rows",
                    leaf.path.join("."),
                    chunk.values
                ));
            }
            if !(0..=CHUNK).contains(&chunk.uncompressed) || chunk.compressed < 0 || chunk.offset < 4 {
                return Err(format!(
                    "column {} unpacks to more than {CHUNK} bytes or has no place",
                    leaf.path.join(".")
                ));
            }
            chunks.push(chunk);
        }
    }
    Ok((Footer { rows, leaves }, chunks))
}

/// The schema is a list of its elements from the root down, each with the number of its children.
fn schema(thrift: &mut Thrift<'_>) -> Option<Result<Vec<Leaf>, String>> {
    let count = thrift.list(STRUCT)?;
    let mut leaves = Vec::new();
    // Children still to come, name, and whether repeated, of each open group.
    let mut open: Vec<(i64, String, bool)> = Vec::new();
    for at in 0..count {
        let (mut kind, mut repetition, mut name, mut children) = (-1, 0, "", 0);
        let mut last = 0;
        while let Some((id, field)) = thrift.field(&mut last)? {
            match (id, field) {
                (1, I32) => kind = thrift.zigzag()?,
                (3, I32) => repetition = thrift.zigzag()?,
                (4, BINARY) => name = std::str::from_utf8(thrift.bytes()?).ok()?,
                (5, I32) => children = thrift.zigzag()?,
                _ => thrift.skip(field, DEPTH)?,
            }
        }
        if at > 0 {
            while open.last().is_some_and(|(left, ..)| *left == 0) {
                open.pop();
            }
            open.last_mut()?.0 -= 1;
        }
        let repeated = repetition == 2 || open.last().is_some_and(|(.., repeated)| *repeated);
        if children > 0 || at == 0 {
            if open.len() >= DEPTH || children < 0 {
                return Some(Err("its schema is nested too deep".into()));
            }
            open.push((children, if at == 0 { String::new() } else { name.to_owned() }, repeated));
        } else {
            if leaves.len() >= COLUMNS {
                return Some(Err(format!("it has more than {COLUMNS} columns")));
            }
            let groups = open.iter().map(|(_, name, _)| name.clone()).filter(|name| !name.is_empty());
            leaves.push(Leaf { path: groups.chain([name.to_owned()]).collect(), kind, repeated });
        }
    }
    open.iter().all(|(left, ..)| *left == 0).then_some(Ok(leaves))
}

fn group(thrift: &mut Thrift<'_>) -> Option<(i64, Vec<Chunk>)> {
    let (mut rows, mut chunks, mut last) = (0, Vec::new(), 0);
    while let Some((id, kind)) = thrift.field(&mut last)? {
        match (id, kind) {
            (1, LIST) => {
                for _ in 0..thrift.list(STRUCT)? {
                    chunks.push(chunk(thrift)?);
                }
            }
            (3, I64) => rows = thrift.zigzag()?,
            _ => thrift.skip(kind, DEPTH)?,
        }
    }
    (rows >= 0).then_some((rows, chunks))
}

fn chunk(thrift: &mut Thrift<'_>) -> Option<Chunk> {
    let mut chunk = Chunk { values: -1, uncompressed: -1, compressed: -1, offset: -1, flat: true };
    let mut dictionary = None;
    let mut last = 0;
    while let Some((id, kind)) = thrift.field(&mut last)? {
        match (id, kind) {
            // A column in another file would be one that nobody named.
            (1, BINARY) => return None,
            (3, STRUCT) => {
                let mut last = 0;
                while let Some((id, kind)) = thrift.field(&mut last)? {
                    match (id, kind) {
                        (5, I64) => chunk.values = thrift.zigzag()?,
                        (6, I64) => chunk.uncompressed = thrift.zigzag()?,
                        (7, I64) => chunk.compressed = thrift.zigzag()?,
                        (9, I64) => chunk.offset = thrift.zigzag()?,
                        (11, I64) => dictionary = Some(thrift.zigzag()?),
                        _ => thrift.skip(kind, DEPTH)?,
                    }
                }
            }
            _ => thrift.skip(kind, DEPTH)?,
        }
    }
    // Writers without a dictionary give 0.
    if let Some(dictionary) = dictionary.filter(|offset| *offset > 0) {
        chunk.offset = chunk.offset.min(dictionary);
    }
    Some(chunk)
}

/// Follows the page headers of a chunk.
fn walk(file: &mut (impl Read + Seek), end: u64, chunk: &Chunk, pages: &mut usize) -> Result<(), String> {
    let io = |error: std::io::Error| error.to_string();
    let damaged = || "a page header is damaged".to_owned();
    let mut at = u64::try_from(chunk.offset).map_err(|_| damaged())?;
    let stop = at.saturating_add(u64::try_from(chunk.compressed).map_err(|_| damaged())?);
    if stop > end {
        return Err("a column lies beyond the end of the file".into());
    }
    let (mut values, mut unpacked) = (0_i64, 0_i64);
    let mut head = Vec::new();
    while at < stop {
        *pages += 1;
        if *pages > PARTS {
            return Err(format!("it has more than {PARTS} pages"));
        }
        head.clear();
        file.seek(SeekFrom::Start(at)).map_err(io)?;
        // Statistics in a header hold least and greatest values, which may be texts.
        file.take((stop - at).min(1 << 16)).read_to_end(&mut head).map_err(io)?;
        let mut thrift = Thrift { rest: &head };
        let page = page(&mut thrift).ok_or_else(damaged)?;
        let used = (head.len() - thrift.rest.len()) as u64;
        if !(0..=PAGE).contains(&page.unpacked) || page.packed < 0 || page.values < 0 || page.levels > page.packed {
            return Err(format!("a page unpacks to {} bytes; {PAGE} are allowed", page.unpacked));
        }
        // No codec packs numbers tighter than this; what claims it is made to fill the memory.
        if page.unpacked > (1 << 20) && page.unpacked / 20_000 > page.packed {
            return Err("a page is packed tighter than any writer packs".into());
        }
        at += used + u64::try_from(page.packed).map_err(|_| damaged())?;
        unpacked = unpacked.saturating_add(page.unpacked);
        if page.kind == 2 {
            // Each entry of a dictionary of numbers has a byte at least; of booleans there is none.
            if page.values > page.unpacked {
                return Err("a dictionary has more entries than bytes".into());
            }
        } else if page.kind == 0 || page.kind == 3 {
            values = values.saturating_add(page.values);
        }
    }
    if at != stop || values != chunk.values {
        return Err("the pages of a column are not what the footer says".into());
    }
    if unpacked > chunk.uncompressed.saturating_add(1 << 20) {
        return Err("the pages of a column unpack to more than the footer says".into());
    }
    Ok(())
}

struct Page {
    kind: i64,
    unpacked: i64,
    packed: i64,
    values: i64,
    /// Bytes of levels in a page of the second version.
    levels: i64,
}

fn page(thrift: &mut Thrift<'_>) -> Option<Page> {
    let mut page = Page { kind: -1, unpacked: -1, packed: -1, values: 0, levels: 0 };
    let mut last = 0;
    while let Some((id, kind)) = thrift.field(&mut last)? {
        match (id, kind) {
            (1, I32) => page.kind = thrift.zigzag()?,
            (2, I32) => page.unpacked = thrift.zigzag()?,
            (3, I32) => page.packed = thrift.zigzag()?,
            (5 | 7 | 8, STRUCT) => {
                let mut last = 0;
                while let Some((inner, kind)) = thrift.field(&mut last)? {
                    match (inner, kind) {
                        (1, I32) => page.values = thrift.zigzag()?,
                        (5 | 6, I32) if id == 8 => {
                            let levels = thrift.zigzag()?;
                            page.levels = page.levels.checked_add(levels).filter(|_| levels >= 0)?;
                        }
                        _ => thrift.skip(kind, DEPTH)?,
                    }
                }
            }
            _ => thrift.skip(kind, DEPTH)?,
        }
    }
    Some(page)
}

// Kinds of fields in the compact protocol.
const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Thrift in its compact protocol.
struct Thrift<'a> {
    rest: &'a [u8],
}

impl<'a> Thrift<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for at in 0..10 {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << (7 * at);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    #[allow(clippy::cast_possible_wrap)] // the halves of a zigzag number
    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (head, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(head)
    }

    /// The next field of a structure: its number and kind; nothing at its end.
    #[allow(clippy::option_option)] // broken, or over, or a field
    fn field(&mut self, last: &mut i64) -> Option<Option<(i64, u8)>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        let step = i64::from(head >> 4);
        *last = if step == 0 { self.zigzag()? } else { last.checked_add(step)? };
        Some(Some((*last, head & 15)))
    }

    fn list_of(&mut self) -> Option<(usize, u8)> {
        let head = self.byte()?;
        let short = usize::from(head >> 4);
        let length = if short == 15 { usize::try_from(self.varint()?).ok()? } else { short };
        // Every element has a byte at least.
        (length <= self.rest.len()).then_some((length, head & 15))
    }

    /// The length of a list of this kind.
    fn list(&mut self, wanted: u8) -> Option<usize> {
        self.list_of().filter(|(length, kind)| *kind == wanted || *length == 0).map(|(length, _)| length)
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // The value of a truth stands in its kind.
            1 | 2 => {}
            3 => self.byte().map(|_| ())?,
            4..=6 => self.varint().map(|_| ())?,
            7 => self.rest = self.rest.split_at_checked(8)?.1,
            8 => self.bytes().map(|_| ())?,
            9 | 10 => {
                let (length, kind) = self.list_of()?;
                for _ in 0..length {
                    if kind == 1 || kind == 2 { self.byte().map(|_| ())? } else { self.skip(kind, depth)? }
                }
            }
            11 => {
                let length = usize::try_from(self.varint()?).ok().filter(|length| *length <= self.rest.len())?;
                let kinds = if length > 0 { self.byte()? } else { 0 };
                for _ in 0..length {
                    self.skip(kinds >> 4, depth)?;
                    self.skip(kinds & 15, depth)?;
                }
            }
            12 => {
                let mut last = 0;
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, depth)?;
                }
            }
            _ => return None,
        }
        Some(())
    }
}
