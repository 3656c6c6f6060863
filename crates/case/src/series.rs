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

/// Whether this is a pattern of a hub, which is looked up over the network: `hf://org/name@step{step}` for branches and
/// tags, `hf://org/name/folder/step{step}` for folders of a repository.
pub fn address(pattern: &str) -> Option<&str> {
    (pattern.starts_with("hf://") && pattern.contains("{step}")).then_some(pattern)
}

/// Step and tokens of a name that `pattern` matches: `{step}` stands for digits, `{tokens}` after it for a count of tokens,
/// `*` for anything.
#[must_use]
pub fn named(name: &str, pattern: &str) -> Option<(i64, Option<u64>)> {
    let (before, after) = pattern.split_once("{step}")?;
    let digit = |at: usize| name.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    // A step begins where no digit stands before it.
    let begins = (0..name.len()).filter(|at| digit(*at) && !(*at > 0 && digit(at - 1)));
    begins.into_iter().find_map(|at| {
        let (digits, tokens) = step_of(&name[at..], after).filter(|_| fits(&name[..at], before))?;
        Some((digits.parse().ok()?, tokens))
    })
}

/// The checkpoints that `pattern` matches in `folder`: `{step}` stands for digits in one part of the path, in the
/// same part after it `*` for anything and `{tokens}` for a count of tokens.
pub fn find(folder: &Path, pattern: &str) -> Result<Vec<Listed>, String> {
    if let Some((scheme, _)) = pattern.split_once("://") {
        return Err(format!(
            "a pattern is expanded in folders of this computer only, not in {scheme}:// addresses; list the checkpoints: \
             [{{ step = 0, model = \"hf://org/name@revision\" }}, ...]"
        ));
    }
    let Some((before, after)) = pattern.split_once("{step}") else {
        return Err(format!("the pattern \"{pattern}\" has no {{step}}"));
    };
    if after.contains("{step}") {
        return Err(format!("the pattern \"{pattern}\" has {{step}} twice"));
    }
    let (parent, prefix) = before.rsplit_once('/').map_or(("", before), |(parent, prefix)| (parent, prefix));
    let (suffix, rest) = after.split_once('/').map_or((after, None), |(suffix, rest)| (suffix, Some(rest)));
    let place = folder.join(parent);
    // A bare file name has an empty folder, which is where the program runs.
    let place = if place.as_os_str().is_empty() { Path::new(".").to_owned() } else { place };
    let entries = std::fs::read_dir(&place)
        .map_err(|e| format!("the pattern \"{pattern}\" cannot be expanded: {}: {e}", place.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| format!("{}: {e}", place.display()))?;
        let name = entry.file_name();
        let inside = name.to_str().and_then(|name| name.strip_prefix(prefix));
        let Some((digits, tokens)) = inside.and_then(|inside| step_of(inside, suffix)) else { continue };
        let step = digits.parse().map_err(|_| format!("the step of \"{}\" is too large", name.display()))?;
        let mut written = [parent, &name.to_string_lossy()].join(if parent.is_empty() { "" } else { "/" });
        if let Some(rest) = rest {
            written = format!("{written}/{rest}");
        }
        found.push(Listed { step, written, tokens, saved: None, averaged: None });
    }
    if found.is_empty() {
        return Err(format!("the pattern \"{pattern}\" matches nothing"));
    }
    // The order of a folder's entries is the file system's; messages and reports must not depend on it.
    found.sort_by(|a, b| (a.step, &a.written).cmp(&(b.step, &b.written)));
    Ok(found)
}

/// The digits of the step at the beginning of `inside`, and the tokens, if the rest is what `pattern` says: `*` stands for
/// anything, `{tokens}` for a count as `OLMo` writes it (`4B`, `2.5T`, `300M`).
fn step_of<'a>(inside: &'a str, pattern: &str) -> Option<(&'a str, Option<u64>)> {
    let end = inside.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(inside.len());
    let (digits, rest) = inside.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let Some((before, after)) = pattern.split_once("{tokens}") else {
        return fits(rest, pattern).then_some((digits, None));
    };
    // A pattern may name the unit: `{tokens}B`.
    let bare = after.strip_prefix(['T', 'B', 'M', 'K']);
    // The shortest count that leaves what the pattern says.
    (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).find_map(|from| {
        let count = rest.get(from..)?;
        let length = count.bytes().position(|b| !b.is_ascii_alphanumeric() && b != b'.').unwrap_or(count.len());
        let tokens = tokens(&count[..length])?;
        let ends = fits(&count[length..], after) || bare.is_some_and(|bare| fits(&count[length..], bare));
        (fits(&rest[..from], before) && ends).then_some((digits, Some(tokens)))
    })
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
        assert_eq!(step_of("1000-tokens4B", "-tokens{tokens}"), Some(("1000", Some(4_000_000_000))));
        assert_eq!(step_of("7-tokens2.5T-unsharded", "-tokens{tokens}-*"), Some(("7", Some(2_500_000_000_000))));
        assert_eq!(step_of("90-tokens2B", "-*"), Some(("90", None)));
        assert_eq!(step_of("90", ""), Some(("90", None)));
        assert_eq!(step_of("90", "*"), Some(("90", None)));
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
            ("step10", "step{step}0", None),
        ] {
            assert_eq!(named(name, pattern), expected, "{name} {pattern}");
        }
    }

    #[test]
    fn a_pattern_beside_a_case_file_that_is_named_without_its_folder() {
        // The folder of `case.toml` is empty; the crate's own folder has `src`.
        let message = find(Path::new(""), "no-such-{step}").err().unwrap_or_default();
        assert!(message.contains("matches nothing"), "{message}");
    }
}
