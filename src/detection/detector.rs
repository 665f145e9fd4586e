//! Entries in, incidents out: one pass, bounded memory.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::{
    cell::{Cell, Details},
    folded_path,
    names::{LastName, NameId, Names, OTHERS},
    room::Room,
    row::{Row, RowNames},
    signature::Signature,
    spikes,
    thresholds::{Thresholds, WINDOW_MICROS},
};
use crate::access_log::{Entry, Field, ObjectKey, parse::endpoint};

/// Different load balancers, target groups, nodes and targets that are told apart over a whole run. No stranger
/// makes them up.
pub(super) const MAX_NAMES: usize = 20_000;

/// Different methods and reasons: strangers may write any method.
pub(super) const MAX_WORDS: usize = 5_000;

/// Different paths that are told apart over a whole run: a few megabytes.
pub(super) const MAX_PATHS: usize = 20_000;

/// Objects and files that are told apart.
const MAX_OBJECTS: usize = 50_000;

/// A path of a file is at most this long on Linux; bucket and key together are shorter.
const MAX_OBJECT_BYTES: usize = 4096;

/// Target groups that are told apart. A load balancer has at most 100.
pub(super) const MAX_GROUPS: usize = 2_000;

/// Windows over all target groups: two weeks of ten groups. Rows beyond are counted, not judged.
pub(super) const MAX_CELLS: usize = 50_000;

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
    /// Methods and reasons.
    pub(super) words: Names,
    pub(super) paths: Names,
    pub(super) objects: Names,
    /// Account and region of a load balancer.
    pub(super) places: HashMap<NameId, (NameId, NameId)>,
    pub(super) groups: HashMap<GroupKey, Group, RandomState>,
    /// The names of the row before this one, which are mostly those of the next.
    last: LastNames,
    pub(super) cells: usize,
    /// What details may still be kept.
    pub(super) room: Room,
    pub(super) rows_not_judged: u64,
    folded: Vec<u8>,
}

#[derive(Debug, Default)]
struct LastNames {
    load_balancer: LastName,
    target_group: LastName,
    method: LastName,
    kind: LastName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct GroupKey {
    pub(super) load_balancer: NameId,
    pub(super) target_group: Option<NameId>,
}

impl GroupKey {
    /// One of more load balancers or target groups than are told apart: what is counted of it would be
    /// counted of several.
    pub(super) fn is_not_told_apart(self) -> bool {
        self.load_balancer == OTHERS || self.target_group == Some(OTHERS)
    }
}

#[derive(Debug, Default)]
pub(super) struct Group {
    /// Boxed: the nodes of the tree are half empty, and there may be 50,000 windows.
    pub(super) windows: BTreeMap<i64, Box<Cell>>,
}

impl Detector {
    /// An empty detector.
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            names: Names::new(MAX_NAMES),
            words: Names::new(MAX_WORDS),
            paths: Names::new(MAX_PATHS),
            objects: Names::with_longest(MAX_OBJECTS, MAX_OBJECT_BYTES),
            places: HashMap::new(),
            groups: HashMap::default(),
            last: LastNames::default(),
            cells: 0,
            room: Room::default(),
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
            if load_balancer != OTHERS {
                self.places.insert(load_balancer, place);
            }
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
            load_balancer: self
                .last
                .load_balancer
                .id(&mut self.names, entry.get(Field::Elb).unwrap_or(b"-")),
            target_group: entry
                .get(Field::TargetGroupArn)
                .map(|arn| self.last.target_group.id(&mut self.names, arn)),
        };
        if key.is_not_told_apart() {
            self.rows_not_judged += 1;
            return;
        }
        // A row that may have failed is asked for more than its first fields.
        let elb_status = entry.status(Field::ElbStatusCode);
        let whole;
        let entry = match elb_status {
            Some(502 | 504) => {
                whole = entry.whole();
                &whole
            }
            _ => entry,
        };
        let row = Row::of(entry, elb_status);
        let names = self.names_of(source, entry, row.signature.is_some());
        let window = row.time.div_euclid(WINDOW_MICROS);
        let found = self.groups.get_mut(&key).and_then(|group| group.windows.get_mut(&window));
        let cell = match found {
            Some(cell) => cell,
            None => {
                self.open(key, window);
                match self.groups.get_mut(&key).and_then(|it| it.windows.get_mut(&window)) {
                    Some(cell) => cell,
                    None => return,
                }
            }
        };
        let is_failure = row.count(&mut cell.counts, self.thresholds.include_idle_timeout_504);
        let kept = row.signature.filter(|it| is_failure || *it == Signature::Intentional);
        if let Some(signature) = kept
            && let Some(count) = cell.signatures.get_mut(signature as usize)
        {
            *count += 1;
        }
        if row.signature != Some(Signature::Intentional) {
            cell.add_to_minute(row.time - window * WINDOW_MICROS, is_failure);
        }
        if row.is_success && names.target.is_none() {
            cell.successes_without_target += 1;
        }
        let Some(details) = &mut cell.details else { return };
        let mut grown = row.add_to(details, &names, is_failure, &self.room);
        if let Some(signature) = kept {
            let failure = row.kept(entry, &names, signature);
            grown.failures = details.keep_failure(failure, self.room.failures_each());
        }
        if self.room.take(grown) {
            self.make_room();
        }
    }

    /// The ids of the names in a row; an id is made when the name is new.
    fn names_of(&mut self, source: SourceId, entry: &Entry<'_>, has_signature: bool) -> RowNames {
        let request = entry.request();
        let path =
            request.path().map(|path| self.paths.id(folded_path::fold(path, &mut self.folded)));
        let reason = if has_signature { entry.get(Field::ErrorReason) } else { None };
        RowNames {
            node: source.node,
            object: source.object,
            target: entry.get(Field::TargetPort).map(|target| self.names.id(target)),
            path,
            method: request.method.map(|method| self.last.method.id(&mut self.words, method)),
            kind: self.last.kind.id(&mut self.names, entry.get(Field::Type).unwrap_or_default()),
            error_reason: reason.map(|reason| self.words.id(reason)),
        }
    }

    /// Opens a window of a target group, unless there is no room for it: then the row is not judged.
    fn open(&mut self, key: GroupKey, window: i64) {
        let no_group = MAX_GROUPS <= self.groups.len() && !self.groups.contains_key(&key);
        if no_group || MAX_CELLS <= self.cells {
            self.rows_not_judged += 1;
            return;
        }
        self.cells += 1;
        self.make_room_for_details();
        let details = Some(Box::<Details>::default());
        let windows = &mut self.groups.entry(key).or_default().windows;
        windows.insert(window, Box::new(Cell { details, ..Cell::default() }));
    }

    /// Everything that was counted, over all target groups and windows.
    pub fn totals(&self) -> super::Counts {
        let mut totals = super::Counts::default();
        for cell in self.groups.values().flat_map(|group| group.windows.values()) {
            totals.add(&cell.counts);
        }
        totals
    }
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
