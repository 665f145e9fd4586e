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
    let spikes = spikes::find(&tallies, &settings.thresholds);
    let trickle = trickles::find(&tallies, &spikes, &settings.thresholds).pop()?;
    Some((trickle, spikes))
}
