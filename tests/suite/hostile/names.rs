//! Names that lead elsewhere: keys, buckets, files and load balancers with `..`, zeros and line breaks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{Row, fed};

const FILE: &str = "123456789012_elasticloadbalancing_eu-west-1_app.shop.0123456789abcdef_\
                    20261120T1205Z_192.0.2.1_abc.log";

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

fn rows() -> String {
    (0..40).map(|n| Row { failed: n % 2 == 1, ..Row::default() }.line()).collect()
}

fn event(bucket: &str, key: &str) -> Value {
    json!({"Records": [{"eventVersion": "2.4", "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]})
}

/// A folder in place of AWS, with a log beside it that nobody may reach.
fn beside() -> (tempfile::TempDir, PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let local = outer.path().join("local");
    fs::create_dir_all(local.join("s3/logs/AWSLogs")).unwrap();
    fs::write(outer.path().join(FILE), rows()).unwrap();
    fs::write(local.join("s3").join(FILE), rows()).unwrap();
    (outer, local)
}

fn invoked(local: &Path, event: &Value) -> super::Said {
    let event = event.to_string();
    let local = local.to_str().unwrap().to_owned();
    fed(&["invoke", "-", "--local", &local], move |input| input.write_all(event.as_bytes()))
}

#[test]
fn a_key_does_not_lead_out_of_its_folder() {
    let (outer, local) = beside();
    let before = files(outer.path());
    let absolute = outer.path().join(FILE).display().to_string();
    for (bucket, key) in [
        ("logs", format!("../{FILE}")),
        ("logs", format!("../../../{FILE}")),
        ("logs", format!("AWSLogs/../../{FILE}")),
        ("logs", format!("%2e%2e/%2E%2E/%2e%2e/{FILE}")),
        ("logs", format!("..%2F..%2F..%2F{FILE}")),
        ("logs", absolute.clone()),
        ("logs", format!("/{absolute}")),
        ("..", FILE.to_owned()),
        ("../..", FILE.to_owned()),
        (outer.path().to_str().unwrap(), FILE.to_owned()),
        ("", format!("../{FILE}")),
        ("logs", format!("a%00/{FILE}")),
        ("logs", format!("..\\..\\{FILE}")),
        ("logs", format!("{}/{FILE}", "a".repeat(100_000))),
        ("logs", format!("{}{FILE}", "../".repeat(10_000))),
    ] {
        let said = invoked(&local, &event(bucket, &key));
        assert_eq!(said.code, Some(1), "{bucket} {key:.100}: {}", said.errors);
        assert!(!said.out.contains("requests"), "{}", said.out);
        // What was read is no log of a stranger, and what is written is what was measured.
        let new: Vec<PathBuf> =
            files(outer.path()).into_iter().filter(|it| !before.contains(it)).collect();
        assert!(new.iter().all(|it| it.starts_with(local.join("out"))), "{new:?}");
        assert!(new.iter().all(|it| it.ends_with("metrics.jsonl")), "{new:?}");
    }
}

#[test]
fn what_stands_where_it_says_is_read() {
    let (_outer, local) = beside();
    fs::write(local.join("s3/logs/AWSLogs").join(FILE), rows()).unwrap();
    let said = invoked(&local, &event("logs", &format!("AWSLogs/{FILE}")));
    assert_eq!(said.code, Some(0), "{}", said.errors);
    assert!(said.out.contains("20 of 40 requests failed"), "{}", said.out);
}

#[test]
fn the_files_of_a_message_stay_in_their_folder() {
    // Who writes a log chooses what its load balancer and target group are called.
    for name in ["../../../x", "/etc/x", "a/../b", "app/../../../../x/y", "..", "app/./1"] {
        let (outer, local) = beside();
        let log: String = (0..40)
            .map(|n| {
                Row { load_balancer: name, group: name, failed: n % 2 == 1, ..Row::default() }
                    .line()
            })
            .collect();
        fs::write(local.join("s3/logs/AWSLogs").join(FILE), log).unwrap();
        let before = files(outer.path());
        let said = invoked(&local, &event("logs", &format!("AWSLogs/{FILE}")));
        assert_eq!(said.code, Some(0), "{}", said.errors);
        let words = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("20 of 40 requests failed"), "{}", said.out);
        let out = local.join("out");
        let new: Vec<PathBuf> =
            files(outer.path()).into_iter().filter(|it| !before.contains(it)).collect();
        assert_eq!(new.len(), 4, "{new:?}");
        assert!(new.iter().all(|it| it.parent() == Some(&out)), "{new:?}");
    }
}

/// The names of files are told as one line of plain text, in a folder and on the command line.
#[cfg(unix)]
#[test]
fn the_name_of_a_file_does_not_come_alive() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    let folder = tempfile::tempdir().unwrap();
    let name = b"\x1b]0;owned\x07\x1b[31m\n{\"level\":\"ERROR\"}\xff\xc2\x9b31m\xe2\x80\xae.log";
    let path = folder.path().join(OsStr::from_bytes(name));
    let whole = rows();
    let cut = whole.get(..whole.len() - 300).unwrap();
    fs::write(&path, format!("{cut}\n{cut}nonsense\n")).unwrap();
    fs::write(folder.path().join(OsStr::from_bytes(b"\x1b[2J_conn_log_.log")), "x\n").unwrap();
    for arguments in [
        &["diagnose"][..],
        &["diagnose", "--format", "json"],
        &["diagnose", "--format", "html"],
        &["parse"],
        &["rehearse"],
        &["rehearse", "--format", "json"],
    ] {
        let mut arguments = arguments.to_vec();
        arguments.push(folder.path().to_str().unwrap());
        let said = fed(&arguments, |_| Ok(()));
        for shown in [&said.out, &said.errors] {
            super::text::assert_invisible_stays_out(shown);
            assert!(!shown.lines().any(|line| line.starts_with("{\"level")), "{shown}");
        }
    }
}
