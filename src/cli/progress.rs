//! Draws the library's progress on stderr.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};
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
            let left = |state: &ProgressState, out: &mut dyn fmt::Write| {
                // A line that cannot be drawn is drawn again at the next tick.
                let _ = out.write_str(&left(state.elapsed(), state.pos(), state.len()));
            };
            bar.set_style(style.with_key("left", left));
        }
        bar.set_message(super::spoken(what));
        bar.enable_steady_tick(Duration::from_millis(250));
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(bar);
        if let Some(before) = before {
            before.finish_and_clear();
        }
    }
}

/// The time that is left if all goes on as fast as it went: steps are few and long, so that a rate of the last seconds would be
/// none.
fn left(elapsed: Duration, done: u64, all: Option<u64>) -> String {
    match all {
        Some(all) if done > 0 => {
            let rest = elapsed.as_secs_f64() * all.saturating_sub(done) as f64 / done as f64;
            HumanDuration(Duration::try_from_secs_f64(rest).unwrap_or(Duration::MAX)).to_string()
        }
        _ => "?".to_owned(),
    }
}

impl Reporter for Bar {
    fn begin(&self, what: &str, bytes: u64) {
        let style = "{msg:<24} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {elapsed} eta {left}";
        self.next(ProgressBar::new(bytes), style, what);
    }

    fn phase(&self, what: &str, steps: u64) {
        if steps == 0 {
            self.next(ProgressBar::new_spinner(), "{msg:<24} {spinner} {elapsed}", what);
        } else {
            let style = "{msg:<24} {wide_bar} {pos}/{len} {elapsed} eta {left}";
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_goes_by_what_was_done() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        assert_eq!(left(minutes(10), 0, Some(2)), "?");
        assert_eq!(left(minutes(10), 1, Some(2)), "10 minutes");
        // However long the second step takes.
        assert_eq!(left(minutes(60), 1, Some(2)), "60 minutes");
        assert_eq!(left(minutes(10), 2, Some(2)), "0 seconds");
        assert_eq!(left(minutes(10), 1, None), "?");
    }
}
