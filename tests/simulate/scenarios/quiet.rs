//! What must not wake anybody, and logs that are large.
use super::{NORMAL, orders, shop};
use crate::fleet::{Batches, Change, Does, Fleet, Server};

/// Many machines that ask for the same thing many times at once, and some people.
fn large(f: &mut Fleet, batches: f64, minutes: f64, size: usize) {
    let seconds = minutes * 60.0 / batches;
    let path = f.path("GET", "/api/feed", 0.0, (0.02, 0.0), Does::Answers(200));
    f.traffic.batches = Some(Batches { seconds, size, path });
    f.traffic.clients = 15;
    (f.traffic.rate, f.minutes) = (0.3, minutes);
}

pub(super) const ALL: &[fn() -> Fleet] = &[
    || {
        let about = "All targets are taken out for two minutes: 503 and nothing else.";
        let mut f = orders("healthy-503", about, 2, Server::NODE_FIXED);
        for target in 0..2 {
            f.at(5.0, Change::Deregister(target));
            f.at(7.0, Change::Register(target));
        }
        (f.traffic.rate, f.minutes) = (0.6, 10.0);
        f
    },
    || {
        let about = "Clients that wait five seconds ask for reports that take longer: 460.";
        let mut f = shop("healthy-impatient", about, 3, Server::NODE_FIXED);
        f.traffic.impatient = 0.6;
        f.path("GET", "/reports/slow", 30.0, (7.0, 0.4), Does::Answers(200));
        (f.traffic.rate, f.minutes) = (0.6, 10.0);
        f
    },
    || {
        let about = "A client with a wrong link and a client without a login: 404 and 403, nothing of the load balancer.";
        let mut f = shop("healthy-404", about, 3, Server::NODE_FIXED);
        f.path("GET", "/products/{n}/gone", 60.0, NORMAL, Does::Answers(404));
        f.path("GET", "/admin", 40.0, NORMAL, Does::Answers(403));
        (f.traffic.rate, f.minutes) = (0.7, 10.0);
        f
    },
    || {
        let about = "An idle timeout of 4000 s and a health check on another port, but no failure.";
        let mut f = orders("healthy-suspicious", about, 3, Server { ..Server::NODE_FIXED });
        f.idle_timeout = 4000.0;
        f.groups[0].health_check_port = 8081;
        f.groups[0].deregistration_delay = 0.0;
        for target in &mut f.targets {
            target.server.keep_alive = crate::fleet::KeepAlive::Closes(4100.0, 4100.5);
        }
        (f.traffic.rate, f.minutes) = (0.6, 10.0);
        f
    },
    || {
        let about = "One 502 in a hundred thousand requests: a child of a server dies once.";
        let mut f =
            shop("one-in-100000", about, 4, Server::NODE_FIXED).label(&["closed-mid-request"]);
        large(&mut f, 200.0, 15.0, 500);
        f.at(8.0, Change::ChildDies(2));
        f
    },
    || {
        let about = "Two hundred thousand requests in twenty minutes; the process of one target of eight is down for 15 seconds.";
        let mut f = shop("huge-refused", about, 8, Server::NODE_FIXED).label(&["connect-refused"]);
        large(&mut f, 400.0, 20.0, 500);
        f.at(12.4, Change::Kill(5));
        f.at(12.65, Change::Listen(5));
        f
    },
];
