//! Why requests are closed on arrival: each pattern shows, and almost the same rows do not show it.

use super::{
    tests::{closed, evidence, path},
    *,
};
use crate::detection::{Minute, Pause, evidence::Share};

/// `failures` of the requests with PATCH were closed, on these paths in turn.
fn patch(requests: u64, failures: u64, paths: &[&str]) -> Vec<Arc<str>> {
    let mut evidence = evidence(vec![path("/", 500, 0)]);
    for number in 0..failures {
        let own = paths[number as usize % paths.len()];
        let mut row = closed(&evidence, number as f64 * 9.0, "10.0.11.5:8080", own);
        row.method = Some("PATCH".into());
        evidence.failures.push(row);
    }
    evidence.methods = vec![
        Share { name: "GET".into(), requests: 500, failures: 0 },
        Share { name: "PATCH".into(), requests, failures },
    ];
    Patterns::of(&evidence).failing_methods
}

#[test]
fn a_method_fails_whatever_the_path() {
    assert_eq!(patch(12, 12, &["/a", "/b"]), ["PATCH".into()]);
    assert!(patch(40, 12, &["/a", "/b"]).is_empty());
    assert!(patch(3, 3, &["/a", "/b"]).is_empty());
    // One path is told by its path.
    assert!(patch(12, 12, &["/a"]).is_empty());
}

/// Requests for as many paths, one each, were closed; `answered` paths like them were answered; so many
/// requests for / were closed too.
fn scanned(paths: u64, answered: u64, elsewhere: u64) -> Option<NeverAnswered> {
    let names = |from, to| (from..to).map(|number| format!("/{number}.php"));
    let mut list = vec![path("/", 2000, elsewhere)];
    list.extend(names(0, paths).map(|name| path(&name, 1, 1)));
    list.extend(names(paths, paths + answered).map(|name| path(&name, 1, 0)));
    Patterns::of(&evidence(list)).never_answered
}

#[test]
fn what_nobody_gets_is_told_from_rows_that_fail_at_random() {
    let found = scanned(40, 0, 1).unwrap();
    assert_eq!((found.paths, found.closed, found.of, found.elsewhere), (40, 40, 41, 1999));
    assert_eq!(scanned(40, 0, 30), None, "others fail as well");
    assert_eq!(scanned(4, 0, 0), None, "too few paths");
    assert_eq!(scanned(40, 4000, 0), None, "most of the traffic is for paths like them");
}

/// Ten minutes of a hundred requests; so many of each fail, between these seconds of the minute.
fn minutes(failures: [(u64, i64, i64); 10]) -> Option<Outage> {
    let mut evidence = evidence(vec![path("/", 1000, 0)]);
    let start = evidence.window.start;
    evidence.signatures.clear();
    for (number, (failures, from, to)) in failures.into_iter().enumerate() {
        let start = start + number as i64 * 60_000_000;
        let at = |seconds: i64| start + seconds * 1_000_000;
        let failed = (0 < failures).then(|| (at(from), at(to)));
        evidence.minutes.push(Minute { start, requests: 100, failures, failed });
        *evidence.signatures.entry(Signature::ClosedEarly).or_default() += failures;
    }
    evidence.counts.failures = evidence.signatures[&Signature::ClosedEarly];
    Patterns::of(&evidence).outage
}

#[test]
fn an_outage_fails_from_its_first_failure_to_its_last() {
    const NONE: (u64, i64, i64) = (0, 0, 0);
    let mut failures = [NONE; 10];
    (failures[3], failures[4]) = ((50, 30, 59), (48, 0, 29));
    let found = minutes(failures).unwrap();
    assert_eq!((found.failures, found.requests, found.is_over), (98, 98, true));
    // The same number over the whole of both minutes is no outage.
    (failures[3], failures[4]) = ((50, 1, 59), (48, 0, 58));
    assert_eq!(minutes(failures), None);
    // From the first row on nothing is known of the time before.
    assert_eq!(minutes([(100, 0, 59); 10]), None);
    let mut to_the_end = [(100, 0, 59); 10];
    (to_the_end[0], to_the_end[1]) = (NONE, NONE);
    assert!(!minutes(to_the_end).unwrap().is_over);
}

/// Requests of these sizes were closed, on two paths in turn; others of up to 900 bytes succeeded.
fn sizes(sizes: &[u64], names: [&str; 2]) -> Option<TooLarge> {
    let mut usual = path("/", 500, sizes.len() as u64);
    usual.largest_success_bytes = Some(900);
    let mut evidence = evidence(vec![usual]);
    for (number, bytes) in sizes.iter().enumerate() {
        let name = names[number % 2];
        let mut row = closed(&evidence, number as f64 * 9.0, "10.0.11.5:8080", name);
        row.received_bytes = Some(*bytes);
        evidence.failures.push(row);
    }
    Patterns::of(&evidence).too_large
}

#[test]
fn requests_that_are_all_larger_than_any_other_are_closed_for_it() {
    let found = sizes(&[17_000, 18_000, 16_500, 19_000, 17_500], ["/", "/cart"]).unwrap();
    assert_eq!((found.smallest, found.largest_success, found.closed), (16_500, 900, 5));
    assert!(found.without_body);
    assert_eq!(sizes(&[17_000, 18_000, 800, 19_000, 17_500], ["/", "/cart"]), None);
    assert_eq!(sizes(&[1_700, 1_800, 1_650, 1_900, 1_750], ["/", "/cart"]), None);
    assert_eq!(sizes(&[17_000, 18_000, 16_500, 19_000, 17_500], ["/", "/"]), None);
}

/// Closed requests that came `gap` seconds after an answer; of healthy ones `near` in a hundred do so at once.
fn after(closed: usize, gap: f32, near: usize) -> Option<RightAfter> {
    let pause = |gap| Pause {
        target: "10.0.11.5:8080".into(),
        path: Some("/".into()),
        gaps: Box::new([gap]),
        answered: 0,
        after: None,
    };
    let mut evidence = evidence(vec![path("/", 500, closed as u64)]);
    evidence.pauses.closed_early = (0..closed).map(|_| pause(gap)).collect();
    let healthy =
        |number: usize| if number % 100 < near { 0.02 } else { 0.3 + number as f32 * 0.01 };
    evidence.pauses.healthy = (0..200).map(|number| pause(healthy(number))).collect();
    Patterns::of(&evidence).right_after
}

#[test]
fn a_connection_that_ends_with_its_answer_breaks_what_comes_right_after() {
    let found = after(12, 0.03, 10).unwrap();
    assert_eq!((found.closed, found.of), (12, 12));
    assert_eq!(after(4, 0.03, 10), None, "too few");
    assert_eq!(after(12, 0.03, 80), None, "clients that ask again at once");
    assert_eq!(after(12, 0.4, 10), None, "not at once");
}

/// The first target gets a request every two seconds; these (by number) were closed.
fn spells_of(closed_ones: impl Fn(i64) -> bool) -> Vec<Spells> {
    let mut evidence = evidence(vec![path("/", 150, 0)]);
    let start = evidence.window.start;
    let numbers: Vec<i64> = (0..150).filter(|number| closed_ones(*number)).collect();
    for number in &numbers {
        let mut row = closed(&evidence, *number as f64 * 2.0, "10.0.11.5:8080", "/");
        row.time = start + number * 2_000_000;
        evidence.failures.push(row);
    }
    evidence.signatures = [(Signature::ClosedEarly, numbers.len() as u64)].into();
    evidence.targets[0].requests = 150;
    Patterns::of(&evidence).spells
}

#[test]
fn a_target_that_closes_all_for_a_while_is_told_from_rows_that_fail_at_random() {
    let found = spells_of(|number| number % 50 < 8);
    assert_eq!((found[0].spells, found[0].closed, found[0].longest), (3, 24, 14.0));
    assert_eq!(spells_of(|number| number % 6 == 0), []);
    assert_eq!(spells_of(|number| number < 8), [], "once: that is an outage");
}
