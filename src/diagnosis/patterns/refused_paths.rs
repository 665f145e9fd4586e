//! Paths that nobody gets: what strangers try, and the target closes without a word.

use crate::{
    detection::{Evidence, FailureRow, Signature},
    diagnosis::chance::chance,
};

/// Closed requests for paths that are asked for a few times each and never answered, while the paths that
/// others ask for are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NeverAnswered {
    /// How many such paths.
    pub paths: u64,
    /// Closed requests for them.
    pub closed: u64,
    /// Closed requests of the incident.
    pub of: u64,
    /// Successful requests for other paths.
    pub elsewhere: u64,
}

/// What is asked for more often than this is judged by itself.
const FEW_REQUESTS: u64 = 5;

/// With fewer paths chance may have picked them.
const MIN_PATHS: u64 = 5;

/// Requests that fail at random fall on the paths that are asked for. Where nine of ten fall on paths that
/// are hardly ever asked for, the paths decide.
const SHARE: f64 = 0.9;

/// `None` where not all paths are at hand.
pub(super) fn never_answered(evidence: &Evidence) -> Option<NeverAnswered> {
    if !evidence.paths_are_complete {
        return None;
    }
    let is_rare = |requests: u64| requests <= FEW_REQUESTS;
    let mut found = NeverAnswered { paths: 0, closed: 0, of: 0, elsewhere: 0 };
    let (mut rare_requests, mut requests) = (0, 0);
    for path in &evidence.paths {
        let closed = path.of(Signature::ClosedEarly) + path.of(Signature::ClosedLate);
        requests += path.requests;
        found.of += closed;
        if is_rare(path.requests) {
            rare_requests += path.requests;
        }
        if is_rare(path.requests) && 0 < closed && path.successes == 0 {
            found.paths += 1;
            found.closed += closed;
        } else {
            found.elsewhere += path.successes;
        }
    }
    let share = rare_requests as f64 / requests.max(1) as f64;
    (MIN_PATHS <= found.paths
        && SHARE * found.of as f64 <= found.closed as f64
        && found.closed < found.elsewhere
        // Where most paths of the traffic are asked for once, one that was is not one that nobody gets.
        && rare_requests <= 2 * found.closed
        && chance(found.closed, found.of, share) < super::CHANCE)
        .then_some(found)
}

/// Whether a closed request is one of them.
pub(super) fn is_never_answered(evidence: &Evidence, row: &FailureRow) -> bool {
    let Some(name) = &row.path else { return false };
    let path = evidence.paths.iter().find(|path| path.path == *name);
    path.is_some_and(|path| path.requests <= FEW_REQUESTS && path.successes == 0)
}
