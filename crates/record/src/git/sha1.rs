//! Git's own checksum.

use std::io::Read;

/// SHA-1 (FIPS 180-4) of all that can be read. Git's own checksum; nothing here relies on it against forgery.
pub fn sha1(input: &mut impl Read) -> std::io::Result<[u8; 20]> {
    let mut state: [u32; 5] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];
    let mut length: u64 = 0;
    let mut ended = false;
    loop {
        let mut block = [0; 64];
        let mut filled = 0;
        while filled < 64 {
            match input.read(&mut block[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        length += filled as u64 * 8;
        if filled < 64 {
            if !ended {
                block[filled] = 0x80;
            }
            // The length wants eight bytes; without room for them they go into a block of their own.
            if ended || filled < 56 {
                block[56..].copy_from_slice(&length.to_be_bytes());
                compress(&mut state, &block);
                break;
            }
            ended = true;
        }
        compress(&mut state, &block);
    }
    let mut sum = [0; 20];
    for (bytes, word) in sum.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    Ok(sum)
}

fn compress(state: &mut [u32; 5], block: &[u8; 64]) {
    let mut words = [0u32; 80];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    for i in 16..80 {
        words[i] = (words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16]).rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (i, word) in words.into_iter().enumerate() {
        let (mixed, constant) = match i / 20 {
            0 => ((b & c) | (!b & d), 0x5A82_7999),
            1 => (b ^ c ^ d, 0x6ED9_EBA1),
            2 => ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC),
            _ => (b ^ c ^ d, 0xCA62_C1D6_u32),
        };
        let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant).wrapping_add(word);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    for (old, new) in state.iter_mut().zip([a, b, c, d, e]) {
        *old = old.wrapping_add(new);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::sha1;

    #[test]
    fn sha1_is_that_of_the_standard() {
        let hex =
            |text: &[u8]| sha1(&mut &text[..]).unwrap().iter().fold(String::new(), |hex, b| format!("{hex}{b:02x}"));
        assert_eq!(hex(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        let two = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(two), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        assert_eq!(hex(&vec![b'a'; 1_000_000]), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    }
}
