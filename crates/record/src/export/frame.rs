//! Tables of JSON, in every orientation that pandas writes and its relatives: columns of rows, rows by their index, names and
//! data apart, a schema beside them, lists by name, lists of lists.
//!
//! A table is walked in place, all columns at once: nothing of it is held but the run that is made.

use std::borrow::Cow;

use super::elements::{elements, members, row};
use super::{Rows, STEPS};

/// Columns of a table, at most.
const COLUMNS: usize = 20_000;
/// A table whose columns do not have the same rows in the same order is put together if it is no longer than this.
const RAGGED: usize = 64 << 20;

/// Takes the rows of a table; nothing if it is none, and then `rows` is as it was.
pub(super) fn table(rows: &mut Rows, text: &str) -> Option<()> {
    if text.starts_with('[') {
        return lists(rows, text);
    }
    let has = |name: &str, start: &str| {
        members(text).is_some_and(|mut all| all.any(|m| m.is_some_and(|(k, v)| k == name && v.starts_with(start))))
    };
    if has("data", "[") && has("columns", "[") {
        return split(rows, text);
    }
    if has("data", "[") && has("schema", "{") {
        return schema(rows, member(text, "data")?);
    }
    if has("columns", "[") && members(text)?.count() == 1 {
        return named(rows, member(text, "columns")?);
    }
    by_name(rows, text)
}

fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    members(text)?.flatten().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// A whole number, as an index of rows is.
fn whole(key: &str) -> bool {
    let digits = key.strip_prefix('-').unwrap_or(key);
    !digits.is_empty() && digits.len() < 19 && digits.bytes().all(|b| b.is_ascii_digit())
}

fn word(text: &str) -> Option<String> {
    if text.starts_with('"') { serde_json::from_str(text).ok() } else { Some(text.to_owned()) }
}

/// Begins a row of these cells; where none of them counts steps the row's name does, if it is a whole number.
fn begin(rows: &mut Rows, cells: &[(Cow<'_, str>, &str)], index: Option<&str>) -> i64 {
    let counted = cells.iter().any(|(name, _)| STEPS.contains(&name.as_ref()));
    let index = index.filter(|index| !counted && whole(index));
    rows.begin(|name| match index {
        Some(index) => (name == STEPS[0]).then_some(index),
        None => cells.iter().find(|(key, _)| key == name).map(|(_, value)| *value),
    })
}

fn take(rows: &mut Rows, cells: &[(Cow<'_, str>, &str)], index: Option<&str>) {
    let step = begin(rows, cells, index);
    for (name, value) in cells {
        rows.history.push(step, name, value);
    }
}

/// `orient="split"` and `"tight"`: names, index and data apart.
fn split(rows: &mut Rows, text: &str) -> Option<()> {
    let names: Option<Vec<String>> = elements(member(text, "columns")?)?.map(|name| word(name?)).collect();
    let names = names.filter(|names| names.len() <= COLUMNS)?;
    let data = member(text, "data")?;
    let mut index = member(text, "index").and_then(elements);
    for line in elements(data)? {
        let cells: Option<Vec<_>> = names
            .iter()
            .zip(elements(line?)?)
            .map(|(name, value)| Some((Cow::Borrowed(name.as_str()), value?)))
            .collect();
        let own = index.as_mut().and_then(|index| index.next().flatten());
        take(rows, &cells?, own);
    }
    (rows.history.rows > 0).then_some(())
}

/// `orient="table"`: the rows lie beside their schema.
fn schema(rows: &mut Rows, data: &str) -> Option<()> {
    for line in elements(data)? {
        row(rows, line?)?;
    }
    (rows.history.rows > 0).then_some(())
}

/// As older polars writes it: a list of columns, each with its name and its values.
fn named(rows: &mut Rows, columns: &str) -> Option<()> {
    let mut all = Vec::new();
    for column in elements(columns)? {
        let column = column?;
        all.push((Cow::Owned(word(member(column, "name")?)?), member(column, "values")?));
    }
    side_by_side(rows, &all)
}

/// Members that are objects: columns by name (`orient="columns"`, the default) or rows by index (`"index"`); members that are
/// lists: columns by name.
fn by_name(rows: &mut Rows, text: &str) -> Option<()> {
    let all: Option<Vec<_>> = members(text)?.take(2).collect();
    let (first, value) = all?.into_iter().next()?;
    if value.starts_with('[') || !value.starts_with('{') {
        return beside(rows, text);
    }
    let inner = members(value)?.next()??.0;
    // Rows have whole numbers as names, columns have not; a table of one row named 0 has both ways to be read, and columns is
    // what pandas writes unasked.
    match (whole(&first), whole(&inner)) {
        (_, true) => columns(rows, text),
        (true, false) => by_index(rows, text),
        (false, false) => None,
    }
}

/// Rows by their index.
fn by_index(rows: &mut Rows, text: &str) -> Option<()> {
    if members(text)?.any(|member| !member.is_some_and(|(key, value)| whole(&key) && value.starts_with('{'))) {
        return None;
    }
    for member in members(text)? {
        let (index, line) = member?;
        let cells: Option<Vec<_>> = members(line)?.collect();
        take(rows, &cells?, Some(&index));
    }
    (rows.history.rows > 0).then_some(())
}

/// Columns by name, each an object of its rows.
fn columns(rows: &mut Rows, text: &str) -> Option<()> {
    let all: Option<Vec<_>> = members(text)?.collect();
    let all = all.filter(|all| all.len() <= COLUMNS && all.iter().all(|(_, value)| value.starts_with('{')))?;
    if !aligned(&all)? {
        return if text.len() <= RAGGED { ragged(rows, &all) } else { None };
    }
    let mut streams: Vec<_> = all.iter().map(|(_, value)| members(value)).collect::<Option<_>>()?;
    let (first, others) = streams.split_first_mut()?;
    for member in first {
        let (index, value) = member?;
        let mut cells = vec![(Cow::Borrowed(all[0].0.as_ref()), value)];
        for ((name, _), stream) in all[1..].iter().zip(&mut *others) {
            cells.push((Cow::Borrowed(name.as_ref()), stream.next()??.1));
        }
        take(rows, &cells, Some(&index));
    }
    (rows.history.rows > 0).then_some(())
}

/// Whether all columns name the same rows in the same order.
fn aligned(all: &[(Cow<'_, str>, &str)]) -> Option<bool> {
    let Some(((_, first), others)) = all.split_first() else { return Some(false) };
    for (_, other) in others {
        let (mut a, mut b) = (members(first)?, members(other)?);
        loop {
            match (a.next(), b.next()) {
                (None, None) => break,
                (Some(a), Some(b)) if a.as_ref()?.0 == b.as_ref()?.0 => {}
                _ => return Some(false),
            }
        }
    }
    Some(true)
}

/// Columns that miss rows: the rows in the order in which they are first named.
fn ragged(rows: &mut Rows, all: &[(Cow<'_, str>, &str)]) -> Option<()> {
    let mut places: std::collections::HashMap<Cow<'_, str>, usize> = std::collections::HashMap::new();
    #[allow(clippy::type_complexity, reason = "a line and its cells, used here alone")]
    let mut lines: Vec<(Cow<'_, str>, Vec<(Cow<'_, str>, &str)>)> = Vec::new();
    for (name, value) in all {
        for member in members(value)? {
            let (index, cell) = member?;
            let place = *places.entry(index.clone()).or_insert_with(|| {
                lines.push((index, Vec::new()));
                lines.len() - 1
            });
            lines[place].1.push((Cow::Borrowed(name.as_ref()), cell));
        }
    }
    if lines.iter().all(|(index, _)| whole(index)) {
        lines.sort_by_key(|(index, _)| index.parse::<i64>().unwrap_or(i64::MAX));
    }
    for (index, cells) in &lines {
        take(rows, cells, Some(index));
    }
    (rows.history.rows > 0).then_some(())
}

/// Lists by name, as `to_dict("list")` and Keras write a history; what is no list beside them is of the run and not a row.
fn beside(rows: &mut Rows, text: &str) -> Option<()> {
    let all: Option<Vec<_>> = members(text)?.collect();
    let all = all?;
    // One row may hold lists too; it counts its step by one number.
    if all.iter().any(|(name, value)| STEPS.contains(&name.as_ref()) && !value.starts_with('[')) {
        return None;
    }
    let lists: Vec<_> = all.into_iter().filter(|(_, value)| value.starts_with('[')).collect();
    if lists.is_empty() || lists.len() > COLUMNS {
        return None;
    }
    side_by_side(rows, &lists)
}

/// Columns as lists of one length of two or more.
fn side_by_side(rows: &mut Rows, lists: &[(Cow<'_, str>, &str)]) -> Option<()> {
    let mut lengths = lists.iter().map(|(_, list)| elements(list).map(Iterator::count));
    let length = lengths.next()??;
    if length < 2 || lengths.any(|other| other != Some(length)) {
        return None;
    }
    let mut streams: Vec<_> = lists.iter().map(|(_, list)| elements(list)).collect::<Option<_>>()?;
    for _ in 0..length {
        let cells: Option<Vec<_>> = lists
            .iter()
            .zip(&mut streams)
            .map(|((name, _), stream)| Some((Cow::Borrowed(name.as_ref()), stream.next()??)))
            .collect();
        take(rows, &cells?, None);
    }
    Some(())
}

/// Lists of lists (`orient="values"`): names stand in the first of them or nowhere. Without names the columns are called by
/// their number, from 0, so that a case file can say which is which; but a list of wall clock, step and value is
/// `TensorBoard`'s.
fn lists(rows: &mut Rows, text: &str) -> Option<()> {
    let mut lines = elements(text)?.peekable();
    let first: Vec<&str> = elements((*lines.peek()?)?)?.collect::<Option<_>>()?;
    if first.is_empty()
        || first.len() > COLUMNS
        || elements(text)?.any(|line| !line.is_some_and(|l| l.starts_with('[')))
    {
        return None;
    }
    let header = first.iter().all(|cell| cell.starts_with('"'));
    let names: Vec<String> = if header {
        lines.next();
        first.iter().map(|name| word(name)).collect::<Option<_>>()?
    } else if is_scalar(text) {
        ["_timestamp", "_step", "value"].map(str::to_owned).to_vec()
    } else {
        (0..first.len()).map(|at| at.to_string()).collect()
    };
    for line in lines {
        let cells: Option<Vec<_>> = names
            .iter()
            .zip(elements(line?)?)
            .map(|(name, value)| Some((Cow::Borrowed(name.as_str()), value?)))
            .collect();
        take(rows, &cells?, None);
    }
    (rows.history.rows > 0).then_some(())
}

/// Whether every line is a time of this age, a step and a value.
fn is_scalar(text: &str) -> bool {
    let line = |line: &str| -> Option<bool> {
        let cells: Vec<f64> =
            elements(line)?.map(|cell| cell?.trim_matches('"').parse().ok()).collect::<Option<_>>()?;
        let [wall, step, _] = cells[..] else { return Some(false) };
        Some((1e9..1e10).contains(&wall) && step.fract() == 0.0)
    };
    elements(text).is_some_and(|mut all| all.all(|own| own.and_then(line) == Some(true)))
}
