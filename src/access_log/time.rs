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
    let (date, rest) = text.split_first_chunk::<19>()?;
    let [y1, y2, y3, y4, b'-', mo1, mo2, b'-', d1, d2, b'T', h1, h2, b':', mi1, mi2, b':', s1, s2] =
        *date
    else {
        return None;
    };
    // Every row has two times, so they are read without a branch for each digit: whatever is no digit
    // is noticed at the end.
    let mut is_digits = true;
    let mut number = |tens: u8, ones: u8| {
        let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        is_digits &= (tens < 10) & (ones < 10);
        i64::from(tens) * 10 + i64::from(ones)
    };
    let year = number(y1, y2) * 100 + number(y3, y4);
    let (month, day) = (number(mo1, mo2), number(d1, d2));
    let (hour, minute, second) = (number(h1, h2), number(mi1, mi2), number(s1, s2));
    let fraction = match *rest {
        [b'.', a, b, c, d, e, f, b'Z'] => number(a, b) * 10_000 + number(c, d) * 100 + number(e, f),
        _ => fraction_micros(rest)?,
    };
    if !is_digits {
        return None;
    }
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
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds * 1_000_000 + fraction)
}

/// What stands behind the second, in microseconds: nothing, or a point and any number of digits, then
/// perhaps a Z.
fn fraction_micros(rest: &[u8]) -> Option<i64> {
    let digits = match rest.strip_suffix(b"Z").unwrap_or(rest) {
        [] => return Some(0),
        [b'.', digits @ ..] if !digits.is_empty() => digits,
        _ => return None,
    };
    let mut micros = 0;
    let mut unit = 100_000;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        micros += i64::from(byte - b'0') * unit;
        unit /= 10;
    }
    Some(micros)
}

/// Reads the times of one row after another: most are in the minute of the one before, which is read once.
#[derive(Debug, Default)]
pub struct Clock {
    /// The latest time up to its minute, `2026-11-20T12:05:`.
    minute: Option<[u8; 17]>,
    /// When that minute began, microseconds since 1970.
    start: i64,
}

impl Clock {
    /// The same as [`parse_micros`].
    #[inline]
    pub fn micros(&mut self, text: &[u8]) -> Option<i64> {
        let (minute, rest) = text.split_first_chunk::<17>()?;
        if self.minute == Some(*minute)
            && let Ok(rest) = rest.try_into()
            && let Some(micros) = micros_of_minute(rest)
        {
            return (micros < 61_000_000).then_some(self.start + micros);
        }
        self.another_minute(text, *minute, rest)
    }

    #[cold]
    fn another_minute(&mut self, text: &[u8], minute: [u8; 17], rest: &[u8]) -> Option<i64> {
        let micros = parse_micros(text)?;
        // A leap second belongs to the minute before.
        if !rest.starts_with(b"60") {
            self.minute = Some(minute);
            self.start = micros.div_euclid(60_000_000) * 60_000_000;
        }
        Some(micros)
    }
}

/// Microseconds of `59.123456Z`; `None` when it is written otherwise.
#[inline]
fn micros_of_minute([s1, s2, fraction @ ..]: [u8; 10]) -> Option<i64> {
    // All bytes at once, the first is the lowest: the point and the Z go, the seconds take their places.
    let fraction = u64::from_le_bytes(fraction);
    if fraction & 0xff00_0000_0000_00ff != 0x5a00_0000_0000_002e {
        return None;
    }
    let text = (fraction & 0x00ff_ffff_ffff_ff00) << 8 | u64::from(u16::from_le_bytes([s1, s2]));
    // Adding carries out of whatever is above `9`, subtracting out of what is below `0`.
    let digits = text.wrapping_sub(0x3030_3030_3030_3030);
    if (text.wrapping_add(0x4646_4646_4646_4646) | digits) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    // Digits to pairs, pairs to fours, fours to the whole.
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    i64::try_from((fours & 0xffff) * 10_000 + (fours >> 32)).ok()
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
    fn a_minute_that_is_known_is_read_as_any_other() {
        let mut clock = Clock::default();
        let nothing = format!("{}05.123456Z", "\0".repeat(17));
        for text in [
            nothing.as_str(),
            "2026-11-20T12:05:00.123456Z",
            "2026-11-20T12:05:59.999999Z",
            "2026-11-20T12:05:60.000001Z",
            "2026-11-20T12:05:61.000000Z",
            "2026-11-20T12:05:0x.000000Z",
            "2026-11-20T12:05:07Z",
            "2026-11-20T12:05:07.5Z",
            "2026-11-20T12:06:60.000001Z",
            "2026-11-20T12:06:01.000001Z",
            "2026-11-20T12:05:01.000001Z",
            "2026-11-20T12:05:",
            "",
        ] {
            assert_eq!(clock.micros(text.as_bytes()), parse_micros(text.as_bytes()), "{text}");
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
