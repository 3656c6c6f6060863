//! How much memory JSON takes when it is read. Of two bytes (`0,`) a value of 32 is made, of seven (`"a":1,`) a member of more
//! than a hundred: a limit on the length of a file is none on what is made of it.

use scratchproof_texts::text;

use super::{Error, Result};

/// The most memory that values made of one document may take, as [`fits`] counts them.
pub const MOST: u64 = 512 << 20;

/// Bytes of a value: 32, twice while the list that it stands in grows.
const VALUE: u64 = 64;

/// Bytes of a member of an object beside its value: its name, that on the heap, its share of a node.
const MEMBER: u64 = 128;

/// Refuses JSON that would take more than [`MOST`] bytes. What is no JSON is for the reader to refuse.
///
/// # Errors
/// One sentence with the limit.
pub fn fits(bytes: &[u8]) -> Result<()> {
    let most = MOST >> 20;
    // What takes less whatever stands in it need not be looked at.
    let short = bytes.len() as u64 * (VALUE + MEMBER) <= MOST;
    if !short && size(bytes) > MOST { Err(Error::input(text!("error/json/large", most))) } else { Ok(()) }
}

/// Bytes that values made of this take, or more.
#[must_use]
pub fn size(bytes: &[u8]) -> u64 {
    let (mut all, mut at) = (0_u64, 0);
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => {
                let from = at;
                at += string(&bytes[at..]);
                all += (at - from) as u64;
            }
            b',' | b'[' | b'{' => all += VALUE,
            b':' => all += MEMBER,
            _ => {}
        }
    }
    all
}

/// The length of a string from behind its first quote, with the last one.
fn string(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        at += next + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        // What is escaped ends nothing.
        at = (at + 1).min(bytes.len());
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::{MEMBER, MOST, VALUE, fits, string};

    #[test]
    fn many_small_values_are_refused_and_long_texts_are_not() {
        let zeros = |count: u64| format!("[{}0]", "0,".repeat(usize::try_from(count).unwrap()));
        let most = MOST / VALUE;
        assert!(fits(zeros(most - 2).as_bytes()).is_ok());
        let why = fits(zeros(most + 1).as_bytes()).unwrap_err().to_string();
        assert!(why.contains("512 MiB"), "{why}");
        let members = "\"a\":{},".repeat(usize::try_from(MOST / (2 * VALUE + MEMBER)).unwrap() + 1);
        assert!(fits(format!("{{{members}\"b\":1}}").as_bytes()).is_err());
        // What stands in a text is no value, an escaped quote does not end it, and one that never ends is the reader's to refuse.
        let text = ",[{:\\\"".repeat(8 << 20);
        assert!(fits(format!("[\"{text}\"]").as_bytes()).is_ok());
        assert!(fits(format!("[\"{text}\\").as_bytes()).is_ok());
        assert_eq!((string(b"a\\\"b\"c"), string(b"\\"), string(b"")), (5, 1, 0));
    }
}
