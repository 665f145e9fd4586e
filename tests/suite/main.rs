//! One test binary: what a user sees.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

mod by_hand;
#[cfg(feature = "cli")]
mod command_line;
mod cost;
#[cfg(feature = "cli")]
mod deliveries;
mod deployed;
#[cfg(feature = "cli")]
mod embedded_metrics;
#[cfg(feature = "cli")]
mod errors;
mod events;
#[cfg(feature = "cli")]
mod handler;
#[cfg(feature = "cli")]
mod hostile;
mod html;
mod keep_alive;
#[cfg(feature = "cli")]
mod ledger_down;
mod library;
mod made_up;
mod matrix;
#[cfg(feature = "cli")]
mod merged;
#[cfg(feature = "cli")]
mod messages;
#[cfg(feature = "aws")]
mod permissions;
mod portions;
#[cfg(feature = "probe")]
mod probe;
mod properties;
#[cfg(feature = "cli")]
mod readme_commands;
#[cfg(feature = "cli")]
mod rehearse;
mod scenarios;
mod template;
#[cfg(feature = "cli")]
mod terminal;
mod tidy;
mod trickles;
