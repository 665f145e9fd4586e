//! When CloudWatch takes a document, and which causes may be a dimension.

use super::*;
use crate::detection::Signature;
use crate::diagnosis::{Confidence, RankedCause, Reading, diagnose, sample_case::SampleCase};

const ORIGIN: Origin<'_> = Origin { function: "alb502", request_id: "1", now: 0 };

#[test]
fn cloudwatch_takes_two_weeks_and_two_hours() {
    let values = [(MESSAGES, json!(1))];
    let document = ORIGIN.document("a test", 100_000, &values, [("none", Value::Null)]);
    let time = start_of(100_000);
    assert_eq!(document.body["_aws"]["Timestamp"], 30_000_000_000_u64);
    assert_eq!(document.refusal(time), None);
    assert_eq!(document.refusal(time + MAX_AGE_MICROS), None);
    let told = document.refusal(time + MAX_AGE_MICROS + 1).unwrap();
    assert!(told.contains("14 days"), "{told}");
    assert_eq!(document.refusal(time - MAX_AHEAD_MICROS), None);
    let told = document.refusal(time - MAX_AHEAD_MICROS - 1).unwrap();
    assert!(told.contains("2 hours"), "{told}");
}

#[test]
fn failures_are_split_by_the_shares_and_add_up() {
    let sample = SampleCase::failing(Signature::NotConnected, 12);
    let mut diagnosis = diagnose(&sample.evidence, &sample.facts, &Reading::default());
    diagnosis.causes.clear();
    for (id, share) in
        [("connect-refused", 0.5), ("lambda-throttling", 0.25), ("lambda-of-mars", 0.25)]
    {
        diagnosis.causes.push(RankedCause {
            id: id.to_owned(),
            title: String::new(),
            why_healthy: None,
            confidence: Confidence::High,
            share,
            evidence: Vec::new(),
            against: Vec::new(),
            fixes: Vec::new(),
        });
    }
    let split = |diagnosis: &Diagnosis| -> Vec<(i64, String, f64)> {
        let documents = ORIGIN.by_cause(diagnosis, &[(7, 10), (8, 0), (9, 1)]);
        let told = documents.iter().map(|it| {
            let cause = it.body["Cause"].as_str().unwrap().to_owned();
            (it.window, cause, it.body["FailuresByCause"].as_f64().unwrap())
        });
        told.collect()
    };
    let of = |window: i64, cause: &str, failures: f64| (window, cause.to_owned(), failures);
    let expected = [
        of(7, "connect-refused", 5.0),
        of(7, "lambda-throttling", 2.5),
        // An id that is in no table is no value of a dimension.
        of(7, "undetermined", 2.5),
        of(9, "connect-refused", 0.5),
        of(9, "lambda-throttling", 0.25),
        of(9, "undetermined", 0.25),
    ];
    assert_eq!(split(&diagnosis), expected);
    diagnosis.causes.clear();
    assert_eq!(split(&diagnosis), [of(7, "undetermined", 10.0), of(9, "undetermined", 1.0)]);
}
