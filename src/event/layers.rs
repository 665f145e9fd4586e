//! Opens what is around the objects of an event: lists of records, notifications of SNS, messages of
//! SQS, and JSON in a text.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    Arrivals, EventError, LogObject, QueueMessage,
    place::{Item, Place},
    shapes::{Shape, shape},
};

/// How many envelopes may be around what names an object. EventBridge or S3 in SNS in SQS are two; a list
/// and a text in quotes count as well. The bound keeps an event that somebody made up from exhausting
/// the stack.
pub(super) const MAX_LAYERS: usize = 4;

/// Opens an event.
pub(super) fn open(payload: &Value) -> Arrivals {
    let mut opening = Opening::default();
    opening.any(payload, Item::Whole, None);
    opening.arrivals
}

#[derive(Default)]
struct Opening {
    arrivals: Arrivals,
    /// Index of each object: bucket, key and version.
    known: HashMap<(String, String, Option<String>), usize>,
    /// The message of SQS that is open.
    message: Option<QueueMessage>,
}

impl Opening {
    fn any(&mut self, value: &Value, item: Item<'_>, outer: Option<&Place<'_>>) {
        let here = Place { shape: "event", item, outer };
        if MAX_LAYERS < here.layers() {
            return self.unreadable(EventError::TooDeep { place: here.to_string() });
        }
        match value {
            Value::Object(fields) => self.object(value, fields, item, outer),
            // Whatever somebody sends in lists of numbers is one stranger, not thousands.
            Value::Array(entries) if !entries.iter().any(Value::is_object) => {
                self.pass_over(&here, "a list without an event in it");
            }
            Value::Array(entries) => {
                for (index, entry) in entries.iter().enumerate() {
                    let place = Place { shape: "list", item: Item::Record(index), outer };
                    self.any(entry, Item::Whole, Some(&place));
                }
            }
            Value::String(text) => match serde_json::from_str(text) {
                Ok(again @ Value::String(_)) => {
                    let place = Place { shape: "text", item, outer };
                    self.any(&again, Item::Whole, Some(&place));
                }
                Ok(value) => self.any(&value, item, outer),
                Err(error) if speaks_of_s3(text) => {
                    let (place, reason) = (here.to_string(), error.to_string());
                    self.unreadable(EventError::Cut { place, reason });
                }
                Err(_) => self.pass_over(&here, "a text that is not JSON"),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                self.pass_over(&here, "neither an object nor a list");
            }
        }
    }

    fn object(
        &mut self,
        value: &Value,
        fields: &Map<String, Value>,
        item: Item<'_>,
        outer: Option<&Place<'_>>,
    ) {
        let at = |shape| Place { shape, item, outer };
        match shape(fields) {
            Shape::Records(records) => self.records(records, &at("event")),
            Shape::Sqs => self.sqs(fields, &at("SQS event")),
            Shape::Sns(notification) => {
                let here = at("SNS event");
                self.time(notification.and_then(|it| it.get("Timestamp")));
                match notification.and_then(|it| it.get("Message")) {
                    Some(message) => self.any(message, Item::Whole, Some(&here)),
                    None => self.no_field(&here, "Message"),
                }
            }
            Shape::Object(naming) => {
                let here = at(naming.title());
                self.time(naming.time().and_then(|name| fields.get(name)));
                match naming.object(value, &here) {
                    Ok(object) => self.arrived(object),
                    Err(error) => self.unreadable(error),
                }
                if let Some(reason) = naming.unknown_fields(fields) {
                    self.pass_over(&here, &reason);
                }
            }
            Shape::Nothing(nothing) => self.pass_over(&at("event"), &nothing.reason()),
        }
    }

    fn records(&mut self, records: &[Value], here: &Place<'_>) {
        // The list of a whole event is no envelope of its own: its records say what they are.
        let outer = match here.item {
            Item::Whole => here.outer,
            Item::Record(_) | Item::Message(_) => Some(here),
        };
        for (index, record) in records.iter().enumerate() {
            self.any(record, Item::Record(index), outer);
        }
        if records.is_empty() {
            self.pass_over(here, "the list \"Records\" is empty");
        }
    }

    /// A message of SQS; EventBridge Pipes hands a batch over as a bare list. One that stands in another event is an envelope like any: SQS waits for no
    /// answer to it.
    fn sqs(&mut self, fields: &Map<String, Value>, here: &Place<'_>) {
        let id = fields.get("messageId").and_then(Value::as_str).unwrap_or_default();
        let is_of_batch = here.outer.is_none_or(|it| it.shape == "list" && it.outer.is_none());
        if is_of_batch {
            self.message =
                Some(QueueMessage { id: id.to_owned(), objects: Vec::new(), unreadable: false });
        }
        let sent = fields.get("attributes").and_then(|it| it.get("SentTimestamp"));
        self.time_in_millis(sent);
        let place = match id {
            "" => *here,
            id => Place { item: Item::Message(id), ..*here },
        };
        match fields.get("body") {
            Some(body) => self.any(body, Item::Whole, Some(&place)),
            None => self.no_field(&place, "body"),
        }
        if is_of_batch && let Some(message) = self.message.take() {
            self.arrivals.messages.get_or_insert_default().push(message);
        }
    }

    fn arrived(&mut self, object: LogObject) {
        let name = (object.bucket.clone(), object.key.clone(), object.version_id.clone());
        let objects = &mut self.arrivals.objects;
        let index = *self.known.entry(name).or_insert(objects.len());
        match objects.get_mut(index) {
            // Not every shape names the region.
            Some(known) => known.region = known.region.take().or(object.region),
            None => objects.push(object),
        }
        if let Some(message) = &mut self.message
            && !message.objects.contains(&index)
        {
            message.objects.push(index);
        }
    }

    fn unreadable(&mut self, error: EventError) {
        if let Some(message) = &mut self.message {
            message.unreadable = true;
        }
        self.arrivals.unreadable.push(error);
    }

    fn no_field(&mut self, here: &Place<'_>, field: &str) {
        let (place, field) = (here.to_string(), field.to_owned());
        self.unreadable(EventError::Field { place, field, bucket: String::new() });
    }

    fn pass_over(&mut self, here: &Place<'_>, reason: &str) {
        // What fills its envelope is told by the envelope, and the whole event by nothing.
        let told = match (here.item, here.outer) {
            (Item::Whole, None) => reason.to_owned(),
            (Item::Whole, Some(outer)) => format!("{outer}: {reason}"),
            (Item::Record(_) | Item::Message(_), _) => format!("{here}: {reason}"),
        };
        self.arrivals.passed_over.push(told);
    }

    fn time(&mut self, value: Option<&Value>) {
        let time = value.and_then(Value::as_str).and_then(|text| text.parse().ok());
        self.arrivals.time = self.arrivals.time.max(time);
    }

    /// SQS writes milliseconds since 1970 as a text.
    fn time_in_millis(&mut self, value: Option<&Value>) {
        let millis = value.and_then(|it| it.as_str().map_or(it.as_i64(), |it| it.parse().ok()));
        let time = millis.and_then(|it| Timestamp::from_millisecond(it).ok());
        self.arrivals.time = self.arrivals.time.max(time);
    }
}

/// Whether a text that is not JSON was meant to be a notification of S3.
fn speaks_of_s3(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
        && (text.contains("aws:s3") || text.contains("aws.s3"))
}
