//! How many attention heads a model has, and how wide they are.

use serde_json::Value;

use super::super::heads::Heads;
use super::super::{Arrangement, Checkpoint, Residual, TensorRecord};

/// Dimensions of all heads together, at most: beyond it config.json is not serious.
const WIDEST: usize = 1 << 32;

/// What the shapes say, summed over all heads; of the first layer that says it.
#[derive(Default)]
struct Widths {
    query: Option<usize>,
    key: Option<usize>,
    output: Option<usize>,
    fused: Option<usize>,
    /// One head, from a norm over it or from its rotary frequencies.
    head: Option<usize>,
    latent: bool,
}

impl Checkpoint {
    /// The attention heads of the language model: from config.json, held against the shapes, or from the shapes where
    /// they suffice. `None` if neither says, or they contradict each other.
    #[must_use]
    pub fn heads(&self) -> Option<Heads> {
        of(self, "")
    }
}

pub(in super::super) fn of(checkpoint: &Checkpoint, tower: &str) -> Option<Heads> {
    if let Some(sample) = &checkpoint.sample {
        if sample.headless.contains(tower) {
            // Drawn rows are no whole heads.
            return None;
        }
        if let Some(heads) = sample.heads.get(tower) {
            return Some(*heads);
        }
    }
    let widths = Widths::of(checkpoint, tower);
    let config = Settings::of(checkpoint, tower);
    let positive = |value: Option<usize>| value.filter(|value| *value > 0);
    let all = positive(widths.query.or(if widths.latent { None } else { widths.output }));
    let asked =
        positive(config.number(&["num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads"]));
    let (query, dim) = match (asked, all) {
        (Some(query), Some(all)) => (query, all.is_multiple_of(query).then(|| all / query)?),
        (Some(query), None) => (
            query,
            positive(config.dim()).or_else(|| {
                let hidden = positive(checkpoint.hidden_size().filter(|_| tower.is_empty()))?;
                (hidden.is_multiple_of(query)).then(|| hidden / query)
            })?,
        ),
        (None, Some(all)) => {
            let dim = positive(config.dim()).or(positive(widths.head))?;
            (all.is_multiple_of(dim).then(|| all / dim)?, dim)
        }
        (None, None) => return None,
    };
    let value = positive(config.number(&["v_head_dim"])).filter(|_| widths.latent).unwrap_or(dim);
    // Latent attention projects down to key-value ranks that all heads share, so no shape counts key-value heads.
    let key_value = if widths.latent {
        query
    } else if let Some(key) = positive(widths.key) {
        key.is_multiple_of(dim).then(|| key / dim)?
    } else if let Some(fused) = positive(widths.fused) {
        let rest = (fused.is_multiple_of(dim)).then(|| fused / dim)?.checked_sub(query)?;
        rest.is_multiple_of(2).then_some(rest / 2)?
    } else {
        config.key_value().unwrap_or(query)
    };
    let possible = query.checked_mul(dim.max(value)).is_some_and(|width| width <= WIDEST);
    (possible && key_value > 0 && query.is_multiple_of(key_value)).then_some(Heads { query, key_value, dim, value })
}

impl Widths {
    fn of(checkpoint: &Checkpoint, tower: &str) -> Self {
        let mut widths = Self::default();
        for tensor in &checkpoint.tensors {
            let role = &tensor.role;
            if role.tower != tower || !role.known || role.is_prediction() {
                continue;
            }
            let slot = match role.family.as_str() {
                "q_proj" => &mut widths.query,
                "q_b_proj" => {
                    widths.latent = true;
                    let units = tensor.shape.first().copied();
                    widths.query = widths.query.or(units);
                    continue;
                }
                "kv_a_proj" => {
                    widths.latent = true;
                    continue;
                }
                "k_proj" => &mut widths.key,
                "o_proj" => &mut widths.output,
                "qkv_proj" if is_fused(tensor) => &mut widths.fused,
                "q_norm" | "k_norm" => {
                    if let [length] = tensor.shape[..] {
                        widths.head = widths.head.or(Some(length));
                    }
                    continue;
                }
                "rotary_inv_freq" => {
                    if let [length] = tensor.shape[..] {
                        widths.head = widths.head.or(length.checked_mul(2));
                    }
                    continue;
                }
                _ => continue,
            };
            let units = match (role.residual, &tensor.shape[..]) {
                (Residual::Rows, [_, units]) | (Residual::Columns, [units, _]) => Some(*units),
                _ => None,
            };
            *slot = slot.or(units);
        }
        widths
    }
}

fn is_fused(tensor: &TensorRecord) -> bool {
    let arrangement = tensor.split.as_ref().map(|split| split.arrangement);
    matches!(arrangement, Some(Arrangement::Blocks | Arrangement::Groups))
}

/// The part of config.json that is about a tower.
struct Settings<'a>(Vec<&'a Value>);

impl<'a> Settings<'a> {
    fn of(checkpoint: &'a Checkpoint, tower: &str) -> Self {
        let Some(config) = &checkpoint.config else { return Self(Vec::new()) };
        let inner: &[&str] = match tower {
            "" => &["text_config", "llm_config", "language_config", "attn_config"],
            tower if tower.starts_with("audio") => &["audio_config"],
            _ => &["vision_config"],
        };
        let inner = inner.iter().filter_map(|key| config.get(key));
        Self(if tower.is_empty() { std::iter::once(config).chain(inner).collect() } else { inner.collect() })
    }

    fn number(&self, keys: &[&str]) -> Option<usize> {
        let mut values = self.0.iter().flat_map(|place| keys.iter().filter_map(|key| place.get(key)));
        values.find_map(|value| usize::try_from(value.as_u64()?).ok())
    }

    fn is_set(&self, key: &str) -> bool {
        self.0.iter().any(|place| place.get(key).and_then(Value::as_bool) == Some(true))
    }

    fn dim(&self) -> Option<usize> {
        let latent = self.number(&["qk_nope_head_dim"]).zip(self.number(&["qk_rope_head_dim"]));
        let latent = latent.and_then(|(plain, rotary)| plain.checked_add(rotary));
        latent.or_else(|| self.number(&["head_dim", "kv_channels", "d_kv"]))
    }

    fn key_value(&self) -> Option<usize> {
        if self.is_set("multi_query") && !self.is_set("new_decoder_architecture") {
            return Some(1);
        }
        self.number(&["num_key_value_heads", "num_kv_heads", "n_head_kv", "kv_n_heads", "multi_query_group_num"])
    }
}
