//! An incident whose objects are handled one by one, by copies that share nothing but the ledger, is told
//! in the end like one whose rows were read together.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt::Write as _,
    future::Future,
    ops::ControlFlow,
    task::{Context, Poll, Waker},
};

use alb502::{
    access_log::{Entry, Field, ObjectKey},
    config::Config,
    diagnosis::{Diagnosis, Kind, Phase},
    event::LogObject,
    handler::{Invocation, Ports, handle},
    incident::{COMPLETE_AFTER_MICROS, start_of, window_of},
    local::{folder::SnapshotConfiguration, ledger::MemoryLedger},
    notification::Notification,
    ports::{LogStore, LogStoreError, Notifier, NotifierError},
};
use serde_json::json;

use crate::deliveries::NotMeasured;
use crate::library::{LIBRARY, Object, Told, diagnoses, objects, snapshot};

const BUCKET: &str = "example-alb-logs";
const MINUTE: i64 = 60_000_000;

/// The objects by their keys.
struct Logs(BTreeMap<String, Vec<u8>>);

impl LogStore for Logs {
    async fn stream(
        &self,
        object: &LogObject,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogStoreError> {
        let bytes = self.0.get(&object.key).ok_or(LogStoreError("no such key".to_owned()))?;
        let _ = sink(bytes);
        Ok(())
    }
}

#[derive(Default)]
struct Published(RefCell<Vec<Diagnosis>>);

impl Notifier for Published {
    async fn publish(&self, diagnosis: &Diagnosis, _: &Notification) -> Result<(), NotifierError> {
        self.0.borrow_mut().push(diagnosis.clone());
        Ok(())
    }
}

fn key(object: &Object) -> String {
    object.name.trim_start_matches("logs/").to_owned()
}

/// When the window of an object ends, microseconds since 1970.
fn end(object: &Object) -> Option<i64> {
    ObjectKey::parse(&object.name).end_time.map(jiff::Timestamp::as_microsecond)
}

/// Four healthy windows after the last one, of the target group of an incident: then it is over.
pub(crate) fn healthy_after(all: &[Object], incident: &Diagnosis) -> Vec<Object> {
    let of_load_balancer = |object: &&Object| {
        let key = ObjectKey::parse(&object.name);
        key.skip_reason().is_none()
            && key.load_balancer.as_ref() == Some(&incident.load_balancer.id)
    };
    let last = all.iter().filter(of_load_balancer).max_by_key(|it| end(it)).unwrap();
    let last_end = end(last).unwrap();
    let group = incident.target_group.as_ref().map_or("-", |group| &*group.arn);
    let target = (all.iter().filter(of_load_balancer).filter_map(Object::plain))
        .find_map(|rows| {
            let mut rows =
                rows.split(|byte| *byte == b'\n').filter_map(|row| Entry::parse(row).ok());
            let row = rows.find(|row| row.get(Field::TargetGroupArn) == Some(group.as_bytes()))?;
            Some(String::from_utf8_lossy(row.get(Field::TargetPort).unwrap_or(b"-")).into_owned())
        })
        .unwrap();
    let status = if target == "-" { "200 -" } else { "200 200" };
    let stamp = |micros: i64, form: &str| {
        jiff::Timestamp::from_microsecond(micros).unwrap().strftime(form).to_string()
    };
    let form = "%Y%m%dT%H%MZ";
    (0..4)
        .map(|number| {
            let window = window_of(last_end) + number;
            let mut rows = String::new();
            for row in 0..40 {
                let at = start_of(window) + row * 7 * 1_000_000 + 1_000_000;
                let form = "%Y-%m-%dT%H:%M:%S%.6fZ";
                writeln!(
                    rows,
                    "http {} {} 198.51.100.7:40000 {target} 0.001 0.018 0.000 {status} 200 300 \
                     \"GET http://shop.example.com:80/a HTTP/1.1\" \"curl/8\" - - {group} \
                     \"Root=1-{window}-{row}\" \"-\" \"-\" 0 {} \"forward\" \"-\" \"-\"",
                    stamp(at, form),
                    incident.load_balancer.id,
                    stamp(at - 20_000, form),
                )
                .unwrap();
            }
            let end = start_of(window + 1);
            let name = last.name.replace(&stamp(last_end, form), &stamp(end, form));
            assert_ne!(name, last.name);
            Object { name, bytes: rows.into_bytes() }
        })
        .collect()
}

/// Delivers the objects one by one, late by 1 to 9 minutes after the end of their window, and gives back
/// what was told.
pub(crate) fn told_one_by_one(told: &Told, all: &[Object]) -> Vec<Diagnosis> {
    let lookup =
        |name: &str| (name == "ALB502_INCLUDE_IDLE_TIMEOUT_504").then(|| "true".to_owned());
    let config = Config::from_lookup(lookup).unwrap();
    let logs = Logs(all.iter().map(|it| (key(it), it.bytes.clone())).collect());
    let configuration = SnapshotConfiguration(snapshot(&told.folder));
    let (ledger, published) = (MemoryLedger::default(), Published::default());
    let late = |number: usize| {
        let dice = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        MINUTE + (dice % (8 * MINUTE as u64)) as i64
    };
    let mut deliveries: Vec<(i64, String)> = (all.iter().enumerate())
        .filter_map(|(number, object)| Some((end(object)? + late(number), key(object))))
        .collect();
    deliveries.sort();
    // Once more when everything is complete.
    let (last, key) = deliveries.last().unwrap().clone();
    deliveries.push((last + COMPLETE_AFTER_MICROS, key));
    for (number, (now, key)) in deliveries.into_iter().enumerate() {
        let event = json!({"bucket": BUCKET, "key": key});
        let owner = number.to_string();
        let invocation =
            Invocation { now: Some(now), owner: &owner, lease_until: now + 2 * MINUTE };
        let ports = Ports {
            logs: &logs,
            configuration: &configuration,
            ledger: &ledger,
            notifier: &published,
            metrics: &NotMeasured,
        };
        let future = std::pin::pin!(handle(&event, &config, &invocation, ports));
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(_)) => {}
            // Some scenarios have damaged objects.
            Poll::Ready(Err(error)) => assert_eq!(error.kind(), "ObjectUnreadable", "{error}"),
            Poll::Pending => panic!("the memory made the handler wait"),
        }
    }
    published.0.into_inner()
}

/// What must be the same: causes, order, confidences and shares, and every count. What was heard of the
/// hour after it is not: the end is told before that is over.
fn essence(it: &Diagnosis) -> String {
    let mut text = format!(
        "{} to {}: {} of {}, elb 502 {}, target 502 {}, connect 504 {}, idle 504 {}, intentional {}\n",
        it.window.start,
        it.window.end,
        it.failures,
        it.requests,
        it.elb_502,
        it.target_502,
        it.connect_504,
        it.idle_504,
        it.intentional_502,
    );
    for cause in &it.causes {
        writeln!(text, "{} {:?} {:.6}", cause.id, cause.confidence, cause.share).unwrap();
    }
    for check in &it.checks {
        writeln!(text, "{} {:?}", check.id, check.outcome).unwrap();
    }
    text
}

#[test]
fn every_incident_of_the_library_is_told_alike_from_one_object_at_a_time() {
    let (mut incidents, mut messages, mut different) = (0, 0, Vec::new());
    for told in LIBRARY.iter() {
        let real = |it: &&Diagnosis| it.kind == Kind::Spike && 0 < it.failures;
        let spikes: Vec<&Diagnosis> = told.diagnoses.iter().filter(real).collect();
        for spike in &spikes {
            let mut all = objects(&told.folder);
            let after = healthy_after(&all, spike);
            all.extend(after);
            let together = diagnoses(&all, snapshot(&told.folder).as_ref());
            let of = |it: &&Diagnosis| {
                it.kind == Kind::Spike
                    && it.load_balancer.id == spike.load_balancer.id
                    && it.target_group == spike.target_group
            };
            let expected: Vec<&Diagnosis> = together.iter().filter(of).collect();
            let said = told_one_by_one(told, &all);
            let said: Vec<&Diagnosis> = said.iter().filter(of).collect();
            incidents += expected.len();
            messages += said.len();
            let over: Vec<&&Diagnosis> =
                said.iter().filter(|it| it.phase == Phase::Resolved).collect();
            let texts = |list: Vec<String>| list.join("\n");
            let expected = texts(expected.into_iter().map(essence).collect());
            let over = texts(over.into_iter().map(|it| essence(it)).collect());
            if expected != over {
                let lines = expected.lines().zip(over.lines()).find(|(a, b)| a != b);
                different.push(format!("{}: {lines:#?}", told.name));
            }
        }
    }
    println!("{incidents} incidents told in {messages} messages, one object at a time");
    assert!(different.is_empty(), "{}\n{}", different.len(), different.join("\n"));
}
