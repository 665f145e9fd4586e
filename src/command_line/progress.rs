//! A line that moves while long work goes on, for a person at a terminal.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use crate::numbers::{count, plural};

/// Work that takes less than this is over before a person wonders.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the line moves.
const PERIOD: Duration = Duration::from_millis(200);

/// Shows how far the reading is.
pub(super) struct Progress {
    started: Instant,
    shown: Option<Instant>,
    is_terminal: bool,
    files: usize,
}

impl Progress {
    pub(super) fn new(files: usize) -> Self {
        Self {
            started: Instant::now(),
            shown: None,
            is_terminal: io::stderr().is_terminal() && !super::is_quiet(),
            files,
        }
    }

    /// `file` of the files is being read, `megabytes` of it so far.
    pub(super) fn update(&mut self, file: usize, bytes: u64) {
        let files = count(self.files as u64);
        let (file, megabytes) = (count(file as u64), count(bytes / 1_000_000));
        self.show(|_| format!("reading file {file} of {files}, {megabytes} MB"));
    }

    /// Shows a line, given the time since the beginning, unless it is too soon for another one.
    pub(super) fn show(&mut self, line: impl FnOnce(Duration) -> String) {
        let elapsed = self.started.elapsed();
        if !self.is_terminal || elapsed < PATIENCE {
            return;
        }
        if self.shown.is_some_and(|shown| shown.elapsed() < PERIOD) {
            return;
        }
        self.shown = Some(Instant::now());
        let _ = write!(io::stderr().lock(), "\r\x1b[K{}", line(elapsed));
    }

    /// How long it has taken so far.
    #[cfg(feature = "aws")]
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes the line away.
    pub(super) fn done(&self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// Bytes and rows that were read, and how fast.
pub(super) fn rate(bytes: u64, rows: u64, took: Duration) -> String {
    let (megabytes, seconds) = (bytes as f64 / 1e6, took.as_secs_f64());
    let (per_second, rows) = (megabytes / seconds.max(0.001), plural(rows, "row"));
    format!("{megabytes:.1} MB, {rows} in {seconds:.1} s ({per_second:.1} MB/s)")
}

/// Says that connections are held idle, and for how long still.
#[cfg(feature = "probe")]
pub(super) struct Waiting {
    begun: std::cell::Cell<Option<(Instant, usize, u64)>>,
    shown: std::cell::Cell<bool>,
    is_terminal: bool,
    is_quiet: bool,
}

#[cfg(feature = "probe")]
impl Waiting {
    pub(super) fn new() -> Self {
        Self {
            begun: std::cell::Cell::new(None),
            shown: std::cell::Cell::new(false),
            is_terminal: io::stderr().is_terminal(),
            is_quiet: super::is_quiet(),
        }
    }

    /// So many connections are held from now on, for at most so many seconds.
    pub(super) fn begin(&self, connections: usize, seconds: u64) {
        self.begun.set(Some((Instant::now(), connections, seconds)));
    }

    /// Moves the line at a terminal; elsewhere one line says what goes on.
    pub(super) fn update(&self) {
        let Some((begun, connections, seconds)) = self.begun.get() else { return };
        if self.is_quiet || begun.elapsed() < PATIENCE || (!self.is_terminal && self.shown.get()) {
            return;
        }
        let held = plural(connections as u64, "connection");
        let mut line = io::stderr().lock();
        let _ = if self.is_terminal {
            let waited = begun.elapsed().as_secs();
            write!(line, "\r\x1b[Kholding {held} idle, {waited} of at most {} s", seconds + 1)
        } else {
            writeln!(line, "holding {held} idle for at most {} s", seconds + 1)
        };
        self.shown.set(true);
    }

    /// Takes the line away.
    pub(super) fn done(&self) {
        if self.shown.get() && self.is_terminal {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
