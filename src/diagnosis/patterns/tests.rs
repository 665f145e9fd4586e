//! For each pattern: it shows, and almost the same rows do not show it.

use std::collections::BTreeMap;

use super::*;
use crate::{
    detection::{Pause, evidence::PathEvidence},
    diagnosis::sample_case::SampleCase,
};

const SECOND: i64 = 1_000_000;

/// A request that was closed early, `at` seconds into the incident.
pub(super) fn closed(evidence: &Evidence, at: f64, target: &str, path: &str) -> FailureRow {
    FailureRow {
        time: evidence.window.start + (at * SECOND as f64) as i64,
        created: None,
        signature: Signature::ClosedEarly,
        elapsed: Some(0.01),
        times: [Some(0.0), Some(0.01), Some(-1.0)],
        target: Some(target.into()),
        path: Some(path.into()),
        method: Some("GET".into()),
        node: "203.0.113.1".into(),
        error_reason: None,
        received_bytes: Some(300),
        trace_id: None,
        object: "a.log".into(),
        gaps: Box::default(),
        after: None,
    }
}

pub(in crate::diagnosis) fn path(name: &str, requests: u64, failures: u64) -> PathEvidence {
    PathEvidence {
        path: name.into(),
        requests,
        failures,
        successes: requests - failures,
        success_bytes: Some(300.0),
        largest_success_bytes: Some(400),
        longest_success: Some(0.1),
        signatures: BTreeMap::from([(Signature::ClosedEarly, failures)]),
    }
}

pub(super) fn evidence(paths: Vec<PathEvidence>) -> Evidence {
    let mut sample = SampleCase::failing(Signature::ClosedEarly, 20);
    sample.evidence.paths = paths;
    sample.evidence.failures.clear();
    sample.evidence
}

#[test]
fn a_path_fails_each_time_or_leans_or_does_not_stand_out() {
    let names = |evidence: &Evidence| {
        let patterns = Patterns::of(evidence);
        (patterns.failing_paths.len(), patterns.leaning_paths.len())
    };
    assert_eq!(names(&evidence(vec![path("/", 500, 0), path("/bad", 12, 12)])), (1, 0));
    assert_eq!(names(&evidence(vec![path("/", 500, 0), path("/bad", 60, 12)])), (0, 1));
    assert_eq!(names(&evidence(vec![path("/", 500, 30), path("/same", 200, 12)])), (0, 0));
    // Two rows are too few, and a path alone is compared with nothing.
    assert_eq!(names(&evidence(vec![path("/", 500, 0), path("/bad", 2, 2)])), (0, 0));
    assert_eq!(names(&evidence(vec![path("/bad", 12, 12)])), (0, 0));
}

/// Uploads of these sizes were closed; others of up to `largest` bytes succeeded.
fn uploads(sizes: &[u64], largest: u64) -> Vec<SizeLimit> {
    let mut upload = path("/upload", 60, sizes.len() as u64);
    upload.largest_success_bytes = Some(largest);
    let mut evidence = evidence(vec![path("/", 500, 0), upload]);
    for (number, bytes) in sizes.iter().enumerate() {
        let mut row = closed(&evidence, number as f64 * 9.0, "10.0.11.5:8080", "/upload");
        (row.method, row.received_bytes) = (Some("POST".into()), Some(*bytes));
        evidence.failures.push(row);
    }
    Patterns::of(&evidence).size_limits
}

#[test]
fn a_size_limit_lies_between_what_succeeds_and_what_is_closed() {
    let limits = uploads(&[1_100_000, 1_300_000, 2_000_000, 1_050_000], 1_000_000);
    assert_eq!((limits[0].smallest_closed, limits[0].closed), (1_050_000, 4));
    assert_eq!(uploads(&[1_100_000, 1_300_000, 2_000_000, 900_000], 1_000_000), []);
    assert_eq!(uploads(&[1_100_000, 1_300_000], 1_000_000), []);
    // Small ones are headers.
    assert_eq!(uploads(&[900, 950, 990], 800), []);
}

/// Closed requests on two paths, `poisoned` of them after an answer to /legacy, among healthy ones of
/// which one in ten came after it.
fn poisoned(poisoned: usize, others: usize, paths: [&str; 2]) -> Option<Poison> {
    let pause = |path: Option<&str>, after: &str| Pause {
        target: "10.0.11.5:8080".into(),
        path: path.map(Into::into),
        gaps: Box::new([0.4]),
        answered: 0,
        after: Some(after.into()),
    };
    let mut evidence = evidence(vec![path("/", 500, 10), path("/cart", 500, 10)]);
    for number in 0..poisoned + others {
        let after = if number < poisoned { "/legacy" } else { "/" };
        let own = Some(paths[number % 2]);
        evidence.pauses.closed_early.push(pause(own, after));
    }
    for number in 0..200 {
        let after = if number % 10 == 0 { "/legacy" } else { "/" };
        evidence.pauses.healthy.push(pause(None, after));
    }
    Patterns::of(&evidence).poison
}

#[test]
fn an_answer_that_breaks_the_next_request_is_found() {
    let found = poisoned(9, 1, ["/", "/cart"]).unwrap();
    assert_eq!((&*found.path, found.after, found.of), ("/legacy", 9, 10));
    assert_eq!(poisoned(2, 8, ["/", "/cart"]), None);
    // On one path, the order in which clients ask explains it.
    assert_eq!(poisoned(9, 1, ["/", "/"]), None);
}

/// Requests for /bad fail each time; requests for other paths are cut so many seconds later.
fn cut(after: f64) -> Patterns {
    let mut evidence = evidence(vec![path("/", 500, 3), path("/bad", 12, 12)]);
    for number in 0..12 {
        let at = f64::from(number) * 20.0;
        evidence.failures.push(closed(&evidence, at, "10.0.11.5:8080", "/bad"));
        if number % 4 == 0 {
            evidence.failures.push(closed(&evidence, at + after, "10.0.11.5:8080", "/"));
        }
    }
    Patterns::of(&evidence)
}

#[test]
fn a_path_that_takes_others_with_it_kills_its_process() {
    let patterns = cut(0.02);
    assert_eq!((patterns.cut_with[0].together, patterns.cut_with[0].of), (3, 3));
    assert_eq!(patterns.killer_paths, ["/bad".into()]);
    assert_eq!(cut(7.0).killer_paths, Vec::<Arc<str>>::new());
}

/// Early closed requests at these seconds.
fn in_bursts(seconds: &[f64]) -> bool {
    let mut evidence = evidence(vec![path("/", 500, seconds.len() as u64)]);
    for at in seconds {
        evidence.failures.push(closed(&evidence, *at, "10.0.11.5:8080", "/"));
    }
    Patterns::of(&evidence).early_in_bursts
}

#[test]
fn one_event_closes_many_connections_in_a_moment() {
    assert!(in_bursts(&[10.0, 10.05, 10.1, 10.12, 130.0, 130.02, 130.2, 200.0]));
    assert!(!in_bursts(&[10.0, 31.0, 55.0, 80.1, 130.0, 160.0, 190.0, 200.0]));
}
