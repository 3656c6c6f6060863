//! Blocks of quantised numbers -> single precision, as `gguf/quants.py` of llama.cpp does (the reference): every product
//! and sum rounded to single precision in the same order.

use half::f16;

/// A way of storing numbers in a GGUF file (`GGMLQuantizationType`, `GGML_QUANT_SIZES`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    /// Its name.
    pub(super) name: &'static str,
    /// Numbers of a block.
    pub(super) numbers: usize,
    /// Bytes of a block.
    pub(super) bytes: usize,
    make: fn(&[u8], &mut [f32]),
}

impl Blocks {
    /// The numbers of whole blocks, one after the other.
    pub(super) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let mut out = vec![0.0; bytes.len() / self.bytes * self.numbers];
        for (block, out) in bytes.chunks_exact(self.bytes).zip(out.chunks_exact_mut(self.numbers)) {
            (self.make)(block, out);
        }
        out
    }

    /// The kind by its number.
    pub(super) fn of(kind: u32) -> Option<Self> {
        let blocks = |name, numbers, bytes, make| Some(Self { name, numbers, bytes, make });
        match kind {
            2 => blocks("Q4_0", 32, 18, q4_0 as fn(&[u8], &mut [f32])),
            3 => blocks("Q4_1", 32, 20, q4_1),
            6 => blocks("Q5_0", 32, 22, q5_0),
            7 => blocks("Q5_1", 32, 24, q5_1),
            8 => blocks("Q8_0", 32, 34, q8_0),
            10 => blocks("Q2_K", 256, 84, q2_k),
            11 => blocks("Q3_K", 256, 110, q3_k),
            12 => blocks("Q4_K", 256, 144, q4_k),
            13 => blocks("Q5_K", 256, 176, q5_k),
            14 => blocks("Q6_K", 256, 210, q6_k),
            39 => blocks("MXFP4", 32, 17, mxfp4),
            _ => None,
        }
    }
}

/// Names and sizes of kinds that are named and not read.
pub(super) fn unread(kind: u32) -> Option<(&'static str, usize, usize)> {
    Some(match kind {
        9 => ("Q8_1", 32, 40),
        15 => ("Q8_K", 256, 292),
        16 => ("IQ2_XXS", 256, 66),
        17 => ("IQ2_XS", 256, 74),
        18 => ("IQ3_XXS", 256, 98),
        19 => ("IQ1_S", 256, 50),
        20 => ("IQ4_NL", 32, 18),
        21 => ("IQ3_S", 256, 110),
        22 => ("IQ2_S", 256, 82),
        23 => ("IQ4_XS", 256, 136),
        29 => ("IQ1_M", 256, 56),
        34 => ("TQ1_0", 256, 54),
        35 => ("TQ2_0", 256, 66),
        40 => ("NVFP4", 64, 36),
        41 => ("Q1_0", 128, 18),
        _ => return None,
    })
}

fn half(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

fn low(byte: u8) -> u8 {
    byte & 15
}

fn q4_0(block: &[u8], out: &mut [f32]) {
    let d = half(block, 0);
    for (i, byte) in block[2..].iter().enumerate() {
        out[i] = d * (f32::from(low(*byte)) - 8.0);
        out[i + 16] = d * (f32::from(byte >> 4) - 8.0);
    }
}

fn q4_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (half(block, 0), half(block, 2));
    for (i, byte) in block[4..].iter().enumerate() {
        out[i] = d * f32::from(low(*byte)) + m;
        out[i + 16] = d * f32::from(byte >> 4) + m;
    }
}

/// The fifth bit of each number of a block.
fn fifth(block: &[u8], at: usize, i: usize) -> u8 {
    (block[at + i / 8] >> (i % 8) & 1) << 4
}

fn q5_0(block: &[u8], out: &mut [f32]) {
    let d = half(block, 0);
    for (i, byte) in block[6..].iter().enumerate() {
        out[i] = d * (f32::from(low(*byte) | fifth(block, 2, i)) - 16.0);
        out[i + 16] = d * (f32::from(byte >> 4 | fifth(block, 2, i + 16)) - 16.0);
    }
}

fn q5_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (half(block, 0), half(block, 2));
    for (i, byte) in block[8..].iter().enumerate() {
        out[i] = d * f32::from(low(*byte) | fifth(block, 4, i)) + m;
        out[i + 16] = d * f32::from(byte >> 4 | fifth(block, 4, i + 16)) + m;
    }
}

fn q8_0(block: &[u8], out: &mut [f32]) {
    let d = half(block, 0);
    for (out, byte) in out.iter_mut().zip(&block[2..]) {
        *out = f32::from(byte.cast_signed()) * d;
    }
}

fn q2_k(block: &[u8], out: &mut [f32]) {
    let (scales, qs, d, min) = (&block[..16], &block[16..80], half(block, 80), half(block, 82));
    for (i, out) in out.iter_mut().enumerate() {
        let scale = scales[i / 16];
        // 128 numbers in 32 bytes, four to a byte.
        let q = qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        *out = d * f32::from(low(scale)) * f32::from(q) - min * f32::from(scale >> 4);
    }
}

fn q3_k(block: &[u8], out: &mut [f32]) {
    let (mask, qs, scales, d) = (&block[..32], &block[32..96], &block[96..108], half(block, 108));
    for (i, out) in out.iter_mut().enumerate() {
        let which = i / 16;
        let bits = if which < 8 { low(scales[which]) } else { scales[which - 8] >> 4 };
        let scale = bits | (scales[8 + which % 4] >> (which / 4 * 2) & 3) << 4;
        let q = qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        let high = mask[i % 32] >> (i / 32) & 1;
        *out = d * (f32::from(scale) - 32.0) * (f32::from(q) - if high == 1 { 0.0 } else { 4.0 });
    }
}

/// Scale and minimum of the group `i` of eight, six bits each in twelve bytes.
fn scale_and_min(scales: &[u8], i: usize) -> (f32, f32) {
    let (scale, min) = if i < 4 {
        (scales[i] & 63, scales[4 + i] & 63)
    } else {
        let both = scales[4 + i];
        (low(both) | scales[i - 4] >> 2 & 0x30, both >> 4 | scales[i] >> 2 & 0x30)
    };
    (f32::from(scale), f32::from(min))
}

fn q4_k(block: &[u8], out: &mut [f32]) {
    let (d, min, scales, qs) = (half(block, 0), half(block, 2), &block[4..16], &block[16..144]);
    for (i, out) in out.iter_mut().enumerate() {
        let (scale, least) = scale_and_min(scales, i / 32);
        let q = qs[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
        *out = d * scale * f32::from(q) - min * least;
    }
}

fn q5_k(block: &[u8], out: &mut [f32]) {
    let (d, min, scales) = (half(block, 0), half(block, 2), &block[4..16]);
    let (high, qs) = (&block[16..48], &block[48..176]);
    for (i, out) in out.iter_mut().enumerate() {
        let (scale, least) = scale_and_min(scales, i / 32);
        let q = qs[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
        let q = q | (high[i % 32] >> (i / 32) & 1) << 4;
        *out = d * scale * f32::from(q) - min * least;
    }
}

fn q6_k(block: &[u8], out: &mut [f32]) {
    let (lower, upper, scales, d) = (&block[..128], &block[128..192], &block[192..208], half(block, 208));
    for (i, out) in out.iter_mut().enumerate() {
        let (part, within) = (i / 128, i % 128);
        let four = lower[part * 64 + within % 64] >> (within / 64 * 4) & 15;
        let two = upper[part * 32 + within % 32] >> (within / 32 * 2) & 3;
        *out = d * f32::from(scales[i / 16].cast_signed()) * (f32::from(four | two << 4) - 32.0);
    }
}

/// Values of E2M1, doubled (OCP Microscaling Formats 1.0, table 5).
const E2M1: [f32; 16] = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];

fn mxfp4(block: &[u8], out: &mut [f32]) {
    // Half of 2^(e - 127), because the values are doubled; the two smallest are subnormal.
    let exponent = u32::from(block[0]);
    let d = f32::from_bits(if exponent < 2 { 0x0020_0000 << exponent } else { (exponent - 1) << 23 });
    for (i, byte) in block[1..].iter().enumerate() {
        out[i] = d * E2M1[usize::from(low(*byte))];
        out[i + 16] = d * E2M1[usize::from(byte >> 4)];
    }
}
