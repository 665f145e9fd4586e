//! undetermined: the rows carry no cause.
//!
//! Better said than guessed. What fits, and what would decide, is listed.

use super::{Cause, Claimed, Explanation, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{Case, Confidence, Fix, Statement, error_reasons},
    neutralize,
    numbers::count,
};

pub(super) const CAUSE: Cause = Cause {
    id: "undetermined",
    title: "The log does not show the cause",
    why_healthy: None,
    claim,
    explain,
};

fn claim(_: &Case<'_>, _: &FailureRow) -> Option<super::Claim> {
    None
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let mut said = Explanation::new(Confidence::Low);
    said.evidence.push(words::of_failures(claimed, "the rows do not show a cause."));
    for (signature, text) in [
        (
            Signature::ClosedEarly,
            "were closed at once without a response. A keep-alive race, a malformed response, a \
             crash and a wrong protocol look like this; a probe of the target tells them apart.",
        ),
        (Signature::ErrorReason, "carry an error_reason that names no cause of a 502."),
        (
            Signature::NoTarget,
            "name no target. The load balancer never sent the request on: a Lambda target, a request \
             that could not be read, or a rule that failed.",
        ),
        (
            Signature::NotConnectedLate,
            "failed to connect after 10 s and are 502 all the same. AWS documents a 504 for that; a \
             TLS handshake that times out was once a 502.",
        ),
        (Signature::Unclassified, "have times or status codes that no documented 502 has."),
    ] {
        let rows = claimed.rows_where(|row| row.signature == signature);
        if 0 < rows {
            said.evidence.push(Statement::counted(
                rows,
                claimed.at_hand(),
                if claimed.at_hand() < claimed.count {
                    format!("{} of the {} rows kept {text}", count(rows), count(claimed.at_hand()))
                } else {
                    format!("{} {text}", count(rows))
                },
            ));
        }
    }
    let quoted = claimed
        .rows
        .iter()
        .filter_map(|row| row.error_reason.as_deref())
        .collect::<std::collections::BTreeSet<_>>();
    if !quoted.is_empty() {
        let list: Vec<String> = quoted
            .iter()
            .take(5)
            .map(|reason| {
                let meaning = error_reasons::meaning(reason).unwrap_or("not documented by AWS");
                format!("{} ({meaning})", neutralize::plain(reason))
            })
            .collect();
        said.evidence.push(Statement::new(format!("error_reason, verbatim: {}.", list.join(", "))));
    }
    said.evidence.extend(words::spread(case, claimed));
    said.fixes.push(words::ask_target(
        case,
        claimed,
        "Ask the target directly, from the VPC, with a path from the samples.",
    ));
    said.fixes.push(Fix::new(
        "Compare the times of the samples with the application's log and its restarts.",
    ));
    said
}
