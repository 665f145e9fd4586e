//! blocked-port: a network rule drops the load balancer's attempts to connect.
//!
//! A dropped packet is never answered: after 10 seconds the load balancer gives up with a 504, not a
//! 502.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{Case, Confidence, Fix, Statement, checks, command::Command, network::Verdict},
    numbers::plural,
};

pub(super) const CAUSE: Cause = Cause {
    id: "blocked-port",
    title: "A network rule drops the load balancer's connections to the target port",
    why_healthy: Some(
        "A port that the health check does not ask can be closed while the one that it asks is open.",
    ),
    claim,
    explain,
};

/// The checks that look for a rule that drops the packets.
const NETWORK_CHECKS: [&str; 3] = [
    "security-group-allows-traffic",
    "load-balancer-egress-allows-targets",
    "network-acl-allows-traffic",
];

fn claim(case: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    if row.signature != Signature::ConnectTimeout {
        return None;
    }
    match way_to(case, row) {
        Way::Blocked => Some(Strength::Strong.into()),
        Way::Partial => Some(Strength::Likely.into()),
        Way::Open => None,
        // Nothing is known of the rules: only the form of the rows speaks.
        Way::Unknown => outlives_health_check(case, row).then(|| Strength::Likely.into()),
    }
}

/// A dead host is taken out of service after the failed health checks: two in a row, thirty seconds
/// apart by default. What lasts twice as long is not seen by the health check.
const HEALTH_CHECK_MICROS: i64 = 120_000_000;

/// True when the target of the row gets requests for longer than a health check needs to notice a
/// dead host, and answers none of them.
fn outlives_health_check(case: &Case<'_>, row: &FailureRow) -> bool {
    let Some(target) = row.target.as_deref().and_then(|name| case.target(name)) else {
        return false;
    };
    let (Some(first), Some(last)) = (target.first_failure, target.last_failure) else {
        return false;
    };
    let answered_since = target.last_success.is_some_and(|success| first < success);
    HEALTH_CHECK_MICROS <= last - first && !answered_since
}

/// What the rules say of the way from the load balancer to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A rule drops every packet.
    Blocked,
    /// A rule drops those of some nodes.
    Partial,
    /// Every rule lets them through.
    Open,
    /// It could not be evaluated.
    Unknown,
}

/// The way to the target of a row.
pub(super) fn way_to(case: &Case<'_>, row: &FailureRow) -> Way {
    let network = case.patterns.network(case);
    let Some(route) = row.target.as_deref().and_then(|target| network.to(target)) else {
        return Way::Unknown;
    };
    match route.overall() {
        Verdict::Blocked(_) => Way::Blocked,
        Verdict::Partial(_) => Way::Partial,
        Verdict::Allowed(_) => Way::Open,
        Verdict::Unknown(_) => Way::Unknown,
    }
}

fn failed_network_checks(case: &Case<'_>) -> Vec<(&'static str, checks::Finding)> {
    checks::CHECKS
        .iter()
        .filter(|check| NETWORK_CHECKS.contains(&check.id))
        .map(|check| (check.id, (check.run)(case)))
        .filter(|(_, finding)| finding.outcome == checks::Outcome::Fail)
        .collect()
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let blocked = claimed.rows_where(|row| way_to(case, row) == Way::Blocked);
    let known = claimed.rows_where(|row| way_to(case, row) != Way::Unknown);
    // A check that fails for other targets than these proves nothing here.
    let failed = if 0 < known { failed_network_checks(case) } else { Vec::new() };
    let served = words::successes_of_targets(case, claimed);
    let confidence = match (failed.is_empty(), served) {
        (true, _) => Confidence::Low,
        (false, 0) if blocked == claimed.at_hand() => Confidence::High,
        (false, _) => Confidence::Medium,
    };
    let mut said = Explanation::new(confidence);
    said.evidence.push(words::of_failures(
        claimed,
        "504 after the connect timeout of 10 s (all three times are -1): nothing answered, as when packets are \
         dropped.",
    ));
    said.evidence.extend(words::spread(case, claimed));
    for (_, finding) in &failed {
        said.evidence.push(Statement::new(finding.summary.clone()));
    }
    if failed.is_empty() {
        said.evidence.push(Statement::new(
            "It lasts longer than a health check would need to take a dead host out of service.",
        ));
        said.against.push(Statement::new(
            "The security groups could not be looked at; a dead host or a firewall on it looks the same.",
        ));
    }
    let partial = claimed.rows_where(|row| way_to(case, row) == Way::Partial);
    if 0 < served && partial == claimed.at_hand() {
        said.evidence.push(Statement::new(format!(
            "The same targets answered {} within the incident: what came from the other load-balancer \
             subnets passes.",
            plural(served, "request")
        )));
    } else if 0 < served {
        said.against.push(Statement::new(format!(
            "The same targets answered {} within the incident, over connections that stood before or \
             through another rule.",
            plural(served, "request")
        )));
    }
    for (_, finding) in failed {
        if let Some(command) = finding.fix_command {
            said.fixes.push(Fix::with("Allow the traffic port from the load balancer.", command));
        }
    }
    if said.fixes.is_empty() {
        said.fixes.push(words::show_health(
            case,
            "See which targets are registered, on which port, and on which port their health is checked.",
        ));
        said.fixes.push(Fix::with(
            "Then look at the security groups of these targets: the traffic port must be open to the \
             load balancer's security group, not only the health-check port.",
            Command::new("aws ec2 describe-security-groups --group-ids '<GROUP ID>'")
                .words("--query 'SecurityGroups[*].IpPermissions'")
                .region(case.region()),
        ));
    }
    said
}
