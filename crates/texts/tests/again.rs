//! The sentences of the committed reports, made again from the keys and parameters that stand beside them.

use std::fs;
use std::path::Path;

use scratchproof_texts::{Language, Text, render};
use serde_json::Value;

#[test]
fn every_sentence_is_made_again_from_its_key_and_parameters() {
    let reports = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../reports/cases");
    let mut wrong = Vec::new();
    let mut made = 0;
    for entry in fs::read_dir(reports).expect("the folder of reports") {
        let path = entry.expect("an entry").path().join("report.json");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let report: Value = serde_json::from_str(&text).expect("JSON");
        let mut check = |sentence: &Value, text: &Value| {
            let text: Text = serde_json::from_value(text.clone()).expect("a text");
            let again = render(&text, Language::English);
            if sentence.as_str() != Some(&again) {
                wrong.push(format!("{}: {} {sentence} is made again as {again}", path.display(), text.key));
            }
            made += 1;
        };
        for finding in report["findings"].as_array().expect("findings") {
            check(&finding["message"], &finding["text"]);
            check(&finding["null"], &finding["null_text"]);
        }
        let missing = |key: &str| report["verdict"][key].as_array().expect("a list").clone();
        let (sentences, texts) = (missing("missing"), missing("missing_texts"));
        assert_eq!(sentences.len(), texts.len(), "{}", path.display());
        sentences.iter().zip(&texts).for_each(|(sentence, text)| check(sentence, text));
    }
    assert!(made > 500, "the reports were not found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
