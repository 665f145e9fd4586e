//! When an incident began and ended, in a sentence.

use jiff::Timestamp;

use crate::{
    diagnosis::{Kind, Onset, Shape},
    numbers::{percent, plural},
};

/// The hour before counts as whole from this many minutes on: a quiet service has no row a minute.
const WHOLE_HOUR_MINUTES: u64 = 55;

/// `Began suddenly at 12:03:41 UTC; last failure 12:41:10; none in the hour before.`
pub(super) fn course(onset: &Onset, kind: Kind) -> String {
    if kind == Kind::Trickle {
        // A leak has no beginning that the rows of a day would show.
        let (first, last) = (onset.first_failure, onset.last_failure);
        return format!(
            "First failure at hand {}, last {} UTC.",
            clock(first, last),
            clock(last, first)
        );
    }
    let Some(at) = onset.at else {
        return format!(
            "Steady since the first row at hand; last failure {} UTC.",
            clock(onset.last_failure, onset.first_failure)
        );
    };
    let begin = clock(at, onset.last_failure);
    let end = clock(onset.last_failure, at);
    let before = before(onset);
    if begin == end {
        return format!("All at {begin} UTC{before}.");
    }
    let was_quiet = onset.baseline_rate.is_none_or(|rate| rate <= 0.0);
    let how = match onset.shape {
        Shape::Sudden if was_quiet => format!("Began suddenly at {begin} UTC"),
        Shape::Sudden => format!("Rose at {begin} UTC"),
        Shape::Ramp => format!("Grew from {begin} UTC on"),
        Shape::Bursts => format!("In bursts from {begin} UTC on"),
        Shape::Steady => format!("Steady since {begin} UTC"),
    };
    format!("{how}; last failure {end}{before}.")
}

fn before(onset: &Onset) -> String {
    let Some(rate) = onset.baseline_rate else { return String::new() };
    let time = match onset.baseline_minutes {
        WHOLE_HOUR_MINUTES.. => "hour".to_owned(),
        0 | 1 => "minute".to_owned(),
        some => plural(some, "minute"),
    };
    let rate = if rate <= 0.0 { "none".to_owned() } else { format!("{} failed", percent(rate)) };
    format!("; {rate} in the {time} before")
}

/// The time of day, and the date when the other time is of another day.
fn clock(time: Timestamp, other: Timestamp) -> String {
    let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
    let form = if day(time) == day(other) { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    time.strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_course_is_one_sentence() {
        let sudden = Onset {
            shape: Shape::Sudden,
            at: Some("2026-11-22T12:03:41Z".parse().unwrap()),
            baseline_rate: Some(0.0),
            baseline_minutes: 60,
            first_failure: "2026-11-22T12:03:41Z".parse().unwrap(),
            last_failure: "2026-11-22T12:41:10.5Z".parse().unwrap(),
        };
        let next_day = "2026-11-23T00:01:02Z".parse().unwrap();
        for (onset, expected) in [
            (
                sudden,
                "Began suddenly at 12:03:41 UTC; last failure 12:41:10; none in the hour before.",
            ),
            (
                Onset { baseline_minutes: 12, baseline_rate: Some(0.0004), ..sudden },
                "Rose at 12:03:41 UTC; last failure 12:41:10; 0.040 % failed in the 12 minutes before.",
            ),
            (
                Onset { shape: Shape::Ramp, baseline_minutes: 1, ..sudden },
                "Grew from 12:03:41 UTC on; last failure 12:41:10; none in the minute before.",
            ),
            (
                Onset { shape: Shape::Bursts, last_failure: next_day, ..sudden },
                "In bursts from 2026-11-22 12:03:41 UTC on; last failure 2026-11-23 00:01:02; none in \
                 the hour before.",
            ),
            (
                Onset { shape: Shape::Steady, baseline_rate: None, ..sudden },
                "Steady since 12:03:41 UTC; last failure 12:41:10.",
            ),
            (
                Onset { shape: Shape::Steady, at: None, ..sudden },
                "Steady since the first row at hand; last failure 12:41:10 UTC.",
            ),
            (
                Onset { last_failure: sudden.first_failure, ..sudden },
                "All at 12:03:41 UTC; none in the hour before.",
            ),
        ] {
            assert_eq!(course(&onset, Kind::Spike), expected);
        }
        let leak = "First failure at hand 12:03:41, last 12:41:10 UTC.";
        assert_eq!(course(&sudden, Kind::Trickle), leak);
    }
}
