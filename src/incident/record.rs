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
    /// The last window that is no spike beside the usual number of requests, but would be one if no more
    /// arrives: it is judged again when it is complete.
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

/// As many incidents that are over are remembered: more than a day has windows apart from each other.
const MAX_OVER: usize = 80;

impl Record {
    /// A target group of which nothing was said yet.
    pub fn new(load_balancer: &str, target_group: Option<&str>) -> Self {
        Self {
            load_balancer: load_balancer.to_owned(),
            target_group: target_group.map(ToOwned::to_owned),
            ..Self::default()
        }
    }

    /// Whether an object without failures has to look at it.
    pub fn is_active(&self) -> bool {
        self.open.is_some() || self.watched.is_some()
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
        self.over.retain(|(_, last)| now < end_of(*last).saturating_add(max_age));
        let surplus = self.over.len().saturating_sub(MAX_OVER);
        self.over.drain(..surplus);
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
