use std::path::Path;

use serde::Deserialize;

use super::canonical::bytes;
use super::*;
use scratchproof_kernel::sha256::sha256;
use scratchproof_source::MemoryStore;

fn parse(text: &str) -> Result<Tokenizer> {
    Tokenizer::read(&["tokenizer.json".into()], &[text.as_bytes().to_vec()])
}

fn file(path: &str) -> Tokenizer {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path);
    Tokenizer::read(&["tokenizer.json".into()], &[std::fs::read(path).unwrap()]).unwrap()
}

/// What the `tokenizers` and transformers packages for Python say of the files.
#[derive(Deserialize)]
struct Expected {
    files: BTreeMap<String, File>,
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct File {
    size: usize,
    merges: usize,
    usable: usize,
    /// Of the lines `id tag bytes`, by id.
    sha256: String,
}

#[derive(Deserialize)]
struct Pair {
    a: String,
    b: String,
    shared: usize,
    shared_merges: usize,
    spearman: Option<f64>,
    same_id: usize,
}

fn expected() -> Expected {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("tests/data/tokenizers/expected.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

#[test]
fn every_token_of_every_scheme_is_as_the_python_packages_say() {
    for (path, expected) in expected().files {
        let tokenizer = file(&path);
        let mut tokens = tokenizer.tokens.clone();
        tokens.sort_by_key(|(_, id)| *id);
        let lines: String = tokens
            .iter()
            .fold(String::new(), |all, (text, id)| all + &format!("{id} {} {}\n", text[0], hex(&text[1..])));
        assert_eq!(
            (tokenizer.size(), tokenizer.merges(), tokens.len(), hex(&sha256(lines.as_bytes()))),
            (expected.size, expected.merges, expected.usable, expected.sha256),
            "{path}: {:?} {:?}",
            tokenizer.kind,
            tokenizer.notes
        );
    }
}

#[test]
fn what_two_tokenizers_share_is_as_the_python_packages_say() {
    for pair in expected().pairs {
        let (a, b) = (file(&pair.a), file(&pair.b));
        let found = a.compare(&b);
        let counts = (found.shared, found.shared_merges, found.same_id);
        assert_eq!(counts, (pair.shared, pair.shared_merges, pair.same_id), "{} {}", pair.a, pair.b);
        match (found.merge_spearman, pair.spearman) {
            (Some(found), Some(expected)) => assert!((found - expected).abs() < 1e-12),
            (found, expected) => assert_eq!(found, expected),
        }
        let map = a.row_map(&b, a.size(), b.size());
        assert_eq!(map.iter().flatten().count(), found.shared);
        let back = b.row_map(&a, b.size(), a.size());
        assert!(map.iter().zip(0..).all(|(to, from)| to.is_none_or(|to| back[to as usize] == Some(from))));
    }
}

#[test]
fn the_alphabet_of_bytes_is_gpt_2s() {
    // As bytes_to_unicode() makes it: printable bytes first, then the rest from U+0100 on.
    let printable = |b: u32| (0x21..=0x7E).contains(&b) || (0xA1..=0xAC).contains(&b) || (0xAE..=0xFF).contains(&b);
    let mut next = 0x100;
    for byte in 0..256 {
        let code = if printable(byte) { byte } else { next };
        next += u32::from(!printable(byte));
        let written = char::from_u32(code).unwrap().to_string();
        assert_eq!(bytes(&written), Some(vec![u8::try_from(byte).unwrap()]), "{byte}");
    }
    assert_eq!((next, bytes("\u{144}"), bytes(" "), bytes("\u{ad}")), (0x144, None, None, None));
}

#[test]
fn one_word_meets_itself_in_every_scheme() {
    let model = |rest: &str| parse(&format!("{{{rest}}}")).unwrap();
    let byte_level = model(
        r#""pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"}]},"model":{"type":"BPE","vocab":{"Ġthe":0,"ing":1,"Ã":2},"merges":[["i","ng"],"Ġt he"]}"#,
    );
    let metaspace = model(r#""model":{"type":"Unigram","vocab":[["<unk>",0],["▁the",-1.5],["ing",-2]]}"#);
    let word_piece = model(r###""model":{"type":"WordPiece","vocab":{"[UNK]":0,"##ing":1,"the":2}}"###);
    for (a, b) in [(&byte_level, &metaspace), (&byte_level, &word_piece), (&metaspace, &word_piece)] {
        assert_eq!(a.compare(b).shared, 2);
    }
    assert_eq!(byte_level.row_map(&metaspace, 4, 3), [Some(1), Some(2), None, None]);
    assert_eq!(byte_level.row_map(&metaspace, 1, 1), [None]);
    let fallback = model(r#""model":{"type":"BPE","byte_fallback":true,"vocab":{"<0xC3>":7,"Ã":8},"merges":[]}"#);
    assert_eq!(byte_level.row_map(&fallback, 3, 9), [None, None, Some(7)]);
}

#[test]
fn ids_are_compared_by_shift_prefix_and_first_256() {
    let words = |from: usize, skip: usize| {
        let vocab: Vec<String> =
            (0..400).map(|i| format!("\"w{i}\":{}", if i < skip { i } else { i + from })).collect();
        parse(&format!("{{\"model\":{{\"type\":\"WordLevel\",\"vocab\":{{{}}}}}}}", vocab.join(","))).unwrap()
    };
    let found = words(0, 0).compare(&words(5, 100));
    assert_eq!((found.shared, found.same_id, found.shift), (400, 100, Some((5, 300))));
    assert_eq!((found.first_256, found.prefix), (100, 100));
}

#[test]
fn older_files_are_read_and_their_absence_is_said() {
    let vocab = r#"{"Ġlow":0,"er":1,"<0x0A>":2}"#;
    let merges = "#version: 0.2\ne r\nĠl ow\nbroken\n";
    let old = Tokenizer::read(&["vocab.json".into(), "merges.txt".into()], &[vocab.into(), merges.into()]).unwrap();
    assert_eq!((old.kind, old.size(), old.merges()), (TokenizerKind::ByteLevelBpe, 3, 2));
    assert_eq!(old.notes, ["1 merges are not two parts"]);
    let bert = Tokenizer::read(&["vocab.txt".into()], &["[PAD]\nlow\n##er\n".into()]).unwrap();
    assert_eq!((bert.kind, bert.compare(&old).shared), (TokenizerKind::WordPiece, 2));
    let none = Tokenizer::read(&[], &[]).unwrap_err();
    assert!(none.to_string().contains("no tokenizer.json"), "{none}");
    let store = MemoryStore::new().with("tokenizer.json", "{").with("vocab.txt", "low");
    let broken = TokenizerFiles::open(&store, &store.list().unwrap());
    assert!(broken.tokenizer().unwrap_err().to_string().contains("tokenizer.json"));
}

#[test]
fn pieces_of_sentencepiece_are_read() {
    let piece = |text: &str, kind: u8| {
        let mut body = vec![0x0A, u8::try_from(text.len()).unwrap()];
        body.extend(text.as_bytes());
        body.extend([0x15, 0, 0, 0xC0, 0x7F, 0x18, kind]); // a score that is NaN
        [vec![0x0A, u8::try_from(body.len()).unwrap()], body].concat()
    };
    let mut bytes = [piece("<s>", 3), piece("<0x0A>", 6), piece("▁the", 1), piece("x", 5)].concat();
    bytes.extend([0x12, 2, 0x18, 2]);
    let read = |bytes: &[u8]| Tokenizer::read(&["tokenizer.model".into()], &[bytes.to_vec()]);
    let model = read(&bytes).unwrap();
    assert_eq!((model.kind, model.size()), (TokenizerKind::Bpe, 3));
    let other = parse(r#"{"model":{"type":"Unigram","vocab":[["▁the",0]]}}"#).unwrap();
    assert_eq!(model.row_map(&other, 4, 1), [None, None, Some(0), None]);
    for name in ["spiece.model", "sentencepiece.bpe.model"] {
        assert_eq!(Tokenizer::files(&[name.to_owned()]), [name]);
        assert_eq!(Tokenizer::read(&[name.to_owned()], &[bytes.clone()]).unwrap().size(), 3);
    }
    for end in 0..bytes.len() {
        let _ = read(&bytes[..end]);
    }
    assert!(read(&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]).is_err());
    assert!(read(&[0xFF; 30]).is_err());
}

#[test]
fn hostile_files_end_in_an_error_or_a_note() {
    let deep = format!("{{\"decoder\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let wrong = [
        "",
        "[]",
        "{}",
        "null",
        r#"{"model":{}}"#,
        r#"{"model":{"type":"BPE","vocab":{},"merges":[]}}"#,
        r#"{"model":{"type":"Magic","vocab":{"a":0}}}"#,
        r#"{"model":{"vocab":{"a":"0"}}}"#,
        r#"{"model":{"vocab":{"a":0.5}}}"#,
        r#"{"model":{"vocab":[["a",NaN]]}}"#,
        r#"{"model":{"vocab":[["a",1e999]]}}"#,
        r#"{"model":{"vocab":[["a"]]}}"#,
        r#"{"model":{"vocab":{"a":0}},"model":{"vocab":{"a":0}}}"#,
        r#"{"model":{"vocab":{"a":0},"merges":{"a":"b"}}}"#,
        r#"{"model":{"vocab":{"a":0}},"added_tokens":[3]}"#,
        r#"{"model":{"vocab":{"a":0}}} trailing"#,
        &deep,
    ];
    for text in wrong {
        assert!(parse(text).is_err_and(|error| error.is_input()), "{}", &text[..text.len().min(60)]);
    }
    let odd = r#"{"added_tokens":[{"id":1,"content":"<s>"},{"id":-3,"content":"x"}],"model":{"type":"BPE",
        "vocab":{"a":0,"b":0,"<s>":1,"c":1000000000000,"d":-1,"e":2,"e":3},"merges":["a","a b c",["a"],["a","b","c"],["a","b"]]}}"#;
    let odd = parse(odd).unwrap();
    assert_eq!((odd.tokens.len(), odd.merges()), (1, 1));
    assert_eq!(
        odd.notes,
        [
            "3 tokens have an id that is negative or beyond any vocabulary",
            "4 merges are not two parts",
            "2 tokens share their id with another",
            "2 tokens stand for the same string as another"
        ]
    );
}
