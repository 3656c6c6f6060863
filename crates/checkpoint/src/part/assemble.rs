//! Tensors in one model's packaging whose values come from elsewhere, computed when they are first read.

use std::ops::Range;
use std::sync::Arc;

use super::super::{Checkpoint, Dtype, Shard, Skipped, TensorRecord};
use super::{Fill, Part, Place};
use scratchproof_error::{Error, Result};
use scratchproof_source::{Blob, MadeFile, Make};
use scratchproof_texts::{Text, text};

/// Columns of a transposed part that are written at a time: a line of the processor's cache.
const STRIP: usize = 16;

impl Checkpoint {
    /// A model in the packaging of `like`: the same names and shapes, in single precision; the values of each part are
    /// made when they are first read. Tensors with a part that `fill` does not give are left out and listed as skipped.
    pub fn assembled(uri: String, like: &Self, mut fill: impl FnMut(&Part) -> Option<Fill>) -> Self {
        let mut made = Self::empty(uri, like);
        let parts = like.parts();
        let mut rest = &parts[..];
        for (index, tensor) in like.tensors.iter().enumerate() {
            let own;
            (own, rest) = rest.split_at(rest.partition_point(|part| part.tensor == index));
            let fills: Option<Vec<(&Part, Fill)>> = own.iter().map(|part| Some((part, fill(part)?))).collect();
            match fills {
                _ if own.is_empty() => {}
                Some(fills) => made.put(tensor, &fills),
                None => {
                    let why = "nothing was given for one of its parts".to_owned();
                    made.skipped.push(Skipped { tensor: tensor.name.clone(), why });
                }
            }
        }
        made
    }

    /// A model of which there is one file and no tensor: what stands for it in a list of models. Nothing can be compared with it.
    #[must_use]
    pub fn unopened(uri: String, file: Arc<dyn Blob>) -> Self {
        let name = scratchproof_case::last_part(&uri).to_owned();
        Self {
            uri,
            tensors: Vec::new(),
            shards: vec![Shard { name, blob: file }],
            config: None,
            architecture: None,
            skipped: Vec::new(),
            unread: Vec::new(),
            untaken: Vec::new(),
            wrappers: Vec::new(),
            adapter: None,
            optimizers: Arc::default(),
            vocabulary: Arc::default(),
            met: Vec::new(),
            form: Text::default(),
            notes: Vec::new(),
            stored: 0,
            sample: None,
        }
    }

    /// A model without tensors that is otherwise described as `like` is.
    pub(crate) fn empty(uri: String, like: &Self) -> Self {
        Self {
            uri,
            tensors: Vec::new(),
            shards: Vec::new(),
            config: like.config.clone(),
            architecture: like.architecture.clone(),
            skipped: Vec::new(),
            unread: Vec::new(),
            untaken: Vec::new(),
            wrappers: Vec::new(),
            adapter: None,
            vocabulary: like.vocabulary.clone(),
            optimizers: like.optimizers.clone(),
            met: Vec::new(),
            form: like.form.clone(),
            notes: Vec::new(),
            stored: like.stored,
            sample: None,
        }
    }

    /// Adds a tensor that holds these parts. It has a file of its own.
    pub(super) fn put(&mut self, like: &TensorRecord, fills: &[(&Part, Fill)]) {
        let blob = MadeFile::new(format!("{}: {}", self.uri, like.name), pieces(like, fills));
        let bytes = like.elements() as u64 * Dtype::F32.width() as u64;
        let shard = self.shards.len();
        self.shards.push(Shard { name: like.name.clone(), blob: Arc::new(blob) });
        self.tensors.push(TensorRecord { dtype: Dtype::F32, shard, offset: 0, bytes, ..like.clone() });
    }
}

/// One part of a piece: its rows and columns, its place in the piece, and what fills it.
type Filled = (usize, usize, Place, Fill);

/// The pieces of the tensor's file: each as short as it can be, so that of a stack of experts only one is in memory.
fn pieces(like: &TensorRecord, fills: &[(&Part, Fill)]) -> Vec<(u64, Make)> {
    // A part of `like` lies inside its tensor.
    let mut spans: Vec<(Range<usize>, &Part, &Fill)> =
        fills.iter().filter_map(|(part, fill)| Some((part.span(like).ok()?, *part, fill))).collect();
    spans.sort_by_key(|(span, ..)| span.start);
    let mut pieces: Vec<(Range<usize>, Vec<Filled>)> = Vec::new();
    for (span, part, fill) in spans {
        let filled = |start: usize| {
            let place = Place { base: part.place.base - start, ..part.place };
            (part.rows, part.cols, place, Arc::clone(fill))
        };
        match pieces.last_mut() {
            Some((whole, parts)) if span.start < whole.end => {
                parts.push(filled(whole.start));
                whole.end = whole.end.max(span.end);
            }
            _ => pieces.push((span.clone(), vec![filled(span.start)])),
        }
    }
    let width = Dtype::F32.width();
    let make = |(span, parts): (Range<usize>, Vec<Filled>)| {
        let length = span.len();
        let make: Make = Box::new(move || {
            let mut values = vec![0.0; length];
            for (rows, cols, place, fill) in &parts {
                scatter(&fill()?, *rows, *cols, *place, &mut values)?;
            }
            Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect())
        });
        ((length * width) as u64, make)
    };
    pieces.into_iter().map(make).collect()
}

/// Puts a matrix in its place.
fn scatter(matrix: &[f32], rows: usize, cols: usize, place: Place, out: &mut [f32]) -> Result<()> {
    if matrix.len() != rows * cols {
        return Err(Error::usage(text!("error-checkpoint/assemble/values-part-x", matrix = matrix.len(), rows, cols)));
    }
    for start in (0..cols).step_by(if place.col_step == 1 { cols.max(1) } else { STRIP }) {
        let strip = if place.col_step == 1 { cols } else { STRIP.min(cols - start) };
        for row in 0..rows {
            let at = place.row(row) + start * place.col_step;
            let values = &matrix[row * cols + start..row * cols + start + strip];
            if place.col_step == 1 {
                out[at..at + strip].copy_from_slice(values);
            } else {
                for (k, value) in values.iter().enumerate() {
                    out[at + k * place.col_step] = *value;
                }
            }
        }
    }
    Ok(())
}
