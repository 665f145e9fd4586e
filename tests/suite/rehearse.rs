//! `alb502 rehearse`: which messages history would have caused.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{
    command_line::{alb502, copy},
    library::{folders, library, name, scenario},
    tidy,
};

const W: i64 = 300;

/// Rows of a five-minute window of one target group, spread over it.
fn rows(hour: i64, window: i64, requests: i64, failures: i64) -> String {
    (0..requests)
        .map(|row| {
            let second = window * W + row * W / requests;
            let time = format!(
                "2026-11-20T{:02}:{:02}:{:02}",
                hour + second / 3600,
                second / 60 % 60,
                second % 60
            );
            // The failures lie among the others.
            let is_failed = row * failures / requests != (row + 1) * failures / requests;
            let ending = if is_failed { "-1 -1 -1 502 -" } else { "0.001 0.018 0.000 200 200" };
            format!(
                "http {time}.020000Z app/shop/0123456789abcdef 198.51.100.7:40000 10.0.0.1:8080 \
                 {ending} 200 300 \"GET http://shop.example.com:80/a HTTP/1.1\" \"curl/8\" - - \
                 arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-web/0123 \
                 \"Root=1-{window}-{row}\" \"-\" \"-\" 0 {time}.000000Z \"forward\" \"-\" \"-\"\n"
            )
        })
        .collect()
}

/// The object of one node and window that begins at 12:00 and so many windows later.
fn object(folder: &Path, node: u8, window: i64, content: &str) {
    let end = 12 * 60 + (window + 1) * 5;
    let name = format!(
        "123456789012_elasticloadbalancing_eu-west-1_app.shop.0123456789abcdef_\
         20261120T{:02}{:02}Z_192.0.2.{node}_{window}.log",
        end / 60,
        end % 60
    );
    fs::write(folder.join(name), content).unwrap();
}

/// An hour and a half; windows 6 and 7 fail at both nodes.
fn incident(folder: &Path, last: i64) {
    for window in 0..=last {
        for node in [1, 2] {
            let failures = if [6, 7].contains(&window) { 10 } else { 0 };
            object(folder, node, window, &rows(12, window, 100, failures));
        }
    }
}

fn rehearse(folder: &Path, arguments: &[&str]) -> (Value, String) {
    let path = folder.to_str().unwrap();
    let json = alb502(&[&["rehearse", path, "--format", "json"], arguments].concat());
    let text = alb502(&[&["rehearse", path], arguments].concat());
    let stderr = String::from_utf8_lossy(&json.stderr);
    assert_eq!((json.status.code(), &*stderr), (Some(0), ""), "{}", folder.display());
    let text = String::from_utf8(text.stdout).unwrap();
    for line in text.lines() {
        assert!(line.chars().count() <= 78, "{line}");
    }
    (serde_json::from_slice(&json.stdout).unwrap(), text)
}

fn told(report: &Value) -> Vec<String> {
    let messages = report["messages"].as_array().unwrap();
    let word = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
    messages.iter().map(|it| word(it, "phase") + " " + &word(it, "sent_at")[11..16]).collect()
}

#[test]
fn an_incident_is_opened_and_resolved_at_the_time_it_would_have_been() {
    let folder = tempfile::tempdir().unwrap();
    incident(folder.path(), 17);
    let (report, text) = rehearse(folder.path(), &[]);
    // Window 6 ends at 12:35; windows 8 to 10 are quiet and complete ten minutes after 12:55.
    let phases = told(&report);
    assert_eq!(phases.len(), 2, "{text}");
    assert!(["opened 12:36", "opened 12:37"].contains(&&*phases[0]), "{phases:?}");
    assert!(["resolved 13:06", "resolved 13:07"].contains(&&*phases[1]), "{phases:?}");
    let [opened, resolved] = [&report["messages"][0], &report["messages"][1]];
    assert_eq!(opened["incident_id"], resolved["incident_id"]);
    assert_eq!(opened["cause"]["id"], "connect-refused");
    assert_eq!((&resolved["failures"], &resolved["requests"]), (&40.into(), &400.into()));
    assert_eq!(report["schema_version"], "1");
    let totals = &report["totals"];
    assert_eq!((&totals["windows"], &totals["quiet_windows"]), (&18.into(), &16.into()));
    assert_eq!(totals["by_day"], serde_json::json!([{"day": "2026-11-20", "messages": 2}]));
    assert_eq!(report["still_open"], serde_json::json!([]));
    for part in [
        "History     2026-11-20 12:00 to 2026-11-20 13:30 UTC: 1 load balancer, 36\n",
        "shop-web of shop\n                  connect-refused, ",
        "2 messages about 1 incident: 1 opened, 1 resolved.",
        "2026-11-20: 2.",
        "16 of 18 windows of a load balancer",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn what_is_open_at_the_end_is_said_and_nothing_is_made_up() {
    let folder = tempfile::tempdir().unwrap();
    // Until 13:00: the last object comes before the third quiet window is complete.
    incident(folder.path(), 11);
    let (report, text) = rehearse(folder.path(), &[]);
    assert_eq!(told(&report).len(), 1, "{text}");
    assert_eq!(report["still_open"][0]["incident_id"], report["messages"][0]["incident_id"]);
    assert!(text.contains("  Open      alb502-"), "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(", since 2026-11-20 12:30 UTC, when the history ends."), "{text}");
}

#[test]
fn below_the_thresholds_nothing_is_sent_and_the_nearest_window_is_named() {
    let folder = tempfile::tempdir().unwrap();
    incident(folder.path(), 17);
    // Both nodes: 20 of 200 in each of two windows.
    for (rate, messages) in [("10", 2), ("10.1", 0)] {
        let quiet = ["--rate-percent", rate, "--trickle-errors", "1000"];
        let (report, text) = rehearse(folder.path(), &quiet);
        assert_eq!(told(&report).len(), messages, "{text}");
    }
    let (report, text) =
        rehearse(folder.path(), &["--min-errors", "41", "--trickle-errors", "1000"]);
    assert_eq!(told(&report), [""; 0], "{text}");
    assert!(text.contains("\nNo message would have been sent.\n"), "{text}");
    let nearest = &report["nearest"];
    assert_eq!((&nearest["failures"], &nearest["requests"]), (&20.into(), &200.into()));
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("Below 20 of 200 requests failed (10 %) at 2026-11-20 12:30 UTC"),
        "{text}"
    );
    // The settings stand above it.
    assert!(text.contains("Thresholds  41 failures and 1 % "), "{text}");
    let surge = "or 50 failures and 10 times the rate of the hour before";
    assert!(words.contains(surge), "{text}");
}

#[test]
fn a_loose_file_comes_window_by_window() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let all: String = (0..18)
        .map(|window| rows(12, window, 200, if [6, 7].contains(&window) { 20 } else { 0 }))
        .collect();
    fs::write(&file, all + "oops\n").unwrap();
    let (report, text) = rehearse(folder.path(), &[]);
    let phases = told(&report);
    assert_eq!(phases.len(), 2, "{text}");
    assert!(["opened 12:36", "opened 12:37"].contains(&&*phases[0]), "{phases:?}");
    assert!(["resolved 13:06", "resolved 13:07"].contains(&&*phases[1]), "{phases:?}");
    assert_eq!(
        (&report["history"]["objects"], &report["history"]["rows"]),
        (&18.into(), &3600.into())
    );
    assert!(text.contains("1 line is no row"), "{text}");
}

#[test]
fn the_lambda_does_not_count_the_idle_timeout_unless_it_is_told_to() {
    let folder = library().join("idle-timeout/logs");
    let (report, _) = rehearse(&folder, &[]);
    assert_eq!(told(&report), [""; 0]);
    let (report, text) = rehearse(&folder, &["--include-idle-timeout-504"]);
    assert_eq!(report["messages"][0]["cause"]["id"], "idle-timeout", "{text}");
}

#[test]
fn an_object_that_is_there_twice_counts_once_and_a_damaged_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    incident(folder.path(), 17);
    let (once, _) = rehearse(folder.path(), &[]);
    let again = tempfile::tempdir().unwrap();
    copy(folder.path(), &again.path().join("a"));
    copy(folder.path(), &again.path().join("b"));
    let (twice, _) = rehearse(again.path(), &[]);
    assert_eq!(once, twice);

    object(folder.path(), 3, 9, "\x1f\u{8b}");
    let output = alb502(&["rehearse", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("192.0.2.3_9.log") && !said.contains("s3://"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("2 messages about 1 incident"));
}

/// In the library: what stays quiet for the function stays quiet here.
#[test]
fn no_scenario_that_should_be_quiet_causes_a_message() {
    let mut number = 0;
    for folder in folders() {
        if scenario(&folder).unwrap().first_cause.is_some() || name(&folder).contains("below") {
            continue;
        }
        let (report, text) = rehearse(&folder.join("logs"), &[]);
        assert_eq!(told(&report), [""; 0], "{}: {text}", name(&folder));
        number += 1;
    }
    assert!(8 <= number, "{number}");
}

#[test]
fn a_snapshot_makes_the_cause_surer() {
    let folder = library().join("blocked-port");
    let snapshot = folder.join("snapshot");
    let (report, text) =
        rehearse(&folder.join("logs"), &["--snapshot", snapshot.to_str().unwrap()]);
    let causes: Vec<&Value> =
        report["messages"].as_array().unwrap().iter().map(|it| &it["cause"]).collect();
    let expected = serde_json::json!({"id": "blocked-port", "confidence": "high"});
    assert!(!causes.is_empty() && causes.iter().all(|it| **it == expected), "{text}");
}

const BEGIN: &str = "<!-- rehearsal:begin (a test holds that this is what the second command prints) -->\n```text\n";
const END: &str = "```\n<!-- rehearsal:end -->";

/// `UPDATE_EXPECT=1 cargo test --test suite` writes it.
#[test]
fn the_readme_shows_a_rehearsal_of_the_sample() {
    let printed = alb502(&["rehearse", "events/local/s3", "--snapshot", "events/local/aws"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    let readme = tidy::read("README.md");
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (block, after) = rest.split_once(END).unwrap();
    if block != printed {
        assert!(
            std::env::var_os("UPDATE_EXPECT").is_some(),
            "the README's rehearsal should be:\n{printed}"
        );
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        fs::write(path, format!("{before}{BEGIN}{printed}{END}{after}")).unwrap();
    }
}
