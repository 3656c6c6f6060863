//! The findings, once: by condition, those of one kind as one small table, an explanation before what it explains.

use std::collections::BTreeMap;

use scratchproof_texts::{Text, text};
use serde::Serialize;

use super::filter;
use super::first;
use crate::answer::part;
use crate::said::Said;
use crate::{Report, explain, number, wording};
use scratchproof_finding::{Code, Direction, Finding, Grade};

#[derive(Serialize)]
pub(super) struct Section {
    pub key: &'static str,
    pub name: Said,
    pub state: &'static str,
    pub word: Said,
    pub sentence: Said,
    pub kinds: Vec<Kind>,
}

/// All findings of one code.
#[derive(Serialize)]
pub(super) struct Kind {
    code: &'static str,
    slug: String,
    title: Said,
    grade: Said,
    direction: &'static str,
    direction_word: Said,
    open: bool,
    decides: bool,
    count: Said,
    null: Said,
    file: Option<String>,
    again: Option<String>,
    /// Where the picture is.
    picture: Option<(&'static str, Said)>,
    /// What `scratchproof explain` says of the code: headings and words.
    explained: Vec<(Said, Said)>,
    rows: Vec<Row>,
    more: Vec<Row>,
}

/// Findings of one kind that are shown without being asked for.
const SHOWN: usize = 40;

#[derive(Serialize)]
pub(super) struct Row {
    id: String,
    part: String,
    about: Said,
    message: Said,
    grade: &'static str,
    grade_word: Said,
    figure: String,
    log10_p: String,
    effect: String,
    n: String,
}

/// Every finding of a report. Those of the condition that decided come first.
pub(super) fn sections(report: &Report) -> Vec<Section> {
    let mut stated: BTreeMap<&str, (&'static str, Said, Said)> = wording::conditions(report)
        .into_iter()
        .zip(["start", "chain", "parent", "time"])
        .map(|(one, key)| (key, (wording::condition(one.state), first::state(one.state), one.sentence.into())))
        .collect();
    let mut sections: Vec<Section> = wording::groups()
        .into_iter()
        .map(|(key, name)| {
            let (state, word, sentence) = stated.remove(key).unwrap_or_default();
            let findings: Vec<&Finding> = wording::of(report, key).collect();
            let decides = |finding: &Finding| wording::decides(report, finding);
            Section { key, name: name.into(), state, word, sentence, kinds: kinds(&findings, decides) }
        })
        .collect();
    let rank = |section: &Section| {
        let decides = section.kinds.iter().any(|kind| kind.decides && kind.direction == "against");
        (!decides, section.state != "fails")
    };
    sections.sort_by_key(rank);
    sections.retain(|section| !section.kinds.is_empty() || !section.state.is_empty());
    sections
}

/// Findings by their code: first what explains others, then what decided, then by grade.
pub(super) fn kinds(findings: &[&Finding], decides: impl Fn(&Finding) -> bool) -> Vec<Kind> {
    let mut by: BTreeMap<Code, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        by.entry(finding.code).or_default().push(finding);
    }
    let mut kinds: Vec<_> = by
        .into_iter()
        .filter_map(|(code, own)| {
            let weight =
                |finding: &&&Finding| (decides(finding), finding.direction != Direction::Neutral, finding.grade);
            let heaviest = *own.iter().max_by_key(weight)?;
            let explains = matches!(code, Code::ParentSharedSeed | Code::ParentLineage);
            let decides = own.iter().any(|one| decides(one));
            let rank = (!explains, !decides, std::cmp::Reverse(heaviest.grade), code);
            Some((rank, kind(code, &own, heaviest, decides || explains)))
        })
        .map(|(rank, mut kind)| {
            kind.decides = !rank.1;
            (rank, kind)
        })
        .collect();
    kinds.sort_by_key(|(rank, _)| *rank);
    kinds.into_iter().map(|(_, kind)| kind).collect()
}

fn kind(code: Code, own: &[&Finding], heaviest: &Finding, open: bool) -> Kind {
    let mut rows: Vec<Row> = own.iter().map(|finding| row(finding)).collect();
    let more = rows.split_off(SHOWN.min(rows.len()));
    let direction = wording::direction(heaviest.direction);
    Kind {
        code: code.name(),
        slug: code.name().replace('/', "-"),
        title: code.title().into(),
        grade: grade(heaviest.grade),
        direction,
        direction_word: self::direction(heaviest.direction),
        open,
        decides: false,
        count: if own.len() > 1 { text!("page/kind/findings", count = own.len()).into() } else { Said::default() },
        null: if heaviest.grade == Grade::Context { Said::default() } else { (&heaviest.null).into() },
        file: heaviest.evidence.clone(),
        again: filter::polars(&common(own, heaviest)),
        picture: picture(code),
        explained: explain::parts(code).into_iter().map(|(heading, words)| (heading.into(), words.into())).collect(),
        rows,
        more,
    }
}

/// The heaviest finding about no more than what all of them are about: its filter gives the rows of all.
fn common(own: &[&Finding], heaviest: &Finding) -> Finding {
    let mut common = heaviest.clone();
    let about = &mut common.subject;
    for other in own.iter().map(|finding| &finding.subject) {
        about.component = about.component.take().filter(|name| other.component.as_ref() == Some(name));
        about.tensor = about.tensor.take().filter(|name| other.tensor.as_ref() == Some(name));
        about.parent = about.parent.take().filter(|name| other.parent.as_ref() == Some(name));
        if about.steps != other.steps {
            about.steps.clear();
        }
    }
    common
}

fn picture(code: Code) -> Option<(&'static str, Said)> {
    Some(match code {
        Code::ParentSimilarity | Code::ParentReexpressed | Code::ParentSilent | Code::ParentSharedSeed => {
            ("steps", text!("page/kind/chart").into())
        }
        Code::ParentLayerMap => ("layers", text!("page/kind/map").into()),
        code if code.condition() == "chain" => ("path", text!("page/kind/chart").into()),
        code if code.condition() == "time" => ("timeline", text!("page/kind/chart").into()),
        _ => return None,
    })
}

fn row(finding: &Finding) -> Row {
    let component = finding.subject.component.as_deref();
    let about: Text = match component {
        Some(name) => part(name),
        None => wording::subject(finding),
    };
    Row {
        id: finding.id.clone(),
        part: component.unwrap_or_default().to_owned(),
        about: about.into(),
        message: (&finding.message).into(),
        grade: wording::grade(finding.grade),
        grade_word: grade(finding.grade),
        figure: number::short(finding.statistic),
        log10_p: number::short(finding.log10_p),
        effect: number::effect(finding.effect),
        n: finding.n.map_or_else(|| "–".to_owned(), number::count),
    }
}

pub(super) fn grade(grade: Grade) -> Said {
    match grade {
        Grade::Conclusive => text!("page/grade/conclusive"),
        Grade::Strong => text!("page/grade/strong"),
        Grade::Moderate => text!("page/grade/moderate"),
        Grade::Weak => text!("page/grade/weak"),
        Grade::Context => text!("page/grade/context"),
    }
    .into()
}

fn direction(direction: Direction) -> Said {
    match direction {
        Direction::Against => text!("page/direction/against"),
        Direction::For => text!("page/direction/for"),
        Direction::Neutral => text!("page/direction/neutral"),
    }
    .into()
}
