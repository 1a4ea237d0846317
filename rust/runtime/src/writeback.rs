//! A file whose bytes go to the disk while it is written.

use std::fs::File;
use std::io::{self, Write};

/// A file that starts the writeback of each [`Writeback::STRIDE`] bytes once they are written, so
/// that little is left for the `sync_all` at its end to wait for.
#[derive(Debug)]
pub(crate) struct Writeback {
    file: File,
    written: u64,
    /// The offset up to which writeback was started.
    started: u64,
}

impl Writeback {
    /// Bytes per call of the operating system: few calls, and the last stride is written in
    /// milliseconds. With it, the commit of a shard of 64 MiB waited 0.046 s instead of 0.073 s
    /// (medians of 32 commits each, alternating, 2026-11-28, virtual disk).
    const STRIDE: u64 = 8 << 20;

    pub(crate) fn new(file: File) -> Self {
        Self { file, written: 0, started: 0 }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn file_mut(&mut self) -> &mut File {
        &mut self.file
    }
}

impl Write for Writeback {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        let new = self.written - self.started;
        if new >= Self::STRIDE {
            start_writeback(&self.file, self.started, new);
            self.started = self.written;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Starts the writeback of a byte range without waiting. Only a hint, so its result is ignored:
/// durability comes from `sync_all` in [`AtomicFile::commit`](crate::files::AtomicFile::commit).
#[cfg(target_os = "linux")]
#[allow(unsafe_code)] // the standard library has no sync_file_range
fn start_writeback(file: &File, start: u64, length: u64) {
    use std::os::fd::AsRawFd;
    let (start, length) = (start as libc::off64_t, length as libc::off64_t);
    // SAFETY: the descriptor is open while `file` is borrowed, and no memory is passed.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), start, length, libc::SYNC_FILE_RANGE_WRITE);
    }
}

#[cfg(not(target_os = "linux"))]
fn start_writeback(_: &File, _: u64, _: u64) {}
