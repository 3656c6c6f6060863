//! What was handed over with the checkpoints and is looked at by no test. Nothing is confirmed while that is more than the
//! policy lets pass: another model may lie there.

use std::collections::{BTreeMap, BTreeSet};

use scratchproof_facts::Session;
use scratchproof_finding::{Code, Direction, Finding, Grade};
use scratchproof_measurements::Model;
use scratchproof_texts::{Text, text};

/// Names that are told.
const SHOWN: usize = 4;

/// Some of many names.
pub fn some(names: &[String]) -> Vec<Text> {
    let shown = names.iter().take(SHOWN).map(|name| Text::plain(name.as_str()));
    shown.chain((names.len() > SHOWN).then(|| Text::plain("..."))).collect()
}

/// What lies with the checkpoints of the series.
struct Unjudged {
    /// Files and entries, the largest first.
    places: Vec<String>,
    /// Checkpoints that something lies with.
    checkpoints: usize,
    /// Bytes of it, and what share they are of the checkpoint's own, where they are most.
    bytes: u64,
    share: f64,
}

impl Unjudged {
    fn of(models: &[Model]) -> Option<Self> {
        let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut checkpoints, mut most) = (0, (0, 0.0));
        for model in models.iter().filter(|model| !model.untaken.is_empty()) {
            checkpoints += 1;
            for untaken in &model.untaken {
                let size = sizes.entry(&untaken.place).or_default();
                *size = untaken.bytes.max(*size);
            }
            let bytes = model.untaken.iter().fold(0_u64, |all, own| all.saturating_add(own.bytes));
            let share = bytes as f64 / model.bytes.max(1) as f64;
            if share > most.1 {
                most = (bytes, share);
            }
        }
        let mut places: Vec<(&str, u64)> = sizes.into_iter().collect();
        places.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let places = places.into_iter().map(|(place, _)| place.to_owned()).collect();
        (checkpoints > 0).then_some(Self { places, checkpoints, bytes: most.0, share: most.1 })
    }
}

/// The checkpoints of the subject.
fn series<'a>(session: &Session<'a>) -> &'a [Model] {
    &session.measured.models[..session.measured.plan.series]
}

/// What is missing before anything is confirmed: what else was handed over, judged.
pub fn lacking(session: &Session) -> Option<Text> {
    let found = Unjudged::of(series(session))?;
    (found.share > session.case.policy.unreached_share).then(|| {
        text!(
            "input/left-out-files/missing",
            files = some(&found.places),
            count = found.places.len(),
            bytes = found.bytes,
            share = found.share
        )
    })
}

/// One finding for the whole series.
pub fn finding(session: &Session) -> Option<Finding> {
    let models = series(session);
    let (text, count) = if let Some(found) = Unjudged::of(models) {
        let text = text!(
            "input/left-out-files/unjudged",
            files = some(&found.places),
            checkpoints = found.checkpoints,
            all = models.len(),
            bytes = found.bytes,
            share = found.share
        );
        (text, found.places.len())
    } else {
        let unread: BTreeSet<&String> = models.iter().flat_map(|model| &model.unread).collect();
        let unread: Vec<String> = unread.into_iter().cloned().collect();
        let last = models.last().filter(|_| !unread.is_empty())?;
        let model = session.case.subject.name.as_str();
        let (files, read) = (some(&unread), some(&last.files));
        (text!("input/left-out-files/some", model, count = unread.len(), files, read), unread.len())
    };
    let mut finding = Finding::new(Code::InputLeftOut, Grade::Weak, Direction::Neutral, text);
    finding.n = Some(count as u64);
    Some(finding)
}
