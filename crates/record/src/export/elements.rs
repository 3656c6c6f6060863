//! JSON taken apart in place: the members of an object and the elements of a list, each as text.

use std::borrow::Cow;

use super::Rows;

/// A longer line is passed over.
pub(super) const LINE: usize = 64 << 20;

/// Takes one row; nothing if it is no object.
pub(super) fn row(rows: &mut Rows, text: &str) -> Option<()> {
    if text.len() > LINE {
        return None;
    }
    let all: Option<Vec<_>> = members(text)?.collect();
    let all = all?;
    let step = rows.begin(|name| all.iter().find(|(key, _)| key == name).map(|(_, value)| *value));
    for (key, value) in &all {
        rows.history.push(step, key, value);
    }
    Some(())
}

/// The members of an object, each with the text of its value; `None` where the text is broken.
pub(crate) fn members(text: &str) -> Option<impl Iterator<Item = Option<(Cow<'_, str>, &str)>>> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut over = rest.trim().is_empty();
    Some(std::iter::from_fn(move || {
        if over {
            return None;
        }
        let member = member(&mut rest, &mut over);
        over |= member.is_none();
        Some(member)
    }))
}

fn member<'a>(rest: &mut &'a str, over: &mut bool) -> Option<(Cow<'a, str>, &'a str)> {
    let (key, after) = value(rest.trim_start())?;
    let inner = key.strip_prefix('"')?.strip_suffix('"')?;
    let key = if inner.contains('\\') { Cow::Owned(serde_json::from_str(key).ok()?) } else { Cow::Borrowed(inner) };
    let (value, after) = value(after.trim_start().strip_prefix(':')?.trim_start())?;
    *rest = next(after, over)?;
    Some((key, value))
}

/// The elements of a list, each as text; `None` where the text is broken.
pub(crate) fn elements(text: &str) -> Option<impl Iterator<Item = Option<&str>>> {
    let mut rest = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let mut over = rest.trim().is_empty();
    Some(std::iter::from_fn(move || {
        if over {
            return None;
        }
        let element = value(rest.trim_start()).and_then(|(element, after)| {
            rest = next(after, &mut over)?;
            Some(element)
        });
        over |= element.is_none();
        Some(element)
    }))
}

/// What follows a comma; without one it is over.
fn next<'a>(after: &'a str, over: &mut bool) -> Option<&'a str> {
    let after = after.trim_start();
    *over = after.is_empty();
    if *over { Some(after) } else { after.strip_prefix(',') }
}

/// The text of the value that stands first, and what follows it.
pub(super) fn value(text: &str) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let (mut depth, mut quoted, mut escaped) = (0_u64, false, false);
    for (at, &byte) in bytes.iter().enumerate() {
        if quoted {
            (quoted, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
            if !quoted && depth == 0 {
                return Some(text.split_at(at + 1));
            }
            continue;
        }
        match byte {
            b'"' if at > 0 && depth == 0 => return None,
            b'"' => quoted = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 1 => depth -= 1,
            b'}' | b']' if depth == 1 => return Some(text.split_at(at + 1)),
            b',' | b':' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => {
                return (at > 0).then(|| text.split_at(at));
            }
            _ => {}
        }
    }
    (depth == 0 && !quoted && !text.is_empty()).then_some((text, ""))
}
