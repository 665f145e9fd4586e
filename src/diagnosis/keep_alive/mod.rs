//! The targets' keep-alive timeout, inferred from the pauses before requests that were closed early.
//!
//! A target that closes idle connections after K seconds breaks the requests that reach a connection
//! which has just been idle for K seconds. The log does not name the connection, but some earlier answer
//! of the same node and target had left it idle: so K seconds before each broken request lies such an
//! answer, where before healthy requests there is one only as often as the traffic has it.

mod coverage;

use std::sync::Arc;

use super::{KeepAliveEstimate, chance, patterns::Streak};
use crate::detection::{Evidence, Pause, Pauses};
use coverage::{Coverage, MIN_SECONDS, WIDTHS};

/// Fewer gaps than this show nothing.
const MIN_GAPS: u64 = 4;

/// At least this share of the closed requests of the targets follows the gap: a leak beside something
/// louder. With less, what is louder may be what makes the gap.
const MIN_SHARE: f64 = 0.2;

/// How likely chance may make such a pile-up, over all places where one was looked for.
const CHANCE: f64 = 1e-4;

/// Timers that are told apart: a deploy with another setting, a pool of old and new servers.
const MAX_TIMERS: usize = 3;

/// What the pauses before the closed requests show.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeepAlive {
    /// The timers, most gaps first. Empty when none shows.
    pub timers: Vec<Timer>,
    /// Closed requests whose pauses are known.
    pub known: u64,
    /// Closed requests whose pauses are not known.
    pub unknown: u64,
    /// When no timer shows: how many known pauses would have shown one in this traffic; `None` when the
    /// traffic is so dense that no number would.
    pub needed: Option<u64>,
    /// The same for a timer that is looked at once a second only.
    pub needed_for_scattered: Option<u64>,
    /// The pauses before the closed requests beside those before healthy ones.
    pub comparison: Option<Comparison>,
    /// The closed requests of the timers are for few kinds of paths, far more than the traffic has: then a
    /// client that asks for them in a fixed time after another request explains the gap as well.
    pub is_confounded: bool,
}

/// Pauses since the latest answer: those before closed requests beside those before healthy ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The median pause before a closed request, seconds.
    pub closed: f64,
    /// The median pause before a healthy one, seconds.
    pub healthy: f64,
    /// How likely chance alone makes the closed ones longer by so much, 0 to 1.
    pub chance: f64,
}

impl Comparison {
    /// The pauses differ no more than chance makes them differ often: one in five.
    pub fn is_alike(&self) -> bool {
        0.2 <= self.chance
    }

    /// The closed requests came after longer pauses, and that is no chance: one in a thousand.
    pub fn is_longer(&self) -> bool {
        self.chance <= 1e-3 && self.healthy < self.closed
    }
}

/// A keep-alive timeout that the pauses show.
#[derive(Debug, Clone, PartialEq)]
pub struct Timer {
    /// The timeout.
    pub estimate: KeepAliveEstimate,
    /// The shortest and the longest gap that support it, seconds.
    pub first: f64,
    /// See `first`.
    pub last: f64,
    /// Closed requests of the same targets with known pauses.
    pub of: u64,
    /// The share of healthy requests at about the same times that follow such a gap too, 0 to 1.
    pub healthy_share: f64,
    /// The gaps are those to the latest answer; else to any earlier one.
    pub is_latest: bool,
    /// The targets that the closed requests were sent to.
    pub targets: Vec<Arc<str>>,
}

/// How far outside the gaps of a timer another gap may lie and still be the same timer, seconds: the
/// granularity of a server's timer that few gaps do not show whole.
const TOLERANCE_SECONDS: f64 = 0.1;

impl Timer {
    /// Whether a request with these gaps fits the timer.
    pub fn explains(&self, target: &str, gaps: &[f32]) -> bool {
        let slack = TOLERANCE_SECONDS.max(self.estimate.best - self.estimate.low);
        let (from, to) = (self.first - slack, self.last + slack);
        self.targets.iter().any(|it| **it == *target)
            && gaps.iter().any(|gap| (from..=to).contains(&f64::from(*gap)))
    }
}

/// The early closed requests of which it was chance that they were hit. Requests for paths that fail each time
/// are left out: their connections close for a reason of their own, and a client that asks for such a path in a
/// fixed time after another would make a pile of its own. So are requests that were closed one after the other:
/// before each of them lies an answer, and the same one, from the time in which the target still gave some.
pub(super) fn closed_by_chance<'a>(
    pauses: &'a Pauses,
    failing_paths: &[Arc<str>],
    streaks: &[Streak],
) -> Vec<&'a Pause> {
    let fails_each_time =
        |pause: &&Pause| pause.path.as_ref().is_some_and(|path| failing_paths.contains(path));
    let in_a_row = |pause: &&Pause| streaks.iter().any(|streak| streak.has_pause(pause));
    let closed = pauses.closed_early.iter();
    closed.filter(|pause| !fails_each_time(pause) && !in_a_row(pause)).collect()
}

impl KeepAlive {
    /// The timeout that most gaps support.
    pub fn estimate(&self) -> Option<KeepAliveEstimate> {
        self.timers.first().map(|timer| timer.estimate)
    }

    /// A timer would show in so many pauses, and none does. One that fires within a second of its time
    /// may hide in pauses where an exact one would show; but then they are longer than others.
    pub fn is_ruled_out(&self) -> bool {
        let enough = |needed: Option<u64>| needed.is_some_and(|needed| needed <= self.known);
        let alike = self.comparison.as_ref().is_some_and(Comparison::is_alike);
        self.timers.is_empty()
            && (enough(self.needed_for_scattered) || (enough(self.needed) && alike))
    }

    /// What the pauses show. Requests for paths that fail each time, and those that were closed one after the
    /// other, are left out: they say nothing of a timer.
    pub fn of(pauses: &Pauses, failing_paths: &[Arc<str>], streaks: &[Streak]) -> Self {
        let mut closed = closed_by_chance(pauses, failing_paths, streaks);
        let comparison = compare(&closed, &pauses.healthy);
        let known = closed.len() as u64;
        let mut timers: Vec<Timer> = Vec::new();
        while timers.len() < MAX_TIMERS {
            let Some(timer) = timer(&closed, &pauses.healthy) else { break };
            let before = closed.clone();
            closed.retain(|pause| !timer.explains(&pause.target, &pause.gaps));
            let parts = by_setting(&timer, &before);
            match timers.iter_mut().find(|it| it.is_beside(&timer)) {
                Some(same) if parts.is_empty() => same.join(&timer),
                _ if parts.is_empty() => timers.push(timer),
                _ => timers.extend(parts),
            }
        }
        timers.sort_by_key(|timer| std::cmp::Reverse(timer.estimate.gaps));
        let [needed, needed_for_scattered] =
            [EXACT_WIDTH, SCATTERED_WIDTH].map(|width| needed(&pauses.healthy, width));
        let unknown = pauses.unknown;
        let is_confounded = false;
        Self { timers, known, unknown, needed, needed_for_scattered, comparison, is_confounded }
    }
}

/// Timers of servers that look once a second scatter over a second.
const BESIDE_SECONDS: f64 = 1.0;

impl Timer {
    /// The same setting, whose gaps scatter further than one pile.
    fn is_beside(&self, other: &Self) -> bool {
        let shared = other.targets.iter().any(|target| self.targets.contains(target));
        let (from, to) = (self.first.min(other.first), self.last.max(other.last));
        shared && to - from <= 2.0 * BESIDE_SECONDS
    }

    fn join(&mut self, other: &Self) {
        let (a, b) = (self.estimate, other.estimate);
        self.estimate = KeepAliveEstimate {
            low: a.low.min(b.low),
            best: a.best.min(b.best),
            high: a.high.max(b.high),
            gaps: a.gaps + b.gaps,
        };
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.healthy_share += other.healthy_share;
        self.of = self.of.max(a.gaps + b.gaps);
        for target in &other.targets {
            if !self.targets.contains(target) {
                self.targets.push(Arc::clone(target));
            }
        }
        self.targets.sort();
    }
}

/// Settings closer than this are not told apart, seconds: an exact timer scatters less.
const APART_SECONDS: f64 = 0.3;

/// A target shows a setting of its own in so many gaps.
const MIN_GAPS_OF_ONE: usize = 3;

/// The parts of a wide pile whose targets have different settings, one for each setting; none when it is
/// one setting that scatters.
fn by_setting(timer: &Timer, closed: &[&Pause]) -> Vec<Timer> {
    let within = |pause: &Pause| {
        let gaps = gaps(pause, timer.is_latest).iter().map(|gap| f64::from(*gap));
        gaps.into_iter().find(|gap| (timer.first..=timer.last).contains(gap))
    };
    let mut of_each: Vec<(Vec<f64>, Vec<Arc<str>>)> = Vec::new();
    for target in &timer.targets {
        let own = closed.iter().filter(|pause| pause.target == *target);
        let mut own: Vec<f64> = own.filter_map(|pause| within(pause)).collect();
        own.sort_by(f64::total_cmp);
        of_each.push((own, vec![Arc::clone(target)]));
    }
    of_each.sort_by(|(a, _), (b, _)| {
        let first = |gaps: &[f64]| gaps.first().copied().unwrap_or(f64::INFINITY);
        first(a).total_cmp(&first(b))
    });
    let mut settings: Vec<(Vec<f64>, Vec<Arc<str>>)> = Vec::new();
    for (own, targets) in of_each {
        match settings.last_mut() {
            Some((gaps, names))
                if own.first().zip(gaps.last()).is_none_or(|(a, b)| *a < b + APART_SECONDS) =>
            {
                gaps.extend(own);
                gaps.sort_by(f64::total_cmp);
                names.extend(targets);
            }
            _ => settings.push((own, targets)),
        }
    }
    if settings.len() < 2 || settings.iter().any(|(gaps, _)| gaps.len() < MIN_GAPS_OF_ONE) {
        return Vec::new();
    }
    let part = |(gaps, targets): (Vec<f64>, Vec<Arc<str>>)| {
        let of = closed.iter().filter(|pause| targets.contains(&pause.target)).count() as u64;
        Some(Timer {
            estimate: interval(&gaps)?,
            first: *gaps.first()?,
            last: *gaps.last()?,
            of,
            healthy_share: timer.healthy_share,
            is_latest: timer.is_latest,
            targets,
        })
    };
    settings.into_iter().filter_map(part).collect()
}

/// A pile-up that chance does not make.
struct Pile {
    from: f64,
    width: f64,
    is_latest: bool,
    healthy_share: f64,
    luck: f64,
}

/// The clearest timer among the closed requests.
fn timer(closed: &[&Pause], healthy: &[Pause]) -> Option<Timer> {
    let pile = [true, false]
        .into_iter()
        .filter_map(|is_latest| pile(closed, healthy, is_latest))
        .min_by(|a, b| a.luck.total_cmp(&b.luck))?;
    let within = |pause: &&&Pause| {
        let gaps = gaps(pause, pile.is_latest).iter().map(|gap| f64::from(*gap));
        gaps.clone().find(|gap| (pile.from..=pile.from + pile.width).contains(gap))
    };
    let hits: Vec<(f64, &Pause)> =
        closed.iter().filter_map(|pause| Some((within(&pause)?, *pause))).collect();
    let mut seconds: Vec<f64> = hits.iter().map(|(gap, _)| *gap).collect();
    seconds.sort_by(f64::total_cmp);
    let mut targets: Vec<Arc<str>> =
        hits.iter().map(|(_, pause)| Arc::clone(&pause.target)).collect();
    targets.sort();
    targets.dedup();
    let of = closed.iter().filter(|pause| targets.contains(&pause.target)).count();
    let (first, last) = (*seconds.first()?, *seconds.last()?);
    if (hits.len() as f64) < MIN_SHARE * of as f64 {
        return None;
    }
    Some(Timer {
        estimate: interval(&seconds)?,
        first,
        last,
        of: of as u64,
        healthy_share: pile.healthy_share,
        is_latest: pile.is_latest,
        targets,
    })
}

/// The timeout from the gaps that support it. The connection was closed when it had been idle for the
/// timeout, and the request met it a moment later: so the timeout lies just below the shortest gap. By
/// how much at most, the gaps themselves show: of n evenly spread over a range, the first lies further
/// above its start than range × (0.02^(-1/(n-1)) - 1) in one case of fifty. Twice the range is never
/// exceeded: so few gaps show no more.
fn interval(gaps: &[f64]) -> Option<KeepAliveEstimate> {
    let (first, last) = (*gaps.first()?, *gaps.last()?);
    let range = last - first;
    let n = gaps.len() as f64;
    let below = range * (0.02_f64.powf(-1.0 / (n - 1.0).max(1.0)) - 1.0).min(2.0);
    let low = (first - below.max(NOTICE_SECONDS)).max(0.0);
    Some(KeepAliveEstimate { low, best: first, high: last, gaps: gaps.len() as u64 })
}

/// A load balancer notices the end of a connection some tens of milliseconds late (measured: up to 60), and
/// until then uses it: all the gaps may be as late.
const NOTICE_SECONDS: f64 = 0.03;

fn gaps(pause: &Pause, is_latest: bool) -> &[f32] {
    let kept = if is_latest { 1 } else { pause.gaps.len() };
    pause.gaps.get(..kept).unwrap_or_default()
}

/// The least likely pile-up of gaps.
fn pile(closed: &[&Pause], healthy: &[Pause], is_latest: bool) -> Option<Pile> {
    let of = closed.len() as u64;
    let longest = closed
        .iter()
        .filter_map(|pause| gaps(pause, is_latest).last())
        .fold(0.0, |longest, gap| f64::from(*gap).max(longest));
    if of < MIN_GAPS || longest < MIN_SECONDS {
        return None;
    }
    let mut best: Option<Pile> = None;
    for width in WIDTHS {
        let of_closed = Coverage::of(closed.iter().map(|it| gaps(it, is_latest)), width, longest);
        let of_healthy = Coverage::of(healthy.iter().map(|it| gaps(it, is_latest)), width, longest);
        for (from, hits, healthy_hits) in of_closed.peaks(&of_healthy) {
            if hits < MIN_GAPS {
                continue;
            }
            // One more than was seen: few healthy requests do not make a share of zero.
            let share = (healthy_hits + 1) as f64 / (healthy.len() + 1) as f64;
            let luck = chance::chance(hits, of, share) * places(longest);
            if luck <= CHANCE && best.as_ref().is_none_or(|best| luck < best.luck) {
                best = Some(Pile { from, width, is_latest, healthy_share: share, luck });
            }
        }
    }
    best
}

/// How many different places a pile-up was looked for in.
fn places(longest: f64) -> f64 {
    // Twice: in the latest gaps and in all.
    2.0 * WIDTHS.iter().map(|width| longest / width + 1.0).sum::<f64>()
}

/// Most servers close within a tenth of a second of their time (nginx, Node, Apache, uvicorn: measured).
const EXACT_WIDTH: f64 = 0.15;

/// Some look once a second.
const SCATTERED_WIDTH: f64 = 1.0;

/// How many closed requests would show a timer in this traffic, if four of five followed its gap: the
/// chance that a healthy request has an earlier answer in a given place decides. `None` when it is so
/// high that no number would.
fn needed(healthy: &[Pause], width: f64) -> Option<u64> {
    const SHARE: f64 = 0.8;
    let longest = healthy
        .iter()
        .filter_map(|pause| pause.gaps.last())
        .fold(0.0, |longest, gap| f64::from(*gap).max(longest));
    if healthy.is_empty() || longest < MIN_SECONDS {
        return None;
    }
    let all = Coverage::of(healthy.iter().map(|it| &*it.gaps), width, longest);
    let usual = (all.highest() + 1) as f64 / (healthy.len() + 1) as f64;
    if SHARE <= usual {
        return None;
    }
    (MIN_GAPS..=1000).find(|needed| {
        let hits = (SHARE * *needed as f64).ceil() as u64;
        MIN_GAPS <= hits && chance::chance(hits, *needed, usual) * places(longest) <= CHANCE
    })
}

/// With fewer pauses on either side a comparison shows nothing.
const MIN_COMPARED: [usize; 2] = [5, 20];

/// The two-sample test of Kolmogorov and Smirnov, in one direction; the bound on its chance is theirs for
/// large samples, and high for small ones.
fn compare(closed: &[&Pause], healthy: &[Pause]) -> Option<Comparison> {
    if closed.len() < MIN_COMPARED[0] || healthy.len() < MIN_COMPARED[1] {
        return None;
    }
    let latest = |pauses: &mut dyn Iterator<Item = &Pause>| {
        let mut list: Vec<f64> =
            pauses.filter_map(|pause| pause.gaps.first()).map(|gap| f64::from(*gap)).collect();
        list.sort_by(f64::total_cmp);
        list
    };
    let closed = latest(&mut closed.iter().copied());
    let healthy = latest(&mut healthy.iter());
    let below = |list: &[f64], gap: f64| {
        list.partition_point(|it| *it <= gap) as f64 / list.len().max(1) as f64
    };
    let apart =
        healthy.iter().map(|gap| below(&healthy, *gap) - below(&closed, *gap)).fold(0.0, f64::max);
    // Neighbours of several closed requests stand among the healthy ones more than once.
    let (n, m) = (closed.len() as f64, healthy.len().min(4 * closed.len()) as f64);
    Some(Comparison {
        closed: *closed.get(closed.len() / 2)?,
        healthy: *healthy.get(healthy.len() / 2)?,
        chance: (-2.0 * apart * apart * n * m / (n + m)).exp(),
    })
}

/// A request takes a second now and then, whatever it does: no stop-gap is shorter than two.
const MIN_STOP_GAP_SECONDS: f64 = 2.0;

/// The idle timeout of the load balancer, in whole seconds, that stays below a keep-alive timeout: a
/// stop-gap until the target's is raised. It also cuts requests on which the target stays silent for so
/// long, so there is none unless every request that succeeded took less, and it is five times what 99 of 100
/// of them take: hardly one in ten thousand takes longer.
pub(super) fn stop_gap_seconds(keep_alive: f64, evidence: &Evidence) -> Option<u64> {
    // Timers tick once a second, and long ones are kept less exactly.
    let margin = (keep_alive / 12.0).clamp(1.0, 5.0);
    // The idle timeout is 1 to 4000 seconds.
    // A gap is measured a few milliseconds short.
    let below = (keep_alive.min(4000.0) - margin + 0.1).floor();
    let usual = 5.0 * evidence.success_seconds?.p99 <= below;
    let longest = evidence.paths.iter().filter_map(|path| path.longest_success);
    let all = longest.fold(0.0, f64::max) < below;
    (MIN_STOP_GAP_SECONDS <= below && usual && all).then_some(below as u64)
}

#[cfg(test)]
mod tests;
