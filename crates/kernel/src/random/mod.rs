//! Random generators of the frameworks that models are trained with, and their fills: the same numbers, bit for bit, so
//! that an initialisation can be drawn again.

mod inverse;
mod mt19937;
mod numpy;
mod single;
mod threefry;
mod torch;
mod ziggurat;

pub use inverse::erfinv;
pub use mt19937::Mt19937;
pub use numpy::{Legacy, Pcg64};
pub use threefry::Threefry;
pub use torch::{Build, Fill, TorchCpu};

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Law {
    Normal { mean: f64, std: f64 },
    Uniform { low: f64, high: f64 },
    Truncated { low: f64, high: f64 },
}

#[cfg(test)]
mod testing {
    /// FNV-1a of the values as little-endian bytes, as fixtures/replay/reference.py prints it.
    pub fn fnv(values: &[f64]) -> u64 {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .fold(0xcbf2_9ce4_8422_2325, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    }
}
