//! The closed set of finding codes. Scripts match their names, so a name never changes.

use std::fmt;

use scratchproof_texts::Text;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! codes {
    ($($variant:ident $name:literal,)*) => {
        /// What kind of finding; the condition it belongs to is the part before the slash.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $name] $variant,)*
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
            pub fn title(self) -> Text {
                match self { $(Self::$variant => Text::new(concat!("title/", $name)),)* }
            }
        }
    };
}

codes! {
    StartNotFirst "start/not-at-zero",
    StartConstants "start/constants",
    StartScheme "start/scheme",
    StartSpectrum "start/spectrum",
    StartIndependence "start/independence",
    StartMatrices "start/matrices",
    StartTrained "start/trained-steps",
    StartReplay "start/replay",
    ChainMemory "chain/memory",
    ChainDisplacement "chain/displacement",
    ChainBudget "chain/budget",
    ChainDecayClock "chain/decay-clock",
    ChainOffChord "chain/off-chord",
    ChainOrder "chain/order",
    ChainNoise "chain/noise",
    ChainDuplicate "chain/duplicate-step",
    ChainStructure "chain/structure",
    ChainTurn "chain/turn",
    ChainAveraged "chain/averaged",
    ChainTensor "chain/tensor-break",
    ChainReturned "chain/returned-rows",
    ChainPrecision "chain/precision",
    ChainStepSizes "chain/step-sizes",
    ChainReach "chain/reach",
    ChainMovement "chain/movement",
    ChainGrowth "chain/growth",
    ChainArchitecture "chain/architecture-change",
    ChainOptimizerSteps "chain/optimizer-steps",
    ChainOptimizerSettings "chain/optimizer-settings",
    ChainOptimizerNorm "chain/optimizer-norm",
    ChainOptimizerRows "chain/optimizer-rows",
    ChainOptimizerMoments "chain/optimizer-moments",
    ChainOptimizerReplay "chain/optimizer-replay",
    ChainOptimizerDirection "chain/optimizer-direction",
    ChainOptimizerMaster "chain/optimizer-master",
    ChainOptimizerCopies "chain/optimizer-copies",
    ChainOptimizerUnused "chain/optimizer-unused",
    ParentSimilarity "parent/aligned-similarity",
    ParentLayerMap "parent/layer-map",
    ParentHeadProducts "parent/head-products",
    ParentHeadSigns "parent/head-signs",
    ParentHeadsSilent "parent/no-head-alike",
    ParentFingerprint "parent/fingerprint",
    ParentPermuted "parent/permuted",
    ParentRotated "parent/rotated",
    ParentNeurons "parent/neurons",
    ParentExperts "parent/experts",
    ParentHeads "parent/heads",
    ParentSecondMoments "parent/second-moments",
    ParentReexpressed "parent/re-expressed",
    ParentAdded "parent/added",
    ParentBorrowed "parent/borrowed",
    ParentSelfMap "parent/self-map",
    ParentBitEqual "parent/bit-equal",
    ParentMatchedRows "parent/matched-rows",
    ParentRowAngles "parent/row-angles",
    ParentRecast "parent/re-cast",
    ParentDecayedRows "parent/decayed-rows",
    ParentMerge "parent/merge",
    ParentSharedSeed "parent/shared-seed",
    ParentLineage "parent/one-lineage",
    ParentSilent "parent/no-similarity",
    ParentUncalibrated "parent/uncalibrated",
    ParentNotComparable "parent/not-comparable",
    ParentNormCosine "parent/norm-cosine",
    ParentTokenizer "parent/tokenizer",
    ParentCka "parent/cka",
    TimeFirstLoss "time/first-loss",
    TimeRunStart "time/run-start",
    TimeSteps "time/steps",
    TimeSizes "time/sizes",
    TimeCommit "time/logged-commit",
    TimeFreeze "time/freeze",
    TimeOrder "time/order",
    TimeImpossible "time/impossible-parent",
    TimeContinued "time/continued",
    TimeUndated "time/undated",
    TimeWitness "time/witness",
    TimeLedger "time/ledger",
    TimeRecomputedLoss "time/recomputed-loss",
    TimeReleaseDate "time/release-date",
    TimeEarlierModels "time/earlier-models",
    TimeSchedule "time/schedule",
    TimeClock "time/clock",
    TimePauses "time/pauses",
    TimePace "time/pace",
    TimeTokens "time/tokens",
    TimeSummary "time/summary",
    TimeDifferences "time/differences",
    TimePrinted "time/printed",
    TimeIdentities "time/identities",
    TimeRepeated "time/repeated-rows",
    TimeLossShape "time/loss-shape",
    TimeDigits "time/digits",
    TimeSystem "time/system",
    TimeConstancy "time/machine",
    TimeCompute "time/compute",
    TimeNorms "time/norms",
    TimeTensorNorms "time/tensor-norms",
    TimeArtifacts "time/artifacts",
    TimeLogDamage "time/log-damage",
    TimeRepository "time/repository",
    TimePointers "time/lfs-pointers",
    TimeCommitClocks "time/commit-clocks",
    TimeRewritten "time/rewritten-history",
    TimeSignatures "time/signatures",
    TimeOtherModels "time/other-models",
    InputNonFinite "input/non-finite",
    InputZeroTensor "input/zero-tensor",
    InputDrawnRows "input/drawn-rows",
    InputUnknownNames "input/unknown-names",
    InputSkipped "input/skipped",
    InputDeduced "input/deduced-roles",
    InputLeftOut "input/left-out-files",
    InputPublication "input/publication",
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
