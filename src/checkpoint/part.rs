//! scaffold
use std::sync::Arc;
use super::{Checkpoint, Residual, Role, Shard, TensorRecord, Dtype};
use crate::error::Result;
use crate::kernel::decode;
use crate::source::MemoryFile;
/// p
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Part { pub tensor: usize, pub role: Role, pub rows: usize, pub cols: usize, pub residual: bool }
/// h
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Heads { pub query: usize, pub key_value: usize, pub dim: usize }
/// f
pub type Fill = Arc<dyn Fn() -> Result<Vec<f32>> + Send + Sync>;
#[allow(missing_docs, clippy::missing_errors_doc)]
impl Checkpoint {
    pub fn parts(&self) -> Vec<Part> {
        self.tensors.iter().enumerate().filter_map(|(i, t)| {
            let (rows, cols, residual) = match (t.role.residual, &t.shape[..]) {
                (Residual::Columns, [r, c]) => (*r, *c, true),
                (Residual::Rows, [r, c]) => (*c, *r, true),
                (Residual::Vector, [n]) => (1, *n, true),
                (_, [n]) => (*n, 1, false),
                (_, [r, c]) => (*r, *c, false),
                _ => return None,
            };
            Some(Part { tensor: i, role: t.role.clone(), rows, cols, residual })
        }).collect()
    }
    pub fn matrix(&self, part: &Part) -> Result<Vec<f32>> {
        let t = &self.tensors[part.tensor];
        let bytes = self.read(t)?;
        let mut v = vec![0.0; t.elements()];
        decode(t.dtype, &bytes, &mut v);
        let v: Vec<f32> = v.into_iter().map(|v| v as f32).collect();
        Ok(if t.role.residual == Residual::Rows { crate::kernel::transpose(&v, t.shape[0], t.shape[1]) } else { v })
    }
    pub fn rows_of(&self, part: &Part, rows: &[usize]) -> Result<Vec<f32>> {
        let m = self.matrix(part)?;
        Ok(rows.iter().flat_map(|r| m[r * part.cols..(r + 1) * part.cols].to_vec()).collect())
    }
    pub fn heads(&self) -> Option<Heads> {
        let c = self.config.as_ref()?;
        let g = |k: &str| c.get(k).and_then(serde_json::Value::as_u64).map(|v| v as usize);
        let query = g("num_attention_heads")?;
        Some(Heads { query, key_value: g("num_key_value_heads").unwrap_or(query), dim: g("head_dim").or_else(|| Some(g("hidden_size")? / query))? })
    }
    pub fn assembled(uri: String, like: &Checkpoint, mut fill: impl FnMut(&Part) -> Option<Fill>) -> Checkpoint {
        let mut out = Checkpoint { uri, tensors: vec![], shards: vec![], config: like.config.clone(), architecture: like.architecture.clone(), skipped: vec![], unread: vec![] };
        for p in like.parts() {
            let t = &like.tensors[p.tensor];
            let Some(f) = fill(&p) else { continue };
            let v = f().unwrap();
            let v = if t.role.residual == Residual::Rows { crate::kernel::transpose(&v, p.rows, p.cols) } else { v };
            let bytes: Vec<u8> = v.iter().flat_map(|v| v.to_le_bytes()).collect();
            out.tensors.push(TensorRecord { name: t.name.clone(), dtype: Dtype::F32, shape: t.shape.clone(), shard: out.shards.len(), offset: 0, bytes: bytes.len() as u64, role: t.role.clone() });
            out.shards.push(Shard { name: t.name.clone(), blob: Arc::new(MemoryFile::new("made", bytes)) });
        }
        out
    }
}
