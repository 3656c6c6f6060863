//! Odd histories: bundles, cut clones, worktrees, clocks, other people's models, hostile files.

use git2::{ObjectType, Oid};

use super::super::{MentionKind, Oddity, OddityKind, Place};
use super::{HOUR, Made, Options, Repository, START, config, settings};

fn kinds(oddities: &[Oddity]) -> Vec<OddityKind> {
    oddities.iter().map(|oddity| oddity.kind).collect()
}

#[test]
fn the_clocks_of_honest_oddities_are_seen_with_their_extent() {
    let made = Made::new();
    made.commit(0, &[("a", "0")]);
    made.commit_as(-182, -182, &[("a", "1")], "a child 7.6 days older than its parent");
    made.commit_as(-679 * 24, 1, &[("a", "2")], "an author date 679 days before");
    for n in 0..28 {
        made.commit(2, &[("a", &format!("x{n}"))]);
    }
    made.commit_as(200, 3, &[("a", "4")], "made after it was committed");
    let found = made.read().oddities();
    let expected =
        [OddityKind::AuthorAfterCommitter, OddityKind::OlderThanParent, OddityKind::Burst, OddityKind::LateCommit];
    assert_eq!(kinds(&found), expected);
    let extents: Vec<f64> = found.iter().map(|oddity| (oddity.extent * 10.0).round() / 10.0).collect();
    assert_eq!(extents, [8.2, 7.6, 28.0, 679.0]);
    assert!(found.iter().all(|oddity| oddity.count >= 1 && !oddity.words.is_empty()));
}

#[test]
fn histories_written_anew_and_impossible_dates_are_seen() {
    let made = Made::new();
    for n in 0..20_i64 {
        made.commit_as(n * 24, 900 + n / 10, &[("a", &n.to_string())], "moved");
    }
    let found = made.read().oddities();
    assert!(kinds(&found).contains(&OddityKind::WrittenAnew), "{found:?}");
    let odd = Made::new();
    let tree = odd.repository.treebuilder(None).unwrap().write().unwrap();
    let write = |at: i64, zone: &str, parent: &str| {
        let text = format!("tree {tree}\n{parent}author A <a@x> {at} {zone}\ncommitter A <a@x> {at} {zone}\n\nm\n");
        odd.repository.odb().unwrap().write(ObjectType::Commit, text.as_bytes()).unwrap()
    };
    let first = write(1000, "+0000", "");
    let second = write(5_000_000_000, "+0000", &format!("parent {first}\n"));
    let third = write(START, "+1337", &format!("parent {second}\n"));
    odd.repository.reference("refs/heads/x", third, true, "").unwrap();
    let found = odd.read().oddities();
    let expected = [OddityKind::OlderThanParent, OddityKind::Zone, OddityKind::BeforeGit, OddityKind::Future];
    assert_eq!(kinds(&found), expected);
    for at in [i64::MAX, i64::MIN, -1] {
        let id = write(at, "+0000", "");
        odd.repository.reference("refs/heads/y", id, true, "").unwrap();
        assert!(!odd.read().oddities().is_empty());
    }
}

/// A pack with a header in front, as `git bundle create` writes it.
fn bundle(made: &Made, tip: Oid, needs: &[Oid], without: &[Oid]) -> std::path::PathBuf {
    let mut builder = made.repository.packbuilder().unwrap();
    let mut walk = made.repository.revwalk().unwrap();
    walk.push(tip).unwrap();
    for id in without {
        walk.hide(*id).unwrap();
    }
    builder.insert_walk(&mut walk).unwrap();
    let mut pack = git2::Buf::new();
    builder.write_buf(&mut pack).unwrap();
    let needs = needs.iter().fold(String::new(), |text, id| format!("{text}-{id} why\n"));
    let head = format!("# v3 git bundle\n@object-format=sha1\n{needs}{tip} refs/heads/main\n{tip} HEAD\n\n");
    let path = made.folder.path().join("x.bundle");
    std::fs::write(&path, [head.as_bytes(), &pack[..]].concat()).unwrap();
    path
}

#[test]
fn a_bundle_reads_like_the_repository_it_was_made_from() {
    let made = Made::new();
    let first = made.commit(0, &[("c.json", &config(4))]);
    let last = made.commit(1, &[("c.json", &config(8))]);
    let whole = Repository::read(&bundle(&made, last, &[], &[]), &Options::default()).unwrap();
    let there = made.read();
    assert_eq!((&whole.commits, &whole.line, &whole.settings), (&there.commits, &there.line, &there.settings));
    assert!(!whole.shallow && whole.traces.is_empty() && whole.head == there.head);

    let path = bundle(&made, last, &[first], &[first]);
    let part = Repository::read(&path, &Options::default());
    // The pack holds what is needed, or says what it builds on.
    match part {
        Ok(part) => {
            assert!(part.shallow && part.commits.len() == 1 && part.traces[0].cut);
            assert!(part.traces[0].words.contains(&first.to_string()), "{:?}", part.traces);
        }
        Err(error) => assert!(error.to_string().contains("1 commits that are not in it"), "{error}"),
    }
    let bytes = std::fs::read(&path).unwrap();
    for cut in [10, 60, bytes.len() - 25] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert!(Repository::read(&path, &Options::default()).unwrap_err().is_input());
    }
    std::fs::write(&path, "# v3 git bundle\n@object-format=sha256\n\n").unwrap();
    assert!(Repository::read(&path, &Options::default()).unwrap_err().to_string().contains("sha256 instead of SHA-1"));
}

#[test]
fn a_shallow_clone_says_so_and_is_read() {
    let made = Made::new();
    let first = made.commit(0, &[("c.json", &config(4))]);
    let second = made.commit(1, &[("c.json", &config(8))]);
    std::fs::write(made.folder.path().join("shallow"), format!("{second}\n")).unwrap();
    let id = first.to_string();
    std::fs::remove_file(made.folder.path().join("objects").join(&id[..2]).join(&id[2..])).unwrap();
    let facts = made.read();
    assert!(facts.shallow && facts.commits.len() == 1 && facts.settings.len() == 1);
    assert!(facts.traces.iter().any(|trace| trace.cut && trace.words.contains("shallow")));
}

#[test]
fn a_linked_worktree_is_read_and_a_mere_pointer_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let main = git2::Repository::init(folder.path().join("main")).unwrap();
    let who = git2::Signature::now("A", "a@x").unwrap();
    let tree = main.find_tree(main.treebuilder(None).unwrap().write().unwrap()).unwrap();
    main.commit(Some("HEAD"), &who, &who, "m", &tree, &[]).unwrap();
    let other = folder.path().join("other");
    main.worktree("other", &other, None).unwrap();
    let facts = Repository::read(&other, &Options::default()).unwrap();
    assert_eq!(facts.commits.len(), 1);
    let pointer = folder.path().join("pointer");
    std::fs::create_dir(&pointer).unwrap();
    std::fs::copy(other.join(".git"), pointer.join(".git")).unwrap();
    assert!(Repository::read(&pointer, &Options::default()).unwrap_err().to_string().contains("only points at"));
}

#[test]
fn rewriting_leaves_traces() {
    let made = Made::new();
    let tip = made.commit(0, &[("a", "x")]);
    made.repository.reference("refs/original/refs/heads/main", tip, true, "").unwrap();
    let logs = made.folder.path().join("logs/refs/heads");
    std::fs::create_dir_all(&logs).unwrap();
    let line = |what: &str| format!("{tip} {tip} A <a@x> 1 +0000\t{what}\n");
    let text = ["rebase (finish): x", "commit (amend): y", "fetch: forced-update", "commit: z"].map(line).concat();
    std::fs::write(logs.join("main"), text).unwrap();
    let words: Vec<String> = made.read().traces.into_iter().map(|trace| trace.words).collect();
    let words = words.join("; ");
    for part in ["1 amended commits", "1 forced updates", "1 steps of rebases", "refs/original"] {
        assert!(words.contains(part), "{words}");
    }
}

#[test]
fn mentions_have_a_file_a_line_and_a_life() {
    let made = Made::new();
    let code = "import x\n# from phi_3\nmodel = AutoModel.from_pretrained('org/phi-3')\nVOCAB = 151552\n";
    let first =
        made.commit(0, &[("train.py", code), ("README.md", "like Phi-3\n"), ("run.sh", "python t.py --load ckpt\n")]);
    let second = made.commit(1, &[("train.py", "import x\nVOCAB = 151552\n"), ("link", "x")]);
    let mut options = Options::default();
    options.sought.name("Phi", "phi-3");
    options.sought.constant("Phi", "vocab_size", 151_552);
    let facts = Repository::read(made.folder.path(), &options).unwrap();
    let seen = |kind: MentionKind| facts.mentions.iter().filter(|m| m.kind == kind).collect::<Vec<_>>();
    let names = seen(MentionKind::Name);
    assert_eq!(
        names.iter().map(|m| (m.path.as_str(), m.line, m.place)).collect::<Vec<_>>(),
        [("train.py", 2, Place::Code), ("README.md", 1, Place::Documentation)]
    );
    assert_eq!(names[0].first, first.to_string());
    assert_eq!((&names[0].gone, &names[1].gone), (&Some(second.to_string()), &None));
    assert_eq!(seen(MentionKind::Loads)[0].text, "AutoModel.from_pretrained('org/phi-3')");
    assert_eq!((seen(MentionKind::Starts)[0].line, &seen(MentionKind::Starts)[0].gone), (1, &None));
    let constant = seen(MentionKind::Constant)[0];
    assert_eq!((constant.line, &constant.gone, constant.parent.as_deref()), (4, &None, Some("Phi")));
}

#[test]
fn settings_in_every_language_make_one_history() {
    let made = Made::new();
    let python = |layers: i64| format!("class Config:\n    n_layer = {layers}\n    n_head = 4\n    n_embd = 64\n");
    made.commit(
        0,
        &[("model.py", &python(4)), ("run.sh", "t --num-layers 8 --hidden-size 64 --num-attention-heads 4\n")],
    );
    let change = made.commit(
        1,
        &[("model.py", &python(8)), ("conf/x.yaml", "model:\n  d_model: 64\n  n_layers: 8\n  n_heads: 4\n")],
    );
    made.commit(2, &[("model.py", "")]);
    let facts = made.read();
    let history = facts.settings_history();
    let of = |path: &str, name: &str| {
        let rows = history.iter().filter(|row| row.path == path && row.name == name);
        rows.map(|row| (row.former, row.value, row.line)).collect::<Vec<_>>()
    };
    let expected = [(None, Some(4), Some(2)), (Some(4), Some(8), Some(2)), (Some(8), None, None)];
    assert_eq!(of("model.py", "num_hidden_layers"), expected);
    assert_eq!(of("conf/x.yaml", "hidden_size"), [(None, Some(64), Some(2))]);
    assert_eq!(history.iter().find(|row| row.path == "conf/x.yaml").unwrap().commit, change.to_string());
    let last = settings(8);
    assert!(matches!(facts.freeze(&last), super::Freeze::Unknown), "two sizes in common are too few");
    let last = [("hidden_size", 64), ("num_hidden_layers", 8), ("num_attention_heads", 4)];
    let last = last.map(|(name, value)| (name.to_owned(), value)).into();
    assert!(matches!(facts.freeze(&last), super::Freeze::Since { path: "run.sh", .. }));
}

#[test]
fn the_result_is_the_same_for_any_number_of_threads() {
    let made = Made::new();
    for n in 0..200 {
        let name = format!("f{}.py", n % 7);
        made.commit(n, &[(&name, &format!("n_layer = {n}\nn_head = 2\nn_embd = 4\nx.from_pretrained('a/b{n}')\n"))]);
    }
    let read =
        |threads: usize| Repository::read(made.folder.path(), &Options { threads, ..Options::default() }).unwrap();
    let (one, many) = (read(1), read(5));
    assert_eq!((&one.settings, &one.mentions, &one.notes), (&many.settings, &many.mentions, &many.notes));
    assert_eq!((one.mentions.len(), &one.more_mentions[..]), (100, &[(MentionKind::Loads, 100)][..]));
}

#[test]
fn hostile_trees_and_files_end_in_an_answer() {
    let made = Made::new();
    let odb = made.repository.odb().unwrap();
    let big = odb.write(ObjectType::Blob, &vec![b'n'; 3 << 20]).unwrap();
    let entry = |mode: &str, name: &str, id: Oid| [format!("{mode} {name}\0").as_bytes(), id.as_bytes()].concat();
    let nowhere = Oid::from_str(&"ab".repeat(20)).unwrap();
    let mut tree = Vec::new();
    tree.extend(entry("120000", "a.py", big));
    tree.extend(entry("100644", "b\x1b[31m.py", odb.write(ObjectType::Blob, b"m.from_pretrained('x/y')\n").unwrap()));
    tree.extend(entry("100644", "c.json", big));
    tree.extend(entry("100644", "missing.py", nowhere));
    tree.extend(entry("160000", "submodule", nowhere));
    let mut id = odb.write(ObjectType::Tree, &tree).unwrap();
    for _ in 0..60 {
        id = odb.write(ObjectType::Tree, &[entry("100644", "z.py", big), entry("40000", "zz", id)].concat()).unwrap();
    }
    let root = odb.write(ObjectType::Tree, &[tree, entry("40000", "zz", id)].concat()).unwrap();
    let text = format!("tree {root}\nauthor A <a@x> {START} +0000\ncommitter A <a@x> {} +0000\n\nm\n", START + HOUR);
    let commit = odb.write(ObjectType::Commit, text.as_bytes()).unwrap();
    made.repository.reference("refs/heads/x", commit, true, "").unwrap();
    let facts = made.read();
    assert!(
        facts.notes.iter().any(|note| note.contains("1 versions of files are missing or damaged")),
        "{:?}",
        facts.notes
    );
    assert!(facts.notes.iter().any(|note| note.contains("folders are deeper")), "{:?}", facts.notes);
    assert_eq!(facts.mentions.len(), 1);
    assert_eq!(facts.mentions[0].path, "b\u{FFFD}[31m.py");
}
