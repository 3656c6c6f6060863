//! The older files: `vocab.json` with `merges.txt`, and `vocab.txt`.

use super::{MOST_MERGES, MOST_TOKENS, Raw, TokenizerKind, canonical, json};
use scratchproof_error::{Context, Error, Result};
use scratchproof_texts::text;

/// GPT-2's pair of files. Byte-level where every token is written in that alphabet.
pub(super) fn vocab_and_merges(vocab: &[u8], merges: &[u8]) -> Result<Raw> {
    let mut raw = json::vocabulary(vocab)?;
    for line in lines(merges).context(|| "merges.txt".to_owned())? {
        if line.starts_with("#version") || line.is_empty() {
            continue;
        }
        if raw.merges.len() + raw.bad_merges == MOST_MERGES {
            return Err(Error::input(text!("error-checkpoint/text/merges-txt-more-merges", most_merges = MOST_MERGES)));
        }
        match json::parts(line) {
            Some(pair) => raw.merges.push(pair),
            None => raw.bad_merges += 1,
        }
    }
    let alphabet = raw.tokens.iter().all(|(text, _)| canonical::bytes(text).is_some());
    raw.kind = Some(if alphabet { TokenizerKind::ByteLevelBpe } else { TokenizerKind::Bpe });
    Ok(raw)
}

/// BERT's list: a token a line, the id is the line.
pub(super) fn vocab(text: &[u8]) -> Result<Raw> {
    let mut raw = Raw { kind: Some(TokenizerKind::WordPiece), ..Raw::default() };
    for (id, line) in (0..).zip(lines(text)?) {
        if raw.tokens.len() == MOST_TOKENS {
            return Err(Error::input(text!("error-checkpoint/text/more-tokens", most_tokens = MOST_TOKENS)));
        }
        if line.is_empty() {
            continue;
        }
        let special = line.len() > 2 && line.starts_with('[') && line.ends_with(']');
        if special { &mut raw.added } else { &mut raw.tokens }.push((line.to_owned(), id));
    }
    Ok(raw)
}

fn lines(text: &[u8]) -> Result<std::str::Lines<'_>> {
    let text = std::str::from_utf8(text);
    text.map(str::lines)
        .map_err(|error| Error::input(text!("error-checkpoint/text/not-utf-byte", byte = error.valid_up_to())))
}
