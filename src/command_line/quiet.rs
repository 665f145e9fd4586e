//! What `alb502 diagnose` says when nothing crosses a threshold: the numbers, what came nearest, and what
//! one can do.

use crate::{
    detection::{Detector, Evidence, Nearest, Thresholds, Window},
    diagnosis::{Reading, timestamp},
    neutralize,
    notification::wrap::wrap,
    numbers::{count, percent, plural},
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
    said.push_str(&format!(
        "No incident{of_what}: {} of {} failed ({}).\n",
        count(totals.failures),
        plural(totals.requests, "request"),
        percent(totals.rate())
    ));
    let rule = format!(
        "No target group has {} failures and {} % of its requests within five minutes, or {} failures and \
         {} per million within a day that show a cause.",
        thresholds.min_errors,
        thresholds.rate_percent,
        thresholds.trickle_errors,
        thresholds.trickle_per_million
    );
    wrap("", &rule, &mut said);
    let split = [
        (totals.elb_502, "502 by the load balancer"),
        (totals.target_502, "502 by targets"),
        (totals.connect_504, "504 after the connect timeout"),
        (totals.idle_504, "504 after the idle timeout"),
        (totals.intentional_502, "502 on purpose, counted apart"),
    ];
    for (number, what) in split {
        if 0 < number {
            said.push_str(&format!("  {} x {what}\n", count(number)));
        }
    }
    wrap("", &near(it), &mut said);
    said.push_str(&format!(
        "Read {} in {files}, {} malformed.\n",
        plural(parser.lines, "line"),
        count(parser.malformed)
    ));
    said
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
        None => {
            let span = it.detector.time_span().map(time).unwrap_or_default();
            format!(
                "No request failed, so no target group came near a threshold. If users saw failures, they \
                 lie outside of these rows, which are of {span}: give the log of that time and load \
                 balancer."
            )
        }
    }
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
