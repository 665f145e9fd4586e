//! The windows of every target group → its incidents, each with its evidence.

use std::collections::BTreeMap;

use super::{
    cell::Cell,
    collect,
    detector::{Detector, GroupKey},
    evidence::{Evidence, Kind},
    spikes, trickles,
};

impl Detector {
    /// The incidents in the rows so far, ordered by load balancer, target group and time; trickles come
    /// after the spikes, and 502s on purpose last.
    pub fn incidents(&self) -> Vec<Evidence> {
        let mut incidents = Vec::new();
        for (key, group) in &self.groups {
            let identity = self.identity(key);
            let tallies = |failures: fn(&Cell) -> u64, requests: fn(&Cell) -> u64| {
                group
                    .windows
                    .iter()
                    .map(|(&window, cell)| {
                        let tally =
                            spikes::Tally { requests: requests(cell), failures: failures(cell) };
                        (window, tally)
                    })
                    .collect::<BTreeMap<_, _>>()
            };
            let real = tallies(|cell| cell.counts.failures, |cell| cell.counts.requests);
            let mut ranges = spikes::find(&real, &self.thresholds, None);
            let leaks = trickles::find(&real, &ranges, &self.thresholds);
            for &range in &leaks {
                let trickle = Kind::Trickle;
                incidents.push(collect::evidence(self, group, &identity, range, trickle, &ranges));
            }
            if ranges.is_empty() && leaks.is_empty() {
                let intentional = tallies(
                    |cell| cell.counts.intentional_502,
                    |cell| cell.counts.requests + cell.counts.intentional_502,
                );
                ranges = spikes::find(&intentional, &self.thresholds, None);
            }
            for range in ranges {
                incidents.push(collect::evidence(self, group, &identity, range, Kind::Spike, &[]));
            }
        }
        // What nobody wanted comes before what a rule answers on purpose.
        incidents.sort_by(|a, b| {
            let key = |it: &Evidence| {
                let on_purpose = it.counts.failures == 0;
                let whose = (it.load_balancer.clone(), it.target_group_arn.clone());
                (on_purpose, it.kind, whose, it.window)
            };
            key(a).cmp(&key(b))
        });
        incidents
    }

    /// Whose rows those of a target group are.
    pub(super) fn identity(&self, key: &GroupKey) -> collect::Identity {
        let place = self.places.get(&key.load_balancer);
        collect::Identity {
            load_balancer_id: key.load_balancer,
            load_balancer: self.names.get(key.load_balancer),
            account: place.map(|(account, _)| self.names.get(*account)),
            region: place.map(|(_, region)| self.names.get(*region)),
            target_group_arn: key.target_group.map(|arn| self.names.get(arn)),
        }
    }
}
