//! What a verdict rests on beside the weights: which parts of a record were given, and what ties a run log to the weights.
//!
//! Nothing is confirmed on weights alone: a series that was made up passes more tests when its log is withheld, not fewer.

use serde::Serialize;

use scratchproof_case::{Policy, Requirement};
use scratchproof_texts::{Text, text};

use super::{Code, Direction, Finding, Grade};

/// What shows that a run log is of these weights. Equal sizes and equal steps do not: any log of the recipe has those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tie {
    /// Rows that no training reached shrink as the logged rates and the logged decay say.
    DecayClock,
    /// In every interval the weights moved as far as the logged optimiser can, and as the logged rates rise and fall.
    StepSizes,
    /// Logged norms are those of the checkpoints.
    Norms,
    /// The tracker kept digests that are those of the checkpoints' files.
    Digests,
    /// States of the optimizer belong to the weights, and their moments are those of the logged gradient norms.
    OptimizerStates,
    /// States of the optimizer belong to the weights, count their steps and have the logged rates and settings.
    OptimizerSettings,
}

impl Tie {
    /// What a supporting finding ties, if it does: moderate and above, as weaker ones could be of any run.
    #[must_use]
    pub fn of(finding: &Finding) -> Option<Self> {
        if finding.direction != Direction::For || finding.grade < Grade::Moderate {
            return None;
        }
        match finding.code {
            Code::ChainDecayClock if finding.effect.is_some() => Some(Self::DecayClock),
            Code::ChainStepSizes => Some(Self::StepSizes),
            Code::TimeNorms | Code::TimeTensorNorms => Some(Self::Norms),
            Code::TimeArtifacts => Some(Self::Digests),
            Code::ChainOptimizerNorm => Some(Self::OptimizerStates),
            Code::ChainOptimizerSettings => Some(Self::OptimizerSettings),
            _ => None,
        }
    }

    fn words(self) -> Text {
        match self {
            Self::DecayClock => text!("power/tie/decay-clock"),
            Self::StepSizes => text!("power/tie/step-sizes"),
            Self::Norms => text!("power/tie/norms"),
            Self::Digests => text!("power/tie/digests"),
            Self::OptimizerStates => text!("power/tie/optimizer-states"),
            Self::OptimizerSettings => text!("power/tie/optimizer-settings"),
        }
    }
}

/// What was given beside the weights.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each says whether one thing was given")]
pub struct Ground {
    /// Whether a run log was read.
    pub log: bool,
    /// Whether it has learning rates, ...
    pub rates: bool,
    /// ... and whether the run's weight decay is known.
    pub decay: bool,
    /// Whether the logged rates are one rate throughout and there is no weight decay: the weights then do not show which.
    pub featureless: bool,
    /// Whether states of the optimiser were read.
    pub states: bool,
    /// What ties it to the weights.
    pub ties: Vec<Tie>,
    /// Whether a repository was read.
    pub repository: bool,
    /// The parents that have a date of publication, ...
    pub released: Vec<String>,
    /// ... and those that have none.
    pub undated: Vec<String>,
    /// Whether an outside witness was believed.
    pub witness: bool,
    /// Whether the declared start was drawn again.
    pub init: bool,
    /// Whether states of the optimiser fit the weights.
    pub optimizer_states: bool,
}

impl Ground {
    /// Adds what the findings show of it.
    #[must_use]
    pub fn with(mut self, findings: &[Finding]) -> Self {
        self.ties = findings.iter().filter_map(Tie::of).collect();
        self.ties.sort_unstable();
        self.ties.dedup();
        let states = [Code::ChainOptimizerReplay, Code::ChainOptimizerDirection];
        self.optimizer_states = findings.iter().any(|finding| {
            states.contains(&finding.code) && finding.direction == Direction::For && finding.grade >= Grade::Moderate
        }) && !findings
            .iter()
            .any(|finding| states.contains(&finding.code) && finding.direction == Direction::Against);
        self.witness = findings.iter().any(|finding| {
            finding.code == Code::TimeWitness && finding.direction == Direction::For && finding.grade >= Grade::Moderate
        });
        self
    }

    /// Whether one part is there.
    #[must_use]
    pub fn has(&self, requirement: Requirement) -> bool {
        match requirement {
            Requirement::Log => self.log && !self.ties.is_empty(),
            Requirement::Repository => self.repository,
            Requirement::Release => self.undated.is_empty() && !self.released.is_empty(),
            Requirement::Witness => self.witness,
            Requirement::Init => self.init,
            Requirement::OptimizerStates => self.optimizer_states,
        }
    }

    /// What a policy asks for and is not there, in words.
    #[must_use]
    pub fn lacking(&self, policy: &Policy) -> Vec<Text> {
        let lacks = policy.requires.iter().filter(|requirement| !self.has(**requirement));
        lacks
            .map(|requirement| match requirement {
                Requirement::Log if self.log => text!(
                    "power/requires/tie",
                    rates = self.rates,
                    decay = self.decay,
                    featureless = self.featureless,
                    states = self.states
                ),
                Requirement::Log => text!("power/requires/log"),
                Requirement::Repository => text!("power/requires/repository"),
                Requirement::Release => text!("power/requires/release", parents = self.undated.clone()),
                Requirement::Witness => text!("power/requires/witness"),
                Requirement::Init => text!("power/requires/init"),
                Requirement::OptimizerStates => text!("power/requires/optimizer-states"),
            })
            .collect()
    }

    /// What the verdict rests on and what it does without, in one sentence.
    #[must_use]
    pub fn sentence(&self) -> Text {
        text!(
            "power/ground/whole",
            log = self.log,
            ties = self.ties.iter().map(|tie| tie.words()).collect::<Vec<_>>(),
            repository = self.repository,
            witness = self.witness,
            init = self.init,
            released = self.released.clone(),
        )
    }

    /// What the record could be held against, for the sentence under the condition of time.
    #[must_use]
    pub fn record(&self) -> Text {
        text!(
            "power/ground/record",
            log = self.log,
            ties = self.ties.iter().map(|tie| tie.words()).collect::<Vec<_>>(),
            repository = self.repository,
            released = self.released.clone(),
            undated = self.undated.clone(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_nothing_ties_is_no_log() {
        let policy = Policy::default();
        let loose = Ground { log: true, ..Ground::default() };
        assert!(!loose.has(Requirement::Log));
        let lacking = loose.lacking(&policy)[0].to_string();
        assert!(lacking.contains("tied") && lacking.contains("or its learning rates"), "{lacking}");
        // What was handed over is not asked for again.
        let states = Ground { states: true, ..loose.clone() }.lacking(&policy)[0].to_string();
        assert!(!states.contains("optimizer states beside"), "{states}");
        assert!(lacking.contains("optimizer states beside"), "{lacking}");
        let plain =
            Ground { rates: true, decay: true, featureless: true, ..loose.clone() }.lacking(&policy)[0].to_string();
        assert!(plain.contains("which steps and rates"), "{plain}");
        // What a log has is not asked for again.
        let rated = Ground { rates: true, decay: true, ..loose.clone() }.lacking(&policy)[0].to_string();
        assert!(
            rated.contains("learning rates and weight decay, but") && !rated.contains("or its learning"),
            "{rated}"
        );
        let tied = Ground { ties: vec![Tie::DecayClock], ..loose };
        assert!(tied.lacking(&policy).is_empty());
        let none = Ground::default().lacking(&policy);
        assert!(none[0].contains("run log"), "{}", none[0]);
        let all = Policy { requires: vec![Requirement::Repository, Requirement::Witness], ..policy };
        assert_eq!(tied.lacking(&all).len(), 2);
    }

    #[test]
    fn the_sentences_say_what_is_not_there() {
        let weights = Ground::default();
        assert!(weights.sentence().contains("No run log"), "{}", weights.sentence());
        let log = Ground { log: true, ties: vec![Tie::DecayClock], ..Ground::default() };
        let told = log.sentence().english();
        assert!(told.contains("No repository was given") && told.contains("decay"), "{told}");
        let all = Ground { repository: true, released: vec!["P".into()], witness: true, init: true, ..log };
        let told = all.sentence().english();
        assert!(
            ["no run log", "no repository", "no date"].iter().all(|lack| !told.to_lowercase().contains(lack)),
            "{told}"
        );
    }

    const TIES: [(Code, Tie); 7] = [
        (Code::ChainDecayClock, Tie::DecayClock),
        (Code::ChainStepSizes, Tie::StepSizes),
        (Code::TimeNorms, Tie::Norms),
        (Code::TimeTensorNorms, Tie::Norms),
        (Code::TimeArtifacts, Tie::Digests),
        (Code::ChainOptimizerNorm, Tie::OptimizerStates),
        (Code::ChainOptimizerSettings, Tie::OptimizerSettings),
    ];

    fn finding(code: Code, grade: Grade, direction: Direction) -> Finding {
        Finding { effect: Some(0.5), ..Finding::new(code, grade, direction, "") }
    }

    #[test]
    fn a_tie_is_for_the_claim_and_moderate_at_least() {
        for (code, tie) in TIES {
            for (grade, expected) in [
                (Grade::Context, None),
                (Grade::Weak, None),
                (Grade::Moderate, Some(tie)),
                (Grade::Strong, Some(tie)),
                (Grade::Conclusive, Some(tie)),
            ] {
                assert_eq!(Tie::of(&finding(code, grade, Direction::For)), expected, "{code:?} {grade:?}");
                for direction in [Direction::Against, Direction::Neutral] {
                    assert_eq!(Tie::of(&finding(code, grade, direction)), None, "{code:?} {grade:?} {direction:?}");
                }
            }
        }
        // A clock without a measured factor ties nothing, and neither does any other test.
        assert_eq!(Tie::of(&Finding::new(Code::ChainDecayClock, Grade::Strong, Direction::For, "")), None);
        assert_eq!(Tie::of(&finding(Code::ChainMemory, Grade::Strong, Direction::For)), None);
        assert_eq!(Tie::of(&finding(Code::TimeSteps, Grade::Strong, Direction::For)), None);
    }

    #[test]
    fn what_the_findings_show_of_the_ground() {
        let found = |findings: &[Finding]| Ground::default().with(findings);
        let every: Vec<Finding> =
            TIES.iter().rev().map(|(code, _)| finding(*code, Grade::Moderate, Direction::For)).collect();
        let all =
            [Tie::DecayClock, Tie::StepSizes, Tie::Norms, Tie::Digests, Tie::OptimizerStates, Tie::OptimizerSettings];
        assert_eq!(found(&every).ties, all, "in order, each once");
        for code in [Code::ChainOptimizerReplay, Code::ChainOptimizerDirection] {
            let of = |grade, direction| finding(code, grade, direction);
            assert!(found(&[of(Grade::Moderate, Direction::For)]).optimizer_states);
            assert!(!found(&[of(Grade::Weak, Direction::For)]).optimizer_states);
            assert!(!found(&[of(Grade::Moderate, Direction::Neutral)]).optimizer_states);
            // One that speaks against the claim, however weakly, is enough.
            let two = [of(Grade::Strong, Direction::For), of(Grade::Context, Direction::Against)];
            assert!(!found(&two).optimizer_states);
        }
        let other = finding(Code::ChainOptimizerNorm, Grade::Strong, Direction::For);
        assert!(!found(&[other]).optimizer_states && !found(&[]).optimizer_states);
        for (code, grade, direction, witness) in [
            (Code::TimeWitness, Grade::Moderate, Direction::For, true),
            (Code::TimeWitness, Grade::Weak, Direction::For, false),
            (Code::TimeWitness, Grade::Strong, Direction::Against, false),
            (Code::TimeOrder, Grade::Strong, Direction::For, false),
        ] {
            assert_eq!(found(&[finding(code, grade, direction)]).witness, witness, "{code:?} {grade:?}");
        }
    }

    #[test]
    fn one_witness_among_other_findings_is_one() {
        let other = finding(Code::TimeOrder, Grade::Weak, Direction::Neutral);
        let witness = finding(Code::TimeWitness, Grade::Moderate, Direction::For);
        assert!(Ground::default().with(&[other, witness]).witness);
    }

    /// Everything that a policy can ask for, with what gives it and nothing else.
    #[test]
    fn every_requirement_is_met_by_its_own_part_alone() {
        let parts = [
            (Requirement::Log, Ground { log: true, ties: vec![Tie::Norms], ..Ground::default() }),
            (Requirement::Repository, Ground { repository: true, ..Ground::default() }),
            (Requirement::Release, Ground { released: vec!["P".into()], ..Ground::default() }),
            (Requirement::Witness, Ground { witness: true, ..Ground::default() }),
            (Requirement::Init, Ground { init: true, ..Ground::default() }),
            (Requirement::OptimizerStates, Ground { optimizer_states: true, ..Ground::default() }),
        ];
        for (asked, _) in &parts {
            let policy = Policy { requires: vec![*asked], ..Policy::default() };
            for (given, ground) in &parts {
                assert_eq!(ground.has(*asked), asked == given, "{asked:?} from {given:?}");
                assert_eq!(ground.lacking(&policy).is_empty(), asked == given, "{asked:?} from {given:?}");
            }
        }
        assert!(!Ground { ties: vec![Tie::Norms], ..Ground::default() }.has(Requirement::Log), "a tie of no log");
        let one = Ground { released: vec!["P".into()], undated: vec!["Q".into()], ..Ground::default() };
        assert!(!one.has(Requirement::Release), "one parent without a date");
        // Every lack has words of its own.
        let policy = Policy { requires: parts.iter().map(|(asked, _)| *asked).collect(), ..Policy::default() };
        let mut lacks: Vec<String> = Ground::default().lacking(&policy).iter().map(Text::english).collect();
        lacks.sort();
        lacks.dedup();
        assert_eq!(lacks.len(), 6, "{lacks:#?}");
    }

    #[test]
    fn what_the_record_could_be_held_against() {
        let nothing = Ground::default().record().english();
        let ground = Ground {
            log: true,
            released: vec!["Parent-7".into()],
            undated: vec!["Other-9".into()],
            ..Ground::default()
        };
        let told = ground.record().english();
        assert!(told.contains("Parent-7") && told.contains("Other-9") && told != nothing, "{told}");
        for tie in
            [Tie::DecayClock, Tie::StepSizes, Tie::Norms, Tie::Digests, Tie::OptimizerStates, Tie::OptimizerSettings]
        {
            let tied = Ground { ties: vec![tie], ..ground.clone() }.record().english();
            assert!(tied != told, "{tie:?} {tied}");
        }
    }
}
