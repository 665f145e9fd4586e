//! What a person at a terminal sees.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

const KEY: &str = "123456789012_elasticloadbalancing_eu-west-1_app.shop.0123456789abcdef_\
                   20261120T1205Z_192.0.2.1_abc.log";

pub(crate) fn alb502(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_alb502"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .output()
        .unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Rows of one target group: the second of each ten is refused.
pub(crate) fn log(rows: usize) -> String {
    (0..rows)
        .map(|row| {
            let time = format!("2026-11-20T12:0{}:{:02}", row / 60 % 5, row % 60);
            let (times, status) = match row % 10 {
                1 => ("-1 -1 -1", "502 -"),
                _ => ("0.001 0.018 0.000", "200 200"),
            };
            format!(
                "http {time}.020000Z app/shop/0123456789abcdef 198.51.100.7:40000 10.0.0.1:8080 \
                 {times} {status} 200 300 \"GET http://shop.example.com:80/a HTTP/1.1\" \"curl/8\" - - \
                 arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-web/0123 \
                 \"Root=1-0-{row}\" \"-\" \"-\" 0 {time}.000000Z \"forward\" \"-\" \"-\"\n"
            )
        })
        .collect()
}

fn folder_with(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    (folder, path)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_file_and_its_folder_give_the_same_answer() {
    let (folder, path) = folder_with(KEY, log(100));
    for path in [text(&path), text(folder.path())] {
        let output = alb502(&["diagnose", path]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let said = stdout(&output);
        let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.starts_with("shop-web: The target refuses connections"), "{said}");
        assert!(said.contains("10 of 100 requests"), "{said}");
        assert!(words.contains("It is not your security group"), "{said}");
    }
}

/// A report of `alb502 probe`, of the target in [`log`] or another.
fn report(address: &str, connect: &str, findings: &str) -> String {
    format!(
        r#"{{"schema_version": "1", "time": "2026-11-20T12:03:10Z", "idle_timeout_seconds": 60,
            "target": {{"address": "{address}", "port": 8080, "method": "GET", "path": "/health"}},
            "connect": {{"outcome": "{connect}"}}, "findings": [{findings}]}}"#
    )
}

#[test]
fn a_probe_is_evidence_and_the_message_says_so() {
    let (folder, path) = folder_with(KEY, log(100));
    let probe = folder.path().join("probe.json");
    let diagnosed = |content: &str| {
        fs::write(&probe, content).unwrap();
        let output = alb502(&["diagnose", text(&path), "--probe", text(&probe)]);
        let said = stdout(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        (output.status.code(), said, stderr(&output))
    };
    let refused = r#"{"cause": "connect-refused", "would_be": "502", "certainty": "documented",
        "why": "Nothing listens."}"#;
    let (code, said, _) = diagnosed(&report("10.0.0.1", "refused", refused));
    assert_eq!(code, Some(0));
    let words = "A probe at 12:03 UTC of 10.0.0.1:8080 (GET /health) shows it: Nothing listens.";
    assert!(said.contains(words), "{said}");
    let line = "Probe 10.0.0.1:8080 at 2026-11-20 12:03 UTC: the connection was refused; \
                connect-refused would be a 502.";
    assert!(said.contains(line), "{said}");
    let (_, said, _) = diagnosed(&report("10.0.0.1", "connected", ""));
    assert!(said.contains("(GET /health) could connect, from where it ran."), "{said}");
    let other = r#"{"cause": "host-unreachable", "would_be": "502", "certainty": "documented",
        "why": "No route."}"#;
    let (_, said, _) = diagnosed(&report("10.0.0.1", "unreachable", other));
    assert!(said.contains("found something else, host-unreachable: No route."), "{said}");
    let (_, said, warned) = diagnosed(&report("10.0.9.9", "refused", refused));
    assert!(!said.contains("A probe"), "{said}");
    let warned = warned.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = "10.0.9.9:8080 is no target of an incident in this log; it is not used. Probe a target by \
                 the address that the log has: 10.0.0.1:8080";
    assert!(warned.ends_with(words), "{warned}");
    // Of many targets those with the most failures are named.
    let rows = log(100);
    let rows = rows.lines().enumerate().map(|(row, line)| {
        line.replace("10.0.0.1:8080", &format!("10.0.0.{}:8080", row / 10 % 5 + 1)) + "\n"
    });
    fs::write(&path, rows.collect::<String>()).unwrap();
    let (.., warned) = diagnosed(&report("127.0.0.1", "refused", refused));
    let warned = warned.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = "10.0.0.1:8080, 10.0.0.2:8080, 10.0.0.3:8080 or one of 2 more targets";
    assert!(warned.ends_with(words), "{warned}");
}

#[test]
fn a_probe_that_cannot_be_true_is_refused() {
    let (folder, path) = folder_with(KEY, log(100));
    let probe = folder.path().join("probe.json");
    for (content, why) in [
        ("{}".to_owned(), "no report of a probe (it has no schema_version)"),
        (report("10.0.0.1", "healthy", ""), "no report of a probe ("),
        (report("10.0.0.1", "connected", "").replace("\"1\"", "\"2\""), "schema_version 2 is not"),
        (report("10.0.0.1", "connected", "").replace("60", "86400"), "an idle timeout of 86400 s"),
    ] {
        fs::write(&probe, content).unwrap();
        let output = alb502(&["diagnose", text(&path), "--probe", text(&probe)]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(2), String::new()));
        let error = stderr(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(error.contains(why), "{error}");
    }
    let output = alb502(&["diagnose", text(&path), "--probe", "/dev/zero"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("larger than 16 MB"), "{}", stderr(&output));
}

#[test]
fn a_probe_without_an_incident_is_named_in_every_format() {
    let (folder, path) = folder_with(KEY, log(1));
    let probe = folder.path().join("probe.json");
    let many: String = (1..=7).map(|n| report(&format!("10.0.0.{n}"), "refused", "")).collect();
    fs::write(&probe, many).unwrap();
    let named = "--probe of 10.0.0.1:8080, 10.0.0.2:8080, 10.0.0.3:8080, 10.0.0.4:8080, 10.0.0.5:8080 and \
                 2 more targets: there is no incident in this log";
    for format in ["text", "json", "html"] {
        let output =
            alb502(&["diagnose", text(&path), "--probe", text(&probe), "--format", format]);
        assert_eq!(output.status.code(), Some(0));
        let warned = stderr(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(warned.contains(named), "{warned}");
        assert_eq!(stdout(&output).contains(named), format == "html");
    }
}

#[test]
fn what_a_probe_measured_is_in_the_json_and_in_the_page() {
    let (folder, path) = folder_with(KEY, log(100));
    let probe = folder.path().join("probe.json");
    let refused = r#"{"cause": "connect-refused", "would_be": "502", "certainty": "documented",
        "why": "Nothing <listens>."}"#;
    let both = report("10.0.0.1", "refused", refused) + &report("10.0.9.9", "connected", "");
    fs::write(&probe, both).unwrap();
    let diagnosed = |format: &str| {
        let arguments = ["diagnose", text(&path), "--probe", text(&probe), "--format", format];
        stdout(&alb502(&arguments))
    };
    let document: Value = serde_json::from_str(&diagnosed("json")).unwrap();
    let probes = &document["diagnoses"][0]["facts"]["probes"];
    assert_eq!(
        *probes,
        serde_json::json!([{
            "target": "10.0.0.1:8080", "time": "2026-11-20T12:03:10Z", "method": "GET",
            "path": "/health", "idle_timeout_seconds": 60, "connect": "refused", "tls": null,
            "status": null, "response_valid": null, "keep_alive_seconds": null,
            "held_seconds": null,
            "findings": [{
                "cause": "connect-refused", "would_be": "502", "certainty": "documented",
                "why": "Nothing <listens>."
            }]
        }])
    );
    let page = diagnosed("html");
    for part in
        ["<h3>Probe</h3>", "The connection was refused", "would be a 502", "&lt;listens&gt;"]
    {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn json_is_for_machines_and_valid() {
    let (_folder, path) = folder_with(KEY, log(100));
    let output = alb502(&["diagnose", text(&path), "--format", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let schema = serde_json::from_str(alb502::notification::SCHEMA).unwrap();
    let diagnosis = &document["diagnoses"][0];
    assert!(jsonschema::validator_for(&schema).unwrap().is_valid(diagnosis), "{diagnosis}");
    assert_eq!(diagnosis["causes"][0]["id"], "connect-refused");
    assert_eq!(diagnosis["load_balancer"]["account"], "123456789012");
    assert_eq!(document["objects"][0]["node"], "192.0.2.1");
    assert_eq!(document["objects"][0]["entries"], 100);
}

#[test]
fn a_quiet_log_says_so_and_prints_no_diagnoses() {
    let healthy = log(100).replace("-1 -1 -1 502 -", "0.001 0.018 0.000 200 200");
    let (_folder, path) = folder_with(KEY, healthy);
    let output = alb502(&["diagnose", text(&path), "--fail-on-incident"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).starts_with("No incident: 0 of 100 requests failed"));
    let output = alb502(&["diagnose", text(&path), "--format", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["diagnoses"], serde_json::json!([]));
}

#[test]
fn html_is_one_page_on_the_output_or_in_a_file() {
    let (folder, path) = folder_with(KEY, log(100));
    let output = alb502(&["diagnose", text(&path), "--format", "html"]);
    assert_eq!((output.status.code(), &*stderr(&output)), (Some(0), ""));
    let page = stdout(&output);
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"), "{page}");
    assert!(page.contains("<h2>The target refuses connections</h2>"), "{page}");

    let file = folder.path().join("report.html");
    let output = alb502(&["diagnose", text(&path), "--format", "html", "--output", text(&file)]);
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(0), ""));
    assert_eq!(stderr(&output), format!("written: {}\n", file.display()));
    assert_eq!(fs::read_to_string(&file).unwrap(), page);
    // Any form can go to a file, and the exit code is that of the diagnosis.
    let arguments = ["diagnose", text(&path), "-o", text(&file), "--fail-on-incident"];
    assert_eq!(alb502(&arguments).status.code(), Some(3));
    assert!(fs::read_to_string(&file).unwrap().starts_with("shop-web: "));
}

#[test]
fn a_quiet_log_has_a_page_that_says_so() {
    let healthy = log(100).replace("-1 -1 -1 502 -", "0.001 0.018 0.000 200 200");
    let (_folder, path) = folder_with(KEY, healthy);
    let page = stdout(&alb502(&["diagnose", text(&path), "--format", "html"]));
    assert!(page.contains("<h2>No incident: 0 of 100 requests failed (0 %).</h2>"), "{page}");
}

#[test]
fn exit_codes_say_what_happened() {
    let (folder, path) = folder_with(KEY, log(100));
    let damaged = folder.path().join("damaged.log.gz");
    fs::write(&damaged, [0x1f, 0x8b, 8, 0, 0]).unwrap();
    for (arguments, code) in [
        (vec!["diagnose", text(&path)], 0),
        (vec!["diagnose", text(&path), "--fail-on-incident"], 3),
        (vec!["diagnose", text(&damaged)], 1),
        (vec!["parse", text(&damaged)], 1),
        (vec!["diagnose", "/no/such/folder"], 2),
        (vec!["diagnose", text(&path), "--min-errors", "0"], 2),
        (vec!["diagnose", text(&path), "--min-error", "5"], 2),
        (vec!["diagnose"], 2),
        (vec!["--version"], 0),
        (vec!["help", "diagnose"], 0),
    ] {
        let output = alb502(&arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn wrong_use_says_what_would_be_right() {
    let (folder, path) = folder_with(KEY, log(1));
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let event = folder.path().join("event.json");
    fs::write(&event, "not json").unwrap();
    for (arguments, said) in [
        (vec!["diagnose", "/no/such"], "Give access-log files (.log, .log.gz) or folders"),
        (vec!["diagnose", text(&empty)], "no file in this folder ends in .log or .gz"),
        (vec!["diagnose", text(&path), "--snapshot", "/no/such"], "/no/such"),
        (
            vec!["diagnose", text(&path), "--rate-percent", "x"],
            "allowed is a number from 0.001 to 100",
        ),
        (vec!["diagnose", text(&path), "--fromat", "json"], "--format"),
        (vec!["diagnose", text(&path), "-o", "/no/such/report.html"], "a folder that is there"),
        (vec!["diagnose", text(&path), "-o", text(&empty)], "give a file"),
        (vec!["invoke", text(&event), "--local", text(&empty)], "not JSON"),
        (vec!["invoke", "/no/such.json", "--local", text(&empty)], "Give a file with an event"),
        (vec!["invoke", "events/s3-test-event.json", "--local", "/no/such"], "no such folder"),
    ] {
        let output = alb502(&arguments);
        let error = stderr(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(error.contains(said), "{arguments:?}: {error}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
}

/// The command with a log on its standard input.
fn fed(arguments: &[&str], bytes: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_alb502"))
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn a_log_comes_from_standard_input_plain_or_gzip() {
    let (_folder, path) = folder_with("access.log", log(100));
    let of_file = stdout(&alb502(&["diagnose", text(&path)]));
    let rows = stdout(&alb502(&["parse", text(&path)]));
    for bytes in [log(100).into_bytes(), gzip(&log(100))] {
        let output = fed(&["diagnose", "-"], &bytes);
        assert_eq!((output.status.code(), &*stderr(&output)), (Some(0), ""));
        assert_eq!(stdout(&output), of_file);
        let output = fed(&["parse", "-"], &bytes);
        assert_eq!((output.status.code(), stdout(&output)), (Some(0), rows.clone()));
        let output = fed(&["rehearse", "-"], &bytes);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains("1 message"), "{}", stdout(&output));
    }
    let cut = gzip(&log(100));
    let output = fed(&["diagnose", "-"], &cut[..cut.len() - 20]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: standard input: the gzip ends before"));
    let output = fed(&["diagnose", "-"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("standard input: the object holds no lines"));
}

#[test]
fn standard_input_is_read_as_it_comes() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_alb502"))
        .args(["parse", "-"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    // More than any buffer between here and there: rows come out before the input ends.
    let (seen, is_seen) = std::sync::mpsc::channel();
    let writer = std::thread::spawn(move || {
        input.write_all(log(2000).as_bytes()).unwrap();
        is_seen.recv().unwrap();
    });
    let mut row = String::new();
    output.read_line(&mut row).unwrap();
    assert!(row.starts_with('{'), "{row}");
    seen.send(()).unwrap();
    assert_eq!(output.lines().count(), 1999);
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_quiet_log_says_what_came_nearest_and_how_to_have_it_told() {
    let made = log(300).replace("-1 -1 -1 502 -", "0.001 0.018 0.000 200 200");
    // Three refused of 300 in one window.
    let mut rows: Vec<String> = made.lines().map(ToOwned::to_owned).collect();
    for row in [1, 5, 9] {
        rows[row] = rows[row].replace("0.001 0.018 0.000 200 200", "-1 -1 -1 502 -");
    }
    let (_folder, path) = folder_with(KEY, rows.join("\n") + "\n");
    let said = stdout(&alb502(&["diagnose", text(&path), "--rate-percent", "2"]));
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let nearest = "Closest: shop-web, 3 of 300 requests (1 %) in 2026-11-20 12:00 to 12:05 UTC; a message \
                   takes 5 failures and 2 %. To have it diagnosed, add --min-errors 3 --rate-percent 1;";
    assert!(words.contains(nearest), "{said}");
    assert!(words.contains("alb502 rehearse"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 78), "{said}");
    let arguments = ["--min-errors", "3", "--rate-percent", "1", "--fail-on-incident"];
    let told = alb502(&[&["diagnose", text(&path)], &arguments[..]].concat());
    assert_eq!(told.status.code(), Some(3), "{}", stdout(&told));
    // Without a failure nothing is near, and that is said.
    let (_folder, path) = folder_with(KEY, made);
    let said = stdout(&alb502(&["diagnose", text(&path)]));
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!words.contains("Closest"), "{said}");
    assert!(words.contains("No request failed, so no target group came near"), "{said}");
    assert!(
        words.contains("of 2026-11-20 12:00 to 12:05 UTC: give the log of that time"),
        "{said}"
    );
}

/// A log whose failed rows ended otherwise.
fn ended(times_and_status: &str) -> String {
    log(300).replace("-1 -1 -1 502 -", times_and_status)
}

#[test]
fn errors_that_are_no_502_are_told_and_not_called_no_failure() {
    let said = |log: String, arguments: &[&str]| {
        let (_folder, path) = folder_with(KEY, log);
        let output = alb502(&[&["diagnose", text(&path)], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let said = stdout(&output);
        assert!(said.lines().all(|line| line.chars().count() <= 78), "{said}");
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let idle = ["--include-idle-timeout-504=false"];
    for (row, arguments, line, step) in [
        (
            "-1 -1 -1 503 -",
            &[][..],
            "30 x 503 without a target's answer (elb_503)",
            "look at its targets",
        ),
        (
            "0.001 0.018 0.000 500 500",
            &[],
            "30 x other 5xx by targets (target_5xx)",
            "the application",
        ),
        (
            "-1 -1 -1 464 -",
            &[],
            "30 x 464, the protocol of the request",
            "30 of 300 requests ended",
        ),
        ("0.001 -1 -1 504 -", &idle, "30 x 504 after the idle", "--include-idle-timeout-504"),
    ] {
        let said = said(ended(row), arguments);
        assert!(
            said.starts_with("No incident: 0 of 300 requests failed (0 %) as alb502 counts"),
            "{said}"
        );
        for words in
            [line, step, "no 504 after the connect timeout; but 30 of 300 requests ended with"]
        {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(!said.contains("No request failed"), "{said}");
    }
    // What nothing counts is no proof that all went well.
    let own = said(ended("-1 -1 -1 561 -"), &[]);
    assert!(own.contains("30 requests got no answer of a target"), "{own}");
    assert!(own.contains("they are among these or outside of these rows"), "{own}");
    // Beside a few failures they are told as well.
    let mut few = ended("-1 -1 -1 503 -").replacen("-1 -1 -1 503 -", "-1 -1 -1 502 -", 1);
    let beside = said(few.clone(), &[]);
    assert!(beside.contains("Closest: shop-web, 1 of 300"), "{beside}");
    assert!(
        beside.contains("Beside these, 29 of 300 requests ended with another error"),
        "{beside}"
    );
    few = few.replace("-1 -1 -1 503 -", "0.001 0.018 0.000 404 404");
    let alone = said(few, &["--trickle-per-million", "1000000"]);
    assert!(!alone.contains("another error"), "{alone}");
    assert!(alone.contains("5 failures and 1,000,000 per million within a day"), "{alone}");
    let said =
        said(ended("0.001 0.018 0.000 404 404"), &["--min-errors", "1", "--trickle-errors", "1"]);
    assert!(said.contains("No request failed"), "{said}");
    assert!(
        said.contains("1 failure and 1 % of its requests within five minutes, or 1 failure and"),
        "{said}"
    );
}

#[test]
fn one_failure_and_two_read_as_such() {
    let ended = ended("0.001 0.018 0.000 200 200");
    for (failures, words) in
        [(1, "The one failure:"), (2, "Both failures:"), (3, "All 3 failures:")]
    {
        let mut left = failures;
        let rows = ended.lines().map(|row| {
            let is_failed = 0 < left && row.contains("Root=1-0-1");
            left -= i32::from(is_failed);
            let ending = if is_failed { "-1 -1 -1 502 -" } else { "0.001 0.018 0.000 200 200" };
            row.replace("0.001 0.018 0.000 200 200", ending) + "\n"
        });
        let (_folder, path) = folder_with(KEY, rows.collect::<String>());
        let thresholds = ["--min-errors", "1", "--rate-percent", "0.1"];
        let said = stdout(&alb502(&[&["diagnose", text(&path)], &thresholds[..]].concat()));
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_copy_of_a_file_is_named_and_not_counted_again() {
    let (folder, path) = folder_with("a.log.gz", log(100));
    let at = |name: &str| folder.path().join(name);
    fs::copy(&path, at("b.log.gz")).unwrap();
    // Of the same size, and another log.
    fs::write(at("c.log"), log(100)).unwrap();
    fs::write(at("d.log"), log(100).replace("T12:", "T13:")).unwrap();
    let output = alb502(&["diagnose", text(&at("a.log.gz")), text(&at("b.log.gz"))]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("10 of 100 requests"), "{}", stdout(&output));
    let warned = stderr(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    let (a, b) = (at("a.log.gz"), at("b.log.gz"));
    let words =
        format!("warning: {} is the same as {} and is not counted again", text(&b), text(&a));
    assert_eq!(warned, words);
    let output = alb502(&["diagnose", text(&at("c.log")), text(&at("d.log")), "--format", "json"]);
    assert_eq!(stderr(&output), "");
    let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(document["objects"].as_array().unwrap().len(), 2);
    let lines: Vec<&Value> =
        document["objects"].as_array().unwrap().iter().map(|it| &it["lines"]).collect();
    assert_eq!(lines, [100, 100]);
}

#[test]
fn a_variable_that_is_not_known_stops_the_commands_that_have_settings() {
    let (folder, path) = folder_with(KEY, log(100));
    let with = |arguments: &[&str], name: &str, value: &str| {
        Command::new(env!("CARGO_BIN_EXE_alb502"))
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_clear()
            .env(name, value)
            .output()
            .unwrap()
    };
    let event = ["invoke", "events/s3-test-event.json", "--local", text(folder.path())];
    let logs = text(&path);
    for arguments in [&["diagnose", logs][..], &["rehearse", logs], &event] {
        let output = with(arguments, "ALB502_MIN_ERROR", "7");
        assert_eq!((output.status.code(), &*stdout(&output)), (Some(2), ""));
        let said = stderr(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            said.starts_with("error: environment variable ALB502_MIN_ERROR (it is \"7\")"),
            "{said}"
        );
        assert!(said.contains("Did you mean ALB502_MIN_ERRORS?"), "{said}");
        let output = with(arguments, "ALB502_LOG", "foo");
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(said.contains("ALB502_LOG is \"foo\"; allowed is trace, debug"), "{said}");
        for (name, value) in [("ALB502_LOG", "warn"), ("ALB502_TABLE", "x"), ("ALB503_X", "1")] {
            assert_eq!(with(arguments, name, value).status.code(), Some(0), "{name}");
        }
    }
    assert_eq!(with(&["parse", logs], "ALB502_MIN_ERROR", "7").status.code(), Some(0));
}

#[test]
fn a_setting_comes_from_flag_then_environment_then_default() {
    let (_folder, path) = folder_with(KEY, log(100));
    let with = |variable: &str, arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_alb502"))
            .args(["diagnose", text(&path)])
            .args(arguments)
            .env_clear()
            .env("ALB502_MIN_ERRORS", variable)
            // What is no spike would be a trickle.
            .env("ALB502_TRICKLE_ERRORS", "1000")
            .output()
            .unwrap();
        stdout(&output).starts_with("No incident")
    };
    assert!(!with("10", &[]));
    assert!(with("11", &[]));
    assert!(!with("11", &["--min-errors", "10"]));
}

#[test]
fn what_stays_below_the_threshold_is_told_as_a_trickle() {
    let day: String = (0..9)
        .map(|hour| {
            let made = log(120).replace("-1 -1 -1 502 -", "0.001 0.018 0.000 502 502");
            let answered = made.replace("502 502", "200 200");
            // One failure an hour.
            let (first, rest) = (made.lines().take(2), answered.lines().skip(2));
            first
                .chain(rest)
                .fold(String::new(), |rows, row| rows + row + "\n")
                .replace("2026-11-20T12:", &format!("2026-11-20T{:02}:", 10 + hour))
        })
        .collect();
    let (_folder, path) = folder_with(KEY, day);
    let output = alb502(&["diagnose", text(&path), "--fail-on-incident"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let said = stdout(&output).replace('\n', " ");
    assert!(said.contains(" in 8 hours, about 1 an hour. "), "{said}");
    assert!(said.contains("Severity       info, a trickle"), "{said}");
    for (raised, shown) in [
        (["--trickle-errors", "10"], "10 failures "),
        (["--trickle-per-million", "9000"], "9,000 per million "),
    ] {
        let output = alb502(&[&["diagnose", text(&path)], &raised[..]].concat());
        let said = stdout(&output);
        assert!(said.starts_with("No incident: 9 of 1,080 requests failed"), "{said}");
        assert!(said.contains(shown), "{said}");
    }
}

#[test]
fn parse_prints_entries_and_names_bad_lines() {
    let (_folder, path) = folder_with("x.log", format!("{}oops\n", log(2)));
    let output = alb502(&["parse", text(&path)]);
    assert_eq!(output.status.code(), Some(0));
    let lines: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["target_ip"], "10.0.0.1");
    assert_eq!(lines[1]["target_status_code"], Value::Null);
    assert!(stderr(&output).contains("line 3"), "{}", stderr(&output));
}

#[test]
fn other_logs_in_a_folder_are_passed_over_and_named_when_asked_for() {
    let connection = "2026-11-20T12:00:00.000000Z 198.51.100.7 40000 443 TLSv1.3 \
                      TLS_AES_128_GCM_SHA256 0.003 \"-\" - - - TID_0\n";
    let (folder, path) = folder_with(&format!("conn_log_{KEY}"), connection);
    fs::write(folder.path().join(KEY), log(100)).unwrap();
    let output = alb502(&["diagnose", text(folder.path())]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("10 of 100 requests"));
    let output = alb502(&["diagnose", text(&path)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("connection log"), "{}", stderr(&output));
}

#[test]
fn the_demo_prints_what_the_readme_shows() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["s3", "aws"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("events/local").join(part);
        copy(&from, &folder.path().join(part));
    }
    let event = "events/s3-keepalive-race.json";
    let output = alb502(&["invoke", event, "--local", text(folder.path())]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let shown = readme.split("```text\n").nth(1).and_then(|it| it.split("```").next()).unwrap();
    let said = stdout(&output);
    assert!(said.starts_with(shown.trim_end()), "the README should open with:\n{said}");
    let lines = stderr(&output);
    let log: Vec<Value> = lines
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let read: Vec<&Value> = log.iter().filter(|line| line["message"] == "object read").collect();
    assert_eq!(read.len(), 10, "one line per object");
    assert!(read.iter().all(|line| line["entries"].is_u64() && line["duration_ms"].is_u64()));
    let mut written: Vec<String> = fs::read_dir(folder.path().join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    written.sort();
    assert_eq!(written.len(), 4, "{written:?}");
    assert_eq!(written[3], "metrics.jsonl");
    let metrics = fs::read_to_string(folder.path().join("out/metrics.jsonl")).unwrap();
    let metrics: Vec<Value> =
        metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let objects = metrics.iter().filter_map(|it| it["Objects"].as_u64()).sum::<u64>();
    assert_eq!(objects, 10);
    assert!(metrics.iter().all(|it| it["Function"] == "alb502 invoke"));
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
