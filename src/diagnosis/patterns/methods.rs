//! Methods whose requests fail each time.

use std::{collections::BTreeMap, sync::Arc};

use super::CHANCE;
use crate::{
    detection::{Evidence, Signature, evidence::Share},
    diagnosis::chance::chance,
};

/// A method fails each time when at least this share of its requests is closed.
const FAILING_SHARE: f64 = 0.9;

/// Fewer requests than this show no rule.
const MIN_REQUESTS: u64 = 4;

/// Methods of which nearly every request is closed without a response, on several paths, while those of
/// others succeed. One that has one path alone is told by its path.
pub(super) fn failing_methods(evidence: &Evidence) -> Vec<Arc<str>> {
    let mut closed: BTreeMap<&Arc<str>, u64> = BTreeMap::new();
    let mut paths: BTreeMap<&Arc<str>, Vec<Option<&Arc<str>>>> = BTreeMap::new();
    for row in &evidence.failures {
        let Some(method) = &row.method else { continue };
        if matches!(row.signature, Signature::ClosedEarly | Signature::ClosedLate) {
            *closed.entry(method).or_default() += 1;
            let paths = paths.entry(method).or_default();
            if !paths.contains(&row.path.as_ref()) {
                paths.push(row.path.as_ref());
            }
        }
    }
    let total = |of: fn(&Share) -> u64| evidence.methods.iter().map(of).sum::<u64>();
    let (requests, failures) = (total(|it| it.requests), total(|it| it.failures));
    let fails = |method: &&Share| {
        let hits = closed.get(&method.name).copied().unwrap_or(0);
        let (others, of) = (failures - method.failures, requests - method.requests);
        let elsewhere = (others + 1) as f64 / (of + 1) as f64;
        // Of a large incident a sample of the rows is at hand: then failures of other kinds are no proof.
        let share = method.failures as f64 / method.requests.max(1) as f64;
        MIN_REQUESTS <= method.requests
            && 0 < of
            && FAILING_SHARE <= share
            && 10 * method.failures <= 11 * hits
            && 2 <= paths.get(&method.name).map_or(0, Vec::len)
            && chance(method.failures, method.requests, elsewhere) < CHANCE
    };
    evidence.methods.iter().filter(fails).map(|method| Arc::clone(&method.name)).collect()
}
