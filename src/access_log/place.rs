//! Where access logs lie in a bucket, and which of them a span of time needs.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html#access-log-file-format>

use jiff::{SignedDuration, Timestamp, civil::Date, tz::Offset};

use super::object_key::{ObjectKey, is_account, is_region};

/// Each object covers so much, up to the time in its name.
const WINDOW: SignedDuration = SignedDuration::from_mins(5);

/// The folder is named by the day of the delivery, which may be later than the day of the rows. Objects
/// come within minutes; what comes an hour late is not waited for.
const LATE: SignedDuration = SignedDuration::from_hours(1);

/// The folder that a load balancer makes by itself.
const ROOT: &str = "AWSLogs";

/// A bucket, and the part of it that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlace {
    /// Its name.
    pub bucket: String,
    /// What stands before `AWSLogs/`: empty, or it ends with a slash.
    pub prefix: String,
    /// Twelve digits; `None`: all that are there.
    pub account: Option<String>,
    /// `None`: all that are there.
    pub region: Option<String>,
}

impl LogPlace {
    /// Reads `s3://bucket[/prefix][/AWSLogs[/account[/elasticloadbalancing[/region]]]]`.
    ///
    /// # Errors
    /// Why it is none, and what to give.
    pub fn parse(url: &str) -> Result<Self, String> {
        let refused = |why: &str| {
            Err(format!(
                "{url}: {why}. Give s3://BUCKET, s3://BUCKET/PREFIX, or more of the path, up to the region: \
                 s3://BUCKET/PREFIX/AWSLogs/ACCOUNT/elasticloadbalancing/REGION"
            ))
        };
        let Some(rest) = url.strip_prefix("s3://") else { return refused("no S3 URL") };
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_bucket(bucket) {
            return refused("no name of a bucket");
        }
        if path.ends_with(".gz") || path.ends_with(".log") {
            return Err(one_object(url, path));
        }
        let mut folders = path.split('/').filter(|folder| !folder.is_empty());
        let before: Vec<&str> = folders.by_ref().take_while(|folder| *folder != ROOT).collect();
        let rest: Vec<&str> = folders.collect();
        let (account, region) = match rest.as_slice() {
            [] => (None, None),
            [account] | [account, "elasticloadbalancing"] => (Some(*account), None),
            [account, "elasticloadbalancing", region] => (Some(*account), Some(*region)),
            [_, "elasticloadbalancing", ..] => {
                return refused(
                    "the day and hour are not part of it: --since and --until name them",
                );
            }
            _ => return refused("not the path of access logs"),
        };
        if account.is_some_and(|account| !is_account(account)) {
            return refused("an account has 12 digits");
        }
        if region.is_some_and(|region| !is_region(region)) {
            return refused("no name of a region");
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: before.iter().map(|folder| format!("{folder}/")).collect(),
            account: account.map(str::to_owned),
            region: region.map(str::to_owned),
        })
    }

    /// The folder of the accounts.
    pub fn accounts(&self) -> String {
        format!("{}{ROOT}/", self.prefix)
    }

    /// The folder below which all of them are: that of the region or account, where it is known.
    pub fn folder(&self) -> String {
        match (&self.account, &self.region) {
            (Some(account), Some(region)) => format!("{}{region}/", self.regions(account)),
            (Some(account), None) => self.regions(account),
            (None, _) => self.accounts(),
        }
    }

    /// The folder of the regions of an account.
    pub fn regions(&self, account: &str) -> String {
        format!("{}{account}/elasticloadbalancing/", self.accounts())
    }

    /// The folder of a day.
    pub fn day(&self, account: &str, region: &str, day: Date) -> String {
        let regions = self.regions(account);
        format!("{regions}{region}/{:04}/{:02}/{:02}/", day.year(), day.month(), day.day())
    }
}

/// What is said of the URL of a single object: its time chooses it, or it is copied.
fn one_object(url: &str, path: &str) -> String {
    let key = ObjectKey::parse(path);
    if let Some(reason) = key.skip_reason() {
        return format!(
            "{url}: {reason}. Give an access log of an Application Load Balancer: \
             s3://BUCKET/PREFIX, or `--load-balancer NAME`, which finds it by itself"
        );
    }
    let (folder, _) = path.split_once(&format!("{ROOT}/")).unwrap_or_default();
    let bucket = url.split('/').nth(2).unwrap_or_default();
    let by_time = key.end_time.map(|end| {
        let since = saturating(end, -WINDOW);
        format!(
            "It is read with those beside it by s3://{bucket}/{folder} --since {since} --until {end}; or \
             copy it"
        )
    });
    format!(
        "{url}: this is one object, not where logs are. {}, and give the file: aws s3 cp <URL> .",
        by_time.as_deref().unwrap_or("Copy it")
    )
}

/// True for what S3 takes as the name of a bucket.
///
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
pub fn is_bucket(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '.' | '-'))
        && !name.starts_with(['.', '-'])
        && !name.ends_with(['.', '-'])
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSpan {
    /// From this time.
    pub since: Timestamp,
    /// To this one, which is not before.
    pub until: Timestamp,
}

impl TimeSpan {
    /// The earliest end of an object that is needed: one window before the span is read as well.
    pub fn first_end(&self) -> Timestamp {
        saturating(self.since, -WINDOW)
    }

    /// The last end of an object that is needed: that of the window after the one that `until` is in.
    pub fn last_end(&self) -> Timestamp {
        saturating(saturating(self.until, WINDOW), WINDOW)
    }

    /// Whether an object that covers the five minutes up to `end` is needed: when it may hold rows of
    /// the span, or of one window before or after it.
    pub fn needs(&self, end: Timestamp) -> bool {
        self.first_end() < end && end < self.last_end()
    }

    /// The days, in UTC, whose folders may hold such objects.
    pub fn days(&self) -> impl Iterator<Item = Date> + use<> {
        let day = |time: Timestamp| Offset::UTC.to_datetime(time).date();
        let (first, last) = (day(self.first_end()), day(saturating(self.last_end(), LATE)));
        first.series(jiff::ToSpan::day(1)).take_while(move |day| *day <= last)
    }

    /// What sorts before every name of an object of one load balancer that is needed: the name begins
    /// with `stem`, then follows the end.
    pub fn start_after(&self, stem: &str) -> String {
        let first = Offset::UTC.to_datetime(self.first_end());
        let (date, time) = (first.date(), first.time());
        format!(
            "{stem}{:04}{:02}{:02}T{:02}{:02}",
            date.year(),
            date.month(),
            date.day(),
            time.hour(),
            time.minute()
        )
    }
}

fn saturating(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_log::ObjectKey;

    #[test]
    fn a_url_may_stop_anywhere_above_the_days() {
        let place = |prefix: &str, account: Option<&str>, region: Option<&str>| LogPlace {
            bucket: "example-alb-logs".to_owned(),
            prefix: prefix.to_owned(),
            account: account.map(str::to_owned),
            region: region.map(str::to_owned),
        };
        let account = Some("123456789012");
        for (path, expected) in [
            ("", place("", None, None)),
            ("/", place("", None, None)),
            ("/prod/web", place("prod/web/", None, None)),
            ("/prod/AWSLogs/", place("prod/", None, None)),
            ("/AWSLogs/123456789012", place("", account, None)),
            ("/AWSLogs/123456789012/elasticloadbalancing/", place("", account, None)),
            (
                "/p/AWSLogs/123456789012/elasticloadbalancing/eu-west-1/",
                place("p/", account, Some("eu-west-1")),
            ),
        ] {
            assert_eq!(LogPlace::parse(&format!("s3://example-alb-logs{path}")), Ok(expected));
        }
        for (url, why) in [
            ("example-alb-logs", "no S3 URL"),
            ("s3://Example", "no name of a bucket"),
            ("s3://example-alb-logs/AWSLogs/12345678901", "12 digits"),
            ("s3://example-alb-logs/AWSLogs/123456789012/CloudTrail", "not the path"),
            (
                "s3://example-alb-logs/AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2026",
                "--since",
            ),
        ] {
            let error = LogPlace::parse(url).unwrap_err();
            assert!(error.contains(why) && error.contains("s3://BUCKET"), "{error}");
        }
    }

    #[test]
    fn the_url_of_one_object_says_how_to_read_it() {
        let folder = "s3://example-alb-logs/p/AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2026/11/20";
        let names = "123456789012_elasticloadbalancing_eu-west-1_app.shop.0a_20261120T0005Z_192.0.2.7_x.log.gz";
        let said = |url: String| LogPlace::parse(&url).unwrap_err();
        let of_one = said(format!("{folder}/{names}"));
        assert!(
            of_one.contains(
                "s3://example-alb-logs/p/ --since 2026-11-20T00:00:00Z --until 2026-11-20T00:05:00Z"
            ),
            "{of_one}"
        );
        assert!(of_one.contains("aws s3 cp"), "{of_one}");
        let other = said(format!("{folder}/conn_log_{names}"));
        assert!(other.contains("connection log") && other.contains("--load-balancer"), "{other}");
        let loose = said("s3://example-alb-logs/copies/access.log".to_owned());
        assert!(loose.contains("Copy it, and give the file: aws s3 cp"), "{loose}");
    }

    fn span(since: &str, until: &str) -> TimeSpan {
        TimeSpan { since: since.parse().unwrap(), until: until.parse().unwrap() }
    }

    #[test]
    fn an_object_is_needed_within_one_window_around_the_span() {
        let span = span("2026-11-20T12:00:00Z", "2026-11-20T13:00:00Z");
        for (end, needed) in [
            ("2026-11-20T11:55:00Z", false),
            ("2026-11-20T12:00:00Z", true),
            ("2026-11-20T12:05:00Z", true),
            ("2026-11-20T13:05:00Z", true),
            ("2026-11-20T13:10:00Z", false),
        ] {
            assert_eq!(span.needs(end.parse().unwrap()), needed, "{end}");
        }
    }

    #[test]
    fn names_that_are_needed_sort_behind_the_start() {
        let span = span("2026-11-20T00:02:00Z", "2026-11-20T01:00:00Z");
        let stem = "123456789012_elasticloadbalancing_eu-west-1_app.shop.0a_";
        let start = span.start_after(stem);
        for (end, is_behind) in [("20261119T2355Z", false), ("20261120T0000Z", true)] {
            let name = format!("{stem}{end}_192.0.2.7_x.log.gz");
            assert_eq!(start < name, is_behind, "{name}");
            assert_eq!(span.needs(ObjectKey::parse(&name).end_time.unwrap()), is_behind);
        }
    }

    #[test]
    fn the_folders_are_those_of_the_delivery() {
        for (since, until, days) in [
            ("2026-11-20T12:00:00Z", "2026-11-20T13:00:00Z", &["2026-11-20"][..]),
            ("2026-11-20T00:02:00Z", "2026-11-20T01:00:00Z", &["2026-11-19", "2026-11-20"]),
            ("2026-12-31T22:00:00Z", "2026-12-31T22:55:00Z", &["2026-12-31", "2027-01-01"]),
            ("2026-02-28T22:00:00Z", "2026-02-28T22:45:00Z", &["2026-02-28"]),
        ] {
            let found: Vec<String> = span(since, until).days().map(|day| day.to_string()).collect();
            assert_eq!(found, days, "{since} to {until}");
        }
        let place = LogPlace::parse("s3://example-alb-logs/p").unwrap();
        assert_eq!(
            place.day("123456789012", "eu-west-1", "2026-02-03".parse().unwrap()),
            "p/AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2026/02/03/"
        );
    }
}
