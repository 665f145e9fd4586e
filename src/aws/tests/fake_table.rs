//! A table behind the SDK's HTTP connector, with the trouble that no emulator makes on demand.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex},
};

use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

use super::super::clients::Clients;

/// What happens to one call of an action instead of its answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trouble {
    /// An error: status, code, message.
    Error(u16, &'static str, &'static str),
    /// It is done, and the answer is lost.
    LostAnswer,
    /// Only so many of a batch are taken.
    Taken(usize),
    /// No answer, ever.
    Silence,
}

#[derive(Default)]
struct State {
    items: BTreeMap<(String, String), Value>,
    troubles: BTreeMap<&'static str, VecDeque<Trouble>>,
    always: BTreeMap<&'static str, Trouble>,
    asked: Vec<(String, Value)>,
}

/// A table called `ledger`. Query answers in pages of two items.
#[derive(Clone, Default)]
pub(super) struct FakeTable(Arc<Mutex<State>>);

impl fmt::Debug for FakeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeTable")
    }
}

const TABLE: &str = "ledger";
const PAGE: usize = 2;

fn text(item: &Value, name: &str) -> String {
    item[name]["S"].as_str().unwrap().to_owned()
}

fn key(item: &Value) -> (String, String) {
    (text(item, "pk"), text(item, "sk"))
}

impl FakeTable {
    /// The next calls of an action have these troubles, one each.
    pub(super) fn troubles(&self, action: &'static str, troubles: &[Trouble]) {
        self.0.lock().unwrap().troubles.insert(action, troubles.iter().copied().collect());
    }

    /// Every call of an action has this trouble.
    pub(super) fn always(&self, action: &'static str, trouble: Trouble) {
        self.0.lock().unwrap().always.insert(action, trouble);
    }

    /// The calls so far: actions and what was asked.
    pub(super) fn asked(&self) -> Vec<(String, Value)> {
        self.0.lock().unwrap().asked.clone()
    }

    /// Changes each item whose partition begins so.
    pub(super) fn change(&self, pk: &str, change: impl Fn(&mut Value)) {
        for (_, item) in self.0.lock().unwrap().items.iter_mut().filter(|it| it.0.0.starts_with(pk))
        {
            change(item);
        }
    }

    pub(super) fn items(&self) -> Vec<Value> {
        self.0.lock().unwrap().items.values().cloned().collect()
    }

    pub(super) fn remove(&self, pk: &str) {
        self.0.lock().unwrap().items.retain(|key, _| !key.0.starts_with(pk));
    }

    /// Clients as in production, over this connector.
    pub(super) async fn clients(&self) -> Clients {
        let connector = SharedHttpConnector::new(self.clone());
        let client = http_client_fn(move |_, _| connector.clone());
        let credentials =
            aws_sdk_dynamodb::config::Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
        Clients::with(
            aws_config::defaults(aws_config::BehaviorVersion::v2026_01_12())
                .http_client(client)
                .credentials_provider(credentials)
                .region(aws_config::Region::new("eu-west-1")),
        )
        .await
    }
}

impl State {
    fn trouble(&mut self, action: &str) -> Option<Trouble> {
        let next = self.troubles.get_mut(action).and_then(VecDeque::pop_front);
        next.or_else(|| self.always.get(action).copied())
    }

    fn answer(&mut self, action: &str, asked: &Value, taken: usize) -> (u16, Value) {
        match action {
            "PutItem" => self.put(asked),
            "Query" => self.query(asked),
            "BatchWriteItem" => {
                let requests = asked["RequestItems"][TABLE].as_array().unwrap();
                assert!((1..=25).contains(&requests.len()));
                for request in requests.iter().take(taken) {
                    let item = &request["PutRequest"]["Item"];
                    self.items.insert(key(item), item.clone());
                }
                (200, json!({"UnprocessedItems": left(requests, taken, |left| json!(left))}))
            }
            "BatchGetItem" => {
                assert_eq!(asked["RequestItems"][TABLE]["ConsistentRead"], true);
                let keys = asked["RequestItems"][TABLE]["Keys"].as_array().unwrap();
                assert!((1..=100).contains(&keys.len()));
                let found: Vec<&Value> =
                    keys.iter().take(taken).filter_map(|it| self.items.get(&key(it))).collect();
                let left = left(keys, taken, |left| json!({"Keys": left}));
                (200, json!({"Responses": {TABLE: found}, "UnprocessedKeys": left}))
            }
            other => panic!("{other} is not used"),
        }
    }

    /// Knows the conditions that are used.
    fn put(&mut self, asked: &Value) -> (u16, Value) {
        let item = &asked["Item"];
        let old = self.items.get(&key(item));
        let values = &asked["ExpressionAttributeValues"];
        let is_true = match asked["ConditionExpression"].as_str().unwrap() {
            "attribute_not_exists(pk)" => old.is_none(),
            "attribute_not_exists(pk) OR #damaged = :true" => {
                old.is_none_or(|old| old["damaged"] == values[":true"])
            }
            "attribute_not_exists(#version)" => old.is_none_or(|old| old["version"].is_null()),
            "#version = :before" => old.is_some_and(|old| old["version"] == values[":before"]),
            other => panic!("condition {other}"),
        };
        if is_true {
            self.items.insert(key(item), item.clone());
            return (200, json!({}));
        }
        let mut error = json!({"__type": "x#ConditionalCheckFailedException"});
        if asked["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD" {
            error["Item"] = old.cloned().unwrap_or_default();
        }
        (400, error)
    }

    fn query(&self, asked: &Value) -> (u16, Value) {
        assert_eq!(asked["ConsistentRead"], true);
        let values = &asked["ExpressionAttributeValues"];
        let pk = text(values, ":pk");
        let has_range = asked["KeyConditionExpression"] != "pk = :pk";
        let range = has_range.then(|| text(values, ":first")..=text(values, ":last"));
        assert!(range.as_ref().is_none_or(|it| it.start() <= it.end()));
        let before =
            asked["ExclusiveStartKey"].as_object().map(|_| key(&asked["ExclusiveStartKey"]));
        let page: Vec<&Value> = (self.items.iter().rev())
            .filter(|(key, _)| key.0 == pk && range.as_ref().is_none_or(|it| it.contains(&key.1)))
            .filter(|(key, _)| before.as_ref().is_none_or(|before| *key < before))
            .map(|(_, item)| item)
            .take(PAGE)
            .collect();
        let mut answer = json!({"Items": page});
        if page.len() == PAGE {
            let (pk, sk) = key(page[PAGE - 1]);
            answer["LastEvaluatedKey"] = json!({"pk": {"S": pk}, "sk": {"S": sk}});
        }
        (200, answer)
    }
}

fn left(all: &[Value], taken: usize, form: impl Fn(&[Value]) -> Value) -> Value {
    match all.get(taken..) {
        None | Some([]) => json!({}),
        Some(left) => json!({TABLE: form(left)}),
    }
}

impl HttpConnector for FakeTable {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap();
        let action = target.split('.').nth(1).unwrap().to_owned();
        let asked: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
        let table = Arc::clone(&self.0);
        HttpConnectorFuture::new(async move {
            let (status, body) = {
                let mut state = table.lock().unwrap();
                state.asked.push((action.clone(), asked.clone()));
                match state.trouble(&action) {
                    Some(Trouble::Error(status, code, message)) => {
                        (status, json!({"__type": format!("x#{code}"), "message": message}))
                    }
                    Some(Trouble::LostAnswer) => {
                        state.answer(&action, &asked, usize::MAX);
                        (500, json!({"__type": "x#InternalServerError"}))
                    }
                    Some(Trouble::Taken(taken)) => state.answer(&action, &asked, taken),
                    Some(Trouble::Silence) => (0, Value::Null),
                    None => state.answer(&action, &asked, usize::MAX),
                }
            };
            if status == 0 {
                return std::future::pending().await;
            }
            let status = StatusCode::try_from(status).unwrap();
            Ok(HttpResponse::new(status, SdkBody::from(body.to_string())))
        })
    }
}
