//! Access logs where they are: `s3://bucket/prefix` and `--load-balancer`, of a span of time.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;

use super::{Stop, time_span::time_span};
use crate::access_log::{LogPlace, TimeSpan};

#[derive(Debug, Args)]
#[command(next_help_heading = "Logs in S3")]
pub(super) struct Flags {
    /// The whole way: find the log of this load balancer by its own attributes, read it, and ask AWS for the
    /// configuration. Its name or ARN
    #[arg(long, value_name = "NAME", conflicts_with = "paths")]
    load_balancer: Option<String>,
    /// From when: 2026-11-20T14:00:00Z, or how long ago: 2h, 90m, 1d [default: two hours before --until]
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

/// What the arguments ask S3 for; nothing when they name files.
pub(super) fn order(paths: &[PathBuf], flags: &Flags) -> Result<Option<Order>, Stop> {
    #[expect(clippy::disallowed_methods, reason = "a shell: how long ago is counted from now")]
    let now = Timestamp::now();
    order_at(paths, flags, now).map_err(Stop::WrongUse)
}

fn order_at(paths: &[PathBuf], flags: &Flags, now: Timestamp) -> Result<Option<Order>, String> {
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
    let span = time_span(flags.since.as_deref(), flags.until.as_deref(), now)?;
    Ok(Some(Order { source, span, region: flags.region.clone() }))
}

#[cfg(not(feature = "aws"))]
pub(super) fn read(
    _: &Order,
    _: &mut crate::detection::Detector,
    _: &mut crate::diagnosis::Reading,
) -> Result<bool, Stop> {
    Err(Stop::WrongUse(
        "this build cannot talk to AWS. `make build` makes one that can; files and folders work in every \
         build."
            .to_owned(),
    ))
}

#[cfg(feature = "aws")]
mod with_aws {
    use std::pin::pin;

    use futures_util::StreamExt as _;

    use super::{Order, Source};
    use crate::{
        access_log::{LogPlace, ObjectKey, Reader, TimeSpan},
        aws::{AccessLogs, AccessLogsError, Balancer, Clients, Found, StoredLog},
        command_line::{Stop, complain, note, progress::Progress},
        detection::Detector,
        diagnosis::{ObjectReport, Reading},
        numbers::{count, plural},
    };

    /// With what to do where credentials are what is missing.
    pub(in crate::command_line) fn could_not(said: String) -> Stop {
        let about_credentials = said.contains("no AWS credentials") || said.contains("are expired");
        Stop::CouldNot(if about_credentials {
            format!(
                "{said}. It takes the credentials that the AWS CLI has: try `aws sts \
                 get-caller-identity`, set AWS_PROFILE, or log in with `aws sso login`"
            )
        } else {
            said
        })
    }

    impl From<AccessLogsError> for Stop {
        fn from(error: AccessLogsError) -> Self {
            could_not(error.said)
        }
    }

    /// Reads what was ordered. False when not all of it could be read; it is said.
    pub(in crate::command_line) fn read(
        order: &Order,
        detector: &mut Detector,
        reading: &mut Reading,
    ) -> Result<bool, Stop> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let clients = Clients::load().await;
            let (place, load_balancer, region) = match &order.source {
                Source::Place(place) => {
                    (place.clone(), None, order.region.clone().or(place.region.clone()))
                }
                Source::LoadBalancer(name) => {
                    let stop = |said| could_not(format!("load balancer {name}: {said}"));
                    let found = Balancer::find(&clients, name, order.region.as_deref()).await;
                    let found = found.map_err(stop)?;
                    let place = found.logs(&clients).await.map_err(stop)?;
                    (place, Some(found.id), Some(found.region))
                }
            };
            let logs = AccessLogs::new(&clients, &place, region.as_deref());
            let found = logs.find(&order.span, load_balancer.as_deref()).await?;
            for (begin, kind) in &found.others {
                let name = format!("s3://{}/{begin}*", place.bucket);
                let key = ObjectKey { kind: *kind, ..ObjectKey::parse(begin) };
                let skipped = key.skip_reason().map(|reason| format!("skipped: {reason}"));
                let report = ObjectReport::of(name, &key, &Default::default(), skipped);
                reading.objects.push(report);
            }
            if found.objects.is_empty() {
                return Err(Stop::CouldNot(nothing(
                    &place,
                    &found,
                    order,
                    load_balancer.as_deref(),
                )));
            }
            note(&format!(
                "reading {} of s3://{}/{} {}",
                sized(&found.objects),
                place.bucket,
                place.accounts(),
                times(&order.span)
            ));
            read_all(&logs, &place, &found.objects, detector, reading).await
        })
    }

    async fn read_all(
        logs: &AccessLogs<'_>,
        place: &LogPlace,
        objects: &[StoredLog],
        detector: &mut Detector,
        reading: &mut Reading,
    ) -> Result<bool, Stop> {
        let mut progress = Progress::new(objects.len());
        let mut could_read_all = true;
        let mut all_bytes = 0;
        let mut pieces = pin!(logs.pieces(objects));
        for (index, object) in objects.iter().enumerate() {
            let name = format!("s3://{}/{}", place.bucket, object.key);
            let key = ObjectKey::parse(&object.key);
            let source = detector.source(&name, &key);
            let rows = reading.parser.entries;
            let mut reader = Reader::new(|entry| detector.record(source, entry));
            let mut is_over = false;
            let mut refused = None;
            for _ in 0..object.pieces() {
                let Some(piece) = pieces.next().await else { break };
                match piece {
                    // Pieces behind an error are taken from the line, and not read.
                    Ok(_) if is_over => {}
                    Ok(bytes) => {
                        all_bytes += bytes.len() as u64;
                        is_over = reader.push(&bytes).is_err();
                    }
                    Err(error) if error.is_for_all => {
                        progress.done();
                        return Err(error.into());
                    }
                    Err(error) => {
                        is_over = true;
                        refused.get_or_insert(error.said);
                    }
                }
                progress.show(|elapsed| {
                    format!(
                        "reading object {} of {}, {}",
                        count(index as u64 + 1),
                        count(objects.len() as u64),
                        rate(all_bytes, rows, elapsed.as_secs_f64())
                    )
                });
            }
            let outcome = reader.finish();
            reading.parser.add(&outcome.report);
            // The key stands in what S3 refused already.
            let error = match refused {
                Some(said) => {
                    complain(&format!("error: {said}"));
                    let said = said.strip_prefix(&*name).map(|said| said.trim_start_matches(": "));
                    Some(said.unwrap_or("could not be read").to_owned())
                }
                None => outcome.error.map(|error| {
                    let said = error.to_string();
                    complain(&format!("error: {name}: {said}"));
                    said
                }),
            };
            could_read_all &= error.is_none();
            reading.objects.push(ObjectReport::of(name, &key, &outcome.report, error));
        }
        progress.done();
        let seconds = progress.elapsed().as_secs_f64();
        note(&format!("read {}", rate(all_bytes, reading.parser.entries, seconds)));
        Ok(could_read_all)
    }

    fn rate(bytes: u64, rows: u64, seconds: f64) -> String {
        let megabytes = bytes as f64 / 1e6;
        let (per_second, rows) = (megabytes / seconds.max(0.001), plural(rows, "row"));
        format!("{megabytes:.1} MB, {rows} in {seconds:.1} s ({per_second:.1} MB/s)")
    }

    fn sized(objects: &[StoredLog]) -> String {
        let bytes: u64 = objects.iter().map(|object| object.size).sum();
        format!("{} ({:.1} MB)", plural(objects.len() as u64, "object"), bytes as f64 / 1e6)
    }

    fn times(span: &TimeSpan) -> String {
        let minutes = |time: jiff::Timestamp| time.strftime("%Y-%m-%d %H:%M").to_string();
        format!("from {} to {} UTC", minutes(span.since), minutes(span.until))
    }

    fn nothing(
        place: &LogPlace,
        found: &Found,
        order: &Order,
        load_balancer: Option<&str>,
    ) -> String {
        let root = format!("s3://{}/{}", place.bucket, place.accounts());
        if !found.any_region {
            return format!(
                "there are no access logs under {root}. Give the prefix as the load balancer has it \
                 (access_logs.s3.prefix of its attributes); `--load-balancer NAME` finds it by itself."
            );
        }
        let whose = load_balancer.map(|id| format!(" of {id}")).unwrap_or_default();
        format!(
            "no access log{whose} {} under {root}. Objects come five to ten minutes after the requests, \
             and none comes when there were no requests. --since and --until choose another time.",
            times(&order.span)
        )
    }
}

#[cfg(feature = "aws")]
pub(super) use with_aws::{could_not, read};

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct OnlyThis {
        #[arg(required_unless_present = "load_balancer")]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        flags: Flags,
    }

    fn ordered(arguments: &[&str]) -> Result<Option<Order>, String> {
        let parsed = OnlyThis::try_parse_from([&["diagnose"], arguments].concat());
        let parsed = parsed.map_err(|error| error.to_string())?;
        order_at(&parsed.paths, &parsed.flags, "2026-11-20T14:30:00Z".parse().unwrap())
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
            (&["access.log.gz", "--since", "1h"][..], "--since chooses among objects in S3"),
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
