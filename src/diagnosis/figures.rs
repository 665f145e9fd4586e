//! Figures for machines: what the message says in words, and what it leaves out.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use super::{
    Case, MAX_OBJECTS, keep_alive,
    onset::{Onset, onset},
    patterns,
    probes::ProbeFigure,
    rows::{
        self, MAX_ROWS, MethodFigure, NodeFigure, OTHERS, PathFigure, TargetFigure, Total,
        TypeFigure, top,
    },
    timestamp,
};
use crate::detection::{Distribution, FailureRow, evidence::Share};

/// Figures for machines. Grows. Names in it are written by strangers.
///
/// The lists of requests and failures have at most ten rows, most failures first. A last row `others`
/// carries what is missing to the requests and failures of the incident, to the row: what is beyond the
/// ten, what was not told apart, and what names none (a request that reached no target). A list is empty
/// when no row names any.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct Figures {
    /// The target's keep-alive timeout, inferred from the log.
    pub keep_alive_estimate_seconds: Option<KeepAliveEstimate>,
    /// Every timeout that shows: several targets may have different settings. The first is the one above.
    pub keep_alive_timers: Vec<KeepAliveTimer>,
    /// The load balancer's idle timeout.
    pub idle_timeout_seconds: Option<u32>,
    /// Targets with a failure rate far above the others, worst first.
    pub bad_targets: Vec<String>,
    /// Paths that fail each time, worst first. Written by strangers.
    pub paths: Vec<String>,
    /// When the incident began, and how; `None` when nothing failed.
    pub onset: Option<Onset>,
    /// Failures, and 502s on purpose, by how far the request had come (see [`Signature`](crate::detection::Signature)).
    pub signatures: BTreeMap<&'static str, u64>,
    /// Requests and failures by target.
    pub targets: Vec<TargetFigure>,
    /// Requests and failures by path, of the paths with failures.
    pub paths_by_failures: Vec<PathFigure>,
    /// Requests and failures by method.
    pub methods: Vec<MethodFigure>,
    /// Requests and failures by node of the load balancer.
    pub nodes: Vec<NodeFigure>,
    /// Requests and failures by type: http, https, h2, grpcs, ws, wss.
    pub types: Vec<TypeFigure>,
    /// `error_reason` of the failures, most frequent first, ten at most and a row `others`.
    pub error_reasons: Vec<ReasonFigure>,
    /// `target_processing_time`.
    pub target_seconds: TargetSeconds,
    /// Seconds from arrival to answer of the failed rows that are kept.
    pub elapsed_seconds: Option<Distribution<f64>>,
    /// `received_bytes` of the failed rows that are kept.
    pub received_bytes: Option<Distribution<u64>>,
    /// A `target_processing_time` at which requests are cut.
    pub constant: Option<patterns::Constant>,
    /// Moments at which requests of one target ended together, in order of time; of more than ten the
    /// largest.
    pub exits: Vec<ExitFigure>,
    /// What `alb502 probe` measured of targets of the incident, the earliest ten at most.
    pub probes: Vec<ProbeFigure>,
}

/// One `error_reason`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReasonFigure {
    /// As AWS writes it.
    pub error_reason: String,
    /// Failed rows.
    pub failures: u64,
}

/// `target_processing_time` of rows in which it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Default)]
pub struct TargetSeconds {
    /// Of the failed rows that are kept: all, or an even sample of very many.
    pub failures: Option<Distribution<f64>>,
    /// Of the successful rows from an hour before the incident to an hour after it, within 5 %; the
    /// largest is exact.
    pub successes: Option<Distribution<f64>>,
}

/// Requests of one target that ended together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExitFigure {
    /// `ip:port`.
    pub target: String,
    /// When the first of them ended.
    pub time: jiff::Timestamp,
    /// Requests that were closed.
    pub closed: u64,
    /// Connections that the target refused within the next seconds.
    pub refused_after: u64,
}

/// A keep-alive timeout as the log shows it, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct KeepAliveEstimate {
    /// The target's timeout is hardly below this.
    pub low: f64,
    /// The likeliest value.
    pub best: f64,
    /// The target's timeout is hardly above this.
    pub high: f64,
    /// How many idle gaps support it.
    pub gaps: u64,
}

/// A keep-alive timeout, and the targets that show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeepAliveTimer {
    /// The timeout.
    #[serde(flatten)]
    pub estimate: KeepAliveEstimate,
    /// The targets, `ip:port`.
    pub targets: Vec<String>,
}

impl KeepAliveTimer {
    fn of(timer: &keep_alive::Timer) -> Self {
        Self { estimate: timer.estimate, targets: strings(&timer.targets) }
    }
}

impl Figures {
    /// The figures of a case.
    pub(super) fn of(case: &Case<'_>) -> Self {
        let (evidence, patterns) = (case.evidence, case.patterns);
        let all = Total { requests: evidence.counts.requests, failures: evidence.counts.failures };
        let share = |share: &Share| (share.name.to_string(), share.requests, share.failures);
        // The kept rows of an incident without a failure are answers on purpose.
        let failed = evidence.failures.get(..).filter(|_| 0 < all.failures).unwrap_or_default();
        let paths = evidence.paths.iter().filter(|path| 0 < path.failures);
        Self {
            keep_alive_estimate_seconds: patterns.keep_alive.estimate(),
            keep_alive_timers: patterns.keep_alive.timers.iter().map(KeepAliveTimer::of).collect(),
            idle_timeout_seconds: case.facts.idle_timeout_seconds(),
            bad_targets: strings(&patterns.bad_targets),
            paths: strings(&patterns.failing_paths),
            onset: onset(&evidence.minutes, evidence.window.start),
            signatures: evidence
                .signatures
                .iter()
                .map(|(signature, count)| (signature.name(), *count))
                .collect(),
            targets: top(all, evidence.targets.iter(), |it| {
                (it.target.to_string(), it.requests, it.failures)
            })
            .map(|(target, portion)| {
                let seen = case.target(&target).filter(|_| target != OTHERS);
                let time = |time: Option<i64>| time.map(timestamp);
                TargetFigure {
                    zone: case.target_zone(&target).map(ToOwned::to_owned),
                    portion,
                    first_success: time(seen.and_then(|it| it.first_success)),
                    last_success: time(seen.and_then(|it| it.last_success)),
                    first_failure: time(seen.and_then(|it| it.first_failure)),
                    last_failure: time(seen.and_then(|it| it.last_failure)),
                    target,
                }
            })
            .collect(),
            paths_by_failures: top(all, paths, |path| {
                (path.path.to_string(), path.requests, path.failures)
            })
            .map(|(path, portion)| PathFigure { path, portion })
            .collect(),
            methods: top(all, evidence.methods.iter(), share)
                .map(|(method, portion)| MethodFigure { method, portion })
                .collect(),
            nodes: top(all, evidence.nodes.iter(), share)
                .map(|(node, portion)| NodeFigure {
                    zone: case.node_zone(&node).map(ToOwned::to_owned),
                    node,
                    portion,
                })
                .collect(),
            types: top(all, evidence.types.iter(), share)
                .map(|(kind, portion)| TypeFigure { kind, portion })
                .collect(),
            error_reasons: reasons(&evidence.error_reasons),
            target_seconds: TargetSeconds {
                failures: seconds(failed, FailureRow::target_seconds),
                successes: evidence.success_distribution.map(rounded),
            },
            elapsed_seconds: seconds(failed, |row| row.elapsed),
            received_bytes: {
                let rows = failed.iter();
                let mut bytes: Vec<u64> = rows.filter_map(|row| row.received_bytes).collect();
                bytes.sort_unstable();
                Distribution::of_sorted(&bytes)
            },
            constant: patterns.constant,
            exits: exits(&patterns.exits),
            probes: probes(case),
        }
    }

    /// Keeps at most so many rows of each list; the row of the others takes in what goes.
    pub(crate) fn keep(&mut self, count: usize) {
        rows::keep(&mut self.targets, count);
        rows::keep(&mut self.paths_by_failures, count);
        rows::keep(&mut self.methods, count);
        rows::keep(&mut self.nodes, count);
        rows::keep(&mut self.types, count);
        keep_reasons(&mut self.error_reasons, count);
        keep_exits(&mut self.exits, count);
        self.probes.truncate(count);
    }

    /// Every text of a stranger or of AWS, for those who shorten it.
    pub(crate) fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let names =
            self.targets.iter_mut().flat_map(|it| it.zone.iter_mut().chain([&mut it.target]));
        let nodes = self.nodes.iter_mut().flat_map(|it| it.zone.iter_mut().chain([&mut it.node]));
        names
            .chain(nodes)
            .chain(self.keep_alive_timers.iter_mut().flat_map(|it| &mut it.targets))
            .chain(&mut self.bad_targets)
            .chain(&mut self.paths)
            .chain(self.paths_by_failures.iter_mut().map(|it| &mut it.path))
            .chain(self.methods.iter_mut().map(|it| &mut it.method))
            .chain(self.types.iter_mut().map(|it| &mut it.kind))
            .chain(self.error_reasons.iter_mut().map(|it| &mut it.error_reason))
            .chain(self.exits.iter_mut().map(|it| &mut it.target))
            .chain(self.probes.iter_mut().flat_map(ProbeFigure::texts))
    }
}

fn strings(names: &[Arc<str>]) -> Vec<String> {
    names.iter().take(MAX_OBJECTS).map(ToString::to_string).collect()
}

fn reasons(reasons: &[(Arc<str>, u64)]) -> Vec<ReasonFigure> {
    let mut list: Vec<ReasonFigure> = reasons
        .iter()
        .map(|(reason, count)| ReasonFigure { error_reason: reason.to_string(), failures: *count })
        .collect();
    keep_reasons(&mut list, MAX_ROWS);
    list
}

fn keep_reasons(list: &mut Vec<ReasonFigure>, count: usize) {
    // The row of the others may be there already, as the last one or from the bound on names.
    let mut others: u64 =
        list.extract_if(.., |it| it.error_reason == OTHERS).map(|it| it.failures).sum();
    others += list.iter().skip(count).map(|it| it.failures).sum::<u64>();
    list.truncate(count);
    if 0 < others {
        list.push(ReasonFigure { error_reason: OTHERS.to_owned(), failures: others });
    }
}

/// The log has milliseconds; a histogram and a difference of times have more digits than they know.
fn rounded(seconds: Distribution<f64>) -> Distribution<f64> {
    let round = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
    Distribution {
        p50: round(seconds.p50),
        p90: round(seconds.p90),
        p99: round(seconds.p99),
        max: round(seconds.max),
    }
}

fn seconds(
    rows: &[FailureRow],
    of: impl Fn(&FailureRow) -> Option<f64>,
) -> Option<Distribution<f64>> {
    let mut seconds: Vec<f64> = rows.iter().filter_map(of).collect();
    seconds.sort_by(f64::total_cmp);
    Distribution::of_sorted(&seconds).map(rounded)
}

fn probes(case: &Case<'_>) -> Vec<ProbeFigure> {
    let mut list: Vec<ProbeFigure> =
        case.probes().map(|probe| ProbeFigure::of(probe, case)).collect();
    list.sort_by(|a, b| (a.time, &a.target).cmp(&(b.time, &b.target)));
    list.truncate(MAX_ROWS);
    list
}

fn exits(exits: &[patterns::Exit]) -> Vec<ExitFigure> {
    let mut list: Vec<ExitFigure> = exits
        .iter()
        .map(|exit| ExitFigure {
            target: exit.target.to_string(),
            time: timestamp(exit.time),
            closed: exit.closed,
            refused_after: exit.refused_after,
        })
        .collect();
    keep_exits(&mut list, MAX_ROWS);
    list
}

/// The largest, in order of time.
fn keep_exits(list: &mut Vec<ExitFigure>, count: usize) {
    list.sort_by_key(|exit| std::cmp::Reverse(exit.closed + exit.refused_after));
    list.truncate(count);
    list.sort_by(|a, b| (a.time, &a.target).cmp(&(b.time, &b.target)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        detection::Signature,
        diagnosis::{patterns::Exit, sample_case::SampleCase},
    };

    #[test]
    fn every_list_adds_up_to_the_incident() {
        let mut sample = SampleCase::failing(Signature::ClosedEarly, 41);
        let share =
            |name: &str, requests, failures| Share { name: name.into(), requests, failures };
        sample.evidence.methods =
            (0..30).map(|i| share(&format!("M{i}"), 3, u64::from(i < 20))).collect();
        sample.evidence.types = vec![share("others", 40, 1), share("h2", 100, 40)];
        let mut figures = Figures::of(&sample.case());
        for (rows, expected) in [(MAX_ROWS, [2, 0, 11, 0, 2]), (1, [2, 0, 2, 0, 2])] {
            figures.keep(rows);
            let lists = [
                figures.targets.iter().map(|it| it.portion).collect::<Vec<_>>(),
                figures.paths_by_failures.iter().map(|it| it.portion).collect(),
                figures.methods.iter().map(|it| it.portion).collect(),
                figures.nodes.iter().map(|it| it.portion).collect(),
                figures.types.iter().map(|it| it.portion).collect(),
            ];
            for (list, length) in lists.iter().zip(expected) {
                let sum =
                    list.iter().fold((0, 0), |sum, it| (sum.0 + it.requests, sum.1 + it.failures));
                assert_eq!(list.len(), length, "{list:?}");
                assert!(sum == (141, 41) || list.is_empty(), "{list:?}");
            }
        }
        assert_eq!(figures.types[0].kind, "h2");
        assert_eq!(figures.signatures, BTreeMap::from([("closed-early", 41)]));
    }

    #[test]
    fn reasons_and_exits_are_cut_to_the_largest() {
        let mut sample = SampleCase::failing(Signature::ErrorReason, 78);
        sample.evidence.error_reasons =
            (0..12).rev().map(|i| (Arc::from(format!("Reason{i}")), i + 1)).collect();
        sample.patterns.exits = (0..12)
            .map(|i| Exit {
                target: Arc::from("10.0.11.5:8080"),
                time: i,
                closed: i as u64,
                refused_after: 0,
                shortest: 0.0,
                longest: 0.0,
            })
            .collect();
        let mut figures = Figures::of(&sample.case());
        let last = figures.error_reasons.last().unwrap();
        assert_eq!(
            (figures.error_reasons.len(), &*last.error_reason, last.failures),
            (11, OTHERS, 3)
        );
        let times: Vec<i64> = figures.exits.iter().map(|it| it.time.as_microsecond()).collect();
        assert_eq!(times, (2..12).collect::<Vec<_>>());
        figures.keep(1);
        let sum: u64 = figures.error_reasons.iter().map(|it| it.failures).sum();
        assert_eq!((figures.error_reasons.len(), sum, figures.exits.len()), (2, 78, 1));
    }

    #[test]
    fn quantiles_are_values_of_the_rows() {
        assert_eq!(Distribution::<u64>::of_sorted(&[]), None);
        let one = Distribution { p50: 7, p90: 7, p99: 7, max: 7 };
        assert_eq!(Distribution::of_sorted(&[7]), Some(one));
        let values: Vec<u64> = (1..=1000).collect();
        let of_many = Distribution { p50: 500, p90: 900, p99: 990, max: 1000 };
        assert_eq!(Distribution::of_sorted(&values), Some(of_many));
    }
}
