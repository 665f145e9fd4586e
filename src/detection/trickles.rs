//! Which stretches of a target group are a trickle: failures too thin for a spike that do not stop.

use std::collections::BTreeMap;

use super::{
    evidence::Window,
    spikes::{Tally, WindowRange},
    thresholds::{MAX_JOINED_NEIGHBOURS, TRICKLE_WINDOWS, Thresholds, WINDOW_MICROS},
};

/// Finds the trickles in the windows of one target group (key: window number) around its spikes, each
/// cut to windows with failures. `spikes` are sorted and do not overlap.
pub fn find(
    windows: &BTreeMap<i64, Tally>,
    spikes: &[WindowRange],
    thresholds: &Thresholds,
) -> Vec<WindowRange> {
    let day = Day::new(windows.iter().filter(|(window, _)| !belongs_to(spikes, **window)));
    let mut stretches: Vec<WindowRange> = day
        .failing
        .iter()
        // Of all stretches with the same failures one begins or ends at a failure, or at an end of
        // the rows at hand.
        .flat_map(|&window| [window, window.saturating_sub(TRICKLE_WINDOWS - 1)])
        .filter_map(|start| day.stretch(start, thresholds))
        .collect();
    stretches.sort_unstable();
    let mut trickles: Vec<WindowRange> = Vec::new();
    for (first, last) in stretches {
        match trickles.last_mut() {
            Some(previous) if first <= previous.1 => previous.1 = previous.1.max(last),
            _ => trickles.push((first, last)),
        }
    }
    trickles
}

/// True for the windows of a spike and for its tails, which are no leak: as far as windows are joined
/// to a spike.
pub fn belongs_to(spikes: &[WindowRange], window: i64) -> bool {
    let begun =
        spikes.partition_point(|(first, _)| first.saturating_sub(MAX_JOINED_NEIGHBOURS) <= window);
    begun
        .checked_sub(1)
        .and_then(|index| spikes.get(index))
        .is_some_and(|(_, last)| window <= last.saturating_add(MAX_JOINED_NEIGHBOURS))
}

/// The time of the windows that [`belongs_to`] the spikes.
pub(super) fn left_out(spikes: &[WindowRange]) -> Vec<Window> {
    let time = |window: i64| window.saturating_mul(WINDOW_MICROS);
    spikes
        .iter()
        .map(|(first, last)| Window {
            start: time(first.saturating_sub(MAX_JOINED_NEIGHBOURS)),
            end: time(last.saturating_add(MAX_JOINED_NEIGHBOURS).saturating_add(1)),
        })
        .collect()
}

/// The windows of a target group, added up so that a stretch of them costs next to nothing.
struct Day {
    /// Each window, and the sum of all before it; at the end one more with the sum of all.
    sums: Vec<(i64, Tally)>,
    /// The windows with failures.
    failing: Vec<i64>,
}

impl Day {
    fn new<'a>(windows: impl Iterator<Item = (&'a i64, &'a Tally)>) -> Self {
        let (mut sums, mut failing) = (Vec::new(), Vec::new());
        let (mut end, mut total) = (i64::MIN, Tally::default());
        for (&window, tally) in windows {
            sums.push((window, total));
            total.requests += tally.requests;
            total.failures += tally.failures;
            if 0 < tally.failures {
                failing.push(window);
            }
            end = window.saturating_add(1);
        }
        sums.push((end, total));
        Self { sums, failing }
    }

    /// The 24 hours from `start`, cut to windows with failures; `None` when they are too few.
    fn stretch(&self, start: i64, thresholds: &Thresholds) -> Option<WindowRange> {
        // As far as there are rows it is a whole day: with the failures of its last hour alone a quiet
        // day would have a high rate.
        let (first, end) = (self.sums.first()?.0, self.sums.last()?.0);
        let start = start.min(end.saturating_sub(TRICKLE_WINDOWS)).max(first);
        let stop = start.saturating_add(TRICKLE_WINDOWS);
        let (before, all) = (self.before(start), self.before(stop));
        let total = Tally {
            requests: all.requests - before.requests,
            failures: all.failures - before.failures,
        };
        let from = self.failing.partition_point(|window| *window < start);
        let to = self.failing.partition_point(|window| *window < stop);
        let failing = self.failing.get(from..to)?;
        let reached = thresholds.trickle_errors <= total.failures
            && thresholds.trickle_per_million * total.requests as f64
                <= 1e6 * total.failures as f64;
        reached.then_some((*failing.first()?, *failing.last()?))
    }

    /// The sum of all windows before `window`.
    fn before(&self, window: i64) -> Tally {
        let index = self.sums.partition_point(|(at, _)| *at < window);
        self.sums.get(index).or(self.sums.last()).map_or(Tally::default(), |(_, sum)| *sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = TRICKLE_WINDOWS;

    /// One failure in each of `failing`, and `requests` in every window of `span`.
    fn windows(span: std::ops::Range<i64>, requests: u64, failing: &[i64]) -> BTreeMap<i64, Tally> {
        let mut windows: BTreeMap<i64, Tally> =
            span.map(|window| (window, Tally { requests, failures: 0 })).collect();
        for window in failing {
            windows.get_mut(window).unwrap().failures += 1;
        }
        windows
    }

    fn find_in(windows: &BTreeMap<i64, Tally>) -> Vec<WindowRange> {
        let thresholds = Thresholds::default();
        find(windows, &super::super::spikes::find(windows, &thresholds, None), &thresholds)
    }

    #[test]
    fn five_failures_of_a_day_fire_and_four_do_not() {
        assert_eq!(find_in(&windows(0..DAY, 500, &[10, 60, 110, 160, 210])), [(10, 210)]);
        assert_eq!(find_in(&windows(0..DAY, 500, &[10, 60, 110, 160])), []);
    }

    #[test]
    fn twenty_of_a_million_fire_and_nineteen_do_not() {
        let failing: Vec<i64> = (0..20).map(|hour| hour * 12 + 20).collect();
        let mut day = windows(0..DAY, 0, &failing);
        day.get_mut(&5).unwrap().requests = 1_000_000;
        assert_eq!(find_in(&day), [(20, 248)]);
        let mut day = windows(0..DAY, 0, &failing[..19]);
        day.get_mut(&5).unwrap().requests = 1_000_000;
        assert_eq!(find_in(&day), []);
    }

    #[test]
    fn strays_stay_quiet() {
        assert_eq!(find_in(&windows(0..DAY, 347, &[100])), [], "one of 100,000");
        // One of 100,000 for a week, of a busy service: however they fall.
        let failing: Vec<i64> = (0..70).map(|it| it * 28 + it % 7).collect();
        assert_eq!(find_in(&windows(0..7 * DAY, 3472, &failing)), []);
        // All strays of a quiet day in its last hour.
        let failing = [DAY - 9, DAY - 7, DAY - 5, DAY - 3, DAY - 1];
        assert_eq!(find_in(&windows(0..DAY, 1000, &failing)), []);
        assert_eq!(find_in(&windows(DAY - 12..DAY, 1000, &failing)), [(DAY - 9, DAY - 1)]);
    }

    #[test]
    fn a_short_log_is_judged_as_it_is() {
        assert_eq!(find_in(&windows(0..2, 800, &[0, 0, 0, 1, 1])), [(0, 1)]);
        assert_eq!(find_in(&windows(0..2, 800, &[0, 0, 1, 1])), []);
    }

    #[test]
    fn a_leak_of_many_days_is_one_trickle_and_two_leaks_are_two() {
        let failing: Vec<i64> = (0..50).map(|it| it * 40).collect();
        assert_eq!(find_in(&windows(0..7 * DAY, 500, &failing)), [(0, 1960)]);
        let two: Vec<i64> = (0..6).flat_map(|it| [it * 10, 4 * DAY + it * 10]).collect();
        let expected = [(0, 50), (4 * DAY, 4 * DAY + 50)];
        assert_eq!(find_in(&windows(0..7 * DAY, 500, &two)), expected);
    }

    #[test]
    fn a_spike_neither_drowns_a_leak_nor_makes_one() {
        let failing = [10, 40, 70, 160, 190, 220];
        let mut day = windows(0..DAY, 500, &failing);
        day.get_mut(&100).unwrap().failures = 400;
        assert_eq!(find_in(&day), [(10, 220)]);
        // The tails of a spike, and nothing else.
        let mut day = windows(0..DAY, 5000, &[98, 98, 99, 99, 101, 101, 102, 102, 103]);
        day.get_mut(&100).unwrap().failures = 4000;
        assert_eq!(find_in(&day), []);
    }

    #[test]
    fn the_windows_of_a_spike_and_three_on_either_side_belong_to_it() {
        let spikes = [(10, 12), (30, 30)];
        let belong: Vec<i64> = (0..40).filter(|window| belongs_to(&spikes, *window)).collect();
        assert_eq!(belong, (7..=15).chain(27..=33).collect::<Vec<i64>>());
        let left_out = left_out(&spikes);
        let in_one = |window: &i64| left_out.iter().any(|it| it.contains(window * WINDOW_MICROS));
        assert_eq!((0..40).filter(in_one).collect::<Vec<i64>>(), belong);
        assert!(!belongs_to(&[], 0));
    }
}
