//! The mentions of other people's models in the order of the history.

use std::collections::{BTreeMap, BTreeSet};

use super::Repository;
use super::changes::{Change, Contents};
use super::mentions::{Found, Mention, MentionKind, Place};

/// Mentions kept of one kind; the rest is counted.
const PER_KIND: usize = 100;
/// Mentions put into the order of the history; a history with more is made to be one.
const KEPT: usize = 200_000;

/// Puts the mentions of all versions into the order of the history.
pub fn collect(facts: &mut Repository, changes: &[Vec<Change>], contents: &Contents, line: &[usize]) {
    type Key<'a> = (MentionKind, &'a str, &'a str, Option<&'a str>);
    let mut mentions: BTreeMap<Key<'_>, Mention> = BTreeMap::new();
    let on_line: BTreeSet<usize> = line.iter().copied().collect();
    let mut more = false;
    let mut order: Vec<usize> = (0..changes.len()).collect();
    order.sort_by_key(|at| facts.commits.get(*at).map(|c| c.committer.at));
    for at in order {
        let Some(commit) = facts.commits.get(at) else { continue };
        for change in &changes[at] {
            for found in contents.of(change).map(|content| content.found.as_slice()).unwrap_or_default() {
                let key = (found.kind, change.path.as_str(), found.text.as_str(), found.parent.as_deref());
                if mentions.len() >= KEPT && !mentions.contains_key(&key) {
                    more = true;
                    continue;
                }
                let mention = mentions.entry(key).or_insert_with(|| Mention {
                    kind: found.kind,
                    text: found.text.clone(),
                    parent: found.parent.clone(),
                    path: super::clean(&change.path),
                    line: found.line,
                    place: Place::of(&change.path),
                    first: commit.id.clone(),
                    gone: None,
                    main: false,
                });
                mention.main |= on_line.contains(&at);
            }
        }
    }
    if more {
        facts
            .notes
            .push(format!("other people's models are mentioned more than {KEPT} times; later ones are not kept"));
    }
    // Along the main line: which version of every file holds now.
    let mut now: BTreeMap<&str, &[Found]> = BTreeMap::new();
    for &at in line {
        for change in &changes[at] {
            let new = contents.of(change).map(|content| content.found.as_slice()).unwrap_or_default();
            let old = if new.is_empty() { now.remove(change.path.as_str()) } else { now.insert(&change.path, new) };
            let key = |found: &'_ Found| (found.kind, found.text.clone(), found.parent.clone());
            let kept: BTreeSet<_> = new.iter().map(key).collect();
            for found in old.unwrap_or_default() {
                let gone = !kept.contains(&key(found));
                let key = (found.kind, change.path.as_str(), found.text.as_str(), found.parent.as_deref());
                if let (true, Some(mention)) = (gone, mentions.get_mut(&key)) {
                    mention.gone = facts.commits.get(at).map(|commit| commit.id.clone());
                }
            }
            for found in new {
                let key = (found.kind, change.path.as_str(), found.text.as_str(), found.parent.as_deref());
                if let Some(mention) = mentions.get_mut(&key) {
                    mention.gone = None;
                }
            }
        }
    }
    let mut all: Vec<Mention> = mentions.into_values().collect();
    // What matters most first: code before documentation, what is of a parent before what is of nobody.
    all.sort_by(|a, b| {
        let key = |m: &Mention| (m.kind, m.parent.is_none(), m.place, m.path.clone(), m.line, m.text.clone());
        key(a).cmp(&key(b))
    });
    for kind in [MentionKind::Name, MentionKind::Loads, MentionKind::Starts, MentionKind::Constant] {
        let of: Vec<Mention> = all.iter().filter(|mention| mention.kind == kind).cloned().collect();
        if of.len() > PER_KIND {
            facts.more_mentions.push((kind, of.len() - PER_KIND));
        }
        facts.mentions.extend(of.into_iter().take(PER_KIND));
    }
}
