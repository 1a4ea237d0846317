//! Counted words in files, when memory is short.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lslm_runtime::{Error, Result};

use super::word_table::{PARTS, Part, Table};

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

    /// Writes all words of `table` as a run at the end, and empties the table.
    pub(super) fn take(&mut self, table: &mut Table) -> Result<()> {
        let mut ends = Vec::with_capacity(PARTS);
        let mut segment = Vec::new();
        for part in &mut table.parts {
            segment.clear();
            part.for_each(|word, count| write_word(&mut segment, word, count));
            self.write(&segment)?;
            ends.push(self.length);
            *part = Part::default();
        }
        self.ends.push(ends);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(&self.folder))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Adds the words of one part of all runs to `sum`.
    pub(super) fn add_part(&mut self, part: usize, sum: &mut Part) -> Result<()> {
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

/// Appends a word and its count to `out`.
pub(super) fn write_word(out: &mut Vec<u8>, word: &[u8], count: u64) {
    write_number(out, word.len() as u64);
    out.extend_from_slice(word);
    write_number(out, count);
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

/// The next word at the beginning of `rest`, with its count; none at the end.
pub(super) fn next_word<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], u64)> {
    let length = next_number(rest)? as usize;
    let (word, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some((word, next_number(rest)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_survive_a_file() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            assert_eq!(next_number(&mut &bytes[..]), Some(number));
            assert_eq!(next_number(&mut &bytes[..bytes.len() - 1]), None);
        }
    }
}
