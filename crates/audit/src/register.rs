//! The dates of the parents: what the case file, the register and the hubs say.

use std::collections::BTreeSet;

use chrono::DateTime;

use scratchproof_case::{Case, Reference};
use scratchproof_error::Result;
use scratchproof_finding::time::Listed;
use scratchproof_record::Release;
use scratchproof_source::{Access, fetch};
use scratchproof_timeline::Register;
use scratchproof_timeline::register::from_hub;

/// What a hub says of one model, at most.
const LONGEST: usize = 8 << 20;

/// The dates of every parent: the case file's, otherwise the register's, otherwise the floor that its hub gives.
pub(super) fn listed(case: &Case, given: &[(String, Option<Release>)], access: Access) -> Result<Vec<Listed>> {
    let register = Register::built_in()?;
    let one = |(parent, (name, given)): (&Reference, &(String, Option<Release>))| {
        let row = register.find(name, &parent.location.written);
        let mut found = row.map(scratchproof_timeline::register::Row::release).transpose()?;
        if let Some(found) = &mut found {
            found.name.clone_from(name);
        }
        let hub = if given.is_none() && found.is_none() { hub(parent, access) } else { None };
        Ok(Listed { parent: name.clone(), given: given.clone(), register: found, hub })
    };
    case.parents.iter().zip(given).map(one).collect()
}

/// Ids in the register of the parents and controls that the case names.
pub(super) fn proposed(case: &Case) -> Result<BTreeSet<String>> {
    let register = Register::built_in()?;
    let named = case.parents.iter().chain(&case.controls);
    let rows = named.filter_map(|reference| register.find(&reference.name, &reference.location.written));
    Ok(rows.map(|row| row.id.clone()).collect())
}

/// The date that counts.
pub(super) fn used(listed: &Listed) -> Option<&Release> {
    listed.given.as_ref().or(listed.register.as_ref()).or(listed.hub.as_ref())
}

/// When the hub's repository was created. The model itself was read from there; what it does not say of it is no error.
fn hub(parent: &Reference, access: Access) -> Option<Release> {
    let written = &parent.location.written;
    if access.offline || !parent.location.scheme().is_some_and(|scheme| scheme.eq_ignore_ascii_case("hf")) {
        return None;
    }
    let about: serde_json::Value = serde_json::from_slice(&fetch::about(written, access, LONGEST).ok()?).ok()?;
    let created = DateTime::parse_from_rfc3339(about.get("createdAt")?.as_str()?).ok()?;
    Some(from_hub(&parent.name, created.to_utc(), written.clone()))
}
