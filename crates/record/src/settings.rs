//! Structural settings: the sizes that make an architecture, under one set of names.

mod python;
mod shell;
mod shorten;
mod table;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Sizes by their name, as [`KNOWN`] spells it.
pub type Settings = BTreeMap<String, i64>;

/// The names of sizes, with the names that other families and trainers give them. Of several in one place the first
/// counts. Case, and `-` for `_`, do not matter in files and scripts.
const KNOWN: &[(&str, &[&str])] = &[
    ("hidden_size", &["hidden_size", "n_embd", "d_model", "dim"]),
    ("num_hidden_layers", &["num_hidden_layers", "n_layer", "n_layers", "num_layers"]),
    ("num_attention_heads", &["num_attention_heads", "n_head", "n_heads", "num_heads"]),
    (
        "num_key_value_heads",
        &["num_key_value_heads", "n_kv_heads", "n_kv_head", "num_kv_heads", "num_query_groups", "n_query_groups"],
    ),
    ("vocab_size", &["vocab_size", "n_vocab", "padded_vocab_size"]),
    ("intermediate_size", &["intermediate_size", "n_inner", "ffn_hidden_size", "ffn_dim", "d_ff", "mlp_hidden_size"]),
    ("mlp_ratio", &["mlp_ratio", "expansion_ratio"]),
    ("moe_intermediate_size", &["moe_intermediate_size", "moe_ffn_hidden_size"]),
    ("n_routed_experts", &["n_routed_experts", "num_experts", "num_local_experts", "num_moe_experts"]),
    ("head_dim", &["head_dim", "head_size", "kv_channels"]),
];

/// Names that mean a size only beside another one of the same family.
const ONLY_WITH: &[(&str, &[&str])] = &[("dim", &["n_layers", "n_layer"]), ("num_heads", &["num_layers"])];

/// Objects inside a configuration that may hold the language model's sizes.
const INSIDE: &[&str] =
    &["text_config", "model", "model_config", "model_args", "config", "architecture", "language_config"];

/// So many known sizes make a configuration; fewer are a coincidence.
const ENOUGH: usize = 3;
/// So many places of one file are kept.
const BLOCKS: usize = 64;

/// One place of a file that names three or more sizes: a mapping, a class, a call, a section, the words of a command.
/// Sizes of two places are never mixed, since a file may hold several models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// What the place is called, from the outside in, joined by dots; empty for the whole file.
    pub name: String,
    /// The sizes.
    pub settings: Settings,
    /// The line of every size, from 1, where it is known.
    pub lines: BTreeMap<String, u64>,
}

/// What a file is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Language {
    Json,
    Yaml,
    Toml,
    Python,
    Shell,
    Make,
}

impl Language {
    /// By the name of the file, or its first line where the name says nothing.
    pub fn of(path: &str, first: &[u8]) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let end = name.rsplit_once('.').map_or("", |(_, end)| end);
        Some(match end {
            "json" => Self::Json,
            "yaml" | "yml" => Self::Yaml,
            "toml" => Self::Toml,
            "py" | "pyi" | "gin" => Self::Python,
            "sh" | "bash" | "zsh" | "slurm" | "sbatch" | "job" | "pbs" | "lsf" => Self::Shell,
            "mk" => Self::Make,
            _ if name == "makefile" || name == "gnumakefile" => Self::Make,
            _ => {
                let line = first.split(|&b| b == b'\n').next().unwrap_or_default();
                let line = String::from_utf8_lossy(line.get(..line.len().min(128)).unwrap_or_default());
                let program = line.strip_prefix("#!")?;
                if program.contains("python") {
                    Self::Python
                } else if program.contains("sh") {
                    Self::Shell
                } else {
                    return None;
                }
            }
        })
    }
}

/// Every place of a file that names three or more sizes, in the order of the file. What cannot be parsed has none.
///
/// Programs are parsed, never executed. Work is bounded by the length of the text.
pub fn read(text: &[u8], language: Language) -> Vec<Block> {
    if !may_hold(text) {
        return Vec::new();
    }
    match language {
        Language::Json | Language::Yaml | Language::Toml => table::read(text, language),
        Language::Python => python::read(shorten::python(text).as_deref().unwrap_or(text)),
        Language::Shell => shell::read(text),
        Language::Make => shell::read(&shell::from_make(text)),
    }
}

/// Whether three different sizes are named anywhere, which is quicker to see than to parse.
fn may_hold(text: &[u8]) -> bool {
    let mut seen = 0_u32;
    sizes_named(text).any(|size| {
        seen |= 1 << size;
        seen.count_ones() as usize >= ENOUGH
    })
}

/// Whether any size is named.
fn may_name(text: &[u8]) -> bool {
    sizes_named(text).next().is_some()
}

fn sizes_named(text: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let words = text.split(|b| !(b.is_ascii_alphanumeric() || *b == b'_' || *b == b'-'));
    words.filter(|word| (3..=24).contains(&word.len())).filter_map(|word| known(word).map(|(size, _)| size))
}

/// Place of a size in [`KNOWN`] and of the name among its names.
fn known(word: &[u8]) -> Option<(usize, usize)> {
    let from = word.iter().position(|b| *b != b'-')?;
    let word = &word[from..];
    // Most words of a text are none of these: the first letter says so.
    if !matches!(word[0].to_ascii_lowercase(), b'h' | b'n' | b'd' | b'v' | b'p' | b'i' | b'f' | b'm' | b'e' | b'k')
        || word.len() < 3
    {
        return None;
    }
    let same = |name: &&str| {
        name.len() == word.len()
            && name.bytes().zip(word).all(|(a, b)| a == b.to_ascii_lowercase() || a == b'_' && *b == b'-')
    };
    KNOWN.iter().enumerate().find_map(|(size, (_, names))| Some((size, names.iter().position(same)?)))
}

/// Collects sizes by the place they stand in.
#[derive(Default)]
struct Places {
    places: Vec<Place>,
    by_name: BTreeMap<String, usize>,
}

#[derive(Default)]
struct Place {
    name: String,
    /// By size: which of its names, the value, the line.
    sizes: BTreeMap<usize, (usize, i64, u64)>,
}

impl Places {
    /// A place; the same one whenever it is asked for by the same name.
    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.by_name.get(name) {
            return *place;
        }
        self.places.push(Place { name: name.to_owned(), ..Place::default() });
        self.by_name.insert(name.to_owned(), self.places.len() - 1);
        self.places.len() - 1
    }

    /// A place of its own, numbered if the name is taken.
    fn new_place(&mut self, name: &str) -> usize {
        let mut own = name.to_owned();
        let mut number = 2;
        while self.by_name.contains_key(&own) {
            // Numbers beyond those that are kept serve nobody, and counting up to them would cost the square.
            if number > BLOCKS {
                return self.place(name);
            }
            own = format!("{name}#{number}");
            number += 1;
        }
        self.place(&own)
    }

    /// A value by the name it has there. What is no size, or no possible one, is let go.
    fn set(&mut self, place: usize, name: &str, value: i64, line: u64) {
        let Some((size, rank)) = known(name.as_bytes()) else { return };
        let Some(place) = self.places.get_mut(place) else { return };
        // Megatron's own default, which counts only together with a switch: no grouped heads at all.
        let unset = name.ends_with("query-groups") || name.ends_with("query_groups");
        if value <= 0 || unset && value == 1 {
            return;
        }
        match place.sizes.get(&size) {
            Some((better, ..)) if *better < rank => {}
            _ => drop(place.sizes.insert(size, (rank, value, line))),
        }
    }

    fn blocks(self) -> Vec<Block> {
        self.places.into_iter().filter_map(Place::block).take(BLOCKS).collect()
    }
}

impl Place {
    fn block(mut self) -> Option<Block> {
        let names: Vec<&str> =
            self.sizes.iter().filter_map(|(size, (rank, ..))| KNOWN.get(*size)?.1.get(*rank).copied()).collect();
        self.sizes.retain(|size, (rank, ..)| {
            let name = KNOWN.get(*size).and_then(|(_, all)| all.get(*rank)).copied().unwrap_or_default();
            ONLY_WITH.iter().all(|(only, with)| *only != name || with.iter().any(|other| names.contains(other)))
        });
        (self.sizes.len() >= ENOUGH).then(|| Block {
            name: self.name.chars().filter(|c| !c.is_control()).take(120).collect(),
            settings: self.sizes.iter().map(|(size, (_, value, _))| (KNOWN[*size].0.to_owned(), *value)).collect(),
            lines: self
                .sizes
                .iter()
                .filter(|(_, (.., line))| *line > 0)
                .map(|(size, (.., line))| (KNOWN[*size].0.to_owned(), *line))
                .collect(),
        })
    }
}

/// The settings of a configuration, or nothing if it names fewer than three sizes.
///
/// Looks at the top and, if that is not enough, into the usual groups.
pub fn from_json(value: &Value) -> Option<Settings> {
    let object = value.as_object()?;
    let found = sizes(object);
    if found.len() >= ENOUGH {
        return Some(found);
    }
    let inner = INSIDE.iter().filter_map(|name| object.get(*name)?.as_object());
    inner.map(sizes).find(|found| found.len() >= ENOUGH)
}

fn sizes(object: &Map<String, Value>) -> Settings {
    let counts = |name: &str| stands(name, |other| object.contains_key(other));
    let find = |names: &[&str]| names.iter().filter(|name| counts(name)).find_map(|name| object.get(*name)?.as_i64());
    KNOWN.iter().filter_map(|(name, aliases)| Some(((*name).to_owned(), find(aliases)?))).collect()
}

/// Whether a name is that of a size, seen what stands beside it.
fn stands(name: &str, beside: impl Fn(&str) -> bool) -> bool {
    ONLY_WITH.iter().all(|(only, with)| *only != name || with.iter().any(|other| beside(other)))
}

/// The settings in a run's flattened configuration, and the sizes that stand there with more than one value.
///
/// A size counts at the top or in one of the usual groups; `teacher.hidden_size` or `vision_config.hidden_size` are
/// somebody else's.
pub fn from_config(config: &BTreeMap<String, Value>) -> (Settings, Vec<String>) {
    let (mut settings, mut unclear) = (Settings::new(), Vec::new());
    for (name, aliases) in KNOWN {
        let at = |group: &str, alias: &str| {
            let place = |name: &str| if group.is_empty() { name.to_owned() } else { format!("{group}.{name}") };
            let value = config.get(&place(alias)).and_then(whole)?;
            // Megatron's own default, which means that heads are not grouped at all.
            let unset = alias.ends_with("query_groups") && value == 1;
            (!unset && stands(alias, |other| config.contains_key(&place(other)))).then_some(value)
        };
        let groups = || std::iter::once("").chain(INSIDE.iter().copied());
        let mut values: Vec<i64> =
            groups().flat_map(|group| aliases.iter().filter_map(move |alias| at(group, alias))).collect();
        values.sort_unstable();
        values.dedup();
        match values[..] {
            [value] => drop(settings.insert((*name).to_owned(), value)),
            [] => {}
            _ => unclear.push((*name).to_owned()),
        }
    }
    (settings, unclear)
}

fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// Sizes that both have and that differ, in words; nothing if fewer than three are shared.
pub fn differences(one: &Settings, other: &Settings) -> Option<Vec<String>> {
    let shared: Vec<_> = one.iter().filter_map(|(name, value)| Some((name, value, other.get(name)?))).collect();
    let differ = |&(name, a, b): &(&String, &i64, &i64)| (a != b).then(|| format!("{name} {a} against {b}"));
    (shared.len() >= ENOUGH).then(|| shared.iter().filter_map(differ).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::{Language, differences, from_config, from_json, read};

    /// Name of every place, its sizes in the order of their names, and the line of the first.
    fn places(text: &str, language: Language) -> Vec<(String, Sizes, u64)> {
        let block = |block: super::Block| {
            let line = block.lines.values().min().copied().unwrap_or(0);
            (block.name, block.settings.into_iter().collect(), line)
        };
        read(text.as_bytes(), language).into_iter().map(block).collect()
    }

    type Sizes = Vec<(String, i64)>;

    fn gpt(hidden: i64, layers: i64, heads: i64) -> Sizes {
        let sizes = [("hidden_size", hidden), ("num_attention_heads", heads), ("num_hidden_layers", layers)];
        sizes.map(|(name, value)| (name.to_owned(), value)).into()
    }

    #[test]
    fn python_is_read_where_sizes_stand_and_models_are_not_mixed() {
        let text = "import torch\nWIDTH = 256\nn_layer = 12\nn_head: int = 12\nn_embd = 3 * WIDTH\n\n\
            @dataclass\nclass GPTConfig:\n    n_layer: int = 4\n    n_head: int = field(default=4)\n    n_embd: int = 4 * n_head * 8\n\n\
            class Big(PretrainedConfig):\n    def __init__(self, hidden_size=1_024, num_hidden_layers=24, num_attention_heads=0x10, **k):\n        pass\n\n\
            sizes = {'gpt2': dict(n_layer=12, n_head=12, n_embd=768), 'xl': dict(n_layer=48, n_head=25, n_embd=1600)}[name]\n\
            configs = [dict(name='a', n_layer=1, n_head=2, n_embd=3), dict(name='b', n_layer=4, n_head=5, n_embd=6)]\n\
            p = argparse.ArgumentParser()\np.add_argument('--n-layer', type=int, default=6)\np.add_argument('--n-head', default=6)\n\
            p.add_argument('--n-embd', default=384)\n\
            if size == 's':\n    n_layer, x = 1, 2\n    n_layer = 2\n    n_head = 2\n    n_embd = 128\n\
            model = GPT(GPTConfig(n_layer=n_layer, n_head=n_head, n_embd=n_embd))\n\
            cfg.n_layer = 8\ncfg.n_head = 8\ncfg['n_embd'] = 512\n";
        let found = places(text, Language::Python);
        let expected = [
            ("", gpt(768, 12, 12), 3),
            ("GPTConfig", gpt(128, 4, 4), 9),
            ("Big.__init__", gpt(1024, 24, 16), 14),
            ("sizes.gpt2", gpt(768, 12, 12), 17),
            ("sizes.xl", gpt(1600, 48, 25), 17),
            ("configs.a", gpt(3, 1, 2), 18),
            ("configs.b", gpt(6, 4, 5), 18),
            ("options", gpt(384, 6, 6), 20),
            ("[size == 's']", gpt(128, 2, 2), 25),
            ("cfg", gpt(512, 8, 8), 29),
        ];
        let expected: Vec<_> = expected.map(|(name, sizes, line)| (name.to_owned(), sizes, line)).into();
        assert_eq!(found, expected, "what a branch sets is not known after it, so the call has no sizes");
    }

    #[test]
    fn launch_scripts_are_read_with_their_variables() {
        let text = "#!/bin/bash\n#SBATCH --nodes=4\nexport HIDDEN=1024\nLAYERS=${LAYERS:-24}\nGPT_ARGS=(\n  --num-layers $LAYERS\n  --hidden-size ${HIDDEN}\n\
            --ffn-hidden-size $((4*HIDDEN))\n)\nMORE=\"--num-attention-heads 16 \\\n --num-query-groups 1\"\n\
            torchrun --nproc_per_node 8 /x/pretrain_gpt.py ${GPT_ARGS[@]} $MORE --lr 1e-4\n\
            python train.py model.n_layers=2 model.n_heads=4 model.dim=64 teacher.n_layers=9\n";
        let found = places(text, Language::Shell);
        let mut big = gpt(1024, 24, 16);
        big.insert(1, ("intermediate_size".into(), 4096));
        let expected = vec![("pretrain_gpt.py".to_owned(), big, 12), ("train.py.model".to_owned(), gpt(64, 2, 4), 13)];
        assert_eq!(found, expected);
        let alone = "ARGS=\"--n_layer 2 --n_head 4 --n_embd 64\"\nsource common.sh\n";
        assert_eq!(places(alone, Language::Shell), [("ARGS".to_owned(), gpt(64, 2, 4), 1)]);
        let make = "WIDTH := 64\ntrain: data\n\t@python train.py --n_layer=2 --n_head 4 --n_embd $(WIDTH)\n";
        assert_eq!(places(make, Language::Make), [("train.py".to_owned(), gpt(64, 2, 4), 3)]);
    }

    #[test]
    fn tables_of_every_kind_are_read_with_lines() {
        let json = "{\n \"small\": {\"n_layer\": 2,\n \"n_head\": 4, \"n_embd\": 64},\n \"big\": {\n \"n_layer\": 4, \"n_head\": 8, \"n_embd\": 128}}";
        let expected = |a: u64, b: u64| [("small".to_owned(), gpt(64, 2, 4), a), ("big".to_owned(), gpt(128, 4, 8), b)];
        assert_eq!(places(json, Language::Json), expected(2, 5));
        let yaml = "small: &s\n  d_model: 64\n  n_layers: 2\n  n_heads: 4\nbig:\n  d_model: 128\n  n_layers: 4\n  n_heads: 8\n  other: *s\n";
        let found = places(yaml, Language::Yaml);
        assert_eq!(found[..2], expected(2, 6));
        assert_eq!(found[2].0, "big.other");
        let toml = "[big]\ndim = 128\nn_layers = 4\nn_heads = 8\n[small]\ndim = 64\nn_layers = 2\nn_heads = 4\n";
        let mut found = places(toml, Language::Toml);
        found.sort_by_key(|place| std::cmp::Reverse(place.2));
        assert_eq!(found, expected(6, 2));
        assert!(places("dim: 3\nvocab_size: 4\nhead_dim: 5\n", Language::Yaml).is_empty(), "dim alone is no width");
    }

    #[test]
    fn hostile_files_end() {
        let bomb = (1..40).fold("a0: &a0 [n_layer, n_head, n_embd]\n".to_owned(), |text, n| {
            let before = n - 1;
            text + &format!("a{n}: &a{n} [*a{before}, *a{before}, *a{before}, *a{before}]\n")
        });
        assert!(places(&bomb, Language::Yaml).is_empty());
        let sizes = "n_layer = 1\nn_head = 2\nn_embd = 3\n";
        for (open, close) in [("(", ")"), ("[", "]"), ("{1:", "}"), ("f(", ")"), ("-", ""), ("not ", "")] {
            let deep = format!("{sizes}x = {}1{}\n", open.repeat(100_000), close.repeat(100_000));
            for language in [Language::Python, Language::Shell, Language::Yaml, Language::Json, Language::Toml] {
                places(&deep, language);
            }
        }
        let grows = (0..60).fold("A=xx\n".to_owned(), |text, _| text + "A=\"$A$A\"\n")
            + "c --n-layer 1 --n-head 2 --n-embd 3 $A\n";
        assert_eq!(places(&grows, Language::Shell).len(), 1);
        let many = (0..20_000).map(|n| format!("m{n} = dict(n_layer={n}, n_head=2, n_embd=3)\n"));
        let many = many.collect::<Vec<_>>().concat();
        assert_eq!(places(&many, Language::Python).len(), 64);
        for language in [Language::Python, Language::Shell, Language::Make, Language::Yaml, Language::Json] {
            read(b"n_layer \xff\xfe n_head \0 n_embd $ ${ $(( \" ' : =", language);
        }
    }

    #[test]
    fn the_language_is_seen_from_the_name_or_the_first_line() {
        let of = |path: &str, first: &str| Language::of(path, first.as_bytes());
        assert_eq!(of("a/Train.PY", ""), Some(Language::Python));
        assert_eq!(of("Makefile", ""), Some(Language::Make));
        assert_eq!(of("run", "#!/usr/bin/env bash\n"), Some(Language::Shell));
        assert_eq!(of("run", "#!/usr/bin/python3\n"), Some(Language::Python));
        assert_eq!(of("a.md", "text"), None);
    }

    #[test]
    fn sizes_have_one_name_and_three_make_a_configuration() {
        let gpt = from_json(&json!({ "n_embd": 384, "n_layer": 6, "n_head": 6, "dropout": 0.1 })).unwrap();
        let llama = json!({ "hidden_size": 384, "num_hidden_layers": 8, "num_attention_heads": 6, "vocab_size": 9 });
        let inside = from_json(&json!({ "text_config": llama, "vision_config": {} })).unwrap();
        assert_eq!(differences(&gpt, &inside).unwrap(), ["num_hidden_layers 6 against 8"]);
        assert_eq!(from_json(&json!({ "hidden_size": 3, "vocab_size": 4, "name": "x" })), None);
        assert_eq!(from_json(&json!([1, 2])), None);
        assert_eq!(
            differences(&gpt, &from_json(&json!({"vocab_size": 1, "head_dim": 2, "n_layer": 6})).unwrap()),
            None
        );
    }

    #[test]
    fn a_run_configuration_gives_only_its_own_sizes() {
        let config = [
            ("hidden_size", json!(64)),
            ("teacher.hidden_size", json!(128)),
            ("model.n_layer", json!("8")),
            ("num_layers", json!(9)),
            ("vocab_size", json!(null)),
        ];
        let (settings, unclear) = from_config(&config.map(|(k, v)| (k.to_owned(), v)).into());
        assert_eq!(settings, [("hidden_size".to_owned(), 64)].into());
        assert_eq!(unclear, ["num_hidden_layers"]);
    }
}
