//! The one place that asks what time it is.

use chrono::{DateTime, Utc};

/// The machine's clock, whatever it says: one that stands before 1970 is a time like another, where `Utc::now` panics.
#[must_use]
pub fn now() -> DateTime<Utc> {
    std::time::SystemTime::now().into()
}
