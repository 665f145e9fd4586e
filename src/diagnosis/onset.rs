//! When an incident began, and how: suddenly, growing, in bursts, or before the rows at hand.

use serde::Serialize;

use super::{chance::chance, timestamp};
use crate::detection::Minute;

/// A minute has left the baseline when chance would make it so less often than once in ten thousand:
/// an hour of minutes is asked twice each, so about one steady incident in a hundred is misjudged.
const CHANCE: f64 = 1e-4;

/// The baseline is the hour before: the surge rule compares with the same.
const HOUR_MICROS: i64 = 3_600_000_000;

/// A few failures in each of five minutes may stand out where those of one minute do not.
const FIVE_MINUTES_MICROS: i64 = 300_000_000;

/// One minute that begins a sudden incident may be cut by the grid; the next one is whole.
const TWO_MINUTES_MICROS: i64 = 120_000_000;

/// A sudden incident reaches this part of its mean rate within two minutes. Half: a straight ramp of
/// more than eight minutes has less.
const SUDDEN_PART: f64 = 0.5;

/// Fewer failures than this make no slope.
const MIN_RAMP_FAILURES: u64 = 10;

/// A minute with failures has this many times more of them in bursts than when they are spread by
/// chance over the same time: bursts then fill at most a third of it.
const BURST_FACTOR: f64 = 3.0;

/// Bursts are this many microseconds apart, from minute to minute: at least one quiet minute between.
const BURST_GAP_MICROS: i64 = 120_000_000;

/// When the largest burst holds more than this part of the failures, the others are stragglers.
const LARGEST_BURST: f64 = 0.8;

/// Where at least this many failures were due and none came, the rate was lower: chance leaves none in
/// one case of 150.
const DUE_FAILURES: f64 = 5.0;

/// The minute before the one that stands out belongs to it when it fails this many times as often as the
/// hour before: the grid cuts the beginning.
const CUT_FACTOR: f64 = 3.0;

/// What failed half as often before had begun before. The first minute at hand is seldom whole, and a row
/// that waits for a timeout comes later than one that is refused: so a steady rate seems to rise.
const RISE_FACTOR: f64 = 2.0;

/// How an incident began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Half of the mean rate was reached within two minutes.
    Sudden,
    /// It grew.
    Ramp,
    /// No minute stands out from the time before, or there is no time before.
    Steady,
    /// Failures come together, with quiet minutes in between.
    Bursts,
}

/// The beginning of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Onset {
    /// How it began.
    pub shape: Shape,
    /// The first failure of the first minute that leaves the baseline, or of the minute before when that
    /// begins it, in the incident or not; of a steady incident the first failure at hand, which may lie
    /// before the incident. `None` when it is as old as the rows at hand.
    pub at: Option<jiff::Timestamp>,
    /// Failures as a fraction of the requests in the hour before `at` (of a steady incident: in the hour
    /// before its first window), 0 to 1; `None` without a row of that time.
    pub baseline_rate: Option<f64>,
    /// How much of that hour is at hand: minutes from its first row to its end, rounded up.
    pub baseline_minutes: u64,
    /// The first failure of the incident.
    pub first_failure: jiff::Timestamp,
    /// The last failure of the incident.
    pub last_failure: jiff::Timestamp,
}

/// Rows, and failed ones among them.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    requests: u64,
    failures: u64,
}

impl Sum {
    fn of(minutes: &[Minute]) -> Self {
        minutes.iter().fold(Self::default(), |sum, minute| Self {
            requests: sum.requests + minute.requests,
            failures: sum.failures + minute.failures,
        })
    }

    fn rate(self) -> f64 {
        self.failures as f64 / self.requests.max(1) as f64
    }

    /// True when chance does not make these of a baseline. One failure more than were seen is taken for
    /// its rate: a quiet hour is not a rate of zero.
    fn leaves(self, baseline: Self) -> bool {
        0 < baseline.requests
            && RISE_FACTOR * baseline.rate() <= self.rate()
            && chance(self.failures, self.requests, baseline.usual()) < CHANCE
    }

    fn usual(self) -> f64 {
        (self.failures + 1) as f64 / (self.requests + 1) as f64
    }
}

/// Judges the minutes with rows, in order, from an hour before the incident to its end. `start` is the
/// start of its first window, microseconds since 1970. `None` when nothing failed.
pub fn onset(minutes: &[Minute], start: i64) -> Option<Onset> {
    let from = minutes.partition_point(|minute| minute.start < start);
    let failing = |minute: &Minute| 0 < minute.failures;
    let first = from + minutes.get(from..)?.iter().position(failing)?;
    let last = minutes.iter().rposition(failing)?;
    let (first_failure, _) = minutes.get(first)?.failed?;
    let (_, last_failure) = minutes.get(last)?.failed?;
    let minutes = minutes.get(..=last)?;

    let all = Sum::of(minutes.get(from..)?);
    let at_hand = first_at_hand(minutes);
    let begin = (first..=last)
        .find(|index| leaves(minutes, *index))
        .map(|index| uncut(minutes, index))
        .or_else(|| {
            let leaves = all.leaves(Sum::of(before(minutes, start)));
            (leaves || at_hand == Some(first)).then_some(first)
        });
    let (shape, at, end_of_baseline) = match begin {
        Some(index) => {
            let minute = minutes.get(index)?;
            (shape(minutes.get(index..)?), minute.failed, minute.start)
        }
        None => (Shape::Steady, at_hand.and_then(|index| minutes.get(index)?.failed), start),
    };
    let baseline = before(minutes, end_of_baseline);
    let sum = Sum::of(baseline);
    Some(Onset {
        shape,
        at: at.map(|(at, _)| timestamp(at)),
        baseline_rate: (0 < sum.requests).then(|| sum.rate()),
        baseline_minutes: baseline.first().map_or(0, |minute| {
            (end_of_baseline - minute.start).unsigned_abs().div_ceil(60_000_000)
        }),
        first_failure: timestamp(first_failure),
        last_failure: timestamp(last_failure),
    })
}

/// The minutes of the hour before a time.
fn before(minutes: &[Minute], time: i64) -> &[Minute] {
    within(minutes, time.saturating_sub(HOUR_MICROS), time)
}

fn within(minutes: &[Minute], from: i64, to: i64) -> &[Minute] {
    let from = minutes.partition_point(|minute| minute.start < from);
    let to = minutes.partition_point(|minute| minute.start < to);
    minutes.get(from..to).unwrap_or_default()
}

/// True when a minute, or the five that begin with it, left the hour before it. A minute with less than
/// its fifth of the five only stands before the beginning.
fn leaves(minutes: &[Minute], index: usize) -> bool {
    let Some(minute) = minutes.get(index).filter(|minute| 0 < minute.failures) else {
        return false;
    };
    let baseline = Sum::of(before(minutes, minute.start));
    let five = within(minutes, minute.start, minute.start.saturating_add(FIVE_MINUTES_MICROS));
    let five = Sum::of(five);
    Sum::of(&[*minute]).leaves(baseline)
        || (five.failures <= 5 * minute.failures && five.leaves(baseline))
}

/// The minute before when the beginning lies in it, cut by the grid.
fn uncut(minutes: &[Minute], index: usize) -> usize {
    let previous = index.checked_sub(1).and_then(|before| minutes.get(before));
    let Some((previous, minute)) = previous.zip(minutes.get(index)) else { return index };
    let baseline = Sum::of(before(minutes, previous.start));
    let belongs = minute.start - previous.start <= 60_000_000
        && 0 < previous.failures
        && 0 < baseline.requests
        && CUT_FACTOR * baseline.usual() <= Sum::of(&[*previous]).rate();
    if belongs { index - 1 } else { index }
}

/// The first minute with a failure at hand; `None` when the rows before it are too few to say that it
/// was the first.
fn first_at_hand(minutes: &[Minute]) -> Option<usize> {
    let index = minutes.iter().position(|minute| 0 < minute.failures)?;
    let (before, after) = minutes.split_at(index);
    let due = Sum::of(after).rate() * Sum::of(before).requests as f64;
    (DUE_FAILURES <= due).then_some(index)
}

/// The shape of what left the baseline: the minutes from its first to its last failure.
fn shape(minutes: &[Minute]) -> Shape {
    let all = Sum::of(minutes);
    let Some(first) = minutes.first() else { return Shape::Sudden };
    if is_in_bursts(minutes, all) {
        return Shape::Bursts;
    }
    let early = within(minutes, first.start, first.start.saturating_add(TWO_MINUTES_MICROS));
    let fastest = early.iter().map(|minute| Sum::of(&[*minute]).rate()).fold(0.0, f64::max);
    if MIN_RAMP_FAILURES <= all.failures && fastest < SUDDEN_PART * all.rate() {
        Shape::Ramp
    } else {
        Shape::Sudden
    }
}

fn is_in_bursts(minutes: &[Minute], all: Sum) -> bool {
    let mut bursts: Vec<Sum> = Vec::new();
    let mut failing = 0_u64;
    let mut previous: Option<i64> = None;
    for minute in minutes.iter().filter(|minute| 0 < minute.failures) {
        failing += 1;
        let apart = previous.is_none_or(|before| BURST_GAP_MICROS <= minute.start - before);
        previous = Some(minute.start);
        match bursts.last_mut().filter(|_| !apart) {
            Some(burst) => burst.failures += minute.failures,
            None => bursts.push(Sum::of(&[*minute])),
        }
    }
    let largest = bursts.iter().map(|burst| burst.failures).max().unwrap_or(0);
    // Failures spread by chance, `mean` in a minute, leave e^-mean of the minutes without any.
    let mean = all.failures as f64 / minutes.len().max(1) as f64;
    let by_chance = mean / (1.0 - (-mean).exp());
    2 <= bursts.len()
        && largest as f64 <= LARGEST_BURST * all.failures as f64
        && BURST_FACTOR * by_chance <= all.failures as f64 / failing.max(1) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Noon; the incident's first window begins here.
    const START: i64 = 1_772_366_400_000_000;

    /// Minutes from `first` (minutes after noon) on: requests and failures. A failure comes 41 s into
    /// its minute, the last one 50 s into it.
    fn minutes(first: i64, counts: &[(u64, u64)]) -> Vec<Minute> {
        let starts = (first..).map(|minute| START + minute * 60_000_000);
        let counted = starts.zip(counts).filter(|(_, (requests, _))| 0 < *requests);
        counted
            .map(|(start, &(requests, failures))| Minute {
                start,
                requests,
                failures,
                failed: (0 < failures).then_some((start + 41_000_000, start + 50_000_000)),
            })
            .collect()
    }

    fn repeat(count: usize, what: &[(u64, u64)]) -> Vec<(u64, u64)> {
        what.iter().copied().cycle().take(count).collect()
    }

    #[test]
    fn a_beginning_has_a_shape_and_a_time() {
        use Shape::{Bursts, Ramp, Steady, Sudden};
        let quiet = repeat(60, &[(100, 0)]);
        let stray = repeat(60, &[(100, 1), (100, 0), (100, 0)]);
        let with = |before: &[(u64, u64)], then: &[(u64, u64)]| [before, then].concat();
        let ramp: Vec<_> = (0..20).map(|minute| (100, minute * 3)).collect();
        let four_bursts = repeat(40, &with(&[(100, 20)], &repeat(9, &[(100, 0)])));
        let straggler =
            with(&repeat(5, &[(100, 90)]), &with(&repeat(25, &[(100, 0)]), &[(100, 1)]));
        // Name; the first minute; the rows; shape, minute of the beginning, rate and minutes before.
        for (name, first, counts, expected) in [
            (
                "an outage after a quiet hour",
                -60,
                with(&quiet, &with(&[(100, 0); 3], &[(100, 50), (100, 100), (100, 90)])),
                (Sudden, Some(3), Some(0.0), 60),
            ),
            (
                "an outage after an hour with strays",
                -60,
                with(&stray, &[(100, 30); 9]),
                (Sudden, Some(0), Some(20.0 / 6000.0), 60),
            ),
            (
                "a stray failure two minutes before the outage",
                -60,
                with(&quiet, &[(100, 1), (100, 0), (100, 60), (100, 70)]),
                (Sudden, Some(2), Some(1.0 / 6000.0), 60),
            ),
            ("twenty minutes that grow", -60, with(&quiet, &ramp), (Ramp, Some(1), Some(0.0), 60)),
            (
                "a deployment of four targets",
                -60,
                with(&quiet, &four_bursts),
                (Bursts, Some(0), Some(0.0), 60),
            ),
            (
                "an outage and a straggler",
                -60,
                with(&quiet, &straggler),
                (Sudden, Some(0), Some(0.0), 60),
            ),
            (
                "one failure a minute, as in the hour before",
                -60,
                repeat(75, &[(100, 1)]),
                (Steady, None, Some(0.01), 60),
            ),
            (
                "a leak from the first row at hand",
                0,
                repeat(30, &[(100, 0), (100, 2), (100, 1)]),
                (Steady, None, None, 0),
            ),
            ("nothing else than failures", 0, repeat(10, &[(9, 9)]), (Steady, None, None, 0)),
            (
                "a log that begins two minutes before",
                -2,
                vec![(100, 0), (100, 0), (100, 80), (100, 90)],
                (Sudden, Some(0), Some(0.0), 2),
            ),
            (
                "a few failures in little traffic",
                -60,
                with(&repeat(60, &[(5, 0)]), &[(5, 1); 5]),
                (Sudden, Some(0), Some(0.0), 60),
            ),
            (
                "a gap without traffic before the outage",
                -50,
                with(&[(100, 0); 10], &with(&[(0, 0); 40], &[(100, 90); 3])),
                (Sudden, Some(0), Some(0.0), 50),
            ),
            (
                "all in one minute",
                -60,
                with(&quiet, &[(100, 40)]),
                (Sudden, Some(0), Some(0.0), 60),
            ),
        ] {
            let onset = onset(&minutes(first, &counts), START).unwrap();
            let at = onset.at.map(|at| (at.as_microsecond() - START).div_euclid(60_000_000));
            let found = (onset.shape, at, onset.baseline_rate, onset.baseline_minutes);
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn the_first_and_the_last_failure_are_those_of_the_incident() {
        let counts = [&[(100, 1)][..], &[(100, 0); 59], &[(100, 20); 5], &[(100, 0); 3]].concat();
        let onset = onset(&minutes(-60, &counts), START).unwrap();
        assert_eq!(onset.first_failure.to_string(), "2026-03-01T12:00:41Z");
        assert_eq!(onset.last_failure.to_string(), "2026-03-01T12:04:50Z");
        assert_eq!(onset.at, Some(onset.first_failure));
    }

    proptest! {
        #[test]
        fn whatever_the_minutes_the_order_of_times_holds(
            counts in prop::collection::vec((0..200_u64, 0..9_u64), 0..120),
            first in -60..10_i64,
        ) {
            let counts: Vec<_> = counts.into_iter().map(|(of, hits)| (of, hits.min(of))).collect();
            let minutes = minutes(first, &counts);
            let failed = minutes.iter().any(|it| START <= it.start && 0 < it.failures);
            let onset = onset(&minutes, START);
            prop_assert_eq!(onset.is_some(), failed);
            if let Some(onset) = onset {
                prop_assert!(onset.first_failure <= onset.last_failure);
                prop_assert!(onset.at.is_none_or(|at| at <= onset.last_failure));
                // The grid of windows cuts as the grid of minutes does.
                let cut = timestamp(START - 60_000_000);
                prop_assert!(onset.shape == Shape::Steady || onset.at.is_some_and(|at| cut <= at));
                prop_assert!(onset.baseline_minutes <= 60);
                prop_assert_eq!(onset.baseline_rate.is_some(), 0 < onset.baseline_minutes);
            }
        }
    }

    #[test]
    fn nothing_failed_nothing_began() {
        assert_eq!(onset(&[], START), None);
        assert_eq!(onset(&minutes(-60, &[(100, 0); 80]), START), None);
        assert_eq!(onset(&minutes(-60, &[(100, 1); 60]), START), None);
    }
}
