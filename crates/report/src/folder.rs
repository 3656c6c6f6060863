//! The folder that an audit leaves behind.

use super::timeline::{self, Timeline};
use super::{Report, Seal, Sealed, html, json, markdown};
use scratchproof_error::Result;
use scratchproof_evidence::Evidence;
use scratchproof_folder::Folder;
use scratchproof_texts::Language;

/// Name of the folder with the tables, inside that of the report.
pub const EVIDENCE: &str = "evidence";

/// Name of the folder with what came from weights, inside that of the report.
pub const MEASUREMENTS: &str = "measurements";

/// The files beside the tables. Pages are renderings of the first and are not sealed.
const PAGES: [&str; 3] = ["report.json", "report.html", "report.md"];

/// Whether everything that an audit writes may be written: to be asked before hours of reading.
///
/// # Errors
/// If a file of one of the names is not the tool's own.
pub fn check(folder: &Folder) -> Result<()> {
    folder.may_write(PAGES)?;
    Evidence::FILES.iter().try_for_each(|name| folder.may_write([format!("{EVIDENCE}/{name}").as_str()]))
}

/// Writes `evidence/*.parquet`, `report.html`, `report.md` and, last, `report.json`, and gives the report its seal: where
/// there is a `report.json`, everything else is there and belongs to it.
///
/// # Errors
/// If a file cannot be written, or one of the names is somebody else's.
pub fn write(report: &mut Report, evidence: &Evidence, folder: &Folder, language: Language) -> Result<()> {
    tables(evidence, folder, |_| true)?;
    report.seal = Some(seal(&report.case.digest, folder)?);
    folder.write("report.html", html::render(report, evidence, language)?.as_bytes())?;
    folder.write("report.md", markdown::to_markdown(report, evidence, language).as_bytes())?;
    folder.write("report.json", json::to_json(report).as_bytes())?;
    folder.finish()
}

/// Writes what [`timeline`] found: the tables of the record, `report.html`, `report.md` and, last, `report.json`.
///
/// # Errors
/// As [`write`].
pub fn write_timeline(found: &mut Timeline, evidence: &Evidence, folder: &Folder, language: Language) -> Result<()> {
    tables(evidence, folder, |name| timeline::TABLES.contains(&name))?;
    found.seal = Some(seal(&found.case.digest, folder)?);
    folder.write("report.html", html::timeline(found, language)?.as_bytes())?;
    folder.write("report.md", timeline::to_markdown(found, language).as_bytes())?;
    folder.write("report.json", timeline::to_json(found).as_bytes())?;
    folder.finish()
}

/// Writes the wanted tables and removes the others, after the report that an earlier run left: a report never stands
/// beside the tables of another one.
fn tables(evidence: &Evidence, folder: &Folder, wanted: impl Fn(&str) -> bool) -> Result<()> {
    check(folder)?;
    PAGES.iter().try_for_each(|name| folder.remove(name))?;
    for name in Evidence::FILES.iter().filter(|name| !wanted(name.trim_end_matches(".parquet"))) {
        folder.remove(&format!("{EVIDENCE}/{name}"))?;
    }
    evidence.encode(wanted, |name, bytes| folder.write(&format!("{EVIDENCE}/{name}"), bytes).map(|_| ()))
}

/// The digests of what a report rests on, and one over them.
fn seal(case: &str, folder: &Folder) -> Result<Seal> {
    let mut files = Vec::new();
    for place in [EVIDENCE, MEASUREMENTS] {
        files.extend(folder.files(&format!("{place}/"))?.into_iter().map(|file| Sealed {
            name: file.name,
            sha256: file.sha256,
            bytes: file.bytes,
        }));
    }
    Ok(Seal::over(case, files))
}

#[cfg(test)]
mod tests {
    use super::{Folder, write};
    use crate::sample;
    use scratchproof_evidence::Evidence;
    use scratchproof_texts::Language;

    fn names(dir: &std::path::Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
        names.sort();
        names
    }

    #[test]
    fn the_folder_is_the_contract_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let (mut report, evidence) = sample::confirmed();
        let out = dir.path().join("audit");
        write(&mut report, &evidence, &Folder::open(&out).expect("opened"), Language::English).expect("written");
        let first = std::fs::read(out.join("report.json")).expect("read");
        write(&mut report, &evidence, &Folder::open(&out).expect("opened"), Language::English).expect("written again");
        assert_eq!(std::fs::read(out.join("report.json")).expect("read"), first);
        assert_eq!(names(&out), [".scratchproof", "evidence", "report.html", "report.json", "report.md"]);
        assert_eq!(Evidence::read(&out.join("evidence")).expect("read"), evidence);
        let seal = report.seal.expect("sealed");
        assert_eq!(seal.files.len(), Evidence::FILES.len());
        assert!(seal.holds() && seal.files.iter().all(|file| file.sha256.len() == 64));
    }

    #[test]
    fn a_file_of_somebody_else_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("report.json"), "mine").expect("written");
        let (mut report, evidence) = sample::confirmed();
        let error = write(&mut report, &evidence, &Folder::open(dir.path()).expect("opened"), Language::English)
            .expect_err("refused");
        assert!(error.is_usage(), "{error}");
        assert_eq!(std::fs::read(dir.path().join("report.json")).expect("read"), b"mine");
        assert_eq!(names(dir.path()), [".scratchproof", "report.json"]);
    }

    #[test]
    fn what_cannot_be_written_is_an_error_of_the_system() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(Folder::open(file.path()).expect_err("a file is no folder").is_io());
    }
}
