//! What was said of a target group, and who is about to say something.

use serde::{Deserialize, Serialize};

use super::{end_of, start_of};
use crate::detection::{spikes::WindowRange, thresholds::QUIET_WINDOWS};

/// What is remembered of a target group. There is one of it, so that two copies of the function cannot
/// open the same incident twice; whoever changes it must have seen the version before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// `app/name/id`.
    pub load_balancer: String,
    /// The ARN; `None` for rows that were never forwarded.
    pub target_group: Option<String>,
    /// Counts the changes; 0 was never saved.
    pub version: u64,
    /// The incident that is open.
    #[serde(default)]
    pub open: Option<Open>,
    /// Incidents that are over, oldest first: what arrives late for them is counted and said no more.
    #[serde(default)]
    pub over: Vec<WindowRange>,
    /// A window that is to be judged again: the last one that is no spike beside the usual number of
    /// requests, but would be one if no more arrives, when it is complete; or the first one of a spike long
    /// before the open incident, when that is over.
    #[serde(default)]
    pub watched: Option<i64>,
    /// When a trickle was last looked for, microseconds since 1970.
    #[serde(default)]
    pub trickle_judged_at: Option<i64>,
    /// When a trickle was last told, microseconds since 1970.
    #[serde(default)]
    pub trickle_told_at: Option<i64>,
    /// Who is about to say something.
    #[serde(default)]
    pub lease: Option<Lease>,
}

/// An incident that is open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// The id that all its messages carry, whatever arrives late.
    pub id: String,
    /// The first window.
    pub first: i64,
    /// The last window of a spike.
    pub last: i64,
    /// The last message; `None` until the first went out.
    pub told: Option<Told>,
    /// Leading causes that were told: going back to one is no news.
    #[serde(default)]
    pub causes: Vec<String>,
    /// The last complete window that was diagnosed.
    #[serde(default)]
    pub reviewed: i64,
    /// The signatures that led in its last window whenever it was diagnosed.
    #[serde(default)]
    pub signatures: Vec<usize>,
    /// Failures that were counted under the causes of a diagnosis.
    #[serde(default)]
    pub attributed: u64,
    /// The rate of failures in the hour before it, 0 to 1: what its windows are compared with, however
    /// long it lasts.
    #[serde(default)]
    pub usual_rate: Option<f64>,
    /// What is known of the time after its last window, when that is long.
    #[serde(default)]
    pub idle: Option<Idle>,
}

/// Windows after the last one of an open incident, all of them complete, so that nobody reads them again:
/// a target group that gets no traffic any more stays open for a day, and every object of every node looks
/// at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// The last of these windows.
    pub until: i64,
    /// How many of them had traffic.
    pub quiet: i64,
    /// The last one with traffic.
    pub traffic: Option<i64>,
}

/// A message that went out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// When, microseconds since 1970.
    pub at: i64,
    /// The highest rate of failures that was told, 0 to 1.
    pub rate: f64,
    /// The last window of the incident then.
    pub last: i64,
}

/// The right to say something, for a while: whoever holds it and dies does not keep others silent for
/// ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The request id of the invocation. Lambda tries the same event again under the same id, which then
    /// takes over at once.
    pub owner: String,
    /// Until when, microseconds since 1970.
    pub until: i64,
}

/// As many incidents that are over are remembered: more than a day has windows apart from each other. Of
/// more, the oldest become one, with the time between them: late rows of it stay silent, and nothing is
/// said twice.
const MAX_OVER: usize = 80;

/// No window of this millennium has a larger number, and its time still fits into microseconds.
const MAX_WINDOW: i64 = 1_000_000_000;

/// Whether it can be the number of a window.
pub(super) fn is_window(it: i64) -> bool {
    (0..=MAX_WINDOW).contains(&it)
}

impl Open {
    /// An incident of these windows of which nothing was said yet. `usual_rate` is that of the hour
    /// before it, 0 to 1.
    pub fn new(id: String, first: i64, last: i64, usual_rate: Option<f64>) -> Self {
        Self {
            id,
            first,
            last,
            told: None,
            causes: Vec::new(),
            reviewed: i64::MIN,
            signatures: Vec::new(),
            attributed: 0,
            idle: None,
            usual_rate,
        }
    }
}

impl Record {
    /// A target group of which nothing was said yet.
    pub fn new(load_balancer: &str, target_group: Option<&str>) -> Self {
        Self {
            load_balancer: load_balancer.to_owned(),
            target_group: target_group.map(ToOwned::to_owned),
            ..Self::default()
        }
    }

    /// Whether an object without failures has to look at it: something is not over, or somebody died with
    /// the lease, to whom others have left what they saw.
    pub fn is_active(&self) -> bool {
        self.open.is_some() || self.watched.is_some() || self.lease.is_some()
    }

    /// Whether it can be what a copy of the function has saved. One that cannot would stop every copy
    /// that reads it: an incident that ends before it begins has no windows.
    pub fn is_sound(&self) -> bool {
        let is_range =
            |(first, last): WindowRange| is_window(first) && first <= last && is_window(last);
        let open = self.open.iter().map(|it| (it.first, it.last));
        let told = self.open.as_ref().and_then(|it| it.told);
        open.chain(self.over.iter().copied()).all(is_range)
            && self.watched.is_none_or(is_window)
            && told.is_none_or(|it| is_window(it.last) && 0.0 <= it.rate)
            && (self.open.iter().filter_map(|it| it.idle))
                .all(|it| is_window(it.until) && 0 <= it.quiet)
    }

    /// What was known of the time after the open incident does not hold when an object is late: one of its
    /// windows has rows of the target group after all, and they are read again.
    pub fn look_again_at(&mut self, window: i64) {
        if let Some(open) = &mut self.open {
            open.idle.take_if(|idle| window <= idle.until);
        }
    }

    /// Whether somebody else is about to say something.
    pub fn is_leased_to_another(&self, owner: &str, now: i64) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.owner != owner && now < lease.until)
    }

    /// The incident is over: its windows are remembered for as long as objects of them may arrive.
    pub fn close(&mut self, now: i64, max_age: i64) {
        if let Some(open) = self.open.take() {
            self.over.push((open.first, open.last));
        }
        // Told in the order in which they were found, which late objects may have turned round.
        self.over.sort_unstable();
        self.over.retain(|(_, last)| {
            now < end_of(last.saturating_add(QUIET_WINDOWS)).saturating_add(max_age)
        });
        let surplus = self.over.len().saturating_sub(MAX_OVER);
        let oldest: Vec<WindowRange> = self.over.drain(..surplus).collect();
        if let (Some((first, _)), Some(next)) = (oldest.first(), self.over.first_mut()) {
            next.0 = next.0.min(*first);
        }
    }

    /// Whether a window belongs to an incident that is over, or to the windows that would be joined to it.
    pub fn is_over(&self, window: i64) -> bool {
        self.over.iter().any(|(first, last)| {
            (first.saturating_sub(QUIET_WINDOWS)..=last.saturating_add(QUIET_WINDOWS))
                .contains(&window)
        })
    }

    /// Until when the ledger must keep it, microseconds since 1970, at least: as long as an object of a
    /// told window may arrive, and a trickle is told once a day.
    pub fn needed_until(&self, now: i64, max_age: i64) -> i64 {
        const TWO_DAYS: i64 = 2 * 86_400_000_000;
        let first = self.open.as_ref().map_or(now, |open| start_of(open.first).max(now));
        first.saturating_add(max_age).saturating_add(TWO_DAYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;
    const W: i64 = 5_983_920;

    fn open(first: i64, last: i64) -> Open {
        Open::new("alb502-000000000000".to_owned(), first, last, None)
    }

    fn close(record: &mut Record, first: i64, last: i64, now: i64) {
        record.open = Some(open(first, last));
        record.close(now, DAY);
    }

    #[test]
    fn a_lease_keeps_others_silent_until_it_ends() {
        let mut record = Record::new("app/shop/1", None);
        assert!(!record.is_leased_to_another("a", 0));
        record.lease = Some(Lease { owner: "a".to_owned(), until: 10 });
        for (owner, now, expected) in
            [("b", 9, true), ("b", 10, false), ("a", 9, false), ("a", 10, false)]
        {
            assert_eq!(record.is_leased_to_another(owner, now), expected, "{owner} {now}");
        }
    }

    #[test]
    fn what_is_over_is_remembered_as_long_as_its_objects_may_be_told() {
        let mut record = Record::new("app/shop/1", None);
        close(&mut record, W, W + 1, end_of(W + 5));
        assert_eq!((&record.open, &record.over), (&None, &vec![(W, W + 1)]));
        let belong: Vec<i64> =
            (W - 10..W + 10).filter(|it| record.is_over(*it)).map(|it| it - W).collect();
        assert_eq!(belong, (-3..=4).collect::<Vec<_>>(), "and the windows joined to it");
        // The last of them, three after the incident, is told for a day.
        close(&mut record, W + 100, W + 100, end_of(W + 4) + DAY - 1);
        assert_eq!(record.over, [(W, W + 1), (W + 100, W + 100)]);
        close(&mut record, W + 200, W + 200, end_of(W + 4) + DAY);
        assert_eq!(record.over, [(W + 100, W + 100), (W + 200, W + 200)]);
    }

    #[test]
    fn of_very_many_the_oldest_become_one() {
        let mut record = Record::new("app/shop/1", None);
        for number in (0..MAX_OVER as i64 + 3).rev() {
            close(&mut record, W + 10 * number, W + 10 * number, start_of(W));
        }
        assert_eq!(record.over.len(), MAX_OVER);
        assert_eq!(record.over[..2], [(W, W + 30), (W + 40, W + 40)]);
        assert!((0..MAX_OVER as i64 + 3).all(|number| record.is_over(W + 10 * number)));
    }

    #[test]
    fn a_record_outlives_whatever_may_need_it() {
        let mut record = Record::new("app/shop/1", None);
        let now = start_of(W);
        // Objects of a told window are told for max_age; the trickle of a day, and a lease beside it.
        assert!(now + DAY + DAY <= record.needed_until(now, DAY));
        record.open = Some(open(W + 2, W + 2));
        assert!(end_of(W + 2) + DAY + DAY <= record.needed_until(now, DAY));
    }

    #[test]
    fn a_record_that_nobody_can_have_saved_is_known() {
        let told = |last, rate| Some(Told { at: 0, rate, last });
        for (open, expected) in [
            (open(W, W), true),
            (open(W + 1, W), false),
            (open(-1, W), false),
            (open(i64::MIN, i64::MAX), false),
            (open(W, MAX_WINDOW), true),
            (open(W, MAX_WINDOW + 1), false),
            (Open { told: told(W, 1.0), ..open(W, W) }, true),
            (Open { told: told(W, -0.1), ..open(W, W) }, false),
            (Open { told: told(i64::MAX, 1.0), ..open(W, W) }, false),
        ] {
            let record = Record { open: Some(open), ..Record::new("app/shop/1", None) };
            assert_eq!(record.is_sound(), expected, "{record:?}");
        }
        let record = Record::new("app/shop/1", None);
        assert!(record.is_sound());
        assert!(!Record { watched: Some(i64::MAX), ..record.clone() }.is_sound());
        assert!(Record { over: vec![(W, W + 1)], ..record.clone() }.is_sound());
        assert!(!Record { over: vec![(W, W), (W + 1, W)], ..record }.is_sound());
    }

    #[test]
    fn a_record_of_an_older_version_can_be_read() {
        let old = r#"{"load_balancer": "app/shop/1", "target_group": null, "version": 3,
            "open": {"id": "a", "first": 1, "last": 2, "told": null}}"#;
        let record: Record = serde_json::from_str(old).unwrap();
        assert_eq!((record.version, record.open.unwrap().last), (3, 2));
    }
}
