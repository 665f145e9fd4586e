//! Entries in, incidents out: one pass, bounded memory.

use std::{
    collections::{BTreeMap, HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{
    cell::{self, Answer, Cell, Details, KeptFailure, Tally},
    folded_path,
    names::{NameId, Names},
    signature::Signature,
    spikes,
    thresholds::{Thresholds, WINDOW_MICROS},
};
use crate::access_log::{Entry, Field, ObjectKey, parse::endpoint};

/// Different targets, nodes, methods and reasons that are told apart over a whole run.
const MAX_NAMES: usize = 20_000;

/// Different paths that are told apart over a whole run: a few megabytes.
const MAX_PATHS: usize = 20_000;

/// Objects and files that are told apart.
const MAX_OBJECTS: usize = 50_000;

/// A path of a file is at most this long on Linux; bucket and key together are shorter.
const MAX_OBJECT_BYTES: usize = 4096;

/// Target groups that are told apart. A load balancer has at most 100.
pub(super) const MAX_GROUPS: usize = 2_000;

/// Windows with details over all target groups: at 20 KB each about 80 MB at the very most. Beyond it
/// quiet windows far from any failure keep only their counts.
pub(super) const MAX_DETAILED_CELLS: usize = 4_096;

/// Windows over all target groups: two weeks of ten groups. Rows beyond are counted, not judged.
pub(super) const MAX_CELLS: usize = 50_000;

/// Quiet windows this close to a failing one keep their details: an hour on either side.
const NEAR_WINDOWS: i64 = 12;

/// Where a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceId {
    pub(super) object: NameId,
    pub(super) node: NameId,
}

/// Counts the rows of any number of objects and judges them at the end.
#[derive(Debug)]
pub struct Detector {
    pub(super) thresholds: Thresholds,
    pub(super) names: Names,
    pub(super) paths: Names,
    pub(super) objects: Names,
    /// Account and region of a load balancer.
    pub(super) places: HashMap<NameId, (NameId, NameId)>,
    pub(super) groups: HashMap<GroupKey, Group>,
    last_group: Option<GroupKey>,
    pub(super) detailed_cells: usize,
    details_are_full: bool,
    pub(super) cells: usize,
    pub(super) rows_not_judged: u64,
    folded: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct GroupKey {
    pub(super) load_balancer: NameId,
    pub(super) target_group: Option<NameId>,
}

#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) windows: BTreeMap<i64, Cell>,
}

impl Detector {
    /// An empty detector.
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            names: Names::new(MAX_NAMES),
            paths: Names::new(MAX_PATHS),
            objects: Names::with_longest(MAX_OBJECTS, MAX_OBJECT_BYTES),
            places: HashMap::new(),
            groups: HashMap::new(),
            last_group: None,
            detailed_cells: 0,
            details_are_full: false,
            cells: 0,
            rows_not_judged: 0,
            folded: Vec::new(),
        }
    }

    /// Announces an object: its name, and what its key says of the load balancer and its node.
    pub fn source(&mut self, object: &str, key: &ObjectKey) -> SourceId {
        let node = key.node.as_deref();
        if let (Some(load_balancer), Some(account), Some(region)) =
            (&key.load_balancer, &key.account, &key.region)
        {
            let load_balancer = self.names.id(load_balancer.as_bytes());
            let place = (self.names.id(account.as_bytes()), self.names.id(region.as_bytes()));
            self.places.insert(load_balancer, place);
        }
        SourceId {
            object: self.objects.id(object.as_bytes()),
            node: self.names.id(node.unwrap_or("unknown").as_bytes()),
        }
    }

    /// Rows that were read but not judged, because their times or names are more than the memory
    /// bound allows.
    pub fn rows_not_judged(&self) -> u64 {
        self.rows_not_judged
    }

    /// Counts one row.
    pub fn record(&mut self, source: SourceId, entry: &Entry<'_>) {
        let key = GroupKey {
            load_balancer: self.names.id(entry.get(Field::Elb).unwrap_or(b"-")),
            target_group: entry.get(Field::TargetGroupArn).map(|arn| self.names.id(arn)),
        };
        if self.last_group != Some(key) {
            if MAX_GROUPS <= self.groups.len() && !self.groups.contains_key(&key) {
                self.rows_not_judged += 1;
                return;
            }
            self.groups.entry(key).or_default();
            self.last_group = Some(key);
        }
        let window = entry.time().div_euclid(WINDOW_MICROS);
        let row = Row::of(entry);
        let target = entry.get(Field::TargetPort).map(|target| self.names.id(target));
        let request = entry.request();
        let path = request.path().map(|path| {
            folded_path::fold(path, &mut self.folded);
            self.paths.id(&self.folded)
        });
        let method = request.method.map(|method| self.names.id(method));
        let kind = self.names.id(entry.get(Field::Type).unwrap_or_default());
        let reason = row
            .signature
            .and_then(|_| entry.get(Field::ErrorReason))
            .map(|reason| self.names.id(reason));

        if !self.groups.get(&key).is_some_and(|group| group.windows.contains_key(&window)) {
            if MAX_CELLS <= self.cells {
                self.rows_not_judged += 1;
                return;
            }
            self.cells += 1;
            if MAX_DETAILED_CELLS <= self.detailed_cells && !self.details_are_full {
                self.drop_quiet_details();
            }
            let details = (self.detailed_cells < MAX_DETAILED_CELLS).then(Box::<Details>::default);
            self.detailed_cells += usize::from(details.is_some());
            let Some(group) = self.groups.get_mut(&key) else {
                return;
            };
            group.windows.insert(window, Cell { details, ..Cell::default() });
        }
        let Some(cell) = self.groups.get_mut(&key).and_then(|group| group.windows.get_mut(&window))
        else {
            return;
        };
        let is_failure = row.count(&mut cell.counts, &self.thresholds);
        let kept = row.signature.filter(|it| is_failure || *it == Signature::Intentional);
        if let Some(signature) = kept {
            cell.signatures[signature as usize] += 1;
        }
        if row.signature != Some(Signature::Intentional) {
            cell.add_to_minute(row.time - window * WINDOW_MICROS, is_failure);
        }
        if row.is_success && target.is_none() {
            cell.successes_without_target += 1;
        }
        if let Some(details) = &mut cell.details {
            let keys = [
                (&mut details.targets, target),
                (&mut details.paths, path),
                (&mut details.nodes, Some(source.node)),
                (&mut details.methods, method),
                (&mut details.types, Some(kind)),
            ];
            for (tallies, name) in keys {
                if let Some(name) = name {
                    row.tally(cell::tally(tallies, name), is_failure);
                }
            }
            if let Some(reason) = reason {
                *details.error_reasons.entry(reason).or_default() += 1;
            }
            if row.is_success
                && let Some(seconds) = row.target_seconds
            {
                details.latencies.add(seconds);
            }
            if row.is_answered
                && let (Some(start), Some(target)) = (row.start, target)
            {
                let base = window * WINDOW_MICROS;
                let millis = |time: i64| i32::try_from((time - base) / 1000).ok();
                if let (Some(start), Some(end)) = (millis(start), millis(row.time)) {
                    details.keep_answer(source.node, target, Answer { start, end, path });
                }
            }
            if let Some(signature) = kept {
                details.keep_failure(KeptFailure {
                    digest: row.digest(entry),
                    time: row.time,
                    created: row.created,
                    signature,
                    times: [
                        Field::RequestProcessingTime,
                        Field::TargetProcessingTime,
                        Field::ResponseProcessingTime,
                    ]
                    .map(|field| {
                        entry.seconds(field).map(|seconds| (seconds * 1000.0).round() as i64)
                    }),
                    target,
                    path,
                    method,
                    node: source.node,
                    object: source.object,
                    error_reason: reason,
                    received_bytes: entry.bytes(Field::ReceivedBytes),
                    trace_id: entry
                        .get(Field::TraceId)
                        .map(|id| String::from_utf8_lossy(id.get(..128).unwrap_or(id)).into()),
                });
            }
        }
    }

    /// Everything that was counted, over all target groups and windows.
    pub fn totals(&self) -> super::Counts {
        let mut totals = super::Counts::default();
        for cell in self.groups.values().flat_map(|group| group.windows.values()) {
            totals.add(&cell.counts);
        }
        totals
    }

    /// Gives up the details of windows without a failure that are far from any with one. When that
    /// frees nothing, windows to come are judged by their counts alone.
    fn drop_quiet_details(&mut self) {
        for group in self.groups.values_mut() {
            let failing: Vec<i64> = group
                .windows
                .iter()
                .filter(|(_, cell)| 0 < cell.counts.failures + cell.counts.intentional_502)
                .map(|(window, _)| *window)
                .collect();
            for (window, cell) in &mut group.windows {
                let next = failing.partition_point(|failing| failing < window);
                let near = [next.checked_sub(1), Some(next)]
                    .into_iter()
                    .flatten()
                    .filter_map(|index| failing.get(index))
                    .any(|failing| failing.abs_diff(*window) <= NEAR_WINDOWS.unsigned_abs());
                if !near && cell.details.take().is_some() {
                    self.detailed_cells -= 1;
                }
            }
        }
        // When nothing was free, do not search again with every new window.
        self.details_are_full = MAX_DETAILED_CELLS <= self.detailed_cells;
    }
}

/// What of a row is worked out once.
struct Row {
    time: i64,
    created: Option<i64>,
    /// When the request was sent to the target.
    start: Option<i64>,
    signature: Option<Signature>,
    elb_status: Option<u16>,
    target_seconds: Option<f64>,
    request_seconds: Option<f64>,
    received_bytes: u64,
    /// The target (or the function) answered below 500.
    is_success: bool,
    /// The target answered whatever: its connection is idle from then on.
    is_answered: bool,
    target_status: Option<u16>,
}

impl Row {
    fn of(entry: &Entry<'_>) -> Self {
        let elb_status = entry.status(Field::ElbStatusCode);
        let target_status = entry.status(Field::TargetStatusCode);
        let created = entry.request_creation_time();
        let request_seconds = entry.seconds(Field::RequestProcessingTime);
        let start = created.map(|created| {
            created + request_seconds.map_or(0, |seconds| (seconds.max(0.0) * 1e6) as i64)
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
        Self {
            time: entry.time(),
            created,
            start,
            signature: Signature::of(entry),
            elb_status,
            target_seconds,
            request_seconds,
            received_bytes: entry.bytes(Field::ReceivedBytes).unwrap_or(0),
            is_success,
            is_answered: target_status.is_some(),
            target_status,
        }
    }

    /// Adds the row to the counts; true when it is a failure.
    fn count(&self, counts: &mut super::Counts, thresholds: &Thresholds) -> bool {
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
                thresholds.include_idle_timeout_504
            }
            _ => {
                counts.elb_502 += 1;
                true
            }
        };
        counts.failures += u64::from(is_failure);
        is_failure
    }

    fn tally(&self, tally: &mut Tally, is_failure: bool) {
        if self.signature == Some(Signature::Intentional) {
            return;
        }
        tally.requests += 1;
        tally.seen.add(self.time);
        tally.last_start = tally.last_start.max(self.start);
        if self.is_success {
            tally.successes += 1;
            tally.success_bytes = tally.success_bytes.saturating_add(self.received_bytes);
            tally.largest_success_bytes = tally.largest_success_bytes.max(self.received_bytes);
            tally.success.add(self.time);
            let millis = self.target_seconds.map(|seconds| (seconds * 1000.0) as i64);
            tally.longest_success = tally.longest_success.max(millis);
            // The upload of a body may count into the same time.
            let is_small = self.received_bytes < MAX_WITHOUT_BODY;
            let is_repeated = self.request_seconds.is_some_and(is_repeated_syn);
            tally.slow_connects += u64::from(is_small && is_repeated);
        }
        if is_failure && let Some(signature) = self.signature {
            tally.signatures[signature as usize] += 1;
            tally.failures += 1;
            tally.failure.add(self.time);
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

/// A request of fewer bytes is headers and a small body at most, which need no time to arrive.
const MAX_WITHOUT_BODY: u64 = 4096;

/// Linux repeats a SYN after 1, 3 and 7 seconds: a connection that stands just after one of these
/// was dropped before, by a full listen backlog. Measured: 3.07 and 7.1 s.
fn is_repeated_syn(request_seconds: f64) -> bool {
    [1.0, 3.0, 7.0].iter().any(|repeat| (*repeat..*repeat + 0.25).contains(&request_seconds))
}

/// Address and port of a target as the log writes it; `None` when it has no port.
pub fn target_address(target: &str) -> Option<(&str, u16)> {
    let (address, port) = endpoint(target.as_bytes());
    Some((std::str::from_utf8(address).ok()?, port?))
}

impl Detector {
    /// True when more different paths were seen than are told apart.
    pub(super) fn paths_overflowed(&self) -> bool {
        self.paths.overflowed()
    }

    pub(super) fn name(&self, id: NameId) -> Arc<str> {
        self.names.get(id)
    }

    /// The rows of all target groups of a load balancer in the windows from the first to the last.
    pub(super) fn load_balancer_counts(
        &self,
        load_balancer: NameId,
        (first, last): spikes::WindowRange,
    ) -> super::Counts {
        let mut counts = super::Counts::default();
        let groups = self.groups.iter().filter(|(key, _)| key.load_balancer == load_balancer);
        for (_, cell) in groups.flat_map(|(_, group)| group.windows.range(first..=last)) {
            counts.add(&cell.counts);
        }
        counts
    }
}
