//! Inflates gzip that is pushed in chunks of any size, one member after another.

use std::ops::ControlFlow;

use flate2::{Decompress, FlushDecompress, Status};

/// How gzip begins.
pub const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Inflated text is handed on in chunks of this size: small enough to stay in the cache of the
/// processor, large enough that few lines are cut in two. With each chunk the inflater copies the 32 KB it
/// looks back on: in chunks of 64 KB that is a tenth of its time, in chunks of 256 KB no less than in these.
const CHUNK_BYTES: usize = 128 * 1024;

/// The largest window of deflate, as a power of two.
const WINDOW_BITS: u8 = 15;

/// Why gzip could not be inflated to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The stream ends inside a member.
    Truncated,
    /// The stream is no gzip at this place, or its checksum differs.
    Corrupt,
    /// A whole member is followed by bytes that begin no other.
    TrailingBytes,
}

/// The state between two chunks of gzip.
#[derive(Debug)]
pub struct Gunzip {
    inflate: Decompress,
    inside_member: bool,
    members: u64,
    chunk: Vec<u8>,
}

impl Default for Gunzip {
    fn default() -> Self {
        Self {
            inflate: Decompress::new_gzip(WINDOW_BITS),
            inside_member: false,
            members: 0,
            chunk: Vec::with_capacity(CHUNK_BYTES),
        }
    }
}

impl Gunzip {
    /// Inflates `input` and hands on the text in chunks, until `text` breaks.
    ///
    /// # Errors
    /// When the gzip is damaged; all text before the damage has been handed on. After an error or a
    /// break nothing more may be pushed.
    pub fn push(
        &mut self,
        mut input: &[u8],
        mut text: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Damage> {
        loop {
            if !self.inside_member {
                match input.first() {
                    None => return Ok(ControlFlow::Continue(())),
                    Some(byte) if *byte == MAGIC[0] => self.begin_member(),
                    Some(_) if self.members == 0 => return Err(Damage::Corrupt),
                    Some(_) => return Err(Damage::TrailingBytes),
                }
            }
            let before = self.inflate.total_in();
            let result = self.inflate.decompress_vec(input, &mut self.chunk, FlushDecompress::None);
            let consumed = usize::try_from(self.inflate.total_in() - before).unwrap_or(input.len());
            input = input.get(consumed..).unwrap_or_default();
            let filled = self.chunk.len() == self.chunk.capacity();
            let produced = !self.chunk.is_empty();
            let flow = if produced { text(&self.chunk) } else { ControlFlow::Continue(()) };
            self.chunk.clear();
            if flow.is_break() {
                return Ok(flow);
            }
            match result {
                Ok(Status::StreamEnd) => {
                    self.inside_member = false;
                    self.members += 1;
                }
                Ok(Status::Ok | Status::BufError) => {
                    // A filled chunk may hide more text that needs no further input.
                    if input.is_empty() && !filled {
                        return Ok(ControlFlow::Continue(()));
                    }
                    if consumed == 0 && !produced {
                        return Err(Damage::Corrupt);
                    }
                }
                Err(_) => return Err(Damage::Corrupt),
            }
        }
    }

    /// # Errors
    /// When the last member is not whole.
    pub fn finish(&self) -> Result<(), Damage> {
        if self.inside_member || self.members == 0 {
            return Err(Damage::Truncated);
        }
        Ok(())
    }

    fn begin_member(&mut self) {
        if 0 < self.members {
            // Keeps the gzip wrapper that the decoder was made with.
            self.inflate.reset(true);
        }
        self.inside_member = true;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn inflate(input: &[u8], size: usize) -> (Vec<u8>, Option<Damage>) {
        let mut text = Vec::new();
        let mut gunzip = Gunzip::default();
        for chunk in input.chunks(size) {
            let pushed = gunzip.push(chunk, |part| {
                assert!(part.len() <= CHUNK_BYTES);
                text.extend_from_slice(part);
                ControlFlow::Continue(())
            });
            if let Err(damage) = pushed {
                return (text, Some(damage));
            }
        }
        (text, gunzip.finish().err())
    }

    #[test]
    fn inflates_members_of_any_size() {
        let long: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
        let zeros = vec![0; 10 * CHUNK_BYTES];
        let mut input = Vec::new();
        let mut expected = Vec::new();
        for text in [&b""[..], b"a", &long, b"", &zeros, b"end"] {
            input.extend_from_slice(&gzip(text));
            expected.extend_from_slice(text);
        }
        for size in [1, 7, 4096, input.len()] {
            let (text, damage) = inflate(&input, size);
            assert!(text == expected, "{size}");
            assert_eq!(damage, None, "{size}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let whole = gzip(b"some text");
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            bytes
        };
        let last = whole.len() - 1;
        for (input, text, damage) in [
            (whole.clone(), &b"some text"[..], None),
            (with(1, 0), b"", Some(Damage::Corrupt)),
            (with(2, 9), b"", Some(Damage::Corrupt)),
            (with(last, 9), b"some text", Some(Damage::Corrupt)),
            (with(last - 5, !whole[last - 5]), b"some text", Some(Damage::Corrupt)),
            ([&whole[..], &[0; 512]].concat(), b"some text", Some(Damage::TrailingBytes)),
            ([&whole[..], b"\x1f"].concat(), b"some text", Some(Damage::Truncated)),
            ([&whole[..], b"\x1f\x00"].concat(), b"some text", Some(Damage::Corrupt)),
        ] {
            for size in [1, input.len()] {
                let (inflated, found) = inflate(&input, size);
                assert_eq!((&inflated[..], found), (text, damage), "{input:?}");
            }
        }
    }

    #[test]
    fn is_truncated_at_every_byte() {
        let whole = [gzip(b"some text"), gzip(b"more")].concat();
        let first = gzip(b"some text").len();
        for end in 0..whole.len() {
            let expected = (end != first).then_some(Damage::Truncated);
            assert_eq!(inflate(&whole[..end], 5).1, expected, "{end}");
        }
    }
}
