//! The Lambda function: settings from the environment, then one event after another, the clients once.

use std::{
    cell::OnceCell,
    io::{self, Write as _},
    pin::Pin,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::{Value, json};
use tracing::Instrument as _;

use crate::{
    aws::{
        AwsConfiguration, Clients, Deadlines, DynamoLedger, FACTS_ROLE_NAME, FactsRoleName,
        FactsRoleNameError, S3LogStore, SnsNotifier, TABLE, TOPIC_ARN, TableName, TableNameError,
        TopicArn, TopicArnError,
    },
    config::{self, Config, SettingError, VariableError},
    handler::{self, HandlerError, Invocation, Ports, Summary},
    local::ledger::MemoryLedger,
    log,
    ports::Metrics,
};

/// What keeps the function from starting.
#[derive(Debug, thiserror::Error)]
enum Start {
    #[error("setting {0}")]
    Setting(#[from] SettingError),
    #[error("environment variable {0}")]
    Variable(#[from] VariableError),
    #[error("setting {0}")]
    Topic(#[from] TopicArnError),
    #[error("setting {0}")]
    FactsRole(#[from] FactsRoleNameError),
    #[error("setting {0}")]
    Table(#[from] TableNameError),
    #[error("{0} is not set: this binary runs in AWS Lambda. On a laptop, run `alb502 invoke`")]
    NotInLambda(&'static str),
    #[error("the runtime stopped: {0}")]
    Runtime(String),
}

/// What the Lambda service sets for the runtime; without them it cannot work.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
const RUNTIME_VARIABLES: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
];

/// Runs the function of this process until the runtime stops.
pub fn main() -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "a shell: the one place that reads the environment"
    )]
    let environment = |name: &str| std::env::var(name).ok();
    log::start(environment("AWS_LAMBDA_LOG_LEVEL").as_deref(), io::stdout);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(location = place, "panic: {}", panic.payload_as_str().unwrap_or("no text"));
    }));
    #[expect(clippy::disallowed_methods, reason = "a shell: the names of the environment")]
    let variables = std::env::vars_os().map(|(name, value)| {
        (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
    });
    match run(&environment, variables) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("alb502 did not start: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(
    environment: &dyn Fn(&str) -> Option<String>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<(), Start> {
    if let Some(missing) = RUNTIME_VARIABLES.into_iter().find(|name| environment(name).is_none()) {
        return Err(Start::NotInLambda(missing));
    }
    config::check_environment(variables, &[])?;
    let config = Config::from_lookup(environment)?;
    let topic = TopicArn::parse(environment(TOPIC_ARN).unwrap_or_default().trim())?;
    let facts_role = FactsRoleName::parse(environment(FACTS_ROLE_NAME).unwrap_or_default().trim())?;
    let table = TableName::parse(environment(TABLE).unwrap_or_default().trim())?;
    if table.is_none() {
        tracing::warn!("{TABLE} is not set: nothing is remembered, each event is judged by itself");
    }
    let settings = Settings { config, topic, table, facts_role };
    // One invocation at a time, and most functions have less than one processor: one thread.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Start::Runtime(error.to_string()))?;
    runtime
        .block_on(async {
            let clients = &OnceCell::new();
            let handler = service_fn(|event: LambdaEvent<Value>| {
                // At the level of an error, so that the filter never takes the request id away.
                let id = event.context.request_id.as_str();
                let span = tracing::error_span!("invocation", requestId = id);
                boxed(event, &settings, clients).instrument(span)
            });
            lambda_runtime::run(handler).await
        })
        .map_err(|error| Start::Runtime(error.to_string()))
}

/// One invocation, on the heap and in a function of its own: its state is a hundred kilobytes, that of the
/// runtime holds the handler's and is moved three times before the first event is asked for. Measured: a fifth
/// of the pages that a start touches.
#[inline(never)]
fn boxed<'a>(
    event: LambdaEvent<Value>,
    settings: &'a Settings,
    clients: &'a OnceCell<Clients>,
) -> Pin<Box<dyn Future<Output = Result<Value, HandlerError>> + 'a>> {
    Box::pin(async move {
        // Made with the first event: a tenth of the time from the start to the question for it.
        let clients = match clients.get() {
            Some(clients) => clients,
            None => {
                let made = Clients::of_the_function().await;
                clients.get_or_init(|| made)
            }
        };
        invocation(event, settings, clients).await
    })
}

/// What the environment says.
struct Settings {
    config: Config,
    topic: TopicArn,
    /// `None`: each event is judged by itself.
    table: Option<TableName>,
    /// `None`: only load balancers of the function's own account are asked for.
    facts_role: Option<FactsRoleName>,
}

async fn invocation(
    LambdaEvent { payload, context }: LambdaEvent<Value>,
    Settings { config, topic, table, facts_role }: &Settings,
    clients: &Clients,
) -> Result<Value, HandlerError> {
    #[expect(clippy::disallowed_methods, reason = "a shell: the deadline is a time of the clock")]
    let left = time_left(context.deadline(), SystemTime::now());
    let deadlines = left.map(Deadlines::of).unwrap_or_default();
    let account = account(&context.invoked_function_arn);
    #[expect(clippy::disallowed_methods, reason = "a shell: the core is told what time it is")]
    let now = jiff::Timestamp::now().as_microsecond();
    let left = left.map_or(MAX_INVOCATION_MICROS, |left| left.as_micros() as i64);
    let invocation = Invocation {
        now: Some(now),
        owner: &context.request_id,
        lease_until: now.saturating_add(left).saturating_add(LEASE_MARGIN_MICROS),
    };
    let logs = &S3LogStore { clients, deadlines };
    let configuration =
        &AwsConfiguration { clients, deadlines, account, facts_role: facts_role.as_ref() };
    let metrics = &LogMetrics { function: &context.env_config.function_name };
    let notifier = &SnsNotifier { clients, deadlines, topic };
    let done = match table {
        Some(table) => {
            let max_age = config.incident_settings().max_age;
            let ledger = &DynamoLedger::new(clients, deadlines, table, now, max_age);
            let ports = Ports { logs, configuration, ledger, notifier, metrics };
            handler::handle(&payload, config, &invocation, ports).await
        }
        None => {
            let ledger = &MemoryLedger::default();
            let ports = Ports { logs, configuration, ledger, notifier, metrics };
            handler::handle(&payload, config, &invocation, ports).await
        }
    };
    answer(done)
}

/// Metrics as lines of the function's log, where CloudWatch finds them.
/// Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Lambda.html>
#[derive(Debug)]
struct LogMetrics<'a> {
    function: &'a str,
}

impl Metrics for LogMetrics<'_> {
    fn function(&self) -> &str {
        self.function
    }

    /// In one piece: a line that another one cuts in two is no document.
    fn put(&self, document: &Value) -> io::Result<()> {
        io::stdout().lock().write_all(format!("{document}\n").as_bytes())
    }
}

/// The longest that Lambda lets a function run: 15 minutes, in microseconds.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_INVOCATION_MICROS: i64 = 900_000_000;

/// What was begun is left to an invocation for so long after its end, for clocks that differ: ten
/// seconds, in microseconds.
const LEASE_MARGIN_MICROS: i64 = 10_000_000;

/// What the runtime is told. SQS waits for the ids of the messages that it is to deliver again; an
/// error would bring back the whole batch. Everybody else is told the error.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>
fn answer(done: Result<Summary, HandlerError>) -> Result<Value, HandlerError> {
    let items = |ids: &[String]| {
        let items: Vec<Value> = ids.iter().map(|id| json!({"itemIdentifier": id})).collect();
        json!({"batchItemFailures": items})
    };
    match done {
        Ok(Summary { is_batch: true, .. }) => Ok(items(&[])),
        Ok(summary) => Ok(json!({
            "objects": summary.objects,
            "skipped": summary.skipped,
            "entries": summary.entries,
            "published": summary.published,
        })),
        Err(error) => match &error.failed_messages {
            Some(ids) if !ids.is_empty() => {
                tracing::error!(error_type = error.kind(), %error, "messages to be delivered again");
                Ok(items(ids))
            }
            _ => Err(error),
        },
    }
}

/// Until the deadline. `None` for a deadline in the 1970s, which the emulator of cargo-lambda gives and
/// which says nothing.
fn time_left(deadline: SystemTime, now: SystemTime) -> Option<Duration> {
    let since_1970 = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let is_a_deadline = Duration::from_secs(10 * 365 * 24 * 3600) < since_1970;
    is_a_deadline.then(|| deadline.duration_since(now).unwrap_or_default())
}

/// The account that the function runs in: `arn:aws:lambda:<region>:<account>:function:<name>`.
fn account(function_arn: &str) -> Option<&str> {
    let account = function_arn.split(':').nth(4)?;
    let is_account = account.len() == 12 && account.chars().all(|c| c.is_ascii_digit());
    is_account.then_some(account)
}

/// Error types are stable: an alarm or a filter may name them.
impl From<HandlerError> for Diagnostic {
    fn from(error: HandlerError) -> Self {
        Self { error_type: error.kind().to_owned(), error_message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::{Failure, FailureKind};

    #[test]
    fn the_account_is_the_functions() {
        for (arn, expected) in [
            ("arn:aws:lambda:eu-west-1:123456789012:function:alb502", Some("123456789012")),
            ("arn:aws:lambda:eu-west-1:emulated:function:alb502", None),
            ("function-arn", None),
            ("", None),
        ] {
            assert_eq!(account(arn), expected, "{arn}");
        }
    }

    #[test]
    fn a_deadline_that_is_over_leaves_nothing_and_one_of_1970_says_nothing() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let now = 1_800_000_000;
        assert_eq!(time_left(at(now + 60), at(now)), Some(Duration::from_secs(60)));
        assert_eq!(time_left(at(now - 60), at(now)), Some(Duration::ZERO));
        assert_eq!(time_left(at(600), at(now)), None);
    }

    fn failure(kind: FailureKind, text: &str) -> Failure {
        Failure { kind, text: text.to_owned(), objects: Vec::new() }
    }

    #[test]
    fn sqs_is_told_which_messages_failed_and_others_the_error() {
        let failed = |ids: Option<&[&str]>| HandlerError {
            failures: vec![failure(FailureKind::ObjectUnreadable, "no such object")],
            failed_messages: ids.map(|ids| ids.iter().map(|it| (*it).to_owned()).collect()),
        };
        let items = json!({"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": ""}]});
        assert_eq!(answer(Err(failed(Some(&["a", ""])))).unwrap(), items);
        assert!(answer(Err(failed(None))).is_err());
        // A failure that no message is to blame for brings back all of them.
        assert!(answer(Err(failed(Some(&[])))).is_err());
        let summary = Summary { objects: 2, is_batch: true, ..Summary::default() };
        assert_eq!(answer(Ok(summary)).unwrap(), json!({"batchItemFailures": []}));
        let summary = Summary { objects: 2, ..Summary::default() };
        assert_eq!(answer(Ok(summary)).unwrap()["objects"], 2);
    }

    #[test]
    fn an_error_has_a_stable_type_and_names_what_failed() {
        let error = HandlerError {
            failures: vec![
                failure(FailureKind::RecordUnreadable, "record 1 has no key"),
                failure(FailureKind::ObjectUnreadable, "s3://logs/a: no such object"),
            ],
            failed_messages: None,
        };
        let diagnostic = Diagnostic::from(error);
        assert_eq!(diagnostic.error_type, "ObjectUnreadable");
        assert_eq!(diagnostic.error_message, "record 1 has no key; s3://logs/a: no such object");
    }
}
