//! Forms of repositories that git itself makes here: what of them is read, and what is said of the rest.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Made, Options, Repository, config};

/// Runs git in a folder, with nobody's settings. `None` if there is no git, or one that does not know an option.
fn git(folder: &Path, words: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    for name in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{name}_NAME"), "A").env(format!("GIT_{name}_EMAIL"), "a@example.org");
        command.env(format!("GIT_{name}_DATE"), "2026-08-01 10:00 +0000");
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = command.current_dir(folder).args(words).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn read(path: &Path) -> scratchproof_error::Result<Repository> {
    Repository::read(path, &Options::default())
}

/// Three commits of a working tree, initialised with these options.
fn made(folder: &Path, options: &[&str]) -> Option<()> {
    git(folder, &[&["init", "-q", "-b", "main"], options].concat())?;
    for layers in 1..4 {
        fs::write(folder.join("config.json"), config(layers)).unwrap();
        git(folder, &["add", "-A"])?;
        git(folder, &["commit", "-q", "-m", &format!("{layers} layers")])?;
    }
    git(folder, &["tag", "-a", "v1", "-m", "v1"]).map(drop)
}

#[test]
fn reftables_read_like_files_and_other_ids_are_named() {
    let (plain, tables, other) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    if made(plain.path(), &[]).is_none() || made(tables.path(), &["--ref-format=reftable"]).is_none() {
        return;
    }
    let (a, b) = (read(plain.path()).unwrap(), read(tables.path()).unwrap());
    assert_eq!((&a.commits, &a.line, &a.settings, &a.head), (&b.commits, &b.line, &b.settings, &b.head));
    assert_eq!((a.commits.len(), &a.traces, &a.notes), (3, &b.traces, &b.notes));
    // Objects of the tag are found through the table too.
    let tags = |path: &Path| {
        let patience = std::time::Duration::from_secs(9);
        super::super::objects(path, patience, Vec::new(), 0, |n, o| *n += usize::from(o.word == "tag")).unwrap()
    };
    assert_eq!((tags(plain.path()), tags(tables.path())), (1, 1));
    if made(other.path(), &["--object-format=sha256"]).is_some() {
        let error = read(other.path()).unwrap_err().to_string();
        assert!(error.contains("sha256 instead of SHA-1") && error.contains("fast-export"), "{error}");
    }
}

#[test]
fn a_partial_clone_says_what_was_left_out_and_asks_nobody_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("whole")).unwrap();
    if made(&at("whole"), &[]).is_none() || git(&at("whole"), &["config", "uploadpack.allowFilter", "true"]).is_none() {
        return;
    }
    let from = format!("file://{}", at("whole").display());
    for (filter, what) in [("blob:none", "files"), ("tree:0", "folders")] {
        let to = at(what);
        let name = to.to_str().unwrap();
        let clone = ["clone", "-q", "--bare", &format!("--filter={filter}"), &from, name];
        if git(folder.path(), &clone).is_none() {
            continue;
        }
        let facts = read(&to).unwrap();
        assert_eq!((facts.commits.len(), facts.settings.len(), facts.shallow), (3, 0, false), "{filter}");
        let note = facts.notes.join("; ");
        assert!(note.contains(&format!("3 versions of {what} are not in this partial clone")), "{note}");
    }
}

#[test]
fn a_head_at_a_tag_an_empty_one_and_a_missing_folder_are_read() {
    let repository = Made::new();
    repository.commit(0, &[("c.json", &config(4))]);
    let second = repository.commit(1, &[("c.json", &config(8))]);
    let who = git2::Signature::now("A", "a@x").unwrap();
    let object = repository.repository.find_object(second, None).unwrap();
    let tag = repository.repository.tag("v1", &object, &who, "m", false).unwrap();
    let head = repository.folder.path().join("HEAD");
    for (content, note) in [
        (format!("{tag}\n"), ""),
        ("ref: refs/tags/v1\n".into(), ""),
        (String::new(), "HEAD cannot be read"),
        ("ref: refs/heads/none\n".into(), "HEAD is at no commit"),
    ] {
        fs::write(&head, &content).unwrap();
        let facts = repository.read();
        assert_eq!((facts.commits.len(), facts.line.len()), (2, 2), "{content}");
        assert_eq!(facts.head, note.is_empty().then(|| second.to_string()), "{content}");
        assert!(facts.notes.join("; ").contains(note), "{:?}", facts.notes);
    }
    // The folder of the first commit: what it held is not known, the rest is.
    let first = repository.repository.find_commit(second).unwrap().parent(0).unwrap();
    let id = first.tree_id().to_string();
    fs::remove_file(repository.folder.path().join("objects").join(&id[..2]).join(&id[2..])).unwrap();
    let facts = repository.read();
    assert_eq!(facts.commits.len(), 2);
    assert!(facts.notes.iter().any(|n| n.contains("1 versions of folders are missing") && n.contains(&id)));
}

/// libgit2 reads the packs that a repository borrows, and trusts them.
#[test]
fn borrowed_packs_are_checked_like_its_own() {
    let made = Made::new();
    made.commit(0, &[("a", "x")]);
    let other = tempfile::tempdir().unwrap();
    let info = made.folder.path().join("objects/info");
    fs::create_dir_all(&info).unwrap();
    fs::create_dir_all(other.path().join("far/pack")).unwrap();
    fs::create_dir_all(other.path().join("near/info")).unwrap();
    fs::write(other.path().join("near/info/alternates"), "# remark\n../far\n../near\n").unwrap();
    fs::write(info.join("alternates"), format!("{}\n/nowhere\n", other.path().join("near").display())).unwrap();
    assert_eq!(made.read().commits.len(), 1);
    fs::write(other.path().join("far/pack/pack-1.idx"), [0xff; 4096]).unwrap();
    let error = Repository::read(made.folder.path(), &Options::default()).unwrap_err();
    assert!(error.to_string().contains("pack-1.idx is damaged"), "{error}");
    fs::remove_file(info.join("alternates")).unwrap();
    fs::create_dir(info.join("alternates")).unwrap();
    let error = Repository::read(made.folder.path(), &Options::default()).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}
