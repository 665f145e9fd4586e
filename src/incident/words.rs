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
            "changed: {} failed in the five minutes from {}; the most told before is {}",
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

/// Added to the sentence while the counts are not complete: the rate that is to be believed. The first
/// node's object may hold every failure and a thirtieth of the requests.
pub fn beside_usual(requests: u64, rate: f64) -> String {
    format!(
        "; beside the usual {} of this time it is {}",
        plural(requests, "request"),
        percent(rate)
    )
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

/// What is not counted of an incident that is older than what the ledger keeps: the rows before this time,
/// microseconds since 1970, and why.
pub fn lost_rows(before: i64) -> (String, String) {
    (
        format!("rows before {}", clock(timestamp(before))),
        "too long ago for the ledger; all counts are of the time since".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Told, window_of};

    fn micros(time: &str) -> i64 {
        time.parse::<Timestamp>().unwrap().as_microsecond()
    }

    fn open() -> Open {
        let first = window_of(micros("2026-11-20T12:05:00Z"));
        Open {
            id: "alb502-000000000000".to_owned(),
            first,
            last: first + 3,
            told: Some(Told { at: micros("2026-11-20T12:11:07Z"), rate: 0.012, last: first }),
            causes: vec!["connect-refused".to_owned(), "keepalive-race".to_owned()],
            reviewed: i64::MIN,
            signatures: Vec::new(),
            attributed: 0,
            idle: None,
            usual_rate: None,
        }
    }

    #[test]
    fn every_status_reads_well() {
        let worse = Speak::Worse { start: micros("2026-11-20T12:15:00Z"), rate: 0.34 };
        let silent = Speak::NoTraffic(micros("2026-11-20T12:25:00Z"));
        for (speak, phase_expected, expected) in [
            (Speak::Opened, "opened", "opened, so far from 3 objects of 2 nodes"),
            (
                worse,
                "changed",
                "changed: 34 % failed in the five minutes from 2026-11-20 12:15 UTC; the most told \
                 before is 1.2 %",
            ),
            (
                Speak::Review,
                "changed",
                "changed: another leading cause than connect-refused, keepalive-race, told at \
                 2026-11-20 12:11 UTC",
            ),
            (
                Speak::Ongoing,
                "ongoing",
                "ongoing since 2026-11-20 12:05 UTC; told before at 2026-11-20 12:11 UTC",
            ),
            (
                Speak::Resolved,
                "resolved",
                "resolved: no spike in three windows with traffic after 2026-11-20 12:25 UTC",
            ),
            (silent, "resolved", "closed: no traffic since 2026-11-20 12:25 UTC"),
        ] {
            assert_eq!(phase(speak).as_str(), phase_expected);
            assert_eq!(status(speak, &open(), (3, 2)), expected);
        }
        let one = status(Speak::Opened, &open(), (1, 1));
        assert_eq!(one, "opened, so far from 1 object of 1 node");
    }

    #[test]
    fn what_is_missing_is_said() {
        let trickle = trickle((288, 1));
        assert_eq!(trickle, "told at most once a day; from 288 objects of 1 node");
        assert_eq!(
            lost_details(2, 1200),
            "those of 2 of 1,200 objects were not looked at: too many, too old or unreadable; counts \
             are of all"
        );
        assert_eq!(
            unmerged(1),
            "alone: the ledger did not answer, so this is 1 object by itself; other objects of the \
             same incident may tell it again"
        );
    }
}
