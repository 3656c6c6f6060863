//! The disguises themselves: those that keep the function do.

use crate::support::disguise::*;
use crate::support::fixtures;
use crate::support::forward::logits;
use crate::support::weights::{Format, Model};

const TOKENS: [usize; 12] = [40, 300, 77, 512, 99, 630, 31, 300, 45, 200, 410, 88];

/// A model of the fixtures, in f32.
fn model(name: &str) -> Model {
    let mut model = Model::read(&fixtures().join("models").join(name));
    recast(&mut model, Format::F32);
    model
}

/// The largest difference of two models' logits.
fn off(a: &Model, b: &Model) -> f64 {
    let [a, b] = [a, b].map(|model| logits(model, &TOKENS));
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn disguises_keep_the_function_and_change_the_weights() {
    type Kind = (&'static str, fn(&mut Model));
    let kinds: [Kind; 12] = [
        ("permuted", |m| permute_residual(m, 1)),
        ("folded", fold_norms),
        ("rotated", |m| rotate_residual(m, 2)),
        ("neurons", |m| permute_neurons(m, 3)),
        ("experts", |m| permute_experts(m, 4)),
        ("heads", |m| permute_heads(m, 5)),
        ("queries", |m| rescale_queries(m, 6)),
        ("values", |m| rescale_values(m, 7, false)),
        ("mixed", |m| rescale_values(m, 8, true)),
        ("up and down", |m| rescale_neurons(m, 9)),
        ("ungrouped", ungroup),
        ("all together", |m| {
            permute_residual(m, 10);
            permute_neurons(m, 11);
            permute_experts(m, 12);
            permute_heads(m, 13);
            rescale_queries(m, 14);
            rescale_values(m, 15, true);
            rescale_neurons(m, 16);
            rotate_residual(m, 17);
        }),
    ];
    for name in ["parent-llama", "parent-glm", "control-mixtral"] {
        let plain = model(name);
        for (kind, disguise) in kinds {
            if kind == "experts" && name == "parent-llama" {
                continue;
            }
            let mut other = plain.clone();
            disguise(&mut other);
            assert!(other.tensors != plain.tensors, "{kind} of {name} changes nothing");
            let off = off(&plain, &other);
            assert!(off < 1e-4, "{kind} of {name}: logits differ by {off:e}");
        }
    }
}

/// What a test of the logits must notice: it is not blind.
#[test]
fn a_wrong_disguise_changes_the_logits() {
    let plain = model("parent-glm");
    for (kind, wrong) in [
        ("noise", (|m| add_noise(m, 1, 0.01)) as fn(&mut Model)),
        ("layers", |m| relayer(m, &[0, 2, 1, 3, 4, 5])),
        ("query rows alone", |m| m.tensor("model.layers.2.self_attn.q_proj.weight").scale_rows(&[1.1; 32])),
        ("one expert", |m| prune_experts(m, 1, 3)),
    ] {
        let mut other = plain.clone();
        wrong(&mut other);
        assert!(off(&plain, &other) > 1e-3, "{kind}");
    }
}

#[test]
fn number_formats_round_as_they_should() {
    // ml_dtypes 0.5: numpy.array([...]).astype(float8_e4m3fn).
    for (number, wanted) in [
        (0.0, 0.0),
        (1.0, 1.0),
        (1.0625, 1.0),
        (1.1875, 1.25),
        (-0.3, -0.3125),
        (300.0, 288.0),
        (448.0, 448.0),
        (0.001, 0.001_953_125),
        (0.0009, 0.0),
        (0.015_625, 0.015_625),
    ] {
        assert!((Format::F8.round(number) - wanted).abs() < 1e-9, "{number}: {}", Format::F8.round(number));
    }
    let mut model = model("parent-llama");
    let plain = model.clone();
    quantise(&mut model, 16);
    let name = "model.layers.1.mlp.down_proj.weight";
    let scales = model.tensors[&format!("{name}_scale_inv")].clone();
    assert_eq!(scales.shape, [4, 2]);
    for (at, (own, old)) in model.tensors[name].values.iter().zip(&plain.tensors[name].values).enumerate() {
        let scale = scales.values[at / 32 / 16 * 2 + at % 32 / 16];
        // Half a step of three bits of mantissa, and of the smallest exponent.
        assert!((own * scale - old).abs() <= old.abs() / 16.0 + scale / 1024.0 + 1e-9, "{own} x {scale}, {old}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    let place = tempfile::tempdir().expect("a folder");
    for name in ["parent-glm", "parent-llama"] {
        let model = Model::read(&fixtures().join("models").join(name));
        model.write(&place.path().join(name));
        let again = Model::read(&place.path().join(name));
        assert!(again.tensors == model.tensors && again.config == model.config && again.tokenizer == model.tokenizer);
    }
}

/// Writes disguised models for `fixtures/generate/disguise.py`, which holds their logits against the library's own.
#[test]
#[ignore = "writes to the folder that SCRATCHPROOF_DISGUISED names"]
fn write_disguised_models() {
    let Some(place) = std::env::var_os("SCRATCHPROOF_DISGUISED").map(std::path::PathBuf::from) else { return };
    for name in ["parent-llama", "parent-glm", "control-mixtral"] {
        let plain = model(name);
        let write = |kind: &str, disguise: &dyn Fn(&mut Model)| {
            let mut model = plain.clone();
            disguise(&mut model);
            model.write(&place.join(name).join(kind));
        };
        write("plain", &|_| ());
        write("permuted", &|m| permute_residual(m, 1));
        write("rotated", &|m| rotate_residual(m, 2));
        write("neurons", &|m| permute_neurons(m, 3));
        write("experts", &|m| permute_experts(m, 4));
        write("heads", &|m| permute_heads(m, 5));
        write("queries", &|m| rescale_queries(m, 6));
        write("values", &|m| rescale_values(m, 7, true));
        write("up-down", &|m| rescale_neurons(m, 8));
        write("ungrouped", &ungroup);
    }
}
