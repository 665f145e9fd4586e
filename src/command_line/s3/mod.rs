//! Access logs where they are: `s3://bucket/prefix` and `--load-balancer`, of a span of time.

#[cfg(feature = "aws")]
mod find;
#[cfg(feature = "aws")]
mod read;

use std::path::PathBuf;

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::{Stop, time_span::time_span};
use crate::access_log::{LogPlace, TimeSpan};
#[cfg(feature = "aws")]
pub(super) use find::{Found, could_not};
#[cfg(feature = "aws")]
pub(super) use read::read;

#[derive(Debug, Args)]
#[command(next_help_heading = "Logs in S3")]
pub(super) struct Flags {
    /// Read the log of this load balancer, which its own attributes lead to; its name or ARN. Diagnose asks
    /// AWS for the configuration as well
    #[arg(long, value_name = "NAME", conflicts_with = "paths")]
    load_balancer: Option<String>,
    /// From when: 2026-11-20T14:00:00Z, or how long ago: 2h, 90m, 7d [default: two hours before --until; a day
    /// for rehearse]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Until when, likewise [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// The region of the load balancer [default: as the AWS CLI has it]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

impl Flags {
    /// Whether the configuration is asked for as well.
    pub(super) fn is_whole(&self) -> bool {
        self.load_balancer.is_some()
    }
}

/// What is to be read, checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    source: Source,
    span: TimeSpan,
    region: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Source {
    Place(LogPlace),
    LoadBalancer(String),
}

/// What the arguments ask S3 for; nothing when they name files. Without `--since` it is so long before
/// `--until`.
pub(super) fn order(
    paths: &[PathBuf],
    flags: &Flags,
    default: SignedDuration,
) -> Result<Option<Order>, Stop> {
    #[expect(clippy::disallowed_methods, reason = "a shell: how long ago is counted from now")]
    let now = Timestamp::now();
    order_at(paths, flags, default, now).map_err(Stop::WrongUse)
}

fn order_at(
    paths: &[PathBuf],
    flags: &Flags,
    default: SignedDuration,
    now: Timestamp,
) -> Result<Option<Order>, String> {
    if paths.is_empty() && flags.load_balancer.is_none() {
        return Err("give access-log files or folders, s3://BUCKET/PREFIX, or --load-balancer NAME; --help \
                    has examples"
            .to_owned());
    }
    let mut urls = paths.iter().filter_map(|path| path.to_str()).filter(|it| it.starts_with("s3:"));
    let source = match (&flags.load_balancer, urls.next()) {
        (Some(name), _) if name.is_empty() || name.contains(char::is_whitespace) => {
            return Err(format!("--load-balancer {name}: give the name or the ARN of one"));
        }
        (Some(name), _) => Source::LoadBalancer(name.clone()),
        (None, Some(url)) if paths.len() == 1 => Source::Place(LogPlace::parse(url)?),
        (None, Some(url)) => {
            return Err(format!("{url}: give one S3 URL alone, or files and folders"));
        }
        (None, None) => {
            let flag =
                [("--since", &flags.since), ("--until", &flags.until), ("--region", &flags.region)]
                    .into_iter()
                    .find(|(_, value)| value.is_some());
            return match flag {
                Some((flag, _)) => Err(format!(
                    "{flag} chooses among objects in S3: give it with s3://BUCKET/PREFIX or \
                     --load-balancer. Of files all rows are read."
                )),
                None => Ok(None),
            };
        }
    };
    let span = time_span(flags.since.as_deref(), flags.until.as_deref(), default, now)?;
    Ok(Some(Order { source, span, region: flags.region.clone() }))
}

/// What a build without the SDKs says.
#[cfg(not(feature = "aws"))]
pub(super) fn not_built_in(_: &Order) -> Stop {
    Stop::WrongUse(
        "this build cannot talk to AWS. `make build` makes one that can; files and folders work in every \
         build."
            .to_owned(),
    )
}

#[cfg(not(feature = "aws"))]
pub(super) fn read(
    order: &Order,
    _: &mut crate::detection::Detector,
    _: &mut crate::diagnosis::Reading,
) -> Result<bool, Stop> {
    Err(not_built_in(order))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct OnlyThis {
        paths: Vec<PathBuf>,
        #[command(flatten)]
        flags: Flags,
    }

    fn ordered(arguments: &[&str]) -> Result<Option<Order>, String> {
        let parsed = OnlyThis::try_parse_from([&["diagnose"], arguments].concat());
        let parsed = parsed.map_err(|error| error.to_string())?;
        let (default, now) =
            (SignedDuration::from_hours(2), "2026-11-20T14:30:00Z".parse().unwrap());
        order_at(&parsed.paths, &parsed.flags, default, now)
    }

    #[test]
    fn files_are_no_order() {
        assert_eq!(ordered(&["access.log.gz", "./s3/logs"]), Ok(None));
    }

    #[test]
    fn a_url_or_a_load_balancer_is_one_with_a_time() {
        let order = ordered(&["s3://example-alb-logs/prod", "--since", "1h"]).unwrap().unwrap();
        assert_eq!(
            order.source,
            Source::Place(LogPlace::parse("s3://example-alb-logs/prod").unwrap())
        );
        assert_eq!(order.span.since.to_string(), "2026-11-20T13:30:00Z");
        let order =
            ordered(&["--load-balancer", "shop", "--region", "eu-west-1"]).unwrap().unwrap();
        assert_eq!(order.source, Source::LoadBalancer("shop".to_owned()));
        assert_eq!(order.region.as_deref(), Some("eu-west-1"));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for (arguments, said) in [
            (
                &[][..],
                "give access-log files or folders, s3://BUCKET/PREFIX, or --load-balancer NAME",
            ),
            (&["--since", "1h"], "give access-log files or folders"),
            (&["access.log.gz", "--since", "1h"], "--since chooses among objects in S3"),
            (&["access.log.gz", "s3://example-alb-logs"], "one S3 URL alone"),
            (&["s3://example-alb-logs", "s3://example-alb-logs2"], "one S3 URL alone"),
            (&["s3://Example"], "no name of a bucket"),
            (&["s3:/example-alb-logs"], "no S3 URL"),
            (&["s3://example-alb-logs", "--since", "soon"], "--since soon"),
            (&["s3://example-alb-logs", "--load-balancer", "shop"], "cannot be used with"),
            (&["--load-balancer", ""], "the name or the ARN"),
        ] {
            let error = ordered(arguments).unwrap_err();
            assert!(error.contains(said), "{arguments:?}: {error}");
        }
    }
}
