//! tls-handshake: the group speaks HTTPS and the handshake with the target fails.
//!
//! The row looks like a refused connection. The load balancer does not check the target's certificate,
//! so an expired one is no reason; a port that speaks plain HTTP, no common cipher, or a demanded
//! client certificate is.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{
        Case, Confidence, Fix, Statement,
        command::{Command, Piece, Value},
    },
    numbers::seconds,
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
    if row.signature != Signature::NotConnected || case.is_https_group() != Some(true) {
        return None;
    }
    let target = case.target(row.target.as_deref()?)?;
    // A target that answers over TLS in between can do the handshake: then it was refused.
    (target.successes == 0 && !passes_https_health_check(case)).then(|| Strength::Strong.into())
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
    let mut said = Explanation::new(if plain_health_check && healthy {
        Confidence::Medium
    } else {
        Confidence::Low
    });
    if 0 < undocumented {
        said.evidence.push(Statement::counted(
            undocumented,
            claimed.of,
            "error_reason says HANDSHAKE_TIMEOUT. AWS does not document this code; it is taken at \
             its word.",
        ));
    }
    if undocumented < claimed.at_hand() {
        said.evidence.push(words::of_failures(
            claimed,
            "the target group speaks HTTPS, and no connection was established (-1 -1 -1).",
        ));
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
    said.against.push(Statement::new(
        "A refused connection looks the same in the log; TargetTLSNegotiationErrorCount above zero \
         in CloudWatch would decide.",
    ));
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
