//! What the repository gave, as tables.

use scratchproof_evidence::{Evidence, MentionRow, SettingRow, SignatureRow};
use scratchproof_record::Repository;
use scratchproof_record::git::{MentionKind, Validity};

/// Adds the tables.
pub fn tables(repository: Option<&Repository>, to: &mut Evidence) {
    let Some(repository) = repository else { return };
    let history = repository.settings_history().into_iter().map(|change| SettingRow {
        commit: change.commit,
        at: change.at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        path: change.path,
        place: change.place,
        line: change.line.and_then(|line| u32::try_from(line).ok()),
        name: change.name,
        value: change.value,
        former: change.former,
    });
    to.settings = history.collect();
    let mentions = repository.mentions.iter().map(|mention| MentionRow {
        kind: match mention.kind {
            MentionKind::Name => "name",
            MentionKind::Loads => "loads",
            MentionKind::Starts => "starts",
            MentionKind::Constant => "constant",
        }
        .to_owned(),
        text: mention.text.clone(),
        parent: mention.parent.clone(),
        path: mention.path.clone(),
        line: mention.line,
        place: mention.place.words().to_owned(),
        first: mention.first.clone(),
        gone: mention.gone.clone(),
        main: mention.main,
    });
    to.mentions = mentions.collect();
    let signatures = repository.signatures.iter().map(|signature| {
        let (result, words) = match &signature.validity {
            Validity::Good(who) => ("good", who.as_str()),
            Validity::Refused(why) => ("refused", why.as_str()),
            Validity::Bad => ("bad", "it does not fit what it stands on"),
            Validity::UnknownKey(print) => ("unknown-key", print.as_str()),
            Validity::Unverified(why) => ("unverified", why.as_str()),
        };
        SignatureRow {
            object: signature.object.clone(),
            tag: signature.tag.clone(),
            kind: signature.kind.name().to_owned(),
            result: result.to_owned(),
            words: words.to_owned(),
        }
    });
    to.signatures = signatures.collect();
}
