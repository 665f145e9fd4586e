//! ELBv2, EC2 and CloudWatch behind the SDK's HTTP connector: what no emulator shows (throttling, AccessDenied of
//! one action, odd health states, silence), and who waited for whom.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
        orchestrator::{HttpRequest, HttpResponse},
    },
    http::StatusCode,
};
use aws_smithy_types::{DateTime, body::SdkBody};
use serde_json::{Value, json};

use super::super::clients::Clients;

/// What an action answers.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// These pages, chosen by the token of the request: none is the first, `2` the second.
    Pages(Vec<String>),
    /// An error: status, code, message.
    Error(u16, &'static str, &'static str),
    /// An error so many times, then these pages.
    ErrorFirst(u32, u16, &'static str, Vec<String>),
    /// No answer, ever.
    Silence,
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) action: String,
    /// Decoded parameters.
    pub(super) parameters: BTreeMap<String, String>,
    /// 1 for a request that waited for no other, else one more than the latest that had ended before.
    pub(super) round: u32,
}

/// The parameter that is not AWS's: who asked.
pub(super) const ACCESS_KEY: &str = "access key";

#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    asked: Vec<Asked>,
    latest_round_ended: u32,
}

/// A connector that answers from a table.
#[derive(Clone)]
pub(super) struct FakeAws {
    state: Arc<Mutex<State>>,
    latency: Duration,
}

impl fmt::Debug for FakeAws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeAws")
    }
}

impl FakeAws {
    /// Each answer takes `latency`: long enough that what can run at the same time does.
    pub(super) fn new(latency: Duration) -> Self {
        Self { state: Arc::default(), latency }
    }

    pub(super) fn answer(&self, action: &str, answer: Answer) {
        self.state.lock().unwrap().answers.insert(action.to_owned(), answer);
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// Clients as in production, over this connector.
    pub(super) async fn clients(&self) -> Clients {
        let connector = SharedHttpConnector::new(self.clone());
        let client = http_client_fn(move |_, _| connector.clone());
        let credentials =
            aws_sdk_sns::config::Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
        Clients::with(
            aws_config::defaults(aws_config::BehaviorVersion::v2026_01_12())
                .http_client(client)
                .credentials_provider(credentials)
                .region(aws_config::Region::new("eu-west-1")),
        )
        .await
    }

    fn begin(&self, action: &str, parameters: BTreeMap<String, String>) -> (u32, Option<Answer>) {
        let mut state = self.state.lock().unwrap();
        let round = state.latest_round_ended + 1;
        state.asked.push(Asked { action: action.to_owned(), parameters, round });
        let answer = state.answers.get_mut(action).map(|answer| match answer {
            Answer::ErrorFirst(0, _, _, pages) => Answer::Pages(pages.clone()),
            Answer::ErrorFirst(left, status, code, _) => {
                *left -= 1;
                Answer::Error(*status, code, "not now")
            }
            other => other.clone(),
        });
        (round, answer)
    }

    fn end(&self, round: u32) {
        let mut state = self.state.lock().unwrap();
        state.latest_round_ended = state.latest_round_ended.max(round);
    }
}

impl HttpConnector for FakeAws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
        let mut parameters: BTreeMap<String, String> = body
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| {
                let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
                (name.to_owned(), value.into_owned())
            })
            .collect();
        let signed = request.headers().get("authorization").unwrap_or_default();
        let key = signed.split("Credential=").nth(1).and_then(|rest| rest.split('/').next());
        let key = key.unwrap_or_default().to_owned();
        if let Some((_, action)) = request.uri().split_once("/operation/") {
            let body = request.body().bytes().unwrap_or_default();
            return self.call_cbor(action.to_owned(), body, key);
        }
        parameters.insert(ACCESS_KEY.to_owned(), key);
        let action = parameters.get("Action").cloned().unwrap_or_default();
        let is_ec2 = request.uri().contains("ec2");
        let page = ["Marker", "NextToken"]
            .iter()
            .find_map(|token| parameters.get(*token)?.parse::<usize>().ok())
            .unwrap_or(1);
        let (fake, latency) = (self.clone(), self.latency);
        HttpConnectorFuture::new(async move {
            let (round, answer) = fake.begin(&action, parameters);
            tokio::time::sleep(latency).await;
            let (status, body) = match answer {
                Some(Answer::Pages(pages)) => {
                    let page = &pages[page - 1];
                    let body = if is_ec2 {
                        format!("<{action}Response>{page}</{action}Response>")
                    } else {
                        format!(
                            "<{action}Response><{action}Result>{page}</{action}Result></{action}Response>"
                        )
                    };
                    (200, body)
                }
                Some(Answer::Error(status, code, message)) => {
                    let error = format!("<Code>{code}</Code><Message>{message}</Message>");
                    let body = if is_ec2 {
                        format!("<Response><Errors><Error>{error}</Error></Errors></Response>")
                    } else {
                        format!("<ErrorResponse><Error>{error}</Error></ErrorResponse>")
                    };
                    (status, body)
                }
                Some(Answer::Silence) => std::future::pending().await,
                _ => (500, format!("no answer was prepared for {action}")),
            };
            fake.end(round);
            Ok(HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body)))
        })
    }
}

/// CloudWatch speaks CBOR: pages are written as JSON and put into that form.
impl FakeAws {
    fn call_cbor(&self, action: String, body: &[u8], key: String) -> HttpConnectorFuture {
        // Texts stand in CBOR as they are: enough to see what was asked for.
        let asked = String::from_utf8_lossy(body).into_owned();
        let page = if asked.contains("NextTokena2") { 2 } else { 1 };
        let parameters = BTreeMap::from([("body".to_owned(), asked), (ACCESS_KEY.to_owned(), key)]);
        let (fake, latency) = (self.clone(), self.latency);
        HttpConnectorFuture::new(async move {
            let (round, answer) = fake.begin(&action, parameters);
            tokio::time::sleep(latency).await;
            let (status, body) = match answer {
                Some(Answer::Pages(pages)) => (200, pages[page - 1].clone()),
                Some(Answer::Error(status, code, message)) => {
                    let kind = format!("com.amazonaws.cloudwatch#{code}");
                    (status, json!({"__type": kind, "message": message}).to_string())
                }
                Some(Answer::Silence) => std::future::pending().await,
                _ => panic!("no answer was prepared for {action}"),
            };
            fake.end(round);
            let mut encoder = aws_smithy_cbor::Encoder::new(Vec::new());
            encode(&mut encoder, &serde_json::from_str(&body).unwrap());
            let body = SdkBody::from(encoder.into_writer());
            let mut response = HttpResponse::new(StatusCode::try_from(status).unwrap(), body);
            response.headers_mut().insert("smithy-protocol", "rpc-v2-cbor");
            Ok(response)
        })
    }
}

fn encode(encoder: &mut aws_smithy_cbor::Encoder, value: &Value) {
    match value {
        Value::Object(fields) => {
            encoder.map(fields.len());
            for (name, value) in fields {
                encoder.str(name);
                encode(encoder, value);
            }
        }
        Value::Array(items) => {
            encoder.array(items.len());
            for item in items {
                encode(encoder, item);
            }
        }
        Value::Number(number) => {
            encoder.double(number.as_f64().unwrap());
        }
        Value::String(text) => {
            match text.parse::<jiff::Timestamp>() {
                Ok(time) => encoder.timestamp(&DateTime::from_secs(time.as_second())),
                Err(_) => encoder.str(text),
            };
        }
        other => panic!("{other} is not used here"),
    }
}
