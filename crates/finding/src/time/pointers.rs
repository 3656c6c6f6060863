//! Checkpoints that the history of the repository holds by their digests.

use scratchproof_record::Covered;
use scratchproof_texts::text;

use super::history::minute;
use super::{Code, Direction, Finding, Grade, Judgement, TIMELINE, TimeFacts};

/// Says which, and since when. The date is that of whoever made the commit.
pub fn judge(to: &mut Judgement, facts: &TimeFacts<'_>) {
    let of = |what: &Covered| match what {
        Covered::Checkpoint(step) => Some(*step),
        Covered::Commit(_) => None,
    };
    let mut held: Vec<_> = facts.held.iter().filter_map(|one| Some((of(&one.what)?, one))).collect();
    held.sort_by_key(|(step, one)| (one.by.latest, *step));
    let (Some((step, first)), Some((_, last))) = (held.first(), held.last()) else { return };
    let message = text!(
        "time/lfs-pointers/finding",
        count = held.len(),
        checkpoints = facts.steps.len().max(held.len()),
        step = *step,
        source = first.source.as_str(),
        from = minute(first.by.latest),
        until = minute(last.by.latest)
    );
    let mut finding = Finding::new(Code::TimePointers, Grade::Weak, Direction::For, message);
    finding.statistic = Some(held.len() as f64);
    finding.n = Some(facts.steps.len() as u64);
    finding.subject.steps = held.iter().map(|(step, _)| *step).take(16).collect();
    finding.null = text!("time/lfs-pointers/null");
    finding.evidence = Some(TIMELINE.into());
    to.push(finding);
}
