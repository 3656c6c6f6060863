//! Pointers of Git LFS: a commit that holds one holds the digest and the length of a file that lies elsewhere.
//!
//! The form is that of `docs/spec.md` of git-lfs: lines of a key and a value, `version` first, then in the order of the
//! alphabet; at most 1,024 bytes.

/// A longer file is no pointer.
pub const POINTER: usize = 1024;

/// The file that a pointer is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointed {
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Length.
    pub bytes: u64,
}

/// Reads a pointer; nothing if it is none.
pub fn pointer(text: &[u8]) -> Option<Pointed> {
    let text = std::str::from_utf8(text).ok()?;
    let mut lines = text.lines();
    let version = lines.next()?.strip_prefix("version ")?;
    // The name before 2014 was another.
    if !["https://git-lfs.github.com/spec/", "https://hawser.github.com/spec/", "http://git-media.io/v/"]
        .iter()
        .any(|known| version.starts_with(known))
    {
        return None;
    }
    let (mut sha256, mut bytes) = (None, None);
    for line in lines {
        match line.split_once(' ')? {
            ("oid", value) => {
                let hex = value.strip_prefix("sha256:")?;
                let whole = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
                sha256 = Some(hex.to_ascii_lowercase()).filter(|_| whole);
            }
            ("size", value) => bytes = value.trim().parse().ok(),
            _ => {}
        }
    }
    Some(Pointed { sha256: sha256?, bytes: bytes? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Pointed, pointer};

    fn of(digit: char, bytes: u64) -> String {
        let hex: String = std::iter::repeat_n(digit, 64).collect();
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{hex}\nsize {bytes}\n")
    }

    #[test]
    fn pointers_are_read_and_what_is_none_is_not() {
        let hex: String = std::iter::repeat_n('a', 64).collect();
        assert_eq!(pointer(of('A', 5).as_bytes()), Some(Pointed { sha256: hex, bytes: 5 }));
        let extended = of('b', 7).replace("oid", "ext-0-x sha256:00\noid").replace('\n', "\r\n");
        assert_eq!(pointer(extended.as_bytes()).map(|p| p.bytes), Some(7));
        for text in
            ["", "version 1", "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "\u{0}\u{1}"]
        {
            assert_eq!(pointer(text.as_bytes()), None, "{text}");
        }
        assert_eq!(pointer(of('c', 1).replace("size 1", "size x").as_bytes()), None);
    }
}
