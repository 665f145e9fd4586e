//! How much detail is kept over all windows together, and what is given up first when it is too much.
//!
//! Counts are exact whatever comes. Details (targets, paths, answers) cost memory with every new name and
//! every answered request, so their number is bounded: a log of any length, written by anyone, is read
//! in the same memory.

use super::{
    cell::{Details, MAX_ANSWERS},
    detector::Detector,
    evidence::MAX_FAILURE_ROWS,
};

/// Windows with details over all target groups: with an empty table of each kind 4 KB each.
const MAX_DETAILED_CELLS: usize = 4_096;

/// Targets, paths, nodes, methods and types counted in all windows together. Up to 400 bytes each with
/// their share of a hash table that doubles: 24 MB. A day of a target group with eight targets and a
/// hundred paths has half as many.
const MAX_TALLIES: usize = 60_000;

/// Failed rows kept in all windows together: some 200 bytes each.
const MAX_FAILURES_TOGETHER: usize = 60_000;

/// Of each window so many failed rows are kept at least: enough to see whether they are alike.
const MIN_FAILURES_EACH: usize = 8;

/// Answers kept in all windows together: 12 bytes each, twice that while a list doubles.
const MAX_ANSWERS_TOGETHER: usize = 500_000;

/// The answers of a node and target that answer more often than this in a window are given up first. With
/// two answers a second no connection is idle for the seconds that a keep-alive timeout takes; fewer
/// than that are never given up for being many.
const MIN_ANSWERS_EACH: usize = 600;

/// Quiet windows this close to a failing one, or to the latest, keep their details: an hour.
const NEAR_WINDOWS: u64 = 12;

/// How much a row has added.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Grown {
    pub(super) cells: usize,
    pub(super) tallies: usize,
    pub(super) answers: usize,
    pub(super) failures: usize,
}

impl Grown {
    /// From one size of details to a later one. What was given up meanwhile is noticed with the next
    /// count of everything.
    pub(super) fn between(before: Self, after: Self) -> Self {
        Self {
            cells: after.cells.saturating_sub(before.cells),
            tallies: after.tallies.saturating_sub(before.tallies),
            answers: after.answers.saturating_sub(before.answers),
            failures: after.failures.saturating_sub(before.failures),
        }
    }

    fn add(&mut self, other: Self) {
        self.cells += other.cells;
        self.tallies += other.tallies;
        self.answers += other.answers;
        self.failures += other.failures;
    }
}

/// How much there is room for.
const MOST: Grown = Grown {
    cells: MAX_DETAILED_CELLS,
    tallies: MAX_TALLIES,
    answers: MAX_ANSWERS_TOGETHER,
    failures: MAX_FAILURES_TOGETHER,
};

/// What is kept, and how much of each may be.
#[derive(Debug)]
pub(super) struct Room {
    most: Grown,
    kept: Grown,
    answers_each: usize,
    failures_each: usize,
    is_full: Full,
}

/// What could not be made room for: it is not searched again with every row.
#[derive(Debug, Clone, Copy, Default)]
struct Full {
    cells: bool,
    tallies: bool,
    answers: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            most: MOST,
            kept: Grown::default(),
            answers_each: MAX_ANSWERS,
            failures_each: MAX_FAILURE_ROWS,
            is_full: Full::default(),
        }
    }
}

impl Room {
    /// Notes what was added; true when room has to be made.
    pub(super) fn take(&mut self, grown: Grown) -> bool {
        self.kept.add(grown);
        (self.most.cells < self.kept.cells && !self.is_full.cells)
            || (self.most.tallies < self.kept.tallies && !self.is_full.tallies)
            || (self.most.answers < self.kept.answers && !self.is_full.answers)
            || (self.most.failures < self.kept.failures && MIN_FAILURES_EACH < self.failures_each)
    }

    /// Another name may be counted by itself.
    pub(super) fn has_tallies(&self) -> bool {
        !self.is_full.tallies
    }

    /// How many failed rows are kept of a window.
    pub(super) fn failures_each(&self) -> usize {
        self.failures_each
    }

    /// How many answers of a node and target are kept in a window. With more the pair is busy.
    pub(super) fn answers_each(&self) -> usize {
        if self.is_full.answers { 0 } else { self.answers_each }
    }
}

/// Which quiet windows lose their details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Far {
    /// Those far from any failure and from the latest rows, which may be followed by a failure.
    FromFailuresAndLatest,
    /// Those far from any failure.
    FromFailures,
    /// Every window without a failure.
    Any,
}

impl Detector {
    /// Another window may have details; it is counted as one that has.
    pub(super) fn has_room_for_details(&mut self) -> bool {
        if self.room.take(Grown { cells: 1, ..Grown::default() }) {
            self.make_room();
        }
        let has_room = self.room.kept.cells <= self.room.most.cells;
        if !has_room {
            self.room.kept.cells -= 1;
        }
        has_room
    }

    /// Gives up details, those that say least first, until a quarter of the room is free. What cannot
    /// be freed is full from then on: further names are `others`, further windows have counts alone.
    pub(super) fn make_room(&mut self) {
        const FREE: fn(usize) -> usize = |max| max / 4 * 3;
        for far in [Far::FromFailuresAndLatest, Far::FromFailures, Far::Any] {
            self.drop_quiet_details(far);
            self.recount();
            while FREE(self.room.most.answers) < self.room.kept.answers
                && MIN_ANSWERS_EACH < self.room.answers_each
            {
                self.room.answers_each = (self.room.answers_each / 2).max(MIN_ANSWERS_EACH);
                self.give_up_busy_answers();
                self.recount();
            }
            while FREE(self.room.most.failures) < self.room.kept.failures
                && MIN_FAILURES_EACH < self.room.failures_each
            {
                self.room.failures_each = (self.room.failures_each / 2).max(MIN_FAILURES_EACH);
                let each = self.room.failures_each;
                self.details().for_each(|details| details.cut_failures(each));
                self.recount();
            }
            let kept = self.room.kept;
            self.room.is_full = Full {
                cells: FREE(self.room.most.cells) < kept.cells,
                tallies: FREE(self.room.most.tallies) < kept.tallies,
                answers: FREE(self.room.most.answers) < kept.answers,
            };
            let full = self.room.is_full;
            if !(full.cells || full.tallies || full.answers) {
                break;
            }
        }
        if self.room.is_full.tallies {
            self.paths.overflow();
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

    fn give_up_busy_answers(&mut self) {
        let each = self.room.answers_each;
        for answers in self.details().flat_map(|details| details.answers.values_mut()) {
            if each < answers.list.len() {
                answers.give_up();
            }
        }
    }

    fn drop_quiet_details(&mut self, far: Far) {
        let windows = self.groups.values().flat_map(|group| group.windows.keys());
        let latest = windows.max().copied().unwrap_or(0);
        for group in self.groups.values_mut() {
            let has_failed = |counts: &super::Counts| 0 < counts.failures + counts.intentional_502;
            let failing: Vec<i64> = group
                .windows
                .iter()
                .filter(|(_, cell)| has_failed(&cell.counts))
                .map(|(window, _)| *window)
                .collect();
            for (window, cell) in &mut group.windows {
                let is_near = |other: &i64| other.abs_diff(*window) <= NEAR_WINDOWS;
                let is_kept = match far {
                    Far::Any => has_failed(&cell.counts),
                    Far::FromFailures | Far::FromFailuresAndLatest => {
                        let next = failing.partition_point(|failing| failing < window);
                        let before = next.checked_sub(1).and_then(|index| failing.get(index));
                        before.is_some_and(is_near)
                            || failing.get(next).is_some_and(is_near)
                            || (far == Far::FromFailuresAndLatest && is_near(&latest))
                    }
                };
                if !is_kept {
                    cell.details = None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::{
        access_log::{ObjectKey, Reader},
        detection::Thresholds,
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

    /// Room for a tenth of what there is room for.
    fn read(rows: impl Iterator<Item = String>) -> Detector {
        let mut detector = Detector::new(Thresholds::default());
        detector.room.most = Grown {
            cells: MAX_DETAILED_CELLS / 10,
            tallies: MAX_TALLIES / 10,
            answers: MAX_ANSWERS_TOGETHER / 10,
            failures: MAX_FAILURES_TOGETHER / 10,
        };
        let source = detector.source("log", &ObjectKey::parse("log"));
        let mut reader = Reader::new(|entry| detector.record(source, entry));
        rows.for_each(|row| reader.push(row.as_bytes()).unwrap());
        assert_eq!(reader.finish().report.malformed, 0);
        detector
    }

    #[test]
    fn names_of_strangers_fill_no_memory_and_the_counts_stay_exact() {
        let rows = 20_000;
        let second = |index: usize| index * 4 * 86_400 / rows;
        let all = (0..rows).map(|i| row(second(i), i % 5, i, i, i.is_multiple_of(7)));
        let detector = read(all);
        let Room { kept, most, .. } = detector.room;
        // The window itself, its node, method and type, and the others: they are always counted.
        let always = 8 * most.cells;
        assert!(kept.cells <= most.cells && kept.tallies <= most.tallies + always, "{kept:?}");
        assert!(kept.answers <= most.answers && kept.failures <= most.failures, "{kept:?}");
        let totals = detector.totals();
        assert_eq!((totals.requests, totals.failures), (rows as u64, rows.div_ceil(7) as u64));
        assert_eq!(detector.rows_not_judged(), 0);
        assert!(
            detector.paths_overflowed(),
            "a path that is not counted is not claimed to be clean"
        );
    }

    #[test]
    fn quiet_windows_give_way_to_failing_ones() {
        // Two target groups, another thirty paths in every window; both fail for a while.
        let windows = 4 * 288;
        let rows = (0..windows).flat_map(|window| {
            (0..60).map(move |i| {
                let failed = (600..620).contains(&window) && i % 30 < 10;
                row(window * 300 + i * 5, i % 2, i % 8, i * 7 + window % 40, failed)
            })
        });
        let detector = read(rows);
        assert!(detector.room.kept.tallies <= detector.room.most.tallies);
        let incidents = detector.incidents();
        assert_eq!(incidents.len(), 2);
        for incident in incidents {
            assert_eq!(incident.counts.failures, 20 * 10);
            assert!(!incident.failures.is_empty() && 1 < incident.paths.len());
        }
    }

    #[test]
    fn answers_of_the_busiest_go_first() {
        // Ten targets with 400 answers in each window, one with 1,600.
        let rows = (0..15).flat_map(|window: usize| {
            (0..5_600).map(move |i: usize| {
                let target = if i < 4_000 { i % 10 } else { 10 };
                row(window * 300 + i * 300 / 5_600, 0, target, 0, i == 0)
            })
        });
        let detector = read(rows);
        assert!(detector.room.kept.answers <= detector.room.most.answers);
        assert!(detector.room.answers_each() < 1_600);
        let cells = detector.groups.values().flat_map(|group| group.windows.values());
        let mut whole = 0;
        for answers in
            cells.filter_map(|cell| cell.details.as_ref()).flat_map(|it| it.answers.values())
        {
            assert!(answers.busy || answers.list.len() <= 400);
            whole += usize::from(!answers.busy);
        }
        assert!(15 * 5 < whole, "{whole}");
    }
}
