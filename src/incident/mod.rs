//! What is already open → what to say now.
//!
//! Every load-balancer node writes its own object every five minutes, and every object is read by another
//! invocation, late, twice and in any order. Each leaves an [`Observation`] in the ledger; what was said
//! of a target group stands in its [`Record`]. From both and the time, [`judge()`] decides what is to be
//! said. It knows no clock and no database: the same observations, record and time give the same decision.
//!
//! | | |
//! |---|---|
//! | opened | a spike that was not told yet, as soon as the first object shows it |
//! | changed | another leading cause, or a window with ten times the rate that was told |
//! | ongoing | still failing an hour after the last message |
//! | resolved | three complete windows with traffic after the last spike; or no traffic for 24 hours |
//! | trickle | at most once a day |
//!
//! A window is *complete* ten minutes after its end: until then objects of other nodes may be missing.

pub mod attribution;
pub mod choice;
pub mod judge;
pub mod observation;
pub mod record;
pub mod trickle;
pub mod words;

pub use judge::{Judgement, Settings, Speak, judge};
pub use observation::{GroupWindows, Kept, Observation, ObservedObject, Seen};
pub use record::{Idle, Lease, Open, Record, Told};

use crate::detection::thresholds::WINDOW_MICROS;

/// A window is complete so long after its end, in microseconds: ten minutes. Load balancers deliver an
/// object within five minutes of the end of its window, under load somewhat later.
/// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html>
pub const COMPLETE_AFTER_MICROS: i64 = 600_000_000;

/// Whether all objects of a window are there, as far as can be known.
pub fn is_complete(window: i64, now: i64) -> bool {
    end_of(window).saturating_add(COMPLETE_AFTER_MICROS) <= now
}

/// When a window begins, microseconds since 1970.
pub fn start_of(window: i64) -> i64 {
    window.saturating_mul(WINDOW_MICROS)
}

/// When a window ends, microseconds since 1970.
pub fn end_of(window: i64) -> i64 {
    start_of(window.saturating_add(1))
}

/// The window of a time in microseconds since 1970.
pub fn window_of(time: i64) -> i64 {
    time.div_euclid(WINDOW_MICROS)
}
