//! What goes wrong, said in Korean: broken inputs of every kind through the users' path, and no English sentence in what
//! comes back. Names are quoted as they are, and so is what a library or the operating system says.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::fs;
use std::path::Path;

use support::{fixtures, program, run};

/// How libraries and the operating system begin what they say; the rest of such a sentence is theirs.
const CAUSES: &[&str] =
    &["expected ", "missing field ", "EOF while ", "invalid type", "unknown variant", "Is a directory"];

/// English words one after the other from which on they are a sentence.
const SENTENCE: usize = 4;

/// The first English sentence in a message, if there is one.
fn english(message: &str) -> Option<String> {
    let mut words: Vec<&str> = Vec::new();
    let mut quoted = false;
    for word in message.split_whitespace() {
        let quotes = word.matches(['"', '`', '\'']).count();
        let name = quoted || quotes > 0 || word.contains(['/', '_', '=', '.']) && !word.ends_with('.');
        quoted ^= quotes % 2 == 1;
        let letters = word.trim_matches(|c: char| !c.is_alphanumeric());
        let plain = letters.len() > 1 && letters.chars().all(|c| c.is_ascii_alphabetic() || c == '\'' || c == '-');
        if name || !(plain || letters == "a") {
            words.clear();
            continue;
        }
        words.push(word);
        let said = words.join(" ");
        if words.len() >= SENTENCE && !CAUSES.iter().any(|cause| message.contains(cause) && cause.contains(words[0])) {
            return Some(said);
        }
    }
    None
}

#[test]
fn an_english_sentence_is_seen_and_a_name_is_none() {
    assert!(english("m: the file has 5 bytes, too few for a safetensors file").is_some());
    assert!(english("오류: there are no files in it").is_some());
    assert!(english("오류: ./the file has/no such name in it.bin: 파일이 5바이트로 너무 짧습니다").is_none());
    assert!(english("오류: \"the name of it is this\" 텐서가 없습니다").is_none());
    assert!(english("오류: `scratchproof init the folder of it` 명령으로").is_none());
}

/// A file of safetensors by its header's text.
fn tensors(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data][..]].concat()
}

fn put(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, bytes).expect("a file");
}

/// Runs in both languages: both refuse, neither in the other's words.
fn refused_in_korean(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let said = |language: &str| {
        let mut program = program();
        program.current_dir(folder).args(["--lang", language, "--offline"]).args(arguments);
        for name in ["HF_TOKEN", "WANDB_API_KEY", "HF_ENDPOINT"] {
            program.env_remove(name);
        }
        run(&mut program)
    };
    let (english_run, korean_run) = (said("en"), said("ko"));
    let hangul = |text: &str| text.chars().any(|c| ('가'..='힣').contains(&c));
    // The label alone is no sentence.
    let message = korean_run.stderr.trim().strip_prefix("오류: ").unwrap_or(&korean_run.stderr);
    match english(message) {
        _ if (english_run.status, korean_run.status) != (2, 2) => Err(format!("{arguments:?} is not refused")),
        _ if hangul(&english_run.stderr) => Err(format!("{arguments:?} in English: {}", english_run.stderr)),
        None if hangul(message) => Ok(()),
        _ => Err(format!("{arguments:?}: {message}")),
    }
}

/// Holds all of them to it, and names every one that falls short.
fn all_refused_in_korean(folder: &Path, all: &[&[&str]]) {
    let short: Vec<String> = all.iter().filter_map(|arguments| refused_in_korean(folder, arguments).err()).collect();
    assert!(short.is_empty(), "{} of {}:\n{}", short.len(), all.len(), short.join("\n"));
}

#[test]
fn files_with_weights_that_are_broken() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let one = r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#;
    let other = r#""dtype":"F32","shape":[2],"data_offsets":[4,12]"#;
    let files: &[(&str, Vec<u8>)] = &[
        ("short.safetensors", b"hello".to_vec()),
        ("cut.safetensors", [&64_u64.to_le_bytes()[..], b"{}"].concat()),
        ("long.safetensors", [&u64::MAX.to_le_bytes()[..], b"{}"].concat()),
        ("lfs.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n".to_vec()),
        ("web.safetensors", b"<!doctype html><html></html>".to_vec()),
        ("text.safetensors", b"{\"a\": 1, \"b\": 2, \"c\": 3}".to_vec()),
        ("empty-header.safetensors", tensors("", 0)),
        ("no-object.safetensors", tensors("[1, 2]", 0)),
        ("overlap.safetensors", tensors(&format!("{{\"a\":{{{one}}},\"b\":{{{other}}}}}"), 12)),
        ("twice.safetensors", tensors(&format!("{{\"a\":{{{one}}},\"a\":{{{one}}}}}"), 8)),
        ("beyond.safetensors", tensors(&format!("{{\"a\":{{{one}}}}}"), 4)),
        ("left.safetensors", tensors(&format!("{{\"a\":{{{one}}}}}"), 12)),
        ("size.safetensors", tensors(&format!("{{\"a\":{{{}}}}}", one.replace("[2]", "[3]")), 8)),
        ("zip.pt", b"PK\x03\x04 and no directory".to_vec()),
        ("pickle.pt", b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.".to_vec()),
        ("cut.pt", b"\x80\x02]q\x00(".to_vec()),
        ("version.gguf", b"GGUF\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec()),
        ("cut.gguf", b"GGUF\x03\0\0\0".to_vec()),
        ("cut.h5", b"\x89HDF\r\n\x1a\n\0\0".to_vec()),
        ("cut.npz", b"PK\x03\x04npz".to_vec()),
        ("nothing.bin", b"nothing that anybody knows".to_vec()),
    ];
    for (name, bytes) in files {
        put(at, name, bytes);
    }
    fs::create_dir(at.join("empty")).expect("a folder");
    put(at, "none/readme.md", "nothing");
    put(at, "index/model.safetensors.index.json", r#"{"weight_map": {"a": "gone.safetensors"}}"#);
    put(at, "map/model.safetensors.index.json", r#"{"weight_map": {}}"#);
    put(at, "parts/model-00001-of-00003.safetensors", tensors(&format!("{{\"a\":{{{one}}}}}"), 8));
    put(at, "config/model.safetensors", tensors(&format!("{{\"a\":{{{one}}}}}"), 8));
    put(at, "config/config.json", "[]");
    let folders = ["empty", "none", "index", "map", "parts", "config", "gone"];
    let inspected: Vec<[&str; 2]> =
        files.iter().map(|(name, _)| *name).chain(folders).map(|name| ["inspect", name]).collect();
    all_refused_in_korean(at, &inspected.iter().map(|own| &own[..]).collect::<Vec<_>>());
}

#[test]
fn addresses_that_cannot_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let addresses = [
        "hf://org",
        "hf://org/name",
        "hf://org/na me",
        "http://example.org/m/",
        "https://user:word@example.org/m/",
        "ftp://example.org/m",
        "s3://",
        "az://box/m/",
        "https://example.org/m/config.json",
    ]
    .map(|address| ["inspect", address]);
    all_refused_in_korean(folder.path(), &addresses.each_ref().map(|own| &own[..]));
}

#[test]
fn cases_reports_and_records_that_are_broken() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let small = "schema = 1\n[subject]\nmodel = \"m\"\n";
    fs::create_dir(at.join("m")).expect("a folder");
    let cases = [
        "schema = 2\n[subject]\nmodel = \"m\"\n",
        "schema = 1\n[subject]\n",
        "schema = 1\n[subject]\nmodel = \"gone\"\n",
        "schema = 1\n[subject]\nmodel = \"org/name\"\n",
        "schema = 1\n[subject]\ncheckpoints = \"m/step-*\"\n",
        "schema = 1\n[subject]\ncheckpoints = \"m/step-{step}\"\n",
        &format!("{small}[run]\nlog = \"m\"\n"),
        &format!("{small}[policy]\nconclusive_log10_p = 3.0\n"),
        &format!("{small}[policy]\nprofile = \"none\"\n"),
        &format!("{small}[[parent]]\nname = \"p\"\n"),
        &format!("{small}[[parent]]\nname = \"p\"\nmodel = \"ftp://p\"\n"),
    ];
    let names: Vec<String> = (0..cases.len()).map(|number| format!("{number}.toml")).collect();
    for (name, text) in names.iter().zip(cases) {
        put(at, name, text);
    }
    let audits: Vec<[&str; 2]> = names.iter().map(|name| ["audit", name.as_str()]).collect();
    all_refused_in_korean(at, &audits.iter().map(|own| &own[..]).collect::<Vec<_>>());
    put(at, "latin.toml", b"schema = 1 # \xe9\n");
    put(at, "no-report/report.json", r#"{"schema": "another/9"}"#);
    put(at, "list/report.json", "[]");
    put(at, "sig/model.sig", "[]");
    put(at, "bad.fingerprint", "SPFP and nothing");
    put(at, "plan.json", "{}");
    let case = fixtures().join("cases/dense-sgd/case.toml").display().to_string();
    let others = [
        &["audit", "latin.toml"][..],
        &["audit", "m"],
        &["audit", "gone"],
        &["report", "gone"],
        &["report", "no-report"],
        &["report", "list"],
        &["verify", "gone"],
        &["verify", "m"],
        &["verify", "sig/model.sig"],
        &["scan", "gone", "bad.fingerprint"],
        &["explain", "no/such"],
        &["init", "m"],
        &["init", "gone"],
        &["worker", "plan.json"],
        &["audit", "--steps", "3", &case],
        &["--threads", "0", "audit", &case],
    ];
    all_refused_in_korean(at, &others);
}
