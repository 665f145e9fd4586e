//! Until when an invocation may read, ask and publish: what is known goes out before Lambda ends it.

use std::{future::Future, time::Duration};

use tokio::time::Instant;

/// The points in time at which each phase must be over. `None` is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deadlines {
    /// Log objects.
    pub read: Option<Instant>,
    /// The ledger, before there is a message.
    pub ledger: Option<Instant>,
    /// The configuration.
    pub ask: Option<Instant>,
    /// The message.
    pub publish: Option<Instant>,
    /// That the message was sent.
    pub mark: Option<Instant>,
}

impl Deadlines {
    /// Shares out the time that an invocation has left.
    ///
    /// | phase | reserve at its end | reason |
    /// |---|---|---|
    /// | mark | 2 %, at most 0.2 s | for the answer to the runtime |
    /// | publish | 5 %, at most 0.5 s | DynamoDB takes 10 ms to be told that a message is out |
    /// | ask | 15 %, 0.5 to 5 s | SNS takes 50 ms; this allows for a retry |
    /// | ledger | 20 %, 0.5 to 10 s | four rounds of Describe calls of half a second, and a retry |
    /// | read | 10 %, 0.25 to 5 s | six calls of DynamoDB, and its retries |
    pub fn of(left: Duration) -> Self {
        let now = Instant::now();
        let seconds = left.as_secs_f64();
        let share = |part: f64, least: f64, most: f64| (seconds * part).clamp(least, most);
        let mark = (seconds - share(0.02, 0.0, 0.2)).max(0.0);
        let publish = (seconds - share(0.05, 0.0, 0.5)).max(0.0);
        let ask = (publish - share(0.15, 0.5, 5.0)).max(0.0);
        let ledger = (ask - share(0.2, 0.5, 10.0)).max(0.0);
        let read = (ledger - share(0.1, 0.25, 5.0)).max(0.0);
        let at = |seconds| Some(now + Duration::from_secs_f64(seconds));
        Self {
            read: at(read),
            ledger: at(ledger),
            ask: at(ask),
            publish: at(publish),
            mark: at(mark),
        }
    }
}

/// The deadline came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Late;

/// Runs a future, at most until the deadline.
pub(super) async fn until<T>(
    deadline: Option<Instant>,
    future: impl Future<Output = T>,
) -> Result<T, Late> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.map_err(|_| Late),
        None => Ok(future.await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_leaves_time_for_the_next() {
        for (left, expected) in [
            (60.0, [39.5, 44.5, 54.5, 59.5, 59.8]),
            (10.0, [5.0, 6.0, 8.0, 9.5, 9.8]),
            (3.0, [1.45, 1.75, 2.35, 2.85, 2.94]),
            (0.5, [0.0, 0.0, 0.0, 0.475, 0.49]),
            (0.0, [0.0, 0.0, 0.0, 0.0, 0.0]),
        ] {
            let now = Instant::now();
            let deadlines = Deadlines::of(Duration::from_secs_f64(left));
            let Deadlines { read, ledger, ask, publish, mark } = deadlines;
            for (at, expected) in [read, ledger, ask, publish, mark].into_iter().zip(expected) {
                let at = at.unwrap().duration_since(now).as_secs_f64();
                assert!((at - expected).abs() < 0.1, "{left} s: {at} for {expected}");
            }
        }
    }
}
