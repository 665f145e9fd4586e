//! What a line is, when it is no entry of an access log.

use std::fmt;

use super::{
    parse::{is_entry_type, number},
    time,
};

/// What a line is, judged by its first words. Files of other kinds lie in the same folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineKind {
    /// An entry of an Application Load Balancer access log.
    AccessLog,
    /// An entry of an ALB connection log.
    ConnectionLog,
    /// An entry of an ALB health-check log.
    HealthCheckLog,
    /// An entry of a Network Load Balancer TLS log.
    NetworkLoadBalancer,
    /// An entry of a Classic Load Balancer log.
    ClassicLoadBalancer,
    /// Nothing but white space.
    Empty,
    /// None of these.
    Other,
}

impl LineKind {
    /// Judges a line by its first words.
    pub fn of(line: &[u8]) -> Self {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Self::Empty;
        }
        let mut words = line.split(|&byte| byte == b' ');
        let first = words.next().unwrap_or_default();
        let second = words.next().unwrap_or_default();
        let third = words.next().unwrap_or_default();
        let Some(fourth) = words.next() else {
            return Self::Other;
        };
        if time::looks_like_time(second) {
            // A health-check entry has its latency where an access-log entry names the load balancer.
            let is_latency = third == b"-" || number(third).is_some();
            if is_latency && (is_entry_type(first) || matches!(first, b"grpc" | b"lambda")) {
                return Self::HealthCheckLog;
            }
            if is_entry_type(first) {
                return Self::AccessLog;
            }
        }
        if first == b"tls" && (second == b"1.0" || second == b"2.0") {
            return Self::NetworkLoadBalancer;
        }
        if time::looks_like_time(first) && words.next().is_some() {
            let is_number = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_digit);
            return if is_number(third) && is_number(fourth) {
                Self::ConnectionLog
            } else {
                Self::ClassicLoadBalancer
            };
        }
        Self::Other
    }
}

impl fmt::Display for LineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessLog => "ALB access log",
            Self::ConnectionLog => "ALB connection log",
            Self::HealthCheckLog => "ALB health-check log",
            Self::NetworkLoadBalancer => "Network Load Balancer log",
            Self::ClassicLoadBalancer => "Classic Load Balancer log",
            Self::Empty => "empty line",
            Self::Other => "unknown",
        })
    }
}
