//! Paths that fail: each time, more often than others, above a size, or for the next request.

use std::{collections::BTreeMap, sync::Arc};

use super::{CHANCE, streaks::Streak};
use crate::{
    detection::{Evidence, Signature},
    diagnosis::{
        chance::chance,
        keep_alive::{KeepAlive, closed_by_chance},
    },
};

/// A path that takes requests up to a size and closes larger ones.
#[derive(Debug, Clone, PartialEq)]
pub struct SizeLimit {
    /// The path. Written by strangers.
    pub path: Arc<str>,
    /// `received_bytes` of the largest successful request.
    pub largest_success: u64,
    /// `received_bytes` of the smallest one that was closed.
    pub smallest_closed: u64,
    /// Closed requests with a known size.
    pub closed: u64,
}

/// A path whose answer leaves something on the connection: the next request on it fails.
#[derive(Debug, Clone, PartialEq)]
pub struct Poison {
    /// The path. Written by strangers.
    pub path: Arc<str>,
    /// Early closed requests that came after an answer to it.
    pub after: u64,
    /// Early closed requests whose previous answer is known.
    pub of: u64,
    /// The share of healthy requests beside them that came after such an answer, 0 to 1.
    pub healthy_share: f64,
}

/// A path fails each time when at least this share of its requests is closed.
const FAILING_SHARE: f64 = 0.9;

/// Closed without a response after the request was sent.
fn closed(signatures: &BTreeMap<Signature, u64>) -> u64 {
    [Signature::ClosedEarly, Signature::ClosedLate]
        .iter()
        .filter_map(|signature| signatures.get(signature))
        .sum()
}

/// Failed before the connection stood.
fn unconnected(signatures: &BTreeMap<Signature, u64>) -> u64 {
    let before = signatures.iter().filter(|(signature, _)| signature.is_before_connection());
    before.map(|(_, count)| count).sum()
}

pub(super) fn paths(evidence: &Evidence) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
    let (mut failing, mut leaning) = (Vec::new(), Vec::new());
    if !evidence.paths_are_complete {
        return (failing, leaning);
    }
    let total_closed: u64 = evidence.paths.iter().map(|path| closed(&path.signatures)).sum();
    let total: u64 = evidence.paths.iter().map(|path| path.requests).sum();
    for path in evidence.paths.iter().filter(|path| &*path.path != "others") {
        let hits = closed(&path.signatures);
        // A request that reached no target says nothing of the path.
        let reached = path.requests.saturating_sub(unconnected(&path.signatures));
        if hits < 3 || reached == 0 || total <= path.requests {
            continue;
        }
        // The rate elsewhere, with one failure more than was seen: little traffic proves little.
        let elsewhere =
            (total_closed - hits + 1) as f64 / (total - path.requests + 1).max(1) as f64;
        let is_chance = CHANCE / evidence.paths.len() as f64;
        if is_chance < chance(hits, reached, elsewhere) {
            continue;
        }
        let share = hits as f64 / reached as f64;
        if FAILING_SHARE <= share {
            failing.push(Arc::clone(&path.path));
        } else if 0.5 <= hits as f64 / total_closed.max(1) as f64 || 10.0 * elsewhere <= share {
            leaning.push(Arc::clone(&path.path));
        }
    }
    (failing, leaning)
}

/// Most early closed requests come after an answer to the same path, on several paths of their own, and
/// that is no chance. On one path alone the order in which clients ask would explain it.
pub(super) fn poison(
    evidence: &Evidence,
    failing: &[Arc<str>],
    streaks: &[Streak],
) -> Option<Poison> {
    let closed = closed_by_chance(&evidence.pauses, failing, streaks);
    let mut after: BTreeMap<&Arc<str>, Vec<Option<&Arc<str>>>> = BTreeMap::new();
    for pause in &closed {
        if let Some(path) = &pause.after {
            after.entry(path).or_default().push(pause.path.as_ref());
        }
    }
    let of = after.values().map(Vec::len).sum::<usize>() as u64;
    let tried = after.len() as f64;
    let (path, hits) = after.into_iter().max_by_key(|(_, hits)| hits.len())?;
    let mut most: BTreeMap<Option<&Arc<str>>, usize> = BTreeMap::new();
    for own in &hits {
        *most.entry(*own).or_default() += 1;
    }
    let on_one_path = most.values().max().is_some_and(|most| 4 * hits.len() <= 5 * most);
    let healthy = &evidence.pauses.healthy;
    let usual = healthy.iter().filter(|pause| pause.after.as_ref() == Some(path)).count() + 1;
    let healthy_share = usual as f64 / (healthy.len() + 1) as f64;
    let hits = hits.len() as u64;
    let is_chance = CHANCE < chance(hits, of, healthy_share) * tried;
    (4 <= hits && of <= 2 * hits && !on_one_path && !is_chance).then(|| Poison {
        path: Arc::clone(path),
        after: hits,
        of,
        healthy_share,
    })
}

/// A body this large is more than headers: they are 64 KB at most, and a few KB as a rule.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/how-elastic-load-balancing-works.html>
const MIN_BODY_BYTES: u64 = 4096;

pub(super) fn size_limits(evidence: &Evidence) -> Vec<SizeLimit> {
    let mut limits = Vec::new();
    for path in &evidence.paths {
        let Some(largest_success) = path.largest_success_bytes else { continue };
        let rows = evidence.failures.iter().filter(|row| {
            matches!(row.signature, Signature::ClosedEarly | Signature::ClosedLate)
                && row.path.as_ref() == Some(&path.path)
                && matches!(row.method.as_deref(), Some("POST" | "PUT" | "PATCH"))
        });
        let sizes: Vec<u64> = rows.filter_map(|row| row.received_bytes).collect();
        let above = sizes.iter().filter(|bytes| largest_success < **bytes).count() as u64;
        let Some(smallest_closed) = sizes.iter().copied().min() else { continue };
        // Without a limit the largest of all are the closed ones by chance in 1 of (n + m over n) cases.
        let clear = 3 <= above && above == sizes.len() as u64 && 3 <= path.successes;
        if clear && MIN_BODY_BYTES <= smallest_closed {
            limits.push(SizeLimit {
                path: Arc::clone(&path.path),
                largest_success,
                smallest_closed,
                closed: above,
            });
        }
    }
    limits
}

/// The kind of a path: its first part, because ids and names behind it may differ each time.
fn kind(path: &str) -> &str {
    path.trim_start_matches('/').split('/').next().unwrap_or_default()
}

/// Paths of at most this many kinds are looked at together.
const MAX_KINDS: usize = 3;

/// Whether the closed requests that show a timer are for a few kinds of paths which the traffic asks for far
/// less often: a timer does not know the path of the next request.
pub(super) fn is_confounded(evidence: &Evidence, shown: &KeepAlive, failing: &[Arc<str>]) -> bool {
    // A path that fails each time shows no timer, and is none of its requests.
    let own = |path: &Arc<str>| !failing.contains(path);
    let hits = evidence.pauses.closed_early.iter().filter(|pause| {
        pause.path.as_ref().is_none_or(own)
            && shown.timers.iter().any(|timer| timer.explains(&pause.target, &pause.gaps))
    });
    let mut closed: BTreeMap<&str, u64> = BTreeMap::new();
    for path in hits.filter_map(|pause| pause.path.as_deref()) {
        *closed.entry(kind(path)).or_default() += 1;
    }
    let mut asked: BTreeMap<&str, u64> = BTreeMap::new();
    for path in &evidence.paths {
        *asked.entry(kind(&path.path)).or_default() += path.requests;
    }
    let (all_closed, all): (u64, u64) = (closed.values().sum(), asked.values().sum());
    let mut most: Vec<(&str, u64)> = closed.into_iter().collect();
    most.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
    let (mut hits, mut requests, mut ways) = (0, 0, 1.0);
    most.iter().take(MAX_KINDS).any(|(kind, count)| {
        hits += count;
        requests += asked.get(kind).copied().unwrap_or(0);
        ways *= asked.len() as f64;
        let share = requests as f64 / all.max(1) as f64;
        chance(hits, all_closed, share) * ways < 1e-3
    })
}

/// Of the early closed requests that no keep-alive timer explains nine of ten are for this path, though it
/// does not fail each time: its handler answers some requests badly.
pub(super) fn only_path(
    evidence: &Evidence,
    leaning: &[Arc<str>],
    shown: &KeepAlive,
) -> Option<Arc<str>> {
    let left: Vec<Option<&Arc<str>>> = evidence
        .failures
        .iter()
        .filter(|row| row.signature == Signature::ClosedEarly)
        .filter(|row| {
            let target = row.target.as_deref().unwrap_or_default();
            !shown.timers.iter().any(|timer| timer.explains(target, &row.gaps))
        })
        .map(|row| row.path.as_ref())
        .collect();
    let has_nearly_all = |path: &&Arc<str>| {
        let own = left.iter().filter(|it| **it == Some(*path)).count();
        0 < own && 9 * left.len() <= 10 * own
    };
    leaning.iter().find(has_nearly_all).cloned()
}
