//! Files as memory: the only unsafe code of this crate.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{Mmap, MmapOptions};

/// A file that is mapped for reading, as a slice of bytes.
#[derive(Debug)]
pub(crate) struct Mapping {
    map: Mmap,
}

impl Mapping {
    /// Maps the first `length` bytes of `file`, which must have them.
    pub(crate) fn open(file: &File, length: u64) -> io::Result<Self> {
        let length = usize::try_from(length)
            .map_err(|_| io::Error::other("too large for this machine's addresses"))?;
        // SAFETY: the slice stays valid as long as nobody changes the file. That is the contract
        // of the format: files get their name when they are whole and are never changed after
        // that, only replaced or removed as a whole, which leaves the mapped file as it is. The
        // caller has checked that the file has `length` bytes, so no byte of the map lies behind
        // its end. Should someone break the contract and cut the file while it is open, the
        // operating system ends the process (SIGBUS) on the first access behind the new end, and
        // bytes that change under a reader give wrong numbers, which every use checks against its
        // bounds; neither reads memory that is not the file's.
        let map = unsafe { MmapOptions::new().len(length).map(file)? };
        Ok(Self { map })
    }

    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Says that `range` will be read soon, so that it can be fetched ahead.
    pub(crate) fn will_need(&self, range: Range<usize>) {
        #[cfg(unix)]
        {
            // only a hint: a system that refuses it reads when the bytes are used
            let _ = self.map.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// Takes the pages that were read out of this process's resident memory. They stay in the
    /// system's cache, and the next access finds them there.
    pub(crate) fn release(&self) {
        #[cfg(unix)]
        {
            // SAFETY: "don't need" throws away changes of private memory; this is a shared map of
            // a file that is only read, so the pages come back from the file with the same bytes.
            let _ = unsafe { self.map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
}
