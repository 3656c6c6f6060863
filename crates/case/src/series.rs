//! Which checkpoints a pattern or a list names.

use std::collections::BTreeMap;
use std::path::Path;

/// A checkpoint as the case file gives it.
pub struct Listed {
    pub step: i64,
    pub written: String,
    pub tokens: Option<u64>,
    pub saved: Option<String>,
    pub averaged: Option<String>,
}

/// Whether this is a pattern of a network, which is looked up there: `hf://org/name@step{step}` for branches and tags of a
/// hub, `hf://org/name/folder/step{step}` for folders of a repository, `s3://bucket/run/step{step}` and its like.
pub fn address(pattern: &str) -> Option<&str> {
    let network = pattern.split_once("://").is_some_and(|(scheme, _)| scheme != "file");
    (network && hole(pattern).is_some()).then_some(pattern)
}

/// What stands for the step in a pattern: `{step}`, or where there is none `{tokens}`.
#[must_use]
pub fn hole(pattern: &str) -> Option<&'static str> {
    ["{step}", "{tokens}"].into_iter().find(|hole| pattern.contains(hole))
}

/// A pattern taken apart: the folder that is listed, the part of the path with the hole, and what follows it.
#[must_use]
pub fn apart(pattern: &str) -> Option<(&str, &str, Option<&str>)> {
    let at = pattern.find(hole(pattern)?)?;
    let (before, after) = pattern.split_at(at);
    let start = before.rfind('/').map_or(0, |slash| slash + 1);
    let end = after.find('/').map_or(pattern.len(), |slash| at + slash);
    let rest = pattern.get(end + 1..).filter(|rest| !rest.is_empty());
    Some((pattern[..start].trim_end_matches('/'), &pattern[start..end], rest))
}

/// Step and tokens of a name that `pattern` matches: `{step}` stands for digits, which may be written in groups of three
/// (`1_000`), `{step}k` for thousands of steps, `{tokens}` after it for a count of tokens, `*` for anything. Without `{step}`
/// the count of tokens is the step.
#[must_use]
pub fn named(name: &str, pattern: &str) -> Option<(i64, Option<u64>)> {
    let (digits, tokens) = numbered(name, pattern)?;
    Some((digits.parse().ok()?, tokens))
}

/// The digits of the step, and the tokens, of a name between what comes before it and after it.
fn placed(name: &str, before: &str, after: &str) -> Option<(String, Option<u64>)> {
    let digit = |at: usize| name.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    // A step begins where no digit stands before it.
    let begins = (0..name.len()).filter(|at| digit(*at) && !(*at > 0 && digit(at - 1)));
    begins.into_iter().find_map(|at| step_of(&name[at..], after).filter(|_| fits(&name[..at], before)))
}

/// As [`named`], with the step as it is written.
fn numbered(name: &str, pattern: &str) -> Option<(String, Option<u64>)> {
    let Some((before, after)) = pattern.split_once("{step}") else {
        let count = counted(name, pattern)?;
        return Some((count.to_string(), Some(count)));
    };
    placed(name, before, after)
}

/// Whether a name differs from those that `pattern` matches only in how its number is written: `10.49B` is no `{step}B`.
fn alike(name: &str, pattern: &str) -> bool {
    let Some((before, after)) = hole(pattern).and_then(|hole| pattern.split_once(hole)) else { return false };
    // A unit behind the hole is a part of how the number is written.
    let after = after.strip_prefix(['k', 'K', 'M', 'B', 'T']).filter(|rest| starts_apart(rest)).unwrap_or(after);
    if before.ends_with('*') || after.starts_with('*') || after.contains('{') {
        return false;
    }
    let begins = (0..name.len()).filter(|at| name.is_char_boundary(*at) && fits(&name[..*at], before));
    begins.into_iter().any(|from| {
        let rest = &name[from..];
        (1..=rest.len())
            .filter(|to| rest.is_char_boundary(*to))
            .any(|to| is_number(&rest[..to]) && fits(&rest[to..], after))
    })
}

/// Whether a text begins with no letter or digit, so that what stands before it ends there.
fn starts_apart(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// A number in one of the ways in which people write counts: `1000`, `1_000`, `10.49B`, `2k`.
fn is_number(text: &str) -> bool {
    let digits = text.strip_suffix(['k', 'K', 'm', 'M', 'b', 'B', 't', 'T']).unwrap_or(text);
    let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    digit(digits.as_bytes().first())
        && digit(digits.as_bytes().last())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b','))
}

/// Of a pattern that takes some of these names, one that it passes over though nothing but the way its number is written tells
/// it from them: a series would be shorter than its maker means.
#[must_use]
pub fn passed_over<'a>(names: impl IntoIterator<Item = &'a str>, pattern: &str) -> Option<&'a str> {
    let (mut taken, mut left) = (false, None);
    for name in names {
        if numbered(name, pattern).is_some() {
            taken = true;
        } else if left.is_none_or(|known| name < known) && alike(name, pattern) {
            left = Some(name);
        }
    }
    left.filter(|_| taken)
}

/// The tokens of a name, where the pattern has `{tokens}` and no step: `hf_ckpt/{tokens}B`.
fn counted(name: &str, pattern: &str) -> Option<u64> {
    let (before, after) = pattern.split_once("{tokens}")?;
    let number = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let begins = |at: &usize| name.as_bytes()[*at].is_ascii_digit() && !(*at > 0 && number(name.as_bytes()[*at - 1]));
    (0..name.len()).filter(begins).find_map(|at| {
        fits(&name[..at], before).then_some(())?;
        count_of(&name[at..], after)
    })
}

/// The checkpoints that `pattern` matches in `folder`: `{step}` stands for digits in one part of the path, in the
/// same part after it `*` for anything and `{tokens}` for a count of tokens, which is the step where there is no other.
pub fn find(folder: &Path, pattern: &str) -> Result<Vec<Listed>, String> {
    let pattern = pattern.strip_prefix("file://").unwrap_or(pattern);
    if let Some((scheme, _)) = pattern.split_once("://") {
        return Err(format!("the pattern \"{pattern}\" of a {scheme}:// address has no {{step}}"));
    }
    let Some((parent, part, rest)) = apart(pattern) else {
        return Err(format!("the pattern \"{pattern}\" has no {{step}}"));
    };
    if pattern.matches("{step}").count() > 1 {
        return Err(format!("the pattern \"{pattern}\" has {{step}} twice"));
    }
    let place = folder.join(if parent.is_empty() && pattern.starts_with('/') { "/" } else { parent });
    // A bare file name has an empty folder, which is where the program runs.
    let place = if place.as_os_str().is_empty() { Path::new(".").to_owned() } else { place };
    let entries = std::fs::read_dir(&place)
        .map_err(|e| format!("the pattern \"{pattern}\" cannot be expanded: {}: {e}", place.display()))?;
    let (mut found, mut names) = (Vec::new(), Vec::new());
    for entry in entries {
        let entry = entry.map_err(|e| format!("{}: {e}", place.display()))?;
        let name = entry.file_name();
        names.extend(name.to_str().map(str::to_owned));
        let Some((digits, tokens)) = name.to_str().and_then(|name| numbered(name, part)) else { continue };
        let step = digits.parse().map_err(|_| format!("the step of \"{}\" is too large", name.display()))?;
        let top = parent.is_empty() && !pattern.starts_with('/');
        let mut written = [parent, &name.to_string_lossy()].join(if top { "" } else { "/" });
        if let Some(rest) = rest {
            written = format!("{written}/{rest}");
        }
        found.push(Listed { step, written, tokens, saved: None, averaged: None });
    }
    if found.is_empty() {
        return Err(format!("the pattern \"{pattern}\" matches nothing"));
    }
    if let Some(name) = passed_over(names.iter().map(String::as_str), part) {
        return Err(format!(
            "the pattern \"{pattern}\" passes over \"{name}\", whose number is written in another way: step takes digits, a k \
             behind it thousands, tokens a count such as 10.49B; or list the checkpoints"
        ));
    }
    // The order of a folder's entries is the file system's; messages and reports must not depend on it.
    found.sort_by(|a, b| (a.step, &a.written).cmp(&(b.step, &b.written)));
    Ok(found)
}

/// The digits of the step at the beginning of `inside`, and the tokens, if the rest is what `pattern` says: `*` stands for
/// anything, `{tokens}` for a count as `OLMo` writes it (`4B`, `2.5T`, `300M`). In `{step}k` the unit counts.
fn step_of(inside: &str, pattern: &str) -> Option<(String, Option<u64>)> {
    if let Some(rest) = pattern.strip_prefix(['k', 'K']).filter(|rest| starts_apart(rest)) {
        let end = inside.find(['k', 'K'])?;
        let count = tokens(&inside[..=end])?;
        return Some((count.to_string(), behind(&inside[end + 1..], rest)?));
    }
    let plain = inside.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(inside.len());
    if plain == 0 {
        return None;
    }
    let (digits, rest) = inside.split_at(plain);
    if let Some(tokens) = behind(rest, pattern) {
        return Some((digits.to_owned(), tokens));
    }
    let end = grouped(inside)?;
    Some((inside[..end].replace(['_', ','], ""), behind(&inside[end..], pattern)?))
}

/// The length of a number in groups of three at the beginning of a text: `1_000`, `12,500,000`.
#[must_use]
pub fn grouped(text: &str) -> Option<usize> {
    let first = text.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=3).contains(&first) || text.starts_with('0') {
        return None;
    }
    let mut end = first;
    let mut mark = None;
    while let Some(&sign @ (b'_' | b',')) = text.as_bytes().get(end) {
        let group = text.as_bytes()[end + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if group != 3 || mark.is_some_and(|mark| mark != sign) {
            break;
        }
        mark = Some(sign);
        end += 4;
    }
    (end > first).then_some(end)
}

/// The tokens, if any, of what follows the step.
#[allow(clippy::option_option, reason = "it fits or not; with or without tokens")]
fn behind(rest: &str, pattern: &str) -> Option<Option<u64>> {
    let Some((before, after)) = pattern.split_once("{tokens}") else {
        return fits(rest, pattern).then_some(None);
    };
    // The shortest count that leaves what the pattern says.
    (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).find_map(|from| {
        let tokens = count_of(rest.get(from..)?, after)?;
        fits(&rest[..from], before).then_some(Some(tokens))
    })
}

/// The count that a text begins with, if what follows is what the pattern says, which may name the unit: `{tokens}B`.
fn count_of(text: &str, after: &str) -> Option<u64> {
    let bare = after.strip_prefix(['T', 'B', 'M', 'K']);
    let length = text.bytes().position(|b| !b.is_ascii_alphanumeric() && b != b'.').unwrap_or(text.len());
    // The suffix of a file is no part of a count.
    let ends = |length: usize| {
        let count = tokens(&text[..length])?;
        let rest = &text[length..];
        (fits(rest, after) || bare.is_some_and(|bare| fits(rest, bare))).then_some(count)
    };
    let dots = text[..length].match_indices('.').map(|(at, _)| at).rev();
    std::iter::once(length).chain(dots).find_map(ends)
}

/// Whether a text is what a pattern with `*` says.
fn fits(text: &str, pattern: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return text == pattern };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

/// `4B`, `2.5T`, `300M`, `12K` or a plain number.
fn tokens(text: &str) -> Option<u64> {
    let (number, unit) = match text.as_bytes().last()? {
        b'T' | b't' => (&text[..text.len() - 1], 1e12),
        b'B' | b'b' => (&text[..text.len() - 1], 1e9),
        b'M' | b'm' => (&text[..text.len() - 1], 1e6),
        b'K' | b'k' => (&text[..text.len() - 1], 1e3),
        _ => (text, 1.0),
    };
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let value = plain.then(|| number.parse::<f64>().ok())?? * unit;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    (value.is_finite() && value < 1e18).then(|| value.round() as u64)
}

/// By ascending step; a step that appears twice is refused.
pub fn ordered(mut listed: Vec<Listed>) -> Result<Vec<Listed>, String> {
    if listed.is_empty() {
        return Err("the list of checkpoints is empty".to_owned());
    }
    let mut seen = BTreeMap::new();
    for entry in &listed {
        if entry.step < 0 {
            return Err(format!("step {} is negative", entry.step));
        }
        if let Some(first) = seen.insert(entry.step, &entry.written) {
            return Err(format!("step {} appears twice: {first} and {}", entry.step, entry.written));
        }
    }
    listed.sort_by_key(|entry| entry.step);
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_step() {
        assert_eq!(step_of("1000-tokens4B", "-tokens{tokens}"), Some(("1000".to_owned(), Some(4_000_000_000))));
        assert_eq!(
            step_of("7-tokens2.5T-unsharded", "-tokens{tokens}-*"),
            Some(("7".to_owned(), Some(2_500_000_000_000)))
        );
        assert_eq!(step_of("90-tokens2B", "-*"), Some(("90".to_owned(), None)));
        assert_eq!(step_of("90", ""), Some(("90".to_owned(), None)));
        assert_eq!(step_of("90", "*"), Some(("90".to_owned(), None)));
        for (inside, pattern) in
            [("90-x", ""), ("x90", ""), ("", "*"), ("90-tokensB", "-tokens{tokens}"), ("9-a", "-b*")]
        {
            assert_eq!(step_of(inside, pattern), None, "{inside} {pattern}");
        }
        assert!(fits("abcabd", "a*b*d") && fits("ab", "ab*") && !fits("ab", "b*") && !fits("a", "a*a"));
    }

    #[test]
    fn names_of_branches() {
        for (name, pattern, expected) in [
            ("step1000", "step{step}", Some((1000, None))),
            ("stage1-step1000-tokens5B", "stage1-step{step}-tokens{tokens}B", Some((1000, Some(5_000_000_000)))),
            ("stage1-step1000-tokens5B", "stage1-step{step}-tokens{tokens}", Some((1000, Some(5_000_000_000)))),
            ("ingredient2-step12-x9", "*-step{step}-*", Some((12, None))),
            ("main", "step{step}", None),
            ("100B", "{tokens}B", Some((100_000_000_000, Some(100_000_000_000)))),
            ("524.29B", "{tokens}", Some((524_290_000_000, Some(524_290_000_000)))),
            ("tokens-5B.pt", "tokens-{tokens}B.pt", Some((5_000_000_000, Some(5_000_000_000)))),
            ("ckpt-2.5T-hf", "ckpt-{tokens}-*", Some((2_500_000_000_000, Some(2_500_000_000_000)))),
            ("B", "{tokens}B", None),
            ("step10", "step{step}0", None),
            ("10k", "{step}k", Some((10_000, None))),
            ("run-2.5k-x", "run-{step}k-*", Some((2500, None))),
            ("step10kept", "step{step}kept", Some((10, None))),
            ("step_1_000", "step_{step}", Some((1000, None))),
            ("12,500,000.pt", "{step}.pt", Some((12_500_000, None))),
            ("step1_0", "step{step}", None),
            ("step0_100", "step{step}", None),
            ("10.49B", "{step}B", None),
        ] {
            assert_eq!(named(name, pattern), expected, "{name} {pattern}");
        }
    }

    #[test]
    fn names_that_only_their_number_keeps_out() {
        let over = |names: &[&'static str], pattern| passed_over(names.iter().copied(), pattern);
        assert_eq!(over(&["20.97B", "0B", "10.49B"], "{step}B"), Some("10.49B"));
        assert_eq!(over(&["step0", "step2k"], "step{step}"), Some("step2k"));
        assert_eq!(over(&["500", "1k"], "{step}"), Some("1k"));
        for (names, pattern) in [
            (&["20.97B", "0B", "10.49B"][..], "{tokens}B"),
            (&["checkpoint-20", "checkpoint-40.old", "checkpoint-best"], "checkpoint-{step}"),
            (&["step0", "step1-tokens2B"], "step{step}"),
            (&["10.49B"], "{step}B"),
            (&["step0", "step1_000"], "step{step}"),
        ] {
            assert_eq!(over(names, pattern), None, "{names:?} {pattern}");
        }
    }

    #[test]
    fn patterns_are_taken_apart() {
        assert_eq!(apart("s3://b/run/step{step}/model.pt"), Some(("s3://b/run", "step{step}", Some("model.pt"))));
        assert_eq!(apart("hf_ckpt/{tokens}B"), Some(("hf_ckpt", "{tokens}B", None)));
        assert_eq!(apart("step{step}-tokens{tokens}/"), Some(("", "step{step}-tokens{tokens}", None)));
        assert_eq!(apart("x"), None);
    }

    #[test]
    fn a_pattern_beside_a_case_file_that_is_named_without_its_folder() {
        // The folder of `case.toml` is empty; the crate's own folder has `src`.
        let message = find(Path::new(""), "no-such-{step}").err().unwrap_or_default();
        assert!(message.contains("matches nothing"), "{message}");
    }
}
