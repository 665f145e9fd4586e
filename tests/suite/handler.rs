//! The Lambda's own handler, with folders and a list in place of AWS.

use std::{cell::RefCell, fs, future::Future, path::Path, task};

use alb502::{
    config::Config,
    diagnosis::Diagnosis,
    handler::{HandlerError, Invocation, Ports, Summary, handle},
    local::{
        folder::{FolderLogStore, FolderMetrics, SnapshotConfiguration},
        ledger::MemoryLedger,
    },
    notification::Notification,
    ports::{Notifier, NotifierError},
};
use serde_json::{Value, json};

pub(crate) const BUCKET: &str = "example-alb-logs";

#[derive(Default)]
pub(crate) struct Published {
    pub(crate) messages: RefCell<Vec<(Diagnosis, Notification)>>,
    pub(crate) refuse: bool,
}

impl Notifier for Published {
    async fn publish(&self, diagnosis: &Diagnosis, it: &Notification) -> Result<(), NotifierError> {
        if self.refuse {
            return Err(NotifierError("the topic does not exist".to_owned()));
        }
        self.messages.borrow_mut().push((diagnosis.clone(), it.clone()));
        Ok(())
    }
}

fn run(folder: &Path, event: &Value, published: &Published) -> Result<Summary, HandlerError> {
    let config = Config::from_lookup(|_| None).unwrap();
    let ports = Ports {
        logs: &FolderLogStore::new(folder),
        configuration: &SnapshotConfiguration(None),
        ledger: &MemoryLedger::default(),
        notifier: published,
        metrics: &FolderMetrics::new(folder),
    };
    let invocation = Invocation { now: None, owner: "request", lease_until: i64::MAX };
    let mut future = Box::pin(handle(event, &config, &invocation, ports));
    // Folders answer at once: the future is ready when it is first asked.
    match future.as_mut().poll(&mut task::Context::from_waker(task::Waker::noop())) {
        task::Poll::Ready(done) => done,
        task::Poll::Pending => panic!("a folder made the handler wait"),
    }
}

pub(crate) fn key(node: u8, random: &str) -> String {
    format!(
        "AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2026/11/20/\
         123456789012_elasticloadbalancing_eu-west-1_app.shop.0123456789abcdef_\
         20261120T1205Z_192.0.2.{node}_{random}.log.gz"
    )
}

pub(crate) fn rows(status: &str, count: usize) -> String {
    (0..count)
        .map(|row| {
            format!(
                "http 2026-11-20T12:01:{:02}.020000Z app/shop/0123456789abcdef 198.51.100.7:40000 \
                 10.0.0.1:8080 {status} 200 300 \"GET http://shop.example.com:80/a?secret=1 HTTP/1.1\" \
                 \"curl/8\" - - \
                 arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-web/0123 \
                 \"Root=1-0-{row}\" \"-\" \"-\" 0 2026-11-20T12:01:{:02}.000000Z \"forward\" \"-\" \"-\"\n",
                row % 60,
                row % 60
            )
        })
        .collect()
}

pub(crate) const REFUSED: &str = "-1 -1 -1 502 -";
pub(crate) const ANSWERED: &str = "0.001 0.018 0.000 200 200";

pub(crate) fn gzip(text: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn put(folder: &Path, key: &str, content: &[u8]) {
    let path = folder.join("s3").join(BUCKET).join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

pub(crate) fn event(keys: &[&str]) -> Value {
    let record = |key: &&str| {
        json!({"eventVersion": "2.4", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": BUCKET}, "object": {"key": key}}})
    };
    json!({"Records": keys.iter().map(record).collect::<Vec<_>>()})
}

#[test]
fn all_records_are_one_story() {
    let folder = tempfile::tempdir().unwrap();
    // Each node alone has too few failures.
    put(folder.path(), &key(1, "a"), &gzip(&(rows(REFUSED, 3) + &rows(ANSWERED, 30))));
    put(folder.path(), &key(2, "b"), &gzip(&(rows(REFUSED, 3) + &rows(ANSWERED, 30))));
    let published = Published::default();
    let (first, second) = (key(1, "a"), key(2, "b"));
    let done = run(folder.path(), &event(&[&first, &second, &first]), &published).unwrap();
    assert_eq!((done.objects, done.entries, done.published), (2, 66, 1));
    let messages = published.messages.into_inner();
    let (diagnosis, message) = &messages[0];
    assert_eq!((diagnosis.failures, diagnosis.requests), (6, 66));
    assert_eq!(diagnosis.causes[0].id, "connect-refused");
    assert!(message.subject.starts_with("alb502 WARNING shop-web: connect-refused, 6 of 66"));
    assert!(!message.message.contains("secret"), "a query string was published");
    assert!(!message.message.contains("198.51.100.7"), "a client address was published");
    assert!(!message.message.contains("curl/8"), "a user agent was published");
    for alone in [&first, &second] {
        let published = Published::default();
        run(folder.path(), &event(&[alone]), &published).unwrap();
        assert_eq!(published.messages.into_inner().len(), 0);
    }
}

#[test]
fn an_unreadable_object_fails_the_invocation_after_the_others_were_handled() {
    let folder = tempfile::tempdir().unwrap();
    let whole = gzip(&(rows(REFUSED, 20) + &rows(ANSWERED, 20)));
    put(folder.path(), &key(1, "whole"), &whole);
    let (whole_key, missing, empty) = (key(1, "whole"), key(2, "missing"), key(3, "empty"));
    put(folder.path(), &empty, b"");
    let published = Published::default();
    let error =
        run(folder.path(), &event(&[&missing, &empty, &whole_key]), &published).unwrap_err();
    let said = error.to_string();
    assert!(said.contains(&format!("s3://{BUCKET}/{missing}")), "{said}");
    assert!(said.contains(&format!("s3://{BUCKET}/{empty}")), "{said}");
    assert!(!said.contains(&whole_key), "{said}");
    assert_eq!(published.messages.into_inner().len(), 1);
}

fn damaged() -> (HandlerError, Vec<(Diagnosis, Notification)>) {
    let folder = tempfile::tempdir().unwrap();
    let whole = gzip(&rows(REFUSED, 200));
    let key = key(1, "cut");
    put(folder.path(), &key, &whole[..whole.len() - 10]);
    let published = Published::default();
    let error = run(folder.path(), &event(&[&key]), &published).unwrap_err();
    (error, published.messages.into_inner())
}

/// What is told of an object that ends early.
pub(crate) fn a_damaged_object() -> Vec<Diagnosis> {
    damaged().1.into_iter().map(|(diagnosis, _)| diagnosis).collect()
}

#[test]
fn the_rows_before_the_damage_count_and_are_marked() {
    let (error, messages) = damaged();
    let key = key(1, "cut");
    assert!(error.to_string().contains(&key), "{error}");
    assert!(100 < messages[0].0.failures, "{}", messages[0].0.failures);
    assert!(messages[0].0.objects[0].error.is_some());
    assert!(messages[0].1.text.contains(&key), "{}", messages[0].1.text);
}

#[test]
fn a_message_that_is_refused_fails_the_invocation() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &key(1, "a"), &gzip(&rows(REFUSED, 20)));
    let refuse = Published { refuse: true, ..Published::default() };
    let error = run(folder.path(), &event(&[&key(1, "a")]), &refuse).unwrap_err();
    assert!(error.to_string().contains("the topic does not exist"), "{error}");
}

#[test]
fn what_is_not_ours_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    for name in ["s3-test-event.json", "s3-foreign.json", "s3-other-logs.json"] {
        let event = serde_json::from_slice(&fs::read(events.join(name)).unwrap()).unwrap();
        let published = Published::default();
        let done = run(folder.path(), &event, &published).unwrap();
        assert_eq!((done.objects, done.published), (0, 0), "{name}");
        assert!(0 < done.skipped, "{name}");
    }
}

#[test]
fn a_rule_that_answers_on_purpose_is_no_message() {
    let folder = tempfile::tempdir().unwrap();
    let on_purpose = rows("-1 -1 -1 502 -", 50)
        .replace("10.0.0.1:8080", "-")
        .replace("\"forward\"", "\"fixed-response\"");
    put(folder.path(), &key(1, "a"), &gzip(&on_purpose));
    let published = Published::default();
    run(folder.path(), &event(&[&key(1, "a")]), &published).unwrap();
    assert_eq!(published.messages.into_inner().len(), 0);
}

/// One failure in each of eight windows, and what is told of them.
fn trickling() -> (Summary, Vec<(Diagnosis, Notification)>) {
    let folder = tempfile::tempdir().unwrap();
    // One failure beside 120 answers in each of eight windows.
    let hour: String = (0..8)
        .map(|window| {
            let minute = format!("T12:{:02}:", window * 5 + 1);
            (rows(ANSWERED, 120) + &rows(REFUSED, 1)).replace("T12:01:", &minute)
        })
        .collect();
    put(folder.path(), &key(1, "a"), &gzip(&hour));
    let published = Published::default();
    let done = run(folder.path(), &event(&[&key(1, "a")]), &published).unwrap();
    (done, published.messages.into_inner())
}

/// What the function tells of a trickle.
pub(crate) fn a_trickle() -> Vec<Diagnosis> {
    trickling().1.into_iter().map(|(diagnosis, _)| diagnosis).collect()
}

#[test]
fn a_trickle_is_told_when_it_is_about_something() {
    let (done, messages) = trickling();
    assert_eq!((done.entries, done.published), (968, 1));
    let (diagnosis, message) = &messages[0];
    assert_eq!(diagnosis.kind, alb502::diagnosis::Kind::Trickle);
    assert!(message.text.contains("told at most once a day"), "{}", message.text);
}

#[test]
fn the_first_nodes_object_fakes_no_outage() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &key(1, "a"), &gzip(&rows(ANSWERED, 1000)));
    let spike = (rows(REFUSED, 20) + &rows(ANSWERED, 30)).replace("T12:01:", "T12:16:");
    put(folder.path(), &key(1, "b"), &gzip(&spike));
    let at = |time: &str| {
        let mut event = event(&[&key(1, "a"), &key(1, "b")]);
        event["Records"][1]["eventTime"] = json!(time);
        let published = Published::default();
        run(folder.path(), &event, &published).unwrap();
        let (diagnosis, message) = published.messages.into_inner().swap_remove(0);
        (diagnosis.severity, message.text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let words = "beside the usual 1,000 requests of this time it is 2 %";
    // Four minutes into the window other nodes have not delivered; half an hour later these are all.
    let (severity, text) = at("2026-11-20T12:19:00Z");
    assert_eq!(severity, alb502::diagnosis::Severity::Warning);
    assert!(text.contains("20 of 50 requests failed (40 %)") && text.contains(words), "{text}");
    let (severity, text) = at("2026-11-20T12:45:00Z");
    assert_eq!(severity, alb502::diagnosis::Severity::Critical);
    assert!(!text.contains("beside the usual"), "{text}");
}

#[test]
fn a_key_does_not_lead_out_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "x").unwrap();
    let name = key(1, "a");
    let file = name.rsplit('/').next().unwrap();
    let climbing = format!("../../AWSLogs/../{file}");
    let published = Published::default();
    let error = run(folder.path(), &event(&[&climbing]), &published).unwrap_err();
    assert!(error.to_string().contains("leads out of the folder"), "{error}");
}
