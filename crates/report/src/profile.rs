//! The questions of a programme or of a form, answered from the findings.

use std::collections::BTreeSet;

use scratchproof_case::profile::{Both, Kind, Profile};
use scratchproof_evidence::{Evidence, Reference};
use scratchproof_finding::{Code, Direction, Grade, Tie};
use scratchproof_texts::{Language, Text, text};
use serde::Serialize;

use super::answer::part;
use super::note::{Note, heading, line, safe};
use super::{ComponentOutcome, ComponentResult, Condition, InputRole, Outcome, Report, json};

/// What came out for one part, and for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// As the programme asks.
    Yes,
    /// Not as it asks.
    No,
    /// Some parts as it asks and some not.
    Partly,
    /// Nothing shows it.
    Unknown,
    /// Nothing in weights or record could show it.
    Stated,
}

/// One line with its answer.
#[derive(Clone, Debug, Serialize)]
pub struct Answered {
    pub(crate) id: String,
    pub(crate) asks: Both,
    /// What came out.
    pub answer: Word,
    #[serde(serialize_with = "scratchproof_texts::sentences")]
    reasons: Vec<Text>,
    pub(crate) texts: Vec<Text>,
}

/// The questions of a profile and their answers.
pub trait Answers {
    /// Every line answered.
    fn answer(&self, report: &Report, evidence: &Evidence) -> Vec<Answered>;
    /// The answers as Markdown.
    fn to_markdown(&self, report: &Report, evidence: &Evidence, language: Language) -> String;
    /// The answers as JSON.
    fn to_json(&self, report: &Report, evidence: &Evidence) -> String;
}

impl Answers for Profile {
    fn answer(&self, report: &Report, evidence: &Evidence) -> Vec<Answered> {
        let case = Asked { report, evidence };
        let lines = self.lines().iter().map(|line| {
            let (answer, texts) = case.answer(line.answer);
            Answered { id: line.id.clone(), asks: line.asks.clone(), answer, reasons: texts.clone(), texts }
        });
        lines.collect()
    }

    fn to_markdown(&self, report: &Report, evidence: &Evidence, language: Language) -> String {
        let mut out = Note::new(language);
        let subject = if report.case.subject.is_empty() { &report.case.name } else { &report.case.subject };
        let title = text!("profile/head/title", name = of(&self.name, language), subject);
        line(&mut out, &format!("# {}", safe(&title.say(language))));
        out.push('\n');
        let digest = report.seal.as_ref().map_or(&report.case.digest, |seal| &seal.root);
        line(&mut out, &safe(&text!("profile/head/note", digest).say(language)));
        lines(&mut out, &self.answer(report, evidence));
        out.text
    }

    fn to_json(&self, report: &Report, evidence: &Evidence) -> String {
        #[derive(Serialize)]
        struct Whole<'a> {
            schema: &'static str,
            profile: &'a str,
            case: &'a super::CaseSummary,
            lines: Vec<Answered>,
        }
        let lines = self.answer(report, evidence);
        json::rounded(&Whole { schema: "scratchproof.profile/1", profile: &self.id, case: &report.case, lines })
    }
}

/// The words in a language.
pub(crate) fn of(both: &Both, language: Language) -> &str {
    match language {
        Language::English => &both.en,
        Language::Korean => &both.ko,
    }
}

/// The profile that the case's policy names, if any.
pub(crate) fn of_case(report: &Report) -> Option<Profile> {
    Profile::named(report.policy.get("profile")?.as_str()?).ok()
}

/// Answered lines as Markdown, each under a heading of its own.
pub(crate) fn lines(out: &mut Note, answered: &[Answered]) {
    let language = out.language;
    for answered in answered {
        heading(out, &Text::plain(safe(of(&answered.asks, language))));
        line(out, &format!("**{}**", word(answered.answer).say(language)));
        out.push('\n');
        for reason in &answered.texts {
            line(out, &format!("- {}", safe(&reason.say(language))));
        }
    }
}

/// The word for a person.
pub(crate) fn word(word: Word) -> Text {
    match word {
        Word::Yes => text!("profile/word/yes"),
        Word::No => text!("profile/word/no"),
        Word::Partly => text!("profile/word/partly"),
        Word::Unknown => text!("profile/word/unknown"),
        Word::Stated => text!("profile/word/stated"),
    }
}

/// The word of a line whose parts have these: nothing that is not shown of a part is given to the whole.
fn together(words: &[Word]) -> Word {
    let has = |word: Word| words.contains(&word);
    match (has(Word::Yes), has(Word::No), has(Word::Unknown)) {
        (true, false, false) => Word::Yes,
        (false, true, false) => Word::No,
        (_, true, _) => Word::Partly,
        _ => Word::Unknown,
    }
}

struct Asked<'a> {
    report: &'a Report,
    evidence: &'a Evidence,
}

impl Asked<'_> {
    fn answer(&self, kind: Kind) -> (Word, Vec<Text>) {
        match kind {
            Kind::Architecture => (Word::Stated, vec![text!("profile/architecture/stated")]),
            Kind::Initialised => self.parts(|component| self.initialised(component)),
            Kind::Trained | Kind::Frozen => self.parts(|component| self.moved(component)),
            Kind::Borrowed => self.parts(|component| self.borrowed(component)),
            Kind::Record => self.record(),
            Kind::Checkpoints => self.checkpoints(),
            Kind::Dependencies => self.dependencies(),
            Kind::Authenticity => self.authenticity(),
        }
    }

    fn parts(&self, of: impl Fn(&ComponentResult) -> (Word, Text)) -> (Word, Vec<Text>) {
        let (words, texts): (Vec<Word>, Vec<Text>) = self.report.components.iter().map(of).unzip();
        (together(&words), texts)
    }

    fn threshold(&self, name: &str, otherwise: f64) -> f64 {
        self.report.policy.get(name).and_then(serde_json::Value::as_f64).unwrap_or(otherwise)
    }

    /// Whether a component's matrices at step 0 are a random draw, and nobody else's.
    fn initialised(&self, component: &ComponentResult) -> (Word, Text) {
        let (name, part) = (component.name.as_str(), part(&component.name));
        let no = |why: Text| (Word::No, text!("profile/initialised/no", part = self::part(name), why));
        let first = self.evidence.components.iter().map(|row| row.step).min();
        let strong = self.threshold("strong_log10_p", -10.0);
        let effect = self.threshold("strong_effect", 0.1);
        let taken = self.evidence.components.iter().find(|row| {
            Some(row.step) == first
                && row.component == name
                && matches!(row.reference, Reference::Parent(_) | Reference::Relabelled(_))
                && row.log10_p.is_some_and(|p| p <= strong)
                && row.effect.is_some_and(|own| own >= effect)
        });
        let derived = component.outcome == ComponentOutcome::Derived;
        if let (true, Some(Reference::Parent(parent) | Reference::Relabelled(parent))) =
            (derived, taken.map(|row| &row.reference))
        {
            return no(text!("profile/initialised/parent", parent));
        }
        let against = self.report.findings.iter().find(|finding| {
            finding.code.condition() == "start"
                && finding.direction == Direction::Against
                && finding.grade >= Grade::Moderate
                && finding.subject.component.as_deref() == Some(name)
        });
        if let Some(finding) = against {
            return no(text!("profile/initialised/trained", id = &finding.id));
        }
        let own = self.evidence.start.iter().filter(|row| row.component == name);
        let (mut drawn, mut all) = (0.0, 0.0);
        for row in own {
            all += row.elements as f64;
            let constant = row.scheme.as_deref().is_some_and(|scheme| ["zero", "constant"].contains(&scheme));
            // Norms and biases start as one value.
            let vector = constant && ["norms", "head"].contains(&name);
            if vector || row.edge_log10_p.is_some_and(|p| p > strong) && !constant {
                drawn += row.elements as f64;
            }
        }
        let at_zero = self.report.verdict.power.start.is_some();
        if at_zero && all > 0.0 && drawn / all >= 0.5 && !derived {
            return (Word::Yes, text!("profile/initialised/yes", part, share = drawn / all));
        }
        // Of vectors that start as one value nothing is drawn: a finding says that they do.
        let constant = self.report.findings.iter().find(|finding| {
            finding.code == Code::StartConstants
                && finding.direction == Direction::For
                && finding.subject.component.as_deref() == Some(name)
        });
        match constant.filter(|_| at_zero && all == 0.0 && !derived) {
            Some(finding) => (Word::Yes, text!("profile/initialised/constant", part, id = &finding.id)),
            None => (Word::Unknown, text!("profile/initialised/unknown", part)),
        }
    }

    /// Whether any value of a component changed between the first and the last checkpoint.
    fn moved(&self, component: &ComponentResult) -> (Word, Text) {
        let part = part(&component.name);
        let last = self.evidence.trajectory.iter().map(|row| row.step).max();
        let (mut path, mut size, mut seen) = (0.0, 0.0, false);
        for row in &self.evidence.trajectory {
            if Some(row.step) != last || row.component != component.name || row.reference != Reference::Init {
                continue;
            }
            let (Some(l2), Some(relative)) = (row.l2, row.relative_l2) else { continue };
            seen = true;
            path += l2 * l2;
            if relative > 0.0 {
                size += (l2 / relative) * (l2 / relative);
            }
        }
        match (seen, path > 0.0) {
            (false, _) => (Word::Unknown, text!("profile/trained/unknown", part)),
            (true, false) => (Word::No, text!("profile/trained/no", part)),
            (true, true) => {
                let moved = if size > 0.0 { (path / size).sqrt() } else { 1.0 };
                (Word::Yes, text!("profile/trained/yes", part, moved))
            }
        }
    }

    /// Whether a component is free of another model's weights.
    fn borrowed(&self, component: &ComponentResult) -> (Word, Text) {
        let part = part(&component.name);
        let parents = self.report.verdict.against.as_slice();
        let parent = component.parent.as_deref().unwrap_or_default();
        let seed = self.report.findings.iter().any(|finding| {
            finding.code == Code::ParentSharedSeed
                && finding.subject.parent.as_deref() == Some(parent)
                && finding.subject.component.as_ref().is_none_or(|named| *named == component.name)
        });
        match component.outcome {
            ComponentOutcome::Derived => (Word::No, text!("profile/borrowed/yes", part, parent)),
            ComponentOutcome::Independent if seed => (Word::Yes, text!("profile/borrowed/seed", part, parents, parent)),
            ComponentOutcome::Independent => (Word::Yes, text!("profile/borrowed/no", part, parents)),
            ComponentOutcome::Undetermined => (Word::Unknown, text!("profile/borrowed/unknown", part)),
        }
    }

    fn inputs(&self, role: InputRole) -> Vec<&str> {
        self.report.inputs.iter().filter(|input| input.role == role).map(|input| input.name.as_str()).collect()
    }

    fn record(&self) -> (Word, Vec<Text>) {
        let ties = self.report.findings.iter().filter_map(Tie::of).collect::<BTreeSet<_>>().len();
        let (logs, commits) = (self.inputs(InputRole::Run), self.inputs(InputRole::Repository));
        let mut texts = vec![if logs.is_empty() {
            text!("profile/record/no-log")
        } else {
            text!("profile/record/log", names = logs.clone(), ties)
        }];
        texts.push(match commits.first() {
            Some(commit) => text!("profile/record/repository", commit = *commit),
            None => text!("profile/record/no-repository"),
        });
        if self.report.verdict.conditions.time == Condition::Fails {
            texts.push(text!("profile/record/contradicts"));
            return (Word::No, texts);
        }
        let word = match (logs.is_empty(), ties, commits.is_empty()) {
            (false, 1.., false) => Word::Yes,
            (true, _, true) => Word::Unknown,
            _ => Word::Partly,
        };
        (word, texts)
    }

    fn checkpoints(&self) -> (Word, Vec<Text>) {
        let steps: BTreeSet<i64> = self.evidence.components.iter().map(|row| row.step).collect();
        let count = self.inputs(InputRole::Checkpoint).len();
        if count < 2 {
            return (Word::No, vec![text!("profile/checkpoints/none")]);
        }
        let steps = steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        (Word::Yes, vec![text!("profile/checkpoints/steps", count, steps)])
    }

    fn dependencies(&self) -> (Word, Vec<Text>) {
        let answer = &self.report.answer;
        let parents = self.report.verdict.against.as_slice();
        let derived = self.report.components.iter().filter(|one| one.outcome == ComponentOutcome::Derived);
        let parts: Vec<Text> = derived.map(|one| part(&one.name)).collect();
        match self.report.verdict.outcome {
            Outcome::Refuted if !parts.is_empty() => {
                (Word::Yes, vec![text!("profile/dependencies/of", parents = answer.accused.as_slice(), parts)])
            }
            _ if parents.is_empty() => (Word::Unknown, vec![text!("profile/dependencies/untested")]),
            _ if self.report.verdict.conditions.parent == Condition::Holds => {
                (Word::No, vec![text!("profile/dependencies/none", parents)])
            }
            _ => (Word::Unknown, vec![text!("profile/dependencies/open", found = answer.found.clone())]),
        }
    }

    fn authenticity(&self) -> (Word, Vec<Text>) {
        let finals = self.report.inputs.iter().rev().find(|input| input.role == InputRole::Checkpoint);
        // Where a share of the rows was read there is none.
        let finals = finals.filter(|input| !input.sha256.is_empty());
        let mut texts: Vec<Text> =
            finals.map(|input| text!("profile/authenticity/digests", digest = &input.sha256)).into_iter().collect();
        texts.push(text!("profile/authenticity/case", digest = &self.report.case.digest));
        if let Some(seal) = &self.report.seal {
            texts.push(text!("profile/authenticity/seal", seal = &seal.root));
        }
        let sentence = self.report.answer.sentence.said.clone();
        texts.push(text!("profile/authenticity/verdict", sentence));
        (Word::Stated, texts)
    }
}

#[cfg(test)]
mod tests {
    use super::{Answers, Profile, Word, together};
    use crate::sample;
    use scratchproof_texts::Language;

    #[test]
    fn nothing_that_is_not_shown_of_a_part_is_given_to_the_whole() {
        assert_eq!(together(&[Word::Yes, Word::Yes]), Word::Yes);
        assert_eq!(together(&[Word::Yes, Word::Unknown]), Word::Unknown);
        assert_eq!(together(&[Word::Yes, Word::No]), Word::Partly);
        assert_eq!(together(&[Word::Unknown, Word::No]), Word::Partly);
        assert_eq!(together(&[Word::No]), Word::No);
        assert_eq!(together(&[]), Word::Unknown);
    }

    #[test]
    fn every_profile_answers_every_line_in_both_languages() {
        let (report, evidence) = sample::refuted();
        for name in ["kr-sovereign-ai", "eu-model-documentation", "model-openness"] {
            let profile = Profile::named(name).expect("a profile");
            let answered = profile.answer(&report, &evidence);
            assert!(answered.len() >= 2 && answered.iter().all(|line| !line.texts.is_empty()), "{name}");
            let (en, ko) = (
                profile.to_markdown(&report, &evidence, Language::English),
                profile.to_markdown(&report, &evidence, Language::Korean),
            );
            assert_eq!(en.matches("\n## ").count(), answered.len());
            assert!(en != ko && ko.contains('을') | ko.contains('의'), "{ko}");
            assert!(serde_json::from_str::<serde_json::Value>(&profile.to_json(&report, &evidence)).is_ok());
        }
        let korean = Profile::named("kr-sovereign-ai").expect("a profile").answer(&report, &evidence);
        let of = |id: &str| korean.iter().find(|line| line.id == id).expect("a line").answer;
        assert_eq!((of("architecture"), of("borrowed")), (Word::Stated, Word::Partly));
    }
}
