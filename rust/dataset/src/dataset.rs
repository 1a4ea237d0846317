//! A dataset opened through memory maps.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lslm_runtime::hex::from_hex;
use lslm_runtime::{Error, Result, hex};

use crate::element::Element;
use crate::format::{BLOCK, Header, PAGE, Section, digest, kind};
use crate::manifest::Manifest;
use crate::map::Mapping;

/// Memory for reading, kept between reads.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    part: Vec<u8>,
    all: Vec<u8>,
}

/// A dataset, ready to be read. Clones share the maps.
#[derive(Clone, Debug)]
pub struct Dataset(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    manifest: Manifest,
    fingerprint: [u8; 32],
    width: usize,
    shards: Vec<Shard>,
    /// Where the tokens of each shard begin in the dataset, and where the last ends.
    token_starts: Vec<u64>,
    /// The same for documents.
    document_starts: Vec<u64>,
}

/// One shard of an open dataset.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    map: Mapping,
    tokens: Range<usize>,
    /// One bit for each block of the tokens whose checksum was found right.
    checked: Vec<AtomicU64>,
}

impl Shard {
    fn open(folder: &Path, manifest: &Manifest, index: usize) -> Result<Self> {
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
        let differ = |at: u64, what: &str, found: String, stated: String| {
            let text = format!("{what} {found}, the manifest says {stated}");
            Err(Error::format(&path, at, text))
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
            let name =
                |fingerprint: Option<[u8; 32]>| fingerprint.map_or("none".into(), |f| hex(&f));
            return differ(64, "tokenizer", name(header.tokenizer), name(stated));
        }
        let found = digest(&page);
        if from_hex(&entry.digest) != Some(found) {
            return differ(0, "digest of the header", hex(&found), entry.digest.clone());
        }
        let map = Mapping::open(&file, size).map_err(Error::io(&path))?;
        // parse has refused a shard without tokens, and Mapping::open one beyond usize
        let section = header.section(kind::TOKENS).copied();
        let tokens = section.map_or(0..0, |s| s.offset as usize..(s.offset + s.length) as usize);
        let blocks = tokens.len().div_ceil(BLOCK as usize);
        let checked = (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { path, header, map, tokens, checked })
    }

    /// The bytes of a section.
    pub(crate) fn bytes(&self, section: &Section) -> &[u8] {
        &self.map.bytes()[section.offset as usize..(section.offset + section.length) as usize]
    }

    /// Element `index` of the section of `kind`, whose elements are u64.
    fn long(&self, kind: u32, index: u64) -> Option<u64> {
        let section = self.header.section(kind)?;
        let (elements, _) = self.bytes(section).as_chunks::<8>();
        elements.get(index as usize).map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// Between element `index` - 1 and element `index` of a section of ends, none past `limit`.
    pub(crate) fn span(&self, kind: u32, index: u64, limit: u64) -> Result<Range<u64>> {
        let start = if index == 0 { Some(0) } else { self.long(kind, index - 1) };
        let (start, end) = (start.unwrap_or(0), self.long(kind, index).unwrap_or(0));
        if start <= end && end <= limit {
            return Ok(start..end);
        }
        let section = self.header.section(kind).map_or(0, |section| section.offset);
        Err(Error::format(
            &self.path,
            section + 8 * index,
            format!("an entry reaches from {start} to {end} of {limit}: the file is damaged"),
        ))
    }

    /// The id of document `index` of this shard.
    pub(crate) fn id(&self, index: u64) -> Result<Option<&str>> {
        let Some(section) = self.header.section(kind::IDS) else { return Ok(None) };
        let span = self.span(kind::ID_ENDS, index, section.length)?;
        let bytes = &self.bytes(section)[span.start as usize..span.end as usize];
        match std::str::from_utf8(bytes) {
            Ok("") => Ok(None),
            Ok(id) => Ok(Some(id)),
            Err(error) => {
                let at = section.offset + span.start + error.valid_up_to() as u64;
                Err(Error::format(&self.path, at, "the id of a document is not UTF-8"))
            }
        }
    }

    /// Checks the blocks of the bytes `range` of the tokens, each only the first time.
    fn check(&self, range: Range<usize>, file: Option<&File>) -> Result<()> {
        let Some(section) = self.header.section(kind::TOKENS) else { return Ok(()) };
        let block_size = BLOCK as usize;
        for block in range.start / block_size..range.end.div_ceil(block_size) {
            let (word, bit) = (&self.checked[block / 64], 1 << (block % 64));
            if word.load(Ordering::Relaxed) & bit != 0 {
                continue;
            }
            let start = self.tokens.start + block * block_size;
            let end = self.tokens.end.min(start + block_size);
            let mut scratch = Vec::new();
            let found = crc32fast::hash(self.stored(start..end, file, &mut scratch)?);
            let at = section.checksums as usize + 4 * block;
            let stored = self.stored(at..at + 4, file, &mut scratch)?.iter().rev();
            let stored = stored.fold(0, |crc, byte| (crc << 8) | u32::from(*byte));
            if found != stored {
                return Err(wrong_checksum(&self.path, start, found, stored));
            }
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The bytes `range` of the file, read from `file` into `scratch`, or from the map.
    fn stored<'a>(
        &'a self,
        range: Range<usize>,
        file: Option<&File>,
        scratch: &'a mut Vec<u8>,
    ) -> Result<&'a [u8]> {
        let Some(file) = file else { return Ok(&self.map.bytes()[range]) };
        scratch.resize(range.len(), 0);
        read_at(file, scratch, range.start as u64).map_err(Error::io(&self.path))?;
        Ok(scratch)
    }
}

/// Fills `bytes` from `file`, from byte `at` on.
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

/// How many files a [`Files`] keeps open; half of what many systems allow a process is 512.
const MOST_FILES: usize = 256;

/// Shards opened as files, for reading without maps.
///
/// Random windows of a large dataset are cheaper to read than to map: a page that is touched for
/// the first time costs more than a call, and pages that stay mapped count as this process's
/// memory.
#[derive(Debug, Default)]
pub(crate) struct Files {
    open: HashMap<PathBuf, File>,
}

impl Files {
    fn get(&mut self, shard: &Shard) -> Result<&File> {
        if !self.open.contains_key(&shard.path) {
            if self.open.len() >= MOST_FILES {
                self.open.clear();
            }
            let file = File::open(&shard.path).map_err(Error::io(&shard.path))?;
            let size = file.metadata().map_err(Error::io(&shard.path))?.len();
            if size != shard.header.file_size {
                return Err(Error::format(
                    &shard.path,
                    size.min(shard.header.file_size),
                    format!("the file has {size} bytes, had {} before", shard.header.file_size),
                ));
            }
            self.open.insert(shard.path.clone(), file);
        }
        let missing = || Error::io(&shard.path)(io::ErrorKind::NotFound.into());
        self.open.get(&shard.path).ok_or_else(missing)
    }
}

pub(crate) fn wrong_checksum(path: &Path, at: usize, found: u32, stored: u32) -> Error {
    Error::format(
        path,
        at as u64,
        format!(
            "the block that begins here is damaged: checksum {found:08x}, stored {stored:08x}; \
             copy the file again or make the dataset anew"
        ),
    )
}

impl Dataset {
    /// Opens the dataset in `folder`: reads the manifest and the header page of each shard, and
    /// maps the shards. The payload is not read.
    ///
    /// [`Error::Io`] if something is missing, [`Error::Format`] with file and byte for everything
    /// that `docs/format.md` refuses.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let manifest = Manifest::read(folder)?;
        let shards: Vec<Shard> = (0..manifest.shards.len())
            .map(|index| Shard::open(folder, &manifest, index))
            .collect::<Result<_>>()?;
        let starts = |count: fn(&Shard) -> u64| {
            let mut sum = 0;
            let ends = shards.iter().map(|shard| {
                sum += count(shard); // the manifest was refused if this overflows
                sum
            });
            std::iter::once(0).chain(ends).collect()
        };
        Ok(Self(Arc::new(Inner {
            folder: folder.to_owned(),
            fingerprint: manifest.fingerprint(),
            width: crate::format::token_width(manifest.vocab_size),
            token_starts: starts(|shard| shard.header.tokens),
            document_starts: starts(|shard| shard.header.documents),
            shards,
            manifest,
        })))
    }

    /// The folder, as it was given.
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// Identifies the content; see [`Manifest::fingerprint`].
    pub fn fingerprint(&self) -> [u8; 32] {
        self.0.fingerprint
    }

    /// How many tokens there are.
    pub fn n_tokens(&self) -> u64 {
        self.0.manifest.tokens
    }

    /// How many documents there are.
    pub fn n_documents(&self) -> u64 {
        self.0.manifest.documents
    }

    /// How many bytes of text the documents have; 0 if not known.
    pub fn n_bytes(&self) -> u64 {
        self.0.manifest.bytes
    }

    /// Each id is below this.
    pub fn vocab_size(&self) -> u32 {
        self.0.manifest.vocab_size
    }

    /// The bytes that one id takes on disk: 2 or 4.
    pub fn token_width(&self) -> usize {
        self.0.width
    }

    /// The tokenizer's file, if the dataset has one.
    pub fn tokenizer_path(&self) -> Option<PathBuf> {
        self.0.manifest.tokenizer.file.as_ref().map(|file| self.0.folder.join(file))
    }

    pub(crate) fn shards(&self) -> &[Shard] {
        &self.0.shards
    }

    /// The positions of the tokens of document `index`.
    pub fn document_span(&self, index: u64) -> Result<Range<u64>> {
        let (shard, place, first_token) = self.locate(index)?;
        let span = shard.span(kind::DOCUMENT_ENDS, place, shard.header.tokens)?;
        Ok(first_token + span.start..first_token + span.end)
    }

    /// The tokens of document `index`.
    pub fn document<T: Element>(&self, index: u64) -> Result<Vec<T>> {
        let span = self.document_span(index)?;
        self.tokens(span.start, span.end)
    }

    /// The bytes of text of document `index`, or `None` if they are not known.
    pub fn document_bytes(&self, index: u64) -> Result<Option<u64>> {
        let (shard, place, _) = self.locate(index)?;
        Ok(shard.long(kind::DOCUMENT_BYTES, place))
    }

    /// The source of document `index`: its place in the manifest's list.
    pub fn source_index(&self, index: u64) -> Result<u32> {
        let (shard, place, _) = self.locate(index)?;
        let Some(section) = shard.header.section(kind::DOCUMENT_SOURCES) else { return Ok(0) };
        let (elements, _) = shard.bytes(section).as_chunks::<4>();
        Ok(elements.get(place as usize).map_or(0, |bytes| u32::from_le_bytes(*bytes)))
    }

    /// The name of the source of document `index`, or `None` if the dataset names no sources.
    pub fn source(&self, index: u64) -> Result<Option<&str>> {
        let source = self.source_index(index)? as usize;
        let sources = &self.0.manifest.sources;
        if sources.is_empty() && source == 0 {
            return Ok(None);
        }
        let name = sources.get(source).map(|name| Some(name.as_str()));
        name.ok_or_else(|| {
            let text = format!("document {index} is of source {source} of {}", sources.len());
            Error::format(&self.0.folder, None, text)
        })
    }

    /// The id of document `index`, if it has one.
    pub fn document_id(&self, index: u64) -> Result<Option<&str>> {
        let (shard, place, _) = self.locate(index)?;
        shard.id(place)
    }

    /// The shard of document `index`, its place there, and where the shard's tokens begin.
    fn locate(&self, index: u64) -> Result<(&Shard, u64, u64)> {
        let n = self.n_documents();
        if index >= n {
            return Err(Error::invalid(format!("document {index}: the dataset has {n}")));
        }
        let starts = &self.0.document_starts;
        let shard = starts.partition_point(|start| *start <= index) - 1;
        Ok((&self.0.shards[shard], index - starts[shard], self.0.token_starts[shard]))
    }

    /// The tokens at positions `start` to `stop`, across documents and shards.
    pub fn tokens<T: Element>(&self, start: u64, stop: u64) -> Result<Vec<T>> {
        if start > stop || stop > self.n_tokens() {
            let n = self.n_tokens();
            return Err(Error::invalid(format!("tokens {start} to {stop}: the dataset has {n}")));
        }
        let mut tokens = vec![T::default(); (stop - start) as usize];
        self.read(start, &mut tokens)?;
        Ok(tokens)
    }

    /// Fills `out` with the tokens from position `start` on.
    ///
    /// [`Error::Invalid`] if the dataset ends before that, or `T` is too narrow for its ids.
    pub fn read<T: Element>(&self, start: u64, out: &mut [T]) -> Result<()> {
        let mut filled = 0;
        for (shard, range) in self.pieces(start, out.len())? {
            let bytes = &shard.map.bytes()[shard.tokens.start + range.start..][..range.len()];
            let count = range.len() / self.0.width;
            self.widen(bytes, &mut out[filled..filled + count])?;
            filled += count;
        }
        Ok(())
    }

    /// Fills `out` with the ids in `bytes`.
    pub(crate) fn widen<T: Element>(&self, bytes: &[u8], out: &mut [T]) -> Result<()> {
        let fits = if self.0.width == 2 {
            T::from_narrow(bytes.as_chunks().0, out)
        } else {
            T::from_wide(bytes.as_chunks().0, out)
        };
        if fits { Ok(()) } else { Err(Error::invalid("ids of 32 bits do not fit in 16")) }
    }

    /// Checks the checksums of all blocks with tokens from `start` to `start + count`, each block
    /// only the first time that it is asked for.
    pub fn check(&self, start: u64, count: usize) -> Result<()> {
        self.pieces(start, count)?.try_for_each(|(shard, range)| shard.check(range, None))
    }

    /// The tokens from `start` to `start + count` as they are stored: from the map, or collected
    /// in `scratch` where `files` are given or the tokens lie in several shards.
    pub(crate) fn stored<'a>(
        &'a self,
        start: u64,
        count: usize,
        check: bool,
        mut files: Option<&mut Files>,
        scratch: &'a mut Scratch,
    ) -> Result<&'a [u8]> {
        scratch.all.clear();
        for (shard, range) in self.pieces(start, count)? {
            let file = match &mut files {
                Some(files) => Some(files.get(shard)?),
                None => None,
            };
            if check {
                shard.check(range.clone(), file)?;
            }
            let place = shard.tokens.start + range.start..shard.tokens.start + range.end;
            let whole = range.len() == count * self.0.width;
            if whole {
                return shard.stored(place, file, &mut scratch.part);
            }
            let part = shard.stored(place, file, &mut scratch.part)?;
            scratch.all.extend_from_slice(part);
        }
        Ok(&scratch.all)
    }

    /// The parts of shards that hold `count` tokens from `start` on, as bytes of their tokens.
    fn pieces(
        &self,
        start: u64,
        count: usize,
    ) -> Result<impl Iterator<Item = (&Shard, Range<usize>)>> {
        let n = self.n_tokens();
        let stop = start.checked_add(count as u64).filter(|stop| *stop <= n).ok_or_else(|| {
            Error::invalid(format!("{count} tokens from {start} on: the dataset has {n}"))
        })?;
        let Inner { width, shards, token_starts: starts, .. } = &*self.0;
        let first = starts.partition_point(|first| *first <= start).saturating_sub(1);
        let pieces = (first..shards.len()).take_while(move |&shard| starts[shard] < stop);
        Ok(pieces.map(move |index| {
            let shard = &shards[index];
            let from = start.max(starts[index]) - starts[index];
            let to = stop.min(starts[index + 1]) - starts[index];
            (shard, from as usize * width..to as usize * width)
        }))
    }
}
