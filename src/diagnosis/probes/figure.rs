//! What a probe measured, for machines and for the report.

use serde::Serialize;

use super::{Certainty, Probe, WouldBe, sentences};
use crate::diagnosis::Case;

/// A probe of a target of the incident. Names and texts in it were in a file and may be a stranger's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeFigure {
    /// `ip:port`.
    pub target: String,
    /// When it ran.
    pub time: jiff::Timestamp,
    /// The method of its requests.
    pub method: String,
    /// Their path, without the query.
    pub path: String,
    /// The load balancer's idle timeout as the probe was told it, seconds.
    pub idle_timeout_seconds: u32,
    /// connected, refused, timed-out or unreachable.
    pub connect: &'static str,
    /// established or failed; `None` without TLS.
    pub tls: Option<&'static str>,
    /// The status of the response, when one came.
    pub status: Option<u16>,
    /// Whether the response was complete and broke no rule; `None` without a response.
    pub response_valid: Option<bool>,
    /// After so many idle seconds the target closed a connection: the keep-alive timeout, measured.
    pub keep_alive_seconds: Option<f64>,
    /// So many idle seconds connections were held and the target closed none.
    pub held_seconds: Option<f64>,
    /// What it found, the worst first.
    pub findings: Vec<ProbeFindingFigure>,
}

/// Something that the load balancer would object to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeFindingFigure {
    /// The id of the cause.
    pub cause: String,
    /// What a client of this load balancer would get.
    pub would_be: WouldBe,
    /// How sure that is.
    pub certainty: Certainty,
    /// What was seen and what it leads to.
    pub why: String,
}

impl ProbeFigure {
    /// The figures of a probe of a target of this case.
    pub(in crate::diagnosis) fn of(probe: &Probe, case: &Case<'_>) -> Self {
        let findings = probe.findings.iter().map(|finding| {
            let would_be = probe.would_be_here(finding, case);
            let mut why = sentences(&finding.why);
            if would_be != finding.would_be {
                why.push_str(" But that is longer than this load balancer keeps one.");
            }
            ProbeFindingFigure {
                cause: finding.cause.clone(),
                would_be,
                certainty: finding.certainty,
                why,
            }
        });
        Self {
            target: probe.socket().to_string(),
            time: probe.time,
            method: probe.target.method.clone(),
            path: probe.target.path.clone(),
            idle_timeout_seconds: probe.idle_timeout_seconds,
            connect: probe.connect.outcome.as_str(),
            tls: probe.tls.as_ref().map(|tls| tls.outcome.as_str()),
            status: probe.status(),
            response_valid: probe.response.is_some().then(|| probe.got_valid_response()),
            keep_alive_seconds: probe.keep_alive_seconds,
            held_seconds: probe.held_seconds(),
            findings: findings.collect(),
        }
    }

    /// Every text of a file.
    pub(in crate::diagnosis) fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let whys = self.findings.iter_mut().map(|it| &mut it.why);
        [&mut self.target, &mut self.method, &mut self.path].into_iter().chain(whys)
    }
}
