//! One target group in one five-minute window: everything that is counted while the rows stream by.

use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use super::{
    evidence::{Bucket, Counts, Distribution, Minute},
    names::{NameId, OTHERS},
    room::Grown,
    signature::Signature,
    tally::{BySignature, PathTally, ShareTally, Span, Tallies, TargetTally},
    thresholds::WINDOW_MICROS,
};

/// Pairs of a node and a target that are followed per window: four nodes of a thousand targets.
pub(super) const MAX_PAIRS: usize = 4096;

/// Answers kept per node and target in a window. Beyond it the pair is busy: with 20 requests a
/// second a connection is never idle for the seconds that a keep-alive timeout takes.
pub(super) const MAX_ANSWERS: usize = 6000;

/// A pair takes as much memory as so many answers, whatever it has: its names, its list, its place.
const PAIR_ANSWERS: usize = 8;

/// A trace id is at most so long as it is kept: those of the load balancer have 40 bytes, and what clients put
/// before them is cut.
pub(super) const MAX_TRACE_ID_BYTES: usize = 128;

/// A failed row as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeptFailure {
    /// A digest of the row: the rows with the smallest ones are kept, so that the choice does not
    /// depend on the order of the rows.
    pub(super) digest: u64,
    pub(super) time: i64,
    pub(super) created: Option<i64>,
    pub(super) signature: Signature,
    /// The three processing times in milliseconds, up to eleven days; -1000 for -1.
    pub(super) times: [Option<i32>; 3],
    pub(super) target: Option<NameId>,
    pub(super) path: Option<NameId>,
    pub(super) method: Option<NameId>,
    pub(super) node: NameId,
    pub(super) object: NameId,
    pub(super) error_reason: Option<NameId>,
    pub(super) received_bytes: Option<u64>,
    pub(super) trace_id: Option<Box<str>>,
}

/// What one answered request tells of its connection: milliseconds since the start of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Answer {
    pub(super) start: i32,
    pub(super) end: i32,
    path: NameId,
}

impl Answer {
    /// In place of a path: there are never so many.
    const NO_PATH: NameId = NameId::MAX;

    pub(super) fn new(start: i32, end: i32, path: Option<NameId>) -> Self {
        Self { start, end, path: path.unwrap_or(Self::NO_PATH) }
    }

    pub(super) fn path(self) -> Option<NameId> {
        Some(self.path).filter(|path| *path != Self::NO_PATH)
    }
}

/// The answers of one node and target in one window.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers {
    pub(super) list: Vec<Answer>,
    /// There were too many: the list was given up.
    pub(super) busy: bool,
}

impl Answers {
    /// Half of the answers would tell wrong pauses, so all of them go.
    pub(super) fn give_up(&mut self) {
        *self = Self { list: Vec::new(), busy: true };
    }
}

/// Everything of one window but the plain counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Details {
    pub(super) targets: Tallies<TargetTally>,
    pub(super) paths: Tallies<PathTally>,
    pub(super) nodes: Tallies<ShareTally>,
    pub(super) methods: Tallies<ShareTally>,
    pub(super) types: Tallies<ShareTally>,
    pub(super) error_reasons: Tallies<u64>,
    /// The first and the last row.
    pub(super) seen: Span,
    pub(super) failures: BinaryHeap<KeptFailure>,
    /// The answers of some pairs of this window are not here: of none of them it is known when it answered.
    pub(super) is_unfollowed: bool,
    /// By node and target.
    pub(super) answers: Tallies<Answers, (NameId, NameId)>,
    pub(super) latencies: Latencies,
}

/// A minute, in microseconds: the grain in which the beginning of an incident is looked for.
const MINUTE_MICROS: i64 = 60_000_000;

/// Minutes of a window.
pub(super) const MINUTES: usize = (WINDOW_MICROS / MINUTE_MICROS) as usize;

/// What is counted in one minute, in 16 bytes: every window has five of these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct MinuteTally {
    requests: u32,
    failures: u32,
    /// The first and the last failure, microseconds since the start of the minute.
    failed: (u32, u32),
}

/// One window of one target group.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub(super) counts: Counts,
    pub(super) signatures: BySignature,
    pub(super) minutes: [MinuteTally; MINUTES],
    /// Successful rows that name no target: a Lambda target group.
    pub(super) successes_without_target: u64,
    /// Given up when the memory bound is reached and the window has no failure.
    pub(super) details: Option<Box<Details>>,
    /// There were details once: what is added later would be taken for all of the window.
    pub(super) is_given_up: bool,
}

impl Cell {
    /// Counts a row that counts, `micros` after the start of the window.
    pub(super) fn add_to_minute(&mut self, micros: i64, is_failure: bool) {
        let index = usize::try_from(micros.div_euclid(MINUTE_MICROS)).ok();
        let Some(minute) = index.and_then(|index| self.minutes.get_mut(index)) else { return };
        minute.requests = minute.requests.saturating_add(1);
        if is_failure {
            let at = u32::try_from(micros % MINUTE_MICROS).unwrap_or(0);
            let (first, last) = if minute.failures == 0 { (at, at) } else { minute.failed };
            minute.failed = (first.min(at), last.max(at));
            minute.failures = minute.failures.saturating_add(1);
        }
    }

    /// The minutes with rows of a window that starts at `start`, in order.
    pub(super) fn minutes(&self, start: i64) -> impl Iterator<Item = Minute> {
        let starts = (0..).map(move |index| start + index * MINUTE_MICROS);
        let counted = starts.zip(&self.minutes).filter(|(_, tally)| 0 < tally.requests);
        counted.map(|(start, tally)| Minute {
            start,
            requests: tally.requests.into(),
            failures: tally.failures.into(),
            failed: (0 < tally.failures)
                .then(|| (start + i64::from(tally.failed.0), start + i64::from(tally.failed.1))),
        })
    }
}

impl MinuteTally {
    pub(super) fn merge(&mut self, other: &Self) {
        if 0 < other.failures {
            let (first, last) = if self.failures == 0 { other.failed } else { self.failed };
            self.failed = (first.min(other.failed.0), last.max(other.failed.1));
        }
        self.requests = self.requests.saturating_add(other.requests);
        self.failures = self.failures.saturating_add(other.failures);
    }
}

impl Details {
    /// Keeps a failed row, at most `max` of them; tells how many more are kept than before.
    pub(super) fn keep_failure(&mut self, failure: KeptFailure, max: usize) -> usize {
        if self.failures.len() < max {
            self.failures.push(failure);
            return 1;
        }
        if self.failures.peek().is_some_and(|largest| failure < *largest) {
            self.failures.pop();
            self.failures.push(failure);
        }
        0
    }

    /// Keeps the rows that would have been kept of at most `max`.
    pub(super) fn cut_failures(&mut self, max: usize) {
        while max < self.failures.len() {
            self.failures.pop();
        }
        self.failures.shrink_to_fit();
    }

    /// What is given up elsewhere is given up here: half of the answers would tell wrong pauses.
    pub(super) fn give_up_answers(&mut self, node: NameId, target: NameId) {
        let answers = Answers { list: Vec::new(), busy: true };
        if let Some(kept) = self.answers.get_mut((node, target)) {
            *kept = answers;
        } else if self.answers.len() < MAX_PAIRS {
            self.answers.insert((node, target), answers);
        }
    }

    /// Keeps an answer, unless the pair has `max` already; tells how many more are kept than before, a new
    /// pair counted in.
    pub(super) fn keep_answer(
        &mut self,
        node: NameId,
        target: NameId,
        answer: Answer,
        max: usize,
    ) -> usize {
        if node == OTHERS || target == OTHERS || self.is_unfollowed {
            return 0;
        }
        let pair = (node, target);
        let Some(answers) = self.answers.get_mut(pair) else {
            if MAX_PAIRS <= self.answers.len() {
                self.give_up_all_answers();
                return 0;
            }
            self.answers.insert(pair, Answers { list: vec![answer], busy: false });
            return 1 + PAIR_ANSWERS;
        };
        if answers.busy {
            return 0;
        }
        if max <= answers.list.len() {
            answers.give_up();
            return 0;
        }
        answers.list.push(answer);
        1
    }

    /// Answers, tallies and failed rows that are kept.
    pub(super) fn size(&self) -> Grown {
        Grown {
            cells: 0,
            answers: self.answers.values().map(|it| it.list.len() + PAIR_ANSWERS).sum(),
            tallies: self.targets.len()
                + self.paths.len()
                + self.nodes.len()
                + self.methods.len()
                + self.types.len()
                + self.error_reasons.len(),
            failures: self.failures.len(),
        }
    }

    /// Leaves the tallies of each kind that say most.
    pub(super) fn cut_tallies(&mut self, targets: usize, most: usize) {
        self.targets.cut(targets);
        self.paths.cut(most);
        self.error_reasons.cut(most);
        for shares in [&mut self.nodes, &mut self.methods, &mut self.types] {
            shares.cut(most);
        }
    }

    /// Half of the pairs would tell wrong pauses.
    pub(super) fn give_up_all_answers(&mut self) {
        self.answers = Tallies::default();
        self.is_unfollowed = true;
    }
}

/// A histogram of seconds with buckets 9 % wide (eight for each doubling), from 1 ms to 18 hours.
#[derive(Debug, Clone)]
pub(super) struct Latencies {
    buckets: [u32; Self::BUCKETS],
    /// Seconds.
    longest: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: [0; Self::BUCKETS], longest: 0.0 }
    }
}

impl Latencies {
    pub(super) const BUCKETS: usize = 208;

    /// Two to the power of one eighth, two eighths, ..., seven eighths.
    const EIGHTHS: [f64; 7] = [
        1.090_507_732_665_257_7,
        1.189_207_115_002_721,
        1.296_839_554_651_009_6,
        std::f64::consts::SQRT_2,
        1.542_210_825_407_940_7,
        1.681_792_830_507_429,
        1.834_008_086_409_342_4,
    ];

    pub(super) fn add(&mut self, seconds: f64) {
        // Eight buckets for each power of two: the exponent of the number, and where in it.
        let millis = (seconds * 1000.0).max(1.0);
        let bits = millis.to_bits();
        let doublings = usize::try_from((bits >> 52) & 0x7ff).unwrap_or(0).saturating_sub(1023);
        let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
        let part = Self::EIGHTHS.iter().filter(|edge| **edge <= mantissa).count();
        let index = (doublings * 8 + part).min(Self::BUCKETS - 1);
        if let Some(bucket) = self.buckets.get_mut(index) {
            *bucket = bucket.saturating_add(1);
        }
        self.longest = self.longest.max(seconds);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (sum, more) in self.buckets.iter_mut().zip(other.buckets) {
            *sum = sum.saturating_add(more);
        }
        self.longest = self.longest.max(other.longest);
    }

    /// The buckets that are not empty, by index, and the longest in seconds.
    pub(super) fn parts(&self) -> (Vec<(u8, u32)>, f64) {
        let counted = (0..).zip(self.buckets).filter(|(_, count)| 0 < *count);
        (counted.collect(), self.longest)
    }

    /// The buckets that are not empty, in order.
    pub(super) fn buckets(&self) -> Vec<Bucket> {
        let edge = |index: u8| (f64::from(index) / 8.0).exp2() / 1000.0;
        let (parts, _) = self.parts();
        let bucket = |(index, rows): (u8, u32)| Bucket {
            from: edge(index),
            to: edge(index.saturating_add(1)),
            rows: rows.into(),
        };
        parts.into_iter().map(bucket).collect()
    }

    /// The same put together again; what is no bucket is left out.
    pub(super) fn of_parts(parts: &[(u8, u32)], longest: f64) -> Self {
        let mut latencies = Self { longest: longest.max(0.0), ..Self::default() };
        for &(index, count) in parts {
            if let Some(bucket) = latencies.buckets.get_mut(usize::from(index)) {
                *bucket = count;
            }
        }
        latencies
    }

    /// The value below which a fraction of the rows lies, in seconds: the middle of its bucket.
    pub(super) fn quantile(&self, fraction: f64) -> Option<f64> {
        let total: u64 = self.buckets.iter().map(|&count| u64::from(count)).sum();
        if total == 0 {
            return None;
        }
        let rank = (fraction * (total - 1) as f64) as u64;
        let mut below = 0;
        for (index, &count) in self.buckets.iter().enumerate() {
            below += u64::from(count);
            if rank < below {
                return Some(((index as f64 + 0.5) / 8.0).exp2() / 1000.0);
            }
        }
        None
    }

    /// The distribution: quantiles within 5 %, none above the longest, which is exact.
    pub(super) fn distribution(&self) -> Option<Distribution<f64>> {
        let at = |fraction| self.quantile(fraction).map(|seconds| seconds.min(self.longest));
        Some(Distribution { p50: at(0.5)?, p90: at(0.9)?, p99: at(0.99)?, max: self.longest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_tenth() {
        let mut latencies = Latencies::default();
        for millis in 1..=1000 {
            latencies.add(f64::from(millis) / 1000.0);
        }
        let p50 = latencies.quantile(0.5).unwrap();
        let p99 = latencies.quantile(0.99).unwrap();
        assert!((0.45..0.55).contains(&p50), "{p50}");
        assert!((0.9..1.1).contains(&p99), "{p99}");
        assert_eq!(Latencies::default().quantile(0.5), None);
        let all = latencies.distribution().unwrap();
        assert!(all.p50 < all.p90 && all.p90 < all.p99 && all.p99 <= all.max);
        assert_eq!((all.max, Latencies::default().distribution()), (1.0, None));
    }

    #[test]
    fn buckets_hold_every_row_between_their_edges() {
        let mut latencies = Latencies::default();
        [0.0, 0.001, 0.004, 0.004, 60.0].into_iter().for_each(|seconds| latencies.add(seconds));
        let buckets = latencies.buckets();
        assert_eq!(buckets.iter().map(|it| it.rows).collect::<Vec<_>>(), [2, 2, 1]);
        for (bucket, seconds) in buckets.iter().zip([0.001, 0.004, 60.0]) {
            assert!(bucket.from <= seconds && seconds < bucket.to, "{bucket:?}");
        }
    }

    #[test]
    fn a_minute_knows_its_first_and_its_last_failure() {
        let mut cell = Cell::default();
        for (second, is_failure) in [(59, true), (3, false), (1, true), (20, true), (125, false)] {
            cell.add_to_minute(second * 1_000_000, is_failure);
        }
        // Out of the window: a clock that no row has.
        cell.add_to_minute(-1, true);
        cell.add_to_minute(WINDOW_MICROS, true);
        let minute =
            |start, requests, failures, failed| Minute { start, requests, failures, failed };
        assert_eq!(
            cell.minutes(7).collect::<Vec<_>>(),
            [minute(7, 4, 3, Some((1_000_007, 59_000_007))), minute(120_000_007, 1, 0, None)]
        );
    }
}
