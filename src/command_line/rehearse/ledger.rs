//! What a rehearsal remembers: of the recent time what the function's table holds, of all of history the
//! sums that the report needs.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    ops::RangeInclusive,
};

use super::chunks::{Chunks, Place};
use crate::{
    incident::{Kept, Observation, Record, observation::kept_until, window_of},
    local::ledger::MemoryLedger,
    ports::{Ledger, LedgerError, Saved},
};

/// Bytes of details that are held at most. Ten nodes with 10,000 rows each in five minutes have 111 MB in a
/// day, which is as far back as a trickle looks; a laptop has more than twice that.
const MAX_DETAILS_BYTES: u64 = 256_000_000;

/// One window of a target group, all objects together.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    pub(super) requests: u64,
    pub(super) failures: u64,
    pub(super) intentional_502: u64,
}

/// The sums of a load balancer.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    /// By target group and window.
    pub(super) groups: BTreeMap<Option<Box<str>>, BTreeMap<i64, Sum>>,
    /// Lines of its objects that are no rows.
    pub(super) malformed: u64,
}

impl Sums {
    /// The windows with rows in them.
    pub(super) fn windows(&self) -> BTreeSet<i64> {
        self.groups.values().flat_map(BTreeMap::keys).copied().collect()
    }

    /// Adds what was observed of one object in its windows.
    fn add(&mut self, kept: &[Kept]) {
        for Kept { observation: it, .. } in kept {
            for group in &it.groups {
                let windows = self.groups.entry(group.target_group.clone()).or_default();
                let sum = windows.entry(it.window).or_default();
                sum.requests = sum.requests.saturating_add(group.counts.requests);
                sum.failures = sum.failures.saturating_add(group.counts.failures);
                sum.intentional_502 =
                    sum.intentional_502.saturating_add(group.counts.intentional_502);
            }
        }
        let malformed = kept.first().map_or(0, |it| it.observation.object.malformed);
        self.malformed = self.malformed.saturating_add(malformed);
    }
}

/// What is held of one object in one window.
#[derive(Debug)]
struct Held {
    /// Of bucket and key.
    name: u64,
    counts: Place,
    details: Place,
    /// Whether a target group failed in it.
    failed: bool,
}

/// The observations that are not forgotten.
#[derive(Debug, Default)]
struct Recent {
    /// By load balancer and window.
    held: BTreeMap<String, BTreeMap<i64, Vec<Held>>>,
    counts: Chunks,
    /// Details of windows in which something failed.
    failed: Chunks,
    /// Details of the others.
    healthy: Chunks,
}

impl Recent {
    fn keep(&mut self, kept: &Kept) -> Result<(), LedgerError> {
        let it = &kept.observation;
        let counts = postcard::to_allocvec(it).map_err(|error| broken(&error))?;
        let failed = it.groups.iter().any(|group| 0 < group.counts.failures);
        let details = if failed { &mut self.failed } else { &mut self.healthy };
        let held = Held {
            name: name_of(it),
            counts: self.counts.put(&counts),
            details: details.put(&kept.details),
            failed,
        };
        let windows = self.held.entry(it.load_balancer.to_string()).or_default();
        windows.entry(it.window).or_default().push(held);
        Ok(())
    }

    fn forget(&mut self, is_over: impl Fn(i64) -> bool) {
        for windows in self.held.values_mut() {
            windows.retain(|window, _| !is_over(*window));
        }
        let all = || self.held.values().flat_map(BTreeMap::values).flatten();
        let first = |places: &mut dyn Iterator<Item = &Place>| places.map(Place::chunk).min();
        let counts = first(&mut all().map(|it| &it.counts));
        let failed = first(&mut all().filter(|it| it.failed).map(|it| &it.details));
        let healthy = first(&mut all().filter(|it| !it.failed).map(|it| &it.details));
        self.counts.drop_before(counts.unwrap_or(u64::MAX));
        self.failed.drop_before(failed.unwrap_or(u64::MAX));
        self.healthy.drop_before(healthy.unwrap_or(u64::MAX));
    }

    /// Gives up the oldest details, those of healthy windows first. Returns of how many objects.
    fn give_details_up(&mut self, max_bytes: u64) -> u64 {
        let mut given_up = 0;
        while max_bytes < self.failed.bytes().saturating_add(self.healthy.bytes()) {
            let Some(objects) = self.healthy.drop_oldest().or_else(|| self.failed.drop_oldest())
            else {
                break;
            };
            given_up += objects;
        }
        given_up
    }

    /// In the order of the names of the objects.
    fn observations(
        &self,
        load_balancer: &str,
        windows: RangeInclusive<i64>,
    ) -> Result<Vec<Observation>, LedgerError> {
        let mut all: Vec<Observation> = Vec::new();
        // A range may be empty: `BTreeMap` takes none that ends before it begins.
        let held = self.held.get(load_balancer).into_iter();
        let of_windows = held
            .flat_map(|of_one| of_one.range(*windows.start()..))
            .take_while(|(window, _)| windows.contains(window));
        for it in of_windows.flat_map(|(_, held)| held) {
            let counts = self.counts.get(&it.counts).unwrap_or_default();
            all.push(postcard::from_bytes(counts).map_err(|error| broken(&error))?);
        }
        let name = |it: &Observation| (it.window, it.object.bucket.clone(), it.object.key.clone());
        all.sort_by_cached_key(name);
        Ok(all)
    }

    fn details(&self, it: &Observation) -> Option<Vec<u8>> {
        let name = name_of(it);
        let held = self.held.get(&*it.load_balancer)?.get(&it.window)?;
        let held = held.iter().find(|held| held.name == name)?;
        let details = if held.failed { &self.failed } else { &self.healthy };
        details.get(&held.details).map(<[u8]>::to_vec)
    }
}

fn name_of(it: &Observation) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&it.object.bucket, &it.object.key).hash(&mut hasher);
    hasher.finish()
}

fn broken(error: &postcard::Error) -> LedgerError {
    LedgerError { reason: format!("the memory of the rehearsal: {error}"), permission: None }
}

/// The ledger of a rehearsal. Every object comes once, so that nothing in it is ever to be replaced.
#[derive(Debug)]
pub(super) struct RehearsalLedger {
    recent: RefCell<Recent>,
    records: MemoryLedger,
    sums: RefCell<BTreeMap<String, Sums>>,
    /// Microseconds, as of the setting.
    max_age: i64,
    /// The window in which something was forgotten last.
    forgotten_in: Cell<i64>,
    /// Objects whose details were given up.
    given_up: Cell<u64>,
}

impl RehearsalLedger {
    /// Remembers as long as a table does whose rows are told for `max_age` (microseconds).
    pub(super) fn new(max_age: i64) -> Self {
        Self {
            recent: RefCell::default(),
            records: MemoryLedger::default(),
            sums: RefCell::default(),
            max_age,
            forgotten_in: Cell::new(i64::MIN),
            given_up: Cell::new(0),
        }
    }

    /// The time has come to `now` (microseconds since 1970): forgets what the function's table would have
    /// forgotten, and details for which there is no room.
    pub(super) fn advance(&self, now: i64) {
        let window = window_of(now);
        if self.forgotten_in.replace(window) == window {
            return;
        }
        let mut recent = self.recent.borrow_mut();
        recent.forget(|window| kept_until(window, self.max_age) <= now);
        let given_up = recent.give_details_up(MAX_DETAILS_BYTES);
        self.given_up.set(self.given_up.get().saturating_add(given_up));
    }

    /// The sums of each load balancer, by name.
    pub(super) fn sums(&self) -> BTreeMap<String, Sums> {
        self.sums.borrow().clone()
    }

    /// Of how many objects and windows the details had no room.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up.get()
    }
}

impl Ledger for RehearsalLedger {
    async fn keep(&self, kept: &[Kept]) -> Result<(), LedgerError> {
        if let Some(first) = kept.first() {
            let name = first.observation.load_balancer.to_string();
            self.sums.borrow_mut().entry(name).or_default().add(kept);
        }
        let mut recent = self.recent.borrow_mut();
        kept.iter().try_for_each(|it| recent.keep(it))
    }

    async fn records(&self, load_balancer: &str) -> Result<Vec<Record>, LedgerError> {
        self.records.records(load_balancer).await
    }

    async fn observations(
        &self,
        load_balancer: &str,
        windows: RangeInclusive<i64>,
    ) -> Result<Vec<Observation>, LedgerError> {
        self.recent.borrow().observations(load_balancer, windows)
    }

    async fn details(
        &self,
        observations: &[&Observation],
    ) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        let recent = self.recent.borrow();
        Ok(observations.iter().map(|it| recent.details(it)).collect())
    }

    async fn save(&self, record: &Record) -> Result<Saved, LedgerError> {
        self.records.save(record).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{end_of, observation::sample};

    const HOUR: i64 = 3_600_000_000;
    const W: i64 = 5_983_920;

    fn wait<T>(future: impl Future<Output = Result<T, LedgerError>>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future).unwrap()
    }

    fn windows(ledger: &RehearsalLedger) -> Vec<i64> {
        let all = wait(ledger.observations("app/shop/1", i64::MIN..=i64::MAX));
        all.iter().map(|it| it.window - W).collect()
    }

    #[test]
    fn what_the_table_would_have_forgotten_is_forgotten_and_the_sums_stay() {
        let ledger = RehearsalLedger::new(24 * HOUR);
        for (window, node) in [(W, 1), (W, 2), (W + 1, 1)] {
            wait(ledger.keep(&[sample(window, node, 10, 2)]));
        }
        ledger.advance(end_of(W) + 72 * HOUR - 1);
        assert_eq!(windows(&ledger), [0, 0, 1]);
        ledger.advance(end_of(W) + 72 * HOUR);
        assert_eq!(windows(&ledger), [1]);
        let sums = ledger.sums();
        let (_, of_group) = sums["app/shop/1"].groups.first_key_value().unwrap();
        let sums: Vec<_> = of_group.values().map(|it| (it.requests, it.failures)).collect();
        assert_eq!(sums, [(20, 4), (10, 2)]);
        assert_eq!(ledger.given_up(), 0);
    }
    #[test]
    fn observations_and_details_come_back_as_they_were_kept() {
        let ledger = RehearsalLedger::new(24 * HOUR);
        let kept = [sample(W, 2, 10, 2), sample(W, 1, 20, 0), sample(W + 1, 1, 10, 0)];
        for it in &kept {
            wait(ledger.keep(std::slice::from_ref(it)));
        }
        let all = wait(ledger.observations("app/shop/1", W..=W + 1));
        let of = |number: usize| &kept[number].observation;
        assert_eq!(all.iter().collect::<Vec<_>>(), [of(1), of(0), of(2)], "by name");
        assert_eq!(wait(ledger.observations("app/shop/1", W + 1..=W + 9)).len(), 1);
        assert_eq!(wait(ledger.observations("app/another/1", W..=W)), []);
        let (first, last) = (W + 1, W);
        assert_eq!(wait(ledger.observations("app/shop/1", first..=last)), []);
        let details = wait(ledger.details(&[of(0), of(1)]));
        assert_eq!(details, [Some(kept[0].details.clone()), Some(kept[1].details.clone())]);
        let unknown = sample(W + 5, 1, 10, 0);
        assert_eq!(wait(ledger.details(&[&unknown.observation])), [None]);
    }

    #[test]
    fn details_of_healthy_windows_are_given_up_first_and_the_counts_stay() {
        let mut recent = Recent::default();
        let kept = [sample(W, 1, 10, 3), sample(W + 1, 1, 10, 0), sample(W + 2, 1, 10, 0)];
        kept.iter().for_each(|it| recent.keep(it).unwrap());
        let bytes: u64 = kept.iter().map(|it| it.observation.details_bytes).sum();
        let left = |recent: &Recent| -> Vec<bool> {
            kept.iter().map(|it| recent.details(&it.observation).is_some()).collect()
        };
        assert_eq!((recent.give_details_up(bytes), left(&recent)), (0, vec![true, true, true]));
        assert_eq!(
            (recent.give_details_up(bytes - 1), left(&recent)),
            (2, vec![true, false, false])
        );
        assert_eq!((recent.give_details_up(0), left(&recent)), (1, vec![false, false, false]));
        assert_eq!(recent.observations("app/shop/1", W..=W + 2).unwrap().len(), 3);
    }
}
