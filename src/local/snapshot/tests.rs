//! Whole snapshots, each with one thing changed.

use serde_json::json;

use super::*;
use crate::diagnosis::metrics::Metric;

const ID: &str = "app/shop/50dc6c495c0c9188";
const LB: &str =
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/shop/50dc6c495c0c9188";
const TG: &str =
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-web/73e2d6bc24d8a067";
const LISTENER: &str =
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/shop/50dc6c495c0c9188/0a";
const RULE: &str = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/shop/50dc6c495c0c9188/0a/0b";
/// 2026-03-01T12:00:00Z to 12:05.
const WINDOW: Window = Window { start: 1_772_366_400_000_000, end: 1_772_366_700_000_000 };

const GROUP: &str = " targetgroup/shop-web/73e2d6bc24d8a067";

/// What `aws cloudwatch get-metric-data` prints: these counts at 12:01, and every other metric without
/// a value.
fn metrics(counts: &[(&str, &str, f64)]) -> Value {
    let all = Metric::ALL.into_iter().enumerate().map(|(index, metric)| {
        let own = counts.iter().find(|(name, ..)| *name == metric.name());
        let group = if metric.is_of_target_group() { GROUP } else { "" };
        let times = own.map_or(vec![], |_| vec!["2026-03-01T12:01:00+00:00"]);
        let values: Vec<f64> = own.iter().map(|(_, _, value)| *value).collect();
        let label = format!("{}{}", metric.name(), own.map_or(group, |(_, group, _)| group));
        json!({"Id": format!("m{index}"), "Label": label, "Timestamps": times, "Values": values,
            "StatusCode": "Complete"})
    });
    json!({"MetricDataResults": all.collect::<Vec<_>>(), "Messages": []})
}

type Files = BTreeMap<String, Value>;

fn files() -> Files {
    [
        (
            "snapshot.json",
            json!({"taken_at": "2026-03-01T12:10:00Z", "account": "123456789012",
            "region": "eu-west-1"}),
        ),
        (
            "describe-load-balancers.json",
            json!({"LoadBalancers": [
            {"LoadBalancerArn": LB, "LoadBalancerName": "shop", "SecurityGroups": ["sg-0alb"]}]}),
        ),
        (
            "describe-load-balancer-attributes.json",
            json!({"Attributes": [
            {"Key": "idle_timeout.timeout_seconds", "Value": "60"}]}),
        ),
        ("describe-listeners.json", json!({"Listeners": [{"ListenerArn": LISTENER, "Port": 443}]})),
        ("describe-rules.json", json!({"Rules": [{"RuleArn": RULE, "Priority": "1"}]})),
        (
            "describe-target-groups.json",
            json!({"TargetGroups": [
            {"TargetGroupArn": TG, "TargetGroupName": "shop-web", "TargetType": "instance"}]}),
        ),
        (
            "describe-target-group-attributes.shop-web.json",
            json!({"Attributes": [
            {"Key": "deregistration_delay.timeout_seconds", "Value": "30"}]}),
        ),
        (
            "describe-target-health.shop-web.json",
            json!({"TargetHealthDescriptions": [
            {"Target": {"Id": "i-0aa", "Port": 8080}, "TargetHealth": {"State": "healthy"}}]}),
        ),
        (
            "describe-tags.json",
            json!({"TagDescriptions": [
            {"ResourceArn": TG, "Tags": [{"Key": "alb502:keep-alive-seconds", "Value": "65"}]}]}),
        ),
        ("describe-security-groups.json", json!({"SecurityGroups": [{"GroupId": "sg-0alb"}]})),
        (
            "describe-security-groups.targets.json",
            json!({"SecurityGroups": [{"GroupId": "sg-0web"}]}),
        ),
        (
            "describe-instances.json",
            json!({"Reservations": [{"Instances": [
            {"InstanceId": "i-0aa", "NetworkInterfaces": [{"NetworkInterfaceId": "eni-0a"}]}]}]}),
        ),
        ("describe-subnets.json", json!({"Subnets": [{"SubnetId": "subnet-0a"}]})),
        ("describe-network-acls.json", json!({"NetworkAcls": [{"NetworkAclId": "acl-0a"}]})),
        (
            "get-managed-prefix-list-entries.pl-0a.json",
            json!({"Entries": [{"Cidr": "10.0.0.0/8", "Description": "all"}]}),
        ),
        (
            "get-metric-data.json",
            metrics(&[
                ("TargetTLSNegotiationErrorCount", GROUP, 12.0),
                ("HTTPCode_ELB_502_Count", "", 12.0),
            ]),
        ),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn parsed(files: &Files) -> Snapshot {
    Snapshot::parse(
        files.iter().map(|(name, value)| (name.clone(), serde_json::to_vec(value).unwrap())),
    )
}

fn facts(files: &Files) -> Facts {
    parsed(files).facts(ID, Some(TG), WINDOW)
}

#[test]
fn a_whole_snapshot_leaves_no_gap_and_no_warning() {
    let snapshot = parsed(&files());
    assert_eq!(snapshot.warnings, Vec::<String>::new());
    let facts = snapshot.facts(ID, Some(TG), WINDOW);
    assert_eq!(facts.gaps(), []);
    assert_eq!(facts.idle_timeout_seconds(), Some(60));
    assert_eq!(facts.deregistration_delay_seconds(), Some(30));
    assert_eq!(facts.account.as_deref(), Some("123456789012"));
    assert_eq!(facts.region.as_deref(), Some("eu-west-1"));
    assert_eq!(facts.security_groups.known().unwrap().len(), 2);
    assert_eq!(facts.prefix_lists["pl-0a"], ["10.0.0.0/8"]);
    assert_eq!(facts.target_group_tags.known().unwrap()["alb502:keep-alive-seconds"], "65");
    // The interfaces of the instances are the ones that are needed.
    assert_eq!(facts.network_interfaces.known().unwrap().len(), 1);
}

#[test]
fn every_missing_file_is_a_gap_that_names_it_and_the_permission() {
    for (file, fact, permission) in [
        (
            "describe-load-balancers.json",
            "load balancer",
            "elasticloadbalancing:DescribeLoadBalancers",
        ),
        ("describe-listeners.json", "listeners", "elasticloadbalancing:DescribeListeners"),
        ("describe-rules.json", "listener rules", "elasticloadbalancing:DescribeRules"),
        (
            "describe-target-groups.json",
            "target group",
            "elasticloadbalancing:DescribeTargetGroups",
        ),
        (
            "describe-target-group-attributes.shop-web.json",
            "target group attributes",
            "elasticloadbalancing:DescribeTargetGroupAttributes",
        ),
        (
            "describe-target-health.shop-web.json",
            "target health",
            "elasticloadbalancing:DescribeTargetHealth",
        ),
        ("describe-tags.json", "target group tags", "elasticloadbalancing:DescribeTags"),
        ("describe-instances.json", "instances", "ec2:DescribeInstances"),
        ("describe-subnets.json", "subnets", "ec2:DescribeSubnets"),
        ("describe-network-acls.json", "network ACLs", "ec2:DescribeNetworkAcls"),
    ] {
        let mut files = files();
        files.remove(file).unwrap();
        let gaps = facts(&files).gaps();
        let gap = gaps.iter().find(|gap| gap.fact == fact).unwrap();
        assert_eq!(
            gap.reason,
            format!("no file {file} in the snapshot; alb502 snapshot writes it")
        );
        assert_eq!(gap.permission.as_deref(), Some(permission));
    }
    // The name that is asked for is the one that says whose it is.
    let mut files = files();
    files.remove("get-metric-data.json").unwrap();
    let gap = facts(&files).metrics.gap().unwrap().clone();
    let reason = "no file get-metric-data.shop.json in the snapshot; alb502 snapshot writes it";
    assert_eq!((&*gap.fact, &*gap.reason), ("metrics", reason));
    assert_eq!(gap.permission.as_deref(), Some("cloudwatch:GetMetricData"));
}

#[test]
fn a_missing_attribute_file_is_asked_for_by_name() {
    let mut files = files();
    files.remove("describe-load-balancer-attributes.json");
    assert_eq!(
        facts(&files).load_balancer_attributes.gap().unwrap().reason,
        "no file describe-load-balancer-attributes.shop.json in the snapshot; alb502 snapshot writes it"
    );
}

#[test]
fn a_file_without_a_name_is_not_used_when_it_could_be_about_several() {
    let mut files = files();
    let health = files.remove("describe-target-health.shop-web.json").unwrap();
    files.insert("describe-target-health.json".to_owned(), health);
    assert!(facts(&files).target_health.known().is_some());
    files.insert(
        "describe-target-groups.other.json".to_owned(),
        json!({"TargetGroups": [{"TargetGroupArn": TG.replace("shop-web", "shop-api")}]}),
    );
    let facts = facts(&files);
    let gap = facts.target_health.gap().unwrap();
    assert!(gap.reason.contains("describe-target-health.shop-web.json"), "{}", gap.reason);
    assert!(facts.target_group.known().is_some());
}

#[test]
fn the_named_file_is_taken_and_not_its_neighbour() {
    let mut files = files();
    files.insert(
        "describe-target-health.shop-api.json".to_owned(),
        json!({"TargetHealthDescriptions": []}),
    );
    assert_eq!(facts(&files).target_health.known().unwrap().len(), 1);
}

#[test]
fn a_damaged_file_is_a_gap_even_beside_a_whole_one() {
    let mut files: Vec<(String, Vec<u8>)> = files()
        .into_iter()
        .map(|(name, value)| (name, serde_json::to_vec(&value).unwrap()))
        .collect();
    files.push(("describe-rules.other.json".to_owned(), b"{\"Rules\": [".to_vec()));
    files.push(("describe-subnets.b.json".to_owned(), b"{\"Subnets\": 7}".to_vec()));
    let snapshot = Snapshot::parse(files);
    assert_eq!(snapshot.warnings.len(), 2, "{:?}", snapshot.warnings);
    let facts = snapshot.facts(ID, Some(TG), WINDOW);
    assert_eq!(
        facts.rules.gap().unwrap().reason,
        "describe-rules.other.json in the snapshot cannot be read"
    );
    assert!(facts.subnets.gap().unwrap().reason.contains("describe-subnets.b.json"));
}

#[test]
fn one_page_of_several_is_not_the_list() {
    let mut files = files();
    files.get_mut("describe-network-acls.json").unwrap()["NextToken"] = json!("abc");
    let snapshot = parsed(&files);
    assert!(snapshot.warnings[0].contains("one page of several"));
    assert!(snapshot.facts(ID, Some(TG), WINDOW).network_acls.gap().is_some());
}

#[test]
fn an_unknown_file_is_named_in_a_warning() {
    let mut files = files();
    files.insert("notes.json".to_owned(), json!({"Hello": 1}));
    files.insert("attributes.json".to_owned(), json!({"Attributes": []}));
    files.insert("entries.json".to_owned(), json!({"Entries": []}));
    let snapshot = parsed(&files);
    assert_eq!(snapshot.warnings.len(), 3);
    for (warning, name) in
        snapshot.warnings.iter().zip(["attributes.json", "entries.json", "notes.json"])
    {
        assert!(warning.starts_with(name), "{warning}");
    }
    assert_eq!(snapshot.facts(ID, Some(TG), WINDOW).gaps(), []);
}

#[test]
fn another_load_balancer_tells_nothing() {
    let snapshot = parsed(&files());
    let other_group = TG.replace("73e2d6bc24d8a067", "ffffffffffffffff");
    let facts = snapshot.facts("app/shop/ffffffffffffffff", Some(&other_group), WINDOW);
    assert_eq!(facts.load_balancer.known(), None);
    assert_eq!(facts.security_groups.known(), None);
    assert_eq!(
        facts.load_balancer.gap().unwrap().reason,
        format!("the snapshot describes {ID}, not app/shop/ffffffffffffffff")
    );
}

#[test]
fn another_account_tells_nothing() {
    let snapshot = parsed(&files());
    let other = TG.replace("123456789012", "999999999999");
    let facts = snapshot.facts(ID, Some(&other), WINDOW);
    assert_eq!(facts.load_balancer.known(), None);
    assert_eq!(
        facts.target_health.gap().unwrap().reason,
        "the snapshot is of account 123456789012, the target group is in 999999999999"
    );
}

#[test]
fn a_group_of_the_same_name_but_another_id_is_not_taken() {
    let snapshot = parsed(&files());
    let other = TG.replace("73e2d6bc24d8a067", "ffffffffffffffff");
    let facts = snapshot.facts(ID, Some(&other), WINDOW);
    assert!(facts.load_balancer.known().is_some());
    assert!(facts.target_group.gap().is_some());
    assert!(facts.target_health.gap().is_some());
    assert!(facts.target_group_attributes.gap().is_some());
}

#[test]
fn a_load_balancer_of_the_same_name_but_another_id_is_not_taken() {
    let facts = parsed(&files()).facts("app/shop/ffffffffffffffff", Some(TG), WINDOW);
    assert!(facts.target_group.known().is_some());
    assert!(facts.load_balancer.gap().is_some());
    assert!(facts.load_balancer_attributes.gap().is_some());
    assert!(facts.listeners.gap().is_some());
    assert!(facts.rules.gap().is_some());
}

#[test]
fn requests_that_were_never_forwarded_have_no_group() {
    let facts = parsed(&files()).facts(ID, None, WINDOW);
    assert!(facts.load_balancer.known().is_some());
    assert!(facts.target_group.gap().unwrap().reason.contains("never forwarded"));
}

#[test]
fn a_listener_without_rules_is_a_missing_file() {
    let mut files = files();
    files.insert(
        "describe-listeners.b.json".to_owned(),
        json!({"Listeners": [{"ListenerArn": LISTENER.replace("/0a", "/0c"), "Port": 80}]}),
    );
    let facts = facts(&files);
    assert_eq!(facts.listeners.known().unwrap().len(), 2);
    assert!(facts.rules.gap().unwrap().reason.contains("listener on port 80"));
}

#[test]
fn files_that_an_ip_or_lambda_group_does_not_need_are_no_gap() {
    for (kind, unneeded) in [
        ("ip", &["describe-instances.json"][..]),
        (
            "lambda",
            &[
                "describe-instances.json",
                "describe-security-groups.json",
                "describe-security-groups.targets.json",
                "describe-network-acls.json",
            ][..],
        ),
    ] {
        let mut files = files();
        files.insert(
            "describe-network-interfaces.json".to_owned(),
            json!({"NetworkInterfaces": []}),
        );
        files.get_mut("describe-target-groups.json").unwrap()["TargetGroups"][0]["TargetType"] =
            json!(kind);
        for file in unneeded {
            files.remove(*file).unwrap();
        }
        assert_eq!(facts(&files).gaps(), [], "{kind}");
    }
}

#[test]
fn a_snapshot_from_another_time_is_said() {
    for (taken_at, expected) in [
        ("2026-03-01T12:02:00Z", None),
        ("2026-03-01T13:05:00Z", None),
        ("2026-03-01T11:00:00Z", None),
        ("2026-03-01T15:06:00Z", Some("3 h after")),
        ("2026-03-01T10:00:00Z", Some("2 h before")),
        ("2026-03-09T12:06:00Z", Some("8 days after")),
    ] {
        let mut files = files();
        files.get_mut("snapshot.json").unwrap()["taken_at"] = json!(taken_at);
        let gaps = facts(&files).other_gaps;
        match expected {
            None => assert_eq!(gaps, [], "{taken_at}"),
            Some(text) => assert!(gaps[0].reason.contains(text), "{}", gaps[0].reason),
        }
    }
}

#[test]
fn a_bad_time_is_a_warning_and_no_time() {
    let mut files = files();
    files.get_mut("snapshot.json").unwrap()["taken_at"] = json!("yesterday");
    let snapshot = parsed(&files);
    assert!(snapshot.warnings[0].contains("2026-03-01T12:00:00Z"));
    assert_eq!(snapshot.facts(ID, Some(TG), WINDOW).taken_at, None);
}

#[test]
fn without_snapshot_json_the_arns_name_account_and_region() {
    let mut files = files();
    files.remove("snapshot.json");
    let facts = facts(&files);
    assert_eq!(facts.account.as_deref(), Some("123456789012"));
    assert_eq!(facts.region.as_deref(), Some("eu-west-1"));
    assert_eq!(facts.gaps(), []);
}

#[test]
fn what_is_too_large_or_has_no_end_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let in_it = |name: &str| folder.path().join(name);
    let of_size = |name: &str, bytes: u64| {
        fs::File::create(in_it(name)).unwrap().set_len(bytes).unwrap();
    };
    of_size("0.json", MAX_FILE_BYTES + 1);
    // Together they are too large: the last of them is not read.
    for name in ["a.json", "b.json", "c.json"] {
        of_size(name, MAX_FOLDER_BYTES / 2 - 1_000);
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink("/dev/zero", in_it("describe-subnets.json")).unwrap();
    let warnings = Snapshot::load(folder.path()).unwrap().warnings.join("\n");
    for said in [
        "0.json: longer than 16 MB, which no answer of AWS is; not read",
        "c.json: with the files before it longer than 32 MB, which no configuration is; not read",
        #[cfg(unix)]
        "describe-subnets.json: not a regular file, which no answer of AWS is; not read",
    ] {
        assert!(warnings.contains(said), "{said}\n{warnings}");
    }
}

#[test]
fn loads_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    for (name, value) in files() {
        fs::write(dir.path().join(name), value.to_string()).unwrap();
    }
    fs::write(dir.path().join(".hidden"), "x").unwrap();
    fs::write(dir.path().join("README.md"), "x").unwrap();
    fs::create_dir(dir.path().join("old")).unwrap();
    let snapshot = Snapshot::load(dir.path()).unwrap();
    assert_eq!(snapshot.warnings.len(), 2, "{:?}", snapshot.warnings);
    assert_eq!(snapshot.facts(ID, Some(TG), WINDOW).gaps(), []);
}

#[test]
fn a_folder_that_is_not_there_is_an_error_that_says_what_belongs_there() {
    let error = Snapshot::load(Path::new("no/such/folder")).unwrap_err().to_string();
    assert!(error.starts_with("no/such/folder: "), "{error}");
    assert!(error.contains("describe-load-balancers.json"), "{error}");
}

fn sum(facts: &Facts, metric: Metric) -> Option<u64> {
    facts.metrics.known()?.sum(metric)
}

#[test]
fn metrics_of_several_files_are_merged() {
    let mut files = files();
    let other = metrics(&[("TargetConnectionErrorCount", " targetgroup/shop-api/1", 99.0)]);
    files.insert("get-metric-data.b.json".to_owned(), other.clone());
    files.insert("get-metric-data.shop.json".to_owned(), other);
    let facts = facts(&files);
    assert_eq!(sum(&facts, Metric::TlsErrors), Some(12));
    assert_eq!(sum(&facts, Metric::ConnectionErrors), Some(0), "of another target group");
    assert_eq!(facts.gaps(), []);
}

#[test]
fn a_metric_of_the_load_balancer_is_taken_from_its_own_file() {
    let mut files = files();
    let name = "get-metric-data.json".to_owned();
    files.insert(name.clone(), metrics(&[("HTTPCode_ELB_502_Count", "", 40.0)]));
    assert_eq!(sum(&facts(&files), Metric::Elb502), Some(40));
    // The label does not say of which of two it is.
    files.insert(
        "describe-load-balancers.b.json".to_owned(),
        json!({"LoadBalancers": [{"LoadBalancerArn": LB.replace("shop", "blog")}]}),
    );
    let gap = facts(&files).metrics.gap().unwrap().clone();
    assert!(gap.reason.contains("no value of this load balancer"), "{gap:?}");
    let content = files.remove(&name).unwrap();
    files.insert("get-metric-data.blog.json".to_owned(), content.clone());
    assert!(
        facts(&files).metrics.gap().unwrap().reason.contains("no file get-metric-data.shop.json")
    );
    files.insert("get-metric-data.shop.json".to_owned(), content);
    assert_eq!(sum(&facts(&files), Metric::Elb502), Some(40));
}

#[test]
fn metrics_that_are_damaged_or_of_another_time_are_a_gap() {
    let parsed_with = |name: &str, content: &[u8]| {
        let mut files: Vec<(String, Vec<u8>)> =
            files().into_iter().map(|(name, value)| (name, value.to_string().into())).collect();
        files.push((name.to_owned(), content.to_vec()));
        Snapshot::parse(files).facts(ID, Some(TG), WINDOW).metrics.gap().unwrap().reason.clone()
    };
    for content in [&b"{"[..], b"{\"MetricDataResults\": 7}", b"[]"] {
        assert_eq!(
            parsed_with("get-metric-data.shop.json", content),
            "get-metric-data.shop.json in the snapshot cannot be read"
        );
    }
    let mut files = files();
    let text = files["get-metric-data.json"].to_string().replace("T12:01", "T12:05");
    files.insert("get-metric-data.json".to_owned(), serde_json::from_str(&text).unwrap());
    let facts = facts(&files);
    assert!(facts.metrics.gap().unwrap().reason.contains("no value"), "{:?}", facts.metrics);
}
