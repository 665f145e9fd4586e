//! Idle connections: whose timer is shorter, which connection a node takes, and closes that are no timer.
use super::{orders, race, reports, shop};
use crate::fleet::{Batches, Change, Does, Fleet, KeepAlive, Pollers, Reuse, Server};

/// People who come when they like, on logs of many rows.
fn poisson(f: &mut Fleet, rate: f64, minutes: f64) {
    f.traffic.rate = rate;
    f.traffic.clients = 15;
    f.minutes = minutes;
}

/// Two or three pages on each node and target, so that a pool has several connections.
fn several_per_pool(name: &'static str, about: &'static str, reuse: Reuse) -> Fleet {
    let mut f = shop(name, about, 2, Server::NODE).label(&["keepalive-race"]);
    f.reuse = reuse;
    race(&mut f, 0.4, 10, (5.97, 6.08), 12.0);
    f
}

/// The server drops its idle connections every second or two, whatever their age.
fn reloads(f: &mut Fleet, from: f64, to: f64) {
    let mut second = from;
    for n in 0.. {
        second += 0.9 + 1.2 * f64::from(n * 7 % 11) / 11.0;
        if to < second {
            return;
        }
        f.changes.push((second, Change::Reload(0)));
    }
}

pub(super) const ALL: &[fn() -> Fleet] = &[
    || {
        let about = "The race of Node without pages that keep time: people come when they like, two in a thousand meet it.";
        let mut f = shop("keepalive-poisson", about, 4, Server::NODE).label(&["keepalive-race"]);
        poisson(&mut f, 1.3, 45.0);
        f
    },
    || {
        let about = "The race of gunicorn with threads, closing after 2 to 2.8 s, under traffic that comes as it likes.";
        let mut f = reports("keepalive-poisson-gunicorn", about, 2, Server::GUNICORN_THREADS)
            .label(&["keepalive-race"]);
        poisson(&mut f, 1.6, 20.0);
        f
    },
    || {
        let about = "Several connections per node and target; the node takes the one that was idle longest.";
        several_per_pool("keepalive-oldest-first", about, Reuse::Oldest)
    },
    || {
        let about = "Several connections per node and target; the node takes any.";
        several_per_pool("keepalive-any-order", about, Reuse::Any)
    },
    || {
        let about =
            "One target of four closes idle connections after 6 s, the others keep them 66 s.";
        let mut f =
            shop("keepalive-one-of-four", about, 4, Server::NODE_FIXED).label(&["keepalive-race"]);
        f.targets[2].server = Server::NODE;
        race(&mut f, 0.4, 16, (5.97, 6.08), 12.0);
        f
    },
    || {
        let about = "Two targets close idle connections after 5 s, two after 6 s.";
        let mut f =
            shop("keepalive-two-settings", about, 4, Server::NODE).label(&["keepalive-race"]);
        f.targets[1].server = Server::APACHE;
        f.targets[2].server = Server::APACHE;
        race(&mut f, 0.3, 8, (4.95, 6.05), 20.0);
        f
    },
    || {
        let about = "Tomcat as it is shipped closes idle connections after 20 s.";
        let mut f = orders("keepalive-tomcat", about, 4, Server::TOMCAT).label(&["keepalive-race"]);
        race(&mut f, 0.1, 8, (19.95, 20.3), 25.0);
        f
    },
    || {
        let about =
            "Spring Boot keeps idle connections 60 s, exactly as long as the load balancer.";
        let mut f = orders("keepalive-spring", about, 4, Server::SPRING).label(&["keepalive-race"]);
        race(&mut f, 0.05, 8, (59.85, 60.02), 60.0);
        f
    },
    || {
        let about =
            "A busy gunicorn looks at its timers late: idle connections end after 2 to 6 s.";
        let server = Server::serving(KeepAlive::Closes(2.0, 6.0));
        let mut f =
            reports("keepalive-scattered-timer", about, 3, server).label(&["keepalive-race"]);
        race(&mut f, 0.1, 6, (1.9, 4.5), 20.0);
        f
    },
    || {
        let about =
            "The load balancer keeps idle connections 4000 s, nginx closes them after 75 s.";
        let mut f = shop("keepalive-idle-4000", about, 4, Server::NGINX).label(&["keepalive-race"]);
        f.idle_timeout = 4000.0;
        race(&mut f, 0.02, 8, (74.97, 75.12), 60.0);
        f
    },
    || {
        let about = "A leak of a few 502s an hour, for six hours, in fifty thousand good requests.";
        let mut f = shop("keepalive-slow-leak", about, 2, Server::NODE).label(&["keepalive-race"]);
        f.nodes.truncate(1);
        f.traffic.pollers = Some(Pollers { count: 2, seconds: (5.0, 12.0) });
        let path = f.path("GET", "/api/feed", 0.0, (0.02, 0.0), Does::Answers(200));
        f.traffic.batches = Some(Batches { seconds: 108.0, size: 250, path });
        (f.traffic.scanners, f.traffic.redirects) = (0.0, 0.0);
        poisson(&mut f, 0.002, 360.0);
        f
    },
    || {
        let about =
            "The race of Node goes on while the process of one target is down for three minutes.";
        let mut f = shop("keepalive-beside-refused", about, 4, Server::NODE)
            .label(&["connect-refused", "keepalive-race"]);
        f.groups[0].health_check_port = 3001;
        race(&mut f, 1.2, 3, (5.9, 6.2), 14.0);
        f.at(6.0, Change::Kill(1));
        f.at(9.0, Change::Listen(1));
        f
    },
    || {
        let about = "The targets close each connection right after its answer, and do not say so.";
        let server = Server::serving(KeepAlive::Closes(0.0, 0.001));
        let mut f = shop("closes-after-answer", about, 2, server).label(&["keepalive-race"]);
        f.nodes.truncate(1);
        poisson(&mut f, 3.0, 8.0);
        f
    },
    || {
        let about =
            "The race of Node goes on while a handler drops two of three connections at once.";
        let mut f = shop("keepalive-beside-dropping-path", about, 4, Server::NODE)
            .label(&["closed-mid-request", "keepalive-race"]);
        race(&mut f, 1.2, 3, (5.9, 6.2), 14.0);
        f.path("POST", "/api/quote", 9.0, (0.02, 0.4), Does::DropsConnection(0.66));
        f
    },
    || {
        let about = "A process manager reloads the only server every second or two: idle connections of any age end.";
        let mut f = reports("reload-drops-idle", about, 1, Server::NODE_FIXED)
            .label(&["idle-connections-dropped"]);
        f.nodes.truncate(1);
        reloads(&mut f, 60.0, 840.0);
        poisson(&mut f, 1.6, 15.0);
        f
    },
    || {
        let about = "Workers make room after 8 answers and end their idle connections without having said so.";
        let server = Server { max_requests: Some(8), ..Server::NODE_FIXED };
        let mut f = reports("max-requests", about, 1, server).label(&["idle-connections-dropped"]);
        poisson(&mut f, 9.0, 5.0);
        f
    },
];
