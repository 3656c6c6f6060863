use std::fs;

use super::{Folder, RECORD, alone, sweep};

fn names(dir: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_written_may_be_replaced_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("out");
    let folder = Folder::open(&root).unwrap();
    let written = folder.write("sub/a.txt", b"one").unwrap();
    assert_eq!(written.sha256, "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed");
    folder.write("sub/a.txt", b"two").unwrap();
    drop(folder);
    let folder = Folder::open(&root).unwrap();
    folder.write("sub/a.txt", b"three").unwrap();
    fs::write(root.join("b.txt"), "mine").unwrap();
    fs::write(root.join("sub/a.txt"), "edited").unwrap();
    for name in ["b.txt", "sub/a.txt"] {
        let error = folder.write(name, b"x").unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("not written by this tool"), "{error}");
        assert!(folder.may_write([name]).is_err() && folder.remove(name).is_err(), "{name}");
    }
    assert_eq!(fs::read(root.join("b.txt")).unwrap(), b"mine");
    folder.may_write(["c.txt"]).unwrap();
}

#[test]
fn one_run_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = Folder::open(dir.path()).unwrap();
    let error = Folder::open(dir.path()).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("another run"), "{error}");
    drop(first);
    Folder::open(dir.path()).unwrap();
}

#[test]
fn what_a_killed_run_leaves_is_swept_and_its_half_line_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    folder.write("a", b"1").unwrap();
    drop(folder);
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/.scratchproof-part-7-1"), "half").unwrap();
    fs::write(dir.path().join(".scratchproof-part-7-0"), "half").unwrap();
    let record = dir.path().join(RECORD);
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.clone() + "{\"file\":\"b\",\"sha").unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    folder.write("a", b"2").unwrap();
    folder.write("b", b"3").unwrap();
    folder.finish().unwrap();
    assert_eq!(names(dir.path()), [RECORD, "a", "b", "sub"]);
    assert_eq!(names(&dir.path().join("sub")), Vec::<String>::new());
    drop(folder);
    assert_eq!(Folder::open(dir.path()).unwrap().files("").unwrap().len(), 2);
}

#[test]
fn a_cut_record_of_any_length_claims_nothing_new() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    folder.write("a", b"1").unwrap();
    drop(folder);
    let record = dir.path().join(RECORD);
    let text = fs::read(&record).unwrap();
    for length in 0..text.len() {
        fs::write(&record, &text[..length]).unwrap();
        // Either a record that does not know the file, or none at all; never a panic.
        if let Ok(folder) = Folder::open(dir.path()) {
            assert!(folder.write("a", b"2").is_err(), "{length}");
        }
        assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"1");
    }
}

#[cfg(unix)]
#[test]
fn links_and_other_records_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::write(&outside, "precious").unwrap();
    let root = dir.path().join("out");
    let folder = Folder::open(&root).unwrap();
    std::os::unix::fs::symlink(&outside, root.join("report.html")).unwrap();
    assert!(folder.write("report.html", b"x").unwrap_err().is_usage());
    assert_eq!(fs::read(&outside).unwrap(), b"precious");
    drop(folder);
    fs::write(root.join(RECORD), "something else\n").unwrap();
    assert!(Folder::open(&root).unwrap_err().to_string().contains("no record of this version"));
    fs::remove_file(root.join(RECORD)).unwrap();
    std::os::unix::fs::symlink(&outside, root.join(RECORD)).unwrap();
    assert!(Folder::open(&root).unwrap_err().is_usage());
}

#[test]
fn what_a_killed_process_left_half_written_goes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // No process has this number: it is above the largest one that Linux gives.
    for name in [".a-4999999-part", ".b-4999999-part", ".a-x-part", "a-4999999-part", ".a-4999999"] {
        fs::write(at(name), "half").unwrap();
    }
    fs::write(at(&format!(".b-{}-part", std::process::id())), "of this one").unwrap();
    alone(&at("a"), b"whole").unwrap();
    assert_eq!(fs::read(at("a")).unwrap(), b"whole");
    assert!(!at(".a-4999999-part").exists() && at(".b-4999999-part").exists());
    sweep(dir.path());
    assert!(!at(".b-4999999-part").exists());
    for name in [".a-x-part", "a-4999999-part", ".a-4999999", &format!(".b-{}-part", std::process::id())] {
        assert!(at(name).exists(), "{name}");
    }
}
