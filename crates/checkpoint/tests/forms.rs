//! Every form of one series gives the tensors that its safetensors have.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use scratchproof_checkpoint::{Checkpoint, Dtype};

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/forms").join(path)
}

fn open(path: &str) -> Checkpoint {
    Checkpoint::open(&fixture(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
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

#[test]
fn megatrons_parts_are_joined_and_unpacked() {
    for step in [0, 20, 60] {
        let found = same(&format!("megatron/iter_{step:07}"), &format!("hf-trainer/checkpoint-{step}"));
        assert!(notes(&found).contains("2 tensor-parallel parts in 2 pipeline stages"), "{}", notes(&found));
        assert_eq!(found.heads().map(|heads| (heads.query, heads.key_value)), Some((4, 2)));
    }
    same("megatron", "hf-trainer/checkpoint-60");
    // Its optimizer's states have no names; that they were not read is said.
    let folder = tempfile::tempdir().unwrap();
    for rank in ["mp_rank_00_000", "mp_rank_00_001", "mp_rank_01_000", "mp_rank_01_001"] {
        let place = folder.path().join(rank);
        std::fs::create_dir(&place).unwrap();
        for entry in std::fs::read_dir(fixture("megatron/iter_0000060").join(rank)).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, place.join(path.file_name().unwrap())).unwrap();
        }
    }
    let said = || notes(&Checkpoint::open(folder.path()).unwrap());
    assert!(!said().contains("optimiser"), "{}", said());
    std::fs::write(folder.path().join("mp_rank_00_000/distrib_optim.pt"), "states").unwrap();
    assert!(said().contains("\"distrib_optim.pt\" are not read"), "{}", said());
    // A rank that holds again what another has is one of experts, not a stage.
    for file in std::fs::read_dir(folder.path().join("mp_rank_00_000")).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, folder.path().join("mp_rank_00_001").join(path.file_name().unwrap())).unwrap();
    }
    for file in std::fs::read_dir(folder.path().join("mp_rank_01_000")).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, folder.path().join("mp_rank_01_001").join(path.file_name().unwrap())).unwrap();
    }
    let why = Checkpoint::open(folder.path()).err().unwrap().to_string();
    assert!(why.contains("mp_rank_00_001") && why.contains("expert-parallel"), "{why}");
    same("megatron-core/iter_0000060", "hf-trainer/checkpoint-60");
}

#[test]
fn deepspeeds_master_weights_are_put_together() {
    for stage in 1..=3 {
        let found = same(&format!("zero{stage}"), &format!("zero{stage}/truth"));
        assert!(notes(&found).contains("from 2 ranks"), "{}", notes(&found));
        same(&format!("zero{stage}/global_step20"), &format!("zero{stage}/truth"));
    }
    same("zero-universal", "zero2/truth");
}

#[test]
fn metas_parts_and_what_small_trainers_write() {
    for step in [0, 20, 60] {
        same(&format!("consolidated/step{step}"), &format!("hf-trainer/checkpoint-{step}"));
    }
    let found = same("nanogpt/ckpt.pt", "nanogpt.safetensors");
    assert!(notes(&found).contains("best_val_loss"), "{}", notes(&found));
    assert_eq!(found.heads().map(|heads| heads.query), Some(2));
    for place in ["nanochat", "nanochat/model_000500.pt"] {
        let found = open(place);
        assert_eq!(found.tensors.len(), 16);
        assert_eq!(found.heads().map(|heads| heads.query), Some(2), "{place}");
    }
}

#[test]
fn a_cache_of_the_hub_with_links_and_without() {
    same("hub-cache", "hf-trainer/checkpoint-60");
    same("hub-cache-copied", "hf-trainer/checkpoint-60");
    same("hub-cache-copied/models--example--tiny", "hf-trainer/checkpoint-60");
}

/// A tensor of an optimizer's state as numbers.
fn values(optimizer: &scratchproof_checkpoint::Optimizer, tensor: &scratchproof_checkpoint::StateTensor) -> Vec<f32> {
    let bytes = optimizer.read(tensor).unwrap();
    assert_eq!(tensor.dtype(), Dtype::F32);
    let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    assert_eq!(values.len(), tensor.shape().iter().product::<usize>());
    values
}

#[test]
fn the_trainers_optimizer_states() {
    use scratchproof_checkpoint::Parameter;
    for step in [20, 60] {
        let model = open(&format!("hf-trainer/checkpoint-{step}"));
        let [optimizer] = model.optimizers().unwrap() else { panic!("one optimizer") };
        assert_eq!((optimizer.source.as_str(), optimizer.groups.len()), ("optimizer.pt", 2));
        assert_eq!(
            (&optimizer.groups[0]["weight_decay"], &optimizer.groups[1]["weight_decay"]),
            (&0.1.into(), &0.0.into())
        );
        assert_eq!(optimizer.groups[0]["betas"][1], 0.95);
        assert_eq!(optimizer.states.len(), model.tensors.len());
        for state in &optimizer.states {
            assert_eq!(state.numbers["step"].to_bits(), f64::from(step).to_bits());
            assert!(values(optimizer, &state.tensors["exp_avg_sq"]).iter().all(|v| *v >= 0.0));
        }
        // Matrices decay and norms do not: two groups, numbered on.
        let first = &optimizer.states[0];
        assert_eq!((&first.parameter, first.group), (&Parameter::Numbered(0), Some(0)));
        assert!(values(optimizer, &first.tensors["exp_avg"]).iter().any(|moment| *moment != 0.0));
        assert!(
            optimizer
                .states
                .iter()
                .all(|state| (state.tensors["exp_avg"].shape().len() > 1) == (state.group == Some(0)))
        );
    }
    assert!(open("hf-trainer/checkpoint-0").optimizers().unwrap().is_empty());
    let [lightning] =
        open("nested/step=60.ckpt").optimizers().unwrap().to_vec().try_into().unwrap_or_else(|_| panic!("one"));
    assert_eq!(lightning.groups.len(), 1);
    let [nanogpt] = open("nanogpt/ckpt.pt").optimizers().unwrap().to_vec().try_into().unwrap_or_else(|_| panic!("one"));
    assert_eq!(nanogpt.states.len(), 16);
    assert_eq!(open("nanochat").optimizers().unwrap()[0].states.len(), 16);
}

#[test]
fn optimizer_states_in_pieces_have_names_and_the_models_shapes() {
    use scratchproof_checkpoint::Parameter;
    for place in ["fsdp/checkpoint-60", "zero1", "zero2", "zero2/global_step20", "zero3", "zero-universal"] {
        let model = open(place);
        let [optimizer] = model.optimizers().unwrap() else { panic!("one optimizer in {place}") };
        assert_eq!(optimizer.states.len(), model.tensors.len(), "{place}");
        let rates: Vec<_> = optimizer.groups.iter().map(|group| group["lr"].as_f64().unwrap()).collect();
        assert!(!rates.is_empty() && optimizer.groups[0]["betas"].is_array(), "{place}: {:?}", optimizer.groups);
        assert!(
            optimizer.groups.iter().all(|group| group["weight_decay"].is_f64() && group["eps"].is_f64()),
            "{place}"
        );
        assert!(optimizer.states.iter().all(|state| state.group.is_some_and(|at| at < rates.len())), "{place}");
        for state in &optimizer.states {
            let Parameter::Named(name) = &state.parameter else { panic!("{place}: no name") };
            let tensor = model.find(name).unwrap_or_else(|| panic!("{place}: {name}"));
            for kind in ["exp_avg", "exp_avg_sq"] {
                let kept = &state.tensors[kind];
                assert_eq!(kept.shape(), tensor.shape, "{place}: {name}");
                let values = values(optimizer, kept);
                assert!(
                    values.iter().any(|value| *value != 0.0) && (kind == "exp_avg" || values.iter().all(|v| *v >= 0.0))
                );
            }
            if let Some(master) = state.tensors.get("master") {
                assert_eq!(optimizer.read(master).unwrap(), *model.read(tensor).unwrap(), "{place}: {name}");
            }
        }
    }
}

#[test]
fn quantised_blocks_are_what_the_reference_makes_of_them() {
    for (name, kind) in [
        ("gptq", "4 tensors quantised as GPTQ"),
        ("awq", "AWQ"),
        ("mxfp4", "MXFP4"),
        ("bitsandbytes", "3 tensors quantised as bitsandbytes, 4 bits"),
        ("scaled", "scaled 8-bit floats"),
        ("compressed-tensors", "4 tensors quantised as compressed-tensors, packed"),
        ("compressed-tensors", "1 tensor quantised as NVFP4"),
        ("compressed-tensors", "1 tensor quantised as compressed-tensors, 8 bits"),
        ("mlx", "5 tensors quantised as MLX"),
    ] {
        let found = open(&format!("quantised/{name}"));
        let (own, truth) = (tensors(&found), tensors(&open(&format!("quantised/{name}.truth.safetensors"))));
        assert_eq!(own.keys().collect::<Vec<_>>(), truth.keys().collect::<Vec<_>>(), "{name}");
        for (tensor, (dtype, shape, bytes)) in truth {
            assert_eq!((own[&tensor].0, &own[&tensor].1), (dtype, &shape), "{name}: {tensor}");
            let numbers = |bytes: &[u8]| -> Vec<f32> {
                // Zeros of either sign are one.
                bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four) + 0.0).collect()
            };
            assert!(numbers(&own[&tensor].2) == numbers(&bytes), "{name}: {tensor}");
        }
        assert!(notes(&found).contains(kind), "{name}: {}", notes(&found));
    }
}

#[test]
fn hdf5_of_keras_is_the_same_model() {
    let truth = tensors(&open("hf-trainer/checkpoint-60"));
    for name in ["model.h5", "latest.h5", "model.keras"] {
        let found = tensors(&open(&format!("hdf5/{name}")));
        assert!(found == truth, "{name}: {:?}", found.keys().collect::<Vec<_>>());
    }
    let kinds = open("hdf5/kinds.h5");
    let found = tensors(&kinds);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["again", "f2", "f4", "f8", "i1", "i2", "i4", "i8", "scalar", "u1", "u2", "u4", "u8"]);
    let counted: Vec<u8> = (0..6_u8).flat_map(|n| f32::from(n).to_le_bytes()).collect();
    assert_eq!((&found["f4"].1, &found["f4"].2), (&vec![2, 3], &counted));
    assert_eq!(found["i2"].2, [0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0]);
    let skipped: Vec<&str> = kinds.skipped.iter().map(|skipped| skipped.tensor.as_str()).collect();
    assert_eq!(skipped, ["big", "chunks", "text"]);
}

/// Every prefix, and every byte changed: an error or a model, never more.
#[test]
fn damaged_hdf5_ends_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.h5");
    let whole = std::fs::read(fixture("hdf5/kinds.h5")).unwrap();
    let mut seen = 0;
    for at in (0..whole.len()).step_by(11) {
        std::fs::write(&path, &whole[..at]).unwrap();
        let _ = Checkpoint::open(&path);
        for with in [0xFF, 0x01] {
            let mut changed = whole.clone();
            changed[at] ^= with;
            std::fs::write(&path, &changed).unwrap();
            if let Err(error) = Checkpoint::open(&path) {
                assert!(error.to_string().contains("model.h5"), "{error}");
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "{seen}");
}
