//! Distinct words and how often each occurs.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lslm_runtime::{Error, Result, Task};
use rayon::prelude::*;

use super::spill::{Runs, next_word, write_word};
use super::word_table::{PARTS, Part, Table};

/// About how many bytes of words are read from a file at once.
const PIECE: usize = 1 << 20;

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
        let mut result = Ok(());
        self.table.for_each(|word, count| {
            if result.is_ok() {
                result = f(word, count);
            }
        });
        result?;
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
                write_word(&mut piece, word, count);
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
            runs[0].take(&mut halves[0]).unwrap();
            runs[1].take(&mut halves[0]).unwrap();
            runs[0].take(&mut halves[1]).unwrap();
            let sum = WordCounts::sum_runs(runs.into(), &folder, &task).unwrap();
            prop_assert_eq!(sum.len(), expected.len());
            prop_assert_eq!(sorted(&sum), expected);
        }
    }
}
