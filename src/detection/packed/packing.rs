//! Details become bytes, no more than may be kept.

use std::{collections::HashMap, sync::Arc};

use super::{
    FORM, MAX_UNPACKED_BYTES, compressed,
    form::{Answers, Failure, Group, Head, LatencyParts, Packed},
    plain,
};
use crate::detection::{
    cell::{Cell, Details, KeptFailure},
    detector::Detector,
    names::{NameId, Names, OTHERS},
    tally::{Tallies, Tally},
};

/// Packs the details of the target groups, at most `max` bytes and unpacked no more than are read. What does
/// not fit is given up in this order: the answers of the busiest targets (a connection that is used all the
/// time is never idle for the seconds that a keep-alive timeout takes), then failed rows beyond 128 of each
/// target group, then paths and targets beyond 128, least failures first, then everything. Counts stay exact.
pub(in crate::detection) fn pack(
    detector: &Detector,
    cells: &[(Option<Arc<str>>, &Cell)],
    max: usize,
) -> Vec<u8> {
    const KEPT_WHEN_CUT: usize = 128;
    let mut packing = Packing::new(detector);
    for (target_group, cell) in cells {
        if let Some(details) = &cell.details {
            packing.add(target_group.as_deref(), details);
        }
    }
    let mut packed = packing.packed;
    let mut bytes = fitting(&packed, max);
    while bytes.is_none() && packed.give_up_busiest() {
        bytes = fitting(&packed, max);
    }
    if bytes.is_none() {
        packed.groups.iter_mut().for_each(|group| group.failures.truncate(KEPT_WHEN_CUT));
        bytes = fitting(&packed, max);
    }
    if bytes.is_none() {
        for group in &mut packed.groups {
            fold(&mut group.paths, KEPT_WHEN_CUT, |it| (it.failures, it.requests));
            fold(&mut group.targets, KEPT_WHEN_CUT, |it| (it.failures, it.requests));
        }
        packed.head.paths_overflowed = true;
        packed.drop_unused_names();
        bytes = fitting(&packed, max);
    }
    bytes.unwrap_or_else(|| {
        let head = Head { form: FORM, paths_overflowed: true, ..Head::default() };
        compressed(&plain(&Packed { head, groups: Vec::new() }))
    })
}

/// The bytes, if they are at most `max`, and no more than [`super::unpack`] reads.
fn fitting(packed: &Packed, max: usize) -> Option<Vec<u8>> {
    let plain = plain(packed);
    let bytes = (plain.len() <= MAX_UNPACKED_BYTES).then(|| compressed(&plain));
    bytes.filter(|bytes| bytes.len() <= max)
}

/// Gives names their numbers while they are met, in an order that does not depend on that of the rows.
struct Packing<'a> {
    detector: &'a Detector,
    packed: Packed,
    names: HashMap<NameId, u32>,
    words: HashMap<NameId, u32>,
    paths: HashMap<NameId, u32>,
}

impl<'a> Packing<'a> {
    fn new(detector: &'a Detector) -> Self {
        let paths_overflowed = detector.paths_overflowed();
        let head = Head { form: FORM, paths_overflowed, ..Head::default() };
        let packed = Packed { head, groups: Vec::new() };
        let (names, words, paths) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { detector, packed, names, words, paths }
    }

    fn name(&mut self, id: NameId) -> u32 {
        number(id, &self.detector.names, &mut self.names, &mut self.packed.head.names)
    }

    fn word(&mut self, id: NameId) -> u32 {
        number(id, &self.detector.words, &mut self.words, &mut self.packed.head.words)
    }

    fn path(&mut self, id: NameId) -> u32 {
        number(id, &self.detector.paths, &mut self.paths, &mut self.packed.head.paths)
    }

    fn add(&mut self, target_group: Option<&str>, details: &Details) {
        let detector = self.detector;
        let targets = by_name(&details.targets, &detector.names);
        let targets = targets.into_iter().map(|(id, it)| (self.name(id), it)).collect();
        let paths = by_name(&details.paths, &detector.paths);
        let paths = paths.into_iter().map(|(id, it)| (self.path(id), it)).collect();
        let methods = by_name(&details.methods, &detector.words);
        let methods = methods.into_iter().map(|(id, it)| (self.word(id), it)).collect();
        let types = by_name(&details.types, &detector.names);
        let types = types.into_iter().map(|(id, it)| (self.name(id), it)).collect();
        let mut reasons: Vec<_> = details.error_reasons.iter().map(|(id, it)| (id, *it)).collect();
        reasons.sort_by_cached_key(|(id, _)| detector.words.get(*id));
        let error_reasons = reasons.into_iter().map(|(id, it)| (self.word(id), it)).collect();
        let mut failures: Vec<&KeptFailure> = details.failures.iter().collect();
        // The smallest digests first: cutting the list leaves what would have been kept of fewer.
        failures.sort();
        let failures = failures.into_iter().map(|kept| self.failure(kept)).collect();
        let mut answers: Vec<_> =
            details.answers.iter().map(|((_, target), it)| (target, it)).collect();
        answers.sort_by_cached_key(|(target, _)| detector.names.get(*target));
        let answers = answers
            .into_iter()
            .map(|(target, it)| {
                let mut list = it.list.clone();
                // Paths have their numbers already, if they are counted at all: their order is that of
                // the names.
                list.sort_by_cached_key(|it| (it.start, it.end, it.path().map(|id| self.path(id))));
                let mut before = 0;
                let list = list.into_iter().map(|it| {
                    let start = it.start.saturating_sub(before);
                    before = it.start;
                    let path = it.path().map_or(0, |id| self.path(id).saturating_add(1));
                    (start, it.end.saturating_sub(it.start), path)
                });
                let list = list.collect();
                Answers { target: self.name(target), busy: it.busy, list }
            })
            .collect();
        let nodes = details.nodes.values().copied().collect();
        let (buckets, longest) = details.latencies.parts();
        let latencies = LatencyParts { buckets, longest };
        self.packed.groups.push(Group {
            target_group: target_group.map(Box::from),
            targets,
            paths,
            nodes,
            methods,
            types,
            seen: details.seen,
            is_unfollowed: details.is_unfollowed,
            error_reasons,
            failures,
            answers,
            latencies,
        });
    }

    fn failure(&mut self, kept: &KeptFailure) -> Failure {
        Failure {
            digest: kept.digest,
            time: kept.time,
            created: kept.created,
            signature: kept.signature as u8,
            times: kept.times,
            target: kept.target.map(|id| self.name(id)),
            path: kept.path.map(|id| self.path(id)),
            method: kept.method.map(|id| self.word(id)),
            error_reason: kept.error_reason.map(|id| self.word(id)),
            received_bytes: kept.received_bytes,
            trace_id: kept.trace_id.clone(),
        }
    }
}

fn by_name<T: Copy + Default>(tallies: &Tallies<T>, names: &Names) -> Vec<(NameId, T)> {
    let mut list: Vec<_> = tallies.iter().map(|(id, tally)| (id, *tally)).collect();
    list.sort_by_cached_key(|(id, _)| (*id != OTHERS, names.get(*id)));
    list
}

fn number(
    id: NameId,
    names: &Names,
    numbers: &mut HashMap<NameId, u32>,
    list: &mut Vec<Box<str>>,
) -> u32 {
    if id == OTHERS {
        return 0;
    }
    *numbers.entry(id).or_insert_with(|| {
        list.push(Box::from(&*names.get(id)));
        u32::try_from(list.len()).unwrap_or(0)
    })
}

/// Keeps the tallies with most failures, then most requests, and adds the rest up as `others`.
fn fold<T: Tally>(tallies: &mut Vec<(u32, T)>, kept: usize, order: fn(&T) -> (u64, u64)) {
    tallies.sort_by_key(|(name, it)| (std::cmp::Reverse(order(it)), *name));
    let rest = tallies.split_off(kept.min(tallies.len()));
    if rest.is_empty() {
        return;
    }
    let mut others = T::default();
    rest.iter().for_each(|(_, it)| others.merge(it));
    match tallies.iter_mut().find(|(name, _)| *name == 0) {
        Some((_, sum)) => sum.merge(&others),
        None => tallies.push((0, others)),
    }
}

impl Packed {
    /// Gives up the answers of the targets that have more than half as many as the busiest one. False
    /// when there are none left.
    fn give_up_busiest(&mut self) -> bool {
        let all = || self.groups.iter().flat_map(|group| &group.answers);
        let most = all().map(|it| it.list.len()).max().unwrap_or(0);
        if most == 0 {
            return false;
        }
        for it in self.groups.iter_mut().flat_map(|group| &mut group.answers) {
            if most < 2 * it.list.len() {
                *it = Answers { target: it.target, busy: true, list: Vec::new() };
            }
        }
        true
    }

    /// Paths that only failed rows and answers name become `others`.
    fn drop_unused_names(&mut self) {
        let mut used = vec![false; self.head.paths.len() + 1];
        for (path, _) in self.groups.iter().flat_map(|group| &group.paths) {
            if let Some(used) = used.get_mut(*path as usize) {
                *used = true;
            }
        }
        let mut number = 0;
        let numbers: Vec<u32> = (used.iter().enumerate())
            .map(|(index, used)| {
                number += u32::from(*used && index != 0);
                if *used && index != 0 { number } else { 0 }
            })
            .collect();
        let mut index = 0;
        self.head.paths.retain(|_| {
            index += 1;
            used.get(index) == Some(&true)
        });
        let anew = |path: u32| numbers.get(path as usize).copied().unwrap_or(0);
        for group in &mut self.groups {
            group.paths.iter_mut().for_each(|(path, _)| *path = anew(*path));
            for failure in &mut group.failures {
                failure.path = failure.path.map(anew);
            }
            for (_, _, path) in group.answers.iter_mut().flat_map(|it| &mut it.list) {
                *path = path.checked_sub(1).map_or(0, |it| anew(it) + 1);
            }
        }
    }
}
