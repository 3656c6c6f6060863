//! The closed set of finding codes. Scripts match their names, so a name never changes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! codes {
    ($($variant:ident $name:literal $title:literal,)*) => {
        /// What kind of finding; the condition it belongs to is the part before the slash.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// All of them, in the order of the report.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name that scripts match, `condition/what`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The condition it belongs to. Two findings of one condition are seldom two pieces of evidence.
            #[must_use]
            pub fn condition(self) -> &'static str {
                self.name().split_once('/').map_or("", |(condition, _)| condition)
            }

            /// One line that says what was looked at.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    StartNotFirst "start/not-at-zero" "The earliest checkpoint is not step 0",
    StartConstants "start/constants" "Norm weights are one and biases zero at the start",
    StartScheme "start/scheme" "The start follows a known initialisation scheme",
    StartSpectrum "start/spectrum" "The singular values of the start lie inside the random-matrix edge",
    StartIndependence "start/independence" "Rows and columns of the start have the norms of independent draws",
    StartTrained "start/trained-steps" "How many steps of training the start looks like",
    StartReplay "start/replay" "Step 0 is what the declared seed draws",
    StartParent "start/parent-present" "The parent's weights are present in the start",
    ChainMemory "chain/memory" "Every checkpoint remembers the start and the one before",
    ChainDisplacement "chain/displacement" "Every checkpoint holds the way that the one before had gone",
    ChainBudget "chain/budget" "The distance between checkpoints is within what the learning rates allow",
    ChainStepSizes "chain/step-sizes" "The weights move as the logged learning rates rise and fall",
    ChainReach "chain/reach" "No weight moved farther than the sum of the learning rates",
    ChainMovement "chain/movement" "Layers and rows of tokens that were met move alike from interval to interval",
    ChainDecayClock "chain/decay-clock" "Rows that no training reached decay as the log says",
    ChainOffChord "chain/off-chord" "Checkpoints lie off the straight line between their neighbours",
    ChainOrder "chain/order" "The checkpoints lie along the path in the order of their steps",
    ChainNoise "chain/noise" "Neighbouring checkpoints leave the straight line together, as a walk does",
    ChainDuplicate "chain/duplicate-step" "Two steps hold the same weights",
    ChainStructure "chain/structure" "What lies between checkpoints has the structure of updates",
    ChainTurn "chain/turn" "The way does not turn back on itself",
    ChainAveraged "chain/averaged" "A checkpoint is an average of others",
    ChainTensor "chain/tensor-break" "Every matrix remembers the checkpoint before, as the others do",
    ChainReturned "chain/returned-rows" "A row of a token that has moved does not come back",
    ChainPrecision "chain/precision" "The precision of the values along the series",
    ChainGrowth "chain/growth" "The model grew between two checkpoints",
    ChainArchitecture "chain/architecture-change" "A checkpoint of another architecture is in the series",
    ParentSimilarity "parent/aligned-similarity" "Weights are aligned with the parent's beyond the exact null",
    ParentLayerMap "parent/layer-map" "Layers of the subject answer to layers of the parent",
    ParentPermuted "parent/permuted" "The residual axis is the parent's in another order",
    ParentRotated "parent/rotated" "The residual axis is the parent's in another basis",
    ParentNeurons "parent/neurons" "Neurons are the parent's, matched twice apart",
    ParentExperts "parent/experts" "Experts are the parent's, matched twice apart",
    ParentHeads "parent/heads" "Attention heads are the parent's, matched twice apart",
    ParentSecondMoments "parent/second-moments" "Second moments over the residual axis are the parent's, whatever the rows' order",
    ParentReexpressed "parent/re-expressed" "Weights are aligned with the parent written in the subject's coordinates",
    ParentBorrowed "parent/borrowed" "A part of the subject is a parent's, and another part is not",
    ParentSelfMap "parent/self-map" "Layers of the subject answer to other layers of the subject",
    ParentBitEqual "parent/bit-equal" "Tensors are equal to the parent's bit for bit",
    ParentRecast "parent/re-cast" "Matrices are the parent's but for a rounding to fewer bits",
    ParentDecayedRows "parent/decayed-rows" "Rows of the two models differ by one common factor: one start or one copied table",
    ParentMerge "parent/merge" "The final checkpoint is a weighted sum of several parents",
    ParentSharedSeed "parent/shared-seed" "Subject and parent were drawn from one random seed",
    ParentLineage "parent/one-lineage" "Subject and parent share a random start and more: the direction is open",
    ParentSilent "parent/no-similarity" "No component is nearer to the parent than independent models are",
    ParentUncalibrated "parent/uncalibrated" "A control fires, so the test does not count on this case",
    ParentNotComparable "parent/not-comparable" "The parent has no tensor that can be compared",
    ParentNormCosine "parent/norm-cosine" "Raw cosine of norm weights, beside the centred figure",
    ParentTokenizer "parent/tokenizer" "The subject's tokenizer against the parent's",
    ParentCka "parent/cka" "Attention after the residual axis is aligned through shared tokens",
    TimeFirstLoss "time/first-loss" "The first logged loss against ln(vocabulary)",
    TimeRunStart "time/run-start" "The start of the run against the release of the parent",
    TimeSteps "time/steps" "The steps of the checkpoints against the steps of the log",
    TimeSizes "time/sizes" "The sizes in the run configuration against the tensors",
    TimeCommit "time/logged-commit" "The commit named by the run log, in the repository",
    TimeFreeze "time/freeze" "Since when the repository has the architecture of the final checkpoint",
    TimeOrder "time/order" "What must come before what, against the dates",
    TimeImpossible "time/impossible-parent" "The parent was not public when this training stood",
    TimeContinued "time/continued" "Logs that go on from each other",
    TimeUndated "time/undated" "Checkpoints that no source dates",
    TimeWitness "time/witness" "What an outside witness saw, and whether it may be believed",
    TimeReleaseDate "time/release-date" "When a parent became public: the case file and the register of releases",
    TimeEarlierModels "time/earlier-models" "Known public models of these sizes that came before the run",
    TimeSchedule "time/schedule" "The logged learning rates against a law and the configuration",
    TimeClock "time/clock" "Wall clock, runtime and start of a run agree and never run back",
    TimePauses "time/pauses" "Long waits between the rows of a run",
    TimePace "time/pace" "The time that steps took",
    TimeTokens "time/tokens" "Counted tokens are steps times batch times length",
    TimeSummary "time/summary" "The summary of a run against its rows",
    TimeDifferences "time/differences" "Two sources of one run's record against each other",
    TimePrinted "time/printed" "The losses that the program printed against the logged ones",
    TimeIdentities "time/identities" "Columns that are computed from each other",
    TimeRepeated "time/repeated-rows" "The same losses stand in two places",
    TimeLossShape "time/loss-shape" "The shape of the loss",
    TimeDigits "time/digits" "The digits that a column is written with",
    TimeSystem "time/system" "The accelerators worked while steps were logged",
    TimeConstancy "time/machine" "Host, program and commit over the runs",
    TimeCompute "time/compute" "The accelerators of the log could have done the work",
    TimeNorms "time/norms" "Logged norms of the weights against the checkpoints",
    TimeTensorNorms "time/tensor-norms" "Logged norms of single tensors against the checkpoints",
    TimeArtifacts "time/artifacts" "Digests that the tracker kept against the files of the checkpoints",
    TimeLogDamage "time/log-damage" "A part of a run log could not be read",
    TimeRepository "time/repository" "What could not be read of the repository",
    TimeCommitClocks "time/commit-clocks" "The clocks of the commits: order, zones, bursts",
    TimeRewritten "time/rewritten-history" "Traces that the history was rewritten or cut",
    TimeSignatures "time/signatures" "The signatures of commits and tags",
    TimeOtherModels "time/other-models" "Other people's models in the history of the repository",
    InputNonFinite "input/non-finite" "Weights that are not finite numbers",
    InputZeroTensor "input/zero-tensor" "A weight matrix that is all zero",
    InputUnknownNames "input/unknown-names" "Tensors whose names no architecture template knows",
    InputSkipped "input/skipped" "A file that could not be used",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = Self::ALL.iter().find(|code| code.name() == name);
        known.copied().ok_or_else(|| de::Error::custom(format!("there is no finding `{name}` in this version")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Code;

    #[test]
    fn names_are_unique_and_name_their_condition() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for name in names {
            let (condition, what) = name.split_once('/').expect("a slash");
            assert!(["start", "chain", "parent", "time", "input"].contains(&condition), "{name}");
            assert!(what.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
        }
    }
}
