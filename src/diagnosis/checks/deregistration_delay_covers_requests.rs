//! Does a leaving target get the time to finish its requests? Looks at the deregistration delay against
//! how long requests take in the log.
//!
//! When the delay has passed, the load balancer cuts what is still running, and the client gets a 502.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html>

use super::{Check, Finding, Outcome};
use crate::{
    detection::Signature,
    diagnosis::{
        Case, Gap,
        command::{Command, Piece, Value},
    },
};

/// The check.
pub const CHECK: Check = Check {
    id: "deregistration-delay-covers-requests",
    title: "Is the deregistration delay longer than the longest requests?",
    run,
};

/// A deregistration delay for requests of which the longest known takes so long: twice that, in whole
/// half minutes, because nobody knows how long a request that was cut would have taken. AWS takes 0 to
/// 3600.
pub fn enough_seconds(longest: f64) -> u64 {
    ((longest * 2.0 / 30.0).ceil() * 30.0).clamp(30.0, 3600.0) as u64
}

fn run(case: &Case<'_>) -> Finding {
    let name = case.target_group_name();
    let arn = case.target_group_arn().unwrap_or_default();
    if case.is_lambda() {
        return Finding::new(
            Outcome::Skipped,
            format!("{name} holds a Lambda function: it has no deregistration delay."),
        );
    }
    let show = Command::new("aws elbv2 describe-target-group-attributes")
        .flag("--target-group-arn", Value::Arn(arn))
        .words("--query 'Attributes[?Key==`deregistration_delay.timeout_seconds`]'")
        .region(case.region());
    let question = format!("Whether the deregistration delay of {name} covers its requests");
    let Some(delay) = case.facts.deregistration_delay_seconds() else {
        let gap = case
            .target_group_attribute("deregistration_delay.timeout_seconds")
            .err()
            .unwrap_or_else(|| Gap {
                fact: "deregistration delay".to_owned(),
                reason: "its value is not a number".to_owned(),
                permission: None,
            });
        return Finding::unknown(&question, &gap).shown_by(show);
    };
    let usual = case.evidence.success_seconds.map(|quantiles| quantiles.p99);
    let cut = case
        .evidence
        .failures
        .iter()
        .filter(|row| row.signature == Signature::ClosedLate)
        .filter_map(|row| row.target_seconds())
        .reduce(f64::max);
    let mut told = Vec::new();
    if let Some(usual) = usual {
        told.push(format!("99 of 100 requests take up to {usual:.1} s"));
    }
    if let Some(cut) = cut {
        told.push(format!("the longest one that was cut ran {cut:.1} s"));
    }
    let Some(longest) = usual.into_iter().chain(cut).reduce(f64::max) else {
        return Finding::new(
            Outcome::Unknown,
            format!("{question}: it is {delay} s, and no row tells how long requests take."),
        )
        .resource(arn)
        .shown_by(show);
    };
    let told = told.join(" and ");
    // The row of a request that the delay cut shows at most the delay, a little less when it began late.
    let finding = if delay != 0 && longest + 1.0 < f64::from(delay) {
        Finding::new(
            Outcome::Pass,
            format!("A leaving target of {name} gets {delay} s to finish; {told}."),
        )
    } else {
        let wanted = enough_seconds(longest);
        let outcome =
            if case.count(Signature::ClosedLate) == 0 { Outcome::Advice } else { Outcome::Fail };
        Finding::new(
            outcome,
            format!(
                "A leaving target of {name} gets {delay} s to finish, but {told}: what still runs then \
                 is cut and becomes a 502."
            ),
        )
        .fixed_by(
            Command::new("aws elbv2 modify-target-group-attributes")
                .flag("--target-group-arn", Value::Arn(arn))
                .words("--attributes")
                .joined(&[
                    Piece::Text("Key=deregistration_delay.timeout_seconds,Value="),
                    Piece::Value(Value::Number(wanted)),
                ])
                .region(case.region()),
        )
    };
    finding.resource(arn).shown_by(show)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{detection::FailureRow, diagnosis::sample_case::SampleCase};

    fn cut_after(seconds: f64, delay: &str) -> SampleCase {
        let mut sample = SampleCase::failing(Signature::ClosedLate, 4);
        sample.set_target_group_attribute("deregistration_delay.timeout_seconds", delay);
        sample.evidence.failures = vec![FailureRow {
            time: sample.evidence.window.start,
            created: None,
            signature: Signature::ClosedLate,
            elapsed: Some(seconds),
            times: [Some(0.001), Some(seconds), Some(-1.0)],
            target: Some(Arc::from("10.0.11.5:8080")),
            path: None,
            method: None,
            node: Arc::from("unknown"),
            error_reason: None,
            received_bytes: None,
            trace_id: None,
            object: Arc::from("a.log"),
            gaps: Box::default(),
            after: None,
        }];
        sample
    }

    #[test]
    fn fails_when_requests_were_cut_at_the_delay() {
        let finding = run(&cut_after(29.7, "30").case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(
            finding.summary.contains("gets 30 s to finish")
                && finding.summary.contains("ran 29.7 s"),
            "{}",
            finding.summary
        );
        assert!(finding.fix_command.unwrap().contains("Value=60"));
    }

    #[test]
    fn fails_when_the_delay_is_nothing_and_requests_were_cut() {
        assert_eq!(run(&cut_after(0.4, "0").case()).outcome, Outcome::Fail);
    }

    #[test]
    fn advises_when_the_delay_is_too_short_but_nothing_was_cut() {
        let mut sample = SampleCase::failing(Signature::NotConnected, 4);
        sample.set_target_group_attribute("deregistration_delay.timeout_seconds", "0");
        assert_eq!(run(&sample.case()).outcome, Outcome::Advice);
    }

    #[test]
    fn passes_when_requests_end_well_before() {
        assert_eq!(run(&cut_after(12.0, "30").case()).outcome, Outcome::Pass);
        assert_eq!(run(&SampleCase::healthy().case()).outcome, Outcome::Pass);
    }

    #[test]
    fn unknown_when_denied_or_no_row_tells_a_duration() {
        let mut sample = SampleCase::healthy();
        sample.evidence.success_seconds = None;
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
        let mut sample = cut_after(29.7, "30");
        sample.facts.target_group_attributes = SampleCase::missing("target group attributes");
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
    }

    #[test]
    fn skipped_for_lambda() {
        let mut sample = SampleCase::healthy();
        sample.make_lambda();
        assert_eq!(run(&sample.case()).outcome, Outcome::Skipped);
    }
}
