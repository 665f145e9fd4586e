//! Answers that the load balancer does not take, handshakes that fail, rules that answer.
use super::{NORMAL, QUICK, api_paths, orders, shop, shop_paths};
use crate::fleet::{Change, Does, Fleet, KeepAlive, Server, Speaks};

/// A group that is spoken to over TLS.
fn portal(name: &'static str, about: &'static str, targets: usize) -> Fleet {
    let mut f = Fleet::new(name, "portal", about);
    f.group("portal-tls", 8443).https = true;
    f.targets(targets, Server { speaks: Speaks::Tls, ..Server::NODE_FIXED });
    shop_paths(&mut f);
    (f.traffic.rate, f.minutes) = (0.6, 12.0);
    f
}

fn version(name: &'static str, about: &'static str, version: &'static str) -> Fleet {
    let mut f = Fleet::new(name, "ledger", about).label(&["protocol-mismatch"]);
    f.group("ledger-rpc", 50051).version = version;
    f.targets(2, Server::NODE_FIXED);
    // Strangers would be answered no better.
    f.traffic.scanners = 0.0;
    f
}

pub(super) const ALL: &[fn() -> Fleet] = &[
    || {
        let about = "The response headers of two paths cannot be parsed.";
        let mut f = shop("malformed-two-paths", about, 3, Server::NODE_FIXED)
            .label(&["malformed-response"]);
        f.path("GET", "/api/invoices/{n}/download", 2.5, (0.14, 0.35), Does::Malformed);
        f.path("GET", "/api/labels/{n}", 3.0, (0.09, 0.35), Does::Malformed);
        (f.traffic.rate, f.minutes) = (0.8, 12.0);
        f
    },
    || {
        let about = "HEAD of a path is answered malformed; GET of the same path is good.";
        let mut f =
            shop("malformed-head", about, 3, Server::NODE_FIXED).label(&["malformed-response"]);
        f.path("GET", "/downloads/catalogue", 8.0, (0.08, 0.35), Does::Answers(200));
        f.path("HEAD", "/downloads/catalogue", 4.0, (0.04, 0.35), Does::Malformed);
        (f.traffic.rate, f.minutes) = (0.8, 12.0);
        f
    },
    || {
        let about = "PATCH is answered malformed, whatever the path; GET and PUT of the same paths are good.";
        let mut f =
            orders("malformed-method", about, 3, Server::NODE_FIXED).label(&["malformed-response"]);
        f.path("PATCH", "/api/v1/orders/{n}", 2.5, (0.06, 0.35), Does::Malformed);
        f.path("PATCH", "/api/v1/stock/{n}", 2.0, (0.04, 0.35), Does::Malformed);
        (f.traffic.rate, f.minutes) = (0.8, 12.0);
        f
    },
    || {
        let about = "Answers to HEAD carry a body: the next request on the connection takes it for its answer.";
        let mut f =
            orders("leftover-bytes", about, 3, Server::NODE_FIXED).label(&["malformed-response"]);
        f.path("HEAD", "/api/v1/catalogue", 4.0, (0.04, 0.35), Does::LeavesBytes);
        (f.traffic.rate, f.minutes) = (1.0, 12.0);
        f
    },
    || {
        let about = "One path answers everybody with more than 32 KB of headers.";
        let mut f = shop("oversized-headers-for-all", about, 3, Server::NODE_FIXED)
            .label(&["oversized-headers"]);
        f.path("GET", "/account/session", 4.0, (0.06, 0.4), Does::OversizedHeadersForAll);
        (f.traffic.rate, f.minutes) = (0.8, 12.0);
        f
    },
    || {
        let about = "A GRPC target group points to a server that speaks HTTP/1.1 only.";
        let mut f = version("protocol-grpc", about, "GRPC");
        f.path("POST", "/ledger.Ledger/Post", 10.0, NORMAL, Does::Answers(200));
        f.path("POST", "/ledger.Ledger/Balance", 20.0, QUICK, Does::Answers(200));
        (f.traffic.rate, f.minutes) = (0.5, 8.0);
        f
    },
    || {
        let about =
            "A target group was made anew with HTTP2 while its server speaks HTTP/1.1 only.";
        let mut f = version("protocol-http2", about, "HTTP2");
        api_paths(&mut f);
        (f.traffic.rate, f.minutes) = (0.5, 8.0);
        f
    },
    || {
        let about = "Two of four targets speak plaintext on the port of an HTTPS target group.";
        let mut f = portal("tls-some-targets", about, 4).label(&["tls-handshake"]);
        // Its health check asks another port, or it would see it.
        f.groups[0].health_check_port = 8444;
        f.targets[1].server = Server::NODE_FIXED;
        f.targets[3].server = Server::NODE_FIXED;
        f
    },
    || {
        let about = "Half of the processes behind each port lost their certificate: every second handshake fails, and each request needs one.";
        let mut f = portal("tls-half", about, 2).label(&["tls-handshake"]);
        for target in &mut f.targets {
            target.server.tls_fails = 0.5;
            target.server.keep_alive = KeepAlive::Off;
        }
        f
    },
    || {
        let about = "WAF answers a retired path with a custom 502.";
        let mut f =
            shop("intentional-waf", about, 3, Server::NODE_FIXED).label(&["intentional-response"]);
        f.path("POST", "/xmlrpc", 6.0, QUICK, Does::WafAnswers(502));
        (f.traffic.rate, f.minutes) = (0.8, 12.0);
        f
    },
    || {
        let about =
            "A listener rule answers a retired path with 502 while one process of three is down.";
        let mut f = shop("intentional-beside-refused", about, 3, Server::NODE_FIXED)
            .label(&["connect-refused", "intentional-response"]);
        f.groups[0].health_check_port = 3001;
        f.path("GET", "/v1/legacy/{n}", 6.0, QUICK, Does::FixedResponse(502));
        f.at(5.0, Change::Kill(2));
        f.at(8.0, Change::Listen(2));
        (f.traffic.rate, f.minutes) = (0.8, 12.0);
        f
    },
];
