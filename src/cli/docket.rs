//! Many submissions: each audited into a folder of its own, or read from a finished one; one table and one page.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use scratchproof::audit::audit_into;
use scratchproof::error::{Context, Error, Result};
use scratchproof::evidence::{Evidence, docket::encode};
use scratchproof::finding::Outcome;
use scratchproof::folder::Folder;
use scratchproof::measure::Reporter;
use scratchproof::report::docket::{self, Entry};
use scratchproof::report::read::{self, Finished};
use scratchproof::report::{Report, folder, html, json, markdown};
use scratchproof::source::Access;
use scratchproof::texts::Language;
use scratchproof_texts::text;

/// Letters of a folder's name.
const LETTERS: usize = 60;

/// Runs or reads every submission and writes the docket. One that cannot be run is a row with the reason.
///
/// # Errors
/// If the docket itself cannot be written.
pub fn run(
    given: &[PathBuf],
    output: &Path,
    access: impl Fn() -> Access,
    reporter: &dyn Reporter,
    language: Language,
    say: impl Fn(&str),
) -> Result<Vec<Entry>> {
    let root = Folder::open(output)?;
    let files = ["index.html", "docket.csv", "docket.json", "docket.parquet"];
    root.may_write(files)?;
    let mut taken = BTreeSet::new();
    let mut entries = Vec::new();
    for path in given {
        let name = free(&slug(path), &mut taken);
        let inside = format!("cases/{name}");
        say(&format!("{} of {}: {}", entries.len() + 1, given.len(), path.display()));
        let found = submission(path, &output.join("cases").join(&name), access(), reporter, language);
        entries.push(Entry {
            given: path.display().to_string(),
            folder: found.is_ok().then_some(inside),
            report: found.map(Box::new).map_err(|error| error.to_string()),
        });
    }
    root.write("docket.csv", docket::to_csv(&entries).as_bytes())?;
    root.write("docket.json", docket::to_json(&entries).as_bytes())?;
    root.write("docket.parquet", &encode(&docket::rows(&entries))?)?;
    root.write("index.html", docket::to_html(&entries, language)?.as_bytes())?;
    root.finish()?;
    Ok(entries)
}

/// One submission, its pages written below the docket.
fn submission(path: &Path, into: &Path, access: Access, reporter: &dyn Reporter, language: Language) -> Result<Report> {
    if path.is_dir() && path.join("report.json").is_file() {
        let Finished::Audit(report, evidence) = read::read(path)? else {
            return Err(Error::input(text!("error-cli/docket/folder-holds-record-alone")));
        };
        pages(&report, &evidence, into, language)?;
        return Ok(*report);
    }
    let file = if path.is_dir() { path.join("case.toml") } else { path.to_owned() };
    if path.is_dir() && !file.is_file() {
        let is = |entry: &std::fs::DirEntry, name: &str| entry.path().join(name).is_file();
        let inside_of = |entry: &std::fs::DirEntry| is(entry, "case.toml") || is(entry, "report.json");
        let cases = std::fs::read_dir(path).map_or(0, |all| all.flatten().filter(|entry| inside_of(entry)).count());
        let path = path.display();
        return Err(Error::usage(text!("error-cli/docket/no-case", path, cases)));
    }
    let case = super::read_case(&file, Some(into))?;
    let folder = Folder::open(into)?;
    folder::check(&folder)?;
    let (mut done, _) = audit_into(&case, access, &folder, false, reporter)?;
    folder::write(&mut done.report, &done.evidence, &folder, language)?;
    Ok(done.report)
}

/// The pages of a finished folder again: no weight and no measurement is needed.
fn pages(report: &Report, evidence: &Evidence, into: &Path, language: Language) -> Result<()> {
    let folder = Folder::open(into).context(|| into.display().to_string())?;
    folder.write("report.html", html::render(report, evidence, language)?.as_bytes())?;
    folder.write("report.md", markdown::to_markdown(report, evidence, language).as_bytes())?;
    folder.write("report.json", json::to_json(report).as_bytes())?;
    evidence.encode(|_| true, |name, bytes| folder.write(&format!("evidence/{name}"), bytes).map(|_| ()))?;
    folder.finish()
}

/// A name for a folder: of a case file that of the folder it stands in; letters that every server takes.
fn slug(path: &Path) -> String {
    let own = path.file_stem().filter(|stem| *stem != "case").or_else(|| path.parent().and_then(Path::file_name));
    let name = own.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let plain: String = name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '-' || letter == '_' { letter } else { '-' })
        .take(LETTERS)
        .collect();
    let plain = plain.trim_matches('-').to_ascii_lowercase();
    if plain.is_empty() { "case".to_owned() } else { plain }
}

fn free(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut free = name.to_owned();
    let mut number = 2;
    while !taken.insert(free.clone()) {
        free = format!("{name}-{number}");
        number += 1;
    }
    free
}

/// 1 if one is refuted, else 3 if one is not settled or could not be run, else 0.
pub fn status(entries: &[Entry]) -> u8 {
    let outcome = |entry: &Entry| entry.report.as_ref().ok().map(|report| report.verdict.outcome);
    if entries.iter().any(|entry| outcome(entry) == Some(Outcome::Refuted)) {
        1
    } else if entries.iter().any(|entry| outcome(entry) != Some(Outcome::Confirmed)) {
        3
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::{free, slug};
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn folders_have_names_that_every_server_takes() {
        assert_eq!(slug(Path::new("a/scratch-moe/case.toml")), "scratch-moe");
        assert_eq!(slug(Path::new("a/한국/../<b>\u{202e}.toml")), "b");
        assert_eq!(slug(Path::new("..")), "case");
        assert!(slug(Path::new(&"x".repeat(9000))).len() <= 60);
        let mut taken = BTreeSet::new();
        assert_eq!([free("a", &mut taken), free("a", &mut taken), free("a", &mut taken)], ["a", "a-2", "a-3"]);
    }
}
