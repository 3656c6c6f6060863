//! Sizes in JSON, YAML and TOML.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Block, Language, Places, known};

/// A YAML file may refer to a part of itself again and again; no configuration has so many parts.
const PARTS: usize = 200_000;
/// Lines looked at to find where the sizes of one file stand; after that they have no line.
const LINES: usize = 1 << 20;
/// Documents in one YAML file.
const DOCUMENTS: usize = 64;

/// As much of a value as sizes need.
enum Node {
    Whole(i64),
    Text(String),
    Map(Vec<(String, Node)>),
    List(Vec<Node>),
    Other,
}

/// The blocks of a file.
pub fn read(text: &[u8], language: Language) -> Vec<Block> {
    let Ok(text) = std::str::from_utf8(text) else { return Vec::new() };
    let documents = match language {
        Language::Json => serde_json::from_str(text).map(|node| vec![node]).unwrap_or_default(),
        Language::Toml => toml::from_str(text).map(|node| vec![node]).unwrap_or_default(),
        _ => {
            let options = serde_saphyr::options! {
                budget: serde_saphyr::budget! {
                    max_events: PARTS,
                    max_nodes: PARTS,
                    max_aliases: 1000,
                    max_anchors: 1000,
                    max_depth: 64,
                    max_documents: DOCUMENTS,
                },
            };
            serde_saphyr::from_multiple_with_options::<Node>(text, options).unwrap_or_default()
        }
    };
    let mut walk = Walk { lines: text.lines().collect(), left: LINES, places: Places::default() };
    for node in &documents {
        walk.node(node, "", 0, 0);
    }
    walk.places.blocks()
}

struct Walk<'a> {
    lines: Vec<&'a str>,
    /// So many lines may still be looked at.
    left: usize,
    places: Places,
}

impl Walk<'_> {
    /// `from` is the number of lines before the one that names the place.
    fn node(&mut self, node: &Node, name: &str, from: usize, depth: usize) {
        // What is deeper is no configuration; the parsers themselves stop at some 100.
        if depth > 32 {
            return;
        }
        let inner = |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
        match node {
            Node::Map(entries) => {
                let sizes = entries.iter().filter(|(key, _)| known(key.as_bytes()).is_some());
                let sizes: Vec<(&str, i64)> =
                    sizes.filter_map(|(key, node)| Some((key.as_str(), node.whole()?))).collect();
                if sizes.len() > 2 {
                    let place = self.places.new_place(name);
                    for (key, value) in sizes {
                        let line = self.line(from, key, Some(value)).map_or(0, |line| line as u64 + 1);
                        self.places.set(place, key, value, line);
                    }
                }
                for (key, node) in entries {
                    if matches!(node, Node::Map(_) | Node::List(_)) {
                        let from = self.line(from, key, None).unwrap_or(from);
                        self.node(node, &inner(key), from, depth + 1);
                    }
                }
            }
            Node::List(items) => {
                for (number, item) in items.iter().enumerate() {
                    let part = item.called().map_or_else(|| number.to_string(), ToOwned::to_owned);
                    let from = item.called().and_then(|called| self.line(from, called, None)).unwrap_or(from);
                    self.node(item, &inner(&part), from, depth + 1);
                }
            }
            _ => {}
        }
    }

    /// The first line from `from` on that has a word, and the value after it.
    fn line(&mut self, from: usize, word: &str, value: Option<i64>) -> Option<usize> {
        let value = value.map(|value| value.to_string());
        let has = |line: &str| {
            let Some(at) = find_word(line, word) else { return false };
            value
                .as_ref()
                .is_none_or(|value| find_word(line.get(at + word.len()..).unwrap_or_default(), value).is_some())
        };
        let found = self.lines.iter().skip(from).take(self.left).position(|line| has(line));
        self.left = self.left.saturating_sub(found.unwrap_or(self.lines.len().saturating_sub(from)) + 1);
        found.map(|place| place + from)
    }
}

/// Where a word stands that is not a part of a longer one.
fn find_word(line: &str, word: &str) -> Option<usize> {
    let part = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let bytes = line.as_bytes();
    let alone = |at: &usize| !part(at.checked_sub(1).and_then(|b| bytes.get(b))) && !part(bytes.get(at + word.len()));
    if word.is_empty() {
        return None;
    }
    line.match_indices(word).map(|(at, _)| at).find(alone)
}

impl Node {
    fn whole(&self) -> Option<i64> {
        match self {
            Self::Whole(value) => Some(*value),
            Self::Text(text) => text.replace('_', "").parse().ok(),
            _ => None,
        }
    }

    /// What an entry of a list calls itself.
    fn called(&self) -> Option<&str> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find_map(|(key, node)| match node {
            Self::Text(text) if key == "name" && !text.is_empty() => Some(text.as_str()),
            _ => None,
        })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a configuration")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Whole(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(i64::try_from(value).map_or(Node::Other, Node::Whole))
    }

    #[allow(clippy::cast_possible_truncation)] // whole and within 2^53
    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        let whole = value.fract() == 0.0 && value.abs() < 9e15;
        Ok(if whole { Node::Whole(value as i64) } else { Node::Other })
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.chars().take(120).collect()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Node, D::Error> {
        Node::deserialize(inner)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            // Long lists are data.
            if items.len() < 4096 {
                items.push(item);
            }
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Node>()? {
            let key = match key {
                Node::Text(text) => text,
                Node::Whole(value) => value.to_string(),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            entries.push((key, map.next_value()?));
        }
        Ok(Node::Map(entries))
    }
}
