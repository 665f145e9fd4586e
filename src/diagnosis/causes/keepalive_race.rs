//! keepalive-race: the target closes an idle connection just as the load balancer uses it again.
//!
//! The load balancer keeps connections for its idle timeout (60 s by default). A target with a shorter
//! keep-alive timeout closes first, and a request that is on its way meets a closed connection.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html>

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{
        Case, Confidence, Fix, KeepAliveEstimate, Statement,
        checks::keep_alive_exceeds_idle_timeout,
        command::{Command, Piece, Value},
        keep_alive::stop_gap_seconds,
        server_defaults,
    },
    numbers::{count, percent, plural, seconds},
};

pub(super) const CAUSE: Cause = Cause {
    id: "keepalive-race",
    title: "The targets close idle connections before the load balancer does",
    why_healthy: Some(
        "Every health check opens a connection of its own and closes it: it never uses a connection \
         again, so it never meets one that the target has just closed.",
    ),
    claim,
    explain,
};

/// A race hits the few requests that meet a closing connection. Where more fail, something else is at
/// work, unless the idle gaps say otherwise.
const USUAL_RATE: f64 = 0.1;

/// How far outside the inferred interval a gap may lie and still be the same timer, seconds.
const TOLERANCE_SECONDS: f64 = 0.5;

fn claim(case: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    if row.signature != Signature::ClosedEarly {
        return None;
    }
    // Without an earlier answer there is no connection to use again.
    let target = case.target(row.target.as_deref()?)?;
    target.first_success.filter(|first| *first < row.time)?;
    // The load balancer itself closes a connection that is idle for so long: there is none to use again.
    let idle_timeout = case.facts.idle_timeout_seconds().map(f64::from);
    if row.idle_gap.zip(idle_timeout).is_some_and(|(gap, idle)| idle + 1.0 < gap) {
        return None;
    }
    match (case.patterns.keep_alive, row.idle_gap) {
        (Some(estimate), Some(gap)) if supports(&estimate, gap) => Some(Strength::Strong.into()),
        (Some(_), _) => Some(Strength::Likely.into()),
        (None, _) => {
            let rare = case.evidence.counts.rate() <= USUAL_RATE;
            (rare && was_idle(case) && !is_declared_longer(case)).then(|| Strength::Possible.into())
        }
    }
}

/// Half of the closed requests or more came after a pause of a second: the shortest keep-alive timeout
/// of a server is two. The others may have used another connection than the last one.
fn was_idle(case: &Case<'_>) -> bool {
    let gaps = &case.evidence.idle_gaps;
    let paused = gaps.closed_early.iter().filter(|gap| 1.0 <= **gap).count() as u64;
    gaps.closed_early.len() as u64 <= 2 * paused + gaps.unknown
}

/// With so many known pauses a timer would show.
const MANY_GAPS: usize = 8;

/// All rows are on one path, and the group has others.
fn is_one_of_many_paths(case: &Case<'_>, claimed: &Claimed<'_>) -> bool {
    let others = case.evidence.paths.iter().filter(|path| 0 < path.requests).count();
    claimed.paths().len() == 1 && 1 < others && 3 <= claimed.at_hand()
}

/// The keep-alive timeout that a tag of the target group declares, seconds.
fn declared_seconds(case: &Case<'_>) -> Option<f64> {
    let tags = case.facts.target_group_tags.known()?;
    let declared: f64 = tags.get(keep_alive_exceeds_idle_timeout::TAG)?.parse().ok()?;
    declared.is_finite().then_some(declared)
}

/// A declared timeout that is longer than the idle timeout leaves no room for a race.
fn is_declared_longer(case: &Case<'_>) -> bool {
    declared_seconds(case)
        .zip(case.facts.idle_timeout_seconds())
        .is_some_and(|(declared, idle)| f64::from(idle) < declared)
}

fn supports(estimate: &KeepAliveEstimate, gap: f64) -> bool {
    (estimate.low - TOLERANCE_SECONDS..=estimate.high + TOLERANCE_SECONDS).contains(&gap)
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let estimate = case.patterns.keep_alive;
    let idle_timeout = case.facts.idle_timeout_seconds();
    let contradicted = estimate
        .zip(idle_timeout)
        .is_some_and(|(estimate, idle)| f64::from(idle) < estimate.low - TOLERANCE_SECONDS);
    let widespread = 2 <= claimed.targets().len() && 3 <= claimed.paths().len();
    let one_path = is_one_of_many_paths(case, claimed);
    let frequent = USUAL_RATE < case.evidence.counts.rate();
    let declared = declared_seconds(case).filter(|_| is_declared_longer(case));
    // Many pauses that do not pile up speak against a timer.
    let no_pile = estimate.is_none() && MANY_GAPS <= case.evidence.idle_gaps.closed_early.len();
    let confidence = match (estimate, idle_timeout) {
        _ if contradicted || one_path || no_pile => Confidence::Low,
        (Some(estimate), Some(_)) if 5 <= estimate.gaps && !frequent => Confidence::High,
        (Some(_), _) => Confidence::Medium,
        (None, _) if widespread && 5 <= claimed.count => Confidence::Medium,
        (None, _) => Confidence::Low,
    };
    let mut said = Explanation::new(confidence);
    said.evidence.push(words::of_failures(
        claimed,
        "the request was sent, and the connection closed within a moment and without a response.",
    ));
    match estimate {
        Some(estimate) => say_estimate(case, claimed, &estimate, &mut said),
        None => say_no_estimate(case, &mut said),
    }
    match idle_timeout {
        Some(idle) if contradicted => said.against.push(Statement::new(format!(
            "The load balancer closes idle connections itself after {idle} s, before the targets \
             would."
        ))),
        Some(idle) => said.evidence.push(Statement::new(format!(
            "The load balancer keeps idle connections for {idle} s and uses them again."
        ))),
        None => said.against.push(Statement::new(
            "The load balancer's idle timeout is not known (60 s by default); a race needs it to be \
             longer than the target's.",
        )),
    }
    said.evidence.extend(words::spread(case, claimed));
    if one_path {
        said.against.push(Statement::new(
            "They are on one path while others succeed: a fault of its handler looks the same.",
        ));
    }
    if frequent {
        said.against.push(Statement::new(format!(
            "{} of all requests fail; a race hits few, unless the traffic keeps time with the timeout.",
            percent(case.evidence.counts.rate())
        )));
    }
    if let Some(declared) = declared {
        said.against.push(Statement::new(format!(
            "The tag alb502:keep-alive-seconds says {}, longer than the load balancer's idle timeout.",
            seconds(declared)
        )));
    }
    if case.patterns.failing_paths.is_empty()
        && case.patterns.leaning_paths.is_empty()
        && case.patterns.exits.is_empty()
        && 3 <= claimed.paths().len()
    {
        said.evidence.push(Statement::new(
            "No path fails each time and no requests ended together: it is neither one handler nor a \
             crash.",
        ));
    }
    let served = words::successes_of_targets(case, claimed);
    if 0 < served {
        said.evidence.push(Statement::new(format!(
            "The same targets answered {} requests in the same time.",
            count(served)
        )));
    }
    fixes(case, claimed, &mut said);
    said
}

fn say_estimate(
    case: &Case<'_>,
    claimed: &Claimed<'_>,
    estimate: &KeepAliveEstimate,
    said: &mut Explanation,
) {
    let known = claimed.rows_where(|row| row.idle_gap.is_some());
    // What is printed is what was counted: the interval itself, and the milliseconds that the log cuts.
    let within = |gap: f64| (estimate.low - 0.01..=estimate.high + 0.01).contains(&gap);
    let fit = claimed.rows_where(|row| row.idle_gap.is_some_and(within));
    let healthy = &case.evidence.idle_gaps.successes;
    let healthy_fit = healthy.iter().filter(|gap| within(**gap)).count();
    said.evidence.push(Statement::counted(
        fit,
        known,
        format!(
            "{} of {} came {} after the previous answer of the same target through the same \
             load-balancer node; of the successful requests {} did. So the targets close idle \
             connections after about {}.",
            count(fit),
            count(known),
            between(estimate.low, estimate.high),
            percent(healthy_fit as f64 / healthy.len().max(1) as f64),
            seconds(estimate.best)
        ),
    ));
    let servers: Vec<String> = server_defaults::matching(estimate.low, estimate.high)
        .map(|it| {
            let late = if 1.0 <= it.late { ", and it closes up to a second late" } else { "" };
            format!("{} ({}{late})", it.server, seconds(it.seconds))
        })
        .collect();
    if !servers.is_empty() {
        said.evidence
            .push(Statement::new(format!("That fits the default of {}.", servers.join(", "))));
    }
    if 0 < healthy_fit {
        said.against.push(Statement::counted(
            healthy_fit as u64,
            healthy.len() as u64,
            format!(
                "{} came after the same pause: on another connection, or a moment before the target \
                 closed.",
                plural(healthy_fit as u64, "successful request")
            ),
        ));
    }
    if fit < known {
        said.against.push(Statement::counted(
            known - fit,
            known,
            format!(
                "{} came after another pause: another connection to the same target may have been \
                 used, or another cause is mixed in.",
                plural(known - fit, "request")
            ),
        ));
    }
}

/// `6 s`, or `5 to 5.4 s`.
fn between(low: f64, high: f64) -> String {
    let (low, high) = (seconds(low), seconds(high));
    match low.strip_suffix(" s") {
        Some(number) if low != high => format!("{number} to {high}"),
        _ => high,
    }
}

fn say_no_estimate(case: &Case<'_>, said: &mut Explanation) {
    let gaps = &case.evidence.idle_gaps;
    let known = gaps.closed_early.len() as u64;
    said.against.push(Statement::counted(
        known,
        known + gaps.unknown,
        if known < 4 {
            format!(
                "The pause before the request is known for {known} of {} closed requests; four that \
                 agree would show the targets' timeout.",
                count(known + gaps.unknown)
            )
        } else {
            format!("The pauses before {known} closed requests differ, so a timeout cannot be read from them.")
        },
    ));
}

fn fixes(case: &Case<'_>, claimed: &Claimed<'_>, said: &mut Explanation) {
    let idle = case.facts.idle_timeout_seconds();
    let above = idle.unwrap_or(60) + 5;
    let mut directives: Vec<String> = case
        .patterns
        .keep_alive
        .map(|estimate| {
            server_defaults::matching(estimate.low, estimate.high)
                .map(|it| format!("{}: {}", it.server, it.directive))
                .collect()
        })
        .unwrap_or_default();
    if directives.is_empty() {
        directives = [
            "nginx: keepalive_timeout",
            "Node.js: server.keepAliveTimeout",
            "Apache: KeepAliveTimeout",
            "gunicorn: --keep-alive",
        ]
        .map(ToOwned::to_owned)
        .to_vec();
    }
    said.fixes.push(Fix::new(format!(
        "Let the targets keep idle connections for {above} s or more, longer than the load \
         balancer's {}. {}.",
        idle.map_or("idle timeout (60 s by default)".to_owned(), |idle| format!("{idle} s")),
        directives.join("; ")
    )));
    let success = case.evidence.success_seconds;
    let below = case.patterns.keep_alive.and_then(|it| stop_gap_seconds(it.low, success));
    if let (Some(below), Some(success)) = (below, success) {
        let arn = case.likely_load_balancer_arn();
        said.fixes.push(Fix::with(
            format!(
                "Stop-gap: let the load balancer close first, with an idle timeout of {below} s{}. It \
                 holds for all its target groups, and requests on which a target is silent for longer \
                 fail with 504; 99 of 100 take less than {} here.",
                idle.map_or(String::new(), |idle| format!(" (it is {idle} s now)")),
                seconds(success.p99)
            ),
            Command::new("aws elbv2 modify-load-balancer-attributes")
                .flag("--load-balancer-arn", Value::Arn(arn.as_deref().unwrap_or_default()))
                .words("--attributes")
                .joined(&[
                    Piece::Text("Key=idle_timeout.timeout_seconds,Value="),
                    Piece::Value(Value::Number(below)),
                ])
                .region(case.region()),
        ));
    }
    said.fixes.push(words::listening(
        claimed,
        "On the target, see which server listens, then set its keep-alive timeout.",
    ));
}
