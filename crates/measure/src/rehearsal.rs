//! A pass over what is only rehearsed: of the tensors of one kind one in so many is measured, and its figures stand for the others.
//!
//! Models to rehearse with are drawn, and tensors of one kind are as good as one another. Everything but the bytes themselves is
//! then what it is at full size: the plan, the journal, the tables, the judgement.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::pass::{self, Made, Pass, Wanted};
use super::{pool, tensors};
use scratchproof_error::Result;
use scratchproof_measurements::{Elementwise, Kept, TensorFigures, Unit};

/// As [`pass::run`], which it is unless every copy of a tensor says that it stands for others.
///
/// # Errors
/// As [`pass::run`].
pub(super) fn run<'a>(
    pass: &'a Pass<'a>,
    wanted: &'a [Wanted],
    done: &'a (dyn Fn(usize, Made) -> Result<()> + Sync),
) -> Result<()> {
    let stand_ins = stand_ins(pass);
    if stand_ins.iter().enumerate().all(|(at, stand_in)| at == *stand_in) {
        return pass::run(pass, wanted, done);
    }
    let mut measured: BTreeMap<usize, Wanted> = BTreeMap::new();
    for own in wanted {
        for stand_in in stand_ins[own.units.clone()].iter().copied() {
            let all = measured.entry(stand_in).or_insert_with(|| Wanted {
                units: stand_in..stand_in + 1,
                figures: false,
                elementwise: false,
            });
            all.figures |= own.figures;
            all.elementwise |= own.elementwise;
        }
    }
    let places: BTreeMap<usize, usize> = measured.keys().zip(0..).map(|(unit, at)| (*unit, at)).collect();
    let measured: Vec<Wanted> = measured.into_values().collect();
    let found: Vec<Mutex<One>> = measured.iter().map(|_| Mutex::default()).collect();
    pass::run(pass, &measured, &|at, made| {
        let figures = made.figures.into_iter().flatten().next();
        *found[at].lock().unwrap_or_else(PoisonError::into_inner) =
            One { figures, elementwise: made.elementwise.unwrap_or_default() };
        Ok(())
    })?;
    let found: Vec<One> =
        found.into_iter().map(|one| one.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
    for (at, own) in wanted.iter().enumerate() {
        let (mut figures, mut elementwise) = (Vec::new(), Vec::new());
        for unit in own.units.clone() {
            let one = &found[places[&stand_ins[unit]]];
            figures.extend(one.figures.clone().filter(|_| own.figures));
            let named = one.elementwise.iter().map(|pair| Elementwise { unit, ..pair.clone() });
            elementwise.extend(named.filter(|_| own.elementwise));
        }
        let units = &pass.plan.units[own.units.clone()];
        pool::gather(units, &mut figures);
        if own.figures {
            let left_out = own.units.clone().filter(|unit| stand_ins[*unit] != *unit);
            pass.reporter.advance(tensors::bytes_of(pass.plan, left_out.map(|unit| &pass.plan.units[unit])));
        }
        done(
            at,
            Made { figures: own.figures.then_some(figures), elementwise: own.elementwise.then_some(elementwise) },
        )?;
    }
    Ok(())
}

/// What came of a tensor that stands for others.
#[derive(Default)]
struct One {
    figures: Option<(TensorFigures, Kept)>,
    elementwise: Vec<Elementwise>,
}

/// By unit the one that is measured for it: itself, unless all of its copies are only rehearsed.
fn stand_ins(pass: &Pass) -> Vec<usize> {
    let mut kinds: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let one = |(at, unit): (usize, &Unit)| {
        let copies = unit.members.iter().map(|own| pass.models[own.model].shards[own.shard].blob.stands_for());
        let share = copies.min().unwrap_or(1);
        if share <= 1 {
            return at;
        }
        let (seen, stand_in) = kinds.entry(kind(unit)).or_insert((0, at));
        if seen.is_multiple_of(share) {
            *stand_in = at;
        }
        *seen += 1;
        *stand_in
    };
    pass.plan.units.iter().enumerate().map(one).collect()
}

/// What tensors that may stand for one another have in common: everything that decides the shape of their figures.
fn kind(unit: &Unit) -> String {
    let role = &unit.role;
    let members: Vec<_> = unit.members.iter().map(|own| (own.model, own.dtype)).collect();
    let pool = unit.pool.as_ref().map(|pool| &pool.rows);
    format!(
        "{:?}",
        (&role.tower, &role.family, &unit.shape, &unit.view, &unit.sampled.len(), &unit.kept, pool, members)
    )
}
