//! Which failures are counted under the causes of a diagnosis: each failure once, though an incident is
//! told and diagnosed many times.
//!
//! An incident is diagnosed anew whenever one more of its windows is complete. The failures of these
//! windows, and only of these, are attributed then, each at its own time. What arrives after that is
//! attributed when the incident ends: so all that was attributed adds up to the failures that the last
//! message tells.

use super::{GroupWindows, Record, is_complete};
use crate::detection::spikes::WindowRange;

/// Numbers of windows, each with its failures.
pub type Attributed = Vec<(i64, u64)>;

impl Record {
    /// Attributes the windows of the open incident that became complete since it was last diagnosed. To
    /// be called before [`Record::reviewed`], which remembers the diagnosis.
    pub fn attribute(&mut self, now: i64, windows: &GroupWindows) -> Attributed {
        let Some(open) = &mut self.open else { return Attributed::new() };
        let first = open.first.max(open.reviewed.saturating_add(1));
        let attributed = complete(now, windows, (first, open.last), |_| true);
        for (_, failures) in &attributed {
            open.attributed = open.attributed.saturating_add(*failures);
        }
        attributed
    }

    /// Attributes what is left of the open incident, which had so many failures and is over. It counts
    /// in the last window.
    pub fn attribute_rest(&mut self, failures: u64) -> Attributed {
        let Some(open) = &mut self.open else { return Attributed::new() };
        let rest = failures.saturating_sub(open.attributed);
        open.attributed = open.attributed.saturating_add(rest);
        if rest == 0 { Attributed::new() } else { vec![(open.last, rest)] }
    }

    /// What is attributed with a trickle: its complete windows outside of `spikes` and of incidents.
    pub fn attribute_trickle(
        &self,
        now: i64,
        windows: &GroupWindows,
        range: WindowRange,
        spikes: &[WindowRange],
    ) -> Attributed {
        let is_in = |ranges: &[WindowRange], window: i64| {
            ranges.iter().any(|(first, last)| (*first..=*last).contains(&window))
        };
        complete(now, windows, range, |it| !is_in(spikes, it) && !is_in(&self.over, it))
    }
}

fn complete(
    now: i64,
    windows: &GroupWindows,
    (first, last): WindowRange,
    is_wanted: impl Fn(i64) -> bool,
) -> Attributed {
    if last < first {
        return Attributed::new();
    }
    (windows.range(first..=last))
        .filter(|(window, seen)| {
            0 < seen.failures && is_complete(**window, now) && is_wanted(**window)
        })
        .map(|(window, seen)| (*window, seen.failures))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Open, Seen, end_of};

    const TEN_MINUTES: i64 = super::super::COMPLETE_AFTER_MICROS;

    fn windows(failures: &[(i64, u64)]) -> GroupWindows {
        let seen = |failures| Seen { requests: 100, failures, ..Seen::default() };
        failures.iter().map(|(window, failures)| (*window, seen(*failures))).collect()
    }

    fn record(first: i64, last: i64) -> Record {
        let open = Open::new("alb502-0123456789ab".to_owned(), first, last, None);
        Record { open: Some(open), ..Record::new("app/shop/1", None) }
    }

    #[test]
    fn a_window_is_attributed_when_it_is_complete_and_never_again() {
        let known = windows(&[(99, 1), (100, 20), (101, 0), (102, 30), (103, 7)]);
        let settings = crate::config::Config::from_lookup(|_| None).unwrap().incident_settings();
        let mut record = record(100, 103);
        let complete = end_of(102) + TEN_MINUTES;
        assert_eq!(record.attribute(complete - 1, &known), [(100, 20)]);
        record.reviewed(complete - 1, &known, &settings);
        assert_eq!(record.attribute(complete, &known), [(102, 30)]);
        record.reviewed(complete, &known, &settings);
        assert_eq!(record.attribute(complete, &known), []);
        // Two came late for the first window, and the last one was never diagnosed.
        assert_eq!(record.attribute_rest(59), [(103, 9)]);
        assert_eq!(record.attribute_rest(59), []);
    }

    #[test]
    fn a_record_without_an_incident_attributes_nothing() {
        let mut record = Record::new("app/shop/1", None);
        assert_eq!(record.attribute(i64::MAX, &windows(&[(100, 20)])), []);
        assert_eq!(record.attribute_rest(20), []);
    }

    #[test]
    fn a_trickle_leaves_out_what_an_incident_has_attributed() {
        let known = windows(&[(10, 1), (20, 50), (25, 2), (30, 1), (31, 1), (40, 1)]);
        let mut record = Record::new("app/shop/1", None);
        record.over = vec![(24, 26)];
        let now = end_of(31) + TEN_MINUTES;
        let attributed = record.attribute_trickle(now, &known, (15, 40), &[(20, 20)]);
        assert_eq!(attributed, [(30, 1), (31, 1)]);
        assert_eq!(record.attribute_trickle(now - 1, &known, (15, 40), &[(20, 20)]), [(30, 1)]);
    }
}
