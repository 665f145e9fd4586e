//! What the name of an object says: which log it is, of which load balancer, until when.
//!
//! Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html#access-log-file-format>

use std::fmt;

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::Offset;

/// Which kind of object lies under a key, judged by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// An access log of an Application Load Balancer.
    AccessLog,
    /// A connection log of an Application Load Balancer.
    ConnectionLog,
    /// A health-check log of an Application Load Balancer.
    HealthCheckLog,
    /// A log of a Network Load Balancer.
    NetworkLoadBalancer,
    /// A log of a Classic Load Balancer.
    ClassicLoadBalancer,
    /// The object that is written once, when logging is enabled.
    TestObject,
    /// The name says nothing; the content decides.
    Other,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessLog => "access log",
            Self::ConnectionLog => "connection log",
            Self::HealthCheckLog => "health-check log",
            Self::NetworkLoadBalancer => "Network Load Balancer log",
            Self::ClassicLoadBalancer => "Classic Load Balancer log",
            Self::TestObject => "test object",
            Self::Other => "other",
        })
    }
}

/// The parts of an object key, or of the name of a file that was downloaded.
///
/// A part is `None` when the name does not hold it. Any prefix, any partition and any spelling of
/// the node's address are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectKey {
    /// Which log this is.
    pub kind: ObjectKind,
    /// The twelve digits of the AWS account that owns the load balancer.
    pub account: Option<String>,
    /// The region of the load balancer.
    pub region: Option<String>,
    /// `app/name/hex`, `net/name/hex`, or the bare name of a Classic Load Balancer.
    pub load_balancer: Option<String>,
    /// The end of the interval that the object covers, to the minute.
    pub end_time: Option<Timestamp>,
    /// The address of the load-balancer node, as it stands in the name.
    pub node: Option<String>,
}

impl ObjectKey {
    /// Reads a decoded key (`prefix/AWSLogs/...`) or a path. Never fails: what is not recognised is
    /// [`ObjectKind::Other`].
    pub fn parse(key: &str) -> Self {
        let file = key.rsplit(['/', '\\']).next().unwrap_or(key);
        let folders = Folders::of(key);
        let mut parsed = Self::of_file(file).unwrap_or(Self {
            kind: if is_test_object(file) { ObjectKind::TestObject } else { ObjectKind::Other },
            account: None,
            region: None,
            load_balancer: None,
            end_time: None,
            node: None,
        });
        parsed.account = parsed.account.or(folders.account);
        parsed.region = parsed.region.or(folders.region);
        parsed
    }

    /// One sentence on why the object is not read; `None` for an access log and for a name that says
    /// nothing, where the content decides.
    pub fn skip_reason(&self) -> Option<String> {
        let reason = match self.kind {
            ObjectKind::AccessLog | ObjectKind::Other => return None,
            ObjectKind::ConnectionLog => "a connection log: it says nothing about targets",
            ObjectKind::HealthCheckLog => "a health-check log: it holds no requests of clients",
            ObjectKind::NetworkLoadBalancer => {
                "a Network Load Balancer log: only Application Load Balancers answer 502"
            }
            ObjectKind::ClassicLoadBalancer => {
                "a Classic Load Balancer log: only Application Load Balancers are diagnosed"
            }
            ObjectKind::TestObject => {
                "a test object: it is written once, when logging is enabled, and holds no entries"
            }
        };
        Some(reason.to_owned())
    }

    /// `[kind_]account_elasticloadbalancing_region_load-balancer_end[_node]_random.log[.gz]`.
    /// No part holds an underscore itself. Behind the kind AWS's pages write a point in one place and an
    /// underscore in another.
    ///
    /// Source: <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-connection-logs.html#connection-log-file-format>
    fn of_file(file: &str) -> Option<Self> {
        let stem = file.strip_suffix(".log.gz").or_else(|| file.strip_suffix(".log"))?;
        let behind = |kind: &str| stem.strip_prefix(kind)?.strip_prefix(['_', '.']);
        let (prefix, rest) = if let Some(rest) = behind("conn_log") {
            (Some(ObjectKind::ConnectionLog), rest)
        } else if let Some(rest) = behind("health_check_log") {
            (Some(ObjectKind::HealthCheckLog), rest)
        } else {
            (None, stem)
        };
        let mut parts = rest.split('_');
        let account = parts.next()?;
        if parts.next()? != "elasticloadbalancing" {
            return None;
        }
        let region = parts.next()?;
        let (named, load_balancer) = load_balancer(parts.next()?)?;
        let kind = match prefix {
            None => named,
            Some(kind) if named == ObjectKind::AccessLog => kind,
            Some(_) => return None,
        };
        let end = parts.next()?;
        // A Network Load Balancer names no node: there the random string follows at once.
        let node = parts.next().filter(|node| node.contains(['.', ':']));
        Some(Self {
            kind,
            account: Some(account).filter(|word| is_account(word)).map(str::to_owned),
            region: Some(region).filter(|word| is_region(word)).map(str::to_owned),
            load_balancer: Some(load_balancer),
            end_time: end_time(end),
            node: node.map(str::to_owned),
        })
    }
}

/// What the folders between `AWSLogs/` and the file say.
struct Folders {
    account: Option<String>,
    region: Option<String>,
}

impl Folders {
    fn of(key: &str) -> Self {
        let mut folders = key.split('/').skip_while(|folder| *folder != "AWSLogs");
        let account = folders.nth(1).filter(|word| is_account(word)).map(str::to_owned);
        let region = folders
            .next()
            .filter(|service| *service == "elasticloadbalancing")
            .and_then(|_| folders.next())
            .filter(|word| is_region(word))
            .map(str::to_owned);
        Self { account, region }
    }
}

/// `app.name.hex`, `net.name.hex`, or a name without a dot.
fn load_balancer(part: &str) -> Option<(ObjectKind, String)> {
    let words: Vec<&str> = part.split('.').collect();
    match words.as_slice() {
        ["app", name, id] if is_name(name) && is_name(id) => {
            Some((ObjectKind::AccessLog, format!("app/{name}/{id}")))
        }
        ["net", name, id] if is_name(name) && is_name(id) => {
            Some((ObjectKind::NetworkLoadBalancer, format!("net/{name}/{id}")))
        }
        [name] if is_name(name) => Some((ObjectKind::ClassicLoadBalancer, (*name).to_owned())),
        _ => None,
    }
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// True for the twelve digits of an AWS account.
pub fn is_account(word: &str) -> bool {
    word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// True for what is written like a region: `eu-west-1`.
pub fn is_region(word: &str) -> bool {
    is_name(word) && word.contains('-')
}

/// `ELBAccessLogTestFile`, and what the other kinds of log write in the same manner.
fn is_test_object(file: &str) -> bool {
    file.starts_with("ELB") && file.ends_with("TestFile")
}

/// `20261120T1205Z`. The `T` is left out in some old names.
fn end_time(word: &str) -> Option<Timestamp> {
    let digits = word.strip_suffix('Z')?;
    let (date, time) = digits.split_once('T').or_else(|| digits.split_at_checked(8))?;
    let number = |text: &str, from: usize, to: usize| -> Option<i16> {
        let text = text.get(from..to)?;
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
    };
    if date.len() != 8 || time.len() != 4 {
        return None;
    }
    let small = |value: i16| i8::try_from(value).ok();
    let date = civil::Date::new(
        number(date, 0, 4)?,
        small(number(date, 4, 6)?)?,
        small(number(date, 6, 8)?)?,
    )
    .ok()?;
    let time =
        civil::Time::new(small(number(time, 0, 2)?)?, small(number(time, 2, 4)?)?, 0, 0).ok()?;
    Offset::UTC.to_timestamp(date.to_datetime(time)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FOLDERS: &str = "AWSLogs/123456789012/elasticloadbalancing/eu-central-1/2026/11/20/";
    const ACCESS_LOG: &str = "123456789012_elasticloadbalancing_eu-central-1_app.shop-web.50dc6c495c0c9188_20261120T1205Z_192.0.2.7_4hzzq7x2.log.gz";

    #[test]
    fn reads_every_part_of_an_access_log() {
        for prefix in ["", "team/a b/", "AWSLogs-old/", "x/AWSLogs/y/"] {
            let key = ObjectKey::parse(&format!("{prefix}{FOLDERS}{ACCESS_LOG}"));
            assert_eq!(
                key,
                ObjectKey {
                    kind: ObjectKind::AccessLog,
                    account: Some("123456789012".to_owned()),
                    region: Some("eu-central-1".to_owned()),
                    load_balancer: Some("app/shop-web/50dc6c495c0c9188".to_owned()),
                    end_time: Some("2026-11-20T12:05:00Z".parse().unwrap()),
                    node: Some("192.0.2.7".to_owned()),
                },
                "{prefix}"
            );
            assert_eq!(key.skip_reason(), None);
        }
    }

    #[test]
    fn a_downloaded_file_is_known_by_its_name() {
        let whole = ObjectKey::parse(&format!("{FOLDERS}{ACCESS_LOG}"));
        for path in ["", "./", "/tmp/logs/", "..\\logs\\"] {
            assert_eq!(ObjectKey::parse(&format!("{path}{ACCESS_LOG}")), whole);
        }
        let plain = ACCESS_LOG.strip_suffix(".gz").unwrap();
        assert_eq!(ObjectKey::parse(plain), whole);
    }

    #[test]
    fn tells_the_kinds_apart() {
        let rest = "123456789012_elasticloadbalancing_us-east-1";
        for (file, kind, load_balancer, node) in [
            (
                format!("conn_log_{rest}_app.a.0f_20261120T1205Z_192.0.2.7_r.log.gz"),
                ObjectKind::ConnectionLog,
                Some("app/a/0f"),
                Some("192.0.2.7"),
            ),
            (
                format!("health_check_log_{rest}_app.a.0f_20261120T1205Z_192.0.2.7_r.log.gz"),
                ObjectKind::HealthCheckLog,
                Some("app/a/0f"),
                Some("192.0.2.7"),
            ),
            (
                format!("conn_log.{rest}_app.a.0f_20261120T1205Z_192.0.2.7_r.log.gz"),
                ObjectKind::ConnectionLog,
                Some("app/a/0f"),
                Some("192.0.2.7"),
            ),
            (
                format!("health_check_log.{rest}_app.a.0f_20261120T1205Z_192.0.2.7_r.log.gz"),
                ObjectKind::HealthCheckLog,
                Some("app/a/0f"),
                Some("192.0.2.7"),
            ),
            (
                format!("{rest}_net.a.0f_20261120T1205Z_4hzzq7x2.log.gz"),
                ObjectKind::NetworkLoadBalancer,
                Some("net/a/0f"),
                None,
            ),
            (
                format!("{rest}_old-web_20261120T1205Z_192.0.2.7_r.log"),
                ObjectKind::ClassicLoadBalancer,
                Some("old-web"),
                Some("192.0.2.7"),
            ),
            ("ELBAccessLogTestFile".to_owned(), ObjectKind::TestObject, None, None),
            ("ELBConnectionLogTestFile".to_owned(), ObjectKind::TestObject, None, None),
            (
                format!("{rest}_xyz.a.0f_20261120T1205Z_192.0.2.7_r.log.gz"),
                ObjectKind::Other,
                None,
                None,
            ),
            (
                format!("{rest}_app.a.0f_20261120T1205Z_192.0.2.7_r.parquet"),
                ObjectKind::Other,
                None,
                None,
            ),
            ("access.log.gz".to_owned(), ObjectKind::Other, None, None),
            (String::new(), ObjectKind::Other, None, None),
        ] {
            let key = ObjectKey::parse(&file);
            assert_eq!(key.kind, kind, "{file}");
            assert_eq!(key.load_balancer.as_deref(), load_balancer, "{file}");
            assert_eq!(key.node.as_deref(), node, "{file}");
            assert_eq!(
                key.skip_reason().is_none(),
                matches!(kind, ObjectKind::AccessLog | ObjectKind::Other),
                "{file}"
            );
        }
    }

    #[test]
    fn the_folders_of_a_test_object_name_the_account() {
        let key = ObjectKey::parse("p/AWSLogs/123456789012/ELBAccessLogTestFile");
        assert_eq!(key.kind, ObjectKind::TestObject);
        assert_eq!(key.account.as_deref(), Some("123456789012"));
        assert_eq!(key.region, None);
    }

    #[test]
    fn is_lenient_about_nodes_and_regions() {
        for node in ["172.016.001.192", "2001:db8::7", "0.0.0.0"] {
            for region in ["us-iso-east-1", "cn-north-1", "eusc-de-east-1"] {
                let key = ObjectKey::parse(&format!(
                    "123456789012_elasticloadbalancing_{region}_app.a.0f_20261120T1205Z_{node}_r.log.gz"
                ));
                assert_eq!(key.kind, ObjectKind::AccessLog);
                assert_eq!(key.node.as_deref(), Some(node));
                assert_eq!(key.region.as_deref(), Some(region));
            }
        }
    }

    #[test]
    fn reads_the_end_of_the_interval() {
        for (word, expected) in [
            ("20261120T1205Z", Some("2026-11-20T12:05:00Z")),
            ("202611201205Z", Some("2026-11-20T12:05:00Z")),
            ("20261320T1205Z", None),
            ("20261120T2460Z", None),
            ("20261120T1205", None),
            ("+2261120T1205Z", None),
            ("2026112éT1205Z", None),
            ("Z", None),
        ] {
            let expected: Option<Timestamp> = expected.map(|text| text.parse().unwrap());
            assert_eq!(end_time(word), expected, "{word}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(key in any::<String>(), parts in "(conn_log[_.])?[0-9é]{0,13}_elasticloadbalancing(_[a-z.0-9é:TZ-]{0,16}){0,6}(\\.log(\\.gz)?)?") {
            ObjectKey::parse(&key);
            ObjectKey::parse(&parts);
            end_time(&key);
        }
    }
}
