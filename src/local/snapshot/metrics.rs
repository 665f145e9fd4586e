//! What a snapshot says CloudWatch counted.
//!
//! A label names the metric and the target group, not the load balancer: a metric of the whole load
//! balancer is taken from `get-metric-data.<load balancer>.json`, or from a file without a name when the
//! snapshot describes one load balancer.

use super::{METRICS, Named, Snapshot, facts::load_balancer_name};
use crate::{
    detection::Window,
    diagnosis::{
        Fact,
        facts::TargetGroup,
        metrics::{MetricDataResult, Metrics, Subject, target_group_dimension},
    },
};

impl Snapshot {
    pub(super) fn metrics(
        &self,
        load_balancer_id: &str,
        target_group_arn: Option<&str>,
        target_group: Option<&TargetGroup>,
        window: Window,
    ) -> Fact<Metrics> {
        let name = load_balancer_name(load_balancer_id);
        let files: Vec<&Named<_>> = self
            .metrics
            .iter()
            .filter(|file| file.name.as_deref().is_none_or(|of| of == name))
            .collect();
        if files.is_empty() {
            return Fact::Unknown(METRICS.missing(Some(name)));
        }
        let alone = self.is_alone(load_balancer_id);
        let mut results = Vec::new();
        for file in files {
            let Some(content) = &file.content else {
                let file = METRICS.file(file.name.as_deref());
                return Fact::Unknown(
                    METRICS.gap(format!("{file} in the snapshot cannot be read")),
                );
            };
            let is_of_load_balancer = file.name.is_some() || alone;
            // A label with a space names the target group, which belongs to one load balancer.
            let usable = |it: &&MetricDataResult| is_of_load_balancer || it.label.contains(' ');
            results.extend(content.iter().filter(usable).cloned());
        }
        let subject = Subject {
            target_group: target_group_arn.map(target_group_dimension),
            is_lambda: target_group.map(TargetGroup::is_lambda),
        };
        Metrics::of(&results, &subject, window)
    }
}
