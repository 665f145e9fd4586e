//! The server: workers, answers, idle connections, deaths.
use super::{Engine, Event, Failure, Id, Sink, micros};
use crate::fleet::{Change, Does, KeepAlive, Speaks};

impl<S: Sink> Engine<'_, S> {
    pub(super) fn at_server(&mut self, id: Id) {
        let Some(connection) = self.connection_of(id) else {
            return;
        };
        let Some(target) = self.requests[&id].target else {
            return;
        };
        let Some(open) = self.connections.get_mut(&connection) else {
            return;
        };
        open.epoch += 1;
        if let Some((noticed, cause)) = open.closed {
            // Nobody is there any more: a RST comes back, behind the FIN that the node has not read yet.
            let client = self.requests[&id].client;
            let way = self.one_way(self.clients[client].node, target);
            let time = noticed.max(self.now + way);
            self.at(time, Event::Fail { request: id, failure: Failure::Closed(cause) });
            return;
        }
        if open.leftover {
            // The node takes what the last answer left behind for this one.
            let delay = self.rng.micros(0.0002, 0.0006);
            let failure = Failure::Closed("malformed-response");
            self.after(delay, Event::Fail { request: id, failure });
            return;
        }
        let server = self.fleet.targets[target].server;
        let group = &self.fleet.groups[self.fleet.targets[target].group];
        let preface = group.version != "HTTP1" && server.speaks == Speaks::Http;
        if server.speaks == Speaks::Tls && !group.https || preface {
            self.server_closes(connection, "protocol-mismatch", 0.003);
            let delay = self.rng.micros(0.0004, 0.0016);
            let failure = Failure::Closed("protocol-mismatch");
            self.after(delay, Event::Fail { request: id, failure });
            return;
        }
        if let Some(request) = self.requests.get_mut(&id) {
            request.at_server = true;
        }
        self.states[target].serving.insert(id);
        let idle = micros(self.fleet.idle_timeout);
        let never = matches!(
            self.fleet.paths[self.requests[&id].path].does,
            Does::NeverAnswers(_) | Does::SticksInC(_)
        );
        if never {
            let late = self.rng.micros(0.0002, 0.002);
            self.after(idle + late, Event::Fail { request: id, failure: Failure::IdleTimeout });
        }
        if self.states[target].busy < server.workers {
            self.serve(id, target);
        } else {
            self.states[target].queue.push_back(id);
        }
    }

    pub(super) fn serve(&mut self, id: Id, target: usize) {
        let state = &mut self.states[target];
        state.busy += 1;
        let limit = self.fleet.targets[target].server.out_of_memory;
        if limit.is_some_and(|limit| limit < state.busy) {
            self.dies(target, (3.0, 6.0));
            return;
        }
        let generation = state.generation;
        let child_dies = std::mem::take(&mut state.child_dies);
        let Some(request) = self.requests.get(&id) else {
            // The client has gone, the work is still done.
            let delay = self.rng.micros(0.05, 0.2);
            self.after(delay, Event::Answer { request: id, target, generation });
            return;
        };
        let (client, path) = (request.client, request.path);
        let path = &self.fleet.paths[path];
        let (does, (median, sigma)) = (path.does, path.latency);
        let seconds = self.rng.lognormal(median, sigma).max(0.0004);
        let mut time = micros(seconds);
        let mut status = 200;
        let mut bad = None;
        if child_dies {
            bad = Some("closed-mid-request");
        }
        match does {
            Does::Answers(code) => status = code,
            Does::Malformed => bad = Some("malformed-response"),
            Does::OversizedHeaders => {
                bad = self.clients[client].large_cookies.then_some("oversized-headers");
            }
            Does::OversizedHeadersForAll => bad = Some("oversized-headers"),
            Does::DropsConnection(share) => {
                if self.rng.chance(share) {
                    bad = Some("closed-mid-request");
                }
            }
            Does::CrashesProcess(share) => {
                if self.rng.chance(share) {
                    bad = Some("crash");
                }
            }
            Does::SticksInC(share) => {
                let timeout = self.fleet.targets[target].server.worker_timeout;
                if let (true, Some((low, high))) = (self.rng.chance(share), timeout) {
                    let delay = self.rng.micros(low, high);
                    self.after(delay, Event::Killed { request: id, target, generation });
                    return;
                }
            }
            Does::NeverAnswers(share) => {
                if self.rng.chance(share) {
                    time = micros(3600.0);
                }
            }
            Does::ProxyAnswers502(share) => {
                if self.rng.chance(share) {
                    (status, time) = (502, self.rng.micros(0.0006, 0.003));
                }
            }
            Does::Fails500(share) => {
                if self.rng.chance(share) {
                    status = 500;
                }
            }
            Does::LeavesBytes
            | Does::LambdaError(..)
            | Does::FixedResponse(_)
            | Does::WafAnswers(_) => {}
        }
        if self.fleet.targets[target].app_down {
            (status, time, bad) = (502, self.rng.micros(0.0006, 0.003), None);
        }
        let closes = self.fleet.targets[target].closes;
        if 0.0 < closes && self.rng.chance(closes) {
            (time, bad) = (self.rng.micros(0.002, 0.03), Some("closed-mid-request"));
        }
        if let Some(request) = self.requests.get_mut(&id) {
            (request.status, request.bad) = (status, bad);
        }
        self.after(time, Event::Answer { request: id, target, generation });
    }

    pub(super) fn free_worker(&mut self, target: usize, id: Id) {
        let state = &mut self.states[target];
        state.busy = state.busy.saturating_sub(1);
        state.serving.remove(&id);
        if let Some(next) = self.states[target].queue.pop_front() {
            self.serve(next, target);
        }
    }

    pub(super) fn answer(&mut self, id: Id, target: usize, generation: u32) {
        if self.states[target].generation != generation {
            return;
        }
        self.free_worker(target, id);
        let Some(request) = self.requests.get(&id) else {
            return;
        };
        let (bad, client, connection) = (request.bad, request.client, request.connection);
        let path = request.path;
        if bad == Some("crash") {
            self.states[target].serving.insert(id);
            self.dies(target, (0.8, 1.6));
            return;
        }
        let way = self.one_way(self.clients[client].node, target);
        if let Some(cause) = bad {
            self.after(way, Event::Fail { request: id, failure: Failure::Closed(cause) });
            return;
        }
        self.after(way, Event::Received { request: id });
        let Some(connection) = connection else { return };
        let leaves = matches!(self.fleet.paths[path].does, Does::LeavesBytes);
        if let Some(open) = self.connections.get_mut(&connection) {
            open.leftover |= leaves;
        }
        self.counts_answers(target);
        match self.fleet.targets[target].server.keep_alive {
            KeepAlive::Off => {}
            KeepAlive::Closes(low, high) => {
                // Most close near the lower end; the rest waits for the server's own timer.
                let late = (self.rng.unit() * self.rng.unit()) * (high - low);
                let epoch = self.connections.get(&connection).map_or(0, |c| c.epoch);
                let delay = micros(low + late);
                self.after(delay, Event::ServerCloses { connection, epoch });
            }
        }
    }

    /// The server's FIN or RST leaves now; the node notices it up to `notice` seconds later.
    pub(super) fn server_closes(&mut self, id: Id, cause: &'static str, notice: f64) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        if connection.closed.is_some() {
            return;
        }
        let (node, target) = (connection.node, connection.target);
        let way = self.one_way(node, target);
        let noticed = self.now + way + self.rng.micros(0.001_f64.min(notice), notice);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.closed = Some((noticed, cause));
        }
        self.at(noticed, Event::Noticed { connection: id });
    }

    pub(super) fn fail_soon(&mut self, id: Id, cause: &'static str) {
        let delay = self.rng.micros(0.0002, 0.002);
        self.after(delay, Event::Fail { request: id, failure: Failure::Closed(cause) });
    }

    /// The process dies of itself, and is started again after so many seconds.
    fn dies(&mut self, target: usize, back: (f64, f64)) {
        self.kill(target, "closed-mid-request");
        let restart = self.rng.micros(back.0, back.1);
        let n = self.fleet.changes.len();
        self.fleet.changes.push((0.0, Change::Listen(target)));
        self.after(restart, Event::Change(n));
    }

    /// A worker that has answered its fill makes room for a new one.
    fn counts_answers(&mut self, target: usize) {
        let state = &mut self.states[target];
        state.answers += 1;
        let fill = self.fleet.targets[target].server.max_requests;
        if fill.is_some_and(|fill| state.answers.is_multiple_of(fill)) {
            self.reload(target);
        }
    }

    /// Idle connections end at once, unannounced; those in use end with the answer.
    pub(super) fn reload(&mut self, target: usize) {
        for id in self.states[target].connections.clone() {
            match self.connections.get_mut(&id) {
                Some(connection) if connection.request.is_some() => connection.last = true,
                _ => self.server_closes(id, "idle-connections-dropped", 0.05),
            }
        }
    }

    pub(super) fn kill(&mut self, target: usize, cause: &'static str) {
        self.fleet.targets[target].listening = false;
        for connection in self.states[target].connections.clone() {
            self.server_closes(connection, cause, 0.05);
        }
        let state = &mut self.states[target];
        state.generation += 1;
        state.busy = 0;
        state.queue.clear();
        for request in std::mem::take(&mut state.serving) {
            self.fail_soon(request, cause);
        }
    }
}
