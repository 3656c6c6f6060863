//! What accelerators can do: `data/accelerators.toml`.

use std::sync::LazyLock;

use serde::Deserialize;

/// Peak rate of one device.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accelerator {
    /// What must stand in its name: lower case, without spaces and hyphens.
    pub pattern: String,
    /// Dense products in bf16 (f16 where there is none), in 10^12 operations a second.
    pub peak: f64,
    /// Where that is written.
    pub source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Register {
    accelerator: Vec<Accelerator>,
}

static REGISTER: LazyLock<Vec<Accelerator>> = LazyLock::new(|| {
    // The file is a part of the program and a test reads it; a broken one knows no accelerator.
    toml::from_str::<Register>(include_str!("../../data/accelerators.toml"))
        .map_or_else(|_| Vec::new(), |r| r.accelerator)
});

/// The accelerator of a name as a tracker writes it, such as `NVIDIA A100-SXM4-80GB`.
#[must_use]
pub fn accelerator(name: &str) -> Option<&'static Accelerator> {
    let plain: String =
        name.chars().take(256).filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    REGISTER.iter().find(|accelerator| plain.contains(&accelerator.pattern))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{REGISTER, accelerator};

    #[test]
    fn names_are_found_as_trackers_write_them() {
        for (name, peak) in [
            ("NVIDIA A100-SXM4-80GB", 312.0),
            ("NVIDIA H100 80GB HBM3", 989.5),
            ("NVIDIA H100 PCIe", 756.5),
            ("NVIDIA H200", 989.5),
            ("NVIDIA B200", 2250.0),
            ("Tesla V100-SXM2-16GB", 130.0),
            ("Tesla T4", 65.0),
            ("NVIDIA L4", 121.0),
            ("NVIDIA L40S", 362.05),
            ("NVIDIA A10G", 125.0),
            ("NVIDIA GeForce RTX 4090", 165.2),
            ("NVIDIA GeForce RTX 3090 Ti", 80.0),
            ("NVIDIA RTX A6000", 154.8),
            ("AMD Instinct MI250X", 383.0),
            ("TPU v5 lite", 197.0),
            ("TPU v4", 275.0),
            ("HL-225 Gaudi2", 432.0),
        ] {
            assert_eq!(accelerator(name).unwrap().peak.to_bits(), f64::to_bits(peak), "{name}");
        }
        assert!(accelerator("Intel(R) UHD Graphics").is_none() && accelerator("").is_none());
        assert!(REGISTER.iter().all(|a| a.peak > 1.0 && !a.source.is_empty()));
    }
}
