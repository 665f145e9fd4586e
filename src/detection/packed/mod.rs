//! The details of one object and window as bytes: `postcard` in a zlib stream.
//!
//! Rows are counted under ids that only their own detector knows, so the names go along. The node and the
//! object are the same for all rows and stay outside. Measured: 10,000 rows of 8 targets are about 38 KB,
//! nearly all of it the times of answers, from which the pauses of connections are worked out.

mod form;
mod packing;

use std::io::{Read as _, Write as _};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use form::{Group, Head, LatencyParts, Packed};
pub(super) use packing::pack;
use serde::Deserialize;

use super::{
    cell::{Answer, Details, KeptFailure, Latencies},
    detector::{MAX_GROUPS, SourceId},
    names::{NameId, Names, OTHERS},
    room::Room,
    signature::Signature,
    tally::Tally,
};

/// The form of the bytes. Another number is not read: items live for days only.
const FORM: u8 = 3;

/// Unpacked details are at most this long: eight times what 300 KB of them usually are (measured: three to
/// four bytes for one). What is longer was not made by [`pack`], which gives up what is beyond.
///
/// Whatever bytes say, reading and adding them takes less than 30 MB at once (measured: 27): these, names
/// as long again, and the answers of two target groups, 12 bytes for 3, of which [`MAX_ANSWERS_TOGETHER`]
/// are 6 MB. Everything else that takes more memory than bytes is short: no list is longer than a detector
/// keeps it, and of the target groups one is kept while the next is read.
const MAX_UNPACKED_BYTES: usize = 8_000_000;

/// Packed details that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kept details cannot be read: {0}")]
pub struct PackedError(String);

/// What was packed, of the one target group that was asked for.
#[derive(Debug)]
pub(super) struct Unpacked {
    head: Head,
    group: Option<Group>,
}

// Neither can fail: the memory is there, and every type has a form. Nothing kept would be told.
fn plain(packed: &Packed) -> Vec<u8> {
    postcard::to_allocvec(packed).unwrap_or_default()
}

fn compressed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(plain);
    written.and_then(|()| encoder.finish()).unwrap_or_default()
}

/// Reads what [`pack`] has made, and keeps the details of one target group.
///
/// # Errors
/// When the bytes are anything else.
pub(super) fn unpack(bytes: &[u8], target_group: Option<&str>) -> Result<Unpacked, PackedError> {
    let refused = |why: &str| Err(PackedError(why.to_owned()));
    let mut plain = Vec::new();
    ZlibDecoder::new(bytes)
        .take(MAX_UNPACKED_BYTES as u64 + 1)
        .read_to_end(&mut plain)
        .map_err(|error| PackedError(error.to_string()))?;
    if MAX_UNPACKED_BYTES < plain.len() {
        return refused("they are longer than any that are kept");
    }
    match plain.first() {
        Some(&FORM) => {}
        form => return Err(PackedError(format!("their form is {form:?}, not {FORM}"))),
    }
    let (head, rest): (Head, _) = next(&plain)?;
    let (groups, mut rest): (usize, _) = next(rest)?;
    if MAX_GROUPS < groups {
        return refused(TOO_MANY);
    }
    let unsound = "they count more than an object can hold";
    if !head.is_sound() {
        return refused(unsound);
    }
    let mut wanted = None;
    // One at a time: all of them together may take ten times as much memory as the bytes.
    for _ in 0..groups {
        let (group, left): (Group, _) = next(rest)?;
        rest = left;
        if !group.is_sound() {
            return refused(unsound);
        }
        if wanted.is_none() && group.target_group.as_deref() == target_group {
            wanted = Some(group);
        }
    }
    if !rest.is_empty() {
        return refused("they are longer than what they hold");
    }
    Ok(Unpacked { head, group: wanted })
}

const TOO_MANY: &str = "a list in them is longer than any that is kept";

/// What the bytes begin with, and the rest.
fn next<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), PackedError> {
    postcard::take_from_bytes(bytes).map_err(|error| {
        PackedError(match error {
            // The only error of serde itself here, of which postcard keeps no words.
            postcard::Error::SerdeDeCustom => TOO_MANY.to_owned(),
            error => error.to_string(),
        })
    })
}

impl Unpacked {
    /// Adds the details of the target group to those of its window.
    pub(super) fn add_to(
        self,
        details: &mut Details,
        source: SourceId,
        to: Tables<'_>,
        room: &Room,
    ) {
        let Tables { names, words, paths } = to;
        let Self { head, group } = self;
        if head.paths_overflowed {
            paths.overflow();
        }
        let Some(group) = group else { return };
        let named = Ids { list: &head.names, ids: vec![None; head.names.len()] };
        let worded = Ids { list: &head.words, ids: vec![None; head.words.len()] };
        let pathed = Ids { list: &head.paths, ids: vec![None; head.paths.len()] };
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
        let LatencyParts { buckets, longest } = &group.latencies;
        details.latencies.merge(&Latencies::of_parts(buckets, *longest));
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
    use std::sync::Arc;

    use super::{
        form::{Failure, MAX_TALLIES, MAX_TEXT_BYTES, MOST_ROWS},
        *,
    };
    use crate::{
        access_log::{ObjectKey, Reader},
        detection::{
            Detector, Thresholds,
            cell::{MAX_ANSWERS, MAX_PAIRS},
            detector::{MAX_NAMES, MAX_PATHS, MAX_WORDS},
            evidence::MAX_FAILURE_ROWS,
            room::MAX_ANSWERS_TOGETHER,
            tally::{ShareTally, Span, TargetTally},
        },
    };

    const ARN: &str = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/shop/1";

    fn bytes_of(head: Head, groups: Vec<Group>) -> Vec<u8> {
        compressed(&plain(&Packed { head: Head { form: FORM, ..head }, groups }))
    }

    fn packed(change: impl FnOnce(&mut Group)) -> Result<Unpacked, PackedError> {
        let span = Span(Some((1, 2)));
        let target = TargetTally { requests: MOST_ROWS, seen: span, ..TargetTally::default() };
        let mut group = Group { targets: vec![(0, target)], seen: span, ..Group::default() };
        change(&mut group);
        unpack(&bytes_of(Head::default(), vec![group]), None)
    }

    fn refusal(unpacked: Result<Unpacked, PackedError>) -> String {
        unpacked.unwrap_err().to_string()
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
            |group| group.latencies.longest = f64::INFINITY,
        ];
        for (index, lie) in lies.into_iter().enumerate() {
            let error = refusal(packed(lie));
            assert!(error.contains("more than an object can hold"), "{index}: {error}");
        }
        let long = |bytes| Head { names: vec!["x".repeat(bytes).into()], ..Head::default() };
        assert!(unpack(&bytes_of(long(MAX_TEXT_BYTES), vec![]), None).is_ok());
        let error = refusal(unpack(&bytes_of(long(MAX_TEXT_BYTES + 1), vec![]), None));
        assert!(error.contains("more than an object can hold"), "{error}");
    }

    #[test]
    fn no_list_is_longer_than_a_detector_keeps_it() {
        fn more<T: Default>(list: &mut Vec<T>, count: usize) {
            list.resize_with(count, T::default);
        }
        let failure = || Failure {
            digest: 0,
            time: 0,
            created: None,
            signature: 0,
            times: [None; 3],
            target: None,
            path: None,
            method: None,
            error_reason: None,
            received_bytes: None,
            trace_id: None,
        };
        type Lengthen = Box<dyn Fn(&mut Head, &mut Vec<Group>, usize)>;
        let lists: [(usize, Lengthen); 14] = [
            (MAX_NAMES, Box::new(|head, _, n| more(&mut head.names, n))),
            (MAX_WORDS, Box::new(|head, _, n| more(&mut head.words, n))),
            (MAX_PATHS, Box::new(|head, _, n| more(&mut head.paths, n))),
            (MAX_GROUPS, Box::new(|_, groups, n| more(groups, n))),
            (MAX_TALLIES, Box::new(|_, groups, n| more(&mut groups[0].targets, n))),
            (MAX_TALLIES, Box::new(|_, groups, n| more(&mut groups[0].paths, n))),
            (MAX_TALLIES, Box::new(|_, groups, n| more(&mut groups[0].nodes, n))),
            (MAX_TALLIES, Box::new(|_, groups, n| more(&mut groups[0].methods, n))),
            (MAX_TALLIES, Box::new(|_, groups, n| more(&mut groups[0].types, n))),
            (MAX_TALLIES, Box::new(|_, groups, n| more(&mut groups[0].error_reasons, n))),
            (
                MAX_FAILURE_ROWS,
                Box::new(move |_, groups, n| groups[0].failures.resize_with(n, failure)),
            ),
            (MAX_PAIRS, Box::new(|_, groups, n| more(&mut groups[0].answers, n))),
            (
                MAX_ANSWERS,
                Box::new(|_, groups, n| {
                    more(&mut groups[0].answers, 1);
                    more(&mut groups[0].answers[0].list, n);
                }),
            ),
            (
                // A detector keeps these of all targets together.
                MAX_ANSWERS_TOGETHER,
                Box::new(|_, groups, n| {
                    more(&mut groups[0].answers, n.div_ceil(MAX_ANSWERS));
                    for (index, answers) in groups[0].answers.iter_mut().enumerate() {
                        more(&mut answers.list, MAX_ANSWERS.min(n - index * MAX_ANSWERS));
                    }
                }),
            ),
        ];
        for (index, (most, lengthen)) in lists.into_iter().enumerate() {
            let of = |count| {
                let (mut head, mut groups) = (Head::default(), vec![Group::default()]);
                lengthen(&mut head, &mut groups, count);
                unpack(&bytes_of(head, groups), None)
            };
            assert!(of(most).is_ok(), "{index}");
            assert!(refusal(of(most + 1)).ends_with(TOO_MANY), "{index}");
        }
    }

    #[test]
    fn a_few_bytes_do_not_become_many() {
        // Kept in some 30 KB, both once took hundreds of megabytes: empty names, and targets of which nothing
        // was counted.
        let names = |count: u32| [&[FORM][..], &postcard::to_allocvec(&count).unwrap()].concat();
        let targets = |count: u32| {
            let before = [FORM, 0, 0, 0, 0, 1, 0];
            [&before[..], &postcard::to_allocvec(&count).unwrap()].concat()
        };
        for (beginning, zeros, why) in [
            (names(33_000_000), 33_000_000, "they are longer than any that are kept"),
            (names(7_000_000), 7_900_000, TOO_MANY),
            (targets(1_600_000), 33_000_000, "they are longer than any that are kept"),
            (targets(350_000), 7_900_000, TOO_MANY),
            // Longer than it says: the end comes first.
            (names(u32::MAX), 1_000, "Hit the end of buffer"),
            (targets(u32::MAX), 1_000, "Hit the end of buffer"),
        ] {
            let plain = [beginning, vec![0; zeros]].concat();
            let bytes = compressed(&plain);
            assert!(bytes.len() < 40_000);
            let error = refusal(unpack(&bytes, None));
            assert!(error.contains(why), "{error}");
        }
        let mut group = plain(&Packed { groups: vec![Group::default()], ..Packed::default() });
        group[0] = FORM;
        assert!(unpack(&compressed(&group), None).is_ok());
        group.push(0);
        assert!(refusal(unpack(&compressed(&group), None)).contains("longer than what they hold"));
    }

    /// Row number `n` of second 10 or later, with a name of its own wherever one is counted.
    fn row(n: usize, target: usize, path: &[u8], is_failure: bool) -> Vec<u8> {
        let (second, millis) = (10 + n / 1000, n % 1000);
        let time = format!("2026-11-20T12:00:{second:02}.{millis:03}000Z");
        let answer = if is_failure { "-1 502 -" } else { "0.002 200 200" };
        let (own, [_, _, c, d]) = (word(n), u32::try_from(target).unwrap().to_be_bytes());
        let mut row = format!(
            "http {time} app/shop/0f 198.51.100.7:4000 10.0.{c}.{d}:80 0.001 0.002 {answer} 99 99 \
             \"{own} http://a.example:80/"
        )
        .into_bytes();
        row.extend_from_slice(path);
        let rest = format!(
            " HTTP/1.1\" \"-\" - - {ARN} \"Root=1-{n}\" \"-\" \"-\" 0 {time} \"forward\" \"-\" \"{own}\"\n"
        );
        row.extend_from_slice(rest.as_bytes());
        row
    }

    /// A number in letters: digits are folded in paths.
    fn word(number: usize) -> String {
        format!("{number:05}").bytes().map(|digit| char::from(digit - b'0' + b'A')).collect()
    }

    /// What is packed of rows of one window, however long, and unpacked again.
    fn packed_and_unpacked(rows: impl Iterator<Item = (usize, Vec<u8>)>) -> Unpacked {
        let mut detector = Detector::new(Thresholds::default());
        for (node, row) in rows {
            let key = ObjectKey {
                node: Some(format!("10.1.{}.{}", node / 250, node % 250)),
                ..ObjectKey::parse("log")
            };
            let source = detector.source("log", &key);
            let mut reader = Reader::new(|entry| detector.record(source, entry));
            reader.push(&row).unwrap();
            assert_eq!(reader.finish().report.entries, 1);
        }
        let windows = detector.groups.values().flat_map(|group| group.windows.values());
        let cells: Vec<_> = windows.map(|cell| (Some(Arc::from(ARN)), &**cell)).collect();
        assert_eq!(cells.len(), 1);
        unpack(&pack(&detector, &cells, usize::MAX), Some(ARN)).unwrap()
    }

    #[test]
    fn the_longest_lists_that_are_packed_are_read() {
        // As many names and pairs as are told apart, some more names, and a target with as many answers as
        // are kept.
        let named = (0..1_100).map(|n| (n, row(n, n, word(n).as_bytes(), true)));
        let pairs = (0..MAX_PAIRS).map(|n| (n % 4, row(n, n / 4, b"a", false)));
        let busy = (1..MAX_ANSWERS).map(|n| (0, row(n, 0, b"a", false)));
        let group = packed_and_unpacked(named.chain(pairs).chain(busy)).group.unwrap();
        for tallies in [
            group.targets.len(),
            group.paths.len(),
            group.nodes.len(),
            group.methods.len(),
            group.error_reasons.len(),
        ] {
            assert_eq!(tallies, MAX_TALLIES);
        }
        assert_eq!((group.failures.len(), group.answers.len()), (MAX_FAILURE_ROWS, MAX_PAIRS));
        assert_eq!(group.answers.iter().map(|it| it.list.len()).max(), Some(MAX_ANSWERS));
    }

    #[test]
    fn what_would_be_too_long_to_be_read_is_given_up() {
        // The longest names: each of their bytes is no text.
        let rows = |count| {
            (0..count).map(|n| {
                let path = [word(n).as_bytes(), &[0xff; 200]].concat();
                (0, row(n, 1 + n % 7, &path, n % 50 == 0))
            })
        };
        let Unpacked { head, group } = packed_and_unpacked(rows(10_000));
        assert_eq!(head.paths.len(), 10_000);
        assert!(head.paths.iter().all(|path| 400 < path.len() && path.len() <= MAX_TEXT_BYTES));
        assert!(group.unwrap().answers.iter().all(|it| !it.busy));
        let Unpacked { head, group } = packed_and_unpacked(rows(19_000));
        let group = group.unwrap();
        assert!(head.paths_overflowed && head.paths.len() < 1_100);
        assert!(!group.paths.is_empty() && !group.failures.is_empty());
        assert!(group.answers.iter().all(|it| it.busy));
    }
}
