//! The models that a case names, opened.

use std::sync::Arc;

use scratchproof_case::{Case, Location, Subject};
use scratchproof_checkpoint::{Checkpoint, packaged_alike};
use scratchproof_error::{Context, Result};
use scratchproof_measure::Models;
use scratchproof_source::Access;

/// Opens all of them.
pub(super) fn open(case: &Case, access: Access) -> Result<Models> {
    let Subject { checkpoints, .. } = &case.subject;
    let one = |location: &Location, role: String| open_at(location, role, access);
    let series = checkpoints
        .iter()
        .map(|c| one(&c.location, c.step.map_or("subject".into(), |step| format!("checkpoint of step {step}"))))
        .collect::<Result<_>>()?;
    let parents = case.parents.iter().map(|p| one(&p.location, format!("parent {}", p.name)));
    let controls = case.controls.iter().map(|c| one(&c.location, format!("control {}", c.name)));
    let references = parents.chain(controls).collect::<Result<_>>()?;
    let (checkpoints, references) = packaged_alike(series, references);
    Ok(Models {
        checkpoints,
        steps: case.subject.checkpoints.iter().map(|c| c.step.unwrap_or(0)).collect(),
        references: references.into_iter().map(Arc::new).collect(),
        parents: case.parents.len(),
    })
}

/// Opens one model; `role` says in messages what it is for.
pub(super) fn open_at(location: &Location, role: String, access: Access) -> Result<Checkpoint> {
    if location.scheme().is_some() {
        // Named as its place is: at the commit that was read, without what may be secret in an address.
        return Checkpoint::open_named(&location.written, access).context(|| role);
    }
    let mut checkpoint = Checkpoint::open(&location.path, access.reading).context(|| role)?;
    // The report names models as the case file does, whatever folder the audit is run from.
    checkpoint.uri.clone_from(&location.written);
    Ok(checkpoint)
}
