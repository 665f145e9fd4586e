//! Template and README grant exactly the actions of `alb502::aws::ACTIONS`, on the narrowest resource.

use std::collections::{BTreeMap, BTreeSet};

use alb502::aws::{ACTIONS, Action, Resource};
use serde_json::{Value, json};

use crate::{
    template::template,
    tidy::{assert_same, read, table},
};

/// Actions by the resource that they are granted on.
type Grants = BTreeMap<String, BTreeSet<String>>;

fn grants(policy: &Value) -> Grants {
    assert_eq!(policy["Version"], "2012-10-17");
    let mut grants = Grants::new();
    for statement in policy["Statement"].as_array().unwrap() {
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
                .entry(statement["Resource"].to_string())
                .or_default()
                .insert(action.as_str().unwrap().to_owned());
            assert!(new, "{action} is granted twice");
        }
    }
    grants
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

fn of_a_person() -> impl Iterator<Item = &'static Action> {
    ACTIONS.iter().filter(|action| action.resource.is_for_a_person())
}

#[test]
fn the_template_grants_exactly_the_actions() {
    let template = template();
    let role = &template["Resources"]["Role"]["Properties"];
    assert_eq!(role["ManagedPolicyArns"], Value::Null);
    assert_eq!(template["Resources"]["Function"]["Properties"]["Policies"], Value::Null);
    let policies = role["Policies"].as_array().unwrap();
    let names: Vec<&Value> = policies.iter().map(|policy| &policy["PolicyName"]).collect();
    assert_eq!(names, ["alb502", "lambda"]);
    let expected = needed(ACTIONS, |resource| match resource {
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
    });
    assert_eq!(grants(&policies[0]["PolicyDocument"]), expected);
    // Log and queue are what Lambda itself does with the role.
    let group = json!({ "Fn::GetAtt": "LogGroup.Arn" }).to_string();
    let queue = json!({ "Fn::GetAtt": "FailureQueue.Arn" }).to_string();
    assert_eq!(
        grants(&policies[1]["PolicyDocument"]),
        Grants::from([
            (group, ["logs:CreateLogStream", "logs:PutLogEvents"].map(String::from).into()),
            (queue, ["sqs:SendMessage"].map(String::from).into()),
        ])
    );
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
    })
}

#[test]
fn the_policies_of_the_readme_grant_exactly_the_actions() {
    assert_eq!(grants(&policy("person")), needed(of_a_person(), in_the_readme));
    let mut function = needed(ACTIONS, in_the_readme);
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
    };
    format!("| `{}` | {on} | {} |", action.name, action.reason)
}

#[test]
fn the_permission_tables_of_the_readme_are_true() {
    let function: Vec<String> = ACTIONS.iter().map(row).collect();
    let person: Vec<String> = of_a_person().map(row).collect();
    assert_same("actions of the function", &table("| action of the function |"), &function);
    assert_same("actions of a person", &table("| action of a person |"), &person);
}
