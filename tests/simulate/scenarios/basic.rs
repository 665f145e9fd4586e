//! Every cause in its plainest form, and what is quiet.
use super::{NORMAL, QUICK, SLOW, lambda, orders, race, reports, shop, shop_paths};
use crate::fleet::{Change, Does, Fleet, KeepAlive, Reuse, Server, Speaks};

fn blocked_port() -> Fleet {
    let about = "Two old instances are replaced by three new ones whose security group admits only the health-check port 8081.";
    let mut f = orders("blocked-port", about, 2, Server::NODE_FIXED).label(&["blocked-port"]);
    f.groups[0].health_check_port = 8081;
    f.targets(3, Server::NODE_FIXED);
    for new in 2..5 {
        f.targets[new].registered = false;
        f.targets[new].firewalled = true;
        f.at(12.5 + new as f64 * 0.02, Change::Register(new));
    }
    for old in 0..2 {
        f.at(13.0 + old as f64 * 0.1, Change::Deregister(old));
    }
    f.traffic.rate = 1.4;
    f.minutes = 24.0;
    f
}

fn restart() -> Fleet {
    let about = "One process of three is killed with requests in flight, three times; four seconds later it listens again.";
    let mut f = orders("restart", about, 3, Server::NODE_FIXED)
        .label(&["connect-refused", "closed-mid-request"]);
    f.path("POST", "/api/v1/quotes", 20.0, (4.0, 0.5), Does::Answers(200));
    for minute in [5.6, 6.9, 8.4] {
        f.at(minute, Change::Kill(1));
        f.at(minute + 4.0 / 60.0, Change::Listen(1));
    }
    f.traffic.rate = 5.0;
    f.minutes = 10.0;
    f
}

fn rolling_deploy() -> Fleet {
    let about = "Three targets are replaced one by one; each old one quits 1.5 seconds after its deregistration.";
    let mut f =
        shop("rolling-deploy", about, 3, Server::NODE_FIXED).label(&["draining-early-close"]);
    f.targets(3, Server::NODE_FIXED);
    f.path("POST", "/api/quote", 14.0, (2.5, 0.5), Does::Answers(200));
    f.groups[0].propagation = (2.0, 12.0);
    for n in 0..3 {
        let minute = 6.0 + n as f64 * 0.8;
        f.targets[n + 3].registered = false;
        f.at(minute - 0.3, Change::Register(n + 3));
        f.at(minute, Change::Deregister(n));
        f.at(minute + 1.5 / 60.0, Change::Kill(n));
    }
    f.traffic.rate = 5.0;
    f.minutes = 10.0;
    f
}

fn deregistration() -> Fleet {
    let about = "Exports take up to a minute; two targets are taken out with a deregistration delay of ten seconds.";
    let server = Server { keep_alive: KeepAlive::Closes(320.0, 321.0), ..Server::NODE };
    let mut f = reports("deregistration", about, 4, server).label(&["deregistration"]);
    f.groups[0].deregistration_delay = 10.0;
    f.idle_timeout = 300.0;
    f.path("GET", "/api/export/{n}.csv", 45.0, (36.0, 0.3), Does::Answers(200));
    f.at(6.3, Change::Deregister(1));
    f.at(6.35, Change::Deregister(3));
    f.traffic.rate = 2.5;
    f.minutes = 12.0;
    f
}

fn refused(name: &'static str, about: &'static str, down: &[usize], minutes: f64) -> Fleet {
    let mut f = orders(name, about, 4, Server::NODE_FIXED).label(&["connect-refused"]);
    f.groups[0].health_check_port = 8081;
    for &target in down {
        f.at(6.0, Change::Kill(target));
        f.at(6.0 + minutes, Change::Listen(target));
    }
    f.traffic.rate = 3.0;
    f
}

/// One of every cause, and what is quiet.
pub(super) const ALL: &[fn() -> Fleet] = &[
    || {
        let about = "Node closes idle connections after 6 s, the load balancer keeps them 60 s.";
        let mut f = shop("keepalive-race-node", about, 4, Server::NODE).label(&["keepalive-race"]);
        race(&mut f, 1.3, 3, (5.97, 6.08), 25.0);
        f
    },
    || {
        let about = "gunicorn with threads closes idle connections after 2 s, the load balancer keeps them 60 s.";
        let mut f = reports("keepalive-race-gunicorn", about, 3, Server::GUNICORN_THREADS)
            .label(&["keepalive-race"]);
        race(&mut f, 1.2, 2, (1.99, 2.12), 20.0);
        f
    },
    || {
        let about = "Apache closes idle connections after 5 s, the load balancer keeps them 60 s.";
        let mut f = Fleet::new("keepalive-race-apache", "cms", about).label(&["keepalive-race"]);
        f.group("cms-web", 80);
        f.targets(3, Server::APACHE);
        shop_paths(&mut f);
        race(&mut f, 1.1, 2, (4.985, 5.045), 25.0);
        f
    },
    || {
        let about = "The same race under more traffic: several connections per node and target, reused in any order.";
        let mut f = shop("keepalive-busy", about, 3, Server::NODE).label(&["keepalive-race"]);
        f.reuse = Reuse::Any;
        f.traffic.page = 6;
        f.traffic.sticky = true;
        f.traffic.rate = 7.0;
        f.minutes = 30.0;
        f
    },
    blocked_port,
    || {
        let about = "One target of four sits behind a security group that drops the traffic port from minute 5 on.";
        let mut f =
            orders("blocked-one-target", about, 4, Server::NODE_FIXED).label(&["blocked-port"]);
        f.groups[0].health_check_port = 8081;
        f.targets[2].registered = false;
        f.targets[2].firewalled = true;
        f.at(5.0, Change::Register(2));
        f
    },
    || {
        let about = "The process of one target of four is down for 3 minutes; health checks ask another port.";
        refused("connect-refused", about, &[1], 3.0)
    },
    || {
        let about = "All four processes are down for 3 minutes; health checks ask another port.";
        refused("connect-refused-all", about, &[0, 1, 2, 3], 3.0)
    },
    restart,
    || {
        let about = "gunicorn sync workers stick in C code on one path and are killed after 30 s.";
        let mut f =
            reports("worker-timeout", about, 3, Server::GUNICORN_SYNC).label(&["worker-timeout"]);
        f.path("POST", "/reports/render", 4.0, (2.0, 0.4), Does::SticksInC(0.3));
        f.traffic.rate = 2.5;
        f
    },
    || {
        let about = "One path crashes the whole process; it is back after about a second.";
        let mut f = shop("crash-path", about, 3, Server::NODE_FIXED)
            .label(&["closed-mid-request", "connect-refused"]);
        f.path("POST", "/api/images/resize", 3.0, (0.9, 0.4), Does::CrashesProcess(0.5));
        f.traffic.rate = 3.0;
        f
    },
    || {
        let about = "The response headers of one path cannot be parsed.";
        let mut f =
            shop("malformed-path", about, 3, Server::NODE_FIXED).label(&["malformed-response"]);
        f.path("GET", "/api/invoices/{n}/download", 2.5, (0.14, 0.35), Does::Malformed);
        f
    },
    || {
        let about =
            "One path answers clients that have large cookies with more than 32 KB of headers.";
        let mut f =
            shop("oversized-headers", about, 3, Server::NODE_FIXED).label(&["oversized-headers"]);
        f.path("GET", "/account/session", 10.0, (0.06, 0.4), Does::OversizedHeaders);
        f
    },
    || {
        let about = "An HTTP target group points to a TLS-only port of Node, which closes at once.";
        let server = Server { speaks: Speaks::Tls, ..Server::NODE_FIXED };
        let mut f =
            Fleet::new("protocol-mismatch-node-tls", "portal", about).label(&["protocol-mismatch"]);
        f.group("portal-web", 8443);
        f.targets(2, server);
        shop_paths(&mut f);
        f.traffic.rate = 1.0;
        f.minutes = 10.0;
        f
    },
    || {
        let about = "An HTTPS target group points to a plaintext port.";
        let mut f = Fleet::new("tls-handshake", "portal", about).label(&["tls-handshake"]);
        f.group("portal-tls", 8080).https = true;
        f.targets(2, Server::NODE_FIXED);
        shop_paths(&mut f);
        f.traffic.rate = 1.0;
        f.minutes = 10.0;
        f
    },
    deregistration,
    rolling_deploy,
    || {
        let about =
            "nginx on the target cannot reach the application for one path and answers 502 itself.";
        let mut f = shop("target-generated", about, 3, Server::NGINX).label(&["target-generated"]);
        f.path("GET", "/api/recommendations/{n}", 5.0, NORMAL, Does::ProxyAnswers502(0.7));
        f
    },
    || {
        let about = "A Lambda function returns a header value that is no string on one path.";
        let mut f =
            lambda("lambda-invalid-response", about, 500).label(&["lambda-invalid-response"]);
        f.path(
            "GET",
            "/hooks/export",
            3.0,
            (0.06, 0.4),
            Does::LambdaError("LambdaInvalidResponse", 1.0),
        );
        f
    },
    || {
        let about = "A burst meets a Lambda function with a reserved concurrency of 3.";
        let mut f = lambda("lambda-throttling", about, 3).label(&["lambda-throttling"]);
        f.at(6.0, Change::Rate(45.0));
        f.at(6.6, Change::Rate(1.5));
        f.traffic.rate = 1.5;
        f
    },
    || {
        let about = "A Lambda target group fails without a reason in the log.";
        let mut f = lambda("lambda-unknown", about, 500).label(&["lambda-unknown"]);
        f.path("POST", "/hooks/refund", 4.0, (0.2, 0.4), Does::LambdaError("-", 0.6));
        f
    },
    || {
        let about = "A listener rule answers a retired path with a fixed 502.";
        let mut f = shop("intentional-fixed-response", about, 3, Server::NODE_FIXED)
            .label(&["intentional-response"]);
        f.path("GET", "/v1/legacy/{n}", 6.0, QUICK, Does::FixedResponse(502));
        f
    },
    || {
        let about = "A slow dependency: some searches are never answered and end at the idle timeout of 60 s.";
        let mut f = shop("idle-timeout", about, 3, Server::NODE_FIXED).label(&["idle-timeout"]);
        f.path("GET", "/search/suppliers?q={n}", 5.0, SLOW, Does::NeverAnswers(0.5));
        f
    },
    || {
        let about = "A minute of six times the traffic fills the workers and the listen backlog: SYNs are dropped.";
        let server = Server { workers: 2, backlog: 6, keep_alive: KeepAlive::Off, ..Server::NODE };
        let mut f = Fleet::new("saturation", "tickets", about).label(&["saturation"]);
        f.group("tickets-app", 8000);
        f.targets(3, server);
        f.path("GET", "/events/{n}", 20.0, (0.45, 0.3), Does::Answers(200));
        f.path("POST", "/events/{n}/seats", 10.0, (0.6, 0.3), Does::Answers(200));
        f.path("GET", "/queue", 6.0, (0.3, 0.3), Does::Answers(200));
        f.traffic.rate = 2.5;
        f.traffic.impatient = 0.01;
        f.at(5.5, Change::Rate(22.0));
        f.at(6.6, Change::Rate(2.5));
        f.minutes = 12.0;
        f
    },
    || {
        let about = "The host of one target is gone: nobody answers its ARP requests.";
        let mut f =
            orders("host-unreachable", about, 4, Server::NODE_FIXED).label(&["host-unreachable"]);
        f.at(6.0, Change::HostUp(3, false));
        f.at(6.0, Change::Kill(3));
        f.at(9.0, Change::HostUp(3, true));
        f.at(8.9, Change::Listen(3));
        f
    },
    || shop("healthy", "Nothing is wrong.", 4, Server::NODE_FIXED),
    || {
        let about = "Only scanners and impatient clients: 301, 400, 404, 460.";
        let mut f = shop("healthy-scanner", about, 4, Server::NODE_FIXED);
        f.traffic.scanners = 0.6;
        f.traffic.redirects = 0.3;
        f.traffic.impatient = 0.1;
        f.path("GET", "/reports/slow", 12.0, (6.0, 0.5), Does::Answers(200));
        f
    },
    || {
        let about = "Only 500s of the application on one path.";
        let mut f = shop("healthy-500", about, 4, Server::NODE_FIXED);
        f.path("POST", "/api/vouchers", 8.0, NORMAL, Does::Fails500(0.6));
        f
    },
    || {
        let about = "A single 502: one child of a server dies once. For one in 100,000: --requests-per-second 110.";
        let mut f = shop("stray", about, 4, Server::NODE_FIXED).label(&["closed-mid-request"]);
        f.at(8.0, Change::ChildDies(2));
        f.traffic.rate = 20.0;
        f
    },
    || {
        let about = "Two requests, one of them fails: no incident.";
        let mut f = shop("one-of-two", about, 2, Server::NODE_FIXED).label(&["closed-mid-request"]);
        f.traffic.exactly = vec![(95.0, 1), (140.0, 2)];
        f.traffic.scanners = 0.0;
        f.traffic.redirects = 0.0;
        f.at(2.0, Change::ChildDies(0));
        f.minutes = 4.0;
        f
    },
    || {
        let about =
            "The keep-alive race of Node and, next to it, one path with malformed responses.";
        let mut f = shop("mixed-keepalive-malformed", about, 4, Server::NODE)
            .label(&["keepalive-race", "malformed-response"]);
        race(&mut f, 1.3, 3, (5.97, 6.08), 25.0);
        f.path("GET", "/api/invoices/{n}/download", 1.5, (0.35, 0.3), Does::Malformed);
        f
    },
    || {
        let about = "One process of three is down for two minutes; nginx on the others answers 502 on one path.";
        let mut f = shop("mixed-refused-targetgenerated", about, 3, Server::NGINX)
            .label(&["connect-refused", "target-generated"]);
        f.path("GET", "/api/recommendations/{n}", 8.0, NORMAL, Does::ProxyAnswers502(0.7));
        f.at(6.0, Change::Kill(1));
        f.at(8.0, Change::Listen(1));
        f.traffic.rate = 3.0;
        f
    },
];
