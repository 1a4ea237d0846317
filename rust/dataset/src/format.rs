//! Encodes and parses the header page of a shard; `docs/format.md` is the specification.

use std::path::Path;

use lslm_runtime::{Error, Result};
use sha2::{Digest, Sha256};

/// The first bytes of a shard. The first byte is not valid in any text encoding, and a transfer in
/// text mode changes the line ends.
pub const MAGIC: [u8; 8] = *b"\x89LSLM\r\n\x1a";
/// The version of the format that is written, and the only one that is read.
pub const VERSION: u32 = 1;
/// The size of the header page, and the alignment of the tokens, in bytes: a page of memory.
pub const PAGE: usize = 4096;
/// Bytes of a section that one checksum covers.
pub const BLOCK: u64 = 1 << 20;
/// Sections in a shard, at most: as many entries as fit into the header page.
pub const MAX_SECTIONS: usize = 61;
/// The largest vocabulary size whose ids are stored in two bytes.
pub const MAX_NARROW_VOCAB_SIZE: u32 = 1 << 16;

/// The kinds of sections.
pub mod kind {
    /// The id of each token.
    pub const TOKENS: u32 = 1;
    /// The end of each document, in tokens.
    pub const DOCUMENT_ENDS: u32 = 2;
    /// The bytes of text of each document.
    pub const DOCUMENT_BYTES: u32 = 3;
    /// The source of each document: an index into the manifest's list.
    pub const DOCUMENT_SOURCES: u32 = 4;
    /// The end of the id of each document, in bytes of [`IDS`].
    pub const ID_ENDS: u32 = 5;
    /// The ids of the documents, one after the other.
    pub const IDS: u32 = 6;
    /// Which tokens count as targets; reserved.
    pub const LOSS_MASK: u32 = 7;
}

/// The first byte of the section table in the header page.
const TABLE: usize = 128;
/// Bytes of an entry of the section table.
const ENTRY_BYTES: usize = 64;
/// Alignment of sections other than tokens, in bytes: a cache line.
pub(crate) const ALIGNMENT: u64 = 64;

/// Returns the bytes of one stored id for a vocabulary of `vocab_size`: 2 or 4.
pub fn token_width(vocab_size: u32) -> usize {
    if vocab_size <= MAX_NARROW_VOCAB_SIZE { 2 } else { 4 }
}

/// One entry of the section table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it contains: one of [`kind`], or a kind of another program.
    pub kind: u32,
    /// The width of an element in bytes: 1, 2, 4 or 8.
    pub width: u8,
    /// Whether a reader that does not support the kind must refuse the shard.
    pub required: bool,
    /// Its first byte in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// The first byte of its checksums in the file.
    pub checksums: u64,
    /// The CRC-32 of its checksums.
    pub crc: u32,
}

impl Section {
    /// Returns the number of blocks, each of which has a checksum.
    pub fn blocks(&self) -> u64 {
        self.length.div_ceil(BLOCK)
    }

    fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.length)
    }

    fn checksums_end(&self) -> Option<u64> {
        self.checksums.checked_add(self.blocks() * 4)
    }
}

/// The content of the header page of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Tokens in the shard.
    pub tokens: u64,
    /// Documents in the shard.
    pub documents: u64,
    /// Bytes of text of all documents; 0 if unknown.
    pub text_bytes: u64,
    /// The size of the file in bytes.
    pub file_size: u64,
    /// Each id is below this.
    pub vocab_size: u32,
    /// The fingerprint of the tokenizer; `None` if unknown.
    pub tokenizer: Option<[u8; 32]>,
    /// The section table.
    pub sections: Vec<Section>,
}

impl Header {
    /// Returns the section of `kind`, or `None` if the shard lacks it.
    pub fn section(&self, kind: u32) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind)
    }

    /// Returns the bytes of one stored id: 2 or 4.
    pub fn token_width(&self) -> usize {
        token_width(self.vocab_size)
    }

    /// Returns the header page, with its checksum.
    pub fn encode(&self) -> [u8; PAGE] {
        let mut page = [0; PAGE];
        let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &(self.sections.len() as u32).to_le_bytes());
        put(16, &self.tokens.to_le_bytes());
        put(24, &self.documents.to_le_bytes());
        put(32, &self.text_bytes.to_le_bytes());
        put(40, &self.file_size.to_le_bytes());
        put(48, &self.vocab_size.to_le_bytes());
        put(64, &self.tokenizer.unwrap_or_default());
        for (index, section) in self.sections.iter().enumerate() {
            let at = TABLE + index * ENTRY_BYTES;
            put(at, &section.kind.to_le_bytes());
            put(at + 4, &[section.width, u8::from(section.required)]);
            put(at + 8, &section.offset.to_le_bytes());
            put(at + 16, &section.length.to_le_bytes());
            put(at + 24, &section.checksums.to_le_bytes());
            put(at + 32, &section.crc.to_le_bytes());
        }
        let crc = crc32fast::hash(&page[..PAGE - 4]);
        page[PAGE - 4..].copy_from_slice(&crc.to_le_bytes());
        page
    }

    /// Parses the header page of the shard at `path`, whose size is `file_size` bytes.
    ///
    /// `page` must be the first [`PAGE`] bytes of the file, or all of a shorter file. Every rule of
    /// the format that needs no payload is checked, so the numbers of the result can be used as
    /// they are. Anything else is an [`Error::Format`] with the byte.
    pub fn parse(page: &[u8], path: &Path, file_size: u64) -> Result<Self> {
        let (page, n_sections) = check_page(page, path)?;
        let refuse = |at: usize, reason: String| Err(Error::format(path, at as u64, reason));
        let entries = (0..n_sections).map(|index| entry_at(page, TABLE + index * ENTRY_BYTES));
        let header = Self {
            tokens: u64_at(page, 16),
            documents: u64_at(page, 24),
            text_bytes: u64_at(page, 32),
            file_size: u64_at(page, 40),
            vocab_size: u32_at(page, 48),
            tokenizer: Some(bytes_at(page, 64)).filter(|fingerprint| *fingerprint != [0; 32]),
            sections: entries.collect(),
        };
        if header.file_size != file_size {
            let text =
                format!("the file has {file_size} bytes, its header says {}", header.file_size);
            return refuse(40, text);
        }
        for index in 0..n_sections {
            let at = TABLE + index * ENTRY_BYTES;
            let reserved_flags = (page[at + 5] & !1 != 0).then_some(at + 5);
            let zeros = [at + 6..at + 8, at + 36..at + ENTRY_BYTES];
            let set = zeros.into_iter().flatten().find(|&at| page[at] != 0);
            if let Some(at) = reserved_flags.or(set) {
                return refuse(at, format!("byte {:#04x} where zero must be", page[at]));
            }
            if let Err(reason) = header.check_section(index) {
                return refuse(at, reason);
            }
        }
        for (required, name) in [(kind::TOKENS, "tokens"), (kind::DOCUMENT_ENDS, "document ends")] {
            if header.section(required).is_none() {
                return refuse(12, format!("the section of kind {required} ({name}) is missing"));
            }
        }
        if header.section(kind::ID_ENDS).is_some() != header.section(kind::IDS).is_some() {
            return refuse(
                12,
                "sections of kind 5 and 6 must come together: one is missing".into(),
            );
        }
        match header.check_overlap() {
            Ok(()) => Ok(header),
            Err(reason) => refuse(TABLE, reason),
        }
    }

    /// Checks entry `index` of the section table; the error is the reason to refuse it.
    fn check_section(&self, index: usize) -> Result<(), String> {
        let section = self.sections[index];
        let Section { kind, width, length, .. } = section;
        if self.sections[..index].iter().any(|earlier| earlier.kind == kind) {
            return Err(format!("a second section of kind {kind}"));
        }
        if !matches!(width, 1 | 2 | 4 | 8) {
            return Err(format!(
                "section of kind {kind} has elements of {width} bytes, which must be 1, 2, 4 or 8"
            ));
        }
        self.check_position(&section)?;
        let (tokens, documents) = (Some(self.tokens), Some(self.documents));
        let (expected_width, elements) = match kind {
            kind::TOKENS => (self.token_width() as u8, tokens),
            kind::DOCUMENT_ENDS | kind::DOCUMENT_BYTES | kind::ID_ENDS => (8, documents),
            kind::DOCUMENT_SOURCES => (4, documents),
            kind::IDS => (1, None),
            kind::LOSS_MASK => {
                return Err("loss masks (kind 7) are reserved; update lslm".into());
            }
            _ if section.required => {
                return Err(format!(
                    "section of kind {kind} is required and unknown, made by a newer lslm; update \
                     lslm"
                ));
            }
            _ => (width, None),
        };
        if width != expected_width {
            let text = format!("section of kind {kind}: width {width}, must be {expected_width}");
            return Err(text);
        }
        let expected = elements.map(|count| count.checked_mul(u64::from(width)));
        if expected.is_some_and(|expected| expected != Some(length)) {
            let count = elements.unwrap_or_default();
            return Err(format!(
                "section of kind {kind} has {length} bytes, which are not {count} elements of \
                 {width} bytes"
            ));
        }
        if !length.is_multiple_of(u64::from(width)) {
            return Err(format!(
                "section of kind {kind} has {length} bytes, which is not a multiple of {width}"
            ));
        }
        Ok(())
    }

    /// Checks that a section and its checksums are aligned and lie between the header page and the
    /// end of the file.
    fn check_position(&self, section: &Section) -> Result<(), String> {
        let Section { kind, offset, length, checksums, .. } = *section;
        let first = PAGE as u64;
        let alignment = if kind == kind::TOKENS { first } else { ALIGNMENT };
        if offset < first || !offset.is_multiple_of(alignment) {
            return Err(format!(
                "section of kind {kind} begins at byte {offset}, which must be a multiple of \
                 {alignment} from {first} on"
            ));
        }
        if checksums < first || !checksums.is_multiple_of(4) {
            return Err(format!(
                "checksums of kind {kind} begin at byte {checksums}, which must be a multiple of 4 \
                 from {first} on"
            ));
        }
        let is_inside = |end: Option<u64>| end.is_some_and(|end| end <= self.file_size);
        if !is_inside(section.end()) || !is_inside(section.checksums_end()) {
            return Err(format!(
                "section of kind {kind}, {length} bytes from byte {offset}, checksums from byte \
                 {checksums}: not inside the file of {} bytes",
                self.file_size
            ));
        }
        Ok(())
    }

    /// Returns the byte ranges of the file that belong to a section or its checksums, in order.
    ///
    /// Every section must lie inside the file.
    pub(crate) fn claimed(&self) -> Vec<(u64, u64)> {
        let mut claimed: Vec<_> = self
            .sections
            .iter()
            .flat_map(|section| {
                let checksums = (section.checksums, section.checksums + section.blocks() * 4);
                [(section.offset, section.offset + section.length), checksums]
            })
            .filter(|(start, end)| start < end)
            .collect();
        claimed.sort_unstable();
        claimed
    }

    fn check_overlap(&self) -> Result<(), String> {
        match self.claimed().windows(2).find(|pair| pair[0].1 > pair[1].0) {
            Some(pair) => Err(format!("two sections claim byte {}", pair[1].0)),
            None => Ok(()),
        }
    }
}

/// Returns the SHA-256 of a header page, which the manifest stores.
pub fn digest(page: &[u8]) -> [u8; 32] {
    Sha256::digest(page).into()
}

/// Checks the header page as bytes: magic, version, checksum, reserved zeros. Returns the page and
/// its number of sections.
fn check_page<'a>(page: &'a [u8], path: &Path) -> Result<(&'a [u8; PAGE], usize)> {
    let refuse = |at: usize, reason: String| Err(Error::format(path, at as u64, reason));
    if page.len() < MAGIC.len() || page[..MAGIC.len()] != MAGIC {
        return refuse(0, "not a shard of lslm: it does not start with the magic bytes".into());
    }
    let Ok(page) = <&[u8; PAGE]>::try_from(page) else {
        let text = format!("truncated: the header page has {PAGE} bytes; copy the file again");
        return refuse(page.len(), text);
    };
    let version = u32_at(page, 8);
    if version != VERSION {
        let newer = if version > VERSION { ", made by a newer lslm; update lslm" } else { "" };
        return refuse(8, format!("format version {version}{newer}"));
    }
    let crc = crc32fast::hash(&page[..PAGE - 4]);
    let stored = u32_at(page, PAGE - 4);
    if crc != stored {
        return refuse(
            PAGE - 4,
            format!(
                "damaged header: checksum {crc:08x}, stored {stored:08x}; copy the file again or \
                 write the dataset again"
            ),
        );
    }
    let n_sections = u32_at(page, 12) as usize;
    if n_sections > MAX_SECTIONS {
        return refuse(12, format!("{n_sections} sections, which must be at most {MAX_SECTIONS}"));
    }
    let zeros = [52..64, 96..TABLE, TABLE + n_sections * ENTRY_BYTES..PAGE - 4];
    match zeros.into_iter().flatten().find(|&at| page[at] != 0) {
        Some(at) => refuse(at, format!("byte {:#04x} where zero must be", page[at])),
        None => Ok((page, n_sections)),
    }
}

fn entry_at(page: &[u8; PAGE], at: usize) -> Section {
    Section {
        kind: u32_at(page, at),
        width: page[at + 4],
        required: page[at + 5] & 1 == 1,
        offset: u64_at(page, at + 8),
        length: u64_at(page, at + 16),
        checksums: u64_at(page, at + 24),
        crc: u32_at(page, at + 32),
    }
}

fn bytes_at<const N: usize>(page: &[u8; PAGE], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&page[at..at + N]);
    bytes
}

fn u32_at(page: &[u8; PAGE], at: usize) -> u32 {
    u32::from_le_bytes(bytes_at(page, at))
}

fn u64_at(page: &[u8; PAGE], at: usize) -> u64 {
    u64::from_le_bytes(bytes_at(page, at))
}
