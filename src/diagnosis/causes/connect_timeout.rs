//! connect-timeout: no answer to the attempt to connect, and no rule found that drops it.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

use super::{Cause, Claimed, Explanation, Strength, blocked_port, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{Case, Confidence, Fix, Statement},
    numbers::plural,
};

pub(super) const CAUSE: Cause = Cause {
    id: "connect-timeout",
    title: "The target does not answer the attempt to connect within 10 s",
    why_healthy: None,
    claim,
    explain,
};

fn claim(_: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    (row.signature == Signature::ConnectTimeout).then(|| Strength::Possible.into())
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let open = claimed.rows_where(|row| blocked_port::way_to(case, row) == blocked_port::Way::Open);
    let looked_at_rules = open == claimed.at_hand();
    let mut said = Explanation::new(match () {
        // Nothing answers, and no rule of AWS drops it: what is left is the host.
        () if looked_at_rules
            && 5 <= claimed.count
            && case.is_https_group() != Some(true)
            && !case.facts_are_stale() =>
        {
            Confidence::High
        }
        () if looked_at_rules => Confidence::Medium,
        () => Confidence::Low,
    });
    said.evidence.push(words::of_failures(
        claimed,
        "504 after the connect timeout of 10 s (all three times are -1): nothing answered the attempt to connect.",
    ));
    said.evidence.extend(words::spread(case, claimed));
    let served = words::successes_of_targets(case, claimed);
    let one_node = words::one_node(case, claimed).is_some() && 0 < served;
    if one_node {
        said.evidence.push(Statement::new(format!(
            "The same targets answered {} meanwhile: the hosts are up, and it is the way from this node to \
             them.",
            plural(served, "request")
        )));
    }
    let since = claimed
        .targets()
        .iter()
        .filter_map(|(name, _)| case.target(name))
        .filter(|target| {
            target.first_failure.is_some() && target.first_failure < target.last_success
        })
        .count() as u64;
    if 0 < since {
        said.evidence.push(Statement::new(format!(
            "{} answered again after the first failure: the port is not blocked for good.",
            plural(since, "target")
        )));
    }
    if looked_at_rules {
        said.evidence
            .push(Statement::new("Security groups and network ACLs let the packets through."));
        if case.facts_are_stale() {
            said.against.push(Statement::new(
                "They were read at another time than that of the incident, and may have been others then.",
            ));
        }
    } else {
        said.against.push(Statement::new(
            "Security groups and network ACLs could not be evaluated for these targets: one of them may drop \
             the packets.",
        ));
    }
    if case.is_https_group() == Some(true) {
        said.against.push(Statement::new(
            "The group speaks HTTPS: a TLS handshake that takes 10 s looks the same.",
        ));
    }
    if one_node {
        said.fixes.push(Fix::new(
            "Look at the way between the subnet of this node and the targets: route tables, a peering or \
             firewall appliance in between, and rules of the hosts' own firewall by source address.",
        ));
        return said;
    }
    said.fixes.push(words::show_health(
        case,
        "See which targets AWS finds unhealthy, and why (Target.Timeout: no answer to it either).",
    ));
    said.fixes.push(Fix::new(
        "Look at the host: is it up, does a firewall on it drop packets, is the listen backlog full?",
    ));
    said
}
