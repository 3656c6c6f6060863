//! Bytes of a tensor -> f64, exactly: every format but 64-bit integers beyond 2^53 is a subset of f64.

use super::simd::{Lanes, simd};
use super::{Dtype, level};

/// Decodes `bytes` into `out`.
///
/// # Panics
/// If `bytes` is not exactly `out.len()` elements of `dtype`; callers hold validated headers.
pub fn decode(dtype: Dtype, bytes: &[u8], out: &mut [f64]) {
    assert_eq!(bytes.len(), out.len() * dtype.width(), "byte span of {dtype:?}");
    decode_at(level(), dtype, bytes, out);
}

simd! { fn decode_at(dtype: Dtype, bytes: &[u8], out: &mut [f64]) = decode_body }

#[inline(always)]
#[allow(clippy::inline_always)]
fn decode_body<L: Lanes>(_: L, dtype: Dtype, bytes: &[u8], out: &mut [f64]) {
    match dtype {
        Dtype::F64 => each(bytes, out, f64::from_le_bytes),
        Dtype::F32 => each(bytes, out, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::Bf16 => each(bytes, out, |b| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16))),
        Dtype::F16 => each(bytes, out, |b| f64::from(f16_to_f32(u16::from_le_bytes(b)))),
        Dtype::F8E4M3 => table(bytes, out, &E4M3),
        Dtype::F8E5M2 => table(bytes, out, &E5M2),
        #[allow(clippy::cast_precision_loss)]
        Dtype::I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f64),
        #[allow(clippy::cast_precision_loss)]
        Dtype::U64 => each(bytes, out, |b| u64::from_le_bytes(b) as f64),
        Dtype::I32 => each(bytes, out, |b| f64::from(i32::from_le_bytes(b))),
        Dtype::U32 => each(bytes, out, |b| f64::from(u32::from_le_bytes(b))),
        Dtype::I16 => each(bytes, out, |b| f64::from(i16::from_le_bytes(b))),
        Dtype::U16 => each(bytes, out, |b| f64::from(u16::from_le_bytes(b))),
        Dtype::I8 => each(bytes, out, |b| f64::from(i8::from_le_bytes(b))),
        Dtype::U8 => each(bytes, out, |b: [u8; 1]| f64::from(b[0])),
        Dtype::Bool => each(bytes, out, |b: [u8; 1]| f64::from(u8::from(b[0] != 0))),
    }
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn each<const W: usize>(bytes: &[u8], out: &mut [f64], convert: impl Fn([u8; W]) -> f64) {
    let (elements, _) = bytes.as_chunks::<W>();
    for (value, element) in out.iter_mut().zip(elements) {
        *value = convert(*element);
    }
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn table(bytes: &[u8], out: &mut [f64], values: &[f64; 256]) {
    for (value, &byte) in out.iter_mut().zip(bytes) {
        *value = values[usize::from(byte)];
    }
}

/// IEEE half -> single without branches: shift the exponent field into place and let one multiplication rebias it,
/// which also normalises subnormals.
#[inline(always)]
#[allow(clippy::inline_always)]
fn f16_to_f32(half: u16) -> f32 {
    let magnitude = u32::from(half & 0x7fff) << 13;
    let sign = u32::from(half & 0x8000) << 16;
    let scaled = f32::from_bits(magnitude) * f32::from_bits((254 - 15) << 23);
    let special = if half & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(scaled.to_bits() | sign | special)
}

static E4M3: [f64; 256] = fp8_table(4, 3, true);
static E5M2: [f64; 256] = fp8_table(5, 2, false);

/// All values of an 8-bit float. E4M3 is the finite variant ("FN") of machine learning: no infinity, one NaN pattern;
/// E5M2 is IEEE-like (OCP 8-bit floating point specification, table 1).
const fn fp8_table(exponent_bits: u32, fraction_bits: u32, finite: bool) -> [f64; 256] {
    let bias = (1 << (exponent_bits - 1)) - 1;
    let top = (1 << exponent_bits) - 1;
    let mut values = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        let exponent = (code >> fraction_bits) & top;
        let fraction = code & ((1 << fraction_bits) - 1);
        let magnitude = if finite && code & 0x7f == 0x7f {
            f64::NAN
        } else if !finite && exponent == top {
            if fraction == 0 { f64::INFINITY } else { f64::NAN }
        } else {
            let leading = if exponent == 0 { 0 } else { 1 << fraction_bits };
            let power = (if exponent == 0 { 1 } else { exponent }) - bias - fraction_bits.cast_signed();
            (leading + fraction) as f64 * power_of_two(power)
        };
        values[code.cast_unsigned() as usize] = if code & 0x80 == 0 { magnitude } else { -magnitude };
        code += 1;
    }
    values
}

#[allow(clippy::cast_sign_loss)]
const fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    #[test]
    fn halves_agree_with_the_half_crate_on_every_pattern() {
        for bits in 0..=u16::MAX {
            for (dtype, expected) in
                [(Dtype::F16, half::f16::from_bits(bits).to_f64()), (Dtype::Bf16, half::bf16::from_bits(bits).to_f64())]
            {
                for level in [Level::Portable, Level::Avx2, Level::Avx512] {
                    let mut out = [0.0];
                    decode_at(level, dtype, &bits.to_le_bytes(), &mut out);
                    assert!(
                        out[0].to_bits() == expected.to_bits() || (out[0].is_nan() && expected.is_nan()),
                        "{bits:04x}"
                    );
                }
            }
        }
    }

    #[test]
    fn eight_bit_floats_have_the_limits_of_their_specification() {
        assert!((E4M3[0x7e] - 448.0).abs() < f64::EPSILON);
        assert!(E4M3[0x7f].is_nan() && E4M3[0xff].is_nan());
        assert!((E4M3[0x01] - 2f64.powi(-9)).abs() < f64::EPSILON);
        assert!((E4M3[0xb8] + 1.0).abs() < f64::EPSILON);
        assert!((E5M2[0x7b] - 57344.0).abs() < f64::EPSILON);
        assert!(E5M2[0x7c].is_infinite() && E5M2[0x7d].is_nan());
        assert!((E5M2[0x01] - 2f64.powi(-16)).abs() < f64::EPSILON);
    }

    #[test]
    fn integers_and_doubles_keep_their_values() {
        let mut out = [0.0; 2];
        decode(Dtype::I16, &[0xff, 0xff, 0x00, 0x80], &mut out);
        assert_eq!(out.map(f64::to_bits), [-1.0_f64, -32768.0].map(f64::to_bits));
        decode(Dtype::F64, &[0x18, 0x2d, 0x44, 0x54, 0xfb, 0x21, 9, 0x40, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f], &mut out);
        assert_eq!(out.map(f64::to_bits), [std::f64::consts::PI, 1.0].map(f64::to_bits));
    }
}
