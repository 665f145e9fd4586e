//! Which cause claims which failed row, and what it then has to say.
//!
//! Each failed row goes to the cause with the strongest claim; a row that nobody claims is
//! undetermined. So shares add up, two causes in one incident are two causes, and a loud one does not
//! swallow a quiet one.

use std::collections::BTreeMap;

use super::{Case, Confidence, Fix, RankedCause, Statement, probes};
use crate::detection::{FailureRow, Signature};

mod blocked_port;
mod closed_mid_request;
mod connect_refused;
mod connect_timeout;
mod deregistration;
mod draining_early_close;
mod host_unreachable;
mod idle_timeout;
mod intentional_response;
mod keepalive_race;
mod lambda;
mod lambda_unknown;
mod malformed_response;
mod oversized_headers;
mod protocol_mismatch;
mod saturation;
mod target_generated;
mod tls_handshake;
mod undetermined;
mod words;
mod worker_timeout;

pub use lambda::{LAMBDA_REASONS, LambdaReason};

/// A cause: its name, which rows it claims, and what it says of them.
pub struct Cause {
    /// Kebab case; the file has the same name.
    pub id: &'static str,
    /// In words.
    pub title: &'static str,
    /// Why a health check does not see it; `None` when a health check does.
    pub why_healthy: Option<&'static str>,
    /// How strongly it claims a row.
    pub claim: fn(&Case<'_>, &FailureRow) -> Option<Claim>,
    /// What speaks for it and against it, and what to do.
    pub explain: fn(&Case<'_>, &Claimed<'_>) -> Explanation,
}

/// How strongly a row belongs to a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// It fits, and so may others.
    Possible,
    /// It fits best, by the form of the row.
    Likely,
    /// A pattern of several rows or a fact says so.
    Strong,
    /// The row itself says so.
    Certain,
}

/// A claim to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// How strong.
    pub strength: Strength,
    /// The id, for a family of causes; else the cause's own.
    pub id: Option<&'static str>,
}

impl From<Strength> for Claim {
    fn from(strength: Strength) -> Self {
        Self { strength, id: None }
    }
}

/// The rows that went to a cause.
#[derive(Debug, Clone)]
pub struct Claimed<'a> {
    /// The id under which they were claimed.
    pub id: &'static str,
    /// The rows: all of them, or the sample that was kept.
    pub rows: Vec<&'a FailureRow>,
    /// How many rows they stand for.
    pub count: u64,
    /// Failures of the incident.
    pub of: u64,
}

impl Claimed<'_> {
    /// The rows that satisfy a condition.
    pub fn rows_where(&self, condition: impl Fn(&FailureRow) -> bool) -> u64 {
        self.rows.iter().filter(|row| condition(row)).count() as u64
    }

    /// How many rows are at hand: the number to compare [`Claimed::rows_where`] with.
    pub fn at_hand(&self) -> u64 {
        self.rows.len() as u64
    }

    /// The distinct targets, most rows first.
    pub fn targets(&self) -> Vec<(&str, u64)> {
        most(self.rows.iter().filter_map(|row| row.target.as_deref()))
    }

    /// The distinct paths, most rows first. Written by strangers.
    pub fn paths(&self) -> Vec<(&str, u64)> {
        most(self.rows.iter().filter_map(|row| row.path.as_deref()))
    }

    /// The middle of a value over the rows.
    pub fn median(&self, value: impl Fn(&FailureRow) -> Option<f64>) -> Option<f64> {
        let mut values: Vec<f64> = self.rows.iter().filter_map(|row| value(row)).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// The largest value over the rows.
    pub fn largest(&self, value: impl Fn(&FailureRow) -> Option<f64>) -> Option<f64> {
        self.rows.iter().filter_map(|row| value(row)).max_by(f64::total_cmp)
    }
}

fn most<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(&'a str, u64)> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let mut list: Vec<_> = counts.into_iter().collect();
    list.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    list
}

/// What a cause has to say of its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// A title of its own, for a family of causes.
    pub title: Option<String>,
    /// Why the targets still show healthy, where it is not what the cause says of it.
    pub why_healthy: Option<&'static str>,
    /// How sure.
    pub confidence: Confidence,
    /// What speaks for it.
    pub evidence: Vec<Statement>,
    /// What speaks against it.
    pub against: Vec<Statement>,
    /// What to do, first things first.
    pub fixes: Vec<Fix>,
}

impl Explanation {
    /// Nothing said yet.
    pub fn new(confidence: Confidence) -> Self {
        Self {
            title: None,
            why_healthy: None,
            confidence,
            evidence: Vec::new(),
            against: Vec::new(),
            fixes: Vec::new(),
        }
    }
}

/// Every cause. The order decides between claims of the same strength.
pub const CAUSES: &[Cause] = &[
    target_generated::CAUSE,
    intentional_response::CAUSE,
    lambda::CAUSE,
    lambda_unknown::CAUSE,
    idle_timeout::CAUSE,
    saturation::CAUSE,
    blocked_port::CAUSE,
    connect_timeout::CAUSE,
    host_unreachable::CAUSE,
    deregistration::CAUSE,
    draining_early_close::CAUSE,
    tls_handshake::CAUSE,
    connect_refused::CAUSE,
    protocol_mismatch::CAUSE,
    worker_timeout::CAUSE,
    oversized_headers::CAUSE,
    malformed_response::CAUSE,
    keepalive_race::CAUSE,
    closed_mid_request::CAUSE,
    undetermined::CAUSE,
];

/// The cause that each failed row goes to, in the order of the rows: its place in the table, and its id.
pub(super) fn claims(case: &Case<'_>) -> Vec<(usize, &'static str)> {
    let of_row = |row: &FailureRow| {
        let mut best: Option<(Strength, usize, &'static str)> = None;
        for (index, cause) in CAUSES.iter().enumerate() {
            if let Some(claim) = (cause.claim)(case, row)
                && best.is_none_or(|(strength, _, _)| strength < claim.strength)
            {
                best = Some((claim.strength, index, claim.id.unwrap_or(cause.id)));
            }
        }
        best.map_or((CAUSES.len() - 1, undetermined::CAUSE.id), |(_, index, id)| (index, id))
    };
    case.evidence.failures.iter().map(of_row).collect()
}

/// The causes of a case, most likely first. The shares sum to 1.
pub fn rank(case: &Case<'_>) -> Vec<(&'static Cause, RankedCause)> {
    let mut claimed: BTreeMap<(usize, &'static str), Vec<&FailureRow>> = BTreeMap::new();
    let mut at_hand: BTreeMap<Signature, u64> = BTreeMap::new();
    for (row, claim) in case.evidence.failures.iter().zip(claims(case)) {
        *at_hand.entry(row.signature).or_default() += 1;
        claimed.entry(claim).or_default().push(row);
    }
    let total: u64 = case.evidence.signatures.values().sum();
    let mut ranked = Vec::new();
    for ((index, id), rows) in claimed {
        let Some(cause) = CAUSES.get(index) else {
            continue;
        };
        // When only a sample of the rows was kept, each stands for as many as its signature has. Rows are
        // counted before they are weighed: a sum of a thousand fractions is not quite the whole.
        let mut of_each: BTreeMap<Signature, u64> = BTreeMap::new();
        for row in &rows {
            *of_each.entry(row.signature).or_default() += 1;
        }
        let weight: f64 = of_each
            .iter()
            .map(|(signature, rows)| {
                let all = case.evidence.signatures.get(signature).copied().unwrap_or(*rows);
                let kept = at_hand.get(signature).copied().unwrap_or(*rows);
                all as f64 * (*rows as f64 / kept as f64)
            })
            .sum();
        let claimed = Claimed { id, rows, count: (weight.round() as u64).max(1), of: total.max(1) };
        let mut explanation = (cause.explain)(case, &claimed);
        probes::weigh(case, id, &mut explanation);
        ranked.push((
            cause,
            RankedCause {
                id: id.to_owned(),
                title: explanation.title.unwrap_or_else(|| cause.title.to_owned()),
                why_healthy: explanation.why_healthy.or(cause.why_healthy),
                confidence: explanation.confidence,
                share: weight / total.max(1) as f64,
                evidence: explanation.evidence,
                against: explanation.against,
                fixes: explanation.fixes,
            },
        ));
    }
    ranked.sort_by(|(_, a), (_, b)| {
        let unknown = |cause: &RankedCause| cause.id == undetermined::CAUSE.id;
        b.share
            .total_cmp(&a.share)
            .then_with(|| unknown(a).cmp(&unknown(b)))
            .then_with(|| a.id.cmp(&b.id))
    });
    roots_first(case, &mut ranked);
    probes::tell_others(case, &mut ranked);
    ranked
}

/// What follows from another cause stands behind it, however many rows it has: a path that kills the
/// process makes the refusals until the next one listens, and what waits in the full backlog of a target
/// is silent until the idle timeout.
fn roots_first(case: &Case<'_>, ranked: &mut [(&'static Cause, RankedCause)]) {
    if !case.patterns.killer_paths.is_empty() {
        put_before(closed_mid_request::CAUSE.id, connect_refused::CAUSE.id, ranked);
    }
    if saturation::explains_silence(case) {
        put_before(saturation::CAUSE.id, idle_timeout::CAUSE.id, ranked);
    }
}

fn put_before(root: &str, follows: &str, ranked: &mut [(&'static Cause, RankedCause)]) {
    let at = |id: &str| ranked.iter().position(|(cause, _)| cause.id == id);
    let (Some(root), Some(follows)) = (at(root), at(follows)) else { return };
    if follows < root
        && let Some(part) = ranked.get_mut(follows..=root)
    {
        part.rotate_right(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::sample_case::SampleCase;

    /// Connect timeouts and, more of them, idle timeouts on both targets; so many connections of the first
    /// stood only after a repeated SYN, and of the second.
    fn full(slow: [u64; 2]) -> Vec<(&'static str, f64)> {
        let mut sample = SampleCase::failing(Signature::ConnectTimeout, 20);
        sample.write_rows(Signature::ConnectTimeout, 10.0);
        sample.fail(Signature::IdleTimeout, 80);
        sample.write_rows(Signature::IdleTimeout, 60.0);
        for (target, slow) in sample.evidence.targets.iter_mut().zip(slow) {
            target.slow_connects = slow;
        }
        rank(&sample.case()).iter().map(|(cause, ranked)| (cause.id, ranked.share)).collect()
    }

    #[test]
    fn what_waits_in_a_full_backlog_stands_behind_it() {
        assert_eq!(full([9, 9]), [("saturation", 0.2), ("idle-timeout", 0.8)]);
        // Half of the silent requests went to a target whose backlog is not full: a slow path.
        assert_eq!(full([9, 0])[0], ("idle-timeout", 0.8));
    }

    #[test]
    fn what_is_not_told_apart_is_no_target() {
        let spread = |name: &str| {
            let mut sample = SampleCase::failing(Signature::NotConnected, 20);
            sample.write_rows(Signature::NotConnected, 0.004);
            let mut more = sample.evidence.targets[0].clone();
            (more.target, more.failures) = (std::sync::Arc::from(name), 0);
            sample.evidence.targets.push(more);
            let ranked = rank(&sample.case());
            let said: Vec<_> = ranked[0].1.evidence.iter().map(|it| it.text.clone()).collect();
            said.join(" ")
        };
        let told = spread("10.0.0.99:8080");
        assert!(told.contains("over 2 of 3 targets"), "{told}");
        let told = spread("others");
        assert!(told.contains("over 2 of more than 2 targets"), "{told}");
    }

    #[test]
    fn one_target_is_the_only_one_where_no_other_is_known() {
        let spread = |target: Option<&str>, paths: [&str; 2]| {
            let mut sample = SampleCase::failing(Signature::NotConnected, 20);
            sample.evidence.targets.truncate(1);
            sample.write_rows(Signature::NotConnected, 0.004);
            for (index, row) in sample.evidence.failures.iter_mut().enumerate() {
                row.path = Some(std::sync::Arc::from(paths[index % 2]));
            }
            if let Some(name) = target {
                let mut more = sample.evidence.targets[0].clone();
                (more.target, more.failures) = (std::sync::Arc::from(name), 0);
                sample.evidence.targets.push(more);
            }
            let said = words::spread(
                &sample.case(),
                &Claimed {
                    id: "connect-refused",
                    rows: sample.evidence.failures.iter().collect(),
                    count: 10,
                    of: 10,
                },
            );
            said.unwrap().text
        };
        let one = "The group has one target in the log, ";
        for (target, paths, expected) in [
            (None, ["/a", "/a"], [one, "on the path /a alone"]),
            (None, ["/a", "others"], [one, "over more than 1 path"]),
            (None, ["others", "others"], [one, "over more paths than are told apart"]),
            (Some("others"), ["/a", "/b"], ["Only ", "of more than 1 targets, over 2 paths"]),
        ] {
            let told = spread(target, paths);
            assert!(expected.iter().all(|words| told.contains(words)), "{told}");
        }
    }

    #[test]
    fn the_shares_of_a_sample_are_whole() {
        let mut sample = SampleCase::failing(Signature::NotConnected, 1024);
        sample.write_rows(Signature::NotConnected, 0.004);
        for all in [1_025, 1_179, 33_333, 1_000_003] {
            sample.evidence.signatures.insert(Signature::NotConnected, all);
            let ranked = rank(&sample.case());
            assert_eq!(ranked.iter().map(|(_, cause)| cause.share).collect::<Vec<_>>(), [1.0]);
        }
    }
}
