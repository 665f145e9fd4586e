//! The smallest function there is, which `make bench-lambda` measures against: the same runtime, profile
//! and kind of thread as the real one, and nothing else.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let answer = |event: LambdaEvent<Value>| async { Ok::<_, Error>(event.payload) };
    lambda_runtime::run(service_fn(answer)).await
}
