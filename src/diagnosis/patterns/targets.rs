//! Targets that stand out, appear and leave.

use std::sync::Arc;

use super::CHANCE;
use crate::{
    detection::{Evidence, evidence::TargetEvidence},
    diagnosis::chance::chance,
};

/// A target has left when it stays silent for this long while the others go on: two failed health
/// checks at the default interval of 30 seconds take a minute.
const LEFT_MICROS: i64 = 60_000_000;

pub(super) fn bad_targets(evidence: &Evidence) -> Vec<Arc<str>> {
    let (failures, requests) = evidence
        .targets
        .iter()
        .fold((0, 0), |sum, target| (sum.0 + target.failures, sum.1 + target.requests));
    evidence
        .targets
        .iter()
        .filter(|target| {
            let (others, of) = (failures - target.failures, requests - target.requests);
            let rate = (others + 1) as f64 / (of + 1) as f64;
            3 <= target.failures
                && 0 < of
                && 5.0 * rate <= target.failures as f64 / target.requests.max(1) as f64
                && chance(target.failures, target.requests, rate) < CHANCE
        })
        .map(|target| Arc::clone(&target.target))
        .collect()
}

pub(super) fn comings_and_goings(evidence: &Evidence) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
    // A target with fewer rows may be silent by chance: twenty mean pauses are no chance.
    let usual_pause = |target: &TargetEvidence| {
        let rows = target.requests.max(1) as i64;
        (target.last_seen - target.first_seen) / rows
    };
    let pick = |silence: fn(&Evidence, &TargetEvidence) -> i64| {
        evidence
            .targets
            .iter()
            .filter(|target| {
                let silence = silence(evidence, target);
                LEFT_MICROS <= silence && 20 * usual_pause(target) <= silence
            })
            .map(|target| Arc::clone(&target.target))
            .collect::<Vec<_>>()
    };
    let mut left = pick(|evidence, target| evidence.span.end - target.last_seen);
    let mut arrived = pick(|evidence, target| target.first_seen - evidence.span.start);
    left.sort();
    arrived.sort();
    (left, arrived)
}
