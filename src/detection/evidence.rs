//! What the rows of one incident say, and the healthy rows around it.

use std::{collections::BTreeMap, sync::Arc};

use super::signature::Signature;
use crate::access_log::object_key::{is_account, is_region};

/// A span of time, UTC: the start belongs to it, the end does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// Microseconds since 1970.
    pub start: i64,
    /// Microseconds since 1970.
    pub end: i64,
}

impl Window {
    /// Whether a time, in microseconds since 1970, lies in it.
    pub fn contains(self, time: i64) -> bool {
        self.start <= time && time < self.end
    }
}

/// What kind of incident was detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Failures crossed a threshold within five-minute windows.
    Spike,
    /// Too thin for a spike, but it does not stop: a few failures an hour, or a day.
    Trickle,
}

/// Rows counted by what they mean for a target group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Rows that count: all but the intentional ones.
    pub requests: u64,
    /// 502 by the load balancer, 502 by the target and connect-timeout 504; with the setting
    /// `INCLUDE_IDLE_TIMEOUT_504` also the idle-timeout 504.
    pub failures: u64,
    /// 502 made by the load balancer.
    pub elb_502: u64,
    /// 502 made by the target.
    pub target_502: u64,
    /// 504 after the connect timeout.
    pub connect_504: u64,
    /// 504 after the idle timeout.
    pub idle_504: u64,
    /// 502 answered on purpose.
    pub intentional_502: u64,
    /// Rows with a status below 500 that came from a target (or a Lambda function).
    pub successes: u64,
    /// 5xx from the target other than 502.
    pub target_5xx: u64,
    /// 503 by the load balancer: no registered target could be used.
    pub elb_503: u64,
    /// 460: the client went away.
    pub client_460: u64,
    /// 464: the protocol of the request does not fit the target group.
    pub protocol_464: u64,
}

impl Counts {
    /// Adds another count.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.failures = self.failures.saturating_add(other.failures);
        self.elb_502 = self.elb_502.saturating_add(other.elb_502);
        self.target_502 = self.target_502.saturating_add(other.target_502);
        self.connect_504 = self.connect_504.saturating_add(other.connect_504);
        self.idle_504 = self.idle_504.saturating_add(other.idle_504);
        self.intentional_502 = self.intentional_502.saturating_add(other.intentional_502);
        self.successes = self.successes.saturating_add(other.successes);
        self.target_5xx = self.target_5xx.saturating_add(other.target_5xx);
        self.elb_503 = self.elb_503.saturating_add(other.elb_503);
        self.client_460 = self.client_460.saturating_add(other.client_460);
        self.protocol_464 = self.protocol_464.saturating_add(other.protocol_464);
    }

    /// Failures as a fraction of the requests, 0 to 1.
    pub fn rate(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.failures as f64 / self.requests as f64 }
    }
}

/// The rows of one incident in numbers. Lists are sorted (most failures first, then by name).
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Spike or trickle.
    pub kind: Kind,
    /// `app/name/id`.
    pub load_balancer: Arc<str>,
    /// The account in the keys of the objects, 12 digits.
    pub account: Option<Arc<str>>,
    /// The region in the keys of the objects.
    pub region: Option<Arc<str>>,
    /// `None` for rows that were never forwarded to a target group.
    pub target_group_arn: Option<Arc<str>>,
    /// From the first to the last window of the incident. Spikes within a trickle are left out of its
    /// numbers.
    pub window: Window,
    /// The spikes with their tails that are left out, in order of time; they may lie outside of the window.
    pub left_out: Vec<Window>,
    /// From the first to the last row at hand of this target group, at most an hour on either side.
    pub span: Window,
    /// The rows of the incident.
    pub counts: Counts,
    /// The rows of the same target group around the incident.
    pub around: Counts,
    /// The rows of all target groups of the load balancer in the window of the incident.
    pub load_balancer_counts: Counts,
    /// Successful rows that name no target, which is how the rows of a Lambda target group look.
    pub successes_without_target: u64,
    /// Failures of the incident by signature: exact.
    pub signatures: BTreeMap<Signature, u64>,
    /// Requests and failures by target.
    pub targets: Vec<TargetEvidence>,
    /// Requests and failures by path, query cut, ids folded.
    pub paths: Vec<PathEvidence>,
    /// False when there were more different paths than are told apart, or more windows than details fit into
    /// memory: then a path may have had successes that it is not told with.
    pub paths_are_complete: bool,
    /// Windows of the incident and the hour around it, with failures or less than an hour from one, of which
    /// only the counts were kept, because there were more than fit into memory.
    pub windows_given_up: u64,
    /// Requests and failures by load-balancer node (address, `unknown` for a loose file).
    pub nodes: Vec<Share>,
    /// Requests and failures by method.
    pub methods: Vec<Share>,
    /// Requests and failures by row type: http, https, h2, grpcs, ws, wss.
    pub types: Vec<Share>,
    /// `error_reason` of the failures.
    pub error_reasons: Vec<(Arc<str>, u64)>,
    /// Failed rows, ordered by time: all of them, or an even sample when there are more than
    /// [`MAX_FAILURE_ROWS`].
    pub failures: Vec<FailureRow>,
    /// `target_processing_time` of successful rows in seconds: median and 99th percentile.
    pub success_seconds: Option<Quantiles>,
    /// `target_processing_time` of successful rows, seconds.
    pub success_distribution: Option<Distribution<f64>>,
    /// The same, counted: buckets 9 % wide, in order, without those that hold no row.
    pub success_buckets: Vec<Bucket>,
    /// The minutes with rows from an hour before the incident to its end, in order: exact.
    pub minutes: Vec<Minute>,
    /// How long targets had been quiet before requests, closed and successful ones.
    pub pauses: Pauses,
}

impl Evidence {
    /// A target of the incident, by the name that the log gives it.
    pub fn target(&self, name: &str) -> Option<&TargetEvidence> {
        self.targets.iter().find(|it| *it.target == *name)
    }

    /// The region: of the target group's ARN, else of the objects' keys. A target group is in the
    /// account and region of its load balancer.
    pub fn region(&self) -> Option<&str> {
        self.arn_part(3).filter(|it| is_region(it)).or(self.region.as_deref())
    }

    /// The account, 12 digits: of the target group's ARN, else of the objects' keys.
    pub fn account(&self) -> Option<&str> {
        self.arn_part(4).filter(|it| is_account(it)).or(self.account.as_deref())
    }

    /// The ARN of the load balancer in a region and account.
    pub fn load_balancer_arn_in(&self, region: &str, account: &str) -> String {
        let named = self.arn_part(1).filter(|it| PARTITIONS.contains(it));
        let partition = named.unwrap_or_else(|| partition_of(region));
        let id = &self.load_balancer;
        format!("arn:{partition}:elasticloadbalancing:{region}:{account}:loadbalancer/{id}")
    }

    /// A part of the ARN in the rows, which are not believed blindly: whoever writes to the bucket may
    /// write anything.
    fn arn_part(&self, index: usize) -> Option<&str> {
        self.target_group_arn.as_deref()?.split(':').nth(index)
    }
}

/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>
const PARTITIONS: [&str; 7] =
    ["aws", "aws-cn", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-us-gov"];

fn partition_of(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

/// How many failed rows of a target group are kept per five-minute window.
pub const MAX_FAILURE_ROWS: usize = 1024;

/// The middle and the end of a distribution, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantiles {
    /// Half are below.
    pub p50: f64,
    /// 99 of 100 are below.
    pub p99: f64,
}

/// A distribution in four numbers.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Distribution<T> {
    /// Half are at most this.
    pub p50: T,
    /// 9 of 10 are at most this.
    pub p90: T,
    /// 99 of 100 are at most this.
    pub p99: T,
    /// The largest.
    pub max: T,
}

impl<T: Copy> Distribution<T> {
    /// Of sorted values, by nearest rank: every number is one of the values.
    pub fn of_sorted(values: &[T]) -> Option<Self> {
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100);
            values.get(rank.saturating_sub(1)).copied()
        };
        Some(Self { p50: at(50)?, p90: at(90)?, p99: at(99)?, max: at(100)? })
    }
}

/// Rows whose time lies between two edges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Seconds; the first bucket, from 1 ms, also holds what is shorter.
    pub from: f64,
    /// Seconds; it does not belong to the bucket.
    pub to: f64,
    /// How many rows.
    pub rows: u64,
}

/// One minute of a target group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minute {
    /// Microseconds since 1970.
    pub start: i64,
    /// Rows that count.
    pub requests: u64,
    /// Failed rows among them.
    pub failures: u64,
    /// The first and the last failed row, microseconds since 1970.
    pub failed: Option<(i64, i64)>,
}

/// Requests and failures that share a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The node, method or type.
    pub name: Arc<str>,
    /// Rows.
    pub requests: u64,
    /// Failed rows.
    pub failures: u64,
}

/// One target in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetEvidence {
    /// `ip:port` as the log writes it; `others` for what is beyond the bound.
    pub target: Arc<str>,
    /// Rows in the incident.
    pub requests: u64,
    /// Failed rows in the incident.
    pub failures: u64,
    /// Rows in the incident with a response of the target below 500.
    pub successes: u64,
    /// Failed rows by signature.
    pub signatures: BTreeMap<Signature, u64>,
    /// First and last row of this target in the span, microseconds since 1970.
    pub first_seen: i64,
    /// See `first_seen`.
    pub last_seen: i64,
    /// First and last successful row in the span.
    pub first_success: Option<i64>,
    /// See `first_success`.
    pub last_success: Option<i64>,
    /// First and last failed row in the span.
    pub first_failure: Option<i64>,
    /// See `first_failure`.
    pub last_failure: Option<i64>,
    /// When the last request in the span was sent to it.
    pub last_start: Option<i64>,
    /// Successful rows in the span that needed one or more repeated SYNs before the connection
    /// stood: `request_processing_time` just above 1, 3 or 7 seconds.
    pub slow_connects: u64,
    /// Pairs of refused connections that follow each other (see [`Signature::NotConnected`]).
    pub refused_pairs: u64,
    /// Such pairs with a successful answer of the target in between: a process that is down gives none.
    pub refused_pairs_with_answers: u64,
}

impl TargetEvidence {
    /// Failures of a signature.
    pub fn of(&self, signature: Signature) -> u64 {
        self.signatures.get(&signature).copied().unwrap_or(0)
    }
}

/// One path in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct PathEvidence {
    /// Query cut, ids folded to `{id}`; `others` for what is beyond the bound. Written by strangers.
    pub path: Arc<str>,
    /// Rows in the incident.
    pub requests: u64,
    /// Failed rows in the incident.
    pub failures: u64,
    /// Rows with a response of the target below 500.
    pub successes: u64,
    /// Mean `received_bytes` of the successful rows.
    pub success_bytes: Option<f64>,
    /// The largest `received_bytes` of a successful row.
    pub largest_success_bytes: Option<u64>,
    /// The longest `target_processing_time` of a successful row, seconds.
    pub longest_success: Option<f64>,
    /// Failed rows by signature.
    pub signatures: BTreeMap<Signature, u64>,
}

impl PathEvidence {
    /// Failures of a signature.
    pub fn of(&self, signature: Signature) -> u64 {
        self.signatures.get(&signature).copied().unwrap_or(0)
    }
}

/// One failed row.
#[derive(Debug, Clone, PartialEq)]
pub struct FailureRow {
    /// When the load balancer answered, microseconds since 1970.
    pub time: i64,
    /// When the request arrived; `None` for rows from before 2018.
    pub created: Option<i64>,
    /// Its signature.
    pub signature: Signature,
    /// Seconds from arrival to answer.
    pub elapsed: Option<f64>,
    /// The three processing times in seconds, -1 for not recorded; `None` for `-`.
    pub times: [Option<f64>; 3],
    /// `ip:port`.
    pub target: Option<Arc<str>>,
    /// Query cut, ids folded.
    pub path: Option<Arc<str>>,
    /// The method.
    pub method: Option<Arc<str>>,
    /// The load-balancer node.
    pub node: Arc<str>,
    /// `error_reason`.
    pub error_reason: Option<Arc<str>>,
    /// `received_bytes`.
    pub received_bytes: Option<u64>,
    /// `trace_id`.
    pub trace_id: Option<Arc<str>>,
    /// The object or file that the row stands in.
    pub object: Arc<str>,
    /// Seconds between earlier answers of the same node and target and the sending of this request,
    /// the latest first. Empty when there was none or the pair is too busy to be followed.
    pub gaps: Box<[f32]>,
    /// The path of the latest of these answers. Written by strangers.
    pub after: Option<Arc<str>>,
}

impl FailureRow {
    /// How long the node and target had been quiet when the request was sent, seconds.
    pub fn pause(&self) -> Option<f64> {
        self.gaps.first().copied().map(f64::from)
    }

    /// When the request was sent to the target, milliseconds since 1970.
    pub fn sent(&self) -> Option<i64> {
        let waited = self.times[0].unwrap_or(0.0).max(0.0);
        Some(self.created? / 1000 + (waited * 1000.0).round() as i64)
    }

    /// When the latest answer before it ended, milliseconds since 1970.
    pub fn answered(&self) -> Option<i64> {
        Some(before(self.sent()?, *self.gaps.first()?))
    }

    /// `target_processing_time` in seconds, when it was recorded.
    pub fn target_seconds(&self) -> Option<f64> {
        self.times[1].filter(|seconds| 0.0 <= *seconds)
    }
}

/// So many seconds before, both of them whole milliseconds.
pub(super) fn before(millis: i64, gap: f32) -> i64 {
    millis - (f64::from(gap) * 1000.0).round() as i64
}

/// A request, and how long before it the same target had answered through the same node.
#[derive(Debug, Clone, PartialEq)]
pub struct Pause {
    /// `ip:port`.
    pub target: Arc<str>,
    /// Query cut, ids folded; `None` for successful requests.
    pub path: Option<Arc<str>>,
    /// Seconds between earlier answers and the sending of the request, the latest answer first.
    pub gaps: Box<[f32]>,
    /// When the latest of these answers ended, milliseconds since 1970.
    pub answered: i64,
    /// The path of the latest answer. Written by strangers.
    pub after: Option<Arc<str>>,
}

/// The pauses of one incident and the time around it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pauses {
    /// Requests that were closed early, those of one moment and node once.
    pub closed_early: Vec<Pause>,
    /// Early closed requests without an earlier answer at hand, or on a pair too busy to be followed.
    pub unknown: u64,
    /// Those among them whose pair is too busy: its connections are hardly ever idle.
    pub busy: u64,
    /// Successful requests of the same nodes and targets, at about the same times.
    pub healthy: Vec<Pause>,
    /// Seconds since the latest answer, of all successful requests, sorted; an even sample of many.
    pub successes: Vec<f64>,
}
