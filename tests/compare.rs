//! `scratchproof compare`: its tables against numpy, its exit statuses, its forms, and the copies it must name.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use scratchproof::evidence::{Evidence, Reference};
use serde_json::Value;
use support::{Run, audited, fixtures, program, refused, run, safetensors};

const SAME: &str = "cases/scratch-same-arch/checkpoints/step-600";

fn compared(format: &str, models: &[&Path], controls: &[&str]) -> Run {
    let mut command = program();
    command.current_dir(fixtures()).args(["--format", format, "compare"]).args(models);
    for control in controls {
        command.args(["--control", control]);
    }
    run(&mut command)
}

fn json(subject: &Path, parent: &str, controls: &[&str], status: i32) -> Value {
    let run = compared("json", &[subject, Path::new(parent)], controls);
    assert_eq!((run.status, run.stderr.as_str()), (status, ""), "{}", run.stdout);
    serde_json::from_str(&run.stdout).expect("JSON")
}

/// A copy of a fixture model, changed.
fn changed(model: &str, change: impl FnOnce(&mut safetensors::File)) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("subject");
    support::copy(&fixtures().join(model), &folder);
    safetensors::edit(&folder.join("model.safetensors"), change);
    (root, folder)
}

fn findings<'a>(document: &'a Value, code: &str) -> Vec<&'a Value> {
    document["findings"].as_array().expect("findings").iter().filter(|f| f["code"] == code).collect()
}

fn outcomes(document: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let components = document["components"].as_array().expect("components");
    components.iter().map(|c| (text(&c["name"]), text(&c["outcome"]))).collect()
}

fn csv(name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(fixtures().join("reference").join(name)).expect("a reference");
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn the_tables_are_those_of_numpy() {
    let document = json(Path::new(SAME), "models/parent-glm", &["models/control-mixtral"], 0);
    let names: Vec<&str> =
        document["models"].as_array().expect("models").iter().map(|m| m["name"].as_str().expect("a name")).collect();
    let letters = ["A", "B", "C1"];
    let letter =
        |name: &Value| letters[names.iter().position(|n| *n == name.as_str().expect("a name")).expect("known")];
    let pair = |row: &Value| format!("{}-{}", letter(&row["first"]), letter(&row["second"]));
    let rows = |key: &str| document[key].as_array().expect("rows").clone();
    let mut figures: BTreeMap<(String, String), f64> = BTreeMap::new();
    let mut put = |table: &str, key: String, value: &Value| {
        if let Some(value) = value.as_f64() {
            figures.insert((table.to_owned(), key), value);
        }
    };
    for family in rows("families") {
        for row in family["pairs"].as_array().expect("pairs") {
            for figure in ["cosine", "pearson", "relative_l2"] {
                put(
                    "family",
                    format!("{} {} {figure}", family["family"].as_str().expect("a name"), pair(row)),
                    &row[figure],
                );
            }
        }
    }
    for row in rows("matrix") {
        for figure in ["norm_cosine", "norm_pearson", "norm_z"] {
            put("matrix", format!("{} {figure}", pair(&row)), &row[figure]);
        }
    }
    for row in rows("baselines") {
        let key = format!("{} {}", letter(&row["model"]), row["norm"].as_str().expect("a name"));
        put("baseline", key, &row["mean"]);
    }
    for row in rows("sigma") {
        for figure in ["sigma_layer_0", "sigma_mismatched"] {
            put("sigma", format!("{} {} {figure}", row["norm"].as_str().expect("a name"), pair(&row)), &row[figure]);
        }
    }
    let reference = csv("compare.csv");
    assert!(reference.len() > 30);
    for row in reference {
        let expected: f64 = row[2].parse().expect("a figure");
        let found = figures.get(&(row[0].clone(), row[1].clone())).unwrap_or_else(|| panic!("no {row:?}"));
        // Six digits are printed.
        assert!((found - expected).abs() <= 6e-6 * expected.abs(), "{row:?}: {found}");
    }
}

#[test]
fn the_field_metrics_are_those_of_numpy() {
    let evidence = Evidence::read(&audited("continued").folder.join("evidence")).expect("evidence");
    let parent = Reference::Parent("parent-glm".into());
    let rows: BTreeMap<&str, _> =
        evidence.pairs.iter().filter(|r| r.reference == parent).map(|r| (r.tensor.as_str(), r)).collect();
    let reference = csv("pairs.csv");
    assert_eq!(reference.len(), rows.len());
    for line in reference {
        let row = rows[line[0].as_str()];
        for (found, expected) in [(row.mean_abs_diff, &line[1]), (row.p99_diff, &line[2])] {
            let (found, expected): (f64, f64) = (found.expect("a figure"), expected.parse().expect("a figure"));
            assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1e-3), "{line:?}: {found}");
        }
    }
}

#[test]
fn exit_statuses_and_bad_input() {
    let parent = Path::new("models/parent-glm");
    let derived = Path::new("cases/continued/checkpoints/step-600");
    let control = ["models/control-mixtral"];
    assert_eq!(compared("human", &[derived, parent], &control).status, 1);
    assert_eq!(compared("human", &[Path::new(SAME), parent], &control).status, 0);
    let (_root, lone) = changed("models/parent-glm", |file| {
        let part = file.part(|name| name == "model.embed_tokens.weight");
        *file = part;
        file.rename(|_| "nobody.knows".to_owned());
    });
    let run = compared("human", &[&lone, parent], &[]);
    // A name hides nothing: the content is the parent's embedding.
    assert_eq!(run.status, 1, "{}", run.stdout);
    assert!(run.stdout.starts_with("SIMILAR"), "{}", run.stdout);
    refused(&compared("human", &[Path::new("nowhere"), parent], &[]), &["subject", "nowhere"]);
    refused(&compared("json", &[derived, Path::new("nowhere")], &[]), &["parent", "nowhere"]);
    refused(&compared("json", &[derived, parent], &["nowhere"]), &["control", "nowhere"]);
    let quiet = support::run(program().current_dir(fixtures()).args(["-q", "compare"]).args([derived, parent]));
    assert_eq!(quiet.stdout, "");
}

/// `-o DIR`: the same document and Markdown as on standard output, and the tables that both were made from.
#[test]
fn the_folder_holds_the_tables_and_both_documents() {
    let root = tempfile::tempdir().expect("a folder");
    let out = root.path().join("out");
    let models = [Path::new(SAME), Path::new("models/parent-glm")];
    let controls = ["models/control-mixtral"];
    let mut command = program();
    command.current_dir(fixtures()).arg("compare").args(models).args(["--control", controls[0], "-o"]).arg(&out);
    assert_eq!(run(&mut command).status, 0);
    let read = |name: &str| fs::read_to_string(out.join(name)).expect("a file");
    assert_eq!(read("compare.json"), compared("json", &models, &controls).stdout);
    assert_eq!(read("compare.md"), compared("markdown", &models, &controls).stdout);
    let evidence = Evidence::read(&out.join("evidence")).expect("tables");
    // Every row of the published form: five figures of a pair, layer by layer.
    let parent = Reference::Parent("parent-glm".into());
    let queries: Vec<_> =
        evidence.pairs.iter().filter(|row| row.reference == parent && row.family == "q_proj").collect();
    let layers: Vec<_> = queries.iter().filter_map(|row| row.layer).collect();
    assert!(layers.len() >= 4 && layers.is_sorted(), "{layers:?}");
    for row in queries {
        let figures = [row.cosine, row.pearson, row.mean_abs_diff, row.p99_diff, row.cv_diff];
        assert!(figures.iter().all(|figure| figure.is_some_and(f64::is_finite)), "{row:?}");
    }
    assert!(!evidence.layer_map.is_empty() && !evidence.components.is_empty());
    // A second run replaces its own files; a file of somebody else stays.
    fs::write(out.join("compare.md"), "mine").expect("written");
    assert_eq!(run(&mut command).status, 2);
    assert_eq!(read("compare.md"), "mine");
}

#[test]
fn the_document_has_its_keys_in_order() {
    let run = compared("json", &[Path::new(SAME), Path::new("models/parent-glm")], &["models/control-phi"]);
    let keys: Vec<&str> = run
        .stdout
        .lines()
        .filter(|line| line.starts_with("  \""))
        .map(|line| line.trim_start().trim_start_matches('"').split('"').next().expect("a key"))
        .collect();
    let expected = "schema tool models outcome components families layers routers baselines matrix sigma questions layer_maps findings \
                    missing missing_texts coverage policy";
    assert_eq!(keys.join(" "), expected);
    assert!(run.stdout.contains("\"schema\": \"scratchproof.compare/1\""));
    for threads in ["1", "3"] {
        let models = [SAME, "models/parent-glm", "--control", "models/control-phi"];
        let arguments = ["--threads", threads, "--format", "json", "compare"];
        let again = support::run(program().current_dir(fixtures()).args(arguments).args(models));
        assert_eq!(again.stdout, run.stdout, "{threads} threads");
    }
}

#[test]
fn without_a_control_it_says_what_cannot_be_concluded() {
    let subject = Path::new("cases/continued/checkpoints/step-600");
    // Exact nulls need no control; which of two is nearer cannot be said without one.
    let document = json(subject, "models/parent-glm", &[], 1);
    assert_eq!(document["questions"][1]["answer"], "cannot-be-said");
    assert_eq!(document["questions"][0]["answer"], "yes");
    let missing = document["missing"].to_string();
    assert!(missing.contains("a control"), "{missing}");
    let run = compared("human", &[subject, Path::new("models/parent-glm")], &[]);
    assert!(run.stdout.contains("No control was given"), "{}", run.stdout);
}

#[test]
fn models_of_two_architectures_are_compared_where_they_can_be() {
    let document = json(Path::new("models/control-phi"), "models/parent-glm", &["models/control-mixtral"], 0);
    let families: Vec<&str> = document["families"]
        .as_array()
        .expect("families")
        .iter()
        .map(|f| f["family"].as_str().expect("a name"))
        .collect();
    assert!(families.contains(&"k_proj") && families.contains(&"experts.up_proj"), "{families:?}");
    assert!(document["coverage"]["skipped"].as_array().is_some_and(|s| !s.is_empty()));
    assert_eq!(document["questions"][1]["answer"], "no");
}

#[test]
fn hostile_names_stay_names() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("a\u{1b}[31m|b");
    support::copy(&fixtures().join(SAME), &folder);
    for format in ["human", "markdown"] {
        let run = compared(format, &[&folder, Path::new("models/parent-glm")], &["models/control-phi"]);
        assert_eq!(run.status, 0);
        assert!(!run.stdout.contains('\u{1b}') && run.stdout.contains("u{1b}"), "{}", run.stdout);
    }
    // The same model twice needs two names.
    let twice = compared("human", &[Path::new(SAME), Path::new(SAME)], &[SAME]);
    assert!(twice.stdout.contains("step-600 (2)") && twice.stdout.contains("step-600 (3)"), "{}", twice.stdout);
}

/// Rows of one matrix of a stranger are the parent's.
#[test]
fn a_block_of_rows_is_named() {
    let tensor = "model.layers.2.self_attn.q_proj.weight";
    let mut parent = safetensors::File::read(&fixtures().join("models/parent-glm/model.safetensors"));
    let theirs = parent.numbers(tensor);
    for (from, to) in [(4, 12), (0, 32)] {
        let (_root, folder) = changed(SAME, |file| {
            let mut own = file.numbers(tensor);
            own[from * 64..to * 64].copy_from_slice(&theirs[from * 64..to * 64]);
            file.put(tensor, &own);
        });
        let document = json(&folder, "models/parent-glm", &["models/control-mixtral"], 1);
        let found = findings(&document, "parent/bit-equal");
        assert_eq!(found.len(), 1, "{found:?}");
        let message = found[0]["message"].as_str().expect("a message");
        let part = if to == 32 {
            "1 weight matrix of attention in layer 2".to_owned()
        } else {
            format!("{tensor} rows 4-11 of 32")
        };
        assert!(message.contains(&part), "{message}");
        assert_eq!((&found[0]["grade"], &found[0]["subject"]["layer"]), (&"conclusive".into(), &2.into()));
        if to == 12 {
            // A stranger that has the rows as well takes the force away.
            let (_root, control) = changed("models/control-mixtral", |file| {
                let mut own = file.numbers(tensor);
                own[from * 64..to * 64].copy_from_slice(&theirs[from * 64..to * 64]);
                file.put(tensor, &own);
            });
            let document = json(&folder, "models/parent-glm", &[control.to_str().expect("a path")], 0);
            assert!(findings(&document, "parent/bit-equal").is_empty());
            assert!(findings(&document, "parent/uncalibrated").is_empty());
        }
    }
}

#[test]
fn a_cast_copy_is_named_as_one() {
    let document =
        json(Path::new("cases/continued/checkpoints/step-0"), "models/parent-glm", &["models/control-mixtral"], 1);
    let found = findings(&document, "parent/bit-equal");
    let components: Vec<&str> = found.iter().map(|f| f["subject"]["component"].as_str().expect("a name")).collect();
    assert_eq!(components, ["attention", "embedding", "experts", "head", "mlp", "router"]);
    let message = found[0]["message"].as_str().expect("a message");
    assert!(message.contains("BF16 and F32 brought to one format, rounded to the nearest"), "{message}");
    assert!(message.contains("in layers 0-5") && message.contains("all 16 rows"), "{message}");
}

/// Two strangers but for rows of one start that only decayed: a question of origin, no derivation.
#[test]
fn rows_that_share_one_factor_are_no_derivation() {
    let tensor = "model.embed_tokens.weight";
    let mut parent = safetensors::File::read(&fixtures().join("models/parent-glm/model.safetensors"));
    let theirs = parent.numbers(tensor);
    for factor in [0.9858, 1.0] {
        let (_root, folder) = changed(SAME, |file| {
            let mut own = file.numbers(tensor);
            for (x, y) in own[100 * 64..300 * 64].iter_mut().zip(&theirs[100 * 64..300 * 64]) {
                *x = y * factor;
            }
            file.put(tensor, &own);
        });
        let document = json(&folder, "models/parent-glm", &["models/control-mixtral"], 0);
        let found = findings(&document, "parent/decayed-rows");
        assert_eq!(found.len(), 1, "{}", document["findings"]);
        let message = found[0]["message"].as_str().expect("a message");
        let part =
            if factor < 1.0 { "200 of 640 rows" } else { "200 of 640 rows of model.embed_tokens.weight by none" };
        assert!(message.contains(part) && (factor > 0.99 || message.contains("0.98580")), "{message}");
        assert_eq!(found[0]["grade"], "moderate");
        assert!(found[0]["log10_p"].as_f64().is_some_and(|p| p < -1000.0));
        let outcomes = outcomes(&document);
        assert_eq!(outcomes["embedding"], "undetermined", "{outcomes:?}");
        assert!(!outcomes.values().any(|outcome| outcome == "derived"), "{outcomes:?}");
        assert_eq!(document["outcome"], "undetermined");
    }
}

#[test]
fn biases_of_norms_are_no_norm_weights() {
    // Biases start at zero and may have any sign: their cosine says nothing of what the raw cosine of norms is quoted for.
    let model = "models/control-phi";
    let mut biases = 0;
    let (_root, subject) = changed(model, |file| {
        for name in file.names().into_iter().filter(|name| name.contains("norm") && name.ends_with(".bias")) {
            let values: Vec<f32> = file.numbers(&name).iter().enumerate().map(|(i, _)| (i as f32).sin()).collect();
            file.put(&name, &values);
            biases += 1;
        }
    });
    assert!(biases > 0, "the fixture has no norm with a bias");
    let run = compared("json", &[&subject, Path::new(model)], &[]);
    let document: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let found = findings(&document, "parent/norm-cosine");
    assert_eq!(found[0]["statistic"], 1.0, "{}", found[0]["message"]);
}

/// Zeros of a parent that the tool wrote down in the subject's coordinates are nobody's.
#[test]
fn zeros_of_a_relabelled_parent_are_not_told_of() {
    const HIDDEN: usize = 128;
    const HEADS: usize = 8;
    let root = tempfile::tempdir().expect("a folder");
    let mut state = 1_u64;
    let mut normal = |count: usize, mean: f32| -> Vec<f32> {
        let mut unit = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 + 0.5) / 16_777_216.0
        };
        let one = |_| mean + 0.05 * (-2.0 * unit().ln()).sqrt() * (std::f32::consts::TAU * unit()).cos();
        (0..count).map(one).collect()
    };
    let mut bert = |layers: usize| -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let mut all = Vec::new();
        let mut put = |name: String, shape: &[usize], mean: f32| {
            all.push((name, shape.to_vec(), normal(shape.iter().product(), mean)));
        };
        for (name, rows) in [("word", 256), ("position", 64), ("token_type", 2)] {
            put(format!("embeddings.{name}_embeddings.weight"), &[rows, HIDDEN], 0.0);
        }
        put("embeddings.LayerNorm.weight".into(), &[HIDDEN], 1.0);
        put("embeddings.LayerNorm.bias".into(), &[HIDDEN], 0.0);
        for layer in 0..layers {
            let square =
                ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"];
            let wide = [("intermediate.dense", [4 * HIDDEN, HIDDEN]), ("output.dense", [HIDDEN, 4 * HIDDEN])];
            for (name, shape) in square.map(|name| (name, [HIDDEN, HIDDEN])).into_iter().chain(wide) {
                put(format!("encoder.layer.{layer}.{name}.weight"), &shape, 0.0);
                put(format!("encoder.layer.{layer}.{name}.bias"), &shape[..1], 0.0);
            }
            for name in ["attention.output", "output"] {
                put(format!("encoder.layer.{layer}.{name}.LayerNorm.weight"), &[HIDDEN], 1.0);
                put(format!("encoder.layer.{layer}.{name}.LayerNorm.bias"), &[HIDDEN], 0.0);
            }
        }
        all
    };
    let (parent, mut subject, stranger) = (bert(6), bert(3), bert(3));
    // Embeddings of the parent, heads of its layers 2 and 3 in another order in layers 0 and 1, and MLPs of nobody.
    let size = HIDDEN / HEADS;
    let row = |i: usize| (i / size * 3 + 1) % HEADS * size + i % size;
    for (name, _, values) in &mut subject {
        let layer =
            [("layer.0.", "layer.2."), ("layer.1.", "layer.3.")].into_iter().find(|(own, _)| name.contains(own));
        let source = match layer {
            Some((own, theirs)) => name.replace(own, theirs),
            None => name.clone(),
        };
        let theirs = &parent.iter().find(|(other, ..)| *other == source).expect("the parent's").2;
        let width = theirs.len() / HIDDEN;
        if name.contains("attention.self") && layer.is_some() {
            *values = (0..HIDDEN).flat_map(|i| theirs[row(i) * width..][..width].to_vec()).collect();
        } else if name.ends_with("attention.output.dense.weight") && layer.is_some() {
            *values = (0..values.len()).map(|at| theirs[at / HIDDEN * HIDDEN + row(at % HIDDEN)]).collect();
        } else if name.starts_with("embeddings") {
            values.clone_from(theirs);
        }
    }
    for (name, layers, tensors) in [("subject", 3, subject), ("parent", 6, parent), ("stranger", 3, stranger)] {
        let folder = root.path().join(name);
        fs::create_dir(&folder).expect("a folder");
        safetensors::File::of(&tensors).write(&folder.join("model.safetensors"));
        let config = serde_json::json!({
            "model_type": "bert", "architectures": ["BertModel"], "hidden_size": HIDDEN, "intermediate_size": 4 * HIDDEN,
            "num_hidden_layers": layers, "num_attention_heads": HEADS, "vocab_size": 256, "max_position_embeddings": 64,
            "type_vocab_size": 2,
        });
        fs::write(folder.join("config.json"), config.to_string()).expect("written");
    }
    let path = |name: &str| root.path().join(name);
    let control = path("stranger").display().to_string();
    let run = compared("json", &[&path("subject"), &path("parent")], &[&control]);
    let document: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert!(!findings(&document, "parent/re-expressed").is_empty(), "nothing was written in the subject's coordinates");
    assert!(findings(&document, "input/zero-tensor").is_empty(), "{document:#}");
}

#[test]
fn what_a_test_could_not_have_failed_by_is_not_told() {
    let subject = fixtures().join(SAME);
    let equal = |controls: &[&str]| {
        let run = compared("json", &[&subject, Path::new(SAME)], controls);
        let document: Value = serde_json::from_str(&run.stdout).expect("JSON");
        let found = findings(&document, "parent/bit-equal");
        assert!(!found.is_empty());
        found
            .iter()
            .map(|f| f["message"].as_str().expect("a message").contains("No control has them"))
            .collect::<Vec<_>>()
    };
    assert!(equal(&[]).iter().all(|told| !told), "there is no control that could have them");
    assert!(equal(&["models/control-phi"]).iter().all(|told| *told));
    let document = json(&subject, "models/parent-glm", &["models/control-phi"], 0);
    let silent = findings(&document, "parent/no-similarity");
    for finding in &silent {
        let message = finding["message"].as_str().expect("a message");
        assert!(message.contains("in the basis that both are stored in"), "{message}");
    }
    assert!(!silent.is_empty());
}
