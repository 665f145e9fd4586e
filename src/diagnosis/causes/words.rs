//! Sentences that several causes need.

use super::Claimed;
use crate::{
    detection::detector::target_address,
    diagnosis::{
        Case, Fix, Statement,
        chance::chance,
        command::{Command, Piece, Value},
        covers,
        rows::OTHERS,
    },
    neutralize,
    numbers::{count, percent, plural},
};

/// "41 of 43 failures: …"; of all, "All 41 failures: …", "Both failures: …", "The one failure: …".
pub(super) fn of_failures(claimed: &Claimed<'_>, what: &str) -> Statement {
    let text = if claimed.count == claimed.of {
        match claimed.of {
            1 => format!("The one failure: {what}"),
            2 => format!("Both failures: {what}"),
            of => format!("All {}: {what}", plural(of, "failure")),
        }
    } else {
        format!("{} of {}: {what}", count(claimed.count), plural(claimed.of, "failure"))
    };
    Statement::counted(claimed.count, claimed.of, text)
}

/// Said when CloudWatch counted clearly fewer errors than there are rows.
pub(super) fn fewer_than_rows(counted: u64, claimed: &Claimed<'_>) -> Option<Statement> {
    (!covers(counted, claimed.count)).then(|| {
        Statement::counted(
            counted,
            claimed.count,
            format!(
                "CloudWatch counted fewer than the {} rows: another cause may be among them.",
                count(claimed.count)
            ),
        )
    })
}

/// How many closed requests are looked at where pauses are counted, and which, when they are not those of
/// the cause: the ones just outside the incident are as well, and those of causes beside it.
pub(super) fn closed_requests(of: u64, claimed: &Claimed<'_>) -> String {
    let number = count(of);
    if claimed.of < of {
        format!("{number}, those just before and after the incident among them,")
    } else if claimed.count < of {
        format!("{number} closed requests, those of other causes among them,")
    } else {
        number
    }
}

/// How the rows lie over targets and paths.
pub(super) fn spread(case: &Case<'_>, claimed: &Claimed<'_>) -> Option<Statement> {
    let mut targets = claimed.targets();
    targets.retain(|(target, _)| *target != OTHERS);
    let with_rows = case.evidence.targets.iter().filter(|target| 0 < target.requests);
    let (known, more): (Vec<_>, Vec<_>) = with_rows.partition(|it| &*it.target != OTHERS);
    let all = known.len() as u64;
    let (first, rows) = *targets.first()?;
    let over_paths = over_paths(&claimed.paths());
    let here = targets.len() as u64;
    // More targets than are told apart, of which those with rows are the fewest that there can be.
    let all = if more.is_empty() { all } else { all.max(here) };
    let over = if more.is_empty() { "" } else { "more than " };
    let over_paths = format!("{over_paths}{}", one_node(case, claimed).unwrap_or_default());
    Some(if all == 1 && more.is_empty() {
        Statement::new(format!("The group has one target in the log, {first}; {over_paths}."))
    } else if here == 1 {
        Statement::counted(
            rows,
            claimed.at_hand(),
            format!("Only {first} of {over}{all} targets, {over_paths}."),
        )
    } else {
        Statement::counted(
            here,
            all,
            format!(
                "Spread over {here} of {over}{all} targets ({first} has {} of these failures), {over_paths}.",
                percent(rows as f64 / claimed.at_hand().max(1) as f64)
            ),
        )
    })
}

/// On which paths, or over how many; more than are told apart are at least those with a name.
fn over_paths(paths: &[(&str, u64)]) -> String {
    let named = paths.iter().filter(|(path, _)| *path != OTHERS).count();
    match paths {
        [(path, _)] if named == 1 => format!("on the path {} alone", neutralize::plain(path)),
        _ if named == paths.len() => format!("over {}", plural(named as u64, "path")),
        _ if named == 0 => "over more paths than are told apart".to_owned(),
        _ => format!("over more than {}", plural(named as u64, "path")),
    }
}

/// When all rows came through one load-balancer node of several, and that is no chance: the way from that
/// node, or its zone, is at fault.
pub(super) fn one_node(case: &Case<'_>, claimed: &Claimed<'_>) -> Option<String> {
    let nodes = super::most(claimed.rows.iter().map(|row| &*row.node));
    let [(node, rows)] = nodes.as_slice() else { return None };
    let share = case.evidence.nodes.iter().find(|it| *it.name == **node)?.requests as f64
        / case.evidence.nodes.iter().map(|it| it.requests).sum::<u64>().max(1) as f64;
    if case.evidence.nodes.iter().any(|it| &*it.name == OTHERS) {
        return None;
    }
    let others = case.evidence.nodes.len().checked_sub(1).filter(|others| 0 < *others)?;
    (chance(*rows, *rows, share) < 1e-3).then(|| {
        format!(
            ", all through the load-balancer node {}; {} brought none",
            neutralize::plain(node),
            match others {
                1 => "the other".to_owned(),
                many => format!("the other {many}"),
            }
        )
    })
}

/// The target with the most rows, as address and port.
pub(super) fn worst_target<'a>(claimed: &Claimed<'a>) -> Option<(&'a str, u16)> {
    let target = claimed.rows.iter().filter_map(|row| row.target.as_deref());
    let (name, _) = *super::most(target).first()?;
    target_address(name)
}

/// Shows which process listens on the port of the worst target.
pub(super) fn listening(claimed: &Claimed<'_>, text: &str) -> Fix {
    let command = match worst_target(claimed) {
        Some((_, port)) => Command::new("ss -tlnp").joined(&[
            Piece::Text("'sport = :"),
            Piece::Value(Value::Number(port.into())),
            Piece::Text("'"),
        ]),
        None => Command::new("ss -tlnp"),
    };
    Fix::with(text, command)
}

/// Asks the worst target as the load balancer does. The path is the reader's to fill in: it is
/// written by strangers.
pub(super) fn ask_target(case: &Case<'_>, claimed: &Claimed<'_>, text: &str) -> Fix {
    let scheme = match case.is_https_group() {
        Some(true) => "'https://",
        _ => "'http://",
    };
    let words = if case.is_https_group() == Some(true) {
        // The load balancer does not check the certificate of a target.
        "curl -v --http1.1 --insecure"
    } else {
        "curl -v --http1.1"
    };
    let text = format!(
        "{text} The path as it was asked for is in the log, beside the trace id: alb502 parse."
    );
    let command = Command::new(words);
    let command = match worst_target(claimed) {
        Some((address, port)) if address.contains(':') => command.joined(&[
            Piece::Text(scheme),
            Piece::Text("["),
            Piece::Value(Value::Address(address)),
            Piece::Text("]:"),
            Piece::Value(Value::Number(port.into())),
            Piece::Text("<PATH>'"),
        ]),
        Some((address, port)) => command.joined(&[
            Piece::Text(scheme),
            Piece::Value(Value::Address(address)),
            Piece::Text(":"),
            Piece::Value(Value::Number(port.into())),
            Piece::Text("<PATH>'"),
        ]),
        None => command.joined(&[Piece::Text(scheme), Piece::Text("<TARGET>:<PORT><PATH>'")]),
    };
    Fix::with(text, command)
}

/// Shows the health that AWS sees.
pub(super) fn show_health(case: &Case<'_>, text: &str) -> Fix {
    Fix::with(
        text,
        Command::new("aws elbv2 describe-target-health")
            .flag("--target-group-arn", Value::Arn(case.target_group_arn().unwrap_or_default()))
            .region(case.region()),
    )
}

/// Shows the settings of the target group.
pub(super) fn show_target_group(case: &Case<'_>, text: &str) -> Fix {
    Fix::with(
        text,
        Command::new("aws elbv2 describe-target-groups")
            .flag("--target-group-arns", Value::Arn(case.target_group_arn().unwrap_or_default()))
            .region(case.region()),
    )
}

/// Successes, within the incident, of those of the targets that the rows name which still answered when the
/// first of the rows had come: what a target answered before says nothing of the time in which it failed.
pub(super) fn successes_of_targets(case: &Case<'_>, claimed: &Claimed<'_>) -> u64 {
    let first = claimed.rows.iter().map(|row| row.created.unwrap_or(row.time)).min();
    claimed
        .targets()
        .iter()
        .filter_map(|(name, _)| case.target(name))
        .filter(|target| first < target.last_success)
        .map(|target| target.successes)
        .sum()
}

/// Targets among those of the rows that answered at any time at hand.
pub(super) fn served_in_span(case: &Case<'_>, claimed: &Claimed<'_>) -> usize {
    claimed
        .targets()
        .iter()
        .filter_map(|(name, _)| case.target(name))
        .filter(|target| target.first_success.is_some())
        .count()
}
