//! Files as memory: the only unsafe code of this crate.
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
}
