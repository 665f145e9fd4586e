//! One call: counted, bounded by the deadline, and a gap when it fails.

use std::{cell::Cell, future::Future};

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::{display::DisplayErrorContext, metadata::ProvideErrorMetadata};
use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;

use super::{
    actions::Action,
    clients::CALL_TIMEOUT,
    deadlines::{Late, until},
    topic::SNS_THROTTLING,
};
use crate::{
    diagnosis::{Fact, Gap},
    neutralize,
};

/// Calls of one kind at the same time: as many listeners as a large load balancer has, and well below
/// the 40 or more requests that ELBv2 and EC2 take at once from an account.
const AT_ONCE: usize = 10;

/// Each client tries again what was throttled, some times.
const THROTTLED: &str = "throttled by AWS, also after retries";

/// What the SDK says where nothing but the environment was asked for credentials: the function asks
/// nothing else ([`super::Clients::of_the_function`]), a person may have forgotten that.
const NOT_IN_THE_ENVIRONMENT: &str = "environment variable not set";

/// What an error of AWS may say in a message.
const MAX_REASON: usize = 300;

/// Calls for one diagnosis.
#[derive(Debug)]
pub(super) struct Asker {
    until: Option<Instant>,
    round_until: Cell<Option<Instant>>,
    calls: Cell<u32>,
}

impl Asker {
    pub(super) fn new(until: Option<Instant>) -> Self {
        Self { until, round_until: Cell::new(until), calls: Cell::new(0) }
    }

    /// Begins one of the `left` rounds that are to come. Each has its share of the time, and leaves to
    /// the next what it does not need: one call that hangs does not take the others with it.
    pub(super) fn round(&self, left: u32) {
        self.round_until.set(self.until.map(|until| {
            let now = Instant::now();
            now + until.saturating_duration_since(now) / left.max(1)
        }));
    }

    /// How many calls were made; retries and further pages are not counted.
    pub(super) fn calls(&self) -> u32 {
        self.calls.get()
    }

    /// One call.
    pub(super) async fn ask<T, E: Failure>(
        &self,
        action: Action,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Fact<T> {
        let late = |reason: &str| {
            Fact::Unknown(Gap {
                fact: action.fact.to_owned(),
                reason: reason.to_owned(),
                permission: None,
            })
        };
        if self.until.is_some_and(|until| until <= Instant::now()) {
            return late("not asked for: the time of the invocation was over");
        }
        self.calls.set(self.calls.get() + 1);
        match until(self.round_until.get(), call).await {
            Ok(Ok(answer)) => Fact::Known(answer),
            Ok(Err(error)) => Fact::Unknown(gap(action, &error)),
            Err(Late) => late("no answer in the time that the invocation had left"),
        }
    }

    /// One call for each piece of a list, some at the same time. The whole list, or a gap: a part of a
    /// list is not the list.
    pub(super) async fn ask_each<T, E: Failure, F>(
        &self,
        action: Action,
        calls: impl IntoIterator<Item = F>,
    ) -> Fact<Vec<T>>
    where
        F: Future<Output = Result<Vec<T>, SdkError<E, HttpResponse>>>,
    {
        let answers: Vec<Fact<Vec<T>>> =
            stream::iter(calls.into_iter().map(|call| self.ask(action, call)))
                .buffered(AT_ONCE)
                .collect()
                .await;
        let mut whole = Vec::new();
        for answer in answers {
            match answer {
                Fact::Known(mut part) => whole.append(&mut part),
                Fact::Unknown(gap) => return Fact::Unknown(gap),
            }
        }
        Fact::Known(whole)
    }
}

/// An error of an operation.
pub(super) trait Failure:
    ProvideErrorMetadata + std::error::Error + Send + Sync + 'static
{
}
impl<E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static> Failure for E {}

fn gap<E: Failure>(action: Action, error: &SdkError<E, HttpResponse>) -> Gap {
    let denied = is_denied(error);
    Gap {
        fact: action.fact.to_owned(),
        reason: reason(error),
        permission: denied.then(|| action.name.to_owned()),
    }
}

/// Whether IAM refused. ELBv2, S3 and SNS say it differently from EC2; what stands between here and
/// AWS (an endpoint policy, a proxy) may say it with the status alone.
pub(super) fn is_denied<E: Failure>(error: &SdkError<E, HttpResponse>) -> bool {
    match error.code() {
        Some(code) => [
            "AccessDenied",
            "AccessDeniedException",
            "AuthorizationError",
            "AuthorizationErrorException",
            "UnauthorizedOperation",
        ]
        .contains(&code),
        None => error.raw_response().is_some_and(|response| response.status().as_u16() == 403),
    }
}

/// Whether AWS does not take the credentials, or there are none. S3 says it differently from the others.
pub(super) fn is_about_credentials<E: Failure>(error: &SdkError<E, HttpResponse>) -> bool {
    match (error, error.code()) {
        (_, Some(code)) => [
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidToken",
            "RequestExpired",
            "SignatureDoesNotMatch",
            "TokenRefreshRequired",
            "UnrecognizedClientException",
        ]
        .contains(&code),
        (SdkError::TimeoutError(_) | SdkError::ServiceError(_), None) => false,
        (_, None) => {
            let chain = DisplayErrorContext(error).to_string();
            chain.contains("CredentialsNotLoaded") || chain.contains("NoCredential")
        }
    }
}

/// Why a call failed, in words that name what to do where that is known.
pub(super) fn reason<E: Failure>(error: &SdkError<E, HttpResponse>) -> String {
    if is_denied(error) {
        return "access denied".to_owned();
    }
    match (error, error.code()) {
        (_, Some("LoadBalancerNotFound" | "LoadBalancerNotFoundException")) => {
            "AWS knows no load balancer of this id: it was deleted".to_owned()
        }
        (_, Some("TargetGroupNotFound" | "TargetGroupNotFoundException")) => {
            "AWS knows no target group of this ARN: it was deleted".to_owned()
        }
        (
            _,
            Some(
                "ProvisionedThroughputExceededException"
                | "RequestLimitExceeded"
                | "Throttling"
                | "ThrottlingException"
                | "ThrottledException"
                | "RequestThrottled"
                | "SlowDown"
                | "TooManyRequestsException",
            ),
        ) => THROTTLED.to_owned(),
        (_, Some(code)) if SNS_THROTTLING.contains(&code) => THROTTLED.to_owned(),
        (_, Some(_)) if is_about_credentials(error) => {
            "the AWS credentials are expired or not valid".to_owned()
        }
        (_, Some(code)) => {
            let message = error.message().unwrap_or("no further word");
            neutralize::cut(
                &neutralize::line(&format!("AWS answered {code}: {message}")),
                MAX_REASON,
            )
        }
        (SdkError::TimeoutError(_), None) => {
            format!("no answer within {} s", CALL_TIMEOUT.as_secs())
        }
        (SdkError::ServiceError(error), None) => {
            format!("AWS answered with status {} and no error code", error.raw().status().as_u16())
        }
        (_, None) => {
            let innermost = innermost(error);
            let said = if !is_about_credentials(error) {
                format!("AWS could not be reached: {innermost}")
            } else if innermost == NOT_IN_THE_ENVIRONMENT {
                "no AWS credentials were found in the environment, where alone the function looks; `aws \
                 configure export-credentials --format env` prints those of a profile for it"
                    .to_owned()
            } else {
                "no AWS credentials were found".to_owned()
            };
            neutralize::cut(&neutralize::line(&said), MAX_REASON)
        }
    }
}

/// The last error of the chain is the one that names the host or the refusal.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
