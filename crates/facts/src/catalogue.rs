//! The catalogue of the models, as a table.

use super::session::{Session, references};
use scratchproof_evidence::TensorRow;
use scratchproof_measurements::{Axis, Model};

/// Every tensor of the final checkpoint and of the references.
pub fn tensors(session: &Session) -> Vec<TensorRow> {
    let mut models: Vec<(String, &Model)> = vec![("subject".into(), session.measured.subject())];
    let references = references(session).into_iter().zip(session.measured.references());
    models.extend(references.map(|((_, reference), model)| (reference.to_string(), model)));
    let mut rows = Vec::new();
    for (model, own) in models {
        rows.extend(own.tensors.iter().map(|tensor| {
            let axis = match tensor.role.residual {
                Axis::Rows => "rows",
                Axis::Columns => "columns",
                Axis::First => "first",
                Axis::Vector => "vector",
                Axis::None => "none",
            };
            let sizes: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
            TensorRow {
                model: model.clone(),
                tensor: tensor.name.clone(),
                component: tensor.role.judged_as().to_owned(),
                family: tensor.role.family.clone(),
                layer: tensor.role.layer,
                expert: tensor.role.expert,
                residual: axis.to_owned(),
                dtype: tensor.dtype.name().to_owned(),
                shape: sizes.join("x"),
                elements: tensor.elements() as u64,
                bytes: tensor.bytes,
                known: tensor.role.known,
                constant: tensor.role.constant,
            }
        }));
    }
    rows
}
