//! The declared initialisation, drawn again.

use scratchproof_case::Case;
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::{Context, Result};
use scratchproof_measurements::Replay;
use scratchproof_replay::{Framework, LARGEST, Recipe, replay};
use scratchproof_source::{Access, plain};
use scratchproof_texts::text;

/// Draws the start again if the case says how and the earliest checkpoint is step 0.
///
/// # Errors
/// If a file cannot be read. A recipe that does not fit is a finding.
pub fn replayed(case: &Case, access: Access) -> Result<Replay> {
    let Some(init) = &case.subject.init else { return Ok(Replay::Undeclared) };
    let first = case.subject.checkpoints.first().filter(|c| c.step == Some(0));
    let Some(first) = first else { return Ok(Replay::Undeclared) };
    let Some(seed) = init.seed else {
        return Ok(if init.recipe.is_some() { Replay::NoSeed } else { Replay::Undeclared });
    };
    let declared = init.framework.as_deref();
    if let Some(name) = declared.filter(|name| Framework::parse(name).is_none()) {
        return Ok(Replay::UnknownFramework(name.to_owned()));
    }
    let Some(location) = &init.recipe else { return Ok(Replay::NoRecipe) };
    let bytes = file(&location.path).context(|| location.written.clone())?;
    let recipe = match Recipe::read(&bytes) {
        Ok(recipe) if declared.is_none_or(|name| Framework::parse(name) == Some(recipe.framework)) => recipe,
        Ok(_) => {
            return Ok(Replay::Unfit(format!("{}: it is of another framework than the case file", location.written)));
        }
        Err(error) => return Ok(Replay::Unfit(error.context(location.written.clone()).to_string())),
    };
    if case.choice.sampling.is_some() {
        return Ok(Replay::Sampled);
    }
    // As it is stored: the audit's own view may have split or joined tensors.
    let checkpoint = if first.location.scheme().is_some() {
        Checkpoint::open_named(&first.location.written, access)?
    } else {
        Checkpoint::open(&first.location.path)?
    };
    match replay(&recipe, seed, &checkpoint) {
        Ok(replayed) => Ok(Replay::Done(seed, replayed)),
        Err(error) if error.is_input() => Ok(Replay::Unfit(error.context(location.written.clone()).to_string())),
        Err(error) => Err(error),
    }
}

fn file(path: &std::path::Path) -> Result<Vec<u8>> {
    plain::read(path, LARGEST).context(|| text!("error-measure/replay/cannot-read-recipe"))
}
