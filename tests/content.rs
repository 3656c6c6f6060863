//! Names propose, content decides: models whose names say little or nothing are held against each other all the same, and
//! strangers stay strangers.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{fixtures, program, run, safetensors};

const PARENT: &str = "models/parent-llama";
const CONTROL: &str = "models/control-llama";

/// A copy of a fixture's weights alone, changed.
fn changed(model: &str, change: impl FnOnce(&mut safetensors::File)) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("subject");
    fs::create_dir(&folder).expect("a folder");
    let mut file = safetensors::File::read(&fixtures().join(model).join("model.safetensors"));
    change(&mut file);
    file.write(&folder.join("model.safetensors"));
    (root, folder)
}

/// Exit status, and the comparison of a folder with a fixture under a control.
fn compared(subject: &Path, parent: &str, control: &str) -> (i32, Value) {
    let mut command = program();
    command.current_dir(fixtures()).args(["--format", "json", "compare"]).arg(subject).arg(parent);
    let run = run(command.args(["--control", control]));
    (run.status, serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", run.stdout, run.stderr)))
}

fn outcomes(document: &Value) -> BTreeMap<&str, &str> {
    let components = document["components"].as_array().expect("components");
    components.iter().filter_map(|c| Some((c["name"].as_str()?, c["outcome"].as_str()?))).collect()
}

/// Every matrix of a file the other way round.
fn turn(file: &mut safetensors::File, which: impl Fn(&str) -> bool) {
    for name in file.names().into_iter().filter(|name| which(name)) {
        let shape: Vec<usize> = serde_json::from_value(file.header[&name]["shape"].clone()).expect("a shape");
        let [rows, columns] = shape[..] else { continue };
        let values = file.numbers(&name);
        let turned: Vec<f32> = (0..values.len()).map(|at| values[at % rows * columns + at / rows]).collect();
        file.put(&name, &turned);
        file.set(&name, "shape", serde_json::json!([columns, rows]));
    }
}

/// Names that say nothing, in the order of the bytes or backwards.
fn blind(file: &mut safetensors::File, backwards: bool) {
    let names = file.names();
    let count = names.len();
    let place: BTreeMap<String, usize> = names.into_iter().enumerate().map(|(at, name)| (name, at)).collect();
    file.rename(|name| match place.get(name) {
        Some(at) => format!("w{:03}", if backwards { count - at } else { *at }),
        None => name.to_owned(),
    });
}

#[test]
fn wrappers_and_prefixes_change_nothing() {
    for before in
        ["module.", "_orig_mod.", "module._orig_mod.", "_forward_module.model.", "llm.", "base_model.model.", "net."]
    {
        let (_root, folder) = changed(PARENT, |file| {
            file.rename(|name| if name == "__metadata__" { name.to_owned() } else { format!("{before}{name}") });
        });
        let (status, document) = compared(&folder, PARENT, CONTROL);
        assert_eq!(status, 1, "{before}");
        assert_eq!(document["models"][0]["architecture"], "llama", "{before}");
        let outcomes = outcomes(&document);
        for component in ["attention", "mlp", "embedding", "head"] {
            assert_eq!(outcomes.get(component), Some(&"derived"), "{before}: {outcomes:?}");
        }
    }
}

#[test]
fn blind_names_in_any_order_and_orientation_are_matched_by_content() {
    for (backwards, turned) in [(false, false), (true, false), (true, true)] {
        let (_root, folder) = changed(PARENT, |file| {
            if turned {
                turn(file, |name| name.contains("_proj"));
            }
            blind(file, backwards);
        });
        let (status, document) = compared(&folder, PARENT, CONTROL);
        assert_eq!(status, 1, "backwards {backwards}, turned {turned}");
        let outcomes = outcomes(&document);
        for component in ["attention", "mlp", "embedding", "head"] {
            assert_eq!(outcomes.get(component), Some(&"derived"), "{backwards} {turned}: {outcomes:?}");
        }
        let findings = document["findings"].as_array().expect("findings");
        assert!(findings.iter().any(|f| f["code"] == "input/deduced-roles"), "a deduced role is said to be deduced");
    }
}

#[test]
fn strangers_under_blind_names_stay_strangers() {
    for backwards in [false, true] {
        let (_root, folder) = changed(CONTROL, |file| blind(file, backwards));
        let (status, document) = compared(&folder, PARENT, "models/control-phi");
        assert_ne!(status, 1, "{}", document["outcome"]);
        let whole = document["matrix"].as_array().expect("a matrix").iter().filter_map(|cell| cell["z"].as_f64());
        assert!(whole.fold(0.0, f64::max) < 5.0, "{}", document["matrix"]);
    }
}

/// Every matrix with its dimensions along the residual axis of 64 in another order.
fn permute(file: &mut safetensors::File) {
    let other = |at: usize| (at * 27 + 11) % 64;
    for name in file.names() {
        let shape: Vec<usize> = serde_json::from_value(file.header[&name]["shape"].clone()).expect("a shape");
        let values = file.numbers(&name);
        let cols = shape.last().copied().unwrap_or(1);
        let writes = name.contains("o_proj") || name.contains("down_proj");
        let from = |at: usize| match shape[..] {
            [_, _] if writes => other(at / cols) * cols + at % cols,
            _ => at / cols * cols + other(at % cols),
        };
        file.put(&name, &(0..values.len()).map(|at| values[from(at)]).collect::<Vec<f32>>());
    }
}

/// The names of an architecture that no template knows; the words are those that everybody uses.
fn own_names(file: &mut safetensors::File) {
    let words = [
        ("model.layers.", "net.stage."),
        ("self_attn.", "mix."),
        ("_proj", "_map"),
        ("mlp.", "block."),
        ("embed_tokens", "table"),
        ("lm_head", "readout"),
        ("layernorm", "ln"),
    ];
    file.rename(|name| words.iter().fold(name.to_owned(), |name, (old, new)| name.replace(old, new)));
}

#[test]
fn another_order_of_the_axis_is_found_where_no_template_knows_the_names() {
    let (_parent, parent) = changed(PARENT, own_names);
    let (_subject, subject) = changed(PARENT, |file| {
        permute(file);
        own_names(file);
    });
    let (_stranger, stranger) = changed(CONTROL, own_names);
    let compared = |subject: &Path| {
        let run = run(program().args(["--format", "json", "compare"]).arg(subject).arg(&parent));
        let document: Value = serde_json::from_str(&run.stdout).expect("JSON");
        let codes = document["findings"].as_array().expect("findings").iter().filter_map(|f| f["code"].as_str());
        let codes: Vec<String> = codes.map(str::to_owned).collect();
        (run.status, document["outcome"].as_str().expect("an outcome").to_owned(), codes)
    };
    let (status, outcome, codes) = compared(&subject);
    assert_eq!((status, outcome.as_str()), (1, "similar"), "{codes:?}");
    assert!(codes.iter().any(|code| code == "parent/permuted"), "{codes:?}");
    let (status, outcome, codes) = compared(&stranger);
    assert_eq!((status, outcome.as_str()), (0, "silent"), "{codes:?}");
}

/// Names of which nothing follows: in another order of the axis nothing is found, and nothing is cleared.
#[test]
fn what_no_search_could_look_at_is_not_called_unlike() {
    let (_root, subject) = changed(PARENT, |file| {
        permute(file);
        blind(file, true);
    });
    let (status, document) = compared(&subject, PARENT, CONTROL);
    assert_eq!((status, document["outcome"].as_str()), (0, Some("undetermined")), "{:?}", document["findings"]);
    assert_ne!(outcomes(&document).get("other"), Some(&"independent"));
    let missing = document["missing"].to_string();
    assert!(missing.contains("template"), "{missing}");
}

#[test]
fn a_whole_model_stored_the_other_way_round_under_known_names() {
    // Square matrices as well: their orientation is that of the layer.
    let (_root, folder) = changed(PARENT, |file| turn(file, |name| name.contains("_proj")));
    let (status, document) = compared(&folder, PARENT, CONTROL);
    assert_eq!(status, 1);
    let outcomes = outcomes(&document);
    for component in ["attention", "mlp"] {
        assert_eq!(outcomes.get(component), Some(&"derived"), "{outcomes:?}");
    }
}

#[test]
fn a_template_is_printed_and_taken_from_the_case_file() {
    let (root, folder) = changed(PARENT, |file| blind(file, false));
    let printed = run(program().args(["inspect", "--template"]).arg(&folder));
    assert_eq!(printed.status, 0, "{}", printed.stderr);
    fs::write(root.path().join("my.toml"), &printed.stdout).expect("written");
    let case = format!(
        "schema = 1\n[claim]\nstatement = \"from-scratch\"\n[subject]\nmodel = \"subject\"\narchitecture = \"my.toml\"\n\
         [[parent]]\nname = \"parent\"\nmodel = \"{}\"\n",
        fixtures().join(PARENT).display()
    );
    fs::write(root.path().join("case.toml"), case).expect("written");
    let audited = run(program().current_dir(root.path()).args(["--format", "json", "audit", "case.toml"]));
    assert!([1, 3].contains(&audited.status), "{}{}", audited.stdout, audited.stderr);
    fs::write(root.path().join("my.toml"), "[[tensor]]\nname = 1\n").expect("written");
    let refused = run(program().current_dir(root.path()).args(["audit", "case.toml"]));
    assert_eq!(refused.status, 2);
    assert!(refused.stderr.contains("my.toml"), "{}", refused.stderr);
}

/// Equal values tell of descent whatever the axes of a tensor: positions, the patches of a convolution, a class token. Sines that
/// anybody computes do not.
#[test]
fn equal_tensors_are_found_whatever_their_axes_and_formulas_are_nobodys() {
    let mut parent = safetensors::File::read(&fixtures().join("models/control-clip/model.safetensors"));
    let embeddings = |name: &str| format!("vision_model.embeddings.{name}");
    let compare = |subject: &Path, parent: &Path| {
        let mut command = program();
        let run = run(command.args(["--format", "json", "compare"]).arg(subject).arg(parent));
        let document: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.stderr));
        let codes = document["findings"].as_array().expect("findings").iter();
        let equal: Vec<Value> = codes.filter(|f| f["code"] == "parent/bit-equal").cloned().collect();
        (run.status, equal)
    };
    let parent_at = fixtures().join("models/control-clip");
    for name in ["position_embedding.weight", "patch_embedding.weight", "class_embedding"] {
        let name = embeddings(name);
        let taken = parent.numbers(&name);
        let (_root, subject) = changed("models/parent-clip", |file| file.put(&name, &taken));
        let (status, equal) = compare(&subject, &parent_at);
        assert_eq!((status, equal.len()), (1, 1), "{name}: {equal:?}");
        assert!(equal[0]["message"].to_string().contains(&name), "{equal:?}");
    }
    let (_root, own) = changed("models/parent-clip", |_| {});
    assert!(compare(&own, &parent_at).1.is_empty());
    // A table of sines in both.
    let name = embeddings("position_embedding.weight");
    let width =
        parent.header[&name]["shape"][1].as_u64().and_then(|width| usize::try_from(width).ok()).expect("a width");
    let sines: Vec<f32> = (0..parent.numbers(&name).len())
        .map(|at| {
            let (row, column) = (at / width, at % width);
            let turn = row as f32 / 10_000_f32.powf((column / 2 * 2) as f32 / width as f32);
            if column % 2 == 0 { turn.sin() } else { turn.cos() }
        })
        .collect();
    let (_a, subject) = changed("models/control-clip", |file| file.put(&name, &sines));
    let (_b, other) = changed("models/parent-clip", |file| file.put(&name, &sines));
    let (_, equal) = compare(&subject, &other);
    assert!(equal.is_empty(), "{equal:?}");
}
