//! How values are written in an entry.
//!
//! `fixed(3)`: three decimals; `signed(1)`: the same with its sign; `scientific(1)`: `3.2e-5`; `shortest`: as many digits
//! as tell the number from others; `steps`: an estimated number of steps; `percent(1)`: a share as `12.3 %`; `list`: `a, b
//! and c`; `listed(8)`: the same of eight at most, then how many more; `some(more)`: `a, b and 5 more`, of a list that was
//! cut by so many; `plural("layer")` and `plural("entry", "entries")`: the word for that many; `capital`: the first letter
//! as a sentence begins with it.
//!
//! `term("component")`: a word, or every word of a list, as `term.toml` has it.
//!
//! In Korean: `particle("은/는")`: the word and the form of the particle that its last letter asks for; the pairs are those
//! of [`particle::PAIRS`].

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};

use crate::{Language, entries, particle};

pub fn add(environment: &mut Environment<'_>, language: Language) {
    environment.add_filter("fixed", fixed);
    environment.add_filter("signed", signed);
    environment.add_filter("scientific", scientific);
    environment.add_filter("shortest", shortest);
    environment.add_filter("steps", steps);
    environment.add_filter("capital", capital);
    environment.add_filter("percent", move |value: Value, digits: Option<usize>| percent(&value, digits, language));
    environment.add_filter("plural", plural);
    environment.add_filter("particle", particled);
    environment.add_filter("term", move |words: Value, section: String| term_of(&words, &section, language));
    environment.add_filter("list", move |values: Vec<Value>| list(&values, language));
    environment.add_filter("listed", move |values: Vec<Value>, most: usize| {
        let rest = values.len().saturating_sub(most);
        if rest == 0 { list(&values, language) } else { some(&values[..most], rest, language) }
    });
    environment.add_filter("some", move |values: Vec<Value>, more: usize| some(&values, more, language));
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
fn signed(value: Value, digits: usize) -> Result<String, Error> {
    Ok(format!("{:+.digits$}", number(&value)?))
}

#[allow(clippy::needless_pass_by_value)]
fn scientific(value: Value, digits: usize) -> Result<String, Error> {
    Ok(format!("{:.digits$e}", number(&value)?))
}

#[allow(clippy::needless_pass_by_value)]
fn shortest(value: Value) -> Result<String, Error> {
    Ok(number(&value)?.to_string())
}

#[allow(clippy::needless_pass_by_value)]
fn steps(value: Value) -> Result<String, Error> {
    let steps = number(&value)?;
    Ok(if steps < 10.0 { format!("{steps:.1}") } else { format!("{steps:.0}") })
}

#[allow(clippy::needless_pass_by_value)]
fn capital(words: String) -> String {
    let mut chars = words.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// Korean sets no space before the sign.
fn percent(value: &Value, digits: Option<usize>, language: Language) -> Result<String, Error> {
    let space = if language == Language::Korean { "" } else { " " };
    Ok(format!("{:.*}{space}%", digits.unwrap_or(0), 100.0 * number(value)?))
}

#[allow(clippy::needless_pass_by_value)]
fn plural(count: Value, one: String, many: Option<String>) -> Result<String, Error> {
    let is_one = (number(&count)? - 1.0).abs() < f64::EPSILON;
    Ok(if is_one { one } else { many.unwrap_or_else(|| format!("{one}s")) })
}

#[allow(clippy::needless_pass_by_value)]
fn particled(word: Value, pair: String) -> Result<String, Error> {
    let word = word.to_string();
    let unknown = || Error::new(ErrorKind::InvalidOperation, format!("{pair} is no pair of particles"));
    particle::after(&word, &pair).map(|form| format!("{word}{form}")).ok_or_else(unknown)
}

fn term_of(words: &Value, section: &str, language: Language) -> Value {
    match words.kind() {
        ValueKind::Seq => words
            .try_iter()
            .map(|all| all.map(|word| term_of(&word, section, language)).collect::<Vec<_>>())
            .unwrap_or_default()
            .into(),
        _ => entries::term(section, &words.to_string(), language).into(),
    }
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

fn some(values: &[Value], more: usize, language: Language) -> String {
    let words = values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (more, language) {
        (0, _) => words,
        (_, Language::English) => format!("{words} and {more} more"),
        (_, Language::Korean) => format!("{words} 외 {more}개"),
    }
}
