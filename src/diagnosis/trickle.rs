//! When a trickle is told, and how often it fails in words.

use super::{Confidence, Diagnosis, Kind, RankedCause};
use crate::numbers::{count, plural};

/// From so many failures on a trickle is told whatever its cause: two an hour all day are no chance, and
/// somebody should look.
pub const ALWAYS_TOLD_FAILURES: u64 = 50;

/// With fewer failures the first cause must have at least this share of them. One half: less is a
/// mixture of strays, as every service has them.
const DOMINANT_SHARE: f64 = 0.5;

/// With fewer failures the first cause must be at least this sure: a guess about a handful of failures
/// is not worth a message.
const LEAST_CONFIDENCE: Confidence = Confidence::Medium;

/// Below so many of a million requests the rate is said per million: a percentage of many zeros reads
/// badly. A thousand is 0.1 %.
const PER_MILLION_BELOW: f64 = 1000.0;

const SECONDS_PER_HOUR: f64 = 3600.0;

/// Whether a diagnosis is told. A spike always is; a trickle when it is about something.
pub fn is_told(diagnosis: &Diagnosis) -> bool {
    diagnosis.kind == Kind::Spike
        || ALWAYS_TOLD_FAILURES <= diagnosis.failures
        || diagnosis.causes.first().is_some_and(is_dominant)
}

fn is_dominant(cause: &RankedCause) -> bool {
    DOMINANT_SHARE <= cause.share && LEAST_CONFIDENCE <= cause.confidence
}

/// Over which time and how often: `in 5 hours, about 3 an hour`. `seconds` is the length of the time.
pub(super) fn pace(failures: u64, seconds: f64) -> String {
    let hours = seconds / SECONDS_PER_HOUR;
    if hours < 1.0 {
        // Less than an hour is not made an hour.
        return format!("in {}", plural((seconds / 60.0).round() as u64, "minute"));
    }
    let an_hour = failures as f64 / hours;
    let between = (hours / failures.max(1) as f64).round() as u64;
    let often = match between {
        0 | 1 => format!("about {} an hour", count((an_hour.round() as u64).max(1))),
        hours => format!("about one in {} hours", count(hours)),
    };
    format!("in {}, {often}", plural(hours.round() as u64, "hour"))
}

/// `41 per million`, or `None` when a percentage reads well.
pub(super) fn per_million(rate: f64) -> Option<String> {
    let number = rate * 1e6;
    (number < PER_MILLION_BELOW).then(|| format!("{} per million", count(number.round() as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::tests::diagnosis;

    #[test]
    fn a_trickle_is_told_for_a_dominant_cause_or_for_many_failures() {
        let told = |kind, failures, share, confidence| {
            let mut diagnosis = diagnosis("shop-web", "Words.", 1);
            (diagnosis.kind, diagnosis.failures) = (kind, failures);
            let cause = &mut diagnosis.causes[0];
            (cause.share, cause.confidence) = (share, confidence);
            is_told(&diagnosis)
        };
        let trickle = Kind::Trickle;
        for (failures, share, confidence, expected) in [
            (5, 0.5, Confidence::Medium, true),
            (5, 1.0, Confidence::High, true),
            (5, 0.49, Confidence::High, false),
            (5, 1.0, Confidence::Low, false),
            (49, 1.0, Confidence::Low, false),
            (50, 1.0, Confidence::Low, true),
            (50, 0.3, Confidence::Low, true),
        ] {
            let case = (failures, share, confidence);
            assert_eq!(told(trickle, failures, share, confidence), expected, "{case:?}");
        }
        assert!(told(Kind::Spike, 5, 1.0, Confidence::Low));
        let mut nothing = diagnosis("shop-web", "Words.", 1);
        nothing.kind = trickle;
        nothing.causes.clear();
        assert!(!is_told(&nothing));
    }

    #[test]
    fn the_pace_reads_well() {
        for (failures, minutes, expected) in [
            (15, 300, "in 5 hours, about 3 an hour"),
            (5, 15, "in 15 minutes"),
            (5, 59, "in 59 minutes"),
            (5, 60, "in 1 hour, about 5 an hour"),
            (24, 1440, "in 24 hours, about 1 an hour"),
            (20, 1440, "in 24 hours, about 1 an hour"),
            (12, 1440, "in 24 hours, about one in 2 hours"),
            (5, 1200, "in 20 hours, about one in 4 hours"),
            (5000, 60, "in 1 hour, about 5,000 an hour"),
        ] {
            assert_eq!(pace(failures, f64::from(minutes) * 60.0), expected);
        }
    }

    #[test]
    fn small_rates_are_said_per_million() {
        assert_eq!(per_million(0.000_041).as_deref(), Some("41 per million"));
        assert_eq!(per_million(0.000_999).as_deref(), Some("999 per million"));
        assert_eq!(per_million(0.001), None);
    }
}
