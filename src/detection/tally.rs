//! What is counted of one target, one path, one node, one method: only what the evidence needs of each.

use std::{collections::HashMap, hash::Hash};

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use super::{
    names::{NameId, OTHERS},
    signature::Signature,
};

/// Targets, paths, methods and nodes counted per window and target group; the rest is `others`. A target
/// group has at most 1,000 targets.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>
pub(super) const MAX_KEYS: usize = 1024;

/// Something by the id of a name. Ids are given in order, so no stranger chooses them and the fastest
/// hash does.
pub(super) type ById<T> = HashMap<NameId, T, RandomState>;

/// So many keys are looked through one after the other: they are in one or two cache lines, and nothing
/// has to be hashed. A window mostly has fewer targets, nodes and methods.
const FEW: usize = 16;

/// Something by the id of a name, found again without a hash while there are few: each row looks up six.
#[derive(Debug, Clone)]
pub(super) struct Tallies<T, K = NameId> {
    keys: Vec<K>,
    values: Vec<T>,
    /// Where a key stands, once they are not few.
    places: HashMap<K, u32, RandomState>,
    /// Where the key of the row before stands.
    last: usize,
}

impl<T, K> Default for Tallies<T, K> {
    fn default() -> Self {
        Self { keys: Vec::new(), values: Vec::new(), places: HashMap::default(), last: 0 }
    }
}

impl<T: Default, K: Copy + Eq + Hash> Tallies<T, K> {
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.keys.iter().copied().zip(&self.values)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.values.iter_mut()
    }

    /// What stands under a key.
    #[inline]
    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        if self.keys.get(self.last) != Some(&key) {
            self.last = if self.keys.len() <= FEW {
                self.keys.iter().position(|it| *it == key)?
            } else {
                *self.places.get(&key)? as usize
            };
        }
        self.values.get_mut(self.last)
    }

    /// Puts something under a key that has nothing yet.
    pub(super) fn insert(&mut self, key: K, value: T) {
        self.last = self.keys.len();
        self.keys.push(key);
        self.values.push(value);
        if FEW < self.keys.len() {
            let from = self.places.len();
            let new = (0..).zip(&self.keys).skip(from).map(|(place, key)| (*key, place));
            self.places.extend(new);
        }
    }
}

impl<T: Default> Tallies<T> {
    /// Adds to the tally of a name, or to that of `others` when there are `most` names already; tells how
    /// many more tallies there are than before.
    #[inline]
    pub(super) fn add(&mut self, name: NameId, most: usize, add: impl FnOnce(&mut T)) -> usize {
        if let Some(tally) = self.get_mut(name) {
            add(tally);
            return 0;
        }
        let is_full = most <= self.keys.len();
        if is_full && let Some(others) = self.get_mut(OTHERS) {
            add(others);
            return 0;
        }
        let mut tally = T::default();
        add(&mut tally);
        self.insert(if is_full { OTHERS } else { name }, tally);
        1
    }
}

impl<T: Tally> Tallies<T> {
    /// Leaves the `most` tallies that say most and adds the rest up as `others`. A name that stays was
    /// counted from its first row on, and no other comes in later: of none is half told.
    pub(super) fn cut(&mut self, most: usize) {
        if self.len() <= most {
            return;
        }
        let old = std::mem::take(self);
        let mut list: Vec<(NameId, T)> = old.keys.into_iter().zip(old.values).collect();
        list.sort_by_key(|(name, it)| (std::cmp::Reverse(it.rank()), *name));
        let mut others = T::default();
        self.keys.reserve_exact(most + 1);
        self.values.reserve_exact(most + 1);
        for (name, tally) in list {
            if name != OTHERS && self.len() < most {
                self.insert(name, tally);
            } else {
                others.merge(&tally);
            }
        }
        self.insert(OTHERS, others);
    }
}

/// Failures by signature.
pub(super) type BySignature = [u64; Signature::ALL.len()];

/// Failures of one path or target by signature; 4,294,967,295 stands for more. There are many of these.
pub(super) type FewBySignature = [u32; Signature::ALL.len()];

/// The first and the last time of something, microseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Span(pub(super) Option<(i64, i64)>);

impl Span {
    pub(super) fn add(&mut self, time: i64) {
        self.0 = Some(match self.0 {
            Some((first, last)) => (first.min(time), last.max(time)),
            None => (time, time),
        });
    }

    pub(super) fn merge(&mut self, other: Self) {
        if let Some((first, last)) = other.0 {
            self.add(first);
            self.add(last);
        }
    }
}

/// Something that is counted under keys. What is kept elsewhere may lie, so sums saturate.
pub(super) trait Tally: Default {
    fn merge(&mut self, other: &Self);

    /// How much it says: its failures first, then its requests.
    fn rank(&self) -> (u64, u64);
}

impl Tally for u64 {
    fn merge(&mut self, other: &Self) {
        *self = self.saturating_add(*other);
    }

    fn rank(&self) -> (u64, u64) {
        (*self, 0)
    }
}

/// Requests and failures of one method, type or node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ShareTally {
    pub(super) requests: u64,
    pub(super) failures: u64,
}

impl Tally for ShareTally {
    fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.failures = self.failures.saturating_add(other.failures);
    }

    fn rank(&self) -> (u64, u64) {
        (self.failures, self.requests)
    }
}

/// What is counted of a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PathTally {
    pub(super) requests: u64,
    pub(super) failures: u64,
    pub(super) successes: u64,
    pub(super) signatures: FewBySignature,
    /// Sum of `received_bytes` of the successful rows.
    pub(super) success_bytes: u64,
    /// The largest `received_bytes` of a successful row.
    pub(super) largest_success_bytes: u64,
    /// The longest `target_processing_time` of a successful row, milliseconds.
    pub(super) longest_success: Option<i64>,
}

impl Tally for PathTally {
    fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.failures = self.failures.saturating_add(other.failures);
        self.successes = self.successes.saturating_add(other.successes);
        merge_signatures(&mut self.signatures, &other.signatures);
        self.success_bytes = self.success_bytes.saturating_add(other.success_bytes);
        self.largest_success_bytes = self.largest_success_bytes.max(other.largest_success_bytes);
        self.longest_success = self.longest_success.max(other.longest_success);
    }

    fn rank(&self) -> (u64, u64) {
        (self.failures, self.requests)
    }
}

/// What is counted of a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct TargetTally {
    pub(super) requests: u64,
    pub(super) failures: u64,
    pub(super) successes: u64,
    pub(super) signatures: FewBySignature,
    /// Rows whose connection needed repeated SYNs.
    pub(super) slow_connects: u64,
    pub(super) seen: Span,
    pub(super) success: Span,
    pub(super) failure: Span,
    /// When the last request was sent to it.
    pub(super) last_start: Option<i64>,
}

impl Tally for TargetTally {
    fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.failures = self.failures.saturating_add(other.failures);
        self.successes = self.successes.saturating_add(other.successes);
        merge_signatures(&mut self.signatures, &other.signatures);
        self.slow_connects = self.slow_connects.saturating_add(other.slow_connects);
        self.seen.merge(other.seen);
        self.success.merge(other.success);
        self.failure.merge(other.failure);
        self.last_start = self.last_start.max(other.last_start);
    }

    fn rank(&self) -> (u64, u64) {
        (self.failures, self.requests)
    }
}

fn merge_signatures(sums: &mut FewBySignature, other: &FewBySignature) {
    for (sum, more) in sums.iter_mut().zip(other) {
        *sum = sum.saturating_add(*more);
    }
}
