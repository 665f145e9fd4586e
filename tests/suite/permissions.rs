//! Template and README grant exactly the actions of `alb502::aws::ACTIONS`, on the narrowest resource.

use std::collections::{BTreeMap, BTreeSet};

use alb502::aws::{ACTIONS, Action, Resource};
use serde_json::{Value, json};

use crate::{
    template::template,
    tidy::{assert_same, read, table},
};

/// Actions by the resource that they are granted on. One that a condition of the template decides on has
/// its name in front: `HasVpc? "*"`.
type Grants = BTreeMap<String, BTreeSet<String>>;

fn grants(policy: &Value) -> Grants {
    assert_eq!(policy["Version"], "2012-10-17");
    let mut grants = Grants::new();
    for statement in policy["Statement"].as_array().unwrap() {
        let (condition, statement) = optional(statement);
        let keys: Vec<&String> = statement.as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 4, "{keys:?}: Sid, Effect, Action and Resource");
        assert!(statement["Sid"].is_string());
        assert_eq!(statement["Effect"], "Allow");
        let actions = match &statement["Action"] {
            Value::Array(actions) => actions.clone(),
            action => vec![action.clone()],
        };
        for action in actions {
            let new = grants
                .entry(condition.clone() + &statement["Resource"].to_string())
                .or_default()
                .insert(action.as_str().unwrap().to_owned());
            assert!(new, "{action} is granted twice");
        }
    }
    grants
}

/// What stands behind `!If [Condition, it, !Ref AWS::NoValue]`, and `Condition? `; or itself, and nothing.
fn optional(value: &Value) -> (String, &Value) {
    match &value["Fn::If"] {
        Value::Array(parts) => {
            assert_eq!(parts[2], json!({ "Ref": "AWS::NoValue" }));
            (format!("{}? ", parts[0].as_str().unwrap()), &parts[1])
        }
        _ => (String::new(), value),
    }
}

fn needed<'a>(
    actions: impl IntoIterator<Item = &'a Action>,
    resource: impl Fn(Resource) -> Value,
) -> Grants {
    let mut needed = Grants::new();
    for action in actions {
        let resource = resource(action.resource).to_string();
        needed.entry(resource).or_default().insert(action.name.to_owned());
    }
    needed
}

fn of_the_function() -> impl Iterator<Item = &'static Action> {
    ACTIONS.iter().filter(|action| action.resource.is_for_the_function())
}

fn of_whoever_attaches() -> impl Iterator<Item = &'static Action> {
    ACTIONS.iter().filter(|action| action.resource == Resource::LogBucket)
}

fn of_a_person() -> impl Iterator<Item = &'static Action> {
    ACTIONS.iter().filter(|action| action.is_for_a_person())
}

#[test]
fn the_template_grants_exactly_the_actions() {
    let template = template();
    let role = &template["Resources"]["Role"]["Properties"];
    assert_eq!(role["ManagedPolicyArns"], Value::Null);
    assert_eq!(template["Resources"]["Function"]["Properties"]["Policies"], Value::Null);
    let mut policies = role["Policies"].as_array().unwrap().iter().map(optional);
    let mut named = |expected: &str| {
        let (condition, policy) = policies.next().unwrap();
        assert_eq!(condition.clone() + policy["PolicyName"].as_str().unwrap(), expected);
        &policy["PolicyDocument"]
    };
    let mut expected = needed(
        of_the_function().filter(|action| action.resource != Resource::FactsRole),
        |resource| match resource {
            Resource::Any => json!("*"),
            Resource::PrefixLists => {
                json!({ "Fn::Sub": "arn:${AWS::Partition}:ec2:${AWS::Region}:*:prefix-list/*" })
            }
            Resource::LogObjects => json!({ "Fn::If": [
                "HasLogPrefix",
                { "Fn::Sub": "arn:${AWS::Partition}:s3:::${LogBucket}/${LogPrefix}/AWSLogs/*" },
                { "Fn::Sub": "arn:${AWS::Partition}:s3:::${LogBucket}/AWSLogs/*" },
            ] }),
            Resource::Topic => json!({ "Ref": "Topic" }),
            Resource::Table => json!({ "Fn::GetAtt": "Table.Arn" }),
            Resource::FactsRole | Resource::LogBucket | Resource::LogBucketList => {
                unreachable!("{resource:?}")
            }
        },
    );
    let roles = json!({ "Fn::Sub": "arn:${AWS::Partition}:iam::*:role/${FactsRoleName}" });
    expected.insert(format!("HasFactsRole? {roles}"), ["sts:AssumeRole".to_owned()].into());
    assert_eq!(grants(named("alb502")), expected);
    // What Lambda itself does with the role.
    let of = |resource: &str| json!({ "Fn::GetAtt": resource }).to_string();
    let granted = |actions: &[&str]| actions.iter().map(|it| (*it).to_owned()).collect();
    assert_eq!(
        grants(named("lambda")),
        Grants::from([
            (of("LogGroup.Arn"), granted(&["logs:CreateLogStream", "logs:PutLogEvents"])),
            (of("FailureQueue.Arn"), granted(&["sqs:SendMessage"])),
            (
                "IsQueue? ".to_owned() + &of("EventQueue.Arn"),
                granted(&["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"])
            ),
            (
                r#"HasVpc? "*""#.to_owned(),
                granted(&[
                    "ec2:AssignPrivateIpAddresses",
                    "ec2:CreateNetworkInterface",
                    "ec2:DeleteNetworkInterface",
                    "ec2:DescribeNetworkInterfaces",
                    "ec2:DescribeSubnets",
                    "ec2:UnassignPrivateIpAddresses",
                ])
            ),
        ])
    );
    // Keys, each through its service only.
    for (name, parameter, service, actions) in [
        ("HasLogBucketKey? log-bucket-key", "LogBucketKeyArn", "s3", &["kms:Decrypt"][..]),
        ("HasTopicKey? topic-key", "TopicKeyArn", "sns", &["kms:GenerateDataKey", "kms:Decrypt"]),
        (
            "HasTableKey? table-key",
            "TableKeyArn",
            "dynamodb",
            &[
                "kms:Encrypt",
                "kms:Decrypt",
                "kms:ReEncryptFrom",
                "kms:ReEncryptTo",
                "kms:GenerateDataKey",
                "kms:DescribeKey",
            ],
        ),
        ("HasQueueKey? queue-key", "QueueKeyArn", "sqs", &["kms:GenerateDataKey", "kms:Decrypt"]),
    ] {
        let mut policy = named(name).clone();
        let via = json!({ "Fn::Sub": format!("{service}.${{AWS::Region}}.${{AWS::URLSuffix}}") });
        let condition = policy["Statement"][0].as_object_mut().unwrap().remove("Condition");
        assert_eq!(condition, Some(json!({ "StringEquals": { "kms:ViaService": via } })));
        let key = json!({ "Ref": parameter }).to_string();
        assert_eq!(grants(&policy), Grants::from([(key, granted(actions))]));
    }
    assert_eq!(policies.next(), None);
}

/// The JSON block of the README after the line `<!-- policy:name -->`.
fn policy(name: &str) -> Value {
    let readme = read("README.md");
    let marker = format!("<!-- policy:{name} -->\n```json\n");
    let (_, rest) = readme.split_once(&marker).unwrap_or_else(|| panic!("no policy {name}"));
    serde_json::from_str(rest.split("\n```").next().unwrap()).unwrap()
}

fn in_the_readme(resource: Resource) -> Value {
    json!(match resource {
        Resource::Any => "*",
        Resource::PrefixLists => "arn:aws:ec2:<REGION>:*:prefix-list/*",
        Resource::LogObjects => "arn:aws:s3:::<BUCKET>/<PREFIX>/AWSLogs/*",
        Resource::Topic => "arn:aws:sns:<REGION>:<ACCOUNT>:alb502",
        Resource::Table => "arn:aws:dynamodb:<REGION>:<ACCOUNT>:table/alb502",
        Resource::FactsRole => "arn:aws:iam::*:role/<FACTS ROLE>",
        Resource::LogBucket | Resource::LogBucketList => "arn:aws:s3:::<BUCKET>",
    })
}

#[test]
fn the_policies_of_the_readme_grant_exactly_the_actions() {
    assert_eq!(grants(&policy("person")), needed(of_a_person(), in_the_readme));
    assert_eq!(grants(&policy("attach")), needed(of_whoever_attaches(), in_the_readme));
    let mut function = needed(of_the_function(), in_the_readme);
    for (resource, action) in [
        ("arn:aws:logs:<REGION>:<ACCOUNT>:log-group:/aws/lambda/alb502:*", "logs:CreateLogStream"),
        ("arn:aws:logs:<REGION>:<ACCOUNT>:log-group:/aws/lambda/alb502:*", "logs:PutLogEvents"),
        ("arn:aws:sqs:<REGION>:<ACCOUNT>:alb502-failed-events", "sqs:SendMessage"),
    ] {
        function.entry(json!(resource).to_string()).or_default().insert(action.to_owned());
    }
    assert_eq!(grants(&policy("function")), function);
}

fn row(action: &Action) -> String {
    let on = match action.resource {
        Resource::Any => "`*`",
        Resource::PrefixLists => "prefix lists",
        Resource::LogObjects => "the objects under the prefix",
        Resource::Topic => "the topic",
        Resource::Table => "the table",
        Resource::FactsRole => "the role, in any account",
        Resource::LogBucket | Resource::LogBucketList => "the bucket",
    };
    format!("| `{}` | {on} | {} |", action.name, action.reason)
}

#[test]
fn the_permission_tables_of_the_readme_are_true() {
    let function: Vec<String> = of_the_function().map(row).collect();
    let attach: Vec<String> = of_whoever_attaches().map(row).collect();
    let person: Vec<String> = of_a_person().map(row).collect();
    assert_same("actions of the function", &table("| action of the function |"), &function);
    assert_same("actions of whoever attaches", &table("| action of whoever attaches |"), &attach);
    assert_same("actions of a person", &table("| action of a person |"), &person);
}
