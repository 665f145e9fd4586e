//! What a rehearsal says: each message, how many there would have been, and how near the rest came.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    history::{History, malformed_lines},
    ledger::RehearsalLedger,
};
use crate::{
    config::Config,
    detection::{Kind, thresholds::SURGE_MIN_FAILURES},
    diagnosis::{Confidence, Diagnosis, Phase, SCHEMA_VERSION, Severity, TimeSpan, timestamp},
    incident::{end_of, start_of},
    neutralize,
    notification::wrap::wrap,
    numbers::{amount, count, percent, plural},
    ports::{Ledger as _, LedgerError},
};

/// Everything that is said; as JSON its names may grow, not change.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    schema_version: &'static str,
    tool_version: &'static str,
    history: Extent,
    settings: Settings,
    messages: Vec<Message>,
    totals: Totals,
    still_open: Vec<StillOpen>,
    nearest: Option<Nearest>,
}

#[derive(Debug, Serialize)]
struct Extent {
    /// The time of the five-minute windows; null without a row.
    window: Option<TimeSpan>,
    objects: u64,
    rows: u64,
    malformed: u64,
    load_balancers: u64,
}

#[derive(Debug, Serialize)]
struct Settings {
    min_errors: u64,
    rate_percent: f64,
    surge_factor: f64,
    trickle_errors: u64,
    trickle_per_million: f64,
    include_idle_timeout_504: bool,
    cooldown_minutes: u64,
}

/// One message that would have been sent.
#[derive(Debug, Serialize)]
pub(super) struct Message {
    sent_at: Timestamp,
    incident_id: String,
    kind: Kind,
    phase: Phase,
    severity: Severity,
    load_balancer: String,
    target_group: Option<String>,
    cause: Option<Cause>,
    window: TimeSpan,
    requests: u64,
    failures: u64,
    rate: f64,
    summary: String,
    /// Its ARN, by which target groups of one name are told apart.
    #[serde(skip)]
    target_group_arn: Option<String>,
}

#[derive(Debug, Serialize)]
struct Cause {
    id: String,
    confidence: Confidence,
}

#[derive(Debug, Serialize)]
struct Totals {
    messages: u64,
    incidents: u64,
    trickles: u64,
    by_phase: ByPhase,
    by_day: Vec<Day>,
    /// Five-minute windows of a load balancer with rows in them.
    windows: u64,
    /// Those that are in no spike that was told.
    quiet_windows: u64,
}

/// The messages about spikes.
#[derive(Debug, Default, Serialize)]
struct ByPhase {
    opened: u64,
    changed: u64,
    ongoing: u64,
    resolved: u64,
}

#[derive(Debug, Serialize)]
struct Day {
    day: String,
    messages: u64,
}

#[derive(Debug, Serialize)]
struct StillOpen {
    incident_id: String,
    load_balancer: String,
    target_group: Option<String>,
    since: Timestamp,
}

/// The window that came nearest to a spike without being one.
#[derive(Debug, Serialize)]
struct Nearest {
    load_balancer: String,
    target_group: Option<String>,
    window: TimeSpan,
    requests: u64,
    failures: u64,
    rate: f64,
}

impl Message {
    pub(super) fn of(now: i64, diagnosis: &Diagnosis) -> Self {
        let group = diagnosis.target_group.as_ref();
        Self {
            sent_at: timestamp(now),
            incident_id: diagnosis.incident_id.clone(),
            kind: diagnosis.kind,
            phase: diagnosis.phase,
            severity: diagnosis.severity,
            load_balancer: diagnosis.load_balancer.id.clone(),
            target_group: group.map(|it| it.name.clone()),
            cause: diagnosis
                .causes
                .first()
                .map(|it| Cause { id: it.id.clone(), confidence: it.confidence }),
            window: diagnosis.window,
            requests: diagnosis.requests,
            failures: diagnosis.failures,
            rate: diagnosis.rate,
            summary: diagnosis.summary.clone(),
            target_group_arn: group.map(|it| it.arn.clone()),
        }
    }

    fn write(&self, out: &mut String) {
        let phase = match self.kind {
            Kind::Spike => self.phase.as_str(),
            Kind::Trickle => "trickle",
        };
        let severity = match self.severity {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        let sent = self.sent_at.strftime("%Y-%m-%d %H:%M");
        let of = named(self.target_group.as_deref(), &self.load_balancer);
        out.push_str(&format!("{sent}  {phase:<8}  {severity:<8}  "));
        out.push_str(&neutralize::line(&of));
        out.push('\n');
        let cause = match &self.cause {
            None => "no cause".to_owned(),
            Some(Cause { id, confidence }) => {
                let sure = match confidence {
                    Confidence::High => "high",
                    Confidence::Medium => "medium",
                    Confidence::Low => "low",
                };
                format!("{id}, {sure} confidence")
            }
        };
        let failed = failed(self.failures, self.requests, self.rate);
        wrap(INDENT, &format!("{cause}; {failed}; {}", self.incident_id), out);
    }
}

/// The windows of a spike of one target group.
struct Spike {
    target_group: Option<String>,
    /// Microseconds since 1970.
    start: i64,
    end: i64,
}

impl Spike {
    fn of(message: &Message) -> Self {
        let TimeSpan { start, end } = message.window;
        Self {
            target_group: message.target_group_arn.clone(),
            start: start.as_microsecond(),
            end: end.as_microsecond(),
        }
    }

    fn holds(&self, window: i64) -> bool {
        self.start < end_of(window) && start_of(window) < self.end
    }
}

/// Below the time and the phase.
const INDENT: &str = "                  ";

fn failed(failures: u64, requests: u64, rate: f64) -> String {
    format!("{} of {} failed ({})", count(failures), plural(requests, "request"), percent(rate))
}

/// The target group with its load balancer, by their names: each has 32 characters at most.
fn named(target_group: Option<&str>, load_balancer: &str) -> String {
    let balancer = load_balancer.split('/').nth(1).unwrap_or(load_balancer);
    match target_group {
        Some(group) if group.chars().count() + balancer.chars().count() <= 36 => {
            format!("{group} of {balancer}")
        }
        Some(group) => group.to_owned(),
        None => balancer.to_owned(),
    }
}

/// The name in the ARN of a target group.
fn name_of(arn: Option<&str>) -> Option<String> {
    arn.map(|arn| arn.split('/').nth(1).unwrap_or(arn).to_owned())
}

fn span(first: i64, last: i64) -> TimeSpan {
    TimeSpan { start: timestamp(start_of(first)), end: timestamp(end_of(last)) }
}

impl Report {
    pub(super) async fn of(
        history: &History,
        ledger: &RehearsalLedger,
        config: &Config,
        messages: Vec<Message>,
    ) -> Result<Self, LedgerError> {
        let thresholds = config.thresholds;
        let sums = ledger.sums();
        let (mut rows, mut malformed) = (0, history.malformed);
        let mut extent: Option<(i64, i64)> = None;
        let (mut windows, mut quiet_windows) = (0, 0);
        let mut still_open = Vec::new();
        let mut nearest: Option<(f64, Nearest)> = None;
        for (name, sums) in &sums {
            malformed += sums.malformed;
            let with_rows = sums.windows();
            if let (Some(first), Some(last)) = (with_rows.first(), with_rows.last()) {
                extent = Some(match extent {
                    None => (*first, *last),
                    Some((from, to)) => (from.min(*first), to.max(*last)),
                });
            }
            let spikes_told =
                messages.iter().filter(|it| it.kind == Kind::Spike && it.load_balancer == *name);
            let mut spikes: Vec<Spike> = spikes_told.map(Spike::of).collect();
            // What came after the last message about it is in no message.
            for record in ledger.records(name).await? {
                if let Some(open) = record.open.filter(|open| open.told.is_some()) {
                    spikes.push(Spike {
                        target_group: record.target_group.clone(),
                        start: start_of(open.first),
                        end: end_of(open.last),
                    });
                    still_open.push(StillOpen {
                        incident_id: open.id,
                        load_balancer: name.clone(),
                        target_group: name_of(record.target_group.as_deref()),
                        since: timestamp(start_of(open.first)),
                    });
                }
            }
            windows += with_rows.len() as u64;
            quiet_windows += with_rows
                .iter()
                .filter(|window| !spikes.iter().any(|it| it.holds(**window)))
                .count() as u64;
            for (group, of_group) in &sums.groups {
                let group = group.as_deref();
                for (&window, seen) in of_group {
                    rows += seen.requests.saturating_add(seen.intentional_502);
                    let is_spike = spikes
                        .iter()
                        .any(|it| it.target_group.as_deref() == group && it.holds(window));
                    let rate = seen.failures as f64 / seen.requests.max(1) as f64;
                    let near = (seen.failures as f64 / thresholds.min_errors as f64)
                        .min(rate * 100.0 / thresholds.rate_percent);
                    let is_nearest = 0.0 < near
                        && near < 1.0
                        && nearest.as_ref().is_none_or(|(other, _)| *other < near);
                    if !is_spike && is_nearest {
                        let found = Nearest {
                            load_balancer: name.clone(),
                            target_group: name_of(group),
                            window: span(window, window),
                            requests: seen.requests,
                            failures: seen.failures,
                            rate,
                        };
                        nearest = Some((near, found));
                    }
                }
            }
        }
        let totals = Totals::of(&messages, windows, quiet_windows);
        Ok(Self {
            schema_version: SCHEMA_VERSION,
            tool_version: env!("CARGO_PKG_VERSION"),
            history: Extent {
                window: extent.map(|(first, last)| span(first, last)),
                objects: history.deliveries.len() as u64,
                rows,
                malformed,
                load_balancers: sums.len() as u64,
            },
            settings: Settings {
                min_errors: thresholds.min_errors,
                rate_percent: thresholds.rate_percent,
                surge_factor: thresholds.surge_factor,
                trickle_errors: thresholds.trickle_errors,
                trickle_per_million: thresholds.trickle_per_million,
                include_idle_timeout_504: thresholds.include_idle_timeout_504,
                cooldown_minutes: config.cooldown_minutes,
            },
            messages,
            totals,
            still_open,
            nearest: nearest.map(|(_, found)| found),
        })
    }

    /// For people, in 78 columns.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        self.write_history(&mut out);
        if self.messages.is_empty() {
            out.push_str("\nNo message would have been sent.\n");
        } else {
            out.push_str("\nMESSAGES THAT WOULD HAVE BEEN SENT (UTC)\n");
        }
        for message in &self.messages {
            message.write(&mut out);
        }
        self.write_totals(&mut out);
        out
    }

    fn write_history(&self, out: &mut String) {
        let Extent { window, objects, rows, malformed, load_balancers } = &self.history;
        let Some(window) = window else {
            let objects = plural(*objects, "object");
            return wrap(
                "",
                &format!("Nothing to rehearse: no row of an access log in {objects}."),
                out,
            );
        };
        let history = format!(
            "{} to {} UTC: {}, {}, {}.",
            window.start.strftime("%Y-%m-%d %H:%M"),
            window.end.strftime("%Y-%m-%d %H:%M"),
            plural(*load_balancers, "load balancer"),
            plural(*objects, "object"),
            plural(*rows, "row"),
        );
        wrap("History     ", &history, out);
        if let Some(lines) = malformed_lines(*malformed) {
            wrap("            ", &format!("{lines}."), out);
        }
        let it = &self.settings;
        let idle = if it.include_idle_timeout_504 {
            ", the 504 after the idle timeout included"
        } else {
            ""
        };
        let thresholds = format!(
            "{} and {} % of the requests of a target group in five minutes, or {} and {} times the rate \
             of the hour before; a trickle from {} and {} per million a day on; again after {}{idle}.",
            plural(it.min_errors, "failure"),
            it.rate_percent,
            plural(SURGE_MIN_FAILURES, "failure"),
            amount(it.surge_factor),
            plural(it.trickle_errors, "failure"),
            amount(it.trickle_per_million),
            plural(it.cooldown_minutes, "minute"),
        );
        wrap("Thresholds  ", &thresholds, out);
    }

    fn write_totals(&self, out: &mut String) {
        let Totals { messages, incidents, trickles, by_phase, by_day, windows, quiet_windows } =
            &self.totals;
        if self.history.window.is_none() {
            return;
        }
        out.push_str("\nTOTALS\n");
        let ByPhase { opened, changed, ongoing, resolved } = by_phase;
        if 0 < *messages {
            let phases = [
                (*opened, "opened"),
                (*changed, "changed"),
                (*ongoing, "ongoing"),
                (*resolved, "resolved"),
                (*trickles, "trickle"),
            ];
            let phases: Vec<String> = phases
                .into_iter()
                .filter(|(number, _)| 0 < *number)
                .map(|(number, phase)| format!("{} {phase}", count(number)))
                .collect();
            let all = format!(
                "{} about {}: {}.",
                plural(*messages, "message"),
                plural(*incidents, "incident"),
                phases.join(", ")
            );
            wrap("  Messages  ", &all, out);
            let days: Vec<String> =
                by_day.iter().map(|it| format!("{}: {}", it.day, count(it.messages))).collect();
            wrap("  By day    ", &format!("{}.", days.join(", ")), out);
        }
        let quiet = format!(
            "{} of {} of a load balancer, five minutes each, are in no spike.",
            count(*quiet_windows),
            plural(*windows, "window")
        );
        wrap("  Quiet     ", &quiet, out);
        for it in &self.still_open {
            let of = named(it.target_group.as_deref(), &it.load_balancer);
            let open = format!(
                "{} ({of}), since {} UTC, when the history ends.",
                it.incident_id,
                it.since.strftime("%Y-%m-%d %H:%M")
            );
            wrap("  Open      ", &open, out);
        }
        if let Some(it) = &self.nearest {
            let nearest = format!(
                "{} at {} UTC ({}) came nearest to a spike without being one.",
                failed(it.failures, it.requests, it.rate),
                it.window.start.strftime("%Y-%m-%d %H:%M"),
                named(it.target_group.as_deref(), &it.load_balancer),
            );
            wrap("  Below     ", &nearest, out);
        }
    }
}

impl Totals {
    fn of(messages: &[Message], windows: u64, quiet_windows: u64) -> Self {
        let mut by_phase = ByPhase::default();
        let mut by_day = BTreeMap::<String, u64>::new();
        let mut trickles = 0;
        for message in messages {
            *by_day.entry(message.sent_at.strftime("%Y-%m-%d").to_string()).or_default() += 1;
            *match (message.kind, message.phase) {
                (Kind::Trickle, _) => &mut trickles,
                (Kind::Spike, Phase::Opened) => &mut by_phase.opened,
                (Kind::Spike, Phase::Changed) => &mut by_phase.changed,
                (Kind::Spike, Phase::Ongoing) => &mut by_phase.ongoing,
                (Kind::Spike, Phase::Resolved) => &mut by_phase.resolved,
            } += 1;
        }
        let incidents: BTreeSet<&str> = messages.iter().map(|it| &*it.incident_id).collect();
        Self {
            messages: messages.len() as u64,
            incidents: incidents.len() as u64,
            trickles,
            by_phase,
            by_day: by_day.into_iter().map(|(day, messages)| Day { day, messages }).collect(),
            windows,
            quiet_windows,
        }
    }
}
