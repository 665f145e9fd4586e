//! Whole messages of one rich, hostile incident, as people get them; and what holds for every message.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr as _;

use super::{tests::schema, *};
use crate::{
    detection::{Distribution, Signature},
    diagnosis::{
        CheckOutcome, CheckResult, Confidence, Figures, Fix, Gap, KeepAliveEstimate,
        KeepAliveTimer, LoadBalancerName, ObjectReport, Onset, ParserReport, Phase, RankedCause,
        Sample, Shape, Statement, TargetGroupName, TimeSpan,
        figures::{ExitFigure, ReasonFigure, TargetSeconds},
        patterns::Constant,
        rows::{MethodFigure, NodeFigure, PathFigure, Portion, TargetFigure, TypeFigure},
    },
    neutralize,
};

fn check(
    id: &'static str,
    outcome: CheckOutcome,
    summary: &str,
    commands: [Option<&str>; 2],
) -> CheckResult {
    let [command, fix_command] = commands.map(|command| command.map(str::to_owned));
    CheckResult { id, outcome, summary: summary.to_owned(), resource: None, command, fix_command }
}

fn gap(fact: &str, reason: &str, permission: &str) -> Gap {
    Gap {
        fact: fact.to_owned(),
        reason: reason.to_owned(),
        permission: Some(permission.to_owned()),
    }
}

fn sample(method: &str, path: &str, trace_id: &str) -> Sample {
    Sample {
        time: "2026-11-22T12:07:11.018Z".parse().unwrap(),
        method: Some(method.to_owned()),
        path: Some(path.to_owned()),
        target: Some("10.0.12.34:8080".to_owned()),
        times: [Some(0.0), Some(0.004), Some(-1.0)],
        trace_id: Some(trace_id.to_owned()),
        object: "s3://logs/a.log.gz".to_owned(),
    }
}

fn object(name: &str, error: Option<&str>) -> ObjectReport {
    ObjectReport {
        name: name.to_owned(),
        kind: "access log".to_owned(),
        node: Some("10.0.1.5".to_owned()),
        lines: 602,
        entries: 600,
        malformed: 2,
        error: error.map(str::to_owned),
    }
}

/// Every figure that is a list or may be missing.
fn figures() -> Figures {
    let time = |text: &str| -> jiff::Timestamp { text.parse().unwrap() };
    let portion = Portion { requests: 602, failures: 20, lift: Some(0.98) };
    let seconds = Distribution { p50: 0.004, p90: 0.011, p99: 0.018, max: 0.018 };
    Figures {
        onset: Some(Onset {
            shape: Shape::Sudden,
            at: Some(time("2026-11-22T12:06:03.041Z")),
            baseline_rate: Some(0.0),
            baseline_minutes: 60,
            first_failure: time("2026-11-22T12:06:03.041Z"),
            last_failure: time("2026-11-22T12:14:41Z"),
        }),
        signatures: Signature::ALL.iter().map(|signature| (signature.name(), 1)).collect(),
        targets: vec![TargetFigure {
            target: "10.0.12.34:8080".to_owned(),
            zone: Some("eu-west-1a".to_owned()),
            portion,
            first_success: Some(time("2026-11-22T11:05:00.2Z")),
            last_success: Some(time("2026-11-22T12:14:59.9Z")),
            first_failure: Some(time("2026-11-22T12:06:03.041Z")),
            last_failure: None,
        }],
        paths_by_failures: vec![PathFigure { path: "/<!channel>".to_owned(), portion }],
        methods: vec![MethodFigure { method: "GET".to_owned(), portion }],
        nodes: vec![NodeFigure { node: "10.0.1.5".to_owned(), zone: None, portion }],
        types: vec![TypeFigure { kind: "https".to_owned(), portion }],
        error_reasons: vec![ReasonFigure {
            error_reason: "LambdaInvalidResponse".to_owned(),
            failures: 1,
        }],
        target_seconds: TargetSeconds { failures: Some(seconds), successes: Some(seconds) },
        elapsed_seconds: Some(seconds),
        received_bytes: Some(Distribution { p50: 412, p90: 900, p99: 1204, max: 1204 }),
        constant: Some(Constant {
            low: 30.0,
            high: 30.9,
            rows: 12,
            of: 14,
            is_at_several_moments: true,
        }),
        exits: vec![ExitFigure {
            target: "10.0.12.34:8080".to_owned(),
            time: time("2026-11-22T12:07:11Z"),
            closed: 3,
            refused_after: 2,
        }],
        probes: vec![probed::tests::probe("10.0.12.34:8080", "It closed.")],
        ..Figures::default()
    }
}

fn incident() -> Diagnosis {
    let objects = vec![
        object("s3://logs/AWSLogs/a_app.shop.0123_10.0.1.5_x.log.gz", None),
        object(
            "s3://logs/AWSLogs/b_app.shop.0123_10.0.2.5_y.log.gz",
            Some("the gzip stream ends early."),
        ),
    ];
    let show = "aws elbv2 describe-load-balancer-attributes \\\n  --load-balancer-arn \
                arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/shop/01";
    let summary = "shop-web: The targets close idle connections before the load balancer does \
                   (keepalive-race, high confidence). 41 of 1,204 requests failed (3.4 %).";
    Diagnosis {
        schema_version: "1",
        tool_version: "0.1.0",
        incident_id: "alb502-0123456789ab".to_owned(),
        kind: Kind::Spike,
        phase: Phase::Opened,
        status: None,
        severity: Severity::Warning,
        summary: summary.to_owned(),
        text: summary.to_owned(),
        load_balancer: LoadBalancerName {
            id: "app/shop/0123456789abcdef".to_owned(),
            name: "shop".to_owned(),
            arn: Some(
                "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/shop/01"
                    .to_owned(),
            ),
            account: Some("123456789012".to_owned()),
            region: Some("eu-west-1".to_owned()),
        },
        target_group: Some(TargetGroupName {
            name: "shop-web".to_owned(),
            arn: "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-web/02"
                .to_owned(),
        }),
        window: TimeSpan {
            start: "2026-11-22T12:05:00Z".parse().unwrap(),
            end: "2026-11-22T12:15:00Z".parse().unwrap(),
        },
        requests: 1204,
        failures: 41,
        elb_502: 40,
        target_502: 1,
        connect_504: 0,
        idle_504: 0,
        intentional_502: 0,
        rate: 41.0 / 1204.0,
        causes: vec![
            RankedCause {
                id: "keepalive-race".to_owned(),
                title: "The targets close idle connections before the load balancer does".to_owned(),
                why_healthy: None,
                confidence: Confidence::High,
                share: 40.0 / 41.0,
                evidence: vec![
                    Statement::counted(
                        40,
                        41,
                        "40 of 41 failures: the request was sent, and the connection closed within a \
                         moment and without a response.",
                    ),
                    Statement::new("The load balancer keeps idle connections for 60 s."),
                ],
                against: vec![Statement::counted(
                    2,
                    40,
                    "2 of 40 came sooner than 4.5 s after the previous answer.",
                )],
                fixes: vec![
                    Fix::with(
                        "Raise the keep-alive timeout of the application above the 60 s of the load \
                         balancer, to 65 s or more. Until then, see its idle timeout:",
                        show,
                    ),
                    Fix::new("Then watch HTTPCode_ELB_502_Count fall to zero."),
                ],
            },
            RankedCause {
                id: "undetermined".to_owned(),
                title: "No cause fits these failures".to_owned(),
                why_healthy: None,
                confidence: Confidence::Low,
                share: 1.0 / 41.0,
                evidence: Vec::new(),
                against: Vec::new(),
                fixes: Vec::new(),
            },
        ],
        checks: vec![
            check("access-logging-enabled", CheckOutcome::Pass, "On.", [None, None]),
            check(
                "keep-alive-exceeds-idle-timeout",
                CheckOutcome::Fail,
                "The idle timeout of shop is 60 s, but the rows show a keep-alive timeout of about 5 s \
                 (4.9 to 5.2, 38 gaps).",
                [
                    Some(show),
                    Some("alb502 probe 'http://10.0.12.34:8080/' > /tmp/'<NAME>'"),
                ],
            ),
            check(
                "security-group-source-is-load-balancer",
                CheckOutcome::Advice,
                "sg-0a1b lets 0.0.0.0/0 in.",
                [None, None],
            ),
            check(
                "target-health",
                CheckOutcome::Unknown,
                "Whether the targets are healthy: not known, target health missing (access denied).",
                [None, None],
            ),
            check("load-balancer-state", CheckOutcome::Pass, "Active.", [None, None]),
            check(
                "lambda-multi-value-headers",
                CheckOutcome::Skipped,
                "shop-web holds no Lambda function.",
                [None, None],
            ),
        ],
        why_healthy: Some(
            "Every health check opens a connection of its own and closes it: it never meets one that \
             the target has just closed."
                .to_owned(),
        ),
        facts: Figures {
            keep_alive_timers: vec![KeepAliveTimer {
                estimate: KeepAliveEstimate { low: 4.9, best: 5.0, high: 5.2, gaps: 38 },
                targets: vec!["10.0.1.5:8080".to_owned()],
            }],
            keep_alive_estimate_seconds: Some(KeepAliveEstimate {
                low: 4.9,
                best: 5.0,
                high: 5.2,
                gaps: 38,
            }),
            idle_timeout_seconds: Some(60),
            bad_targets: Vec::new(),
            paths: vec!["/<!channel>".to_owned()],
            ..figures()
        },
        gaps: vec![
            gap("target health", "access denied", "elasticloadbalancing:DescribeTargetHealth"),
            gap("listener rules", "access denied", "elasticloadbalancing:DescribeRules"),
            gap("subnets", "throttled", "ec2:DescribeSubnets"),
        ],
        samples: vec![
            sample("GET", "/api/orders/{id}", "Root=1-6921a1b2-0123456789abcdef01234567"),
            sample("GET", "/\x1b[31m\r\nX: y/<!channel>/@here", "Root=1-\u{202e}x"),
            sample("P@ST", "http://evil.test/javascript:alert(1)/www.evil.test", ":smile:"),
        ],
        parser: ParserReport {
            lines: 1206,
            entries: 1204,
            malformed: 2,
            unknown_fields: 0,
            objects: 2,
        },
        partial: crate::diagnosis::partial(&crate::diagnosis::Reading {
            objects: objects.clone(),
            ..Default::default()
        }),
        objects,
    }
}

fn is(actual: &str, expected: &Expect) {
    expected.assert_eq(actual);
}

#[test]
fn the_email() {
    is(
        &text::text(&incident()),
        &expect![[r#"
            shop-web: The targets close idle connections before the load balancer does
            (keepalive-race, high confidence). 41 of 1,204 requests failed (3.4 %).

            Load balancer  app/shop/0123456789abcdef, account 123456789012, eu-west-1
            Target group   shop-web
            Time           2026-11-22 12:05 to 12:15 UTC
                           Began suddenly at 12:06:03 UTC; last failure 12:14:41; none in
                           the hour before.
            Failures       41 of 1,204 requests (3.4 %): 40 x 502 by the load balancer, 1
                           x 502 by the target
            Severity       warning
            Partial        1 of 2 objects could not be read to the end: there are at least
                           so many failures, and the rate may be another
            Probe          10.0.12.34:8080 at 1970-01-01 00:00 UTC: a valid 200; idle
                           connections closed after 6 s; keepalive-race would be a 502.

            WHY THE TARGETS STILL SHOW HEALTHY
              Every health check opens a connection of its own and closes it: it never
              meets one that the target has just closed.

            CAUSE 1  keepalive-race, high confidence, 98 % of the failures
              The targets close idle connections before the load balancer does.
              For
              - 40 of 41 failures: the request was sent, and the connection closed within
                a moment and without a response.
              - The load balancer keeps idle connections for 60 s.
              Against
              - 2 of 40 came sooner than 4.5 s after the previous answer.
              Do
              1. Raise the keep-alive timeout of the application above the 60 s of the
                 load balancer, to 65 s or more. Until then, see its idle timeout:
                   aws elbv2 describe-load-balancer-attributes \
                     --load-balancer-arn arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/shop/01
              2. Then watch HTTPCode_ELB_502_Count fall to zero.

            CAUSE 2  undetermined, low confidence, 2.4 % of the failures
              No cause fits these failures.

            CHECKS
              FAIL     keep-alive-exceeds-idle-timeout
                       The idle timeout of shop is 60 s, but the rows show a keep-alive
                       timeout of about 5 s (4.9 to 5.2, 38 gaps).
                       aws elbv2 describe-load-balancer-attributes \
                         --load-balancer-arn arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/shop/01
                       Fix:
                       alb502 probe 'http://10.0.12.34:8080/' > /tmp/'<NAME>'
              advice   security-group-source-is-load-balancer
                       sg-0a1b lets 0.0.0.0/0 in.
              unknown  target-health
              pass     access-logging-enabled, load-balancer-state
              skipped  lambda-multi-value-headers: shop-web holds no Lambda function.

            WHAT COULD NOT BE SEEN
              - target health, listener rules: access denied (needs
                elasticloadbalancing:DescribeTargetHealth, DescribeRules)
              - subnets: throttled (needs ec2:DescribeSubnets)

            SAMPLES (time UTC; request, target and response processing time in seconds,
              -1: never came to that; {id}: a part that differs; [.]: a dot)
              12:07:11.018     0.000     0.004        -1
                GET /api/orders/{id} -> 10.0.12.34:8080
                trace Root=1-6921a1b2-0123456789abcdef01234567
              12:07:11.018     0.000     0.004        -1
                GET /?[31m??X: y/<!channel>/[at]here -> 10.0.12.34:8080
                trace Root=1-?x
              12:07:11.018     0.000     0.004        -1
                P[at]ST http[:]//evil[.]test/javascript[:]alert(1)/www[.]evil[.]test ->
                10.0.12.34:8080
                trace [:]smile:

            LOG
              1,206 lines in 2 objects, 2 malformed.
              Damaged, the gzip stream ends early:
                s3://logs/AWSLogs/b_app.shop.0123_10.0.2.5_y.log.gz

            Incident alb502-0123456789ab, told by alb502 0.1.0, schema 1
        "#]],
    );
}

#[test]
fn the_chat_notification() {
    let mut notification = format!("{:#}", chat::notification(&incident()));
    notification.push('\n');
    is(
        &notification,
        &expect![[r#"
            {
              "content": {
                "description": "*Partial*: 1 of 2 objects could not be read to the end: there are at least so many failures, and the rate may be another\n*keepalive-race* (high confidence, 98 % of the failures): The targets close idle connections before the load balancer does\n• 40 of 41 failures: the request was sent, and the connection closed within a moment and without a response.\n• The load balancer keeps idle connections for 60 s.\n• _Against:_ 2 of 40 came sooner than 4.5 s after the previous answer.\n```\naws elbv2 describe-load-balancer-attributes \\\n  --load-balancer-arn arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/shop/01\n```\n*undetermined* (low confidence, 2.4 % of the failures): No cause fits these failures\n*Check keep-alive-exceeds-idle-timeout*: The idle timeout of shop is 60 s, but the rows show a keep-alive timeout of about 5 s (4.9 to 5.2, 38 gaps).\n*Why Healthy all the same*: Every health check opens a connection of its own and closes it: it never meets one that the target has just closed.\n*Could not be seen*: target health, listener rules, subnets\n",
                "keywords": [
                  "alb502",
                  "shop",
                  "shop-web",
                  "keepalive-race",
                  "undetermined"
                ],
                "nextSteps": [
                  "Raise the keep-alive timeout of the application above the 60 s of the load balancer, to 65 s or more. Until then, see its idle timeout. (The command is above.)",
                  "Then watch HTTPCode_ELB_502_Count fall to zero."
                ],
                "textType": "client-markdown",
                "title": ":warning: shop-web: The targets close idle connections before the load balancer does (keepalive-race, high confidence). 41 of 1,204 requests failed (3.4 %)."
              },
              "id": "alb502-0123456789ab",
              "metadata": {
                "additionalContext": {
                  "window": "2026-11-22T12:05:00Z/2026-11-22T12:15:00Z"
                },
                "enableCustomActions": false,
                "eventType": "Alb502Spike",
                "relatedResources": [
                  "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/shop/01",
                  "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-web/02"
                ],
                "summary": "shop-web: The targets close idle connections before the load balancer does (keepalive-race, high confidence). 41 of 1,204 requests failed (3.4 %).",
                "threadId": "alb502-0123456789ab"
              },
              "source": "custom",
              "version": "1.0"
            }
        "#]],
    );
}

#[test]
fn the_text_for_relays() {
    is(
        &chat::text(&incident()),
        &expect![[r#"
            :warning: shop-web: The targets close idle connections before the load balancer does (keepalive-race, high confidence). 41 of 1,204 requests failed (3.4 %).
            *Partial*: 1 of 2 objects could not be read to the end: there are at least so many failures, and the rate may be another
            *Do*
            1. Raise the keep-alive timeout of the application above the 60 s of the load balancer, to 65 s or more. Until then, see its idle timeout:
            ```
            aws elbv2 describe-load-balancer-attributes \
              --load-balancer-arn arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/shop/01
            ```
            2. Then watch HTTPCode_ELB_502_Count fall to zero.
            *keepalive-race* (high confidence, 98 % of the failures): The targets close idle connections before the load balancer does
            • 40 of 41 failures: the request was sent, and the connection closed within a moment and without a response.
            • The load balancer keeps idle connections for 60 s.
            • _Against:_ 2 of 40 came sooner than 4.5 s after the previous answer.
            *undetermined* (low confidence, 2.4 % of the failures): No cause fits these failures
            *Check keep-alive-exceeds-idle-timeout*: The idle timeout of shop is 60 s, but the rows show a keep-alive timeout of about 5 s (4.9 to 5.2, 38 gaps).
            *Why Healthy all the same*: Every health check opens a connection of its own and closes it: it never meets one that the target has just closed.
            *Could not be seen*: target health, listener rules, subnets
        "#]],
    );
}

#[test]
fn the_short_text_the_subject_and_the_attributes() {
    let message = render(&incident(), HttpsBody::Chat);
    let bodies: BTreeMap<String, String> = serde_json::from_str(&message.message).unwrap();
    is(
        &format!("{}\n{}\n{:#?}\n", message.subject, bodies["default"], message.attributes),
        &expect![[r#"
            alb502 WARNING shop-web: keepalive-race, 41 of 1,204 failed (3.4 %)
            shop-web: The targets close idle connections before the load balancer does (keepalive-race, high confidence). 41 of 1,204 requests failed (3.4 %). Do: Raise the keep-alive timeout of the application above the 60 s of the load balancer, to 65 s or more. Until then, see its idle timeout:
            {
                "account": "123456789012",
                "cause": "keepalive-race",
                "kind": "spike",
                "load_balancer": "shop",
                "phase": "opened",
                "region": "eu-west-1",
                "severity": "warning",
                "target_group": "shop-web",
            }
        "#]],
    );
}

/// Every name of the machine form, as a path.
fn names(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = format!("{path}.{name}");
                names(member, &path, found);
                found.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, path, found)),
        _ => {}
    }
}

/// Every name that the schema knows, as a path.
fn known(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        known(member, &path, found);
        found.insert(path);
    }
    known_inside(schema, path, found);
}

fn known_inside(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if !schema["items"].is_null() {
        known(&schema["items"], path, found);
    }
    for choice in schema["anyOf"].as_array().into_iter().flatten() {
        known(choice, path, found);
    }
}

#[test]
fn the_schema_knows_every_name_and_no_other() {
    let value = serde_json::to_value(incident()).unwrap();
    assert!(schema().is_valid(&value));
    let (mut published, mut described) = (BTreeSet::new(), BTreeSet::new());
    names(&value, "", &mut published);
    known(&serde_json::from_str(SCHEMA).unwrap(), "", &mut described);
    assert_eq!(published, described);
}

#[test]
fn every_name_is_required_and_new_ones_are_allowed() {
    let right = serde_json::to_value(incident()).unwrap();
    for name in right.as_object().unwrap().keys() {
        let mut value = right.clone();
        value.as_object_mut().unwrap().remove(name);
        assert!(!schema().is_valid(&value), "{name}");
    }
    let mut value = right;
    value["tomorrow"] = json!(1);
    value["checks"][0]["tomorrow"] = json!(1);
    assert!(schema().is_valid(&value));
}

/// True when the line fits, or is nothing but a label and one word that fits nowhere.
fn fits_or_cannot(line: &str) -> bool {
    let words_before = line.trim_end().rfind(' ').map_or(0, |space| space + 1);
    line.width() <= 78 || words_before <= LONGEST_LABEL
}

/// `Load balancer  `.
const LONGEST_LABEL: usize = 15;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn prose_fits_78_columns(
        stranger in ".{0,200}",
        sentence in "([a-zA-Z.,<>]{1,90} ){1,30}",
        rate in 0.0..1.0_f64,
        requests: u64,
    ) {
        let mut diagnosis = incident();
        (diagnosis.rate, diagnosis.requests, diagnosis.parser.lines) = (rate, requests, requests);
        diagnosis.summary.clone_from(&sentence);
        diagnosis.load_balancer.id.clone_from(&stranger);
        diagnosis.why_healthy = Some(sentence.clone());
        for cause in &mut diagnosis.causes {
            cause.title.clone_from(&sentence);
            cause.evidence.push(Statement::new(sentence.clone()));
            cause.against.push(Statement::new(stranger.clone()));
            cause.fixes = vec![Fix::new(sentence.clone()); 3];
        }
        for check in &mut diagnosis.checks {
            check.summary.clone_from(&sentence);
            (check.command, check.fix_command) = (None, None);
        }
        for gap in &mut diagnosis.gaps {
            gap.reason.clone_from(&stranger);
        }
        for sample in &mut diagnosis.samples {
            sample.path = Some(stranger.clone());
            sample.method = Some(stranger.clone());
            sample.target = Some(stranger.clone());
            sample.trace_id = Some(stranger.clone());
        }
        for object in &mut diagnosis.objects {
            object.name.clone_from(&stranger);
            object.error = Some(sentence.clone());
        }
        for line in text::text(&diagnosis).lines() {
            prop_assert!(fits_or_cannot(line), "{line:?}");
            prop_assert!(!line.chars().any(neutralize::is_invisible), "{line:?}");
            prop_assert_eq!(neutralize::line(line), line);
        }
    }
}
