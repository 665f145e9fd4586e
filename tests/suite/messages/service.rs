//! Amazon Q Developer in chat applications: what it would take, and what the channel would show.

use alb502::{neutralize::utf16_length, notification::chat, numbers::count};
use serde_json::Value;

use super::SENT;

/// A reader that refuses what it does not know, as the service may one day.
fn channel(message: &str) -> Result<Value, String> {
    let schema = serde_json::from_str(chat::SCHEMA).unwrap();
    let value: Value = serde_json::from_str(message).map_err(|error| error.to_string())?;
    jsonschema::validate(&schema, &value).map_err(|error| error.to_string())?;
    Ok(value)
}

#[test]
fn the_service_takes_every_message_and_shows_what_matters() {
    for sent in SENT.iter() {
        let shown = channel(&sent.body("https")).unwrap_or_else(|it| panic!("{}: {it}", sent.from));
        let (content, it) = (&shown["content"], &sent.diagnosis);
        let text = |name: &str| content[name].as_str().unwrap();
        // The limits are of characters; whoever counts units of UTF-16 finds them kept as well.
        assert!(utf16_length(text("title")) <= chat::MAX_TITLE, "{}", sent.from);
        assert!(utf16_length(text("description")) <= chat::MAX_DESCRIPTION, "{}", sent.from);
        let number = count(it.failures.max(it.intentional_502));
        assert!(text("title").contains(&number), "{number}: {}", text("title"));
        assert!(!text("title").ends_with("..."), "cut: {}", text("title"));
        assert!(text("description").contains(&*it.causes[0].id), "{}", sent.from);
        if let Some(status) = &it.status {
            let word = status.split([' ', ':', ',']).next().unwrap();
            assert!(text("description").starts_with(&format!("*Status*: {word}")), "{}", sent.from);
        }
        let steps = content["nextSteps"].as_array().unwrap();
        let fixes = it.causes.iter().map(|cause| cause.fixes.len()).sum::<usize>();
        assert_eq!(steps.len(), fixes.min(5), "{}", sent.from);
        assert_eq!(shown["metadata"]["threadId"], it.incident_id, "one incident, one thread");
        let resources = shown["metadata"]["relatedResources"].as_array().unwrap().len();
        let known = usize::from(it.load_balancer.arn.is_some());
        assert_eq!(resources, known + usize::from(it.target_group.is_some()), "{}", sent.from);
    }
}

#[test]
fn the_service_does_not_take_the_other_bodies() {
    let sent = &SENT[0];
    for protocol in ["email", "lambda", "sms"] {
        assert!(channel(&sent.body(protocol)).is_err(), "{protocol}");
    }
}
