//! The template, and what stands beside it in Cargo.toml, agree with the code.

use std::collections::BTreeSet;

use alb502::config::{SETTINGS, Setting};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value, json};

use crate::tidy::{read, table};

/// The template as JSON, with the long form of every function: `!Sub x` is `{"Fn::Sub": "x"}`.
pub(crate) fn template() -> Value {
    let text = read("template.yaml");
    let documents = Yaml::load_from_str(&text).unwrap();
    assert_eq!(documents.len(), 1);
    long_form(&documents[0])
}

fn long_form(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(it)) => json!(it),
        Yaml::Value(Scalar::Integer(it)) => json!(it),
        Yaml::Value(Scalar::FloatingPoint(it)) => json!(it.into_inner()),
        Yaml::Value(Scalar::String(it)) => json!(it),
        Yaml::Sequence(items) => items.iter().map(long_form).collect(),
        Yaml::Mapping(entries) => entries
            .iter()
            .map(|(key, value)| (long_form(key).as_str().unwrap().to_owned(), long_form(value)))
            .collect::<Map<_, _>>()
            .into(),
        Yaml::Tagged(tag, value) => {
            let function = match tag.suffix.as_str() {
                name @ ("Ref" | "Condition") => name.to_owned(),
                name => format!("Fn::{name}"),
            };
            json!({ function: long_form(value) })
        }
        Yaml::Representation(..) | Yaml::Alias(_) | Yaml::BadValue => panic!("{node:?}"),
    }
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn function(template: &Value) -> &Value {
    &template["Resources"]["Function"]["Properties"]
}

#[test]
fn every_setting_is_a_parameter_of_the_template() {
    let template = template();
    for setting in SETTINGS {
        let name = setting.parameter();
        let parameter = &template["Parameters"][&name];
        assert!(parameter.is_object(), "the template has no parameter {name}");
        let default = match &parameter["Default"] {
            Value::String(default) => default.clone(),
            default => default.to_string(),
        };
        assert_eq!(default, setting.default, "{name}");
        assert_eq!(parameter["Description"], setting.meaning, "{name}");
        // "a number from 2 to 1000" or "true or false".
        if let Some((_, range)) = setting.allowed.split_once(" from ") {
            let (from, to) = range.split_once(" to ").unwrap();
            assert_eq!(parameter["Type"], "Number", "{name}");
            assert_eq!(parameter["MinValue"].to_string(), from, "{name}");
            assert_eq!(parameter["MaxValue"].to_string(), to, "{name}");
        } else {
            let allowed: Vec<&str> = setting.allowed.split(" or ").collect();
            assert_eq!(parameter["Type"], "String", "{name}");
            assert_eq!(parameter["AllowedValues"], json!(allowed), "{name}");
        }
    }
}

#[test]
fn the_readme_names_every_other_parameter_with_its_default() {
    let template = template();
    let settings: Vec<String> = SETTINGS.iter().map(Setting::parameter).collect();
    let rows: BTreeSet<String> = table("| parameter |")
        .iter()
        .map(|row| row.rsplitn(3, '|').last().unwrap().trim_end().to_owned())
        .collect();
    let mut expected = BTreeSet::new();
    for (name, parameter) in template["Parameters"].as_object().unwrap() {
        if !settings.contains(name) {
            let default = match &parameter["Default"] {
                Value::Null => String::new(),
                Value::String(default) if default.is_empty() => " empty".to_owned(),
                Value::String(default) => format!(" {default}"),
                default => format!(" {default}"),
            };
            expected.insert(format!("| `{name}` |{default}"));
        }
    }
    assert_eq!(rows, expected);
}

#[test]
fn the_environment_is_what_the_stack_made_and_the_settings_and_nothing_else() {
    let mut expected: Map<String, Value> = SETTINGS
        .iter()
        .map(|setting| (setting.variable.to_owned(), json!({ "Ref": setting.parameter() })))
        .collect();
    for (variable, made) in [
        ("ALB502_TOPIC_ARN", "Topic"),
        ("ALB502_TABLE", "Table"),
        ("ALB502_FACTS_ROLE_NAME", "FactsRoleName"),
    ] {
        expected.insert(variable.to_owned(), json!({ "Ref": made }));
    }
    assert_eq!(function(&template())["Environment"], json!({ "Variables": expected }));
}

#[test]
fn every_parameter_has_a_place_and_a_label_in_the_console() {
    let template = template();
    let interface = &template["Metadata"]["AWS::CloudFormation::Interface"];
    let grouped: Vec<&str> = interface["ParameterGroups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["Parameters"].as_array().unwrap())
        .map(|name| name.as_str().unwrap())
        .collect();
    let parameters = keys(&template["Parameters"]);
    assert_eq!(grouped.iter().copied().collect::<BTreeSet<_>>(), parameters);
    assert_eq!(grouped.len(), parameters.len(), "a parameter stands in two groups");
    assert_eq!(keys(&interface["ParameterLabels"]), parameters);
}

#[test]
fn what_fails_three_times_is_kept_and_told() {
    let template = template();
    let asynchronous = &function(&template)["EventInvokeConfig"];
    assert_eq!(asynchronous["MaximumRetryAttempts"], 2);
    assert_eq!(
        asynchronous["DestinationConfig"]["OnFailure"],
        json!({ "Type": "SQS", "Destination": { "Fn::GetAtt": "FailureQueue.Arn" } })
    );
    let alarm = &template["Resources"]["FailureAlarm"]["Properties"];
    assert_eq!(alarm["Dimensions"][0]["Value"], json!({ "Fn::GetAtt": "FailureQueue.QueueName" }));
    assert_eq!(alarm["AlarmActions"], json!([{ "Ref": "Topic" }]));
}

/// The value of a key in a section of Cargo.toml, as it stands.
fn manifest(section: &str, key: &str) -> String {
    let text = read("Cargo.toml");
    let line = text
        .lines()
        .skip_while(|line| *line != section)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
    line.unwrap_or_else(|| panic!("no {key} in {section}")).to_owned()
}

#[test]
fn cargo_lambda_deploys_what_the_template_does() {
    let template = template();
    let deploy = "[package.metadata.lambda.deploy]";
    for (key, parameter) in [("memory", "MemorySize"), ("timeout", "Timeout")] {
        assert_eq!(manifest(deploy, key), template["Parameters"][parameter]["Default"].to_string());
    }
    let binary = &template["Resources"]["Function"]["Metadata"]["BuildProperties"]["Binary"];
    assert_eq!(manifest(deploy, "binary_name"), binary.to_string());
}

#[test]
fn the_function_is_built_with_its_feature_and_survives_a_panic() {
    let build = "[package.metadata.lambda.build]";
    assert_eq!(manifest(build, "features"), r#"["lambda"]"#);
    assert_eq!(manifest(build, "no_default_features"), "true");
    assert_eq!(manifest("[profile.release]", "panic"), r#""unwind""#);
}
