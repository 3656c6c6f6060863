//! The model that an adapter of PEFT makes together with its base.
//!
//! The formulas are PEFT's (`tuners/lora/layer.py`, `tuners/lora/dora.py`): W + s B A with s = alpha / r, or alpha / sqrt(r)
//! with `rsLoRA`, turned round where the base stores [in, out] (`fan_in_fan_out`); with `DoRA` every row of that is brought to
//! the length in `lora_magnitude_vector`. Modules that were saved whole take the place of the base's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::adapter::Adapter;
use super::{Checkpoint, Dtype, Shard, TensorRecord};
use scratchproof_error::{Error, Result};
use scratchproof_kernel::decode;
use scratchproof_source::{MadeFile, Make};
use scratchproof_texts::{Text, text};

/// The tensors of one adapted module.
#[derive(Default)]
struct Module<'a> {
    down: Option<&'a TensorRecord>,
    up: Option<&'a TensorRecord>,
    magnitude: Option<&'a TensorRecord>,
    /// Whether it is an embedding, whose factors are stored turned.
    embedding: bool,
}

impl Checkpoint {
    /// The model that this adapter makes together with `base`.
    ///
    /// # Errors
    /// If it is no adapter, of a kind that is not merged, or does not fit the base: the message names what.
    pub fn merged_with(&self, base: &Self) -> Result<Self> {
        let no = |why: Text| {
            Error::input(text!(
                "error-checkpoint/merge/adapter-cannot-merged-merge",
                uri = &self.uri,
                uri_2 = &base.uri,
                why
            ))
        };
        let adapter = self.adapter.as_ref().ok_or_else(|| no(text!("error-checkpoint/merge/no-adapter")))?;
        if let Some(why) = &adapter.refusal {
            return Err(no(why.clone()));
        }
        let mut merged = base.shared();
        let mut own = adapter.clone();
        own.merged = Some(base.uri.clone());
        merged.adapter = Some(own);
        // Its own files are read as well, and listed.
        merged.shards.extend(self.shards.iter().cloned());
        merged.uri = format!("{} merged with {}", base.uri, self.uri);
        let mut modules: BTreeMap<String, Module> = BTreeMap::new();
        let mut whole: Vec<(String, &TensorRecord)> = Vec::new();
        for tensor in &self.tensors {
            #[allow(clippy::match_same_arms, reason = "one arm a name")]
            match factor(&tensor.name) {
                Some((module, "lora_A")) => modules.entry(module).or_default().down = Some(tensor),
                Some((module, "lora_B")) => modules.entry(module).or_default().up = Some(tensor),
                Some((module, "lora_embedding_A")) => {
                    let own = modules.entry(module).or_default();
                    (own.down, own.embedding) = (Some(tensor), true);
                }
                Some((module, "lora_embedding_B")) => modules.entry(module).or_default().up = Some(tensor),
                Some((module, "lora_magnitude_vector")) => modules.entry(module).or_default().magnitude = Some(tensor),
                Some((_, other)) => return Err(no(text!("error-checkpoint/merge/has", name = &tensor.name, other))),
                None => whole.push((tensor.name.replace(".modules_to_save.default", ""), tensor)),
            }
        }
        if modules.is_empty() && whole.is_empty() {
            return Err(no(text!("error-checkpoint/merge/no-tensors")));
        }
        for (module, own) in &modules {
            let at = place(&merged, &format!("{module}.weight"))
                .ok_or_else(|| no(text!("error-checkpoint/merge/not", module)))?;
            let made = self.made(adapter, module, own, base, &merged.tensors[at]).map_err(no)?;
            put(&mut merged, at, made);
        }
        for (name, tensor) in whole {
            let at = place(&merged, &name).ok_or_else(|| no(text!("error-checkpoint/merge/not-2", name = &name)))?;
            if merged.tensors[at].shape != tensor.shape {
                return Err(no(text!(
                    "error-checkpoint/merge/shape-not",
                    name,
                    shape = format!("{:?}", tensor.shape),
                    shape_2 = format!("{:?}", merged.tensors[at].shape)
                )));
            }
            let shard = self.shards[tensor.shard].clone();
            let TensorRecord { dtype, offset, bytes, .. } = *tensor;
            let own = &mut merged.tensors[at];
            (own.dtype, own.offset, own.bytes, own.shard) = (dtype, offset, bytes, merged.shards.len());
            merged.shards.push(shard);
        }
        Ok(merged)
    }

    /// A file with the merged weight.
    fn made(
        &self,
        adapter: &Adapter,
        module: &str,
        own: &Module,
        base: &Self,
        weight: &TensorRecord,
    ) -> Result<MadeFile, Text> {
        let (Some(down), Some(up)) = (own.down, own.up) else {
            return Err(text!("error-checkpoint/merge/one-factor", module));
        };
        let (&[rank, inner], &[outer, rank_b], &[rows, columns]) = (&down.shape[..], &up.shape[..], &weight.shape[..])
        else {
            return Err(text!("error-checkpoint/merge/no-matrices", module));
        };
        // B A is outer x inner; the base may store it turned.
        let turned = own.embedding || adapter.fan_in_fan_out;
        let expected = if turned { (inner, outer) } else { (outer, inner) };
        if rank != rank_b || (rows, columns) != expected {
            return Err(text!(
                "error-checkpoint/merge/do-not-fit",
                module,
                up = format!("{:?}", up.shape),
                down = format!("{:?}", down.shape),
                weight = format!("{:?}", weight.shape),
            ));
        }
        if adapter.dora && own.magnitude.is_none() || own.magnitude.is_some_and(|m| m.elements() != rows) {
            return Err(text!("error-checkpoint/merge/magnitude", module, rows));
        }
        let scaling = adapter.scaling(module, rank);
        let reader = |model: &Self, tensor: &TensorRecord| {
            let (shared, tensor) = (Arc::new(model.shared()), tensor.clone());
            move || -> Result<Vec<f64>> {
                let mut values = vec![0.0; tensor.elements()];
                decode(tensor.dtype, &shared.read(&tensor)?, &mut values);
                Ok(values)
            }
        };
        let (weight_of, down, up) = (reader(base, weight), reader(self, down), reader(self, up));
        let magnitude = own.magnitude.map(|tensor| reader(self, tensor));
        let make: Make = Box::new(move || {
            let (mut values, a, b) = (weight_of()?, down()?, up()?);
            for (o, factors) in b.chunks_exact(rank).enumerate() {
                for (r, factor) in factors.iter().enumerate() {
                    let row = &a[r * inner..(r + 1) * inner];
                    for (i, value) in row.iter().enumerate() {
                        let at = if turned { i * outer + o } else { o * inner + i };
                        values[at] += scaling * factor * value;
                    }
                }
            }
            if let Some(magnitude) = &magnitude {
                for (row, length) in values.chunks_exact_mut(columns).zip(magnitude()?) {
                    let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt();
                    if norm > 0.0 {
                        for value in row.iter_mut() {
                            *value *= length / norm;
                        }
                    }
                }
            }
            #[allow(clippy::cast_possible_truncation, reason = "made weights are single precision")]
            Ok(values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect())
        });
        let bytes = weight.elements() as u64 * Dtype::F32.width() as u64;
        Ok(MadeFile::new(format!("{}: {}", self.uri, weight.name), [(bytes, make)]))
    }

    /// The model that this adapter makes together with its base, if that is among these models, each under the names that the case
    /// gives it: its `adapter_config.json` says which one it is of.
    ///
    /// # Errors
    /// If it is of a kind that is not merged, or does not fit its base.
    pub fn merged_with_one_of<'a>(&self, bases: impl Iterator<Item = (&'a str, &'a Self)>) -> Result<Option<Self>> {
        let Some(adapter) = &self.adapter else { return Ok(None) };
        for (name, base) in bases.filter(|(_, base)| base.adapter.as_ref().is_none_or(|own| own.merged.is_some())) {
            let said = base.config.as_ref().and_then(|config| config.get("_name_or_path")?.as_str());
            if adapter.is_of([name, &base.uri].into_iter().chain(said)) {
                return self.merged_with(base).map(Some);
            }
        }
        Ok(None)
    }
}

/// Gives a tensor of a model other bytes.
fn put(model: &mut Checkpoint, at: usize, made: MadeFile) {
    let shard = model.shards.len();
    let own = &mut model.tensors[at];
    model.shards.push(Shard { name: own.name.clone(), blob: Arc::new(made) });
    (own.dtype, own.offset, own.shard) = (Dtype::F32, 0, shard);
    own.bytes = own.elements() as u64 * Dtype::F32.width() as u64;
}

/// The tensor of a base that an adapter calls by this name: the same, or one that differs by what stands before.
fn place(base: &Checkpoint, name: &str) -> Option<usize> {
    let exact = base.tensors.iter().position(|tensor| tensor.name == name);
    let ends = |long: &str, short: &str| long.strip_suffix(short).is_some_and(|rest| rest.ends_with('.'));
    exact.or_else(|| {
        let fits: BTreeSet<usize> = (0..base.tensors.len())
            .filter(|at| ends(&base.tensors[*at].name, name) || ends(name, &base.tensors[*at].name))
            .collect();
        fits.first().copied().filter(|_| fits.len() == 1)
    })
}

/// `model.layers.0.mlp.up_proj.lora_A.weight` or `….lora_A.default.weight`: the module and the factor.
fn factor(name: &str) -> Option<(String, &str)> {
    let parts: Vec<&str> = name.split('.').collect();
    let at = parts.iter().position(|part| part.starts_with("lora_"))?;
    Some((parts[..at].join("."), parts[at]))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::adapter::CONFIG;
    use super::super::testing;
    use super::*;
    use scratchproof_source::MemoryStore;

    fn file(tensors: &[(&str, &[usize], Vec<f32>)]) -> Vec<u8> {
        let mut header = serde_json::Map::new();
        let mut data: Vec<u8> = Vec::new();
        for (name, shape, values) in tensors {
            assert_eq!(shape.iter().product::<usize>(), values.len());
            let begin = data.len();
            data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            let entry = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()] });
            header.insert((*name).to_owned(), entry);
        }
        testing::raw(&Value::Object(header).to_string(), &data)
    }

    fn base() -> Checkpoint {
        let bytes = file(&[
            ("model.layers.0.mlp.up_proj.weight", &[3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            ("lm_head.weight", &[2, 2], vec![0.0; 4]),
        ]);
        Checkpoint::from_store(&MemoryStore::new().with("model.safetensors", bytes)).unwrap()
    }

    fn adapter(settings: &str, more: &[(&str, &[usize], Vec<f32>)]) -> Checkpoint {
        let module = "base_model.model.model.layers.0.mlp.up_proj";
        let (a, b) = (format!("{module}.lora_A.weight"), format!("{module}.lora_B.weight"));
        let mut tensors: Vec<(&str, &[usize], Vec<f32>)> =
            vec![(&a, &[1, 2], vec![1.0, -1.0]), (&b, &[3, 1], vec![1.0, 0.0, 2.0])];
        tensors.extend(more.iter().cloned());
        let store = MemoryStore::new().with("adapter_model.safetensors", file(&tensors)).with(CONFIG, settings);
        Checkpoint::from_store(&store).unwrap()
    }

    fn weight(model: &Checkpoint, name: &str) -> Vec<f64> {
        let tensor = model.find(name).unwrap();
        let mut values = vec![0.0; tensor.elements()];
        decode(tensor.dtype, &model.read(tensor).unwrap(), &mut values);
        values
    }

    #[test]
    fn a_lora_is_added_at_its_scale_and_whole_modules_are_taken_over() {
        let head = ("base_model.model.lm_head.weight", &[2, 2][..], vec![9.0, 8.0, 7.0, 6.0]);
        let settings = r#"{"peft_type":"LORA","lora_alpha":4,"r":1,"base_model_name_or_path":"org/base"}"#;
        let own = adapter(settings, &[head]);
        assert_eq!(own.adapter.as_ref().unwrap().base.as_deref(), Some("org/base"));
        let merged = own.merged_with(&base()).unwrap();
        assert_eq!(weight(&merged, "model.layers.0.mlp.up_proj.weight"), [5.0, -2.0, 3.0, 4.0, 13.0, -2.0]);
        assert_eq!(weight(&merged, "lm_head.weight"), [9.0, 8.0, 7.0, 6.0]);
    }

    #[test]
    fn dora_brings_rows_to_their_lengths() {
        let magnitude = (
            "base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector.weight",
            &[3][..],
            vec![10.0, 5.0, 1.0],
        );
        let settings = r#"{"peft_type":"LORA","lora_alpha":1,"use_dora":true}"#;
        let merged = adapter(settings, &[magnitude]).merged_with(&base()).unwrap();
        // W + B A = [2 1; 3 4; 7 4].
        let expected = [[2.0, 1.0, 10.0], [3.0, 4.0, 5.0], [7.0, 4.0, 1.0]].map(|[x, y, length]: [f64; 3]| {
            let norm = x.hypot(y);
            [x * length / norm, y * length / norm]
        });
        for (found, expected) in
            weight(&merged, "model.layers.0.mlp.up_proj.weight").iter().zip(expected.as_flattened())
        {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn what_is_not_merged_is_refused_by_name() {
        let says = |settings: &str, word: &str| {
            let message = adapter(settings, &[]).merged_with(&base()).unwrap_err().to_string();
            assert!(message.contains(word) && message.contains("merge_and_unload"), "{message}");
        };
        says(r#"{"peft_type":"IA3"}"#, "IA3");
        says(r#"{"peft_type":"LORA","alpha_pattern":{".*up_proj":3}}"#, "alpha_pattern");
        says(r#"{"peft_type":"LORA","fan_in_fan_out":true}"#, "do not fit");
        says(r#"{"peft_type":"LORA","use_dora":true}"#, "lora_magnitude_vector");
    }
}
