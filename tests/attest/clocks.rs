//! Outside clocks over a ledger, asked at a server of this computer, and tensors under a root that a ledger published.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::others::python;
use super::{Chance, flipped, openssl, verify};
use crate::support::{Run, program, run, sha256};

/// A time-stamping authority and a calendar at one port. `answers` says how to answer a path and a body.
fn serve(answer: impl Fn(&str, &[u8]) -> Option<Vec<u8>> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let text = String::from_utf8_lossy(&head).to_lowercase();
            let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next()?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            stream.read_exact(&mut body).expect("a body");
            let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
            // `None` is a server that never answers.
            let Some(bytes) = answer(&path, &body) else {
                std::thread::sleep(Duration::from_secs(20));
                continue;
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", bytes.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes));
        }
    });
    address
}

/// An authority of openssl's own: its answer to a query, and `tsa.crt` as the root.
fn authority(folder: &Path) -> impl Fn(&[u8]) -> Vec<u8> + Send + 'static {
    let here = folder.to_owned();
    fs::write(here.join("tsa.cnf"), "[tsa]\nserial = serial\nsigner_cert = tsa.crt\nsigner_key = tsa.key\nsigner_digest = sha256\ndefault_policy = 1.2.3.4\ndigests = sha256\ncerts = tsa.crt\n").expect("written");
    fs::write(here.join("serial"), "01\n").expect("written");
    openssl(
        &here,
        "req -x509 -newkey rsa:2048 -nodes -keyout tsa.key -out tsa.crt -days 3650 -subj /CN=clock -addext extendedKeyUsage=critical,timeStamping -addext keyUsage=critical,digitalSignature",
    );
    move |query| {
        fs::write(here.join("query.tsq"), query).expect("written");
        openssl(&here, "ts -reply -config tsa.cnf -section tsa -queryfile query.tsq -out reply.tsr");
        fs::read(here.join("reply.tsr")).expect("a reply")
    }
}

/// What a calendar answers: its own bytes are appended, the whole is hashed, and it promises to have that put into a block.
fn promise() -> Vec<u8> {
    let uri = b"https://calendar.example";
    let mut bytes = vec![0xf0, 4, 1, 2, 3, 4, 0x08, 0x00, 0x83, 0xdf, 0xe3, 0x0d, 0x2e, 0xf9, 0x0c, 0x8e];
    bytes.push(u8::try_from(uri.len() + 1).expect("short"));
    bytes.push(u8::try_from(uri.len()).expect("short"));
    bytes.extend(uri);
    bytes
}

fn witness(ledger: &Path, words: &[&str]) -> Run {
    run(program().args(["witness", words[0]]).arg(ledger).args(&words[1..]))
}

#[test]
fn outside_clocks_are_asked_and_what_they_say_is_verified() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let ledger = here.join("ledger.jsonl");
    let reply = authority(here);
    let address = serve(move |path, body| match path {
        "/tsa" => Some(reply(body)),
        "/calendar/digest" => Some(promise()),
        _ => None,
    });
    let (tsa, calendar) = (format!("{address}/tsa"), format!("{address}/calendar"));
    assert_eq!(witness(&ledger, &["init", "--note", "begin"]).status, 0);
    let done = witness(&ledger, &["append", "--note", "one", "--authority", &tsa, "--calendar", &calendar]);
    assert_eq!(done.status, 0, "{}", done.stderr);
    assert!(done.stderr.contains("stamps: 2, waiting: 0"), "{}", done.stderr);
    // It goes on growing; a stamp is over what was there.
    assert_eq!(witness(&ledger, &["close"]).status, 0);
    let root = here.join("tsa.crt");
    let root = root.to_str().expect("a path");
    let told = verify(&ledger, &["--root", root]);
    assert_eq!(told.status, 3, "a calendar's promise is no block: {}", told.stdout);
    assert!(told.stdout.contains("clock") && !told.stdout.contains("CONTRADICTS"), "{}", told.stdout);
    let stamps = here.join("ledger.jsonl.stamps");
    let find = |end: &str| {
        let mut all = fs::read_dir(&stamps).expect("stamps").map(|entry| entry.expect("an entry").path());
        all.find(|path| path.extension().is_some_and(|own| own == end)).expect("a stamp")
    };
    let (tsr, ots) = (find("tsr"), find("ots"));
    // openssl and the OpenTimestamps client say the same of the ledger's first two lines.
    let text = fs::read_to_string(&ledger).expect("a ledger");
    let first: String = text.split_inclusive('\n').take(2).collect();
    fs::write(here.join("first"), &first).expect("written");
    let tsr_name = tsr.display().to_string();
    openssl(here, &format!("ts -verify -data first -in {tsr_name} -CAfile tsa.crt"));
    if let Some(python) = python() {
        let script = "import sys, hashlib\nfrom opentimestamps.core.timestamp import DetachedTimestampFile\nfrom opentimestamps.core.serialize import StreamDeserializationContext\nfile = DetachedTimestampFile.deserialize(StreamDeserializationContext(open(sys.argv[1], 'rb')))\nassert file.file_digest == hashlib.sha256(open(sys.argv[2], 'rb').read()).digest()\n(_, own), = file.timestamp.all_attestations()\nassert own.uri == 'https://calendar.example'\n";
        let done = Command::new(python).args(["-c", script]).arg(&ots).arg(here.join("first")).status();
        assert!(done.is_ok_and(|status| status.success()), "the OpenTimestamps client reads another proof");
    }
    // A bit of what is stamped, of the signature, and of what it is over. The certificate beside them is the root's own copy.
    let bytes = fs::read(&tsr).expect("a stamp");
    let digest = sha256(first.as_bytes());
    let digest: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&digest[2 * at..2 * at + 2], 16).expect("hex")).collect();
    let imprint = bytes.windows(32).position(|window| window == digest).expect("the imprint");
    let length = usize::try_from(fs::metadata(&ledger).expect("a file").len()).expect("short");
    let mut chance = Chance(3);
    for _ in 0..8 {
        let (one, other) = (chance.next(32), chance.next(200));
        let ledger_at = chance.next(length);
        let places = [
            (&tsr, imprint + one, "tsr"),
            (&tsr, bytes.len() - 1 - other, "tsr"),
            (&ots, 33 + one, "ots"),
            (&ledger, ledger_at, "ledger"),
        ];
        for (file, at, word) in places {
            let run = flipped(file, at, chance.next(8), || verify(&ledger, &["--root", root]));
            let said = run.stdout.clone() + &run.stderr;
            let wrong: String = said.lines().filter(|line| line.starts_with("CONTRADICTS")).collect();
            assert!(run.status == 1 && wrong.contains(word), "{word}, byte {at}: {said}");
        }
    }
}

#[test]
fn a_clock_that_is_silent_stops_nothing_and_is_asked_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let ledger = here.join("ledger.jsonl");
    let silent = serve(|_, _| None);
    assert_eq!(witness(&ledger, &["init"]).status, 0);
    let start = Instant::now();
    let done = witness(&ledger, &["append", "--note", "x", "--authority", &silent, "--patience", "1"]);
    let took = start.elapsed();
    assert!(done.status == 0 && done.stderr.contains("waiting: 1"), "{}", done.stderr);
    assert!(took < Duration::from_secs(8), "{took:?} for a patience of one second");
    // Without a network it is written down alone.
    let done = run(program().args(["--offline", "witness", "append"]).arg(&ledger).args([
        "--note",
        "y",
        "--authority",
        "https://clock.example/",
    ]));
    assert!(done.status == 0 && done.stderr.contains("waiting: 2"), "{}", done.stderr);
    let told = verify(&ledger, &[]);
    assert!(told.status == 3 && told.stdout.matches("witness stamp").count() == 2, "{}", told.stdout);
    // The first is asked again when it answers.
    let stamps = here.join("ledger.jsonl.stamps");
    let reply = authority(here);
    let answering = serve(move |_, body| Some(reply(body)));
    for entry in fs::read_dir(&stamps).expect("questions") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a question");
        fs::write(&path, text.replace(&silent, &answering).replace("https://clock.example/", &answering))
            .expect("written");
    }
    let done = witness(&ledger, &["stamp"]);
    assert!(done.status == 0 && done.stderr.contains("stamps: 2, waiting: 0"), "{}", done.stderr);
    let root = here.join("tsa.crt");
    let told = verify(&ledger, &["--root", root.to_str().expect("a path")]);
    assert_eq!(told.status, 0, "{}", told.stdout);
}

#[test]
fn one_tensor_is_checked_against_a_published_root() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/parent-llama");
    let other = model.with_file_name("control-llama");
    let (ledger, file) = (here.join("ledger.jsonl"), here.join("reveal.json"));
    let path = |own: &Path| own.to_str().expect("a path").to_owned();
    assert_eq!(witness(&ledger, &["init"]).status, 0);
    let done = witness(&ledger, &["append", "--checkpoint", &path(&model), "--tree", "--step", "5"]);
    assert_eq!(done.status, 0, "{}", done.stderr);
    assert_eq!(witness(&ledger, &["close"]).status, 0);
    let reveal = |words: &[&str]| {
        let mut command = program();
        command.args(["witness", "reveal"]).arg(&model).args(["--tensor", "model.embed_tokens.weight"]);
        run(command.args(words).arg("-o").arg(&file))
    };
    assert_eq!(reveal(&["--rows", "0,639", "--sample", "6", "--word", "chosen later"]).status, 0);
    let words = ["--ledger", &path(&ledger)];
    let told = verify(&file, &words);
    assert!(told.status == 0 && told.stdout.contains("8 of its 640 rows"), "{}", told.stdout);
    assert_eq!(verify(&file, &[]).status, 3, "no ledger is given");
    let value: Value = serde_json::from_slice(&fs::read(&file).expect("a file")).expect("JSON");
    assert_eq!(value["rows"].as_array().map(Vec::len), Some(8));
    let length = usize::try_from(fs::metadata(&file).expect("a file").len()).expect("short");
    let mut chance = Chance(29);
    for _ in 0..60 {
        let (at, bit) = (chance.next(length), chance.next(8));
        let run = flipped(&file, at, bit, || verify(&file, &words));
        assert!(run.status == 1 || run.status == 2, "byte {at}, bit {bit}: {}", run.stdout);
    }
    assert_eq!(reveal(&["--rows", "640"]).status, 2);
    assert_eq!(reveal(&[]).status, 0);
    assert_eq!(verify(&file, &words).status, 3, "neither rows nor the tensor");
    assert_eq!(verify(&file, &[&words[..], &["--model", &path(&model)]].concat()).status, 0);
    let told = verify(&file, &[&words[..], &["--model", &path(&other)]].concat());
    assert!(told.status == 1 && told.stdout.contains("another one"), "{}", told.stdout);
    // Another ledger never published it.
    let empty = here.join("other.jsonl");
    assert_eq!(witness(&empty, &["init"]).status, 0);
    assert_eq!(verify(&file, &["--ledger", &path(&empty)]).status, 1);
}
