//! How requests end, and the row of each.
use std::io;

use super::{Engine, Event, Failure, Id, Request, Sink, micros};
use crate::{fleet::KeepAlive, row::Row};

/// What the times of coarse rows are cut to, microseconds.
const COARSE: i64 = 10_000;

impl<S: Sink> Engine<'_, S> {
    pub(super) fn received(&mut self, id: Id) -> io::Result<()> {
        let Some(request) = self.requests.remove(&id) else {
            return Ok(());
        };
        let (Some(target), Some(sent)) = (request.target, request.sent) else {
            return Ok(());
        };
        if let Some(id) = request.connection {
            let node = self.clients[request.client].node;
            let group = self.fleet.targets[target].group;
            let keeps = !matches!(self.fleet.targets[target].server.keep_alive, KeepAlive::Off)
                && self.known[node][group].contains(&target);
            let idle = self.fleet.idle_timeout;
            match self.connections.get_mut(&id) {
                Some(connection) if keeps && !connection.last => {
                    connection.request = None;
                    let epoch = connection.epoch;
                    self.pools[node][target].push(id);
                    self.after(micros(idle), Event::NodeCloses { connection: id, epoch });
                }
                _ => self.drop_connection(id),
            }
        }
        let times = [Some(sent - request.created), Some(self.now - sent), Some(0)];
        let cause = (request.status == 502).then_some("target-generated");
        self.emit(&request, times, request.status, Some(request.status), cause, "-")
    }

    pub(super) fn fail(&mut self, id: Id, failure: Failure) -> io::Result<()> {
        let Some(request) = self.requests.remove(&id) else {
            return Ok(());
        };
        if let Some(connection) = request.connection {
            self.drop_connection(connection);
        }
        if let (Failure::ConnectTimeout(cause) | Failure::NotConnected(cause), Some(target)) =
            (failure, request.target)
        {
            self.count_not_connected(target, cause);
        }
        let since = |from: i64| Some(self.now - from);
        let sent = request.sent;
        let dispatched = sent.map(|sent| sent - request.created);
        let (times, status, cause) = match failure {
            Failure::ConnectTimeout(cause) => ([None; 3], 504, cause),
            Failure::NotConnected(cause) => ([None; 3], 502, cause),
            Failure::Closed(cause) => ([dispatched, sent.and_then(since), None], 502, cause),
            Failure::IdleTimeout => ([dispatched, None, None], 504, "idle-timeout"),
        };
        self.emit(&request, times, status, None, Some(cause), "-")
    }

    pub(super) fn gives_up(&mut self, id: Id) -> io::Result<()> {
        let Some(request) = self.requests.remove(&id) else {
            return Ok(());
        };
        if let Some(connection) = request.connection {
            self.drop_connection(connection);
        }
        let dispatched = request.sent.map(|sent| sent - request.created);
        self.emit(&request, [dispatched, None, None], 460, None, None, "-")
    }

    pub(super) fn no_targets(&mut self, id: Id) -> io::Result<()> {
        let Some(request) = self.requests.remove(&id) else {
            return Ok(());
        };
        self.emit(&request, [None; 3], 503, None, None, "-")
    }

    pub(super) fn rule_answers(&mut self, id: Id) -> io::Result<()> {
        let Some(request) = self.requests.remove(&id) else {
            return Ok(());
        };
        let Some((code, _)) = self.fleet.paths[request.path].does.rule() else {
            return Ok(());
        };
        let cause = (code == 502).then_some("intentional-response");
        self.emit(&request, [None; 3], code, None, cause, "-")
    }

    pub(super) fn emit(
        &mut self,
        request: &Request,
        times: [Option<i64>; 3],
        status: u16,
        target_status: Option<u16>,
        cause: Option<&'static str>,
        reason: &str,
    ) -> io::Result<()> {
        let rule = self.fleet.paths[request.path].does.rule();
        let fixed = rule.is_some();
        let client = &self.clients[request.client];
        let node = client.node;
        let group = &self.fleet.groups[self.fleet.paths[request.path].group];
        let coarse = request.coarse && cause.is_none() && status < 400;
        let sent = match status {
            460 => 0,
            _ if coarse => 2_500,
            _ if target_status.is_some() && status < 400 => {
                let median = if request.url.contains("/static/") { 20_000.0 } else { 2_500.0 };
                300 + self.rng.lognormal(median, 0.8) as u64
            }
            _ if target_status.is_some() => 380 + self.rng.next() % 200,
            _ if client.kind == "h2" => 277,
            _ => 272,
        };
        let cut = |time: i64| if coarse { time - time.rem_euclid(COARSE) } else { time };
        let (now, times) = (cut(self.now), times.map(|time| time.map(cut)));
        let row = Row {
            time: now,
            created: cut(request.created),
            elb: &self.elb,
            client,
            target: request.target.map(|t| self.fleet.targets[t].endpoint.as_str()),
            times,
            elb_status: status,
            target_status,
            received: request.received,
            sent,
            request: &request.url,
            plain: false,
            malformed: false,
            group_arn: (!fixed).then_some(group.arn.as_str()),
            trace: Some(request.trace),
            certificate: &self.certificate,
            host: &self.fleet.host,
            priority: if fixed { "5" } else { group.priority },
            actions: rule.map_or("forward", |(_, action)| action),
            redirect: "-",
            error_reason: if reason.starts_with("Lambda") { reason } else { "-" },
            classification: ("-", "-"),
            fields: self.fields,
        };
        self.line.clear();
        row.write(&mut self.line)?;
        let group = if fixed { "-" } else { group.name };
        match cause {
            Some("intentional-response") => self.truth.intentional_502 += 1,
            Some("target-generated") => self.truth.target_502 += 1,
            Some("idle-timeout") => self.truth.idle_504 += 1,
            Some("lambda-connection-timeout") => {}
            Some(_) if status == 504 => self.truth.connect_504 += 1,
            Some(_) => self.truth.elb_502 += 1,
            None => {}
        }
        if let Some(cause) = cause {
            *self.truth.causes.entry((group.to_owned(), cause)).or_default() += 1;
        }
        let window = self.truth.windows.entry(self.now.div_euclid(300_000_000)).or_default();
        window.0 += 1;
        window.1 += u64::from(cause.is_some_and(|c| c != "intentional-response"));
        self.count(status, target_status);
        self.count_answer(request, status, target_status, reason);
        self.sink.row(node, now, &self.line)?;
        if request.poller {
            self.poll_again(request.client);
        }
        Ok(())
    }

    pub(super) fn count(&mut self, status: u16, target_status: Option<u16>) {
        self.truth.rows += 1;
        let target = target_status.map_or_else(|| "-".to_owned(), |s| s.to_string());
        *self.truth.statuses.entry(format!("{status}/{target}")).or_default() += 1;
    }
}
