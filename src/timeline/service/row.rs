//! One row of history: an object of JSON, taken apart into names and the text of values.
//!
//! The text is kept so that numbers are rounded once, and bare `NaN` and `Infinity`, which JSON has no word for, are not
//! the end of the row.

/// The fields of an object, or nothing if the line is none.
pub(super) fn fields(line: &str) -> Option<Vec<(String, &str)>> {
    let mut rest = line.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let end = string(rest)?;
        let name = serde_json::from_str(&rest[..end]).ok()?;
        rest = rest[end..].trim_start().strip_prefix(':')?.trim_start();
        let end = value(rest)?;
        fields.push((name, rest[..end].trim_end()));
        rest = &rest[end..];
        if let Some(next) = rest.strip_prefix(',') {
            rest = next.trim_start();
            if rest.is_empty() {
                return None;
            }
        }
    }
    Some(fields)
}

/// Length of the string, quotes included, that the text begins with.
fn string(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if at == 0 => {}
            _ if at == 0 => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Length of the value that the text begins with: to the comma outside of all brackets, or to the end.
fn value(text: &str) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => {
                at += string(&text[at..])?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => break,
            _ => {}
        }
        at += 1;
    }
    (depth == 0 && at > 0).then_some(at)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::fields;

    #[test]
    fn a_row_is_taken_apart_with_the_text_of_its_values() {
        let line = r#" {"_step": 3, "a\"b,": "x, } \\" ,"n": NaN,"o":{"p":[1,{"q":"]"}]}, "l": -1.25e-3 } "#;
        let fields = fields(line).unwrap();
        let expected = [("_step", "3"), ("a\"b,", "\"x, } \\\\\""), ("n", "NaN"), ("o", r#"{"p":[1,{"q":"]"}]}"#)];
        for (field, expected) in fields.iter().zip(expected) {
            assert_eq!((field.0.as_str(), field.1), expected);
        }
        assert_eq!(fields[4], ("l".to_owned(), "-1.25e-3"));
        assert_eq!(super::fields("{}").unwrap(), []);
    }

    #[test]
    fn what_is_no_object_is_none() {
        for line in
            ["", "[]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":[}", "{\"a\":1", "{a:1}", "{\"a\":]}", "{\"a\":\"}"]
        {
            assert_eq!(fields(line), None, "{line}");
        }
    }
}
