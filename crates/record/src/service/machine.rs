//! What the SDK noted of program and machine, in `wandb-metadata.json` and in the configuration's `_wandb`.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::releases::Interval;
use crate::run::Run;
use crate::wandb::accelerators;
use crate::wandb::records::devices;

/// Takes what is not yet known: program, arguments, host, commit, remote, accelerators, start.
pub(super) fn take(run: &mut Run, noted: &Value) {
    let text =
        |path: &str| noted.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    for (place, path) in [
        (&mut run.program, "/program"),
        (&mut run.host, "/host"),
        (&mut run.commit, "/git/commit"),
        (&mut run.remote, "/git/remote"),
    ] {
        if place.is_none() {
            *place = text(path);
        }
    }
    if run.arguments.is_empty() {
        let arguments = noted.get("args").and_then(Value::as_array).into_iter().flatten();
        run.arguments = arguments.filter_map(Value::as_str).map(str::to_owned).collect();
    }
    if run.devices.is_empty() {
        run.devices = devices(accelerators(noted));
    }
    let started = text("/startedAt").and_then(|text| time(&text)).map(|at| at.earliest);
    run.started_at = run.started_at.or(started);
}

/// A time of the service or the SDK: RFC 3339, or without a zone, which is UTC for both. As precise as it is written.
pub(super) fn time(text: &str) -> Option<Interval> {
    let text = text.trim();
    let zoned = DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&Utc));
    let earliest = zoned.or_else(|| {
        let plain = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
        plain.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).map(|at| at.and_utc())
    })?;
    let digits = text.split_once('.').map_or(0, |(_, end)| end.bytes().take_while(u8::is_ascii_digit).count());
    let unit = 10_i64.checked_pow(9_u32.saturating_sub(u32::try_from(digits).ok()?))?;
    let latest = earliest.checked_add_signed(TimeDelta::nanoseconds(unit - 1))?;
    Some(Interval { earliest, latest })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Run, take, time};

    #[test]
    fn a_time_is_as_precise_as_it_is_written() {
        let at = time("2024-10-12T22:33:26").unwrap();
        assert_eq!(at.earliest.to_rfc3339(), "2024-10-12T22:33:26+00:00");
        assert_eq!((at.latest - at.earliest).num_nanoseconds(), Some(999_999_999));
        let at = time("2026-02-11T04:14:23.422968Z").unwrap();
        assert_eq!((at.latest - at.earliest).num_nanoseconds(), Some(999));
        assert_eq!(at.earliest.timestamp_micros(), 1_770_783_263_422_968);
        assert_eq!(
            time("2026-02-11T04:14:23.123456789123Z").map(|at| at.latest - at.earliest).unwrap().num_seconds(),
            0
        );
        for text in ["", "now", "2026-02-30T00:00:00"] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_known_already_is_kept() {
        let mut run = Run { commit: Some("c".into()), ..Run::default() };
        let noted = serde_json::json!({
            "program": "train.py", "args": ["--lr", "1", 2], "host": "", "git": { "commit": "d", "remote": "r" },
            "gpu": "A100", "gpu_count": 8, "gpu_nvidia": [{ "name": "A" }, { "name": "A" }, { "name": "B" }],
            "startedAt": "2026-02-11T04:14:23.422968Z", "email": "somebody",
        });
        take(&mut run, &noted);
        assert_eq!((run.commit.as_deref(), run.remote.as_deref(), run.host.as_deref()), (Some("c"), Some("r"), None));
        assert_eq!(run.arguments, ["--lr", "1"]);
        let devices: Vec<_> = run.devices.iter().map(|device| (device.kind.as_str(), device.count)).collect();
        assert_eq!(devices, [("A", 2), ("B", 1)]);
        assert_eq!(run.started_at.unwrap().timestamp(), 1_770_783_263);
        let mut plain = Run::default();
        take(&mut plain, &serde_json::json!({ "gpu": "A100", "gpuCount": 4 }));
        assert_eq!(plain.devices[0].count, 4);
    }
}
