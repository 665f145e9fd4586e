//! Which windows of a target group are a spike.

use std::collections::BTreeMap;

use super::thresholds::{
    MAX_JOINED_NEIGHBOURS, QUIET_WINDOWS, SURGE_MIN_FAILURES, Thresholds, WINDOWS_PER_HOUR,
};

/// Requests and failures of one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows that count.
    pub requests: u64,
    /// Failed rows.
    pub failures: u64,
}

/// The first and the last window of an incident, both included.
pub type WindowRange = (i64, i64);

/// An incident that is known from before, with what was usual before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ongoing {
    /// Its windows.
    pub range: WindowRange,
    /// See [`usual_rate`].
    pub usual_rate: Option<f64>,
}

/// Finds the incidents in the windows of one target group (key: window number). `ongoing` is one whose
/// first windows need not be among them.
pub fn find(
    windows: &BTreeMap<i64, Tally>,
    thresholds: &Thresholds,
    ongoing: Option<Ongoing>,
) -> Vec<WindowRange> {
    let mut spikes: Vec<WindowRange> = Vec::new();
    for (&window, tally) in windows {
        if tally.failures == 0 {
            continue;
        }
        let surge = || surges(*tally, usual_before(windows, window, &spikes, ongoing), thresholds);
        let found = if reaches_rate(*tally, thresholds) || surge() {
            Some((window, window))
        } else if tally.failures < thresholds.min_errors {
            joined(windows, window, thresholds)
        } else {
            None
        };
        let Some((first, last)) = found else { continue };
        match spikes.last_mut() {
            Some(previous) if first <= previous.1.saturating_add(QUIET_WINDOWS) => {
                previous.0 = previous.0.min(first);
                previous.1 = previous.1.max(last);
            }
            _ => spikes.push((first, last)),
        }
    }
    spikes
}

/// The rate of failures in the hour before a window, 0 to 1; `None` when there were no requests: a rate
/// cannot be compared with nothing.
pub fn usual_rate(windows: &BTreeMap<i64, Tally>, first: i64) -> Option<f64> {
    let before = sum(windows, first.saturating_sub(WINDOWS_PER_HOUR), first.saturating_sub(1));
    // One failure more than were seen: an hour without a failure is not a rate of zero.
    (0 < before.requests).then(|| (before.failures + 1) as f64 / before.requests as f64)
}

/// What was usual before the incident that a window would belong to: an incident that goes on must not
/// become the measure of itself, or it would end after two windows however many fail.
fn usual_before(
    windows: &BTreeMap<i64, Tally>,
    window: i64,
    spikes: &[WindowRange],
    ongoing: Option<Ongoing>,
) -> Option<f64> {
    let joins = |range: &WindowRange| {
        range.0 <= window.saturating_add(QUIET_WINDOWS)
            && window <= range.1.saturating_add(QUIET_WINDOWS)
    };
    let last = spikes.last().filter(|range| joins(range));
    if let Some(it) = ongoing
        && (joins(&it.range)
            || last.is_some_and(|last| last.0 <= it.range.1.saturating_add(QUIET_WINDOWS)))
    {
        return it.usual_rate;
    }
    usual_rate(windows, last.map_or(window, |(first, _)| *first))
}

fn reaches_rate(tally: Tally, thresholds: &Thresholds) -> bool {
    thresholds.min_errors <= tally.failures
        && thresholds.rate_percent * tally.requests as f64 <= 100.0 * tally.failures as f64
}

fn surges(tally: Tally, usual: Option<f64>, thresholds: &Thresholds) -> bool {
    SURGE_MIN_FAILURES <= tally.failures
        && usual.is_some_and(|usual| {
            thresholds.surge_factor * usual <= tally.failures as f64 / tally.requests as f64
        })
}

/// The smallest run of neighbours around `window` that reaches the rate, cut to windows with failures.
fn joined(
    windows: &BTreeMap<i64, Tally>,
    window: i64,
    thresholds: &Thresholds,
) -> Option<WindowRange> {
    for neighbours in 1..=MAX_JOINED_NEIGHBOURS {
        for first in window.saturating_sub(neighbours)..=window {
            let last = first.saturating_add(neighbours);
            if reaches_rate(sum(windows, first, last), thresholds) {
                let mut failing =
                    windows.range(first..=last).filter(|(_, tally)| 0 < tally.failures);
                let first = failing.next().map_or(window, |(window, _)| *window);
                let last = failing.next_back().map_or(first, |(window, _)| *window);
                return Some((first, last));
            }
        }
    }
    None
}

/// The windows from `first` to `last` as one.
pub(super) fn sum(windows: &BTreeMap<i64, Tally>, first: i64, last: i64) -> Tally {
    let mut total = Tally::default();
    if first <= last {
        for tally in windows.range(first..=last).map(|(_, tally)| tally) {
            total.requests += tally.requests;
            total.failures += tally.failures;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(windows: &[(i64, u64, u64)], expected: &[WindowRange]) {
        let windows = windows
            .iter()
            .map(|&(window, requests, failures)| (window, Tally { requests, failures }))
            .collect();
        assert_eq!(find(&windows, &Thresholds::default(), None), expected, "{windows:?}");
    }

    #[test]
    fn needs_enough_failures_and_enough_rate() {
        check(&[(0, 500, 5)], &[(0, 0)]);
        check(&[(0, 501, 5)], &[]);
        check(&[(0, 400, 4)], &[]);
        check(&[(0, 2, 1)], &[]);
        check(&[(0, 100_000, 1)], &[]);
        check(&[(0, 5, 5)], &[(0, 0)]);
    }

    #[test]
    fn joins_up_to_three_neighbours_of_a_window_with_few_failures() {
        check(&[(0, 100, 2), (1, 100, 3)], &[(0, 1)]);
        check(&[(0, 100, 2), (3, 100, 3)], &[(0, 3)]);
        check(&[(0, 100, 2), (4, 100, 3)], &[]);
        check(&[(0, 100, 2), (1, 1000, 0), (2, 100, 3)], &[]);
    }

    #[test]
    fn a_surge_is_measured_against_the_hour_before() {
        check(&[(0, 100_000, 10), (1, 10_000, 50)], &[(1, 1)]);
        check(&[(0, 100_000, 100), (1, 10_000, 50)], &[]);
        check(&[(0, 100_000, 10), (1, 10_000, 49)], &[]);
        check(&[(1, 10_000, 50)], &[]);
        check(&[(0, 100_000, 10), (13, 10_000, 50)], &[]);
    }

    #[test]
    fn a_surge_that_goes_on_is_not_the_measure_of_itself() {
        let hours = |failing: std::ops::Range<i64>| -> BTreeMap<i64, Tally> {
            let failures = |window: &i64| if failing.contains(window) { 60 } else { 0 };
            (0..60)
                .map(|window| (window, Tally { requests: 8000, failures: failures(&window) }))
                .collect()
        };
        let found = |windows: &BTreeMap<i64, Tally>, ongoing| {
            find(windows, &Thresholds::default(), ongoing)
        };
        assert_eq!(found(&hours(12..18), None), [(12, 17)]);
        assert_eq!(found(&hours(12..60), None), [(12, 59)], "longer than the hour before");
        // Nothing is known of the time before: these may be the usual failures.
        assert_eq!(found(&hours(0..60), None), []);
        // Of an incident that is known only its end is among the windows.
        let known = |usual_rate| Some(Ongoing { range: (-40, 1), usual_rate });
        assert_eq!(found(&hours(0..30), known(Some(0.0001))), [(0, 29)]);
        assert_eq!(found(&hours(0..30), known(Some(0.001))), [], "not ten times");
        assert_eq!(found(&hours(0..30), known(None)), []);
    }

    #[test]
    fn spikes_closer_than_three_quiet_windows_are_one_incident() {
        check(&[(0, 100, 10), (3, 100, 10)], &[(0, 3)]);
        check(&[(0, 100, 10), (4, 100, 10)], &[(0, 0), (4, 4)]);
    }
}
