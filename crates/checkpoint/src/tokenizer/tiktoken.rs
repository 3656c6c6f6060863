//! Byte-pair vocabularies as bytes and ranks: tiktoken's lists (`qwen.tiktoken`, Llama 3's `tokenizer.model`) and Mistral's
//! `tekken.json`.

use base64ct::{Base64, Encoding};
use serde::Deserialize;

use super::{MOST_TOKENS, Raw, TokenizerKind, canonical};
use crate::settings::read_as;
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// Whether bytes are a list of tokens and ranks: Base64, a space, a number.
pub(super) fn is_list(bytes: &[u8]) -> bool {
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let first = first.strip_suffix(b"\r").unwrap_or(first);
    let text = std::str::from_utf8(first).ok();
    text.and_then(|line| line.split_once(' ')).is_some_and(|(token, rank)| {
        !token.is_empty() && Base64::decode_vec(token).is_ok() && rank.parse::<u32>().is_ok()
    })
}

/// A line a token; the rank is its id.
pub(super) fn list(bytes: &[u8]) -> Result<Raw> {
    let mut raw = Raw { kind: Some(TokenizerKind::ByteLevelBpe), ..Raw::default() };
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        if raw.tokens.len() == MOST_TOKENS {
            return Err(Error::input(text!("error-checkpoint/text/more-tokens", most_tokens = MOST_TOKENS)));
        }
        let wrong = || Error::input(text!("error-checkpoint/tiktoken/line-not-base64-space", number = number + 1));
        let (token, rank) = std::str::from_utf8(line).ok().and_then(|l| l.split_once(' ')).ok_or_else(wrong)?;
        let token = Base64::decode_vec(token).map_err(|_| wrong())?;
        match rank.parse() {
            Ok(rank) => raw.tokens.push((canonical::written(&token), rank)),
            Err(_) => raw.bad_ids += 1,
        }
    }
    Ok(raw)
}

#[derive(Deserialize)]
struct Tekken {
    config: Config,
    vocab: Vec<Entry>,
    #[serde(default)]
    special_tokens: Option<Vec<Special>>,
}

#[derive(Deserialize)]
struct Config {
    default_vocab_size: Option<u32>,
    default_num_special_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct Entry {
    rank: u32,
    token_bytes: String,
}

#[derive(Deserialize)]
struct Special {
    rank: u32,
    token_str: String,
}

/// Special tokens come first, then as many of the list as the vocabulary has room for (`mistral_common/tokens/tekken.py`).
pub(super) fn tekken(bytes: &[u8]) -> Result<Raw> {
    let file: Tekken = read_as(bytes)?;
    if file.vocab.len() > MOST_TOKENS {
        return Err(Error::input(text!("error-checkpoint/text/more-tokens", most_tokens = MOST_TOKENS)));
    }
    let mut raw = Raw { kind: Some(TokenizerKind::ByteLevelBpe), ..Raw::default() };
    let special = file.config.default_num_special_tokens.unwrap_or(1000);
    let room = file.config.default_vocab_size.map_or(u32::MAX, |size| size.saturating_sub(special));
    raw.added.extend(file.special_tokens.into_iter().flatten().map(|token| (token.token_str, token.rank)));
    for entry in file.vocab.into_iter().filter(|entry| entry.rank < room) {
        let token = Base64::decode_vec(&entry.token_bytes);
        match (token, entry.rank.checked_add(special)) {
            (Ok(token), Some(id)) => raw.tokens.push((canonical::written(&token), id)),
            _ => raw.bad_ids += 1,
        }
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokenizer;

    #[test]
    fn a_list_and_a_tekken_of_one_vocabulary_agree() {
        let list = b"IA== 0\nYQ== 1\nIGE= 2\n4pyT 3\n".to_vec();
        let tekken = br#"{"config":{"default_vocab_size":6,"default_num_special_tokens":2},"vocab":[
            {"rank":0,"token_bytes":"IA==","token_str":" "},{"rank":1,"token_bytes":"YQ=="},{"rank":2,"token_bytes":"IGE="},
            {"rank":3,"token_bytes":"4pyT"},{"rank":4,"token_bytes":"Yg=="}],
            "special_tokens":[{"rank":0,"token_str":"<unk>"},{"rank":1,"token_str":"<s>"}]}"#
            .to_vec();
        for name in ["qwen.tiktoken", "tokenizer.model"] {
            let a = Tokenizer::read(&[name.to_owned()], std::slice::from_ref(&list)).unwrap();
            let b = Tokenizer::read(&["tekken.json".to_owned()], std::slice::from_ref(&tekken)).unwrap();
            assert_eq!((a.size(), b.size(), a.kind), (4, 6, TokenizerKind::ByteLevelBpe));
            assert_eq!(a.compare(&b).shared, 4, "the same strings, two ids further");
        }
        assert!(is_list(&list) && !is_list(b"\n\x0a\x07\n") && !is_list(b"one two"));
        let error = super::list(b"YQ== 1\n!!\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
