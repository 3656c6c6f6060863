//! How digests are written everywhere: lower-case hexadecimal. The lowest room has it, since every room writes digests.

/// Bytes as lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |text, byte| text + &format!("{byte:02x}"))
}

/// Bytes of hexadecimal text of any case; nothing if it is none.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    // `from_str_radix` would take a sign for a digit.
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{hex, unhex};

    #[test]
    fn there_and_back() {
        assert_eq!(hex(&[0, 0x0f, 0xa5, 0xff]), "000fa5ff");
        assert_eq!(unhex("000FA5ff").as_deref(), Some(&[0, 0x0f, 0xa5, 0xff][..]));
        assert_eq!(unhex("").as_deref(), Some(&[][..]));
        for bad in ["0", "0g", "+1", "0\u{e9}"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
