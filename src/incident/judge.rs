//! The decision: what is to be said of a target group now.

use std::collections::BTreeMap;

use super::{
    COMPLETE_AFTER_MICROS, GroupWindows, Idle, Open, Record, Seen, Told, end_of, is_complete,
    start_of, window_of,
};
use crate::{
    detection::{
        Kind, Thresholds,
        spikes::{self, Ongoing, Tally, WindowRange},
        thresholds::{MAX_JOINED_NEIGHBOURS, QUIET_WINDOWS, WINDOWS_PER_HOUR},
    },
    diagnosis::{Confidence, incident_id},
};

/// Ten times the rate that was told is news: an order of magnitude, not a wave.
pub const CHANGED_FACTOR: f64 = 10.0;

/// An incident closes when its target group had no traffic for so long: a day, so that the quiet night of
/// a service is no end.
pub const NO_TRAFFIC_MICROS: i64 = 86_400_000_000;

/// How many windows before the first one that is judged must be known: the hour of the surge rule, and
/// the neighbours that are joined.
pub const WINDOWS_BEFORE: i64 = WINDOWS_PER_HOUR + MAX_JOINED_NEIGHBOURS;

/// What decides besides the rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// When failures are an incident.
    pub thresholds: Thresholds,
    /// How long an incident that goes on stays silent, microseconds.
    pub cooldown: i64,
    /// Windows that ended longer ago are counted and never told, microseconds.
    pub max_age: i64,
}

/// What is to be said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speak {
    /// A spike that was not told.
    Opened,
    /// A window with far more failures than were told: its start and its rate, 0 to 1.
    Worse {
        /// Microseconds since 1970.
        start: i64,
        /// Failures among the requests of the window.
        rate: f64,
    },
    /// Still failing, and not told for a while.
    Ongoing,
    /// Look again: only another leading cause is said.
    Review,
    /// Three quiet windows.
    Resolved,
    /// No traffic since this time, microseconds since 1970.
    NoTraffic(i64),
}

/// The record as it is to be, and what is to be said. Whoever says it marks it with [`Record::told`].
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// With the windows as they are now known.
    pub record: Record,
    /// `None`: nothing.
    pub speak: Option<Speak>,
}

/// Decides what is to be said of a target group. `windows` are those since [`first_needed`], all objects
/// together, as far as they are known at `now` (microseconds since 1970).
pub fn judge(now: i64, windows: &GroupWindows, record: &Record, settings: &Settings) -> Judgement {
    let mut record = record.clone();
    let tallies = beside_usual(now, windows);
    let oldest = window_of(now.saturating_sub(settings.max_age));
    let spikes = new_spikes(&tallies, &record, oldest, settings);
    // Begun, and no spike any more beside what arrived since. When nobody can have been told it is
    // forgotten; but a lease that was left behind is of a copy that died, perhaps after it had published:
    // what people may have heard of gets its end.
    let is_there = |open: &Open| spikes.iter().any(|it| it.0 <= open.last && open.first <= it.1);
    let nobody_was_told = record.lease.is_none();
    record.open.take_if(|open| {
        open.told.is_none() && !is_there(open) && (nobody_was_told || open.last < oldest)
    });
    if record.open.is_none()
        && let Some(&(first, last)) = spikes.first()
    {
        let group = record.target_group.as_deref();
        let id = incident_id(&record.load_balancer, group, Kind::Spike, start_of(first));
        record.open = Some(Open::new(id, first, last, spikes::usual_rate(&tallies, first)));
    }
    if let Some(open) = &mut record.open {
        record.watched = join(now, windows, open, &spikes);
        let speak = speak(now, windows, &tallies, open, settings);
        if speak.is_none() {
            settle(now, windows, open);
        }
        return Judgement { record, speak };
    }
    let raw: BTreeMap<i64, Tally> =
        windows.iter().map(|(window, it)| (*window, tally(it))).collect();
    let might_be = new_spikes(&raw, &record, oldest, settings);
    record.watched = might_be
        .iter()
        .flat_map(|(first, last)| *first..=*last)
        .rfind(|window| !is_complete(*window, now) && windows.contains_key(window));
    Judgement { record, speak: None }
}

/// Gives the incident the windows of its spikes as they are now known: more, or fewer where a window
/// seemed to be one until all its objects were there. Gives back where a spike long before it begins:
/// its objects were very late, and it is an incident by itself, told when this one is over.
fn join(now: i64, windows: &GroupWindows, open: &mut Open, spikes: &[WindowRange]) -> Option<i64> {
    let (mut before, mut joined) = (None, None::<WindowRange>);
    let idle = open.idle;
    for &(first, last) in spikes {
        if is_apart(now, windows, None, last, open.first) {
            before = before.or(Some(first));
            continue;
        }
        let (joined_first, joined_last) = joined.unwrap_or((first, open.last));
        if is_apart(now, windows, idle.filter(|_| joined_last == open.last), joined_last, first) {
            break;
        }
        let known_last = joined.map_or(last, |_| joined_last.max(last));
        joined = Some((joined_first.min(first), known_last));
    }
    if let Some((first, last)) = joined {
        // Of a long incident the windows are not known back to its beginning; nor are those too old to
        // be told.
        let is_read = windows.first_key_value().is_some_and(|(window, _)| *window <= open.first);
        let is_known = is_short(open) && is_read && first <= open.last;
        open.first = if is_known { first } else { open.first.min(first) };
        if open.last != last {
            open.idle = None;
        }
        open.last = last;
    }
    before
}

/// Remembers what complete windows after the last spike have shown, once an hour: a write that saves each
/// object of this load balancer from reading them.
fn settle(now: i64, windows: &GroupWindows, open: &mut Open) {
    let from = open.idle.map_or(open.last, |idle| idle.until).max(open.last);
    let until = window_of(now.saturating_sub(COMPLETE_AFTER_MICROS)).saturating_sub(1);
    if until < from.saturating_add(WINDOWS_PER_HOUR) {
        return;
    }
    let quiet = quiet(now, windows, open.idle, open.last, until.saturating_add(1));
    let traffic = (windows.range(open.last.saturating_add(1)..=until))
        .rfind(|(_, seen)| 0 < seen.requests)
        .map(|(window, _)| *window)
        .max(open.idle.and_then(|idle| idle.traffic));
    open.idle = Some(Idle { until, quiet, traffic });
}

fn is_short(open: &Open) -> bool {
    open.last.saturating_sub(open.first) <= WINDOWS_PER_HOUR
}

/// The spikes that were not told yet and are not too old.
fn new_spikes(
    tallies: &BTreeMap<i64, Tally>,
    record: &Record,
    oldest: i64,
    settings: &Settings,
) -> Vec<WindowRange> {
    let mut tallies = tallies.clone();
    tallies.retain(|window, _| !record.is_over(*window));
    let ongoing = record
        .open
        .as_ref()
        .map(|open| Ongoing { range: (open.first, open.last), usual_rate: open.usual_rate });
    let mut spikes = spikes::find(&tallies, &settings.thresholds, ongoing);
    spikes.retain(|(_, last)| oldest <= *last);
    spikes
}

/// The first window that has to be known to judge these windows and what the record says.
pub fn first_needed(record: Option<&Record>, first_new: Option<i64>) -> i64 {
    let open = record.and_then(|it| it.open.as_ref());
    let open = open.map(|open| match open.idle {
        Some(idle) => idle.until,
        None if is_short(open) => open.first,
        None => open.last,
    });
    let watched = record.and_then(|it| it.watched);
    // What the others left to a copy that died was of the hour before.
    let lease = record.and_then(|it| it.lease.as_ref());
    let left = lease.map(|it| window_of(it.until).saturating_sub(WINDOWS_PER_HOUR));
    let first = [open, watched, left, first_new].into_iter().flatten().min().unwrap_or(i64::MAX);
    first.saturating_sub(WINDOWS_BEFORE)
}

fn tally(seen: &Seen) -> Tally {
    Tally { requests: seen.requests, failures: seen.failures }
}

/// The windows with the number of requests that is to be believed. Until a window is complete, the first
/// node's object alone would fake a rate: so it has at least as many requests as the last complete window
/// with traffic before it.
fn beside_usual(now: i64, windows: &GroupWindows) -> BTreeMap<i64, Tally> {
    let mut usual = 0;
    let believed = windows.iter().map(|(window, seen)| {
        let mut tally = tally(seen);
        if !is_complete(*window, now) {
            tally.requests = tally.requests.max(usual);
        } else if 0 < tally.requests {
            usual = tally.requests;
        }
        (*window, tally)
    });
    believed.collect()
}

/// How many requests the windows of an incident are believed to have, where objects of other nodes are
/// still to come; `None` where that is less than twice as many as were seen (a rate that is off by less
/// misleads nobody), or the windows are not all known.
pub fn usual_requests(now: i64, windows: &GroupWindows, open: &Open) -> Option<u64> {
    windows.first_key_value().filter(|(first, _)| **first <= open.first)?;
    let of_incident = || windows.range(open.first..=open.last);
    let seen = of_incident().fold(0_u64, |sum, (_, seen)| sum.saturating_add(seen.requests));
    let believed = beside_usual(now, windows);
    let believed = believed
        .range(open.first..=open.last)
        .fold(0_u64, |sum, (_, tally)| sum.saturating_add(tally.requests));
    (seen.saturating_mul(2) <= believed).then_some(believed)
}

/// Complete windows with traffic after `last` and before `end`. Those that are `idle` are counted already.
fn quiet(now: i64, windows: &GroupWindows, idle: Option<Idle>, last: i64, end: i64) -> i64 {
    let first = idle.map_or(last, |idle| idle.until).saturating_add(1);
    let between = windows.range(first..end.max(first));
    let quiet = between.filter(|(window, seen)| is_complete(**window, now) && 0 < seen.requests);
    (quiet.count() as i64).saturating_add(idle.map_or(0, |idle| idle.quiet))
}

/// Whether a spike from `first` on is another incident than one that ended with `last`, after which these
/// windows are `idle`.
fn is_apart(now: i64, windows: &GroupWindows, idle: Option<Idle>, last: i64, first: i64) -> bool {
    // In the time that was idle only a very late object shows a spike.
    let idle = idle.filter(|idle| idle.until < first);
    last.saturating_add(QUIET_WINDOWS) < first
        && QUIET_WINDOWS <= quiet(now, windows, idle, last, first)
}

fn speak(
    now: i64,
    windows: &GroupWindows,
    tallies: &BTreeMap<i64, Tally>,
    open: &Open,
    settings: &Settings,
) -> Option<Speak> {
    let Some(told) = &open.told else { return Some(Speak::Opened) };
    if QUIET_WINDOWS <= quiet(now, windows, open.idle, open.last, i64::MAX) {
        return Some(Speak::Resolved);
    }
    let traffic = windows.iter().rfind(|(_, seen)| 0 < seen.requests).map(|(window, _)| *window);
    let traffic = traffic.max(open.idle.and_then(|idle| idle.traffic));
    let silent_since = end_of(traffic.unwrap_or(open.last).max(open.last));
    if NO_TRAFFIC_MICROS <= now.saturating_sub(silent_since) {
        return Some(Speak::NoTraffic(silent_since));
    }
    if let Some((window, rate)) = worst(tallies, open, settings)
        && CHANGED_FACTOR * told.rate <= rate
    {
        return Some(Speak::Worse { start: start_of(window), rate });
    }
    if settings.cooldown <= now.saturating_sub(told.at) && told.last < open.last {
        return Some(Speak::Ongoing);
    }
    let is_new = |signature: usize| !open.signatures.contains(&signature);
    let changed = latest_signature(windows, open, settings).is_some_and(is_new);
    (changed || open.reviewed < last_complete(now, windows, open)).then_some(Speak::Review)
}

/// The window of the incident with the highest rate, 0 to 1, of those with failures enough for one.
fn worst(tallies: &BTreeMap<i64, Tally>, open: &Open, settings: &Settings) -> Option<(i64, f64)> {
    (tallies.range(open.first..=open.last))
        .filter(|(_, it)| settings.thresholds.min_errors <= it.failures)
        .map(|(window, it)| (*window, it.failures as f64 / it.requests.max(1) as f64))
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

/// The last window of the incident that is complete; the smallest number there is when none is.
fn last_complete(now: i64, windows: &GroupWindows, open: &Open) -> i64 {
    let failing = windows.range(open.first..=open.last).filter(|(_, seen)| 0 < seen.failures);
    failing.rev().map(|(window, _)| *window).find(|it| is_complete(*it, now)).unwrap_or(i64::MIN)
}

/// The signature that leads in the last window of the incident, with failures enough to say so.
fn latest_signature(windows: &GroupWindows, open: &Open, settings: &Settings) -> Option<usize> {
    let seen = windows.get(&open.last)?;
    (settings.thresholds.min_errors <= seen.failures).then(|| seen.leading_signature())?
}

impl Record {
    /// What was diagnosed is remembered, whether or not it was said.
    pub fn reviewed(&mut self, now: i64, windows: &GroupWindows, settings: &Settings) {
        let Some(open) = &mut self.open else { return };
        open.reviewed = open.reviewed.max(last_complete(now, windows, open));
        if let Some(signature) = latest_signature(windows, open, settings)
            && !open.signatures.contains(&signature)
        {
            open.signatures.push(signature);
        }
    }

    /// A message went out, with this rate, 0 to 1, and this leading cause.
    pub fn told(
        &mut self,
        now: i64,
        windows: &GroupWindows,
        settings: &Settings,
        rate: f64,
        cause: &str,
    ) {
        let Some(open) = &mut self.open else { return };
        let worst = worst(&beside_usual(now, windows), open, settings).map_or(rate, |(_, it)| it);
        let before = open.told.as_ref().map_or(0.0, |told| told.rate);
        open.told = Some(Told { at: now, rate: rate.max(worst).max(before), last: open.last });
        if !open.causes.iter().any(|it| it == cause) {
            open.causes.push(cause.to_owned());
        }
    }

    /// Whether this leading cause is news: not told before, and more than a guess.
    pub fn is_news(&self, cause: &str, confidence: Confidence) -> bool {
        let told = self.open.as_ref().map_or(&[][..], |open| &open.causes);
        Confidence::Medium <= confidence && !told.iter().any(|it| it == cause)
    }
}

#[cfg(test)]
mod tests;
