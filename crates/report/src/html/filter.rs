//! The line of polars that gives the rows behind a finding again.

use scratchproof_finding::{Code, Finding};

/// How a table says which model and which part a row is of.
struct Columns {
    file: &'static str,
    /// `reference` with `parent:NAME`, or `parent` with the name alone.
    other: Option<&'static str>,
    component: bool,
    tensor: bool,
    step: Option<&'static str>,
}

const fn table(
    file: &'static str,
    other: Option<&'static str>,
    component: bool,
    tensor: bool,
    step: Option<&'static str>,
) -> Columns {
    Columns { file, other, component, tensor, step }
}

const TABLES: [Columns; 17] = [
    table("components", Some("reference"), true, false, Some("step")),
    table("trajectory", Some("reference"), true, true, Some("step")),
    table("pairs", Some("reference"), true, true, None),
    table("copies", Some("reference"), true, true, Some("step")),
    table("layer_map", Some("parent"), false, false, None),
    table("partial", Some("parent"), true, false, Some("step")),
    table("disguise", Some("reference"), true, false, None),
    table("merge", Some("parent"), true, false, None),
    table("tokenizers", Some("reference"), false, false, None),
    table("cka", Some("reference"), false, false, None),
    table("calibration", None, true, false, None),
    table("start", None, true, true, None),
    table("replay", None, true, true, None),
    table("decay", None, true, true, None),
    table("chain", None, true, false, None),
    table("path", None, true, false, Some("step")),
    table("returned", None, false, false, None),
];

/// The line for a finding; none where it names no table. Names of others are written as JSON strings, which Python reads.
pub(super) fn polars(finding: &Finding) -> Option<String> {
    let place = finding.evidence.as_deref()?;
    let file = place.strip_prefix("evidence/")?.strip_suffix(".parquet")?;
    let plain = file.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if !plain {
        return None;
    }
    let mut line = format!("pl.read_parquet(\"{place}\")");
    let Some(columns) = TABLES.iter().find(|table| table.file == file) else { return Some(line) };
    let about = &finding.subject;
    let mut conditions = Vec::new();
    let mut equal = |column: &str, value: String| conditions.push(format!("pl.col(\"{column}\") == {value}"));
    if let (Some(column), Some(parent)) = (columns.other, &about.parent) {
        let kind = if finding.code == Code::ParentReexpressed { "relabelled" } else { "parent" };
        equal(column, quoted(&if column == "reference" { format!("{kind}:{parent}") } else { parent.clone() }));
    }
    if let (true, Some(tensor)) = (columns.tensor, &about.tensor) {
        equal("tensor", quoted(tensor));
    } else if let (true, Some(component)) = (columns.component, &about.component) {
        equal("component", quoted(component));
    }
    if let (Some(step), [only]) = (columns.step, about.steps.as_slice()) {
        equal(step, only.to_string());
    }
    if !conditions.is_empty() {
        line += &format!(".filter({})", conditions.join(", "));
    }
    Some(line)
}

fn quoted(name: &str) -> String {
    serde_json::to_string(name).unwrap_or_default()
}
