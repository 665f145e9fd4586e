//! What closed-mid-request says of requests that are closed on arrival for a reason that several rows show:
//! a target that takes connections and never answers, a time in which all do so, paths that nobody gets.

use super::{Claimed, Explanation, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{Case, Confidence, Fix, Statement, timestamp},
    numbers::{count, plural, seconds},
};

/// Why requests are closed on arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The target never answered, its neighbours do.
    Target,
    /// Nearly every request was closed for a while.
    Outage,
    /// A target that answered before closes one request after the other.
    Streak,
    /// A target closes all it gets for a while, again and again.
    Spells,
    /// All are larger than any request that succeeds.
    Size,
    /// Paths that are asked for a few times each and never answered.
    Paths,
}

/// The reason that a row shows together with others.
pub(super) fn kind_of(case: &Case<'_>, row: &FailureRow) -> Option<Kind> {
    if row.signature != Signature::ClosedEarly {
        None
    } else if closes_all(case, row) {
        Some(Kind::Target)
    } else if is_in_outage(case, row) {
        Some(Kind::Outage)
    } else if case.patterns.streak_of(row).is_some() {
        Some(Kind::Streak)
    } else if case.patterns.spells.iter().any(|it| row.target.as_ref() == Some(&it.target)) {
        Some(Kind::Spells)
    } else if is_too_large(case, row) {
        Some(Kind::Size)
    } else if case.patterns.is_never_answered(case.evidence, row) {
        Some(Kind::Paths)
    } else {
        None
    }
}

/// The reason that most of the rows show.
pub(super) fn kind(case: &Case<'_>, claimed: &Claimed<'_>) -> Option<Kind> {
    [Kind::Target, Kind::Outage, Kind::Streak, Kind::Spells, Kind::Size, Kind::Paths]
        .into_iter()
        .find(|kind| {
            claimed.at_hand() <= 2 * claimed.rows_where(|row| kind_of(case, row) == Some(*kind))
        })
}

/// In a time in which nearly every request is closed.
fn is_in_outage(case: &Case<'_>, row: &FailureRow) -> bool {
    case.patterns.outage.is_some_and(|it| (it.start..=it.end).contains(&row.time))
}

/// One of the requests that are larger than any that succeeds.
fn is_too_large(case: &Case<'_>, row: &FailureRow) -> bool {
    let bytes = row.received_bytes.unwrap_or(0);
    case.patterns.too_large.is_some_and(|it| it.smallest <= bytes)
}

/// The target of the row took every connection and never answered, while its neighbours do.
fn closes_all(case: &Case<'_>, row: &FailureRow) -> bool {
    const MIN_REQUESTS: u64 = 5;
    let Some(target) = row.target.as_deref().and_then(|name| case.target(name)) else {
        return false;
    };
    let others = || case.evidence.targets.iter().filter(|it| it.target != target.target);
    MIN_REQUESTS <= target.requests
        && target.first_success.is_none()
        && 9 * target.requests <= 10 * target.of(Signature::ClosedEarly)
        && others().any(|it| it.first_success.is_some())
}

/// Requests that other targets than those which close all they get answered.
fn neighbours_answers(case: &Case<'_>) -> u64 {
    let closes = |name: &str| case.patterns.streaks.iter().any(|it| *it.target == *name);
    let others = case.evidence.targets.iter().filter(|it| !closes(&it.target));
    others.map(|it| it.successes).sum()
}

fn say_streaks(case: &Case<'_>, claimed: &Claimed<'_>, said: &mut Explanation) {
    let time = |micros| timestamp(micros).strftime("%H:%M:%S");
    for it in case.patterns.streaks.iter().take(3) {
        said.evidence.push(Statement::counted(
            it.closed,
            claimed.at_hand(),
            format!(
                "{} closed {} one after the other from {} to {} UTC, without an answer in between; it \
                 answered before{}.",
                it.target,
                plural(it.closed, "request"),
                time(it.start),
                time(it.end),
                if it.is_over { " and after" } else { ", and not since" }
            ),
        ));
    }
    let answers = neighbours_answers(case);
    if 0 < answers {
        said.evidence.push(Statement::new(format!(
            "The other targets of the group answered {}: neither the protocol nor the requests are at fault.",
            plural(answers, "request")
        )));
    }
    said.evidence.push(Statement::new(
        "It is no keepalive-race: a connection that was idle too long is used up by one request, and new \
         connections are closed as well.",
    ));
    said.evidence.push(Statement::new(PORT_IS_OPEN));
}

const PORT_IS_OPEN: &str = "The port accepted all the time: either something stands in front (a sidecar, the proxy \
     of a container host) and what should answer behind it is away, or the process closes all it gets.";

impl Kind {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Target | Self::Streak => {
                "A target accepts connections and closes them without an answer"
            }
            Self::Outage => "For a while every connection is accepted and closed without an answer",
            Self::Spells => "Again and again a target closes all it gets for a while",
            Self::Size => "The target closes on requests that are larger than it takes",
            Self::Paths => {
                "Requests for paths that nobody else asks for are closed without an answer"
            }
        }
    }

    /// `None`: as for any request that is closed.
    pub(super) fn why_healthy(self) -> Option<&'static str> {
        match self {
            Self::Target | Self::Streak => Some(
                "What takes the connections may answer the health check itself, or the health check asks another \
                 port or path than the requests. Where it does fail, it takes the target out of service only \
                 after several intervals.",
            ),
            Self::Size | Self::Paths => {
                Some("The health check's own request is small, and for a path that is served.")
            }
            Self::Outage | Self::Spells => None,
        }
    }

    pub(super) fn confidence(self, case: &Case<'_>) -> Confidence {
        match self {
            // By chance the closed ones are not all larger than all others.
            Self::Size => Confidence::Medium,
            // Between the spells the same target answers.
            Self::Spells => Confidence::Medium,
            // Before and after they answer: protocol, port and responses are right.
            Self::Outage if case.patterns.outage.is_some_and(|it| it.is_over) => Confidence::Medium,
            // It did before or does after, or its neighbours do.
            Self::Streak if case.patterns.streaks.iter().all(|it| it.is_over) => Confidence::Medium,
            Self::Streak if 0 < neighbours_answers(case) => Confidence::Medium,
            _ => Confidence::Low,
        }
    }

    pub(super) fn say(self, case: &Case<'_>, claimed: &Claimed<'_>, said: &mut Explanation) {
        match self {
            Self::Target => {
                said.evidence.push(Statement::new(format!(
                    "It never answered, while the other targets of the group answered {}: neither the \
                     protocol of the group nor the requests are at fault.",
                    plural(case.evidence.counts.successes, "request")
                )));
                said.against.push(Statement::new(
                    "What listens there is not seen: a proxy whose application is gone, another program, or \
                     one that speaks TLS on this target only.",
                ));
            }
            Self::Outage => {
                let Some(outage) = case.patterns.outage else { return };
                said.evidence.push(Statement::counted(
                    outage.failures,
                    outage.requests,
                    format!(
                        "From {} to {} UTC nearly every request failed, {} of about {}, whatever target and \
                         path; before{} they succeeded.",
                        timestamp(outage.start).strftime("%H:%M:%S"),
                        timestamp(outage.end).strftime("%H:%M:%S"),
                        count(outage.failures),
                        count(outage.requests),
                        if outage.is_over { " and after" } else { "" }
                    ),
                ));
                said.evidence.push(Statement::new(PORT_IS_OPEN));
                if !outage.is_over {
                    said.against.push(Statement::new(
                        "It lasts to the end of the rows: a deploy whose responses or protocol are wrong looks \
                         the same.",
                    ));
                }
            }
            Self::Streak => say_streaks(case, claimed, said),
            Self::Spells => {
                for it in case.patterns.spells.iter().take(3) {
                    said.evidence.push(Statement::counted(
                        it.closed,
                        claimed.at_hand(),
                        format!(
                            "{} closed {} in {} of up to {}, and answered before, after and in between.",
                            it.target,
                            plural(it.closed, "request"),
                            plural(it.spells, "spell"),
                            seconds(it.longest)
                        ),
                    ));
                }
                said.evidence.push(Statement::new(PORT_IS_OPEN));
            }
            Self::Size => {
                let Some(size) = case.patterns.too_large else { return };
                said.evidence.push(Statement::counted(
                    size.closed,
                    size.of,
                    format!(
                        "{} of {} closed requests have {} bytes or more, whatever the path; the largest that \
                         succeeded had {}.",
                        count(size.closed),
                        count(size.of),
                        count(size.smallest),
                        count(size.largest_success)
                    ),
                ));
                if size.without_body {
                    said.evidence.push(Statement::new(
                        "They have no body: their headers are large, most likely cookies.",
                    ));
                }
            }
            Self::Paths => {
                let Some(paths) = case.patterns.never_answered else { return };
                said.evidence.push(Statement::counted(
                    paths.closed,
                    paths.of,
                    format!(
                        "{} of {} closed requests are for {} that are asked for a few times each and never \
                         answered; {} for other paths succeeded.",
                        count(paths.closed),
                        count(paths.of),
                        plural(paths.paths, "path"),
                        plural(paths.elsewhere, "request")
                    ),
                ));
                said.evidence.push(Statement::new(
                    "So scanners look, and so a server answers that closes on what it does not serve (nginx \
                     return 444): then no user is hit.",
                ));
                said.against.push(Statement::new(
                    "A page for unknown paths that is not valid HTTP looks the same.",
                ));
            }
        }
    }

    pub(super) fn fix(self, case: &Case<'_>, claimed: &Claimed<'_>, said: &mut Explanation) {
        match self {
            Self::Target => {
                said.fixes.push(words::listening(
                    claimed,
                    "On the target: which program listens on the port, and is the application behind it up?",
                ));
                said.fixes.push(words::ask_target(
                    case,
                    claimed,
                    "Ask the target directly, and one of its neighbours, and compare.",
                ));
            }
            Self::Streak => {
                if 0 < neighbours_answers(case) {
                    said.fixes.push(Fix::new(
                        "Stop-gap: deregister the target that closes all it gets; the others answer.",
                    ));
                }
                said.fixes.push(words::listening(
                    claimed,
                    "On the target: see in its log what happened when it began, which program listens on the \
                     port, and whether the application behind it is up.",
                ));
            }
            Self::Outage | Self::Spells => said.fixes.push(Fix::new(
                "Look at what happened when it began: a deploy, a restart of the containers \
                 behind the proxy, a limit of connections or open files.",
            )),
            Self::Size => said.fixes.push(Fix::new(
                "Raise the server's limit of request headers or body (nginx large_client_header_buffers and \
                 client_max_body_size, Node.js --max-http-header-size), or let it answer 431 or 413 in place \
                 of closing; and see why the cookies or bodies grow.",
            )),
            Self::Paths => said.fixes.push(Fix::new(
                "Look at the paths and user agents (alb502 parse). If it is on purpose, answer 404 in place \
                 of closing: the load balancer makes a 502 of a closed connection.",
            )),
        }
    }
}
