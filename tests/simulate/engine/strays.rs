//! Rows that never were a request to a target of the scenario.
use std::io;

use super::{Engine, Sink};
use crate::{clients, fleet::Speaks, row::Row};

impl<S: Sink> Engine<'_, S> {
    /// Rows that never were a request to a target of the scenario: 0 scanner, 1 garbage, 2 redirect.
    pub(super) fn stray(&mut self, kind: u8) -> io::Result<()> {
        const PROBES: &[&str] =
            &["/.env", "/wp-login.php", "/.git/config", "/actuator/health", "/phpmyadmin/"];
        let n = self.rng.below(self.fleet.traffic.clients);
        let mut client = clients::client(n * 7 + 3, self.fleet.nodes.len(), 0.0, &mut self.rng);
        let probe = PROBES[self.rng.below(PROBES.len())];
        let host = self.fleet.host.clone();
        let ip = self.fleet.nodes[client.node].clone();
        let known = self.known[client.node].first().cloned().unwrap_or_default();
        let pick = self.rng.below(known.len());
        let wall = self.wall;
        let healthy = |number: &&usize| {
            let t = &self.fleet.targets[**number];
            let walled = wall.is_some_and(|wall| wall.stops(client.node, **number));
            t.listening
                && !t.firewalled
                && !walled
                && !t.app_down
                && t.host_up
                && t.server.speaks == Speaks::Http
        };
        let target =
            known.get(pick).filter(healthy).map(|&t| self.fleet.targets[t].endpoint.clone());
        // What needs a handshake or another protocol is left to the requests of the scenario.
        let plain = self.fleet.groups.first().is_some_and(|g| !g.https && g.version == "HTTP1");
        let trace = Some([self.rng.next(), self.rng.next()]);
        let took = self.rng.micros(0.001, 0.006);
        if kind == 0 {
            client.agent = "Mozilla/5.0 zgrab/0.x";
            client.kind = "https";
        }
        let mut row = Row {
            time: self.now,
            created: self.now,
            elb: &self.elb,
            client: &client,
            target: None,
            times: [None; 3],
            elb_status: 400,
            target_status: None,
            received: 0,
            sent: 272,
            request: "",
            plain: true,
            malformed: false,
            group_arn: None,
            trace: None,
            certificate: &self.certificate,
            host: &host,
            priority: "-",
            actions: "-",
            redirect: "-",
            error_reason: "-",
            classification: ("-", "-"),
            fields: self.fields,
        };
        let (request, redirect);
        match kind {
            0 => {
                let (Some(endpoint), true) = (&target, plain) else {
                    return Ok(());
                };
                request = format!("GET https://{host}:443{probe} HTTP/1.1");
                row.plain = false;
                row.created = self.now - took;
                row.target = Some(endpoint);
                row.times = [Some(took / 4), Some(took - took / 4), Some(0)];
                (row.elb_status, row.target_status) = (404, Some(404));
                (row.received, row.sent) = (134, 391);
                (row.group_arn, row.priority) = (Some(self.fleet.groups[0].arn.as_str()), "0");
                (row.trace, row.actions) = (trace, "forward");
            }
            1 => {
                request = format!("- http://{host}:80- -");
                row.malformed = true;
            }
            _ => {
                request = format!("GET http://{ip}:80{probe} HTTP/1.1");
                redirect = format!("https://{ip}:443{probe}");
                (row.elb_status, row.received, row.sent) = (301, 142, 329);
                (row.redirect, row.priority) = (&redirect, "0");
                (row.trace, row.actions) = (trace, "redirect");
            }
        }
        row.request = &request;
        self.line.clear();
        row.write(&mut self.line)?;
        let (status, target_status) = (row.elb_status, row.target_status);
        let node = client.node;
        self.count(status, target_status);
        self.sink.row(node, self.now, &self.line)
    }
}
