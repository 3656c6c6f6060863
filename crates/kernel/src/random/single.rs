//! Logarithm, sine and cosine in single precision, rounded as the builds of `PyTorch` round them in its normal fill: not the
//! nearest number, but theirs, bit for bit.
//!
//! The vector build evaluates the polynomials of the Cephes library (S. Moshier) in the order of `avx_mathfun` (J. Pommier,
//! G. Garberoglio; zlib licence), where the compiler fuses every multiplication with the addition that follows it. The
//! portable build calls the C library; glibc 2.28 and later have the functions of Arm's optimized routines (MIT), which
//! work in double precision and round once. The constants are theirs.

/// log(x) for 0 < x <= 1, by Cephes.
#[inline(always)]
#[allow(clippy::inline_always, clippy::cast_precision_loss, clippy::cast_possible_wrap)]
pub fn cephes_log(x: f32, fused: bool) -> f32 {
    const P: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_87e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_4e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    let bits = x.max(f32::MIN_POSITIVE).to_bits();
    let mantissa = f32::from_bits(bits & 0x007f_ffff | 0x3f00_0000);
    let low = mantissa < std::f32::consts::FRAC_1_SQRT_2;
    let exponent = ((bits >> 23) as i32 - 0x7f) as f32 + 1.0 - if low { 1.0 } else { 0.0 };
    let x = mantissa - 1.0 + if low { mantissa } else { 0.0 };
    let z = x * x;
    let mut y = P[0];
    for p in &P[1..] {
        y = add(y, x, *p, fused);
    }
    y = add(y * x, z, exponent * -2.121_944_4e-4, fused);
    y = add(-z, 0.5, y, fused);
    add(exponent, 0.693_359_4, x + y, fused)
}

/// Sine and cosine of 0 <= x < 8192, by Cephes.
#[inline(always)]
#[allow(clippy::inline_always, clippy::cast_precision_loss, clippy::cast_possible_truncation)]
pub fn cephes_sin_cos(x: f32, fused: bool) -> (f32, f32) {
    let octant = ((x * 1.273_239_5) as i32 + 1) & !1;
    let y = octant as f32;
    let mut x = add(y, -0.785_156_25, x, fused);
    x = add(y, -2.418_756_5e-4, x, fused);
    x = add(y, -3.774_895e-8, x, fused);
    let z = x * x;
    let mut c = add(2.443_315_7e-5, z, -1.388_731_6e-3, fused);
    c = add(c, z, 4.166_664_6e-2, fused) * z;
    c = add(c, z, -(z * 0.5), fused) + 1.0;
    let mut s = add(-1.951_529_6e-4, z, 8.332_161e-3, fused);
    s = add(s, z, -1.666_665_5e-1, fused) * z;
    s = add(s, x, x, fused);
    let (sin, cos) = if octant & 2 == 0 { (s, c) } else { (c, s) };
    (if octant & 4 == 0 { sin } else { -sin }, if (octant - 2) & 4 == 0 { -cos } else { cos })
}

#[inline(always)]
#[allow(clippy::inline_always)]
fn add(a: f32, b: f32, c: f32, fused: bool) -> f32 {
    if fused { a.mul_add(b, c) } else { a * b + c }
}

/// 1/c and log c of 16 intervals of a significand.
const LOG: [(u64, u64); 16] = [
    (0x3ff6_61ec_79f8_f3be, 0xbfd5_7bf7_808c_aade),
    (0x3ff5_71ed_4aaf_883d, 0xbfd2_bef0_a7c0_6ddb),
    (0x3ff4_9539_f0f0_10b0, 0xbfd0_1eae_7f51_3a67),
    (0x3ff3_c995_b0b8_0385, 0xbfcb_31d8_a682_24e9),
    (0x3ff3_0d19_0c88_64a5, 0xbfc6_574f_0ac0_7758),
    (0x3ff2_5e22_7b0b_8ea0, 0xbfc1_aa2b_c79c_8100),
    (0x3ff1_bb4a_4a1a_343f, 0xbfba_4e76_ce8c_0e5e),
    (0x3ff1_2358_f08a_e5ba, 0xbfb1_973c_5a61_1ccc),
    (0x3ff0_953f_4199_00a7, 0xbfa2_52f4_38e1_0c1e),
    (0x3ff0_0000_0000_0000, 0x0000_0000_0000_0000),
    (0x3fee_608c_fd9a_47ac, 0x3faa_a5aa_5df2_5984),
    (0x3fec_a4b3_1f02_6aa0, 0x3fbc_5e53_aa36_2eb4),
    (0x3feb_2036_576a_fce6, 0x3fc5_26e5_7720_db08),
    (0x3fe9_c2d1_63a1_aa2d, 0x3fcb_c286_0d22_4770),
    (0x3fe8_86e6_0378_41ed, 0x3fd1_058b_c8a0_7ee1),
    (0x3fe7_67dc_f553_4862, 0x3fd4_0430_57b6_ee09),
];

/// log(x) for a positive normal x, by Arm's routines.
#[must_use]
#[inline]
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
pub fn arm_log(x: f32) -> f32 {
    let d = f64::from_bits;
    let bits = x.to_bits();
    let shifted = bits.wrapping_sub(0x3f33_0000);
    let (inverse, log) = LOG[(shifted >> 19) as usize & 15];
    let exponent = f64::from(shifted as i32 >> 23);
    let significand = f64::from(f32::from_bits(bits.wrapping_sub(shifted & 0xff80_0000)));
    let r = significand * d(inverse) - 1.0;
    let start = d(log) + exponent * std::f64::consts::LN_2;
    let r2 = r * r;
    let y = d(0x3fd5_575b_0be0_0b6a) * r + d(0xbfdf_fffe_f20a_4123);
    let y = d(0xbfd0_0ea3_48b8_8334) * r2 + y;
    (y * r2 + (start + r)) as f32
}

/// Sine and cosine of 0 <= x < 120, by Arm's routines.
#[must_use]
#[inline]
#[allow(clippy::cast_possible_truncation)]
pub fn arm_sin_cos(x: f32) -> (f32, f32) {
    let d = f64::from_bits;
    let mut reduced = f64::from(x);
    let mut quadrant = 0;
    if x >= std::f32::consts::FRAC_PI_4 {
        let scaled = reduced * (std::f64::consts::FRAC_2_PI * f64::from(1 << 24));
        quadrant = (scaled as i32 + 0x0080_0000) >> 24;
        reduced -= f64::from(quadrant) * std::f64::consts::FRAC_PI_2;
    } else if x < 2.0_f32.powi(-12) {
        return (x, 1.0);
    }
    let r = reduced;
    let r2 = r * r;
    let r3 = r * r2;
    let s1 = d(0x3f81_1076_0523_0bc4) + r2 * d(0xbf29_94eb_3774_cf24);
    let sin = (r + r3 * d(0xbfc5_5554_5995_a603) + r3 * r2 * s1) as f32;
    let r4 = r2 * r2;
    let c2 = d(0xbf56_c087_e89a_359d) + r2 * d(0x3ef9_9343_027b_f8c3);
    let c1 = 1.0 + r2 * d(0xbfdf_ffff_fd0c_621c);
    let cos = (c1 + r4 * d(0x3fa5_5553_e106_8f19) + r4 * r2 * c2) as f32;
    match quadrant & 3 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_the_functions_they_are_named_for() {
        for i in 1..20_000_u16 {
            let x = f32::from(i) / 20_000.0;
            let log = f64::from(x).ln();
            for got in [cephes_log(x, true), cephes_log(x, false), arm_log(x)] {
                assert!((f64::from(got) - log).abs() <= 2e-7 * log.abs().max(1e-3), "{x} {got}");
            }
            let angle = x * 6.25;
            let (sin, cos) = f64::from(angle).sin_cos();
            for got in [cephes_sin_cos(angle, true), cephes_sin_cos(angle, false), arm_sin_cos(angle)] {
                assert!((f64::from(got.0) - sin).abs() < 2e-7 && (f64::from(got.1) - cos).abs() < 2e-7, "{angle}");
            }
        }
    }
}
