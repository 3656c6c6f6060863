//! The file in which `wandb login` keeps its key.

use std::fs;
use std::path::Path;

/// Such a file is a page at most; a larger one is not read.
const LARGEST: u64 = 1 << 20;

/// The name a service has in the file: host, and port if the address has one.
pub(super) fn machine(base: &str) -> Option<&str> {
    let rest = base.trim().split_once("://")?.1;
    rest.split(['/', '?', '#']).next().filter(|machine| !machine.is_empty())
}

/// The password of `machine`. A `default` entry is not taken: it was not meant for this service.
pub(super) fn password(file: &Path, machine: &str) -> Option<String> {
    let small = fs::metadata(file).is_ok_and(|about| about.is_file() && about.len() <= LARGEST);
    find(&fs::read_to_string(small.then_some(file)?).ok()?, machine)
}

fn find(text: &str, machine: &str) -> Option<String> {
    let (mut ours, mut macros) = (false, false);
    for line in text.lines() {
        // A macro goes on to the next empty line.
        macros &= !line.trim().is_empty();
        if macros {
            continue;
        }
        let mut words = words(line).into_iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "machine" => ours = words.next().is_some_and(|name| name.eq_ignore_ascii_case(machine)),
                "default" => ours = false,
                "macdef" => {
                    macros = true;
                    break;
                }
                "password" => {
                    let password = words.next();
                    if ours {
                        return password;
                    }
                }
                "login" | "account" => drop(words.next()),
                _ => {}
            }
        }
    }
    None
}

/// The words of a line, in quotes or not, up to a comment.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '#') if word.is_none() => break,
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{find, machine, password};

    #[test]
    fn the_key_of_this_service_is_found_and_no_other() {
        let text = "# machine api.wandb.ai password no\nmacdef init\nmachine api.wandb.ai password no\n\n\
                    machine other login machine password wrong\nmachine API.wandb.ai\n  login user\n  password 'the key'\n\
                    default login x password never\n";
        assert_eq!(find(text, "api.wandb.ai").as_deref(), Some("the key"));
        assert_eq!(find(text, "other").as_deref(), Some("wrong"));
        assert_eq!(find(text, "example.org"), None);
        assert_eq!(find("machine a password", "a"), None);
        assert_eq!(machine("https://wandb.example.org:8080/api/"), Some("wandb.example.org:8080"));
        assert_eq!(machine("nothing"), None);
    }

    #[test]
    fn no_file_and_what_is_no_file_hold_no_key() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(password(&folder.path().join("none"), "a"), None);
        assert_eq!(password(folder.path(), "a"), None);
        let file = folder.path().join("netrc");
        std::fs::write(&file, "machine a login user password p\n").unwrap();
        assert_eq!(password(&file, "a").as_deref(), Some("p"));
    }
}
