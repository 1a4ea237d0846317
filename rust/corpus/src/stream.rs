//! The bytes of one input, decompressed, with a window that can be looked at line by line.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use lslm_runtime::{Error, Result, Task};

use crate::options::Compression;

/// How many bytes are asked for at a time.
const CHUNK: usize = 1 << 18;

/// What the reader under the decoder saw: how far it came, and whether it was the one that failed.
#[derive(Debug, Default)]
struct Gauge {
    bytes: AtomicU64,
    failed: AtomicBool,
}

struct Counted<R> {
    inner: R,
    gauge: Arc<Gauge>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(n) => {
                self.gauge.bytes.fetch_add(n as u64, Ordering::Relaxed);
                Ok(n)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.gauge.failed.store(true, Ordering::Relaxed);
                }
                Err(error)
            }
        }
    }
}

/// A decompressed stream with a growing window.
pub(crate) struct Stream {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    compression: Compression,
    gauge: Arc<Gauge>,
    window: Vec<u8>,
    /// The part of `window` that is read and not yet given out.
    start: usize,
    end: usize,
    /// Where `window[start]` lies in the decompressed file.
    position: u64,
    ended: bool,
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
    /// Over `reader`, whose stored bytes are compressed as `compression`; `path` is for messages.
    /// `zstd_long` is that of [`ReadOptions`](crate::ReadOptions).
    pub(crate) fn new(
        path: &Path,
        reader: impl Read + Send + 'static,
        compression: Compression,
        zstd_long: u32,
    ) -> Result<Self> {
        let gauge = Arc::new(Gauge::default());
        let counted = Counted { inner: reader, gauge: Arc::clone(&gauge) };
        let reader: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(counted),
            Compression::Gzip => {
                Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK, counted)))
            }
            Compression::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::new(counted).map_err(Error::io(path))?;
                // a frame of a few bytes may ask for 2 GiB, and gets what it asks for at once
                decoder.window_log_max(zstd_long).map_err(Error::io(path))?;
                Box::new(decoder)
            }
        };
        Ok(Self {
            path: path.to_owned(),
            reader,
            compression,
            gauge,
            window: Vec::new(),
            start: 0,
            end: 0,
            position: 0,
            ended: false,
        })
    }

    /// Over the file `path`; an uncompressed one is read from byte `from` on.
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

    /// Where the next byte lies in the decompressed file.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// How many stored bytes were asked for so far.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.gauge.bytes.load(Ordering::Relaxed)
    }

    /// The next bytes without taking them: `count` of them, fewer only at the end.
    pub(crate) fn peek(&mut self, count: usize) -> Result<&[u8]> {
        while self.end - self.start < count && !self.ended {
            self.fill(count)?;
        }
        let until = self.end.min(self.start + count);
        Ok(&self.window[self.start..until])
    }

    /// Takes the next `count` bytes, which were seen by [`Stream::peek`], away.
    pub(crate) fn skip(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.position += count as u64;
    }

    /// Takes the next line with its line break; the last one may have none.
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
            self.fill(CHUNK)?;
        };
        let line = self.start..self.start + length;
        self.skip(length);
        Ok(Some(&self.window[line]))
    }

    /// Takes everything that is left.
    pub(crate) fn rest(&mut self, task: &Task) -> Result<Vec<u8>> {
        while !self.ended {
            task.check()?;
            self.fill(CHUNK)?;
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

    /// Takes everything up to the next `\n`, and that too, without keeping it.
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
            self.fill(CHUNK)?;
        }
    }

    /// Writes everything that is left to `file`, which lies in the folder for temporary files.
    pub(crate) fn copy_to(&mut self, file: &mut File) -> Result<()> {
        loop {
            let window = &self.window[self.start..self.end];
            file.write_all(window).map_err(Error::io(std::env::temp_dir()))?;
            self.skip(self.end - self.start);
            if self.ended {
                return Ok(());
            }
            self.fill(CHUNK)?;
        }
    }

    /// Reads once, so that the window grows by at most `CHUNK` and at least one byte or ends.
    fn fill(&mut self, wanted: usize) -> Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.window.len() == self.end {
            if self.start >= self.window.len() / 2 && self.start > 0 {
                self.window.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                // doubling keeps a line of any length linear in time
                let length = (self.window.len() * 2).max(wanted.min(CHUNK));
                self.window.resize(length, 0);
            }
        }
        let until = self.window.len().min(self.end + CHUNK);
        loop {
            match self.reader.read(&mut self.window[self.end..until]) {
                Ok(0) => self.ended = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.explain(error)),
            }
            return Ok(());
        }
    }

    /// An error of the decoder speaks of the file's content, one from below it of the disk.
    fn explain(&self, error: io::Error) -> Error {
        if self.compression == Compression::None || self.gauge.failed.load(Ordering::Relaxed) {
            return Error::io(&self.path)(error);
        }
        let name = self.compression.name();
        // zstd's own words for a window beyond the limit; it has no kind of error for it
        if error.to_string().contains("requires too much memory") {
            return Error::format(
                &self.path,
                self.stored_bytes(),
                "the zstd data needs more memory than is allowed: if you trust it, allow it with \
                 zstd_long=31 (2 GiB a stream), or compress it without --long",
            );
        }
        let reason = if error.kind() == io::ErrorKind::UnexpectedEof {
            format!("the {name} data ends too early: the file is cut off, get it again")
        } else {
            format!("the {name} data is broken ({error}): get the file again")
        };
        Error::format(&self.path, self.stored_bytes(), reason)
    }
}
