//! [`SpillFile`]: word tables written to a file when they reach their memory limit.
//!
//! ```text
//! file    = the tables written, one after the other
//! table   = its parts, 0 to 63, each: (length, bytes, count) of its words, numbers as LEB128
//! reading part p: the segment p of every table, added up in memory
//! ```

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lslm_runtime::{Error, Result};

use super::word_table::{PARTS, TablePart, WordTable};

/// A temporary file of word tables. It has no name, so nothing remains of it after the process.
#[derive(Debug)]
pub(super) struct SpillFile {
    file: File,
    /// For errors.
    folder: PathBuf,
    /// The bytes written.
    length: u64,
    /// The end of the segment of each part, for each table.
    ends: Vec<Vec<u64>>,
}

impl SpillFile {
    /// Creates an empty file in `folder`.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(Error::io(folder))?;
        Ok(Self { file, folder: folder.to_owned(), length: 0, ends: Vec::new() })
    }

    /// Appends all words of `table` to the file, and empties the table.
    pub(super) fn take(&mut self, table: &mut WordTable) -> Result<()> {
        let mut ends = Vec::with_capacity(PARTS);
        let mut segment = Vec::new();
        for part in &mut table.parts {
            segment.clear();
            part.for_each(|word, count| write_word(&mut segment, word, count));
            self.write(&segment)?;
            ends.push(self.length);
            *part = TablePart::default();
        }
        self.ends.push(ends);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io(&self.folder))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Adds the words of one part of all tables to `sum`.
    pub(super) fn add_part(&mut self, part: usize, sum: &mut TablePart) -> Result<()> {
        let mut segment = Vec::new();
        for table in 0..self.ends.len() {
            let start = match (part, table) {
                (0, 0) => 0,
                (0, _) => self.ends[table - 1][PARTS - 1],
                _ => self.ends[table][part - 1],
            };
            segment.resize((self.ends[table][part] - start) as usize, 0);
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

/// Appends `number` as LEB128: seven bits a byte, the lowest first.
fn write_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Removes a number from the start of `rest`; `None` if it is incomplete.
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

/// Removes the first word from `rest` and returns it with its count; `None` at the end.
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
    fn numbers_of_any_size_are_read_as_written() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            assert_eq!(next_number(&mut &bytes[..]), Some(number));
            assert_eq!(next_number(&mut &bytes[..bytes.len() - 1]), None);
        }
    }
}
