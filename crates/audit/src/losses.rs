//! The table of recomputed losses of a case, held against the weights that were measured.

use scratchproof_case::Location;
use scratchproof_record::{Recomputed, Targets, losses};
use scratchproof_report::{Input, InputRole};

/// Reads the table. What is wrong with it is in the answer: a loss counts only where its weights are those of the case.
pub(super) fn read(location: &Location, targets: &Targets) -> (Recomputed, Option<Input>) {
    let source = location.written.clone();
    let table = match losses(&location.path) {
        Ok(table) => table,
        Err(why) => {
            let why = why.to_string().replace(&location.path.display().to_string(), &source);
            return (Recomputed { source, unreadable: Some(why), ..Recomputed::default() }, None);
        }
    };
    let input = Input {
        role: InputRole::Loss,
        name: location.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        uri: source.clone(),
        sha256: table.sha256,
        bytes: table.bytes,
    };
    let mut seen = Recomputed { source, ..Recomputed::default() };
    for row in table.rows {
        let own = targets.checkpoints.iter().find(|own| own.step == row.step);
        // The one file of a checkpoint, or all of its files by name.
        let same = own.is_some_and(|own| {
            let manifest = own.manifest.strip_prefix("sha256:").unwrap_or(&own.manifest);
            manifest == row.weights || own.files.len() == 1 && own.files[0].sha256 == row.weights
        });
        if same { seen.rows.push(row) } else { seen.other.push(row.step) }
    }
    seen.other.sort_unstable();
    seen.other.dedup();
    (seen, Some(input))
}
