//! `alb502 attach`: a bucket that tells alb502 about new access logs, and everybody else what it told them
//! before.

use clap::{ArgGroup, Args};

use super::Stop;
use crate::{access_log::place::is_bucket, bucket_notification::Destination};

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("destination").args(["function", "queue", "topic", "eventbridge"]),
    after_help = "A bucket has one notification configuration, and S3 replaces it as a whole. So this \
                  reads it, puts in one entry, known by its id, keeps the others, writes only when \
                  something changes, and reads it back. It needs s3:GetBucketNotification and \
                  s3:PutBucketNotification.\n\n\
                  Examples:\n  \
                  alb502 attach s3://example-alb-logs --eventbridge\n  \
                  alb502 attach s3://example-alb-logs/prod --dry-run \\\n    \
                  --queue arn:aws:sqs:eu-west-1:123456789012:alb502\n  \
                  alb502 attach s3://example-alb-logs --remove"
)]
pub(super) struct Arguments {
    /// The bucket, and the prefix of the logs as the load balancer has it (without AWSLogs)
    #[arg(value_name = "s3://BUCKET[/PREFIX]")]
    url: String,
    /// Let the bucket call this Lambda function (TriggerMode=notification)
    #[arg(long, value_name = "ARN")]
    function: Option<String>,
    /// Let the bucket write to this SQS queue (TriggerMode=queue)
    #[arg(long, value_name = "ARN")]
    queue: Option<String>,
    /// Let the bucket publish to this SNS topic (TriggerMode=topic)
    #[arg(long, value_name = "ARN")]
    topic: Option<String>,
    /// Let the bucket send its events to EventBridge (TriggerMode=eventbridge)
    #[arg(long)]
    eventbridge: bool,
    /// What the entry is known by
    #[arg(long, value_name = "ID", default_value = "alb502")]
    id: String,
    /// Take the entry out. The switch of EventBridge stays: rules of others may use it, and it costs nothing
    #[arg(long, conflicts_with = "eventbridge")]
    remove: bool,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The region of the bucket [default: of the ARN, or of the AWS CLI]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

/// What the arguments ask for, checked.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    bucket: String,
    prefix: String,
    change: Change,
    region: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Change {
    Put(Destination),
    EventBridge,
    /// With the destination that the entry must have, when one is given.
    Remove(Option<Destination>),
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Stop> {
    let order = order(arguments)?;
    carry_out(arguments, &order)
}

#[cfg(not(feature = "aws"))]
fn carry_out(_: &Arguments, _: &Order) -> Result<u8, Stop> {
    Err(Stop::WrongUse(
        "attach: this build cannot talk to AWS. `make build` makes one that can.".to_owned(),
    ))
}

fn order(arguments: &Arguments) -> Result<Order, Stop> {
    let (bucket, prefix) = bucket_and_prefix(&arguments.url)?;
    let wrong_use = |text: String| Err(Stop::WrongUse(text));
    if arguments.id.is_empty()
        || 255 < arguments.id.len()
        || arguments.id.contains(char::is_control)
    {
        return wrong_use("--id: an id has 1 to 255 characters".to_owned());
    }
    let destination = [
        ("--function", "lambda", &arguments.function, Destination::Function as fn(String) -> _),
        ("--queue", "sqs", &arguments.queue, Destination::Queue),
        ("--topic", "sns", &arguments.topic, Destination::Topic),
    ]
    .into_iter()
    .find_map(|(flag, service, arn, kind)| Some((flag, service, arn.as_ref()?, kind)));
    let mut region = arguments.region.clone();
    let destination = match destination {
        None => None,
        Some((flag, service, arn, kind)) => {
            let parts: Vec<&str> = arn.split(':').collect();
            let is_one = 6 <= parts.len()
                && parts[0] == "arn"
                && parts[2] == service
                && !parts[3].is_empty()
                && !arn.contains(|c: char| c.is_whitespace() || c.is_control());
            if !is_one {
                return wrong_use(format!(
                    "{flag} {arn}: not the ARN of one, which begins with \
                     arn:aws:{service}:<REGION>:<ACCOUNT>:"
                ));
            }
            // S3 notifies only destinations in the region of the bucket.
            region.get_or_insert_with(|| parts[3].to_owned());
            Some(kind(arn.clone()))
        }
    };
    let change = match (destination, arguments.remove) {
        (destination, true) => Change::Remove(destination),
        (Some(destination), false) => Change::Put(destination),
        (None, false) if arguments.eventbridge => Change::EventBridge,
        (None, false) => {
            return wrong_use(
                "attach: say where the events go: --eventbridge, --function, --queue or --topic. The \
                 output NextCommand of the stack has the whole command."
                    .to_owned(),
            );
        }
    };
    Ok(Order { bucket, prefix, change, region })
}

/// The same rules as the parameters LogBucket and LogPrefix of the template.
fn bucket_and_prefix(url: &str) -> Result<(String, String), Stop> {
    let refused = |why: &str| {
        Err(Stop::WrongUse(format!(
            "{url}: {why}. Give s3://BUCKET or s3://BUCKET/PREFIX, with the prefix as it stands in the \
             attributes of the load balancer (access_logs.s3.prefix)."
        )))
    };
    let Some(rest) = url.strip_prefix("s3://") else { return refused("no S3 URL") };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    if !is_bucket(bucket) {
        return refused("no name of a bucket");
    }
    if prefix.contains("AWSLogs") {
        return refused("AWSLogs is added by itself");
    }
    if !prefix.is_empty() && !prefix.split('/').all(is_word) {
        return refused(
            "a prefix has letters, digits, dots, hyphens, underscores and single slashes",
        );
    }
    Ok((bucket.to_owned(), prefix.to_owned()))
}

#[cfg(feature = "aws")]
mod with_aws {
    use std::{
        io::{self, Write as _},
        time::Duration,
    };

    use super::{Arguments, Change, Order};
    use crate::{
        aws::{Bucket, BucketError, Clients},
        bucket_notification::{BucketNotification, Entry},
        command_line::Stop,
        neutralize,
    };

    /// S3 may give back an older configuration for a moment.
    const READ_BACK: u32 = 3;

    /// Between two looks.
    const PAUSE: Duration = Duration::from_secs(1);

    impl From<BucketError> for Stop {
        fn from(error: BucketError) -> Self {
            Self::CouldNot(error.to_string())
        }
    }

    pub(super) fn carry_out(arguments: &Arguments, order: &Order) -> Result<u8, Stop> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let clients = Clients::load().await;
            let bucket =
                Bucket { clients: &clients, region: order.region.as_deref(), name: &order.bucket };
            let before = bucket.notification().await?;
            let after = changed(&before, arguments, order)?;
            let kept: Vec<String> = before
                .others(&arguments.id)
                .map(|entry| format!("{} -> {}", entry.id, entry.destination))
                .collect();
            say(&format!("s3://{}", order.bucket))?;
            if after.is_the_same_as(&before) {
                say("Nothing to do: the bucket already has it so.")?;
            } else {
                if arguments.dry_run {
                    say("Dry run, nothing is written. It would change:")?;
                    say(before.difference(&after).trim_end())?;
                    foretell(&after, &arguments.id)?;
                } else {
                    bucket.replace(&after, &arguments.id).await?;
                    read_back(&bucket, &after).await?;
                    say(&done(arguments, order))?;
                }
            }
            if kept.is_empty() {
                say("The bucket has no entries of others.")?;
            } else {
                say("Entries of others, as they were:")?;
                for entry in kept {
                    say(&format!("  {entry}"))?;
                }
            }
            Ok(0)
        })
    }

    fn changed(
        before: &BucketNotification,
        arguments: &Arguments,
        order: &Order,
    ) -> Result<BucketNotification, Stop> {
        Ok(match &order.change {
            Change::EventBridge => before.with_event_bridge(),
            Change::Put(destination) => before.with(&Entry::of_access_logs(
                &arguments.id,
                destination.clone(),
                &order.prefix,
            )),
            Change::Remove(expected) => {
                let found = before.entry(&arguments.id).map(|entry| &entry.destination);
                match (found, expected) {
                    (Some(found), Some(expected)) if found != expected => {
                        return Err(Stop::CouldNot(format!(
                            "the entry {} of s3://{} leads to {found}: it stays. Leave the destination out \
                             to remove it all the same, or give another --id",
                            arguments.id, order.bucket
                        )));
                    }
                    _ => before.without(&arguments.id),
                }
            }
        })
    }

    async fn read_back(bucket: &Bucket<'_>, after: &BucketNotification) -> Result<(), Stop> {
        let mut difference = String::new();
        for look in 0..READ_BACK {
            if 0 < look {
                tokio::time::sleep(PAUSE).await;
            }
            let now = bucket.notification().await?;
            if now.is_the_same_as(after) {
                return Ok(());
            }
            difference = after.difference(&now);
        }
        Err(Stop::CouldNot(format!(
            "S3 took it, but the bucket has something else now; somebody else may have written at the \
             same time. Look at it, and run this again:\n{difference}"
        )))
    }

    /// What S3 would refuse, where it can be known beforehand.
    fn foretell(after: &BucketNotification, id: &str) -> Result<(), Stop> {
        let Some(ours) = after.entry(id) else { return Ok(()) };
        for other in after.others(id).filter(|other| other.overlaps(ours)) {
            say(&format!(
                "S3 would refuse it: {} -> {} gets some of these objects already. --eventbridge works \
                 beside it.",
                other.id, other.destination
            ))?;
        }
        Ok(())
    }

    fn done(arguments: &Arguments, order: &Order) -> String {
        match &order.change {
            Change::EventBridge => {
                "The bucket now sends its events to EventBridge. Read back: so it is.".to_owned()
            }
            Change::Put(destination) => {
                let prefix = if order.prefix.is_empty() {
                    String::new()
                } else {
                    format!("{}/", order.prefix)
                };
                format!(
                    "New objects {prefix}AWSLogs/*.log.gz are told to {destination} (entry {}). Read \
                     back: so it is. S3 may take some minutes to begin.",
                    arguments.id
                )
            }
            Change::Remove(_) => {
                format!("The entry {} is gone. Read back: so it is.", arguments.id)
            }
        }
    }

    /// Ids and ARNs of others are text of strangers.
    fn say(text: &str) -> io::Result<()> {
        let mut output = io::stdout().lock();
        for line in text.lines() {
            writeln!(output, "{}", neutralize::line(line))?;
        }
        Ok(())
    }
}

#[cfg(feature = "aws")]
use with_aws::carry_out;

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:alb502";

    #[derive(Debug, clap::Parser)]
    struct OnlyThis {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn ordered(arguments: &[&str]) -> Result<Order, String> {
        let parsed = OnlyThis::try_parse_from([&["attach"], arguments].concat());
        let arguments = parsed.map_err(|error| error.to_string())?.arguments;
        order(&arguments).map_err(|stop| stop.to_string())
    }

    #[test]
    fn a_url_is_a_bucket_and_the_prefix_of_the_load_balancer() {
        for (url, bucket, prefix) in [
            ("s3://example-alb-logs", "example-alb-logs", ""),
            ("s3://example-alb-logs/", "example-alb-logs", ""),
            ("s3://logs.example.com/prod/web", "logs.example.com", "prod/web"),
            ("s3://logs.example.com/prod/", "logs.example.com", "prod"),
        ] {
            let order = ordered(&[url, "--eventbridge"]).unwrap();
            assert_eq!((&*order.bucket, &*order.prefix), (bucket, prefix));
            assert_eq!(order.change, Change::EventBridge);
        }
        for (url, said) in [
            ("example-alb-logs", "no S3 URL"),
            ("s3://Example", "no name of a bucket"),
            ("s3://ab", "no name of a bucket"),
            ("s3://example-alb-logs/prod/AWSLogs", "added by itself"),
            ("s3://example-alb-logs/a//b", "single slashes"),
            ("s3://example-alb-logs/a*", "single slashes"),
        ] {
            let error = ordered(&[url, "--eventbridge"]).unwrap_err();
            assert!(error.contains(said) && error.contains("access_logs.s3.prefix"), "{error}");
        }
    }

    #[test]
    fn the_destination_is_one_arn_of_its_kind_and_gives_the_region() {
        let bucket = "s3://example-alb-logs";
        let order = ordered(&[bucket, "--function", FUNCTION]).unwrap();
        assert_eq!(order.change, Change::Put(Destination::Function(FUNCTION.to_owned())));
        assert_eq!(order.region.as_deref(), Some("eu-west-1"));
        let order = ordered(&[bucket, "--function", FUNCTION, "--region", "us-east-2"]).unwrap();
        assert_eq!(order.region.as_deref(), Some("us-east-2"));
        for (arguments, said) in [
            (vec![bucket], "say where the events go"),
            (vec![bucket, "--queue", FUNCTION], "arn:aws:sqs:"),
            (vec![bucket, "--function", "alb502"], "arn:aws:lambda:"),
            (vec![bucket, "--function", FUNCTION, "--eventbridge"], "cannot be used with"),
            (vec![bucket, "--eventbridge", "--remove"], "cannot be used with"),
            (vec![bucket, "--eventbridge", "--id", ""], "--id"),
        ] {
            let error = ordered(&arguments).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn to_remove_needs_no_destination_and_checks_the_one_that_is_given() {
        let bucket = "s3://example-alb-logs";
        assert_eq!(ordered(&[bucket, "--remove"]).unwrap().change, Change::Remove(None));
        let order = ordered(&[bucket, "--remove", "--function", FUNCTION]).unwrap();
        let expected = Destination::Function(FUNCTION.to_owned());
        assert_eq!(order.change, Change::Remove(Some(expected)));
    }
}
