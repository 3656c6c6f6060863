//! How values are written in an entry.
//!
//! `fixed(3)`: three decimals; `percent(1)`: a share as `12.3 %`; `list`: `a, b and c`; `plural("layer")` and
//! `plural("entry", "entries")`: the word for that many.

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

use crate::Language;

pub fn add(environment: &mut Environment<'_>, language: Language) {
    environment.add_filter("fixed", fixed);
    environment.add_filter("percent", percent);
    environment.add_filter("plural", plural);
    environment.add_filter("list", move |values: Vec<Value>| list(&values, language));
}

fn number(value: &Value) -> Result<f64, Error> {
    if value.kind() == ValueKind::Number || value.kind() == ValueKind::None {
        return Ok(f64::try_from(value.clone()).unwrap_or(f64::NAN));
    }
    Err(Error::new(ErrorKind::InvalidOperation, format!("{value} is no number")))
}

#[allow(clippy::needless_pass_by_value)] // as the engine hands it over
fn fixed(value: Value, digits: usize) -> Result<String, Error> {
    Ok(format!("{:.digits$}", number(&value)?))
}

#[allow(clippy::needless_pass_by_value)]
fn percent(value: Value, digits: Option<usize>) -> Result<String, Error> {
    Ok(format!("{:.*} %", digits.unwrap_or(0), 100.0 * number(&value)?))
}

#[allow(clippy::needless_pass_by_value)]
fn plural(count: Value, one: String, many: Option<String>) -> Result<String, Error> {
    let is_one = (number(&count)? - 1.0).abs() < f64::EPSILON;
    Ok(if is_one { one } else { many.unwrap_or_else(|| format!("{one}s")) })
}

fn list(values: &[Value], language: Language) -> String {
    let words: Vec<String> = values.iter().map(ToString::to_string).collect();
    match (words.as_slice(), language) {
        ([], _) => String::new(),
        ([one], _) => one.clone(),
        (many, Language::Korean) => many.join(", "),
        ([rest @ .., last], Language::English) => format!("{} and {last}", rest.join(", ")),
    }
}
