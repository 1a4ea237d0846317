//! Words and how often each occurs.
//!
//! A word of up to 15 bytes is its own key, so most are compared in two instructions and nothing
//! is allocated for them; longer ones lie in an arena and are found by a 64-bit hash and their
//! bytes. The table is cut into parts by the first bits of the hash: parts of several tables are
//! added up independently of each other, and only one part at a time is copied when it grows.

use std::fs::File;
use std::hash::BuildHasher;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use foldhash::fast::FixedState;
use lslm_runtime::{Error, Result, Task};
use rayon::prelude::*;

use super::prefetch::prefetch;

const PART_BITS: u32 = 6;
const PARTS: usize = 1 << PART_BITS;
/// The longest word that is its own key.
const SHORT: usize = 15;
/// In the last byte of a key: the word lies in the arena.
const LONG: u64 = 1 << 63;
/// How many words wait for their memory.
const QUEUE: usize = 32;
/// About how many bytes of words are read from a file at once.
const PIECE: usize = 1 << 20;
const OFFSET: u64 = (1 << 56) - 1;
const HASHER: FixedState = FixedState::with_seed(0x776f_7264);

/// A short word: its bytes, padded with zeros, and its length in the last byte.
/// A long one: its hash, and its place in the arena with [`LONG`] set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    low: u64,
    high: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    key: Key,
    /// Zero: the entry is empty.
    count: u64,
}

/// The bits of the first n bytes.
const MASKS: [u128; SHORT + 1] = {
    let mut masks = [0; SHORT + 1];
    let mut length = 1;
    while length <= SHORT {
        masks[length] = masks[length - 1] << 8 | 0xFF;
        length += 1;
    }
    masks
};

const EMPTY: Entry = Entry { key: Key { low: 0, high: 0 }, count: 0 };

impl Key {
    /// The key of a word of 1 to 15 bytes.
    #[inline(always)]
    fn short(word: &[u8]) -> Self {
        let length = word.len();
        let tag = (length as u64) << 56;
        if let (Some(first), Some(last)) = (word.first_chunk(), word.last_chunk()) {
            let rest = u64::from_le_bytes(*last).checked_shr(128 - 8 * length as u32).unwrap_or(0);
            return Self { low: u64::from_le_bytes(*first), high: rest | tag };
        }
        // the two halves may overlap: the same bytes then meet in the same place
        let low = if let (Some(first), Some(last)) = (word.first_chunk(), word.last_chunk()) {
            let last = u64::from(u32::from_le_bytes(*last));
            u64::from(u32::from_le_bytes(*first)) | last << (8 * (length - 4))
        } else {
            let byte = |at: usize| u64::from(word[at]) << (8 * at);
            byte(0) | byte(length / 2) | byte(length - 1)
        };
        Self { low, high: tag }
    }

    /// As [`Self::short`], for the first `length` bytes of a window of text: without branches.
    #[inline(always)]
    fn window(window: [u8; 16], length: usize) -> Self {
        let bits = u128::from_le_bytes(window) & MASKS[length];
        Self { low: bits as u64, high: (bits >> 64) as u64 | (length as u64) << 56 }
    }

    #[inline(always)]
    fn is_long(self) -> bool {
        self.high & LONG != 0
    }

    #[inline(always)]
    fn hash(self) -> u64 {
        if self.is_long() {
            return self.low;
        }
        let product = u128::from(self.low ^ 0x9E37_79B9_7F4A_7C15)
            * u128::from(self.high ^ 0xD1B5_4A32_D192_ED03);
        (product >> 64) as u64 ^ product as u64
    }
}

#[inline(always)]
fn part_of(hash: u64) -> usize {
    (hash >> (u64::BITS - PART_BITS)) as usize
}

/// One part of a table.
#[derive(Clone, Default)]
struct Part {
    /// A power of two of them, at most three quarters in use; or none.
    entries: Vec<Entry>,
    used: usize,
    /// Long words: the length in four bytes, then the bytes.
    arena: Vec<u8>,
}

impl Part {
    /// Where the search for `hash` begins; bits that [`part_of`] does not use.
    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        (hash >> 8) as usize & self.entries.len().wrapping_sub(1)
    }

    #[inline(always)]
    fn add_short(&mut self, key: Key, hash: u64, count: u64) -> u64 {
        if self.entries.is_empty() {
            self.grow();
        }
        let mask = self.entries.len() - 1;
        let mut at = self.home(hash);
        loop {
            let entry = &mut self.entries[at];
            if entry.key == key {
                entry.count = entry.count.saturating_add(count);
                return entry.count;
            }
            if entry.count == 0 {
                *entry = Entry { key, count };
                self.used += 1;
                if self.used * 4 > self.entries.len() * 3 {
                    self.grow();
                }
                return count;
            }
            at = (at + 1) & mask;
        }
    }

    fn add(&mut self, word: &[u8], count: u64) -> u64 {
        if word.len() > SHORT {
            self.add_long(word, HASHER.hash_one(word), count)
        } else {
            let key = Key::short(word);
            self.add_short(key, key.hash(), count)
        }
    }

    fn add_long(&mut self, word: &[u8], hash: u64, count: u64) -> u64 {
        if self.entries.is_empty() {
            self.grow();
        }
        let mask = self.entries.len() - 1;
        let mut at = self.home(hash);
        loop {
            let entry = &mut self.entries[at];
            if entry.key.low == hash
                && entry.key.is_long()
                && in_arena(&self.arena, entry.key) == word
            {
                entry.count = entry.count.saturating_add(count);
                return entry.count;
            }
            if entry.count == 0 {
                let key = Key { low: hash, high: LONG | self.arena.len() as u64 };
                *entry = Entry { key, count };
                self.arena.extend_from_slice(&(word.len() as u32).to_le_bytes());
                self.arena.extend_from_slice(word);
                self.used += 1;
                if self.used * 4 > self.entries.len() * 3 {
                    self.grow();
                }
                return count;
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let larger = vec![EMPTY; (self.entries.len() * 2).max(16)];
        let old = std::mem::replace(&mut self.entries, larger);
        let mask = self.entries.len() - 1;
        for entry in old {
            if entry.count > 0 {
                let mut at = self.home(entry.key.hash());
                while self.entries[at].count > 0 {
                    at = (at + 1) & mask;
                }
                self.entries[at] = entry;
            }
        }
    }

    fn for_each(&self, mut f: impl FnMut(&[u8], u64)) {
        for entry in self.entries.iter().filter(|entry| entry.count > 0) {
            if entry.key.is_long() {
                f(in_arena(&self.arena, entry.key), entry.count);
            } else {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&entry.key.low.to_le_bytes());
                bytes[8..].copy_from_slice(&entry.key.high.to_le_bytes());
                f(&bytes[..usize::from(bytes[SHORT])], entry.count);
            }
        }
    }

    /// Adds all words of `other`.
    fn add_all(&mut self, other: &Self) {
        for entry in other.entries.iter().filter(|entry| entry.count > 0) {
            let hash = entry.key.hash();
            if entry.key.is_long() {
                self.add_long(in_arena(&other.arena, entry.key), hash, entry.count);
            } else {
                self.add_short(entry.key, hash, entry.count);
            }
        }
    }

    fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.arena.capacity()
    }
}

fn in_arena(arena: &[u8], key: Key) -> &[u8] {
    let rest = arena.get((key.high & OFFSET) as usize..).unwrap_or_default();
    match rest.split_first_chunk() {
        Some((length, rest)) => &rest[..u32::from_le_bytes(*length) as usize],
        None => &[],
    }
}

/// Words on their way into a table.
///
/// The place of a word in a large table is seldom in the cache; it is asked for when the word
/// comes, and used when some more words have come.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    words: [(Key, u64); QUEUE],
    length: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self { words: [(EMPTY.key, 0); QUEUE], length: 0 }
    }
}

impl Queue {
    /// Counts the word `text[start..end]` once in `table`, at the latest with [`Self::flush`].
    #[inline(always)]
    pub(super) fn add(&mut self, table: &mut Table, text: &[u8], start: usize, end: usize) {
        let length = end - start;
        let key = match text.get(start..).and_then(<[u8]>::first_chunk) {
            Some(window) if (1..=SHORT).contains(&length) => Key::window(*window, length),
            _ if (1..=SHORT).contains(&length) => Key::short(&text[start..end]),
            _ => {
                table.add(&text[start..end], 1);
                return;
            }
        };
        let hash = key.hash();
        table.prefetch(hash);
        self.words[self.length] = (key, hash);
        self.length += 1;
        if self.length == QUEUE {
            self.flush(table);
        }
    }

    /// Counts what is waiting.
    pub(super) fn flush(&mut self, table: &mut Table) {
        for &(key, hash) in &self.words[..self.length] {
            table.parts[part_of(hash)].add_short(key, hash, 1);
        }
        self.length = 0;
    }
}

/// A table of words.
#[derive(Clone)]
pub(super) struct Table {
    parts: Vec<Part>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("words", &self.len()).finish_non_exhaustive()
    }
}

impl Default for Table {
    fn default() -> Self {
        Self { parts: vec![Part::default(); PARTS] }
    }
}

impl Table {
    /// Counts `word` `count` times more, and returns how often that makes; it stops at `u64::MAX`.
    ///
    /// A word longer than 4 GB is cut there.
    pub(super) fn add(&mut self, word: &[u8], count: u64) -> u64 {
        if word.is_empty() || count == 0 {
            return 0;
        }
        if word.len() > SHORT {
            let word = &word[..word.len().min(u32::MAX as usize)];
            let hash = HASHER.hash_one(word);
            return self.parts[part_of(hash)].add_long(word, hash, count);
        }
        let key = Key::short(word);
        let hash = key.hash();
        self.parts[part_of(hash)].add_short(key, hash, count)
    }

    /// Asks for the memory that a word with this hash will need.
    #[inline(always)]
    fn prefetch(&self, hash: u64) {
        let part = &self.parts[part_of(hash)];
        prefetch(&part.entries, part.home(hash));
    }

    /// The bytes of memory in use.
    pub(super) fn memory(&self) -> usize {
        self.parts.iter().map(Part::memory).sum()
    }

    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.used).sum()
    }

    /// Writes all words to a run at the end of `file`, and forgets them.
    pub(super) fn spill(&mut self, runs: &mut Runs) -> Result<()> {
        let mut ends = Vec::with_capacity(PARTS);
        let mut segment = Vec::new();
        for part in &mut self.parts {
            segment.clear();
            part.for_each(|word, count| {
                write_number(&mut segment, word.len() as u64);
                segment.extend_from_slice(word);
                write_number(&mut segment, count);
            });
            runs.write(&segment)?;
            ends.push(runs.length);
            *part = Part::default();
        }
        runs.ends.push(ends);
        Ok(())
    }
}

/// Tables that were written to a file without a name; it is gone when the process is.
#[derive(Debug)]
pub(super) struct Runs {
    file: File,
    folder: PathBuf,
    length: u64,
    /// Where the segment of each part ends, for each run.
    ends: Vec<Vec<u64>>,
}

impl Runs {
    pub(super) fn create(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(Error::io(folder))?;
        Ok(Self { file, folder: folder.to_owned(), length: 0, ends: Vec::new() })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(&self.folder))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Adds the words of one part of all runs to `sum`.
    fn add_part(&mut self, part: usize, sum: &mut Part) -> Result<()> {
        let mut segment = Vec::new();
        for run in 0..self.ends.len() {
            let start = match (part, run) {
                (0, 0) => 0,
                (0, _) => self.ends[run - 1][PARTS - 1],
                _ => self.ends[run][part - 1],
            };
            segment.resize((self.ends[run][part] - start) as usize, 0);
            self.file
                .seek(SeekFrom::Start(start))
                .and_then(|_| self.file.read_exact(&mut segment))
                .map_err(Error::io(&self.folder))?;
            let mut rest = &segment[..];
            while let Some((word, count)) = next_word(&mut rest) {
                sum.add(word, count);
            }
        }
        Ok(())
    }
}

fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn next_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn next_word<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], u64)> {
    let length = next_number(rest)? as usize;
    let (word, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some((word, next_number(rest)?))
}

/// Distinct words, each with the number of its occurrences; in memory, or in a file without a name.
#[derive(Clone, Default)]
pub struct WordCounts {
    table: Table,
    /// What does not fit into memory, in pieces of no more than a few megabytes.
    file: Option<Arc<Mutex<Spilled>>>,
}

struct Spilled {
    file: File,
    folder: PathBuf,
    /// The lengths of the pieces in bytes.
    pieces: Vec<usize>,
    words: usize,
}

impl std::fmt::Debug for WordCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WordCounts").field("words", &self.len()).finish_non_exhaustive()
    }
}

impl WordCounts {
    /// From words with counts; a word that comes twice has the sum of both.
    ///
    /// Fails with [`Error::Invalid`] when such a sum passes 2^64.
    pub fn from_words<W: AsRef<[u8]>>(words: impl IntoIterator<Item = (W, u64)>) -> Result<Self> {
        let mut table = Table::default();
        for (word, count) in words {
            if table.add(word.as_ref(), count) == u64::MAX {
                return Err(too_many());
            }
        }
        Ok(Self { table, file: None })
    }

    /// The number of distinct words.
    pub fn len(&self) -> usize {
        self.table.len() + self.file.as_ref().map_or(0, |file| lock(file).words)
    }

    /// Whether there is no word at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of memory in use.
    pub fn memory(&self) -> usize {
        self.table.memory()
    }

    /// Calls `f` with each word and its count; in an order without meaning, but always the same.
    ///
    /// Returns the first error of `f`, or of reading what does not fit into memory.
    pub fn for_each(&self, mut f: impl FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
        for part in &self.table.parts {
            let mut result = Ok(());
            part.for_each(|word, count| {
                if result.is_ok() {
                    result = f(word, count);
                }
            });
            result?;
        }
        let Some(spilled) = &self.file else { return Ok(()) };
        let mut spilled = lock(spilled);
        let Spilled { file, folder, pieces, .. } = &mut *spilled;
        file.rewind().map_err(Error::io(&*folder))?;
        let mut piece = Vec::new();
        for &length in &*pieces {
            piece.resize(length, 0);
            file.read_exact(&mut piece).map_err(Error::io(&*folder))?;
            let mut rest = &piece[..];
            while let Some((word, count)) = next_word(&mut rest) {
                f(word, count)?;
            }
        }
        Ok(())
    }

    /// The sum of several tables, made with the threads of the current pool.
    pub(super) fn sum(mut tables: Vec<Table>, task: &Task) -> Result<Self> {
        if tables.len() == 1 {
            return Ok(Self { table: tables.swap_remove(0), file: None });
        }
        let mut by_part: Vec<Vec<Part>> = (0..PARTS).map(|_| Vec::new()).collect();
        for table in tables {
            for (parts, part) in by_part.iter_mut().zip(table.parts) {
                parts.push(part);
            }
        }
        let parts = by_part
            .into_par_iter()
            .map(|mut parts| {
                parts.sort_by_key(|part| std::cmp::Reverse(part.used));
                let mut parts = parts.into_iter();
                let mut sum = parts.next().unwrap_or_default();
                for part in parts {
                    task.check()?;
                    sum.add_all(&part);
                }
                Ok(sum)
            })
            .collect::<Result<_>>()?;
        Ok(Self { table: Table { parts }, file: None })
    }

    /// The sum of runs in `folder`, of which one part at a time is in memory.
    pub(super) fn sum_runs(mut runs: Vec<Runs>, folder: &Path, task: &Task) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(Error::io(folder))?;
        let mut spilled = Spilled { file, folder: folder.to_owned(), pieces: Vec::new(), words: 0 };
        let mut piece = Vec::new();
        for part in 0..PARTS {
            let mut sum = Part::default();
            for runs in &mut runs {
                task.check()?;
                runs.add_part(part, &mut sum)?;
            }
            spilled.words += sum.used;
            let mut result = Ok(());
            let mut write = |piece: &mut Vec<u8>| {
                if result.is_ok() && !piece.is_empty() {
                    result = spilled.file.write_all(piece).map_err(Error::io(folder));
                    spilled.pieces.push(piece.len());
                }
                piece.clear();
            };
            sum.for_each(|word, count| {
                write_number(&mut piece, word.len() as u64);
                piece.extend_from_slice(word);
                write_number(&mut piece, count);
                if piece.len() >= PIECE {
                    write(&mut piece);
                }
            });
            write(&mut piece);
            result?;
        }
        Ok(Self { table: Table::default(), file: Some(Arc::new(Mutex::new(spilled))) })
    }

    /// No sum of counts, however the words are cut into pairs, may pass 64 bits.
    pub(super) fn check_sum(&self) -> Result<()> {
        let mut bytes = 0u128;
        self.for_each(|word, count| {
            bytes += word.len() as u128 * u128::from(count);
            Ok(())
        })?;
        u64::try_from(bytes).map(drop).map_err(|_| too_many())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn too_many() -> Error {
    Error::invalid("the words have more than 2^64 bytes in all; divide the counts")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn sorted(counts: &WordCounts) -> Vec<(Vec<u8>, u64)> {
        let mut list = Vec::new();
        counts
            .for_each(|word, count| {
                list.push((word.to_vec(), count));
                Ok(())
            })
            .unwrap();
        list.sort();
        list
    }

    proptest! {
        #[test]
        fn counts_as_a_map_does(
            words in proptest::collection::vec(
                (proptest::collection::vec(0..3u8, 0..40), 0..9u64), 0..300),
            cut in 0..300usize,
        ) {
            let mut map: HashMap<&[u8], u64> = HashMap::new();
            for (word, count) in &words {
                if !word.is_empty() && *count > 0 {
                    *map.entry(word).or_default() += count;
                }
            }
            let mut expected: Vec<_> = map.into_iter().map(|(w, c)| (w.to_vec(), c)).collect();
            expected.sort();
            let whole = WordCounts::from_words(words.clone()).unwrap();
            prop_assert_eq!(sorted(&whole), expected.clone());
            prop_assert_eq!(whole.len(), expected.len());
            let (one, two) = words.split_at(cut.min(words.len()));
            let mut halves = [one, two].map(|half| {
                WordCounts::from_words(half.to_vec()).unwrap().table
            });
            let task = Task::default();
            let sum = WordCounts::sum(halves.clone().into(), &task).unwrap();
            prop_assert_eq!(sorted(&sum), expected.clone());
            // and the same by way of a file, with two runs in one and one in the other
            let folder = std::env::temp_dir();
            let mut runs = [(); 2].map(|()| Runs::create(&folder).unwrap());
            halves[0].spill(&mut runs[0]).unwrap();
            halves[0].spill(&mut runs[1]).unwrap();
            halves[1].spill(&mut runs[0]).unwrap();
            let sum = WordCounts::sum_runs(runs.into(), &folder, &task).unwrap();
            prop_assert_eq!(sum.len(), expected.len());
            prop_assert_eq!(sorted(&sum), expected);
        }
    }

    #[test]
    fn numbers_of_any_size_survive_a_file() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            assert_eq!(next_number(&mut &bytes[..]), Some(number));
            assert_eq!(next_number(&mut &bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn short_keys_are_exact() {
        let text = b"0123456789abcdef";
        for length in 1..=SHORT {
            let key = Key::short(&text[..length]);
            assert!(key == Key::window(*text, length));
            let bytes = [key.low.to_le_bytes(), key.high.to_le_bytes()].concat();
            assert_eq!(&bytes[..length], &text[..length]);
            assert!(bytes[length..SHORT].iter().all(|&byte| byte == 0));
            assert_eq!(usize::from(bytes[SHORT]), length);
        }
    }
}
