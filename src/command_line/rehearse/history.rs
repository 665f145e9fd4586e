//! History as it would have come: log files in the order in which S3 would have delivered them.

use std::{
    cell::Cell,
    collections::BTreeMap,
    io::{Read as _, Write as _},
    mem,
    ops::ControlFlow,
    path::PathBuf,
};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::chunks::{Chunks, Place};
use crate::{
    access_log::{ObjectKey, ObjectKind, Reader},
    command_line::{Stop, complain, progress::Progress, say},
    event::LogObject,
    incident::{end_of, window_of},
    local::files::{self, LogFile},
    numbers::plural,
    ports::{LogStore, LogStoreError},
};

/// The bucket that the objects of a rehearsal are in.
pub(super) const BUCKET: &str = "history";

/// An object arrives so long after the end of its window, at least, in microseconds: a minute.
const MIN_DELAY_MICROS: i64 = 60_000_000;

/// And up to so much later, in whole seconds. Load balancers deliver within minutes, each node in its own
/// time.
const DELAY_SPREAD_SECONDS: u64 = 61;

/// Rows of a loose file wait in memory up to so many bytes, of all windows together; then they are packed.
/// Rows in the order of time are a few windows, which packs them well; in no order, a kilobyte for each of two
/// weeks of windows.
const PACK_BYTES: usize = 4 << 20;

/// Packed rows are unpacked piece by piece.
const PIECE_BYTES: usize = 64 * 1024;

/// One object and when it comes.
#[derive(Debug)]
pub(super) struct Delivery {
    /// Microseconds since 1970.
    pub(super) at: i64,
    /// The key, which is the name of the file.
    pub(super) key: String,
    /// The file or object that it comes from, for people.
    pub(super) name: String,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// The file as it is.
    File(PathBuf),
    /// The rows of one window of a loose file, packed.
    Rows(Vec<Place>),
    /// It is not here but in S3: the number of the object in the list that the history was made of.
    #[cfg(feature = "aws")]
    Elsewhere(usize),
}

/// Where the objects of a history are read.
pub(super) trait Source: LogStore {
    /// Bytes that were read so far.
    fn bytes(&self) -> u64;

    /// Why nothing more can be read.
    fn is_over(&self) -> Option<Stop>;
}

/// What is to be delivered.
#[derive(Debug, Default)]
pub(super) struct History {
    /// In their order.
    pub(super) deliveries: Vec<Delivery>,
    /// Lines of loose files that are no rows.
    pub(super) malformed: u64,
    /// All that was asked for could be read.
    pub(super) is_whole: bool,
    index: BTreeMap<String, usize>,
    packer: Packer,
    bytes: Cell<u64>,
}

impl History {
    /// Finds the files that the paths lead to. Objects of S3 are known by their names, and read when
    /// they are delivered; other files are read now, and their rows come window by window.
    pub(super) fn find(paths: &[PathBuf]) -> Result<Self, Stop> {
        let files = files::find(paths)?;
        let mut history = Self { is_whole: true, ..Self::default() };
        say::waiting_for_input(&files);
        let mut progress = Progress::new(files.len());
        for (index, file) in files.into_iter().enumerate() {
            let name = file.name();
            let key = ObjectKey::parse(&name);
            if let Some(reason) = key.skip_reason() {
                if file.asked_for {
                    complain(&format!("error: {}: skipped, {reason}", file.shown()));
                    history.is_whole = false;
                }
                continue;
            }
            match key.end_time.filter(|_| key.kind == ObjectKind::AccessLog) {
                Some(end) => {
                    let object = file_name(&name).to_owned();
                    let content = Content::File(file.path.clone());
                    history.deliver_object(end, object, file.shown(), content);
                }
                None => history.read_loose(index, &file, &mut progress),
            }
        }
        progress.done();
        history.bring_into_order();
        Ok(history)
    }

    /// A history of objects in S3, which are read when they are delivered, by somebody else.
    #[cfg(feature = "aws")]
    pub(super) fn of_objects<'a>(bucket: &str, keys: impl Iterator<Item = &'a str>) -> Self {
        let mut history = Self { is_whole: true, ..Self::default() };
        for (number, key) in keys.enumerate() {
            let name = format!("s3://{bucket}/{key}");
            match ObjectKey::parse(key).end_time {
                Some(end) => {
                    let object = file_name(key).to_owned();
                    history.deliver_object(end, object, name, Content::Elsewhere(number));
                }
                None => {
                    complain(&format!(
                        "error: {name}: passed over, its name does not say when it came; copy it, and \
                         rehearse the copy"
                    ));
                    history.is_whole = false;
                }
            }
        }
        history.bring_into_order();
        history
    }

    /// The objects of [`Self::of_objects`] by their number, in the order of the deliveries.
    #[cfg(feature = "aws")]
    pub(super) fn order(&self) -> impl Iterator<Item = usize> {
        self.deliveries.iter().filter_map(|it| match it.content {
            Content::Elsewhere(number) => Some(number),
            Content::File(_) | Content::Rows(_) => None,
        })
    }

    fn deliver_object(&mut self, end: Timestamp, key: String, name: String, content: Content) {
        let at = end.as_microsecond().saturating_add(delay(&key));
        // S3 has one object of a name; a copy beside it would count twice.
        if self.index.insert(key.clone(), 0).is_none() {
            self.deliveries.push(Delivery { at, key, name, content });
        }
    }

    fn bring_into_order(&mut self) {
        self.deliveries.sort_by(|a, b| (a.at, &a.key).cmp(&(b.at, &b.key)));
        let keys = self.deliveries.iter().map(|it| it.key.clone());
        self.index = keys.zip(0..).collect();
    }

    /// Takes a file apart whose name does not say when it came.
    fn read_loose(&mut self, number: usize, file: &LogFile, progress: &mut Progress) {
        let mut windows = BTreeMap::<i64, Rows>::new();
        let packer = &mut self.packer;
        let mut waiting = 0;
        let mut bytes_read = 0;
        let mut reader = Reader::new(|entry| {
            let row = entry.line();
            windows.entry(window_of(entry.time())).or_default().add(row);
            waiting += row.len();
            if PACK_BYTES <= waiting {
                waiting = 0;
                windows.values_mut().for_each(|rows| packer.pack(rows));
            }
        });
        let streamed = files::stream(&file.path, &mut |bytes| {
            bytes_read += bytes.len() as u64;
            progress.update(number + 1, bytes_read);
            match reader.push(bytes) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        let outcome = reader.finish();
        self.malformed += outcome.report.malformed;
        // In a folder a file of another kind is no error; asked for by name it is.
        let other = outcome.error.as_ref().is_some_and(|error| !error.is_damage());
        let error = match streamed {
            Err(error) => Some(files::unreadable(&error)),
            Ok(()) => outcome.error.map(|error| error.to_string()),
        };
        if let Some(error) = error {
            complain(&format!("error: {}: {error}", file.shown()));
            self.is_whole &= other && !file.asked_for;
        }
        for (window, mut rows) in windows {
            let key = loose_key(number, window);
            let at = end_of(window).saturating_add(delay(&key));
            self.packer.pack(&mut rows);
            let content = Content::Rows(rows.packed);
            self.deliveries.push(Delivery { at, key, name: file.shown(), content });
        }
    }
}

/// The name without the folders.
fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// What the handler takes for an access log, though it names no load balancer: the rows do.
fn loose_key(number: usize, window: i64) -> String {
    let end = crate::diagnosis::timestamp(end_of(window)).strftime("%Y%m%dT%H%MZ");
    format!("rows_elasticloadbalancing_of_app.file.{number}_{end}_{number}.log.gz")
}

/// A time of its own for each object, the same in each run.
fn delay(key: &str) -> i64 {
    let digest = Sha256::digest(key.as_bytes());
    let number = digest.iter().take(4).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    let seconds = i64::try_from(number % DELAY_SPREAD_SECONDS).unwrap_or(0);
    MIN_DELAY_MICROS.saturating_add(seconds.saturating_mul(1_000_000))
}

/// Rows of one window: a file of a day need not fit into memory as it is.
#[derive(Default)]
struct Rows {
    waiting: Vec<u8>,
    packed: Vec<Place>,
}

impl Rows {
    fn add(&mut self, row: &[u8]) {
        self.waiting.extend_from_slice(row);
        self.waiting.push(b'\n');
    }
}

/// Packs rows. It takes a third of a megabyte to do so, once: taken for each window anew, it leaves as large a
/// hole before each of them.
#[derive(Debug)]
struct Packer {
    encoder: ZlibEncoder<Vec<u8>>,
    chunks: Chunks,
}

impl Default for Packer {
    fn default() -> Self {
        let encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        Self { encoder, chunks: Chunks::default() }
    }
}

impl Packer {
    fn pack(&mut self, rows: &mut Rows) {
        let waiting = mem::take(&mut rows.waiting);
        if waiting.is_empty() {
            return;
        }
        // A vector takes whatever is written to it.
        let _ = self.encoder.write_all(&waiting);
        let packed = self.encoder.reset(Vec::new()).unwrap_or_default();
        rows.packed.push(self.chunks.put(&packed));
    }

    /// Unpacks rows into the sink, until it has enough.
    fn unpack(
        &self,
        rows: &[Place],
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> std::io::Result<()> {
        let mut decoder = ZlibDecoder::new(&b""[..]);
        let mut piece = vec![0; PIECE_BYTES];
        for packed in rows.iter().filter_map(|place| self.chunks.get(place)) {
            decoder.reset(packed);
            loop {
                let read = decoder.read(&mut piece)?;
                let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else {
                    break;
                };
                if sink(bytes).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl LogStore for History {
    async fn stream(
        &self,
        object: &LogObject,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogStoreError> {
        let delivery = self.index.get(&object.key).and_then(|index| self.deliveries.get(*index));
        let Some(delivery) = delivery else {
            return Err(LogStoreError(format!("{} is not in this history", object.key)));
        };
        let mut counted = |bytes: &[u8]| {
            self.bytes.set(self.bytes.get().saturating_add(bytes.len() as u64));
            sink(bytes)
        };
        match &delivery.content {
            Content::Rows(rows) => self
                .packer
                .unpack(rows, &mut counted)
                .map_err(|error| LogStoreError(files::unreadable(&error))),
            Content::File(path) => files::stream(path, &mut counted)
                .map_err(|error| LogStoreError(files::unreadable(&error))),
            #[cfg(feature = "aws")]
            Content::Elsewhere(_) => {
                Err(LogStoreError(format!("{} is in S3, not here", delivery.name)))
            }
        }
    }
}

impl Source for History {
    fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    fn is_over(&self) -> Option<Stop> {
        None
    }
}

/// Lines that are no rows, for people.
pub(super) fn malformed_lines(number: u64) -> Option<String> {
    match number {
        0 => None,
        1 => Some("1 line is no row of an access log".to_owned()),
        _ => Some(format!("{} are no rows of an access log", plural(number, "line"))),
    }
}
