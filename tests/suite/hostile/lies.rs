//! Snapshots, ledgers and probes that lie.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
};

use alb502::{
    access_log::{ObjectKey, Reader},
    config::Config,
    detection::{Detector, Thresholds},
    diagnosis::Diagnosis,
    handler::{Invocation, Ports, handle},
    incident::{Kept, Observation, ObservedObject, Record},
    local::{
        folder::{FolderLogStore, FolderMetrics, SnapshotConfiguration},
        ledger::MemoryLedger,
        snapshot::Snapshot,
    },
    notification::Notification,
    ports::{Ledger as _, Notifier, NotifierError},
};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use serde_json::{Value, json};

use super::{
    fed,
    text::{ALIVE, assert_harmless, diagnosed},
};
use crate::{
    handler::{ANSWERED, BUCKET, REFUSED, event, gzip, key, put, rows},
    library::{library, objects, read},
};

/// The files of a snapshot, by name.
fn files(folder: &str) -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> = fs::read_dir(library().join(folder).join("snapshot"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn names(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.keys().cloned());
            fields.values().for_each(|it| names(it, into));
        }
        Value::Array(list) => list.iter().for_each(|it| names(it, into)),
        _ => {}
    }
}

/// Replaces what stands under a name, wherever it stands.
fn replace(value: &mut Value, name: &str, by: &dyn Fn(&Value) -> Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if key == name { *value = by(value) } else { replace(value, name, by) }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|it| replace(it, name, by)),
        _ => {}
    }
}

fn parsed(files: &[(String, Value)]) -> Snapshot {
    Snapshot::parse(files.iter().map(|(name, value)| (name, value.to_string())))
}

/// What is put in place of a value.
type Lie = Box<dyn Fn(&Value) -> Value>;

/// Texts stay where they were, so that resources are still found by them; then they are others.
fn lies() -> Vec<Lie> {
    let hostile = ALIVE.concat();
    let more = hostile.clone();
    let longer = move |it: &Value| match it {
        Value::String(text) => json!(format!("{text}{more}")),
        other => other.clone(),
    };
    let all_longer = move |it: &Value| match it {
        Value::Array(list) => list.iter().map(&longer).collect(),
        other => longer(other),
    };
    let repeated = |it: &Value| match it {
        Value::Array(list) => list.iter().cycle().take(list.len() * 50).cloned().collect(),
        other => other.clone(),
    };
    let values = [
        json!(hostile),
        Value::Null,
        json!(-1),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e300),
        json!("99999999999999999999"),
        json!([]),
        json!({}),
        json!(true),
    ];
    let mut lies: Vec<Lie> = vec![Box::new(all_longer), Box::new(repeated)];
    for value in values {
        lies.push(Box::new(move |_| value.clone()));
    }
    lies
}

/// Each field lies in one scenario, in two ways: the whole product would be hours.
#[test]
fn a_snapshot_may_lie_in_every_field() {
    let (mut number, mut warned) = (0, 0);
    for (turn, scenario) in ["blocked-port", "keepalive-race-node"].into_iter().enumerate() {
        let (incidents, reading) = read(&objects(&library().join(scenario)));
        let evidence = &incidents[0];
        let original = files(scenario);
        let mut known = BTreeSet::new();
        original.iter().for_each(|(_, value)| names(value, &mut known));
        assert!(40 < known.len());
        for name in known.iter().skip(turn).step_by(2) {
            let lies = lies();
            number += 1;
            for lie in [0, 1 + number % (lies.len() - 1)] {
                let mut lying = original.clone();
                lying.iter_mut().for_each(|(_, value)| replace(value, name, &*lies[lie]));
                let config = parsed(&lying);
                warned += config.warnings.len();
                let facts = crate::library::facts(Some(&config), evidence);
                let diagnosis = alb502::diagnosis::diagnose(evidence, &facts, &reading);
                if 0 < lie {
                    // What is no text comes nowhere alive: it is enough that it ends nothing.
                    continue;
                }
                let pictures = alb502::diagnosis::Pictures::of(evidence, &facts);
                assert_harmless(&[(diagnosis, pictures)], &reading, &config.warnings, false);
            }
        }
    }
    assert!(0 < warned, "the lies were believed");
}

#[test]
fn the_files_of_a_snapshot_may_be_anything() {
    let all = objects(&library().join("blocked-port"));
    let deep = format!("{{\"Rules\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for content in [
        &b""[..],
        b"\0",
        b"\xff\xfe{\0}\0",
        b"[]",
        b"null",
        b"{",
        b"{}",
        b"{\"Rules\": 1}",
        b"{\"Rules\": [{}]}",
        b"{\"Rules\": [], \"Rules\": null}",
        deep.as_bytes(),
        "{\"\u{1b}[31m\u{202e}\": 1}".as_bytes(),
    ] {
        for name in ["describe-rules.json", "snapshot.json", "\u{1b}[31m.json", "describe-tags."] {
            let config = Snapshot::parse([(name, content)]);
            let (told, reading) = diagnosed(&all, Some(&config));
            assert!(!told.is_empty());
            assert_harmless(&told, &reading, &config.warnings, false);
        }
    }
}

#[derive(Default)]
struct Told(RefCell<Vec<Diagnosis>>);

impl Notifier for Told {
    async fn publish(&self, it: &Diagnosis, _: &Notification) -> Result<(), NotifierError> {
        self.0.borrow_mut().push(it.clone());
        Ok(())
    }
}

/// What an object of another node has left in the ledger.
fn kept() -> Kept {
    let text = rows(REFUSED, 30) + &rows(ANSWERED, 300);
    let mut detector = Detector::new(Thresholds::default());
    let name = key(9, "other");
    let source = detector.source(&name, &ObjectKey::parse(&name));
    let mut reader = Reader::new(|entry| detector.record(source, entry));
    reader.push(text.as_bytes()).unwrap();
    let report = reader.finish().report;
    let object = ObservedObject::of(BUCKET, &name, &report, None);
    Observation::of(&object, detector.portions()).remove(0)
}

/// Handles an object while the ledger holds something else of the same window.
fn told_beside(kept: Kept, record: Option<Record>) -> Vec<Diagnosis> {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &key(1, "a"), &gzip(&(rows(REFUSED, 10) + &rows(ANSWERED, 30))));
    let (ledger, told) = (MemoryLedger::default(), Told::default());
    now(async {
        ledger.keep(&[kept]).await.unwrap();
        if let Some(record) = record {
            ledger.save(&record).await.unwrap();
        }
        let config = Config::from_lookup(|_| None).unwrap();
        let ports = Ports {
            logs: &FolderLogStore::new(folder.path()),
            configuration: &SnapshotConfiguration(None),
            ledger: &ledger,
            notifier: &told,
            metrics: &FolderMetrics::new(folder.path()),
        };
        let invocation = Invocation { now: None, owner: "request", lease_until: i64::MAX };
        handle(&event(&[&key(1, "a")]), &config, &invocation, ports).await.unwrap();
    });
    told.0.into_inner()
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => panic!("the memory made the handler wait"),
    }
}

/// Every number in a value, by its path.
fn numbers(value: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Number(_) => into.push(path.to_owned()),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, it)| numbers(it, &format!("{path}/{name}"), into));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(n, it)| numbers(it, &format!("{path}/{n}"), into));
        }
        _ => {}
    }
}

#[test]
fn counts_that_no_object_can_hold_are_known() {
    let kept = kept();
    assert!(kept.observation.is_sound());
    let whole = serde_json::to_value(&kept.observation).unwrap();
    let mut paths = Vec::new();
    numbers(&whole, "", &mut paths);
    let mut refused = 0;
    for path in &paths {
        for lie in [json!(0), json!(u32::MAX), json!(1_u64 << 40), json!(u64::MAX), json!(-1)] {
            let mut lying = whole.clone();
            *lying.pointer_mut(path).unwrap() = lie;
            // A negative count is refused by its type.
            let Ok(observation) = serde_json::from_value::<Observation>(lying) else { continue };
            if !observation.is_sound() {
                refused += 1;
                continue;
            }
            let told = told_beside(Kept { observation, details: kept.details.clone() }, None);
            assert!(told.len() <= 1);
        }
    }
    assert!(20 <= refused, "{refused} of {}", paths.len());
}

/// Details are compressed a thousandfold where they say the same over and over: a few bytes must not become so
/// many that they fill the memory.
#[test]
fn details_that_fill_the_memory_are_left_out() {
    let form = |details: &[u8]| {
        let mut first = [0];
        ZlibDecoder::new(details).read_exact(&mut first).unwrap();
        first[0]
    };
    let form = form(&kept().details);
    // Postcard's lists begin with their length, seven bits a byte: of names, words and paths, then a flag,
    // then of target groups; of these first their name, then their targets.
    let names = [form, 0xc0, 0x94, 0xde, 0x0f];
    let targets = [form, 0, 0, 0, 0, 1, 0, 0x80, 0xd4, 0x61];
    for (beginning, zeros) in [
        (&names[..], 33_000_000),
        (&targets, 33_600_000),
        // As much as is read at all.
        (&[form, 0xc0, 0x96, 0xb1, 0x02], 5_000_000),
        (&[form, 0, 0, 0, 0, 1, 0, 0x90, 0xa1, 0x0f], 5_000_000),
    ] {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(beginning).unwrap();
        encoder.write_all(&vec![0; zeros]).unwrap();
        let lying = encoder.finish().unwrap();
        assert!(lying.len() < 40_000);
        let [told] = &told_beside(Kept { details: lying, ..kept() }, None)[..] else { panic!() };
        assert_eq!(told.failures, 40, "counts are of all objects");
        let lost = told.gaps.iter().find(|it| it.fact == "details of the rows").unwrap();
        assert!(lost.reason.contains("of 1 of 2 objects"), "{}", lost.reason);
    }
}

/// The record is checked when it is read, see `Record::is_sound`; what passes must not end anything.
#[test]
fn a_record_may_lie_in_every_number() {
    let first = kept().observation.window;
    let group = kept().observation.groups[0].target_group.clone();
    let record = json!({"load_balancer": kept().observation.load_balancer, "target_group": group,
        "version": 1, "open": {"id": "alb502-000000000000", "first": first, "last": first,
            "told": {"at": 1, "rate": 0.5, "last": first}, "causes": ["connect-refused"],
            "reviewed": first, "signatures": [0, 1], "attributed": 5, "usual_rate": 0.1,
            "idle": {"until": first, "quiet": 1, "traffic": first}},
        "over": [[first - 50, first - 40]], "watched": first, "trickle_judged_at": 1,
        "trickle_told_at": 1, "lease": {"owner": "other", "until": 1}});
    let mut paths = Vec::new();
    numbers(&record, "", &mut paths);
    assert!(15 <= paths.len());
    let mut sound = 0;
    for path in paths.iter().filter(|path| *path != "/version") {
        for lie in
            [json!(0), json!(-1), json!(i64::MAX), json!(i64::MIN), json!(u64::MAX), json!(1e300)]
        {
            let mut lying = record.clone();
            *lying.pointer_mut(path).unwrap() = lie;
            let Ok(lying) = serde_json::from_value::<Record>(lying) else { continue };
            if lying.is_sound() {
                sound += 1;
                told_beside(kept(), Some(lying));
            }
        }
    }
    assert!(20 <= sound, "{sound}");
}

#[test]
fn a_probe_may_lie_in_every_field() {
    let log: String = crate::command_line::log(100);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    fs::write(&path, log).unwrap();
    let report = json!({"schema_version": "1", "time": "2026-11-20T12:03:10Z",
        "idle_timeout_seconds": 60,
        "target": {"address": "10.0.0.1", "port": 8080, "method": "GET", "path": "/health"},
        "connect": {"outcome": "refused"},
        "findings": [{"cause": "connect-refused", "would_be": "502", "certainty": "documented",
            "why": "Nothing listens."}]});
    let mut known = BTreeSet::new();
    names(&report, &mut known);
    let probe = folder.path().join("probe.json");
    let mut read = 0;
    for name in &known {
        for lie in lies() {
            let mut lying = report.clone();
            replace(&mut lying, name, &lie);
            fs::write(&probe, lying.to_string()).unwrap();
            let arguments =
                ["diagnose", path.to_str().unwrap(), "--probe", probe.to_str().unwrap()];
            let said = fed(&arguments, |_| Ok(()));
            assert!([Some(0), Some(2)].contains(&said.code), "{}", said.errors);
            read += u64::from(said.code == Some(0));
            for shown in [&said.out, &said.errors] {
                super::text::assert_invisible_stays_out(shown);
                assert!(!shown.contains("http://evil"), "{shown}");
            }
        }
    }
    assert!(5 < read);
}
