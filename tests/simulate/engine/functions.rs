//! Lambda targets.
use std::io;

use super::{Engine, Event, Id, Sink, micros};
use crate::fleet::Does;

impl<S: Sink> Engine<'_, S> {
    pub(super) fn lambda(&mut self, id: Id, group: usize) {
        let limit = self.fleet.groups[group].lambda.as_ref().map_or(0, |l| l.concurrency);
        let path = &self.fleet.paths[self.requests[&id].path];
        let (does, (median, sigma)) = (path.does, path.latency);
        let sent = self.now + self.rng.micros(0.0005, 0.009);
        let (mut bad, mut time) = (None, micros(self.rng.lognormal(median, sigma)));
        if self.lambdas[group] >= limit {
            (bad, time) = (Some("LambdaThrottling"), self.rng.micros(0.004, 0.02));
        } else if let Does::LambdaError(reason, share) = does
            && self.rng.chance(share)
        {
            bad = Some(reason);
            if reason == "LambdaConnectionTimeout" {
                time = micros(10.0) + self.rng.micros(0.0005, 0.0015);
            }
        }
        if bad != Some("LambdaThrottling") {
            self.lambdas[group] += 1;
        }
        if let Some(request) = self.requests.get_mut(&id) {
            (request.sent, request.bad) = (Some(sent), bad);
        }
        self.at(sent + time, Event::LambdaDone { request: id });
    }

    pub(super) fn lambda_done(&mut self, id: Id) -> io::Result<()> {
        let Some(request) = self.requests.remove(&id) else {
            return Ok(());
        };
        let group = self.fleet.paths[request.path].group;
        if request.bad != Some("LambdaThrottling") {
            self.lambdas[group] = self.lambdas[group].saturating_sub(1);
        }
        let sent = request.sent.unwrap_or(request.created);
        let waited = [Some(sent - request.created), Some(self.now - sent)];
        let Some(reason) = request.bad else {
            let times = [waited[0], waited[1], Some(0)];
            return self.emit(&request, times, 200, Some(200), None, "-");
        };
        let (status, times) = match reason {
            "LambdaConnectionTimeout" => (504, [None; 3]),
            _ => (502, [waited[0], waited[1], None]),
        };
        self.emit(&request, times, status, None, Some(cause(reason)), reason)
    }
}

/// The mechanism behind an error_reason.
fn cause(reason: &str) -> &'static str {
    match reason {
        "LambdaThrottling" => "lambda-throttling",
        "LambdaInvalidResponse" => "lambda-invalid-response",
        "LambdaUnhandled" => "lambda-unhandled",
        "LambdaResponseTooLarge" => "lambda-response-too-large",
        "LambdaENILimitReachedException" => "lambda-eni-limit-reached-exception",
        "LambdaConnectionTimeout" => "lambda-connection-timeout",
        _ => "lambda-unknown",
    }
}
