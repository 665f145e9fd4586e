//! `--since` and `--until`: a time, or how long ago.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

use crate::access_log::TimeSpan;

/// What is looked at of an incident when nobody says: its hour and the one before it, which it is compared
/// with.
pub(super) const TWO_HOURS: SignedDuration = SignedDuration::from_hours(2);

/// The longest span that is listed. Access logs that are kept for more than a year are archives: a folder
/// for each day of it would be listed one after the other.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

/// Reads both flags. Without `--until` it is now; without `--since` it is `default` before that.
///
/// # Errors
/// Which flag is wrong, its value, and what is allowed.
pub(super) fn time_span(
    since: Option<&str>,
    until: Option<&str>,
    default: SignedDuration,
    now: Timestamp,
) -> Result<TimeSpan, String> {
    let until = match until {
        Some(word) => time("--until", word, now)?,
        None => now,
    };
    let since = match since {
        Some(word) => time("--since", word, now)?,
        None => until.checked_sub(default).map_err(|error| error.to_string())?,
    };
    if now < since {
        return Err(format!("--since: {since} is in the future; it is {now} now"));
    }
    if until < since {
        return Err(format!("--until: {until} is before --since, which is {since}"));
    }
    if LONGEST < until.duration_since(since) {
        return Err(format!(
            "--since: from {since} to {until} are more than 366 days; give a shorter span"
        ));
    }
    Ok(TimeSpan { since, until })
}

fn time(flag: &str, word: &str, now: Timestamp) -> Result<Timestamp, String> {
    let refused = || {
        format!(
            "{flag} {word}: give a time with its zone, such as 2026-11-20T14:00:00Z, or how long ago, such \
             as 2h, 90m, 1h30m or 1d"
        )
    };
    if let Ok(time) = word.parse::<Timestamp>() {
        return Ok(time);
    }
    let is_friendly = word.starts_with(|c: char| c.is_ascii_digit());
    let span: Span = word.parse().ok().filter(|_| is_friendly).ok_or_else(refused)?;
    let days = SpanRelativeTo::days_are_24_hours();
    let ago = span.to_duration(days).ok().filter(|ago| !ago.is_negative()).ok_or_else(refused)?;
    now.checked_sub(ago).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-20T14:30:00Z";

    fn read(since: Option<&str>, until: Option<&str>) -> Result<(String, String), String> {
        time_span(since, until, TWO_HOURS, NOW.parse().unwrap())
            .map(|span| (span.since.to_string(), span.until.to_string()))
    }

    #[test]
    fn a_time_is_a_moment_or_how_long_ago() {
        for (since, until, expected) in [
            (None, None, ("2026-11-20T12:30:00Z", NOW)),
            (Some("2h"), None, ("2026-11-20T12:30:00Z", NOW)),
            (Some("366d"), None, ("2025-11-19T14:30:00Z", NOW)),
            (Some("7d"), None, ("2026-11-13T14:30:00Z", NOW)),
            (Some("1h30m"), Some("90m"), ("2026-11-20T13:00:00Z", "2026-11-20T13:00:00Z")),
            (Some("1d"), Some("1h"), ("2026-11-19T14:30:00Z", "2026-11-20T13:30:00Z")),
            (Some("2026-11-20T14:00:00+02:00"), None, ("2026-11-20T12:00:00Z", NOW)),
            (None, Some("2026-11-19T10:00:00Z"), ("2026-11-19T08:00:00Z", "2026-11-19T10:00:00Z")),
        ] {
            let (from, to) = expected;
            assert_eq!(read(since, until), Ok((from.to_owned(), to.to_owned())));
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_is_allowed() {
        for (since, until, said) in [
            (Some("yesterday"), None, "--since yesterday: give a time"),
            (Some("2026-11-20T14:00:00"), None, "with its zone"),
            (Some("-2h"), None, "how long ago"),
            (Some("2h ago"), None, "how long ago"),
            (Some("1mo"), None, "how long ago"),
            (Some("2"), None, "how long ago"),
            (None, Some("tomorrow"), "--until tomorrow: give a time"),
            (Some("1h"), Some("2h"), "is before --since"),
            (Some("2026-11-21T00:00:00Z"), None, "is in the future"),
            (Some("367d"), None, "more than 366 days"),
            (Some("0000-01-01T00:00:00Z"), Some("1h"), "give a shorter span"),
        ] {
            let error = read(since, until).unwrap_err();
            assert!(error.contains(said), "{since:?} {until:?}: {error}");
        }
    }
}
