//! Lambda targets beyond the plainest.
use super::lambda;
use crate::fleet::{Change, Does, Fleet};

pub(super) const ALL: &[fn() -> Fleet] = &[
    || {
        let about = "A function with a reserved concurrency of 3 is throttled in a burst, and one of its paths fails unhandled.";
        let mut f = lambda("lambda-throttling-and-unhandled", about, 3)
            .label(&["lambda-throttling", "lambda-unhandled"]);
        f.path(
            "POST",
            "/hooks/refund",
            12.0,
            (0.2, 0.4),
            Does::LambdaError("LambdaUnhandled", 0.9),
        );
        f.at(6.0, Change::Rate(12.0));
        f.at(6.4, Change::Rate(0.8));
        (f.traffic.rate, f.minutes) = (0.8, 10.0);
        f
    },
    || {
        let about = "The exports of a function grew over the limit of a response.";
        let mut f =
            lambda("lambda-response-too-large", about, 500).label(&["lambda-response-too-large"]);
        let reason = Does::LambdaError("LambdaResponseTooLarge", 0.8);
        f.path("GET", "/hooks/export", 3.0, (0.9, 0.4), reason);
        (f.traffic.rate, f.minutes) = (0.8, 12.0);
        f
    },
    || {
        let about = "A function in a VPC cannot get a network interface: the limit of the account is reached.";
        let mut f =
            lambda("lambda-eni-limit", about, 500).label(&["lambda-eni-limit-reached-exception"]);
        let reason = Does::LambdaError("LambdaENILimitReachedException", 0.3);
        f.path("POST", "/hooks/stock", 10.0, (0.3, 0.4), reason);
        (f.traffic.rate, f.minutes) = (0.8, 12.0);
        f
    },
    || {
        let about = "The load balancer's attempts to connect to Lambda time out now and then.";
        let mut f =
            lambda("lambda-connection-timeout", about, 500).label(&["lambda-connection-timeout"]);
        let reason = Does::LambdaError("LambdaConnectionTimeout", 0.4);
        f.path("POST", "/hooks/stock", 10.0, (0.3, 0.4), reason);
        (f.traffic.rate, f.minutes) = (0.8, 12.0);
        f
    },
];
