//! The check of every byte of a dataset.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use lslm_runtime::threads::{pool, resolve};
use lslm_runtime::{Error, Result, Task};
use rayon::prelude::*;

use crate::dataset::{Dataset, Shard, wrong_checksum};
use crate::format::{BLOCK, PAGE, Section, kind};

/// How many blocks one step of the work takes.
const STEP: u64 = 16;

/// What was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Shards.
    pub shards: u64,
    /// Bytes of all shards.
    pub bytes: u64,
}

/// One step of the work.
enum Step<'a> {
    /// Blocks of one section.
    Blocks { shard: &'a Shard, section: &'a Section, first: u64 },
    /// What lies between the sections, the checksums of the checksums, and the ids.
    Rest { shard: &'a Shard },
}

impl Dataset {
    /// Reads everything and checks it: checksums, unclaimed bytes, ends, ids, token and source
    /// numbers, sums. `threads` as everywhere: `None` for all cores.
    ///
    /// Checksums are taken of what is read from the files, not from the maps, so damage of the disk
    /// is an error and not the end of the process. Of several faults the first in the order of the files is reported.
    pub fn verify(&self, threads: Option<usize>, task: &Task) -> Result<Verified> {
        let pool = pool(resolve(threads)?)?;
        let bytes = self.manifest().shards.iter().map(|shard| shard.size).sum();
        task.begin("verify", "bytes", Some(bytes));
        let mut steps = Vec::new();
        for shard in self.shards() {
            steps.push(Step::Rest { shard });
            for section in &shard.header.sections {
                let firsts = (0..section.blocks()).step_by(STEP as usize);
                steps.extend(firsts.map(|first| Step::Blocks { shard, section, first }));
            }
        }
        // steps behind a fault need not run; those before it must, to find the first
        let lowest = AtomicUsize::new(usize::MAX);
        let fault = pool.install(|| {
            let run = |(index, step): (usize, &Step)| {
                if index > lowest.load(Ordering::Relaxed) {
                    return None;
                }
                let fault = self.run(step, task).err()?;
                lowest.fetch_min(index, Ordering::Relaxed);
                Some((index, fault))
            };
            steps.par_iter().enumerate().filter_map(run).min_by_key(|(index, _)| *index)
        });
        task.check()?;
        match fault {
            Some((_, fault)) => Err(fault),
            None => Ok(Verified { shards: self.shards().len() as u64, bytes }),
        }
    }

    fn run(&self, step: &Step, task: &Task) -> Result<()> {
        match step {
            Step::Rest { shard } => check_rest(shard, task),
            Step::Blocks { shard, section, first } => {
                let mut file = File::open(&shard.path).map_err(Error::io(&shard.path))?;
                let last = section.blocks().min(first + STEP);
                let at = section.checksums + first * 4;
                let list = read(&mut file, &shard.path, at, (last - first) * 4)?;
                let mut previous = 0;
                if *first > 0 && matches!(section.kind, kind::DOCUMENT_ENDS | kind::ID_ENDS) {
                    let before =
                        read(&mut file, &shard.path, section.offset + first * BLOCK - 8, 8)?;
                    previous = longs(&before).next().unwrap_or(0);
                }
                for (block, stored) in (*first..last).zip(list.as_chunks::<4>().0) {
                    let at = block * BLOCK;
                    let length = BLOCK.min(section.length - at);
                    let bytes = read(&mut file, &shard.path, section.offset + at, length)?;
                    let (found, stored) = (crc32fast::hash(&bytes), u32::from_le_bytes(*stored));
                    if found != stored {
                        let at = (section.offset + at) as usize;
                        return Err(wrong_checksum(&shard.path, at, found, stored));
                    }
                    self.check_values(shard, section, at, &bytes, &mut previous)?;
                    task.advance(length)?;
                }
                Ok(())
            }
        }
    }

    /// Checks the elements in `bytes`, which begin `at` bytes into `section`; `previous` is the
    /// element before them.
    fn check_values(
        &self,
        shard: &Shard,
        section: &Section,
        at: u64,
        bytes: &[u8],
        previous: &mut u64,
    ) -> Result<()> {
        let fault = |place: usize, text: String| {
            let at = section.offset + at + place as u64 * u64::from(section.width);
            Err(Error::format(&shard.path, at, text))
        };
        match section.kind {
            kind::TOKENS => {
                // the largest first: that needs no branch a token, and is all a good block needs
                let vocab_size = self.vocab_size();
                let place = if section.width == 2 {
                    let ids = bytes.as_chunks().0.iter().map(|id| u16::from_le_bytes(*id));
                    let largest = ids.clone().max().map_or(0, u32::from);
                    (largest >= vocab_size)
                        .then(|| ids.clone().position(|id| u32::from(id) >= vocab_size))
                } else {
                    let ids = bytes.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id));
                    let largest = ids.clone().max().unwrap_or(0);
                    (largest >= vocab_size).then(|| ids.clone().position(|id| id >= vocab_size))
                };
                let place = if bytes.is_empty() { None } else { place.flatten() };
                if let Some(place) = place {
                    return fault(place, format!("a token that is not one of {vocab_size}"));
                }
            }
            kind::DOCUMENT_ENDS | kind::ID_ENDS => {
                for (place, end) in longs(bytes).enumerate() {
                    if end < *previous {
                        return fault(place, format!("end {end} comes after end {previous}"));
                    }
                    *previous = end;
                }
            }
            kind::DOCUMENT_SOURCES => {
                let n = self.manifest().sources.len().max(1);
                let mut sources = bytes.as_chunks().0.iter().map(|s| u32::from_le_bytes(*s));
                if let Some(place) = sources.position(|source| source as usize >= n) {
                    return fault(place, format!("a source that is not one of {n}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Checks what no section's blocks cover.
fn check_rest(shard: &Shard, task: &Task) -> Result<()> {
    let mut file = File::open(&shard.path).map_err(Error::io(&shard.path))?;
    let header = &shard.header;
    let mut at = PAGE as u64;
    let end = (header.file_size, header.file_size);
    for (start, stop) in header.claimed().into_iter().chain([end]) {
        while at < start {
            let bytes = read(&mut file, &shard.path, at, BLOCK.min(start - at))?;
            if let Some(place) = bytes.iter().position(|byte| *byte != 0) {
                let text = format!("byte {:#04x} where zero must be", bytes[place]);
                return Err(Error::format(&shard.path, at + place as u64, text));
            }
            at += bytes.len() as u64;
            task.advance(bytes.len() as u64)?;
        }
        at = stop;
    }
    for section in &header.sections {
        let list = read(&mut file, &shard.path, section.checksums, section.blocks() * 4)?;
        let found = crc32fast::hash(&list);
        if found != section.crc {
            let at = section.checksums as usize;
            return Err(wrong_checksum(&shard.path, at, found, section.crc));
        }
        task.advance(list.len() as u64)?;
    }
    let ends = [
        (kind::DOCUMENT_ENDS, header.tokens),
        (kind::ID_ENDS, header.section(kind::IDS).map_or(0, |ids| ids.length)),
    ];
    for (kind, total) in ends {
        let Some(section) = header.section(kind) else { continue };
        let at = section.offset + section.length.saturating_sub(8);
        let last = read(&mut file, &shard.path, at, section.length.min(8))?;
        let last = longs(&last).next().unwrap_or(0);
        if last != total {
            let text = format!("the last end is {last}, not {total}");
            return Err(Error::format(&shard.path, at, text));
        }
    }
    if let Some(section) = header.section(kind::DOCUMENT_BYTES) {
        let mut sum = Some(0_u64);
        for first in (0..section.length).step_by(BLOCK as usize) {
            let length = BLOCK.min(section.length - first);
            let bytes = read(&mut file, &shard.path, section.offset + first, length)?;
            sum = longs(&bytes).fold(sum, |sum, bytes| sum?.checked_add(bytes));
            task.check()?;
        }
        if sum != Some(header.text_bytes) {
            let text = "the documents' bytes are not those of the header";
            return Err(Error::format(&shard.path, section.offset, text));
        }
    }
    if header.section(kind::IDS).is_some() {
        for index in 0..header.documents {
            shard.id(index)?;
            if index % 4096 == 0 {
                task.check()?;
            }
        }
    }
    task.advance(PAGE as u64)
}

fn longs(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
}

/// `length` bytes of the file from `at` on.
fn read(file: &mut File, path: &Path, at: u64, length: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(Error::io(path))?;
    Ok(bytes)
}
