//! What a person reads at 3 a.m., as an email or in a terminal: the answer first.

use std::collections::BTreeMap;

use super::{
    course,
    damaged::damaged,
    probed,
    wrap::{command, wrap},
};
use crate::{
    diagnosis::{
        CheckOutcome, CheckResult, Confidence, Diagnosis, Gap, Kind, RankedCause, Sample, Severity,
        Statement,
    },
    neutralize,
    numbers::{count, percent, plural},
};

/// How many checks without an answer are told one by one. More unknown ones have one common reason, which
/// stands under "What could not be seen"; more skipped ones are those of a Lambda target.
const MAX_UNANSWERED: usize = 3;

/// How many probes are told; the machine form has more.
const MAX_PROBES: usize = 3;

/// The whole message.
pub fn text(diagnosis: &Diagnosis) -> String {
    let mut out = String::new();
    wrap("", &diagnosis.summary, &mut out);
    out.push('\n');
    header(diagnosis, &mut out);
    if let Some(why) = &diagnosis.why_healthy {
        out.push_str(&format!("\n{}\n", why_healthy_title(why).to_uppercase()));
        wrap("  ", why, &mut out);
    }
    let of = if diagnosis.failures == 0 { "answers of 502" } else { "failures" };
    for (index, it) in diagnosis.causes.iter().enumerate() {
        cause(index + 1, it, of, &mut out);
    }
    checks(diagnosis, &mut out);
    gaps(&diagnosis.gaps, &mut out);
    samples(&diagnosis.samples, &mut out);
    reading(diagnosis, &mut out);
    out
}

/// What stands above the sentence on the health check. CloudWatch may say that it did see the incident.
pub(super) fn why_healthy_title(why: &str) -> &'static str {
    if why.contains("did see it") {
        "What the health check saw"
    } else {
        "Why the targets still show Healthy"
    }
}

fn header(diagnosis: &Diagnosis, out: &mut String) {
    let load_balancer = &diagnosis.load_balancer;
    let mut place = neutralize::plain(&load_balancer.id);
    if let Some(account) = &load_balancer.account {
        place.push_str(&format!(", account {}", neutralize::plain(account)));
    }
    if let Some(region) = &load_balancer.region {
        place.push_str(&format!(", {}", neutralize::plain(region)));
    }
    wrap("Load balancer  ", &place, out);
    let group = diagnosis
        .target_group
        .as_ref()
        .map_or("none, no target was asked".to_owned(), |group| neutralize::plain(&group.name));
    wrap("Target group   ", &group, out);
    wrap("Time           ", &time_span(diagnosis), out);
    if let Some(onset) = &diagnosis.facts.onset {
        wrap("               ", &course::course(onset, diagnosis.kind), out);
    }
    let mut failures = format!(
        "{} of {} ({})",
        count(diagnosis.failures),
        plural(diagnosis.requests, "request"),
        percent(diagnosis.rate)
    );
    let split: Vec<String> =
        split(diagnosis).map(|(number, what)| format!("{} x {what}", count(number))).collect();
    if !split.is_empty() {
        failures.push_str(": ");
        failures.push_str(&split.join(", "));
    }
    wrap("Failures       ", &failures, out);
    let severity = match diagnosis.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let kind = match diagnosis.kind {
        Kind::Spike => "",
        Kind::Trickle => ", a trickle",
    };
    wrap("Severity       ", &format!("{severity}{kind}"), out);
    if let Some(status) = &diagnosis.status {
        wrap("Status         ", &neutralize::plain(status), out);
    }
    if let Some(partial) = &diagnosis.partial {
        wrap("Partial        ", partial, out);
    }
    let probes = &diagnosis.facts.probes;
    for probe in probes.iter().take(MAX_PROBES) {
        wrap("Probe          ", &probed::line(probe), out);
    }
    let more = probes.len().saturating_sub(MAX_PROBES) as u64;
    if 0 < more {
        let more = plural(more, "more probe");
        wrap("               ", &format!("{more}: see the HTML report."), out);
    }
}

/// Failures, and answers on purpose, by status and who gave it: those that there are.
pub(super) fn split(diagnosis: &Diagnosis) -> impl Iterator<Item = (u64, &'static str)> {
    [
        (diagnosis.elb_502, "502 by the load balancer"),
        (diagnosis.target_502, "502 by the target"),
        (diagnosis.connect_504, "504 after the connect timeout"),
        (diagnosis.idle_504, "504 after the idle timeout"),
        (diagnosis.intentional_502, "502 on purpose, counted apart"),
    ]
    .into_iter()
    .filter(|(number, _)| 0 < *number)
}

/// The windows of the incident, UTC.
pub(super) fn time_span(diagnosis: &Diagnosis) -> String {
    let (start, end) = (diagnosis.window.start, diagnosis.window.end);
    let day = |time: jiff::Timestamp| time.strftime("%Y-%m-%d").to_string();
    let end =
        if day(start) == day(end) { end.strftime("%H:%M") } else { end.strftime("%Y-%m-%d %H:%M") };
    format!("{} to {end} UTC", start.strftime("%Y-%m-%d %H:%M"))
}

fn cause(rank: usize, cause: &RankedCause, of: &str, out: &mut String) {
    let confidence = match cause.confidence {
        Confidence::High => "high",
        Confidence::Medium => "medium",
        Confidence::Low => "low",
    };
    out.push('\n');
    wrap(
        &format!("CAUSE {rank}  "),
        &format!("{}, {confidence} confidence, {} of the {of}", cause.id, percent(cause.share)),
        out,
    );
    wrap("  ", &format!("{}.", cause.title), out);
    statements("For", &cause.evidence, out);
    statements("Against", &cause.against, out);
    if !cause.fixes.is_empty() {
        out.push_str("  Do\n");
    }
    for (index, fix) in cause.fixes.iter().enumerate() {
        wrap(&format!("  {}. ", index + 1), &fix.text, out);
        if let Some(it) = &fix.command {
            command("       ", it, out);
        }
    }
}

fn statements(title: &str, list: &[Statement], out: &mut String) {
    if list.is_empty() {
        return;
    }
    out.push_str(&format!("  {title}\n"));
    for statement in list {
        wrap("  - ", &statement.text, out);
    }
}

/// Whether an unknown check says nothing but that a fact is missing, which stands under "What could not
/// be seen", and knows no command to look with: then its name is enough.
fn is_gap_alone(check: &CheckResult, gaps: &[Gap]) -> bool {
    check.outcome == CheckOutcome::Unknown
        && check.command.is_none()
        && gaps.iter().any(|gap| check.summary.contains(&gap.reason))
}

fn checks(diagnosis: &Diagnosis, out: &mut String) {
    let (checks, gaps) = (&diagnosis.checks, &diagnosis.gaps);
    if checks.is_empty() {
        return;
    }
    out.push_str("\nCHECKS\n");
    let of = |outcome: CheckOutcome| checks.iter().filter(move |check| check.outcome == outcome);
    let unknown = of(CheckOutcome::Unknown).filter(|check| !is_gap_alone(check, gaps)).count();
    let told = [(CheckOutcome::Fail, "FAIL"), (CheckOutcome::Advice, "advice")];
    let told_unknown = (unknown <= MAX_UNANSWERED).then_some((CheckOutcome::Unknown, "unknown"));
    for (outcome, word) in told.into_iter().chain(told_unknown) {
        for check in of(outcome).filter(|check| !is_gap_alone(check, gaps)) {
            wrap(&format!("  {word:<8} "), check.id, out);
            wrap("           ", &check.summary, out);
            if let Some(it) = &check.command {
                command("           ", it, out);
            }
            // A fix that stands under a cause is not told twice, nor with another number.
            let call = |command: &str| command.split_whitespace().take(3).collect::<String>();
            let is_told = |it: &&String| {
                let fixes = diagnosis.causes.iter().flat_map(|cause| &cause.fixes);
                let mut told = fixes.filter_map(|fix| fix.command.as_ref());
                !told.any(|command| call(command) == call(it))
            };
            if let Some(it) = check.fix_command.as_ref().filter(is_told) {
                out.push_str("           Fix:\n");
                command("           ", it, out);
            }
        }
    }
    let ids = |outcome| of(outcome).map(|check| check.id).collect::<Vec<_>>().join(", ");
    let unknown_ids: Vec<&str> = of(CheckOutcome::Unknown)
        .filter(|check| MAX_UNANSWERED < unknown || is_gap_alone(check, gaps))
        .map(|check| check.id)
        .collect();
    for (word, ids) in [("unknown", unknown_ids.join(", ")), ("pass", ids(CheckOutcome::Pass))] {
        if !ids.is_empty() {
            wrap(&format!("  {word:<8} "), &ids, out);
        }
    }
    // A reason that several share is said once; a list of many reasons is for machines.
    let mut skipped: Vec<(&str, Vec<&str>)> = Vec::new();
    for check in of(CheckOutcome::Skipped) {
        match skipped.iter_mut().find(|(reason, _)| *reason == check.summary) {
            Some((_, ids)) => ids.push(check.id),
            None => skipped.push((&check.summary, vec![check.id])),
        }
    }
    if MAX_UNANSWERED < skipped.len() {
        wrap("  skipped  ", &ids(CheckOutcome::Skipped), out);
        return;
    }
    for (reason, ids) in skipped {
        wrap("  skipped  ", &format!("{}: {reason}", ids.join(", ")), out);
    }
}

fn gaps(gaps: &[Gap], out: &mut String) {
    if gaps.is_empty() {
        return;
    }
    out.push_str("\nWHAT COULD NOT BE SEEN\n");
    // One reason for many facts is said once.
    let mut by_reason: BTreeMap<&str, Vec<&Gap>> = BTreeMap::new();
    for gap in gaps {
        by_reason.entry(&gap.reason).or_default().push(gap);
    }
    for (reason, gaps) in by_reason {
        let facts = gaps.iter().map(|gap| gap.fact.as_str()).collect::<Vec<_>>().join(", ");
        let permission = match permissions(&gaps) {
            needed if needed.is_empty() => String::new(),
            needed => format!(" (needs {needed})"),
        };
        wrap("  - ", &format!("{facts}: {reason}{permission}"), out);
    }
}

/// IAM actions, each service named once: `ec2:DescribeSubnets, DescribeInstances`.
pub(super) fn permissions(gaps: &[&Gap]) -> String {
    let mut by_service: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for permission in gaps.iter().filter_map(|gap| gap.permission.as_deref()) {
        let (service, action) = permission.split_once(':').unwrap_or(("", permission));
        let actions = by_service.entry(service).or_default();
        if !actions.contains(&action) {
            actions.push(action);
        }
    }
    by_service
        .iter()
        .map(|(service, actions)| match *service {
            "" => actions.join(", "),
            service => format!("{service}:{}", actions.join(", ")),
        })
        .collect::<Vec<_>>()
        .join("; ")
}

fn samples(samples: &[Sample], out: &mut String) {
    if samples.is_empty() {
        return;
    }
    out.push_str("\nSAMPLES (time UTC; request, target and response processing time in seconds,\n  -1: never came to that; {id}: a part that differs; [.]: a dot)\n");
    for sample in samples {
        let times: String = sample
            .times
            .iter()
            .map(|time| match time {
                Some(time) if *time < 0.0 => format!("{:>10}", "-1"),
                Some(time) => format!("{time:>10.3}"),
                None => format!("{:>10}", "-"),
            })
            .collect();
        out.push_str(&format!("  {}{times}\n", sample.time.strftime("%H:%M:%S%.3f")));
        let shown =
            |value: &Option<String>| value.as_deref().map_or("-".to_owned(), neutralize::plain);
        let mut request = format!("{} {}", shown(&sample.method), shown(&sample.path));
        if sample.target.is_some() {
            request.push_str(&format!(" -> {}", shown(&sample.target)));
        }
        wrap("    ", &request, out);
        if let Some(trace_id) = &sample.trace_id {
            wrap("    trace ", &neutralize::plain(trace_id), out);
        }
    }
}

fn reading(diagnosis: &Diagnosis, out: &mut String) {
    out.push_str("\nLOG\n");
    let parser = &diagnosis.parser;
    // Not the length of the list, which is cut.
    let mut line = format!(
        "{} in {}, {} malformed",
        plural(parser.lines, "line"),
        plural(parser.objects, "object"),
        count(parser.malformed)
    );
    if 0 < parser.unknown_fields {
        line.push_str(&format!(
            ", {} with fields that this version does not know",
            count(parser.unknown_fields)
        ));
    }
    wrap("  ", &format!("{line}."), out);
    damaged(&diagnosis.objects, out);
    out.push('\n');
    wrap(
        "",
        &format!(
            "Incident {}, told by alb502 {}, schema {}",
            diagnosis.incident_id, diagnosis.tool_version, diagnosis.schema_version
        ),
        out,
    );
}
