//! oversized-headers: the response headers are larger than the load balancer takes (32 KB together,
//! 16 KB for one).
//!
//! The log does not show response headers. What it shows: requests of some users fail on a path where
//! others succeed, and theirs are much larger, as when cookies grow.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{Case, Confidence, Fix, Statement},
    numbers::count,
};

pub(super) const CAUSE: Cause = Cause {
    id: "oversized-headers",
    title: "The response headers are larger than the load balancer takes",
    why_healthy: Some(
        "The health check sends no cookies and gets few headers back; only some users' responses are \
         too large.",
    ),
    claim,
    explain,
};

/// A request this many times larger than the successful ones of the same path carries more than its
/// neighbours.
const LARGER: f64 = 2.0;

/// Below this a request carries no cookies worth a thought, in bytes.
const MIN_BYTES: u64 = 4096;

fn claim(case: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    let closed = matches!(row.signature, Signature::ClosedEarly | Signature::ClosedLate);
    let has_no_body = matches!(row.method.as_deref(), Some("GET" | "HEAD"));
    let name = row.path.as_ref()?;
    let stands_out =
        case.patterns.leaning_paths.contains(name) || case.patterns.failing_paths.contains(name);
    if !closed || !has_no_body || !stands_out {
        return None;
    }
    let path = case.evidence.paths.iter().find(|path| path.path == *name)?;
    let usual = path.success_bytes?;
    let bytes = row.received_bytes?;
    (MIN_BYTES <= bytes && LARGER * usual <= bytes as f64).then(|| Strength::Certain.into())
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let mut said =
        Explanation::new(if 5 <= claimed.count { Confidence::Medium } else { Confidence::Low });
    said.evidence.push(words::of_failures(
        claimed,
        "closed without a response on a path where smaller requests succeed.",
    ));
    let bytes = claimed.median(|row| row.received_bytes.map(|bytes| bytes as f64));
    if let Some(bytes) = bytes {
        said.evidence.push(Statement::new(format!(
            "The requests that fail have {} bytes (median) and no body: their headers, most likely \
             cookies, are large; a response that sets them again may be larger than 32 KB.",
            count(bytes as u64)
        )));
    }
    said.evidence.extend(words::spread(case, claimed));
    said.against.push(Statement::new(
        "The log does not show response headers: a handler that fails on large requests looks the \
         same.",
    ));
    said.fixes.push(words::ask_target(
        case,
        claimed,
        "Ask with such a cookie and count the bytes of the response headers; the limits are 16 KB for \
         a header and 32 KB together.",
    ));
    said.fixes.push(Fix::new(
        "Shrink Set-Cookie, Content-Security-Policy and debug headers; keep the session on the \
         server.",
    ));
    said
}
