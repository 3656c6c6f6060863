//! Draws the library's progress on stderr.

use std::sync::OnceLock;

use indicatif::{ProgressBar, ProgressStyle};
use scratchproof::measure::Reporter;

/// One bar at a time.
pub struct Bar(OnceLock<ProgressBar>);

impl Bar {
    pub fn new() -> Self {
        Self(OnceLock::new())
    }
}

impl Reporter for Bar {
    fn begin(&self, what: &str, bytes: u64) {
        let bar = self.0.get_or_init(|| ProgressBar::new(bytes));
        let style = "{msg:<16} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = self.0.get() {
            bar.inc(bytes);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.0.get() {
            bar.finish_and_clear();
        }
    }
}
