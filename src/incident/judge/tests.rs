use super::*;
use crate::{
    detection::Signature,
    incident::{Idle, Lease, Told},
};

/// The number of the first window; the others count from it.
const W: i64 = 5_983_920;

const HOUR: i64 = 3_600_000_000;

fn settings() -> Settings {
    Settings { thresholds: Thresholds::default(), cooldown: HOUR, max_age: 24 * HOUR }
}

/// Minutes after the first window begins. Window n is over after 5 n + 5 and complete after 5 n + 15.
fn at(minutes: i64) -> i64 {
    start_of(W) + minutes * 60_000_000
}

/// Window, requests and failures.
fn windows(list: &[(i64, u64, u64)]) -> GroupWindows {
    let of = |&(window, requests, failures): &(i64, u64, u64)| {
        let mut seen = Seen { requests, failures, ..Seen::default() };
        seen.signatures[Signature::NotConnected as usize] = failures;
        (W + window, seen)
    };
    list.iter().map(of).collect()
}

fn nobody_told() -> Record {
    Record::new("app/shop/1", Some("arn:shop-web"))
}

/// An incident of these windows that was told at a minute with a rate, and is not to be reviewed.
fn told(range: (i64, i64), minute: i64, rate: f64) -> Record {
    let (first, last) = (W + range.0, W + range.1);
    let open = Open {
        id: "alb502-000000000000".to_owned(),
        first,
        last,
        told: Some(Told { at: at(minute), rate, last }),
        causes: vec!["connect-refused".to_owned()],
        reviewed: i64::MAX,
        signatures: vec![Signature::NotConnected as usize],
        attributed: 0,
        idle: None,
        usual_rate: None,
    };
    Record { open: Some(open), ..nobody_told() }
}

fn judged(minute: i64, list: &[(i64, u64, u64)], record: &Record) -> Judgement {
    judge(at(minute), &windows(list), record, &settings())
}

fn said(minute: i64, list: &[(i64, u64, u64)], record: &Record) -> Option<Speak> {
    judged(minute, list, record).speak
}

fn range(record: &Record) -> Option<(i64, i64)> {
    record.open.as_ref().map(|open| (open.first - W, open.last - W))
}

#[test]
fn a_spike_is_opened_as_soon_as_it_shows() {
    for (list, expected) in [
        (&[(0, 500, 5)][..], Some((0, 0))),
        (&[(0, 501, 5)], None),
        (&[(0, 4, 4)], None),
        (&[(0, 100, 0)], None),
        // Neighbours with too few are joined.
        (&[(0, 100, 2), (3, 100, 3)], Some((0, 3))),
        (&[(0, 100, 2), (4, 100, 3)], None),
        (&[(0, 100, 9), (3, 100, 9)], Some((0, 3))),
    ] {
        let judgement = judged(60, list, &nobody_told());
        assert_eq!(range(&judgement.record), expected, "{list:?}");
        assert_eq!(judgement.speak, expected.map(|_| Speak::Opened), "{list:?}");
    }
    // The id is that of its first window, and stays when an earlier one turns up.
    let opened = judged(60, &[(2, 100, 9)], &nobody_told()).record;
    let moved = judged(60, &[(1, 100, 9), (2, 100, 9)], &opened).record;
    assert_eq!((range(&opened), range(&moved)), (Some((2, 2)), Some((1, 2))));
    assert_eq!(opened.open.unwrap().id, moved.open.unwrap().id);
}

#[test]
fn the_first_nodes_file_does_not_fake_a_rate() {
    // Window 1 is over after ten minutes and complete after twenty.
    for (minute, list, expected, watched) in [
        (11, &[(0, 1000, 0), (1, 100, 9)][..], Some(Speak::Opened), None),
        (19, &[(-1, 1000, 0), (1, 100, 9)], None, Some(1)),
        (19, &[(-1, 1000, 0), (1, 100, 10)], Some(Speak::Opened), None),
        // Complete: it is what it is.
        (20, &[(-1, 1000, 0), (1, 100, 9)], Some(Speak::Opened), None),
        (20, &[(-1, 1000, 0), (1, 901, 9)], None, None),
        // The last complete window with traffic is the usual one; one without rows is none.
        (19, &[(-2, 1000, 0), (-1, 0, 0), (1, 100, 9)], None, Some(1)),
        (19, &[(-2, 1000, 0), (-1, 800, 0), (1, 100, 9)], Some(Speak::Opened), None),
        // More than usual is believed at once.
        (19, &[(-1, 100, 0), (1, 901, 9)], None, None),
    ] {
        let judgement = judged(minute, list, &nobody_told());
        assert_eq!(judgement.speak, expected, "{minute} {list:?}");
        assert_eq!(judgement.record.watched.map(|it| it - W), watched, "{minute} {list:?}");
    }
    // An object without failures looks at a watched window, and at none else.
    let watching = judged(19, &[(-1, 1000, 0), (1, 100, 9)], &nobody_told()).record;
    assert!(watching.is_active());
    let needed = first_needed(Some(&watching), None);
    assert!(needed <= W + 1 - WINDOWS_PER_HOUR, "{needed}");
    let over = judged(20, &[(-1, 1000, 0), (1, 1000, 9)], &watching).record;
    assert!(!over.is_active());
}

#[test]
fn a_window_that_only_seemed_to_be_a_spike_does_not_belong_to_the_incident() {
    // Half of window 1 was there, and its failures: one in a hundred.
    let half = [(0, 100, 9), (1, 500, 5)];
    let record = judged(11, &half, &told((0, 0), 6, 1.0)).record;
    assert_eq!(range(&record), Some((0, 1)));
    let id = record.open.as_ref().unwrap().id.clone();
    for (all, expected) in [
        (&[(0, 100, 9), (1, 1001, 5)][..], (0, 0)),
        (&[(0, 100, 9), (1, 1001, 11)], (0, 1)),
        // The first window seemed to be one.
        (&[(0, 5000, 9), (1, 500, 5)], (1, 1)),
        // None is one: what was told keeps its windows.
        (&[(0, 5000, 9), (1, 1001, 5)], (0, 1)),
        // And what follows is measured from the last that is.
        (&[(0, 100, 9), (1, 1001, 5), (2, 100, 0), (3, 100, 0), (4, 100, 9)], (0, 0)),
        (&[(0, 100, 9), (1, 1001, 11), (2, 100, 0), (3, 100, 0), (4, 100, 9)], (0, 4)),
    ] {
        let record = judged(60, all, &record).record;
        assert_eq!(range(&record), Some(expected), "{all:?}");
        assert_eq!(record.open.unwrap().id, id);
    }
    // What is too old to be told stays as well.
    let old = judged(24 * 60 + 10, &[(0, 100, 9), (286, 100, 9)], &told((0, 0), 6, 1.0)).record;
    assert_eq!(range(&old), Some((0, 286)));
    // The beginning of a long incident is not read any more, and stays.
    let long = judged(200, &[(30, 100, 9), (31, 100, 9)], &told((0, 30), 160, 1.0)).record;
    assert_eq!(range(&long), Some((0, 31)));
}

#[test]
fn old_windows_are_silent() {
    let day = 24 * 60;
    assert_eq!(said(day + 4, &[(0, 100, 50)], &nobody_told()), Some(Speak::Opened));
    assert_eq!(said(day + 5, &[(0, 100, 50)], &nobody_told()), None);
}

#[test]
fn far_worse_is_a_change() {
    let worse = |failures| said(11, &[(0, 1000, 20), (1, 1000, failures)], &told((0, 1), 9, 0.02));
    assert_eq!(worse(199), None);
    assert_eq!(worse(200), Some(Speak::Worse { start: start_of(W + 1), rate: 0.2 }));
    // Not by the first node's file.
    let record = told((0, 1), 9, 0.02);
    assert_eq!(said(16, &[(0, 1000, 20), (1, 50, 20)], &record), None);
    // Four failures are no rate.
    assert_eq!(said(60, &[(0, 1000, 20), (1, 4, 4)], &record), None);
    // It is told once.
    let seen = windows(&[(0, 1000, 20), (1, 1000, 300)]);
    let mut record = record;
    record.told(at(11), &seen, &settings(), 0.16, "connect-refused");
    assert_eq!(record.open.as_ref().unwrap().told.unwrap().rate, 0.3);
    assert_eq!(judge(at(11), &seen, &record, &settings()).speak, None);
}

#[test]
fn another_leading_cause_is_a_change_when_it_is_news() {
    let mut record = told((0, 1), 9, 1.0);
    for (cause, confidence, expected) in [
        ("keepalive-race", Confidence::High, true),
        ("keepalive-race", Confidence::Medium, true),
        ("keepalive-race", Confidence::Low, false),
        ("connect-refused", Confidence::High, false),
    ] {
        assert_eq!(record.is_news(cause, confidence), expected, "{cause} {confidence:?}");
    }
    record.told(at(11), &windows(&[]), &settings(), 0.1, "keepalive-race");
    assert!(!record.is_news("connect-refused", Confidence::High), "back to a told one");
    assert!(!record.is_news("keepalive-race", Confidence::High), "told");
}

#[test]
fn a_window_is_looked_at_again_when_it_is_complete_and_when_it_fails_otherwise() {
    let mut record = told((0, 1), 9, 1.0);
    let list = [(0, 100, 9), (1, 100, 9)];
    record.open.as_mut().unwrap().reviewed = i64::MIN;
    assert_eq!(said(14, &list, &record), None, "nothing is complete");
    assert_eq!(said(15, &list, &record), Some(Speak::Review), "window 0 is");
    record.reviewed(at(15), &windows(&list), &settings());
    assert_eq!(said(19, &list, &record), None, "seen");
    assert_eq!(said(20, &list, &record), Some(Speak::Review), "window 1 is");
    record.reviewed(at(20), &windows(&list), &settings());
    assert_eq!(said(20, &list, &record), None);
    // Another signature leads in the last window, with failures enough.
    let mut otherwise = windows(&list);
    let last = otherwise.get_mut(&(W + 1)).unwrap();
    last.signatures[Signature::NotConnected as usize] = 4;
    last.signatures[Signature::TargetMade as usize] = 5;
    let again = |record: &Record| judge(at(20), &otherwise, record, &settings()).speak;
    assert_eq!(again(&record), Some(Speak::Review));
    record.reviewed(at(20), &otherwise, &settings());
    assert_eq!(again(&record), None);
    assert_eq!(said(20, &list, &record), None, "and back: seen before");
    let mut few = windows(&[(0, 100, 9), (1, 100, 4)]);
    few.get_mut(&(W + 1)).unwrap().signatures = [0; Signature::ALL.len()];
    few.get_mut(&(W + 1)).unwrap().signatures[Signature::ClosedLate as usize] = 4;
    assert_eq!(judge(at(20), &few, &record, &settings()).speak, None, "four say nothing");
}

#[test]
fn what_goes_on_is_told_after_the_cooldown_when_new_windows_failed() {
    let failing: Vec<_> = (0..14).map(|window| (window, 100, 9)).collect();
    let record = told((0, 1), 10, 1.0);
    assert_eq!(said(69, &failing, &record), None, "too soon");
    assert_eq!(said(70, &failing, &record), Some(Speak::Ongoing));
    let nothing_new = [(0, 100, 9), (1, 100, 9), (12, 100, 0), (13, 100, 0)];
    assert_eq!(said(75, &nothing_new, &record), None, "no new window failed");
}

#[test]
fn three_complete_quiet_windows_with_traffic_are_the_end() {
    let failing = (0, 100, 9);
    let record = told((0, 0), 5, 1.0);
    // Window 3 is complete after thirty minutes.
    for (minute, list, expected) in [
        (30, &[failing, (1, 100, 0), (2, 100, 0), (3, 100, 0)][..], Some(Speak::Resolved)),
        (29, &[failing, (1, 100, 0), (2, 100, 0), (3, 100, 0)], None),
        (60, &[failing, (1, 100, 0), (2, 100, 0)], None),
        (60, &[failing, (1, 100, 0), (2, 100, 0), (3, 0, 0)], None),
        (60, &[failing, (1, 100, 0), (3, 100, 0), (9, 1, 0)], Some(Speak::Resolved)),
        // A few failures that are no spike are quiet.
        (60, &[failing, (1, 9000, 1), (2, 9000, 1), (3, 9000, 1)], Some(Speak::Resolved)),
        // The last of them fails.
        (60, &[failing, (1, 100, 0), (2, 100, 0), (3, 100, 9)], None),
    ] {
        assert_eq!(said(minute, list, &record), expected, "{minute} {list:?}");
    }
}

#[test]
fn a_day_without_traffic_is_the_end() {
    let day = 24 * 60;
    let record = told((0, 0), 5, 1.0);
    for (minute, list, since) in [
        (day + 5, &[(0, 100, 9)][..], Some(5)),
        (day + 4, &[(0, 100, 9)], None),
        (day + 5, &[(0, 100, 9), (2, 1, 0)], None),
        (day + 15, &[(0, 100, 9), (2, 1, 0)], Some(15)),
        // Nothing of it is known any more.
        (day + 5, &[], Some(5)),
    ] {
        let expected = since.map(|minute| Speak::NoTraffic(at(minute)));
        assert_eq!(said(minute, list, &record), expected, "{minute} {list:?}");
    }
}

#[test]
fn late_objects_of_what_is_over_are_silent_and_a_new_incident_is_not() {
    let mut record = told((0, 1), 5, 1.0);
    record.close(at(60), 24 * HOUR);
    for (list, expected) in [
        (&[(0, 100, 90), (1, 100, 90)][..], None),
        (&[(-3, 100, 90)], None),
        (&[(4, 100, 90)], None),
        (&[(-4, 100, 90)], Some((-4, -4))),
        (&[(5, 100, 90)], Some((5, 5))),
        (&[(1, 100, 90), (4, 100, 90), (5, 100, 90)], Some((5, 5))),
    ] {
        let judgement = judged(60, list, &record);
        assert_eq!(range(&judgement.record), expected, "{list:?}");
        assert_eq!(judgement.speak, expected.map(|_| Speak::Opened), "{list:?}");
    }
}

#[test]
fn spikes_apart_are_two_incidents_one_after_the_other() {
    let list =
        [(0, 100, 9), (1, 100, 0), (2, 100, 0), (3, 100, 0), (4, 100, 9), (5, 100, 0), (6, 100, 0)];
    let first = judged(30, &list, &nobody_told());
    assert_eq!((range(&first.record), first.speak), (Some((0, 0)), Some(Speak::Opened)));
    let mut record = first.record;
    record.told(at(30), &windows(&list), &settings(), 0.09, "connect-refused");
    record.reviewed(at(30), &windows(&list), &settings());
    assert_eq!(said(30, &list, &record), Some(Speak::Resolved));
    record.close(at(30), 24 * HOUR);
    let second = judged(30, &list, &record);
    assert_eq!((range(&second.record), second.speak), (Some((4, 4)), Some(Speak::Opened)));
    // Five minutes earlier the third quiet window was not complete: it may still fail.
    assert_eq!(range(&judged(29, &list, &told((0, 0), 5, 1.0)).record), Some((0, 4)));
    // And a window without traffic shows no end.
    let list = [(0, 100, 9), (1, 100, 0), (3, 100, 0), (4, 100, 9)];
    assert_eq!(range(&judged(60, &list, &told((0, 0), 5, 1.0)).record), Some((0, 4)));
}

#[test]
fn a_spike_long_before_the_open_one_waits_for_its_end() {
    let before = [(0, 100, 9), (1, 100, 0), (2, 100, 0), (3, 100, 0), (8, 100, 9)];
    let waiting = judged(60, &before, &told((8, 8), 50, 1.0));
    assert_eq!((range(&waiting.record), waiting.speak), (Some((8, 8)), None));
    assert_eq!(waiting.record.watched, Some(W));
    assert!(first_needed(Some(&waiting.record), None) <= W - WINDOWS_PER_HOUR);
    let mut record = waiting.record;
    record.close(at(90), 24 * HOUR);
    assert!(record.is_active(), "an object without failures looks at it");
    let opened = judged(90, &before, &record);
    assert_eq!((range(&opened.record), opened.speak), (Some((0, 0)), Some(Speak::Opened)));
    // Without three quiet windows between them it is the same incident.
    let near = [(0, 100, 9), (1, 100, 0), (2, 100, 0), (8, 100, 9)];
    let joined = judged(60, &near, &told((8, 8), 50, 1.0)).record;
    assert_eq!((range(&joined), joined.watched), (Some((0, 8)), None));
}

#[test]
fn what_was_begun_and_is_no_spike_any_more_is_forgotten_unless_somebody_may_have_heard_of_it() {
    let begun = judged(6, &[(0, 100, 9)], &nobody_told()).record;
    let more = [(0, 2000, 9)];
    let judgement = judged(7, &more, &begun);
    assert_eq!((range(&judgement.record), judgement.speak), (None, None));
    let left = Record { lease: Some(Lease { owner: "a".to_owned(), until: at(9) }), ..begun };
    assert_eq!(said(7, &more, &left), Some(Speak::Opened));
    assert_eq!(said(25 * 60, &more, &left), None, "of yesterday");
}

#[test]
fn whoever_comes_after_a_copy_that_died_sees_what_was_left_to_it() {
    let lease = Lease { owner: "a".to_owned(), until: at(60) };
    let left = Record { lease: Some(lease), ..nobody_told() };
    assert!(left.is_active());
    assert!(!nobody_told().is_active());
    assert!(first_needed(Some(&left), None) <= W + 12 - 2 * WINDOWS_PER_HOUR);
    assert_eq!(first_needed(Some(&left), Some(W - 100)), W - 100 - WINDOWS_BEFORE);
}

#[test]
fn the_usual_number_of_requests_is_told_while_objects_are_missing() {
    let seen = [(0, 1000, 0), (3, 100, 20)];
    let open = judged(19, &seen, &nobody_told()).record.open.unwrap();
    assert_eq!((open.first, open.last), (W + 3, W + 3));
    assert_eq!(usual_requests(at(19), &windows(&seen), &open), Some(1000));
    // Complete: what was seen is all.
    assert_eq!(usual_requests(at(30), &windows(&seen), &open), None);
    // As many as usual were seen.
    let enough = [(0, 1000, 0), (3, 1000, 20)];
    assert_eq!(usual_requests(at(19), &windows(&enough), &open), None);
    // Nothing is known of the beginning of a long incident.
    let long = Open { first: W - 100, ..open };
    assert_eq!(usual_requests(at(19), &windows(&seen), &long), None);
}

#[test]
fn an_incident_without_traffic_is_remembered_instead_of_read_again() {
    let quiet = [(0, 100, 9), (1, 100, 0), (2, 100, 0)];
    let record = told((0, 0), 6, 0.09);
    let idle = |record: &Record| record.open.as_ref().unwrap().idle;
    // Window 12 is complete after 75 minutes.
    assert_eq!(idle(&judged(74, &quiet, &record).record), None);
    let settled = judged(75, &quiet, &record);
    assert_eq!(settled.speak, None);
    let record = settled.record;
    assert_eq!(idle(&record), Some(Idle { until: W + 12, quiet: 2, traffic: Some(W + 2) }));
    assert_eq!(judged(134, &[], &record).record, record, "no write for each object");
    let record = judged(20 * 60, &[], &record).record;
    let until = W + 20 * 12 - 3;
    assert_eq!(idle(&record), Some(Idle { until, quiet: 2, traffic: Some(W + 2) }));
    assert_eq!(first_needed(Some(&record), None), until - WINDOWS_BEFORE);
    // What is not read any more still counts: one more quiet window, or a day of silence since the last.
    let now = 20 * 60 + 30;
    assert_eq!(said(now, &[(240, 100, 0)], &record), Some(Speak::Resolved));
    assert_eq!(said(now, &[(245, 100, 0)], &record), None, "not complete");
    assert_eq!(said(24 * 60 + 14, &[], &record), None);
    let silent = Speak::NoTraffic(end_of(W + 2));
    assert_eq!(said(24 * 60 + 15, &[], &record), Some(silent));
    // It fails again: the same incident, and its first window stays.
    let again = judged(now, &[(240, 100, 9)], &record).record;
    assert_eq!((range(&again), idle(&again)), (Some((0, 240)), None));
    // Another one when the third quiet window lies between.
    let apart = [(238, 100, 0), (243, 100, 9)];
    assert_eq!(range(&judged(now, &apart, &record).record), Some((0, 0)));
    assert_eq!(said(now, &apart, &record), Some(Speak::Resolved));
}

#[test]
fn a_surge_of_hours_is_one_incident_to_its_end() {
    // 60 of 8,000 in each window: below one percent, and ten times what was usual for the first hours.
    let seen = |now: i64| -> Vec<(i64, u64, u64)> {
        (0..now)
            .map(|window| (window, 8000, if (12..48).contains(&window) { 60 } else { 0 }))
            .collect()
    };
    let mut record = nobody_told();
    let mut said = Vec::new();
    for window in 13..60 {
        let now = 5 * window + 1;
        let known: Vec<_> = (seen(window).into_iter())
            .filter(|it| first_needed(Some(&record), None) <= W + it.0 || record.open.is_none())
            .collect();
        let judgement = judged(now, &known, &record);
        record = judgement.record;
        if let Some(speak) = judgement.speak {
            said.push(speak);
            record.reviewed(at(now), &windows(&known), &settings());
            if speak != Speak::Review {
                record.told(at(now), &windows(&known), &settings(), 0.0075, "connect-refused");
            }
            if speak == Speak::Resolved {
                assert_eq!(range(&record), Some((12, 47)));
                record.close(at(now), settings().max_age);
            }
        }
    }
    said.retain(|it| *it != Speak::Review);
    assert_eq!(
        said,
        [Speak::Opened, Speak::Ongoing, Speak::Ongoing, Speak::Ongoing, Speak::Resolved],
        "three hours"
    );
}
