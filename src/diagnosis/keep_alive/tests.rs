use super::*;
use crate::{
    detection::evidence::Quantiles,
    diagnosis::{patterns::tests::path, sample_case::SampleCase},
};

/// Closed requests with one gap each, on one target.
fn closed(gaps: &[f32]) -> Vec<Pause> {
    gaps.iter().map(|gap| pause("10.0.1.5:80", "/", &[*gap])).collect()
}

fn pause(target: &str, path: &str, gaps: &[f32]) -> Pause {
    let (target, path, gaps) = (target.into(), Some(path.into()), gaps.into());
    Pause { target, path, gaps, answered: 0, after: None }
}

/// Healthy requests at every tenth of a second up to a minute.
fn even() -> Vec<Pause> {
    (0..600).map(|step| pause("10.0.1.5:80", "/", &[step as f32 * 0.1])).collect()
}

fn show(closed_early: Vec<Pause>, healthy: Vec<Pause>) -> KeepAlive {
    KeepAlive::of(&Pauses { closed_early, healthy, ..Pauses::default() }, &[], &[])
}

#[test]
fn gaps_that_pile_up_show_the_timeout() {
    let found = show(closed(&[0.4, 5.0, 5.02, 5.1, 5.3, 5.35, 5.2, 12.0]), even());
    let timer = found.timers.first().unwrap();
    assert_eq!(timer.estimate.gaps, 6);
    assert!((timer.first - 5.0).abs() < 0.001 && (timer.last - 5.35).abs() < 0.001, "{timer:?}");
    assert!((timer.estimate.best - 5.0).abs() < 0.001 && timer.estimate.low < 5.0, "{timer:?}");
}

#[test]
fn gaps_that_are_spread_show_nothing() {
    let found = show(closed(&[0.4, 2.0, 5.1, 9.3, 14.0, 20.4, 31.0]), even());
    assert_eq!(found.timers, []);
    assert_eq!(show(closed(&[5.0, 5.01, 5.02]), even()).timers, []);
    assert_eq!(show(Vec::new(), even()).timers, []);
}

#[test]
fn gaps_that_healthy_requests_have_as_well_show_nothing() {
    let always_five = (0..500).map(|_| pause("10.0.1.5:80", "/", &[5.05])).collect();
    assert_eq!(show(closed(&[5.0, 5.02, 5.1, 5.3, 5.4]), always_five).timers, []);
}

#[test]
fn a_busy_pair_shows_it_in_the_gaps_to_earlier_answers() {
    // An answer every 1.7 seconds or so; one of them always 5 s before.
    let busy = |shift: f32| -> Vec<f32> {
        let mut gaps: Vec<f32> = (0..20).map(|n| shift + 1.7 * n as f32).collect();
        gaps.push(5.0 + shift * 0.02);
        gaps.sort_by(f32::total_cmp);
        gaps
    };
    let broken = (0..12).map(|n| pause("10.0.1.5:80", "/", &busy(n as f32 * 0.13))).collect();
    let healthy = (0..400)
        .map(|n| {
            let shift = n as f32 * 1.7 / 400.0;
            let gaps: Vec<f32> = (0..20).map(|n| shift + 1.7 * n as f32).collect();
            pause("10.0.1.5:80", "/", &gaps)
        })
        .collect();
    let found = show(broken, healthy);
    let timer = found.timers.first().unwrap();
    assert!(!timer.is_latest && (5.0..5.02).contains(&timer.estimate.best), "{timer:?}");
}

#[test]
fn two_settings_are_two_timers() {
    let mut both = Vec::new();
    for step in 0..8 {
        let late = step as f32 * 0.004;
        both.push(pause("10.0.1.5:80", "/", &[5.0 + late]));
        both.push(pause("10.0.1.6:80", "/", &[20.0 + late]));
    }
    let found = show(both, even());
    let best: Vec<(f64, &str)> =
        found.timers.iter().map(|it| (it.estimate.best.round(), &*it.targets[0])).collect();
    assert!(best.contains(&(5.0, "10.0.1.5:80")) && best.contains(&(20.0, "10.0.1.6:80")));
    assert_eq!(best.len(), 2);
}

#[test]
fn settings_a_second_apart_are_told_apart_by_their_targets() {
    let mut both = Vec::new();
    for step in 0..8 {
        let late = step as f32 * 0.004;
        both.push(pause("10.0.1.5:80", "/", &[5.0 + late]));
        both.push(pause("10.0.1.6:80", "/", &[5.8 + late]));
    }
    let found = show(both, even());
    let gaps: Vec<(u64, usize)> =
        found.timers.iter().map(|it| (it.estimate.gaps, it.targets.len())).collect();
    assert_eq!(gaps, [(8, 1), (8, 1)]);
    // One setting that scatters over all its targets is one.
    let mut one = Vec::new();
    for step in 0..16 {
        let target = ["10.0.1.5:80", "10.0.1.6:80"][step % 2];
        one.push(pause(target, "/", &[2.0 + step as f32 * 0.05]));
    }
    assert_eq!(show(one, even()).timers.len(), 1);
}

#[test]
fn a_path_that_fails_each_time_shows_no_timer() {
    let polled = (0..10).map(|n| pause("10.0.1.5:80", "/broken", &[2.0 + n as f32 * 0.001]));
    let pauses = Pauses { closed_early: polled.collect(), healthy: even(), ..Pauses::default() };
    assert_eq!(KeepAlive::of(&pauses, &[], &[]).timers.len(), 1);
    assert_eq!(KeepAlive::of(&pauses, &["/broken".into()], &[]).timers, []);
}

#[test]
fn what_would_be_enough_depends_on_the_traffic() {
    let quiet = show(closed(&[3.0]), even()).needed.unwrap();
    let dense = (0..600).map(|n| {
        let gaps: Vec<f32> = (0..40).map(|step| n as f32 * 0.003 + step as f32 * 1.8).collect();
        pause("10.0.1.5:80", "/", &gaps)
    });
    let dense = show(closed(&[3.0]), dense.collect()).needed.unwrap();
    assert!(quiet < 6 && 10 < dense, "{quiet} {dense}");
    let full = (0..600).map(|n| {
        let gaps: Vec<f32> = (0..400).map(|step| n as f32 * 0.0001 + step as f32 * 0.1).collect();
        pause("10.0.1.5:80", "/", &gaps)
    });
    assert_eq!(show(closed(&[3.0]), full.collect()).needed, None);
}

#[test]
fn longer_pauses_are_told_from_the_same() {
    let longer =
        show(closed(&[41.0, 44.0, 52.0, 57.0, 59.0, 38.0, 47.0, 50.0, 33.0, 55.0]), even());
    assert!(longer.comparison.unwrap().chance < 0.01);
    let same = show(closed(&[1.0, 7.0, 14.0, 21.0, 28.0, 35.0, 42.0, 49.0, 56.0]), even());
    assert!(0.5 < same.comparison.unwrap().chance);
}

#[test]
fn a_stop_gap_leaves_room_on_both_sides() {
    let stop_gap = |keep_alive, p99: Option<f64>, longest| {
        let mut evidence = SampleCase::healthy().evidence;
        evidence.success_seconds = p99.map(|p99| Quantiles { p50: 0.1, p99 });
        let mut slow = path("/report", 20, 0);
        slow.longest_success = Some(longest);
        evidence.paths = vec![path("/", 500, 0), slow];
        stop_gap_seconds(keep_alive, &evidence)
    };
    assert_eq!(stop_gap(60.0, Some(0.8), 2.0), Some(55));
    assert_eq!(stop_gap(6.0, Some(0.8), 2.0), Some(5));
    assert_eq!(stop_gap(6.0, Some(1.1), 2.0), None);
    assert_eq!(stop_gap(60.0, None, 2.0), None);
    // The slowest request would have been cut.
    assert_eq!(stop_gap(6.0, Some(0.8), 4.9), Some(5));
    assert_eq!(stop_gap(6.0, Some(0.8), 5.0), None);
    assert_eq!(stop_gap(3.0, Some(0.1), 0.2), Some(2));
    assert_eq!(stop_gap(2.0, Some(0.1), 0.2), None);
}
