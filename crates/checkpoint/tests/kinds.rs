//! Kinds of checkpoints and of damage, each built here: what is read is the model, and what is a part of it is refused.
#![allow(clippy::unwrap_used)]
#![allow(clippy::float_cmp, reason = "values that a format holds exactly")]

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use scratchproof_checkpoint::{Checkpoint, TensorRecord};
use scratchproof_source::MemoryStore;
use support::{Named, dict, int, saved, state, text, whole};

fn place(files: &[(String, Vec<u8>)]) -> MemoryStore {
    files.iter().fold(MemoryStore::new(), |store, (name, bytes)| store.with(name, bytes.clone()))
}

fn open(files: &[(String, Vec<u8>)]) -> Result<Checkpoint, String> {
    Checkpoint::from_store(&place(files)).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(files: &[(String, Vec<u8>)], words: &[&str]) {
    let said = open(files).expect_err("a refusal");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
}

fn floats(model: &Checkpoint, tensor: &TensorRecord) -> Vec<f32> {
    model.read(tensor).unwrap().as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

fn values(model: &Checkpoint, name: &str) -> Vec<f32> {
    floats(model, model.find(name).unwrap_or_else(|| panic!("{name}")))
}

fn notes(model: &Checkpoint) -> String {
    model.notes.iter().map(|note| note.english() + "\n").collect()
}

/// Elements from a number on.
fn from(first: f32, count: usize) -> Vec<f32> {
    let mut at = first - 1.0;
    std::iter::repeat_with(|| {
        at += 1.0;
        at
    })
    .take(count)
    .collect()
}

/// A pipeline of GPT-NeoX of two blocks in two tensor-parallel parts, each with its part of every cut tensor.
fn neox() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for part in 0..2_u8 {
        let first = f32::from(part) * 100.0;
        let mut add = |layer: usize, tensors: &[Named<'_>]| {
            files.push((format!("layer_{layer:02}-model_0{part}-model_states.pt"), state(tensors)));
        };
        add(0, &[("word_embeddings.weight", vec![3, 4], from(first, 12))]);
        for layer in [2, 3] {
            add(
                layer,
                &[
                    ("input_layernorm.weight", vec![4], from(first, 4)),
                    ("attention.query_key_value.weight", vec![6, 4], from(first, 24)),
                    ("attention.dense.weight", vec![4, 2], from(first, 8)),
                    ("attention.dense.bias", vec![4], from(first, 4)),
                ],
            );
        }
        add(5, &[("norm.weight", vec![4], from(7.0, 4))]);
        add(6, &[("final_linear.weight", vec![3, 4], from(first, 12))]);
    }
    files
}

#[test]
fn a_pipeline_is_joined_as_its_converter_does() {
    let model = open(&neox()).unwrap();
    assert_eq!(model.architecture.as_deref(), Some("gpt_neox"));
    assert_eq!(values(&model, "embed_out.weight"), [from(0.0, 12), from(100.0, 12)].concat(), "the head is whole");
    assert_eq!(values(&model, "gpt_neox.embed_in.weight").len(), 24);
    // Each part's bias is its share, each part's norm its own copy.
    assert_eq!(values(&model, "gpt_neox.layers.1.attention.dense.bias"), [100.0, 102.0, 104.0, 106.0]);
    assert_eq!(values(&model, "gpt_neox.layers.0.input_layernorm.weight"), [50.0, 51.0, 52.0, 53.0]);
    assert_eq!(values(&model, "gpt_neox.layers.0.attention.dense.weight")[..4], [0.0, 1.0, 100.0, 101.0]);
    assert_eq!(values(&model, "gpt_neox.final_layer_norm.weight"), from(7.0, 4));
}

#[test]
fn the_layers_of_bloom_have_its_names() {
    let layer = |name: &str, tensors: &[Named<'_>]| (format!("layer_{name}-model_00-model_states.pt"), state(tensors));
    let block = [
        ("input_layernorm.weight", vec![4], from(0.0, 4)),
        ("self_attention.query_key_value.weight", vec![12, 4], from(0.0, 48)),
        ("self_attention.dense.weight", vec![4, 4], from(0.0, 16)),
        ("mlp.dense_h_to_4h.weight", vec![16, 4], from(0.0, 64)),
    ];
    let files = [
        layer(
            "01",
            &[
                ("word_embeddings.weight", vec![5, 4], from(0.0, 20)),
                ("word_embeddings.norm.weight", vec![4], from(0.0, 4)),
            ],
        ),
        layer("03", &block),
        layer("04", &block),
        layer("06", &[("weight", vec![4], from(0.0, 4)), ("bias", vec![4], from(0.0, 4))]),
    ];
    let model = open(&files).unwrap();
    assert_eq!(model.architecture.as_deref(), Some("bloom"));
    let unknown: Vec<&str> =
        model.tensors.iter().filter(|tensor| !tensor.role.known).map(|tensor| tensor.name.as_str()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert_eq!((model.vocab_size(), model.layers()), (Some(5), 2));
}

#[test]
fn a_pipeline_that_lacks_files_is_no_smaller_model() {
    let without = |lost: &str| -> Vec<(String, Vec<u8>)> {
        neox().into_iter().filter(|(name, _)| !name.contains(lost)).collect()
    };
    refused(&without("layer_00"), &["embedding is missing"]);
    refused(&without("layer_02"), &["layer 2", "not there"]);
    refused(&without("layer_03-model_01"), &["layer 3", "parts are missing"]);
    refused(&without("model_01"), &["2 tensor-parallel parts", "parts are missing"]);
    let between: Vec<_> = neox()
        .into_iter()
        .map(|(name, bytes)| (name.replace("layer_03", "layer_04").replace("layer_05", "layer_06"), bytes))
        .collect();
    refused(&between, &["layer 3", "not there"]);
    refused(
        &without("layer_05").into_iter().filter(|(name, _)| !name.contains("layer_06")).collect::<Vec<_>>(),
        &["final norm is missing"],
    );
}

#[test]
fn a_part_of_a_numbered_set_is_not_the_model() {
    let part = |name: &str, tensor: &str| (name.to_owned(), state(&[(tensor, vec![2], from(0.0, 2))]));
    refused(&[part("pytorch_model-00001-of-00002.bin", "a")], &["part 2 of 2", "not the model"]);
    refused(&[part("model-00002-of-00003.pt", "a"), part("model-00003-of-00003.pt", "b")], &["part 1 of 3"]);
    refused(&[part("m-00001-of-00003.gguf", "a")], &["part 2 of 3"]);
    let whole = [part("pytorch_model-00001-of-00002.bin", "a"), part("pytorch_model-00002-of-00002.bin", "b")];
    assert_eq!(open(&whole).unwrap().tensors.len(), 2);
}

#[test]
fn the_last_epoch_of_torchtune_is_read_whole() {
    let part = |name: &str, tensor: &str, first: f32| (name.to_owned(), state(&[(tensor, vec![2], from(first, 2))]));
    let files = [
        part("hf_model_0001_0.pt", "a", 0.0),
        part("hf_model_0002_0.pt", "b", 0.0),
        part("hf_model_0001_1.pt", "a", 5.0),
        part("hf_model_0002_1.pt", "b", 5.0),
        part("recipe_state.pt", "c", 0.0),
    ];
    let model = open(&files).unwrap();
    assert_eq!((model.tensors.len(), values(&model, "b")), (2, from(5.0, 2)));
    refused(&files[..3], &["part 2 of 2"]);
}

#[test]
fn the_model_of_a_training_is_found_in_it() {
    let keys = |entries: &[(&str, Vec<u8>)]| -> Vec<u8> {
        let items: Vec<u8> = entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
        [b"}(".to_vec(), items, b"u".to_vec()].concat()
    };
    let model = keys(&[("a.weight", whole(0, &[2]))]);
    let adam = keys(&[
        ("state", keys(&[("a.weight", keys(&[("exp_avg", whole(1, &[2]))]))])),
        ("param_groups", b"]".to_vec()),
    ]);
    let composer = dict(&[
        ("state", keys(&[("model", model.clone()), ("optimizers", keys(&[("DecoupledAdamW", adam)]))])),
        ("rng", whole(2, &[1])),
        ("step", int(3)),
    ]);
    let tensors = [vec![1.0, 2.0], vec![3.0, 4.0], vec![5.0]];
    let found = open(&[("ep0-ba10-rank0.pt".to_owned(), saved(&composer, &tensors))]).unwrap();
    assert_eq!((found.tensors.len(), values(&found, "a.weight")), (1, vec![1.0, 2.0]));
    let said = notes(&found);
    assert!(
        said.contains("\"state.model\"") && said.contains("\"state.optimizers\"") && said.contains("\"rng\""),
        "{said}"
    );

    let copy = |key: usize| keys(&[("a.weight", whole(key, &[2]))]);
    let two = |first: &str, second: &str| {
        let pickle = dict(&[(first, copy(0)), (second, copy(1)), ("opt_state", keys(&[("mu", copy(2))]))]);
        let floats = [vec![1.0, 2.0], vec![3.0, 4.0], vec![5.0, 6.0]];
        open(&[("x.pt".to_owned(), saved(&pickle, &floats))])
    };
    assert_eq!(values(&two("teacher", "student").unwrap(), "a.weight"), [3.0, 4.0]);
    assert_eq!(values(&two("ema_weights", "online").unwrap(), "a.weight"), [3.0, 4.0]);
    let said = two("first", "second").expect_err("which is meant");
    assert!(said.contains("2 models") && said.contains("\"first\""), "{said}");
}

/// A NumPy archive of one array.
fn npz(descr: &str, bytes: &[u8]) -> Vec<u8> {
    let mut words = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2, 2), }}");
    while (words.len() + 11) % 64 != 0 {
        words.push(' ');
    }
    words.push('\n');
    let length = u16::try_from(words.len()).unwrap().to_le_bytes();
    let array = [b"\x93NUMPY\x01\0".to_vec(), length.to_vec(), words.into_bytes(), bytes.to_vec()].concat();
    support::Zip::default().with("w.npy", &array).finish()
}

#[test]
fn arrays_of_jax_and_of_other_machines_are_read() {
    let open = |descr: &str, bytes: &[u8]| open(&[("model.npz".to_owned(), npz(descr, bytes))]);
    let big: Vec<u8> = [1.0_f32, 2.0, 3.0, -4.0].iter().flat_map(|value| value.to_be_bytes()).collect();
    assert_eq!(values(&open(">f4", &big).unwrap(), "w"), [1.0, 2.0, 3.0, -4.0]);
    let model = open("<V2", &[0x80, 0x3f, 0, 0x40, 0, 0, 0x80, 0xbf]).unwrap();
    assert_eq!(model.tensors[0].dtype.to_string(), "BF16");
    let said = open("<V1", &[0; 4]).expect_err("nothing is read");
    assert!(said.contains("no tensor in it can be read") && said.contains("astype"), "{said}");
}

/// A field of a protocol buffer.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes.to_vec()].concat()
}

#[test]
fn onnx_tensors_in_another_file_are_read_from_beside_it() {
    let entry = |key: &str, value: &str| field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat());
    let model = |location: &str, offset: &str| {
        let apart = [entry("location", location), entry("offset", offset), entry("length", "8")].concat();
        let tensor = [vec![0x08, 2, 0x10, 1], field(8, b"w"), apart, vec![0x70, 1]].concat();
        [vec![0x08, 8], field(7, &field(5, &tensor))].concat()
    };
    let data: Vec<u8> = [9.0_f32, 1.0, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let files = |location: &str, offset: &str| {
        [("model.onnx".to_owned(), model(location, offset)), ("model.onnx.data".to_owned(), data.clone())]
    };
    assert_eq!(values(&open(&files("model.onnx.data", "4")).unwrap(), "w"), [1.0, 2.0]);
    refused(&files("model.onnx.data", "8"), &["\"w\"", "model.onnx.data", "12"]);
    refused(&files("lost.data", "0"), &["lost.data", "onnx.save"]);
    refused(&files("../model.onnx.data", "0"), &["not beside the model"]);
}

#[test]
fn what_holds_nothing_is_refused_with_a_way_out() {
    let one = |name: &str, bytes: &[u8]| [(name.to_owned(), bytes.to_vec())];
    refused(&one("model.pt", b""), &["the file is empty"]);
    refused(&one("a.pt", b"abc"), &["3 bytes", "too few"]);
    refused(&one("model.tflite", b"\x1c\0\0\0TFL3"), &["model.tflite"]);
    refused(&one("saved_model.pb", b"x"), &["SavedModel", "numpy.savez"]);
    refused(
        &[("m.index".to_owned(), vec![0]), ("m.data-00000-of-00001".to_owned(), vec![0])],
        &["TensorFlow", "savez"],
    );
    refused(&one("_CHECKPOINT_METADATA", b"{}"), &["Orbax", "safetensors.flax"]);
}

/// A GGUF file: settings of numbers and texts, then tensors of 4 x 2 single-precision numbers.
fn gguf(settings: &[(&str, Result<u32, &str>)], tensors: &[(&str, Vec<f32>)]) -> Vec<u8> {
    let words = |words: &str| [(words.len() as u64).to_le_bytes().to_vec(), words.as_bytes().to_vec()].concat();
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((settings.len() as u64).to_le_bytes());
    for (key, value) in settings {
        bytes.extend(words(key));
        match value {
            Ok(number) => bytes.extend([4_u32.to_le_bytes(), number.to_le_bytes()].concat()),
            Err(text) => bytes.extend([8_u32.to_le_bytes().to_vec(), words(text)].concat()),
        }
    }
    for (at, (name, _)) in tensors.iter().enumerate() {
        bytes.extend(words(name));
        bytes.extend(2_u32.to_le_bytes());
        bytes.extend([2_u64.to_le_bytes(), 4_u64.to_le_bytes()].concat());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend((at as u64 * 32).to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes.extend(tensors.iter().flat_map(|(_, floats)| floats.iter().flat_map(|float| float.to_le_bytes())));
    bytes
}

#[test]
fn every_part_of_a_split_gguf_has_the_settings_of_the_first() {
    let settings = |own: &[(&'static str, Result<u32, &'static str>)]| [own, &[("split.count", Ok(2))][..]].concat();
    let llama = settings(&[("general.architecture", Err("llama")), ("llama.attention.head_count", Ok(1))]);
    let query = ("blk.1.attn_q.weight", from(0.0, 8));
    let file = |name: &str, bytes: Vec<u8>| (name.to_owned(), bytes);
    let parts = [
        file("m-00001-of-00002.gguf", gguf(&llama, &[("blk.0.attn_q.weight", from(0.0, 8))])),
        file("m-00002-of-00002.gguf", gguf(&settings(&[]), std::slice::from_ref(&query))),
    ];
    let model = open(&parts).unwrap();
    let own = values(&model, "model.layers.1.self_attn.q_proj.weight");
    assert_eq!(own, [0.0, 1.0, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0], "the rows are put back");
    assert_eq!(own, values(&model, "model.layers.0.self_attn.q_proj.weight"));
    refused(&[file("second.gguf", gguf(&settings(&[]), &[query]))], &["2 parts", "the first"]);
    let swapped = [b"GGUF".to_vec(), 3_u32.to_be_bytes().to_vec(), vec![0; 16]].concat();
    refused(&[file("big.gguf", swapped)], &["gguf_convert_endian"]);
}

#[test]
fn rows_of_gguf_are_put_back_for_every_converter_that_turns_them() {
    for architecture in ["olmo", "smollm3", "minicpm", "internlm2"] {
        let heads = format!("{architecture}.attention.head_count");
        let settings = [("general.architecture", Err(architecture)), (heads.as_str(), Ok(1))];
        let model = open(&[("m.gguf".to_owned(), gguf(&settings, &[("blk.0.attn_q.weight", from(0.0, 8))]))]).unwrap();
        let own = values(&model, "model.layers.0.self_attn.q_proj.weight");
        assert_eq!(own[..4], [0.0, 1.0, 4.0, 5.0], "{architecture}");
        assert!(!notes(&model).contains("not known"));
    }
    let settings = [("general.architecture", Err("novel"))];
    let model = open(&[("m.gguf".to_owned(), gguf(&settings, &[("blk.0.attn_q.weight", from(0.0, 8))]))]).unwrap();
    assert!(notes(&model).contains("another order is not known here"), "{}", notes(&model));
}

#[test]
fn parts_of_meta_and_of_deepspeed_that_lack_the_rest_are_refused() {
    let params = ("params.json".to_owned(), br#"{"dim": 4, "n_heads": 2, "n_layers": 1, "vocab_size": -1}"#.to_vec());
    let part = |file: &str, rows: i32| {
        let tensors = [
            ("layers.0.attention.wq.weight", vec![rows, 4], from(0.0, usize::try_from(rows).unwrap() * 4)),
            ("layers.0.attention.wo.weight", vec![4, rows], from(0.0, usize::try_from(rows).unwrap() * 4)),
        ];
        (file.to_owned(), state(&tensors))
    };
    refused(&[params.clone(), part("consolidated.00.pth", 2)], &["consolidated.01.pth is missing"]);
    let both = [params.clone(), part("consolidated.00.pth", 2), part("consolidated.01.pth", 2)];
    assert_eq!(open(&both).unwrap().find("model.layers.0.self_attn.q_proj.weight").unwrap().shape, [4, 4]);
    // The same names in a file of another kind are of the same order of rows.
    let one = open(&[params, part("meta_model_0.pt", 4)]).unwrap();
    assert_eq!(values(&one, "model.layers.0.self_attn.o_proj.weight"), from(0.0, 16));

    let module = dict(&[("module", [b"}(".to_vec(), text("a.weight"), whole(0, &[0]), b"u".to_vec()].concat())]);
    let model = ("zero_pp_rank_0_mp_rank_00_model_states.pt".to_owned(), saved(&module, &[Vec::new()]));
    refused(&[model], &["ZeRO 3", "not there"]);
}

#[test]
fn experts_that_deepspeed_keeps_apart_are_added() {
    let module = dict(&[("module", [b"}(".to_vec(), text("a.weight"), whole(0, &[2]), b"u".to_vec()].concat())]);
    let expert = |number: usize| {
        let name = format!("l.experts.deepspeed_experts.{number}.w.weight");
        (format!("layer_0_expert_{number}_mp_rank_00_model_states.pt"), state(&[(&name, vec![2], from(3.0, 2))]))
    };
    let model = ("mp_rank_00_model_states.pt".to_owned(), saved(&module, &[vec![1.0, 2.0]]));
    let found = open(&[model.clone(), expert(0), expert(1), expert(2)]).unwrap();
    assert_eq!((found.tensors.len(), values(&found, "a.weight")), (4, vec![1.0, 2.0]));
    refused(&[model, expert(0), expert(2)], &["expert 1 of 3", "not there"]);
}

#[test]
fn quantised_weights_that_are_not_put_back_are_called_so() {
    let safetensors = |header: &str, bytes: usize| {
        [(header.len() as u64).to_le_bytes().to_vec(), header.as_bytes().to_vec(), vec![1; bytes]].concat()
    };
    let header = r#"{"a.weight_packed":{"dtype":"I32","shape":[32,32],"data_offsets":[0,4096]}}"#;
    let config = |words: &str| ("config.json".to_owned(), words.as_bytes().to_vec());
    let weights = ("model.safetensors".to_owned(), safetensors(header, 4096));
    let said = |words: &str| notes(&open(&[config(words), weights.clone()]).unwrap());
    assert!(said(r#"{"quantization_config": {"quant_method": "compressed-tensors"}}"#).contains("compressed-tensors"));
    assert!(said(r#"{"quantization": {"bits": 4}}"#).contains("MLX"));
    assert!(said("{}").contains("packed weights of a form that is not known"));
    let header =
        r#"{"__metadata__":{"format":"scratchproof-fingerprint"},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#;
    refused(&[("m.fp.safetensors".to_owned(), safetensors(header, 4))], &["fingerprint", "scratchproof scan"]);
}

/// What was frozen is in no rank's states: below stage 3 it is taken from the module, and what is left of that is listed.
#[test]
fn what_deepspeed_froze_is_read_or_listed_at_every_stage() {
    let pairs = |entries: &[(&str, Vec<u8>)]| {
        let items = entries.iter().flat_map(|(name, value)| [text(name), value.clone()].concat());
        [b"}(".to_vec(), items.collect(), b"u".to_vec()].concat()
    };
    let list = |items: &[Vec<u8>]| [b"](".to_vec(), items.concat(), b"e".to_vec()].concat();
    let opened = |stage: i32| {
        let tensors = |elements: i32| {
            [("a.weight", whole(0, &[elements])), ("frozen.weight", whole(1, &[2])), ("mask", whole(2, &[1]))]
        };
        let module = [&tensors(4)[..], &[("tied.weight", whole(0, &[4]))]].concat();
        let shapes = pairs(&[("a.weight", [b"(".to_vec(), int(4), b"t".to_vec()].concat())]);
        let model = dict(&[
            ("module", pairs(&module)),
            ("param_shapes", list(&[shapes])),
            ("buffer_names", list(&[text("mask")])),
            ("frozen_param_fragments", b"N".to_vec()),
        ]);
        let vector = if stage == 3 { "fp32_flat_groups" } else { "single_partition_of_fp32_groups" };
        let states =
            pairs(&[("zero_stage", int(stage)), ("partition_count", int(1)), (vector, list(&[whole(0, &[4])]))]);
        let floats = [vec![9.0; 4], vec![5.0, 6.0], vec![7.0]];
        let states = saved(&dict(&[("optimizer_state_dict", states)]), &[from(1.0, 4)]);
        let name = |kind: &str| format!("zero_pp_rank_0_mp_rank_00_{kind}_states.pt");
        let model_name = if stage == 3 { name("model") } else { "mp_rank_00_model_states.pt".to_owned() };
        open(&[(model_name, saved(&model, &floats)), (name("optim"), states)]).unwrap()
    };
    for stage in [1, 2] {
        let found = opened(stage);
        assert_eq!(values(&found, "a.weight"), from(1.0, 4));
        assert_eq!((values(&found, "frozen.weight"), values(&found, "mask")), (vec![5.0, 6.0], vec![7.0]));
        // One place in the module is one tensor, and its master weights are what is read.
        assert_eq!(values(&found, "tied.weight"), from(1.0, 4));
        assert!(found.skipped.is_empty() && notes(&found).contains("1 tensor of the module"), "{}", notes(&found));
    }
    let found = opened(3);
    assert_eq!((values(&found, "a.weight"), found.tensors.len()), (from(1.0, 4), 2));
    let skipped: Vec<&str> = found.skipped.iter().map(|skipped| skipped.tensor.as_str()).collect();
    assert_eq!(skipped, ["frozen.weight", "tied.weight"]);
}

/// Python's `json` writes `Infinity` bare, some editors a byte order mark first; what else is no JSON is said with a way out.
#[test]
fn settings_are_read_as_the_programs_write_them() {
    let weights = ("model.pt".to_owned(), state(&[("a.weight", vec![2], from(1.0, 2))]));
    let opened = |words: &str| open(&[("config.json".to_owned(), words.as_bytes().to_vec()), weights.clone()]);
    let model = opened("\u{feff}{\"time_step_limit\": [0.0, Infinity], \"hidden_size\": 2}").unwrap();
    assert_eq!(model.config.unwrap()["hidden_size"], 2);
    for (words, said) in [("{\"a\": 1", "not whole"), ("{\"a\" 1}", "line 1, column 6")] {
        let why = opened(words).err().unwrap();
        assert!(why.contains("config.json") && why.contains(said) && why.contains("fetch it again"), "{why}");
    }
}

/// A safetensors file of these tensors in single precision, with words about itself.
fn safetensors(words: &str, tensors: &[(&str, &[f32])]) -> Vec<u8> {
    let (mut header, mut data) = (format!("{{\"__metadata__\":{words}"), Vec::new());
    for (name, floats) in tensors {
        let from = data.len();
        data.extend(floats.iter().flat_map(|float| float.to_le_bytes()));
        let (shape, to) = (floats.len(), data.len());
        header += &format!(",\"{name}\":{{\"dtype\":\"F32\",\"shape\":[{shape}],\"data_offsets\":[{from},{to}]}}");
    }
    header += "}";
    [(header.len() as u64).to_le_bytes().to_vec(), header.into_bytes(), data].concat()
}

#[test]
fn a_ranks_piece_is_not_the_model() {
    let words = |offset: &str| {
        format!(r#"{{"format":"pt","DCP_SHARDING_INFO":"{{\"a\": {{\"saved_offsets\": [{offset}]}}}}"}}"#)
    };
    let file = |name: &str, offset: &str| (name.to_owned(), safetensors(&words(offset), &[("a", &[1.0, 2.0])]));
    let way = ["a piece", "consolidate_safetensors_files"].map(|word| word.replace("a piece", "piece"));
    let way: Vec<&str> = way.iter().map(String::as_str).collect();
    let part = |rank: usize| format!("shard-0000{rank}-model-00001-of-00001.safetensors");
    refused(&[file(&part(1), "0"), file(&part(2), "2")], &way);
    // By its name the first, by its offsets any other.
    refused(&[file(&part(1), "0")], &way);
    refused(&[file("model.safetensors", "2")], &way);
    // The same writer, and the tensors whole.
    assert_eq!(open(&[file("model-00001-of-00001.safetensors", "0")]).unwrap().tensors.len(), 1);
    for broken in ["", "-1", "\\\"", "1e400"] {
        let _ = open(&[file("model.safetensors", broken)]);
    }
}

#[test]
fn another_model_beside_the_one_that_is_read_is_asked_for() {
    let file = |name: &str, floats: &[f32]| (name.to_owned(), safetensors("{}", &[("a", floats), ("b", floats)]));
    refused(
        &[file("a.safetensors", &[1.0, 2.0]), file("b.safetensors", &[1.0, 3.0])],
        &["several files", "name the file"],
    );
    let copy = open(&[file("a.safetensors", &[1.0, 2.0]), file("b.safetensors", &[1.0, 2.0])]).unwrap();
    assert_eq!((copy.unread, copy.tensors.len()), (vec!["b.safetensors".to_owned()], 2));
    let usual = open(&[file("model.safetensors", &[1.0, 2.0]), file("b.safetensors", &[1.0, 3.0])]).unwrap();
    assert_eq!(values(&usual, "a"), [1.0, 2.0]);
    // Beside one that is a hundred times as large the usual name says nothing.
    let (small, large) = (from(1.0, 2), from(1.0, 50_000));
    let torch = |name: &str, floats: &[f32]| {
        (name.to_owned(), state(&[("a", vec![i32::try_from(floats.len()).unwrap()], floats.to_vec())]))
    };
    refused(&[torch("model.pt", &small), torch("state.pt", &large)], &["model.pt", "state.pt", "name the file"]);
    refused(&[file("model.safetensors", &small), file("b.safetensors", &large)], &["name the file"]);
    assert!(open(&[torch("model.pt", &large), torch("state.pt", &small)]).is_ok());
}

/// A safetensors file of tensors with name, number format, shape and bytes.
fn stored(tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> (String, Vec<u8>) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let from = data.len();
        data.extend(bytes);
        let entry = serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": [from, data.len()] });
        header.insert((*name).to_owned(), entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    let bytes = [(header.len() as u64).to_le_bytes().to_vec(), header.into_bytes(), data].concat();
    ("model.safetensors".to_owned(), bytes)
}

#[test]
fn scales_of_eight_bit_floats_are_what_their_writers_mean() {
    let floats = |floats: &[f32]| floats.iter().flat_map(|float| float.to_le_bytes()).collect::<Vec<u8>>();
    let config = |words: &str| ("config.json".to_owned(), words.as_bytes().to_vec());
    // 0x38 is one in this format.
    let weight = |rows: usize, cols: usize| ("a.weight", "F8_E4M3", vec![rows, cols], vec![0x38; rows * cols]);
    let read = |scale: (&str, &str, &[usize], Vec<u8>), (rows, cols), words: &str| {
        let (name, dtype, shape, bytes) = weight(rows, cols);
        open(&[config(words), stored(&[(name, dtype, &shape, bytes), scale])]).unwrap()
    };
    // A power of two in a byte, by either name of its format; blocks of 32 along the rows.
    for dtype in ["U8", "F8_E8M0"] {
        let found = read(("a.weight_scale", dtype, &[2, 2], vec![127, 128, 126, 130]), (2, 64), "{}");
        let own = values(&found, "a.weight");
        assert_eq!([own[0], own[32], own[64], own[96]], [1.0, 2.0, 0.5, 8.0], "{dtype}");
        assert!(found.skipped.is_empty());
    }
    // 160 rows in two blocks are 128 and 32 where nothing says it, and 80 where something does, wherever it stands.
    let scale = |rows: usize, cols: usize| {
        ("a.weight_scale_inv", "F32", vec![rows, cols], floats(&vec![1.0, 2.0, 4.0, 8.0][..rows * cols]))
    };
    for (words, turn) in [
        ("{}", 128),
        (r#"{"quantization_config": {"weight_block_size": [80, 96]}}"#, 80),
        (r#"{"text_config": {"quantization_config": {"weight_block_size": [80, 96]}}}"#, 80),
    ] {
        for (down, across, cols) in [(2, 2, 192), (2, 1, 96)] {
            let (name, dtype, shape, bytes) = scale(down, across);
            let own = values(&read((name, dtype, &shape, bytes), (160, cols), words), "a.weight");
            let second = if across == 2 { 4.0 } else { 2.0 };
            assert_eq!([own[(turn - 1) * cols], own[turn * cols]], [1.0, second], "{words}");
        }
    }
    // A scale that nobody knows leaves codes, and is told; powers by which nothing is put back are no tensors.
    let found = read(("a.scale_weight", "F32", &[], floats(&[2.0])), (16, 16), "{}");
    assert!(notes(&found).contains("1 matrix of 8-bit floats") && notes(&found).contains("a.scale_weight"));
    let stack = [
        ("a.experts", "F8_E4M3", &[2, 16, 16][..], vec![0x38; 512]),
        ("a.experts_scale", "F32", &[2, 16, 1][..], floats(&[2.0; 32])),
    ];
    assert_eq!(notes(&open(&[stored(&stack)]).unwrap()), "", "scaled where its parts are read");
    let found = read(("b.weight_scale", "F8_E8M0", &[4], vec![127; 4]), (16, 16), "{}");
    assert_eq!((found.skipped.len(), found.tensors.len(), notes(&found)), (1, 1, String::new()));
}

#[test]
fn quantisers_say_what_they_did_in_files_of_their_own() {
    let halves = |count: usize| [0x00, 0x3c].repeat(count);
    let words = |word: u32, count: usize| vec![word.to_le_bytes(); count].concat();
    let weights = stored(&[
        ("a.qweight", "I32", &[1, 8], words(0x2222_2222, 8)),
        ("a.qzeros", "I32", &[1, 1], words(0x1111_1111, 1)),
        ("a.scales", "F16", &[1, 8], halves(8)),
    ]);
    let first = |files: &[(String, Vec<u8>)]| values(&open(files).unwrap(), "a.weight")[0];
    assert_eq!(first(std::slice::from_ref(&weights)), 0.0);
    let said = ("quantize_config.json".to_owned(), br#"{"checkpoint_format": "gptq_v2"}"#.to_vec());
    assert_eq!(first(&[said, weights.clone()]), 1.0);
    refused(&[("quant_config.json".to_owned(), b"{".to_vec()), weights], &["quant_config.json", "not whole"]);

    // NVFP4 of ModelOpt: the scale for all multiplies.
    let packed = stored(&[
        ("a.weight", "U8", &[16, 16], vec![0x22; 256]),
        ("a.weight_scale", "F8_E4M3", &[16, 2], vec![0x38; 32]),
        ("a.weight_scale_2", "F32", &[], 0.5_f32.to_le_bytes().to_vec()),
    ]);
    let found = open(std::slice::from_ref(&packed)).unwrap();
    assert_eq!((found.tensors[0].shape.as_slice(), values(&found, "a.weight")[0]), (&[16, 32][..], 0.5));
    // Packed forms that nothing names are told by their numbers; tables of indices are none.
    let found = open(&[stored(&[
        ("a.W_q", "U8", &[16, 16], vec![1; 256]),
        ("a.relative_position_index", "I32", &[16, 16], vec![0; 1024]),
    ])]);
    assert!(notes(&found.unwrap()).contains("1 matrix of whole numbers (\"a.W_q\")"));
}

#[test]
fn classes_of_plain_values_are_data_and_tensors_of_a_class_have_their_own_way_out() {
    let counts = b"ccollections\ndefaultdict\nc__builtin__\nlong\n\x85R".to_vec();
    let weights = [text("a.weight"), whole(0, &[2])].concat();
    let state = [b"}(".to_vec(), weights, b"u".to_vec()].concat();
    let pickle = dict(&[("model", state), ("counts", counts)]);
    let found = open(&[("model.pt".to_owned(), saved(&pickle, &[from(1.0, 2)]))]).unwrap();
    assert_eq!(values(&found, "a.weight"), [1.0, 2.0]);
    for name in ["torch._utils\n_rebuild_wrapper_subclass", "torch.distributed.tensor\nDTensor"] {
        let pickle = dict(&[("a.weight", format!("c{name}\n").into_bytes())]);
        refused(&[("model.pt".to_owned(), saved(&pickle, &[]))], &["nothing of it was run", ".full_tensor()"]);
    }
    let pickle = dict(&[("a.weight", b"cbuiltins\neval\n".to_vec())]);
    refused(&[("model.pt".to_owned(), saved(&pickle, &[]))], &["import", "builtins.eval"]);
}

#[test]
fn a_folder_says_what_its_file_would_say() {
    let file = |name: &str, bytes: &[u8]| (name.to_owned(), bytes.to_vec());
    let array = [b"\x93NUMPY\x01\0".to_vec(), vec![0; 64]].concat();
    refused(&[file("config.json", b"{}"), file("w.npy", &array)], &["\"w.npy\"", "numpy.savez"]);
    refused(
        &[("w.pkl".to_owned(), state(&[("a", vec![1], vec![1.0])]))],
        &["\"w.pkl\" holds tensors", "name the file"],
    );
    refused(&[file("w.dat", &[7; 64])], &["no file with tensors", "w.dat"]);
    // Not everything that begins with an angle is a page.
    for (bytes, word) in [
        (&b"<!DOCTYPE html><title>Sign in"[..], "web page"),
        (b"<?xml version=\"1.0\"?><net name=\"m\">", "XML"),
        (b"<?xml version=\"1.0\"?><!DOCTYPE html><html>", "web page"),
        (b"<\0\0\0ET12________________", "ExecuTorch"),
        (b"<\0\0\0________________", "begins as no form"),
    ] {
        refused(&[file("model.bin", bytes)], &[word]);
    }
}

#[test]
fn a_gguf_tensor_of_a_later_format_is_left_out_by_name() {
    let plain = gguf(&[], &[("x.one", from(0.0, 8)), ("x.two", from(0.0, 8))]);
    let of = |name: &str, kind: u32| {
        let mut bytes = plain.clone();
        let at = bytes.windows(5).position(|word| word == name.as_bytes()).unwrap() + 5 + 4 + 16;
        bytes[at..at + 4].copy_from_slice(&kind.to_le_bytes());
        open(&[("m.gguf".to_owned(), bytes)])
    };
    let found = of("x.two", 99).unwrap();
    assert_eq!((found.tensors.len(), found.skipped.len()), (1, 1));
    assert!(found.skipped[0].tensor == "x.two" && found.skipped[0].why.contains("99 is not known"));
}
