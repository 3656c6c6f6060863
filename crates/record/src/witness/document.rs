//! Answers of hubs and forges, saved as JSON: what their servers' clocks say.
//!
//! Dates that a server sets are `platform`. Dates of commits are set by whoever made them, and a GitLab release's
//! `released_at` by whoever published it: those are `self-asserted`.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::asn1::Parsed;
use crate::{Interval, Trust};

/// Answers of more bytes are not read.
pub const LARGEST: usize = 16 << 20;
/// Facts of one answer, at most.
const MOST: usize = 100_000;

/// What a fact is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A repository of the hub or forge.
    Repository,
    /// A commit, by its full id.
    Commit(String),
    /// A tag, by its name.
    Tag(String),
    /// A file with this SHA-256, in lower-case hexadecimal.
    File(String),
}

/// One dated fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub about: About,
    /// In words: "the repository org/name was created".
    pub what: String,
    /// When; the thing is known to exist from `latest` on.
    pub at: Interval,
    pub trust: Trust,
}

/// What an answer is, and the dated facts in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Which answer of whom.
    pub kind: &'static str,
    pub facts: Vec<Fact>,
}

/// Reads an answer.
///
/// # Errors
/// If it is too large, no JSON, or none of the answers known here.
pub fn read(bytes: &[u8]) -> Parsed<Document> {
    if bytes.len() > LARGEST {
        return Err(format!("{} bytes are too many for a saved answer (at most {LARGEST})", bytes.len()));
    }
    let value = pages(bytes)?;
    let (kind, mut facts) = match &value {
        Value::Object(_) if value.get("siblings").is_some() => ("model of a Hugging Face hub", hub_model(&value)),
        Value::Object(_) if value.get("path_with_namespace").is_some() => {
            ("project of a GitLab", repository(&value, "path_with_namespace", &["last_activity_at"]))
        }
        Value::Object(_) if value.get("full_name").is_some() => {
            let name = if value.get("pushed_at").is_some() { "repository of GitHub" } else { "repository of a Gitea" };
            (name, repository(&value, "full_name", &["pushed_at", "updated_at"]))
        }
        Value::Object(_) if value.get("tag_name").is_some() => ("release of a forge", release(&value)),
        Value::Array(list) => match list.first() {
            Some(first) if first.get("tag_name").is_some() => {
                ("releases of a forge", list.iter().take(MOST).flat_map(release).collect())
            }
            Some(first)
                if first.get("lfs").is_some() || (first.get("path").is_some() && first.get("oid").is_some()) =>
            {
                ("files of a Hugging Face hub", list.iter().take(MOST).filter_map(tree).collect())
            }
            Some(first) if first.get("title").is_some() && first.get("date").is_some() => {
                ("commits of a Hugging Face hub", list.iter().take(MOST).filter_map(commit).collect())
            }
            _ => return Err("it is a list of nothing that is known here".into()),
        },
        _ => return Err("it is no answer of a hub or forge that is known here".into()),
    };
    facts.truncate(MOST);
    if facts.is_empty() {
        return Err(format!("it looks like the {kind} and holds no date that can be read"));
    }
    Ok(Document { kind, facts })
}

/// The answer, the pages of a list put together: one after another as they were saved (`cat`, `curl` in a loop), or in a
/// list of lists (`jq -s`).
fn pages(bytes: &[u8]) -> Parsed<Value> {
    let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(bytes).into_iter().take(MOST).collect();
    let mut values = values.map_err(|error| format!("it is no JSON: {error}"))?;
    let lists = |list: &[Value]| list.len() > 1 && list.iter().all(Value::is_array);
    if let [Value::Array(list)] = values.as_mut_slice()
        && lists(list)
    {
        values = std::mem::take(list);
    }
    if lists(&values) {
        let lists =
            values.into_iter().filter_map(|value| if let Value::Array(list) = value { Some(list) } else { None });
        return Ok(Value::Array(lists.flatten().collect()));
    }
    let mut values = values.into_iter();
    match (values.next(), values.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err("it is no JSON: it is empty".into()),
        (Some(_), Some(_)) => Err("it holds several answers that are no pages of one list; save each by itself".into()),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

fn time(value: &Value, key: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text(value, key)?).ok().map(|at| at.to_utc())
}

fn at(at: DateTime<Utc>) -> Interval {
    Interval { earliest: at, latest: at }
}

/// A name of the other side, fit for a terminal.
fn clean(text: &str) -> String {
    text.chars().take(120).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

fn sha256(text: &str) -> Option<String> {
    let text = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    (text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())).then_some(text)
}

/// `/api/models/ORG/NAME` (with `?blobs=true` for the digests of the files).
fn hub_model(value: &Value) -> Vec<Fact> {
    let name = clean(text(value, "id").or_else(|| text(value, "modelId")).unwrap_or("without a name"));
    let (created, changed) = (time(value, "createdAt"), time(value, "lastModified"));
    let mut facts = Vec::new();
    let repository = |what: String, at: Interval| Fact { about: About::Repository, what, at, trust: Trust::Platform };
    facts.extend(created.map(|t| repository(format!("the hub repository {name} was created"), at(t))));
    facts.extend(changed.map(|t| repository(format!("the hub repository {name} was last changed"), at(t))));
    let Some(changed) = changed.filter(|changed| created.is_none_or(|created| created <= *changed)) else {
        return facts;
    };
    let span = Interval { earliest: created.unwrap_or(changed), latest: changed };
    for file in value.get("siblings").and_then(Value::as_array).into_iter().flatten().take(MOST) {
        let digest = file.get("lfs").and_then(|lfs| text(lfs, "sha256").or_else(|| text(lfs, "oid"))).and_then(sha256);
        if let (Some(digest), Some(path)) = (digest, text(file, "rfilename")) {
            facts.push(Fact {
                about: About::File(digest),
                what: format!("{} was in the hub repository {name}", clean(path)),
                at: span,
                trust: Trust::Platform,
            });
        }
    }
    facts
}

/// One row of `/api/models/ORG/NAME/tree/REVISION?expand=true`.
fn tree(row: &Value) -> Option<Fact> {
    let digest = row.get("lfs").and_then(|lfs| text(lfs, "oid").or_else(|| text(lfs, "sha256"))).and_then(sha256)?;
    let when = row.get("lastCommit").and_then(|commit| time(commit, "date"))?;
    Some(Fact {
        about: About::File(digest),
        what: format!("{} was committed to a hub repository, by the clock of its author", clean(text(row, "path")?)),
        at: at(when),
        trust: Trust::SelfAsserted,
    })
}

/// One row of `/api/models/ORG/NAME/commits/REVISION`.
fn commit(row: &Value) -> Option<Fact> {
    let id = text(row, "id").filter(|id| id.len() >= 40 && id.bytes().all(|b| b.is_ascii_hexdigit()))?;
    Some(Fact {
        about: About::Commit(id.to_ascii_lowercase()),
        what: format!("commit {} of a hub repository: {}", &id[..9], clean(text(row, "title").unwrap_or_default())),
        at: at(time(row, "date")?),
        trust: Trust::SelfAsserted,
    })
}

/// A repository of GitHub, Gitea or GitLab.
fn repository(value: &Value, name: &str, changed: &[&str]) -> Vec<Fact> {
    let name = clean(text(value, name).unwrap_or_default());
    let fact = |what: String, t| Fact { about: About::Repository, what, at: at(t), trust: Trust::Platform };
    let mut facts: Vec<Fact> = time(value, "created_at")
        .map(|t| fact(format!("the repository {name} was created on the forge"), t))
        .into_iter()
        .collect();
    let last = changed.iter().find_map(|key| time(value, key));
    facts.extend(last.map(|t| fact(format!("the repository {name} was last pushed to or changed"), t)));
    facts
}

/// A release of GitHub or Gitea (`published_at`), or of GitLab (`created_at`; its `released_at` can be chosen).
fn release(value: &Value) -> Vec<Fact> {
    let mut facts = Vec::new();
    let Some(tag) = text(value, "tag_name") else { return facts };
    let shown = clean(tag);
    let gitlab = value.get("released_at").is_some();
    let when = if gitlab { time(value, "created_at") } else { time(value, "published_at") };
    if let Some(when) = when {
        let mut fact = |about, what| facts.push(Fact { about, what, at: at(when), trust: Trust::Platform });
        fact(About::Tag(tag.to_owned()), format!("release {shown} was published; a tag can be moved afterwards"));
        if let Some(id) = value.get("commit").and_then(|commit| text(commit, "id")) {
            let id = id.to_ascii_lowercase();
            fact(About::Commit(id), format!("release {shown} was published, now at this commit; a tag can be moved"));
        }
    }
    if gitlab && let Some(chosen) = time(value, "released_at").filter(|chosen| Some(*chosen) != when) {
        let what = format!("release {shown}, by the date that its publisher chose");
        facts.push(Fact { about: About::Tag(tag.to_owned()), what, at: at(chosen), trust: Trust::SelfAsserted });
    }
    for asset in value.get("assets").and_then(Value::as_array).into_iter().flatten().take(MOST) {
        let digest = text(asset, "digest").and_then(sha256);
        let stored = time(asset, "updated_at").or_else(|| time(asset, "created_at"));
        if let (Some(digest), Some(when), Some(name)) = (digest, stored, text(asset, "name")) {
            let what = format!("{} was stored with release {shown}", clean(name));
            facts.push(Fact { about: About::File(digest), what, at: at(when), trust: Trust::Platform });
        }
    }
    facts
}
