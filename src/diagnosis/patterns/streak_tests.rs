//! What a target closes one after the other is a streak, and almost the same is none.

use super::{
    tests::{closed, evidence, path},
    *,
};
use crate::detection::Pause;

const TARGET: &str = "10.0.11.5:8080";

/// Requests to one target, `at` seconds into the incident, each so many seconds after the latest answer; with
/// their pauses.
fn streaks_of(rows: &[(f64, Option<f64>)], last_success: f64) -> (Evidence, Vec<Streak>) {
    let mut evidence = evidence(vec![path("/", 500, 20)]);
    let start = evidence.window.start;
    evidence.targets[0].last_success = Some(start + (last_success * 1e6) as i64);
    for (at, gap) in rows {
        let mut row = closed(&evidence, *at, TARGET, "/");
        row.created = Some(row.time - 10_000);
        row.gaps = gap.iter().map(|gap| *gap as f32).collect();
        if let Some(answered) = row.answered() {
            evidence.pauses.closed_early.push(Pause {
                target: TARGET.into(),
                path: Some("/".into()),
                gaps: row.gaps.clone(),
                answered,
                after: None,
            });
        }
        evidence.failures.push(row);
    }
    let found = Patterns::of(&evidence).streaks;
    (evidence, found)
}

/// Every second a request, since an answer at the start.
fn in_a_row(count: u32) -> Vec<(f64, Option<f64>)> {
    (1..=count).map(|at| (f64::from(at), Some(f64::from(at)))).collect()
}

#[test]
fn requests_with_no_answer_in_between_are_a_streak() {
    let (evidence, found) = streaks_of(&in_a_row(5), 0.5);
    let [streak] = &found[..] else { panic!("{found:?}") };
    assert_eq!((streak.closed, streak.is_over), (5, false));
    assert!(evidence.failures.iter().all(|row| streak.has(row)));
    assert!(evidence.pauses.closed_early.iter().all(|pause| streak.has_pause(pause)));
    assert_eq!(Patterns::of(&evidence).keep_alive.known, 0);
    let (_, found) = streaks_of(&in_a_row(5), 60.0);
    assert!(found[0].is_over);
    assert_eq!(streaks_of(&in_a_row(4), 0.5).1, []);
    // Rows that reach back no further go on with it when the target has not answered since.
    let beyond = [in_a_row(5), vec![(300.0, None)]].concat();
    assert_eq!(streaks_of(&beyond, 0.5).1[0].closed, 6);
    assert_eq!(streaks_of(&beyond, 250.0).1[0].closed, 5);
}

#[test]
fn an_answer_in_between_or_one_moment_is_none() {
    // Each three seconds after an answer of its own: a timer.
    let timer: Vec<_> = (1..=20).map(|at| (f64::from(at) * 5.0, Some(3.0))).collect();
    assert_eq!(streaks_of(&timer, 200.0).1, []);
    // The requests of one page, over a pool that timed out together.
    let page = (0..20).map(|n| 3.0 + f64::from(n) * 0.02).map(|at| (at, Some(at)));
    assert_eq!(streaks_of(&page.collect::<Vec<_>>(), 0.5).1, []);
    // Nobody knows what lies between.
    let unknown: Vec<_> = (1..=20).map(|at| (f64::from(at), None)).collect();
    assert_eq!(streaks_of(&unknown, 0.5).1, []);
}
