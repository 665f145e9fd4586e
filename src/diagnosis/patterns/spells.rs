//! Times in which a target closes all it gets, between times in which it answers.

use std::{collections::BTreeMap, sync::Arc};

use crate::detection::{Evidence, Signature};

/// The spells of one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Spells {
    /// `ip:port`.
    pub target: Arc<str>,
    /// How many.
    pub spells: u64,
    /// Requests that were closed in them.
    pub closed: u64,
    /// The longest, in seconds.
    pub longest: f64,
}

/// Requests that are closed within this many microseconds of each other are of one spell.
const APART_MICROS: i64 = 2_000_000;

/// A spell has at least so many requests and lasts a second: what one event closes is over in a moment.
const MIN_CLOSED: usize = 5;
const MIN_MICROS: i64 = 1_000_000;

/// Nearly all early closed requests of the target are in spells, and in a spell nearly all its requests are
/// closed; the traffic is not quite even.
const SHARE: f64 = 0.8;
const SHARE_OF_TRAFFIC: f64 = 0.6;

/// The targets whose early closed requests come in spells. Nothing where only a sample of the rows is at hand.
pub(super) fn spells(evidence: &Evidence) -> Vec<Spells> {
    if (evidence.failures.len() as u64) < evidence.signatures.values().sum() {
        return Vec::new();
    }
    let mut times: BTreeMap<&Arc<str>, Vec<i64>> = BTreeMap::new();
    // The rows are ordered by time.
    for row in evidence.failures.iter().filter(|row| row.signature == Signature::ClosedEarly) {
        if let Some(target) = &row.target {
            times.entry(target).or_default().push(row.time);
        }
    }
    times.into_iter().filter_map(|(target, times)| of_target(evidence, target, &times)).collect()
}

fn of_target(evidence: &Evidence, target: &Arc<str>, times: &[i64]) -> Option<Spells> {
    let of = evidence.target(target)?;
    let seen = of.last_seen.min(evidence.window.end) - of.first_seen.max(evidence.window.start);
    let rate = of.requests as f64 / seen.max(1) as f64;
    let mut found = Spells { target: Arc::clone(target), spells: 0, closed: 0, longest: 0.0 };
    let mut due = 0.0;
    for spell in times.chunk_by(|a, b| b - a <= APART_MICROS) {
        let (Some(first), Some(last)) = (spell.first(), spell.last()) else { continue };
        let micros = last - first;
        if MIN_CLOSED <= spell.len() && MIN_MICROS <= micros {
            found.spells += 1;
            found.closed += spell.len() as u64;
            found.longest = found.longest.max(micros as f64 / 1e6);
            due += rate * micros as f64;
        }
    }
    let answers = of.first_success.is_some() && 0 < of.successes;
    (answers
        && 2 <= found.spells
        && SHARE * times.len() as f64 <= found.closed as f64
        && SHARE_OF_TRAFFIC * due <= found.closed as f64)
        .then_some(found)
}
