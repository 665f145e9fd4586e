//! Of which observations the details are looked at.

use std::collections::BTreeSet;

use super::Observation;
use crate::detection::{spikes::WindowRange, thresholds::WINDOWS_PER_HOUR};

/// Details of one diagnosis are at most this many packed bytes. They unpack to four or five times as
/// much, which has to fit into a function of 512 MB. Thirty nodes with 10,000 rows each in five minutes
/// have 18 MB in an hour; of more, those nearest to the failures are looked at. Counts are always of all.
pub const MAX_DETAILS_BYTES: u64 = 24_000_000;

/// The windows that belong to the evidence of an incident: an hour on either side.
pub fn windows_around((first, last): WindowRange) -> std::ops::RangeInclusive<i64> {
    first.saturating_sub(WINDOWS_PER_HOUR)..=last.saturating_add(WINDOWS_PER_HOUR)
}

/// Indices of the observations whose details are looked at, and how many are left out for want of room:
/// windows in which the target group fails come first, then their neighbours, then the others of the
/// incident, then those around it, the nearest first.
pub fn choose(
    observations: &[Observation],
    target_group: Option<&str>,
    range: WindowRange,
    max_bytes: u64,
) -> (Vec<usize>, u64) {
    let (first, last) = range;
    let has_failures = |it: &Observation| {
        it.group(target_group)
            .is_some_and(|it| 0 < it.counts.failures.saturating_add(it.counts.intentional_502))
    };
    let failing: BTreeSet<i64> = observations
        .iter()
        .filter(|it| (first..=last).contains(&it.window) && has_failures(it))
        .map(|it| it.window)
        .collect();
    let distance = |window: i64| -> u64 {
        if failing.contains(&window) {
            return 0;
        }
        let before = failing.range(..window).next_back();
        let after = failing.range(window..).next();
        let near = before.into_iter().chain(after).map(|it| it.abs_diff(window)).min();
        match near.unwrap_or(u64::MAX) {
            1 => 1,
            _ if (first..=last).contains(&window) => 2,
            near => near.saturating_add(2),
        }
    };
    let mut ranked: Vec<(u64, i64, &str, usize)> = observations
        .iter()
        .enumerate()
        .filter(|(_, it)| 0 < it.details_bytes && it.group(target_group).is_some())
        .map(|(index, it)| (distance(it.window), it.window, &*it.object.key, index))
        .collect();
    ranked.sort_unstable();
    let all = ranked.len();
    let mut bytes = 0_u64;
    let chosen: Vec<usize> = ranked
        .into_iter()
        .take_while(|(_, _, _, index)| {
            bytes = bytes.saturating_add(observations.get(*index).map_or(0, |it| it.details_bytes));
            bytes <= max_bytes
        })
        .map(|(_, _, _, index)| index)
        .collect();
    let left_out = (all - chosen.len()) as u64;
    (chosen, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::observation::sample;

    /// Observations of one node; the windows with failures, and 1,000 bytes of details each.
    fn observations(windows: std::ops::RangeInclusive<i64>, failing: &[i64]) -> Vec<Observation> {
        let of = |window: i64| {
            let failures = u64::from(failing.contains(&window));
            let mut it = sample(window, 1, 2, failures).observation;
            it.details_bytes = 1000;
            it
        };
        windows.map(of).collect()
    }

    fn chosen(all: &[Observation], range: WindowRange, max_bytes: u64) -> (Vec<i64>, u64) {
        let (chosen, left_out) = choose(all, Some("arn:shop-web"), range, max_bytes);
        (chosen.into_iter().map(|index| all[index].window).collect(), left_out)
    }

    #[test]
    fn an_hour_on_either_side_belongs_to_an_incident() {
        assert_eq!(windows_around((100, 103)), 88..=115);
    }

    #[test]
    fn windows_that_fail_come_first_then_the_nearest() {
        let all = observations(90..=112, &[100, 104]);
        let (order, left_out) = chosen(&all, (100, 104), MAX_DETAILS_BYTES);
        assert_eq!(order[..6], [100, 104, 99, 101, 103, 105], "they fail, and their neighbours");
        assert_eq!(order[6..7], [102], "the rest of the incident");
        assert_eq!(
            order[7..],
            [98, 106, 97, 107, 96, 108, 95, 109, 94, 110, 93, 111, 92, 112, 91, 90]
        );
        assert_eq!(left_out, 0);
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let all = observations(98..=102, &[100]);
        assert_eq!(chosen(&all, (100, 100), 5000), (vec![100, 99, 101, 98, 102], 0));
        assert_eq!(chosen(&all, (100, 100), 4999), (vec![100, 99, 101, 98], 1));
        assert_eq!(chosen(&all, (100, 100), 999), (vec![], 5));
    }

    #[test]
    fn objects_without_the_target_group_or_without_details_are_no_loss() {
        let mut all = observations(99..=101, &[100]);
        all[0].details_bytes = 0;
        assert_eq!(chosen(&all, (100, 100), MAX_DETAILS_BYTES), (vec![100, 101], 0));
        let (chosen, left_out) = choose(&all, Some("arn:another"), (100, 100), MAX_DETAILS_BYTES);
        assert_eq!((chosen.len(), left_out), (0, 0));
    }
}
