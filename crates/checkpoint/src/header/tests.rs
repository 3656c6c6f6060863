use std::fmt::Write;

use super::*;
use scratchproof_source::MemoryFile;

/// A file of a header and data, with the right length before them.
fn file(json: impl AsRef<[u8]>, data: usize) -> MemoryFile {
    let json = json.as_ref();
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json);
    bytes.resize(bytes.len() + data, 0);
    MemoryFile::new("f.safetensors", bytes)
}

fn refused(json: impl AsRef<[u8]>, data: usize) -> String {
    let error = Header::read(&file(json, data)).unwrap_err();
    assert!(error.is_input());
    let message = error.to_string();
    assert!(message.starts_with("f.safetensors: "), "{message}");
    message
}

#[track_caller]
fn says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

const ONE: &str = r#"{"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;

#[test]
fn an_honest_file_is_read() {
    let json = r#"{"__metadata__":{"format":"pt"},
        "b":{"dtype":"BF16","shape":[2,2],"data_offsets":[24,32]},
        "scalar":{"dtype":"F32","shape":[],"data_offsets":[32,36]},
        "none":{"dtype":"I64","shape":[0,7],"data_offsets":[36,36]},
        "a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}   "#;
    let header = Header::read(&file(json, 36)).unwrap();
    assert_eq!(header.metadata["format"], "pt");
    let names: Vec<_> = header.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "scalar", "none"]);
    let b = &header.tensors[1];
    assert_eq!((b.dtype, &b.shape[..], b.offset, b.bytes), (Dtype::Bf16, &[2, 2][..], 8 + json.len() as u64 + 24, 8));
    assert_eq!(header.tensors[2].shape.iter().product::<usize>(), 1);
}

#[test]
fn the_reference_implementation_agrees() {
    let json = r#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"U8","shape":[3],"data_offsets":[24,27]}}"#;
    let ours = Header::parse(json.as_bytes(), 8 + json.len() as u64 + 27).unwrap();
    let theirs: safetensors::tensor::Metadata = serde_json::from_str(json).unwrap();
    for tensor in &ours.tensors {
        let info = theirs.info(&tensor.name).unwrap();
        let start = 8 + json.len();
        let span = (usize::try_from(tensor.offset).unwrap() - start, usize::try_from(tensor.bytes).unwrap());
        assert_eq!((info.data_offsets.0, info.data_offsets.1 - info.data_offsets.0), span);
        assert_eq!(info.shape, tensor.shape);
    }
    assert!(Header::parse(b"{}", 10).unwrap().tensors.is_empty());
}

#[test]
fn files_that_are_too_short_or_something_else() {
    let read = |bytes: &[u8]| Header::read(&MemoryFile::new("f", bytes)).unwrap_err().to_string();
    says(&read(b""), &["f: ", "0 bytes", "too few"]);
    says(&read(b"\x02\0\0\0\0\0\0"), &["7 bytes"]);
    says(&read(b"\xff\xff\xff\xff\xff\xff\xff\xff{}"), &["18446744073709551615", "100000000"]);
    says(&read(b"\x64\0\0\0\0\0\0\0{}"), &["100 bytes", "only 2 follow", "cut short by 98"]);
    says(&read(b"\0\0\0\0\0\0\0\0"), &["the header is empty"]);
    says(&read(b"version https://git-lfs.github.com/spec/v1"), &["Git LFS pointer", "git lfs pull"]);
    says(&read(b"{\"metadata\": {}}"), &["JSON", "folder"]);
    says(&read(b"PK\x03\x04aaaaaaaa"), &["PyTorch pickle"]);
}

#[test]
fn headers_that_are_not_json() {
    says(&refused("hello", 0), &["does not begin with `{`", "0x68"]);
    says(&refused(" {}", 0), &["does not begin with `{`"]);
    says(&refused(b"{\"\xff\":1}", 0), &["not UTF-8 at byte 10"]);
    says(&refused("{", 0), &["wrong at byte"]);
    says(&refused("{}x", 0), &["wrong at byte 10", "trailing"]);
    says(&refused(r#"{"w":7}"#, 0), &["\"w\"", "an object with dtype"]);
    says(&refused(r#"{"__metadata__":{"a":1}}"#, 0), &["__metadata__", "string"]);
    let deep = format!(r#"{{"w":{{"x":{}"#, "[".repeat(100_000));
    says(&refused(deep, 0), &["wrong at byte", "\"w\""]);
}

#[test]
fn keys_that_come_twice() {
    let entry = r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    says(&refused(format!(r#"{{"w":{entry},"w":{entry}}}"#), 1), &["tensor \"w\" twice"]);
    says(&refused(format!(r#"{{"w":{entry},"\u0077":{entry}}}"#), 1), &["tensor \"w\" twice"]);
    says(&refused(r#"{"__metadata__":{"a":"1","a":"2"}}"#, 0), &["\"a\" is there twice"]);
    says(&refused(r#"{"__metadata__":{},"__metadata__":{}}"#, 0), &["`__metadata__` is there twice"]);
    let twice = r#"{"w":{"dtype":"U8","shape":[1],"shape":[2],"data_offsets":[0,1]}}"#;
    says(&refused(twice, 1), &["\"w\"", "`shape` is there twice"]);
}

#[test]
fn entries_that_are_incomplete_or_of_the_wrong_kind() {
    let with = |entry: &str| refused(format!(r#"{{"w":{entry}}}"#), 4);
    says(&with(r#"{"shape":[1],"data_offsets":[0,4]}"#), &["\"w\"", "`dtype` is missing"]);
    says(&with(r#"{"dtype":"F32","data_offsets":[0,4]}"#), &["`shape` is missing"]);
    says(&with(r#"{"dtype":"F32","shape":[1]}"#), &["`data_offsets` is missing"]);
    says(&with(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}"#), &["has 3 numbers"]);
    says(
        &with(r#"{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#),
        &["\"w\"", "-1", "whole numbers from 0 in `shape`"],
    );
    says(&with(r#"{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}"#), &["whole numbers from 0"]);
    says(&with(r#"{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}"#), &["`data_offsets`"]);
    says(&with(r#"{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}"#), &["\"w\"", "whole numbers"]);
    let long = format!(r#"{{"dtype":"F32","shape":[{}1],"data_offsets":[0,4]}}"#, "1,".repeat(1000));
    says(&with(&long), &["more than 32 numbers"]);
}

#[test]
fn shapes_and_spans_that_do_not_fit() {
    let with = |shape: &str, span: &str, data: usize| {
        refused(format!(r#"{{"w":{{"dtype":"F32","shape":{shape},"data_offsets":{span}}}}}"#), data)
    };
    says(&with("[4294967296,4294967296]", "[0,0]", 0), &["\"w\"", "overflows"]);
    says(&with("[0,4294967296,4294967296]", "[0,0]", 0), &["overflows"]);
    says(&with("[2305843009213693952]", "[0,0]", 0), &["overflows"]);
    says(&with("[2,3]", "[0,20]", 20), &["[2, 3]", "needs 24 bytes", "20"]);
    says(&with("[]", "[0,8]", 8), &["needs 4 bytes"]);
    says(&with("[0]", "[0,4]", 4), &["needs 0 bytes"]);
    says(&with("[1]", "[4,0]", 4), &["ends at byte 0, before it begins at byte 4"]);
}

#[test]
fn layouts_with_holes_overlaps_and_tails() {
    let two = |a: &str, b: &str, data: usize| {
        let json = format!(
            r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":{a}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{b}}}}}"#
        );
        refused(json, data)
    };
    says(&two("[0,4]", "[2,6]", 6), &["\"b\" begins at byte 2 and overlaps tensor \"a\""]);
    says(&two("[0,4]", "[0,4]", 4), &["overlaps"]);
    says(&two("[0,4]", "[6,10]", 10), &["the 2 bytes before tensor \"b\""]);
    says(&two("[1,5]", "[5,9]", 9), &["the 1 bytes before tensor \"a\""]);
    says(&two("[0,4]", "[4,8]", 7), &["\"b\" ends at byte 8", "has 7", "cut short by at least 1"]);
    says(&two("[0,4]", "[4,8]", 11), &["the last 3 bytes"]);
    says(&refused(ONE, 23), &["cut short"]);
    says(&refused("{}", 3), &["the last 3 bytes"]);
    let far = r#"{"w":{"dtype":"XX","shape":[1],"data_offsets":[0,18446744073709551615]}}"#;
    says(&refused(far, 1), &["cut short"]);
}

#[test]
fn unknown_number_formats_are_skipped_but_their_bytes_count() {
    let json = r#"{"q":{"dtype":"F4","shape":[8],"data_offsets":[0,4]},"w":{"dtype":"F8_E4M3FN","shape":[2],"data_offsets":[4,6]}}"#;
    let header = Header::read(&file(json, 6)).unwrap();
    assert_eq!(header.skipped.len(), 1);
    assert_eq!(header.skipped[0].0, "q");
    says(&header.skipped[0].1, &["\"F4\""]);
    assert_eq!((header.tensors[0].name.as_str(), header.tensors[0].dtype), ("w", Dtype::F8E4M3));
    says(&refused(json, 7), &["the last 1 bytes"]);
}

#[test]
fn names_cannot_forge_a_message() {
    let name = format!("\\u001b[2J\\u202e{}", "x".repeat(10_000));
    let message = refused(format!(r#"{{"{name}":{{"dtype":"U8","shape":[2],"data_offsets":[0,1]}}}}"#), 1);
    assert!(message.len() < 400 && !message.contains(['\u{1b}', '\u{202e}']), "{message:?}");
}

#[test]
fn a_hundred_thousand_tensors_are_quick() {
    let mut json = String::from("{");
    for i in (0..100_000).rev() {
        let comma = if i == 0 { "" } else { "," };
        write!(json, r#""t.{i}":{{"dtype":"U8","shape":[1],"data_offsets":[{i},{}]}}{comma}"#, i + 1).unwrap();
    }
    json.push('}');
    let started = std::time::Instant::now();
    let header = Header::read(&file(&json, 100_000)).unwrap();
    assert_eq!(header.tensors.len(), 100_000);
    assert!(started.elapsed().as_secs_f64() < 2.0, "{:?}", started.elapsed());
}

#[test]
fn any_single_changed_byte_is_refused_or_read_without_a_panic() {
    let whole = file(ONE, 24).bytes(0, 8 + ONE.len() + 24).unwrap().into_owned();
    for at in 0..8 + ONE.len() {
        for value in [0, 1, b'"', b'{', b'9', 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let _ = Header::read(&MemoryFile::new("f", bytes));
        }
    }
    for length in 0..whole.len() {
        assert!(Header::read(&MemoryFile::new("f", &whole[..length])).is_err());
    }
}
