//! A time in which every request is closed, between times in which they succeed.

use crate::detection::{Evidence, Minute, Signature};

const MINUTE_MICROS: i64 = 60_000_000;

/// A time in which nearly every request failed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outage {
    /// The first failure, microseconds since 1970.
    pub start: i64,
    /// The last one.
    pub end: i64,
    /// Requests in it, about.
    pub requests: u64,
    /// Failures among them.
    pub failures: u64,
    /// Requests succeeded after it.
    pub is_over: bool,
}

/// In the minutes of an outage at least this share of the requests fails.
const SHARE: f64 = 0.9;

/// Fewer requests than this show no outage.
const MIN_REQUESTS: u64 = 10;

/// A minute belongs to the time when it has many failures: the grid cuts the first and the last.
const MINUTE_SHARE: f64 = 0.1;

/// The longest run of minutes in which nearly everything fails from the first failure to the last, when
/// requests succeeded before it and nearly all failures are closed on arrival.
pub(super) fn outage(evidence: &Evidence) -> Option<Outage> {
    let early = evidence.signatures.get(&Signature::ClosedEarly).copied().unwrap_or(0);
    if 10 * early < 9 * evidence.counts.failures {
        return None;
    }
    let fails = |minute: &Minute| MINUTE_SHARE * minute.requests as f64 <= minute.failures as f64;
    let minutes = &evidence.minutes;
    let run = minutes
        .chunk_by(|a, b| fails(a) == fails(b))
        .filter(|run| run.iter().all(fails))
        .max_by_key(|run| run.iter().map(|minute| minute.failures).sum::<u64>())?;
    let (start, end) = (run.first()?.failed?.0, run.last()?.failed?.1);
    // How many requests there were from the first failure to the last: a part of the first and the last
    // minute, as the time has it.
    let part = |minute: &Minute| {
        let (from, to) = (start.max(minute.start), end.min(minute.start + MINUTE_MICROS));
        minute.requests as f64 * (to - from).max(0) as f64 / MINUTE_MICROS as f64
    };
    let failures: u64 = run.iter().map(|minute| minute.failures).sum();
    let requests = run.iter().map(part).sum::<f64>().round().max(failures as f64) as u64;
    let all = SHARE * requests as f64 <= failures as f64;
    let worked = |minute: &Minute| minute.failures < minute.requests;
    let (first, last) = (run.first()?.start, run.last()?.start);
    let before = minutes.iter().any(|minute| minute.start < first && worked(minute));
    let is_over = minutes.iter().any(|minute| last < minute.start && worked(minute));
    (before && all && MIN_REQUESTS <= failures && early <= 2 * failures).then_some(Outage {
        start,
        end,
        requests,
        failures,
        is_over,
    })
}
