//! SSH signatures (SSHSIG) against an allowed-signers file, as `ssh-keygen -Y verify` reads it (ssh-keygen(1)).

use chrono::{NaiveDate, NaiveDateTime};
use ssh_key::PublicKey;
use ssh_key::public::KeyData;

/// What git signs is in this namespace.
pub const NAMESPACE: &str = "git";

/// One line of the file.
#[derive(Debug)]
pub struct Signer {
    /// Patterns separated by commas, fit to be shown.
    pub principals: String,
    /// As written.
    pub patterns: String,
    /// The key; with `authority` that of one who signs certificates.
    pub key: KeyData,
    /// Whether it vouches for others and does not sign itself.
    pub authority: bool,
    namespaces: Option<String>,
    /// Seconds since 1970.
    after: Option<i64>,
    before: Option<i64>,
}

impl Signer {
    /// Why the line does not let its key sign for git at a time, if it does not.
    pub fn refuses(&self, at: i64) -> Option<&'static str> {
        if self.namespaces.as_ref().is_some_and(|spaces| !matches(spaces, NAMESPACE)) {
            Some("the allowed signers do not let this key sign for git")
        } else if self.after.is_some_and(|after| at < after) {
            Some("the key was not valid yet at the time of the commit")
        } else if self.before.is_some_and(|before| at > before) {
            Some("the key was no longer valid at the time of the commit")
        } else {
            None
        }
    }
}

/// The signers, and what is wrong with the other lines, in words.
pub fn read(text: &str) -> (Vec<Signer>, Vec<String>) {
    let (mut signers, mut notes) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate().take(100_000) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match signer(line) {
            Ok(signer) => signers.push(signer),
            Err(why) => notes.push(format!("line {} of the allowed signers is not used: {why}", number + 1)),
        }
    }
    (signers, notes)
}

fn signer(line: &str) -> Result<Signer, String> {
    let (principals, rest) = field(line).ok_or("it has no key")?;
    let mut signer = Signer {
        principals: principals.trim_matches('"').chars().filter(|c| !c.is_control()).take(200).collect(),
        patterns: principals.trim_matches('"').to_owned(),
        authority: false,
        key: KeyData::Ed25519(ssh_key::public::Ed25519PublicKey([0; 32])),
        namespaces: None,
        after: None,
        before: None,
    };
    // Options stand before the key where they are there at all; a key type is no option.
    let (first, more) = field(rest).ok_or("it has no key")?;
    let is_key = |word: &str| ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start));
    let (options, key) = if is_key(first) { ("", rest) } else { (first, more) };
    for option in split(options) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = value.trim_matches('"');
        match name.to_ascii_lowercase().as_str() {
            "cert-authority" => signer.authority = true,
            "namespaces" => signer.namespaces = Some(value.to_owned()),
            "valid-after" => signer.after = Some(time(value).ok_or_else(|| format!("valid-after {value} is no time"))?),
            "valid-before" => {
                signer.before = Some(time(value).ok_or_else(|| format!("valid-before {value} is no time"))?);
            }
            _ => return Err(format!("unknown option {name}").chars().filter(|c| !c.is_control()).collect()),
        }
    }
    if signer.after.zip(signer.before).is_some_and(|(after, before)| after >= before) {
        return Err("it is never valid".into());
    }
    let key = PublicKey::from_openssh(key.trim()).map_err(|error| format!("its key cannot be read: {error}"))?;
    signer.key = key.key_data().clone();
    Ok(signer)
}

/// The first word of a line, blanks inside quotes not counted, and the rest.
fn field(line: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let end = line.find(|c: char| {
        quoted ^= c == '"';
        !quoted && (c == ' ' || c == '\t')
    })?;
    let (word, rest) = line.split_at(end);
    Some((word, rest.trim_start()))
}

/// Options separated by commas, those inside quotes not counted.
fn split(options: &str) -> Vec<&str> {
    let mut quoted = false;
    let parts = options.split(|c: char| {
        quoted ^= c == '"';
        !quoted && c == ','
    });
    parts.filter(|part| !part.is_empty()).collect()
}

/// `YYYYMMDD[HHMM[SS]][Z]`. Without Z the file means the zone of whoever reads it, which nobody knows: read as UTC.
fn time(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let at = match text.len() {
        8 => NaiveDate::parse_from_str(text, "%Y%m%d").ok()?.and_hms_opt(0, 0, 0)?,
        12 => NaiveDateTime::parse_from_str(&format!("{text}00"), "%Y%m%d%H%M%S").ok()?,
        14 => NaiveDateTime::parse_from_str(text, "%Y%m%d%H%M%S").ok()?,
        _ => return None,
    };
    Some(at.and_utc().timestamp())
}

/// Whether a list of patterns with `*`, `?` and `!` holds a text.
pub fn matches(patterns: &str, text: &str) -> bool {
    let mut held = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(not) if glob(not.as_bytes(), text.as_bytes()) => return false,
            Some(_) => {}
            None => held |= glob(pattern.as_bytes(), text.as_bytes()),
        }
    }
    held
}

fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                // The last star takes one letter more.
                let Some((at, taken)) = star else { return false };
                p = at + 1;
                t = taken + 1;
                star = Some((at, taken + 1));
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::{glob, matches, read, time};

    #[test]
    fn patterns_hold_what_they_should() {
        for (pattern, text, holds) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("?t", "at", true),
            ("g*t", "git", true),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), holds, "{pattern} {text}");
        }
        assert!(matches("file,git", "git") && !matches("*,!git", "git") && !matches("file", "git"));
    }

    #[test]
    fn times_and_lines_are_read_or_refused_in_words() {
        assert_eq!(time("19700102"), Some(86_400));
        assert_eq!(time("197001010001Z"), Some(60));
        assert_eq!(time("19700101000102Z"), Some(62));
        assert_eq!(time("1970"), None);
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me";
        let text = format!(
            "# remark\n\na@b {key}\n\"c d\",e@f namespaces=\"git,file\",valid-after=\"20260101\" {key}\n*@x cert-authority {key}\n\
             a@b valid-before=\"never\" {key}\na@b\na@b ssh-ed25519 AAAA\na@b odd=1 {key}\n"
        );
        let (signers, notes) = read(&text);
        assert_eq!(signers.iter().map(|s| s.principals.as_str()).collect::<Vec<_>>(), ["a@b", "c d\",e@f", "*@x"]);
        let lines: Vec<_> = notes.iter().map(|note| note.split(' ').nth(1).unwrap_or_default()).collect();
        assert_eq!(lines, ["6", "7", "8", "9"], "{notes:?}");
        assert!(signers[2].authority && !signers[0].authority);
    }
}
