//! What one object says of one window, in a form that can be kept and added up again.
//!
//! Every load-balancer node writes its own object, and every object is read by another invocation. A
//! portion is what is kept of it: the counts of all target groups, which are exact, and the details (who
//! failed, where, how long targets had been quiet), packed to at most [`MAX_PACKED_BYTES`].
//!
//! A [`Detector`] that is given the portions of all objects judges as if it had read all rows, up to two
//! bounds. Details that are longer than that are cut: the answers of the busiest targets go first, failed
//! rows and tallies beyond 128 of a target group last. And what a detector can hold of all windows together
//! may be less than the portions have: then it gives up details as it does while it reads rows, but maybe
//! others. The counts, which say what is an incident, are the same whatever is given up.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Counts,
    cell::{Cell, MINUTES, MinuteTally},
    detector::{Detector, GroupKey, MAX_CELLS, MAX_GROUPS, SourceId},
    evidence::{Evidence, Kind},
    packed::{self, PackedError, Tables},
    room::Grown,
    spikes::WindowRange,
    tally::{BySignature, add_signatures},
};

/// The details of an object and window are at most this long. An item of DynamoDB holds 400 KB, names and
/// numbers included.
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
pub const MAX_PACKED_BYTES: usize = 300_000;

/// One object's rows of one load balancer in one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Portion {
    /// `app/name/id`, as in the rows.
    pub load_balancer: Arc<str>,
    /// The number of the five-minute window since 1970.
    pub window: i64,
    /// The counts of every target group in it, ordered by target group.
    pub groups: Vec<GroupCounts>,
    /// The details of all of them, at most [`MAX_PACKED_BYTES`].
    pub details: Vec<u8>,
}

/// What is counted of one target group in one window: exact, whatever the number of rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupCounts {
    /// The ARN; `None` for rows that were never forwarded.
    pub target_group: Option<Box<str>>,
    /// Rows by what they mean.
    pub counts: Counts,
    signatures: BySignature,
    minutes: [MinuteTally; MINUTES],
    successes_without_target: u64,
}

impl GroupCounts {
    /// The signature that most failures have, as a number that only serves to be compared.
    pub fn leading_signature(&self) -> Option<usize> {
        leading(&self.signatures)
    }

    /// Failures by signature, in the order of [`super::Signature::ALL`].
    pub fn signatures(&self) -> &[u64] {
        &self.signatures
    }
}

/// The index of the largest number that is not zero; the first of several.
pub fn leading(counts: &[u64]) -> Option<usize> {
    let largest = counts.iter().copied().max().filter(|largest| 0 < *largest)?;
    counts.iter().position(|count| *count == largest)
}

impl Detector {
    /// Everything that was counted, one portion for each load balancer and window. The rows must be of
    /// one object: a portion does not know more.
    pub fn portions(&self) -> Vec<Portion> {
        let mut keys: Vec<(GroupKey, i64)> = (self.groups.iter())
            .flat_map(|(key, group)| group.windows.keys().map(|window| (*key, *window)))
            .collect();
        // Ids are given in the order of the rows: the names decide, so that the same rows in any order
        // give the same bytes.
        keys.sort_by_cached_key(|(key, window)| {
            let group = key.target_group.map(|arn| self.names.get(arn));
            (self.names.get(key.load_balancer), *window, group)
        });
        keys.chunk_by(|(a, of), (b, with)| a.load_balancer == b.load_balancer && of == with)
            .filter_map(|keys| {
                let (key, window) = keys.first()?;
                let cells: Vec<(Option<Arc<str>>, &Cell)> = (keys.iter())
                    .filter_map(|(key, window)| {
                        let arn = key.target_group.map(|arn| self.names.get(arn));
                        Some((arn, &**self.groups.get(key)?.windows.get(window)?))
                    })
                    .collect();
                Some(Portion {
                    load_balancer: self.names.get(key.load_balancer),
                    window: *window,
                    groups: cells
                        .iter()
                        .map(|(arn, cell)| counts_of(arn.as_deref(), cell))
                        .collect(),
                    details: packed::pack(self, &cells, MAX_PACKED_BYTES),
                })
            })
            .collect()
    }

    /// Adds the counts of one object and window.
    pub fn absorb_counts<'a>(
        &mut self,
        load_balancer: &str,
        window: i64,
        groups: impl IntoIterator<Item = &'a GroupCounts>,
    ) {
        for group in groups {
            let Some(key) = self.group_key(load_balancer, group.target_group.as_deref()) else {
                continue;
            };
            let Some(cell) = self.cell(key, window) else { continue };
            cell.counts.add(&group.counts);
            add_signatures(&mut cell.signatures, &group.signatures);
            for (sum, more) in cell.minutes.iter_mut().zip(&group.minutes) {
                sum.merge(more);
            }
            cell.successes_without_target =
                cell.successes_without_target.saturating_add(group.successes_without_target);
        }
    }

    /// Adds the details of one target group in one object and window, whose counts were added before.
    ///
    /// # Errors
    /// When the bytes are not what [`Detector::portions`] has made.
    pub fn absorb_details(
        &mut self,
        load_balancer: &str,
        target_group: Option<&str>,
        window: i64,
        source: SourceId,
        details: &[u8],
    ) -> Result<(), PackedError> {
        let packed = packed::unpack(details, target_group)?;
        let Some(key) = self.group_key(load_balancer, target_group) else { return Ok(()) };
        let Some(cell) = self.cell(key, window) else { return Ok(()) };
        let mut details = match cell.details.take() {
            Some(details) => details,
            None if cell.is_given_up => return Ok(()),
            None => {
                self.make_room_for_details();
                Box::default()
            }
        };
        let before = details.size();
        let names =
            Tables { names: &mut self.names, words: &mut self.words, paths: &mut self.paths };
        packed.add_to(&mut details, source, names, &self.room);
        let after = details.size();
        if let Some(cell) = self.cell(key, window) {
            cell.details = Some(details);
        }
        if self.room.take(Grown::between(before, after)) {
            self.make_room();
        }
        Ok(())
    }

    /// The evidence of an incident whose first and last window are known. `spikes` are left out of a
    /// trickle. `None` when nothing was counted of the target group.
    pub fn evidence(
        &self,
        load_balancer: &str,
        target_group: Option<&str>,
        range: WindowRange,
        kind: Kind,
        spikes: &[WindowRange],
    ) -> Option<Evidence> {
        let (key, group) = self.groups.iter().find(|(key, _)| {
            &*self.names.get(key.load_balancer) == load_balancer
                && key.target_group.map(|arn| self.names.get(arn)).as_deref() == target_group
        })?;
        Some(super::collect::evidence(self, group, &self.identity(key), range, kind, spikes))
    }

    fn group_key(&mut self, load_balancer: &str, target_group: Option<&str>) -> Option<GroupKey> {
        let key = GroupKey {
            load_balancer: self.names.id(load_balancer.as_bytes()),
            target_group: target_group.map(|arn| self.names.id(arn.as_bytes())),
        };
        let is_beyond = MAX_GROUPS <= self.groups.len() && !self.groups.contains_key(&key);
        if is_beyond || key.is_not_told_apart() {
            self.rows_not_judged += 1;
            return None;
        }
        self.groups.entry(key).or_default();
        Some(key)
    }

    fn cell(&mut self, key: GroupKey, window: i64) -> Option<&mut Cell> {
        let group = self.groups.get_mut(&key)?;
        if !group.windows.contains_key(&window) {
            if MAX_CELLS <= self.cells {
                self.rows_not_judged += 1;
                return None;
            }
            self.cells += 1;
        }
        Some(group.windows.entry(window).or_default())
    }
}

fn counts_of(target_group: Option<&str>, cell: &Cell) -> GroupCounts {
    GroupCounts {
        target_group: target_group.map(Box::from),
        counts: cell.counts,
        signatures: cell.signatures,
        minutes: cell.minutes,
        successes_without_target: cell.successes_without_target,
    }
}
