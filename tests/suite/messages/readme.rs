//! The README shows messages as people see them: `UPDATE_EXPECT=1 cargo test --test suite` writes them.

use std::{fs, path::Path};

use serde_json::Value;

use super::{SENT, Sent};
use crate::tidy;

const END: &str = "<!-- end of the message -->";

/// An incident that is told for the first time, by a function that has looked at the configuration.
fn example() -> &'static Sent {
    let is_it = |it: &&Sent| it.from == "connect-refused, one object at a time";
    SENT.iter().find(is_it).unwrap()
}

/// Slack's markdown in that of the README, where a line that follows another is the same paragraph.
fn as_quote(slack: &str) -> String {
    let mut quote = String::new();
    let (mut is_code, mut was_item) = (false, false);
    for line in slack.trim_end().lines() {
        let is_fence = line == "```";
        let item = line.strip_prefix("• ");
        let continues = is_code || quote.is_empty() || (was_item && item.is_some());
        if !continues {
            quote.push_str(">\n");
        }
        let line = match item {
            _ if is_code || is_fence => plain(line),
            Some(item) => format!("- {}", inline(item)),
            None => inline(line),
        };
        (is_code, was_item) = (is_code ^ is_fence, item.is_some());
        quote.push_str(&format!("> {line}\n"));
    }
    quote
}

/// Without the escapes of Slack.
fn plain(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// `*bold*` at the beginning of a line, which is where it stands; `_italic_` is the same in both.
fn inline(line: &str) -> String {
    let Some(rest) = line.strip_prefix('*') else { return line.to_owned() };
    let (bold, rest) = rest.split_once('*').unwrap();
    format!("**{bold}**{rest}")
}

/// What the channel shows: title, description, next steps, keywords.
fn card(message: &Value) -> String {
    let content = &message["content"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |name: &str| content[name].as_array().unwrap().iter().map(text).collect::<Vec<_>>();
    let mut card = format!("> **{}**\n>\n", text(&content["title"]));
    card.push_str(&as_quote(&text(&content["description"])));
    card.push_str(">\n> **Next steps**\n");
    for step in list("nextSteps") {
        card.push_str(&format!("> - {step}\n"));
    }
    let keywords: Vec<String> = list("keywords").iter().map(|it| format!("`{it}`")).collect();
    card.push_str(&format!(">\n> {}\n", keywords.join(" ")));
    card
}

/// Subject and beginning of an email, up to the evidence.
fn beginning(sent: &Sent) -> String {
    let email = &sent.message.text;
    let end = email.find("\n  For\n").unwrap();
    format!("```text\nSubject: {}\n\n{}\n  ...\n```\n", sent.message.subject, &email[..end])
}

/// Holds a block of the README to what is sent.
fn check(name: &str, expected: &str) {
    let begin = format!("<!-- {name}: written by a test -->\n");
    let readme = tidy::read("README.md");
    let (before, rest) = readme.split_once(&begin).unwrap_or_else(|| panic!("no block {name}"));
    let (block, after) = rest.split_once(END).unwrap();
    if block == expected {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_EXPECT").is_some(),
        "the README's block {name} should be:\n{expected}"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    fs::write(path, format!("{before}{begin}{expected}{END}{after}")).unwrap();
}

/// One test for all blocks: two would write the file at the same time.
#[test]
fn the_readme_shows_a_message_in_slack_and_as_an_email() {
    let sent = example();
    check("in Slack", &card(&sent.json("https")));
    check("from a relay", &as_quote(sent.json("lambda")["text"].as_str().unwrap()));
    check("by email", &beginning(sent));
}
