//! lambda-unknown: a Lambda target group fails and the log gives no reason.

use super::{Cause, Claimed, Explanation, Strength, words};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{Case, Confidence, Fix, Statement},
};

pub(super) const CAUSE: Cause = Cause {
    id: "lambda-unknown",
    title: "The Lambda target fails and the log gives no reason",
    why_healthy: Some(
        "Health checks of a Lambda target group are off by default, and one that is on invokes the \
         function with its own small request.",
    ),
    claim,
    explain,
};

fn claim(case: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    (row.signature == Signature::NoTarget && case.looks_like_lambda() == Some(true))
        .then(|| Strength::Likely.into())
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let by_fact = case.target_group().is_some();
    let mut said = Explanation::new(if by_fact { Confidence::Medium } else { Confidence::Low });
    said.evidence
        .push(words::of_failures(claimed, "no target address and no error_reason in the row."));
    said.evidence.push(Statement::new(if by_fact {
        "AWS says that the target group is a Lambda function."
    } else {
        "No row of this target group names a target, as with a Lambda function."
    }));
    said.evidence.extend(case.lambda_errors());
    said.against.push(Statement::new(
        "A failing Lambda target usually leaves an error_reason; which failure this is, the rows do \
         not say.",
    ));
    said.fixes.push(Fix::new(
        "Look at the function's Errors, Throttles and Duration metrics and its log at the times of \
         the samples.",
    ));
    said
}
