use std::fs;
use std::path::{Path, PathBuf};

use super::elements::{elements, members};
use crate::keys::KeyMap;
use crate::logs;
use crate::run::{Form, Run};
use scratchproof_error::Result;

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("fixtures/logs").join(name)
}

/// What is read of a file with these bytes.
fn read(bytes: impl AsRef<[u8]>) -> Result<Vec<Run>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, bytes).unwrap();
    logs::open(&path)
}

fn one(bytes: impl AsRef<[u8]>) -> Run {
    let mut runs = read(bytes).unwrap();
    assert_eq!(runs.len(), 1);
    runs.remove(0)
}

/// The rows that the fixtures of the API hold.
fn loss(rows: i64) -> Vec<(i64, f64)> {
    (0..rows).filter(|step| step % 10 != 9).map(|step| (step, 7.0 - step as f64 * 0.01)).collect()
}

#[test]
fn a_chart_gives_every_run() {
    let runs = logs::open(&fixture("nanogpt/chart.csv")).unwrap();
    let firsts: Vec<f64> = runs.iter().map(|run| (run.loss()[0].1 * 100.0).round() / 100.0).collect();
    assert_eq!(firsts, [25.48, 10.99, 24.70, 10.94, 10.99, 10.95, 10.98, 10.95]);
    assert!(runs.iter().all(|run| run.form == Form::ChartExport && run.notes.is_empty() && run.loss()[0].0 == 0));
    assert_eq!(runs.iter().map(|run| run.history.rows).max(), Some(386));
    assert_eq!(runs[5].name.as_deref(), Some("gpt2"));
    assert_eq!((runs[0].bytes, runs[0].sha256.len()), (92781, 64));
}

#[test]
fn points_that_stand_for_several_rows_are_told() {
    let text = "\"Step\",\"a - b - loss\",\"a - b - loss__MIN\",\"a - b - loss__MAX\",\"a - b - loss\",\"a - b - loss__MIN\",\"a - b - loss__MAX\"\n\
                0,5,4,6,1,1,1\n10,3,3,3,,,\n";
    let runs = read(text).unwrap();
    assert_eq!((runs.len(), runs[0].name.as_deref(), runs[1].name.as_deref()), (2, Some("a - b"), Some("a - b#2")));
    assert_eq!((runs[0].loss(), runs[1].loss()), (vec![(0, 5.0), (10, 3.0)], vec![(0, 1.0)]));
    assert!(runs[0].notes[0].starts_with("1 points") && runs[1].notes.is_empty());
    let timed = "\"Wall Time\",\"x - loss\",\"x - loss__MIN\",\"x - loss__MAX\"\n1700000000,5,5,5\n1700000010,4,4,4\n";
    let run = one(timed);
    assert_eq!(run.loss(), [(0, 5.0), (1, 4.0)]);
    assert_eq!(run.logged_between().unwrap().0.timestamp(), 1_700_000_000);
}

#[test]
fn a_table_of_runs_has_settings_and_no_rows() {
    let runs = logs::open(&fixture("nanogpt/table.csv")).unwrap();
    assert_eq!(runs.len(), 5);
    let run = &runs[0];
    assert_eq!((run.form, run.state.as_deref(), run.history.rows), (Form::TableExport, Some("finished"), 0));
    assert_eq!((&run.config["n_layer"], &run.config["weight_decay"]), (&6.into(), &0.1.into()));
    assert_eq!(run.summary["val/loss"], 1.478_632_450_103_759_8);
    assert!(!run.config.contains_key("iter") && run.config["wandb_log"] == true);
    assert_eq!(run.times[0].at.earliest.to_rfc3339(), "2026-05-25T14:08:33+00:00");
    let twice =
        "\"Name\",\"State\",\"Created\",\"lr\",\"loss\"\na,finished,2026-05-25T14:08:33.000Z,1,2\na,crashed,,3,4\n";
    let ids: Vec<String> = read(twice).unwrap().into_iter().map(|run| run.id).collect();
    assert_eq!(ids, ["a", "a#2"]);
}

#[test]
fn rows_of_the_api_are_the_same_in_every_form() {
    let lines = one(fs::read(fixture("rows/history.jsonl")).unwrap());
    let mut expected = loss(40);
    expected.retain(|(step, _)| *step != 5);
    assert_eq!((lines.loss(), lines.history.rows, lines.history.skipped), (expected.clone(), 40, 40));
    assert!(lines.history.columns["train/loss"][5].1.is_nan());
    let table = one(fs::read(fixture("rows/history.csv")).unwrap());
    assert_eq!((table.loss(), table.learning_rate(), table.history.rows), (expected, lines.learning_rate(), 40));
    for (name, rows) in [("small", 40), ("delta", 300), ("nested", 300), ("polars", 300)] {
        let run = one(fs::read(fixture(&format!("rows/{name}.parquet"))).unwrap());
        assert_eq!((run.loss(), run.form, run.damaged), (loss(rows), Form::Rows, 0), "{name}");
        assert_eq!((run.step_range().unwrap().last, run.notes.len()), (rows - 1, 0), "{name}");
        assert!(run.logged_between().unwrap().1.timestamp() >= 1_700_000_000 + (rows - 1) / 2, "{name}");
    }
}

#[test]
fn tables_come_in_many_shapes() {
    let plain = "step,loss\n1,5\n2,4\n";
    let wide = |large: bool| -> Vec<u8> {
        let letters = std::iter::once(0xFEFF).chain(plain.encode_utf16());
        letters.flat_map(|letter| if large { letter.to_be_bytes() } else { letter.to_le_bytes() }).collect()
    };
    for bytes in [
        plain.as_bytes().to_vec(),
        plain.replace('\n', "\r\n").into_bytes(),
        [b"\xEF\xBB\xBF", plain.as_bytes()].concat(),
        b"\xEF\xBB\xBF\"step\",\"loss\"\n\"1\",\"5\"\n2,4".to_vec(),
        plain.replace(',', ";").into_bytes(),
        plain.replace(',', "\t").into_bytes(),
        wide(true),
        wide(false),
    ] {
        let run = one(&bytes);
        assert_eq!((run.loss(), run.keys.step.as_str()), (vec![(1, 5.0), (2, 4.0)], "step"), "{bytes:?}");
    }
    let uneven = one("step,loss,x\n1,5\n2,4,1,9\n3,text,inf\n\n4,nan,1\n");
    assert_eq!((uneven.loss(), uneven.history.skipped), (vec![(1, 5.0), (2, 4.0)], 1));
    assert!(uneven.notes[0].starts_with("2 rows"), "{:?}", uneven.notes);
    assert_eq!(one("step,loss\n1,\"5\n2,4\n").history.rows, 1, "an open quote takes the rest");
}

#[test]
fn json_comes_in_many_shapes() {
    let expected = vec![(10, 5.0), (20, 4.0)];
    for text in [
        "{\"_step\":10,\"loss\":5}\n{\"_step\":20,\"loss\":4}\n",
        "\u{feff}{\"step\": 10, \"loss\": 5}\r\n\r\n{\"step\": 20.0, \"loss\": 4, \"x\": Infinity}",
        "[{\"step\":10,\"loss\":5},{\"step\":20,\"loss\":4.0}]",
        "{\"config\":{\"lr\":1},\"history\":[{\"_step\":10,\"loss\":5},{\"_step\":20,\"loss\":4}],\"name\":\"n\"}",
        "{\"current_steps\": 10, \"loss\": 5.0}\n{\"current_steps\": 20, \"loss\": 4.0}\nhalf a li",
        "{\"epoch\": 1, \"global_step\": 20, \"log_history\": [{\"step\": 10, \"loss\": 5.0}, {\"step\": 20, \"loss\": 4}]}",
    ] {
        assert_eq!(one(text).loss(), expected, "{text}");
    }
    let exact = one(
        "{\"_step\": 0, \"loss\": 0.1234567890123456789, \"big\": 9007199254740993, \"n\": {\"a\": {\"b\": 2}}}\n{}\n",
    );
    assert_eq!(exact.history.columns["loss"][0].1.to_bits(), 0.123_456_789_012_345_68_f64.to_bits());
    assert_eq!(exact.history.columns["n.a.b"], [(0, 2.0)]);
}

#[test]
fn what_is_no_record_is_an_error() {
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(one(format!("{deep}\n{{\"loss\": 1}}\n")).history.skipped, 1);
    for bytes in [
        &b""[..],
        b"\n\n",
        b"\0\0\0\0",
        b"{",
        b"[1, 2]",
        b"\"text\"",
        b"hello world\nmore words\n",
        b"{\"a\": 1",
        b"PAR1",
        b"PAR1PAR1PAR1",
        b"PAR1\0\0\0\0\xFF\xFF\xFF\x7FPAR1",
        b"\x1F\x8B\x08\x00",
        b"PK\x03\x04",
        b"%PDF-1.4 \0",
        b"Name,State,Created\n",
        b"\xFF\xFE",
    ] {
        let error = read(bytes).unwrap_err();
        assert!(error.is_input() && error.to_string().contains("file"), "{bytes:?}: {error}");
    }
    assert!(read(b"\x1F\x8B\x08\x00").unwrap_err().to_string().contains("gzip"));
}

#[test]
fn objects_are_taken_apart_in_place() {
    let text = r#" {"a" : 1, "b\"c": "x,}\"", "d": [1, {"e": "]"}], "f": {"g": null}, "h":NaN } "#;
    let all: Option<Vec<_>> = members(text).unwrap().collect();
    let all: Vec<(String, &str)> = all.unwrap().into_iter().map(|(key, value)| (key.into_owned(), value)).collect();
    let expected =
        [("a", "1"), ("b\"c", r#""x,}\"""#), ("d", r#"[1, {"e": "]"}]"#), ("f", r#"{"g": null}"#), ("h", "NaN")];
    assert_eq!(all, expected.map(|(key, value)| (key.to_owned(), value)));
    assert_eq!(elements("[1, [2, 3] , \"4\"]").unwrap().collect::<Option<Vec<_>>>().unwrap(), ["1", "[2, 3]", "\"4\""]);
    assert_eq!((members("{}").unwrap().count(), elements("[ ]").unwrap().count()), (0, 0));
    for broken in ["{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}", "{\"a\":1 \"b\":2}", "{\"a\":\"x}", "{,}"] {
        assert!(members(broken).unwrap().any(|member| member.is_none()), "{broken}");
    }
}

/// Damage anywhere in a parquet file is an error or a note; it never ends the process.
#[test]
fn a_parquet_file_survives_every_kind_of_damage() {
    let bytes = fs::read(fixture("rows/small.parquet")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    let mut refused = 0;
    for at in (4..bytes.len()).step_by(31) {
        for with in [0xFF, bytes[at] ^ 1] {
            let mut spoiled = bytes.clone();
            spoiled[at] = with;
            fs::write(&path, &spoiled).unwrap();
            refused += usize::from(logs::open(&path).is_err());
        }
    }
    assert!(refused > 40, "{refused}");
}

/// 12 rows of a log, as cells: every third row logs the validation.
fn cells() -> Vec<Vec<(&'static str, String)>> {
    let row = |n: i64| {
        vec![
            ("_step", (10 * n).to_string()),
            ("_timestamp", format!("{}.5", 1_793_000_000 + n)),
            ("train/loss", format!("{}", 7.0 - n as f64 * 0.25)),
            ("val/loss", if n % 3 == 0 { format!("{}", 7.5 - n as f64 * 0.25) } else { "null".to_owned() }),
        ]
    };
    (0..12).map(row).collect()
}

fn object(cells: &[(&str, String)]) -> String {
    let all: Vec<String> = cells.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", all.join(","))
}

/// The same rows as pandas writes them in each of its orientations, and as its relatives do.
#[test]
fn a_table_is_read_whichever_way_it_is_written() {
    let all = cells();
    let names: Vec<&str> = all[0].iter().map(|cell| cell.0).collect();
    let list = |of: &dyn Fn(usize) -> String, n: usize| (0..n).map(of).collect::<Vec<_>>().join(",");
    let column = |c: usize| list(&|r| format!("\"{r}\":{}", all[r][c].1), all.len());
    let values = |c: usize| list(&|r| all[r][c].1.clone(), all.len());
    let lines = list(&|r| format!("[{}]", list(&|c| all[r][c].1.clone(), 4)), all.len());
    let header = list(&|c| format!("\"{}\"", names[c]), 4);
    let records = list(&|r| object(&all[r]), all.len());
    let index = list(&|r| r.to_string(), all.len());
    let columns = list(&|c| format!("\"{}\":{{{}}}", names[c], column(c)), 4);
    let expected = one(format!("[{records}]"));
    assert_eq!(expected.loss().len(), 12);
    let ragged = list(&|r| format!("\"{}\":{}", 3 * r, all[3 * r][3].1), 4);
    let ragged = format!("{},\"val/loss\":{{{ragged}}}", list(&|c| format!("\"{}\":{{{}}}", names[c], column(c)), 3));
    for (orientation, text) in [
        ("columns", format!("{{{columns}}}")),
        ("columns, indented", format!("{{\n  {}\n}}\n", columns.replace(",\"", ",\n  \""))),
        ("ragged columns", format!("{{{ragged}}}")),
        ("index", format!("{{{}}}", list(&|r| format!("\"{r}\":{}", object(&all[r])), all.len()))),
        ("split", format!("{{\"columns\":[{header}],\"index\":[{index}],\"data\":[{lines}]}}")),
        (
            "tight",
            format!(
                "{{\"index\":[{index}],\"columns\":[{header}],\"data\":[{lines}],\"index_names\":[null],\"column_names\":[null]}}"
            ),
        ),
        (
            "table",
            format!(
                "{{\"schema\":{{\"fields\":[{{\"name\":\"index\"}}],\"primaryKey\":[\"index\"]}},\"data\":[{records}]}}"
            ),
        ),
        ("lists", format!("{{{}}}", list(&|c| format!("\"{}\":[{}]", names[c], values(c)), 4))),
        ("values under a header", format!("[[{header}],{lines}]")),
        (
            "polars",
            format!(
                "{{\"columns\":[{}]}}",
                list(
                    &|c| format!("{{\"name\":\"{}\",\"datatype\":\"Float64\",\"values\":[{}]}}", names[c], values(c)),
                    4
                )
            ),
        ),
        ("of the API", format!("{{\"id\":\"abc\",\"history\":{{{columns}}}}}")),
    ] {
        let run = one(text);
        assert_eq!(run.history.rows, 12, "{orientation}");
        assert_eq!(run.history.columns, expected.history.columns, "{orientation}");
        assert_eq!(run.loss(), expected.loss(), "{orientation}");
    }
    // Names are lost: the columns have numbers, and a case file says which is which.
    let mut run = one(format!("[{lines}]"));
    assert_eq!(run.history.columns.keys().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    let keys = KeyMap { step: Some("0".into()), loss: Some("2".into()), ..KeyMap::default() };
    run.choose_keys(&keys).unwrap();
    assert_eq!(run.loss(), expected.loss());
    // An index of steps, where no column has them; one row with parts stays one row.
    let run = one("{\"loss\":{\"0\":5.0,\"40\":4.0,\"80\":3.0}}");
    assert_eq!(run.loss(), [(0, 5.0), (40, 4.0), (80, 3.0)]);
    let run = one("[[1793000000.5,0,5.0],[1793000003.5,40,4.0]]");
    assert_eq!(run.history.columns["value"], [(0, 5.0), (40, 4.0)]);
    for single in
        ["{\"train\":{\"loss\":5.0},\"eval\":{\"loss\":5.5}}", "{\"_step\":3,\"losses\":[5.0,4.0]}", "{\"loss\":4.0}"]
    {
        assert_eq!(one(single).history.rows, 1, "{single}");
    }
}

#[test]
fn broken_tables_are_no_rows_and_no_panic() {
    for text in [
        "{\"a\":{\"0\":1},\"b\":{\"0\":}}",
        "{\"columns\":[\"a\"],\"data\":[[1],2]}",
        "{\"columns\":[{}]}",
        "[[1,2],[3]",
        "[[]]",
        "[[1],{\"a\":2}]",
        "{\"a\":[1,2],\"b\":[1]}",
        "{\"0\":{\"a\":1},\"x\":{\"a\":1}}",
    ] {
        let _ = read(text);
    }
}
