//! A parent in disguise held against itself: what the search would have said (METHODS 11).

use super::alike::alike;
use super::basis::answers;
use super::culprit::{CORRELATION, Culprit};
use super::frame::LONGEST_WHOLE;
use super::heads::{self, is_latent};
use super::inject::injected;
use super::products::Products;
use super::search::between;
use super::weights::Weights;
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;
use scratchproof_measurements::{Class, Injection, SearchRules};

/// Elements of either model that are looked at for one culprit: where they have more, two layers or as many as these are, some
/// rows of each matrix.
pub(super) const BUDGET: usize = 4 << 20;

/// Bytes of the parent that stay in memory meanwhile.
const HELD: usize = 96 << 20;

/// What the search would have said of a parent in disguise, for a subject whose residual axis has that length.
///
/// Above the longest residual axis that is rotated the products of its heads stand for the whole: no change of basis, order
/// or vocabulary moves them.
///
/// # Errors
/// If weights cannot be read.
pub fn injections(parent: &Checkpoint, hidden: Option<usize>, rules: &SearchRules) -> Result<Vec<Injection>> {
    // Disguise after disguise is made of the same rows.
    let parent = &parent.held(HELD);
    let Some(weights) = Weights::in_memory(parent)? else { return Ok(Vec::new()) };
    let long = weights.hidden > LONGEST_WHOLE;
    let mut classes = vec![Class::Permuted, Class::Rotated, Class::Moved, Class::Half];
    if hidden != Some(weights.hidden) {
        classes.push(Class::Padded);
    }
    let products = if long { heads::of(&weights)? } else { None };
    // Of heads in another order as many have their like among those that were drawn as were drawn of all.
    let drawn = parent.sample.as_ref().filter(|sample| sample.tensors > 0);
    let share = drawn.map_or(1.0, |sample| sample.sampling.share);
    // Of two rows at that correlation the product keeps its square; of rows behind ranks both matrices of each are weaker.
    let kept = CORRELATION.powi(if is_latent(&weights) { 4 } else { 2 });
    let of_heads = |class: Class, products: &Products| Injection {
        class,
        correlation: CORRELATION,
        observations: answers(&alike(&injected(products, share, kept, 1), products)),
    };
    let mut all = Vec::new();
    // What is made of the parent as it stands is made once for all disguises.
    let weights = weights.within(BUDGET);
    for class in classes {
        if long && class != Class::Half {
            let silent = || Injection { class, correlation: CORRELATION, observations: Vec::new() };
            // Of drawn rows there are no whole heads: nothing would have been seen.
            let drawn = parent.sample.is_some().then(silent);
            all.extend(products.as_ref().map(|products| of_heads(class, products)).or(drawn));
            continue;
        }
        let culprit = Culprit::new(class, weights.hidden);
        let Some(own) = Weights::disguised(parent, culprit, BUDGET)? else { continue };
        let found = between(&own, &weights, None, rules)?;
        all.push(Injection { class, correlation: CORRELATION, observations: found.observations });
    }
    Ok(all)
}
