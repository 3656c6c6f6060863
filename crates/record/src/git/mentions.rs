//! Other people's models in the files of a history: their names, loading calls, flags that start from a checkpoint,
//! numbers that only they use.
//!
//! A name proves nothing: evaluation code names other models, documentation cites them.

use std::collections::{BTreeMap, BTreeSet};

/// Mentions kept of one file; the rest is counted.
const PER_FILE: usize = 64;
/// A mention is shown up to here.
const SHOWN: usize = 100;

/// What to look for besides calls and flags.
#[derive(Clone, Debug, Default)]
pub struct Sought {
    /// A parent's name, and a name or hub id it may be written by.
    pub names: Vec<(String, String)>,
    /// A parent's name, what the number is, and the number. Round numbers and powers of two are everybody's: see
    /// [`Sought::constant`].
    pub constants: Vec<(String, String, i64)>,
}

impl Sought {
    /// Adds a name; of `hf://org/name@revision` the id and its last part. Names that are no word of three letters or more
    /// are let go, since they would be found everywhere.
    pub fn name(&mut self, parent: &str, written: &str) {
        let id = written.split_once("://").map_or(written, |(_, id)| id);
        let id = id.split('@').next().unwrap_or_default().trim_matches('/');
        for name in [id, id.rsplit('/').next().unwrap_or_default()] {
            let entry = (parent.to_owned(), name.to_owned());
            let letters = name.bytes().filter(u8::is_ascii_alphanumeric).count();
            if letters >= 3 && name.bytes().any(|b| b.is_ascii_alphabetic()) && !self.names.contains(&entry) {
                self.names.push(entry);
            }
        }
    }

    /// Adds a number of a parent's, unless many others use it too: small and round ones, and multiples of large powers of
    /// two.
    pub fn constant(&mut self, parent: &str, what: &str, value: i64) {
        let mut decimal = value;
        while decimal > 0 && decimal % 10 == 0 {
            decimal /= 10;
        }
        let odd = if value > 0 { value >> value.trailing_zeros() } else { 0 };
        let entry = (parent.to_owned(), what.to_owned(), value);
        if value >= 1000 && decimal >= 1000 && odd >= 25 && !self.constants.contains(&entry) {
            self.constants.push(entry);
        }
    }

    /// Adds the sizes and special tokens of a parent's `config.json` that the subject does not have itself.
    pub fn configuration(&mut self, parent: &str, config: &serde_json::Value, own: Option<&serde_json::Value>) {
        let whole = |config: &serde_json::Value| -> BTreeMap<String, Vec<i64>> {
            let inner = ["text_config", "language_config"].iter().filter_map(|name| config.get(*name));
            let objects = std::iter::once(config).chain(inner).filter_map(serde_json::Value::as_object);
            let mut found: BTreeMap<String, Vec<i64>> = BTreeMap::new();
            for (key, value) in objects.flatten().take(4096) {
                let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                found
                    .entry(key.clone())
                    .or_default()
                    .extend(values.iter().take(16).filter_map(serde_json::Value::as_i64));
            }
            found
        };
        let own: BTreeSet<i64> = own.map(whole).unwrap_or_default().into_values().flatten().collect();
        for (key, values) in whole(config) {
            let counts =
                key.ends_with("_size") || key.ends_with("_token_id") || key.ends_with("_dim") || key.ends_with("rank");
            for value in values.into_iter().filter(|value| counts && !own.contains(value)) {
                self.constant(parent, &key, value);
            }
        }
    }
}

/// What kind of mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MentionKind {
    /// The name or hub id of a candidate parent.
    Name,
    /// A call or setting that loads a published model: `from_pretrained("org/name")`.
    Loads,
    /// A flag that starts from a checkpoint: `--load`, `--finetune`, `init_from`.
    Starts,
    /// A number that a candidate parent has and the subject has not.
    Constant,
}

/// What kind of file a mention stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Place {
    Code,
    Script,
    Settings,
    Evaluation,
    Documentation,
}

impl Place {
    /// In words, as in "in ...".
    pub fn words(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Script => "a launch script",
            Self::Settings => "a settings file",
            Self::Evaluation => "tests or evaluation",
            Self::Documentation => "documentation",
        }
    }

    /// By the path.
    pub fn of(path: &str) -> Self {
        let lower = path.to_ascii_lowercase();
        let end = lower.rsplit_once('.').map_or("", |(_, end)| end);
        let about = |word: &str| lower.split(['/', '_', '-', '.']).any(|part| part == word);
        if matches!(end, "md" | "rst" | "txt" | "html" | "tex" | "bib" | "ipynb") || about("docs") {
            Self::Documentation
        } else if ["test", "tests", "eval", "evals", "evaluation", "evaluate", "benchmark", "benchmarks"]
            .into_iter()
            .any(about)
        {
            Self::Evaluation
        } else if matches!(end, "json" | "yaml" | "yml" | "toml") {
            Self::Settings
        } else if matches!(end, "py" | "pyi" | "gin" | "c" | "cc" | "cpp" | "cu" | "rs" | "jl") {
            Self::Code
        } else {
            Self::Script
        }
    }
}

/// One mention, with its time in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// What kind.
    pub kind: MentionKind,
    /// As it stands there, cut at 100 characters, without control characters.
    pub text: String,
    /// The candidate parent it is of, if it is of one.
    pub parent: Option<String>,
    /// The file.
    pub path: String,
    /// The line in the first commit that has it.
    pub line: u64,
    /// What kind of file.
    pub place: Place,
    /// The earliest commit that has it, by committer time.
    pub first: String,
    /// The commit of the main line that took it away; nothing if it is still there.
    pub gone: Option<String>,
    /// Whether the main line ever had it; another branch had, if not.
    pub main: bool,
}

/// A mention in one version of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    pub kind: MentionKind,
    pub text: String,
    pub parent: Option<String>,
    pub line: u64,
}

/// Looks through one version of a file.
pub fn scan(text: &[u8], sought: &Patterns) -> Vec<Found> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for (number, line) in text.split(|&b| b == b'\n').enumerate() {
        let mut push = |kind: MentionKind, bytes: &[u8], parent: Option<&String>| {
            let text: String = String::from_utf8_lossy(bytes.get(..bytes.len().min(4 * SHOWN)).unwrap_or_default())
                .chars()
                .take(SHOWN)
                .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
                .collect();
            if found.len() < PER_FILE && seen.insert((kind, text.clone(), parent.cloned())) {
                found.push(Found { kind, text, parent: parent.cloned(), line: number as u64 + 1 });
            }
        };
        // A line this long is data.
        let line = line.get(..line.len().min(4096)).unwrap_or_default();
        let mut at = 0;
        while at < line.len() {
            if !line[at].is_ascii_alphanumeric() {
                at += 1;
                continue;
            }
            let end = run(line, at, |b| b.is_ascii_alphanumeric());
            let first = line[at];
            if sought.starts[usize::from(first.to_ascii_lowercase())] {
                for (parts, name, parent) in &sought.names {
                    if name_at(line, at, end, parts) {
                        push(MentionKind::Name, name.as_bytes(), Some(parent));
                    }
                }
            }
            let whole_word = at == 0 || line[at - 1] != b'_';
            if whole_word && first.is_ascii_digit() {
                let end = run(line, at, |b| b.is_ascii_digit() || b == b'_');
                let part = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'.');
                let alone = !part(line.get(end)) && !part(at.checked_sub(1).and_then(|b| line.get(b)));
                if alone && (4..=24).contains(&(end - at)) && !sought.numbers.is_empty() {
                    let digits: String = line[at..end].iter().filter(|b| **b != b'_').map(|b| char::from(*b)).collect();
                    for (parent, what) in
                        digits.parse().ok().and_then(|n: i64| sought.numbers.get(&n)).into_iter().flatten()
                    {
                        push(MentionKind::Constant, format!("{digits} ({what})").as_bytes(), Some(parent));
                    }
                }
            } else if whole_word {
                let end = run(line, at, |b| b.is_ascii_alphanumeric() || b == b'_');
                if let Some(kind) = trigger(&line[at..end]) {
                    match kind {
                        Trigger::Call => {
                            if let Some(call) = call_at(line, at, end) {
                                push(MentionKind::Loads, call, None);
                            }
                        }
                        Trigger::Setting | Trigger::Flag => {
                            if let Some((text, loads)) = setting_at(line, at, kind) {
                                push(if loads { MentionKind::Loads } else { MentionKind::Starts }, text, None);
                            }
                        }
                    }
                }
            }
            at = end;
        }
    }
    found
}

/// What is sought, made ready.
#[derive(Default)]
pub struct Patterns {
    /// The parts of a name, the name, the parent.
    names: Vec<(Vec<Vec<u8>>, String, String)>,
    /// First letters of the names, in lower case.
    starts: Vec<bool>,
    numbers: BTreeMap<i64, Vec<(String, String)>>,
}

impl Patterns {
    pub fn new(sought: &Sought) -> Self {
        let mut patterns = Self { starts: vec![false; 256], ..Self::default() };
        for (parent, name) in &sought.names {
            let parts: Vec<Vec<u8>> = name
                .split(|c: char| !c.is_ascii_alphanumeric())
                .filter(|part| !part.is_empty())
                .map(|part| part.to_ascii_lowercase().into_bytes())
                .collect();
            if let Some(first) = parts.first().and_then(|part| part.first()) {
                patterns.starts[usize::from(*first)] = true;
                patterns.names.push((parts, name.clone(), parent.clone()));
            }
        }
        for (parent, what, value) in &sought.constants {
            patterns.numbers.entry(*value).or_default().push((parent.clone(), what.clone()));
        }
        patterns
    }
}

fn run(line: &[u8], from: usize, is: impl Fn(u8) -> bool) -> usize {
    line[from..].iter().position(|b| !is(*b)).map_or(line.len(), |length| from + length)
}

/// Whether a name stands at a place, whatever separates its parts.
fn name_at(line: &[u8], at: usize, end: usize, parts: &[Vec<u8>]) -> bool {
    let Some((first, rest)) = parts.split_first() else { return false };
    if !line[at..end].eq_ignore_ascii_case(first) {
        return false;
    }
    let mut end = end;
    for part in rest {
        // Between parts one separator.
        if !matches!(line.get(end), Some(b'-' | b'_' | b'.' | b'/' | b' ')) {
            return false;
        }
        let stop = run(line, end + 1, |b| b.is_ascii_alphanumeric());
        if !line[end + 1..stop].eq_ignore_ascii_case(part) {
            return false;
        }
        end = stop;
    }
    // "Model-3" is not named by "Model-3.5".
    let digit = |b: Option<&u8>| b.is_some_and(u8::is_ascii_digit);
    !(digit(end.checked_sub(1).and_then(|b| line.get(b))) && line.get(end) == Some(&b'.') && digit(line.get(end + 1)))
}

#[derive(Clone, Copy)]
enum Trigger {
    /// Loads with an argument in brackets.
    Call,
    /// Counts only with a value.
    Setting,
    /// Counts with two dashes before it, or with a value.
    Flag,
}

fn trigger(word: &[u8]) -> Option<Trigger> {
    Some(match word {
        b"from_pretrained" | b"snapshot_download" | b"hf_hub_download" | b"load_from_hub" => Trigger::Call,
        b"model_name_or_path"
        | b"pretrained_model_name_or_path"
        | b"base_model"
        | b"init_from"
        | b"init_checkpoint"
        | b"resume_from_checkpoint"
        | b"pretrained_checkpoint"
        | b"load_path"
        | b"restore_from_path"
        | b"warm_start"
        | b"warm_start_from"
        | b"initialize_from"
        | b"hf_model_path"
        | b"initial_load_path" => Trigger::Setting,
        b"load" | b"finetune" | b"pretrained" | b"no" | b"init" | b"resume" | b"warm" | b"model" | b"restore"
        | b"base" | b"initial" | b"hf" => Trigger::Flag,
        _ => return None,
    })
}

/// Flags, with `-` for `_`.
const FLAGS: &[&str] = &[
    "load",
    "finetune",
    "pretrained-checkpoint",
    "no-load-optim",
    "no-load-rng",
    "init-from",
    "init-checkpoint",
    "resume-from-checkpoint",
    "warm-start",
    "warm-start-from",
    "restore-from-path",
    "initial-load-path",
    "load-path",
];
const LOADING_FLAGS: &[&str] =
    &["model-name-or-path", "pretrained-model-name-or-path", "base-model", "hf-model-path", "model-path"];

/// A loading call with its first text, and what stands before it: `AutoModel.from_pretrained("org/name"`.
fn call_at(line: &[u8], at: usize, end: usize) -> Option<&[u8]> {
    if line.get(end) != Some(&b'(') {
        return None;
    }
    let part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.');
    let start = line[..at].iter().rposition(|b| !part(b)).map_or(0, |before| before + 1);
    // A definition of such a function loads nothing.
    if line[..start].trim_ascii_end().ends_with(b"def") {
        return None;
    }
    let rest = &line[end..line.len().min(end + 200)];
    let close = rest
        .iter()
        .position(|b| matches!(b, b')' | b','))
        .map_or(rest.len(), |close| close + usize::from(rest[close] == b')'));
    line.get(start..end + close)
}

/// A setting or flag with its value, and whether the value is a model's id.
fn setting_at(line: &[u8], at: usize, kind: Trigger) -> Option<(&[u8], bool)> {
    let end = run(line, at, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let name: String =
        line[at..end].iter().map(|b| if *b == b'_' { '-' } else { char::from(b.to_ascii_lowercase()) }).collect();
    let flag = line[..at].ends_with(b"--");
    let loading = LOADING_FLAGS.contains(&name.as_str());
    if !loading && !FLAGS.contains(&name.as_str()) && !matches!(kind, Trigger::Setting)
        || matches!(kind, Trigger::Flag) && !flag
    {
        return None;
    }
    let start = if flag { at - 2 } else { at };
    let mut from = end;
    while line.get(from).is_some_and(|b| matches!(b, b' ' | b'=' | b':' | b'"' | b'\'' | b',' | b')' | b']')) {
        from += 1;
    }
    let stop = run(line, from, |b| !matches!(b, b' ' | b'"' | b'\'' | b',' | b')' | b'\\' | b'#' | b'\r'));
    let value = line.get(from..stop).unwrap_or_default();
    let next_flag = value.starts_with(b"-");
    if !flag {
        // As a setting it needs a sign and a value that is a text.
        let sign = line.get(end..from).unwrap_or_default();
        let given = sign.iter().any(|b| matches!(b, b'=' | b':'));
        let empty = matches!(
            value,
            b"" | b"None" | b"null" | b"False" | b"false" | b"~" | b"scratch" | b"str" | b"Optional[str]"
        );
        let reading = value.iter().any(|b| matches!(b, b'(' | b'['));
        if !given || empty || reading {
            return None;
        }
    }
    let text = if next_flag || value.is_empty() { line.get(start..end)? } else { line.get(start..stop)? };
    Some((text, loading))
}

#[cfg(test)]
mod tests {
    use super::{MentionKind, Patterns, Place, Sought, scan};

    fn seen(text: &str, sought: &Sought) -> Vec<(MentionKind, String, u64)> {
        scan(text.as_bytes(), &Patterns::new(sought)).into_iter().map(|f| (f.kind, f.text, f.line)).collect()
    }

    #[test]
    fn names_are_words_whatever_separates_their_parts() {
        let mut sought = Sought::default();
        sought.name("Phi", "hf://micro/Phi-3-moe@main");
        sought.name("short", "P");
        assert_eq!(sought.names.len(), 2);
        let text =
            "x = 'micro/Phi-3-moe'\n# phi_3_MOE\nPhi 3.moe-instruct\nphi3moe\nPhi-3.5-moe aphi-3-moe\nphi-3-moex\n";
        let found = seen(text, &sought);
        let names: Vec<_> = found.iter().map(|(_, name, line)| (name.as_str(), *line)).collect();
        assert_eq!(names, [("micro/Phi-3-moe", 1), ("Phi-3-moe", 1)]);
        let lines = |text: &str| text.lines().map(|line| seen(line, &sought).len()).collect::<Vec<_>>();
        assert_eq!(lines(text), [2, 1, 1, 0, 0, 0]);
        let mut version = Sought::default();
        version.name("M", "Model-3");
        for (text, count) in [("Model-3.5", 0), ("model_3", 1), ("Model-3-base", 1), ("model 3.", 1), ("Model-30", 0)] {
            assert_eq!(seen(text, &version).len(), count, "{text}");
        }
    }

    #[test]
    fn calls_flags_and_settings_are_seen_where_they_load() {
        let text = "m = AutoModel.from_pretrained(\"org/name\", dtype=x)\ndef from_pretrained(cls):\n\
            torchrun a.py --load /ckpt --finetune --no-load-optim \\\n--workload 3 --loader 2\ninit_from = 'scratch'\n\
            init_from = 'gpt2'\nbase_model: org/other\nresume_from_checkpoint=args.resume_from_checkpoint\n\
            --model_name_or_path org/third\nhf_hub_download(repo_id=\"a/b\", filename=1)\nresume_from_checkpoint=None\n";
        let found = seen(text, &Sought::default());
        let (loads, starts): (Vec<_>, Vec<_>) = found.iter().partition(|(kind, ..)| *kind == MentionKind::Loads);
        let words =
            |list: Vec<&(MentionKind, String, u64)>| list.into_iter().map(|(_, w, _)| w.clone()).collect::<Vec<_>>();
        let expected = [
            "AutoModel.from_pretrained(\"org/name\"",
            "base_model: org/other",
            "--model_name_or_path org/third",
            "hf_hub_download(repo_id=\"a/b\"",
        ];
        assert_eq!(words(loads), expected);
        let expected = [
            "--load /ckpt",
            "--finetune",
            "--no-load-optim",
            "init_from = 'gpt2",
            "resume_from_checkpoint=args.resume_from_checkpoint",
        ];
        assert_eq!(words(starts), expected);
    }

    #[test]
    fn only_numbers_that_nobody_else_uses_are_sought() {
        let mut sought = Sought::default();
        let parent = serde_json::json!({ "vocab_size": 151_552, "hidden_size": 4096, "intermediate_size": 11_008,
            "max_size": 32_000, "eos_token_id": [151_329, 2], "head_dim": 128, "n_routed_experts": 1283, "type_vocab_size": 30_522 });
        let own = serde_json::json!({ "vocab_size": 30_522 });
        sought.configuration("GLM", &parent, Some(&own));
        let numbers: Vec<i64> = sought.constants.iter().map(|(.., value)| *value).collect();
        assert_eq!(numbers, [151_329, 11_008, 151_552]);
        let found = seen("pad = 151_552\nx = 1515520 11008.5 0.11008\nids = [151329]\n", &sought);
        let words: Vec<_> = found.iter().map(|(_, text, line)| (text.as_str(), *line)).collect();
        assert_eq!(words, [("151552 (vocab_size)", 1), ("151329 (eos_token_id)", 3)]);
    }

    #[test]
    fn places_are_told_apart() {
        for (path, place) in [
            ("train.py", Place::Code),
            ("README.md", Place::Documentation),
            ("scripts/run.sh", Place::Script),
            ("tests/test_model.py", Place::Evaluation),
            ("configs/a.yaml", Place::Settings),
            ("Makefile", Place::Script),
        ] {
            assert_eq!(Place::of(path), place, "{path}");
        }
    }
}
