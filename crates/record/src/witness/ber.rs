//! BER with lengths that are not given, written anew as DER, so far as signed messages use it.
//!
//! Libraries that write a message in one pass (RFC 5652 allows BER outside what is signed) leave lengths open and cut the
//! content into pieces. What is signed (attributes, certificates) is DER already and comes through as it was.

use super::asn1::Parsed;

/// Values inside each other, at most.
const DEEPEST: usize = 32;
/// Values in all, at most.
const MOST: usize = 100_000;

/// The same values with their lengths given, and strings of bytes in one piece.
///
/// # Errors
/// If the bytes are no BER, or are nested deeper or hold more than the limits.
pub fn to_der(bytes: &[u8]) -> Parsed<Vec<u8>> {
    let mut left = MOST;
    let mut rest = bytes;
    let der = value(&mut rest, 0, &mut left)?.ok_or("BER: an end without a beginning")?;
    if !rest.is_empty() {
        return Err("BER: there is more behind the value".into());
    }
    Ok(der)
}

/// One value; `None` for the mark that ends a value without a length.
fn value(rest: &mut &[u8], depth: usize, left: &mut usize) -> Parsed<Option<Vec<u8>>> {
    let cut = || "BER: it ends in the middle".to_owned();
    if depth > DEEPEST || *left == 0 {
        return Err(format!("BER: more than {DEEPEST} values in each other or {MOST} in all"));
    }
    *left -= 1;
    let (tag, length) = match **rest {
        [0, 0, ..] => {
            *rest = &rest[2..];
            return Ok(None);
        }
        [tag, ..] if tag & 0x1f == 0x1f => return Err("BER: tags of several bytes are not read".into()),
        [tag, length, ..] => (tag, length),
        _ => return Err(cut()),
    };
    *rest = &rest[2..];
    let constructed = tag & 0x20 != 0;
    let mut content = Vec::new();
    let mut add = |inner: Vec<u8>| -> Parsed<()> {
        // Pieces of a string of bytes are strings of bytes themselves; what is joined is their contents.
        if tag == 0x24 {
            content.extend_from_slice(body(&inner).ok_or("BER: a piece of a string is none")?);
        } else {
            content.extend_from_slice(&inner);
        }
        Ok(())
    };
    if length == 0x80 {
        if !constructed {
            return Err("BER: a value without a length that is no list".into());
        }
        while let Some(inner) = value(rest, depth + 1, left)? {
            add(inner)?;
        }
    } else {
        let mut count = usize::from(length);
        if length > 0x80 {
            let bytes = usize::from(length & 0x7f);
            let digits = rest.get(..bytes).filter(|_| bytes <= 4).ok_or_else(cut)?;
            count = digits.iter().fold(0, |count, digit| count << 8 | usize::from(*digit));
            *rest = &rest[bytes..];
        }
        let (mut inside, behind) = rest.split_at_checked(count).ok_or_else(cut)?;
        *rest = behind;
        if constructed {
            while !inside.is_empty() {
                add(value(&mut inside, depth + 1, left)?.ok_or("BER: an end inside a value with a length")?)?;
            }
        } else {
            content.extend_from_slice(inside);
        }
    }
    let tag = if tag == 0x24 { 0x04 } else { tag };
    let mut der = vec![tag];
    match content.len() {
        short @ 0..=0x7f => der.push(u8::try_from(short).unwrap_or_default()),
        long => {
            let digits = long.to_be_bytes();
            let digits = &digits[digits.iter().take_while(|digit| **digit == 0).count()..];
            der.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
            der.extend_from_slice(digits);
        }
    }
    der.append(&mut content);
    Ok(Some(der))
}

/// The content of a string of bytes in DER.
fn body(der: &[u8]) -> Option<&[u8]> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let skip = if *length > 0x80 { usize::from(length & 0x7f) } else { 0 };
    rest.get(skip..).filter(|_| *tag == 0x04)
}
