//! What stands in the table: keys, attributes, and back again.
//!
//! | item | `pk` | `sk` |
//! |---|---|---|
//! | counts of an object and window | `observation#<load balancer>` | `<window, 12 digits>#<object>` |
//! | their details | `details#<load balancer>#<window>#<object>` | `details` |
//! | what was said of a target group | `record#<load balancer>` | its ARN, or `-` |
//!
//! `<object>` is 16 hexadecimal digits of a hash over bucket and key. The counts of a load balancer are
//! one partition, so that a day of them is one Query; an item is small, and 100 nodes write one of them
//! every three seconds. Details are large and are written in bursts, once in five minutes by every node:
//! each is a partition of its own, and none of them is hot.

use std::{collections::HashMap, ops::RangeInclusive};

use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest as _, Sha256};

use crate::{
    detection::portion::MAX_PACKED_BYTES,
    incident::{Observation, Record, observation::kept_until, start_of},
};

/// An item of the table.
pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) const PK: &str = "pk";
pub(super) const SK: &str = "sk";
pub(super) const EXPIRES: &str = "expires";
pub(super) const PACKED: &str = "packed";
pub(super) const DAMAGED: &str = "damaged";
pub(super) const RECORD: &str = "record";
pub(super) const VERSION: &str = "version";
const DETAILS: &str = "details";

/// The first byte of packed counts. It changes whenever what follows does.
const FORM: u8 = 1;

/// An item of DynamoDB holds 400 KB; the rest is for names, keys and the plain attributes.
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const MAX_COUNTS_BYTES: usize = 390_000;

/// Windows that a key can sort: 12 digits, of which the present takes seven.
const WINDOWS: RangeInclusive<i64> = 0..=999_999_999_999;

fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn number(number: &impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// The text of an attribute.
pub(super) fn text_of<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// The digits of an attribute.
pub(super) fn number_of<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_n().ok().map(String::as_str)
}

fn object_hash(it: &Observation) -> String {
    let mut hash = Sha256::new();
    hash.update(it.object.bucket.as_bytes());
    hash.update([0]);
    hash.update(it.object.key.as_bytes());
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The partition of the counts of a load balancer.
pub(super) fn observations_pk(load_balancer: &str) -> String {
    format!("observation#{load_balancer}")
}

fn observation_sk(it: &Observation) -> String {
    format!("{:012}#{}", it.window, object_hash(it))
}

/// The first and the last key that windows can have. `None` when the table holds none of them.
pub(super) fn sks_of(windows: &RangeInclusive<i64>) -> Option<(String, String)> {
    let first = *windows.start().max(WINDOWS.start());
    let last = *windows.end().min(WINDOWS.end());
    // After the number sign come hexadecimal digits: the letter g sorts behind all of them.
    (first <= last).then(|| (format!("{first:012}#"), format!("{last:012}#g")))
}

/// The partition of the details of an observation.
pub(super) fn details_pk(it: &Observation) -> String {
    format!("details#{}#{:012}#{}", it.load_balancer, it.window, object_hash(it))
}

/// The key of details.
pub(super) fn details_key(pk: &str) -> Item {
    HashMap::from([(PK.to_owned(), text(pk)), (SK.to_owned(), text(DETAILS))])
}

/// The partition of the records of a load balancer.
pub(super) fn records_pk(load_balancer: &str) -> String {
    format!("record#{load_balancer}")
}

/// The sort key of a record: an ARN as it is. What is none cannot be taken for "no target group", and no
/// key is empty.
pub(super) fn record_sk(target_group: Option<&str>) -> String {
    match target_group {
        None => "-".to_owned(),
        Some(arn) if arn.starts_with("arn:") => arn.to_owned(),
        Some(name) => format!("name {name}"),
    }
}

fn expires(micros: i64) -> AttributeValue {
    number(&micros.div_euclid(1_000_000))
}

/// The counts, with what helps a person who looks at the table. `None` when they are too long for an item,
/// or of a time that no key can sort.
pub(super) fn observation_item(it: &Observation, max_age: i64) -> Option<Item> {
    let packed = postcard::to_extend(it, vec![FORM]).ok()?;
    if MAX_COUNTS_BYTES < packed.len() || !WINDOWS.contains(&it.window) {
        return None;
    }
    let sum = |count: fn(&crate::detection::Counts) -> u64| {
        it.groups.iter().fold(0_u64, |sum, group| sum.saturating_add(count(&group.counts)))
    };
    let mut item = HashMap::from([
        (PK.to_owned(), text(observations_pk(&it.load_balancer))),
        (SK.to_owned(), text(observation_sk(it))),
        (EXPIRES.to_owned(), expires(kept_until(it.window, max_age))),
        (PACKED.to_owned(), AttributeValue::B(packed.into())),
        ("object".to_owned(), text(it.object.name())),
        ("window".to_owned(), text(crate::diagnosis::timestamp(start_of(it.window)).to_string())),
        ("requests".to_owned(), number(&sum(|counts| counts.requests))),
        ("failures".to_owned(), number(&sum(|counts| counts.failures))),
    ]);
    mark_damaged(&mut item, it);
    Some(item)
}

/// The details of an observation.
pub(super) fn details_item(it: &Observation, details: &[u8], max_age: i64) -> Item {
    let mut item = details_key(&details_pk(it));
    item.insert(EXPIRES.to_owned(), expires(kept_until(it.window, max_age)));
    item.insert(PACKED.to_owned(), AttributeValue::B(details.to_vec().into()));
    mark_damaged(&mut item, it);
    item
}

fn mark_damaged(item: &mut Item, it: &Observation) {
    if it.object.error.is_some() {
        item.insert(DAMAGED.to_owned(), AttributeValue::Bool(true));
    }
}

/// The record.
///
/// # Errors
/// When it has no JSON.
pub(super) fn record_item(
    record: &Record,
    now: i64,
    max_age: i64,
) -> Result<Item, serde_json::Error> {
    Ok(HashMap::from([
        (PK.to_owned(), text(records_pk(&record.load_balancer))),
        (SK.to_owned(), text(record_sk(record.target_group.as_deref()))),
        (EXPIRES.to_owned(), expires(record.needed_until(now, max_age))),
        (VERSION.to_owned(), number(&record.version)),
        (RECORD.to_owned(), text(serde_json::to_string(record)?)),
    ]))
}

/// The observation in an item.
///
/// # Errors
/// Why it is none, or another one than its key says.
pub(super) fn observation_in(item: &Item, load_balancer: &str) -> Result<Observation, String> {
    let packed = packed_in(item)?;
    let Some((&FORM, packed)) = packed.split_first() else {
        return Err(format!("its form is {:?}, not {FORM}", packed.first()));
    };
    let it: Observation = match postcard::take_from_bytes(packed) {
        Ok((it, [])) => it,
        Ok(_) => return Err("it is longer than what it holds".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    if text_of(item, SK) != Some(&observation_sk(&it)) || *it.load_balancer != *load_balancer {
        return Err("it is about something else than its key".to_owned());
    }
    if !it.is_sound() {
        return Err("it counts what no object can hold".to_owned());
    }
    if it.details_bytes > MAX_PACKED_BYTES as u64 {
        return Err("its details are longer than any that are kept".to_owned());
    }
    Ok(it)
}

/// The packed bytes in an item.
///
/// # Errors
/// When there are none, or too many.
pub(super) fn packed_in(item: &Item) -> Result<&[u8], String> {
    match item.get(PACKED) {
        Some(AttributeValue::B(packed)) if packed.as_ref().len() <= MAX_COUNTS_BYTES => {
            Ok(packed.as_ref())
        }
        Some(AttributeValue::B(_)) => Err("it is longer than any that is kept".to_owned()),
        _ => Err(format!("it has no bytes in {PACKED}")),
    }
}

/// The record in an item.
///
/// # Errors
/// Why it is none, or another one than its key says.
pub(super) fn record_in(item: &Item, load_balancer: &str) -> Result<Record, String> {
    let json = text_of(item, RECORD).ok_or_else(|| format!("it has no text in {RECORD}"))?;
    let record: Record = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let is_its_key = text_of(item, SK) == Some(&record_sk(record.target_group.as_deref()));
    if record.load_balancer != load_balancer || !is_its_key {
        return Err("it is about something else than its key".to_owned());
    }
    if number_of(item, VERSION) != Some(&record.version.to_string()) {
        return Err("its version is not the one in it".to_owned());
    }
    if !record.is_sound() {
        return Err("it has windows or a rate that nobody can have told".to_owned());
    }
    Ok(record)
}
