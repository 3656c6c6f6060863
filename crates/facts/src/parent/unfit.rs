//! Parents and controls whose silence says nothing: one model under two names, and what was never trained.

use std::collections::BTreeMap;

use crate::session::Session;
use scratchproof_finding::parent::Unfit;
use scratchproof_measurements::{Component, Drawn, manifest};
use scratchproof_stats::log10_upper_tail;

/// Families whose spread of sizes over the layers is compared, at least, and matrices of each.
const FAMILIES: usize = 3;
const MATRICES: usize = 2;

/// Largest over smallest root mean square of one family's matrices over the layers, up to which they may be of one draw: a
/// scheme gives them one size, within 1 / sqrt(2 n) of itself, and training does not.
const ONE_SIZE: f64 = 1.1;

/// Parents and controls whose silence says nothing: equal to another model of the case, or never trained.
#[must_use]
pub fn unfit(session: &Session) -> Vec<Unfit> {
    let (measured, plan) = (session.measured, &session.measured.plan);
    let names: Vec<&str> = session
        .case
        .parents
        .iter()
        .map(|p| p.name.as_str())
        .chain(session.case.controls.iter().map(|c| c.name.as_str()))
        .collect();
    let whole =
        |model: usize| measured.digests.get(model).filter(|files| !files.is_empty()).map(|files| manifest(files));
    let mut unfit = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let model = plan.series + at;
        let own = whole(model);
        let equal = |other: usize| own.is_some() && whole(other) == own || recast(session, other, model);
        let before = (0..at).find(|&other| equal(plan.series + other));
        if let Some(other) = before {
            unfit.push(Unfit { model: (*name).to_owned(), same_as: Some(names[other].to_owned()) });
        } else if untrained(session, model) {
            unfit.push(Unfit { model: (*name).to_owned(), same_as: None });
        }
    }
    unfit
}

/// Squared distance over squared size, up to which two references are one model in two number formats: bf16 rounds to 3e-6.
const RECAST: f64 = 1e-5;

/// Whether two references are the same weights, whatever format or names they are stored under.
fn recast(session: &Session, a: usize, b: usize) -> bool {
    let (mut distance, mut size, mut units) = (0.0, 0.0, 0);
    for (unit, figures) in session.measured.plan.units.iter().zip(&session.measured.tensors) {
        let slot = |model: usize| unit.members.iter().position(|member| member.model == model);
        let (Some(a), Some(b)) = (slot(a), slot(b)) else { continue };
        let gram = &figures.gram;
        if unit.shape.len() < 2 || unit.role.constant || gram.nonfinite(a) + gram.nonfinite(b) > 0 {
            continue;
        }
        let (aa, ab, bb) = (gram.product(a, a), gram.product(a, b), gram.product(b, b));
        distance += (aa - 2.0 * ab + bb).max(0.0);
        size += aa.max(bb);
        units += 1;
    }
    units > 1 && distance <= RECAST * size
}

/// Standard deviations up to which the rows of a family are as independent random directions are where no norm weight moved, up to which
/// they are whatever norm weights did, and pairs of rows that show it, of all families and of one. **Measured**: at most 3.3
/// in any family of fifteen draws (normal, scaled by layer, Kaiming, orthogonal; 4 to 23 families each), 4.2 (a `ResNet` of 150
/// steps) and more in the largest family of eleven trained models.
const DIRECTIONS: f64 = 6.0;
const DRAWN: f64 = 3.0;
const PAIRS: u64 = 2_000;
const OF_A_FAMILY: u64 = 256;

/// Whether no family of a model has rows that are nearer to each other than those of a draw, at `limit` standard deviations for all
/// families together (Bonferroni). One family that was trained shows it: the sum over all hides one behind the others. Only rows
/// that are nearer count: those of orthogonal draws are farther from each other than independent ones, trained or not.
/// **Measured** on RWKV, which begins orthogonal: -64 to -2 in all families of the draw, -59 to -15 and 22 to 150 once trained.
fn as_drawn(families: &[&Drawn], limit: f64) -> bool {
    // The sum over a few pairs has a long tail.
    let told: Vec<&&Drawn> = families.iter().filter(|drawn| drawn.pairs >= OF_A_FAMILY).collect();
    let tests = (told.len().max(1) as f64).log10();
    let near = |drawn: &&Drawn| log10_upper_tail(drawn.z) + tests <= log10_upper_tail(limit);
    told.iter().map(|drawn| drawn.pairs).sum::<u64>() >= PAIRS && !told.iter().any(|drawn| near(drawn))
}

/// Whether a reference looks like a draw: its rows are as independent random directions are, or nearly so and no norm weight moved,
/// or no norm weight moved and all matrices of a family are of one size. **Measured**: the rows of a Mamba-2 of 200 steps (loss 7.02 to 3.78) have z 4.2, as the
/// first of each matrix belong to gates that hardly move; its norm weights went from 1 to 0.93 to 1.07.
fn untrained(session: &Session, model: usize) -> bool {
    let measured = session.measured;
    let drawn: Vec<&Drawn> = measured.kept.drawn.iter().filter(|drawn| drawn.model == model).collect();
    if as_drawn(&drawn, DRAWN) {
        return true;
    }
    let mut families: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let (mut norms, mut constant) = (0, 0);
    for (unit, figures) in measured.plan.units.iter().zip(&measured.tensors) {
        let Some(slot) = unit.members.iter().position(|member| member.model == model) else { continue };
        let (gram, n) = (&figures.gram, figures.gram.elements() as f64);
        if unit.role.constant || n < 2.0 || gram.nonfinite(slot) > 0 {
            continue;
        }
        let (mean, square) = (gram.sum(slot) / n, gram.product(slot, slot) / n);
        if unit.shape.len() == 1 && unit.role.component == Component::Norms {
            norms += 1;
            constant += usize::from(square - mean * mean <= 1e-12 * square);
        } else if unit.shape.len() > 1 && unit.role.layer.is_some() && n >= 512.0 {
            families.entry(&unit.role.family).or_default().push(square.sqrt());
        }
    }
    let sizes: Vec<&Vec<f64>> = families.values().filter(|sizes| sizes.len() >= MATRICES).collect();
    let even = |sizes: &&&Vec<f64>| {
        let (low, high) =
            sizes.iter().fold((f64::INFINITY, 0.0_f64), |(low, high): (f64, f64), s| (s.min(low), s.max(high)));
        low > 0.0 && high / low <= ONE_SIZE
    };
    // Where there are no norm weights, none stayed where it was.
    let unmoved = norms > 0 && constant == norms;
    let of_one_size = norms > 1 && sizes.len() >= FAMILIES && sizes.iter().filter(even).count() == sizes.len();
    unmoved && (as_drawn(&drawn, DIRECTIONS) || of_one_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One trained family of nine, and all of a draw, however the rows of an orthogonal one lie.
    #[test]
    fn a_model_is_a_draw_where_every_family_is_one() {
        let of = |z: &[f64], pairs: u64| {
            let all: Vec<Drawn> = z.iter().map(|&z| Drawn { model: 1, family: "mlp".into(), pairs, z }).collect();
            as_drawn(&all.iter().collect::<Vec<_>>(), DRAWN)
        };
        let trained = [-59.0, -58.0, -40.0, -30.0, -20.0, -19.0, -15.0, 22.0, 77.0];
        assert!(!of(&trained, 2016), "the mean of all families is -5");
        assert!(of(&[-64.0, -64.0, -24.0, -2.5, -2.2, 2.5], 2016));
        // Nine families may each reach 3.6 where one may reach 3.
        assert!(of(&[3.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 2016));
        assert!(!of(&[3.5], 2016) && of(&[2.9], 2016));
        // Too little to say anything.
        assert!(!of(&[0.0], 1000) && !of(&[0.0; 20], 112));
    }
}
