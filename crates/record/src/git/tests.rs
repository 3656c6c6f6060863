mod forms;
mod shapes;
mod signed;

use std::path::Path;

use super::{Freeze, Lookup, Options, Repository};
use crate::settings::Settings;

use super::testing::{HOUR, Made, START, config, settings};

#[test]
fn commits_are_read_in_order_with_their_clocks() {
    let made = Made::new();
    let first = made.commit(0, &[("a", "x")]);
    let second = made.commit_as(-500, 5, &[("a", "y")], "bell \u{7} and \u{1b}[31m colour\nrest");
    let facts = made.read();
    assert_eq!(facts.head, Some(second.to_string()));
    assert_eq!(facts.line, [first.to_string(), second.to_string()]);
    assert_eq!(facts.commits[1].parents, [first.to_string()]);
    assert_eq!(facts.commits[0].author.offset, 540);
    assert_eq!(facts.commits[1].author.at.timestamp(), START - 500 * HOUR);
    assert_eq!(facts.commits[1].summary, "bell \u{FFFD} and \u{FFFD}[31m colour");
    let id = second.to_string();
    assert!(matches!(facts.commit(&id), Lookup::Found(commit) if commit.id == id));
    assert!(matches!(facts.commit(&id[..8].to_uppercase()), Lookup::Found(_)));
    assert_eq!(facts.commit("0000000000"), Lookup::Missing);
    assert_eq!(facts.commit(""), Lookup::NotAnId);
    assert_eq!(facts.commit("HEAD~1"), Lookup::NotAnId);
    assert!(facts.notes.is_empty() && facts.digest.len() == 64);
    assert_ne!(facts.digest, {
        made.commit(6, &[("a", "z")]);
        made.read().digest
    });
}

#[test]
fn a_working_tree_reads_like_its_git_folder_and_a_folder_inside_is_none() {
    let folder = tempfile::tempdir().unwrap();
    git2::Repository::init(folder.path()).unwrap();
    let read = |path: &Path| Repository::read(path, &Options::default());
    for path in [folder.path().to_owned(), folder.path().join(".git")] {
        let facts = read(&path).unwrap();
        assert!(facts.commits.is_empty() && facts.head.is_none());
        assert_eq!(facts.notes, ["HEAD is at no commit"]);
    }
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    let error = read(&inside).unwrap_err();
    assert!(error.is_input() && error.to_string().ends_with("inside: this is not a git repository"), "{error}");
    // A folder that leads to a repository outside it would put that one's history into a report.
    std::fs::write(inside.join(".git"), format!("gitdir: {}", folder.path().join(".git").display())).unwrap();
    assert!(read(&inside).unwrap_err().to_string().contains("only points at a git repository elsewhere"));
    assert!(read(&folder.path().join("nothing")).unwrap_err().is_io());
}

#[test]
fn commits_without_a_branch_are_found_only_when_asked_for() {
    let made = Made::new();
    let first = made.commit(0, &[("a", "x")]);
    let lost = made.commit(1, &[("a", "y")]);
    let branch = made.repository.find_reference("HEAD").unwrap().resolve().unwrap().name().unwrap().to_owned();
    made.repository.reference(&branch, first, true, "").unwrap();
    assert_eq!(made.read().commit(&lost.to_string()), Lookup::Missing);
    let wanted = vec![lost.to_string()[..9].to_owned(), "no id".into(), "ffffffffff".into()];
    let facts = Repository::read(made.folder.path(), &Options { wanted, ..Options::default() }).unwrap();
    assert!(matches!(facts.commit(&lost.to_string()), Lookup::Found(commit) if !commit.reachable));
    assert_eq!(facts.line.len(), 1);
}

#[test]
fn the_freeze_is_the_first_commit_with_the_last_sizes() {
    let made = Made::new();
    let small = r#"{"hidden_size": 1, "vocab_size": 2}"#;
    let first = made.commit(0, &[("configs/model.json", &config(4)), ("small.json", small), ("big.bin", "{}")]);
    let settled = made.commit(1, &[("configs/model.json", &config(8))]);
    made.commit(2, &[("train.py", "pass")]);
    let facts = made.read();
    assert_eq!(facts.settings.len(), 2);
    assert!(
        matches!(facts.freeze(&settings(8)), Freeze::Since { commit, path: "configs/model.json" } if commit.id == settled.to_string())
    );
    assert!(matches!(facts.freeze(&settings(4)), Freeze::Past { from, until, .. }
        if from.id == first.to_string() && until.id == settled.to_string()));
    let Freeze::Never { differences, .. } = facts.freeze(&settings(6)) else { panic!("never") };
    assert_eq!(differences, ["num_hidden_layers 4 against 6"]);
    assert_eq!(facts.freeze(&Settings::new()), Freeze::Unknown);

    // Going away and coming back starts anew.
    made.commit(3, &[("configs/model.json", "")]);
    let back = made.commit(4, &[("configs/model.json", &config(8))]);
    let facts = made.read();
    assert!(matches!(facts.freeze(&settings(8)), Freeze::Since { commit, .. } if commit.id == back.to_string()));
    assert_eq!(facts.settings.iter().filter(|row| row.settings.is_none()).count(), 1);
}

#[test]
fn named_settings_files_are_read_and_missed() {
    let made = Made::new();
    made.commit(0, &[("a.json", &config(4)), ("b.json", &config(8)), ("c.yaml", "x: 1")]);
    let paths = ["b.json", "c.yaml", "gone.json"].map(String::from).to_vec();
    let facts = Repository::read(made.folder.path(), &Options { settings: paths, ..Options::default() }).unwrap();
    assert_eq!(facts.settings.len(), 1);
    assert!(matches!(facts.freeze(&settings(8)), Freeze::Since { path: "b.json", .. }));
    assert!(facts.notes.iter().any(|note| note.contains("c.yaml is never")), "{:?}", facts.notes);
    assert!(facts.notes.iter().any(|note| note.contains("has the settings file gone.json")));
}

#[test]
fn history_ends_at_a_damaged_or_missing_commit_and_says_so() {
    let mut cut = Some(0);
    while let Some(kept) = cut {
        let made = Made::new();
        let first = made.commit(0, &[("configs/model.json", &config(8))]);
        made.commit(1, &[("train.py", "pass")]);
        let id = first.to_string();
        let file = made.folder.path().join("objects").join(&id[..2]).join(&id[2..]);
        let bytes = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        // As many bytes as there are: none is there at all.
        if kept < bytes.len() {
            std::fs::write(&file, &bytes[..kept]).unwrap();
        }
        cut = Some(kept + if kept < 16 { 1 } else { 13 }).filter(|_| kept < bytes.len());
        // One that is cut in the middle is one that libgit2 never finishes: it is told of, not waited for.
        let begun = std::time::Instant::now();
        let read = Repository::read(made.folder.path(), &Options::default());
        assert!(begun.elapsed() < Options::default().patience / 2, "{kept}: {:?}", begun.elapsed());
        match read {
            // The last four bytes are a sum over the others.
            Ok(facts) if facts.commits.len() == 2 => {
                assert!((1..bytes.len()).contains(&kept) && kept + 4 >= bytes.len());
            }
            Ok(facts) => {
                // Of the first byte alone libgit2 says itself that it is damaged.
                assert!(facts.shallow && facts.commits.len() == 1, "{kept}");
                assert!(facts.traces.iter().any(|t| t.cut && t.words.contains(&id)), "{:?}", facts.traces);
            }
            Err(error) => {
                let name = format!("objects/{}/{} is cut off", &id[..2], &id[2..]);
                assert!(kept > 0 && error.is_input() && error.to_string().contains(&name), "{kept} {error}");
            }
        }
    }
}

#[test]
fn the_cap_and_odd_files_are_noted() {
    let made = Made::new();
    for hour in 0..4 {
        made.commit(hour, &[("a", &hour.to_string())]);
    }
    let oid = made.repository.head().unwrap().target().unwrap();
    made.repository.reference(&format!("refs/replace/{oid}"), oid, false, "").unwrap();
    std::fs::create_dir_all(made.folder.path().join("info")).unwrap();
    std::fs::write(made.folder.path().join("info/grafts"), format!("{oid}\n")).unwrap();
    let facts = Repository::read(made.folder.path(), &Options { limit: 2, ..Options::default() }).unwrap();
    let words: Vec<&str> = facts.traces.iter().map(|trace| trace.words.as_str()).collect();
    let notes = words.join("; ");
    assert!(facts.commits.len() <= 2 && notes.contains("replace") && notes.contains("grafts"), "{notes}");
}
