//! Hostile files in torch's forms: each is refused in one sentence that names the file, nothing is run, memory is bounded.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use scratchproof_checkpoint::Checkpoint;
use scratchproof_source::MemoryStore;
use support::{Lie, Zip, dict, int, tensor, text};

/// A torch archive with one storage of 16 bytes.
fn archive(pickle: &[u8]) -> Vec<u8> {
    Zip::default().with("m/data.pkl", pickle).with("m/byteorder", b"little").with("m/data/0", &[0; 16]).finish()
}

fn good() -> Vec<u8> {
    tensor("0", 4, 0, &[2, 2], &[2, 1])
}

fn open(bytes: Vec<u8>) -> Result<Checkpoint, String> {
    let store = MemoryStore::new().with("pytorch_model.bin", bytes);
    Checkpoint::from_store(&store).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(bytes: Vec<u8>, words: &[&str]) -> String {
    let said = open(bytes).expect_err("a refusal");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
    assert!(said.starts_with("pytorch_model.bin: ") && !said.contains('\n') && said.len() < 900, "{said}");
    said
}

#[test]
fn an_honest_archive_is_read() {
    let model = open(archive(&dict(&[("a", good()), ("b", good())]))).unwrap();
    assert_eq!(model.tensors.len(), 2);
    assert_eq!(model.tensors[0].offset, model.tensors[1].offset, "one storage");
}

/// What an attacker would have run, as module and name.
const CALLS: &[(&str, &str)] = &[
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "Popen"),
    ("subprocess", "check_output"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("builtins", "open"),
    ("builtins", "compile"),
    ("builtins", "map"),
    ("__builtin__", "eval"),
    ("__builtin__", "apply"),
    ("importlib", "import_module"),
    ("runpy", "_run_code"),
    ("pty", "spawn"),
    ("socket", "create_connection"),
    ("webbrowser", "open"),
    ("shutil", "rmtree"),
    ("torch", "load"),
    ("torch.hub", "load"),
    ("torch.storage", "_load_from_bytes"),
    ("torch._utils", "_rebuild_wrapper_subclass"),
    ("torch.utils.data", "DataLoader"),
    ("numpy", "load"),
    ("pickle", "loads"),
    ("marshal", "loads"),
    ("types", "FunctionType"),
    ("functools", "partial"),
    ("operator", "attrgetter"),
    ("ctypes", "CDLL"),
    ("code", "InteractiveInterpreter"),
    ("__main__", "run"),
    ("__torch__", "Module"),
    ("collections.OrderedDict", "__reduce__"),
];

/// Ways to call or import.
fn ways(module: &str, name: &str) -> Vec<(&'static str, Vec<u8>)> {
    let global = format!("c{module}\n{name}\n").into_bytes();
    let stacked = [text(module), text(name), b"\x93".to_vec()].concat();
    let argument = text("touch owned");
    let cat = |parts: &[&[u8]]| parts.concat();
    vec![
        ("reduce", cat(&[&global, b"(", &argument, b"tR"])),
        ("reduce of one", cat(&[&stacked, &argument, b"\x85R"])),
        ("new object", cat(&[&global, b"(", &argument, b"t\x81"])),
        ("new object with names", cat(&[&stacked, &argument, b"\x85}\x92"])),
        ("instance", cat(&[b"(", &argument, format!("i{module}\n{name}\n").as_bytes()])),
        ("object", cat(&[b"(", &global, &argument, b"o"])),
        ("build", cat(&[&global, b"}(", &text("__setstate__"), &argument, b"ub"])),
        ("rebuild", cat(&[b"ctorch._tensor\n_rebuild_from_type_v2\n(", &global, b"N", &argument, b"\x85NtR"])),
        ("reconstruct", cat(&[b"ccopyreg\n_reconstructor\n(", &global, b"cbuiltins\nobject\nNtR"])),
        ("default of a dict", cat(&[b"ccollections\ndefaultdict\n", &global, b"\x85R"])),
        ("through the memo", cat(&[&global, b"q\x090h\x09", &argument, b"\x85R"])),
    ]
}

#[test]
fn whatever_calls_or_imports_is_named_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut count = 0;
    for (module, name) in CALLS {
        for (way, code) in ways(module, name) {
            let hidden = [
                ("alone", [b"\x80\x02".to_vec(), code.clone(), b".".to_vec()].concat()),
                ("as a value", dict(&[("a", good()), ("layer.weight", code.clone()), ("b", good())])),
                ("popped", dict(&[("a", [code.clone(), b"0".to_vec(), good()].concat())])),
            ];
            for (place, pickle) in hidden {
                for (form, bytes) in [("zip", archive(&pickle)), ("plain", pickle.clone())] {
                    let path = folder.path().join("pytorch_model.bin");
                    std::fs::write(&path, &bytes).unwrap();
                    let outcome = Checkpoint::open(&path);
                    let said = outcome.err().map(|error| error.to_string());
                    let Some(said) = said else { panic!("{module}.{name} by {way}, {place}, in {form} is read") };
                    assert!(said.contains("pytorch_model.bin"), "{said}");
                    assert!(
                        said.contains("nothing of it was run")
                            || said.contains("damaged")
                            || said.contains("no tensor"),
                        "{module}.{name} by {way}, {place}, in {form}: {said}"
                    );
                    if place == "as a value" && *module != "__main__" && said.contains("import") {
                        assert!(said.contains("layer.weight") && said.contains(name), "{said}");
                    }
                    count += 1;
                }
            }
        }
    }
    assert!(count > 2000, "{count}");
    assert!(!folder.path().join("owned").exists() && !std::path::Path::new("owned").exists());
}

#[test]
fn opcodes_that_reach_outside_are_refused() {
    for code in [&b"Pid\n"[..], b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\0\0\0", b"\x97", b"\xff", b"N\x98"] {
        let pickle = dict(&[("layer.weight", code.to_vec())]);
        refused(archive(&pickle), &["nothing of it was run"]);
    }
    refused(archive(&dict(&[("a", b"K\x01Q".to_vec())])), &["damaged"]);
    refused(archive(&[0x80, 9, b'N', b'.']), &["protocol 9"]);
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let whole = archive(&dict(&[("a", good()), ("b", good())]));
    for length in 0..whole.len() {
        assert!(open(whole[..length].to_vec()).is_err(), "{length}");
    }
    let pickle = dict(&[("a", good()), ("n", int(7))]);
    for at in 0..pickle.len() {
        for flip in [0x01, 0x10, 0x80, 0xff] {
            let mut damaged = pickle.clone();
            damaged[at] ^= flip;
            let _ = open(archive(&damaged));
            let _ = open(damaged);
        }
    }
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let _ = open(damaged);
        }
    }
}

#[test]
fn storages_and_strides_that_leave_the_file() {
    let with = |tensor: Vec<u8>| archive(&dict(&[("layer.weight", tensor)]));
    refused(with(tensor("0", 5, 0, &[5], &[1])), &["storage \"0\"", "16 bytes"]);
    refused(with(tensor("9", 4, 0, &[4], &[1])), &["layer.weight", "\"9\"", "not in the file"]);
    refused(with(tensor("../0", 4, 0, &[4], &[1])), &["layer.weight", "not in the file"]);
    refused(with(tensor("0", 4, 1, &[4], &[1])), &["layer.weight", "leaves its storage"]);
    refused(with(tensor("0", 4, 0, &[2, 2], &[3, 1])), &["layer.weight", "leaves its storage"]);
    refused(with(tensor("0", 4, 0, &[2, i32::MAX], &[i32::MAX, i32::MAX])), &["layer.weight"]);
    refused(with(tensor("0", 4, 0, &[1 << 20, 1 << 20], &[0, 0])), &["layer.weight", "expanded"]);
    refused(with(tensor("0", 4, -1, &[4], &[1])), &["before its storage"]);
    refused(with(tensor("0", 4, 0, &[-4], &[1])), &["whole numbers"]);
    refused(with(tensor("0", 4, 0, &[4], &[-1])), &["whole numbers"]);
    refused(with(tensor("0", 4, 0, &[4], &[1, 1])), &["do not fit"]);
    refused(with(tensor("0", -4, 0, &[4], &[1])), &["no length"]);
    // A small expanded tensor is what torch.save keeps of a broadcast.
    let model = open(with(tensor("0", 4, 0, &[3, 4], &[0, 1]))).unwrap();
    assert_eq!(model.read(&model.tensors[0]).unwrap().len(), 48);
}

#[test]
fn bombs_of_the_memo_and_of_depth() {
    // Each list holds the one before twice: 2^60 values to whoever follows them all.
    let bomb = [b"(]".to_vec(), b"q\x00](h\x00h\x00e".repeat(60), b"t".to_vec()].concat();
    refused(archive(&[b"\x80\x02".to_vec(), bomb.clone(), b".".to_vec()].concat()), &["than a checkpoint can be"]);
    refused(archive(&dict(&[("a", good()), ("x", bomb)])), &["than a checkpoint can be"]);
    // Deeper than any stack.
    let deep = [b"\x80\x02".to_vec(), b"]".repeat(1_000_000), b"a".repeat(999_999), b".".to_vec()].concat();
    refused(archive(&deep), &["than a checkpoint can be"]);
    // A list that holds itself.
    refused(archive(b"\x80\x02]q\x00h\x00a."), &["than a checkpoint can be"]);
    // More values than memory is given to.
    refused(archive(&[b"\x80\x02(".to_vec(), b"N".repeat(5_000_000), b"t.".to_vec()].concat()), &["values"]);
    refused(archive(b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\x7f."), &["bytes"]);
}

#[test]
fn archives_that_lie() {
    let pickle = dict(&[("layer.weight", good())]);
    let with = |lie: Lie| Zip::default().with("m/data.pkl", &pickle).lying("m/data/0", &[0; 16], lie).finish();
    let lie = Lie::default();
    refused(with(Lie { flags: 1, ..lie }), &["m/data/0", "encrypted"]);
    refused(with(Lie { method: 12, ..lie }), &["m/data/0", "method 12"]);
    refused(with(Lie { method: 8, size: Some(u32::MAX - 1), ..lie }), &["m/data/0", "bomb"]);
    refused(with(Lie { size: Some(4000), ..lie }), &["m/data/0", "4000"]);
    refused(with(Lie { size: Some(1 << 30), packed: Some(1 << 30), ..lie }), &["m/data/0", "outside"]);
    refused(with(Lie { offset: Some(1 << 30), ..lie }), &["m/data/0", "outside"]);
    refused(with(Lie { offset: Some(3), ..lie }), &["m/data/0", "is not where"]);
    // Deflated, but not to that size: said when the tensor is read.
    let short = open(with(Lie { method: 8, size: Some(64), ..lie })).unwrap();
    let said = short.read(&short.tensors[0]).unwrap_err().to_string();
    assert!(said.contains("m/data/0") && said.contains("does not unpack"), "{said}");
    refused(
        Zip::default().with("m/data.pkl", &pickle).with("m/byteorder", b"big").with("m/data/0", &[0; 16]).finish(),
        &["highest byte first"],
    );
    refused(Zip::default().with("readme.txt", b"x").finish(), &["zip archive"]);
    let two = Zip::default().with("m/data.pkl", &pickle).with("m/data/0", &[0; 16]).with("m/data/0", &[1; 16]).finish();
    refused(two, &["m/data/0", "twice"]);
    // Zip64 is what large archives are, and is read.
    assert_eq!(open(with(Lie { zip64: true, ..lie })).unwrap().tensors.len(), 1);
}

#[test]
fn a_foreign_object_is_named_and_its_fields_are_data() {
    let config = [b"c__main__\nGPTConfig\n)\x81}(".to_vec(), text("n_head"), int(4), b"ub".to_vec()].concat();
    let model = [b"}(".to_vec(), text("h.0.weight"), good(), b"u".to_vec()].concat();
    let found = open(archive(&dict(&[("model", model), ("config", config)]))).unwrap();
    let said: Vec<String> = found.notes.iter().map(scratchproof_texts::Text::english).collect();
    assert!(said.iter().any(|note| note.contains("__main__.GPTConfig")), "{said:?}");
    assert_eq!(found.config.unwrap()["n_head"], 4);
}
