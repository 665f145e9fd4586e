//! What triggers an invocation → the log objects to read.
//!
//! The envelope is read leniently: fields that are not needed may be missing or new. A test event or a
//! shape that is not ours succeeds with a word; an S3 event that cannot be read is an error, so that it
//! is retried and then parked.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>

use percent_encoding::percent_decode_str;
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
    /// Objects to read, each once, and notes on records that ask for nothing.
    Objects {
        /// The objects.
        objects: Vec<LogObject>,
        /// Why a record was passed over.
        passed_over: Vec<String>,
        /// Records that name no object that can be read: errors, told after the others were handled.
        unreadable: Vec<EventError>,
    },
    /// Not for us, and why.
    Foreign(String),
}

/// An S3 event that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A field that names the object is missing.
    #[error("record {record} of the S3 event has no {field} (bucket {bucket:?})")]
    MissingField {
        /// The bucket, as far as it is named.
        bucket: String,
        /// Counted from 0.
        record: usize,
        /// The field.
        field: &'static str,
    },
    /// The key is no text after decoding.
    #[error(
        "record {record} of the S3 event: the key {key:?} in bucket {bucket:?} is no UTF-8 text"
    )]
    Key {
        /// The bucket.
        bucket: String,
        /// Counted from 0.
        record: usize,
        /// As it stands in the event.
        key: String,
    },
}

/// Reads an event.
pub fn read(payload: &Value) -> Event {
    if payload.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") {
        return Event::Foreign(
            "an s3:TestEvent: S3 checks that the notification arrives".to_owned(),
        );
    }
    let Some(records) = payload.get("Records").and_then(Value::as_array) else {
        return Event::Foreign("no S3 notification: there is no list \"Records\"".to_owned());
    };
    let mut objects = Vec::new();
    let mut passed_over = Vec::new();
    let mut unreadable = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let source = record.get("eventSource").and_then(Value::as_str);
        if record.get("s3").is_none() && source != Some("aws:s3") {
            passed_over.push(format!("record {index} is not from S3"));
            continue;
        }
        let name = record.get("eventName").and_then(Value::as_str).unwrap_or("ObjectCreated:");
        if !name.trim_start_matches("s3:").starts_with("ObjectCreated:") {
            passed_over.push(format!("record {index} tells of no new object"));
            continue;
        }
        match log_object(index, record) {
            Ok(object) if objects.contains(&object) => {}
            Ok(object) => objects.push(object),
            Err(error) => unreadable.push(error),
        }
    }
    if records.is_empty() {
        return Event::Foreign("the list \"Records\" is empty".to_owned());
    }
    Event::Objects { objects, passed_over, unreadable }
}

fn log_object(index: usize, record: &Value) -> Result<LogObject, EventError> {
    let text = |pointer: &str| {
        record.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
    };
    let name = text("/s3/bucket/name");
    let missing = |field| {
        let bucket = name.unwrap_or_default().to_owned();
        EventError::MissingField { record: index, field, bucket }
    };
    let bucket = name.ok_or_else(|| missing("s3.bucket.name"))?;
    let key = text("/s3/object/key").ok_or_else(|| missing("s3.object.key"))?;
    Ok(LogObject {
        bucket: bucket.to_owned(),
        key: decode_key(key).ok_or_else(|| EventError::Key {
            record: index,
            key: key.to_owned(),
            bucket: bucket.to_owned(),
        })?,
        version_id: text("/s3/object/versionId").map(ToOwned::to_owned),
        region: text("/awsRegion").map(ToOwned::to_owned),
    })
}

/// Decodes a key of an S3 notification: a `+` is a space, then percent decoding, then UTF-8.
fn decode_key(key: &str) -> Option<String> {
    let spaces = key.replace('+', " ");
    percent_decode_str(&spaces).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(bucket: &str, key: &str) -> Value {
        json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "awsRegion": "eu-west-1",
            "s3": {"bucket": {"name": bucket}, "object": {"key": key}}})
    }

    fn keys(payload: &Value) -> Vec<String> {
        match read(payload) {
            Event::Objects { objects, .. } => objects.into_iter().map(|it| it.key).collect(),
            Event::Foreign(reason) => panic!("{reason}"),
        }
    }

    #[test]
    fn keys_are_decoded_as_s3_encodes_them() {
        for (key, expected) in [
            ("a/b.log.gz", "a/b.log.gz"),
            ("my+logs/a%2Bb.log.gz", "my logs/a+b.log.gz"),
            ("a%2Fb%3D1", "a/b=1"),
            ("%C3%BC+%25", "ü %"),
            ("100%", "100%"),
        ] {
            assert_eq!(keys(&json!({"Records": [record("b", key)]})), [expected], "{key}");
        }
    }

    #[test]
    fn every_record_is_read_and_the_same_one_only_once() {
        let payload = json!({"Records": [record("b", "x"), record("b", "y"), record("b", "x")]});
        assert_eq!(keys(&payload), ["x", "y"]);
    }

    #[test]
    fn what_is_not_for_us_succeeds_with_a_word() {
        for payload in [
            json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}),
            json!({"detail-type": "Scheduled Event"}),
            json!({"Records": []}),
            json!("text"),
            json!(null),
        ] {
            assert!(matches!(read(&payload), Event::Foreign(_)), "{payload}");
        }
        let payload = json!({"Records": [{"eventSource": "aws:kinesis"},
            {"eventSource": "aws:s3", "eventName": "ObjectRemoved:Delete",
             "s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}]});
        let Event::Objects { objects, passed_over, unreadable } = read(&payload) else { panic!() };
        assert!(objects.is_empty() && unreadable.is_empty());
        assert_eq!(passed_over.len(), 2);
    }

    #[test]
    fn a_record_that_cannot_be_read_is_an_error_beside_the_others() {
        for payload in [
            json!({"Records": [{"eventSource": "aws:s3", "s3": {"bucket": {"name": "b"}}}]}),
            json!({"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "k"}}}]}),
            json!({"Records": [{"eventSource": "aws:s3"}]}),
            json!({"Records": [record("b", "%FF%FE")]}),
        ] {
            let mut both = payload.clone();
            both["Records"].as_array_mut().unwrap().push(record("b", "good"));
            let Event::Objects { objects, unreadable, .. } = read(&both) else { panic!() };
            assert_eq!((objects.len(), unreadable.len()), (1, 1), "{payload}");
        }
    }
}
