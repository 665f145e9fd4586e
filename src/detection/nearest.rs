//! What came nearest to a spike, for whoever asks why nothing is said.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use super::{
    detector::Detector,
    evidence::Window,
    spikes::{self, Tally},
    thresholds::{MAX_JOINED_NEIGHBOURS, Thresholds, WINDOW_MICROS},
};

/// The stretch of a target group that came nearest to a spike.
///
/// A spike needs a number of failures and a rate, and one of both is no half of it: so a stretch is as near
/// as the worse of the two, as a part of what is needed. 4 of 5 failures at a tenth of the rate is a tenth of
/// the way; 3 of 5 at ten times the rate is three fifths. Trickles are not measured: what keeps one silent is
/// often that no cause stands out, which no number says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearest {
    /// `app/name/id`.
    pub load_balancer: Arc<str>,
    /// `None` for rows that were never forwarded to a target group.
    pub target_group_arn: Option<Arc<str>>,
    /// One window, or up to four that would be judged together.
    pub window: Window,
    /// Rows that count.
    pub requests: u64,
    /// Failed rows; at least one.
    pub failures: u64,
}

impl Detector {
    /// The nearest to a spike, where nothing is one; `None` without a failure, for then nothing is near.
    pub fn nearest(&self) -> Option<Nearest> {
        let mut all: Vec<(Stretch, Nearest)> = Vec::new();
        for (key, group) in &self.groups {
            let tally = |counts: &super::Counts| Tally {
                requests: counts.requests,
                failures: counts.failures,
            };
            let windows: BTreeMap<i64, Tally> =
                group.windows.iter().map(|(&at, cell)| (at, tally(&cell.counts))).collect();
            if let Some(stretch) = nearest_of(&windows, &self.thresholds) {
                let identity = self.identity(key);
                let nearest = Nearest {
                    load_balancer: identity.load_balancer,
                    target_group_arn: identity.target_group_arn,
                    window: stretch.window(),
                    requests: stretch.tally.requests,
                    failures: stretch.tally.failures,
                };
                all.push((stretch, nearest));
            }
        }
        let whose = |it: &Nearest| (it.load_balancer.clone(), it.target_group_arn.clone());
        all.into_iter()
            .min_by(|(a, of_a), (b, of_b)| a.order(b).then_with(|| whose(of_a).cmp(&whose(of_b))))
            .map(|(_, nearest)| nearest)
    }

    /// From the first to the last window with a row.
    pub fn time_span(&self) -> Option<Window> {
        let windows = || self.groups.values().flat_map(|group| group.windows.keys().copied());
        Some(window(windows().min()?, windows().max()?))
    }
}

fn window(first: i64, last: i64) -> Window {
    Window {
        start: first.saturating_mul(WINDOW_MICROS),
        end: last.saturating_add(1).saturating_mul(WINDOW_MICROS),
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Stretch {
    /// How much of the way: 0 to 1.
    part: f64,
    first: i64,
    last: i64,
    tally: Tally,
}

impl Stretch {
    fn of(windows: &BTreeMap<i64, Tally>, first: i64, last: i64, thresholds: &Thresholds) -> Self {
        let tally = spikes::sum(windows, first, last);
        let failures = tally.failures as f64 / thresholds.min_errors as f64;
        let rate = 100.0 * tally.failures as f64 / tally.requests as f64 / thresholds.rate_percent;
        Self { part: failures.min(rate).min(1.0), first, last, tally }
    }

    fn window(&self) -> Window {
        window(self.first, self.last)
    }

    /// The nearest first: of two that are as near the shorter, then the one with more failures of fewer
    /// requests, then the earlier.
    fn order(&self, other: &Self) -> Ordering {
        let length = |it: &Self| it.last.saturating_sub(it.first);
        other
            .part
            .total_cmp(&self.part)
            .then(length(self).cmp(&length(other)))
            .then(other.tally.failures.cmp(&self.tally.failures))
            .then(self.tally.requests.cmp(&other.tally.requests))
            .then(self.first.cmp(&other.first))
    }
}

/// Of one target group: over its windows, and over those that are joined because one alone has too few
/// failures.
fn nearest_of(windows: &BTreeMap<i64, Tally>, thresholds: &Thresholds) -> Option<Stretch> {
    let failing = windows.iter().filter(|(_, tally)| 0 < tally.failures);
    failing
        .flat_map(|(&window, tally)| {
            let is_joined = tally.failures < thresholds.min_errors;
            let neighbours = if is_joined { MAX_JOINED_NEIGHBOURS } else { 0 };
            (0..=neighbours).flat_map(move |neighbours| {
                (window.saturating_sub(neighbours)..=window)
                    .map(move |first| (first, first.saturating_add(neighbours)))
            })
        })
        .map(|(first, last)| Stretch::of(windows, first, last, thresholds))
        .min_by(Stretch::order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(windows: &[(i64, u64, u64)], expected: Option<(i64, i64, u64, u64)>) {
        let windows = windows
            .iter()
            .map(|&(window, requests, failures)| (window, Tally { requests, failures }))
            .collect();
        let found = nearest_of(&windows, &Thresholds::default())
            .map(|it| (it.first, it.last, it.tally.failures, it.tally.requests));
        assert_eq!(found, expected, "{windows:?}");
    }

    #[test]
    fn the_worse_of_number_and_rate_counts() {
        check(&[(0, 5000, 4), (20, 100, 3)], Some((20, 20, 3, 100)));
        check(&[(0, 5000, 40), (20, 100, 3)], Some((0, 0, 40, 5000)));
        check(&[(0, 10_000, 40), (20, 100, 3)], Some((20, 20, 3, 100)));
    }

    #[test]
    fn windows_are_joined_where_a_spike_would_join_them() {
        check(&[(0, 300, 2), (2, 300, 2)], Some((0, 2, 4, 600)));
        check(&[(0, 300, 2), (4, 300, 2)], Some((0, 0, 2, 300)));
        check(&[(0, 1000, 6), (1, 100, 0), (2, 100, 2)], Some((0, 2, 8, 1200)));
        check(&[(0, 1000, 6), (1, 100, 0), (2, 1000, 2)], Some((0, 0, 6, 1000)));
    }

    #[test]
    fn without_a_failure_nothing_is_near() {
        check(&[(0, 100_000, 0), (1, 1, 0)], None);
        check(&[], None);
    }

    #[test]
    fn what_is_said_to_be_near_fires_when_the_thresholds_are_lowered_to_it() {
        for windows in [
            vec![(0, 300, 2), (2, 300, 2)],
            vec![(0, 10_000, 40)],
            vec![(0, 812, 3)],
            vec![(0, 900, 1), (1, 10, 1), (2, 900, 1), (3, 10, 1)],
            vec![(0, 1000, 4), (1, 10, 3)],
        ] {
            let windows: BTreeMap<i64, Tally> = windows
                .iter()
                .map(|&(window, requests, failures)| (window, Tally { requests, failures }))
                .collect();
            let usual = Thresholds::default();
            let near = nearest_of(&windows, &usual).unwrap();
            let rate = 100.0 * near.tally.failures as f64 / near.tally.requests as f64;
            let lowered = Thresholds {
                min_errors: usual.min_errors.min(near.tally.failures),
                rate_percent: usual.rate_percent.min(rate * 0.999),
                ..usual
            };
            let found = spikes::find(&windows, &lowered, None);
            let holds = |it: &spikes::WindowRange| near.first <= it.1 && it.0 <= near.last;
            assert!(found.iter().any(holds), "{windows:?} {near:?} {found:?}");
        }
    }
}
