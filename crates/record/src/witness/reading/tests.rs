use std::path::PathBuf;

use super::super::{TargetCheckpoint, TargetFile, asn1, ber, existed};
use super::*;
use crate::Covered;
use scratchproof_case::Location;
use scratchproof_error::hexadecimal::hex;

fn place(name: &str) -> Location {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("fixtures/witness");
    // A build of some rooms only lies beside the sources.
    let path =
        if path.exists() { path } else { PathBuf::from(file!()).ancestors().nth(5).unwrap().join("fixtures/witness") };
    Location { written: name.into(), path: path.join(name) }
}

fn read(entries: &[Witness], targets: &Targets, access: Access) -> Vec<Witnessed> {
    super::read(entries, targets, access, &mut Shelf::default())
}

fn entry(proof: &str, over: Option<Over>, roots: &[&str]) -> Witness {
    let roots = roots.iter().map(|root| place(root)).collect();
    Witness { proof: place(proof), over, roots, headers: None, line: 1 }
}

fn targets() -> Targets {
    let sha256 = hex(&Hash::Sha256.digest(&file(&place("stamped.txt").path, 100).unwrap()));
    let files = vec![TargetFile { name: "model.safetensors".into(), sha256: sha256.clone() }];
    Targets {
        repository: Some(place("repo.git").path),
        checkpoints: vec![TargetCheckpoint { step: 7, manifest: sha256, files }],
        ..Targets::default()
    }
}

fn one(entry: Witness) -> Witnessed {
    let mut all = read(&[entry], &targets(), Access { offline: true });
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn stamped() -> Over {
    Over::File(place("stamped.txt"))
}

#[test]
fn tokens_of_every_kind_are_believed_under_their_root() {
    for (proof, root) in [
        ("rsa.tsr", "root.crt"),
        ("rsa.tst", "root.crt"),
        ("rsa.pem", "root.crt"),
        ("p256-sha384.tsr", "root.crt"),
        ("p384-sha512-chain.tsr", "root.crt"),
        ("below-edwards.tsr", "edwards-root.crt"),
        ("pss.tst", "root.crt"),
        ("ess-v1.tsr", "root.crt"),
    ] {
        let seen = one(entry(proof, Some(stamped()), &["strangers-root.crt", root]));
        assert_eq!(seen.verified, Ok(()), "{proof}");
        assert_eq!((seen.trust, seen.how.as_str()), (Trust::Anchored, "its bytes"), "{proof}");
        let span = seen.existed_by.unwrap();
        assert_eq!((span.latest - span.earliest).num_microseconds(), Some(2 * 1_500_100), "{proof}");
        assert_eq!(span.latest.format("%Y").to_string(), "2026");
        assert!(seen.event().unwrap().grade == Trust::Anchored);
    }
    let names = |entry| one(entry).source;
    assert_eq!(
        names(entry("p384-sha512-chain.tsr", Some(stamped()), &["root.crt"])),
        "Fixture p384, under Fixture root (p384-sha512-chain.tsr)"
    );
}

#[test]
fn a_token_is_believed_only_for_what_its_signature_and_chain_say() {
    let why = |proof: &str, roots: &[&str]| {
        let seen = one(entry(proof, Some(stamped()), roots));
        assert_eq!((seen.trust, seen.event()), (Trust::SelfAsserted, None), "{proof}");
        seen.verified.unwrap_err()
    };
    for (proof, roots, word) in [
        ("rsa.tsr", &["strangers-root.crt"][..], "leads to none of the given roots"),
        ("rsa.tsr", &[], "names no root"),
        ("rsa.tsr", &["stamped.txt"], "could not be read"),
        ("expired.tsr", &["root.crt"], "valid from 2020-01-01 to 2020-02-01"),
        ("loose.tst", &["root.crt"], "as critical"),
        ("below-leaf.tst", &["root.crt"], "not that of an authority"),
        ("p384-sha512-chain.tsr", &["edwards-root.crt"], "none of the given roots"),
    ] {
        let refusal = why(proof, roots);
        assert!(matches!(&refusal, Refusal::Unanchored(text) if text.contains(word)), "{proof}: {refusal:?}");
    }
    for (proof, word) in
        [("other-signature.tst", "signature is not that of Fixture rsa"), ("other-time.tst", "another time stamp")]
    {
        let refusal = why(proof, &["root.crt"]);
        assert!(matches!(&refusal, Refusal::Broken(text) if text.contains(word)), "{proof}: {refusal:?}");
    }
    let elsewhere = why("other-imprint.tst", &["root.crt"]);
    let words = "not that of the file stamped.txt; besides, what is signed";
    assert!(matches!(&elsewhere, Refusal::Other(text) if text.contains(words)), "{elsewhere:?}");
    let refusal = why("sha1.tsr", &["root.crt"]);
    assert!(matches!(&refusal, Refusal::Unreadable(text) if text.contains("SHA-1")), "{refusal:?}");
    let other = one(entry("rsa.tsr", Some(Over::File(place("make.sh"))), &["root.crt"]));
    assert!(matches!(&other.verified, Err(Refusal::Other(text)) if text.contains("checkpoint of step 7")), "{other:?}");
}

#[test]
fn what_was_stamped_is_found_by_its_digest() {
    let commit = "48d4f95a86c1a5ac6fe62ff6b2b58a7a2f6ae8cd";
    let commit = git2::Repository::open_bare(place("repo.git").path)
        .unwrap()
        .revparse_single("main")
        .map_or(commit.to_owned(), |object| object.id().to_string());
    for (proof, target, how) in [
        ("commit-text.tsr", Target::Commit(commit.clone()), "its id as text"),
        ("commit-bytes.tsr", Target::Commit(commit.clone()), "its bytes as git shows them"),
        ("commit-binary.tsr", Target::Commit(commit.clone()), "its id as bytes"),
        (
            "tag-bytes.tsr",
            Target::Tag { name: "v1".into(), commit: Some(commit.clone()) },
            "its bytes as git shows them",
        ),
    ] {
        let seen = one(entry(proof, None, &["root.crt"]));
        assert_eq!((seen.target, seen.how.as_str(), &seen.verified), (Some(target), how, &Ok(())), "{proof}");
    }
    let seen = one(entry("rsa.tsr", Some(Over::Checkpoint(7)), &["root.crt"]));
    assert!(seen.verified.is_ok() && matches!(seen.target, Some(Target::Checkpoint { step: 7, .. })));
    let wrong = one(entry("commit-text.tsr", Some(Over::Tag("v2".into())), &["root.crt"]));
    assert!(matches!(wrong.verified, Err(Refusal::Other(_))), "{wrong:?}");
    // The tag v1 is at the commit, so a stamp over the commit is one over the tag.
    let tag = one(entry("commit-text.tsr", Some(Over::Tag("v1".into())), &["root.crt"]));
    assert_eq!(
        (tag.target, tag.verified),
        (Some(Target::Tag { name: "v1".into(), commit: Some(commit.clone()) }), Ok(()))
    );
}

#[test]
fn a_public_proof_leads_to_its_block() {
    let bytes = file(&place("hello-world.txt.ots").path, 10_000).unwrap();
    let proof = ots::read(&bytes).unwrap();
    assert_eq!(proof.digest, Hash::Sha256.digest(b"Hello World!\n"));
    let [Attestation::Bitcoin { height: 358_391, root }] = &proof.attestations[..] else { panic!("{proof:?}") };
    let mut header = [0; 80];
    header[36..68].copy_from_slice(root);
    header[68..72].copy_from_slice(&1_432_827_678_u32.to_le_bytes());
    let headers = [Header::new(358_391, header)];
    let (found, _) = block(&proof, &headers, |_| Ok(1.0)).unwrap();
    assert_eq!(found.interval().latest.to_rfc3339(), "2015-05-28T17:41:18+00:00");
    assert!(matches!(block(&proof, &headers, Header::work), Err(Refusal::Unanchored(_))), "nobody worked for it");
    header[40] ^= 1;
    let refusal = block(&proof, &[Header::new(358_391, header)], |_| Ok(1.0)).unwrap_err();
    assert!(matches!(refusal, Refusal::Broken(_)));
    let seen = one(entry("hello-world.txt.ots", Some(Over::File(place("hello-world.txt"))), &[]));
    assert!(matches!(&seen.verified, Err(Refusal::Unanchored(why)) if why.contains("358391")), "{seen:?}");
    // With the real header it is anchored from one end to the other.
    let over = || Some(Over::File(place("hello-world.txt")));
    let anchored = one(Witness { headers: Some(place("blocks.txt")), ..entry("hello-world.txt.ots", over(), &[]) });
    assert_eq!((anchored.verified, anchored.trust), (Ok(()), Trust::Anchored));
    let span = anchored.existed_by.unwrap();
    assert_eq!(span.latest.to_rfc3339(), "2015-05-28T17:41:18+00:00");
    assert_eq!(span.earliest.to_rfc3339(), "2015-05-28T13:41:18+00:00");
    for (proof, calendars) in [("pending.ots", 1), ("two-calendars.ots", 2)] {
        let seen = one(entry(proof, None, &[]));
        assert!(
            matches!(&seen.verified, Err(Refusal::Pending(why)) if why.matches("https://").count() == calendars),
            "{seen:?}"
        );
    }
}

#[test]
fn damaged_bytes_of_any_kind_are_refused_in_words() {
    for name in ["hello-world.txt.ots", "two-calendars.ots", "rsa.tsr", "pss.tst", "root.crt"] {
        let whole = file(&place(name).path, 10_000).unwrap();
        let parse = |bytes: &[u8]| -> Parsed<bool> {
            if ots::is_proof(&whole) {
                ots::read(bytes).map(|proof| proof.digest == Hash::Sha256.digest(b"Hello World!\n"))
            } else if name == "root.crt" {
                certificate::bundle(bytes)?.iter().try_for_each(|c| certificate::Certificate::read(c).map(|_| ()))?;
                Ok(true)
            } else {
                let root = certificate::bundle(&file(&place("root.crt").path, 10_000).unwrap())?;
                token::read(bytes).map(|token| token.verify(&root).is_ok())
            }
        };
        assert!(parse(&whole).is_ok());
        let (mut cut, mut changed) = (0, 0);
        for at in 0..whole.len() {
            cut += usize::from(parse(&whole[..at]).is_ok());
            let mut other = whole.clone();
            other[at] ^= 1 << (at % 8);
            changed += usize::from(name == "pss.tst" && parse(&other) == Ok(true));
        }
        // A root in PEM may lose its last end of line.
        assert!(cut <= 1, "{name}: {cut}");
        // Bytes outside what is signed: versions, lists of hash functions, the names of unused fields.
        assert!(changed < whole.len() / 20, "{name}: {changed} of {} changed bytes are not seen", whole.len());
    }
    let deep = [&file(&place("pending.ots").path, 10_000).unwrap()[..65], &[0x08; 400][..]].concat();
    assert!(ots::read(&deep).unwrap_err().contains("256 operations"));
    let forks = [&file(&place("pending.ots").path, 10_000).unwrap()[..65], &[0xFF, 0x08].repeat(20_000)[..]].concat();
    assert!(ots::read(&forks).unwrap_err().contains("256"));
}

#[test]
fn answers_say_who_set_the_date() {
    let all = |proof: &str| read(&[entry(proof, None, &[])], &targets(), Access { offline: true });
    let short = |proof: &str| -> Vec<(String, Trust)> {
        all(proof)
            .iter()
            .map(|seen| (seen.existed_by.map_or(String::new(), |t| t.latest.format("%m-%d").to_string()), seen.trust))
            .collect()
    };
    let platform = |day: &str| (day.to_owned(), Trust::Platform);
    assert_eq!(short("hub-model.json"), [platform("08-02"), platform("08-05"), platform("08-05")]);
    let file = &all("hub-model.json")[2];
    assert!(
        matches!(&file.target, Some(Target::Checkpoint { step: 7, file: Some(name) }) if name == "model.safetensors")
    );
    assert_eq!(file.event().unwrap().at.format("%m-%d").to_string(), "08-02");
    assert_eq!(short("hub-tree.json"), [("07-05".to_owned(), Trust::SelfAsserted)]);
    assert_eq!(short("github-repository.json"), [platform("07-01"), platform("08-08")]);
    assert_eq!(short("gitea-repository.json"), [platform("07-01"), platform("08-08")]);
    assert_eq!(short("gitlab-project.json"), [platform("07-01"), platform("08-08")]);
    assert_eq!(short("github-releases.json"), [platform("08-03"), platform("08-03")]);
    assert_eq!(short("gitlab-releases.json"), [platform("08-03"), ("06-01".into(), Trust::SelfAsserted)]);
    let nothing = all("hub-commits.json");
    assert!(matches!(nothing[0].verified, Err(Refusal::Other(_))), "no commit of the case is in it");
    for (bytes, word) in
        [("{}", "no answer"), ("[1]", "list of nothing"), ("{\"siblings\":3}", "no date"), ("[", "no JSON")]
    {
        assert!(document::read(bytes.as_bytes()).unwrap_err().contains(word), "{bytes}");
    }
    let secret = Witness {
        proof: Location { written: "https://me:secret@h.org/a@b?sig=secret".into(), path: PathBuf::new() },
        ..entry("rsa.tsr", None, &[])
    };
    assert_eq!(shown(&secret), "https://h.org/a@b");
    assert!(!format!("{:?}", one(secret)).contains("secret"));
    let live = Witness {
        proof: Location { written: "hf://a/b".into(), path: "hf://a/b".into() },
        ..entry("rsa.tsr", None, &[])
    };
    assert!(matches!(one(live).verified, Err(Refusal::Unreadable(why)) if why.contains("--offline")));
}

#[test]
fn stamps_over_a_commit_and_a_tag_at_it_cover_the_commit() {
    let repository = git2::Repository::open_bare(place("repo.git").path).unwrap();
    let main = repository.revparse_single("main").unwrap().id().to_string();
    let entries = ["commit-text.tsr", "other-time.tst", "tag-bytes.tsr"].map(|proof| entry(proof, None, &["root.crt"]));
    let seen = read(&entries, &targets(), Access { offline: true });
    let covered = existed(&seen, &targets());
    assert!(covered.iter().all(|e| e.what == Covered::Commit(main.clone()) && e.trust == Trust::Anchored));
    assert_eq!(covered.len(), 2, "the broken token covers nothing");
}

#[test]
fn a_checkpoint_is_covered_when_all_its_weights_are() {
    let step = |files: &[&str]| {
        let mut targets = targets();
        let sha256 = targets.checkpoints[0].manifest.clone();
        let other = "0".repeat(64);
        let digest = |name: &str| if name.starts_with("model-1") || name.starts_with("tok") { &sha256 } else { &other };
        targets.checkpoints[0].files =
            files.iter().map(|name| TargetFile { name: (*name).into(), sha256: digest(name).clone() }).collect();
        targets.checkpoints[0].manifest = other.clone();
        let seen = read(&[entry("hub-model.json", None, &[])], &targets, Access::default());
        existed(&seen, &targets)
    };
    let whole = step(&["model-1.safetensors", "config.json"]);
    assert_eq!((whole.len(), &whole[0].what, whole[0].trust), (1, &Covered::Checkpoint(7), Trust::Platform));
    assert_eq!(whole[0].by.latest.to_rfc3339(), "2026-08-05T07:08:09+00:00");
    assert_eq!(step(&["model-1.safetensors", "model-2.safetensors"]), []);
    assert_eq!(step(&["tokenizer.json", "model-2.safetensors"]), []);
    assert_eq!(step(&["tokenizer.json"]), []);
    let targets = targets();
    let seen = read(&[entry("rsa.tsr", None, &["root.crt"])], &targets, Access::default());
    assert_eq!(existed(&seen, &targets).len(), 1);
}

#[test]
fn every_file_that_was_read_is_listed_with_its_digest() {
    let mut shelf = Shelf::default();
    let hello = || Some(Over::File(place("hello-world.txt")));
    let entries = [
        entry("rsa.tsr", Some(stamped()), &["root.crt", "strangers-root.crt"]),
        entry("rsa.tst", Some(stamped()), &["root.crt"]),
        Witness { headers: Some(place("blocks.txt")), ..entry("hello-world.txt.ots", hello(), &[]) },
        entry("hub-model.json", None, &[]),
        entry("gone.tsr", None, &[]),
    ];
    super::read(&entries, &targets(), Access { offline: true }, &mut shelf);
    let all: Vec<(Given, &str)> = shelf.iter().map(|one| (one.given, one.written.as_str())).collect();
    let expected = [
        (Given::Witness, "hello-world.txt.ots"),
        (Given::Witness, "hub-model.json"),
        (Given::Witness, "rsa.tsr"),
        (Given::Witness, "rsa.tst"),
        (Given::Root, "root.crt"),
        (Given::Root, "strangers-root.crt"),
        (Given::Headers, "blocks.txt"),
        (Given::Stamped, "hello-world.txt"),
        (Given::Stamped, "stamped.txt"),
    ];
    assert_eq!(all, expected);
    for one in shelf.iter() {
        let bytes = file(&place(&one.written).path, 1 << 20).unwrap();
        assert_eq!((one.sha256.clone(), one.bytes), (hex(&Hash::Sha256.digest(&bytes)), bytes.len() as u64));
    }
}

#[test]
fn pages_of_a_list_are_one_answer() {
    let page = |digit: char, day: &str| {
        let id: String = std::iter::repeat_n(digit, 40).collect();
        format!(r#"[{{"id":"{id}","title":"t","date":"2026-08-{day}T00:00:00Z"}}]"#)
    };
    let (a, b) = (page('a', "01"), page('b', "02"));
    for text in [format!("{a}{b}"), format!("{a}\n\n{b}\n"), format!("[{a},{b}]")] {
        assert_eq!(document::read(text.as_bytes()).unwrap().facts.len(), 2, "{text}");
    }
    assert_eq!(document::read(a.as_bytes()).unwrap().facts.len(), 1);
    for (text, word) in
        [(format!("{a}{{}}"), "several answers"), (String::new(), "empty"), (format!("{a}["), "no JSON")]
    {
        assert!(document::read(text.as_bytes()).unwrap_err().contains(word), "{text}");
    }
}

/// Writes a value with all lengths of lists open down to a depth, and strings of bytes in two pieces.
fn open_lengths(der: &[u8], depth: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in asn1::pieces(der).unwrap() {
        let tag = piece.whole[0];
        if tag & 0x20 != 0 && depth > 0 {
            out.extend([tag, 0x80]);
            out.extend(open_lengths(piece.value, depth - 1));
            out.extend([0, 0]);
        } else if tag == 0x04 && depth > 0 && piece.value.len() > 100 && piece.value.len() < 0x7f + 100 {
            let (a, b) = piece.value.split_at(100);
            out.extend([0x24, 0x80, 0x04, 100]);
            out.extend(a);
            out.extend([0x04, u8::try_from(b.len()).unwrap()]);
            out.extend(b);
            out.extend([0, 0]);
        } else {
            out.extend(piece.whole);
        }
    }
    out
}

#[test]
fn tokens_with_open_lengths_are_those_with_given_ones() {
    for name in ["rsa.tst", "rsa.tsr", "p256-sha384.tsr"] {
        let der = file(&place(name).path, 1 << 20).unwrap();
        let root = certificate::bundle(&file(&place("root.crt").path, 1 << 20).unwrap()).unwrap();
        for depth in [1, 2, 3, 4, 5, 6, 9] {
            let ber = open_lengths(&der, depth);
            assert_ne!(ber, der);
            let read = token::binary(&ber).unwrap();
            assert!(read == der, "{name} {depth}");
            token::read(&read).unwrap().verify(&root).unwrap();
            for cut in (0..ber.len()).step_by(7) {
                let _ = token::binary(&ber[..cut]);
            }
        }
        assert_eq!(token::binary(&der).unwrap(), der);
    }
    let deep = [0x30, 0x80].repeat(1000);
    assert!(ber::to_der(&deep).unwrap_err().contains("in each other"));
    for bytes in [&b"\x04\x80\x00\x00"[..], b"\x00\x00", b"\x30\x84\xff\xff\xff\xff", b"", b"\x30", b"\x3f\x80"] {
        assert!(ber::to_der(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn keys_on_the_largest_curve_sign_tokens() {
    for name in ["p521-sha512.tsr", "p521-ess-v1.tsr"] {
        let seen = one(entry(name, Some(stamped()), &["p521-root.crt"]));
        assert_eq!((seen.verified, seen.trust), (Ok(()), Trust::Anchored), "{name}");
    }
    // The signer's certificate is not in the token: it is given with the roots.
    let bare = one(entry("p521-bare.tsr", Some(stamped()), &["p521-root.crt"]));
    assert!(
        matches!(&bare.verified, Err(Refusal::Unanchored(why)) if why.contains("neither in the token")),
        "{bare:?}"
    );
    let given = one(entry("p521-bare.tsr", Some(stamped()), &["p521-root.crt", "p521-tsa.crt"]));
    assert_eq!(given.verified, Ok(()));
}
