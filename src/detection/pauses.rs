//! How long a target had been quiet for a load-balancer node when a request was sent to it.
//!
//! A connection between a node and a target is used again and again, and the log does not name it. So a
//! request that was closed on arrival went over a connection that some earlier answer of the same node
//! and target had left idle: the latest one, when the pair has one connection or uses the last one
//! first, or any other.

use std::{collections::HashMap, sync::Arc};

use super::{
    cell::KeptFailure,
    detector::{Detector, Group},
    evidence::{Pause, Pauses, before},
    names::NameId,
    signature::Signature,
    thresholds::WINDOW_MICROS,
};

/// Pauses before successful requests that are kept: enough for a percentile of a percent.
const MAX_PAUSES: usize = 20_000;

/// Closed requests whose gaps are kept. More say nothing that so many do not say.
const MAX_CLOSED_EARLY: usize = 500;

/// Successful requests that are compared with the closed ones: four for each of the most.
const MAX_HEALTHY: usize = 2_000;

/// Successful requests that are compared with one closed request, at most: its neighbours in time.
const MAX_HEALTHY_EACH: usize = 40;

/// Gaps that are kept of one request. With more answers in the time that a keep-alive timeout takes, a
/// gap of that length is nothing special.
const MAX_GAPS: usize = 512;

/// Gaps to earlier answers than the latest are kept up to this many milliseconds: the longest default
/// that servers have is 130 s (Kestrel). The gap to the latest answer is kept whatever its length.
const LONGEST_GAP_MILLIS: i64 = 135_000;

/// When each node and target last answered.
pub(super) struct Answered {
    /// Answered requests by end.
    answers: HashMap<(NameId, NameId), Vec<Exchange>>,
    /// Windows in which the pair was too busy to be followed.
    busy: HashMap<(NameId, NameId), Vec<i64>>,
    /// Windows with requests of which it was given up when who answered, ascending.
    unfollowed: Vec<i64>,
}

/// A request that was answered, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Exchange {
    end: i64,
    start: i64,
    path: Option<NameId>,
}

const WINDOW_MILLIS: i64 = WINDOW_MICROS / 1000;

impl Answered {
    pub(super) fn of(group: &Group, windows: std::ops::RangeInclusive<i64>) -> Self {
        let mut answered =
            Self { answers: HashMap::new(), busy: HashMap::new(), unfollowed: Vec::new() };
        for (&window, cell) in group.windows.range(windows) {
            let followed = cell.details.as_ref().filter(|details| !details.is_unfollowed);
            let Some(details) = followed else {
                if 0 < cell.counts.requests {
                    answered.unfollowed.push(window);
                }
                continue;
            };
            let base = window * WINDOW_MILLIS;
            for (pair, answers) in details.answers.iter() {
                if answers.busy {
                    answered.busy.entry(pair).or_default().push(window);
                    continue;
                }
                let list = answers.list.iter();
                let list = list.map(|it| Exchange {
                    end: base + i64::from(it.end),
                    start: base + i64::from(it.start),
                    path: it.path(),
                });
                answered.answers.entry(pair).or_default().extend(list);
            }
        }
        for list in answered.answers.values_mut() {
            list.sort_unstable();
        }
        answered
    }

    /// True when the target answered a request, through any node, within the times (milliseconds).
    pub(super) fn any_between(&self, target: NameId, from: i64, to: i64) -> bool {
        let pairs = self.answers.iter().filter(|((_, of), _)| *of == target);
        pairs.into_iter().any(|(_, list)| {
            list.partition_point(|it| it.end <= from) < list.partition_point(|it| it.end < to)
        })
    }

    /// The gaps to at most `max` answers of the pair before `start` (milliseconds), the latest first.
    fn gaps(&self, pair: (NameId, NameId), start: i64, max: usize) -> Box<[f32]> {
        let Some(list) = self.answers.get(&pair) else { return Box::default() };
        let busy = self.busy.get(&pair).map_or(&[][..], Vec::as_slice);
        let before = list.get(..list.partition_point(|it| it.end < start)).unwrap_or_default();
        let gaps = before.iter().rev().take(max).enumerate();
        gaps.map(|(index, it)| (index, start - it.end, it.end))
            .take_while(|(index, gap, end)| {
                let (from, to) = (end.div_euclid(WINDOW_MILLIS), start.div_euclid(WINDOW_MILLIS));
                (*index == 0 || *gap <= LONGEST_GAP_MILLIS)
                    && !busy.iter().any(|window| (from..=to).contains(window))
                    && !self.has_unfollowed(from, to)
            })
            .map(|(_, gap, _)| gap as f32 / 1000.0)
            .collect()
    }

    /// Between the two windows, both included, lies one of which nothing is known.
    fn has_unfollowed(&self, from: i64, to: i64) -> bool {
        let index = self.unfollowed.partition_point(|window| *window < from);
        self.unfollowed.get(index).is_some_and(|window| *window <= to)
    }

    /// The gaps before a failed request.
    pub(super) fn before(&self, kept: &KeptFailure) -> Box<[f32]> {
        match (pair(kept), sent(kept)) {
            (Some(pair), Some(start)) => {
                let is_early = kept.signature == Signature::ClosedEarly;
                self.gaps(pair, start, if is_early { MAX_GAPS } else { 1 })
            }
            _ => Box::default(),
        }
    }

    /// The pair of a failed request answers too much to be followed.
    fn is_busy(&self, kept: &KeptFailure) -> bool {
        let window = kept.time.div_euclid(WINDOW_MICROS);
        pair(kept)
            .and_then(|pair| self.busy.get(&pair))
            .is_some_and(|windows| windows.contains(&window))
    }

    /// The path of the latest answer of the pair before a failed request.
    pub(super) fn path_before(&self, kept: &KeptFailure) -> Option<NameId> {
        self.path_at(pair(kept)?, sent(kept)?)
    }

    /// `None` when several answers ended in the same millisecond: which was the latest is not told.
    fn path_at(&self, pair: (NameId, NameId), start: i64) -> Option<NameId> {
        let list = self.answers.get(&pair)?;
        let index = list.partition_point(|it| it.end < start).checked_sub(1)?;
        let latest = list.get(index)?;
        let same = list.get(..index)?.iter().rev().take_while(|it| it.end == latest.end);
        same.into_iter().all(|it| it.path == latest.path).then_some(latest.path)?
    }

    /// The pauses before the early closed requests among `failures`, and before successful ones.
    pub(super) fn pauses(&self, detector: &Detector, failures: &[&KeptFailure]) -> Pauses {
        let early = failures.iter().filter(|kept| kept.signature == Signature::ClosedEarly);
        let mut early: Vec<&KeptFailure> = early.copied().collect();
        let all = early.len();
        let busy = early.iter().filter(|kept| self.is_busy(kept)).count() as u64;
        early.retain(|kept| !self.before(kept).is_empty());
        let unknown = (all - early.len()) as u64;
        let mut early = apart(early);
        early.sort();
        early.truncate(MAX_CLOSED_EARLY);
        let each = (MAX_HEALTHY / early.len().max(1)).clamp(4, MAX_HEALTHY_EACH);
        let mut pauses = Pauses { unknown, busy, ..Pauses::default() };
        for kept in early {
            let (Some(pair), Some(target)) = (pair(kept), kept.target) else { continue };
            let name = detector.name(target);
            let gaps = self.before(kept);
            let answered = |gaps: &[f32], start| gaps.first().map_or(0, |gap| before(start, *gap));
            pauses.closed_early.push(Pause {
                target: Arc::clone(&name),
                path: kept.path.map(|path| detector.paths.get(path)),
                answered: answered(&gaps, sent(kept).unwrap_or_default()),
                gaps,
                after: self.path_before(kept).map(|path| detector.paths.get(path)),
            });
            for start in self.neighbours(pair, sent(kept).unwrap_or_default(), each) {
                let gaps = self.gaps(pair, start, MAX_GAPS);
                if !gaps.is_empty() {
                    let after = self.path_at(pair, start).map(|path| detector.paths.get(path));
                    let target = Arc::clone(&name);
                    let answered = answered(&gaps, start);
                    pauses.healthy.push(Pause { target, path: None, gaps, answered, after });
                }
            }
        }
        pauses.successes = self.before_successes();
        pauses
    }

    /// When the answered requests of the pair next to `start` were sent: as many before as after.
    fn neighbours(&self, pair: (NameId, NameId), start: i64, max: usize) -> Vec<i64> {
        let Some(list) = self.answers.get(&pair) else { return Vec::new() };
        let middle = list.partition_point(|it| it.end < start);
        let last = (middle + max / 2).max(max).min(list.len());
        let first = last.saturating_sub(max);
        list.get(first..last).unwrap_or_default().iter().map(|it| it.start).collect()
    }

    fn before_successes(&self) -> Vec<f64> {
        let mut seconds: Vec<f64> = self
            .answers
            .iter()
            .flat_map(|(&pair, list)| list.iter().map(move |it| (pair, it.start)))
            .filter_map(|(pair, start)| self.gaps(pair, start, 1).first().copied())
            .map(f64::from)
            .collect();
        seconds.sort_by(f64::total_cmp);
        thinned(seconds, MAX_PAUSES)
    }
}

/// Requests of one page come to one node at the same time, and so did those of the page before: if
/// several are closed, they share their gaps and count once. Half a second is longer than a page takes.
fn apart(mut early: Vec<&KeptFailure>) -> Vec<&KeptFailure> {
    const APART_MILLIS: i64 = 500;
    early.sort_by_key(|kept| (kept.node, sent(kept), kept.digest));
    let mut latest: Option<(NameId, i64)> = None;
    early.retain(|kept| {
        let at = sent(kept).unwrap_or_default();
        let with_it =
            latest.is_some_and(|(node, time)| node == kept.node && at - time < APART_MILLIS);
        if !with_it {
            latest = Some((kept.node, at));
        }
        !with_it
    });
    early
}

fn pair(kept: &KeptFailure) -> Option<(NameId, NameId)> {
    Some((kept.node, kept.target?))
}

/// When the request was sent to the target, milliseconds since 1970.
fn sent(kept: &KeptFailure) -> Option<i64> {
    Some(kept.created? / 1000 + i64::from(kept.times[0].unwrap_or(0).max(0)))
}

/// At most `max` of the sorted values, evenly spread, so that every share stays what it is.
fn thinned(values: Vec<f64>, max: usize) -> Vec<f64> {
    if values.len() <= max {
        return values;
    }
    let step = values.len() as f64 / max as f64;
    (0..max).filter_map(|index| values.get((index as f64 * step) as usize).copied()).collect()
}
