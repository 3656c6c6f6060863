//! When a parent became public: a date as somebody wrote it, as an interval of instants.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Serialize;

use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// Who vouches for a dated fact, the weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Nobody outside: commit dates, file times, offline logs, a date in the case file.
    #[default]
    SelfAsserted,
    /// A page was looked for and not found.
    Unverified,
    /// Press, chronicle, encyclopaedia.
    Press,
    /// The maker's own dated statement.
    Announcement,
    /// A server's clock: a hub, a forge, a tracker.
    Platform,
    /// A time-stamp token, a transparency log.
    Anchored,
}

impl Trust {
    /// All, the weakest first.
    pub const ALL: [Self; 6] =
        [Self::SelfAsserted, Self::Unverified, Self::Press, Self::Announcement, Self::Platform, Self::Anchored];

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::SelfAsserted => "self-asserted",
            Self::Unverified => "unverified",
            Self::Press => "press",
            Self::Announcement => "announcement",
            Self::Platform => "platform",
            Self::Anchored => "anchored",
        }
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Trust {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|trust| trust.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|trust| trust.name()).collect();
            Error::usage(text!("error-record/releases/no-grade-date", text, names = names.join(", ")))
        })
    }
}

/// A span of time in which something happened, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Interval {
    pub earliest: DateTime<Utc>,
    pub latest: DateTime<Utc>,
}

impl Interval {
    /// Reads `2026-10-02` or an RFC 3339 time such as `2026-10-02T08:00:00Z`.
    ///
    /// A day is taken without its time zone, which makers rarely name: from its beginning at UTC+14 to its end at UTC-12.
    ///
    /// # Errors
    /// If the text is neither; the message has the text and the accepted forms.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            let at = at.with_timezone(&Utc);
            return Ok(Self { earliest: at, latest: at });
        }
        let plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let day = plain.then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()).flatten();
        let midnight = day.map(|day| day.and_time(NaiveTime::MIN).and_utc());
        let span = midnight.and_then(|at| {
            let earliest = at.checked_sub_signed(TimeDelta::hours(14))?;
            let latest = at.checked_add_signed(TimeDelta::hours(36))?.checked_sub_signed(TimeDelta::seconds(1))?;
            Some(Self { earliest, latest })
        });
        span.ok_or_else(|| Error::usage(text!("error-record/releases/not-date-tool-reads", text)))
    }
}

/// Which end of a release's interval is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Open {
    /// Neither.
    #[default]
    No,
    /// How early it was: only that it was public by the end. Nobody is cleared by it.
    Start,
    /// How late it was: only that it was not public before the beginning. Nobody is accused by it.
    End,
}

/// When a model became public.
///
/// A run that started before `at.earliest` cannot have used the public weights; one that started after `at.latest` could.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Release {
    /// The model, as the case file or the register calls it.
    pub name: String,
    /// When.
    pub at: Interval,
    /// Who vouches for it.
    pub trust: Trust,
    /// Where it is said.
    pub source: Option<String>,
    /// Which end of `at` says nothing.
    pub open: Open,
    /// What else there is to say of the date: another one, or how it is to be read.
    pub notes: Vec<String>,
}

impl Release {
    /// A release at the date `text`.
    ///
    /// # Errors
    /// If the date cannot be read.
    pub fn new(name: impl Into<String>, text: &str, trust: Trust, source: Option<String>) -> Result<Self> {
        let name = name.into();
        let at = Interval::parse(text)
            .map_err(|error| error.context(text!("error-record/releases/release", name = &name)))?;
        Ok(Self { name, at, trust, source, open: Open::No, notes: Vec::new() })
    }
}

/// Whether a model was public before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Before {
    /// It was.
    Yes,
    /// It was not.
    No,
    /// The dates do not settle it.
    Unsettled,
    /// The run's own date is not known.
    Unknown,
}

impl Before {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unsettled => "unsettled",
            Self::Unknown => "unknown",
        }
    }
}

impl Release {
    /// Whether it was public before this instant.
    pub fn before(&self, start: DateTime<Utc>) -> Before {
        if self.at.latest < start && self.open != Open::End {
            Before::Yes
        } else if start < self.at.earliest && self.open != Open::Start {
            Before::No
        } else {
            Before::Unsettled
        }
    }

    /// How many days this date is after another one of the same model (before: negative); `None` if they do not contradict
    /// each other.
    pub fn apart(&self, other: &Self) -> Option<f64> {
        let days = |gap: TimeDelta| gap.as_seconds_f64() / 86_400.0;
        if self.at.latest < other.at.earliest && other.open != Open::Start && self.open != Open::End {
            Some(-days(other.at.earliest - self.at.latest))
        } else if other.at.latest < self.at.earliest && self.open != Open::Start && other.open != Open::End {
            Some(days(self.at.earliest - other.at.latest))
        } else {
            None
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Interval, Release, Trust};

    #[test]
    fn a_day_is_as_long_as_its_zones_and_a_time_is_a_point() {
        let day = Interval::parse("2026-10-02").unwrap();
        assert_eq!(day.earliest.to_rfc3339(), "2026-10-01T10:00:00+00:00");
        assert_eq!(day.latest.to_rfc3339(), "2026-10-03T11:59:59+00:00");
        for text in ["2026-10-02T17:00:00+09:00", "2026-10-02T08:00:00Z", "2026-10-02t08:00:00.000z"] {
            let at = Interval::parse(text).unwrap();
            assert_eq!((at.earliest, at.earliest.timestamp()), (at.latest, 1_790_928_000), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_named_with_the_accepted_forms() {
        for text in ["", "soon", "2026", "2026-10", "2026-02-30", "2026-10-02T08:00:00", "02.10.2026", "+262142-12-31"]
        {
            let error = Release::new("P", text, Trust::Press, None).unwrap_err();
            assert!(error.is_usage());
            let message = error.to_string();
            assert!(message.starts_with("release of P: ") && message.contains(&format!("\"{text}\"")), "{message}");
            assert!(message.contains("2026-10-02T08:00:00Z"));
        }
    }

    #[test]
    fn grades_are_read_back_and_ordered() {
        for trust in Trust::ALL {
            assert_eq!(trust.name().parse::<Trust>().unwrap(), trust);
        }
        assert!(Trust::SelfAsserted < Trust::Platform && Trust::Platform < Trust::Anchored);
        assert!("hearsay".parse::<Trust>().unwrap_err().to_string().contains("self-asserted, unverified"));
    }
}
