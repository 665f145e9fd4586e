//! The cells of one incident, and the windows around it, added up to [`Evidence`].

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::Arc,
};

use super::{
    cell::{Cell, Details, KeptFailure, Latencies},
    detector::{Detector, Group},
    evidence::{
        Counts, Evidence, FailureRow, Kind, MAX_FAILURE_ROWS, Minute, PathEvidence, Quantiles,
        Share, TargetEvidence, Window,
    },
    names::{NameId, Names, OTHERS},
    pauses::Answered,
    room::Near,
    signature::Signature,
    spikes::WindowRange,
    tally::{
        ById, BySignature, PathTally, ShareTally, Span, Sum, Tally, TargetTally, add_signatures,
    },
    thresholds::{WINDOW_MICROS, WINDOWS_PER_HOUR},
    trickles,
};

/// Whose rows they are.
pub(super) struct Identity {
    pub(super) load_balancer_id: NameId,
    pub(super) load_balancer: Arc<str>,
    pub(super) account: Option<Arc<str>>,
    pub(super) region: Option<Arc<str>>,
    pub(super) target_group_arn: Option<Arc<str>>,
}

/// Adds up the windows `range` (both ends included) and an hour on either side, without those that
/// belong to the `spikes`: for a spike itself there are none.
pub(super) fn evidence(
    detector: &Detector,
    group: &Group,
    identity: &Identity,
    range: WindowRange,
    kind: Kind,
    spikes: &[WindowRange],
) -> Evidence {
    let (first, last) = range;
    let around = first.saturating_sub(WINDOWS_PER_HOUR)..=last.saturating_add(WINDOWS_PER_HOUR);
    let mut sums = Sums::default();
    let failing = Near::failing(group);
    for (&window, cell) in group.windows.range(around.clone()) {
        if !trickles::belongs_to(spikes, window) {
            sums.add(cell, (first..=last).contains(&window), failing.has(window));
            if window <= last {
                sums.minutes.extend(cell.minutes(window * WINDOW_MICROS));
            }
        }
    }
    let by_target = mem::take(&mut sums.targets).whole();
    let mut failures = mem::take(&mut sums.failures);
    // Rows on purpose are evidence only where nothing else failed.
    let on_purpose = sums.counts.failures == 0;
    failures.retain(|kept| (kept.signature == Signature::Intentional) == on_purpose);
    // Details come from elsewhere as well. A row of a kind that was never counted is a lie, and would be a share
    // of nothing.
    failures.retain(|kept| sums.signatures.get(kept.signature as usize).is_some_and(|it| 0 < *it));
    failures.sort();
    failures.truncate(MAX_FAILURE_ROWS * 4);
    let answered = Answered::of(group, around);
    let mut failures: Vec<FailureRow> =
        failures.into_iter().map(|kept| failure_row(detector, kept, &answered)).collect();
    failures.sort_by(|a, b| {
        let key = |row: &FailureRow| {
            (row.time, row.created, row.trace_id.clone(), row.path.clone(), row.target.clone())
        };
        key(a).cmp(&key(b)).then_with(|| (&a.node, &a.object).cmp(&(&b.node, &b.object)))
    });
    Evidence {
        kind,
        load_balancer: Arc::clone(&identity.load_balancer),
        account: identity.account.clone(),
        region: identity.region.clone(),
        target_group_arn: identity.target_group_arn.clone(),
        window: Window { start: first * WINDOW_MICROS, end: (last + 1) * WINDOW_MICROS },
        left_out: trickles::left_out(spikes),
        span: sums.seen.0.map_or(
            Window { start: first * WINDOW_MICROS, end: (last + 1) * WINDOW_MICROS },
            |(start, end)| Window { start, end },
        ),
        counts: sums.counts,
        around: sums.around,
        load_balancer_counts: detector.load_balancer_counts(identity.load_balancer_id, range),
        successes_without_target: sums.successes_without_target,
        signatures: by_signature(&sums.signatures),
        targets: targets(detector, &by_target, &answered, &sums.around_failures),
        paths: paths(detector, &sums.paths),
        paths_are_complete: !detector.paths_overflowed()
            && !sums.paths.contains_key(&OTHERS)
            && !sums.lacks_paths,
        windows_given_up: sums.given_up,
        nodes: shares(&detector.names, sums.nodes),
        methods: shares(&detector.words, sums.methods),
        types: shares(&detector.names, sums.types),
        error_reasons: {
            let mut reasons: Vec<_> = (sums.error_reasons.whole().iter())
                .map(|(&name, &count)| (detector.words.get(name), count))
                .collect();
            reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            reasons
        },
        failures,
        success_seconds: sums
            .latencies
            .quantile(0.5)
            .zip(sums.latencies.quantile(0.99))
            .map(|(p50, p99)| Quantiles { p50, p99 }),
        success_distribution: sums.latencies.distribution(),
        success_buckets: sums.latencies.buckets(),
        minutes: sums.minutes,
        pauses: answered.pauses(detector, &sums.around_failures),
    }
}

#[derive(Default)]
struct Sums<'a> {
    counts: Counts,
    around: Counts,
    successes_without_target: u64,
    signatures: BySignature,
    /// In the incident, and with the hour around it.
    targets: Sum<TargetSpan>,
    paths: ById<PathTally>,
    nodes: Sum<ShareTally>,
    methods: Sum<ShareTally>,
    types: Sum<ShareTally>,
    error_reasons: Sum<u64>,
    /// Windows near a failure of which the details were given up.
    given_up: u64,
    /// The details of some window of the incident were given up.
    lacks_paths: bool,
    latencies: Latencies,
    failures: Vec<&'a KeptFailure>,
    around_failures: Vec<&'a KeptFailure>,
    seen: Span,
    minutes: Vec<Minute>,
}

impl<'a> Sums<'a> {
    fn add(&mut self, cell: &'a Cell, in_incident: bool, is_near: bool) {
        self.successes_without_target += cell.successes_without_target;
        if in_incident {
            self.counts.add(&cell.counts);
            add_signatures(&mut self.signatures, &cell.signatures);
        } else {
            self.around.add(&cell.counts);
        }
        match &cell.details {
            Some(details) => self.add_details(details, in_incident),
            None if 0 < cell.counts.requests + cell.counts.intentional_502 => {
                self.lacks_paths |= in_incident;
                if is_near {
                    self.add_unknown(in_incident);
                }
            }
            None => {}
        }
    }

    /// A window of which only the counts are known. More than an hour from any failure they are enough: what
    /// targets did so long before or after it is no evidence. In the hour around the incident a target may
    /// have answered unseen, which is said; its failures are known.
    fn add_unknown(&mut self, in_incident: bool) {
        self.given_up += 1;
        if in_incident {
            self.targets.add_unknown();
            for shares in [&mut self.nodes, &mut self.methods, &mut self.types] {
                shares.add_unknown();
            }
        }
    }

    fn add_details(&mut self, details: &'a Details, in_incident: bool) {
        self.targets.add(&details.targets, |sum, tally| {
            if in_incident {
                sum.incident.merge(tally);
            }
            sum.span.merge(tally);
        });
        self.seen.merge(details.seen);
        self.latencies.merge(&details.latencies);
        self.around_failures.extend(&details.failures);
        if !in_incident {
            return;
        }
        self.failures.extend(&details.failures);
        // Half of what came for a path may be among `others`: that is told with `paths_are_complete`.
        for (name, tally) in details.paths.iter() {
            self.paths.entry(name).or_default().merge(tally);
        }
        self.nodes.add(&details.nodes, ShareTally::merge);
        self.methods.add(&details.methods, ShareTally::merge);
        self.types.add(&details.types, ShareTally::merge);
        self.error_reasons.add(&details.error_reasons, u64::merge);
    }
}

/// What is counted of a target in the incident, and with the hour around it.
#[derive(Debug, Clone, Copy, Default)]
struct TargetSpan {
    incident: TargetTally,
    span: TargetTally,
}

impl Tally for TargetSpan {
    fn merge(&mut self, other: &Self) {
        self.incident.merge(&other.incident);
        self.span.merge(&other.span);
    }

    fn rank(&self) -> (u64, u64) {
        self.incident.rank()
    }
}

fn by_signature<T: Copy + Into<u64>>(counts: &[T]) -> BTreeMap<Signature, u64> {
    let counts = counts.iter().map(|&count| count.into());
    Signature::ALL.into_iter().zip(counts).filter(|(_, count)| 0 < *count).collect()
}

fn targets(
    detector: &Detector,
    tallies: &ById<TargetSpan>,
    answered: &Answered,
    failures: &[&KeptFailure],
) -> Vec<TargetEvidence> {
    let pairs = refused_pairs(answered, failures);
    let mut list: Vec<_> = tallies
        .iter()
        .map(|(&name, TargetSpan { incident, span })| TargetEvidence {
            target: detector.name(name),
            requests: incident.requests,
            failures: incident.failures,
            successes: incident.successes,
            signatures: by_signature(&incident.signatures),
            first_seen: span.seen.0.map_or(0, |(first, _)| first),
            last_seen: span.seen.0.map_or(0, |(_, last)| last),
            first_success: span.success.0.map(|(first, _)| first),
            last_success: span.success.0.map(|(_, last)| last),
            first_failure: span.failure.0.map(|(first, _)| first),
            last_failure: span.failure.0.map(|(_, last)| last),
            last_start: span.last_start,
            slow_connects: span.slow_connects,
            refused_pairs: pairs.get(&name).map_or(0, |(all, _)| *all),
            refused_pairs_with_answers: pairs.get(&name).map_or(0, |(_, answered)| *answered),
        })
        .collect();
    list.sort_by(|a, b| b.failures.cmp(&a.failures).then_with(|| a.target.cmp(&b.target)));
    list
}

/// Per target: pairs of refused connections that follow each other, and those with an answer between.
fn refused_pairs(answered: &Answered, failures: &[&KeptFailure]) -> HashMap<NameId, (u64, u64)> {
    let mut refused: HashMap<NameId, Vec<i64>> = HashMap::new();
    for kept in failures.iter().filter(|kept| kept.signature == Signature::NotConnected) {
        if let Some(target) = kept.target {
            refused.entry(target).or_default().push(kept.time / 1000);
        }
    }
    let mut pairs = HashMap::new();
    for (target, mut times) in refused {
        times.sort_unstable();
        let answers = |pair: &&[i64]| answered.any_between(target, pair[0], pair[1]);
        let between = times.windows(2).filter(answers).count() as u64;
        pairs.insert(target, (times.len() as u64 - 1, between));
    }
    pairs
}

fn paths(detector: &Detector, tallies: &ById<PathTally>) -> Vec<PathEvidence> {
    let mut list: Vec<_> = tallies
        .iter()
        .map(|(&name, tally)| PathEvidence {
            path: detector.paths.get(name),
            requests: tally.requests,
            failures: tally.failures,
            successes: tally.successes,
            success_bytes: (0 < tally.successes)
                .then(|| tally.success_bytes as f64 / tally.successes as f64),
            largest_success_bytes: (0 < tally.successes).then_some(tally.largest_success_bytes),
            longest_success: tally.longest_success.map(|millis| millis as f64 / 1000.0),
            signatures: by_signature(&tally.signatures),
        })
        .collect();
    list.sort_by(|a, b| b.failures.cmp(&a.failures).then_with(|| a.path.cmp(&b.path)));
    list
}

fn shares(names: &Names, sum: Sum<ShareTally>) -> Vec<Share> {
    let mut list: Vec<_> = (sum.whole().iter())
        .map(|(&name, tally)| Share {
            name: names.get(name),
            requests: tally.requests,
            failures: tally.failures,
        })
        .collect();
    list.sort_by(|a, b| b.failures.cmp(&a.failures).then_with(|| a.name.cmp(&b.name)));
    list
}

fn failure_row(detector: &Detector, kept: &KeptFailure, answered: &Answered) -> FailureRow {
    let gaps = answered.before(kept);
    let after = answered.path_before(kept).map(|path| detector.paths.get(path));
    FailureRow {
        time: kept.time,
        created: kept.created,
        signature: kept.signature,
        elapsed: kept.created.map(|created| (kept.time - created).max(0) as f64 / 1e6),
        times: kept.times.map(|time| time.map(|millis| f64::from(millis) / 1000.0)),
        target: kept.target.map(|name| detector.name(name)),
        path: kept.path.map(|name| detector.paths.get(name)),
        method: kept.method.map(|name| detector.words.get(name)),
        node: detector.name(kept.node),
        error_reason: kept.error_reason.map(|name| detector.words.get(name)),
        received_bytes: kept.received_bytes,
        trace_id: kept.trace_id.as_deref().map(Arc::from),
        object: detector.objects.get(kept.object),
        gaps,
        after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access_log::{ObjectKey, Reader},
        detection::Thresholds,
    };

    fn row(minute: u32, load_balancer: &str, group: &str, status: u16) -> String {
        format!(
            "http 2026-11-20T12:{minute:02}:30.020000Z app/{load_balancer}/0123456789abcdef \
             198.51.100.7:40000 10.0.0.1:8080 0.001 0.020 -1 {status} - 200 300 \
             \"GET http://shop.example.com:80/a HTTP/1.1\" \"curl/8\" - - \
             arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{group}/0123 \
             \"Root=1-0-0\" \"-\" \"-\" 0 2026-11-20T12:{minute:02}:30.000000Z \"forward\" \"-\" \"-\" \
             \"10.0.0.1:8080\" \"-\" \"-\" \"-\"\n"
        )
    }

    #[test]
    fn the_counts_of_the_load_balancer_are_of_all_its_groups_in_the_window() {
        let rows = [
            row(1, "shop", "shop-web", 502).repeat(20),
            row(2, "shop", "shop-api", 502).repeat(3),
            row(7, "shop", "shop-api", 502),
            row(1, "blog", "blog-web", 502),
        ];
        let mut detector = Detector::new(Thresholds::default());
        let source = detector.source("log", &ObjectKey::parse("log"));
        let mut reader = Reader::new(|entry| detector.record(source, entry));
        let _ = reader.push(rows.concat().as_bytes());
        assert_eq!(reader.finish().report.entries, 25);
        let incidents = detector.incidents();
        let [evidence] = incidents.as_slice() else { panic!("{incidents:#?}") };
        assert_eq!((evidence.counts.elb_502, evidence.load_balancer_counts.elb_502), (20, 23));
    }
}
