//! The ledger in a table: what comes back, what it costs, and what becomes of each trouble.

use std::{ops::RangeInclusive, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    super::{ACTIONS, Deadlines, DynamoLedger, TableName, actions::Resource},
    fake_table::{FakeTable, Trouble},
    run,
};
use crate::{
    detection::{Detector, Portion, Thresholds},
    incident::{Kept, Observation, ObservedObject, Record, end_of},
    local::ledger::MemoryLedger,
    ports::{Ledger, LedgerError, Saved},
};

const SHOP: &str = "app/shop/0123456789abcdef";
const GROUP: &str = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-web/0123";
const HOUR: i64 = 3_600_000_000;
const WINDOW: i64 = 5_968_000;
const MAX_AGE: i64 = 24 * HOUR;

/// What an object says of a window: `failures` rows that failed, each with details.
fn kept(load_balancer: &str, window: i64, object: &str, failures: u32) -> Kept {
    let mut detector = Detector::new(Thresholds::default());
    let key = crate::access_log::ObjectKey::parse(object);
    let source = detector.source(object, &key);
    let time = crate::diagnosis::timestamp(crate::incident::start_of(window) + 1_000_000);
    let row = format!(
        "http {time} {load_balancer} 198.51.100.7:40000 10.0.0.1:8080 -1 -1 -1 502 - 200 300 \
         \"GET http://shop.example.com:80/a HTTP/1.1\" \"curl/8\" - - {GROUP} \"Root=1-0-1\" \"-\" \"-\" 0 \
         {time} \"forward\" \"-\" \"-\"\n"
    );
    let mut reader = crate::access_log::Reader::new(|entry| detector.record(source, entry));
    reader.push(row.repeat(failures as usize).as_bytes()).unwrap();
    let report = reader.finish().report;
    assert_eq!(report.malformed, 0);
    let observed = ObservedObject::of("logs", object, &report, None);
    let portions: Vec<Portion> = detector.portions();
    Observation::of(&observed, portions).pop().unwrap()
}

fn damaged(mut kept: Kept) -> Kept {
    kept.observation.object.error = Some("cut off".into());
    kept
}

async fn with<T>(
    table: &FakeTable,
    left: Option<Duration>,
    work: impl AsyncFnOnce(&DynamoLedger<'_>) -> T,
) -> T {
    let clients = table.clients().await;
    let name = TableName::parse("ledger").unwrap().unwrap();
    let deadlines = left.map(Deadlines::of).unwrap_or_default();
    let now = end_of(WINDOW) + HOUR;
    work(&DynamoLedger::new(&clients, deadlines, &name, now, MAX_AGE)).await
}

async fn keeps_what_was_observed(ledger: &impl Ledger) {
    let a = kept(SHOP, WINDOW, "a", 3);
    let b = kept(SHOP, WINDOW + 1, "b", 2);
    let c = kept(SHOP, WINDOW + 2, "c", 1);
    let other = kept("app/other/0123456789abcdef", WINDOW, "a", 9);
    ledger.keep(&[c.clone(), a.clone(), other, b.clone()]).await.unwrap();
    let all = async || ledger.observations(SHOP, 0..=i64::MAX).await.unwrap();
    let expected: Vec<Observation> =
        [&a, &b, &c].into_iter().map(|it| it.observation.clone()).collect();
    assert_eq!(all().await, expected, "by window, of one load balancer");
    // The same again, in part, and what lies outside of a range.
    ledger.keep(std::slice::from_ref(&b)).await.unwrap();
    assert_eq!(all().await, expected, "nothing is added twice");
    let range = WINDOW + 1..=WINDOW + 1;
    assert_eq!(ledger.observations(SHOP, range).await.unwrap(), expected[1..2]);
    let range = RangeInclusive::new(i64::MAX - 75, WINDOW);
    assert_eq!(ledger.observations(SHOP, range).await.unwrap(), []);
    let gone = kept(SHOP, WINDOW, "gone", 1).observation;
    let details = ledger.details(&[&b.observation, &gone, &a.observation]).await.unwrap();
    assert_eq!(details, [Some(b.details.clone()), None, Some(a.details.clone())]);

    // A damaged reading does not replace a whole one, a whole one replaces a damaged one.
    ledger.keep(&[damaged(kept(SHOP, WINDOW, "a", 1))]).await.unwrap();
    assert_eq!(all().await, expected);
    assert_eq!(ledger.details(&[&a.observation]).await.unwrap(), [Some(a.details.clone())]);
    let part = damaged(kept(SHOP, WINDOW + 3, "d", 1));
    ledger.keep(std::slice::from_ref(&part)).await.unwrap();
    assert_eq!(all().await.last(), Some(&part.observation));
    let more = damaged(kept(SHOP, WINDOW + 3, "d", 2));
    ledger.keep(std::slice::from_ref(&more)).await.unwrap();
    assert_eq!(all().await.last(), Some(&more.observation));
    let whole = kept(SHOP, WINDOW + 3, "d", 4);
    // Two versions of an object in one event.
    ledger.keep(&[part, whole.clone(), more]).await.unwrap();
    assert_eq!(all().await.last(), Some(&whole.observation));
    let details = ledger.details(&[&whole.observation]).await.unwrap();
    assert_eq!(details, [Some(whole.details.clone())]);
}

async fn saves_each_version_once(ledger: &impl Ledger) {
    for group in [Some(GROUP), None, Some(""), Some("-")] {
        let mut record = Record::new(SHOP, group);
        assert_eq!(ledger.save(&record).await.unwrap(), Saved::Conflict, "version 0");
        record.version = 1;
        assert_eq!(ledger.save(&record).await.unwrap(), Saved::Saved);
        let mut another = record.clone();
        another.watched = Some(7);
        assert_eq!(ledger.save(&another).await.unwrap(), Saved::Conflict, "another copy's first");
        record.version = 3;
        assert_eq!(ledger.save(&record).await.unwrap(), Saved::Conflict, "one is missing");
        record.version = 2;
        record.watched = Some(WINDOW);
        assert_eq!(ledger.save(&record).await.unwrap(), Saved::Saved);
    }
    let records = ledger.records(SHOP).await.unwrap();
    let groups: Vec<Option<&str>> = records.iter().map(|it| it.target_group.as_deref()).collect();
    assert_eq!(groups, [None, Some(""), Some("-"), Some(GROUP)]);
    assert!(records.iter().all(|it| it.watched == Some(WINDOW) && it.version == 2));
    assert_eq!(ledger.records("app/other/0123456789abcdef").await.unwrap(), []);
}

#[test]
fn table_and_memory_do_alike() {
    run(async {
        let memory = MemoryLedger::default();
        keeps_what_was_observed(&memory).await;
        saves_each_version_once(&memory).await;
        with(&FakeTable::default(), None, async |ledger| {
            Box::pin(keeps_what_was_observed(ledger)).await;
            Box::pin(saves_each_version_once(ledger)).await;
        })
        .await;
    });
}

/// One call of each action.
async fn everything(ledger: &DynamoLedger<'_>) -> [Result<(), LedgerError>; 4] {
    let kept = kept(SHOP, WINDOW, "a", 3);
    let mut record = Record::new(SHOP, None);
    record.version = 1;
    [
        ledger.keep(std::slice::from_ref(&kept)).await,
        ledger.records(SHOP).await.map(drop),
        ledger.details(&[&kept.observation]).await.map(drop),
        ledger.save(&record).await.map(drop),
    ]
}

const MADE: [&str; 4] = ["BatchWriteItem", "Query", "BatchGetItem", "PutItem"];

#[test]
fn every_action_that_is_made_is_declared() {
    let mut declared: Vec<&str> = ACTIONS
        .iter()
        .filter(|action| action.resource == Resource::Table)
        .map(|action| action.name.strip_prefix("dynamodb:").unwrap())
        .collect();
    let table = FakeTable::default();
    run(with(&table, None, async |ledger| everything(ledger).await.map(Result::unwrap)));
    let mut made: Vec<String> = table.asked().into_iter().map(|it| it.0).collect();
    made.sort();
    declared.sort_unstable();
    assert_eq!(made, declared);
}

#[test]
fn a_denied_action_names_it_and_the_table() {
    for (index, action) in MADE.into_iter().enumerate() {
        let table = FakeTable::default();
        let denied = Trouble::Error(400, "AccessDeniedException", "not authorized");
        table.always(action, denied);
        let done = run(with(&table, None, async |ledger| everything(ledger).await));
        let error = done[index].clone().unwrap_err();
        let permission = format!("dynamodb:{action}");
        let said = format!("table ledger: access denied: alb502 needs {permission} on it");
        assert_eq!(error.to_string(), said);
        assert_eq!(error.permission, Some(permission.as_str()));
        assert_eq!(done.iter().filter(|it| it.is_err()).count(), 1, "{action}");
    }
    let table = FakeTable::default();
    table.always("PutItem", Trouble::Error(400, "AccessDeniedException", "not authorized"));
    let part = damaged(kept(SHOP, WINDOW, "a", 1));
    let error = run(with(&table, None, async |ledger| ledger.keep(&[part]).await)).unwrap_err();
    assert_eq!(error.permission, Some("dynamodb:PutItem"));
}

#[test]
fn throttling_is_tried_again_and_then_said() {
    let throttled = Trouble::Error(400, "ProvisionedThroughputExceededException", "slow down");
    for (index, action) in MADE.into_iter().enumerate() {
        let table = FakeTable::default();
        table.troubles(action, &[throttled; 5]);
        let done = run(with(&table, None, async |ledger| everything(ledger).await));
        assert!(done.iter().all(Result::is_ok), "{action}: {done:?}");
        table.always(action, throttled);
        let done = run(with(&table, None, async |ledger| everything(ledger).await));
        let error = done[index].clone().unwrap_err();
        assert_eq!(error.to_string(), "table ledger: throttled by AWS, also after retries");
        assert_eq!(error.permission, None);
    }
}

#[test]
fn a_table_that_is_not_there_is_named() {
    let table = FakeTable::default();
    table.always("Query", Trouble::Error(400, "ResourceNotFoundException", "no table"));
    let error = run(with(&table, None, async |ledger| ledger.records(SHOP).await)).unwrap_err();
    assert_eq!(error.to_string(), "table ledger: no such table in the region of the function");
}

#[test]
fn what_a_batch_leaves_is_sent_again_but_not_for_ever() {
    let objects: Vec<Kept> =
        (0..30).map(|index| kept(SHOP, WINDOW, &format!("node-{index:02}"), 1)).collect();
    let observations: Vec<&Observation> = objects.iter().map(|it| &it.observation).collect();
    let table = FakeTable::default();
    table.troubles("BatchWriteItem", &[Trouble::Taken(20), Trouble::Taken(0), Trouble::Taken(3)]);
    table.troubles("BatchGetItem", &[Trouble::Taken(7), Trouble::Taken(0)]);
    let (seen, details) = run(with(&table, None, async |ledger| {
        ledger.keep(&objects).await.unwrap();
        let seen = ledger.observations(SHOP, 0..=i64::MAX).await.unwrap();
        (seen, ledger.details(&observations).await.unwrap())
    }));
    assert_eq!(seen.iter().collect::<Vec<_>>(), observations);
    let expected: Vec<_> = objects.iter().map(|it| Some(it.details.clone())).collect();
    assert_eq!(details, expected);
    let times = |action: &str| table.asked().iter().filter(|it| it.0 == action).count();
    // 60 items are three batches, and three were sent again.
    assert_eq!((times("BatchWriteItem"), times("BatchGetItem")), (6, 3));

    for action in ["BatchWriteItem", "BatchGetItem"] {
        table.always(action, Trouble::Taken(0));
        let done = run(with(&table, None, async |ledger| everything(ledger).await));
        let error = done.into_iter().find_map(Result::err).unwrap();
        assert_eq!(error.to_string(), "table ledger: throttled by AWS, also after retries");
        table.always(action, Trouble::Taken(usize::MAX));
    }
}

#[test]
fn a_write_whose_answer_was_lost_is_no_conflict() {
    let table = FakeTable::default();
    table.troubles("PutItem", &[Trouble::LostAnswer]);
    let mut record = Record::new(SHOP, None);
    record.version = 1;
    let mut another = record.clone();
    another.watched = Some(1);
    let (own, others) = run(with(&table, None, async |ledger| {
        let own = ledger.save(&record).await.unwrap();
        (own, ledger.save(&another).await.unwrap())
    }));
    assert_eq!((own, others), (Saved::Saved, Saved::Conflict));
}

#[test]
fn details_that_come_a_moment_later_are_waited_for() {
    let table = FakeTable::default();
    let one = kept(SHOP, WINDOW, "a", 3);
    table.troubles("BatchGetItem", &[Trouble::Taken(usize::MAX)]);
    let details = run(with(&table, None, async |ledger| {
        ledger.keep(std::slice::from_ref(&one)).await.unwrap();
        table.remove("details#");
        let later = async {
            // After the first look.
            while !table.asked().iter().any(|it| it.0 == "BatchGetItem") {
                tokio::task::yield_now().await;
            }
            ledger.keep(std::slice::from_ref(&one)).await.unwrap();
        };
        let asked = [&one.observation];
        tokio::join!(ledger.details(&asked), later).0.unwrap()
    }));
    assert_eq!(details, [Some(one.details)]);
}

#[test]
fn an_item_that_lies_is_not_there_and_does_no_harm() {
    let bytes = |text: &str| json!({"B": text});
    type Lie = (&'static str, fn(&mut Value, Value));
    let lies: [Lie; 6] = [
        ("", |item, it| item["packed"] = it),
        ("AQ==", |item, it| item["packed"] = it),
        ("Av////////////////////8B", |item, it| item["packed"] = it),
        // A length of 2^63.
        ("Af//////////fw==", |item, it| item["packed"] = it),
        ("", |item, _| item["packed"] = json!({"S": "text"})),
        ("", |item, _| drop(item.as_object_mut().unwrap().remove("packed"))),
    ];
    for (packed, lie) in lies {
        let table = FakeTable::default();
        let (a, b) = (kept(SHOP, WINDOW, "a", 3), kept(SHOP, WINDOW + 1, "b", 2));
        let seen = run(with(&table, None, async |ledger| {
            ledger.keep(&[a.clone(), b.clone()]).await.unwrap();
            table.change("observation#", |item| {
                if item["object"]["S"] == "s3://logs/a" {
                    lie(item, bytes(packed));
                }
            });
            table.change("details#", |item| lie(item, bytes(packed)));
            let details = ledger.details(&[&a.observation]).await.unwrap();
            assert_ne!(details, [Some(a.details.clone())]);
            ledger.observations(SHOP, 0..=i64::MAX).await.unwrap()
        }));
        assert_eq!(seen, [b.observation], "{packed:?}");
    }
    // One that is about another object than its key says, or another load balancer.
    let table = FakeTable::default();
    let (a, b) = (kept(SHOP, WINDOW, "a", 3), kept("app/x/1", WINDOW, "a", 2));
    let seen = run(with(&table, None, async |ledger| {
        ledger.keep(&[a, b]).await.unwrap();
        let packed =
            table.items().iter().find(|it| it["pk"]["S"] == "observation#app/x/1").cloned();
        table.change("observation#app/shop", |item| {
            item["packed"] = packed.as_ref().unwrap()["packed"].clone();
        });
        ledger.observations(SHOP, 0..=i64::MAX).await.unwrap()
    }));
    assert_eq!(seen, []);
}

#[test]
fn a_record_that_lies_is_replaced_and_silences_nobody() {
    let lies: [fn(&mut Value); 6] = [
        |item| item["record"] = json!({"S": "{"}),
        |item| {
            // An incident that ends before it begins.
            let record = item["record"]["S"].as_str().unwrap();
            let open = r#""open":{"id":"a","first":2,"last":1,"told":null}"#;
            item["record"] = json!({"S": record.replace(r#""open":null"#, open)});
        },
        |item| item["record"] = json!({"N": "7"}),
        |item| item["version"] = json!({"N": "7"}),
        |item| drop(item.as_object_mut().unwrap().remove("version")),
        |item| {
            let record = item["record"]["S"].as_str().unwrap().replace("shop", "other");
            item["record"] = json!({"S": record});
        },
    ];
    for lie in lies {
        let table = FakeTable::default();
        let mut record = Record::new(SHOP, Some(GROUP));
        record.version = 1;
        run(with(&table, None, async |ledger| {
            assert_eq!(ledger.save(&record).await.unwrap(), Saved::Saved);
            table.change("record#", lie);
            assert_eq!(ledger.records(SHOP).await.unwrap(), []);
            record.watched = Some(1);
            assert_eq!(ledger.save(&record).await.unwrap(), Saved::Saved);
            assert_eq!(ledger.records(SHOP).await.unwrap(), [record.clone()]);
        }));
    }
}

#[test]
fn silence_ends_while_there_is_time_for_a_message() {
    let table = FakeTable::default();
    for action in MADE {
        table.always(action, Trouble::Silence);
    }
    let started = Instant::now();
    let one = kept(SHOP, WINDOW, "a", 3);
    let error = run(with(&table, Some(Duration::from_secs(3)), async |ledger| {
        ledger.keep(std::slice::from_ref(&one)).await.unwrap_err()
    }));
    assert!(started.elapsed() < Duration::from_millis(2300), "{:?}", started.elapsed());
    let said = "table ledger: no answer in the time that the invocation had left";
    assert_eq!(error.to_string(), said);
}

#[test]
fn an_item_ends_with_its_use_whenever_it_was_written() {
    let table = FakeTable::default();
    let (old, new) = (kept(SHOP, WINDOW - 900, "old", 1), kept(SHOP, WINDOW, "new", 1));
    run(with(&table, None, async |ledger| ledger.keep(&[old, new]).await.unwrap()));
    let items = table.items();
    // 75 hours ago: nobody needs it any more, and it would be deleted at once.
    assert_eq!(items.len(), 2);
    let three_days = (end_of(WINDOW) + 72 * HOUR) / 1_000_000;
    for item in &items {
        assert_eq!(item["expires"]["N"], three_days.to_string());
    }
    let counts = items.iter().find(|it| it["pk"]["S"] == format!("observation#{SHOP}")).unwrap();
    for (name, value) in [
        ("object", json!({"S": "s3://logs/new"})),
        ("requests", json!({"N": "1"})),
        ("failures", json!({"N": "1"})),
        ("window", json!({"S": "2026-09-26T05:20:00Z"})),
    ] {
        assert_eq!(counts[name], value, "{name}");
    }
}
