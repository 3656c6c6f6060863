//! The tokenizer beside a model: which string every row of the embedding stands for.
//!
//! Whatever the scheme, a token becomes the bytes it stands for and whether it begins a word, so that the tokens of two
//! models can be set side by side by what they mean. Files are hostile: sizes and counts are bounded, and what cannot be
//! used is counted in the notes.

mod canonical;
mod compare;
mod json;
mod pieces;
mod text;
mod tiktoken;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::index::{LARGEST, whole};
use scratchproof_error::{Context, Error, Result};
use scratchproof_source::{Blob, Store};
use scratchproof_texts::text;

pub use compare::TokenComparison;

/// More tokens than any model has: the largest published vocabularies are near a million.
const MOST_TOKENS: usize = 1 << 21;

/// More merges than any tokenizer has.
const MOST_MERGES: usize = 1 << 22;

/// How a tokenizer cuts words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenizerKind {
    /// Byte-pair encoding over bytes that are written as printable characters.
    ByteLevelBpe,
    /// Byte-pair encoding over characters; a word begins with a metaspace.
    Bpe,
    /// Pieces with log probabilities; a word begins with a metaspace.
    Unigram,
    /// Longest match; what continues a word has a prefix.
    WordPiece,
    /// Whole words.
    WordLevel,
}

impl TokenizerKind {
    /// The name users read.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ByteLevelBpe => "byte-level BPE",
            Self::Bpe => "BPE",
            Self::Unigram => "Unigram",
            Self::WordPiece => "WordPiece",
            Self::WordLevel => "word level",
        }
    }
}

/// What a model's tokenizer says, in a form that does not depend on the scheme.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokenizer {
    /// The scheme.
    pub kind: TokenizerKind,
    /// The file it was read from.
    pub file: String,
    /// Canonical string and id of every token that is told apart from all others by both, sorted by string.
    tokens: Vec<(Box<[u8]>, u32)>,
    /// Merges in the order of the file, each as one canonical string.
    merges: Vec<Box<[u8]>>,
    /// Tokens the files list, usable or not.
    listed: usize,
    /// What could not be used, in words.
    pub notes: Vec<String>,
}

/// What `SentencePiece` files are called beside `tokenizer.model`: T5 and ALBERT, XLM-R and mBART, and scripts.
const PIECES: &[&str] = &["spiece.model", "sentencepiece.bpe.model", "sentencepiece.model", "spm.model", "sp.model"];

/// What a file says before it is made canonical.
#[derive(Debug, Default)]
struct Raw {
    kind: Option<TokenizerKind>,
    /// Text and id.
    tokens: Vec<(String, u32)>,
    /// Tokens added by hand, which no scheme cuts: text, id.
    added: Vec<(String, u32)>,
    merges: Vec<(String, String)>,
    /// What continues a word begins with this; `##` where the file does not say.
    prefix: Option<String>,
    /// Whether `<0x41>` means a byte.
    byte_fallback: bool,
    /// Ids that are negative or beyond any vocabulary.
    bad_ids: usize,
    /// Merges that are not two parts.
    bad_merges: usize,
}

impl Tokenizer {
    /// Names of the files of a folder that [`Tokenizer::read`] would read; none if there is no tokenizer in a form that
    /// is read.
    fn files(names: &[String]) -> Vec<String> {
        let has = |name: &str| names.iter().any(|n| n == name);
        let choices: [&[&str]; 4] =
            [&["tokenizer.json"], &["vocab.json", "merges.txt"], &["tokenizer.model"], &["vocab.txt"]];
        let found = choices.into_iter().find(|choice| choice.iter().all(|name| has(name)));
        let list = || names.iter().find(|name| name.ends_with(".tiktoken")).cloned();
        match found {
            Some(choice) => choice.iter().map(|&name| name.to_owned()).collect(),
            None if has("tekken.json") => vec!["tekken.json".to_owned()],
            None if PIECES.iter().any(|name| has(name)) => {
                PIECES.iter().filter(|name| has(name)).take(1).map(|name| (*name).to_owned()).collect()
            }
            None => list().into_iter().collect(),
        }
    }

    /// Reads files of the names that are known, with their bytes.
    ///
    /// # Errors
    /// If they are not what they must be.
    pub fn read(files: &[String], texts: &[Vec<u8>]) -> Result<Self> {
        let raw = match (files.first().map(String::as_str), texts) {
            (Some("tokenizer.json"), [text]) => json::parse(text),
            (Some("vocab.json"), [vocab, merges]) => text::vocab_and_merges(vocab, merges),
            (Some("tekken.json"), [text]) => tiktoken::tekken(text),
            (Some(name), [text]) if name.ends_with(".tiktoken") => tiktoken::list(text),
            (Some("tokenizer.model"), [bytes]) if tiktoken::is_list(bytes) => tiktoken::list(bytes),
            (Some(name), [bytes]) if name == "tokenizer.model" || PIECES.contains(&name) => pieces::parse(bytes),
            (Some("vocab.txt"), [text]) => text::vocab(text),
            _ => {
                return Err(Error::input(text!("error-checkpoint/tokenizer/no-tokenizer-json-vocab")));
            }
        };
        let file = files.first().cloned().unwrap_or_default();
        Self::canonical(raw.context(|| file.clone())?, &file)
    }

    fn canonical(raw: Raw, file: &str) -> Result<Self> {
        let kind =
            raw.kind.ok_or_else(|| Error::input(text!("error-checkpoint/tokenizer/kind-tokenizer-not-known", file)))?;
        let scheme = canonical::Scheme::new(kind, raw.prefix.as_deref(), raw.byte_fallback);
        let mut notes = Vec::new();
        let mut note = |count: usize, what: &str| {
            if count > 0 {
                notes.push(format!("{count} {what}"));
            }
        };
        note(raw.bad_ids, "tokens have an id that is negative or beyond any vocabulary");
        note(raw.bad_merges, "merges are not two parts");
        // A token of the list that is added by hand as well is special: no scheme cuts it.
        let mut all: Vec<(u32, bool, String)> = raw.added.into_iter().map(|(text, id)| (id, true, text)).collect();
        let added: BTreeMap<u32, usize> = all.iter().enumerate().map(|(at, (id, ..))| (*id, at)).collect();
        let again = |id: &u32, text: &String| added.get(id).is_some_and(|at| all[*at].2 == *text);
        let listed: Vec<_> = raw.tokens.into_iter().filter(|(text, id)| !again(id, text)).collect();
        all.extend(listed.into_iter().map(|(text, id)| (id, false, text)));
        all.sort();
        all.dedup();
        let count = all.len();
        if count == 0 {
            return Err(Error::input(text!("error-checkpoint/tokenizer/holds-no-token", file)));
        }
        let mut by_id: Vec<(u32, Box<[u8]>)> = Vec::with_capacity(count);
        let mut same_id = 0;
        for group in all.chunk_by(|a, b| a.0 == b.0) {
            match group {
                [(id, special, text)] => {
                    by_id.push((*id, if *special { canonical::special(text) } else { scheme.token(text) }));
                }
                _ => same_id += group.len(),
            }
        }
        note(same_id, "tokens share their id with another");
        let mut by_text: Vec<(Box<[u8]>, u32)> = by_id.into_iter().map(|(id, text)| (text, id)).collect();
        by_text.sort();
        let mut tokens = Vec::with_capacity(by_text.len());
        let mut same_text = 0;
        for group in by_text.chunk_by(|a, b| a.0 == b.0) {
            match group {
                [one] => tokens.push(one.clone()),
                _ => same_text += group.len(),
            }
        }
        note(same_text, "tokens stand for the same string as another");
        let merges = raw.merges.iter().map(|(a, b)| scheme.merge(a, b)).collect();
        Ok(Self { kind, file: file.to_owned(), tokens, merges, listed: count, notes })
    }

    /// Number of tokens the files list.
    #[must_use]
    pub fn size(&self) -> usize {
        self.listed
    }

    /// Number of merges.
    #[must_use]
    pub fn merges(&self) -> usize {
        self.merges.len()
    }
}

/// The files of a model's tokenizer, opened and not yet read.
#[derive(Default)]
pub struct TokenizerFiles {
    files: Vec<(String, Result<Box<dyn Blob>>)>,
    /// The configuration beside them, as bytes.
    config: Option<(String, Box<dyn Blob>)>,
    parsed: OnceLock<Result<Tokenizer>>,
}

impl TokenizerFiles {
    /// Opens what the folder holds. What cannot be opened is said when it is asked for.
    pub(super) fn open(store: &dyn Store, names: &[String]) -> Self {
        let files = Tokenizer::files(names).into_iter().map(|name| {
            let blob = store.open(&name);
            (name, blob)
        });
        let config = names.iter().find(|name| *name == "config.json");
        let config = config.and_then(|name| Some((name.clone(), store.open(name).ok()?)));
        Self { files: files.collect(), config, parsed: OnceLock::new() }
    }

    /// The files that can be opened, and the model's configuration: what is read of a model beside its weights. What is too long
    /// to be read is not among them.
    pub fn beside(&self) -> impl Iterator<Item = (&str, &dyn Blob)> {
        let files = self.files.iter().filter_map(|(name, blob)| Some((name.as_str(), &**blob.as_ref().ok()?)));
        let all = files.chain(self.config.iter().map(|(name, blob)| (name.as_str(), &**blob)));
        all.filter(|(_, blob)| blob.len() <= LARGEST)
    }

    /// Whether the folder holds no tokenizer in a form that is read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn tokenizer(&self) -> Result<&Tokenizer> {
        let parsed = self.parsed.get_or_init(|| {
            let mut texts = Vec::new();
            for (name, blob) in &self.files {
                let blob = blob.as_ref().map_err(again)?;
                texts.push(whole(&**blob).context(|| name.clone())?);
            }
            let names: Vec<String> = self.files.iter().map(|(name, _)| name.clone()).collect();
            Tokenizer::read(&names, &texts)
        });
        parsed.as_ref().map_err(again)
    }
}

/// An error is told as often as it is asked for.
fn again(error: &Error) -> Error {
    Error::input(error.to_string())
}

#[cfg(test)]
mod tests;
