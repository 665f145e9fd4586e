//! `aws cloudwatch get-metric-data`: a label is the metric's name, then the target group where the metric
//! has that dimension.
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Shown, State};
use crate::{
    engine::{Metrics, dimension},
    row::timestamp,
};

const MINUTE: i64 = 60_000_000;

impl Shown<'_> {
    /// Every minute up to the moment in which the configuration was read. CloudWatch reports counts only
    /// when there are any, and the number of hosts always.
    pub(super) fn metric_data(&self, metrics: &Metrics) -> Value {
        let until = self.taken_at.div_euclid(MINUTE);
        let first = self.fleet.start.div_euclid(MINUTE);
        let mut all = metrics.clone();
        for (number, group) in self.fleet.groups.iter().enumerate() {
            if group.lambda.is_some() {
                continue;
            }
            let hosts = |minute: i64| {
                let then = Shown { taken_at: minute * MINUTE, ..*self };
                let registered = |(_, target, state): &(usize, &crate::fleet::Target, State)| {
                    target.group == number && *state == State::Healthy
                };
                then.targets().filter(registered).count() as u64
            };
            let healthy: BTreeMap<i64, u64> = (first..until).map(|m| (m, hosts(m))).collect();
            let none = healthy.keys().map(|minute| (*minute, 0)).collect();
            let dimension = dimension(&group.arn);
            all.insert(format!("HealthyHostCount {dimension}"), healthy);
            all.insert(format!("UnHealthyHostCount {dimension}"), none);
        }
        let results: Vec<Value> = (all.iter().enumerate())
            .map(|(number, (label, counts))| {
                let seen = || counts.iter().filter(|(minute, _)| **minute < until);
                let times: Vec<String> = seen()
                    .map(|(minute, _)| timestamp(minute * MINUTE).replace(".000000Z", "+00:00"))
                    .collect();
                let values: Vec<f64> = seen().map(|(_, count)| *count as f64).collect();
                json!({
                    "Id": format!("m{number}"),
                    "Label": label,
                    "Timestamps": times,
                    "Values": values,
                    "StatusCode": "Complete",
                })
            })
            .collect();
        json!({"MetricDataResults": results})
    }
}
