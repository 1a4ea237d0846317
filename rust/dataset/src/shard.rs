//! The streaming writer of one shard.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lslm_runtime::files::AtomicFile;
use lslm_runtime::{Error, Result};

use crate::TokenId;
use crate::format::{BLOCK, Header, PAGE, Section, digest, kind, token_width};

/// What is the same for all documents of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardOptions {
    /// Each id must be below this; at least 1.
    pub vocab_size: u32,
    /// The fingerprint of the tokenizer, if known.
    pub tokenizer: Option<[u8; 32]>,
}

/// What a finished shard holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSummary {
    /// The file.
    pub path: PathBuf,
    /// Its tokens.
    pub tokens: u64,
    /// Its documents.
    pub documents: u64,
    /// Bytes of text of its documents; 0 if not known.
    pub text_bytes: u64,
    /// The size of the file in bytes.
    pub size: u64,
    /// The SHA-256 of its header page.
    pub digest: [u8; 32],
}

impl ShardSummary {
    /// The summary of the finished shard at `path`, from its header page alone.
    ///
    /// For work that goes on after a kill: shards that are there need not be made again.
    pub fn read(path: &Path) -> Result<(Self, Header)> {
        let file = std::fs::File::open(path).map_err(Error::io(path))?;
        let size = file.metadata().map_err(Error::io(path))?.len();
        let mut page = Vec::with_capacity(PAGE);
        file.take(PAGE as u64).read_to_end(&mut page).map_err(Error::io(path))?;
        let header = Header::parse(&page, path, size)?;
        let summary = Self {
            path: path.to_owned(),
            tokens: header.tokens,
            documents: header.documents,
            text_bytes: header.text_bytes,
            size,
            digest: digest(&page),
        };
        Ok((summary, header))
    }
}

/// Writes one shard, document by document.
///
/// Tokens go to the disk as they come; what is kept in memory is some 20 bytes and the id of each
/// document. The file takes its name in [`finish`](Self::finish); dropped before, it leaves nothing.
/// Equal documents give equal bytes.
#[derive(Debug)]
pub struct ShardWriter {
    file: AtomicFile,
    options: ShardOptions,
    tokens: Checksummed,
    text_bytes: u64,
    ends: Vec<u64>,
    bytes: Vec<u64>,
    sources: Vec<u32>,
    id_ends: Vec<u64>,
    ids: Vec<u8>,
    /// The encoded ids of one document, kept for the next.
    scratch: Vec<u8>,
}

impl ShardWriter {
    /// Begins the shard that will be called `path`; makes its folder if that is missing.
    pub fn create(path: impl Into<PathBuf>, options: ShardOptions) -> Result<Self> {
        if options.vocab_size == 0 {
            return Err(Error::invalid("vocab_size = 0: a vocabulary has at least one token"));
        }
        let mut file = AtomicFile::create(path)?;
        file.write_all(&[0; PAGE]).map_err(Error::io(file.path()))?;
        Ok(Self {
            file,
            options,
            tokens: Checksummed::default(),
            text_bytes: 0,
            ends: Vec::new(),
            bytes: Vec::new(),
            sources: Vec::new(),
            id_ends: Vec::new(),
            ids: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// The name that the file will have.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The tokens written so far.
    pub fn n_tokens(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The documents written so far.
    pub fn n_documents(&self) -> u64 {
        self.ends.len() as u64
    }

    /// The size that the file has reached, in bytes, without the sections about documents.
    pub fn size(&self) -> u64 {
        PAGE as u64 + self.tokens.length
    }

    /// Adds a document: its ids with those that open and close it, the bytes of its text (0 if not
    /// known), its source by place in the manifest's list, and its id, if it has one.
    ///
    /// An id that is not below the vocabulary size is an [`Error::Invalid`], and nothing is added.
    pub fn push_document(
        &mut self,
        tokens: &[TokenId],
        n_bytes: u64,
        source: u32,
        id: Option<&str>,
    ) -> Result<()> {
        let vocab_size = self.options.vocab_size;
        let largest = tokens.iter().copied().max();
        if let Some(largest) = largest.filter(|largest| *largest >= vocab_size) {
            return Err(Error::invalid(format!(
                "token {largest} in document {}: the vocabulary has {vocab_size} tokens; was \
                 another tokenizer used?",
                self.ends.len()
            )));
        }
        let text_bytes = self.text_bytes.checked_add(n_bytes).ok_or_else(|| {
            Error::invalid(format!("n_bytes = {n_bytes}: the sum does not fit in 64 bits"))
        })?;
        self.scratch.resize(tokens.len() * token_width(vocab_size), 0);
        if token_width(vocab_size) == 2 {
            let places = self.scratch.as_chunks_mut().0;
            places
                .iter_mut()
                .zip(tokens)
                .for_each(|(place, id)| *place = (*id as u16).to_le_bytes());
        } else {
            let places = self.scratch.as_chunks_mut().0;
            places.iter_mut().zip(tokens).for_each(|(place, id)| *place = id.to_le_bytes());
        }
        self.tokens.update(&self.scratch);
        self.file.write_all(&self.scratch).map_err(Error::io(self.file.path()))?;
        self.ends.push(self.n_tokens() + tokens.len() as u64);
        self.bytes.push(n_bytes);
        self.text_bytes = text_bytes;
        self.sources.push(source);
        self.ids.extend_from_slice(id.unwrap_or_default().as_bytes());
        self.id_ends.push(self.ids.len() as u64);
        Ok(())
    }

    /// Writes what is known only now, brings everything to the disk, and gives the file its name.
    pub fn finish(mut self) -> Result<ShardSummary> {
        let path = self.file.path().to_owned();
        let (tokens, documents) = (self.n_tokens(), self.n_documents());
        let width = token_width(self.options.vocab_size) as u8;
        let mut at = PAGE as u64 + self.tokens.length;
        let mut sections = vec![(kind::TOKENS, width, true, PAGE as u64, self.tokens)];
        let mut add = |kind, width, required, content: Vec<u8>| -> Result<()> {
            let gap = at.next_multiple_of(64) - at;
            self.file.write_all(&[0; 64][..gap as usize]).map_err(Error::io(&path))?;
            self.file.write_all(&content).map_err(Error::io(&path))?;
            let mut checksums = Checksummed::default();
            checksums.update(&content);
            sections.push((kind, width, required, at + gap, checksums));
            at += gap + content.len() as u64;
            Ok(())
        };
        add(kind::DOCUMENT_ENDS, 8, true, little_endian(&self.ends))?;
        if self.text_bytes > 0 {
            add(kind::DOCUMENT_BYTES, 8, false, little_endian(&self.bytes))?;
        }
        if self.sources.iter().any(|source| *source != 0) {
            let sources = self.sources.iter().flat_map(|source| source.to_le_bytes());
            add(kind::DOCUMENT_SOURCES, 4, false, sources.collect())?;
        }
        if !self.ids.is_empty() {
            add(kind::ID_ENDS, 8, false, little_endian(&self.id_ends))?;
            add(kind::IDS, 1, false, self.ids)?;
        }
        let gap = at.next_multiple_of(4) - at;
        self.file.write_all(&[0; 4][..gap as usize]).map_err(Error::io(&path))?;
        at += gap;
        let mut table = Vec::with_capacity(sections.len());
        for (kind, width, required, offset, content) in sections {
            let length = content.length;
            let list = content.finish();
            self.file.write_all(&list).map_err(Error::io(&path))?;
            let crc = crc32fast::hash(&list);
            table.push(Section { kind, width, required, offset, length, checksums: at, crc });
            at += list.len() as u64;
        }
        let header = Header {
            tokens,
            documents,
            text_bytes: self.text_bytes,
            file_size: at,
            vocab_size: self.options.vocab_size,
            tokenizer: self.options.tokenizer,
            sections: table,
        };
        let page = header.encode();
        let file = self.file.file_mut()?;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&page))
            .map_err(Error::io(&path))?;
        self.file.commit()?;
        Ok(ShardSummary {
            path,
            tokens,
            documents,
            text_bytes: header.text_bytes,
            size: at,
            digest: digest(&page),
        })
    }
}

fn little_endian(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The checksum of each block of a stream of bytes.
#[derive(Debug, Default)]
struct Checksummed {
    length: u64,
    full: Vec<u8>,
    open: crc32fast::Hasher,
}

impl Checksummed {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK - self.length % BLOCK;
            let (now, later) = bytes.split_at(bytes.len().min(room as usize));
            self.open.update(now);
            self.length += now.len() as u64;
            if self.length.is_multiple_of(BLOCK) {
                let crc = std::mem::take(&mut self.open).finalize();
                self.full.extend_from_slice(&crc.to_le_bytes());
            }
            bytes = later;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if !self.length.is_multiple_of(BLOCK) {
            self.full.extend_from_slice(&self.open.finalize().to_le_bytes());
        }
        self.full
    }
}
