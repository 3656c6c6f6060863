//! Encrypted private keys: PBES2 of RFC 8018, as `openssl pkcs8 -topk8` and Python's `cryptography` write it.

use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt, KeyInit};
use scratchproof_record::witness::asn1::{Parsed, Tag, only};
use sha2::{Sha256, Sha384, Sha512};

const PBES2: &str = "1.2.840.113549.1.5.13";
const PBKDF2: &str = "1.2.840.113549.1.5.12";
const BLOCK: usize = 16;

/// More rounds than anybody uses; a file must not keep a processor busy for hours.
const MOST_ROUNDS: u64 = 20_000_000;

/// The PKCS#8 structure under the password.
///
/// # Errors
/// What is wrong, in words; a wrong password looks like a damaged file.
pub(super) fn decrypt(body: &[u8], password: &[u8]) -> Parsed<Vec<u8>> {
    let mut fields = only(body, "encrypted key")?.sequence("encrypted key")?;
    let mut algorithm = fields.next("encryption")?.sequence("encryption")?;
    let data = fields.next("encrypted key")?.octets("encrypted key")?;
    let scheme = algorithm.next("encryption")?.oid("encryption")?;
    if scheme != PBES2 {
        return Err(format!(
            "it is encrypted by {scheme}, which is not read here: `openssl pkcs8 -topk8 -v2 aes-256-cbc` writes what is"
        ));
    }
    let mut parts = algorithm.next("encryption")?.sequence("encryption")?;
    let mut derivation = parts.next("key derivation")?.sequence("key derivation")?;
    let mut cipher = parts.next("cipher")?.sequence("cipher")?;
    let name = derivation.next("key derivation")?.oid("key derivation")?;
    if name != PBKDF2 {
        return Err(format!("its key is derived by {name}, which is not read here (PBKDF2 is)"));
    }
    let mut derivation = derivation.next("key derivation")?.sequence("key derivation")?;
    let salt = derivation.next("salt")?.octets("salt")?;
    let rounds = derivation.next("rounds")?.number("rounds")?;
    let _length = derivation.next_if(Tag::Integer);
    let function = match derivation.rest().first() {
        Some(function) => function.sequence("hash function")?.next("hash function")?.oid("hash function")?,
        None => return Err("its key is derived with SHA-1, which is not read here".into()),
    };
    let length = match cipher.next("cipher")?.oid("cipher")?.as_str() {
        "2.16.840.1.101.3.4.1.2" => 16,
        "2.16.840.1.101.3.4.1.42" => 32,
        other => return Err(format!("its cipher {other} is not read here (AES-128-CBC and AES-256-CBC are)")),
    };
    let start = cipher.next("initial vector")?.octets("initial vector")?;
    if start.len() != BLOCK || data.is_empty() || !data.len().is_multiple_of(BLOCK) {
        return Err("the encrypted key is not whole blocks".into());
    }
    let rounds = u32::try_from(rounds).ok().filter(|rounds| (1..=MOST_ROUNDS).contains(&u64::from(*rounds)));
    let rounds = rounds.ok_or("the rounds of its key derivation are out of range")?;
    let mut key = vec![0; length];
    match function.as_str() {
        "1.2.840.113549.2.9" => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, rounds, &mut key),
        "1.2.840.113549.2.10" => pbkdf2::pbkdf2_hmac::<Sha384>(password, salt, rounds, &mut key),
        "1.2.840.113549.2.11" => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, rounds, &mut key),
        other => return Err(format!("its key is derived with {other}, which is not read here (SHA-2 is)")),
    }
    let wrong = || "the password is wrong, or the file is damaged".to_owned();
    let plain = match length {
        16 => cbc(&aes::Aes128::new_from_slice(&key).map_err(|_| wrong())?, start, data),
        _ => cbc(&aes::Aes256::new_from_slice(&key).map_err(|_| wrong())?, start, data),
    };
    unpad(plain).ok_or_else(wrong)
}

/// Cipher block chaining (NIST SP 800-38A 6.2).
fn cbc<C: BlockDecrypt + aes::cipher::BlockSizeUser<BlockSize = aes::cipher::consts::U16>>(
    cipher: &C,
    start: &[u8],
    data: &[u8],
) -> Vec<u8> {
    let mut before = start;
    let mut plain = Vec::with_capacity(data.len());
    for block in data.chunks_exact(BLOCK) {
        let mut own = GenericArray::clone_from_slice(block);
        cipher.decrypt_block(&mut own);
        plain.extend(own.iter().zip(before).map(|(a, b)| a ^ b));
        before = block;
    }
    plain
}

/// Without the padding of RFC 8018 6.1.1.
fn unpad(mut plain: Vec<u8>) -> Option<Vec<u8>> {
    let count = usize::from(*plain.last()?);
    let from = plain.len().checked_sub(count).filter(|_| (1..=BLOCK).contains(&count))?;
    let whole = plain[from..].iter().all(|byte| usize::from(*byte) == count);
    plain.truncate(from);
    whole.then_some(plain)
}
