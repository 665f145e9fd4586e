//! The access logs of a span of time in a bucket: found with few calls, read several at a time.
//!
//! The names of a day sort by load balancer, then by time. So the load balancers of a day are listed with
//! a delimiter, and of each only the part of the day that is needed.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    time::Duration,
};

use aws_sdk_s3::{
    error::SdkError, operation::get_object::GetObjectError,
    operation::list_objects_v2::ListObjectsV2Output,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
use futures_util::stream::{self, Stream, StreamExt as _};

use super::{
    actions::LIST_BUCKET,
    ask::{Failure, innermost, is_about_credentials, is_denied, reason},
    clients::Clients,
    log_store::refusal,
};
use crate::{
    access_log::{LogPlace, ObjectKey, ObjectKind, TimeSpan},
    event::LogObject,
};

/// Requests at the same time: enough to fill the line of a laptop, few enough for its memory.
const AT_ONCE: usize = 8;

/// Bytes. Larger objects are read in pieces of this size, so that [`AT_ONCE`] of them are all that is in
/// memory, whatever the size of an object. An object of a busy node has a few megabytes.
const PIECE: u64 = 8 << 20;

/// How often a piece whose body breaks off is asked for again.
const MAX_RESUMES: u32 = 3;

/// Before it is asked for again.
const RESUME_PAUSE: Duration = Duration::from_millis(200);

/// An access-log object, as the bucket lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLog {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// Pieces are only taken from the same object.
    etag: Option<String>,
}

impl StoredLog {
    /// In how many pieces [`AccessLogs::pieces`] gives it: at least one.
    pub fn pieces(&self) -> u64 {
        self.size.div_ceil(PIECE).max(1)
    }

    /// The header for one of the pieces, and how long it is. A whole object needs none.
    fn range(&self, piece: u64) -> (Option<String>, u64) {
        let first = piece * PIECE;
        let end = (first + PIECE).min(self.size);
        let range = (1 < self.pieces()).then(|| format!("bytes={first}-{}", end.saturating_sub(1)));
        (range, end.saturating_sub(first))
    }
}

/// What lies in a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The access logs, by key.
    pub objects: Vec<StoredLog>,
    /// Other kinds of logs in the same folders: the beginning of their keys, and which kind.
    pub others: Vec<(String, ObjectKind)>,
}

/// S3 did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{about}: {said}")]
pub struct AccessLogsError {
    /// Bucket and key, or what could not be listed.
    pub about: String,
    /// Why.
    pub said: String,
    /// By which the next step can be told.
    pub refusal: Refusal,
}

/// What stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// IAM or the policy of the bucket.
    Denied,
    /// The credentials.
    Credentials,
    /// There is no such bucket.
    NoBucket,
    /// The bucket is in another region, and S3 did not say in which.
    OtherRegion,
    /// Something else, which may be of one object alone.
    Other,
}

impl AccessLogsError {
    /// It will be so for every other object too.
    pub fn is_for_all(&self) -> bool {
        self.refusal != Refusal::Other
    }
}

impl Refusal {
    fn of<E: Failure>(error: &SdkError<E>) -> Self {
        match error.code() {
            _ if is_denied(error) => Self::Denied,
            _ if is_about_credentials(error) => Self::Credentials,
            Some("NoSuchBucket") => Self::NoBucket,
            Some("PermanentRedirect" | "AuthorizationHeaderMalformed") => Self::OtherRegion,
            _ => Self::Other,
        }
    }
}

/// The access logs of a bucket.
#[derive(Debug)]
pub struct AccessLogs<'a> {
    clients: &'a Clients,
    place: &'a LogPlace,
    region: RefCell<String>,
    listed: Cell<u64>,
}

impl<'a> AccessLogs<'a> {
    /// In the region of the bucket, when it is known; else S3 says which one it is.
    pub fn new(clients: &'a Clients, place: &'a LogPlace, region: Option<&str>) -> Self {
        let region = region.or_else(|| clients.own_region()).unwrap_or("us-east-1").to_owned();
        Self { clients, place, region: RefCell::new(region), listed: Cell::new(0) }
    }

    /// The region of the bucket, as far as it is known: S3 says it with its first answer.
    pub fn region(&self) -> String {
        self.region.borrow().clone()
    }

    /// How many objects were found so far.
    pub fn listed(&self) -> u64 {
        self.listed.get()
    }

    fn client(&self) -> aws_sdk_s3::Client {
        self.clients.region(&self.region.borrow()).s3.clone()
    }

    /// The objects of a span, of one load balancer (`app/name/id`) or of all.
    ///
    /// # Errors
    /// When the bucket cannot be listed.
    pub async fn find(
        &self,
        span: &TimeSpan,
        load_balancer: Option<&str>,
    ) -> Result<Found, AccessLogsError> {
        let mut found = Found::default();
        for (account, region) in self.regions().await? {
            for day in span.days() {
                let folder = self.place.day(&account, &region, day);
                let names = format!("{account}_elasticloadbalancing_{region}_");
                self.find_in_day(&folder, &names, span, load_balancer, &mut found).await?;
            }
        }
        found.objects.sort_by(|a, b| a.key.cmp(&b.key));
        found.objects.dedup_by(|a, b| a.key == b.key);
        found.others.sort();
        found.others.dedup();
        Ok(found)
    }

    /// The newest day of which there are logs, whichever: `2026-11-20`.
    ///
    /// # Errors
    /// When the bucket cannot be listed.
    pub async fn newest_day(&self) -> Result<Option<String>, AccessLogsError> {
        let newest = |(account, region): (String, String)| async move {
            let mut folder = format!("{}{region}/", self.place.regions(&account));
            let mut day = Vec::new();
            for _ in ["year", "month", "day"] {
                let mut names = self.folders(&folder).await?;
                names.retain(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
                let Some(last) = names.pop() else { return Ok(None) };
                folder.push_str(&format!("{last}/"));
                day.push(last);
            }
            Ok::<_, AccessLogsError>(Some(day.join("-")))
        };
        let regions = self.regions().await?;
        let days: Vec<_> =
            stream::iter(regions).map(newest).buffer_unordered(AT_ONCE).collect().await;
        let days: Vec<Option<String>> = days.into_iter().collect::<Result<_, _>>()?;
        Ok(days.into_iter().max().flatten())
    }

    /// The accounts and regions that are looked at.
    async fn regions(&self) -> Result<Vec<(String, String)>, AccessLogsError> {
        let place = self.place;
        let accounts = match &place.account {
            Some(account) => vec![account.clone()],
            None => self.folders(&place.accounts()).await?,
        };
        let mut all = Vec::new();
        for account in accounts {
            let regions = match &place.region {
                Some(region) => vec![region.clone()],
                None => self.folders(&place.regions(&account)).await?,
            };
            all.extend(regions.into_iter().map(|region| (account.clone(), region)));
        }
        Ok(all)
    }

    async fn find_in_day(
        &self,
        folder: &str,
        names: &str,
        span: &TimeSpan,
        load_balancer: Option<&str>,
        found: &mut Found,
    ) -> Result<(), AccessLogsError> {
        let stems = match load_balancer {
            Some(id) => BTreeSet::from([format!("{folder}{names}{}_", id.replace('/', "."))]),
            None => {
                for (begin, kind) in [
                    ("conn_log", ObjectKind::ConnectionLog),
                    ("health_check_log", ObjectKind::HealthCheckLog),
                ] {
                    if self.is_any(&format!("{folder}{begin}")).await? {
                        found.others.push((format!("{folder}{begin}"), kind));
                    }
                }
                self.prefixes(&format!("{folder}{names}"), "_").await?
            }
        };
        for stem in stems {
            // The stem ends before the time: with any time behind it, it is a name that tells its kind.
            let kind = ObjectKey::parse(&format!("{stem}20000101T0000Z_x.log.gz")).kind;
            if !matches!(kind, ObjectKind::AccessLog | ObjectKind::Other) {
                found.others.push((stem, kind));
                continue;
            }
            self.find_of_load_balancer(&stem, span, &mut found.objects).await?;
        }
        Ok(())
    }

    async fn find_of_load_balancer(
        &self,
        stem: &str,
        span: &TimeSpan,
        objects: &mut Vec<StoredLog>,
    ) -> Result<(), AccessLogsError> {
        let mut start = Some(span.start_after(stem));
        let mut token = None;
        loop {
            let page = self.page(stem, None, start.take(), token.take(), None).await?;
            for object in page.contents.unwrap_or_default() {
                let key = object.key.unwrap_or_default();
                match ObjectKey::parse(&key).end_time {
                    Some(end) if span.last_end() <= end => return Ok(()),
                    Some(end) if !span.needs(end) => {}
                    // Without a time in its name it is read: its rows have one.
                    _ => {
                        let size = object.size.and_then(|size| u64::try_from(size).ok());
                        let (size, etag) = (size.unwrap_or(0), object.e_tag);
                        objects.push(StoredLog { key, size, etag });
                        self.listed.set(self.listed.get() + 1);
                    }
                }
            }
            match page.next_continuation_token {
                Some(next) => token = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// The names of the folders in a folder.
    async fn folders(&self, folder: &str) -> Result<Vec<String>, AccessLogsError> {
        let prefixes = self.prefixes(folder, "/").await?;
        let name = |prefix: &String| {
            let name = prefix.strip_prefix(folder)?.trim_end_matches('/');
            Some(name.to_owned())
        };
        Ok(prefixes.iter().filter_map(name).collect())
    }

    /// What stands under the prefix up to the delimiter, each once.
    async fn prefixes(
        &self,
        prefix: &str,
        delimiter: &str,
    ) -> Result<BTreeSet<String>, AccessLogsError> {
        let mut prefixes = BTreeSet::new();
        let mut token = None;
        loop {
            let page = self.page(prefix, Some(delimiter), None, token.take(), None).await?;
            let common = page.common_prefixes.unwrap_or_default();
            prefixes.extend(common.into_iter().filter_map(|it| it.prefix));
            match page.next_continuation_token {
                Some(next) => token = Some(next),
                None => return Ok(prefixes),
            }
        }
    }

    async fn is_any(&self, prefix: &str) -> Result<bool, AccessLogsError> {
        let page = self.page(prefix, None, None, None, Some(1)).await?;
        Ok(page.contents.is_some_and(|objects| !objects.is_empty()))
    }

    async fn page(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        start_after: Option<String>,
        token: Option<String>,
        most: Option<i32>,
    ) -> Result<ListObjectsV2Output, AccessLogsError> {
        let bucket = &self.place.bucket;
        loop {
            let call = self
                .client()
                .list_objects_v2()
                .bucket(bucket)
                .prefix(prefix)
                .set_delimiter(delimiter.map(str::to_owned))
                .set_start_after(start_after.clone())
                .set_continuation_token(token.clone())
                .set_max_keys(most)
                .send();
            let error = match call.await {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            let elsewhere =
                error.raw_response().and_then(|it| it.headers().get("x-amz-bucket-region"));
            if let Some(region) = elsewhere.filter(|region| **region != **self.region.borrow()) {
                let region = region.to_owned();
                self.region.replace(region);
                continue;
            }
            let refusal = Refusal::of(&error);
            let said = match refusal {
                Refusal::Denied => format!("access denied: it needs {LIST_BUCKET} on the bucket"),
                Refusal::NoBucket => "there is no such bucket".to_owned(),
                Refusal::OtherRegion => "the bucket is in another region".to_owned(),
                Refusal::Credentials | Refusal::Other => reason(&error),
            };
            let about = format!("cannot list s3://{bucket}/{prefix}");
            return Err(AccessLogsError { about, said, refusal });
        }
    }

    /// The content of the objects, in their order and in pieces: [`StoredLog::pieces`] of each, of which
    /// some are under way at the same time.
    pub fn pieces<'b>(
        &'b self,
        objects: &'b [StoredLog],
    ) -> impl Stream<Item = Result<Vec<u8>, AccessLogsError>> + 'b {
        let pieces = objects.iter().flat_map(|object| {
            (0..object.pieces()).map(move |piece| (object, object.range(piece)))
        });
        stream::iter(pieces)
            .map(move |(object, (range, length))| self.piece(object, range, length))
            .buffered(AT_ONCE)
    }

    async fn piece(
        &self,
        object: &StoredLog,
        range: Option<String>,
        length: u64,
    ) -> Result<Vec<u8>, AccessLogsError> {
        let mut resumes = 0;
        loop {
            let answer = self
                .client()
                .get_object()
                .bucket(&self.place.bucket)
                .key(&object.key)
                .set_range(range.clone())
                .set_if_match(object.etag.clone())
                .send()
                .await
                .map_err(|error| self.refused(&object.key, &error))?;
            let broken = match answer.body.collect().await {
                Ok(body) => {
                    let bytes = body.to_vec();
                    if bytes.len() as u64 == length {
                        return Ok(bytes);
                    }
                    format!("{} of {length} bytes came", bytes.len())
                }
                Err(error) => innermost(&error),
            };
            resumes += 1;
            if MAX_RESUMES < resumes {
                let said = format!("the body broke off ({broken}); run it again");
                return Err(self.error(&object.key, said));
            }
            tokio::time::sleep(RESUME_PAUSE).await;
        }
    }

    fn refused(&self, key: &str, error: &SdkError<GetObjectError>) -> AccessLogsError {
        let said = match error.code() {
            Some("InvalidObjectState") => {
                "the object is archived: restore it, then run this again".to_owned()
            }
            _ => refusal(&self.object(key), error),
        };
        AccessLogsError { refusal: Refusal::of(error), ..self.error(key, said) }
    }

    fn error(&self, key: &str, said: String) -> AccessLogsError {
        let about = format!("s3://{}/{key}", self.place.bucket);
        AccessLogsError { about, said, refusal: Refusal::Other }
    }

    fn object(&self, key: &str) -> LogObject {
        LogObject {
            bucket: self.place.bucket.clone(),
            key: key.to_owned(),
            version_id: None,
            region: Some(self.region.borrow().clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_object_comes_in_pieces_that_are_the_whole() {
        for (size, pieces) in [(0, 1), (1, 1), (PIECE, 1), (PIECE + 1, 2), (3 * PIECE, 3)] {
            let object = StoredLog { key: "a".to_owned(), size, etag: None };
            assert_eq!(object.pieces(), pieces, "{size}");
            let ranges: Vec<_> = (0..pieces).map(|piece| object.range(piece)).collect();
            assert_eq!(ranges.iter().map(|(_, length)| length).sum::<u64>(), size);
            assert_eq!(ranges[0].0.is_some(), 1 < pieces, "{size}");
        }
        let object = StoredLog { key: "a".to_owned(), size: PIECE + 1, etag: None };
        assert_eq!(object.range(0).0.as_deref(), Some("bytes=0-8388607"));
        assert_eq!(object.range(1), (Some("bytes=8388608-8388608".to_owned()), 1));
    }
}
