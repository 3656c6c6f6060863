//! Draws the library's progress on stderr.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use scratchproof::measure::Reporter;

/// One bar at a time.
pub struct Bar(Mutex<Option<ProgressBar>>);

impl Bar {
    pub fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The next phase's bar in the place of the last one's. It ticks by itself, so that the time shown goes on even where a
    /// step is long.
    fn next(&self, bar: ProgressBar, style: &str, what: &str) {
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(super::spoken(what));
        bar.enable_steady_tick(Duration::from_millis(250));
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(bar);
        if let Some(before) = before {
            before.finish_and_clear();
        }
    }
}

impl Reporter for Bar {
    fn begin(&self, what: &str, bytes: u64) {
        let style = "{msg:<24} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {elapsed} eta {eta}";
        self.next(ProgressBar::new(bytes), style, what);
    }

    fn phase(&self, what: &str, steps: u64) {
        if steps == 0 {
            self.next(ProgressBar::new_spinner(), "{msg:<24} {spinner} {elapsed}", what);
        } else {
            let style = "{msg:<24} {wide_bar} {pos}/{len} {elapsed} eta {eta}";
            self.next(ProgressBar::new(steps), style, what);
        }
    }

    fn advance(&self, done: u64) {
        if let Some(bar) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.inc(done);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}
