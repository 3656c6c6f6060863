//! `attest` and `verify`: files in and out, and the audit run again where that is wanted.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use scratchproof::attest::dsse::{self, Envelope};
use scratchproof::attest::folder::{self as check, Again};
use scratchproof::attest::item::{Items, Standing};
use scratchproof::attest::keys::{Public, Signer};
use scratchproof::attest::model::{self, Signed};
use scratchproof::attest::reveal::Reveal;
use scratchproof::attest::{FILE, clocks, export, ledger, stamp, statement, strict};
use scratchproof::audit::choice::{recall, remember};
use scratchproof::audit::expand::expand;
use scratchproof::audit::{Asked, again, audit_into, timeline};
use scratchproof::case::Case;
use scratchproof::error::{Context, Error, Result};
use scratchproof::folder::{Folder, alone};
use scratchproof::measurements::KERNEL_VERSION;
use scratchproof::record::witness::certificate::bundle;
use scratchproof::report::folder::MEASUREMENTS;
use scratchproof::report::text::{self as letters, printable};
use scratchproof::report::{folder, json, timeline as record};
use scratchproof::source::plain;
use scratchproof::store::{case_of, gathered};
use scratchproof::texts::{Language, Text, term, text};

use super::arguments::{Arguments, Form, Format};
use super::{access, language, print, reporter, say};

/// Keys and certificates are short.
const SHORT: u64 = 1 << 20;

/// A file of a folder's measurements, at most.
const LONGEST: u64 = scratchproof::folder::LONGEST;

/// What `verify` is given.
pub struct Given<'a> {
    pub keys: &'a [PathBuf],
    pub roots: &'a [PathBuf],
    pub model: Option<&'a Path>,
    pub ledger: Option<&'a Path>,
    pub case: Option<&'a Path>,
    pub recompute: bool,
}

/// The private key of a file.
pub fn signer(key: &Path, password: Option<&Path>) -> Result<Signer> {
    let password = match password {
        Some(file) => {
            let bytes = plain::read(file, SHORT)?;
            let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
            Some(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
        }
        None => std::env::var_os("SCRATCHPROOF_KEY_PASSWORD").map(std::ffi::OsString::into_encoded_bytes),
    };
    Signer::read(&plain::read(key, SHORT)?, password.as_deref()).context(|| key.display().to_string())
}

/// Signs a model's folder.
pub fn model(
    arguments: &Arguments,
    model: &Path,
    signer: &Signer,
    certificates: &[PathBuf],
    output: Option<&Path>,
) -> Result<u8> {
    let beside = || if model.is_dir() { model.join("model.sig") } else { model.with_added_extension("sig") };
    let file = output.map_or_else(beside, Path::to_owned);
    let certificates = certificates.iter().map(|path| plain::read(path, SHORT)).collect::<Result<Vec<_>>>()?;
    let signed = model::sign(model, &file, signer, &certificates)?;
    alone(&file, signed.as_bytes())?;
    written(arguments, &file);
    Ok(0)
}

/// Signs a finished audit. An attestation of the same audit that is there gets one more signature.
pub fn audit(arguments: &Arguments, dir: &Path, signer: &Signer, output: Option<&Path>) -> Result<u8> {
    if !dir.join("report.json").is_file() {
        return Err(Error::usage(text!("error-cli/attest/not-audited", dir = dir.display())));
    }
    let file = output.map_or_else(|| dir.join(FILE), Path::to_owned);
    // An audit that contradicts itself, or what its own measurements give, is not signed.
    let given = Given { keys: &[], roots: &[], model: None, ledger: None, case: None, recompute: false };
    let items = check::check(dir, &anew(arguments, dir, &given, false)?)?;
    if items.status() == 1 {
        show(arguments, &items)?;
        return Err(Error::input(text!("error-cli/attest/contradicts-itself-not-signed", dir = dir.display())));
    }
    let payload = serde_json::to_vec(&statement::of(dir)?).map_err(|cause| Error::input(cause.to_string()))?;
    let mut envelope = match plain::read(&file, dsse::LONGEST) {
        Err(_) if fs::symlink_metadata(&file).is_err() => Envelope::around(&payload),
        bytes => {
            let there = Envelope::read(&bytes?).context(|| file.display().to_string())?;
            if there.payload()? != payload {
                return Err(Error::usage(text!(
                    "error-cli/attest/attests-something-else-move",
                    file = file.display(),
                    dir = dir.display()
                )));
            }
            there
        }
    };
    envelope.sign(signer, true)?;
    alone(&file, envelope.to_json().as_bytes())?;
    written(arguments, &file);
    Ok(0)
}

/// Prints a finished audit in a form that others read. The exit status is that of the audit.
pub fn export(dir: &Path, form: Form) -> Result<u8> {
    let made = statement::of(dir)?;
    let pretty = |value: &serde_json::Value| letters::json(serde_json::to_string_pretty(value).unwrap_or_default());
    print(&match form {
        Form::Statement => pretty(&made),
        Form::Svr => pretty(&export::svr(&made, &export::now())),
        Form::Cyclonedx => {
            let report = strict(&plain::read(&dir.join("report.json"), scratchproof::report::read::LONGEST)?)
                .context(|| "report.json")?;
            pretty(&export::cyclonedx(&made, &report))
        }
        // Strings of YAML have the escapes of JSON.
        Form::ModelCard => letters::json(export::model_card(&made)),
        Form::Eu => export::eu_form(&made),
    })?;
    Ok(match made["predicate"]["verdict"]["outcome"].as_str() {
        Some("confirmed") => 0,
        Some("refuted") => 1,
        _ => 3,
    })
}

fn written(arguments: &Arguments, file: &Path) {
    if !arguments.quiet {
        say(&format!("written: {}", file.display()));
    }
}

/// Checks whatever the path is.
pub fn verify(arguments: &Arguments, path: &Path, given: &Given) -> Result<u8> {
    let keys =
        given.keys.iter().map(|path| Public::read(&plain::read(path, SHORT)?).context(|| path.display().to_string()));
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let mut roots = Vec::new();
    for path in given.roots {
        let read = bundle(&plain::read(path, SHORT)?);
        roots.extend(read.map_err(|why| Error::usage(format!("{}: {why}", path.display())))?);
    }
    let mut items = Items::default();
    stamps(path, &roots, &mut items)?;
    if path.is_dir() {
        let signature = path.join("model.sig");
        let audited = fs::symlink_metadata(path.join("report.json")).is_ok();
        if !audited && fs::symlink_metadata(&signature).is_err() {
            return Err(Error::usage(text!("error-cli/attest/holds-neither-report-json", path = path.display())));
        }
        if audited {
            dir(arguments, path, given, &keys, &mut items)?;
        } else {
            signed(&signature, given.model.unwrap_or(path), &keys, &roots, &mut items)?;
        }
    } else {
        let mut head = Vec::new();
        let opened = plain::open(path).map_err(|cause| Error::io(path.display(), cause))?;
        opened.take(SHORT * 4).read_to_end(&mut head).map_err(|cause| Error::io(path.display(), cause))?;
        if ledger::is(&head) {
            ledger::verify(path, &keys, &mut items)?;
            clocks::verify(path, &roots, &mut items)?;
            show(arguments, &items)?;
            return Ok(items.status());
        }
        let bytes = plain::read(path, dsse::LONGEST)?;
        let place = || path.display().to_string();
        let value = strict(&bytes).context(|| none_of(path))?;
        if Reveal::is(&value) {
            let published = |ledger: &Path| ledger::verify(ledger, &keys, &mut items);
            let published = given.ledger.map(published).transpose()?;
            let reveal = Reveal::read(value).context(place)?;
            reveal.verify(published.as_deref(), given.model, &mut items)?;
        } else if Signed::is(&value) {
            let beside = path.parent().filter(|own| !own.as_os_str().is_empty()).unwrap_or(Path::new("."));
            signed(path, given.model.unwrap_or(beside), &keys, &roots, &mut items)?;
        } else {
            let envelope = Envelope::from_value(value).context(|| none_of(path))?;
            let beside = path.parent().filter(|own| !own.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let beside = Some(beside).filter(|dir| dir.join("report.json").exists());
            check::attestation(&envelope, &keys, beside, &mut items).context(place)?;
            if let Some(dir) = beside {
                items.append(check::check(dir, &anew(arguments, dir, given, true)?)?);
            }
        }
    }
    show(arguments, &items)?;
    Ok(items.status())
}

/// What a path is not that could be verified.
fn none_of(path: &Path) -> Text {
    text!("error-cli/attest/none-of", path = path.display())
}

/// Stamps beside what is verified: `FILE.tsr` over the file, of a folder over its attestation, signature or report.
fn stamps(path: &Path, roots: &[Vec<u8>], items: &mut Items) -> Result<()> {
    let files = if path.is_dir() {
        [FILE, "model.sig", "report.json"].map(|name| path.join(name)).to_vec()
    } else {
        vec![path.to_owned()]
    };
    for file in files {
        let beside = file.with_added_extension("tsr");
        if fs::symlink_metadata(&beside).is_ok() && file.is_file() {
            stamp::verify(&beside, &plain::read(&file, LONGEST)?, roots, items)?;
        }
    }
    Ok(())
}

fn signed(file: &Path, model: &Path, keys: &[Public], roots: &[Vec<u8>], items: &mut Items) -> Result<()> {
    let signed = Signed::read(&plain::read(file, dsse::LONGEST)?).context(|| file.display().to_string())?;
    signed.signature(keys, roots, items);
    signed.files(model, file, items)
}

fn dir(arguments: &Arguments, dir: &Path, given: &Given, keys: &[Public], items: &mut Items) -> Result<()> {
    let file = dir.join(FILE);
    if fs::symlink_metadata(&file).is_ok() {
        let envelope = Envelope::read(&plain::read(&file, dsse::LONGEST)?).context(|| file.display().to_string())?;
        check::attestation(&envelope, keys, Some(dir), items).context(|| file.display().to_string())?;
    } else if !keys.is_empty() {
        items.contradicts(text!("attest/signature/none", name = FILE));
    }
    items.append(check::check(dir, &anew(arguments, dir, given, true)?)?);
    Ok(())
}

/// What is made again of a folder: judged from its measurements, and with `--recompute` audited; with `look` the models that are
/// at hand are digested.
fn anew(arguments: &Arguments, dir: &Path, given: &Given, look: bool) -> Result<Again> {
    let mut made = Again::default();
    let then = check::version(dir)?;
    let now = env!("CARGO_PKG_VERSION");
    let refuse = |why: Text| {
        let recomputed = given.recompute.then(|| Err(why.clone()));
        Ok(Again { judged: Some(Err(why)), recomputed, models: Vec::new() })
    };
    if then != now {
        return refuse(text!("attest/judged/version", then, now));
    }
    let Some(path) = given.case.map(Path::to_owned).or_else(|| case_of(dir)) else {
        return refuse(text!("attest/judged/no-case"));
    };
    let failed = |why: &Error| text!("attest/judged/failed", why = why.to_string());
    let report = strict(&plain::read(&dir.join("report.json"), scratchproof::report::read::LONGEST)?)
        .context(|| "report.json")?;
    let temporary =
        tempfile::tempdir().map_err(|cause| Error::io(text!("error-cli/attest/temporary-folder"), cause))?;
    if report["schema"] == record::SCHEMA {
        made.judged = Some(
            Case::read_record(&path)
                .and_then(|case| again_timeline(arguments, &case, temporary.path()))
                .map_err(|why| failed(&why)),
        );
        return Ok(made);
    }
    let mut case = match Case::read_record(&path) {
        Ok(case) => case,
        Err(why) => return refuse(failed(&why)),
    };
    if let Err(why) = recall(&mut case, dir) {
        return refuse(failed(&why));
    }
    let (was, is) = (report["case"]["digest"].as_str().unwrap_or_default(), format!("sha256:{}", case.digest));
    if was != is && given.case.is_none() {
        return refuse(text!("attest/judged/unlike", now = is, then = was));
    }
    let store = temporary.path().join("store");
    match copy(dir, &store).and_then(|folder| judged(arguments, &case, &folder, look)) {
        Ok(None) => made.judged = Some(Err(text!("attest/judged/unwhole"))),
        Ok(Some((report, models))) => {
            made.judged = Some(Ok(report));
            made.models = models;
        }
        Err(why) => made.judged = Some(Err(failed(&why))),
    }
    if given.recompute {
        // Other kernels give other figures, which contradict nobody.
        let kernels = gathered(dir).map_or(KERNEL_VERSION, |(kernels, _)| kernels);
        made.recomputed = if kernels == KERNEL_VERSION {
            Some(recomputed(arguments, &path, dir, &temporary.path().join("audit")).map_err(|why| failed(&why)))
        } else {
            let of = |version: &str, kernels: u32| format!("{version} ({kernels})");
            Some(Err(text!("attest/judged/version", then = of(&then, kernels), now = of(now, KERNEL_VERSION))))
        };
    }
    Ok(made)
}

/// The measurements of a folder in another one, so that nothing is written to what is verified.
fn copy(dir: &Path, to: &Path) -> Result<Folder> {
    let folder = Folder::open(to)?;
    for entry in fs::read_dir(dir.join(MEASUREMENTS)).into_iter().flatten().flatten() {
        let name = format!("{MEASUREMENTS}/{}", entry.file_name().to_string_lossy());
        folder.write(&name, &plain::read(&entry.path(), LONGEST)?)?;
    }
    Ok(folder)
}

/// A report, and of the models in its order what they are now.
type Judged = (String, Vec<Result<String, Text>>);

fn judged(arguments: &Arguments, case: &Case, folder: &Folder, look: bool) -> Result<Option<Judged>> {
    let Some(found) = again(case, access(arguments), folder, look)? else { return Ok(None) };
    let mut audit = found.audit;
    folder::write(&mut audit.report, &audit.evidence, folder, Language::English)?;
    let models = found.models.into_iter().map(|(_, digest)| match digest {
        Ok(digest) => Ok(digest.unwrap_or_default()),
        Err(why) => Err(text!("attest/input/failed", why = why.to_string())),
    });
    Ok(Some((json::to_json(&audit.report), models.collect())))
}

fn again_timeline(arguments: &Arguments, case: &Case, to: &Path) -> Result<String> {
    let (mut found, evidence) = timeline(case, access(arguments), true)?;
    folder::write_timeline(&mut found, &evidence, &Folder::open(to)?, Language::English)?;
    Ok(record::to_json(&found))
}

/// The whole audit from its inputs; its seal is over every file, so that equal reports are equal folders.
fn recomputed(arguments: &Arguments, case: &Path, dir: &Path, to: &Path) -> Result<String> {
    let mut case = Case::read(case)?;
    // The checkpoints and rows that were used.
    if !recall(&mut case, dir)? {
        expand(&mut case, access(arguments), &Asked::default())?;
    }
    let folder = Folder::open(to)?;
    remember(&case, &folder)?;
    let (mut done, _) = audit_into(&case, access(arguments), &folder, false, reporter(arguments).as_ref())?;
    folder::write(&mut done.report, &done.evidence, &folder, Language::English)?;
    Ok(json::to_json(&done.report))
}

/// Prints the items: one line each.
fn show(arguments: &Arguments, items: &Items) -> Result<()> {
    if arguments.format == Format::Json {
        let value = serde_json::json!({
            "schema": "scratchproof.verify/1",
            "outcome": match items.status() { 0 => "verified", 1 => "contradicted", _ => "unchecked" },
            "items": items.all(),
        });
        return print(&letters::json(serde_json::to_string_pretty(&value).unwrap_or_default()));
    }
    let markdown = arguments.format == Format::Markdown;
    let mut out = String::new();
    for item in items.all() {
        let mark = match item.standing {
            Standing::Verified => term("standing", "verified   ", language(arguments)),
            Standing::Contradicts => term("standing", "CONTRADICTS", language(arguments)),
            Standing::Unchecked => term("standing", "not checked", language(arguments)),
        };
        if arguments.quiet && item.standing == Standing::Verified {
            continue;
        }
        let line = format!("{mark}  {}", printable(&item.text.say(language(arguments))));
        out += &if markdown { format!("- {}\n", line.trim_end()) } else { line + "\n" };
    }
    if out.is_empty() { Ok(()) } else { print(&out) }
}
