//! Diagnosis → messages: email, chat, machine form, and the one document that SNS is given; the HTML
//! report of the command line.

pub mod chat;
pub mod html;
pub mod subject;
pub mod text;

mod course;
mod damaged;
mod fit;
mod probed;
pub(crate) mod wrap;

use std::collections::BTreeMap;

use serde_json::json;

use crate::diagnosis::{Diagnosis, Kind, Severity};
use crate::neutralize;

/// The JSON Schema (2020-12) of the machine form.
pub const SCHEMA: &str = include_str!("schema.json");

/// What https subscribers of the topic get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpsBody {
    /// The Amazon Q Developer custom notification.
    Chat,
    /// The machine form.
    Json,
}

/// One message, ready for `sns:Publish`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// ASCII, fewer than 100 characters, no line break.
    pub subject: String,
    /// The document of `MessageStructure=json`: one body for each protocol, every one a string.
    pub message: String,
    /// Message attributes for filter policies, at most 10, all of type String.
    pub attributes: BTreeMap<String, String>,
    /// The email: what a person reads.
    pub text: String,
    /// The machine form.
    pub json: String,
}

/// Renders a diagnosis for every reader at once. The result is below 256 KiB, whatever the incident.
pub fn render(diagnosis: &Diagnosis, https_body: HttpsBody) -> Notification {
    fit::fit(diagnosis, |diagnosis| render_whole(diagnosis, https_body))
}

fn render_whole(diagnosis: &Diagnosis, https_body: HttpsBody) -> Notification {
    let text = text::text(diagnosis);
    let published = Diagnosis { text: chat::text(diagnosis), ..diagnosis.clone() };
    // In the order of the fields, not of the alphabet: whoever shows it as it is shows the answer first.
    let json = neutralize::json(&serde_json::to_string(&published).unwrap_or_default());
    let https = match https_body {
        HttpsBody::Chat => chat::notification(diagnosis).to_string(),
        HttpsBody::Json => json.clone(),
    };
    let message = json!({
        "default": short(diagnosis),
        "email": text,
        "email-json": json,
        "http": json,
        "https": https,
        "lambda": json,
        "sqs": json,
    });
    Notification {
        subject: subject::subject(diagnosis),
        message: message.to_string(),
        attributes: attributes(diagnosis),
        text,
        json: neutralize::json(&serde_json::to_string_pretty(&published).unwrap_or_default())
            + "\n",
    }
}

/// For protocols without a form of their own, such as SMS. A common relay to Slack takes any plain
/// message with the letters "text" or "attachments" in it for a Slack payload and fails, so they do not
/// occur.
fn short(diagnosis: &Diagnosis) -> String {
    let first = diagnosis.causes.first().and_then(|cause| cause.fixes.first());
    let fix = first.map_or(String::new(), |fix| format!(" Do: {}", fix.text));
    let short = neutralize::cut(&neutralize::line(&format!("{}{fix}", diagnosis.summary)), 600);
    short.replace("text", "te-xt").replace("attachments", "attach-ments")
}

/// For filter policies.
fn attributes(diagnosis: &Diagnosis) -> BTreeMap<String, String> {
    let word = |value: &str| {
        let word: String =
            value.chars().filter(|c| c.is_ascii_alphanumeric() || "-_./:".contains(*c)).collect();
        (!word.is_empty()).then(|| word.chars().take(256).collect::<String>())
    };
    let severity = match diagnosis.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let kind = match diagnosis.kind {
        Kind::Spike => "spike",
        Kind::Trickle => "trickle",
    };
    let group = diagnosis.target_group.as_ref();
    [
        ("severity", Some(severity)),
        ("kind", Some(kind)),
        ("phase", Some(diagnosis.phase.as_str())),
        ("cause", diagnosis.causes.first().map(|cause| cause.id.as_str())),
        ("load_balancer", Some(diagnosis.load_balancer.name.as_str())),
        ("target_group", group.map(|group| group.name.as_str())),
        ("account", diagnosis.load_balancer.account.as_deref()),
        ("region", diagnosis.load_balancer.region.as_deref()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), word(value?)?)))
    .collect()
}

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod whole_messages;
