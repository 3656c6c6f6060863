//! JSON in one spelling: the part of RFC 8785 that needs no arithmetic. Names in the order of their bytes and of ASCII alone,
//! no blanks, whole numbers of at most 53 bits; a figure with a fraction is written as a string.

use serde_json::Value;

use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// The largest whole number that every reader of JSON holds exactly.
const LARGEST: u64 = (1 << 53) - 1;

/// Values inside each other, at most.
const DEEPEST: usize = 64;

/// The value in its one spelling.
///
/// # Errors
/// If it holds a number with a fraction or of more than 53 bits, a name that is not ASCII, or is too deep.
pub fn canonical(value: &Value) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    write(value, DEEPEST, &mut out)?;
    Ok(out)
}

fn write(value: &Value, deep: usize, out: &mut Vec<u8>) -> Result<()> {
    let deep =
        deep.checked_sub(1).ok_or_else(|| Error::usage(text!("error-attest/canonical/values-inside-each-other")))?;
    match value {
        Value::Null => out.extend(b"null"),
        Value::Bool(flag) => out.extend(flag.to_string().bytes()),
        Value::Number(number) => {
            let fits = number.as_i64().is_some_and(|n| n.unsigned_abs() <= LARGEST);
            if !fits {
                return Err(Error::usage(text!(
                    "error-attest/canonical/number-not-whole-or",
                    number = number.to_string()
                )));
            }
            out.extend(number.to_string().bytes());
        }
        Value::String(text) => string(text, out),
        Value::Array(list) => {
            out.push(b'[');
            for (at, own) in list.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(own, deep, out)?;
            }
            out.push(b']');
        }
        Value::Object(map) => {
            let mut names: Vec<&String> = map.keys().collect();
            names.sort();
            out.push(b'{');
            for (at, name) in names.into_iter().enumerate() {
                if !name.is_ascii() {
                    return Err(Error::usage(text!(
                        "error-attest/canonical/name-not-ascii",
                        name = name.escape_debug().to_string()
                    )));
                }
                if at > 0 {
                    out.push(b',');
                }
                string(name, out);
                out.push(b':');
                write(&map[name], deep, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// As RFC 8785 3.2.2.2 has it, which is how `serde_json` writes strings.
fn string(text: &str, out: &mut Vec<u8>) {
    out.extend(Value::from(text).to_string().bytes());
}

#[cfg(test)]
mod tests {
    use super::canonical;
    use serde_json::json;

    #[test]
    fn there_is_one_spelling() {
        let value = json!({ "b": [1, null, true], "a": { "z": "\u{20}\u{7}\n\"ü€", "A": -2 } });
        let text = String::from_utf8(canonical(&value).unwrap()).unwrap();
        assert_eq!(text, "{\"a\":{\"A\":-2,\"z\":\" \\u0007\\n\\\"ü€\"},\"b\":[1,null,true]}");
        for bad in [json!(0.5), json!(1_u64 << 53), json!({ "ü": 1 })] {
            assert!(canonical(&bad).is_err());
        }
    }
}
