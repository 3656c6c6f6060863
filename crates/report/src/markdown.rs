//! The report for a pull request or a mail.

use super::note::{Note, bold, heading, line, row, safe, table};
use super::profile::{self, Answers as _};
use super::{Report, lanes, number, plane, scene, wording};
use scratchproof_evidence::{Evidence, TimelineRow};
use scratchproof_finding::Finding;
use scratchproof_texts::{Language, Text, phrase, term, text};

/// The whole report as Markdown, one newline at the end. Words from outside cannot make markup.
#[must_use]
pub fn to_markdown(report: &Report, evidence: &Evidence, language: Language) -> String {
    let mut out = Note::new(language);
    verdict(&mut out, report);
    conditions(&mut out, report);
    components(&mut out, report);
    programme(&mut out, report, evidence);
    series(&mut out, evidence);
    path(&mut out, evidence);
    timeline(&mut out, &evidence.timeline);
    findings(&mut out, report);
    rest(&mut out, report);
    out.text
}

fn verdict(out: &mut Note, report: &Report) {
    let language = out.language;
    line(out, &format!("# scratchproof: {}", safe(&wording::name(report, language))));
    out.push('\n');
    let word = wording::outcome_word(report.verdict.outcome, language).to_uppercase();
    line(out, &format!("**{word}:** {}", safe(&wording::headline(report).say(language))));
    out.push('\n');
    line(out, &safe(&wording::meaning(report).say(language)));
}

/// The questions of the programme that the policy names.
fn programme(out: &mut Note, report: &Report, evidence: &Evidence) {
    let Some(profile) = profile::of_case(report) else { return };
    heading(out, &Text::plain(safe(profile::of(&profile.name, out.language))));
    let language = out.language;
    table(out, &["question", "answer", ""], &[]);
    for answered in profile.answer(report, evidence) {
        let reasons: Vec<String> = answered.texts.iter().map(|reason| safe(&reason.say(language))).collect();
        row(
            out,
            &[
                &safe(profile::of(&answered.asks, language)),
                &bold(&profile::word(answered.answer).say(language)),
                &reasons.join("; "),
            ],
        );
    }
}

fn conditions(out: &mut Note, report: &Report) {
    let language = out.language;
    heading(out, &text!("report/heading/conditions"));
    table(out, &["condition", "", "", "findings"], &[]);
    for stated in wording::conditions(report) {
        let ids: Vec<_> = stated.findings.iter().map(|finding| safe(&finding.id)).collect();
        row(
            out,
            &[
                &stated.name.say(language),
                &bold(&term("condition", wording::condition(stated.state), language)),
                &safe(&stated.sentence.say(language)),
                &ids.join(" "),
            ],
        );
    }
}

fn components(out: &mut Note, report: &Report) {
    if report.components.is_empty() {
        return;
    }
    heading(out, &text!("report/heading/components"));
    table(out, &["component", "outcome", "z", "log10 p", "effect", "nearest parent", "derived layers"], &[2, 3, 4]);
    for component in &report.components {
        row(
            out,
            &[
                &safe(&term("component", &component.name, out.language)),
                &term("part", wording::component(component.outcome), out.language),
                &number::z(component.z),
                &number::short(component.log10_p),
                &number::effect(component.effect),
                &component.parent.as_deref().map_or_else(|| "–".to_owned(), safe),
                &wording::layers(&component.layers),
            ],
        );
    }
}

fn series(out: &mut Note, evidence: &Evidence) {
    let scene = scene::series(evidence, &[]);
    let Some(whole) = scene.iter().find(|component| component.name == "all") else { return };
    heading(out, &text!("report/heading/whole-model"));
    table(out, &["against", "first step", "z", "last step", "z", "effect"], &[1, 2, 3, 4, 5]);
    for series in &whole.lines {
        let (Some(first), Some(last)) = (series.points.first(), series.points.last()) else { continue };
        row(
            out,
            &[
                &safe(&series.label_in(out.language)),
                &first.step.to_string(),
                &number::z(first.z),
                &last.step.to_string(),
                &number::z(last.z),
                &number::effect(last.effect),
            ],
        );
    }
}

fn path(out: &mut Note, evidence: &Evidence) {
    let language = out.language;
    let rows = plane::path(evidence);
    if rows.is_empty() {
        return;
    }
    heading(out, &text!("report/heading/path"));
    line(out, &plane::describe(&rows).say(language));
    out.push('\n');
    table(out, &plane::HEADER, &[0, 1, 2, 3, 4, 5]);
    for one in rows {
        let cells = plane::cells(one);
        row(out, &cells.each_ref().map(String::as_str));
    }
}

/// The dated facts.
pub(super) fn timeline(out: &mut Note, rows: &[TimelineRow]) {
    let language = out.language;
    if rows.is_empty() {
        return;
    }
    heading(out, &text!("report/heading/timeline"));
    table(out, &["at", "what", "grade", "source"], &[]);
    for (event, left_out) in lanes::shown(rows) {
        row(
            out,
            &[
                &lanes::when(event),
                &safe(&phrase(&event.what, language)),
                &safe(&term("trust", &event.grade, language)),
                &safe(&phrase(&event.source, language)),
            ],
        );
        if left_out > 0 {
            row(
                out,
                &[
                    "...",
                    &text!("report/timeline/more", count = left_out).say(language),
                    "",
                    &safe(&phrase(&event.source, language)),
                ],
            );
        }
    }
}

fn findings(out: &mut Note, report: &Report) {
    let decided = wording::decided(report);
    if !decided.is_empty() {
        heading(out, &text!("report/heading/decided"));
        listed(out, &decided);
    }
    let others: Vec<_> = report.findings.iter().filter(|finding| !wording::decides(report, finding)).collect();
    if !others.is_empty() {
        heading(out, &text!("report/heading/others"));
        listed(out, &others);
    }
}

fn listed(out: &mut Note, findings: &[&Finding]) {
    let language = out.language;
    table(out, &["", "grade", "finding", "statistic", "log10 p", "effect", "n"], &[3, 4, 5, 6]);
    for finding in findings {
        let about = wording::subject(finding).say(language);
        let about = if about.is_empty() { String::new() } else { format!(" {}", safe(&about)) };
        row(
            out,
            &[
                &safe(&finding.id),
                &format!(
                    "{}, {}",
                    term("grade", wording::grade(finding.grade), language),
                    term("direction", wording::direction(finding.direction), language)
                ),
                &format!("`{}`{about}<br>{}", finding.code, safe(&finding.message.say(language))),
                &number::short(finding.statistic),
                &number::short(finding.log10_p),
                &number::effect(finding.effect),
                &finding.n.map_or_else(|| "–".to_owned(), number::count),
            ],
        );
    }
}

fn rest(out: &mut Note, report: &Report) {
    let language = out.language;
    if !report.verdict.missing.is_empty() {
        heading(out, &text!("report/heading/missing"));
        for item in &report.verdict.missing {
            line(out, &format!("- {}", safe(&item.say(language))));
        }
    }
    heading(out, &text!("report/heading/coverage"));
    let coverage = &report.coverage;
    line(out, &wording::coverage(coverage).say(language));
    if !coverage.skipped.is_empty() {
        out.push('\n');
        table(out, &["skipped", "why"], &[]);
        for skipped in &coverage.skipped {
            row(out, &[&safe(&phrase(&skipped.tensor, language)), &safe(&phrase(&skipped.why, language))]);
        }
    }
    if !report.inputs.is_empty() {
        heading(out, &text!("report/heading/inputs"));
        table(out, &["role", "name", "from", "size", "sha256"], &[3]);
        for input in &report.inputs {
            row(
                out,
                &[
                    &wording::role(input.role).say(language),
                    &safe(&input.name),
                    &safe(&input.uri),
                    &number::bytes(input.bytes),
                    &safe(&input.sha256),
                ],
            );
        }
    }
    out.push('\n');
    let (tool, version) = (&*report.tool.name, &*report.tool.version);
    let material = wording::sealed(report.seal.as_ref(), &report.case);
    line(out, &safe(&text!("report/foot/case", tool, version, material).say(language)));
}

#[cfg(test)]
mod tests {
    use super::safe;

    #[test]
    fn markup_is_text() {
        assert_eq!(safe("a|b`c<d>*"), "a\\|b\\`c&lt;d&gt;\\*");
        assert_eq!(safe("[x](https://y) @me"), "\\[x\\](https&#58;//y) &#64;me");
        assert_eq!(safe("www.x: a"), "www&#46;x: a");
        assert_eq!(safe("\u{202e}"), "\\\\u{202e}");
    }
}
