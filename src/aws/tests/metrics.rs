//! What is asked of CloudWatch, and what becomes of each trouble with it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    calls,
    fake_aws::{Answer, FakeAws},
    gather, gather_until, shop,
};
use crate::{
    detection::{Evidence, Signature},
    diagnosis::{
        Confidence, Facts, Gap, Reading, diagnose, metrics::Metric, sample_case::SampleCase,
    },
};

const TLS: &str = "TargetTLSNegotiationErrorCount targetgroup/shop-web/73e2d6bc24d8a067";

fn evidence() -> Evidence {
    SampleCase::failing(Signature::NotConnected, 40).evidence
}

fn answering(answer: Answer) -> FakeAws {
    let aws = shop::shop(Duration::ZERO);
    aws.answer("GetMetricData", answer);
    aws
}

fn pages(pages: &[Value]) -> Answer {
    Answer::Pages(pages.iter().map(Value::to_string).collect())
}

fn sum(facts: &Facts, metric: Metric) -> Option<u64> {
    facts.metrics.known()?.sum(metric)
}

fn only_gap(facts: &Facts) -> Gap {
    let [gap] = &facts.gaps()[..] else { panic!("{:?}", facts.gaps()) };
    gap.clone()
}

#[test]
fn every_metric_is_asked_for_in_one_call() {
    let aws = answering(pages(&[shop::metrics(&[(Metric::TlsErrors, 40.0)])]));
    let facts = gather(&aws, &evidence());
    assert_eq!(facts.gaps(), []);
    assert_eq!(calls(&aws)["GetMetricData"], (1, 1), "in the first round");
    assert_eq!(sum(&facts, Metric::TlsErrors), Some(40));
    assert_eq!(sum(&facts, Metric::ConnectionErrors), Some(0));
    let asked = aws.asked();
    let body = &asked.iter().find(|it| it.action == "GetMetricData").unwrap().parameters["body"];
    for text in Metric::ALL.map(Metric::name) {
        assert!(body.contains(text), "{text}");
    }
    for text in ["AWS/ApplicationELB", "app/shop/50dc6c495c0c9188", TLS, "Minimum", "Maximum"] {
        assert!(body.contains(text), "{text}");
    }
    assert_eq!(body.matches("LoadBalancer").count(), 8);
    // One metric is of the load balancer alone.
    assert_eq!(body.matches("TargetGroup").count(), 7);
}

#[test]
fn what_cloudwatch_counted_decides_the_diagnosis() {
    let mut sample = SampleCase::failing(Signature::NotConnected, 40);
    sample.write_rows(Signature::NotConnected, 0.004);
    for (metric, cause) in
        [(Metric::TlsErrors, "tls-handshake"), (Metric::ConnectionErrors, "connect-refused")]
    {
        let aws = answering(pages(&[shop::metrics(&[(metric, 40.0)])]));
        let mut facts = gather(&aws, &sample.evidence);
        facts.target_group = facts.target_group.map(|group| crate::diagnosis::facts::TargetGroup {
            protocol: Some("HTTPS".to_owned()),
            ..group
        });
        let first = &diagnose(&sample.evidence, &facts, &Reading::default()).causes[0];
        assert_eq!((first.id.as_str(), first.confidence), (cause, Confidence::High));
    }
}

#[test]
fn denied_throttled_and_silent_calls_are_gaps() {
    for (answer, reason, permission, attempts) in [
        (
            Answer::Error(403, "AccessDenied", "not authorized"),
            "access denied",
            Some("cloudwatch:GetMetricData"),
            1,
        ),
        (
            Answer::Error(403, "AccessDeniedException", "not authorized"),
            "access denied",
            Some("cloudwatch:GetMetricData"),
            1,
        ),
        (
            Answer::Error(400, "Throttling", "Rate exceeded"),
            "throttled by AWS, also after retries",
            None,
            3,
        ),
        (
            Answer::Error(400, "InvalidParameterValue", "no"),
            "AWS answered InvalidParameterValue: no",
            None,
            1,
        ),
    ] {
        let aws = answering(answer);
        let gap = only_gap(&gather(&aws, &evidence()));
        assert_eq!((gap.fact.as_str(), gap.reason.as_str()), ("metrics", reason));
        assert_eq!(gap.permission.as_deref(), permission);
        assert_eq!(calls(&aws)["GetMetricData"].0, attempts, "{reason}");
    }
    let aws = answering(Answer::Silence);
    let facts = gather_until(&aws, &evidence(), Some(Duration::from_millis(300)));
    assert_eq!(only_gap(&facts).reason, "no answer in the time that the invocation had left");
}

#[test]
fn throttling_that_ends_is_no_gap() {
    let page = shop::metrics(&[(Metric::TlsErrors, 40.0)]).to_string();
    let aws = answering(Answer::ErrorFirst(1, 400, "Throttling", vec![page]));
    let facts = gather(&aws, &evidence());
    assert_eq!(sum(&facts, Metric::TlsErrors), Some(40));
    assert_eq!(facts.gaps(), []);
}

#[test]
fn every_page_is_read() {
    let mut first = shop::metrics(&[(Metric::Elb502, 40.0)]);
    first["NextToken"] = json!("2");
    let results = first["MetricDataResults"].as_array_mut().unwrap();
    results.retain(|result| result["Label"] != TLS);
    results.push(shop::result(TLS, None, "PartialData"));
    let second = json!({"MetricDataResults": [shop::result(TLS, Some(40.0), "Complete")]});
    let facts = gather(&answering(pages(&[first, second])), &evidence());
    assert_eq!(facts.gaps(), []);
    assert_eq!((sum(&facts, Metric::TlsErrors), sum(&facts, Metric::Elb502)), (Some(40), Some(40)));
}

#[test]
fn a_part_of_the_data_is_a_gap_and_decides_nothing() {
    for status in ["InternalError", "PartialData", "Forbidden"] {
        let mut page = shop::metrics(&[(Metric::ConnectionErrors, 40.0)]);
        let results = page["MetricDataResults"].as_array_mut().unwrap();
        results.retain(|result| result["Label"] != TLS);
        results.push(shop::result(TLS, None, status));
        let facts = gather(&answering(pages(&[page])), &evidence());
        let gap = only_gap(&facts);
        assert_eq!(gap.fact, "TargetTLSNegotiationErrorCount");
        assert_eq!(gap.reason, format!("CloudWatch says {status}"));
        assert_eq!(sum(&facts, Metric::TlsErrors), None);
        assert_eq!(sum(&facts, Metric::ConnectionErrors), Some(40));
    }
}

#[test]
fn an_answer_without_any_value_is_not_zero() {
    let mut page = shop::metrics(&[]);
    for result in page["MetricDataResults"].as_array_mut().unwrap() {
        *result = shop::result(result["Label"].as_str().unwrap(), None, "Complete");
    }
    let facts = gather(&answering(pages(&[page])), &evidence());
    assert_eq!(only_gap(&facts).reason, "no value of this load balancer at this time");
}

#[test]
fn without_a_target_group_only_the_load_balancer_is_asked_for() {
    let mut evidence = evidence();
    evidence.target_group_arn = None;
    (evidence.account, evidence.region) = (Some("123456789012".into()), Some("eu-west-1".into()));
    let aws = answering(pages(&[shop::metrics(&[(Metric::Elb502, 40.0)])]));
    let facts = gather(&aws, &evidence);
    let asked = aws.asked();
    let body = &asked.iter().find(|it| it.action == "GetMetricData").unwrap().parameters["body"];
    assert!(body.contains("HTTPCode_ELB_502_Count") && !body.contains("TargetGroup"));
    assert_eq!(sum(&facts, Metric::Elb502), Some(40));
}
