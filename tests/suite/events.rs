//! Every way events arrive: the samples of `events/`, each with what comes out of it, and events made
//! up at random.

use std::{collections::BTreeSet, fs, path::Path};

use alb502::event::{self, Arrivals, Event};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::{prelude::*, test_runner::RngSeed};
use serde_json::{Value, json};

use crate::tidy;

/// What a sample asks for.
struct Sample {
    name: &'static str,
    /// Objects to read, things passed over, things unreadable.
    counts: (usize, usize, usize),
    /// Messages of a batch of SQS, and how many of them come again when every object could be read.
    messages: Option<(usize, usize)>,
    /// How the message begins that is published with `events/local` in place of AWS.
    #[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "needs the local handler"))]
    published: &'static str,
}

const fn sample(
    name: &'static str,
    counts: (usize, usize, usize),
    messages: Option<(usize, usize)>,
    published: &'static str,
) -> Sample {
    Sample { name, counts, messages, published }
}

const NOTHING: &str = "";
const RACE: &str = "shop-web: The targets close idle connections before the load balancer does";
const PORT: &str = "orders-api: A network rule drops the load balancer's connections to the target";

const SAMPLES: [Sample; 26] = [
    sample("s3-keepalive-race", (10, 0, 0), None, RACE),
    sample("s3-blocked-port", (10, 0, 0), None, PORT),
    sample("s3-record-without-key", (2, 0, 1), None, PORT),
    sample("s3-other-logs", (4, 0, 0), None, NOTHING),
    sample("s3-foreign", (1, 0, 0), None, NOTHING),
    sample("s3-object-removed", (0, 1, 0), None, NOTHING),
    sample("s3-test-event", (0, 1, 0), None, NOTHING),
    sample("eventbridge-blocked-port", (1, 0, 0), None, PORT),
    sample("eventbridge-object-deleted", (0, 1, 0), None, NOTHING),
    sample("eventbridge-scheduled", (0, 1, 0), None, NOTHING),
    sample("sns-keepalive-race", (4, 0, 0), None, RACE),
    sample("sns-eventbridge-blocked-port", (1, 0, 0), None, PORT),
    sample("sns-test-event", (0, 1, 0), None, NOTHING),
    sample("sns-foreign", (0, 1, 0), None, NOTHING),
    sample("sqs-keepalive-race", (10, 0, 0), Some((10, 0)), RACE),
    sample("sqs-eventbridge-blocked-port", (10, 0, 0), Some((10, 0)), PORT),
    sample("sqs-sns-keepalive-race", (10, 0, 0), Some((10, 0)), RACE),
    sample("sqs-sns-raw-blocked-port", (2, 0, 0), Some((2, 0)), PORT),
    sample("sqs-sns-eventbridge-blocked-port", (1, 0, 0), Some((1, 0)), PORT),
    // Seven messages: one cannot be read, one names an object that is not there, one comes twice.
    sample("sqs-mixed", (3, 2, 1), Some((7, 1)), PORT),
    sample("sqs-test-event", (0, 1, 0), Some((1, 0)), NOTHING),
    sample("sqs-sns-test-event", (0, 1, 0), Some((1, 0)), NOTHING),
    sample("sqs-foreign", (0, 2, 0), Some((2, 0)), NOTHING),
    sample("by-hand", (1, 0, 0), None, PORT),
    sample("by-hand-list", (10, 0, 0), None, RACE),
    sample("by-hand-without-key", (0, 1, 1), None, NOTHING),
];

fn payload(name: &str) -> Value {
    serde_json::from_str(&tidy::read(&format!("events/{name}.json"))).unwrap()
}

/// An event as arrivals; one that is not for us has one reason and no more.
fn arrivals(payload: &Value) -> Arrivals {
    match event::read(payload) {
        Event::Objects(arrivals) => arrivals,
        Event::Foreign(reason) => {
            assert!(!reason.is_empty());
            Arrivals { passed_over: vec![reason], ..Arrivals::default() }
        }
    }
}

#[test]
fn every_sample_is_in_the_table_and_in_the_readme() {
    let files: BTreeSet<String> =
        fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("events"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "local")
            .collect();
    let table = SAMPLES.iter().map(|it| format!("{}.json", it.name)).collect();
    assert_eq!(files, table);
    let told: BTreeSet<String> = tidy::table("| shape |")
        .iter()
        .flat_map(|row| row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2))
        .map(|name| format!("{name}.json"))
        .collect();
    assert_eq!(files, told, "the README's table of shapes");
}

#[test]
fn every_sample_gives_what_it_asks_for() {
    for it in SAMPLES {
        let arrivals = arrivals(&payload(it.name));
        let (objects, passed_over, unreadable) =
            (&arrivals.objects, &arrivals.passed_over, &arrivals.unreadable);
        let counts = (objects.len(), passed_over.len(), unreadable.len());
        assert_eq!(counts, it.counts, "{}: {arrivals:?}", it.name);
        let again = arrivals.failed_messages(|_| false).len();
        let messages = arrivals.messages.as_ref().map(|messages| (messages.len(), again));
        assert_eq!(messages, it.messages, "{}", it.name);
        // Everything but a text of a person tells when it was.
        let is_timed = !it.name.starts_with("by-hand") && !objects.is_empty();
        assert_eq!(arrivals.time.is_some(), is_timed || arrivals.messages.is_some(), "{}", it.name);
        for object in objects.iter().filter(|_| !it.name.starts_with("by-hand")) {
            assert_eq!(object.region.as_deref(), Some("eu-west-1"), "{}", it.name);
        }
    }
}

/// The messages of `sqs-mixed` that come again: the one that cannot be read, and the one whose object is
/// not there. The second delivery of an object that could be read does not.
#[test]
fn of_a_mixed_batch_only_what_failed_comes_again() {
    let payload = payload("sqs-mixed");
    let arrivals = arrivals(&payload);
    let failed = arrivals.failed_messages(|it| arrivals.objects[it].key.contains("notthere"));
    let expected = [&payload["Records"][1]["messageId"], &payload["Records"][3]["messageId"]];
    assert_eq!(failed, expected.map(|it| it.as_str().unwrap()));
}

#[cfg(feature = "cli")]
#[test]
fn every_sample_goes_through_the_local_handler() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    for part in ["s3", "aws"] {
        crate::command_line::copy(&root.join("events/local").join(part), &folder.path().join(part));
    }
    for it in SAMPLES {
        let event = format!("events/{}.json", it.name);
        let local = folder.path().to_str().unwrap();
        let output = crate::command_line::alb502(&["invoke", &event, "--local", local]);
        let said = String::from_utf8(output.stdout).unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        match it.published {
            NOTHING => assert_eq!(said, "", "{event}"),
            headline => assert!(said.starts_with(headline), "{event}:\n{said}\n{log}"),
        }
        for error in arrivals(&payload(it.name)).unreadable {
            assert!(log.contains(&error.to_string()), "{event}: {error}\n{log}");
        }
        let (_, passed_over, unreadable) = it.counts;
        assert_eq!(log.matches("passed over").count(), passed_over, "{event}:\n{log}");
        if it.messages.is_none() {
            assert_eq!(output.status.code(), Some(i32::from(0 < unreadable)), "{event}:\n{log}");
        }
    }
}

/// What S3 leaves as it is in a key; a space becomes a `+`.
const KEPT_BY_S3: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'*');

fn encoded(key: &str) -> String {
    utf8_percent_encode(key, KEPT_BY_S3).to_string().replace("%20", "+")
}

fn of_s3(key: &str) -> Value {
    json!({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "logs"}, "object": {"key": encoded(key)}}}]})
}

fn of_event_bridge(key: &str) -> Value {
    json!({"source": "aws.s3", "detail-type": "Object Created",
        "detail": {"bucket": {"name": "logs"}, "object": {"key": key}}})
}

fn in_sns(message: &Value) -> Value {
    json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": message.to_string()}}]})
}

fn in_notification(message: &Value) -> Value {
    json!({"Type": "Notification", "Message": message.to_string()})
}

fn in_sqs(body: &Value) -> Value {
    json!({"Records": [{"eventSource": "aws:sqs", "messageId": "m", "body": body.to_string()}]})
}

/// Any JSON, made of the words that events are made of.
fn any_json() -> impl Strategy<Value = Value> {
    let words = [
        "Records",
        "eventSource",
        "EventSource",
        "aws:s3",
        "aws:sqs",
        "aws:sns",
        "s3",
        "Sns",
        "Message",
        "Type",
        "Notification",
        "bucket",
        "object",
        "key",
        "name",
        "body",
        "messageId",
        "source",
        "aws.s3",
        "detail-type",
        "Object Created",
        "detail",
        "Event",
        "s3:TestEvent",
        "eventName",
        "ObjectCreated:Put",
        "eventTime",
        "2026-11-20T12:00:00Z",
        "attributes",
        "SentTimestamp",
        "9223372036854775807",
        "%FF",
        "version_id",
    ];
    let word = proptest::sample::select(words.to_vec()).prop_map(ToOwned::to_owned);
    let text = prop_oneof![word.clone(), any::<String>()];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 64, 6, move |inner| {
        let fields = proptest::collection::vec((word.clone(), inner.clone()), 0..6);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            fields.prop_map(|it| Value::Object(it.into_iter().collect())),
            inner.clone().prop_map(|it| json!({"Records": [it]})),
            inner.clone().prop_map(|it| in_sns(&it)),
            inner.clone().prop_map(|it| in_sqs(&it)),
            inner.prop_map(|it| Value::from(it.to_string())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512, rng_seed: RngSeed::Fixed(502), failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_key_arrives_as_it_is_in_the_bucket(key in "\\PC{1,40}|[ +%/=~*a-z0-9]{1,40}") {
        let (s3, event_bridge) = (of_s3(&key), of_event_bridge(&key));
        let by_hand = json!({"bucket": "logs", "key": key});
        for event in [&s3, &event_bridge, &by_hand] {
            for wrapped in [
                event.clone(),
                in_sns(event),
                in_sqs(event),
                in_sqs(&in_notification(event)),
            ] {
                let arrivals = arrivals(&wrapped);
                prop_assert_eq!(arrivals.objects.len(), 1, "{}", wrapped);
                prop_assert_eq!(&arrivals.objects[0].key, &key, "{}", wrapped);
            }
        }
    }

    /// Whatever comes, something is said of it, and a batch is answered as a whole.
    #[test]
    fn nothing_that_comes_is_dropped_or_stops_the_function(payload in any_json()) {
        let arrivals = arrivals(&payload);
        let told = arrivals.objects.len() + arrivals.passed_over.len() + arrivals.unreadable.len();
        prop_assert!(0 < told, "{}", payload);
        for message in arrivals.messages.iter().flatten() {
            prop_assert!(message.objects.iter().all(|it| *it < arrivals.objects.len()));
            if message.unreadable {
                prop_assert!(!arrivals.unreadable.is_empty());
            }
        }
    }
}
