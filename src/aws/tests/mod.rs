//! The configuration as gathered: what is asked, in which order, and what becomes of each trouble.

mod fake_aws;
mod fake_table;
mod ledger;
mod metrics;
mod shop;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fake_aws::{ACCESS_KEY, Answer, FakeAws};
use tokio::time::Instant;

use super::{ACTIONS, AwsConfiguration, Deadlines, FactsRoleName, actions::Resource};
use crate::{
    access_log::ObjectKey,
    detection::{Evidence, Signature},
    diagnosis::{Facts, Reading, diagnose, sample_case::SampleCase},
    ports::Configuration as _,
};

/// Long against what the calls themselves take, so that calls that can run together do.
const LATENCY: Duration = Duration::from_millis(50);

/// Runs a future as the function does: on one thread.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn gather(aws: &FakeAws, evidence: &Evidence) -> Facts {
    gather_until(aws, evidence, None)
}

fn gather_until(aws: &FakeAws, evidence: &Evidence, left: Option<Duration>) -> Facts {
    gather_as(aws, evidence, left, "")
}

fn gather_as(aws: &FakeAws, evidence: &Evidence, left: Option<Duration>, role: &str) -> Facts {
    let facts_role = FactsRoleName::parse(role).unwrap();
    run(async {
        let clients = aws.clients().await;
        let ask = left.map(|left| Instant::now() + left);
        let configuration = AwsConfiguration {
            clients: &clients,
            deadlines: Deadlines { ask, ..Deadlines::default() },
            account: Some("123456789012"),
            facts_role: facts_role.as_ref(),
        };
        configuration.facts(evidence).await
    })
}

fn calls(aws: &FakeAws) -> BTreeMap<String, (usize, u32)> {
    let mut calls = BTreeMap::new();
    for asked in aws.asked() {
        let (count, round) = calls.entry(asked.action).or_insert((0, 0));
        *count += 1;
        *round = asked.round;
    }
    calls
}

#[test]
fn everything_is_asked_in_three_rounds_and_a_fourth_for_prefix_lists() {
    let sample = SampleCase::failing(Signature::ConnectTimeout, 50);
    let aws = shop::shop(LATENCY);
    let facts = gather(&aws, &sample.evidence);
    assert_eq!(facts.gaps(), []);
    let rounds = |round: u32| -> Vec<String> {
        calls(&aws).into_iter().filter(|(_, at)| at.1 == round).map(|(action, _)| action).collect()
    };
    assert_eq!(
        rounds(1),
        [
            "DescribeListeners",
            "DescribeLoadBalancerAttributes",
            "DescribeLoadBalancers",
            "DescribeTags",
            "DescribeTargetGroupAttributes",
            "DescribeTargetGroups",
            "DescribeTargetHealth",
            "GetMetricData"
        ]
    );
    assert_eq!(rounds(2), ["DescribeInstances", "DescribeNetworkInterfaces", "DescribeRules"]);
    assert_eq!(rounds(3), ["DescribeNetworkAcls", "DescribeSecurityGroups", "DescribeSubnets"]);
    assert_eq!(aws.asked().len(), 14, "no call is made twice");

    aws.answer(
        "DescribeSecurityGroups",
        Answer::Pages(vec![format!(
            "<securityGroupInfo>{}</securityGroupInfo>",
            shop::security_group(
                "sg-0web",
                "<prefixListIds><item><prefixListId>pl-0a</prefixListId></item></prefixListIds>"
            )
        )]),
    );
    let before = aws.asked().len();
    let facts = gather(&aws, &sample.evidence);
    let asked = aws.asked().split_off(before);
    let last = asked.last().unwrap();
    assert_eq!(last.action, "GetManagedPrefixListEntries");
    assert_eq!(last.round - asked[0].round, 3, "the fourth round");
    assert_eq!(facts.prefix_lists["pl-0a"], ["10.0.1.0/24"]);
}

#[test]
fn every_action_that_is_made_is_declared() {
    let sample = SampleCase::failing(Signature::ConnectTimeout, 50);
    let aws = shop::shop(Duration::ZERO);
    gather(&aws, &sample.evidence);
    let made: BTreeSet<String> = calls(&aws).into_keys().collect();
    let declared: BTreeSet<String> = ACTIONS
        .iter()
        .filter(|action| action.resource == Resource::Any)
        .map(|action| action.name.split(':').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(made, declared);
}

#[test]
fn what_aws_says_becomes_facts() {
    let aws = shop::shop(Duration::ZERO);
    let gathered = gather(&aws, &SampleCase::failing(Signature::ConnectTimeout, 50).evidence);
    let load_balancer = gathered.load_balancer.known().unwrap();
    assert_eq!(load_balancer.security_groups, ["sg-0alb"]);
    assert_eq!(load_balancer.availability_zones[1].subnet_id.as_deref(), Some("subnet-0b"));
    assert_eq!(load_balancer.state.as_ref().unwrap().code.as_deref(), Some("active"));
    assert_eq!(gathered.idle_timeout_seconds(), Some(60));
    assert_eq!(gathered.deregistration_delay_seconds(), Some(300));
    assert_eq!(gathered.target_group_tags.known().unwrap()["alb502:keep-alive-seconds"], "75");
    let rule = &gathered.rules.known().unwrap()[0].actions[0];
    assert_eq!(rule.kind, "fixed-response");
    assert_eq!(rule.fixed_response_config.as_ref().unwrap().status_code.as_deref(), Some("502"));
    let group = gathered.target_group.known().unwrap();
    assert_eq!((group.protocol.as_deref(), group.port), (Some("HTTP"), Some(8080)));
    let instance = &gathered.instances.known().unwrap()[0];
    let interface = &instance.network_interfaces[0];
    assert_eq!(interface.private_ip_address.as_deref(), Some("10.0.11.5"));
    assert_eq!(interface.attachment.as_ref().unwrap().device_index, Some(0));
    let rule = &gathered.security_groups.known().unwrap()["sg-0web"].ip_permissions[0];
    assert_eq!(
        (rule.ip_protocol.as_str(), rule.from_port, rule.to_port),
        ("tcp", Some(8080), Some(8080))
    );
    assert_eq!(rule.user_id_group_pairs[0].group_id.as_deref(), Some("sg-0alb"));
    assert_eq!(gathered.subnets.known().unwrap()[0].available_ip_address_count, Some(200));
    let entries = &gathered.network_acls.known().unwrap()[0].entries;
    assert_eq!((entries[1].rule_number, entries[1].rule_action.as_str()), (110, "deny"));
    assert_eq!(entries[1].port_range.as_ref().unwrap().to, 65535);
    assert!(gathered.taken_at.is_some());
}

/// The facts that hang on an action besides its own.
fn hanging_on(action: &str) -> &'static [&'static str] {
    match action {
        "elasticloadbalancing:DescribeListeners" => &["listener rules"],
        "elasticloadbalancing:DescribeTargetHealth" => &["instances"],
        _ => &[],
    }
}

#[test]
fn a_denied_action_is_a_gap_that_names_it_and_no_check_passes_for_want_of_it() {
    let sample = SampleCase::failing(Signature::ConnectTimeout, 50);
    let whole = shop::shop(Duration::ZERO);
    let whole = diagnose(&sample.evidence, &gather(&whole, &sample.evidence), &Reading::default());
    for action in ACTIONS.iter().filter(|action| action.resource == Resource::Any) {
        let name = action.name.split(':').nth(1).unwrap();
        let code =
            if action.name.starts_with("ec2:") { "UnauthorizedOperation" } else { "AccessDenied" };
        let aws = shop::shop(Duration::ZERO);
        aws.answer(name, Answer::Error(403, code, "not authorized to perform this action"));
        let facts = gather(&aws, &sample.evidence);
        let gaps = facts.gaps();
        let own = gaps.iter().find(|gap| gap.fact == action.fact).unwrap();
        assert_eq!(own.reason, "access denied", "{action}");
        assert_eq!(own.permission.as_deref(), Some(action.name));
        for gap in &gaps {
            let hangs =
                gap.fact == action.fact || hanging_on(action.name).contains(&gap.fact.as_str());
            assert!(hangs, "{action}: {gap:?}");
        }
        let diagnosis = diagnose(&sample.evidence, &facts, &Reading::default());
        for (check, with_all) in diagnosis.checks.iter().zip(&whole.checks) {
            let passes = |check: &crate::diagnosis::CheckResult| {
                check.outcome == crate::diagnosis::CheckOutcome::Pass
            };
            assert!(!passes(check) || passes(with_all), "{action}: {} passes", check.id);
        }
    }
}

#[test]
fn throttling_is_tried_again_and_then_said() {
    let evidence = SampleCase::healthy().evidence;
    let aws = shop::shop(Duration::ZERO);
    let page = shop::healths(&[shop::health("i-0aa", "healthy")]);
    aws.answer("DescribeTargetHealth", Answer::ErrorFirst(1, 400, "Throttling", vec![page]));
    aws.answer("DescribeSubnets", Answer::Error(503, "RequestLimitExceeded", "slow down"));
    let facts = gather(&aws, &evidence);
    assert_eq!(facts.target_health.known().unwrap().len(), 1);
    let gaps = facts.gaps();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0].reason, "throttled by AWS, also after retries");
    assert_eq!(gaps[0].permission, None);
    assert_eq!(calls(&aws)["DescribeSubnets"].0, 3);
    assert_eq!(calls(&aws)["DescribeTargetHealth"].0, 2);
}

#[test]
fn every_health_state_is_told_as_it_is_even_one_of_the_future() {
    let evidence = SampleCase::healthy().evidence;
    let states = [
        "initial",
        "healthy",
        "unhealthy",
        "unhealthy.draining",
        "unused",
        "draining",
        "unavailable",
        "half-asleep",
    ];
    let aws = shop::shop(Duration::ZERO);
    let members: Vec<String> = states
        .iter()
        .enumerate()
        .map(|(index, state)| {
            shop::health(&format!("i-{index}"), state).replace(
                "</State>",
                "</State><Reason>Target.FailedHealthChecks</Reason><Description>Health checks failed\
                 </Description>",
            )
        })
        .collect();
    aws.answer("DescribeTargetHealth", Answer::Pages(vec![shop::healths(&members)]));
    let facts = gather(&aws, &evidence);
    let told: Vec<String> = facts
        .target_health
        .known()
        .unwrap()
        .iter()
        .map(|target| {
            let health = target.target_health.as_ref().unwrap();
            assert_eq!(health.reason.as_deref(), Some("Target.FailedHealthChecks"));
            health.state.clone().unwrap()
        })
        .collect();
    assert_eq!(told, states);
}

#[test]
fn every_page_is_read() {
    let evidence = SampleCase::healthy().evidence;
    let aws = shop::shop(Duration::ZERO);
    let first =
        format!("<Listeners>{}</Listeners><NextMarker>2</NextMarker>", shop::listener("0a"));
    let second = format!("<Listeners>{}</Listeners>", shop::listener("0b"));
    aws.answer("DescribeListeners", Answer::Pages(vec![first, second]));
    let first = format!(
        "<reservationSet>{}</reservationSet><nextToken>2</nextToken>",
        shop::instance("i-0aa", "subnet-0c", "10.0.11.5")
    );
    let second = format!(
        "<reservationSet>{}</reservationSet>",
        shop::instance("i-0bb", "subnet-0d", "10.0.12.5")
    );
    aws.answer("DescribeInstances", Answer::Pages(vec![first, second]));
    let facts = gather(&aws, &evidence);
    assert_eq!(facts.listeners.known().unwrap().len(), 2);
    assert_eq!(facts.instances.known().unwrap().len(), 2);
    assert_eq!(calls(&aws)["DescribeRules"].0, 2, "one call for each listener");
}

#[test]
fn what_is_asked_for_are_the_targets_and_the_subnets_of_both_sides() {
    let mut sample = SampleCase::failing(Signature::ConnectTimeout, 50);
    sample.evidence.targets[1].target = "[2001:db8::5]:8080".into();
    let aws = shop::shop(Duration::ZERO);
    gather(&aws, &sample.evidence);
    let values = |action: &str| -> BTreeSet<String> {
        let asked = aws.asked();
        asked
            .iter()
            .filter(|asked| asked.action == action)
            .flat_map(|asked| &asked.parameters)
            .filter(|(name, _)| name.contains(".Value."))
            .map(|(_, value)| value.clone())
            .collect()
    };
    let set = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(values("DescribeInstances"), set(&["i-0aa", "i-0bb"]));
    assert_eq!(values("DescribeNetworkInterfaces"), set(&["10.0.11.5", "2001:db8::5", "vpc-0a"]));
    assert_eq!(values("DescribeSecurityGroups"), set(&["sg-0alb", "sg-0web"]));
    assert_eq!(
        values("DescribeSubnets"),
        set(&["subnet-0a", "subnet-0b", "subnet-0c", "subnet-0d"])
    );
}

#[test]
fn a_deadline_leaves_what_is_known_and_names_the_rest() {
    let evidence = SampleCase::healthy().evidence;
    let aws = shop::shop(Duration::ZERO);
    aws.answer("DescribeTargetHealth", Answer::Silence);
    let facts = gather_until(&aws, &evidence, Some(Duration::from_secs(2)));
    assert!(facts.load_balancer.known().is_some());
    assert_eq!(facts.idle_timeout_seconds(), Some(60));
    let gap = facts.target_health.gap().unwrap();
    assert_eq!(gap.reason, "no answer in the time that the invocation had left");
    // What does not hang on the silent call is asked for all the same.
    let missing: Vec<String> = facts.gaps().into_iter().map(|gap| gap.fact).collect();
    assert_eq!(missing, ["target health", "instances"]);
}

#[test]
fn after_the_deadline_nothing_is_asked_for() {
    let aws = shop::shop(Duration::ZERO);
    let facts = gather_until(&aws, &SampleCase::healthy().evidence, Some(Duration::ZERO));
    assert!(aws.asked().is_empty());
    let reasons: BTreeSet<String> = facts.gaps().into_iter().map(|gap| gap.reason).collect();
    assert_eq!(reasons.len(), 1);
    assert!(reasons.first().unwrap().starts_with("not asked for"), "{reasons:?}");
}

#[test]
fn what_ec2_leaves_out_of_an_answer_is_a_gap() {
    let mut sample = SampleCase::failing(Signature::ConnectTimeout, 50);
    sample.evidence.targets[1].target = "10.9.9.9:8080".into();
    let aws = shop::shop(Duration::ZERO);
    let none = || Answer::Pages(vec![String::new()]);
    let facts = gather(&aws, &sample.evidence);
    let [gap] = &facts.gaps()[..] else { panic!("{:?}", facts.gaps()) };
    assert_eq!(gap.fact, "network interfaces of 10.9.9.9");
    assert!(gap.reason.contains("EKS"), "{gap:?}");

    for (action, fact) in [
        ("DescribeInstances", "instances of i-0aa, i-0bb"),
        ("DescribeSecurityGroups", "security groups of sg-0alb, sg-0web"),
        ("DescribeSubnets", "subnets of subnet-0a, subnet-0b, subnet-0c and 1 more"),
        ("DescribeNetworkAcls", "network ACLs of subnet-0a, subnet-0b, subnet-0c and 1 more"),
    ] {
        let aws = shop::shop(Duration::ZERO);
        aws.answer(action, none());
        let gaps = gather(&aws, &sample.evidence).gaps();
        assert!(gaps.iter().any(|gap| gap.fact == fact), "{action}: {gaps:?}");
    }
}

#[test]
fn a_prefix_list_that_may_not_be_read_is_a_gap() {
    let sample = SampleCase::failing(Signature::ConnectTimeout, 50);
    let aws = shop::shop(Duration::ZERO);
    let rule = "<prefixListIds><item><prefixListId>pl-0a</prefixListId></item></prefixListIds>";
    let groups = [shop::security_group("sg-0alb", rule), shop::security_group("sg-0web", rule)];
    let page = format!("<securityGroupInfo>{}</securityGroupInfo>", groups.concat());
    aws.answer("DescribeSecurityGroups", Answer::Pages(vec![page]));
    let denied = Answer::Error(403, "UnauthorizedOperation", "no");
    aws.answer("GetManagedPrefixListEntries", denied);
    let facts = gather(&aws, &sample.evidence);
    let [gap] = &facts.gaps()[..] else { panic!("{:?}", facts.gaps()) };
    assert_eq!(gap.fact, "entries of prefix list pl-0a");
    assert_eq!(gap.permission.as_deref(), Some("ec2:GetManagedPrefixListEntries"));
    let diagnosis = diagnose(&sample.evidence, &facts, &Reading::default());
    let check =
        diagnosis.checks.iter().find(|check| check.id == "security-group-allows-traffic").unwrap();
    assert_eq!(check.outcome, crate::diagnosis::CheckOutcome::Unknown);
}

#[test]
fn an_account_or_region_that_is_none_is_not_taken_from_a_row() {
    let mut evidence = SampleCase::healthy().evidence;
    let arn = "arn:aws:elasticloadbalancing:evil.example/x:<!channel>:targetgroup/shop-web/1";
    evidence.target_group_arn = Some(arn.into());
    assert_eq!((evidence.region(), evidence.account()), (None, None));
    evidence.region = Some("eu-west-1".into());
    evidence.account = Some("123456789012".into());
    assert_eq!((evidence.region(), evidence.account()), (Some("eu-west-1"), Some("123456789012")));
}

#[test]
fn a_load_balancer_of_another_account_is_not_asked_for() {
    let mut evidence = SampleCase::healthy().evidence;
    evidence.target_group_arn = Some(
        "arn:aws:elasticloadbalancing:eu-west-1:999999999999:targetgroup/shop-web/73e2d6bc24d8a067"
            .into(),
    );
    let aws = shop::shop(Duration::ZERO);
    let facts = gather(&aws, &evidence);
    assert!(aws.asked().is_empty());
    for gap in facts.gaps() {
        assert!(gap.reason.contains("999999999999") && gap.reason.contains("123456789012"));
    }
}

/// An incident of a load balancer in China, in another account.
fn of_another_account() -> Evidence {
    let mut evidence = SampleCase::healthy().evidence;
    evidence.target_group_arn = Some(
        "arn:aws-cn:elasticloadbalancing:cn-north-1:999999999999:targetgroup/shop-web/73e2d6bc24d8a067"
            .into(),
    );
    evidence
}

#[test]
fn with_a_role_there_another_account_is_asked_as_that_role() {
    let aws = shop::shop(Duration::ZERO);
    let given = "<Credentials><AccessKeyId>ASIAOTHER</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
                 <SessionToken>t</SessionToken><Expiration>2026-03-01T13:00:00Z</Expiration>\
                 </Credentials>";
    aws.answer("AssumeRole", Answer::Pages(vec![given.to_owned()]));
    let facts = gather_as(&aws, &of_another_account(), None, "alb502-facts");
    assert!(facts.load_balancer.known().is_some(), "{:?}", facts.gaps());
    let asked = aws.asked();
    let (first, rest) = asked.split_first().unwrap();
    assert_eq!(first.action, "AssumeRole");
    assert_eq!(first.parameters["RoleArn"], "arn:aws-cn:iam::999999999999:role/alb502-facts");
    assert_eq!(first.parameters[ACCESS_KEY], "AKIDEXAMPLE");
    assert!(rest.len() > 10);
    for other in rest {
        assert_eq!(other.parameters[ACCESS_KEY], "ASIAOTHER", "{}", other.action);
    }
    // For a load balancer of one's own no role is taken.
    let aws = shop::shop(Duration::ZERO);
    gather_as(&aws, &SampleCase::healthy().evidence, None, "alb502-facts");
    assert!(aws.asked().iter().all(|asked| asked.parameters[ACCESS_KEY] == "AKIDEXAMPLE"));
}

#[test]
fn a_role_that_may_not_be_taken_is_a_gap_with_what_to_do() {
    let aws = shop::shop(Duration::ZERO);
    for (answer, said) in [
        (
            Answer::Error(403, "AccessDenied", "not authorized"),
            "its trust policy must name the role",
        ),
        (Answer::Error(400, "RegionDisabledException", "not here"), "RegionDisabledException"),
        (Answer::Pages(vec![String::new()]), "STS gave no credentials"),
    ] {
        aws.answer("AssumeRole", answer);
        let facts = gather_as(&aws, &of_another_account(), None, "alb502-facts");
        assert!(!facts.gaps().is_empty());
        for gap in facts.gaps() {
            let role = "arn:aws-cn:iam::999999999999:role/alb502-facts";
            assert!(gap.reason.contains(role) && gap.reason.contains(said), "{}", gap.reason);
        }
    }
    assert!(aws.asked().iter().all(|asked| asked.action == "AssumeRole"));
}

#[test]
fn what_was_deleted_is_said_to_be_deleted() {
    let evidence = SampleCase::healthy().evidence;
    let aws = shop::shop(Duration::ZERO);
    aws.answer("DescribeTargetGroups", Answer::Error(400, "TargetGroupNotFound", "not found"));
    aws.answer("DescribeLoadBalancers", Answer::Error(400, "LoadBalancerNotFound", "not found"));
    let facts = gather(&aws, &evidence);
    assert!(facts.target_group.gap().unwrap().reason.contains("was deleted"));
    assert!(facts.load_balancer.gap().unwrap().reason.contains("was deleted"));
    aws.answer("DescribeTags", Answer::Error(400, "Strange", "two\nlines &lt;b&gt;"));
    let reason = gather(&aws, &evidence).target_group_tags.gap().unwrap().reason.clone();
    assert!(reason.starts_with("AWS answered Strange: two") && !reason.contains('\n'), "{reason}");
}

#[test]
fn without_a_target_group_only_the_load_balancer_is_asked_for() {
    let mut evidence = SampleCase::healthy().evidence;
    evidence.target_group_arn = None;
    evidence.targets.clear();
    let key = ObjectKey::parse(
        "AWSLogs/123456789012/elasticloadbalancing/eu-west-1/2026/03/01/123456789012_\
         elasticloadbalancing_eu-west-1_app.shop.50dc6c495c0c9188_20260301T1205Z_192.0.2.1_1x.log.gz",
    );
    evidence.account = key.account.as_deref().map(Into::into);
    evidence.region = key.region.as_deref().map(Into::into);
    let aws = shop::shop(Duration::ZERO);
    let facts = gather(&aws, &evidence);
    assert!(facts.load_balancer.known().is_some());
    assert!(facts.target_group.gap().unwrap().reason.contains("never forwarded"));
    assert!(!calls(&aws).contains_key("DescribeTargetGroups"));
    evidence.region = None;
    let before = aws.asked().len();
    let facts = gather(&aws, &evidence);
    assert_eq!(aws.asked().len(), before);
    assert!(facts.load_balancer.gap().unwrap().reason.contains("name the load balancer's account"));
}
