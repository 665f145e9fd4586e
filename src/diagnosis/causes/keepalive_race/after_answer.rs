//! What keepalive-race says of targets that end their connections with an answer and do not say so: a race
//! without a timer.

use super::{Claimed, Explanation, words};
use crate::{
    detection::FailureRow,
    diagnosis::{
        Case, Confidence, Fix, Statement,
        patterns::{MOMENT_SECONDS, RightAfter},
    },
    numbers::{count, percent},
};

/// Whether a request came right after an answer, as nearly all closed ones did.
pub(super) fn is_right_after(case: &Case<'_>, row: &FailureRow) -> bool {
    case.patterns.right_after.is_some() && row.pause().is_some_and(|gap| gap <= MOMENT_SECONDS)
}

pub(super) fn explain(case: &Case<'_>, claimed: &Claimed<'_>, shown: RightAfter) -> Explanation {
    let mut said = Explanation::new(Confidence::Medium);
    said.title = Some(
        "The targets close connections right after an answer, without having said so".to_owned(),
    );
    said.evidence.push(words::of_failures(
        claimed,
        "the request was sent, and the connection closed within a moment and without a response.",
    ));
    said.evidence.push(Statement::counted(
        shown.closed,
        shown.of,
        format!(
            "{} of {} came within {MOMENT_SECONDS} s after an answer of the same target through the same \
             load-balancer node; of the successful requests beside them {} did. So it is no timer of idle \
             connections: the target ends the connection with the answer.",
            count(shown.closed),
            words::closed_requests(shown.of, claimed),
            percent(shown.healthy_share)
        ),
    ));
    said.evidence.extend(words::spread(case, claimed));
    said.against.push(Statement::new(
        "Answers that leave bytes on their connection (a body after 204 or HEAD, more than \
         Content-Length says) break the next request as well.",
    ));
    said.fixes.push(words::ask_target(
        case,
        claimed,
        "Ask a target twice over one connection (give the address twice): where it closes after the first \
         answer, that answer must say Connection: close.",
    ));
    said.fixes.push(Fix::new(
        "Let the target keep its connections for longer than the load balancer's idle timeout, or send \
         Connection: close with the last answer of each. Look for a limit of requests for a connection or a \
         worker (max requests), and for handlers that close the socket themselves.",
    ));
    said
}
