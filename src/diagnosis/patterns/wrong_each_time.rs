//! Paths whose responses may be wrong each time.

use std::{collections::BTreeMap, sync::Arc};

use crate::detection::{Evidence, FailureRow};

/// A response that cannot be read comes when the work is done: about as soon as other responses. This many
/// times later than 99 of 100 of them, the handler was not done: something gave it up.
const GIVEN_UP_FACTOR: f64 = 10.0;

/// What takes less than this is no long work, seconds.
const LONG_SECONDS: f64 = 1.0;

/// Rows of a path that end within a second of each other are one event, microseconds.
const ONE_EVENT_MICROS: i64 = 1_000_000;

/// Those of the failing paths that are closed at several moments, and whose work is not given up. All in one
/// pass over the rows: there may be thousands of both.
pub(super) fn wrong_each_time(evidence: &Evidence, failing: &[Arc<str>]) -> Vec<Arc<str>> {
    let mut rows: BTreeMap<&str, Vec<&FailureRow>> =
        failing.iter().map(|path| (&**path, Vec::new())).collect();
    for row in &evidence.failures {
        if let Some(rows) = row.path.as_deref().and_then(|path| rows.get_mut(path)) {
            rows.push(row);
        }
    }
    let usual = evidence.success_seconds.map_or(0.0, |it| it.p99);
    let is_wrong = |path: &&Arc<str>| {
        let rows = rows.get(&***path).map(Vec::as_slice).unwrap_or_default();
        2 <= instants(rows) && !is_given_up(rows, usual)
    };
    failing.iter().filter(is_wrong).cloned().collect()
}

/// The requests of a path that fails each time are closed late, after very different times: work that is
/// given up, not an answer that is wrong. (A constant time is a limit: that is worker-timeout.)
fn is_given_up(rows: &[&FailureRow], usual: f64) -> bool {
    let mut times: Vec<f64> = rows.iter().filter_map(|row| row.target_seconds()).collect();
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times.get(times.len() * part / 4).copied().unwrap_or(0.0);
    let late = LONG_SECONDS.max(GIVEN_UP_FACTOR * usual) <= at(2);
    late && 1.5 * at(1) <= at(3)
}

/// At how many different moments the requests of a path were closed: one alone is one event, not a
/// response that is wrong each time.
fn instants(rows: &[&FailureRow]) -> usize {
    // The rows are ordered by time.
    1 + rows.windows(2).filter(|pair| ONE_EVENT_MICROS < pair[1].time - pair[0].time).count()
}
