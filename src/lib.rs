//! Says why an AWS Application Load Balancer answers 502 while every target is Healthy.
//!
//! # The way of the data
//!
//! | module | what goes in | what comes out |
//! |---|---|---|
//! | [`access_log`] | bytes, cut anywhere | lines, then entries that borrow from them |
//! | [`detection`] | entries | counts per target group and window, incidents with their evidence |
//! | [`diagnosis`] | evidence and facts | checks, causes, one diagnosis |
//! | [`incident`] | observations, what was said, the time | what to say now |
//! | [`notification`] | a diagnosis | email, chat and machine forms, one document for SNS |
//! | [`embedded_metrics`] | what was read and told | lines that CloudWatch reads metrics from |
//!
//! These six are pure: they know no clock, no environment, no network and no SDK, and the same bytes
//! and facts always give the same message. `cargo test --no-default-features` builds only them, with
//! [`bucket_notification`], [`config`], [`event`] and the configuration snapshot of [`local`]. [`neutralize`] makes the text of
//! strangers harmless, [`numbers`] writes numbers as people read them.
//!
//! Around them stand the shells: `handler` runs one invocation over the traits in [`ports`],
//! [`local`] implements these with folders and the screen, `aws` with S3, ELBv2, EC2 and SNS;
//! `command_line` is the `alb502` command, `lambda` the function. `probe` talks to a target as the load
//! balancer does; what it reports is judged in `diagnosis` with the rest.

// The future of one invocation holds those of every SDK: their layout is deeper than the compiler looks
// by itself.
#![recursion_limit = "256"]

pub mod access_log;
pub mod detection;
pub mod diagnosis;
pub mod embedded_metrics;
pub mod incident;
pub mod neutralize;
pub mod notification;
pub mod numbers;

pub mod bucket_notification;
pub mod config;
pub mod event;
pub mod ports;

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(any(feature = "cli", feature = "aws"))]
pub mod handler;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod local;
#[cfg(any(feature = "cli", feature = "lambda"))]
mod log;

#[cfg(feature = "cli")]
pub mod command_line;
#[cfg(feature = "probe")]
pub mod probe;
