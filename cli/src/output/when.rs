//! Times as people read them: on a terminal how long ago or how long still, and the local time; elsewhere, and with
//! `--utc`, RFC 3339 in UTC, as in JSON.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use pact_runtime::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Beyond so many hours nobody counts the minutes.
const HOURS_WITH_MINUTES: u64 = 10 * HOUR;
/// How far other machines' clocks may be ahead before a time counts as one to come.
const AHEAD: Duration = Duration::from_secs(MINUTE);

/// How times are written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Times {
    /// For programs and files.
    Utc,
    /// For a person, who reads at this moment.
    Local(Timestamp, Zone),
}

/// Where local time comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Zone {
    /// `TZ`, else `/etc/localtime`, else UTC.
    OfMachine,
    #[cfg(test)]
    Hours(i8),
}

impl Zone {
    fn date_time(self, at: Timestamp) -> DateTime {
        let zone = match self {
            Self::OfMachine => TimeZone::system(),
            #[cfg(test)]
            Self::Hours(hours) => TimeZone::fixed(jiff::tz::offset(hours)),
        };
        zone.to_datetime(jiff::Timestamp::from_second(at.unix_seconds()).unwrap_or_default())
    }
}

impl Times {
    /// When something happened: `42s ago`, or the date once that is more than a day.
    pub(crate) fn past(self, at: Timestamp) -> String {
        let Self::Local(now, _) = self else { return at.to_string() };
        let age = age(now, at).filter(|age| age.as_secs() < DAY);
        age.map_or_else(|| self.date(at), |age| format!("{} ago", short(age)))
    }

    /// Until when something holds: `10m left (16:33)`.
    pub(crate) fn deadline(self, at: Timestamp) -> String {
        let Self::Local(now, _) = self else { return at.to_string() };
        let how = match at.duration_since(now) {
            Some(left) => format!("{} left", short(left)),
            None => format!("{} ago", short(now.duration_since(at).unwrap_or_default())),
        };
        format!("{how} ({})", self.near(at))
    }

    /// When something happened, to the second.
    pub(crate) fn exact(self, at: Timestamp) -> String {
        let Self::Local(now, zone) = self else { return at.to_string() };
        let local = zone.date_time(at);
        let age = age(now, at).filter(|age| age.as_secs() < DAY);
        let age = age.map(|age| format!(" ({} ago)", short(age))).unwrap_or_default();
        format!("{} {}{age}", local.date(), clock(local, true))
    }

    /// When something happened, in a line that stays while time goes on: `16:33:07`.
    pub(crate) fn lasting(self, at: Timestamp) -> String {
        let Self::Local(now, zone) = self else { return at.to_string() };
        let local = zone.date_time(at);
        if local.date() == zone.date_time(now).date() { clock(local, true) } else { self.date(at) }
    }

    /// Whether it is written for a person.
    pub(crate) const fn is_local(self) -> bool {
        matches!(self, Self::Local(..))
    }

    fn date(self, at: Timestamp) -> String {
        let Self::Local(_, zone) = self else { return at.to_string() };
        let local = zone.date_time(at);
        format!("{} {}", local.date(), clock(local, false))
    }

    /// The time of day, with its date where that is not today's.
    fn near(self, at: Timestamp) -> String {
        let Self::Local(now, zone) = self else { return at.to_string() };
        let local = zone.date_time(at);
        if local.date() == zone.date_time(now).date() { clock(local, false) } else { self.date(at) }
    }
}

/// How long ago; none where it is still to come.
fn age(now: Timestamp, at: Timestamp) -> Option<Duration> {
    now.duration_since(at)
        .or_else(|| at.duration_since(now).filter(|ahead| *ahead <= AHEAD).map(|_| Duration::ZERO))
}

fn clock(local: DateTime, with_seconds: bool) -> String {
    let text = format!("{:02}:{:02}", local.hour(), local.minute());
    if with_seconds { format!("{text}:{:02}", local.second()) } else { text }
}

/// `42s`, `10m`, `1h20m`, `11h`, `3d`: cut off, not rounded.
pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds % HOUR / MINUTE;
    match seconds {
        0..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => format!("{minutes}m"),
        HOUR..HOURS_WITH_MINUTES if minutes > 0 => format!("{}h{minutes}m", seconds / HOUR),
        HOUR..DAY => format!("{}h", seconds / HOUR),
        _ => format!("{}d", seconds / DAY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn local() -> Times {
        Times::Local(at("2026-03-04T15:23:00Z"), Zone::Hours(1))
    }

    #[test]
    fn a_person_reads_ages_time_left_and_local_time() {
        for (time, past, deadline) in [
            ("2026-03-04T15:22:18Z", "42s ago", "42s ago (16:22)"),
            ("2026-03-04T15:23:20Z", "0s ago", "20s left (16:23)"),
            ("2026-03-04T15:33:59Z", "2026-03-04 16:33", "10m left (16:33)"),
            ("2026-03-04T13:50:00Z", "1h33m ago", "1h33m ago (14:50)"),
            ("2026-03-04T23:30:00Z", "2026-03-05 00:30", "8h7m left (2026-03-05 00:30)"),
            ("2026-03-01T15:23:00Z", "2026-03-01 16:23", "3d ago (2026-03-01 16:23)"),
        ] {
            assert_eq!(local().past(at(time)), past, "{time}");
            assert_eq!(local().deadline(at(time)), deadline, "{time}");
        }
        assert_eq!(local().exact(at("2026-03-04T15:22:18Z")), "2026-03-04 16:22:18 (42s ago)");
        assert_eq!(local().exact(at("2026-03-01T15:22:18Z")), "2026-03-01 16:22:18");
        assert_eq!(local().lasting(at("2026-03-04T15:22:18Z")), "16:22:18");
        assert_eq!(local().lasting(at("2026-03-03T23:30:00Z")), "00:30:00");
        assert_eq!(local().lasting(at("2026-03-03T22:30:00Z")), "2026-03-03 23:30");
    }

    #[test]
    fn a_program_reads_rfc_3339_in_utc() {
        let time = at("2026-03-04T15:22:18Z");
        for text in [
            Times::Utc.past(time),
            Times::Utc.deadline(time),
            Times::Utc.exact(time),
            Times::Utc.lasting(time),
        ] {
            assert_eq!(text, "2026-03-04T15:22:18.000Z");
        }
    }

    #[test]
    fn durations_are_cut_off_and_never_say_more_than_is_there() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3599, "59m"),
            (3600, "1h"),
            (3660, "1h1m"),
            (39_600, "11h"),
            (86_399, "23h"),
            (86_400, "1d"),
            (200_000, "2d"),
        ] {
            assert_eq!(short(Duration::from_secs(seconds)), text);
        }
    }
}
