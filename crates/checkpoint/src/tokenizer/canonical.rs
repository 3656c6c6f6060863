//! Tokens as bytes: the writing of every scheme undone.

use super::TokenizerKind;

/// First byte of a canonical string.
mod tag {
    /// Matched by text only.
    pub const SPECIAL: u8 = 0;
    /// Begins a word.
    pub const WORD: u8 = 1;
    /// Continues one, or the scheme does not say.
    pub const INSIDE: u8 = 2;
    /// One byte that is no character.
    pub const BYTE: u8 = 3;
}

/// What `SentencePiece` writes for a space.
const METASPACE: &str = "\u{2581}";

/// How the tokens of one vocabulary are written.
pub(super) struct Scheme<'a> {
    kind: TokenizerKind,
    prefix: &'a str,
    byte_fallback: bool,
}

impl<'a> Scheme<'a> {
    pub fn new(kind: TokenizerKind, prefix: Option<&'a str>, byte_fallback: bool) -> Self {
        Self { kind, prefix: prefix.unwrap_or("##"), byte_fallback }
    }

    /// The canonical string of a token.
    pub fn token(&self, text: &str) -> Box<[u8]> {
        if self.byte_fallback
            && let Some(byte) = fallback(text)
        {
            return Box::new([tag::BYTE, byte]);
        }
        match self.kind {
            TokenizerKind::ByteLevelBpe => match bytes(text) {
                Some(bytes) => spaced(&bytes),
                None => tagged(tag::SPECIAL, text.as_bytes()),
            },
            TokenizerKind::Bpe | TokenizerKind::Unigram => spaced(text.replace(METASPACE, " ").as_bytes()),
            TokenizerKind::WordPiece => match text.strip_prefix(self.prefix) {
                Some(rest) if !self.prefix.is_empty() && !rest.is_empty() => tagged(tag::INSIDE, rest.as_bytes()),
                _ => tagged(tag::WORD, text.as_bytes()),
            },
            TokenizerKind::WordLevel => tagged(tag::WORD, text.as_bytes()),
        }
    }

    /// The canonical string of a merge: the length of the first part and both.
    pub fn merge(&self, a: &str, b: &str) -> Box<[u8]> {
        let plain = |text: &str| match self.kind {
            TokenizerKind::ByteLevelBpe => bytes(text).unwrap_or_else(|| text.as_bytes().to_vec()),
            _ => text.replace(METASPACE, " ").into_bytes(),
        };
        let (a, b) = (plain(a), plain(b));
        let mut merge = u32::try_from(a.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        merge.extend(a);
        merge.extend(b);
        merge.into()
    }
}

/// The canonical string of a token that no scheme cuts.
pub(super) fn special(text: &str) -> Box<[u8]> {
    tagged(tag::SPECIAL, text.as_bytes())
}

fn tagged(tag: u8, text: &[u8]) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(text.len() + 1);
    bytes.push(tag);
    bytes.extend_from_slice(text);
    bytes.into()
}

/// A first space says that a word begins.
fn spaced(bytes: &[u8]) -> Box<[u8]> {
    match bytes {
        [b' ', rest @ ..] => tagged(tag::WORD, rest),
        [byte] if *byte >= 0x80 => Box::new([tag::BYTE, *byte]),
        _ => tagged(tag::INSIDE, bytes),
    }
}

/// The byte that `<0x41>` means.
fn fallback(text: &str) -> Option<u8> {
    let hex = text.strip_prefix("<0x")?.strip_suffix('>')?;
    (hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit())).then(|| u8::from_str_radix(hex, 16).ok())?
}

/// The bytes that a byte-level token stands for; `None` if a character is not of that alphabet.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    text.chars().map(byte).collect()
}

/// GPT-2's alphabet: printable bytes stand for themselves, the other 68 are the characters from U+0100 in their order.
fn byte(character: char) -> Option<u8> {
    let code = u32::from(character);
    let itself = |code: u32| matches!(code, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    if itself(code) {
        return u8::try_from(code).ok();
    }
    let place = code.checked_sub(0x100)?;
    let moved = match place {
        0..=32 => place,
        33..=66 => place - 33 + 0x7F,
        67 => 0xAD,
        _ => return None,
    };
    u8::try_from(moved).ok()
}

/// Bytes in GPT-2's alphabet: what [`bytes`] reads.
pub(super) fn written(bytes: &[u8]) -> String {
    let character = |byte: &u8| {
        let code = u32::from(*byte);
        let moved = match code {
            0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => code,
            0..=0x20 => code + 0x100,
            0x7F..=0xA0 => code - 0x7F + 0x100 + 33,
            _ => 0x100 + 67,
        };
        char::from_u32(moved).unwrap_or_default()
    };
    bytes.iter().map(character).collect()
}
