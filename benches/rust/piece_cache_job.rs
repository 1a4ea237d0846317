//! What the encoder does with its cache of pieces: lookups of thousands together, with prefetching, then
//! the new ones, then the ids of all. Compiled once beside each cache that is compared.

use lslm_runtime::TokenId;

use super::cache::PieceCache;
use super::chunk::Chunk;
use crate::vocab::piece_key::PieceKey;

/// A cache with what the encoder has around it. Each piece stands for up to four of its bytes instead of
/// its ids, so that no time goes into merging.
#[derive(Default)]
pub(crate) struct Job {
    cache: PieceCache,
    chunk: Chunk,
    out: Vec<TokenId>,
    marks: Vec<usize>,
}

impl Job {
    pub(crate) fn new() -> Self {
        let mut job = Self::default();
        job.cache.clear();
        job.chunk.prepare();
        job
    }

    /// Returns the sum of the ids of all pieces of up to 15 bytes that end at `ends`.
    pub(crate) fn run(&mut self, text: &[u8], ends: &[usize]) -> u64 {
        let (mut sum, mut start, mut rest) = (0, 0, ends);
        while !rest.is_empty() {
            // As many as a pattern returns together.
            let batch = &rest[..rest.len().min(256)];
            let count = self.chunk.add::<false>(&self.cache, text, start, batch);
            self.chunk.probe(&self.cache);
            start = rest[..count].last().copied().unwrap_or(start);
            rest = &rest[count..];
            if count < batch.len()
                && !self.chunk.is_full()
                && let Some((&end, others)) = rest.split_first()
            {
                (start, rest) = (end, others); // Too long for any cache.
            }
            if self.chunk.is_full() || rest.is_empty() {
                self.insert_misses();
                self.chunk.append(&self.cache, &mut self.out, &mut self.marks);
                sum += self.out.drain(..).map(u64::from).sum::<u64>();
            }
        }
        sum
    }

    /// Inserts the pieces of up to 15 bytes that are not in the cache.
    fn insert_misses(&mut self) {
        let misses = self.chunk.misses();
        self.cache.make_room::<PieceKey>(misses.short().count());
        for (number, (index, key)) in misses.short().enumerate() {
            let (found, slot) = self.cache.reserve(key, number);
            misses.ids[index as usize] = slot.map_or(found, |slot| {
                let mut ids = [0; 4];
                ids.iter_mut().zip(key.bytes()).for_each(|(id, byte)| *id = byte.into());
                self.cache.fill(key, slot, &ids[..key.len().min(4)])
            });
        }
    }
}
