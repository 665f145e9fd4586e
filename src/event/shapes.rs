//! Which shape a part of an event has, and how each shape that names an object names it.
//!
//! Sources:
//! - S3: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
//! - EventBridge: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>
//! - SNS: <https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html> and, for what it puts into a
//!   queue, <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>
//! - SQS: <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::{
    EventError, LogObject,
    place::{Place, shown},
};

type Fields = Map<String, Value>;

/// What a JSON object of an event is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape<'a> {
    /// `{"Records": […]}`.
    Records(&'a [Value]),
    /// A message of SQS.
    Sqs,
    /// A record of SNS, or what SNS puts into a queue: the fields of the notification, if it has any.
    Sns(Option<&'a Fields>),
    /// One that tells of a new object.
    Object(Naming),
    /// One that asks for nothing.
    Nothing(Nothing<'a>),
}

/// Why a shape asks for nothing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Nothing<'a> {
    S3Test,
    S3Other(&'a str),
    EventBridgeOther { source: &'a str, detail_type: &'a str },
    SnsOther(&'a str),
    Source(&'a str),
    Unknown(&'a Fields),
}

fn text<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

/// Tells the shape of a JSON object.
pub(super) fn shape(fields: &Fields) -> Shape<'_> {
    // S3, SQS and the others write `eventSource`, SNS writes `EventSource`.
    let source = text(fields, "eventSource").or_else(|| text(fields, "EventSource"));
    if let Some(Value::Array(records)) = fields.get("Records") {
        return Shape::Records(records);
    }
    if text(fields, "Event") == Some("s3:TestEvent") {
        return Shape::Nothing(Nothing::S3Test);
    }
    if source == Some("aws:s3") || fields.contains_key("s3") {
        // A record that does not say what happened is read: better once too often.
        let name = text(fields, "eventName").unwrap_or("ObjectCreated:");
        let is_new = name.trim_start_matches("s3:").starts_with("ObjectCreated:");
        return if is_new {
            Shape::Object(Naming::S3)
        } else {
            Shape::Nothing(Nothing::S3Other(name))
        };
    }
    if source == Some("aws:sqs")
        || (fields.contains_key("messageId") && fields.contains_key("body"))
    {
        return Shape::Sqs;
    }
    if source == Some("aws:sns") || fields.contains_key("Sns") {
        return Shape::Sns(fields.get("Sns").and_then(Value::as_object));
    }
    if let Some(source) = source {
        return Shape::Nothing(Nothing::Source(source));
    }
    if let (Some(source), Some(detail_type)) = (text(fields, "source"), text(fields, "detail-type"))
    {
        return match (source, detail_type) {
            ("aws.s3", "Object Created") => Shape::Object(Naming::EventBridge),
            _ => Shape::Nothing(Nothing::EventBridgeOther { source, detail_type }),
        };
    }
    match text(fields, "Type") {
        Some(kind @ ("SubscriptionConfirmation" | "UnsubscribeConfirmation")) => {
            return Shape::Nothing(Nothing::SnsOther(kind));
        }
        Some("Notification") if fields.contains_key("Message") => return Shape::Sns(Some(fields)),
        _ => {}
    }
    // A key without a bucket is what the messages of many others have.
    if fields.get("bucket").is_some_and(Value::is_string) {
        return Shape::Object(Naming::ByHand);
    }
    Shape::Nothing(Nothing::Unknown(fields))
}

impl Nothing<'_> {
    /// The reason in words.
    pub(super) fn reason(&self) -> String {
        match *self {
            Self::S3Test => "an s3:TestEvent: S3 checks that the notification arrives".to_owned(),
            Self::S3Other(name) => format!("tells of no new object ({})", shown(name)),
            Self::EventBridgeOther { source, detail_type } => format!(
                "an event of {} ({}), not of a new object in S3",
                shown(source),
                shown(detail_type)
            ),
            Self::SnsOther(kind) => format!("{} of SNS, not a notification", shown(kind)),
            Self::Source(source) => format!("is from {}, not from S3", shown(source)),
            Self::Unknown(fields) => {
                let names: Vec<_> = fields.keys().take(MAX_NAMES).map(|it| shown(it)).collect();
                match names.len() {
                    0 => "an event without any field".to_owned(),
                    _ => format!("no event that is known here; it has {}", names.join(", ")),
                }
            }
        }
    }
}

/// How many fields of a stranger are named, so that its writer knows it again.
const MAX_NAMES: usize = 5;

/// The shapes that name an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// A record of S3. Its key is encoded, as in the query of a URL.
    S3,
    /// An event of EventBridge. Its key is as it is: decoding would spoil a `+` or a `%` in it.
    EventBridge,
    /// Written by a person, with the key as S3 shows it.
    ByHand,
}

/// Where a shape keeps what names an object, as JSON pointers.
struct Pointers {
    bucket: &'static str,
    key: &'static str,
    version_id: &'static str,
    region: &'static str,
}

/// What a person may write.
const BY_HAND: [&str; 4] = ["bucket", "key", "version_id", "region"];

impl Naming {
    /// The name for people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::S3 => "S3 event",
            Self::EventBridge => "EventBridge event",
            Self::ByHand => "event written by hand",
        }
    }

    fn pointers(self) -> Pointers {
        match self {
            Self::S3 => Pointers {
                bucket: "/s3/bucket/name",
                key: "/s3/object/key",
                version_id: "/s3/object/versionId",
                region: "/awsRegion",
            },
            Self::EventBridge => Pointers {
                bucket: "/detail/bucket/name",
                key: "/detail/object/key",
                version_id: "/detail/object/version-id",
                region: "/region",
            },
            Self::ByHand => Pointers {
                bucket: "/bucket",
                key: "/key",
                version_id: "/version_id",
                region: "/region",
            },
        }
    }

    /// The field with the time at which S3 wrote the object.
    pub(super) fn time(self) -> Option<&'static str> {
        match self {
            Self::S3 => Some("eventTime"),
            Self::EventBridge => Some("time"),
            Self::ByHand => None,
        }
    }

    /// Reads what `event` names. A region that is no text is not needed; a version that is no text would
    /// mean another object.
    pub(super) fn object(self, event: &Value, place: &Place<'_>) -> Result<LogObject, EventError> {
        let pointers = self.pointers();
        let text =
            |pointer| event.pointer(pointer).and_then(Value::as_str).filter(|it| !it.is_empty());
        let bucket = text(pointers.bucket);
        let unreadable = |pointer: &str| EventError::Field {
            place: place.to_string(),
            field: pointer.trim_start_matches('/').replace('/', "."),
            bucket: bucket.unwrap_or_default().to_owned(),
        };
        let bucket = bucket.ok_or_else(|| unreadable(pointers.bucket))?;
        let written = text(pointers.key).ok_or_else(|| unreadable(pointers.key))?;
        let key = match self {
            Self::S3 => decode_key(written).ok_or_else(|| EventError::Key {
                place: place.to_string(),
                bucket: bucket.to_owned(),
                key: written.to_owned(),
            })?,
            Self::EventBridge | Self::ByHand => written.to_owned(),
        };
        let version_id = match event.pointer(pointers.version_id) {
            None | Some(Value::Null) => None,
            // "null" is what S3 calls the version of an object that has none.
            Some(Value::String(id)) if matches!(id.as_str(), "" | "null") => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(unreadable(pointers.version_id)),
        };
        let region = text(pointers.region).map(ToOwned::to_owned);
        Ok(LogObject { bucket: bucket.to_owned(), key, version_id, region })
    }

    /// What a person wrote and nobody reads: a misspelt `version_id` would otherwise go unnoticed. AWS
    /// adds new fields to its events as it likes.
    pub(super) fn unknown_fields(self, fields: &Fields) -> Option<String> {
        let mut unknown = fields.keys().filter(|name| !BY_HAND.contains(&name.as_str())).peekable();
        (self == Self::ByHand && unknown.peek().is_some()).then(|| {
            let names: Vec<_> = unknown.take(MAX_NAMES).map(|it| shown(it)).collect();
            format!("not read: {} (known are {})", names.join(", "), BY_HAND.join(", "))
        })
    }
}

/// Decodes a key of an S3 notification: a `+` is a space, then percent decoding, then UTF-8.
fn decode_key(key: &str) -> Option<String> {
    let spaces = key.replace('+', " ");
    percent_decode_str(&spaces).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}
