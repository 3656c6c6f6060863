//! What tokens say of a parent: the shared tokenizer, and attention once the axes are aligned through shared tokens.

use super::ParentFacts;
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_evidence::{CkaRow, Reference, TokenizerRow};
use scratchproof_stats::holm;
use scratchproof_texts::{Text, text};

/// Adds the findings of all parents. `seeded` says which of them share the subject's random start.
pub(super) fn findings(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    uncalibrated: bool,
    seeded: impl Fn(&str) -> bool,
    policy: &Policy,
) {
    for row in facts.tokenizers {
        if let Reference::Parent(parent) = &row.reference {
            judgement.findings.extend(tokenizer(row, parent, facts.tokenizers));
        }
    }
    attention(judgement, facts, uncalibrated, seeded, policy);
}

/// A shared tokenizer is context: unrelated models share one, and nothing of the weights follows from it.
fn tokenizer(row: &TokenizerRow, parent: &str, all: &[TokenizerRow]) -> Option<Finding> {
    if row.kind.is_none() || row.reference_kind.is_none() || row.tokens == 0 {
        return None;
    }
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let mut message = text!(
        "parent/tokenizer/strings",
        parent,
        tokens = row.tokens,
        their_tokens = row.reference_tokens,
        shared = row.shared,
        share = share(row.shared, row.tokens),
        same_id = row.same_id,
        moved = row.shift_share.filter(|_| row.shift != 0),
        shift = row.shift,
        merges = (row.merges > 0 && row.reference_merges > 0).then_some(row.merges),
        shared_merges = row.shared_merges,
        spearman = row.merge_spearman
    );
    let controls = all.iter().filter(|r| matches!(r.reference, Reference::Control(_)) && r.shared > 0);
    let controls: Vec<Text> = controls
        .map(|r| text!("parent/tokenizer/control", model = r.reference.to_string(), share = share(r.shared, r.tokens)))
        .collect();
    if !controls.is_empty() {
        message.push(text!("parent/tokenizer/controls", controls));
    }
    message.push(text!("parent/tokenizer/limit"));
    let mut finding = Finding::new(Code::ParentTokenizer, Grade::Context, Direction::Neutral, message);
    finding.subject.parent = Some(parent.to_owned());
    finding.statistic = row.merge_spearman;
    finding.effect = Some(share(row.shared, row.tokens));
    finding.n = Some(row.shared);
    finding.null = text!("parent/null/tokenizer");
    finding.evidence = Some("evidence/tokenizers.parquet".into());
    Some(finding)
}

/// CKA is held against the controls first: the alignment that comes before the drawn null already matches what any two
/// models share through their data. Measured on the fixtures' independent pairs: CKA 0.02 to 0.11 and z 2.4 to 10.7; after
/// continued training 0.62 and 0.79 (z 66 and 75); two trainings from one start 0.34. So it counts where it exceeds the
/// largest of the controls by a large effect, and then as moderate evidence.
fn attention(
    judgement: &mut Judgement,
    facts: &ParentFacts<'_>,
    uncalibrated: bool,
    seeded: impl Fn(&str) -> bool,
    policy: &Policy,
) {
    let rows: Vec<&CkaRow> = facts.cka.iter().filter(|row| row.part == "attention").collect();
    let of_controls = rows.iter().filter(|row| matches!(row.reference, Reference::Control(_)));
    let of_controls = of_controls.filter_map(|row| Some((row.cka? - row.null_mean?, row.z?)));
    let largest = of_controls.max_by(|a, b| a.0.total_cmp(&b.0));
    let parents: Vec<(&str, &CkaRow)> = rows
        .iter()
        .filter_map(|row| match &row.reference {
            Reference::Parent(parent) => Some((parent.as_str(), *row)),
            _ => None,
        })
        .collect();
    let adjusted = holm(&parents.iter().map(|(_, row)| row.log10_p).collect::<Vec<_>>());
    for ((parent, row), log10_p) in parents.into_iter().zip(adjusted) {
        let (Some(cka), Some(z), Some(log10_p), Some(null)) = (row.cka, row.z, log10_p, row.null_mean) else {
            continue;
        };
        let effect = cka - null;
        let beyond = log10_p <= policy.moderate_log10_p
            && largest.is_none_or(|(control, _)| effect - control >= policy.conclusive_effect);
        let counts = beyond && largest.is_some() && !uncalibrated && !seeded(parent);
        let grade = if counts { Grade::Moderate } else { Grade::Context };
        let mut message = text!(
            "parent/cka/attention",
            tokens = row.tokens,
            dimensions = row.columns,
            parent,
            cka,
            z,
            draws = row.draws
        );
        if let Some((control, z)) = largest {
            message.push(text!("parent/cka/controls", effect, control, z));
        }
        if beyond && !counts {
            message.push(if seeded(parent) {
                text!("parent/note/seeded")
            } else {
                text!("parent/note/nothing-to-hold-against")
            });
        }
        let direction = if counts { Direction::Against } else { Direction::Neutral };
        let mut finding = Finding::new(Code::ParentCka, grade, direction, message);
        finding.subject.parent = Some(parent.to_owned());
        finding.subject.component = Some("attention".into());
        finding.statistic = Some(z);
        finding.log10_p = Some(log10_p);
        finding.effect = Some(effect);
        finding.n = Some(row.columns);
        finding.null = text!("parent/null/cka");
        finding.evidence = Some("evidence/cka.parquet".into());
        judgement.push(finding);
    }
}
