//! Log files by path: files as they are, folders with everything in them that may be a log.

use std::{
    fs::File,
    io::{self, Read as _},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use crate::neutralize;

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    /// Named on the command line, not found in a folder: what is wrong with it is an error.
    pub asked_for: bool,
}

/// The path that means standard input.
const STANDARD_INPUT: &str = "-";

impl LogFile {
    /// What it is called.
    pub fn name(&self) -> String {
        if is_standard_input(&self.path) {
            "standard input".to_owned()
        } else {
            self.path.display().to_string()
        }
    }

    /// The same in a sentence.
    pub fn shown(&self) -> String {
        if is_standard_input(&self.path) { self.name() } else { shown(&self.path) }
    }
}

/// True for `-`; a file of this name is `./-`.
pub fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == STANDARD_INPUT
}

/// A path in a sentence, on one line: in quotes when it has spaces, so that it can be copied.
pub fn shown(path: &Path) -> String {
    let path = neutralize::line(&path.display().to_string());
    if path.contains(' ') && !path.contains('\'') { format!("'{path}'") } else { path }
}

/// Why a file or folder cannot be read, and what to do about it.
pub fn unreadable(error: &io::Error) -> String {
    let step = match error.kind() {
        io::ErrorKind::PermissionDenied => "let this user read it, or copy it to where it may",
        io::ErrorKind::NotFound => "it was there before; look who takes it away",
        _ => "look whether the disk or share is there, or copy it to a local disk",
    };
    format!("cannot be read ({error}): {step}")
}

/// A path that leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// Nothing is there.
    #[error(
        "{}: no such file or folder. Give access-log files (.log, .log.gz) or folders that hold them, \
         such as a copy of the bucket's AWSLogs folder; - is standard input.", shown(.0)
    )]
    Missing(PathBuf),
    /// A folder without a log.
    #[error(
        "{}: no file in this folder ends in .log or .gz. Copy logs into it, for example with \
         `aws s3 cp --recursive s3://<BUCKET>/<PREFIX>/AWSLogs/ <FOLDER>`.", shown(.0)
    )]
    NoLogs(PathBuf),
    /// It cannot be read.
    #[error("{} {}", shown(.path), unreadable(.error))]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The files that paths lead to: a file is taken as it is, a folder with its folders, `-` as standard
/// input. Sorted, each once.
///
/// # Errors
/// When a path does not exist, cannot be read, or is a folder without a log.
pub fn find(paths: &[PathBuf]) -> Result<Vec<LogFile>, PathError> {
    let mut files = Vec::new();
    for path in paths {
        if is_standard_input(path) {
            files.push(LogFile { path: path.clone(), asked_for: true });
            continue;
        }
        let unreadable = |error| PathError::Unreadable { path: path.clone(), error };
        let metadata = match path.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(PathError::Missing(path.clone()));
            }
            other => other.map_err(unreadable)?,
        };
        if metadata.is_dir() {
            let before = files.len();
            walk(path, &mut files)?;
            if files.len() == before {
                return Err(PathError::NoLogs(path.clone()));
            }
        } else {
            files.push(LogFile { path: path.clone(), asked_for: true });
        }
    }
    // A file that is named and also found in a folder is read once, as named.
    files.sort_by(|a, b| a.path.cmp(&b.path).then(b.asked_for.cmp(&a.asked_for)));
    let mut seen = std::collections::BTreeSet::new();
    files.retain(|file| seen.insert(file.path.canonicalize().unwrap_or(file.path.clone())));
    Ok(files)
}

fn walk(folder: &Path, files: &mut Vec<LogFile>) -> Result<(), PathError> {
    let unreadable = |error| PathError::Unreadable { path: folder.to_owned(), error };
    for entry in folder.read_dir().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let kind = entry.file_type().map_err(unreadable)?;
        let path = entry.path();
        // Links are not followed: they may lead in a circle.
        if kind.is_dir() {
            walk(&path, files)?;
        } else if kind.is_file() && may_be_a_log(&path) {
            files.push(LogFile { path, asked_for: false });
        }
    }
    Ok(())
}

fn may_be_a_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log" || extension == "gz")
}

/// How much is read at a time.
const CHUNK_BYTES: usize = 128 * 1024;

/// Reads a file, or standard input for `-`, of at most `max` bytes: a device that never ends does not fill the
/// memory.
///
/// # Errors
/// When it cannot be opened or read, or is longer.
pub fn read_at_most(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if is_standard_input(path) {
        io::stdin().lock().take(max + 1).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    }
    if max < bytes.len() as u64 {
        let why = format!("longer than {} MB", max >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// Streams a file, or standard input for `-`, to `sink`, until it says break.
///
/// # Errors
/// When the file cannot be opened or read.
pub fn stream(path: &Path, sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<()> {
    let mut file: Box<dyn io::Read> = if is_standard_input(path) {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path)?)
    };
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        if sink(bytes).is_break() {
            return Ok(());
        }
    }
}
