//! Which metrics an invocation writes.

use crate::{
    diagnosis::Diagnosis,
    embedded_metrics::{Document, Origin},
    incident::{Kept, Observation, ObservedObject, attribution::Attributed, start_of},
    ports::Metrics,
};

/// Writes metrics, unless they are turned off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measuring<'a> {
    metrics: Option<&'a dyn Metrics>,
    origin: Origin<'a>,
}

impl<'a> Measuring<'a> {
    /// `now` is microseconds since 1970.
    pub(super) fn new(
        metrics: &'a dyn Metrics,
        is_on: bool,
        request_id: &'a str,
        now: i64,
    ) -> Self {
        let origin = Origin { function: metrics.function(), request_id, now };
        Self { metrics: is_on.then_some(metrics), origin }
    }

    /// What is counted of an object that was read to its end; nothing of another.
    pub(super) fn object(
        &self,
        index: usize,
        object: &ObservedObject,
        kept: &[(usize, Kept)],
    ) -> Vec<Document> {
        if self.metrics.is_none() || object.error.is_some() {
            return Vec::new();
        }
        let windows: Vec<&Observation> =
            kept.iter().filter(|(of, _)| *of == index).map(|(_, it)| &it.observation).collect();
        self.origin.of_object(object, &windows)
    }

    /// A message went out.
    pub(super) fn message(&self, diagnosis: &Diagnosis) {
        if self.metrics.is_some() {
            self.put(&[self.origin.of_message(diagnosis)]);
        }
    }

    /// Failures are counted under the causes of their diagnosis.
    pub(super) fn attributed(&self, diagnosis: &Diagnosis, windows: &Attributed) {
        if self.metrics.is_some() {
            self.put(&self.origin.by_cause(diagnosis, windows));
        }
    }

    /// Writes documents. Those that CloudWatch would not take are left out: it would count them as
    /// errors of the format.
    pub(super) fn put(&self, documents: &[Document]) {
        let Some(metrics) = self.metrics else { return };
        for it in documents {
            match it.refusal(self.origin.now) {
                None => {
                    if let Err(error) = metrics.put(&it.body) {
                        tracing::error!(subject = it.subject, %error, "metrics not written");
                    }
                }
                Some(reason) => {
                    let window = crate::diagnosis::timestamp(start_of(it.window)).to_string();
                    tracing::info!(subject = it.subject, window, reason, "metrics left out");
                }
            }
        }
    }
}
