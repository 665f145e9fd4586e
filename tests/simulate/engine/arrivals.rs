//! Who asks for what, and when.
use std::io;

use super::{Engine, Event, Id, Request, Sink, micros};
use crate::{clients, fleet::Does};

/// What a request is like before anybody takes it.
struct Asked {
    url: String,
    received: u64,
    trace: [u64; 2],
    poller: bool,
    coarse: bool,
}

impl<S: Sink> Engine<'_, S> {
    pub(super) fn pick_path(&mut self) -> usize {
        let weights: Vec<f64> = self.fleet.paths.iter().map(|p| p.weight).collect();
        self.rng.weighted(&weights)
    }

    pub(super) fn arrivals(&mut self) {
        let client = self.rng.below(self.fleet.traffic.clients);
        if !self.fleet.traffic.coarse && self.rng.chance(0.25) {
            clients::reconnect(&mut self.clients[client], &mut self.rng);
        }
        for n in 0..self.fleet.traffic.page.max(1) {
            let path = self.pick_path();
            let delay = if n == 0 { 0 } else { self.rng.micros(0.02, 0.15) };
            self.after(delay, Event::Start { client, path, poller: false });
        }
        let pages = self.fleet.traffic.rate / self.fleet.traffic.page.max(1) as f64;
        let wait = micros(self.rng.exponential(1.0 / pages)).max(1);
        self.after(wait, Event::Arrivals);
    }

    /// The machine with this number asks its target, all at once.
    pub(super) fn batch(&mut self, number: usize) -> io::Result<()> {
        let Some(batches) = self.fleet.traffic.batches else {
            return Ok(());
        };
        let first = self.fleet.traffic.clients + self.fleet.traffic.pollers.map_or(0, |p| p.count);
        let machines = self.clients.len() - first;
        let client = first + number % machines;
        let trace = [self.rng.next(), self.rng.next()];
        let template = self.fleet.paths[batches.path].url;
        let url = self.url(template);
        for _ in 0..batches.size {
            let id = self.id();
            let asked =
                Asked { url: url.clone(), received: 240, trace, poller: false, coarse: true };
            self.insert(id, client, batches.path, &asked);
            self.forward(id, self.fleet.paths[batches.path].group)?;
        }
        self.after(micros(batches.seconds), Event::Batch(number + 1));
        Ok(())
    }

    pub(super) fn next_stray(&mut self, kind: u8) {
        let traffic = &self.fleet.traffic;
        let rate = [traffic.scanners, traffic.scanners / 3.0, traffic.redirects][usize::from(kind)];
        if rate > 0.0 {
            let wait = micros(self.rng.exponential(1.0 / rate));
            self.after(wait, Event::Stray(kind));
        }
    }

    pub(super) fn url(&mut self, template: &str) -> String {
        // A few numbers repeat, many do not.
        let numbers = if self.fleet.traffic.coarse { 9 } else { 90_000 };
        let n = self.rng.below(numbers) + 1000;
        let h = self.rng.next() as u32;
        let path = template.replace("{n}", &n.to_string()).replace("{h}", &format!("{h:08x}"));
        format!("https://{}:443{path}", self.fleet.host)
    }

    pub(super) fn start(&mut self, client: usize, path: usize, poller: bool) -> io::Result<()> {
        let method = self.fleet.paths[path].method;
        let template = self.fleet.paths[path].url;
        let url = self.url(template);
        let c = &self.clients[client];
        let mut received = 90 + url.len() as u64 + c.agent.len() as u64;
        if c.large_cookies && matches!(self.fleet.paths[path].does, Does::OversizedHeaders) {
            received += 9_000 + self.rng.next() % 4_000;
        } else if !self.fleet.traffic.coarse {
            received += self.rng.next() % 900;
        }
        if matches!(method, "POST" | "PUT") {
            received += 200 + self.rng.next() % 3_000;
        }
        let patience = c.patience;
        let id = self.id();
        let trace = [self.rng.next(), self.rng.next()];
        let coarse = self.fleet.traffic.coarse;
        let trace = if coarse { [0, id << 32] } else { trace };
        let asked = Asked { url, received, trace, poller, coarse };
        self.insert(id, client, path, &asked);
        let group = self.fleet.paths[path].group;
        if self.fleet.paths[path].does.rule().is_some() {
            return self.rule_answers(id);
        }
        if self.fleet.groups[group].lambda.is_some() {
            self.lambda(id, group);
            return Ok(());
        }
        if let Some(seconds) = patience {
            let jitter = self.rng.micros(0.0, 0.01);
            self.after(micros(seconds) + jitter, Event::GivesUp { request: id });
        }
        self.forward(id, group)
    }

    fn insert(&mut self, id: Id, client: usize, path: usize, asked: &Asked) {
        let c = &self.clients[client];
        let protocol = if c.kind == "h2" { "HTTP/2.0" } else { "HTTP/1.1" };
        let method = self.fleet.paths[path].method;
        let request = Request {
            created: self.now,
            client,
            path,
            target: None,
            connection: None,
            sent: None,
            trace: asked.trace,
            url: format!("{method} {} {protocol}", asked.url),
            received: asked.received,
            poller: asked.poller,
            coarse: asked.coarse,
            at_server: false,
            tried: 0,
            status: 200,
            bad: None,
        };
        self.requests.insert(id, request);
    }

    pub(super) fn id(&mut self) -> Id {
        self.next += 1;
        self.next
    }

    pub(super) fn poll_again(&mut self, client: usize) {
        let Some(pollers) = self.fleet.traffic.pollers else {
            return;
        };
        let mut wait = self.rng.micros(pollers.seconds.0, pollers.seconds.1);
        if self.rng.chance(0.04) {
            wait += self.rng.micros(20.0, 90.0);
            let targets = self.fleet.targets.len();
            let sticky = self.rng.below(targets);
            let node = self.rng.below(self.fleet.nodes.len());
            let person = &mut self.clients[client];
            clients::reconnect(person, &mut self.rng);
            person.sticky = Some(sticky);
            person.node = node;
        }
        let path = self.pick_path();
        self.after(wait, Event::Start { client, path, poller: true });
    }
}
