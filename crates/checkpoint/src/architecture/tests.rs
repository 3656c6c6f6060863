use super::*;
use crate::Role;

fn roles(names: &[&str]) -> (Option<String>, Vec<Role>) {
    let recognition = builtin().recognise(names, None);
    (recognition.architecture, recognition.roles)
}

/// Family, layer, expert and axis of the last of these names.
fn last(names: &[&str]) -> (String, Option<u32>, Option<u32>, Residual) {
    let role = roles(names).1.pop().unwrap();
    assert!(role.known, "{names:?}");
    (role.family, role.layer, role.expert, role.residual)
}

#[test]
fn every_file_is_read_and_named() {
    assert_eq!(builtin().names().len(), SOURCES.len());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/architectures");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().replace(".toml", ""))
        .filter(|name| name != "towers")
        .collect();
    files.sort();
    assert_eq!(builtin().names(), files);
}

#[test]
fn files_with_mistakes_are_refused() {
    let towers = "towers = []\nouter = []";
    let tensor = "[[tensor]]\nname = \"a.weight\"\ncomponent = \"mlp\"\nfamily = \"f\"\nresidual = \"rows\"\n";
    let read = |text: &str| Architectures::from_toml(&[("x", text)], towers).map(|_| ()).map_err(|e| e.to_string());
    assert_eq!(read(tensor), Ok(()));
    let refused = |text: &str, word: &str| {
        let message = read(text).unwrap_err();
        assert!(message.starts_with("architecture x: ") && message.contains(word), "{message}");
    };
    refused(&format!("{tensor}optional = true"), "optional");
    refused(&format!("colour = 1\n{tensor}"), "colour");
    refused(&tensor.replace("rows", "row"), "row");
    refused(&tensor.replace("mlp", "mpl"), "mpl");
    refused(&tensor.replace("a.weight", "a.{head}.weight"), "{head}");
    refused(&tensor.replace("a.weight", "a.0.weight"), "cannot be");
    refused(&tensor.replace("a.weight", "{layer}.{layer}.weight"), "twice");
    refused(&format!("{tensor}{tensor}"), "twice");
    refused(&format!("{tensor}parts = [\"a\", \"b\"]"), "no `split`");
    refused(&format!("{tensor}split = \"blocks\""), "two `parts`");
    refused(&format!("{tensor}split = \"groups\"\nparts = [\"a\", \"b\"]"), "groups are of q_proj");
    refused(&format!("{tensor}split = \"experts\"\nparts = [\"a\", \"b\"]"), "no `parts`");
    refused(&format!("{tensor}split = \"halves\"\nparts = [\"a\", \"b\"]"), "halves");
    refused(&format!("extends = \"x\"\n{tensor}"), "extends itself");
    refused(&format!("extends = \"y\"\n{tensor}"), "unknown");
}

#[test]
fn each_architecture_is_chosen_by_its_own_names() {
    let l = "model.layers.0.";
    let own = |chosen: &str, names: &[&str]| {
        let full: Vec<String> = names.iter().map(|name| name.replace("L.", l)).collect();
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        let (architecture, roles) = roles(&full);
        assert_eq!(architecture.as_deref(), Some(chosen));
        for (name, role) in full.iter().zip(roles) {
            assert!(role.known, "{name}");
        }
    };
    own("llama", &["L.self_attn.q_proj.weight", "model.embed_tokens.weight", "L.self_attn.rotary_emb.inv_freq"]);
    own("qwen3", &["L.self_attn.q_proj.weight", "L.self_attn.q_norm.weight"]);
    own("qwen3_moe", &["L.self_attn.q_norm.weight", "L.mlp.experts.0.up_proj.weight", "L.mlp.gate.weight"]);
    own("qwen2_moe", &["L.mlp.shared_expert.up_proj.weight", "L.mlp.shared_expert_gate.weight"]);
    own("mixtral", &["L.block_sparse_moe.experts.7.w1.weight", "L.block_sparse_moe.gate.weight"]);
    own("phimoe", &["L.block_sparse_moe.experts.7.w1.weight", "L.input_layernorm.bias", "model.norm.bias"]);
    own("solar_open", &["L.mlp.gate.e_score_correction_bias", "L.mlp.shared_experts.up_proj.weight"]);
    own("glm4_moe", &["L.mlp.gate.e_score_correction_bias", "L.self_attn.k_norm.weight"]);
    own("deepseek_v3", &["L.self_attn.kv_a_proj_with_mqa.weight", "L.mlp.experts.3.up_proj.weight_scale_inv"]);
    own("deepseek_v3", &["L.self_attn.kv_b_proj.weight", "L.eh_proj.weight", "L.shared_head.head.weight"]);
    own("llama", &["L.self_attn.qkv_proj.weight", "L.mlp.gate_up_proj.weight"]);
    own("phi3", &["L.self_attn.qkv_proj.weight", "L.post_mlp_layernorm.weight"]);
    own("gemma2", &["L.pre_feedforward_layernorm.weight"]);
    own("gpt2", &["h.3.attn.c_attn.bias", "transformer.wte.weight"]);
    own("gpt_neox", &["gpt_neox.layers.3.attention.query_key_value.weight", "embed_out.weight"]);
    own(
        "bert",
        &["bert.encoder.layer.3.attention.self.query.bias", "embeddings.LayerNorm.gamma", "cls.predictions.bias"],
    );
}

#[test]
fn settings_break_ties_and_do_not_overrule() {
    let names = ["model.layers.0.self_attn.q_proj.weight"];
    let chosen = |names: &[&str], asked| builtin().recognise(names, asked).architecture.unwrap();
    assert_eq!(chosen(&names, None), "llama");
    assert_eq!(chosen(&names, Some("glm4_moe")), "glm4_moe");
    assert_eq!(chosen(&names, Some("nonsense")), "llama");
    assert_eq!(chosen(&["h.0.ln_1.weight"], Some("llama")), "gpt2");
}

#[test]
fn functions_have_one_name_in_every_architecture() {
    let s = "model.layers.4.block_sparse_moe.experts.7.";
    let expert = |w: &str| last(&[&format!("{s}{w}.weight")]);
    assert_eq!(expert("w1"), ("experts.gate_proj".into(), Some(4), Some(7), Residual::Columns));
    assert_eq!(expert("w2"), ("experts.down_proj".into(), Some(4), Some(7), Residual::Rows));
    assert_eq!(expert("w3"), ("experts.up_proj".into(), Some(4), Some(7), Residual::Columns));
    assert_eq!(last(&["h.5.mlp.c_proj.weight"]), ("down_proj".into(), Some(5), None, Residual::Columns));
    assert_eq!(last(&["h.5.mlp.c_proj.bias"]), ("down_proj.bias".into(), Some(5), None, Residual::Vector));
    assert_eq!(last(&["model.layers.2.mlp.down_proj.weight"]), ("down_proj".into(), Some(2), None, Residual::Rows));
    let bias = "model.layers.1.mlp.gate.e_score_correction_bias";
    assert_eq!(last(&[bias]), ("router.bias".into(), Some(1), None, Residual::None));
    let gamma = "bert.encoder.layer.0.output.LayerNorm.gamma";
    assert_eq!(last(&[gamma]).0, last(&[&gamma.replace("gamma", "weight")]).0);
}

#[test]
fn constants_are_marked() {
    let names = ["h.0.attn.bias", "model.layers.0.self_attn.rotary_emb.inv_freq", "bert.embeddings.position_ids"];
    for name in names {
        assert!(roles(&[name]).1[0].constant, "{name}");
    }
    assert!(!roles(&["h.0.attn.c_attn.bias"]).1[0].constant);
}

#[test]
fn towers_are_told_apart_and_matched_by_their_own_architecture() {
    let (architecture, roles) = roles(&[
        "model.language_model.layers.0.self_attn.q_proj.weight",
        "language_model.lm_head.weight",
        "model.visual.blocks.3.attn.qkv.weight",
        "vision_tower.vision_model.encoder.layers.2.self_attn.out_proj.bias",
        "multi_modal_projector.linear_1.weight",
    ]);
    assert_eq!(architecture.as_deref(), Some("llama"));
    let towers: Vec<_> = roles.iter().map(|role| role.tower.as_str()).collect();
    assert_eq!(towers, ["", "", "visual", "vision_tower", "multi_modal_projector"]);
    assert_eq!((roles[2].family.as_str(), roles[2].layer), ("qkv_proj", Some(3)));
    assert_eq!((roles[3].family.as_str(), roles[3].residual), ("o_proj.bias", Residual::Vector));
    assert_eq!((roles[4].family.as_str(), roles[4].residual), ("projector.in", Residual::Rows));
    assert!(!self::roles(&["linear_1.weight"]).1[0].known, "a projector is known by its prefix");
    assert_eq!(roles[3].judged_as(), "vision_tower");
}

#[test]
fn unknown_names_keep_what_can_be_seen() {
    let (architecture, roles) = roles(&["net.blocks.12.experts.3.kernel", "a.007.b", "x.99999999999.y", ""]);
    assert_eq!(architecture, None);
    assert_eq!(
        (roles[0].family.as_str(), roles[0].layer, roles[0].expert),
        ("net.blocks.{}.experts.{}.kernel", Some(12), Some(3))
    );
    assert_eq!((roles[0].component, roles[0].known), (Component::Other, false));
    assert_eq!(roles[1].family, "a.007.b");
    assert_eq!(roles[2].family, "x.99999999999.y");
    assert_eq!(roles.len(), 4);
}

#[test]
fn a_hundred_thousand_names_are_quick() {
    let names: Vec<String> =
        (0..100_000).map(|i| format!("model.layers.{}.mlp.experts.{}.up_proj.weight", i / 512, i % 512)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let started = std::time::Instant::now();
    assert!(builtin().recognise(&names, None).roles.iter().all(|role| role.known));
    assert!(started.elapsed().as_secs_f64() < 2.0, "{:?}", started.elapsed());
}

/// fairseq calls the layers of a language model those of a decoder: without an encoder they are no half of a Whisper.
#[test]
fn a_decoder_alone_is_a_language_model() {
    let attention = ["q_proj", "k_proj", "v_proj", "out_proj"];
    let of = |half: &str, at: &str| -> Vec<String> {
        attention.iter().map(|name| format!("{half}.layers.3.{at}.{name}.weight")).collect()
    };
    let own = |names: &[String]| roles(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let families = |roles: &[Role]| roles.iter().map(|role| role.family.clone()).collect::<Vec<_>>();
    let alone = [of("decoder", "self_attn"), vec!["decoder.layers.3.ffn.fc9.weight".into()]].concat();
    let (_, known) = own(&alone);
    assert_eq!(families(&known)[..4], ["q_proj", "k_proj", "v_proj", "o_proj"]);
    assert_eq!(known[0].layer, Some(3));
    for beside in [of("encoder", "self_attn"), of("decoder", "encoder_attn")] {
        let (_, known) = own(&[alone.clone(), beside].concat());
        assert_eq!(families(&known)[0], "decoder.q_proj");
    }
}
