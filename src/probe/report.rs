//! The report of a probe, for machines: `alb502 probe --format json` prints it. Names may be added, not
//! changed.

use serde::Serialize;

use super::{
    Plan, findings,
    observed::{Certificate, Connect, Ended, KeptEnd, Observations, OtherProtocol, Tls},
    response::{Certainty, MAX_BODY, Response, Violation, WouldBe},
    servers, text, tls,
};
use crate::diagnosis::causes::CAUSES;

/// What a probe found.
#[derive(Debug, Clone, Serialize)]
#[expect(missing_docs, reason = "the names are the ones of the report")]
pub struct Report {
    pub schema_version: &'static str,
    pub tool_version: &'static str,
    /// When the probe began.
    pub time: jiff::Timestamp,
    pub target: Target,
    /// The load balancer's, which the person gave.
    pub idle_timeout_seconds: u64,
    pub requests_sent: u32,
    /// The answer in a sentence or two.
    pub summary: String,
    pub connect: ConnectReport,
    pub tls: Option<TlsReport>,
    pub response: Option<ResponseReport>,
    /// After so many idle seconds the target closed the first of the connections; null when it did not
    /// close one before the load balancer would have.
    pub keep_alive_seconds: Option<f64>,
    pub keep_alive: KeepAliveReport,
    pub findings: Vec<Finding>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

/// Whom the probe asked for what. The query of the URL is left out.
#[derive(Debug, Clone, Serialize)]
pub struct Target {
    pub scheme: &'static str,
    pub host: String,
    pub address: String,
    pub port: u16,
    pub method: String,
    pub path: String,
    pub other_addresses: Vec<String>,
}

/// The first connection.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectReport {
    /// connected, refused, timed-out or unreachable.
    pub outcome: &'static str,
    pub seconds: Option<f64>,
}

/// The TLS handshake.
#[derive(Debug, Clone, Serialize)]
pub struct TlsReport {
    /// established or failed.
    pub outcome: &'static str,
    pub seconds: f64,
    pub protocol: Option<String>,
    pub cipher: Option<String>,
    /// Whether a server name (SNI) was sent: not to an address.
    pub server_name_sent: bool,
    pub certificate: Option<CertificateReport>,
    pub error: Option<String>,
}

/// What the target presented; a load balancer looks at none of it.
#[derive(Debug, Clone, Serialize)]
pub struct CertificateReport {
    pub names: Vec<String>,
    pub covers_host: bool,
    pub self_signed: bool,
    pub expired: bool,
    pub not_yet_valid: bool,
    pub not_after: Option<jiff::Timestamp>,
    pub unreadable: Option<String>,
}

/// The response to the first request. Header values are left out, but for the server's name.
#[derive(Debug, Clone, Serialize)]
pub struct ResponseReport {
    pub version: Option<&'static str>,
    pub status: Option<u16>,
    pub reason: String,
    pub interim: Vec<u16>,
    /// What the target calls itself, a stranger's text.
    pub server: Option<String>,
    /// The server that is recognised.
    pub recognised_server: Option<&'static str>,
    pub headers: usize,
    pub head_bytes: u64,
    pub body_bytes: u64,
    pub body_read_to_end: bool,
    /// no-body, content-length, chunked or until-close.
    pub framing: Option<&'static str>,
    pub connection_close: bool,
    /// complete, stopped (by the probe), closed, reset, silent or too-slow.
    pub ended: &'static str,
    pub first_byte_seconds: Option<f64>,
    pub seconds: f64,
    pub violations: Vec<ViolationReport>,
}

/// A rule that the response broke.
#[derive(Debug, Clone, Serialize)]
pub struct ViolationReport {
    pub id: &'static str,
    pub cause: &'static str,
    pub would_be: WouldBe,
    pub certainty: Certainty,
    pub text: String,
    /// Bytes from the beginning of the response.
    pub at: u64,
    pub bytes: Option<u64>,
    /// A stranger's text.
    pub quote: Option<String>,
}

/// The connections that were kept.
#[derive(Debug, Clone, Serialize)]
pub struct KeepAliveReport {
    /// What `Keep-Alive: timeout=` promises.
    pub promised_seconds: Option<f64>,
    /// A connection takes so many requests, where the probe saw its end: at most five.
    pub requests_per_connection: Option<u32>,
    pub connections: Vec<KeptReport>,
    /// Why nothing was measured.
    pub not_measured: Option<String>,
}

/// A connection that was kept.
#[derive(Debug, Clone, Serialize)]
pub struct KeptReport {
    pub requests: u32,
    /// closed, reset, open, said-close, request-lost or failed.
    pub outcome: &'static str,
    /// Idle seconds until it was closed, or until the probe stopped.
    pub idle_seconds: Option<f64>,
    pub error: Option<String>,
}

/// Something that a load balancer would object to, or that is worth a change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The id of the cause that an access log would show.
    pub cause: &'static str,
    /// What a client would get.
    pub would_be: WouldBe,
    /// How sure that is.
    pub certainty: Certainty,
    /// What was seen and what it leads to.
    pub why: String,
    /// What to do.
    pub fix: String,
}

impl Report {
    /// The report for people: the answer first, 78 columns.
    pub fn text(&self) -> String {
        text::text(self)
    }
}

/// Puts together what was seen and what it means.
pub(super) fn report(plan: &Plan, seen: &Observations) -> Report {
    let request = &plan.request;
    let idle_timeout_seconds = plan.idle_timeout.as_secs();
    let findings = findings::findings(seen, idle_timeout_seconds);
    let mut report = Report {
        schema_version: "1",
        tool_version: env!("CARGO_PKG_VERSION"),
        time: plan.now,
        target: Target {
            scheme: if request.is_tls { "https" } else { "http" },
            host: request.host.clone(),
            address: seen.address.ip().to_string(),
            port: seen.address.port(),
            method: request.method.clone(),
            path: request.path_alone().to_owned(),
            other_addresses: seen.other_addresses.iter().map(ToString::to_string).collect(),
        },
        idle_timeout_seconds,
        requests_sent: seen.requests,
        summary: String::new(),
        connect: connect(&seen.connect),
        tls: seen.tls.as_ref().map(|it| tls_report(it, &request.host)),
        response: seen.exchange.as_ref().map(|exchange| ResponseReport {
            ended: if exchange.response.is_complete { "complete" } else { exchange.ended.as_str() },
            first_byte_seconds: exchange.first_byte_seconds.map(milliseconds),
            seconds: milliseconds(exchange.seconds),
            ..response(&exchange.response, seen)
        }),
        keep_alive_seconds: findings::closed_after(seen).reduce(f64::min).map(milliseconds),
        keep_alive: keep_alive(seen),
        findings,
        notes: notes(plan, seen),
    };
    report.summary = summary(&report);
    report
}

/// Whole milliseconds are enough, and read better.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

fn connect(connect: &Connect) -> ConnectReport {
    let (outcome, seconds) = match *connect {
        Connect::Connected(seconds) => ("connected", Some(seconds)),
        Connect::Refused(seconds) => ("refused", Some(seconds)),
        Connect::TimedOut => ("timed-out", None),
        Connect::Unreachable(seconds) => ("unreachable", Some(seconds)),
    };
    ConnectReport { outcome, seconds: seconds.map(milliseconds) }
}

fn tls_report(tls: &Tls, host: &str) -> TlsReport {
    let server_name_sent = tls::sends_server_name(host);
    match tls {
        Tls::Established { seconds, protocol, cipher, certificate } => TlsReport {
            outcome: "established",
            seconds: milliseconds(*seconds),
            protocol: Some(protocol.clone()),
            cipher: Some(cipher.clone()),
            server_name_sent,
            certificate: certificate.as_ref().map(certificate_report),
            error: None,
        },
        Tls::Failed { seconds, error, .. } => TlsReport {
            outcome: "failed",
            seconds: milliseconds(*seconds),
            protocol: None,
            cipher: None,
            server_name_sent,
            certificate: None,
            error: Some(error.clone()),
        },
    }
}

fn certificate_report(it: &Certificate) -> CertificateReport {
    CertificateReport {
        names: it.names.clone(),
        covers_host: it.covers_host,
        self_signed: it.is_self_signed,
        expired: it.is_expired,
        not_yet_valid: it.is_not_yet_valid,
        not_after: it.not_after,
        unreadable: it.unreadable.clone(),
    }
}

fn response(response: &Response, seen: &Observations) -> ResponseReport {
    ResponseReport {
        version: response.version.map(|version| version.as_str()),
        status: response.status,
        reason: response.reason.clone(),
        interim: response.interim.clone(),
        server: servers::said_name(seen),
        recognised_server: servers::recognise(response).map(|server| server.name),
        headers: response.headers.len(),
        head_bytes: response.head_bytes,
        body_bytes: response.body_bytes,
        body_read_to_end: response.is_complete,
        framing: response.framing.map(|framing| framing.as_str()),
        connection_close: response.framing.is_some() && response.says_close(),
        ended: "",
        first_byte_seconds: None,
        seconds: 0.0,
        violations: response.violations.iter().map(violation).collect(),
    }
}

fn violation(violation: &Violation) -> ViolationReport {
    ViolationReport {
        id: violation.rule.id,
        cause: violation.rule.cause,
        would_be: violation.rule.would_be,
        certainty: violation.rule.certainty,
        text: findings::sentence(violation),
        at: violation.at,
        bytes: violation.bytes,
        quote: violation.quote.clone(),
    }
}

fn keep_alive(seen: &Observations) -> KeepAliveReport {
    let connections: Vec<KeptReport> = seen
        .kept
        .iter()
        .map(|kept| {
            let (outcome, idle_seconds, error) = match &kept.end {
                KeptEnd::Closed { seconds, by_reset: false } => ("closed", Some(*seconds), None),
                KeptEnd::Closed { seconds, by_reset: true } => ("reset", Some(*seconds), None),
                KeptEnd::Open(seconds) => ("open", Some(*seconds), None),
                KeptEnd::SaidClose => ("said-close", None, None),
                KeptEnd::RequestLost => ("request-lost", None, None),
                KeptEnd::Failed(error) => ("failed", None, Some(error.clone())),
            };
            let idle_seconds = idle_seconds.map(milliseconds);
            KeptReport { requests: kept.requests, outcome, idle_seconds, error }
        })
        .collect();
    let first = seen.exchange.as_ref().map(|exchange| &exchange.response);
    let says_close = first.is_some_and(|it| it.is_complete && it.says_close());
    KeepAliveReport {
        promised_seconds: first.and_then(Response::promised_seconds),
        requests_per_connection: if says_close {
            Some(1)
        } else {
            seen.kept
                .iter()
                .filter(|kept| matches!(kept.end, KeptEnd::SaidClose | KeptEnd::RequestLost))
                .map(|kept| kept.requests)
                .min()
        },
        connections,
        not_measured: seen.not_kept.map(ToOwned::to_owned),
    }
}

fn notes(plan: &Plan, seen: &Observations) -> Vec<String> {
    let mut notes = Vec::new();
    if !seen.other_addresses.is_empty() {
        let number = seen.other_addresses.len();
        notes.push(format!("Of {} addresses of the name only this one was probed.", number + 1));
    }
    if seen.speaks == Some(OtherProtocol::Tls) {
        notes.push("Probe the port with https:// to see its responses.".to_owned());
    }
    if seen.speaks == Some(OtherProtocol::Plaintext) {
        notes.push("Probe the port with http:// to see its responses.".to_owned());
    }
    let Some(exchange) = &seen.exchange else { return notes };
    let response = &exchange.response;
    match response.status {
        Some(300..=399) if response.header("location").is_some() => {
            notes.push("The redirect was not followed; a load balancer passes it on.".to_owned());
        }
        Some(status @ 500..=599) if status != 502 => {
            notes.push(format!("A load balancer passes the {status} on as it is."));
        }
        _ => {}
    }
    if MAX_BODY <= response.body_bytes && !response.is_complete {
        notes.push("Of the body 2 MB were read; what follows was not looked at.".to_owned());
    }
    if exchange.ended == Ended::TooSlow {
        notes.push(format!(
            "The response was still coming after {}; the rest was not read.",
            crate::numbers::seconds(exchange.seconds)
        ));
    }
    if response.is_complete && response.says_close() {
        notes.push(
            "The target closes the connection after each response and says so: no keep-alive race, but \
             every request needs a new connection."
                .to_owned(),
        );
    }
    for kept in &seen.kept {
        if let KeptEnd::Failed(error) = &kept.end {
            notes.push(format!(
                "Another connection failed after {}: {error}.",
                crate::numbers::plural(kept.requests.into(), "request")
            ));
        }
    }
    if !plan.request.is_repeatable() && !seen.kept.is_empty() {
        notes.push(format!(
            "{} may change something on the target: it was sent once, so only one connection was held.",
            plan.request.method
        ));
    }
    notes
}

fn summary(report: &Report) -> String {
    let target = &report.target;
    let what = format!("{} {} on {}", target.method, target.path, report.place());
    match report.findings.first() {
        None if !report.response.as_ref().is_some_and(|it| it.body_read_to_end) => {
            format!(
                "Nothing that a load balancer objects to in what was read of the answer to {what}."
            )
        }
        None => {
            let is_held = report.keep_alive.connections.iter().any(|it| it.outcome == "open");
            let measured = if is_held {
                ", and the target kept idle connections for longer than the load balancer does"
            } else {
                ""
            };
            format!(
                "Nothing that a load balancer objects to: {what} was answered validly{measured}."
            )
        }
        Some(first) => {
            let title = CAUSES
                .iter()
                .find(|cause| cause.id == first.cause)
                .map_or(first.cause, |cause| cause.title);
            let would_be = match (first.would_be, first.certainty) {
                (WouldBe::Nothing, _) => "no 502".to_owned(),
                (status, Certainty::Possible) => format!("perhaps a {}", status.as_str()),
                (status, _) => format!("would be a {}", status.as_str()),
            };
            format!("{title} ({}, {would_be}). Probed: {what}.", first.cause)
        }
    }
}

impl Report {
    /// Address and port.
    pub(super) fn place(&self) -> String {
        let target = &self.target;
        if target.address.contains(':') {
            format!("[{}]:{}", target.address, target.port)
        } else {
            format!("{}:{}", target.address, target.port)
        }
    }
}
