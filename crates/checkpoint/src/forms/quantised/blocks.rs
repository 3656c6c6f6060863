//! Blocks with a scale each: bitsandbytes in 4 and 8 bits, MXFP4, and eight-bit floats with scales beside them.

use std::sync::Arc;

use serde_json::Value;

use super::{Named, SCALES, Unpacked, activations, short, stored};
use crate::Dtype;

/// The values of a four-bit float (one sign, two exponent and one mantissa bit).
pub(super) const FP4: [f64; 16] =
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// A description of a state of bitsandbytes that is longer is none.
const STATE: usize = 1 << 16;

/// bitsandbytes in 4 bits: `weight`, `weight.absmax`, `weight.quant_map`, and a description in JSON.
pub(super) fn four_bits(name: &str, named: &Named) -> Option<Unpacked> {
    let weight = named.get(name, "").filter(|weight| weight.dtype == Dtype::U8)?;
    let described = ["nf4", "fp4"].map(|kind| [".quant_state.bitsandbytes__", kind].concat());
    let state = described.iter().find_map(|part| named.get(name, part)).filter(|state| state.shape.len() == 1)?;
    let (absmax, map) = (named.get(name, ".absmax")?, named.get(name, ".quant_map")?);
    if state.bytes().ok()? > STATE || map.shape != [16] {
        return None;
    }
    // It is needed for the shape; a few hundred bytes.
    let described: Value = serde_json::from_slice(&state.read(named.files).ok()?).ok()?;
    let shape: Vec<usize> = described
        .get("shape")?
        .as_array()?
        .iter()
        .map(|axis| usize::try_from(axis.as_u64()?).ok())
        .collect::<Option<_>>()?;
    let elements = shape.iter().try_fold(1usize, |all, axis| all.checked_mul(*axis))?;
    let number = |name: &str| described.get(name).and_then(Value::as_f64);
    let size =
        |name: &str| described.get(name).and_then(|size| usize::try_from(size.as_u64()?).ok()).filter(|size| *size > 0);
    let (block, nested_block) = (size("blocksize")?, size("nested_blocksize"));
    let format = match described.get("dtype").and_then(Value::as_str) {
        Some("bfloat16") => Dtype::Bf16,
        Some("float16") => Dtype::F16,
        _ => Dtype::F32,
    };
    if weight.bytes().ok()?.checked_mul(2)? < elements
        || absmax.shape.iter().product::<usize>() < elements.div_ceil(block)
    {
        return None;
    }
    let mut parts: Vec<String> = ["", ".absmax", ".quant_map"].iter().map(|part| [name, part].concat()).collect();
    let nested = (named.get(name, ".nested_absmax"), named.get(name, ".nested_quant_map"));
    let offset = number("nested_offset").unwrap_or(0.0);
    if let (Some(scales), Some(codes)) = nested {
        parts.extend([scales.name.clone(), codes.name.clone()]);
        nested_block?;
    } else if absmax.dtype == Dtype::U8 {
        return None;
    }
    let state = state.name.clone();
    let count = parts.len();
    parts.push(state);
    Some(Unpacked {
        name: name.to_owned(),
        shape,
        parts,
        kind: "bitsandbytes, 4 bits",
        make: Arc::new(move |parts| {
            let parts = &parts[..count.min(parts.len())];
            let [weight, absmax, map, rest @ ..] = parts else { return Err(short("a weight of four bits")) };
            let mut largest = absmax.values();
            if let [scales, codes] = rest {
                let (scales, codes) = (scales.values(), codes.values());
                let block = nested_block.unwrap_or(1);
                for (at, own) in largest.iter_mut().enumerate() {
                    let code = absmax.bytes.get(at).and_then(|code| codes.get(usize::from(*code)));
                    let (Some(code), Some(scale)) = (code, scales.get(at / block)) else {
                        return Err(short("a weight of four bits"));
                    };
                    // As the reference does: in single precision.
                    *own = stored_f32(stored_f32(code * scale) + offset);
                }
            }
            let map = map.values();
            let value = |at: usize| {
                let byte = weight.bytes[at / 2];
                let code = if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 };
                stored(stored_f32(map[usize::from(code)] * largest[at / block]), format)
            };
            Ok((0..elements).map(value).collect())
        }),
    })
}

fn stored_f32(value: f64) -> f64 {
    f64::from(stored(value, Dtype::F32))
}

/// bitsandbytes in 8 bits: rows of signed bytes, each with the largest absolute value of the row.
pub(super) fn eight_bits(name: &str, named: &Named) -> Option<Unpacked> {
    let weight = named.get(name, "").filter(|weight| weight.dtype == Dtype::I8)?;
    let prefix = name.strip_suffix("weight")?;
    let largest = named.get(prefix, "SCB")?;
    let [rows, cols] = weight.shape[..] else { return None };
    let format = named.get(prefix, "weight_format").map(|format| format.name.clone());
    let mut parts = vec![name.to_owned(), largest.name.clone()];
    parts.extend(format);
    (largest.shape.iter().product::<usize>() == rows && cols > 0).then(|| Unpacked {
        name: name.to_owned(),
        shape: vec![rows, cols],
        parts,
        kind: "bitsandbytes, 8 bits",
        make: Arc::new(move |parts| {
            let [weight, largest, ..] = parts else { return Err(short("a weight of eight bits")) };
            let (values, largest) = (weight.values(), largest.values());
            let share = stored_f32(1.0 / 127.0);
            let one = |(at, value): (usize, &f64)| stored(stored_f32(value * largest[at / cols]) * share, Dtype::F32);
            Ok(values.iter().enumerate().map(one).collect())
        }),
    })
}

/// MXFP4 as gpt-oss has it: 32 four-bit floats a block, the lower half of a byte first, and a power of two for each block; the
/// reference turns the last two axes.
pub(super) fn mxfp4(prefix: &str, named: &Named) -> Option<Unpacked> {
    let (blocks, scales) = (named.get(prefix, "_blocks")?, named.get(prefix, "_scales")?);
    let [outer @ .., rows, groups, 16] = &blocks.shape[..] else { return None };
    let whole = [outer, &[*rows, *groups]].concat();
    if blocks.dtype != Dtype::U8 || scales.dtype != Dtype::U8 || scales.shape != whole {
        return None;
    }
    let (rows, cols) = (*rows, groups.checked_mul(32)?);
    let shape = if outer.is_empty() { vec![rows, cols] } else { [outer, &[cols, rows]].concat() };
    let turned = !outer.is_empty();
    Some(Unpacked {
        name: prefix.to_owned(),
        shape,
        parts: vec![blocks.name.clone(), scales.name.clone()],
        kind: "MXFP4",
        make: Arc::new(move |parts| {
            let [blocks, scales] = parts else { return Err(short("a weight in MXFP4")) };
            let mut values = vec![0.0; blocks.bytes.len() * 2];
            for (at, byte) in blocks.bytes.iter().enumerate() {
                let scale = 2f64.powi(i32::from(scales.bytes[at / 16]) - 127);
                for (half, code) in [byte & 15, byte >> 4].into_iter().enumerate() {
                    let place = 2 * at + half;
                    let to = if turned {
                        let (matrix, row, col) = (place / (rows * cols), place / cols % rows, place % cols);
                        matrix * rows * cols + col * rows + row
                    } else {
                        place
                    };
                    values[to] = stored(FP4[usize::from(code)] * scale, Dtype::Bf16);
                }
            }
            Ok(values)
        }),
    })
}

/// Rows and columns that share a scale where nothing says how many: DeepSeek's, and those who followed.
const BLOCK: usize = 128;

/// A power of two as a byte has it (E8M0); the last code is no number.
pub(crate) fn power(code: u8) -> f64 {
    if code == u8::MAX { f64::NAN } else { 2f64.powi(i32::from(code) - 127) }
}

/// Eight-bit floats with a scale for the whole matrix, for each row, or for each block (`weight_scale`, `weight_scale_inv`).
pub(super) fn scaled(name: &str, named: &Named) -> Option<Unpacked> {
    let weight = named.get(name, "").filter(|weight| matches!(weight.dtype, Dtype::F8E4M3 | Dtype::F8E5M2))?;
    let scales = SCALES.iter().find_map(|part| named.get(name, part))?;
    let [rows, cols] = weight.shape[..] else { return None };
    let (down, across) = match scales.shape[..] {
        [] | [1] => (1, 1),
        [down] if down == rows => (down, 1),
        [down, across] => (down, across),
        _ => return None,
    };
    let block = named.setting("weight_block_size").and_then(Value::as_array);
    let told =
        |axis: usize| block.and_then(|block| usize::try_from(block.get(axis)?.as_u64()?).ok()).filter(|b| *b > 0);
    // How many of an axis share a scale. Where nothing says it, what everybody takes, if it fits: 160 rows in two blocks are
    // 128 and 32, and not twice 80.
    let length = |of: usize, parts: usize, axis: usize| match parts {
        0 => None,
        1 => Some(of),
        parts if parts == of => Some(1),
        parts => {
            told(axis).or_else(|| Some(BLOCK).filter(|block| of.div_ceil(*block) == parts)).or(Some(of.div_ceil(parts)))
        }
    };
    let (tall, wide) = (length(rows, down, 0)?, length(cols, across, 1)?);
    let fits = tall > 0 && wide > 0 && rows.div_ceil(tall) == down && cols.div_ceil(wide) == across;
    let mut parts = vec![name.to_owned(), scales.name.clone()];
    parts.extend(name.strip_suffix("weight").map(|prefix| activations(prefix, named)).into_iter().flatten());
    // A byte beside eight-bit floats is a power of two (E8M0), whatever the file calls its format.
    let powers = match scales.dtype {
        Dtype::U8 => true,
        dtype if dtype.is_float() => false,
        _ => return None,
    };
    // As the references do: in the format of the scales.
    let format = if matches!(scales.dtype, Dtype::F16 | Dtype::Bf16) { scales.dtype } else { Dtype::F32 };
    fits.then(|| Unpacked {
        name: name.to_owned(),
        shape: vec![rows, cols],
        parts,
        kind: "scaled 8-bit floats",
        make: Arc::new(move |parts| {
            let [weight, scales, ..] = parts else { return Err(short("a scaled weight")) };
            let values = weight.values();
            let scales: Vec<f64> =
                if powers { scales.bytes.iter().map(|code| power(*code)).collect() } else { scales.values() };
            let scale = |at: usize| scales[at / cols / tall * across + at % cols / wide];
            Ok(values.iter().enumerate().map(|(at, value)| stored(value * scale(at), format)).collect())
        }),
    })
}
