//! What one row says about a failure: who made it, and how far the request had come.
//!
//! This is the first split and the decision order of a single row; a cause needs more than one row.

use crate::access_log::{Entry, Field};

/// A row that failed before the connection stood took less than this many seconds when something
/// answered: a refusal or a broken handshake takes milliseconds, a retried SYN takes one second.
pub const ANSWERED_SECONDS: f64 = 1.0;

/// The connect timeout of an ALB is 10 seconds and fixed; the log shows 10.000 to 10.002. Half a
/// second below is far from the longest address-resolution failure (about 3 seconds).
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>
pub const CONNECT_TIMEOUT_SECONDS: f64 = 9.5;

/// A connection that the target had closed before it read the request shows within one round trip
/// and the delay of the load balancer: 0 to 60 ms measured. Four times that leaves room for a slow
/// zone and stays below what a request that was worked on usually takes to die.
pub const CLOSED_EARLY_SECONDS: f64 = 0.25;

/// How a request failed, as far as one row can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signature {
    /// 502 from the target, passed on (502 and 502).
    TargetMade,
    /// 502 that a listener rule or WAF answers on purpose.
    Intentional,
    /// 502 by the load balancer with an `error_reason`; also the one 504 that has one, when the
    /// connection to the Lambda service timed out.
    ErrorReason,
    /// 502 by the load balancer, no target named, no reason given.
    NoTarget,
    /// `-1 -1 -1`, a target named, over within a second: something answered the attempt to connect.
    NotConnected,
    /// `-1 -1 -1`, a target named, 1 to 9.5 seconds: the network gave up.
    Unreachable,
    /// 502 `-1 -1 -1`, a target named, 9.5 seconds or more: no documented cause has this form today.
    NotConnectedLate,
    /// 504 `-1 -1 -1`, a target named, 9.5 seconds or more: nothing answered the attempt to connect.
    ConnectTimeout,
    /// The request was sent and the connection ended within 0.25 s without a response.
    ClosedEarly,
    /// The request was sent and the connection ended later without a response.
    ClosedLate,
    /// 504, the request was sent and the target stayed silent.
    IdleTimeout,
    /// A 502 of none of these forms.
    Unclassified,
}

impl Signature {
    /// Every signature, in order.
    pub const ALL: [Self; 12] = [
        Self::TargetMade,
        Self::Intentional,
        Self::ErrorReason,
        Self::NoTarget,
        Self::NotConnected,
        Self::Unreachable,
        Self::NotConnectedLate,
        Self::ConnectTimeout,
        Self::ClosedEarly,
        Self::ClosedLate,
        Self::IdleTimeout,
        Self::Unclassified,
    ];

    /// The name that machines read.
    pub fn name(self) -> &'static str {
        match self {
            Self::TargetMade => "target-made",
            Self::Intentional => "intentional",
            Self::ErrorReason => "error-reason",
            Self::NoTarget => "no-target",
            Self::NotConnected => "not-connected",
            Self::Unreachable => "unreachable",
            Self::NotConnectedLate => "not-connected-late",
            Self::ConnectTimeout => "connect-timeout",
            Self::ClosedEarly => "closed-early",
            Self::ClosedLate => "closed-late",
            Self::IdleTimeout => "idle-timeout",
            Self::Unclassified => "unclassified",
        }
    }

    /// The signature of a row; `None` when the row is neither a 502 nor a 504 that tells something.
    pub fn of(entry: &Entry<'_>) -> Option<Self> {
        let elb_status = entry.status(Field::ElbStatusCode)?;
        match elb_status {
            502 => Some(Self::of_502(entry)),
            504 => Self::of_504(entry),
            _ => None,
        }
    }

    fn of_502(entry: &Entry<'_>) -> Self {
        match entry.status(Field::TargetStatusCode) {
            Some(502) => return Self::TargetMade,
            Some(_) => return Self::Unclassified,
            None => {}
        }
        if is_answered_by_rule(entry) {
            return Self::Intentional;
        }
        if entry.get(Field::ErrorReason).is_some() {
            return Self::ErrorReason;
        }
        if entry.get(Field::TargetPort).is_none() {
            return Self::NoTarget;
        }
        let (Some(request), Some(target), Some(response)) = (
            entry.seconds(Field::RequestProcessingTime),
            entry.seconds(Field::TargetProcessingTime),
            entry.seconds(Field::ResponseProcessingTime),
        ) else {
            return Self::Unclassified;
        };
        if request < 0.0 && target < 0.0 && response < 0.0 {
            return match elapsed_seconds(entry) {
                // Rows from before 2018 have no creation time. Then a 502 is the answered case: what
                // stays unanswered is a 504.
                None => Self::NotConnected,
                Some(elapsed) if elapsed < ANSWERED_SECONDS => Self::NotConnected,
                Some(elapsed) if elapsed < CONNECT_TIMEOUT_SECONDS => Self::Unreachable,
                Some(_) => Self::NotConnectedLate,
            };
        }
        if 0.0 <= request && 0.0 <= target && response < 0.0 {
            return if target < CLOSED_EARLY_SECONDS {
                Self::ClosedEarly
            } else {
                Self::ClosedLate
            };
        }
        Self::Unclassified
    }

    fn of_504(entry: &Entry<'_>) -> Option<Self> {
        if entry.get(Field::ErrorReason) == Some(b"LambdaConnectionTimeout") {
            return Some(Self::ErrorReason);
        }
        if entry.get(Field::TargetStatusCode).is_some() || entry.get(Field::TargetPort).is_none() {
            return None;
        }
        let request = entry.seconds(Field::RequestProcessingTime)?;
        let target = entry.seconds(Field::TargetProcessingTime)?;
        let response = entry.seconds(Field::ResponseProcessingTime)?;
        if request < 0.0 && target < 0.0 && response < 0.0 {
            return match elapsed_seconds(entry) {
                Some(elapsed) if elapsed < CONNECT_TIMEOUT_SECONDS => None,
                _ => Some(Self::ConnectTimeout),
            };
        }
        (0.0 <= request && target < 0.0).then_some(Self::IdleTimeout)
    }

    /// The connection to the target never stood.
    pub fn is_before_connection(self) -> bool {
        matches!(
            self,
            Self::NotConnected | Self::Unreachable | Self::NotConnectedLate | Self::ConnectTimeout
        )
    }
}

/// Seconds between the arrival of the request and the answer: the only duration of a row whose three
/// times are -1. `None` for rows from before 2018.
pub fn elapsed_seconds(entry: &Entry<'_>) -> Option<f64> {
    let created = entry.request_creation_time()?;
    // The creation time is cut to the millisecond, so a difference below zero is a rounding.
    Some((entry.time().saturating_sub(created) as f64 / 1e6).max(0.0))
}

/// True when a fixed-response rule answered, or WAF as the last action.
fn is_answered_by_rule(entry: &Entry<'_>) -> bool {
    entry.get(Field::ActionsExecuted).is_some_and(|actions| {
        let mut list = actions.split(|&byte| byte == b',');
        list.clone().any(|action| action == b"fixed-response") || list.next_back() == Some(b"waf")
    })
}
