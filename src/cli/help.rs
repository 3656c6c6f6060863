//! The command line in another language than that of its source: help, the manual page, and what the parser says of a slip.

use clap::{Arg, ArgAction, Command};
use scratchproof::error::{Error, Result};
use scratchproof::texts::{Language, help, phrase};
use scratchproof_texts::text;

/// What a page of help is made of: clap's own template, whose word for the usage is not English.
const PAGE: &str = "{before-help}{about-with-newline}\nUSAGE {usage}\n\n{all-args}{after-help}";

/// Headings of the manual page.
const HEADINGS: [&str; 6] = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SUBCOMMANDS", "VERSION"];

/// The language of the arguments before they are parsed: `--lang`, else that of the environment.
pub fn language(arguments: impl Iterator<Item = String>) -> Language {
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let named = match argument.strip_prefix("--lang") {
            Some("") => arguments.peek().cloned(),
            Some(behind) => behind.strip_prefix('=').map(str::to_owned),
            None => None,
        };
        if let Some(named) = named {
            return Language::of_locale(&named);
        }
    }
    super::of_environment()
}

/// A command with its help in a language.
pub fn spoken(command: Command, language: Language) -> Command {
    if language == Language::English {
        return command;
    }
    let version = Arg::new("version").short('V').long("version").action(ArgAction::Version);
    let command = command.disable_version_flag(true).arg(version.help("Print version"));
    // clap counts letters, and those of Korean take two columns: a line of seven has four of them with spaces between.
    let columns = super::width().min(100) * 4 / 7;
    inner(command.term_width(columns), language)
}

fn inner(command: Command, language: Language) -> Command {
    let own_words = |english: &str| said(english, language);
    let parts: Vec<String> = command.get_subcommands().map(|own| own.get_name().to_owned()).collect();
    let [about, whole] =
        [command.get_about(), command.get_long_about()].map(|own| own.map(|own| own_words(&own.to_string())));
    let flag = Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Print help");
    let mut command = command
        .disable_help_flag(true)
        .arg(flag)
        .mut_args(|own| argument(own, language))
        .help_template(PAGE.replace("USAGE", &own_words("Usage:")))
        .subcommand_help_heading(label("Commands", language));
    for part in &parts {
        command = command.mut_subcommand(part, |own| inner(own, language));
    }
    if !parts.is_empty() {
        // clap adds its own only to commands that are not told to leave it.
        let names = Arg::new("command").value_name("COMMAND").action(ArgAction::Append).help("The command");
        let about = "Print this message or the help of the given subcommand(s)";
        let own = inner(Command::new("help").about(about).arg(names), language);
        command = command.disable_help_subcommand(true).subcommand(own);
    }
    if let Some(about) = about {
        command = command.about(about);
    }
    match whole {
        Some(whole) => command.long_about(whole),
        None => command,
    }
}

/// An argument with its help, and with what it takes, which clap would say in English.
fn argument(argument: Arg, language: Language) -> Arg {
    let own_words = |english: &str| said(english, language);
    let heading = if argument.is_positional() { "Arguments" } else { "Options" };
    let mut notes = String::new();
    let flag = !argument.get_action().takes_values();
    let values = if flag { Vec::new() } else { argument.get_possible_values() };
    if !values.is_empty() {
        let value = |value: &clap::builder::PossibleValue| {
            let meaning = value.get_help().map(|own| format!(" ({})", own_words(&own.to_string()))).unwrap_or_default();
            format!("{}{meaning}", value.get_name())
        };
        let all: Vec<String> = values.iter().filter(|value| !value.is_hide_set()).map(value).collect();
        notes += &format!(" [{}: {}]", own_words("possible values"), all.join(", "));
    }
    let defaults: Vec<_> = argument.get_default_values().iter().map(|own| own.to_string_lossy().into_owned()).collect();
    if !flag && !defaults.is_empty() {
        notes += &format!(" [{}: {}]", own_words("default"), defaults.join(", "));
    }
    let [short, long] =
        [argument.get_help(), argument.get_long_help()].map(|own| own.map(|own| own_words(&own.to_string()) + &notes));
    let mut argument =
        argument.hide_possible_values(true).hide_default_value(true).help_heading(label(heading, language));
    if let Some(short) = short {
        argument = argument.help(short);
    }
    match long {
        Some(long) => argument.long_help(long),
        None => argument,
    }
}

/// Paragraph by paragraph; what has no translation is said as it is.
fn said(english: &str, language: Language) -> String {
    let one = |paragraph| help(paragraph, language).map_or_else(|| String::from(paragraph), str::to_owned);
    english.split("\n\n").map(one).collect::<Vec<_>>().join("\n\n")
}

/// A word that clap keeps for as long as the program runs.
fn label(english: &'static str, language: Language) -> &'static str {
    help(english, language).unwrap_or(english)
}

/// `help COMMAND...`, where clap's own is replaced: the text of the command that is named.
pub fn of_command(matches: &clap::ArgMatches, mut whole: Command) -> Option<String> {
    let ("help", asked) = matches.subcommand()? else { return None };
    whole.build();
    let mut command = &mut whole;
    for name in asked.try_get_many::<String>("command").ok().flatten().into_iter().flatten() {
        if command.find_subcommand(name).is_none() {
            break;
        }
        command = command.find_subcommand_mut(name)?;
    }
    Some(command.render_long_help().to_string())
}

/// What the parser says of a slip, line by line.
pub fn mistake(error: &clap::Error, language: Language) -> String {
    let line = |line: &str| {
        let words = line.trim_start();
        let indent = &line[..line.len() - words.len()];
        match words.strip_prefix("Usage:") {
            Some(usage) => format!("{indent}{}{usage}", said("Usage:", language)),
            None => format!("{indent}{}", phrase(words, language)),
        }
    };
    error.to_string().lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The manual page: the program, then every command of it.
pub fn manual(whole: &Command, language: Language) -> Result<String> {
    let mut page = Vec::new();
    let failed = |error| Error::io(text!("error-cli/help/manual-page"), error);
    clap_mangen::Man::new(whole.clone()).render(&mut page).map_err(failed)?;
    for command in whole.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("scratchproof {}", command.get_name());
        let man = clap_mangen::Man::new(command.clone().bin_name(name));
        man.render_synopsis_section(&mut page).map_err(failed)?;
        man.render_description_section(&mut page).map_err(failed)?;
        man.render_options_section(&mut page).map_err(failed)?;
    }
    let page = String::from_utf8_lossy(&page);
    let line = |line: &str| {
        let heading = line.strip_prefix(".SH ").filter(|name| HEADINGS.contains(name));
        heading.map_or_else(|| line.to_owned(), |name| format!(".SH {}", said(name, language)))
    };
    Ok(page.lines().map(line).collect::<Vec<_>>().join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::described;

    /// Every paragraph that clap would say of a command, its arguments and their values.
    fn paragraphs(command: &Command, all: &mut Vec<String>) {
        let mut add = |words: Option<String>| {
            all.extend(words.iter().flat_map(|words| words.split("\n\n")).map(str::to_owned));
        };
        add(command.get_about().map(ToString::to_string));
        add(command.get_long_about().map(ToString::to_string));
        for argument in command.get_arguments() {
            add(argument.get_help().map(ToString::to_string));
            add(argument.get_long_help().map(ToString::to_string));
            if argument.get_action().takes_values() {
                for value in argument.get_possible_values() {
                    add(value.get_help().map(ToString::to_string));
                }
            }
        }
        command.get_subcommands().for_each(|own| paragraphs(own, all));
    }

    #[test]
    fn no_help_is_without_its_korean() {
        let mut all = Vec::new();
        paragraphs(&described(), &mut all);
        all.extend(["Usage:", "Commands", "Arguments", "Options", "Print help", "Print version"].map(str::to_owned));
        all.extend(HEADINGS.map(str::to_owned));
        assert!(all.len() > 120, "{} paragraphs", all.len());
        let missing: Vec<&String> = all.iter().filter(|own| help(own, Language::Korean).is_none()).collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn every_page_of_help_is_korean_line_by_line() {
        fn pages(command: &mut Command, at: &str) {
            let page = command.render_long_help().to_string();
            for line in page.lines().map(str::trim).filter(|line| line.contains(' ')) {
                let option = line.starts_with('-') || line.starts_with('<');
                let hangul = line.chars().any(|c| ('가'..='힣').contains(&c));
                assert!(option || hangul || line.starts_with('['), "{at}: {line}");
            }
            let names: Vec<String> = command.get_subcommands().map(|own| own.get_name().to_owned()).collect();
            for name in names {
                let own = command.find_subcommand_mut(&name).expect("a command");
                pages(own, &format!("{at} {name}"));
            }
        }
        let mut whole = spoken(described(), Language::Korean).term_width(400);
        whole.build();
        pages(&mut whole, "scratchproof");
        let page = manual(&whole, Language::Korean).expect("a page");
        assert!(page.contains(".SH 옵션") && !page.contains(".SH OPTIONS"), "{page}");
    }

    #[test]
    fn slips_are_said_in_korean() {
        for typed in [
            "audt",
            "audit",
            "audit x --bogus",
            "audit x --ofline",
            "--format xml audit x",
            "--threads x man",
            "-q -v man",
            "audit x --max-fetch no",
            "audit x -o a -o b",
            "audit x y",
            "audit x -o",
            "completions no",
            "",
            "witness",
        ] {
            let typed = std::iter::once("scratchproof").chain(typed.split_whitespace());
            let error = spoken(described(), Language::Korean).try_get_matches_from(typed).expect_err("a slip");
            let told = mistake(&error, Language::Korean);
            for line in told.lines().map(str::trim).filter(|line| line.contains(' ')) {
                let korean = line.chars().any(|c| ('가'..='힣').contains(&c));
                assert!(korean || line.starts_with(['<', '-']), "{line}\n{told}");
            }
        }
    }

    #[test]
    fn help_of_a_command_is_found() {
        let whole = spoken(described(), Language::Korean);
        let asked = |typed: &[&str]| {
            let matches = whole.clone().try_get_matches_from(typed).expect("arguments");
            of_command(&matches, whole.clone())
        };
        assert!(asked(&["scratchproof", "help", "witness", "append"]).is_some_and(|page| page.contains("--calendar")));
        assert!(asked(&["scratchproof", "help"]).is_some_and(|page| page.contains("docket")));
        assert_eq!(asked(&["scratchproof", "man"]), None);
    }

    #[test]
    fn the_language_is_known_before_the_arguments_are() {
        let of = |typed: &[&str]| language(typed.iter().map(|&own| own.to_owned()));
        assert_eq!(of(&["x", "--lang", "ko", "--bogus"]), Language::Korean);
        assert_eq!(of(&["x", "audit", "--lang=ko"]), Language::Korean);
        assert_eq!(of(&["x", "--lang=en"]), Language::English);
    }
}
