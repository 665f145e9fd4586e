//! How much detail is kept over all windows together, and what is given up first when it is too much.
//!
//! Counts are exact whatever comes. Failed rows and answers cost memory with every row, tallies with every
//! new name, so their number is bounded, and so is the number of windows that have details. What is given up
//! is never taken for what was not there: a window without details, or without its answers, is one in which
//! nothing is known of the pauses of connections, and what has no tally of its own counts as `others`. Which
//! names have one depends on the order of the rows, once there is no room: in a window that begins later the
//! first that come.
//!
//! The bounds make 64 MB for whatever strangers ask for, and 24 MB for a log of one load balancer.

use super::{
    cell::{Cell, Details, MAX_ANSWERS},
    detector::{Detector, Group},
    evidence::MAX_FAILURE_ROWS,
    tally::MAX_KEYS,
};

/// Windows with details over all target groups: at least 4 KB each, 16 MB. Beyond it windows keep only their
/// counts: quiet ones far from any failure, then other quiet ones, then those of long ago.
const MAX_DETAILED_CELLS: usize = 4_096;

/// Failed rows kept in all windows together: some 200 bytes each, 10 MB. An incident is judged by at most
/// 16,384.
const MAX_FAILURES_TOGETHER: usize = 50_000;

/// Answers kept in all windows together: 12 bytes each, twice that while a list doubles, 6 to 12 MB.
pub(super) const MAX_ANSWERS_TOGETHER: usize = 500_000;

/// The answers of a node and target that answer more often than this in a window are given up first. With
/// two answers a second no connection is idle for the seconds that a keep-alive timeout takes.
const MIN_ANSWERS_EACH: usize = 600;

/// Tallies kept in all windows together: up to 220 bytes each, 12 MB.
const MAX_TALLIES_TOGETHER: usize = 60_000;

/// Quiet windows this close to a failing one, or to the latest of their target group, keep their details:
/// an hour.
const NEAR_WINDOWS: u64 = 12;

/// Windows this close to a failing one keep their answers longest: pauses are measured over 135 seconds, so
/// they begin in the same window or in the one before.
const PAUSE_WINDOWS: u64 = 1;

/// How much a row has added.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Grown {
    pub(super) cells: usize,
    pub(super) answers: usize,
    pub(super) tallies: usize,
    pub(super) failures: usize,
}

impl Grown {
    /// From one size of details to a later one. What was given up meanwhile is noticed with the next
    /// count of everything.
    pub(super) fn between(before: Self, after: Self) -> Self {
        Self {
            cells: after.cells.saturating_sub(before.cells),
            answers: after.answers.saturating_sub(before.answers),
            tallies: after.tallies.saturating_sub(before.tallies),
            failures: after.failures.saturating_sub(before.failures),
        }
    }

    fn remove(&mut self, other: Self) {
        *self = Self::between(other, *self);
    }

    fn add(&mut self, other: Self) {
        self.cells += other.cells;
        self.answers += other.answers;
        self.tallies += other.tallies;
        self.failures += other.failures;
    }
}

/// Which windows give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GivesWay {
    /// Those that are quiet and not near a failing one.
    FarFromFailures,
    /// Any: these first.
    Any,
}

/// How much there is room for.
const MOST: Grown = Grown {
    cells: MAX_DETAILED_CELLS,
    answers: MAX_ANSWERS_TOGETHER,
    tallies: MAX_TALLIES_TOGETHER,
    failures: MAX_FAILURES_TOGETHER,
};

/// What is kept, and how much of each may be.
#[derive(Debug)]
pub(super) struct Room {
    most: Grown,
    kept: Grown,
    answers_each: usize,
    targets_each: usize,
    tallies_each: usize,
    failures_each: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            most: MOST,
            kept: Grown::default(),
            answers_each: MAX_ANSWERS,
            targets_each: MAX_KEYS,
            tallies_each: MAX_KEYS,
            failures_each: MAX_FAILURE_ROWS,
        }
    }
}

impl Room {
    /// Notes what was added; true when room has to be made.
    pub(super) fn take(&mut self, grown: Grown) -> bool {
        self.kept.add(grown);
        self.most.cells < self.kept.cells
            || self.most.answers < self.kept.answers
            || (self.most.tallies < self.kept.tallies && 1 < self.targets_each)
            || (self.most.failures < self.kept.failures && 1 < self.failures_each)
    }

    /// Half as many tallies of a window: first of paths and methods down to more than a message names, then
    /// of targets.
    fn fewer_tallies(&mut self) {
        // A diagnosis shows five paths, and more of these are looked through one by one. A message that says
        // which targets fail needs more of these: most target groups have fewer.
        const FEW_TALLIES: usize = 16;
        const FEW_TARGETS: usize = 64;
        let is_turn_of_targets = self.tallies_each <= FEW_TALLIES
            && (FEW_TARGETS < self.targets_each || self.tallies_each == 1);
        let each = if is_turn_of_targets { &mut self.targets_each } else { &mut self.tallies_each };
        *each /= 2;
    }

    /// How many failed rows are kept of a window.
    pub(super) fn failures_each(&self) -> usize {
        self.failures_each
    }

    /// How many targets are counted by name in a window.
    pub(super) fn targets_each(&self) -> usize {
        self.targets_each
    }

    /// How many tallies of each other kind are kept in a window.
    pub(super) fn tallies_each(&self) -> usize {
        self.tallies_each
    }

    /// How many answers of a node and target are kept in a window. With more the pair is busy.
    pub(super) fn answers_each(&self) -> usize {
        self.answers_each
    }
}

/// Three quarters: what is made room for is not short again at once.
fn after_making_room(most: usize) -> usize {
    most / 4 * 3
}

impl Detector {
    /// Another window will have details; it is counted as one that has.
    pub(super) fn make_room_for_details(&mut self) {
        if self.room.take(Grown { cells: 1, ..Grown::default() }) {
            self.make_room();
            self.room.kept.cells += 1;
        }
    }

    /// Gives up what says least until a quarter of the room is free: quiet windows far from any failure and
    /// then those of long ago, the answers of the busiest targets, those far from any failure and then those
    /// of long ago; of windows that have many the failed rows, the tallies with the fewest failures, targets
    /// last.
    pub(super) fn make_room(&mut self) {
        self.drop_quiet_details();
        self.recount();
        let most = self.room.most;
        let enough = Grown {
            cells: after_making_room(most.cells),
            answers: after_making_room(most.answers),
            tallies: after_making_room(most.tallies),
            failures: after_making_room(most.failures),
        };
        if most.cells <= self.room.kept.cells {
            self.drop_oldest_details(GivesWay::Any, |kept| kept.cells <= enough.cells);
        }
        while enough.failures < self.room.kept.failures && 1 < self.room.failures_each {
            self.room.failures_each /= 2;
            let each = self.room.failures_each;
            self.details().for_each(|details| details.cut_failures(each));
            self.recount();
        }
        while enough.answers < self.room.kept.answers && MIN_ANSWERS_EACH < self.room.answers_each {
            self.room.answers_each = (self.room.answers_each / 2).max(MIN_ANSWERS_EACH);
            let each = self.room.answers_each;
            for answers in self.details().flat_map(|details| details.answers.values_mut()) {
                if each < answers.list.len() {
                    answers.give_up();
                }
            }
            self.recount();
        }
        self.give_up_oldest_answers(enough.answers);
        if most.tallies < self.room.kept.tallies {
            self.drop_oldest_details(GivesWay::FarFromFailures, |kept| {
                kept.tallies <= enough.tallies
            });
        }
        while enough.tallies < self.room.kept.tallies && 1 < self.room.targets_each {
            self.room.fewer_tallies();
            let (targets, others) = (self.room.targets_each, self.room.tallies_each);
            self.details().for_each(|details| details.cut_tallies(targets, others));
            self.recount();
        }
    }

    fn details(&mut self) -> impl Iterator<Item = &mut Details> {
        let cells = self.groups.values_mut().flat_map(|group| group.windows.values_mut());
        cells.filter_map(|cell| cell.details.as_deref_mut())
    }

    fn recount(&mut self) {
        let mut kept = Grown::default();
        for details in self.details() {
            kept.add(Grown { cells: 1, ..details.size() });
        }
        self.room.kept = kept;
    }

    /// Those far from any failure first, then those of long ago: the latest windows are those of the
    /// incident that people look at.
    fn give_up_oldest_answers(&mut self, enough: usize) {
        let mut kept = self.room.kept.answers;
        if kept <= enough {
            return;
        }
        let mut cells: Vec<(bool, i64, &mut Details)> = Vec::new();
        for group in self.groups.values_mut() {
            let near = Near::of(group, PAUSE_WINDOWS);
            for (window, cell) in &mut group.windows {
                if let Some(details) = cell.details.as_deref_mut() {
                    cells.push((near.has(*window), *window, details));
                }
            }
        }
        cells.sort_by_key(|(is_near, window, _)| (*is_near, *window));
        for (_, _, details) in cells {
            if kept <= enough {
                break;
            }
            kept -= details.size().answers;
            details.give_up_all_answers();
        }
        self.room.kept.answers = kept;
    }

    /// Gives up the details of windows until it is enough: quiet ones before others, those near a failing
    /// one after those that are not, those of long ago first.
    fn drop_oldest_details(&mut self, which: GivesWay, is_enough: impl Fn(&Grown) -> bool) {
        let mut cells: Vec<((bool, bool, i64), &mut Cell)> = Vec::new();
        for group in self.groups.values_mut() {
            let near = Near::failing(group);
            for (window, cell) in &mut group.windows {
                // A failing window is near itself.
                let (is_failing, is_near) = (is_failing(cell), near.has(*window));
                if cell.details.is_some() && (which == GivesWay::Any || !is_near) {
                    cells.push(((is_failing, is_near, *window), &mut **cell));
                }
            }
        }
        cells.sort_by_key(|(order, _)| *order);
        for (_, cell) in cells {
            if is_enough(&self.room.kept) {
                break;
            }
            if let Some(details) = cell.details.take() {
                self.room.kept.remove(Grown { cells: 1, ..details.size() });
                cell.is_given_up = true;
            }
        }
    }

    /// Gives up the details of windows without a failure that are far from any with one, and from the
    /// latest of the target group, which a failure may follow.
    fn drop_quiet_details(&mut self) {
        for group in self.groups.values_mut() {
            let near = Near::of(group, NEAR_WINDOWS);
            for (window, cell) in &mut group.windows {
                if !near.has(*window) {
                    cell.is_given_up |= cell.details.take().is_some();
                }
            }
        }
    }
}

fn is_failing(cell: &Cell) -> bool {
    0 < cell.counts.failures + cell.counts.intentional_502
}

/// Windows of a target group that are near a failing one, or near the latest, which a failure may follow.
pub(super) struct Near {
    failing: Vec<i64>,
    latest: Option<i64>,
    windows: u64,
}

impl Near {
    fn of(group: &Group, windows: u64) -> Self {
        let failing = group.windows.iter().filter(|(_, cell)| is_failing(cell));
        Self {
            failing: failing.map(|(window, _)| *window).collect(),
            latest: group.windows.keys().next_back().copied(),
            windows,
        }
    }

    /// An hour around failures.
    pub(super) fn failing(group: &Group) -> Self {
        Self { latest: None, ..Self::of(group, NEAR_WINDOWS) }
    }

    pub(super) fn has(&self, window: i64) -> bool {
        let next = self.failing.partition_point(|failing| *failing < window);
        let before = next.checked_sub(1).and_then(|index| self.failing.get(index));
        let near = [before, self.failing.get(next), self.latest.as_ref()];
        near.into_iter().flatten().any(|other| other.abs_diff(window) <= self.windows)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::{
        access_log::{ObjectKey, Reader},
        detection::{Thresholds, names::OTHERS, tally::TargetTally},
    };

    /// The row of a second since 2026-11-20 00:00 UTC.
    fn row(second: usize, group: usize, target: usize, path: usize, failed: bool) -> String {
        let (day, rest) = (20 + second / 86_400, second % 86_400);
        let time = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
        let answer = if failed { "-1 502 -" } else { "0.000 200 200" };
        let mut row =
            format!("http 2026-11-{day:02}T{time}.500000Z app/shop/0f 198.51.100.7:4000 ");
        let _ = write!(row, "10.{}.{}.{}:80 ", target >> 16, target >> 8 & 255, target & 255);
        let _ = write!(
            row,
            "0.001 0.002 {answer} 99 99 \"GET http://a.example:80/p{path}x HTTP/1.1\" "
        );
        let _ = write!(
            row,
            "\"-\" - - arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/g{group}/1 "
        );
        let _ = writeln!(
            row,
            "\"Root={second}\" \"-\" \"-\" 0 2026-11-{day:02}T{time}.490000Z \"forward\""
        );
        row
    }

    /// Room for a fortieth of what there is room for.
    fn read(rows: impl Iterator<Item = String>) -> Detector {
        let mut detector = Detector::new(Thresholds::default());
        detector.room.most = Grown {
            cells: MAX_DETAILED_CELLS / 40,
            answers: MAX_ANSWERS_TOGETHER / 40,
            tallies: MAX_TALLIES_TOGETHER / 40,
            failures: MAX_FAILURES_TOGETHER / 40,
        };
        let source = detector.source("log", &ObjectKey::parse("log"));
        let mut reader = Reader::new(|entry| detector.record(source, entry));
        rows.for_each(|row| reader.push(row.as_bytes()).unwrap());
        assert_eq!(reader.finish().report.malformed, 0);
        detector
    }

    #[test]
    fn counts_are_exact_whatever_is_given_up() {
        let rows = 20_000;
        let second = |index: usize| index * 4 * 86_400 / rows;
        let all = (0..rows).map(|i| row(second(i), i % 5, i, i, i.is_multiple_of(7)));
        let detector = read(all);
        let Room { kept, most, failures_each, .. } = detector.room;
        assert!(kept.cells <= most.cells && kept.answers <= most.answers, "{kept:?}");
        assert!(kept.failures <= most.failures || failures_each == 1, "{kept:?}");
        let totals = detector.totals();
        assert_eq!((totals.requests, totals.failures), (rows as u64, rows.div_ceil(7) as u64));
        assert_eq!(detector.rows_not_judged(), 0);
    }

    #[test]
    fn quiet_windows_give_way_to_failing_ones() {
        // Two target groups; both fail for a while.
        let windows = 4 * 288;
        let rows = (0..windows).flat_map(|window| {
            (0..60).map(move |i| {
                let failed = (600..620).contains(&window) && i % 30 < 10;
                row(window * 300 + i * 5, i % 2, i % 8, i * 7 + window % 40, failed)
            })
        });
        let detector = read(rows);
        assert!(detector.room.kept.cells <= detector.room.most.cells);
        let incidents = detector.incidents();
        assert_eq!(incidents.len(), 2);
        for incident in incidents {
            assert_eq!(incident.counts.failures, 20 * 10);
            assert!(!incident.failures.is_empty() && 1 < incident.paths.len());
            // The hour on either side is still there.
            assert_eq!(incident.targets.iter().map(|it| it.requests).sum::<u64>(), 20 * 30);
            assert!(incident.targets.iter().all(|it| it.first_seen < incident.window.start));
        }
    }

    #[test]
    fn what_is_told_of_targets_and_paths_is_whole_or_said_not_to_be() {
        // Every second window has failures, so that all windows are near one; path 0 fails in these and
        // succeeds in the others.
        for groups in [1, 5] {
            let rows = (0..48).flat_map(|window: usize| {
                (0..groups * 40).map(move |i| {
                    let is_even = window.is_multiple_of(2);
                    let failed = is_even && i / groups == 11;
                    let path = usize::from(is_even && !failed);
                    row(window * 300 + i * 300 / (groups * 40), i % groups, i % 3, path, failed)
                })
            });
            let detector = read(rows);
            for incident in detector.incidents() {
                let of_targets: u64 = incident.targets.iter().map(|it| it.requests).sum();
                let of_paths: u64 = incident.paths.iter().map(|it| it.requests).sum();
                let is_whole = of_targets == incident.counts.requests;
                assert_eq!(is_whole, groups == 1, "{of_targets} of {}", incident.counts.requests);
                assert_eq!(is_whole, incident.windows_given_up == 0);
                assert_eq!(of_paths == incident.counts.requests, incident.paths_are_complete);
                if !is_whole {
                    assert!(incident.targets.iter().all(|it| &*it.target == "others"));
                    assert!(incident.nodes.iter().all(|it| &*it.name == "others"));
                }
            }
            assert!(!detector.incidents().is_empty());
        }
    }

    #[test]
    fn details_that_were_given_up_do_not_begin_anew_with_the_next_object() {
        let of = |second: usize| read((0..4).map(move |i| row(second + i, 0, 1, 0, false)));
        let mut all = Detector::new(Thresholds::default());
        let add = |all: &mut Detector, object: &Detector| {
            let source = all.source("log", &ObjectKey::parse("log"));
            for it in object.portions() {
                all.absorb_counts(&it.load_balancer, it.window, &it.groups);
                let group = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/g0/1";
                let (name, details) = (&it.load_balancer, &it.details);
                all.absorb_details(name, Some(group), it.window, source, details).unwrap();
            }
        };
        let with_details = |all: &Detector| -> Vec<bool> {
            let cells = all.groups.values().flat_map(|group| group.windows.values());
            cells.map(|cell| cell.details.is_some()).collect()
        };
        add(&mut all, &of(0));
        add(&mut all, &of(40_000));
        assert_eq!(with_details(&all), [true, true]);
        all.drop_quiet_details();
        assert_eq!(with_details(&all), [false, true], "the first is far from the latest");
        add(&mut all, &of(10));
        add(&mut all, &of(40_010));
        assert_eq!(with_details(&all), [false, true], "half of a window is not all of it");
        assert_eq!(all.totals().requests, 16);
    }

    #[test]
    fn answers_of_the_busiest_go_first_then_those_far_from_failures_the_oldest_first() {
        // Ten targets with 70 answers in each window, one with 1,600; two windows have failures.
        let rows = (0..20).flat_map(|window: usize| {
            (0..2_300).map(move |i: usize| {
                let target = if i < 700 { i % 10 } else { 10 };
                let failed = i == 0 && (4..=5).contains(&window);
                row(window * 300 + i * 300 / 2_300, 0, target, 0, failed)
            })
        });
        let detector = read(rows);
        assert!(detector.room.kept.answers <= detector.room.most.answers);
        assert!(detector.room.answers_each() < 1_600);
        let cells = detector.groups.values().flat_map(|group| group.windows.values());
        let details: Vec<&Details> = cells.filter_map(|cell| cell.details.as_deref()).collect();
        let followed: Vec<bool> = (details.iter())
            .map(|it| it.answers.values().filter(|it| !it.busy).count() == 10)
            .collect();
        let far: Vec<usize> = (0..20).filter(|window| !(3..=6).contains(window)).collect();
        let given_up = far.iter().filter(|window| !followed[**window]).count();
        assert!(0 < given_up && given_up < 12, "{followed:?}");
        for window in 0..20 {
            let is_given_up = far.get(..given_up).unwrap().contains(&window);
            assert_eq!(followed[window], !is_given_up, "{window}: {followed:?}");
            let details = details[window];
            assert_eq!(details.is_unfollowed, is_given_up);
            assert_eq!(details.answers.len() == 0, is_given_up);
        }
    }

    #[test]
    fn tallies_with_the_fewest_failures_go_first_and_none_is_half_told() {
        // 300 targets and paths in each of 20 windows, the last ten of them with failures.
        let rows = (0..20).flat_map(|window: usize| {
            (0..3_000).map(move |i: usize| {
                let failed = 290 <= i % 300 && i < 1_500;
                row(window * 300 + i / 10, 0, i % 300, i % 300, failed)
            })
        });
        let detector = read(rows);
        let each = detector.room.tallies_each();
        let targets = detector.room.targets_each();
        assert!(each <= 16 && targets < 300, "{each} {targets}");
        assert!(detector.room.kept.tallies <= detector.room.most.tallies);
        let cells = detector.groups.values().flat_map(|group| group.windows.values());
        let mut cut = 0;
        for details in cells.filter_map(|cell| cell.details.as_deref()) {
            assert!(details.targets.len() <= targets + 1 && details.paths.len() <= each + 1);
            let sum = |of: fn(&TargetTally) -> u64| details.targets.values().map(of).sum::<u64>();
            assert_eq!((sum(|it| it.requests), sum(|it| it.failures)), (3_000, 50));
            for (name, tally) in details.targets.iter().filter(|(name, _)| *name != OTHERS) {
                assert_eq!(tally.requests, 10, "{name}");
            }
            let others = details.targets.iter().find(|(name, _)| *name == OTHERS).unwrap();
            cut += usize::from(others.1.failures == 0);
        }
        assert!(0 < cut, "of windows that were cut the failing targets stay");
        let [incident] = &detector.incidents()[..] else { panic!() };
        assert!(!incident.paths_are_complete);
        assert_eq!(incident.targets.iter().map(|it| it.requests).sum::<u64>(), 60_000);
    }

    #[test]
    fn no_pause_is_measured_across_a_window_that_was_given_up() {
        // A target answers every 15 seconds and closes a connection now and then; every second window is
        // quiet. Whatever is given up, no gap is longer than that.
        let rows = (0..3 * 288).flat_map(|window: usize| {
            (0..20).map(move |i| {
                row(window * 300 + i * 15, 0, 1, 0, window.is_multiple_of(2) && i == 7)
            })
        });
        let mut detector = read(rows);
        detector.give_up_oldest_answers(5_000);
        for (window, cell) in detector.groups.values_mut().flat_map(|group| &mut group.windows) {
            if window % 4 == 1 {
                cell.details = None;
            }
        }
        let incidents = detector.incidents();
        let gaps: Vec<f32> = (incidents.iter())
            .flat_map(|it| it.failures.iter().filter_map(|row| row.gaps.first().copied()))
            .collect();
        assert!(!gaps.is_empty() && gaps.iter().all(|gap| *gap < 16.0), "{gaps:?}");
    }
}
