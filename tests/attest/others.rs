//! Tools that nobody here wrote, both ways. They are installed from the package registry into `target/`; where that cannot
//! be done the test says so loudly, and in CI it fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::{audited, openssl, verify};
use crate::support::{program, run};

/// What is installed. The versions are those that agreed when this was written.
const PACKAGES: &[&str] = &[
    "model-signing==1.1.1",
    "pyopenssl",
    "securesystemslib[crypto]==1.6.0",
    "in-toto-attestation==0.9.3",
    "cyclonedx-python-lib[json-validation]",
    "jsonschema",
    "opentimestamps==0.4.5",
];

/// A Python with the packages; `None` where they cannot be had.
pub fn python() -> Option<PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON
        .get_or_init(|| {
            let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("attest-venv");
            let python = place.join("bin/python");
            let quiet =
                |command: &mut Command| command.stdout(Stdio::null()).status().is_ok_and(|status| status.success());
            let whole = place.join("installed-2");
            let installed = whole.is_file()
                || quiet(Command::new("python3").args(["-m", "venv"]).arg(&place))
                    && quiet(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))
                    && fs::write(&whole, "").is_ok();
            if installed {
                return Some(python);
            }
            assert!(std::env::var_os("SCRATCHPROOF_CI").is_none(), "{PACKAGES:?} could not be installed");
            #[allow(clippy::print_stderr, reason = "what was left out must be seen")]
            {
                eprintln!("NOT TESTED against other tools: {PACKAGES:?} could not be installed with python3 and pip");
            }
            None
        })
        .clone()
}

fn model(folder: &Path) -> PathBuf {
    let model = folder.join("model");
    fs::create_dir_all(model.join("sub/deep")).expect("made");
    for name in ["weights.safetensors", "sub/b", "sub-c", "sub/deep/ü", ".gitignore"] {
        fs::write(model.join(name), name).expect("written");
    }
    model
}

fn model_signing(python: &Path, folder: &Path, words: &[&str]) -> bool {
    let mut command = Command::new(python);
    command.args(["-c", "from model_signing._cli import main; main()"]).args(words).current_dir(folder);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
fn model_signing_verifies_ours_and_we_verify_its() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let model = model(here);
    for curve in ["prime256v1", "secp384r1", "secp521r1"] {
        openssl(here, &format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:{curve} -out key.pem"));
        openssl(here, "pkey -in key.pem -pubout -out key.pub");
        openssl(here, "pkcs8 -topk8 -v2 aes-256-cbc -in key.pem -out locked.pem -passout pass:word");
        let (key, public) = (here.join("locked.pem"), here.join("key.pub"));
        let public = public.to_str().expect("a path");
        let mut sign = program();
        sign.args(["-q", "attest", "--model"]).arg(&model).arg("--key").arg(&key).arg("-o").arg(here.join("ours.sig"));
        let done = run(sign.env("SCRATCHPROOF_KEY_PASSWORD", "word"));
        assert_eq!(done.status, 0, "{}", done.stderr);
        let theirs = |signature: &str| {
            let words = ["verify", "key", "model", "--signature", signature, "--public_key", "key.pub"];
            model_signing(&python, here, &words)
        };
        assert!(theirs("ours.sig"), "{curve}: ours is refused");
        let signed = ["sign", "key", "model", "--private_key", "key.pem", "--signature", "theirs.sig"];
        assert!(model_signing(&python, here, &signed));
        let place = model.to_str().expect("a path");
        for signature in ["ours.sig", "theirs.sig"] {
            let ask = || verify(&here.join(signature), &["--model", place, "--key", public]);
            let done = ask();
            assert_eq!(done.status, 0, "{curve} {signature}: {}{}", done.stdout, done.stderr);
            fs::write(model.join("sub/b"), "other").expect("written");
            let done = ask();
            assert!(done.status == 1 && done.stdout.contains("sub/b"), "{}", done.stdout);
            assert!(!theirs(signature));
            fs::write(model.join("sub/b"), "sub/b").expect("written");
            fs::write(model.join("more"), "x").expect("written");
            assert!(ask().status == 1 && !theirs(signature));
            fs::remove_file(model.join("more")).expect("removed");
        }
    }
}

#[test]
fn certificates_are_agreed_on() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let model = model(here);
    let place = model.to_str().expect("a path");
    fs::write(here.join("leaf.cnf"), "keyUsage=critical,digitalSignature\n").expect("written");
    fs::write(here.join("wrong.cnf"), "keyUsage=critical,keyAgreement\n").expect("written");
    for name in ["root", "other", "leaf"] {
        openssl(here, &format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out {name}.pem"));
    }
    for name in ["root", "other"] {
        openssl(here, &format!("req -new -x509 -key {name}.pem -subj /CN={name} -days 3650 -out {name}.crt"));
    }
    openssl(here, "req -new -key leaf.pem -subj /CN=leaf -out leaf.csr");
    for name in ["leaf", "wrong"] {
        let words = "x509 -req -in leaf.csr -CA root.crt -CAkey root.pem -CAcreateserial -days 30";
        openssl(here, &format!("{words} -extfile {name}.cnf -out {name}.crt"));
    }
    let sign = |certificate: &str| {
        let mut sign = program();
        sign.args(["-q", "attest", "--model"]).arg(&model).arg("--key").arg(here.join("leaf.pem"));
        sign.arg("--certificate").arg(here.join(certificate)).arg("-o").arg(here.join("ours.sig"));
        run(&mut sign)
    };
    assert_eq!(sign("leaf.crt").status, 0);
    let theirs = ["sign", "certificate", "model", "--private_key", "leaf.pem", "--signing_certificate", "leaf.crt"];
    let theirs = [&theirs[..], &["--certificate_chain", "root.crt", "--signature", "theirs.sig"]].concat();
    assert!(model_signing(&python, here, &theirs));
    for signature in ["ours.sig", "theirs.sig"] {
        for (root, status) in [("root.crt", 0), ("other.crt", 1)] {
            let root_path = here.join(root);
            let done =
                verify(&here.join(signature), &["--model", place, "--root", root_path.to_str().expect("a path")]);
            assert_eq!(done.status, status, "{signature} {root}: {}", done.stdout);
            let words = ["verify", "certificate", "model", "--signature", signature, "--certificate_chain", root];
            assert_eq!(model_signing(&python, here, &words), status == 0, "{signature} {root}");
        }
        assert_eq!(verify(&here.join(signature), &["--model", place]).status, 3, "nothing is trusted");
    }
    let wrong = sign("wrong.crt");
    assert!(wrong.status == 2 && wrong.stderr.contains("not for signing"), "{}", wrong.stderr);
    let other = sign("other.crt");
    assert!(other.status == 2 && other.stderr.contains("not that of the private key"), "{}", other.stderr);
}

/// Prints the predicate's type if envelope, signatures and statement hold; signs the payload again with `again.pem`.
const ENVELOPE: &str = r#"
import hashlib, json, sys
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from google.protobuf import json_format
from in_toto_attestation.v1 import statement
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey
envelope = Envelope.from_dict(json.load(open(sys.argv[1])))
keys = []
for path in sys.argv[2:]:
    pem = open(path, "rb").read()
    key = SSlibKey.from_crypto(load_pem_public_key(pem), hashlib.sha256(pem).hexdigest())
    keys.append(key)
assert len(envelope.verify(keys, len(keys))) == len(keys)
parsed = json_format.ParseDict(json.loads(envelope.payload), statement.Statement([], "", {}).pb)
own = statement.Statement.copy_from_pb(parsed)
own.validate()
envelope.signatures.clear()
envelope.sign(CryptoSigner(load_pem_private_key(open("again.pem", "rb").read(), None)))
json.dump(envelope.to_dict(), open("out/theirs.json", "w"))
print(own.pb.predicate_type)
"#;

#[test]
fn securesystemslib_and_in_toto_read_ours_and_we_read_theirs() {
    let Some(python) = python() else { return };
    let (copy, out) = audited();
    let here = copy.path(".");
    openssl(&here, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out second.pem");
    openssl(&here, "pkey -in second.pem -pubout -out second.pub");
    openssl(&here, "genpkey -algorithm ed25519 -out again.pem");
    openssl(&here, "pkey -in again.pem -pubout -out again.pub");
    for key in ["key.pem", "second.pem"] {
        let done = run(program().args(["-q", "attest"]).arg(&out).arg("--key").arg(here.join(key)));
        assert_eq!(done.status, 0, "{}", done.stderr);
    }
    let mut command = Command::new(python);
    command.args(["-c", ENVELOPE, "out/attestation.json", "key.pub", "second.pub"]).current_dir(&here);
    let done = command.output().expect("Python starts");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(said.trim(), "https://github.com/scratchproof/scratchproof/audit/v1");
    let again = here.join("again.pub");
    let done = verify(&out.join("theirs.json"), &["--key", again.to_str().expect("a path")]);
    let signature = done.stdout.lines().find(|line| line.contains("signature")).unwrap_or_default();
    assert!(done.status != 1 && signature.contains("by the key"), "{}{}", done.stdout, done.stderr);
}

const AUTHORITY: &str = "[tsa]
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
serial = serial
crypto_device = builtin
accuracy = secs:1
";

#[test]
fn stamps_of_openssl_are_held_against_file_and_root() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    fs::write(here.join("tsa.cnf"), AUTHORITY).expect("written");
    fs::write(here.join("leaf.cnf"), "extendedKeyUsage=critical,timeStamping\n").expect("written");
    fs::write(here.join("serial"), "01\n").expect("written");
    for name in ["root", "tsa", "other"] {
        openssl(here, &format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out {name}.pem"));
    }
    for name in ["root", "other"] {
        openssl(here, &format!("req -new -x509 -key {name}.pem -subj /CN={name} -days 3650 -out {name}.crt"));
    }
    openssl(here, "req -new -key tsa.pem -subj /CN=tsa -out tsa.csr");
    let words = "x509 -req -in tsa.csr -CA root.crt -CAkey root.pem -CAcreateserial -days 30 -extfile leaf.cnf";
    openssl(here, &format!("{words} -out tsa.crt"));
    let ledger = here.join("ledger.jsonl");
    assert_eq!(run(program().args(["-q", "witness", "init"]).arg(&ledger)).status, 0);
    assert_eq!(run(program().args(["-q", "witness", "close"]).arg(&ledger)).status, 0);
    openssl(here, "ts -query -data ledger.jsonl -sha256 -cert -out query.tsq");
    openssl(
        here,
        "ts -reply -config tsa.cnf -section tsa -queryfile query.tsq -signer tsa.crt -inkey tsa.pem -out ledger.jsonl.tsr",
    );
    let ask = |roots: &[&str]| {
        let places: Vec<String> = roots.iter().map(|root| here.join(root).display().to_string()).collect();
        let words: Vec<&str> = places.iter().flat_map(|place| ["--root", place.as_str()]).collect();
        verify(&ledger, &words)
    };
    let good = ask(&["root.crt"]);
    assert!(good.status == 0 && good.stdout.contains("stamped at"), "{}{}", good.stdout, good.stderr);
    assert_eq!(ask(&[]).status, 3);
    assert_eq!(ask(&["other.crt"]).status, 3);
    openssl(here, "ts -query -data serial -sha256 -cert -out query.tsq");
    openssl(
        here,
        "ts -reply -config tsa.cnf -section tsa -queryfile query.tsq -signer tsa.crt -inkey tsa.pem -out ledger.jsonl.tsr",
    );
    let other = ask(&["root.crt"]);
    assert!(other.status == 1 && other.stdout.contains("over something else"), "{}", other.stdout);
}

#[test]
fn the_forms_of_an_audit_are_valid_by_their_own_schemas() {
    let Some(python) = python() else { return };
    let (copy, out) = audited();
    let form = |name: &str| {
        let done = run(program().arg("report").arg(&out).args(["--as", name]));
        let path = copy.path(name);
        fs::write(&path, &done.stdout).expect("written");
        (path, done.stdout)
    };
    let (statement, bill) = (form("statement").0, form("cyclonedx").0);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(python);
    command.arg(here.join("tests/attest/forms.py")).arg(here.join("docs/formats/audit-predicate.schema.json"));
    let done = command.args([&statement, &bill]).output().expect("Python starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let result: serde_json::Value = serde_json::from_str(&form("svr").1).expect("JSON");
    let outcome = format!("SCRATCHPROOF_FROM_SCRATCH_{}", outcome(&out).to_uppercase());
    let properties = result["predicate"]["properties"].as_array().expect("properties");
    assert!(properties.iter().any(|own| *own == outcome.as_str()), "{result}");
    assert!(form("model-card").1.starts_with("model-index:\n") && form("eu-form").1.contains(&outcome_words(&out)));
}

fn outcome(out: &Path) -> String {
    let text = fs::read_to_string(out.join("report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    report["verdict"]["outcome"].as_str().expect("an outcome").to_owned()
}

fn outcome_words(out: &Path) -> String {
    format!("Result: {}", outcome(out))
}
