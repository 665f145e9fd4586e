//! idle-timeout: the target took the request and stayed silent until the load balancer's idle timeout.
//!
//! A 504 with `target_processing_time` -1 after the idle timeout.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{Case, Confidence, Fix, Statement},
    numbers::seconds,
};

pub(super) const CAUSE: Cause = Cause {
    id: "idle-timeout",
    title: "The target stays silent until the load balancer's idle timeout",
    why_healthy: Some(
        "The health check asks one cheap path; it says nothing of a path that waits for a slow \
         dependency.",
    ),
    claim,
    explain,
};

fn claim(_: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    (row.signature == Signature::IdleTimeout).then(|| Strength::Certain.into())
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let median = claimed.median(|row| row.elapsed);
    let declared = case.facts.idle_timeout_seconds().map(f64::from);
    // The log shows the idle timeout and a few milliseconds; two seconds cover a slow upload.
    let agrees = median.zip(declared).map(|(seen, set)| (seen - set).abs() <= 2.0);
    // A timeout is the same for every row.
    let near = claimed.rows_where(|row| {
        row.elapsed.zip(median).is_some_and(|(elapsed, median)| (elapsed - median).abs() <= 2.0)
    });
    let together = claimed.at_hand() * 8 <= near * 10;
    let mut said = Explanation::new(match agrees {
        Some(true) => Confidence::High,
        None if together => Confidence::High,
        Some(false) | None => Confidence::Medium,
    });
    said.evidence.push(words::of_failures(
        claimed,
        "504, the request was sent and no response came (target_processing_time -1).",
    ));
    if let Some(median) = median {
        said.evidence.push(Statement::new(format!(
            "They took {} (median).{}",
            seconds(median),
            declared.map_or(String::new(), |set| format!(
                " The load balancer's idle timeout is {}.",
                seconds(set)
            ))
        )));
    }
    if agrees == Some(false) {
        said.against.push(Statement::new("The time does not agree with the idle timeout."));
    }
    said.evidence.extend(words::spread(case, claimed));
    said.fixes.push(Fix::new(
        "Find what the slow paths wait for (database, other service) at the times of the samples; \
         answer within the idle timeout, or raise it if the work is meant to take so long.",
    ));
    said.fixes.push(words::ask_target(
        case,
        claimed,
        "Time a path from the samples on the target itself.",
    ));
    said
}
