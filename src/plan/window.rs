//! The maintenance window of a cluster: whether a change may begin now, and if not, when.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::api::search_cluster::Window;

/// Whether the window is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It is.
    Open,
    /// It opens then.
    At(Timestamp),
}

/// Whether the window is open at `now`. No window is always open.
///
/// # Errors
/// What is wrong with its fields, for people; admission can't read cron or know time zones.
pub fn opening(window: Option<&Window>, now: Timestamp) -> Result<Opening, String> {
    let Some(Window { schedule, duration, time_zone }) = window else { return Ok(Opening::Open) };
    let invalid = |what: &str, why: &dyn std::fmt::Display| format!("allowlist.window.{what}: {why}");
    let length: SignedDuration = duration.parse().map_err(|error| invalid("duration", &error))?;
    let cron = cronexpr::parse_crontab(&format!("{schedule} {time_zone}"))
        .map_err(|error| invalid("schedule or timeZone", &error))?;
    let next = |after: Timestamp| {
        let found = cronexpr::MakeTimestamp::from_second(after.as_second()).and_then(|after| cron.find_next(after));
        found.map(|next| next.timestamp()).map_err(|error| invalid("schedule", &error))
    };
    // A window that is open began after the moment that lies its length back.
    match next(now.saturating_sub(length).unwrap_or(now))? {
        begin if begin <= now => Ok(Opening::Open),
        begin => Ok(Opening::At(begin)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(schedule: &str, duration: &str, time_zone: &str) -> Window {
        Window { schedule: schedule.into(), duration: duration.into(), time_zone: time_zone.into() }
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn it_is_open_from_its_begin_for_its_length() {
        // Saturdays at 2.
        let window = window("0 2 * * 6", "4h", "UTC");
        for (now, expected) in [
            ("2026-11-28T01:59:59Z", Opening::At(at("2026-11-28T02:00:00Z"))),
            ("2026-11-28T02:00:00Z", Opening::Open),
            ("2026-11-28T05:59:59Z", Opening::Open),
            ("2026-11-28T06:00:01Z", Opening::At(at("2026-12-05T02:00:00Z"))),
        ] {
            assert_eq!(opening(Some(&window), at(now)), Ok(expected), "{now}");
        }
        assert_eq!(opening(None, at("2026-11-28T06:00:01Z")), Ok(Opening::Open));
    }

    #[test]
    fn its_hours_are_those_of_its_time_zone_in_summer_and_in_winter() {
        let window = window("0 2 * * *", "90m", "Europe/Berlin");
        for open in ["2026-11-28T01:30:00Z", "2026-07-28T00:30:00Z"] {
            assert_eq!(opening(Some(&window), at(open)), Ok(Opening::Open), "{open}");
        }
        assert_eq!(opening(Some(&window), at("2026-07-28T01:45:00Z")), Ok(Opening::At(at("2026-07-29T00:00:00Z"))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (schedule, duration, time_zone, named) in [
            ("0 25 * * *", "4h", "UTC", "allowlist.window.schedule"),
            ("0 2 * * *", "4h", "Europe/Atlantis", "timeZone"),
            ("0 2 * * *", "soon", "UTC", "allowlist.window.duration"),
        ] {
            let error = opening(Some(&window(schedule, duration, time_zone)), at("2026-11-28T01:30:00Z")).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
