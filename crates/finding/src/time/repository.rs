//! What the repository says beside its dates: clocks, rewriting, signatures, other people's models.
//!
//! Honest histories have all of it, so nothing here counts against anybody: each is a question or context.

use std::collections::{BTreeMap, BTreeSet};

use super::{Code, Direction, Finding, Grade, Judgement, TIMELINE};
use scratchproof_record::git::{Mention, MentionKind, Oddity, OddityKind, Place, Signature, Validity, short};
use scratchproof_record::{Repository, Run};
use scratchproof_texts::{Text, text};

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
        let message = text!("time/repository/note", note);
        to.push(Finding::new(Code::TimeRepository, Grade::Context, Direction::Neutral, message));
    }
}

fn clock(to: &mut Judgement, runs: &[Run], repository: &Repository, oddity: &Oddity) {
    let (kind, count) = (oddity.kind, oddity.count);
    let (commit, words) = (short(&oddity.commit), oddity.words.as_str());
    let before_all = || {
        let first = repository.oldest().map(|oldest| oldest.committer.at);
        runs.iter().filter_map(|run| run.started_at).min().zip(first).is_some_and(|(start, first)| start < first)
    };
    let (weak, context) = (Grade::Weak, Grade::Context);
    let (grade, what) = match kind {
        OddityKind::AuthorAfterCommitter => {
            let far = oddity.extent > 1.0;
            let message = text!("time/commit-clocks/author-after-committer", count, commit, words, far);
            (if far { weak } else { context }, message)
        }
        OddityKind::OlderThanParent => (context, text!("time/commit-clocks/older-than-parent", count, commit, words)),
        OddityKind::Burst => (context, text!("time/commit-clocks/burst", count, words)),
        OddityKind::Zone => (weak, text!("time/commit-clocks/zone", count, commit, words)),
        OddityKind::BeforeGit => (weak, text!("time/commit-clocks/before-git", count, commit, words)),
        OddityKind::Future => (weak, text!("time/commit-clocks/future", count, commit, words)),
        OddityKind::LateCommit => (context, text!("time/commit-clocks/late-commit", count, commit, words)),
        OddityKind::WrittenAnew if before_all() => (weak, text!("time/commit-clocks/anew-after-start", words)),
        OddityKind::WrittenAnew => (context, text!("time/commit-clocks/anew", words)),
        OddityKind::Unsigned => (context, text!("time/commit-clocks/unsigned", words)),
    };
    let mut finding = Finding::new(Code::TimeCommitClocks, grade, Direction::Neutral, what);
    finding.statistic = Some(oddity.extent);
    finding.n = Some(count);
    finding.null = text!("time/commit-clocks/null");
    finding.evidence = Some(TIMELINE.into());
    to.push(finding);
}

fn rewritten(to: &mut Judgement, repository: &Repository) {
    if repository.traces.is_empty() {
        return;
    }
    let words: Vec<&str> = repository.traces.iter().map(|trace| trace.words.as_str()).collect();
    let cut = repository.traces.iter().any(|trace| trace.cut);
    let n = words.len() as u64;
    let message = text!("time/rewritten/finding", cut, words);
    let mut finding = Finding::new(Code::TimeRewritten, Grade::Context, Direction::Neutral, message);
    finding.n = Some(n);
    to.push(finding);
    if cut {
        to.missing.push(text!("time/rewritten/missing"));
    }
}

fn signatures(to: &mut Judgement, repository: &Repository) {
    type Kind = (u8, Grade, &'static str);
    let kind = |signature: &Signature| -> Kind {
        match &signature.validity {
            Validity::Good(_) => (0, Grade::Context, "good"),
            Validity::Refused(_) => (1, Grade::Weak, "refused"),
            Validity::Bad => (2, Grade::Moderate, "bad"),
            Validity::UnknownKey(_) => (3, Grade::Context, "unknown-key"),
            Validity::Unverified(_) => (4, Grade::Context, "unverified"),
        }
    };
    let mut kinds: BTreeMap<Kind, Vec<&Signature>> = BTreeMap::new();
    for signature in &repository.signatures {
        kinds.entry(kind(signature)).or_default().push(signature);
    }
    for ((_, grade, result), list) in kinds {
        let who = |signature: &Signature| match &signature.validity {
            Validity::Good(who) | Validity::UnknownKey(who) => text!("time/signatures/words", words = who),
            Validity::Refused(why) | Validity::Unverified(why) => text!("time/signatures/words", words = why),
            Validity::Bad => match &signature.tag {
                Some(tag) => text!("time/signatures/tag", tag),
                None => text!("time/signatures/commit", commit = short(&signature.object)),
            },
        };
        let all: BTreeMap<String, Text> =
            list.iter().map(|signature| who(signature)).map(|words| (words.english(), words)).collect();
        let more = all.len().saturating_sub(SHOWN);
        let shown: Vec<Text> = all.into_values().take(SHOWN).collect();
        let tags = list.iter().filter(|signature| signature.tag.is_some()).count();
        let message = text!("time/signatures/finding", commits = list.len() - tags, tags, result, shown, more);
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
            (MentionKind::Name, Some(_)) => "name",
            (MentionKind::Constant, Some(_)) => "constant",
            (MentionKind::Loads, _) => "loads",
            _ => "starts",
        };
        let cases: Vec<Text> = list.iter().take(SHOWN).map(|mention| case(mention)).collect();
        let rest = list.len() - cases.len() + more.get(&kind).copied().unwrap_or(0);
        let files = Some(files.len()).filter(|_| in_code > 0);
        let message = text!("time/other-models/finding", what, parent, files, cases, more = rest);
        let mut finding = Finding::new(Code::TimeOtherModels, grade, Direction::Neutral, message);
        finding.subject.parent = parent.map(Into::into);
        finding.n = Some(list.len() as u64);
        finding.evidence = Some(MENTIONS.into());
        to.push(finding);
    }
}

fn case(mention: &Mention) -> Text {
    text!(
        "time/other-models/case",
        text = mention.text.replace('`', "'"),
        path = mention.path.as_str(),
        line = mention.line,
        first = short(&mention.first),
        gone = mention.gone.as_deref().map(short),
        main = mention.main
    )
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
