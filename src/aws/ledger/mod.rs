//! The ledger in a table of DynamoDB.
//!
//! Counts and records are read consistently: whoever writes last must see what all others wrote, or an
//! incident that shows only in the sum of two objects would be seen by neither of their readers.
//!
//! An object without failures costs two calls: one BatchWriteItem of its counts and details, one Query of
//! the records of its load balancer.

mod items;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::RangeInclusive,
    rc::Rc,
    time::Duration,
};

use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{
        AttributeValue, KeysAndAttributes, PutRequest, ReturnValuesOnConditionCheckFailure,
        WriteRequest,
    },
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
use tokio::time::Instant;

use self::items::{
    DAMAGED, Item, PACKED, PK, RECORD, SK, VERSION, details_item, details_key, details_pk,
    number_of, observation_in, observation_item, observations_pk, packed_in, record_in,
    record_item, record_sk, records_pk, sks_of, text_of,
};
use super::{
    actions::{Action, BATCH_GET_ITEM, BATCH_WRITE_ITEM, PUT_ITEM, QUERY},
    ask::{Failure, is_denied, reason},
    clients::{Clients, RegionClients},
    deadlines::{Deadlines, Late, until},
    table::TableName,
};
use crate::{
    incident::{Kept, Observation, Record, choice::MAX_DETAILS_BYTES, observation::kept_until},
    ports::{Ledger, LedgerError, Saved},
};

/// What BatchWriteItem takes. Of items of 300 KB they are half of the 16 MB that it takes as well.
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
const WRITES_AT_ONCE: usize = 25;

/// What BatchGetItem takes. It answers with at most 16 MB, and names the keys that are left.
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html>
const READS_AT_ONCE: usize = 100;

/// So often in a row a batch is sent again of which nothing was taken.
const MAX_FRUITLESS: u32 = 8;

/// Before a batch is sent again the first time; doubled each time, up to [`MAX_PAUSE`]: three and a half
/// seconds in all. A partition that was idle takes more after some seconds at the latest.
const PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// So often details are asked for that are not there though their counts are: their writer sends both at
/// once, and is about to send again what was not taken.
const MAX_MISSED: u32 = 3;

/// A load balancer has at most so many observations in the windows that are read: 300 nodes in a day.
/// They are some 100 MB. The oldest are left out.
const MAX_OBSERVATIONS: usize = 100_000;

/// What the ledger may still take when its time is over: once a message is out, it must be marked.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Remembers in a table.
#[derive(Debug)]
pub struct DynamoLedger<'a> {
    clients: Rc<RegionClients>,
    deadlines: Deadlines,
    table: &'a TableName,
    now: i64,
    max_age: i64,
    /// Records that lie, with the version that stands beside them: they may be replaced by a first one.
    lying: RefCell<BTreeMap<(String, String), Option<String>>>,
}

impl<'a> DynamoLedger<'a> {
    /// A table in the region of the function. `now` is in microseconds since 1970, `max_age` in
    /// microseconds.
    pub fn new(
        clients: &Clients,
        deadlines: Deadlines,
        table: &'a TableName,
        now: i64,
        max_age: i64,
    ) -> Self {
        // Lambda always sets a region.
        let region = clients.own_region().unwrap_or("us-east-1");
        let clients = clients.region(region);
        Self { clients, deadlines, table, now, max_age, lying: RefCell::default() }
    }

    fn error(&self, reason: &str, permission: Option<&'static str>) -> LedgerError {
        LedgerError { reason: format!("table {}: {reason}", self.table), permission }
    }

    fn failed<E: Failure>(&self, action: Action, error: &SdkError<E, HttpResponse>) -> LedgerError {
        if is_denied(error) {
            let reason = format!("access denied: alb502 needs {action} on it");
            return self.error(&reason, Some(action.name));
        }
        if error.code() == Some("ResourceNotFoundException") {
            return self.error("no such table in the region of the function", None);
        }
        self.error(&reason(error), None)
    }

    /// Until when a call may take. Before a message that is the time that is kept for the ledger; after
    /// it there is a last word, as long as the invocation lasts.
    fn limit(&self) -> Option<Instant> {
        let ledger = self.deadlines.ledger?.max(Instant::now() + LAST_WORD);
        Some(self.deadlines.mark.map_or(ledger, |mark| ledger.min(mark)))
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        // In a box: futures of the SDK are large, and are moved from hand to hand.
        match until(self.limit(), Box::pin(work)).await {
            Ok(done) => done,
            Err(Late) => {
                Err(self.error("no answer in the time that the invocation had left", None))
            }
        }
    }

    fn lies(&self, item: &Item, reason: &str) {
        let (pk, sk) = (text_of(item, PK), text_of(item, SK));
        let table = self.table.as_str();
        tracing::error!(
            table,
            pk,
            sk,
            reason,
            "item of the ledger not understood: counted as not there"
        );
    }

    /// Puts items, all or an error. The same items again do no harm.
    async fn put_all(&self, items: Vec<Item>) -> Result<(), LedgerError> {
        let mut requests = Vec::with_capacity(items.len());
        for item in items {
            let put = PutRequest::builder().set_item(Some(item)).build();
            let put = put.map_err(|error| self.error(&error.to_string(), None))?;
            requests.push(WriteRequest::builder().put_request(put).build());
        }
        for batch in requests.chunks(WRITES_AT_ONCE) {
            let mut left = batch.to_vec();
            let mut fruitless = 0;
            while !left.is_empty() {
                let before = left.len();
                let call = self.clients.dynamodb.batch_write_item();
                let answer = call.request_items(self.table.as_str(), left).send().await;
                let answer = answer.map_err(|error| self.failed(BATCH_WRITE_ITEM, &error))?;
                left = answer
                    .unprocessed_items
                    .and_then(|mut all| all.remove(self.table.as_str()))
                    .unwrap_or_default();
                let key = left.first().and_then(|it| it.put_request.as_ref()?.item.get(PK));
                let key = key.and_then(|pk| pk.as_s().ok()).cloned().unwrap_or_default();
                self.pause_when_left(before, left.len(), &key, &mut fruitless).await?;
            }
        }
        Ok(())
    }

    /// Waits before what is `left` of a batch is sent again.
    async fn pause_when_left(
        &self,
        before: usize,
        left: usize,
        key: &str,
        fruitless: &mut u32,
    ) -> Result<(), LedgerError> {
        if left == 0 {
            return Ok(());
        }
        *fruitless = if left < before { 1 } else { *fruitless + 1 };
        if MAX_FRUITLESS <= *fruitless {
            return Err(self.error("throttled by AWS, also after retries", None));
        }
        tokio::time::sleep(pause(*fruitless, key)).await;
        Ok(())
    }

    /// Puts an item of a damaged reading, where there is none of a whole one. Whether it was put.
    async fn put_damaged(&self, item: Item) -> Result<bool, LedgerError> {
        let call = self.clients.dynamodb.put_item().table_name(self.table.as_str());
        let call = call
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk) OR #damaged = :true")
            .expression_attribute_names("#damaged", DAMAGED)
            .expression_attribute_values(":true", AttributeValue::Bool(true));
        match call.send().await {
            Ok(_) => Ok(true),
            Err(error) if condition_failed(&error) => Ok(false),
            Err(error) => Err(self.failed(PUT_ITEM, &error)),
        }
    }

    /// Every item of a partition, or of a range of it, newest first, up to `most`.
    async fn query(
        &self,
        pk: String,
        sks: Option<(String, String)>,
        most: usize,
    ) -> Result<Vec<Item>, LedgerError> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let mut call = self.clients.dynamodb.query().table_name(self.table.as_str());
            call = call.consistent_read(true).scan_index_forward(false);
            call = call.expression_attribute_values(":pk", AttributeValue::S(pk.clone()));
            call = match &sks {
                None => call.key_condition_expression("pk = :pk"),
                Some((first, last)) => call
                    .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
                    .projection_expression("pk, sk, #packed")
                    .expression_attribute_names("#packed", PACKED)
                    .expression_attribute_values(":first", AttributeValue::S(first.clone()))
                    .expression_attribute_values(":last", AttributeValue::S(last.clone())),
            };
            let answer = call.set_exclusive_start_key(start).send().await;
            let answer = answer.map_err(|error| self.failed(QUERY, &error))?;
            items.extend(answer.items.unwrap_or_default());
            start = answer.last_evaluated_key.filter(|key| !key.is_empty());
            if most < items.len() {
                items.truncate(most);
                let table = self.table.as_str();
                tracing::error!(
                    table,
                    pk,
                    most,
                    "more items than are read: the oldest are left out"
                );
                return Ok(items);
            }
            if start.is_none() {
                return Ok(items);
            }
        }
    }

    /// Adds what is there under these keys to `found`.
    async fn get_details(
        &self,
        pks: &[String],
        found: &mut HashMap<String, Vec<u8>>,
    ) -> Result<(), LedgerError> {
        let mut bytes: u64 = found.values().map(|it| it.len() as u64).sum();
        for batch in pks.chunks(READS_AT_ONCE) {
            let mut left: Vec<Item> = batch.iter().map(|pk| details_key(pk)).collect();
            let mut fruitless = 0;
            while !left.is_empty() {
                let before = left.len();
                let keys =
                    KeysAndAttributes::builder().set_keys(Some(left)).consistent_read(true).build();
                let keys = keys.map_err(|error| self.error(&error.to_string(), None))?;
                let call = self.clients.dynamodb.batch_get_item();
                let answer = call.request_items(self.table.as_str(), keys).send().await;
                let answer = answer.map_err(|error| self.failed(BATCH_GET_ITEM, &error))?;
                let items = answer.responses.and_then(|mut all| all.remove(self.table.as_str()));
                for item in items.unwrap_or_default() {
                    match (text_of(&item, PK), packed_in(&item)) {
                        // Whoever lies about the length of many cannot fill the memory.
                        (Some(pk), Ok(packed)) if bytes <= 2 * MAX_DETAILS_BYTES => {
                            bytes += packed.len() as u64;
                            found.insert(pk.to_owned(), packed.to_vec());
                        }
                        (_, Ok(_)) => self.lies(&item, "there are more details than were chosen"),
                        (_, Err(error)) => self.lies(&item, &error),
                    }
                }
                left = answer
                    .unprocessed_keys
                    .and_then(|mut all| all.remove(self.table.as_str()))
                    .map(|keys| keys.keys)
                    .unwrap_or_default();
                let key =
                    left.first().and_then(|it| text_of(it, PK)).unwrap_or_default().to_owned();
                self.pause_when_left(before, left.len(), &key, &mut fruitless).await?;
            }
        }
        Ok(())
    }
}

/// The wait before the next attempt. Copies that were refused at the same moment come back at different
/// ones: what differs between them are their keys.
fn pause(attempt: u32, key: &str) -> Duration {
    let whole = PAUSE.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(MAX_PAUSE);
    let spread =
        key.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    whole / 2 + whole.mul_f64(f64::from(spread % 256) / 512.0)
}

fn condition_failed(error: &SdkError<PutItemError, HttpResponse>) -> bool {
    error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception)
}

/// Whether what refused a write is that very write: it had been done, and its answer was lost.
fn is_there_already(error: &SdkError<PutItemError, HttpResponse>, json: &str) -> bool {
    match error.as_service_error() {
        Some(PutItemError::ConditionalCheckFailedException(it)) => {
            it.item().and_then(|item| text_of(item, RECORD)) == Some(json)
        }
        _ => false,
    }
}

impl Ledger for DynamoLedger<'_> {
    async fn keep(&self, kept: &[Kept]) -> Result<(), LedgerError> {
        let mut chosen: BTreeMap<String, &Kept> = BTreeMap::new();
        let is_whole = |it: &Kept| it.observation.object.error.is_none();
        for it in kept {
            // What would be deleted at once is needed by nobody.
            if kept_until(it.observation.window, self.max_age) <= self.now {
                continue;
            }
            let name = details_pk(&it.observation);
            if is_whole(it) || !chosen.get(&name).is_some_and(|it| is_whole(it)) {
                chosen.insert(name, it);
            }
        }
        let (mut whole, mut damaged, mut too_long) = (Vec::new(), Vec::new(), None);
        for it in chosen.into_values() {
            let details = details_item(&it.observation, &it.details, self.max_age);
            match observation_item(&it.observation, self.max_age) {
                Some(counts) if is_whole(it) => whole.extend([details, counts]),
                Some(counts) => damaged.push((details, counts)),
                None => too_long = Some(it.observation.object.name()),
            }
        }
        self.in_time(async {
            self.put_all(whole).await?;
            for (details, counts) in damaged {
                // Each under its own condition: a whole reading that arrives in between stays whole.
                if self.put_damaged(details).await? {
                    self.put_damaged(counts).await?;
                }
            }
            Ok(())
        })
        .await?;
        match too_long {
            None => Ok(()),
            Some(name) => {
                Err(self.error(&format!("the counts of {name} are too long for an item"), None))
            }
        }
    }

    async fn records(&self, load_balancer: &str) -> Result<Vec<Record>, LedgerError> {
        let pk = records_pk(load_balancer);
        let items = self.in_time(self.query(pk.clone(), None, MAX_OBSERVATIONS)).await?;
        let mut records = Vec::with_capacity(items.len());
        for item in &items {
            match record_in(item, load_balancer) {
                Ok(record) => records.push(record),
                Err(reason) => {
                    self.lies(item, &reason);
                    let sk = text_of(item, SK).unwrap_or_default().to_owned();
                    let version = number_of(item, VERSION).map(ToOwned::to_owned);
                    self.lying.borrow_mut().insert((pk.clone(), sk), version);
                }
            }
        }
        records.sort_by(|a, b| a.target_group.cmp(&b.target_group));
        Ok(records)
    }

    async fn observations(
        &self,
        load_balancer: &str,
        windows: RangeInclusive<i64>,
    ) -> Result<Vec<Observation>, LedgerError> {
        let Some(sks) = sks_of(&windows) else { return Ok(Vec::new()) };
        let pk = observations_pk(load_balancer);
        let items = self.in_time(self.query(pk, Some(sks), MAX_OBSERVATIONS)).await?;
        let mut observations = Vec::with_capacity(items.len());
        for item in items {
            match observation_in(&item, load_balancer) {
                Ok(it) => observations.push(it),
                Err(reason) => self.lies(&item, &reason),
            }
        }
        observations.sort_by(|a, b| {
            let name = |it: &Observation| (it.window, it.object.bucket.clone());
            name(a).cmp(&name(b)).then_with(|| a.object.key.cmp(&b.object.key))
        });
        Ok(observations)
    }

    /// Counts and details are sent in one batch, and read consistently: details are missing only in the
    /// moment between the two, or while their writer waits to send them again. Then they are asked for
    /// once more.
    async fn details(
        &self,
        observations: &[&Observation],
    ) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        let pks: Vec<String> = observations.iter().map(|it| details_pk(it)).collect();
        let found = self
            .in_time(async {
                let mut found = HashMap::new();
                let distinct: BTreeSet<&String> = pks.iter().collect();
                let mut missing: Vec<String> = distinct.into_iter().cloned().collect();
                for attempt in 1..=MAX_MISSED {
                    self.get_details(&missing, &mut found).await?;
                    missing.retain(|pk| !found.contains_key(pk));
                    let Some(first) = missing.first().filter(|_| attempt < MAX_MISSED) else {
                        break;
                    };
                    tokio::time::sleep(pause(attempt + 1, first)).await;
                }
                Ok(found)
            })
            .await?;
        let mut given = HashSet::new();
        let details = pks.iter().map(|pk| {
            // Each only once: two observations of one name would be two copies of the same bytes.
            found.get(pk).filter(|_| given.insert(pk)).cloned()
        });
        Ok(details.collect())
    }

    async fn save(&self, record: &Record) -> Result<Saved, LedgerError> {
        let Some(before) = record.version.checked_sub(1) else { return Ok(Saved::Conflict) };
        let item = record_item(record, self.now, self.max_age)
            .map_err(|error| self.error(&error.to_string(), None))?;
        let json = text_of(&item, RECORD).unwrap_or_default().to_owned();
        let call = self.clients.dynamodb.put_item().table_name(self.table.as_str());
        let call = call
            .set_item(Some(item))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let key = (records_pk(&record.load_balancer), record_sk(record.target_group.as_deref()));
        let lying = self.lying.borrow().get(&key).filter(|_| before == 0).cloned();
        let before = match (before, lying) {
            (_, Some(version)) => version,
            (0, None) => {
                let call = call.condition_expression("attribute_not_exists(pk)");
                return self.saved(call.send(), &json).await;
            }
            (before, None) => Some(before.to_string()),
        };
        let call = call.expression_attribute_names("#version", VERSION);
        let call = match before {
            // A record that lies and says no version.
            None => call.condition_expression("attribute_not_exists(#version)"),
            Some(before) => call
                .condition_expression("#version = :before")
                .expression_attribute_values(":before", AttributeValue::N(before)),
        };
        self.saved(call.send(), &json).await
    }
}

impl DynamoLedger<'_> {
    async fn saved<T>(
        &self,
        call: impl Future<Output = Result<T, SdkError<PutItemError, HttpResponse>>>,
        json: &str,
    ) -> Result<Saved, LedgerError> {
        self.in_time(async {
            match call.await {
                Ok(_) => Ok(Saved::Saved),
                Err(error) if is_there_already(&error, json) => Ok(Saved::Saved),
                Err(error) if condition_failed(&error) => Ok(Saved::Conflict),
                Err(error) => Err(self.failed(PUT_ITEM, &error)),
            }
        })
        .await
    }
}
