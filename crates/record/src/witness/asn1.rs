//! DER, one level at a time, with the bytes kept as they stand: signatures are over bytes, not over what they mean.

#![allow(clippy::missing_errors_doc, reason = "every error is a sentence that says what is wrong")]

use chrono::{DateTime, NaiveDate, Utc};
pub use der::Tag;
use der::{AnyRef, Decode, Reader, SliceReader, TagNumber, Tagged};

/// Why something could not be read, in words.
pub type Parsed<T> = Result<T, String>;

/// One value with its tag.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// What kind of value it is.
    pub tag: Tag,
    /// The content.
    pub value: &'a [u8],
    /// Tag, length and content.
    pub whole: &'a [u8],
}

/// The values that follow each other in `bytes`.
pub fn pieces(bytes: &[u8]) -> Parsed<Vec<Piece<'_>>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let wrong = |error: der::Error| format!("no DER: {error}");
    let mut reader = SliceReader::new(bytes).map_err(wrong)?;
    let mut all = Vec::new();
    while !reader.is_finished() {
        let whole = reader.tlv_bytes().map_err(wrong)?;
        let any = AnyRef::from_der(whole).map_err(wrong)?;
        all.push(Piece { tag: any.tag(), value: any.value(), whole });
    }
    Ok(all)
}

/// The only value in `bytes`.
pub fn only<'a>(bytes: &'a [u8], what: &str) -> Parsed<Piece<'a>> {
    match pieces(bytes)?.as_slice() {
        [one] => Ok(*one),
        _ => Err(format!("{what}: one value was expected")),
    }
}

impl<'a> Piece<'a> {
    /// What is inside a sequence.
    pub fn sequence(&self, what: &str) -> Parsed<Walk<'a>> {
        self.is(Tag::Sequence, what)?;
        self.walk()
    }

    /// What is inside a set.
    pub fn set(&self, what: &str) -> Parsed<Vec<Piece<'a>>> {
        self.is(Tag::Set, what)?;
        pieces(self.value)
    }

    /// What is inside, whatever the tag.
    pub fn walk(&self) -> Parsed<Walk<'a>> {
        Ok(Walk(pieces(self.value)?.into_iter()))
    }

    /// The bytes of an octet string.
    pub fn octets(&self, what: &str) -> Parsed<&'a [u8]> {
        self.is(Tag::OctetString, what)?;
        Ok(self.value)
    }

    /// Whole bytes of a bit string.
    pub fn bits(&self, what: &str) -> Parsed<&'a [u8]> {
        self.is(Tag::BitString, what)?;
        match self.value.split_first() {
            Some((0, rest)) => Ok(rest),
            _ => Err(format!("{what}: bits that are no whole bytes")),
        }
    }

    /// The bits of a named-bit list, the first the highest of the first byte.
    pub fn flags(&self, what: &str) -> Parsed<u8> {
        self.is(Tag::BitString, what)?;
        Ok(self.value.get(1).copied().unwrap_or(0))
    }

    /// An object identifier in dotted form.
    pub fn oid(&self, what: &str) -> Parsed<String> {
        self.is(Tag::ObjectIdentifier, what)?;
        let id = der::asn1::ObjectIdentifier::from_bytes(self.value).map_err(|_| format!("{what}: no identifier"))?;
        Ok(id.to_string())
    }

    /// A whole number from 0, as far as 64 bits hold it.
    pub fn number(&self, what: &str) -> Parsed<u64> {
        self.is(Tag::Integer, what)?;
        unsigned(self.value).ok_or_else(|| format!("{what}: not a number from 0 to 2^64"))
    }

    /// The magnitude of a positive whole number of any size.
    pub fn magnitude(&self, what: &str) -> Parsed<&'a [u8]> {
        self.is(Tag::Integer, what)?;
        match self.value {
            [first, ..] if *first < 0x80 => Ok(self.value),
            _ => Err(format!("{what}: not a positive number")),
        }
    }

    /// `UTCTime` or `GeneralizedTime`, fractions of a second included.
    pub fn time(&self, what: &str) -> Parsed<DateTime<Utc>> {
        let text = std::str::from_utf8(self.value).map_err(|_| format!("{what}: no time"))?;
        let wrong = || format!("{what}: {:?} is no time", text.chars().take(40).collect::<String>());
        let (digits, fraction) = match text.strip_suffix('Z').ok_or_else(wrong)?.split_once('.') {
            Some((digits, fraction)) => (digits, fraction),
            None => (text.trim_end_matches('Z'), ""),
        };
        if !digits.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let full = match self.tag {
            Tag::GeneralizedTime if digits.len() == 14 => digits.to_owned(),
            Tag::UtcTime if digits.len() == 12 && fraction.is_empty() => {
                // RFC 5280 4.1.2.5.1: 50 to 99 are of the twentieth century.
                format!("{}{digits}", if digits.as_bytes()[0] >= b'5' { 19 } else { 20 })
            }
            _ => return Err(wrong()),
        };
        let number = |from: usize, to: usize| full[from..to].parse::<u32>().map_err(|_| wrong());
        let nanos =
            fraction.bytes().chain(std::iter::repeat(b'0')).take(9).fold(0, |n, b| n * 10 + u32::from(b - b'0'));
        let year = i32::try_from(number(0, 4)?).map_err(|_| wrong())?;
        NaiveDate::from_ymd_opt(year, number(4, 6)?, number(6, 8)?)
            .and_then(|day| {
                day.and_hms_nano_opt(number(8, 10).ok()?, number(10, 12).ok()?, number(12, 14).ok()?, nanos)
            })
            .map(|time| time.and_utc())
            .ok_or_else(wrong)
    }

    fn is(&self, tag: Tag, what: &str) -> Parsed<()> {
        if self.tag == tag { Ok(()) } else { Err(format!("{what}: a {tag} was expected, not {}", self.tag)) }
    }
}

/// A number without its sign, if it has none and fits.
pub fn unsigned(value: &[u8]) -> Option<u64> {
    let value = match value {
        [] => return None,
        [0, rest @ ..] => rest,
        [first, ..] if *first >= 0x80 => return None,
        all => all,
    };
    (value.len() <= 8).then(|| value.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Values in order.
pub struct Walk<'a>(std::vec::IntoIter<Piece<'a>>);

impl<'a> Walk<'a> {
    /// The next value.
    pub fn next(&mut self, what: &str) -> Parsed<Piece<'a>> {
        self.0.next().ok_or_else(|| format!("{what} is missing"))
    }

    /// The next value, if it has this tag.
    pub fn next_if(&mut self, tag: Tag) -> Option<Piece<'a>> {
        if self.0.as_slice().first()?.tag == tag { self.0.next() } else { None }
    }

    /// The next value, if it has this context-specific number.
    pub fn numbered(&mut self, number: u8) -> Option<Piece<'a>> {
        let first = self.0.as_slice().first()?;
        let is = matches!(first.tag, Tag::ContextSpecific { number: n, .. } if n == TagNumber::new(number));
        if is { self.0.next() } else { None }
    }

    /// What is left.
    pub fn rest(self) -> Vec<Piece<'a>> {
        self.0.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions_and_two_centuries() {
        let time = |bytes: &[u8]| only(bytes, "x").and_then(|piece| piece.time("x")).map(|t| t.to_rfc3339());
        assert_eq!(time(b"\x18\x1220261122081500.25Z").as_deref(), Ok("2026-11-22T08:15:00.250+00:00"));
        assert_eq!(time(b"\x18\x0f20261122081500Z").as_deref(), Ok("2026-11-22T08:15:00+00:00"));
        assert_eq!(time(b"\x17\x0d500102030405Z").as_deref(), Ok("1950-01-02T03:04:05+00:00"));
        assert_eq!(time(b"\x17\x0d491231235959Z").as_deref(), Ok("2049-12-31T23:59:59+00:00"));
        for bad in [&b"\x18\x0f20261322081500Z"[..], b"\x18\x0e20261122081500", b"\x17\x0d5001020304+5Z", b"\x18\x00"] {
            assert!(time(bad).is_err());
        }
    }

    #[test]
    fn numbers_are_not_negative() {
        assert_eq!(
            (unsigned(&[]), unsigned(&[0x80]), unsigned(&[0, 0x80]), unsigned(&[1; 9])),
            (None, None, Some(128), None)
        );
    }
}
