//! What the bytes stand for, and what it can be: whoever reads it does not believe more.

use serde::{Deserialize, Deserializer, Serialize};

use crate::detection::{
    bounded::{self, at_most},
    cell::{Latencies, MAX_ANSWERS, MAX_PAIRS, MAX_TRACE_ID_BYTES},
    detector::{MAX_NAMES, MAX_PATHS, MAX_WORDS},
    evidence::MAX_FAILURE_ROWS,
    names::MAX_NAME_BYTES,
    room::MAX_ANSWERS_TOGETHER,
    tally::{MAX_KEYS, PathTally, ShareTally, Span, TargetTally},
};

/// Tallies of one kind in a window, `others` beside the names.
pub(super) const MAX_TALLIES: usize = MAX_KEYS + 1;

/// A name is cut to [`MAX_NAME_BYTES`], and a byte of it that is no text becomes three (U+FFFD).
pub(super) const MAX_TEXT_BYTES: usize = 3 * MAX_NAME_BYTES;

/// What is packed: the head, then the number of target groups, then these one after the other.
#[derive(Debug, Default, Serialize)]
pub(super) struct Packed {
    pub(super) head: Head,
    pub(super) groups: Vec<Group>,
}

/// Names are indices into the three lists, counted from 1; 0 is `others`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) form: u8,
    #[serde(deserialize_with = "at_most::<MAX_NAMES, _, _>")]
    pub(super) names: Vec<Box<str>>,
    /// Methods and reasons.
    #[serde(deserialize_with = "at_most::<MAX_WORDS, _, _>")]
    pub(super) words: Vec<Box<str>>,
    #[serde(deserialize_with = "at_most::<MAX_PATHS, _, _>")]
    pub(super) paths: Vec<Box<str>>,
    /// More different paths were seen than are told apart.
    pub(super) paths_overflowed: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) target_group: Option<Box<str>>,
    #[serde(deserialize_with = "at_most::<MAX_TALLIES, _, _>")]
    pub(super) targets: Vec<(u32, TargetTally)>,
    #[serde(deserialize_with = "at_most::<MAX_TALLIES, _, _>")]
    pub(super) paths: Vec<(u32, PathTally)>,
    /// Of the one node.
    #[serde(deserialize_with = "at_most::<MAX_TALLIES, _, _>")]
    pub(super) nodes: Vec<ShareTally>,
    #[serde(deserialize_with = "at_most::<MAX_TALLIES, _, _>")]
    pub(super) methods: Vec<(u32, ShareTally)>,
    #[serde(deserialize_with = "at_most::<MAX_TALLIES, _, _>")]
    pub(super) types: Vec<(u32, ShareTally)>,
    pub(super) seen: Span,
    pub(super) is_unfollowed: bool,
    #[serde(deserialize_with = "at_most::<MAX_TALLIES, _, _>")]
    pub(super) error_reasons: Vec<(u32, u64)>,
    #[serde(deserialize_with = "at_most::<MAX_FAILURE_ROWS, _, _>")]
    pub(super) failures: Vec<Failure>,
    #[serde(deserialize_with = "answers_of_pairs")]
    pub(super) answers: Vec<Answers>,
    pub(super) latencies: LatencyParts,
}

/// The buckets that are not empty, and the longest in seconds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct LatencyParts {
    #[serde(deserialize_with = "at_most::<{ Latencies::BUCKETS }, _, _>")]
    pub(super) buckets: Vec<(u8, u32)>,
    pub(super) longest: f64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) digest: u64,
    pub(super) time: i64,
    pub(super) created: Option<i64>,
    pub(super) signature: u8,
    pub(super) times: [Option<i32>; 3],
    pub(super) target: Option<u32>,
    pub(super) path: Option<u32>,
    pub(super) method: Option<u32>,
    pub(super) error_reason: Option<u32>,
    pub(super) received_bytes: Option<u64>,
    pub(super) trace_id: Option<Box<str>>,
}

/// The answers of one target, ordered by start.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Answers {
    pub(super) target: u32,
    pub(super) busy: bool,
    /// Milliseconds since the start of the answer before it (the first: of the window), how long it
    /// took, and the path counted from 1.
    #[serde(deserialize_with = "at_most::<MAX_ANSWERS, _, _>")]
    pub(super) list: Vec<(i32, i32, u32)>,
}

/// A detector keeps so many answers of all its windows: together they are no more in one.
fn answers_of_pairs<'de, D: Deserializer<'de>>(of: D) -> Result<Vec<Answers>, D::Error> {
    bounded::list(of, MAX_PAIRS, |it: &Answers| it.list.len(), MAX_ANSWERS_TOGETHER)
}

/// No object has so many rows, nor so many bytes in each: a million million. Sums of such numbers do not
/// overflow.
pub(super) const MOST_ROWS: u64 = 1 << 40;

impl Head {
    /// Whether it can be what was packed.
    pub(super) fn is_sound(&self) -> bool {
        let mut texts = self.names.iter().chain(&self.words).chain(&self.paths);
        texts.all(|text| text.len() <= MAX_TEXT_BYTES)
    }
}

impl Group {
    /// Whether it can be what was packed. What cannot is not believed in part.
    pub(super) fn is_sound(&self) -> bool {
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
            && self.latencies.longest.is_finite()
    }
}

/// The end of the year 9999, the last time that a row can have, microseconds since 1970.
const LATEST_MICROS: i64 = 253_402_300_800_000_000;
