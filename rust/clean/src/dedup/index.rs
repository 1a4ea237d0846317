//! The hashes of a finished job, with which later jobs compare.
//!
//! ```text
//! magic      8 bytes, "lslmseen"
//! length     8 bytes, of the header
//! header     JSON: version, settings, number of documents and parts (null: not compared)
//! documents  a table and hashes, as in a hash list without positions; missing if not compared
//! parts      likewise
//! checksum   16 bytes, XXH3-128 of everything before
//! ```

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use lslm_runtime::files::AtomicFile;
use lslm_runtime::{Error, Result};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::dedup::hash_list::{TABLE_BYTES, hash_at, number_at, read_entries, table_bytes};
use crate::dedup::parts::{DedupSettings, PartKind};

/// The name of an index in the output folder of its job.
pub const INDEX: &str = "_dedup.index";

const MAGIC: &[u8; 8] = b"lslmseen";
const VERSION: u32 = 1;
/// The bytes of a hash.
const HASH_BYTES: usize = 16;
/// The largest header: a hundred times what is written.
const MAX_HEADER_BYTES: u64 = 1 << 16;
/// Bytes that are read at a time for the checksum.
const BLOCK_BYTES: usize = 1 << 20;

/// What an index says of itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Header {
    version: u32,
    normalise: bool,
    parts: Option<PartKind>,
    min_part_chars: usize,
    n_documents: Option<u64>,
    n_parts: Option<u64>,
}

/// The hashes of documents, and of their parts, that earlier jobs have seen; opened by
/// [`DedupIndex::open`].
#[derive(Clone, Debug)]
pub struct DedupIndex {
    path: PathBuf,
    header: Header,
    checksum: u128,
    /// The bytes before the first table.
    start: u64,
}

/// The hashes of one level of an index: those of documents, or of parts.
#[derive(Clone, Copy, Debug)]
pub struct IndexLevel<'i> {
    path: &'i Path,
    offset: u64,
    len: u64,
}

impl IndexLevel<'_> {
    /// Returns the number of hashes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Returns the hashes in these buckets, sorted.
    pub(super) fn read(&self, buckets: Range<usize>) -> Result<Vec<u128>> {
        let bytes = read_entries(self.path, self.offset, HASH_BYTES, buckets)?;
        let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
        Ok(hashes.iter().map(|hash| hash_at(hash)).collect())
    }
}

/// The hashes of one level that a search has collected: files in the order of their hashes.
#[derive(Debug, Default)]
pub struct CollectedHashes {
    /// The number of hashes by bucket.
    pub(super) counts: Vec<u64>,
    pub(super) files: Vec<PathBuf>,
}

impl DedupIndex {
    /// Returns whether `path` is an index or a folder that holds one, by its name or its first bytes;
    /// it may be broken.
    pub fn is_index(path: &Path) -> bool {
        if path.is_dir() {
            return path.join(INDEX).exists();
        }
        let mut begin = [0; MAGIC.len()];
        let is_read = File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok();
        path.extension().is_some_and(|name| name == "index") || (is_read && &begin == MAGIC)
    }

    /// Opens an index, or that in the output folder of a job, and verifies its checksum.
    ///
    /// A folder without one is an [`Error::Invalid`], a broken file an [`Error::Format`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = if path.is_dir() { path.join(INDEX) } else { path.to_owned() };
        if path.is_dir() && !file.exists() {
            return Err(Error::invalid(format!(
                "{}: has no {INDEX}; clean or tokenize write one into their output with \
                 save_index (--save-index)",
                path.display()
            )));
        }
        let size = std::fs::metadata(&file).map_err(Error::io(&file))?.len();
        let mut reader = BufReader::new(File::open(&file).map_err(Error::io(&file))?);
        let mut begin = [0; 16];
        let is_read = reader.read_exact(&mut begin).is_ok();
        if !is_read || &begin[..8] != MAGIC {
            return Err(Error::format(&file, Some(0), "not an index of lslm clean --save-index"));
        }
        let header_bytes = number_at(&begin[8..]);
        let broken = |what: &str| Error::format(&file, None, format!("a broken index: {what}"));
        if header_bytes > MAX_HEADER_BYTES.min(size) {
            return Err(broken("its header is too long"));
        }
        let mut json = vec![0; header_bytes as usize];
        reader.read_exact(&mut json).map_err(|_| broken("it ends in the header"))?;
        let header: Header =
            serde_json::from_slice(&json).map_err(|error| broken(&error.to_string()))?;
        if header.version != VERSION {
            return Err(Error::invalid(format!(
                "{}: index version {}, this lslm reads {VERSION}; save it again",
                file.display(),
                header.version
            )));
        }
        let start = 16 + header_bytes;
        let expected = [header.n_documents, header.n_parts].into_iter().flatten().try_fold(
            start + HASH_BYTES as u64,
            |sum, len| {
                sum.checked_add(TABLE_BYTES)?.checked_add(len.checked_mul(HASH_BYTES as u64)?)
            },
        );
        if expected != Some(size) {
            return Err(broken("its size is not that of its hashes; it may be cut off"));
        }
        let (computed, stored) = checksum(&file, size)?;
        if computed != stored {
            return Err(broken("the checksum differs"));
        }
        Ok(Self { path: file, header, checksum: stored, start })
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the checksum of the content, which identifies it.
    pub fn checksum(&self) -> u128 {
        self.checksum
    }

    /// Returns an [`Error::Invalid`] if texts hashed by `settings` cannot be compared with this index.
    pub fn check(&self, settings: &DedupSettings) -> Result<()> {
        let refuse = |name: &str, own: String, wanted: String| {
            Err(Error::invalid(format!(
                "{}: made with dedup.{name} = {own}, and {wanted} is asked for; use the same \
                 settings",
                self.path.display()
            )))
        };
        let header = &self.header;
        if header.normalise != settings.normalise {
            let (own, wanted) = (header.normalise, settings.normalise);
            return refuse("normalise", own.to_string(), wanted.to_string());
        }
        if settings.documents && header.n_documents.is_none() {
            return refuse("documents", "false".to_owned(), "true".to_owned());
        }
        let name = |parts: Option<PartKind>| {
            parts.map_or("null".to_owned(), |kind| format!("{kind:?}").to_lowercase())
        };
        if settings.parts.is_some() && header.parts != settings.parts {
            return refuse("parts", name(header.parts), name(settings.parts));
        }
        if settings.parts.is_some() && header.min_part_chars != settings.min_part_chars {
            let (own, wanted) = (header.min_part_chars, settings.min_part_chars);
            return refuse("min_part_chars", own.to_string(), wanted.to_string());
        }
        Ok(())
    }

    /// Returns the hashes of documents.
    pub fn documents(&self) -> Option<IndexLevel<'_>> {
        let len = self.header.n_documents?;
        Some(IndexLevel { path: &self.path, offset: self.start, len })
    }

    /// Returns the hashes of parts.
    pub fn parts(&self) -> Option<IndexLevel<'_>> {
        let before = self.header.n_documents.map_or(0, |len| TABLE_BYTES + len * HASH_BYTES as u64);
        let len = self.header.n_parts?;
        Some(IndexLevel { path: &self.path, offset: self.start + before, len })
    }

    /// Writes the index of a job with `settings` to `path`, from what its searches collected.
    pub fn write(
        path: &Path,
        settings: &DedupSettings,
        documents: Option<&CollectedHashes>,
        parts: Option<&CollectedHashes>,
    ) -> Result<()> {
        let len = |level: Option<&CollectedHashes>| level.map(|level| level.counts.iter().sum());
        let header = Header {
            version: VERSION,
            normalise: settings.normalise,
            parts: settings.parts,
            min_part_chars: settings.min_part_chars,
            n_documents: len(documents),
            n_parts: len(parts),
        };
        let json = serde_json::to_vec(&header)
            .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
        let mut file = HashingFile { file: AtomicFile::create(path)?, hash: Xxh3::new() };
        file.write(MAGIC)?;
        file.write(&(json.len() as u64).to_le_bytes())?;
        file.write(&json)?;
        for level in [documents, parts].into_iter().flatten() {
            file.write(&table_bytes(&level.counts))?;
            for part in &level.files {
                file.write(&std::fs::read(part).map_err(Error::io(part))?)?;
            }
        }
        let checksum = file.hash.digest128();
        file.write(&checksum.to_le_bytes())?;
        file.file.commit()
    }
}

/// A file whose content is hashed as it is written.
struct HashingFile {
    file: AtomicFile,
    hash: Xxh3,
}

impl HashingFile {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        let written = self.file.write_all(bytes);
        written.map_err(|error| Error::io(self.file.path())(error))
    }
}

/// Returns the hash of all bytes but the last 16, and the number in those.
fn checksum(path: &Path, size: u64) -> Result<(u128, u128)> {
    let io = Error::io(path);
    let read = || -> std::io::Result<(u128, u128)> {
        let mut file = File::open(path)?;
        let mut hash = Xxh3::new();
        let mut block = vec![0; BLOCK_BYTES];
        let mut left = size - HASH_BYTES as u64;
        while left > 0 {
            let len = left.min(BLOCK_BYTES as u64) as usize;
            file.read_exact(&mut block[..len])?;
            hash.update(&block[..len]);
            left -= len as u64;
        }
        file.read_exact(&mut block[..HASH_BYTES])?;
        Ok((hash.digest128(), hash_at(&block)))
    };
    read().map_err(io)
}
