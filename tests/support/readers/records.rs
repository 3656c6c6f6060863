//! What the readers of logs, repositories, proofs, reports and of the tool's own files say of a file.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use scratchproof_attest::dsse::Envelope;
use scratchproof_attest::item::Items;
use scratchproof_attest::keys::Public;
use scratchproof_attest::{folder, ledger, model, statement, strict};
use scratchproof_case::Case;
use scratchproof_fingerprint::Fingerprint;
use scratchproof_record::git::Options;
use scratchproof_record::settings::{self, Language};
use scratchproof_record::{Repository, Targets, listed::Shelf, logs, service, witness};
use scratchproof_source::{Access, Network, Service};
use scratchproof_timeline::Register;

use super::server::server;
use super::sha1::sha1;
use super::table::Reader;

/// What one of these readers says, in a form in which two answers can be compared; nothing of the others.
pub fn answer(reader: Reader, path: &Path) -> Option<String> {
    let up = |levels: usize| path.ancestors().nth(levels).expect("a folder");
    let bytes = || fs::read(path).expect("a file");
    Some(match reader {
        Reader::Log(levels) => format!("{:?}", logs::open(up(levels)).map_err(|error| error.to_string())),
        Reader::Proof => proof(path),
        Reader::Repository(levels) => format!("{:?}", repository(up(levels))),
        Reader::Commit => commit(&bytes(), up(1)),
        Reader::Bundle => format!("{:?}", repository(path)),
        Reader::Settings => {
            let name = path.file_name().expect("a name").to_string_lossy();
            format!("{:?}", settings::read(&bytes(), Language::of(&name, &[]).expect("a language")))
        }
        Reader::Service => online(bytes()),
        Reader::Report => report(up(1)),
        Reader::Audit(levels) => {
            let dir = up(levels);
            let gathered = scratchproof_store::gathered(dir).map_err(|error| error.to_string());
            let checked = folder::check(dir, &folder::Again::default()).map(|items| told(&items));
            let checked = checked.map_err(|error| error.to_string());
            let stated = statement::of(dir).map(|value| value.to_string().len()).map_err(|error| error.to_string());
            format!("{} {gathered:?} {checked:?} {stated:?}", report(dir))
        }
        Reader::Ledger => {
            let mut items = Items::default();
            let read = ledger::verify(path, &[], &mut items).map_err(|error| error.to_string());
            format!("{} {read:?} {}", ledger::is(&bytes()), told(&items))
        }
        Reader::Envelope => envelope(&bytes()),
        Reader::Signature => match model::Signed::read(&bytes()) {
            Err(error) => error.to_string(),
            Ok(signed) => {
                let mut items = Items::default();
                signed.signature(&[], &[], &mut items);
                let files = signed.files(up(1), path, &mut items).map_err(|error| error.to_string());
                format!("{files:?} {}", told(&items))
            }
        },
        Reader::Key => match Public::read(&bytes()) {
            Err(error) => error.to_string(),
            Ok(key) => format!("{} {}", key.id(), key.verifies(b"message", b"signature")),
        },
        Reader::Fingerprint => match Fingerprint::from_bytes(bytes()) {
            Err(error) => error.to_string(),
            Ok(read) => {
                // What is written again is read as it was.
                let again = read.to_bytes().and_then(Fingerprint::from_bytes);
                assert!(again.as_ref().is_ok_and(|again| *again == read), "written and read it is another");
                format!("{:?}", read.catalogue)
            }
        },
        Reader::Register => {
            let text = String::from_utf8_lossy(&bytes()).into_owned();
            match Register::parse(&text) {
                Err(error) => error.to_string(),
                Ok(register) => format!("{:?}", register.find("gpt2", "hf://openai-community/gpt2")),
            }
        }
        _ => return None,
    })
}

fn told(items: &Items) -> String {
    serde_json::to_string(items.all()).expect("JSON")
}

fn repository(path: &Path) -> Result<String, String> {
    let options = Options { patience: Duration::from_secs(5), threads: 2, ..Options::default() };
    let read = Repository::read(path, &options).map_err(|error| error.to_string())?;
    Ok(format!("{:?} {:?} {:?} {:?}", read.commits, read.settings, read.notes, read.traces))
}

/// Writes a commit into a repository of its own, as the one that its branch is on.
fn commit(bytes: &[u8], folder: &Path) -> String {
    let root = folder.join("repo.git");
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(root.join("refs/heads")).expect("a folder");
    fs::write(root.join("HEAD"), "ref: refs/heads/main\n").expect("written");
    fs::write(root.join("config"), "[core]\n\trepositoryformatversion = 0\n\tbare = true\n").expect("written");
    let write = |kind: &str, bytes: &[u8]| {
        let object = [format!("{kind} {}\0", bytes.len()).as_bytes(), bytes].concat();
        let sum = sha1(&mut &object[..]).expect("bytes");
        let name = sum.iter().fold(String::new(), |name, byte| format!("{name}{byte:02x}"));
        let place = root.join("objects").join(&name[..2]);
        fs::create_dir_all(&place).expect("a folder");
        let file = fs::File::create(place.join(&name[2..])).expect("a file");
        let mut packed = ZlibEncoder::new(file, Compression::fast());
        packed.write_all(&object).and_then(|()| packed.finish()).expect("written");
        name
    };
    write("tree", b"");
    let name = write("commit", bytes);
    fs::write(root.join("refs/heads/main"), name + "\n").expect("written");
    format!("{:?}", repository(&root))
}

fn proof(path: &Path) -> String {
    let case = path.with_file_name("case.toml");
    let name = path.file_name().expect("a name").to_string_lossy();
    let entry = match path.extension().and_then(|end| end.to_str()) {
        Some("crt") => format!("proof = \"p521-ess-v1.tsr\"\nroots = [\"{name}\"]"),
        Some("txt") => format!("proof = \"hello-world.txt.ots\"\nheaders = \"{name}\""),
        _ => format!("proof = \"{name}\""),
    };
    let text = format!("schema = 1\n[subject]\ncheckpoints = \"c/{{step}}\"\n[[witness]]\n{entry}\n");
    fs::write(&case, text).expect("written");
    let case = Case::read_record(&case).expect("a case");
    let mut shelf = Shelf::default();
    let seen = witness::read(&case.witnesses, &Targets::default(), Access { offline: true }, &mut shelf);
    format!("{seen:?} {shelf:?}")
}

fn report(folder: &Path) -> String {
    format!("{:?}", scratchproof_report::read::read(folder).map_err(|error| error.to_string()))
}

fn envelope(bytes: &[u8]) -> String {
    let read = match Envelope::read(bytes) {
        Err(error) => return error.to_string(),
        Ok(read) => read,
    };
    // What is written again is read as it was.
    let again = Envelope::read(read.to_json().as_bytes());
    assert!(again.as_ref().is_ok_and(|again| *again == read), "written and read it is another");
    let mut items = Items::default();
    let held = folder::attestation(&read, &[], None, &mut items).map_err(|error| error.to_string());
    let differs = strict(bytes).map(|value| statement::differences(&value, &value)).unwrap_or_default();
    format!("{held:?} {differs:?} {}", told(&items))
}

/// A run of a service that answers with these lines: the run, rows of history, of metrics, a page, a file.
fn online(bytes: Vec<u8>) -> String {
    let base = server(move |_, question| {
        let which = match question {
            _ if question.contains("history(") => 1,
            _ if question.contains("events(") => 2,
            _ if question.contains("page:") => 3,
            "" => 4,
            _ => 0,
        };
        bytes.split(|byte| *byte == b'\n').nth(which).unwrap_or_default().to_vec()
    });
    let service = Service::new(&Network::shared(), base, "the test", None);
    let run = service.and_then(|service| service::open_at(service, "wandb://lab/scratch/zlqqxshh"));
    // A server has another port in every run.
    format!("{:?}", run.map_err(|error| error.to_string())).replace(base, "service")
}
