//! What `alb502 diagnose` says when nothing crosses a threshold: the numbers, what came nearest, and what
//! one can do.

use crate::{
    detection::{Counts, Detector, Evidence, Nearest, Thresholds, Window},
    diagnosis::{ObjectReport, Reading, timestamp},
    neutralize,
    notification::wrap::wrap,
    numbers::{amount, count, percent, plural},
};

/// The smallest percentage that a setting takes.
const LEAST_RATE_PERCENT: f64 = 0.001;

/// What there is to say something about.
pub(super) struct Quiet<'a> {
    pub(super) detector: &'a Detector,
    /// What was found, and not told.
    pub(super) incidents: &'a [Evidence],
    pub(super) thresholds: &'a Thresholds,
    pub(super) reading: &'a Reading,
    pub(super) could_read_all: bool,
}

/// The text.
pub(super) fn quiet(it: &Quiet<'_>) -> String {
    let (totals, parser, thresholds) = (it.detector.totals(), &it.reading.parser, it.thresholds);
    let files = plural(it.reading.objects.len() as u64, "file");
    let mut said = String::new();
    if parser.entries == 0 {
        let nothing = format!(
            "Nothing could be judged: no access-log entry in {files} ({}, {} malformed). Give the .log.gz \
             objects that the load balancer delivers, of a time with requests.",
            plural(parser.lines, "line"),
            count(parser.malformed)
        );
        wrap("", &nothing, &mut said);
        return said;
    }
    let of_what = if it.could_read_all { "" } else { " in what could be read" };
    let others = Others::of(&totals, thresholds);
    // "0 failed" would be read as "nothing failed".
    let as_counted = if others.is_any() { " as alb502 counts failures" } else { "" };
    let first = format!(
        "No incident{of_what}: {} of {} failed ({}){as_counted}.",
        count(totals.failures),
        plural(totals.requests, "request"),
        percent(totals.rate())
    );
    wrap("", &first, &mut said);
    let rule = format!(
        "No target group has {} and {} % of its requests within five minutes, or {} and {} per million within \
         a day that show a cause.",
        plural(thresholds.min_errors, "failure"),
        thresholds.rate_percent,
        plural(thresholds.trickle_errors, "failure"),
        amount(thresholds.trickle_per_million)
    );
    wrap("", &rule, &mut said);
    let split = [
        (totals.elb_502, "502 by the load balancer"),
        (totals.target_502, "502 by targets"),
        (totals.connect_504, "504 after the connect timeout"),
        (totals.idle_504, "504 after the idle timeout"),
        (totals.intentional_502, "502 on purpose, counted apart"),
        (totals.elb_503, "503 without a target's answer (elb_503)"),
        (totals.target_5xx, "other 5xx by targets (target_5xx)"),
        (totals.protocol_464, "464, the protocol of the request does not fit (protocol_464)"),
        (totals.client_460, "460, the client went away (client_460)"),
    ];
    for (number, what) in split {
        if 0 < number {
            said.push_str(&format!("  {} x {what}\n", count(number)));
        }
    }
    // What was seen comes first; what came near, where something failed.
    let mut told = [Some(near(it)), others.said(&totals)];
    if totals.failures == 0 {
        told.reverse();
    }
    for paragraph in told.iter().flatten() {
        wrap("", paragraph, &mut said);
    }
    let is_read = |object: &&ObjectReport| object.error.is_none() || object.is_damaged();
    let read = it.reading.objects.iter().filter(is_read).count() as u64;
    said.push_str(&format!(
        "Read {} in {}, {} malformed.\n",
        plural(parser.lines, "line"),
        plural(read, "file"),
        count(parser.malformed)
    ));
    said
}

/// Rows that users may call failures and that are none here.
struct Others {
    /// Answers with an error that another tool looks into.
    errors: u64,
    /// 504 after the idle timeout, where they do not count.
    idle_504: u64,
    intentional_502: u64,
}

impl Others {
    fn of(totals: &Counts, thresholds: &Thresholds) -> Self {
        let errors = [totals.elb_503, totals.target_5xx, totals.protocol_464, totals.client_460];
        let idle_504 = if thresholds.include_idle_timeout_504 { 0 } else { totals.idle_504 };
        Self {
            errors: errors.into_iter().fold(idle_504, u64::saturating_add),
            idle_504,
            intentional_502: totals.intentional_502,
        }
    }

    fn is_any(&self) -> bool {
        0 < self.errors || 0 < self.intentional_502
    }

    /// What was seen and is not judged, and who can say more of it.
    fn said(&self, totals: &Counts) -> Option<String> {
        if self.errors == 0 {
            return None;
        }
        let seen = match totals.failures {
            0 => "There is no 502 that counts and no 504 after the connect timeout; but",
            _ => "Beside these,",
        };
        let mut said = format!(
            "{seen} {} of {} ended with another error, listed above: these are not what alb502 looks for.",
            count(self.errors),
            plural(totals.requests, "request")
        );
        if 0 < totals.target_5xx {
            said.push_str(" What targets answer is in the log of the application.");
        }
        if 0 < totals.elb_503 {
            said.push_str(
                " A 503 that no target answered is most often of a target group without a registered target: \
                 look at its targets.",
            );
        }
        if 0 < self.idle_504 {
            said.push_str(" To have the 504s counted, add --include-idle-timeout-504.");
        }
        Some(said)
    }
}

/// What came nearest to a message, and what to do about it.
fn near(it: &Quiet<'_>) -> String {
    // A trickle of enough failures is nearer than any spike that was none.
    let silent = it.incidents.iter().max_by_key(|incident| incident.counts.failures);
    if let Some(silent) = silent {
        return format!(
            "Closest: {}, {} of {} in {}. These would be enough for a trickle, but no cause stands out. A \
             longer log or the configuration (--live, --snapshot DIR) may show one.",
            named(&silent.load_balancer, silent.target_group_arn.as_deref()),
            plural(silent.counts.failures, "failure"),
            plural(silent.counts.requests, "request"),
            time(silent.window)
        );
    }
    match it.detector.nearest() {
        Some(nearest) => format!(
            "Closest: {}, {} of {} ({}) in {}; a message takes {} and {} %. {}",
            named(&nearest.load_balancer, nearest.target_group_arn.as_deref()),
            count(nearest.failures),
            plural(nearest.requests, "request"),
            percent(rate(&nearest)),
            time(nearest.window),
            plural(it.thresholds.min_errors, "failure"),
            it.thresholds.rate_percent,
            lower(&nearest, it.thresholds)
        ),
        None if Others::of(&it.detector.totals(), it.thresholds).is_any() => {
            let span = it.detector.time_span().map(time).unwrap_or_default();
            format!("No target group came near a threshold. The rows are of {span}.")
        }
        None => {
            let span = it.detector.time_span().map(time).unwrap_or_default();
            match without_target_answer(&it.detector.totals()) {
                0 => format!(
                    "No request failed, so no target group came near a threshold. If users saw failures, \
                     they lie outside of these rows, which are of {span}: give the log of that time and \
                     load balancer."
                ),
                number => format!(
                    "No request failed as alb502 counts failures. {} got no answer of a target, such as a \
                     redirect or an error of the load balancer's own: if users saw failures, they are among \
                     these or outside of these rows, which are of {span}.",
                    plural(number, "request")
                ),
            }
        }
    }
}

/// Rows that no target answered, where nothing else is seen: they are counted as neither success nor failure.
fn without_target_answer(totals: &Counts) -> u64 {
    totals.requests.saturating_sub(totals.successes)
}

/// How to have it told, where the settings go that low.
fn lower(nearest: &Nearest, thresholds: &Thresholds) -> String {
    let mut flags = String::new();
    if nearest.failures < thresholds.min_errors {
        flags.push_str(&format!(" --min-errors {}", nearest.failures));
    }
    let percent = 100.0 * rate(nearest);
    if percent < thresholds.rate_percent {
        // Three digits, rounded down, so that it is reached.
        let digits = 10_f64.powf(2.0 - percent.log10().floor());
        let rounded = (percent * digits).floor() / digits;
        if rounded < LEAST_RATE_PERCENT {
            return "No setting goes so low; `alb502 rehearse` shows what others would have told."
                .to_owned();
        }
        flags.push_str(&format!(" --rate-percent {rounded}"));
    }
    format!(
        "To have it diagnosed, add{flags}; `alb502 rehearse` shows what such thresholds would have told."
    )
}

fn rate(nearest: &Nearest) -> f64 {
    nearest.failures as f64 / nearest.requests.max(1) as f64
}

/// `shop-web`, or the load balancer where no target group was asked.
fn named(load_balancer: &str, target_group_arn: Option<&str>) -> String {
    match target_group_arn.and_then(|arn| arn.rsplit('/').nth(1)) {
        Some(name) => neutralize::plain(name),
        None => format!("{} without a target group", neutralize::plain(load_balancer)),
    }
}

fn time(window: Window) -> String {
    let (start, end) = (timestamp(window.start), timestamp(window.end));
    let is_one_day = start.strftime("%F").to_string() == end.strftime("%F").to_string();
    let end = end.strftime(if is_one_day { "%H:%M" } else { "%Y-%m-%d %H:%M" });
    format!("{} to {end} UTC", start.strftime("%Y-%m-%d %H:%M"))
}
