//! Where the logs are that were ordered, and which objects; with what to do when there are none.

use std::{pin::pin, time::Duration};

use super::{Order, Source};
use crate::{
    access_log::{LogPlace, ObjectKind, TimeSpan},
    aws::{self, AccessLogs, AccessLogsError, Balancer, Clients, Refusal, StoredLog},
    command_line::{Stop, note, progress::Progress},
    numbers::plural,
};

/// How often it is looked how far the listing is.
const TICK: Duration = Duration::from_millis(200);

/// The objects that were ordered.
#[derive(Debug)]
pub(in crate::command_line) struct Found {
    clients: Clients,
    pub(in crate::command_line) place: LogPlace,
    /// That of the bucket.
    region: String,
    /// The access logs, by key; at least one.
    pub(in crate::command_line) objects: Vec<StoredLog>,
    /// Other kinds of logs in the same folders: the beginning of their keys, and which kind.
    pub(in crate::command_line) others: Vec<(String, ObjectKind)>,
}

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
        let next = match error.refusal {
            Refusal::Denied => {
                "`aws sts get-caller-identity` shows who asks. The README has the policy (Permissions, of a \
                 person); the policy of a bucket in another account must allow it as well."
            }
            Refusal::NoBucket => {
                "Look at its name; `aws s3 ls` shows the buckets of the account. `--load-balancer NAME` \
                 takes the one that the load balancer writes to."
            }
            Refusal::OtherRegion => "Give the region of the bucket with --region.",
            Refusal::Credentials | Refusal::Other => return could_not(error.to_string()),
        };
        let said = error.to_string();
        Self::CouldNot(format!("{}. {next}", said.trim_end_matches('.')))
    }
}

impl Found {
    /// Finds them, and says how many they are.
    ///
    /// # Errors
    /// When the bucket cannot be listed, and when there are none.
    pub(in crate::command_line) async fn of(order: &Order) -> Result<Self, Stop> {
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
        let aws::Found { objects, others } =
            list(&logs, &place, &order.span, load_balancer.as_deref()).await?;
        if objects.is_empty() {
            let newest = logs.newest_day().await?;
            let of = Wanted { place: &place, span: &order.span, load_balancer };
            return Err(Stop::CouldNot(of.nothing(&others, newest.as_deref())));
        }
        note(&format!(
            "reading {} of s3://{}/{} {}",
            sized(&objects),
            place.bucket,
            place.folder(),
            times(&order.span)
        ));
        let region = logs.region();
        Ok(Self { place, region, objects, others, clients })
    }

    /// The logs, in the region that the bucket turned out to be in.
    pub(in crate::command_line) fn logs(&self) -> AccessLogs<'_> {
        AccessLogs::new(&self.clients, &self.place, Some(&self.region))
    }
}

/// Lists the objects, and says meanwhile how many there are so far.
async fn list(
    logs: &AccessLogs<'_>,
    place: &LogPlace,
    span: &TimeSpan,
    load_balancer: Option<&str>,
) -> Result<aws::Found, Stop> {
    let mut progress = Progress::new(0);
    let mut listing = pin!(logs.find(span, load_balancer));
    let found = loop {
        match tokio::time::timeout(TICK, &mut listing).await {
            Ok(found) => break found,
            Err(_) => progress.show(|elapsed| {
                format!(
                    "listing s3://{}: {} so far, {} s",
                    place.bucket,
                    plural(logs.listed(), "object"),
                    elapsed.as_secs()
                )
            }),
        }
    };
    progress.done();
    Ok(found?)
}

fn sized(objects: &[StoredLog]) -> String {
    let bytes: u64 = objects.iter().map(|object| object.size).sum();
    format!("{} ({:.1} MB)", plural(objects.len() as u64, "object"), bytes as f64 / 1e6)
}

fn times(span: &TimeSpan) -> String {
    let minutes = |time: jiff::Timestamp| time.strftime("%Y-%m-%d %H:%M").to_string();
    format!("from {} to {} UTC", minutes(span.since), minutes(span.until))
}

/// What was looked for, in vain.
struct Wanted<'a> {
    place: &'a LogPlace,
    span: &'a TimeSpan,
    load_balancer: Option<String>,
}

impl Wanted<'_> {
    /// Why there is nothing, and what to do. `newest` is the newest day of which there are logs.
    fn nothing(&self, others: &[(String, ObjectKind)], newest: Option<&str>) -> String {
        let Self { place, span, load_balancer } = self;
        let folder = format!("s3://{}/{}", place.bucket, place.folder());
        let Some(newest) = newest else {
            return match (load_balancer, &place.account) {
                (Some(id), _) => format!(
                    "there are no access logs under {folder}, where {id} writes them. The first object \
                     comes five to ten minutes after the first request since logging is on; if there was \
                     one, the policy of the bucket may not let Elastic Load Balancing write there."
                ),
                (None, Some(_)) => format!(
                    "there are no access logs under {folder}. Look at account and region, or leave them \
                     out: s3://{}/{}",
                    place.bucket, place.prefix
                ),
                (None, None) => format!(
                    "there are no access logs under {folder}. Give the prefix as the load balancer has it \
                     (access_logs.s3.prefix of its attributes); `--load-balancer NAME` finds it by itself."
                ),
            };
        };
        let whose = load_balancer.as_deref().map(|id| format!(" of {id}")).unwrap_or_default();
        let mut said = format!("no access log{whose} {} under {folder}.", times(span));
        let kinds: std::collections::BTreeSet<String> =
            others.iter().map(|(_, kind)| kind.to_string()).collect();
        if !kinds.is_empty() {
            let kinds: Vec<String> = kinds.into_iter().collect();
            said.push_str(&format!(" What is there is no such log: {}.", kinds.join(", ")));
        }
        said.push_str(&format!(
            " Objects come five to ten minutes after the requests, and none comes when there were no \
             requests. The newest day with logs is {newest}: --since and --until choose another time."
        ));
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_vain_is_told_with_the_next_step() {
        let span = TimeSpan {
            since: "2026-11-20T12:00:00Z".parse().unwrap(),
            until: "2026-11-20T13:00:00Z".parse().unwrap(),
        };
        let of = |path: &str, load_balancer: Option<&str>| {
            let place = LogPlace::parse(&format!("s3://example-alb-logs{path}")).unwrap();
            let load_balancer = load_balancer.map(str::to_owned);
            let wanted = Wanted { place: &place, span: &span, load_balancer };
            let others = [("conn_log_".to_owned(), ObjectKind::ConnectionLog)];
            [
                wanted.nothing(&[], None),
                wanted.nothing(&[], Some("2026-11-19")),
                wanted.nothing(&others, Some("2026-11-20")),
            ]
        };
        let [nowhere, other_day, other_kind] = of("/prod", None);
        assert!(nowhere.contains("Give the prefix as the load balancer has it"), "{nowhere}");
        assert!(other_day.contains("from 2026-11-20 12:00 to 2026-11-20 13:00 UTC"), "{other_day}");
        assert!(other_day.contains("newest day with logs is 2026-11-19: --since"), "{other_day}");
        assert!(!other_day.contains("What is there"), "{other_day}");
        assert!(other_kind.contains("no such log: connection log."), "{other_kind}");
        let [nowhere, ..] = of("/prod/AWSLogs/123456789012", None);
        assert!(nowhere.ends_with("leave them out: s3://example-alb-logs/prod/"), "{nowhere}");
        let [nowhere, other_day, _] = of("/AWSLogs/123456789012", Some("app/shop/0a"));
        assert!(nowhere.contains("may not let Elastic Load Balancing write"), "{nowhere}");
        assert!(other_day.starts_with("no access log of app/shop/0a from"), "{other_day}");
    }
}
