//! What CloudWatch counts of alb502: documents in its embedded metric format.
//!
//! A document is one line of the function's log. CloudWatch takes the metrics out of it, and its other
//! members stay in the log, where Logs Insights finds them. No call is made, and nothing waits.
//!
//! Each document bears the time of its window, not the time at which it is written: an object that
//! arrives late counts where its rows belong.
//!
//! Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use crate::{
    access_log::ObjectKey,
    detection::GroupCounts,
    diagnosis::{
        Diagnosis,
        causes::{CAUSES, LAMBDA_REASONS},
        timestamp,
    },
    incident::{Observation, ObservedObject, end_of, start_of, window_of},
    neutralize::{object_name, plain},
};

/// The namespace of all metrics.
pub const NAMESPACE: &str = "alb502";

/// One metric. CloudWatch charges for each metric, and counts each value of a dimension as a metric of its
/// own: so the dimensions hold nothing that a row names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// As CloudWatch shows it.
    pub name: &'static str,
    /// One of CloudWatch's units.
    pub unit: &'static str,
    /// Its dimensions.
    pub dimensions: &'static [&'static str],
    /// What it counts.
    pub meaning: &'static str,
}

const fn of_function(name: &'static str, unit: &'static str, meaning: &'static str) -> Metric {
    Metric { name, unit, dimensions: &["Function"], meaning }
}

const OBJECTS: Metric = of_function("Objects", "Count", "Log objects read to their end.");
const ROWS: Metric = of_function("Rows", "Count", "Rows in them.");
const MALFORMED_ROWS: Metric =
    of_function("MalformedRows", "Count", "Lines in them that are no rows.");
const LAG: Metric = of_function(
    "Lag",
    "Seconds",
    "From the end of the newest window of an object until it was read. Use the maximum.",
);
const REQUESTS: Metric =
    of_function("Requests", "Count", "Rows that count as requests, of all target groups.");
const FAILURES: Metric = of_function("Failures", "Count", "Failed rows among them.");
const MESSAGES: Metric = of_function("Messages", "Count", "Messages that the topic took.");
const FAILURES_BY_CAUSE: Metric = Metric {
    name: "FailuresByCause",
    unit: "Count",
    dimensions: &["Function", "Cause"],
    meaning: "Failures of incidents and trickles, split by the shares of their causes.",
};

/// All metrics, in the order of the README.
pub const METRICS: [Metric; 8] =
    [OBJECTS, ROWS, MALFORMED_ROWS, LAG, REQUESTS, FAILURES, MESSAGES, FAILURES_BY_CAUSE];

/// CloudWatch takes no metric that is older: two weeks, in microseconds.
/// Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html>
pub const MAX_AGE_MICROS: i64 = 14 * 86_400_000_000;

/// Nor one that is further ahead: two hours, in microseconds. Source: as above.
pub const MAX_AHEAD_MICROS: i64 = 2 * 3_600_000_000;

/// So many target groups that fail in one object and window have a document of their own; the rest is
/// counted together. Ten: a deployment that breaks more of them at once breaks them in one way.
pub const MAX_TARGET_GROUPS: usize = 10;

/// Who writes documents, and when.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The name of the function: the value of the dimension.
    pub function: &'a str,
    /// The request id of the invocation.
    pub request_id: &'a str,
    /// Microseconds since 1970.
    pub now: i64,
}

/// One line of the log that CloudWatch reads metrics from.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it is about, in words.
    pub subject: &'static str,
    /// The number of the five-minute window since 1970 whose start it bears as its time.
    pub window: i64,
    /// The document.
    pub body: Value,
}

impl Document {
    /// Why CloudWatch would not take it at this time (microseconds since 1970); `None` when it would.
    pub fn refusal(&self, now: i64) -> Option<&'static str> {
        let time = start_of(self.window);
        if MAX_AGE_MICROS < now.saturating_sub(time) {
            Some("CloudWatch takes none older than 14 days")
        } else if MAX_AHEAD_MICROS < time.saturating_sub(now) {
            Some("CloudWatch takes none more than 2 hours ahead")
        } else {
            None
        }
    }
}

impl Origin<'_> {
    /// What is counted of an object that was read to its end: one document for the object, and those of
    /// the windows in it.
    pub fn of_object(&self, object: &ObservedObject, windows: &[&Observation]) -> Vec<Document> {
        // When no row is of a time that can be, the name says which time the object is of.
        let end = ObjectKey::parse(&object.key).end_time;
        let named = end.map(|end| window_of(end.as_microsecond().saturating_sub(1)));
        let newest = windows.iter().map(|it| it.window).max().or(named);
        let mut values = vec![
            (OBJECTS, json!(1)),
            (ROWS, json!(object.entries)),
            (MALFORMED_ROWS, json!(object.malformed)),
        ];
        if let Some(newest) = newest {
            // A load balancer's clock may be ahead.
            let lag = self.now.saturating_sub(end_of(newest)).max(0) / 1_000_000;
            values.push((LAG, json!(lag)));
        }
        let window = newest.unwrap_or_else(|| window_of(self.now));
        let properties = [("object", json!(object_name(&object.name())))];
        let mut documents =
            vec![self.document("metrics of an object", window, &values, properties)];
        for it in windows {
            documents.extend(self.of_window(it));
        }
        documents
    }

    /// The target groups that fail have a document each, which names them; all others are one.
    fn of_window(&self, observation: &Observation) -> Vec<Document> {
        let mut failing: Vec<&GroupCounts> =
            observation.groups.iter().filter(|it| 0 < it.counts.failures).collect();
        // A stable sort: the same object gives the same documents.
        failing.sort_by_key(|it| std::cmp::Reverse(it.counts.failures));
        failing.truncate(MAX_TARGET_GROUPS);
        let document = |requests: u64, failures: u64, target_group: (&'static str, Value)| {
            let values = [(REQUESTS, json!(requests)), (FAILURES, json!(failures))];
            let properties = [
                ("load_balancer", json!(plain(&observation.load_balancer))),
                ("object", json!(object_name(&observation.object.name()))),
                target_group,
            ];
            self.document("metrics of a window", observation.window, &values, properties)
        };
        let mut documents = Vec::new();
        let (mut requests, mut failures) = (0_u64, 0_u64);
        for it in &observation.groups {
            requests = requests.saturating_add(it.counts.requests);
            failures = failures.saturating_add(it.counts.failures);
        }
        for it in &failing {
            requests = requests.saturating_sub(it.counts.requests);
            failures = failures.saturating_sub(it.counts.failures);
            let name = ("target_group", json!(short_name(it.target_group.as_deref())));
            documents.push(document(it.counts.requests, it.counts.failures, name));
        }
        let others = observation.groups.len() - failing.len();
        if 0 < requests || documents.is_empty() {
            documents.push(document(requests, failures, ("target_groups", json!(others))));
        }
        documents
    }

    /// A message that the topic took. It bears the time of the last window of the incident.
    pub fn of_message(&self, diagnosis: &Diagnosis) -> Document {
        let window = window_of(diagnosis.window.end.as_microsecond().saturating_sub(1));
        let cause = diagnosis.causes.first().map_or("undetermined", |it| bounded(&it.id));
        let properties = [
            ("incident_id", json!(diagnosis.incident_id)),
            ("kind", json!(diagnosis.kind)),
            ("phase", json!(diagnosis.phase)),
            ("severity", json!(diagnosis.severity)),
            ("cause", json!(cause)),
            ("load_balancer", json!(plain(&diagnosis.load_balancer.id))),
            ("target_group", json!(target_group(diagnosis))),
        ];
        self.document("metrics of a message", window, &[(MESSAGES, json!(1))], properties)
    }

    /// The failures of windows, split by the shares of the causes of their diagnosis: one document for
    /// each window and cause. `windows` are numbers of windows with their failures.
    pub fn by_cause(&self, diagnosis: &Diagnosis, windows: &[(i64, u64)]) -> Vec<Document> {
        let mut shares: Vec<(&'static str, f64)> = Vec::new();
        let all: f64 = diagnosis.causes.iter().map(|it| it.share).sum();
        for it in &diagnosis.causes {
            let cause = bounded(&it.id);
            let share = if 0.0 < all { it.share / all } else { 0.0 };
            match shares.iter_mut().find(|(id, _)| *id == cause) {
                Some((_, sum)) => *sum += share,
                None => shares.push((cause, share)),
            }
        }
        if all <= 0.0 {
            shares = vec![("undetermined", 1.0)];
        }
        let mut documents = Vec::new();
        for (window, failures) in windows.iter().filter(|(_, failures)| 0 < *failures) {
            for (cause, share) in shares.iter().filter(|(_, share)| 0.0 < *share) {
                let value = json!(*failures as f64 * share);
                let properties = [
                    ("Cause", json!(cause)),
                    ("incident_id", json!(diagnosis.incident_id)),
                    ("load_balancer", json!(plain(&diagnosis.load_balancer.id))),
                    ("target_group", json!(target_group(diagnosis))),
                ];
                let values = [(FAILURES_BY_CAUSE, value)];
                documents.push(self.document("failures by cause", *window, &values, properties));
            }
        }
        documents
    }

    /// `level` and `timestamp` are for Lambda's log filter, which reads them of every line; the time of
    /// the metrics is the one in `_aws`, in milliseconds. All metrics of a document have the same
    /// dimensions.
    fn document<const N: usize>(
        &self,
        subject: &'static str,
        window: i64,
        values: &[(Metric, Value)],
        properties: [(&'static str, Value); N],
    ) -> Document {
        let start = start_of(window);
        let dimensions = values.first().map_or(&[][..], |(metric, _)| metric.dimensions);
        let directive: Vec<Value> = values
            .iter()
            .map(|(metric, _)| json!({"Name": metric.name, "Unit": metric.unit}))
            .collect();
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
        put(
            "_aws",
            json!({
                "Timestamp": start.div_euclid(1000),
                "CloudWatchMetrics": [{
                    "Namespace": NAMESPACE,
                    "Dimensions": [dimensions],
                    "Metrics": directive,
                }],
            }),
        );
        put("timestamp", json!(timestamp(self.now)));
        put("level", json!("INFO"));
        put("message", json!(subject));
        put("requestId", json!(self.request_id));
        put("window", json!(timestamp(start)));
        put("Function", json!(self.function));
        for (metric, value) in values {
            put(metric.name, value.clone());
        }
        for (name, value) in properties {
            put(name, value);
        }
        Document { subject, window, body: Value::Object(body) }
    }
}

/// The id of a cause as it stands in the tables. A dimension must not grow with what a log says: an id
/// that is in no table counts as undetermined.
fn bounded(id: &str) -> &'static str {
    let causes = CAUSES.iter().map(|it| it.id);
    let mut ids = causes.chain(LAMBDA_REASONS.iter().map(|it| it.id));
    ids.find(|it| *it == id).unwrap_or("undetermined")
}

/// `name` in `…:targetgroup/name/id`; `-`, as in the log, for rows that were never forwarded.
fn short_name(target_group: Option<&str>) -> String {
    target_group.map_or_else(|| "-".to_owned(), |arn| plain(arn.split('/').nth(1).unwrap_or(arn)))
}

fn target_group(diagnosis: &Diagnosis) -> String {
    diagnosis.target_group.as_ref().map_or_else(|| "-".to_owned(), |it| plain(&it.name))
}
