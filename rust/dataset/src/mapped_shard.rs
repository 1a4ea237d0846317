//! One shard of an open dataset: its header, checked against the manifest, and its map or file.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lslm_runtime::hex::from_hex;
use lslm_runtime::{Error, Result, hex};

use crate::bin_file::BinFile;
use crate::format::{BLOCK, Header, PAGE, Section, digest, kind};
use crate::manifest::{Manifest, ShardEntry};
use crate::map::Mapping;

/// One bit for each block of the tokens of a shard: set once its checksum was found right.
pub(crate) type VerifiedBlocks = Arc<[AtomicU64]>;

/// The path and the header of a shard, checked against the manifest.
#[derive(Debug)]
pub(crate) struct ShardHead {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    /// The bytes of the file that hold tokens.
    pub(crate) tokens: Range<usize>,
}

impl ShardHead {
    /// Opens shard `index` of `manifest` in `folder`, and reads its header page.
    ///
    /// [`Error::Format`] for everything that `docs/format.md` refuses, and for what is not a
    /// file.
    pub(crate) fn open(folder: &Path, manifest: &Manifest, index: usize) -> Result<(File, Self)> {
        let entry = &manifest.shards[index];
        let path = folder.join(&entry.file);
        let is_file = std::fs::metadata(&path).map_err(Error::io(&path))?.is_file();
        if !is_file {
            return Err(Error::format(
                &path,
                0,
                "this is not a regular file; copy the shard again",
            ));
        }
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
        // parse has refused a shard without tokens
        let section = header.section(kind::TOKENS).copied();
        let tokens = section.map_or(0..0, |s| s.offset as usize..(s.offset + s.length) as usize);
        Ok((file, Self { path, header, tokens }))
    }

    /// Opens a token file of another program, which must be as long as it was.
    pub(crate) fn of_bin(bin: &BinFile) -> Result<(File, Self)> {
        let (file, size) = open_regular(&bin.path)?;
        if size != bin.size {
            let at = size.min(bin.size);
            let text = format!("the file has {size} bytes, and had {} before", bin.size);
            return Err(Error::format(&bin.path, at, text));
        }
        let tokens = Section {
            kind: kind::TOKENS,
            width: bin.width,
            required: true,
            offset: bin.offset,
            length: bin.size - bin.offset,
            checksums: 0,
            crc: 0,
        };
        let header = Header {
            tokens: bin.n_tokens(),
            documents: 0,
            text_bytes: 0,
            file_size: size,
            vocab_size: 0,
            tokenizer: None,
            sections: vec![tokens],
        };
        let tokens = bin.offset as usize..size as usize;
        Ok((file, Self { path: bin.path.clone(), header, tokens }))
    }

    /// Returns the record of verified blocks, none of them so far.
    pub(crate) fn unverified(&self) -> VerifiedBlocks {
        let blocks = self.tokens.len().div_ceil(BLOCK as usize);
        (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect()
    }
}

/// Opens a regular file; returns it with its size. A pipe would block, a device never end.
fn open_regular(path: &Path) -> Result<(File, u64)> {
    if !std::fs::metadata(path).map_err(Error::io(path))?.is_file() {
        return Err(Error::format(path, 0, "this is not a regular file; copy it again"));
    }
    let file = File::open(path).map_err(Error::io(path))?;
    let size = file.metadata().map_err(Error::io(path))?.len();
    Ok((file, size))
}

/// A shard that is mapped.
#[derive(Debug)]
pub(crate) struct MappedShard {
    pub(crate) head: ShardHead,
    map: Mapping,
    verified: VerifiedBlocks,
}

/// A shard that is read by system calls: no map, no memory.
#[derive(Debug)]
pub(crate) struct ShardFile {
    pub(crate) head: ShardHead,
    pub(crate) file: File,
    pub(crate) verified: VerifiedBlocks,
}

/// A shard that tokens are read from, in one way or the other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ShardReader<'a> {
    Map(&'a MappedShard),
    File(&'a ShardFile),
}

impl MappedShard {
    /// Maps the shard whose file and head were opened.
    pub(crate) fn new(file: &File, head: ShardHead, verified: VerifiedBlocks) -> Result<Self> {
        let map = Mapping::open(file, head.header.file_size).map_err(Error::io(&head.path))?;
        Ok(Self { head, map, verified })
    }

    /// Returns the mapped bytes of a section.
    pub(crate) fn section_bytes(&self, section: &Section) -> &[u8] {
        &self.map.bytes()[section.offset as usize..(section.offset + section.length) as usize]
    }

    /// Returns the mapped bytes of the tokens in `range`, in bytes from the first token.
    pub(crate) fn token_bytes(&self, range: Range<usize>) -> &[u8] {
        &self.map.bytes()[self.head.tokens.start + range.start..][..range.len()]
    }

    /// Returns element `index` of the section of `kind`, whose elements are u64.
    pub(crate) fn u64_element(&self, kind: u32, index: u64) -> Option<u64> {
        let section = self.head.header.section(kind)?;
        let (elements, _) = self.section_bytes(section).as_chunks::<8>();
        elements.get(index as usize).map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// Returns the index of the first entry above `limit` in a section of ends.
    pub(crate) fn entry_after(&self, kind: u32, limit: u64) -> u64 {
        let section = self.head.header.section(kind);
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
        let section = self.head.header.section(kind).map_or(0, |section| section.offset);
        Err(Error::format(
            &self.head.path,
            section + 8 * index,
            format!(
                "an entry reaches from {start} to {end} of {limit}: the file is damaged; copy it \
                 again or write the dataset again"
            ),
        ))
    }

    /// Returns the id of document `index` of this shard, or `None` if it has none.
    pub(crate) fn document_id(&self, index: u64) -> Result<Option<&str>> {
        let Some(section) = self.head.header.section(kind::IDS) else { return Ok(None) };
        let span = self.span(kind::ID_ENDS, index, section.length)?;
        let bytes = &self.section_bytes(section)[span.start as usize..span.end as usize];
        match std::str::from_utf8(bytes) {
            Ok("") => Ok(None),
            Ok(id) => Ok(Some(id)),
            Err(error) => {
                let at = section.offset + span.start + error.valid_up_to() as u64;
                Err(Error::format(&self.head.path, at, "the id of a document is not UTF-8"))
            }
        }
    }
}

impl<'a> ShardReader<'a> {
    pub(crate) fn head(&self) -> &'a ShardHead {
        match self {
            Self::Map(shard) => &shard.head,
            Self::File(shard) => &shard.head,
        }
    }

    /// Checks the checksums of the blocks that overlap the bytes `range` of the tokens, each block
    /// only the first time.
    pub(crate) fn check(&self, range: Range<usize>) -> Result<()> {
        let head = self.head();
        let Some(section) = head.header.section(kind::TOKENS) else { return Ok(()) };
        if section.checksums == 0 {
            return Err(Error::invalid(format!(
                "{}: a token file of nanoGPT or llm.c has no checksums: leave verify out",
                head.path.display()
            )));
        }
        let verified = match self {
            Self::Map(shard) => &shard.verified,
            Self::File(shard) => &shard.verified,
        };
        let block_size = BLOCK as usize;
        for block in range.start / block_size..range.end.div_ceil(block_size) {
            let (word, bit) = (&verified[block / 64], 1 << (block % 64));
            if word.load(Ordering::Relaxed) & bit != 0 {
                continue;
            }
            let start = head.tokens.start + block * block_size;
            let end = head.tokens.end.min(start + block_size);
            let mut buffer = Vec::new();
            let found = crc32fast::hash(self.read(start..end, &mut buffer)?);
            let at = section.checksums as usize + 4 * block;
            let stored = self.read(at..at + 4, &mut buffer)?.iter().rev();
            let stored = stored.fold(0, |crc, byte| (crc << 8) | u32::from(*byte));
            if found != stored {
                return Err(wrong_checksum(&head.path, start, found, stored));
            }
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns the bytes `range` of the file: from the map, or read into `buffer`.
    ///
    /// [`Error::Format`] if the file has become shorter.
    pub(crate) fn read<'b>(&self, range: Range<usize>, buffer: &'b mut Vec<u8>) -> Result<&'b [u8]>
    where
        'a: 'b,
    {
        match self {
            Self::Map(shard) => Ok(&shard.map.bytes()[range]),
            Self::File(ShardFile { head, file, .. }) => {
                buffer.resize(range.len(), 0);
                let n = read_at(file, buffer, range.start as u64).map_err(Error::io(&head.path))?;
                if n < range.len() {
                    let at = (range.start + n) as u64;
                    let text = "the file ends here: it was cut while it was open; copy it again";
                    return Err(Error::format(&head.path, at, text));
                }
                Ok(buffer)
            }
        }
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

/// Fills `bytes` from `file`, starting at byte `at`; returns how many there were.
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut n = 0;
    while n < bytes.len() {
        #[cfg(unix)]
        let result = std::os::unix::fs::FileExt::read_at(file, &mut bytes[n..], at + n as u64);
        #[cfg(windows)]
        let result = std::os::windows::fs::FileExt::seek_read(file, &mut bytes[n..], at + n as u64);
        match result {
            Ok(0) => break,
            Ok(count) => n += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n)
}
