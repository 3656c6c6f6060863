//! CRC-32C (Castagnoli), as `TFRecord` writes it.

/// Remainders of every byte, four bytes deep.
const TABLES: [[u32; 256]; 4] = tables();

#[allow(clippy::cast_possible_truncation)] // an index below 256
const fn tables() -> [[u32; 256]; 4] {
    let mut tables = [[0; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut rest = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 1 == 1 { rest >> 1 ^ 0x82F6_3B78 } else { rest >> 1 };
            bit += 1;
        }
        tables[0][byte] = rest;
        byte += 1;
    }
    let mut depth = 1;
    while depth < 4 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[depth - 1][byte];
            tables[depth][byte] = before >> 8 ^ tables[0][(before & 0xFF) as usize];
            byte += 1;
        }
        depth += 1;
    }
    tables
}

fn plain(bytes: &[u8]) -> u32 {
    let (fours, rest) = bytes.as_chunks::<4>();
    let at = |depth: usize, byte: u32| TABLES[depth][(byte & 0xFF) as usize];
    let crc = fours.iter().fold(u32::MAX, |crc, four| {
        let word = crc ^ u32::from_le_bytes(*four);
        at(3, word) ^ at(2, word >> 8) ^ at(1, word >> 16) ^ at(0, word >> 24)
    });
    !rest.iter().fold(crc, |crc, byte| crc >> 8 ^ at(0, crc ^ u32::from(*byte)))
}

/// The checksum as it is stored: rotated, with a constant added, so that sums over sums stay sound.
pub(super) fn masked(bytes: &[u8]) -> u32 {
    plain(bytes).rotate_right(15).wrapping_add(0xA282_EAD8)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reference_values_come_out() {
        // RFC 3720, B.4.
        let rising: Vec<u8> = (0..32).collect();
        for (bytes, sum) in [
            (&[0_u8; 32][..], 0x8A91_36AA),
            (&[0xFF; 32], 0x62A8_AB43),
            (&rising, 0x46DD_794E),
            (b"123456789", 0xE306_9283),
            (b"", 0),
        ] {
            assert_eq!(super::plain(bytes), sum);
        }
    }
}
