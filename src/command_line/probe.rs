//! `alb502 probe`: asks a target as a load balancer does.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(
    after_help = "Run it where the load balancer's way to the target is open: in its VPC, or on \
                        the target. At most 8 requests are sent; a method that may change something \
                        (POST, PUT, ...) is sent once. No redirect is followed and no proxy is used. \
                        Waiting for the target to close idle connections takes as long as the idle \
                        timeout.\n\n\
                        Exit codes: 0 the target was asked, whatever it did; 1 it could not be asked \
                        from here; 2 wrong use.\n\n\
                        Examples:\n  \
                        alb502 probe http://10.0.1.5:8080/health\n  \
                        alb502 probe https://10.0.1.5:8443/api -H 'Host: shop.example.com'\n  \
                        alb502 probe http://10.0.1.5:8080/orders --body '{\"id\": 1}' \\\n    \
                        -H 'Content-Type: application/json'\n  \
                        alb502 probe http://10.0.1.5:8080/ --format json > probe.json"
)]
pub(super) struct Arguments {
    /// The target: http://ADDRESS:PORT/PATH as in a target group of protocol HTTP, or https://
    #[arg(value_name = "URL")]
    url: String,
    /// A header of the request, instead of the one that a load balancer sends
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The method [default: GET, with --body POST]
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// The body of the request, or @FILE
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,
    /// The load balancer's idle timeout: 1s to 4000s
    #[arg(long, value_name = "TIME", default_value = "60s")]
    idle_timeout: String,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For machines, and for `alb502 diagnose --probe`
    Json,
}

#[cfg(not(feature = "probe"))]
pub(super) fn run(_: &Arguments, _: &dyn Fn(&str) -> Option<String>) -> Result<u8, super::Stop> {
    Err(super::Stop::WrongUse(
        "probe: this build cannot talk to targets. `make build` and `make build-local` make one that can."
            .to_owned(),
    ))
}

#[cfg(feature = "probe")]
pub(super) use with_probe::run;

#[cfg(feature = "probe")]
mod with_probe {
    use std::{
        io::{self, Write},
        path::Path,
        time::Duration,
    };

    use super::{Arguments, Format};
    use crate::{
        command_line::{Stop, note, progress::Waiting},
        diagnosis::facts::IDLE_TIMEOUT_SECONDS,
        local::files,
        probe::{self, Plan, Request, Step},
    };

    /// Variables that other programs take a proxy from.
    const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY"];

    pub(in crate::command_line) fn run(
        arguments: &Arguments,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<u8, Stop> {
        let idle_timeout = idle_timeout(&arguments.idle_timeout)?;
        let body = arguments.body.as_deref().map(body).transpose()?;
        let method = arguments.method.as_deref();
        let request = Request::new(&arguments.url, method, &arguments.headers, body)
            .map_err(|error| Stop::WrongUse(error.to_string()))?;
        if let Some(name) = PROXIES
            .into_iter()
            .find(|name| environment(name).is_some_and(|value| !value.is_empty()))
        {
            note(&format!(
                "note: {name} is not used; a load balancer has no proxy before a target"
            ));
        }
        let plan = Plan { request, idle_timeout, now: now(), process: std::process::id() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let waiting = Waiting::new();
        let done = runtime.block_on(async {
            let told = |step| {
                if let Step::Holding { connections, seconds } = step {
                    waiting.begin(connections, seconds);
                }
            };
            let probe = probe::probe(&plan, &told);
            tokio::pin!(probe);
            let mut moves = tokio::time::interval(Duration::from_millis(250));
            loop {
                tokio::select! {
                    done = &mut probe => return done,
                    _ = moves.tick() => waiting.update(),
                }
            }
        });
        waiting.done();
        // A name that nobody answers for holds a thread: nothing waits for it.
        runtime.shutdown_background();
        let report = done?;
        let mut output = io::stdout().lock();
        match arguments.format {
            Format::Text => write!(output, "{}", report.text())?,
            Format::Json => {
                let visible = crate::neutralize::JsonWriter(&mut output);
                serde_json::to_writer_pretty(visible, &report).map_err(io::Error::from)?;
                writeln!(output)?;
            }
        }
        output.flush()?;
        Ok(0)
    }

    /// To the millisecond: nobody needs more of it.
    #[expect(clippy::disallowed_methods, reason = "the shell reads the clock, once for each probe")]
    fn now() -> jiff::Timestamp {
        let now = jiff::Timestamp::now();
        jiff::Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// It is held in memory: room for any upload that somebody tries by hand.
    const MAX_BODY_BYTES: u64 = 64 << 20;

    fn body(given: &str) -> Result<Vec<u8>, Stop> {
        match given.strip_prefix('@') {
            Some(path) => files::read_at_most(Path::new(path), MAX_BODY_BYTES).map_err(|error| {
                Stop::WrongUse(format!(
                    "--body @{path}: {error}. Give a file that is there and may be read."
                ))
            }),
            None => Ok(given.as_bytes().to_vec()),
        }
    }

    fn idle_timeout(given: &str) -> Result<Duration, Stop> {
        let (number, factor) = match given.strip_suffix('m') {
            Some(minutes) => (minutes, 60),
            None => (given.strip_suffix('s').unwrap_or(given), 1),
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .and_then(|seconds| u32::try_from(seconds).ok())
            .filter(|seconds| IDLE_TIMEOUT_SECONDS.contains(seconds))
            .map(|seconds| Duration::from_secs(seconds.into()))
            .ok_or_else(|| {
                Stop::WrongUse(format!(
                    "--idle-timeout {given}: allowed is the idle timeout of a load balancer, 1s to 4000s \
                     (60s, 5m)"
                ))
            })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn an_idle_timeout_is_one_that_a_load_balancer_can_have() {
            let seconds = |given| idle_timeout(given).map(|it| it.as_secs()).ok();
            assert_eq!(
                ["60s", "60", "5m", "1s", "4000"].map(seconds),
                [60, 60, 300, 1, 4000].map(Some)
            );
            for given in
                ["0", "4001s", "67m", "-1s", "1.5s", "s", "", "1h", "99999999999999999999m"]
            {
                assert_eq!(seconds(given), None, "{given}");
            }
        }
    }
}
