//! Which number in a checkpoint's name is its step.

/// A name with a step in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered<'a> {
    pub before: &'a str,
    pub step: i64,
    pub after: &'a str,
}

/// Words that the number of a step follows, the surest first.
const STEP: [&str; 7] = ["step", "iteration", "iter", "update", "checkpoint", "ckpt", "batch"];

/// Words whose number is no step: a part of one model, one of several models.
const OTHER: [&str; 13] = [
    "rank",
    "shard",
    "part",
    "of",
    "layer",
    "control",
    "parent",
    "seed",
    "fold",
    "run",
    "expert",
    "stage",
    "consolidated",
];

/// The step in a name: the number after a word that says so, else the only number of a name that begins or ends with it.
pub fn numbered(name: &str) -> Option<Numbered<'_>> {
    let lower = name.to_ascii_lowercase();
    let numbers = numbers(name);
    let word_before = |at: usize| {
        let text = lower[..at].trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let from = text
            .rfind(|c: char| !c.is_ascii_alphabetic())
            .map_or(0, |last| last + text[last..].chars().next().map_or(1, char::len_utf8));
        text[from..].to_owned()
    };
    // Only behind a word for steps are groups of three one number: `step_1_000`.
    let made = |(from, to): (usize, usize), groups: bool| {
        let long = groups.then(|| scratchproof_case::grouped(&name[from..])).flatten();
        let to = long.map_or(to, |length| from + length);
        let step = name[from..to].replace(['_', ','], "").parse().ok()?;
        Some(Numbered { before: &name[..from], step, after: &name[to..] })
    };
    for word in STEP {
        if let Some(&place) = numbers.iter().find(|(from, _)| word_before(*from).ends_with(word)) {
            return made(place, true);
        }
    }
    // Composer's batches: `ep0-ba1000`.
    if let Some(&place) = numbers.iter().find(|(from, _)| word_before(*from) == "ba") {
        return made(place, false);
    }
    let [place] = numbers.as_slice() else { return None };
    let word = word_before(place.0);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let edge = place.0 == 0 || place.1 == stem.len() || place.1 == name.len();
    // `7B`, `v2`, `layer3`: a size, a version, a part.
    let next = name[place.1..].chars().next();
    let unit = next.is_some_and(|c| c.is_ascii_alphabetic());
    (edge && !unit && !OTHER.contains(&word.as_str()) && word != "v").then(|| made(*place, false)).flatten()
}

/// What stands for a count that differs between the checkpoints of one series.
pub const COUNT: char = '\u{fffd}';

/// What stands beside a step, without counts that go with it: epochs before it, anything after it (tokens, a loss).
pub fn counted_out(text: &str, only_epochs: bool) -> String {
    let mut out = String::new();
    let mut from = 0;
    for (start, end) in numbers(text) {
        let word = text[..start].trim_end_matches(['=', '-', '_', '.']).to_ascii_lowercase();
        out.push_str(&text[from..start]);
        let epochs = word.ends_with("epoch") || word.rsplit(|c: char| !c.is_ascii_alphabetic()).next() == Some("ep");
        if only_epochs && !epochs {
            out.push_str(&text[start..end]);
        } else {
            out.push(COUNT);
        }
        from = end;
    }
    out.push_str(&text[from..]);
    out
}

/// Runs of digits of a length that a step has.
fn numbers(name: &str) -> Vec<(usize, usize)> {
    let bytes = name.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        if end > at {
            if end - at <= 18 {
                found.push((at, end));
            }
            at = end;
        } else {
            at += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_step_is_told_from_others() {
        for (name, before, step) in [
            ("checkpoint-500", "checkpoint-", 500),
            ("step-0", "step-", 0),
            ("global_step1000", "global_step", 1000),
            ("iter_0000100", "iter_", 100),
            ("step1000-tokens4B", "step", 1000),
            ("epoch=3-step=400.ckpt", "epoch=3-step=", 400),
            ("ckpt_200.pt", "ckpt_", 200),
            ("model-12000.safetensors", "model-", 12000),
            ("000300", "", 300),
            ("llama2-step00050", "llama2-step", 50),
            ("ep0-ba1000", "ep0-ba", 1000),
            ("step_1_000", "step_", 1000),
            ("step_2_000.pt", "step_", 2000),
        ] {
            let found = numbered(name).expect(name);
            assert_eq!((found.before, found.step), (before, step), "{name}");
        }
        for name in [
            "model",
            "mp_rank_00",
            "control-0",
            "parent-1",
            "seed-3",
            "model-00001-of-00002.safetensors",
            "llama-7B",
            "v2",
            "consolidated.00.pth",
            "run3",
            "99999999999999999999",
        ] {
            assert_eq!(numbered(name), None, "{name}");
        }
    }
}
