//! One row as it is counted: what of it is worked out once, and where it is added.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{
    cell::{Answer, Details, KeptFailure, MAX_TRACE_ID_BYTES},
    evidence::Counts,
    names::NameId,
    room::{Grown, Room},
    signature::Signature,
    tally::FewBySignature,
    thresholds::WINDOW_MICROS,
};
use crate::access_log::{Entry, Field};

/// The ids of the names in a row.
pub(super) struct RowNames {
    pub(super) node: NameId,
    pub(super) object: NameId,
    pub(super) target: Option<NameId>,
    pub(super) path: Option<NameId>,
    pub(super) method: Option<NameId>,
    /// Of the type.
    pub(super) kind: NameId,
    /// Only of a row with a signature.
    pub(super) error_reason: Option<NameId>,
}

/// What of a row is worked out once.
pub(super) struct Row {
    pub(super) time: i64,
    created: Option<i64>,
    /// When the request was sent to the target.
    start: Option<i64>,
    pub(super) signature: Option<Signature>,
    elb_status: Option<u16>,
    target_seconds: Option<f64>,
    request_seconds: Option<f64>,
    received_bytes: u64,
    /// The target (or the function) answered below 500.
    pub(super) is_success: bool,
    /// The status of the target's answer; its connection is idle from then on.
    target_status: Option<u16>,
}

impl Row {
    pub(super) fn of(entry: &Entry<'_>, elb_status: Option<u16>) -> Self {
        let target_status = entry.status(Field::TargetStatusCode);
        let created = entry.request_creation_time();
        let request_seconds = entry.seconds(Field::RequestProcessingTime);
        let start = created.map(|created| {
            created.saturating_add(
                request_seconds.map_or(0, |seconds| (seconds.max(0.0) * 1e6) as i64),
            )
        });
        let target_seconds =
            entry.seconds(Field::TargetProcessingTime).filter(|seconds| 0.0 <= *seconds);
        // A Lambda function has no target status of its own in every era: the answer below 500 with
        // a recorded target time is its success.
        let is_success = match target_status {
            Some(status) => status < 500,
            None => {
                entry.get(Field::TargetPort).is_none()
                    && target_seconds.is_some()
                    && entry.get(Field::TargetGroupArn).is_some()
                    && elb_status.is_some_and(|status| status < 400)
            }
        };
        let signature = match elb_status {
            Some(502 | 504) => Signature::of(entry),
            _ => None,
        };
        Self {
            time: entry.time(),
            created,
            start,
            signature,
            elb_status,
            target_seconds,
            request_seconds,
            received_bytes: entry.bytes(Field::ReceivedBytes).unwrap_or(0),
            is_success,
            target_status,
        }
    }

    /// Adds the row to the counts; true when it is a failure.
    pub(super) fn count(&self, counts: &mut Counts, include_idle_timeout_504: bool) -> bool {
        if self.signature == Some(Signature::Intentional) {
            counts.intentional_502 += 1;
            return false;
        }
        counts.requests += 1;
        counts.successes += u64::from(self.is_success);
        match self.elb_status {
            Some(503) if self.target_status.is_none() => counts.elb_503 += 1,
            Some(460) => counts.client_460 += 1,
            Some(464) => counts.protocol_464 += 1,
            _ => {}
        }
        if self.target_status.is_some_and(|status| 500 <= status && status != 502) {
            counts.target_5xx += 1;
        }
        let Some(signature) = self.signature else {
            return false;
        };
        let is_failure = match signature {
            Signature::TargetMade => {
                counts.target_502 += 1;
                true
            }
            // A Lambda function has no target to name: its connect timeout has a reason instead.
            Signature::ConnectTimeout | Signature::ErrorReason
                if signature == Signature::ConnectTimeout || self.elb_status == Some(504) =>
            {
                counts.connect_504 += 1;
                true
            }
            Signature::IdleTimeout => {
                counts.idle_504 += 1;
                include_idle_timeout_504
            }
            _ => {
                counts.elb_502 += 1;
                true
            }
        };
        counts.failures += u64::from(is_failure);
        is_failure
    }

    /// Adds the row to the details of its window, and tells how much they grew.
    pub(super) fn add_to(
        &self,
        details: &mut Details,
        names: &RowNames,
        is_failure: bool,
        room: &Room,
    ) -> Grown {
        let most = room.tallies_each();
        let mut tallies = 0;
        if self.signature != Some(Signature::Intentional) {
            details.seen.add(self.time);
            tallies += self.add_to_shares(details, names, is_failure, most);
            tallies += self.add_to_target(details, names, is_failure, room.targets_each());
            tallies += self.add_to_path(details, names, is_failure, most);
        }
        if let Some(reason) = names.error_reason {
            tallies += details.error_reasons.add(reason, most, |count| *count += 1);
        }
        if self.is_success
            && let Some(seconds) = self.target_seconds
        {
            details.latencies.add(seconds);
        }
        let mut answers = 0;
        if self.target_status.is_some()
            && let (Some(start), Some(target)) = (self.start, names.target)
        {
            let base = self.time.div_euclid(WINDOW_MICROS) * WINDOW_MICROS;
            let millis = |time: i64| i32::try_from(time.saturating_sub(base) / 1000).ok();
            if let (Some(start), Some(end)) = (millis(start), millis(self.time)) {
                let answer = Answer::new(start, end, names.path);
                answers = details.keep_answer(names.node, target, answer, room.answers_each());
            }
        }
        Grown { answers, tallies, ..Grown::default() }
    }

    fn add_to_shares(
        &self,
        details: &mut Details,
        names: &RowNames,
        is_failure: bool,
        most: usize,
    ) -> usize {
        let mut added = 0;
        let keys = [
            (&mut details.nodes, Some(names.node)),
            (&mut details.methods, names.method),
            (&mut details.types, Some(names.kind)),
        ];
        for (tallies, name) in keys {
            if let Some(name) = name {
                added += tallies.add(name, most, |tally| {
                    tally.requests += 1;
                    tally.failures += u64::from(is_failure);
                });
            }
        }
        added
    }

    fn add_to_target(
        &self,
        details: &mut Details,
        names: &RowNames,
        is_failure: bool,
        most: usize,
    ) -> usize {
        let Some(name) = names.target else { return 0 };
        details.targets.add(name, most, |tally| {
            tally.requests += 1;
            tally.seen.add(self.time);
            tally.last_start = tally.last_start.max(self.start);
            if self.is_success {
                tally.successes += 1;
                tally.success.add(self.time);
                // The upload of a body may count into the same time.
                let is_small = self.received_bytes < MAX_WITHOUT_BODY;
                let is_repeated = self.request_seconds.is_some_and(is_repeated_syn);
                tally.slow_connects += u64::from(is_small && is_repeated);
            }
            if is_failure {
                tally.failure.add(self.time);
                self.count_failure(&mut tally.failures, &mut tally.signatures);
            }
        })
    }

    fn add_to_path(
        &self,
        details: &mut Details,
        names: &RowNames,
        is_failure: bool,
        most: usize,
    ) -> usize {
        let Some(name) = names.path else { return 0 };
        details.paths.add(name, most, |tally| {
            tally.requests += 1;
            if self.is_success {
                tally.successes += 1;
                tally.success_bytes = tally.success_bytes.saturating_add(self.received_bytes);
                tally.largest_success_bytes = tally.largest_success_bytes.max(self.received_bytes);
                let millis = self.target_seconds.map(|seconds| (seconds * 1000.0) as i64);
                tally.longest_success = tally.longest_success.max(millis);
            }
            if is_failure {
                self.count_failure(&mut tally.failures, &mut tally.signatures);
            }
        })
    }

    /// Counts the row as the failure that it is; each has a signature.
    fn count_failure(&self, failures: &mut u64, signatures: &mut FewBySignature) {
        *failures += 1;
        let count = self.signature.and_then(|it| signatures.get_mut(it as usize));
        if let Some(count) = count {
            *count = count.saturating_add(1);
        }
    }

    /// The row as it is kept.
    pub(super) fn kept(
        &self,
        entry: &Entry<'_>,
        names: &RowNames,
        signature: Signature,
    ) -> KeptFailure {
        let times = [
            Field::RequestProcessingTime,
            Field::TargetProcessingTime,
            Field::ResponseProcessingTime,
        ];
        KeptFailure {
            digest: self.digest(entry),
            time: self.time,
            created: self.created,
            signature,
            times: times
                .map(|field| entry.seconds(field).map(|seconds| (seconds * 1000.0).round() as i32)),
            target: names.target,
            path: names.path,
            method: names.method,
            node: names.node,
            object: names.object,
            error_reason: names.error_reason,
            received_bytes: entry.bytes(Field::ReceivedBytes),
            trace_id: entry.get(Field::TraceId).map(trace_id),
        }
    }

    /// A number that only this row has, whatever the order of the rows.
    fn digest(&self, entry: &Entry<'_>) -> u64 {
        // DefaultHasher::new has fixed keys: the choice of rows must not differ between runs.
        let mut hasher = DefaultHasher::new();
        (self.time, self.created).hash(&mut hasher);
        for field in [Field::ClientPort, Field::TargetPort, Field::Request, Field::TraceId] {
            entry.get(field).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// A trace id as it is kept. A byte that is no text becomes a character of three.
fn trace_id(id: &[u8]) -> Box<str> {
    let head = id.get(..MAX_TRACE_ID_BYTES).unwrap_or(id);
    match std::str::from_utf8(head) {
        Ok(head) => head.into(),
        Err(_) => String::from_utf8_lossy(id.get(..MAX_TRACE_ID_BYTES / 3).unwrap_or(id)).into(),
    }
}

/// A request of fewer bytes is headers and a small body at most, which need no time to arrive.
const MAX_WITHOUT_BODY: u64 = 4096;

/// Linux repeats a SYN after 1, 3 and 7 seconds: a connection that stands just after one of these
/// was dropped before, by a full listen backlog. Measured: 3.07 and 7.1 s.
fn is_repeated_syn(request_seconds: f64) -> bool {
    [1.0, 3.0, 7.0].iter().any(|repeat| (*repeat..*repeat + 0.25).contains(&request_seconds))
}
