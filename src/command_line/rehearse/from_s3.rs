//! A history whose objects stay in S3 until they are delivered.

use std::{
    cell::{Cell, RefCell},
    ops::ControlFlow,
    pin::Pin,
};

use futures_util::{Stream, StreamExt as _};

use super::{
    Rehearsal,
    history::{History, Source},
};
use crate::{
    aws::{AccessLogsError, StoredLog},
    command_line::{
        Stop,
        s3::{Found, Order},
    },
    event::LogObject,
    ports::{LogStore, LogStoreError},
};

/// What comes of an object, piece after piece.
type Pieces<'a> = Pin<Box<dyn Stream<Item = Result<Vec<u8>, AccessLogsError>> + 'a>>;

/// Rehearses what was ordered, and returns the exit code.
pub(super) fn rehearse_from_s3(rehearsal: &Rehearsal, order: &Order) -> Result<u8, Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let found = Found::of(order).await?;
        let keys = found.objects.iter().map(|object| &*object.key);
        let history = History::of_objects(&found.place.bucket, keys);
        let objects: Vec<StoredLog> =
            history.order().filter_map(|number| found.objects.get(number).cloned()).collect();
        let logs = found.logs();
        let pieces: Pieces<'_> = Box::pin(logs.pieces(&objects));
        let source = OneByOne {
            history: &history,
            objects: &objects,
            pieces: RefCell::new(Some(pieces)),
            next: Cell::new(0),
            bytes: Cell::new(0),
            over: RefCell::default(),
        };
        rehearsal.of(&history, &source).await
    })
}

/// Objects that are fetched in the order of their deliveries, the next ones ahead of their time: one after
/// the other, a week of them would be a night of waiting. Nothing is kept of an object that was read.
struct OneByOne<'a> {
    history: &'a History,
    /// In the order of the deliveries.
    objects: &'a [StoredLog],
    /// `None` while an object is being read.
    pieces: RefCell<Option<Pieces<'a>>>,
    /// The number of the object that comes next.
    next: Cell<usize>,
    bytes: Cell<u64>,
    over: RefCell<Option<AccessLogsError>>,
}

impl OneByOne<'_> {
    async fn read(
        &self,
        pieces: &mut Pieces<'_>,
        key: &str,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogStoreError> {
        let number = self.next.replace(self.next.get() + 1);
        let delivered = self.history.deliveries.get(number).filter(|it| it.key == key);
        let (Some(_), Some(object)) = (delivered, self.objects.get(number)) else {
            return Err(LogStoreError(format!("{key} is not what comes next in this history")));
        };
        let mut refused = None;
        let mut is_enough = false;
        // All pieces are taken from the line, also those that nobody wants any more.
        for _ in 0..object.pieces() {
            match pieces.next().await {
                Some(Ok(bytes)) => {
                    self.bytes.set(self.bytes.get() + bytes.len() as u64);
                    if !is_enough && refused.is_none() {
                        is_enough = sink(&bytes).is_break();
                    }
                }
                Some(Err(error)) if error.is_for_all() => {
                    let said = error.said.clone();
                    self.over.replace(Some(error));
                    return Err(LogStoreError(said));
                }
                Some(Err(error)) => {
                    refused.get_or_insert(LogStoreError(error.said));
                }
                None => break,
            }
        }
        refused.map_or(Ok(()), Err)
    }
}

impl LogStore for OneByOne<'_> {
    async fn stream(
        &self,
        object: &LogObject,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogStoreError> {
        let Some(mut pieces) = self.pieces.take() else {
            return Err(LogStoreError("another object is being read".to_owned()));
        };
        let read = self.read(&mut pieces, &object.key, sink).await;
        self.pieces.replace(Some(pieces));
        read
    }
}

impl Source for OneByOne<'_> {
    fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    fn is_over(&self) -> Option<Stop> {
        self.over.take().map(Stop::from)
    }
}
