//! lambda: the load balancer says in `error_reason` how invoking the Lambda function failed. One cause
//! id for each documented reason.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html>

use super::{Cause, Claim, Claimed, Explanation, Strength, words};
use crate::{
    detection::FailureRow,
    diagnosis::{
        Case, Confidence, Fix, Statement,
        command::{Command, Value},
    },
};

pub(super) const CAUSE: Cause = Cause {
    id: "lambda",
    title: "Invoking the Lambda function failed",
    why_healthy: Some(
        "Health checks of a Lambda target group are off by default, and one that is on invokes the \
         function with its own small request.",
    ),
    claim,
    explain,
};

/// A documented reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LambdaReason {
    /// As the log writes it.
    pub code: &'static str,
    /// The cause id.
    pub id: &'static str,
    /// What it means.
    pub title: &'static str,
    /// What to do.
    pub fix: &'static str,
}

const fn reason(
    code: &'static str,
    id: &'static str,
    title: &'static str,
    fix: &'static str,
) -> LambdaReason {
    LambdaReason { code, id, title, fix }
}

const VPC_ROLE: &str = "Give the function's execution role the EC2 actions of \
                        AWSLambdaVPCAccessExecutionRole.";
const KMS_KEY: &str = "Check the KMS key of the function's environment: enabled, not deleted, and usable by the role.";
const AWS_SIDE: &str = "It is on AWS's side: retry, watch the AWS Health Dashboard, and open a case \
                        when it lasts.";

/// Every documented reason of a Lambda target.
pub const LAMBDA_REASONS: &[LambdaReason] = &[
    reason(
        "LambdaAccessDenied",
        "lambda-access-denied",
        "The load balancer may not invoke the Lambda function",
        "Add the permission: principal elasticloadbalancing.amazonaws.com, action \
         lambda:InvokeFunction, source ARN the target group. A new alias or version needs its own.",
    ),
    reason(
        "LambdaBadRequest",
        "lambda-bad-request",
        "Lambda refused the request as invalid",
        "The request's headers or body are not valid UTF-8: see which client sends them.",
    ),
    reason(
        "LambdaConnectionError",
        "lambda-connection-error",
        "The load balancer could not connect to Lambda",
        AWS_SIDE,
    ),
    reason(
        "LambdaConnectionTimeout",
        "lambda-connection-timeout",
        "The attempt to connect to Lambda timed out",
        AWS_SIDE,
    ),
    reason(
        "LambdaEC2AccessDeniedException",
        "lambda-ec2-access-denied-exception",
        "EC2 denied Lambda access while it prepared the function",
        VPC_ROLE,
    ),
    reason(
        "LambdaEC2ThrottledException",
        "lambda-ec2-throttled-exception",
        "EC2 throttled Lambda while it prepared the function",
        "Too many functions prepare network interfaces at once: spread deployments, ask for a higher \
         EC2 API limit.",
    ),
    reason(
        "LambdaEC2UnexpectedException",
        "lambda-ec2-unexpected-exception",
        "EC2 answered Lambda with an unexpected error",
        AWS_SIDE,
    ),
    reason(
        "LambdaENILimitReachedException",
        "lambda-eni-limit-reached-exception",
        "Lambda could not create a network interface: the limit is reached",
        "Ask for a higher limit of network interfaces in the VPC, or remove unused ones.",
    ),
    reason(
        "LambdaInvalidResponse",
        "lambda-invalid-response",
        "The Lambda function's response is malformed or lacks a field",
        "Return statusCode (a number), headers whose values are all strings, body as a string, and \
         isBase64Encoded; use multiValueHeaders when the target group's attribute for it is on.",
    ),
    reason(
        "LambdaInvalidRuntimeException",
        "lambda-invalid-runtime-exception",
        "The Lambda function's runtime version is not supported",
        "Update the function to a supported runtime.",
    ),
    reason(
        "LambdaInvalidSecurityGroupIDException",
        "lambda-invalid-security-group-id-exception",
        "A security group of the Lambda function does not exist",
        "Correct the security group ids in the function's VPC configuration.",
    ),
    reason(
        "LambdaInvalidSubnetIDException",
        "lambda-invalid-subnet-id-exception",
        "A subnet of the Lambda function does not exist",
        "Correct the subnet ids in the function's VPC configuration.",
    ),
    reason(
        "LambdaInvalidZipFileException",
        "lambda-invalid-zip-file-exception",
        "Lambda could not unzip the function's package",
        "Build and upload the package again.",
    ),
    reason(
        "LambdaKMSAccessDeniedException",
        "lambda-kms-access-denied-exception",
        "Lambda could not decrypt the function's environment: access to the key is denied",
        KMS_KEY,
    ),
    reason(
        "LambdaKMSDisabledException",
        "lambda-kms-disabled-exception",
        "Lambda could not decrypt the function's environment: the key is disabled",
        KMS_KEY,
    ),
    reason(
        "LambdaKMSInvalidStateException",
        "lambda-kms-invalid-state-exception",
        "Lambda could not decrypt the function's environment: the key's state does not allow it",
        KMS_KEY,
    ),
    reason(
        "LambdaKMSNotFoundException",
        "lambda-kms-not-found-exception",
        "Lambda could not decrypt the function's environment: the key does not exist",
        KMS_KEY,
    ),
    reason(
        "LambdaRequestTooLarge",
        "lambda-request-too-large",
        "The request body is larger than 1 MB, the limit of a Lambda target",
        "Send large bodies to S3 with a presigned URL; normally this is a 413.",
    ),
    reason(
        "LambdaResourceNotFound",
        "lambda-resource-not-found",
        "The Lambda function does not exist",
        "Register the function, version or alias that exists now.",
    ),
    reason(
        "LambdaResponseTooLarge",
        "lambda-response-too-large",
        "The Lambda function's response is larger than 1 MB",
        "Return less: page, compress, or answer with a link to S3.",
    ),
    reason(
        "LambdaServiceException",
        "lambda-service-exception",
        "Lambda had an internal error",
        AWS_SIDE,
    ),
    reason(
        "LambdaSubnetIPAddressLimitReachedException",
        "lambda-subnet-ip-address-limit-reached-exception",
        "Lambda could not set up its network: a subnet has no free address",
        "Give the function subnets with free addresses.",
    ),
    reason(
        "LambdaThrottling",
        "lambda-throttling",
        "Lambda throttled the function: too many invocations at once",
        "Raise the function's reserved concurrency or the account's limit; see ConcurrentExecutions \
         and Throttles.",
    ),
    reason(
        "LambdaUnhandled",
        "lambda-unhandled",
        "The Lambda function failed with an unhandled error or timed out",
        "Read the function's log at the times of the samples: an exception, a timeout or an \
         out-of-memory stop.",
    ),
    reason(
        "LambdaUnhandledException",
        "lambda-unhandled-exception",
        "The load balancer met an unhandled exception while it invoked Lambda",
        AWS_SIDE,
    ),
    reason(
        "LambdaWebsocketNotSupported",
        "lambda-websocket-not-supported",
        "WebSockets do not work with a Lambda target",
        "Route the WebSocket path to another target type; normally this is a 400.",
    ),
];

fn documented(code: &str) -> Option<&'static LambdaReason> {
    LAMBDA_REASONS.iter().find(|reason| reason.code == code)
}

fn claim(_: &Case<'_>, row: &FailureRow) -> Option<Claim> {
    let reason = documented(row.error_reason.as_deref()?)?;
    Some(Claim { strength: Strength::Certain, id: Some(reason.id) })
}

fn explain(case: &Case<'_>, claimed: &Claimed<'_>) -> Explanation {
    let mut said = Explanation::new(Confidence::High);
    let Some(reason) = LAMBDA_REASONS.iter().find(|reason| reason.id == claimed.id) else {
        return said;
    };
    said.title = Some(reason.title.to_owned());
    said.evidence.push(words::of_failures(claimed, &format!("error_reason is {}.", reason.code)));
    said.evidence.extend(case.lambda_errors());
    let paths = claimed.paths();
    let all = case.evidence.paths.iter().filter(|path| 0 < path.requests).count();
    if !paths.is_empty() {
        said.evidence.push(Statement::counted(
            paths.len() as u64,
            all as u64,
            match paths.as_slice() {
                [(path, _)] if 1 < all => {
                    format!("All on {}, one of {all} paths.", crate::neutralize::plain(path))
                }
                _ => format!("On {} of {all} paths in the log.", paths.len()),
            },
        ));
    }
    said.fixes.push(Fix::new(reason.fix));
    said.fixes.push(Fix::with(
        "See which function the target group invokes.",
        Command::new("aws elbv2 describe-target-health")
            .flag("--target-group-arn", Value::Arn(case.target_group_arn().unwrap_or_default()))
            .region(case.region()),
    ));
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `LambdaENILimitReachedException` → `lambda-eni-limit-reached-exception`.
    fn kebab(code: &str) -> String {
        let chars: Vec<char> = code.chars().collect();
        let mut text = String::new();
        for (index, &c) in chars.iter().enumerate() {
            let starts_word = c.is_uppercase()
                && 0 < index
                && (!chars[index - 1].is_uppercase() && !chars[index - 1].is_ascii_digit()
                    || chars.get(index + 1).is_some_and(|next| next.is_lowercase()));
            if starts_word {
                text.push('-');
            }
            text.push(c.to_ascii_lowercase());
        }
        text
    }

    #[test]
    fn ids_are_the_codes_in_kebab_case() {
        for reason in LAMBDA_REASONS {
            assert_eq!(reason.id, kebab(reason.code));
        }
    }
}
