//! Where in its life an incident is, in a sentence.

use jiff::Timestamp;

use super::{Open, Speak, end_of, start_of};
use crate::{
    diagnosis::{Phase, timestamp},
    numbers::{count, percent, plural},
};

/// The phase of a message. A review that finds another leading cause is a change.
pub fn phase(speak: Speak) -> Phase {
    match speak {
        Speak::Opened => Phase::Opened,
        Speak::Worse { .. } | Speak::Review => Phase::Changed,
        Speak::Ongoing => Phase::Ongoing,
        Speak::Resolved | Speak::NoTraffic(_) => Phase::Resolved,
    }
}

/// The sentence. `open` is the incident as it was told last; objects and nodes are those of its windows.
pub fn status(speak: Speak, open: &Open, (objects, nodes): (u64, u64)) -> String {
    let told = open.told.as_ref();
    let told_at = told.map_or(String::new(), |told| clock(timestamp(told.at)));
    match speak {
        Speak::Opened => {
            format!(
                "opened, so far from {} of {}",
                plural(objects, "object"),
                plural(nodes, "node")
            )
        }
        Speak::Worse { start, rate } => format!(
            "changed: {} failed in the five minutes from {}; {} was the most that was told, at {told_at}",
            percent(rate),
            clock(timestamp(start)),
            percent(told.map_or(0.0, |told| told.rate)),
        ),
        Speak::Review => format!(
            "changed: another leading cause than {}, told at {told_at}",
            open.causes.join(", ")
        ),
        Speak::Ongoing => format!(
            "ongoing since {}; told before at {told_at}",
            clock(timestamp(start_of(open.first)))
        ),
        Speak::Resolved => format!(
            "resolved: no spike in three windows with traffic after {}",
            clock(timestamp(end_of(open.last)))
        ),
        Speak::NoTraffic(since) => {
            format!("closed: no traffic since {}", clock(timestamp(since)))
        }
    }
}

/// What is said of a trickle.
pub fn trickle((objects, nodes): (u64, u64)) -> String {
    format!(
        "told at most once a day; from {} of {}",
        plural(objects, "object"),
        plural(nodes, "node")
    )
}

/// Why not everything was looked at.
pub fn lost_details(lost: u64, all: u64) -> String {
    format!(
        "those of {} of {} were not looked at: too many, too old or unreadable; counts are of all",
        count(lost),
        plural(all, "object")
    )
}

/// What is said of a diagnosis that could not be merged with other objects.
pub fn unmerged(objects: u64) -> String {
    format!(
        "alone: the ledger did not answer, so this is {} by itself; other objects of the same incident \
         may tell it again",
        plural(objects, "object")
    )
}

fn clock(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
