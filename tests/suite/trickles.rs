//! A few failures an hour: from rows to what is told.

use std::fmt::Write as _;

use alb502::{
    access_log::{ObjectKey, Reader},
    detection::{Detector, Evidence, Kind, Signature, Thresholds},
    diagnosis::{
        Confidence, Facts, Reading, Severity, diagnose, is_told,
        metrics::{Metric, MetricDataResult, Metrics, Subject, target_group_dimension},
    },
    notification::{HttpsBody, render},
};

const ANSWERED: &str = "10.0.0.1:8080 0.001 0.018 0.000 200 200";
const REFUSED: &str = "10.0.0.2:8080 -1 -1 -1 502 -";
const TARGET_MADE: &str = "10.0.0.2:8080 0.001 0.018 0.000 502 502";
const IDLE_TIMEOUT: &str = "10.0.0.2:8080 0.001 -1 -1 504 -";
const ON_PURPOSE: &str = "- -1 -1 -1 502 -";

/// Rows at second `second` of a day.
fn rows(log: &mut String, second: u32, what: &str, number: u32) {
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let time = format!("2026-11-20T{hour:02}:{minute:02}:{second:02}");
    let action = if what == ON_PURPOSE { "fixed-response" } else { "forward" };
    for row in 0..number {
        writeln!(
            log,
            "http {time}.020000Z app/shop/0123456789abcdef 198.51.100.7:40000 {what} 200 300 \
             \"GET http://shop.example.com:80/a{row} HTTP/1.1\" \"curl/8\" - - \
             arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-web/0123 \
             \"Root=1-0-{row}\" \"-\" \"-\" 0 {time}.000000Z \"{action}\" \"-\" \"-\""
        )
        .unwrap();
    }
}

/// Eight hours with an answer every four seconds, and `number` more rows evenly spread.
fn working_day(what: &str, number: u32) -> String {
    let mut log = String::new();
    for second in (0..8 * 3600).step_by(4) {
        rows(&mut log, second, ANSWERED, 1);
    }
    for row in 0..number {
        rows(&mut log, row * 8 * 3600 / number + 121, what, 1);
    }
    log
}

fn incidents(log: &str, thresholds: Thresholds) -> Vec<Evidence> {
    let mut detector = Detector::new(thresholds);
    let source = detector.source("access.log", &ObjectKey::parse("access.log"));
    let mut reader = Reader::new(|entry| detector.record(source, entry));
    reader.push(log.as_bytes()).unwrap();
    assert!(reader.finish().error.is_none());
    detector.incidents()
}

#[test]
fn a_leak_of_one_an_hour_is_named() {
    let incidents = incidents(&working_day(TARGET_MADE, 8), Thresholds::default());
    assert_eq!(incidents.len(), 1);
    // From the window of the first failure to that of the last; healthy rows are with them.
    let counts = &incidents[0].counts;
    assert_eq!((incidents[0].kind, counts.failures, counts.requests), (Kind::Trickle, 8, 6383));
    let facts = Facts::unknown("not asked for");
    let diagnosis = diagnose(&incidents[0], &facts, &Reading::default());
    assert!(is_told(&diagnosis), "{:?}", diagnosis.causes);
    assert_eq!(diagnosis.severity, Severity::Info);
    let summary = &diagnosis.summary;
    let end = "8 of 6,383 requests failed (0.13 %) in 7 hours, about 1 an hour.";
    assert!(summary.ends_with(end), "{summary}");
    let message = render(&diagnosis, HttpsBody::Chat);
    assert!(
        message.subject.starts_with("alb502 INFO shop-web: trickle of "),
        "{}",
        message.subject
    );
    assert_eq!(message.attributes["kind"], "trickle");
    assert!(message.text.contains("Severity       info, a trickle\n"), "{}", message.text);
}

#[test]
fn a_spike_and_a_leak_are_two_incidents_and_do_not_mix() {
    let mut log = working_day(REFUSED, 8);
    rows(&mut log, 4 * 3600 + 1900, REFUSED, 30);
    let incidents = incidents(&log, Thresholds::default());
    let told: Vec<_> = incidents.iter().map(|it| (it.kind, it.counts.failures)).collect();
    assert_eq!(told, [(Kind::Spike, 30), (Kind::Trickle, 8)]);
    let trickle = &incidents[1];
    assert_eq!(trickle.signatures[&Signature::NotConnected], 8);
    assert_eq!(trickle.failures.len(), 8);
    let of = |target: &str| trickle.targets.iter().find(|it| &*it.target == target).unwrap();
    assert_eq!((of("10.0.0.2:8080").requests, of("10.0.0.2:8080").failures), (8, 8));
    // Seven windows: the spike's and three on either side.
    assert_eq!(trickle.counts.requests, 6383 - 7 * 75);
    let ids: Vec<String> = incidents
        .iter()
        .map(|it| diagnose(it, &Facts::unknown("not asked for"), &Reading::default()).incident_id)
        .collect();
    assert_ne!(ids[0], ids[1]);
}

/// A refused connection and a failed handshake leave the same row: the counts of the spike would decide
/// the leak.
#[test]
fn what_cloudwatch_counted_in_a_spike_is_not_counted_for_the_leak() {
    let mut log = working_day(REFUSED, 8);
    rows(&mut log, 4 * 3600 + 1900, REFUSED, 30);
    let incidents = incidents(&log, Thresholds::default());
    let [spike, trickle] = incidents.as_slice() else { panic!("{incidents:?}") };
    let minute = |time: i64| time - time.rem_euclid(60_000_000);
    let spiking = minute(spike.failures[0].time);
    let leaking: Vec<i64> = trickle.failures.iter().map(|row| minute(row.time)).collect();
    let group = target_group_dimension(trickle.target_group_arn.as_deref().unwrap());
    let counted = |metric: Metric, timestamps: Vec<i64>, values: Vec<f64>| MetricDataResult {
        label: metric.label(Some(group)).unwrap(),
        timestamps,
        values,
        status_code: None,
    };
    let results = [
        counted(Metric::ConnectionErrors, vec![spiking], vec![30.0]),
        counted(Metric::TlsErrors, leaking, vec![1.0; 8]),
    ];
    let subject = Subject { target_group: Some(group), is_lambda: Some(false) };
    for (evidence, cause) in [(spike, "connect-refused"), (trickle, "tls-handshake")] {
        let mut facts = Facts::unknown("not asked for");
        facts.metrics = Metrics::of(&results, &subject, evidence.window);
        let diagnosis = diagnose(evidence, &facts, &Reading::default());
        let first = &diagnosis.causes[0];
        assert_eq!((first.id.as_str(), first.confidence), (cause, Confidence::High));
    }
}

/// The rows alone do not say why the connections of these are refused.
#[test]
fn a_trickle_of_unsure_cause_is_told_from_fifty_failures_on() {
    for (number, told) in [(8, false), (49, false), (50, true)] {
        let incidents = incidents(&working_day(REFUSED, number), Thresholds::default());
        assert_eq!((incidents.len(), incidents[0].kind), (1, Kind::Trickle));
        let facts = Facts::unknown("not asked for");
        let diagnosis = diagnose(&incidents[0], &facts, &Reading::default());
        assert_eq!(diagnosis.failures, u64::from(number));
        assert_eq!(diagnosis.causes[0].confidence, Confidence::Low);
        assert_eq!(is_told(&diagnosis), told, "{number}");
    }
}

#[test]
fn rows_on_purpose_make_no_trickle() {
    assert!(incidents(&working_day(ON_PURPOSE, 8), Thresholds::default()).is_empty());
}

#[test]
fn idle_timeouts_make_one_only_where_they_count() {
    let log = working_day(IDLE_TIMEOUT, 8);
    assert!(incidents(&log, Thresholds::default()).is_empty());
    let counted = Thresholds { include_idle_timeout_504: true, ..Thresholds::default() };
    let kinds: Vec<Kind> = incidents(&log, counted).iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [Kind::Trickle]);
}
