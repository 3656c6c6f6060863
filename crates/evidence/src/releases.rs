//! The register of releases held against a case.

/// One row of `evidence/releases.parquet`: one known model. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct ReleaseRow {
    pub id: String,
    pub name: String,
    pub maker: String,
    /// As the register has it.
    pub released: String,
    /// It was not public before; null where nothing is known of how early it was.
    pub not_before: Option<String>,
    /// It was public from here on.
    pub not_after: String,
    pub grade: String,
    pub source: String,
    /// How the subject's sizes stand to its: `equal`, `deeper`, `vocabulary` or `none`.
    pub relation: String,
    /// Sizes that are equal.
    pub equal: String,
    /// Sizes that are not.
    pub unequal: String,
    /// Whether it was public before the run: `yes`, `no`, `unsettled`, `unknown`.
    pub before_start: String,
    /// Whether the case names it.
    pub proposed: bool,
}
