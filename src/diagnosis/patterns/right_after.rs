//! Requests that are closed because they come right after an answer.

use super::CHANCE;
use crate::{detection::Evidence, diagnosis::chance::chance};

/// Closed requests that came a moment after an answer of the same target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RightAfter {
    /// Early closed requests that did.
    pub closed: u64,
    /// Early closed requests whose pause is known.
    pub of: u64,
    /// The share of the healthy requests beside them that did, 0 to 1.
    pub healthy_share: f64,
}

/// A load balancer notices the end of a connection some tens of milliseconds late (measured: up to 60), and
/// until then uses it. The log cuts both ends to the millisecond.
pub const MOMENT_SECONDS: f64 = 0.1;

/// Fewer show nothing.
const MIN_CLOSED: u64 = 5;

/// Nearly all early closed requests came right after an answer, where few healthy ones do: the target ends
/// its connections after an answer, and does not say so in the answer.
pub(super) fn right_after(evidence: &Evidence) -> Option<RightAfter> {
    let is_near = |gaps: &[f32]| gaps.first().is_some_and(|gap| f64::from(*gap) <= MOMENT_SECONDS);
    let pauses = &evidence.pauses;
    let of = pauses.closed_early.len() as u64;
    let closed = pauses.closed_early.iter().filter(|pause| is_near(&pause.gaps)).count() as u64;
    let usual = pauses.healthy.iter().filter(|pause| is_near(&pause.gaps)).count() + 1;
    let healthy_share = usual as f64 / (pauses.healthy.len() + 1) as f64;
    (MIN_CLOSED <= closed && 9 * of <= 10 * closed && chance(closed, of, healthy_share) < CHANCE)
        .then_some(RightAfter { closed, of, healthy_share })
}
