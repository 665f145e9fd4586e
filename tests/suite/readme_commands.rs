//! Every command of the README's shell blocks is run: here, or by another test, which is named. What would
//! change the machine of whoever runs the tests is looked up instead. A command of neither kind fails.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::tidy::read;

/// What stands for the README's placeholders.
const PLACEHOLDERS: &[(&str, &str)] = &[
    ("<NAME>", "shop"),
    ("<BUCKET>", "example-alb-logs"),
    ("<PREFIX>", "prod"),
    ("<KEY>", "prod/AWSLogs/object.log.gz"),
    ("<REGION>", "eu-west-1"),
    ("<ACCOUNT>", "123456789012"),
    ("<ARN>", "arn:aws:sqs:eu-west-1:123456789012:objects"),
    ("<TOPIC ARN>", "arn:aws:sns:eu-west-1:123456789012:alb502"),
    ("<ROLE ARN>", "arn:aws:iam::123456789012:role/alb502"),
    ("<WORKSPACE>", "T0123ABCDEF"),
    ("<CHANNEL>", "C0123ABCDEF"),
    ("<TARGET GROUP ARN>", "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/a/1"),
    ("<ID>", "pl-0123456789abcdef0"),
    ("<TIME>", "2026-11-18T02:30:00Z"),
    ("<FUNCTION>", "alb502"),
    ("<FACTS ROLE>", "alb502-facts"),
    ("<EMAIL>", "oncall@example.com"),
    ("<QUEUE URL>", "https://sqs.eu-west-1.amazonaws.com/123456789012/alb502-failed-events"),
];

/// Commands that are run here, in a folder of samples: the exit code, and how the output begins.
const RUN: &[(&str, &str)] = &[
    ("alb502 diagnose access.log.gz", KEEPALIVE),
    ("alb502 diagnose ./AWSLogs --snapshot ./config", BLOCKED),
    ("alb502 diagnose ./AWSLogs --format json", "{"),
    ("alb502 diagnose ./AWSLogs --probe probe.json", BLOCKED_PERHAPS),
    ("alb502 diagnose -", KEEPALIVE),
    ("alb502 parse access.log.gz", "{\"type\":\"h2\",\"time\":\"2026-11-18T02:3"),
    ("alb502 invoke events/s3-keepalive-race.json --local events/local", KEEPALIVE),
    ("alb502 rehearse events/local/s3", HISTORY),
    ("alb502 rehearse events/local/s3 --snapshot events/local/aws", HISTORY),
    ("alb502 rehearse events/local/s3 --min-errors 20 --rate-percent 2", HISTORY),
    ("alb502 rehearse events/local/s3 --format json", "{"),
];
const KEEPALIVE: &str =
    "shop-web: The targets close idle connections before the load balancer does";
const BLOCKED: &str = "orders-api: A network rule drops the load balancer's connections";
const BLOCKED_PERHAPS: &str = "orders-api: Perhaps: A network rule drops";
const HISTORY: &str = "History     2026-11-18 02:30 to 2026-11-18 02:55 UTC";

/// How commands begin that are run elsewhere, the files of the tests that run them, and words that stand in
/// these. Every flag of such a command stands there too.
const RUN_BY: &[(&str, &[&str], &[&str])] = &[
    ("alb502 diagnose --load-balancer", &["tests/e2e/test_s3.py"], &["\"diagnose\""]),
    ("alb502 diagnose s3://", &["tests/e2e/test_s3.py"], &["f\"s3://{"]),
    (
        "alb502 diagnose ./AWSLogs --live",
        &["tests/e2e/test_tools.py", "tests/e2e/test_html.py"],
        &["\"diagnose\", \"AWSLogs\", \"--live\""],
    ),
    ("alb502 rehearse --load-balancer", &["tests/e2e/test_s3.py"], &["command=\"rehearse\""]),
    ("alb502 rehearse s3://", &["tests/e2e/test_s3.py"], &["\"rehearse\""]),
    ("alb502 snapshot", &["tests/e2e/test_s3.py"], &["command=\"snapshot\""]),
    (
        "alb502 probe",
        &["tests/e2e/test_probe.py", "tests/suite/probe.rs", "src/probe/request.rs"],
        &["\"probe\""],
    ),
    ("alb502 attach", &["tests/e2e/test_attach.py", "src/command_line/attach.rs"], &["\"attach\""]),
    ("target/release/alb502 attach", &["tests/e2e/stack.py", "template.yaml"], &["NextCommand"]),
    ("make demo", &[".ci/run"], &["make demo"]),
    ("make test", &[".ci/run"], &["make test"]),
    // Their names, options and values are held against what AWS publishes.
    ("aws ", &["tests/e2e/test_readme.py"], &["get_service_model", "\"aws\""]),
    ("cargo lambda deploy", &["tests/e2e/test_readme.py"], &["\"cargo-lambda\""]),
];

/// How commands begin that are only looked up, and why.
const LOOKED_UP: &[&str] = &[
    // Targets of the Makefile: `core` is a part of `test`, the others build for long, or need an account.
    "make core",
    "make build",
    "make build-local",
    "make build deploy",
    "make lambda",
    // The shell's own.
    "export PATH=",
    "mkdir config",
    "cd config",
    // Reads what AWS answers.
    "jq ",
];

/// The commands of all shell blocks, word by word, without comments and redirections.
fn commands() -> Vec<Vec<String>> {
    let readme = read("README.md");
    let mut found = Vec::new();
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        if line != "```sh" {
            continue;
        }
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let mut block = block.join("\n").replace("\\\n", " ");
        for (placeholder, value) in PLACEHOLDERS {
            block = block.replace(placeholder, value);
        }
        for line in block.lines() {
            let words = shlex::split(line).unwrap_or_else(|| panic!("no shell takes {line}"));
            for mut command in
                words.split(|word| word == "&&" || word == "|").map(<[String]>::to_vec)
            {
                if let Some(at) = command.iter().position(|word| word == ">") {
                    command.drain(at..at + 2);
                }
                if !command.is_empty() {
                    found.push(command);
                }
            }
        }
    }
    assert!(60 < found.len(), "{} commands", found.len());
    found
}

fn begins(command: &str, start: &str) -> bool {
    command == start
        || command.starts_with(start) && !start.ends_with(char::is_alphanumeric)
        || command.strip_prefix(start).is_some_and(|rest| rest.starts_with(' '))
}

#[test]
fn every_command_of_the_readme_is_run_by_a_test_that_is_named() {
    for words in commands() {
        let command = words.join(" ");
        assert!(!command.contains('<'), "no value for a placeholder: {command}");
        let run = RUN.iter().filter(|(it, _)| *it == command).count();
        let by: Vec<_> = RUN_BY.iter().filter(|(start, ..)| begins(&command, start)).collect();
        // Of targets the whole list is meant.
        let looked_up = LOOKED_UP
            .iter()
            .filter(|start| match start.strip_prefix("make ") {
                Some(_) => command == **start,
                None => command.starts_with(**start),
            })
            .count();
        assert_eq!(run + by.len() + looked_up, 1, "tests of `{command}`: name one and only one");
        for (_, files, distinguishing) in by {
            let tests: String = files.iter().map(|file| read(file)).collect();
            let flags = words.iter().filter(|word| words[0].contains("alb502") && is_flag(word));
            for word in flags.map(String::as_str).chain(distinguishing.iter().copied()) {
                let flag = word.trim_start_matches("--");
                assert!(
                    tests.contains(word) || tests.contains(&format!("long = \"{flag}\"")),
                    "{files:?} do not run `{command}`: {word}"
                );
            }
        }
        if words[0] == "make" {
            let makefile = read("Makefile");
            for target in words[1..].iter().filter(|word| !word.contains('=')) {
                assert!(makefile.contains(&format!("\n{target}:")), "no target {target}");
            }
        }
    }
}

fn is_flag(word: &str) -> bool {
    word.starts_with("--")
}

#[test]
fn every_row_is_about_a_command_of_the_readme() {
    let commands: Vec<String> = commands().iter().map(|words| words.join(" ")).collect();
    for (command, _) in RUN {
        assert!(commands.iter().any(|it| it == command), "{command}");
    }
    let starts = RUN_BY.iter().map(|(start, ..)| *start).chain(LOOKED_UP.iter().copied());
    for start in starts {
        assert!(commands.iter().any(|it| it.starts_with(start)), "{start}");
    }
}

#[test]
fn every_command_of_alb502_is_one() {
    for words in commands().iter().filter(|words| words[0].ends_with("alb502")) {
        if let Err(error) = alb502::command_line::check(words) {
            panic!("`{}`: {error}", words.join(" "));
        }
    }
    let wrong = ["alb502", "diagnose", "access.log.gz", "--snapshots", "config"];
    assert!(alb502::command_line::check(&wrong.map(str::to_owned)).is_err());
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

/// Every object of a load balancer one after the other: gzip files add up.
fn of(balancer: &str, folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            of(balancer, &path, found);
        } else if path.to_string_lossy().contains(balancer) {
            found.push(path);
        }
    }
    found.sort();
}

/// A folder with what the README's commands name: a log, a folder of logs, a snapshot, a probe.
fn samples() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    copy(&events, &folder.path().join("events"));
    copy(&events.join("local/aws"), &folder.path().join("config"));
    let logs = events.join("local/s3/example-alb-logs/AWSLogs");
    copy(&logs, &folder.path().join("AWSLogs"));
    let mut objects = Vec::new();
    of("app.shop.", &logs, &mut objects);
    let log: Vec<u8> = objects.iter().flat_map(|path| fs::read(path).unwrap()).collect();
    fs::write(folder.path().join("access.log.gz"), log).unwrap();
    let probe = serde_json::json!({
        "schema_version": "1", "time": "2026-11-18T02:58:00Z", "idle_timeout_seconds": 60,
        "target": {"address": "10.20.10.21", "port": 3000, "method": "GET", "path": "/"},
        "connect": {"outcome": "connected"}, "keep_alive_seconds": 6.0,
        "keep_alive": {"connections": [{"outcome": "closed", "idle_seconds": 6.0}]}
    });
    fs::write(folder.path().join("probe.json"), probe.to_string()).unwrap();
    folder
}

#[test]
fn commands_on_files_do_what_the_readme_says() {
    let folder = samples();
    for (command, begin) in RUN {
        let words = shlex::split(command).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_alb502"))
            .args(&words[1..])
            .current_dir(folder.path())
            .stdin(fs::File::open(folder.path().join("access.log.gz")).unwrap())
            .env_clear()
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{command}\n{errors}");
        assert!(said.starts_with(begin), "{command}\n{}", said.lines().next().unwrap_or(""));
        assert!(!errors.contains("warning"), "{command}\n{errors}");
    }
}
