//! Which instruction set runs the kernels, and the few vector operations they are written in.
//!
//! A kernel is one `#[inline(always)]` function, generic over [`Lanes`], that `simd!` compiles for plain arrays, for AVX2
//! and for AVX-512. All three have the same lanes and fuse every multiplication with its addition, which rounds once
//! everywhere, so all of them give the same bits.

use std::sync::OnceLock;

/// The instruction sets a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Plain arrays: what every processor has.
    Portable,
    /// AVX2 with FMA (`x86-64-v3`).
    Avx2,
    /// AVX-512 F, BW, DQ and VL (`x86-64-v4`).
    Avx512,
}

/// The best set this processor has.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(detect)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("popcnt")) {
        Level::Portable
    } else if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
    {
        Level::Avx512
    } else {
        Level::Avx2
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Portable
}

/// Eight f64 or sixteen f32 lanes. Only `simd!` makes a value of an implementing type, and only on a processor that has
/// its instructions.
pub trait Lanes: Copy {
    /// Eight f64.
    type D: Copy;
    /// Sixteen f32.
    type S: Copy;
    /// Rows of one side of a register tile: four where there are 32 registers, two where there are 16.
    const TALL: bool;

    fn load_d(self, from: &[f64; 8]) -> Self::D;
    fn store_d(self, value: Self::D, to: &mut [f64; 8]);
    fn add_d(self, a: Self::D, b: Self::D) -> Self::D;
    fn sub_d(self, a: Self::D, b: Self::D) -> Self::D;
    /// a b + c, rounded once.
    fn fma_d(self, a: Self::D, b: Self::D, c: Self::D) -> Self::D;
    fn load_s(self, from: &[f32; 16]) -> Self::S;
    fn store_s(self, value: Self::S, to: &mut [f32; 16]);
    /// a b + c, rounded once.
    fn fma_s(self, a: Self::S, b: Self::S, c: Self::S) -> Self::S;
    /// Eight f32, exactly.
    fn widen(self, from: &[f32; 8]) -> Self::D;
    /// Where a > b, x; elsewhere y.
    fn pick_d(self, a: Self::D, b: Self::D, x: Self::D, y: Self::D) -> Self::D;
    /// The value without its sign.
    fn abs_d(self, a: Self::D) -> Self::D;
    /// How many lanes are equal; what is not a number is equal to nothing.
    fn equal_d(self, a: Self::D, b: Self::D) -> u32;
    /// In how many lanes a is at most b.
    fn at_most_d(self, a: Self::D, b: Self::D) -> u32;
    /// Where a > b, x; elsewhere y.
    fn pick_s(self, a: Self::S, b: Self::S, x: Self::S, y: Self::S) -> Self::S;
}

/// Plain arrays.
#[derive(Clone, Copy)]
pub struct Plain;

macro_rules! plain {
    ($($name:ident($($arg:ident),*) -> $ty:ty = $each:expr;)*) => {
        $(#[inline(always)]
        fn $name(self, $($arg: $ty),*) -> $ty {
            std::array::from_fn(|i| $each($($arg[i]),*))
        })*
    };
}

#[allow(clippy::inline_always)]
impl Lanes for Plain {
    type D = [f64; 8];
    type S = [f32; 16];
    const TALL: bool = false;

    #[inline(always)]
    fn load_d(self, from: &[f64; 8]) -> [f64; 8] {
        *from
    }
    #[inline(always)]
    fn store_d(self, value: [f64; 8], to: &mut [f64; 8]) {
        *to = value;
    }
    #[inline(always)]
    fn load_s(self, from: &[f32; 16]) -> [f32; 16] {
        *from
    }
    #[inline(always)]
    fn store_s(self, value: [f32; 16], to: &mut [f32; 16]) {
        *to = value;
    }
    #[inline(always)]
    fn widen(self, from: &[f32; 8]) -> [f64; 8] {
        from.map(f64::from)
    }
    #[inline(always)]
    fn pick_d(self, a: [f64; 8], b: [f64; 8], x: [f64; 8], y: [f64; 8]) -> [f64; 8] {
        std::array::from_fn(|i| if a[i] > b[i] { x[i] } else { y[i] })
    }
    #[inline(always)]
    fn pick_s(self, a: [f32; 16], b: [f32; 16], x: [f32; 16], y: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|i| if a[i] > b[i] { x[i] } else { y[i] })
    }
    #[inline(always)]
    fn abs_d(self, a: [f64; 8]) -> [f64; 8] {
        a.map(f64::abs)
    }
    #[inline(always)]
    #[allow(clippy::float_cmp, reason = "equal is what is asked")]
    fn equal_d(self, a: [f64; 8], b: [f64; 8]) -> u32 {
        (0..8).map(|i| u32::from(a[i] == b[i])).sum()
    }
    #[inline(always)]
    fn at_most_d(self, a: [f64; 8], b: [f64; 8]) -> u32 {
        (0..8).map(|i| u32::from(a[i] <= b[i])).sum()
    }
    plain! {
        add_d(a, b) -> [f64; 8] = |a: f64, b: f64| a + b;
        sub_d(a, b) -> [f64; 8] = |a: f64, b: f64| a - b;
        fma_d(a, b, c) -> [f64; 8] = f64::mul_add;
        fma_s(a, b, c) -> [f32; 16] = f32::mul_add;
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{V3, V4};

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, clippy::inline_always, clippy::wildcard_imports)]
mod x86 {
    //! Every block is safe for the same reason: a `V3` or `V4` exists only where its instructions do (see [`Lanes`]),
    //! and pointers come from references to arrays of exactly the lanes that are loaded or stored.

    use std::arch::x86_64::*;

    use super::Lanes;

    /// AVX2 and FMA: two registers for eight f64.
    #[derive(Clone, Copy)]
    pub struct V3(());

    /// AVX-512: one register.
    #[derive(Clone, Copy)]
    pub struct V4(());

    impl V3 {
        /// # Safety
        /// The processor has AVX2 and FMA.
        #[inline(always)]
        pub unsafe fn new() -> Self {
            Self(())
        }
    }

    impl V4 {
        /// # Safety
        /// The processor has AVX-512 F.
        #[inline(always)]
        pub unsafe fn new() -> Self {
            Self(())
        }
    }

    macro_rules! pairs {
        ($($name:ident($($arg:ident),*) -> $ty:ty = $op:ident;)*) => {
            $(#[inline(always)]
            fn $name(self, $($arg: $ty),*) -> $ty {
                // SAFETY: see the module.
                unsafe { ($op($($arg.0),*), $op($($arg.1),*)) }
            })*
        };
    }

    impl Lanes for V3 {
        type D = (__m256d, __m256d);
        type S = (__m256, __m256);
        const TALL: bool = false;

        #[inline(always)]
        fn load_d(self, from: &[f64; 8]) -> Self::D {
            // SAFETY: see the module.
            unsafe { (_mm256_loadu_pd(from.as_ptr()), _mm256_loadu_pd(from.as_ptr().add(4))) }
        }
        #[inline(always)]
        fn store_d(self, value: Self::D, to: &mut [f64; 8]) {
            // SAFETY: see the module.
            unsafe {
                _mm256_storeu_pd(to.as_mut_ptr(), value.0);
                _mm256_storeu_pd(to.as_mut_ptr().add(4), value.1);
            }
        }
        #[inline(always)]
        fn load_s(self, from: &[f32; 16]) -> Self::S {
            // SAFETY: see the module.
            unsafe { (_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))) }
        }
        #[inline(always)]
        fn store_s(self, value: Self::S, to: &mut [f32; 16]) {
            // SAFETY: see the module.
            unsafe {
                _mm256_storeu_ps(to.as_mut_ptr(), value.0);
                _mm256_storeu_ps(to.as_mut_ptr().add(8), value.1);
            }
        }
        #[inline(always)]
        fn widen(self, from: &[f32; 8]) -> Self::D {
            // SAFETY: see the module.
            unsafe {
                let eight = _mm256_loadu_ps(from.as_ptr());
                (_mm256_cvtps_pd(_mm256_castps256_ps128(eight)), _mm256_cvtps_pd(_mm256_extractf128_ps(eight, 1)))
            }
        }
        #[inline(always)]
        fn pick_d(self, a: Self::D, b: Self::D, x: Self::D, y: Self::D) -> Self::D {
            // SAFETY: see the module.
            unsafe {
                (
                    _mm256_blendv_pd(y.0, x.0, _mm256_cmp_pd(a.0, b.0, _CMP_GT_OQ)),
                    _mm256_blendv_pd(y.1, x.1, _mm256_cmp_pd(a.1, b.1, _CMP_GT_OQ)),
                )
            }
        }
        #[inline(always)]
        fn pick_s(self, a: Self::S, b: Self::S, x: Self::S, y: Self::S) -> Self::S {
            // SAFETY: see the module.
            unsafe {
                (
                    _mm256_blendv_ps(y.0, x.0, _mm256_cmp_ps(a.0, b.0, _CMP_GT_OQ)),
                    _mm256_blendv_ps(y.1, x.1, _mm256_cmp_ps(a.1, b.1, _CMP_GT_OQ)),
                )
            }
        }
        #[inline(always)]
        fn abs_d(self, a: Self::D) -> Self::D {
            // SAFETY: see the module.
            unsafe {
                let sign = _mm256_set1_pd(-0.0);
                (_mm256_andnot_pd(sign, a.0), _mm256_andnot_pd(sign, a.1))
            }
        }
        #[inline(always)]
        fn equal_d(self, a: Self::D, b: Self::D) -> u32 {
            // SAFETY: see the module.
            unsafe {
                let (x, y) = (_mm256_cmp_pd(a.0, b.0, _CMP_EQ_OQ), _mm256_cmp_pd(a.1, b.1, _CMP_EQ_OQ));
                (_mm256_movemask_pd(x) << 4 | _mm256_movemask_pd(y)).count_ones()
            }
        }
        #[inline(always)]
        fn at_most_d(self, a: Self::D, b: Self::D) -> u32 {
            // SAFETY: see the module.
            unsafe {
                let (x, y) = (_mm256_cmp_pd(a.0, b.0, _CMP_LE_OQ), _mm256_cmp_pd(a.1, b.1, _CMP_LE_OQ));
                (_mm256_movemask_pd(x) << 4 | _mm256_movemask_pd(y)).count_ones()
            }
        }
        pairs! {
            add_d(a, b) -> Self::D = _mm256_add_pd;
            sub_d(a, b) -> Self::D = _mm256_sub_pd;
            fma_d(a, b, c) -> Self::D = _mm256_fmadd_pd;
            fma_s(a, b, c) -> Self::S = _mm256_fmadd_ps;
        }
    }

    macro_rules! single {
        ($($name:ident($($arg:ident: $in:ty),*) -> $ty:ty = $op:ident;)*) => {
            $(#[inline(always)]
            fn $name(self, $($arg: $in),*) -> $ty {
                // SAFETY: see the module.
                unsafe { $op($($arg),*) }
            })*
        };
    }

    impl Lanes for V4 {
        type D = __m512d;
        type S = __m512;
        const TALL: bool = true;

        #[inline(always)]
        fn load_d(self, from: &[f64; 8]) -> Self::D {
            // SAFETY: see the module.
            unsafe { _mm512_loadu_pd(from.as_ptr()) }
        }
        #[inline(always)]
        fn store_d(self, value: Self::D, to: &mut [f64; 8]) {
            // SAFETY: see the module.
            unsafe { _mm512_storeu_pd(to.as_mut_ptr(), value) }
        }
        #[inline(always)]
        fn load_s(self, from: &[f32; 16]) -> Self::S {
            // SAFETY: see the module.
            unsafe { _mm512_loadu_ps(from.as_ptr()) }
        }
        #[inline(always)]
        fn store_s(self, value: Self::S, to: &mut [f32; 16]) {
            // SAFETY: see the module.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), value) }
        }
        #[inline(always)]
        fn widen(self, from: &[f32; 8]) -> Self::D {
            // SAFETY: see the module.
            unsafe { _mm512_cvtps_pd(_mm256_loadu_ps(from.as_ptr())) }
        }
        #[inline(always)]
        fn pick_d(self, a: Self::D, b: Self::D, x: Self::D, y: Self::D) -> Self::D {
            // SAFETY: see the module.
            unsafe { _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_GT_OQ), y, x) }
        }
        #[inline(always)]
        fn pick_s(self, a: Self::S, b: Self::S, x: Self::S, y: Self::S) -> Self::S {
            // SAFETY: see the module.
            unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x) }
        }
        #[inline(always)]
        fn abs_d(self, a: Self::D) -> Self::D {
            // SAFETY: see the module.
            unsafe { _mm512_abs_pd(a) }
        }
        #[inline(always)]
        fn equal_d(self, a: Self::D, b: Self::D) -> u32 {
            // SAFETY: see the module.
            unsafe { u32::from(_mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ)).count_ones() }
        }
        #[inline(always)]
        fn at_most_d(self, a: Self::D, b: Self::D) -> u32 {
            // SAFETY: see the module.
            unsafe { u32::from(_mm512_cmp_pd_mask(a, b, _CMP_LE_OQ)).count_ones() }
        }
        single! {
            add_d(a: Self::D, b: Self::D) -> Self::D = _mm512_add_pd;
            sub_d(a: Self::D, b: Self::D) -> Self::D = _mm512_sub_pd;
            fma_d(a: Self::D, b: Self::D, c: Self::D) -> Self::D = _mm512_fmadd_pd;
            fma_s(a: Self::S, b: Self::S, c: Self::S) -> Self::S = _mm512_fmadd_ps;
        }
    }
}

/// Defines `$name(level, ...)`, which runs `$body(lanes, ...)` compiled for `level`.
macro_rules! simd {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:path) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(level: $crate::Level, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,popcnt")]
            #[allow(unsafe_code)]
            fn avx2($($arg: $ty),*) {
                // SAFETY: this function is only entered with AVX2 and FMA.
                $body(unsafe { $crate::simd::V3::new() }, $($arg),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
            #[allow(unsafe_code)]
            fn avx512($($arg: $ty),*) {
                // SAFETY: this function is only entered with AVX-512 F.
                $body(unsafe { $crate::simd::V4::new() }, $($arg),*);
            }
            // A level above the processor's own would be undefined behaviour, so it is capped here, once.
            match level.min($crate::level()) {
                // SAFETY: the level was detected on this processor, so it has every feature the function asks for.
                #[cfg(target_arch = "x86_64")]
                #[allow(unsafe_code)]
                $crate::Level::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                #[allow(unsafe_code)]
                $crate::Level::Avx512 => unsafe { avx512($($arg),*) },
                _ => $body($crate::simd::Plain, $($arg),*),
            }
        }
    };
}
pub(crate) use simd;
