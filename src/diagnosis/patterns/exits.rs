//! Rows that end together: a process that dies, an event that closes many connections.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    detection::{Evidence, FailureRow, Signature},
    diagnosis::chance::chance,
};

/// Connections of one target that ended together.
#[derive(Debug, Clone, PartialEq)]
pub struct Exit {
    /// `ip:port`.
    pub target: Arc<str>,
    /// When, microseconds since 1970.
    pub time: i64,
    /// Requests that were closed.
    pub closed: u64,
    /// Connections refused by the same target within the next seconds.
    pub refused_after: u64,
    /// The shortest and the longest time that a closed request had been with the target, seconds.
    pub shortest: f64,
    /// See `shortest`.
    pub longest: f64,
}

/// Requests for other paths that are cut at the moments at which those for one path fail.
#[derive(Debug, Clone, PartialEq)]
pub struct CutWith {
    /// The path that fails each time. Written by strangers.
    pub path: Arc<str>,
    /// Closed requests for paths that do not fail each time: those at the same moments.
    pub together: u64,
    /// See `together`: all of them.
    pub of: u64,
    /// The moments, microseconds since 1970, sorted.
    pub(super) moments: Vec<i64>,
}

/// Rows of one target that end within this many microseconds ended together: a process that dies
/// closes its connections within a millisecond (measured), and the load balancer notices within some
/// tens of milliseconds.
pub(super) const TOGETHER_MICROS: i64 = 100_000;

/// After a process died its port refuses connections at once, until the next one listens.
const REFUSED_AFTER_MICROS: i64 = 5_000_000;

pub(super) fn exits(evidence: &Evidence) -> Vec<Exit> {
    let mut by_target: BTreeMap<&Arc<str>, Vec<&FailureRow>> = BTreeMap::new();
    for row in &evidence.failures {
        if let Some(target) = &row.target {
            by_target.entry(target).or_default().push(row);
        }
    }
    let mut exits = Vec::new();
    for (target, rows) in by_target {
        // The rows are ordered by time.
        let closed: Vec<&FailureRow> = rows
            .iter()
            .copied()
            .filter(|row| matches!(row.signature, Signature::ClosedEarly | Signature::ClosedLate))
            .collect();
        let mut from = 0;
        while let Some(first) = closed.get(from) {
            let together = closed
                .iter()
                .skip(from)
                .take_while(|row| row.time - first.time <= TOGETHER_MICROS)
                .count();
            let group = closed.get(from..from + together).unwrap_or_default();
            let last = group.last().map_or(first.time, |row| row.time);
            let refused_after = rows
                .iter()
                .filter(|row| {
                    row.signature == Signature::NotConnected
                        && (last..=last + REFUSED_AFTER_MICROS).contains(&row.time)
                })
                .count() as u64;
            let seconds = |row: &&FailureRow| row.target_seconds().unwrap_or(0.0);
            let shortest = group.iter().map(seconds).fold(f64::INFINITY, f64::min);
            let longest = group.iter().map(seconds).fold(0.0, f64::max);
            // Requests that began at different times and end together were cut by one event. Two
            // early ones may meet by chance.
            let cut_together = 2 <= group.len() && 0.2 < longest - shortest;
            if cut_together || 2 <= refused_after {
                exits.push(Exit {
                    target: Arc::clone(target),
                    time: first.time,
                    closed: group.len() as u64,
                    refused_after,
                    shortest,
                    longest,
                });
            }
            from += together.max(1);
        }
    }
    exits.sort_by(|a, b| (a.time, &a.target).cmp(&(b.time, &b.target)));
    exits
}

/// Whether a time lies at one of the moments (sorted).
pub(super) fn is_at(moments: &[i64], time: i64) -> bool {
    let next = moments.partition_point(|moment| *moment < time - TOGETHER_MICROS);
    moments.get(next).is_some_and(|moment| *moment <= time + TOGETHER_MICROS)
}

/// Two requests for other paths or more are cut when those for the path are, and that is no chance.
pub(super) fn cut_with(
    evidence: &Evidence,
    path: &Arc<str>,
    failing: &[Arc<str>],
) -> Option<CutWith> {
    let closed = evidence
        .failures
        .iter()
        .filter(|row| matches!(row.signature, Signature::ClosedEarly | Signature::ClosedLate));
    let (own, others): (Vec<_>, Vec<_>) = closed
        .filter(|row| row.path.as_ref().is_none_or(|it| it == path || !failing.contains(it)))
        .partition(|row| row.path.as_ref() == Some(path));
    // The rows are ordered by time.
    let moments: Vec<i64> = own.iter().map(|row| row.time).collect();
    let together = others.iter().filter(|row| is_at(&moments, row.time)).count() as u64;
    let span = evidence.window.end.saturating_sub(evidence.window.start).max(1);
    let usual = (2 * TOGETHER_MICROS) as f64 * moments.len() as f64 / span as f64;
    let of = others.len() as u64;
    (2 <= together && chance(together, of, usual.min(1.0)) < 1e-3).then(|| CutWith {
        path: Arc::clone(path),
        together,
        of,
        moments,
    })
}

/// When each target refused connections, sorted.
pub(super) fn refusals(evidence: &Evidence) -> BTreeMap<Arc<str>, Vec<i64>> {
    let mut times: BTreeMap<Arc<str>, Vec<i64>> = BTreeMap::new();
    // The rows are ordered by time.
    for row in evidence.failures.iter().filter(|row| row.signature == Signature::NotConnected) {
        if let Some(target) = &row.target {
            times.entry(Arc::clone(target)).or_default().push(row.time);
        }
    }
    times
}

/// Whether the refusals of all targets together come in spells: many within a second of each other, where
/// refusals at random would be further apart.
pub(super) fn come_in_spells(refusals: &BTreeMap<Arc<str>, Vec<i64>>) -> bool {
    const CLOSE_MICROS: i64 = 1_000_000;
    let mut times: Vec<i64> = refusals.values().flatten().copied().collect();
    times.sort_unstable();
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return false };
    let pairs = times.len() as u64 - 1;
    let close = times.windows(2).filter(|pair| pair[1] - pair[0] <= CLOSE_MICROS).count() as u64;
    let mean = (last - first) as f64 / pairs.max(1) as f64;
    let usual = 1.0 - (-(CLOSE_MICROS as f64) / mean.max(1.0)).exp();
    chance(close, pairs, usual) < 1e-3
}

/// A process that goes down closes what is open and refuses what comes: within this time a request that
/// is closed and one that is refused met the same event.
const BESIDE_MICROS: i64 = 2_000_000;

/// Whether a target refused a connection next to this time.
pub(super) fn is_beside(refusals: &[i64], time: i64) -> bool {
    let next = refusals.partition_point(|refused| *refused < time - BESIDE_MICROS);
    refusals.get(next).is_some_and(|refused| *refused <= time + BESIDE_MICROS)
}

/// One event, such as a reload of every worker, breaks the requests of the next moment: a load balancer
/// notices the end of a connection within some tens of milliseconds (measured).
const BURST_MICROS: i64 = 300_000;

pub(super) fn early_in_bursts(evidence: &Evidence) -> bool {
    let rows = evidence.failures.iter().filter(|row| row.signature == Signature::ClosedEarly);
    let times: Vec<i64> = rows.map(|row| row.time).collect();
    // The rows are ordered by time. A page has several requests: three are no pair by chance.
    let in_burst = times.iter().filter(|time| {
        let from = times.partition_point(|other| *other < **time - BURST_MICROS);
        let to = times.partition_point(|other| *other <= **time + BURST_MICROS);
        3 <= to - from
    });
    let mean = evidence.span.end.saturating_sub(evidence.span.start) / times.len().max(1) as i64;
    // Where so many are closed that the time holds three of them anyway, nothing stands out.
    5 * BURST_MICROS <= mean && times.len() <= 2 * in_burst.count()
}
