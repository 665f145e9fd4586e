//! deregistration: the deregistration delay ends while requests still run, and the load balancer cuts
//! them.
//!
//! Requests of one target end at the same instant, all older than the delay, and none was sent to the
//! target since it was deregistered.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{
        Case, Confidence, Fix, Statement, TargetState,
        checks::deregistration_delay_covers_requests::enough_seconds,
        command::{Command, Piece, Value},
        patterns::Exit,
    },
    numbers::{plural, seconds},
};

pub(super) const CAUSE: Cause = Cause {
    id: "deregistration",
    title: "The deregistration delay ends before the requests do",
    why_healthy: Some(
        "The target that is cut is being taken out of service; the ones that are left are fine.",
    ),
    claim,
    explain,
};

/// Without new requests for this long a target with traffic was being drained, not running.
const DRAINED_SECONDS: f64 = 5.0;

/// The delay is kept to within about a second; two leave room for the rounding of the log.
const TOLERANCE_SECONDS: f64 = 2.0;

fn claim(case: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    match case.patterns.exit_of(row) {
        Some(exit) => is_end_of_delay(case, exit).then(|| Strength::Certain.into()),
        None => is_cut_alone(case, row).then(|| Strength::Certain.into()),
    }
}

/// How long a target had got no new request at a time, in seconds.
fn quiet_seconds(case: &Case<'_>, target: &str, time: i64) -> Option<f64> {
    let start = case.target(target)?.last_start?;
    Some((time - start) as f64 / 1e6)
}

/// Requests that end together, none of them younger than the silence before: the load balancer had
/// stopped sending, and then cut.
fn is_end_of_delay(case: &Case<'_>, exit: &Exit) -> bool {
    let Some(quiet) = quiet_seconds(case, &exit.target, exit.time) else { return false };
    if exit.refused_after != 0 {
        return false;
    }
    let delay = case.facts.deregistration_delay_seconds().map(f64::from);
    if delay.is_some_and(|delay| delay < DRAINED_SECONDS) {
        // There is hardly a silence before: the load balancer cuts as soon as it stops sending.
        return case.target_state(&exit.target).is_some_and(|state| state.is_leaving());
    }
    if quiet < DRAINED_SECONDS || exit.shortest + 0.5 < quiet {
        return false;
    }
    if let Some(delay) = delay
        && !(delay - TOLERANCE_SECONDS..=delay + 2.0 * TOLERANCE_SECONDS).contains(&quiet)
    {
        // Cut before or long after the delay was over: it was not the delay that cut.
        return false;
    }
    match case.target_state(&exit.target) {
        Some(state) => state.is_leaving(),
        None => case.patterns.left.contains(&exit.target) || is_silence(case, &exit.target, quiet),
    }
}

/// A target with traffic that gets no new request was taken out: a load balancer goes on sending to a
/// process that hangs. By chance a pause is ten times the usual one in 1 of 20,000 (e^-10).
fn is_silence(case: &Case<'_>, target: &str, quiet: f64) -> bool {
    let Some(target) = case.target(target) else { return false };
    let Some(last) = target.last_start else { return false };
    let usual = (last - target.first_seen) as f64 / 1e6 / target.requests.max(1) as f64;
    10.0 * usual <= quiet
}

/// One request alone, on a target that AWS says is leaving, cut when the delay was over.
fn is_cut_alone(case: &Case<'_>, row: &FailureRow) -> bool {
    let (Some(target), Some(delay)) =
        (row.target.as_deref(), case.facts.deregistration_delay_seconds())
    else {
        return false;
    };
    let Some(quiet) = quiet_seconds(case, target, row.time) else { return false };
    let delay = f64::from(delay);
    row.signature == Signature::ClosedLate
        && DRAINED_SECONDS <= quiet
        && (delay - TOLERANCE_SECONDS..=delay + 2.0 * TOLERANCE_SECONDS).contains(&quiet)
        && case.target_state(target).is_some_and(|state| state.is_leaving())
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let delay = case.facts.deregistration_delay_seconds();
    let exits: Vec<&Exit> =
        case.patterns.exits.iter().filter(|exit| is_end_of_delay(case, exit)).collect();
    let confirmed = delay.is_some()
        && exits
            .iter()
            .all(|exit| case.target_state(&exit.target).is_some_and(|state| state.is_leaving()));
    // What is gone may have crashed and been replaced; only draining is the load balancer's own doing.
    let is_draining = |exit: &&Exit| {
        case.target_state(&exit.target) == Some(TargetState::Registered("draining".to_owned()))
    };
    let draining = confirmed && exits.iter().all(is_draining);
    let mut said = Explanation::new(if draining { Confidence::High } else { Confidence::Medium });
    if !draining {
        said.against.push(Statement::new(
            "AWS was not seen to drain the target: a process that is killed, and replaced, looks the same.",
        ));
    }
    said.evidence.push(words::of_failures(
        claimed,
        "cut while they ran, on a target that the load balancer had stopped sending to.",
    ));
    for exit in exits.iter().take(3) {
        let quiet = quiet_seconds(case, &exit.target, exit.time).unwrap_or_default();
        said.evidence.push(Statement::counted(
            exit.closed,
            claimed.of,
            format!(
                "{}: {} ended together, the youngest {} old; the target had got no new request for \
                 {}.",
                exit.target,
                plural(exit.closed, "request"),
                seconds(exit.shortest),
                seconds(quiet)
            ),
        ));
    }
    match delay {
        Some(delay) => said.evidence.push(Statement::new(format!(
            "The deregistration delay is {}.",
            seconds(f64::from(delay))
        ))),
        None => said.against.push(Statement::new(
            "The deregistration delay is not known; a process that stops taking requests and is \
             killed later looks the same.",
        )),
    }
    let longest = claimed.largest(FailureRow::target_seconds).unwrap_or_default();
    let enough = enough_seconds(longest);
    said.fixes.push(Fix::with(
        format!(
            "Raise the delay above the longest request. The longest that was cut had run {}; {enough} \
             s is twice that, in whole half minutes.",
            seconds(longest)
        ),
        Command::new("aws elbv2 modify-target-group-attributes")
            .flag("--target-group-arn", Value::Arn(case.target_group_arn().unwrap_or_default()))
            .words("--attributes")
            .joined(&[
                Piece::Text("Key=deregistration_delay.timeout_seconds,Value="),
                Piece::Value(Value::Number(enough)),
            ])
            .region(case.region()),
    ));
    said.fixes.push(Fix::new(
        "For good: keep the process alive until the delay is over (ECS stopTimeout, Kubernetes \
         preStop and terminationGracePeriodSeconds), or make long work a job that is polled.",
    ));
    said
}
