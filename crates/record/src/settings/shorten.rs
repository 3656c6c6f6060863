//! Leaves out of a Python program what names no size, line for line, so that there is less to parse: most versions of a
//! training script differ in what has nothing to do with sizes.

use super::may_name;

/// The program with the top-level parts that name no size made blank. Constants stay. As it was, if the text is not as
/// simple as it looks.
pub fn python(text: &[u8]) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(text.len() / 4);
    let (mut from, mut at) = (0, 0);
    let mut depth = 0_i32;
    while at < text.len() {
        match text[at] {
            b'#' => at = line_end(text, at),
            quote @ (b'"' | b'\'') => at = string_end(text, at, quote)?,
            b'(' | b'[' | b'{' => {
                depth += 1;
                at += 1;
            }
            b')' | b']' | b'}' => {
                depth -= 1;
                at += 1;
            }
            b'\\' => at += 2,
            b'\n' => {
                at += 1;
                if depth < 0 {
                    return None;
                }
                if depth == 0 && text.get(at).is_some_and(|b| begins(*b)) && !goes_on(text, at) {
                    part(text.get(from..at)?, &mut kept);
                    from = at;
                }
            }
            _ => at += 1,
        }
    }
    part(text.get(from..)?, &mut kept);
    (depth == 0).then_some(kept)
}

/// Keeps a part, or its line ends alone.
fn part(text: &[u8], kept: &mut Vec<u8>) {
    let lines = text.split(|b| *b == b'\n').count() - 1;
    // A short line by itself may be a constant that sizes refer to.
    let line = text.trim_ascii();
    let constant = line.len() < 120 && line.contains(&b'=') && !line.contains(&b'\n');
    if constant || may_name(text) {
        kept.extend_from_slice(text);
    } else {
        kept.resize(kept.len() + lines, b'\n');
    }
}

fn begins(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'@' || b >= 0x80
}

/// Whether a line belongs to the statement before it.
fn goes_on(text: &[u8], at: usize) -> bool {
    let rest = &text[at..];
    // A decorator's class follows it: the part begins with the decorator.
    let before = text[..at].trim_ascii_end();
    let line = before.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    before[line..].starts_with(b"@")
        || [&b"else"[..], b"elif", b"except", b"finally"].iter().any(|word| {
            rest.starts_with(word) && rest.get(word.len()).is_none_or(|b| !b.is_ascii_alphanumeric() && *b != b'_')
        })
}

fn line_end(text: &[u8], at: usize) -> usize {
    text[at..].iter().position(|b| *b == b'\n').map_or(text.len(), |length| at + length)
}

/// Behind the end of a string; nothing if it has none.
fn string_end(text: &[u8], at: usize, quote: u8) -> Option<usize> {
    let triple = text.get(at..at + 3) == Some(&[quote; 3]);
    let mut at = at + if triple { 3 } else { 1 };
    loop {
        match *text.get(at)? {
            b'\\' => at += 2,
            b'\n' if !triple => return None,
            b if b == quote && !triple => return Some(at + 1),
            b if b == quote && text.get(at..at + 3) == Some(&[quote; 3]) => return Some(at + 3),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::python;

    #[test]
    fn what_names_no_size_becomes_blank_lines() {
        let text = "import os\nWIDTH = 64\ndef f(x='n_layer'[0]):\n    \"\"\"one\n(two\n\"\"\"\n    return 1\n@dataclass\nclass C:\n    n_layer: int = 1\n\n\
            def g():\n    # n't ( \n    return '\\''\nif x:\n    pass\nelse:\n    n_head = 3\n";
        let kept = String::from_utf8(python(text.as_bytes()).unwrap()).unwrap();
        assert_eq!(kept.lines().count(), text.lines().count());
        let left: Vec<&str> = kept.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(left.first().copied(), Some("WIDTH = 64"));
        assert!(left.contains(&"class C:") && left.contains(&"@dataclass") && left.contains(&"    n_head = 3"));
        assert!(left.contains(&"if x:") && !kept.contains("def g") && !kept.contains("import"));
        for odd in ["x = 'open\n", "x = (1\n", "x = 1)\n", "x = \"\"\"\n"] {
            assert_eq!(python(odd.as_bytes()), None, "{odd}");
        }
    }
}
