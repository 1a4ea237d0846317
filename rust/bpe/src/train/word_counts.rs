//! [`WordCounts`]: distinct words and their counts, in memory or in a file.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lslm_runtime::{Error, Result, Task};
use rayon::prelude::*;

use super::spill::{SpillFile, next_word, write_word};
use super::word_table::{PARTS, TablePart, WordTable};

/// About the bytes of words that are read from the file at once: 1 MiB, large enough for the disk
/// and small beside any memory limit.
const CHUNK: usize = 1 << 20;

/// Distinct words, each with its count; in memory, or in a temporary file without a name.
///
/// ```
/// use lslm_bpe::train::WordCounts;
///
/// let words = WordCounts::from_words([("low", 5), ("lower", 2), ("low", 1)])?;
/// assert_eq!(words.len(), 2);
/// words.for_each(|word, count| {
///     assert_eq!(count, if word == b"low" { 6 } else { 2 });
///     Ok(())
/// })?;
/// # Ok::<(), lslm_runtime::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct WordCounts {
    table: WordTable,
    /// The words that do not fit into memory.
    file: Option<Arc<Mutex<WordFile>>>,
}

/// Words in a temporary file, in chunks of a few megabytes.
struct WordFile {
    file: File,
    /// For errors.
    folder: PathBuf,
    /// The bytes of each chunk.
    chunks: Vec<usize>,
    n_words: usize,
}

impl std::fmt::Debug for WordCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WordCounts").field("words", &self.len()).finish_non_exhaustive()
    }
}

impl WordCounts {
    /// Returns the counts of `words`; a word given twice has the sum of both.
    ///
    /// [`Error::Invalid`] if such a sum exceeds 2^64.
    pub fn from_words<W: AsRef<[u8]>>(words: impl IntoIterator<Item = (W, u64)>) -> Result<Self> {
        let mut table = WordTable::default();
        for (word, count) in words {
            if table.add(word.as_ref(), count) == u64::MAX {
                return Err(too_many());
            }
        }
        Ok(Self { table, file: None })
    }

    /// Returns the number of distinct words.
    pub fn len(&self) -> usize {
        self.table.len() + self.file.as_ref().map_or(0, |file| lock(file).n_words)
    }

    /// Returns whether there are no words.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes of memory in use.
    pub fn memory(&self) -> usize {
        self.table.memory()
    }

    /// Calls `f` with each word and its count, in an arbitrary order that is the same each time.
    ///
    /// Returns the first error of `f`, or of reading the file.
    pub fn for_each(&self, mut f: impl FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
        let mut result = Ok(());
        self.table.for_each(|word, count| {
            if result.is_ok()
                && let Err(error) = f(word, count)
            {
                result = Err(error);
            }
        });
        result?;
        let Some(spilled) = &self.file else { return Ok(()) };
        let mut spilled = lock(spilled);
        let WordFile { file, folder, chunks, .. } = &mut *spilled;
        file.rewind().map_err(Error::io(&*folder))?;
        let mut chunk = Vec::new();
        for &length in &*chunks {
            chunk.resize(length, 0);
            file.read_exact(&mut chunk).map_err(Error::io(&*folder))?;
            let mut rest = &chunk[..];
            while let Some((word, count)) = next_word(&mut rest) {
                f(word, count)?;
            }
        }
        Ok(())
    }

    /// Returns the sum of several tables, added up with the threads of the current pool.
    pub(super) fn sum(mut tables: Vec<WordTable>, task: &Task) -> Result<Self> {
        if tables.len() == 1 {
            return Ok(Self { table: tables.swap_remove(0), file: None });
        }
        let mut by_part: Vec<Vec<TablePart>> = (0..PARTS).map(|_| Vec::new()).collect();
        for table in tables {
            for (parts, part) in by_part.iter_mut().zip(table.parts) {
                parts.push(part);
            }
        }
        let parts = by_part
            .into_par_iter()
            .map(|mut parts| {
                parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
                let mut parts = parts.into_iter();
                let mut sum = parts.next().unwrap_or_default();
                for part in parts {
                    task.check()?;
                    sum.add_all(&part);
                }
                Ok(sum)
            })
            .collect::<Result<_>>()?;
        Ok(Self { table: WordTable { parts }, file: None })
    }

    /// Returns the sum of tables in files, as a file in `folder`; one part at a time is in memory.
    pub(super) fn sum_files(mut files: Vec<SpillFile>, folder: &Path, task: &Task) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(Error::io(folder))?;
        let mut spilled =
            WordFile { file, folder: folder.to_owned(), chunks: Vec::new(), n_words: 0 };
        let mut chunk = Vec::new();
        for part in 0..PARTS {
            let mut sum = TablePart::default();
            for file in &mut files {
                task.check()?;
                file.add_part(part, &mut sum)?;
            }
            spilled.n_words += sum.len();
            let mut result = Ok(());
            let mut write = |chunk: &mut Vec<u8>| {
                if result.is_ok() && !chunk.is_empty() {
                    result = spilled.file.write_all(chunk).map_err(Error::io(folder));
                    spilled.chunks.push(chunk.len());
                }
                chunk.clear();
            };
            sum.for_each(|word, count| {
                write_word(&mut chunk, word, count);
                if chunk.len() >= CHUNK {
                    write(&mut chunk);
                }
            });
            write(&mut chunk);
            result?;
        }
        Ok(Self { table: WordTable::default(), file: Some(Arc::new(Mutex::new(spilled))) })
    }

    /// Returns [`Error::Invalid`] if the sum of the counts of some pair could exceed 64 bits.
    pub(super) fn check_sum(&self, task: &Task) -> Result<()> {
        let mut bytes = 0u128;
        self.for_each(|word, count| {
            bytes += word.len() as u128 * u128::from(count);
            task.check()
        })?;
        u64::try_from(bytes).map(drop).map_err(|_| too_many())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn too_many() -> Error {
    Error::invalid("the words have more than 2^64 bytes in all: divide the counts")
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
        fn counts_equal_those_of_a_map(
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
            // The same from files, with two tables in one and one in the other.
            let folder = std::env::temp_dir();
            let mut files = [(); 2].map(|()| SpillFile::create(&folder).unwrap());
            files[0].take(&mut halves[0]).unwrap();
            files[1].take(&mut halves[0]).unwrap();
            files[0].take(&mut halves[1]).unwrap();
            let sum = WordCounts::sum_files(files.into(), &folder, &task).unwrap();
            prop_assert_eq!(sum.len(), expected.len());
            prop_assert_eq!(sorted(&sum), expected);
        }
    }
}
