//! From the ledger to messages: judge, take the lease, diagnose, publish, mark.
//!
//! Nothing but the record of a target group is changed under a condition. Whoever wants to say something
//! first takes the lease in the record; what was said is marked in it. Between the two anything may
//! happen: an invocation that dies leaves its lease behind, and after it whoever comes says it. So nothing
//! is lost, and a message is said twice only when its sender dies between publishing and marking.

use std::collections::BTreeSet;

use super::{Failure, FailureKind, Invocation, measuring::Measuring};
use crate::{
    access_log::ObjectKey,
    config::Config,
    detection::{Detector, Kind, spikes::WindowRange},
    diagnosis::{Diagnosis, Gap, Phase, diagnose, incident_id, is_told},
    incident::{
        Lease, Observation, Record, Settings, Speak,
        attribution::Attributed,
        choice::{self, MAX_DETAILS_BYTES},
        judge::{self, first_needed},
        observation::{objects_and_nodes, reading, windows_of},
        start_of, trickle, window_of, words,
    },
    notification,
    ports::{Configuration, Ledger, LedgerError, Notifier, Saved},
};

/// A target group as a record names it.
type TargetGroup = Option<String>;

/// So often another copy may be faster in one invocation. Each that was has seen what this one kept, or
/// will be told of it by the next.
const MAX_LOST_ROUNDS: usize = 16;

/// So often a target group is looked at in one invocation, at most: all incidents of a day, each opened,
/// changed twice and resolved. What is left is said with the next object.
const MAX_ROUNDS: usize = 288;

/// Windows after the present one that are read: the clock of a load balancer may be ahead.
const WINDOWS_AHEAD: i64 = 2;

/// Says what is to be said of one load balancer.
pub(super) struct Teller<'a, C, L, N> {
    pub(super) invocation: &'a Invocation<'a>,
    /// Microseconds since 1970.
    pub(super) now: i64,
    pub(super) config: &'a Config,
    pub(super) configuration: &'a C,
    pub(super) ledger: &'a L,
    pub(super) notifier: &'a N,
    pub(super) measuring: Measuring<'a>,
    /// Why the ledger proper could not be asked: then `ledger` holds the objects of this event alone.
    pub(super) unmerged: Option<&'a LedgerError>,
}

/// What was said, and what was not.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Messages published.
    pub(super) published: u64,
    /// Messages that were not taken.
    pub(super) failures: Vec<Failure>,
    /// The target groups of which something was said.
    pub(super) groups: BTreeSet<TargetGroup>,
}

/// What follows from one attempt to say something.
enum Next {
    Again,
    /// Another copy was faster.
    Lost,
    Enough,
}

impl<C: Configuration, L: Ledger, N: Notifier> Teller<'_, C, L, N> {
    /// Looks at every target group that failed in `own` or of which an incident is open, except for
    /// those of which something was `said` already.
    ///
    /// # Errors
    /// When the ledger did not answer. What was said until then stands in `said`.
    pub(super) async fn tell(
        &self,
        load_balancer: &str,
        own: &[&Observation],
        said: &mut Said,
    ) -> Result<(), LedgerError> {
        let settings = self.settings();
        let oldest = window_of(self.now.saturating_sub(settings.max_age));
        let mut failing: BTreeSet<TargetGroup> = BTreeSet::new();
        let mut first_new = None;
        for it in own.iter().filter(|it| oldest <= it.window) {
            for group in it.groups.iter().filter(|group| 0 < group.counts.failures) {
                failing.insert(group.target_group.as_deref().map(ToOwned::to_owned));
                first_new = Some(first_new.map_or(it.window, |first: i64| first.min(it.window)));
            }
        }
        let mut records = self.ledger.records(load_balancer).await?;
        records.iter_mut().for_each(|record| look_again(record, own));
        let active = records.iter().filter(|it| it.is_active()).map(|it| it.target_group.clone());
        let of_group = |group: &TargetGroup| records.iter().find(|it| it.target_group == *group);
        // Whoever holds the lease looks again when it is done, and sees what was kept before that.
        let is_left_to_another =
            |group: &TargetGroup| of_group(group).is_some_and(|it| self.is_left_to_another(it));
        let groups: BTreeSet<TargetGroup> = (failing.iter().cloned().chain(active))
            .filter(|group| !said.groups.contains(group) && !is_left_to_another(group))
            .collect();
        if groups.is_empty() {
            return Ok(());
        }
        let needed = groups.iter().map(|group| first_needed(of_group(group), first_new)).min();
        let observations =
            self.observations(load_balancer, needed.unwrap_or_else(|| window_of(self.now))).await?;
        for group in groups {
            let record = of_group(&group)
                .cloned()
                .unwrap_or_else(|| Record::new(load_balancer, group.as_deref()));
            let record = self.spikes(record, &observations, own, first_new, said).await?;
            if failing.contains(&group)
                && self.unmerged.is_none()
                && self.trickle(record, said).await?
            {
                // Others have left to this copy what they saw meanwhile.
                let mut record = self.record(load_balancer, group.as_deref()).await?;
                look_again(&mut record, own);
                let first = first_needed(Some(&record), first_new);
                let observations = self.observations(load_balancer, first).await?;
                self.spikes(record, &observations, own, first_new, said).await?;
            }
        }
        Ok(())
    }

    fn is_left_to_another(&self, record: &Record) -> bool {
        record.is_leased_to_another(self.invocation.owner, self.now)
    }

    fn settings(&self) -> Settings {
        self.config.incident_settings()
    }

    async fn observations(
        &self,
        load_balancer: &str,
        first: i64,
    ) -> Result<Vec<Observation>, LedgerError> {
        let last = window_of(self.now).saturating_add(WINDOWS_AHEAD);
        self.ledger.observations(load_balancer, first..=last).await
    }

    /// Says everything that is due of the spikes of a target group, and returns its record.
    async fn spikes(
        &self,
        mut record: Record,
        observations: &[Observation],
        own: &[&Observation],
        first_new: Option<i64>,
        said: &mut Said,
    ) -> Result<Record, LedgerError> {
        let settings = self.settings();
        let mut windows = windows_of(observations, record.target_group.as_deref());
        let mut lost = 0;
        for _ in 0..MAX_ROUNDS {
            if MAX_LOST_ROUNDS <= lost || self.is_left_to_another(&record) {
                break;
            }
            let judgement = judge::judge(self.now, &windows, &record, &settings);
            let next = match judgement.speak {
                None if judgement.record == record && record.lease.is_none() => return Ok(record),
                None => {
                    // A lease that is still there was left by a copy that died. Until it is given back
                    // others may leave to it what they saw: so it is looked once more.
                    let was_leased = record.lease.is_some();
                    let mut changed = judgement.record;
                    changed.lease = None;
                    match self.save(changed).await? {
                        Some(saved) if !was_leased => return Ok(saved),
                        Some(_) => Next::Again,
                        None => Next::Lost,
                    }
                }
                Some(speak) => self.speak(judgement.record, speak, &windows, said).await?,
            };
            let group = record.target_group.clone();
            record = self.record(&record.load_balancer, group.as_deref()).await?;
            look_again(&mut record, own);
            match next {
                Next::Again => lost = 0,
                Next::Lost => lost += 1,
                Next::Enough => return Ok(record),
            }
            let first = first_needed(Some(&record), first_new);
            let observations = self.observations(&record.load_balancer, first).await?;
            windows = windows_of(&observations, group.as_deref());
        }
        if !self.is_left_to_another(&record) {
            tracing::warn!(
                load_balancer = record.load_balancer,
                target_group = record.target_group,
                lost,
                "looked at often enough; what is left is said with the next object"
            );
        }
        Ok(record)
    }

    /// The record as it is now.
    async fn record(
        &self,
        load_balancer: &str,
        target_group: Option<&str>,
    ) -> Result<Record, LedgerError> {
        let mut records = self.ledger.records(load_balancer).await?;
        let at = records.iter().position(|it| it.target_group.as_deref() == target_group);
        Ok(at.map_or_else(
            || Record::new(load_balancer, target_group),
            |index| records.swap_remove(index),
        ))
    }

    /// Saves the record as its next version; `None` when another copy was faster.
    async fn save(&self, mut record: Record) -> Result<Option<Record>, LedgerError> {
        record.version = record.version.saturating_add(1);
        match self.ledger.save(&record).await? {
            Saved::Saved => Ok(Some(record)),
            Saved::Conflict => Ok(None),
        }
    }

    /// Saves the record, and counts what it attributes under the causes of the diagnosis, unless another
    /// copy was faster: that one counts it. Without the ledger proper nothing is counted: the retry does.
    async fn save_attributed(
        &self,
        record: Record,
        diagnosis: &Diagnosis,
        attributed: &Attributed,
    ) -> Result<Option<Record>, LedgerError> {
        let saved = self.save(record).await?;
        if saved.is_some() && self.unmerged.is_none() {
            self.measuring.attributed(diagnosis, attributed);
        }
        Ok(saved)
    }

    fn lease(&self) -> Option<Lease> {
        let owner = self.invocation.owner.to_owned();
        Some(Lease { owner, until: self.invocation.lease_until })
    }

    /// Takes the lease, diagnoses, publishes and marks.
    async fn speak(
        &self,
        mut record: Record,
        speak: Speak,
        windows: &crate::incident::GroupWindows,
        said: &mut Said,
    ) -> Result<Next, LedgerError> {
        let settings = self.settings();
        record.lease = self.lease();
        let Some(mut record) = self.save(record).await? else { return Ok(Next::Lost) };
        let Some(open) = record.open.clone() else { return Ok(Next::Enough) };
        let range = (open.first, open.last);
        let diagnosed = self.diagnosis(&record, range, Kind::Spike, &[]).await?;
        record.lease = None;
        let Some((mut diagnosis, seen)) = diagnosed else {
            tracing::error!(incident_id = open.id, "an incident without observations is given up");
            record.open = None;
            self.save(record).await?;
            return Ok(Next::Enough);
        };
        // By itself it would have the id of its first window, and late objects may have moved that.
        diagnosis.incident_id.clone_from(&open.id);
        let (cause, confidence) = match diagnosis.causes.first() {
            Some(cause) => (cause.id.clone(), cause.confidence),
            None => ("undetermined".to_owned(), crate::diagnosis::Confidence::Low),
        };
        let mut attributed = record.attribute(self.now, windows);
        record.reviewed(self.now, windows, &settings);
        if speak == Speak::Review && !record.is_news(&cause, confidence) {
            self.save_attributed(record, &diagnosis, &attributed).await?;
            return Ok(Next::Again);
        }
        let mut status = match self.unmerged {
            Some(_) => words::unmerged(seen.0),
            None => words::status(speak, &open, seen),
        };
        let mut rate = diagnosis.rate;
        if let Some(requests) = judge::usual_requests(self.now, windows, &open) {
            rate = rate.min(diagnosis.failures as f64 / requests as f64);
            status.push_str(&words::beside_usual(requests, rate));
            diagnosis = diagnosis.tempered(rate);
        }
        let diagnosis = diagnosis.in_phase(&open.id, words::phase(speak), status);
        said.groups.insert(record.target_group.clone());
        if let Err(failure) = self.publish(&diagnosis).await {
            said.failures.push(failure);
            // Nobody was told: the lease goes back, and whoever comes next tells it.
            self.save_attributed(record, &diagnosis, &attributed).await?;
            return Ok(Next::Enough);
        }
        said.published += 1;
        record.told(self.now, windows, &settings, rate, &cause);
        if diagnosis.phase == Phase::Resolved {
            attributed.extend(record.attribute_rest(diagnosis.failures));
            record.close(self.now, settings.max_age);
        }
        if self.save_attributed(record, &diagnosis, &attributed).await?.is_none() {
            tracing::warn!(
                incident_id = open.id,
                "published, but another copy took the lease over"
            );
        }
        // By itself an event knows no end of anything.
        Ok(if self.unmerged.is_some() { Next::Enough } else { Next::Again })
    }

    /// Looks for a trickle in the day that ends now, at most once an hour, and tells it at most once a
    /// day. True when it held the lease meanwhile.
    async fn trickle(&self, mut record: Record, said: &mut Said) -> Result<bool, LedgerError> {
        if !trickle::is_due(self.now, &record) || self.is_left_to_another(&record) {
            return Ok(false);
        }
        let (load_balancer, group) = (record.load_balancer.clone(), record.target_group.clone());
        record.trickle_judged_at = Some(self.now);
        record.lease = self.lease();
        let Some(mut record) = self.save(record).await? else { return Ok(false) };
        record.lease = None;
        let day = self.ledger.observations(&load_balancer, trickle::day(self.now)).await?;
        let windows = windows_of(&day, group.as_deref());
        if let Some((range, spikes)) = trickle::find(&windows, &self.settings())
            && let Some((diagnosis, seen)) =
                self.diagnosis(&record, range, Kind::Trickle, &spikes).await?
            && is_told(&diagnosis)
        {
            let start = start_of(range.0);
            let id = incident_id(&load_balancer, group.as_deref(), Kind::Trickle, start);
            let diagnosis = diagnosis.in_phase(&id, Phase::Opened, words::trickle(seen));
            said.groups.insert(group);
            match self.publish(&diagnosis).await {
                Ok(()) => {
                    said.published += 1;
                    record.trickle_told_at = Some(self.now);
                    let attributed = record.attribute_trickle(self.now, &windows, range, &spikes);
                    self.save_attributed(record, &diagnosis, &attributed).await?;
                    return Ok(true);
                }
                Err(failure) => {
                    said.failures.push(failure);
                    record.trickle_judged_at = None;
                }
            }
        }
        self.save(record).await?;
        Ok(true)
    }

    /// Diagnoses an incident from everything that the ledger holds of it, with the number of its objects
    /// and nodes. `None` when it holds nothing.
    async fn diagnosis(
        &self,
        record: &Record,
        range: WindowRange,
        kind: Kind,
        spikes: &[WindowRange],
    ) -> Result<Option<(Diagnosis, (u64, u64))>, LedgerError> {
        let (load_balancer, group) = (&*record.load_balancer, record.target_group.as_deref());
        let around = choice::windows_around(range);
        let observations = self.ledger.observations(load_balancer, around).await?;
        let (chosen, left_out) = choice::choose(&observations, group, range, MAX_DETAILS_BYTES);
        let chosen: Vec<&Observation> =
            chosen.into_iter().filter_map(|index| observations.get(index)).collect();
        let details = self.ledger.details(&chosen).await?;
        let mut detector = Detector::new(self.config.thresholds);
        for it in &observations {
            detector.source(&it.object.name(), &ObjectKey::parse(&it.object.key));
            detector.absorb_counts(load_balancer, it.window, it.group(group));
        }
        // The other target groups come second: a detector holds so many windows of all of them, and a long
        // incident of a load balancer with many groups has more.
        for it in &observations {
            let others = it.groups.iter().filter(|it| it.target_group.as_deref() != group);
            detector.absorb_counts(load_balancer, it.window, others);
        }
        let mut lost = left_out;
        for (it, details) in chosen.iter().zip(details) {
            let source = detector.source(&it.object.name(), &ObjectKey::parse(&it.object.key));
            let absorbed = details.map(|details| {
                detector.absorb_details(load_balancer, group, it.window, source, &details)
            });
            match absorbed {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    lost += 1;
                    tracing::error!(object = it.object.name(), %error, "details of an object");
                }
                None => lost += 1,
            }
        }
        let Some(evidence) = detector.evidence(load_balancer, group, range, kind, spikes) else {
            return Ok(None);
        };
        let mut facts = self.configuration.facts(&evidence).await;
        if 0 < lost {
            facts.other_gaps.push(Gap {
                fact: "details of the rows".to_owned(),
                reason: words::lost_details(lost, chosen.len() as u64 + left_out),
                permission: None,
            });
        }
        // An incident begins with a window that fails: when nothing is known of it, its items are deleted.
        let of_group = observations.iter().filter(|it| it.group(group).is_some());
        if let Some(known) = of_group.map(|it| it.window).min().filter(|known| range.0 < *known) {
            let (fact, reason) = words::lost_rows(start_of(known));
            facts.other_gaps.push(Gap { fact, reason, permission: None });
        }
        if let Some(error) = self.unmerged {
            facts.other_gaps.push(Gap {
                fact: "other objects of the incident".to_owned(),
                reason: error.reason.clone(),
                permission: error.permission.map(ToOwned::to_owned),
            });
        }
        let (first, last) = range;
        let reading = reading(observations.iter().filter(|it| (first..=last).contains(&it.window)));
        let seen = objects_and_nodes(&reading);
        Ok(Some((diagnose(&evidence, &facts, &reading), seen)))
    }

    async fn publish(&self, diagnosis: &Diagnosis) -> Result<(), Failure> {
        let message = notification::render(diagnosis, self.config.https_body);
        let published = self.notifier.publish(diagnosis, &message).await;
        let cause = diagnosis.causes.first().map_or("undetermined", |cause| cause.id.as_str());
        let incident_id = &*diagnosis.incident_id;
        match published {
            Ok(()) => {
                tracing::info!(
                    incident_id,
                    phase = diagnosis.phase.as_str(),
                    cause,
                    load_balancer = diagnosis.load_balancer.id,
                    target_group = diagnosis.target_group.as_ref().map(|it| it.name.as_str()),
                    failures = diagnosis.failures,
                    requests = diagnosis.requests,
                    "diagnosis published"
                );
                self.measuring.message(diagnosis);
                Ok(())
            }
            Err(error) => {
                tracing::error!(incident_id, cause, %error, "diagnosis not published");
                Err(Failure {
                    kind: FailureKind::MessageNotPublished,
                    text: format!("diagnosis {incident_id} was not published: {error}"),
                    objects: Vec::new(),
                })
            }
        }
    }
}

/// What this event brings late was not known when the record was saved.
fn look_again(record: &mut Record, own: &[&Observation]) {
    let group = record.target_group.clone();
    for it in own.iter().filter(|it| it.group(group.as_deref()).is_some()) {
        record.look_again_at(it.window);
    }
}
