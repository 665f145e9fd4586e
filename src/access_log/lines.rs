//! Cuts a stream of chunks into lines.

use std::ops::ControlFlow;

use memchr::memchr;

/// A longer line is skipped, so that memory stays bounded whatever the object holds. In bytes,
/// without the line break.
///
/// No real row comes near: a load balancer accepts a request line and a header of 16 KB each and
/// cuts the user agent at 8 KB. With every field at its limit and every byte of it written as the
/// four bytes of `\xHH`, a row stays below 300 KB.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// How much of an over-long line is shown, to judge what it is.
const HEAD_BYTES: usize = 512;

/// A line, without its line break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// The whole line.
    Whole(&'a [u8]),
    /// A line over [`MAX_LINE_BYTES`].
    TooLong {
        /// How it begins.
        head: &'a [u8],
        /// How long it is.
        bytes: u64,
    },
}

/// Cuts chunks into lines. A line that lies inside a chunk is handed on without being copied; the
/// end of a chunk waits in one buffer that is used again and again.
#[derive(Debug, Default)]
pub struct LineSplitter {
    /// How the waiting line begins: all of it, unless it is too long.
    carry: Vec<u8>,
    /// How long the waiting line is so far.
    waiting: u64,
}

impl LineSplitter {
    /// Hands on every line that ends in `chunk`. When `line` breaks, the rest of the chunk is lost.
    pub fn push<B>(
        &mut self,
        mut chunk: &[u8],
        mut line: impl FnMut(Line<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        while let Some((text, rest)) = split_line(chunk) {
            chunk = rest;
            if self.waiting == 0 {
                line(measured(text, text.len() as u64))?;
            } else {
                self.keep(text);
                self.hand_on(&mut line)?;
            }
        }
        self.keep(chunk);
        ControlFlow::Continue(())
    }

    /// Hands on the last line when no line break ended it.
    pub fn finish<B>(
        &mut self,
        mut line: impl FnMut(Line<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        if self.waiting == 0 {
            return ControlFlow::Continue(());
        }
        self.hand_on(&mut line)
    }

    fn keep(&mut self, part: &[u8]) {
        let room = MAX_LINE_BYTES - self.carry.len();
        self.carry.extend_from_slice(part.get(..room).unwrap_or(part));
        self.waiting += part.len() as u64;
    }

    fn hand_on<B>(&mut self, line: &mut impl FnMut(Line<'_>) -> ControlFlow<B>) -> ControlFlow<B> {
        let flow = line(measured(&self.carry, self.waiting));
        self.carry.clear();
        self.waiting = 0;
        flow
    }
}

fn split_line(chunk: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr(b'\n', chunk)?;
    Some((chunk.get(..at)?, chunk.get(at + 1..)?))
}

fn measured(text: &[u8], bytes: u64) -> Line<'_> {
    if bytes <= MAX_LINE_BYTES as u64 {
        Line::Whole(text)
    } else {
        Line::TooLong { head: text.get(..HEAD_BYTES).unwrap_or(text), bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<(Vec<u8>, u64)> {
        let mut seen = Vec::new();
        let mut splitter = LineSplitter::default();
        let mut take = |line: Line<'_>| {
            seen.push(match line {
                Line::Whole(text) => (text.to_vec(), text.len() as u64),
                Line::TooLong { head, bytes } => (head.to_vec(), bytes),
            });
            ControlFlow::<()>::Continue(())
        };
        for chunk in chunks {
            assert!(splitter.push(chunk, &mut take).is_continue());
            assert!(splitter.carry.capacity() <= 2 * MAX_LINE_BYTES);
        }
        assert!(splitter.finish(&mut take).is_continue());
        seen
    }

    #[test]
    fn cuts_at_line_breaks() {
        for (chunks, expected) in [
            (&["a\nb\n"][..], &["a", "b"][..]),
            (&["a\nb"], &["a", "b"]),
            (&["a", "\n", "b", "c", "\nd"], &["a", "bc", "d"]),
            (&["a\r\n\n", "\nb"], &["a\r", "", "", "b"]),
            (&["", ""], &[]),
        ] {
            let chunks: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
            let seen = lines_of(&chunks);
            let seen: Vec<&[u8]> = seen.iter().map(|(text, _)| text.as_slice()).collect();
            let expected: Vec<&[u8]> = expected.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn an_over_long_line_ends_at_its_line_break() {
        for length in [MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 3 * MAX_LINE_BYTES] {
            let mut text = vec![b'x'; length];
            text.extend_from_slice(b"\nnext");
            let head = if length <= MAX_LINE_BYTES { length } else { HEAD_BYTES };
            for size in [text.len(), 100_000, MAX_LINE_BYTES] {
                let chunks: Vec<&[u8]> = text.chunks(size).collect();
                let seen = lines_of(&chunks);
                assert_eq!(seen.len(), 2, "{length} {size}");
                assert_eq!(seen[0], (vec![b'x'; head], length as u64));
                assert_eq!(seen[1], (b"next".to_vec(), 4));
            }
        }
    }

    #[test]
    fn stops_when_told_to() {
        let mut seen = 0;
        let mut splitter = LineSplitter::default();
        let flow = splitter.push(b"a\nb\nc\n", |_| {
            seen += 1;
            if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(flow.is_break());
        assert_eq!(seen, 2);
    }
}
