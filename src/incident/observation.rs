//! What the ledger holds of one object and window.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{end_of, record::is_window};
use crate::{
    access_log::{ObjectKey, ReadReport},
    detection::{GroupCounts, Portion, Signature, portion::leading},
    diagnosis::{ObjectReport, Reading},
};

/// No object holds more rows: they would be a hundred terabytes. With it, the counts of as many objects as
/// a load balancer of a hundred nodes writes in years stay far from the largest number.
const MAX_ROWS: u64 = 1 << 40;

/// No object holds more target groups in one window: a load balancer has a hundred, and what the rows of
/// an object are counted under is bounded by 2,000.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html>
const MAX_GROUPS: usize = 2_000;

/// One object's rows of one load balancer in one window: the counts of all target groups. The details are
/// kept beside it, under the same name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// `app/name/id`, as in the rows.
    pub load_balancer: Box<str>,
    /// The number of the five-minute window since 1970.
    pub window: i64,
    /// The object.
    pub object: ObservedObject,
    /// Exact counts of each target group.
    pub groups: Vec<GroupCounts>,
    /// How long the packed details are, in bytes.
    pub details_bytes: u64,
}

/// What the ledger is given of one object and window.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// The counts.
    pub observation: Observation,
    /// The packed details.
    pub details: Vec<u8>,
}

/// Until when an observation of a window is kept, microseconds since 1970: as long as its window may be
/// told of or be part of a trickle's day, and two days more for what arrives late. It does not depend on
/// the time of writing: the same object gives the same. `max_age`, in microseconds, is how long a window
/// may be told of.
pub fn kept_until(window: i64, max_age: i64) -> i64 {
    const DAY: i64 = 86_400_000_000;
    end_of(window).saturating_add(max_age.max(DAY)).saturating_add(2 * DAY)
}

/// What is remembered of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedObject {
    /// The bucket.
    pub bucket: Box<str>,
    /// The key, decoded.
    pub key: Box<str>,
    /// Lines read.
    pub lines: u64,
    /// Rows among them.
    pub entries: u64,
    /// Lines that are no rows.
    pub malformed: u64,
    /// Rows with fields that alb502 does not know.
    pub unknown_fields: u64,
    /// Why it could not be read to its end; the rows before the damage count, until it can be read.
    pub error: Option<Box<str>>,
}

impl ObservedObject {
    /// What is remembered of an object that was read.
    pub fn of(bucket: &str, key: &str, report: &ReadReport, error: Option<&str>) -> Self {
        Self {
            bucket: bucket.into(),
            key: key.into(),
            lines: report.lines,
            entries: report.entries,
            malformed: report.malformed,
            unknown_fields: report.unknown_fields,
            error: error.map(Into::into),
        }
    }

    /// `s3://bucket/key`.
    pub fn name(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.key)
    }
}

impl Observation {
    /// What is kept of an object: one observation for each load balancer and window in it, each with its
    /// details.
    pub fn of(object: &ObservedObject, portions: Vec<Portion>) -> Vec<Kept> {
        let observed = |it: Portion| {
            let observation = Self {
                load_balancer: Box::from(&*it.load_balancer),
                window: it.window,
                object: object.clone(),
                groups: it.groups,
                details_bytes: it.details.len() as u64,
            };
            Kept { observation, details: it.details }
        };
        portions.into_iter().map(observed).collect()
    }

    /// Whether it can be what a copy of the function has kept. One that cannot is not added up: it would
    /// hide what the others say.
    pub fn is_sound(&self) -> bool {
        let is_count = |it: &u64| *it <= MAX_ROWS;
        let object = &self.object;
        let of_object = [object.lines, object.entries, object.malformed, object.unknown_fields];
        let are_sound = |group: &GroupCounts| {
            let it = &group.counts;
            let counts = [
                it.requests,
                it.failures,
                it.elb_502,
                it.target_502,
                it.connect_504,
                it.idle_504,
                it.intentional_502,
                it.successes,
                it.target_5xx,
                it.elb_503,
                it.client_460,
                it.protocol_464,
            ];
            counts.iter().chain(group.signatures()).all(is_count)
                && it.failures <= it.requests
                && it.successes <= it.requests
        };
        is_window(self.window)
            && of_object.iter().all(is_count)
            && self.groups.len() <= MAX_GROUPS
            && self.groups.iter().all(are_sound)
    }

    /// The counts of a target group.
    pub fn group(&self, target_group: Option<&str>) -> Option<&GroupCounts> {
        self.groups.iter().find(|it| it.target_group.as_deref() == target_group)
    }
}

/// One window of a target group, all objects together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Rows that count.
    pub requests: u64,
    /// Failed rows.
    pub failures: u64,
    /// 502s that a rule answers on purpose.
    pub intentional_502: u64,
    /// Failures by signature.
    pub signatures: [u64; Signature::ALL.len()],
}

impl Seen {
    /// The index of the signature that most failures have.
    pub fn leading_signature(&self) -> Option<usize> {
        leading(&self.signatures)
    }
}

/// The windows of a target group by number.
pub type GroupWindows = BTreeMap<i64, Seen>;

/// Adds up the windows of a target group.
pub fn windows_of<'a>(
    observations: impl IntoIterator<Item = &'a Observation>,
    target_group: Option<&str>,
) -> GroupWindows {
    let mut windows = GroupWindows::new();
    for it in observations {
        let Some(group) = it.group(target_group) else { continue };
        let seen = windows.entry(it.window).or_default();
        seen.requests = seen.requests.saturating_add(group.counts.requests);
        seen.failures = seen.failures.saturating_add(group.counts.failures);
        seen.intentional_502 = seen.intentional_502.saturating_add(group.counts.intentional_502);
        for (sum, more) in seen.signatures.iter_mut().zip(group.signatures()) {
            *sum = sum.saturating_add(*more);
        }
    }
    windows
}

/// How well the objects could be read, each counted once however many windows it has.
pub fn reading<'a>(observations: impl IntoIterator<Item = &'a Observation>) -> Reading {
    let mut reading = Reading::default();
    let mut read = HashSet::new();
    for it in observations {
        let object = &it.object;
        if !read.insert((&*object.bucket, &*object.key)) {
            continue;
        }
        let report = ReadReport {
            lines: object.lines,
            entries: object.entries,
            malformed: object.malformed,
            unknown_fields: object.unknown_fields,
            ..ReadReport::default()
        };
        reading.parser.add(&report);
        let error = object.error.as_deref().map(ToOwned::to_owned);
        let key = ObjectKey::parse(&object.key);
        reading.objects.push(ObjectReport::of(object.name(), &key, &report, error));
    }
    reading.objects.sort_by(|a, b| a.name.cmp(&b.name));
    reading
}

/// How many objects of how many nodes.
pub fn objects_and_nodes(reading: &Reading) -> (u64, u64) {
    let nodes: HashSet<_> = reading.objects.iter().map(|it| it.node.as_deref()).collect();
    (reading.objects.len() as u64, nodes.len() as u64)
}

/// What is kept of an object of one node with these requests and failures in one window.
#[cfg(test)]
pub(crate) fn sample(window: i64, node: u8, requests: u64, failures: u64) -> Kept {
    use crate::{
        access_log::Reader, detection::Detector, diagnosis::timestamp, incident::start_of,
    };

    let at = timestamp(start_of(window)).strftime("%Y-%m-%dT%H:%M:%S");
    let rows: String = (0..requests)
        .map(|row| {
            let ending =
                if row < failures { "-1 -1 -1 502 -" } else { "0.001 0.018 0.000 200 200" };
            format!(
                "http {at}.020000Z app/shop/1 198.51.100.7:40000 10.0.0.1:8080 {ending} 200 300 \
                 \"GET http://shop.example.com:80/ HTTP/1.1\" \"curl/8\" - - arn:shop-web \
                 \"Root=1-{row}\" \"-\" \"-\" 0 {at}.000000Z \"forward\" \"-\" \"-\"\n"
            )
        })
        .collect();
    let key = format!(
        "AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2026/11/20/\
         123456789012_elasticloadbalancing_eu-west-1_app.shop.0123456789abcdef_\
         20261120T1205Z_192.0.2.{node}_{window}.log.gz"
    );
    let mut detector = Detector::new(crate::detection::Thresholds::default());
    let source = detector.source(&key, &ObjectKey::parse(&key));
    let mut reader = Reader::new(|entry| detector.record(source, entry));
    let _ = reader.push(rows.as_bytes());
    let report = reader.finish().report;
    let object = ObservedObject::of("logs", &key, &report, None);
    Observation::of(&object, detector.portions()).swap_remove(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_summed_over_nodes() {
        let kept = [sample(7, 1, 10, 3), sample(7, 2, 20, 4), sample(8, 1, 5, 0)];
        let observed = || kept.iter().map(|it| &it.observation);
        let windows = windows_of(observed(), Some("arn:shop-web"));
        let counts: Vec<_> =
            windows.iter().map(|(it, seen)| (*it, seen.requests, seen.failures)).collect();
        assert_eq!(counts, [(7, 30, 7), (8, 5, 0)]);
        assert_eq!(windows[&7].leading_signature(), Some(Signature::NotConnected as usize));
        assert_eq!(windows[&8].leading_signature(), None);
        assert!(windows_of(observed(), Some("arn:another")).is_empty());
        assert!(windows_of(observed(), None).is_empty());
    }

    #[test]
    fn an_object_of_two_windows_was_read_once() {
        let (first, mut second) = (sample(7, 1, 10, 3), sample(8, 1, 10, 0));
        second.observation.object = first.observation.object.clone();
        let other = sample(7, 2, 20, 0);
        let all = [&first.observation, &second.observation, &other.observation];
        let reading = reading(all);
        assert_eq!((reading.parser.lines, reading.parser.entries), (30, 30));
        assert_eq!(objects_and_nodes(&reading), (2, 2));
    }
}
