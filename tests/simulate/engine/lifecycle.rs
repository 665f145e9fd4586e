//! What happens to targets: killed, restarted, registered, deregistered.
use super::{Engine, Event, Sink, micros};
use crate::fleet::Change;

impl<S: Sink> Engine<'_, S> {
    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Kill(target) => {
                let cause = if self.states[target].draining {
                    "draining-early-close"
                } else {
                    "closed-mid-request"
                };
                self.kill(target, cause);
            }
            Change::Listen(target) => self.fleet.targets[target].listening = true,
            Change::HostUp(target, up) => self.fleet.targets[target].host_up = up,
            Change::Register(target) => self.announce(target, true),
            Change::Deregister(target) => {
                self.states[target].draining = true;
                self.announce(target, false);
                let group = self.fleet.targets[target].group;
                let delay = self.fleet.groups[group].deregistration_delay;
                self.after(micros(delay), Event::DrainEnds(target));
            }
            Change::ChildDies(target) => self.states[target].child_dies = true,
            Change::Reload(target) => self.reload(target),
            Change::AppDown(target, down) => self.fleet.targets[target].app_down = down,
            Change::Closes(target, share) => self.fleet.targets[target].closes = share,
            Change::Wall(wall) => self.wall = Some(wall),
            Change::Rate(rate) => self.fleet.traffic.rate = rate,
        }
    }

    pub(super) fn announce(&mut self, target: usize, registered: bool) {
        self.fleet.targets[target].registered = registered;
        let (low, high) = self.fleet.groups[self.fleet.targets[target].group].propagation;
        for node in 0..self.fleet.nodes.len() {
            let delay = self.rng.micros(low, high);
            self.after(delay, Event::Learns { node, target, registered });
        }
    }
}
