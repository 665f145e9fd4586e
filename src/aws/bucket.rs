//! The notification configuration of a bucket, read and written as a whole.

use aws_sdk_s3::types::{
    Event, EventBridgeConfiguration, FilterRule, FilterRuleName, LambdaFunctionConfiguration,
    NotificationConfiguration, NotificationConfigurationFilter, QueueConfiguration, S3KeyFilter,
    TopicConfiguration,
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;

use super::{
    actions::{Action, GET_BUCKET_NOTIFICATION, PUT_BUCKET_NOTIFICATION},
    ask::{Failure, is_denied, reason},
    clients::Clients,
};
use crate::bucket_notification::{self, BucketNotification, Destination, Entry};

/// A bucket by its name.
///
/// What the API may learn to say after this version of the SDK is not carried over when the configuration
/// is written: the SDK knows the three kinds of entries, their ids, events and key filters, and the switch
/// of EventBridge, which is all that S3 has had since 2021.
#[derive(Debug)]
pub struct Bucket<'a> {
    /// The clients.
    pub clients: &'a Clients,
    /// Its region. `None`: the one of the environment or profile.
    pub region: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
}

/// S3 did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BucketError(String);

impl Bucket<'_> {
    fn client(&self) -> Result<aws_sdk_s3::Client, BucketError> {
        let region = self.region.or_else(|| self.clients.own_region()).ok_or_else(|| {
            BucketError("no region is known: give --region, or set AWS_REGION".to_owned())
        })?;
        Ok(self.clients.region(region).s3.clone())
    }

    /// The configuration as it is.
    ///
    /// # Errors
    /// When S3 does not tell it, or it holds what this version cannot write back.
    pub async fn notification(&self) -> Result<BucketNotification, BucketError> {
        let call = self.client()?.get_bucket_notification_configuration().bucket(self.name).send();
        let whole = call.await.map_err(|error| self.error(GET_BUCKET_NOTIFICATION, &error))?;
        let mut entries = Vec::new();
        for it in whole.lambda_function_configurations.unwrap_or_default() {
            let destination = Destination::Function(it.lambda_function_arn);
            entries.push(entry(it.id, destination, &it.events, it.filter));
        }
        for it in whole.queue_configurations.unwrap_or_default() {
            entries.push(entry(it.id, Destination::Queue(it.queue_arn), &it.events, it.filter));
        }
        for it in whole.topic_configurations.unwrap_or_default() {
            entries.push(entry(it.id, Destination::Topic(it.topic_arn), &it.events, it.filter));
        }
        Ok(BucketNotification { entries, event_bridge: whole.event_bridge_configuration.is_some() })
    }

    /// Puts this in the place of the configuration.
    ///
    /// # Errors
    /// When S3 does not take it, with the next step where it is known. `id` is the entry that is new.
    pub async fn replace(&self, whole: &BucketNotification, id: &str) -> Result<(), BucketError> {
        let call = self
            .client()?
            .put_bucket_notification_configuration()
            .bucket(self.name)
            .notification_configuration(configuration(whole)?)
            .send();
        let Err(error) = call.await else { return Ok(()) };
        let said = self.error(PUT_BUCKET_NOTIFICATION, &error);
        Err(match bucket_notification::next_step(&said.0, whole, id) {
            Some(step) => BucketError(format!("{said}\n{step}")),
            None => said,
        })
    }

    fn error<E: Failure>(&self, action: Action, error: &SdkError<E, HttpResponse>) -> BucketError {
        let name = self.name;
        let is_in = error.raw_response().and_then(|it| it.headers().get("x-amz-bucket-region"));
        let said = match error.code() {
            _ if is_denied(error) => format!("access denied: it needs {action} on the bucket"),
            Some("NoSuchBucket") => "there is no such bucket".to_owned(),
            Some(
                "PermanentRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException",
            ) => match is_in {
                Some(region) => format!("it is in another region: give --region {region}"),
                None => "it is in another region: give --region".to_owned(),
            },
            _ => reason(error),
        };
        BucketError(format!("s3://{name}: {said}"))
    }
}

fn entry(
    id: Option<String>,
    destination: Destination,
    events: &[Event],
    filter: Option<NotificationConfigurationFilter>,
) -> Entry {
    let rule = |rule: FilterRule| bucket_notification::FilterRule {
        name: rule.name.map(|name| name.as_str().to_owned()).unwrap_or_default(),
        value: rule.value.unwrap_or_default(),
    };
    Entry {
        id: id.unwrap_or_default(),
        destination,
        events: events.iter().map(|event| event.as_str().to_owned()).collect(),
        filter: filter.map(|filter| {
            let rules = filter.key.and_then(|key| key.filter_rules).unwrap_or_default();
            rules.into_iter().map(rule).collect()
        }),
    }
}

fn configuration(whole: &BucketNotification) -> Result<NotificationConfiguration, BucketError> {
    let mut made = NotificationConfiguration::builder();
    if whole.event_bridge {
        made = made.event_bridge_configuration(EventBridgeConfiguration::builder().build());
    }
    for entry in &whole.entries {
        let id = Some(entry.id.clone()).filter(|id| !id.is_empty());
        let events: Vec<Event> = entry.events.iter().map(|it| Event::from(it.as_str())).collect();
        let filter = entry.filter.as_ref().map(|rules| filter(rules));
        let unfit = |error| BucketError(format!("entry {}: {error}", entry.id));
        made = match &entry.destination {
            Destination::Function(arn) => made.lambda_function_configurations(
                LambdaFunctionConfiguration::builder()
                    .set_id(id)
                    .lambda_function_arn(arn)
                    .set_events(Some(events))
                    .set_filter(filter)
                    .build()
                    .map_err(unfit)?,
            ),
            Destination::Queue(arn) => made.queue_configurations(
                QueueConfiguration::builder()
                    .set_id(id)
                    .queue_arn(arn)
                    .set_events(Some(events))
                    .set_filter(filter)
                    .build()
                    .map_err(unfit)?,
            ),
            Destination::Topic(arn) => made.topic_configurations(
                TopicConfiguration::builder()
                    .set_id(id)
                    .topic_arn(arn)
                    .set_events(Some(events))
                    .set_filter(filter)
                    .build()
                    .map_err(unfit)?,
            ),
        };
    }
    Ok(made.build())
}

fn filter(rules: &[bucket_notification::FilterRule]) -> NotificationConfigurationFilter {
    let rules = rules.iter().map(|rule| {
        FilterRule::builder()
            .name(FilterRuleName::from(rule.name.as_str()))
            .value(&rule.value)
            .build()
    });
    let key = S3KeyFilter::builder().set_filter_rules(Some(rules.collect())).build();
    NotificationConfigurationFilter::builder().key(key).build()
}
