//! connect-refused: the target's host answers the attempt to connect with a refusal.
//!
//! `-1 -1 -1` within milliseconds: nothing listens on the port, the process restarts, or a firewall on
//! the host rejects.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature, evidence::TargetEvidence},
    diagnosis::{Case, Confidence, Fix, Statement, Unconnected, covers},
    numbers::{count, plural, seconds},
};

pub(super) const CAUSE: Cause = Cause {
    id: "connect-refused",
    title: "The target refuses connections",
    why_healthy: Some(
        "A health check runs every few seconds and forgives a failure, or it uses another port: a short \
         gap, or a port that it never asks, stays unseen.",
    ),
    claim,
    explain,
};

/// With fewer pairs of refusals than this nothing is said of what lies between.
const SPORADIC_PAIRS: u64 = 2;

/// A process that is started anew so often within one incident is rarer than one that refuses some of its
/// connections: which of them it is the rows do not say.
const MANY_TIMES: u64 = 5;

/// Refusals take a round trip; more than this is something else as well.
const REFUSED_SECONDS: f64 = 0.5;

fn claim(_: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    let is_refused = row.signature == Signature::NotConnected
        || row.error_reason.as_deref() == Some("CONNECTION_ERROR");
    is_refused.then(|| Strength::Likely.into())
}

/// The target answers between most of the refusals that follow each other: it is up, and refuses some.
pub(super) fn is_sporadic(case: &Case<'_>, target: &TargetEvidence) -> bool {
    !case.patterns.refusals_in_spells
        && SPORADIC_PAIRS <= target.refused_pairs
        && target.refused_pairs < 2 * target.refused_pairs_with_answers
}

/// Every target answered before its first and after its last failure.
fn come_back(case: &Case<'_>, claimed: &Claimed<'_>) -> bool {
    claimed.targets().iter().all(|(name, _)| {
        case.target(name).is_some_and(|target| {
            let before = target.first_success.zip(target.first_failure).is_some_and(|(a, b)| a < b);
            let after = target.last_success.zip(target.last_failure).is_some_and(|(a, b)| b < a);
            before && after
        })
    })
}

/// What the rows and the protocol say, with what CloudWatch says where it is known.
fn confidence(by_rows: Confidence, unconnected: Unconnected, rows: u64, https: bool) -> Confidence {
    match unconnected {
        Unconnected::Refused(errors) if errors.is_clear() && covers(errors.refused(), rows) => {
            Confidence::High
        }
        // Two kinds of error, or too few: it is one of several.
        Unconnected::Refused(_) if https => Confidence::Medium,
        // No error at all is no refusal either, whatever the rows look like.
        Unconnected::Neither(_) if by_rows == Confidence::High => Confidence::Medium,
        _ => by_rows,
    }
}

/// What speaks against a refusal where a failed handshake leaves the same row.
fn against_tls(case: &Case<'_>, claimed: &Claimed<'_>) -> Option<Statement> {
    let unconnected = case.unconnected();
    if let Unconnected::Neither(errors) = unconnected {
        return Some(Statement::new(format!(
            "{} A target that closes a connection just as it stands can look like this.",
            errors.sentence()
        )));
    }
    let text = match (case.is_https_group(), unconnected) {
        (Some(false), _) => return None,
        (_, Unconnected::Refused(errors)) if 0 < errors.tls => format!(
            "The {} are failed handshakes: rows cannot be told apart one by one, and the larger number \
             has them all.",
            plural(errors.tls, "TLS negotiation error")
        ),
        (_, Unconnected::Refused(_)) => return None,
        (Some(true), _) => format!(
            "The group speaks HTTPS: a failed TLS handshake looks the same in the log; {}",
            case.would_decide()
        ),
        (None, _) if come_back(case, claimed) => return None,
        (None, _) => format!(
            "The protocol of the target group is not known; were it HTTPS, a failed TLS handshake would \
             look the same; {}",
            case.would_decide()
        ),
    };
    Some(Statement::new(text))
}

/// "once", "twice", "7 times".
fn times(number: u64) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        number => format!("{} times", count(number)),
    }
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let undocumented =
        claimed.rows_where(|row| row.error_reason.as_deref() == Some("CONNECTION_ERROR"));
    let quick = claimed.rows_where(|row| row.elapsed.is_some_and(|it| it < REFUSED_SECONDS));
    let timed = claimed.rows_where(|row| row.elapsed.is_some());
    let speaks_tls = case.is_https_group();
    let (pairs, answered) = claimed
        .targets()
        .iter()
        .filter_map(|(name, _)| case.target(name))
        .fold((0, 0), |sum, it| (sum.0 + it.refused_pairs, sum.1 + it.refused_pairs_with_answers));
    // A process that is down answers nothing between two refusals.
    let sporadic =
        !case.patterns.refusals_in_spells && SPORADIC_PAIRS <= pairs && pairs < 2 * answered;
    let by_rows = match speaks_tls {
        _ if 0 < undocumented => Confidence::Medium,
        Some(true) if words::served_in_span(case, claimed) == 0 => Confidence::Low,
        _ if sporadic => Confidence::Medium,
        // One refusal may be anything.
        _ if claimed.count < 3 => Confidence::Medium,
        Some(true) => Confidence::Medium,
        Some(false) if quick == timed && 0 < timed => Confidence::High,
        // A handshake that works, fails and works again is no matter of configuration.
        _ if quick == timed && 0 < timed && come_back(case, claimed) => Confidence::High,
        // Nothing ever answered, and the group may speak HTTPS: a handshake may have failed.
        None if words::served_in_span(case, claimed) == 0 => Confidence::Low,
        _ => Confidence::Medium,
    };
    let unconnected = case.unconnected();
    let mut said = Explanation::new(confidence(
        by_rows,
        unconnected,
        claimed.count,
        speaks_tls != Some(false),
    ));
    if 0 < undocumented {
        said.evidence.push(Statement::counted(
            undocumented,
            claimed.of,
            "error_reason says CONNECTION_ERROR. AWS does not document this code; it is taken at \
             its word.",
        ));
    }
    if undocumented < claimed.at_hand() {
        said.evidence.push(words::of_failures(
            claimed,
            "the connection to the target was never established (all three times are -1).",
        ));
    }
    if let Unconnected::Refused(errors) = unconnected {
        said.evidence.push(Statement::new(errors.sentence()));
    }
    if let Some(median) = claimed.median(|row| row.elapsed) {
        said.evidence.push(Statement::counted(
            quick,
            timed,
            format!(
                "They ended after {} (median): something answered. It is not your \
                 security group: a blocked port shows as a 504 after 10 s.",
                seconds(median)
            ),
        ));
    }
    said.evidence.extend(words::spread(case, claimed));
    if let Some(target) = claimed.targets().first().and_then(|(name, _)| case.target(name)) {
        let before = target.first_success.zip(target.first_failure).is_some_and(|(a, b)| a < b);
        let after = target.last_success.zip(target.last_failure).is_some_and(|(a, b)| b < a);
        let between = target.last_success.zip(target.first_failure).is_some_and(|(a, b)| b < a);
        // An answer between two refusals: it was back in the meantime.
        let answers = target.refused_pairs_with_answers;
        let why = if answers < MANY_TIMES {
            format!("went away {}", times(answers + 1))
        } else {
            "comes and goes, or it refuses some".to_owned()
        };
        let again = format!(
            "answered before, after and {} in between: what listens on its port {why}",
            times(answers)
        );
        let story = match (before, after) {
            _ if sporadic => "answers in between: it is up, and refuses some",
            (true, true) if 0 < answers => again.as_str(),
            (true, true) => {
                "answered before and after: what listens on its port went away for a while"
            }
            (true, false) if between => {
                "answered in between: what listens on its port comes and goes"
            }
            (true, false) => {
                "answered before and not since: nothing takes connections on its port any more"
            }
            (false, true) => "answers since: it got requests before its process listened",
            (false, false) => "never answered: its process is not up, or on another port",
        };
        said.evidence.push(Statement::new(format!("{} {story}.", target.target)));
    }
    if sporadic {
        said.against.push(Statement::counted(
            answered,
            pairs,
            format!(
                "Between {} of {} refusals that follow each other the same target answered: its process \
                 was not down. A listen backlog that overflows (tcp_abort_on_overflow), or a target that \
                 resets new connections, looks like this.",
                count(answered),
                count(pairs)
            ),
        ));
    }
    said.against.extend(against_tls(case, claimed));
    if let Unconnected::Refused(errors) = unconnected {
        said.against.extend(words::fewer_than_rows(errors.refused(), claimed));
    }
    if quick < timed {
        said.against.push(Statement::counted(
            timed - quick,
            timed,
            format!("{} took longer than a refusal does.", count(timed - quick)),
        ));
    }
    said.fixes.push(words::listening(
        claimed,
        if sporadic {
            "On the target: compare Recv-Q (waiting) with Send-Q (backlog) of the listening socket."
        } else {
            "On the target: does a process listen on the port that the target is registered with?"
        },
    ));
    said.fixes.push(words::show_health(
        case,
        "See which port is registered, and whether AWS finds the target healthy on another one.",
    ));
    said.fixes.push(Fix::new(
        "If it restarts: find out why (out of memory, crash, deploy) at the times of the samples; on \
         a deploy deregister the target first and register it when it listens.",
    ));
    said
}
