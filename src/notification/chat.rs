//! The custom notification of Amazon Q Developer in chat applications (formerly AWS Chatbot), which
//! brings a message from SNS to Slack and Microsoft Teams.
//!
//! Source: <https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html>

use serde_json::{Value, json};

use crate::neutralize::{chat, code, cut, plain};
use crate::{
    diagnosis::{CheckOutcome, Confidence, Diagnosis, Kind, Severity},
    numbers::percent,
};

/// Characters of a title.
pub const MAX_TITLE: usize = 250;
/// Characters of a description.
pub const MAX_DESCRIPTION: usize = 8000;
/// Characters of a next step.
pub const MAX_NEXT_STEP: usize = 350;
/// Characters of a keyword.
pub const MAX_KEYWORD: usize = 75;

/// How many next steps are worth reading in a chat.
const NEXT_STEPS: usize = 5;

/// The notification.
pub fn notification(diagnosis: &Diagnosis) -> Value {
    let sign = match diagnosis.severity {
        Severity::Critical => ":rotating_light:",
        Severity::Warning => ":warning:",
        Severity::Info => ":information_source:",
    };
    let steps: Vec<String> = diagnosis
        .causes
        .iter()
        .flat_map(|cause| &cause.fixes)
        .take(NEXT_STEPS)
        .map(|fix| cut(&chat(&fix.text), MAX_NEXT_STEP))
        .collect();
    let mut keywords = vec!["alb502".to_owned(), diagnosis.load_balancer.name.clone()];
    keywords.extend(diagnosis.target_group.iter().map(|group| group.name.clone()));
    keywords.extend(diagnosis.causes.iter().take(3).map(|cause| cause.id.clone()));
    let keywords: Vec<String> =
        keywords.iter().map(|keyword| cut(&chat(&plain(keyword)), MAX_KEYWORD)).collect();
    let resources: Vec<&str> = diagnosis
        .load_balancer
        .arn
        .as_deref()
        .into_iter()
        .chain(diagnosis.target_group.as_ref().map(|group| group.arn.as_str()))
        .collect();
    json!({
        "version": "1.0",
        "source": "custom",
        "id": diagnosis.incident_id,
        "content": {
            "textType": "client-markdown",
            "title": cut(&format!("{sign} {}", chat(&diagnosis.summary)), MAX_TITLE),
            "description": description(diagnosis),
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

/// What stands at the end when not everything fits.
const MORE: &str = "... more in the email.\n";

/// Pieces that are shown whole or not at all, so that no fence and no escape is cut open.
#[derive(Default)]
struct Description {
    text: String,
    chars: usize,
    is_full: bool,
}

impl Description {
    fn push(&mut self, piece: &str) {
        let chars = piece.chars().count();
        self.is_full |= MAX_DESCRIPTION < self.chars + chars + MORE.len();
        if !self.is_full {
            self.text.push_str(piece);
            self.chars += chars;
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

fn description(diagnosis: &Diagnosis) -> String {
    let mut out = Description::default();
    if let Some(status) = &diagnosis.status {
        out.push(&format!("*Status*: {}\n", sentence(status)));
    }
    if let Some(partial) = diagnosis.partial() {
        out.push(&format!("*Partial*: {}\n", sentence(&partial)));
    }
    for cause in diagnosis.causes.iter().take(3) {
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
        if let Some(command) = cause.fixes.iter().find_map(|fix| fix.command.as_deref()) {
            out.push(&format!("```\n{}\n```\n", code(command)));
        }
    }
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
    out.finish()
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
    fn a_name_becomes_no_link_among_the_keywords() {
        let notification = notification(&diagnosis("http://evil.test", "Words.", 1));
        let keywords = notification["content"]["keywords"].to_string();
        assert!(keywords.contains("http(:)//evil(.)test"), "{keywords}");
    }
}
