//! malformed-response: the target answers something that is not HTTP as the load balancer reads it.
//!
//! The log shows only that the connection ended without a response. What points here is a path that
//! fails each time, on every target, while others succeed.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature, evidence::PathEvidence},
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
    if row.signature == Signature::ClosedEarly && is_the_only_path(case, path) {
        return Some(Strength::Possible.into());
    }
    if !case.patterns.failing_paths.contains(path) {
        return None;
    }
    // A path that kills the process takes other requests with it.
    let kills = case.patterns.exit_of(row).is_some_and(|exit| 0 < exit.refused_after);
    let is_killer = case.patterns.killer_paths.contains(path);
    (!kills && !is_killer && 2 <= instants(case, path)).then(|| Strength::Strong.into())
}

/// The request came after an answer that leaves something on its connection.
fn is_poisoned(case: &Case<'_>, row: &FailureRow) -> bool {
    case.patterns.poison.as_ref().is_some_and(|poison| row.after.as_ref() == Some(&poison.path))
}

/// Nine of ten closed requests are for this path, though it does not fail each time: its handler answers
/// some requests badly.
fn is_the_only_path(case: &Case<'_>, path: &str) -> bool {
    if !case.patterns.leaning_paths.iter().any(|it| **it == *path) {
        return false;
    }
    let closed = |path: &PathEvidence| path.of(Signature::ClosedEarly);
    let all: u64 = case.evidence.paths.iter().map(closed).sum();
    let own = case.evidence.paths.iter().find(|it| *it.path == *path).map_or(0, closed);
    9 * all <= 10 * own && case.patterns.exits.is_empty()
}

/// At how many different moments the requests of a path were closed: one alone is one event, not a
/// response that is wrong each time.
fn instants(case: &Case<'_>, path: &str) -> usize {
    let times: Vec<i64> = case
        .evidence
        .failures
        .iter()
        .filter(|row| row.path.as_deref() == Some(path))
        .map(|row| row.time)
        .collect();
    // The rows are ordered by time.
    1 + times.windows(2).filter(|pair| 1_000_000 < pair[1] - pair[0]).count()
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let undocumented =
        claimed.rows_where(|row| row.error_reason.as_deref() == Some("RESPONSE_INVALID"));
    let poisoned = claimed.rows_where(|row| is_poisoned(case, row));
    let each_time = claimed.rows_where(|row| {
        row.path.as_ref().is_some_and(|path| case.patterns.failing_paths.contains(path))
    });
    let some_of_one_path = undocumented + poisoned + each_time == 0;
    let mut said =
        Explanation::new(if some_of_one_path { Confidence::Low } else { Confidence::Medium });
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
                count(poison.of),
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
    if 0 < elsewhere {
        said.evidence.push(Statement::new(format!(
            "{} requests for other paths succeeded meanwhile.",
            count(elsewhere)
        )));
    }
    let targets = claimed.targets().len();
    if 1 < targets {
        said.evidence.push(Statement::new(format!(
            "It happens on all {targets} targets that got it: the code, not a host."
        )));
    }
    if let Some(median) = claimed.median(FailureRow::target_seconds) {
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
        said.against.push(Statement::new(
            "The log does not show responses: a handler that crashes its worker on this path, or \
             headers above 32 KB, look the same.",
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
