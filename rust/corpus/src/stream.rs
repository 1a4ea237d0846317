//! The decompressed bytes of one input, read line by line through a growing window.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lslm_runtime::{Error, Result, Task};

use crate::gzip::GzipReader;
use crate::options::Compression;

/// Bytes per read of the decoder or the file: few calls, and a small window per open stream.
const READ_SIZE: usize = 1 << 18;

/// Facts about the reader below the decoder, shared because the decoder owns that reader.
#[derive(Debug, Default)]
struct SourceState {
    /// The stored bytes that were read.
    bytes: AtomicU64,
    /// Whether the reader itself failed, and not the decoder.
    failed: AtomicBool,
}

/// A reader that records its progress in a [`SourceState`].
struct CountingReader<R> {
    reader: R,
    source_state: Arc<SourceState>,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.reader.read(buffer) {
            Ok(n) => {
                self.source_state.bytes.fetch_add(n as u64, Ordering::Relaxed);
                Ok(n)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.source_state.failed.store(true, Ordering::Relaxed);
                }
                Err(error)
            }
        }
    }
}

/// A decompressed stream with a window of bytes that were read and not yet consumed.
///
/// ```text
/// window   . . . . a b c d . . .    start = 4, end = 8
///          consumed        free     position = offset of a in the decompressed file
/// ```
///
/// [`Stream::fill`] makes room in the free part by moving the bytes to the front or doubling the
/// window, so a line of any length is read in linear time.
pub(crate) struct Stream {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    compression: Compression,
    source_state: Arc<SourceState>,
    /// The bytes after the last gzip member, once they are reached.
    trailing_bytes: Arc<AtomicU64>,
    window: Vec<u8>,
    /// The bytes `window[start..end]` are read and not yet consumed.
    start: usize,
    end: usize,
    /// The offset of `window[start]` in the decompressed file.
    position: u64,
    /// Whether the reader has returned its last byte.
    ended: bool,
    /// Whether [`Stream::peek`] returns what is before a fault, which `fault` keeps for later.
    keeps_faults: bool,
    fault: Option<Error>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("path", &self.path)
            .field("compression", &self.compression)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// Returns a stream over `reader`, whose bytes have this compression; `path` is for messages.
    /// `zstd_long` is that of [`ReadOptions`](crate::ReadOptions).
    pub(crate) fn new(
        path: &Path,
        reader: impl Read + Send + 'static,
        compression: Compression,
        zstd_long: u32,
    ) -> Result<Self> {
        let source_state = Arc::new(SourceState::default());
        let counting = CountingReader { reader, source_state: Arc::clone(&source_state) };
        let trailing_bytes = Arc::new(AtomicU64::new(0));
        let reader: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(counting),
            Compression::Gzip => Box::new(GzipReader::new(
                BufReader::with_capacity(READ_SIZE, counting),
                Arc::clone(&trailing_bytes),
            )),
            Compression::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::new(counting).map_err(Error::io(path))?;
                // a frame of a few bytes can declare a window of 2 GiB, which zstd then allocates
                decoder.window_log_max(zstd_long).map_err(Error::io(path))?;
                Box::new(decoder)
            }
        };
        Ok(Self {
            path: path.to_owned(),
            reader,
            compression,
            source_state,
            trailing_bytes,
            window: Vec::new(),
            start: 0,
            end: 0,
            position: 0,
            ended: false,
            keeps_faults: false,
            fault: None,
        })
    }

    /// Returns a stream over the file `path`, from offset `from` on if it is uncompressed.
    pub(crate) fn open(
        path: &Path,
        compression: Compression,
        zstd_long: u32,
        from: u64,
    ) -> Result<Self> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        if from > 0 {
            file.seek(SeekFrom::Start(from)).map_err(Error::io(path))?;
        }
        let mut stream = Self::new(path, file, compression, zstd_long)?;
        stream.position = from;
        Ok(stream)
    }

    /// Returns the offset of the next byte in the decompressed file.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Returns the number of stored bytes that were read.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.source_state.bytes.load(Ordering::Relaxed)
    }

    /// Returns the bytes after the last gzip member, which are not data; zero before the end.
    pub(crate) fn trailing_bytes(&self) -> u64 {
        self.trailing_bytes.load(Ordering::Relaxed)
    }

    /// Has [`Stream::peek`] return the bytes before a fault, if there are any, so that the documents
    /// before it can be read; the fault is returned when they are consumed.
    pub(crate) fn keep_faults(&mut self) {
        self.keeps_faults = true;
    }

    /// Returns the next `count` bytes without consuming them; fewer only at the end.
    pub(crate) fn peek(&mut self, count: usize) -> Result<&[u8]> {
        while self.end - self.start < count && !self.ended {
            if let Err(error) = self.fill(count) {
                if !self.keeps_faults || self.start == self.end {
                    return Err(error);
                }
                self.fault = Some(error);
                break;
            }
        }
        let until = self.end.min(self.start + count);
        Ok(&self.window[self.start..until])
    }

    /// Consumes the next `count` bytes of the window.
    pub(crate) fn skip(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.position += count as u64;
    }

    /// Consumes and returns the next line with its line break, which the last one may lack.
    /// Returns `None` at the end.
    pub(crate) fn line(&mut self, task: &Task) -> Result<Option<&[u8]>> {
        let mut searched = 0;
        let length = loop {
            let window = &self.window[self.start..self.end];
            if let Some(found) = memchr::memchr(b'\n', &window[searched..]) {
                break searched + found + 1;
            }
            searched = window.len();
            if self.ended {
                if searched == 0 {
                    return Ok(None);
                }
                break searched;
            }
            task.check()?;
            self.fill(READ_SIZE)?;
        };
        let line = self.start..self.start + length;
        self.skip(length);
        Ok(Some(&self.window[line]))
    }

    /// Consumes up to `buffer.len()` bytes into `buffer`, and returns their number: 0 at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.start == self.end && !self.ended {
            self.fill(READ_SIZE)?;
        }
        let count = buffer.len().min(self.end - self.start);
        buffer[..count].copy_from_slice(&self.window[self.start..self.start + count]);
        self.skip(count);
        Ok(count)
    }

    /// Consumes and returns all remaining bytes.
    pub(crate) fn rest(&mut self, task: &Task) -> Result<Vec<u8>> {
        while !self.ended {
            task.check()?;
            self.fill(READ_SIZE)?;
        }
        let rest = if self.start == 0 {
            self.window.truncate(self.end);
            std::mem::take(&mut self.window)
        } else {
            self.window[self.start..self.end].to_vec()
        };
        self.position += (self.end - self.start) as u64;
        (self.start, self.end) = (0, 0);
        Ok(rest)
    }

    /// Consumes everything up to and including the next `\n`, in constant memory.
    pub(crate) fn skip_line(&mut self, task: &Task) -> Result<()> {
        loop {
            let window = &self.window[self.start..self.end];
            if let Some(found) = memchr::memchr(b'\n', window) {
                self.skip(found + 1);
                return Ok(());
            }
            self.skip(window.len());
            if self.ended {
                return Ok(());
            }
            task.check()?;
            self.fill(READ_SIZE)?;
        }
    }

    /// Writes all remaining bytes to the temporary file `file`.
    pub(crate) fn copy_to(&mut self, file: &mut File) -> Result<()> {
        loop {
            let window = &self.window[self.start..self.end];
            file.write_all(window).map_err(Error::io(std::env::temp_dir()))?;
            self.skip(self.end - self.start);
            if self.ended {
                return Ok(());
            }
            self.fill(READ_SIZE)?;
        }
    }

    /// Reads once: adds 1 to `READ_SIZE` bytes to the window, or sets `ended`. The first window has
    /// room for `wanted` bytes.
    fn fill(&mut self, wanted: usize) -> Result<()> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.window.len() == self.end {
            if self.start >= self.window.len() / 2 && self.start > 0 {
                self.window.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                let length = (self.window.len() * 2).max(wanted.min(READ_SIZE));
                self.window.resize(length, 0);
            }
        }
        let until = self.window.len().min(self.end + READ_SIZE);
        loop {
            match self.reader.read(&mut self.window[self.end..until]) {
                Ok(0) => self.ended = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.read_error(error)),
            }
            return Ok(());
        }
    }

    /// Returns an [`Error::Io`] if reading failed, and an [`Error::Format`] if decoding did.
    fn read_error(&self, error: io::Error) -> Error {
        if self.compression == Compression::None || self.source_state.failed.load(Ordering::Relaxed)
        {
            return Error::io(&self.path)(error);
        }
        let name = self.compression.name();
        // zstd's message for a window beyond the limit, which has no error kind of its own
        if error.to_string().contains("requires too much memory") {
            return Error::format(
                &self.path,
                self.stored_bytes(),
                "the zstd data needs more memory than is allowed: if you trust it, allow it with \
                 zstd_long=31 (2 GiB per stream), or compress it without --long",
            );
        }
        let reason = if error.kind() == io::ErrorKind::UnexpectedEof {
            format!("the {name} data ends too early: the file is truncated, get it again")
        } else {
            format!("the {name} data is broken ({error}): get the file again")
        };
        Error::format(&self.path, self.stored_bytes(), reason)
    }
}
