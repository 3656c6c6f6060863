//! A file of templates to begin with, for a model whose names no template knows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Checkpoint, Residual, TensorRecord};

/// What stands above the templates.
const HEAD: &str = "\
# Templates for the names of this model, as they were deduced. Correct what is wrong and name the file in the case file:
#
#   [subject]
#   architecture = \"my.toml\"
#
# component: embedding attention mlp experts router norms head other
# family:    the function; the tool's own words (q_proj k_proj v_proj o_proj gate_proj up_proj down_proj embedding head
#            input_norm post_attention_norm final_norm router experts.up_proj ...) make it comparable with known models
# residual:  which axis is the hidden dimension: rows, columns, first (convolutions), vector, none
# bias:      optional: `.bias` instead of `.weight` exists as well, with this residual axis
# split:     optional: blocks, groups or alternating, with parts = [\"q_proj\", \"k_proj\", \"v_proj\"]
";

/// Templates for all tensors of a model that no template knows, or for all of it if those are most.
#[must_use]
pub fn template(checkpoint: &Checkpoint) -> String {
    let strange = |tensor: &&TensorRecord| !tensor.role.known || tensor.role.deduced;
    let all = checkpoint.architecture.is_none();
    let mut seen: BTreeMap<String, (&TensorRecord, usize)> = BTreeMap::new();
    for tensor in checkpoint.tensors.iter().filter(|tensor| all || strange(tensor)) {
        seen.entry(pattern(tensor)).or_insert((tensor, 0)).1 += 1;
    }
    let mut out = String::from(HEAD);
    let _ = write!(out, "\nmodel_types = []\n");
    for (name, (tensor, count)) in seen {
        let role = &tensor.role;
        let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
        let residual = match role.residual {
            Residual::Rows => "rows",
            Residual::Columns => "columns",
            Residual::First => "first",
            Residual::Vector => "vector",
            Residual::None => "none",
        };
        let family = if strange(&tensor) { plain(&role.family) } else { role.family.clone() };
        let _ = write!(
            out,
            "\n# {count} of {} in {}\n[[tensor]]\nname = {}\ncomponent = \"{}\"\nfamily = {}\nresidual = \"{residual}\"\n",
            if shape.is_empty() { "one number".to_owned() } else { shape.join(" x ") },
            tensor.dtype,
            toml::Value::String(name),
            role.component.name(),
            toml::Value::String(family),
        );
        if role.constant {
            out.push_str("constant = true\n");
        }
    }
    out
}

/// The name with holes for its numbers.
fn pattern(tensor: &TensorRecord) -> String {
    let (mut layer, mut expert) = (tensor.role.layer, tensor.role.expert);
    let part = |part: &str| {
        let number =
            Some(part).filter(|part| part.bytes().all(|b| b.is_ascii_digit())).and_then(|p| p.parse::<u32>().ok());
        match number {
            None => part.to_owned(),
            Some(number) if layer == Some(number) => {
                layer = None;
                "{layer}".to_owned()
            }
            Some(number) if expert == Some(number) => {
                expert = None;
                "{expert}".to_owned()
            }
            Some(_) => "{index}".to_owned(),
        }
    };
    tensor.name.split('.').map(part).collect::<Vec<_>>().join(".")
}

/// A family without holes.
fn plain(family: &str) -> String {
    let parts = family.split('.').filter(|part| !part.is_empty() && *part != "{}" && *part != "weight");
    let plain: Vec<&str> = parts.collect();
    if plain.is_empty() { "weight".to_owned() } else { plain.join(".") }
}

#[cfg(test)]
mod tests {
    use super::super::{Architectures, Checkpoint, Dtype, testing};
    use super::template;
    use scratchproof_source::MemoryStore;

    #[test]
    fn what_is_printed_is_read_and_knows_every_name() {
        let tensors: Vec<(String, Dtype, Vec<usize>)> = (0..3)
            .flat_map(|layer| {
                [("mix.key", vec![16, 16]), ("ff.a", vec![40, 16]), ("scale", vec![16])]
                    .map(|(name, shape)| (format!("backbone.stage.{layer}.{name}"), Dtype::F32, shape))
            })
            .chain([("words".to_owned(), Dtype::F32, vec![50, 16]), ("7.x".to_owned(), Dtype::F32, vec![9, 3])])
            .collect();
        let tensors: Vec<_> = tensors.iter().map(|(n, d, s)| (n.as_str(), *d, s.as_slice())).collect();
        let store = MemoryStore::new().with("model.safetensors", testing::file(&tensors));
        let mut model = Checkpoint::from_store(&store).unwrap();
        assert_eq!(model.architecture, None);
        let text = template(&model);
        assert!(text.contains("backbone.stage.{layer}.mix.key"), "{text}");
        model.recognise(&Architectures::with("mine", &text).unwrap());
        assert_eq!(model.architecture.as_deref(), Some("mine (given)"));
        assert!(model.tensors.iter().all(|tensor| tensor.role.known && !tensor.role.deduced));
        // A number that begins a name counts as a layer too.
        assert_eq!((model.layers(), model.hidden_size()), (4, Some(16)));
    }
}
