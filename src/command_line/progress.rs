//! A line that moves while long work goes on, for a person at a terminal.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use crate::numbers::count;

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
            is_terminal: io::stderr().is_terminal(),
            files,
        }
    }

    /// `file` of the files is being read, `megabytes` of it so far.
    pub(super) fn update(&mut self, file: usize, bytes: u64) {
        if !self.is_terminal || self.started.elapsed() < PATIENCE {
            return;
        }
        if self.shown.is_some_and(|shown| shown.elapsed() < PERIOD) {
            return;
        }
        self.shown = Some(Instant::now());
        let _ = write!(
            io::stderr().lock(),
            "\r\x1b[Kreading file {} of {}, {} MB",
            count(file as u64),
            count(self.files as u64),
            count(bytes / 1_000_000)
        );
    }

    /// Takes the line away.
    pub(super) fn done(&self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
