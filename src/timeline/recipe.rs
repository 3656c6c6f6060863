//! The optimiser and its settings, from a run's configuration. What is not written there is not guessed.

use serde_json::Value;

use super::run::Run;

/// The rule by which the weights were updated, as the configuration names it.
///
/// Some writers say `adam` and mean decoupled decay (Megatron does); the name alone does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Optimizer {
    AdamW,
    Adam,
    Sgd,
    Lion,
    Muon,
    Adafactor,
    /// Another one, as written.
    Unknown(String),
}

impl Optimizer {
    /// Reads a name such as `adamw_torch_fused`, `torch.optim.AdamW` or `SGD`.
    pub fn parse(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
        let known = |word: &str| match word {
            "adamw" | "adamw8bit" | "fusedadamw" | "decoupledadamw" => Some(Self::AdamW),
            "adam" | "adam8bit" | "fusedadam" | "cpuadam" => Some(Self::Adam),
            "sgd" => Some(Self::Sgd),
            "lion" | "lion8bit" => Some(Self::Lion),
            "muon" => Some(Self::Muon),
            "adafactor" => Some(Self::Adafactor),
            _ => None,
        };
        words.into_iter().find_map(known).unwrap_or_else(|| Self::Unknown(text.to_owned()))
    }
}

/// Groups inside which a setting may stand.
const GROUPS: &[&str] = &[
    "optimizer",
    "optim",
    "optimizer_args",
    "optimizer_params",
    "optimizer_kwargs",
    "optimizer_config",
    "train",
    "training",
    "trainer",
    "args",
    "hparams",
];

impl Run {
    /// The optimiser, if the configuration names it.
    pub fn optimizer(&self) -> Option<Optimizer> {
        let names = ["optimizer", "optim", "optimizer_type", "optimizer_name", "optimizer_class", "name", "type"];
        let value = self.setting(&names[..5]).filter(|value| value.is_string());
        let value = value.or_else(|| {
            let inside = |group: &str| names[5..].iter().find_map(|name| self.at(&format!("{group}.{name}")));
            ["optimizer", "optim"].into_iter().find_map(inside)
        });
        value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(Optimizer::parse)
    }

    /// Weight decay.
    pub fn weight_decay(&self) -> Option<f64> {
        self.figure(&["weight_decay", "wd"])
    }

    /// Adam's first decay rate.
    pub fn beta1(&self) -> Option<f64> {
        self.figure(&["beta1", "adam_beta1", "beta_1", "adam_b1"]).or_else(|| self.beta(0))
    }

    /// Adam's second decay rate.
    pub fn beta2(&self) -> Option<f64> {
        self.figure(&["beta2", "adam_beta2", "beta_2", "adam_b2"]).or_else(|| self.beta(1))
    }

    /// Momentum.
    pub fn momentum(&self) -> Option<f64> {
        self.figure(&["momentum", "sgd_momentum", "muon_momentum"])
    }

    /// The norm gradients are clipped to.
    pub fn grad_clip(&self) -> Option<f64> {
        let names = ["grad_clip", "max_grad_norm", "clip_grad", "gradient_clip_val", "clip_grad_norm"];
        self.figure(&names).or_else(|| self.figure(&["gradient_clipping", "grad_clip_norm", "gradient_clip"]))
    }

    fn beta(&self, index: usize) -> Option<f64> {
        figure(self.setting(&["betas", "adam_betas"])?.get(index)?)
    }

    fn figure(&self, names: &[&str]) -> Option<f64> {
        self.setting(names).and_then(figure)
    }

    /// A setting by its spellings, at the top or inside one of the usual groups.
    fn setting(&self, names: &[&str]) -> Option<&Value> {
        let top = names.iter().find_map(|name| self.at(name));
        top.or_else(|| {
            let paths = GROUPS.iter().flat_map(|group| names.iter().map(move |name| format!("{group}.{name}")));
            paths.into_iter().find_map(|path| self.at(&path))
        })
    }

    fn at(&self, name: &str) -> Option<&Value> {
        let exact = self.config.get(name).filter(|value| !value.is_null());
        exact.or_else(|| {
            let same = |key: &str| key.len() == name.len() && key.replace('-', "_").replace('/', ".") == name;
            self.config.iter().find(|(key, value)| same(key) && !value.is_null()).map(|(_, value)| value)
        })
    }
}

/// A number, or text of one, as argument parsers log it.
fn figure(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|v: &f64| v.is_finite())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::{Optimizer, Run};

    fn run(config: &serde_json::Value) -> Run {
        let config = config.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        Run { config, ..Run::default() }
    }

    #[test]
    fn optimisers_are_named_and_never_guessed() {
        for (text, expected) in [
            ("adamw", Optimizer::AdamW),
            ("adamw_torch", Optimizer::AdamW),
            ("paged_adamw_8bit", Optimizer::AdamW),
            ("torch.optim.AdamW", Optimizer::AdamW),
            ("Adam", Optimizer::Adam),
            ("SGD", Optimizer::Sgd),
            ("lion_32bit", Optimizer::Lion),
            ("muon", Optimizer::Muon),
            ("adafactor", Optimizer::Adafactor),
            ("nadam", Optimizer::Unknown("nadam".into())),
            ("shampoo", Optimizer::Unknown("shampoo".into())),
        ] {
            assert_eq!(run(&json!({ "optim": text })).optimizer(), Some(expected), "{text}");
        }
        assert_eq!(run(&json!({ "optimizer.name": "lion", "name": "a run" })).optimizer(), Some(Optimizer::Lion));
        assert_eq!(run(&json!({ "lr": 1e-3, "name": "sgd" })).optimizer(), None);
        assert_eq!(run(&json!({ "optimizer": null })).optimizer(), None);
    }

    #[test]
    fn settings_are_found_under_their_spellings() {
        let hf = run(&json!({ "weight_decay": 0.1, "adam_beta1": 0.9, "adam_beta2": 0.95, "max_grad_norm": 1 }));
        assert_eq!(
            (hf.weight_decay(), hf.beta1(), hf.beta2(), hf.grad_clip()),
            (Some(0.1), Some(0.9), Some(0.95), Some(1.0))
        );
        let nested = run(&json!({ "optimizer.betas": [0.9, 0.99], "optimizer.weight-decay": "1e-2" }));
        assert_eq!((nested.weight_decay(), nested.beta2(), nested.momentum()), (Some(0.01), Some(0.99), None));
    }
}
