//! The report as one page: no network, no script, light and dark, on paper and on a phone.

mod view;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error as TemplateError, ErrorKind, UndefinedBehavior, Value, escape_formatter};

use super::timeline::Timeline;
use super::{Report, text};
use scratchproof_error::{Error, Result};
use scratchproof_evidence::Evidence;
use scratchproof_texts::Language;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");

/// The whole page. Every word from outside is shown with [`text::printable`] and escaped.
///
/// # Errors
/// If the page's own template is broken, which the tests rule out.
pub fn render(report: &Report, evidence: &Evidence, language: Language) -> Result<String> {
    page(&view::view(report, evidence, language))
}

/// The page of the record alone.
///
/// # Errors
/// As [`render`].
pub fn timeline(timeline: &Timeline, language: Language) -> Result<String> {
    page(&view::of_timeline(timeline, language))
}

fn page(view: &view::View<'_>) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_formatter(|out, state, value| match value.as_str() {
        Some(words) if !value.is_safe() => escape_formatter(out, state, &Value::from(text::printable(words))),
        _ => escape_formatter(out, state, value),
    });
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(broken)?);
    environment.add_global("style", Value::from_safe_string(STYLE.to_owned()));
    environment.add_template("page.html", PAGE).map_err(broken)?;
    let page = environment.get_template("page.html").map_err(broken)?;
    page.render(Value::from(Serde(view))).map_err(broken)
}

#[allow(clippy::needless_pass_by_value)] // as map_err hands it over
fn broken(error: TemplateError) -> Error {
    debug_assert!(error.kind() != ErrorKind::SyntaxError, "{error:#}");
    Error::input(format!("the page's template: {error:#}"))
}
