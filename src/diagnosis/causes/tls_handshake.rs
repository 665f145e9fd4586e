//! tls-handshake: the group speaks HTTPS and the handshake with the target fails.
//!
//! The row looks like a refused connection. The load balancer does not check the target's certificate,
//! so an expired one is no reason; a port that speaks plain HTTP, no common cipher, or a demanded
//! client certificate is. CloudWatch counts failed handshakes apart from refused connections.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

use super::{Cause, Claimed, Explanation, Strength, connect_refused, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{
        Case, Confidence, Fix, Statement, Unconnected,
        command::{Command, Piece, Value},
        covers,
    },
    numbers::{plural, seconds},
};

pub(super) const CAUSE: Cause = Cause {
    id: "tls-handshake",
    title: "The TLS handshake with the target fails",
    why_healthy: Some(
        "The health check has a protocol of its own: with HTTP it never tries the handshake that the \
         requests need.",
    ),
    claim,
    explain,
};

fn claim(case: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    if row.error_reason.as_deref() == Some("HANDSHAKE_TIMEOUT") {
        return Some(Strength::Likely.into());
    }
    if row.signature == Signature::ClosedEarly && closes_after_handshake(case, row) {
        return Some(Strength::Strong.into());
    }
    if row.signature != Signature::NotConnected || case.is_https_group() == Some(false) {
        return None;
    }
    match case.unconnected() {
        // Also when the protocol could not be seen: no other group has such errors.
        Unconnected::Handshake(_) => return Some(Strength::Strong.into()),
        Unconnected::Refused(_) | Unconnected::Neither(_) => return None,
        Unconnected::Open => {}
    }
    if case.is_https_group() != Some(true) {
        return None;
    }
    let target = case.target(row.target.as_deref()?)?;
    // A target that answers over TLS before and after can do the handshake: then it was refused, unless it
    // answers between refusals as well, when its process is there all the time.
    let never = target.successes == 0 && !passes_https_health_check(case);
    (never || connect_refused::is_sporadic(case, target)).then(|| Strength::Strong.into())
}

/// With TLS 1.3 the load balancer has sent the request before the target says that it demands a client
/// certificate: the connection stands, and closes at once, each time (measured).
fn closes_after_handshake(case: &Case<'_>, row: &FailureRow) -> bool {
    const MIN_REQUESTS: u64 = 5;
    let speaks_http1 = case.target_group().is_some_and(|group| {
        group.protocol_version.as_deref().is_none_or(|version| version == "HTTP1")
    });
    let Some(target) = row.target.as_deref().and_then(|name| case.target(name)) else {
        return false;
    };
    case.is_https_group() == Some(true)
        && speaks_http1
        && target.first_success.is_none()
        && MIN_REQUESTS <= target.requests
        && !passes_https_health_check(case)
}

/// The health check does the same handshake on the same port, and passes.
fn passes_https_health_check(case: &Case<'_>) -> bool {
    case.target_group().is_some_and(|group| {
        group.health_check_protocol.as_deref() == Some("HTTPS")
            && group.health_check_port.as_deref() == Some("traffic-port")
    }) && case.all_targets_healthy() == Some(true)
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let undocumented =
        claimed.rows_where(|row| row.error_reason.as_deref() == Some("HANDSHAKE_TIMEOUT"));
    let plain_health_check = case
        .target_group()
        .is_some_and(|group| group.health_check_protocol.as_deref() == Some("HTTP"));
    let healthy = case.all_targets_healthy() == Some(true);
    let unconnected = case.unconnected();
    let mut said = Explanation::new(match unconnected {
        Unconnected::Handshake(errors)
            if errors.is_clear() && covers(errors.tls, claimed.count) =>
        {
            Confidence::High
        }
        Unconnected::Handshake(_) => Confidence::Medium,
        _ if plain_health_check && healthy => Confidence::Medium,
        _ => Confidence::Low,
    });
    if 0 < undocumented {
        said.evidence.push(Statement::counted(
            undocumented,
            claimed.of,
            "error_reason says HANDSHAKE_TIMEOUT. AWS does not document this code; it is taken at \
             its word.",
        ));
    }
    let closed = claimed.rows_where(|row| row.signature == Signature::ClosedEarly);
    if 0 < closed {
        said.evidence.push(Statement::counted(
            closed,
            claimed.at_hand(),
            format!(
                "The target group speaks HTTPS, and {} closed as soon as the request was sent: with \
                 TLS 1.3 a target that demands a client certificate, which the load balancer has not, \
                 looks like this.",
                plural(closed, "connection")
            ),
        ));
    }
    if undocumented + closed < claimed.at_hand() {
        said.evidence.push(words::of_failures(
            claimed,
            "the target group speaks HTTPS, and no connection was established (all three times are \
             -1).",
        ));
    }
    if let Unconnected::Handshake(errors) = unconnected {
        said.evidence.push(Statement::new(errors.sentence()));
    }
    if let Some(median) = claimed.median(|row| row.elapsed) {
        said.evidence.push(Statement::new(format!(
            "They ended after {} (median): something answered, so it is not your security group.",
            seconds(median)
        )));
    }
    said.evidence.extend(words::spread(case, claimed));
    if plain_health_check {
        said.evidence.push(Statement::new(if healthy {
            "The health check speaks HTTP and passes: the process is up."
        } else {
            "The health check speaks HTTP: it never tries the handshake."
        }));
    }
    match unconnected {
        Unconnected::Handshake(errors) => {
            if 0 < errors.refused() {
                said.against.push(Statement::new(format!(
                    "The {} are refused connections, or other attempts that failed: rows cannot be told \
                     apart one by one, and the larger number has them all.",
                    plural(errors.refused(), "connection error")
                )));
            }
            said.against.extend(words::fewer_than_rows(errors.tls, claimed));
        }
        Unconnected::Refused(errors) | Unconnected::Neither(errors) => {
            said.against.push(Statement::new(errors.sentence()));
        }
        Unconnected::Open => said.against.push(Statement::new(format!(
            "A refused connection looks the same in the log; {}",
            case.would_decide()
        ))),
    }
    let command = match words::worst_target(claimed) {
        Some((address, port)) if !address.contains(':') => {
            Command::new("openssl s_client -connect").joined(&[
                Piece::Value(Value::Address(address)),
                Piece::Text(":"),
                Piece::Value(Value::Number(port.into())),
            ])
        }
        _ => Command::new("openssl s_client -connect '<TARGET>:<PORT>'"),
    };
    said.fixes.push(Fix::with(
        "From the VPC, try the handshake: 'wrong version number' means that the port speaks plain \
         HTTP; an alert names a cipher or client certificate.",
        command,
    ));
    said.fixes.push(Fix::new(
        "Make the two agree: a target group with protocol HTTP, or TLS on the target's port. Offer \
         TLS 1.2 with common ciphers and demand no client certificate.",
    ));
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{RankedCause, causes::rank, metrics::Metric, sample_case::SampleCase};

    /// 40 connections to the targets of an HTTPS group that were not established.
    fn unconnected() -> SampleCase {
        let mut sample = SampleCase::failing(Signature::NotConnected, 40);
        sample.without_success();
        sample.write_rows(Signature::NotConnected, 0.004);
        sample.target_group().protocol = Some("HTTPS".to_owned());
        sample
    }

    fn counted(tls: u64, connection: u64) -> SampleCase {
        let mut sample = unconnected();
        sample.count(&[(Metric::TlsErrors, tls), (Metric::ConnectionErrors, connection)]);
        sample
    }

    fn only_cause(sample: &SampleCase) -> RankedCause {
        let ranked = rank(&sample.case());
        let [(_, cause)] = ranked.as_slice() else { panic!("{ranked:?}", ranked = ranked.len()) };
        cause.clone()
    }

    fn texts(list: &[Statement]) -> String {
        list.iter().map(|it| it.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn cloudwatch_decides_between_handshake_and_refusal() {
        use Confidence::{High, Medium};
        for (tls, connection, id, confidence, evidence, against) in [
            (
                40,
                0,
                "tls-handshake",
                High,
                "counted 40 TLS negotiation errors and no connection",
                "",
            ),
            (0, 40, "connect-refused", High, "no TLS negotiation errors and 40 connection", ""),
            // Rows of other nodes are not at hand.
            (412, 0, "tls-handshake", High, "412 TLS negotiation errors", ""),
            (0, 412, "connect-refused", High, "412 connection errors", ""),
            // Some of either: the larger number has the rows, and the other is named.
            (30, 10, "tls-handshake", Medium, "30 TLS negotiation", "The 10 connection errors are"),
            (
                10,
                30,
                "connect-refused",
                Medium,
                "30 connection",
                "The 10 TLS negotiation errors are",
            ),
            (400, 1, "tls-handshake", High, "400 TLS", "The 1 connection error"),
            // Fewer than rows: not all of them are explained.
            (5, 0, "tls-handshake", Medium, "5 TLS", "fewer than the 40 rows"),
            (0, 5, "connect-refused", Medium, "5 connection", "fewer than the 40 rows"),
            // Neither: the rows look refused, and CloudWatch says no.
            (0, 0, "connect-refused", Medium, "", "no TLS negotiation errors and no conn"),
        ] {
            let cause = only_cause(&counted(tls, connection));
            let name = format!("{tls} TLS, {connection} connection: {cause:#?}");
            assert_eq!((cause.id.as_str(), cause.confidence), (id, confidence), "{name}");
            assert!(texts(&cause.evidence).contains(evidence), "{name}");
            assert!(texts(&cause.against).contains(against), "{name}");
            assert!(!texts(&cause.against).contains("would decide"), "{name}");
        }
    }

    #[test]
    fn unknown_metrics_change_nothing_and_say_what_would_decide() {
        let mut sample = unconnected();
        let by_rows = only_cause(&sample);
        assert_eq!(
            (by_rows.id.as_str(), by_rows.confidence),
            ("tls-handshake", Confidence::Medium)
        );
        let mut gap = sample.facts.metrics.gap().unwrap().clone();
        for (reason, permission, said) in [
            (
                "access denied",
                Some("cloudwatch:GetMetricData"),
                "(needs cloudwatch:GetMetricData).",
            ),
            ("neither --live nor --snapshot was given", None, "(--live asks for it)."),
            ("throttled by AWS, also after retries", None, "would decide."),
        ] {
            gap.reason = reason.to_owned();
            gap.permission = permission.map(ToOwned::to_owned);
            sample.facts.metrics = crate::diagnosis::Fact::Unknown(gap.clone());
            let cause = only_cause(&sample);
            assert!(texts(&cause.against).contains(said), "{}", texts(&cause.against));
            assert_eq!(cause.evidence, by_rows.evidence);
        }
        // One of the two decides nothing.
        sample.count_only(&[(Metric::ConnectionErrors, 40)]);
        assert_eq!(only_cause(&sample).confidence, Confidence::Medium);
    }

    #[test]
    fn no_other_group_than_one_of_https_has_tls_errors() {
        let mut sample = counted(40, 0);
        sample.facts.target_group = SampleCase::missing("target group");
        assert_eq!(only_cause(&sample).id, "tls-handshake");
        let mut sample = counted(40, 40);
        sample.target_group().protocol = Some("HTTP".to_owned());
        assert_eq!(only_cause(&sample).id, "connect-refused");
    }
}
