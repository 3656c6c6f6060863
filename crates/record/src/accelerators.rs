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
    /// The maker's document that sets it.
    pub source: String,
    /// Who was read for it.
    pub grade: Grade,
    /// Address of what was read.
    pub page: Option<String>,
    /// What the page says where that is not the figure itself.
    pub note: Option<String>,
}

/// Where the figure of a peak comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// The maker's own page or document.
    Maker,
    /// A page that repeats the maker's figure.
    Repeated,
    /// Computed from what a page or another entry gives.
    Derived,
    /// No page was found: it accuses nobody.
    Unverified,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Register {
    accelerator: Vec<Accelerator>,
}

static REGISTER: LazyLock<Vec<Accelerator>> = LazyLock::new(|| {
    // The file is a part of the program and a test reads it; a broken one knows no accelerator.
    toml::from_str::<Register>(include_str!("../../../data/accelerators.toml"))
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
    use super::{Grade, REGISTER, accelerator};

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
            // A longer name is not the device of the shorter one.
            ("NVIDIA GeForce RTX 3080 Ti", 68.5),
            ("NVIDIA GeForce RTX 4080 SUPER", 104.5),
            ("NVIDIA RTX A6000", 154.8),
            ("AMD Instinct MI250X", 383.0),
            ("TPU v5 lite", 197.0),
            ("TPU v4", 275.0),
            ("HL-225 Gaudi2", 432.0),
        ] {
            assert_eq!(accelerator(name).unwrap().peak.to_bits(), f64::to_bits(peak), "{name}");
        }
        assert!(accelerator("Intel(R) UHD Graphics").is_none() && accelerator("").is_none());
    }

    #[test]
    fn every_entry_says_where_its_figure_comes_from() {
        assert!(REGISTER.len() > 50, "the register is not read");
        for a in REGISTER.iter() {
            assert!(a.peak > 1.0 && a.source.len() > 8, "{a:?}");
            assert!(a.page.as_ref().is_none_or(|page| page.starts_with("https://")), "{a:?}");
            match a.grade {
                Grade::Maker | Grade::Repeated => assert!(a.page.is_some(), "{a:?}"),
                Grade::Derived => assert!(a.note.is_some(), "{a:?}"),
                Grade::Unverified => assert!(a.page.is_none(), "{a:?}"),
            }
            // No entry stands behind one that takes its devices.
            assert_eq!(accelerator(&a.pattern), Some(a), "{}", a.pattern);
        }
    }
}
