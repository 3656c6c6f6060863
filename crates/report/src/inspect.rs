//! What is in a checkpoint, rendered. Names come from files of strangers: they cannot move a cursor or make markup.

use std::fmt::Write;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::{number, text};
use scratchproof_checkpoint::{ByteCheck, DtypeRow, FamilyRow, Residual, Skipped, Summary, UnknownTensor};
use scratchproof_texts::Text;

/// Schema of the JSON form.
pub const SCHEMA: &str = "scratchproof.inspect/1";

/// Rows of a list that people are shown; scripts get all of them as JSON.
const SHOWN: usize = 100;

const HEADER: [&str; 6] = ["component", "family", "tensors", "shape", "parameters", "format"];

/// For a terminal of so many columns; one newline at the end.
#[must_use]
pub fn to_terminal(summary: &Summary, width: usize) -> String {
    let width = width.max(40);
    let mut out = format!("{}\n", text::printable(&summary.uri));
    let facts = facts(summary);
    let label = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in facts {
        push_folded(&mut out, &format!("  {name:label$}  "), &value, width);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width - 1).unwrap_or(u16::MAX)).set_header(HEADER);
    for row in shown_families(summary).take(SHOWN) {
        table.add_row(cells(row).map(|cell| text::printable(&cell)));
    }
    for index in [2, 4] {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    if !table.is_empty() {
        out.push('\n');
        for line in table.lines() {
            out.push_str(format!(" {line}").trim_end());
            out.push('\n');
        }
    }
    if let Some(more) = more(shown_families(summary).count()) {
        push_folded(&mut out, "  ", &more, width);
    }
    for (title, list) in lists(summary) {
        out.push('\n');
        push_folded(&mut out, "", &title, width);
        for item in list.iter().take(SHOWN) {
            push_folded(&mut out, "  ", &text::printable(item), width);
        }
        if let Some(more) = more(list.len()) {
            push_folded(&mut out, "  ", &more, width);
        }
    }
    out
}

/// For a pull request or a mail; one newline at the end.
#[must_use]
pub fn to_markdown(summary: &Summary) -> String {
    let mut out = format!("# {}\n\n", safe(&summary.uri));
    for (name, value) in facts(summary) {
        put(&mut out, format_args!("- {name}: {}\n", safe(&value)));
    }
    put(&mut out, format_args!("\n| {} |\n| --- | --- | ---: | --- | ---: | --- |\n", HEADER.join(" | ")));
    for row in shown_families(summary).take(SHOWN) {
        put(&mut out, format_args!("| {} |\n", cells(row).map(|cell| safe(&cell)).join(" | ")));
    }
    if let Some(more) = more(shown_families(summary).count()) {
        put(&mut out, format_args!("\n{more}\n"));
    }
    for (title, list) in lists(summary) {
        put(&mut out, format_args!("\n## {title}\n\n"));
        for item in list.iter().take(SHOWN) {
            put(&mut out, format_args!("- {}\n", safe(item)));
        }
        if let Some(more) = more(list.len()) {
            put(&mut out, format_args!("- {more}\n"));
        }
    }
    out
}

/// For scripts: the whole value, with its schema first; one newline at the end.
#[must_use]
pub fn to_json(summary: &Summary) -> String {
    #[derive(serde::Serialize)]
    struct Document<'a> {
        schema: &'static str,
        #[serde(flatten)]
        summary: &'a Summary,
    }
    let document = Document { schema: SCHEMA, summary };
    let mut out = super::text::json(serde_json::to_string_pretty(&document).unwrap_or_default());
    out.push('\n');
    out
}

/// The head of the page: name and value.
fn facts(summary: &Summary) -> Vec<(&'static str, String)> {
    let known = |value: Option<usize>| value.map_or_else(|| "unknown".to_owned(), |value| number::count(value as u64));
    let dtype = |row: &DtypeRow| format!("{} in {}", number::bytes(row.bytes), row.dtype);
    let mut facts = vec![
        ("form", summary.form.english()),
        ("architecture", summary.architecture.clone().unwrap_or_else(|| "unknown".to_owned())),
        ("layers", number::count(summary.layers as u64)),
        ("hidden size", known(summary.hidden_size)),
        ("vocabulary", known(summary.vocabulary)),
        ("parameters", number::count(summary.parameters)),
        ("tensors", format!("{} in {}", number::count(summary.tensors as u64), plural(summary.shards, "file"))),
        ("bytes", summary.dtypes.iter().map(dtype).collect::<Vec<_>>().join(", ")),
    ];
    if summary.experts > 0 {
        facts.insert(3, ("experts", number::count(summary.experts as u64)));
    }
    if let Some(base) = &summary.adapter_of {
        facts.insert(0, ("adapter", format!("an adapter of {base} (adapter_config.json)")));
    }
    if let Some(tokenizer) = &summary.tokenizer {
        facts.push(("tokenizer", tokenizer.clone()));
    }
    if !summary.wrappers.is_empty() {
        facts.push(("wrappers", format!("{} (names here are without)", summary.wrappers.join(", "))));
    }
    if let Some(check) = &summary.check {
        facts.push(("checked", checked(check)));
    }
    facts
}

fn checked(check: &ByteCheck) -> String {
    let read = number::bytes(check.bytes_read);
    match (check.non_finite, check.zero_matrices.len()) {
        (0, 0) => format!("{read} read: every element is finite, no matrix is all zero"),
        (elements, matrices) => format!(
            "{read} read: {} not finite, {} all zero",
            plural(usize::try_from(elements).unwrap_or(usize::MAX), "element"),
            if matrices == 1 { "1 matrix".to_owned() } else { format!("{} matrices", number::count(matrices as u64)) }
        ),
    }
}

/// The rows of the table: families that a template knows.
fn shown_families(summary: &Summary) -> impl Iterator<Item = &FamilyRow> {
    summary.families.iter().filter(|row| row.known)
}

fn cells(row: &FamilyRow) -> [String; 6] {
    let shape: Vec<String> = row.shape.iter().map(ToString::to_string).collect();
    let component = if row.constant { "constant" } else { row.component.name() };
    [
        if row.tower.is_empty() { component.to_owned() } else { format!("{}: {component}", row.tower) },
        row.family.clone(),
        number::count(row.tensors as u64),
        if shape.is_empty() { "scalar".to_owned() } else { shape.join(" x ") },
        number::count(row.parameters),
        row.dtype.to_string(),
    ]
}

/// The lists below the table that are not empty.
fn lists(summary: &Summary) -> Vec<(String, Vec<String>)> {
    let skipped = |skipped: &Skipped| format!("{}: {}", skipped.tensor, skipped.why);
    let mut lists = vec![
        ("How it was read".to_owned(), summary.notes.iter().map(Text::english).collect()),
        ("Names that no architecture knows".to_owned(), summary.unknown.iter().map(unknown).collect()),
        ("Tensors that are not looked at".to_owned(), summary.skipped.iter().map(skipped).collect()),
        ("Files with tensors in the folder that are not part of the model".to_owned(), summary.unread.clone()),
    ];
    if let Some(check) = &summary.check {
        lists.push(("Tensors with elements that are not finite".to_owned(), check.non_finite_tensors.clone()));
        lists.push(("Matrices that are all zero".to_owned(), check.zero_matrices.clone()));
    }
    lists.retain(|(_, list)| !list.is_empty());
    for (title, list) in &mut lists {
        put(title, format_args!(" ({})", number::count(list.len() as u64)));
    }
    lists
}

/// A tensor that no template knows, with its shape and what could be deduced.
fn unknown(tensor: &UnknownTensor) -> String {
    let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
    let shape = if shape.is_empty() { "scalar".to_owned() } else { shape.join(" x ") };
    let mut line = format!("{}: {shape}, {}", tensor.tensor, tensor.dtype);
    if tensor.deduced {
        if let Some(layer) = tensor.layer {
            put(&mut line, format_args!("; deduced: layer {layer}"));
        }
        let axis = match tensor.residual {
            Residual::Rows => "residual axis in the rows",
            Residual::Columns => "residual axis in the columns",
            Residual::First => "residual axis first",
            Residual::Vector => "over the residual axis",
            Residual::None => "no residual axis",
        };
        put(&mut line, format_args!("{} {axis}", if tensor.layer.is_some() { "," } else { "; deduced:" }));
    }
    line
}

/// What to say of the rest of a list that is too long.
fn more(length: usize) -> Option<String> {
    let rest = length.checked_sub(SHOWN).filter(|rest| *rest > 0)?;
    Some(format!("... and {} more; `--format json` lists all", number::count(rest as u64)))
}

fn plural(count: usize, thing: &str) -> String {
    format!("{} {thing}{}", number::count(count as u64), if count == 1 { "" } else { "s" })
}

/// A line with a first column, folded under itself.
pub(super) fn push_folded(out: &mut String, first: &str, rest: &str, width: usize) {
    let indent = first.len();
    for (at, line) in text::fold(rest, width.saturating_sub(indent).max(1)).into_iter().enumerate() {
        let lead = if at == 0 { first.to_owned() } else { " ".repeat(indent) };
        put(out, format_args!("{}\n", format!("{lead}{line}").trim_end()));
    }
}

/// Words from outside that cannot make markup, HTML, or an address that a forge turns into a link.
pub(super) fn safe(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for character in text::printable(words).chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '@' => out.push_str("&#64;"),
            ':' => out.push_str("&#58;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => out.extend(['\\', character]),
            _ => out.push(character),
        }
    }
    out
}

/// Appends; a string takes everything.
fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;
    use scratchproof_checkpoint::{Checkpoint, Component, Dtype};
    use scratchproof_source::MemoryStore;

    fn summary(names: &[&str]) -> Summary {
        let mut header = serde_json::Map::new();
        for (i, name) in names.iter().enumerate() {
            let entry = serde_json::json!({ "dtype": "F32", "shape": [2, 3], "data_offsets": [24 * i, 24 * (i + 1)] });
            header.insert((*name).to_owned(), entry);
        }
        let header = serde_json::Value::Object(header).to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + 24 * names.len(), 0);
        Summary::of(&Checkpoint::from_store(&MemoryStore::new().with("model.safetensors", bytes)).unwrap())
    }

    #[test]
    fn people_see_the_facts_and_the_families() {
        let mut summary = summary(&["model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight", "odd"]);
        let shown = to_terminal(&summary, 80);
        for words in
            ["architecture", "llama", "parameters", "18", "up_proj", "2 x 3", "12", "Names that no architecture"]
        {
            assert!(shown.contains(words), "{words} is not in\n{shown}");
        }
        assert!(shown.contains("\n  odd"), "{shown}");
        assert!(!shown.contains("experts") && !shown.contains("checked"));
        summary.check =
            Some(ByteCheck { non_finite: 2, zero_matrices: vec!["odd".to_owned()], ..ByteCheck::default() });
        assert!(to_terminal(&summary, 80).contains("2 elements not finite, 1 matrix all zero"));
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        let names =
            ["model.layers.0.mlp.up_proj.weight", "a.very.long.name.that.nobody.knows.and.that.does.not.fit.a.line"];
        for width in [40, 60, 100] {
            for line in to_terminal(&summary(&names), width).lines() {
                assert!(text::width(line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn names_cannot_move_the_cursor_or_make_markup() {
        let summary = summary(&["\u{1b}[2J\u{202e}evil", "<script>|[x](http://y)"]);
        let shown = to_terminal(&summary, 120);
        assert!(!shown.contains(['\u{1b}', '\u{202e}']) && shown.contains("\\u{1b}[2J"), "{shown}");
        let markdown = to_markdown(&summary);
        assert!(
            !markdown.contains("<script>") && !markdown.contains("[x]") && !markdown.contains("http:"),
            "{markdown}"
        );
    }

    #[test]
    fn long_lists_are_cut_for_people_only() {
        let names: Vec<String> = (0..250).map(|i| format!("odd{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let summary = summary(&names);
        assert!(to_terminal(&summary, 80).contains("and 150 more"));
        assert!(to_markdown(&summary).contains("and 150 more"));
        assert!(to_json(&summary).contains("\"odd249\""));
    }

    #[test]
    fn scripts_get_the_schema_first_and_everything() {
        let json = to_json(&summary(&["model.norm.weight"]));
        assert!(json.starts_with("{\n  \"schema\": \"scratchproof.inspect/1\",\n  \"uri\""), "{json}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["families"][0]["component"], serde_json::to_value(Component::Norms).unwrap());
        assert_eq!(value["dtypes"][0]["dtype"], serde_json::to_value(Dtype::F32).unwrap());
        assert_eq!(value["check"], serde_json::Value::Null);
    }

    #[test]
    fn markdown_is_a_table() {
        let markdown = to_markdown(&summary(&["model.layers.0.mlp.up_proj.weight"]));
        assert!(markdown.contains("| mlp | up\\_proj | 1 | 2 x 3 | 6 | F32 |"), "{markdown}");
        assert!(markdown.starts_with("# memory\n"));
    }
}
