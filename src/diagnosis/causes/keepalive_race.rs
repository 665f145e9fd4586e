//! keepalive-race: the target closes an idle connection just as the load balancer uses it again.
//!
//! The load balancer keeps connections for its idle timeout (60 s by default). A target with a shorter
//! keep-alive timeout closes first, and a request that is on its way meets a closed connection.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html>

mod after_answer;

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{
        Case, Confidence, Fix, Statement,
        chance::chance,
        checks::keep_alive_exceeds_idle_timeout,
        command::{Command, Piece, Value},
        keep_alive::{Comparison, KeepAlive, Timer, stop_gap_seconds},
        server_defaults,
    },
    numbers::{count, percent, seconds},
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
/// work, unless the pauses say otherwise.
const USUAL_RATE: f64 = 0.1;

/// Where more of the healthy requests follow the same gap, the clients keep time with it.
const USUAL_HEALTHY_SHARE: f64 = 0.3;

/// So many gaps that agree are enough for a diagnosis of high confidence.
const MANY_GAPS: u64 = 8;

/// A request whose gaps do not fit the timer that the others show may still belong to it: rows are
/// delivered with best effort, and an answer may be missing. When more than this share does not fit,
/// something else is mixed in.
const MISSING_SHARE: f64 = 0.2;

/// How far the idle timeout may lie below the inferred interval and still be above the timer, seconds.
const TOLERANCE_SECONDS: f64 = 0.5;

fn claim(case: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    if row.signature != Signature::ClosedEarly || case.patterns.streak_of(row).is_some() {
        return None;
    }
    // Without an earlier answer there is no connection to use again.
    let name = row.target.as_deref()?;
    let target = case.target(name)?;
    target.first_success.filter(|first| *first < row.time)?;
    let shown = &case.patterns.keep_alive;
    if shown.timers.iter().any(|timer| timer.explains(name, &row.gaps)) {
        return Some(Strength::Strong.into());
    }
    if after_answer::is_right_after(case, row) {
        return Some(Strength::Likely.into());
    }
    // The load balancer itself closes a connection that is idle for so long: there is none to use again.
    let idle_timeout = case.facts.idle_timeout_seconds().map(f64::from);
    if row.pause().zip(idle_timeout).is_some_and(|(pause, idle)| idle + 1.0 < pause) {
        return None;
    }
    let Some(timer) = shown.timers.first() else {
        let rare = case.evidence.counts.rate() <= USUAL_RATE;
        return (rare && was_idle(case) && !is_excluded(case)).then(|| Strength::Possible.into());
    };
    // The rows at hand do not reach back so far: nothing is known of its connection.
    let reaches_back = row.gaps.last().is_some_and(|gap| timer.last <= f64::from(*gap));
    if !reaches_back {
        return Some(Strength::Likely.into());
    }
    let fit: u64 = shown.timers.iter().map(|timer| timer.estimate.gaps).sum();
    let few_do_not_fit = (1.0 - MISSING_SHARE) * shown.known as f64 <= fit as f64;
    few_do_not_fit.then(|| Strength::Possible.into())
}

/// True when the pauses, or a tag, say that no timer of the targets is at work. One event that drops idle
/// connections, such as a reload, is a race all the same.
pub(super) fn is_excluded(case: &Case<'_>) -> bool {
    let shown = &case.patterns.keep_alive;
    shown.timers.is_empty()
        && (is_declared_longer(case) || (shown.is_ruled_out() && !case.patterns.early_in_bursts))
}

/// Half of the closed requests or more came after a pause of a second: the shortest keep-alive timeout
/// of a server is two. The others may have used another connection than the last one. A busy pair has
/// hardly an idle connection.
fn was_idle(case: &Case<'_>) -> bool {
    let pauses = &case.evidence.pauses;
    let first = pauses.closed_early.iter().filter_map(|pause| pause.gaps.first());
    let paused = first.filter(|pause| 1.0 <= **pause).count() as u64;
    pauses.closed_early.len() as u64 + 2 * pauses.busy <= 2 * paused + pauses.unknown
}

/// All rows are on one path, which is no chance: its share of the requests would hardly give that.
fn is_on_one_path(case: &Case<'_>, claimed: &Claimed<'_>) -> bool {
    let paths = claimed.paths();
    let ([(path, rows)], true) = (paths.as_slice(), 3 <= claimed.at_hand()) else { return false };
    let requests: u64 = case.evidence.paths.iter().map(|path| path.requests).sum();
    let asked = case.evidence.paths.iter().find(|it| *it.path == **path);
    let share = asked.map_or(1.0, |it| it.requests as f64 / requests.max(1) as f64);
    chance(*rows, *rows, share) < 1e-3
}

/// The most rows that were closed within half a second.
fn largest_burst(claimed: &Claimed<'_>) -> u64 {
    const BURST_MICROS: i64 = 500_000;
    // The rows are ordered by time.
    let times: Vec<i64> = claimed.rows.iter().map(|row| row.time).collect();
    let from_each = times
        .iter()
        .enumerate()
        .map(|(index, time)| times.partition_point(|other| *other <= time + BURST_MICROS) - index);
    from_each.max().unwrap_or(0) as u64
}

/// A connection that is found closed shows within a round trip and the delay of the load balancer: 60 ms
/// at most were measured. Longer, and the target had begun to work.
const FOUND_CLOSED_SECONDS: f64 = 0.1;

/// The idle timeout of a load balancer that nobody has changed: it closes a connection that is idle for longer
/// itself.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html>
const DEFAULT_IDLE_SECONDS: f64 = 60.5;

/// A target has one keep-alive timeout: two timers of one contradict each other.
fn says_several_of_one_target(shown: &KeepAlive) -> bool {
    shown.timers.iter().enumerate().any(|(index, timer)| {
        let others = shown.timers.iter().skip(index + 1);
        others.flat_map(|other| &other.targets).any(|target| timer.targets.contains(target))
    })
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

fn confidence(case: &Case<'_>, claimed: &Claimed<'_>, weighed: &Weighed) -> Confidence {
    let shown = &case.patterns.keep_alive;
    if let Some(timer) = shown.timers.first() {
        let gaps = timer.estimate.gaps;
        // What is measured beats what a tag declares.
        return if weighed.contradicted {
            Confidence::Low
        } else if shown.is_confounded {
            // Gap and path say the same: which of them it is, the rows do not tell.
            Confidence::Low
        } else if weighed.one_path
            || gaps < 5
            || weighed.worked
            || says_several_of_one_target(shown)
            || (case.facts.idle_timeout_seconds().is_none() && DEFAULT_IDLE_SECONDS < timer.first)
            || (weighed.frequent && (gaps < MANY_GAPS || USUAL_HEALTHY_SHARE < timer.healthy_share))
        {
            Confidence::Medium
        } else if case.facts.idle_timeout_seconds().is_some() || MANY_GAPS <= gaps {
            // That the load balancer used a connection after such a pause is seen in the rows.
            Confidence::High
        } else {
            Confidence::Medium
        };
    }
    let longer = shown.comparison.as_ref().is_some_and(Comparison::is_longer);
    let widespread =
        5 <= claimed.count && 2 <= claimed.targets().len() && 3 <= claimed.paths().len();
    let enough = shown.needed.is_some_and(|needed| needed <= shown.known);
    let alike = shown.comparison.as_ref().is_some_and(Comparison::is_alike);
    let alike = alike && MANY_GAPS <= shown.known;
    let against = weighed.one_path || weighed.burst || weighed.worked || alike;
    // Without a single pause nothing but the form of the rows speaks for it.
    let seen = 0 < shown.known && shown.needed.is_some();
    let for_it = (widespread && seen && !enough) || (longer && 2 <= claimed.paths().len());
    if for_it && !against { Confidence::Medium } else { Confidence::Low }
}

/// What speaks against a race, weighed once.
struct Weighed {
    contradicted: bool,
    one_path: bool,
    frequent: bool,
    /// Most rows were closed at the same moments.
    burst: bool,
    /// The median request had been worked on when it was closed.
    worked: bool,
    declared: Option<f64>,
}

fn weigh(case: &Case<'_>, claimed: &Claimed<'_>) -> Weighed {
    let estimate = case.patterns.keep_alive.estimate();
    let idle_timeout = case.facts.idle_timeout_seconds();
    let burst = largest_burst(claimed);
    Weighed {
        contradicted: estimate
            .zip(idle_timeout)
            .is_some_and(|(estimate, idle)| f64::from(idle) < estimate.low - TOLERANCE_SECONDS),
        one_path: is_on_one_path(case, claimed),
        frequent: USUAL_RATE < case.evidence.counts.rate(),
        burst: case.patterns.early_in_bursts || (4 <= burst && claimed.at_hand() <= 2 * burst),
        worked: claimed
            .median(FailureRow::target_seconds)
            .is_some_and(|median| FOUND_CLOSED_SECONDS < median),
        declared: declared_seconds(case).filter(|_| is_declared_longer(case)),
    }
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    if let Some(shown) = case.patterns.right_after {
        return after_answer::explain(case, claimed, shown);
    }
    let idle_timeout = case.facts.idle_timeout_seconds();
    let weighed = weigh(case, claimed);
    let mut said = Explanation::new(confidence(case, claimed, &weighed));
    said.evidence.push(words::of_failures(
        claimed,
        "the request was sent, and the connection closed within a moment and without a response.",
    ));
    let timers = &case.patterns.keep_alive.timers;
    for timer in timers {
        say_timer(timer, 1 < timers.len(), claimed, &mut said);
    }
    if timers.is_empty() {
        say_no_timer(case, &mut said);
    }
    match idle_timeout {
        Some(idle) if weighed.contradicted => said.against.push(Statement::new(format!(
            "The load balancer closes idle connections itself after {idle} s, before the targets \
             would."
        ))),
        Some(idle) => said.evidence.push(Statement::new(format!(
            "The load balancer keeps idle connections for {idle} s and uses them again."
        ))),
        None if timers.is_empty() => said.against.push(Statement::new(
            "The load balancer's idle timeout is not known (60 s by default); a race needs it to be \
             longer than the target's.",
        )),
        None => said.evidence.push(Statement::new(
            "The load balancer's idle timeout is not known (60 s by default); that it used \
             connections after such a pause shows that it is longer.",
        )),
    }
    said.evidence.extend(words::spread(case, claimed));
    say_against(case, claimed, &weighed, &mut said);
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

fn say_against(case: &Case<'_>, claimed: &Claimed<'_>, weighed: &Weighed, said: &mut Explanation) {
    if case.patterns.keep_alive.is_confounded {
        said.against.push(Statement::new(
            "They are for a few kinds of paths that the traffic asks for far less often; a timer does not \
             know paths. A client that asks for them so long after another request, and a handler that \
             fails at times, look the same.",
        ));
    }
    if weighed.one_path {
        said.against.push(Statement::new(
            "They are on one path while others succeed: a fault of its handler looks the same.",
        ));
    }
    if weighed.frequent {
        said.against.push(Statement::new(format!(
            "{} of all requests fail; a race hits few, unless the traffic keeps time with the timeout.",
            percent(case.evidence.counts.rate())
        )));
    }
    if weighed.burst {
        let burst = largest_burst(claimed);
        said.against.push(Statement::counted(
            burst,
            claimed.at_hand(),
            format!(
                "{} of them were closed within half a second: a reload or a restart that drops idle \
                 connections does that, a timer spreads them out.",
                count(burst)
            ),
        ));
    }
    if let (true, Some(median)) = (weighed.worked, claimed.median(FailureRow::target_seconds)) {
        said.against.push(Statement::new(format!(
            "The target had the requests for {} (median); a connection that is found closed shows \
             within 0.1 s.",
            seconds(median)
        )));
    }
    if let Some(declared) = weighed.declared {
        said.against.push(Statement::new(format!(
            "The tag alb502:keep-alive-seconds says {}, longer than the load balancer's idle timeout.",
            seconds(declared)
        )));
    }
}

/// More servers than these with the same default are no help.
const MAX_SERVERS: usize = 4;

fn say_timer(timer: &Timer, name_targets: bool, claimed: &Claimed<'_>, said: &mut Explanation) {
    let fit = timer.estimate.gaps;
    let who = if name_targets {
        let shown: Vec<&str> = timer.targets.iter().map(|it| &**it).take(3).collect();
        let more = if shown.len() < timer.targets.len() { " and others" } else { "" };
        format!("{}{more}", shown.join(", "))
    } else {
        "the targets".to_owned()
    };
    let which = if timer.is_latest { "the previous answer" } else { "an earlier answer" };
    let verb = if name_targets && timer.targets.len() == 1 { "closes" } else { "close" };
    said.evidence.push(Statement::counted(
        fit,
        timer.of,
        format!(
            "{} of {} came {} after {which} of the same target through the same load-balancer node; \
             of the successful requests beside them {} did. So {who} {verb} idle connections after \
             about {}.",
            count(fit),
            words::closed_requests(timer.of, claimed),
            between(timer.first, timer.last),
            percent(timer.healthy_share),
            seconds(timer.estimate.best)
        ),
    ));
    let mut servers: Vec<String> = server_defaults::matching(timer.first, timer.last)
        .map(|it| {
            let late = if 0.5 <= it.late { ", and it closes up to a second late" } else { "" };
            format!("{} ({}{late})", it.server, seconds(it.seconds))
        })
        .collect();
    if !servers.is_empty() {
        if MAX_SERVERS < servers.len() {
            servers.truncate(MAX_SERVERS);
            servers.push("and others".to_owned());
        }
        said.evidence
            .push(Statement::new(format!("That fits the default of {}.", servers.join(", "))));
    }
    if fit < timer.of {
        said.against.push(Statement::counted(
            timer.of - fit,
            timer.of,
            format!(
                "The other {} of these {} came after no such pause: rows may be missing, or another cause is \
                 mixed in.",
                count(timer.of - fit),
                count(timer.of)
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

fn say_no_timer(case: &Case<'_>, said: &mut Explanation) {
    let shown = &case.patterns.keep_alive;
    let all = shown.known + shown.unknown;
    let would = match shown.needed {
        Some(needed) if shown.known < needed => {
            format!(
                "; that is too few to show the targets' timeout, about {needed} would be enough"
            )
        }
        Some(_) => "; they do not pile up at a timeout".to_owned(),
        None if shown.known == 0 => "; four that agree would show the targets' timeout".to_owned(),
        None => {
            "; the traffic is too dense for any number to show a timeout: the rows of a quieter \
                 hour would, or a probe of the target"
                .to_owned()
        }
    };
    said.against.push(Statement::counted(
        shown.known,
        all,
        format!(
            "The pause before the request is known for {} of {} closed requests{would}.",
            count(shown.known),
            count(all)
        ),
    ));
    let Some(comparison) = shown.comparison else { return };
    let pauses = format!(
        "the closed requests came {} after the previous answer (median), healthy ones beside them {}",
        seconds(comparison.closed),
        seconds(comparison.healthy)
    );
    if comparison.is_longer() {
        said.evidence.push(Statement::new(format!(
            "Idle connections are hit: {pauses}; by chance the pauses differ so in {} of such cases.",
            percent(comparison.chance.max(1e-6))
        )));
    } else if comparison.is_alike() && MANY_GAPS <= shown.known {
        said.against.push(Statement::new(format!("Pauses make no difference: {pauses}.")));
    }
}

fn fixes(case: &Case<'_>, claimed: &Claimed<'_>, said: &mut Explanation) {
    let idle = case.facts.idle_timeout_seconds();
    let above = idle.unwrap_or(60) + 5;
    let timers = &case.patterns.keep_alive.timers;
    let mut directives: Vec<String> = Vec::new();
    for timer in timers {
        for server in server_defaults::matching(timer.first, timer.last) {
            let directive = format!("{}: {}", server.server, server.directive);
            if !directives.contains(&directive) {
                directives.push(directive);
            }
        }
    }
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
    let lowest = timers.iter().map(|timer| timer.estimate.low).min_by(f64::total_cmp);
    let below = lowest.and_then(|low| stop_gap_seconds(low, case.evidence));
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
