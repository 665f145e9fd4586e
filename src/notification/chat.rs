//! What stands in a chat: the custom notification of Amazon Q Developer in chat applications (formerly
//! AWS Chatbot), which brings a message from SNS to Slack and Microsoft Teams, and the text for relays of
//! one's own.
//!
//! Source of the shape and of the four limits of a field:
//! <https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html>. It does not say what a
//! character is: here it is a unit of UTF-16, the most that a service counts for one.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::neutralize::{chat, code, cut, plain, utf16_length};
use crate::{
    diagnosis::{CheckOutcome, Confidence, Diagnosis, Fix, Kind, RankedCause, Severity},
    numbers::percent,
};

/// The JSON Schema (2020-12) of the custom notification, with the limits of the service. It is stricter
/// than the service: whatever it does not name is refused.
pub const SCHEMA: &str = include_str!("chat.schema.json");

/// Characters of a title.
pub const MAX_TITLE: usize = 250;
/// Characters of a description.
pub const MAX_DESCRIPTION: usize = 8000;
/// Characters of a next step.
pub const MAX_NEXT_STEP: usize = 350;
/// Characters of a keyword.
pub const MAX_KEYWORD: usize = 75;
/// Characters of the text for relays: what Slack takes in one section block, the tightest of the places
/// where a relay may put it. The `text` of a message may have 4,000 before Slack may break it into several,
/// and is cut after 40,000. Sources: <https://docs.slack.dev/reference/block-kit/blocks/section-block> and
/// <https://api.slack.com/changelog/2018-04-truncating-really-long-messages>
pub const MAX_TEXT: usize = 3000;

/// How many next steps are worth reading in a chat.
const NEXT_STEPS: usize = 5;

/// The custom notification.
pub fn notification(diagnosis: &Diagnosis) -> Value {
    let description = description(diagnosis);
    let steps: Vec<String> = fixes(diagnosis).map(|fix| step(fix, &description)).collect();
    let mut keywords = vec!["alb502".to_owned(), diagnosis.load_balancer.name.clone()];
    keywords.extend(diagnosis.target_group.iter().map(|group| group.name.clone()));
    keywords.extend(diagnosis.causes.iter().take(3).map(|cause| cause.id.clone()));
    let mut keywords: Vec<String> =
        keywords.iter().map(|keyword| cut(&chat(&plain(keyword)), MAX_KEYWORD)).collect();
    // An ARN without a name has none to show, and the service takes no empty keyword.
    keywords.retain(|keyword| !keyword.is_empty());
    let resources: Vec<&str> = diagnosis
        .load_balancer
        .arn
        .as_deref()
        .into_iter()
        .chain(diagnosis.target_group.as_ref().map(|group| group.arn.as_str()))
        .filter(|arn| is_arn(arn))
        .collect();
    json!({
        "version": "1.0",
        "source": "custom",
        "id": diagnosis.incident_id,
        "content": {
            "textType": "client-markdown",
            "title": title(diagnosis),
            "description": description,
            "nextSteps": steps,
            "keywords": keywords,
        },
        "metadata": {
            "threadId": diagnosis.incident_id,
            "summary": cut(&chat(&diagnosis.summary), MAX_TITLE),
            "eventType": match diagnosis.kind {
                Kind::Spike => "Alb502Spike",
                Kind::Trickle => "Alb502Trickle",
            },
            "relatedResources": resources,
            "additionalContext": {
                "window": format!("{}/{}", diagnosis.window.start, diagnosis.window.end),
            },
            "enableCustomActions": false,
        },
    })
}

/// The text for relays that hand a top-level `text` to Slack, in Slack's markdown: the answer, what to do
/// with the commands, and as much of the rest as fits into [`MAX_TEXT`].
pub fn text(diagnosis: &Diagnosis) -> String {
    let mut out = Pieces::new(MAX_TEXT);
    out.push(&format!("{}\n", title(diagnosis)));
    status(diagnosis, &mut out);
    for (number, fix) in (1..).zip(fixes(diagnosis)) {
        let mut piece = if number == 1 { "*Do*\n".to_owned() } else { String::new() };
        let block = fix.command.as_deref().map(block);
        let shown = block.as_deref().unwrap_or_default();
        let _ = writeln!(piece, "{number}. {}", step(fix, shown));
        piece.push_str(shown);
        out.push(&piece);
    }
    for it in diagnosis.causes.iter().take(3) {
        cause(it, &mut out);
    }
    rest(diagnosis, &mut out);
    out.finish()
}

/// The first line, with a sign of how bad it is.
fn title(diagnosis: &Diagnosis) -> String {
    let sign = match diagnosis.severity {
        Severity::Critical => ":rotating_light:",
        Severity::Warning => ":warning:",
        Severity::Info => ":information_source:",
    };
    cut(&format!("{sign} {}", chat(&diagnosis.summary)), MAX_TITLE)
}

fn fixes(diagnosis: &Diagnosis) -> impl Iterator<Item = &Fix> {
    diagnosis.causes.iter().flat_map(|cause| &cause.fixes).take(NEXT_STEPS)
}

/// What to do. A step with a command says where that is, unless it follows: `shown` is what stands above,
/// or the command itself.
fn step(fix: &Fix, shown: &str) -> String {
    let text = chat(&fix.text);
    let block = fix.command.as_deref().map(block).unwrap_or_default();
    if block == shown || block.is_empty() {
        return cut(&text, MAX_NEXT_STEP);
    }
    let place = if shown.contains(&block) { "above" } else { "in the email" };
    let end = format!(" (The command is {place}.)");
    let text = text.strip_suffix(':').map_or_else(|| text.clone(), |text| format!("{text}."));
    cut(&text, MAX_NEXT_STEP - end.len()) + &end
}

/// Names of AWS, and nothing that a row might hold in their place.
fn is_arn(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b":/-_.".contains(&byte);
    text.starts_with("arn:") && text.len() <= MAX_NEXT_STEP && text.bytes().all(is_part)
}

/// What stands at the end when not everything fits.
const MORE: &str = "... more in the email.\n";

/// Pieces that are shown whole or not at all, so that no fence and no escape is cut open.
struct Pieces {
    text: String,
    /// Characters that may still follow, besides [`MORE`].
    room: usize,
    is_full: bool,
}

impl Pieces {
    fn new(max: usize) -> Self {
        Self { text: String::new(), room: max.saturating_sub(MORE.len()), is_full: false }
    }

    fn push(&mut self, piece: &str) {
        match self.room.checked_sub(utf16_length(piece)) {
            Some(room) if !self.is_full => {
                self.text.push_str(piece);
                self.room = room;
            }
            _ => self.is_full = true,
        }
    }

    fn finish(mut self) -> String {
        if self.is_full {
            self.text.push_str(MORE);
        }
        self.text
    }
}

/// Characters of one sentence in a chat; a cause with all its sentences then fits.
const MAX_SENTENCE: usize = 600;

fn sentence(text: &str) -> String {
    cut(&chat(text), MAX_SENTENCE)
}

/// A command that can be copied as a whole.
fn block(command: &str) -> String {
    format!("```\n{}\n```\n", code(command))
}

fn description(diagnosis: &Diagnosis) -> String {
    let mut out = Pieces::new(MAX_DESCRIPTION);
    status(diagnosis, &mut out);
    for it in diagnosis.causes.iter().take(3) {
        cause(it, &mut out);
        if let Some(command) = it.fixes.iter().find_map(|fix| fix.command.as_deref()) {
            out.push(&block(command));
        }
    }
    rest(diagnosis, &mut out);
    out.finish()
}

fn status(diagnosis: &Diagnosis, out: &mut Pieces) {
    if let Some(status) = &diagnosis.status {
        out.push(&format!("*Status*: {}\n", sentence(status)));
    }
    if let Some(partial) = &diagnosis.partial {
        out.push(&format!("*Partial*: {}\n", sentence(partial)));
    }
}

fn cause(cause: &RankedCause, out: &mut Pieces) {
    let confidence = match cause.confidence {
        Confidence::High => "high",
        Confidence::Medium => "medium",
        Confidence::Low => "low",
    };
    out.push(&format!(
        "*{}* ({confidence} confidence, {} of the failures): {}\n",
        sentence(&cause.id),
        percent(cause.share),
        sentence(&cause.title)
    ));
    for statement in cause.evidence.iter().take(5) {
        out.push(&format!("• {}\n", sentence(&statement.text)));
    }
    for statement in cause.against.iter().take(2) {
        out.push(&format!("• _Against:_ {}\n", sentence(&statement.text)));
    }
}

fn rest(diagnosis: &Diagnosis, out: &mut Pieces) {
    for check in diagnosis.checks.iter().filter(|check| check.outcome == CheckOutcome::Fail) {
        out.push(&format!("*Check {}*: {}\n", check.id, sentence(&check.summary)));
    }
    if let Some(why) = &diagnosis.why_healthy {
        out.push(&format!("*Why Healthy all the same*: {}\n", sentence(why)));
    }
    if !diagnosis.gaps.is_empty() {
        let mut facts: Vec<&str> = diagnosis.gaps.iter().map(|gap| gap.fact.as_str()).collect();
        facts.dedup();
        out.push(&format!("*Could not be seen*: {}\n", sentence(&facts.join(", "))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::tests::diagnosis;

    #[test]
    fn a_long_description_ends_between_two_pieces() {
        let mut diagnosis = diagnosis("/a", &"a < b & c ".repeat(100), 9);
        for fix in &mut diagnosis.causes[0].fixes {
            fix.command = Some("aws elbv2 x --y '<NAME>' \\\n  --z 1".to_owned());
        }
        let first = diagnosis.causes[0].clone();
        diagnosis.causes.resize(3, first);
        let notification = notification(&diagnosis);
        let text = notification["content"]["description"].as_str().unwrap();
        assert!(text.chars().count() <= MAX_DESCRIPTION);
        assert!(text.ends_with(MORE), "{text}");
        assert!(text.matches("```").count().is_multiple_of(2), "{text}");
        assert!(text.contains("--y '&lt;NAME&gt;' \\\n  --z 1\n```"), "{text}");
        assert_eq!(text.matches('&').count(), text.matches(';').count());
    }

    #[test]
    fn a_step_says_where_its_command_is() {
        let mut diagnosis = diagnosis("/a", "Words.", 1);
        diagnosis.causes[0].fixes = vec![
            Fix::with("See the one:", "aws elbv2 one"),
            Fix::with("See the other:", "aws elbv2 other"),
            Fix::new("Wait."),
        ];
        assert_eq!(
            notification(&diagnosis)["content"]["nextSteps"],
            json!([
                "See the one. (The command is above.)",
                "See the other. (The command is in the email.)",
                "Wait."
            ])
        );
        let text = text(&diagnosis);
        let steps = "*Do*\n1. See the one:\n```\naws elbv2 one\n```\n\
                     2. See the other:\n```\naws elbv2 other\n```\n3. Wait.\n";
        assert!(text.contains(steps), "{text}");
    }

    #[test]
    fn what_is_no_arn_is_no_resource() {
        let mut diagnosis = diagnosis("/a", "Words.", 1);
        let resources = |it: &Diagnosis| {
            notification(it)["metadata"]["relatedResources"].as_array().unwrap().len()
        };
        assert_eq!(resources(&diagnosis), 2);
        diagnosis.target_group.as_mut().unwrap().arn = "arn:aws:<!channel>".to_owned();
        assert_eq!(resources(&diagnosis), 1);
        diagnosis.load_balancer.arn = Some("http://evil.test".to_owned());
        assert_eq!(resources(&diagnosis), 0);
    }

    #[test]
    fn a_name_becomes_no_link_among_the_keywords() {
        let notification = notification(&diagnosis("http://evil.test", "Words.", 1));
        let keywords = notification["content"]["keywords"].to_string();
        assert!(keywords.contains("http(:)//evil(.)test"), "{keywords}");
    }

    #[test]
    fn a_target_group_without_a_name_is_no_keyword() {
        let notification = notification(&diagnosis("", "Words.", 1));
        let keywords = &notification["content"]["keywords"];
        assert_eq!(*keywords, json!(["alb502", "shop", "keepalive-race"]));
    }
}
