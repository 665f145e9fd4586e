//! What triggers an invocation → the log objects to read.
//!
//! An event comes from S3 itself, from EventBridge, from a person, or wrapped by SNS and SQS; `layers`
//! opens what wraps it, `shapes` tells one shape from the other and reads what names an object. All of
//! them are read leniently: fields that are not needed may be missing or new. A test event or a shape
//! that is not ours is passed over with a word; one of ours that cannot be read is an error, so that it
//! is retried and then parked.

mod layers;
mod place;
mod shapes;
#[cfg(test)]
mod tests;

use serde_json::Value;

/// An object to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogObject {
    /// The bucket.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// The version, in a bucket with versioning.
    pub version_id: Option<String>,
    /// The region of the bucket.
    pub region: Option<String>,
}

/// What an event asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Nothing in it is for us, and why.
    Foreign(String),
    /// Something is, or there is more than one reason why not, or SQS waits for an answer.
    Objects(Arrivals),
}

/// The objects of an event, and what became of everything else in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// The objects to read, each once (bucket, key and version), in the order of the event.
    pub objects: Vec<LogObject>,
    /// What asks for nothing, each with the reason.
    pub passed_over: Vec<String>,
    /// What is ours and names no object that can be read: errors, told after the others were handled.
    pub unreadable: Vec<EventError>,
    /// The messages, exactly when the event is a batch of SQS. Then SQS waits for the ids of those that
    /// failed, also when there is nothing to read in any of them.
    pub messages: Option<Vec<QueueMessage>>,
    /// The latest time in the event: S3's `eventTime`, EventBridge's `time`, the `Timestamp` of SNS, the
    /// `SentTimestamp` of SQS. It is what the event says, not checked against a clock.
    pub time: Option<jiff::Timestamp>,
}

/// A message of a batch of SQS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMessage {
    /// Its `messageId`. Empty when the message has none: in the answer an empty id makes Lambda take the
    /// whole batch as failed, so that nothing is lost.
    ///
    /// Source: <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>
    pub id: String,
    /// What it names, as indices into [`Arrivals::objects`], each once.
    pub objects: Vec<usize>,
    /// Something in it is ours and could not be read.
    pub unreadable: bool,
}

impl QueueMessage {
    /// Whether SQS is to deliver it again. `failed` tells of an object, by its index in
    /// [`Arrivals::objects`], whether it could not be handled.
    pub fn is_failed(&self, failed: impl Fn(usize) -> bool) -> bool {
        self.unreadable || self.objects.iter().any(|object| failed(*object))
    }
}

impl Arrivals {
    /// The ids of the messages that SQS is to deliver again: those that were unreadable or that name an
    /// object that failed. `failed` is asked for indices into [`Arrivals::objects`]. Empty when the event
    /// is no batch of SQS.
    pub fn failed_messages(&self, failed: impl Fn(usize) -> bool) -> Vec<&str> {
        let messages = self.messages.iter().flatten();
        messages.filter(|it| it.is_failed(&failed)).map(|it| it.id.as_str()).collect()
    }
}

/// A part of an event that is ours and cannot be read. Each says where in the event it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A field that is needed is missing, empty, or something else than text.
    #[error("{place} has no text as {field}{}", of_bucket(.bucket))]
    Field {
        /// Where.
        place: String,
        /// The field.
        field: String,
        /// The bucket, empty when it is not named.
        bucket: String,
    },
    /// The key is no text after decoding.
    #[error(
        "the key {} of {place} is no UTF-8 text{}",
        crate::neutralize::object_name(.key),
        of_bucket(.bucket)
    )]
    Key {
        /// Where.
        place: String,
        /// The bucket.
        bucket: String,
        /// As it stands in the event.
        key: String,
    },
    /// A text begins like JSON and speaks of S3, and is not JSON: a notification that was cut.
    #[error("{place} holds a notification of S3 that is not whole JSON: {reason}")]
    Cut {
        /// Where.
        place: String,
        /// What the JSON parser says.
        reason: String,
    },
    /// More envelopes around each other than anybody has a reason for.
    #[error("{place} stands in more than {} envelopes", layers::MAX_LAYERS)]
    TooDeep {
        /// Where.
        place: String,
    },
}

fn of_bucket(bucket: &str) -> String {
    match bucket {
        "" => String::new(),
        name => format!(" (bucket {})", crate::neutralize::object_name(name)),
    }
}

/// Reads an event of any of the shapes. It never fails as a whole: what cannot be read stands beside
/// what can.
pub fn read(payload: &Value) -> Event {
    let mut arrivals = layers::open(payload);
    let nothing = arrivals.objects.is_empty()
        && arrivals.unreadable.is_empty()
        && arrivals.messages.is_none();
    if nothing && arrivals.passed_over.len() < 2 {
        let reason = arrivals.passed_over.pop();
        return Event::Foreign(reason.unwrap_or_else(|| "the event is empty".to_owned()));
    }
    Event::Objects(arrivals)
}
