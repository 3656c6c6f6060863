//! Long lists of a value, apart from it: a row an element in a table, so that what stands in every element of a list costs
//! little. A list of the units of a plan over nineteen models takes a tenth of its text that way.

use scratchproof_error::json::size;
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;
use serde_json::Value;

/// Longer lists stand apart.
const LONG: usize = 64;

/// A value of fewer bytes of JSON stays whole.
const SMALL: usize = 64 << 10;

/// Memory of all elements as values, at most: a list has an element for every unit, which an honest one of a large model has
/// hundreds of thousands of.
const MOST: u64 = 2 << 30;

/// One element of a list: where the list stands in the value (a JSON pointer, RFC 6901), and the element as JSON.
pub type Element = (String, String);

/// Takes the long lists out of a value; none of a small one.
pub fn cut(value: &mut Value) -> Vec<Element> {
    let mut elements = Vec::new();
    if value.to_string().len() > SMALL {
        take(value, &mut String::new(), &mut elements);
    }
    elements
}

fn take(value: &mut Value, place: &mut String, elements: &mut Vec<Element>) {
    let before = place.len();
    match value {
        Value::Array(list) if list.len() > LONG => {
            elements.extend(std::mem::take(list).iter().map(|element| (place.clone(), element.to_string())));
        }
        Value::Array(list) => {
            for (at, element) in list.iter_mut().enumerate() {
                *place += &format!("/{at}");
                take(element, place, elements);
                place.truncate(before);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                *place += &format!("/{}", name.replace('~', "~0").replace('/', "~1"));
                take(field, place, elements);
                place.truncate(before);
            }
        }
        _ => {}
    }
}

/// Puts the lists back.
///
/// # Errors
/// If an element is of no list of the value, or no JSON.
pub fn join(value: &mut Value, elements: Vec<Element>) -> Result<()> {
    let strange = || Error::input(text!("error-store/lists/lists-do-not-fit"));
    // Values take many times the text that they are written in, and the text of a table many times its file.
    if elements.iter().map(|(_, text)| size(text.as_bytes())).sum::<u64>() > MOST {
        return Err(strange());
    }
    let mut rest = elements.into_iter().peekable();
    while let Some((place, first)) = rest.next() {
        let list = value.pointer_mut(&place).and_then(Value::as_array_mut).ok_or_else(strange)?;
        let mut put = |text: &str| serde_json::from_str(text).map(|element| list.push(element)).map_err(|_| strange());
        put(&first)?;
        while let Some((_, text)) = rest.next_if(|(own, _)| *own == place) {
            put(&text)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{cut, join};
    use serde_json::json;

    #[test]
    fn what_was_cut_is_joined_to_the_same_value() {
        let list = |n: usize| (0..n).map(|i| json!({ "id": format!("{i:064}"), "n": [i, 0.1] })).collect::<Vec<_>>();
        let whole = json!({ "a/b": { "~": list(1000) }, "of": [list(65), list(3), []], "n": 1, "none": [] });
        let mut value = whole.clone();
        let elements = cut(&mut value);
        assert_eq!(elements.len(), 1065);
        assert!(elements.iter().any(|(place, _)| place == "/a~1b/~0") && value.to_string().len() < 400);
        join(&mut value, elements.clone()).expect("joined");
        assert_eq!(value, whole);
        let mut top = json!(list(1000));
        let elements = cut(&mut top);
        assert!(join(&mut json!({}), elements.clone()).is_err(), "the lists of another value");
        join(&mut top, elements).expect("joined");
        assert_eq!(top, json!(list(1000)));
        assert!(cut(&mut json!(list(100))).is_empty(), "a small value stays whole");
        let many = format!("[{}0]", "0,".repeat(1 << 20));
        let many: Vec<_> = (0..40).map(|_| ("/of".to_owned(), many.clone())).collect();
        assert!(join(&mut json!({ "of": [] }), many).is_err(), "40 million values of 80 MiB of text");
    }
}
