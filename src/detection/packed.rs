//! The details of one object and window as bytes: `postcard` in a zlib stream.
//!
//! Rows are counted under ids that only their own detector knows, so the names go along. The node and the
//! object are the same for all rows and stay outside. Measured: 10,000 rows of 8 targets are about 38 KB,
//! nearly all of it the times of answers, from which the pauses of connections are worked out.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    sync::Arc,
};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use serde::{Deserialize, Serialize};

use super::{
    cell::{Answer, Cell, Details, KeptFailure, Latencies, MAX_TRACE_ID_BYTES},
    detector::{Detector, SourceId},
    names::{NameId, Names, OTHERS},
    room::Room,
    signature::Signature,
    tally::{PathTally, ShareTally, Span, Tallies, Tally, TargetTally},
};

/// The form of the bytes. Another number is not read: items live for days only.
const FORM: u8 = 3;

/// Unpacked details are at most this long: twenty times what 300 KB of them usually are. What is longer
/// was not made by [`pack`].
const MAX_UNPACKED_BYTES: u64 = 32 << 20;

/// Packed details that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kept details cannot be read: {0}")]
pub struct PackedError(String);

/// Names are indices into the three lists, counted from 1; 0 is `others`.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Packed {
    form: u8,
    names: Vec<Box<str>>,
    /// Methods and reasons.
    words: Vec<Box<str>>,
    paths: Vec<Box<str>>,
    /// More different paths were seen than are told apart.
    paths_overflowed: bool,
    groups: Vec<Group>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Group {
    target_group: Option<Box<str>>,
    targets: Vec<(u32, TargetTally)>,
    paths: Vec<(u32, PathTally)>,
    /// Of the one node.
    nodes: Vec<ShareTally>,
    methods: Vec<(u32, ShareTally)>,
    types: Vec<(u32, ShareTally)>,
    seen: Span,
    is_unfollowed: bool,
    error_reasons: Vec<(u32, u64)>,
    failures: Vec<Failure>,
    answers: Vec<Answers>,
    latencies: (Vec<(u8, u32)>, f64),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Failure {
    digest: u64,
    time: i64,
    created: Option<i64>,
    signature: u8,
    times: [Option<i32>; 3],
    target: Option<u32>,
    path: Option<u32>,
    method: Option<u32>,
    error_reason: Option<u32>,
    received_bytes: Option<u64>,
    trace_id: Option<Box<str>>,
}

/// The answers of one target, ordered by start.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Answers {
    target: u32,
    busy: bool,
    /// Milliseconds since the start of the answer before it (the first: of the window), how long it
    /// took, and the path counted from 1.
    list: Vec<(i32, i32, u32)>,
}

/// Packs the details of the target groups, at most `max` bytes. What does not fit is given up in this
/// order: the answers of the busiest targets (a connection that is used all the time is never idle for
/// the seconds that a keep-alive timeout takes), then failed rows beyond 128 of each target group, then
/// paths and targets beyond 128, least failures first, then everything. Counts stay exact.
pub(super) fn pack(
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
    let mut bytes = to_bytes(&packed);
    while max < bytes.len() && packed.give_up_busiest() {
        bytes = to_bytes(&packed);
    }
    if max < bytes.len() {
        packed.groups.iter_mut().for_each(|group| group.failures.truncate(KEPT_WHEN_CUT));
        bytes = to_bytes(&packed);
    }
    if max < bytes.len() {
        for group in &mut packed.groups {
            fold(&mut group.paths, KEPT_WHEN_CUT, |it| (it.failures, it.requests));
            fold(&mut group.targets, KEPT_WHEN_CUT, |it| (it.failures, it.requests));
        }
        packed.paths_overflowed = true;
        packed.drop_unused_names();
        bytes = to_bytes(&packed);
    }
    if max < bytes.len() {
        bytes = to_bytes(&Packed { form: FORM, paths_overflowed: true, ..Packed::default() });
    }
    bytes
}

fn to_bytes(packed: &Packed) -> Vec<u8> {
    // Neither can fail: the memory is there, and every type has a form. Nothing kept would be told.
    let plain = postcard::to_allocvec(packed).unwrap_or_default();
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(&plain);
    written.and_then(|()| encoder.finish()).unwrap_or_default()
}

/// Reads what [`pack`] has made.
///
/// # Errors
/// When the bytes are anything else.
pub(super) fn unpack(bytes: &[u8]) -> Result<Packed, PackedError> {
    let mut plain = Vec::new();
    ZlibDecoder::new(bytes)
        .take(MAX_UNPACKED_BYTES + 1)
        .read_to_end(&mut plain)
        .map_err(|error| PackedError(error.to_string()))?;
    if MAX_UNPACKED_BYTES < plain.len() as u64 {
        return Err(PackedError("they are longer than any that are kept".to_owned()));
    }
    match plain.first() {
        Some(&FORM) => {}
        form => return Err(PackedError(format!("their form is {form:?}, not {FORM}"))),
    }
    let packed: Packed =
        postcard::from_bytes(&plain).map_err(|error| PackedError(error.to_string()))?;
    if !packed.groups.iter().all(Group::is_sound) {
        return Err(PackedError("they count more than an object can hold".to_owned()));
    }
    Ok(packed)
}

/// No object has so many rows, nor so many bytes in each: a million million. Sums of such numbers do not
/// overflow.
const MOST_ROWS: u64 = 1 << 40;

impl Group {
    /// Whether it can be what [`pack`] has made. What cannot is not believed in part.
    fn is_sound(&self) -> bool {
        let most = |counts: &[u64]| counts.iter().all(|count| *count <= MOST_ROWS);
        let is_time = |time: i64| (0..=LATEST_MICROS).contains(&time);
        let is_span =
            |span: Span| span.0.is_none_or(|(from, to)| is_time(from) && is_time(to) && from <= to);
        let is_target = |it: &TargetTally| {
            most(&[it.requests, it.failures, it.successes, it.slow_connects])
                && [it.seen, it.success, it.failure].into_iter().all(is_span)
                && it.last_start.is_none_or(is_time)
        };
        let is_path = |it: &PathTally| most(&[it.requests, it.failures, it.successes]);
        let is_share = |it: &ShareTally| most(&[it.requests, it.failures]);
        let is_failure = |it: &Failure| {
            is_time(it.time)
                && it.created.is_none_or(is_time)
                && it.trace_id.as_ref().is_none_or(|id| id.len() <= MAX_TRACE_ID_BYTES)
        };
        self.targets.iter().all(|(_, it)| is_target(it))
            && self.paths.iter().all(|(_, it)| is_path(it))
            && self.nodes.iter().all(is_share)
            && self.methods.iter().chain(&self.types).all(|(_, it)| is_share(it))
            && self.error_reasons.iter().all(|(_, it)| most(&[*it]))
            && self.failures.iter().all(is_failure)
            && is_span(self.seen)
            && self.latencies.1.is_finite()
    }
}

/// The end of the year 9999, the last time that a row can have, microseconds since 1970.
const LATEST_MICROS: i64 = 253_402_300_800_000_000;

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
        let packed = Packed { form: FORM, paths_overflowed, ..Packed::default() };
        let (names, words, paths) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { detector, packed, names, words, paths }
    }

    fn name(&mut self, id: NameId) -> u32 {
        number(id, &self.detector.names, &mut self.names, &mut self.packed.names)
    }

    fn word(&mut self, id: NameId) -> u32 {
        number(id, &self.detector.words, &mut self.words, &mut self.packed.words)
    }

    fn path(&mut self, id: NameId) -> u32 {
        number(id, &self.detector.paths, &mut self.paths, &mut self.packed.paths)
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
        let latencies = details.latencies.parts();
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
        let mut used = vec![false; self.paths.len() + 1];
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
        self.paths.retain(|_| {
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

    /// Adds the details of one target group to those of its window.
    pub(super) fn add_to(
        self,
        details: &mut Details,
        target_group: Option<&str>,
        source: SourceId,
        to: Tables<'_>,
        room: &Room,
    ) {
        let Tables { names, words, paths } = to;
        if self.paths_overflowed {
            paths.overflow();
        }
        let Some(group) =
            self.groups.into_iter().find(|it| it.target_group.as_deref() == target_group)
        else {
            return;
        };
        let named = Ids { list: &self.names, ids: vec![None; self.names.len()] };
        let worded = Ids { list: &self.words, ids: vec![None; self.words.len()] };
        let pathed = Ids { list: &self.paths, ids: vec![None; self.paths.len()] };
        let (mut named, mut worded, mut pathed) = (named, worded, pathed);
        let most = room.tallies_each();
        for (name, more) in &group.targets {
            details
                .targets
                .add_part(named.id(*name, names), room.targets_each(), |sum| sum.merge(more));
        }
        for (name, more) in &group.methods {
            details.methods.add_part(worded.id(*name, words), most, |sum| sum.merge(more));
        }
        for (name, more) in &group.types {
            details.types.add_part(named.id(*name, names), most, |sum| sum.merge(more));
        }
        for (path, more) in &group.paths {
            details.paths.add_part(pathed.id(*path, paths), most, |sum| sum.merge(more));
        }
        for more in &group.nodes {
            details.nodes.add(source.node, most, |sum| sum.merge(more));
        }
        details.seen.merge(group.seen);
        for (name, more) in &group.error_reasons {
            details.error_reasons.add_part(worded.id(*name, words), most, |sum| sum.merge(more));
        }
        for it in group.failures {
            let Some(&signature) = Signature::ALL.get(usize::from(it.signature)) else { continue };
            let failure = KeptFailure {
                digest: it.digest,
                time: it.time,
                created: it.created,
                signature,
                times: it.times,
                target: it.target.map(|name| named.id(name, names)),
                path: it.path.map(|path| pathed.id(path, paths)),
                method: it.method.map(|name| worded.id(name, words)),
                node: source.node,
                object: source.object,
                error_reason: it.error_reason.map(|name| worded.id(name, words)),
                received_bytes: it.received_bytes,
                trace_id: it.trace_id,
            };
            details.keep_failure(failure, room.failures_each());
        }
        if group.is_unfollowed {
            details.give_up_all_answers();
        }
        for it in &group.answers {
            let target = named.id(it.target, names);
            if it.busy {
                details.give_up_answers(source.node, target);
            }
            let mut before = 0_i32;
            for (start, took, path) in &it.list {
                let start = before.saturating_add(*start);
                before = start;
                let path = path.checked_sub(1).map(|path| pathed.id(path, paths));
                let answer = Answer::new(start, start.saturating_add(*took), path);
                details.keep_answer(source.node, target, answer, room.answers_each());
            }
        }
        let (parts, longest) = &group.latencies;
        details.latencies.merge(&Latencies::of_parts(parts, *longest));
    }
}

/// Where names get their ids.
pub(super) struct Tables<'a> {
    pub(super) names: &'a mut Names,
    pub(super) words: &'a mut Names,
    pub(super) paths: &'a mut Names,
}

/// The ids of packed names, each looked up once.
struct Ids<'a> {
    list: &'a [Box<str>],
    ids: Vec<Option<NameId>>,
}

impl Ids<'_> {
    fn id(&mut self, number: u32, names: &mut Names) -> NameId {
        let Some(index) = (number as usize).checked_sub(1) else { return OTHERS };
        let (Some(name), Some(id)) = (self.list.get(index), self.ids.get_mut(index)) else {
            return OTHERS;
        };
        *id.get_or_insert_with(|| names.id(name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(change: impl FnOnce(&mut Group)) -> Result<Packed, PackedError> {
        let span = Span(Some((1, 2)));
        let target = TargetTally { requests: MOST_ROWS, seen: span, ..TargetTally::default() };
        let mut group = Group { targets: vec![(0, target)], seen: span, ..Group::default() };
        change(&mut group);
        unpack(&to_bytes(&Packed { form: FORM, groups: vec![group], ..Packed::default() }))
    }

    #[test]
    fn details_that_no_object_can_hold_are_not_believed() {
        assert!(packed(|_| ()).is_ok());
        let lies: [fn(&mut Group); 7] = [
            |group| group.targets[0].1.requests += 1,
            |group| group.targets[0].1.slow_connects = u64::MAX,
            |group| group.targets[0].1.seen = Span(Some((2, 1))),
            |group| group.targets[0].1.last_start = Some(i64::MAX),
            |group| group.seen = Span(Some((-1, 1))),
            |group| group.nodes.push(ShareTally { requests: u64::MAX, failures: 0 }),
            |group| group.latencies.1 = f64::INFINITY,
        ];
        for (index, lie) in lies.into_iter().enumerate() {
            let error = packed(lie).unwrap_err().to_string();
            assert!(error.contains("more than an object can hold"), "{index}: {error}");
        }
    }
}
