//! Memory-mapped files: the only unsafe code of this crate.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions};

/// A file that is mapped for reading, as a slice of bytes.
#[derive(Debug)]
pub(crate) struct Mapping {
    map: Mmap,
}

impl Mapping {
    /// Maps the first `length` bytes of `file`, which must have that many.
    pub(crate) fn open(file: &File, length: u64) -> io::Result<Self> {
        let length = usize::try_from(length)
            .map_err(|_| io::Error::other("too large for this machine's addresses"))?;
        // SAFETY: the slice is valid as long as the file does not change. That is the contract of
        // the format: a file gets its name when it is complete and never changes afterwards; it is
        // only replaced or removed as a whole, which leaves the mapped file as it is. The caller
        // has checked that the file has `length` bytes, so no byte of the map lies after its end.
        // If the contract is broken and the file is truncated while it is open, the operating
        // system ends the process (SIGBUS) at the first access after the new end; bytes that change
        // under a reader give wrong numbers, which every use checks against its bounds. Neither
        // reads memory that is not the file's.
        let map = unsafe { MmapOptions::new().len(length).map(file)? };
        Ok(Self { map })
    }

    /// Returns the bytes of the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }
}
