//! Requests that are closed one after the other, with no answer of their target in between.
//!
//! A request that meets a connection which was idle too long uses it up, and the next one finds another or a
//! new connection: where new connections are answered, few fail in a row. What closes all it gets is no timer,
//! though for each of its requests some answer lies as long before as one likes to look.

use std::{collections::BTreeMap, sync::Arc};

use crate::detection::{Evidence, FailureRow, Pause, Signature};

/// What a target closed without an answer in between.
#[derive(Debug, Clone, PartialEq)]
pub struct Streak {
    /// `ip:port`.
    pub target: Arc<str>,
    /// Requests, through all nodes.
    pub closed: u64,
    /// The first of them, microseconds since 1970.
    pub start: i64,
    /// The last.
    pub end: i64,
    /// The target answered again after it.
    pub is_over: bool,
    runs: Vec<Run>,
}

/// The part of one node.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    node: Arc<str>,
    /// When the target had last answered through this node, milliseconds since 1970.
    answered: i64,
    start: i64,
    end: i64,
    closed: u64,
    /// The last moment that was counted, and how many there were.
    moment: i64,
    moments: u64,
}

/// Closed at so many moments in a row through one node. A node keeps few connections to a target idle at the
/// same time, and a pool that times out together meets the requests of one moment.
const MIN_MOMENTS: u64 = 5;

/// Requests of one page are one moment, microseconds: half a second is longer than a page takes.
const MOMENT_MICROS: i64 = 500_000;

impl Streak {
    /// Whether the row is one of it.
    pub fn has(&self, row: &FailureRow) -> bool {
        self.target_is(row.target.as_ref())
            && row.signature == Signature::ClosedEarly
            && self
                .runs
                .iter()
                .any(|run| run.node == row.node && (run.start..=run.end).contains(&row.time))
    }

    /// Whether the request that came after the pause is one of it.
    pub fn has_pause(&self, pause: &Pause) -> bool {
        self.target_is(Some(&pause.target))
            && self.runs.iter().any(|run| run.answered == pause.answered)
    }

    fn target_is(&self, target: Option<&Arc<str>>) -> bool {
        target == Some(&self.target)
    }
}

/// All of them, the longest first.
pub(super) fn streaks(evidence: &Evidence) -> Vec<Streak> {
    let mut runs: BTreeMap<(&Arc<str>, &Arc<str>), Vec<Run>> = BTreeMap::new();
    // The rows are ordered by time.
    for row in evidence.failures.iter().filter(|row| row.signature == Signature::ClosedEarly) {
        let Some(target) = &row.target else { continue };
        let runs = runs.entry((target, &row.node)).or_default();
        let last = runs.last_mut();
        match (row.answered(), last) {
            (Some(answered), Some(run)) if run.answered == answered => run.add(row),
            (Some(answered), _) => runs.push(Run::of(row, answered)),
            // How long before it the target answered is not known, but that it did not since.
            (None, Some(run)) if has_answered_last(evidence, target, run.start) => run.add(row),
            (None, _) => {}
        }
    }
    let mut streaks: Vec<Streak> = Vec::new();
    for ((target, _), runs) in runs {
        for run in runs.into_iter().filter(|run| MIN_MOMENTS <= run.moments) {
            let at_the_same_time = streaks
                .iter_mut()
                .find(|it| it.target == *target && it.start <= run.end && run.start <= it.end);
            match at_the_same_time {
                Some(streak) => streak.join(run),
                None => streaks.push(Streak {
                    target: Arc::clone(target),
                    closed: run.closed,
                    start: run.start,
                    end: run.end,
                    is_over: false,
                    runs: vec![run],
                }),
            }
        }
    }
    for streak in &mut streaks {
        let target = evidence.target(&streak.target);
        streak.is_over =
            target.and_then(|it| it.last_success).is_some_and(|last| streak.end < last);
    }
    streaks.sort_by_key(|it| (std::cmp::Reverse(it.closed), it.start));
    streaks
}

fn has_answered_last(evidence: &Evidence, name: &str, time: i64) -> bool {
    evidence.target(name).is_some_and(|it| it.last_success.is_some_and(|last| last < time))
}

impl Run {
    fn of(row: &FailureRow, answered: i64) -> Self {
        let (node, time) = (Arc::clone(&row.node), row.time);
        Self { node, answered, start: time, end: time, closed: 1, moment: time, moments: 1 }
    }

    fn add(&mut self, row: &FailureRow) {
        self.closed += 1;
        self.end = row.time;
        if MOMENT_MICROS <= row.time - self.moment {
            self.moment = row.time;
            self.moments += 1;
        }
    }
}

impl Streak {
    fn join(&mut self, run: Run) {
        self.closed += run.closed;
        self.start = self.start.min(run.start);
        self.end = self.end.max(run.end);
        self.runs.push(run);
    }
}
