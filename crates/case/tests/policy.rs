//! `docs/policy.md`: every threshold with its default and what it says, made from the source.
//!
//! `SCRATCHPROOF_REFRESH=1 cargo test --release --test policy` writes it anew.

use std::fs;
use std::path::Path;

use scratchproof_case::Policy;

const HEAD: &str = "# Thresholds\n\n\
    Every threshold of the judgement, as `[policy]` in a case file may set it. A report prints all of them. This table is made\n\
    from `crates/case/src/policy.rs`; where a sentence gives measured figures, it says of what.\n\n\
    | key | default | what it says |\n| --- | --- | --- |\n";

/// Key and words of every field, in the order of the source.
fn fields(source: &str) -> Vec<(String, String)> {
    let body = source.split_once("pub struct Policy {").expect("the policy").1.split_once("\n}").expect("its end").0;
    let (mut fields, mut words) = (Vec::new(), String::new());
    for line in body.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            words = format!("{words} {}", doc.trim());
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|field| field.split_once(':')) {
            fields.push((name.to_owned(), std::mem::take(&mut words).trim().to_owned()));
        }
    }
    fields
}

#[test]
fn the_table_of_thresholds_is_as_committed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = fs::read_to_string(root.join("src/policy.rs")).expect("the source");
    let defaults = toml::Table::try_from(Policy::default()).expect("a table");
    let fields = fields(&source);
    // What has no default is not in the table of defaults.
    assert_eq!(fields.len(), defaults.len() + 1, "a threshold is not in the table");
    let mut table = HEAD.to_owned();
    for (name, words) in fields {
        assert!(!words.is_empty(), "{name} is not explained");
        let value = match defaults.get(&name) {
            None if name == "profile" => "none".to_owned(),
            value => value.unwrap_or_else(|| panic!("{name} has no default")).to_string(),
        };
        table.push_str(&format!("| `{name}` | {value} | {} |\n", words.replace('|', "\\|")));
    }
    let file = root.join("../../docs/policy.md");
    if std::env::var_os("SCRATCHPROOF_REFRESH").is_some_and(|value| value == "1") {
        fs::write(&file, &table).expect("written");
    }
    assert_eq!(fs::read_to_string(&file).unwrap_or_default(), table, "write it anew with SCRATCHPROOF_REFRESH=1");
}
