//! `OpenTimestamps` proofs: a tree of operations from a file's digest to attestations, executed while it is read.

use scratchproof_error::hexadecimal::hex;
use sha2::{Digest as _, Sha256};

use super::asn1::Parsed;

/// Proofs of more bytes are not read; real ones have a few thousand.
pub const LARGEST: usize = 1 << 20;
/// Messages and arguments, at most, as the protocol has it.
const LONGEST: usize = 4096;
/// Operations one after another, as the reference implementation has it.
const DEEPEST: usize = 256;
/// Operations in a whole proof, at most.
const MOST: usize = 20_000;
/// Bytes of an attestation, as the protocol has it.
const ATTESTATION: usize = 8192;

pub const MAGIC: &[u8] = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94";
const BITCOIN: [u8; 8] = [0x05, 0x88, 0x96, 0x0d, 0x73, 0xd7, 0x19, 0x01];
const PENDING: [u8; 8] = [0x83, 0xdf, 0xe3, 0x0d, 0x2e, 0xf9, 0x0c, 0x8e];

/// Who attests to what.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Attestation {
    /// A block of Bitcoin has `root` as the root of its transactions.
    Bitcoin { height: u64, root: Vec<u8> },
    /// A calendar has promised to have it put into a block.
    Pending { calendar: String },
    /// Something else.
    Unknown,
}

/// What a proof says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// SHA-256 of the file that was stamped.
    pub digest: Vec<u8>,
    /// All attestations, in the order of the file.
    pub attestations: Vec<Attestation>,
    /// Branches that could not be followed, and why.
    pub left: Vec<String>,
}

/// Whether a file says that it is a proof.
pub fn is_proof(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads and executes a proof.
///
/// # Errors
/// If it is none, damaged, or longer or deeper than the protocol allows.
pub fn read(bytes: &[u8]) -> Parsed<Proof> {
    if bytes.len() > LARGEST {
        return Err(format!("{} bytes are too many for a proof (at most {LARGEST})", bytes.len()));
    }
    let mut reader = Reader { bytes, at: 0, operations: 0, proof: Proof::default() };
    if reader.take(MAGIC.len())? != MAGIC {
        return Err("it is no OpenTimestamps proof".into());
    }
    let version = reader.number()?;
    if version != 1 {
        return Err(format!("a proof of version {version}; 1 is read"));
    }
    match reader.byte()? {
        0x08 => {}
        0x02 => return Err("it begins with a SHA-1 digest, of which collisions are known".into()),
        0x03 => return Err("it begins with a RIPEMD-160 digest; SHA-256 is read".into()),
        other => return Err(format!("it begins with the unknown hash function {other:#04x}")),
    }
    reader.proof.digest = reader.take(32)?.to_vec();
    let start = Some(reader.proof.digest.clone());
    reader.node(start)?;
    if reader.at != bytes.len() {
        return Err(format!("{} bytes follow its end", bytes.len() - reader.at));
    }
    Ok(reader.proof)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    operations: usize,
    proof: Proof,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Parsed<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("it breaks off at byte {}", self.bytes.len()))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Parsed<u8> {
        Ok(self.take(1)?[0])
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self) -> Parsed<u64> {
        let mut number = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(format!("a number of more than 63 bits at byte {}", self.at))
    }

    fn text(&mut self, longest: usize) -> Parsed<&'a [u8]> {
        let length = self.number()?;
        match usize::try_from(length).ok().filter(|length| *length <= longest) {
            Some(length) => self.take(length),
            None => Err(format!("{length} bytes at byte {} where at most {longest} may be", self.at)),
        }
    }

    /// A node and all below it, without recursion: a stack of the messages that branches are still to come for. A message
    /// that could not be computed is `None`; what follows it is read and not followed.
    fn node(&mut self, start: Option<Vec<u8>>) -> Parsed<()> {
        // With the depth. The last of a node's branches takes the node off the stack.
        let mut open: Vec<(Option<Vec<u8>>, usize)> = vec![(start, 0)];
        while let Some((message, depth)) = open.pop() {
            let mut tag = self.byte()?;
            if tag == 0xFF {
                tag = self.byte()?;
                open.push((message.clone(), depth));
            }
            if tag == 0 {
                self.attestation(message)?;
                continue;
            }
            self.operations += 1;
            if depth + 1 > DEEPEST || self.operations > MOST {
                return Err(format!("more than {DEEPEST} operations one after another, or {MOST} in all"));
            }
            let result = self.operation(tag, message)?;
            open.push((result, depth + 1));
            if open.len() > DEEPEST + 1 {
                return Err(format!("more than {DEEPEST} branches are open at once"));
            }
        }
        Ok(())
    }

    fn operation(&mut self, tag: u8, message: Option<Vec<u8>>) -> Parsed<Option<Vec<u8>>> {
        let argument = if matches!(tag, 0xF0 | 0xF1) { self.text(LONGEST)? } else { &[] };
        if matches!(tag, 0xF0 | 0xF1) && argument.is_empty() {
            return Err(format!("an operation without its argument at byte {}", self.at));
        }
        if !matches!(tag, 0x02 | 0x03 | 0x08 | 0x67 | 0xF0..=0xF3) {
            // How long an unknown operation is cannot be known either.
            return Err(format!("the unknown operation {tag:#04x} at byte {}", self.at));
        }
        let Some(message) = message else { return Ok(None) };
        let other = |name: pgp::crypto::hash::HashAlgorithm| name.digest(&message).map_err(|error| error.to_string());
        let result = match tag {
            0x08 => Sha256::digest(&message).to_vec(),
            // Inside a proof a digest that collides shows the same: both messages were there before it.
            0x02 => other(pgp::crypto::hash::HashAlgorithm::Sha1)?,
            0x03 => other(pgp::crypto::hash::HashAlgorithm::Ripemd160)?,
            0xF0 => [&message[..], argument].concat(),
            0xF1 => [argument, &message[..]].concat(),
            0xF2 => message.into_iter().rev().collect(),
            0xF3 => hex(&message).into_bytes(),
            _ => {
                self.proof.left.push("a branch goes through Keccak-256, which is not computed here".into());
                return Ok(None);
            }
        };
        if result.len() > LONGEST {
            return Err(format!("a message of {} bytes, where at most {LONGEST} may be", result.len()));
        }
        Ok(Some(result))
    }

    fn attestation(&mut self, message: Option<Vec<u8>>) -> Parsed<()> {
        let tag: [u8; 8] = self.take(8)?.try_into().map_err(|_| "it breaks off")?;
        let body = self.text(ATTESTATION)?;
        let mut inner = Reader { bytes: body, at: 0, operations: 0, proof: Proof::default() };
        let attestation = match tag {
            BITCOIN => {
                let height = inner.number()?;
                let Some(root) = message else { return Ok(()) };
                Attestation::Bitcoin { height, root }
            }
            PENDING => {
                let address = inner.text(1000)?;
                let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"-._/:".contains(b);
                if !address.iter().all(allowed) {
                    return Err("the address of a calendar holds other characters than addresses do".into());
                }
                Attestation::Pending { calendar: String::from_utf8_lossy(address).into_owned() }
            }
            _ => Attestation::Unknown,
        };
        self.proof.attestations.push(attestation);
        Ok(())
    }
}
