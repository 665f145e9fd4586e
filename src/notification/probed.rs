//! What a probe of a target measured, in words.

use crate::{
    diagnosis::probes::{ProbeFigure, ProbeFindingFigure, WouldBe},
    neutralize,
    numbers::seconds,
};

/// `10.0.1.5:8080 at 2026-11-28 12:03 UTC: a valid 200; idle connections closed after 6 s; keepalive-race would
/// be a 502.`
pub(super) fn line(probe: &ProbeFigure) -> String {
    let mut said = vec![answer(probe)];
    said.extend(keep_alive(probe));
    match probe.findings.as_slice() {
        [] => said.push("nothing that a load balancer objects to".to_owned()),
        findings => said.extend(
            findings.iter().map(|it| format!("{} {}", neutralize::plain(&it.cause), would_be(it))),
        ),
    }
    format!(
        "{} at {} UTC: {}.",
        neutralize::plain(&probe.target),
        probe.time.strftime("%Y-%m-%d %H:%M"),
        said.join("; ")
    )
}

/// How far the request came.
pub(super) fn answer(probe: &ProbeFigure) -> String {
    match (probe.connect, probe.tls, probe.status, probe.response_valid) {
        ("refused", ..) => "the connection was refused".to_owned(),
        ("timed-out", ..) => "nothing answered the connection attempt".to_owned(),
        ("unreachable", ..) => "the host could not be reached".to_owned(),
        (_, Some("failed"), ..) => "the TLS handshake failed".to_owned(),
        (_, _, Some(status), Some(true)) => format!("a valid {status}"),
        (_, _, Some(status), _) => format!("a {status} that is incomplete or breaks rules"),
        (_, _, None, _) => "no response with a status".to_owned(),
    }
}

/// What it says of idle connections, if it does.
pub(super) fn keep_alive(probe: &ProbeFigure) -> Option<String> {
    match (probe.keep_alive_seconds, probe.held_seconds) {
        (Some(closed), _) => Some(format!("idle connections closed after {}", seconds(closed))),
        (None, Some(held)) => {
            Some(format!("idle connections held for {}, none closed", seconds(held)))
        }
        (None, None) => None,
    }
}

/// What a client would get.
pub(super) fn would_be(finding: &ProbeFindingFigure) -> &'static str {
    match finding.would_be {
        WouldBe::BadGateway => "would be a 502",
        WouldBe::GatewayTimeout => "would be a 504",
        WouldBe::Nothing => "would be no 502",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::diagnosis::probes::Certainty;

    /// A probe that measured a keep-alive timeout; its names and words are given.
    pub(in crate::notification) fn probe(stranger: &str, words: &str) -> ProbeFigure {
        ProbeFigure {
            target: stranger.to_owned(),
            time: jiff::Timestamp::UNIX_EPOCH,
            method: stranger.to_owned(),
            path: stranger.to_owned(),
            idle_timeout_seconds: 60,
            connect: "connected",
            tls: None,
            status: Some(200),
            response_valid: Some(true),
            keep_alive_seconds: Some(6.0),
            held_seconds: None,
            findings: vec![ProbeFindingFigure {
                cause: "keepalive-race".to_owned(),
                would_be: WouldBe::BadGateway,
                certainty: Certainty::Documented,
                why: words.to_owned(),
            }],
        }
    }

    #[test]
    fn a_probe_is_told_in_a_line() {
        let raced = probe("10.0.1.5:8080", "It closed.");
        assert_eq!(
            line(&raced),
            "10.0.1.5:8080 at 1970-01-01 00:00 UTC: a valid 200; idle connections closed after 6 s; \
             keepalive-race would be a 502."
        );
        let clean = ProbeFigure {
            keep_alive_seconds: None,
            held_seconds: Some(61.0),
            findings: Vec::new(),
            ..raced.clone()
        };
        assert!(line(&clean).ends_with(
            "a valid 200; idle connections held for 61 s, none closed; nothing that a load balancer \
             objects to."
        ));
        let refused =
            ProbeFigure { connect: "refused", status: None, response_valid: None, ..clean.clone() };
        assert_eq!(answer(&refused), "the connection was refused");
        let broken = ProbeFigure { response_valid: Some(false), ..clean };
        assert_eq!(answer(&broken), "a 200 that is incomplete or breaks rules");
    }
}
