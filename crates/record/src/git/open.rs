//! Opening a repository in whatever form it lies there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;

use git2::{ErrorCode, Oid, RepositoryOpenFlags};

use super::bundle::{self, Folder};
use super::{Pulse, broken, clean, guard, reftable, sound};
use scratchproof_error::{Error, Result};
use scratchproof_source::plain;
use scratchproof_texts::text;

/// A `shallow` file of more bytes is not one.
const SHALLOW: u64 = 64 << 20;

/// Bytes of libgit2's cache, of one mapped piece of a pack, and of all of them.
const CACHE: isize = 128 << 20;
const WINDOW: usize = 32 << 20;
const MAPPED: usize = 256 << 20;

/// A repository that can be read.
pub struct Opened {
    /// What libgit2 reads.
    pub repository: git2::Repository,
    /// The references, where libgit2 cannot read them.
    pub references: Option<Vec<(String, Oid)>>,
    /// The folder with the repository's own files.
    pub folder: PathBuf,
    /// Whether it is a partial clone or bundle, in which objects are left out on purpose.
    pub partial: bool,
    /// Commits that a bundle builds on and does not hold.
    pub cut: BTreeSet<Oid>,
    /// Stands in for one that libgit2 does not open; goes with this.
    stand_in: Option<Folder>,
}

impl Opened {
    /// Names of all references and of HEAD, with what they are at. What leads nowhere is left out.
    ///
    /// # Errors
    /// If libgit2 cannot list them.
    pub fn references(&self) -> Result<Vec<(String, Oid)>, git2::Error> {
        if let Some(references) = &self.references {
            return Ok(references.clone());
        }
        let target = |reference: &git2::Reference<'_>| reference.resolve().ok().and_then(|r| r.target());
        let name = |reference: &git2::Reference<'_>| String::from_utf8_lossy(reference.name_bytes()).into_owned();
        let all = self.repository.references()?.flatten();
        let mut all: Vec<_> = all.filter_map(|reference| Some((name(&reference), target(&reference)?))).collect();
        all.extend(self.repository.head().ok().and_then(|head| Some(("HEAD".to_owned(), head.target()?))));
        Ok(all)
    }
}

/// Opens a bundle, a repository or a working tree, whose packs libgit2 can be let loose on.
///
/// # Errors
/// If it is none, of a form that is not read, or the index of a pack is damaged.
pub fn open(path: &Path, pulse: &Pulse) -> Result<Opened> {
    let opened = if bundle::is_bundle(path) {
        let bundle = bundle::open(path, pulse)?;
        let mut opened = open_folder(&bundle.folder.0, pulse)?;
        opened.references = Some(bundle.references);
        opened.partial = bundle.filtered;
        opened.cut = bundle.prerequisites.into_iter().collect();
        opened.stand_in = Some(bundle.folder);
        opened
    } else {
        open_folder(path, pulse)?
    };
    sound::check(opened.repository.commondir(), pulse)?;
    Ok(opened)
}

/// Opens without asking who owns the folder, without searching above it, and without being led elsewhere.
fn open_folder(path: &Path, pulse: &Pulse) -> Result<Opened> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // libgit2 refuses the repositories of other users because a program may be named in their settings; an auditor
        // reads just such repositories, and nothing here runs a program or writes.
        // SAFETY: the option is one number inside libgit2; `Once` keeps it from being set by two threads at a time, and
        // no repository is opened before it.
        #[allow(unsafe_code)]
        let set = unsafe { git2::opts::set_verify_owner_validation(false) };
        drop(set); // cannot fail; if it did, opening below would say so
        cut_short();
        // What libgit2 keeps in memory of all repositories together, and maps of packs at a time.
        // SAFETY: as above.
        #[allow(unsafe_code)]
        unsafe {
            let _ = git2::opts::set_cache_max_size(CACHE);
            let _ = git2::opts::set_mwindow_size(WINDOW);
            let _ = git2::opts::set_mwindow_mapped_limit(MAPPED);
        }
    });
    let here =
        fs::canonicalize(path).map_err(|error| Error::io(text!("error-record/open/folder-cannot-opened"), error))?;
    guard::repository(&here, pulse)?;
    let none: [&std::ffi::OsStr; 0] = [];
    let repository =
        git2::Repository::open_ext(&here, RepositoryOpenFlags::NO_SEARCH, none).map_err(|error| match error.code() {
            ErrorCode::NotFound => Error::input(text!("error-record/open/not-git-repository")),
            _ => broken(text!("error-record/open/repository"), &error),
        });
    let repository = match repository {
        Ok(repository) => repository,
        Err(error) => return other_form(&here).unwrap_or(Err(error)),
    };
    let real = |folder: &Path| fs::canonicalize(folder).map_err(|error| Error::io(folder.display(), error));
    let inside = real(repository.path())?.starts_with(&here) && real(repository.commondir())?.starts_with(&here);
    if !inside && !is_worktree(&repository, &here) {
        let pointer = plain::text(&here.join(".git"), SHALLOW).unwrap_or_default();
        let place = clean(pointer.lines().next().unwrap_or_default());
        return Err(Error::input(text!("error-record/open/only-points-git-repository", place)));
    }
    let folder = repository.path().to_owned();
    let partial = is_partial(repository.commondir());
    Ok(Opened { repository, references: None, folder, partial, stand_in: None, cut: BTreeSet::new() })
}

/// What is said when a file that libgit2 has mapped is cut short while it is read.
const CUT: &[u8] = b"error: a file of the repository was cut short while it was read\n";

/// Ends the process with a sentence where it would end by a signal: libgit2 maps the files of packs, and a file that is
/// cut short afterwards has no bytes to read.
#[allow(unsafe_code)]
fn cut_short() {
    extern "C" fn end(_: libc::c_int) {
        // SAFETY: both calls may be made in a signal's handler (signal-safety(7)); the bytes are a constant.
        unsafe {
            let _ = libc::write(2, CUT.as_ptr().cast(), CUT.len());
            libc::_exit(2);
        }
    }
    let handler: extern "C" fn(libc::c_int) = end;
    // SAFETY: the handler calls nothing but what may be called in one, and never returns to the code that failed.
    unsafe {
        libc::signal(libc::SIGBUS, handler as libc::sighandler_t);
    }
}

/// What libgit2 does not open, by the settings that say so. `None` if it is something else.
fn other_form(here: &Path) -> Option<Result<Opened>> {
    let folder = [here.join(".git"), here.to_owned()].into_iter().find(|folder| folder.join("config").is_file())?;
    let setting = |name: &str| {
        let config = git2::Config::open(&folder.join("config")).ok()?;
        config.get_string(name).ok().map(|value| value.to_ascii_lowercase())
    };
    match setting("extensions.objectformat") {
        Some(format) if format != "sha1" => return Some(Err(Error::input(bundle::other_ids(&format)))),
        _ => {}
    }
    match setting("extensions.refstorage")?.as_str() {
        "reftable" => Some(with_reftable(folder)),
        other => Some(Err(Error::input(text!("error-record/open/references-stored-not-read", other = clean(other))))),
    }
}

/// A bare repository in a temporary folder that borrows the objects of one with reftables.
fn with_reftable(folder: PathBuf) -> Result<Opened> {
    let references = reftable::read(&folder.join("reftable"))?;
    let stand_in = Folder::new()?;
    let repository = git2::Repository::init_bare(&stand_in.0)
        .map_err(|error| broken(text!("error-record/open/repository"), &error))?;
    let objects = folder.join("objects").display().to_string();
    // One path a line, and nothing that is read as something else.
    if objects.contains(['\n', '\r']) {
        return Err(Error::input(text!("error-record/open/name-folder-line-end")));
    }
    let failed = |error| Error::io(text!("error-record/open/no-temporary-folder-can"), error);
    fs::write(stand_in.0.join("objects/info/alternates"), format!("{objects}\n")).map_err(failed)?;
    let shallow = folder.join("shallow");
    if fs::metadata(&shallow).is_ok_and(|about| about.is_file() && about.len() < SHALLOW) {
        fs::copy(shallow, stand_in.0.join("shallow")).map_err(failed)?;
    }
    drop(repository);
    let repository = git2::Repository::open_bare(&stand_in.0)
        .map_err(|error| broken(text!("error-record/open/repository"), &error))?;
    let partial = is_partial(&folder);
    Ok(Opened {
        repository,
        references: Some(references),
        folder,
        partial,
        stand_in: Some(stand_in),
        cut: BTreeSet::new(),
    })
}

/// Whether a pack came from a server that promised to keep what is left out.
fn is_partial(folder: &Path) -> bool {
    let packs = fs::read_dir(folder.join("objects/pack")).into_iter().flatten().flatten();
    packs.take(100_000).any(|entry| entry.path().extension().is_some_and(|extension| extension == "promisor"))
}

/// Whether a folder is a worktree that the repository it points at knows of: whoever merely writes a pointer into a folder
/// cannot make the other one point back.
fn is_worktree(repository: &git2::Repository, here: &Path) -> bool {
    let back = plain::text(&repository.path().join("gitdir"), SHALLOW).unwrap_or_default();
    let back = fs::canonicalize(back.trim_end());
    repository.is_worktree() && back.is_ok_and(|back| back == here.join(".git"))
}
