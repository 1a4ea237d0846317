//! Checks every byte of a dataset.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicUsize, Ordering};

use lslm_runtime::threads::{pool, resolve};
use lslm_runtime::{Error, Result, Task};
use rayon::prelude::*;

use crate::dataset::Dataset;
use crate::element::first_at_least;
use crate::format::{BLOCK, PAGE, Section, kind};
use crate::mapped_shard::{MappedShard, wrong_checksum};

/// Blocks that one step checks: 16 MiB, so that a dataset of one shard keeps many threads busy.
const STEP_BLOCKS: u64 = 16;

/// What was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The number of shards.
    pub shards: u64,
    /// The bytes of all shards.
    pub bytes: u64,
}

/// A part of the work; steps run in parallel.
#[derive(Clone, Copy)]
enum VerifyStep {
    /// Blocks of one section, from block `first` on.
    Blocks { shard: usize, section: Section, first: u64 },
    /// What the blocks do not cover: gaps, lists of checksums, sums, ids.
    Rest { shard: usize },
}

impl Dataset {
    /// Reads and checks everything: checksums, gaps, document ends, ids, token and source numbers,
    /// sums. `threads` is a number of threads, or `None` for all cores.
    ///
    /// It reads files, not maps, so a fault of the disk is an error and does not end the process.
    /// Of several faults, the first in the order of the files is returned.
    pub fn verify(&self, threads: Option<usize>, task: &Task) -> Result<Verified> {
        if self.is_bin() {
            return Err(Error::invalid(format!(
                "{}: a token file of nanoGPT or llm.c has no checksums to verify",
                self.folder().display()
            )));
        }
        let pool = pool(resolve(threads)?)?;
        let bytes = self.manifest().shards.iter().map(|shard| shard.size).sum();
        task.begin("verify", "bytes", Some(bytes));
        let mut steps = Vec::new();
        for shard in 0..self.n_shards() {
            steps.push(VerifyStep::Rest { shard });
            for section in self.shard(shard)?.head.header.sections.iter().copied() {
                let firsts = (0..section.blocks()).step_by(STEP_BLOCKS as usize);
                steps.extend(firsts.map(|first| VerifyStep::Blocks { shard, section, first }));
            }
        }
        // steps after a fault are skipped; those before it must run, to find the first fault
        let first_fault = AtomicUsize::new(usize::MAX);
        let fault = pool.install(|| {
            let run = |(index, step): (usize, &VerifyStep)| {
                if index > first_fault.load(Ordering::Relaxed) {
                    return None;
                }
                let fault = self.run(*step, task).err()?;
                first_fault.fetch_min(index, Ordering::Relaxed);
                Some((index, fault))
            };
            steps.par_iter().enumerate().filter_map(run).min_by_key(|(index, _)| *index)
        });
        task.check()?;
        match fault {
            Some((_, fault)) => Err(fault),
            None => Ok(Verified { shards: self.n_shards() as u64, bytes }),
        }
    }

    fn run(&self, step: VerifyStep, task: &Task) -> Result<()> {
        match step {
            VerifyStep::Rest { shard } => check_rest(&*self.shard(shard)?, task),
            VerifyStep::Blocks { shard, section, first } => {
                self.check_blocks(&*self.shard(shard)?, &section, first, task)
            }
        }
    }

    /// Checks the checksums and the elements of [`STEP_BLOCKS`] blocks of `section`.
    fn check_blocks(
        &self,
        shard: &MappedShard,
        section: &Section,
        first: u64,
        task: &Task,
    ) -> Result<()> {
        let mut file = PlainFile::open(shard)?;
        let last = section.blocks().min(first + STEP_BLOCKS);
        let list = file.read(section.checksums + first * 4, (last - first) * 4)?;
        let mut previous = 0;
        if first > 0 && matches!(section.kind, kind::DOCUMENT_ENDS | kind::ID_ENDS) {
            let before = file.read(section.offset + first * BLOCK - 8, 8)?;
            previous = u64s(&before).next().unwrap_or(0);
        }
        for (block, stored) in (first..last).zip(list.as_chunks::<4>().0) {
            let at = block * BLOCK;
            let length = BLOCK.min(section.length - at);
            let bytes = file.read(section.offset + at, length)?;
            let (found, stored) = (crc32fast::hash(&bytes), u32::from_le_bytes(*stored));
            if found != stored {
                let at = (section.offset + at) as usize;
                return Err(wrong_checksum(&shard.head.path, at, found, stored));
            }
            self.check_elements(shard, section, at, &bytes, &mut previous)?;
            task.advance(length)?;
        }
        Ok(())
    }

    /// Checks the elements in `bytes`, which start `at` bytes into `section`; `previous` is the
    /// element before them.
    fn check_elements(
        &self,
        shard: &MappedShard,
        section: &Section,
        at: u64,
        bytes: &[u8],
        previous: &mut u64,
    ) -> Result<()> {
        let fault = |index: usize, text: String| {
            let at = section.offset + at + index as u64 * u64::from(section.width);
            Err(Error::format(&shard.head.path, at, text))
        };
        match section.kind {
            kind::TOKENS => {
                let vocab_size = self.vocab_size();
                if let Some(index) = first_at_least(vocab_size, section.width.into(), bytes) {
                    return fault(index, format!("a token that is not one of {vocab_size}"));
                }
            }
            kind::DOCUMENT_ENDS | kind::ID_ENDS => {
                for (index, end) in u64s(bytes).enumerate() {
                    if end < *previous {
                        return fault(
                            index,
                            format!("end {end} comes after end {previous}: ends must not decrease"),
                        );
                    }
                    *previous = end;
                }
            }
            kind::DOCUMENT_SOURCES => {
                let n = self.manifest().sources.len().max(1);
                let mut sources = bytes.as_chunks().0.iter().map(|s| u32::from_le_bytes(*s));
                if let Some(index) = sources.position(|source| source as usize >= n) {
                    return fault(index, format!("a source that is not one of {n}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Checks everything in a shard that the blocks of its sections do not cover.
fn check_rest(shard: &MappedShard, task: &Task) -> Result<()> {
    let mut file = PlainFile::open(shard)?;
    check_gaps(&mut file, task)?;
    check_lists(&mut file, task)?;
    check_last_ends(&mut file)?;
    check_text_bytes(&mut file, task)?;
    if shard.head.header.section(kind::IDS).is_some() {
        for index in 0..shard.head.header.documents {
            shard.document_id(index)?;
            if index % 4096 == 0 {
                task.check()?;
            }
        }
    }
    task.advance(PAGE as u64)
}

/// Checks that bytes of no section and no list of checksums are zero.
fn check_gaps(file: &mut PlainFile<'_>, task: &Task) -> Result<()> {
    let header = &file.shard.head.header;
    let mut at = PAGE as u64;
    let end = (header.file_size, header.file_size);
    for (start, stop) in header.claimed().into_iter().chain([end]) {
        while at < start {
            let bytes = file.read(at, BLOCK.min(start - at))?;
            if let Some(offset) = bytes.iter().position(|byte| *byte != 0) {
                let text = format!("byte {:#04x} where zero must be", bytes[offset]);
                return Err(Error::format(&file.shard.head.path, at + offset as u64, text));
            }
            at += bytes.len() as u64;
            task.advance(bytes.len() as u64)?;
        }
        at = stop;
    }
    Ok(())
}

/// Checks the checksum of each section's list of checksums.
fn check_lists(file: &mut PlainFile<'_>, task: &Task) -> Result<()> {
    for section in &file.shard.head.header.sections {
        let list = file.read(section.checksums, section.blocks() * 4)?;
        let found = crc32fast::hash(&list);
        if found != section.crc {
            let at = section.checksums as usize;
            return Err(wrong_checksum(&file.shard.head.path, at, found, section.crc));
        }
        task.advance(list.len() as u64)?;
    }
    Ok(())
}

/// Checks that the last document ends at the last token, and the last id at the last byte of ids.
fn check_last_ends(file: &mut PlainFile<'_>) -> Result<()> {
    let header = &file.shard.head.header;
    let ends = [
        (kind::DOCUMENT_ENDS, header.tokens),
        (kind::ID_ENDS, header.section(kind::IDS).map_or(0, |ids| ids.length)),
    ];
    for (kind, total) in ends {
        let Some(section) = header.section(kind) else { continue };
        let at = section.offset + section.length.saturating_sub(8);
        let last = file.read(at, section.length.min(8))?;
        let last = u64s(&last).next().unwrap_or(0);
        if last != total {
            let text = format!("the last end is {last}, not {total}");
            return Err(Error::format(&file.shard.head.path, at, text));
        }
    }
    Ok(())
}

/// Checks that the bytes of the documents sum to those of the header.
fn check_text_bytes(file: &mut PlainFile<'_>, task: &Task) -> Result<()> {
    let header = &file.shard.head.header;
    let Some(section) = header.section(kind::DOCUMENT_BYTES) else { return Ok(()) };
    let mut sum = Some(0_u64);
    for first in (0..section.length).step_by(BLOCK as usize) {
        let length = BLOCK.min(section.length - first);
        let bytes = file.read(section.offset + first, length)?;
        sum = u64s(&bytes).fold(sum, |sum, bytes| sum?.checked_add(bytes));
        task.check()?;
    }
    if sum != Some(header.text_bytes) {
        let text = "the sum of the documents' bytes is not that of the header";
        return Err(Error::format(&file.shard.head.path, section.offset, text));
    }
    Ok(())
}

fn u64s(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The file of a shard, read without its map.
struct PlainFile<'a> {
    shard: &'a MappedShard,
    file: File,
}

impl<'a> PlainFile<'a> {
    fn open(shard: &'a MappedShard) -> Result<Self> {
        let file = File::open(&shard.head.path).map_err(Error::io(&shard.head.path))?;
        Ok(Self { shard, file })
    }

    /// Returns `length` bytes from byte `at` on.
    fn read(&mut self, at: u64, length: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length as usize];
        self.file
            .seek(SeekFrom::Start(at))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(Error::io(&self.shard.head.path))?;
        Ok(bytes)
    }
}
