//! What CloudWatch counted in the time of the incident: a second witness beside the log.
//!
//! Elastic Load Balancing reports once a minute, and counts only when they are not zero. So a count
//! without a value is zero, but only beside another metric that has one: when nothing at all came back,
//! the question may have been wrong or the answer late, and nothing is known.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html>

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::{Fact, Gap};
use crate::detection::Window;

/// The namespace of the metrics.
pub const NAMESPACE: &str = "AWS/ApplicationELB";

/// A metric of an Application Load Balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// 502 made by the load balancer, over all its target groups: there is no finer one.
    Elb502,
    /// 5xx that the targets answered.
    Target5xx,
    /// Connections to targets that were not established: refused (502) and timed out (504) alike.
    ConnectionErrors,
    /// TLS handshakes with targets that failed.
    TlsErrors,
    /// Targets that the health check finds healthy: the fewest of a minute.
    HealthyHosts,
    /// Targets that the health check finds unhealthy: the most of a minute.
    UnhealthyHosts,
    /// Requests that failed for a reason on the side of the Lambda function.
    LambdaUserErrors,
    /// Requests that failed for a reason on the side of the load balancer or of Lambda.
    LambdaInternalErrors,
}

/// Which target groups have a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The load balancer as a whole.
    LoadBalancer,
    /// Target groups of instances and addresses.
    Targets,
    /// Any target group with health checks.
    HealthCheck,
    /// Target groups of a Lambda function.
    Lambda,
}

impl Metric {
    /// Every metric that is asked for.
    pub const ALL: [Self; 8] = [
        Self::Elb502,
        Self::Target5xx,
        Self::ConnectionErrors,
        Self::TlsErrors,
        Self::HealthyHosts,
        Self::UnhealthyHosts,
        Self::LambdaUserErrors,
        Self::LambdaInternalErrors,
    ];

    const fn about(self) -> (&'static str, &'static str, Of) {
        match self {
            Self::Elb502 => ("HTTPCode_ELB_502_Count", "Sum", Of::LoadBalancer),
            Self::Target5xx => ("HTTPCode_Target_5XX_Count", "Sum", Of::Targets),
            Self::ConnectionErrors => ("TargetConnectionErrorCount", "Sum", Of::Targets),
            Self::TlsErrors => ("TargetTLSNegotiationErrorCount", "Sum", Of::Targets),
            Self::HealthyHosts => ("HealthyHostCount", "Minimum", Of::HealthCheck),
            Self::UnhealthyHosts => ("UnHealthyHostCount", "Maximum", Of::HealthCheck),
            Self::LambdaUserErrors => ("LambdaUserError", "Sum", Of::Lambda),
            Self::LambdaInternalErrors => ("LambdaInternalError", "Sum", Of::Lambda),
        }
    }

    /// The name that AWS gives it.
    pub fn name(self) -> &'static str {
        self.about().0
    }

    /// The statistic that means something for it.
    pub fn statistic(self) -> &'static str {
        self.about().1
    }

    /// Whether it has the dimension of the target group besides that of the load balancer.
    pub fn is_of_target_group(self) -> bool {
        self.about().2 != Of::LoadBalancer
    }

    /// Whether it is a count, which is reported only when it is not zero.
    fn is_count(self) -> bool {
        self.about().2 != Of::HealthCheck
    }

    fn exists(self, subject: &Subject<'_>) -> bool {
        match self.about().2 {
            Of::LoadBalancer => true,
            Of::HealthCheck => subject.target_group.is_some(),
            Of::Targets => subject.target_group.is_some() && subject.is_lambda != Some(true),
            Of::Lambda => subject.target_group.is_some() && subject.is_lambda != Some(false),
        }
    }

    /// What the answer calls it: the name, then, after a space, the target group where it has one.
    pub fn label(self, target_group: Option<&str>) -> Option<String> {
        match (self.is_of_target_group(), target_group) {
            (false, _) => Some(self.name().to_owned()),
            (true, Some(group)) => Some(format!("{} {group}", self.name())),
            (true, None) => None,
        }
    }
}

/// `targetgroup/name/id`: the end of the ARN is the dimension.
pub fn target_group_dimension(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}

/// One element of `MetricDataResults`, as GetMetricData answers and `aws cloudwatch get-metric-data`
/// prints it.
///
/// Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataResult.html>
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetricDataResult {
    /// See [`Metric::label`].
    pub label: String,
    /// When the minutes of the values began, in microseconds since 1970.
    #[serde(default, deserialize_with = "times")]
    pub timestamps: Vec<i64>,
    /// A value for each time.
    #[serde(default)]
    pub values: Vec<f64>,
    /// Complete, PartialData, InternalError or Forbidden.
    #[serde(default)]
    pub status_code: Option<String>,
}

/// Version 2 of the AWS CLI prints RFC 3339, version 1 may print seconds since 1970.
fn times<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Time {
        Text(Timestamp),
        Seconds(f64),
    }
    Ok(Vec::<Time>::deserialize(deserializer)?
        .into_iter()
        .map(|time| match time {
            Time::Text(time) => time.as_microsecond(),
            Time::Seconds(seconds) => (seconds * 1e6) as i64,
        })
        .collect())
}

/// Whose metrics are read.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// [`target_group_dimension`]; `None` for requests that were never forwarded.
    pub target_group: Option<&'a str>,
    /// Whether the group holds a Lambda function, when that is known.
    pub is_lambda: Option<bool>,
}

/// The metrics of one load balancer and target group, minute by minute.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    /// Value by the beginning of its minute, in microseconds since 1970. A metric that is not here is
    /// not known; one without a value was zero.
    series: BTreeMap<Metric, BTreeMap<i64, f64>>,
    gaps: Vec<Gap>,
}

impl Metrics {
    /// What is missing, as a noun.
    pub const FACT: &'static str = "metrics";

    /// Reads an answer: elements of other target groups and values of other times are passed over, and
    /// elements of the same label, which further pages and files bring, are joined.
    pub fn of(results: &[MetricDataResult], subject: &Subject<'_>, window: Window) -> Fact<Self> {
        let mut metrics = Self::default();
        let mut absent: Vec<Metric> = Vec::new();
        let mut troubles: BTreeSet<&str> = BTreeSet::new();
        for metric in Metric::ALL.into_iter().filter(|metric| metric.exists(subject)) {
            let Some(label) = metric.label(subject.target_group) else { continue };
            let own: Vec<&MetricDataResult> =
                results.iter().filter(|result| result.label == label).collect();
            match trouble(&own) {
                Some(status) => {
                    troubles.insert(status);
                    metrics.gaps.push(gap(metric.name(), format!("CloudWatch says {status}")));
                    continue;
                }
                None if own.is_empty() => {
                    absent.push(metric);
                    continue;
                }
                None => {}
            }
            let values: BTreeMap<i64, f64> = own
                .iter()
                .flat_map(|result| result.timestamps.iter().copied().zip(result.values.clone()))
                .filter(|(time, value)| window.contains(*time) && value.is_finite())
                .collect();
            if metric.is_count() || !values.is_empty() {
                metrics.series.insert(metric, values);
            }
        }
        if metrics.series.values().all(BTreeMap::is_empty) {
            let reason = match troubles.first() {
                Some(status) => format!("CloudWatch says {status}"),
                None => "no value of this load balancer at this time".to_owned(),
            };
            return Fact::Unknown(gap(Self::FACT, reason));
        }
        metrics.gaps.extend(
            absent
                .into_iter()
                .filter(|metric| metric.is_count() && is_sure(*metric, subject))
                .map(|metric| gap(metric.name(), "not among the metrics at hand".to_owned())),
        );
        Fact::Known(metrics)
    }

    /// The sum over the incident; zero when CloudWatch reported none, `None` when it is not known.
    pub fn sum(&self, metric: Metric) -> Option<u64> {
        Some(whole(self.series.get(&metric)?.values().sum()))
    }

    /// The sum over the minutes that begin in a part of the incident.
    pub fn sum_in(&self, metric: Metric, part: Window) -> Option<u64> {
        let values = self.series.get(&metric)?.iter();
        Some(whole(values.filter(|(time, _)| part.contains(**time)).map(|it| it.1).sum()))
    }

    /// The sum over the minutes that begin in none of these times.
    pub fn sum_outside(&self, metric: Metric, left_out: &[Window]) -> Option<u64> {
        Some(whole(self.outside(metric, left_out)?.map(|(_, value)| value).sum()))
    }

    /// The values of a metric, in order of time, without those of the minutes that begin in these times.
    fn outside(
        &self,
        metric: Metric,
        left_out: &[Window],
    ) -> Option<impl DoubleEndedIterator<Item = (&i64, &f64)>> {
        let is_in = |time: i64| left_out.iter().any(|it| it.contains(time));
        Some(self.series.get(&metric)?.iter().filter(move |(time, _)| !is_in(**time)))
    }

    /// The highest value of the minutes that begin in none of these times, and when its minute began in
    /// microseconds since 1970.
    pub fn highest(&self, metric: Metric, left_out: &[Window]) -> Option<(i64, u64)> {
        let values = self.outside(metric, left_out)?;
        // The first of several.
        let (time, value) = values.rev().max_by(|a, b| a.1.total_cmp(b.1))?;
        Some((*time, whole(*value)))
    }

    /// The lowest value, and when its minute began in microseconds since 1970.
    pub fn lowest(&self, metric: Metric) -> Option<(i64, u64)> {
        let values = self.series.get(&metric)?.iter();
        let (time, value) = values.min_by(|a, b| a.1.total_cmp(b.1))?;
        Some((*time, whole(*value)))
    }

    /// The metrics of which the answer lacks a part.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Why a metric is not known.
    pub fn gap(&self, metric: Metric) -> Gap {
        let own = self.gaps.iter().find(|gap| gap.fact == metric.name()).cloned();
        own.unwrap_or_else(|| gap(metric.name(), "not among the metrics at hand".to_owned()))
    }
}

fn gap(fact: &str, reason: String) -> Gap {
    Gap { fact: fact.to_owned(), reason, permission: None }
}

/// Whether the target group surely has the metric: only then its absence is a gap.
fn is_sure(metric: Metric, subject: &Subject<'_>) -> bool {
    !metric.is_of_target_group() || subject.is_lambda.is_some()
}

fn whole(value: f64) -> u64 {
    value.round().max(0.0) as u64
}

/// The status for which an answer cannot be used. A page may say PartialData where a later one ends
/// with Complete; an error stays one.
fn trouble<'a>(results: &[&'a MetricDataResult]) -> Option<&'a str> {
    let mut status = results.iter().filter_map(|result| result.status_code.as_deref());
    let last = status.clone().next_back().filter(|last| *last == "PartialData");
    status.find(|it| !matches!(*it, "Complete" | "PartialData")).or(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GROUP: &str = "targetgroup/shop-web/73e2d6bc24d8a067";
    const TARGETS: Subject<'static> = Subject { target_group: Some(GROUP), is_lambda: Some(false) };
    /// 2026-03-01T12:00:00Z to 12:05.
    const START: i64 = 1_772_366_400_000_000;
    const WINDOW: Window = Window { start: START, end: START + 300_000_000 };

    fn result(label: &str, values: &[(i64, f64)], status: &str) -> MetricDataResult {
        MetricDataResult {
            label: label.to_owned(),
            timestamps: values.iter().map(|(minute, _)| START + minute * 60_000_000).collect(),
            values: values.iter().map(|(_, value)| *value).collect(),
            status_code: Some(status.to_owned()),
        }
    }

    /// Every metric of the target group, all without a value.
    fn silent(subject: &Subject<'_>) -> Vec<MetricDataResult> {
        let metrics = Metric::ALL.into_iter().filter(|metric| metric.exists(subject));
        metrics.map(|metric| result(&metric.label(Some(GROUP)).unwrap(), &[], "Complete")).collect()
    }

    fn with(changes: &[MetricDataResult]) -> Vec<MetricDataResult> {
        let mut results = silent(&TARGETS);
        results.retain(|it| changes.iter().all(|change| change.label != it.label));
        results.extend_from_slice(changes);
        results
    }

    fn tls(values: &[(i64, f64)], status: &str) -> MetricDataResult {
        result(&Metric::TlsErrors.label(Some(GROUP)).unwrap(), values, status)
    }

    fn known(results: &[MetricDataResult]) -> Metrics {
        Metrics::of(results, &TARGETS, WINDOW).known().unwrap().clone()
    }

    #[test]
    fn without_a_value_a_count_is_zero_beside_another_and_unknown_alone() {
        let metrics = known(&with(&[tls(&[(0, 7.0), (4, 5.0)], "Complete")]));
        assert_eq!(metrics.sum(Metric::TlsErrors), Some(12));
        assert_eq!(metrics.sum(Metric::ConnectionErrors), Some(0));
        assert_eq!(metrics.gaps(), []);
        let nothing = Metrics::of(&silent(&TARGETS), &TARGETS, WINDOW);
        assert!(nothing.gap().unwrap().reason.contains("no value"), "{nothing:?}");
        // Values of another time are no values.
        let late = with(&[tls(&[(5, 7.0), (-1, 5.0)], "Complete")]);
        assert!(Metrics::of(&late, &TARGETS, WINDOW).known().is_none());
        // The number of hosts is reported while there are health checks: without a value it is not zero.
        assert_eq!(metrics.highest(Metric::UnhealthyHosts, &[]), None);
    }

    #[test]
    fn what_was_not_asked_for_is_not_zero() {
        let metrics = known(&[tls(&[(0, 7.0)], "Complete")]);
        assert_eq!(metrics.sum(Metric::ConnectionErrors), None);
        let missing: Vec<&str> = metrics.gaps().iter().map(|gap| gap.fact.as_str()).collect();
        assert_eq!(
            missing,
            ["HTTPCode_ELB_502_Count", "HTTPCode_Target_5XX_Count", "TargetConnectionErrorCount"]
        );
    }

    #[test]
    fn a_part_of_a_metric_is_a_gap_and_pages_are_joined() {
        let other = result("HTTPCode_ELB_502_Count", &[(1, 9.0)], "Complete");
        for status in ["PartialData", "InternalError", "Forbidden", "Odd"] {
            let metrics = known(&with(&[tls(&[(0, 7.0)], status), other.clone()]));
            assert_eq!(metrics.sum(Metric::TlsErrors), None, "{status}");
            assert_eq!(metrics.gap(Metric::TlsErrors).reason, format!("CloudWatch says {status}"));
            assert_eq!(metrics.sum(Metric::Elb502), Some(9));
        }
        let pages = [tls(&[(0, 7.0)], "PartialData"), tls(&[(0, 7.0), (1, 3.0)], "Complete")];
        assert_eq!(known(&with(&pages)).sum(Metric::TlsErrors), Some(10), "no minute twice");
        let nothing = Metrics::of(&[tls(&[], "InternalError")], &TARGETS, WINDOW);
        assert_eq!(nothing.gap().unwrap().reason, "CloudWatch says InternalError");
    }

    #[test]
    fn another_target_group_says_nothing() {
        let other =
            result("TargetTLSNegotiationErrorCount targetgroup/b/1", &[(0, 7.0)], "Complete");
        let metrics = known(&[other, result("HTTPCode_ELB_502_Count", &[(1, 9.0)], "Complete")]);
        assert_eq!(metrics.sum(Metric::TlsErrors), None);
    }

    #[test]
    fn each_kind_of_target_group_has_its_metrics() {
        let lambda = Subject { is_lambda: Some(true), ..TARGETS };
        let none = Subject { target_group: None, is_lambda: None };
        let elb = result("HTTPCode_ELB_502_Count", &[(1, 9.0)], "Complete");
        let missing = |subject: &Subject<'_>| {
            Metrics::of(std::slice::from_ref(&elb), subject, WINDOW).known().unwrap().gaps().len()
        };
        assert_eq!(missing(&TARGETS), 3);
        assert_eq!(missing(&lambda), 2);
        assert_eq!(missing(&none), 0);
        assert_eq!(missing(&Subject { is_lambda: None, ..TARGETS }), 0);
    }

    #[test]
    fn extremes_and_parts() {
        let hosts = |metric: Metric, values: &[(i64, f64)]| {
            result(&metric.label(Some(GROUP)).unwrap(), values, "Complete")
        };
        let metrics = known(&[
            hosts(Metric::HealthyHosts, &[(0, 4.0), (1, 2.0), (2, 4.0)]),
            hosts(Metric::UnhealthyHosts, &[(0, 0.0), (1, 2.0), (2, 2.0)]),
            hosts(Metric::ConnectionErrors, &[(4, 5.0), (0, 1.0), (2, 100.0)]),
        ]);
        assert_eq!(metrics.lowest(Metric::HealthyHosts), Some((START + 60_000_000, 2)));
        let highest = |left_out: &[Window]| metrics.highest(Metric::UnhealthyHosts, left_out);
        assert_eq!(highest(&[]), Some((START + 60_000_000, 2)));
        assert_eq!(metrics.sum(Metric::ConnectionErrors), Some(106));
        let inside = Window { start: START + 60_000_000, end: WINDOW.end - 60_000_000 };
        assert_eq!(metrics.sum_in(Metric::ConnectionErrors, inside), Some(100));
        assert_eq!(metrics.sum_outside(Metric::ConnectionErrors, &[]), Some(106));
        assert_eq!(metrics.sum_outside(Metric::ConnectionErrors, &[inside]), Some(6));
        // What has no value left was zero, or is not there.
        assert_eq!(metrics.sum_outside(Metric::ConnectionErrors, &[WINDOW]), Some(0));
        assert_eq!((highest(&[inside]), highest(&[WINDOW])), (Some((START, 0)), None));
    }

    #[test]
    fn both_forms_of_time_are_read() {
        for time in [json!("2026-03-01T12:00:00+00:00"), json!(1_772_366_400.0)] {
            let read: MetricDataResult = serde_json::from_value(json!({
                "Id": "m1", "Label": "a", "Timestamps": [time], "Values": [1.0],
                "StatusCode": "Complete"
            }))
            .unwrap();
            assert_eq!(read.timestamps, [START]);
        }
    }
}
