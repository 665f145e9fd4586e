//! The template as CloudFormation would make it for given parameters: what each mode and option creates.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::{
    template::template,
    tidy::{read, table},
};

/// The template with parameters put in: conditions decided, functions worked out. A resource is
/// `<Name>`, its attribute `<Name.Attribute>`.
struct Deployed {
    template: Value,
    parameters: BTreeMap<String, String>,
}

fn deployed(given: &[(&str, &str)]) -> Deployed {
    let template = template();
    let mut parameters = BTreeMap::from([("LogBucket".to_owned(), "example-alb-logs".to_owned())]);
    for (name, parameter) in template["Parameters"].as_object().unwrap() {
        match &parameter["Default"] {
            Value::Null => {}
            Value::String(default) => drop(parameters.insert(name.clone(), default.clone())),
            default => drop(parameters.insert(name.clone(), default.to_string())),
        }
    }
    for (name, value) in given {
        assert!(parameters.contains_key(*name), "the template has no parameter {name}");
        parameters.insert((*name).to_owned(), (*value).to_owned());
    }
    Deployed { template, parameters }
}

impl Deployed {
    fn named(&self, name: &str) -> String {
        let own = match name {
            "AWS::AccountId" => "123456789012",
            "AWS::Partition" => "aws",
            "AWS::Region" => "eu-west-1",
            "AWS::StackName" => "alb502",
            "AWS::URLSuffix" => "amazonaws.com",
            _ => match self.parameters.get(name) {
                Some(value) => value,
                None => {
                    let resource = name.split('.').next().unwrap();
                    assert!(self.is_made(resource), "{name} is not made");
                    return format!("<{name}>");
                }
            },
        };
        own.to_owned()
    }

    fn sub(&self, text: &str, locals: &Map<String, Value>) -> String {
        let mut parts = text.split("${");
        let mut whole = parts.next().unwrap().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap();
            match locals.get(name) {
                Some(local) => whole += self.value(local).unwrap().as_str().unwrap(),
                None => whole += &self.named(name),
            }
            whole += rest;
        }
        whole
    }

    /// A value worked out. `None`: AWS::NoValue.
    fn value(&self, value: &Value) -> Option<Value> {
        let Some(object) = value.as_object() else {
            return Some(match value {
                Value::Array(items) => items.iter().filter_map(|it| self.value(it)).collect(),
                _ => value.clone(),
            });
        };
        let (name, argument) = match object.iter().next() {
            Some((name, argument)) if object.len() == 1 => (name.as_str(), argument),
            _ => ("", &Value::Null),
        };
        Some(match name {
            "Ref" if argument == "AWS::NoValue" => return None,
            "Ref" | "Fn::GetAtt" => json!(self.named(argument.as_str().unwrap())),
            "Fn::If" if self.condition(argument[0].as_str().unwrap()) => {
                return self.value(&argument[1]);
            }
            "Fn::If" => return self.value(&argument[2]),
            "Fn::Sub" => match argument {
                Value::Array(parts) => {
                    json!(self.sub(parts[0].as_str().unwrap(), parts[1].as_object().unwrap()))
                }
                text => json!(self.sub(text.as_str().unwrap(), &Map::new())),
            },
            "Fn::Split" => {
                let text = self.value(&argument[1]).unwrap();
                let by = argument[0].as_str().unwrap();
                text.as_str().unwrap().split(by).collect::<Vec<_>>().into()
            }
            "Fn::FindInMap" => {
                let key = self.value(&argument[1]).unwrap();
                let map = &self.template["Mappings"][argument[0].as_str().unwrap()];
                map[key.as_str().unwrap()][argument[2].as_str().unwrap()].clone()
            }
            "Fn::Equals" => json!(self.value(&argument[0]) == self.value(&argument[1])),
            "Fn::Not" => json!(!self.is_true(&argument[0])),
            "Fn::And" => json!(argument.as_array().unwrap().iter().all(|it| self.is_true(it))),
            "Fn::Or" => json!(argument.as_array().unwrap().iter().any(|it| self.is_true(it))),
            "Condition" => json!(self.condition(argument.as_str().unwrap())),
            _ => object
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), self.value(value)?)))
                .collect::<Map<_, _>>()
                .into(),
        })
    }

    fn is_true(&self, value: &Value) -> bool {
        self.value(value) == Some(json!(true))
    }

    fn condition(&self, name: &str) -> bool {
        let condition = &self.template["Conditions"][name];
        assert!(condition.is_object(), "no condition {name}");
        self.is_true(condition)
    }

    fn is_made(&self, resource: &str) -> bool {
        let resource = &self.template["Resources"][resource];
        resource.is_object() && resource["Condition"].as_str().is_none_or(|it| self.condition(it))
    }

    /// The names of what is made, with everything in it worked out: nothing leads to what is not made.
    fn made(&self) -> BTreeSet<String> {
        let resources = self.template["Resources"].as_object().unwrap();
        let made: BTreeSet<String> =
            resources.keys().filter(|name| self.is_made(name)).cloned().collect();
        for name in &made {
            self.resource(name);
        }
        self.value(&self.template["Outputs"]);
        made
    }

    fn resource(&self, name: &str) -> Value {
        assert!(self.is_made(name), "{name} is not made");
        self.value(&self.template["Resources"][name]["Properties"]).unwrap()
    }

    fn output(&self, name: &str) -> String {
        let value = self.value(&self.template["Outputs"][name]["Value"]).unwrap();
        value.as_str().unwrap().to_owned()
    }

    /// What the rules of the template refuse.
    fn refused(&self) -> Vec<String> {
        let mut refused = Vec::new();
        for rule in self.template["Rules"].as_object().unwrap().values() {
            if rule["RuleCondition"].is_null() || self.is_true(&rule["RuleCondition"]) {
                for assertion in rule["Assertions"].as_array().unwrap() {
                    if !self.is_true(&assertion["Assert"]) {
                        let said = assertion["AssertDescription"].as_str().unwrap();
                        refused.push(said.to_owned());
                    }
                }
            }
        }
        refused
    }
}

const TOPIC: (&str, &str) = ("SourceTopicArn", "arn:aws:sns:eu-west-1:123456789012:log-objects");

/// What stands in every stack.
const ALWAYS: [&str; 10] = [
    "ErrorAlarm",
    "FailureAlarm",
    "FailureQueue",
    "Function",
    "LagAlarm",
    "LogGroup",
    "Role",
    "Table",
    "Topic",
    "TopicPolicy",
];

fn with(added: &[&str]) -> BTreeSet<String> {
    ALWAYS.iter().chain(added).map(|name| (*name).to_owned()).collect()
}

#[test]
fn each_mode_makes_only_what_it_needs() {
    for (mode, more, added) in [
        ("eventbridge", None, &["FailureQueuePolicy", "Rule", "RulePermission"][..]),
        ("notification", None, &["BucketPermission"]),
        ("queue", None, &["EventQueue", "EventQueueMapping", "EventQueuePolicy"]),
        (
            "topic",
            Some(TOPIC),
            &["FailureQueuePolicy", "SourceSubscription", "SourceTopicPermission"],
        ),
        (
            "new-bucket",
            None,
            &["Bucket", "BucketPolicy", "FailureQueuePolicy", "Rule", "RulePermission"],
        ),
    ] {
        let mut given = vec![("TriggerMode", mode), ("Dashboard", "false")];
        given.extend(more);
        let stack = deployed(&given);
        assert_eq!(stack.made(), with(added), "{mode}");
        assert_eq!(stack.refused(), [""; 0], "{mode}");
    }
    let modes = &template()["Parameters"]["TriggerMode"]["AllowedValues"];
    let told: Vec<String> = table("| `TriggerMode` | for |")
        .iter()
        .map(|row| row.split('`').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(json!(told), *modes, "the README's table of modes");
}

#[test]
fn the_next_command_is_the_one_of_the_mode() {
    for (mode, prefix, command) in [
        ("eventbridge", "", "alb502 attach s3://example-alb-logs --region eu-west-1 --eventbridge"),
        (
            "notification",
            "prod/web",
            "alb502 attach s3://example-alb-logs/prod/web --region eu-west-1 --function <Function.Arn> \
             --id alb502",
        ),
        (
            "queue",
            "",
            "alb502 attach s3://example-alb-logs --region eu-west-1 --queue <EventQueue.Arn> --id alb502",
        ),
        (
            "topic",
            "",
            "alb502 attach s3://example-alb-logs --region eu-west-1 --topic \
             arn:aws:sns:eu-west-1:123456789012:log-objects --id alb502",
        ),
        (
            "new-bucket",
            "prod",
            "aws elbv2 modify-load-balancer-attributes --region eu-west-1 --load-balancer-arn <ARN> \
             --attributes Key=access_logs.s3.enabled,Value=true \
             Key=access_logs.s3.bucket,Value=example-alb-logs Key=access_logs.s3.prefix,Value=prod",
        ),
    ] {
        let stack = deployed(&[("TriggerMode", mode), ("LogPrefix", prefix), TOPIC]);
        assert_eq!(stack.output("NextCommand"), command);
    }
}

#[test]
fn an_option_makes_only_what_it_needs() {
    const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1";
    let rule = ["FailureQueuePolicy", "Rule", "RulePermission"];
    for (given, added) in [
        (&[("NotificationEmail", "a@example.com")][..], &["EmailSubscription"][..]),
        (&[("SlackWorkspaceId", "T1"), ("SlackChannelId", "C1")], &["Slack", "SlackRole"]),
        (
            &[("Dashboard", "true")],
            &[
                "IncidentsByCause",
                "MalformedRowsByObject",
                "MetricsDashboard",
                "ObjectsNotRead",
                "SkippedByReason",
            ],
        ),
        (&[("SubnetIds", "subnet-1,subnet-2"), ("SecurityGroupIds", "sg-1")], &[]),
        (&[("LogBucketKeyArn", KEY), ("TopicKeyArn", KEY), ("TableKeyArn", KEY)], &[]),
        (&[("QueueKeyArn", KEY)], &[]),
        (&[("ReservedConcurrency", "2"), ("FactsRoleName", "alb502-facts")], &[]),
    ] {
        let stack = deployed(&[&[("Dashboard", "false")], given].concat());
        assert_eq!(stack.made(), with(&[&rule[..], added].concat()), "{given:?}");
        assert_eq!(stack.refused(), [""; 0], "{given:?}");
    }
}

#[test]
fn without_metrics_nothing_waits_for_them() {
    let stack = deployed(&[("Metrics", "false")]);
    let left = stack.made();
    for (name, stays) in [
        ("LagAlarm", false),
        ("MetricsDashboard", false),
        ("ErrorAlarm", true),
        ("FailureAlarm", true),
        ("IncidentsByCause", true),
    ] {
        assert_eq!(left.contains(name), stays, "{name}");
    }
    assert_eq!(stack.refused(), [""; 0]);
}

#[test]
fn what_goes_together_is_asked_for_together() {
    for (given, said) in [
        (("TriggerMode", "topic"), "SourceTopicArn"),
        (("SlackWorkspaceId", "T1"), "SlackChannelId"),
        (("SlackChannelId", "C1"), "SlackWorkspaceId"),
        (("SubnetIds", "subnet-1"), "SecurityGroupIds"),
        (("SecurityGroupIds", "sg-1"), "SubnetIds"),
    ] {
        let refused = deployed(&[given]).refused();
        assert_eq!(refused.len(), 1, "{given:?}");
        assert!(refused[0].contains(said), "{refused:?}");
    }
}

#[test]
fn options_reach_the_function_the_topic_the_table_and_the_queues() {
    let plain = deployed(&[("TriggerMode", "queue")]);
    let function = plain.resource("Function");
    for absent in ["VpcConfig", "ReservedConcurrentExecutions"] {
        assert_eq!(function[absent], Value::Null);
    }
    assert_eq!(plain.resource("Topic")["KmsMasterKeyId"], Value::Null);
    assert_eq!(plain.resource("Table")["SSESpecification"], Value::Null);
    let encrypted_queue = |stack: &Deployed, queue: &str| {
        let queue = stack.resource(queue);
        (queue["SqsManagedSseEnabled"].clone(), queue["KmsMasterKeyId"].clone())
    };
    for queue in ["EventQueue", "FailureQueue"] {
        assert_eq!(encrypted_queue(&plain, queue), (json!(true), Value::Null));
    }
    assert_eq!(function["Environment"]["Variables"]["ALB502_FACTS_ROLE_NAME"], "");

    let stack = deployed(&[
        ("SubnetIds", "subnet-1,subnet-2"),
        ("SecurityGroupIds", "sg-1"),
        ("ReservedConcurrency", "5"),
        ("FactsRoleName", "alb502-facts"),
        ("TopicKeyArn", "topic-key"),
        ("TableKeyArn", "table-key"),
        ("QueueKeyArn", "queue-key"),
        ("TriggerMode", "queue"),
    ]);
    let function = stack.resource("Function");
    let vpc = json!({ "SubnetIds": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"] });
    assert_eq!(function["VpcConfig"], vpc);
    assert_eq!(function["ReservedConcurrentExecutions"], "5");
    assert_eq!(function["Environment"]["Variables"]["ALB502_FACTS_ROLE_NAME"], "alb502-facts");
    assert_eq!(stack.resource("Topic")["KmsMasterKeyId"], "topic-key");
    let encrypted = json!({ "SSEEnabled": true, "SSEType": "KMS", "KMSMasterKeyId": "table-key" });
    assert_eq!(stack.resource("Table")["SSESpecification"], encrypted);
    for queue in ["EventQueue", "FailureQueue"] {
        assert_eq!(encrypted_queue(&stack, queue), (Value::Null, json!("queue-key")));
    }
    let scaling = &stack.resource("EventQueueMapping")["ScalingConfig"];
    assert_eq!(*scaling, json!({ "MaximumConcurrency": "5" }));
}

#[test]
fn the_table_is_the_ledgers() {
    let table = deployed(&[]).resource("Table");
    assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(
        table["KeySchema"],
        json!([
            { "AttributeName": "pk", "KeyType": "HASH" },
            { "AttributeName": "sk", "KeyType": "RANGE" },
        ])
    );
    let expires = json!({ "AttributeName": "expires", "Enabled": true });
    assert_eq!(table["TimeToLiveSpecification"], expires);
}

#[test]
fn the_rule_is_about_access_logs_under_the_prefix() {
    for (prefix, keys) in [("", "AWSLogs/*.log.gz"), ("prod", "prod/AWSLogs/*.log.gz")] {
        let rule = deployed(&[("LogPrefix", prefix)]).resource("Rule");
        assert_eq!(
            rule["EventPattern"],
            json!({
                "source": ["aws.s3"],
                "detail-type": ["Object Created"],
                "detail": {
                    "bucket": { "name": ["example-alb-logs"] },
                    "object": { "key": [{ "wildcard": keys }] },
                },
            })
        );
        assert_eq!(rule["Targets"][0]["DeadLetterConfig"]["Arn"], "<FailureQueue.Arn>");
    }
}

#[test]
fn load_balancers_of_this_account_may_write_to_the_new_bucket() {
    let stack = deployed(&[("TriggerMode", "new-bucket"), ("LogPrefix", "prod")]);
    let bucket = stack.resource("Bucket");
    assert_eq!(bucket["BucketName"], "example-alb-logs");
    let switch = json!({ "EventBridgeConfiguration": { "EventBridgeEnabled": true } });
    assert_eq!(bucket["NotificationConfiguration"], switch);
    let statement = &stack.resource("BucketPolicy")["PolicyDocument"]["Statement"][0];
    let service = json!({ "Service": "logdelivery.elasticloadbalancing.amazonaws.com" });
    assert_eq!(statement["Principal"], service);
    assert_eq!(statement["Resource"], "arn:aws:s3:::example-alb-logs/prod/AWSLogs/123456789012/*");
    assert_eq!(
        statement["Condition"]["ArnLike"]["aws:SourceArn"],
        "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/*"
    );
    // Deleting the stack keeps the logs.
    for name in ["Bucket", "BucketPolicy"] {
        let policy = &stack.template["Resources"][name]["DeletionPolicy"];
        assert_eq!(policy, "RetainExceptOnCreate");
    }
}

#[test]
fn a_queue_hides_an_event_for_six_timeouts_and_parks_what_fails() {
    let timeouts = template()["Parameters"]["Timeout"]["AllowedValues"].clone();
    for timeout in timeouts.as_array().unwrap() {
        let stack = deployed(&[("TriggerMode", "queue"), ("Timeout", &timeout.to_string())]);
        let queue = stack.resource("EventQueue");
        assert_eq!(queue["VisibilityTimeout"].as_u64(), timeout.as_u64().map(|it| 6 * it));
        let parked = json!({ "deadLetterTargetArn": "<FailureQueue.Arn>", "maxReceiveCount": 5 });
        assert_eq!(queue["RedrivePolicy"], parked);
    }
    let mapping = deployed(&[("TriggerMode", "queue")]).resource("EventQueueMapping");
    assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    assert_eq!(mapping["ScalingConfig"], Value::Null);
}

#[test]
fn every_alarm_may_speak_and_does() {
    let stack = deployed(&[]);
    let of_kind = |kind: &str| {
        let resources = stack.template["Resources"].as_object().unwrap();
        let found = resources.iter().filter(|(_, it)| it["Type"] == kind);
        found.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let alarms = of_kind("AWS::CloudWatch::Alarm");
    let policy = stack.resource("TopicPolicy");
    let may = &policy["PolicyDocument"]["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"];
    let mut allowed: Vec<String> = serde_json::from_value(may.clone()).unwrap();
    allowed.sort();
    let arns: Vec<String> = alarms.iter().map(|name| format!("<{name}.Arn>")).collect();
    assert_eq!(allowed, arns);
    for (alarm, namespace, metric, dimension) in [
        ("ErrorAlarm", "AWS/Lambda", "Errors", ("FunctionName", "<Function>")),
        (
            "FailureAlarm",
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            ("QueueName", "<FailureQueue.QueueName>"),
        ),
        ("LagAlarm", "alb502", "Lag", ("Function", "<Function>")),
    ] {
        let alarm = stack.resource(alarm);
        assert_eq!(alarm["AlarmActions"], json!(["<Topic>"]));
        assert_eq!(
            (&alarm["Namespace"], &alarm["MetricName"]),
            (&json!(namespace), &json!(metric))
        );
        let dimensions = json!([{ "Name": dimension.0, "Value": dimension.1 }]);
        assert_eq!(alarm["Dimensions"], dimensions);
        let seconds =
            alarm["Period"].as_u64().unwrap() * alarm["EvaluationPeriods"].as_u64().unwrap();
        assert!(seconds <= 86_400, "CloudWatch looks back a day");
    }
}

#[test]
fn the_dashboard_shows_every_metric_once() {
    let stack = deployed(&[("Dashboard", "true")]);
    let dashboard = stack.resource("MetricsDashboard");
    let body: Value = serde_json::from_str(dashboard["DashboardBody"].as_str().unwrap()).unwrap();
    let mut metrics = BTreeSet::new();
    let mut places = BTreeSet::new();
    for widget in body["widgets"].as_array().unwrap() {
        let place = (widget["x"].as_u64().unwrap(), widget["y"].as_u64().unwrap());
        assert!(places.insert(place) && place.0 + widget["width"].as_u64().unwrap() <= 24);
        assert_eq!(widget["properties"]["region"], "eu-west-1");
        for metric in widget["properties"]["metrics"].as_array().unwrap() {
            match metric[0].as_str() {
                Some("alb502") => {
                    assert_eq!(
                        (&metric[2], &metric[3]),
                        (&json!("Function"), &json!("<Function>"))
                    );
                    metrics.insert(metric[1].as_str().unwrap().to_owned());
                }
                Some(_) => drop(metrics.insert(metric[1].as_str().unwrap().to_owned())),
                None => assert_eq!(
                    metric[0]["expression"],
                    "SEARCH('{alb502,Function,Cause} MetricName=\"FailuresByCause\" \
                     Function=\"<Function>\"', 'Sum', 300)"
                ),
            }
        }
    }
    let expected = [
        "ApproximateNumberOfMessagesVisible",
        "Duration",
        "Errors",
        "Failures",
        "Invocations",
        "Lag",
        "MalformedRows",
        "Messages",
        "Objects",
        "Requests",
        "Rows",
        "Throttles",
    ];
    assert_eq!(metrics.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn the_saved_queries_are_about_lines_that_are_written() {
    let stack = deployed(&[("Dashboard", "true")]);
    let handler =
        ["mod", "reading", "telling"].map(|it| read(&format!("src/handler/{it}.rs"))).concat();
    let readme = read("README.md");
    let mut names = BTreeSet::new();
    for (name, resource) in stack.template["Resources"].as_object().unwrap() {
        if resource["Type"] != "AWS::Logs::QueryDefinition" {
            continue;
        }
        let query = stack.resource(name);
        assert_eq!(query["LogGroupNames"], json!(["<LogGroup>"]));
        let name = query["Name"].as_str().unwrap().strip_prefix("alb502/").unwrap();
        names.insert(format!("`{name}`"));
        let text = query["QueryString"].as_str().unwrap();
        assert!(readme.contains(&format!("```text\n{text}\n```")), "the README has not:\n{text}");
        for message in text.split('"').skip(1).step_by(2) {
            assert!(handler.contains(&format!("\"{message}\"")), "nothing logs {message:?}");
        }
    }
    let told: BTreeSet<String> = table("| query |")
        .iter()
        .map(|row| row.split('|').nth(1).unwrap().trim().to_owned())
        .collect();
    assert_eq!(told, names);
}
