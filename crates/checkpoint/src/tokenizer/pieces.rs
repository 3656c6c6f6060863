//! `tokenizer.model` of `SentencePiece`: the pieces of its protobuf message, and which algorithm they are for.
//!
//! Read piece by piece, so that a file of a hundred million empty pieces costs no memory. Tags after the published
//! `sentencepiece_model.proto`.

use prost::Message;

use super::{MOST_TOKENS, Raw, TokenizerKind};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

#[derive(Clone, PartialEq, prost::Message)]
struct Piece {
    #[prost(string, tag = "1")]
    text: String,
    /// Control pieces are 3, those of the user 4, bytes 6, unused ones 5.
    #[prost(int32, tag = "3")]
    kind: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Trainer {
    /// Unigram 1 (the default), BPE 2, words 3, characters 4.
    #[prost(int32, optional, tag = "3")]
    model: Option<i32>,
}

/// Field numbers of the outer message.
const PIECE: u64 = 1;
const TRAINER: u64 = 2;

/// Reads the pieces; the id of a piece is its place.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Raw> {
    let mut raw = Raw { byte_fallback: true, ..Raw::default() };
    let mut kind = TokenizerKind::Unigram;
    let mut next = 0_u32;
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        match key & 7 {
            0 => {
                varint(&mut bytes)?;
            }
            1 => skip(&mut bytes, 8)?,
            5 => skip(&mut bytes, 4)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).unwrap_or(usize::MAX);
                let body = bytes.get(..length).ok_or_else(cut)?;
                bytes = &bytes[length..];
                let bad = |error: prost::DecodeError| {
                    Error::input(text!("error-checkpoint/pieces/not-sentencepiece-model", error = error.to_string()))
                };
                if key >> 3 == PIECE {
                    if next as usize == MOST_TOKENS {
                        return Err(Error::input(text!(
                            "error-checkpoint/pieces/more-pieces",
                            most_tokens = MOST_TOKENS
                        )));
                    }
                    let piece = Piece::decode(body).map_err(bad)?;
                    match piece.kind {
                        5 => {}
                        2..=4 => raw.added.push((piece.text, next)),
                        _ => raw.tokens.push((piece.text, next)),
                    }
                    next += 1;
                } else if key >> 3 == TRAINER {
                    kind = match Trainer::decode(body).map_err(bad)?.model {
                        Some(2) => TokenizerKind::Bpe,
                        Some(3) => TokenizerKind::WordLevel,
                        _ => TokenizerKind::Unigram,
                    };
                }
            }
            _ => return Err(Error::input(text!("error-checkpoint/pieces/not-sentencepiece-model-field"))),
        }
    }
    raw.kind = Some(kind);
    Ok(raw)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or_else(cut)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Error::input(text!("error-checkpoint/pieces/not-sentencepiece-model-number")))
}

fn skip(bytes: &mut &[u8], length: usize) -> Result<()> {
    *bytes = bytes.get(length..).ok_or_else(cut)?;
    Ok(())
}

fn cut() -> Error {
    Error::input(text!("error-checkpoint/pieces/not-sentencepiece-model-ends"))
}
