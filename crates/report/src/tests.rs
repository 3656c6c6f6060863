use serde::Deserialize;
use serde_json::Value;

use super::terminal::{self, Look};
use super::{Report, Skipped, html, json, markdown, sample, text};
use scratchproof_evidence::{Evidence, LayerMapRow, Reference};
use scratchproof_texts::Language;

/// `report.json` as a user would read it.
mod contract {
    use std::collections::BTreeMap;

    use super::{Deserialize, Value};

    macro_rules! strict {
        ($($name:ident { $($field:ident: $type:ty),* $(,)? })*) => {
            $(#[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            #[allow(dead_code)]
            pub struct $name { $(pub $field: $type),* })*
        };
    }
    strict! {
        Report { schema: String, tool: Tool, case: Case, answer: Answer, verdict: Verdict, components: Vec<Component>,
            findings: Vec<Finding>, coverage: Coverage, inputs: Vec<Input>, policy: Value, seal: Option<Value> }
        Tool { name: String, version: String }
        Case { name: String, claim: String, digest: String, subject: Option<String>, claimant: Option<String>,
            date: Option<String>, auditor: Option<String> }
        Answer { message: String, text: Text, sure: Told, accused: Vec<String>, rests: Vec<Rests>, limits: Vec<Told> }
        Told { message: String, text: Text }
        Rests { condition: String, state: Condition, message: String, text: Text }
        Verdict { outcome: Outcome, against: Vec<String>, conditions: Conditions, power: Power, reasons: Vec<String>,
            missing: Vec<String>, missing_texts: Vec<Text>, ground: String, ground_text: Text, said: Said }
        Said { start: String, start_text: Text, chain: String, chain_text: Text, parent: String, parent_text: Text,
            time: String, time_text: Text }
        Power { parent: Option<ParentPower>, chain: Option<ChainPower>, start: Option<StartPower> }
        ParentPower { reached: f64, smallest_correlation: Option<f64>, bases: Vec<String>, stored: Vec<StoredPower>, disguised: Vec<DisguisePower> }
        StoredPower { parent: String, component: String, compared: f64, smallest_correlation: Option<f64> }
        DisguisePower { parent: String, class: String, correlation: f64, seen_in: Vec<String> }
        ChainPower { untested: Vec<(i64, i64)>, intervals: Vec<Reach> }
        Reach { steps: (i64, i64), component: String, smallest_share: Option<f64>, by: Vec<String> }
        StartPower { reached: f64 }
        Conditions { start: Condition, chain: Condition, parent: Condition, time: Condition }
        Component { name: String, outcome: ComponentOutcome, parent: Option<String>, z: Option<f64>, log10_p: Option<f64>,
            effect: Option<f64>, layers: Vec<u32> }
        Finding { id: String, code: String, grade: Grade, direction: Direction, subject: Subject, statistic: Option<f64>,
            log10_p: Option<f64>, effect: Option<f64>, n: Option<u64>, null: String, null_text: Text,
            message: String, text: Text, evidence: Option<String> }
        Text { key: String, params: BTreeMap<String, Value> }
        Subject { component: Option<String>, layer: Option<u32>, tensor: Option<String>, steps: Vec<i64>,
            parent: Option<String> }
        Coverage { tensors: u64, compared: u64, skipped: Vec<Skipped>, bytes_read: u64, looked: Text }
        Skipped { tensor: String, why: String }
        Input { role: Role, name: String, uri: String, sha256: String, bytes: u64 }
    }
    macro_rules! words {
        ($($name:ident { $($word:ident),* })*) => {
            $(#[derive(Deserialize)]
            #[serde(rename_all = "lowercase")]
            pub enum $name { $($word),* })*
        };
    }
    words! {
        Outcome { Confirmed, Refuted, Inconclusive }
        Condition { Holds, Fails, Untested }
        ComponentOutcome { Independent, Derived, Undetermined }
        Grade { Conclusive, Strong, Moderate, Weak, Context }
        Direction { Against, For, Neutral }
        Role { Checkpoint, Parent, Control, Run, Repository }
    }
}

const KEYS: [&str; 11] =
    ["schema", "tool", "case", "answer", "verdict", "components", "findings", "coverage", "inputs", "policy", "seal"];

#[test]
fn json_is_the_contract() {
    let (mut report, _) = sample::refuted();
    report.findings[0].statistic = Some(f64::NAN);
    let text = json::to_json(&report);
    assert!(text.ends_with("}\n") && !text.ends_with("\n\n"));
    let parsed: contract::Report = serde_json::from_str(&text).expect("the contract's types");
    assert_eq!(parsed.schema, "scratchproof.report/1");
    assert_eq!(parsed.findings.len(), 25);
    assert_eq!(parsed.findings[0].statistic, None);
    assert_eq!(parsed.findings[12].log10_p, Some(-1_305.123_457));
    let places: Vec<_> =
        KEYS.iter().map(|key| text.find(&format!("\n  \"{key}\":")).expect("a key of the contract")).collect();
    assert!(places.is_sorted());
    let first = text.find("\"id\": \"F001\"").expect("a finding");
    let keys = [
        "code",
        "grade",
        "direction",
        "subject",
        "statistic",
        "log10_p",
        "effect",
        "n",
        "null",
        "null_text",
        "message",
        "text",
        "evidence",
    ];
    let places: Vec<_> = keys.iter().map(|key| text[first..].find(&format!("\"{key}\":")).expect("a key")).collect();
    assert!(places.is_sorted());
}

#[test]
fn the_same_report_gives_the_same_bytes() {
    let (report, evidence) = sample::refuted();
    let mut shuffled = evidence.clone();
    shuffled.components.reverse();
    shuffled.layer_map.reverse();
    assert_eq!(json::to_json(&report), json::to_json(&report.clone()));
    assert_eq!(page(&report, &evidence), page(&report, &shuffled));
    assert_eq!(
        markdown::to_markdown(&report, &evidence, Language::English),
        markdown::to_markdown(&report, &shuffled, Language::English)
    );
    assert_eq!(shown(&report, &evidence, 80), shown(&report, &shuffled, 80));
}

#[test]
fn every_renderer_speaks_korean_and_json_does_not() {
    let (report, evidence) = sample::refuted();
    let look = Look { language: Language::Korean, width: 200, ..Look::default() };
    let pages = [
        terminal::render(&report, &evidence, look),
        markdown::to_markdown(&report, &evidence, Language::Korean),
        html::render(&report, &evidence, Language::Korean).expect("a page"),
    ];
    for page in pages {
        assert!(page.contains("GLM-like에서 가져온 것입니다") && page.contains("합리적 의심"), "{page}");
        assert!(page.contains("F001"));
    }
    assert!(!json::to_json(&report).contains("합리적"));
}

#[test]
fn no_word_is_cut_at_sixty_columns() {
    for (report, evidence) in [sample::refuted(), sample::confirmed()] {
        for language in [Language::English, Language::Korean] {
            let at = |width| terminal::render(&report, &evidence, Look { width, language, ..Look::default() });
            let (wide, narrow) = (at(200), at(60));
            let words: std::collections::BTreeSet<&str> = narrow.split_whitespace().collect();
            let cut: Vec<&str> = wide.split_whitespace().filter(|word| !words.contains(word)).collect();
            assert!(cut.is_empty(), "{cut:?}\n{narrow}");
            assert!(narrow.lines().all(|line| text::width(line) <= 60), "{narrow}");
        }
    }
}

#[test]
fn every_renderer_gives_the_answer_and_its_limits() {
    for ((report, evidence), word) in [
        (sample::confirmed(), "Confirmed"),
        (sample::refuted(), "Refuted"),
        ((sample::empty(), Evidence::default()), "Inconclusive"),
    ] {
        let found = report.answer.found.english();
        assert!(!found.is_empty());
        assert_eq!(report.answer.sentence.said.english(), format!("{word}: {found}"));
        let upper = word.to_uppercase();
        let plain = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (terminal, page) = (plain(shown(&report, &evidence, 200)), plain(page(&report, &evidence)));
        assert!(terminal.starts_with(&format!("{upper}: {found}")), "{terminal}");
        assert_eq!(terminal::verdict_line(&report, Language::English), format!("{upper}: {found}\n"));
        assert!(
            markdown::to_markdown(&report, &evidence, Language::English).contains(&format!("**{upper}:** {found}"))
        );
        assert!(page.contains(&super::html::escaped(&found)) && page.contains(&format!(">{word}</span>")), "{found}");
        for limit in &report.answer.limits {
            let limit = limit.said.english();
            assert!(terminal.contains(&limit) && page.contains(&super::html::escaped(&limit)), "{limit}");
        }
    }
}

#[test]
fn terminal_lines_fit_and_colour_is_only_paint() {
    for (mut report, evidence) in [sample::confirmed(), sample::refuted(), (sample::empty(), Evidence::default())] {
        report.coverage.skipped.push(Skipped { tensor: "가".repeat(70), why: "x".repeat(150) });
        for width in [40, 64, 80, 120] {
            for line in shown(&report, &evidence, width).lines() {
                assert!(text::width(line) <= width, "{width}: {line}");
                assert_eq!(line.trim_end(), line);
            }
        }
        let look = Look { colour: true, width: 80, verbose: true, ..Look::default() };
        let coloured = terminal::render(&report, &evidence, look);
        let plain = terminal::render(&report, &evidence, Look { colour: false, ..look });
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
        assert!(coloured.contains('\u{1b}') && !plain.contains('\u{1b}'));
    }
}

#[test]
fn context_is_counted_and_shown_on_request() {
    let (report, evidence) = sample::refuted();
    let brief = shown(&report, &evidence, 80);
    assert!(brief.contains("more findings of context") && !brief.contains("F017"));
    let look = Look { verbose: true, ..Look::default() };
    assert!(terminal::render(&report, &evidence, look).contains("F017"));
    let (decided, others) = (brief.find("F013").expect("decided"), brief.find("F001").expect("another"));
    assert!(decided < others);
}

#[test]
fn words_from_outside_cannot_act() {
    let hostile = "</title><script>alert(\"1\")</script>'&|`x`\u{202e}\u{1b}[2J\u{200b}\n# {{ 7*7 }} ![](http://x)";
    let (report, evidence) = spoilt(hostile);
    let page = page(&report, &evidence);
    let plain = shown(&report, &evidence, 80);
    let note = markdown::to_markdown(&report, &evidence, Language::English);
    for text in [&page, &plain, &note] {
        assert!(!text.contains(['\u{202e}', '\u{1b}', '\u{200b}']));
    }
    assert_eq!((page.matches("<script").count(), note.matches("<script").count()), (1, 0));
    assert!(page.contains("{{ 7*7 }}"));
    assert_eq!(page.matches("</title>").count(), page.matches("<title>").count());
    assert_eq!(page.matches("</script>").count(), 1);
    assert!(!note.contains("\n# {{") && !note.contains("![](") && !note.contains("|`"));
    for line in note.lines().filter(|line| line.starts_with('|')) {
        let bars = line.replace("\\\\", "").replace("\\|", "").matches('|').count();
        assert!([3, 5, 6, 7, 8].contains(&bars), "{bars} in {line}");
    }
    let parsed: contract::Report = serde_json::from_str(&json::to_json(&report)).expect("still JSON");
    assert_eq!(parsed.case.name, hostile);
}

#[test]
fn the_page_needs_nothing_from_outside() {
    let (report, evidence) = sample::refuted();
    let page = page(&report, &evidence);
    for word in ["http:", "https:", " src=", "<link", "@import", "url(", "javascript:", " style=", "onclick="] {
        let body = page.replace("hf://", "");
        assert!(!body.contains(word), "{word}");
    }
    for id in report.findings.iter().map(|finding| &finding.id) {
        assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
    }
    let open = |name: &str| page.matches(&format!("<{name} ")).count() + page.matches(&format!("<{name}>")).count();
    for name in
        ["svg", "section", "table", "tbody", "tr", "td", "th", "details", "figure", "dl", "ul", "g", "text", "div"]
    {
        assert_eq!(open(name), page.matches(&format!("</{name}>")).count(), "{name}");
    }
}

#[test]
fn nothing_at_all_renders() {
    let report = sample::empty();
    for evidence in [Evidence::default(), only_nulls()] {
        assert!(page(&report, &evidence).ends_with("</html>\n") || page(&report, &evidence).ends_with("</html>"));
        assert!(!shown(&report, &evidence, 0).is_empty());
        assert!(!markdown::to_markdown(&report, &evidence, Language::English).is_empty());
    }
    assert!(serde_json::from_str::<contract::Report>(&json::to_json(&report)).is_ok());
}

#[test]
fn large_layer_maps_stay_small() {
    let row = |layer_subject, layer_parent| LayerMapRow {
        parent: "parent:Large".into(),
        family: "all".into(),
        layer_subject,
        layer_parent,
        pearson: None,
        z: Some(if layer_subject == layer_parent { 40.0 } else { 0.5 }),
    };
    let layer_map = (0..120).flat_map(|subject| (0..120).map(move |parent| row(subject, parent))).collect();
    let evidence = Evidence { layer_map, ..Evidence::default() };
    let page = page(&sample::empty(), &evidence);
    assert!(page.len() < 120_000, "{}", page.len());
    assert_eq!(page.matches("class=\"beyond thin\"").count(), 120);
}

/// A report of a large model: 100 layers against two parents and a control in four families, 64 checkpoints.
#[test]
fn a_page_of_a_hundred_layers_and_64_checkpoints_is_small() {
    let (report, evidence) = (sample::refuted().0, largest());
    assert_eq!(evidence.layer_map.len(), 3 * 4 * 100 * 100);
    let page = page(&report, &evidence);
    assert!(page.len() < 1_500_000, "{}", page.len());
    for step in [0, 31, 63] {
        assert!(page.contains(&format!("{}", step * 1000)), "{step}");
    }
    assert!(markdown::to_markdown(&report, &evidence, Language::English).len() < 300_000);
}

/// Writes the sample pages to the folder that `SCRATCHPROOF_PAGES` names, to be looked at.
#[test]
#[ignore = "for looking, not for checking"]
fn pages_to_look_at() {
    let Some(dir) = std::env::var_os("SCRATCHPROOF_PAGES").map(std::path::PathBuf::from) else { return };
    for (name, (report, evidence)) in [
        ("confirmed", sample::confirmed()),
        ("refuted", sample::refuted()),
        (
            "hostile",
            spoilt("<script>\"'\u{202e}a_very_long_name_without_a_single_blank_in_it_that_has_to_break_somewhere"),
        ),
        ("empty", (sample::empty(), Evidence::default())),
        ("large", (sample::refuted().0, large())),
        ("largest", (sample::refuted().0, largest())),
    ] {
        std::fs::write(dir.join(name).with_extension("html"), page(&report, &evidence)).expect("written");
        std::fs::write(
            dir.join(name).with_extension("md"),
            markdown::to_markdown(&report, &evidence, Language::English),
        )
        .expect("written");
        std::fs::write(dir.join(name).with_extension("json"), json::to_json(&report)).expect("written");
        evidence.write(&dir.join(name)).expect("written");
        let look = Look { colour: true, ..Look::default() };
        std::fs::write(dir.join(name).with_extension("txt"), terminal::render(&report, &evidence, look))
            .expect("written");
    }
}

fn page(report: &Report, evidence: &Evidence) -> String {
    html::render(report, evidence, Language::English).expect("a page")
}

fn shown(report: &Report, evidence: &Evidence, width: usize) -> String {
    terminal::render(report, evidence, Look { width, ..Look::default() })
}

/// The refuted sample with every word from outside replaced.
fn spoilt(word: &str) -> (Report, Evidence) {
    let (mut report, mut evidence) = sample::refuted();
    report.case.name = word.into();
    report.case.claim = word.into();
    report.case.digest = word.into();
    report.verdict.against = vec![word.into()];
    report.verdict.missing.push(word.into());
    report.policy = serde_json::json!({ word: word });
    for component in &mut report.components {
        component.name = word.into();
        component.parent = Some(word.into());
    }
    for finding in &mut report.findings {
        finding.message = word.into();
        finding.null = word.into();
        finding.evidence = Some(word.into());
        finding.subject.tensor = Some(word.into());
        finding.subject.component = Some(word.into());
        finding.subject.parent = Some(word.into());
    }
    report.case.subject = word.into();
    report.case.claimant = Some(word.into());
    report.case.date = Some(word.into());
    report.case.auditor = Some(word.into());
    report.coverage.skipped.push(Skipped { tensor: word.into(), why: word.into() });
    for input in &mut report.inputs {
        input.name = word.into();
        input.uri = word.into();
        input.sha256 = word.into();
    }
    for row in &mut evidence.components {
        row.component = if row.component == "all" { "all".into() } else { word.into() };
        row.reference = match row.reference {
            Reference::Parent(_) => Reference::Parent(word.into()),
            _ => Reference::Control(word.into()),
        };
    }
    for row in &mut evidence.layer_map {
        row.parent = word.into();
        row.family = word.into();
    }
    for row in &mut evidence.timeline {
        row.what = format!("{word} became public");
        row.source = word.into();
        row.grade = word.into();
    }
    (report.answered(), evidence)
}

/// Many checkpoints, five parents, deep models.
fn large() -> Evidence {
    let mut evidence = sample::refuted().1;
    let small = std::mem::take(&mut evidence.components);
    for row in &small {
        for at in 0..4_i64 {
            let mut row = row.clone();
            row.step = 125_000 * (row.step / 20 + at);
            if row.reference != Reference::Init && at > 0 {
                row.reference = Reference::Parent(format!("Parent-{at}"));
            }
            evidence.components.push(row);
        }
    }
    let cells = (0..64_u32).flat_map(|subject| (0..48_u32).map(move |parent| (subject, parent)));
    evidence.layer_map = cells
        .map(|(layer_subject, layer_parent)| LayerMapRow {
            parent: "parent:GLM-like".into(),
            family: "all".into(),
            layer_subject,
            layer_parent,
            pearson: None,
            z: Some(if layer_subject * 3 / 4 == layer_parent {
                18.0
            } else {
                f64::from((layer_subject * 31 + layer_parent * 17) % 61) / 10.0 - 3.0
            }),
        })
        .collect();
    evidence
}

/// Every series at 64 checkpoints, every layer map with 100 layers on either side.
fn largest() -> Evidence {
    let mut evidence = sample::refuted().1;
    let step = |at: i64| 1000 * at;
    let first = |step: i64| step == 0;
    let rows = std::mem::take(&mut evidence.components);
    let later = rows.iter().filter(|row| row.step == 600);
    evidence.components = later
        .flat_map(|row| (0..64).map(move |at| (row.clone(), at)))
        .map(|(mut row, at)| {
            row.step = step(at);
            row.z = row.z.map(|z| z * (1.0 + 0.1 * (at as f64 / 7.0).sin()));
            row
        })
        .collect();
    let rows = std::mem::take(&mut evidence.path);
    evidence.path = rows
        .iter()
        .filter(|row| first(row.step))
        .flat_map(|row| (0..64).map(move |at| (row.clone(), at)))
        .map(|(mut row, at)| {
            row.step = step(at);
            (row.pc1, row.pc2) = (Some((at as f64).sqrt()), Some((at as f64 / 10.0).sin()));
            row
        })
        .collect();
    let rows = std::mem::take(&mut evidence.chain);
    evidence.chain = rows
        .iter()
        .filter(|row| first(row.from_step))
        .flat_map(|row| (0..63).map(move |at| (row.clone(), at)))
        .map(|(mut row, at)| {
            (row.from_step, row.to_step) = (step(at), step(at + 1));
            row
        })
        .collect();
    let rows = std::mem::take(&mut evidence.layer_map);
    let cells = || (0..100_u32).flat_map(|subject| (0..100_u32).map(move |parent| (subject, parent)));
    evidence.layer_map = rows
        .iter()
        .filter(|row| (row.layer_subject, row.layer_parent) == (0, 0))
        .flat_map(|row| cells().map(move |cell| (row.clone(), cell)))
        .map(|(mut row, (subject, parent))| {
            (row.layer_subject, row.layer_parent) = (subject, parent);
            let chance = f64::from((subject * 31 + parent * 17) % 61) / 10.0 - 3.0;
            row.z = Some(if subject == parent && row.parent == "parent:GLM-like" { 18.0 } else { chance });
            row
        })
        .collect();
    evidence
}

/// Rows in which every figure is missing or senseless.
fn only_nulls() -> Evidence {
    let mut evidence = sample::refuted().1;
    evidence.components.truncate(9);
    for (at, row) in evidence.components.iter_mut().enumerate() {
        row.step = [i64::MIN, 0, i64::MAX][at % 3];
        (row.effect, row.z) = [(None, None), (Some(f64::NAN), Some(f64::INFINITY)), (Some(0.0), Some(0.0))][at % 3];
    }
    for row in &mut evidence.layer_map {
        row.z = [None, Some(f64::NAN), Some(f64::NEG_INFINITY)][row.layer_parent as usize % 3];
        row.layer_subject = u32::MAX - row.layer_subject;
    }
    evidence
}
