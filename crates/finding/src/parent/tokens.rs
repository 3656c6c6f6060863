//! What tokens say of a parent: the shared tokenizer, and attention once the axes are aligned through shared tokens.

use super::ParentFacts;
use crate::{Code, Direction, Finding, Grade, Judgement};
use scratchproof_case::Policy;
use scratchproof_evidence::{CkaRow, Reference, TokenizerRow};
use scratchproof_stats::holm;

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

/// A shared tokenizer is context: strangers share one, and nothing of the weights follows from it.
fn tokenizer(row: &TokenizerRow, parent: &str, all: &[TokenizerRow]) -> Option<Finding> {
    if row.kind.is_none() || row.reference_kind.is_none() || row.tokens == 0 {
        return None;
    }
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    let mut message = format!(
        "Tokenizer against {parent}'s ({} tokens against {}): {} strings are shared, {:.0} % of the subject's; {} of them have one id",
        row.tokens,
        row.reference_tokens,
        row.shared,
        share(row.shared, row.tokens),
        row.same_id
    );
    if let (true, Some(part)) = (row.shift != 0, row.shift_share) {
        message.push_str(&format!(", {:.0} % are moved by {}", 100.0 * part, row.shift));
    }
    if row.merges > 0 && row.reference_merges > 0 {
        message.push_str(&format!(
            "; {} of {} merges are shared{}",
            row.shared_merges,
            row.merges,
            row.merge_spearman.map_or(String::new(), |rho| format!(", their order correlates {rho:.3} (Spearman)"))
        ));
    }
    message.push('.');
    let controls = all.iter().filter(|r| matches!(r.reference, Reference::Control(_)) && r.shared > 0);
    let controls: Vec<String> =
        controls.map(|r| format!("{} {:.0} %", r.reference, share(r.shared, r.tokens))).collect();
    if !controls.is_empty() {
        message.push_str(&format!(" Strings shared with controls: {}.", controls.join(", ")));
    }
    message.push_str(" Tokenizers of one kind trained on other text share most strings, and anyone may use a public one: this says nothing of the weights.");
    let mut finding = Finding::new(Code::ParentTokenizer, Grade::Context, Direction::Neutral, message);
    finding.subject.parent = Some(parent.to_owned());
    finding.statistic = row.merge_spearman;
    finding.effect = Some(share(row.shared, row.tokens) / 100.0);
    finding.n = Some(row.shared);
    finding.null = "none: a tokenizer is no weight".into();
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
        let mut message = format!(
            "Query and key projections, the residual axis aligned through {} shared tokens over {} dimensions: mean unbiased CKA with {parent} {cka:.4}, z = {z:.1} against {} random relabellings (normal fit).",
            row.tokens, row.columns, row.draws
        );
        if let Some((control, z)) = largest {
            message.push_str(&format!(
                " Beyond the mean of the relabellings: {effect:.4}, the largest of the controls {control:.4} (z = {z:.1})."
            ));
        }
        if beyond && !counts {
            message.push_str(if seeded(parent) {
                " Explained by the common random start."
            } else {
                " Not counted: there is no control to hold it against."
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
        finding.null = "random signed relabelling of the parent's residual axis after alignment, normal fit".into();
        finding.evidence = Some("evidence/cka.parquet".into());
        judgement.push(finding);
    }
}
