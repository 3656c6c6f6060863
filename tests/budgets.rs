//! The budgets that SECURITY.md states are the constants of the code.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// What may be so much: file, constant, kind of input, what is counted, unit.
const BUDGETS: &[(&str, &str, &str, &str, Unit)] = &[
    ("case/src/file.rs", "LARGEST", "case file", "length", Unit::Bytes),
    ("checkpoint/src/header.rs", "LARGEST", "safetensors", "header", Unit::Bytes),
    ("checkpoint/src/header/json.rs", "MOST_AXES", "safetensors", "axes of a tensor", Unit::Count),
    ("checkpoint/src/index.rs", "LARGEST", "shard index, configuration", "length", Unit::Bytes),
    ("checkpoint/src/shape.rs", "ELEMENTS", "any checkpoint", "elements of a tensor", Unit::Count),
    ("error/src/json.rs", "MOST", "any JSON", "memory of what is made of it", Unit::Bytes),
    ("checkpoint/src/catalogue.rs", "TENSORS", "any checkpoint", "tensors", Unit::Count),
    ("checkpoint/src/catalogue.rs", "LONGEST_NAME", "any checkpoint", "name of a tensor", Unit::Bytes),
    (
        "checkpoint/src/catalogue.rs",
        "EMPTY",
        "any checkpoint",
        "files with less than a thousandth for tensors",
        Unit::Bytes,
    ),
    ("checkpoint/src/forms/zip.rs", "LARGEST", "torch, npz", "directory of the archive", Unit::Bytes),
    ("checkpoint/src/forms/zip.rs", "ENTRIES", "torch, npz", "files in the archive", Unit::Count),
    ("checkpoint/src/forms/zip.rs", "UNPACKED", "torch, npz", "a compressed file, unpacked", Unit::Bytes),
    ("checkpoint/src/forms/torch.rs", "LARGEST", "torch", "pickle", Unit::Bytes),
    ("checkpoint/src/forms/pickle/machine.rs", "VALUES", "torch", "values of a pickle", Unit::Count),
    ("checkpoint/src/forms/pickle/tree.rs", "DEPTH", "torch", "depth of a pickle", Unit::Count),
    ("checkpoint/src/forms/distributed.rs", "LARGEST", "distributed checkpoint", "`.metadata`", Unit::Bytes),
    ("checkpoint/src/forms/distributed.rs", "PIECES", "distributed checkpoint", "pieces of tensors", Unit::Count),
    ("checkpoint/src/forms/gguf.rs", "TENSORS", "GGUF", "tensors", Unit::Count),
    ("checkpoint/src/forms/gguf.rs", "SETTINGS", "GGUF", "settings", Unit::Count),
    ("checkpoint/src/forms/gguf.rs", "ITEMS", "GGUF", "items of lists", Unit::Count),
    ("checkpoint/src/forms/onnx.rs", "MESSAGES", "ONNX", "messages", Unit::Count),
    ("checkpoint/src/forms/npz.rs", "HEADER", "npz", "header of an array", Unit::Bytes),
    ("checkpoint/src/tokenizer.rs", "MOST_TOKENS", "tokenizer", "tokens", Unit::Count),
    ("checkpoint/src/tokenizer.rs", "MOST_MERGES", "tokenizer", "merges", Unit::Count),
    ("record/src/leveldb.rs", "RECORD_LIMIT", "`.wandb`", "a record", Unit::Bytes),
    ("record/src/history.rs", "COLUMNS", "any run log", "columns", Unit::Count),
    ("record/src/history.rs", "VALUES", "any run log", "values", Unit::Count),
    ("record/src/run.rs", "RUNS", "folder of runs", "runs", Unit::Count),
    ("record/src/wandb/folder.rs", "SMALL", "W&B folder", "a file beside the log", Unit::Bytes),
    ("record/src/wandb/folder.rs", "OUTPUT", "W&B folder", "console output", Unit::Bytes),
    ("record/src/tensorboard.rs", "RECORD", "TensorBoard", "a record", Unit::Bytes),
    ("record/src/trainer_state.rs", "LIMIT", "`trainer_state.json`", "length", Unit::Bytes),
    ("record/src/export/csv.rs", "LIMIT", "CSV export", "length", Unit::Bytes),
    ("record/src/export/elements.rs", "LINE", "JSON lines", "a line", Unit::Bytes),
    ("record/src/export/json.rs", "DOCUMENT", "JSON export", "a document in one piece", Unit::Bytes),
    ("record/src/export/parquet.rs", "LIMIT", "parquet export", "length", Unit::Bytes),
    ("record/src/export/footer.rs", "FOOTER", "parquet export", "footer", Unit::Bytes),
    ("record/src/export/footer.rs", "PAGE", "parquet export", "a page, unpacked", Unit::Bytes),
    ("record/src/export/footer.rs", "DEPTH", "parquet export", "depth of the footer", Unit::Count),
    ("record/src/git/guard.rs", "CONFIG", "git", "`config`, `info/attributes`, an included file", Unit::Bytes),
    ("record/src/git/guard.rs", "INCLUDES", "git", "included files", Unit::Count),
    ("record/src/git/guard.rs", "LIST", "git", "`packed-refs`, `shallow`, `info/grafts`", Unit::Bytes),
    ("record/src/git/guard.rs", "REFERENCES", "git", "loose references", Unit::Count),
    ("record/src/git/guard.rs", "LARGEST", "git", "a commit or tag", Unit::Bytes),
    ("record/src/git/guard.rs", "NESTED", "git", "tags of tags", Unit::Count),
    ("record/src/git/reading.rs", "COMMITS", "git", "all commits", Unit::Bytes),
    ("record/src/git/reading.rs", "PARENTS", "git", "parents of all commits", Unit::Count),
    ("record/src/git/reading.rs", "TAGS", "git", "all tags", Unit::Bytes),
    ("record/src/git/objects.rs", "MOST", "git", "commits a witness may be of", Unit::Count),
    ("record/src/git/loose.rs", "OBJECTS", "git", "loose objects", Unit::Count),
    ("record/src/git/sound.rs", "INDEX_LIMIT", "git", "index of a pack", Unit::Bytes),
    ("record/src/git/packs.rs", "CHAIN", "git", "differences upon each other", Unit::Count),
    ("record/src/git/packs.rs", "BASE", "git", "what a small object is made from", Unit::Bytes),
    ("record/src/git/sound.rs", "FOLDERS", "git", "folders of borrowed objects", Unit::Count),
    ("record/src/git/changes.rs", "TREE_LIMIT", "git", "a tree", Unit::Bytes),
    ("record/src/git/changes.rs", "DEPTH", "git", "folders in each other", Unit::Count),
    ("record/src/git/changes.rs", "ENTRIES_OF_ONE", "git", "entries of trees compared for a commit", Unit::Count),
    ("record/src/git/changes.rs", "ENTRIES", "git", "entries of trees compared in all", Unit::Count),
    ("record/src/git/changes.rs", "CHANGES_OF_ONE", "git", "changed files of a commit", Unit::Count),
    ("record/src/git/changes.rs", "CHANGES", "git", "changed files in all", Unit::Count),
    ("record/src/git/changes.rs", "PATHS", "git", "their paths", Unit::Bytes),
    ("record/src/git/changes.rs", "FILE_LIMIT", "git", "a file that is looked into", Unit::Bytes),
    ("record/src/git/changes.rs", "BYTES", "git", "all versions of files", Unit::Bytes),
    ("record/src/git/layout.rs", "SIZES", "git", "sizes in the history of settings", Unit::Count),
    ("record/src/git/mentioned.rs", "KEPT", "git", "mentions of models", Unit::Count),
    ("record/src/git/pointers.rs", "KEPT", "git", "Git LFS pointers", Unit::Count),
    ("record/src/git/reftable.rs", "LARGEST", "git", "a reftable", Unit::Bytes),
    ("record/src/git/bundle.rs", "LIMIT", "git bundle", "length", Unit::Bytes),
    ("record/src/git/unpacked.rs", "OBJECTS", "git bundle", "objects", Unit::Count),
    ("record/src/git/unpacked.rs", "TOTAL", "git bundle", "all objects, and all that is made on the way", Unit::Bytes),
    ("record/src/git/signatures/reading.rs", "KEY_FILE", "keys of signatures", "a file", Unit::Bytes),
    ("record/src/git/signatures/reading.rs", "LIMIT", "keys of signatures", "signatures checked", Unit::Count),
    ("record/src/witness/token.rs", "LARGEST", "time stamp (RFC 3161)", "length", Unit::Bytes),
    ("record/src/witness/ots.rs", "LARGEST", "OpenTimestamps", "length", Unit::Bytes),
    ("record/src/witness/ots.rs", "DEEPEST", "OpenTimestamps", "steps in each other", Unit::Count),
    ("record/src/witness/headers.rs", "LARGEST", "block headers", "length", Unit::Bytes),
    ("record/src/witness/document.rs", "LARGEST", "saved answer of a hub or forge", "length", Unit::Bytes),
    ("attest/src/ledger.rs", "LONGEST", "ledger", "length", Unit::Bytes),
    ("attest/src/ledger.rs", "LONGEST_LINE", "ledger", "an entry", Unit::Bytes),
    ("attest/src/clocks.rs", "MOST", "ledger", "stamps", Unit::Count),
    ("attest/src/dsse.rs", "LONGEST", "envelope, signature over a model, revealed tensor", "length", Unit::Bytes),
    ("attest/src/merkle.rs", "ROWS", "revealed tensor", "rows of a tensor", Unit::Count),
    ("folder/src/lib.rs", "LONGEST", "output folder, units of a plan", "a file", Unit::Bytes),
    ("folder/src/record.rs", "LONGEST", "output folder", "`.scratchproof`", Unit::Bytes),
    ("folder/src/record.rs", "LINES", "output folder", "`.scratchproof`, lines", Unit::Count),
    ("evidence/src/table.rs", "LONGEST", "output folder", "a table", Unit::Bytes),
    ("evidence/src/table.rs", "CELLS", "output folder", "cells of its tables", Unit::Count),
    ("store/src/tables.rs", "MOST_SUMS", "measurements", "sums of a piece", Unit::Count),
    ("store/src/tables.rs", "MOST_VALUES", "measurements", "kept values of a piece", Unit::Count),
    ("store/src/tables.rs", "MOST_ELEMENTS", "measurements", "elements of lists of a piece", Unit::Count),
    ("store/src/lists.rs", "MOST", "measurements", "memory of the lists of a piece", Unit::Bytes),
    ("report/src/read.rs", "LONGEST", "output folder", "`report.json`", Unit::Bytes),
    ("record/src/export/losses.rs", "LONGEST", "recomputed losses", "length", Unit::Bytes),
    ("case/src/profile.rs", "LONGEST", "a programme's questions", "length", Unit::Bytes),
    ("audit/src/models.rs", "CHECKPOINTS", "series", "checkpoints that are used", Unit::Count),
    ("audit/src/models.rs", "TEMPLATES", "templates of names", "length", Unit::Bytes),
    ("source/src/web.rs", "LARGEST_TEXT", "hub, web", "a text", Unit::Bytes),
    ("source/src/network.rs", "REDIRECTS", "hub, web, service", "redirects", Unit::Count),
    ("source/src/hub.rs", "PAGES", "hub", "pages of a list", Unit::Count),
];

#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    Count,
}

const START: &str = "<!-- budgets -->\n";
const END: &str = "<!-- end of budgets -->\n";

/// The number that a constant is written as: digits, and a shift of them.
fn value(source: &str, name: &str) -> Option<u64> {
    let line = source.lines().find(|line| {
        line.trim_start()
            .trim_start_matches("pub ")
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub(super) ")
            .starts_with(&format!("const {name}: "))
    })?;
    let written = line.split_once(" = ")?.1.split(';').next()?.replace('_', "");
    let mut parts = written.split(" << ");
    let first: u64 = parts.next()?.trim().parse().ok()?;
    let shift: u32 = parts.next().map_or(Some(0), |shift| shift.trim().parse().ok())?;
    Some(first << shift)
}

fn shown(value: u64, unit: Unit) -> String {
    let digits = value.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match unit {
        Unit::Bytes => {
            let step =
                [(30, "GiB"), (20, "MiB"), (10, "KiB")].into_iter().find(|(shift, _)| value.is_multiple_of(1 << shift));
            step.map_or(format!("{grouped} bytes"), |(shift, name)| format!("{} {name}", value >> shift))
        }
        Unit::Count => grouped,
    }
}

#[test]
fn the_table_of_budgets_is_made_from_the_constants() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut table = String::from("| input | what | at most |\n| --- | --- | --- |\n");
    for (file, name, kind, what, unit) in BUDGETS {
        let source = fs::read_to_string(root.join("crates").join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let value = value(&source, name).unwrap_or_else(|| panic!("{file} has no constant {name} of a plain number"));
        writeln!(table, "| {kind} | {what} | {} |", shown(value, *unit)).expect("a string");
    }
    let path = root.join("SECURITY.md");
    let text = fs::read_to_string(&path).expect("SECURITY.md");
    let (before, rest) = text.split_once(START).expect("a mark where the table begins");
    let (there, after) = rest.split_once(END).expect("a mark where it ends");
    if std::env::var_os("SCRATCHPROOF_REFRESH").is_some() {
        fs::write(&path, format!("{before}{START}{table}{END}{after}")).expect("written");
        return;
    }
    assert_eq!(there, table, "SCRATCHPROOF_REFRESH=1 cargo test --release --test budgets writes it anew");
}

/// Every test that SECURITY.md names as holding a promise is there and is run.
#[test]
fn every_promise_names_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("SECURITY.md")).expect("SECURITY.md");
    let (_, promises) = text.split_once("## What is promised\n").expect("the promises");
    let promises = promises.split("\n## ").next().unwrap_or_default();
    let mut named = BTreeSet::new();
    for line in promises.lines().filter(|line| line.starts_with("- ")) {
        let held = line.split_once("(held by ").unwrap_or_else(|| panic!("no test holds: {line}")).1;
        let tests: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{line}");
        named.extend(tests);
    }
    for test in named {
        let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{test} is no file and test"));
        let source = fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let at = source.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("{file} has no test {name}"));
        let before = source[..at].trim_end();
        assert!(before.ends_with("#[test]"), "{test} is no test, or is not run");
    }
}
