//! Writes one shard, document by document.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lslm_runtime::files::AtomicFile;
use lslm_runtime::{Error, Result, TokenId};

use crate::format::{ALIGNMENT, BLOCK, Header, PAGE, Section, digest, kind, token_width};

/// What all documents of a shard have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardOptions {
    /// Each id must be below this; at least 1.
    pub vocab_size: u32,
    /// The fingerprint of the tokenizer; `None` if unknown.
    pub tokenizer: Option<[u8; 32]>,
}

/// The path, counts and digest of a finished shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSummary {
    /// The file.
    pub path: PathBuf,
    /// The number of tokens.
    pub tokens: u64,
    /// The number of documents.
    pub documents: u64,
    /// Bytes of text of its documents; 0 if unknown.
    pub text_bytes: u64,
    /// The size of the file in bytes.
    pub size: u64,
    /// The SHA-256 of its header page.
    pub digest: [u8; 32],
}

impl ShardSummary {
    /// Returns the summary and the header of the finished shard at `path`, from its header page
    /// alone.
    ///
    /// For resuming after a kill: finished shards need not be written again.
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
/// Tokens are written at once; about 20 bytes and the id of each document stay in memory until
/// [`finish`](Self::finish), which gives the file its name. A writer that is dropped before leaves
/// nothing. Equal documents give equal bytes.
#[derive(Debug)]
pub struct ShardWriter {
    file: AtomicFile,
    options: ShardOptions,
    tokens: BlockChecksums,
    text_bytes: u64,
    ends: Vec<u64>,
    bytes: Vec<u64>,
    sources: Vec<u32>,
    id_ends: Vec<u64>,
    ids: Vec<u8>,
    /// The encoded tokens of one document, reused for the next.
    encoded: Vec<u8>,
}

impl ShardWriter {
    /// Starts the shard that will be called `path`, and creates its folder if that is missing.
    pub fn create(path: impl Into<PathBuf>, options: ShardOptions) -> Result<Self> {
        if options.vocab_size == 0 {
            return Err(Error::invalid("vocab_size = 0: choose at least 1"));
        }
        let mut file = AtomicFile::create(path)?;
        file.write_all(&[0; PAGE]).map_err(Error::io(file.path()))?;
        Ok(Self {
            file,
            options,
            tokens: BlockChecksums::default(),
            text_bytes: 0,
            ends: Vec::new(),
            bytes: Vec::new(),
            sources: Vec::new(),
            id_ends: Vec::new(),
            ids: Vec::new(),
            encoded: Vec::new(),
        })
    }

    /// Returns the path that the finished file will have.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Returns the number of tokens written so far.
    pub fn n_tokens(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Returns the number of documents written so far.
    pub fn n_documents(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Returns the bytes of the header page and the tokens written so far.
    pub fn size(&self) -> u64 {
        PAGE as u64 + self.tokens.length
    }

    /// Appends a document: its ids with those that open and close it, the bytes of its text (0 if
    /// unknown), its source as an index into the manifest's list, and its id, if it has one.
    ///
    /// An id that is not below the vocabulary size is an [`Error::Invalid`], and nothing is
    /// appended.
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
                "token {largest} in document {}: the vocabulary has {vocab_size} tokens; encode it \
                 with the tokenizer of this dataset",
                self.ends.len()
            )));
        }
        let text_bytes = self.text_bytes.checked_add(n_bytes).ok_or_else(|| {
            Error::invalid(format!("n_bytes = {n_bytes}: the sum does not fit in 64 bits"))
        })?;
        self.encoded.resize(tokens.len() * token_width(vocab_size), 0);
        if token_width(vocab_size) == 2 {
            let encoded = self.encoded.as_chunks_mut().0;
            encoded
                .iter_mut()
                .zip(tokens)
                .for_each(|(bytes, id)| *bytes = (*id as u16).to_le_bytes());
        } else {
            let encoded = self.encoded.as_chunks_mut().0;
            encoded.iter_mut().zip(tokens).for_each(|(bytes, id)| *bytes = id.to_le_bytes());
        }
        self.tokens.update(&self.encoded);
        self.file.write_all(&self.encoded).map_err(Error::io(self.file.path()))?;
        self.ends.push(self.n_tokens() + tokens.len() as u64);
        self.bytes.push(n_bytes);
        self.text_bytes = text_bytes;
        self.sources.push(source);
        self.ids.extend_from_slice(id.unwrap_or_default().as_bytes());
        self.id_ends.push(self.ids.len() as u64);
        Ok(())
    }

    /// Writes the sections about documents, the checksums and the header page, syncs the file, and
    /// gives it its name.
    pub fn finish(mut self) -> Result<ShardSummary> {
        let path = self.file.path().to_owned();
        let (tokens, documents) = (self.n_tokens(), self.n_documents());
        let sections = self.write_sections()?;
        let (sections, size) = self.write_checksums(sections)?;
        let header = Header {
            tokens,
            documents,
            text_bytes: self.text_bytes,
            file_size: size,
            vocab_size: self.options.vocab_size,
            tokenizer: self.options.tokenizer,
            sections,
        };
        let page = header.encode();
        let file = self.file.file_mut()?;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&page))
            .map_err(Error::io(&path))?;
        self.file.commit()?;
        let digest = digest(&page);
        Ok(ShardSummary { path, tokens, documents, text_bytes: header.text_bytes, size, digest })
    }

    /// Writes the sections after the tokens, each aligned; returns all sections in file order,
    /// without the positions of their checksums.
    fn write_sections(&mut self) -> Result<Vec<(Section, BlockChecksums)>> {
        let tokens = std::mem::take(&mut self.tokens);
        let width = token_width(self.options.vocab_size) as u8;
        let path = self.file.path().to_owned();
        let mut at = PAGE as u64 + tokens.length;
        let mut sections = vec![(section(kind::TOKENS, width, true, PAGE as u64, &tokens), tokens)];
        let mut add = |kind, width, required, content: &[u8]| -> Result<()> {
            let gap = at.next_multiple_of(ALIGNMENT) - at;
            let zeros = &[0; ALIGNMENT as usize][..gap as usize];
            self.file.write_all(zeros).map_err(Error::io(&path))?;
            self.file.write_all(content).map_err(Error::io(&path))?;
            let mut checksums = BlockChecksums::default();
            checksums.update(content);
            sections.push((section(kind, width, required, at + gap, &checksums), checksums));
            at += gap + content.len() as u64;
            Ok(())
        };
        add(kind::DOCUMENT_ENDS, 8, true, &little_endian(&self.ends))?;
        if self.text_bytes > 0 {
            add(kind::DOCUMENT_BYTES, 8, false, &little_endian(&self.bytes))?;
        }
        if self.sources.iter().any(|source| *source != 0) {
            let sources = self.sources.iter().flat_map(|source| source.to_le_bytes());
            add(kind::DOCUMENT_SOURCES, 4, false, &sources.collect::<Vec<u8>>())?;
        }
        if !self.ids.is_empty() {
            add(kind::ID_ENDS, 8, false, &little_endian(&self.id_ends))?;
            add(kind::IDS, 1, false, &self.ids)?;
        }
        Ok(sections)
    }

    /// Writes the checksums of each section after the last one; returns the section table and the
    /// size of the file.
    fn write_checksums(
        &mut self,
        sections: Vec<(Section, BlockChecksums)>,
    ) -> Result<(Vec<Section>, u64)> {
        let end = sections.last().map_or(PAGE as u64, |(last, _)| last.offset + last.length);
        let mut at = end.next_multiple_of(4);
        let gap = (at - end) as usize;
        self.file.write_all(&[0; 4][..gap]).map_err(Error::io(self.file.path()))?;
        let mut table = Vec::with_capacity(sections.len());
        for (section, checksums) in sections {
            let list = checksums.finish();
            self.file.write_all(&list).map_err(Error::io(self.file.path()))?;
            table.push(Section { checksums: at, crc: crc32fast::hash(&list), ..section });
            at += list.len() as u64;
        }
        Ok((table, at))
    }
}

/// Returns the entry of a section whose checksums are not written yet.
fn section(kind: u32, width: u8, required: bool, offset: u64, content: &BlockChecksums) -> Section {
    Section { kind, width, required, offset, length: content.length, checksums: 0, crc: 0 }
}

fn little_endian(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Computes the checksum of each block of a stream of bytes.
#[derive(Debug, Default)]
struct BlockChecksums {
    /// Bytes so far.
    length: u64,
    /// The checksums of all full blocks, as they are stored.
    full: Vec<u8>,
    /// The checksum of the last block, if it is not full.
    partial: crc32fast::Hasher,
}

impl BlockChecksums {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BLOCK - self.length % BLOCK;
            let (now, later) = bytes.split_at(bytes.len().min(room as usize));
            self.partial.update(now);
            self.length += now.len() as u64;
            if self.length.is_multiple_of(BLOCK) {
                let crc = std::mem::take(&mut self.partial).finalize();
                self.full.extend_from_slice(&crc.to_le_bytes());
            }
            bytes = later;
        }
    }

    /// Returns the checksums of all blocks, as they are stored.
    fn finish(mut self) -> Vec<u8> {
        if !self.length.is_multiple_of(BLOCK) {
            self.full.extend_from_slice(&self.partial.finalize().to_le_bytes());
        }
        self.full
    }
}
