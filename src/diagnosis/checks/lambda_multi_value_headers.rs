//! Does the Lambda function answer in the form that its target group expects? Looks at the attribute
//! `lambda.multi_value_headers.enabled` when rows say LambdaInvalidResponse.
//!
//! With the attribute on, headers must come in `multiValueHeaders`; with it off, in `headers`. The other
//! form is a malformed response, and the client gets a 502.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html>

use super::{Check, Finding, Outcome};
use crate::diagnosis::{
    Case, Fact,
    command::{Command, Value},
};

/// The check.
pub const CHECK: Check = Check {
    id: "lambda-multi-value-headers",
    title: "Does the Lambda function answer in the expected form?",
    run,
};

fn run(case: &Case<'_>) -> Finding {
    let name = case.target_group_name();
    let arn = case.target_group_arn().unwrap_or_default();
    let question = format!("Which form of headers {name} expects");
    match &case.facts.target_group {
        Fact::Unknown(gap) => return Finding::unknown(&question, gap),
        Fact::Known(group) if !group.is_lambda() => {
            return Finding::new(Outcome::Skipped, format!("{name} holds no Lambda function."));
        }
        Fact::Known(_) => {}
    }
    let show = Command::new("aws elbv2 describe-target-group-attributes")
        .flag("--target-group-arn", Value::Arn(arn))
        .words("--query 'Attributes[?Key==`lambda.multi_value_headers.enabled`]'")
        .region(case.region());
    let enabled = match case.target_group_attribute("lambda.multi_value_headers.enabled") {
        Ok(value) => value == "true",
        Err(gap) => return Finding::unknown(&question, &gap).shown_by(show),
    };
    let (state, form) = if enabled { ("true", "multiValueHeaders") } else { ("false", "headers") };
    let invalid = case
        .evidence
        .error_reasons
        .iter()
        .find(|(reason, _)| reason.as_ref() == "LambdaInvalidResponse")
        .map_or(0, |(_, count)| *count);
    let finding = if invalid == 0 {
        Finding::new(
            Outcome::Pass,
            format!(
                "No row says LambdaInvalidResponse; {name} expects {form} \
                 (lambda.multi_value_headers.enabled is {state})."
            ),
        )
    } else {
        Finding::new(
            Outcome::Advice,
            format!(
                "{invalid} rows say LambdaInvalidResponse, and lambda.multi_value_headers.enabled of \
                 {name} is {state}: the function must answer with {form}, all values as text, with \
                 statusCode and isBase64Encoded."
            ),
        )
    };
    finding.resource(arn).shown_by(show)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{detection::Signature, diagnosis::sample_case::SampleCase};

    fn lambda(enabled: &str, reason: &str) -> SampleCase {
        let mut sample = SampleCase::failing(Signature::ErrorReason, 7);
        sample.make_lambda();
        sample.set_target_group_attribute("lambda.multi_value_headers.enabled", enabled);
        sample.evidence.error_reasons = vec![(Arc::from(reason), 7)];
        sample
    }

    #[test]
    fn advises_when_rows_say_invalid_response() {
        let finding = run(&lambda("true", "LambdaInvalidResponse").case());
        assert_eq!(finding.outcome, Outcome::Advice);
        assert!(finding.summary.contains("must answer with multiValueHeaders"));
        let finding = run(&lambda("false", "LambdaInvalidResponse").case());
        assert!(finding.summary.contains("must answer with headers"));
    }

    #[test]
    fn passes_when_rows_say_something_else() {
        assert_eq!(run(&lambda("true", "LambdaUnhandled").case()).outcome, Outcome::Pass);
    }

    #[test]
    fn unknown_when_the_attribute_or_the_group_is_denied() {
        let mut sample = lambda("true", "LambdaInvalidResponse");
        sample.facts.target_group_attributes = SampleCase::missing("target group attributes");
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
        sample.facts.target_group = SampleCase::missing("target group");
        assert_eq!(run(&sample.case()).outcome, Outcome::Unknown);
    }

    #[test]
    fn skipped_when_the_group_holds_no_function() {
        assert_eq!(run(&SampleCase::healthy().case()).outcome, Outcome::Skipped);
    }
}
