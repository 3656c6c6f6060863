//! Fields of a protobuf message, read in place: what is logged at every step is not copied to be looked at.

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Content<'a> {
    Number(u64),
    Double(f64),
    Float(f32),
    Bytes(&'a [u8]),
}

impl<'a> Content<'a> {
    pub fn bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub fn text(self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// A signed number: negative ones are written in two's complement.
    #[allow(clippy::cast_possible_wrap)]
    pub fn signed(self) -> Option<i64> {
        if let Self::Number(number) = self { Some(number as i64) } else { None }
    }
}

/// The fields of a message, in the order of the bytes; nothing after the first that is broken.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    /// Whether the message is broken somewhere in what was read.
    pub broken: bool,
}

impl<'a> Fields<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, broken: false }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for (at, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7F) << (7 * at);
            if byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Some(value);
            }
        }
        None
    }

    fn cut(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(head)
    }

    fn field(&mut self) -> Option<(u64, Content<'a>)> {
        let tag = self.varint()?;
        let content = match tag & 7 {
            0 => Content::Number(self.varint()?),
            1 => Content::Double(f64::from_le_bytes(self.cut(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Content::Bytes(self.cut(length)?)
            }
            5 => Content::Float(f32::from_le_bytes(self.cut(4)?.try_into().ok()?)),
            _ => return None,
        };
        (tag >> 3 > 0).then_some((tag >> 3, content))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Content<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.broken {
            return None;
        }
        let field = self.field();
        self.broken = field.is_none();
        field
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, Fields};

    #[test]
    fn fields_are_read_as_the_format_has_them() {
        let bytes =
            [0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1D, 0, 0, 0x80, 0x3F, 0x21, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F];
        let fields: Vec<_> = Fields::new(&bytes).collect();
        let expected = [
            (1, Content::Number(150)),
            (2, Content::Bytes(b"hi")),
            (3, Content::Float(1.0)),
            (4, Content::Double(1.5)),
        ];
        assert_eq!(fields, expected);
        assert_eq!(Content::Number(u64::MAX).signed(), Some(-1));
        assert_eq!(Content::Bytes(&[0xFF]).text(), None);
    }

    fn whole(bytes: &[u8]) -> bool {
        let mut fields = Fields::new(bytes);
        fields.by_ref().for_each(drop);
        !fields.broken
    }

    #[test]
    fn a_broken_message_ends() {
        for bytes in
            [&[0x08][..], &[0x12, 5, 1], &[0x0B], &[0x00, 1], &[0xFF; 11], &[0x1D, 0], &[0x12, 0xFF, 0xFF, 0xFF, 0x7F]]
        {
            assert!(!whole(bytes), "{bytes:?}");
        }
        assert!(whole(&[]));
    }
}
