use super::{BLOCK, FILE_HEADER, Reader, Tail};

/// Writes a log as the SDKs do.
pub(crate) fn write(records: &[Vec<u8>]) -> Vec<u8> {
    let mut out = FILE_HEADER.to_vec();
    for record in records {
        let (mut rest, mut first) = (&record[..], true);
        loop {
            let left = BLOCK - out.len() % BLOCK;
            if left < 7 {
                out.resize(out.len() + left, 0);
                continue;
            }
            let take = rest.len().min(left - 7);
            let kind = match (first, take == rest.len()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            chunk(&mut out, kind, &rest[..take]);
            rest = &rest[take..];
            first = false;
            if rest.is_empty() && (kind == 1 || kind == 4) {
                break;
            }
        }
    }
    out
}

fn chunk(out: &mut Vec<u8>, kind: u8, data: &[u8]) {
    let sum = crc32fast::hash(&[&[kind], data].concat());
    out.extend(sum.to_le_bytes());
    out.extend(u16::try_from(data.len()).unwrap().to_le_bytes());
    out.push(kind);
    out.extend(data);
}

struct Seen {
    records: Vec<Vec<u8>>,
    damage: Vec<(u64, String)>,
    tail: Tail,
}

fn read(bytes: &[u8]) -> Seen {
    let mut reader = Reader::new(bytes).unwrap();
    let mut records = Vec::new();
    while let Some((_, record)) = reader.next_record().unwrap() {
        records.push(record.to_vec());
    }
    let damage = reader.damage().iter().map(|d| (d.offset, d.what.clone())).collect();
    Seen { records, damage, tail: reader.tail() }
}

fn records(lengths: &[usize]) -> Vec<Vec<u8>> {
    let byte = |i: usize, j: usize| u8::try_from((i * 31 + j * 7 + 1) % 251).unwrap();
    lengths.iter().enumerate().map(|(i, &n)| (0..n).map(|j| byte(i, j)).collect()).collect()
}

#[test]
fn records_come_back_whatever_their_length() {
    // Around the ends of blocks: a head that just fits, one that does not, no data in a first chunk.
    for spare in 0..20 {
        let records = records(&[BLOCK - 7 - 7 - spare, 5, 100_000, 0, 3 * BLOCK, 1]);
        let seen = read(&write(&records));
        assert!(seen.records == records && seen.damage.is_empty() && seen.tail == Tail::Complete, "{spare}");
    }
}

#[test]
fn a_log_cut_anywhere_gives_what_was_whole_and_no_damage() {
    let records = records(&[40, 0, 300, 17]);
    let bytes = write(&records);
    for length in 7..bytes.len() {
        let seen = read(&bytes[..length]);
        assert!(records.starts_with(&seen.records) && seen.damage.is_empty(), "{length}");
        let whole = write(&records[..seen.records.len()]).len() == length;
        assert_eq!(seen.tail == Tail::Complete, whole, "{length}");
    }
    for length in 0..7 {
        assert!(Reader::new(&bytes[..length]).is_err_and(|error| error.is_input()), "{length}");
    }
}

#[test]
fn a_killed_run_ends_on_a_block_without_its_last_part() {
    let records = records(&[100, 2 * BLOCK]);
    let bytes = write(&records);
    for blocks in [1, 2] {
        let seen = read(&bytes[..blocks * BLOCK]);
        assert_eq!((seen.records.len(), seen.damage.len(), seen.tail), (1, 0, Tail::Killed));
    }
}

#[test]
fn every_flipped_bit_is_seen_or_harmless() {
    let records = records(&[30, 80, 0, 64]);
    let bytes = write(&records);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut spoiled = bytes.clone();
            spoiled[at] ^= 1 << bit;
            if at < 7 {
                assert!(Reader::new(&spoiled[..]).is_err());
                continue;
            }
            let seen = read(&spoiled);
            assert!(!seen.damage.is_empty() || seen.tail != Tail::Complete || seen.records == records, "{at} {bit}");
            assert!(seen.records.iter().all(|record| records.contains(record)), "{at} {bit}");
        }
    }
}

#[test]
fn damage_costs_one_block_and_has_its_place() {
    let records = records(&[BLOCK / 2, BLOCK, BLOCK / 4, BLOCK, 50]);
    let mut bytes = write(&records);
    bytes[7 + 7 + BLOCK / 2 + 9] ^= 1; // in the second record's first part
    let seen = read(&bytes);
    assert_eq!(seen.records, [&records[..1], &records[2..]].concat());
    assert_eq!(seen.damage, [(7 + 7 + BLOCK as u64 / 2, "a chunk whose checksum is wrong".to_owned())]);
    assert_eq!(seen.tail, Tail::Complete);
}

#[test]
fn parts_out_of_place_are_damage() {
    let head = FILE_HEADER.to_vec();
    for (kinds, whole, places) in [
        (&[3u8, 4, 1][..], 1, 1),
        (&[4, 1, 3, 1], 2, 2),
        (&[2, 1], 1, 1),
        (&[2, 2, 4], 1, 1),
        (&[9, 1], 1, 1),
        (&[1, 0, 1], 2, 1),
    ] {
        let mut bytes = head.clone();
        for kind in kinds {
            chunk(&mut bytes, *kind, b"data");
        }
        let seen = read(&bytes);
        assert_eq!((seen.records.len(), seen.damage.len(), seen.tail), (whole, places, Tail::Complete), "{kinds:?}");
    }
}

#[test]
fn zeros_are_an_end_or_damage() {
    let mut bytes = write(&records(&[40]));
    bytes.resize(BLOCK + 90, 0);
    let seen = read(&bytes);
    assert_eq!((seen.records.len(), seen.damage.len(), seen.tail), (1, 0, Tail::Truncated));
    bytes.resize(2 * BLOCK, 0);
    chunk(&mut bytes, 1, b"later");
    let seen = read(&bytes);
    assert_eq!((seen.records.len(), seen.tail), (2, Tail::Complete));
    assert_eq!(seen.damage, [(54, "zeros where records should be".to_owned())]);
}

#[test]
fn a_record_beyond_the_limit_is_not_gathered() {
    /// One first part and endless middle ones.
    struct Endless(u64);
    impl std::io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let mut block = if self.0 == 0 { FILE_HEADER.to_vec() } else { Vec::new() };
            if self.0 > 9000 {
                return Ok(0);
            }
            let data = vec![7; BLOCK - 7 - block.len()];
            chunk(&mut block, if self.0 == 0 { 2 } else { 3 }, &data);
            self.0 += 1;
            buffer.copy_from_slice(&block);
            Ok(BLOCK)
        }
    }
    let mut reader = Reader::new(Endless(0)).unwrap();
    assert!(reader.next_record().unwrap().is_none());
    assert_eq!((reader.damaged(), reader.damage()[0].offset), (1, 7));
}
