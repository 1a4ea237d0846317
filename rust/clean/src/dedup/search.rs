//! Marks all but the first of equal entries of many hash lists.
//!
//! ```text
//! for each range of buckets, on all threads:
//!     entries = (hash, list, position) of all lists in the range, sorted
//!     for each run of one hash:
//!         mark all but the first; if an older index has the hash, the first too
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lslm_runtime::files::write_atomically;
use lslm_runtime::parallel::for_each_index;
use lslm_runtime::{Result, Task};

use crate::dedup::hash_list::{N_BUCKETS, bucket_of, list_len, read_hash_list};
use crate::dedup::index::{CollectedHashes, IndexLevel};

/// Entries that are searched at a time: 32 MB in memory, and some milliseconds to sort.
const RANGE_ENTRIES: u64 = 1 << 20;
/// Ranges per thread, at least, so that all threads end at about the same time.
const RANGES_PER_THREAD: usize = 4;
/// Entries of a range between two checks whether the job is cancelled.
const CHECK_ENTRIES: usize = 1 << 16;

/// One bit for each entry of a list; threads can set them.
#[derive(Debug, Default)]
pub struct Marks {
    words: Vec<AtomicU64>,
}

impl Marks {
    /// Returns `len` bits that are not set.
    pub fn new(len: u64) -> Self {
        Self { words: (0..len.div_ceil(64)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Sets the bit at `position`.
    pub fn set(&self, position: u64) {
        if let Some(word) = self.words.get((position / 64) as usize) {
            word.fetch_or(1 << (position % 64), Ordering::Relaxed);
        }
    }

    /// Returns whether the bit at `position` is set.
    pub fn has(&self, position: u64) -> bool {
        let word = self.words.get((position / 64) as usize);
        word.is_some_and(|word| word.load(Ordering::Relaxed) >> (position % 64) & 1 == 1)
    }

    /// Returns the number of bits that are set.
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.load(Ordering::Relaxed).count_ones())).sum()
    }
}

/// A search for equal entries among hash lists, one for each partition, in their order.
#[derive(Debug, Default)]
pub struct DedupSearch<'a> {
    /// The lists.
    pub lists: &'a [PathBuf],
    /// For each list the entries that are left out; empty if there are none.
    pub skipped: &'a [Marks],
    /// Hashes of earlier jobs, which come before all entries.
    pub older: Option<IndexLevel<'a>>,
    /// Whether [`SearchResult::copies`] are returned.
    pub wants_copies: bool,
    /// The beginning of the paths of files that get all hashes, for [`DedupIndex::write`].
    ///
    /// [`DedupIndex::write`]: super::DedupIndex::write
    pub collect: Option<&'a Path>,
}

/// What a search found.
#[derive(Debug)]
pub struct SearchResult {
    /// For each list the entries that equal an earlier one.
    pub duplicates: Vec<Marks>,
    /// For each list the entries that equal one of an older index: part of `duplicates`.
    pub older: Vec<Marks>,
    /// For each list the entries that occur more than once, with the number of times, by position.
    pub copies: Vec<Vec<(u64, u64)>>,
    /// The number of groups of equal entries, by their size; those of one entry are left out.
    pub groups: BTreeMap<u64, u64>,
    /// The entries that were compared.
    pub n_compared: u64,
    /// The distinct hashes, those of the older index included.
    pub collected: Option<CollectedHashes>,
}

/// What the search of one range found.
#[derive(Default)]
struct RangeResult {
    copies: Vec<(u32, u64, u64)>,
    groups: BTreeMap<u64, u64>,
    n_compared: u64,
    /// The number of distinct hashes by bucket, from the first of the range.
    counts: Vec<u64>,
    file: Option<PathBuf>,
}

impl DedupSearch<'_> {
    /// Runs the search on `threads` threads. The result depends on the entries alone.
    pub fn run(&self, threads: usize, task: &Task) -> Result<SearchResult> {
        let lens = self.lists.iter().map(|list| list_len(list)).collect::<Result<Vec<_>>>()?;
        let total = lens.iter().sum::<u64>() + self.older.map_or(0, |older| older.len());
        let n_ranges = (total.div_ceil(RANGE_ENTRIES) as usize)
            .max(if total < RANGE_ENTRIES / 16 { 1 } else { threads * RANGES_PER_THREAD })
            .clamp(1, N_BUCKETS);
        let marks = || lens.iter().map(|len| Marks::new(*len)).collect::<Vec<_>>();
        let (duplicates, older) = (marks(), marks());
        let ranges = for_each_index(n_ranges, threads, |range| {
            let buckets = range * N_BUCKETS / n_ranges..(range + 1) * N_BUCKETS / n_ranges;
            self.search(range, buckets, (&duplicates, &older), task)
        })?;
        let mut found = SearchResult {
            duplicates,
            older,
            copies: vec![Vec::new(); self.lists.len()],
            groups: BTreeMap::new(),
            n_compared: 0,
            collected: self.collect.map(|_| CollectedHashes::default()),
        };
        for range in ranges {
            found.n_compared += range.n_compared;
            for (size, count) in range.groups {
                *found.groups.entry(size).or_default() += count;
            }
            for (list, position, size) in range.copies {
                found.copies[list as usize].push((position, size));
            }
            if let Some(collected) = &mut found.collected {
                collected.counts.extend(range.counts);
                collected.files.extend(range.file);
            }
        }
        found.copies.iter_mut().for_each(|copies| copies.sort_unstable());
        Ok(found)
    }

    /// Searches the entries in `buckets`, and marks them in the two sets: equal to an earlier one, and
    /// to one of the older index.
    fn search(
        &self,
        range: usize,
        buckets: Range<usize>,
        (duplicates, older_marks): (&[Marks], &[Marks]),
        task: &Task,
    ) -> Result<RangeResult> {
        let mut entries: Vec<(u128, u32, u64)> = Vec::new();
        for (index, list) in self.lists.iter().enumerate() {
            let skipped = self.skipped.get(index);
            let read = read_hash_list(list, buckets.clone())?.into_iter();
            let taking_part =
                read.filter(|(_, position)| !skipped.is_some_and(|marks| marks.has(*position)));
            entries.extend(taking_part.map(|(hash, position)| (hash, index as u32, position)));
            task.check()?;
        }
        entries.sort_unstable();
        let older = match self.older {
            Some(older) => older.read(buckets.clone())?,
            None => Vec::new(),
        };
        let mut found = RangeResult { n_compared: entries.len() as u64, ..RangeResult::default() };
        let mut seen = older.iter().copied().peekable();
        let mut collected: Vec<u128> = Vec::new();
        let mut n_checked = 0;
        for run in entries.chunk_by(|a, b| a.0 == b.0) {
            let hash = run[0].0;
            while let Some(earlier) = seen.next_if(|earlier| *earlier < hash) {
                collected.push(earlier);
            }
            let is_older = seen.next_if_eq(&hash).is_some();
            collected.push(hash);
            for (_, list, position) in &run[usize::from(!is_older)..] {
                duplicates[*list as usize].set(*position);
                if is_older {
                    older_marks[*list as usize].set(*position);
                }
            }
            let size = run.len() as u64;
            if size > 1 {
                *found.groups.entry(size).or_default() += 1;
                if self.wants_copies {
                    found.copies.extend(run.iter().map(|(_, list, at)| (*list, *at, size)));
                }
            }
            n_checked += run.len();
            if n_checked >= CHECK_ENTRIES {
                task.advance(n_checked as u64)?;
                n_checked = 0;
            }
        }
        task.advance(n_checked as u64)?;
        if let Some(path) = self.collect {
            collected.extend(seen);
            found.counts = vec![0; buckets.len()];
            for hash in &collected {
                found.counts[bucket_of(*hash) - buckets.start] += 1;
            }
            let bytes: Vec<u8> = collected.iter().flat_map(|hash| hash.to_le_bytes()).collect();
            let file = path.with_extension(format!("{range:04}"));
            write_atomically(&file, &bytes)?;
            found.file = Some(file);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::dedup::hash_list::write_hash_list;
    use crate::dedup::index::DedupIndex;
    use crate::dedup::parts::{Dedup, DedupSettings, PartKind, content_hash};

    /// Writes the texts of each partition as hash lists.
    fn write(folder: &Path, partitions: &[Vec<String>]) -> Vec<PathBuf> {
        let write = |(index, texts): (usize, &Vec<String>)| {
            let path = folder.join(format!("{index}.list"));
            let hashes = (0..).zip(texts).map(|(at, text)| (content_hash(text), at));
            write_hash_list(&path, hashes.collect()).unwrap();
            path
        };
        partitions.iter().enumerate().map(write).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn the_search_equals_a_map_of_first_positions(
            partitions in proptest::collection::vec(
                proptest::collection::vec("[a-d]{0,2}", 0..30), 1..5,
            ),
            earlier in proptest::collection::vec("[a-d]{0,2}", 0..12),
            skips in any::<u64>(),
            threads in 1..4_usize,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let settings = DedupSettings::default();
            Dedup::new(settings.clone()).unwrap();
            let older_lists = write(&folder.path().join("older"), std::slice::from_ref(&earlier));
            let older_found = DedupSearch {
                lists: &older_lists,
                collect: Some(&folder.path().join("older.seen")),
                ..DedupSearch::default()
            }.run(threads, &Task::default()).unwrap();
            let path = folder.path().join("older.index");
            DedupIndex::write(&path, &settings, older_found.collected.as_ref(), None).unwrap();
            let index = DedupIndex::open(&path).unwrap();
            let is_skipped = |list: usize, at: usize| skips >> ((list * 7 + at) % 64) & 7 == 7;
            let skipped: Vec<Marks> = partitions.iter().enumerate().map(|(list, texts)| {
                let marks = Marks::new(texts.len() as u64);
                (0..texts.len()).filter(|at| is_skipped(list, *at)).for_each(|at| marks.set(at as u64));
                marks
            }).collect();
            let lists = write(folder.path(), &partitions);
            let found = DedupSearch {
                lists: &lists,
                skipped: &skipped,
                older: index.documents(),
                wants_copies: true,
                collect: Some(&folder.path().join("seen")),
            }.run(threads, &Task::default()).unwrap();

            let earlier: HashSet<&String> = earlier.iter().collect();
            let mut counts: HashMap<&String, u64> = HashMap::new();
            let mut seen = earlier.clone();
            for (list, texts) in partitions.iter().enumerate() {
                for (at, text) in texts.iter().enumerate() {
                    let skipped = is_skipped(list, at);
                    let is_duplicate = !skipped && !seen.insert(text);
                    prop_assert_eq!(found.duplicates[list].has(at as u64), is_duplicate);
                    let is_older = !skipped && earlier.contains(text);
                    prop_assert_eq!(found.older[list].has(at as u64), is_older);
                    *counts.entry(text).or_default() += u64::from(!skipped);
                }
            }
            prop_assert_eq!(found.n_compared, counts.values().sum::<u64>());
            for (list, texts) in partitions.iter().enumerate() {
                let expected: Vec<(u64, u64)> = (0..).zip(texts)
                    .filter(|(at, text)| !is_skipped(list, *at as usize) && counts[text] > 1)
                    .map(|(at, text)| (at, counts[text])).collect();
                prop_assert_eq!(&found.copies[list], &expected);
            }
            let mut groups: BTreeMap<u64, u64> = BTreeMap::new();
            for size in counts.values().filter(|size| **size > 1) {
                *groups.entry(*size).or_default() += 1;
            }
            prop_assert_eq!(&found.groups, &groups);
            // the new index has what either has seen
            DedupIndex::write(&path, &settings, found.collected.as_ref(), None).unwrap();
            let level = DedupIndex::open(&path).unwrap();
            let mut hashes: Vec<u128> = seen.iter().map(|text| content_hash(text)).collect();
            hashes.sort_unstable();
            prop_assert_eq!(level.documents().unwrap().read(0..N_BUCKETS).unwrap(), hashes);
        }
    }

    #[test]
    fn a_broken_index_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let lists = write(folder.path(), &[vec!["a".to_owned(), "b".to_owned()]]);
        let collect = folder.path().join("seen");
        let search = DedupSearch { lists: &lists, collect: Some(&collect), ..Default::default() };
        let found = search.run(1, &Task::default()).unwrap();
        let path = folder.path().join("index");
        let settings = DedupSettings::default();
        DedupIndex::write(&path, &settings, found.collected.as_ref(), None).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(DedupIndex::open(&path).unwrap().check(&settings).is_ok());
        let lines = DedupSettings { parts: Some(PartKind::Lines), ..settings };
        let error = DedupIndex::open(&path).unwrap().check(&lines).unwrap_err().to_string();
        assert!(error.contains("made with dedup.parts = null, and lines is asked for"), "{error}");
        for len in 0..bytes.len() {
            std::fs::write(&path, &bytes[..len]).unwrap();
            assert!(DedupIndex::open(&path).is_err(), "{len} bytes");
        }
        for at in (0..bytes.len()).step_by(7) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            std::fs::write(&path, changed).unwrap();
            assert!(DedupIndex::open(&path).is_err(), "byte {at}");
        }
        assert!(DedupIndex::open(folder.path()).unwrap_err().to_string().contains("save_index"));
    }
}
