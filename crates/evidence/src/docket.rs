//! The table of a docket: many submissions, one row each.

use polars::prelude::DataFrame;
use serde::Serialize;

use super::table::{self, Row};
use scratchproof_error::Result;

/// One submission. Texts are English; a figure that was not reached is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct DocketRow {
    /// As it was given on the command line.
    pub given: String,
    pub case: String,
    pub subject: String,
    pub claimant: Option<String>,
    /// `confirmed`, `refuted`, `inconclusive`, or `failed` where the case could not be run.
    pub outcome: String,
    /// The answer; of one that failed the reason.
    pub answer: String,
    /// `holds`, `fails` or `untested`; empty of one that failed.
    pub start: String,
    pub chain: String,
    pub parent: String,
    pub time: String,
    /// Share of the first checkpoint's parameters that could be held against a random draw.
    pub start_reached: Option<f64>,
    /// Share of the parameters in which a parent's weights would have been seen.
    pub parent_reached: Option<f64>,
    /// The smallest correlation with a parent that would have been seen.
    pub smallest_correlation: Option<f64>,
    /// Intervals of the chain in which nothing would have been seen.
    pub chain_untested: Option<u64>,
    /// Parents that a part was taken from, separated by `; `.
    pub accused: String,
    /// Components, separated by `; `.
    pub derived: String,
    pub independent: String,
    pub undetermined: String,
    /// What is missing, separated by `; `.
    pub missing: String,
    pub missing_count: u64,
    /// `sha256:` of the case file.
    pub digest: String,
    /// Root of the seal.
    pub seal: Option<String>,
    /// The page, relative to the docket.
    pub report: Option<String>,
}

impl table::Cell for Option<u64> {
    fn series(name: &str, values: &[&Self]) -> Result<polars::prelude::Series> {
        let values: Vec<Option<i64>> =
            values.iter().map(|value| value.map(|value| i64::try_from(value).unwrap_or(i64::MAX))).collect();
        <Option<i64> as table::Cell>::series(name, &values.iter().collect::<Vec<_>>())
    }

    fn cells(column: &polars::prelude::Column) -> Result<Vec<Self>> {
        let values = <Option<i64> as table::Cell>::cells(column)?;
        Ok(values.into_iter().map(|value| value.and_then(|value| u64::try_from(value).ok())).collect())
    }
}

macro_rules! columns {
    ($($column:ident),* $(,)?) => {
        impl DocketRow {
            /// Names of the columns, in order.
            pub const COLUMNS: &[&str] = &[$(stringify!($column)),*];
        }

        impl Row for DocketRow {
            fn frame(rows: &[Self]) -> Result<DataFrame> {
                table::join(rows.len(), vec![
                    $(table::column(stringify!($column), rows.iter().map(|row| &row.$column).collect())?),*
                ])
            }

            fn rows(frame: &DataFrame) -> Result<Vec<Self>> {
                $(let mut $column = table::cells(frame, stringify!($column))?.into_iter();)*
                (0..frame.height()).map(|_| Ok(Self { $($column: table::next(&mut $column)?),* })).collect()
            }
        }
    };
}

columns! {
    given, case, subject, claimant, outcome, answer, start, chain, parent, time, start_reached, parent_reached,
    smallest_correlation, chain_untested, accused, derived, independent, undetermined, missing, missing_count, digest,
    seal, report,
}

/// The table as parquet; the same rows give the same bytes.
///
/// # Errors
/// If the table cannot be encoded.
pub fn encode(rows: &[DocketRow]) -> Result<Vec<u8>> {
    table::encode(rows)
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// If the file cannot be read or has not the columns of the table.
pub fn read(path: &std::path::Path) -> Result<Vec<DocketRow>> {
    table::read(path, &mut { table::CELLS })
}

#[cfg(test)]
mod tests {
    use super::{DocketRow, encode, read};

    #[test]
    fn a_docket_is_read_as_it_was_written() {
        let rows = vec![
            DocketRow {
                case: "a".into(),
                smallest_correlation: Some(0.25),
                chain_untested: Some(2),
                ..DocketRow::default()
            },
            DocketRow { case: "\u{202e}<b>".repeat(2000), outcome: "failed".into(), ..DocketRow::default() },
        ];
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), encode(&rows).expect("encoded")).expect("written");
        assert_eq!(read(file.path()).expect("read"), rows);
        assert_eq!(
            serde_json::to_value(&rows[0]).expect("JSON").as_object().expect("an object").len(),
            DocketRow::COLUMNS.len()
        );
    }
}
