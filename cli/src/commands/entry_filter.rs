//! Which entries `log` and `watch` show.

use std::time::Duration;

use pact_runtime::{Clock, Timestamp};
use pact_schemas::convert;
use pact_schemas::v1::{EntryFilter, EntryKind};

use crate::failure::Failure;

const NANOS: i64 = 1_000_000_000;

#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Filter {
    /// Also readings and renewals of certificates
    #[arg(long)]
    all: bool,
    /// Only entries of this kind, e.g. Commit or exec-requested (repeatable)
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = parse_kind)]
    kind: Vec<EntryKind>,
    /// Only entries of this principal
    #[arg(long, value_name = "PRINCIPAL")]
    by: Option<String>,
    /// Only entries since then: 30s, 15m, 2h or 7d ago, or a time as in RFC 3339
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    since: Option<Since>,
}

/// A time, or how long ago it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    At(Timestamp),
    Ago(Duration),
}

impl Filter {
    /// As the gateway takes it.
    pub(crate) fn to_wire(&self, clock: &Clock) -> Result<EntryFilter, Failure> {
        let since = match self.since {
            None => None,
            Some(Since::At(time)) => Some(time.unix_nanos()),
            Some(Since::Ago(ago)) => {
                let seconds = i64::try_from(ago.as_secs()).unwrap_or(i64::MAX);
                let before = seconds.checked_mul(NANOS).and_then(|nanos| {
                    clock.now().unix_nanos().checked_sub(nanos).filter(|time| *time >= 0)
                });
                Some(before.ok_or_else(|| Failure::argument("--since is before 1970"))?)
            }
        };
        Ok(EntryFilter {
            kinds: self.kind.iter().map(|kind| (*kind).into()).collect(),
            all: self.all,
            by: self.by.clone().unwrap_or_default(),
            since: since.map(convert::timestamp),
        })
    }
}

/// As `log` prints it, in any case, with or without hyphens.
fn parse_kind(text: &str) -> Result<EntryKind, String> {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_uppercase();
    let mut kinds = (1..=i32::from(u8::MAX)).filter_map(|number| EntryKind::try_from(number).ok());
    let named = |kind: &EntryKind| {
        plain(kind.as_str_name().trim_start_matches("ENTRY_KIND_")) == plain(text)
    };
    kinds.find(named).ok_or_else(|| "kinds are in the column KIND of `pact log --all`".to_owned())
}

fn parse_since(text: &str) -> Result<Since, String> {
    let expected = || "expected 30s, 15m, 2h, 7d or a time such as 2026-03-04T06:00:00Z".to_owned();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Since::At(time));
    }
    let unit = text.chars().last().ok_or_else(expected)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(expected()),
    };
    let number = text.strip_suffix(unit).filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let number: u64 = number.and_then(|n| n.parse().ok()).ok_or_else(expected)?;
    number.checked_mul(seconds).map(Duration::from_secs).map(Since::Ago).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_written_as_they_are_shown() {
        for good in ["ExecRequested", "exec-requested", "EXEC_REQUESTED", "execrequested"] {
            assert_eq!(parse_kind(good), Ok(EntryKind::ExecRequested), "{good}");
        }
        for bad in ["", "Unspecified", "exec", "entry-kind-commit"] {
            assert!(parse_kind(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_is_given_or_how_long_ago_it_is() {
        assert_eq!(parse_since("2h"), Ok(Since::Ago(Duration::from_secs(7_200))));
        assert_eq!(parse_since("7d"), Ok(Since::Ago(Duration::from_secs(604_800))));
        let at = "2026-03-04T06:00:00Z";
        assert_eq!(parse_since(at), Ok(Since::At(at.parse().unwrap())));
        for bad in ["", "h", "2", "-2h", "+2h", "2w", "yesterday", "99999999999999999999d"] {
            assert!(parse_since(bad).is_err(), "{bad}");
        }
        let clock = Clock::system();
        let long_ago = Filter { since: Some(parse_since("100000d").unwrap()), ..Filter::default() };
        assert!(long_ago.to_wire(&clock).is_err());
        let recent = Filter { since: Some(parse_since("1h").unwrap()), ..Filter::default() };
        assert!(recent.to_wire(&clock).unwrap().since.is_some());
    }
}
