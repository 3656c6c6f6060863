//! GPTQ and AWQ: whole numbers of 2, 4 or 8 bits in words of 32, with a scale and a zero for every group of inputs.

use std::sync::Arc;

use super::{Named, Part, Unpacked, short, stored};
use crate::Dtype;
use scratchproof_error::Result;

/// Which column each nibble of a word of AWQ is.
const AWQ_ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

/// How a matrix of `inputs` x `outputs` is packed.
#[derive(Clone, Copy)]
struct Layout {
    inputs: usize,
    outputs: usize,
    groups: usize,
    bits: usize,
    /// Words run along the outputs, nibbles in AWQ's order; else along the inputs, and a zero is stored less one, unless it
    /// is of GPTQ's second format.
    awq: bool,
    plain_zeros: bool,
}

pub(super) fn packed(prefix: &str, named: &Named) -> Option<Unpacked> {
    let [qweight, qzeros, scales] = ["qweight", "qzeros", "scales"].map(|part| named.get(prefix, part));
    let (qweight, qzeros, scales) = (qweight?, qzeros?, scales?);
    let ([rows, cols], [groups, zero_cols], [scale_groups, outputs]) =
        (&qweight.shape[..], &qzeros.shape[..], &scales.shape[..])
    else {
        return None;
    };
    let words = |dtype: Dtype| matches!(dtype, Dtype::I32 | Dtype::U32);
    if !words(qweight.dtype) || !words(qzeros.dtype) || groups != scale_groups || *groups == 0 || *outputs == 0 {
        return None;
    }
    let bits = (32 * zero_cols).checked_div(*outputs).filter(|bits| [2, 4, 8].contains(bits))?;
    let pack = 32 / bits;
    let awq = bits == 4 && cols * pack == *outputs && zero_cols == cols;
    if !awq && cols != outputs {
        return None;
    }
    let inputs = if awq { *rows } else { rows.checked_mul(pack)? };
    let plain_zeros = named.setting("checkpoint_format").and_then(|format| format.as_str()) == Some("gptq_v2");
    let layout = Layout { inputs, outputs: *outputs, groups: *groups, bits, awq, plain_zeros };
    let index = named.get(prefix, "g_idx").filter(|index| index.shape == [inputs] && !awq);
    let mut parts: Vec<String> = ["qweight", "qzeros", "scales"].iter().map(|part| [prefix, part].concat()).collect();
    parts.extend(index.map(|index| index.name.clone()));
    Some(Unpacked {
        name: [prefix, "weight"].concat(),
        shape: vec![*outputs, inputs],
        parts,
        kind: if awq { "AWQ" } else { "GPTQ" },
        make: Arc::new(move |parts| unpack(parts, layout)),
    })
}

fn unpack(parts: &[Part], layout: Layout) -> Result<Vec<f32>> {
    let [qweight, qzeros, scales, rest @ ..] = parts else { return Err(short("a packed weight")) };
    let Layout { inputs, outputs, groups, bits, awq, plain_zeros } = layout;
    let (words, zeros, format) = (qweight.words(), qzeros.words(), scales.dtype);
    let scales = scales.values();
    let (pack, mask) = (32 / bits, u32::MAX >> (32 - bits));
    // The place of each output in its word, and the other way round.
    let shift = |output: usize| {
        let at = output % pack;
        bits * if awq { AWQ_ORDER.iter().position(|column| *column == at).unwrap_or(at) } else { at }
    };
    let group_size = inputs.div_ceil(groups).max(1);
    let groups_of: Vec<usize> = match rest.first() {
        Some(index) => index.words().iter().map(|group| *group as usize).collect(),
        None => (0..inputs).map(|input| input / group_size).collect(),
    };
    let lines = words.len() * pack >= inputs * outputs && zeros.len() * pack >= groups * outputs;
    if !lines || scales.len() < groups * outputs || groups_of.iter().any(|group| *group >= groups) {
        return Err(short("a packed weight"));
    }
    let mut values = vec![0.0; inputs * outputs];
    for (input, group) in groups_of.iter().enumerate() {
        for output in 0..outputs {
            let zero = zeros[group * (outputs / pack) + output / pack] >> shift(output) & mask;
            let zero = if awq || plain_zeros { zero } else { zero.wrapping_add(1) & mask };
            let word = if awq {
                words[input * (outputs / pack) + output / pack] >> shift(output)
            } else {
                words[input / pack * outputs + output] >> (bits * (input % pack))
            };
            let difference = f64::from(word & mask) - f64::from(zero);
            values[output * inputs + input] = stored(scales[group * outputs + output] * difference, format);
        }
    }
    Ok(values)
}
