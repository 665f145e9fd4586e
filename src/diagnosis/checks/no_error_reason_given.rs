//! Does a row say itself why it failed? Looks at `error_reason` of the failed rows.
//!
//! AWS fills that field only when authentication, a Lambda target, WAF or a target-group cookie failed.
//! For instance and ip targets it is always `-`, whatever went wrong, so its absence is no finding.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html>

use super::{Check, Finding, Outcome};
use crate::diagnosis::{Case, command::Command, network::listed};

/// The check.
pub const CHECK: Check =
    Check { id: "no-error-reason-given", title: "Do the rows leave the reason open?", run };

/// They stand in articles, but in no AWS document.
const UNDOCUMENTED: [&str; 3] = ["RESPONSE_INVALID", "HANDSHAKE_TIMEOUT", "CONNECTION_ERROR"];

fn run(case: &Case<'_>) -> Finding {
    let failures = case.evidence.counts.failures;
    let reasons = &case.evidence.error_reasons;
    let show = Command::new("alb502 parse '<LOG FILE>'").words("| grep '\"error_reason\":\"'");
    if reasons.is_empty() && 0 < case.evidence.windows_given_up {
        return Finding::new(
            Outcome::Unknown,
            "Of the rows at hand none carries an error_reason; the rows of some windows were given up.",
        )
        .shown_by(show);
    }
    if reasons.is_empty() {
        if case.is_lambda() && 0 < failures {
            return Finding::new(
                Outcome::Unknown,
                format!(
                    "{} holds a Lambda function, whose failed rows carry a reason, but none of the \
                     {failures} failed rows does.",
                    case.target_group_name()
                ),
            )
            .shown_by(show);
        }
        return Finding::new(
            Outcome::Pass,
            "No row carries an error_reason. For instance and ip targets that is always so: the times \
             of the row tell instead.",
        );
    }
    let named: Vec<String> = reasons
        .iter()
        .map(|(reason, count)| {
            let mark =
                if UNDOCUMENTED.contains(&reason.as_ref()) { ", in no AWS document" } else { "" };
            format!("{} ({count} of {failures}{mark})", harmless(reason))
        })
        .collect();
    Finding::new(
        Outcome::Fail,
        format!("The rows say the reason themselves: {}.", listed(&named, 5)),
    )
    .shown_by(show)
}

/// A code out of the log: letters, digits and underscores, at most 64 of them.
fn harmless(reason: &str) -> String {
    reason
        .chars()
        .take(64)
        .map(|one| if one.is_ascii_alphanumeric() || one == '_' { one } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        detection::Signature,
        diagnosis::{Reading, diagnose, sample_case::SampleCase},
    };

    #[test]
    fn fails_when_rows_name_a_reason() {
        let mut sample = SampleCase::failing(Signature::ErrorReason, 7);
        sample.evidence.error_reasons = vec![(Arc::from("LambdaInvalidResponse"), 7)];
        let finding = run(&sample.case());
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.summary.contains("LambdaInvalidResponse (7 of 7)"));
    }

    #[test]
    fn undocumented_reasons_are_marked_and_strange_ones_are_harmless() {
        let mut sample = SampleCase::failing(Signature::ErrorReason, 3);
        sample.evidence.error_reasons =
            vec![(Arc::from("RESPONSE_INVALID"), 2), (Arc::from("<!channel> $(id)"), 1)];
        let summary = run(&sample.case()).summary;
        assert!(summary.contains("RESPONSE_INVALID (2 of 3, in no AWS document)"));
        assert!(summary.contains("??channel????id? (1 of 3)"), "{summary}");
    }

    #[test]
    fn passes_when_no_row_names_a_reason() {
        let sample = SampleCase::failing(Signature::NotConnected, 7);
        assert_eq!(run(&sample.case()).outcome, Outcome::Pass);
    }

    #[test]
    fn unknown_when_rows_were_given_up() {
        let mut sample = SampleCase::failing(Signature::ErrorReason, 7);
        sample.evidence.windows_given_up = 2;
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
        let said = diagnose(&sample.evidence, &sample.facts, &Reading::default());
        let fact = "rows of 2 windows of the incident or the hour around it";
        let gap = said.gaps.iter().find(|gap| gap.fact == fact);
        assert!(gap.is_some_and(|gap| gap.reason.contains("only their counts")), "{:?}", said.gaps);
    }

    #[test]
    fn unknown_when_lambda_rows_lack_the_reason() {
        let mut sample = SampleCase::failing(Signature::NoTarget, 7);
        sample.make_lambda();
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
    }
}
