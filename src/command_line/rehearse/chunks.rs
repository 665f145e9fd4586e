//! Bytes that are remembered, in few large pieces of memory.
//!
//! Small pieces of every object between the large ones that reading an object takes for a moment leave holes
//! that nothing fits into: a quarter of a megabyte for each object, a gigabyte for a day of ten nodes.

use std::collections::BTreeMap;

/// Bytes of a chunk: large beside what is put into it, which is 300 KB at most, and small beside what is
/// held.
const CHUNK_BYTES: usize = 4 << 20;

/// Bytes in the order in which they came; the oldest can be dropped.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// By number.
    chunks: BTreeMap<u64, Chunk>,
    next: u64,
}

#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    /// How many places are in it.
    places: u64,
}

/// Where bytes are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    chunk: u64,
    start: usize,
    end: usize,
}

impl Place {
    /// The number of its chunk.
    pub(super) fn chunk(&self) -> u64 {
        self.chunk
    }
}

impl Chunks {
    /// Keeps a copy.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Place {
        let room = |chunk: &Chunk| chunk.bytes.capacity().saturating_sub(chunk.bytes.len());
        if self.chunks.last_entry().is_none_or(|last| room(last.get()) < bytes.len()) {
            let bytes = Vec::with_capacity(CHUNK_BYTES.max(bytes.len()));
            self.chunks.insert(self.next, Chunk { bytes, places: 0 });
            self.next += 1;
        }
        let number = self.next.saturating_sub(1);
        let chunk = self.chunks.entry(number).or_insert(Chunk { bytes: Vec::new(), places: 0 });
        let start = chunk.bytes.len();
        chunk.bytes.extend_from_slice(bytes);
        chunk.places += 1;
        Place { chunk: number, start, end: chunk.bytes.len() }
    }

    /// `None` when they were dropped.
    pub(super) fn get(&self, place: &Place) -> Option<&[u8]> {
        self.chunks.get(&place.chunk)?.bytes.get(place.start..place.end)
    }

    /// How many bytes are held.
    pub(super) fn bytes(&self) -> u64 {
        self.chunks.values().map(|chunk| chunk.bytes.len() as u64).sum()
    }

    /// Drops the oldest chunk. Returns how many places were in it.
    pub(super) fn drop_oldest(&mut self) -> Option<u64> {
        self.chunks.pop_first().map(|(_, chunk)| chunk.places)
    }

    /// Drops the chunks before this one: nobody needs them.
    pub(super) fn drop_before(&mut self, chunk: u64) {
        self.chunks = self.chunks.split_off(&chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_there_until_its_chunk_is_dropped() {
        let mut chunks = Chunks::default();
        let (half, third) = (vec![1; CHUNK_BYTES / 2], vec![2; CHUNK_BYTES / 2]);
        let (a, b, c) = (chunks.put(&half), chunks.put(&third), chunks.put(b"c"));
        assert_eq!((a.chunk(), b.chunk(), c.chunk()), (0, 0, 1));
        assert_eq!(chunks.bytes(), CHUNK_BYTES as u64 + 1);
        assert!(chunks.get(&a) == Some(&half) && chunks.get(&b) == Some(&third));
        assert_eq!(chunks.drop_oldest(), Some(2));
        assert_eq!((chunks.get(&b), chunks.get(&c)), (None, Some(&b"c"[..])));
        chunks.drop_before(2);
        assert_eq!((chunks.get(&c), chunks.bytes()), (None, 0));
        assert_eq!(chunks.drop_oldest(), None);
        let large = vec![3; CHUNK_BYTES + 1];
        let d = chunks.put(&large);
        assert_eq!((d.chunk(), chunks.get(&d)), (2, Some(&large[..])));
    }
}
