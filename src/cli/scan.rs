//! Fingerprints, and one model against many of them.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use scratchproof::case::{Policy, last_part};
use scratchproof::checkpoint::Checkpoint;
use scratchproof::error::{Context as _, Error, Result};
use scratchproof::fingerprint::{Answer, Context, Fingerprint, Outcome, SEED, against, is_fingerprint};
use scratchproof::report::text::{self as letters, printable};
use scratchproof_texts::{Language, Text, text};

use super::arguments::{Arguments, Format};
use super::places::{Places, left_out};
use super::{access, language, print, say};

/// Places that were left out, as many as an error names.
const SHOWN: usize = 8;

/// Writes the fingerprint of a model.
pub fn fingerprint_of(arguments: &Arguments, model: &str, output: &Path, seed: u64, name: Option<&str>) -> Result<u8> {
    let checkpoint = Checkpoint::open_named(model, access(arguments))?;
    let name = name.map_or_else(|| last_part(model).to_owned(), str::to_owned);
    let fingerprint = Fingerprint::of(&checkpoint, &name, seed)?;
    fingerprint.write(output)?;
    if !arguments.quiet {
        let bytes = fs::metadata(output).map_or(0, |m| m.len());
        let heads = fingerprint.products.as_ref().map_or(0, scratchproof::disguise::Products::heads);
        let file = output.display().to_string();
        let rows = fingerprint.rows.rows.len();
        say(&text!("scan/fingerprint/written", file, bytes, heads, rows, seed).say(language(arguments)));
        if let Some(adapter) = &checkpoint.adapter {
            let (kind, base) = (adapter.kind.as_str(), adapter.base.clone());
            say(&text!("scan/fingerprint/adapter", kind, base).say(language(arguments)));
        }
    }
    Ok(0)
}

/// Holds a model against fingerprints and models.
pub fn scan(arguments: &Arguments, subject: &str, candidates: &[PathBuf]) -> Result<u8> {
    let checkpoint = Checkpoint::open_named(subject, access(arguments)).context(|| text!("error-cli/scan/subject"))?;
    let own = Fingerprint::of(&checkpoint, last_part(subject), SEED)?;
    let mut places = Places::default();
    for place in candidates {
        places.collect(place)?;
    }
    let Places { found, mut left, mut lacking, .. } = places;
    if found.is_empty() {
        let why = left.iter().take(SHOWN).map(|what| what.say(language(arguments))).collect::<Vec<_>>();
        let more = left.len().saturating_sub(SHOWN);
        return Err(Error::usage(text!("error-cli/scan/no-fingerprint-no-model", left = why, more)));
    }
    let policy = Policy::default();
    let count = found.len();
    let one = |(place, name): &(PathBuf, String)| -> std::result::Result<Answer, Text> {
        let candidate = if is_fingerprint(place) {
            Fingerprint::read(place)
        } else {
            let opened = Checkpoint::open_named(&place.display().to_string(), access(arguments));
            opened.and_then(|model| Fingerprint::of(&model, name, SEED))
        };
        let answer = candidate.and_then(|other| against(&checkpoint, &own, &other, count, &policy));
        answer.map_err(|why| {
            let named = why.text().english().starts_with(&*place.to_string_lossy());
            if named { why.text() } else { left_out(place, why.text()) }
        })
    };
    let mut answers = Vec::new();
    for answer in found.par_iter().map(one).collect::<Vec<_>>() {
        match answer {
            Ok(answer) => answers.push(answer),
            Err(why) => {
                left.push(why);
                lacking = true;
            }
        }
    }
    answers.sort_by(|a: &Answer, b| a.log10_p().total_cmp(&b.log10_p()).then(a.candidate.name.cmp(&b.candidate.name)));
    match arguments.format {
        Format::Json => print(&to_json(&own, &answers, &left)?)?,
        Format::Markdown | Format::Human | Format::Html => {
            print(&shown(&answers, &left, arguments.verbose > 0, language(arguments)))?;
        }
    }
    let any = |outcome: Outcome| answers.iter().any(|a| a.outcome == outcome);
    Ok(if any(Outcome::Similar) {
        1
    } else if !lacking && (any(Outcome::Silent) || any(Outcome::Question)) {
        0
    } else {
        3
    })
}

fn to_json(own: &Fingerprint, answers: &[Answer], left: &[Text]) -> Result<String> {
    let all = serde_json::json!({
        "schema": 1,
        "subject": own.catalogue,
        "candidates": answers,
        "unread": left.iter().map(Text::english).collect::<Vec<_>>(),
        "limits": text!("scan/answer/limits").english(),
    });
    let text = serde_json::to_string_pretty(&all);
    text.map(|text| letters::json(text + "\n"))
        .map_err(|e| Error::input(text!("error-cli/scan/answers-json", e = e.to_string())))
}

fn shown(answers: &[Answer], left: &[Text], all: bool, language: Language) -> String {
    let mut out = String::new();
    for answer in answers {
        let word = match answer.outcome {
            Outcome::Similar => text!("scan/answer/similar"),
            Outcome::Question => text!("scan/answer/question"),
            Outcome::Silent => text!("scan/answer/silent"),
            Outcome::Untested => text!("scan/answer/untested"),
        };
        out.push_str(&format!(
            "{}: {} (log10 p {:.1})\n",
            printable(&answer.candidate.name),
            word.say(language),
            answer.log10_p()
        ));
        if all || answer.outcome != Outcome::Silent {
            for line in lines(answer) {
                out.push_str(&format!("    {}\n", printable(&line.say(language))));
            }
        }
    }
    for what in left {
        out.push_str(&format!("{}\n", printable(&text!("scan/answer/unread", what = what.clone()).say(language))));
    }
    out.push_str(&format!("\n{}\n", text!("scan/answer/limits").say(language)));
    out
}

/// What came of every test of one candidate.
fn lines(answer: &Answer) -> Vec<Text> {
    let mut lines = Vec::new();
    for t in &answer.signs {
        lines.push(text!(
            "scan/answer/signs",
            between = t.between.as_str(),
            agreed = t.agreed,
            of = t.of,
            effect = t.effect,
            log10_p = t.log10_p,
            most = t.most,
        ));
    }
    for t in &answer.heads {
        lines.push(text!(
            "scan/answer/heads",
            between = t.between.as_str(),
            agreed = t.agreed,
            of = t.of,
            expected = t.expected,
            log10_p = t.log10_p,
        ));
    }
    if let Some(why) = &answer.heads_left_out {
        lines.push(text!("scan/answer/no-heads", why = why.as_str()));
    }
    if !answer.layers.is_empty() {
        let map: Vec<String> = answer.layers.iter().map(|(a, b)| format!("{a}:{b}")).collect();
        lines.push(text!("scan/answer/layers", map = map.join(" ")));
    }
    lines.push(match &answer.rows {
        Some(t) => text!(
            "scan/answer/rows",
            rows = t.rows,
            z = t.z,
            correlation = t.correlation,
            log10_p = t.log10_p,
            detectable = t.detectable,
        ),
        None => text!("scan/answer/no-rows"),
    });
    let Context { same_hidden_size, same_depth, same_vocabulary_size, same_architecture, same_tokenizer_size } =
        answer.context;
    let equal: Vec<&str> = [
        (same_hidden_size, "hidden size"),
        (same_depth, "depth"),
        (same_vocabulary_size, "vocabulary size"),
        (same_architecture, "architecture"),
        (same_tokenizer_size, "tokenizer size"),
    ]
    .into_iter()
    .filter_map(|(equal, what)| equal.then_some(what))
    .collect();
    if !equal.is_empty() {
        lines.push(text!("scan/answer/context", what = equal));
    }
    lines
}
