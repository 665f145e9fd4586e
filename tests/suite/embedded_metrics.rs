//! What CloudWatch counts: the documents of whole invocations.

use std::{cell::RefCell, future::Future, io, path::Path, task};

use alb502::{
    config::Config,
    embedded_metrics::METRICS,
    handler::{HandlerError, Invocation, Ports, Summary, handle},
    local::{
        folder::{FolderLogStore, SnapshotConfiguration},
        ledger::MemoryLedger,
    },
    ports::Metrics,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    handler::{ANSWERED, Published, REFUSED, event, gzip, key, put, rows},
    tidy::{assert_same, table},
};

/// Keeps the documents.
#[derive(Debug, Default)]
struct Lines(RefCell<Vec<Value>>);

impl Metrics for Lines {
    fn function(&self) -> &str {
        "alb502-test"
    }

    fn put(&self, document: &Value) -> io::Result<()> {
        // As CloudWatch gets it: one line that is JSON.
        let line = document.to_string();
        assert!(!line.contains('\n') && line.len() < 1_000_000);
        self.0.borrow_mut().push(serde_json::from_str(&line).unwrap());
        Ok(())
    }
}

/// A function that remembers: one folder, one ledger, one topic, all metrics.
#[derive(Default)]
struct World {
    ledger: MemoryLedger,
    published: Published,
    lines: Lines,
}

impl World {
    fn handle(
        &self,
        folder: &Path,
        keys: &[&str],
        now: &str,
        settings: &[(&str, &str)],
    ) -> Result<Summary, HandlerError> {
        let config = Config::from_lookup(|name| {
            settings.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
        });
        let ports = Ports {
            logs: &FolderLogStore::new(folder),
            configuration: &SnapshotConfiguration(None),
            ledger: &self.ledger,
            notifier: &self.published,
            metrics: &self.lines,
        };
        let now = now.parse::<jiff::Timestamp>().unwrap().as_microsecond();
        let invocation = Invocation { now: Some(now), owner: "request", lease_until: now + 1 };
        let (event, config) = (event(keys), config.unwrap());
        let mut future = Box::pin(handle(&event, &config, &invocation, ports));
        match future.as_mut().poll(&mut task::Context::from_waker(task::Waker::noop())) {
            task::Poll::Ready(done) => done,
            task::Poll::Pending => panic!("a folder made the handler wait"),
        }
    }

    fn documents(&self) -> Vec<Value> {
        self.lines.0.borrow().clone()
    }

    /// The sum of a metric, as CloudWatch would show it.
    fn sum(&self, metric: &str) -> f64 {
        self.documents().iter().filter_map(|it| it[metric].as_f64()).sum()
    }
}

/// Rows of the five minutes from 2026-11-20T12:`minute`.
fn at(minute: u32, status: &str, count: usize) -> String {
    let (hour, minute) = (12 + minute / 60, minute % 60);
    rows(status, count).replace("T12:01:", &format!("T{hour}:{minute:02}:"))
}

fn metadata(timestamp: i64, dimensions: &[&str], metrics: &[(&str, &str)]) -> Value {
    let metrics: Vec<Value> =
        metrics.iter().map(|(name, unit)| json!({"Name": name, "Unit": unit})).collect();
    json!({
        "Timestamp": timestamp,
        "CloudWatchMetrics":
            [{"Namespace": "alb502", "Dimensions": [dimensions], "Metrics": metrics}],
    })
}

const OF_OBJECT: [(&str, &str); 4] =
    [("Objects", "Count"), ("Rows", "Count"), ("MalformedRows", "Count"), ("Lag", "Seconds")];
const OF_WINDOW: [(&str, &str); 2] = [("Requests", "Count"), ("Failures", "Count")];

/// 2026-11-20T12:00:00Z in milliseconds.
const NOON: i64 = 1_795_176_000_000;

#[test]
fn a_healthy_object_is_two_documents_at_the_time_of_its_rows() {
    let (folder, world) = (tempfile::tempdir().unwrap(), World::default());
    let log = rows(ANSWERED, 30) + "not a row\n";
    put(folder.path(), &key(1, "a"), &gzip(&log));
    world.handle(folder.path(), &[&key(1, "a")], "2026-11-20T12:06:40.5Z", &[]).unwrap();
    let object = format!("s3://example-alb-logs/{}", key(1, "a"));
    let expected = [
        json!({
            "_aws": metadata(NOON, &["Function"], &OF_OBJECT),
            "timestamp": "2026-11-20T12:06:40.5Z", "level": "INFO",
            "message": "metrics of an object", "requestId": "request",
            "window": "2026-11-20T12:00:00Z", "Function": "alb502-test", "object": object,
            "Objects": 1, "Rows": 30, "MalformedRows": 1, "Lag": 100,
        }),
        json!({
            "_aws": metadata(NOON, &["Function"], &OF_WINDOW),
            "timestamp": "2026-11-20T12:06:40.5Z", "level": "INFO",
            "message": "metrics of a window", "requestId": "request",
            "window": "2026-11-20T12:00:00Z", "Function": "alb502-test", "object": object,
            "load_balancer": "app/shop/0123456789abcdef", "target_groups": 1,
            "Requests": 30, "Failures": 0,
        }),
    ];
    assert_eq!(world.documents(), expected);
}

#[test]
fn failures_name_their_target_group_and_a_message_is_counted() {
    let (folder, world) = (tempfile::tempdir().unwrap(), World::default());
    let other = rows(ANSWERED, 7).replace("shop-web", "shop-api");
    let log = rows(ANSWERED, 30) + &rows(REFUSED, 10) + &other;
    put(folder.path(), &key(1, "a"), &gzip(&log));
    // Ten minutes after its end the window is complete: the failures are counted under their cause.
    world.handle(folder.path(), &[&key(1, "a")], "2026-11-20T12:15:00Z", &[]).unwrap();
    let id = world.published.messages.borrow()[0].0.incident_id.clone();
    let object = format!("s3://example-alb-logs/{}", key(1, "a"));
    let document = |message: &str, dimensions: &[&str], metrics: &[(&str, &str)], more: Value| {
        let mut document = json!({
            "_aws": metadata(NOON, dimensions, metrics),
            "timestamp": "2026-11-20T12:15:00Z", "level": "INFO",
            "message": message, "requestId": "request",
            "window": "2026-11-20T12:00:00Z", "Function": "alb502-test",
        });
        for (name, value) in more.as_object().unwrap() {
            document[name] = value.clone();
        }
        document
    };
    let load_balancer = "app/shop/0123456789abcdef";
    let expected = [
        document(
            "metrics of a message",
            &["Function"],
            &[("Messages", "Count")],
            json!({
                "Messages": 1, "incident_id": id, "kind": "spike", "phase": "opened",
                "severity": "critical", "cause": "connect-refused",
                "load_balancer": load_balancer, "target_group": "shop-web",
            }),
        ),
        document(
            "failures by cause",
            &["Function", "Cause"],
            &[("FailuresByCause", "Count")],
            json!({
                "FailuresByCause": 10.0, "Cause": "connect-refused", "incident_id": id,
                "load_balancer": load_balancer, "target_group": "shop-web",
            }),
        ),
        document(
            "metrics of an object",
            &["Function"],
            &OF_OBJECT,
            json!({"Objects": 1, "Rows": 47, "MalformedRows": 0, "Lag": 600, "object": object}),
        ),
        document(
            "metrics of a window",
            &["Function"],
            &OF_WINDOW,
            json!({
                "Requests": 40, "Failures": 10, "object": object,
                "load_balancer": load_balancer, "target_group": "shop-web",
            }),
        ),
        document(
            "metrics of a window",
            &["Function"],
            &OF_WINDOW,
            json!({
                "Requests": 7, "Failures": 0, "object": object,
                "load_balancer": load_balancer, "target_groups": 1,
            }),
        ),
    ];
    assert_eq!(world.documents(), expected);
}

/// The story of one incident: told when it opens, late rows, a repeated delivery, quiet windows.
#[test]
fn each_failure_of_an_incident_is_counted_under_a_cause_once() {
    let (folder, world) = (tempfile::tempdir().unwrap(), World::default());
    let object = |name: &str, log: String, now: &str| {
        put(folder.path(), &key(1, name), &gzip(&log));
        world.handle(folder.path(), &[&key(1, name)], now, &[]).unwrap();
    };
    let failing = |minute, failures| at(minute, ANSWERED, 30) + &at(minute, REFUSED, failures);
    object("a", failing(0, 20), "2026-11-20T12:06:00Z");
    assert_eq!((world.sum("Messages"), world.sum("FailuresByCause")), (1.0, 0.0));
    object("b", failing(5, 25), "2026-11-20T12:11:00Z");
    object("c", failing(10, 6), "2026-11-20T12:16:00Z");
    // The first window is complete, the others are not.
    assert_eq!(world.sum("FailuresByCause"), 20.0);
    // Late for the first window, and the same object again.
    object("late", failing(2, 3), "2026-11-20T12:17:00Z");
    world.handle(folder.path(), &[&key(1, "c")], "2026-11-20T12:17:30Z", &[]).unwrap();
    for (name, minute, now) in [
        ("d", 15, "2026-11-20T12:21:00Z"),
        ("e", 20, "2026-11-20T12:26:00Z"),
        ("f", 25, "2026-11-20T12:31:00Z"),
        ("g", 30, "2026-11-20T12:41:00Z"),
    ] {
        object(name, at(minute, ANSWERED, 30), now);
    }
    let messages = world.published.messages.borrow();
    let (resolved, _) = messages.last().unwrap();
    assert_eq!(resolved.phase.as_str(), "resolved");
    assert_eq!(resolved.failures, 54);
    assert_eq!(world.sum("Messages"), messages.len() as f64);
    assert!((world.sum("FailuresByCause") - 54.0).abs() < 1e-6, "{}", world.sum("FailuresByCause"));
    // At the time of the windows; the late ones in the last.
    let by_time: Vec<(i64, f64)> = world
        .documents()
        .iter()
        .filter_map(|it| {
            let minutes = (it["_aws"]["Timestamp"].as_i64().unwrap() - NOON) / 60_000;
            Some((minutes, it["FailuresByCause"].as_f64()?))
        })
        .collect();
    assert_eq!(by_time, [(0, 20.0), (5, 25.0), (10, 6.0), (10, 3.0)]);
}

/// An incident keeps its id when a late object shows that it began earlier: also where its failures are
/// counted without a message.
#[test]
fn failures_are_counted_under_the_id_that_was_told() {
    let (folder, world) = (tempfile::tempdir().unwrap(), World::default());
    for (name, minute) in [("first", 10), ("before", 5), ("after", 15)] {
        let log = at(minute, ANSWERED, 30) + &at(minute, REFUSED, 20);
        put(folder.path(), &key(1, name), &gzip(&log));
        world.handle(folder.path(), &[&key(1, name)], "2026-11-20T13:00:00Z", &[]).unwrap();
    }
    let messages = world.published.messages.borrow();
    let [(opened, _)] = &messages[..] else { panic!("{} messages", messages.len()) };
    let documents = world.documents();
    let counted: Vec<_> =
        documents.iter().filter(|it| it["message"] == "failures by cause").collect();
    assert_eq!(counted.len(), 2);
    assert!(counted.iter().all(|it| it["incident_id"] == *opened.incident_id), "{counted:?}");
}

#[test]
fn the_failures_of_a_trickle_are_counted_when_it_is_told() {
    let (folder, world) = (tempfile::tempdir().unwrap(), World::default());
    let window = |minute| at(minute, ANSWERED, 120) + &at(minute, REFUSED, 1);
    let hour: String = (0..8).map(|window_of_hour| window(window_of_hour * 5 + 1)).collect();
    put(folder.path(), &key(1, "a"), &gzip(&hour));
    // The last of eight windows ends at 12:40, and is complete ten minutes later.
    world.handle(folder.path(), &[&key(1, "a")], "2026-11-20T12:50:00Z", &[]).unwrap();
    assert_eq!((world.sum("Messages"), world.sum("Failures")), (1.0, 8.0));
    assert!((world.sum("FailuresByCause") - 8.0).abs() < 1e-6, "{}", world.sum("FailuresByCause"));
    let early = World::default();
    early.handle(folder.path(), &[&key(1, "a")], "2026-11-20T12:49:59Z", &[]).unwrap();
    assert!((early.sum("FailuresByCause") - 7.0).abs() < 1e-6, "{}", early.sum("FailuresByCause"));
}

#[test]
fn what_is_handled_again_is_counted_when_it_is_done_with() {
    let (folder, world) = (tempfile::tempdir().unwrap(), World::default());
    let whole = gzip(&rows(ANSWERED, 50));
    let (good, cut) = (key(1, "good"), key(2, "cut"));
    put(folder.path(), &good, &whole);
    put(folder.path(), &cut, &whole[..whole.len() - 10]);
    world.handle(folder.path(), &[&good, &cut], "2026-11-20T12:06:00Z", &[]).unwrap_err();
    assert_eq!((world.sum("Objects"), world.sum("Rows"), world.sum("Requests")), (1.0, 50.0, 50.0));
    put(folder.path(), &cut, &whole);
    world.handle(folder.path(), &[&cut], "2026-11-20T12:07:00Z", &[]).unwrap();
    assert_eq!((world.sum("Objects"), world.sum("Requests")), (2.0, 100.0));

    let refused =
        World { published: Published { refuse: true, ..Published::default() }, ..World::default() };
    put(folder.path(), &good, &gzip(&rows(REFUSED, 20)));
    refused.handle(folder.path(), &[&good], "2026-11-20T12:06:00Z", &[]).unwrap_err();
    assert_eq!(refused.documents(), [Value::Null; 0]);
}

#[test]
fn the_setting_turns_metrics_off() {
    let (folder, world) = (tempfile::tempdir().unwrap(), World::default());
    put(folder.path(), &key(1, "a"), &gzip(&rows(REFUSED, 20)));
    let off = [("ALB502_METRICS", "false")];
    let done = world.handle(folder.path(), &[&key(1, "a")], "2026-11-20T12:15:00Z", &off).unwrap();
    assert_eq!((done.published, world.documents().len()), (1, 0));
}

#[test]
fn metrics_that_cloudwatch_would_not_take_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &key(1, "a"), &gzip(&rows(ANSWERED, 20)));
    for (now, documents) in [
        ("2026-12-04T12:00:00Z", 2),
        ("2026-12-04T12:00:01Z", 0),
        // A window that has not begun is not judged, but the object was read.
        ("2026-11-20T10:00:00Z", 1),
        ("2026-11-20T09:54:59Z", 0),
    ] {
        let world = World::default();
        world.handle(folder.path(), &[&key(1, "a")], now, &[]).unwrap();
        assert_eq!(world.documents().len(), documents, "{now}: {:?}", world.documents());
    }
}

#[test]
fn an_object_whose_rows_are_of_no_time_counts_at_the_time_in_its_name() {
    let (folder, world) = (tempfile::tempdir().unwrap(), World::default());
    let log = rows(ANSWERED, 5).replace("2026-11-20T", "2027-11-20T");
    put(folder.path(), &key(1, "a"), &gzip(&log));
    world.handle(folder.path(), &[&key(1, "a")], "2026-11-20T12:06:00Z", &[]).unwrap();
    let documents = world.documents();
    assert_eq!(documents.len(), 1);
    assert_eq!(documents[0]["_aws"]["Timestamp"], NOON);
    assert_eq!((&documents[0]["Rows"], &documents[0]["Lag"]), (&json!(5), &json!(60)));
}

#[test]
fn strangers_words_are_no_dimension_and_come_alive_nowhere() {
    let (folder, world) = (tempfile::tempdir().unwrap(), World::default());
    let mut log = String::new();
    for number in 0..40 {
        // A reason that AWS does not document, and a target group of a hostile name, each new.
        let reason = format!("\"LambdaNew{number}\" \"-\" \"-\"\n");
        let row = rows("-1 -1 -1 502 -", 8)
            .replace("\"-\" \"-\"\n", &reason)
            .replace("shop-web/0123", &format!("http://evil.test/{number}/0123"));
        log += &row;
    }
    put(folder.path(), &key(1, "a"), &gzip(&log));
    world.handle(folder.path(), &[&key(1, "a")], "2026-11-20T12:15:00Z", &[]).unwrap();
    assert_eq!((world.sum("Failures"), world.sum("Requests")), (320.0, 320.0));
    let causes: Vec<String> = table("| cause |")
        .iter()
        .map(|row| row.split('|').nth(1).unwrap().trim().to_owned())
        .collect();
    let mut named = 0;
    for it in world.documents() {
        let text = it.to_string();
        assert!(!text.contains("http://") && !text.contains("LambdaNew"), "{text}");
        named += usize::from(it["target_group"].is_string() && it["Failures"].is_number());
        if let Some(cause) = it["Cause"].as_str() {
            assert!(causes.iter().any(|it| it == cause), "{cause}");
        }
        let directive = &it["_aws"]["CloudWatchMetrics"][0];
        for dimension in directive["Dimensions"][0].as_array().unwrap() {
            assert!(it[dimension.as_str().unwrap()].is_string(), "{text}");
        }
        for metric in directive["Metrics"].as_array().unwrap() {
            assert!(it[metric["Name"].as_str().unwrap()].is_number(), "{text}");
        }
    }
    assert!(0 < named && named <= 10, "{named}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Objects that are delivered once, each in an invocation of its own or together. Each has a row: one
    /// without is no access log.
    #[test]
    fn requests_and_failures_add_up_to_the_rows(
        objects in prop::collection::vec((0..3_u32, 0..9_usize, 1..40_usize, 0..3_usize), 1..6),
        together: bool,
    ) {
        let (folder, world) = (tempfile::tempdir().unwrap(), World::default());
        let (mut requests, mut failures, mut malformed) = (0, 0, 0);
        let mut keys = Vec::new();
        for (index, (window, refused, answered, broken)) in objects.iter().enumerate() {
            // Over two windows, and two target groups.
            let log = at(window * 5, REFUSED, *refused)
                + &at(window * 5 + 6, ANSWERED, *answered).replace("shop-web", "shop-api")
                + &"broken\n".repeat(*broken);
            keys.push(key(1, &format!("r{index}")));
            put(folder.path(), &keys[index], &gzip(&log));
            requests += refused + answered;
            failures += refused;
            malformed += broken;
        }
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let events: Vec<&[&str]> =
            if together { vec![&keys] } else { keys.chunks(1).collect() };
        for keys in events {
            world.handle(folder.path(), keys, "2026-11-20T12:40:00Z", &[]).unwrap();
        }
        prop_assert_eq!(world.sum("Objects"), objects.len() as f64);
        prop_assert_eq!(world.sum("Rows"), requests as f64);
        prop_assert_eq!(world.sum("MalformedRows"), malformed as f64);
        prop_assert_eq!(world.sum("Requests"), requests as f64);
        prop_assert_eq!(world.sum("Failures"), failures as f64);
        prop_assert!(world.sum("FailuresByCause") <= failures as f64 + 1e-6);
    }
}

#[test]
fn the_readme_names_every_metric() {
    let metrics: Vec<String> = METRICS
        .iter()
        .map(|it| {
            let dimensions = it.dimensions.join(", ");
            format!("| `{}` | {} | {dimensions} | {} |", it.name, it.unit, it.meaning)
        })
        .collect();
    assert_same("metrics of alb502", &table("| metric of alb502 |"), &metrics);
}
