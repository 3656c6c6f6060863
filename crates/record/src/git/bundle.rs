//! A bundle: references and one pack in a file, as `git bundle create` writes it (gitformat-bundle(5)).

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use git2::Oid;

use super::Pulse;
use scratchproof_error::{Error, Result};
use scratchproof_source::plain;

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

/// A temporary folder that is removed in the end.
pub struct Folder(pub PathBuf);

impl Folder {
    /// Makes one.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        for _ in 0..1000 {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("scratchproof-bundle-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("no temporary folder can be made for the bundle", error)),
            }
        }
        Err(Error::input("no temporary folder can be made for the bundle: every name is taken"))
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
    let file = plain::open(path).map_err(|error| Error::io("the bundle cannot be opened", error))?;
    let about = file.metadata().map_err(|error| Error::io("the bundle cannot be read", error))?;
    if about.len() > LIMIT {
        return Err(Error::input(format!("the bundle is too large: {} bytes", about.len())));
    }
    let mut input = BufReader::with_capacity(1 << 20, file);
    let (references, prerequisites, filtered) = header(&mut input)?;
    let folder = Folder::new()?;
    let broken = |error: git2::Error| {
        if prerequisites.is_empty() {
            Error::input(format!("the pack of the bundle cannot be read: {}", error.message()))
        } else {
            Error::input(format!(
                "{}; its pack cannot be read without them ({})",
                builds_on(&prerequisites.iter().copied().collect()),
                error.message()
            ))
        }
    };
    pulse.beat("pack of the bundle", "");
    let repository = git2::Repository::init_bare(&folder.0).map_err(broken)?;
    let odb = repository.odb().map_err(broken)?;
    let mut indexer = git2::Indexer::new(Some(&odb), &folder.0.join("objects/pack"), 0o600, false).map_err(broken)?;
    indexer.progress(|now| {
        pulse.beat("pack of the bundle, delta", now.indexed_deltas());
        true
    });
    let mut buffer = vec![0; 1 << 20];
    let mut read = 0_u64;
    loop {
        let count = input.read(&mut buffer).map_err(|error| Error::io("the bundle cannot be read", error))?;
        if count == 0 {
            break;
        }
        read += count as u64;
        pulse.beat("pack of the bundle at byte", read);
        indexer
            .write_all(&buffer[..count])
            .map_err(|error| Error::input(format!("the pack of the bundle is damaged near byte {read}: {error}")))?;
    }
    indexer.commit().map_err(broken)?;
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
    let bad = |number: usize, why: &str| Error::input(format!("line {} of the bundle's header {why}", number + 1));
    for number in 0..LINES {
        let mut line = Vec::new();
        let length = input.by_ref().take(LINE).read_until(b'\n', &mut line);
        length.map_err(|error| Error::io("the bundle cannot be read", error))?;
        if line.pop() != Some(b'\n') {
            return Err(bad(number, "does not end"));
        }
        let line = String::from_utf8_lossy(&line).into_owned();
        if number == 0 {
            if line != "# v2 git bundle" && line != "# v3 git bundle" {
                return Err(bad(number, "is not that of a git bundle"));
            }
        } else if line.is_empty() {
            return Ok((references, prerequisites, filtered));
        } else if let Some(capability) = line.strip_prefix('@') {
            if let Some(format) = capability.strip_prefix("object-format=").filter(|format| *format != "sha1") {
                return Err(Error::input(super::open::other_ids(format)));
            }
            // Objects left out by a filter show themselves as missing.
            filtered |= capability.starts_with("filter=");
            if capability != "object-format=sha1" && !capability.starts_with("filter=") {
                return Err(bad(number, &format!("asks for {}, which is not supported", super::clean(capability))));
            }
        } else if let Some(rest) = line.strip_prefix('-') {
            let id = rest.split(' ').next().unwrap_or_default();
            prerequisites.push(Oid::from_str(id).map_err(|_| bad(number, "has no commit id"))?);
        } else {
            let (id, name) = line.split_once(' ').ok_or_else(|| bad(number, "has no reference"))?;
            references.push((name.to_owned(), Oid::from_str(id).map_err(|_| bad(number, "has no object id"))?));
        }
    }
    Err(bad(LINES, "is one too many"))
}
