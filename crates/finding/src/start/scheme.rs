//! The distribution and the rule of scale of every family, and whether they are what was declared.

use std::collections::BTreeMap;

use super::{Code, Direction, Finding, Grade, Init, Judgement, Policy, StartFacts, StartRow};
use scratchproof_stats::{Law, holm};
use scratchproof_texts::{Text, text};

/// Schemes that a message tells; of more it says how many.
const FEW: usize = 4;

pub fn judge(judgement: &mut Judgement, facts: &StartFacts<'_>, step: i64, policy: &Policy) {
    let mut families: BTreeMap<&str, Vec<&StartRow>> = BTreeMap::new();
    for row in facts.rows {
        families.entry(&row.family).or_default().push(row);
    }
    if families.is_empty() {
        return;
    }
    let mut kinds: BTreeMap<String, (Text, Vec<&str>)> = BTreeMap::new();
    let mut recognised = 0;
    for (family, rows) in &families {
        let (text, known) = kind(rows);
        recognised += usize::from(known);
        kinds.entry(text.english()).or_insert_with(|| (text, Vec::new())).1.push(family);
    }
    let ways = kinds.len();
    let mut message = match ways {
        1 => text!("start/scheme/one", step, kind = kinds.into_values().next().map(|(kind, _)| kind)),
        2..=FEW => {
            let each = |(kind, families): (Text, Vec<&str>)| text!("start/scheme/of", kind, families);
            text!("start/scheme/some", step, kinds = kinds.into_values().map(each).collect::<Vec<_>>())
        }
        _ => text!("start/scheme/many", step, count = recognised, all = families.len(), ways),
    };
    let all = recognised == families.len();
    let mut direction = if all { Direction::For } else { Direction::Neutral };
    // The worst fit of a matrix to the law and scale of its family. Training moves it far later than the spectrum.
    let fits = holm(&facts.rows.iter().map(|r| r.fit_log10_p).collect::<Vec<_>>());
    let worst = facts.rows.iter().zip(fits).filter_map(|(r, p)| Some((r, p?))).min_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((row, p)) = worst.filter(|(_, p)| *p <= policy.strong_log10_p) {
        let distance = row.fit_distance.unwrap_or(0.0);
        message.push(text!("start/scheme/no-fit", tensor = &row.tensor, distance, log10_p = p));
        direction = Direction::Neutral;
    }
    // A recipe alone declares neither.
    if let Some(declared) = facts.declared.filter(|d| d.scheme.is_some() || d.std.is_some()) {
        let differing: Vec<&str> =
            families.iter().filter(|(_, rows)| differs(declared, rows)).map(|(family, _)| *family).collect();
        let (scheme, std) = (declared.scheme.as_deref(), declared.std);
        if differing.is_empty() {
            message.push(text!("start/scheme/as-declared", scheme, std));
        } else {
            message.push(text!("start/scheme/not-declared", scheme, std, families = differing));
            direction = Direction::Neutral;
        }
    }
    let mut finding = Finding::new(Code::StartScheme, Grade::Weak, direction, message);
    finding.subject.steps = vec![step];
    finding.statistic = Some(recognised as f64);
    finding.log10_p = worst.map(|(_, p)| p);
    finding.effect = Some(f64::from(u32::try_from(recognised).unwrap_or(u32::MAX)) / families.len() as f64);
    finding.n = Some(families.len() as u64);
    finding.null = text!("start/scheme/null");
    finding.evidence = Some("evidence/start.parquet".into());
    judgement.push(finding);
}

/// The scheme of a family in words, and whether law and rule are known.
fn kind(rows: &[&StartRow]) -> (Text, bool) {
    let mut schemes: Vec<&str> = rows.iter().filter_map(|r| r.scheme.as_deref()).collect();
    schemes.sort_unstable();
    schemes.dedup();
    let first = rows.iter().find(|r| r.scheme.is_some()).unwrap_or(&rows[0]);
    match (schemes.as_slice(), &first.rule) {
        ([], _) => (text!("start/scheme/no-law"), false),
        ([_, _, ..], _) => (text!("start/scheme/several", schemes), rows.iter().all(|r| known(r))),
        ([scheme], _) if rows.len() > 1 && rows.iter().any(|r| r.scheme.is_none()) => {
            (text!("start/scheme/not-every", scheme = *scheme), false)
        }
        (["zero"], _) => (text!("start/scheme/zero"), true),
        (["sinusoids"], _) => (text!("start/scheme/sinusoids"), true),
        (["repeated"], _) => (text!("start/scheme/repeated"), false),
        ([scheme @ ("constant" | "identity")], Some(value)) => {
            (text!("start/scheme/value", scheme = *scheme, value), true)
        }
        (["orthogonal"], Some(gain)) => (text!("start/scheme/orthogonal", gain), true),
        (["scaled"], _) => (text!("start/scheme/scaled"), false),
        ([scheme], Some(rule)) => (text!("start/scheme/rule", scheme = *scheme, rule), true),
        ([scheme], None) => (text!("start/scheme/no-rule", scheme = *scheme, std = pooled_std(rows)), false),
    }
}

fn known(row: &StartRow) -> bool {
    match row.scheme.as_deref() {
        Some("zero" | "sinusoids") => true,
        Some("scaled" | "repeated") | None => false,
        Some(_) => row.rule.is_some(),
    }
}

/// Root mean square of all values of a family.
fn pooled_std(rows: &[&StartRow]) -> f64 {
    let elements: f64 = rows.iter().map(|r| r.elements as f64).sum();
    (rows.iter().map(|r| r.elements as f64 * r.std.unwrap_or(0.0).powi(2)).sum::<f64>() / elements.max(1.0)).sqrt()
}

/// Whether a family is drawn by another scheme than was declared. Names are those of the case file and of
/// `torch.nn.init`: `kaiming-uniform` names a law and a rule.
fn differs(declared: &Init, rows: &[&StartRow]) -> bool {
    let row = rows[0];
    // Outputs that begin at zero are an addition to a scheme, not another scheme.
    if row.scheme.as_deref() == Some("zero") {
        return false;
    }
    let other_law = declared.scheme.as_deref().is_some_and(|written| {
        let name = written.to_ascii_lowercase().replace(['_', ' '], "-");
        let rule = row.rule.as_deref().unwrap_or_default();
        let (origin, law) = match name.rsplit_once('-') {
            Some((origin, law @ ("uniform" | "normal"))) if origin != "truncated" => (Some(origin.to_owned()), law),
            _ => (None, name.as_str()),
        };
        let origin = match origin.as_deref() {
            None => true,
            Some("kaiming" | "he") => ["Kaiming", "PyTorch"].iter().any(|own| rule.starts_with(own)),
            Some("xavier" | "glorot") => rule.starts_with("Xavier"),
            Some("lecun") => rule.starts_with("LeCun"),
            Some(_) => false,
        };
        row.scheme.as_deref().is_some_and(|found| !(origin && found.trim_end_matches("-3") == law))
    });
    let kept = row.scheme.as_deref().and_then(Law::of).map_or(1.0, Law::kept);
    let other_std = declared.std.is_some_and(|d| {
        let std = pooled_std(rows);
        [1.0, kept].iter().all(|kept| (std / (d * kept) - 1.0).abs() > 0.05)
    });
    other_law || other_std
}
