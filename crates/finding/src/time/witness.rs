//! Outside witnesses: what they saw, and what is wrong with the ones that are not believed.

use chrono::{DateTime, Utc};
use scratchproof_texts::Text;

use super::{Code, Direction, Finding, Grade, Judgement, TIMELINE};
use scratchproof_record::witness::{Kind, Refusal};
use scratchproof_record::{Target, Witnessed};

/// One finding a witness; what a server says of a repository is one for all of its dates.
///
/// A proof whose own numbers do not agree, and that is said to be over something in this case, is a question that has to be
/// answered (moderate); it is never more, because a damaged file looks the same.
pub fn judge(to: &mut Judgement, witnesses: &[Witnessed]) {
    for seen in witnesses {
        let proof = &seen.proof;
        let about = seen.target.as_ref().map_or("nothing in this case".to_owned(), |target| format!("the {target}"));
        let notes = if seen.notes.is_empty() { String::new() } else { format!(" ({})", seen.notes.join("; ")) };
        let (grade, direction, message) = match (&seen.verified, seen.event()) {
            (Ok(()), Some(event)) => {
                let until = event.until.unwrap_or(event.at);
                let by = until.format("%Y-%m-%d %H:%M:%S UTC");
                let words = match seen.kind {
                    Kind::Answer => {
                        format!("{}: {}, {} ({})", seen.source, seen.how, when(event.at, until), seen.trust)
                    }
                    _ if seen.target.is_none() => {
                        format!("{} stamped a digest at {by}, which is that of nothing in this case", seen.source)
                    }
                    _ => {
                        format!("{} stamped {about} ({}); it was there by {by} ({})", seen.source, seen.how, seen.trust)
                    }
                };
                (Grade::Context, Direction::Neutral, format!("{words}{notes}."))
            }
            (Ok(()), None) => (Grade::Context, Direction::Neutral, format!("{proof} gives no time{notes}.")),
            (Err(Refusal::Broken(why)), _) if seen.target.is_some() => {
                let message = format!(
                    "{proof} is said to be over {about}, and does not hold: {why}{notes}. A damaged file does that too."
                );
                (Grade::Moderate, Direction::Against, message)
            }
            (Err(Refusal::Broken(why)), _) => (
                Grade::Weak,
                Direction::Neutral,
                format!("{proof} does not hold: {why}{notes}. A damaged file does that too."),
            ),
            (Err(Refusal::Other(why)), _) if seen.target.is_some() => {
                let message =
                    format!("{proof} is said to be over {about}, and is not: {why}{notes}. Which bytes were stamped?");
                (Grade::Weak, Direction::Neutral, message)
            }
            (Err(Refusal::Other(why)), _) => (Grade::Context, Direction::Neutral, format!("{proof}: {why}{notes}.")),
            (Err(refusal), _) => {
                to.missing.push(Text::from(match refusal {
                    Refusal::Unanchored(_) => {
                        format!("what {proof} can be verified against (a root certificate, a block header)")
                    }
                    Refusal::Pending(_) => format!("{proof} upgraded to a proof that leads to a block"),
                    _ => format!("a witness that can be read in place of {proof}"),
                }));
                let message = format!("{proof} is not believed: {}{notes}.", refusal.why());
                (Grade::Context, Direction::Neutral, message)
            }
        };
        let mut finding = Finding::new(Code::TimeWitness, grade, direction, message);
        finding.n = Some(1);
        finding.null = "a stamp shows that something was there by its time, never that it was not there before".into();
        if let Some(Target::Checkpoint { step, .. }) = &seen.target {
            finding.subject.steps = vec![*step];
        }
        finding.evidence = Some(TIMELINE.into());
        to.push(finding);
    }
}

/// The time of a server, or the span of which only the end is known.
fn when(from: DateTime<Utc>, until: DateTime<Utc>) -> String {
    let second = until.format("%Y-%m-%d %H:%M:%S UTC");
    if until > from { format!("no later than {second}") } else { second.to_string() }
}
