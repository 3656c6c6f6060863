use super::*;
use crate::{Component, Dtype, Residual, testing};
use scratchproof_source::MemoryStore;

fn refused(store: &MemoryStore) -> String {
    let error = Checkpoint::from_store(store).unwrap_err();
    assert!(error.is_input(), "{error}");
    error.to_string()
}

#[track_caller]
fn says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

fn shard(names: &[&str]) -> Vec<u8> {
    let tensors: Vec<_> = names.iter().map(|name| (*name, Dtype::F32, &[2, 2][..])).collect();
    testing::file(&tensors)
}

const INDEX: &str = "model.safetensors.index.json";

fn index(map: &[(&str, &str)]) -> String {
    let map: serde_json::Map<_, _> = map.iter().map(|(a, b)| ((*a).to_owned(), (*b).into())).collect();
    serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map }).to_string()
}

#[test]
fn one_file_with_everything() {
    let config = r#"{"model_type":"mistral","vocab_size":99}"#;
    let store = testing::store(&testing::llama(3, 8, 20)).with("config.json", config);
    let model = Checkpoint::from_store(&store).unwrap();
    assert_eq!(model.architecture.as_deref(), Some("llama"));
    assert_eq!((model.layers(), model.experts(), model.hidden_size(), model.vocab_size()), (3, 0, Some(8), Some(20)));
    assert!(model.tensors.windows(2).all(|pair| pair[0].name < pair[1].name));
    let q = model.find("model.layers.2.self_attn.q_proj.weight").unwrap();
    assert_eq!((q.role.component, q.role.layer, q.residual_length()), (Component::Attention, Some(2), Some(8)));
    let bytes = model.read(q).unwrap();
    assert_eq!((bytes.len() as u64, &bytes[..3]), (q.bytes, &[0, 1, 2][..]));
    assert!(model.find("nothing").is_none());
    assert_eq!(model.bytes(), model.tensors.iter().map(|tensor| tensor.elements() as u64 * 4).sum::<u64>());
}

#[test]
fn sizes_come_from_tensors_first_and_settings_second() {
    let config = r#"{"text_config":{"hidden_size":7,"vocab_size":11}}"#;
    let store = MemoryStore::new().with("model.safetensors", shard(&["x"])).with("config.json", config);
    let model = Checkpoint::from_store(&store).unwrap();
    assert_eq!((model.hidden_size(), model.vocab_size(), model.architecture), (Some(7), Some(11), None));
}

#[test]
fn shards_by_index_or_without_one() {
    let parts = MemoryStore::new().with("m-1.safetensors", shard(&["b"])).with("m-2.safetensors", shard(&["a"]));
    let all = Checkpoint::from_store(&parts).unwrap();
    assert_eq!((all.tensors[0].name.as_str(), all.tensors[0].shard), ("a", 1));
    let map = index(&[("a", "m-2.safetensors")]);
    let some = Checkpoint::from_store(&parts.clone().with(INDEX, map)).unwrap();
    assert_eq!((some.tensors.len(), some.shards.len(), some.shards[0].name.as_str()), (1, 1, "m-2.safetensors"));
    assert_eq!(some.unread, ["m-1.safetensors"]);
    let copy = Checkpoint::from_store(&parts.clone().with("m-3.safetensors", shard(&["b"]))).unwrap();
    assert_eq!((copy.tensors.len(), &copy.unread[..]), (2, &["m-3.safetensors".to_owned()][..]));
    let both = parts.with("m-3.safetensors", shard(&["b", "c"]));
    says(&refused(&both), &["tensor \"b\" is both in \"m-1.safetensors\" and in \"m-3.safetensors\""]);
}

#[test]
fn a_hostile_index() {
    let parts = MemoryStore::new().with("m-1.safetensors", shard(&["a"])).with("m-2.safetensors", shard(&["b", "c"]));
    let with = |map: &[(&str, &str)]| parts.clone().with(INDEX, index(map));
    says(&refused(&with(&[("a", "../m-1.safetensors")])), &[INDEX, "\"a\"", "refused", "path"]);
    says(&refused(&with(&[("a", "/etc/passwd")])), &["refused"]);
    says(&refused(&with(&[("a", "m-9.safetensors")])), &[INDEX, "m-9.safetensors"]);
    says(
        &refused(&with(&[("a", "m-2.safetensors")])),
        &["says that tensor \"a\" is in \"m-2.safetensors\", but it is not"],
    );
    says(&refused(&with(&[("a", "m-1.safetensors"), ("b", "m-1.safetensors")])), &["\"b\""]);
    says(&refused(&with(&[])), &["names no tensor"]);
    let unlisted = with(&[("a", "m-1.safetensors"), ("b", "m-2.safetensors")]);
    let model = Checkpoint::from_store(&unlisted).unwrap();
    assert_eq!((model.tensors.len(), model.skipped[0].tensor.as_str()), (2, "c"));
    says(&model.skipped[0].why, &["does not name it"]);
    let raw = |text: &str| refused(&parts.clone().with(INDEX, text));
    says(&raw("[]"), &["weight_map"]);
    says(&raw("{}"), &["`weight_map` is missing"]);
    says(&raw(r#"{"weight_map":{"a":"m-1.safetensors","a":"m-2.safetensors"}}"#), &["\"a\" is there twice"]);
    says(&raw(r#"{"weight_map":{},"weight_map":{}}"#), &["twice"]);
    says(&raw("{\n\"weight_map\": {\"a\": 1}}"), &["line 2"]);
}

#[test]
fn an_index_that_names_itself_or_a_tensor_in_two_shards() {
    let parts = MemoryStore::new().with("m-1.safetensors", shard(&["a", "b"])).with("m-2.safetensors", shard(&["b"]));
    let map = index(&[("a", "m-1.safetensors"), ("b", "m-2.safetensors")]);
    says(&refused(&parts.clone().with(INDEX, map)), &["tensor \"b\" is both in"]);
    says(&refused(&parts.with(INDEX, index(&[("a", INDEX)]))), &[INDEX, "a text file in JSON"]);
}

#[test]
fn a_folder_without_tensors_says_what_to_do() {
    let pickle = MemoryStore::new().with("pytorch_model.bin", "x").with("config.json", "{}");
    says(&refused(&pickle), &["pytorch_model.bin", "1 byte"]);
    says(&refused(&MemoryStore::new()), &["memory: there are no files"]);
    says(&refused(&MemoryStore::new().with("README.md", "x")), &["README.md", "give the folder"]);
}

#[test]
fn settings_that_are_not_json_name_the_line() {
    let store = testing::store(&testing::llama(1, 4, 5));
    says(&refused(&store.clone().with("config.json", "{\n\"a\": oops}")), &["config.json", "line 2"]);
    says(&refused(&store.with("config.json", "[]")), &["not a JSON object"]);
}

#[test]
fn a_path_to_a_folder_to_a_file_and_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.bin");
    std::fs::write(&file, shard(&["model.norm.weight"])).unwrap();
    let model = Checkpoint::open(&file).unwrap();
    assert_eq!((model.tensors.len(), model.uri.clone()), (1, file.display().to_string()));
    std::fs::rename(&file, folder.path().join("other.safetensors")).unwrap();
    let model = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(model.shards[0].name, "other.safetensors");
    let error = Checkpoint::open(&folder.path().join("none")).unwrap_err();
    assert!(error.to_string().starts_with("no such file or directory: "), "{error}");
}

#[test]
fn unknown_formats_are_skipped_and_shapes_that_contradict_lose_their_axis() {
    let header = r#"{"model.norm.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
        "model.embed_tokens.weight":{"dtype":"F32","shape":[3,2],"data_offsets":[8,32]},
        "lm_head.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[32,56]},
        "q":{"dtype":"F4","shape":[2],"data_offsets":[56,57]}}"#;
    let store = MemoryStore::new().with("model.safetensors", testing::raw(header, &[0; 57]));
    let model = Checkpoint::from_store(&store).unwrap();
    assert_eq!((model.hidden_size(), model.skipped.len()), (Some(2), 1));
    assert_eq!(model.find("lm_head.weight").unwrap().role.residual, Residual::None);
    assert_eq!(model.find("model.embed_tokens.weight").unwrap().role.residual, Residual::Columns);
}

#[test]
fn stacked_experts_are_known_either_way_round() {
    let experts = |gate_up: &'static [usize], down: &'static [usize]| {
        let bytes = testing::file(&[
            ("model.layers.0.mlp.experts.gate_up_proj", Dtype::F32, gate_up),
            ("model.layers.0.mlp.experts.down_proj", Dtype::F32, down),
            ("model.layers.0.mlp.gate.weight", Dtype::F32, &[3, 4]),
            ("model.norm.weight", Dtype::F32, &[4]),
            ("model.embed_tokens.weight", Dtype::F32, &[9, 4]),
        ]);
        let model = Checkpoint::from_store(&MemoryStore::new().with("model.safetensors", bytes)).unwrap();
        assert_eq!((model.experts(), model.hidden_size()), (3, Some(4)));
        let axis = |name: &str| model.find(&format!("model.layers.0.mlp.experts.{name}")).unwrap().role.residual;
        (axis("gate_up_proj"), axis("down_proj"))
    };
    assert_eq!(experts(&[3, 10, 4], &[3, 4, 5]), (Residual::Columns, Residual::Rows));
    assert_eq!(experts(&[3, 4, 10], &[3, 5, 4]), (Residual::Rows, Residual::Columns));
}

#[test]
fn one_model_a_folder() {
    let read = |files: &[(&str, &[&str])]| {
        let store = files.iter().fold(MemoryStore::new(), |store, (name, held)| store.with(name, shard(held)));
        let model = Checkpoint::from_store(&store).unwrap();
        let shards: Vec<String> = model.shards.iter().map(|shard| shard.name.clone()).collect();
        (shards, model.unread)
    };
    let one = |files: &[(&str, &[&str])], chosen: &[&str]| {
        let (shards, unread) = read(files);
        assert_eq!(shards, chosen);
        assert_eq!(unread.len(), files.len() - chosen.len(), "what is left out is said");
    };
    let (first, second) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    one(&[(first, &["a"]), (second, &["b"]), ("consolidated.safetensors", &["tok"])], &[first, second]);
    one(&[(first, &["a"]), (second, &["b"]), ("adapter_model.safetensors", &["lora"])], &[first, second]);
    one(
        &[("ft-model-00001-of-00001.safetensors", &["a"]), ("adapter_model.safetensors", &["l"])],
        &["ft-model-00001-of-00001.safetensors"],
    );
    one(&[("consolidated.safetensors", &["tok"])], &["consolidated.safetensors"]);
    one(&[("adapter_model.safetensors", &["lora"])], &["adapter_model.safetensors"]);
    one(&[("a.safetensors", &["a"]), ("b.safetensors", &["b"])], &["a.safetensors", "b.safetensors"]);
    one(&[("model.safetensors", &["a"]), (first, &["a"]), (second, &["b"])], &["model.safetensors"]);
}
