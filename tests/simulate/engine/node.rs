//! The node: it chooses a target, takes a connection out of its pool or opens one.
use std::io;

use super::{Connection, Engine, Event, Failure, Id, Sink, micros};
use crate::fleet::{Reuse, Speaks};

impl<S: Sink> Engine<'_, S> {
    pub(super) fn forward(&mut self, id: Id, group: usize) -> io::Result<()> {
        let client = self.requests[&id].client;
        let node = self.clients[client].node;
        let sticky = self.clients[client].sticky;
        let known = &self.known[node][group];
        if known.is_empty() {
            return self.no_targets(id);
        }
        let target = match sticky {
            Some(t) if known.contains(&t) => t,
            _ => {
                self.turn[node][group] += 1;
                known[self.turn[node][group] % known.len()]
            }
        };
        if self.fleet.traffic.sticky {
            self.clients[client].sticky = Some(target);
        }
        let pool = &self.pools[node][target];
        let reuse = self.fleet.reuse;
        let at = match (pool.is_empty(), reuse) {
            (true, _) => None,
            (false, Reuse::Newest) => Some(pool.len() - 1),
            (false, Reuse::Oldest) => Some(0),
            (false, Reuse::Any) => Some(self.rng.below(pool.len())),
        };
        let connection = at.map(|at| self.pools[node][target].remove(at));
        if let Some(request) = self.requests.get_mut(&id) {
            request.target = Some(target);
            request.connection = connection;
            request.tried = self.now;
        }
        if let Some(connection) = connection.and_then(|c| self.connections.get_mut(&c)) {
            connection.request = Some(id);
            let delay = self.rng.micros(0.0001, 0.0009);
            self.after(delay, Event::Send { request: id });
        } else {
            self.connect(id, 0);
        }
        Ok(())
    }

    /// One way through the network; other zones are farther.
    pub(super) fn one_way(&mut self, node: usize, target: usize) -> i64 {
        let far = if node % 2 == target % 2 { 0.000_15 } else { 0.000_45 };
        self.rng.micros(far, far + 0.000_15)
    }

    pub(super) fn connect(&mut self, id: Id, attempt: u8) {
        let Some(request) = self.requests.get(&id) else {
            return;
        };
        let (Some(target), client) = (request.target, request.client) else {
            return;
        };
        let tried = request.tried;
        let node = self.clients[client].node;
        let way = self.one_way(node, target);
        let group = &self.fleet.groups[self.fleet.targets[target].group];
        let (https, t) = (group.https, &self.fleet.targets[target]);
        let walled = self.wall.is_some_and(|wall| wall.stops(node, target));
        let (firewalled, host_up, listening) = (t.firewalled || walled, t.host_up, t.listening);
        let server = t.server;
        let state = &self.states[target];
        let full = state.busy >= server.workers && state.queue.len() >= server.backlog;
        let draining = state.draining;
        if firewalled {
            let over = tried + micros(10.0) + self.rng.micros(0.0005, 0.0015);
            let failure = Failure::ConnectTimeout("blocked-port");
            self.at(over, Event::Fail { request: id, failure });
        } else if !host_up {
            let over = tried + self.rng.micros(2.98, 3.12);
            let failure = Failure::NotConnected("host-unreachable");
            self.at(over, Event::Fail { request: id, failure });
        } else if !listening {
            let over = 2 * way + self.rng.micros(0.0001, 0.0008);
            let cause = if draining { "draining-early-close" } else { "connect-refused" };
            self.after(over, Event::Fail { request: id, failure: Failure::NotConnected(cause) });
        } else if full && server.resets_when_full {
            let over = 2 * way + self.rng.micros(0.0001, 0.0008);
            let failure = Failure::NotConnected("saturation");
            self.after(over, Event::Fail { request: id, failure });
        } else if full {
            // The SYN is dropped; the kernel of the node tries again after 1, 3 and 7 seconds.
            let retry = [1.02, 3.07, 7.1].get(usize::from(attempt)).copied();
            match retry {
                Some(seconds) => {
                    let over = tried + micros(seconds) + self.rng.micros(0.0, 0.02);
                    self.at(over, Event::Connect { request: id, attempt: attempt + 1 });
                }
                None => {
                    let over = tried + micros(10.0) + self.rng.micros(0.0005, 0.0015);
                    let failure = Failure::ConnectTimeout("saturation");
                    self.at(over, Event::Fail { request: id, failure });
                }
            }
        } else if https && (server.speaks == Speaks::Http || self.rng.chance(server.tls_fails)) {
            let over = 4 * way + self.rng.micros(0.0005, 0.003);
            let failure = Failure::NotConnected("tls-handshake");
            self.after(over, Event::Fail { request: id, failure });
        } else {
            let connection = self.id();
            let open = Connection {
                node,
                target,
                epoch: 0,
                closed: None,
                request: Some(id),
                last: false,
                leftover: false,
            };
            self.connections.insert(connection, open);
            self.states[target].connections.insert(connection);
            if let Some(request) = self.requests.get_mut(&id) {
                request.connection = Some(connection);
            }
            let tls = if https { 2 * way + self.rng.micros(0.001, 0.002) } else { 0 };
            let delay = 2 * way + tls + self.rng.micros(0.0001, 0.0006);
            self.after(delay, Event::Send { request: id });
        }
    }

    pub(super) fn connection_of(&self, id: Id) -> Option<Id> {
        self.requests.get(&id).and_then(|r| r.connection)
    }

    pub(super) fn send(&mut self, id: Id) {
        let now = self.now;
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        request.sent = Some(now);
        let (Some(target), client) = (request.target, request.client) else {
            return;
        };
        let way = self.one_way(self.clients[client].node, target);
        self.after(way, Event::AtServer { request: id });
    }

    pub(super) fn drop_connection(&mut self, id: Id) {
        if let Some(connection) = self.connections.remove(&id) {
            self.pools[connection.node][connection.target].retain(|&c| c != id);
            self.states[connection.target].connections.remove(&id);
        }
    }

    pub(super) fn learns(&mut self, node: usize, target: usize, registered: bool) {
        let known = &mut self.known[node][self.fleet.targets[target].group];
        known.retain(|&t| t != target);
        if registered {
            known.push(target);
        } else {
            for connection in std::mem::take(&mut self.pools[node][target]) {
                self.drop_connection(connection);
            }
        }
    }
}
