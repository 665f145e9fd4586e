//! What CloudWatch counts: from what happened to connections and answers, by minute.
use std::collections::BTreeMap;

use super::{Engine, Request, Sink};

/// Counts by label and minute since 1970. A label is the metric's name, then, after a space, the target
/// group where the metric has that dimension.
pub(crate) type Metrics = BTreeMap<String, BTreeMap<i64, u64>>;

/// The dimension of a target group: the end of its ARN.
pub(crate) fn dimension(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}

impl<S: Sink> Engine<'_, S> {
    fn count_metric(&mut self, name: &str, group: Option<usize>) {
        let label = match group {
            Some(group) => format!("{name} {}", dimension(&self.fleet.groups[group].arn)),
            None => name.to_owned(),
        };
        let minute = self.now.div_euclid(60_000_000);
        *self.truth.metrics.entry(label).or_default().entry(minute).or_default() += 1;
    }

    /// A connection that never stood, whether it was refused or timed out, or its handshake failed.
    pub(super) fn count_not_connected(&mut self, target: usize, cause: &str) {
        let name = match cause {
            "tls-handshake" => "TargetTLSNegotiationErrorCount",
            _ => "TargetConnectionErrorCount",
        };
        self.count_metric(name, Some(self.fleet.targets[target].group));
    }

    pub(super) fn count_answer(
        &mut self,
        request: &Request,
        status: u16,
        target_status: Option<u16>,
        reason: &str,
    ) {
        let path = &self.fleet.paths[request.path];
        let (group, by_rule) = (path.group, path.does.rule().is_some());
        // RequestCount counts only requests for which a target was chosen.
        if request.target.is_some() || self.fleet.groups[group].lambda.is_some() {
            self.count_metric("RequestCount", None);
            self.count_metric("RequestCount", Some(group));
        }
        match (status, target_status) {
            (_, Some(500..)) => self.count_metric("HTTPCode_Target_5XX_Count", Some(group)),
            (502, None) if !by_rule => self.count_metric("HTTPCode_ELB_502_Count", None),
            (503, None) if !by_rule => self.count_metric("HTTPCode_ELB_503_Count", None),
            (504, None) => self.count_metric("HTTPCode_ELB_504_Count", None),
            _ => {}
        }
        if matches!(reason, "LambdaInvalidResponse" | "LambdaUnhandled" | "LambdaResponseTooLarge")
        {
            self.count_metric("LambdaUserError", Some(group));
        }
    }
}
