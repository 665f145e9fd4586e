//! What the evidence adds up to, worked out once for every check and cause.

use std::{cell::OnceCell, collections::BTreeMap, sync::Arc};

use super::{Case, chance::chance, keep_alive::KeepAlive, network::Network};
use crate::detection::{Evidence, FailureRow, Signature, evidence::TargetEvidence};

/// A path fails each time when at least this share of its requests is closed.
const FAILING_SHARE: f64 = 0.9;

/// A pattern is told from chance when chance would make it less often than once in ten thousand.
const CHANCE: f64 = 1e-4;

/// Rows of one target that end within this many microseconds ended together: a process that dies
/// closes its connections within a millisecond (measured), and the load balancer notices within some
/// tens of milliseconds.
const TOGETHER_MICROS: i64 = 100_000;

/// After a process died its port refuses connections at once, until the next one listens.
const REFUSED_AFTER_MICROS: i64 = 5_000_000;

/// A target has left when it stays silent for this long while the others go on: two failed health
/// checks at the default interval of 30 seconds take a minute.
const LEFT_MICROS: i64 = 60_000_000;

/// Regularities in the evidence.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    /// What the pauses before closed requests show of the targets' keep-alive timeout.
    pub keep_alive: KeepAlive,
    /// Paths on which nearly every request is closed without a response while others succeed.
    pub failing_paths: Vec<Arc<str>>,
    /// Paths on which far more requests are closed than elsewhere, but not each.
    pub leaning_paths: Vec<Arc<str>>,
    /// Paths on which only requests larger than every successful one are closed.
    pub size_limits: Vec<SizeLimit>,
    /// Most early closed requests were closed at the same moment as others: one event closed them.
    pub early_in_bursts: bool,
    /// Targets with a failure rate far above the others.
    pub bad_targets: Vec<Arc<str>>,
    /// Rows of one target that were closed at the same instant.
    pub exits: Vec<Exit>,
    /// Paths whose requests the process does not survive: most of their closed rows lie in exits after
    /// which the target refused.
    pub killer_paths: Vec<Arc<str>>,
    /// A constant that the times of late closed rows cluster at.
    pub constant: Option<Constant>,
    /// Targets that stop appearing while the others go on.
    pub left: Vec<Arc<str>>,
    /// Targets that appear after the others.
    pub arrived: Vec<Arc<str>>,
    /// See [`Patterns::network`].
    network: OnceCell<Network>,
}

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
}

impl Patterns {
    /// Works out every pattern.
    pub fn of(evidence: &Evidence) -> Self {
        let (failing_paths, leaning_paths) = paths(evidence);
        let (left, arrived) = comings_and_goings(evidence);
        let mut patterns = Self {
            keep_alive: KeepAlive::of(&evidence.pauses, &failing_paths),
            failing_paths,
            leaning_paths,
            size_limits: size_limits(evidence),
            early_in_bursts: early_in_bursts(evidence),
            bad_targets: bad_targets(evidence),
            exits: exits(evidence),
            killer_paths: Vec::new(),
            constant: constant(evidence),
            left,
            arrived,
            network: OnceCell::new(),
        };
        patterns.killer_paths = patterns
            .failing_paths
            .iter()
            .filter(|path| {
                let (deaths, rows) = patterns.deaths_on(evidence, path);
                3 <= rows && rows <= 2 * deaths
            })
            .cloned()
            .collect();
        patterns
    }

    /// The way from the load balancer to the targets: judged once for a case, when it is first asked
    /// for, because every failed row may ask.
    pub fn network<'a>(&'a self, case: &Case<'_>) -> &'a Network {
        self.network.get_or_init(|| super::network::network(case))
    }

    /// Closed rows of a path: those at a moment after which the target refused, and all.
    pub fn deaths_on(&self, evidence: &Evidence, path: &str) -> (u64, u64) {
        let rows = evidence.failures.iter().filter(|row| {
            matches!(row.signature, Signature::ClosedEarly | Signature::ClosedLate)
                && row.path.as_deref() == Some(path)
        });
        rows.fold((0, 0), |(deaths, all), row| {
            let died = self.exit_of(row).is_some_and(|exit| 0 < exit.refused_after);
            (deaths + u64::from(died), all + 1)
        })
    }

    /// The exit that a row belongs to.
    pub fn exit_of(&self, row: &FailureRow) -> Option<&Exit> {
        let target = row.target.as_ref()?;
        self.exits
            .iter()
            .find(|exit| exit.target == *target && (row.time - exit.time).abs() <= TOGETHER_MICROS)
    }
}

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

fn paths(evidence: &Evidence) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
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

/// A body this large is more than headers: they are 64 KB at most, and a few KB as a rule.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/how-elastic-load-balancing-works.html>
const MIN_BODY_BYTES: u64 = 4096;

fn size_limits(evidence: &Evidence) -> Vec<SizeLimit> {
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

/// One event, such as a reload of every worker, breaks the requests of the next moment: a load balancer
/// notices the end of a connection within some tens of milliseconds (measured).
const BURST_MICROS: i64 = 300_000;

fn early_in_bursts(evidence: &Evidence) -> bool {
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

fn bad_targets(evidence: &Evidence) -> Vec<Arc<str>> {
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

fn exits(evidence: &Evidence) -> Vec<Exit> {
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

/// A supervisor looks once a second, and a worker reports once a second: a limit cuts up to two seconds
/// late, whatever it is (gunicorn: 5.4 to 7.2 s for 5, 30.0 to 32.0 s for 30, measured).
const LIMIT_SPREAD_SECONDS: f64 = 2.2;

/// Shorter limits are not kept by looking once a second.
const FIRST_LIMIT_SECONDS: f64 = 4.0;

/// The fullest cluster of times.
fn constant(evidence: &Evidence) -> Option<Constant> {
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
    (3 <= rows && 0.6 * of as f64 <= rows as f64 && 1.0 <= low).then_some(Constant {
        low,
        high,
        rows,
        of,
    })
}

fn comings_and_goings(evidence: &Evidence) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
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
