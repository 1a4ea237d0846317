//! One shard of an open dataset: its header, checked against the manifest, and its memory map.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lslm_runtime::hex::from_hex;
use lslm_runtime::{Error, Result, hex};

use crate::format::{BLOCK, Header, PAGE, Section, digest, kind};
use crate::manifest::{Manifest, ShardEntry};
use crate::map::Mapping;

/// A shard that is open for reading.
#[derive(Debug)]
pub(crate) struct MappedShard {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    map: Mapping,
    /// The bytes of the file that hold tokens.
    pub(crate) tokens: Range<usize>,
    /// One bit for each block of the tokens: set once its checksum was found right.
    verified: Vec<AtomicU64>,
}

impl MappedShard {
    /// Opens shard `index` of `manifest` in `folder`. The payload is not read.
    pub(crate) fn open(folder: &Path, manifest: &Manifest, index: usize) -> Result<Self> {
        let entry = &manifest.shards[index];
        let path = folder.join(&entry.file);
        let mut file = File::open(&path).map_err(Error::io(&path))?;
        let size = file.metadata().map_err(Error::io(&path))?.len();
        if size != entry.size {
            let at = size.min(entry.size);
            let text = format!("the file has {size} bytes, the manifest says {}", entry.size);
            return Err(Error::format(&path, at, text));
        }
        let mut page = Vec::with_capacity(PAGE);
        file.by_ref().take(PAGE as u64).read_to_end(&mut page).map_err(Error::io(&path))?;
        let header = Header::parse(&page, &path, size)?;
        check_agreement(&path, &header, &page, manifest, entry)?;
        let map = Mapping::open(&file, size).map_err(Error::io(&path))?;
        // parse has refused a shard without tokens, and Mapping::open one beyond usize
        let section = header.section(kind::TOKENS).copied();
        let tokens = section.map_or(0..0, |s| s.offset as usize..(s.offset + s.length) as usize);
        let blocks = tokens.len().div_ceil(BLOCK as usize);
        let verified = (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { path, header, map, tokens, verified })
    }

    /// Returns the mapped bytes of a section.
    pub(crate) fn section_bytes(&self, section: &Section) -> &[u8] {
        &self.map.bytes()[section.offset as usize..(section.offset + section.length) as usize]
    }

    /// Returns the mapped bytes of the tokens in `range`, in bytes from the first token.
    pub(crate) fn token_bytes(&self, range: Range<usize>) -> &[u8] {
        &self.map.bytes()[self.tokens.start + range.start..][..range.len()]
    }

    /// Returns element `index` of the section of `kind`, whose elements are u64.
    pub(crate) fn u64_element(&self, kind: u32, index: u64) -> Option<u64> {
        let section = self.header.section(kind)?;
        let (elements, _) = self.section_bytes(section).as_chunks::<8>();
        elements.get(index as usize).map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// Returns the index of the first entry above `limit` in a section of ends.
    pub(crate) fn entry_after(&self, kind: u32, limit: u64) -> u64 {
        let section = self.header.section(kind);
        let bytes = section.map_or(&[][..], |section| self.section_bytes(section));
        let ends = bytes.as_chunks::<8>().0;
        ends.partition_point(|end| u64::from_le_bytes(*end) <= limit) as u64
    }

    /// Returns the span of entry `index` in a section of ends: from the end before it to its own.
    ///
    /// A span that decreases or passes `limit` is an [`Error::Format`].
    pub(crate) fn span(&self, kind: u32, index: u64, limit: u64) -> Result<Range<u64>> {
        let start = if index == 0 { Some(0) } else { self.u64_element(kind, index - 1) };
        let (start, end) = (start.unwrap_or(0), self.u64_element(kind, index).unwrap_or(0));
        if start <= end && end <= limit {
            return Ok(start..end);
        }
        let section = self.header.section(kind).map_or(0, |section| section.offset);
        Err(Error::format(
            &self.path,
            section + 8 * index,
            format!(
                "an entry reaches from {start} to {end} of {limit}: the file is damaged; copy it \
                 again or write the dataset again"
            ),
        ))
    }

    /// Returns the id of document `index` of this shard, or `None` if it has none.
    pub(crate) fn document_id(&self, index: u64) -> Result<Option<&str>> {
        let Some(section) = self.header.section(kind::IDS) else { return Ok(None) };
        let span = self.span(kind::ID_ENDS, index, section.length)?;
        let bytes = &self.section_bytes(section)[span.start as usize..span.end as usize];
        match std::str::from_utf8(bytes) {
            Ok("") => Ok(None),
            Ok(id) => Ok(Some(id)),
            Err(error) => {
                let at = section.offset + span.start + error.valid_up_to() as u64;
                Err(Error::format(&self.path, at, "the id of a document is not UTF-8"))
            }
        }
    }

    /// Checks the checksums of the blocks that overlap the bytes `range` of the tokens, each block
    /// only the first time.
    pub(crate) fn check(&self, range: Range<usize>, file: Option<&File>) -> Result<()> {
        let Some(section) = self.header.section(kind::TOKENS) else { return Ok(()) };
        let block_size = BLOCK as usize;
        for block in range.start / block_size..range.end.div_ceil(block_size) {
            let (word, bit) = (&self.verified[block / 64], 1 << (block % 64));
            if word.load(Ordering::Relaxed) & bit != 0 {
                continue;
            }
            let start = self.tokens.start + block * block_size;
            let end = self.tokens.end.min(start + block_size);
            let mut buffer = Vec::new();
            let found = crc32fast::hash(self.read(start..end, file, &mut buffer)?);
            let at = section.checksums as usize + 4 * block;
            let stored = self.read(at..at + 4, file, &mut buffer)?.iter().rev();
            let stored = stored.fold(0, |crc, byte| (crc << 8) | u32::from(*byte));
            if found != stored {
                return Err(wrong_checksum(&self.path, start, found, stored));
            }
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns the bytes `range` of the file: read from `file` into `buffer` if a file is given,
    /// else from the map.
    pub(crate) fn read<'a>(
        &'a self,
        range: Range<usize>,
        file: Option<&File>,
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a [u8]> {
        let Some(file) = file else { return Ok(&self.map.bytes()[range]) };
        buffer.resize(range.len(), 0);
        read_at(file, buffer, range.start as u64).map_err(Error::io(&self.path))?;
        Ok(buffer)
    }
}

/// Checks that the header page agrees with the manifest: counts, vocabulary, tokenizer, digest.
fn check_agreement(
    path: &Path,
    header: &Header,
    page: &[u8],
    manifest: &Manifest,
    entry: &ShardEntry,
) -> Result<()> {
    let differ = |at: u64, what: &str, found: String, stated: String| {
        let text = format!("{what} {found}, the manifest says {stated}");
        Err(Error::format(path, at, text))
    };
    let counts = [
        (16, "tokens", header.tokens, entry.tokens),
        (24, "documents", header.documents, entry.documents),
        (32, "bytes of text", header.text_bytes, entry.bytes),
        (48, "vocabulary size", header.vocab_size.into(), manifest.vocab_size.into()),
    ];
    for (at, what, found, stated) in counts {
        if found != stated {
            return differ(at, what, found.to_string(), stated.to_string());
        }
    }
    let stated = manifest.tokenizer.fingerprint.as_deref().and_then(from_hex);
    if header.tokenizer != stated {
        let name = |fingerprint: Option<[u8; 32]>| fingerprint.map_or("none".into(), |f| hex(&f));
        return differ(64, "tokenizer", name(header.tokenizer), name(stated));
    }
    let found = digest(page);
    if from_hex(&entry.digest) != Some(found) {
        return differ(0, "digest of the header", hex(&found), entry.digest.clone());
    }
    Ok(())
}

/// Returns the error for a block of the file at byte `at` whose checksum is wrong.
pub(crate) fn wrong_checksum(path: &Path, at: usize, found: u32, stored: u32) -> Error {
    Error::format(
        path,
        at as u64,
        format!(
            "the block that begins here is damaged: checksum {found:08x}, stored {stored:08x}; \
             copy the file again or write the dataset again"
        ),
    )
}

/// Fills `bytes` from `file`, starting at byte `at`.
fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        #[cfg(unix)]
        let result = std::os::unix::fs::FileExt::read_at(file, bytes, at);
        #[cfg(windows)]
        let result = std::os::windows::fs::FileExt::seek_read(file, bytes, at);
        match result {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                bytes = &mut bytes[count..];
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Files that a [`ShardFiles`] keeps open, at most: a quarter of 1,024, the usual limit of a
/// process.
const MAX_OPEN_FILES: usize = 256;

/// Shards opened as files, for reading without maps.
///
/// Random windows of a large dataset are cheaper to read than to map: the first access to a page
/// costs more than a system call, and mapped pages count as this process's memory.
#[derive(Debug, Default)]
pub(crate) struct ShardFiles {
    open: HashMap<PathBuf, File>,
}

impl ShardFiles {
    /// Returns the file of `shard`, opened at the first call.
    pub(crate) fn get(&mut self, shard: &MappedShard) -> Result<&File> {
        if !self.open.contains_key(&shard.path) {
            if self.open.len() >= MAX_OPEN_FILES {
                self.open.clear();
            }
            let file = File::open(&shard.path).map_err(Error::io(&shard.path))?;
            let size = file.metadata().map_err(Error::io(&shard.path))?.len();
            if size != shard.header.file_size {
                return Err(Error::format(
                    &shard.path,
                    size.min(shard.header.file_size),
                    format!(
                        "the file has {size} bytes, and had {} when the dataset was opened",
                        shard.header.file_size
                    ),
                ));
            }
            self.open.insert(shard.path.clone(), file);
        }
        let missing = || Error::io(&shard.path)(io::ErrorKind::NotFound.into());
        self.open.get(&shard.path).ok_or_else(missing)
    }
}
