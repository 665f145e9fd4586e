//! draining-early-close: a target that is taken out of service quits before its requests end.
//!
//! Closed and refused connections on targets that then disappear while new ones arrive.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html>

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature, evidence::TargetEvidence},
    diagnosis::{Case, Confidence, Fix, Statement, TargetState},
    numbers::plural,
};

pub(super) const CAUSE: Cause = Cause {
    id: "draining-early-close",
    title: "Targets quit while they are being taken out of service",
    why_healthy: Some(
        "The targets that fail are on their way out; the health check sees those that stay.",
    ),
    claim,
    explain,
};

/// Nodes learn of a deregistration within seconds; what is refused for longer is a dead process.
const PROPAGATION_MICROS: i64 = 15_000_000;

fn claim(case: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    if !matches!(
        row.signature,
        Signature::NotConnected | Signature::ClosedEarly | Signature::ClosedLate
    ) {
        return None;
    }
    let name = row.target.as_ref()?;
    let target = case.target(name)?;
    // What AWS says of the target is enough; the log must show that it left while new ones came.
    let is_replaced = match case.target_state(name) {
        Some(state) => state.is_leaving(),
        None => {
            let replaced = case.patterns.arrived.iter().any(|arrived| arrived != name);
            replaced && (case.patterns.left.contains(name) || leaves_as_others_did(case, target))
        }
    };
    // Only what fails around the last answer belongs to the end of the target.
    let last = target.last_success?;
    let near_the_end = last - PROPAGATION_MICROS <= row.time
        // A target that answers again was restarted, not taken out.
        && target.last_failure.is_some_and(|failure| last <= failure)
        && target.last_seen <= last + PROPAGATION_MICROS;
    (is_replaced && near_the_end).then(|| Strength::Strong.into())
}

/// The last of several targets that are replaced has not been silent for long when the log ends.
fn leaves_as_others_did(case: &Case<'_>, target: &TargetEvidence) -> bool {
    let answers_again = target.last_success > target.first_failure;
    !case.patterns.left.is_empty()
        && !answers_again
        && PROPAGATION_MICROS <= case.evidence.span.end - target.last_seen
}

/// `1 request was`, `5 requests were`.
fn were(number: u64, what: &str) -> String {
    format!("{} {}", plural(number, what), if number == 1 { "was" } else { "were" })
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let known = claimed.targets().iter().all(|(name, _)| {
        // Only draining is the load balancer's own doing; a target that is gone may have crashed.
        case.target_state(name) == Some(TargetState::Registered("draining".to_owned()))
    });
    let refused = claimed.rows_where(|row| row.signature == Signature::NotConnected);
    let mut said = Explanation::new(if known {
        Confidence::High
    } else if refused == 0 {
        // Nothing was sent to them after they quit: then the load balancer may have cut, or a crash.
        Confidence::Low
    } else {
        Confidence::Medium
    });
    said.evidence
        .push(words::of_failures(claimed, "on targets that answered nothing more after that."));
    let targets: Vec<&str> = claimed.targets().iter().map(|(name, _)| *name).take(4).collect();
    said.evidence.push(Statement::new(format!(
        "{} on the way out: {}{}; {}.",
        plural(claimed.targets().len() as u64, "target"),
        targets.join(", "),
        if targets.len() < claimed.targets().len() { " and others" } else { "" },
        match case.patterns.arrived.len() as u64 {
            0 => "no new one appeared in the log".to_owned(),
            new => format!("{} appeared", plural(new, "new target")),
        }
    )));
    said.evidence.push(Statement::counted(
        refused,
        claimed.at_hand(),
        format!(
            "{}: the process had quit while nodes still sent it requests.",
            match (refused, claimed.at_hand() - refused) {
                (0, closed) => format!("{} closed", were(closed, "request")),
                (refused, 0) => format!("{} refused", were(refused, "connection")),
                (refused, closed) => format!(
                    "{} refused and {} closed",
                    were(refused, "connection"),
                    were(closed, "request")
                ),
            }
        ),
    ));
    if !known {
        said.against.push(Statement::new(if case.patterns.arrived.is_empty() {
            "AWS was not seen to drain them: targets that died first, and were taken out then, look the \
             same."
        } else {
            "AWS was not seen to drain them: a crash with a replacement looks the same."
        }));
    }
    said.fixes.push(Fix::new(
        "Deregister first, then wait, then stop: a preStop sleep of 15 to 70 s (Kubernetes), a \
         stopTimeout above the longest request (ECS), a lifecycle hook (Auto Scaling).",
    ));
    said.fixes.push(Fix::new(
        "On SIGTERM the process must go on answering until the load balancer has stopped sending: \
         stop accepting only after the deregistration delay.",
    ));
    said.fixes.push(words::show_health(case, "See which targets are draining now."));
    said
}
