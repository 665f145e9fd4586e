//! The configuration of a fleet as the AWS CLI prints it: one file per call, made from the model.
//!
//! The registered targets are Healthy, for without that nobody would need a diagnosis; a target that
//! leaves is draining until its deregistration delay is over.
mod groups;
mod metrics;
mod network;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize as _;
use serde_json::{Value, json};

use crate::{
    engine::Metrics,
    fleet::{Change, Does, Fleet, Group, Target, Wall},
    rng::hash,
    row::{ACCOUNT, REGION, timestamp},
};

/// What a snapshot is to show besides the fleet.
#[derive(Default)]
pub(crate) struct Options {
    /// Files that nobody was allowed to read: `security-groups`, `target-health`.
    pub denied: Vec<String>,
    /// The security group of the targets lost its traffic port, whatever the packets say.
    pub close_port: bool,
    /// Tags of the target group.
    pub tags: Vec<(String, String)>,
    /// Whether CloudWatch was asked too.
    pub metrics: bool,
}

/// A resource id as AWS writes it: a prefix and 17 hexadecimal digits, constant for a name.
fn id(prefix: &str, name: &str) -> String {
    format!("{prefix}-0{:016x}", hash(&format!("{prefix} {name}")))
}

fn mac(name: &str) -> String {
    let bytes = hash(&format!("mac {name}")).to_be_bytes();
    let rest: Vec<String> = bytes[..5].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0a:{}", rest.join(":"))
}

fn tags(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

/// The two zones, each with a public subnet for the load balancer and a private one for targets.
const ZONES: [(&str, &str); 2] = [("a", "10"), ("b", "20")];

fn zone(n: usize) -> String {
    format!("{REGION}{}", ZONES[n % 2].0)
}

struct Shown<'a> {
    fleet: &'a Fleet,
    options: &'a Options,
    /// Microseconds since 1970.
    taken_at: i64,
}

/// A target in the answer of DescribeTargetHealth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Healthy,
    Draining,
    Gone,
}

impl Shown<'_> {
    fn vpc(&self) -> String {
        id("vpc", self.fleet.lb)
    }

    fn subnet(&self, public: bool, n: usize) -> String {
        let kind = if public { "public" } else { "private" };
        id("subnet", &format!("{} {kind} {}", self.fleet.lb, ZONES[n % 2].0))
    }

    fn arn(&self) -> String {
        format!("arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:loadbalancer/{}", self.fleet.elb())
    }

    fn listener(&self, port: u16) -> String {
        let id = hash(&format!("listener {} {port}", self.fleet.lb));
        format!("{}/{id:016x}", self.arn().replace(":loadbalancer/", ":listener/"))
    }

    fn rule(&self, port: u16, priority: &str) -> String {
        let id = hash(&format!("rule {} {port} {priority}", self.fleet.lb));
        format!("{}/{id:016x}", self.listener(port).replace(":listener/", ":listener-rule/"))
    }

    fn balancer_group(&self) -> (String, String) {
        let name = format!("{}-load-balancer", self.fleet.lb);
        (id("sg", &name), name)
    }

    /// The security group of a target: the firewalled ones came with another.
    fn target_group(&self, target: &Target) -> (String, String) {
        let mut name = self.fleet.groups[target.group].name.to_owned();
        if target.firewalled {
            name.push_str("-new");
        }
        (id("sg", &name), name)
    }

    /// The network rule that was changed before the configuration was read.
    fn wall(&self) -> Option<Wall> {
        let until = (self.taken_at - self.fleet.start) as f64 / 1e6;
        self.fleet.changes.iter().rev().find_map(|(second, change)| match change {
            Change::Wall(wall) if *second <= until => Some(*wall),
            _ => None,
        })
    }

    fn state(&self, number: usize) -> State {
        let target = &self.fleet.targets[number];
        let mut state = if target.registered { State::Healthy } else { State::Gone };
        for (second, change) in &self.fleet.changes {
            let time = self.fleet.start + (second * 1e6) as i64;
            if self.taken_at < time {
                continue;
            }
            match *change {
                Change::Register(n) if n == number => state = State::Healthy,
                Change::Deregister(n) if n == number => {
                    let delay = self.fleet.groups[target.group].deregistration_delay;
                    let over = time + (delay * 1e6) as i64;
                    state = if self.taken_at < over { State::Draining } else { State::Gone };
                }
                _ => {}
            }
        }
        state
    }

    fn targets(&self) -> impl Iterator<Item = (usize, &Target, State)> {
        (self.fleet.targets.iter().enumerate()).map(|(n, target)| (n, target, self.state(n)))
    }

    fn instance(&self, number: usize) -> String {
        id("i", &format!("{} {number}", self.fleet.lb))
    }

    fn load_balancers(&self) -> Value {
        let f = self.fleet;
        let zones: Vec<Value> = (0..ZONES.len())
            .map(|n| json!({"ZoneName": zone(n), "SubnetId": self.subnet(true, n), "LoadBalancerAddresses": []}))
            .collect();
        let number = hash(&format!("dns {}", f.lb)) as u32;
        json!({"LoadBalancers": [{
            "LoadBalancerArn": self.arn(),
            "DNSName": format!("{}-{number}.{REGION}.elb.amazonaws.com", f.lb),
            "CanonicalHostedZoneId": "Z32O12XQLNTSW2",
            "CreatedTime": "2025-06-03T08:14:22.470000+00:00",
            "LoadBalancerName": f.lb,
            "Scheme": "internet-facing",
            "VpcId": self.vpc(),
            "State": {"Code": "active"},
            "Type": "application",
            "AvailabilityZones": zones,
            "SecurityGroups": [self.balancer_group().0],
            "IpAddressType": "ipv4",
        }]})
    }

    fn load_balancer_attributes(&self) -> Value {
        json!({"Attributes": tags(&[
            ("access_logs.s3.enabled", "true"),
            ("access_logs.s3.bucket", "example-alb-logs"),
            ("access_logs.s3.prefix", ""),
            ("idle_timeout.timeout_seconds", &self.fleet.idle_timeout.to_string()),
            ("client_keep_alive.seconds", "3600"),
            ("load_balancing.cross_zone.enabled", "true"),
            ("routing.http2.enabled", "true"),
            ("routing.http.drop_invalid_header_fields.enabled", "false"),
            ("routing.http.desync_mitigation_mode", "defensive"),
            ("waf.fail_open.enabled", "false"),
        ])})
    }

    fn redirect() -> Value {
        json!({"Type": "redirect", "RedirectConfig": {
            "Protocol": "HTTPS", "Port": "443", "Host": "#{host}", "Path": "/#{path}",
            "Query": "#{query}", "StatusCode": "HTTP_301",
        }})
    }

    fn forward(group: &Group) -> Value {
        json!({"Type": "forward", "TargetGroupArn": group.arn, "ForwardConfig": {
            "TargetGroups": [{"TargetGroupArn": group.arn, "Weight": 1}],
            "TargetGroupStickinessConfig": {"Enabled": false},
        }})
    }

    fn listeners(&self) -> Value {
        let default = self.fleet.groups.first().map(Self::forward);
        json!({"Listeners": [
            {
                "ListenerArn": self.listener(80),
                "LoadBalancerArn": self.arn(),
                "Port": 80,
                "Protocol": "HTTP",
                "DefaultActions": [Self::redirect()],
            },
            {
                "ListenerArn": self.listener(443),
                "LoadBalancerArn": self.arn(),
                "Port": 443,
                "Protocol": "HTTPS",
                "Certificates": [{"CertificateArn": self.fleet.certificate()}],
                "SslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06",
                "DefaultActions": [default],
            },
        ]})
    }

    fn rules(&self) -> Value {
        let paths = |pattern: String| {
            let values = json!([pattern]);
            json!([{"Field": "path-pattern", "Values": values, "PathPatternConfig": {"Values": values}}])
        };
        let rule = |port: u16, priority: &str, conditions: Value, action: Value| {
            json!({
                "RuleArn": self.rule(port, priority),
                "Priority": priority,
                "Conditions": conditions,
                "Actions": [action],
                "IsDefault": priority == "default",
            })
        };
        let mut rules = vec![rule(80, "default", json!([]), Self::redirect())];
        for path in &self.fleet.paths {
            if let Does::FixedResponse(code) = path.does {
                let pattern = path.url.split('{').next().unwrap_or(path.url).to_owned() + "*";
                let action = json!({"Type": "fixed-response", "FixedResponseConfig": {
                    "MessageBody": "", "StatusCode": code.to_string(), "ContentType": "text/plain",
                }});
                rules.push(rule(443, "5", paths(pattern), action));
            }
        }
        for (n, group) in self.fleet.groups.iter().enumerate() {
            match n {
                0 => rules.push(rule(443, "default", json!([]), Self::forward(group))),
                _ => {
                    let pattern = format!("/{}/*", group.name);
                    rules.push(rule(443, group.priority, paths(pattern), Self::forward(group)));
                }
            }
        }
        json!({"Rules": rules})
    }

    fn files(&self) -> Vec<(String, Value)> {
        let named = |stem: &str, name: &str| format!("describe-{stem}.{name}");
        let mut files = vec![
            ("describe-load-balancers".to_owned(), self.load_balancers()),
            (named("load-balancer-attributes", self.fleet.lb), self.load_balancer_attributes()),
            ("describe-listeners".to_owned(), self.listeners()),
            ("describe-rules".to_owned(), self.rules()),
            ("describe-target-groups".to_owned(), self.target_groups()),
            ("describe-tags".to_owned(), self.tag_descriptions()),
            ("describe-subnets".to_owned(), self.subnets()),
        ];
        for (n, group) in self.fleet.groups.iter().enumerate() {
            let attributes = self.target_group_attributes(group);
            files.push((named("target-group-attributes", group.name), attributes));
            files.push((named("target-health", group.name), self.target_health(n, group)));
        }
        // A Lambda function has no network that the load balancer sees.
        if !self.fleet.targets.is_empty() {
            files.push(("describe-instances".to_owned(), self.instances()));
            files.push(("describe-network-interfaces".to_owned(), self.network_interfaces()));
            files.push(("describe-security-groups".to_owned(), self.security_groups()));
            files.push(("describe-network-acls".to_owned(), self.network_acls()));
        }
        files
    }
}

/// Writes the folder anew. The fleet is the one before the run: its changes say who is registered when.
pub(crate) fn write(
    folder: &Path,
    fleet: &Fleet,
    options: &Options,
    taken_at: i64,
    metrics: &Metrics,
) -> io::Result<()> {
    let shown = Shown { fleet, options, taken_at };
    fs::create_dir_all(folder)?;
    let origin = json!({
        "taken_at": timestamp(taken_at - taken_at.rem_euclid(1_000_000)).replace(".000000", ""),
        "account": ACCOUNT,
        "region": REGION,
    });
    save(folder.join("snapshot.json"), &origin)?;
    let mut files = shown.files();
    if options.metrics {
        files.push(("get-metric-data".to_owned(), shown.metric_data(metrics)));
    }
    for fact in &options.denied {
        let is_named = |(name, _): &(String, Value)| call(name) == format!("describe-{fact}");
        if !files.iter().any(is_named) {
            let message = format!("--deny {fact}: no such file in this snapshot");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
    }
    for (name, value) in &files {
        let denied = |fact: &String| call(name) == format!("describe-{fact}");
        if !options.denied.iter().any(denied) {
            save(folder.join(format!("{name}.json")), value)?;
        }
    }
    Ok(())
}

fn call(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// Four spaces, as the AWS CLI indents.
fn save(path: PathBuf, value: &Value) -> io::Result<()> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).map_err(io::Error::from)?;
    bytes.push(b'\n');
    fs::write(path, bytes)
}
