//! The case file of what was found.

use std::fmt::Write as _;

use scratchproof_case::last_part;
use scratchproof_texts::{Language, Text, text};

use super::Found;

/// The case file, with comments in a language. `file` is its name, for the command that the head shows.
#[must_use]
pub fn write(found: &Found, file: &str, language: Language) -> String {
    let mut out = Out { text: String::new(), language };
    out.comment(&text!("init/head/about", file));
    out.line("schema = 1");
    out.line(&format!("name = {}", quoted(&found.name)));
    out.line("\n[claim]\nstatement = \"from-scratch\"");
    subject(&mut out, found);
    start(&mut out, found);
    references(&mut out, found);
    record(&mut out, found);
    out.text
}

struct Out {
    text: String,
    language: Language,
}

impl Out {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }

    /// A paragraph behind `#`. Names in it cannot end the comment.
    fn comment(&mut self, text: &Text) {
        for line in text.say(self.language).trim().lines() {
            let plain: String = line.chars().filter(|c| !c.is_control()).collect();
            self.line(&format!("# {plain}"));
        }
    }
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn subject(out: &mut Out, found: &Found) {
    out.line("\n[subject]");
    out.line(&format!("name = {}", quoted(&found.name)));
    let mut models = found.models.as_slice();
    if let (Some(first), Some(last)) = (found.series.first(), found.series.last()) {
        out.comment(&text!("init/subject/series", count = found.series.len(), first = first.step, last = last.step));
        if let Some(pattern) = &found.pattern {
            out.line(&format!("checkpoints = {}", quoted(pattern)));
        } else {
            out.line("checkpoints = [");
            for saved in &found.series {
                out.line(&format!("    {{ step = {}, model = {} }},", saved.step, quoted(&saved.path)));
            }
            out.line("]");
        }
        if first.step > 0 {
            out.comment(&text!("init/subject/no-start"));
        }
        if found.series.len() < 3 {
            out.comment(&text!("init/subject/few"));
        }
    } else if let [model, others @ ..] = models {
        out.line(&format!("model = {}", quoted(model)));
        out.comment(&text!("init/subject/single"));
        models = others;
    }
    if !models.is_empty() {
        out.comment(&text!("init/subject/other-models", models));
    }
    for pattern in &found.other_series {
        out.comment(&text!("init/subject/other-series", pattern));
    }
    for (path, why) in found.broken.iter().take(8) {
        out.comment(&text!("init/subject/broken", path, why));
    }
    if found.cut {
        out.comment(&text!("init/subject/cut"));
    }
}

fn start(out: &mut Out, found: &Found) {
    out.line("");
    if let Some(recipe) = &found.recipe {
        out.comment(&text!("init/start/recipe"));
        out.line(&format!("[subject.init]\nrecipe = {}", quoted(recipe)));
        out.comment(&text!("init/start/seed"));
        out.line("# seed = 42");
    } else {
        out.comment(&text!("init/start/declare"));
        out.line("# [subject.init]\n# scheme = \"normal\"\n# std = 0.02\n# seed = 42\n# framework = \"torch-cpu\"");
    }
}

fn references(out: &mut Out, found: &Found) {
    let of = |path: &str| last_part(path).to_owned();
    let mut list = |kind: &str, which: Text, paths: &[String], example: &str| {
        out.line("");
        out.comment(&which);
        for path in paths {
            // Two folders of one name are told apart by where they are.
            let alone = paths.iter().filter(|other| of(other) == of(path)).count() == 1;
            let name = if alone { of(path) } else { path.clone() };
            out.line(&format!("[[{kind}]]\nname = {}\nmodel = {}", quoted(&name), quoted(path)));
        }
        if paths.is_empty() {
            out.line(example);
        }
    };
    let parent = "# [[parent]]\n# name = \"Llama-3.1-8B\"\n# model = \"hf://meta-llama/Llama-3.1-8B\"";
    list("parent", text!("init/parent/which"), &found.parents, parent);
    let control = "# [[control]]\n# name = \"another-seed\"\n# model = \"../another-seed/checkpoint-1000\"";
    list("control", text!("init/control/which"), &found.controls, control);
}

fn record(out: &mut Out, found: &Found) {
    out.line("");
    if found.runs.is_empty() {
        out.comment(&text!("init/run/none"));
        out.line("# [[run]]\n# log = \"wandb/run-20260801_120000-abcdefgh\"");
    } else {
        out.comment(&text!("init/run/found"));
        for run in &found.runs {
            out.line(&format!("[[run]]\nlog = {}", quoted(run)));
        }
    }
    out.line("");
    match (found.repositories.as_slice(), &found.around) {
        ([first, more @ ..], _) => {
            out.comment(&text!("init/repository/found"));
            out.line(&format!("[repository]\ngit = {}", quoted(first)));
            for path in more {
                out.comment(&text!("init/repository/more", path));
            }
        }
        ([], Some(around)) => {
            out.comment(&text!("init/repository/around"));
            out.line(&format!("# [repository]\n# git = {}", quoted(around)));
        }
        ([], None) => {
            out.comment(&text!("init/repository/none"));
            out.line("# [repository]\n# git = \"../training-code\"");
        }
    }
    if let Some(ledger) = &found.ledger {
        out.line("");
        out.comment(&text!("init/ledger/found"));
        out.line(&format!("[ledger]\npath = {}", quoted(ledger)));
    }
    if let Some(loss) = &found.loss {
        out.line("");
        out.comment(&text!("init/loss/found"));
        out.line(&format!("[loss]\npath = {}", quoted(loss)));
    }
    if !found.proofs.is_empty() {
        out.line("");
        out.comment(&text!("init/witness/found"));
        for proof in &found.proofs {
            out.line(&format!("# [[witness]]\n# proof = {}", quoted(proof)));
        }
    }
}
