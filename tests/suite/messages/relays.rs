//! Relays of one's own, from the topic to Slack: what they make of a message, and what a person reads.
//!
//! The common one is a Lambda function. It reads the message as JSON if it is that, knows the alarms and
//! events of AWS by their names, hands a message that holds `text` or `attachments` to Slack as it is, and
//! makes a table of any other. A message that is no JSON and holds these letters ends it: see
//! <https://github.com/terraform-aws-modules/terraform-aws-notify-slack/pull/123>.

use alb502::{
    diagnosis::{Diagnosis, Severity},
    neutralize::{chat, utf16_length},
};
use serde_json::{Map, Value, json};

use super::SENT;

/// Slack cuts a text that is longer.
/// Source: <https://api.slack.com/changelog/2018-04-truncating-really-long-messages>
const SLACK_CUTS: usize = 40_000;

/// Slack asks for no more, and may break a longer message into several. Source: the same page.
const SLACK_SPLITS: usize = 4_000;

/// A section block takes no more.
/// Source: <https://docs.slack.dev/reference/block-kit/blocks/section-block>
const SLACK_SECTION: usize = 3_000;

/// What Slack reads in the payload of a webhook: names that would change who says it, where, or how.
/// Source: <https://docs.slack.dev/reference/methods/chat.postMessage>
const SLACK_NAMES: [&str; 19] = [
    "attachments",
    "as_user",
    "blocks",
    "channel",
    "delete_original",
    "icon_emoji",
    "icon_url",
    "link_names",
    "markdown_text",
    "metadata",
    "mrkdwn",
    "parse",
    "reply_broadcast",
    "replace_original",
    "response_type",
    "thread_ts",
    "unfurl_links",
    "unfurl_media",
    "username",
];

/// What a relay posts to Slack.
#[derive(Debug)]
enum Posted {
    /// Its own payload with all of the message in it.
    Merged(Map<String, Value>),
    /// A table of what it found.
    Table,
}

/// The common relay.
fn relay(message: &str) -> Result<Posted, String> {
    let parsed: Option<Value> = serde_json::from_str(message).ok();
    // In a text it looks for letters, in an object for names.
    let holds = |name: &str| match &parsed {
        Some(Value::Object(object)) => object.contains_key(name),
        _ => message.contains(name),
    };
    if holds("AlarmName") {
        return Err("taken for an alarm".to_owned());
    }
    if parsed.as_ref().is_some_and(|it| !it["detail-type"].is_null()) {
        return Err("taken for an event of AWS".to_owned());
    }
    if !holds("text") && !holds("attachments") {
        return Ok(Posted::Table);
    }
    let Some(Value::Object(object)) = parsed else {
        return Err("a text cannot be merged into an object".to_owned());
    };
    let mut payload = Map::new();
    payload.insert("channel".to_owned(), json!("alerts"));
    payload.insert("username".to_owned(), json!("relay"));
    payload.extend(object);
    Ok(Posted::Merged(payload))
}

/// What a person reads in Slack: the text, without the escapes.
fn read(payload: &Map<String, Value>) -> String {
    let text = payload["text"].as_str().unwrap();
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[test]
fn the_relay_is_ended_by_plain_words_as_the_common_one_is() {
    for words in ["content-type text/html", "no attachments", "{\"text\": "] {
        relay(words).unwrap_err();
    }
    assert!(matches!(relay("plain words"), Ok(Posted::Table)));
    assert!(matches!(relay("{\"a\": \"text\"}"), Ok(Posted::Table)));
    assert!(matches!(relay("{\"text\": \"a\"}"), Ok(Posted::Merged(_))));
    relay("{\"text\": \"a\", \"AlarmName\": \"b\"}").unwrap_err();
    // An email may end it: a function must not get that body.
    let ends = |it: &&super::Sent| relay(&it.body("email")).is_err();
    assert!(4 <= SENT.iter().filter(ends).count());
}

/// The sign, the cause, the numbers, what to do: of any diagnosis.
fn check_text(from: &str, text: &str, it: &Diagnosis) {
    let sign = match it.severity {
        Severity::Critical => ":rotating_light: ",
        Severity::Warning => ":warning: ",
        Severity::Info => ":information_source: ",
    };
    let shown =
        |text: &str| chat(text).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    assert!(text.starts_with(&format!("{sign}{}\n", shown(&it.summary))), "{from}: {text}");
    assert!(text.contains(&*it.causes[0].id), "{from}: {text}");
    let failed = alb502::numbers::count(it.failures.max(it.intentional_502));
    assert!(text.contains(&failed), "{from}: {failed}: {text}");
    if let Some(fix) = it.causes.iter().find_map(|cause| cause.fixes.first()) {
        let begin: String = shown(&fix.text).chars().take(60).collect();
        assert!(text.contains(&format!("*Do*\n1. {begin}")), "{from}: {begin}: {text}");
        if let Some(command) = &fix.command {
            assert!(text.contains(&format!("\n```\n{command}\n```\n")), "{from}: {text}");
        }
    }
    if let Some(status) = &it.status {
        assert!(text.contains(&format!("\n*Status*: {}", shown(status))), "{from}: {text}");
    }
}

#[test]
fn a_relay_that_is_a_function_shows_the_answer_and_what_to_do() {
    for sent in SENT.iter() {
        let Ok(Posted::Merged(payload)) = relay(&sent.body("lambda")) else {
            panic!("{}: {:?}", sent.from, relay(&sent.body("lambda")))
        };
        assert_eq!(
            (&payload["channel"], &payload["username"]),
            (&json!("alerts"), &json!("relay"))
        );
        let escaped = payload["text"].as_str().unwrap();
        let length = utf16_length(escaped);
        for limit in [SLACK_SECTION, SLACK_SPLITS, SLACK_CUTS] {
            assert!(length <= limit, "{}: {length} of {limit}", sent.from);
        }
        // Between fences, in commands of ours, nothing becomes a link.
        let prose: String = escaped.split("```").step_by(2).collect();
        let has_link = prose.split("://").skip(1).any(|it| it.starts_with(char::is_alphanumeric));
        let has_markup = escaped.contains(['<', '>', '@']) || prose.contains(":smile:");
        assert!(!has_link && !has_markup, "{}: {escaped}", sent.from);
        check_text(&sent.from, &read(&payload), &sent.diagnosis);
    }
}

#[test]
fn nothing_in_a_message_tells_slack_who_says_it_or_where() {
    for sent in SENT.iter() {
        let body = sent.json("lambda");
        let names: Vec<&String> = body.as_object().unwrap().keys().collect();
        for name in &names {
            assert!(!SLACK_NAMES.contains(&name.as_str()), "{}: {name}", sent.from);
        }
        assert!(names.iter().any(|name| *name == "text"), "{}", sent.from);
    }
}

/// Relays behind a queue or a web server get the same.
#[test]
fn every_body_for_programs_is_the_same() {
    for sent in SENT.iter() {
        for protocol in ["sqs", "http", "email-json"] {
            assert_eq!(sent.body(protocol), sent.body("lambda"), "{}: {protocol}", sent.from);
        }
    }
}

/// Who knows nothing of JSON shows `Message` as it is, or its beginning: a person finds the answer there.
#[test]
fn a_reader_that_shows_the_message_as_it_is_shows_the_answer_first() {
    for sent in SENT.iter() {
        for protocol in ["https", "email-json", "http", "sms", "firehose"] {
            let message = sent.body(protocol);
            let is_short = utf16_length(&message) < SLACK_CUTS;
            assert!(is_short || protocol != "https", "{}: {}", sent.from, message.len());
            let answer = match protocol {
                "https" => sent.diagnosis.causes[0].id.clone(),
                "sms" | "firehose" => {
                    assert!(
                        matches!(relay(&message), Ok(Posted::Table)),
                        "{}: {message}",
                        sent.from
                    );
                    sent.diagnosis.summary.replace("text", "te-xt")
                }
                _ => serde_json::to_string(&sent.diagnosis.summary).unwrap(),
            };
            let beginning: String = match protocol {
                "https" => message,
                _ => message.chars().take(1_000).collect(),
            };
            assert!(beginning.contains(&answer), "{}, {protocol}: {beginning}", sent.from);
        }
    }
}
