//! Outside witnesses: what they saw, and what is wrong with the ones that are not believed.

use chrono::{DateTime, Utc};
use scratchproof_texts::{Text, text};

use super::order::trust;
use super::{Code, Direction, Finding, Grade, Judgement, TIMELINE};
use scratchproof_record::witness::{Kind, Refusal};
use scratchproof_record::{Target, Witnessed};

/// One finding a witness; what a server says of a repository is one for all of its dates.
///
/// A proof whose own numbers do not agree, and that is said to be over something in this case, is a question that has to be
/// answered (moderate); it is never more, because a damaged file looks the same.
pub fn judge(to: &mut Judgement, witnesses: &[Witnessed]) {
    for seen in witnesses {
        let proof = seen.proof.clone();
        let about = seen.target.as_ref().map(about);
        let named = about.is_some();
        let notes = seen.notes.clone();
        let (grade, direction, message) = match (&seen.verified, seen.event()) {
            (Ok(()), Some(event)) => {
                let until = event.until.unwrap_or(event.at);
                let (source, trust) = (seen.source.clone(), trust(seen.trust));
                let message = match seen.kind {
                    Kind::Answer => {
                        let (how, when) = (seen.how.clone(), when(event.at, until));
                        text!("time/witness/answer", source, how, when, trust, notes)
                    }
                    _ if seen.target.is_none() => {
                        text!("time/witness/of-nothing", source, by = second(until), notes)
                    }
                    _ => {
                        let how = seen.how.clone();
                        text!("time/witness/stamp", source, about, how, by = second(until), trust, notes)
                    }
                };
                (Grade::Context, Direction::Neutral, message)
            }
            (Ok(()), None) => (Grade::Context, Direction::Neutral, text!("time/witness/no-time", proof, notes)),
            (Err(Refusal::Broken(why)), _) if named => {
                (Grade::Moderate, Direction::Against, text!("time/witness/broken-over", proof, about, why, notes))
            }
            (Err(Refusal::Broken(why)), _) => {
                (Grade::Weak, Direction::Neutral, text!("time/witness/broken", proof, why, notes))
            }
            (Err(Refusal::Other(why)), _) if named => {
                (Grade::Weak, Direction::Neutral, text!("time/witness/other-over", proof, about, why, notes))
            }
            (Err(Refusal::Other(why)), _) => {
                (Grade::Context, Direction::Neutral, text!("time/witness/other", proof, why, notes))
            }
            (Err(refusal), _) => {
                to.missing.push(match refusal {
                    Refusal::Unanchored(_) => text!("time/witness/missing-anchor", proof = proof.as_str()),
                    Refusal::Pending(_) => text!("time/witness/missing-block", proof = proof.as_str()),
                    _ => text!("time/witness/missing-witness", proof = proof.as_str()),
                });
                let message = text!("time/witness/not-believed", proof, why = refusal.why(), notes);
                (Grade::Context, Direction::Neutral, message)
            }
        };
        let mut finding = Finding::new(Code::TimeWitness, grade, direction, message);
        finding.n = Some(1);
        finding.null = text!("time/witness/null");
        if let Some(Target::Checkpoint { step, .. }) = &seen.target {
            finding.subject.steps = vec![*step];
        }
        finding.evidence = Some(TIMELINE.into());
        to.push(finding);
    }
}

/// The time of a server, or the span of which only the end is known.
fn when(from: DateTime<Utc>, until: DateTime<Utc>) -> Text {
    text!("time/witness/when", at = second(until), open = until > from)
}

fn second(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// What a witness is over.
fn about(target: &Target) -> Text {
    match target {
        Target::Commit(id) => text!("time/witness/commit", commit = id.get(..12).unwrap_or(id)),
        Target::Tag { name, .. } => text!("time/witness/tag", name),
        Target::Checkpoint { step, file } => text!("time/witness/checkpoint", step = *step, file = file.clone()),
        Target::File(name) => text!("time/witness/file", name),
        Target::Repository(words) => text!("time/witness/repository", words),
    }
}
