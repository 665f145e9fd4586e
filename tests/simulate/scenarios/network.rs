//! Packets that are dropped, and hosts that are gone.
use super::{api_paths, orders};
use crate::fleet::{Change, Fleet, Server, Wall};

/// Health checks ask another port, so that nobody sees the wall but the requests. Connections that
/// stand go on; the servers close theirs after six seconds.
fn walled(name: &'static str, about: &'static str, wall: Wall) -> Fleet {
    let mut f = orders(name, about, 4, Server::NODE).label(&["blocked-port"]);
    f.groups[0].health_check_port = 8081;
    f.at(5.2, Change::Wall(wall));
    (f.traffic.rate, f.minutes) = (0.35, 12.0);
    f
}

pub(super) const ALL: &[fn() -> Fleet] = &[
    || {
        let about = "The network ACL of one zone's targets denies the traffic port.";
        walled("blocked-network-acl", about, Wall::Acl)
    },
    || {
        let about = "The load balancer's security group lets out nothing but the health check.";
        walled("blocked-egress", about, Wall::Egress)
    },
    || {
        let about = "The targets admit only the subnet of one zone's nodes: one node of two fails.";
        walled("blocked-one-zone", about, Wall::OneZone)
    },
    || {
        let about = "The targets of one group are behind a closed security group, those of its neighbour are not.";
        let mut f = orders("blocked-beside-neighbour", about, 3, Server::NODE_FIXED)
            .label(&["blocked-port"]);
        f.groups[0].health_check_port = 8081;
        f.group("orders-new", 9000).health_check_port = 9001;
        f.targets(2, Server::NODE_FIXED);
        api_paths(&mut f);
        for path in f.paths.iter_mut().filter(|path| path.group == 1) {
            path.weight *= 0.4;
        }
        for target in &mut f.targets[3..] {
            target.firewalled = true;
        }
        (f.traffic.rate, f.minutes) = (0.6, 9.0);
        f
    },
    || {
        let about = "An instance is terminated and stays registered for two minutes.";
        let mut f =
            orders("host-terminated", about, 4, Server::NODE_FIXED).label(&["host-unreachable"]);
        f.at(6.0, Change::Kill(3));
        f.at(6.0, Change::HostUp(3, false));
        f.at(8.0, Change::Deregister(3));
        (f.traffic.rate, f.minutes) = (0.9, 11.0);
        f
    },
];
