//! The work of a case as data: planned here, done in parts anywhere, folded to the result of one machine.

use std::path::{Path, PathBuf};

use scratchproof_case::Case;
use scratchproof_error::{Error, Result};
use scratchproof_folder::Folder;
use scratchproof_measure::{Journal, Prepared, Quiet, Reporter, Unit, prepare, units};
use scratchproof_measurements::KERNEL_VERSION;
use scratchproof_source::Access;
use scratchproof_store::{Memory, PLAN, PlanFile, PlannedTensor, PlannedUnit, Seen, Store, Then, Units};
use scratchproof_texts::text;

use super::asked::Asked;
use super::choice::Pinned;
use super::expand::expand;
use super::measuring::{local, locations, measured, question};
use super::{Audit, judge, models};

/// Writes the plan of a case; how many units it has.
///
/// # Errors
/// If a model cannot be read or the plan cannot be written.
pub fn plan(case: &Case, access: Access, output: &Path) -> Result<usize> {
    let memory = Memory::default();
    let prepared = prepare(models::open(case, access)?, &memory, &Quiet)?;
    let folder = output.parent().map_or(Path::new(""), |folder| folder);
    let absolute = |path: &Path| std::path::absolute(path).map_err(|cause| Error::io(path.display(), cause));
    let (place, file) =
        (absolute(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?, absolute(&case.path)?);
    let plan = PlanFile {
        schema: PLAN.to_owned(),
        kernels: KERNEL_VERSION,
        // Beside the plan or below it by a relative path, so that both can be moved together.
        case: file.strip_prefix(&place).map_or(file.clone(), Path::to_owned),
        case_sha256: case.digest.clone(),
        choice: Pinned::of(case)
            .map(serde_json::to_value)
            .transpose()
            .map_err(|cause| Error::input(cause.to_string()))?,
        units: units(&prepared).iter().map(|unit| planned(&prepared, unit)).collect(),
        done: memory.done(),
    };
    plan.write(output)?;
    Ok(plan.units.len())
}

fn planned(prepared: &Prepared, unit: &Unit) -> PlannedUnit {
    let own = unit.tensors.clone().unwrap_or(0..0);
    let tensor = |tensor: &scratchproof_measurements::Unit| PlannedTensor {
        id: tensor.id.clone(),
        name: tensor.tensor.clone(),
        shape: tensor.shape.clone(),
        ranges: tensor
            .members
            .iter()
            .map(|m| (m.model, m.shard, m.offset, m.offset + (tensor.elements() * m.dtype.width()) as u64))
            .collect(),
    };
    PlannedUnit {
        name: unit.piece.name.clone(),
        key: unit.piece.key.clone(),
        bytes: unit.bytes,
        models: unit.piece.models.clone(),
        after: unit.after(prepared),
        tensors: prepared.plan.units[own].iter().map(tensor).collect(),
    }
}

/// The plan in a file, and the case it is of.
fn open(path: &Path, access: Access) -> Result<(PlanFile, Case)> {
    let plan = PlanFile::read(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut case = Case::read(&folder.join(&plan.case))?;
    match &plan.choice {
        Some(choice) => Pinned::read(choice.to_string().as_bytes())?.apply(&mut case)?,
        None => expand(&mut case, access, &Asked::default()).map(|_| ())?,
    }
    if case.digest != plan.case_sha256 {
        return Err(Error::usage(text!("error-audit/elsewhere/changed-since-plan-made", path = case.path.display())));
    }
    Ok((plan, case))
}

/// Does some units of a plan: those that were there, and those that were done.
///
/// # Errors
/// If the plan is of other kernels, a model was changed since, or a unit cannot be written.
pub fn work(
    path: &Path,
    only: Option<&str>,
    output: Option<&Path>,
    access: Access,
    reporter: &dyn Reporter,
) -> Result<(usize, usize)> {
    let (plan, case) = open(path, access)?;
    let wanted = range(only, plan.units.len())?;
    let output = output.map_or_else(|| path.with_file_name("units"), PathBuf::from);
    let journal = Units::to_do(&plan, &plan.units[wanted.clone()], &output)?;
    let mut prepared = prepare(models::open(&case, access)?, &journal, reporter)?;
    let all = units(&prepared);
    let own = all.get(wanted).ok_or_else(|| Error::usage(text!("error-audit/elsewhere/plan-other-models-case")))?;
    let (first, then): (Vec<&Unit>, Vec<&Unit>) = own.iter().partition(|unit| !unit.rests_on_searches());
    first.iter().try_for_each(|unit| unit.run(&prepared, &journal, reporter))?;
    let mut lacking = Vec::new();
    for unit in then {
        if journal.get(&unit.piece)?.is_none() {
            lacking.push(unit);
        }
    }
    if !lacking.is_empty() {
        prepared.relabel(&journal, reporter)?;
    }
    reporter.begin("measuring", lacking.iter().map(|unit| unit.bytes).sum());
    lacking.iter().try_for_each(|unit| unit.run(&prepared, &journal, reporter))?;
    reporter.end();
    Ok(journal.counts())
}

/// `3`, `0-7`, or `2/8`, the third of eight shares; all if nothing is said.
fn range(only: Option<&str>, all: usize) -> Result<std::ops::Range<usize>> {
    let Some(only) = only else { return Ok(0..all) };
    let bad = || Error::usage(text!("error-audit/elsewhere/only-give-unit-range", only, all));
    let number = |text: &str| text.parse::<usize>().map_err(|_| bad());
    let range = if let Some((share, of)) = only.split_once('/') {
        let (share, of) = (number(share)?, number(of)?);
        if share >= of {
            return Err(bad());
        }
        let edge = |at: usize| usize::try_from(at as u128 * all as u128 / of as u128).unwrap_or(all);
        edge(share)..edge(share + 1)
    } else if let Some((first, last)) = only.split_once('-') {
        number(first)?..number(last)?.checked_add(1).ok_or_else(bad)?
    } else {
        let one = number(only)?;
        one..one.checked_add(1).ok_or_else(bad)?
    };
    if range.start > range.end || range.end > all { Err(bad()) } else { Ok(range) }
}

/// Folds the units of a plan, of which every one must be there once, and judges.
///
/// # Errors
/// If a unit is lacking, there twice, altered or of another plan.
pub fn reduce(path: &Path, dir: &Path, folder: &Folder, access: Access, reporter: &dyn Reporter) -> Result<Audit> {
    let (plan, case) = open(path, access)?;
    let units = Units::all(&plan, dir)?;
    let seen: Vec<Seen> = locations(&case).map(|at| Seen::at(&at.written, local(at))).collect();
    let store = Store::open(folder, &seen)?;
    let (measured, read) = measured(&case, access, &Then(&units, &store), reporter)?;
    store.finish(&question(&case), &measured)?;
    super::choice::remember(&case, folder)?;
    Ok(judge(&case, &measured, read))
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn shares_cover_everything_once() {
        for all in [0, 1, 7, 8, 100] {
            let mut next = 0;
            for share in 0..8 {
                let own = range(Some(&format!("{share}/8")), all).expect("a share");
                assert_eq!(own.start, next);
                next = own.end;
            }
            assert_eq!(next, all);
        }
        assert_eq!(range(Some("3"), 8).expect("a unit"), 3..4);
        assert_eq!(range(Some("0-7"), 8).expect("a range"), 0..8);
        assert_eq!(range(None, 8).expect("all"), 0..8);
        for wrong in ["8", "0-8", "5-3", "8/8", "x", "1/", "-", "18446744073709551615"] {
            assert!(range(Some(wrong), 8).is_err(), "{wrong}");
        }
    }
}
