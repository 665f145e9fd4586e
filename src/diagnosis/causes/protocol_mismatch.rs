//! protocol-mismatch: the load balancer speaks a protocol that the target's port does not.
//!
//! Plain HTTP to a TLS-only port: Node and other OpenSSL servers close at once, so every request is a
//! 502 (measured); nginx and Apache answer 400 instead. HTTP/2 or gRPC to a server that knows only
//! HTTP/1.1 is the same. TLS to a plain port fails before: that is tls-handshake.

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature, evidence::TargetEvidence},
    diagnosis::{Case, Confidence, Fix, Statement, facts::TargetGroup},
    numbers::count,
};

pub(super) const CAUSE: Cause = Cause {
    id: "protocol-mismatch",
    title: "The target group's protocol is not the one that the target speaks",
    why_healthy: Some(
        "The health check has a protocol and a port of its own, so it can pass while the requests use \
         the wrong protocol.",
    ),
    claim,
    explain,
};

/// Fewer requests than this show no rule.
const MIN_REQUESTS: u64 = 5;

fn claim(case: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    if row.signature != Signature::ClosedEarly {
        return None;
    }
    let target = case.target(row.target.as_deref()?)?;
    // What worked before did not change its protocol: a target group cannot.
    let none_answered = target.first_success.is_none()
        && MIN_REQUESTS <= target.requests
        && 0.9 * target.requests as f64 <= target.of(Signature::ClosedEarly) as f64;
    if !none_answered {
        return None;
    }
    // The protocol is one setting of the whole group: where a neighbour answers, it is the right one.
    let others_answer = case.evidence.targets.iter().any(answered);
    if case.target_group().and_then(suspicion).is_some() && !others_answer {
        return Some(Strength::Certain.into());
    }
    if speaks_the_same_as_health_check(case) || others_answer {
        return None;
    }
    let paths = case.evidence.paths.iter().filter(|path| 0 < path.of(Signature::ClosedEarly));
    // One path alone may have a fault of its own.
    (2 <= paths.count()).then(|| Strength::Likely.into())
}

fn answered(target: &TargetEvidence) -> bool {
    target.first_success.is_some()
}

/// What in the configuration suggests that the protocols differ.
fn suspicion(group: &TargetGroup) -> Option<String> {
    let protocol = group.protocol.as_deref()?;
    let health_check = group.health_check_protocol.as_deref();
    if let Some(version @ ("HTTP2" | "GRPC")) = group.protocol_version.as_deref() {
        return Some(format!(
            "The target group sends {version}; a server that knows only HTTP/1.1 closes."
        ));
    }
    let same_port = group.health_check_port.as_deref().is_none_or(|port| {
        port == "traffic-port" || group.port.is_some_and(|own| own.to_string() == port)
    });
    if protocol == "HTTP" && health_check == Some("HTTPS") && same_port {
        return Some(
            "The target group sends plain HTTP while its health check speaks HTTPS: the target \
             speaks TLS."
                .to_owned(),
        );
    }
    if protocol == "HTTP" && matches!(group.port, Some(443 | 8443)) {
        return Some(format!(
            "The target group sends plain HTTP to port {}, where TLS is usual.",
            group.port.unwrap_or_default()
        ));
    }
    None
}

/// A health check of the same protocol on the same port passes: then the port speaks it.
pub(super) fn speaks_the_same_as_health_check(case: &Case<'_>) -> bool {
    case.target_group().is_some_and(|group| {
        group.protocol == group.health_check_protocol
            && group.health_check_port.as_deref() == Some("traffic-port")
    }) && case.all_targets_healthy() == Some(true)
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let suspicion = case.target_group().and_then(suspicion);
    let by_health_check =
        case.target_group().is_some_and(|group| group.health_check_protocol != group.protocol);
    let mut said = Explanation::new(match (&suspicion, by_health_check) {
        (Some(_), true) => Confidence::High,
        (Some(_), false) => Confidence::Medium,
        (None, _) => Confidence::Low,
    });
    said.evidence.push(words::of_failures(
        claimed,
        "the target closed the connection at once, without a response.",
    ));
    let requests: u64 = claimed
        .targets()
        .iter()
        .filter_map(|(name, _)| case.target(name))
        .map(|target| target.requests)
        .sum();
    said.evidence.push(Statement::new(format!(
        "None of the {} requests to these targets succeeded.",
        count(requests)
    )));
    said.evidence.extend(words::spread(case, claimed));
    match suspicion {
        Some(text) => said.evidence.push(Statement::new(text)),
        None => said.against.push(Statement::new(
            "Nothing in the configuration that was seen shows it: a process that crashes or closes on \
             every request looks the same.",
        )),
    }
    said.fixes.push(words::ask_target(
        case,
        claimed,
        "Ask the target in the group's protocol, then in the other (https:// with --insecure): the \
         one that answers is the one it speaks.",
    ));
    said.fixes.push(words::show_target_group(case, "See protocol, version and port of the group."));
    said.fixes.push(Fix::new(
        "The protocol of a target group cannot be changed: create one with the right protocol and \
         point the listener rule at it, or let the target speak what the group sends.",
    ));
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{causes::rank, sample_case::SampleCase};

    /// Every request to the first target was closed at once, on two paths, in an HTTP group that nothing more
    /// is known of; the second answers, or does the same.
    fn closes(second_answers: bool) -> (String, String) {
        let mut sample = SampleCase::failing(Signature::ClosedEarly, 40);
        sample.write_rows(Signature::ClosedEarly, 0.002);
        sample.without_success();
        sample.facts.target_group = SampleCase::missing("target group");
        for target in &mut sample.evidence.targets {
            target.first_success = None;
        }
        if second_answers {
            let gone = sample.evidence.targets[1].target.clone();
            sample.evidence.failures.retain(|row| row.target.as_ref() != Some(&gone));
            sample.evidence.targets[1].first_success = Some(sample.evidence.window.start);
            sample.evidence.signatures.insert(Signature::ClosedEarly, 20);
        }
        for (number, row) in sample.evidence.failures.iter_mut().enumerate() {
            row.times = [Some(0.0), Some(0.002), Some(-1.0)];
            row.path = Some(["/", "/cart"][number % 2].into());
        }
        sample.evidence.paths = ["/", "/cart"]
            .map(|name| crate::detection::evidence::PathEvidence {
                path: name.into(),
                requests: 10,
                failures: 10,
                successes: 0,
                success_bytes: None,
                largest_success_bytes: None,
                longest_success: None,
                signatures: [(Signature::ClosedEarly, 10)].into(),
            })
            .into();
        let ranked = rank(&sample.case());
        let (cause, said) = &ranked[0];
        (cause.id.to_owned(), said.title.clone())
    }

    #[test]
    fn one_target_that_closes_all_beside_one_that_answers_is_no_matter_of_the_protocol() {
        assert_eq!(closes(false).0, "protocol-mismatch");
        let (id, title) = closes(true);
        assert_eq!(id, "closed-mid-request");
        assert_eq!(title, "A target accepts connections and closes them without an answer");
    }
}
