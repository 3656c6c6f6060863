//! The witness ledger of the training: what it fixed, in which order, and whether the checkpoints are those.

use chrono::{DateTime, Utc};
use scratchproof_texts::text;

use super::{Code, Direction, Finding, Grade, Judgement, TIMELINE};
use scratchproof_record::Ledgered;

/// One finding for the ledger itself and one for checkpoints that are not those it fixed.
///
/// Both are questions that have to be answered (moderate) and never more: a damaged file looks the same, and a checkpoint that
/// was written again in another form has other bytes. What a ledger fixed is told beside it; its own clock proves nothing, a
/// stamp over it does, and stands on the timeline.
pub fn judge(to: &mut Judgement, ledger: Option<&Ledgered>) {
    let Some(ledger) = ledger else { return };
    let source = ledger.source.as_str();
    let mut push = |grade, direction, message, steps: &[i64]| {
        let mut finding = Finding::new(Code::TimeLedger, grade, direction, message);
        finding.n = Some(ledger.entries as u64);
        finding.null = text!("time/ledger/null");
        finding.subject.steps = steps.to_vec();
        finding.evidence = Some(TIMELINE.into());
        to.push(finding);
    };
    if let Some(why) = &ledger.broken {
        return push(Grade::Moderate, Direction::Against, text!("time/ledger/broken", source, why), &[]);
    }
    if !ledger.other.is_empty() {
        let steps = ledger.other.clone();
        push(Grade::Moderate, Direction::Against, text!("time/ledger/other", source, steps), &ledger.other);
    }
    let message = text!(
        "time/ledger/fixed",
        source,
        entries = ledger.entries,
        closed = ledger.closed,
        count = ledger.fixed.len(),
        of = ledger.fixed.len() + ledger.other.len() + ledger.lacking.len(),
        lacking = ledger.lacking.clone(),
        late = ledger.late.clone(),
        first = ledger.first.map(second),
        last = ledger.last.map(second),
        stamped = ledger.stamped.clone(),
    );
    push(Grade::Context, Direction::Neutral, message, &ledger.fixed);
    if ledger.stamped.is_none() {
        to.missing.push(text!("time/ledger/missing-stamp", source));
    }
}

fn second(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::{Grade, Judgement, Ledgered, judge};

    fn grades(ledger: &Ledgered) -> Vec<Grade> {
        let mut judgement = Judgement::untested();
        judge(&mut judgement, Some(ledger));
        judgement.findings.iter().map(|finding| finding.grade).collect()
    }

    #[test]
    fn a_ledger_asks_and_never_accuses() {
        let fine = Ledgered { source: "l".into(), entries: 3, fixed: vec![0, 20], ..Ledgered::default() };
        assert_eq!(grades(&fine), [Grade::Context]);
        assert_eq!(grades(&Ledgered { other: vec![40], ..fine.clone() }), [Grade::Moderate, Grade::Context]);
        assert_eq!(grades(&Ledgered { broken: Some("line 2".into()), ..fine }), [Grade::Moderate]);
    }
}
