//! The header page of a shard and its section table; `docs/format.md` is the specification.

use std::path::Path;

use lslm_runtime::{Error, Result};
use sha2::{Digest, Sha256};

/// The first bytes of a shard. The first is no text in any encoding, and the line ends are there
/// to be spoiled by a transfer in text mode.
pub const MAGIC: [u8; 8] = *b"\x89LSLM\r\n\x1a";
/// The version of the format that is written, and the latest that is read.
pub const VERSION: u32 = 1;
/// The size of the header page in bytes, and the multiple at which tokens begin.
pub const PAGE: usize = 4096;
/// How many bytes of a section one checksum covers.
pub const BLOCK: u64 = 1 << 20;
/// The most sections a shard can have.
pub const MAX_SECTIONS: usize = 61;
/// The largest vocabulary whose ids are stored in two bytes.
pub const MAX_NARROW_VOCAB_SIZE: u32 = 1 << 16;

/// The kinds of sections.
pub mod kind {
    /// One id a token.
    pub const TOKENS: u32 = 1;
    /// Where each document ends, in tokens.
    pub const DOCUMENT_ENDS: u32 = 2;
    /// How many bytes of text each document has.
    pub const DOCUMENT_BYTES: u32 = 3;
    /// From which source each document is.
    pub const DOCUMENT_SOURCES: u32 = 4;
    /// Where the id of each document ends, in bytes of [`IDS`].
    pub const ID_ENDS: u32 = 5;
    /// The ids of the documents.
    pub const IDS: u32 = 6;
    /// Which tokens count as targets; reserved.
    pub const LOSS_MASK: u32 = 7;
}

const TABLE: usize = 128;
const ENTRY: usize = 64;
const ALIGNMENT: u64 = 64;

/// The bytes that one id takes for a vocabulary of `vocab_size`: 2 or 4.
pub fn token_width(vocab_size: u32) -> usize {
    if vocab_size <= MAX_NARROW_VOCAB_SIZE { 2 } else { 4 }
}

/// One entry of the section table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it holds, one of [`kind`].
    pub kind: u32,
    /// The width of an element in bytes.
    pub width: u8,
    /// Whether a reader that does not know the kind must refuse the shard.
    pub required: bool,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Where its checksums begin in the file, in bytes.
    pub checksums: u64,
    /// The CRC-32 of its checksums.
    pub crc: u32,
}

impl Section {
    /// The number of blocks, each with a checksum.
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

/// What the header page of a shard says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Tokens in the shard.
    pub tokens: u64,
    /// Documents in the shard.
    pub documents: u64,
    /// Bytes of text of all documents; 0 if not known.
    pub text_bytes: u64,
    /// The size of the file in bytes.
    pub file_size: u64,
    /// Each id is below this.
    pub vocab_size: u32,
    /// The fingerprint of the tokenizer, if known.
    pub tokenizer: Option<[u8; 32]>,
    /// The section table.
    pub sections: Vec<Section>,
}

impl Header {
    /// The section of `kind`, if the shard has it.
    pub fn section(&self, kind: u32) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind)
    }

    /// The bytes that one id takes.
    pub fn token_width(&self) -> usize {
        token_width(self.vocab_size)
    }

    /// The header page, with its checksum.
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
            let at = TABLE + index * ENTRY;
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

    /// Reads the header page of the shard at `path`, whose size is `file_size` bytes.
    ///
    /// `page` holds the first bytes of the file, [`PAGE`] of them unless the file is shorter. What
    /// comes back has been checked by all the rules of the format that do not need the payload: its
    /// numbers can be used as they are. Anything else is an [`Error::Format`] with the byte.
    pub fn parse(page: &[u8], path: &Path, file_size: u64) -> Result<Self> {
        let refuse = |at: usize, reason: String| Err(Error::format(path, at as u64, reason));
        if page.len() < MAGIC.len() || page[..MAGIC.len()] != MAGIC {
            return refuse(0, "not a shard of lslm: other first bytes".into());
        }
        let Ok(page) = <&[u8; PAGE]>::try_from(page) else {
            return refuse(page.len(), format!("cut short: the header page has {PAGE} bytes"));
        };
        let version = u32_at(page, 8);
        if version != VERSION {
            let newer = if version > VERSION { ", made by a newer lslm; update lslm" } else { "" };
            return refuse(8, format!("format version {version}{newer}"));
        }
        let crc = crc32fast::hash(&page[..PAGE - 4]);
        let stored = u32_at(page, PAGE - 4);
        if crc != stored {
            let text = format!("damaged header: checksum {crc:08x}, stored {stored:08x}");
            return refuse(PAGE - 4, text);
        }
        let count = u32_at(page, 12) as usize;
        if count > MAX_SECTIONS {
            return refuse(12, format!("{count} sections; at most {MAX_SECTIONS} are possible"));
        }
        let table_end = TABLE + count * ENTRY;
        let zeros = [52..64, 96..TABLE, table_end..PAGE - 4];
        if let Some(at) = zeros.into_iter().flatten().find(|&at| page[at] != 0) {
            return refuse(at, format!("byte {:#04x} where zero must be", page[at]));
        }
        let header = Self {
            tokens: u64_at(page, 16),
            documents: u64_at(page, 24),
            text_bytes: u64_at(page, 32),
            file_size: u64_at(page, 40),
            vocab_size: u32_at(page, 48),
            tokenizer: Some(bytes_at(page, 64)).filter(|fingerprint| *fingerprint != [0; 32]),
            sections: (0..count).map(|index| entry_at(page, TABLE + index * ENTRY)).collect(),
        };
        if header.file_size != file_size {
            let text =
                format!("the file has {file_size} bytes, its header says {}", header.file_size);
            return refuse(40, text);
        }
        for index in 0..count {
            let at = TABLE + index * ENTRY;
            let reserved = (page[at + 5] & !1 != 0).then_some(at + 5);
            let zeros = [at + 6..at + 8, at + 36..at + ENTRY];
            let set = zeros.into_iter().flatten().find(|&at| page[at] != 0);
            if let Some(at) = reserved.or(set) {
                return refuse(at, format!("byte {:#04x} where zero must be", page[at]));
            }
            if let Err(reason) = header.check_section(index) {
                return refuse(at, reason);
            }
        }
        for (required, name) in [(kind::TOKENS, "tokens"), (kind::DOCUMENT_ENDS, "document ends")] {
            if header.section(required).is_none() {
                return refuse(12, format!("no section of kind {required} ({name})"));
            }
        }
        if header.section(kind::ID_ENDS).is_some() != header.section(kind::IDS).is_some() {
            return refuse(12, "sections of kind 5 and 6 come together".into());
        }
        match header.check_overlap() {
            Ok(()) => Ok(header),
            Err(reason) => refuse(TABLE, reason),
        }
    }

    /// The rules for entry `index` of the table.
    fn check_section(&self, index: usize) -> Result<(), String> {
        let section = self.sections[index];
        let Section { kind, width, offset, length, checksums, .. } = section;
        if self.sections[..index].iter().any(|earlier| earlier.kind == kind) {
            return Err(format!("a second section of kind {kind}"));
        }
        if !matches!(width, 1 | 2 | 4 | 8) {
            return Err(format!("section of kind {kind} has elements of {width} bytes"));
        }
        let first = PAGE as u64;
        let alignment = if kind == kind::TOKENS { first } else { ALIGNMENT };
        if offset < first || !offset.is_multiple_of(alignment) {
            return Err(format!("section of kind {kind} begins at byte {offset}"));
        }
        if checksums < first || !checksums.is_multiple_of(4) {
            return Err(format!("checksums of kind {kind} begin at byte {checksums}"));
        }
        let inside = |end: Option<u64>| end.is_some_and(|end| end <= self.file_size);
        if !inside(section.end()) || !inside(section.checksums_end()) {
            return Err(format!(
                "section of kind {kind}, {length} bytes from byte {offset}, checksums from byte \
                 {checksums}: not inside the file of {} bytes",
                self.file_size
            ));
        }
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
                    "section of kind {kind} is required and not known; made by a newer lslm?"
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
                "section of kind {kind} has {length} bytes, no multiple of {width}"
            ));
        }
        Ok(())
    }

    /// All ranges of the file that belong to a section or its checksums, in order.
    ///
    /// Only for headers whose sections lie inside the file.
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

/// The digest of a header page, which the manifest holds.
pub fn digest(page: &[u8]) -> [u8; 32] {
    Sha256::digest(page).into()
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
