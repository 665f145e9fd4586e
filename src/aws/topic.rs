//! The topic: one publish, every reader.

use std::{fmt, time::Duration};

use aws_sdk_sns::{
    config::{
        interceptors::InterceptorContext,
        retry::{ClassifyRetry, RetryAction},
        timeout::TimeoutConfig,
    },
    error::ProvideErrorMetadata as _,
    operation::publish::PublishError,
    types::MessageAttributeValue,
};

use super::{
    ask::{is_denied, reason},
    clients::{CALL_TIMEOUT, Clients},
    deadlines::{Deadlines, Late, until},
};
use crate::{
    diagnosis::Diagnosis,
    notification::Notification,
    ports::{Notifier, NotifierError},
};

/// SNS answers in 50 ms. Shorter than the time that [`Deadlines`] keep for the message, so that a
/// request which is lost is sent again within it: better said twice than not at all.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// The environment variable that names the topic. The template sets it.
pub const TOPIC_ARN: &str = "ALB502_TOPIC_ARN";

/// The ARN of an SNS topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicArn {
    arn: String,
    region: String,
}

/// The topic is not named, or not by an ARN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{TOPIC_ARN} is {0:?}; allowed is the ARN of a standard SNS topic, such as \
     arn:aws:sns:eu-west-1:123456789012:alb502"
)]
pub struct TopicArnError(String);

impl TopicArn {
    /// Reads an ARN: `arn:<partition>:sns:<region>:<account>:<name>`.
    ///
    /// # Errors
    /// When it is none, or one of a FIFO topic, which has no email or https subscribers.
    pub fn parse(arn: &str) -> Result<Self, TopicArnError> {
        let refused = || TopicArnError(arn.to_owned());
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, "sns", region, account, name] = parts[..] else {
            return Err(refused());
        };
        let is_word = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        };
        let is_account = account.len() == 12 && account.chars().all(|c| c.is_ascii_digit());
        if is_word(partition) && is_word(region) && is_account && is_word(name) {
            Ok(Self { arn: arn.to_owned(), region: region.to_owned() })
        } else {
            Err(refused())
        }
    }
}

impl fmt::Display for TopicArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn)
    }
}

/// Publishes to the topic.
#[derive(Debug)]
pub struct SnsNotifier<'a> {
    /// The clients.
    pub clients: &'a Clients,
    /// Until when the message must be out.
    pub deadlines: Deadlines,
    /// Where it goes.
    pub topic: &'a TopicArn,
}

impl Notifier for SnsNotifier<'_> {
    async fn publish(
        &self,
        _: &Diagnosis,
        notification: &Notification,
    ) -> Result<(), NotifierError> {
        let clients = self.clients.region(&self.topic.region);
        let mut call = clients
            .sns
            .publish()
            .topic_arn(&self.topic.arn)
            .subject(&notification.subject)
            .message(&notification.message)
            .message_structure("json");
        for (name, value) in &notification.attributes {
            let value = MessageAttributeValue::builder()
                .data_type("String")
                .string_value(value)
                .build()
                .map_err(|error| NotifierError(error.to_string()))?;
            call = call.message_attributes(name, value);
        }
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(CALL_TIMEOUT)
            .build();
        let call = call
            .customize()
            .config_override(
                aws_sdk_sns::Config::builder()
                    .timeout_config(timeouts)
                    .retry_classifier(SnsThrottling),
            )
            .send();
        let said = match until(self.deadlines.publish, call).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if is_denied(&error) => {
                "access denied: alb502 needs sns:Publish on it".to_owned()
            }
            Ok(Err(error)) => reason(&error),
            Err(Late) => "no answer before the deadline of the invocation".to_owned(),
        };
        Err(NotifierError(format!("{}: {said}", self.topic)))
    }
}

/// SNS has words of its own for throttling: of its own, and of the key of an encrypted topic. The SDK does
/// not know them, and would not try again.
/// Source: <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html> and the SDK's model of SNS.
pub(super) const SNS_THROTTLING: [&str; 2] = ["Throttled", "KMSThrottling"];

#[derive(Debug)]
struct SnsThrottling;

impl ClassifyRetry for SnsThrottling {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context.output_or_error().and_then(|it| it.err());
        let error = error.and_then(|it| it.as_operation_error()?.downcast_ref::<PublishError>());
        match error.and_then(|it| it.code()) {
            Some(code) if SNS_THROTTLING.contains(&code) => RetryAction::throttling_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "throttling of SNS"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_of_a_standard_topic_is_read() {
        for arn in [
            "arn:aws:sns:eu-west-1:123456789012:alb502",
            "arn:aws-cn:sns:cn-north-1:123456789012:on-call_1",
        ] {
            assert_eq!(TopicArn::parse(arn).unwrap().to_string(), arn);
        }
        for arn in [
            "",
            "alb502",
            "arn:aws:sqs:eu-west-1:123456789012:alb502",
            "arn:aws:sns:eu-west-1:12345678901:alb502",
            "arn:aws:sns:eu-west-1:123456789012:alb502.fifo",
            "arn:aws:sns:eu-west-1:123456789012:alb502:7d3f",
            "arn:aws:sns::123456789012:alb502",
        ] {
            let error = TopicArn::parse(arn).unwrap_err().to_string();
            assert!(error.contains(TOPIC_ARN) && error.contains("allowed is"), "{error}");
        }
    }
}
