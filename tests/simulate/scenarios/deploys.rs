//! Targets that come and go.
use super::{reports, shop};
use crate::fleet::{Change, Does, Fleet, KeepAlive, Server};

pub(super) const ALL: &[fn() -> Fleet] = &[
    || {
        let about = "Two targets are taken out with a deregistration delay of 0: requests under way are cut.";
        let server = Server { keep_alive: KeepAlive::Closes(70.0, 70.5), ..Server::NODE_FIXED };
        let mut f = reports("deregistration-delay-0", about, 4, server).label(&["deregistration"]);
        f.groups[0].deregistration_delay = 0.0;
        f.path("GET", "/api/export/{n}.csv", 60.0, (25.0, 0.3), Does::Answers(200));
        f.at(6.3, Change::Deregister(1));
        f.at(6.6, Change::Deregister(3));
        (f.traffic.rate, f.minutes) = (1.0, 10.0);
        f
    },
    || {
        let about =
            "A scale-in ends two instances at once; they are deregistered half a minute later.";
        let mut f = shop("scale-in-killed", about, 5, Server::NODE_FIXED)
            .label(&["host-unreachable", "closed-mid-request"]);
        f.path("POST", "/api/quote", 110.0, (8.0, 0.4), Does::Answers(200));
        for (target, minute) in [(1, 6.0), (4, 6.05)] {
            f.at(minute, Change::Kill(target));
            f.at(minute, Change::HostUp(target, false));
            f.at(minute + 0.5, Change::Deregister(target));
        }
        (f.traffic.rate, f.minutes) = (1.4, 10.0);
        f
    },
    || {
        let about = "Three targets are replaced one by one; each old one ends a minute after its deregistration, with nothing left to do.";
        let mut f = shop("healthy-rolling-deploy", about, 3, Server::NODE_FIXED);
        f.targets(3, Server::NODE_FIXED);
        f.path("POST", "/api/quote", 14.0, (2.5, 0.5), Does::Answers(200));
        for n in 0..3 {
            let minute = 4.0 + n as f64 * 1.2;
            f.targets[n + 3].registered = false;
            f.at(minute - 0.5, Change::Register(n + 3));
            f.at(minute, Change::Deregister(n));
            f.at(minute + 1.0, Change::Kill(n));
        }
        (f.traffic.rate, f.minutes) = (0.9, 10.0);
        f
    },
];
