//! What the repository says beside its dates: clocks, rewriting, signatures, other people's models.
//!
//! Honest histories have all of it, so nothing here counts against anybody: each is a question or context.

use std::collections::{BTreeMap, BTreeSet};

use super::{Code, Direction, Finding, Grade, Judgement, TIMELINE};
use scratchproof_record::git::{Mention, MentionKind, Oddity, OddityKind, Place, Signature, Validity, short};
use scratchproof_record::{Repository, Run};

const MENTIONS: &str = "evidence/mentions.parquet";
const SIGNATURES: &str = "evidence/signatures.parquet";
/// Cases that a message names; all of them stand in the tables.
const SHOWN: usize = 3;

/// All of it.
pub fn judge(to: &mut Judgement, runs: &[Run], repository: &Repository) {
    for oddity in repository.oddities() {
        clock(to, runs, repository, &oddity);
    }
    rewritten(to, repository);
    signatures(to, repository);
    mentions(to, repository);
    for note in &repository.notes {
        let message = format!("About the repository: {note}.");
        to.push(Finding::new(Code::TimeRepository, Grade::Context, Direction::Neutral, message));
    }
}

fn clock(to: &mut Judgement, runs: &[Run], repository: &Repository, oddity: &Oddity) {
    let (kind, count) = (oddity.kind, oddity.count);
    let of = plural(count, "commit");
    let case = format!("commit {}: {}", short(&oddity.commit), oddity.words);
    let before_all = || {
        let first = repository.oldest().map(|oldest| oldest.committer.at);
        runs.iter().filter_map(|run| run.started_at).min().zip(first).is_some_and(|(start, first)| start < first)
    };
    let (grade, what) = match kind {
        OddityKind::AuthorAfterCommitter if oddity.extent > 1.0 => (
            Grade::Weak,
            format!(
                "{of} made after they were committed ({case}); a wrong clock does that, and so does a date set by hand."
            ),
        ),
        OddityKind::AuthorAfterCommitter => (Grade::Context, format!("{of} made after they were committed ({case}).")),
        OddityKind::OlderThanParent => (
            Grade::Context,
            format!("{of} committed before their parents ({case}); clocks of several machines do that."),
        ),
        OddityKind::Burst => (
            Grade::Context,
            format!("{of} share a second with nine or more others ({}), as after a rebase or an import.", oddity.words),
        ),
        OddityKind::Zone => {
            (Grade::Weak, format!("{of} with a zone that no place has ({case}). Who wrote these dates?"))
        }
        OddityKind::BeforeGit => (
            Grade::Weak,
            format!("{of} dated before git existed ({case}); imported from an older system, or a wrong clock?"),
        ),
        OddityKind::Future => {
            (Grade::Weak, format!("{of} dated in a year that has not come ({case}). Who wrote these dates?"))
        }
        OddityKind::LateCommit => (
            Grade::Context,
            format!("{of} committed more than a day after the change was made ({case}), as after a rebase."),
        ),
        OddityKind::WrittenAnew if before_all() => (
            Grade::Weak,
            format!(
                "The history was written anew after the first run had started: {}. Is there an older one?",
                oddity.words
            ),
        ),
        OddityKind::WrittenAnew => (
            Grade::Context,
            format!("The history was written anew: {}. What is older shows in author dates alone.", oddity.words),
        ),
        OddityKind::Unsigned => (Grade::Context, format!("Not all commits are signed: {}.", oddity.words)),
    };
    let mut finding = Finding::new(Code::TimeCommitClocks, grade, Direction::Neutral, what);
    finding.statistic = Some(oddity.extent);
    finding.n = Some(count);
    finding.null = "days, hours or commits of the case that shows it best; honest histories have such cases".into();
    finding.evidence = Some(TIMELINE.into());
    to.push(finding);
}

fn rewritten(to: &mut Judgement, repository: &Repository) {
    if repository.traces.is_empty() {
        return;
    }
    let words: Vec<&str> = repository.traces.iter().map(|trace| trace.words.as_str()).collect();
    let cut = repository.traces.iter().any(|trace| trace.cut);
    let what = if cut { "The history is not whole" } else { "The history was worked over" };
    let mut finding =
        Finding::new(Code::TimeRewritten, Grade::Context, Direction::Neutral, format!("{what}: {}.", words.join("; ")));
    finding.n = Some(words.len() as u64);
    to.push(finding);
    if cut {
        to.missing.push("the repository with its whole history".into());
    }
}

fn signatures(to: &mut Judgement, repository: &Repository) {
    type Kind = (u8, Grade, &'static str);
    let kind = |signature: &Signature| -> Kind {
        match &signature.validity {
            Validity::Good(_) => (0, Grade::Context, "fit a given key"),
            Validity::Refused(_) => (1, Grade::Weak, "are of a given key that may not sign so or not then"),
            Validity::Bad => (2, Grade::Moderate, "do not fit what they stand on: it, or the signature, was altered"),
            Validity::UnknownKey(_) => (3, Grade::Context, "are of keys that the case does not give"),
            Validity::Unverified(_) => (4, Grade::Context, "were not checked"),
        }
    };
    let mut kinds: BTreeMap<Kind, Vec<&Signature>> = BTreeMap::new();
    for signature in &repository.signatures {
        kinds.entry(kind(signature)).or_default().push(signature);
    }
    for ((_, grade, words), list) in kinds {
        let who = |signature: &Signature| match &signature.validity {
            Validity::Good(who) | Validity::UnknownKey(who) => who.clone(),
            Validity::Refused(why) | Validity::Unverified(why) => why.clone(),
            Validity::Bad => match &signature.tag {
                Some(tag) => format!("tag {tag}"),
                None => format!("commit {}", short(&signature.object)),
            },
        };
        let all: BTreeSet<String> = list.iter().map(|signature| who(signature)).collect();
        let shown: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
        let more = if all.len() > SHOWN { format!(" and {} more", all.len() - SHOWN) } else { String::new() };
        let tags = list.iter().filter(|signature| signature.tag.is_some()).count();
        let commits = list.len() - tags;
        let of = match (commits, tags) {
            (commits, 0) => plural(commits as u64, "commit"),
            (0, tags) => plural(tags as u64, "tag"),
            (commits, tags) => format!("{} and {}", plural(commits as u64, "commit"), plural(tags as u64, "tag")),
        };
        let says =
            if grade == Grade::Context && words.starts_with("fit") { " A signature says who, not when." } else { "" };
        let message = format!("Signatures of {of} {words} ({}{more}).{says}", shown.join("; "));
        let mut finding = Finding::new(Code::TimeSignatures, grade, Direction::Neutral, message);
        finding.n = Some(list.len() as u64);
        finding.evidence = Some(SIGNATURES.into());
        to.push(finding);
    }
}

fn mentions(to: &mut Judgement, repository: &Repository) {
    let more: BTreeMap<MentionKind, usize> = repository.more_mentions.iter().copied().collect();
    let mut groups: BTreeMap<(MentionKind, Option<&str>), Vec<&Mention>> = BTreeMap::new();
    for mention in &repository.mentions {
        groups.entry((mention.kind, mention.parent.as_deref())).or_default().push(mention);
    }
    for ((kind, parent), list) in groups {
        // Tests and evaluation name other models, documentation cites them.
        let own = |mention: &&Mention| matches!(mention.place, Place::Code | Place::Script | Place::Settings);
        let in_code = list.iter().copied().filter(|mention| own(mention)).count();
        let grade = if parent.is_some() && in_code > 0 { Grade::Weak } else { Grade::Context };
        let files: BTreeSet<&str> = list.iter().map(|mention| mention.path.as_str()).collect();
        let what = match (kind, parent) {
            (MentionKind::Name, Some(parent)) => format!("The history names {parent}"),
            (MentionKind::Constant, Some(parent)) => {
                format!("The history has numbers of {parent} that the subject has not")
            }
            (MentionKind::Loads, _) => "The history loads models or tokenizers by name or path".into(),
            _ => "The history can start from a checkpoint, as resumed runs do".into(),
        };
        let cases: Vec<String> = list.iter().take(SHOWN).map(|mention| case(mention)).collect();
        let rest = list.len() - cases.len() + more.get(&kind).copied().unwrap_or(0);
        let more = if rest > 0 { format!("; {rest} more") } else { String::new() };
        let places = match (in_code, list.len() - in_code) {
            (0, _) => ", only in tests, evaluation or documentation".to_owned(),
            _ => format!(" in {}", plural(files.len() as u64, "file")),
        };
        let close = if parent.is_some() { " A name proves nothing." } else { "" };
        let message = format!("{what}{places}: {}{more}.{close}", cases.join("; "));
        let mut finding = Finding::new(Code::TimeOtherModels, grade, Direction::Neutral, message);
        finding.subject.parent = parent.map(Into::into);
        finding.n = Some(list.len() as u64);
        finding.evidence = Some(MENTIONS.into());
        to.push(finding);
    }
}

fn case(mention: &Mention) -> String {
    let gone = match &mention.gone {
        Some(gone) => format!(" until {}", short(gone)),
        None if mention.main => ", still there".into(),
        None => " on another branch".into(),
    };
    let (text, path) = (&mention.text, &mention.path);
    format!("`{}` at {path}:{} since {}{gone}", text.replace('`', "'"), mention.line, short(&mention.first))
}

fn plural(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{RepositoryFacts, TimeFacts};
    use super::{Code, Direction, Grade, judge};
    use crate::{Condition, Judgement};
    use scratchproof_case::Policy;
    use scratchproof_record::git::testing::Made;
    use scratchproof_record::git::{MentionKind, Options, Signature, SignatureKind, Validity};
    use scratchproof_record::{Repository, Run};

    fn of(repository: &Repository) -> Judgement {
        let mut judgement = Judgement::untested();
        judge(&mut judgement, &[], repository);
        judgement
    }

    fn grades(judgement: &Judgement, code: Code) -> Vec<Grade> {
        judgement.findings.iter().filter(|finding| finding.code == code).map(|finding| finding.grade).collect()
    }

    #[test]
    fn honest_oddities_are_context_and_decide_nothing() {
        let made = Made::new();
        made.commit(0, &[("a", "0")]);
        made.commit_as(-182, -182, &[("a", "1")], "7.6 days before its parent");
        made.commit_as(-679 * 24, 1, &[("a", "2")], "679 days before its commit");
        for n in 0..33 {
            made.commit(
                2,
                &[("c.json", &scratchproof_record::git::testing::config(n + 1)), ("run.sh", "t --load x\n")],
            );
        }
        let repository = made.read();
        let judgement = of(&repository);
        assert_eq!(grades(&judgement, Code::TimeCommitClocks), [Grade::Context; 3]);
        assert_eq!(grades(&judgement, Code::TimeOtherModels), [Grade::Context]);
        assert!(judgement.findings.iter().all(|finding| finding.direction == Direction::Neutral));
        assert!(judgement.findings.iter().all(|finding| finding.message.english().ends_with(['.', '?'])));
        let run = Run { id: "r".into(), started_at: Some("2026-08-01T05:00:00Z".parse().unwrap()), ..Run::default() };
        let facts = TimeFacts { runs: &[run], repository: RepositoryFacts::Read(&repository), ..TimeFacts::default() };
        assert_eq!(super::super::judge(&facts, &Policy::default()).condition, Condition::Holds);
    }

    #[test]
    fn a_parent_in_the_code_is_a_question_and_in_documents_context() {
        for (path, grade) in [("train.py", Grade::Weak), ("README.md", Grade::Context), ("eval/phi.py", Grade::Context)]
        {
            let made = Made::new();
            made.commit(0, &[(path, "see Phi-3 of org\n")]);
            let mut options = Options::default();
            options.sought.name("Phi", "phi-3");
            let facts = Repository::read(made.folder.path(), &options).unwrap();
            assert_eq!(facts.mentions[0].kind, MentionKind::Name);
            let judgement = of(&facts);
            assert_eq!(grades(&judgement, Code::TimeOtherModels), [grade], "{path}");
            let finding = &judgement.findings[0];
            assert_eq!(finding.subject.parent.as_deref(), Some("Phi"));
            assert!(finding.message.contains(&format!("{path}:1")), "{}", finding.message);
        }
    }

    #[test]
    fn signatures_are_summed_up_by_what_they_say() {
        let sign = |validity: Validity, tag: Option<&str>| Signature {
            object: "0123456789abcdef".into(),
            tag: tag.map(Into::into),
            kind: SignatureKind::Ssh,
            validity,
        };
        let signatures = vec![
            sign(Validity::Good("a@b".into()), None),
            sign(Validity::Good("a@b".into()), Some("v1")),
            sign(Validity::Bad, None),
            sign(Validity::Refused("the key had expired".into()), None),
            sign(Validity::UnknownKey("SHA256:x".into()), None),
        ];
        let judgement = of(&Repository { signatures, ..Repository::default() });
        assert_eq!(
            grades(&judgement, Code::TimeSignatures),
            [Grade::Context, Grade::Weak, Grade::Moderate, Grade::Context]
        );
        let first = &judgement.findings[0].message.english();
        assert_eq!(first, "Signatures of 1 commit and 1 tag fit a given key (a@b). A signature says who, not when.");
    }
}
