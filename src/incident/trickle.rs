//! When a trickle is looked for, and which.

use super::{GroupWindows, Record, Settings, window_of};
use crate::detection::{
    spikes::{self, Tally, WindowRange},
    thresholds::TRICKLE_WINDOWS,
    trickles,
};

/// A trickle is looked for at most this often: it takes the counts of a whole day, and it is no haste.
/// One hour, in microseconds.
const JUDGED_EVERY_MICROS: i64 = 3_600_000_000;

/// A trickle is told at most once a day. In microseconds.
const TOLD_EVERY_MICROS: i64 = 86_400_000_000;

/// Whether a trickle is to be looked for: nothing is open, and it is not too soon.
pub fn is_due(now: i64, record: &Record) -> bool {
    let ago = |at: Option<i64>, span: i64| at.is_none_or(|at| span <= now.saturating_sub(at));
    record.open.is_none()
        && ago(record.trickle_judged_at, JUDGED_EVERY_MICROS)
        && ago(record.trickle_told_at, TOLD_EVERY_MICROS)
}

/// The windows of the day that ends now.
pub fn day(now: i64) -> std::ops::RangeInclusive<i64> {
    let last = window_of(now);
    last.saturating_sub(TRICKLE_WINDOWS - 1)..=last
}

/// The latest trickle among the windows of a day, with the spikes that are no part of it.
pub fn find(day: &GroupWindows, settings: &Settings) -> Option<(WindowRange, Vec<WindowRange>)> {
    let tallies = day
        .iter()
        .map(|(window, it)| (*window, Tally { requests: it.requests, failures: it.failures }))
        .collect();
    let spikes = spikes::find(&tallies, &settings.thresholds, None);
    let trickle = trickles::find(&tallies, &spikes, &settings.thresholds).pop()?;
    Some((trickle, spikes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Open, Seen};

    const HOUR: i64 = JUDGED_EVERY_MICROS;
    const NOW: i64 = 1_795_176_000_000_000;

    fn record(judged_ago: Option<i64>, told_ago: Option<i64>) -> Record {
        Record {
            trickle_judged_at: judged_ago.map(|ago| NOW - ago),
            trickle_told_at: told_ago.map(|ago| NOW - ago),
            ..Record::new("app/shop/1", None)
        }
    }

    #[test]
    fn it_is_looked_for_once_an_hour_and_told_once_a_day() {
        for (judged, told, expected) in [
            (None, None, true),
            (Some(HOUR - 1), None, false),
            (Some(HOUR), None, true),
            (Some(HOUR), Some(24 * HOUR - 1), false),
            (Some(HOUR), Some(24 * HOUR), true),
            (Some(HOUR - 1), Some(24 * HOUR), false),
        ] {
            assert_eq!(is_due(NOW, &record(judged, told)), expected, "{judged:?} {told:?}");
        }
        let spike = Open {
            id: String::new(),
            first: 0,
            last: 0,
            told: None,
            causes: Vec::new(),
            reviewed: 0,
            signatures: Vec::new(),
            attributed: 0,
            idle: None,
            usual_rate: None,
        };
        let open = Record { open: Some(spike), ..record(None, None) };
        assert!(!is_due(NOW, &open), "not while a spike is open");
    }

    #[test]
    fn the_day_that_ends_now_is_judged_without_its_spikes() {
        let settings =
            Settings { thresholds: Default::default(), cooldown: HOUR, max_age: 24 * HOUR };
        let day = day(NOW);
        assert_eq!((*day.start(), *day.end()), (window_of(NOW) - 287, window_of(NOW)));
        let seen = |failing: &[(i64, u64)]| -> GroupWindows {
            let failures =
                |it| failing.iter().find(|(at, _)| *at == it).map_or(0, |(_, failures)| *failures);
            let of = |it| Seen { requests: 1000, failures: failures(it), ..Seen::default() };
            (0..288).map(|it| (it, of(it))).collect()
        };
        let leak = [(10, 1), (60, 1), (110, 1), (160, 1), (210, 1)];
        assert_eq!(find(&seen(&leak), &settings), None, "17 of a million");
        let leak = [(10, 2), (60, 1), (110, 1), (160, 1), (210, 1)];
        assert_eq!(find(&seen(&leak), &settings), Some(((10, 210), vec![])));
        let beside = [(10, 2), (60, 1), (110, 1), (140, 50), (160, 1), (210, 1)];
        assert_eq!(find(&seen(&beside), &settings), Some(((10, 210), vec![(140, 140)])));
        assert_eq!(find(&seen(&[(140, 50)]), &settings), None, "a spike is no trickle");
    }
}
