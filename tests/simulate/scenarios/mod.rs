//! Every scenario: one fleet, one mechanism (or two), constant names and addresses.
mod basic;
mod connections;
mod deploys;
mod functions;
mod network;
mod processes;
mod quiet;
mod responses;

use crate::fleet::{Does, Fleet, Lambda, Pollers, Server};

const QUICK: (f64, f64) = (0.018, 0.6);
const NORMAL: (f64, f64) = (0.045, 0.7);
const SLOW: (f64, f64) = (0.32, 0.6);

/// The pages of a shop on the last group.
fn shop_paths(f: &mut Fleet) {
    f.path("GET", "/", 10.0, NORMAL, Does::Answers(200));
    f.path("GET", "/products/{n}", 22.0, NORMAL, Does::Fails500(0.001));
    f.path("GET", "/api/cart", 18.0, QUICK, Does::Answers(200));
    f.path("POST", "/api/cart/items", 8.0, NORMAL, Does::Answers(201));
    f.path("GET", "/search?q=term{n}&page=2", 9.0, SLOW, Does::Fails500(0.001));
    f.path("POST", "/api/checkout", 4.0, SLOW, Does::Answers(200));
    f.path("GET", "/api/me", 12.0, QUICK, Does::Answers(200));
    f.path("GET", "/static/app.{h}.js", 6.0, QUICK, Does::Answers(200));
    f.path("GET", "/old/{n}", 1.5, QUICK, Does::Answers(404));
}

/// A small interface on the last group.
fn api_paths(f: &mut Fleet) {
    f.path("GET", "/api/v1/orders/{n}", 25.0, QUICK, Does::Answers(200));
    f.path("GET", "/api/v1/orders?customer={n}", 14.0, NORMAL, Does::Fails500(0.001));
    f.path("POST", "/api/v1/orders", 9.0, SLOW, Does::Answers(201));
    f.path("PUT", "/api/v1/orders/{n}", 4.0, NORMAL, Does::Answers(200));
    f.path("GET", "/api/v1/stock/{n}", 12.0, QUICK, Does::Answers(200));
}

fn shop(name: &'static str, about: &'static str, targets: usize, server: Server) -> Fleet {
    let mut f = Fleet::new(name, "shop", about);
    f.group("shop-web", 3000);
    f.targets(targets, server);
    shop_paths(&mut f);
    f
}

fn orders(name: &'static str, about: &'static str, targets: usize, server: Server) -> Fleet {
    let mut f = Fleet::new(name, "orders", about);
    f.group("orders-api", 8080);
    f.targets(targets, server);
    api_paths(&mut f);
    f
}

fn reports(name: &'static str, about: &'static str, targets: usize, server: Server) -> Fleet {
    let mut f = Fleet::new(name, "reports", about);
    f.group("reports-app", 8000);
    f.targets(targets, server);
    f.path("GET", "/dashboard", 20.0, NORMAL, Does::Answers(200));
    f.path("GET", "/api/reports/{n}", 25.0, NORMAL, Does::Answers(200));
    f.path("GET", "/api/filters", 15.0, QUICK, Does::Answers(200));
    f.path("POST", "/api/login", 5.0, NORMAL, Does::Answers(200));
    f
}

fn lambda(name: &'static str, about: &'static str, concurrency: usize) -> Fleet {
    let mut f = Fleet::new(name, "hooks", about);
    f.group("hooks-fn", 0).lambda = Some(Lambda { concurrency });
    f.path("POST", "/hooks/payment", 20.0, (0.12, 0.5), Does::Answers(200));
    f.path("POST", "/hooks/shipment", 12.0, (0.08, 0.5), Does::Answers(200));
    f.path("GET", "/hooks/status", 8.0, (0.03, 0.4), Does::Answers(200));
    f.traffic.scanners = 0.0;
    f
}

fn race(f: &mut Fleet, rate: f64, count: usize, period: (f64, f64), minutes: f64) {
    f.traffic.rate = rate;
    f.traffic.sticky = true;
    f.traffic.pollers = Some(Pollers { count, seconds: period });
    f.minutes = minutes;
}

/// All scenarios, in the order in which they are listed. The plain ones have rows in full detail, in the
/// others the good rows are coarse: the library has to stay small.
pub(crate) fn all() -> impl Iterator<Item = Fleet> {
    let topics = [
        connections::ALL,
        deploys::ALL,
        functions::ALL,
        network::ALL,
        processes::ALL,
        quiet::ALL,
        responses::ALL,
    ];
    let coarse = topics.into_iter().flatten().map(|make| {
        let mut fleet = make();
        fleet.traffic.coarse = true;
        fleet
    });
    basic::ALL.iter().map(|make| make()).chain(coarse)
}

/// A long healthy log with a small keep-alive leak, for measurements.
pub(crate) fn big() -> Fleet {
    let about = "Many rows of mostly healthy traffic with a small keep-alive leak, in one file.";
    let mut f = shop("big", about, 8, Server::NODE).label(&["keepalive-race"]);
    f.nodes.truncate(1);
    f.traffic.clients = 4000;
    f.traffic.rate = 250.0;
    f.traffic.scanners = 0.5;
    f.minutes = 1e9;
    f
}

pub(crate) fn named(name: &str) -> Option<Fleet> {
    if name == "big" {
        return Some(big());
    }
    all().find(|fleet| fleet.name == name)
}
