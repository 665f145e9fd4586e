//! saturation: the target's listen backlog is full, so it drops attempts to connect.
//!
//! Linux drops the SYN; the load balancer repeats it after 1, 3 and 7 seconds and gives up after 10.
//! So some requests succeed with a request_processing_time just above one of these, and the rest are
//! 504 (measured).

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{Case, Confidence, Fix, Statement},
    numbers::{count, plural},
};

pub(super) const CAUSE: Cause = Cause {
    id: "saturation",
    title: "The target accepts connections too slowly: its listen backlog is full",
    why_healthy: Some(
        "A health check is one connection every few seconds, with a timeout of seconds: a repeated SYN \
         often gets it through.",
    ),
    claim,
    explain,
};

fn claim(case: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    if row.signature != Signature::ConnectTimeout {
        return None;
    }
    let target = case.target(row.target.as_deref()?)?;
    // Two slow connections are no accident; one may be a lost packet.
    (2 <= target.slow_connects).then(|| Strength::Strong.into())
}

/// The targets whose backlog is full have nearly all the silent requests too: these wait for a worker, and
/// a slow path is not what makes them slow.
pub(super) fn explains_silence(case: &Case<'_>) -> bool {
    let silent = |full: bool| -> u64 {
        let targets = case.evidence.targets.iter();
        targets
            .filter(|target| !full || 2 <= target.slow_connects)
            .map(|target| target.of(Signature::IdleTimeout))
            .sum()
    };
    9 * silent(false) <= 10 * silent(true)
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let slow: u64 = claimed
        .targets()
        .iter()
        .filter_map(|(name, _)| case.target(name))
        .map(|target| target.slow_connects)
        .sum();
    let mut said = Explanation::new(if 5 <= slow { Confidence::High } else { Confidence::Medium });
    said.evidence.push(words::of_failures(
        claimed,
        "no answer to the attempt to connect for 10 s (504, all three times are -1).",
    ));
    said.evidence.push(Statement::new(format!(
        "{} to the same targets succeeded after a repeated SYN (request_processing_time just above \
         1, 3 or 7 s): the port is open, but its queue was full.",
        plural(slow, "request")
    )));
    let served = words::successes_of_targets(case, claimed).saturating_sub(slow);
    if 0 < served {
        said.evidence.push(Statement::new(format!(
            "The same targets answered {} requests without a repeated SYN: no rule blocks the port.",
            count(served)
        )));
    }
    let silent = case.count(Signature::IdleTimeout);
    if 0 < silent && explains_silence(case) {
        said.evidence.push(Statement::new(format!(
            "{} to them stayed without an answer until the idle timeout: they wait in the same queue.",
            plural(silent, "request")
        )));
    }
    said.fixes.push(words::listening(
        claimed,
        "On the target, compare Recv-Q (waiting) with Send-Q (backlog) of the listening socket.",
    ));
    said.fixes.push(Fix::new(
        "Add targets or workers; raise the backlog (net.core.somaxconn and the server's own) so that \
         a burst can wait.",
    ));
    said
}
