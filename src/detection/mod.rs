//! Entries → windows and evidence → incidents.
//!
//! Rows are counted per load balancer and target group in five-minute windows by their own time. A
//! spike is a run of windows that crosses a threshold, a trickle a stretch of up to a day with a few
//! failures an hour; the evidence is what the rows in it say, beside the healthy rows around it.

pub mod detector;
pub mod evidence;
pub mod portion;
pub mod signature;
pub mod thresholds;

mod bounded;
mod cell;
mod collect;
mod folded_path;
mod incidents;
mod names;
mod nearest;
mod packed;
mod pauses;
mod room;
mod row;
pub mod spikes;
mod tally;
pub mod trickles;

pub use detector::{Detector, SourceId};
pub use evidence::{
    Bucket, Counts, Distribution, Evidence, FailureRow, Kind, Minute, Pause, Pauses, Window,
};
pub use nearest::Nearest;
pub use packed::PackedError;
pub use portion::{GroupCounts, Portion};
pub use signature::Signature;
pub use thresholds::Thresholds;
