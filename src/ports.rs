//! What the handler needs from the world: the logs, the configuration, somewhere to say it.
//!
//! On AWS these are S3, ELBv2 with EC2 and CloudWatch, and SNS; on a laptop they are folders and the screen.

use std::ops::ControlFlow;

use crate::{
    detection::Evidence,
    diagnosis::{Diagnosis, Facts},
    event::LogObject,
    notification::Notification,
};

/// Where the log objects are.
#[expect(async_fn_in_trait, reason = "one invocation at a time: no future crosses threads")]
pub trait LogStore {
    /// Streams an object in pieces of any size to `sink`, until it says break.
    ///
    /// # Errors
    /// When the object cannot be read to its end.
    async fn stream(
        &self,
        object: &LogObject,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogStoreError>;
}

/// An object that could not be read: why, in words, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LogStoreError(pub String);

/// What AWS says of the load balancer and target group of an incident.
#[expect(async_fn_in_trait, reason = "one invocation at a time: no future crosses threads")]
pub trait Configuration {
    /// Gathers the facts. It cannot fail: what is missing is a gap.
    async fn facts(&self, evidence: &Evidence) -> Facts;
}

/// Where a diagnosis goes.
#[expect(async_fn_in_trait, reason = "one invocation at a time: no future crosses threads")]
pub trait Notifier {
    /// Publishes one message.
    ///
    /// # Errors
    /// When it was not accepted.
    async fn publish(
        &self,
        diagnosis: &Diagnosis,
        notification: &Notification,
    ) -> Result<(), NotifierError>;
}

/// A message that was not accepted: why, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotifierError(pub String);
