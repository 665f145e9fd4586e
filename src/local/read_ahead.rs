//! Reads and inflates files on other processors, ahead of who takes their text.
//!
//! To inflate takes longer than all that follows. So that happens on threads of its own, for this file and
//! the next ones, while the text comes in the order of the files: the result is the same as with one
//! processor. Memory is bounded: a thread waits when a few chunks of its file were not taken yet. Where there
//! is one processor there is no thread, and no text is copied.

use std::{
    collections::VecDeque,
    io,
    num::NonZero,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel, sync_channel},
    thread,
};

use super::files;
use crate::access_log::{ReadError, Unpacker};

/// Chunks of text that may wait to be taken: a thread that is ahead by so much is never waited for. A
/// chunk has at most 128 KB.
const CHUNKS: usize = 8;

/// More threads than this are of no use: the one that takes the text is then the slowest.
const MAX_THREADS: usize = 4;

/// Text of one file, and how many bytes of the file were read up to it.
struct Part {
    text: Vec<u8>,
    bytes_read: u64,
}

/// How a file ended: read to its end, or damaged; or it could not be read.
type End = io::Result<Option<ReadError>>;

/// Files that are read ahead, in their order.
pub struct ReadAhead {
    waiting: VecDeque<PathBuf>,
    running: VecDeque<Running>,
    threads: usize,
}

/// A file that a thread reads.
struct Running {
    parts: Receiver<Part>,
    end: Receiver<End>,
    /// Taken text goes back, so that its memory is used again.
    taken: Sender<Vec<u8>>,
}

impl ReadAhead {
    /// Nothing is read before the first file is asked for.
    pub fn of(files: Vec<PathBuf>) -> Self {
        Self::on(files, thread::available_parallelism().map_or(1, NonZero::get))
    }

    fn on(files: Vec<PathBuf>, processors: usize) -> Self {
        // One processor has the taking to do.
        let threads = (processors - 1).min(MAX_THREADS);
        Self { waiting: files.into(), running: VecDeque::new(), threads }
    }

    /// Hands on the text of the next file, with how many bytes of it were read so far, until `text`
    /// breaks. What is wrong with the file's packing, if anything.
    ///
    /// # Errors
    /// When the file cannot be opened or read; the text before that has been handed on.
    pub fn next(&mut self, mut text: impl FnMut(&[u8], u64) -> ControlFlow<()>) -> End {
        if self.threads == 0 {
            return self.waiting.pop_front().map_or(Ok(None), |path| unpack(&path, text));
        }
        // The file that is taken now has a thread, and each of the next ones.
        while self.running.len() <= self.threads
            && let Some(path) = self.waiting.front()
        {
            match Running::start(path.clone()) {
                Ok(file) => self.running.push_back(file),
                // There are threads for the files before it; this one is tried again in its turn.
                Err(_) if !self.running.is_empty() => break,
                Err(error) => {
                    self.waiting.pop_front();
                    return Err(error);
                }
            }
            self.waiting.pop_front();
        }
        let Some(file) = self.running.pop_front() else { return Ok(None) };
        while let Ok(part) = file.parts.recv() {
            if text(&part.text, part.bytes_read).is_break() {
                return Ok(None);
            }
            // The thread may be done with the file.
            let _ = file.taken.send(part.text);
        }
        let lost = || io::Error::other("the thread that read it ended early");
        file.end.recv().unwrap_or_else(|_| Err(lost()))
    }
}

impl Running {
    fn start(path: PathBuf) -> io::Result<Self> {
        let (to_parts, parts) = sync_channel(CHUNKS);
        let (to_end, end) = sync_channel(1);
        let (taken, free) = channel::<Vec<u8>>();
        thread::Builder::new().name("read ahead".to_owned()).spawn(move || {
            let ended = unpack(&path, |chunk, bytes_read| {
                let mut text = free.try_recv().unwrap_or_default();
                text.clear();
                text.extend_from_slice(chunk);
                match to_parts.send(Part { text, bytes_read }) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            });
            drop(to_parts);
            // Who does not ask for the end has stopped before it.
            let _ = to_end.send(ended);
        })?;
        Ok(Self { parts, end, taken })
    }
}

/// Hands on the text of a file, with how many bytes of it were read so far, until `text` breaks.
fn unpack(path: &Path, mut text: impl FnMut(&[u8], u64) -> ControlFlow<()>) -> End {
    let mut unpacker = Unpacker::default();
    let mut bytes_read = 0;
    let mut is_wanted = true;
    let mut damage = None;
    files::stream(path, &mut |bytes| {
        bytes_read += bytes.len() as u64;
        let pushed = unpacker.push(bytes, |chunk| {
            let flow = text(chunk, bytes_read);
            is_wanted = flow.is_continue();
            flow
        });
        damage = pushed.err();
        if is_wanted && damage.is_none() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(if is_wanted { damage.or_else(|| unpacker.finish()) } else { None })
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn text_comes_in_the_order_of_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let long: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
        let whole = gzip(&long);
        fs::write(path("a"), &whole).unwrap();
        fs::write(path("b"), b"plain").unwrap();
        fs::write(path("c"), &whole[..whole.len() / 2]).unwrap();
        fs::write(path("e"), b"").unwrap();
        fs::write(path("f"), gzip(b"last")).unwrap();
        for processors in 1..4 {
            let names = ["a", "b", "c", "d", "e", "a", "f"];
            let ahead = ReadAhead::on(names.map(&path).to_vec(), processors);
            all_come_in_order(ahead, names, &long);
        }
    }

    fn all_come_in_order(mut ahead: ReadAhead, names: [&str; 7], long: &[u8]) {
        let mut all = Vec::new();
        for name in names {
            let (mut text, mut read) = (Vec::new(), 0);
            let end = ahead.next(|part, bytes_read| {
                text.extend_from_slice(part);
                assert!(read <= bytes_read);
                read = bytes_read;
                // The second time only the beginning is wanted.
                if all.len() == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            all.push((name, text, end.map_err(|error| error.kind())));
        }
        assert_eq!((all[0].1.len(), &all[0].2), (long.len(), &Ok(None)));
        assert!(all[0].1 == long && long.starts_with(&all[2].1));
        assert_eq!((all[1].1.as_slice(), &all[1].2), (&b"plain"[..], &Ok(None)));
        assert_eq!(all[2].2, Ok(Some(ReadError::Truncated)));
        assert_eq!(all[3].2, Err(io::ErrorKind::NotFound));
        assert_eq!((all[4].1.len(), &all[4].2), (0, &Ok(None)));
        assert!(!all[5].1.is_empty() && all[5].1.len() < long.len());
        assert_eq!(all[6].1, b"last");
        assert_eq!(ahead.next(|_, _| ControlFlow::Continue(())).unwrap(), None);
    }
}
