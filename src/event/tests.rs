use std::slice;

use serde_json::json;

use super::*;

fn record(bucket: &str, key: &str) -> Value {
    json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "awsRegion": "eu-west-1",
        "eventTime": "2026-11-20T12:06:00.250Z",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key}}})
}

fn s3(keys: &[&str]) -> Value {
    json!({"Records": keys.iter().map(|key| record("b", key)).collect::<Vec<_>>()})
}

fn event_bridge(key: &str) -> Value {
    json!({"source": "aws.s3", "detail-type": "Object Created", "region": "eu-west-1",
        "time": "2026-11-20T12:06:01Z",
        "detail": {"bucket": {"name": "b"}, "object": {"key": key}}})
}

fn test_event() -> Value {
    json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"})
}

fn sns(message: &Value) -> Value {
    json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Type": "Notification",
        "Timestamp": "2026-11-20T12:06:02.5Z", "Message": message.to_string()}}]})
}

/// As SNS puts it into a queue.
fn notification(message: &Value) -> Value {
    json!({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:123456789012:t",
        "Timestamp": "2026-11-20T12:06:02.5Z", "Message": message.to_string()})
}

fn message(id: &str, body: &str) -> Value {
    json!({"messageId": id, "body": body, "eventSource": "aws:sqs", "awsRegion": "us-east-1",
        "attributes": {"SentTimestamp": "1795176363000"}})
}

fn sqs(bodies: &[(&str, &Value)]) -> Value {
    let messages = bodies.iter().map(|(id, body)| message(id, &body.to_string()));
    json!({"Records": messages.collect::<Vec<_>>()})
}

fn arrivals(payload: &Value) -> Arrivals {
    match read(payload) {
        Event::Objects(arrivals) => arrivals,
        Event::Foreign(reason) => panic!("{reason}: {payload}"),
    }
}

fn keys(payload: &Value) -> Vec<String> {
    let arrivals = arrivals(payload);
    assert_eq!(arrivals.unreadable, [], "{payload}");
    arrivals.objects.into_iter().map(|it| it.key).collect()
}

fn reason(payload: &Value) -> String {
    match read(payload) {
        Event::Foreign(reason) => reason,
        Event::Objects(arrivals) => panic!("{arrivals:?}: {payload}"),
    }
}

fn error(payload: &Value) -> String {
    let arrivals = arrivals(payload);
    assert_eq!((arrivals.objects.len(), arrivals.unreadable.len()), (0, 1), "{payload}");
    arrivals.unreadable[0].to_string()
}

#[test]
fn keys_of_s3_are_decoded_as_s3_encodes_them() {
    for (key, expected) in [
        ("a/b.log.gz", "a/b.log.gz"),
        ("my+logs/a%2Bb.log.gz", "my logs/a+b.log.gz"),
        ("a%2Fb%3D1", "a/b=1"),
        ("%C3%BC+%25", "ü %"),
        ("100%", "100%"),
    ] {
        let event = s3(&[key]);
        for wrapped in [
            event.clone(),
            sns(&event),
            sqs(&[("m", &event)]),
            sqs(&[("m", &notification(&event))]),
            sqs(&[("m", &sns(&event))]),
            json!([record("b", key)]),
            record("b", key),
        ] {
            assert_eq!(keys(&wrapped), [expected], "{wrapped}");
        }
    }
}

#[test]
fn keys_of_event_bridge_and_of_a_person_are_as_they_stand() {
    for key in ["a/b.log.gz", "my+logs/a%2Bb.log.gz", "my logs/a+b", "100%", "%FF%FE"] {
        let event = event_bridge(key);
        for wrapped in [
            event.clone(),
            json!([event]),
            sns(&event),
            sqs(&[("m", &event)]),
            sqs(&[("m", &notification(&event))]),
            json!({"bucket": "b", "key": key}),
            json!([{"bucket": "b", "key": key}]),
            sqs(&[("m", &json!({"bucket": "b", "key": key}))]),
        ] {
            assert_eq!(keys(&wrapped), [key], "{wrapped}");
        }
    }
}

#[test]
fn version_and_region_are_the_objects() {
    let mut of_s3 = record("b", "k");
    of_s3["s3"]["object"]["versionId"] = json!("v1");
    let mut of_event_bridge = event_bridge("k");
    of_event_bridge["detail"]["object"]["version-id"] = json!("v1");
    let by_hand = json!({"bucket": "b", "key": "k", "version_id": "v1", "region": "eu-west-1"});
    let expected = LogObject {
        bucket: "b".to_owned(),
        key: "k".to_owned(),
        version_id: Some("v1".to_owned()),
        region: Some("eu-west-1".to_owned()),
    };
    for event in [of_s3, of_event_bridge, by_hand] {
        // The queue is in another region.
        for wrapped in [sqs(&[("m", &event)]), sns(&event), event.clone()] {
            assert_eq!(arrivals(&wrapped).objects, slice::from_ref(&expected), "{wrapped}");
        }
        let all = json!([event.clone(), event]);
        assert_eq!(arrivals(&all).objects.len(), 1);
    }
}

#[test]
fn no_version_is_no_version_however_it_is_written() {
    for none in [json!(null), json!("null"), json!("")] {
        let event = json!({"bucket": "b", "key": "k", "version_id": none});
        assert_eq!(arrivals(&event).objects[0].version_id, None, "{event}");
    }
    // Another object would be read.
    let event = json!({"bucket": "b", "key": "k", "version_id": 1});
    assert_eq!(error(&event), "the event written by hand has no text as version_id (bucket b)");
}

#[test]
fn the_same_object_is_read_once_whichever_way_it_came() {
    let twice = json!([record("b", "k"), event_bridge("k"), {"bucket": "b", "key": "k"}]);
    assert_eq!(keys(&twice), ["k"]);
    // The region comes from whoever knows it.
    let twice = json!([{"bucket": "b", "key": "k"}, event_bridge("k")]);
    assert_eq!(arrivals(&twice).objects[0].region.as_deref(), Some("eu-west-1"));
    let other = json!([record("b", "k"), record("c", "k"), record("b", "l"),
        {"bucket": "b", "key": "k", "version_id": "2"}]);
    assert_eq!(arrivals(&other).objects.len(), 4);
}

#[test]
fn what_is_not_for_us_is_passed_over_with_a_reason() {
    for (payload, expected) in [
        (test_event(), "an s3:TestEvent"),
        (sns(&test_event()), "record 0 of the SNS event: an s3:TestEvent"),
        (
            json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}),
            "an event of aws.events (Scheduled Event)",
        ),
        (
            json!({"source": "aws.s3", "detail-type": "Object Deleted",
                "detail": {"bucket": {"name": "b"}, "object": {"key": "k"}}}),
            "an event of aws.s3 (Object Deleted)",
        ),
        (
            // Somebody's own event with the name of one of S3.
            json!({"source": "shop", "detail-type": "Object Created",
                "detail": {"bucket": {"name": "b"}, "object": {"key": "k"}}}),
            "an event of shop (Object Created)",
        ),
        (json!({"Type": "SubscriptionConfirmation", "Message": "x"}), "SubscriptionConfirmation"),
        (json!({"Records": []}), "the list \"Records\" is empty"),
        (json!({"Records": {}}), "it has Records"),
        (json!({"Records": [{"eventSource": "aws:kinesis"}]}), "is from aws:kinesis"),
        (json!({"key1": "value1", "key2": "value2"}), "it has key1, key2"),
        (json!({"key": "k"}), "it has key"),
        (json!({}), "without any field"),
        (json!([]), "a list without an event"),
        (json!([[1, 2], [3, 4]]), "a list without an event"),
        (json!("text"), "not JSON"),
        (json!(null), "neither an object nor a list"),
    ] {
        let reason = reason(&payload);
        assert!(reason.contains(expected), "{reason}: {payload}");
    }
}

#[test]
fn a_deleted_object_is_no_new_one() {
    for name in ["ObjectRemoved:Delete", "s3:ObjectRemoved:Delete", "ObjectRestore:Completed"] {
        let mut event = s3(&["k"]);
        event["Records"][0]["eventName"] = json!(name);
        assert!(reason(&event).contains(name));
    }
    for name in ["ObjectCreated:Put", "s3:ObjectCreated:CompleteMultipartUpload"] {
        let mut event = s3(&["k"]);
        event["Records"][0]["eventName"] = json!(name);
        assert_eq!(keys(&event), ["k"]);
    }
}

#[test]
fn strangers_beside_each_other_are_each_told() {
    let payload = json!({"Records": [{"eventSource": "aws:kinesis"}, {"eventSource": "aws:s3",
        "eventName": "ObjectRemoved:Delete", "s3": {}}]});
    let arrivals = arrivals(&payload);
    assert!(arrivals.objects.is_empty() && arrivals.unreadable.is_empty());
    assert_eq!(arrivals.passed_over.len(), 2);
}

#[test]
fn the_text_of_a_stranger_is_told_short_and_on_one_line() {
    let reason = reason(&json!({"source": "a\n\u{1b}[31m".repeat(1000), "detail-type": "x"}));
    assert!(reason.len() < 200 && !reason.contains(['\n', '\u{1b}']), "{reason}");
}

#[test]
fn what_is_ours_and_cannot_be_read_is_an_error_that_says_where() {
    let no_key = json!({"eventSource": "aws:s3", "s3": {"bucket": {"name": "b"}}});
    let mut not_text = event_bridge("k");
    not_text["detail"]["object"]["key"] = json!(7);
    let event = json!({"Records": [no_key]});
    for (payload, expected) in [
        (event.clone(), "record 0 of the S3 event has no text as s3.object.key (bucket b)"),
        (
            sns(&event),
            "record 0 of the S3 event in record 0 of the SNS event has no text as s3.object.key \
             (bucket b)",
        ),
        (
            sqs(&[("m-1", &notification(&event))]),
            "record 0 of the S3 event in the SNS event in message m-1 of the SQS event has no text \
             as s3.object.key (bucket b)",
        ),
        (not_text, "the EventBridge event has no text as detail.object.key (bucket b)"),
        (
            json!({"eventSource": "aws:s3", "s3": {"object": {"key": "k"}}}),
            "the S3 event has no text as s3.bucket.name",
        ),
        (
            json!([{"eventSource": "aws:s3"}]),
            "the S3 event in record 0 of the list has no text as s3.bucket.name",
        ),
        (s3(&["%FF%FE"]), "the key %FF%FE of record 0 of the S3 event is no UTF-8 text (bucket b)"),
        (json!({"bucket": "b"}), "the event written by hand has no text as key (bucket b)"),
        (
            json!({"Records": [{"EventSource": "aws:sns"}]}),
            "record 0 of the SNS event has no text as Message",
        ),
        (
            json!({"Records": [{"eventSource": "aws:sqs", "messageId": "m"}]}),
            "message m of the SQS event has no text as body",
        ),
    ] {
        assert_eq!(error(&payload), expected);
    }
}

#[test]
fn an_error_stands_beside_what_can_be_read() {
    let mut event = s3(&["%FF", "good"]);
    event["Records"][1]["s3"]["bucket"]["name"] = json!("other");
    let arrivals = arrivals(&event);
    assert_eq!((arrivals.objects.len(), arrivals.unreadable.len()), (1, 1));
}

#[test]
fn a_notification_that_was_cut_is_an_error_and_a_strangers_text_is_not() {
    let whole = s3(&["k"]).to_string();
    let cut = |text: &str| json!({"Records": [message("m", text)]});
    let half = arrivals(&cut(&whole[..whole.len() - 4]));
    assert!(half.messages.unwrap()[0].unreadable);
    assert!(half.unreadable[0].to_string().starts_with("the event in message m of the SQS"));
    for stranger in ["aws:s3 said no", "{\"order\": ", "", "Message Body"] {
        let other = arrivals(&cut(stranger));
        assert_eq!((other.unreadable.len(), other.passed_over.len()), (0, 1), "{stranger}");
    }
}

#[test]
fn a_person_is_told_what_is_not_read() {
    let arrivals = arrivals(&json!({"bucket": "b", "key": "k", "versionid": "v"}));
    assert_eq!(arrivals.objects.len(), 1);
    assert_eq!(
        arrivals.passed_over,
        ["not read: versionid (known are bucket, key, version_id, region)"]
    );
}

#[test]
fn envelopes_are_opened_up_to_a_bound_and_told_beyond_it() {
    let mut event = s3(&["k"]);
    for _ in 0..layers::MAX_LAYERS {
        event = notification(&event);
        assert_eq!(keys(&event), ["k"]);
    }
    let said = error(&notification(&event));
    assert!(said.ends_with("stands in more than 4 envelopes"), "{said}");
    let mut records = record("b", "k");
    let mut text = Value::String("{}".to_owned());
    for _ in 0..10 {
        records = json!({"Records": [records]});
        text = Value::String(text.to_string());
    }
    for deep in [records, text] {
        assert!(error(&deep).ends_with("stands in more than 4 envelopes"), "{deep}");
    }
}

#[test]
fn a_text_in_quotes_is_opened_as_well() {
    assert_eq!(keys(&json!(s3(&["k"]).to_string())), ["k"]);
    let quoted = message("m", &json!(s3(&["k"]).to_string()).to_string());
    assert_eq!(keys(&json!({"Records": [quoted]})), ["k"]);
}

#[test]
fn a_batch_knows_which_message_named_what() {
    let bad = s3(&["%FF"]);
    let batch = sqs(&[
        ("one", &s3(&["x", "y"])),
        ("again", &s3(&["y"])),
        ("bad", &bad),
        ("foreign", &json!({"order": 1})),
        ("test", &test_event()),
        ("twice", &s3(&["z", "z"])),
    ]);
    let arrivals = arrivals(&batch);
    let told: Vec<_> = arrivals
        .messages
        .iter()
        .flatten()
        .map(|it| (it.id.as_str(), it.objects.as_slice(), it.unreadable))
        .collect();
    let expected: [(&str, &[usize], bool); 6] = [
        ("one", &[0, 1], false),
        ("again", &[1], false),
        ("bad", &[], true),
        ("foreign", &[], false),
        ("test", &[], false),
        ("twice", &[2], false),
    ];
    assert_eq!(told, expected);
    assert_eq!(arrivals.failed_messages(|_| false), ["bad"]);
    assert_eq!(arrivals.failed_messages(|object| object == 1), ["one", "again", "bad"]);
    assert_eq!(arrivals.failed_messages(|object| object == 2), ["bad", "twice"]);
    assert_eq!(arrivals.failed_messages(|_| true), ["one", "again", "bad", "twice"]);
}

#[test]
fn a_batch_is_a_batch_even_with_nothing_in_it() {
    for (batch, count) in [
        (sqs(&[("m", &test_event())]), 1),
        (json!({"Records": [message("m", "text")]}), 1),
        // EventBridge Pipes leaves the envelope out.
        (json!([message("m", "text"), message("n", "text")]), 2),
    ] {
        let arrivals = arrivals(&batch);
        assert_eq!(arrivals.messages.as_ref().map(Vec::len), Some(count), "{batch}");
        assert_eq!(arrivals.failed_messages(|_| true), Vec::<&str>::new());
    }
}

#[test]
fn what_is_no_batch_waits_for_no_answer() {
    let batch = sqs(&[("inner", &s3(&["k"]))]);
    for event in [s3(&["k"]), sns(&s3(&["k"])), sns(&batch), sns(&json!([message("m", "{}")]))] {
        let Event::Objects(arrivals) = read(&event) else { continue };
        assert_eq!(arrivals.messages, None, "{event}");
        assert_eq!(arrivals.failed_messages(|_| true), Vec::<&str>::new());
    }
    // A queue's event in a queue's message: SQS knows only the outer one.
    let arrivals = arrivals(&sqs(&[("outer", &batch)]));
    assert_eq!(arrivals.failed_messages(|_| true), ["outer"]);
}

#[test]
fn a_message_without_an_id_fails_the_whole_batch() {
    let mut batch = sqs(&[("m", &s3(&["k"])), ("n", &s3(&["%FF"]))]);
    batch["Records"][1].as_object_mut().unwrap().remove("messageId");
    assert_eq!(arrivals(&batch).failed_messages(|_| false), [""]);
}

#[test]
fn the_time_is_the_latest_that_the_event_tells() {
    let event = s3(&["k"]);
    let mut late = record("b", "l");
    late["eventTime"] = json!("2026-11-20T12:09:00Z");
    for (payload, expected) in [
        (event.clone(), Some("2026-11-20T12:06:00.25Z")),
        (event_bridge("k"), Some("2026-11-20T12:06:01Z")),
        (sns(&event), Some("2026-11-20T12:06:02.5Z")),
        (sqs(&[("m", &notification(&event))]), Some("2026-11-20T12:06:03Z")),
        (sqs(&[("m", &late)]), Some("2026-11-20T12:09:00Z")),
        (json!([late, record("b", "k")]), Some("2026-11-20T12:09:00Z")),
        (json!({"bucket": "b", "key": "k"}), None),
    ] {
        let time = arrivals(&payload).time.map(|it| it.to_string());
        assert_eq!(time.as_deref(), expected, "{payload}");
    }
    let mut nonsense = record("b", "k");
    nonsense["eventTime"] = json!("yesterday");
    assert_eq!(arrivals(&nonsense).time, None);
}
