//! Models of other vocabularies: embeddings compared by string.

use std::fs;

use scratchproof::checkpoint::Tokenizer;

use crate::support::report::{ComponentOutcome, Direction, Grade, Outcome, Report};
use crate::support::safetensors::{File, edit};
use crate::support::{Copy, audited, cases, fixtures};
use crate::truth;

const EMBEDDING: &str = "model.embed_tokens.weight";

fn tokenizer(path: &std::path::Path) -> Tokenizer {
    Tokenizer::read(&["tokenizer.json".into()], &[fs::read(path).expect("a tokenizer")]).expect("read")
}

fn codes<'a>(report: &'a Report, code: &str) -> Vec<&'a crate::support::report::Finding> {
    report.findings.iter().filter(|finding| finding.code == code).collect()
}

#[test]
fn rows_copied_by_string_into_another_vocabulary_are_found() {
    let case = Copy::of("scratch-moe");
    let own = tokenizer(&case.path("checkpoints/step-600/tokenizer.json"));
    let parents = tokenizer(&fixtures().join("models/parent-glm/tokenizer.json"));
    let theirs = File::read(&fixtures().join("models/parent-glm/model.safetensors")).numbers(EMBEDDING);
    let mut copied = 0;
    edit(&case.weights(600), |file| {
        let mut rows = file.numbers(EMBEDDING);
        for (row, from) in own.row_map(&parents, 704, 640).into_iter().enumerate() {
            if let Some(from) = from {
                let from = from as usize;
                rows[row * 64..][..64].copy_from_slice(&theirs[from * 64..][..64]);
                copied += usize::from(row != from);
            }
        }
        file.put(EMBEDDING, &rows);
    });
    assert!(copied > 100, "{copied} rows have another number");
    let report = case.finished(1);
    let embedding = report.components.iter().find(|c| c.name == "embedding").expect("an embedding");
    assert_eq!((embedding.outcome, embedding.parent.as_deref()), (ComponentOutcome::Derived, Some("parent-glm")));
    assert!(embedding.effect.expect("an effect") > 0.9);
    let other = report.components.iter().filter(|c| c.outcome == ComponentOutcome::Derived).count();
    assert_eq!(other, 1);
}

#[test]
fn a_tokenizer_that_is_missing_or_broken_is_said_and_changes_no_verdict() {
    for content in [None, Some("{\"model\":")] {
        let case = Copy::of("scratch-moe");
        let file = case.path("checkpoints/step-600/tokenizer.json");
        match content {
            None => fs::remove_file(&file).expect("removed"),
            Some(text) => fs::write(&file, text).expect("written"),
        }
        let report = case.finished(0);
        let said = report.coverage.skipped.iter().filter(|s| s.tensor == "(tokenizer)").count();
        assert_eq!((report.verdict.outcome, said), (Outcome::Confirmed, 1));
        assert!(codes(&report, "parent/tokenizer").is_empty());
    }
}

#[test]
fn tokenizers_are_context_and_attention_counts_only_beyond_the_controls() {
    for case in cases() {
        let (truth, audit) = (truth(&case), audited(&case));
        let shared = codes(&audit.report, "parent/tokenizer");
        assert_eq!(shared.len(), 1, "{case}");
        assert!(shared.iter().all(|f| f.grade == Grade::Context && f.direction == Direction::Neutral), "{case}");
        let attention = codes(&audit.report, "parent/cka");
        assert_eq!(attention.len(), 1, "{case}");
        // The up-scaled model drew its embedding and its queries anew, so there is nothing to align by.
        let expected = truth.derived.contains("embedding") && truth.derived.contains("attention");
        assert_eq!(attention[0].grade == Grade::Moderate, expected, "{case}: {}", attention[0].message);
        assert!(attention[0].grade <= Grade::Moderate);
    }
}
