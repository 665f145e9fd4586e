//! Until when an invocation may read, ask and publish: what is known goes out before Lambda ends it.

use std::{future::Future, time::Duration};

use tokio::time::Instant;

/// The points in time at which each phase must be over. `None` is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deadlines {
    /// Log objects.
    pub read: Option<Instant>,
    /// The configuration.
    pub ask: Option<Instant>,
    /// The message.
    pub publish: Option<Instant>,
}

impl Deadlines {
    /// Shares out the time that an invocation has left.
    ///
    /// | phase | reserve at its end | reason |
    /// |---|---|---|
    /// | publish | 5 %, at most 0.5 s | for the answer to the runtime |
    /// | ask | 15 %, 0.5 to 5 s | SNS takes 50 ms; this allows for a retry |
    /// | read | 20 %, 0.5 to 10 s | four rounds of Describe calls of half a second, and a retry |
    pub fn of(left: Duration) -> Self {
        let now = Instant::now();
        let seconds = left.as_secs_f64();
        let share = |part: f64, least: f64, most: f64| (seconds * part).clamp(least, most);
        let publish = (seconds - share(0.05, 0.0, 0.5)).max(0.0);
        let ask = (publish - share(0.15, 0.5, 5.0)).max(0.0);
        let read = (ask - share(0.2, 0.5, 10.0)).max(0.0);
        let at = |seconds| Some(now + Duration::from_secs_f64(seconds));
        Self { read: at(read), ask: at(ask), publish: at(publish) }
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
            (60.0, [44.5, 54.5, 59.5]),
            (10.0, [6.0, 8.0, 9.5]),
            (3.0, [1.75, 2.35, 2.85]),
            (0.5, [0.0, 0.0, 0.475]),
            (0.0, [0.0, 0.0, 0.0]),
        ] {
            let now = Instant::now();
            let deadlines = Deadlines::of(Duration::from_secs_f64(left));
            for (at, expected) in
                [deadlines.read, deadlines.ask, deadlines.publish].into_iter().zip(expected)
            {
                let at = at.unwrap().duration_since(now).as_secs_f64();
                assert!((at - expected).abs() < 0.1, "{left} s: {at} for {expected}");
            }
        }
    }
}
