//! closed-mid-request: the target closes the connection while it works on the request.
//!
//! A crash, an out-of-memory kill, a restart without grace, or an application that gives up.
//! Source: <https://repost.aws/knowledge-center/elb-alb-troubleshoot-502-errors>

mod on_arrival;

use super::{Cause, Claimed, Explanation, Strength, keepalive_race, words};
use crate::{
    detection::{FailureRow, Signature, signature::CLOSED_EARLY_SECONDS},
    diagnosis::{Case, Confidence, Fix, Statement, patterns::SizeLimit},
    neutralize,
    numbers::{count, plural, seconds},
};

pub(super) const CAUSE: Cause = Cause {
    id: "closed-mid-request",
    title: "The target closes the connection while it works on the request",
    why_healthy: Some(
        "A process that dies is back before the health check has failed twice, and the health check's \
         own request is not the one that kills it.",
    ),
    claim,
    explain,
};

fn claim(case: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    let closed = matches!(row.signature, Signature::ClosedEarly | Signature::ClosedLate);
    if closed && row.path.as_ref().is_some_and(|path| case.patterns.killer_paths.contains(path)) {
        return Some(Strength::Strong.into());
    }
    if closed && (limit_of(case, row).is_some() || case.patterns.cut_by(row).is_some()) {
        return Some(Strength::Strong.into());
    }
    match row.signature {
        Signature::ClosedLate if case.patterns.exit_of(row).is_some() => {
            Some(Strength::Strong.into())
        }
        Signature::ClosedLate => Some(Strength::Likely.into()),
        // Closed together with others, or just before the port refused: the process died.
        Signature::ClosedEarly if case.patterns.exit_of(row).is_some() => {
            Some(Strength::Strong.into())
        }
        Signature::ClosedEarly if case.patterns.is_beside_refusal(row) => {
            Some(Strength::Likely.into())
        }
        Signature::ClosedEarly if on_arrival::kind_of(case, row).is_some() => {
            Some(Strength::Likely.into())
        }
        // What answers before and after, and has no timer, closes for a reason of its own.
        Signature::ClosedEarly => {
            let target = case.target(row.target.as_deref()?)?;
            // Where most requests fail, it is no accident that befalls some.
            let answers = target.first_success.is_some_and(|first| first < row.time)
                && 2 * target.failures <= target.requests;
            (answers && keepalive_race::is_excluded(case)).then(|| Strength::Possible.into())
        }
        _ => None,
    }
}

/// The size limit that a request ran into.
fn limit_of<'a>(case: &'a Case<'_>, row: &FailureRow) -> Option<&'a SizeLimit> {
    let bytes = row.received_bytes?;
    case.patterns
        .size_limits
        .iter()
        .find(|limit| row.path.as_ref() == Some(&limit.path) && limit.smallest_closed <= bytes)
}

/// The most requests of one target that ended within a tenth of a second.
fn ended_together(claimed: &Claimed<'_>) -> u64 {
    const TOGETHER_MICROS: i64 = 100_000;
    let late = |row: &&&FailureRow| row.signature == Signature::ClosedLate;
    let rows: Vec<_> = claimed.rows.iter().filter(late).collect();
    let with = |row: &&&FailureRow| {
        let near = |other: &&&&FailureRow| {
            other.target == row.target && (0..=TOGETHER_MICROS).contains(&(other.time - row.time))
        };
        rows.iter().filter(near).count() as u64
    };
    rows.iter().map(with).max().unwrap_or(0)
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let exits: Vec<_> = case
        .patterns
        .exits
        .iter()
        .filter(|exit| {
            claimed.rows.iter().any(|row| case.patterns.exit_of(row).is_some_and(|it| it == *exit))
        })
        .collect();
    let restarted = exits.iter().any(|exit| 0 < exit.refused_after);
    // None of the requests that ended together was young: the target got no new ones before.
    let oldest_only: Vec<_> =
        exits.iter().filter(|exit| exit.refused_after == 0 && 5.0 <= exit.shortest).collect();
    let maybe_drained = !exits.is_empty() && oldest_only.len() == exits.len();
    let early = claimed.rows_where(|row| row.signature == Signature::ClosedEarly);
    let beside = claimed.rows_where(|row| case.patterns.is_beside_refusal(row));
    let limited = claimed.rows_where(|row| limit_of(case, row).is_some());
    let died = claimed.rows_where(|row| {
        case.patterns.exit_of(row).is_some_and(|exit| 0 < exit.refused_after)
            || case.patterns.is_beside_refusal(row)
    });
    let killed = !case.patterns.cut_with.is_empty() || !case.patterns.killer_paths.is_empty();
    let kind = on_arrival::kind(case, claimed);
    let mut said = Explanation::new(if restarted && claimed.at_hand() <= 2 * died {
        Confidence::High
    } else if !case.patterns.cut_with.is_empty() {
        Confidence::Medium
    } else if let Some(kind) = kind {
        kind.confidence(case)
    } else if maybe_drained {
        Confidence::Low
    } else if claimed.at_hand() <= 2 * limited.max(beside) {
        Confidence::Medium
    } else if exits.is_empty() && claimed.at_hand() < 2 * early {
        // Closed at once, without a crash, a path or a size: what closes them is not seen.
        Confidence::Low
    } else {
        Confidence::Medium
    });
    if let Some(kind) = kind {
        said.title = Some(kind.title().to_owned());
        said.why_healthy = kind.why_healthy();
    } else if exits.is_empty() && !killed && limited + beside == 0 && claimed.at_hand() < 2 * early
    {
        said.title =
            Some("The target closes connections on which requests arrive, now and then".to_owned());
    }
    said.evidence.push(words::of_failures(
        claimed,
        "the request was sent and the connection closed without a response.",
    ));
    // What closes on arrival has not worked.
    if let Some(median) = claimed.median(FailureRow::target_seconds).filter(|_| kind.is_none()) {
        let longest = claimed.largest(FailureRow::target_seconds).unwrap_or(median);
        said.evidence.push(Statement::new(format!(
            "The target had worked {} (median; longest {}) when it closed.",
            seconds(median),
            seconds(longest)
        )));
    }
    if let Some(kind) = kind {
        kind.say(case, claimed, &mut said);
    }
    for exit in exits.iter().take(3) {
        let time = jiff::Timestamp::from_microsecond(exit.time)
            .map(|time| time.strftime("%H:%M:%S").to_string())
            .unwrap_or_default();
        let after = if 0 < exit.refused_after {
            format!(", and {} refused right after", plural(exit.refused_after, "connection"))
        } else {
            String::new()
        };
        said.evidence.push(Statement::counted(
            exit.closed,
            claimed.of,
            format!(
                "{}: {} cut at {time} UTC{after}{}.",
                exit.target,
                match exit.closed {
                    1 => "1 request was".to_owned(),
                    many => format!("{} at once were", plural(many, "request")),
                },
                if 0 < exit.refused_after { ": the process ended" } else { ": by one event" }
            ),
        ));
    }
    for limit in &case.patterns.size_limits {
        said.evidence.push(Statement::counted(
            limit.closed,
            claimed.of,
            format!(
                "On {} requests of {} bytes and more were closed, those of up to {} bytes succeeded: \
                 the target closes on a body that is larger than it takes.",
                neutralize::plain(&limit.path),
                count(limit.smallest_closed),
                count(limit.largest_success)
            ),
        ));
    }
    for path in &case.patterns.killer_paths {
        let (deaths, rows) = case.patterns.deaths_on(case.evidence, path);
        if let Some(cut) = case.patterns.cut_with.iter().find(|it| it.path == *path) {
            said.evidence.push(Statement::counted(
                cut.together,
                cut.of,
                format!(
                    "Each request for {} fails, and {} of {} cut elsewhere ended at the same moments: \
                     this path kills its process, and others with it.",
                    neutralize::plain(path),
                    count(cut.together),
                    plural(cut.of, "request")
                ),
            ));
        }
        if 2 * deaths < rows {
            continue;
        }
        said.evidence.push(Statement::counted(
            deaths,
            rows,
            format!(
                "{deaths} of {rows} requests for {} ended with the process: this path kills it, or is in \
                 flight whenever it ends.",
                neutralize::plain(path)
            ),
        ));
    }
    said.evidence.extend(words::spread(case, claimed));
    if let Some(exit) = oldest_only.first() {
        said.against.push(Statement::new(format!(
            "No request that was cut on {} was younger than {}: a deregistration delay that ended \
             looks the same. Target health and the delay would decide.",
            exit.target,
            seconds(exit.shortest)
        )));
    }
    if 0 < beside {
        said.evidence.push(Statement::counted(
            beside,
            claimed.at_hand(),
            format!(
                "{} within two seconds of connections that the same target refused: its process, or \
                 its port, went away under them.",
                if beside == 1 { "1 was closed".to_owned() } else { format!("{} were closed", count(beside)) }
            ),
        ));
    }
    let unexplained = exits.is_empty() && beside == 0 && !killed && kind.is_none();
    if unexplained && 0 < early && limited < early {
        let pauses = case.patterns.keep_alive.comparison.map_or(String::new(), |it| {
            format!(
                " (median pause before it {}, before healthy ones {})",
                seconds(it.closed),
                seconds(it.healthy)
            )
        });
        said.evidence.push(Statement::counted(
            early - limited.min(early),
            claimed.at_hand(),
            format!(
                "{} were closed within {CLOSED_EARLY_SECONDS} s{pauses}: no keep-alive timer of the target \
                 shows.",
                count(early),
            ),
        ));
    }
    if unexplained && limited == 0 {
        let together = ended_together(claimed);
        said.against.push(Statement::new(if 3 <= together {
            format!(
                "{} of them began and ended together: one event, or a limit that all ran into. Whether the \
                 process died or the application gave up, the log does not say.",
                count(together)
            )
        } else {
            "No requests ended together and no constant time shows: whether the process died or the \
             application gave up, the log does not say."
                .to_owned()
        }));
    }
    for path in case.patterns.killer_paths.iter().take(3) {
        said.fixes.push(Fix::new(format!(
            "Find out what {} does to its process: ask for it once, on a target that is out of service, and \
             read the exit code and the log.",
            neutralize::plain(path)
        )));
    }
    if 0 < limited {
        said.fixes.push(Fix::new(
            "Raise the limit of the body size (nginx client_max_body_size, the framework's own), or \
             let the target read the body and answer 413 instead of closing.",
        ));
    }
    if let Some(kind) = kind {
        kind.fix(case, claimed, &mut said);
    } else if said.title.is_some() {
        said.fixes.push(Fix::new(
            "Look in the server's own log at the times of the samples: workers that are recycled, a \
             reload, a limit of connections or requests, a handler that gives up.",
        ));
    }
    said.fixes.push(Fix::new(
        "Look on the target at the times of the samples: kernel log (out of memory), crash reports, \
         restarts of the process or container, deploys.",
    ));
    said.fixes.push(words::show_health(
        case,
        "See whether targets changed state (a restart shows as initial or unhealthy).",
    ));
    said.fixes.push(Fix::new(
        "For good: fix the crash or the memory limit; on deploy let the process finish its requests \
         before it ends.",
    ));
    said
}
