//! What people get, in every form and at every stage of an incident: in Slack, through a relay, by email.

mod email;
mod readme;
mod relays;
mod service;

use std::{collections::BTreeSet, fmt::Write as _, sync::LazyLock};

use alb502::{
    diagnosis::{Diagnosis, Kind, Phase},
    notification::{HttpsBody, Notification, render},
};
use serde_json::Value;

use crate::{
    deliveries, handler, ledger_down,
    library::{LIBRARY, Object, diagnoses, objects, snapshot},
    merged,
};

/// A message and where it comes from.
pub(crate) struct Sent {
    /// Names it when a test fails.
    pub from: String,
    pub diagnosis: Diagnosis,
    pub message: Notification,
}

impl Sent {
    fn of(from: String, diagnosis: Diagnosis) -> Self {
        let message = render(&diagnosis, HttpsBody::Chat);
        Self { from, diagnosis, message }
    }

    /// What SNS gives to the subscribers of a protocol.
    pub(crate) fn body(&self, protocol: &str) -> String {
        let bodies: Value = serde_json::from_str(&self.message.message).unwrap();
        let body = bodies.get(protocol).or(bodies.get("default")).and_then(Value::as_str);
        body.unwrap().to_owned()
    }

    pub(crate) fn json(&self, protocol: &str) -> Value {
        serde_json::from_str(&self.body(protocol)).unwrap()
    }
}

/// Every message that tests look at.
pub(crate) static SENT: LazyLock<Vec<Sent>> = LazyLock::new(|| {
    let mut sent: Vec<Sent> = Vec::new();
    let mut add = |from: &str, told: Vec<Diagnosis>| {
        sent.extend(told.into_iter().map(|it| Sent::of(from.to_owned(), it)));
    };
    for told in LIBRARY.iter() {
        add(&told.name, told.diagnoses.clone());
    }
    for (name, told) in at_every_stage() {
        add(&format!("{name}, one object at a time"), told);
    }
    for (name, told) in in_words_of_slack() {
        add(&format!("{name}, in words of Slack"), told);
    }
    add("a long incident", deliveries::a_long_incident());
    add("a trickle of the function", handler::a_trickle());
    add("a damaged object", handler::a_damaged_object());
    add("the ledger is down", ledger_down::told_alone());
    sent
});

/// Scenarios that are delivered one object at a time, until they are over. Few, because each is diagnosed
/// anew with every object; with these there is every phase, and every kind of part that a message has.
const STAGES: [&str; 8] = [
    "blocked-port",
    "connect-refused",
    "crash-path",
    "keepalive-race-node",
    "malformed-two-paths",
    "rolling-deploy-still-going",
    "tls-handshake-without-snapshot",
    "worker-timeout",
];

fn at_every_stage() -> Vec<(String, Vec<Diagnosis>)> {
    let chosen = LIBRARY.iter().filter(|told| STAGES.contains(&told.name.as_str()));
    let stages: Vec<_> = chosen
        .map(|told| {
            let mut all = objects(&told.folder);
            let spike = told.diagnoses.iter().find(|it| it.kind == Kind::Spike).unwrap();
            let after = merged::healthy_after(&all, spike);
            all.extend(after);
            (told.name.clone(), merged::told_one_by_one(told, &all))
        })
        .collect();
    assert_eq!(stages.len(), STAGES.len());
    stages
}

/// Scenarios whose messages quote what clients sent.
const QUOTING: [&str; 8] = [
    "connect-refused",
    "crash-path",
    "keepalive-race-node",
    "lambda-invalid-response",
    "malformed-method",
    "malformed-two-paths",
    "target-generated",
    "worker-timeout-7",
];

/// The same rows, but the paths and user agents hold what Slack and its relays know: words, mentions,
/// markup, links.
fn in_words_of_slack() -> Vec<(String, Vec<Diagnosis>)> {
    let chosen = LIBRARY.iter().filter(|told| QUOTING.contains(&told.name.as_str()));
    let told: Vec<_> = chosen
        .map(|told| {
            let said: Vec<Object> = objects(&told.folder).iter().map(in_words).collect();
            let told_now = diagnoses(&said, snapshot(&told.folder).as_ref());
            assert!(!told_now.is_empty(), "{}", told.name);
            (told.name.clone(), told_now)
        })
        .collect();
    assert_eq!(told.len(), QUOTING.len());
    told
}

/// What no browser sends, and a stranger may.
const PATH: &str = "/text/attachments/<!channel>/@here/*b*/`c`/:smile:/\u{65e5}\u{672c}\u{1f600}";
const USER_AGENT: &str = "{'text': 'attachments'} <!here> text/html";

fn in_words(object: &Object) -> Object {
    let plain = String::from_utf8(object.plain().unwrap()).unwrap();
    let mut rows = String::new();
    for row in plain.lines() {
        let mut parts: Vec<String> = row.split('"').map(ToOwned::to_owned).collect();
        // The request, then the user agent. Behind the host stands the path.
        let host_end = parts[1]
            .find("://")
            .and_then(|at| parts[1][at + 3..].find('/').map(|slash| at + 3 + slash));
        if let Some(at) = host_end {
            parts[1].insert_str(at, PATH);
        }
        parts[3] = USER_AGENT.to_owned();
        writeln!(rows, "{}", parts.join("\"")).unwrap();
    }
    Object { name: object.name.clone(), bytes: rows.into_bytes() }
}

/// What follows looks at all there is.
#[test]
fn every_phase_and_kind_is_among_the_messages() {
    let phases: BTreeSet<&str> = SENT.iter().map(|it| it.diagnosis.phase.as_str()).collect();
    assert_eq!(phases, BTreeSet::from(["changed", "ongoing", "opened", "resolved"]));
    let count =
        |is: &dyn Fn(&Diagnosis) -> bool| SENT.iter().filter(|it| is(&it.diagnosis)).count();
    assert!(100 <= count(&|it| it.phase == Phase::Opened));
    assert!(3 <= count(&|it| it.kind == Kind::Trickle && it.status.is_none()));
    let begins = |it: &Diagnosis, words: &str| {
        it.status.as_ref().is_some_and(|status| status.starts_with(words))
    };
    assert!(1 <= count(&|it| begins(it, "told at most once a day")));
    assert!(1 <= count(&|it| begins(it, "alone: ")));
    assert!(1 <= count(&|it| it.partial.is_some()));
    let quoting =
        |it: &&Sent| it.from.ends_with("words of Slack") && it.message.text.contains("/text");
    assert!(4 <= SENT.iter().filter(quoting).count());
}
