//! The times of a log row: `2026-11-20T12:05:00.123456Z`, always UTC.

/// True for the form that the load balancer writes; says nothing of the calendar.
pub fn looks_like_time(text: &[u8]) -> bool {
    let Some((date, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let shape = date.iter().enumerate().all(|(at, byte)| match at {
        4 | 7 => *byte == b'-',
        10 => *byte == b'T',
        13 | 16 => *byte == b':',
        _ => byte.is_ascii_digit(),
    });
    let rest = rest.strip_suffix(b"Z").unwrap_or(rest);
    shape
        && match rest {
            [] => true,
            [b'.', fraction @ ..] => {
                !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit)
            }
            _ => false,
        }
}

/// Microseconds since 1970-01-01 UTC; `None` when the text is no time or names no real day.
/// Digits beyond the microsecond are cut.
pub fn parse_micros(text: &[u8]) -> Option<i64> {
    if !looks_like_time(text) {
        return None;
    }
    let two = |at: usize| {
        Some(i64::from(text.get(at)? - b'0') * 10 + i64::from(text.get(at + 1)? - b'0'))
    };
    let year = two(0)? * 100 + two(2)?;
    let (month, day, hour, minute, second) = (two(5)?, two(8)?, two(11)?, two(14)?, two(17)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    if day < 1 || month_days < day || 23 < hour || 59 < minute || 60 < second {
        return None;
    }
    let mut fraction = 0;
    let mut unit = 100_000;
    for byte in text.get(20..).unwrap_or_default().iter().take(6) {
        if byte.is_ascii_digit() {
            fraction += i64::from(byte - b'0') * unit;
            unit /= 10;
        }
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds * 1_000_000 + fraction)
}

/// Days since 1970-01-01 in the Gregorian calendar. A year is counted from March, so that the leap
/// day is its last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_calendar_library_reads() {
        for text in [
            "1970-01-01T00:00:00.000000Z",
            "2000-02-29T23:59:59.999999Z",
            "2026-11-20T12:05:00.123456Z",
            "2100-03-01T00:00:00Z",
            "2024-12-31T23:59:59.5Z",
        ] {
            let expected: jiff::Timestamp = text.parse().unwrap();
            assert_eq!(parse_micros(text.as_bytes()), Some(expected.as_microsecond()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "-",
            "2026-11-20",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20 12:05:00Z",
            "2026-11-20T12:05:00.Z",
            "é026-11-20T12:05:00Z",
        ] {
            assert_eq!(parse_micros(text.as_bytes()), None, "{text}");
        }
    }
}
