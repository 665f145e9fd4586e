//! What the command line says when it cannot do what was asked: in lines that fit, and with the next step.

use std::{fs, path::Path};

use crate::command_line::{alb502, log, stderr, stdout};

/// A line that is no wider than a terminal, or nothing in it could be broken.
fn fits(line: &str) -> bool {
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let is_one_word = !line.trim_start().contains(' ');
    let is_quoted = line.trim_start().starts_with(['`', '\'']);
    line.chars().count() <= 78 || is_one_word || is_quoted
}

#[test]
fn every_error_fits_and_says_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for empty in ["empty", "my logs"] {
        fs::create_dir(at(empty)).unwrap();
    }
    for (name, content) in [
        ("a.log", log(100)),
        ("notes.log", "To do: sleep\n".to_owned()),
        ("probe.json", "{}".to_owned()),
        ("old.json", probe_of_version("0")),
        ("event.json", "not json".to_owned()),
        ("empty.log", String::new()),
    ] {
        fs::write(at(name), content).unwrap();
    }
    fs::write(at("cut.log.gz"), [0x1f, 0x8b, 8, 0, 0]).unwrap();
    fs::write(at("packed.log"), [0x28, 0xb5, 0x2f, 0xfd, 0, 1, 2]).unwrap();
    let a_log = at("a.log");
    for (arguments, code, said) in [
        (vec!["diagnose", "/no/such"], 2, "Give access-log files (.log, .log.gz) or folders"),
        (vec!["diagnose", &at("my logs/a.log")], 2, "Give access-log files"),
        (vec!["parse", "/no/such"], 2, "Give access-log files"),
        (vec!["rehearse", "/no/such"], 2, "Give access-log files"),
        (vec!["diagnose", &at("empty")], 2, "Copy logs into it, for example with `aws s3 cp"),
        (vec!["diagnose", &at("notes.log")], 1, "give the objects that the load balancer delivers"),
        (vec!["diagnose", &at("cut.log.gz")], 1, "fetch the object again"),
        (vec!["parse", &at("cut.log.gz")], 1, "fetch the object again"),
        (vec!["rehearse", &at("cut.log.gz")], 1, "fetch the object again"),
        (vec!["diagnose", &at("empty.log")], 1, "look whether the copy is complete"),
        (vec!["diagnose", &at("packed.log")], 1, "decrypt or unpack the file first"),
        (vec!["diagnose", "s3://Example"], 2, "Give s3://BUCKET, s3://BUCKET/PREFIX"),
        (vec!["diagnose", &a_log, "--since", "2h"], 2, "give it with s3://BUCKET/PREFIX"),
        (
            vec!["diagnose", "s3://example-alb-logs", "--since", "soon"],
            2,
            "give a time with its zone",
        ),
        (vec!["diagnose", "--load-balancer", ""], 2, "give the name or the ARN of one"),
        (vec!["diagnose", &a_log, "--min-errors", "0"], 2, "allowed is a whole number from 1"),
        (vec!["diagnose", &a_log, "--rate-percent", "200"], 2, "allowed is a number from 0.001"),
        (vec!["diagnose", &a_log, "--https-body", "slack"], 2, "allowed is chat or json"),
        (vec!["diagnose", &a_log, "--fromat", "json"], 2, "similar argument exists: '--format'"),
        (vec!["diagnose", &a_log, "--format", "xml"], 2, "[possible values: text, json, html]"),
        (vec!["diagnose"], 2, "give access-log files or folders, s3://BUCKET/PREFIX, or"),
        (vec!["rehearse"], 2, "or --load-balancer NAME"),
        (vec!["parse"], 2, "For more information, try '--help'"),
        (vec!["diagnose", &a_log, "-o", &at("empty")], 2, "this is a folder; give a file in it"),
        (vec!["diagnose", "events/s3-keepalive-race.json"], 1, "run the event: `alb502 invoke"),
        (
            vec!["diagnose", &at("event.json")],
            1,
            "give the objects that the load balancer delivers",
        ),
        (vec!["diagnos"], 2, "similar subcommand exists: 'diagnose'"),
        (
            vec!["diagnose", &a_log, "--snapshot", "/no/such"],
            2,
            "`alb502 snapshot --load-balancer NAME`",
        ),
        (vec!["diagnose", &a_log, "--probe", "/no/such"], 2, "`alb502 probe --format json`"),
        (
            vec!["diagnose", &a_log, "--probe", &at("probe.json")],
            2,
            "`alb502 probe --format json` prints",
        ),
        (vec!["diagnose", &a_log, "--probe", &at("old.json")], 2, "probe again"),
        (
            vec!["diagnose", &a_log, "-o", "/no/such/a.html"],
            2,
            "give a file in a folder that is there",
        ),
        (vec!["diagnose", &a_log, "-o", &a_log], 2, "this file is to be read; give another one"),
        (vec!["diagnose", &at(""), "-o", &at("my logs/../a.log")], 2, "this file is to be read"),
        (
            vec!["diagnose", &a_log, "--probe", &at("probe.json"), "-o", &at("probe.json")],
            2,
            "probe",
        ),
        (vec!["invoke", "/no/such", "--local", "."], 2, "Give a file with an event, such as"),
        (vec!["invoke", &at("event.json"), "--local", "."], 2, "Give an S3 event, such as"),
        (
            vec!["invoke", "events/s3-test-event.json", "--local", "/no/such"],
            2,
            "It holds s3/<bucket>/<key>",
        ),
        (
            vec!["attach", "s3://example-alb-logs"],
            2,
            "--eventbridge, --function, --queue or --topic",
        ),
        (
            vec!["attach", "example-alb-logs", "--eventbridge"],
            2,
            "Give s3://BUCKET or s3://BUCKET/PREFIX",
        ),
        (
            vec!["attach", "s3://example-alb-logs", "--queue", "x"],
            2,
            "which begins with arn:aws:sqs:",
        ),
        (vec!["completions", "tcsh"], 2, "bash, zsh, fish, powershell"),
    ] {
        let output = alb502(&arguments);
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.starts_with("error: "), "{arguments:?}: {error}");
        let words = error.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(said), "{arguments:?}: {error}");
        for line in error.lines() {
            assert!(fits(line), "{arguments:?}: {line:?}");
        }
        if code == 2 {
            assert_eq!(stdout(&output), "", "{arguments:?}");
        }
    }
}

fn probe_of_version(version: &str) -> String {
    format!(
        r#"{{"schema_version": "{version}", "time": "2026-11-20T12:03:10Z",
            "target": {{"address": "10.0.0.1", "port": 8080, "method": "GET", "path": "/"}},
            "connect": {{"outcome": "connected"}}, "findings": []}}"#
    )
}

#[test]
fn a_path_with_spaces_can_be_copied_from_an_error() {
    let path = format!("/{}/a log.gz", "no such folder of logs ".repeat(4).trim_end());
    let error = stderr(&alb502(&["diagnose", &path]));
    assert!(error.starts_with(&format!("error: '{path}':\n  no such file or folder.")), "{error}");
}

#[test]
fn what_is_wrong_with_many_files_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    // Cut at different bytes: of the same content only the first would be read.
    for (name, bytes) in [("a.log.gz", 5), ("b.log.gz", 6), ("c.log.gz", 7)] {
        let begun = [0x1f, 0x8b, 8, 0, 0, 0, 0];
        fs::write(folder.path().join(name), begun.get(..bytes).unwrap()).unwrap();
    }
    let error = stderr(&alb502(&["diagnose", folder.path().to_str().unwrap()]));
    let words = error.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words.matches("fetch the object again").count(), 1, "{error}");
    assert!(error.contains("b.log.gz: the same\n") && error.contains("c.log.gz: the same\n"));
}

#[test]
fn a_file_of_a_snapshot_that_is_of_no_use_says_how_to_print_it_anew() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.log"), log(100)).unwrap();
    let config = folder.path().join("config");
    fs::create_dir(&config).unwrap();
    let warned = |name: &str, content: &str| {
        let file = config.join(name);
        fs::write(&file, content).unwrap();
        let warned = diagnosed(folder.path(), &config);
        fs::remove_file(file).unwrap();
        warned
    };
    for (name, content, said) in [
        ("describe-listeners.json", "Error: ", "Print it anew with `aws elbv2 describe-listeners"),
        ("describe-subnets.json", "{}", "Print it anew with `aws ec2 describe-subnets"),
        ("get-metric-data.json", "[]", "Print it anew with `aws cloudwatch get-metric-data"),
        ("notes.txt", "buy milk", "Take it out of the folder"),
        (
            "describe-rules.json",
            r#"{"Rules": [], "NextMarker": "x"}"#,
            "without --max-items and --no-paginate",
        ),
    ] {
        let warned = warned(name, content);
        assert!(warned.contains(&format!("warning: {name}: ")), "{warned}");
        assert!(warned.contains(said), "{warned}");
    }
    let empty = diagnosed(folder.path(), &config);
    assert!(empty.contains("no file of a snapshot is in it; `alb502 snapshot"), "{empty}");
}

#[test]
fn a_snapshot_of_another_load_balancer_is_said_not_to_be_used() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.log"), log(100)).unwrap();
    let config = folder.path().join("config");
    fs::create_dir(&config).unwrap();
    let warned = |id: &str| {
        let content = format!(
            r#"{{"LoadBalancers": [{{"LoadBalancerName": "shop", "LoadBalancerArn":
                "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/{id}"}}]}}"#
        );
        fs::write(config.join("describe-load-balancers.json"), content).unwrap();
        diagnosed(folder.path(), &config)
    };
    // Of the same name, but made anew under another id.
    assert_eq!(
        warned("app/shop/fedcba9876543210"),
        "warning: --snapshot is not used for an incident: the snapshot describes \
         app/shop/fedcba9876543210, not app/shop/0123456789abcdef. `alb502 snapshot --load-balancer NAME` \
         saves the right one"
    );
    assert_eq!(warned("app/shop/0123456789abcdef"), "");
}

/// What is said of the snapshot, on one line.
fn diagnosed(folder: &Path, config: &Path) -> String {
    let (logs, config) = (folder.join("a.log"), config.to_str().unwrap());
    let output = alb502(&["diagnose", logs.to_str().unwrap(), "--snapshot", config]);
    assert_eq!(output.status.code(), Some(0));
    let said = stderr(&output);
    assert!(said.lines().all(fits), "{said}");
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}
