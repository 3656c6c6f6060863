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
    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::AdamW => "AdamW",
            Self::Adam => "Adam",
            Self::Sgd => "SGD",
            Self::Lion => "Lion",
            Self::Muon => "Muon",
            Self::Adafactor => "Adafactor",
            Self::Unknown(name) => name,
        }
    }

    /// Reads a name such as `adamw_torch_fused`, `torch.optim.AdamW` or `SGD`.
    pub fn parse(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        let words = lower.split(|c: char| !c.is_ascii_alphanumeric());
        let known = |word: &str| match word {
            "adamw" | "adamw8bit" | "fusedadamw" | "decoupledadamw" | "stableadamw" => Some(Self::AdamW),
            "adam" | "adam8bit" | "fusedadam" | "cpuadam" | "deepspeedcpuadam" => Some(Self::Adam),
            "sgd" => Some(Self::Sgd),
            "lion" | "lion8bit" => Some(Self::Lion),
            "muon" => Some(Self::Muon),
            "adafactor" => Some(Self::Adafactor),
            _ => None,
        };
        // With Muon some parameters always have another optimiser, whichever is named first.
        if lower.contains("muon") {
            return Self::Muon;
        }
        words.into_iter().find_map(known).unwrap_or_else(|| Self::Unknown(text.to_owned()))
    }
}

/// How weights decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// Not at all.
    None,
    /// Every step takes away the learning rate times this much of a weight.
    Decoupled(f64),
    /// A plain gradient step of the squared norm: over the steps as much as [`Decay::Decoupled`] with this factor.
    Coupled(f64),
    /// Not said, or of a kind whose effect depends on the gradients.
    Unknown,
}

/// Names of the settings that states of an optimiser may say.
const OPTIMIZER: &str = "optimizer";
const DECAY: &str = "weight_decay";

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
    "optimizer.params",
    "optimizer.init_args",
    "optim.config",
    "model.optim",
    "optimization",
    "training_args",
    "algorithms.gradient_clipping",
    "train_config",
    "cfg",
];

impl Run {
    /// Takes settings from the optimiser's states where the configuration has none.
    pub fn take_from_states(&mut self, optimizer: &Optimizer, betas: Option<[f64; 2]>, decay: Option<f64>) {
        if self.optimizer().is_none() {
            self.beside.insert(OPTIMIZER.to_owned(), Value::from(optimizer.name()));
        }
        let [beta1, beta2] = betas.map_or([None; 2], |betas| betas.map(Some));
        let own = [("beta1", self.beta1(), beta1), ("beta2", self.beta2(), beta2), (DECAY, self.weight_decay(), decay)];
        for (name, own, found) in own {
            if let (None, Some(found)) = (own, found) {
                self.beside.insert(name.to_owned(), Value::from(found));
            }
        }
    }

    /// The optimiser that the configuration itself names.
    pub fn named_optimizer(&self) -> Option<Optimizer> {
        self.optimizer().filter(|_| !self.beside.contains_key(OPTIMIZER))
    }

    /// The weight decay that the configuration itself has.
    pub fn configured_decay(&self) -> Option<f64> {
        self.weight_decay().filter(|_| !self.beside.contains_key(DECAY))
    }

    /// The optimiser, if the configuration or the states beside the checkpoints name it.
    pub fn optimizer(&self) -> Option<Optimizer> {
        let names = ["optimizer", "optim", "optimizer_type", "optimizer_name", "optimizer_class", "opt"];
        let value = self.setting(&names).filter(|value| value.is_string());
        let value = value.or_else(|| {
            let inside = |group: &&str| NAMES.iter().find_map(|name| self.at(&format!("{group}.{name}")));
            NAMED.iter().find_map(inside).filter(|value| value.is_string())
        });
        value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(Optimizer::parse)
    }

    /// How weights decay, as far as the configuration says. What some writers call `adam` may be either kind.
    pub fn decay(&self) -> Decay {
        let Some(decay) = self.configured_decay().filter(|decay| *decay >= 0.0) else { return Decay::Unknown };
        if decay == 0.0 {
            return Decay::None;
        }
        let yes = |names: &[&str]| self.setting(names).and_then(truth);
        let said = yes(&["decoupled_weight_decay", "adam_w_mode", "adamw_mode", "decouple"]);
        match (self.named_optimizer(), said) {
            // MosaicML's decays by the learning rate over its first value: another unit.
            (Some(Optimizer::AdamW), _) if self.optimizer_word("decoupled") => Decay::Unknown,
            (Some(Optimizer::AdamW | Optimizer::Lion | Optimizer::Adafactor | Optimizer::Muon), None | Some(true))
            | (Some(Optimizer::Adam), Some(true)) => Decay::Decoupled(decay),
            (Some(Optimizer::Sgd), None | Some(false)) => match self.momentum().unwrap_or(0.0) {
                momentum if (0.0..1.0).contains(&momentum) => Decay::Coupled(decay / (1.0 - momentum)),
                _ => Decay::Unknown,
            },
            _ => Decay::Unknown,
        }
    }

    fn optimizer_word(&self, word: &str) -> bool {
        let names = ["optimizer", "optim", "optimizer.name", "optim.name", "optimizer_name", "optimizer.type"];
        names.iter().filter_map(|name| self.at(name)?.as_str()).any(|text| text.to_ascii_lowercase().contains(word))
    }

    /// Weight decay.
    pub fn weight_decay(&self) -> Option<f64> {
        self.figure(&["weight_decay", "wd", "weightdecay", "adam_weight_decay", "adamw_weight_decay"])
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
        self.figure(&["momentum", "sgd_momentum", "muon_momentum", "optimizer_momentum"])
    }

    /// The norm gradients are clipped to.
    pub fn grad_clip(&self) -> Option<f64> {
        let names = ["grad_clip", "max_grad_norm", "clip_grad", "gradient_clip_val", "clip_grad_norm"];
        self.figure(&names).or_else(|| self.figure(GRAD_CLIP))
    }

    fn beta(&self, index: usize) -> Option<f64> {
        let betas = self.setting(&["betas", "adam_betas"])?;
        // Some writers log the pair as text: "(0.9, 0.98)".
        let text = || Some(betas.as_str()?.trim_matches(['(', ')', '[', ']', ' ']).split(',').nth(index)?.to_owned());
        betas.get(index).and_then(figure).or_else(|| figure(&Value::String(text()?)))
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
        .or_else(|| names.iter().find_map(|name| self.nested(name)))
        .or_else(|| names.iter().find_map(|name| self.beside.get(*name)))
    }

    /// A setting by the last part of its name, however deep, if all that are called so have one value and none belongs to
    /// another model.
    fn nested(&self, name: &str) -> Option<&Value> {
        let mut found = None;
        for (key, value) in self.config.iter().filter(|(_, value)| !value.is_null()) {
            let key = key.replace('-', "_").replace('/', ".");
            let Some((groups, last)) = key.rsplit_once('.') else { continue };
            if last != name || groups.split('.').any(|group| OTHERS.iter().any(|other| group.starts_with(other))) {
                continue;
            }
            if found.is_some_and(|found| found != value) {
                return None;
            }
            found = Some(value);
        }
        found
    }

    fn at(&self, name: &str) -> Option<&Value> {
        let exact = self.config.get(name).filter(|value| !value.is_null());
        exact.or_else(|| {
            let same = |key: &str| key.len() == name.len() && key.replace('-', "_").replace('/', ".") == name;
            self.config.iter().find(|(key, value)| same(key) && !value.is_null()).map(|(_, value)| value)
        })
    }
}

/// Groups whose settings are of another model.
const OTHERS: &[&str] = &["teacher", "vision", "ref", "draft", "eval", "critic", "reward", "ema", "_wandb"];

/// Groups that are an optimiser, and the names inside them that say which.
const NAMED: &[&str] = &["optimizer", "optim", "model.optim", "optim.config", "training.optimizer", "train.optimizer"];
const NAMES: &[&str] = &["name", "type", "_name", "class_path", "_component_", "_target_", "optimizer", "kind"];

/// Less common names of the norm that gradients are clipped to.
const GRAD_CLIP: &[&str] = &[
    "gradient_clipping",
    "grad_clip_norm",
    "gradient_clip",
    "max_norm",
    "clip_norm",
    "clip_grad_max_norm",
    "clipping_threshold",
    "max_gradient_norm",
    "grad_norm_clip",
    "global_grad_clip",
];

/// A yes or no, or text of one.
fn truth(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| match value.as_str()?.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    })
}

/// A number, or text of one, as argument parsers log it.
fn figure(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|v: &f64| v.is_finite())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::{Decay, Optimizer, Run};

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
            ("adamw_and_muon", Optimizer::Muon),
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

    /// Of the states only what the configuration does not say, and no accusation from it.
    #[test]
    fn states_say_what_the_configuration_does_not() {
        let mut none = run(&json!({}));
        none.take_from_states(&Optimizer::AdamW, Some([0.9, 0.95]), Some(0.1));
        assert_eq!((none.optimizer(), none.named_optimizer()), (Some(Optimizer::AdamW), None));
        assert_eq!((none.weight_decay(), none.configured_decay()), (Some(0.1), None));
        assert_eq!((none.beta1(), none.beta2(), none.decay()), (Some(0.9), Some(0.95), Decay::Unknown));
        let mut own = run(&json!({ "optimizer.name": "lion", "weight_decay": 0.3, "betas": [0.8, 0.9] }));
        own.take_from_states(&Optimizer::Adam, Some([0.9, 0.95]), Some(0.1));
        assert!(own.beside.is_empty());
        assert_eq!((own.named_optimizer(), own.configured_decay()), (Some(Optimizer::Lion), Some(0.3)));
    }

    #[test]
    fn settings_are_found_under_their_spellings() {
        let hf = run(&json!({ "weight_decay": 0.1, "adam_beta1": 0.9, "adam_beta2": 0.95, "max_grad_norm": 1 }));
        assert_eq!(
            (hf.weight_decay(), hf.beta1(), hf.beta2(), hf.grad_clip()),
            (Some(0.1), Some(0.9), Some(0.95), Some(1.0))
        );
        for (writer, config) in [
            ("Megatron", json!({ "optimizer": "adam", "weight_decay": 0.1, "adam_beta2": 0.95, "clip_grad": 1.0 })),
            (
                "NeMo",
                json!({ "model.optim.name": "fused_adam", "model.optim.weight_decay": 0.1, "model.optim.betas": [0.9, 0.95], "trainer.gradient_clip_val": 1.0 }),
            ),
            (
                "torchtitan",
                json!({ "optimizer.name": "Adam", "optimizer.weight_decay": 0.1, "optimizer.beta2": 0.95, "training.max_norm": 1.0 }),
            ),
            (
                "DeepSpeed",
                json!({ "optimizer.type": "Adam", "optimizer.params.betas": [0.9, 0.95], "optimizer.params.weight_decay": 0.1, "gradient_clipping": 1.0 }),
            ),
            (
                "LitGPT",
                json!({ "optimizer.class_path": "torch.optim.Adam", "optimizer.init_args.weight_decay": 0.1, "optimizer.init_args.betas": [0.9, 0.95], "train.max_norm": 1.0 }),
            ),
            (
                "fairseq",
                json!({ "optimizer._name": "adam", "optimizer.weight_decay": 0.1, "optimizer.adam_betas": "(0.9, 0.95)", "optimization.clip_norm": 1.0 }),
            ),
            (
                "MosaicML",
                json!({ "optimizer.name": "adam", "optimizer.weight_decay": 0.1, "optimizer.betas": [0.9, 0.95], "algorithms.gradient_clipping.clipping_threshold": 1.0 }),
            ),
        ] {
            let run = run(&config);
            assert_eq!(run.optimizer(), Some(Optimizer::Adam), "{writer}");
            assert_eq!(
                (run.weight_decay(), run.beta2(), run.grad_clip()),
                (Some(0.1), Some(0.95), Some(1.0)),
                "{writer}"
            );
        }
        let deep = run(
            &json!({ "a.b.weight_decay": 0.1, "c.weight_decay": 0.1, "teacher.x.weight_decay": 3, "x.beta1": 1, "y.beta1": 2 }),
        );
        assert_eq!((deep.weight_decay(), deep.beta1()), (Some(0.1), None));
        let nested = run(&json!({ "optimizer.betas": [0.9, 0.99], "optimizer.weight-decay": "1e-2" }));
        assert_eq!((nested.weight_decay(), nested.beta2(), nested.momentum()), (Some(0.01), Some(0.99), None));
    }

    #[test]
    fn decay_is_decoupled_only_where_that_is_known() {
        for (config, expected) in [
            (json!({ "optimizer": "adamw", "weight_decay": 0.1 }), Decay::Decoupled(0.1)),
            (json!({ "optimizer": "muon_adamw", "weight_decay": 0.1 }), Decay::Decoupled(0.1)),
            (json!({ "optimizer": "adam", "weight_decay": 0.1 }), Decay::Unknown),
            (
                json!({ "optimizer": "adam", "weight_decay": 0.1, "decoupled_weight_decay": true }),
                Decay::Decoupled(0.1),
            ),
            (json!({ "optimizer": "adam", "weight_decay": 0 }), Decay::None),
            (json!({ "optimizer": "shampoo", "weight_decay": 0.0 }), Decay::None),
            (json!({ "optimizer": "shampoo", "weight_decay": 0.1 }), Decay::Unknown),
            (json!({ "optimizer": "decoupled_adamw", "weight_decay": 1e-5 }), Decay::Unknown),
            (json!({ "optimizer": "sgd", "momentum": 0.5, "weight_decay": 0.1 }), Decay::Coupled(0.2)),
            (json!({ "optimizer": "sgd", "momentum": 1.0, "weight_decay": 0.1 }), Decay::Unknown),
            (json!({ "optimizer": "adamw", "weight_decay": -1.0 }), Decay::Unknown),
            (json!({ "optimizer": "adamw" }), Decay::Unknown),
        ] {
            assert_eq!(run(&config).decay(), expected, "{config}");
        }
    }
}
