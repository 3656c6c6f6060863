//! The figures of some units as a table of numbers, and back.

use serde::{Deserialize, Serialize};

use super::journal::Stored;
use scratchproof_error::{Error, Result};
use scratchproof_kernel::{Dtype, Gram, GramShape, GramSums, Moments, Sums};
use scratchproof_measurements::{Kept, Plan, TensorFigures, Unit};
use scratchproof_texts::{Text, text};

/// What JSON says of one unit; the numbers stand in the table.
#[derive(Serialize, Deserialize)]
struct Said {
    /// Its id in the plan.
    id: String,
    elements: u64,
    nonfinite: Vec<u64>,
    pairs: Vec<(usize, usize)>,
    formats: Vec<Dtype>,
    distinct: Vec<u32>,
    start: Option<Moments>,
    usable: Vec<bool>,
    /// By member how many keys of lines stand in the table.
    #[serde(default)]
    lines: Vec<usize>,
}

/// Writes the figures of the units that begin at `first`.
pub fn encode(plan: &Plan, first: usize, all: &[(TensorFigures, Kept)]) -> Result<Stored> {
    let mut stored = Stored::default();
    let mut said = Vec::new();
    for (at, (figures, kept)) in (first..).zip(all) {
        let index = u32::try_from(at).map_err(|_| Error::input(text!("error-measure/codec/more-tensors-counted")))?;
        let gram = figures.gram.to_sums();
        let mut put = |part: &'static str, values: &[f64]| {
            stored.sums.extend(values.iter().map(|value| (index, part, *value)));
        };
        put("product", &gram.products);
        put("sum", &gram.sums);
        put("distance", &gram.distances);
        put("trace", &figures.columns.iter().map(|(_, sums)| sums.trace).collect::<Vec<_>>());
        put("frobenius", &figures.columns.iter().map(|(_, sums)| sums.frobenius2).collect::<Vec<_>>());
        put("scale", &kept.scales);
        put("farthest", &figures.farthest);
        put("along", &figures.along);
        // Exact: a key has no more bits than the fraction of a number.
        #[allow(clippy::cast_precision_loss)]
        put("line", &figures.lines.iter().flatten().map(|key| *key as f64).collect::<Vec<_>>());
        for (member, rows) in (0..).zip(&kept.rows) {
            stored.rows.extend(rows.iter().map(|value| (index, member, *value)));
        }
        said.push(Said {
            id: plan.units.get(at).map_or(String::new(), |unit| unit.id.clone()),
            elements: gram.elements,
            nonfinite: gram.nonfinite,
            pairs: figures.columns.iter().map(|(pair, _)| *pair).collect(),
            formats: figures.formats.clone(),
            distinct: figures.distinct.clone(),
            start: figures.start.clone(),
            usable: kept.usable.clone(),
            lines: figures.lines.iter().map(Vec::len).collect(),
        });
    }
    stored.value = serde_json::to_value(&said).map_err(|cause| Error::input(cause.to_string()))?;
    Ok(stored)
}

/// Reads what [`encode`] wrote; the kept rows are empty if they were not kept.
pub fn decode(plan: &Plan, first: usize, units: &[Unit], stored: Stored) -> Result<Vec<(TensorFigures, Kept)>> {
    let bad = |what: Text| Error::input(text!("error-measure/codec/figures-tensor-those-after", first, what));
    let said: Vec<Said> = serde_json::from_value(stored.value).map_err(|cause| bad(cause.to_string().into()))?;
    if said.len() != units.len() {
        return Err(bad(text!("error-measure/codec/they-not-many-plan")));
    }
    let with_rows = !stored.rows.is_empty();
    let (mut sums, mut rows) = (stored.sums.into_iter().peekable(), stored.rows.into_iter().peekable());
    let mut all = Vec::new();
    for (at, (unit, said)) in (first..).zip(units.iter().zip(said)) {
        let mut take = |part: &str| -> Vec<f64> {
            let mut values = Vec::new();
            while let Some((_, _, value)) = sums.next_if(|(of, which, _)| *of as usize == at && *which == part) {
                values.push(value);
            }
            values
        };
        let members = unit.members.len();
        let series = unit.members.iter().filter(|m| m.model < plan.series).count();
        let shape = GramShape { series, references: members - series };
        let gram = GramSums {
            elements: said.elements,
            products: take("product"),
            sums: take("sum"),
            distances: take("distance"),
            nonfinite: said.nonfinite,
        };
        let gram = Gram::from_sums(shape, gram).ok_or_else(|| bad(text!("error-measure/codec/sums-lacking")))?;
        let (traces, frobenius) = (take("trace"), take("frobenius"));
        let scales = take("scale");
        let farthest = take("farthest");
        let along = take("along");
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let mut keys = take("line").into_iter().map(|key| key as u64);
        let lines: Vec<Vec<u64>> = said.lines.iter().map(|count| keys.by_ref().take(*count).collect()).collect();
        let fits = said.id == unit.id
            && traces.len() == said.pairs.len()
            && frobenius.len() == said.pairs.len()
            && said.usable.len() == members
            && [0, members].contains(&said.formats.len())
            && said.distinct.len() == said.formats.len()
            && lines.iter().map(Vec::len).eq(said.lines.iter().copied())
            && [0, members].contains(&lines.len())
            && said.pairs.iter().all(|(a, b)| *a < members && *b < members);
        if !fits || scales.len() != members {
            return Err(bad(text!("error-measure/codec/they-do-not-fit")));
        }
        let sums = traces.into_iter().zip(frobenius).map(|(trace, frobenius2)| Sums { trace, frobenius2 });
        let columns = said.pairs.into_iter().zip(sums).collect();
        let length = unit.added().len() * unit.view.map_or(0, |view| view.hidden());
        let mut kept = Vec::new();
        for member in 0..members {
            let mut own = Vec::with_capacity(if with_rows { length } else { 0 });
            while let Some((_, _, value)) =
                rows.next_if(|(of, which, _)| *of as usize == at && *which as usize == member)
            {
                own.push(value);
            }
            // Rows of a sum may stand with another tensor of it.
            if with_rows && own.len() != length && !(unit.pool.is_some() && own.is_empty()) {
                return Err(bad(text!("error-measure/codec/kept-rows-lacking")));
            }
            kept.push(own);
        }
        let (formats, distinct, start) = (said.formats, said.distinct, said.start);
        let figures = TensorFigures { gram, columns, formats, distinct, farthest, along, start, lines };
        all.push((figures, Kept { rows: kept, scales, usable: said.usable }));
    }
    if sums.peek().is_some() || rows.peek().is_some() {
        return Err(bad(text!("error-measure/codec/more-numbers-plan-asks")));
    }
    Ok(all)
}
