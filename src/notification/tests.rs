//! Whole messages of a hostile diagnosis: sizes, limits, schema, and nothing that comes alive.

use proptest::prelude::*;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::*;
use crate::diagnosis::{
    CheckOutcome, CheckResult, Confidence, Figures, Fix, Gap, KeepAliveEstimate, KeepAliveTimer,
    LoadBalancerName, ObjectReport, ParserReport, Phase, RankedCause, Sample, Statement,
    TargetGroupName, TimeSpan,
    figures::{ExitFigure, ReasonFigure},
    rows::{MethodFigure, NodeFigure, PathFigure, Portion, TargetFigure, TypeFigure},
};

const HOSTILE: &str =
    "/\u{1b}[31m<!channel> @here http://evil.test *b* `c` [x](javascript:y)\r\n:smile:";

/// Every list full of the same hostile name.
fn figures(stranger: &str, many: usize) -> Figures {
    let name = || stranger.to_owned();
    let portion = Portion { requests: u64::MAX / 1000, failures: 1, lift: Some(123.45) };
    let time = Some(jiff::Timestamp::UNIX_EPOCH);
    let target = TargetFigure {
        target: name(),
        zone: Some(name()),
        portion,
        first_success: time,
        last_success: time,
        first_failure: time,
        last_failure: time,
    };
    let exit = ExitFigure {
        target: name(),
        time: jiff::Timestamp::UNIX_EPOCH,
        closed: u64::MAX / 2,
        refused_after: 1,
    };
    let estimate = KeepAliveEstimate { low: 4.9, best: 5.0, high: 5.2, gaps: 38 };
    Figures {
        paths: vec![name(); many],
        bad_targets: vec![name(); many],
        keep_alive_timers: vec![KeepAliveTimer { estimate, targets: vec![name(); many] }; 3],
        targets: vec![target; many],
        paths_by_failures: vec![PathFigure { path: name(), portion }; many],
        methods: vec![MethodFigure { method: name(), portion }; many],
        nodes: vec![NodeFigure { node: name(), zone: Some(name()), portion }; many],
        types: vec![TypeFigure { kind: name(), portion }; many],
        error_reasons: vec![ReasonFigure { error_reason: name(), failures: 1 }; many],
        exits: vec![exit; many],
        probes: vec![probed::tests::probe(stranger, stranger); many],
        ..Figures::default()
    }
}

pub(crate) fn diagnosis(stranger: &str, words: &str, many: usize) -> Diagnosis {
    let statement = Statement::counted(40, 41, words);
    let time = jiff::Timestamp::UNIX_EPOCH;
    Diagnosis {
        schema_version: "1",
        tool_version: "0.1.0",
        incident_id: "alb502-0123456789ab".to_owned(),
        kind: Kind::Spike,
        phase: Phase::Opened,
        status: None,
        severity: Severity::Warning,
        summary: format!("shop-web: {words}"),
        text: format!("shop-web: {words}"),
        load_balancer: LoadBalancerName {
            id: "app/shop/0123456789abcdef".to_owned(),
            name: "shop".to_owned(),
            arn: Some(
                "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/shop/01"
                    .to_owned(),
            ),
            account: Some("123456789012".to_owned()),
            region: Some("eu-west-1".to_owned()),
        },
        target_group: Some(TargetGroupName {
            name: stranger.to_owned(),
            arn: "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-web/01"
                .to_owned(),
        }),
        window: TimeSpan { start: time, end: time },
        requests: 2539,
        failures: 40,
        elb_502: 40,
        target_502: 0,
        connect_504: 0,
        idle_504: 0,
        intentional_502: 0,
        rate: 40.0 / 2539.0,
        causes: vec![RankedCause {
            id: "keepalive-race".to_owned(),
            title: words.to_owned(),
            why_healthy: None,
            confidence: Confidence::High,
            share: 1.0,
            evidence: vec![statement.clone(); many],
            against: vec![statement; many],
            fixes: vec![Fix::with(words, "aws elbv2 x"); many],
        }],
        checks: vec![CheckResult {
            id: "target-health",
            outcome: CheckOutcome::Fail,
            summary: words.to_owned(),
            resource: Some(stranger.to_owned()),
            command: Some("aws elbv2 describe-target-health".to_owned()),
            fix_command: None,
        }],
        why_healthy: Some(words.to_owned()),
        facts: figures(stranger, many),
        gaps: vec![
            Gap { fact: words.to_owned(), reason: words.to_owned(), permission: None };
            many
        ],
        samples: vec![Sample {
            time,
            method: Some(stranger.to_owned()),
            path: Some(stranger.to_owned()),
            target: Some(stranger.to_owned()),
            times: [Some(0.001), Some(0.018), Some(-1.0)],
            trace_id: Some(stranger.to_owned()),
            object: stranger.to_owned(),
        }],
        partial: Some("some could not be read".to_owned()),
        parser: ParserReport { lines: 1, entries: 1, malformed: 0, unknown_fields: 0, objects: 1 },
        objects: vec![
            ObjectReport {
                name: stranger.to_owned(),
                kind: "access log".to_owned(),
                node: None,
                lines: 1,
                entries: 1,
                malformed: 0,
                error: Some("damaged".to_owned()),
            };
            many
        ],
    }
}

pub(super) fn schema() -> &'static jsonschema::Validator {
    static VALIDATOR: std::sync::OnceLock<jsonschema::Validator> = std::sync::OnceLock::new();
    VALIDATOR
        .get_or_init(|| jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap())
}

/// The schema of the chat notification, which refuses what it does not name.
fn chat_schema() -> &'static jsonschema::Validator {
    static VALIDATOR: std::sync::OnceLock<jsonschema::Validator> = std::sync::OnceLock::new();
    VALIDATOR.get_or_init(|| {
        jsonschema::validator_for(&serde_json::from_str(chat::SCHEMA).unwrap()).unwrap()
    })
}

/// What holds for the chat, whoever wrote what is in it.
pub(super) fn check_chat(message: &Notification, https_body: HttpsBody) {
    let bodies = bodies(message);
    let machine: Value = serde_json::from_str(&bodies["lambda"]).unwrap();
    let mut said = vec![(machine["text"].clone(), chat::MAX_TEXT)];
    if https_body == HttpsBody::Chat {
        let chat: Value = serde_json::from_str(&bodies["https"]).unwrap();
        if let Err(error) = chat_schema().validate(&chat) {
            panic!("{error}: {chat:#}");
        }
        let content = &chat["content"];
        said.push((content["title"].clone(), chat::MAX_TITLE));
        said.push((chat["metadata"]["summary"].clone(), chat::MAX_TITLE));
        said.push((content["description"].clone(), chat::MAX_DESCRIPTION));
        let list = |list: &Value, max| {
            list.as_array().unwrap().iter().cloned().map(|it| (it, max)).collect::<Vec<_>>()
        };
        said.extend(list(&content["nextSteps"], chat::MAX_NEXT_STEP));
        said.extend(list(&content["keywords"], chat::MAX_KEYWORD));
    }
    for (text, max) in said {
        let text = text.as_str().unwrap();
        assert!(neutralize::utf16_length(text) <= max, "{max}: {text}");
        // Slack knows three escapes; anything else behind an ampersand, and any < or >, is markup.
        for (at, _) in text.match_indices('&') {
            let is_escape = ["&amp;", "&lt;", "&gt;"].iter().any(|it| text[at..].starts_with(it));
            assert!(is_escape, "{text}");
        }
        assert!(!text.contains(['<', '>', '@', '\u{1b}', '\r']), "{text}");
        assert!(!text.contains("http://") && !text.contains("https://"), "{text}");
        assert!(text.matches("```").count().is_multiple_of(2), "{text}");
    }
}

pub(super) fn bodies(notification: &Notification) -> BTreeMap<String, String> {
    serde_json::from_str(&notification.message).unwrap()
}

#[test]
fn every_protocol_has_its_body() {
    let notification = render(&diagnosis("/a", "Words.", 2), HttpsBody::Chat);
    let bodies = bodies(&notification);
    let keys: Vec<&str> = bodies.keys().map(String::as_str).collect();
    assert_eq!(keys, ["default", "email", "email-json", "http", "https", "lambda", "sqs"]);
    let machine: Value = serde_json::from_str(&bodies["sqs"]).unwrap();
    assert!(schema().is_valid(&machine));
    let chat: Value = serde_json::from_str(&bodies["https"]).unwrap();
    assert_eq!((&chat["version"], &chat["source"]), (&json!("1.0"), &json!("custom")));
    assert_eq!(chat["metadata"]["threadId"], machine["incident_id"]);
    let other = render(&diagnosis("/a", "Words.", 2), HttpsBody::Json);
    assert_eq!(self::bodies(&other)["https"], bodies["sqs"]);
    assert!(notification.attributes.len() <= 10);
    assert_eq!(notification.attributes["cause"], "keepalive-race");
}

#[test]
fn the_schema_refuses_what_is_wrong() {
    let right = serde_json::to_value(diagnosis("/a", "Words.", 1)).unwrap();
    assert!(schema().is_valid(&right));
    for (pointer, wrong) in [
        ("/kind", json!("wave")),
        ("/rate", json!(1.5)),
        ("/failures", json!(-1)),
        ("/incident_id", json!("alb502-x")),
        ("/causes", json!([])),
        ("/checks/0/outcome", json!("ok")),
        ("/window/start", json!("yesterday")),
    ] {
        let mut value = right.clone();
        *value.pointer_mut(pointer).unwrap() = wrong;
        assert!(!schema().is_valid(&value), "{pointer}");
    }
}

#[test]
fn the_chat_schema_refuses_what_the_service_would() {
    let right = chat::notification(&diagnosis("/a", "Words.", 1));
    assert!(chat_schema().is_valid(&right));
    let long = |length| json!("a".repeat(length));
    for (pointer, fits, wrong) in [
        ("/version", json!("1.0"), json!(1.0)),
        ("/source", json!("custom"), json!("alb502")),
        ("/content/textType", json!("client-markdown"), json!("markdown")),
        ("/content/title", long(250), long(251)),
        ("/content/description", long(8000), long(8001)),
        ("/content/nextSteps/0", long(350), long(351)),
        ("/content/keywords/0", long(75), long(76)),
        ("/metadata/relatedResources/0", json!("arn:aws:x"), json!("http://evil.test")),
        ("/metadata/additionalContext/window", json!("a"), json!("a b")),
    ] {
        for (value, is_valid) in [(fits, true), (wrong, false)] {
            let mut notification = right.clone();
            *notification.pointer_mut(pointer).unwrap() = value;
            assert_eq!(chat_schema().is_valid(&notification), is_valid, "{pointer}");
        }
    }
    for object in ["", "/content", "/metadata"] {
        let mut notification = right.clone();
        notification.pointer_mut(object).unwrap()["color"] = json!("red");
        assert!(!chat_schema().is_valid(&notification), "{object}");
    }
}

#[test]
fn hostile_text_stays_text() {
    let notification = render(&diagnosis(HOSTILE, "Words.", 1), HttpsBody::Chat);
    let bodies = bodies(&notification);
    let email = &bodies["email"];
    assert!(!email.contains('\u{1b}') && !email.contains('\r'), "{email}");
    assert!(!email.contains("http://") && !email.contains("@here") && !email.contains(":smile:"));
    let chat: Value = serde_json::from_str(&bodies["https"]).unwrap();
    for text in [&chat["content"]["title"], &chat["content"]["description"]] {
        let text = text.as_str().unwrap();
        assert!(!text.contains("<!") && !text.contains("@here"), "{text}");
    }
    for keyword in chat["content"]["keywords"].as_array().unwrap() {
        assert!(!keyword.as_str().unwrap().contains('<'));
    }
    check_chat(&notification, HttpsBody::Chat);
    check_chat(&render(&diagnosis("/a", HOSTILE, 100), HttpsBody::Chat), HttpsBody::Chat);
    assert!(!notification.subject.contains(['\r', '\n', '\u{1b}']));
    // A relay takes plain messages with these letters for a payload of its own.
    let short = &self::bodies(&render(
        &diagnosis("x", "plaintext attachments", 1),
        HttpsBody::Chat,
    ))["default"];
    assert!(!short.contains("text") && !short.contains("attachments"), "{short}");
}

#[test]
fn a_huge_diagnosis_still_fits_and_is_valid() {
    for (many, length) in [(50, 200), (100, 2_000)] {
        let words = "long \"words\" ".repeat(length / 12);
        let notification = render(&diagnosis(&words, &words, many), HttpsBody::Chat);
        assert!(notification.message.len() < 256 * 1024, "{}", notification.message.len());
        let machine: Value = serde_json::from_str(&bodies(&notification)["sqs"]).unwrap();
        assert!(schema().is_valid(&machine));
        check_chat(&notification, HttpsBody::Chat);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_strangers_write(stranger in ".{0,300}", words in "[a-zA-Z ,.<>_*-]{1,300}") {
        let notification = render(&diagnosis(&stranger, &words, 2), HttpsBody::Chat);
        prop_assert!(notification.subject.len() <= subject::MAX_SUBJECT);
        prop_assert!(notification.subject.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        let email = &bodies(&notification)["email"];
        for line in email.lines() {
            let is_command = line.trim_start().starts_with("$ ");
            let is_one_word = line.split_whitespace().count() <= 3;
            prop_assert!(line.width() <= 78 || is_command || is_one_word, "{line:?}");
            prop_assert!(!line.contains("://"));
        }
        let machine: Value = serde_json::from_str(&bodies(&notification)["lambda"]).unwrap();
        prop_assert!(schema().is_valid(&machine));
        check_chat(&notification, HttpsBody::Chat);
    }
}
