//! Which instruction set runs the kernels.
//!
//! A kernel is one `#[inline(always)]` function over arrays of fixed width; `simd!` compiles it once for the baseline
//! and once each for AVX2 and AVX-512, where the arrays become vector registers. Because Rust never reorders
//! floating-point operations and a fused multiply-add rounds once everywhere, all of them give the same bits.

use std::sync::OnceLock;

/// The instruction sets a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of this architecture has.
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
    if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
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

/// Defines `$name(level, ...)`, which runs `$body(...)` compiled for `level`; with a second body, AVX-512 runs that one,
/// which may hold more accumulators because there are twice as many registers, in the same order of operations.
macro_rules! simd {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:path) => {
        $crate::kernel::simd::simd! { $(#[$doc])* $vis fn $name($($arg: $ty),*) = $body, $body }
    };
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:path, $wide:path) => {
        $(#[$doc])*
        $vis fn $name(level: $crate::kernel::Level, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) {
                $body($($arg),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($arg: $ty),*) {
                $wide($($arg),*);
            }
            // A level above the processor's own would be undefined behaviour, so it is capped here, once.
            match level.min($crate::kernel::level()) {
                // SAFETY: the level was detected on this processor, so it has every feature the function asks for.
                #[cfg(target_arch = "x86_64")]
                #[allow(unsafe_code)]
                $crate::kernel::Level::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                #[allow(unsafe_code)]
                $crate::kernel::Level::Avx512 => unsafe { avx512($($arg),*) },
                _ => $body($($arg),*),
            }
        }
    };
}
pub(crate) use simd;
