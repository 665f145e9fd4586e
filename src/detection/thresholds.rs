//! The numbers that make an incident, each with its reason.

/// When failures of a target group are an incident.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// At least this many failures in a window. Five: fewer are told apart from chance by no rate.
    pub min_errors: u64,
    /// At least this percentage of the requests of the group. One: what people notice, and what a
    /// healthy service does not reach.
    pub rate_percent: f64,
    /// Or this many times the rate of the preceding hour. Ten: an order of magnitude is a change, not
    /// a wave.
    pub surge_factor: f64,
    /// Below a spike: at least this many failures in 24 hours. Five: fewer are told apart from chance
    /// by no rate.
    pub trickle_errors: u64,
    /// And at least this many of a million requests. Twenty: the classic keep-alive leak is one in
    /// 20,000, which is 50 of a million; one stray 502 in 100,000, which is 10, stays quiet.
    pub trickle_per_million: f64,
    /// Whether the 504 after the idle timeout counts as a failure. Off for the Lambda function: a slow
    /// target is another alarm's work.
    pub include_idle_timeout_504: bool,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            min_errors: 5,
            rate_percent: 1.0,
            surge_factor: 10.0,
            trickle_errors: 5,
            trickle_per_million: 20.0,
            include_idle_timeout_504: false,
        }
    }
}

/// The surge rule wants at least this many failures in a window: with fewer, ten times a small rate is
/// still chance.
pub const SURGE_MIN_FAILURES: u64 = 50;

/// The length of a window: the load balancer delivers one object per node every five minutes.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html>
pub const WINDOW_MICROS: i64 = 300_000_000;

/// How many windows an hour has: the baseline of the surge rule.
pub const WINDOWS_PER_HOUR: i64 = 12;

/// How many neighbours are joined to a window with too few failures: a slow leak on a quiet service
/// then shows within twenty minutes.
pub const MAX_JOINED_NEIGHBOURS: i64 = 3;

/// Spikes closer than this many quiet windows are one incident.
pub const QUIET_WINDOWS: i64 = 3;

/// The longest stretch that is counted for a trickle: 24 hours, so that the hours of a day with and
/// without traffic weigh the same wherever the log begins.
pub const TRICKLE_WINDOWS: i64 = 24 * WINDOWS_PER_HOUR;
