//! Which files are damaged, and who reads them: for `tests/mutations.rs` and for the targets of `fuzz/`.

use std::fs;
use std::path::{Path, PathBuf};

/// Who reads a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The file so many levels up is a model: 0 for itself, 1 for its folder.
    Model(usize),
    /// It is, by its name, the file of a tokenizer.
    Tokenizer,
    Case,
    Profile,
    /// What a hub answers, one line for each kind of question.
    Hub,
    /// The file so many levels up is a log.
    Log(usize),
    /// A stamp, or what a clock or a hub wrote.
    Proof,
    /// The folder so many levels up is a repository.
    Repository(usize),
    /// A commit as it is before it is deflated.
    Commit,
    Bundle,
    /// Settings, in the language that its name says.
    Settings,
    /// What the service answers, one line for each kind of question.
    Service,
    Report,
    /// The folder so many levels up is a finished audit.
    Audit(usize),
    Ledger,
    /// A DSSE envelope.
    Envelope,
    /// The signature of a model.
    Signature,
    Key,
    Fingerprint,
    Register,
}

/// A file that is damaged.
#[derive(Clone, Debug)]
pub struct Seed {
    /// What is fuzzed together.
    pub target: &'static str,
    pub reader: Reader,
    /// What is copied with it.
    pub folder: PathBuf,
    /// Its name in the folder.
    pub file: PathBuf,
}

/// Every file of these folders of `repository`. What is in none is written to `made`.
pub fn seeds(repository: &Path, made: &Path) -> Vec<Seed> {
    let mut seeds = Vec::new();
    let fixtures = repository.join("fixtures");
    let data = repository.join("tests/data");
    weights(&mut seeds, &fixtures);
    words(&mut seeds, repository, made);
    logs(&mut seeds, &fixtures, &data);
    repositories(&mut seeds, &fixtures, &data, made);
    attested(&mut seeds, &fixtures, &data);
    seeds
}

/// Adds the files of a folder whose names are kept.
fn add(
    seeds: &mut Vec<Seed>,
    target: &'static str,
    reader: Reader,
    folder: impl Into<PathBuf>,
    keep: impl Fn(&str) -> bool,
) {
    let folder = folder.into();
    let mut files = Vec::new();
    walk(&folder, Path::new(""), &mut files);
    files.sort();
    let before = seeds.len();
    for file in files.into_iter().filter(|file| keep(&file.to_string_lossy())) {
        seeds.push(Seed { target, reader, folder: folder.clone(), file });
    }
    assert!(seeds.len() > before, "{target}: nothing in {}", folder.display());
}

fn walk(root: &Path, inside: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root.join(inside)).expect("a folder").map(|entry| entry.expect("an entry")) {
        let name = inside.join(entry.file_name());
        if root.join(&name).is_dir() { walk(root, &name, files) } else { files.push(name) }
    }
}

fn weights(seeds: &mut Vec<Seed>, fixtures: &Path) {
    let forms = fixtures.join("forms");
    let ends = |end: &'static str| move |name: &str| name.ends_with(end);
    for form in ["awq", "mxfp4", "scaled", "gptq", "bitsandbytes"] {
        add(seeds, "safetensors", Reader::Model(1), forms.join("quantised").join(form), ends("model.safetensors"));
    }
    add(seeds, "configuration", Reader::Model(1), forms.join("quantised/scaled"), ends("config.json"));
    for (target, end) in [("safetensors", ".safetensors"), ("torch", ".pt"), ("torch", ".jit")] {
        add(seeds, target, Reader::Model(0), &forms, |name| !name.contains('/') && name.ends_with(end));
    }
    for (target, end) in [("gguf", ".gguf"), ("npz", ".npz"), ("onnx", ".onnx")] {
        add(seeds, target, Reader::Model(0), &forms, |name| !name.contains('/') && name.ends_with(end));
    }
    add(seeds, "gguf", Reader::Model(0), forms.join("gguf"), ends("step20.gguf"));
    add(seeds, "npz", Reader::Model(0), forms.join("npz"), ends("step20.npz"));
    add(seeds, "hdf5", Reader::Model(0), forms.join("hdf5"), |name| name != "model.h5");
    let sharded = forms.join("bin-sharded/checkpoint-0");
    add(seeds, "index", Reader::Model(1), &sharded, ends(".index.json"));
    add(seeds, "torch", Reader::Model(1), &sharded, ends("00002-of-00002.bin"));
    for folder in ["forms/bin/checkpoint-0", "forms/npz", "forms/hf-trainer/checkpoint-0", "forms/legacy/checkpoint-0"]
    {
        add(seeds, "configuration", Reader::Model(1), fixtures.join(folder), ends("config.json"));
    }
    add(seeds, "configuration", Reader::Model(1), forms.join("consolidated/step0"), ends("params.json"));
    add(seeds, "configuration", Reader::Model(1), forms.join("nanochat"), ends("meta_000500.json"));
    for folder in ["bin/checkpoint-0", "legacy/checkpoint-0", "consolidated/step0"] {
        add(seeds, "torch", Reader::Model(1), forms.join(folder), |name| name.ends_with("in") || name.ends_with("pth"));
    }
    add(seeds, "torch", Reader::Model(0), forms.join("nested"), ends("step=0.ckpt"));
    add(seeds, "torch", Reader::Model(1), forms.join("nanogpt"), ends(".pt"));
    add(seeds, "torch", Reader::Model(1), forms.join("nanochat"), ends(".pt"));
    add(seeds, "torch", Reader::Model(1), forms.join("hf-trainer/checkpoint-60"), |name| {
        ["scheduler.pt", "rng_state.pth", "optimizer.pt"].contains(&name)
    });
    add(seeds, "torch", Reader::Model(3), forms.join("zero-universal"), |name| {
        name.contains("zero/model.norm.weight") || name.contains("optimizer_state")
    });
    // Where the parts of a distributed checkpoint stand.
    for folder in ["fsdp/checkpoint-60", "fsdp-series/checkpoint-450"] {
        add(seeds, "distributed", Reader::Model(2), forms.join(folder), ends(".metadata"));
    }
    add(seeds, "distributed", Reader::Model(1), forms.join("megatron-core/iter_0000060"), |name| {
        [".metadata", "metadata.json", "common.pt", "__1_0.distcp"].contains(&name)
    });
    for folder in ["zero1", "zero3"] {
        add(seeds, "distributed", Reader::Model(1), forms.join(folder), |name| name == "latest");
        add(seeds, "distributed", Reader::Model(2), forms.join(folder), |name| {
            name.contains("rank_0_mp_rank_00") || name.ends_with("/mp_rank_00_model_states.pt")
        });
    }
    add(seeds, "distributed", Reader::Model(2), forms.join("megatron/iter_0000020"), ends("00_000/model_optim_rng.pt"));
    for folder in ["hub-cache-copied/models--example--tiny", "hub-cache/models--example--tiny"] {
        add(seeds, "index", Reader::Model(2), forms.join(folder), |name| name == "refs/main");
    }
}

/// Files of words that a person wrote, or an answer of a server.
fn words(seeds: &mut Vec<Seed>, repository: &Path, made: &Path) {
    let fixtures = repository.join("fixtures");
    add(seeds, "tokenizers", Reader::Tokenizer, repository.join("tests/data/tokenizers"), |name| {
        name != "expected.json"
    });
    add(seeds, "tokenizers", Reader::Tokenizer, fixtures.join("models/control-phi"), |name| name == "tokenizer.json");
    let mut write = |target, reader, name: &str, text: &str| {
        let folder = made.join(format!("{target}-{name}"));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(name), text).expect("written");
        seeds.push(Seed { target, reader, folder, file: name.into() });
    };
    for (name, text) in [
        ("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\n##s\nof\n"),
        ("a.tiktoken", "IQ== 0\nIg== 1\nIw== 2\nIGE= 3\n"),
        (
            "tekken.json",
            "{\"config\": {\"pattern\": \"x\", \"default_num_special_tokens\": 2, \"default_vocab_size\": 6}, \"vocab\": \
             [{\"rank\": 0, \"token_bytes\": \"IQ==\", \"token_str\": \"!\"}, {\"rank\": 1, \"token_bytes\": \"/w==\", \
             \"token_str\": null}], \"special_tokens\": [{\"rank\": 0, \"token_str\": \"<s>\", \"is_control\": true}]}",
        ),
        // SentencePiece: three pieces, then the kind of the trainer.
        (
            "tokenizer.model",
            "\n\u{e}\n\u{5}<unk>\u{15}\0\0\0\0\u{18}\u{2}\n\n\n\u{3}\u{2581}\u{15}\0\0\0\0\n\u{8}\n\u{1}a\u{15}\0\0\0\0\u{12}\u{2}\u{18}\u{2}",
        ),
    ] {
        write("tokenizers", Reader::Tokenizer, name, text);
    }
    for folder in ["cases/dense-sgd", "cases/scratch-moe", "cases/distilled", "forms/fsdp-series"] {
        let text = fs::read_to_string(fixtures.join(folder).join("case.toml")).expect("a case");
        write("case", Reader::Case, &format!("{}.toml", folder.replace('/', "-")), &text);
    }
    write("policy", Reader::Case, "policy.toml", POLICY);
    for name in ["eu-model-documentation", "kr-sovereign-ai", "model-openness"] {
        let name = format!("{name}.toml");
        let text = fs::read_to_string(repository.join("profiles").join(&name)).expect("a profile");
        write("policy", Reader::Profile, &name, &text);
    }
    write("hub", Reader::Hub, "hub.txt", HUB);
    for (name, text) in [
        ("a.json", "{\"model\": {\"hidden_size\": 16, \"num_layers\": 2, \"vocab_size\": 64}}"),
        ("a.yaml", "model: &a\n  hidden_size: 16\n  num_layers: 2\n  vocab_size: 64\nb: {<<: *a}\n"),
        ("a.toml", "[model]\nhidden_size = 16\nnum_layers = 2\nvocab_size = 64\n"),
        ("a.py", "class A:\n    hidden_size: int = 2**4\n    num_layers = 2\n    vocab_size = 8 * 8\n"),
    ] {
        write("settings", Reader::Settings, name, text);
    }
    for (name, text) in [
        ("a.sh", "H=16\ntorchrun a.py --hidden-size $H --num-layers 2 --vocab-size 64 \\\n --x 'y'\n"),
        ("Makefile", "H := 16\nrun:\n\tpython a.py --hidden-size $(H) --num-layers 2 --vocab-size 64\n"),
    ] {
        write("launch", Reader::Settings, name, text);
    }
    let answers = fixtures.join("service/answers");
    let read = |name: &str| fs::read_to_string(answers.join(name)).expect("a recorded answer");
    let lines = |name: &str| {
        let rows: Vec<String> = read(name).lines().take(4).map(|line| format!("{line:?}")).collect();
        format!("[{}]", rows.join(","))
    };
    let line = |text: String| text.replace('\n', " ");
    let run = line(read("run.json"));
    let service = [
        format!("{{\"data\":{{\"project\":{{\"run\":{run}}}}}}}"),
        format!("{{\"data\":{{\"project\":{{\"run\":{{\"history\":{}}}}}}}}}", lines("history.jsonl")),
        format!("{{\"data\":{{\"project\":{{\"run\":{{\"events\":{}}}}}}}}}", lines("events.jsonl")),
        "{\"data\":{\"project\":{\"run\":{\"page\":{\"edges\":[{\"node\":{\"id\":\"RmlsZTo0\",\"name\":\"wandb-metadata.json\",\
         \"sizeBytes\":\"481\",\"md5\":\"9br0kRNtW/4vrbUiw1boig==\",\"updatedAt\":\"2026-11-21T23:04:19Z\"}}],\
         \"pageInfo\":{\"endCursor\":\"a\",\"hasNextPage\":false}}}}}}"
            .to_owned(),
        line(read("manifest-model.json")),
    ];
    write("service", Reader::Service, "service.txt", &service.join("\n"));
    let register = fs::read_to_string(repository.join("data/releases.toml")).expect("the register");
    let first: Vec<&str> = register.split("[[release]]").take(12).collect();
    write("register", Reader::Register, "releases.toml", &first.join("[[release]]"));
}

/// A policy that sets something of every kind.
const POLICY: &str = "schema = 1\n[subject]\nmodel = \"m\"\nstart = 2026-01-01T00:00:00Z\n[[parent]]\nname = \"P\"\nmodel = \"p\"\n\
    released = \"2025-01\"\n[policy]\nfalse_alarm = 1e-6\nprofile = \"kr-sovereign-ai\"\n";

/// What a hub says of a model, of its commits, of its files, and what is in them.
const HUB: &str = "{\"id\":\"org/name\",\"sha\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"createdAt\":\
    \"2026-01-02T03:04:05.000Z\",\"siblings\":[{\"rfilename\":\"config.json\",\"size\":2},{\"rfilename\":\"a/b.txt\"},\
    {\"rfilename\":\"model.safetensors\",\"size\":10,\"lfs\":{\"sha256\":\"00\",\"size\":10}}]}\n\
    [{\"id\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"date\":\"2026-01-02T03:04:05.000Z\",\"title\":\"x\"}]\n\
    [{\"type\":\"file\",\"path\":\"config.json\",\"size\":2,\"oid\":\"b\",\"lastCommit\":{\"id\":\"a\",\"date\":\
    \"2026-01-02T03:04:05.000Z\"}}]\n{\"model_type\":\"llama\"}";

fn logs(seeds: &mut Vec<Seed>, fixtures: &Path, data: &Path) {
    let logs = fixtures.join("logs");
    let ends = |end: &'static str| move |name: &str| name.ends_with(end);
    let run = logs.join("nanogpt/run-20241022_232552-u1pue59s");
    add(seeds, "wandb", Reader::Log(1), &run, ends(".wandb"));
    add(seeds, "wandb", Reader::Log(2), &run, |name| name.starts_with("files/"));
    add(seeds, "wandb", Reader::Log(0), data.join("wandb"), ends(".wandb"));
    add(seeds, "wandb", Reader::Log(1), fixtures.join("forms/fsdp-series/wandb"), ends(".wandb"));
    add(seeds, "wandb", Reader::Log(0), fixtures.join("cases/dense-sgd/wandb"), ends(".wandb"));
    add(seeds, "tensorboard", Reader::Log(0), logs.join("tensorboard"), |_| true);
    add(seeds, "csv", Reader::Log(0), logs.join("rows"), ends(".csv"));
    add(seeds, "csv", Reader::Log(0), logs.join("nanogpt"), |name| name == "table.csv");
    add(seeds, "json", Reader::Log(0), logs.join("rows"), ends(".jsonl"));
    add(seeds, "json", Reader::Log(0), fixtures.join("forms/hf-trainer/checkpoint-60"), ends("trainer_state.json"));
    add(seeds, "parquet", Reader::Log(0), logs.join("rows"), ends(".parquet"));
}

fn repositories(seeds: &mut Vec<Seed>, fixtures: &Path, data: &Path, made: &Path) {
    let packed = fixtures.join("cases/dense-sgd/repo.git");
    add(seeds, "refs", Reader::Repository(1), &packed, |name| ["HEAD", "config", "packed-refs"].contains(&name));
    add(seeds, "packs", Reader::Repository(3), &packed, |name| name.starts_with("objects/pack/"));
    let loose = fixtures.join("witness/repo.git");
    add(seeds, "refs", Reader::Repository(3), &loose, |name| name.starts_with("refs/"));
    add(seeds, "objects", Reader::Repository(3), &loose, |name| name.starts_with("objects/"));
    add(seeds, "bundles", Reader::Bundle, data.join("git"), |name| name.ends_with(".bundle"));
    // A bundle is a pack behind a list of references.
    let name = seeds.iter().find(|seed| seed.file.extension().is_some_and(|end| end == "pack")).expect("a pack");
    let pack = fs::read(name.folder.join(&name.file)).expect("a pack");
    let refs = fs::read_to_string(packed.join("packed-refs")).expect("references");
    let lines: String =
        refs.lines().filter(|line| !line.starts_with(['#', '^'])).fold(String::new(), |a, b| a + b + "\n");
    let folder = made.join("bundle");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("a.bundle"), [format!("# v2 git bundle\n{lines}\n").as_bytes(), &pack].concat())
        .expect("written");
    seeds.push(Seed { target: "bundles", reader: Reader::Bundle, folder, file: "a.bundle".into() });
    // A commit with everything that one may have.
    let signature = fs::read_to_string(data.join("git/sshsig/good.sig")).expect("a signature");
    let signature = signature.trim_end().replace('\n', "\n ");
    let folder = made.join("commit");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(
        folder.join("commit"),
        format!(
            "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@example.org> 1767225600 +0100\ncommitter B \
             <b@example.org> 1767225601 -0330\nencoding UTF-8\nmergetag object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n \
             type tree\n tag v1\n tagger C <c@example.org> 1 +0000\n \n one\ngpgsig {signature}\n\nsubject\n\n\
             Co-authored-by: D <d@example.org>\nbody meta-llama/Llama-2-7b-hf\n"
        ),
    )
    .expect("written");
    seeds.push(Seed { target: "objects", reader: Reader::Commit, folder, file: "commit".into() });
}

fn attested(seeds: &mut Vec<Seed>, fixtures: &Path, data: &Path) {
    let witness = fixtures.join("witness");
    let formats = data.join("formats");
    add(seeds, "rfc3161", Reader::Proof, &witness, |name| {
        [".tsr", ".tst", ".crt", ".pem"].iter().any(|end| name.ends_with(end))
    });
    add(seeds, "ots", Reader::Proof, &witness, |name| name.ends_with(".ots") || name == "blocks.txt");
    add(seeds, "published", Reader::Proof, &witness, |name| name.ends_with(".json"));
    add(seeds, "dsse", Reader::Envelope, &formats, |name| name == "attestation-0.1.json");
    add(seeds, "dsse", Reader::Signature, formats.join("model"), |name| name.ends_with(".sig"));
    add(seeds, "dsse", Reader::Key, &formats, |name| name.ends_with(".pub"));
    add(seeds, "ledger", Reader::Ledger, &formats, |name| name.ends_with(".jsonl"));
    add(seeds, "fingerprint", Reader::Fingerprint, &formats, |name| name.ends_with(".safetensors"));
    let audit = formats.join("audit-0.1");
    add(seeds, "store", Reader::Audit(2), &audit, |name| name.starts_with("measurements/"));
    add(seeds, "report", Reader::Report, &audit, |name| name == "report.json");
    add(seeds, "report", Reader::Audit(2), &audit, |name| {
        ["evidence/timeline.parquet", "evidence/decay.parquet", "evidence/mentions.parquet"].contains(&name)
    });
}
