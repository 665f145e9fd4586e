//! Do the targets keep idle connections longer than the load balancer? Looks at the idle timeout, at
//! the keep-alive timeout that a probe measured, at the one that the idle gaps in the log show, and at the
//! target-group tag `alb502:keep-alive-seconds`. Measured beats inferred, and both beat declared.
//!
//! A target that closes an idle connection first races with the next request on it; whoever loses gets a
//! 502. An equal value is a race too.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html>

use super::{Check, Finding, Outcome};
use crate::{
    detection::Signature,
    diagnosis::{
        Case, Gap, KeepAliveEstimate,
        command::{Command, Piece, Value},
        keep_alive::stop_gap_seconds,
        network::socket_address,
        server_defaults,
    },
};

/// The check.
pub const CHECK: Check = Check {
    id: "keep-alive-exceeds-idle-timeout",
    title: "Do the targets keep idle connections longer than the load balancer?",
    run,
};

/// Where people write down the keep-alive timeout of the application.
pub const TAG: &str = "alb502:keep-alive-seconds";

/// How much longer than the idle timeout the target should keep a connection, in seconds: room for a
/// timer that ticks once a second on either side, and for the way between them.
const MARGIN_SECONDS: u32 = 5;

fn run(case: &Case<'_>) -> Finding {
    let name = case.load_balancer_name();
    if case.is_lambda() {
        return Finding::new(
            Outcome::Skipped,
            format!(
                "{} holds a Lambda function: it is invoked, no connection is kept.",
                case.target_group_name()
            ),
        );
    }
    let arn = case.load_balancer_arn().unwrap_or_default();
    let show = Command::new("aws elbv2 describe-load-balancer-attributes")
        .flag("--load-balancer-arn", Value::Arn(arn))
        .words("--query 'Attributes[?Key==`idle_timeout.timeout_seconds`]'")
        .region(case.region());
    let measured = case.patterns.keep_alive.estimate();
    let declared = declared(case);
    let probed = case.probed_keep_alive();
    let known = match (measured, declared) {
        _ if let Some((seconds_idle, probe)) = &probed => {
            Some(format!("{probe} measured a keep-alive timeout of {}", seconds(*seconds_idle)))
        }
        (Some(_), _) => {
            let timers = case.patterns.keep_alive.timers.iter().map(|timer| timer.estimate);
            let each: Vec<String> =
                timers.map(|it| format!("{} ({} gaps)", seconds(it.best), it.gaps)).collect();
            Some(format!("the rows show a keep-alive timeout of about {}", each.join(" and ")))
        }
        (None, Some(declared)) => Some(format!("the tag {TAG} says {}", seconds(declared))),
        (None, None) => None,
    };
    let raced = case.count(Signature::ClosedEarly) + case.count(Signature::NotConnected);
    let idle = match (case.facts.idle_timeout_seconds(), &known) {
        (Some(idle), _) => idle,
        (None, known) => {
            let gap = case
                .load_balancer_attribute("idle_timeout.timeout_seconds")
                .err()
                .unwrap_or_else(|| Gap {
                    fact: "idle timeout".to_owned(),
                    reason: "its value is not a number".to_owned(),
                    permission: None,
                });
            let mut question =
                format!("Whether the targets of {name} keep idle connections longer");
            if let Some(known) = known {
                question.push_str(&format!(" ({known})"));
            }
            return Finding::unknown(&question, &gap).shown_by(show);
        }
    };
    let enough = idle + MARGIN_SECONDS;
    let Some(known) = known else {
        if raced == 0 {
            return Finding::new(
                Outcome::Skipped,
                "no request of this incident was closed on arrival, so no such race is at work."
                    .to_owned(),
            );
        }
        let finding = Finding::new(
            Outcome::Unknown,
            format!(
                "The idle timeout of {name} is {idle} s; how long its targets keep an idle connection \
                 is not known, neither from the rows nor from a tag {TAG}. It must be {enough} s or \
                 more. See on a target which server listens, and read its keep-alive setting."
            ),
        );
        return with_resource(finding, case).shown_by(match listening(case) {
            Some(probe) => probe,
            None => show,
        });
    };
    let disagreement = match (measured, declared) {
        (Some(estimate), Some(declared)) if disagrees(estimate, declared) => format!(
            " The tag {TAG} says {}: either it is out of date, or something in between closes first.",
            seconds(declared)
        ),
        _ => String::new(),
    };
    let mut disagreement = disagreement;
    if let (Some((probed, _)), Some(estimate)) = (&probed, measured)
        && disagrees(estimate, *probed)
    {
        disagreement.push_str(&format!(
            " The rows show about {}: it was changed since, or another target has another timeout.",
            seconds(estimate.best)
        ));
    }
    let (low, best) = match (measured, declared) {
        _ if let Some((probed, _)) = probed => (probed, probed),
        (Some(estimate), _) => (estimate.low, estimate.best),
        (None, Some(declared)) => (declared, declared),
        (None, None) => (0.0, 0.0),
    };
    let idle_seconds = f64::from(idle);
    let finding = if best <= idle_seconds {
        let (outcome, consequence) = if raced == 0 {
            (
                Outcome::Advice,
                "no row of this incident was closed on arrival, so it is not the cause here"
                    .to_owned(),
            )
        } else {
            (
                Outcome::Fail,
                "so the target can close a connection just as a request is sent on it".to_owned(),
            )
        };
        let relation = if (best - idle_seconds).abs() < 0.5 { "no longer than" } else { "below" };
        with_stop_gap(
            Finding::new(
                outcome,
                format!(
                    "For the targets of {name} {known}, {relation} the idle timeout of {idle} s: \
                     {consequence}. Set it to {enough} s or more ({}).{disagreement}",
                    directives(case, enough)
                ),
            ),
            case,
            arn,
            low.min(best),
        )
    } else if low <= idle_seconds || best < f64::from(enough) {
        Finding::new(
            Outcome::Advice,
            format!(
                "For the targets of {name} {known}, hardly above the idle timeout of {idle} s: leave \
                 {MARGIN_SECONDS} s, so {enough} s or more.{disagreement}"
            ),
        )
    } else {
        Finding::new(
            Outcome::Pass,
            format!(
                "For the targets of {name} {known}, above the idle timeout of {idle} s.{disagreement}"
            ),
        )
    };
    with_resource(finding, case).shown_by(show)
}

fn with_resource(finding: Finding, case: &Case<'_>) -> Finding {
    match case.load_balancer_arn() {
        Some(arn) => finding.resource(arn),
        None => finding,
    }
}

/// The command that lowers the idle timeout until the application is changed, when that cuts no
/// request that succeeds today.
fn with_stop_gap(finding: Finding, case: &Case<'_>, arn: &str, keep_alive: f64) -> Finding {
    let Some(lowered) = stop_gap_seconds(keep_alive, case.evidence) else {
        return finding;
    };
    let mut finding = finding;
    finding.summary.push_str(&format!(
        " Until then, an idle timeout of {lowered} s stays below it, but cuts requests that are silent \
         for longer."
    ));
    finding.fixed_by(
        Command::new("aws elbv2 modify-load-balancer-attributes")
            .flag("--load-balancer-arn", Value::Arn(arn))
            .words("--attributes")
            .joined(&[
                Piece::Text("Key=idle_timeout.timeout_seconds,Value="),
                Piece::Value(Value::Number(lowered)),
            ])
            .region(case.region()),
    )
}

/// The tag, when it is a number of seconds above zero.
fn declared(case: &Case<'_>) -> Option<f64> {
    case.facts
        .target_group_tags
        .known()?
        .get(TAG)?
        .trim()
        .parse()
        .ok()
        .filter(|seconds: &f64| seconds.is_finite() && 0.0 < *seconds)
}

/// Where the timeout is set, for the servers whose default shows, else for those that most have.
fn directives(case: &Case<'_>, enough: u32) -> String {
    let timers = &case.patterns.keep_alive.timers;
    let matching: std::collections::BTreeSet<String> = timers
        .iter()
        .flat_map(|timer| server_defaults::matching(timer.first, timer.last))
        .map(|it| format!("{}: {}", it.server, it.directive))
        .collect();
    if matching.is_empty() {
        return format!(
            "nginx keepalive_timeout {enough}s, Apache KeepAliveTimeout {enough}, Node \
             server.keepAliveTimeout = {enough}000, gunicorn --keep-alive {enough}"
        );
    }
    matching.into_iter().take(4).collect::<Vec<_>>().join("; ")
}

/// Servers close up to a second late, so a second on either side is no disagreement.
fn disagrees(estimate: KeepAliveEstimate, declared: f64) -> bool {
    declared < estimate.low - 1.0 || estimate.high + 1.0 < declared
}

/// A command for the instance: which server listens on the port, and so whose setting it is.
fn listening(case: &Case<'_>) -> Option<Command> {
    let target = case.evidence.targets.iter().find_map(|target| socket_address(&target.target))?;
    Some(Command::new("ss -tlnp").joined(&[
        Piece::Text("'sport = :"),
        Piece::Value(Value::Number(target.port().into())),
        Piece::Text("'"),
    ]))
}

/// Whole seconds where they are, else one decimal.
fn seconds(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    format!("{rounded} s")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{
        Fact,
        keep_alive::{KeepAlive, Timer},
        sample_case::SampleCase,
    };

    fn measured(low: f64, best: f64, high: f64) -> SampleCase {
        let mut sample = SampleCase::failing(Signature::ClosedEarly, 8);
        sample.patterns.keep_alive = shown(KeepAliveEstimate { low, best, high, gaps: 40 });
        sample
    }

    fn shown(estimate: KeepAliveEstimate) -> KeepAlive {
        let timer = Timer {
            estimate,
            first: estimate.low,
            last: estimate.high,
            of: 40,
            healthy_share: 0.01,
            is_latest: true,
            targets: Vec::new(),
        };
        KeepAlive { timers: vec![timer], ..KeepAlive::default() }
    }

    fn tagged(value: &str) -> SampleCase {
        let mut sample = SampleCase::failing(Signature::ClosedEarly, 8);
        sample.facts.target_group_tags = Fact::Known([(TAG.to_owned(), value.to_owned())].into());
        sample
    }

    #[test]
    fn fails_when_the_rows_show_a_shorter_timeout() {
        let finding = run(&measured(4.8, 5.0, 5.3).case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.summary.contains("about 5 s (40 gaps)"));
        assert!(finding.summary.contains("keepalive_timeout 65s"));
        // Nobody should lower the idle timeout of a load balancer to nothing.
        assert_eq!(finding.fix_command, None);
    }

    #[test]
    fn fails_when_both_are_equal_and_offers_a_stop_gap() {
        let finding = run(&tagged("60").case());
        assert_eq!(finding.outcome, Outcome::Fail);
        let fix = finding.fix_command.unwrap();
        assert!(fix.contains("Key=idle_timeout.timeout_seconds,Value=55"), "{fix}");
    }

    #[test]
    fn no_stop_gap_that_would_cut_requests_that_succeed() {
        let mut sample = tagged("20");
        sample.evidence.success_seconds.as_mut().unwrap().p99 = 18.0;
        assert_eq!(run(&sample.case()).fix_command, None);
    }

    #[test]
    fn advises_when_the_timeout_is_short_but_no_row_was_closed_on_arrival() {
        let mut sample = tagged("5");
        sample.evidence.signatures.clear();
        sample.fail(Signature::ConnectTimeout, 8);
        assert_eq!(run(&sample.case()).outcome, Outcome::Advice);
    }

    #[test]
    fn advises_when_it_is_hardly_above() {
        assert_eq!(run(&tagged("61").case()).outcome, Outcome::Advice);
        assert_eq!(run(&measured(59.0, 66.0, 70.0).case()).outcome, Outcome::Advice);
    }

    #[test]
    fn passes_when_it_is_five_seconds_above() {
        assert_eq!(run(&tagged("65").case()).outcome, Outcome::Pass);
        assert_eq!(run(&measured(74.0, 75.0, 76.0).case()).outcome, Outcome::Pass);
    }

    #[test]
    fn measured_beats_declared_and_the_disagreement_is_said() {
        let mut sample = tagged("75");
        sample.patterns.keep_alive = measured(4.8, 5.0, 5.3).patterns.keep_alive;
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.summary.contains("The tag alb502:keep-alive-seconds says 75 s"));
        let mut sample = tagged("5");
        sample.patterns.keep_alive = measured(5.0, 6.0, 6.2).patterns.keep_alive;
        assert!(!run(&sample.case()).summary.contains("out of date"));
    }

    fn probed(seconds: f64) -> Vec<crate::diagnosis::probes::Probe> {
        crate::diagnosis::probes::tests::closing(4000, seconds)
    }

    #[test]
    fn a_probe_beats_the_rows_and_the_disagreement_is_said() {
        let mut sample = measured(4.8, 5.0, 5.3);
        sample.facts.probes = probed(75.0);
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Pass);
        assert!(
            finding.summary.contains("a probe at 12:03 UTC of 10.0.11.5:8080"),
            "{}",
            finding.summary
        );
        assert!(finding.summary.contains("The rows show about 5 s: it was changed since"));
        sample.facts.probes = probed(5.2);
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.summary.contains("timeout of 5.2 s, below the idle timeout of 60 s"));
        assert!(!finding.summary.contains("The rows show"));
    }

    #[test]
    fn a_probe_alone_tells() {
        let mut sample = SampleCase::failing(Signature::ClosedEarly, 8);
        sample.facts.probes = probed(2.0);
        assert_eq!(run(&sample.case()).outcome, Outcome::Fail);
    }

    #[test]
    fn unknown_when_neither_rows_nor_tag_tell() {
        let failing = SampleCase::failing(Signature::ClosedEarly, 8);
        for sample in [failing, tagged("soon"), tagged("0"), tagged("inf")] {
            let finding = run(&sample.case());
            assert_eq!(finding.outcome, Outcome::Unknown);
            assert!(finding.summary.contains("65 s or more"));
            assert_eq!(finding.command.unwrap(), "ss -tlnp 'sport = :8080'");
        }
    }

    #[test]
    fn skipped_when_no_row_was_closed_on_arrival() {
        assert_eq!(run(&SampleCase::healthy().case()).outcome, Outcome::Skipped);
    }

    #[test]
    fn unknown_when_the_idle_timeout_is_denied_but_the_figure_is_kept() {
        let mut sample = measured(4.8, 5.0, 5.3);
        sample.facts.load_balancer_attributes = SampleCase::missing("load balancer attributes");
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Unknown);
        assert!(finding.summary.contains("about 5 s"));
    }

    #[test]
    fn skipped_for_lambda() {
        let mut sample = measured(4.8, 5.0, 5.3);
        sample.make_lambda();
        assert_eq!(run(&sample.case()).outcome, Outcome::Skipped);
    }
}
