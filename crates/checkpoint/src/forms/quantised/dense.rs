//! Whole numbers of 1 to 8 bits without a gap in words of 32: compressed-tensors (`pack-quantized`, its
//! `compressors/pack_quantized`) and MLX (`mlx.core.dequantize`); beside them the other forms of compressed-tensors, signed
//! bytes with scales (`naive_quantized`) and NVFP4 (`nvfp4`).

use std::sync::Arc;

use serde_json::Value;

use super::super::Entry;
use super::blocks::FP4;
use super::{Named, Part, Unpacked, activations, short, stored};
use crate::Dtype;
use scratchproof_error::Result;

/// The number at a place of a run of words: the lowest bits first, over the edge of a word into the next.
fn number(word: impl Fn(usize) -> u32, at: usize, bits: usize) -> u32 {
    let (place, shift) = (at * bits / 32, at * bits % 32);
    let own = u64::from(word(place));
    let next = if shift + bits > 32 { u64::from(word(place + 1)) } else { 0 };
    #[allow(clippy::cast_possible_truncation, reason = "masked to 8 bits at most")]
    let number = ((own | next << 32) >> shift) as u32;
    number & (u32::MAX >> (32 - bits))
}

/// How the scales of a matrix lie: one, one a row, or so many a row.
#[derive(Clone, Copy)]
struct Scales {
    rows: usize,
    across: usize,
}

impl Scales {
    fn of(shape: &[usize], rows: usize, cols: usize) -> Option<Self> {
        let (down, across) = match *shape {
            [] | [1] | [1, 1] => (1, 1),
            [down] => (down, 1),
            [down, across] => (down, across),
            _ => return None,
        };
        let fits = (down == 1 || down == rows) && across > 0 && cols.is_multiple_of(across);
        fits.then_some(Self { rows: down, across })
    }

    fn at(self, row: usize, group: usize) -> usize {
        if self.rows == 1 { group } else { row * self.across + group }
    }
}

/// compressed-tensors: `weight_packed`, `weight_scale` and `weight_shape`, where it is asymmetric `weight_zero_point`, with
/// inputs in another order `weight_g_idx`.
pub(super) fn compressed(prefix: &str, named: &Named) -> Option<Unpacked> {
    let packed = named.get(prefix, "weight_packed")?;
    if packed.dtype == Dtype::U8 {
        return nvfp4(prefix, named);
    }
    let (scale, shape) = (named.get(prefix, "weight_scale")?, named.get(prefix, "weight_shape")?);
    let [rows, words] = packed.shape[..] else { return None };
    if packed.dtype != Dtype::I32 || shape.dtype != Dtype::I64 || shape.shape != [2] || !scale.dtype.is_float() {
        return None;
    }
    // Sixteen bytes that say how many of the last word's bits are filled.
    let shape = shape.read(named.files).ok()?;
    let axis = |at: usize| usize::try_from(i64::from_le_bytes(*shape.as_chunks::<8>().0.get(at)?)).ok();
    let cols = axis(1).filter(|cols| axis(0) == Some(rows) && *cols > 0 && *cols <= words.saturating_mul(32))?;
    let said = bits_said(named);
    let fits = |bits: &usize| (cols * bits).div_ceil(32) == words;
    let bits = said.filter(fits).or_else(|| (1..=8).find(fits))?;
    let scales = Scales::of(&scale.shape, rows, cols)?;
    let mut parts = vec![packed.name.clone(), scale.name.clone()];
    let zeros = named.get(prefix, "weight_zero_point");
    if let Some(zeros) = zeros {
        // They are packed along the rows.
        if zeros.dtype != Dtype::I32 || zeros.shape != [(rows * bits).div_ceil(32), scales.across] {
            return None;
        }
        parts.push(zeros.name.clone());
    }
    let order = named.get(prefix, "weight_g_idx").filter(|order| order.shape == [cols]);
    parts.extend(order.map(|order| order.name.clone()));
    let (with_zeros, with_order) = (zeros.is_some(), order.is_some());
    parts.push([prefix, "weight_shape"].concat());
    parts.extend(activations(prefix, named));
    Some(Unpacked {
        name: [prefix, "weight"].concat(),
        shape: vec![rows, cols],
        parts,
        kind: "compressed-tensors, packed",
        make: Arc::new(move |parts| {
            let [packed, scale, rest @ ..] = parts else { return Err(short("a packed weight")) };
            let own = packed.words();
            let zeros = if with_zeros { rest.first().map(Part::words) } else { None };
            let groups = groups(rest.get(usize::from(with_zeros)).filter(|_| with_order), cols, scales.across)?;
            let (format, scale) = (scale.dtype, scale.values());
            if own.len() < rows * words || scale.len() < scales.rows * scales.across {
                return Err(short("a packed weight"));
            }
            let middle = f64::from(1u32 << (bits - 1));
            let mut values = Vec::with_capacity(rows * cols);
            for row in 0..rows {
                let word = |at: usize| own[row * words + at];
                for (col, group) in groups.iter().enumerate() {
                    let zero = match &zeros {
                        Some(zeros) => {
                            let word = |at: usize| zeros.get(at * scales.across + group).copied().unwrap_or(0);
                            f64::from(number(word, row, bits))
                        }
                        None => middle,
                    };
                    let difference = f64::from(number(word, col, bits)) - zero;
                    values.push(stored(difference * scale[scales.at(row, *group)], format));
                }
            }
            Ok(values)
        }),
    })
}

/// The group of each input.
fn groups(order: Option<&Part>, cols: usize, across: usize) -> Result<Vec<usize>> {
    let plain = || (0..cols).map(|col| col / (cols / across)).collect::<Vec<usize>>();
    let Some(order) = order else { return Ok(plain()) };
    let found: Vec<usize> = order.words().into_iter().map(|group| group as usize).collect();
    // An index that was never filled is minus one everywhere.
    if found.iter().all(|group| *group == u32::MAX as usize) {
        return Ok(plain());
    }
    if found.len() == cols && found.iter().all(|group| *group < across) {
        Ok(found)
    } else {
        Err(short("a packed weight"))
    }
}

/// The bits that all groups of the settings name.
fn bits_said(named: &Named) -> Option<usize> {
    let groups = named.setting("config_groups")?.as_object()?;
    let mut bits = groups.values().filter_map(|group| group.get("weights")?.get("num_bits")?.as_u64());
    let first = bits.next().filter(|first| (1..=8).contains(first))?;
    bits.all(|other| other == first).then_some(usize::try_from(first).ok()?)
}

/// compressed-tensors' signed bytes: `weight`, `weight_scale`, where it is asymmetric `weight_zero_point`.
pub(super) fn bytes(name: &str, named: &Named) -> Option<Unpacked> {
    let weight = named.get(name, "").filter(|weight| weight.dtype == Dtype::I8)?;
    let prefix = name.strip_suffix("weight")?;
    let scale = named.get(name, "_scale").filter(|scale| scale.dtype.is_float())?;
    let [rows, cols] = weight.shape[..] else { return None };
    let scales = Scales::of(&scale.shape, rows, cols)?;
    let zeros = named.get(name, "_zero_point");
    if zeros.is_some_and(|zeros| zeros.shape != scale.shape || zeros.dtype != Dtype::I8) {
        return None;
    }
    let mut parts = vec![name.to_owned(), scale.name.clone()];
    parts.extend(zeros.map(|zeros| zeros.name.clone()));
    let with_zeros = zeros.is_some();
    parts.extend(activations(prefix, named));
    Some(Unpacked {
        name: name.to_owned(),
        shape: vec![rows, cols],
        parts,
        kind: "compressed-tensors, 8 bits",
        make: Arc::new(move |parts| {
            let [weight, scale, rest @ ..] = parts else { return Err(short("a weight of eight bits")) };
            let zeros = rest.first().filter(|_| with_zeros).map(Part::values);
            let (values, format, scale) = (weight.values(), scale.dtype, scale.values());
            let one = |(at, value): (usize, &f64)| {
                let place = scales.at(at / cols, at % cols / (cols / scales.across));
                let zero = zeros.as_ref().map_or(0.0, |zeros| zeros[place]);
                stored(f64::from(stored(value - zero, format)) * scale[place], format)
            };
            Ok(values.iter().enumerate().map(one).collect())
        }),
    })
}

/// NVFP4: 16 four-bit floats share a scale of eight bits, and all a scale by which those are divided.
fn nvfp4(prefix: &str, named: &Named) -> Option<Unpacked> {
    let [packed, scale, global] =
        ["weight_packed", "weight_scale", "weight_global_scale"].map(|part| named.get(prefix, part));
    fp4(prefix, named, [packed, scale, global], false)
}

/// As that, of `ModelOpt`: `weight`, `weight_scale`, and a scale for all (`weight_scale_2`) that multiplies.
pub(super) fn modelopt(name: &str, named: &Named) -> Option<Unpacked> {
    let prefix = name.strip_suffix("weight")?;
    let parts = ["weight", "weight_scale", "weight_scale_2"].map(|part| named.get(prefix, part));
    parts[0].filter(|weight| weight.dtype == Dtype::U8)?;
    fp4(prefix, named, parts, true)
}

/// What both are. `times` is whether the scale for all multiplies, and does not divide.
fn fp4(prefix: &str, named: &Named, parts: [Option<&Entry>; 3], times: bool) -> Option<Unpacked> {
    let [packed, scale, global] = parts;
    let (packed, scale, global) = (packed?, scale?, global?);
    let [rows, half] = packed.shape[..] else { return None };
    let cols = half.checked_mul(2)?;
    let one = global.shape.iter().product::<usize>() == 1 && global.dtype == Dtype::F32;
    if scale.dtype != Dtype::F8E4M3 || !cols.is_multiple_of(16) || scale.shape != [rows, cols / 16] || !one {
        return None;
    }
    let mut parts = vec![packed.name.clone(), scale.name.clone(), global.name.clone()];
    parts.extend(activations(prefix, named));
    Some(Unpacked {
        name: [prefix, "weight"].concat(),
        shape: vec![rows, cols],
        parts,
        kind: "NVFP4",
        make: Arc::new(move |parts| {
            let [packed, scale, global, ..] = parts else { return Err(short("a weight in NVFP4")) };
            let whole = global.values().first().copied().unwrap_or(1.0);
            let of = |scale: &f64| stored(if times { scale * whole } else { scale / whole }, Dtype::F32);
            let scale: Vec<f32> = scale.values().iter().map(of).collect();
            let one = |(at, code): (usize, u8)| {
                let value = stored(FP4[usize::from(code)] * f64::from(scale[at / 16]), Dtype::F32);
                stored(f64::from(value), Dtype::Bf16)
            };
            let codes = packed.bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]);
            Ok(codes.enumerate().map(one).collect())
        }),
    })
}

/// MLX: `weight` of whole numbers, and for every group of inputs a factor (`scales`) and what is added (`biases`). How many
/// bits and how long a group is only the settings say, for all or for one module.
pub(super) fn mlx(name: &str, named: &Named) -> Option<Unpacked> {
    let weight = named.get(name, "").filter(|weight| weight.dtype == Dtype::U32)?;
    let prefix = name.strip_suffix("weight")?;
    let (scales, biases) = (named.get(prefix, "scales")?, named.get(prefix, "biases")?);
    let [outer @ .., rows, words] = &weight.shape[..] else { return None };
    let [scales_outer @ .., scale_rows, groups] = &scales.shape[..] else { return None };
    if (scales_outer, scale_rows) != (outer, rows) || biases.shape != scales.shape || biases.dtype != scales.dtype {
        return None;
    }
    let settings = named.config?.get("quantization").or_else(|| named.config?.get("quantization_config"))?;
    let own = settings.get(prefix.trim_end_matches('.')).filter(|own| own.is_object());
    let setting = |key: &str| own.and_then(|own| own.get(key)).or_else(|| settings.get(key));
    if setting("mode").and_then(Value::as_str).is_some_and(|mode| mode != "affine") || !scales.dtype.is_float() {
        return None;
    }
    let size = |key: &str| usize::try_from(setting(key)?.as_u64()?).ok();
    let (bits, group) = (size("bits").filter(|bits| (1..=8).contains(bits))?, size("group_size")?);
    let cols = groups.checked_mul(group).filter(|cols| cols.checked_mul(bits) == words.checked_mul(32) && *cols > 0)?;
    let lines = outer.iter().try_fold(*rows, |all, axis| all.checked_mul(*axis))?;
    let (words, groups) = (*words, *groups);
    Some(Unpacked {
        name: name.to_owned(),
        shape: [outer, &[*rows, cols]].concat(),
        parts: vec![name.to_owned(), scales.name.clone(), biases.name.clone()],
        kind: "MLX",
        make: Arc::new(move |parts| {
            let [weight, scales, biases] = parts else { return Err(short("a weight of MLX")) };
            let (own, format) = (weight.words(), scales.dtype);
            let (scales, biases) = (scales.values(), biases.values());
            if own.len() < lines * words || scales.len().min(biases.len()) < lines * groups {
                return Err(short("a weight of MLX"));
            }
            let mut values = Vec::with_capacity(lines * cols);
            for line in 0..lines {
                for col in 0..cols {
                    let place = line * groups + col / group;
                    let number = f64::from(number(|at| own[line * words + at], col, bits));
                    values.push(stored(f64::from(stored(number * scales[place], format)) + biases[place], format));
                }
            }
            Ok(values)
        }),
    })
}
