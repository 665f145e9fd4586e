//! The ledger in the memory of the process: the embedded default.

use std::{cell::RefCell, collections::BTreeMap, ops::RangeInclusive};

use crate::{
    incident::{Kept, Observation, Record},
    ports::{Ledger, LedgerError, Saved},
};

/// Load balancer, window, bucket and key.
type Name = (String, i64, String, String);

/// Load balancer and target group.
type Group = (String, Option<String>);

/// Remembers until the process ends.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    observed: RefCell<BTreeMap<Name, Kept>>,
    records: RefCell<BTreeMap<Group, Record>>,
}

fn name(it: &Observation) -> Name {
    let (bucket, key) = (it.object.bucket.to_string(), it.object.key.to_string());
    (it.load_balancer.to_string(), it.window, bucket, key)
}

impl Ledger for MemoryLedger {
    async fn keep(&self, kept: &[Kept]) -> Result<(), LedgerError> {
        let mut all = self.observed.borrow_mut();
        for it in kept {
            let name = name(&it.observation);
            let is_whole = |it: &Kept| it.observation.object.error.is_none();
            if is_whole(it) || !all.get(&name).is_some_and(is_whole) {
                all.insert(name, it.clone());
            }
        }
        Ok(())
    }

    async fn records(&self, load_balancer: &str) -> Result<Vec<Record>, LedgerError> {
        let records = self.records.borrow();
        Ok(records.values().filter(|it| it.load_balancer == load_balancer).cloned().collect())
    }

    async fn observations(
        &self,
        load_balancer: &str,
        windows: RangeInclusive<i64>,
    ) -> Result<Vec<Observation>, LedgerError> {
        let observed = self.observed.borrow();
        let first = (load_balancer.to_owned(), *windows.start(), String::new(), String::new());
        let of_windows = observed
            .range(first..)
            .take_while(|((name, window, ..), _)| name == load_balancer && windows.contains(window))
            .map(|(_, it)| &it.observation);
        Ok(of_windows.cloned().collect())
    }

    async fn details(
        &self,
        observations: &[&Observation],
    ) -> Result<Vec<Option<Vec<u8>>>, LedgerError> {
        let observed = self.observed.borrow();
        let details = |it: &&Observation| observed.get(&name(it)).map(|it| it.details.clone());
        Ok(observations.iter().map(details).collect())
    }

    async fn save(&self, record: &Record) -> Result<Saved, LedgerError> {
        let mut records = self.records.borrow_mut();
        let group = (record.load_balancer.clone(), record.target_group.clone());
        let version = records.get(&group).map_or(0, |it| it.version);
        if version.checked_add(1) != Some(record.version) {
            return Ok(Saved::Conflict);
        }
        records.insert(group, record.clone());
        Ok(Saved::Saved)
    }
}
