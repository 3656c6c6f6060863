//! Every attack of `fixtures/hostile` on the program: how it ends, what it says, what memory and time it takes, and what
//! it leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use flate2::read::ZlibDecoder;
use serde::Deserialize;

/// Address space beyond the memory that an attack may take: stacks, code, arenas of threads.
const ADDRESSES: u64 = 2048;
/// Attacks at a time.
const HANDS: usize = 2;
/// A corpus of fewer is cut short.
const LEAST: usize = 150;

type Files = BTreeMap<String, Option<Node>>;

#[derive(Deserialize)]
struct Base {
    files: Files,
}

#[derive(Deserialize)]
struct Attack {
    name: String,
    /// What lies there before `first` is run.
    #[serde(default)]
    given: Files,
    /// Commands that have to do their work before `files` are laid over what they wrote.
    #[serde(default)]
    first: Vec<Vec<String>>,
    files: Files,
    runs: Vec<Vec<String>>,
    exit: Vec<i32>,
    says: Vec<String>,
    never: Vec<String>,
    mb: u64,
    seconds: u64,
}

/// What lies at a place.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code, reason = "of some the key says all")]
enum Node {
    Text(String),
    Z(String),
    Zz(String),
    Same(String),
    Sparse(u64, String),
    Fifo(bool),
    Socket(bool),
    Folder(bool),
    Link(String),
    /// A file of `fixtures`.
    Fixture(String),
    /// Texts in the place of others, each once, in what lies there.
    Edit(Vec<(String, String)>),
    /// The same, as JSON deflated, base64.
    Edits(String),
    /// Bytes over those at a place, from the end where it is negative.
    Patch(i64, String),
}

fn decoded(text: &str) -> Vec<u8> {
    Base64::decode_vec(text).expect("base64")
}

fn inflated(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ZlibDecoder::new(bytes).read_to_end(&mut out).expect("a zlib stream");
    out
}

fn put(root: &Path, name: &str, node: Option<&Node>, base: &Files) {
    let path = root.join(name);
    if let Some(Node::Edit(_) | Node::Edits(_) | Node::Patch(..)) = node {
        return change(&path, node);
    }
    if let Ok(there) = fs::symlink_metadata(&path) {
        if there.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.expect("removed");
    }
    let Some(node) = node else { return };
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    match node {
        Node::Text(text) => fs::write(&path, text).expect("written"),
        Node::Z(text) => fs::write(&path, inflated(&decoded(text))).expect("written"),
        Node::Zz(text) => fs::write(&path, inflated(&inflated(&decoded(text)))).expect("written"),
        Node::Same(other) => put(root, name, base[other].as_ref(), base),
        Node::Sparse(length, start) => {
            fs::write(&path, decoded(start)).expect("written");
            fs::File::options().write(true).open(&path).and_then(|file| file.set_len(*length)).expect("a sparse file");
        }
        Node::Fifo(_) => assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success()),
        Node::Socket(_) => drop(UnixListener::bind(&path).expect("a socket")),
        Node::Folder(_) => fs::create_dir_all(&path).expect("a folder"),
        Node::Link(target) if target == "itself" => {
            symlink(path.file_name().expect("a name"), &path).expect("a link");
        }
        Node::Link(target) => symlink(target, &path).expect("a link"),
        Node::Fixture(from) => {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(from);
            fs::copy(from, &path).map(drop).expect("a fixture");
        }
        Node::Edit(_) | Node::Edits(_) | Node::Patch(..) => unreachable!("changed in its place"),
    }
}

/// Changes a file in its place.
fn change(path: &Path, node: Option<&Node>) {
    let mut bytes = fs::read(path).expect("a file to be changed");
    match node {
        Some(Node::Edit(_) | Node::Edits(_)) => {
            let pairs: Vec<(String, String)> = match node {
                Some(Node::Edits(text)) => serde_json::from_slice(&inflated(&decoded(text))).expect("pairs"),
                Some(Node::Edit(pairs)) => pairs.clone(),
                _ => Vec::new(),
            };
            for (from, to) in pairs {
                let at = bytes.windows(from.len()).position(|window| window == from.as_bytes());
                let at = at.unwrap_or_else(|| panic!("{} does not have {from}", path.display()));
                bytes.splice(at..at + from.len(), to.bytes());
            }
        }
        Some(Node::Patch(at, text)) => {
            let data = decoded(text);
            let back = usize::try_from(at.unsigned_abs()).expect("a place");
            let at = if *at < 0 { bytes.len() - back } else { back };
            bytes[at..at + data.len()].copy_from_slice(&data);
        }
        _ => {}
    }
    fs::write(path, bytes).expect("written");
}

/// How a run ended: its status (none for a signal), what it said, its peak of resident memory in MiB as far as it could be
/// seen.
struct Ended {
    status: Option<i32>,
    text: String,
    mb: u64,
}

fn run(root: &Path, arguments: &[String], attack: &Attack) -> Ended {
    let out = fs::File::create(root.join("said")).expect("a file");
    // The shell's limits hold for the program alone: memory by its addresses, processor time by the second.
    let limits =
        format!("ulimit -c 0; ulimit -v {}; ulimit -t {}; exec \"$@\"", (attack.mb + ADDRESSES) * 1024, attack.seconds);
    let mut child = Command::new("bash")
        .args(["-c", &limits, "attacked", env!("CARGO_BIN_EXE_scratchproof")])
        .args(arguments)
        .current_dir(root)
        .env("TMPDIR", root.join("tmp"))
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE")
        .stdin(Stdio::null())
        .stdout(out.try_clone().expect("a file"))
        .stderr(out)
        .spawn()
        .expect("bash");
    let about = format!("/proc/{}/status", child.id());
    let (end, mut mb) = (Instant::now() + Duration::from_secs(3 * attack.seconds + 30), 0);
    let status = loop {
        let lines = fs::read_to_string(&about).unwrap_or_default();
        // Before it is the program, the child is the memory of these tests.
        let lines = if lines.starts_with("Name:\tscratchproof\n") { lines } else { String::new() };
        let peak = lines.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().split(' ').next()?.parse().ok());
        mb = mb.max(peak.unwrap_or(0_u64) / 1024);
        if let Some(status) = child.try_wait().expect("a child") {
            break status.code();
        }
        if Instant::now() > end {
            child.kill().expect("killed");
            child.wait().expect("a child");
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut text = Vec::new();
    fs::File::open(root.join("said")).and_then(|file| file.take(64 << 20).read_to_end(&mut text)).expect("a file");
    Ended { status, text: String::from_utf8_lossy(&text).into_owned(), mb }
}

/// What is wrong with how the program took an attack.
fn wrong(attack: &Attack, base: &Files) -> Vec<String> {
    let root = tempfile::tempdir().expect("a folder");
    let root = root.path();
    fs::create_dir(root.join("tmp")).expect("a folder");
    for (name, node) in base.iter().chain(&attack.given) {
        put(root, name, node.as_ref(), base);
    }
    let mut wrong = Vec::new();
    for arguments in &attack.first {
        let ended = run(root, arguments, attack);
        if !matches!(ended.status, Some(0 | 1 | 3)) {
            return vec![format!("{} cannot be made by {arguments:?}: {:?} {}", attack.name, ended.status, ended.text)];
        }
    }
    for (name, node) in &attack.files {
        put(root, name, node.as_ref(), base);
    }
    for arguments in &attack.runs {
        let ended = run(root, arguments, attack);
        let mut note = |what: String| wrong.push(format!("{} {arguments:?}: {what}", attack.name));
        let compares = arguments.iter().any(|argument| argument == "compare");
        match ended.status {
            Some(status) if attack.exit.contains(&status) || compares && (0..=3).contains(&status) => {}
            Some(status) => note(format!("status {status}, not one of {:?}: {}", attack.exit, ended.text)),
            None => note("ended by a signal: memory or time was used up".into()),
        }
        if ended.mb > attack.mb {
            note(format!("{} MiB, more than {}", ended.mb, attack.mb));
        }
        let words = ended.text.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in attack.says.iter().filter(|part| !words.contains(part.as_str())) {
            note(format!("does not say {part:?}: {words}"));
        }
        for part in attack.never.iter().filter(|part| ended.text.contains(part.as_str())) {
            note(format!("lets {part:?} through"));
        }
        if ended.text.contains("panicked") || ended.text.contains("has a fault") {
            note(format!("panics: {}", ended.text));
        }
        let litter: Vec<_> = fs::read_dir(root.join("tmp")).expect("a folder").flatten().map(|e| e.path()).collect();
        if !litter.is_empty() {
            note(format!("leaves {litter:?}"));
        }
        if root.join("pwned").exists() {
            note("runs what it reads".into());
        }
        if attack.files.contains_key("victim") && fs::read(root.join("victim")).ok().as_deref() != Some(b"mine\n") {
            note("changes somebody else's file".into());
        }
    }
    wrong
}

#[test]
fn every_attack_ends_as_stated_within_its_budget() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hostile/attacks.jsonl");
    let text = fs::read_to_string(path).expect("the attacks");
    let mut lines = text.lines();
    let base: Base = serde_json::from_str(lines.next().expect("the honest case")).expect("the honest case");
    let mut attacks: Vec<Attack> = lines.map(|line| serde_json::from_str(line).expect("an attack")).collect();
    assert!(attacks.len() >= LEAST, "{}", attacks.len());
    if let Some(only) = std::env::var_os("SCRATCHPROOF_ATTACKS").and_then(|only| only.into_string().ok()) {
        attacks.retain(|attack| attack.name.contains(&only));
    }
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..HANDS {
            scope.spawn(|| {
                while let Some(attack) = attacks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = wrong(attack, &base.files);
                    all.lock().expect("a list").extend(found);
                }
            });
        }
    });
    let all = all.into_inner().expect("a list");
    assert!(all.is_empty(), "{} of {} attacks: {:#?}", all.len(), attacks.len(), all);
}

/// The honest case is one: what an attack meets is the attack.
#[test]
fn the_honest_case_is_audited() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hostile/attacks.jsonl");
    let text = fs::read_to_string(path).expect("the attacks");
    let base: Base = serde_json::from_str(text.lines().next().expect("a line")).expect("the honest case");
    let runs = vec![["audit", "case.toml"].map(String::from).to_vec()];
    let none = Attack {
        name: "none".into(),
        given: Files::new(),
        first: Vec::new(),
        files: Files::new(),
        runs,
        exit: vec![3],
        says: vec!["INCONCLUSIVE".into()],
        never: vec!["error".into()],
        mb: 200,
        seconds: 10,
    };
    assert_eq!(wrong(&none, &base.files), Vec::<String>::new());
}
