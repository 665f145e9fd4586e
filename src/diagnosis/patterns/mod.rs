//! What the evidence adds up to, worked out once for every check and cause.

#[cfg(test)]
mod arrival_tests;
mod constant;
mod exits;
mod methods;
mod outage;
mod paths;
mod refused_paths;
mod right_after;
mod spells;
#[cfg(test)]
mod streak_tests;
mod streaks;
mod targets;
#[cfg(test)]
pub(super) mod tests;
mod too_large;
mod wrong_each_time;

use std::{cell::OnceCell, collections::BTreeMap, sync::Arc};

pub use constant::Constant;
pub use exits::{CutWith, Exit};
pub use outage::Outage;
pub use paths::{Poison, SizeLimit};
pub use refused_paths::NeverAnswered;
pub use right_after::{MOMENT_SECONDS, RightAfter};
pub use spells::Spells;
pub use streaks::Streak;
pub use too_large::TooLarge;

use super::{
    Case,
    keep_alive::{KeepAlive, Timer},
    network::Network,
};
use crate::detection::{Evidence, FailureRow, Signature};
use constant::constant;
use exits::{
    TOGETHER_MICROS, come_in_spells, cut_with, early_in_bursts, exits, is_at, is_beside, refusals,
};
use methods::failing_methods;
use outage::outage;
use paths::{is_confounded, only_path, paths, poison, size_limits};
use refused_paths::{is_never_answered, never_answered};
use right_after::right_after;
use spells::spells;
use streaks::streaks;
use targets::{bad_targets, comings_and_goings};
use too_large::too_large;
use wrong_each_time::wrong_each_time;

/// A pattern is told from chance when chance would make it less often than once in ten thousand.
const CHANCE: f64 = 1e-4;

/// Regularities in the evidence.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    /// What the pauses before closed requests show of the targets' keep-alive timeout.
    pub keep_alive: KeepAlive,
    /// Paths on which nearly every request is closed without a response while others succeed.
    pub failing_paths: Vec<Arc<str>>,
    /// Those of them that are closed at several moments, and not when their work is given up.
    pub wrong_each_time: Vec<Arc<str>>,
    /// Paths on which far more requests are closed than elsewhere, but not each.
    pub leaning_paths: Vec<Arc<str>>,
    /// The one of the leaning paths that has nearly all that no timer explains, when no requests ended
    /// together.
    pub only_path: Option<Arc<str>>,
    /// Methods of which nearly every request is closed without a response while others succeed.
    pub failing_methods: Vec<Arc<str>>,
    /// Paths that are asked for a few times each and never answered have nearly all closed requests.
    pub never_answered: Option<NeverAnswered>,
    /// A time in which nearly every request was closed.
    pub outage: Option<Outage>,
    /// Targets that close all they get for a while, again and again.
    pub spells: Vec<Spells>,
    /// Requests that were closed one after the other, with no answer of their target in between.
    pub streaks: Vec<Streak>,
    /// Nearly all early closed requests are larger than any that succeeds.
    pub too_large: Option<TooLarge>,
    /// Nearly all early closed requests came right after an answer.
    pub right_after: Option<RightAfter>,
    /// Paths on which only requests larger than every successful one are closed.
    pub size_limits: Vec<SizeLimit>,
    /// Most early closed requests were closed at the same moment as others: one event closed them.
    pub early_in_bursts: bool,
    /// Targets with a failure rate far above the others.
    pub bad_targets: Vec<Arc<str>>,
    /// Rows of one target that were closed at the same instant.
    pub exits: Vec<Exit>,
    /// Paths whose requests the process does not survive: most of their closed rows lie in exits after
    /// which the target refused, or requests for other paths are cut at the same moments.
    pub killer_paths: Vec<Arc<str>>,
    /// A path whose answers break the next request on their connection.
    pub poison: Option<Poison>,
    /// What is cut together with requests for a path that fails each time.
    pub cut_with: Vec<CutWith>,
    /// When each target refused connections.
    refusals: BTreeMap<Arc<str>, Vec<i64>>,
    /// Refused connections come in spells: what listens goes away for moments.
    pub refusals_in_spells: bool,
    /// A constant that the times of late closed rows cluster at.
    pub constant: Option<Constant>,
    /// Targets that stop appearing while the others go on.
    pub left: Vec<Arc<str>>,
    /// Targets that appear after the others.
    pub arrived: Vec<Arc<str>>,
    /// See [`Patterns::network`].
    network: OnceCell<Network>,
}

/// The timer that all pauses show; where they show none, the one that is left without the paths that fail
/// more often than others: a loud fault of one path hides a quiet timer.
fn keep_alive(
    evidence: &Evidence,
    failing: &[Arc<str>],
    leaning: &[Arc<str>],
    streaks: &[Streak],
) -> KeepAlive {
    let of = |paths: &[Arc<str>]| {
        let mut shown = KeepAlive::of(&evidence.pauses, paths, streaks);
        shown.timers.retain(|timer| !hits_too_many(evidence, timer));
        shown
    };
    let all = of(failing);
    if !all.timers.is_empty() || leaning.is_empty() {
        return all;
    }
    let without = of(&[failing, leaning].concat());
    if without.timers.is_empty() { all } else { without }
}

/// A race hits the few requests that meet a connection in the moment in which it closes: where requests come
/// much closer together than the timeout, connections are hardly ever idle for so long (in races of eight
/// servers, measured, it hit 7 % at most). This many of them are no race.
const TOO_MANY: f64 = 0.2;

/// Requests come much closer together when the median pause is this part of the timeout.
const MUCH_CLOSER: f64 = 0.25;

/// Whether more requests fail on the targets of the timer than a race hits in such traffic: where much fails,
/// and some answer lies as long before as one likes to look, a timer is found in anything.
fn hits_too_many(evidence: &Evidence, timer: &Timer) -> bool {
    let targets = evidence.targets.iter().filter(|it| timer.targets.contains(&it.target));
    let (closed, requests) = targets.fold((0, 0), |(closed, requests), it| {
        (closed + it.of(Signature::ClosedEarly), requests + it.requests)
    });
    let pauses = &evidence.pauses.successes;
    let median = pauses.get(pauses.len() / 2).copied().unwrap_or(f64::INFINITY);
    TOO_MANY * requests as f64 <= closed as f64 && median < MUCH_CLOSER * timer.estimate.best
}

impl Patterns {
    /// Works out every pattern.
    pub fn of(evidence: &Evidence) -> Self {
        let (failing_paths, leaning_paths) = paths(evidence);
        let (left, arrived) = comings_and_goings(evidence);
        let refusals = refusals(evidence);
        let streaks = streaks(evidence);
        let mut patterns = Self {
            keep_alive: keep_alive(evidence, &failing_paths, &leaning_paths, &streaks),
            wrong_each_time: wrong_each_time(evidence, &failing_paths),
            failing_paths,
            leaning_paths,
            only_path: None,
            failing_methods: failing_methods(evidence),
            never_answered: never_answered(evidence),
            outage: outage(evidence),
            spells: spells(evidence),
            streaks,
            too_large: too_large(evidence),
            right_after: None,
            size_limits: size_limits(evidence),
            early_in_bursts: early_in_bursts(evidence),
            bad_targets: bad_targets(evidence),
            exits: exits(evidence),
            killer_paths: Vec::new(),
            cut_with: Vec::new(),
            poison: None,
            refusals_in_spells: come_in_spells(&refusals),
            refusals,
            constant: constant(evidence),
            left,
            arrived,
            network: OnceCell::new(),
        };
        patterns.keep_alive.is_confounded =
            is_confounded(evidence, &patterns.keep_alive, &patterns.failing_paths);
        if patterns.keep_alive.timers.is_empty() {
            patterns.poison = poison(evidence, &patterns.failing_paths, &patterns.streaks);
            // What one path leaves behind hits right after its answers as well.
            if patterns.poison.is_none() {
                patterns.right_after = right_after(evidence);
            }
        }
        if patterns.exits.is_empty() {
            patterns.only_path = only_path(evidence, &patterns.leaning_paths, &patterns.keep_alive);
        }
        patterns.cut_with = patterns
            .failing_paths
            .iter()
            .filter_map(|path| cut_with(evidence, path, &patterns.failing_paths))
            .collect();
        patterns.killer_paths = patterns
            .failing_paths
            .iter()
            .filter(|path| {
                let (deaths, rows) = patterns.deaths_on(evidence, path);
                let takes_others = patterns.cut_with.iter().any(|it| it.path == **path);
                (3 <= rows && rows <= 2 * deaths) || takes_others
            })
            .cloned()
            .collect();
        patterns
    }

    /// A request for one of the paths that are never answered.
    pub fn is_never_answered(&self, evidence: &Evidence, row: &FailureRow) -> bool {
        self.never_answered.is_some() && is_never_answered(evidence, row)
    }

    /// The path whose requests cut this one as well.
    pub fn cut_by(&self, row: &FailureRow) -> Option<&CutWith> {
        self.cut_with.iter().find(|it| is_at(&it.moments, row.time))
    }

    /// The way from the load balancer to the targets: judged once for a case, when it is first asked
    /// for, because every failed row may ask.
    pub fn network<'a>(&'a self, case: &Case<'_>) -> &'a Network {
        self.network.get_or_init(|| super::network::network(case))
    }

    /// Closed rows of a path: those at a moment after which the target refused, and all.
    pub fn deaths_on(&self, evidence: &Evidence, path: &str) -> (u64, u64) {
        let rows = evidence.failures.iter().filter(|row| {
            matches!(row.signature, Signature::ClosedEarly | Signature::ClosedLate)
                && row.path.as_deref() == Some(path)
        });
        rows.fold((0, 0), |(deaths, all), row| {
            let died = self.exit_of(row).is_some_and(|exit| 0 < exit.refused_after);
            (deaths + u64::from(died), all + 1)
        })
    }

    /// The streak that a row belongs to.
    pub fn streak_of(&self, row: &FailureRow) -> Option<&Streak> {
        self.streaks.iter().find(|it| it.has(row))
    }

    /// The target of the row refused another connection within two seconds.
    pub fn is_beside_refusal(&self, row: &FailureRow) -> bool {
        row.target
            .as_ref()
            .and_then(|target| self.refusals.get(target))
            .is_some_and(|refusals| is_beside(refusals, row.time))
    }

    /// The exit that a row belongs to.
    pub fn exit_of(&self, row: &FailureRow) -> Option<&Exit> {
        let target = row.target.as_ref()?;
        self.exits
            .iter()
            .find(|exit| exit.target == *target && (row.time - exit.time).abs() <= TOGETHER_MICROS)
    }
}
