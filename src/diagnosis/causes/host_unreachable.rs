//! host-unreachable: the network says that there is no such host.
//!
//! `-1 -1 -1` and a 502 after one to some seconds: address resolution failed (about three seconds on
//! Linux) or a router answered with ICMP.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{Case, Confidence, Fix, Statement},
    numbers::seconds,
};

pub(super) const CAUSE: Cause = Cause {
    id: "host-unreachable",
    title: "The network cannot reach the target's host",
    why_healthy: None,
    claim,
    explain,
};

fn claim(case: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    if row.signature == Signature::Unreachable {
        return Some(Strength::Likely.into());
    }
    // Attempts that wait for the same address fail at the same time, however long each has waited: quick
    // ones belong to it, on a target that does not answer meanwhile.
    let target = case.target(row.target.as_deref()?)?;
    let slow = target.of(Signature::Unreachable);
    let silent = target.last_success <= target.first_failure;
    let belongs = row.signature == Signature::NotConnected
        && 2 <= slow
        && target.of(Signature::NotConnected) <= 4 * slow
        && silent;
    belongs.then(|| Strength::Strong.into())
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let mut said = Explanation::new(Confidence::Medium);
    said.evidence.push(words::of_failures(
        claimed,
        "the connection was never established (all three times are -1), and the network gave up before the 10 s of the \
         connect timeout.",
    ));
    if let Some(median) = claimed.median(|row| row.elapsed) {
        said.evidence.push(Statement::new(format!(
            "It took {} (median): a refusal takes milliseconds, a dropped packet 10 s; a host whose \
             address nobody answers for takes about 3 s.",
            seconds(median)
        )));
    }
    said.evidence.extend(words::spread(case, claimed));
    said.against.push(Statement::new(
        "A TLS handshake or a process that resets connections only after seconds looks the same.",
    ));
    said.fixes
        .push(words::show_health(case, "See whether the target is still registered and why."));
    said.fixes.push(Fix::new(
        "Is the host still there (terminated instance, replaced task, on-premises route)? Deregister \
         addresses that are gone.",
    ));
    said
}
