//! What pictures of an incident need beyond the figures of a message: values row by row, not yet grouped.

use std::collections::BTreeMap;

use super::{Case, Facts, Patterns, causes, keep_alive::closed_by_chance, timestamp};
use crate::detection::{Bucket, Evidence, Pause};

/// The values behind the pictures of one incident.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pictures {
    /// From an hour before the incident to its end, minute by minute; minutes without a row are left out.
    pub minutes: Vec<MinuteFigure>,
    /// `target_processing_time` of the successful rows, from an hour before to an hour after.
    pub answered: Vec<Bucket>,
    /// `target_processing_time` of the failed rows that are kept, where it was recorded; seconds, sorted.
    pub failed: Vec<f64>,
    /// Failed rows that are kept and in which it was not recorded.
    pub failed_without: u64,
    /// What the idle gaps show.
    pub gaps: Gaps,
}

/// One minute.
#[derive(Debug, Clone, PartialEq)]
pub struct MinuteFigure {
    /// When it begins.
    pub start: jiff::Timestamp,
    /// Rows that count.
    pub requests: u64,
    /// Failed rows by the cause that they went to; in an incident of answers on purpose those answers.
    /// They add up to the failures of the minute.
    pub by_cause: BTreeMap<&'static str, u64>,
    /// Failed rows before the incident, which were not judged.
    pub before: u64,
}

/// Seconds between answers of a target and the next request to it through the same load-balancer node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Gaps {
    /// Before requests that were closed early, sorted.
    pub closed: Vec<f64>,
    /// Before successful requests of the same nodes and targets, at about the same times, sorted.
    pub healthy: Vec<f64>,
    /// How many closed requests these are; those of one moment count once.
    pub closed_requests: u64,
    /// How many successful ones.
    pub healthy_requests: u64,
    /// Closed requests whose gap is not known.
    pub unknown: u64,
    /// One gap a request, the one to the latest answer; else all that are known.
    pub is_latest: bool,
}

impl Pictures {
    /// The pictures of the evidence, judged by the same facts as its diagnosis.
    pub fn of(evidence: &Evidence, facts: &Facts) -> Self {
        let patterns = Patterns::of(evidence);
        let case = Case { evidence, facts, patterns: &patterns };
        let mut failed: Vec<f64> =
            evidence.failures.iter().filter_map(|row| row.target_seconds()).collect();
        failed.sort_by(f64::total_cmp);
        Self {
            minutes: minutes(&case),
            answered: evidence.success_buckets.clone(),
            failed_without: (evidence.failures.len() - failed.len()) as u64,
            failed,
            gaps: gaps(&case),
        }
    }
}

const MINUTE_MICROS: i64 = 60_000_000;

fn minutes(case: &Case<'_>) -> Vec<MinuteFigure> {
    let evidence = case.evidence;
    let mut kept: BTreeMap<i64, BTreeMap<&'static str, u64>> = BTreeMap::new();
    for (row, (_, id)) in evidence.failures.iter().zip(causes::claims(case)) {
        let minute = row.time.div_euclid(MINUTE_MICROS) * MINUTE_MICROS;
        *kept.entry(minute).or_default().entry(id).or_default() += 1;
    }
    let on_purpose = evidence.counts.failures == 0;
    let mut list: BTreeMap<i64, MinuteFigure> = BTreeMap::new();
    for minute in &evidence.minutes {
        let rows = kept.remove(&minute.start);
        let is_before = minute.start < evidence.window.start;
        let by_cause = match rows {
            Some(rows) if on_purpose => rows,
            Some(rows) => scaled(&rows, minute.failures),
            // All of its rows are among those that were not kept.
            None if !is_before && 0 < minute.failures => {
                BTreeMap::from([("undetermined", minute.failures)])
            }
            None => BTreeMap::new(),
        };
        list.insert(
            minute.start,
            MinuteFigure {
                start: timestamp(minute.start),
                requests: minute.requests,
                by_cause,
                before: if is_before { minute.failures } else { 0 },
            },
        );
    }
    // Answers on purpose are no requests that count: a minute may hold nothing else.
    for (start, by_cause) in kept.into_iter().filter(|_| on_purpose) {
        let start_time = timestamp(start);
        list.insert(start, MinuteFigure { start: start_time, requests: 0, by_cause, before: 0 });
    }
    list.into_values().collect()
}

/// When only a sample of the rows was kept, each stands for several: the parts keep their shares and add
/// up to `all`. What is left by rounding goes to the largest remainders.
fn scaled(rows: &BTreeMap<&'static str, u64>, all: u64) -> BTreeMap<&'static str, u64> {
    let kept: u64 = rows.values().sum();
    if kept == 0 || kept == all {
        return rows.clone();
    }
    let share = |count: u64| u128::from(count) * u128::from(all);
    let whole = |count: u64| u64::try_from(share(count) / u128::from(kept)).unwrap_or(u64::MAX);
    let mut parts: BTreeMap<&'static str, u64> =
        rows.iter().map(|(id, count)| (*id, whole(*count))).collect();
    let mut left = all.saturating_sub(parts.values().sum());
    let mut order: Vec<(&'static str, u128)> =
        rows.iter().map(|(id, count)| (*id, share(*count) % u128::from(kept))).collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    for (id, _) in order {
        if left == 0 {
            break;
        }
        *parts.entry(id).or_default() += 1;
        left -= 1;
    }
    parts.retain(|_, count| 0 < *count);
    parts
}

fn gaps(case: &Case<'_>) -> Gaps {
    let (pauses, patterns) = (&case.evidence.pauses, case.patterns);
    let closed = closed_by_chance(pauses, &patterns.failing_paths, &patterns.streaks);
    let is_latest = patterns.keep_alive.timers.first().is_none_or(|timer| timer.is_latest);
    let seconds = |list: &mut dyn Iterator<Item = &Pause>| {
        let kept = if is_latest { 1 } else { usize::MAX };
        let mut seconds: Vec<f64> = list
            .flat_map(|pause| pause.gaps.iter().take(kept))
            .map(|gap| f64::from(*gap))
            .collect();
        seconds.sort_by(f64::total_cmp);
        seconds
    };
    Gaps {
        closed: seconds(&mut closed.iter().copied()),
        healthy: seconds(&mut pauses.healthy.iter()),
        closed_requests: closed.len() as u64,
        healthy_requests: pauses.healthy.len() as u64,
        unknown: pauses.unknown,
        is_latest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        detection::{Minute, Signature},
        diagnosis::sample_case::SampleCase,
    };

    #[test]
    fn a_minute_tells_its_failures_by_cause() {
        let mut sample = SampleCase::failing(Signature::NotConnected, 20);
        sample.write_rows(Signature::NotConnected, 0.002);
        let start = sample.evidence.window.start;
        let minute = |start, requests, failures| Minute { start, requests, failures, failed: None };
        sample.evidence.minutes = vec![
            minute(start - MINUTE_MICROS, 50, 3),
            minute(start, 60, 20),
            minute(start + MINUTE_MICROS, 60, 2),
            minute(start + 2 * MINUTE_MICROS, 60, 0),
        ];
        let pictures = Pictures::of(&sample.evidence, &sample.facts);
        let told: Vec<_> = pictures
            .minutes
            .iter()
            .map(|it| {
                let by_cause: Vec<_> =
                    it.by_cause.iter().map(|(id, count)| (*id, *count)).collect();
                (it.requests, by_cause, it.before)
            })
            .collect();
        assert_eq!(
            told,
            [
                (50, vec![], 3),
                (60, vec![("connect-refused", 20)], 0),
                (60, vec![("undetermined", 2)], 0),
                (60, vec![], 0)
            ]
        );
        assert_eq!((pictures.failed.len(), pictures.failed_without), (0, 20));
    }

    #[test]
    fn a_sample_stands_for_all_rows() {
        let rows = BTreeMap::from([("a", 2), ("b", 1)]);
        assert_eq!(scaled(&rows, 3), rows);
        assert_eq!(scaled(&rows, 100), BTreeMap::from([("a", 67), ("b", 33)]));
        // One row of two is left: it goes to the larger part.
        assert_eq!(scaled(&rows, 1), BTreeMap::from([("a", 1)]));
        assert_eq!(scaled(&rows, u64::MAX).values().sum::<u64>(), u64::MAX);
    }
}
