//! What `alb502 probe` saw of the targets, as evidence: `alb502 diagnose --probe probe.json`.
//!
//! A probe is of one target, one path and one moment, which may be after the incident. So it supports a
//! cause or speaks against it; it never claims a row. A measured keep-alive timeout is the one exception:
//! it beats the one that is inferred from the rows, and a disagreement is said.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use super::{
    Case, Confidence, RankedCause, Statement,
    causes::{Cause, Explanation},
    network::socket_address,
};
use crate::{neutralize, numbers::seconds};

/// The version of the report that is understood.
const SCHEMA_VERSION: &str = "1";

/// The part of a probe's report that a diagnosis reads. Names that are not known are passed over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Probe {
    schema_version: String,
    /// When it ran.
    pub time: jiff::Timestamp,
    /// Whom it asked for what.
    pub target: ProbedTarget,
    connect: Outcome,
    tls: Option<Outcome>,
    response: Option<ProbedResponse>,
    /// After so many idle seconds the target closed a connection.
    pub keep_alive_seconds: Option<f64>,
    #[serde(default)]
    keep_alive: ProbedKeepAlive,
    #[serde(default)]
    findings: Vec<ProbeFinding>,
}

/// The target of a probe.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ProbedTarget {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    method: String,
    path: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Outcome {
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ProbedResponse {
    status: Option<u16>,
    body_read_to_end: bool,
    #[serde(default)]
    violations: Vec<ProbedViolation>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ProbedViolation {
    cause: String,
    text: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct ProbedKeepAlive {
    #[serde(default)]
    connections: Vec<ProbedConnection>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ProbedConnection {
    outcome: String,
    idle_seconds: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ProbeFinding {
    cause: String,
    would_be: String,
    why: String,
}

impl Probe {
    /// The reports in a text, one after the other.
    ///
    /// # Errors
    /// When there is none, or one that is no report of a version that is understood: says why.
    pub fn parse(text: &str) -> Result<Vec<Self>, String> {
        let probes: Vec<Self> = serde_json::Deserializer::from_str(text)
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(|error| format!(
                    "no report of a probe ({error}); `alb502 probe --format json` prints what belongs there"
                ))?;
        if probes.is_empty() {
            return Err(
                "it is empty; `alb502 probe --format json` prints what belongs there".to_owned()
            );
        }
        match probes.iter().find(|probe| probe.schema_version != SCHEMA_VERSION) {
            Some(probe) => Err(format!(
                "schema_version {} is not known, only {SCHEMA_VERSION}; probe again with this version of \
                 alb502",
                neutralize::plain(&probe.schema_version)
            )),
            None => Ok(probes),
        }
    }

    /// Address and port.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.target.address, self.target.port)
    }

    /// `A probe at 12:03 UTC of 10.0.1.5:8080 (GET /health)`.
    fn named(&self) -> String {
        format!(
            "A probe at {} UTC of {} ({} {})",
            self.time.strftime("%H:%M"),
            self.socket(),
            neutralize::plain(&self.target.method),
            neutralize::plain(&self.target.path)
        )
    }

    /// So long idle connections stayed open, when none was closed.
    fn held_seconds(&self) -> Option<f64> {
        let connections = &self.keep_alive.connections;
        let all_open = connections.iter().all(|it| it.outcome == "open");
        let shortest = connections.iter().filter_map(|it| it.idle_seconds).reduce(f64::min)?;
        (all_open && self.keep_alive_seconds.is_none()).then_some(shortest)
    }

    /// Why it speaks against a cause, if it does.
    fn against(&self, cause: &str) -> Option<String> {
        let status = self.response.as_ref().and_then(|response| response.status);
        let was_valid = self.response.as_ref().is_some_and(|it| {
            it.body_read_to_end && it.status.is_some() && it.violations.is_empty()
        });
        let is_connected = self.connect.outcome == "connected";
        let has_tls = self.tls.as_ref().is_some_and(|tls| tls.outcome == "established");
        match cause {
            "connect-refused" | "connect-timeout" | "blocked-port" | "host-unreachable" => {
                is_connected.then(|| "could connect, from where it ran".to_owned())
            }
            "tls-handshake" => {
                (has_tls && was_valid).then(|| "got through the TLS handshake".to_owned())
            }
            "protocol-mismatch" => was_valid.then(|| {
                format!("got a valid response over {}", if has_tls { "TLS" } else { "plaintext" })
            }),
            "malformed-response" | "oversized-headers" | "closed-mid-request"
            | "worker-timeout" | "idle-timeout" => {
                was_valid.then(|| "got a complete and valid response".to_owned())
            }
            "target-generated" => {
                status.filter(|status| *status != 502).map(|status| format!("got {status}"))
            }
            "keepalive-race" => self.held_seconds().map(|held| {
                format!(
                    "held idle connections for {}, and the target closed none of them",
                    seconds(held)
                )
            }),
            _ => None,
        }
    }
}

impl Case<'_> {
    /// The probes of targets of this incident.
    pub fn probes(&self) -> impl Iterator<Item = &Probe> {
        self.facts.probes.iter().filter(|probe| {
            let socket = probe.socket();
            self.evidence
                .targets
                .iter()
                .any(|target| socket_address(&target.target) == Some(socket))
        })
    }

    /// The shortest keep-alive timeout that a probe measured, with its probe in words.
    pub fn probed_keep_alive(&self) -> Option<(f64, String)> {
        self.probes()
            .filter_map(|probe| Some((probe.keep_alive_seconds?, probe)))
            .reduce(|first, other| if other.0 < first.0 { other } else { first })
            .map(|(measured, probe)| (measured, lower_first(&probe.named())))
    }

    /// What the probes say about the format of responses: broken rules, and the valid responses.
    pub fn probed_formats(&self) -> (Vec<String>, Vec<String>) {
        let (mut broken, mut valid) = (Vec::new(), Vec::new());
        for probe in self.probes() {
            let Some(response) = &probe.response else { continue };
            let of_format = |it: &&ProbedViolation| {
                matches!(it.cause.as_str(), "malformed-response" | "oversized-headers")
            };
            let texts: Vec<String> = response
                .violations
                .iter()
                .filter(of_format)
                .take(3)
                .map(|violation| sentences(&violation.text))
                .collect();
            if !texts.is_empty() {
                broken.push(format!("{} found: {}", probe.named(), texts.join(" ")));
            } else if probe.against("malformed-response").is_some() {
                valid.push(format!("{} got a valid response.", probe.named()));
            }
        }
        (broken, valid)
    }
}

/// Adds what the probes say for and against a cause. A finding of the same cause makes it more certain by a
/// step, the measured opposite of a keep-alive race less.
pub(super) fn weigh(case: &Case<'_>, cause: &str, said: &mut Explanation) {
    let mut is_found = false;
    for probe in case.probes() {
        let same = |finding: &&ProbeFinding| {
            let is_blocked = cause == "blocked-port" && finding.cause == "connect-timeout";
            (finding.cause == cause || is_blocked) && finding.would_be != "none"
        };
        if let Some(finding) = probe.findings.iter().find(same) {
            is_found = true;
            said.evidence.push(Statement::new(format!(
                "{} shows it: {}",
                probe.named(),
                sentences(&finding.why)
            )));
        } else if let Some(why) = probe.against(cause) {
            said.against.push(Statement::new(format!("{} {why}.", probe.named())));
            if cause == "keepalive-race" && !is_found {
                said.confidence = less(said.confidence);
            }
        }
    }
    if is_found {
        said.confidence = more(said.confidence);
    }
}

/// Adds to the leading cause what the probes found that no row was taken for.
pub(super) fn tell_others(case: &Case<'_>, ranked: &mut [(&'static Cause, RankedCause)]) {
    let known: Vec<String> = ranked.iter().map(|(_, cause)| cause.id.clone()).collect();
    let Some((_, leading)) = ranked.first_mut() else { return };
    for probe in case.probes() {
        for finding in probe.findings.iter().filter(|finding| finding.would_be != "none") {
            let is_told = known.contains(&finding.cause)
                || (finding.cause == "connect-timeout"
                    && known.iter().any(|id| id == "blocked-port"));
            if !is_told {
                leading.against.push(Statement::new(format!(
                    "{} found something else, {}: {}",
                    probe.named(),
                    neutralize::plain(&finding.cause),
                    sentences(&finding.why)
                )));
            }
        }
    }
}

/// A text of a report, whose values are harmless already but which may have been edited.
fn sentences(text: &str) -> String {
    const MAX_CHARS: usize = 400;
    neutralize::cut(&neutralize::line(text), MAX_CHARS)
}

fn lower_first(text: &str) -> String {
    text.strip_prefix("A ").map_or_else(|| text.to_owned(), |rest| format!("a {rest}"))
}

fn more(confidence: Confidence) -> Confidence {
    match confidence {
        Confidence::Low => Confidence::Medium,
        Confidence::Medium | Confidence::High => Confidence::High,
    }
}

fn less(confidence: Confidence) -> Confidence {
    match confidence {
        Confidence::High => Confidence::Medium,
        Confidence::Medium | Confidence::Low => Confidence::Low,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::{detection::Signature, diagnosis::sample_case::SampleCase};

    /// A clean report of a probe of an address, changed.
    pub(in crate::diagnosis) fn probes(
        address: &str,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> Vec<Probe> {
        let mut report = json!({
            "schema_version": "1", "tool_version": "9", "time": "2026-11-28T12:03:10Z",
            "target": {"address": address, "port": 8080, "method": "GET", "path": "/health", "new": 1},
            "idle_timeout_seconds": 60, "connect": {"outcome": "connected", "seconds": 0.001},
            "tls": null,
            "response": {"status": 200, "body_read_to_end": true, "violations": []},
            "keep_alive_seconds": null,
            "keep_alive": {"connections": [{"outcome": "open", "idle_seconds": 61.0}]},
            "findings": []
        });
        change(&mut report);
        Probe::parse(&report.to_string()).unwrap()
    }

    fn finding(cause: &str, would_be: &str) -> impl FnOnce(&mut serde_json::Value) {
        let finding = json!({"cause": cause, "would_be": would_be, "why": "It was seen."});
        move |report| report["findings"] = json!([finding])
    }

    fn weighed(probes: Vec<Probe>, cause: &str) -> Explanation {
        let mut sample = SampleCase::failing(Signature::ClosedEarly, 8);
        sample.facts.probes = probes;
        let mut said = Explanation::new(Confidence::Medium);
        weigh(&sample.case(), cause, &mut said);
        said
    }

    #[test]
    fn a_finding_supports_its_cause() {
        let said = weighed(
            probes("10.0.11.5", finding("malformed-response", "502")),
            "malformed-response",
        );
        assert_eq!(
            said.evidence[0].text,
            "A probe at 12:03 UTC of 10.0.11.5:8080 (GET /health) shows it: It was seen."
        );
        assert_eq!(said.confidence, Confidence::High);
        assert!(said.against.is_empty());
    }

    #[test]
    fn almost_a_finding_supports_nothing() {
        let other = weighed(probes("10.0.11.5", finding("tls-handshake", "502")), "keepalive-race");
        let harmless =
            weighed(probes("10.0.11.5", finding("protocol-mismatch", "none")), "protocol-mismatch");
        let elsewhere = weighed(
            probes("10.0.99.9", finding("malformed-response", "502")),
            "malformed-response",
        );
        for said in [other, harmless, elsewhere.clone()] {
            assert!(said.evidence.is_empty(), "{said:?}");
        }
        assert_eq!(elsewhere, Explanation::new(Confidence::Medium));
    }

    #[test]
    fn a_clean_probe_speaks_against() {
        for (cause, words) in [
            ("malformed-response", "got a complete and valid response"),
            ("oversized-headers", "got a complete and valid response"),
            ("protocol-mismatch", "got a valid response over plaintext"),
            ("connect-refused", "could connect, from where it ran"),
            ("target-generated", "got 200"),
        ] {
            let said = weighed(probes("10.0.11.5", |_| ()), cause);
            assert!(said.against[0].text.contains(words), "{cause}: {said:?}");
            assert_eq!(said.confidence, Confidence::Medium, "{cause}");
        }
        let said = weighed(probes("10.0.11.5", |_| ()), "keepalive-race");
        assert!(said.against[0].text.contains("held idle connections for 61 s"));
        assert_eq!(said.confidence, Confidence::Low);
        let closed = probes("10.0.11.5", |report| {
            report["keep_alive"]["connections"][0]["outcome"] = "closed".into();
        });
        assert!(weighed(closed, "keepalive-race").against.is_empty());
        assert!(weighed(probes("10.0.11.5", |_| ()), "deregistration").against.is_empty());
    }

    #[test]
    fn a_file_that_is_no_report_says_so() {
        for (text, why) in [
            ("", "it is empty"),
            ("{}", "no report of a probe"),
            ("not json", "`alb502 probe --format json` prints"),
        ] {
            assert!(Probe::parse(text).unwrap_err().contains(why), "{text}");
        }
        let report = json!({
            "schema_version": "2", "time": "2026-11-28T12:03:10Z",
            "target": {"address": "::1", "port": 80, "method": "GET", "path": "/"},
            "connect": {"outcome": "refused"}
        });
        assert!(Probe::parse(&report.to_string()).unwrap_err().contains("schema_version 2"));
        let two = report.to_string().replace("\"2\"", "\"1\"").repeat(2);
        assert_eq!(Probe::parse(&two).unwrap().len(), 2);
    }
}
