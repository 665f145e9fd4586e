//! The report of `alb502 probe`, read: what a diagnosis needs of it, and whether it can be true.
//!
//! A report is a file that anybody may have edited. What no probe can have seen is refused; what is left
//! may still be a lie, so it never claims a row.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    diagnosis::{causes::CAUSES, facts::IDLE_TIMEOUT_SECONDS},
    neutralize,
};

/// The version of the report that is understood.
const SCHEMA_VERSION: &str = "1";

/// So many reports at most: a load balancer has at most 1,000 targets.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>
const MAX_REPORTS: usize = 1000;

/// A probe stops a second after the idle timeout; so many seconds more for a machine that is busy.
const LATE_SECONDS: f64 = 10.0;

/// A probe holds three connections, and sends eight requests at most.
const MAX_CONNECTIONS: usize = 8;

/// A probe tells each cause once.
const MAX_FINDINGS: usize = 20;

/// The part of a probe's report that a diagnosis reads. Names that are not known are passed over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Probe {
    /// When it ran.
    pub time: jiff::Timestamp,
    /// Whom it asked for what.
    pub target: ProbedTarget,
    /// The load balancer's idle timeout as the probe was told it, seconds.
    pub idle_timeout_seconds: u32,
    pub(super) connect: ProbedConnect,
    pub(super) tls: Option<ProbedTls>,
    pub(super) response: Option<ProbedResponse>,
    /// After so many idle seconds the target closed a connection.
    pub keep_alive_seconds: Option<f64>,
    #[serde(default)]
    pub(super) keep_alive: ProbedKeepAlive,
    #[serde(default)]
    pub(super) findings: Vec<ProbeFinding>,
}

/// The target of a probe.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ProbedTarget {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    pub(super) method: String,
    pub(super) path: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct ProbedConnect {
    pub(super) outcome: ConnectOutcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ConnectOutcome {
    Connected,
    Refused,
    TimedOut,
    Unreachable,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct ProbedTls {
    pub(super) outcome: TlsOutcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TlsOutcome {
    Established,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct ProbedResponse {
    pub(super) status: Option<u16>,
    pub(super) body_read_to_end: bool,
    #[serde(default)]
    pub(super) violations: Vec<ProbedViolation>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct ProbedViolation {
    pub(super) cause: String,
    pub(super) text: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct ProbedKeepAlive {
    #[serde(default)]
    pub(super) connections: Vec<ProbedConnection>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct ProbedConnection {
    pub(super) outcome: ConnectionOutcome,
    pub(super) idle_seconds: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ConnectionOutcome {
    Closed,
    Reset,
    Open,
    SaidClose,
    RequestLost,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct ProbeFinding {
    pub(super) cause: String,
    pub(super) would_be: WouldBe,
    pub(super) certainty: Certainty,
    pub(super) why: String,
}

/// What a client of the load balancer would get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WouldBe {
    /// 502 Bad Gateway.
    #[serde(rename = "502")]
    BadGateway,
    /// 504 Gateway Timeout.
    #[serde(rename = "504")]
    GatewayTimeout,
    /// The response as it is.
    #[serde(rename = "none")]
    Nothing,
}

impl WouldBe {
    /// As the report writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadGateway => "502",
            Self::GatewayTimeout => "504",
            Self::Nothing => "none",
        }
    }
}

/// How sure it is that the load balancer objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// AWS says so.
    Documented,
    /// AWS does not name it, but strict HTTP parsers refuse it.
    Likely,
    /// Against the RFC; some parsers are lenient here.
    Possible,
}

impl Certainty {
    /// As the report writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Documented => "documented",
            Self::Likely => "likely",
            Self::Possible => "possible",
        }
    }
}

impl Probe {
    /// The reports in a text, one after the other.
    ///
    /// # Errors
    /// When there is none, too many, one of a version that is not understood, or one that says what no
    /// probe can have seen: says which and why, in words that are safe to show.
    pub fn parse(text: &str) -> Result<Vec<Self>, String> {
        let no_report = |why: &dyn std::fmt::Display| {
            let why = neutralize::cut(&neutralize::line(&why.to_string()), 200);
            format!(
                "no report of a probe ({why}). Give a file with what `alb502 probe --format json` prints"
            )
        };
        let mut probes: Vec<Self> = Vec::new();
        for document in serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>() {
            let document = document.map_err(|error| no_report(&error))?;
            // Another version may have another shape: so this is looked at first.
            match document.get("schema_version") {
                Some(version) if version == SCHEMA_VERSION => {}
                Some(version) => {
                    let version = version.as_str().map_or(version.to_string(), str::to_owned);
                    return Err(format!(
                        "schema_version {} is not known, only {SCHEMA_VERSION}: probe again with this \
                         version of alb502",
                        neutralize::plain(&version)
                    ));
                }
                None => return Err(no_report(&"it has no schema_version")),
            }
            let probe: Self =
                serde_json::from_value(document).map_err(|error| no_report(&error))?;
            probe.can_be_true().map_err(|why| {
                format!("the report of {} says what no probe can have seen: {why}", probe.socket())
            })?;
            // The same report twice is no second witness.
            if !probes.contains(&probe) {
                probes.push(probe);
            }
            if MAX_REPORTS < probes.len() {
                return Err(format!(
                    "more than {MAX_REPORTS} reports, and a load balancer has no more targets: give \
                     those of the targets that fail"
                ));
            }
        }
        if probes.is_empty() {
            return Err(
                "it is empty; `alb502 probe --format json` prints what belongs there".to_owned()
            );
        }
        Ok(probes)
    }

    /// Address and port.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.target.address, self.target.port)
    }

    /// Why it cannot be the report of a probe, if it cannot.
    fn can_be_true(&self) -> Result<(), String> {
        let refuse = |why: &str| Err(why.to_owned());
        if self.target.port == 0 {
            return refuse("port 0");
        }
        if !IDLE_TIMEOUT_SECONDS.contains(&self.idle_timeout_seconds) {
            return Err(format!(
                "an idle timeout of {} s, and a load balancer has {} to {} s",
                self.idle_timeout_seconds,
                IDLE_TIMEOUT_SECONDS.start(),
                IDLE_TIMEOUT_SECONDS.end()
            ));
        }
        let is_connected = self.connect.outcome == ConnectOutcome::Connected;
        if !is_connected
            && (self.tls.is_some()
                || self.response.is_some()
                || !self.keep_alive.connections.is_empty())
        {
            return refuse("an answer over a connection that was never made");
        }
        if self.status().is_some_and(|status| 999 < status) {
            return refuse("a status of more than three digits");
        }
        self.times_can_be_true()?;
        if MAX_FINDINGS < self.findings.len() {
            return Err(format!("{} findings", self.findings.len()));
        }
        self.findings.iter().try_for_each(|it| self.finding_can_be_true(it))
    }

    fn times_can_be_true(&self) -> Result<(), String> {
        let connections = &self.keep_alive.connections;
        if MAX_CONNECTIONS < connections.len() {
            return Err(format!("{} connections held", connections.len()));
        }
        let longest = f64::from(self.idle_timeout_seconds) + LATE_SECONDS;
        for connection in connections {
            match (connection.outcome, connection.idle_seconds) {
                (_, Some(seconds)) if !(0.0..=longest).contains(&seconds) => {
                    return Err(format!(
                        "a connection that was idle for {seconds:e} s, where it watches for {longest} s"
                    ));
                }
                (
                    ConnectionOutcome::Closed | ConnectionOutcome::Reset | ConnectionOutcome::Open,
                    None,
                ) => return Err("an idle connection without a time".to_owned()),
                _ => {}
            }
        }
        let first_closed = self.closed_after().reduce(f64::min);
        if self.keep_alive_seconds != first_closed {
            return Err(
                "a keep_alive_seconds that is not the time of the first connection that was closed"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn finding_can_be_true(&self, finding: &ProbeFinding) -> Result<(), String> {
        let cause = neutralize::plain(&finding.cause);
        if !CAUSES.iter().any(|it| it.id == finding.cause) {
            return Err(format!("the cause {cause}, which this version does not know"));
        }
        let outcome = self.connect.outcome;
        let fits = match finding.cause.as_str() {
            "connect-refused" => outcome == ConnectOutcome::Refused,
            "connect-timeout" => outcome == ConnectOutcome::TimedOut,
            "host-unreachable" => outcome == ConnectOutcome::Unreachable,
            "keepalive-race" => self.closed_after().next().is_some() || self.has_lost_request(),
            "target-generated" => self.status() == Some(502),
            "tls-handshake" => self.tls.is_some(),
            _ => outcome == ConnectOutcome::Connected,
        };
        if fits { Ok(()) } else { Err(format!("{cause}, which the rest of it contradicts")) }
    }

    pub(super) fn status(&self) -> Option<u16> {
        self.response.as_ref()?.status
    }

    /// So long connections had been idle that the target closed.
    fn closed_after(&self) -> impl Iterator<Item = f64> {
        self.keep_alive.connections.iter().filter_map(|it| match it.outcome {
            ConnectionOutcome::Closed | ConnectionOutcome::Reset => it.idle_seconds,
            _ => None,
        })
    }

    /// Whether a request met a connection that the target had closed without a word.
    pub(super) fn has_lost_request(&self) -> bool {
        let connections = &self.keep_alive.connections;
        connections.iter().any(|it| it.outcome == ConnectionOutcome::RequestLost)
    }
}

impl ConnectOutcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Refused => "refused",
            Self::TimedOut => "timed-out",
            Self::Unreachable => "unreachable",
        }
    }
}

impl TlsOutcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A report as a probe writes it of a target that closes after 6 s.
    fn report() -> Value {
        json!({
            "schema_version": "1", "tool_version": "9", "time": "2026-11-28T12:03:10Z",
            "target": {"address": "10.0.1.5", "port": 8080, "method": "GET", "path": "/health"},
            "idle_timeout_seconds": 60, "connect": {"outcome": "connected", "seconds": 0.001},
            "tls": null,
            "response": {"status": 200, "body_read_to_end": true, "violations": []},
            "keep_alive_seconds": 6.0,
            "keep_alive": {"connections": [
                {"requests": 1, "outcome": "closed", "idle_seconds": 6.0},
                {"requests": 5, "outcome": "reset", "idle_seconds": 6.5}
            ]},
            "findings": [{
                "cause": "keepalive-race", "would_be": "502", "certainty": "documented",
                "why": "It closed.", "fix": "Do not."
            }]
        })
    }

    /// What is said of a report in which one place is changed.
    fn refused(pointer: &str, value: Value) -> String {
        let mut report = report();
        *report.pointer_mut(pointer).unwrap() = value;
        match Probe::parse(&report.to_string()) {
            Err(why) => why,
            Ok(_) => "believed".to_owned(),
        }
    }

    #[test]
    fn what_a_probe_writes_is_believed() {
        let text = report().to_string();
        let [probe] = Probe::parse(&text).unwrap().try_into().unwrap();
        assert_eq!((probe.keep_alive_seconds, probe.status()), (Some(6.0), Some(200)));
        assert_eq!(Probe::parse(&text.repeat(2)).unwrap().len(), 1, "one witness, not two");
        let other = text.replace("10.0.1.5", "::1");
        assert_eq!(Probe::parse(&(text + &other)).unwrap().len(), 2);
    }

    #[test]
    fn what_no_probe_can_have_seen_is_refused() {
        for (pointer, value, why) in [
            ("/schema_version", json!("2"), "schema_version 2 is not known, only 1"),
            ("/schema_version", json!(1), "schema_version 1 is not known"),
            ("/schema_version", json!(null), "schema_version null is not known"),
            ("/target/port", json!(0), "port 0"),
            ("/target/port", json!(70000), "no report"),
            ("/target/address", json!("shop.example.com"), "no report"),
            ("/time", json!("yesterday"), "no report"),
            ("/idle_timeout_seconds", json!(0), "an idle timeout of 0 s"),
            ("/idle_timeout_seconds", json!(4001), "an idle timeout of 4001 s"),
            ("/idle_timeout_seconds", json!(-60), "no report"),
            ("/connect/outcome", json!("healthy"), "no report"),
            ("/connect/outcome", json!("refused"), "a connection that was never made"),
            ("/response/status", json!(1000), "more than three digits"),
            ("/keep_alive_seconds", json!(600.0), "keep_alive_seconds"),
            ("/keep_alive_seconds", json!(-1.0), "keep_alive_seconds"),
            ("/keep_alive_seconds", json!(null), "keep_alive_seconds"),
            ("/keep_alive/connections/0/idle_seconds", json!(1e300), "idle for 1e300 s"),
            ("/keep_alive/connections/0/idle_seconds", json!(-6.0), "idle for -6e0 s"),
            ("/keep_alive/connections/0/idle_seconds", json!(null), "without a time"),
            ("/keep_alive/connections", json!([]), "keep_alive_seconds"),
            ("/findings/0/cause", json!("gremlins"), "the cause gremlins"),
            ("/findings/0/cause", json!("connect-refused"), "the rest of it contradicts"),
            ("/findings/0/cause", json!("target-generated"), "the rest of it contradicts"),
            ("/findings/0/cause", json!("tls-handshake"), "the rest of it contradicts"),
            ("/findings/0/would_be", json!("200"), "no report"),
            ("/findings/0/certainty", json!("certain"), "no report"),
        ] {
            let said = refused(pointer, value.clone());
            assert!(said.contains(why), "{pointer} {value}: {said}");
        }
        let many = vec![report()["findings"][0].clone(); MAX_FINDINGS + 1];
        assert!(refused("/findings", many.into()).contains("21 findings"));
        let many = vec![report()["keep_alive"]["connections"][0].clone(); MAX_CONNECTIONS + 1];
        assert!(refused("/keep_alive/connections", many.into()).contains("9 connections"));
    }

    #[test]
    fn almost_too_much_is_believed() {
        for (pointer, value) in [
            ("/idle_timeout_seconds", json!(4000)),
            ("/response/status", json!(999)),
            ("/keep_alive/connections/1/idle_seconds", json!(69.9)),
            ("/findings/0/would_be", json!("none")),
            ("/findings/0/cause", json!("malformed-response")),
        ] {
            assert_eq!(refused(pointer, value), "believed", "{pointer}");
        }
    }

    #[test]
    fn a_file_that_is_no_report_says_so_in_harmless_words() {
        for (text, why) in [
            ("", "it is empty"),
            ("{}", "Give a file with what `alb502 probe --format json` prints"),
            ("[]", "no report of"),
            ("not json", "no report of"),
        ] {
            assert!(Probe::parse(text).unwrap_err().contains(why), "{text}");
        }
        let said = refused("/connect/outcome", json!("\u{1b}[31m\u{202e}http://evil.test"));
        assert!(!said.contains(['\u{1b}', '\u{202e}']) && said.len() < 300, "{said}");
        let said = refused("/schema_version", json!("\u{1b}]0;x\u{7}"));
        assert!(!said.contains('\u{1b}'), "{said}");
        let cause = format!("\u{1b}[31m{}", "x".repeat(100_000));
        let said = refused("/findings/0/cause", cause.into());
        assert!(!said.contains('\u{1b}') && said.len() < 500, "{said}");
        assert!(Probe::parse(&"[".repeat(1_000_000)).unwrap_err().contains("no report"));
    }

    #[test]
    fn there_is_a_limit_to_how_many() {
        let of = |number: usize| {
            let mut report = report();
            report["target"]["port"] = (number + 1).into();
            report.to_string()
        };
        let most: String = (0..MAX_REPORTS).map(of).collect();
        assert_eq!(Probe::parse(&most).unwrap().len(), MAX_REPORTS);
        let said = Probe::parse(&(most + &of(MAX_REPORTS))).unwrap_err();
        assert!(said.contains("more than 1000 reports"), "{said}");
    }
}
