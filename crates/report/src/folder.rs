//! The folder that an audit leaves behind.

use std::fs;
use std::path::Path;

use super::{Report, html, json, markdown};
use scratchproof_error::{Error, Result};
use scratchproof_evidence::Evidence;

/// Name of the folder with the tables, inside that of the report.
pub const EVIDENCE: &str = "evidence";

/// Writes `evidence/*.parquet`, `report.html`, `report.md` and, last, `report.json` to `dir`, which is made if missing.
/// Every file of the report is whole or absent, and where there is a `report.json` everything else is there.
///
/// # Errors
/// If a file cannot be written.
pub fn write(report: &Report, evidence: &Evidence, dir: &Path) -> Result<()> {
    evidence.write(&dir.join(EVIDENCE))?;
    whole(dir, "report.html", &html::render(report, evidence)?)?;
    whole(dir, "report.md", &markdown::to_markdown(report, evidence))?;
    whole(dir, "report.json", &json::to_json(report))
}

/// Writes a file whole or not at all.
pub(super) fn whole(dir: &Path, name: &str, text: &str) -> Result<()> {
    let part = dir.join(format!(".{name}.part"));
    fs::write(&part, text)
        .and_then(|()| fs::rename(&part, dir.join(name)))
        .map_err(|cause| Error::io(format!("cannot write {name}"), cause))
}

#[cfg(test)]
mod tests {
    use super::write;
    use crate::sample;
    use scratchproof_evidence::Evidence;

    #[test]
    fn the_folder_is_the_contract_and_nothing_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let (report, evidence) = sample::confirmed();
        let out = dir.path().join("audit");
        write(&report, &evidence, &out).expect("written");
        write(&report, &evidence, &out).expect("written again");
        let mut names: Vec<_> = std::fs::read_dir(&out)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .collect();
        names.sort();
        assert_eq!(names, ["evidence", "report.html", "report.json", "report.md"]);
        assert_eq!(Evidence::read(&out.join("evidence")).expect("read"), evidence);
    }

    #[test]
    fn what_cannot_be_written_is_an_error_of_the_system() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let (report, evidence) = sample::confirmed();
        assert!(write(&report, &evidence, file.path()).expect_err("a file is no folder").is_io());
    }
}
