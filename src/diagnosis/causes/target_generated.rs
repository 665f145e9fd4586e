//! target-generated: the target, or a proxy on it, answered 502 itself.
//!
//! `elb_status_code` and `target_status_code` are both 502: the load balancer passed the answer on.
//! Source: <https://repost.aws/knowledge-center/elb-alb-troubleshoot-502-errors>

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{Case, Confidence, Fix, Statement},
    numbers::seconds,
};

pub(super) const CAUSE: Cause = Cause {
    id: "target-generated",
    title: "The target itself answers 502; the load balancer only passes it on",
    why_healthy: Some(
        "The process that answers the health check is up; what fails is behind it, and the health \
         check's path does not go there.",
    ),
    claim,
    explain,
};

fn claim(_: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    (row.signature == Signature::TargetMade).then(|| Strength::Certain.into())
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let mut said = Explanation::new(Confidence::High);
    said.evidence.push(words::of_failures(
        claimed,
        "target_status_code is 502 as well, so the answer came from the target.",
    ));
    match case.target_5xx() {
        Some(Ok(counted)) => said.evidence.push(counted),
        Some(Err(none)) => said.against.push(none),
        None => {}
    }
    said.evidence.extend(words::spread(case, claimed));
    if let Some(median) = claimed.median(FailureRow::target_seconds) {
        let meaning = if median < 0.1 {
            "at once, as when nothing listens behind the proxy"
        } else {
            "as when what is behind the proxy is slow or dies"
        };
        said.evidence.push(Statement::new(format!(
            "The target took {} (median) to say so: {meaning}.",
            seconds(median)
        )));
    }
    said.fixes.push(words::ask_target(
        case,
        claimed,
        "Ask the target directly, with a path from the samples: the same 502 comes without the load \
         balancer.",
    ));
    said.fixes.push(Fix::new(
        "Read the error log of the proxy on the target (nginx, Apache, Envoy) at the times of the \
         samples: it names the upstream that refused or closed.",
    ));
    said
}
