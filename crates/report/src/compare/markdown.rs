//! The comparison for a pull request or a mail.

use super::super::note::{Note, heading, line, row, safe, table};
use super::super::{number, wording};
use super::{Comparison, answer, cell, coverage, largest, letter, meaning, no_verdict, outcome, pair, shown};
use scratchproof_texts::{Language, Text, phrase, term, text};

/// The whole comparison as Markdown, one newline at the end. Words from outside cannot make markup.
#[must_use]
pub fn to_markdown(comparison: &Comparison, language: Language) -> String {
    let mut out = Note::new(language);
    head(&mut out, comparison);
    tables(&mut out, comparison);
    sigma(&mut out, comparison);
    maps(&mut out, comparison);
    rest(&mut out, comparison);
    out.text
}

fn head(out: &mut Note, comparison: &Comparison) {
    let language = out.language;
    let names: Vec<String> = comparison.models.iter().take(2).map(|model| safe(&model.name)).collect();
    line(out, &format!("# scratchproof: {}", names.join(" against ")));
    out.push('\n');
    line(
        out,
        &format!(
            "**{}:** {} {}",
            outcome(comparison.outcome).say(language),
            meaning(comparison.outcome).say(language),
            no_verdict().say(language)
        ),
    );
    heading(out, &text!("report/heading/models"));
    table(out, &["", "role", "name", "architecture", "hidden", "layers", "parameters", "sha256"], &[4, 5, 6]);
    for model in &comparison.models {
        row(
            out,
            &[
                &letter(comparison, &model.name),
                &term("role", model.role, language),
                &safe(&model.name),
                &model.architecture.as_deref().map_or_else(|| "–".to_owned(), safe),
                &model.hidden_size.map_or_else(|| "–".to_owned(), |hidden| hidden.to_string()),
                &model.layers.to_string(),
                &number::count(model.parameters),
                &safe(&model.sha256),
            ],
        );
    }
    if comparison.models.len() < 3 {
        out.push('\n');
        line(out, &text!("report/compare/no-control").say(language));
    }
    if !comparison.questions.is_empty() {
        heading(out, &text!("report/heading/questions"));
    }
    for question in &comparison.questions {
        line(
            out,
            &format!(
                "- {} **{}:** {}",
                question.question.say(language),
                answer(question.answer).say(language),
                safe(&question.why.say(language))
            ),
        );
    }
}

fn tables(out: &mut Note, comparison: &Comparison) {
    if !comparison.components.is_empty() {
        heading(out, &text!("report/heading/compared"));
        table(out, &["component", "outcome", "z", "log10 p", "effect", "derived layers"], &[2, 3, 4]);
    }
    for component in &comparison.components {
        row(
            out,
            &[
                &safe(&term("component", &component.name, out.language)),
                &term("part", wording::component(component.outcome), out.language),
                &number::z(component.z),
                &number::short(component.log10_p),
                &number::effect(component.effect),
                &wording::layers(&component.layers),
            ],
        );
    }
    if !comparison.families.is_empty() {
        titled(out, &text!("report/heading/families"), &text!("report/compare/families"));
        let header = ["family", "pair", "n", "raw cos", "Pearson", "rel. L2", "z", "log10 p"];
        table(out, &header, &[2, 3, 4, 5, 6, 7]);
    }
    for family in &comparison.families {
        for figures in &family.pairs {
            row(
                out,
                &[
                    &safe(&family.family),
                    &pair(comparison, &figures.first, &figures.second),
                    &figures.tensors.to_string(),
                    &number::effect(figures.cosine),
                    &number::effect(figures.pearson),
                    &number::effect(figures.relative_l2),
                    &number::z(figures.z),
                    &number::short(figures.log10_p),
                ],
            );
        }
    }
    if !comparison.baselines.is_empty() {
        titled(out, &text!("report/heading/norms"), &text!("report/compare/norms"));
        table(out, &["model", "norm", "pairs", "raw cos", "least", "most"], &[2, 3, 4, 5]);
    }
    for baseline in &comparison.baselines {
        let [mean, least, most] = [baseline.mean, baseline.least, baseline.most].map(|v| number::effect(Some(v)));
        let pairs = baseline.pairs.to_string();
        row(out, &[&letter(comparison, &baseline.model), &safe(&baseline.norm), &pairs, &mean, &least, &most]);
    }
    titled(out, &text!("report/heading/matrix"), &text!("report/compare/matrix"));
    let header = ["pair", "norms", "raw cos", "Pearson", "norms z", "all z", "log10 p", "effect"];
    table(out, &header, &[1, 2, 3, 4, 5, 6, 7]);
    for found in &comparison.matrix {
        row(
            out,
            &[
                &pair(comparison, &found.first, &found.second),
                &found.norms.to_string(),
                &number::effect(found.norm_cosine),
                &number::effect(found.norm_pearson),
                &number::z(found.norm_z),
                &number::z(found.z),
                &number::short(found.log10_p),
                &number::effect(found.effect),
            ],
        );
    }
}

fn sigma(out: &mut Note, comparison: &Comparison) {
    let language = out.language;
    if comparison.sigma.is_empty() {
        return;
    }
    titled(out, &text!("report/heading/sigma"), &text!("report/compare/sigma"));
    let header = ["norm", "pair", "layers", "matched", "layer 0", "sigma", "other layers", "sigma"];
    table(out, &header, &[2, 3, 4, 5, 6, 7]);
    for found in &comparison.sigma {
        row(
            out,
            &[
                &safe(&found.norm),
                &pair(comparison, &found.first, &found.second),
                &found.layers.to_string(),
                &number::effect(Some(found.matched)),
                &number::effect(found.layer_0),
                &number::z(found.sigma_layer_0),
                &number::effect(found.mismatched),
                &number::z(found.sigma_mismatched),
            ],
        );
    }
    out.push('\n');
    line(out, &text!("report/compare/misleads").say(language));
}

fn maps(out: &mut Note, comparison: &Comparison) {
    let Some(first) = comparison.layer_maps.first() else { return };
    let all = shown(first);
    heading(out, &text!("report/heading/layers"));
    let heads: Vec<String> = all.parent.iter().map(u32::to_string).collect();
    let header: Vec<&str> = std::iter::once("").chain(heads.iter().map(String::as_str)).collect();
    table(out, &header, &(1..header.len()).collect::<Vec<_>>());
    for subject in &all.subject {
        let cells = all.parent.iter().map(|parent| {
            let z = all.cells.get(&(*subject, *parent)).copied().flatten();
            let beyond = z.is_some_and(|z| z >= super::super::scene::BEYOND);
            if beyond { format!("**{}**", cell(z)) } else { cell(z) }
        });
        let cells: Vec<String> = std::iter::once(subject.to_string()).chain(cells).collect();
        row(out, &cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
    out.push('\n');
    table(out, &["family", "cells", "z of 5 or more", "largest z (A x B)"], &[1, 2, 3]);
    for map in comparison.layer_maps.iter().map(shown) {
        row(out, &[&safe(&map.family), &map.cells.len().to_string(), &map.beyond.to_string(), &largest(&map)]);
    }
}

fn rest(out: &mut Note, comparison: &Comparison) {
    let language = out.language;
    if !comparison.findings.is_empty() {
        heading(out, &text!("report/heading/findings"));
    }
    for finding in &comparison.findings {
        let weight = format!(
            "{}, {}",
            term("grade", wording::grade(finding.grade), language),
            term("direction", wording::direction(finding.direction), language)
        );
        line(
            out,
            &format!(
                "- **{}** `{}` ({weight}): {}",
                safe(&finding.id),
                finding.code,
                safe(&finding.message.say(language))
            ),
        );
    }
    if !comparison.missing.is_empty() {
        heading(out, &text!("report/heading/missing"));
    }
    for item in &comparison.missing {
        line(out, &format!("- {}", safe(&item.say(language))));
    }
    heading(out, &text!("report/heading/coverage"));
    let covered = &comparison.coverage;
    line(out, &coverage(covered).say(language));
    if !covered.skipped.is_empty() {
        out.push('\n');
        table(out, &["not compared", "why"], &[]);
    }
    for skipped in &covered.skipped {
        row(out, &[&safe(&skipped.tensor), &safe(&phrase(&skipped.why, out.language))]);
    }
}

fn titled(out: &mut Note, title: &Text, words: &Text) {
    let language = out.language;
    heading(out, title);
    line(out, &words.say(language));
    out.push('\n');
}
