//! A bundle: references and one pack in a file, as `git bundle create` writes it (gitformat-bundle(5)).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use git2::Oid;

use super::{Pulse, unpacked};
use scratchproof_error::{Error, Result};
use scratchproof_source::plain;
use scratchproof_texts::{Text, text};

/// Larger bundles are not unpacked.
const LIMIT: u64 = 16 << 30;
/// Lines of a header, and bytes of one.
const LINES: usize = 1_000_000;
const LINE: u64 = 8192;

/// A bundle, unpacked beside nothing of the caller's: the folder goes with this.
pub struct Bundle {
    /// A bare repository with the objects and no references.
    pub folder: Folder,
    /// Names and targets.
    pub references: Vec<(String, Oid)>,
    /// Commits that the bundle builds on and does not hold.
    pub prerequisites: Vec<Oid>,
    /// Whether objects were left out of it by a filter.
    pub filtered: bool,
}

/// A temporary folder that is removed in the end: by this, or, after a kill, by the next that is made.
pub struct Folder(pub PathBuf, #[expect(dead_code, reason = "its lock is held as long as this lives")] File);

/// How the names of the folders begin, and the file in each that is locked as long as its process lives.
const NAMED: &str = "scratchproof-bundle-";
const LOCK: &str = "lock";
/// A folder without a lock is being made for so long.
const YOUNG: Duration = Duration::from_mins(1);

impl Folder {
    /// Makes one.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self::sweep(&std::env::temp_dir());
        for _ in 0..1000 {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("{NAMED}{}-{number}", std::process::id()));
            let made = fs::DirBuilder::new().mode(0o700).create(&path).and_then(|()| {
                let lock = File::create_new(path.join(LOCK))?;
                lock.try_lock().map_err(std::io::Error::from)?;
                Ok(lock)
            });
            match made {
                Ok(lock) => return Ok(Self(path, lock)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io(text!("error-record/bundle/no-temporary-folder-can"), error)),
            }
        }
        Err(Error::input(text!("error-record/bundle/no-temporary-folder-can-made")))
    }
}

impl Folder {
    /// Removes what killed runs of this user left. The lock of one that lives is held; one that is being made has none
    /// yet, and is young.
    fn sweep(place: &Path) {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(NAMED));
            let Some(about) = entry.metadata().ok().filter(|about| ours && about.is_dir()) else { continue };
            let young = about.modified().ok().and_then(|at| at.elapsed().ok()).is_none_or(|age| age < YOUNG);
            let free = match plain::open(&entry.path().join(LOCK)) {
                Ok(lock) => lock.try_lock().is_ok(),
                Err(_) => !young,
            };
            if free {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether a file begins as a bundle does.
pub fn is_bundle(path: &Path) -> bool {
    let mut start = [0; 16];
    let read = plain::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && (start.starts_with(b"# v2 git bundle\n") || start.starts_with(b"# v3 git bundle\n"))
}

/// Unpacks a bundle into a temporary folder and indexes its pack.
///
/// # Errors
/// If it is no bundle of a known version, its pack is damaged, or it needs objects that it does not hold.
pub fn open(path: &Path, pulse: &Pulse) -> Result<Bundle> {
    let file =
        plain::open(path).map_err(|error| Error::io(text!("error-record/bundle/bundle-cannot-opened"), error))?;
    let about = file.metadata().map_err(|error| Error::io(text!("error-record/bundle/bundle-cannot-read"), error))?;
    if about.len() > LIMIT {
        return Err(Error::input(text!("error-record/bundle/bundle-too-large-bytes", about = about.len())));
    }
    let mut input = BufReader::with_capacity(1 << 20, file);
    let (references, prerequisites, filtered) = header(&mut input)?;
    let folder = Folder::new()?;
    let broken = |error: &dyn std::fmt::Display| {
        if prerequisites.is_empty() {
            Error::input(error.to_string())
        } else {
            let lacks = builds_on(&prerequisites.iter().copied().collect());
            Error::input(text!("error-record/bundle/pack-cannot-read-without", lacks, error = error.to_string()))
        }
    };
    git2::Repository::init_bare(&folder.0).map_err(|error| broken(&error.message()))?;
    let pack = folder.0.join("objects/pack/pack-bundle.pack");
    let mut copied = File::create_new(&pack)
        .map_err(|error| Error::io(text!("error-record/bundle/bundle-cannot-unpacked"), error))?;
    let mut buffer = vec![0; 1 << 20];
    let mut read = 0_u64;
    loop {
        let count = input
            .read(&mut buffer)
            .map_err(|error| Error::io(text!("error-record/bundle/bundle-cannot-read"), error))?;
        if count == 0 {
            break;
        }
        read += count as u64;
        pulse.beat("pack of the bundle at byte", read);
        let put = copied.write_all(&buffer[..count]);
        put.map_err(|error| Error::io(text!("error-record/bundle/bundle-cannot-unpacked"), error))?;
    }
    drop(copied);
    unpacked::index(&pack, &pack.with_extension("idx"), pulse).map_err(|error| broken(&error))?;
    Ok(Bundle { folder, references, prerequisites, filtered })
}

/// What a bundle lacks, and what to do.
pub fn builds_on(commits: &BTreeSet<Oid>) -> String {
    let first: Vec<String> = commits.iter().take(3).map(ToString::to_string).collect();
    let more = if commits.len() > first.len() { " and others" } else { "" };
    format!(
        "the bundle builds on {} commits that are not in it ({}{more}); git bundle create FILE --all has the whole history",
        commits.len(),
        first.join(", ")
    )
}

type Header = (Vec<(String, Oid)>, Vec<Oid>, bool);

fn header(input: &mut impl BufRead) -> Result<Header> {
    let (mut references, mut prerequisites, mut filtered) = (Vec::new(), Vec::new(), false);
    let bad = |number: usize, why: Text| {
        Error::input(text!("error-record/bundle/line-bundle-s-header", number = number + 1, why))
    };
    for number in 0..LINES {
        let mut line = Vec::new();
        let length = input.by_ref().take(LINE).read_until(b'\n', &mut line);
        length.map_err(|error| Error::io(text!("error-record/bundle/bundle-cannot-read"), error))?;
        if line.pop() != Some(b'\n') {
            return Err(bad(number, text!("error-record/bundle/does-not-end")));
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        if number == 0 {
            if line != "# v2 git bundle" && line != "# v3 git bundle" {
                return Err(bad(number, text!("error-record/bundle/not-git-bundle")));
            }
        } else if line.is_empty() {
            return Ok((references, prerequisites, filtered));
        } else if let Some(capability) = line.strip_prefix('@') {
            if let Some(format) = capability.strip_prefix("object-format=").filter(|format| *format != "sha1") {
                return Err(Error::input(other_ids(format)));
            }
            // Objects left out by a filter show themselves as missing.
            filtered |= capability.starts_with("filter=");
            if capability != "object-format=sha1" && !capability.starts_with("filter=") {
                return Err(bad(
                    number,
                    text!("error-record/bundle/asks-not-supported", capability = super::clean(capability)),
                ));
            }
        } else if let Some(rest) = line.strip_prefix('-') {
            let id = rest.split(' ').next().unwrap_or_default();
            prerequisites.push(Oid::from_str(id).map_err(|_| bad(number, text!("error-record/bundle/no-commit-id")))?);
        } else {
            let (id, name) =
                line.split_once(' ').ok_or_else(|| bad(number, text!("error-record/bundle/no-reference")))?;
            references.push((
                name.to_owned(),
                Oid::from_str(id).map_err(|_| bad(number, text!("error-record/bundle/no-object-id")))?,
            ));
        }
    }
    Err(bad(LINES, text!("error-record/bundle/too-many")))
}

/// Why a repository with ids of another kind is not read, and what to do.
pub fn other_ids(format: &str) -> Text {
    text!("error-record/bundle/other-ids", format = super::clean(format))
}
