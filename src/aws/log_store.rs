//! Log objects from S3, streamed.

use std::{ops::ControlFlow, time::Duration};

use super::{
    ask::{innermost, is_denied, reason},
    clients::Clients,
    deadlines::{Deadlines, Late, until},
};
use crate::{
    event::LogObject,
    neutralize,
    ports::{LogStore, LogStoreError},
};

/// How often a body that breaks is taken up again where it stopped.
const MAX_RESUMES: u32 = 3;

/// Before a body is taken up again.
const RESUME_PAUSE: Duration = Duration::from_millis(200);

/// The objects in S3.
#[derive(Debug)]
pub struct S3LogStore<'a> {
    /// The clients.
    pub clients: &'a Clients,
    /// Until when objects are read.
    pub deadlines: Deadlines,
}

impl LogStore for S3LogStore<'_> {
    async fn stream(
        &self,
        object: &LogObject,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogStoreError> {
        let mut read = Read { bytes: 0, etag: None };
        match until(self.deadlines.read, self.read(object, &mut read, sink)).await {
            Ok(done) => done,
            Err(Late) => Err(LogStoreError(format!(
                "the time of the invocation was over after {} bytes; a longer Timeout or more memory \
                 lets it end",
                read.bytes
            ))),
        }
    }
}

/// How far an object was read.
struct Read {
    bytes: u64,
    /// What the first answer said: a body is only taken up again from the same object.
    etag: Option<String>,
}

impl S3LogStore<'_> {
    async fn read(
        &self,
        object: &LogObject,
        read: &mut Read,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogStoreError> {
        let region = object.region.as_deref().or_else(|| self.clients.own_region());
        let clients = self.clients.region(region.unwrap_or("us-east-1"));
        let mut resumes = 0;
        loop {
            let started_at = read.bytes;
            let answer = clients
                .s3
                .get_object()
                .bucket(&object.bucket)
                .key(&object.key)
                .set_version_id(object.version_id.clone())
                .set_range((0 < started_at).then(|| format!("bytes={started_at}-")))
                .set_if_match(read.etag.clone())
                .send()
                .await
                .map_err(|error| LogStoreError(refusal(object, &error)))?;
            let starts_there = answer
                .content_range
                .as_deref()
                .is_some_and(|range| range.starts_with(&format!("bytes {started_at}-")));
            if 0 < started_at && !starts_there {
                return Err(LogStoreError(format!(
                    "the body broke off after {started_at} bytes, and S3 does not give the rest alone"
                )));
            }
            read.etag = answer.e_tag;
            let mut body = answer.body;
            let broken = loop {
                match body.next().await {
                    None => return Ok(()),
                    Some(Ok(bytes)) => {
                        read.bytes += bytes.len() as u64;
                        if sink(&bytes).is_break() {
                            return Ok(());
                        }
                    }
                    Some(Err(error)) => break error,
                }
            };
            resumes += 1;
            let broken = innermost(&broken);
            if MAX_RESUMES < resumes {
                return Err(LogStoreError(neutralize::line(&format!(
                    "the body broke off after {} bytes ({broken})",
                    read.bytes
                ))));
            }
            tracing::warn!(
                bucket = object.bucket,
                key = object.key,
                bytes = read.bytes,
                error = broken,
                "body broke off, taken up again"
            );
            tokio::time::sleep(RESUME_PAUSE).await;
        }
    }
}

pub(super) fn refusal(
    object: &LogObject,
    error: &aws_sdk_s3::error::SdkError<aws_sdk_s3::operation::get_object::GetObjectError>,
) -> String {
    use aws_sdk_s3::error::ProvideErrorMetadata as _;
    let action = if object.version_id.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
    if is_denied(error) {
        // Without s3:ListBucket S3 does not say that a key is missing; with SSE-KMS the key's policy
        // decides as well, and S3 says so in its message.
        let said = error.message().filter(|message| message.contains("kms")).unwrap_or_default();
        return format!(
            "access denied: alb502 needs {action} on it; a missing object looks the same {said}"
        )
        .trim_end()
        .to_owned();
    }
    match error.code() {
        Some("NoSuchKey") => "no such object: it was deleted, or the key is wrong".to_owned(),
        Some("NoSuchVersion") => "no such version of the object: it was deleted".to_owned(),
        Some("NoSuchBucket") => "no such bucket".to_owned(),
        Some("InvalidObjectState") => {
            "the object is archived: restore it, then send the event again".to_owned()
        }
        Some("PermanentRedirect" | "AuthorizationHeaderMalformed") => {
            "the bucket is in another region than the event says".to_owned()
        }
        Some("PreconditionFailed") => "the object was replaced while it was read".to_owned(),
        _ => reason(error),
    }
}
