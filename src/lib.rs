//! scratchproof settles, with evidence anyone can recompute, whether an AI model was trained from scratch or grown from
//! somebody else's weights.

pub use scratchproof_attest as attest;
pub use scratchproof_audit as audit;
pub use scratchproof_case as case;
pub use scratchproof_checkpoint as checkpoint;
pub use scratchproof_disguise as disguise;
pub use scratchproof_error as error;
pub use scratchproof_evidence as evidence;
pub use scratchproof_facts as facts;
pub use scratchproof_finding as finding;
pub use scratchproof_fingerprint as fingerprint;
pub use scratchproof_folder as folder;
pub use scratchproof_kernel as kernel;
pub use scratchproof_measure as measure;
pub use scratchproof_measurements as measurements;
pub use scratchproof_plan as plan;
pub use scratchproof_record as record;
pub use scratchproof_replay as replay;
pub use scratchproof_report as report;
pub use scratchproof_source as source;
pub use scratchproof_stats as stats;
pub use scratchproof_store as store;
pub use scratchproof_texts as texts;
pub use scratchproof_timeline as timeline;
