//! What the handler needs from the world: the logs, the configuration, a memory, somewhere to say it and
//! somewhere to count it.
//!
//! On AWS these are S3, ELBv2 with EC2 and CloudWatch, DynamoDB, and SNS; on a laptop they are folders, the
//! memory of the process and the screen.

use std::{
    fmt, io,
    ops::{ControlFlow, RangeInclusive},
};

use serde_json::Value;

use crate::{
    detection::Evidence,
    diagnosis::{Diagnosis, Facts},
    event::LogObject,
    incident::{Kept, Observation, Record},
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

/// What is remembered from one invocation to the next: what was observed, and what was said.
///
/// A write that was acknowledged is seen by every read that begins later, by whichever copy of the
/// function.
#[expect(async_fn_in_trait, reason = "one invocation at a time: no future crosses threads")]
pub trait Ledger {
    /// Keeps what was observed. The same object and window replaces what was
    /// kept of it: nothing is ever added twice. A damaged reading does not replace a whole one.
    ///
    /// # Errors
    /// When not all of it was kept.
    async fn keep(&self, kept: &[Kept]) -> Result<(), LedgerError>;

    /// The records of all target groups of a load balancer.
    ///
    /// # Errors
    /// When they could not be read.
    async fn records(&self, load_balancer: &str) -> Result<Vec<Record>, LedgerError>;

    /// What was observed of a load balancer in these windows, by window and object.
    ///
    /// # Errors
    /// When not all of it could be read.
    async fn observations(
        &self,
        load_balancer: &str,
        windows: RangeInclusive<i64>,
    ) -> Result<Vec<Observation>, LedgerError>;

    /// The packed details of these observations, in their order; `None` for those that are not there any
    /// more.
    ///
    /// # Errors
    /// When they could not be read.
    async fn details(
        &self,
        observations: &[&Observation],
    ) -> Result<Vec<Option<Vec<u8>>>, LedgerError>;

    /// Saves a record of version n in place of version n - 1, and only of that; version 1 only where
    /// there is none.
    ///
    /// # Errors
    /// When it is not known whether it was saved.
    async fn save(&self, record: &Record) -> Result<Saved, LedgerError>;
}

/// Whether a record was saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// It was.
    Saved,
    /// Another copy was faster: the record is not what was read.
    Conflict,
}

/// The ledger did not do what it was asked to: why, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct LedgerError {
    /// What failed, with the table's name.
    pub reason: String,
    /// The IAM action, when it was denied.
    pub permission: Option<&'static str>,
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

/// Where metrics go.
pub trait Metrics: fmt::Debug {
    /// The name of the function that they are of.
    fn function(&self) -> &str;

    /// Writes one document in CloudWatch's embedded metric format.
    ///
    /// # Errors
    /// When it was not written. That is logged and no more: a metric that is lost is no reason to handle
    /// an event again.
    fn put(&self, document: &Value) -> io::Result<()>;
}

/// A message that was not accepted: why, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotifierError(pub String);
