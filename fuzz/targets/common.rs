//! What every target does: a file of the fixtures is replaced by what libFuzzer made of it, and read twice.
//!
//! SCRATCHPROOF_TARGET names the target. The first byte of an input chooses which of the target's files it stands for, in
//! 7 bits; the eighth has sums over the bytes made right where a format has them. With SCRATCHPROOF_SEEDS nothing is
//! fuzzed: the inputs to begin with are written to that folder, or, without a target, the names of all targets.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::table::{Reader, Seed, seeds};

/// Files that are longer are not fuzzed.
const LONGEST: usize = 128 << 10;

/// The files of the target, each copied with its folder.
struct Files {
    places: Vec<(Seed, PathBuf)>,
    _made: tempfile::TempDir,
    _copies: tempfile::TempDir,
}

static FILES: OnceLock<Files> = OnceLock::new();

/// Copies the files of the target, or writes what libFuzzer begins with.
pub fn begin(own: fn(Reader) -> bool) {
    let made = tempfile::tempdir().expect("a folder");
    let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let length = |seed: &Seed| fs::metadata(seed.folder.join(&seed.file)).map_or(0, |about| about.len());
    let mut all = seeds(repository, made.path());
    all.retain(|seed| own(seed.reader) && length(seed) <= LONGEST as u64);
    let target = std::env::var("SCRATCHPROOF_TARGET").unwrap_or_default();
    let names: std::collections::BTreeSet<&str> = all.iter().map(|seed| seed.target).collect();
    let out = std::env::var_os("SCRATCHPROOF_SEEDS").map(PathBuf::from);
    if let Some(out) = out.as_ref().filter(|_| target.is_empty()) {
        fs::write(out, names.into_iter().collect::<Vec<_>>().join("\n") + "\n").expect("written");
        std::process::exit(0);
    }
    assert!(names.contains(target.as_str()), "SCRATCHPROOF_TARGET is none of {names:?}");
    all.retain(|seed| seed.target == target);
    if let Some(out) = out {
        for (which, seed) in all.iter().take(128).enumerate() {
            let bytes = fs::read(seed.folder.join(&seed.file)).expect("a file");
            let which = u8::try_from(which).expect("seven bits");
            fs::write(out.join(format!("seed-{which:03}")), [&[which | 0x80], &bytes[..]].concat()).expect("written");
        }
        std::process::exit(0);
    }
    let copies = tempfile::tempdir().expect("a folder");
    let copied = |(which, seed): (usize, Seed)| {
        let to = copies.path().join(format!("{which}"));
        copy(&seed.folder, &to, &seed);
        let place = to.join(&seed.file);
        (seed, place)
    };
    let places = all.into_iter().take(128).enumerate().map(copied).collect();
    assert!(FILES.set(Files { places, _made: made, _copies: copies }).is_ok(), "begun twice");
}

/// What a reader needs beside its file; of a folder whose files are read alone, the file alone.
fn copy(from: &Path, to: &Path, seed: &Seed) {
    let alone = matches!(
        seed.reader,
        Reader::Model(0) | Reader::Tokenizer | Reader::Log(0) | Reader::Ledger | Reader::Envelope | Reader::Fingerprint
    );
    if alone {
        let place = to.join(&seed.file);
        fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
        fs::copy(from.join(&seed.file), place).expect("copied");
        return;
    }
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            let whole = Seed { reader: Reader::Bundle, ..seed.clone() };
            copy(&from, &to, &whole);
        } else {
            fs::copy(from, to).expect("copied");
        }
    }
}

/// One input: two readings of the same bytes are the same.
pub fn one(data: &[u8], repair: fn(&Seed, &mut Vec<u8>), answer: fn(Reader, &Path) -> Option<String>) {
    let files = FILES.get().expect("begun");
    let Some((first, bytes)) = data.split_first() else { return };
    let (seed, place) = &files.places[usize::from(first & 0x7f) % files.places.len()];
    let mut bytes = bytes.to_vec();
    if first & 0x80 != 0 {
        repair(seed, &mut bytes);
    }
    fs::write(place, &bytes).expect("written");
    let [first, second] = [(); 2].map(|()| answer(seed.reader, place).expect("a reader"));
    if first != second {
        let at = first.bytes().zip(second.bytes()).take_while(|(a, b)| a == b).count();
        let near = |text: &str| text.chars().skip(at.saturating_sub(80)).take(200).collect::<String>();
        panic!("two answers of {:?}:\n{}\n{}", seed.reader, near(&first), near(&second));
    }
}
