//! malformed-response: the target answers something that is not HTTP as the load balancer reads it.
//!
//! The log shows only that the connection ended without a response. What points here is a path that
//! fails each time, on every target, while others succeed.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

use super::{Cause, Claimed, Explanation, Strength, protocol_mismatch, words};
use crate::{
    detection::{FailureRow, Signature, evidence::TargetEvidence},
    diagnosis::{Case, Confidence, Fix, Statement},
    neutralize,
    numbers::{count, percent, seconds},
};

pub(super) const CAUSE: Cause = Cause {
    id: "malformed-response",
    title: "The target's response is not valid HTTP for the load balancer",
    why_healthy: Some("The health check asks another path, whose response is well formed."),
    claim,
    explain,
};

fn claim(case: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    if row.error_reason.as_deref() == Some("RESPONSE_INVALID") {
        return Some(Strength::Certain.into());
    }
    if row.signature == Signature::ClosedEarly && is_poisoned(case, row) {
        return Some(Strength::Strong.into());
    }
    let closed = matches!(row.signature, Signature::ClosedEarly | Signature::ClosedLate);
    let path = row.path.as_ref()?;
    if !closed {
        return None;
    }
    if row.method.as_ref().is_some_and(|it| case.patterns.failing_methods.contains(it)) {
        return Some(Strength::Strong.into());
    }
    if row.signature == Signature::ClosedEarly
        && (case.patterns.only_path.as_ref() == Some(path) || only_health_check_passes(case, row))
    {
        return Some(Strength::Possible.into());
    }
    // A path that kills the process takes other requests with it.
    let kills = case.patterns.exit_of(row).is_some_and(|exit| 0 < exit.refused_after);
    let is_killer = case.patterns.killer_paths.contains(path);
    (!kills && !is_killer && case.patterns.wrong_each_time.contains(path))
        .then(|| Strength::Strong.into())
}

/// Nothing ever came back from the target, on any of several paths, while the health check of the same
/// protocol and port passes everywhere: the protocol is right, and so the answers are wrong.
fn only_health_check_passes(case: &Case<'_>, row: &FailureRow) -> bool {
    const MIN_REQUESTS: u64 = 5;
    let never = |target: &TargetEvidence| {
        MIN_REQUESTS <= target.requests
            && target.first_success.is_none()
            && target.of(Signature::ClosedEarly) == target.failures
    };
    let Some(target) = row.target.as_deref().and_then(|name| case.target(name)) else {
        return false;
    };
    let paths = case.evidence.paths.iter().filter(|path| 0 < path.of(Signature::ClosedEarly));
    // Where a neighbour answers, it is not the program that all of them run.
    never(target)
        && case.evidence.targets.iter().all(|it| it.first_success.is_none())
        && protocol_mismatch::speaks_the_same_as_health_check(case)
        && 2 <= paths.count()
}

/// The request came after an answer that leaves something on its connection.
fn is_poisoned(case: &Case<'_>, row: &FailureRow) -> bool {
    case.patterns.poison.as_ref().is_some_and(|poison| row.after.as_ref() == Some(&poison.path))
}

/// A body this large is more than headers.
const MIN_BODY_BYTES: u64 = 4096;

/// The smallest of the requests and the largest that succeeded on any path, in bytes, when all of them are
/// larger.
fn larger_than_any_success(case: &Case<'_>, claimed: &Claimed<'_>) -> Option<(u64, u64)> {
    let has_body =
        |row: &FailureRow| matches!(row.method.as_deref(), Some("POST" | "PUT" | "PATCH"));
    if claimed.rows_where(has_body) < claimed.at_hand() || claimed.at_hand() < 3 {
        return None;
    }
    let smallest = claimed.rows.iter().filter_map(|row| row.received_bytes).min()?;
    let largest = case.evidence.paths.iter().filter_map(|path| path.largest_success_bytes).max()?;
    (MIN_BODY_BYTES <= smallest && largest < smallest).then_some((smallest, largest))
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let undocumented =
        claimed.rows_where(|row| row.error_reason.as_deref() == Some("RESPONSE_INVALID"));
    let poisoned = claimed.rows_where(|row| is_poisoned(case, row));
    let each_time = claimed.rows_where(|row| {
        row.path.as_ref().is_some_and(|path| case.patterns.failing_paths.contains(path))
    });
    let by_method = claimed.rows_where(|row| {
        row.method.as_ref().is_some_and(|it| case.patterns.failing_methods.contains(it))
    });
    let passes = claimed.rows_where(|row| only_health_check_passes(case, row));
    let some_of_one_path = undocumented + poisoned + each_time + by_method + passes == 0;
    let larger = larger_than_any_success(case, claimed);
    let is_guess = some_of_one_path || larger.is_some() || claimed.at_hand() <= 2 * passes;
    let mut said = Explanation::new(if is_guess { Confidence::Low } else { Confidence::Medium });
    if 0 < passes {
        said.evidence.push(Statement::counted(
            passes,
            claimed.at_hand(),
            "No request was ever answered, on any path, and the health check of the same protocol and port \
             passes: the port and the protocol are right, and what differs are the path and the response.",
        ));
        said.evidence.extend(words::spread(case, claimed));
    }
    for method in case.evidence.methods.iter() {
        if case.patterns.failing_methods.contains(&method.name) {
            said.evidence.push(Statement::counted(
                method.failures,
                method.requests,
                format!(
                    "{} of {} requests with the method {} failed, whatever the path; with other methods {} \
                     of {} did.",
                    count(method.failures),
                    count(method.requests),
                    neutralize::plain(&method.name),
                    count(case.evidence.counts.failures - method.failures),
                    count(case.evidence.counts.requests.saturating_sub(method.requests)),
                ),
            ));
        }
    }
    if some_of_one_path {
        said.evidence.push(words::of_failures(
            claimed,
            "closed without a response, on one path whose other requests succeed.",
        ));
        said.evidence.extend(words::spread(case, claimed));
    }
    if 0 < undocumented {
        said.evidence.push(Statement::counted(
            undocumented,
            claimed.of,
            "error_reason says RESPONSE_INVALID. AWS does not document this code; it is taken at its \
             word.",
        ));
    }
    if let Some(poison) = &case.patterns.poison {
        said.evidence.push(Statement::counted(
            poison.after,
            poison.of,
            format!(
                "{} of {} came after an answer to {} of the same target through the same \
                 load-balancer node; of the successful requests beside them {} did. That answer \
                 leaves bytes on its connection, and the next request on it gets them as its \
                 response.",
                count(poison.after),
                words::closed_requests(poison.of, claimed),
                neutralize::plain(&poison.path),
                percent(poison.healthy_share)
            ),
        ));
    }
    let failing = &case.patterns.failing_paths;
    for path in case.evidence.paths.iter().filter(|path| failing.contains(&path.path)).take(3) {
        let closed = path.of(Signature::ClosedEarly) + path.of(Signature::ClosedLate);
        said.evidence.push(Statement::counted(
            closed,
            path.requests,
            format!(
                "{} of {} requests for {} were closed without a response.",
                count(closed),
                count(path.requests),
                neutralize::plain(&path.path)
            ),
        ));
    }
    let elsewhere: u64 = case
        .evidence
        .paths
        .iter()
        .filter(|path| !failing.contains(&path.path))
        .map(|path| path.successes)
        .sum();
    if 0 < elsewhere && 0 < each_time {
        said.evidence.push(Statement::new(format!(
            "{} requests for other paths succeeded meanwhile.",
            count(elsewhere)
        )));
    }
    let targets = claimed.targets().len();
    if 1 < targets && passes == 0 {
        said.evidence.push(Statement::new(format!(
            "It happens on all {targets} targets that got it: the code, not a host."
        )));
    }
    // What is left on a connection is read at once, before the target has seen the request.
    if let Some(median) =
        claimed.median(FailureRow::target_seconds).filter(|_| 2 * poisoned < claimed.at_hand())
    {
        said.evidence.push(Statement::new(format!(
            "The target had worked {} (median) when the connection ended.",
            seconds(median)
        )));
    }
    if 0 < poisoned {
        said.against.push(Statement::new(
            "A handler that closes the connection after its answer, without saying so in the \
             response, looks the same.",
        ));
    }
    if poisoned < claimed.at_hand() {
        said.against.push(Statement::new(format!(
            "The log does not show responses: a handler that crashes its worker{} or closes on purpose (nginx: \
             return 444), and headers above 32 KB, look the same.",
            if 0 < by_method + passes { "" } else { " on this path" }
        )));
    }
    if let Some((smallest, largest_success)) = larger {
        said.against.push(Statement::new(format!(
            "All of them are larger (from {} bytes) than any request that succeeded (up to {}): a target \
             that closes on a body larger than it takes looks the same.",
            count(smallest),
            count(largest_success)
        )));
        said.fixes.push(Fix::new(
            "Send the same request with a small body: if that is answered, raise the limit of the body size \
             (nginx client_max_body_size, the framework's own), or let the target read the body and answer \
             413.",
        ));
    }
    if let Some(poison) = &case.patterns.poison {
        said.fixes.push(Fix::new(format!(
            "Look at the answer to {}: a body after 204, 304 or HEAD, or more bytes than its \
             Content-Length says.",
            neutralize::plain(&poison.path)
        )));
    }
    said.fixes.push(words::ask_target(
        case,
        claimed,
        "Ask the target directly with the path from the samples and look at the raw answer: status \
         line, a colon in every header, Content-Length or chunked but not both, no bytes before the \
         status line.",
    ));
    said.fixes.push(Fix::new(
        "Then fix the handler: write headers through the framework, and nothing to the socket \
         before them.",
    ));
    said
}
