//! A time at which requests are cut, whatever they do.

use crate::detection::{Evidence, FailureRow, Signature};

/// A time at which requests are cut.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Constant {
    /// The shortest time in the cluster, seconds.
    pub low: f64,
    /// The longest time in the cluster, seconds.
    pub high: f64,
    /// Rows in it.
    pub rows: u64,
    /// Late closed rows altogether.
    pub of: u64,
    /// The rows ended at several moments. Requests that began together and died together also took the same
    /// time: a limit shows only when the ends lie apart.
    #[serde(skip)]
    pub is_at_several_moments: bool,
}

/// Ends that lie further apart than this are not of one event, microseconds: two seconds, within which all
/// workers of a process are gone.
const APART_MICROS: i64 = 2_000_000;

/// A supervisor looks once a second, and a worker reports once a second: a limit cuts up to two seconds
/// late, whatever it is (gunicorn: 5.4 to 7.2 s for 5, 30.0 to 32.0 s for 30, measured).
const LIMIT_SPREAD_SECONDS: f64 = 2.2;

/// Shorter limits are not kept by looking once a second.
const FIRST_LIMIT_SECONDS: f64 = 4.0;

/// The fullest cluster of times.
pub(super) fn constant(evidence: &Evidence) -> Option<Constant> {
    let mut times: Vec<f64> = evidence
        .failures
        .iter()
        .filter(|row| row.signature == Signature::ClosedLate)
        .filter_map(FailureRow::target_seconds)
        .collect();
    times.sort_by(f64::total_cmp);
    let of = times.len() as u64;
    let mut best: Option<(usize, usize)> = None;
    for (first, low) in times.iter().enumerate() {
        let width = if *low < FIRST_LIMIT_SECONDS { 0.3 } else { LIMIT_SPREAD_SECONDS };
        let end = times.partition_point(|time| *time <= low + width);
        if best.is_none_or(|(from, to)| to - from < end - first) {
            best = Some((first, end));
        }
    }
    let (first, end) = best?;
    let (low, high) = (*times.get(first)?, *times.get(end - 1)?);
    let rows = (end - first) as u64;
    (3 <= rows && 0.6 * of as f64 <= rows as f64 && 1.0 <= low).then(|| {
        let is_at_several_moments = 2 <= moments_apart(evidence, low, high);
        Constant { low, high, rows, of, is_at_several_moments }
    })
}

/// How many ends of the rows that took as long lie apart from the one before.
fn moments_apart(evidence: &Evidence, low: f64, high: f64) -> usize {
    let ends = evidence
        .failures
        .iter()
        .filter(|row| row.target_seconds().is_some_and(|time| (low..=high).contains(&time)));
    let ends: Vec<i64> = ends.map(|row| row.time).collect();
    ends.windows(2).filter(|pair| APART_MICROS < pair[1] - pair[0]).count()
}
