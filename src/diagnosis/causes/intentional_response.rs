//! intentional-response: a listener rule or WAF answers 502 on purpose.
//!
//! `actions_executed` holds `fixed-response`, or ends with `waf`.
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html>

use super::{Cause, Claimed, Explanation, Strength};
use crate::{
    detection::{FailureRow, Signature},
    diagnosis::{
        Case, Confidence, Fix, Statement,
        command::{Command, Value},
    },
    numbers::count,
};

pub(super) const CAUSE: Cause = Cause {
    id: "intentional-response",
    title: "A listener rule or WAF answers 502 on purpose",
    why_healthy: Some("No target is asked: a rule answers, so the targets have no part in it."),
    claim,
    explain,
};

fn claim(_: &Case<'_>, row: &FailureRow) -> Option<super::Claim> {
    (row.signature == Signature::Intentional).then(|| Strength::Certain.into())
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let mut said = Explanation::new(Confidence::High);
    said.evidence.push(Statement::counted(
        claimed.count,
        claimed.of,
        format!(
            "{} answers of 502: actions_executed names fixed-response, or ends with waf. No target was \
             asked.",
            count(claimed.count)
        ),
    ));
    let arn = case.likely_load_balancer_arn();
    said.fixes.push(Fix::with(
        "Nothing, if that is wanted (maintenance page, block rule). Else look for the rule that \
         answers 502: aws elbv2 describe-rules has those of each listener.",
        Command::new("aws elbv2 describe-listeners")
            .flag("--load-balancer-arn", Value::Arn(arn.as_deref().unwrap_or_default()))
            .region(case.region()),
    ));
    said.fixes.push(Fix::with(
        "Where it is WAF, the rule is one of the load balancer's web ACL.",
        Command::new("aws wafv2 get-web-acl-for-resource")
            .flag("--resource-arn", Value::Arn(arn.as_deref().unwrap_or_default()))
            .region(case.region()),
    ));
    said
}
