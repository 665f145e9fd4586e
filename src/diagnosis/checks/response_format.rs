//! Do the targets answer in valid HTTP? Looks for paths on which nearly every request ends without a
//! response while others succeed.
//!
//! A malformed status line or header, or more than 32 KB of headers, makes the load balancer drop the
//! response. The log does not show responses, only that the same path fails again and again.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html>

use super::{Check, Finding, Outcome};
use crate::{
    detection::Signature,
    diagnosis::{
        Case,
        command::{Command, Piece, Value},
        network::{listed, socket_address},
    },
    numbers::plural,
};

/// The check.
pub const CHECK: Check =
    Check { id: "response-format", title: "Do the targets answer in valid HTTP?", run };

fn run(case: &Case<'_>) -> Finding {
    let name = case.target_group_name();
    if case.is_lambda() {
        return Finding::new(
            Outcome::Skipped,
            format!("{name} holds a Lambda function: a bad response has its own error_reason."),
        );
    }
    let closed = case.closed();
    let (broken, valid) = case.probed_formats();
    if 0 < closed && case.evidence.counts.successes == 0 && broken.is_empty() {
        return Finding::new(
            Outcome::Skipped,
            "no request succeeded, so no path can be told from another.".to_owned(),
        );
    }
    let failing = &case.patterns.failing_paths;
    let finding = if !broken.is_empty() {
        let outcome = if 0 < closed { Outcome::Fail } else { Outcome::Advice };
        Finding::new(outcome, broken.join(" "))
    } else if !failing.is_empty() {
        let paths: Vec<String> = failing.iter().map(|path| harmless(path)).collect();
        Finding::new(
            Outcome::Fail,
            format!(
                "{} of {name} {} without a response nearly every time while other paths succeed: look \
                 at the raw status line and headers (malformed, or more than 32 KB of them). \
                 `ss -tlnp` on the target names the process that answers.",
                listed(&paths, 3),
                if paths.len() == 1 { "ends" } else { "end" }
            ),
        )
    } else if 0 < closed {
        Finding::new(
            Outcome::Unknown,
            format!(
                "{} to {name} ended without a response, and no path fails each time; a log does not show \
                 responses, so look at one.",
                plural(closed, "request")
            ),
        )
    } else {
        return Finding::new(
            Outcome::Pass,
            format!("No request to {name} was sent and then ended without a response."),
        );
    };
    let mut finding = finding;
    for said in valid {
        finding.summary.push_str(&format!(" {said}"));
    }
    match fetch(case) {
        Some(fetch) => finding.shown_by(fetch),
        None => finding,
    }
}

/// Asks a target of the log the way the load balancer does: the one that closed most requests.
fn fetch(case: &Case<'_>) -> Option<Command> {
    let target = case
        .evidence
        .targets
        .iter()
        .filter_map(|target| {
            let closed = target.of(Signature::ClosedEarly) + target.of(Signature::ClosedLate);
            // Who asks a target that has left waits for nothing.
            let left = case.target_state(&target.target).is_some_and(|state| state.is_leaving());
            (!left).then_some((closed, socket_address(&target.target)?))
        })
        .reduce(|best, one| if best.0 < one.0 { one } else { best })?
        .1;
    let secure = case.facts.target_group.known().and_then(|group| group.protocol.as_deref())
        == Some("HTTPS");
    // The load balancer does not check certificates of targets either.
    let (command, scheme) = if secure {
        (Command::new("curl -v -k --http1.1"), "'https://")
    } else {
        (Command::new("curl -v --http1.1"), "'http://")
    };
    Some(command.joined(&[
        Piece::Text(scheme),
        Piece::Value(Value::Socket(target)),
        Piece::Text("<PATH>'"),
    ]))
}

/// A path out of the log, written by strangers: plain characters, at most 80 of them.
fn harmless(path: &str) -> String {
    path.chars()
        .take(80)
        .map(|one| if one.is_ascii_alphanumeric() || "/-_.{}".contains(one) { one } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::diagnosis::sample_case::SampleCase;

    #[test]
    fn fails_when_a_path_fails_each_time() {
        let mut sample = SampleCase::failing(Signature::ClosedEarly, 9);
        sample.patterns.failing_paths = vec![Arc::from("/cart/<@U1>;id")];
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.summary.starts_with("/cart/??U1??id of shop-web ends"));
        assert_eq!(finding.command.unwrap(), "curl -v --http1.1 'http://10.0.11.5:8080<PATH>'");
    }

    #[test]
    fn a_probe_shows_what_the_log_does_not() {
        let probed = |signature, violations: serde_json::Value| {
            let mut sample = SampleCase::failing(signature, 9);
            sample.facts.probes = crate::diagnosis::probes::tests::probes("10.0.11.5", |report| {
                report["response"]["violations"] = violations;
            });
            run(&sample.case())
        };
        let broken = serde_json::json!([
            {"cause": "closed-mid-request", "text": "It closed."},
            {"cause": "malformed-response", "text": "A header line has no colon."}
        ]);
        let finding = probed(Signature::ClosedEarly, broken.clone());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert_eq!(
            finding.summary,
            "A probe at 12:03 UTC of 10.0.11.5:8080 (GET /health) found: A header line has no colon."
        );
        assert_eq!(probed(Signature::NotConnected, broken).outcome, Outcome::Advice);
        let finding = probed(Signature::ClosedEarly, serde_json::json!([]));
        assert_eq!(finding.outcome, Outcome::Unknown);
        assert!(
            finding.summary.ends_with("(GET /health) got a valid response."),
            "{}",
            finding.summary
        );
    }

    #[test]
    fn the_command_fits_the_protocol_and_the_address() {
        let mut sample = SampleCase::failing(Signature::ClosedLate, 9);
        sample.target_group().protocol = Some("HTTPS".to_owned());
        sample.evidence.targets.truncate(1);
        sample.evidence.targets[0].target = Arc::from("[2001:db8::5]:8443");
        sample.facts.target_health = SampleCase::missing("target health");
        assert_eq!(
            run(&sample.case()).command.unwrap(),
            "curl -v -k --http1.1 'https://[2001:db8::5]:8443<PATH>'"
        );
    }

    #[test]
    fn a_target_that_has_left_is_not_asked() {
        let mut sample = SampleCase::failing(Signature::ClosedLate, 9);
        sample.evidence.targets.truncate(1);
        assert!(run(&sample.case()).command.is_some());
        sample.set_state(0, "draining", None);
        assert_eq!(run(&sample.case()).command, None);
    }

    #[test]
    fn passes_when_no_request_was_closed_after_sending() {
        let sample = SampleCase::failing(Signature::NotConnected, 9);
        assert_eq!(run(&sample.case()).outcome, Outcome::Pass);
    }

    #[test]
    fn unknown_when_requests_were_closed_on_no_path_in_particular() {
        let finding = run(&SampleCase::failing(Signature::ClosedLate, 9).case());
        assert_eq!(finding.outcome, Outcome::Unknown);
        assert!(finding.summary.contains("a log does not show responses"));
    }

    #[test]
    fn skipped_for_lambda() {
        let mut sample = SampleCase::failing(Signature::ErrorReason, 9);
        sample.make_lambda();
        assert_eq!(run(&sample.case()).outcome, Outcome::Skipped);
    }
}
