//! The report as one page in both languages: no network, light and dark, on paper and on a phone. Its one script and its
//! one style are allowed by their digests and nothing else is.

mod evidence;
mod filter;
mod first;
mod pictures;
mod view;

use base64ct::{Base64, Encoding};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, Error as TemplateError, ErrorKind, State, UndefinedBehavior, Value, escape_formatter};
use serde::Serialize;
use sha2::{Digest, Sha256};

pub(crate) use first::{condition, state};

use super::said::Said;
use super::timeline::Timeline;
use super::{Report, text};
use scratchproof_error::{Error, Result};
use scratchproof_evidence::Evidence;
use scratchproof_texts::{Language, Text, text};

const PAGE: &str = include_str!("page.html");
pub(crate) const STYLE: &str = include_str!("style.css");
/// What the scripts of all pages begin with.
const EVERY: &str = include_str!("every.js");
const SCRIPT: &str = include_str!("page.js");

/// The whole page, which opens in a language and can be switched to the other. Every word from outside is shown with
/// [`text::printable`] and escaped.
///
/// # Errors
/// If the page's own template is broken, which the tests rule out.
pub fn render(report: &Report, evidence: &Evidence, language: Language) -> Result<String> {
    page(PAGE, SCRIPT, &report.case.digest, &view::view(report, evidence, language))
}

/// The page of the record alone.
///
/// # Errors
/// As [`render`].
pub fn timeline(timeline: &Timeline, language: Language) -> Result<String> {
    page(PAGE, SCRIPT, &timeline.case.digest, &view::of_timeline(timeline, language))
}

/// The code that stands for a language in a page.
pub(crate) fn code(language: Language) -> &'static str {
    match language {
        Language::English => "en",
        Language::Korean => "ko",
    }
}

/// A template filled in, with the style and a script beside their digests; `foot` stands below every sheet of paper.
pub(crate) fn page(template: &str, script: &str, foot: &str, view: &impl Serialize) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_formatter(|out, state, value| {
        if value.kind() == ValueKind::Map
            && let (Ok(en), Ok(ko)) = (value.get_attr("en"), value.get_attr("ko"))
            && let (Some(en), Some(ko)) = (en.as_str(), ko.as_str())
        {
            return escape_formatter(out, state, &Value::from_safe_string(both(en, ko)));
        }
        match value.as_str() {
            Some(words) if !value.is_safe() => escape_formatter(out, state, &Value::from(text::printable(words))),
            _ => escape_formatter(out, state, value),
        }
    });
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(broken)?);
    environment
        .add_function("t", |state: &State<'_, '_>, key: String| said(state, &key).map(|said| Value::from(Serde(said))));
    environment.add_function("label", |state: &State<'_, '_>, key: String| {
        said(state, &key).map(|said| Value::from_safe_string(label(&said)))
    });
    environment.add_function("option", |state: &State<'_, '_>, key: String| {
        let said = said(state, &key)?;
        let (en, ko) = (escaped(&said.en), escaped(&said.ko));
        let korean = state.lookup("language").is_some_and(|language| language.as_str() == Some("ko"));
        let shown = if korean { &ko } else { &en };
        Ok(Value::from_safe_string(format!("data-text-en=\"{en}\" data-text-ko=\"{ko}\">{shown}")))
    });
    environment.add_function("labelled", |value: Value| {
        let word = |name| value.get_attr(name).ok().and_then(|word| word.as_str().map(str::to_owned));
        let said = Said { en: word("en").unwrap_or_default(), ko: word("ko").unwrap_or_default() };
        Value::from_safe_string(label(&said))
    });
    environment.add_global("style", Value::from_safe_string(STYLE.to_owned()));
    let script = format!("{EVERY}{script}");
    environment.add_global("script_digest", digest(&script));
    environment.add_global("script", Value::from_safe_string(script));
    let paper = paper(foot);
    environment.add_global("paper_digest", digest(&paper));
    environment.add_global("paper", Value::from_safe_string(paper));
    environment.add_global("style_digest", digest(STYLE));
    environment.add_template("page.html", template).map_err(broken)?;
    let page = environment.get_template("page.html").map_err(broken)?;
    page.render(Value::from(Serde(view))).map_err(broken)
}

/// A sentence of the page by its key: those have no parameters.
fn said(_: &State<'_, '_>, key: &str) -> std::result::Result<Said, TemplateError> {
    if scratchproof_texts::source(key, Language::English).is_none() {
        return Err(TemplateError::new(ErrorKind::InvalidOperation, format!("no text {key}")));
    }
    Ok(Text { key: key.to_owned().into(), ..Text::default() }.into())
}

/// The foot of every sheet: which material the page is about. Letters that could end the string are left out.
fn paper(foot: &str) -> String {
    let plain: String =
        foot.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == ':').take(80).collect();
    format!("@page {{ @bottom-left {{ content: \"scratchproof {plain}\"; font: 7pt monospace }} }}")
}

/// As a content security policy names it.
fn digest(text: &str) -> String {
    Base64::encode_string(&Sha256::digest(text))
}

fn both(en: &str, ko: &str) -> String {
    let (en, ko) = (escaped(en), escaped(ko));
    if en == ko {
        return en;
    }
    format!("<span class=\"en\" lang=\"en\">{en}</span><span class=\"ko\" lang=\"ko\">{ko}</span>")
}

/// The attributes of something that is named without being seen.
fn label(said: &Said) -> String {
    format!("aria-label=\"{}\" data-ko=\"{}\"", escaped(&said.en), escaped(&said.ko))
}

/// Text for HTML, in an element or in a quoted attribute.
pub(crate) fn escaped(words: &str) -> String {
    let mut escaped = String::with_capacity(words.len());
    for character in text::printable(words).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[allow(clippy::needless_pass_by_value)] // as map_err hands it over
fn broken(error: TemplateError) -> Error {
    debug_assert!(error.kind() != ErrorKind::SyntaxError, "{error:#}");
    Error::input(text!("error-report/room/page-s-template", error = format!("{error:#}")))
}
