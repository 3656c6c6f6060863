//! Every form of one series gives the tensors that its safetensors have.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use scratchproof_checkpoint::{Checkpoint, Dtype};
use scratchproof_source::Reading;

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/forms").join(path)
}

fn open(path: &str) -> Checkpoint {
    Checkpoint::open(&fixture(path), Reading::Auto).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn tensors(checkpoint: &Checkpoint) -> Tensors {
    let read = |tensor: &scratchproof_checkpoint::TensorRecord| {
        let bytes = checkpoint.read(tensor).unwrap_or_else(|error| panic!("{error}")).into_owned();
        (tensor.name.clone(), (tensor.dtype, tensor.shape.clone(), bytes))
    };
    checkpoint.tensors.iter().map(read).collect()
}

#[track_caller]
fn same(path: &str, truth: &str) -> Checkpoint {
    let (found, expected) = (open(path), open(truth));
    let (a, b) = (tensors(&found), tensors(&expected));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>(), "{path}");
    for (name, expected) in b {
        assert!(a[&name] == expected, "{path}: {name}: {:?} {:?}", a[&name].1, expected.1);
    }
    assert!(!found.form.is_empty());
    found
}

fn notes(checkpoint: &Checkpoint) -> String {
    checkpoint.notes.iter().map(|note| note.english() + "\n").collect()
}

#[test]
fn torch_files_of_a_series() {
    for step in [0, 20, 60] {
        let truth = format!("hf-trainer/checkpoint-{step}");
        for form in ["bin", "bin-sharded", "legacy"] {
            let found = same(&format!("{form}/checkpoint-{step}"), &truth);
            assert_eq!(found.architecture.as_deref(), Some("llama"));
        }
        let lightning = same(&format!("nested/step={step}.ckpt"), &truth);
        let said = notes(&lightning);
        assert!(said.contains("\"state_dict\"") && said.contains("\"optimizer_states\""), "{said}");
        assert_eq!(lightning.heads().map(|heads| heads.query), Some(4), "settings of the file itself");
    }
}

#[test]
fn views_storages_and_number_formats() {
    same("views.pt", "views.safetensors");
    same("views.legacy.pt", "views.safetensors");
    let quantised = open("quantised.pt");
    assert_eq!(quantised.tensors.len(), 1);
    let skipped: Vec<String> =
        quantised.skipped.iter().map(|skipped| format!("{}: {}", skipped.tensor, skipped.why)).collect();
    assert!(skipped.iter().any(|line| line.starts_with("q: ") && line.contains("qint8")), "{skipped:?}");
    assert!(skipped.iter().any(|line| line.contains("complex64")), "{skipped:?}");
}

#[test]
fn a_scripted_module() {
    let found = same("scripted.jit", "scripted.safetensors");
    assert_eq!(found.form.english(), "TorchScript archive");
}

#[test]
fn both_forms_in_one_folder_are_compared() {
    let said = notes(&open("hf-trainer/checkpoint-60"));
    assert!(said.contains("equal in every byte"), "{said}");
}

#[test]
fn gguf_gives_the_published_names_rows_and_the_references_numbers() {
    for step in [0, 20, 60] {
        let found = same(&format!("gguf/step{step}.gguf"), &format!("hf-trainer/checkpoint-{step}"));
        assert_eq!(found.heads().map(|heads| (heads.query, heads.key_value)), Some((4, 2)));
    }
    let said = notes(&same("blocks.gguf", "blocks.safetensors"));
    assert!(said.contains("Q6_K (1)") && said.contains("not equal"), "{said}");
}

#[test]
fn arrays_of_numpy_and_initialisers_of_onnx() {
    for step in [0, 20, 60] {
        same(&format!("npz/step{step}.npz"), &format!("hf-trainer/checkpoint-{step}"));
    }
    same("order.npz", "order.safetensors");
    same("step60.onnx", "hf-trainer/checkpoint-60");
}

#[test]
fn a_distributed_checkpoint_of_two_processes_in_a_trainers_folder() {
    for step in [0, 20, 60] {
        let found = same(&format!("fsdp/checkpoint-{step}"), &format!("fsdp/truth-{step}"));
        assert_eq!(found.form.english(), "torch distributed checkpoint");
    }
}
