//! A folder that stands in for AWS: `s3/<bucket>/<key>` are the objects, `aws/` is a configuration
//! snapshot, `out/` gets the messages and the metrics.

use std::{
    cell::RefCell,
    fs,
    io::{self, Write as _},
    ops::ControlFlow,
    path::{Component, Path, PathBuf},
};

use serde_json::Value;

use super::{files, snapshot::Snapshot};
use crate::{
    detection::Evidence,
    diagnosis::{Diagnosis, Facts},
    event::LogObject,
    notification::Notification,
    ports::{Configuration, LogStore, LogStoreError, Metrics, Notifier, NotifierError},
};

/// The objects under `s3/`.
#[derive(Debug, Clone)]
pub struct FolderLogStore {
    root: PathBuf,
}

impl FolderLogStore {
    /// The objects of `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { root: folder.join("s3") }
    }

    fn path(&self, object: &LogObject) -> Result<PathBuf, LogStoreError> {
        let relative = Path::new(&object.bucket).join(object.key.trim_start_matches('/'));
        // A key may hold `..`: it must not lead out of the folder.
        if relative.components().all(|component| matches!(component, Component::Normal(_))) {
            Ok(self.root.join(relative))
        } else {
            Err(LogStoreError("the bucket or key leads out of the folder; not read".to_owned()))
        }
    }
}

impl LogStore for FolderLogStore {
    async fn stream(
        &self,
        object: &LogObject,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogStoreError> {
        let path = self.path(object)?;
        files::stream(&path, sink).map_err(|error| {
            LogStoreError(match error.kind() {
                io::ErrorKind::NotFound => format!(
                    "no such object. With --local, put it at s3/{}/{} in the folder",
                    object.bucket, object.key
                ),
                _ => error.to_string(),
            })
        })
    }
}

/// The configuration under `aws/`.
#[derive(Debug)]
pub struct SnapshotConfiguration(pub Option<Snapshot>);

impl Configuration for SnapshotConfiguration {
    async fn facts(&self, evidence: &Evidence) -> Facts {
        match &self.0 {
            Some(snapshot) => snapshot.facts(
                &evidence.load_balancer,
                evidence.target_group_arn.as_deref(),
                evidence.window,
            ),
            None => Facts::unknown("no configuration snapshot was given"),
        }
    }
}

/// Messages go to `out/` as files; what a person reads also goes to `screen`.
pub struct FolderNotifier<'a> {
    out: PathBuf,
    screen: &'a dyn Fn(&str) -> io::Result<()>,
}

impl<'a> FolderNotifier<'a> {
    /// Writes to `folder/out`.
    pub fn new(folder: &Path, screen: &'a dyn Fn(&str) -> io::Result<()>) -> Self {
        Self { out: folder.join("out"), screen }
    }

    fn write(&self, diagnosis: &Diagnosis, notification: &Notification) -> io::Result<()> {
        fs::create_dir_all(&self.out)?;
        // The id is made of letters, digits and a hyphen: it is safe as a file name.
        let file = |ending: &str| self.out.join(format!("{}.{ending}", diagnosis.incident_id));
        fs::write(file("txt"), &notification.text)?;
        fs::write(file("json"), &notification.json)?;
        let publish = serde_json::json!({
            "Subject": notification.subject,
            "Message": notification.message,
            "MessageStructure": "json",
            "MessageAttributes": notification.attributes,
        });
        fs::write(file("sns.json"), format!("{publish:#}\n"))?;
        match (self.screen)(&notification.text) {
            // The reader went away, as `| head` does; the files are whole.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            shown => shown,
        }
    }
}

impl Notifier for FolderNotifier<'_> {
    async fn publish(
        &self,
        diagnosis: &Diagnosis,
        notification: &Notification,
    ) -> Result<(), NotifierError> {
        self.write(diagnosis, notification)
            .map_err(|error| NotifierError(format!("{}: {error}", self.out.display())))
    }
}

/// Metrics go to `out/metrics.jsonl`, one document a line, in place of those of the run before.
#[derive(Debug)]
pub struct FolderMetrics {
    out: PathBuf,
    file: RefCell<Option<fs::File>>,
}

impl FolderMetrics {
    /// Writes to `folder/out`.
    pub fn new(folder: &Path) -> Self {
        Self { out: folder.join("out"), file: RefCell::default() }
    }
}

impl Metrics for FolderMetrics {
    /// No function of Lambda has this name, which holds a space.
    fn function(&self) -> &str {
        "alb502 invoke"
    }

    fn put(&self, document: &Value) -> io::Result<()> {
        let mut file = self.file.borrow_mut();
        if file.is_none() {
            fs::create_dir_all(&self.out)?;
            *file = Some(fs::File::create(self.out.join("metrics.jsonl"))?);
        }
        match file.as_mut() {
            Some(file) => file.write_all(format!("{document}\n").as_bytes()),
            None => Ok(()),
        }
    }
}
