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

/// So many keys are looked through one after the other, in one or two cache lines; only more are hashed.
const FEW: usize = 16;

/// So many keys are found again where they were found last, if no other has the same place among these: each
/// row looks up seven, and a window mostly has fewer targets, nodes and methods.
const RECENT_PLACES: usize = 16;

/// Something by the id of a name, found again without a hash while there are few.
#[derive(Debug, Clone)]
pub(super) struct Tallies<T, K = NameId> {
    keys: Vec<K>,
    values: Vec<T>,
    /// Where a key stands, once they are not few.
    places: HashMap<K, u32, RandomState>,
    /// Where the keys of the rows before stand, each as its number says.
    recent: [u16; RECENT_PLACES],
    /// What one object counted as `others` came in: a name that another object named may be in it.
    is_half_told: bool,
}

impl<T, K> Default for Tallies<T, K> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            values: Vec::new(),
            places: HashMap::default(),
            recent: [0; RECENT_PLACES],
            is_half_told: false,
        }
    }
}

/// What something is counted under.
pub(super) trait Key: Copy + Eq + Hash {
    /// A number in which keys of one window differ.
    fn number(self) -> u32;
}

impl Key for NameId {
    fn number(self) -> u32 {
        self
    }
}

impl Key for (NameId, NameId) {
    /// A node has many targets, while the log has few nodes.
    fn number(self) -> u32 {
        self.1
    }
}

impl<T: Default, K: Key> Tallies<T, K> {
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
        let place =
            self.recent.get(key.number() as usize % RECENT_PLACES).map_or(0, |it| usize::from(*it));
        if self.keys.get(place) == Some(&key) {
            return self.values.get_mut(place);
        }
        self.looked_up(key)
    }

    #[inline(never)]
    fn looked_up(&mut self, key: K) -> Option<&mut T> {
        let place = if self.keys.len() <= FEW {
            self.keys.iter().position(|it| *it == key)?
        } else {
            *self.places.get(&key)? as usize
        };
        self.remember(key, place);
        self.values.get_mut(place)
    }

    fn remember(&mut self, key: K, place: usize) {
        if let Some(recent) = self.recent.get_mut(key.number() as usize % RECENT_PLACES) {
            *recent = u16::try_from(place).unwrap_or(0);
        }
    }

    /// Puts something under a key that has nothing yet.
    pub(super) fn insert(&mut self, key: K, value: T) {
        self.remember(key, self.keys.len());
        self.keys.push(key);
        self.values.push(value);
        if FEW < self.keys.len() {
            let from = self.places.len();
            let new = self.keys.get(from..).unwrap_or_default();
            let places = (0..).skip(from);
            self.places.extend(new.iter().copied().zip(places));
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
    /// [`Tallies::add`] for what another detector has counted.
    pub(super) fn add_part(&mut self, name: NameId, most: usize, add: impl FnOnce(&mut T)) {
        self.is_half_told |= name == OTHERS;
        self.add(name, most, add);
    }

    /// Leaves the `most` tallies that say most and adds the rest up as `others`. A name that stays was
    /// counted from its first row on, and no other comes in later: of none is half told.
    pub(super) fn cut(&mut self, most: usize) {
        if self.len() <= most {
            return;
        }
        let old = std::mem::take(self);
        self.is_half_told = old.is_half_told;
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

/// Adds the failures of `more`.
pub(super) fn add_signatures(sums: &mut BySignature, more: &BySignature) {
    for (sum, more) in sums.iter_mut().zip(more) {
        sum.merge(more);
    }
}

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

/// The tallies of several windows added up.
#[derive(Debug)]
pub(super) struct Sum<T> {
    /// With the number of windows with `others` in which the name has a tally of its own.
    tallies: ById<(T, u32)>,
    /// Windows in which some names count as `others`.
    cut: u32,
}

impl<T> Default for Sum<T> {
    fn default() -> Self {
        Self { tallies: HashMap::default(), cut: 0 }
    }
}

impl<T: Tally> Sum<T> {
    /// Adds the tallies of a window, each as `of` makes of it.
    pub(super) fn add<U: Default>(&mut self, window: &Tallies<U>, of: impl Fn(&mut T, &U)) {
        let is_cut = window.is_half_told || window.iter().any(|(name, _)| name == OTHERS);
        self.cut += u32::from(is_cut);
        for (name, tally) in window.iter() {
            let (sum, told) = self.tallies.entry(name).or_default();
            of(sum, tally);
            *told += u32::from(is_cut && !window.is_half_told);
        }
    }

    /// A window of which no tally was kept.
    pub(super) fn add_unknown(&mut self) {
        self.cut += 1;
    }

    /// The sums by name. What may have been counted as `others` in some window is added to these: half of
    /// what a target did would be taken for all of it.
    pub(super) fn whole(self) -> ById<T> {
        let mut whole: ById<T> = HashMap::default();
        for (name, (tally, told)) in self.tallies {
            let name = if told < self.cut { OTHERS } else { name };
            whole.entry(name).or_default().merge(&tally);
        }
        whole
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

#[cfg(test)]
mod tests {
    use super::*;

    fn window(names: &[NameId], most: usize) -> Tallies<u64> {
        let mut tallies = Tallies::default();
        for name in names {
            tallies.add(*name, most, |count: &mut u64| *count += 1);
        }
        tallies
    }

    fn told(windows: &[Tallies<u64>]) -> Vec<(NameId, u64)> {
        let mut sum = Sum::default();
        windows.iter().for_each(|window| sum.add(window, u64::merge));
        let mut told: Vec<_> = sum.whole().into_iter().collect();
        told.sort_unstable();
        told
    }

    #[test]
    fn what_may_be_among_others_in_some_window_is_not_told_by_half() {
        assert_eq!(told(&[window(&[1, 2, 2], 3), window(&[2, 3], 3)]), [(1, 1), (2, 3), (3, 1)]);
        // The second window has room for two names; 1 is among the others there, or may be.
        let full = || window(&[2, 3, 1, 4, 2], 2);
        assert_eq!(told(&[window(&[1, 2], 3), full()]), [(OTHERS, 3), (2, 3), (3, 1)]);
        let mut cut = window(&[1, 1, 1, 2, 3, 3], 9);
        cut.cut(2);
        assert_eq!(told(&[cut]), [(OTHERS, 1), (1, 3), (3, 2)]);
        // An object that counts others of its own may have counted any name among them.
        let mut parts = window(&[1, 2], 9);
        parts.add_part(OTHERS, 9, |count| *count += 5);
        assert_eq!(told(&[parts]), [(OTHERS, 7)]);
    }

    #[test]
    fn many_names_are_found_again_as_few_are() {
        let names: Vec<NameId> = (1..=500).chain(1..=500).rev().chain([7, 7]).collect();
        let mut tallies = window(&names, MAX_KEYS);
        assert_eq!(tallies.len(), 500);
        assert!(
            (1..=500).all(|name| tallies.get_mut(name) == Some(&mut if name == 7 { 4 } else { 2 }))
        );
        assert_eq!(tallies.get_mut(501), None);
        tallies.cut(20);
        assert_eq!((tallies.len(), tallies.get_mut(7)), (21, Some(&mut 4)));
        assert_eq!(tallies.get_mut(OTHERS), Some(&mut (480 * 2)));
    }
}
