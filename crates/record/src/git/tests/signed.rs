//! Signatures that git, ssh-keygen and gpg made (`tests/data/git/make.sh`), and what those say of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use git2::{ObjectType, Oid};

use super::super::{Keys, SignatureKind, Validity};
use super::{Options, Repository};

const SSH: &[u8] = include_bytes!("../../../../../tests/data/git/ssh.bundle");
const PGP: &[u8] = include_bytes!("../../../../../tests/data/git/pgp.bundle");
const ALLOWED: &str = include_str!("../../../../../tests/data/git/allowed_signers");
const KEYS_ASC: &[u8] = include_bytes!("../../../../../tests/data/git/keys.asc");
const KEYS_GPG: &[u8] = include_bytes!("../../../../../tests/data/git/keys.gpg");

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn read(&self, bundle: &[u8], allowed: Option<&str>, keys: &[&[u8]]) -> Repository {
        let bundle = self.file("b", bundle);
        let keys = keys.iter().enumerate().map(|(n, key)| self.file(&format!("k{n}"), key)).collect();
        let allowed_signers = allowed.map(|text| self.file("allowed", text));
        Repository::read(&bundle, &Options { allowed_signers, keys, ..Options::default() }).unwrap()
    }
}

/// What came out, by the first line of the commit or the name of the tag.
fn results(facts: &Repository) -> BTreeMap<String, String> {
    let name = |signature: &super::super::Signature| match &signature.tag {
        Some(tag) => tag.clone(),
        None => facts.commits.iter().find(|c| c.id == signature.object).unwrap().summary.replace("signed by ", ""),
    };
    let words = |validity: &Validity| match validity {
        Validity::Good(who) => format!("good {who}"),
        Validity::Refused(why) => format!("refused: {why}"),
        Validity::Bad => "bad".into(),
        Validity::UnknownKey(_) => "unknown".into(),
        Validity::Unverified(why) => format!("unverified: {why}"),
    };
    facts.signatures.iter().map(|signature| (name(signature), words(&signature.validity))).collect()
}

fn expect(found: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (name, start) in expected {
        assert!(found[*name].starts_with(start), "{name}: {} is not {start}", found[*name]);
    }
    assert_eq!(found.len(), expected.len(), "{found:?}");
}

#[test]
fn ssh_signatures_are_judged_as_ssh_keygen_does() {
    let facts = Folder::new().read(SSH, Some(ALLOWED), &[]);
    assert_eq!(facts.commits.len(), 6);
    expect(
        &results(&facts),
        &[
            ("ann", "good ann@example.org"),
            ("bob", "good bob@example.org"),
            ("old", "refused: the key was no longer valid"),
            ("files", "refused: the allowed signers do not let this key sign for git"),
            ("stranger", "unknown"),
            ("v1", "good ann@example.org"),
            ("v2", "unknown"),
        ],
    );
    assert_eq!(facts.notes, [""; 0]);
    assert_eq!(facts.commits.iter().filter(|commit| commit.signature.is_none()).count(), 1);
    // Without keys nothing is known but that they are signed.
    let bare = Folder::new().read(SSH, None, &[]);
    assert!(
        bare.signatures.iter().all(|s| matches!(s.validity, Validity::UnknownKey(_)) && s.kind == SignatureKind::Ssh)
    );
}

/// Keys and certificates of every kind, held against what ssh-keygen said of them (`tests/data/git/sshsig/README.md`).
#[test]
fn certificates_and_other_keys_are_judged_as_ssh_keygen_does() {
    const AT: i64 = 1_785_542_400;
    let folder = PathBuf::from(file!()).ancestors().nth(5).unwrap().join("tests/data/git/sshsig");
    let folder = if folder.exists() {
        folder
    } else {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("tests/data/git/sshsig")
    };
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let keys = Keys::read(Some(&folder.join("allowed")), &[]).unwrap();
    assert_eq!((keys.notes.len(), keys.files.iter().count()), (0, 1));
    let check =
        |name: &str, signed: &[u8], at: i64| keys.check(SignatureKind::Ssh, &read(&format!("{name}.sig")), signed, at);
    let message = read("msg");
    for (name, who) in [
        ("good", "ann@example.org"),
        ("forever", "ann@example.org"),
        ("p521", "pp@example.org"),
        ("rsa", "rr@example.org"),
        ("sk", "sk@example.org"),
        ("skquiet", "sk@example.org"),
    ] {
        assert_eq!(check(name, &message, AT), Validity::Good(who.into()), "{name}");
        assert_eq!(check(name, b"other", AT), Validity::Bad, "{name}");
    }
    for (name, word) in [
        ("expired", "no longer valid"),
        ("otherp", "none of the names"),
        ("nop", "none of the names"),
        ("host", "that of a host"),
        ("file", "another purpose"),
    ] {
        let validity = check(name, &message, AT);
        assert!(matches!(&validity, Validity::Refused(why) if why.contains(word)), "{name}: {validity:?}");
    }
    for name in ["foreignca", "ca"] {
        assert!(matches!(check(name, &message, AT), Validity::UnknownKey(_)), "{name}");
    }
    // The times of the certificate and of the line: 1 July to 1 December 2026; all of 2026.
    for (name, at, word) in [
        ("good", AT - 60 * 86_400, "not valid yet"),
        ("good", AT + 200 * 86_400, "no longer valid"),
        ("rsa", AT - 300 * 86_400, "not valid yet"),
        ("rsa", AT + 300 * 86_400, "no longer valid"),
    ] {
        assert!(matches!(check(name, &message, at), Validity::Refused(why) if why.contains(word)), "{name} {at}");
    }
    assert_eq!(check("forever", &message, AT + 20_000 * 86_400), Validity::Good("ann@example.org".into()));
    // Damage anywhere in a certificate or its signature: never good.
    let text = String::from_utf8(read("good.sig")).unwrap();
    for at in 40..text.len() - 40 {
        let mut other = text.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let validity = keys.check(SignatureKind::Ssh, &other, &message, AT);
        assert!(other == text.as_bytes() || !matches!(validity, Validity::Good(_)), "{at}: {validity:?}");
    }
}

#[test]
fn openpgp_signatures_are_judged_by_the_key_and_the_day() {
    let facts = Folder::new().read(PGP, None, &[KEYS_ASC, KEYS_GPG]);
    expect(
        &results(&facts),
        &[
            ("ann", "good ann <ann@example.org>"),
            ("bob", "good bob <bob@example.org>"),
            ("the subkey of bob", "good bob <bob@example.org>"),
            ("lost", "refused: the key of lost <lost@example.org> is revoked"),
            // Retired a day later, which says nothing against what it signed before.
            ("retired, before", "good retired"),
            ("stranger", "unknown"),
            ("short, in time", "good short"),
            ("short, too late", "refused: the key of short <short@example.org> had expired"),
            ("v1", "good ann"),
        ],
    );
    let other = Folder::new().read(PGP, None, &[KEYS_GPG]);
    assert_eq!(results(&other)["ann"], "unknown");
}

/// Key and signature of version 6, the samples of RFC 9580, A.3 and A.6.
#[test]
fn signatures_of_version_six_are_verified() {
    const KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----

xioGY4d/4xsAAAAg+U2nu0jWCmHlZ3BqZYfQMxmZu52JGggkLq2EVD34laPCsQYf
GwoAAABCBYJjh3/jAwsJBwUVCg4IDAIWAAKbAwIeCSIhBssYbE8GCaaX5NUt+mxy
KwwfHifBilZwj2Ul7Ce62azJBScJAgcCAAAAAK0oIBA+LX0ifsDm185Ecds2v8lw
gyU2kCcUmKfvBXbAf6rhRYWzuQOwEn7E/aLwIwRaLsdry0+VcallHhSu4RN6HWaE
QsiPlR4zxP/TP7mhfVEe7XWPxtnMUMtf15OyA51YBM4qBmOHf+MZAAAAIIaTJINn
+eUBXbki+PSAld2nhJh/LVmFsS+60WyvXkQ1wpsGGBsKAAAALAWCY4d/4wKbDCIh
BssYbE8GCaaX5NUt+mxyKwwfHifBilZwj2Ul7Ce62azJAAAAAAQBIKbpGG2dWTX8
j+VjFM21J0hqWlEg+bdiojWnKfA5AQpWUWtnNwDEM0g12vYxoWM8Y81W+bHBw805
I8kWVkXU6vFOi+HWvv/ira7ofJu16NnoUkhclkUrk0mXubZvyl4GBg==
-----END PGP PUBLIC KEY BLOCK-----
";
    const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----

wpgGARsKAAAAKQWCY5ijYyIhBssYbE8GCaaX5NUt+mxyKwwfHifBilZwj2Ul7Ce6
2azJAAAAAGk2IHZJX1AhiJD39eLuPBgiUU9wUA9VHYblySHkBONKU/usJ9BvuAqo
/FvLFuGWMbKAdA+epq7V4HOtAPlBWmU8QOd6aud+aSunHQaaEJ+iTFjP2OMW0KBr
NK2ay45cX1IVAQ==
-----END PGP SIGNATURE-----
";
    let folder = Folder::new();
    let keys = Keys::read(None, &[folder.file("v6", KEY)]).unwrap();
    let check = |text: &str| keys.check(SignatureKind::OpenPgp, SIGNATURE.as_bytes(), text.as_bytes(), 0);
    let text = "What we need from the grocery store:\r\n\r\n- tofu\r\n- vegetables\r\n- noodles\r\n";
    // Nobody's name stands in the key, so its fingerprint does.
    assert_eq!(check(text), Validity::Good("cb186c4f0609a697e4d52dfa6c722b0c1f1e27c18a56708f6525ec27bad9acc9".into()));
    assert_eq!(check(&text.replace("tofu", "cake")), Validity::Bad);
}

#[test]
fn what_was_altered_fits_no_signature() {
    for (bundle, allowed, keys) in [(SSH, Some(ALLOWED), &[][..]), (PGP, None, &[KEYS_ASC][..])] {
        let folder = Folder::new();
        let facts = folder.read(bundle, allowed, keys);
        let good =
            facts.signatures.iter().find(|s| matches!(s.validity, Validity::Good(_)) && s.tag.is_none()).unwrap();
        let unpacked = super::super::bundle::open(&folder.file("b", bundle), &super::super::Pulse::default()).unwrap();
        let from = git2::Repository::open_bare(&unpacked.folder.0).unwrap();
        let content = from.odb().unwrap().read(Oid::from_str(&good.object).unwrap()).unwrap().data().to_vec();
        let text = String::from_utf8(content).unwrap();
        for (was, is) in [("Ann <ann", "Eve <ann"), ("\n\nsigned", "\n\nSigned"), ("+0000", "+0100")] {
            let altered = text.replacen(was, is, 1);
            assert_ne!(altered, text);
            let made = git2::Repository::init_bare(folder.0.path().join(format!("r{}", was.len()))).unwrap();
            let odb = made.odb().unwrap();
            let theirs = from.odb().unwrap();
            theirs
                .foreach(|id| {
                    let object = theirs.read(*id).unwrap();
                    odb.write(object.kind(), object.data()).is_ok()
                })
                .unwrap();
            let id = odb.write(ObjectType::Commit, altered.as_bytes()).unwrap();
            made.reference("refs/heads/main", id, true, "").unwrap();
            let allowed_signers = allowed.map(|text| folder.file("allowed", text));
            let keys = keys.iter().map(|key| folder.file("k", key)).collect();
            let options = Options { allowed_signers, keys, ..Options::default() };
            let facts = Repository::read(made.path(), &options).unwrap();
            let of = |id: &str| &facts.signatures.iter().find(|signature| signature.object == id).unwrap().validity;
            assert_eq!(of(&id.to_string()), &Validity::Bad, "{was}");
        }
    }
}

#[test]
fn other_signatures_are_named_and_broken_ones_refused() {
    let keys = Keys::default();
    let check = |text: &str| keys.check(SignatureKind::of(text.as_bytes()), text.as_bytes(), b"", 0);
    for text in [
        "-----BEGIN SIGNED MESSAGE-----\nx",
        "-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQ==\n-----END SSH SIGNATURE-----",
        "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----",
        "nonsense",
    ] {
        assert!(matches!(check(text), Validity::Unverified(_)), "{text}: {:?}", check(text));
    }
    let folder = Folder::new();
    let (none, junk) = (folder.file("none", "# nobody\n"), folder.file("junk", b"\x99\x01\x00junk"));
    assert!(Keys::read(Some(&none), &[]).unwrap_err().to_string().contains("no signer that can be used"));
    assert!(Keys::read(None, &[junk]).unwrap_err().to_string().contains("no OpenPGP public key"));
    assert!(Keys::read(Some(&folder.0.path().join("gone")), &[]).unwrap_err().is_io());
}

#[test]
fn every_flip_of_a_signed_bundle_ends_in_an_answer() {
    let folder = Folder::new();
    let allowed = folder.file("allowed", ALLOWED);
    for place in (0..SSH.len()).step_by(37) {
        let mut bytes = SSH.to_vec();
        bytes[place] ^= 0x20;
        let path = folder.file("flipped", &bytes);
        let options = Options { allowed_signers: Some(allowed.clone()), ..Options::default() };
        if let Ok(facts) = Repository::read(&path, &options) {
            let good = facts.signatures.iter().filter(|s| matches!(s.validity, Validity::Good(_))).count();
            assert!(good <= 3, "byte {place}");
        }
    }
}
