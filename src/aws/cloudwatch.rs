//! CloudWatch: one question for every metric, and what the SDK's types are in the words of
//! [`crate::diagnosis::metrics`].

use aws_sdk_cloudwatch::{
    Client,
    types::{self as sdk, Dimension, MetricDataQuery, MetricStat},
};
use aws_smithy_types::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::{actions::GET_METRIC_DATA, ask::Asker};
use crate::{
    detection::Window,
    diagnosis::{
        Fact,
        facts::TargetGroup,
        metrics::{Metric, MetricDataResult, Metrics, NAMESPACE, Subject},
    },
};

/// CloudWatch keeps values of a minute for so long, and of five minutes after it.
/// Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html>,
/// Metrics retention.
const MINUTES_ARE_KEPT: SignedDuration = SignedDuration::from_hours(15 * 24);

/// Seconds. How often Elastic Load Balancing reports.
const MINUTE: i32 = 60;

/// Seconds. The windows of incidents are as long, and begin at the same moments.
const FIVE_MINUTES: i32 = 300;

/// CloudWatch in one region, for one diagnosis.
#[derive(Debug, Clone, Copy)]
pub(super) struct CloudWatch<'a> {
    pub(super) client: &'a Client,
    pub(super) asker: &'a Asker,
}

impl CloudWatch<'_> {
    /// Every metric of a load balancer (`app/name/id`) and of a target group (`targetgroup/name/id`),
    /// in one call. Which of them a group has is not known yet; what it has not comes back empty.
    pub(super) async fn metrics(
        &self,
        load_balancer: &str,
        target_group: Option<&str>,
        window: Window,
        now: Timestamp,
    ) -> Fact<Vec<MetricDataResult>> {
        let (start, end) = whole_minutes(window);
        let period = period(start, now);
        let queries = Metric::ALL.into_iter().enumerate().filter_map(|(index, metric)| {
            Some(
                MetricDataQuery::builder()
                    .id(format!("m{index}"))
                    .label(metric.label(target_group)?)
                    .metric_stat(stat(metric, load_balancer, target_group, period))
                    .build(),
            )
        });
        let pages = self
            .client
            .get_metric_data()
            .set_metric_data_queries(Some(queries.collect()))
            .start_time(DateTime::from_secs(start))
            .end_time(DateTime::from_secs(end))
            .scan_by(sdk::ScanBy::TimestampAscending)
            .into_paginator();
        let call = pages.send().collect::<Result<Vec<_>, _>>();
        self.asker.ask(GET_METRIC_DATA, call).await.map(|pages| {
            let results =
                pages.into_iter().flat_map(|it| it.metric_data_results.unwrap_or_default());
            results.map(MetricDataResult::from).collect()
        })
    }
}

/// Reads the answer, once it is known what kind of target group it is about.
pub(super) fn read(
    answer: Fact<Vec<MetricDataResult>>,
    target_group: Option<&str>,
    described: Option<&TargetGroup>,
    window: Window,
) -> Fact<Metrics> {
    let subject = Subject { target_group, is_lambda: described.map(TargetGroup::is_lambda) };
    match answer {
        Fact::Known(results) => Metrics::of(&results, &subject, window),
        Fact::Unknown(gap) => Fact::Unknown(gap),
    }
}

fn stat(
    metric: Metric,
    load_balancer: &str,
    target_group: Option<&str>,
    period: i32,
) -> MetricStat {
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    let of_group = target_group.filter(|_| metric.is_of_target_group());
    let dimensions = of_group
        .map(|group| dimension("TargetGroup", group))
        .into_iter()
        .chain([dimension("LoadBalancer", load_balancer)]);
    let metric_of = sdk::Metric::builder()
        .namespace(NAMESPACE)
        .metric_name(metric.name())
        .set_dimensions(Some(dimensions.collect()))
        .build();
    MetricStat::builder().metric(metric_of).period(period).stat(metric.statistic()).build()
}

/// The window from and to whole minutes, in seconds since 1970.
fn whole_minutes(window: Window) -> (i64, i64) {
    let minute = i64::from(MINUTE) * 1_000_000;
    let start = window.start.div_euclid(minute);
    let end = window.end.div_euclid(minute) + i64::from(window.end.rem_euclid(minute) != 0);
    (start * i64::from(MINUTE), end * i64::from(MINUTE))
}

fn period(start: i64, now: Timestamp) -> i32 {
    let age = SignedDuration::from_secs(now.as_second().saturating_sub(start));
    if age < MINUTES_ARE_KEPT { MINUTE } else { FIVE_MINUTES }
}

impl From<sdk::MetricDataResult> for MetricDataResult {
    fn from(it: sdk::MetricDataResult) -> Self {
        let times = it.timestamps.unwrap_or_default();
        Self {
            label: it.label.unwrap_or_default(),
            timestamps: times.iter().map(|time| time.secs().saturating_mul(1_000_000)).collect(),
            values: it.values.unwrap_or_default(),
            status_code: it.status_code.map(|status| status.as_str().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_widened_to_minutes() {
        for (start, end, expected) in [
            (0, 300_000_000, (0, 300)),
            (1, 300_000_001, (0, 360)),
            (59_999_999, 60_000_000, (0, 60)),
        ] {
            assert_eq!(whole_minutes(Window { start, end }), expected);
        }
    }

    #[test]
    fn older_incidents_are_asked_for_in_five_minutes() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let days = |days: i64| now.as_second() - days * 86_400;
        assert_eq!([0, 14, 15, 60].map(|it| period(days(it), now)), [60, 60, 300, 300]);
    }
}
