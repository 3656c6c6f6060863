//! Which parts a tensor holds, and where.

use std::collections::HashMap;

use super::super::heads::Heads;
use super::super::{Arrangement, Checkpoint, Residual, Role, Split, TensorRecord};
use super::heads;
use super::{Part, Place, scale};

/// Parts of one model: a hundred times what the largest has.
const MOST: usize = 1 << 22;

/// Parts of one matrix of a stack.
const MOST_PIECES: usize = 4;

/// What the sizes of the parts of one model follow from.
pub(super) struct Layout<'a> {
    checkpoint: &'a Checkpoint,
    heads: HashMap<&'a str, Option<Heads>>,
    /// By tower and layer: what all heads give together, the rows of `o_proj`.
    outputs: HashMap<(&'a str, Option<u32>), usize>,
    /// By tower and layer: experts, the rows of the router.
    experts: HashMap<(&'a str, Option<u32>), usize>,
}

/// A tensor as a stack of matrices.
struct Stack {
    count: usize,
    /// Elements of one matrix.
    size: usize,
    units: usize,
    /// Units that are `unit_step` apart, then `group_step` to the next.
    group: usize,
    group_step: usize,
    unit_step: usize,
    cols: usize,
    col_step: usize,
    residual: bool,
}

impl Checkpoint {
    /// The matrices that the model consists of, by tensor, then by place. Scales of 8-bit weights are no parts: they
    /// belong to their weights.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let layout = Layout::of(self);
        let mut parts = Vec::new();
        for tensor in 0..self.tensors.len() {
            // A file of a gigabyte can claim to hold a thousand million experts.
            parts.extend(layout.parts(tensor, MOST.saturating_sub(parts.len())));
        }
        parts
    }
}

impl<'a> Layout<'a> {
    pub(super) fn of(checkpoint: &'a Checkpoint) -> Self {
        let mut layout = Self { checkpoint, heads: HashMap::new(), outputs: HashMap::new(), experts: HashMap::new() };
        for tensor in &checkpoint.tensors {
            let role = &tensor.role;
            let place = (role.tower.as_str(), role.layer);
            let units = match (role.residual, &tensor.shape[..]) {
                (Residual::Rows, [_, units]) | (Residual::Columns, [units, _]) => *units,
                _ => continue,
            };
            match role.family.trim_start_matches("mtp.") {
                "o_proj" => layout.outputs.insert(place, units),
                "router" => layout.experts.insert(place, units),
                _ => continue,
            };
        }
        for tensor in checkpoint.tensors.iter().filter(|tensor| tensor.split.is_some()) {
            layout.heads.entry(&tensor.role.tower).or_insert_with(|| heads::of(checkpoint, &tensor.role.tower));
        }
        layout
    }

    /// The parts of one tensor, by place.
    ///
    /// A tensor that would hold more than `most` is taken as one.
    fn parts(&self, index: usize, most: usize) -> Vec<Part> {
        let tensor = &self.checkpoint.tensors[index];
        if scale::is_scale(self.checkpoint, tensor) {
            return Vec::new();
        }
        let numbered = is_stacked(tensor) && tensor.shape[0] <= most / MOST_PIECES;
        let stack = Stack::of(tensor, numbered);
        let split = tensor.split.as_deref().and_then(|split| self.split(tensor, split, &stack, numbered, most));
        let mut parts = Vec::new();
        for matrix in 0..stack.count {
            let base = matrix * stack.size;
            let mut role = tensor.role.clone();
            if numbered {
                role.expert = u32::try_from(matrix).ok();
            }
            let Some(pieces) = &split else {
                let Stack { group, group_step, unit_step: row_step, col_step, .. } = stack;
                let place = Place { base, group, group_step, row_step, col_step };
                let (rows, cols, residual) = (stack.units, stack.cols, stack.residual);
                parts.push(Part { tensor: index, role, rows, cols, residual, place });
                continue;
            };
            for piece in pieces {
                let step = stack.unit_step;
                let place = Place {
                    base: base + piece.first * step,
                    group: piece.group,
                    group_step: piece.group_step * step,
                    row_step: piece.row_step * step,
                    col_step: stack.col_step,
                };
                let mut role = Role { family: piece.family.clone(), ..role.clone() };
                if tensor.role.is_prediction() {
                    role.family.insert_str(0, "mtp.");
                }
                role.expert = piece.expert.or(role.expert);
                let (rows, cols, residual) = (piece.rows, stack.cols, stack.residual);
                parts.push(Part { tensor: index, role, rows, cols, residual, place });
            }
        }
        parts
    }

    /// The pieces of a fused matrix; none if its sizes are not known or contradict each other.
    fn split(
        &self,
        tensor: &TensorRecord,
        split: &Split,
        stack: &Stack,
        numbered: bool,
        most: usize,
    ) -> Option<Vec<Piece>> {
        let units = stack.units;
        // A matrix without residual axis is one whose shape is not what its name says.
        let fits = stack.residual || tensor.shape.len() == 1 || numbered && tensor.shape.len() == 2;
        if !fits || units == 0 || stack.cols == 0 || stack.group != units {
            return None;
        }
        let place = (tensor.role.tower.as_str(), tensor.role.layer);
        let heads = self.heads.get(tensor.role.tower.as_str()).copied().flatten();
        let count = split.families.len();
        let families = split.families.iter().cloned();
        match split.arrangement {
            Arrangement::Blocks => {
                let attention = split.families.first().is_some_and(|family| family.starts_with("q_proj"));
                let sizes = if attention && count == 3 {
                    let query = self.outputs.get(&place).copied();
                    let query = query.or_else(|| heads.map(|heads| heads.query * heads.dim))?;
                    let rest = units.checked_sub(query).filter(|rest| rest % 2 == 0 && *rest > 0 && query > 0)?;
                    vec![query, rest / 2, rest / 2]
                } else {
                    vec![units.is_multiple_of(count).then(|| units / count)?; count]
                };
                let mut first = 0;
                let piece = |(family, rows)| {
                    let piece = Piece { family, first, rows, group: rows, ..Piece::default() };
                    first += rows;
                    piece
                };
                Some(families.zip(sizes).map(piece).collect())
            }
            Arrangement::Groups => {
                let Heads { query, key_value, dim, .. } = heads?;
                let each = query.checked_div(key_value).filter(|each| each * key_value == query)?;
                let group_step = (each + 2).checked_mul(dim)?;
                if group_step.checked_mul(key_value)? != units {
                    return None;
                }
                let ranges = [(0, each * dim), (each * dim, dim), ((each + 1) * dim, dim)];
                let piece = |(family, (first, group))| Piece {
                    family,
                    first,
                    rows: group * key_value,
                    group,
                    group_step,
                    row_step: 1,
                    expert: None,
                };
                Some(families.zip(ranges).map(piece).collect())
            }
            Arrangement::Alternating => {
                let rows = units.is_multiple_of(count).then(|| units / count)?;
                let piece =
                    |(first, family)| Piece { family, first, rows, group: rows, row_step: count, ..Piece::default() };
                Some(families.enumerate().map(piece).collect())
            }
            Arrangement::Experts => {
                let experts = self.experts.get(&place).copied().filter(|experts| *experts <= most)?;
                let rows = units.checked_div(experts).filter(|rows| rows * experts == units)?;
                let piece = |expert: usize| Piece {
                    family: tensor.role.family.clone(),
                    first: expert * rows,
                    rows,
                    group: rows,
                    expert: u32::try_from(expert).ok(),
                    ..Piece::default()
                };
                Some((0..experts).map(piece).collect())
            }
        }
    }
}

/// One matrix of a split, counted in units.
struct Piece {
    family: String,
    first: usize,
    rows: usize,
    group: usize,
    group_step: usize,
    row_step: usize,
    expert: Option<u32>,
}

impl Default for Piece {
    fn default() -> Self {
        Self { family: String::new(), first: 0, rows: 0, group: 0, group_step: 0, row_step: 1, expert: None }
    }
}

/// Whether the first axis of a tensor counts experts.
fn is_stacked(tensor: &TensorRecord) -> bool {
    let role = &tensor.role;
    let flat = tensor.split.as_ref().is_some_and(|split| split.arrangement == Arrangement::Experts);
    let family = role.family.trim_start_matches("mtp.");
    let axes = if family.rsplit_once('.').is_some_and(|(_, last)| last == "bias") { 2 } else { 3 };
    role.known
        && role.expert.is_none()
        && !flat
        && family.starts_with("experts.")
        && tensor.shape.len() == axes
        && tensor.elements() > 0
}

impl Stack {
    fn of(tensor: &TensorRecord, stacked: bool) -> Self {
        let (count, shape) = match &tensor.shape[..] {
            [count, shape @ ..] if stacked => (*count, shape),
            shape => (1, shape),
        };
        let size: usize = shape.iter().product();
        let plain = |units: usize, unit_step: usize, cols: usize, col_step: usize, residual: bool| Stack {
            count,
            size,
            units,
            group: units,
            group_step: 0,
            unit_step,
            cols,
            col_step,
            residual,
        };
        match (tensor.role.residual, shape) {
            (_, []) => plain(1, 1, 1, 1, false),
            (Residual::Vector, [.., length]) if *length > 0 => plain(size / length, *length, *length, 1, true),
            (Residual::Columns, [.., _, cols]) if *cols > 0 => plain(size / cols, *cols, *cols, 1, true),
            (Residual::First, [rows, rest @ ..]) if *rows > 0 && !rest.is_empty() => {
                let units = size / rows;
                plain(units, 1, *rows, units, true)
            }
            (Residual::Rows, [rows, units]) => plain(*units, 1, *rows, *units, true),
            (Residual::Rows, [outer @ .., rows, units]) => {
                let outer: usize = outer.iter().product();
                let (group, group_step) = (*units, rows * units);
                Stack { group, group_step, ..plain(outer * units, 1, *rows, *units, true) }
            }
            (_, [units, rest @ ..]) => {
                let cols = rest.iter().product();
                plain(*units, cols, cols, 1, false)
            }
        }
    }
}
