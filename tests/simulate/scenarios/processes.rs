//! Processes that are down, die, are killed, or cannot keep up.
use super::{NORMAL, orders, reports, shop};
use crate::fleet::{Change, Does, Fleet, KeepAlive, Server};

/// Two of three renderings stick in C code until the watchdog kills their worker.
fn stuck(name: &'static str, about: &'static str, timeout: (f64, f64), idle: f64) -> Fleet {
    let server = Server { worker_timeout: Some(timeout), ..Server::GUNICORN_SYNC };
    let mut f = reports(name, about, 3, server).label(&["worker-timeout"]);
    f.path("POST", "/reports/render", 4.0, (2.0, 0.4), Does::SticksInC(0.65));
    f.idle_timeout = idle;
    f.traffic.rate = 0.8;
    f
}

/// A minute of many times the traffic on three small targets.
fn burst(name: &'static str, about: &'static str, server: Server, rate: f64) -> Fleet {
    let mut f = Fleet::new(name, "tickets", about);
    f.group("tickets-app", 8000);
    f.targets(3, server);
    f.path("GET", "/events/{n}", 20.0, (0.45, 0.3), Does::Answers(200));
    f.path("POST", "/events/{n}/seats", 10.0, (0.6, 0.3), Does::Answers(200));
    f.path("GET", "/queue", 6.0, (0.3, 0.3), Does::Answers(200));
    f.traffic.rate = 0.4;
    f.traffic.impatient = 0.01;
    f.at(5.5, Change::Rate(rate));
    f.at(6.0, Change::Rate(0.4));
    f.minutes = 8.0;
    f
}

pub(super) const ALL: &[fn() -> Fleet] = &[
    || {
        let about = "The only process of a quiet service is down for six minutes.";
        let mut f =
            orders("refused-quiet", about, 1, Server::NODE_FIXED).label(&["connect-refused"]);
        f.groups[0].health_check_port = 8081;
        f.at(10.2, Change::Kill(0));
        f.at(16.0, Change::Listen(0));
        (f.traffic.rate, f.minutes) = (0.12, 25.0);
        f
    },
    || {
        let about = "Six requests, five of them refused.";
        let mut f = shop("five-of-six", about, 1, Server::NODE_FIXED).label(&["connect-refused"]);
        f.groups[0].health_check_port = 3001;
        f.traffic.exactly =
            vec![(20.0, 0), (95.0, 1), (101.0, 2), (118.0, 6), (140.0, 1), (155.0, 2)];
        (f.traffic.scanners, f.traffic.redirects) = (0.0, 0.0);
        f.at(1.4, Change::Kill(0));
        f.minutes = 4.0;
        f
    },
    || {
        let about = "Half a minute of many times the traffic; the kernel resets connections that its full backlog cannot hold.";
        let server = Server {
            workers: 2,
            backlog: 6,
            resets_when_full: true,
            keep_alive: KeepAlive::Off,
            ..Server::NODE
        };
        burst("backlog-reset", about, server, 24.0).label(&["saturation"])
    },
    || {
        let about = "The backlog drops SYNs for half a minute; most connections stand at the second or third attempt.";
        let server = Server { workers: 2, backlog: 6, keep_alive: KeepAlive::Off, ..Server::NODE };
        let mut f = burst("saturation-short", about, server, 16.0).label(&["saturation"]);
        f.at(6.2, Change::Rate(8.0));
        f.at(6.7, Change::Rate(0.4));
        f
    },
    || {
        let about = "Half a minute of many times the traffic; the kernel kills processes for their memory, and they come back after seconds.";
        let server = Server { out_of_memory: Some(7), ..Server::NODE_FIXED };
        burst("out-of-memory", about, server, 26.0)
            .label(&["closed-mid-request", "connect-refused"])
    },
    || {
        let about = "Workers that stick in C code are killed after 7 s.";
        let mut f = stuck("worker-timeout-7", about, (7.0, 8.0), 60.0);
        f.minutes = 10.0;
        f
    },
    || {
        let about =
            "Workers that stick in C code are killed after 60 s; the load balancer waits 120 s.";
        let mut f = stuck("worker-timeout-60", about, (60.0, 61.5), 120.0);
        f.minutes = 12.0;
        f
    },
    || {
        let about = "Exports fail after a time of their own, between some seconds and a minute, and close the connection.";
        let mut f = reports("handler-gives-up", about, 3, Server::NODE_FIXED)
            .label(&["closed-mid-request"]);
        f.path("POST", "/reports/export", 5.0, (18.0, 0.6), Does::DropsConnection(0.7));
        (f.traffic.rate, f.minutes) = (0.8, 12.0);
        f
    },
    || {
        let about = "Each export fails after a time of its own, between some seconds and a minute, and closes the connection.";
        let mut f = reports("handler-always-gives-up", about, 3, Server::NODE_FIXED)
            .label(&["closed-mid-request"]);
        f.path("POST", "/reports/export", 3.0, (18.0, 0.6), Does::DropsConnection(1.0));
        (f.traffic.rate, f.minutes) = (0.8, 12.0);
        f
    },
    || {
        let about = "One path crashes the only process; it is back after about a second.";
        let mut f = shop("crash-one-target", about, 1, Server::NODE_FIXED)
            .label(&["closed-mid-request", "connect-refused"]);
        f.path("POST", "/api/images/resize", 4.0, (0.9, 0.4), Does::CrashesProcess(0.6));
        (f.traffic.rate, f.minutes) = (0.9, 11.0);
        f
    },
    || {
        let about = "The application behind the proxy of one target is down: that proxy answers 502 to everything.";
        let mut f = shop("target-generated-one-proxy", about, 4, Server::NGINX)
            .label(&["target-generated"]);
        f.at(5.0, Change::AppDown(3, true));
        f.at(9.0, Change::AppDown(3, false));
        (f.traffic.rate, f.minutes) = (0.8, 12.0);
        f
    },
    || {
        let about = "One target of four takes every connection from the fourth minute on and closes it without an answer.";
        let mut f =
            shop("closes-all-it-gets", about, 4, Server::NODE_FIXED).label(&["closed-mid-request"]);
        f.at(4.0, Change::Closes(2, 1.0));
        (f.traffic.rate, f.traffic.clients, f.minutes) = (9.0, 15, 9.0);
        f
    },
    || {
        let about = "One target of four closes most requests without an answer for three minutes, and answers the others.";
        let mut f = shop("closes-most-it-gets", about, 4, Server::NODE_FIXED)
            .label(&["closed-mid-request"]);
        f.at(4.0, Change::Closes(2, 0.6));
        f.at(7.0, Change::Closes(2, 0.0));
        (f.traffic.rate, f.traffic.clients, f.minutes) = (9.0, 15, 9.0);
        f
    },
    || {
        let about = "Exports are not answered within the idle timeout, and previews crash their child after seconds.";
        let mut f = shop("idle-beside-closed-late", about, 3, Server::NODE_FIXED)
            .label(&["idle-timeout", "closed-mid-request"]);
        f.path("GET", "/search/suppliers?q={n}", 5.0, NORMAL, Does::NeverAnswers(0.5));
        f.path("POST", "/previews", 4.0, (3.0, 0.7), Does::DropsConnection(0.5));
        (f.traffic.rate, f.minutes) = (0.8, 12.0);
        f
    },
];
