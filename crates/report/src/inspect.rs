//! What is in a checkpoint, rendered. Names come from files of strangers: they cannot move a cursor or make markup.

use std::fmt::Write;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::number;
use super::text as letters;
use scratchproof_checkpoint::{ByteCheck, DtypeRow, FamilyRow, Residual, Skipped, Summary, UnknownTensor};
use scratchproof_texts::{Language, Text, phrase, term, text};

/// Schema of the JSON form.
pub const SCHEMA: &str = "scratchproof.inspect/1";

/// Rows of a list that people are shown; scripts get all of them as JSON.
const SHOWN: usize = 100;

/// What the table's columns are called.
fn header(language: Language) -> [String; 6] {
    [
        text!("inspect/column/component"),
        text!("inspect/column/family"),
        text!("inspect/column/tensors"),
        text!("inspect/column/shape"),
        text!("inspect/column/parameters"),
        text!("inspect/column/format"),
    ]
    .map(|name| name.say(language))
}

/// For a terminal of so many columns; one newline at the end.
#[must_use]
pub fn to_terminal(summary: &Summary, width: usize, language: Language) -> String {
    let width = width.max(40);
    let mut out = format!("{}\n", letters::printable(&summary.uri));
    push_facts(&mut out, &facts(summary, language), width, language);
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width - 1).unwrap_or(u16::MAX)).set_header(header(language));
    for row in shown_families(summary).take(SHOWN) {
        table.add_row(cells(row, language).map(|cell| letters::printable(&cell)));
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
    if let Some(more) = more(shown_families(summary).count(), language) {
        push_folded(&mut out, "  ", &more, width);
    }
    for (title, list) in lists(summary, language) {
        out.push('\n');
        push_folded(&mut out, "", &title, width);
        for item in list.iter().take(SHOWN) {
            push_folded(&mut out, "  ", &letters::printable(item), width);
        }
        if let Some(more) = more(list.len(), language) {
            push_folded(&mut out, "  ", &more, width);
        }
    }
    out
}

/// For a pull request or a mail; one newline at the end.
#[must_use]
pub fn to_markdown(summary: &Summary, language: Language) -> String {
    let mut out = format!("# {}\n\n", safe(&summary.uri));
    for (name, value) in facts(summary, language) {
        put(&mut out, format_args!("- {}: {}\n", name.say(language), safe(&value)));
    }
    put(&mut out, format_args!("\n| {} |\n| --- | --- | ---: | --- | ---: | --- |\n", header(language).join(" | ")));
    for row in shown_families(summary).take(SHOWN) {
        put(&mut out, format_args!("| {} |\n", cells(row, language).map(|cell| safe(&cell)).join(" | ")));
    }
    if let Some(more) = more(shown_families(summary).count(), language) {
        put(&mut out, format_args!("\n{more}\n"));
    }
    for (title, list) in lists(summary, language) {
        put(&mut out, format_args!("\n## {title}\n\n"));
        for item in list.iter().take(SHOWN) {
            put(&mut out, format_args!("- {}\n", safe(item)));
        }
        if let Some(more) = more(list.len(), language) {
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
    let mut out = letters::json(serde_json::to_string_pretty(&document).unwrap_or_default());
    out.push('\n');
    out
}

/// The head of the page: name and value.
fn facts(summary: &Summary, language: Language) -> Vec<(Text, String)> {
    let say = |text: Text| text.say(language);
    let unknown = || say(text!("inspect/value/unknown"));
    let known = |value: Option<usize>| value.map_or_else(unknown, |value| number::count(value as u64));
    let dtype = |row: &DtypeRow| {
        say(text!("inspect/value/bytes", bytes = number::bytes(row.bytes), format = row.dtype.to_string()))
    };
    let tensors = text!("inspect/value/tensors", count = number::count(summary.tensors as u64), files = summary.shards);
    let mut facts = vec![
        (text!("inspect/fact/form"), summary.form.say(language)),
        (text!("inspect/fact/architecture"), summary.architecture.clone().unwrap_or_else(unknown)),
        (text!("inspect/fact/layers"), number::count(summary.layers as u64)),
        (text!("inspect/fact/hidden"), known(summary.hidden_size)),
        (text!("inspect/fact/vocabulary"), known(summary.vocabulary)),
        (text!("inspect/fact/parameters"), number::count(summary.parameters)),
        (text!("inspect/fact/tensors"), say(tensors)),
        (text!("inspect/fact/bytes"), summary.dtypes.iter().map(dtype).collect::<Vec<_>>().join(", ")),
    ];
    if summary.experts > 0 {
        facts.insert(3, (text!("inspect/fact/experts"), number::count(summary.experts as u64)));
    }
    if let Some(base) = &summary.adapter_of {
        facts.insert(0, (text!("inspect/fact/adapter"), say(text!("inspect/value/adapter", base = base.as_str()))));
    }
    if let Some(tokenizer) = &summary.tokenizer {
        facts.push((text!("inspect/fact/tokenizer"), phrase(tokenizer, language)));
    }
    if !summary.wrappers.is_empty() {
        let names = summary.wrappers.join(", ");
        facts.push((text!("inspect/fact/wrappers"), say(text!("inspect/value/wrappers", names))));
    }
    if let Some(check) = &summary.check {
        facts.push((text!("inspect/fact/checked"), say(checked(check))));
    }
    facts
}

fn checked(check: &ByteCheck) -> Text {
    let read = number::bytes(check.bytes_read);
    match (check.non_finite, check.zero_matrices.len()) {
        (0, 0) => text!("inspect/value/sound", read),
        (elements, matrices) => text!("inspect/value/unsound", read, elements, matrices),
    }
}

/// The rows of the table: families that a template knows.
fn shown_families(summary: &Summary) -> impl Iterator<Item = &FamilyRow> {
    summary.families.iter().filter(|row| row.known)
}

fn cells(row: &FamilyRow, language: Language) -> [String; 6] {
    let component = term("component", if row.constant { "constant" } else { row.component.name() }, language);
    [
        if row.tower.is_empty() { component } else { format!("{}: {component}", row.tower) },
        row.family.clone(),
        number::count(row.tensors as u64),
        shape(&row.shape, language),
        number::count(row.parameters),
        row.dtype.to_string(),
    ]
}

/// The sizes of a tensor along its axes.
fn shape(sizes: &[usize], language: Language) -> String {
    let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    if sizes.is_empty() { text!("inspect/value/scalar").say(language) } else { sizes.join(" x ") }
}

/// The lists below the table that are not empty.
fn lists(summary: &Summary, language: Language) -> Vec<(String, Vec<String>)> {
    let skipped = |skipped: &Skipped| format!("{}: {}", skipped.tensor, phrase(&skipped.why, language));
    let unknown = |tensor: &UnknownTensor| unknown(tensor, language);
    let mut lists = vec![
        (text!("inspect/list/read"), summary.notes.iter().map(|note| note.say(language)).collect()),
        (text!("inspect/list/unknown"), summary.unknown.iter().map(unknown).collect()),
        (text!("inspect/list/skipped"), summary.skipped.iter().map(skipped).collect()),
        (text!("inspect/list/unread"), summary.unread.clone()),
    ];
    if let Some(check) = &summary.check {
        lists.push((text!("inspect/list/non-finite"), check.non_finite_tensors.clone()));
        lists.push((text!("inspect/list/zero"), check.zero_matrices.clone()));
    }
    lists.retain(|(_, list): &(Text, Vec<String>)| !list.is_empty());
    let titled = |(title, list): (Text, Vec<String>)| {
        (format!("{} ({})", title.say(language), number::count(list.len() as u64)), list)
    };
    lists.into_iter().map(titled).collect()
}

/// A tensor that no template knows, with its shape and what could be deduced.
fn unknown(tensor: &UnknownTensor, language: Language) -> String {
    let line = format!("{}: {}, {}", tensor.tensor, shape(&tensor.shape, language), tensor.dtype);
    if !tensor.deduced {
        return line;
    }
    let axis = match tensor.residual {
        Residual::Rows => text!("inspect/deduced/rows"),
        Residual::Columns => text!("inspect/deduced/columns"),
        Residual::First => text!("inspect/deduced/first"),
        Residual::Vector => text!("inspect/deduced/vector"),
        Residual::None => text!("inspect/deduced/nothing"),
    };
    let deduced = match tensor.layer {
        Some(layer) => text!("inspect/deduced/layer", layer, axis),
        None => text!("inspect/deduced/axis", axis),
    };
    format!("{line}; {}", deduced.say(language))
}

/// What to say of the rest of a list that is too long.
fn more(length: usize, language: Language) -> Option<String> {
    let rest = length.checked_sub(SHOWN).filter(|rest| *rest > 0)?;
    Some(text!("inspect/list/more", count = number::count(rest as u64)).say(language))
}

/// Names and values, the values below each other.
pub(super) fn push_facts(out: &mut String, facts: &[(Text, String)], width: usize, language: Language) {
    let names: Vec<String> = facts.iter().map(|(name, _)| name.say(language)).collect();
    let widest = names.iter().map(|name| letters::width(name)).max().unwrap_or(0);
    for (name, (_, value)) in names.iter().zip(facts) {
        let room = " ".repeat(widest - letters::width(name));
        push_folded(out, &format!("  {name}{room}  "), value, width);
    }
}

/// A line with a first column, folded under itself.
pub(super) fn push_folded(out: &mut String, first: &str, rest: &str, width: usize) {
    let indent = letters::width(first);
    for (at, line) in letters::fold(rest, width.saturating_sub(indent).max(1)).into_iter().enumerate() {
        let lead = if at == 0 { first.to_owned() } else { " ".repeat(indent) };
        put(out, format_args!("{}\n", format!("{lead}{line}").trim_end()));
    }
}

/// Words from outside that cannot make markup, HTML, or an address that a forge turns into a link.
pub(super) fn safe(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for character in letters::printable(words).chars() {
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
        let shown = to_terminal(&summary, 80, Language::English);
        for words in
            ["architecture", "llama", "parameters", "18", "up_proj", "2 x 3", "12", "Names that no architecture"]
        {
            assert!(shown.contains(words), "{words} is not in\n{shown}");
        }
        assert!(shown.contains("\n  odd"), "{shown}");
        assert!(!shown.contains("experts") && !shown.contains("checked"));
        summary.check =
            Some(ByteCheck { non_finite: 2, zero_matrices: vec!["odd".to_owned()], ..ByteCheck::default() });
        assert!(to_terminal(&summary, 80, Language::English).contains("2 elements not finite, 1 matrix all zero"));
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        let names =
            ["model.layers.0.mlp.up_proj.weight", "a.very.long.name.that.nobody.knows.and.that.does.not.fit.a.line"];
        for width in [40, 60, 100] {
            for line in to_terminal(&summary(&names), width, Language::English).lines() {
                assert!(letters::width(line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn names_cannot_move_the_cursor_or_make_markup() {
        let summary = summary(&["\u{1b}[2J\u{202e}evil", "<script>|[x](http://y)"]);
        let shown = to_terminal(&summary, 120, Language::English);
        assert!(!shown.contains(['\u{1b}', '\u{202e}']) && shown.contains("\\u{1b}[2J"), "{shown}");
        let markdown = to_markdown(&summary, Language::English);
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
        assert!(to_terminal(&summary, 80, Language::English).contains("and 150 more"));
        assert!(to_markdown(&summary, Language::English).contains("and 150 more"));
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
        let markdown = to_markdown(&summary(&["model.layers.0.mlp.up_proj.weight"]), Language::English);
        assert!(markdown.contains("| mlp | up\\_proj | 1 | 2 x 3 | 6 | F32 |"), "{markdown}");
        assert!(markdown.starts_with("# memory\n"));
    }
}
