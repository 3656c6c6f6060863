//! The rows of a table of CSV, and its numbers.

use std::io::Read;

use csv::{ByteRecord, Reader};

/// The rows of a table after its header.
pub(super) struct Table<R> {
    pub(super) reader: Reader<R>,
    pub(super) record: ByteRecord,
    pub(super) width: usize,
    pub(super) uneven: u64,
    pub(super) damaged: Option<String>,
}

impl<R: Read> Table<R> {
    /// The fields of the next row that are text; what is none is empty.
    pub fn next(&mut self) -> Option<Vec<&str>> {
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => {
                self.uneven += u64::from(self.record.len() != self.width);
                let text = |field| std::str::from_utf8(field).unwrap_or_default();
                Some(self.record.iter().take(self.width).map(text).collect())
            }
            Ok(false) => None,
            Err(error) => {
                self.damaged = Some(error.to_string());
                None
            }
        }
    }
}

/// A number of a table; Python's words for those that are none are known too.
pub(super) fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    match text {
        "" => None,
        "nan" | "NAN" => Some(f64::NAN),
        "inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        text => crate::history::number(text),
    }
}
