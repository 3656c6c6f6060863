//! The comparison for a terminal.

use anstyle::{AnsiColor, Style};

use super::super::terminal::{Look, Page};
use super::super::{number, text, wording};
use super::{Comparison, Outcome, answer, cell, coverage, largest, letter, meaning, no_verdict, outcome, pair, shown};
use scratchproof_finding::Grade;
use scratchproof_texts::{phrase, term, text};

/// Widest map that is drawn.
const COLUMNS: usize = 4;

/// The whole comparison, its outcome first, one newline at the end.
#[must_use]
pub fn render(comparison: &Comparison, look: Look) -> String {
    let mut page = Page::new(look);
    head(&mut page, comparison);
    questions(&mut page, comparison);
    components(&mut page, comparison);
    families(&mut page, comparison);
    layers(&mut page, comparison);
    routers(&mut page, comparison);
    baselines(&mut page, comparison);
    matrix(&mut page, comparison);
    sigma(&mut page, comparison);
    maps(&mut page, comparison);
    findings(&mut page, comparison);
    rest(&mut page, comparison);
    page.out
}

fn head(page: &mut Page, comparison: &Comparison) {
    let language = page.look.language;
    let style = match comparison.outcome {
        Outcome::Similar | Outcome::Same => AnsiColor::Red,
        Outcome::Silent => AnsiColor::Green,
        Outcome::Undetermined | Outcome::NotComparable => AnsiColor::Yellow,
    };
    let label = format!("{}:", outcome(comparison.outcome).say(language));
    page.hanging(&label, style.on_default().bold(), &meaning(comparison.outcome).say(language), 2);
    page.paragraph(2, &no_verdict().say(language));
    page.heading(&text!("report/heading/models"));
    let mut table = page.table(&["", "role", "name", "architecture", "hidden", "layers", "parameters"]);
    for model in &comparison.models {
        table.add_row([
            letter(comparison, &model.name),
            term("role", model.role, language),
            text::printable(&model.name),
            model.architecture.as_deref().map_or_else(|| "–".to_owned(), text::printable),
            model.hidden_size.map_or_else(|| "–".to_owned(), |hidden| hidden.to_string()),
            model.layers.to_string(),
            number::count(model.parameters),
        ]);
    }
    page.put(table, &[4, 5, 6]);
    if comparison.models.len() < 3 {
        page.out.push('\n');
        page.paragraph(2, &text!("report/compare/no-control").say(language));
    }
}

fn questions(page: &mut Page, comparison: &Comparison) {
    let language = page.look.language;
    if comparison.questions.is_empty() {
        return;
    }
    page.heading(&text!("report/heading/questions"));
    for question in &comparison.questions {
        page.paragraph(2, &question.question.say(language));
        let label = format!("    {}:", answer(question.answer).say(language));
        page.hanging(&label, Style::new().bold(), &question.why.say(language), 6);
    }
}

fn components(page: &mut Page, comparison: &Comparison) {
    if comparison.components.is_empty() {
        return;
    }
    page.heading(&text!("report/heading/compared"));
    let mut table = page.table(&["component", "outcome", "z", "log10 p", "effect", "derived layers"]);
    for component in &comparison.components {
        table.add_row([
            text::printable(&term("component", &component.name, page.look.language)),
            term("part", wording::component(component.outcome), page.look.language),
            number::z(component.z),
            number::short(component.log10_p),
            number::effect(component.effect),
            wording::layers(&component.layers),
        ]);
    }
    page.put(table, &[2, 3, 4]);
}

fn families(page: &mut Page, comparison: &Comparison) {
    let language = page.look.language;
    if comparison.families.is_empty() {
        return;
    }
    page.heading(&text!("report/heading/families"));
    page.paragraph(2, &text!("report/compare/families").say(language));
    let mut table = page.table(&["family", "pair", "n", "raw cos", "Pearson", "rel. L2", "z", "log10 p"]);
    for family in &comparison.families {
        for (at, figures) in family.pairs.iter().enumerate() {
            table.add_row([
                if at == 0 { text::printable(&family.family) } else { String::new() },
                pair(comparison, &figures.first, &figures.second),
                figures.tensors.to_string(),
                number::effect(figures.cosine),
                number::effect(figures.pearson),
                number::effect(figures.relative_l2),
                number::z(figures.z),
                number::short(figures.log10_p),
            ]);
        }
    }
    page.put(table, &[2, 3, 4, 5, 6, 7]);
}

/// Layers of a family that are shown without being asked for: the first, the last and some between.
const LAYERS: usize = 6;

/// The published tables: the parent, layer by layer; of experts, and of the controls, JSON has the rest.
fn layers(page: &mut Page, comparison: &Comparison) {
    let language = page.look.language;
    let Some(parent) = comparison.models.get(1).map(|model| model.name.as_str()) else { return };
    let own: Vec<_> = comparison
        .layers
        .iter()
        .filter(|row| row.second == parent && row.expert.is_none_or(|expert| expert == 0))
        .collect();
    if own.is_empty() {
        return;
    }
    page.heading(&text!("compare/heading/layers"));
    page.paragraph(2, &text!("compare/note/layers").say(language));
    let mut table =
        page.table(&["family", "layer", "cosine", "shuffled", "Pearson", "mean |d|", "rel. L2", "p99", "CV"]);
    let mut left = 0;
    for group in own.chunk_by(|a, b| a.family == b.family) {
        let stride = if page.look.verbose { 1 } else { group.len().div_ceil(LAYERS).max(1) };
        left += group.len() - group.iter().step_by(stride).count();
        for (at, row) in group.iter().step_by(stride).enumerate() {
            table.add_row([
                if at == 0 { text::printable(&row.family) } else { String::new() },
                row.layer.to_string(),
                number::effect(row.cosine),
                number::effect(row.shuffled_cosine),
                number::effect(row.pearson),
                number::short(row.mean_abs_diff),
                number::short(row.relative_l2),
                number::short(row.p99_diff),
                number::short(row.cv_diff),
            ]);
        }
    }
    page.put(table, &[1, 2, 3, 4, 5, 6, 7, 8]);
    if left > 0 {
        page.paragraph(2, &text!("compare/note/more", left).say(language));
    }
}

fn routers(page: &mut Page, comparison: &Comparison) {
    let language = page.look.language;
    if comparison.routers.is_empty() {
        return;
    }
    page.heading(&text!("compare/heading/routers"));
    page.paragraph(2, &text!("compare/note/routers").say(language));
    let mut table = page.table(&["pair", "layer", "experts", "assigned", "shuffled", "in place"]);
    for row in &comparison.routers {
        table.add_row([
            pair(comparison, &row.first, &row.second),
            row.layer.to_string(),
            format!("{}, {}", row.experts[0], row.experts[1]),
            number::effect(Some(row.aligned_row_cosine)),
            number::effect(Some(row.shuffled_row_cosine)),
            number::effect(Some(row.in_place)),
        ]);
    }
    page.put(table, &[1, 2, 3, 4, 5]);
}

fn baselines(page: &mut Page, comparison: &Comparison) {
    let language = page.look.language;
    if comparison.baselines.is_empty() {
        return;
    }
    page.heading(&text!("report/heading/norms"));
    page.paragraph(2, &text!("report/compare/norms").say(language));
    let mut table = page.table(&["model", "norm", "pairs", "raw cos", "least", "most"]);
    for row in &comparison.baselines {
        table.add_row([
            letter(comparison, &row.model),
            text::printable(&row.norm),
            row.pairs.to_string(),
            number::effect(Some(row.mean)),
            number::effect(Some(row.least)),
            number::effect(Some(row.most)),
        ]);
    }
    page.put(table, &[2, 3, 4, 5]);
}

fn matrix(page: &mut Page, comparison: &Comparison) {
    let language = page.look.language;
    page.heading(&text!("report/heading/matrix"));
    page.paragraph(2, &text!("report/compare/matrix").say(language));
    let mut table = page.table(&["pair", "norms", "raw cos", "Pearson", "norms z", "all z", "log10 p", "effect"]);
    for row in &comparison.matrix {
        table.add_row([
            pair(comparison, &row.first, &row.second),
            row.norms.to_string(),
            number::effect(row.norm_cosine),
            number::effect(row.norm_pearson),
            number::z(row.norm_z),
            number::z(row.z),
            number::short(row.log10_p),
            number::effect(row.effect),
        ]);
    }
    page.put(table, &[1, 2, 3, 4, 5, 6, 7]);
}

fn sigma(page: &mut Page, comparison: &Comparison) {
    let language = page.look.language;
    if comparison.sigma.is_empty() {
        return;
    }
    page.heading(&text!("report/heading/sigma"));
    page.paragraph(2, &text!("report/compare/sigma").say(language));
    let mut table = page.table(&["norm", "pair", "layers", "matched", "layer 0", "sigma", "other layers", "sigma"]);
    for row in &comparison.sigma {
        table.add_row([
            text::printable(&row.norm),
            pair(comparison, &row.first, &row.second),
            row.layers.to_string(),
            number::effect(Some(row.matched)),
            number::effect(row.layer_0),
            number::z(row.sigma_layer_0),
            number::effect(row.mismatched),
            number::z(row.sigma_mismatched),
        ]);
    }
    page.put(table, &[2, 3, 4, 5, 6, 7]);
    page.paragraph(2, &text!("report/compare/misleads").say(language));
}

fn maps(page: &mut Page, comparison: &Comparison) {
    let Some(first) = comparison.layer_maps.first() else { return };
    page.heading(&text!("report/heading/layers"));
    let all = shown(first);
    let fits = 8 + COLUMNS * all.parent.len() <= page.look.width;
    let maps = if page.look.verbose { &comparison.layer_maps[..] } else { &comparison.layer_maps[..1] };
    for map in maps {
        let map = shown(map);
        page.paragraph(2, &format!("{}:", map.family));
        let width = if fits { COLUMNS } else { 1 };
        if fits {
            let heads = map.parent.iter().fold(String::new(), |line, layer| format!("{line}{layer:>width$}"));
            page.out.push_str(&format!("        {heads}\n"));
        }
        for subject in &map.subject {
            let mut line = format!("  {subject:>5} ");
            for parent in &map.parent {
                let z = map.cells.get(&(*subject, *parent)).copied().flatten();
                let beyond = z.is_some_and(|z| z >= super::super::scene::BEYOND);
                let word = if fits {
                    format!("{:>width$}", cell(z))
                } else {
                    (if beyond {
                        "#"
                    } else if z.is_some() {
                        "."
                    } else {
                        " "
                    })
                    .to_owned()
                };
                line.push_str(&if beyond { page.paint(Style::new().bold(), &word) } else { word });
            }
            page.out.push_str(line.trim_end());
            page.out.push('\n');
        }
    }
    page.out.push('\n');
    let mut table = page.table(&["family", "cells", "z of 5 or more", "largest z (A x B)"]);
    for map in comparison.layer_maps.iter().map(shown) {
        let row = [text::printable(&map.family), map.cells.len().to_string(), map.beyond.to_string(), largest(&map)];
        table.add_row(row);
    }
    page.put(table, &[1, 2, 3]);
}

fn findings(page: &mut Page, comparison: &Comparison) {
    let language = page.look.language;
    if comparison.findings.is_empty() {
        return;
    }
    page.heading(&text!("report/heading/findings"));
    let verbose = page.look.verbose;
    let (shown, counted): (Vec<_>, Vec<_>) =
        comparison.findings.iter().partition(|finding| verbose || finding.grade != Grade::Context);
    for finding in shown {
        page.finding(finding);
    }
    if !counted.is_empty() {
        page.paragraph(2, &text!("report/finding/context", count = counted.len()).say(language));
    }
}

fn rest(page: &mut Page, comparison: &Comparison) {
    let language = page.look.language;
    if !comparison.missing.is_empty() {
        page.heading(&text!("report/heading/missing"));
        for item in &comparison.missing {
            page.hanging("  -", Style::new(), &item.say(language), 4);
        }
    }
    page.heading(&text!("report/heading/coverage"));
    let covered = &comparison.coverage;
    page.paragraph(2, &coverage(covered).say(language).replace('\u{a0}', " "));
    let listed = if page.look.verbose { covered.skipped.len() } else { 5 };
    for skipped in covered.skipped.iter().take(listed) {
        page.hanging(
            "  -",
            Style::new(),
            &format!("{}: {}", skipped.tensor, phrase(&skipped.why, page.look.language)),
            4,
        );
    }
    if covered.skipped.len() > listed {
        page.paragraph(2, &text!("report/compare/more", count = covered.skipped.len() - listed).say(language));
    }
}
