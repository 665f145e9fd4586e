//! worker-timeout: a supervisor kills the worker that takes longer than its limit.
//!
//! The times of the closed requests cluster at a constant. gunicorn's default is 30 seconds; killed
//! workers show at 30.0 to 32.0 s (measured).

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{Case, Confidence, Fix, Statement},
    numbers::{count, seconds},
};

pub(super) const CAUSE: Cause = Cause {
    id: "worker-timeout",
    title: "A worker is killed when a request takes longer than its limit",
    why_healthy: Some(
        "The health check's request is quick; only slow requests run into the limit.",
    ),
    claim,
    explain,
};

fn claim(case: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    let constant = case.patterns.constant?;
    let time = row.target_seconds()?;
    let fits =
        row.signature == Signature::ClosedLate && (constant.low..=constant.high).contains(&time);
    if !fits || !constant.is_at_several_moments {
        return None;
    }
    // Requests that succeed after as long on the same path, or longer anywhere, know no such limit.
    let outlived = case.evidence.paths.iter().any(|path| {
        path.longest_success.is_some_and(|longest| {
            constant.high < longest
                || (Some(&path.path) == row.path.as_ref() && constant.low <= longest)
        })
    });
    (!outlived).then(|| Strength::Strong.into())
}

/// A limit is kept to within two seconds; a cluster that is wider than this part of its time is as well the
/// time that the work of a path takes which fails each time.
const WIDE_PART: f64 = 0.4;

fn may_be_work(case: &Case<'_>) -> bool {
    let is_wide = |low: f64, high: f64| WIDE_PART * low < high - low;
    !case.patterns.failing_paths.is_empty()
        && case.patterns.constant.is_some_and(|constant| is_wide(constant.low, constant.high))
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let constant = case.patterns.constant;
    // The rows show a constant; who cuts there, a supervisor, the server or the handler itself, they do not.
    let mut said =
        Explanation::new(if may_be_work(case) { Confidence::Low } else { Confidence::Medium });
    said.evidence.push(words::of_failures(
        claimed,
        "the request was sent and the connection closed without a response.",
    ));
    if let Some(constant) = constant {
        said.evidence.push(Statement::counted(
            constant.rows,
            constant.of,
            format!(
                "{} of {} that were closed late had run {} to {}, as a limit cuts.",
                count(constant.rows),
                count(constant.of),
                seconds(constant.low),
                seconds(constant.high)
            ),
        ));
    }
    if let Some(success) = case.evidence.success_seconds {
        let text = format!(
            "Successful requests take {} (median) and {} (99 of 100 are quicker).",
            seconds(success.p50),
            seconds(success.p99)
        );
        said.evidence.push(Statement::new(text));
    }
    said.evidence.extend(words::spread(case, claimed));
    said.against.push(Statement::new(
        "Who cuts is not seen: a handler that gives up after its own timeout, or a server that cuts slow \
         uploads, looks the same.",
    ));
    if !case.patterns.failing_paths.is_empty() {
        said.against.push(Statement::new(
            "Each request of the path fails: a handler that works so long and then fails looks the same.",
        ));
    }
    let limit = constant.map_or(0.0, |constant| constant.low.floor());
    said.fixes.push(Fix::new(format!(
        "Look for a limit of {} in the application server (gunicorn --timeout, uWSGI harakiri, PHP \
         request_terminate_timeout, Puma worker_timeout) and for its kill messages at the times of \
         the samples.",
        seconds(limit)
    )));
    said.fixes.push(Fix::new(
        "Make the slow paths quicker or move the work to a queue; raise the limit only below the load \
         balancer's idle timeout.",
    ));
    said
}
